/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The difference, applied in PostgreSQL: the same rules as in SQLite (view/delta.h). Statements
 * without answers go to the server together; what a relation needs meanwhile are temporary tables
 * of its own, which each COMMIT empties.
 */
#include <stdio.h>

#include "view/postgres/state.h"

int dbk_pgview_step(struct dbk_delta *delta, struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    if (delta->log != NULL && sql->rc == DBK_OK)
        dbk_buf_append(delta->log, dbk_buf_slice(sql));
    return dbk_pgview_run(delta->connection, sql, err);
}

/* A statement, and how many rows the view shows more by it: only the root's count. */
static void append_counted(struct dbk_delta *delta, const struct dbk_relation *relation, int sign,
                           const char *statement)
{
    struct dbk_buf *sql = &delta->sql;
    if (relation->stored)
        dbk_buf_append_format(sql, "%s; ", statement);
    else
        dbk_buf_append_format(sql,
                              "WITH w AS (%s RETURNING 1) INSERT INTO pg_temp.shown SELECT "
                              "%d * count(*) FROM w; ",
                              statement, sign);
}

/* ---- Rows of blocks and unions ---- */

static void append_keys(struct dbk_buf *out, size_t count, const char *prefix)
{
    for (size_t i = 0; i < count; i++)
        dbk_buf_append_format(out, "%s%sk%zu", i > 0 ? ", " : "", prefix, i);
}

struct touching {
    struct dbk_delta *delta;
    const struct dbk_relation *root;
    const struct dbk_relation *block;
    size_t branch; /* SIZE_MAX: it is none */
};

static void append_touch(struct touching *touching, const struct dbk_term *term)
{
    struct dbk_buf *sql = &touching->delta->sql;
    bool branch = touching->branch != SIZE_MAX;
    size_t left = touching->root->key_count - touching->block->key_count;
    dbk_buf_append_format(sql, "INSERT INTO pg_temp.x%zu SELECT ", touching->root->number);
    if (branch) {
        dbk_buf_append_format(sql, "%zu, ", touching->branch);
        left--;
    }
    dbk_term_keys(sql, term, branch);
    for (; left > 0; left--)
        dbk_buf_append_text(sql, "'', ");
    sql->size -= sql->rc < 0 ? 0 : 2; /* the last comma */
}

static int touch_asking(void *context, const struct dbk_buf *from, struct dbk_error *err)
{
    struct touching *touching = context;
    const struct dbk_term term = {.block = touching->block};
    (void)err;
    append_touch(touching, &term);
    dbk_buf_append(&touching->delta->sql, dbk_buf_slice(from));
    dbk_buf_append_text(&touching->delta->sql, " ON CONFLICT DO NOTHING; ");
    return DBK_OK;
}

static int touch(struct dbk_delta *delta, const struct dbk_relation *root,
                 const struct dbk_relation *block, size_t branch, struct dbk_error *err)
{
    struct touching touching = {delta, root, block, branch};
    struct dbk_term term = {0};
    while (dbk_term_next(delta, block, &term)) {
        append_touch(&touching, &term);
        dbk_term_from(&delta->sql, &term);
        dbk_buf_append_text(&delta->sql, " ON CONFLICT DO NOTHING; ");
    }
    return dbk_touch_subqueries(delta, block, touch_asking, &touching, err);
}

static void make_touched(struct dbk_delta *delta, const struct dbk_relation *root)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_format(
        sql, "CREATE TEMP TABLE IF NOT EXISTS x%zu ON COMMIT DELETE ROWS AS SELECT ", root->number);
    for (size_t i = 0; i < root->key_count; i++)
        dbk_buf_append_format(sql, "%s_daybook_k%zu AS k%zu", i > 0 ? ", " : "", i, i);
    dbk_buf_append_text(sql, " FROM ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_format(sql,
                          " WITH NO DATA; CREATE UNIQUE INDEX IF NOT EXISTS x%zu_key ON "
                          "pg_temp.x%zu (",
                          root->number, root->number);
    append_keys(sql, root->key_count, "");
    dbk_buf_append_text(sql, "); ");
}

static void append_touched(struct dbk_buf *out, const struct dbk_relation *root)
{
    for (size_t i = 0; i < root->key_count; i++)
        dbk_buf_append_format(out, "%sv._daybook_k%zu = x.k%zu", i > 0 ? " AND " : "", i, i);
}

static void note_rows(struct dbk_delta *delta, const struct dbk_relation *root, int weight)
{
    struct dbk_buf *sql = &delta->sql;
    if (!root->stored)
        return;
    dbk_buf_append_format(sql, "INSERT INTO pg_temp.d%zu SELECT %d", root->number, weight);
    dbk_pgview_columns(sql, root, "v.");
    dbk_buf_append_format(sql, " FROM pg_temp.x%zu AS x JOIN ", root->number);
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " AS v ON ");
    append_touched(sql, root);
    dbk_buf_append_text(sql, "; ");
}

static void delete_touched(struct dbk_delta *delta, const struct dbk_relation *root)
{
    struct dbk_buf statement;
    dbk_buf_init(&statement, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&statement, "DELETE FROM ");
    dbk_emit_name(&statement, delta->table);
    dbk_buf_append_format(&statement, " AS v USING pg_temp.x%zu AS x WHERE ", root->number);
    append_touched(&statement, root);
    dbk_buf_append_char(&statement, '\0');
    if (statement.rc < 0)
        delta->sql.rc = statement.rc;
    else
        append_counted(delta, root, -1, statement.data);
    dbk_buf_release(&statement);
}

static void append_row(struct dbk_buf *out, const struct dbk_relation *input, size_t i, size_t *key,
                       bool branch)
{
    for (size_t j = 0; j < input->row_count; j++) {
        dbk_buf_append_format(out, "%sf%zu.%s = x.k%zu", j > 0 ? " AND " : "", i, input->rows[j],
                              (*key)++);
        if (branch)
            dbk_buf_append_format(out, "::%s", input->row_types[j]);
    }
}

static void read_again(struct dbk_delta *delta, const struct dbk_relation *root,
                       const struct dbk_relation *block, size_t branch)
{
    const struct dbk_emit emit = {.relation = block};
    struct dbk_buf statement;
    struct dbk_buf *sql = &statement;
    bool is_branch = branch != SIZE_MAX;
    size_t key = is_branch ? 1 : 0;
    dbk_buf_init(sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(sql, "INSERT INTO ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " (");
    append_keys(sql, root->key_count, "_daybook_");
    for (size_t i = 0; i < root->column_count; i++) {
        dbk_buf_append_text(sql, ", ");
        dbk_emit_name(sql, delta->names[i]);
    }
    dbk_buf_append_text(sql, ") SELECT ");
    append_keys(sql, root->key_count, "x.");
    for (size_t i = 0; i < block->column_count; i++) {
        dbk_buf_append_text(sql, ", ");
        dbk_emit_expression(sql, &emit, block->outputs[i]);
    }
    dbk_buf_append_format(sql, " FROM pg_temp.x%zu AS x", root->number);
    for (size_t i = 0; i < block->input_count; i++) {
        bool outer = (block->outer & 1U << i) != 0;
        dbk_buf_append_text(sql, outer ? " LEFT JOIN " : " JOIN ");
        dbk_emit_table(sql, block->inputs[i]);
        dbk_buf_append_format(sql, " AS f%zu ON ", i);
        if (outer)
            dbk_layout_tests(sql, block, i, "");
        else
            append_row(sql, block->inputs[i], i, &key, is_branch);
    }
    dbk_buf_append_text(sql, " WHERE TRUE");
    dbk_layout_tests(sql, block, SIZE_MAX, " AND ");
    if (is_branch)
        dbk_buf_append_format(sql, " AND x.k0 = %zu", branch);
    dbk_buf_append_char(sql, '\0');
    if (statement.rc < 0)
        delta->sql.rc = statement.rc;
    else
        append_counted(delta, root, 1, statement.data);
    dbk_buf_release(&statement);
}

static int apply_rows(struct dbk_delta *delta, const struct dbk_relation *root,
                      struct dbk_error *err)
{
    bool is_union = root->kind == DBK_RELATION_UNION;
    size_t count = is_union ? root->input_count : 1;
    int rc = DBK_OK;
    make_touched(delta, root);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = touch(delta, root, is_union ? root->inputs[i] : root, is_union ? i : SIZE_MAX, err);
    dbk_buf_append_format(&delta->sql, "ANALYZE pg_temp.x%zu; ", root->number);
    note_rows(delta, root, -1);
    delete_touched(delta, root);
    for (size_t i = 0; i < count; i++)
        read_again(delta, root, is_union ? root->inputs[i] : root, is_union ? i : SIZE_MAX);
    note_rows(delta, root, 1);
    return rc < 0 ? rc : dbk_pgview_step(delta, err);
}

/* ---- Partitions ---- */

/* The partitions that have a row of the input's difference, into x<n>. */
static void touch_partitions(struct dbk_delta *delta, const struct dbk_relation *window)
{
    const struct dbk_emit emit = {.relation = window};
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_format(sql,
                          "CREATE TEMP TABLE IF NOT EXISTS x%zu ON COMMIT DELETE ROWS AS SELECT ",
                          window->number);
    for (size_t i = 0; i < window->key_count; i++)
        dbk_buf_append_format(sql, "_daybook_k%zu AS k%zu, ", i, i);
    dbk_buf_append_text(sql, "false AS nulls FROM ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_format(sql, " WITH NO DATA; INSERT INTO pg_temp.x%zu SELECT q.*, ",
                          window->number);
    for (size_t i = 0; i < window->key_count; i++)
        dbk_buf_append_format(sql, "%sk%zu IS NULL", i > 0 ? " OR " : "", i);
    dbk_buf_append_text(sql, " FROM (SELECT DISTINCT ");
    for (size_t i = 0; i < window->key_count; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : "");
        dbk_emit_expression(sql, &emit, window->partition[i]);
        dbk_buf_append_format(sql, " AS k%zu", i);
    }
    dbk_buf_append_text(sql, " FROM ");
    dbk_emit_difference(sql, window->inputs[0]);
    dbk_buf_append_format(sql, " AS f0) AS q; ANALYZE pg_temp.x%zu; ", window->number);
}

/* " FROM x<n> JOIN <the stored rows>", those of a partition without NULLs, or of one with. */
static void append_partitions(struct dbk_buf *out, struct dbk_delta *delta,
                              const struct dbk_relation *window, bool nulls)
{
    dbk_buf_append_text(out, " FROM ");
    dbk_emit_name(out, delta->table);
    dbk_buf_append_format(out, " AS v JOIN pg_temp.x%zu AS x ON %sx.nulls", window->number,
                          nulls ? "" : "NOT ");
    for (size_t i = 0; i < window->key_count; i++) {
        dbk_buf_append_format(out, " AND (v._daybook_k%zu = x.k%zu", i, i);
        if (nulls)
            dbk_buf_append_format(out, " OR (v._daybook_k%zu IS NULL AND x.k%zu IS NULL)", i, i);
        dbk_buf_append_char(out, ')');
    }
}

static void note_partitions(struct dbk_delta *delta, const struct dbk_relation *window, int weight,
                            bool nulls)
{
    if (!window->stored)
        return;
    dbk_buf_append_format(&delta->sql, "INSERT INTO pg_temp.d%zu SELECT %d", window->number,
                          weight);
    dbk_pgview_columns(&delta->sql, window, "v.");
    append_partitions(&delta->sql, delta, window, nulls);
    dbk_buf_append_text(&delta->sql, "; ");
}

static void append_deletion(struct dbk_buf *sql, struct dbk_delta *delta,
                            const struct dbk_relation *window, bool nulls)
{
    dbk_buf_append_text(sql, "DELETE FROM ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " WHERE _daybook_row IN (SELECT v._daybook_row");
    append_partitions(sql, delta, window, nulls);
    dbk_buf_append_char(sql, ')');
}

static void append_recomputed(struct dbk_buf *sql, struct dbk_delta *delta,
                              const struct dbk_relation *window, bool nulls)
{
    const struct dbk_emit emit = {.relation = window};
    dbk_buf_append_text(sql, "INSERT INTO ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " (");
    append_keys(sql, window->key_count, "_daybook_");
    for (size_t i = 0; i < window->column_count; i++) {
        dbk_buf_append_text(sql, ", ");
        dbk_emit_name(sql, delta->names[i]);
    }
    dbk_buf_append_text(sql, ") ");
    dbk_layout_window(sql, window, delta->names);
    dbk_buf_append_text(sql, " FROM ");
    dbk_emit_table(sql, window->inputs[0]);
    dbk_buf_append_format(sql, " AS f0 JOIN pg_temp.x%zu AS x ON %sx.nulls", window->number,
                          nulls ? "" : "NOT ");
    for (size_t i = 0; i < window->key_count; i++) {
        dbk_buf_append_text(sql, " AND (");
        dbk_emit_expression(sql, &emit, window->partition[i]);
        dbk_buf_append_format(sql, " = x.k%zu", i);
        if (nulls) {
            dbk_buf_append_text(sql, " OR (");
            dbk_emit_expression(sql, &emit, window->partition[i]);
            dbk_buf_append_format(sql, " IS NULL AND x.k%zu IS NULL)", i);
        }
        dbk_buf_append_char(sql, ')');
    }
}

/* One way of changing rows, counted. */
static void append_made(struct dbk_delta *delta, const struct dbk_relation *window, int sign,
                        bool nulls)
{
    struct dbk_buf statement;
    dbk_buf_init(&statement, DBK_PGVIEW_SQL_SIZE_MAX);
    if (sign < 0)
        append_deletion(&statement, delta, window, nulls);
    else
        append_recomputed(&statement, delta, window, nulls);
    dbk_buf_append_char(&statement, '\0');
    if (statement.rc < 0)
        delta->sql.rc = statement.rc;
    else
        append_counted(delta, window, sign, statement.data);
    dbk_buf_release(&statement);
}

/* Partitions whose rows changed are deleted and computed again. */
static int apply_window(struct dbk_delta *delta, const struct dbk_relation *window,
                        struct dbk_error *err)
{
    char sql[80];
    int64_t with_nulls = 1;
    touch_partitions(delta, window);
    int rc = dbk_pgview_step(delta, err);
    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM pg_temp.x%zu WHERE nulls",
                   window->number);
    if (rc == DBK_OK && !delta->all)
        rc = dbk_view_integer(delta->connection, sql, NULL, &with_nulls, err);
    for (int nulls = 0; rc == DBK_OK && nulls < (with_nulls != 0 ? 2 : 1); nulls++) {
        note_partitions(delta, window, -1, nulls != 0);
        append_made(delta, window, -1, nulls != 0);
        append_made(delta, window, 1, nulls != 0);
        note_partitions(delta, window, 1, nulls != 0);
        rc = dbk_pgview_step(delta, err);
    }
    return rc;
}

/* ---- One relation after the other ---- */

static int find_changed(struct dbk_delta *delta, const struct dbk_relation *relation,
                        struct dbk_error *err)
{
    char sql[100];
    int64_t any = 0;
    (void)snprintf(sql, sizeof(sql), "ANALYZE pg_temp.d%zu", relation->number);
    int rc = dbk_connection_run(delta->connection, sql, err);
    (void)snprintf(sql, sizeof(sql),
                   "SELECT count(*) FROM (SELECT 1 FROM pg_temp.d%zu LIMIT 1) AS q",
                   relation->number);
    if (rc == DBK_OK)
        rc = dbk_view_integer(delta->connection, sql, NULL, &any, err);
    delta->changed[relation->number] = any != 0 || delta->all;
    return rc;
}

static int apply(struct dbk_delta *delta, const struct dbk_relation *relation,
                 struct dbk_error *err)
{
    bool root = !relation->stored;
    int rc = DBK_OK;
    delta->table = root ? delta->view : relation->table;
    delta->names = root ? delta->labels : relation->columns;
    if (!delta->all && !dbk_delta_reaches(delta, relation))
        return DBK_OK;
    if (!root)
        dbk_pgview_make_difference(&delta->sql, relation);
    rc = relation->kind == DBK_RELATION_GROUP    ? dbk_pgview_group(delta, relation, err)
         : relation->kind == DBK_RELATION_WINDOW ? apply_window(delta, relation, err)
                                                 : apply_rows(delta, relation, err);
    return rc == DBK_OK && !root ? find_changed(delta, relation, err) : rc;
}

int dbk_pgview_apply_difference(struct dbk_delta *delta, struct dbk_error *err)
{
    const struct dbk_algebra *tree = delta->tree;
    dbk_buf_append_text(&delta->sql, "CREATE TEMP TABLE IF NOT EXISTS shown (w bigint) ON COMMIT "
                                     "DELETE ROWS; ");
    int rc = dbk_pgview_step(delta, err);
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        const struct dbk_relation *relation = tree->relations[i];
        if (relation == tree->root || relation->stored)
            rc = apply(delta, relation, err);
    }
    if (rc == DBK_OK)
        rc = dbk_view_integer(delta->connection,
                              "SELECT coalesce(sum(w), 0)::bigint FROM pg_temp.shown", NULL,
                              &delta->rows, err);
    return rc;
}
