/* SPDX-License-Identifier: Apache-2.0 */
#include "view/stored.h"

#define SQL_SIZE_MAX ((size_t)4 << 20)

static int run(struct dbk_connection *connection, struct dbk_buf *sql, struct dbk_error *err)
{
    dbk_buf_append_char(sql, '\0');
    int rc = sql->rc < 0 ? dbk_error_set(err, sql->rc, "a statement: %s", dbk_code_text(sql->rc))
                         : dbk_connection_run(connection, sql->data, err);
    dbk_buf_release(sql);
    return rc;
}

/* CREATE TABLE … AS keeps the affinities that the expressions have. */
static void append_create(struct dbk_buf *sql, const struct dbk_relation *relation,
                          const char *words)
{
    dbk_buf_append_text(sql, words);
    dbk_emit_name(sql, relation->table);
    dbk_buf_append_text(sql, " AS SELECT * FROM (");
    dbk_layout_fill(sql, relation, relation->columns);
    dbk_buf_append_char(sql, ')');
}

int dbk_stored_read(const struct dbk_algebra *tree, struct dbk_connection *connection,
                    struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        struct dbk_buf sql;
        if (!tree->relations[i]->stored)
            continue;
        dbk_buf_init(&sql, SQL_SIZE_MAX);
        append_create(&sql, tree->relations[i], "CREATE TEMP TABLE ");
        dbk_buf_append_char(&sql, ';');
        dbk_layout_indexes(&sql, tree, tree->relations[i], "temp.");
        rc = run(connection, &sql, err);
    }
    return rc;
}

int dbk_stored_create(const struct dbk_algebra *tree, const struct dbk_relation *relation,
                      struct dbk_connection *connection, struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    append_create(&sql, relation, "CREATE TABLE ");
    dbk_buf_append_text(&sql, " WHERE 0;");
    dbk_layout_indexes(&sql, tree, relation, "");
    return run(connection, &sql, err);
}

int dbk_stored_open(const struct dbk_relation *relation, struct dbk_connection *read,
                    struct dbk_connection *write, struct dbk_statement **select_out,
                    struct dbk_statement **insert_out, struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_statement *insert = NULL;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "SELECT rowid, * FROM ");
    dbk_emit_name(&sql, relation->table);
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "a statement: %s", dbk_code_text(sql.rc))
                        : dbk_statement_open(read, dbk_buf_slice(&sql), select_out, NULL, err);
    dbk_buf_reset(&sql);
    if (rc == DBK_OK) {
        int count = dbk_statement_column_count(*select_out);
        dbk_buf_append_text(&sql, "INSERT INTO ");
        dbk_emit_name(&sql, relation->table);
        for (int i = 0; i < count; i++) {
            dbk_buf_append_text(&sql, i > 0 ? ", " : " (");
            dbk_emit_name(&sql, dbk_statement_column_name(*select_out, i));
        }
        for (int i = 0; i < count; i++)
            dbk_buf_append_format(&sql, i > 0 ? ", ?%d" : ") VALUES (?%d", i + 1);
        dbk_buf_append_char(&sql, ')');
        rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "a statement: %s", dbk_code_text(sql.rc))
                        : dbk_statement_open(write, dbk_buf_slice(&sql), &insert, NULL, err);
    }
    dbk_buf_release(&sql);
    if (rc == DBK_OK)
        *insert_out = insert;
    return rc;
}
