/* SPDX-License-Identifier: Apache-2.0 */
/* The views' scheduler: one thread that refreshes what is due, sources first. */
#include <time.h>

#include "base/assert.h"
#include "view/state.h"

/* The longest the scheduler sleeps, so that a clock that was set is noticed. */
#define SLEEP_US_MAX INT64_C(30000000)
/* How often it is looked whether what continuous views stand on has moved. */
#define LOOK_US INT64_C(10000)
/* How often a continuous view of a server is looked at for what other writers changed. */
#define REMOTE_LOOK_US INT64_C(200000)
/* When a refresh that failed is tried again, if it is due. */
#define AGAIN_US (INT64_C(1) * 1000000)

/* When a view is due. What it was refreshed for last counts, also by another process. */
static int64_t due_us(struct dbk_views *views, struct dbk_view *view)
{
    struct dbk_view_row row;
    if (dbk_views_row(views, view, &row, NULL) < 0)
        row.tried_us = views->os->now_us(views->os); /* Looked at again one period later. */
    return dbk_schedule_next(&view->definition.schedule, row.tried_us);
}

/* What of the log a view has yet to take, and what it would read otherwise by now. */
static uint64_t log_of(struct dbk_views *views)
{
    struct dbk_history history;
    dbk_store_history(views->store, &history);
    return dbk_store_last_position(views->store) + ((history.removed + history.forgotten) << 40);
}

/* A number that changes when what a view stands on does: with each position of a model, each
   generation of one, each refresh of a view, and of the log. */
static uint64_t sources_of(struct dbk_views *views, const struct dbk_view *view)
{
    uint64_t sum = 1;
    if (view->home->remote) /* Others write there, too. */
        sum += (uint64_t)(views->os->monotonic_us(views->os) / REMOTE_LOOK_US) << 32;
    if (view->source.log)
        sum += log_of(views);
    for (size_t i = 0; i < view->source.model_count; i++) {
        struct dbk_model_status status;
        size_t index = 0;
        if (dbk_models_find(views->models, view->source.models[i], &index, NULL) == DBK_OK &&
            dbk_models_status(views->models, index, &status, NULL) == DBK_OK)
            sum += status.position + (status.generation << 48);
    }
    for (size_t i = 0; i < view->source.view_count; i++) {
        size_t index = 0;
        if (dbk_views_find(views, view->source.views[i], &index, NULL) < 0)
            continue;
        (void)pthread_mutex_lock(&views->mutex);
        sum += views->views[index].runs;
        (void)pthread_mutex_unlock(&views->mutex);
    }
    return sum;
}

/* When the scheduler looks at a view next; not later than now: it is to be refreshed.
   DBK_TIME_NONE: never. */
static int64_t turn_us(struct dbk_views *views, struct dbk_view *view, int64_t now_us)
{
    int64_t turn = view->definition.schedule.kind != DBK_SCHEDULE_CONTINUOUS ? due_us(views, view)
                   : sources_of(views, view) == view->seen                   ? now_us + LOOK_US
                                                                             : now_us;
    return turn != DBK_TIME_NONE && turn < view->not_before_us ? view->not_before_us : turn;
}

/* True when a view that this one reads is due, too, and so goes first. A continuous one is nearly
   always due: it goes first once. */
static bool source_is_due(struct dbk_views *views, const struct dbk_view *view, int64_t now_us)
{
    for (size_t i = 0; i < view->source.view_count; i++) {
        size_t index = 0;
        if (dbk_views_find(views, view->source.views[i], &index, NULL) < 0)
            continue;
        struct dbk_view *source = &views->views[index];
        bool settled =
            source->definition.schedule.kind == DBK_SCHEDULE_CONTINUOUS && source->seen != 0;
        int64_t turn = settled ? DBK_TIME_NONE : turn_us(views, source, now_us);
        if (turn != DBK_TIME_NONE && turn <= now_us)
            return true;
    }
    return false;
}

/* A continuous view takes what there is, and waits for no model. */
static void take_turn(struct dbk_views *views, struct dbk_view *view)
{
    bool continuous = view->definition.schedule.kind == DBK_SCHEDULE_CONTINUOUS;
    uint64_t sources = continuous ? sources_of(views, view) : 0;
    bool failed = dbk_views_refresh(views, view->definition.name,
                                    continuous ? DBK_VIEW_AS_IT_IS : 0, NULL, NULL, NULL) < 0;
    view->seen = failed ? 0 : sources;
    view->not_before_us = failed ? views->os->now_us(views->os) + AGAIN_US : 0;
}

static bool is_stopping(struct dbk_views *views)
{
    (void)pthread_mutex_lock(&views->mutex);
    bool stopping = views->stopping;
    (void)pthread_mutex_unlock(&views->mutex);
    return stopping;
}

/* Refreshes what is due, sources first; returns how long there is nothing to do. */
static int64_t run_due(struct dbk_views *views)
{
    int64_t now_us = views->os->now_us(views->os);
    int64_t sleep_us = SLEEP_US_MAX;
    for (size_t i = 0; i < views->count && !is_stopping(views); i++) {
        struct dbk_view *view = &views->views[i];
        int64_t turn = turn_us(views, view, now_us);
        if (turn == DBK_TIME_NONE)
            continue;
        if (turn > now_us) {
            if (turn - now_us < sleep_us)
                sleep_us = turn - now_us;
            continue;
        }
        sleep_us = 0;
        if (!source_is_due(views, view, now_us))
            take_turn(views, view);
    }
    return sleep_us;
}

static void *schedule(void *context)
{
    struct dbk_views *views = context;
    (void)pthread_mutex_lock(&views->mutex);
    while (!views->stopping) {
        (void)pthread_mutex_unlock(&views->mutex);
        dbk_view_remotes_settle(&views->remotes, views->os, views->count, dbk_views_names_in,
                                views);
        int64_t sleep_us = run_due(views);
        (void)pthread_mutex_lock(&views->mutex);
        if (sleep_us <= 0 || views->stopping)
            continue;
        struct timespec until;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t nanoseconds = until.tv_nsec + sleep_us % 1000000 * 1000;
        until.tv_sec += sleep_us / 1000000 + nanoseconds / 1000000000;
        until.tv_nsec = nanoseconds % 1000000000;
        (void)pthread_cond_timedwait(&views->changed, &views->mutex, &until);
    }
    (void)pthread_mutex_unlock(&views->mutex);
    return NULL;
}

int dbk_views_start(struct dbk_views *views, struct dbk_error *err)
{
    dbk_assert(!views->scheduled);
    int failure = pthread_create(&views->scheduler, NULL, schedule, views);
    if (failure != 0)
        return dbk_error_set_errno(err, failure, "views: the scheduler does not start");
    views->scheduled = true;
    return DBK_OK;
}
