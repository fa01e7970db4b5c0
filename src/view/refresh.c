/* SPDX-License-Identifier: Apache-2.0 */
#include "view/refresh.h"

#include <stdio.h>

#include "base/assert.h"
#include "view/build.h"

/* How often a refresh is begun again because the view was swapped with a model meanwhile. */
#define TRIES 3
/* And the difference, because somebody began to follow meanwhile. */
#define RECORD_TRIES 3

struct dbk_slice dbk_view_select(const struct dbk_view_definition *definition)
{
    size_t behind = 0;
    return dbk_sql_statement(definition->sql, 0, &behind);
}

/* In one transaction the generation serves and what it changed counts. */
static int swap(struct dbk_fill *work, struct dbk_error *err)
{
    int rc = dbk_connection_begin(work->write, DBK_BEGIN_WRITE, err);
    if (rc < 0)
        return rc;
    rc = dbk_build_swap(work, work->write, err);
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
        if (rc != DBK_EBUSY || work->overtaken || i == RECORD_TRIES)
            return rc < 0 ? dbk_error_set(err, rc, "%s", failure.message) : rc;
    }
}

/* The whole result into the next generation, which is swapped when it has caught up. */
static int fill(struct dbk_fill *work, const struct dbk_view_row *old, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_build_fill(work, old, &failure);
    if (rc == DBK_OK)
        rc = dbk_build_catch_up(work, &failure);
    if (rc == DBK_OK)
        rc = record_and_swap(work, old, &failure);
    if (rc == DBK_OK)
        return rc;
    if (!work->overtaken)
        dbk_build_note_failure(work, &failure);
    dbk_build_undo(work);
    return dbk_error_set(err, rc, "view %s: %s", work->refresh->definition->name, failure.message);
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
        dbk_build_note_failure(work, &failure);
        return dbk_error_set(err, rc, "view %s: %s", work->refresh->definition->name,
                             failure.message);
    }
    (void)snprintf(work->row.reason, sizeof(work->row.reason), "%s", attempt.reason);
    if (attempt.stale)
        return dbk_build_plan_again(work, err);
    if (attempt.done)
        keep(work, &attempt, row.generation);
    return attempt.done ? 1 : 0;
}

static int run_once(struct dbk_fill *work, struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = work->refresh;
    const char *name = refresh->definition->name;
    struct dbk_view_row old = {0};
    work->row = (struct dbk_view_row){0};
    work->overtaken = false;
    int rc = dbk_view_catalog_read(work->write, name, &old, err);
    if (rc == DBK_OK)
        rc = dbk_view_refresh_clean(work->write, name, old.generation, err);
    if (rc == DBK_OK)
        rc = dbk_view_plan_renew(work->plan, work->write, refresh->definition, err);
    if (rc == DBK_OK)
        rc = try_incremental(work, &old, err);
    if (rc == 1)
        return rc;
    if (rc == DBK_OK)
        rc = fill(work, &old, err);
    return rc < 0 ? rc : dbk_view_refresh_clean(work->write, name, work->row.generation, err);
}

static int run(struct dbk_fill *work, struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = work->refresh;
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
        rc = run_once(work, err);
    for (int i = 1; rc < 0 && work->overtaken && i < TRIES; i++)
        rc = run_once(work, err);
    if (rc == 1)
        return DBK_OK;
    /* The rows are there, or why they are not is known. */
    if (work->write != NULL)
        clean_up(work->write, refresh->definition->name);
    return rc;
}

int dbk_view_refresh_run(const struct dbk_view_refresh *refresh, struct dbk_error *err)
{
    struct dbk_view_plan plan;
    struct dbk_fill work;
    dbk_view_plan_init(&plan);
    dbk_fill_init(&work, refresh, &plan);
    int rc = try_session(&work);
    rc = rc == 0 ? run(&work, err) : rc;
    dbk_fill_release(&work);
    dbk_view_plan_release(&plan);
    return rc < 0 ? rc : DBK_OK;
}
