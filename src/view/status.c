/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of a view: how fresh it is, how it was refreshed, and what holds it up. */
#include <stdio.h>

#include "base/assert.h"
#include "view/state.h"

/* How long a size that was counted is told. */
#define SIZE_US INT64_C(60000000)

int dbk_view_lag(struct dbk_views *views, const struct dbk_view *view,
                 const struct dbk_view_row *row, int64_t *lag_us_out, int64_t *since_us_out,
                 struct dbk_error *err)
{
    int64_t now_us = views->os->now_us(views->os);
    uint64_t behind = 0;
    int64_t lag_us = 0;
    int rc = DBK_OK;
    const struct dbk_view_source *source = &dbk_view_form(view)->source;
    if (view->home->remote && source->model_count + source->view_count == 0)
        lag_us = now_us > row->as_of_us ? now_us - row->as_of_us : 0;
    else
        rc = dbk_models_lag(views->models, row->position, &behind, &lag_us, err);
    *lag_us_out = lag_us;
    *since_us_out = now_us - lag_us;
    return rc;
}

int64_t dbk_view_lag_due(const struct dbk_view *view, const struct dbk_view_row *row,
                         int64_t since_us)
{
    int64_t lag_us = view->definition.schedule.period_us;
    return since_us + lag_us - lag_us / 10 - 2 * row->duration_us;
}

/* The lag against its target, and when the view is refreshed next. */
static int measure(struct dbk_views *views, const struct dbk_view *view,
                   const struct dbk_view_row *row, struct dbk_view_status *status,
                   struct dbk_error *err)
{
    const struct dbk_schedule *schedule = &view->definition.schedule;
    int64_t now_us = views->os->now_us(views->os);
    int64_t since_us = now_us;
    bool targeted = schedule->kind == DBK_SCHEDULE_LAG;
    int rc = row->generation == 0 ? DBK_OK
                                  : dbk_view_lag(views, view, row, &status->lag_us, &since_us, err);
    status->target_us = targeted ? schedule->period_us : 0;
    status->late = targeted && status->lag_us > status->target_us;
    status->next_us = dbk_schedule_next(schedule, row->tried_us);
    if (targeted && (row->generation == 0 || status->lag_us != 0))
        status->next_us = row->generation == 0 ? now_us : dbk_view_lag_due(view, row, since_us);
    if (status->next_us != DBK_TIME_NONE && status->next_us < now_us)
        status->next_us = now_us;
    return rc;
}

/* Counting reads a part of what is stored: it is not done each time. */
static uint64_t count_size(struct dbk_views *views, struct dbk_view *view, uint64_t generation)
{
    uint64_t size = 0;
    int64_t now_us = views->os->monotonic_us(views->os);
    (void)pthread_mutex_lock(&views->mutex);
    bool known = view->size_generation == generation && now_us - view->size_us < SIZE_US;
    size = view->size;
    (void)pthread_mutex_unlock(&views->mutex);
    if (generation == 0 || known)
        return generation == 0 ? 0 : size;
    if (view->home->size(&view->definition, generation, &size, NULL) < 0)
        size = 0;
    (void)pthread_mutex_lock(&views->mutex);
    view->size = size;
    view->size_generation = generation;
    view->size_us = now_us;
    (void)pthread_mutex_unlock(&views->mutex);
    return size;
}

/* With the mutex. */
static void find_state(struct dbk_views *views, const struct dbk_view *view,
                       struct dbk_view_status *status)
{
    const struct dbk_view *blocker = dbk_view_blocker(views, view);
    status->refreshing = view->refreshing;
    status->blocked_by = blocker == NULL ? NULL : blocker->definition.name;
    status->waits_for = view->turn.waits_for;
    status->state = view->refreshing               ? "refreshing"
                    : blocker != NULL              ? "blocked"
                    : status->error.code != DBK_OK ? "failed"
                    : status->waits_for != NULL    ? "waiting"
                    : status->generation == 0      ? "empty"
                                                   : "ready";
}

int dbk_views_status(struct dbk_views *views, size_t index, struct dbk_view_status *status_out,
                     struct dbk_error *err)
{
    dbk_assert(index < views->count);
    struct dbk_view *view = &views->views[index];
    struct dbk_view_row row;
    struct dbk_error failure = {0};
    struct dbk_kept kept = {0};
    int rc = dbk_views_kept(views, view, &row, &kept, &failure);
    if (rc < 0 && !view->home->remote)
        return dbk_error_set(err, rc, "%s", failure.message);
    if (rc < 0) /* A server that is down is the view's failure, and no other's. */
        row = (struct dbk_view_row){.tried_us = views->os->now_us(views->os),
                                    .check.at_us = DBK_TIME_NONE};
    struct dbk_view_status status = {
        .name = view->definition.name,
        .database = view->definition.database,
        .generation = row.generation,
        .position = row.position,
        .as_of_us = row.as_of_us,
        .duration_us = row.duration_us,
        .rows = row.rows,
        .mode = view->definition.mode,
        .refreshed = row.refreshed,
        .changes = row.changes,
        .full_us = row.full_us,
        .incremental_us = row.incremental_us,
        .incremental_changes = row.incremental_changes,
        .changed = row.generation != 0 && strcmp(row.fingerprint, view->file->fingerprint) != 0,
        .verify_mends = view->definition.verify_mends,
        .verify_next_us = DBK_TIME_NONE,
        .checked = row.check,
        .rolled_back = kept.undone && strcmp(kept.fingerprint, view->file->fingerprint) == 0,
    };
    if (rc == DBK_OK && kept.stored) {
        status.kept_generation = kept.generation;
        status.kept_position = kept.position;
        status.kept_as_of_us = kept.as_of_us;
        status.kept_rows = kept.rows;
        status.kept_until_us = kept.replaced_us + view->definition.keep_us;
    }
    (void)snprintf(status.reason, sizeof(status.reason), "%s", row.reason);
    (void)dbk_schedule_format(&view->definition.schedule, status.refresh, sizeof(status.refresh));
    if (view->definition.verify.kind != DBK_SCHEDULE_ON_DEMAND)
        (void)dbk_schedule_format(&view->definition.verify, status.verify, sizeof(status.verify));
    if (row.error[0] != '\0')
        dbk_ignore(dbk_error_set(&status.error, DBK_ESCRIPT, "%s", row.error));
    if (rc == DBK_OK)
        rc = measure(views, view, &row, &status, &failure);
    status.size = rc == DBK_OK ? count_size(views, view, row.generation) : 0;
    (void)pthread_mutex_lock(&views->mutex);
    if (view->outcome.code != DBK_OK)
        status.error = view->outcome;
    if (rc < 0)
        status.error = failure;
    find_state(views, view, &status);
    if (view->verify_known)
        status.verify_next_us = view->verify_us;
    status.mended = view->mended;
    status.unchecked = view->unchecked;
    (void)pthread_mutex_unlock(&views->mutex);
    *status_out = status;
    return DBK_OK;
}
