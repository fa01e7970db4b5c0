/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a text of SQL uses of tables. Each SELECT is a scope of what its FROM names, within the
 * scope around it. A column with its table's name is that table's; one without may be any's that is
 * in scope, and is certain where that is one.
 */
#include "service/sql.h"
#include "target/target.h"

#define ITEMS_MAX 64

struct item {
    struct dbk_slice alias;
    struct dbk_slice table; /* empty: a subquery's, a function's or a WITH's rows */
};

struct scope {
    const struct scope *outer;
    struct item items[ITEMS_MAX];
    size_t item_count;
    struct dbk_slice withs[ITEMS_MAX];
    size_t with_count;
};

struct walk {
    struct dbk_uses *uses;
    int rc;
};

static void add(struct walk *walk, struct dbk_slice table, struct dbk_slice column, unsigned flags)
{
    if (walk->rc == DBK_OK)
        walk->rc = dbk_uses_add(walk->uses, table, column, flags);
}

static void walk_node(struct walk *walk, struct scope *scope, const struct dbk_json_node *node);
/* What the columns are for that a SELECT's `*` stands for. */
enum star {
    STAR_SHOWN,   /* they are what it answers */
    STAR_COUNTED, /* there must be as many as something else has */
    STAR_GIVEN,   /* an INSERT without names takes them by their place */
    STAR_UNREAD,  /* EXISTS: nobody looks at them */
};
static void walk_select(struct walk *walk, const struct scope *outer,
                        const struct dbk_json_node *select, enum star star);

static void walk_member(struct walk *walk, struct scope *scope, const struct dbk_json_node *node,
                        const char *key)
{
    const struct dbk_json_node *member = dbk_json_member(node, key);
    if (member != NULL)
        walk_node(walk, scope, member);
}

static const struct dbk_json_node *list_of(const struct dbk_json_node *node, const char *key)
{
    const struct dbk_json_node *list = node == NULL ? NULL : dbk_json_member(node, key);
    return list == NULL || list->kind != DBK_JSON_ARRAY ? NULL : list;
}

/* ---- Names ---- */

static bool is_with(const struct scope *scope, struct dbk_slice name)
{
    for (; scope != NULL; scope = scope->outer) {
        for (size_t i = 0; i < scope->with_count; i++) {
            if (dbk_slice_equal(scope->withs[i], name))
                return true;
        }
    }
    return false;
}

static bool is_full(const struct scope *scope)
{
    return scope->item_count == ITEMS_MAX;
}

static void put_item(struct walk *walk, struct scope *scope, struct dbk_slice alias,
                     struct dbk_slice table)
{
    if (is_full(scope)) /* What is not in scope is possible everywhere: all of it is read. */
        add(walk, table, DBK_SLICE_LITERAL("*"), DBK_USE_READ);
    else
        scope->items[scope->item_count++] = (struct item){alias, table};
}

static struct dbk_slice alias_of(const struct dbk_json_node *node)
{
    return dbk_service_text(dbk_json_member(node, "alias"), "aliasname");
}

/* A table in FROM, or that is changed. */
static void put_table(struct walk *walk, struct scope *scope, const struct dbk_json_node *node,
                      unsigned flags)
{
    struct dbk_slice name = dbk_service_text(node, "relname");
    struct dbk_slice alias = alias_of(node);
    bool with = dbk_json_member(node, "schemaname") == NULL && is_with(scope, name);
    if (name.size == 0)
        return;
    if (!with)
        add(walk, name, (struct dbk_slice){"", 0}, flags);
    put_item(walk, scope, alias.size > 0 ? alias : name, with ? (struct dbk_slice){0} : name);
}

/* What a table is not known to have, and the name would mean, too, if it got it. */
static void add_would(struct walk *walk, struct dbk_slice table, struct dbk_slice column,
                      bool certain)
{
    char *name = dbk_arena_alloc(walk->uses->arena, column.size + 1);
    if (name == NULL) {
        walk->rc = DBK_ENOMEM;
        return;
    }
    name[0] = '?';
    memcpy(name + 1, column.data, column.size);
    add(walk, table, dbk_slice(name, column.size + 1),
        certain ? DBK_USE_READ : DBK_USE_READ | DBK_USE_POSSIBLE);
}

/* Every table that is in scope may have the column. */
static void add_possible(struct walk *walk, const struct scope *scope, struct dbk_slice column,
                         unsigned flags)
{
    size_t count = 0;
    bool one_level = scope != NULL && scope->outer == NULL;
    for (const struct scope *one = scope; one != NULL; one = one->outer)
        count += one->item_count;
    for (const struct scope *one = count > 1 ? scope : NULL; one != NULL; one = one->outer) {
        for (size_t i = 0; i < one->item_count; i++) {
            if (one->items[i].table.size > 0)
                add_would(walk, one->items[i].table, column, one_level);
        }
    }
    for (const struct scope *one = scope; one != NULL; one = one->outer) {
        for (size_t i = 0; i < one->item_count; i++) {
            const struct item *item = &one->items[i];
            if (dbk_slice_equal(item->alias, column) && item->table.size > 0)
                add(walk, item->table, DBK_SLICE_LITERAL("*"), flags | DBK_USE_POSSIBLE);
            if (item->table.size > 0)
                add(walk, item->table, column, count == 1 ? flags : flags | DBK_USE_POSSIBLE);
        }
    }
}

static const struct item *find_item(const struct scope *scope, struct dbk_slice alias)
{
    for (; scope != NULL; scope = scope->outer) {
        for (size_t i = 0; i < scope->item_count; i++) {
            if (dbk_slice_equal(scope->items[i].alias, alias))
                return &scope->items[i];
        }
    }
    return NULL;
}

static void add_star(struct walk *walk, const struct scope *scope, unsigned flags)
{
    for (size_t i = 0; scope != NULL && i < scope->item_count; i++) {
        if (scope->items[i].table.size > 0)
            add(walk, scope->items[i].table, DBK_SLICE_LITERAL("*"), flags);
    }
}

/* The names of a column, last first: column, table; a star's column is "*". */
static size_t names_of(const struct dbk_json_node *fields, struct dbk_slice names[2])
{
    size_t count = 0;
    const struct dbk_json_node *field = dbk_json_first(fields);
    for (uint32_t i = 0; i < fields->count; i++, field = dbk_json_sibling(field)) {
        names[1] = names[0];
        names[0] = dbk_service_string(field);
        if (dbk_json_member(field, "A_Star") != NULL)
            names[0] = DBK_SLICE_LITERAL("*");
        count++;
    }
    return count;
}

/* star: the flags of `*` and `t.*`. */
static void walk_column(struct walk *walk, const struct scope *scope,
                        const struct dbk_json_node *column, unsigned star)
{
    struct dbk_slice names[2] = {{0}, {0}};
    const struct dbk_json_node *fields = list_of(column, "fields");
    size_t count = fields == NULL ? 0 : names_of(fields, names);
    if (count == 0 || names[0].size == 0)
        return;
    if (count == 1 && dbk_slice_equal_text(names[0], "*")) {
        add_star(walk, scope, star);
        return;
    }
    if (count == 1) {
        add_possible(walk, scope, names[0], DBK_USE_READ);
        return;
    }
    const struct item *item = find_item(scope, names[1]);
    if (item != NULL && item->table.size > 0)
        add(walk, item->table, names[0], dbk_slice_equal_text(names[0], "*") ? star : DBK_USE_READ);
    else if (item == NULL) /* (row).field, or a name that is in no scope here. */
        add_possible(walk, scope, names[1], DBK_USE_READ);
}

static void walk_function(struct walk *walk, struct scope *scope, const struct dbk_json_node *call)
{
    const struct dbk_json_node *names = list_of(call, "funcname");
    struct dbk_slice name = {0};
    const struct dbk_json_node *part = names == NULL ? NULL : dbk_json_first(names);
    for (uint32_t i = 0; part != NULL && i < names->count; i++, part = dbk_json_sibling(part))
        name = dbk_service_string(part);
    if (name.size > 0)
        add(walk, DBK_SLICE_LITERAL("()"), name, DBK_USE_READ);
    const struct dbk_json_node *member = dbk_json_first(call);
    for (uint32_t i = 0; i < call->count; i++, member = dbk_json_sibling(member)) {
        if (!dbk_slice_equal_text(member->key, "funcname"))
            walk_node(walk, scope, member);
    }
}

/* ---- FROM ---- */

static void walk_from(struct walk *walk, struct scope *scope, const struct dbk_json_node *node);

static void walk_join(struct walk *walk, struct scope *scope, const struct dbk_json_node *join)
{
    const struct dbk_json_node *left = dbk_json_member(join, "larg");
    const struct dbk_json_node *right = dbk_json_member(join, "rarg");
    const struct dbk_json_node *using = list_of(join, "usingClause");
    if (left != NULL)
        walk_from(walk, scope, left);
    if (right != NULL)
        walk_from(walk, scope, right);
    walk_member(walk, scope, join, "quals");
    const struct dbk_json_node *name = using == NULL ? NULL : dbk_json_first(using);
    for (uint32_t i = 0; name != NULL && i < using->count; i++, name = dbk_json_sibling(name)) {
        for (size_t j = 0; j < scope->item_count; j++) {
            if (scope->items[j].table.size > 0)
                add(walk, scope->items[j].table, dbk_service_string(name),
                    scope->item_count == 2 ? DBK_USE_READ : DBK_USE_READ | DBK_USE_POSSIBLE);
        }
    }
    if (dbk_service_is_true(join, "isNatural"))
        add_star(walk, scope, DBK_USE_READ);
}

static void walk_from(struct walk *walk, struct scope *scope, const struct dbk_json_node *node)
{
    const struct dbk_json_node *one = dbk_json_first(node);
    if (one == NULL)
        return;
    if (dbk_slice_equal_text(one->key, "RangeVar")) {
        put_table(walk, scope, one, DBK_USE_READ);
    } else if (dbk_slice_equal_text(one->key, "JoinExpr")) {
        walk_join(walk, scope, one);
    } else if (dbk_slice_equal_text(one->key, "RangeSubselect")) {
        walk_member(walk, scope, one, "subquery");
        put_item(walk, scope, alias_of(one), (struct dbk_slice){0});
    } else {
        walk_node(walk, scope, one);
        put_item(walk, scope, alias_of(one), (struct dbk_slice){0});
    }
}

static void walk_froms(struct walk *walk, struct scope *scope, const struct dbk_json_node *node,
                       const char *key)
{
    const struct dbk_json_node *list = list_of(node, key);
    const struct dbk_json_node *one = list == NULL ? NULL : dbk_json_first(list);
    for (uint32_t i = 0; one != NULL && i < list->count; i++, one = dbk_json_sibling(one))
        walk_from(walk, scope, one);
}

static void walk_withs(struct walk *walk, struct scope *scope, const struct dbk_json_node *node)
{
    const struct dbk_json_node *with = dbk_json_member(node, "withClause");
    const struct dbk_json_node *list = list_of(with, "ctes");
    const struct dbk_json_node *one = list == NULL ? NULL : dbk_json_first(list);
    for (uint32_t i = 0; one != NULL && i < list->count; i++, one = dbk_json_sibling(one)) {
        const struct dbk_json_node *table = dbk_json_member(one, "CommonTableExpr");
        struct dbk_slice name = dbk_service_text(table, "ctename");
        bool recursive = dbk_service_is_true(with, "recursive");
        bool fits = table != NULL && scope->with_count < ITEMS_MAX;
        if (fits && recursive)
            scope->withs[scope->with_count++] = name;
        if (table != NULL)
            walk_member(walk, scope, table, "ctequery");
        if (fits && !recursive)
            scope->withs[scope->with_count++] = name;
    }
}

/* ---- Statements ---- */

static bool is_label(const struct dbk_json_node *labels, struct dbk_slice name)
{
    const struct dbk_json_node *one = labels == NULL ? NULL : dbk_json_first(labels);
    for (uint32_t i = 0; one != NULL && i < labels->count; i++, one = dbk_json_sibling(one)) {
        if (dbk_slice_equal(dbk_service_text(dbk_json_member(one, "ResTarget"), "name"), name))
            return true;
    }
    return false;
}

/* ORDER BY: what is an output's name is that. */
static void walk_sort(struct walk *walk, struct scope *scope, const struct dbk_json_node *select)
{
    const struct dbk_json_node *list = list_of(select, "sortClause");
    const struct dbk_json_node *labels = list_of(select, "targetList");
    const struct dbk_json_node *one = list == NULL ? NULL : dbk_json_first(list);
    for (uint32_t i = 0; one != NULL && i < list->count; i++, one = dbk_json_sibling(one)) {
        const struct dbk_json_node *by = dbk_json_member(one, "SortBy");
        const struct dbk_json_node *node = by == NULL ? NULL : dbk_json_member(by, "node");
        const struct dbk_json_node *column =
            node == NULL ? NULL : dbk_json_member(node, "ColumnRef");
        const struct dbk_json_node *fields = list_of(column, "fields");
        if (fields != NULL && fields->count == 1 &&
            is_label(labels, dbk_service_string(dbk_json_first(fields))))
            continue;
        if (node != NULL)
            walk_node(walk, scope, node);
    }
}

/* The one table whose columns, all of them, a SELECT is; empty: it is another one. */
static struct dbk_slice whole_table(const struct dbk_json_node *select)
{
    const struct dbk_json_node *targets = list_of(select, "targetList");
    const struct dbk_json_node *from = list_of(select, "fromClause");
    bool one =
        targets != NULL && from != NULL && targets->count == 1 && from->count == 1 &&
        dbk_service_text(dbk_json_member(dbk_json_first(from), "RangeVar"), "relname").size > 0;
    const struct dbk_json_node *target =
        one ? dbk_json_member(dbk_json_first(targets), "ResTarget") : NULL;
    const struct dbk_json_node *value = target == NULL ? NULL : dbk_json_member(target, "val");
    const struct dbk_json_node *column = value == NULL ? NULL : dbk_json_member(value, "ColumnRef");
    const struct dbk_json_node *fields = list_of(column, "fields");
    bool star = fields != NULL && fields->count == 1 &&
                dbk_json_member(dbk_json_first(fields), "A_Star") != NULL;
    return star ? dbk_service_text(dbk_json_member(dbk_json_first(from), "RangeVar"), "relname")
                : (struct dbk_slice){0};
}

/* Both sides of UNION have as many columns; those of one table stay as many as they are. */
static void walk_sides(struct walk *walk, struct scope *scope, const struct dbk_json_node *select,
                       enum star star)
{
    const struct dbk_json_node *left = dbk_json_member(select, "larg");
    const struct dbk_json_node *right = dbk_json_member(select, "rarg");
    if (left == NULL || right == NULL)
        return;
    struct dbk_slice table = whole_table(left);
    bool one = table.size > 0 && dbk_slice_equal(table, whole_table(right));
    walk_select(walk, scope, left, one ? star : STAR_COUNTED);
    walk_select(walk, scope, right, one ? star : STAR_COUNTED);
}

static void walk_outputs(struct walk *walk, struct scope *scope, const struct dbk_json_node *list,
                         enum star star)
{
    static const unsigned flags[] = {[STAR_SHOWN] = DBK_USE_READ,
                                     [STAR_COUNTED] = DBK_USE_READ | DBK_USE_COUNTED,
                                     [STAR_GIVEN] = DBK_USE_READ | DBK_USE_GIVEN,
                                     [STAR_UNREAD] = 0};
    const struct dbk_json_node *one = list == NULL ? NULL : dbk_json_first(list);
    for (uint32_t i = 0; one != NULL && i < list->count; i++, one = dbk_json_sibling(one)) {
        const struct dbk_json_node *target = dbk_json_member(one, "ResTarget");
        const struct dbk_json_node *value = target == NULL ? NULL : dbk_json_member(target, "val");
        const struct dbk_json_node *column =
            value == NULL ? NULL : dbk_json_member(value, "ColumnRef");
        const struct dbk_json_node *fields = list_of(column, "fields");
        struct dbk_slice names[2] = {{0}, {0}};
        if (fields != NULL)
            (void)names_of(fields, names);
        bool all = dbk_slice_equal_text(names[0], "*");
        if (!all)
            walk_node(walk, scope, one);
        else if (star != STAR_UNREAD)
            walk_column(walk, scope, column, flags[star]);
    }
}

static void walk_select(struct walk *walk, const struct scope *outer,
                        const struct dbk_json_node *select, enum star star)
{
    static const char *const clauses[] = {
        "whereClause", "groupClause", "havingClause",   "windowClause", "valuesLists",
        "limitCount",  "limitOffset", "distinctClause", "intoClause",   "lockingClause"};
    struct scope *scope = dbk_arena_alloc_zero(walk->uses->arena, 1, sizeof(*scope));
    if (scope == NULL) {
        walk->rc = DBK_ENOMEM;
        return;
    }
    scope->outer = outer;
    walk_withs(walk, scope, select);
    walk_sides(walk, scope, select, star);
    walk_froms(walk, scope, select, "fromClause");
    walk_outputs(walk, scope, list_of(select, "targetList"), star);
    for (size_t i = 0; i < sizeof(clauses) / sizeof(clauses[0]); i++)
        walk_member(walk, scope, select, clauses[i]);
    walk_sort(walk, scope, select);
}

/* The columns of a target list are given values. */
static void walk_targets(struct walk *walk, struct scope *scope, struct dbk_slice table,
                         const struct dbk_json_node *list)
{
    const struct dbk_json_node *one = list == NULL ? NULL : dbk_json_first(list);
    for (uint32_t i = 0; one != NULL && i < list->count; i++, one = dbk_json_sibling(one)) {
        const struct dbk_json_node *target = dbk_json_member(one, "ResTarget");
        struct dbk_slice name = dbk_service_text(target, "name");
        if (name.size > 0)
            add(walk, table, name, DBK_USE_WRITE);
        if (target != NULL)
            walk_member(walk, scope, target, "val");
    }
}

static void walk_conflict(struct walk *walk, struct scope *scope, struct dbk_slice table,
                          const struct dbk_json_node *clause)
{
    const struct dbk_json_node *infer = dbk_json_member(clause, "infer");
    const struct dbk_json_node *list = list_of(infer, "indexElems");
    const struct dbk_json_node *one = list == NULL ? NULL : dbk_json_first(list);
    add(walk, table, (struct dbk_slice){"", 0}, DBK_USE_CONFLICT);
    for (uint32_t i = 0; one != NULL && i < list->count; i++, one = dbk_json_sibling(one)) {
        struct dbk_slice name = dbk_service_text(dbk_json_member(one, "IndexElem"), "name");
        if (name.size > 0)
            add(walk, table, name, DBK_USE_READ);
    }
    const struct dbk_json_node *targets = list_of(clause, "targetList");
    if (targets != NULL)
        add(walk, table, (struct dbk_slice){"", 0}, DBK_USE_UPDATE);
    walk_targets(walk, scope, table, targets);
    walk_member(walk, scope, clause, "whereClause");
}

static void walk_insert(struct walk *walk, struct scope *scope, const struct dbk_json_node *insert)
{
    const struct dbk_json_node *relation = dbk_json_member(insert, "relation");
    const struct dbk_json_node *columns = list_of(insert, "cols");
    const struct dbk_json_node *conflict = dbk_json_member(insert, "onConflictClause");
    struct dbk_slice table = dbk_service_text(relation, "relname");
    const struct dbk_json_node *rows = dbk_json_member(insert, "selectStmt");
    const struct dbk_json_node *select = rows == NULL ? NULL : dbk_json_member(rows, "SelectStmt");
    if (select != NULL)
        walk_select(walk, scope, select, columns == NULL ? STAR_GIVEN : STAR_COUNTED);
    if (relation == NULL)
        return;
    put_table(walk, scope, relation, columns == NULL ? DBK_USE_POSITIONAL : DBK_USE_INSERT);
    walk_targets(walk, scope, table, columns);
    if (conflict != NULL)
        walk_conflict(walk, scope, table, conflict);
    walk_member(walk, scope, insert, "returningList");
}

static void walk_update(struct walk *walk, struct scope *scope, const struct dbk_json_node *update)
{
    const struct dbk_json_node *relation = dbk_json_member(update, "relation");
    if (relation == NULL)
        return;
    put_table(walk, scope, relation, DBK_USE_UPDATE);
    walk_froms(walk, scope, update, "fromClause");
    walk_targets(walk, scope, dbk_service_text(relation, "relname"), list_of(update, "targetList"));
    walk_member(walk, scope, update, "whereClause");
    walk_member(walk, scope, update, "returningList");
}

static void walk_delete(struct walk *walk, struct scope *scope, const struct dbk_json_node *remove)
{
    const struct dbk_json_node *relation = dbk_json_member(remove, "relation");
    if (relation == NULL)
        return;
    put_table(walk, scope, relation, DBK_USE_DELETE);
    walk_froms(walk, scope, remove, "usingClause");
    walk_member(walk, scope, remove, "whereClause");
    walk_member(walk, scope, remove, "returningList");
}

/* A statement within another (in WITH) or alone. */
static bool walk_statement(struct walk *walk, const struct scope *outer,
                           const struct dbk_json_node *node)
{
    static const struct {
        const char *kind;
        void (*walk)(struct walk *walk, struct scope *scope, const struct dbk_json_node *node);
    } kinds[] = {
        {"InsertStmt", walk_insert}, {"UpdateStmt", walk_update}, {"DeleteStmt", walk_delete}};
    if (dbk_slice_equal_text(node->key, "SelectStmt")) {
        walk_select(walk, outer, node, STAR_SHOWN);
        return true;
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!dbk_slice_equal_text(node->key, kinds[i].kind))
            continue;
        struct scope *scope = dbk_arena_alloc_zero(walk->uses->arena, 1, sizeof(*scope));
        if (scope == NULL) {
            walk->rc = DBK_ENOMEM;
            return true;
        }
        scope->outer = outer;
        walk_withs(walk, scope, node);
        kinds[i].walk(walk, scope, node);
        return true;
    }
    return false;
}

/* EXISTS, IN, = ANY, ARRAY and what stands for one value. */
static void walk_sublink(struct walk *walk, struct scope *scope, const struct dbk_json_node *link)
{
    const struct dbk_json_node *rows = dbk_json_member(link, "subselect");
    const struct dbk_json_node *select = rows == NULL ? NULL : dbk_json_member(rows, "SelectStmt");
    bool exists = dbk_slice_equal_text(dbk_service_text(link, "subLinkType"), "EXISTS_SUBLINK");
    walk_member(walk, scope, link, "testexpr");
    if (select != NULL)
        walk_select(walk, scope, select, exists ? STAR_UNREAD : STAR_COUNTED);
}

static void walk_node(struct walk *walk, struct scope *scope, const struct dbk_json_node *node)
{
    if (walk->rc < 0 || walk_statement(walk, scope, node))
        return;
    if (dbk_slice_equal_text(node->key, "ColumnRef")) {
        walk_column(walk, scope, node, DBK_USE_READ);
        return;
    }
    if (dbk_slice_equal_text(node->key, "SubLink")) {
        walk_sublink(walk, scope, node);
        return;
    }
    if (dbk_slice_equal_text(node->key, "FuncCall")) {
        walk_function(walk, scope, node);
        return;
    }
    if (dbk_slice_equal_text(node->key, "RangeVar")) { /* MERGE, and what else names a table. */
        add(walk, dbk_service_text(node, "relname"), DBK_SLICE_LITERAL("*"),
            DBK_USE_READ | DBK_USE_POSSIBLE);
        add(walk, dbk_service_text(node, "relname"), (struct dbk_slice){"", 0},
            DBK_USE_INSERT | DBK_USE_POSITIONAL | DBK_USE_UPDATE | DBK_USE_DELETE |
                DBK_USE_POSSIBLE);
        return;
    }
    if (node->kind != DBK_JSON_OBJECT && node->kind != DBK_JSON_ARRAY)
        return;
    const struct dbk_json_node *child = dbk_json_first(node);
    for (uint32_t i = 0; child != NULL && i < node->count; i++, child = dbk_json_sibling(child))
        walk_node(walk, scope, child);
}

/* ---- What cannot be parsed ---- */

static struct dbk_slice unquoted(struct dbk_slice name)
{
    bool quoted = name.size >= 2 && strchr("\"[`", *name.data) != NULL;
    return quoted ? dbk_slice(name.data + 1, name.size - 2) : name;
}

/* Each of its words may be a table, and may be a column of each. */
static int read_words(struct dbk_uses *uses, struct dbk_slice text)
{
    int rc = DBK_OK;
    uses->unread = true;
    for (size_t at = 0; rc == DBK_OK && at < text.size;) {
        struct dbk_sql_token token = dbk_sql_next(text, at);
        if (token.text.size == 0)
            break;
        if (token.kind == DBK_SQL_NAME)
            rc = dbk_uses_add(uses, unquoted(token.text), (struct dbk_slice){"", 0},
                              DBK_USE_READ | DBK_USE_POSSIBLE);
        at += token.text.size;
    }
    return rc;
}

int dbk_uses_read(struct dbk_uses *uses, struct dbk_json *json, struct dbk_slice text,
                  struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct walk walk = {.uses = uses};
    struct dbk_error failure = {0};
    size_t offset = 0;
    int rc = dbk_service_parse(json, text, &root, &offset, &failure);
    if (rc == DBK_EINVAL || rc == DBK_ELIMIT) {
        rc = read_words(uses, text);
        return rc < 0 ? dbk_error_set(err, rc, "out of memory reading SQL") : DBK_OK;
    }
    if (rc < 0)
        return dbk_error_set(err, rc, "%s", failure.message);
    const struct dbk_json_node *list = list_of(root, "stmts");
    const struct dbk_json_node *item = list == NULL ? NULL : dbk_json_first(list);
    for (uint32_t i = 0; item != NULL && i < list->count; i++, item = dbk_json_sibling(item)) {
        const struct dbk_json_node *statement = dbk_service_statement(item);
        if (statement != NULL && !walk_statement(&walk, NULL, statement))
            walk_node(&walk, NULL, statement);
    }
    return walk.rc < 0 ? dbk_error_set(err, walk.rc, "out of memory reading SQL") : DBK_OK;
}
