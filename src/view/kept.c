/* SPDX-License-Identifier: Apache-2.0 */
#include "view/kept.h"

#include <stdio.h>

#include "view/refresh.h"

#define TEXT_SIZE_MAX ((size_t)16 << 20)

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

static const char *const columns_of[] = {
    [DBK_DIALECT_SQLITE] = "SELECT count(*) FROM pragma_table_info('_daybook_view_generations')",
    [DBK_DIALECT_POSTGRES] =
        "SELECT count(*) FROM pg_attribute WHERE attrelid = "
        "to_regclass('_daybook_view_generations') AND attnum > 0 AND NOT attisdropped",
};
#define FIRST_COLUMNS 7
/* Columns that a table of an earlier version has not. */
static const char *const added[] = {
    "position BIGINT NOT NULL DEFAULT 0", "as_of BIGINT NOT NULL DEFAULT 0",
    "rows BIGINT NOT NULL DEFAULT 0", "duration BIGINT NOT NULL DEFAULT 0",
    "replaced BIGINT NOT NULL DEFAULT 0"};
#define COLUMN_COUNT (FIRST_COLUMNS + (int64_t)(sizeof(added) / sizeof(added[0])))

static int count_columns(struct dbk_connection *connection, int64_t *count_out,
                         struct dbk_error *err)
{
    return dbk_view_integer(connection, columns_of[dbk_connection_dialect(connection)], NULL,
                            count_out, err);
}

int dbk_kept_catalog(struct dbk_connection *connection, struct dbk_error *err)
{
    int64_t count = 0;
    int rc = dbk_connection_run(
        connection,
        "CREATE TABLE IF NOT EXISTS _daybook_view_generations (view TEXT NOT NULL, generation "
        "BIGINT NOT NULL, state TEXT NOT NULL, stored BIGINT NOT NULL, fingerprint TEXT NOT NULL, "
        "definition TEXT NOT NULL, shown TEXT, PRIMARY KEY (view, generation))",
        err);
    if (rc == DBK_OK)
        rc = count_columns(connection, &count, err);
    for (int64_t i = count - FIRST_COLUMNS; rc == DBK_OK && i < COLUMN_COUNT - FIRST_COLUMNS; i++) {
        char sql[128];
        (void)snprintf(sql, sizeof(sql), "ALTER TABLE _daybook_view_generations ADD COLUMN %s",
                       added[i]);
        rc = dbk_connection_run(connection, sql, err);
    }
    return rc;
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

int dbk_kept_add(struct dbk_connection *connection, const struct dbk_view_definition *definition,
                 const char *fingerprint, uint64_t *number_out, struct dbk_error *err)
{
    uint64_t newest = 0;
    int rc = find_newest(connection, definition->name, &newest, err);
    const struct dbk_value values[] = {
        text_value(dbk_slice_of(definition->name)), number_value(newest + 1),
        text_value(dbk_slice_of(fingerprint)), text_value(definition->sql)};
    if (rc == DBK_OK)
        rc = run(connection,
                 "INSERT INTO _daybook_view_generations (view, generation, state, stored, "
                 "fingerprint, definition) VALUES (?1, ?2, 'building', 1, ?3, ?4)",
                 values, 4, err);
    if (rc == DBK_OK)
        *number_out = newest + 1;
    return rc;
}

int dbk_kept_begin(struct dbk_connection *connection, const struct dbk_view_definition *definition,
                   const char *fingerprint, uint64_t *number_out, struct dbk_error *err)
{
    uint64_t number = 0;
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = dbk_kept_add(connection, definition, fingerprint, &number, err);
    rc = dbk_view_end_transaction(connection, rc, err);
    if (rc == DBK_OK)
        *number_out = number;
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

/* ---- What is kept ---- */

/* Copies what one row's text columns hold. */
static int read_text(struct dbk_connection *connection, const char *sql, const char *name,
                     struct dbk_buf *out, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value value = text_value(dbk_slice_of(name));
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, err);
    if (rc == DBK_OK) {
        dbk_statement_bind(statement, 1, &value);
        rc = dbk_statement_step(statement, err);
    }
    if (rc == 1 && dbk_statement_column(statement, 0).kind == DBK_VALUE_TEXT)
        dbk_buf_append(out, dbk_statement_column(statement, 0).bytes);
    dbk_statement_free(statement);
    if (rc >= 0 && out->rc < 0)
        rc = dbk_error_set(err, out->rc, "%s", dbk_code_text(out->rc));
    return rc < 0 ? rc : DBK_OK;
}

int dbk_kept_definition(struct dbk_connection *connection, const char *name, bool kept,
                        struct dbk_arena *arena, struct dbk_slice *text_out, struct dbk_error *err)
{
    struct dbk_buf text;
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    int rc = read_text(connection,
                       kept ? "SELECT definition FROM _daybook_view_generations WHERE view = ?1 "
                              "AND state IN ('kept', 'undone') ORDER BY generation DESC LIMIT 1"
                            : "SELECT definition FROM _daybook_view_generations WHERE view = ?1 "
                              "AND state = 'serving'",
                       name, &text, err);
    if (rc == DBK_OK) {
        *text_out = dbk_arena_copy(arena, dbk_buf_slice(&text));
        if (text_out->data == NULL)
            rc = dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    }
    dbk_buf_release(&text);
    return rc;
}

/* Whether the generation that serves shows something else than the file does. */
static int has_other_select(struct dbk_connection *connection,
                            const struct dbk_view_definition *definition, bool *other_out,
                            struct dbk_error *err)
{
    struct dbk_arena arena;
    struct dbk_slice text = dbk_slice(NULL, 0);
    dbk_arena_init(&arena, TEXT_SIZE_MAX);
    int rc = dbk_kept_definition(connection, definition->name, false, &arena, &text, err);
    const struct dbk_view_definition old = {.sql = text};
    *other_out = rc == DBK_OK && text.size > 0 &&
                 !dbk_slice_equal(dbk_view_select(&old), dbk_view_select(definition));
    dbk_arena_release(&arena);
    return rc;
}

/* What served is beside from now on. */
static int put_aside(struct dbk_connection *connection, const char *name,
                     const struct dbk_view_row *old, const char *state, int64_t now_us,
                     struct dbk_error *err)
{
    const struct dbk_value values[] = {
        text_value(dbk_slice_of(name)), text_value(dbk_slice_of(state)),
        number_value(old->position),    number_value((uint64_t)old->as_of_us),
        number_value(old->rows),        number_value((uint64_t)old->full_us),
        number_value((uint64_t)now_us)};
    return run(connection,
               "UPDATE _daybook_view_generations SET state = ?2, position = ?3, as_of = ?4, rows = "
               "?5, duration = ?6, replaced = ?7 WHERE view = ?1 AND state = 'serving'",
               values, 7, err);
}

int dbk_kept_serve(struct dbk_connection *connection, const struct dbk_view_definition *definition,
                   const struct dbk_view_row *old, const struct dbk_view_row *row, int64_t now_us,
                   struct dbk_slice shown, struct dbk_error *err)
{
    const struct dbk_value values[] = {text_value(dbk_slice_of(definition->name)),
                                       number_value(row->generation), text_value(shown)};
    bool other = false;
    int rc = has_other_select(connection, definition, &other, err);
    if (rc == DBK_OK && other) /* What was kept before is not kept any longer. */
        rc = run(connection,
                 "DELETE FROM _daybook_view_generations WHERE view = ?1 AND state IN ('kept', "
                 "'undone')",
                 values, 1, err);
    if (rc == DBK_OK && other && definition->keep_us != 0)
        rc = put_aside(connection, definition->name, old, "kept", now_us, err);
    if (rc == DBK_OK)
        rc = run(connection,
                 "DELETE FROM _daybook_view_generations WHERE view = ?1 AND state = 'serving'",
                 values, 1, err);
    if (rc == DBK_OK)
        rc = run(connection,
                 "UPDATE _daybook_view_generations SET state = 'serving', shown = ?3 WHERE view = "
                 "?1 AND generation = ?2",
                 values, 3, err);
    return rc < 0 ? rc : dbk_view_catalog_write(connection, definition->name, row, err);
}

static void read_kept(struct dbk_statement *statement, struct dbk_kept *kept)
{
    const struct dbk_value fingerprint = dbk_statement_column(statement, 3);
    struct dbk_slice text =
        fingerprint.kind == DBK_VALUE_TEXT ? fingerprint.bytes : dbk_slice(NULL, 0);
    kept->generation = (uint64_t)dbk_statement_column(statement, 0).integer;
    kept->stored = dbk_statement_column(statement, 1).integer != 0;
    kept->undone = dbk_statement_column(statement, 2).integer != 0;
    (void)snprintf(kept->fingerprint, sizeof(kept->fingerprint), "%.*s", DBK_SLICE_ARGS(text));
    kept->position = (uint64_t)dbk_statement_column(statement, 4).integer;
    kept->as_of_us = dbk_statement_column(statement, 5).integer;
    kept->rows = (uint64_t)dbk_statement_column(statement, 6).integer;
    kept->duration_us = dbk_statement_column(statement, 7).integer;
    kept->replaced_us = dbk_statement_column(statement, 8).integer;
}

int dbk_kept_read(struct dbk_connection *connection, const char *name, struct dbk_kept *kept_out,
                  struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    struct dbk_kept kept = {0};
    int64_t count = 0;
    int rc = count_columns(connection, &count, err);
    if (rc == DBK_OK && count == COLUMN_COUNT)
        rc = dbk_statement_open(
            connection,
            DBK_SLICE_LITERAL("SELECT generation, stored, CASE state WHEN 'undone' THEN 1 ELSE 0 "
                              "END, fingerprint, position, as_of, rows, duration, replaced FROM "
                              "_daybook_view_generations WHERE view = ?1 AND state IN ('kept', "
                              "'undone') ORDER BY generation DESC LIMIT 1"),
            &statement, NULL, err);
    if (rc == DBK_OK && statement != NULL) {
        const struct dbk_value value = text_value(dbk_slice_of(name));
        dbk_statement_bind(statement, 1, &value);
        rc = dbk_statement_step(statement, err);
        if (rc == 1)
            read_kept(statement, &kept);
    }
    dbk_statement_free(statement);
    if (rc < 0)
        return rc;
    *kept_out = kept;
    return DBK_OK;
}

/* All of it is read: what cannot be is found before anybody is shown it. */
static int count_shown(struct dbk_connection *connection, const struct dbk_kept *kept,
                       const struct dbk_buf *shown, struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_error failure = {0};
    int64_t rows = 0;
    dbk_buf_init(&sql, TEXT_SIZE_MAX);
    dbk_buf_append_text(&sql, "SELECT count(*) FROM (");
    dbk_buf_append(&sql, dbk_buf_slice(shown));
    dbk_buf_append_text(&sql, ") AS s");
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc))
                        : dbk_view_integer(connection, sql.data, NULL, &rows, &failure);
    bool fewer = strstr(sql.data == NULL ? "" : sql.data, " LIMIT ") != NULL;
    dbk_buf_release(&sql);
    if (failure.code != DBK_OK)
        return dbk_error_set(err, rc == DBK_ECONNECT ? rc : DBK_ECORRUPT,
                             "generation %ju, which was kept, cannot be read: %.160s",
                             (uintmax_t)kept->generation, failure.message);
    if (rc == DBK_OK && (fewer ? (uint64_t)rows > kept->rows : (uint64_t)rows != kept->rows))
        return dbk_error_set(err, DBK_ECORRUPT,
                             "generation %ju, which was kept with %ju rows, has %jd of them",
                             (uintmax_t)kept->generation, (uintmax_t)kept->rows, (intmax_t)rows);
    return rc;
}

int dbk_kept_look(struct dbk_connection *connection, const char *name, struct dbk_kept *kept_out,
                  struct dbk_buf *shown, struct dbk_error *err)
{
    struct dbk_kept kept = {0};
    int rc = dbk_kept_read(connection, name, &kept, err);
    if (rc == DBK_OK && !kept.stored)
        return dbk_error_set(err, DBK_ENOTFOUND,
                             "no other generation of it is kept: change its file, and refresh it");
    if (rc == DBK_OK)
        rc = read_text(connection,
                       "SELECT shown FROM _daybook_view_generations WHERE view = ?1 AND state IN "
                       "('kept', 'undone') ORDER BY generation DESC LIMIT 1",
                       name, shown, err);
    if (rc == DBK_OK && shown->size == 0)
        rc = dbk_error_set(err, DBK_ECORRUPT, "what shows generation %ju is not known",
                           (uintmax_t)kept.generation);
    if (rc == DBK_OK)
        rc = count_shown(connection, &kept, shown, err);
    if (rc == DBK_OK)
        *kept_out = kept;
    return rc;
}

int dbk_kept_roll_back(struct dbk_connection *connection, const char *name,
                       const struct dbk_kept *kept, int64_t now_us, struct dbk_error *err)
{
    struct dbk_kept now = {0};
    struct dbk_view_row old = {0};
    int64_t serving = 0;
    int rc = dbk_kept_read(connection, name, &now, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, name, &old, err);
    if (rc == DBK_OK && (!now.stored || now.generation != kept->generation))
        return dbk_error_set(err, DBK_EBUSY, "another generation of it is kept meanwhile");
    const struct dbk_value values[] = {text_value(dbk_slice_of(name)),
                                       number_value(kept->generation)};
    if (rc == DBK_OK)
        rc = put_aside(connection, name, &old, "undone", now_us, err);
    if (rc == DBK_OK)
        rc = run(connection,
                 "UPDATE _daybook_view_generations SET state = 'serving' WHERE view = ?1 AND "
                 "generation = ?2",
                 values, 2, err);
    if (rc == DBK_OK)
        rc = dbk_view_integer(connection,
                              "SELECT count(*) FROM _daybook_view_generations WHERE view = ?1 AND "
                              "state = 'serving'",
                              name, &serving, err);
    if (rc == DBK_OK && serving != 1) /* A server lets others delete it since it was read. */
        return dbk_error_set(err, DBK_EBUSY, "what was kept of it has been removed meanwhile");
    /* What adding to its rows needs was not kept up. */
    struct dbk_view_row row = {.generation = kept->generation,
                               .position = kept->position,
                               .as_of_us = kept->as_of_us,
                               .duration_us = kept->duration_us,
                               .rows = kept->rows,
                               .tried_us = old.tried_us,
                               .refreshed = DBK_VIEW_FULL,
                               .full_us = kept->duration_us};
    (void)snprintf(row.fingerprint, sizeof(row.fingerprint), "%s", kept->fingerprint);
    (void)snprintf(row.reason, sizeof(row.reason), "it was rolled back to");
    return rc < 0 ? rc : dbk_view_catalog_write(connection, name, &row, err);
}

int dbk_kept_drop(struct dbk_connection *connection, const char *name, int64_t before_us,
                  struct dbk_error *err)
{
    const struct dbk_value values[] = {text_value(dbk_slice_of(name)),
                                       number_value((uint64_t)before_us)};
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = run(connection,
                 "DELETE FROM _daybook_view_generations WHERE view = ?1 AND state = 'kept' AND "
                 "replaced <= ?2",
                 values, 2, err);
    if (rc == DBK_OK)
        rc = run(connection,
                 "UPDATE _daybook_view_generations SET stored = 0 WHERE view = ?1 AND state = "
                 "'undone' AND replaced <= ?2",
                 values, 2, err);
    return dbk_view_end_transaction(connection, rc, err);
}
