/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A refresh of a view, with those that go with it (together.c): who may begin, and who is blocked.
 *
 * All of them are claimed at once, so that nobody holds a part and waits for the rest. What fails
 * blocks what stands on it, and nothing else.
 */
#include "base/assert.h"
#include "view/state.h"

/* How long a refresh waits for the models it reads. */
#define WAIT_US INT64_C(60000000)

static struct dbk_view *find(struct dbk_views *views, const char *name)
{
    size_t index = 0;
    return dbk_views_find(views, name, &index, NULL) == DBK_OK ? &views->views[index] : NULL;
}

const struct dbk_view *dbk_view_blocker(struct dbk_views *views, const struct dbk_view *view)
{
    const struct dbk_view_source *sources = &dbk_view_form(view)->source;
    for (size_t i = 0; i < sources->view_count; i++) {
        const struct dbk_view *source = find(views, sources->views[i]);
        if (source == NULL || source == view)
            continue;
        const struct dbk_view *blocker = source->failed ? source : dbk_view_blocker(views, source);
        if (blocker != NULL)
            return blocker;
    }
    return NULL;
}

/* One refresh of several views. */
struct round {
    struct dbk_views *views;
    const struct dbk_view *asked;
    const struct dbk_view_group *group; /* its, when it was claimed */
    uint64_t after;
    dbk_progress_fn progress;
    void *context;
    struct dbk_error *results; /* of each, in their order */
    bool *done;                /* it succeeded */
    bool *tried;               /* it was begun, so that the result is one of the view itself */
};

static struct dbk_view *member(const struct round *round, size_t index)
{
    return &round->views->views[round->group->members[index]];
}

/* Whether one reads another of the round. */
static bool reads(const struct dbk_view *view, const struct dbk_view *other)
{
    const struct dbk_view_source *source = &dbk_view_form(view)->source;
    bool found = false;
    for (size_t i = 0; i < source->view_count && !found; i++)
        found = strcmp(source->views[i], other->definition.name) == 0;
    return found;
}

/* The view for whose failure one is not refreshed; NULL: there is none. Those of the round before
   it have been refreshed, or not. */
static const struct dbk_view *find_blocker(const struct round *round, size_t index)
{
    const struct dbk_view *view = member(round, index);
    for (size_t i = 0; i < index; i++) {
        if (!round->done[i] && reads(view, member(round, i)))
            return member(round, i);
    }
    const struct dbk_view_source *sources = &dbk_view_form(view)->source;
    for (size_t i = 0; i < sources->view_count; i++) {
        const struct dbk_view *source = find(round->views, sources->views[i]);
        bool inside = source == NULL || source == view;
        for (size_t j = 0; j < round->group->count && !inside; j++)
            inside = member(round, j) == source;
        if (inside)
            continue;
        (void)pthread_mutex_lock(&round->views->mutex);
        const struct dbk_view *blocker =
            source->failed ? source : dbk_view_blocker(round->views, source);
        (void)pthread_mutex_unlock(&round->views->mutex);
        if (blocker != NULL)
            return blocker;
    }
    return NULL;
}

static bool is_blocked(const struct round *round, size_t index)
{
    const struct dbk_view *blocker = find_blocker(round, index);
    const char *name = member(round, index)->definition.name;
    if (blocker != NULL)
        dbk_ignore(dbk_error_set(&round->results[index], DBK_EREFUSED,
                                 "view %s is blocked: %s, on which it stands, failed when it was "
                                 "refreshed; refresh that first",
                                 name, blocker->definition.name));
    return blocker != NULL;
}

static struct dbk_view_refresh describe(const struct round *round, size_t index)
{
    const struct dbk_view *view = member(round, index);
    struct dbk_view_refresh refresh = dbk_view_describe(round->views, view);
    refresh.progress = view == round->asked ? round->progress : NULL;
    refresh.context = round->context;
    refresh.session = view->session;
    return refresh;
}

/* All of them in one transaction, where none is blocked and their home can; false: nothing was
   done. */
static bool refresh_jointly(const struct round *round)
{
    const struct dbk_view_home *home = round->asked->home;
    size_t count = round->group->count;
    bool done = false;
    bool blocked = count < 2 || home->refresh_jointly == NULL;
    struct dbk_view_refresh *refreshes = blocked ? NULL : dbk_alloc_zero(count, sizeof(*refreshes));
    for (size_t i = 0; refreshes != NULL && i < count; i++) {
        round->done[i] = true; /* as far as those behind it are concerned */
        blocked = blocked || dbk_view_settle_form(round->views, member(round, i), NULL) < 0;
        refreshes[i] = describe(round, i);
        blocked = blocked || find_blocker(round, i) != NULL;
    }
    /* What is in the way is found again, and told of the view that it is in the way of. */
    if (refreshes == NULL || blocked || home->refresh_jointly(refreshes, count, &done, NULL) < 0)
        done = false;
    for (size_t i = 0; i < count; i++) {
        round->done[i] = done;
        round->tried[i] = done;
    }
    dbk_free(refreshes);
    return done;
}

static void refresh_one(const struct round *round, size_t index)
{
    const struct dbk_view *view = member(round, index);
    round->tried[index] = true;
    if (dbk_view_settle_form(round->views, member(round, index), &round->results[index]) < 0)
        return;
    const struct dbk_view_refresh refresh = describe(round, index);
    round->done[index] = view->home->refresh(&refresh, &round->results[index]) == DBK_OK;
}

/* Waits for the models that they read. */
static int wait_models(const struct round *round, struct dbk_error *err)
{
    uint64_t wanted =
        round->after != 0 ? round->after : dbk_store_last_position(round->views->store);
    for (size_t i = 0; i < round->group->count; i++) {
        const struct dbk_view_source *source = &dbk_view_form(member(round, i))->source;
        for (size_t j = 0; j < source->model_count; j++) {
            int rc = dbk_models_wait(round->views->models, source->models[j], wanted, WAIT_US, err);
            if (rc < 0)
                return rc;
        }
    }
    return DBK_OK;
}

static void run(const struct round *round)
{
    struct dbk_error failure = {0};
    size_t count = round->group->count;
    if (round->after != DBK_VIEW_AS_IT_IS && wait_models(round, &failure) < 0) {
        for (size_t i = 0; i < count; i++)
            round->results[i] = failure;
        return;
    }
    bool done = refresh_jointly(round);
    for (size_t i = 0; !done && i < count; i++) {
        if (!is_blocked(round, i))
            refresh_one(round, i);
    }
}

static bool is_taken(const struct round *round)
{
    bool taken = false;
    for (size_t i = 0; i < round->group->count && !taken; i++)
        taken = member(round, i)->refreshing;
    return taken;
}

/* With the mutex. */
static void end(const struct round *round)
{
    for (size_t i = 0; i < round->group->count; i++) {
        struct dbk_view *view = member(round, i);
        view->refreshing = false;
        view->runs++;
        view->row_us = 0;
        view->result = round->results[i];
        if (!round->tried[i])
            continue;
        view->turn.wanted = 0;
        view->turn.waits_for = NULL;
        view->outcome = view->result;
        view->failed = view->outcome.code != DBK_OK;
    }
    dbk_view_ended(round->views);
}

/* Claims them, or joins a refresh of the one that was asked for, which may have begun before; with
   the mutex. */
static bool claim(struct round *round, struct dbk_error *outcome_out)
{
    const struct dbk_view *view = round->asked;
    round->group = dbk_view_group(view);
    while (!view->refreshing && is_taken(round)) {
        (void)pthread_cond_wait(&round->views->changed, &round->views->mutex);
        round->group = dbk_view_group(view);
    }
    if (!view->refreshing) {
        for (size_t i = 0; i < round->group->count; i++)
            member(round, i)->refreshing = true;
        return true;
    }
    uint64_t runs = view->runs;
    while (view->runs == runs)
        (void)pthread_cond_wait(&round->views->changed, &round->views->mutex);
    *outcome_out = view->result;
    return false;
}

void dbk_view_claim(struct dbk_views *views, struct dbk_view *view)
{
    (void)pthread_mutex_lock(&views->mutex);
    while (view->refreshing)
        (void)pthread_cond_wait(&views->changed, &views->mutex);
    view->refreshing = true;
    (void)pthread_mutex_unlock(&views->mutex);
}

void dbk_view_unclaim(struct dbk_views *views, struct dbk_view *view)
{
    (void)pthread_mutex_lock(&views->mutex);
    view->refreshing = false;
    view->runs++;
    view->result = (struct dbk_error){0};
    view->row_us = 0;
    view->size_us = 0;
    dbk_view_ended(views);
    (void)pthread_mutex_unlock(&views->mutex);
}

/* Whether the rows are as fresh as was asked for: what was joined may have read before that. */
static bool is_fresh(const struct round *round, uint64_t wanted)
{
    struct dbk_view_row row;
    struct dbk_view *view = find(round->views, round->asked->definition.name);
    return wanted == 0 || view == NULL || dbk_views_row(round->views, view, &row, NULL) < 0 ||
           row.position >= wanted;
}

static int refresh(struct round *round, struct dbk_error *err)
{
    struct dbk_error outcome = {0};
    uint64_t wanted = round->after == DBK_VIEW_AS_IT_IS ? 0
                      : round->after != 0               ? round->after
                                          : dbk_store_last_position(round->views->store);
    bool claimed = false;
    do {
        (void)pthread_mutex_lock(&round->views->mutex);
        claimed = claim(round, &outcome);
        (void)pthread_mutex_unlock(&round->views->mutex);
    } while (!claimed && outcome.code == DBK_OK && !is_fresh(round, wanted));
    if (claimed) {
        run(round);
        (void)pthread_mutex_lock(&round->views->mutex);
        end(round);
        (void)pthread_mutex_unlock(&round->views->mutex);
        for (size_t i = 0; i < round->group->count; i++) {
            if (member(round, i) == round->asked)
                outcome = round->results[i];
        }
    }
    return outcome.code == DBK_OK ? DBK_OK
                                  : dbk_error_set(err, outcome.code, "%s", outcome.message);
}

int dbk_views_refresh(struct dbk_views *views, const char *name, uint64_t after,
                      dbk_progress_fn progress, void *context, struct dbk_error *err)
{
    size_t index = 0;
    int rc = dbk_views_find(views, name, &index, err);
    if (rc < 0)
        return rc;
    const struct dbk_view *view = &views->views[index];
    size_t count = views->count; /* at most so many go with it */
    struct round round = {.views = views,
                          .asked = view,
                          .after = after,
                          .progress = progress,
                          .context = context,
                          .results = dbk_alloc_zero(count, sizeof(*round.results)),
                          .done = dbk_alloc_zero(count, sizeof(*round.done)),
                          .tried = dbk_alloc_zero(count, sizeof(*round.tried))};
    if (round.results == NULL || round.done == NULL || round.tried == NULL)
        rc = dbk_error_set(err, DBK_ENOMEM, "view %s: %s", name, dbk_code_text(DBK_ENOMEM));
    else
        rc = refresh(&round, err);
    dbk_free(round.results);
    dbk_free(round.done);
    dbk_free(round.tried);
    return rc;
}
