/* SPDX-License-Identifier: Apache-2.0 */
#include "view/algebra.h"

#include <pg_query.h>

#include "view/select.h"

#define TREE_SIZE_MAX ((size_t)32 << 20)
#define SQL_SIZE_MAX ((size_t)1 << 20)

/* Positions in PostgreSQL's errors count characters. */
static size_t place_of(struct dbk_slice text, int cursor)
{
    size_t place = 0;
    for (int i = 1; i < cursor && place < text.size; i++) {
        place++;
        while (place < text.size && ((unsigned char)text.data[place] & 0xc0) == 0x80)
            place++;
    }
    return place;
}

size_t dbk_read_clause_place(const struct dbk_reading *reading, const char *words)
{
    struct dbk_slice select = reading->tree->select;
    size_t size = strcspn(words, " ,");
    struct dbk_slice word = dbk_slice(words, size);
    int depth = 0;
    for (size_t at = 0;;) {
        struct dbk_sql_token token = dbk_sql_next(select, at);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            return 0;
        depth += dbk_slice_equal_text(token.text, "(");
        depth -= dbk_slice_equal_text(token.text, ")");
        if (depth == 0 && token.kind == DBK_SQL_NAME && dbk_sql_name_is(token.text, word))
            return at;
        at += token.text.size;
    }
}

/* The first place that anything in a subtree has. */
size_t dbk_read_select_place(const struct dbk_json_node *node)
{
    for (uint32_t i = 0; i < node->next; i++) {
        if (dbk_slice_equal_text(node[i].key, "location") && node[i].kind == DBK_JSON_INTEGER &&
            node[i].integer > 0)
            return (size_t)node[i].integer;
    }
    return 0;
}

static int check_bounds(struct dbk_algebra *tree)
{
    size_t tokens = 0;
    if (tree->select.size > DBK_ALGEBRA_SIZE_MAX)
        return dbk_obstacle_set(&tree->obstacle, 0, "split it",
                                "the SELECT has %zu bytes, more than %zu", tree->select.size,
                                DBK_ALGEBRA_SIZE_MAX);
    for (size_t at = 0;; tokens++) {
        struct dbk_sql_token token = dbk_sql_next(tree->select, at);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            break;
        at += token.text.size;
    }
    return tokens <= DBK_ALGEBRA_TOKENS_MAX
               ? 1
               : dbk_obstacle_set(&tree->obstacle, 0, "split it",
                                  "the SELECT has %zu words and signs, more than %d", tokens,
                                  DBK_ALGEBRA_TOKENS_MAX);
}

/* The one statement of a parse tree. */
static const struct dbk_json_node *select_of(const struct dbk_json_node *root)
{
    const struct dbk_json_node *statements = dbk_json_member(root, "stmts");
    const struct dbk_json_node *first = statements == NULL ? NULL : dbk_json_first(statements);
    const struct dbk_json_node *statement = first == NULL ? NULL : dbk_json_member(first, "stmt");
    return statement == NULL || statements->count != 1 ? NULL
                                                       : dbk_json_member(statement, "SelectStmt");
}

static int read_tree(struct dbk_reading *reading, const char *text)
{
    struct dbk_algebra *tree = reading->tree;
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create(TREE_SIZE_MAX);
    if (json == NULL)
        return dbk_error_set(reading->err, DBK_ENOMEM, "a view's SELECT: %s",
                             dbk_code_text(DBK_ENOMEM));
    struct dbk_error failure = {0};
    int rc = dbk_json_parse(json, dbk_slice_of(text), &root, &failure);
    if (rc == DBK_ELIMIT || rc == DBK_EINVAL) /* The text is libpg_query's own. */
        rc = dbk_read_obstacle(reading, 0, "take inner parts into a view of their own",
                               "the SELECT is nested too deeply");
    else if (rc < 0)
        rc = dbk_error_set(reading->err, rc, "a view's SELECT: %s", failure.message);
    const struct dbk_json_node *select = rc < 0 ? NULL : select_of(root);
    if (rc == DBK_OK && select == NULL)
        rc = dbk_read_obstacle(reading, 0, "", "this is no SELECT to PostgreSQL's grammar");
    if (rc == DBK_OK)
        reading->top = select;
    if (rc == DBK_OK)
        rc = dbk_read_select(reading, select, &tree->root);
    reading->top = NULL;
    dbk_json_free(json);
    return rc;
}

static int parse(struct dbk_reading *reading)
{
    struct dbk_algebra *tree = reading->tree;
    char *text = dbk_copy_text(tree->select);
    if (text == NULL)
        return dbk_error_set(reading->err, DBK_ENOMEM, "a view's SELECT: %s",
                             dbk_code_text(DBK_ENOMEM));
    PgQueryParseResult result = pg_query_parse(text);
    int rc = DBK_OK;
    if (result.error != NULL)
        rc = dbk_read_obstacle(reading, place_of(tree->select, result.error->cursorpos), "",
                               "what is read by PostgreSQL's grammar has here a %s",
                               result.error->message);
    else
        rc = read_tree(reading, result.parse_tree);
    pg_query_free_parse_result(result);
    dbk_free(text);
    return rc;
}

/* SQLite reads the text, too; it must have read the same. */
static int check_reading(struct dbk_reading *reading)
{
    struct dbk_algebra *tree = reading->tree;
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_emit_tree(&sql, tree, DBK_EMIT_WRITTEN);
    int rc =
        sql.rc < 0
            ? dbk_error_set(reading->err, sql.rc, "a view's SELECT: %s", dbk_code_text(sql.rc))
            : dbk_algebra_same(tree->connection, tree->select, dbk_buf_slice(&sql), reading->err);
    dbk_buf_release(&sql);
    if (rc == 0)
        return dbk_read_obstacle(reading, 0, "put brackets where operators are mixed",
                                 "SQLite reads this otherwise than PostgreSQL's grammar does");
    return rc < 0 ? rc : DBK_OK;
}

/* Where LIMIT shows a part of the rows, or windows leave something open: what is stored. */
static int write_whole(struct dbk_reading *reading)
{
    struct dbk_algebra *tree = reading->tree;
    struct dbk_algebra all = *tree;
    struct dbk_buf sql;
    if (tree->limit == NULL && !tree->ties)
        return DBK_OK;
    all.limit = NULL;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_emit_tree(&sql, &all, DBK_EMIT_WHOLE);
    if (sql.rc == DBK_OK)
        tree->whole = dbk_arena_copy(tree->arena, dbk_buf_slice(&sql)).data;
    dbk_buf_release(&sql);
    return tree->whole == NULL ? dbk_read_no_memory(reading) : DBK_OK;
}

int dbk_algebra_read(struct dbk_algebra *tree, struct dbk_connection *connection,
                     struct dbk_slice select, const struct dbk_algebra_source *source,
                     struct dbk_arena *arena, struct dbk_error *err)
{
    *tree = (struct dbk_algebra){.arena = arena,
                                 .connection = connection,
                                 .dialect = dbk_connection_dialect(connection),
                                 .select = select};
    struct dbk_reading reading = {.tree = tree, .source = source, .err = err};
    if (check_bounds(tree) == 0)
        return 0;
    int rc = parse(&reading);
    /* A server's text is read by its own grammar. */
    if (rc == DBK_OK && !dbk_read_is_server(&reading))
        rc = check_reading(&reading);
    if (rc == DBK_OK)
        rc = write_whole(&reading);
    if (rc == DBK_OK)
        rc = dbk_read_normal(&reading);
    if (rc == DBK_EREFUSED)
        return 0;
    return rc < 0 ? rc : 1;
}

/* ---- Two texts, one program ---- */

static int explain(struct dbk_connection *connection, struct dbk_slice select,
                   struct dbk_statement **statement_out, struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "EXPLAIN ");
    dbk_buf_append(&sql, select);
    int rc = sql.rc < 0
                 ? dbk_error_set(err, sql.rc, "a view's SELECT: %s", dbk_code_text(sql.rc))
                 : dbk_statement_open(connection, dbk_buf_slice(&sql), statement_out, NULL, err);
    dbk_buf_release(&sql);
    return rc;
}

static bool equal_value(const struct dbk_value *first, const struct dbk_value *second)
{
    if (first->kind != second->kind)
        return false;
    if (first->kind == DBK_VALUE_INTEGER)
        return first->integer == second->integer;
    return first->kind != DBK_VALUE_TEXT || dbk_slice_equal(first->bytes, second->bytes);
}

/* addr, opcode, p1, p2, p3, p4, p5 */
static bool equal_row(struct dbk_statement *first, struct dbk_statement *second)
{
    for (int i = 0; i < 7; i++) {
        struct dbk_value one = dbk_statement_column(first, i);
        struct dbk_value other = dbk_statement_column(second, i);
        if (!equal_value(&one, &other))
            return false;
    }
    return true;
}

int dbk_algebra_same(struct dbk_connection *connection, struct dbk_slice first,
                     struct dbk_slice second, struct dbk_error *err)
{
    struct dbk_statement *one = NULL;
    struct dbk_statement *other = NULL;
    int rc = explain(connection, first, &one, err);
    if (rc == DBK_OK)
        rc = explain(connection, second, &other, err);
    while (rc == DBK_OK) {
        int more = dbk_statement_step(one, err);
        int others = more < 0 ? more : dbk_statement_step(other, err);
        if (others < 0)
            rc = others;
        else if (more != others || (more == 1 && !equal_row(one, other)))
            rc = DBK_ECONFLICT;
        else if (more == 0)
            break;
    }
    dbk_statement_free(one);
    dbk_statement_free(other);
    if (rc == DBK_ECONFLICT)
        return 0;
    return rc < 0 ? rc : 1;
}
