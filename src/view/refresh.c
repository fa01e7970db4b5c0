/* SPDX-License-Identifier: Apache-2.0 */
#include "view/refresh.h"

#include <stdio.h>

#include "base/assert.h"
#include "view/fill.h"
#include "view/shown.h"
#include "view/stored.h"

/* How often a plan is made again because a model was rebuilt meanwhile. */
#define PLAN_TRIES 3
/* And the difference, because somebody began to follow meanwhile. */
#define RECORD_TRIES 3

struct dbk_slice dbk_view_select(const struct dbk_view_definition *definition)
{
    size_t behind = 0;
    return dbk_sql_statement(definition->sql, 0, &behind);
}

/* The plan was made before the transaction: a rebuilt model may have another table since. */
static int look_again(struct dbk_fill *work, struct dbk_connection *connection,
                      struct dbk_error *err)
{
    bool current = false;
    int rc = dbk_view_plan_is_current(work->plan, connection, &current, err);
    work->stale = rc == DBK_OK && !current;
    return work->stale ? dbk_error_set(err, DBK_EBUSY, "its tables were built anew meanwhile") : rc;
}

/* The newest notes that the snapshot has: what comes behind them is not in it. */
static int read_cursors(struct dbk_fill *work, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &work->plan->tree;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && work->plan->incremental && i < tree->relation_count; i++) {
        if (tree->relations[i]->kind == DBK_RELATION_TABLE && !tree->relations[i]->log)
            rc = dbk_follow_newest(work->read, tree->relations[i]->table, &work->cursors[i], err);
    }
    return rc;
}

static int begin_read(struct dbk_fill *work, struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = work->refresh;
    int rc =
        dbk_connection_open(refresh->definition->database_path, DBK_CONNECT_READ, &work->read, err);
    if (rc == DBK_OK)
        rc = dbk_logged_attach(work->read, refresh->store, err);
    dbk_logged_take(refresh->store, &work->logged);
    if (rc == DBK_OK)
        rc = dbk_connection_begin(work->read, DBK_BEGIN_READ, err);
    if (rc == DBK_OK)
        rc = look_again(work, work->read, err);
    if (rc == DBK_OK)
        rc = dbk_logged_pin(work->read, refresh, &work->logged, err);
    if (rc < 0)
        return rc;
    work->row.position = work->logged.position;
    work->row.as_of_us = refresh->os->now_us(refresh->os);
    rc = read_cursors(work, err);
    if (rc == DBK_OK && work->plan->incremental)
        rc = dbk_stored_read(&work->plan->tree, work->read, err);
    if (rc < 0)
        return rc;
    dbk_connection_guard(work->read, DBK_GUARD_QUERY);
    rc = dbk_statement_open(work->read,
                            work->plan->incremental ? dbk_buf_slice(&work->fill)
                                                    : dbk_view_select(refresh->definition),
                            &work->select, NULL, err);
    if (rc == DBK_OK)
        work->column_count = dbk_statement_column_count(work->select);
    return rc;
}

static int make_plain_view(struct dbk_fill *work, struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, DBK_FILL_SQL_MAX);
    dbk_shown_create(&sql, work->plan, work->refresh->definition->name, work->row.generation);
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc))
                        : dbk_connection_run(work->write, sql.data, err);
    dbk_buf_release(&sql);
    return rc;
}

static int set_cursors(struct dbk_fill *work, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &work->plan->tree;
    const char *name = work->refresh->definition->name;
    int rc = dbk_follow_forget(work->write, name, err);
    if (rc == DBK_OK)
        rc = dbk_logged_forget(work->write, name, err);
    if (rc == DBK_OK && work->plan->incremental && dbk_logged_reads(tree))
        rc = dbk_logged_write(work->write, name, &work->logged, err);
    for (size_t i = 0; rc == DBK_OK && work->plan->incremental && i < tree->relation_count; i++) {
        if (tree->relations[i]->kind == DBK_RELATION_TABLE && !tree->relations[i]->log)
            rc = dbk_follow_set_cursor(work->write, name, tree->relations[i]->table,
                                       work->cursors[i], err);
    }
    return rc;
}

static int swap(struct dbk_fill *work, struct dbk_error *err)
{
    const struct dbk_view_definition *definition = work->refresh->definition;
    int rc = dbk_connection_begin(work->write, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = make_plain_view(work, err);
    if (rc == DBK_OK)
        rc = set_cursors(work, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_write(work->write, definition->name, &work->row, err);
    if (rc == DBK_OK)
        rc = dbk_recording_end(&work->recording, err);
    return dbk_view_end_transaction(work->write, rc, err);
}

/* Whoever begins to follow meanwhile has the old rows, and is to get the difference, too. */
static int record_and_swap(struct dbk_fill *work, const struct dbk_view_row *old,
                           struct dbk_error *err)
{
    struct dbk_error failure = {0};
    for (int i = 0;; i++) {
        int rc = dbk_difference_record(&work->recording, work->write, work->refresh, work->plan,
                                       old, &work->row, &failure);
        if (rc == DBK_OK)
            rc = swap(work, &failure);
        if (rc != DBK_EBUSY || i == RECORD_TRIES)
            return rc < 0 ? dbk_error_set(err, rc, "%s", failure.message) : rc;
    }
}

static void end_read(struct dbk_fill *work)
{
    dbk_statement_free(work->select);
    work->select = NULL;
    dbk_connection_free(work->read);
    work->read = NULL;
}

/* Notes in the view's row, as it is by now, why the refresh failed; the old result stays. */
static void note_failure(struct dbk_fill *work, const struct dbk_error *err)
{
    const char *name = work->refresh->definition->name;
    struct dbk_view_row row;
    int rc = dbk_connection_begin(work->write, DBK_BEGIN_WRITE, NULL);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(work->write, name, &row, NULL);
    if (rc == DBK_OK) {
        row.tried_us = work->row.tried_us;
        (void)snprintf(row.error, sizeof(row.error), "%.*s", (int)sizeof(row.error) - 1,
                       err->message);
        rc = dbk_view_catalog_write(work->write, name, &row, NULL);
    }
    dbk_ignore(dbk_view_end_transaction(work->write, rc, NULL));
}

/* Notes what changes from here on, before the snapshot is taken. */
static int follow(struct dbk_fill *work, struct dbk_error *err)
{
    const struct dbk_view_plan *plan = work->plan;
    dbk_buf_reset(&work->fill);
    dbk_free(work->cursors);
    if (dbk_layout_place(&plan->tree, work->refresh->definition->name, work->row.generation) < 0)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    dbk_layout_fill(&work->fill, plan->tree.root, plan->names);
    work->cursors = dbk_alloc_zero(plan->tree.relation_count + 1, sizeof(*work->cursors));
    if (work->fill.rc < 0 || work->cursors == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    int rc = dbk_connection_begin(work->write, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = look_again(work, work->write, err);
    if (rc == DBK_OK)
        rc = dbk_follow_tables(work->write, work->refresh->definition->name, &plan->tree, err);
    return dbk_view_end_transaction(work->write, rc, err);
}

static int plan_again(struct dbk_fill *work, struct dbk_error *err)
{
    const struct dbk_view_definition *definition = work->refresh->definition;
    int rc = dbk_view_plan_renew(work->plan, work->write, definition, err);
    if (rc == DBK_OK && !work->plan->incremental)
        dbk_view_plan_obstacle(work->plan, definition, work->row.reason, sizeof(work->row.reason));
    return rc;
}

/* Follows the tables and takes the snapshot, by a plan that fits it. */
static int take_snapshot(struct dbk_fill *work, struct dbk_error *err)
{
    for (int i = 0;; i++) {
        work->stale = false;
        int rc = work->plan->incremental ? follow(work, err) : DBK_OK;
        if (rc == DBK_OK)
            rc = begin_read(work, err);
        if (!work->stale || i == PLAN_TRIES)
            return rc;
        end_read(work);
        rc = plan_again(work, err);
        if (rc < 0)
            return rc;
    }
}

/* The whole result into the next generation. */
static int fill(struct dbk_fill *work, const struct dbk_view_row *old, struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = work->refresh;
    int64_t begun_us = refresh->os->monotonic_us(refresh->os);
    struct dbk_error failure = {0};
    work->row.generation = old->generation + 1;
    work->row.tried_us = refresh->os->now_us(refresh->os);
    work->row.refreshed = DBK_VIEW_FULL;
    /* What a row took is forgotten by and by: one slow refresh makes not all others full. */
    work->row.incremental_us = old->incremental_us / 2;
    work->row.incremental_changes = old->incremental_changes;
    (void)snprintf(work->row.fingerprint, sizeof(work->row.fingerprint), "%s",
                   refresh->fingerprint);
    int rc = take_snapshot(work, &failure);
    work->row.layout = work->plan->incremental ? DBK_VIEW_LAYOUT : 0;
    if (rc == DBK_OK && work->plan->incremental)
        rc = dbk_fill_stored(work, &failure);
    if (rc == DBK_OK)
        rc = dbk_fill_create(work, &failure);
    if (rc == DBK_OK)
        rc = dbk_fill_rows(work, &failure);
    end_read(work);
    dbk_statement_free(work->insert);
    work->insert = NULL;
    work->row.duration_us = refresh->os->monotonic_us(refresh->os) - begun_us;
    work->row.full_us = work->row.duration_us;
    if (rc == DBK_OK)
        rc = record_and_swap(work, old, &failure);
    if (rc == DBK_OK)
        return rc;
    note_failure(work, &failure);
    dbk_ignore(dbk_follow_release(work->write, refresh->definition->name, NULL));
    dbk_ignore(
        dbk_view_refresh_clean(work->write, refresh->definition->name, old->generation, NULL));
    return dbk_error_set(err, rc, "view %s: %s", refresh->definition->name, failure.message);
}

/* Why the stored rows cannot be brought up to date; empty: they can. */
static void find_reason(struct dbk_fill *work, const struct dbk_view_row *old)
{
    const struct dbk_view_refresh *refresh = work->refresh;
    char *reason = work->row.reason;
    size_t size = sizeof(work->row.reason);
    if (!work->plan->incremental)
        dbk_view_plan_obstacle(work->plan, refresh->definition, reason, size);
    else if (old->generation == 0)
        (void)snprintf(reason, size, "it is the first refresh");
    else if (strcmp(old->fingerprint, refresh->fingerprint) != 0)
        (void)snprintf(reason, size, "its file has changed");
    else if (old->layout != DBK_VIEW_LAYOUT)
        (void)snprintf(reason, size, "its rows were stored without what adding to them needs");
}

/* ---- What is kept for the next refresh ---- */

struct dbk_view_session {
    struct dbk_connection *connection; /* NULL: nothing is kept */
    struct dbk_view_plan plan;
    int64_t schema;
    uint64_t generation;
};

int dbk_view_session_open(struct dbk_view_session **session_out, struct dbk_error *err)
{
    struct dbk_view_session *session = dbk_alloc_zero(1, sizeof(*session));
    if (session == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    *session_out = session;
    return DBK_OK;
}

static void end_session(struct dbk_view_session *session)
{
    if (session->connection == NULL)
        return;
    dbk_connection_free(session->connection);
    dbk_view_plan_release(&session->plan);
    session->connection = NULL;
}

void dbk_view_session_free(struct dbk_view_session *session)
{
    if (session == NULL)
        return;
    end_session(session);
    dbk_free(session);
}

/* What nobody needs any more. What it leaves, the next one removes. */
static void clean_up(struct dbk_connection *connection, const char *view)
{
    dbk_ignore(dbk_follow_clean(connection, NULL));
    dbk_ignore(dbk_record_clean(connection, view, NULL));
}

/* After an incremental refresh: connection and plan change hands. */
static void keep(struct dbk_fill *work, const struct dbk_view_attempt *attempt, uint64_t generation)
{
    struct dbk_view_session *session = work->refresh->session;
    if (attempt->left)
        clean_up(work->write, work->refresh->definition->name);
    if (session == NULL)
        return;
    session->connection = work->write;
    session->plan = *work->plan;
    session->plan.tree.arena = &session->plan.arena;
    session->schema = attempt->schema;
    session->generation = generation;
    work->write = NULL;
    dbk_view_plan_init(work->plan);
}

/* With what the last refresh has left. 1: the rows are up to date; 0: all is to be begun anew. */
static int try_session(struct dbk_fill *work)
{
    struct dbk_view_session *session = work->refresh->session;
    if (session == NULL || session->connection == NULL)
        return 0;
    if (work->refresh->definition->mode == DBK_VIEW_FULL) {
        end_session(session);
        return 0;
    }
    struct dbk_view_attempt attempt = {.schema = session->schema};
    struct dbk_view_row row = {.generation = session->generation};
    int rc =
        dbk_view_apply(work->refresh, &session->plan, session->connection, &row, &attempt, NULL);
    if (rc == DBK_OK && attempt.done && attempt.left)
        clean_up(session->connection, work->refresh->definition->name);
    session->schema = attempt.schema;
    if (rc == DBK_OK && attempt.done)
        return 1;
    /* Whatever was in the way, it is found again, and told. */
    end_session(session);
    return 0;
}

/* 1: the rows are up to date; 0: a full refresh is to follow, and the row says why. */
static int try_incremental(struct dbk_fill *work, const struct dbk_view_row *old,
                           struct dbk_error *err)
{
    struct dbk_view_attempt attempt = {.schema = -1};
    struct dbk_view_row row = *old;
    struct dbk_error failure = {0};
    find_reason(work, old);
    if (work->row.reason[0] != '\0')
        return 0;
    int rc = dbk_view_apply(work->refresh, work->plan, work->write, &row, &attempt, &failure);
    if (rc < 0) {
        work->row.tried_us = work->refresh->os->now_us(work->refresh->os);
        note_failure(work, &failure);
        return dbk_error_set(err, rc, "view %s: %s", work->refresh->definition->name,
                             failure.message);
    }
    (void)snprintf(work->row.reason, sizeof(work->row.reason), "%s", attempt.reason);
    if (attempt.stale)
        return plan_again(work, err);
    if (attempt.done)
        keep(work, &attempt, row.generation);
    return attempt.done ? 1 : 0;
}

static int run(struct dbk_fill *work, struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = work->refresh;
    const char *name = refresh->definition->name;
    struct dbk_view_row old = {0};
    int rc =
        dbk_connection_open(refresh->definition->database_path,
                            refresh->session != NULL ? DBK_CONNECT_KEEP : 0, &work->write, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_create(work->write, err);
    if (rc == DBK_OK)
        rc = dbk_follow_catalog(work->write, err);
    if (rc == DBK_OK)
        rc = dbk_logged_catalog(work->write, err);
    if (rc == DBK_OK)
        rc = dbk_logged_attach(work->write, refresh->store, err);
    if (rc == DBK_OK)
        rc = dbk_record_create(work->write, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(work->write, name, &old, err);
    if (rc == DBK_OK)
        rc = dbk_view_refresh_clean(work->write, name, old.generation, err);
    if (rc == DBK_OK)
        rc = dbk_view_plan_make(work->plan, work->write, refresh->definition, err);
    if (rc == DBK_OK)
        rc = try_incremental(work, &old, err);
    if (rc == 1)
        return DBK_OK;
    if (rc == DBK_OK)
        rc = fill(work, &old, err);
    if (rc == DBK_OK)
        rc = dbk_view_refresh_clean(work->write, name, work->row.generation, err);
    /* The rows are there, or why they are not is known. */
    if (work->write != NULL)
        clean_up(work->write, name);
    return rc;
}

int dbk_view_refresh_run(const struct dbk_view_refresh *refresh, struct dbk_error *err)
{
    struct dbk_view_plan plan;
    struct dbk_fill work = {.refresh = refresh, .plan = &plan};
    dbk_view_plan_init(&plan);
    dbk_arena_init(&work.chunk, DBK_FILL_MEMORY_MAX);
    dbk_buf_init(&work.fill, DBK_FILL_SQL_MAX);
    int rc = try_session(&work);
    rc = rc == 0 ? run(&work, err) : rc;
    end_read(&work);
    dbk_recording_release(&work.recording);
    dbk_connection_free(work.write);
    dbk_free(work.values);
    dbk_free(work.cursors);
    dbk_buf_release(&work.fill);
    dbk_arena_release(&work.chunk);
    dbk_view_plan_release(&plan);
    return rc < 0 ? rc : DBK_OK;
}
