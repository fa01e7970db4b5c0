/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL as home of views: what is asked of it, and what each of its files needs. */
#include <stdio.h>

#include "target/driver.h"
#include "view/kept.h"
#include "view/postgres/state.h"

extern const struct dbk_driver dbk_driver;

static int open_driver(const struct dbk_view_definition *definition, unsigned flags,
                       struct dbk_connection **connection_out, struct dbk_error *err)
{
    const char *behind = strchr(definition->database_path, ':');
    return dbk_driver.open(behind == NULL ? "" : behind + 1, flags, connection_out, err);
}

int dbk_pgview_open(const struct dbk_view_definition *definition, unsigned flags,
                    struct dbk_connection **connection_out, struct dbk_error *err)
{
    int rc = open_driver(definition, flags, connection_out, err);
    /* A schema that is not named comes first. */
    return rc < 0 ? rc
                  : dbk_connection_run(*connection_out,
                                       "SELECT set_config('search_path', concat_ws(', ', "
                                       "nullif(current_setting('search_path'), ''), 'pg_temp'), "
                                       "false)",
                                       err);
}

int dbk_pgview_open_over(const struct dbk_view_definition *definition,
                         struct dbk_connection **connection_out, struct dbk_error *err)
{
    return open_driver(definition, 0, connection_out, err);
}

int dbk_pgview_stand_for(struct dbk_connection *connection, const char *name, const char *shown,
                         struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "CREATE TEMP VIEW ");
    dbk_emit_name(&sql, name);
    dbk_buf_append_format(&sql, " AS %s", shown);
    int rc = dbk_pgview_run(connection, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}

int dbk_pgview_stand_back(struct dbk_connection *connection, const char *name,
                          struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "DROP VIEW pg_temp.");
    dbk_emit_name(&sql, name);
    int rc = dbk_pgview_run(connection, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}

int dbk_pgview_run(struct dbk_connection *connection, struct dbk_buf *sql, struct dbk_error *err)
{
    dbk_buf_append_char(sql, '\0');
    int rc = sql->rc < 0 ? dbk_error_set(err, sql->rc, "a statement: %s", dbk_code_text(sql->rc))
                         : dbk_connection_run(connection, sql->data, err);
    dbk_buf_reset(sql);
    return rc;
}

int dbk_pgview_begin(struct dbk_connection *connection, struct dbk_error *err)
{
    return dbk_connection_run(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ", err);
}

void dbk_pgview_text(struct dbk_buf *out, const char *text)
{
    dbk_buf_append_char(out, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            dbk_buf_append_char(out, '\'');
        dbk_buf_append_char(out, *text);
    }
    dbk_buf_append_char(out, '\'');
}

int dbk_pgview_prepare(const struct dbk_view_definition *definition,
                       struct dbk_connection *connection, struct dbk_statement **statement_out,
                       struct dbk_error *err)
{
    struct dbk_slice select = dbk_view_select(definition);
    struct dbk_statement *statement = NULL;
    struct dbk_error failure = {0};
    unsigned line = 0;
    unsigned column = 0;
    int offset = -1;
    dbk_connection_guard(connection, DBK_GUARD_QUERY);
    int rc = dbk_statement_open(connection, select, &statement, &offset, &failure);
    dbk_connection_guard(connection, DBK_GUARD_NONE);
    if (rc < 0) {
        dbk_text_place(definition->sql,
                       (size_t)(select.data - definition->sql.data) +
                           (size_t)(offset < 0 ? 0 : offset),
                       &line, &column);
        return dbk_error_set(err, rc, "%s:%u:%u: %s", definition->file, line, column,
                             failure.message);
    }
    if (statement_out != NULL)
        *statement_out = statement;
    else
        dbk_statement_free(statement);
    return DBK_OK;
}

/* What a crash left of a view's builds and refreshes: none is under way. */
static int clean(struct dbk_connection *connection, const char *view, struct dbk_error *err)
{
    struct dbk_view_row row;
    int rc = dbk_kept_give_up_all(connection, view, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, view, &row, err);
    return rc < 0 ? rc : dbk_pgview_clean(connection, view, row.generation, err);
}

/* The cursors of views that are not there, and of builds that a crash cut short. */
static int forget_others(struct dbk_connection *connection, const char *const *views, size_t count,
                         struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "DELETE FROM _daybook_cursors WHERE view NOT IN (''");
    for (size_t i = 0; i < count; i++) {
        dbk_buf_append_text(&sql, ", ");
        dbk_pgview_text(&sql, views[i]);
    }
    dbk_buf_append_char(&sql, ')');
    int rc = dbk_pgview_run(connection, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}

static int settle(const char *address, const char *const *views, size_t count,
                  struct dbk_error *err)
{
    const struct dbk_view_definition definition = {.database_path = address};
    struct dbk_connection *connection = NULL;
    int64_t there = 0;
    int rc = dbk_pgview_open(&definition, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_integer(connection,
                              "SELECT count(*) FROM pg_class WHERE oid = "
                              "to_regclass('_daybook_cursors')",
                              NULL, &there, err);
    if (rc == DBK_OK && there != 0) {
        rc = dbk_view_catalog_create(connection, err);
        if (rc == DBK_OK)
            rc = forget_others(connection, views, count, err);
        for (size_t i = 0; rc == DBK_OK && i < count; i++)
            rc = clean(connection, views[i], err);
        if (rc == DBK_OK)
            rc = dbk_pgview_end_logs(connection, err);
    }
    dbk_connection_free(connection);
    return rc;
}

static int read_row(const struct dbk_view_definition *definition, struct dbk_view_row *row_out,
                    struct dbk_kept *kept_out, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    *row_out = (struct dbk_view_row){.tried_us = DBK_TIME_NONE, .check.at_us = DBK_TIME_NONE};
    *kept_out = (struct dbk_kept){0};
    int rc = dbk_pgview_open(definition, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, definition->name, row_out, err);
    if (rc == DBK_OK)
        rc = dbk_kept_read(connection, definition->name, kept_out, err);
    dbk_connection_free(connection);
    return rc;
}

static int keep_check(const struct dbk_view_definition *definition,
                      const struct dbk_view_check *check, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    int rc = dbk_pgview_open(definition, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_create(connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_check(connection, definition->name, check, err);
    dbk_connection_free(connection);
    return rc;
}

static int count_rows(const struct dbk_view_definition *definition, const char *table,
                      uint64_t *count_out, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    char sql[DBK_VIEW_TABLE_SIZE_MAX + 64];
    int64_t count = 0;
    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM \"%s\"", table);
    int rc = dbk_pgview_open(definition, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_integer(connection, sql, NULL, &count, err);
    dbk_connection_free(connection);
    *count_out = (uint64_t)count;
    return rc;
}

static int read_file(const struct dbk_view_definition *definition, bool kept,
                     struct dbk_arena *arena, struct dbk_slice *text_out, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    int rc = dbk_pgview_open(definition, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_kept_definition(connection, definition->name, kept, arena, text_out, err);
    dbk_connection_free(connection);
    return rc;
}

static int read_size(const struct dbk_view_definition *definition, uint64_t generation,
                     uint64_t *size_out, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    char table[DBK_VIEW_TABLE_SIZE_MAX];
    int64_t size = 0;
    (void)snprintf(table, sizeof(table), "%s__g%llu", definition->name,
                   (unsigned long long)generation);
    int rc = dbk_pgview_open(definition, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_integer(
            connection,
            "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND "
            "relnamespace = to_regnamespace(quote_ident(current_schema())) AND (relname = ?1 OR "
            "(left(relname, length(?1) + 1) = ?1 || 'n' AND substr(relname, length(?1) + 2) ~ "
            "'^[0-9]+$'))",
            table, &size, err);
    dbk_connection_free(connection);
    *size_out = (uint64_t)size;
    return rc;
}

static int explain(const struct dbk_view_refresh *refresh, bool writer, struct dbk_buf *out,
                   struct dbk_error *err)
{
    const struct dbk_view_definition *definition = refresh->definition;
    struct dbk_connection *connection = NULL;
    struct dbk_view_row row = {0};
    struct dbk_view_plan plan;
    struct dbk_buf log;
    dbk_view_plan_init(&plan);
    dbk_buf_init(&log, DBK_PGVIEW_SQL_SIZE_MAX);
    int rc = dbk_pgview_open(definition, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, definition->name, &row, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_plan(&plan, connection, definition, err);
    bool shown = rc == DBK_OK && plan.incremental && writer && row.layout == DBK_VIEW_LAYOUT &&
                 strcmp(row.fingerprint, refresh->fingerprint) == 0;
    /* A rebuilt table has no notes yet: then there are no statements to show. */
    if (shown &&
        dbk_pgview_statements(definition, &plan, connection, row.generation, &log, NULL) < 0)
        shown = false;
    const struct dbk_slice statements = dbk_buf_slice(&log);
    if (rc == DBK_OK)
        rc = dbk_view_explain_write(definition, &plan, &row, shown ? &statements : NULL, out, err);
    dbk_connection_free(connection);
    dbk_view_plan_release(&plan);
    dbk_buf_release(&log);
    return rc;
}

static int distrust(const struct dbk_view_definition *definition, const struct dbk_error *why,
                    struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_view_row row = {0};
    int rc = dbk_pgview_open(definition, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_begin(connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, definition->name, &row, err);
    row.layout = 0;
    (void)snprintf(row.error, sizeof(row.error), "%.*s", (int)sizeof(row.error) - 1, why->message);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_write(connection, definition->name, &row, err);
    if (connection != NULL)
        rc = dbk_view_end_transaction(connection, rc, err);
    dbk_connection_free(connection);
    return rc;
}

__attribute__((visibility("default"))) extern const struct dbk_view_home dbk_view_home;
const struct dbk_view_home dbk_view_home = {
    .remote = true,
    .settle = settle,
    .row = read_row,
    .file = read_file,
    .count = count_rows,
    .roll_back = dbk_pgview_roll_back,
    .drop_kept = dbk_pgview_drop_kept,
    .size = read_size,
    .refresh = dbk_pgview_refresh,
    .refresh_jointly = dbk_pgview_jointly,
    .session_open = dbk_pgview_session_open,
    .session_free = dbk_pgview_session_free,
    .explain = explain,
    .verify = dbk_pgview_verify,
    .keep_check = keep_check,
    .distrust = distrust,
    .build_open = dbk_pgview_build_open,
    .build_catch_up = dbk_pgview_build_catch_up,
    .build_swap = dbk_pgview_build_swap,
    .build_behind = dbk_pgview_build_behind,
    .build_free = dbk_pgview_build_free,
};
