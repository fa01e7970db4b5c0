/* SPDX-License-Identifier: Apache-2.0 */
/* What the book says of a saga: its newest note, and all records behind it. */
#include <inttypes.h>
#include <string.h>

#include "saga/state.h"

#define NOTE "SagaNoted"
/* With more open ones a note would be too long: the next start reads further back. */
#define NOTED_MAX 10000

static int no_memory(const struct dbk_saga *saga, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory reading saga %s", saga->name);
}

/* ---- Locks ---- */

static int grant(struct dbk_saga *saga, struct dbk_saga_instance *instance, size_t step)
{
    if (saga->grant_count == saga->grant_capacity) {
        size_t capacity = saga->grant_capacity == 0 ? 16 : saga->grant_capacity * 2;
        struct dbk_saga_grant *more = dbk_realloc(saga->grants, capacity * sizeof(*more));
        if (more == NULL)
            return DBK_ENOMEM;
        saga->grants = more;
        saga->grant_capacity = capacity;
    }
    saga->grants[saga->grant_count++] = (struct dbk_saga_grant){instance, step};
    return DBK_OK;
}

/* The step of an instance that waits for a lock: since when; 0: it waits for another. */
static int since(struct dbk_saga *saga, const struct dbk_saga_instance *instance,
                 const struct dbk_saga_lock *lock, struct dbk_arena *arena, uint64_t *since_out,
                 size_t *step_out)
{
    struct dbk_saga_record record;
    *since_out = 0;
    int rc = dbk_saga_record_read(saga->json, dbk_slice(instance->text, instance->text_size), arena,
                                  &record, NULL);
    for (size_t i = 0; rc == DBK_OK && i < record.step_count; i++) {
        const struct dbk_saga_step *step = &record.steps[i];
        if (step->phase == DBK_SAGA_WAITS &&
            dbk_slice_equal(step->lock, dbk_slice(lock->key, lock->key_size))) {
            *since_out = step->since + 1;
            *step_out = i;
            break;
        }
    }
    return rc;
}

/* A free lock goes to who has waited longest for it. */
static int choose_heir(struct dbk_saga *saga, struct dbk_saga_lock *lock)
{
    struct dbk_arena arena;
    struct dbk_saga_instance *heir = NULL;
    uint64_t longest = 0;
    size_t step = 0;
    int rc = DBK_OK;
    dbk_arena_init(&arena, DBK_SAGA_JSON_SIZE_MAX);
    for (size_t i = 0; rc == DBK_OK && i < saga->instances.count; i++) {
        struct dbk_saga_instance *instance = saga->instances.heap[i];
        uint64_t at = 0;
        size_t waits = 0;
        if (!instance->waits || instance->parked || instance->ended)
            continue;
        rc = since(saga, instance, lock, &arena, &at, &waits);
        dbk_arena_reset(&arena);
        if (rc < 0 || at == 0 ||
            (heir != NULL &&
             (at > longest || (at == longest && strcmp(instance->id, heir->id) > 0))))
            continue;
        heir = instance;
        longest = at;
        step = waits;
    }
    dbk_arena_release(&arena);
    if (rc < 0 || heir == NULL)
        return rc;
    lock->heir = heir;
    return grant(saga, heir, step);
}

int dbk_saga_settle_locks(struct dbk_saga *saga, struct dbk_saga_instance *instance,
                          const struct dbk_saga_record *record)
{
    for (size_t i = 0; i < record->step_count; i++) {
        const struct dbk_saga_step *step = &record->steps[i];
        if (step->lock.size == 0 || step->phase == DBK_SAGA_SKIPPED)
            continue;
        struct dbk_saga_lock *lock = dbk_saga_lock_of(&saga->instances, step->lock);
        if (lock == NULL)
            return DBK_ENOMEM;
        if (step->phase != DBK_SAGA_WAITS)
            lock->holder = instance;
    }
    return DBK_OK;
}

int dbk_saga_release_locks(struct dbk_saga *saga, struct dbk_saga_instance *instance,
                           const struct dbk_saga_record *record)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < record->step_count; i++) {
        if (record->steps[i].lock.size == 0)
            continue;
        struct dbk_saga_lock *lock = dbk_saga_lock_of(&saga->instances, record->steps[i].lock);
        if (lock == NULL)
            return DBK_ENOMEM;
        if (lock->holder != instance && lock->heir != instance)
            continue;
        lock->holder = lock->holder == instance ? NULL : lock->holder;
        lock->heir = NULL;
        if (lock->holder == NULL)
            rc = choose_heir(saga, lock);
    }
    return rc;
}

/* ---- Reading records ---- */

static struct dbk_slice id_of(const struct dbk_saga *saga, struct dbk_slice stream)
{
    size_t size = strlen(saga->category) + 1;
    return stream.size <= size ? (struct dbk_slice){0}
                               : dbk_slice(stream.data + size, stream.size - size);
}

static void count_ended(struct dbk_saga *saga, enum dbk_saga_status status)
{
    saga->completed += status == DBK_SAGA_COMPLETED ? 1 : 0;
    saga->compensated += status == DBK_SAGA_COMPENSATED ? 1 : 0;
    saga->dropped += status == DBK_SAGA_DROPPED ? 1 : 0;
}

/* An event of the saga's category; counted: it is behind the note. */
static int take_record(struct dbk_saga *saga, const struct dbk_event *event, bool counted,
                       struct dbk_arena *arena, struct dbk_error *err)
{
    struct dbk_saga_record record;
    struct dbk_slice id = id_of(saga, event->stream);
    int rc = dbk_saga_record_read(saga->json, event->data, arena, &record, err);
    if (rc < 0)
        return rc;
    struct dbk_saga_instance *instance = dbk_saga_instance_find(&saga->instances, id);
    if (record.read > saga->read)
        saga->read = record.read;
    if (counted) {
        saga->own = event->position;
        saga->moved++;
        if (!dbk_saga_is_open(&record))
            count_ended(saga, record.status);
    }
    if (!dbk_saga_is_open(&record)) {
        if (instance != NULL)
            dbk_saga_instance_remove(&saga->instances, instance);
        return DBK_OK;
    }
    if (instance == NULL)
        instance = dbk_saga_instance_add(&saga->instances, id);
    rc = instance == NULL ? DBK_ENOMEM
                          : dbk_saga_instance_set(&saga->instances, instance, event->version,
                                                  &record, event->data);
    return rc < 0 ? no_memory(saga, err) : DBK_OK;
}

static int read_records(struct dbk_saga *saga, const struct dbk_filter *filter, bool counted,
                        size_t limit, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_arena arena;
    struct dbk_event event;
    dbk_arena_init(&arena, DBK_SAGA_JSON_SIZE_MAX);
    int rc = dbk_cursor_open(saga->sagas->options.store, filter, &cursor, err);
    for (size_t i = 0; rc >= 0 && (limit == 0 || i < limit); i++) {
        rc = dbk_cursor_next(cursor, &event, err);
        if (rc <= 0)
            break;
        rc = take_record(saga, &event, counted, &arena, err);
        dbk_arena_reset(&arena);
    }
    dbk_cursor_free(cursor);
    dbk_arena_release(&arena);
    return rc < 0 ? rc : DBK_OK;
}

static void put_stream(const struct dbk_saga *saga, struct dbk_slice id, struct dbk_buf *stream)
{
    dbk_buf_init(stream, DBK_STREAM_SIZE_MAX + 1);
    dbk_buf_append_text(stream, saga->category);
    dbk_buf_append_char(stream, '-');
    dbk_buf_append(stream, id);
}

/* The newest record of an instance. */
static int read_instance(struct dbk_saga *saga, struct dbk_slice id, struct dbk_error *err)
{
    struct dbk_buf stream;
    put_stream(saga, id, &stream);
    int rc = stream.rc < 0 ? no_memory(saga, err)
                           : read_records(saga,
                                          &(struct dbk_filter){.stream = dbk_buf_slice(&stream),
                                                               .raw = true,
                                                               .hidden = true,
                                                               .backwards = true},
                                          false, 1, err);
    dbk_buf_release(&stream);
    return rc;
}

/* Whether a record has the call that a step of the newest one has. */
static bool has_call(const struct dbk_saga_record *record, size_t step, uint64_t sends)
{
    return step < record->step_count && record->steps[step].call.size > 0 &&
           record->steps[step].sends == sends;
}

int dbk_saga_find_cause(struct dbk_saga *saga, const struct dbk_saga_instance *instance,
                        size_t step, uint64_t sends, struct dbk_uuid *cause_out,
                        struct dbk_error *err)
{
    struct dbk_buf stream;
    struct dbk_cursor *cursor = NULL;
    struct dbk_arena arena;
    struct dbk_event event;
    bool found = false;
    dbk_arena_init(&arena, DBK_SAGA_JSON_SIZE_MAX);
    put_stream(saga, dbk_slice(instance->id, instance->id_size), &stream);
    int rc = stream.rc < 0 ? no_memory(saga, err)
                           : dbk_cursor_open(saga->sagas->options.store,
                                             &(struct dbk_filter){.stream = dbk_buf_slice(&stream),
                                                                  .raw = true,
                                                                  .hidden = true},
                                             &cursor, err);
    while (rc >= 0 && !found && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        struct dbk_saga_record record;
        rc = dbk_saga_record_read(saga->json, event.data, &arena, &record, err);
        found = rc == DBK_OK && has_call(&record, step, sends);
        *cause_out = event.id;
        dbk_arena_reset(&arena);
    }
    dbk_cursor_free(cursor);
    dbk_arena_release(&arena);
    dbk_buf_release(&stream);
    return rc < 0 ? rc : DBK_OK;
}

/* ---- Notes ---- */

static uint64_t number_of(const struct dbk_json_node *root, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(root, key);
    return node == NULL || node->kind != DBK_JSON_INTEGER || node->integer < 0
               ? 0
               : (uint64_t)node->integer;
}

/* The ids are copied: the parser reads records next. */
static int read_open(struct dbk_saga *saga, const struct dbk_json_node *root, struct dbk_error *err)
{
    const struct dbk_json_node *open = dbk_json_member(root, "open");
    struct dbk_arena arena;
    int rc = DBK_OK;
    if (open == NULL || open->kind != DBK_JSON_ARRAY)
        return dbk_error_set(err, DBK_ECORRUPT, "the note of saga %s has no sound `open`",
                             saga->name);
    size_t count = open->count;
    dbk_arena_init(&arena, DBK_SAGA_JSON_SIZE_MAX);
    struct dbk_slice *ids = dbk_arena_alloc_zero(&arena, count + 1, sizeof(*ids));
    const struct dbk_json_node *at = dbk_json_first(open);
    for (size_t i = 0; ids != NULL && i < count; i++, at = dbk_json_sibling(at))
        ids[i] =
            at->kind == DBK_JSON_STRING ? dbk_arena_copy(&arena, at->text) : (struct dbk_slice){0};
    if (ids == NULL)
        rc = no_memory(saga, err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = ids[i].data == NULL
                 ? dbk_error_set(err, DBK_ECORRUPT, "the note of saga %s has no sound `open`",
                                 saga->name)
                 : read_instance(saga, ids[i], err);
    dbk_arena_release(&arena);
    return rc;
}

int dbk_saga_noted(struct dbk_saga *saga, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    const struct dbk_json_node *root = NULL;
    int rc = dbk_cursor_open(
        saga->sagas->options.store,
        &(struct dbk_filter){
            .stream = dbk_slice_of(saga->notes), .raw = true, .hidden = true, .backwards = true},
        &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1) {
        rc = dbk_json_parse(saga->json, event.data, &root, err);
        if (rc == DBK_OK) {
            saga->read = saga->noted = number_of(root, "read");
            saga->own = number_of(root, "records");
            saga->completed = number_of(root, "completed");
            saga->compensated = number_of(root, "compensated");
            saga->dropped = number_of(root, "dropped");
            rc = read_open(saga, root, err);
        }
        rc = rc < 0 ? rc : 1;
    }
    dbk_cursor_free(cursor);
    return rc;
}

/* ---- All of it ---- */

void dbk_saga_unload(struct dbk_saga *saga)
{
    dbk_cursor_free(saga->cursor);
    dbk_cursor_free(saga->loading);
    saga->cursor = saga->loading = NULL;
    dbk_saga_instances_release(&saga->instances);
    saga->grant_count = 0;
    saga->read = saga->noted = saga->moved = saga->own = 0;
    saga->completed = saga->compensated = saga->dropped = 0;
    saga->loaded = false;
}

static int load_locks(struct dbk_saga *saga)
{
    struct dbk_arena arena;
    int rc = DBK_OK;
    dbk_arena_init(&arena, DBK_SAGA_JSON_SIZE_MAX);
    for (size_t i = 0; rc == DBK_OK && i < saga->instances.count; i++) {
        struct dbk_saga_instance *instance = saga->instances.heap[i];
        struct dbk_saga_record record;
        rc = dbk_saga_record_read(saga->json, dbk_slice(instance->text, instance->text_size),
                                  &arena, &record, NULL);
        if (rc == DBK_OK)
            rc = dbk_saga_settle_locks(saga, instance, &record);
        dbk_arena_reset(&arena);
    }
    dbk_arena_release(&arena);
    for (size_t i = 0; rc == DBK_OK && i < saga->instances.lock_bucket_count; i++) {
        for (struct dbk_saga_lock *lock = saga->instances.locks[i]; rc == DBK_OK && lock != NULL;
             lock = lock->next) {
            if (lock->holder == NULL)
                rc = choose_heir(saga, lock);
        }
    }
    return rc;
}

int dbk_saga_load(struct dbk_saga *saga, struct dbk_error *err)
{
    dbk_saga_unload(saga);
    const struct dbk_slice category = dbk_slice_of(saga->category);
    int rc = dbk_saga_noted(saga, err);
    if (rc >= 0)
        rc = read_records(saga,
                          &(struct dbk_filter){.categories = &category,
                                               .category_count = 1,
                                               .position_min = saga->own + 1,
                                               .raw = true,
                                               .hidden = true},
                          true, 0, err);
    if (rc == DBK_OK && load_locks(saga) < 0)
        rc = no_memory(saga, err);
    if (rc == DBK_OK)
        rc =
            dbk_cursor_open(saga->sagas->options.store,
                            &(struct dbk_filter){
                                .types = saga->types,
                                .type_count = dbk_saga_script_definition(saga->script)->route_count,
                                .position_min = saga->read + 1},
                            &saga->cursor, err);
    saga->loaded = rc == DBK_OK;
    return rc;
}

static void write_note(const struct dbk_saga *saga, struct dbk_buf *out)
{
    dbk_buf_append_format(out,
                          "{\"read\":%" PRIu64 ",\"records\":%" PRIu64 ",\"completed\":%" PRIu64
                          ",\"compensated\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"open\":[",
                          saga->read, saga->own, saga->completed, saga->compensated, saga->dropped);
    for (size_t i = 0; i < saga->instances.count; i++) {
        const struct dbk_saga_instance *instance = saga->instances.heap[i];
        dbk_buf_append_text(out, i == 0 ? "" : ",");
        dbk_json_write_string(out, dbk_slice(instance->id, instance->id_size));
    }
    dbk_buf_append_text(out, "]}");
}

int dbk_saga_note(struct dbk_saga *saga, struct dbk_error *err)
{
    struct dbk_buf text;
    struct dbk_append_result result;
    if (saga->instances.count > NOTED_MAX)
        return DBK_OK;
    dbk_buf_init(&text, DBK_SAGA_JSON_SIZE_MAX);
    write_note(saga, &text);
    const struct dbk_new_event event = {.stream = dbk_slice_of(saga->notes),
                                        .type = DBK_SLICE_LITERAL(NOTE),
                                        .data = dbk_buf_slice(&text),
                                        .occurred_us = DBK_TIME_NONE,
                                        .flags = DBK_RECORD_JSON};
    int rc = text.rc < 0
                 ? no_memory(saga, err)
                 : saga->sagas->options.append(
                       saga->sagas->options.context,
                       &(struct dbk_batch){.events = &event, .count = 1, .flags = DBK_APPEND_OWN},
                       &result, err);
    dbk_buf_release(&text);
    if (rc == DBK_OK) {
        saga->noted = saga->read;
        saga->moved = 0;
    }
    return rc;
}
