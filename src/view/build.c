/* SPDX-License-Identifier: Apache-2.0 */
#include "view/build.h"

#include <stdio.h>

#include "view/kept.h"
#include "view/shown.h"
#include "view/stored.h"

/* How often a plan is made again because a model was rebuilt meanwhile. */
#define PLAN_TRIES 3

/* Views in temp come before those of their names. */
static int stand_for(struct dbk_connection *connection, const struct dbk_view_onto *onto,
                     struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, DBK_FILL_SQL_MAX);
    for (size_t i = 0; onto != NULL && i < onto->name_count; i++) {
        dbk_buf_append_text(&sql, "CREATE TEMP VIEW ");
        dbk_emit_name(&sql, onto->names[i].name);
        dbk_buf_append_format(&sql, " AS %s; ", onto->names[i].shown);
    }
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc))
                        : dbk_connection_run(connection, sql.data, err);
    dbk_buf_release(&sql);
    return rc;
}

/* ---- Filling ---- */

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
    /* Not later than the snapshot: what was purged since is in it. */
    work->row.as_of_us = refresh->os->now_us(refresh->os);
    int rc =
        dbk_connection_open(refresh->definition->database_path, DBK_CONNECT_READ, &work->read, err);
    if (rc == DBK_OK)
        rc = stand_for(work->read, refresh->source->onto, err);
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
        rc = dbk_follow_tables(work->write, work->owner, &plan->tree, err);
    return dbk_view_end_transaction(work->write, rc, err);
}

int dbk_build_plan_again(struct dbk_fill *work, struct dbk_error *err)
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
        dbk_fill_end_read(work);
        rc = dbk_build_plan_again(work, err);
        if (rc < 0)
            return rc;
    }
}

/* From here on what changes is told by the snapshot's cursors. */
static int set_cursors(struct dbk_fill *work, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &work->plan->tree;
    int rc = dbk_connection_begin(work->write, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK && dbk_logged_reads(tree))
        rc = dbk_logged_write(work->write, work->owner, &work->logged, err);
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        if (tree->relations[i]->kind == DBK_RELATION_TABLE && !tree->relations[i]->log)
            rc = dbk_follow_set_cursor(work->write, work->owner, tree->relations[i]->table,
                                       work->cursors[i], err);
    }
    return dbk_view_end_transaction(work->write, rc, err);
}

static int begin(struct dbk_fill *work, const struct dbk_view_row *old, struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = work->refresh;
    const char *name = refresh->definition->name;
    int rc = dbk_kept_begin(work->write, refresh->definition, refresh->fingerprint,
                            &work->row.generation, err);
    (void)snprintf(work->owner, sizeof(work->owner), "%s__g%llu", name,
                   (unsigned long long)work->row.generation);
    work->old = old->generation;
    work->schema = -1;
    work->row.rows = 0;
    work->row.tried_us = refresh->os->now_us(refresh->os);
    work->row.refreshed = DBK_VIEW_FULL;
    /* What a row took is forgotten by and by: one slow refresh makes not all others full. */
    work->row.incremental_us = old->incremental_us / 2;
    work->row.incremental_changes = old->incremental_changes;
    (void)snprintf(work->row.fingerprint, sizeof(work->row.fingerprint), "%s",
                   refresh->fingerprint);
    return rc;
}

int dbk_build_fill(struct dbk_fill *work, const struct dbk_view_row *old, struct dbk_error *err)
{
    struct dbk_os *os = work->refresh->os;
    int64_t begun_us = os->monotonic_us(os);
    int rc = begin(work, old, err);
    if (rc == DBK_OK)
        rc = take_snapshot(work, err);
    work->row.layout = work->plan->incremental ? DBK_VIEW_LAYOUT : 0;
    if (rc == DBK_OK && work->plan->incremental)
        rc = dbk_fill_stored(work, err);
    if (rc == DBK_OK)
        rc = dbk_fill_create(work, err);
    if (rc == DBK_OK)
        rc = dbk_fill_rows(work, err);
    dbk_fill_end_read(work);
    dbk_statement_free(work->insert);
    work->insert = NULL;
    if (rc == DBK_OK && work->plan->incremental)
        rc = set_cursors(work, err);
    work->row.duration_us = os->monotonic_us(os) - begun_us;
    work->row.full_us = work->row.duration_us;
    return rc;
}

/* ---- Catching up ---- */

int dbk_build_catch_up(struct dbk_fill *work, struct dbk_error *err)
{
    struct dbk_view_attempt attempt = {.schema = work->schema};
    struct dbk_view_row row = work->row;
    struct dbk_view_refresh refresh = *work->refresh;
    const struct dbk_recording before = work->recording;
    if (!work->plan->incremental)
        return DBK_OK;
    refresh.owner = work->owner;
    refresh.session = NULL;
    refresh.recording = work->compared ? &work->recording : NULL;
    int rc = dbk_view_apply(&refresh, work->plan, work->write, &row, &attempt, err);
    if (rc < 0 || !attempt.done)
        dbk_recording_undo(&work->recording, &before);
    if (rc == DBK_OK && attempt.stale)
        return dbk_error_set(err, DBK_EBUSY, "its tables were built anew meanwhile");
    if (rc < 0 || !attempt.done)
        return rc;
    work->schema = attempt.schema;
    work->row.position = row.position;
    work->row.as_of_us = row.as_of_us;
    work->row.rows = row.rows;
    return DBK_OK;
}

/* ---- Swapping ---- */

/* The plain view shows it, and its row is the view's. */
static int serve(struct dbk_fill *work, struct dbk_connection *connection,
                 const struct dbk_view_row *old, struct dbk_error *err)
{
    struct dbk_buf shown;
    const struct dbk_view_definition *definition = work->refresh->definition;
    int64_t now_us = work->refresh->os->now_us(work->refresh->os);
    dbk_buf_init(&shown, DBK_FILL_SQL_MAX);
    dbk_shown_select(&shown, work->plan, definition->name, work->row.generation);
    int rc = shown.rc < 0 ? dbk_error_set(err, shown.rc, "%s", dbk_code_text(shown.rc)) : DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_shown_create(connection, definition->name, dbk_buf_slice(&shown), err);
    if (rc == DBK_OK)
        rc = dbk_kept_serve(connection, definition, old, &work->row, now_us, dbk_buf_slice(&shown),
                            err);
    dbk_buf_release(&shown);
    return rc;
}

int dbk_build_swap(struct dbk_fill *work, struct dbk_connection *connection, struct dbk_error *err)
{
    const char *name = work->refresh->definition->name;
    struct dbk_view_row now;
    int rc = dbk_view_catalog_read(connection, name, &now, err);
    /* One that was swapped with its model meanwhile is not replaced by what the old model gave. */
    if (rc == DBK_OK && work->refresh->source->onto == NULL && now.generation != work->old) {
        work->overtaken = true;
        return dbk_error_set(err, DBK_EBUSY, "another generation of it serves meanwhile");
    }
    if (rc == DBK_OK)
        rc = dbk_follow_take_over(connection, work->owner, name, err);
    if (rc == DBK_OK)
        rc = dbk_logged_take_over(connection, work->owner, name, err);
    return rc < 0 ? rc : serve(work, connection, &now, err);
}

/* What cannot be removed now is removed by the next refresh. */
static void clean(struct dbk_fill *work)
{
    const char *name = work->refresh->definition->name;
    struct dbk_view_row row;
    if (dbk_view_catalog_read(work->write, name, &row, NULL) == DBK_OK)
        dbk_ignore(dbk_view_refresh_clean(work->write, name, row.generation, NULL));
}

void dbk_build_undo(struct dbk_fill *work)
{
    if (work->write == NULL || work->row.generation == 0)
        return;
    dbk_ignore(dbk_follow_forget(work->write, work->owner, NULL));
    dbk_ignore(dbk_logged_forget(work->write, work->owner, NULL));
    dbk_ignore(
        dbk_kept_give_up(work->write, work->refresh->definition->name, work->row.generation, NULL));
    clean(work);
}

void dbk_build_note_failure(struct dbk_fill *work, const struct dbk_error *err)
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

/* ---- Builds that are swapped with a model ---- */

struct dbk_view_build {
    struct dbk_view_refresh refresh;
    struct dbk_view_plan plan;
    struct dbk_fill work;
    struct dbk_buf shown;
};

static int fail(struct dbk_view_build *build, int rc, const struct dbk_error *failure,
                struct dbk_error *err)
{
    struct dbk_error why = {0};
    (void)dbk_error_set(&why, rc, "it was not swapped with %s: %.180s",
                        build->refresh.source->onto->model, failure->message);
    build->work.row.tried_us = build->refresh.os->now_us(build->refresh.os);
    if (rc != DBK_ENOTFOUND && rc != DBK_ESTOPPED && build->work.write != NULL)
        dbk_build_note_failure(&build->work, &why);
    return dbk_error_set(err, rc, "%s", why.message);
}

static int open_build(struct dbk_view_build *build, struct dbk_error *err)
{
    struct dbk_fill *work = &build->work;
    const struct dbk_view_definition *definition = build->refresh.definition;
    const struct dbk_view_onto *onto = build->refresh.source->onto;
    struct dbk_view_row old = {0};
    int rc = dbk_connection_open(definition->database_path, 0, &work->write, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_create(work->write, err);
    if (rc == DBK_OK)
        rc = dbk_follow_catalog(work->write, err);
    if (rc == DBK_OK)
        rc = dbk_logged_catalog(work->write, err);
    if (rc == DBK_OK)
        rc = dbk_record_create(work->write, err);
    if (rc == DBK_OK)
        rc = dbk_logged_attach(work->write, build->refresh.store, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(work->write, definition->name, &old, err);
    if (rc == DBK_OK && old.generation == 0)
        return dbk_error_set(err, DBK_ENOTFOUND, "it was never refreshed");
    if (rc == DBK_OK)
        rc = stand_for(work->write, onto, err);
    if (rc == DBK_OK)
        rc = dbk_build_plan_again(work, err);
    if (rc == DBK_OK && build->plan.incremental)
        (void)snprintf(work->row.reason, sizeof(work->row.reason), "%s was rebuilt", onto->model);
    if (rc == DBK_OK)
        rc = dbk_build_fill(work, &old, err);
    if (rc < 0)
        return rc;
    dbk_shown_select(&build->shown, &build->plan, definition->name, work->row.generation);
    dbk_buf_append_char(&build->shown, '\0');
    return build->shown.rc < 0
               ? dbk_error_set(err, build->shown.rc, "%s", dbk_code_text(build->shown.rc))
               : rc;
}

int dbk_view_build_open(const struct dbk_view_refresh *refresh, struct dbk_view_build **build_out,
                        struct dbk_error *err)
{
    struct dbk_view_build *build = dbk_alloc_zero(1, sizeof(*build));
    if (build == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    build->refresh = *refresh;
    build->refresh.session = NULL;
    dbk_view_plan_init(&build->plan);
    dbk_fill_init(&build->work, &build->refresh, &build->plan);
    dbk_buf_init(&build->shown, DBK_FILL_SQL_MAX);
    struct dbk_error failure = {0};
    int rc = open_build(build, &failure);
    if (rc < 0) {
        dbk_ignore(fail(build, rc, &failure, err));
        dbk_view_build_free(build, false);
    } else
        *build_out = build;
    return rc;
}

int dbk_view_build_catch_up(struct dbk_view_build *build, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_build_catch_up(&build->work, &failure);
    return rc < 0 ? fail(build, rc, &failure, err) : rc;
}

int dbk_view_build_swap(struct dbk_view_build *build, struct dbk_connection *connection,
                        struct dbk_error *err)
{
    struct dbk_recording *recording = &build->work.recording;
    const char *name = build->refresh.definition->name;
    int rc = dbk_build_swap(&build->work, connection, err);
    if (rc < 0 || !build->work.compared)
        return rc < 0 ? rc : dbk_record_forget(connection, name, err);
    recording->connection = connection;
    rc = dbk_recording_end(recording, err);
    recording->connection = build->work.write;
    /* What was kept has been forgotten meanwhile: who follows begins with the rows again. */
    return rc == DBK_EBUSY ? dbk_record_forget(connection, name, err) : rc;
}

int dbk_view_build_compare(struct dbk_view_build *build, struct dbk_error *err)
{
    struct dbk_fill *work = &build->work;
    struct dbk_error failure = {0};
    struct dbk_view_row old;
    int rc = dbk_view_catalog_read(work->write, build->refresh.definition->name, &old, &failure);
    if (rc == DBK_OK)
        rc = dbk_difference_record(&work->recording, work->write, &build->refresh, work->plan, &old,
                                   &work->row, &failure);
    if (rc == DBK_OK)
        rc = dbk_connection_begin(work->write, DBK_BEGIN_WRITE, &failure);
    if (rc == DBK_OK) {
        rc = dbk_recording_pause(&work->recording, &failure);
        rc = dbk_view_end_transaction(work->write, rc, &failure);
    }
    work->compared = rc == DBK_OK;
    return rc < 0 ? fail(build, rc, &failure, err) : rc;
}

struct dbk_view_behind dbk_view_build_behind(struct dbk_view_build *build)
{
    return (struct dbk_view_behind){.name = build->refresh.definition->name,
                                    .shown = build->shown.data,
                                    .row = &build->work.row};
}

void dbk_view_build_free(struct dbk_view_build *build, bool swapped)
{
    if (build == NULL)
        return;
    if (swapped)
        clean(&build->work);
    else
        dbk_build_undo(&build->work);
    if (build->work.write != NULL)
        dbk_ignore(dbk_follow_clean(build->work.write, NULL));
    /* What was written and does not count, or is too much by now. */
    if (build->work.write != NULL && build->work.recording.record.epoch[0] != '\0')
        dbk_ignore(dbk_record_clean(build->work.write, build->refresh.definition->name, NULL));
    dbk_fill_release(&build->work);
    dbk_view_plan_release(&build->plan);
    dbk_buf_release(&build->shown);
    dbk_free(build);
}
