/* SPDX-License-Identifier: Apache-2.0 */
/* A full refresh in PostgreSQL, and the end of generations. */
#include <stdio.h>
#include <time.h>

#include "view/postgres/state.h"

/* How often the swap is tried while readers hold the view, some 100 ms each time. */
#define SWAP_TRIES 100
#define SWAP_PAUSE_NS 50000000
#define LOCK_WAIT "100ms"

struct work {
    const struct dbk_view_refresh *refresh;
    struct dbk_connection *connection;
    struct dbk_view_row old;
    struct dbk_view_row row;
    struct dbk_buf sql;
};

static int run(struct work *work, struct dbk_error *err)
{
    return dbk_pgview_run(work->connection, &work->sql, err);
}

static const char *name_of(const struct work *work)
{
    return work->refresh->definition->name;
}

/* ---- The end of generations ---- */

static int drop_table(struct dbk_connection *connection, const char *table, struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "SET LOCAL lock_timeout = '" LOCK_WAIT "'; DROP TABLE IF EXISTS ");
    dbk_emit_name(&sql, table);
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc))
                        : dbk_view_run_transaction(connection, sql.data, err);
    dbk_buf_release(&sql);
    return rc;
}

/* What somebody still reads is dropped after a later refresh. */
int dbk_pgview_clean(struct dbk_connection *connection, const char *name, uint64_t generation,
                     struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    struct dbk_arena arena;
    char prefix[DBK_VIEW_TABLE_SIZE_MAX];
    char kept[DBK_VIEW_TABLE_SIZE_MAX + 24];
    (void)snprintf(prefix, sizeof(prefix), "%s__g", name);
    (void)snprintf(kept, sizeof(kept), "%s%llu", prefix, (unsigned long long)generation);
    const struct dbk_value values[] = {{.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(prefix)},
                                       {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(kept)}};
    int rc = dbk_statement_open(
        connection,
        DBK_SLICE_LITERAL(
            "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = "
            "to_regnamespace(quote_ident(current_schema())) AND left(relname, length(?1)) = ?1 "
            "AND relname <> ?2 AND left(relname, length(?2) + 1) <> ?2 || 'n' AND "
            "substr(relname, length(?1) + 1) ~ '^[0-9]+(n[0-9]+)?$'"),
        &statement, NULL, err);
    if (rc < 0)
        return rc;
    dbk_arena_init(&arena, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_statement_bind(statement, 1, &values[0]);
    dbk_statement_bind(statement, 2, &values[1]);
    const char *tables[64] = {NULL};
    size_t count = 0;
    while (count < sizeof(tables) / sizeof(tables[0]) &&
           (rc = dbk_statement_step(statement, err)) == 1) {
        tables[count] = dbk_arena_copy(&arena, dbk_statement_column(statement, 0).bytes).data;
        count += tables[count] != NULL;
    }
    dbk_statement_free(statement);
    for (size_t i = 0; rc >= 0 && i < count; i++) {
        rc = drop_table(connection, tables[i], err);
        rc = rc == DBK_EBUSY ? DBK_OK : rc;
    }
    dbk_arena_release(&arena);
    return rc < 0 ? rc : DBK_OK;
}

/* ---- The new generation ---- */

static int fill_table(struct work *work, struct dbk_error *err)
{
    const struct dbk_view_definition *definition = work->refresh->definition;
    unsigned long long generation = work->row.generation;
    char table[DBK_VIEW_TABLE_SIZE_MAX];
    int64_t rows = 0;
    (void)snprintf(table, sizeof(table), "%s__g%llu", definition->name, generation);
    dbk_buf_append_format(&work->sql, "CREATE TABLE \"%s\" AS ", table);
    dbk_buf_append(&work->sql, dbk_view_select(definition));
    int rc = run(work, err);
    for (size_t i = 0; rc == DBK_OK && i < definition->index_count; i++) {
        dbk_buf_append_format(&work->sql, "CREATE INDEX \"%s_%zu\" ON \"%s\" (%s)", table, i + 1,
                              table, definition->indexes[i]);
        rc = run(work, err);
    }
    if (rc == DBK_OK) {
        dbk_buf_append_format(&work->sql, "ANALYZE \"%s\"", table);
        rc = run(work, err);
    }
    dbk_buf_append_format(&work->sql, "SELECT count(*) FROM \"%s\"", table);
    dbk_buf_append_char(&work->sql, '\0');
    if (rc == DBK_OK)
        rc = dbk_view_integer(work->connection, work->sql.data, NULL, &rows, err);
    dbk_buf_reset(&work->sql);
    work->row.rows = (uint64_t)rows;
    return rc;
}

/* ---- The swap ---- */

static void append_view(struct work *work, const char *verb)
{
    dbk_buf_append_format(&work->sql, "%s VIEW \"%s\" AS SELECT * FROM \"%s__g%llu\"", verb,
                          name_of(work), name_of(work), (unsigned long long)work->row.generation);
}

/* Those who may read it go on being those who may. */
static int make_anew(struct work *work, struct dbk_error *err)
{
    struct dbk_buf grants;
    struct dbk_statement *statement = NULL;
    dbk_buf_init(&grants, DBK_PGVIEW_SQL_SIZE_MAX);
    int rc = dbk_statement_open(
        work->connection,
        DBK_SLICE_LITERAL(
            "SELECT format('GRANT %s ON %I TO %s%s; ', a.privilege_type, c.relname, CASE "
            "a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, "
            "CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) FROM pg_class AS c, "
            "aclexplode(c.relacl) AS a WHERE c.oid = to_regclass(quote_ident(?1)) AND a.grantee "
            "<> c.relowner"),
        &statement, NULL, err);
    if (rc < 0)
        return rc;
    const struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(name_of(work))};
    dbk_statement_bind(statement, 1, &name);
    while ((rc = dbk_statement_step(statement, err)) == 1)
        dbk_buf_append(&grants, dbk_statement_column(statement, 0).bytes);
    dbk_statement_free(statement);
    dbk_buf_append_format(&work->sql, "DROP VIEW IF EXISTS \"%s\"; ", name_of(work));
    append_view(work, "CREATE");
    dbk_buf_append_text(&work->sql, "; ");
    dbk_buf_append(&work->sql, dbk_buf_slice(&grants));
    if (grants.rc < 0)
        work->sql.rc = grants.rc;
    dbk_buf_release(&grants);
    if (rc < 0)
        dbk_buf_reset(&work->sql);
    return rc < 0 ? rc : run(work, err);
}

static int swap_once(struct work *work, struct dbk_error *err)
{
    int rc = dbk_connection_run(work->connection, "SAVEPOINT swap", err);
    if (rc < 0)
        return rc;
    append_view(work, "CREATE OR REPLACE");
    rc = run(work, err);
    if (rc == DBK_EINVAL || rc == DBK_ESCRIPT) { /* Other columns, or columns of other types. */
        rc = dbk_connection_run(work->connection, "ROLLBACK TO swap", err);
        if (rc == DBK_OK)
            rc = make_anew(work, err);
    }
    if (rc == DBK_EBUSY && dbk_connection_run(work->connection, "ROLLBACK TO swap", err) < 0)
        rc = DBK_ECONNECT;
    return rc;
}

/* A name that is not ours is not taken. */
static int look_for_others(struct work *work, struct dbk_error *err)
{
    int64_t there = 0;
    int rc = dbk_view_integer(work->connection,
                              "SELECT count(*) FROM pg_class WHERE relname = ?1 AND relnamespace "
                              "= to_regnamespace(quote_ident(current_schema()))",
                              name_of(work), &there, err);
    if (rc == DBK_OK && there != 0 && work->old.generation == 0)
        return dbk_error_set(err, DBK_EREFUSED,
                             "its database has something of that name, which is not the view's: "
                             "name the view otherwise, or let it have a schema of its own, first "
                             "in the connection's search_path");
    return rc;
}

static int swap(struct work *work, struct dbk_error *err)
{
    const struct timespec pause = {.tv_nsec = SWAP_PAUSE_NS};
    int rc = dbk_connection_run(work->connection, "SET LOCAL lock_timeout = '" LOCK_WAIT "'", err);
    if (rc < 0)
        return rc;
    rc = swap_once(work, err);
    for (int i = 1; rc == DBK_EBUSY && i < SWAP_TRIES; i++) {
        (void)nanosleep(&pause, NULL);
        rc = swap_once(work, err);
    }
    return rc;
}

/* ---- A refresh ---- */

/* Notes in the view's row why the refresh failed; the old result stays. */
static void note_failure(struct work *work, const struct dbk_error *why)
{
    struct dbk_view_row row;
    int rc = dbk_connection_begin(work->connection, DBK_BEGIN_WRITE, NULL);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(work->connection, name_of(work), &row, NULL);
    if (rc == DBK_OK) {
        row.tried_us = work->row.tried_us;
        (void)snprintf(row.error, sizeof(row.error), "%.*s", (int)sizeof(row.error) - 1,
                       why->message);
        rc = dbk_view_catalog_write(work->connection, name_of(work), &row, NULL);
    }
    dbk_ignore(dbk_view_end_transaction(work->connection, rc, NULL));
}

static int fill(struct work *work, int64_t begun_us, struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = work->refresh;
    uint64_t position = 0;
    bool found = false;
    uint64_t last = dbk_store_last_position(refresh->store);
    int rc = dbk_view_catalog_read(work->connection, name_of(work), &work->old, err);
    if (rc == DBK_OK)
        rc = look_for_others(work, err);
    if (rc == DBK_OK)
        rc = dbk_view_position(work->connection, refresh->source, &position, &found, err);
    work->row.position = found && position < last ? position : last;
    work->row.as_of_us = refresh->os->now_us(refresh->os);
    work->row.generation = work->old.generation + 1;
    work->row.refreshed = DBK_VIEW_FULL;
    work->row.incremental_us = work->old.incremental_us / 2;
    work->row.incremental_changes = work->old.incremental_changes;
    (void)snprintf(work->row.fingerprint, sizeof(work->row.fingerprint), "%s",
                   refresh->fingerprint);
    if (rc == DBK_OK)
        rc = dbk_pgview_prepare(refresh->definition, work->connection, NULL, err);
    if (rc == DBK_OK)
        rc = fill_table(work, err);
    if (rc == DBK_OK && refresh->progress != NULL &&
        !refresh->progress(refresh->context, work->row.rows, 0))
        rc = dbk_error_set(err, DBK_ESTOPPED, "the refresh was ended");
    work->row.duration_us = refresh->os->monotonic_us(refresh->os) - begun_us;
    work->row.full_us = work->row.duration_us;
    if (rc == DBK_OK)
        rc = swap(work, err);
    return rc < 0 ? rc : dbk_view_catalog_write(work->connection, name_of(work), &work->row, err);
}

int dbk_pgview_refresh(const struct dbk_view_refresh *refresh, struct dbk_error *err)
{
    struct work work = {.refresh = refresh};
    struct dbk_error failure = {0};
    int64_t begun_us = refresh->os->monotonic_us(refresh->os);
    work.row.tried_us = refresh->os->now_us(refresh->os);
    dbk_buf_init(&work.sql, DBK_PGVIEW_SQL_SIZE_MAX);
    int rc = dbk_pgview_open(refresh->definition, 0, &work.connection, &failure);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_create(work.connection, &failure);
    if (rc == DBK_OK)
        rc = dbk_pgview_begin(work.connection, &failure);
    if (rc == DBK_OK)
        rc = dbk_view_end_transaction(work.connection, fill(&work, begun_us, &failure), &failure);
    if (rc == DBK_OK)
        rc = dbk_pgview_clean(work.connection, name_of(&work), work.row.generation, &failure);
    else if (work.connection != NULL)
        note_failure(&work, &failure);
    dbk_connection_free(work.connection);
    dbk_buf_release(&work.sql);
    return rc < 0
               ? dbk_error_set(err, rc, "view %s: %s", refresh->definition->name, failure.message)
               : DBK_OK;
}
