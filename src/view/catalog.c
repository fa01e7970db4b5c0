/* SPDX-License-Identifier: Apache-2.0 */
#include "view/catalog.h"

#include <stdio.h>

#include "view/kept.h"

/* Columns that a table of an earlier version has not. */
static const char *const added[] = {"layout BIGINT NOT NULL DEFAULT 0",
                                    "refreshed TEXT",
                                    "changes BIGINT NOT NULL DEFAULT 0",
                                    "reason TEXT",
                                    "full_us BIGINT NOT NULL DEFAULT 0",
                                    "incremental_us BIGINT NOT NULL DEFAULT 0",
                                    "incremental_changes BIGINT NOT NULL DEFAULT 0",
                                    "verified BIGINT",
                                    "verified_position BIGINT NOT NULL DEFAULT 0",
                                    "verified_rows BIGINT NOT NULL DEFAULT 0",
                                    "verified_more BIGINT NOT NULL DEFAULT 0",
                                    "verified_less BIGINT NOT NULL DEFAULT 0"};
static const char *const columns_of[] = {
    [DBK_DIALECT_SQLITE] = "SELECT count(*) FROM pragma_table_info('_daybook_views')",
    [DBK_DIALECT_POSTGRES] =
        "SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('_daybook_views') AND "
        "attnum > 0 AND NOT attisdropped",
};
#define COLUMN_COUNT 21
#define COLUMN_COUNT_UNVERIFIED 16

int dbk_view_catalog_create(struct dbk_connection *connection, struct dbk_error *err)
{
    int64_t count = 0;
    int rc = dbk_connection_run(connection,
                                "CREATE TABLE IF NOT EXISTS _daybook_views (name TEXT PRIMARY KEY, "
                                "generation BIGINT NOT NULL, fingerprint TEXT NOT NULL, "
                                "position BIGINT NOT NULL, as_of BIGINT NOT NULL, "
                                "duration BIGINT NOT NULL, rows BIGINT NOT NULL, "
                                "tried BIGINT NOT NULL, error TEXT)",
                                err);
    if (rc == DBK_OK)
        rc = dbk_view_integer(connection, columns_of[dbk_connection_dialect(connection)], NULL,
                              &count, err);
    for (size_t i = count < 9 ? 0 : (size_t)count - 9;
         rc == DBK_OK && i < sizeof(added) / sizeof(added[0]); i++) {
        char sql[128];
        (void)snprintf(sql, sizeof(sql), "ALTER TABLE _daybook_views ADD COLUMN %s", added[i]);
        rc = dbk_connection_run(connection, sql, err);
    }
    return rc < 0 ? rc : dbk_kept_catalog(connection, err);
}

static struct dbk_value text_value(const char *text)
{
    return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(text)};
}

static struct dbk_value integer_value(int64_t integer)
{
    return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = integer};
}

static struct dbk_value text_or_null(const char *text)
{
    return text[0] == '\0' ? (struct dbk_value){.kind = DBK_VALUE_NULL} : text_value(text);
}

int dbk_view_integer(struct dbk_connection *connection, const char *sql, const char *text,
                     int64_t *value_out, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, err);
    if (rc < 0)
        return rc;
    if (text != NULL) {
        struct dbk_value value = text_value(text);
        dbk_statement_bind(statement, 1, &value);
    }
    rc = dbk_statement_step(statement, err);
    if (rc >= 0) {
        struct dbk_value value = {.kind = DBK_VALUE_NULL};
        if (rc == 1)
            value = dbk_statement_column(statement, 0);
        *value_out = value.kind == DBK_VALUE_INTEGER ? value.integer : 0;
        rc = DBK_OK;
    }
    dbk_statement_free(statement);
    return rc;
}

static void copy_column(struct dbk_statement *statement, int column, char *text, size_t size)
{
    struct dbk_value value = dbk_statement_column(statement, column);
    struct dbk_slice bytes = value.kind == DBK_VALUE_TEXT ? value.bytes : dbk_slice(NULL, 0);
    (void)snprintf(text, size, "%.*s", DBK_SLICE_ARGS(bytes));
}

static void read_row(struct dbk_statement *statement, struct dbk_view_row *row)
{
    row->generation = (uint64_t)dbk_statement_column(statement, 0).integer;
    copy_column(statement, 1, row->fingerprint, sizeof(row->fingerprint));
    row->position = (uint64_t)dbk_statement_column(statement, 2).integer;
    row->as_of_us = dbk_statement_column(statement, 3).integer;
    row->duration_us = dbk_statement_column(statement, 4).integer;
    row->rows = (uint64_t)dbk_statement_column(statement, 5).integer;
    row->tried_us = dbk_statement_column(statement, 6).integer;
    copy_column(statement, 7, row->error, sizeof(row->error));
}

static void read_added(struct dbk_statement *statement, struct dbk_view_row *row)
{
    char refreshed[16];
    row->layout = (uint64_t)dbk_statement_column(statement, 8).integer;
    copy_column(statement, 9, refreshed, sizeof(refreshed));
    if (strcmp(refreshed, dbk_view_mode_text(DBK_VIEW_FULL)) == 0)
        row->refreshed = DBK_VIEW_FULL;
    else if (refreshed[0] != '\0')
        row->refreshed = DBK_VIEW_INCREMENTAL;
    row->changes = (uint64_t)dbk_statement_column(statement, 10).integer;
    copy_column(statement, 11, row->reason, sizeof(row->reason));
    row->full_us = dbk_statement_column(statement, 12).integer;
    row->incremental_us = dbk_statement_column(statement, 13).integer;
    row->incremental_changes = (uint64_t)dbk_statement_column(statement, 14).integer;
}

static void read_check(struct dbk_statement *statement, struct dbk_view_check *check)
{
    struct dbk_value at = dbk_statement_column(statement, 15);
    check->at_us = at.kind == DBK_VALUE_INTEGER ? at.integer : DBK_TIME_NONE;
    check->position = (uint64_t)dbk_statement_column(statement, 16).integer;
    check->rows = (uint64_t)dbk_statement_column(statement, 17).integer;
    check->more = (uint64_t)dbk_statement_column(statement, 18).integer;
    check->less = (uint64_t)dbk_statement_column(statement, 19).integer;
}

int dbk_view_catalog_read(struct dbk_connection *connection, const char *name,
                          struct dbk_view_row *row_out, struct dbk_error *err)
{
    struct dbk_view_row row = {.tried_us = DBK_TIME_NONE, .check.at_us = DBK_TIME_NONE};
    struct dbk_statement *statement = NULL;
    int64_t there = 0;
    int rc = dbk_view_integer(connection, columns_of[dbk_connection_dialect(connection)], NULL,
                              &there, err);
    if (rc < 0)
        return rc;
    if (there != 0) {
        char sql[512];
        (void)snprintf(sql, sizeof(sql),
                       "SELECT generation, fingerprint, position, as_of, duration, rows, tried, "
                       "error%s%s FROM _daybook_views WHERE name = ?1",
                       there < COLUMN_COUNT_UNVERIFIED
                           ? ""
                           : ", layout, refreshed, changes, reason, full_us, incremental_us, "
                             "incremental_changes",
                       there < COLUMN_COUNT ? ""
                                            : ", verified, verified_position, verified_rows, "
                                              "verified_more, verified_less");
        rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, err);
        if (rc < 0)
            return rc;
        struct dbk_value value = text_value(name);
        dbk_statement_bind(statement, 1, &value);
        rc = dbk_statement_step(statement, err);
        if (rc == 1)
            read_row(statement, &row);
        if (rc == 1 && there >= COLUMN_COUNT_UNVERIFIED)
            read_added(statement, &row);
        if (rc == 1 && there >= COLUMN_COUNT)
            read_check(statement, &row.check);
        dbk_statement_free(statement);
        if (rc < 0)
            return rc;
    }
    *row_out = row;
    return DBK_OK;
}

int dbk_view_catalog_write(struct dbk_connection *connection, const char *name,
                           const struct dbk_view_row *row, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(
        connection,
        DBK_SLICE_LITERAL(
            "INSERT INTO _daybook_views (name, generation, fingerprint, position, as_of, duration, "
            "rows, tried, error, layout, refreshed, changes, reason, full_us, incremental_us, "
            "incremental_changes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, "
            "?12, ?13, ?14, ?15, ?16) ON CONFLICT (name) DO UPDATE SET generation = "
            "excluded.generation, fingerprint = excluded.fingerprint, position = "
            "excluded.position, as_of = excluded.as_of, duration = excluded.duration, rows = "
            "excluded.rows, tried = excluded.tried, error = excluded.error, layout = "
            "excluded.layout, refreshed = excluded.refreshed, changes = excluded.changes, reason "
            "= excluded.reason, full_us = excluded.full_us, incremental_us = "
            "excluded.incremental_us, incremental_changes = excluded.incremental_changes"),
        &statement, NULL, err);
    if (rc < 0)
        return rc;
    const struct dbk_value values[] = {
        text_value(name),
        integer_value((int64_t)row->generation),
        text_value(row->fingerprint),
        integer_value((int64_t)row->position),
        integer_value(row->as_of_us),
        integer_value(row->duration_us),
        integer_value((int64_t)row->rows),
        integer_value(row->tried_us),
        text_or_null(row->error),
        integer_value((int64_t)row->layout),
        text_or_null(row->refreshed == DBK_VIEW_AUTO ? "" : dbk_view_mode_text(row->refreshed)),
        integer_value((int64_t)row->changes),
        text_or_null(row->reason),
        integer_value(row->full_us),
        integer_value(row->incremental_us),
        integer_value((int64_t)row->incremental_changes),
    };
    for (int i = 0; i < (int)(sizeof(values) / sizeof(values[0])); i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    rc = dbk_statement_step(statement, err);
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_view_catalog_check(struct dbk_connection *connection, const char *name,
                           const struct dbk_view_check *check, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(
        connection,
        DBK_SLICE_LITERAL("UPDATE _daybook_views SET verified = ?2, verified_position = ?3, "
                          "verified_rows = ?4, verified_more = ?5, verified_less = ?6 WHERE name = "
                          "?1"),
        &statement, NULL, err);
    if (rc < 0)
        return rc;
    const struct dbk_value values[] = {
        text_value(name),
        integer_value(check->at_us),
        integer_value((int64_t)check->position),
        integer_value((int64_t)check->rows),
        integer_value((int64_t)check->more),
        integer_value((int64_t)check->less),
    };
    for (int i = 0; i < (int)(sizeof(values) / sizeof(values[0])); i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    rc = dbk_statement_step(statement, err);
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}
