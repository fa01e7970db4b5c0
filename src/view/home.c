/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite as home of views, and the way to others. */
#include "view/home.h"

#include "view/follow.h"

static int clean(const struct dbk_view_definition *definition, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_view_row row;
    int rc = dbk_connection_open(definition->database_path, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_create(connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, definition->name, &row, err);
    if (rc == DBK_OK)
        rc = dbk_view_refresh_clean(connection, definition->name, row.generation, err);
    if (rc == DBK_OK)
        rc = dbk_follow_release(connection, definition->name, err);
    dbk_connection_free(connection);
    return rc;
}

static int settle(const char *address, const char *const *views, size_t count,
                  struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    int rc = dbk_connection_open(address, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_follow_keep(connection, views, count, err);
    dbk_connection_free(connection);
    return rc;
}

static int read_row(const struct dbk_view_definition *definition, struct dbk_view_row *row_out,
                    struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    *row_out = (struct dbk_view_row){.tried_us = DBK_TIME_NONE};
    int rc = dbk_connection_open(definition->database_path, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_ENOTFOUND)
        return DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, definition->name, row_out, err);
    dbk_connection_free(connection);
    return rc;
}

static const struct dbk_view_home sqlite = {
    .clean = clean,
    .settle = settle,
    .row = read_row,
    .refresh = dbk_view_refresh_run,
    .session_open = dbk_view_session_open,
    .session_free = dbk_view_session_free,
    .explain = dbk_view_explain,
    .verify = dbk_view_verify,
    .distrust = dbk_view_distrust,
};

int dbk_view_home_of(const char *address, const struct dbk_view_home **home_out,
                     struct dbk_error *err)
{
    const void *symbol = NULL;
    *home_out = &sqlite;
    if (dbk_target_dialect(address) == DBK_DIALECT_SQLITE)
        return DBK_OK;
    int rc = dbk_target_symbol(address, DBK_VIEW_HOME_SYMBOL, &symbol, err);
    if (rc == DBK_OK && symbol == NULL)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "views are kept in SQLite and PostgreSQL");
    *home_out = symbol;
    return rc;
}
