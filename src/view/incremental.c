/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One incremental refresh: one write transaction with the rows, the view's row and its cursors.
 */
#include <stdio.h>

#include "view/plan.h"

#define SQL_SIZE_MAX ((size_t)4 << 20)
/* What a changed row is thought to take where none was measured. */
#define ROW_US 20
/* Of fewer the time is that of the refresh itself: it tells nothing of what a row takes. */
#define CHANGES_MEASURED 100
/* The read models' writer waits for an incremental refresh; a full one lets it in between. */
#define WAIT_US_MAX INT64_C(2000000)

struct apply {
    const struct dbk_view_refresh *refresh;
    const struct dbk_view_plan *plan;
    struct dbk_connection *connection;
    struct dbk_view_row *row;
    struct dbk_view_attempt *attempt;
    struct dbk_delta delta;
};

static int give_up(struct apply *apply, const char *format, ...) DBK_PRINTF(2, 3);
/* DBK_EREFUSED: the transaction is rolled back, and a full refresh follows. */
static int give_up(struct apply *apply, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(apply->attempt->reason, sizeof(apply->attempt->reason), format, arguments);
    va_end(arguments);
    return DBK_EREFUSED;
}

static const char *name_of(const struct apply *apply)
{
    return apply->refresh->definition->name;
}

/* The differences of all tables, into temp. */
static int collect(struct apply *apply, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &apply->plan->tree;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        const struct dbk_relation *table = tree->relations[i];
        int64_t cursor = -1;
        uint64_t count = 0;
        bool current = false;
        if (table->kind != DBK_RELATION_TABLE)
            continue;
        rc = dbk_follow_cursor(apply->connection, name_of(apply), table->table, &cursor, err);
        if (rc == DBK_OK && cursor < 0)
            return give_up(apply, "%s was built anew since", table->name);
        if (rc == DBK_OK)
            rc = dbk_follow_is_current(apply->connection, table, &current, err);
        if (rc == DBK_OK && !current)
            return give_up(apply, "the columns or unique indexes of %s have changed since",
                           table->name);
        if (rc == DBK_OK)
            rc = dbk_delta_make(&apply->delta, table, err);
        if (rc == DBK_OK)
            rc = dbk_follow_difference(&apply->delta, table, cursor, &count, err);
        apply->delta.changed[i] = count != 0;
        apply->attempt->changes += count;
    }
    return rc;
}

/* A model that was rebuilt since the plan was made has another table. */
static int look_again(struct apply *apply, struct dbk_error *err)
{
    bool current = false;
    int rc = dbk_view_plan_is_current(apply->plan, apply->connection, &current, err);
    if (rc < 0 || current)
        return rc;
    apply->attempt->stale = true;
    return give_up(apply, "its tables were built anew meanwhile");
}

/* Measured costs decide, unless the head says `mode: incremental`. */
static int choose(struct apply *apply)
{
    const struct dbk_view_row *row = apply->row;
    double each = row->incremental_changes == 0
                      ? ROW_US
                      : (double)row->incremental_us / (double)row->incremental_changes;
    double wanted = each * (double)apply->attempt->changes;
    if (apply->refresh->definition->mode == DBK_VIEW_INCREMENTAL ||
        apply->attempt->changes < CHANGES_MEASURED)
        return DBK_OK;
    if (wanted > (double)row->full_us)
        return give_up(apply,
                       "%llu rows changed, which take about %.0f ms; all of it takes %.0f ms",
                       (unsigned long long)apply->attempt->changes, wanted / 1000,
                       (double)row->full_us / 1000);
    if (wanted > (double)WAIT_US_MAX)
        return give_up(apply,
                       "%llu rows changed, which take about %.0f ms in one transaction, and "
                       "writers do not wait so long",
                       (unsigned long long)apply->attempt->changes, wanted / 1000);
    return DBK_OK;
}

/* Also where the notes come to nothing: they must not stay. */
static int move_cursors(struct apply *apply, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &apply->plan->tree;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        int64_t newest = 0;
        int64_t cursor = 0;
        if (tree->relations[i]->kind != DBK_RELATION_TABLE)
            continue;
        rc = dbk_follow_newest(apply->connection, tree->relations[i]->table, &newest, err);
        if (rc == DBK_OK)
            rc = dbk_follow_cursor(apply->connection, name_of(apply), tree->relations[i]->table,
                                   &cursor, err);
        if (rc == DBK_OK && newest > cursor)
            rc = dbk_follow_set_cursor(apply->connection, name_of(apply), tree->relations[i]->table,
                                       newest, err);
    }
    return rc;
}

static int count_rows(struct apply *apply, struct dbk_error *err)
{
    struct dbk_buf *sql = &apply->delta.sql;
    int64_t rows = 0;
    dbk_buf_append_text(sql, "SELECT count(*) FROM ");
    dbk_emit_name(sql, name_of(apply));
    dbk_buf_append_char(sql, '\0');
    int rc = sql->rc < 0 ? dbk_error_set(err, sql->rc, "%s", dbk_code_text(sql->rc))
                         : dbk_view_integer(apply->connection, sql->data, NULL, &rows, err);
    dbk_buf_reset(sql);
    apply->row->rows = (uint64_t)rows;
    return rc;
}

static int write_row(struct apply *apply, int64_t begun_us, struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = apply->refresh;
    struct dbk_view_row *row = apply->row;
    uint64_t position = 0;
    bool found = false;
    int rc = dbk_view_position(apply->connection, refresh->source, &position, &found, err);
    if (rc == DBK_OK && apply->attempt->changes != 0)
        rc = count_rows(apply, err);
    if (rc < 0)
        return rc;
    if (found)
        row->position = position;
    row->as_of_us = refresh->os->now_us(refresh->os);
    row->tried_us = row->as_of_us;
    row->duration_us = refresh->os->monotonic_us(refresh->os) - begun_us;
    row->error[0] = '\0';
    row->reason[0] = '\0';
    row->changes = apply->attempt->changes;
    row->refreshed = DBK_VIEW_INCREMENTAL;
    if (apply->attempt->changes >= CHANGES_MEASURED) {
        row->incremental_us = row->duration_us;
        row->incremental_changes = apply->attempt->changes;
    }
    return dbk_view_catalog_write(apply->connection, name_of(apply), row, err);
}

/* What says that the database or the process is in trouble, which all rows anew would be in too. */
static bool is_trouble(int rc)
{
    return rc == DBK_ENOMEM || rc == DBK_EBUSY || rc == DBK_ESTOPPED || rc == DBK_EIO ||
           rc == DBK_EFULL;
}

/* The difference, taken and applied. Where a statement of it fails the rows are filled anew. */
static int apply_difference(struct apply *apply, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = collect(apply, &failure);
    if (rc == DBK_OK)
        rc = choose(apply);
    if (rc == DBK_OK && apply->attempt->changes != 0)
        rc = dbk_delta_apply(&apply->delta, &failure);
    if (rc >= 0 || apply->attempt->reason[0] != '\0')
        return rc;
    const char *why = failure.message[0] == '\0' ? dbk_code_text(rc) : failure.message;
    return is_trouble(rc) ? dbk_error_set(err, rc, "%s", why) : give_up(apply, "%s", why);
}

static int run(struct apply *apply, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &apply->plan->tree;
    bool *changed = dbk_alloc_zero(tree->relation_count + 1, sizeof(*changed));
    if (changed == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    apply->delta.changed = changed;
    int rc = dbk_layout_place(tree, name_of(apply), apply->row->generation);
    if (rc < 0)
        dbk_ignore(dbk_error_set(err, rc, "%s", dbk_code_text(rc)));
    else
        rc = dbk_connection_begin(apply->connection, DBK_BEGIN_WRITE, err);
    /* Waiting for another writer is no cost of this refresh. */
    int64_t begun_us = apply->refresh->os->monotonic_us(apply->refresh->os);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(apply->connection, name_of(apply), apply->row, err);
    if (rc == DBK_OK)
        rc = look_again(apply, err);
    if (rc == DBK_OK)
        rc = apply_difference(apply, err);
    if (rc == DBK_OK)
        rc = move_cursors(apply, err);
    if (rc == DBK_OK)
        rc = write_row(apply, begun_us, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(apply->connection, "COMMIT", err);
    if (rc < 0 && dbk_connection_in_transaction(apply->connection))
        dbk_ignore(dbk_connection_run(apply->connection, "ROLLBACK", NULL));
    dbk_free(changed);
    return rc;
}

int dbk_view_apply(const struct dbk_view_refresh *refresh, const struct dbk_view_plan *plan,
                   struct dbk_connection *connection, struct dbk_view_row *row,
                   struct dbk_view_attempt *attempt, struct dbk_error *err)
{
    char table[256];
    struct apply apply = {
        .refresh = refresh, .plan = plan, .connection = connection, .row = row, .attempt = attempt};
    (void)snprintf(table, sizeof(table), "%s__g%llu", refresh->definition->name,
                   (unsigned long long)row->generation);
    apply.delta = (struct dbk_delta){.connection = connection,
                                     .tree = &plan->tree,
                                     .view = table,
                                     .labels = plan->names,
                                     .log = attempt->log};
    dbk_buf_init(&apply.delta.sql, SQL_SIZE_MAX);
    int rc = run(&apply, err);
    dbk_buf_release(&apply.delta.sql);
    if (rc == DBK_OK)
        attempt->done = true;
    return rc == DBK_EREFUSED && attempt->reason[0] != '\0' ? DBK_OK : rc;
}
