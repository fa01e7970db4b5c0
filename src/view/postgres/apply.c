/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One incremental refresh in PostgreSQL: a transaction at REPEATABLE READ, in whose one snapshot
 * tables, notes and the stored rows are read, and which changes rows, cursors and the view's row.
 */
#include <stdio.h>

#include "view/postgres/state.h"

/* What a changed row is thought to take where none was measured. */
#define ROW_US 50
/* Of fewer the time is that of the refresh itself: it tells nothing of what a row takes. */
#define CHANGES_MEASURED 100
/* How old what is said of the view's time may be while nothing changes. */
#define SAME_US INT64_C(1000000)

struct apply {
    const struct dbk_view_refresh *refresh;
    const struct dbk_view_plan *plan;
    struct dbk_connection *connection;
    struct dbk_view_row *row;
    struct dbk_view_attempt *attempt;
    struct dbk_buf *marks;
    int64_t begun_us; /* before the snapshot: what was purged since may be in it */
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

/* Whose cursors say what the rows have. */
static const char *owner_of(const struct apply *apply)
{
    return apply->refresh->owner != NULL ? apply->refresh->owner : name_of(apply);
}

/* The view's row is this transaction's until its end: one refresh at a time. That of one that does
   not serve yet is its builder's. */
static int take_row(struct apply *apply, struct dbk_error *err)
{
    if (apply->refresh->owner != NULL)
        return dbk_connection_run(apply->connection, "SELECT txid_current()", err);
    int64_t there = 0;
    char stored[DBK_VIEW_TABLE_SIZE_MAX];
    int rc = dbk_view_integer(apply->connection,
                              "SELECT count(*) FROM (SELECT 1 FROM _daybook_views WHERE name = ?1 "
                              "FOR UPDATE) AS q",
                              name_of(apply), &there, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(apply->connection, name_of(apply), apply->row, err);
    if (rc < 0)
        return rc;
    (void)snprintf(stored, sizeof(stored), "%s__g%llu", name_of(apply),
                   (unsigned long long)apply->row->generation);
    if (strcmp(stored, apply->delta.view) == 0 && apply->row->layout == DBK_VIEW_LAYOUT &&
        strcmp(apply->row->fingerprint, apply->refresh->fingerprint) == 0)
        return DBK_OK;
    apply->attempt->stale = true;
    return give_up(apply, "its tables were built anew meanwhile");
}

/* Whether nothing is another since the plan was last found to fit. */
static int compare_marks(struct apply *apply, bool *same_out, struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_statement *statement = NULL;
    dbk_buf_init(&sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_pgview_marks(&sql, &apply->plan->tree);
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc))
                        : dbk_statement_open(apply->connection, dbk_buf_slice(&sql), &statement,
                                             NULL, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        struct dbk_slice marks = dbk_statement_column(statement, 0).bytes;
        *same_out = dbk_slice_equal(marks, dbk_buf_slice(apply->marks));
        dbk_buf_reset(apply->marks);
        dbk_buf_append(apply->marks, marks);
        rc = apply->marks->rc;
    }
    dbk_statement_free(statement);
    dbk_buf_release(&sql);
    return rc < 0 ? rc : DBK_OK;
}

/* The tables behind its names are those of the plan, and their notes tell all. */
static int look_again(struct apply *apply, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &apply->plan->tree;
    bool same = false;
    int rc = compare_marks(apply, &same, err);
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        const struct dbk_relation *table = tree->relations[i];
        bool current = true;
        if (table->kind != DBK_RELATION_TABLE)
            continue;
        if (!same)
            rc = dbk_pgview_is_current(apply->connection, table, &current, err);
        if (rc == DBK_OK && !current) {
            apply->attempt->stale = true;
            return give_up(apply, "%s was built anew since", table->name);
        }
        if (rc == DBK_OK && !same)
            rc = dbk_pgview_look_at_triggers(apply->connection, table, apply->attempt->reason,
                                             sizeof(apply->attempt->reason), err);
        if (rc == DBK_OK)
            rc = dbk_pgview_look(apply->connection, owner_of(apply), table, apply->attempt->reason,
                                 sizeof(apply->attempt->reason), err);
    }
    return rc;
}

/* The temporary tables of those that are refreshed together are made anew for each of them. */
static int is_behind(struct apply *apply, bool *behind_out, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &apply->plan->tree;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && !*behind_out && i < tree->relation_count; i++) {
        if (tree->relations[i]->kind == DBK_RELATION_TABLE)
            rc = dbk_pgview_is_behind(apply->connection, owner_of(apply), tree->relations[i],
                                      behind_out, err);
    }
    return rc;
}

/* The notes of all tables into temporary ones, and from them the differences. */
static int collect(struct apply *apply, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &apply->plan->tree;
    struct dbk_buf *sql = &apply->delta.sql;
    int rc = DBK_OK;
    apply->attempt->changes = 0;
    if (apply->attempt->joined) {
        bool behind = false;
        rc = is_behind(apply, &behind, err);
        if (rc < 0 || !behind)
            return rc;
    }
    for (size_t i = 0; i < tree->relation_count; i++) {
        if (tree->relations[i]->kind != DBK_RELATION_TABLE)
            continue;
        dbk_pgview_make_notes(sql, tree->relations[i]);
        dbk_pgview_make_difference(sql, tree->relations[i]);
        dbk_pgview_gather(sql, owner_of(apply), tree->relations[i]);
    }
    rc = dbk_pgview_step(&apply->delta, err);
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        char text[80];
        int64_t count = 0;
        if (tree->relations[i]->kind != DBK_RELATION_TABLE)
            continue;
        (void)snprintf(text, sizeof(text), "SELECT count(*) FROM pg_temp.l%zu", i);
        rc = dbk_view_integer(apply->connection, text, NULL, &count, err);
        apply->delta.changed[i] = count != 0;
        apply->attempt->changes += (uint64_t)count;
        if (count != 0)
            dbk_pgview_difference(sql, tree->relations[i]);
    }
    return rc;
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
        apply->attempt->changes < CHANGES_MEASURED || wanted <= (double)row->full_us)
        return DBK_OK;
    return give_up(apply, "%llu rows changed, which take about %.0f ms; all of it takes %.0f ms",
                   (unsigned long long)apply->attempt->changes, wanted / 1000,
                   (double)row->full_us / 1000);
}

/* Cursors and the view's row; where nothing has changed they are not written at each look. */
static int write_row(struct apply *apply, int64_t begun_us, struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = apply->refresh;
    struct dbk_view_row *row = apply->row;
    uint64_t position = 0;
    bool found = false;
    int rc = dbk_view_position(apply->connection, refresh->source, &position, &found, err);
    if (rc < 0)
        return rc;
    if (apply->attempt->changes == 0 && (!found || position == row->position) &&
        row->error[0] == '\0' && refresh->os->now_us(refresh->os) - row->as_of_us < SAME_US)
        return DBK_OK;
    rc = dbk_pgview_set_cursors(apply->connection, owner_of(apply), &apply->plan->tree, err);
    if (rc < 0)
        return rc;
    row->rows = (uint64_t)((int64_t)row->rows + apply->delta.rows);
    if (found)
        row->position = position;
    row->as_of_us = apply->begun_us;
    row->tried_us = refresh->os->now_us(refresh->os);
    row->duration_us = refresh->os->monotonic_us(refresh->os) - begun_us;
    row->error[0] = '\0';
    row->reason[0] = '\0';
    row->changes = apply->attempt->changes;
    row->refreshed = DBK_VIEW_INCREMENTAL;
    if (apply->attempt->changes >= CHANGES_MEASURED) {
        row->incremental_us = row->duration_us;
        row->incremental_changes = apply->attempt->changes;
    }
    return apply->refresh->owner != NULL
               ? DBK_OK
               : dbk_view_catalog_write(apply->connection, name_of(apply), row, err);
}

/* What says that the server or the process is in trouble, which all rows anew would be in too. */
static bool is_trouble(int rc)
{
    return rc == DBK_ENOMEM || rc == DBK_EBUSY || rc == DBK_ESTOPPED || rc == DBK_EIO ||
           rc == DBK_EFULL || rc == DBK_ECONNECT;
}

static int judge(struct apply *apply, int rc, const struct dbk_error *failure,
                 struct dbk_error *err)
{
    if (rc >= 0 || (rc == DBK_EREFUSED && apply->attempt->reason[0] != '\0'))
        return rc;
    const char *why = failure->message[0] == '\0' ? dbk_code_text(rc) : failure->message;
    return is_trouble(rc) ? dbk_error_set(err, rc, "%s", why) : give_up(apply, "%s", why);
}

static int run(struct apply *apply, struct dbk_error *err)
{
    struct dbk_os *os = apply->refresh->os;
    int64_t begun_us = os->monotonic_us(os);
    bool joined = apply->attempt->joined;
    apply->begun_us = os->now_us(os);
    int rc = joined ? DBK_OK : dbk_pgview_begin(apply->connection, err);
    if (rc == DBK_OK)
        rc = take_row(apply, err);
    if (rc == DBK_OK)
        rc = look_again(apply, err);
    if (rc == DBK_OK)
        rc = collect(apply, err);
    if (rc == DBK_OK)
        rc = choose(apply);
    if (rc == DBK_OK && apply->attempt->changes != 0)
        rc = dbk_pgview_apply_difference(&apply->delta, err);
    if (rc == DBK_OK)
        rc = write_row(apply, begun_us, err);
    return rc < 0 || joined ? rc : dbk_connection_run(apply->connection, "COMMIT", err);
}

int dbk_pgview_apply(const struct dbk_view_refresh *refresh, const struct dbk_view_plan *plan,
                     struct dbk_connection *connection, struct dbk_buf *marks,
                     struct dbk_view_row *row, struct dbk_view_attempt *attempt,
                     struct dbk_error *err)
{
    const struct dbk_algebra *tree = &plan->tree;
    char table[DBK_VIEW_TABLE_SIZE_MAX];
    struct dbk_error failure = {0};
    bool *changed = dbk_alloc_zero(tree->relation_count + 1, sizeof(*changed));
    struct apply apply = {.refresh = refresh,
                          .plan = plan,
                          .connection = connection,
                          .row = row,
                          .attempt = attempt,
                          .marks = marks};
    (void)snprintf(table, sizeof(table), "%s__g%llu", refresh->definition->name,
                   (unsigned long long)row->generation);
    if (changed == NULL || dbk_layout_place(tree, refresh->definition->name, row->generation) < 0) {
        dbk_free(changed);
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    }
    apply.delta = (struct dbk_delta){.connection = connection,
                                     .tree = tree,
                                     .view = table,
                                     .labels = plan->names,
                                     .changed = changed};
    dbk_buf_init(&apply.delta.sql, DBK_PGVIEW_SQL_SIZE_MAX);
    int rc = judge(&apply, run(&apply, &failure), &failure, err);
    if (rc < 0 && !attempt->joined && dbk_connection_in_transaction(connection))
        dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    dbk_buf_release(&apply.delta.sql);
    dbk_free(changed);
    attempt->done = rc == DBK_OK;
    return rc == DBK_EREFUSED && attempt->reason[0] != '\0' ? DBK_OK : rc;
}

int dbk_pgview_statements(const struct dbk_view_definition *definition,
                          const struct dbk_view_plan *plan, struct dbk_connection *connection,
                          uint64_t generation, struct dbk_buf *log, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &plan->tree;
    char table[DBK_VIEW_TABLE_SIZE_MAX];
    bool *changed = dbk_alloc_zero(tree->relation_count + 1, sizeof(*changed));
    (void)snprintf(table, sizeof(table), "%s__g%llu", definition->name,
                   (unsigned long long)generation);
    if (changed == NULL || dbk_layout_place(tree, definition->name, generation) < 0) {
        dbk_free(changed);
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    }
    struct dbk_delta delta = {.connection = connection,
                              .tree = tree,
                              .view = table,
                              .labels = plan->names,
                              .changed = changed,
                              .all = true,
                              .log = log};
    dbk_buf_init(&delta.sql, DBK_PGVIEW_SQL_SIZE_MAX);
    for (size_t i = 0; i < tree->relation_count; i++) {
        changed[i] = tree->relations[i]->kind == DBK_RELATION_TABLE;
        if (!changed[i])
            continue;
        dbk_pgview_make_notes(&delta.sql, tree->relations[i]);
        dbk_pgview_make_difference(&delta.sql, tree->relations[i]);
        dbk_pgview_difference(&delta.sql, tree->relations[i]);
    }
    int rc = dbk_pgview_begin(connection, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_step(&delta, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_apply_difference(&delta, err);
    if (dbk_connection_in_transaction(connection))
        dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    dbk_buf_release(&delta.sql);
    dbk_free(changed);
    return rc;
}
