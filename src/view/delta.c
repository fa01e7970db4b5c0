/* SPDX-License-Identifier: Apache-2.0 */
#include "view/delta.h"

int dbk_delta_run(struct dbk_delta *delta, struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_char(sql, '\0');
    int rc = sql->rc < 0 ? dbk_error_set(err, sql->rc, "a statement: %s", dbk_code_text(sql->rc))
                         : dbk_connection_run(delta->connection, sql->data, err);
    if (delta->log != NULL && sql->rc == DBK_OK) {
        dbk_buf_append_text(delta->log, sql->data);
        dbk_buf_append_text(delta->log, ";\n");
    }
    dbk_buf_reset(sql);
    return rc;
}

int dbk_delta_make(struct dbk_delta *delta, const struct dbk_relation *table, struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_format(
        sql, "CREATE TEMP TABLE d%zu AS SELECT 0 AS _daybook_w, 0 AS _daybook_row", table->number);
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

/* The keys that a block's terms have, into temp.x. */
static int touch(struct dbk_delta *delta, const struct dbk_relation *block, size_t branch,
                 size_t key_count, struct dbk_error *err)
{
    struct dbk_term term = {0};
    int rc = DBK_OK;
    while (rc == DBK_OK && dbk_term_next(delta, block, &term)) {
        struct dbk_buf *sql = &delta->sql;
        size_t left = key_count - block->key_count;
        dbk_buf_append_text(sql, "INSERT OR IGNORE INTO temp.x SELECT ");
        if (branch != SIZE_MAX) {
            dbk_buf_append_format(sql, "%zu, ", branch);
            left--;
        }
        dbk_term_keys(sql, &term);
        for (; left > 0; left--)
            dbk_buf_append_text(sql, "0, ");
        sql->size -= sql->rc < 0 ? 0 : 2; /* the last comma */
        dbk_term_from(sql, &term);
        rc = dbk_delta_run(delta, err);
    }
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
            dbk_buf_append_format(sql, " AND f%zu.%s = x.k%zu", i, block->inputs[i]->row, key++);
    }
    dbk_buf_append_text(sql, " WHERE 1");
    dbk_layout_tests(sql, block, SIZE_MAX, " AND ");
    if (branch != SIZE_MAX)
        dbk_buf_append_format(sql, " AND x.k0 = %zu", branch);
    return dbk_delta_run(delta, err);
}

static int make_touched(struct dbk_delta *delta, size_t key_count, struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_text(sql, "CREATE TEMP TABLE x (");
    append_keys(sql, key_count, "");
    dbk_buf_append_text(sql, ", UNIQUE (");
    append_keys(sql, key_count, "");
    dbk_buf_append_text(sql, "))");
    return dbk_delta_run(delta, err);
}

static int delete_touched(struct dbk_delta *delta, size_t key_count, struct dbk_error *err)
{
    struct dbk_buf *sql = &delta->sql;
    dbk_buf_append_text(sql, "DELETE FROM ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " WHERE rowid IN (SELECT v.rowid FROM temp.x AS x CROSS JOIN ");
    dbk_emit_name(sql, delta->table);
    dbk_buf_append_text(sql, " AS v ON 1");
    for (size_t i = 0; i < key_count; i++)
        dbk_buf_append_format(sql, " AND v._daybook_k%zu = x.k%zu", i, i);
    dbk_buf_append_char(sql, ')');
    return dbk_delta_run(delta, err);
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
        rc = delete_touched(delta, root->key_count, err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = read_again(delta, is_union ? root->inputs[i] : root, is_union ? i : SIZE_MAX,
                        root->key_count, err);
    return rc;
}

static int drop_temp(struct dbk_delta *delta, struct dbk_error *err)
{
    for (size_t i = 0; i < delta->tree->relation_count; i++)
        dbk_buf_append_format(&delta->sql, "DROP TABLE IF EXISTS temp.d%zu; ", i);
    dbk_buf_append_text(&delta->sql, "DROP TABLE IF EXISTS temp.x; DROP TABLE IF EXISTS temp.g; "
                                     "DROP TABLE IF EXISTS temp.r");
    return dbk_delta_run(delta, err);
}

int dbk_delta_apply(struct dbk_delta *delta, struct dbk_error *err)
{
    const struct dbk_relation *root = delta->tree->root;
    int rc = root->kind == DBK_RELATION_GROUP ? dbk_delta_group(delta, root, err)
                                              : apply_rows(delta, root, err);
    return rc < 0 ? rc : drop_temp(delta, err);
}
