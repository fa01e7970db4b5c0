/* SPDX-License-Identifier: Apache-2.0 */
#include "view/delta.h"

#include <stdio.h>

#include "view/catalog.h"
#include "view/difference.h"

int dbk_delta_run_values(struct dbk_delta *delta, const struct dbk_value *values, size_t count,
                         struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    struct dbk_statement *statement = NULL;
    int rc = sql->rc < 0
                 ? dbk_error_set(err, sql->rc, "a statement: %s", dbk_code_text(sql->rc))
                 : dbk_statement_open(delta->connection, dbk_buf_slice(sql), &statement, NULL, err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        dbk_statement_bind(statement, (int)i + 1, &values[i]);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    dbk_statement_free(statement);
    if (delta->log != NULL && sql->rc == DBK_OK) {
        dbk_buf_append(delta->log, dbk_buf_slice(sql));
        dbk_buf_append_text(delta->log, ";\n");
    }
    dbk_buf_reset(sql);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_delta_run(struct dbk_delta *delta, struct dbk_error *err)
{
    return dbk_delta_run_values(delta, NULL, 0, err);
}

int dbk_delta_run_with(struct dbk_delta *delta, int64_t number, struct dbk_error *err)
{
    const struct dbk_value value = {.kind = DBK_VALUE_INTEGER, .integer = number};
    return dbk_delta_run_values(delta, &value, 1, err);
}

int dbk_delta_count(struct dbk_delta *delta, int64_t *count_out, struct dbk_error *err)
{
    return dbk_view_integer(delta->connection, "SELECT changes()", NULL, count_out, err);
}

int dbk_delta_has(struct dbk_delta *delta, const char *table, bool *there_out,
                  struct dbk_error *err)
{
    int64_t there = 0;
    int rc = dbk_view_integer(delta->connection,
                              "SELECT count(*) FROM temp.sqlite_schema WHERE name = ?1", table,
                              &there, err);
    *there_out = there != 0;
    return rc;
}

int dbk_delta_clear(struct dbk_delta *delta, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    struct dbk_buf names;
    int rc = dbk_statement_open(
        delta->connection,
        DBK_SLICE_LITERAL("SELECT name FROM temp.sqlite_schema WHERE type = 'table'"), &statement,
        NULL, err);
    dbk_buf_init(&names, DBK_ALGEBRA_SIZE_MAX);
    while (rc == DBK_OK && (rc = dbk_statement_step(statement, err)) == 1) {
        dbk_buf_append(&names, dbk_statement_column(statement, 0).bytes);
        dbk_buf_append_char(&names, '\0');
        rc = DBK_OK;
    }
    dbk_statement_free(statement);
    if (rc == DBK_OK && names.rc < 0)
        rc = dbk_error_set(err, names.rc, "%s", dbk_code_text(names.rc));
    for (size_t at = 0; rc == DBK_OK && at < names.size; at += strlen(names.data + at) + 1) {
        dbk_buf_append_text(&delta->sql, "DELETE FROM temp.");
        dbk_emit_name(&delta->sql, names.data + at);
        rc = dbk_delta_run(delta, err);
    }
    dbk_buf_release(&names);
    return rc;
}

int dbk_delta_make(struct dbk_delta *delta, const struct dbk_relation *table, struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    char name[24];
    bool there = false;
    (void)snprintf(name, sizeof(name), "d%zu", table->number);
    int rc = dbk_delta_has(delta, name, &there, err);
    if (rc < 0 || there)
        return rc;
    dbk_buf_append_format(sql, "CREATE TEMP TABLE %s AS SELECT 0 AS _daybook_w, 0 AS _daybook_row",
                          name);
    for (size_t i = 0; i < table->column_count; i++) {
        dbk_buf_append_text(sql, ", ");
        dbk_emit_name(sql, table->columns[i]);
    }
    dbk_buf_append_text(sql, " FROM ");
    dbk_emit_name(sql, table->table);
    dbk_buf_append_text(sql, " WHERE 0");
    return dbk_delta_run(delta, err);
}

static void append_keys(struct dbk_buf *out, size_t count, const char *prefix)
{
    for (size_t i = 0; i < count; i++)
        dbk_buf_append_format(out, "%s%sk%zu", i > 0 ? ", " : "", prefix, i);
}

/* The keys of a block, into temp.x. */
struct touching {
    struct dbk_delta *delta;
    const struct dbk_relation *block;
    size_t branch; /* SIZE_MAX: it is none */
    size_t key_count;
};

static void append_touch(struct touching *touching, const struct dbk_term *term)
{
    struct dbk_buf *sql = &touching->delta->sql;
    size_t left = touching->key_count - touching->block->key_count;
    dbk_buf_append_text(sql, "INSERT OR IGNORE INTO temp.x SELECT ");
    if (touching->branch != SIZE_MAX) {
        dbk_buf_append_format(sql, "%zu, ", touching->branch);
        left--;
    }
    dbk_term_keys(sql, term, false);
    for (; left > 0; left--)
        dbk_buf_append_text(sql, "0, ");
    sql->size -= sql->rc < 0 ? 0 : 2; /* the last comma */
}

/* Those that a subquery answers otherwise. */
static int touch_asking(void *context, const struct dbk_buf *from, struct dbk_error *err)
{
    struct touching *touching = context;
    const struct dbk_term term = {.block = touching->block};
    append_touch(touching, &term);
    dbk_buf_append(&touching->delta->sql, dbk_buf_slice(from));
    return dbk_delta_run(touching->delta, err);
}

/* Those that a block's terms have. */
static int touch(struct dbk_delta *delta, const struct dbk_relation *block, size_t branch,
                 size_t key_count, struct dbk_error *err)
{
    struct touching touching = {delta, block, branch, key_count};
    struct dbk_term term = {0};
    int rc = DBK_OK;
    while (rc == DBK_OK && dbk_term_next(delta, block, &term)) {
        append_touch(&touching, &term);
        dbk_term_from(&delta->sql, &term);
        rc = dbk_delta_run(delta, err);
    }
    return rc == DBK_OK ? dbk_touch_subqueries(delta, block, touch_asking, &touching, err) : rc;
}

/* What the last statement did to how many rows there are. */
static int count_shown(struct dbk_delta *delta, int sign, struct dbk_error *err)
{
    int64_t count = 0;
    int rc = dbk_delta_count(delta, &count, err);
    delta->rows += sign * count;
    return rc;
}

/* Reads the rows of the touched keys again. */
static int read_again(struct dbk_delta *delta, const struct dbk_relation *block, size_t branch,
                      size_t key_count, struct dbk_error *err)
{
    const struct dbk_emit emit = {.relation = block};
    struct dbk_buf *sql = &delta->sql;
    size_t key = branch == SIZE_MAX ? 0 : 1;
    dbk_buf_append_text(sql, "INSERT INTO ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " SELECT ");
    append_keys(sql, key_count, "x.");
    for (size_t i = 0; i < block->column_count; i++) {
        dbk_buf_append_text(sql, ", ");
        dbk_emit_expression(sql, &emit, block->outputs[i]);
    }
    dbk_buf_append_text(sql, " FROM temp.x AS x");
    for (size_t i = 0; i < block->input_count; i++) {
        bool outer = (block->outer & 1U << i) != 0;
        dbk_buf_append_text(sql, outer ? " LEFT JOIN " : " CROSS JOIN ");
        dbk_emit_name(sql, block->inputs[i]->table);
        dbk_buf_append_format(sql, " AS f%zu ON 1", i);
        if (outer)
            dbk_layout_tests(sql, block, i, " AND ");
        else
            dbk_buf_append_format(sql, " AND f%zu.%s = x.k%zu", i, block->inputs[i]->rows[0],
                                  key++);
    }
    dbk_buf_append_text(sql, " WHERE 1");
    dbk_layout_tests(sql, block, SIZE_MAX, " AND ");
    if (branch != SIZE_MAX)
        dbk_buf_append_format(sql, " AND x.k0 = %zu", branch);
    int rc = dbk_delta_run(delta, err);
    return rc < 0 ? rc : count_shown(delta, 1, err);
}

static int make_touched(struct dbk_delta *delta, size_t key_count, struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    bool there = false;
    int rc = dbk_delta_has(delta, "x", &there, err);
    if (rc < 0 || there)
        return rc;
    dbk_buf_append_text(sql, "CREATE TEMP TABLE x (");
    append_keys(sql, key_count, "");
    dbk_buf_append_text(sql, ", UNIQUE (");
    append_keys(sql, key_count, "");
    dbk_buf_append_text(sql, "))");
    return dbk_delta_run(delta, err);
}

/* same: "=", or "IS" where keys may be NULL. */
static int delete_touched(struct dbk_delta *delta, size_t key_count, const char *same,
                          struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_text(sql, "DELETE FROM ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " WHERE rowid IN (SELECT v.rowid FROM temp.x AS x CROSS JOIN ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " AS v ON 1");
    for (size_t i = 0; i < key_count; i++)
        dbk_buf_append_format(sql, " AND v._daybook_k%zu %s x.k%zu", i, same, i);
    dbk_buf_append_char(sql, ')');
    int rc = dbk_delta_run(delta, err);
    return rc < 0 ? rc : count_shown(delta, -1, err);
}

static int apply_rows(struct dbk_delta *delta, const struct dbk_relation *root,
                      struct dbk_error *err)
{
    bool is_union = root->kind == DBK_RELATION_UNION;
    size_t count = is_union ? root->input_count : 1;
    int rc = make_touched(delta, root->key_count, err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = touch(delta, is_union ? root->inputs[i] : root, is_union ? i : SIZE_MAX,
                   root->key_count, err);
    if (rc == DBK_OK)
        rc = dbk_delta_note(delta, root, "x", -1, err);
    if (rc == DBK_OK)
        rc = delete_touched(delta, root->key_count, "=", err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = read_again(delta, is_union ? root->inputs[i] : root, is_union ? i : SIZE_MAX,
                        root->key_count, err);
    return rc == DBK_OK ? dbk_delta_note(delta, root, "x", 1, err) : rc;
}

/* A stored block over the log alone: its rows only come, all of them made of the difference. */
static bool is_of_log(const struct dbk_relation *relation)
{
    return relation->stored && relation->kind == DBK_RELATION_BLOCK && relation->input_count == 1 &&
           relation->inputs[0]->log;
}

static int apply_events(struct dbk_delta *delta, const struct dbk_relation *block,
                        struct dbk_error *err)
{
    const struct dbk_emit emit = {.relation = block};
    const struct dbk_relation *log = block->inputs[0];
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_text(sql, "INSERT INTO ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " SELECT f0._daybook_row");
    for (size_t i = 0; i < block->column_count; i++) {
        dbk_buf_append_text(sql, ", ");
        dbk_emit_expression(sql, &emit, block->outputs[i]);
    }
    dbk_buf_append_text(sql, " FROM ");
    dbk_emit_difference(sql, log);
    dbk_buf_append_text(sql, " AS f0 WHERE 1");
    dbk_layout_tests(sql, block, SIZE_MAX, " AND ");
    int rc = dbk_delta_run(delta, err);
    if (rc < 0)
        return rc;
    dbk_buf_append_format(sql, "INSERT INTO temp.d%zu SELECT 1, v.rowid", block->number);
    for (size_t i = 0; i < block->column_count; i++)
        dbk_buf_append_format(sql, ", v.%s", block->columns[i]);
    dbk_buf_append_text(sql, " FROM ");
    dbk_emit_difference(sql, log);
    dbk_buf_append_text(sql, " AS x CROSS JOIN ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " AS v ON v._daybook_k0 = x._daybook_row");
    return dbk_delta_run(delta, err);
}

/* Partitions that have a row of the input's difference are computed again. */
static int apply_window(struct dbk_delta *delta, const struct dbk_relation *window,
                        struct dbk_error *err)
{
    const struct dbk_emit emit = {.relation = window};
    struct dbk_buf *sql = &delta->sql;
    int rc = make_touched(delta, window->key_count, err);
    if (rc < 0)
        return rc;
    dbk_buf_append_text(sql, "INSERT INTO temp.x SELECT DISTINCT ");
    for (size_t i = 0; i < window->key_count; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : "");
        dbk_emit_expression(sql, &emit, window->partition[i]);
    }
    dbk_buf_append_text(sql, " FROM ");
    dbk_emit_difference(sql, window->inputs[0]);
    dbk_buf_append_text(sql, " AS f0");
    rc = dbk_delta_run(delta, err);
    if (rc == DBK_OK)
        rc = dbk_delta_note(delta, window, "x", -1, err);
    if (rc == DBK_OK)
        rc = delete_touched(delta, window->key_count, "IS", err);
    if (rc < 0)
        return rc;
    dbk_buf_append_text(sql, "INSERT INTO ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_char(sql, ' ');
    dbk_layout_window(sql, window, delta->names);
    dbk_buf_append_text(sql, " FROM temp.x AS x CROSS JOIN ");
    dbk_emit_table(sql, window->inputs[0]);
    dbk_buf_append_text(sql, " AS f0 WHERE TRUE");
    for (size_t i = 0; i < window->key_count; i++) {
        dbk_buf_append_text(sql, " AND ");
        dbk_emit_expression(sql, &emit, window->partition[i]);
        dbk_buf_append_format(sql, " IS x.k%zu", i);
    }
    rc = dbk_delta_run(delta, err);
    if (rc == DBK_OK)
        rc = count_shown(delta, 1, err);
    return rc == DBK_OK ? dbk_delta_note(delta, window, "x", 1, err) : rc;
}

/* FROM and WHERE of the rows of touched keys. */
static void append_touched(struct dbk_delta *delta, const struct dbk_relation *relation,
                           const char *keys)
{
    struct dbk_buf *sql = &delta->sql;
    const char *prefix = strcmp(keys, "g") == 0 ? "_daybook_" : "";
    dbk_buf_append_format(sql, " FROM temp.%s AS x CROSS JOIN ", keys);
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " AS v ON 1");
    for (size_t i = 0; i < relation->key_count; i++)
        dbk_buf_append_format(sql, " AND v._daybook_k%zu IS x.%sk%zu", i, prefix, i);
}

/* Those that the view shows of them, for who follows it. */
static int note_shown(struct dbk_delta *delta, const struct dbk_relation *root, const char *keys,
                      int weight, struct dbk_error *err)
{
    const struct dbk_difference *difference = delta->difference;
    struct dbk_buf *sql = &delta->sql;
    if (difference == NULL || dbk_difference_is_whole(difference))
        return DBK_OK;
    dbk_buf_append_format(sql, "INSERT INTO temp.r SELECT %d, ", weight);
    dbk_buf_append(sql, dbk_buf_slice(&difference->columns));
    append_touched(delta, root, keys);
    if (root->kind == DBK_RELATION_GROUP && root->having != NULL)
        dbk_buf_append_text(sql, " AND v._daybook_shown = 1");
    return dbk_delta_run(delta, err);
}

int dbk_delta_note(struct dbk_delta *delta, const struct dbk_relation *relation, const char *keys,
                   int weight, struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    if (!relation->stored)
        return note_shown(delta, relation, keys, weight, err);
    dbk_buf_append_format(sql, "INSERT INTO temp.d%zu SELECT %d, v.rowid", relation->number,
                          weight);
    for (size_t i = 0; i < relation->column_count; i++)
        dbk_buf_append_format(sql, ", v.%s", relation->columns[i]);
    append_touched(delta, relation, keys);
    return dbk_delta_run(delta, err);
}

/* Rows that are as they were are no difference. */
static int prune(struct dbk_delta *delta, const struct dbk_relation *relation,
                 struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_format(sql,
                          "DELETE FROM temp.d%zu WHERE _daybook_row IN (SELECT _daybook_row FROM "
                          "temp.d%zu GROUP BY _daybook_row",
                          relation->number, relation->number);
    for (size_t i = 0; i < relation->column_count; i++)
        dbk_buf_append_format(sql, ", %s, typeof(%s)", relation->columns[i], relation->columns[i]);
    dbk_buf_append_text(sql, " HAVING count(*) = 2)");
    return dbk_delta_run(delta, err);
}

static int find_changed(struct dbk_delta *delta, const struct dbk_relation *relation,
                        struct dbk_error *err)
{
    char sql[80];
    int64_t any = 0;
    (void)snprintf(sql, sizeof(sql), "SELECT EXISTS (SELECT 1 FROM temp.d%zu)", relation->number);
    int rc = dbk_view_integer(delta->connection, sql, NULL, &any, err);
    delta->changed[relation->number] = any != 0 || delta->all;
    return rc;
}

/* Those of one relation are of no use to the next, which has other columns. */
static int drop_work(struct dbk_delta *delta, struct dbk_error *err)
{
    static const char *const tables[] = {"x", "g"};
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < sizeof(tables) / sizeof(tables[0]); i++) {
        dbk_buf_append_format(&delta->sql, "DROP TABLE IF EXISTS temp.%s", tables[i]);
        rc = dbk_delta_run(delta, err);
    }
    return rc;
}

static bool is_nested(const struct dbk_algebra *tree)
{
    for (size_t i = 0; i < tree->relation_count; i++) {
        if (tree->relations[i]->stored)
            return true;
    }
    return false;
}

/* One relation's rows, and what is handed on of them. */
static int apply(struct dbk_delta *delta, const struct dbk_relation *relation,
                 struct dbk_error *err)
{
    bool root = !relation->stored;
    int64_t rows = delta->rows;
    int rc = DBK_OK;
    delta->table = root ? delta->view : relation->table;
    delta->names = root ? delta->labels : relation->columns;
    if (!root)
        rc = dbk_delta_make(delta, relation, err);
    if (rc == DBK_OK && !delta->all && !dbk_delta_reaches(delta, relation))
        return DBK_OK;
    if (rc == DBK_OK)
        rc = relation->kind == DBK_RELATION_GROUP    ? dbk_delta_group(delta, relation, err)
             : relation->kind == DBK_RELATION_WINDOW ? apply_window(delta, relation, err)
             : is_of_log(relation)                   ? apply_events(delta, relation, err)
                                                     : apply_rows(delta, relation, err);
    if (!root)
        delta->rows = rows;
    if (rc == DBK_OK && is_nested(delta->tree))
        rc = drop_work(delta, err);
    if (rc == DBK_OK && !root && !is_of_log(relation))
        rc = prune(delta, relation, err);
    return rc == DBK_OK && !root ? find_changed(delta, relation, err) : rc;
}

int dbk_delta_apply(struct dbk_delta *delta, struct dbk_error *err)
{
    const struct dbk_algebra *tree = delta->tree;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        const struct dbk_relation *relation = tree->relations[i];
        if (relation == tree->root || relation->stored)
            rc = apply(delta, relation, err);
    }
    return rc;
}
