/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/assert.h"
#include "base/diagnostics.h"
#include "model/state.h"

/* How often a reading process looks into a database while it waits. */
#define LOOK_US 5000

int dbk_models_open(struct dbk_store *store, struct dbk_models **models_out, struct dbk_error *err)
{
    struct dbk_models *models = dbk_alloc_zero(1, sizeof(*models));
    if (models == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening the models");
    pthread_condattr_t clock;
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&models->lock, NULL);
    (void)pthread_mutex_init(&models->forgetting, NULL);
    (void)pthread_cond_init(&models->moved, &clock);
    (void)pthread_condattr_destroy(&clock);
    models->store = store;
    dbk_unstored_init(&models->ahead);
    (void)pthread_mutex_init(&models->telling, NULL);
    atomic_init(&models->owed, 0);
    atomic_init(&models->told, 0);
    models->since_us = dbk_model_now_us();
    *models_out = models;
    return DBK_OK;
}

static void free_session(struct dbk_session *session)
{
    if (session == NULL)
        return;
    dbk_connection_free(session->connection);
    dbk_free(session->path);
    dbk_free(session);
}

static void free_model(struct dbk_model *model)
{
    dbk_model_close(model);
    dbk_letters_free(model->letters);
    dbk_generation_release(&model->serving);
    dbk_arena_release(&model->arena);
    dbk_trail_release(&model->applied);
    dbk_trail_release(&model->seen);
    (void)pthread_mutex_destroy(&model->work);
    (void)pthread_mutex_destroy(&model->retrying);
    dbk_free(model);
}

void dbk_models_free(struct dbk_models *models)
{
    if (models == NULL)
        return;
    (void)pthread_mutex_lock(&models->lock);
    models->stop = true;
    (void)pthread_cond_broadcast(&models->moved);
    (void)pthread_mutex_unlock(&models->lock);
    if (models->started)
        dbk_store_set_participant(models->store, NULL);
    dbk_store_wake(models->store);
    for (size_t i = 0; i < models->count; i++) {
        struct dbk_model *model = models->items[i];
        (void)pthread_mutex_lock(&models->lock);
        if (model->thread_runs && model->session != NULL)
            dbk_connection_interrupt(model->session->connection);
        (void)pthread_mutex_unlock(&models->lock);
        dbk_runner_stop(model);
    }
    for (size_t i = 0; i < models->count; i++)
        free_model(models->items[i]);
    for (struct dbk_session *session = models->sessions, *next; session != NULL; session = next) {
        next = session->next;
        free_session(session);
    }
    dbk_store_end_lens(models->store, &models->lens);
    dbk_free((void *)models->items);
    dbk_unstored_release(&models->ahead);
    (void)pthread_mutex_destroy(&models->lock);
    (void)pthread_mutex_destroy(&models->forgetting);
    (void)pthread_mutex_destroy(&models->telling);
    (void)pthread_cond_destroy(&models->moved);
    dbk_free(models);
}

/* A copy of the book's definition by way of its text, which is also what is fingerprinted. */
static int copy_definition(struct dbk_model *model, const struct dbk_model_definition *definition,
                           struct dbk_error *err)
{
    struct dbk_buf text;
    struct dbk_model_definition *copy = &model->definition;
    dbk_buf_init(&text, DBK_DEFINITION_SIZE_MAX);
    copy->name = dbk_arena_copy(&model->arena, dbk_slice_of(definition->name)).data;
    copy->database = dbk_arena_copy(&model->arena, dbk_slice_of(definition->database)).data;
    copy->database_path =
        dbk_arena_copy(&model->arena, dbk_slice_of(definition->database_path)).data;
    int rc = copy->name == NULL || copy->database == NULL || copy->database_path == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory adding a model")
                 : dbk_definition_encode(definition, &text, err);
    if (rc == DBK_OK)
        rc = dbk_definition_decode(dbk_buf_slice(&text), &model->arena, copy, err);
    if (rc == DBK_OK)
        dbk_definition_fingerprint(dbk_buf_slice(&text), model->fingerprint);
    copy->max_lag_us = definition->max_lag_us;
    copy->refuse_stale = definition->refuse_stale;
    copy->set_aside = definition->set_aside;
    dbk_buf_release(&text);
    return rc;
}

int dbk_model_open_session(struct dbk_model *model, struct dbk_error *err)
{
    bool shared = model->sync == DBK_SYNC_TRANSACTION;
    const char *path = model->definition.database_path;
    for (struct dbk_session *at = model->models->sessions; shared && at != NULL; at = at->next) {
        if (strcmp(at->path, path) == 0) {
            model->session = at;
            return DBK_OK;
        }
    }
    struct dbk_session *session = dbk_alloc_zero(1, sizeof(*session));
    if (session == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", path);
    session->path = dbk_copy_text(dbk_slice_of(path));
    int rc = session->path == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", path)
                 : dbk_connection_open(path, DBK_CONNECT_HANDLERS, &session->connection, err);
    if (rc < 0) {
        free_session(session);
        return rc;
    }
    dbk_connection_limit_us(session->connection, DBK_POST_LIMIT_US);
    (void)pthread_mutex_lock(&model->models->lock);
    if (shared) {
        session->next = model->models->sessions;
        model->models->sessions = session;
    }
    model->session = session;
    (void)pthread_mutex_unlock(&model->models->lock);
    return DBK_OK;
}

int dbk_model_open_serving(struct dbk_model *model, struct dbk_error *err)
{
    const struct dbk_generation *serving = &model->serving;
    int rc = dbk_poster_open(model->session->connection, &serving->definition, serving->renames,
                             serving->object_count, &model->poster, NULL, err);
    if (rc == DBK_OK)
        rc = dbk_poster_read_by(model->poster, model->models->store, model->models->folds, 0, err);
    if (rc == DBK_OK)
        rc = dbk_post_set_position(model->session->connection, model->definition.name,
                                   serving->number, &model->set_position, err);
    if (rc == DBK_OK)
        rc = dbk_post_fence(model->session->connection, model->definition.name, serving->number,
                            &model->fence, err);
    return rc;
}

void dbk_model_close_serving(struct dbk_model *model)
{
    dbk_poster_free(model->poster);
    dbk_statement_free(model->set_position);
    dbk_statement_free(model->fence);
    model->poster = NULL;
    model->set_position = NULL;
    model->fence = NULL;
}

void dbk_model_close(struct dbk_model *model)
{
    dbk_model_close_serving(model);
    if (model->sync == DBK_SYNC_EVENTS) {
        (void)pthread_mutex_lock(&model->models->lock);
        free_session(model->session);
        model->session = NULL;
        (void)pthread_mutex_unlock(&model->models->lock);
    }
    model->opened = false;
}

/* Generation 1 is made when there is none. */
static int find_serving(struct dbk_model *model, struct dbk_generation *serving,
                        struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    int rc = dbk_connection_open(model->definition.database_path, DBK_CONNECT_HANDLERS, &connection,
                                 err);
    if (rc == DBK_OK)
        rc = dbk_generation_catalog(connection, err);
    if (rc == DBK_OK)
        rc = dbk_generation_find(connection, &model->definition, true, serving, err);
    if (rc == DBK_OK && serving->number == 0) {
        rc = dbk_letters_begin(model->letters, 1, err);
        if (rc == DBK_OK)
            rc = dbk_generation_create(connection, &model->definition, 1, true,
                                       dbk_store_last_position(model->models->store), err);
        if (rc == DBK_OK)
            rc = dbk_generation_find(connection, &model->definition, true, serving, err);
    }
    dbk_connection_free(connection);
    uint64_t last = dbk_store_last_position(model->models->store);
    if (rc == DBK_OK && serving->position > last)
        rc = dbk_error_set(err, DBK_ECORRUPT,
                           "model %s is at position %" PRIu64 " of a log that ends at %" PRIu64
                           ": the database %s belongs to another book, or the log was cut",
                           model->definition.name, serving->position, last,
                           model->definition.database);
    return rc;
}

static int find_mode(struct dbk_model *model, struct dbk_error *err)
{
    const char *mode = NULL;
    int rc = dbk_connection_mode(model->session->connection, &mode, err);
    (void)pthread_mutex_lock(&model->models->lock);
    model->mode = rc == DBK_OK ? mode : NULL;
    (void)pthread_mutex_unlock(&model->models->lock);
    return rc;
}

int dbk_model_open(struct dbk_model *model, struct dbk_error *err)
{
    struct dbk_generation serving;
    dbk_generation_init(&serving);
    int rc = find_serving(model, &serving, err);
    if (rc < 0) {
        dbk_generation_release(&serving);
        return rc;
    }
    (void)pthread_mutex_lock(&model->models->lock);
    dbk_generation_release(&model->serving);
    model->serving = serving;
    model->sync = serving.definition.sync;
    model->position = serving.position;
    if (!model->begun)
        model->position_begun = serving.position;
    model->begun = true;
    (void)pthread_mutex_unlock(&model->models->lock);
    rc = dbk_model_open_session(model, err);
    if (rc == DBK_OK)
        rc = find_mode(model, err);
    if (rc == DBK_OK)
        rc = dbk_letters_open(model->letters, &model->serving, model->session->connection, err);
    if (rc == DBK_OK)
        rc = dbk_model_open_serving(model, err);
    if (rc < 0)
        dbk_model_close(model);
    model->opened = rc == DBK_OK;
    return rc;
}

/* What a reading process finds in the database now. */
static int look(struct dbk_model *model, struct dbk_generation *serving, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    bool there = false;
    int rc =
        dbk_connection_open(model->definition.database_path, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_ENOTFOUND)
        return DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_generation_has_catalog(connection, &there, err);
    if (rc == DBK_OK && there)
        rc = dbk_generation_find(connection, &model->definition, true, serving, err);
    dbk_connection_free(connection);
    return rc;
}

static int keep(struct dbk_models *models, struct dbk_model *model, struct dbk_error *err)
{
    struct dbk_model **items =
        dbk_realloc((void *)models->items, (models->count + 1) * sizeof(struct dbk_model *));
    if (items == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory adding a model");
    models->items = items;
    models->items[models->count++] = model;
    return DBK_OK;
}

int dbk_models_add(struct dbk_models *models, const struct dbk_model_definition *definition,
                   bool writer, struct dbk_error *err)
{
    struct dbk_model *model = dbk_alloc_zero(1, sizeof(*model));
    if (model == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory adding a model");
    model->models = models;
    model->writer = writer;
    model->made.since_us = models->since_us;
    dbk_arena_init(&model->arena, DBK_DEFINITION_SIZE_MAX);
    dbk_generation_init(&model->serving);
    (void)pthread_mutex_init(&model->work, NULL);
    (void)pthread_mutex_init(&model->retrying, NULL);
    model->said = definition->sync;
    model->sync = definition->sync == DBK_SYNC_TRANSACTION ? DBK_SYNC_TRANSACTION : DBK_SYNC_EVENTS;
    int rc = copy_definition(model, definition, err);
    if (rc == DBK_OK && writer)
        rc = dbk_letters_create(model, &model->letters, err);
    if (rc == DBK_OK && writer) {
        struct dbk_error failure = {0};
        rc = dbk_model_open(model, &failure);
        if (rc == DBK_ECONNECT) {
            model->error = failure; /* its runner tries again */
            rc = DBK_OK;
        } else if (rc < 0 && err != NULL) {
            *err = failure;
        }
    }
    if (rc == DBK_OK)
        rc = keep(models, model, err);
    if (rc < 0)
        free_model(model);
    return rc;
}

int dbk_models_start(struct dbk_models *models, struct dbk_error *err)
{
    bool transaction = false;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < models->count; i++) {
        struct dbk_model *model = models->items[i];
        if (model->sync == DBK_SYNC_TRANSACTION) {
            transaction = true;
            int caught_up = dbk_model_catch_up(model, err);
            /* One that stopped says so to every reader, and refuses appends; the rest goes on. */
            rc = caught_up < 0 && !model->stopped ? caught_up : DBK_OK;
        } else {
            rc = dbk_runner_start(model, err);
        }
    }
    if (rc < 0)
        return rc;
    models->started = true;
    if (transaction)
        dbk_store_set_participant(
            models->store,
            &(struct dbk_participant){models, dbk_participant_apply, dbk_participant_commit});
    dbk_letters_tell(models);
    return DBK_OK;
}

int64_t dbk_model_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void dbk_models_on_moved(struct dbk_models *models, void (*moved)(void *context), void *context)
{
    (void)pthread_mutex_lock(&models->lock);
    models->on_moved = moved;
    models->on_moved_context = context;
    (void)pthread_mutex_unlock(&models->lock);
}

/* With the lock. */
static void tell_moved(struct dbk_models *models)
{
    (void)pthread_cond_broadcast(&models->moved);
    if (models->on_moved != NULL)
        models->on_moved(models->on_moved_context);
}

void dbk_model_moved(struct dbk_model *model, uint64_t position, uint64_t posted)
{
    int64_t now_us = dbk_model_now_us();
    (void)pthread_mutex_lock(&model->models->lock);
    if (posted > 0)
        dbk_trail_note(&model->applied,
                       &(struct dbk_trail_step){
                           .position_min = model->position + 1,
                           .position_max = position,
                           .begun_us = model->made.begun_us == 0 ? now_us : model->made.begun_us,
                           .done_us = now_us});
    model->made.begun_us = 0;
    model->position = position;
    model->posted += posted;
    model->batches += posted > 0;
    dbk_pace_commit(&model->pace, &model->made, posted, now_us);
    model->error = (struct dbk_error){0};
    tell_moved(model->models);
    (void)pthread_mutex_unlock(&model->models->lock);
}

void dbk_model_stopped(struct dbk_model *model, const struct dbk_error *err)
{
    (void)pthread_mutex_lock(&model->models->lock);
    model->stopped = true;
    model->failures++;
    model->error = *err;
    tell_moved(model->models);
    (void)pthread_mutex_unlock(&model->models->lock);
}

void dbk_model_troubled(struct dbk_model *model, const struct dbk_error *err)
{
    (void)pthread_mutex_lock(&model->models->lock);
    model->error = *err;
    model->retries++;
    (void)pthread_mutex_unlock(&model->models->lock);
}

size_t dbk_models_count(const struct dbk_models *models)
{
    return models->count;
}

int dbk_models_find(struct dbk_models *models, const char *name, size_t *index_out,
                    struct dbk_error *err)
{
    for (size_t i = 0; i < models->count; i++) {
        if (strcmp(models->items[i]->definition.name, name) == 0) {
            *index_out = i;
            return DBK_OK;
        }
    }
    const char **names = dbk_alloc_zero(models->count + 1, sizeof(*names));
    for (size_t i = 0; names != NULL && i < models->count; i++)
        names[i] = models->items[i]->definition.name;
    const char *closest = names == NULL ? NULL : dbk_closest_name(name, names, models->count);
    dbk_free((void *)names);
    if (closest != NULL)
        return dbk_error_set(err, DBK_ENOTFOUND, "there is no model %s; did you mean %s?", name,
                             closest);
    return dbk_error_set(err, DBK_ENOTFOUND, "there is no model %s", name);
}

/* Under the lock. */
static int reached(const struct dbk_model *model, uint64_t position, struct dbk_error *err)
{
    if (model->position >= position)
        return 1;
    if (!model->stopped)
        return 0;
    return dbk_error_set(err, DBK_ESCRIPT, "%s", model->error.message);
}

static struct timespec after_us(int64_t duration_us)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t nanoseconds = now.tv_nsec + duration_us % 1000000 * 1000;
    now.tv_sec += duration_us / 1000000 + nanoseconds / 1000000000;
    now.tv_nsec = nanoseconds % 1000000000;
    return now;
}

static int too_late(const struct dbk_model *model, uint64_t position, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ETIMEOUT,
                         "model %s has got to position %" PRIu64 ", not yet to %" PRIu64,
                         model->definition.name, model->position, position);
}

static int wait_here(struct dbk_model *model, uint64_t position, int64_t timeout_us,
                     struct dbk_error *err)
{
    struct timespec end = after_us(timeout_us);
    struct dbk_models *models = model->models;
    int rc = 0;
    int waited = 0;
    (void)pthread_mutex_lock(&models->lock);
    while ((rc = reached(model, position, err)) == 0 && waited == 0 && timeout_us > 0 &&
           !models->stop)
        waited = pthread_cond_timedwait(&models->moved, &models->lock, &end);
    if (rc == 0)
        rc = reached(model, position, err);
    if (rc == 0)
        rc = too_late(model, position, err);
    (void)pthread_mutex_unlock(&models->lock);
    return rc < 0 ? rc : DBK_OK;
}

static int wait_elsewhere(struct dbk_model *model, uint64_t position, int64_t timeout_us,
                          struct dbk_error *err)
{
    for (int64_t left_us = timeout_us;; left_us -= LOOK_US) {
        struct dbk_generation serving;
        dbk_generation_init(&serving);
        int rc = look(model, &serving, err);
        uint64_t there = serving.position;
        dbk_generation_release(&serving);
        if (rc < 0)
            return rc;
        (void)pthread_mutex_lock(&model->models->lock);
        model->position = there;
        (void)pthread_mutex_unlock(&model->models->lock);
        if (there >= position)
            return DBK_OK;
        if (left_us <= 0)
            return too_late(model, position, err);
        (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_US * 1000}, NULL);
    }
}

int dbk_models_wait(struct dbk_models *models, const char *name, uint64_t position,
                    int64_t timeout_us, struct dbk_error *err)
{
    size_t index = 0;
    int rc = dbk_models_find(models, name, &index, err);
    if (rc < 0)
        return rc;
    struct dbk_model *model = models->items[index];
    return model->writer ? wait_here(model, position, timeout_us, err)
                         : wait_elsewhere(model, position, timeout_us, err);
}

/* The event at a position, or the first behind it: its place and when it was recorded. 0: none. */
static int look_at(struct dbk_models *models, uint64_t position, uint64_t *position_out,
                   int64_t *time_us_out, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    int rc = dbk_cursor_open(
        models->store, &(struct dbk_filter){.position_min = position, .raw = true, .hidden = true},
        &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1) {
        *position_out = event.position;
        *time_us_out = event.time_us;
    }
    dbk_cursor_free(cursor);
    return rc;
}

int dbk_models_lag(struct dbk_models *models, uint64_t position, uint64_t *events_out,
                   int64_t *lag_us_out, struct dbk_error *err)
{
    uint64_t last = dbk_store_last_position(models->store);
    uint64_t there = 0;
    int64_t time_us = 0;
    int rc = last > position ? look_at(models, position + 1, &there, &time_us, err) : 0;
    if (rc < 0)
        return rc;
    int64_t now_us = dbk_model_now_us();
    *events_out = last > position ? last - position : 0;
    *lag_us_out = rc == 1 && now_us > time_us ? now_us - time_us : 0;
    return DBK_OK;
}

/* How old what the model lacks is, and when its last event was recorded. */
static int measure_lag(struct dbk_models *models, struct dbk_model_status *status,
                       struct dbk_error *err)
{
    uint64_t there = 0;
    int64_t time_us = 0;
    int rc = status->position == 0 ? 0 : look_at(models, status->position, &there, &time_us, err);
    if (rc < 0)
        return rc;
    if (rc == 1 && there == status->position)
        status->position_time_us = time_us;
    rc = dbk_models_lag(models, status->position, &status->lag_events, &status->lag_us, err);
    status->late = rc == DBK_OK && status->max_lag_us != 0 && status->lag_us > status->max_lag_us;
    return rc;
}

int dbk_models_status(struct dbk_models *models, size_t index, struct dbk_model_status *status_out,
                      struct dbk_error *err)
{
    struct dbk_model *model = models->items[index];
    struct dbk_generation seen;
    struct dbk_model_status status = {.name = model->definition.name,
                                      .max_lag_us = model->definition.max_lag_us,
                                      .database = model->definition.database};
    struct dbk_error unreached = {0};
    dbk_generation_init(&seen);
    int rc = model->writer ? DBK_OK : look(model, &seen, &unreached);
    if (rc == DBK_ECONNECT)
        rc = DBK_OK;
    else if (rc < 0 && err != NULL)
        *err = unreached;
    (void)pthread_mutex_lock(&models->lock);
    const struct dbk_generation *serving = model->writer ? &model->serving : &seen;
    status.sync = model->sync == DBK_SYNC_TRANSACTION || model->said == DBK_SYNC_TRANSACTION
                      ? model->sync
                      : model->said;
    status.generation = serving->number;
    status.position = model->writer ? model->position : seen.position;
    status.mode = model->mode;
    status.stopped = model->stopped;
    status.changed = serving->number != 0 && strcmp(serving->fingerprint, model->fingerprint) != 0;
    status.rebuild_generation = model->rebuilding ? model->rebuild_generation : 0;
    status.rebuild_position = model->rebuilding ? model->rebuild_position : 0;
    status.events_posted = model->posted;
    status.batches = model->batches;
    status.failures = model->failures;
    if (model->letters != NULL) {
        status.failures += dbk_letters_kept(model->letters);
        status.letters = dbk_letters_waiting(model->letters);
    }
    status.set_aside = model->definition.set_aside;
    status.retries = model->retries;
    status.visible_count = model->pace.count;
    status.visible_sum_us = model->pace.sum_us;
    status.visible_p50_us = dbk_pace_quantile_us(&model->pace, 500);
    status.visible_p99_us = dbk_pace_quantile_us(&model->pace, 990);
    status.visible_max_us = model->pace.max_us;
    status.events_per_second = dbk_pace_rate(&model->pace, dbk_model_now_us());
    status.error = model->writer ? model->error : unreached;
    (void)pthread_mutex_unlock(&models->lock);
    dbk_generation_release(&seen);
    if (rc == DBK_OK && !model->writer)
        rc = dbk_letters_count(models, &status, err);
    if (rc == DBK_OK)
        rc = measure_lag(models, &status, err);
    if (rc == DBK_OK)
        *status_out = status;
    return rc;
}
