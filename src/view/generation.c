/* SPDX-License-Identifier: Apache-2.0 */
/* The end of generations that are no longer shown. */
#include <stdio.h>

#include "view/follow.h"
#include "view/refresh.h"

#define SQL_SIZE_MAX ((size_t)4 << 20)
/* Rows of an old generation removed in one transaction. */
#define CLEAN_ROWS "400"

/* Runs SQL made by printf. Names in it are a view's own: letters, digits and '_'. */
static int run_format(struct dbk_connection *connection, struct dbk_error *err, const char *format,
                      ...) DBK_PRINTF(3, 4);
static int run_format(struct dbk_connection *connection, struct dbk_error *err, const char *format,
                      ...)
{
    struct dbk_arena arena;
    char *sql = NULL;
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    dbk_arena_init(&arena, SQL_SIZE_MAX);
    if (size >= 0)
        sql = dbk_arena_alloc(&arena, (size_t)size + 1);
    if (sql != NULL)
        (void)vsnprintf(sql, (size_t)size + 1, format, again);
    va_end(again);
    int rc = sql == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "statement: %s", dbk_code_text(DBK_ENOMEM))
                 : dbk_connection_run(connection, sql, err);
    dbk_arena_release(&arena);
    return rc;
}

int dbk_view_end_transaction(struct dbk_connection *connection, int rc, struct dbk_error *err)
{
    if (rc >= 0)
        rc = dbk_connection_run(connection, "COMMIT", err);
    if (rc < 0 && dbk_connection_in_transaction(connection))
        dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    return rc;
}

int dbk_view_run_transaction(struct dbk_connection *connection, const char *sql,
                             struct dbk_error *err)
{
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, sql, err);
    return dbk_view_end_transaction(connection, rc, err);
}

static int drop_generation(struct dbk_connection *connection, const char *table,
                           struct dbk_error *err)
{
    char sql[2 * DBK_VIEW_TABLE_SIZE_MAX + 128];
    char count[DBK_VIEW_TABLE_SIZE_MAX + 64];
    int64_t left = 1;
    int rc = DBK_OK;
    /* What is removed with the table is no change that a view on it would follow. */
    for (size_t i = 0; i < sizeof(dbk_follow_triggers) / sizeof(dbk_follow_triggers[0]); i++) {
        if (rc == DBK_OK)
            rc = run_format(connection, err, "DROP TRIGGER IF EXISTS \"%s%s\"",
                            dbk_follow_triggers[i], table);
    }
    (void)snprintf(sql, sizeof(sql),
                   "DELETE FROM \"%s\" WHERE rowid IN (SELECT rowid FROM \"%s\" LIMIT " CLEAN_ROWS
                   ")",
                   table, table);
    (void)snprintf(count, sizeof(count), "SELECT EXISTS (SELECT 1 FROM \"%s\")", table);
    while (rc == DBK_OK && left != 0) {
        rc = dbk_view_run_transaction(connection, sql, err);
        if (rc == DBK_OK)
            rc = dbk_view_integer(connection, count, NULL, &left, err);
    }
    return rc == DBK_OK ? run_format(connection, err, "DROP TABLE \"%s\"", table) : rc;
}

static bool is_gone(struct dbk_connection *connection, const char *table)
{
    int64_t there = 1;
    return dbk_view_integer(connection,
                            "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1",
                            table, &there, NULL) == DBK_OK &&
           there == 0;
}

int dbk_view_refresh_clean(struct dbk_connection *connection, const char *name, uint64_t generation,
                           struct dbk_error *err)
{
    char prefix[DBK_VIEW_TABLE_SIZE_MAX];
    char kept[DBK_VIEW_TABLE_SIZE_MAX + 24];
    (void)snprintf(prefix, sizeof(prefix), "%s__g", name);
    (void)snprintf(kept, sizeof(kept), "%s%llu", prefix, (unsigned long long)generation);
    for (;;) {
        struct dbk_statement *statement = NULL;
        char table[DBK_VIEW_TABLE_SIZE_MAX];
        int rc = dbk_statement_open(
            connection,
            DBK_SLICE_LITERAL("SELECT name FROM sqlite_schema WHERE type = 'table' AND "
                              "substr(name, 1, length(?1)) = ?1 AND name <> ?2 AND "
                              "substr(name, 1, length(?2) + 1) <> ?2 || 'n' AND "
                              "substr(name, length(?1) + 1) NOT GLOB '*[^0-9n]*' AND "
                              "CAST(substr(name, length(?1) + 1) AS INTEGER) NOT IN (SELECT "
                              "generation FROM _daybook_view_generations WHERE view = ?3 AND "
                              "stored = 1)"),
            &statement, NULL, err);
        if (rc < 0)
            return rc;
        struct dbk_value values[] = {
            {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(prefix)},
            {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(kept)},
            {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(name)},
        };
        dbk_statement_bind(statement, 1, &values[0]);
        dbk_statement_bind(statement, 2, &values[1]);
        dbk_statement_bind(statement, 3, &values[2]);
        rc = dbk_statement_step(statement, err);
        if (rc == 1)
            (void)snprintf(table, sizeof(table), "%.*s",
                           DBK_SLICE_ARGS(dbk_statement_column(statement, 0).bytes));
        dbk_statement_free(statement);
        if (rc <= 0)
            return rc;
        rc = drop_generation(connection, table, err);
        if (rc < 0 && is_gone(connection, table))
            continue; /* A build that ended meanwhile has removed it. */
        if (rc < 0)
            return rc;
    }
}
