/* SPDX-License-Identifier: Apache-2.0 */
/* A refresh in PostgreSQL: incrementally where it can be, else in full. */
#include <stdio.h>

#include "view/postgres/state.h"

/* How often a refresh that a swap with a model came before is begun anew. */
#define OVERTAKEN_TRIES 3

/* ---- What is kept for the next refresh ---- */

struct dbk_view_session {
    struct dbk_connection *connection; /* NULL: nothing is kept */
    struct dbk_view_plan plan;
    struct dbk_buf marks; /* of the tables that the plan fits */
    uint64_t generation;
    struct dbk_pgview_joint *joint; /* NULL: nothing is kept */
};

int dbk_pgview_session_open(struct dbk_view_session **session_out, struct dbk_error *err)
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
    dbk_buf_release(&session->marks);
    session->connection = NULL;
}

void dbk_pgview_session_free(struct dbk_view_session *session)
{
    if (session == NULL)
        return;
    end_session(session);
    dbk_pgview_joint_free(session->joint);
    dbk_free(session);
}

struct dbk_pgview_joint **dbk_pgview_session_joint(struct dbk_view_session *session)
{
    return session == NULL ? NULL : &session->joint;
}

void dbk_pgview_clean_plan(struct dbk_connection *connection, const struct dbk_view_plan *plan)
{
    const struct dbk_algebra *tree = &plan->tree;
    for (size_t i = 0; plan->incremental && i < tree->relation_count; i++) {
        if (tree->relations[i]->kind == DBK_RELATION_TABLE)
            dbk_ignore(dbk_pgview_clean_notes(connection, tree->relations[i], NULL));
    }
}

/* With what the last refresh has left. 1: the rows are up to date; 0: all is to be begun anew. */
static int try_session(struct dbk_pgview_fill *fill)
{
    struct dbk_view_session *session = fill->refresh->session;
    struct dbk_view_attempt attempt = {.schema = -1};
    if (session == NULL || session->connection == NULL)
        return 0;
    struct dbk_view_row row = {.generation = session->generation};
    int rc = dbk_pgview_apply(fill->refresh, &session->plan, session->connection, &session->marks,
                              &row, &attempt, NULL);
    if (rc == DBK_OK && attempt.done) {
        if (attempt.changes != 0)
            dbk_pgview_clean_plan(session->connection, &session->plan);
        return 1;
    }
    /* Whatever was in the way, it is found again, and told. */
    end_session(session);
    return 0;
}

/* After an incremental refresh: connection and plan change hands. */
static void keep(struct dbk_pgview_fill *fill, struct dbk_buf *marks, uint64_t generation)
{
    struct dbk_view_session *session = fill->refresh->session;
    if (session == NULL)
        return;
    session->marks = *marks;
    dbk_buf_init(marks, DBK_PGVIEW_SQL_SIZE_MAX);
    session->connection = fill->connection;
    session->plan = *fill->plan;
    session->plan.tree.arena = &session->plan.arena;
    session->generation = generation;
    fill->connection = NULL;
    dbk_view_plan_init(fill->plan);
}

/* ---- A refresh ---- */

void dbk_pgview_find_reason(struct dbk_pgview_fill *fill)
{
    const struct dbk_view_row *old = &fill->old;
    char *reason = fill->row.reason;
    size_t size = sizeof(fill->row.reason);
    if (!fill->plan->incremental)
        dbk_view_plan_obstacle(fill->plan, fill->refresh->definition, reason, size);
    else if (old->generation == 0)
        (void)snprintf(reason, size, "it is the first refresh");
    else if (strcmp(old->fingerprint, fill->refresh->fingerprint) != 0)
        (void)snprintf(reason, size, "its file has changed");
    else if (old->layout != DBK_VIEW_LAYOUT)
        (void)snprintf(reason, size, "its rows were stored without what adding to them needs");
}

/* 1: the rows are up to date; 0: a full refresh is to follow, and the row says why. */
static int try_incremental(struct dbk_pgview_fill *fill, struct dbk_error *err)
{
    struct dbk_view_attempt attempt = {.schema = -1};
    struct dbk_view_row row = fill->old;
    struct dbk_buf marks;
    dbk_pgview_find_reason(fill);
    if (fill->row.reason[0] != '\0')
        return 0;
    dbk_buf_init(&marks, DBK_PGVIEW_SQL_SIZE_MAX);
    int rc =
        dbk_pgview_apply(fill->refresh, fill->plan, fill->connection, &marks, &row, &attempt, err);
    if (rc == DBK_OK && attempt.done) {
        dbk_pgview_clean_plan(fill->connection, fill->plan);
        keep(fill, &marks, row.generation);
    }
    dbk_buf_release(&marks);
    if (rc < 0)
        return rc;
    (void)snprintf(fill->row.reason, sizeof(fill->row.reason), "%s", attempt.reason);
    if (attempt.stale)
        rc = dbk_pgview_plan(fill->plan, fill->connection, fill->refresh->definition, err);
    return attempt.done ? 1 : rc;
}

static int make_plan(struct dbk_pgview_fill *fill, struct dbk_error *err)
{
    const struct dbk_view_definition *definition = fill->refresh->definition;
    const struct dbk_view_plan *plan = fill->plan;
    int rc = dbk_pgview_plan(fill->plan, fill->connection, definition, err);
    if (rc < 0 || plan->incremental || definition->mode != DBK_VIEW_INCREMENTAL)
        return rc;
    char text[512];
    dbk_view_plan_obstacle(plan, definition, text, sizeof(text));
    return dbk_error_set(err, DBK_EREFUSED, "it cannot be refreshed incrementally: %.180s", text);
}

static int run(struct dbk_pgview_fill *fill, struct dbk_error *err)
{
    const struct dbk_view_definition *definition = fill->refresh->definition;
    int rc = dbk_pgview_open(definition, 0, &fill->connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_create(fill->connection, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_catalog(fill->connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(fill->connection, definition->name, &fill->old, err);
    if (rc == DBK_OK)
        rc = make_plan(fill, err);
    if (rc == DBK_OK)
        rc = try_incremental(fill, err);
    if (rc != DBK_OK)
        return rc;
    rc = dbk_pgview_fill(fill, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_clean(fill->connection, definition->name, fill->row.generation, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_end_logs(fill->connection, err);
    dbk_pgview_clean_plan(fill->connection, fill->plan);
    return rc;
}

/* Whether another generation serves than the one that was to be replaced: the view was swapped with
   its model, whose rows of before were read. */
static bool is_overtaken(struct dbk_pgview_fill *fill)
{
    struct dbk_view_row now;
    return fill->connection != NULL &&
           dbk_view_catalog_read(fill->connection, fill->refresh->definition->name, &now, NULL) ==
               DBK_OK &&
           now.generation != fill->old.generation;
}

static int run_anew(struct dbk_pgview_fill *fill, struct dbk_error *err)
{
    const struct dbk_view_row row = {.tried_us = fill->row.tried_us};
    dbk_connection_free(fill->connection);
    fill->connection = NULL;
    dbk_buf_reset(&fill->sql);
    fill->row = row;
    return run(fill, err);
}

int dbk_pgview_refresh(const struct dbk_view_refresh *refresh, struct dbk_error *err)
{
    struct dbk_view_plan plan;
    struct dbk_pgview_fill fill = {.refresh = refresh, .plan = &plan};
    struct dbk_error failure = {0};
    fill.row.tried_us = refresh->os->now_us(refresh->os);
    dbk_view_plan_init(&plan);
    dbk_buf_init(&fill.sql, DBK_PGVIEW_SQL_SIZE_MAX);
    int rc = try_session(&fill);
    if (rc == 0)
        rc = run(&fill, &failure);
    for (int i = 0; rc < 0 && i < OVERTAKEN_TRIES && is_overtaken(&fill); i++)
        rc = run_anew(&fill, &failure);
    if (rc < 0 && fill.connection != NULL)
        dbk_pgview_note_failure(&fill, &failure);
    dbk_connection_free(fill.connection);
    dbk_buf_release(&fill.sql);
    dbk_view_plan_release(&plan);
    return rc < 0
               ? dbk_error_set(err, rc, "view %s: %s", refresh->definition->name, failure.message)
               : DBK_OK;
}
