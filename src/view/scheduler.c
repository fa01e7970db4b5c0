/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The views' scheduler: some threads, of which one at a time looks what is due, sources first.
 *
 *     wait --(nobody leads)--> lead --(nothing is due)--> sleep, lead again
 *                               |
 *                               +--(a view is due: held)--> hand over the lead, refresh, wait
 *
 * Nothing that takes long happens while a thread leads: a view whose models have not got there yet
 * stays due and is looked at again, and a server is asked by whoever has given the lead away. Views
 * of servers never take all threads.
 */
#include <time.h>

#include "base/assert.h"
#include "view/state.h"

/* The longest the scheduler sleeps, so that a clock that was set is noticed. */
#define SLEEP_US_MAX INT64_C(30000000)
/* How often it is looked whether what continuous views stand on has moved, without being told: how
   events are read may be another, as after somebody was forgotten. */
#define LOOK_US INT64_C(1000000)
/* How soon it is looked again, however often something moves meanwhile. */
#define PAUSE_US INT64_C(4000)
/* How soon a view that is due and held up is looked at again. */
#define HELD_UP_US INT64_C(50000)
/* How often a view of a server is looked at for what other writers changed. */
#define REMOTE_LOOK_US INT64_C(200000)
/* When a refresh that failed is tried again, if it is due. */
#define AGAIN_US (INT64_C(1) * 1000000)

static bool is_member(const struct dbk_views *views, const struct dbk_view *view, size_t index)
{
    bool found = false;
    const struct dbk_view_group *group = dbk_view_group(view);
    for (size_t i = 0; i < group->count && !found; i++)
        found = group->members[i] == index && index < views->count;
    return found;
}

/* What of the log a view has yet to take, and what it would read otherwise by now. */
static uint64_t log_of(struct dbk_views *views)
{
    struct dbk_history history;
    dbk_store_history(views->store, &history);
    return dbk_store_last_position(views->store) + ((history.removed + history.forgotten) << 40);
}

/* True when a view is refreshed as soon as what it stands on has moved, or soon after. */
static bool follows(const struct dbk_view *view)
{
    enum dbk_schedule_kind kind = view->definition.schedule.kind;
    return kind == DBK_SCHEDULE_CONTINUOUS || kind == DBK_SCHEDULE_LAG;
}

static uint64_t sum_models(struct dbk_views *views, const struct dbk_view *view)
{
    const struct dbk_view_source *source = &dbk_view_form(view)->source;
    uint64_t sum = 0;
    for (size_t i = 0; i < source->model_count; i++) {
        struct dbk_model_status status;
        size_t index = 0;
        if (dbk_models_find(views->models, source->models[i], &index, NULL) == DBK_OK &&
            dbk_models_status(views->models, index, &status, NULL) == DBK_OK)
            sum += status.position + (status.generation << 48);
    }
    return sum;
}

/* A number that changes when what a view stands on does, it and those that are refreshed with it:
   with each position of a model, each generation of one, each refresh of another view, and of the
   log. */
static uint64_t sources_of(struct dbk_views *views, const struct dbk_view *view)
{
    const struct dbk_view_group *group = dbk_view_group(view);
    uint64_t sum = 1;
    if (view->home->remote) /* Others write there, too. */
        sum += (uint64_t)(views->os->monotonic_us(views->os) / REMOTE_LOOK_US) << 32;
    for (size_t i = 0; i < group->count; i++) {
        const struct dbk_view *member = &views->views[group->members[i]];
        const struct dbk_view_source *source = &dbk_view_form(member)->source;
        sum += sum_models(views, member) + (source->log ? log_of(views) : 0);
        for (size_t j = 0; j < source->view_count; j++) {
            size_t index = 0;
            if (dbk_views_find(views, source->views[j], &index, NULL) < 0 ||
                is_member(views, view, index))
                continue;
            (void)pthread_mutex_lock(&views->mutex);
            sum += views->views[index].runs;
            (void)pthread_mutex_unlock(&views->mutex);
        }
    }
    return sum;
}

/* What is known of a turn, as it is now. */
static struct dbk_turn turn_of(struct dbk_views *views, const struct dbk_view *view)
{
    (void)pthread_mutex_lock(&views->mutex);
    struct dbk_turn turn = view->turn;
    (void)pthread_mutex_unlock(&views->mutex);
    return turn;
}

/* When a view whose sources have moved would be further behind than it may. */
static int64_t lag_due_us(struct dbk_views *views, struct dbk_view *view, int64_t now_us)
{
    struct dbk_view_row row;
    int64_t lag_us = 0;
    int64_t since_us = 0;
    if (dbk_views_row(views, view, &row, NULL) < 0 || row.generation == 0 ||
        strcmp(row.fingerprint, dbk_view_form(view)->fingerprint) != 0 ||
        dbk_view_lag(views, view, &row, &lag_us, &since_us, NULL) < 0)
        return now_us;
    return lag_us == 0 ? now_us + LOOK_US : dbk_view_lag_due(view, &row, since_us);
}

/* When the scheduler looks at a view next; not later than now: it is to be refreshed.
   DBK_TIME_NONE: never. What it was refreshed for last counts, also by another process. */
static int64_t turn_us(struct dbk_views *views, struct dbk_view *view, int64_t now_us)
{
    const struct dbk_turn turn = turn_of(views, view);
    struct dbk_view_row row;
    int64_t due_us = now_us;
    if (turn.wanted != 0)
        due_us = now_us;
    else if (follows(view) && sources_of(views, view) == turn.seen)
        due_us = now_us + (view->home->remote ? REMOTE_LOOK_US : LOOK_US);
    else if (view->definition.schedule.kind == DBK_SCHEDULE_LAG)
        due_us = lag_due_us(views, view, now_us);
    else if (!follows(view)) {
        if (dbk_views_row(views, view, &row, NULL) < 0)
            row.tried_us = now_us; /* Looked at again one period later. */
        due_us = dbk_schedule_next(&view->definition.schedule, row.tried_us);
    }
    return due_us != DBK_TIME_NONE && due_us < turn.not_before_us ? turn.not_before_us : due_us;
}

/* True when a view that this one reads is due, too, and so goes first; but for those that are
   refreshed with it, and those that are held up. One that follows is nearly always due: it goes
   first once. */
static bool source_is_due(struct dbk_views *views, const struct dbk_view *view, int64_t now_us)
{
    const struct dbk_view_source *sources = &dbk_view_form(view)->source;
    for (size_t i = 0; i < sources->view_count; i++) {
        size_t index = 0;
        if (dbk_views_find(views, sources->views[i], &index, NULL) < 0 ||
            is_member(views, view, index))
            continue;
        struct dbk_view *source = &views->views[index];
        const struct dbk_turn turn = turn_of(views, source);
        if (turn.held)
            return true;
        if (turn.waits_for != NULL || (follows(source) && turn.seen != 0))
            continue;
        int64_t due_us = turn_us(views, source, now_us);
        if (due_us != DBK_TIME_NONE && due_us <= now_us)
            return true;
    }
    return false;
}

static bool is_blocked(struct dbk_views *views, const struct dbk_view *view)
{
    (void)pthread_mutex_lock(&views->mutex);
    bool blocked = dbk_view_blocker(views, view) != NULL;
    (void)pthread_mutex_unlock(&views->mutex);
    return blocked;
}

/* The first of a view's models that has not posted so much; NULL: all have. */
static const char *lacking_of(struct dbk_views *views, const struct dbk_view *view, uint64_t wanted)
{
    const struct dbk_view_source *source = &dbk_view_form(view)->source;
    for (size_t i = 0; i < source->model_count; i++) {
        struct dbk_model_status status;
        size_t index = 0;
        if (dbk_models_find(views->models, source->models[i], &index, NULL) < 0 ||
            dbk_models_status(views->models, index, &status, NULL) < 0 || status.position < wanted)
            return source->models[i];
    }
    return NULL;
}

/* The model that has not posted what the log held when the view became due, of those that it and
   what is refreshed with it read; NULL: none, or it takes what there is. */
static const char *lacking(struct dbk_views *views, const struct dbk_view *view, uint64_t wanted)
{
    const struct dbk_view_group *group = dbk_view_group(view);
    const char *model = NULL;
    for (size_t i = 0; model == NULL && !follows(view) && i < group->count; i++)
        model = lacking_of(views, &views->views[group->members[i]], wanted);
    return model;
}

/* Whether a view that is due can be refreshed at once; else it is looked at again soon. */
static bool is_ready(struct dbk_views *views, struct dbk_view *view, int64_t now_us)
{
    struct dbk_turn turn = turn_of(views, view);
    if (is_blocked(views, view))
        return false;
    if (turn.wanted == 0)
        turn.wanted = dbk_store_last_position(views->store);
    turn.waits_for = lacking(views, view, turn.wanted);
    (void)pthread_mutex_lock(&views->mutex);
    view->turn.wanted = turn.wanted;
    view->turn.waits_for = turn.waits_for;
    (void)pthread_mutex_unlock(&views->mutex);
    return turn.waits_for == NULL && !source_is_due(views, view, now_us);
}

/* A row of a server that is not known is asked for without the lead. */
static bool is_unknown(struct dbk_views *views, const struct dbk_view *view)
{
    (void)pthread_mutex_lock(&views->mutex);
    bool unknown = view->home->remote && !dbk_view_row_is_known(views, view);
    (void)pthread_mutex_unlock(&views->mutex);
    return unknown && view->definition.schedule.kind != DBK_SCHEDULE_ON_DEMAND &&
           view->definition.schedule.kind != DBK_SCHEDULE_DOWNSTREAM &&
           view->definition.schedule.kind != DBK_SCHEDULE_CONTINUOUS;
}

/* Takes a view for this thread. */
static bool hold(struct dbk_views *views, struct dbk_view *view)
{
    (void)pthread_mutex_lock(&views->mutex);
    bool free = !view->turn.held && !view->refreshing &&
                (!view->home->remote || views->busy < DBK_VIEW_THREADS / 2);
    if (free) {
        view->turn.held = true;
        views->busy += view->home->remote ? 1 : 0;
    }
    (void)pthread_mutex_unlock(&views->mutex);
    return free;
}

/* What a thread does with the view that it holds. */
enum task {
    REFRESH,
    READ_ROW, /* by which it is known when it is due */
    END_KEPT, /* what a change replaced has been kept for its time */
};

static bool kept_is_over(struct dbk_views *views, const struct dbk_view *view, int64_t now_us)
{
    (void)pthread_mutex_lock(&views->mutex);
    bool over = view->kept.stored && view->kept.replaced_us + view->definition.keep_us <= now_us;
    (void)pthread_mutex_unlock(&views->mutex);
    return over;
}

/* Finds what is due, and holds it; NULL: nothing, for so long. */
static struct dbk_view *find_due(struct dbk_views *views, enum task *task_out,
                                 int64_t *sleep_us_out)
{
    int64_t now_us = views->os->now_us(views->os);
    *sleep_us_out = SLEEP_US_MAX;
    for (size_t i = 0; i < views->count; i++) {
        struct dbk_view *view = &views->views[i];
        bool unknown = is_unknown(views, view);
        *task_out = END_KEPT;
        if (kept_is_over(views, view, now_us) && hold(views, view))
            return view;
        int64_t due_us = unknown ? now_us : turn_us(views, view, now_us);
        if (due_us == DBK_TIME_NONE)
            continue;
        bool ready = due_us <= now_us && (unknown || is_ready(views, view, now_us));
        if (ready && hold(views, view)) {
            *task_out = unknown ? READ_ROW : REFRESH;
            return view;
        }
        int64_t wait_us = due_us <= now_us ? HELD_UP_US : due_us - now_us;
        *sleep_us_out = wait_us < *sleep_us_out ? wait_us : *sleep_us_out;
    }
    return NULL;
}

/* Notes how far the sources of all that go with a view are, before it is refreshed. */
static void look_at_sources(struct dbk_views *views, const struct dbk_view *view)
{
    const struct dbk_view_group *group = dbk_view_group(view);
    for (size_t i = 0; i < group->count; i++) {
        struct dbk_view *member = &views->views[group->members[i]];
        uint64_t sources = follows(member) ? sources_of(views, member) : 0;
        (void)pthread_mutex_lock(&views->mutex);
        member->turn.before = sources;
        (void)pthread_mutex_unlock(&views->mutex);
    }
}

/* With the mutex. */
static void end_turns(struct dbk_views *views, const struct dbk_view *view)
{
    const struct dbk_view_group *group = dbk_view_group(view);
    int64_t now_us = views->os->now_us(views->os);
    for (size_t i = 0; i < group->count; i++) {
        struct dbk_view *member = &views->views[group->members[i]];
        bool failed = member->result.code != DBK_OK;
        member->turn.seen = failed ? 0 : member->turn.before;
        member->turn.not_before_us = failed ? now_us + AGAIN_US : 0;
    }
}

/* A view that follows takes what there is, and waits for no model. Of others it was waited until
   the models are there. */
static void take_turn(struct dbk_views *views, struct dbk_view *view, enum task task)
{
    struct dbk_view_row row;
    switch (task) {
    case REFRESH:
        look_at_sources(views, view);
        dbk_ignore(
            dbk_views_refresh(views, view->definition.name, DBK_VIEW_AS_IT_IS, NULL, NULL, NULL));
        break;
    case READ_ROW:
        dbk_ignore(dbk_views_row(views, view, &row, NULL));
        break;
    case END_KEPT: /* What fails is tried again when the row has been read anew. */
        dbk_ignore(dbk_view_drop_kept(
            views, view, views->os->now_us(views->os) - view->definition.keep_us, NULL));
        break;
    }
    (void)pthread_mutex_lock(&views->mutex);
    if (task == REFRESH)
        end_turns(views, view);
    view->turn.held = false;
    views->busy -= view->home->remote ? 1 : 0;
    dbk_view_ended(views);
    (void)pthread_mutex_unlock(&views->mutex);
}

void dbk_views_sleep(struct dbk_views *views, int64_t duration_us)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t nanoseconds = until.tv_nsec + duration_us % 1000000 * 1000;
    until.tv_sec += duration_us / 1000000 + nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    (void)pthread_cond_timedwait(&views->changed, &views->mutex, &until);
}

/* With the mutex: until something may be due. What has moved during the look, or moves within the
   pause, is looked at behind it, all at once. */
static void rest(struct dbk_views *views, uint64_t wakes, int64_t duration_us)
{
    int64_t begun_us = views->os->monotonic_us(views->os);
    int64_t left_us = duration_us;
    while (!views->stopping && left_us > 0) {
        int64_t rested_us = views->os->monotonic_us(views->os) - begun_us;
        bool woken = views->wakes != wakes;
        left_us = (woken && duration_us > PAUSE_US ? PAUSE_US : duration_us) - rested_us;
        views->rests = !woken;
        if (left_us > 0)
            dbk_views_sleep(views, left_us);
    }
    views->rests = false;
}

/* With the mutex, and nobody leads. */
static void lead(struct dbk_views *views)
{
    enum task task = REFRESH;
    int64_t duration_us = 0;
    uint64_t wakes = views->wakes;
    views->led = true;
    (void)pthread_mutex_unlock(&views->mutex);
    struct dbk_view *view = find_due(views, &task, &duration_us);
    (void)pthread_mutex_lock(&views->mutex);
    if (view == NULL && !views->stopping)
        rest(views, wakes, duration_us);
    views->led = false;
    (void)pthread_cond_broadcast(&views->changed);
    if (view == NULL)
        return;
    (void)pthread_mutex_unlock(&views->mutex);
    take_turn(views, view, task);
    (void)pthread_mutex_lock(&views->mutex);
}

static void *schedule(void *context)
{
    struct dbk_views *views = context;
    (void)pthread_mutex_lock(&views->mutex);
    while (!views->stopping) {
        if (views->led)
            (void)pthread_cond_wait(&views->changed, &views->mutex);
        else
            lead(views);
    }
    (void)pthread_mutex_unlock(&views->mutex);
    return NULL;
}

void dbk_view_ended(struct dbk_views *views)
{
    views->wakes++;
    views->rests = false;
    (void)pthread_cond_broadcast(&views->changed);
}

void dbk_views_wake(void *context)
{
    struct dbk_views *views = context;
    (void)pthread_mutex_lock(&views->mutex);
    views->wakes++;
    if (views->rests)
        (void)pthread_cond_broadcast(&views->changed);
    views->rests = false;
    (void)pthread_mutex_unlock(&views->mutex);
}

static bool stops(struct dbk_views *views)
{
    (void)pthread_mutex_lock(&views->mutex);
    bool stopping = views->stopping;
    (void)pthread_mutex_unlock(&views->mutex);
    return stopping;
}

/* Waits for events. */
static void *watch_log(void *context)
{
    struct dbk_views *views = context;
    const struct timespec pause = {.tv_nsec = PAUSE_US * 1000};
    uint64_t wakes = dbk_store_wakes(views->store);
    uint64_t position = dbk_store_last_position(views->store);
    while (!stops(views)) {
        uint64_t told = position;
        int rc = dbk_store_wait(views->store, wakes, position, SLEEP_US_MAX, NULL);
        wakes = dbk_store_wakes(views->store);
        position = dbk_store_last_position(views->store);
        if (rc != 0 || position != told) {
            dbk_views_wake(views);
            (void)nanosleep(&pause, NULL);
        }
    }
    return NULL;
}

/* Not while views are built to be swapped with a model, whose cursors and numbers look like what a
   crash leaves: then later. Who waits here would keep the book from being closed. */
static void settle_once(struct dbk_views *views)
{
    if (pthread_mutex_trylock(&views->swapping) != 0)
        return;
    dbk_view_remotes_settle(&views->remotes, views->os, views->count, dbk_views_names_in, views);
    (void)pthread_mutex_unlock(&views->swapping);
}

/* What views left behind in servers is ended beside the schedules: a server may be down. */
static void *settle(void *context)
{
    struct dbk_views *views = context;
    (void)pthread_mutex_lock(&views->mutex);
    while (!views->stopping && views->remotes.count > 0) {
        (void)pthread_mutex_unlock(&views->mutex);
        settle_once(views);
        (void)pthread_mutex_lock(&views->mutex);
        if (!views->stopping && views->remotes.count > 0)
            dbk_views_sleep(views, SLEEP_US_MAX);
    }
    (void)pthread_mutex_unlock(&views->mutex);
    return NULL;
}

static int begin(struct dbk_views *views, void *(*run)(void *), struct dbk_error *err)
{
    int failure = pthread_create(&views->threads[views->thread_count], NULL, run, views);
    if (failure != 0)
        return dbk_error_set_errno(err, failure, "views: the scheduler does not start");
    views->thread_count++;
    return DBK_OK;
}

int dbk_views_start(struct dbk_views *views, struct dbk_error *err)
{
    dbk_assert(views->thread_count == 0);
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < DBK_VIEW_THREADS && i < views->count; i++)
        rc = begin(views, schedule, err);
    bool log = false;
    for (size_t i = 0; i < views->count; i++)
        log = log || views->views[i].file->source.log;
    if (rc == DBK_OK && log)
        rc = begin(views, watch_log, err);
    if (rc == DBK_OK && views->remotes.count > 0)
        rc = begin(views, settle, err);
    void *(*verifier)(void *) = dbk_views_verifier(views);
    if (rc == DBK_OK && verifier != NULL)
        rc = begin(views, verifier, err);
    if (rc == DBK_OK && views->models != NULL)
        dbk_models_on_moved(views->models, dbk_views_wake, views);
    return rc < 0 ? rc : dbk_alerts_start(views, err);
}

void dbk_views_stop(struct dbk_views *views)
{
    (void)pthread_mutex_lock(&views->mutex);
    views->stopping = true;
    views->ends = true;
    (void)pthread_cond_broadcast(&views->changed);
    dbk_views_end_verifying(views);
    (void)pthread_mutex_unlock(&views->mutex);
    if (views->models != NULL)
        dbk_models_on_moved(views->models, NULL, NULL);
    if (views->thread_count > 0)
        dbk_store_wake(views->store);
    for (size_t i = 0; i < views->thread_count; i++)
        (void)pthread_join(views->threads[i], NULL);
    views->thread_count = 0;
    dbk_alerts_stop(views);
}
