/* SPDX-License-Identifier: Apache-2.0 */
#include "service/migration.h"

#include <stdio.h>

#include "service/reading.h"

/* ---- Statements ---- */

/* The names in a list of nodes of a kind; *columns_out stays NULL where one has none. */
static int names_in(struct dbk_migration_reading *reading, const struct dbk_json_node *list,
                    const char *kind, const char *key, const char *const **columns_out,
                    size_t *count_out)
{
    size_t count = 0;
    *columns_out = NULL;
    *count_out = 0;
    if (list == NULL)
        return DBK_OK;
    const char **names =
        dbk_arena_alloc_zero(reading->migration->arena, list->count + 1, sizeof(*names));
    if (names == NULL)
        return dbk_migration_no_memory(reading);
    const struct dbk_json_node *one = dbk_json_first(list);
    for (uint32_t i = 0; one != NULL && i < list->count; i++, one = dbk_json_sibling(one)) {
        const struct dbk_json_node *node = dbk_json_member(one, kind);
        struct dbk_slice name = dbk_service_text(node, key);
        if (node == NULL)
            continue; /* A constraint among columns. */
        const struct dbk_json_node *value = dbk_json_member(node, "val");
        const struct dbk_json_node *column =
            value == NULL ? NULL : dbk_json_member(value, "ColumnRef");
        if (name.size == 0 && column != NULL)
            name = dbk_migration_last(dbk_migration_list(column, "fields"));
        if (name.size == 0)
            return DBK_OK; /* `*`, or an output without a name. */
        names[count] = dbk_arena_copy(reading->migration->arena, name).data;
        if (names[count++] == NULL)
            return dbk_migration_no_memory(reading);
    }
    *columns_out = names;
    *count_out = count;
    return DBK_OK;
}

static int rename_table(struct dbk_migration_reading *reading, struct dbk_slice table,
                        struct dbk_slice to)
{
    const struct dbk_migration_name *name = dbk_migration_find_name(reading, table);
    struct dbk_migration_name renamed = {.now = to, .before = name == NULL ? table : name->before};
    struct dbk_change change;
    int rc =
        dbk_migration_begin(reading, DBK_CHANGE_RENAME_TABLE, table, DBK_MIGRATION_NONE, &change);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return dbk_migration_make_anew(reading, to, name->columns, name->column_count);
    change.new_name = dbk_arena_copy(reading->migration->arena, to).data;
    if (change.new_name == NULL)
        return dbk_migration_no_memory(reading);
    rc = dbk_migration_put(reading, &change, "renames %s to %s", change.table, change.new_name);
    if (rc == DBK_OK && !reading->schemas)
        rc = dbk_migration_put_name(reading, &renamed);
    return rc < 0 ? rc : dbk_migration_put_cascade(reading, NULL);
}

static int read_rename(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    struct dbk_slice type = dbk_service_text(node, "renameType");
    struct dbk_slice table = dbk_migration_table(node, "relation");
    struct dbk_slice to = dbk_service_text(node, "newname");
    struct dbk_change change;
    if (dbk_slice_equal_text(type, "OBJECT_TABLE") || dbk_slice_equal_text(type, "OBJECT_VIEW") ||
        dbk_slice_equal_text(type, "OBJECT_MATVIEW"))
        return rename_table(reading, table, to);
    if (dbk_slice_equal_text(type, "OBJECT_TABCONSTRAINT"))
        return dbk_migration_put_simple(reading, DBK_CHANGE_DROP_CONSTRAINT, table,
                                        DBK_MIGRATION_NONE, "renames a constraint of");
    if (dbk_slice_equal_text(type, "OBJECT_INDEX"))
        return dbk_migration_put_simple(reading, DBK_CHANGE_NONE, table, DBK_MIGRATION_NONE,
                                        "renames the index");
    if (!dbk_slice_equal_text(type, "OBJECT_COLUMN"))
        return dbk_migration_put_unknown(reading, DBK_SLICE_LITERAL("ALTER … RENAME"));
    int rc = dbk_migration_begin(reading, DBK_CHANGE_RENAME_COLUMN, table,
                                 dbk_service_text(node, "subname"), &change);
    if (rc <= 0)
        return rc;
    change.new_name = dbk_arena_copy(reading->migration->arena, to).data;
    return change.new_name == NULL
               ? dbk_migration_no_memory(reading)
               : dbk_migration_put(reading, &change, "renames the column %s.%s to %s", change.table,
                                   change.column, change.new_name);
}

static int drop_one(struct dbk_migration_reading *reading, struct dbk_slice type,
                    struct dbk_slice name)
{
    struct dbk_change change = {
        .kind = DBK_CHANGE_DROP_INDEX, .table = "", .column = "", .new_name = ""};
    if (dbk_slice_equal_text(type, "OBJECT_TABLE") || dbk_slice_equal_text(type, "OBJECT_VIEW") ||
        dbk_slice_equal_text(type, "OBJECT_MATVIEW") ||
        dbk_slice_equal_text(type, "OBJECT_FOREIGN_TABLE"))
        return dbk_migration_put_simple(reading, DBK_CHANGE_DROP_TABLE, name, DBK_MIGRATION_NONE,
                                        "drops");
    if (dbk_slice_equal_text(type, "OBJECT_FUNCTION") ||
        dbk_slice_equal_text(type, "OBJECT_PROCEDURE") ||
        dbk_slice_equal_text(type, "OBJECT_ROUTINE") ||
        dbk_slice_equal_text(type, "OBJECT_AGGREGATE"))
        return dbk_migration_put_simple(reading, DBK_CHANGE_DROP_FUNCTION, name, DBK_MIGRATION_NONE,
                                        "drops the function");
    if (dbk_slice_equal_text(type, "OBJECT_SEQUENCE")) {
        change.kind = DBK_CHANGE_SEQUENCE;
        return dbk_migration_put(reading, &change, "drops the sequence %.*s", DBK_SLICE_ARGS(name));
    }
    if (!dbk_slice_equal_text(type, "OBJECT_INDEX"))
        return dbk_migration_put_unknown(reading,
                                         DBK_SLICE_LITERAL("DROP of another kind of thing"));
    for (size_t i = 0; i < reading->index_count; i++) {
        if (dbk_migration_is(reading, reading->indexes[i].name, name))
            return dbk_migration_put_simple(reading, DBK_CHANGE_DROP_INDEX,
                                            reading->indexes[i].table, DBK_MIGRATION_NONE,
                                            "drops an index of");
    }
    return dbk_migration_put(reading, &change, "drops the index %.*s", DBK_SLICE_ARGS(name));
}

static int read_drop(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    struct dbk_slice type = dbk_service_text(node, "removeType");
    const struct dbk_json_node *list = dbk_migration_list(node, "objects");
    const struct dbk_json_node *one = list == NULL ? NULL : dbk_json_first(list);
    int rc = DBK_OK;
    bool trigger =
        dbk_slice_equal_text(type, "OBJECT_TRIGGER") || dbk_slice_equal_text(type, "OBJECT_RULE");
    for (uint32_t i = 0; rc == DBK_OK && one != NULL && i < list->count;
         i++, one = dbk_json_sibling(one)) {
        const struct dbk_json_node *names =
            dbk_migration_list(dbk_json_member(one, "List"), "items");
        const struct dbk_json_node *object = dbk_json_member(one, "ObjectWithArgs");
        struct dbk_slice name =
            dbk_migration_last(object == NULL ? names : dbk_migration_list(object, "objname"));
        /* A trigger stands behind its table. */
        if (trigger && names != NULL && names->count >= 2) {
            const struct dbk_json_node *table = dbk_json_first(names);
            for (uint32_t j = 0; j + 2 < names->count; j++)
                table = dbk_json_sibling(table);
            rc = dbk_migration_put_simple(reading, DBK_CHANGE_TRIGGER, dbk_service_string(table),
                                          DBK_MIGRATION_NONE, "drops a trigger of");
        } else {
            rc = drop_one(reading, type, name);
        }
    }
    return rc < 0 || trigger ? rc : dbk_migration_put_cascade(reading, node);
}

bool dbk_migration_is_temporary(const struct dbk_json_node *relation)
{
    return dbk_slice_equal_text(dbk_service_text(relation, "relpersistence"), "t");
}

static int read_create(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    const char *const *columns = NULL;
    size_t count = 0;
    struct dbk_slice table = dbk_migration_table(node, "relation");
    /* One that may have been there before is not a new one. */
    if (dbk_service_is_true(node, "if_not_exists") ||
        dbk_migration_is_temporary(dbk_json_member(node, "relation")))
        return DBK_OK;
    int rc = names_in(reading, dbk_migration_list(node, "tableElts"), "ColumnDef", "colname",
                      &columns, &count);
    return rc < 0 ? rc : dbk_migration_make_anew(reading, table, columns, count);
}

static int read_create_as(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    const struct dbk_json_node *into = dbk_json_member(node, "into");
    if (into == NULL || dbk_service_is_true(node, "if_not_exists") ||
        dbk_migration_is_temporary(dbk_json_member(into, "rel")))
        return DBK_OK;
    return dbk_migration_make_anew(reading, dbk_migration_table(into, "rel"), NULL, 0);
}

static int read_view(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    const struct dbk_json_node *query = dbk_json_member(node, "query");
    const struct dbk_json_node *select =
        query == NULL ? NULL : dbk_json_member(query, "SelectStmt");
    struct dbk_slice view = dbk_migration_table(node, "view");
    struct dbk_change change;
    const char *const *columns = NULL;
    size_t count = 0;
    if (dbk_migration_is_temporary(dbk_json_member(node, "view")))
        return DBK_OK;
    int rc = dbk_migration_list(node, "aliases") != NULL
                 ? DBK_OK
                 : names_in(reading, dbk_migration_list(select, "targetList"), "ResTarget", "name",
                            &columns, &count);
    if (rc < 0 || !dbk_service_is_true(node, "replace") ||
        dbk_migration_find_name(reading, view) != NULL)
        return rc < 0 ? rc : dbk_migration_make_anew(reading, view, columns, count);
    rc = dbk_migration_begin(reading, DBK_CHANGE_REPLACE_VIEW, view, DBK_MIGRATION_NONE, &change);
    change.columns = columns;
    change.column_count = count;
    return rc <= 0 ? rc : dbk_migration_put(reading, &change, "replaces the view %s", change.table);
}

static int read_index(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    struct dbk_slice table = dbk_migration_table(node, "relation");
    bool unique = dbk_service_is_true(node, "unique");
    struct dbk_slice name = dbk_service_text(node, "idxname");
    if (name.size > 0 && reading->index_count < DBK_MIGRATION_NAMES_MAX) {
        struct dbk_migration_index *index = &reading->indexes[reading->index_count++];
        index->name = dbk_arena_copy(reading->migration->arena, name);
        index->table = dbk_arena_copy(reading->migration->arena, table);
        if (index->name.data == NULL || index->table.data == NULL)
            return dbk_migration_no_memory(reading);
    }
    return dbk_migration_put_simple(reading, unique ? DBK_CHANGE_ADD_UNIQUE : DBK_CHANGE_ADD_INDEX,
                                    table, DBK_MIGRATION_NONE,
                                    unique ? "adds a unique index to" : "adds an index to");
}

static int read_trigger(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    return dbk_migration_put_simple(reading, DBK_CHANGE_TRIGGER,
                                    dbk_migration_table(node, "relation"), DBK_MIGRATION_NONE,
                                    "adds a trigger to");
}

static int read_policy(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    return dbk_migration_put_simple(reading, DBK_CHANGE_RIGHTS, dbk_migration_table(node, "table"),
                                    DBK_MIGRATION_NONE, "hides rows of");
}

static int read_function(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    struct dbk_slice name = dbk_migration_last(dbk_migration_list(node, "funcname"));
    bool replace = dbk_service_is_true(node, "replace");
    return dbk_migration_put_simple(
        reading, replace ? DBK_CHANGE_REPLACE_FUNCTION : DBK_CHANGE_NONE, name, DBK_MIGRATION_NONE,
        replace ? "replaces the function" : "makes the function");
}

static int read_sequence(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    struct dbk_change change = {
        .kind = DBK_CHANGE_SEQUENCE, .table = "", .column = "", .new_name = ""};
    struct dbk_slice name = dbk_migration_table(node, "sequence");
    return dbk_migration_put(reading, &change, "changes the sequence %.*s", DBK_SLICE_ARGS(name));
}

static int read_move(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    struct dbk_slice type = dbk_service_text(node, "objectType");
    if (dbk_slice_equal_text(type, "OBJECT_TABLE") || dbk_slice_equal_text(type, "OBJECT_VIEW"))
        return dbk_migration_put_simple(reading, DBK_CHANGE_DROP_TABLE,
                                        dbk_migration_table(node, "relation"), DBK_MIGRATION_NONE,
                                        "moves into another schema");
    return dbk_migration_put_unknown(reading, DBK_SLICE_LITERAL("ALTER … SET SCHEMA"));
}

/* One privilege; its columns are added to those of the change, or it is of the whole table. */
static int add_right(struct dbk_migration_reading *reading, const struct dbk_json_node *privilege,
                     struct dbk_change *change, bool *whole)
{
    static const struct {
        const char *name;
        unsigned rights;
    } known[] = {{"select", DBK_USE_READ},
                 {"insert", DBK_USE_INSERT},
                 {"update", DBK_USE_UPDATE},
                 {"delete", DBK_USE_DELETE}};
    const struct dbk_json_node *columns = dbk_migration_list(privilege, "cols");
    const struct dbk_json_node *one = columns == NULL ? NULL : dbk_json_first(columns);
    struct dbk_slice name = dbk_service_text(privilege, "priv_name");
    size_t count = change->column_count + (columns == NULL ? 0 : columns->count);
    const char **names = dbk_arena_alloc_zero(reading->migration->arena, count + 1, sizeof(*names));
    if (names == NULL)
        return dbk_migration_no_memory(reading);
    for (size_t i = 0; i < change->column_count; i++)
        names[i] = change->columns[i];
    for (size_t i = change->column_count; i < count; i++, one = dbk_json_sibling(one)) {
        names[i] = dbk_arena_copy(reading->migration->arena, dbk_service_string(one)).data;
        if (names[i] == NULL)
            return dbk_migration_no_memory(reading);
    }
    change->columns = names;
    change->column_count = count;
    *whole = *whole || columns == NULL;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        change->rights |=
            name.size == 0 || dbk_service_is_name(name, known[i].name) ? known[i].rights : 0;
    return DBK_OK;
}

/* Rights on a table, of each role. */
static int revoke(struct dbk_migration_reading *reading, const struct dbk_json_node *node,
                  struct dbk_slice table)
{
    const struct dbk_json_node *privileges = dbk_migration_list(node, "privileges");
    const struct dbk_json_node *roles = dbk_migration_list(node, "grantees");
    const struct dbk_json_node *one = privileges == NULL ? NULL : dbk_json_first(privileges);
    struct dbk_change change;
    bool whole = privileges == NULL;
    int rc = dbk_migration_begin(reading, DBK_CHANGE_REVOKE, table, DBK_MIGRATION_NONE, &change);
    if (rc <= 0)
        return rc;
    rc = DBK_OK;
    change.rights =
        privileges == NULL ? DBK_USE_READ | DBK_USE_INSERT | DBK_USE_UPDATE | DBK_USE_DELETE : 0;
    for (uint32_t i = 0; rc == DBK_OK && one != NULL && i < privileges->count;
         i++, one = dbk_json_sibling(one))
        rc = add_right(reading, dbk_json_member(one, "AccessPriv"), &change, &whole);
    if (whole)
        change.column_count = 0;
    one = roles == NULL ? NULL : dbk_json_first(roles);
    for (uint32_t i = 0; rc == DBK_OK && one != NULL && i < roles->count;
         i++, one = dbk_json_sibling(one)) {
        struct dbk_slice role = dbk_service_text(dbk_json_member(one, "RoleSpec"), "rolename");
        if (role.size == 0) /* PUBLIC, CURRENT_USER: whoever it is. */
            change.kind = DBK_CHANGE_RIGHTS;
        else
            change.kind = DBK_CHANGE_REVOKE;
        change.new_name = dbk_arena_copy(reading->migration->arena, role).data;
        if (change.new_name == NULL)
            return dbk_migration_no_memory(reading);
        rc = dbk_migration_put(reading, &change, "takes rights on %s from %s", change.table,
                               role.size == 0 ? "whoever has them so" : change.new_name);
    }
    return rc;
}

static int read_grant(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    const struct dbk_json_node *list = dbk_migration_list(node, "objects");
    const struct dbk_json_node *one = list == NULL ? NULL : dbk_json_first(list);
    int rc = DBK_OK;
    if (dbk_service_is_true(node, "is_grant"))
        return dbk_migration_put_simple(reading, DBK_CHANGE_NONE, DBK_SLICE_LITERAL("rights"),
                                        DBK_MIGRATION_NONE, "gives");
    for (uint32_t i = 0; rc == DBK_OK && one != NULL && i < list->count;
         i++, one = dbk_json_sibling(one)) {
        struct dbk_slice table = dbk_migration_table(one, "RangeVar");
        rc = table.size > 0 ? revoke(reading, node, table)
                            : dbk_migration_put_unknown(reading, DBK_SLICE_LITERAL("REVOKE"));
    }
    return list == NULL && rc == DBK_OK
               ? dbk_migration_put_unknown(reading, DBK_SLICE_LITERAL("REVOKE"))
               : rc;
}

static int read_set(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    static const char *const harmful[] = {"search_path", "role", "session_authorization",
                                          "session_replication_role"};
    struct dbk_slice name = dbk_service_text(node, "name");
    for (size_t i = 0; i < sizeof(harmful) / sizeof(harmful[0]); i++) {
        if (dbk_service_is_name(name, harmful[i]))
            return dbk_migration_put_unknown(reading,
                                             DBK_SLICE_LITERAL("another SET of names or rights"));
    }
    return DBK_OK;
}

static int read_truncate(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    const struct dbk_json_node *list = dbk_migration_list(node, "relations");
    const struct dbk_json_node *one = list == NULL ? NULL : dbk_json_first(list);
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && one != NULL && i < list->count;
         i++, one = dbk_json_sibling(one))
        rc = dbk_migration_put_simple(reading, DBK_CHANGE_DELETE_ROWS,
                                      dbk_migration_table(one, "RangeVar"), DBK_MIGRATION_NONE,
                                      "deletes rows of");
    return rc < 0 ? rc : dbk_migration_put_cascade(reading, node);
}

static int read_nothing(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    (void)reading;
    (void)node;
    return DBK_OK;
}

static int read_statement(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    static const struct {
        const char *kind;
        int (*read)(struct dbk_migration_reading *reading, const struct dbk_json_node *node);
    } kinds[] = {
        {"AlterTableStmt", dbk_migration_read_alter},
        {"RenameStmt", read_rename},
        {"DropStmt", read_drop},
        {"CreateStmt", read_create},
        {"CreateTableAsStmt", read_create_as},
        {"ViewStmt", read_view},
        {"IndexStmt", read_index},
        {"CreateTrigStmt", read_trigger},
        {"RuleStmt", read_trigger},
        {"CreatePolicyStmt", read_policy},
        {"CreateFunctionStmt", read_function},
        {"AlterObjectSchemaStmt", read_move},
        {"AlterSeqStmt", read_sequence},
        {"GrantStmt", read_grant},
        {"VariableSetStmt", read_set},
        {"TruncateStmt", read_truncate},
        {"InsertStmt", dbk_migration_read_rows},
        {"UpdateStmt", dbk_migration_read_rows},
        {"DeleteStmt", dbk_migration_read_rows},
        {"SelectStmt", dbk_migration_read_rows},
        {"MergeStmt", dbk_migration_read_rows},
        {"TransactionStmt", read_nothing},
        {"CommentStmt", read_nothing},
        {"VacuumStmt", read_nothing},
        {"LockStmt", read_nothing},
        {"CheckPointStmt", read_nothing},
        {"CreateSchemaStmt", read_nothing},
        {"CreateSeqStmt", read_nothing},
        {"CreateEnumStmt", read_nothing},
        {"CreateDomainStmt", read_nothing},
        {"CompositeTypeStmt", read_nothing},
        {"CreateStatsStmt", read_nothing},
        {"ReindexStmt", read_nothing},
        {"CreateRoleStmt", read_nothing},
        {"VariableShowStmt", read_nothing},
        {"RefreshMatViewStmt", read_nothing},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (dbk_slice_equal_text(node->key, kinds[i].kind))
            return kinds[i].read(reading, node);
    }
    return dbk_migration_put_unknown(reading, node->key);
}

/* Where the first word behind an offset stands. */
static size_t first_word(struct dbk_slice text, size_t offset)
{
    while (offset < text.size) {
        struct dbk_sql_token token = dbk_sql_next(text, offset);
        if (token.kind != DBK_SQL_SPACE && token.kind != DBK_SQL_SEMICOLON)
            break;
        offset += token.text.size;
    }
    return offset;
}

static int read_all(struct dbk_migration_reading *reading, const struct dbk_json_node *root,
                    size_t base)
{
    const struct dbk_json_node *list = dbk_migration_list(root, "stmts");
    const struct dbk_json_node *item = list == NULL ? NULL : dbk_json_first(list);
    int rc = DBK_OK;
    for (uint32_t i = 0; root != NULL && i < root->next; i++)
        reading->schemas = reading->schemas || dbk_slice_equal_text(root[i].key, "schemaname");
    for (uint32_t i = 0; rc == DBK_OK && item != NULL && i < list->count;
         i++, item = dbk_json_sibling(item)) {
        const struct dbk_json_node *place = dbk_json_member(item, "stmt_location");
        const struct dbk_json_node *statement = dbk_service_statement(item);
        size_t at = place == NULL || place->kind != DBK_JSON_INTEGER ? 0 : (size_t)place->integer;
        reading->offset = first_word(reading->migration->text, base + at);
        if (statement != NULL)
            rc = read_statement(reading, statement);
    }
    return rc;
}

/* ---- SQLite's own ---- */

static bool begins_with(struct dbk_slice sql, const char *const *words)
{
    size_t at = 0;
    for (; *words != NULL; words++) {
        at = first_word(sql, at);
        struct dbk_sql_token token = dbk_sql_next(sql, at);
        if (token.kind != DBK_SQL_NAME || !dbk_sql_name_is(token.text, dbk_slice_of(*words)))
            return false;
        at += token.text.size;
    }
    return true;
}

/* Every word of a statement may be the name of a table that it changes. */
static int read_words(struct dbk_migration_reading *reading, struct dbk_slice sql)
{
    static const char *const harmless[][3] = {{"PRAGMA", "foreign_keys", NULL},
                                              {"PRAGMA", "user_version", NULL},
                                              {"PRAGMA", "foreign_key_check", NULL},
                                              {"PRAGMA", "integrity_check", NULL},
                                              {"PRAGMA", "legacy_alter_table", NULL},
                                              {"PRAGMA", "journal_mode", NULL},
                                              {"VACUUM", NULL, NULL},
                                              {"ANALYZE", NULL, NULL},
                                              {"BEGIN", NULL, NULL},
                                              {"COMMIT", NULL, NULL},
                                              {"END", NULL, NULL}};
    static const char *const make[] = {"CREATE", "TABLE", NULL};
    int rc = DBK_OK;
    for (size_t i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
        if (begins_with(sql, harmless[i]))
            return DBK_OK;
    }
    if (begins_with(sql, make)) {
        size_t at = first_word(sql, 0) + sizeof("CREATE") - 1;
        at = first_word(sql, at) + sizeof("TABLE") - 1;
        struct dbk_sql_token token = dbk_sql_next(sql, first_word(sql, at));
        bool quoted = token.text.size >= 2 && strchr("\"[`", *token.text.data) != NULL;
        struct dbk_slice name =
            quoted ? dbk_slice(token.text.data + 1, token.text.size - 2) : token.text;
        if (token.kind == DBK_SQL_NAME && !dbk_service_is_name(name, "IF"))
            return dbk_migration_make_anew(reading, name, NULL, 0);
    }
    bool any = false;
    for (size_t at = 0; rc == DBK_OK && at < sql.size;) {
        struct dbk_sql_token token = dbk_sql_next(sql, at);
        bool quoted = token.text.size >= 2 && strchr("\"[`", *token.text.data) != NULL;
        if (token.text.size == 0)
            break;
        at += token.text.size;
        if (token.kind != DBK_SQL_NAME)
            continue;
        any = true;
        rc = dbk_migration_put_simple(
            reading, DBK_CHANGE_UNKNOWN,
            quoted ? dbk_slice(token.text.data + 1, token.text.size - 2) : token.text,
            DBK_MIGRATION_NONE, "is not read by PostgreSQL's grammar, and names");
    }
    return rc < 0 || any ? rc : dbk_migration_put_unknown(reading, DBK_SLICE_LITERAL("this"));
}

static int read_sqlite(struct dbk_migration_reading *reading, struct dbk_json *json)
{
    struct dbk_slice text = reading->migration->text;
    int rc = DBK_OK;
    for (size_t offset = 0; rc == DBK_OK;) {
        const struct dbk_json_node *root = NULL;
        struct dbk_error failure = {0};
        size_t place = 0;
        struct dbk_slice sql = dbk_sql_statement(text, offset, &offset);
        if (sql.size == 0)
            break;
        size_t base = (size_t)(sql.data - text.data);
        reading->offset = first_word(text, base);
        int parsed = dbk_service_parse(json, sql, &root, &place, &failure);
        if (parsed == DBK_OK)
            rc = read_all(reading, root, base);
        else if (parsed == DBK_EINVAL || parsed == DBK_ELIMIT)
            rc = read_words(reading, sql);
        else
            rc = dbk_error_set(reading->err, parsed, "%s", failure.message);
    }
    return rc;
}

int dbk_migration_read(struct dbk_migration *migration, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    size_t place = 0;
    struct dbk_migration_reading *reading = dbk_alloc_zero(1, sizeof(*reading));
    struct dbk_json *json = dbk_service_json();
    int rc = DBK_OK;
    migration->changes = NULL;
    migration->count = 0;
    migration->capacity = 0;
    if (reading == NULL || json == NULL) {
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", migration->file);
        goto out;
    }
    reading->migration = migration;
    reading->err = err;
    rc = dbk_service_bound(migration->text, &failure);
    if (rc == DBK_OK && migration->dialect == DBK_DIALECT_SQLITE) {
        rc = read_sqlite(reading, json);
        goto out;
    }
    if (rc == DBK_OK)
        rc = dbk_service_parse(json, migration->text, &root, &place, &failure);
    if (rc == DBK_OK) {
        rc = read_all(reading, root, 0);
    } else {
        unsigned line = 1;
        unsigned column = 1;
        dbk_text_place(migration->text, place, &line, &column);
        rc = dbk_error_set(err, rc, "%s:%u:%u: %s", migration->file, line, column, failure.message);
    }
out:
    dbk_json_free(json);
    dbk_free(reading);
    return rc;
}
