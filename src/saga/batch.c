/* SPDX-License-Identifier: Apache-2.0 */
/* One input becomes the next record of its instance, and a batch of them one append. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "saga/state.h"

#define INPUTS_MAX 512
#define EVENTS_MAX 4096
/* Of its arena, whose ceiling is some times that. */
#define SIZE_FULL ((size_t)64 << 20)

static int no_memory(const struct dbk_saga *saga, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory running saga %s", saga->name);
}

int64_t dbk_saga_now_us(const struct dbk_saga *saga)
{
    return saga->sagas->options.os->now_us(saga->sagas->options.os);
}

int dbk_saga_batch_begin(struct dbk_saga *saga, struct dbk_error *err)
{
    struct dbk_saga_batch *batch = &saga->batch;
    dbk_arena_reset(&batch->arena);
    batch->count = batch->expectation_count = batch->inputs = batch->touched_count = 0;
    batch->taken = NULL;
    batch->jobs = NULL;
    if (batch->events != NULL)
        return DBK_OK;
    batch->capacity = EVENTS_MAX;
    batch->events = dbk_alloc_zero(EVENTS_MAX, sizeof(*batch->events));
    batch->expectations = dbk_alloc_zero(INPUTS_MAX, sizeof(*batch->expectations));
    batch->touched = dbk_alloc_zero(INPUTS_MAX, sizeof(*batch->touched));
    return batch->events == NULL || batch->expectations == NULL || batch->touched == NULL
               ? no_memory(saga, err)
               : DBK_OK;
}

bool dbk_saga_batch_large(const struct dbk_saga *saga)
{
    return saga->batch.arena.used > SIZE_FULL;
}

bool dbk_saga_batch_full(const struct dbk_saga *saga)
{
    const struct dbk_saga_batch *batch = &saga->batch;
    size_t events_max = saga->sagas->options.batch_count_max / 2;
    if (saga->single > 0 && batch->inputs > 0)
        return true;
    return batch->inputs >= INPUTS_MAX || batch->count >= EVENTS_MAX / 2 ||
           batch->count >= events_max || (batch->inputs > 0 && dbk_saga_batch_large(saga));
}

static int add_event(struct dbk_saga *saga, const struct dbk_new_event *event,
                     struct dbk_error *err)
{
    struct dbk_saga_batch *batch = &saga->batch;
    if (batch->count == batch->capacity) {
        struct dbk_new_event *more =
            dbk_realloc(batch->events, 2 * batch->capacity * sizeof(*more));
        if (more == NULL)
            return no_memory(saga, err);
        batch->events = more;
        batch->capacity *= 2;
    }
    batch->events[batch->count++] = *event;
    return DBK_OK;
}

/* ---- Names and ids ---- */

static struct dbk_slice stream_of(struct dbk_saga *saga, const struct dbk_saga_instance *instance)
{
    return dbk_slice_of(dbk_arena_format(&saga->batch.arena, "%s-%.*s", saga->category,
                                         (int)instance->id_size, instance->id));
}

static struct dbk_uuid derive(const struct dbk_saga *saga, struct dbk_slice id, const char *what,
                              const uint64_t numbers[3])
{
    char text[80];
    int size = snprintf(text, sizeof(text), "%" PRIu64 "/%" PRIu64 "/%" PRIu64, numbers[0],
                        numbers[1], numbers[2]);
    const struct dbk_slice parts[] = {
        dbk_slice_of(what),
        dbk_slice(dbk_store_book_id(saga->sagas->options.store)->bytes, DBK_UUID_SIZE),
        dbk_slice_of(saga->name), id, dbk_slice(text, (size_t)size)};
    return dbk_uuid_derive(parts, 5);
}

/* ---- What an instance sends ---- */

static struct dbk_slice send_meta(struct dbk_saga *saga, struct dbk_slice id,
                                  const struct dbk_saga_send *send, const char *cause)
{
    struct dbk_buf out;
    bool first = true;
    dbk_buf_init(&out, DBK_SAGA_JSON_SIZE_MAX);
    dbk_buf_append_char(&out, '{');
    dbk_json_write_key(&out, &first, "causationid");
    dbk_json_write_string(&out, dbk_slice_of(cause));
    dbk_json_write_key(&out, &first, "correlationid");
    dbk_buf_append_format(&out, "\"%s/", saga->name);
    struct dbk_buf quoted;
    dbk_buf_init(&quoted, DBK_SAGA_JSON_SIZE_MAX);
    dbk_json_write_string(&quoted, id);
    if (quoted.rc == DBK_OK) /* without its first quote */
        dbk_buf_append(&out, dbk_slice(quoted.data + 1, quoted.size - 1));
    dbk_buf_release(&quoted);
    dbk_json_write_key(&out, &first, "idempotencykey");
    dbk_json_write_string(&out, send->key);
    dbk_buf_append_char(&out, '}');
    struct dbk_slice meta = {0};
    if (out.rc == DBK_OK)
        meta = dbk_arena_copy(&saga->batch.arena, dbk_buf_slice(&out));
    dbk_buf_release(&out);
    return meta;
}

static int add_sends(struct dbk_saga *saga, const struct dbk_saga_instance *instance,
                     const struct dbk_saga_machine *machine, const struct dbk_uuid *cause,
                     struct dbk_error *err)
{
    struct dbk_slice id = dbk_slice(instance->id, instance->id_size);
    char text[DBK_UUID_TEXT_SIZE];
    int rc = DBK_OK;
    dbk_uuid_format(cause, text);
    for (size_t i = 0; rc == DBK_OK && i < machine->send_count; i++) {
        const struct dbk_saga_send *send = &machine->sends[i];
        struct dbk_new_event event = {
            .stream = send->event.stream,
            .type = send->event.type,
            .data = send->event.data,
            .tags = send->event.tags,
            .tag_count = send->event.tag_count,
            .meta = send_meta(saga, id, send, text),
            .id = derive(saga, id, "saga-send",
                         (const uint64_t[]){send->step, send->ordinal, send->index}),
            .occurred_us = DBK_TIME_NONE,
            .flags = DBK_RECORD_JSON};
        if (event.stream.size > 0 && event.stream.data[0] == '$')
            rc = dbk_error_set(err, DBK_EINVAL,
                               "step %zu sends into %.*s: streams that begin with '$' are the "
                               "book's own",
                               send->step + 1, DBK_SLICE_ARGS(event.stream));
        else
            rc = event.meta.data == NULL ? no_memory(saga, err) : add_event(saga, &event, err);
    }
    return rc;
}

/* Calls that the record has now, and had not before. */
static int add_jobs(struct dbk_saga *saga, const struct dbk_saga_instance *instance,
                    const struct dbk_saga_record *before, const struct dbk_saga_record *record,
                    const struct dbk_uuid *cause, struct dbk_error *err)
{
    for (size_t i = 0; i < record->step_count; i++) {
        const struct dbk_saga_step *step = &record->steps[i];
        bool known = i < before->step_count && before->steps[i].call.size > 0 &&
                     before->steps[i].sends == step->sends;
        if (step->call.size == 0 || known)
            continue;
        struct dbk_saga_job *job = dbk_saga_job_create(saga, instance, record, i, cause);
        if (job == NULL)
            return no_memory(saga, err);
        job->next = saga->batch.jobs;
        saga->batch.jobs = job;
    }
    return DBK_OK;
}

/* ---- One input ---- */

static bool take_lock(void *context, struct dbk_slice lock)
{
    struct dbk_saga *saga = context;
    return dbk_saga_lock_take(&saga->instances, saga->current, lock);
}

static int load_event(void *context, uint64_t position, const struct dbk_event **event_out,
                      struct dbk_error *err)
{
    struct dbk_saga *saga = context;
    struct dbk_event *event = dbk_arena_alloc(&saga->batch.arena, sizeof(*event));
    dbk_cursor_free(saga->loading);
    saga->loading = NULL;
    if (event == NULL)
        return no_memory(saga, err);
    int rc =
        dbk_cursor_open(saga->sagas->options.store,
                        &(struct dbk_filter){.position_min = position, .position_max = position},
                        &saga->loading, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(saga->loading, event, err);
    *event_out = event;
    return rc;
}

static const char *type_of(const struct dbk_saga_record *before,
                           const struct dbk_saga_record *record)
{
    static const char *const ended[] = {[DBK_SAGA_COMPLETED] = "SagaCompleted",
                                        [DBK_SAGA_COMPENSATED] = "SagaCompensated",
                                        [DBK_SAGA_DROPPED] = "SagaDropped"};
    if (!dbk_saga_is_open(record))
        return ended[record->status];
    if (dbk_saga_is_parked(record))
        return dbk_saga_is_parked(before) ? "SagaWaited" : "SagaParked";
    if (before->status != DBK_SAGA_RUNNING && record->status == DBK_SAGA_RUNNING)
        return "SagaStarted";
    if (before->status != record->status && record->status == DBK_SAGA_COMPENSATING)
        return "SagaCompensating";
    return record->status == DBK_SAGA_WAITING ? "SagaWaited" : "SagaMoved";
}

static void count_ended(struct dbk_saga *saga, const struct dbk_saga_record *record)
{
    saga->completed += record->status == DBK_SAGA_COMPLETED ? 1 : 0;
    saga->compensated += record->status == DBK_SAGA_COMPENSATED ? 1 : 0;
    saga->dropped += record->status == DBK_SAGA_DROPPED ? 1 : 0;
}

/* The record becomes the newest event of its instance, with all that goes with it. */
static int add_record(struct dbk_saga *saga, struct dbk_saga_instance *instance,
                      const struct dbk_saga_record *before, const struct dbk_saga_record *record,
                      const struct dbk_saga_machine *machine, struct dbk_error *err)
{
    struct dbk_saga_batch *batch = &saga->batch;
    struct dbk_slice stream = stream_of(saga, instance);
    struct dbk_slice id = dbk_slice(instance->id, instance->id_size);
    struct dbk_buf text;
    dbk_buf_init(&text, DBK_SAGA_JSON_SIZE_MAX);
    dbk_saga_record_write(record, machine->on, &text);
    struct dbk_slice data =
        text.rc < 0 ? (struct dbk_slice){0} : dbk_arena_copy(&batch->arena, dbk_buf_slice(&text));
    dbk_buf_release(&text);
    if (stream.data == NULL || data.data == NULL)
        return no_memory(saga, err);
    struct dbk_new_event event = {
        .stream = stream,
        .type = dbk_slice_of(type_of(before, record)),
        .data = data,
        .id = derive(saga, id, "saga-record", (const uint64_t[]){instance->version + 1, 0, 0}),
        .occurred_us = DBK_TIME_NONE,
        .flags = DBK_RECORD_JSON};
    size_t at = 0;
    while (at < batch->touched_count && batch->touched[at] != instance)
        at++;
    if (at == batch->touched_count) {
        batch->touched[batch->touched_count++] = instance;
        batch->expectations[batch->expectation_count++] =
            (struct dbk_expectation){stream, (int64_t)instance->version};
    }
    int rc = add_event(saga, &event, err);
    if (rc == DBK_OK)
        rc = add_sends(saga, instance, machine, &event.id, err);
    if (rc == DBK_OK)
        rc = add_jobs(saga, instance, before, record, &event.id, err);
    if (rc == DBK_OK &&
        dbk_saga_instance_set(&saga->instances, instance, instance->version + 1, record, data) < 0)
        rc = no_memory(saga, err);
    return rc;
}

static int read_record(struct dbk_saga *saga, const struct dbk_saga_instance *instance,
                       struct dbk_saga_record *record_out, struct dbk_error *err)
{
    *record_out = (struct dbk_saga_record){0};
    return instance->text == NULL
               ? DBK_OK
               : dbk_saga_record_read(saga->json, dbk_slice(instance->text, instance->text_size),
                                      &saga->batch.arena, record_out, err);
}

/* Applies an input; one that the file cannot take parks the instance. 1: there is a next record. */
static int make_record(struct dbk_saga *saga, struct dbk_saga_machine *machine,
                       struct dbk_saga_record *record, const struct dbk_saga_input *input,
                       const struct dbk_error *park, struct dbk_error *err)
{
    struct dbk_error why = {0};
    if (park != NULL)
        why = *park;
    int rc = park != NULL ? park->code : dbk_saga_apply(machine, record, input, &why);
    bool asked = input->kind == DBK_SAGA_RETRY || input->kind == DBK_SAGA_CANCEL;
    if (rc >= 0)
        return rc;
    if (rc == DBK_ENOMEM || (rc == DBK_EINVAL && asked)) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    if (park == NULL) {
        /* It may have left anything behind. */
        dbk_saga_script_free(saga->script);
        saga->script = NULL;
        rc = dbk_saga_open_script(saga, err);
        machine->script = saga->script;
    } else {
        rc = DBK_OK;
    }
    if (rc == DBK_OK)
        rc = read_record(saga, saga->current, record, err);
    if (rc == DBK_OK)
        rc = dbk_saga_park(machine, record, input, &why, err);
    return rc < 0 ? rc : 1;
}

int dbk_saga_take(struct dbk_saga *saga, struct dbk_slice id, const struct dbk_saga_input *input,
                  const struct dbk_error *park, struct dbk_error *err)
{
    struct dbk_saga_machine machine = {.json = saga->json,
                                       .arena = &saga->batch.arena,
                                       .now_us = dbk_saga_now_us(saga),
                                       .position = saga->read,
                                       .name = dbk_slice_of(saga->name),
                                       .take_lock = take_lock,
                                       .load = load_event,
                                       .context = saga};
    struct dbk_saga_record before;
    struct dbk_saga_record record;
    struct dbk_saga_instance *instance = dbk_saga_instance_find(&saga->instances, id);
    bool added = instance == NULL;
    if (added)
        instance = dbk_saga_instance_add(&saga->instances, id);
    if (instance == NULL)
        return no_memory(saga, err);
    saga->current = instance;
    int rc = dbk_saga_open_script(saga, err);
    machine.script = saga->script;
    if (rc == DBK_OK)
        rc = read_record(saga, instance, &before, err);
    if (rc == DBK_OK)
        rc = read_record(saga, instance, &record, err);
    if (rc == DBK_OK)
        rc = make_record(saga, &machine, &record, input, park, err);
    if (rc > 0) {
        saga->batch.inputs++;
        rc = add_record(saga, instance, &before, &record, &machine, err);
        if (rc == DBK_OK && dbk_saga_is_open(&record) &&
            dbk_saga_settle_locks(saga, instance, &record) < 0)
            rc = no_memory(saga, err);
        if (rc == DBK_OK && !dbk_saga_is_open(&record)) {
            count_ended(saga, &record);
            if (dbk_saga_release_locks(saga, instance, &record) < 0)
                rc = no_memory(saga, err);
        }
        return rc;
    }
    if (added && instance->text == NULL)
        dbk_saga_instance_remove(&saga->instances, instance);
    return rc;
}

/* ---- The whole batch ---- */

static void forget_jobs(struct dbk_saga_batch *batch)
{
    for (struct dbk_saga_job *job = batch->jobs, *next; job != NULL; job = next) {
        next = job->next;
        dbk_saga_job_free(job);
    }
    batch->jobs = NULL;
}

void dbk_saga_batch_drop(struct dbk_saga *saga)
{
    struct dbk_saga_batch *batch = &saga->batch;
    forget_jobs(batch);
    (void)pthread_mutex_lock(&saga->done_lock);
    for (struct dbk_saga_done *done = batch->taken, *next; done != NULL; done = next) {
        next = done->next;
        done->next = saga->done;
        if (saga->done == NULL)
            saga->done_end = &done->next;
        saga->done = done;
    }
    (void)pthread_mutex_unlock(&saga->done_lock);
    batch->taken = NULL;
    batch->count = batch->inputs = 0;
}

int dbk_saga_batch_end(struct dbk_saga *saga, struct dbk_error *err)
{
    struct dbk_saga_batch *batch = &saga->batch;
    struct dbk_append_result result = {0};
    const struct dbk_sagas_options *options = &saga->sagas->options;
    if (batch->count > 0) {
        int rc = options->append(options->context,
                                 &(struct dbk_batch){.events = batch->events,
                                                     .count = batch->count,
                                                     .expectations = batch->expectations,
                                                     .expectation_count = batch->expectation_count,
                                                     .flags = DBK_APPEND_OWN},
                                 &result, err);
        if (rc < 0)
            return rc;
        saga->own = result.last_position;
        saga->moved += batch->inputs;
    }
    for (size_t i = 0; i < batch->touched_count; i++) {
        if (batch->touched[i]->ended)
            dbk_saga_instance_remove(&saga->instances, batch->touched[i]);
    }
    dbk_saga_queue(saga->sagas, batch->jobs);
    batch->jobs = NULL;
    for (struct dbk_saga_done *done = batch->taken, *next; done != NULL; done = next) {
        next = done->next;
        dbk_saga_done_free(done);
    }
    batch->taken = NULL;
    batch->touched_count = batch->count = batch->inputs = 0;
    return DBK_OK;
}
