/* SPDX-License-Identifier: Apache-2.0 */
#include "compare.h"

#include <stdio.h>

#define SQL_SIZE_MAX ((size_t)1 << 20)

/* The result's columns; types: each with typeof() behind it. */
static void append_list(struct dbk_statement *statement, bool types, struct dbk_buf *out)
{
    for (int i = 0; i < dbk_statement_column_count(statement); i++) {
        const char *name = dbk_statement_column_name(statement, i);
        dbk_buf_append_format(out, i > 0 ? ", \"%s\"" : "\"%s\"", name);
        if (types)
            dbk_buf_append_format(out, ", typeof(\"%s\")", name);
    }
}

/* What SQLite makes of the SELECT, into temp.q without affinities: inside of another SELECT those
   of a UNION's first branch may change the values of the others. */
static int store_expected(struct dbk_connection *connection, struct dbk_statement *statement,
                          struct dbk_slice select, struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "DROP TABLE IF EXISTS temp.q; CREATE TEMP TABLE q (");
    append_list(statement, false, &sql);
    dbk_buf_append_text(&sql, "); INSERT INTO temp.q ");
    dbk_buf_append(&sql, select);
    dbk_buf_append_char(&sql, '\0');
    int rc = dbk_connection_run(connection, sql.data, err);
    dbk_buf_release(&sql);
    return rc;
}

static bool same_value(const struct dbk_value *one, const struct dbk_value *other)
{
    bool real = one->kind == DBK_VALUE_REAL || other->kind == DBK_VALUE_REAL;
    if (one->kind != other->kind && !real)
        return false;
    if (one->kind == DBK_VALUE_TEXT || one->kind == DBK_VALUE_BLOB)
        return dbk_slice_equal(one->bytes, other->bytes);
    if (real) {
        double first = one->kind == DBK_VALUE_REAL ? one->real : (double)one->integer;
        double second = other->kind == DBK_VALUE_REAL ? other->real : (double)other->integer;
        return !(first < second) && !(first > second);
    }
    return one->kind != DBK_VALUE_INTEGER || one->integer == other->integer;
}

static bool same_values(struct dbk_statement *one, struct dbk_statement *other)
{
    for (int i = 0; i < dbk_statement_column_count(one); i++) {
        struct dbk_value first = dbk_statement_column(one, i);
        struct dbk_value second = dbk_statement_column(other, i);
        if (!same_value(&first, &second))
            return false;
    }
    return true;
}

int64_t compare_view(struct dbk_connection *connection, const char *view, struct dbk_slice select,
                     bool types, struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_buf list;
    struct dbk_statement *statement = NULL;
    int64_t count = -1;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_init(&list, SQL_SIZE_MAX);
    dbk_buf_append_format(&sql, "SELECT * FROM %s", view);
    int rc = dbk_statement_open(connection, dbk_buf_slice(&sql), &statement, NULL, err);
    if (rc == DBK_OK) {
        append_list(statement, types, &list);
        rc = store_expected(connection, statement, select, err);
    }
    dbk_statement_free(statement);
    statement = NULL;
    dbk_buf_reset(&sql);
    dbk_buf_append_format(&sql,
                          "WITH a AS (SELECT %.*s, count(*) FROM %s GROUP BY %.*s), b AS (SELECT "
                          "%.*s, count(*) FROM temp.q GROUP BY %.*s) SELECT (SELECT count(*) FROM "
                          "(SELECT * FROM a EXCEPT SELECT * FROM b)) + (SELECT count(*) FROM "
                          "(SELECT * FROM b EXCEPT SELECT * FROM a))",
                          DBK_SLICE_ARGS(list), view, DBK_SLICE_ARGS(list), DBK_SLICE_ARGS(list),
                          DBK_SLICE_ARGS(list));
    if (rc == DBK_OK)
        rc = dbk_statement_open(connection, dbk_buf_slice(&sql), &statement, NULL, err);
    if (rc == DBK_OK && dbk_statement_step(statement, err) == 1)
        count = dbk_statement_column(statement, 0).integer;
    dbk_statement_free(statement);
    dbk_buf_release(&sql);
    dbk_buf_release(&list);
    return count;
}

int compare_order(struct dbk_connection *connection, const char *view, struct dbk_error *err)
{
    struct dbk_statement *rows[2] = {NULL};
    char sql[96];
    int same = 1;
    (void)snprintf(sql, sizeof(sql), "SELECT * FROM %s", view);
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), &rows[0], NULL, err);
    if (rc == DBK_OK)
        rc = dbk_statement_open(connection, DBK_SLICE_LITERAL("SELECT * FROM temp.q"), &rows[1],
                                NULL, err);
    while (rc >= 0 && same == 1) {
        rc = dbk_statement_step(rows[0], err);
        int other = rc < 0 ? rc : dbk_statement_step(rows[1], err);
        if (rc < 0 || other < 0)
            same = -1;
        else if (rc != other || (rc == 1 && !same_values(rows[0], rows[1])))
            same = 0;
        if (rc == 0)
            break;
    }
    dbk_statement_free(rows[0]);
    dbk_statement_free(rows[1]);
    return rc < 0 ? -1 : same;
}

bool compare_fails(struct dbk_connection *connection, struct dbk_slice select)
{
    struct dbk_statement *statement = NULL;
    struct dbk_error err = {0};
    int rc = dbk_statement_open(connection, select, &statement, NULL, &err);
    while (rc >= 0 && (rc = dbk_statement_step(statement, &err)) == 1)
        continue;
    dbk_statement_free(statement);
    return rc < 0;
}
