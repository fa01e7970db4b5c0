/* SPDX-License-Identifier: Apache-2.0 */
/* SQLite as home of views, and the way to others. */
#include "view/home.h"

#include <stdio.h>

#include "view/alert.h"
#include "view/build.h"
#include "view/follow.h"
#include "view/kept.h"
#include "view/logged.h"
#include "view/record.h"
#include "view/shown.h"

static int clean(const struct dbk_view_definition *definition, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_view_row row;
    int rc = dbk_connection_open(definition->database_path, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_create(connection, err);
    if (rc == DBK_OK)
        rc = dbk_kept_give_up_all(connection, definition->name, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, definition->name, &row, err);
    if (rc == DBK_OK)
        rc = dbk_view_refresh_clean(connection, definition->name, row.generation, err);
    if (rc == DBK_OK)
        rc = dbk_follow_release(connection, definition->name, err);
    if (rc == DBK_OK)
        rc = dbk_record_create(connection, err);
    if (rc == DBK_OK)
        rc = dbk_record_clean(connection, definition->name, err);
    if (rc == DBK_OK)
        rc = dbk_alerts_clean(connection, definition, err);
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
    if (rc == DBK_OK)
        rc = dbk_logged_keep(connection, views, count, err);
    if (rc == DBK_OK)
        rc = dbk_record_keep(connection, views, count, err);
    if (rc == DBK_OK)
        rc = dbk_alerts_keep(connection, views, count, err);
    dbk_connection_free(connection);
    return rc;
}

static int read_row(const struct dbk_view_definition *definition, struct dbk_view_row *row_out,
                    struct dbk_kept *kept_out, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    *row_out = (struct dbk_view_row){.tried_us = DBK_TIME_NONE, .check.at_us = DBK_TIME_NONE};
    *kept_out = (struct dbk_kept){0};
    int rc = dbk_connection_open(definition->database_path, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_ENOTFOUND)
        return DBK_OK;
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
    int rc = dbk_connection_open(definition->database_path, 0, &connection, err);
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
    int rc = dbk_connection_open(definition->database_path, DBK_CONNECT_READ, &connection, err);
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
    int rc = dbk_connection_open(definition->database_path, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_kept_definition(connection, definition->name, kept, arena, text_out, err);
    dbk_connection_free(connection);
    return rc;
}

/* The transaction of a rollback: what shows it, what is known of it, and that nothing follows the
   generation that served, so that the next refresh is a full one. */
static int swap_kept(struct dbk_connection *connection,
                     const struct dbk_view_definition *definition, const struct dbk_kept *kept,
                     struct dbk_slice shown, int64_t now_us, struct dbk_error *err)
{
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = dbk_kept_roll_back(connection, definition->name, kept, now_us, err);
    if (rc == DBK_OK)
        rc = dbk_shown_create(connection, definition->name, shown, err);
    if (rc == DBK_OK)
        rc = dbk_follow_forget(connection, definition->name, err);
    if (rc == DBK_OK)
        rc = dbk_logged_forget(connection, definition->name, err);
    if (rc == DBK_OK)
        rc = dbk_record_forget(connection, definition->name, err);
    return dbk_view_end_transaction(connection, rc, err);
}

static int roll_back(const struct dbk_view_definition *definition, int64_t now_us,
                     struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_kept kept;
    struct dbk_buf shown;
    dbk_buf_init(&shown, DBK_FILL_SQL_MAX);
    int rc = dbk_connection_open(definition->database_path, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_create(connection, err);
    if (rc == DBK_OK)
        rc = dbk_follow_catalog(connection, err);
    if (rc == DBK_OK)
        rc = dbk_logged_catalog(connection, err);
    if (rc == DBK_OK)
        rc = dbk_record_create(connection, err);
    if (rc == DBK_OK)
        rc = dbk_kept_look(connection, definition->name, &kept, &shown, err);
    if (rc == DBK_OK)
        rc = swap_kept(connection, definition, &kept, dbk_buf_slice(&shown), now_us, err);
    if (rc == DBK_OK)
        dbk_ignore(dbk_follow_clean(connection, NULL));
    dbk_buf_release(&shown);
    dbk_connection_free(connection);
    return rc;
}

static int drop_kept(const struct dbk_view_definition *definition, int64_t before_us,
                     struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_view_row row;
    int rc = dbk_connection_open(definition->database_path, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_create(connection, err);
    if (rc == DBK_OK)
        rc = dbk_kept_drop(connection, definition->name, before_us, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, definition->name, &row, err);
    if (rc == DBK_OK)
        rc = dbk_view_refresh_clean(connection, definition->name, row.generation, err);
    dbk_connection_free(connection);
    return rc;
}

/* An SQLite without dbstat counts nothing. */
static int read_size(const struct dbk_view_definition *definition, uint64_t generation,
                     uint64_t *size_out, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    char table[DBK_VIEW_TABLE_SIZE_MAX];
    int64_t counts = 0;
    int64_t size = 0;
    (void)snprintf(table, sizeof(table), "%s__g%llu", definition->name,
                   (unsigned long long)generation);
    int rc = dbk_connection_open(definition->database_path, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_integer(connection,
                              "SELECT count(*) FROM pragma_module_list WHERE name = 'dbstat'", NULL,
                              &counts, err);
    if (rc == DBK_OK && counts != 0)
        rc = dbk_view_integer(
            connection,
            "SELECT sum(d.pgsize) FROM sqlite_schema AS s CROSS JOIN dbstat AS d ON d.name = "
            "s.name "
            "WHERE d.aggregate = 1 AND s.rootpage <> 0 AND (s.tbl_name = ?1 OR (substr(s.tbl_name, "
            "1, "
            "length(?1) + 1) = ?1 || 'n' AND substr(s.tbl_name, length(?1) + 2) NOT GLOB "
            "'*[^0-9]*'))",
            table, &size, err);
    dbk_connection_free(connection);
    *size_out = (uint64_t)size;
    return rc;
}

static const struct dbk_view_home sqlite = {
    .records = true,
    .clean = clean,
    .settle = settle,
    .row = read_row,
    .file = read_file,
    .count = count_rows,
    .roll_back = roll_back,
    .drop_kept = drop_kept,
    .size = read_size,
    .refresh = dbk_view_refresh_run,
    .refresh_jointly = dbk_view_refresh_jointly,
    .session_open = dbk_view_session_open,
    .session_free = dbk_view_session_free,
    .explain = dbk_view_explain,
    .verify = dbk_view_verify,
    .keep_check = keep_check,
    .distrust = dbk_view_distrust,
    .build_open = dbk_view_build_open,
    .build_catch_up = dbk_view_build_catch_up,
    .build_compare = dbk_view_build_compare,
    .build_swap = dbk_view_build_swap,
    .build_behind = dbk_view_build_behind,
    .build_free = dbk_view_build_free,
};

#define AGAIN_US INT64_C(60000000)

static int add_remote(struct dbk_view_remotes *remotes, const char *address,
                      struct dbk_arena *arena)
{
    const char **grown = dbk_arena_alloc(arena, (remotes->count + 1) * sizeof(*grown));
    const char *copy = dbk_arena_format(arena, "%s", address);
    if (grown == NULL || copy == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < remotes->count; i++) {
        grown[i] = remotes->addresses[i];
        if (strcmp(grown[i], address) == 0)
            return DBK_OK;
    }
    grown[remotes->count++] = copy;
    remotes->addresses = grown;
    return DBK_OK;
}

int dbk_view_settle(struct dbk_view_remotes *remotes, const char *address, size_t view_count,
                    dbk_view_names_fn names, void *context, struct dbk_arena *arena,
                    struct dbk_error *err)
{
    const struct dbk_view_home *home = NULL;
    const char **list = dbk_alloc_zero(view_count + 1, sizeof(*list));
    int rc = dbk_view_home_of(address, &home, err);
    if (list == NULL)
        rc = dbk_error_set(err, DBK_ENOMEM, "views: %s", dbk_code_text(DBK_ENOMEM));
    if (rc == DBK_OK && !home->remote)
        rc = home->settle(address, list, names(context, address, list), err);
    else if (rc == DBK_OK && add_remote(remotes, address, arena) < 0)
        rc = dbk_error_set(err, DBK_ENOMEM, "views: %s", dbk_code_text(DBK_ENOMEM));
    dbk_free(list);
    return rc;
}

void dbk_view_remotes_settle(struct dbk_view_remotes *remotes, struct dbk_os *os, size_t view_count,
                             dbk_view_names_fn names, void *context)
{
    size_t left = 0;
    if (remotes->count == 0 || os->monotonic_us(os) < remotes->next_us)
        return;
    const char **list = dbk_alloc_zero(view_count + 1, sizeof(*list));
    for (size_t i = 0; list != NULL && i < remotes->count; i++) {
        const char *address = remotes->addresses[i];
        const struct dbk_view_home *home = NULL;
        size_t count = names(context, address, list);
        if (dbk_view_home_of(address, &home, NULL) == DBK_OK &&
            home->settle(address, list, count, NULL) < 0)
            remotes->addresses[left++] = address;
    }
    if (list != NULL)
        remotes->count = left;
    remotes->next_us = os->monotonic_us(os) + AGAIN_US;
    dbk_free(list);
}

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
