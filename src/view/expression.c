/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions of libpg_query's parse tree, as JSON, into expressions of algebra.h. */
#include <stdio.h>
#include <strings.h>

#include "view/select.h"

int dbk_read_no_memory(struct dbk_reading *reading)
{
    return dbk_error_set(reading->err, DBK_ENOMEM, "a view's SELECT: %s",
                         dbk_code_text(DBK_ENOMEM));
}

int dbk_obstacle_set(struct dbk_obstacle *obstacle, size_t place, const char *fix,
                     const char *format, ...)
{
    va_list arguments;
    if (obstacle->what[0] != '\0')
        return 0;
    obstacle->place = place;
    (void)snprintf(obstacle->fix, sizeof(obstacle->fix), "%s", fix);
    va_start(arguments, format);
    (void)vsnprintf(obstacle->what, sizeof(obstacle->what), format, arguments);
    va_end(arguments);
    return 0;
}

int dbk_read_obstacle(struct dbk_reading *reading, size_t place, const char *fix,
                      const char *format, ...)
{
    char what[sizeof(reading->tree->obstacle.what)];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    (void)dbk_obstacle_set(&reading->tree->obstacle, place, fix, "%s", what);
    return DBK_EREFUSED;
}

size_t dbk_read_place(const struct dbk_json_node *node)
{
    const struct dbk_json_node *place = dbk_json_member(node, "location");
    return place == NULL || place->kind != DBK_JSON_INTEGER || place->integer < 0
               ? 0
               : (size_t)place->integer;
}

struct dbk_slice dbk_read_text(const struct dbk_json_node *node, const char *key)
{
    const struct dbk_json_node *member = dbk_json_member(node, key);
    return member == NULL || member->kind != DBK_JSON_STRING ? (struct dbk_slice){0} : member->text;
}

struct dbk_slice dbk_read_string(const struct dbk_json_node *node)
{
    const struct dbk_json_node *string = dbk_json_member(node, "String");
    return string == NULL ? (struct dbk_slice){0} : dbk_read_text(string, "sval");
}

bool dbk_read_is_true(const struct dbk_json_node *node, const char *key)
{
    const struct dbk_json_node *member = dbk_json_member(node, key);
    return member != NULL && member->kind == DBK_JSON_TRUE;
}

struct dbk_expression *dbk_read_make(struct dbk_reading *reading, enum dbk_expression_kind kind,
                                     size_t argument_count)
{
    struct dbk_arena *arena = reading->tree->arena;
    struct dbk_expression *made = dbk_arena_alloc_zero(arena, 1, sizeof(*made));
    struct dbk_expression **arguments =
        dbk_arena_alloc_zero(arena, argument_count + 1, sizeof(struct dbk_expression *));
    if (made == NULL || arguments == NULL)
        return NULL;
    made->kind = kind;
    made->arguments = arguments;
    made->argument_count = argument_count;
    return made;
}

/* An expression whose arguments are these nodes; NULL ones are left out. */
static int make_of(struct dbk_reading *reading, const struct dbk_scope *scope,
                   enum dbk_expression_kind kind, const struct dbk_json_node *const *nodes,
                   size_t count, struct dbk_expression **expression_out)
{
    struct dbk_expression *made = dbk_read_make(reading, kind, count);
    if (made == NULL)
        return dbk_read_no_memory(reading);
    made->argument_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (nodes[i] == NULL)
            continue;
        int rc =
            dbk_read_expression(reading, scope, nodes[i], &made->arguments[made->argument_count]);
        if (rc < 0)
            return rc;
        made->argument_count++;
    }
    *expression_out = made;
    return DBK_OK;
}

int dbk_read_list(struct dbk_reading *reading, const struct dbk_scope *scope,
                  enum dbk_expression_kind kind, const struct dbk_json_node *list,
                  struct dbk_expression **expression_out)
{
    size_t count = list == NULL ? 0 : list->count;
    const struct dbk_json_node **nodes =
        dbk_arena_alloc_zero(reading->tree->arena, count + 1, sizeof(*nodes));
    if (nodes == NULL)
        return dbk_read_no_memory(reading);
    const struct dbk_json_node *item = count == 0 ? NULL : dbk_json_first(list);
    for (size_t i = 0; i < count; i++, item = dbk_json_sibling(item))
        nodes[i] = item;
    return make_of(reading, scope, kind, nodes, count, expression_out);
}

/* ---- Names ---- */

int dbk_read_input_column(struct dbk_reading *reading, size_t input, size_t column,
                          struct dbk_expression **expression_out)
{
    struct dbk_expression *made = dbk_read_make(reading, DBK_EXPRESSION_COLUMN, 0);
    if (made == NULL)
        return dbk_read_no_memory(reading);
    made->input = input;
    made->column = column;
    *expression_out = made;
    return DBK_OK;
}

bool dbk_read_is_name(struct dbk_slice name, const char *other)
{
    return other != NULL && strlen(other) == name.size &&
           strncasecmp(name.data, other, name.size) == 0;
}

/* The label of an output may stand for it, where no column has its name. */
static int find_label(struct dbk_reading *reading, const struct dbk_scope *scope,
                      struct dbk_slice name, size_t place, struct dbk_expression **expression_out)
{
    for (size_t i = 0; scope->outputs != NULL && i < scope->output_count; i++) {
        if (dbk_read_is_name(name, scope->labels[i])) {
            *expression_out = scope->outputs[i];
            return DBK_OK;
        }
    }
    return dbk_read_obstacle(reading, place, "write the column with its table",
                             "\"%.*s\" is no column of the tables in FROM", DBK_SLICE_ARGS(name));
}

static int find_column(struct dbk_reading *reading, const struct dbk_scope *scope,
                       struct dbk_slice table, struct dbk_slice name, size_t place,
                       struct dbk_expression **expression_out);

/* A subquery's name that is no column of its own. */
static int find_around(struct dbk_reading *reading, const struct dbk_scope *scope,
                       struct dbk_slice table, struct dbk_slice name, size_t place,
                       struct dbk_expression **expression_out)
{
    struct dbk_scope around = {.block = scope->around->block};
    int rc = find_column(reading, &around, table, name, place, expression_out);
    if (rc == DBK_OK)
        (*expression_out)->around = true;
    return rc;
}

static int find_column(struct dbk_reading *reading, const struct dbk_scope *scope,
                       struct dbk_slice table, struct dbk_slice name, size_t place,
                       struct dbk_expression **expression_out)
{
    const struct dbk_relation *block = scope->block;
    size_t found = 0;
    size_t input = 0;
    size_t column = 0;
    for (size_t i = 0; i < block->input_count; i++) {
        if (table.size != 0 && !dbk_read_is_name(table, block->aliases[i]))
            continue;
        const struct dbk_relation *relation = block->inputs[i];
        for (size_t j = 0; j < relation->column_count; j++) {
            if (!dbk_read_is_name(name, relation->labels[j]) ||
                (table.size == 0 && dbk_read_is_merged(block, i, j)))
                continue;
            input = i;
            column = j;
            found++;
            break;
        }
    }
    if (found == 0 && scope->around != NULL)
        return find_around(reading, scope, table, name, place, expression_out);
    if (found == 0 && table.size == 0)
        return find_label(reading, scope, name, place, expression_out);
    if (found != 1)
        return dbk_read_obstacle(reading, place, "write the column with its table",
                                 "which column \"%.*s\" is cannot be told", DBK_SLICE_ARGS(name));
    return dbk_read_input_column(reading, input, column, expression_out);
}

static int read_column(struct dbk_reading *reading, const struct dbk_scope *scope,
                       const struct dbk_json_node *node, struct dbk_expression **expression_out)
{
    const struct dbk_json_node *fields = dbk_json_member(node, "fields");
    size_t place = dbk_read_place(node);
    if (fields == NULL || fields->count == 0 || fields->count > 2)
        return dbk_read_obstacle(reading, place, "write table.column",
                                 "a column with the name of a database");
    const struct dbk_json_node *last = dbk_json_first(fields);
    struct dbk_slice table = {0};
    if (fields->count == 2) {
        table = dbk_read_string(last);
        last = dbk_json_sibling(last);
    }
    struct dbk_slice name = dbk_read_string(last);
    if (name.size == 0)
        return dbk_read_obstacle(reading, place, "name the columns", "* inside an expression");
    return find_column(reading, scope, table, name, place, expression_out);
}

/* ---- What stands in the text as it is ---- */

/* A constant's own text: numbers are not read, and so not changed. */
static int read_constant(struct dbk_reading *reading, const struct dbk_json_node *node,
                         struct dbk_expression **expression_out)
{
    struct dbk_slice select = reading->tree->select;
    size_t begin = dbk_read_place(node);
    size_t end = begin;
    struct dbk_sql_token token = dbk_sql_next(select, end);
    if (token.kind == DBK_SQL_OTHER && dbk_slice_equal_text(token.text, "-")) {
        do {
            end += token.text.size;
            token = dbk_sql_next(select, end);
        } while (token.kind == DBK_SQL_SPACE);
    }
    end += token.text.size;
    if (token.kind != DBK_SQL_NUMBER && token.kind != DBK_SQL_STRING && token.kind != DBK_SQL_NAME)
        return dbk_read_obstacle(reading, begin, "", "a constant that SQLite does not have");
    struct dbk_expression *made = dbk_read_make(reading, DBK_EXPRESSION_CONSTANT, 0);
    struct dbk_slice text =
        dbk_arena_copy(reading->tree->arena, dbk_slice(select.data + begin, end - begin));
    if (made == NULL || text.data == NULL)
        return dbk_read_no_memory(reading);
    made->text = text.data;
    *expression_out = made;
    return DBK_OK;
}

/* CAST(… AS type): the type as it stands in the text, up to the bracket that closes the cast. */
static int read_cast(struct dbk_reading *reading, const struct dbk_scope *scope,
                     const struct dbk_json_node *node, struct dbk_expression **expression_out)
{
    const struct dbk_json_node *type = dbk_json_member(node, "typeName");
    const struct dbk_json_node *argument = dbk_json_member(node, "arg");
    struct dbk_slice select = reading->tree->select;
    if (type == NULL || argument == NULL)
        return dbk_read_obstacle(reading, dbk_read_place(node), "", "a cast of another kind");
    if (dbk_read_is_server(reading)) {
        int made = make_of(reading, scope, DBK_EXPRESSION_CAST, &argument, 1, expression_out);
        return made < 0 ? made : dbk_read_type(reading, type, &(*expression_out)->text);
    }
    size_t begin = dbk_read_place(type);
    size_t end = begin;
    for (int depth = 0;;) {
        struct dbk_sql_token token = dbk_sql_next(select, end);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            return dbk_read_obstacle(reading, begin, "write CAST(… AS type)",
                                     "a cast of another kind");
        depth += dbk_slice_equal_text(token.text, "(");
        if (dbk_slice_equal_text(token.text, ")") && depth-- == 0)
            break;
        end += token.text.size;
    }
    int rc = make_of(reading, scope, DBK_EXPRESSION_CAST, &argument, 1, expression_out);
    if (rc < 0)
        return rc;
    (*expression_out)->text =
        dbk_arena_copy(reading->tree->arena, dbk_slice(select.data + begin, end - begin)).data;
    return (*expression_out)->text == NULL ? dbk_read_no_memory(reading) : DBK_OK;
}

/* ---- Operators ---- */

/* A function with a syntax of its own in PostgreSQL. */
static int read_named(struct dbk_reading *reading, const struct dbk_scope *scope,
                      const struct dbk_json_node *node, const char *name,
                      struct dbk_expression **expression_out)
{
    const struct dbk_json_node *sides[] = {dbk_json_member(node, "lexpr"),
                                           dbk_json_member(node, "rexpr")};
    const struct dbk_json_node *list = dbk_json_member(node, "args");
    int rc = list != NULL ? dbk_read_list(reading, scope, DBK_EXPRESSION_CALL, list, expression_out)
                          : make_of(reading, scope, DBK_EXPRESSION_CALL, sides, 2, expression_out);
    if (rc == DBK_OK)
        (*expression_out)->text = name;
    return rc;
}

static int read_operator(struct dbk_reading *reading, const struct dbk_scope *scope,
                         const struct dbk_json_node *node, const char *text, bool list,
                         struct dbk_expression **expression_out)
{
    static const char *const known[] = {
        "=",  "==", "<>", "<",  ">",  "<=", ">=", "+",      "-",    "*",        "/",  "%",
        "||", "&",  "|",  "<<", ">>", "~",  "IS", "IS NOT", "LIKE", "NOT LIKE", "->", "->>"};
    const struct dbk_json_node *right = dbk_json_member(node, "rexpr");
    const struct dbk_json_node *sides[] = {dbk_json_member(node, "lexpr"), right};
    struct dbk_slice name = dbk_slice_of(text);
    if (!DBK_READ_IS_AMONG(name, known) && !dbk_read_is_server(reading))
        return dbk_read_obstacle(reading, dbk_read_place(node), "", "the operator %s", text);
    if (list)
        return dbk_read_obstacle(reading, dbk_read_place(node), "", "a row of values");
    int rc = make_of(reading, scope, DBK_EXPRESSION_OPERATOR, sides, 2, expression_out);
    if (rc == DBK_OK) {
        (*expression_out)->text = dbk_arena_copy(reading->tree->arena, name).data;
        if ((*expression_out)->text == NULL)
            rc = dbk_read_no_memory(reading);
    }
    return rc;
}

/* IN and BETWEEN: the left side, then the items of the list on the right. */
static int read_listed(struct dbk_reading *reading, const struct dbk_scope *scope,
                       const struct dbk_json_node *node, enum dbk_expression_kind kind,
                       bool negated, struct dbk_expression **expression_out)
{
    const struct dbk_json_node *left = dbk_json_member(node, "lexpr");
    const struct dbk_json_node *right = dbk_json_member(node, "rexpr");
    const struct dbk_json_node *list = right == NULL ? NULL : dbk_json_member(right, "List");
    const struct dbk_json_node *items = list == NULL ? NULL : dbk_json_member(list, "items");
    size_t count = items == NULL ? 0 : items->count;
    const struct dbk_json_node **nodes =
        dbk_arena_alloc_zero(reading->tree->arena, count + 2, sizeof(*nodes));
    if (nodes == NULL)
        return dbk_read_no_memory(reading);
    const struct dbk_json_node *item = count == 0 ? NULL : dbk_json_first(items);
    nodes[0] = left;
    for (size_t i = 0; i < count; i++, item = dbk_json_sibling(item))
        nodes[i + 1] = item;
    int rc = make_of(reading, scope, kind, nodes, count + 1, expression_out);
    if (rc == DBK_OK)
        (*expression_out)->negated = negated;
    return rc;
}

static int read_a_expr(struct dbk_reading *reading, const struct dbk_scope *scope,
                       const struct dbk_json_node *node, struct dbk_expression **expression_out)
{
    struct dbk_slice kind = dbk_read_text(node, "kind");
    const struct dbk_json_node *names = dbk_json_member(node, "name");
    const struct dbk_json_node *first = names == NULL ? NULL : dbk_json_first(names);
    struct dbk_slice name = first == NULL ? dbk_slice_of("") : dbk_read_string(first);
    if (name.data == NULL)
        name = dbk_slice_of("");
    char text[16];
    (void)snprintf(text, sizeof(text), "%.*s", DBK_SLICE_ARGS(name));
    if (dbk_slice_equal_text(kind, "AEXPR_OP"))
        return read_operator(reading, scope, node, text, false, expression_out);
    if (dbk_slice_equal_text(kind, "AEXPR_LIKE"))
        return read_operator(reading, scope, node, strcmp(text, "~~") == 0 ? "LIKE" : "NOT LIKE",
                             false, expression_out);
    if (dbk_slice_equal_text(kind, "AEXPR_DISTINCT"))
        return read_operator(reading, scope, node, "IS NOT", false, expression_out);
    if (dbk_slice_equal_text(kind, "AEXPR_NOT_DISTINCT"))
        return read_operator(reading, scope, node, "IS", false, expression_out);
    if (dbk_slice_equal_text(kind, "AEXPR_IN"))
        return read_listed(reading, scope, node, DBK_EXPRESSION_IN, strcmp(text, "<>") == 0,
                           expression_out);
    if (dbk_slice_equal_text(kind, "AEXPR_BETWEEN") ||
        dbk_slice_equal_text(kind, "AEXPR_NOT_BETWEEN"))
        return read_listed(reading, scope, node, DBK_EXPRESSION_BETWEEN,
                           dbk_slice_equal_text(kind, "AEXPR_NOT_BETWEEN"), expression_out);
    if (dbk_slice_equal_text(kind, "AEXPR_NULLIF"))
        return read_named(reading, scope, node, "nullif", expression_out);
    return dbk_read_obstacle(reading, dbk_read_place(node), "", "this comparison (%.*s)",
                             DBK_SLICE_ARGS(kind));
}

static int read_boolean(struct dbk_reading *reading, const struct dbk_scope *scope,
                        const struct dbk_json_node *node, struct dbk_expression **expression_out)
{
    struct dbk_slice kind = dbk_read_text(node, "boolop");
    bool not = dbk_slice_equal_text(kind, "NOT_EXPR");
    int rc = dbk_read_list(reading, scope, not ? DBK_EXPRESSION_NOT : DBK_EXPRESSION_OPERATOR,
                           dbk_json_member(node, "args"), expression_out);
    if (rc == DBK_OK && !not )
        (*expression_out)->text = dbk_slice_equal_text(kind, "AND_EXPR") ? "AND" : "OR";
    return rc;
}

static int read_null_test(struct dbk_reading *reading, const struct dbk_scope *scope,
                          const struct dbk_json_node *node, struct dbk_expression **expression_out)
{
    const struct dbk_json_node *argument = dbk_json_member(node, "arg");
    int rc = make_of(reading, scope, DBK_EXPRESSION_IS_NULL, &argument, 1, expression_out);
    if (rc == DBK_OK)
        (*expression_out)->negated =
            dbk_slice_equal_text(dbk_read_text(node, "nulltesttype"), "IS_NOT_NULL");
    return rc;
}

/* IS TRUE and the like. */
static int read_boolean_test(struct dbk_reading *reading, const struct dbk_scope *scope,
                             const struct dbk_json_node *node,
                             struct dbk_expression **expression_out)
{
    static const char *const kinds[][2] = {
        {"IS_TRUE", " IS TRUE"},       {"IS_NOT_TRUE", " IS NOT TRUE"},
        {"IS_FALSE", " IS FALSE"},     {"IS_NOT_FALSE", " IS NOT FALSE"},
        {"IS_UNKNOWN", " IS UNKNOWN"}, {"IS_NOT_UNKNOWN", " IS NOT UNKNOWN"},
    };
    const struct dbk_json_node *argument = dbk_json_member(node, "arg");
    if (!dbk_read_is_server(reading))
        return dbk_read_obstacle(reading, dbk_read_place(node), "compare with = or IS NULL",
                                 "IS TRUE and IS FALSE");
    int rc = make_of(reading, scope, DBK_EXPRESSION_IS_NULL, &argument, 1, expression_out);
    for (size_t i = 0; rc == DBK_OK && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (dbk_slice_equal_text(dbk_read_text(node, "booltesttype"), kinds[i][0]))
            (*expression_out)->text = kinds[i][1];
    }
    return rc == DBK_OK && (*expression_out)->text == NULL
               ? dbk_read_obstacle(reading, dbk_read_place(node), "", "a test of another kind")
               : rc;
}

/* GREATEST and LEAST. */
static int read_extreme(struct dbk_reading *reading, const struct dbk_scope *scope,
                        const struct dbk_json_node *node, struct dbk_expression **expression_out)
{
    bool least = dbk_slice_equal_text(dbk_read_text(node, "op"), "IS_LEAST");
    return read_named(reading, scope, node, least ? "least" : "greatest", expression_out);
}

static int read_case(struct dbk_reading *reading, const struct dbk_scope *scope,
                     const struct dbk_json_node *node, struct dbk_expression **expression_out)
{
    const struct dbk_json_node *branches = dbk_json_member(node, "args");
    size_t count = branches == NULL ? 0 : branches->count;
    const struct dbk_json_node **nodes =
        dbk_arena_alloc_zero(reading->tree->arena, 2 * count + 2, sizeof(*nodes));
    if (nodes == NULL)
        return dbk_read_no_memory(reading);
    nodes[0] = dbk_json_member(node, "arg");
    const struct dbk_json_node *branch = count == 0 ? NULL : dbk_json_first(branches);
    for (size_t i = 0; i < count; i++, branch = dbk_json_sibling(branch)) {
        const struct dbk_json_node *when = dbk_json_member(branch, "CaseWhen");
        nodes[2 * i + 1] = when == NULL ? NULL : dbk_json_member(when, "expr");
        nodes[2 * i + 2] = when == NULL ? NULL : dbk_json_member(when, "result");
    }
    nodes[2 * count + 1] = dbk_json_member(node, "defresult");
    int rc = make_of(reading, scope, DBK_EXPRESSION_CASE, nodes, 2 * count + 2, expression_out);
    if (rc == DBK_OK) {
        (*expression_out)->has_operand = nodes[0] != NULL;
        (*expression_out)->has_else = nodes[2 * count + 1] != NULL;
    }
    return rc;
}

typedef int (*read_fn)(struct dbk_reading *reading, const struct dbk_scope *scope,
                       const struct dbk_json_node *node, struct dbk_expression **expression_out);

static int read_coalesce(struct dbk_reading *reading, const struct dbk_scope *scope,
                         const struct dbk_json_node *node, struct dbk_expression **expression_out)
{
    return read_named(reading, scope, node, "coalesce", expression_out);
}

static int read_constant_node(struct dbk_reading *reading, const struct dbk_scope *scope,
                              const struct dbk_json_node *node,
                              struct dbk_expression **expression_out)
{
    (void)scope;
    return dbk_read_is_server(reading) ? dbk_read_literal(reading, node, expression_out)
                                       : read_constant(reading, node, expression_out);
}

static int refuse(struct dbk_reading *reading, const struct dbk_json_node *holder,
                  const struct dbk_json_node *node)
{
    static const struct {
        const char *kind;
        const char *what;
        const char *fix;
    } known[] = {
        {"SQLValueFunction", "the clock is read here", "let an event or a column say the time"},
        {"CollateClause", "COLLATE", ""},
        {"RowExpr", "a row of values", ""},
        {"ParamRef", "a parameter", ""},
    };
    struct dbk_slice kind = node == NULL ? holder->key : node->key;
    size_t place = node == NULL ? 0 : dbk_read_place(node);
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (dbk_slice_equal_text(kind, known[i].kind))
            return dbk_read_obstacle(reading, place, known[i].fix, "%s", known[i].what);
    }
    return dbk_read_obstacle(reading, place, "", "this construct (%.*s)", DBK_SLICE_ARGS(kind));
}

int dbk_read_expression(struct dbk_reading *reading, const struct dbk_scope *scope,
                        const struct dbk_json_node *holder, struct dbk_expression **expression_out)
{
    static const struct {
        const char *kind;
        read_fn read;
    } readers[] = {
        {"ColumnRef", read_column},
        {"A_Const", read_constant_node},
        {"A_Expr", read_a_expr},
        {"BoolExpr", read_boolean},
        {"NullTest", read_null_test},
        {"CaseExpr", read_case},
        {"FuncCall", dbk_read_call},
        {"CoalesceExpr", read_coalesce},
        {"TypeCast", read_cast},
        {"SubLink", dbk_read_subquery},
        {"BooleanTest", read_boolean_test},
        {"MinMaxExpr", read_extreme},
    };
    const struct dbk_json_node *node =
        holder->kind == DBK_JSON_OBJECT ? dbk_json_first(holder) : NULL;
    for (size_t i = 0; node != NULL && i < sizeof(readers) / sizeof(readers[0]); i++) {
        if (!dbk_slice_equal_text(node->key, readers[i].kind))
            continue;
        int rc = readers[i].read(reading, scope, node, expression_out);
        if (rc == DBK_OK && (*expression_out)->place == 0)
            (*expression_out)->place = dbk_read_place(node);
        return rc;
    }
    return refuse(reading, holder, node);
}

/* ---- Comparing ---- */

static bool equal_text(const char *first, const char *second)
{
    return first == second || (first != NULL && second != NULL && strcmp(first, second) == 0);
}

bool dbk_expression_equal(const struct dbk_expression *first, const struct dbk_expression *second)
{
    if (first->kind != second->kind || !equal_text(first->text, second->text) ||
        first->input != second->input || first->column != second->column ||
        first->around != second->around || first->select != second->select ||
        first->negated != second->negated || first->has_operand != second->has_operand ||
        first->has_else != second->has_else || first->filter != second->filter ||
        first->star != second->star || first->distinct != second->distinct ||
        first->window != second->window || first->argument_count != second->argument_count)
        return false;
    for (size_t i = 0; i < first->argument_count; i++) {
        if (!dbk_expression_equal(first->arguments[i], second->arguments[i]))
            return false;
    }
    return true;
}

bool dbk_expression_aggregates(const struct dbk_expression *expression)
{
    if (expression->aggregate)
        return true;
    for (size_t i = 0; i < expression->argument_count; i++) {
        if (dbk_expression_aggregates(expression->arguments[i]))
            return true;
    }
    return false;
}
