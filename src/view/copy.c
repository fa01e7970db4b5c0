/* SPDX-License-Identifier: Apache-2.0 */
/* What a view gives, into a table of its name: of a file that is as of a time. */
#include <stdio.h>

#include "view/algebra.h"
#include "view/catalog.h"

#define SQL_SIZE_MAX ((size_t)1 << 20)
/* Rows between two looks whether it is to end. */
#define LOOK_ROWS 1000

static int fail(const struct dbk_buf *sql, struct dbk_error *err)
{
    return sql->rc < 0 ? dbk_error_set(err, sql->rc, "%s", dbk_code_text(sql->rc)) : DBK_OK;
}

/* Columns without types: values keep the types they have. */
static int create(struct dbk_connection *connection, const struct dbk_view_copy *copy,
                  struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "CREATE TABLE ");
    dbk_emit_name(&sql, copy->name);
    for (int i = 0; i < copy->column_count; i++) {
        dbk_buf_append_text(&sql, i > 0 ? ", " : " (");
        dbk_emit_name(&sql, copy->column(copy->context, i));
    }
    dbk_buf_append_text(&sql, ")");
    dbk_buf_append_char(&sql, '\0');
    int rc = fail(&sql, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, sql.data, err);
    dbk_buf_release(&sql);
    return rc;
}

static int open_insert(struct dbk_connection *connection, const struct dbk_view_copy *copy,
                       struct dbk_statement **insert_out, struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "INSERT INTO ");
    dbk_emit_name(&sql, copy->name);
    for (int i = 0; i < copy->column_count; i++)
        dbk_buf_append_format(&sql, i > 0 ? ", ?%d" : " VALUES (?%d", i + 1);
    dbk_buf_append_char(&sql, ')');
    int rc = fail(&sql, err);
    if (rc == DBK_OK)
        rc = dbk_statement_open(connection, dbk_buf_slice(&sql), insert_out, NULL, err);
    dbk_buf_release(&sql);
    return rc;
}

static int insert_all(struct dbk_statement *insert, const struct dbk_view_copy *copy,
                      uint64_t *rows_out, struct dbk_error *err)
{
    int rc = DBK_OK;
    *rows_out = 0;
    while ((rc = copy->next(copy->context, err)) == 1) {
        for (int i = 0; i < copy->column_count; i++) {
            const struct dbk_value value = copy->value(copy->context, i);
            dbk_statement_bind(insert, i + 1, &value);
        }
        rc = dbk_statement_step(insert, err);
        if (rc < 0)
            return rc;
        dbk_statement_reset(insert);
        if (++*rows_out % LOOK_ROWS == 0 && copy->progress != NULL &&
            !copy->progress(copy->progress_context, *rows_out, 0))
            return dbk_error_set(err, DBK_ESTOPPED, "view %s: ended after %llu rows", copy->name,
                                 (unsigned long long)*rows_out);
    }
    return rc;
}

int dbk_view_copy_rows(struct dbk_connection *connection, const struct dbk_view_copy *copy,
                       uint64_t *rows_out, struct dbk_error *err)
{
    struct dbk_statement *insert = NULL;
    struct dbk_view_row row = {.generation = 1,
                               .position = copy->position,
                               .as_of_us = copy->as_of_us,
                               .tried_us = copy->as_of_us,
                               .refreshed = DBK_VIEW_FULL};
    (void)snprintf(row.fingerprint, sizeof(row.fingerprint), "%s", copy->fingerprint);
    int rc = create(connection, copy, err);
    if (rc == DBK_OK)
        rc = open_insert(connection, copy, &insert, err);
    if (rc == DBK_OK)
        rc = insert_all(insert, copy, &row.rows, err);
    dbk_statement_free(insert);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_create(connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_write(connection, copy->name, &row, err);
    *rows_out = row.rows;
    return rc;
}

int dbk_view_copied(const char *file, const char *name, uint64_t *rows_out, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_view_row row = {0};
    int rc = dbk_connection_open(file, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, name, &row, err);
    dbk_connection_free(connection);
    *rows_out = row.rows;
    return rc;
}
