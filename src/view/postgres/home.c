/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL as home of views: what is asked of it, and what each of its files needs. */
#include <stdio.h>

#include "target/driver.h"
#include "view/postgres/state.h"

extern const struct dbk_driver dbk_driver;

int dbk_pgview_open(const struct dbk_view_definition *definition, unsigned flags,
                    struct dbk_connection **connection_out, struct dbk_error *err)
{
    const char *behind = strchr(definition->database_path, ':');
    return dbk_driver.open(behind == NULL ? "" : behind + 1, flags, connection_out, err);
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

static int clean(const struct dbk_view_definition *definition, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_view_row row;
    int rc = dbk_pgview_open(definition, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_create(connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, definition->name, &row, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_clean(connection, definition->name, row.generation, err);
    dbk_connection_free(connection);
    return rc;
}

/* Views that are refreshed fully leave nothing behind but their rows. */
static int settle(const char *address, const char *const *views, size_t count,
                  struct dbk_error *err)
{
    (void)address;
    (void)views;
    (void)count;
    (void)err;
    return DBK_OK;
}

static int read_row(const struct dbk_view_definition *definition, struct dbk_view_row *row_out,
                    struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    *row_out = (struct dbk_view_row){.tried_us = DBK_TIME_NONE};
    int rc = dbk_pgview_open(definition, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, definition->name, row_out, err);
    dbk_connection_free(connection);
    return rc;
}

static int explain(const struct dbk_view_definition *definition, const char *fingerprint,
                   bool writer, struct dbk_buf *out, struct dbk_error *err)
{
    struct dbk_view_row row;
    struct dbk_view_plan plan;
    (void)fingerprint;
    (void)writer;
    int rc = read_row(definition, &row, err);
    if (rc < 0)
        return rc;
    dbk_view_plan_init(&plan);
    (void)dbk_obstacle_set(&plan.tree.obstacle, SIZE_MAX, "",
                           "a view in PostgreSQL is computed whole");
    rc = dbk_view_explain_write(definition, &plan, &row, NULL, out, err);
    dbk_view_plan_release(&plan);
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

/* Nothing is kept from one refresh for the next. */
static int open_session(struct dbk_view_session **session_out, struct dbk_error *err)
{
    (void)err;
    *session_out = NULL;
    return DBK_OK;
}

static void free_session(struct dbk_view_session *session)
{
    (void)session;
}

__attribute__((visibility("default"))) extern const struct dbk_view_home dbk_view_home;
const struct dbk_view_home dbk_view_home = {
    .remote = true,
    .clean = clean,
    .settle = settle,
    .row = read_row,
    .refresh = dbk_pgview_refresh,
    .session_open = open_session,
    .session_free = free_session,
    .explain = explain,
    .verify = dbk_pgview_verify,
    .distrust = distrust,
};
