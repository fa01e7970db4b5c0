/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include <stdio.h>

#include "json/json.h"
#include "view/catalog.h"

#define ROW_SIZE_MAX ((size_t)1 << 20)

static int step(struct dbk_connection *connection, const char *sql, struct dbk_slice row,
                struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value value = {.kind = DBK_VALUE_TEXT, .bytes = row};
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, err);
    if (rc == DBK_OK)
        dbk_statement_bind(statement, 1, &value);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    dbk_statement_free(statement);
    return rc;
}

static void put_row(struct dbk_buf *out, struct dbk_statement *select)
{
    bool first = true;
    dbk_buf_reset(out);
    dbk_buf_append_char(out, '{');
    for (int i = 0; i < dbk_statement_column_count(select); i++) {
        struct dbk_value value = dbk_statement_column(select, i);
        dbk_json_write_key(out, &first, dbk_statement_column_name(select, i));
        dbk_value_write_json(out, &value);
    }
    dbk_buf_append_char(out, '}');
}

/* The view's rows now, into temp.now. */
static int read_rows(struct dbk_connection *connection, const char *view, struct dbk_error *err)
{
    char sql[64];
    struct dbk_statement *select = NULL;
    struct dbk_buf row;
    dbk_buf_init(&row, ROW_SIZE_MAX);
    (void)snprintf(sql, sizeof(sql), "SELECT * FROM %s", view);
    int rc = dbk_connection_run(
        connection, "DROP TABLE IF EXISTS temp.now; CREATE TEMP TABLE now (row TEXT)", err);
    if (rc == DBK_OK)
        rc = dbk_statement_open(connection, dbk_slice_of(sql), &select, NULL, err);
    while (rc >= 0 && (rc = dbk_statement_step(select, err)) == 1) {
        put_row(&row, select);
        rc = step(connection, "INSERT INTO temp.now VALUES (?1)", dbk_buf_slice(&row), err);
    }
    dbk_statement_free(select);
    dbk_buf_release(&row);
    return rc;
}

int replay_keep(struct dbk_connection *connection, const char *view, struct dbk_error *err)
{
    char sql[256];
    int rc = read_rows(connection, view, err);
    (void)snprintf(sql, sizeof(sql),
                   "DROP TABLE IF EXISTS temp.before_%s; CREATE TEMP TABLE before_%s AS SELECT row "
                   "FROM temp.now",
                   view, view);
    return rc < 0 ? rc : dbk_connection_run(connection, sql, err);
}

static const char *apply(struct dbk_connection *connection, const char *view,
                         struct dbk_statement *select, struct dbk_error *err)
{
    struct dbk_value old = dbk_statement_column(select, 1);
    struct dbk_value new = dbk_statement_column(select, 2);
    char sql[256];
    int64_t count = 0;
    int rc = DBK_OK;
    if (old.kind != DBK_VALUE_NULL) {
        (void)snprintf(sql, sizeof(sql),
                       "DELETE FROM temp.before_%s WHERE rowid = (SELECT min(rowid) FROM "
                       "temp.before_%s WHERE row = ?1)",
                       view, view);
        rc = step(connection, sql, old.bytes, err);
        if (rc >= 0)
            rc = dbk_view_integer(connection, "SELECT changes()", NULL, &count, err);
        if (rc >= 0 && count != 1)
            return "a row went that was not there";
    }
    (void)snprintf(sql, sizeof(sql), "INSERT INTO temp.before_%s VALUES (?1)", view);
    if (rc >= 0 && new.kind != DBK_VALUE_NULL)
        rc = step(connection, sql, new.bytes, err);
    if (rc >= 0 && old.kind == new.kind && dbk_slice_equal(old.bytes, new.bytes))
        return "a row changed into itself";
    return rc < 0 ? err->message : NULL;
}

static const char *compare(struct dbk_connection *connection, const char *view,
                           struct dbk_error *err)
{
    char sql[256];
    int64_t different = 0;
    (void)snprintf(sql, sizeof(sql),
                   "SELECT count(*) FROM (SELECT row FROM (SELECT row, 1 AS w FROM temp.now UNION "
                   "ALL SELECT row, -1 FROM temp.before_%s) GROUP BY row HAVING sum(w) <> 0)",
                   view);
    int rc = read_rows(connection, view, err);
    if (rc >= 0)
        rc = dbk_view_integer(connection, sql, NULL, &different, err);
    if (rc < 0)
        return err->message;
    return different == 0 ? NULL : "the differences do not lead to the rows";
}

const char *replay(struct dbk_connection *connection, const char *view, uint64_t *after,
                   struct dbk_error *err)
{
    struct dbk_statement *select = NULL;
    const char *wrong = NULL;
    bool ends = true;
    const struct dbk_value values[] = {
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(view)},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)*after},
    };
    int rc = dbk_statement_open(
        connection,
        DBK_SLICE_LITERAL("SELECT seq, old, new, ends FROM _daybook_differences JOIN "
                          "_daybook_recorded USING (view) WHERE view = ?1 AND seq > ?2 AND seq <= "
                          "head ORDER BY seq"),
        &select, NULL, err);
    for (int i = 0; rc == DBK_OK && i < 2; i++)
        dbk_statement_bind(select, i + 1, &values[i]);
    while (rc >= 0 && wrong == NULL && (rc = dbk_statement_step(select, err)) == 1) {
        if ((uint64_t)dbk_statement_column(select, 0).integer != ++*after)
            wrong = "a number is missing";
        ends = dbk_statement_column(select, 3).integer == 1;
        if (wrong == NULL)
            wrong = apply(connection, view, select, err);
    }
    dbk_statement_free(select);
    if (rc < 0)
        return err->message;
    if (wrong == NULL && !ends)
        wrong = "the refresh has no end";
    return wrong != NULL ? wrong : compare(connection, view, err);
}
