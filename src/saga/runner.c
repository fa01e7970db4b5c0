/* SPDX-License-Identifier: Apache-2.0 */
/* A saga's own thread: it takes what there is, stores what comes of it, and waits. */
#include <stdio.h>
#include <string.h>

#include "saga/state.h"

#define IDLE_US INT64_C(1000000)
#define TROUBLE_US INT64_C(1000000)
/* Calls under way: past them no more events are taken. */
#define CALLS_MAX 2000
/* So many records, or events read, may be read again at a start. */
#define NOTE_RECORDS 5000
#define NOTE_EVENTS 100000

/* Events looked at in one round, whether they are the saga's or not. */
#define LOOK_MAX 4096

/* True when this is the input that could not be stored: it is parked. */
static const struct dbk_error *blame_of(struct dbk_saga *saga, struct dbk_error *room)
{
    if (saga->blame.code == DBK_OK)
        return NULL;
    *room = saga->blame;
    saga->blame = (struct dbk_error){0};
    return room;
}

static int take(struct dbk_saga *saga, struct dbk_slice id, const struct dbk_saga_input *input,
                struct dbk_error *err)
{
    struct dbk_error room;
    return dbk_saga_take(saga, id, input, blame_of(saga, &room), err);
}

static struct dbk_saga_done *next_done(struct dbk_saga *saga)
{
    (void)pthread_mutex_lock(&saga->done_lock);
    struct dbk_saga_done *done = saga->done;
    if (done != NULL) {
        saga->done = done->next;
        if (saga->done == NULL)
            saga->done_end = &saga->done;
    }
    (void)pthread_mutex_unlock(&saga->done_lock);
    return done;
}

static int take_outcomes(struct dbk_saga *saga, struct dbk_error *err)
{
    int rc = DBK_OK;
    while (rc == DBK_OK && !dbk_saga_batch_full(saga)) {
        struct dbk_saga_done *done = next_done(saga);
        if (done == NULL)
            break;
        done->next = saga->batch.taken;
        saga->batch.taken = done;
        struct dbk_slice id = dbk_slice_of(done->id);
        if (dbk_saga_instance_find(&saga->instances, id) == NULL)
            continue; /* it has ended */
        rc = take(saga, id,
                  &(struct dbk_saga_input){.kind = DBK_SAGA_OUTCOME,
                                           .step = done->step,
                                           .attempt = done->attempt,
                                           .undo = done->undo,
                                           .outcome = done->outcome,
                                           .reply = dbk_slice_of(done->reply),
                                           .why = dbk_slice_of(done->why)},
                  err);
    }
    return rc;
}

static int take_grants(struct dbk_saga *saga, struct dbk_error *err)
{
    int rc = DBK_OK;
    while (rc == DBK_OK && saga->grant_count > 0 && !dbk_saga_batch_full(saga)) {
        struct dbk_saga_grant grant = saga->grants[--saga->grant_count];
        if (!grant.instance->ended)
            rc = take(saga, dbk_slice(grant.instance->id, grant.instance->id_size),
                      &(struct dbk_saga_input){.kind = DBK_SAGA_LOCK, .step = grant.step}, err);
    }
    return rc;
}

static int take_due(struct dbk_saga *saga, struct dbk_error *err)
{
    int rc = DBK_OK;
    int64_t now_us = dbk_saga_now_us(saga);
    while (rc == DBK_OK && !dbk_saga_batch_full(saga)) {
        struct dbk_saga_instance *first = dbk_saga_instance_first(&saga->instances);
        if (first == NULL || first->due_us > now_us)
            break;
        rc = take(saga, dbk_slice(first->id, first->id_size),
                  &(struct dbk_saga_input){.kind = DBK_SAGA_TIME}, err);
    }
    return rc;
}

/* Whether an event's instance is open, or may begin: one that has ended takes nothing any more. */
static int may_take(struct dbk_saga *saga, struct dbk_slice id, struct dbk_error *err)
{
    uint64_t version = 0;
    if (dbk_saga_instance_find(&saga->instances, id) != NULL)
        return 1;
    const char *stream =
        dbk_arena_format(&saga->batch.arena, "%s-%.*s", saga->category, DBK_SLICE_ARGS(id));
    if (stream == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory running saga %s", saga->name);
    int rc =
        dbk_store_stream_version(saga->sagas->options.store, dbk_slice_of(stream), &version, err);
    return rc < 0 ? rc : version == 0;
}

/* Nobody is known that could be parked: an instance of its own tells of it. */
static int park_event(struct dbk_saga *saga, const struct dbk_event *event, struct dbk_error *err)
{
    struct dbk_error why = *err;
    const char *text =
        dbk_arena_format(&saga->batch.arena, "event-%ju", (uintmax_t)event->position);
    if (text == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory running saga %s", saga->name);
    const struct dbk_slice id = dbk_slice_of(text);
    /* The failing call may have left anything behind. */
    dbk_saga_script_free(saga->script);
    saga->script = NULL;
    int rc = dbk_saga_open_script(saga, err);
    if (rc == DBK_OK)
        rc = may_take(saga, id, err);
    if (rc <= 0)
        return rc;
    const struct dbk_saga_input input = {.kind = DBK_SAGA_EVENT,
                                         .event = event,
                                         .route = dbk_saga_script_route(saga->script, event->type)};
    return dbk_saga_take(saga, id, &input, &why, err);
}

/* Who an event is of is asked of the file. */
static int take_event(struct dbk_saga *saga, const struct dbk_event *event, struct dbk_error *err)
{
    struct dbk_slice id = {0};
    const struct dbk_saga_route *route = dbk_saga_script_route(saga->script, event->type);
    if (route == NULL)
        return DBK_OK;
    int rc = dbk_saga_script_by(saga->script, route, event, &saga->batch.arena, &id, err);
    if (rc == DBK_ESCRIPT)
        return park_event(saga, event, err);
    if (rc == DBK_OK && id.data != NULL)
        rc = may_take(saga, id, err);
    if (rc <= 0 || id.data == NULL)
        return rc < 0 ? rc : DBK_OK;
    return take(saga, id,
                &(struct dbk_saga_input){.kind = DBK_SAGA_EVENT, .event = event, .route = route},
                err);
}

/* 1: there may be more. */
static int take_events(struct dbk_saga *saga, struct dbk_error *err)
{
    struct dbk_event event;
    size_t looked = 0;
    bool extended = false;
    while (!dbk_saga_batch_full(saga) && looked++ < LOOK_MAX) {
        if (saga->calls + saga->batch.inputs > CALLS_MAX)
            return 0;
        int rc = dbk_cursor_next(saga->cursor, &event, err);
        if (rc == 0) {
            saga->read = dbk_cursor_position(saga->cursor);
            if (extended)
                return 0;
            rc = dbk_cursor_extend(saga->cursor, err);
            extended = true;
        }
        if (rc == 1) {
            saga->read = event.position;
            rc = take_event(saga, &event, err);
        }
        if (rc < 0)
            return rc;
    }
    return 1;
}

/* Fills a batch and stores it. 1: there may be more. */
static int fill(struct dbk_saga *saga, struct dbk_error *err)
{
    int rc = dbk_saga_batch_begin(saga, err);
    if (rc == DBK_OK)
        rc = take_outcomes(saga, err);
    if (rc == DBK_OK)
        rc = take_grants(saga, err);
    if (rc == DBK_OK)
        rc = take_due(saga, err);
    if (rc == DBK_OK)
        rc = take_events(saga, err);
    bool more = rc == 1 || saga->batch.inputs > 0;
    if (rc < 0)
        return rc;
    rc = dbk_saga_batch_end(saga, err);
    return rc < 0 ? rc : more;
}

/* One event of a batch makes all of it be refused. */
static bool is_refusal(int rc)
{
    return rc == DBK_EINVAL || rc == DBK_ELIMIT || rc == DBK_EREFUSED || rc == DBK_EDENIED ||
           rc == DBK_ECONFLICT;
}

/* What is in memory is ahead of the book: it is read again. */
static int recover(struct dbk_saga *saga, int rc, const struct dbk_error *failure,
                   struct dbk_error *err)
{
    size_t inputs = saga->batch.inputs;
    dbk_saga_batch_drop(saga);
    if (is_refusal(rc) && saga->single > 0)
        saga->blame = *failure;
    else if (is_refusal(rc))
        saga->single = inputs + 1;
    rc = dbk_saga_open_script(saga, err);
    return rc < 0 ? rc : dbk_saga_load(saga, err);
}

static void tell(struct dbk_saga *saga, const struct dbk_error *failure)
{
    (void)snprintf(saga->trouble, sizeof(saga->trouble), "%s",
                   failure == NULL ? "" : failure->message);
}

/* A note that cannot be stored costs the next start some time, and nothing else. */
static void note(struct dbk_saga *saga)
{
    if (saga->moved < NOTE_RECORDS && saga->read < saga->noted + NOTE_EVENTS)
        return;
    if (dbk_saga_note(saga, NULL) < 0)
        saga->moved = 0;
}

/* 1: there may be more; 0: it may wait; negative: it must. */
static int step(struct dbk_saga *saga)
{
    struct dbk_error failure = {0};
    struct dbk_error err = {0};
    (void)pthread_mutex_lock(&saga->lock);
    int rc = saga->loaded ? fill(saga, &failure) : recover(saga, DBK_OK, &failure, &failure);
    if (rc == DBK_ENOMEM && dbk_saga_batch_large(saga))
        rc = dbk_error_set(&failure, DBK_ELIMIT, "saga %s: what it keeps or sends is too large",
                           saga->name);
    if (rc >= 0) {
        if (rc == 1 && saga->single > 0)
            saga->single--;
        tell(saga, NULL);
        note(saga);
    } else {
        bool refused = is_refusal(rc) && saga->loaded;
        tell(saga, &failure);
        int loaded = recover(saga, rc, &failure, &err);
        if (loaded < 0)
            tell(saga, &err);
        rc = refused && loaded == DBK_OK ? 1 : rc;
    }
    (void)pthread_mutex_unlock(&saga->lock);
    return rc;
}

static int64_t wait_us(struct dbk_saga *saga)
{
    (void)pthread_mutex_lock(&saga->lock);
    const struct dbk_saga_instance *first = dbk_saga_instance_first(&saga->instances);
    int64_t left_us = first == NULL || first->due_us == INT64_MAX
                          ? IDLE_US
                          : first->due_us - dbk_saga_now_us(saga);
    (void)pthread_mutex_unlock(&saga->lock);
    if (left_us < 0)
        return 0;
    return left_us > IDLE_US ? IDLE_US : left_us;
}

static void *run(void *context)
{
    struct dbk_saga *saga = context;
    struct dbk_store *store = saga->sagas->options.store;
    for (;;) {
        uint64_t wakes = dbk_store_wakes(store);
        uint64_t position = dbk_store_last_position(store);
        bool ends = saga->sagas->ends;
        int rc = step(saga);
        if (ends && rc <= 0)
            break;
        if (rc < 0)
            rc = dbk_store_wait(store, wakes, UINT64_MAX, TROUBLE_US, NULL);
        else if (rc == 0)
            rc = dbk_store_wait(store, wakes, position, wait_us(saga), NULL);
        if (rc < 0 && saga->sagas->ends)
            break;
    }
    (void)pthread_mutex_lock(&saga->lock);
    if (saga->loaded && (saga->moved > 0 || saga->read > saga->noted))
        dbk_ignore(dbk_saga_note(saga, NULL));
    (void)pthread_mutex_unlock(&saga->lock);
    return NULL;
}

static int add_call(struct dbk_saga *saga, const struct dbk_saga_instance *instance,
                    const struct dbk_saga_record *record, size_t step, struct dbk_saga_job **jobs,
                    struct dbk_error *err)
{
    struct dbk_uuid cause = {0};
    int rc = dbk_saga_find_cause(saga, instance, step, record->steps[step].sends, &cause, err);
    if (rc < 0)
        return rc;
    struct dbk_saga_job *job = dbk_saga_job_create(saga, instance, record, step, &cause);
    if (job == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory starting saga %s", saga->name);
    job->next = *jobs;
    *jobs = job;
    return DBK_OK;
}

/* Calls that the records say are under way: nobody makes them yet. */
static int queue_calls(struct dbk_saga *saga, struct dbk_error *err)
{
    struct dbk_arena arena;
    struct dbk_saga_job *jobs = NULL;
    int rc = DBK_OK;
    dbk_arena_init(&arena, DBK_SAGA_JSON_SIZE_MAX);
    for (size_t i = 0; rc == DBK_OK && i < saga->instances.count; i++) {
        const struct dbk_saga_instance *instance = saga->instances.heap[i];
        struct dbk_saga_record record;
        rc = dbk_saga_record_read(saga->json, dbk_slice(instance->text, instance->text_size),
                                  &arena, &record, err);
        for (size_t j = 0; rc == DBK_OK && j < record.step_count; j++) {
            if (record.steps[j].call.size > 0)
                rc = add_call(saga, instance, &record, j, &jobs, err);
        }
        dbk_arena_reset(&arena);
    }
    dbk_arena_release(&arena);
    dbk_saga_queue(saga->sagas, jobs);
    return rc;
}

int dbk_saga_run(struct dbk_saga *saga, struct dbk_error *err)
{
    (void)pthread_mutex_lock(&saga->lock);
    int rc = dbk_saga_load(saga, err);
    if (rc == DBK_OK && saga->unnoted)
        rc = dbk_saga_note(saga, err);
    if (rc == DBK_OK) {
        saga->unnoted = false;
        rc = queue_calls(saga, err);
    }
    (void)pthread_mutex_unlock(&saga->lock);
    if (rc < 0)
        return rc;
    int failure = pthread_create(&saga->thread, NULL, run, saga);
    if (failure != 0)
        return dbk_error_set_errno(err, failure, "cannot start the thread of saga %s", saga->name);
    saga->runs = true;
    return DBK_OK;
}

void dbk_saga_join(struct dbk_saga *saga)
{
    if (saga->runs)
        (void)pthread_join(saga->thread, NULL);
    saga->runs = false;
}
