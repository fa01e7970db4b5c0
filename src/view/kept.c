/* SPDX-License-Identifier: Apache-2.0 */
#include "view/kept.h"

#include <stdio.h>

#include "view/refresh.h"

/* What numbers the tables have that are there. A table that is no row's is what a crash left. */
static const char *const newest_of[] = {
    [DBK_DIALECT_SQLITE] =
        "SELECT max(CAST(substr(name, length(?1) + 1) AS INTEGER)) FROM sqlite_schema WHERE type = "
        "'table' AND substr(name, 1, length(?1)) = ?1 AND substr(name, length(?1) + 1) NOT GLOB "
        "'*[^0-9n]*'",
    [DBK_DIALECT_POSTGRES] =
        "SELECT max(substring(substr(relname, length(?1) + 1) from '^[0-9]+')::bigint) FROM "
        "pg_class WHERE relkind = 'r' AND relnamespace = "
        "to_regnamespace(quote_ident(current_schema())) AND left(relname, length(?1)) = ?1 AND "
        "substr(relname, length(?1) + 1) ~ '^[0-9]{1,18}(n[0-9]+)?$'",
};

static struct dbk_value text_value(struct dbk_slice text)
{
    return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = text};
}

static struct dbk_value number_value(uint64_t number)
{
    return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = (int64_t)number};
}

static int run(struct dbk_connection *connection, const char *sql, const struct dbk_value *values,
               int count, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, err);
    for (int i = 0; rc == DBK_OK && i < count; i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    while (rc >= 0 && (rc = dbk_statement_step(statement, err)) == 1)
        ;
    dbk_statement_free(statement);
    return rc;
}

int dbk_kept_catalog(struct dbk_connection *connection, struct dbk_error *err)
{
    return dbk_connection_run(
        connection,
        "CREATE TABLE IF NOT EXISTS _daybook_view_generations (view TEXT NOT NULL, generation "
        "BIGINT NOT NULL, state TEXT NOT NULL, stored BIGINT NOT NULL, fingerprint TEXT NOT NULL, "
        "definition TEXT NOT NULL, shown TEXT, PRIMARY KEY (view, generation))",
        err);
}

static int find_newest(struct dbk_connection *connection, const char *name, uint64_t *number_out,
                       struct dbk_error *err)
{
    char prefix[DBK_VIEW_TABLE_SIZE_MAX];
    int64_t most = 0;
    int64_t number = 0;
    (void)snprintf(prefix, sizeof(prefix), "%s__g", name);
    int rc = dbk_view_integer(connection, newest_of[dbk_connection_dialect(connection)], prefix,
                              &most, err);
    if (rc == DBK_OK)
        rc = dbk_view_integer(connection,
                              "SELECT max(generation) FROM _daybook_view_generations WHERE view = "
                              "?1",
                              name, &number, err);
    most = number > most ? number : most;
    if (rc == DBK_OK)
        rc = dbk_view_integer(connection, "SELECT generation FROM _daybook_views WHERE name = ?1",
                              name, &number, err);
    most = number > most ? number : most;
    *number_out = (uint64_t)most;
    return rc;
}

int dbk_kept_begin(struct dbk_connection *connection, const struct dbk_view_definition *definition,
                   const char *fingerprint, uint64_t *number_out, struct dbk_error *err)
{
    uint64_t newest = 0;
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = find_newest(connection, definition->name, &newest, err);
    const struct dbk_value values[] = {
        text_value(dbk_slice_of(definition->name)), number_value(newest + 1),
        text_value(dbk_slice_of(fingerprint)), text_value(definition->sql)};
    if (rc == DBK_OK)
        rc = run(connection,
                 "INSERT INTO _daybook_view_generations (view, generation, state, stored, "
                 "fingerprint, definition) VALUES (?1, ?2, 'building', 1, ?3, ?4)",
                 values, 4, err);
    rc = dbk_view_end_transaction(connection, rc, err);
    if (rc == DBK_OK)
        *number_out = newest + 1;
    return rc;
}

int dbk_kept_give_up(struct dbk_connection *connection, const char *name, uint64_t number,
                     struct dbk_error *err)
{
    const struct dbk_value values[] = {text_value(dbk_slice_of(name)), number_value(number)};
    return run(connection,
               "DELETE FROM _daybook_view_generations WHERE view = ?1 AND generation = ?2 AND "
               "state = 'building'",
               values, 2, err);
}

int dbk_kept_give_up_all(struct dbk_connection *connection, const char *name, struct dbk_error *err)
{
    const struct dbk_value values[] = {text_value(dbk_slice_of(name))};
    return run(connection,
               "DELETE FROM _daybook_view_generations WHERE view = ?1 AND state = 'building'",
               values, 1, err);
}

int dbk_kept_serve(struct dbk_connection *connection, const char *name,
                   const struct dbk_view_row *row, struct dbk_slice shown, struct dbk_error *err)
{
    const struct dbk_value values[] = {text_value(dbk_slice_of(name)),
                                       number_value(row->generation), text_value(shown)};
    int rc = run(connection,
                 "DELETE FROM _daybook_view_generations WHERE view = ?1 AND state = 'serving'",
                 values, 1, err);
    if (rc == DBK_OK)
        rc = run(connection,
                 "UPDATE _daybook_view_generations SET state = 'serving', shown = ?3 WHERE view = "
                 "?1 AND generation = ?2",
                 values, 3, err);
    return rc < 0 ? rc : dbk_view_catalog_write(connection, name, row, err);
}
