/* SPDX-License-Identifier: Apache-2.0 */
/* Which generation the plain view shows, what is kept beside it, and the end of the others. */
#include <stdio.h>
#include <time.h>

#include "view/postgres/state.h"

/* How often the swap is tried while readers hold the view, some 100 ms each time. */
#define SWAP_TRIES 100
#define PAUSE_NS 50000000

/* ---- The swap ---- */

/* Those who may read it go on being those who may. */
static int append_grants(struct dbk_connection *connection, const char *name, struct dbk_buf *sql,
                         struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value value = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(name)};
    int rc = dbk_statement_open(
        connection,
        DBK_SLICE_LITERAL(
            "SELECT format('; GRANT %s ON %I TO %s%s', a.privilege_type, c.relname, CASE "
            "a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, "
            "CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) FROM pg_class AS c, "
            "aclexplode(c.relacl) AS a WHERE c.oid = to_regclass(quote_ident(?1)) AND a.grantee "
            "<> c.relowner"),
        &statement, NULL, err);
    if (rc < 0)
        return rc;
    dbk_statement_bind(statement, 1, &value);
    while ((rc = dbk_statement_step(statement, err)) == 1)
        dbk_buf_append(sql, dbk_statement_column(statement, 0).bytes);
    dbk_statement_free(statement);
    return rc;
}

static void append_view(struct dbk_buf *sql, const char *verb, const char *name,
                        struct dbk_slice shown)
{
    dbk_buf_append_format(sql, "%s VIEW \"%s\" AS ", verb, name);
    dbk_buf_append(sql, shown);
}

static int make_anew(struct dbk_connection *connection, const char *name, struct dbk_slice shown,
                     struct dbk_buf *sql, struct dbk_error *err)
{
    dbk_buf_append_format(sql, "DROP VIEW IF EXISTS \"%s\"; ", name);
    append_view(sql, "CREATE", name, shown);
    int rc = append_grants(connection, name, sql, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_run(connection, sql, err);
    return rc;
}

static int show_once(struct dbk_connection *connection, const char *name, struct dbk_slice shown,
                     struct dbk_buf *sql, struct dbk_error *err)
{
    int rc = dbk_connection_run(connection, "SAVEPOINT swap", err);
    if (rc < 0)
        return rc;
    append_view(sql, "CREATE OR REPLACE", name, shown);
    rc = dbk_pgview_run(connection, sql, err);
    if (rc == DBK_EINVAL || rc == DBK_ESCRIPT) { /* Other columns, or columns of other types. */
        rc = dbk_connection_run(connection, "ROLLBACK TO swap", err);
        if (rc == DBK_OK)
            rc = make_anew(connection, name, shown, sql, err);
    }
    if (rc == DBK_EBUSY && dbk_connection_run(connection, "ROLLBACK TO swap", err) < 0)
        rc = DBK_ECONNECT;
    return rc;
}

int dbk_pgview_show(struct dbk_connection *connection, const struct dbk_pgview_shown *views,
                    size_t count, struct dbk_error *err)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    struct dbk_buf sql;
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    int rc =
        dbk_connection_run(connection, "SET LOCAL lock_timeout = '" DBK_PGVIEW_LOCK_WAIT "'", err);
    for (int tries = 1; rc == DBK_OK; tries++) {
        rc = dbk_connection_run(connection, "SAVEPOINT shown", err);
        for (size_t i = 0; rc == DBK_OK && i < count; i++)
            rc = show_once(connection, views[i].name, views[i].select, &sql, err);
        if (rc != DBK_EBUSY || tries == SWAP_TRIES)
            break;
        /* Nothing is held while a reader is waited for: it may want what was shown before it. */
        rc = dbk_connection_run(connection, "ROLLBACK TO shown", err);
        dbk_buf_reset(&sql);
        (void)nanosleep(&pause, NULL);
    }
    dbk_buf_release(&sql);
    return rc;
}

int dbk_pgview_show_now(struct dbk_connection *connection, const struct dbk_pgview_shown *view,
                        struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    int rc = show_once(connection, view->name, view->select, &sql, err);
    dbk_buf_release(&sql);
    return rc;
}

/* ---- The end of generations ---- */

static int drop_table(struct dbk_connection *connection, const char *table, struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "SET LOCAL lock_timeout = '" DBK_PGVIEW_LOCK_WAIT
                              "'; DROP TABLE IF EXISTS ");
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
                                       {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(kept)},
                                       {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(name)}};
    int rc = dbk_statement_open(
        connection,
        DBK_SLICE_LITERAL(
            "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = "
            "to_regnamespace(quote_ident(current_schema())) AND left(relname, length(?1)) = ?1 "
            "AND relname <> ?2 AND left(relname, length(?2) + 1) <> ?2 || 'n' AND "
            "substr(relname, length(?1) + 1) ~ '^[0-9]{1,18}(n[0-9]+)?$' AND "
            "substring(substr(relname, length(?1) + 1) from '^[0-9]+')::bigint NOT IN (SELECT "
            "generation FROM _daybook_view_generations WHERE view = ?3 AND stored = 1)"),
        &statement, NULL, err);
    if (rc < 0)
        return rc;
    dbk_arena_init(&arena, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_statement_bind(statement, 1, &values[0]);
    dbk_statement_bind(statement, 2, &values[1]);
    dbk_statement_bind(statement, 3, &values[2]);
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

/* ---- What is kept beside it ---- */

static int open_catalog(const struct dbk_view_definition *definition,
                        struct dbk_connection **connection_out, struct dbk_error *err)
{
    int rc = dbk_pgview_open(definition, 0, connection_out, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_create(*connection_out, err);
    return rc < 0 ? rc : dbk_pgview_catalog(*connection_out, err);
}

static int swap_kept(struct dbk_connection *connection, const char *name,
                     const struct dbk_kept *kept, struct dbk_slice shown, int64_t now_us,
                     struct dbk_error *err)
{
    const struct dbk_pgview_shown plain = {.name = name, .select = shown};
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = dbk_kept_roll_back(connection, name, kept, now_us, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_show(connection, &plain, 1, err);
    /* Nothing follows what served: the next refresh is a full one. */
    if (rc == DBK_OK)
        rc = dbk_pgview_forget(connection, name, DBK_PGVIEW_ALL, err);
    return dbk_view_end_transaction(connection, rc, err);
}

int dbk_pgview_roll_back(const struct dbk_view_definition *definition, int64_t now_us,
                         struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_kept kept;
    struct dbk_buf shown;
    dbk_buf_init(&shown, DBK_PGVIEW_SQL_SIZE_MAX);
    int rc = open_catalog(definition, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_kept_look(connection, definition->name, &kept, &shown, err);
    if (rc == DBK_OK)
        rc = swap_kept(connection, definition->name, &kept, dbk_buf_slice(&shown), now_us, err);
    if (rc == DBK_OK)
        dbk_ignore(dbk_pgview_end_logs(connection, NULL));
    dbk_buf_release(&shown);
    dbk_connection_free(connection);
    return rc;
}

int dbk_pgview_drop_kept(const struct dbk_view_definition *definition, int64_t before_us,
                         struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_view_row row;
    int rc = open_catalog(definition, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_kept_drop(connection, definition->name, before_us, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(connection, definition->name, &row, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_clean(connection, definition->name, row.generation, err);
    dbk_connection_free(connection);
    return rc;
}
