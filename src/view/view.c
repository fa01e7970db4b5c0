/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The views of an open book and their scheduler.
 *
 * A view is idle or refreshing; `refreshing` is set and cleared under the mutex by
 * dbk_views_refresh, and whoever asks for a refresh meanwhile joins the one under way and gets its
 * outcome.
 */
#include "view/view.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/assert.h"
#include "view/home.h"

#define VIEWS_MEMORY_MAX ((size_t)64 << 20)
/* How long a refresh waits for the models it reads. */
#define WAIT_US INT64_C(60000000)
/* How often a comparison is tried again because the sources changed. */
#define VERIFY_TRIES 100
/* The longest the scheduler sleeps, so that a clock that was set is noticed. */
#define SLEEP_US_MAX INT64_C(30000000)
/* How often it is looked whether what continuous views stand on has moved. */
#define LOOK_US INT64_C(10000)
/* Up to which period a view keeps its connection between refreshes. */
#define KEEP_US_MAX INT64_C(60000000)
/* How often a continuous view of a server is looked at for what other writers changed. */
#define REMOTE_LOOK_US INT64_C(200000)
/* How long what a server has said of a view's row is taken for true; each refresh ends it. */
#define ROW_US INT64_C(1000000)
/* When a refresh that failed is tried again, if it is due. */
#define AGAIN_US (INT64_C(1) * 1000000)

struct view {
    struct dbk_view_definition definition;
    struct dbk_view_source source;
    char fingerprint[DBK_VIEW_FINGERPRINT_SIZE];
    const struct dbk_view_home *home;
    struct dbk_view_session *session; /* of whoever refreshes; NULL: none is kept */
    bool refreshing;
    uint64_t runs;            /* refreshes ended */
    uint64_t seen;            /* of the scheduler: how far the sources were at its last refresh */
    int64_t not_before_us;    /* of the scheduler: it failed, and is tried again then */
    struct dbk_error outcome; /* of the last one */
    /* Of a remote home: what it said last, or why it did not. */
    struct dbk_view_row row;
    struct dbk_error row_failure;
    int64_t row_us; /* when; 0: ask it */
};

struct dbk_views {
    struct dbk_store *store;
    struct dbk_models *models;
    struct dbk_os *os;
    struct dbk_arena arena;
    struct view *views;
    size_t count;
    struct dbk_view_remotes remotes; /* of the scheduler, once it runs */
    pthread_mutex_t mutex;           /* guards refreshing, runs, outcome, rows, stopping */
    pthread_cond_t changed;
    pthread_t scheduler;
    bool scheduled;
    bool stopping;
};

int dbk_views_open(struct dbk_store *store, struct dbk_models *models, struct dbk_os *os,
                   struct dbk_views **views_out, struct dbk_error *err)
{
    struct dbk_views *views = dbk_alloc_zero(1, sizeof(*views));
    if (views == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "views: %s", dbk_code_text(DBK_ENOMEM));
    pthread_condattr_t attributes;
    views->store = store;
    views->models = models;
    views->os = os;
    dbk_arena_init(&views->arena, VIEWS_MEMORY_MAX);
    (void)pthread_mutex_init(&views->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&views->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    *views_out = views;
    return DBK_OK;
}

void dbk_views_free(struct dbk_views *views)
{
    if (views == NULL)
        return;
    (void)pthread_mutex_lock(&views->mutex);
    views->stopping = true;
    (void)pthread_cond_broadcast(&views->changed);
    (void)pthread_mutex_unlock(&views->mutex);
    if (views->scheduled)
        (void)pthread_join(views->scheduler, NULL);
    (void)pthread_cond_destroy(&views->changed);
    (void)pthread_mutex_destroy(&views->mutex);
    for (size_t i = 0; i < views->count; i++)
        views->views[i].home->session_free(views->views[i].session);
    dbk_free(views->views);
    dbk_arena_release(&views->arena);
    dbk_free(views);
}

static void fingerprint(const struct dbk_view_definition *definition,
                        char text_out[DBK_VIEW_FINGERPRINT_SIZE])
{
    struct dbk_sha256 hash;
    uint8_t digest[DBK_SHA256_SIZE];
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, definition->sql);
    dbk_sha256_final(&hash, digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        (void)snprintf(text_out + 2 * i, 3, "%02x", digest[i]);
}

/* Appends a name to a list in the arena. */
static int push(struct dbk_arena *arena, const char *const **list, size_t *count, const char *name)
{
    const char **grown = dbk_arena_alloc(arena, (*count + 1) * sizeof(*grown));
    char *copy = dbk_arena_format(arena, "%s", name);
    if (grown == NULL || copy == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < *count; i++)
        grown[i] = (*list)[i];
    grown[(*count)++] = copy;
    *list = grown;
    return DBK_OK;
}

/* The models and views of the same database whose names the SELECT has. */
static int find_sources(struct dbk_views *views, struct view *view,
                        const struct dbk_model_definition *models, size_t model_count,
                        struct dbk_error *err)
{
    struct dbk_slice select = dbk_view_select(&view->definition);
    struct dbk_view_source *source = &view->source;
    int rc = DBK_OK;
    for (size_t i = 0; i < model_count && rc == DBK_OK; i++) {
        const char **tables = NULL;
        size_t table_count = 0;
        if (strcmp(models[i].database_path, view->definition.database_path) != 0)
            continue;
        rc = dbk_model_tables(&models[i], &views->arena, &tables, &table_count, err);
        for (size_t j = 0; j < table_count && rc == DBK_OK; j++) {
            if (!dbk_sql_names(select, tables[j]))
                continue;
            rc = push(&views->arena, &source->models, &source->model_count, models[i].name);
            break;
        }
    }
    for (size_t i = 0; i < views->count && rc == DBK_OK; i++) {
        struct view *other = &views->views[i];
        if (strcmp(other->definition.database, view->definition.database) != 0)
            continue;
        if (dbk_sql_names(select, other->definition.name))
            rc = push(&views->arena, &source->views, &source->view_count, other->definition.name);
        if (rc == DBK_OK &&
            dbk_sql_names(dbk_view_select(&other->definition), view->definition.name))
            rc = push(&views->arena, &other->source.views, &other->source.view_count,
                      view->definition.name);
    }
    return rc;
}

/* True when a view is refreshed so often that its connection is worth keeping. */
static bool is_frequent(const struct dbk_view_definition *definition)
{
    return definition->schedule.kind == DBK_SCHEDULE_CONTINUOUS ||
           (definition->schedule.kind == DBK_SCHEDULE_EVERY &&
            definition->schedule.period_us <= KEEP_US_MAX);
}

int dbk_views_add(struct dbk_views *views, const struct dbk_view_definition *definition,
                  const struct dbk_model_definition *models, size_t model_count, bool writer,
                  struct dbk_error *err)
{
    struct view *grown = dbk_realloc(views->views, (views->count + 1) * sizeof(*grown));
    if (grown == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "view %s: %s", definition->name,
                             dbk_code_text(DBK_ENOMEM));
    views->views = grown;
    struct view *view = &grown[views->count];
    *view = (struct view){0};
    int rc = dbk_view_definition_copy(&views->arena, definition, &view->definition);
    if (rc == DBK_OK) {
        fingerprint(&view->definition, view->fingerprint);
        rc = find_sources(views, view, models, model_count, err);
    }
    if (rc == DBK_ENOMEM)
        return dbk_error_set(err, rc, "view %s: %s", definition->name, dbk_code_text(rc));
    if (rc == DBK_OK)
        rc = dbk_view_home_of(definition->database_path, &view->home, err);
    /* A server is cleaned with the next refresh: it may be down. */
    if (rc == DBK_OK && writer && !view->home->remote)
        rc = view->home->clean(&view->definition, err);
    if (rc == DBK_OK && writer && is_frequent(definition))
        rc = view->home->session_open(&view->session, err);
    if (rc == DBK_OK)
        views->count++;
    return rc;
}

/* The names of the views that lie in a database. */
static size_t names_in(void *context, const char *address, const char **names)
{
    const struct dbk_views *views = context;
    size_t count = 0;
    for (size_t i = 0; i < views->count; i++) {
        if (strcmp(views->views[i].definition.database_path, address) == 0)
            names[count++] = views->views[i].definition.name;
    }
    return count;
}

int dbk_views_settle(struct dbk_views *views, const char *database_path, struct dbk_error *err)
{
    return dbk_view_settle(&views->remotes, database_path, views->count, names_in, views,
                           &views->arena, err);
}

/* The names that there are, for a did-you-mean. */
int dbk_views_find(struct dbk_views *views, const char *name, size_t *index_out,
                   struct dbk_error *err)
{
    for (size_t i = 0; i < views->count; i++) {
        if (strcmp(views->views[i].definition.name, name) == 0) {
            *index_out = i;
            return DBK_OK;
        }
    }
    const char *closest = NULL;
    const char **candidates = dbk_alloc_zero(views->count + 1, sizeof(*candidates));
    for (size_t i = 0; candidates != NULL && i < views->count; i++)
        candidates[i] = views->views[i].definition.name;
    if (candidates != NULL)
        closest = dbk_closest_name(name, candidates, views->count);
    dbk_free(candidates);
    if (closest != NULL)
        return dbk_error_set(err, DBK_ENOTFOUND, "no view is named %s; did you mean %s?", name,
                             closest);
    return dbk_error_set(err, DBK_ENOTFOUND, "no view is named %s", name);
}

/* Waits for the models the view reads, then refreshes. Without the mutex. */
static int refresh_view(struct dbk_views *views, const struct view *view, uint64_t after,
                        dbk_progress_fn progress, void *context, struct dbk_error *err)
{
    uint64_t wanted = after != 0 ? after : dbk_store_last_position(views->store);
    for (size_t i = 0; after != DBK_VIEW_AS_IT_IS && i < view->source.model_count; i++) {
        int rc = dbk_models_wait(views->models, view->source.models[i], wanted, WAIT_US, err);
        if (rc < 0)
            return rc;
    }
    const struct dbk_view_refresh refresh = {.definition = &view->definition,
                                             .source = &view->source,
                                             .fingerprint = view->fingerprint,
                                             .store = views->store,
                                             .os = views->os,
                                             .progress = progress,
                                             .context = context,
                                             .session = view->session};
    return view->home->refresh(&refresh, err);
}

int dbk_views_refresh(struct dbk_views *views, const char *name, uint64_t after,
                      dbk_progress_fn progress, void *context, struct dbk_error *err)
{
    size_t index = 0;
    struct dbk_error outcome = {0};
    int rc = dbk_views_find(views, name, &index, err);
    if (rc < 0)
        return rc;
    struct view *view = &views->views[index];
    (void)pthread_mutex_lock(&views->mutex);
    if (view->refreshing) {
        uint64_t runs = view->runs;
        while (view->runs == runs)
            (void)pthread_cond_wait(&views->changed, &views->mutex);
        outcome = view->outcome;
        (void)pthread_mutex_unlock(&views->mutex);
    } else {
        view->refreshing = true;
        (void)pthread_mutex_unlock(&views->mutex);
        dbk_ignore(refresh_view(views, view, after, progress, context, &outcome));
        (void)pthread_mutex_lock(&views->mutex);
        view->refreshing = false;
        view->runs++;
        view->row_us = 0;
        view->outcome = outcome;
        (void)pthread_cond_broadcast(&views->changed);
        (void)pthread_mutex_unlock(&views->mutex);
    }
    return outcome.code == DBK_OK ? DBK_OK
                                  : dbk_error_set(err, outcome.code, "%s", outcome.message);
}

int dbk_views_explain(struct dbk_views *views, const char *name, bool writer, struct dbk_buf *out,
                      struct dbk_error *err)
{
    size_t index = 0;
    int rc = dbk_views_find(views, name, &index, err);
    const struct view *view = &views->views[index];
    return rc < 0 ? rc
                  : view->home->explain(&view->definition, view->fingerprint, writer, out, err);
}

int dbk_views_verify(struct dbk_views *views, const char *name, uint64_t *rows_out,
                     struct dbk_error *err)
{
    size_t index = 0;
    struct dbk_error failure = {0};
    int rc = dbk_views_find(views, name, &index, err);
    if (rc < 0)
        return rc;
    const struct view *view = &views->views[index];
    const struct dbk_view_refresh refresh = {.definition = &view->definition,
                                             .source = &view->source,
                                             .fingerprint = view->fingerprint,
                                             .store = views->store,
                                             .os = views->os};
    for (int i = 0; i < VERIFY_TRIES; i++) {
        rc = view->home->verify(&refresh, rows_out, &failure);
        if (rc != DBK_EBUSY && rc != DBK_ENOTFOUND)
            break;
        int refreshed = dbk_views_refresh(views, name, 0, NULL, NULL, err);
        if (refreshed < 0)
            return refreshed;
    }
    if (rc == DBK_ECORRUPT)
        dbk_ignore(view->home->distrust(&view->definition, &failure, NULL));
    return rc < 0 ? dbk_error_set(err, rc, "view %s: %s", name, failure.message) : rc;
}

size_t dbk_views_count(const struct dbk_views *views)
{
    return views->count;
}

static bool is_ordered(const struct dbk_views *views, const char *name, const size_t *order,
                       size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count && !found; i++)
        found = strcmp(views->views[order[i]].definition.name, name) == 0;
    return found;
}

/* Views that name each other in a circle are refused with the book. */
void dbk_views_order(const struct dbk_views *views, size_t *order_out)
{
    for (size_t count = 0; count < views->count; count++) {
        size_t next = views->count;
        for (size_t i = 0; i < views->count && next == views->count; i++) {
            const struct dbk_view_source *source = &views->views[i].source;
            bool ready = !is_ordered(views, views->views[i].definition.name, order_out, count);
            for (size_t j = 0; j < source->view_count && ready; j++)
                ready = is_ordered(views, source->views[j], order_out, count);
            next = ready ? i : next;
        }
        dbk_assert(next < views->count);
        order_out[count] = next;
    }
}

int dbk_views_checkpoint(struct dbk_views *views, struct dbk_error *err)
{
    const char *done = "";
    int rc = DBK_OK;
    for (size_t i = 0; i < views->count && rc == DBK_OK; i++) {
        const char *path = views->views[i].definition.database_path;
        struct dbk_connection *connection = NULL;
        if (strcmp(path, done) == 0)
            continue;
        done = path;
        rc = dbk_connection_open(path, 0, &connection, err);
        if (rc == DBK_OK)
            rc = dbk_connection_checkpoint(connection, err);
        dbk_connection_free(connection);
    }
    return rc;
}

static int read_row(struct dbk_views *views, struct view *view, struct dbk_view_row *row_out,
                    struct dbk_error *err)
{
    struct dbk_error failure = {0};
    if (!view->home->remote)
        return view->home->row(&view->definition, row_out, err);
    int64_t now_us = views->os->monotonic_us(views->os);
    (void)pthread_mutex_lock(&views->mutex);
    bool known = view->row_us != 0 && now_us - view->row_us < ROW_US;
    uint64_t runs = view->runs;
    *row_out = view->row;
    failure = view->row_failure;
    (void)pthread_mutex_unlock(&views->mutex);
    if (known && failure.code != DBK_OK)
        return dbk_error_set(err, failure.code, "%s", failure.message);
    if (known)
        return DBK_OK;
    failure = (struct dbk_error){0};
    int rc = view->home->row(&view->definition, row_out, &failure);
    (void)pthread_mutex_lock(&views->mutex);
    if (view->runs == runs) {
        view->row = *row_out;
        view->row_failure = failure;
        view->row_us = views->os->monotonic_us(views->os);
    }
    (void)pthread_mutex_unlock(&views->mutex);
    return rc < 0 ? dbk_error_set(err, rc, "%s", failure.message) : DBK_OK;
}

int dbk_views_status(struct dbk_views *views, size_t index, struct dbk_view_status *status_out,
                     struct dbk_error *err)
{
    dbk_assert(index < views->count);
    struct view *view = &views->views[index];
    struct dbk_view_row row;
    struct dbk_error failure = {0};
    int rc = read_row(views, view, &row, &failure);
    if (rc < 0 && !view->home->remote)
        return dbk_error_set(err, rc, "%s", failure.message);
    if (rc < 0) /* A server that is down is the view's failure, and no other's. */
        row = (struct dbk_view_row){.tried_us = views->os->now_us(views->os)};
    struct dbk_view_status status = {
        .name = view->definition.name,
        .database = view->definition.database,
        .generation = row.generation,
        .position = row.position,
        .as_of_us = row.as_of_us,
        .duration_us = row.duration_us,
        .rows = row.rows,
        .next_us = dbk_schedule_next(&view->definition.schedule, row.tried_us),
        .mode = view->definition.mode,
        .refreshed = row.refreshed,
        .changes = row.changes,
        .full_us = row.full_us,
        .incremental_us = row.incremental_us,
        .incremental_changes = row.incremental_changes,
        .changed = row.generation != 0 && strcmp(row.fingerprint, view->fingerprint) != 0,
    };
    (void)snprintf(status.reason, sizeof(status.reason), "%s", row.reason);
    if (status.next_us == DBK_TIME_MIN)
        status.next_us = views->os->now_us(views->os);
    (void)dbk_schedule_format(&view->definition.schedule, status.refresh, sizeof(status.refresh));
    if (row.error[0] != '\0')
        dbk_ignore(dbk_error_set(&status.error, DBK_ESCRIPT, "%s", row.error));
    (void)pthread_mutex_lock(&views->mutex);
    status.refreshing = view->refreshing;
    if (view->outcome.code != DBK_OK)
        status.error = view->outcome;
    if (rc < 0)
        status.error = failure;
    (void)pthread_mutex_unlock(&views->mutex);
    *status_out = status;
    return DBK_OK;
}

/* When a view is due. What it was refreshed for last counts, also by another process. */
static int64_t due_us(struct dbk_views *views, struct view *view)
{
    struct dbk_view_row row;
    if (read_row(views, view, &row, NULL) < 0)
        row.tried_us = views->os->now_us(views->os); /* Looked at again one period later. */
    return dbk_schedule_next(&view->definition.schedule, row.tried_us);
}

/* A number that changes when what a view stands on does: with each position of a model, each
   generation of one, and each refresh of a view. */
static uint64_t sources_of(struct dbk_views *views, const struct view *view)
{
    uint64_t sum = 1;
    if (view->home->remote) /* Others write there, too. */
        sum += (uint64_t)(views->os->monotonic_us(views->os) / REMOTE_LOOK_US) << 32;
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
static int64_t turn_us(struct dbk_views *views, struct view *view, int64_t now_us)
{
    int64_t turn = view->definition.schedule.kind != DBK_SCHEDULE_CONTINUOUS ? due_us(views, view)
                   : sources_of(views, view) == view->seen                   ? now_us + LOOK_US
                                                                             : now_us;
    return turn != DBK_TIME_NONE && turn < view->not_before_us ? view->not_before_us : turn;
}

/* True when a view that this one reads is due, too, and so goes first. A continuous one is nearly
   always due: it goes first once. */
static bool source_is_due(struct dbk_views *views, const struct view *view, int64_t now_us)
{
    for (size_t i = 0; i < view->source.view_count; i++) {
        size_t index = 0;
        if (dbk_views_find(views, view->source.views[i], &index, NULL) < 0)
            continue;
        struct view *source = &views->views[index];
        bool settled =
            source->definition.schedule.kind == DBK_SCHEDULE_CONTINUOUS && source->seen != 0;
        int64_t turn = settled ? DBK_TIME_NONE : turn_us(views, source, now_us);
        if (turn != DBK_TIME_NONE && turn <= now_us)
            return true;
    }
    return false;
}

/* A continuous view takes what there is, and waits for no model. */
static void take_turn(struct dbk_views *views, struct view *view)
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
        struct view *view = &views->views[i];
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
        dbk_view_remotes_settle(&views->remotes, views->os, views->count, names_in, views);
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
