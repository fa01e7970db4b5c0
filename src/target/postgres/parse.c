/* SPDX-License-Identifier: Apache-2.0 */
#include "target/postgres/parse.h"

#include <pg_query.h>
#include <strings.h>

#include "json/json.h"

#define TREE_SIZE_MAX ((size_t)64 << 20)

struct walk {
    enum dbk_guard guard;
    struct dbk_buf *fields; /* names that may be columns or functions; NULL: nobody asks */
    bool changes;           /* met something that changes rows */
    int offset;
    struct dbk_error *err;
};

static const char *const who[] = {
    [DBK_GUARD_NONE] = "a statement", [DBK_GUARD_HANDLER] = "a handler",
    [DBK_GUARD_SCHEMA] = "a schema",  [DBK_GUARD_QUERY] = "a query",
    [DBK_GUARD_SENT] = "a query",     [DBK_GUARD_COMMAND] = "a command",
    [DBK_GUARD_PURGE] = "a purge",
};

void dbk_postgres_parameters(struct dbk_slice sql, struct dbk_buf *out)
{
    for (size_t offset = 0;;) {
        struct dbk_sql_token token = dbk_sql_next(sql, offset);
        if (token.kind == DBK_SQL_END)
            return;
        offset += token.text.size;
        bool numbered = token.kind == DBK_SQL_OTHER && dbk_slice_equal_text(token.text, "?") &&
                        dbk_sql_next(sql, offset).kind == DBK_SQL_NUMBER;
        if (numbered)
            dbk_buf_append_char(out, '$');
        else
            dbk_buf_append(out, token.text);
    }
}

static bool is_query(const struct walk *walk)
{
    return walk->guard == DBK_GUARD_QUERY || walk->guard == DBK_GUARD_SENT;
}

/* What runs once, or changes nothing, has the clock and chance. */
static bool has_clock(const struct walk *walk)
{
    return is_query(walk) || walk->guard == DBK_GUARD_COMMAND;
}

static int deny(struct walk *walk, const struct dbk_json_node *node, const char *what)
{
    const struct dbk_json_node *location = dbk_json_member(node, "location");
    if (location != NULL && location->kind == DBK_JSON_INTEGER)
        walk->offset = (int)location->integer;
    return dbk_error_set(walk->err, DBK_EDENIED, "%s may not %s", who[walk->guard], what);
}

static bool is_any(struct dbk_slice name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (dbk_slice_equal_text(name, *names))
            return true;
    }
    return false;
}

static bool begins_with_any(struct dbk_slice name, const char *const *prefixes)
{
    for (; *prefixes != NULL; prefixes++) {
        if (dbk_slice_starts_with(name, dbk_slice_of(*prefixes)))
            return true;
    }
    return false;
}

/* The text of {"String":{"sval":…}}; empty for anything else. */
static struct dbk_slice text_of(const struct dbk_json_node *node)
{
    const struct dbk_json_node *string = dbk_json_member(node, "String");
    const struct dbk_json_node *text = string == NULL ? NULL : dbk_json_member(string, "sval");
    return text == NULL || text->kind != DBK_JSON_STRING ? (struct dbk_slice){0} : text->text;
}

/* The last part of a name in parts, "pg_catalog.int4". */
static struct dbk_slice last_name(const struct dbk_json_node *parts)
{
    struct dbk_slice name = {0};
    if (parts == NULL || parts->kind != DBK_JSON_ARRAY)
        return name;
    const struct dbk_json_node *part = dbk_json_first(parts);
    for (uint32_t i = 0; i < parts->count; i++, part = dbk_json_sibling(part))
        name = text_of(part);
    return name;
}

/* True when a name has no schema, or that of the server. */
static bool is_servers(const struct dbk_json_node *parts)
{
    return parts != NULL && parts->kind == DBK_JSON_ARRAY &&
           (parts->count == 1 ||
            (parts->count == 2 &&
             dbk_slice_equal_text(text_of(dbk_json_first(parts)), "pg_catalog")));
}

static int check_function(struct walk *walk, const struct dbk_json_node *call)
{
    static const char *const clock[] = {
        "now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "timeofday",
        NULL};
    static const char *const chance[] = {"random",  "gen_random_uuid", "gen_random_bytes",
                                         "nextval", "setval",          "currval",
                                         "lastval", "setseed",         NULL};
    static const char *const reach[] = {"pg_",        "lo_",
                                        "dblink",     "txid_",
                                        "set_config", "current_setting",
                                        "query_to_",  "database_to_",
                                        "schema_to_", "table_to_",
                                        "cursor_to_", "ts_stat",
                                        "ts_rewrite", NULL};
    static const char *const generated[] = {"uuid_generate", NULL};
    const struct dbk_json_node *parts = dbk_json_member(call, "funcname");
    struct dbk_slice name = last_name(parts);
    if (begins_with_any(name, reach) && !dbk_slice_equal_text(name, "pg_typeof"))
        return deny(walk, call, "reach out of its tables by the server's own functions");
    /* Whoever sends it has the rights of the book's user: what an extension, or somebody who may
       make functions, has put there is not for them. */
    if (walk->guard == DBK_GUARD_SENT && (!dbk_sql_is_plain_function(name) || !is_servers(parts)))
        return deny(walk, call,
                    "call a function that is not one of PostgreSQL's own, or reaches out of its "
                    "tables: a file in queries/ may call others");
    if (has_clock(walk))
        return DBK_OK;
    if (is_any(name, clock))
        return deny(walk, call, "read the clock: use :_time or :_occurred");
    if (is_any(name, chance) || begins_with_any(name, generated))
        return deny(walk, call, "use chance or sequences: posting again would give other rows");
    return DBK_OK;
}

/*
 * (text).pg_read_file and t.pg_read_file call the function where there is no such column. Only
 * those that take one value can be called so.
 */
static int check_fields(struct walk *walk, const struct dbk_json_node *node, const char *key,
                        uint32_t first)
{
    static const char *const reach[] = {
        "pg_",       "dblink",  "current_setting", "ts_stat", "txid_",   "lo_import", "lo_creat",
        "lo_unlink", "lo_open", "lo_close",        "lo_get",  "lo_tell", NULL};
    const struct dbk_json_node *fields = dbk_json_member(node, key);
    if (fields == NULL || fields->kind != DBK_JSON_ARRAY)
        return DBK_OK;
    const struct dbk_json_node *field = dbk_json_first(fields);
    for (uint32_t i = 0; i < fields->count; i++, field = dbk_json_sibling(field)) {
        struct dbk_slice name = text_of(field);
        if (i >= first && name.size > 0 && walk->fields != NULL &&
            !dbk_sql_is_plain_function(name)) {
            dbk_buf_append(walk->fields, name);
            dbk_buf_append_char(walk->fields, '\0');
        }
        if (i >= first && begins_with_any(name, reach))
            return deny(walk, node, "reach out of its tables by the server's own functions");
    }
    return DBK_OK;
}

/* 'now'::timestamp */
static int check_cast(struct walk *walk, const struct dbk_json_node *cast)
{
    static const char *const words[] = {"now", "today", "tomorrow", "yesterday", NULL};
    const struct dbk_json_node *argument = dbk_json_member(cast, "arg");
    const struct dbk_json_node *constant =
        argument == NULL ? NULL : dbk_json_member(argument, "A_Const");
    const struct dbk_json_node *string =
        constant == NULL ? NULL : dbk_json_member(constant, "sval");
    const struct dbk_json_node *text = string == NULL ? NULL : dbk_json_member(string, "sval");
    if (has_clock(walk) || text == NULL || text->kind != DBK_JSON_STRING ||
        !is_any(text->text, words))
        return DBK_OK;
    return deny(walk, constant, "read the clock: use :_time or :_occurred");
}

static bool is_catalog(struct dbk_slice name, const struct dbk_json_node *schema)
{
    bool named = schema != NULL && schema->kind == DBK_JSON_STRING;
    /* The standard's views of what a login to another server has: its password. */
    if (named && dbk_slice_equal_text(schema->text, "information_schema"))
        return dbk_slice_starts_with(name, DBK_SLICE_LITERAL("_pg_")) ||
               dbk_slice_starts_with(name, DBK_SLICE_LITERAL("user_mapping"));
    return named ? dbk_slice_equal_text(schema->text, "pg_catalog") ||
                       dbk_slice_starts_with(schema->text, DBK_SLICE_LITERAL("pg_toast"))
                 : dbk_slice_starts_with(name, DBK_SLICE_LITERAL("pg_"));
}

static int check_table(struct walk *walk, const struct dbk_json_node *table)
{
    const struct dbk_json_node *name = dbk_json_member(table, "relname");
    const struct dbk_json_node *schema = dbk_json_member(table, "schemaname");
    if (name == NULL || name->kind != DBK_JSON_STRING)
        return DBK_OK;
    /* A command has the service's rights; all else has those of the book's user, who may read
       passwords and all that others do. */
    if (walk->guard != DBK_GUARD_COMMAND && is_catalog(name->text, schema))
        return deny(walk, table, "read the server's own tables");
    if (is_query(walk))
        return DBK_OK;
    if (name->text.size >= 8 && strncasecmp(name->text.data, "_daybook", 8) == 0)
        return deny(walk, table, "use the book's own tables");
    if (walk->guard == DBK_GUARD_COMMAND)
        return DBK_OK;
    if (schema != NULL)
        return deny(
            walk, table,
            "name a schema: tables lie in the first schema of the connection's search_path");
    for (size_t i = 0; i < name->text.size; i++) {
        if (name->text.data[i] >= 'A' && name->text.data[i] <= 'Z')
            return deny(walk, table, "use a quoted name with capitals for a table");
    }
    return DBK_OK;
}

static int check_column(struct walk *walk, const struct dbk_json_node *column)
{
    static const char *const serial[] = {"serial",    "serial2",     "serial4", "serial8",
                                         "bigserial", "smallserial", NULL};
    const struct dbk_json_node *type = dbk_json_member(column, "typeName");
    if (type != NULL && is_any(last_name(dbk_json_member(type, "names")), serial))
        return deny(walk, type, "count rows: posting again would give other numbers");
    return DBK_OK;
}

static int check_constraint(struct walk *walk, const struct dbk_json_node *constraint)
{
    const struct dbk_json_node *type = dbk_json_member(constraint, "contype");
    if (type != NULL && type->kind == DBK_JSON_STRING &&
        dbk_slice_equal_text(type->text, "CONSTR_IDENTITY"))
        return deny(walk, constraint, "count rows: posting again would give other numbers");
    return DBK_OK;
}

/* A node of the tree is the one member of an object, named by its kind. */
/* OPERATOR(schema.+) is whatever somebody has made there. */
static int check_operator(struct walk *walk, const struct dbk_json_node *expression,
                          const char *key)
{
    const struct dbk_json_node *parts = dbk_json_member(expression, key);
    return walk->guard != DBK_GUARD_SENT || parts == NULL || is_servers(parts)
               ? DBK_OK
               : deny(walk, expression, "use an operator of a schema that is not the server's");
}

static int check_node(struct walk *walk, const struct dbk_json_node *node)
{
    struct dbk_slice kind = node->key;
    if (dbk_slice_equal_text(kind, "FuncCall"))
        return check_function(walk, node);
    if (dbk_slice_equal_text(kind, "ColumnRef"))
        return check_fields(walk, node, "fields", 1);
    if (dbk_slice_equal_text(kind, "A_Indirection"))
        return check_fields(walk, node, "indirection", 0);
    if (dbk_slice_equal_text(kind, "A_Expr"))
        return check_operator(walk, node, "name");
    if (dbk_slice_equal_text(kind, "SubLink"))
        return check_operator(walk, node, "operName");
    if (dbk_slice_equal_text(kind, "SortBy"))
        return check_operator(walk, node, "useOp");
    if (dbk_slice_equal_text(kind, "TypeCast"))
        return check_cast(walk, node);
    if (dbk_slice_equal_text(kind, "SQLValueFunction") && !has_clock(walk))
        return deny(walk, node, "read the clock or the session: use :_time or :_occurred");
    if (dbk_slice_equal_text(kind, "RangeVar") || dbk_slice_equal_text(kind, "relation") ||
        dbk_slice_equal_text(kind, "view"))
        return check_table(walk, node);
    if (dbk_slice_equal_text(kind, "ColumnDef"))
        return check_column(walk, node);
    if (dbk_slice_equal_text(kind, "Constraint"))
        return check_constraint(walk, node);
    if (dbk_slice_equal_text(kind, "IntoClause") || dbk_slice_equal_text(kind, "intoClause"))
        return deny(walk, node, "create or drop anything");
    if (dbk_slice_equal_text(kind, "InsertStmt") || dbk_slice_equal_text(kind, "UpdateStmt") ||
        dbk_slice_equal_text(kind, "DeleteStmt") || dbk_slice_equal_text(kind, "MergeStmt"))
        walk->changes = true;
    return DBK_OK;
}

/* All nodes of a subtree stand behind one another. */
static int check_tree(struct walk *walk, const struct dbk_json_node *root)
{
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && walk->guard != DBK_GUARD_NONE && i < root->next; i++) {
        if (root[i].kind == DBK_JSON_OBJECT && root[i].key.size > 0)
            rc = check_node(walk, &root[i]);
    }
    return rc;
}

static int check_kind(struct walk *walk, const struct dbk_json_node *statement)
{
    static const char *const changes[] = {"SelectStmt", "InsertStmt", "UpdateStmt",
                                          "DeleteStmt", "MergeStmt",  NULL};
    static const char *const creates[] = {"CreateStmt", "IndexStmt", "ViewStmt", NULL};
    switch (walk->guard) {
    case DBK_GUARD_NONE:
        return DBK_OK;
    case DBK_GUARD_HANDLER:
    case DBK_GUARD_COMMAND:
    case DBK_GUARD_PURGE:
        return is_any(statement->key, changes)
                   ? DBK_OK
                   : deny(walk, statement, "do more than read and change rows");
    case DBK_GUARD_SCHEMA:
        return is_any(statement->key, creates)
                   ? DBK_OK
                   : deny(walk, statement, "do more than create tables, indexes and views");
    case DBK_GUARD_QUERY:
    case DBK_GUARD_SENT:
        return dbk_slice_equal_text(statement->key, "SelectStmt")
                   ? DBK_OK
                   : deny(walk, statement, "change anything");
    }
    return DBK_OK;
}

static int check_bounds(struct dbk_slice sql, struct dbk_error *err)
{
    size_t count = 0;
    if (sql.size > DBK_POSTGRES_SQL_SIZE_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "the statement has %zu bytes, at most %zu are read",
                             sql.size, DBK_POSTGRES_SQL_SIZE_MAX);
    if (sql.size > 0 && memchr(sql.data, 0, sql.size) != NULL)
        return dbk_error_set(err, DBK_EINVAL, "the statement has a NUL byte");
    for (size_t offset = 0;; count++) {
        struct dbk_sql_token token = dbk_sql_next(sql, offset);
        if (token.kind == DBK_SQL_END)
            return DBK_OK;
        offset += token.text.size;
        if (count == DBK_POSTGRES_TOKENS_MAX)
            return dbk_error_set(err, DBK_ELIMIT, "the statement has more than %d words and signs",
                                 DBK_POSTGRES_TOKENS_MAX);
    }
}

/* Parses text that ends with a NUL, and hands its statements' tree to `use`. */
typedef int (*use_fn)(void *context, const struct dbk_json_node *statements, struct dbk_error *err);

static int parse(const char *text, use_fn use, void *context, int *offset_out,
                 struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    PgQueryParseResult result = pg_query_parse(text);
    struct dbk_json *json = dbk_json_create(TREE_SIZE_MAX);
    int rc = DBK_OK;
    if (json == NULL) {
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory parsing SQL");
    } else if (result.error != NULL) {
        *offset_out = result.error->cursorpos > 0 ? result.error->cursorpos - 1 : -1;
        rc = dbk_error_set(err, DBK_EINVAL, "%s", result.error->message);
    } else {
        rc = dbk_json_parse(json, dbk_slice_of(result.parse_tree), &root, err);
    }
    if (rc == DBK_OK) {
        const struct dbk_json_node *statements = dbk_json_member(root, "stmts");
        rc = use(context, statements, err);
    }
    pg_query_free_parse_result(result);
    dbk_json_free(json);
    return rc;
}

static int check_statements(void *context, const struct dbk_json_node *statements,
                            struct dbk_error *err)
{
    struct walk *walk = context;
    if (statements == NULL || statements->kind != DBK_JSON_ARRAY || statements->count == 0)
        return dbk_error_set(err, DBK_EINVAL, "there is no statement");
    if (statements->count > 1)
        return dbk_error_set(err, DBK_EINVAL, "there is a second statement");
    const struct dbk_json_node *holder = dbk_json_member(dbk_json_first(statements), "stmt");
    const struct dbk_json_node *statement = holder == NULL ? NULL : dbk_json_first(holder);
    if (statement == NULL)
        return dbk_error_set(err, DBK_EINVAL, "there is no statement");
    int rc = check_kind(walk, statement);
    if (rc == DBK_OK)
        rc = check_tree(walk, holder);
    if (rc == DBK_OK && walk->changes && is_query(walk))
        rc = deny(walk, statement, "change anything");
    /* What has no guard is looked at for its kind alone. */
    for (uint32_t i = 0; rc == DBK_OK && i < holder->next; i++) {
        static const char *const changing[] = {"InsertStmt", "UpdateStmt", "DeleteStmt",
                                               "MergeStmt",  "intoClause", NULL};
        walk->changes = walk->changes || is_any(holder[i].key, changing);
    }
    return rc;
}

static bool is_select(struct dbk_slice sql)
{
    static const char *const words[] = {"select", "with",   "values", "insert",
                                        "update", "delete", "merge",  NULL};
    for (size_t offset = 0;;) {
        struct dbk_sql_token token = dbk_sql_next(sql, offset);
        offset += token.text.size;
        if (token.kind == DBK_SQL_SPACE || dbk_slice_equal_text(token.text, "("))
            continue;
        for (const char *const *word = words; token.kind == DBK_SQL_NAME && *word != NULL; word++) {
            if (dbk_sql_name_is(token.text, dbk_slice_of(*word)))
                return true;
        }
        return false;
    }
}

int dbk_postgres_check(struct dbk_slice sql, enum dbk_guard guard, enum dbk_postgres_kind *kind_out,
                       struct dbk_buf *fields, int *offset_out, struct dbk_error *err)
{
    struct walk walk = {.guard = guard, .fields = fields, .offset = -1, .err = err};
    struct dbk_buf text;
    *offset_out = -1;
    dbk_buf_init(&text, DBK_POSTGRES_SQL_SIZE_MAX + 1);
    int rc = check_bounds(sql, err);
    if (rc == DBK_OK) {
        dbk_postgres_parameters(sql, &text);
        dbk_buf_append_char(&text, 0);
        rc = text.rc < 0 ? dbk_error_set(err, text.rc, "out of memory parsing SQL") : DBK_OK;
    }
    if (rc == DBK_OK)
        rc = parse(text.data, check_statements, &walk, &walk.offset, err);
    dbk_buf_release(&text);
    *offset_out = walk.offset;
    if (rc == DBK_OK && fields != NULL && fields->rc < 0)
        rc = dbk_error_set(err, fields->rc, "out of memory parsing SQL");
    if (rc == DBK_OK && kind_out != NULL)
        *kind_out = !is_select(sql) ? DBK_POSTGRES_OTHER
                    : walk.changes  ? DBK_POSTGRES_CHANGE
                                    : DBK_POSTGRES_SELECT;
    return rc;
}

struct listing {
    dbk_object_fn each;
    void *context;
};

static int list_name(const struct listing *listing, enum dbk_object_kind kind,
                     const struct dbk_json_node *name)
{
    if (name == NULL || name->kind != DBK_JSON_STRING)
        return DBK_OK;
    return listing->each(listing->context, kind, name->text);
}

/* Named keys are indexes of their own. */
static int list_constraints(const struct listing *listing, const struct dbk_json_node *table)
{
    static const char *const keys[] = {"CONSTR_PRIMARY", "CONSTR_UNIQUE", "CONSTR_EXCLUSION", NULL};
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && i < table->next; i++) {
        if (!dbk_slice_equal_text(table[i].key, "Constraint"))
            continue;
        const struct dbk_json_node *type = dbk_json_member(&table[i], "contype");
        if (type != NULL && type->kind == DBK_JSON_STRING && is_any(type->text, keys))
            rc = list_name(listing, DBK_OBJECT_INDEX, dbk_json_member(&table[i], "conname"));
    }
    return rc;
}

static int list_statement(const struct listing *listing, const struct dbk_json_node *statement)
{
    const struct dbk_json_node *made = NULL;
    if (dbk_slice_equal_text(statement->key, "CreateStmt")) {
        made = dbk_json_member(statement, "relation");
        int rc = made == NULL
                     ? DBK_OK
                     : list_name(listing, DBK_OBJECT_TABLE, dbk_json_member(made, "relname"));
        return rc == DBK_OK ? list_constraints(listing, statement) : rc;
    }
    if (dbk_slice_equal_text(statement->key, "ViewStmt")) {
        made = dbk_json_member(statement, "view");
        return made == NULL ? DBK_OK
                            : list_name(listing, DBK_OBJECT_VIEW, dbk_json_member(made, "relname"));
    }
    if (dbk_slice_equal_text(statement->key, "IndexStmt"))
        return list_name(listing, DBK_OBJECT_INDEX, dbk_json_member(statement, "idxname"));
    return DBK_OK;
}

static int list_statements(void *context, const struct dbk_json_node *statements,
                           struct dbk_error *err)
{
    const struct listing *listing = context;
    int rc = DBK_OK;
    if (statements == NULL || statements->kind != DBK_JSON_ARRAY)
        return DBK_OK;
    const struct dbk_json_node *item = dbk_json_first(statements);
    for (uint32_t i = 0; rc == DBK_OK && i < statements->count;
         i++, item = dbk_json_sibling(item)) {
        const struct dbk_json_node *holder = dbk_json_member(item, "stmt");
        const struct dbk_json_node *statement = holder == NULL ? NULL : dbk_json_first(holder);
        rc = statement == NULL ? DBK_OK : list_statement(listing, statement);
    }
    return rc < 0 ? dbk_error_set(err, rc, "%s reading a schema", dbk_code_text(rc)) : rc;
}

int dbk_postgres_objects(struct dbk_slice schema, dbk_object_fn each, void *context,
                         struct dbk_error *err)
{
    struct listing listing = {each, context};
    size_t offset = 0;
    int rc = DBK_OK;
    while (rc == DBK_OK) {
        int at = -1;
        struct dbk_slice sql = dbk_sql_statement(schema, offset, &offset);
        if (sql.size == 0)
            break;
        rc = check_bounds(sql, err);
        char *text = rc < 0 ? NULL : dbk_copy_text(sql);
        if (rc == DBK_OK && text == NULL)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory reading a schema");
        if (rc == DBK_OK)
            rc = parse(text, list_statements, &listing, &at, err);
        dbk_free(text);
    }
    return rc;
}
