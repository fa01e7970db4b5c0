/* SPDX-License-Identifier: Apache-2.0 */
/* A book's sagas: opened, listed, and asked to try again or to give up. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "saga/state.h"

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory opening sagas");
}

int dbk_sagas_open(const struct dbk_sagas_options *options, struct dbk_sagas **sagas_out,
                   struct dbk_error *err)
{
    struct dbk_sagas *sagas = dbk_alloc_zero(1, sizeof(*sagas));
    if (sagas == NULL)
        return no_memory(err);
    sagas->options = *options;
    sagas->jobs_end = &sagas->jobs;
    (void)pthread_mutex_init(&sagas->job_lock, NULL);
    (void)pthread_cond_init(&sagas->job_there, NULL);
    *sagas_out = sagas;
    return DBK_OK;
}

static void free_saga(struct dbk_saga *saga)
{
    dbk_saga_batch_drop(saga);
    dbk_saga_unload(saga);
    for (struct dbk_saga_done *done = saga->done, *next; done != NULL; done = next) {
        next = done->next;
        dbk_saga_done_free(done);
    }
    dbk_saga_script_free(saga->script);
    dbk_json_free(saga->json);
    dbk_arena_release(&saga->batch.arena);
    dbk_free(saga->batch.events);
    dbk_free(saga->batch.expectations);
    dbk_free((void *)saga->batch.touched);
    dbk_free(saga->grants);
    for (size_t i = 0; i < saga->type_count; i++)
        dbk_free((void *)(uintptr_t)saga->types[i].data);
    dbk_free(saga->types);
    dbk_free(saga->name);
    dbk_free(saga->file);
    dbk_free(saga->category);
    dbk_free(saga->notes);
    dbk_free((void *)(uintptr_t)saga->source.data);
    (void)pthread_mutex_destroy(&saga->lock);
    (void)pthread_mutex_destroy(&saga->done_lock);
    dbk_free(saga);
}

/* What was appended since the book was empty is the saga's, if nobody ran it. */
static void note_late(struct dbk_saga *saga)
{
    struct dbk_standing standing = {0};
    struct dbk_store *store = saga->sagas->options.store;
    if (saga->unnoted && dbk_store_last_position(store) > 0 &&
        dbk_store_standing(store, &standing, NULL) == DBK_OK &&
        standing.state == DBK_STANDING_OPEN && standing.version == 0)
        dbk_ignore(dbk_saga_note(saga, NULL));
}

void dbk_sagas_free(struct dbk_sagas *sagas)
{
    if (sagas == NULL)
        return;
    dbk_saga_callers_stop(sagas);
    sagas->ends = true;
    if (sagas->count > 0)
        dbk_store_wake(sagas->options.store);
    for (size_t i = 0; i < sagas->count; i++)
        dbk_saga_join(sagas->items[i]);
    for (size_t i = 0; i < sagas->count; i++)
        note_late(sagas->items[i]);
    for (size_t i = 0; i < sagas->count; i++)
        free_saga(sagas->items[i]);
    for (struct dbk_saga_job *job = sagas->jobs, *next; job != NULL; job = next) {
        next = job->next;
        dbk_saga_job_free(job);
    }
    (void)pthread_mutex_destroy(&sagas->job_lock);
    (void)pthread_cond_destroy(&sagas->job_there);
    dbk_free((void *)sagas->items);
    dbk_free(sagas);
}

static char *join(const char *a, const char *b)
{
    struct dbk_buf buf;
    dbk_buf_init(&buf, DBK_STREAM_SIZE_MAX);
    dbk_buf_append_text(&buf, a);
    dbk_buf_append_text(&buf, b);
    char *text = buf.rc < 0 ? NULL : dbk_copy_text(dbk_buf_slice(&buf));
    dbk_buf_release(&buf);
    return text;
}

int dbk_saga_open_script(struct dbk_saga *saga, struct dbk_error *err)
{
    if (saga->script != NULL)
        return DBK_OK;
    return saga->functions != NULL
               ? dbk_saga_script_open_functions(saga->name, saga->functions, &saga->script, err)
               : dbk_saga_script_open(saga->file, saga->source, &saga->script, err);
}

static int make(struct dbk_saga *saga, const char *name, const char *file, struct dbk_slice source,
                struct dbk_error *err)
{
    saga->done_end = &saga->done;
    (void)pthread_mutex_init(&saga->lock, NULL);
    (void)pthread_mutex_init(&saga->done_lock, NULL);
    dbk_arena_init(&saga->batch.arena, (size_t)256 << 20);
    saga->name = dbk_copy_text(dbk_slice_of(name));
    saga->file = dbk_copy_text(dbk_slice_of(file));
    saga->category = join(DBK_SAGA_CATEGORY, name);
    saga->notes = join(DBK_SAGA_NOTES, name);
    saga->source = dbk_slice(dbk_copy_text(source), source.size);
    saga->json = dbk_json_create(DBK_SAGA_JSON_SIZE_MAX);
    if (saga->name == NULL || saga->file == NULL || saga->category == NULL || saga->notes == NULL ||
        saga->source.data == NULL || saga->json == NULL)
        return no_memory(err);
    int rc = dbk_saga_open_script(saga, err);
    if (rc < 0)
        return rc;
    const struct dbk_saga_definition *definition = dbk_saga_script_definition(saga->script);
    saga->types = dbk_alloc_zero(definition->route_count + 1, sizeof(*saga->types));
    for (size_t i = 0; saga->types != NULL && i < definition->route_count; i++) {
        saga->types[i] =
            dbk_slice(dbk_copy_text(definition->routes[i].type), definition->routes[i].type.size);
        saga->type_count = i + 1;
        if (saga->types[i].data == NULL)
            return no_memory(err);
    }
    return saga->types == NULL ? no_memory(err) : DBK_OK;
}

/* A saga that the book did not have yet begins at the book's end, and its first note says so. Into
   an empty book none is written before something else is: a migration could not fill it. */
static int begin(struct dbk_saga *saga, struct dbk_error *err)
{
    int rc = dbk_saga_noted(saga, err);
    saga->unnoted = rc == 0 && dbk_store_last_position(saga->sagas->options.store) == 0;
    if (rc == 0 && !saga->unnoted) {
        saga->read = dbk_saga_script_definition(saga->script)->from_start
                         ? 0
                         : dbk_store_last_position(saga->sagas->options.store);
        rc = dbk_saga_note(saga, err);
    }
    dbk_saga_unload(saga);
    return rc < 0 ? rc : DBK_OK;
}

static int add(struct dbk_sagas *sagas, const char *name, const char *file, struct dbk_slice source,
               const struct dbk_saga_functions *functions, struct dbk_error *err)
{
    struct dbk_saga **items =
        dbk_realloc((void *)sagas->items, (sagas->count + 1) * sizeof(struct dbk_saga *));
    if (items == NULL)
        return no_memory(err);
    sagas->items = items;
    struct dbk_saga *saga = dbk_alloc_zero(1, sizeof(*saga));
    if (saga == NULL)
        return no_memory(err);
    saga->sagas = sagas;
    saga->functions = functions;
    int rc = make(saga, name, file, source, err);
    if (rc == DBK_OK && sagas->options.writer)
        rc = begin(saga, err);
    if (rc < 0) {
        free_saga(saga);
        return rc;
    }
    items[sagas->count++] = saga;
    return DBK_OK;
}

int dbk_sagas_add(struct dbk_sagas *sagas, const char *name, const char *file,
                  struct dbk_slice source, struct dbk_error *err)
{
    return add(sagas, name, file, source, NULL, err);
}

int dbk_sagas_add_functions(struct dbk_sagas *sagas, const char *name,
                            const struct dbk_saga_functions *functions, struct dbk_error *err)
{
    for (size_t i = 0; i < sagas->count; i++) {
        if (strcmp(sagas->items[i]->name, name) == 0)
            return dbk_error_set(err, DBK_EEXISTS, "the book has a saga %s", name);
    }
    if (!sagas->options.writer)
        return dbk_error_set(err, DBK_EINVAL,
                             "saga %s: only who holds the book can run it: open it to write", name);
    int rc = add(sagas, name, name, DBK_SLICE_LITERAL(""), functions, err);
    if (rc == DBK_OK && sagas->callers == NULL)
        rc = dbk_saga_callers_start(sagas, err);
    return rc < 0 ? rc : dbk_saga_run(sagas->items[sagas->count - 1], err);
}

int dbk_sagas_start(struct dbk_sagas *sagas, struct dbk_error *err)
{
    int rc = sagas->count == 0 ? DBK_OK : dbk_saga_callers_start(sagas, err);
    for (size_t i = 0; rc == DBK_OK && i < sagas->count; i++)
        rc = dbk_saga_run(sagas->items[i], err);
    return rc;
}

size_t dbk_sagas_count(const struct dbk_sagas *sagas)
{
    return sagas->count;
}

int dbk_sagas_find(const struct dbk_sagas *sagas, const char *name, size_t *index_out,
                   struct dbk_error *err)
{
    const char **names = dbk_alloc_zero(sagas->count + 1, sizeof(*names));
    int rc = DBK_ENOTFOUND;
    for (size_t i = 0; i < sagas->count && rc < 0; i++) {
        if (names != NULL)
            names[i] = sagas->items[i]->name;
        if (strcmp(sagas->items[i]->name, name) == 0) {
            *index_out = i;
            rc = DBK_OK;
        }
    }
    if (rc < 0) {
        const char *closest = names == NULL ? NULL : dbk_closest_name(name, names, sagas->count);
        rc = dbk_error_set(err, DBK_ENOTFOUND, "there is no saga %s%s%s%s", name,
                           closest == NULL ? "" : "; did you mean ", closest == NULL ? "" : closest,
                           closest == NULL ? "" : "?");
    }
    dbk_free((void *)names);
    return rc;
}

/* A process that does not run it reads the book anew each time: another may have gone on. */
static int settle(struct dbk_saga *saga, struct dbk_error *err)
{
    return saga->runs && saga->loaded ? DBK_OK : dbk_saga_load(saga, err);
}

int dbk_sagas_totals(struct dbk_sagas *sagas, size_t index, struct dbk_saga_totals *totals_out,
                     struct dbk_error *err)
{
    struct dbk_saga *saga = sagas->items[index];
    (void)pthread_mutex_lock(&saga->lock);
    int rc = settle(saga, err);
    if (rc == DBK_OK) {
        *totals_out = (struct dbk_saga_totals){.name = saga->name,
                                               .position = saga->read,
                                               .open = saga->instances.count,
                                               .parked = saga->instances.parked,
                                               .completed = saga->completed,
                                               .compensated = saga->compensated,
                                               .dropped = saga->dropped,
                                               .calls = saga->calls,
                                               .runs = saga->runs};
        memcpy(totals_out->trouble, saga->trouble, sizeof(saga->trouble));
    }
    (void)pthread_mutex_unlock(&saga->lock);
    return rc;
}

/* ---- Reading instances ---- */

static struct dbk_slice id_of(const struct dbk_saga *saga, struct dbk_slice stream)
{
    size_t size = strlen(saga->category) + 1;
    return stream.size <= size ? (struct dbk_slice){0}
                               : dbk_slice(stream.data + size, stream.size - size);
}

/* Hands the records of a filter to each; ended: only the last ones of those that have ended. */
static int hand_out(struct dbk_saga *saga, const struct dbk_filter *filter, bool ended,
                    uint64_t limit, uint64_t *count, dbk_saga_each_fn each, void *context,
                    struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_arena arena;
    struct dbk_event event;
    struct dbk_saga_record record;
    struct dbk_json *json = dbk_json_create(DBK_SAGA_JSON_SIZE_MAX);
    dbk_arena_init(&arena, DBK_SAGA_JSON_SIZE_MAX);
    int rc = json == NULL ? no_memory(err)
                          : dbk_cursor_open(saga->sagas->options.store, filter, &cursor, err);
    while (rc >= 0 && *count < limit && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        rc = dbk_saga_record_read(json, event.data, &arena, &record, err);
        if (rc == DBK_OK && (!ended || !dbk_saga_is_open(&record))) {
            rc = each(id_of(saga, event.stream), &event, &record, context);
            (*count)++;
        }
        dbk_arena_reset(&arena);
    }
    dbk_cursor_free(cursor);
    dbk_arena_release(&arena);
    dbk_json_free(json);
    return rc < 0 ? rc : DBK_OK;
}

static int compare_ids(const void *a, const void *b)
{
    const char *const *left = a;
    const char *const *right = b;
    return strcmp(*left, *right);
}

/* The streams of the open ones, in the order of their ids. */
static int open_streams(struct dbk_saga *saga, struct dbk_arena *arena, const char ***streams_out,
                        size_t *count_out, struct dbk_error *err)
{
    (void)pthread_mutex_lock(&saga->lock);
    int rc = settle(saga, err);
    size_t count = rc < 0 ? 0 : saga->instances.count;
    const char **streams = dbk_arena_alloc_zero(arena, count + 1, sizeof(*streams));
    if (rc == DBK_OK && streams == NULL)
        rc = no_memory(err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        streams[i] = dbk_arena_format(arena, "%s-%s", saga->category, saga->instances.heap[i]->id);
        if (streams[i] == NULL)
            rc = no_memory(err);
    }
    (void)pthread_mutex_unlock(&saga->lock);
    if (rc == DBK_OK && count > 1)
        qsort((void *)streams, count, sizeof(*streams), compare_ids);
    *streams_out = streams;
    *count_out = count;
    return rc;
}

int dbk_sagas_list(struct dbk_sagas *sagas, size_t index, bool ended, uint64_t limit,
                   dbk_saga_each_fn each, void *context, struct dbk_error *err)
{
    struct dbk_saga *saga = sagas->items[index];
    struct dbk_arena arena;
    const char **streams = NULL;
    size_t count = 0;
    uint64_t done = 0;
    const struct dbk_slice category = dbk_slice_of(saga->category);
    if (ended)
        return hand_out(saga,
                        &(struct dbk_filter){.categories = &category,
                                             .category_count = 1,
                                             .raw = true,
                                             .hidden = true,
                                             .backwards = true},
                        true, limit, &done, each, context, err);
    dbk_arena_init(&arena, (size_t)256 << 20);
    int rc = open_streams(saga, &arena, &streams, &count, err);
    for (size_t i = 0; rc == DBK_OK && i < count && i < limit; i++) {
        done = 0;
        rc = hand_out(
            saga,
            &(struct dbk_filter){
                .stream = dbk_slice_of(streams[i]), .raw = true, .hidden = true, .backwards = true},
            false, 1, &done, each, context, err);
    }
    dbk_arena_release(&arena);
    return rc;
}

int dbk_sagas_show(struct dbk_sagas *sagas, size_t index, struct dbk_slice id,
                   dbk_saga_each_fn each, void *context, struct dbk_error *err)
{
    struct dbk_saga *saga = sagas->items[index];
    struct dbk_arena arena;
    uint64_t count = 0;
    dbk_arena_init(&arena, DBK_SAGA_JSON_SIZE_MAX);
    const char *stream = dbk_arena_format(&arena, "%s-%.*s", saga->category, DBK_SLICE_ARGS(id));
    int rc = stream == NULL
                 ? no_memory(err)
                 : hand_out(saga,
                            &(struct dbk_filter){
                                .stream = dbk_slice_of(stream), .raw = true, .hidden = true},
                            false, UINT64_MAX, &count, each, context, err);
    dbk_arena_release(&arena);
    if (rc == DBK_OK && count == 0)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "saga %s has no instance %.*s", saga->name,
                           DBK_SLICE_ARGS(id));
    return rc;
}

/* ---- Asking ---- */

static int read_back(struct dbk_saga *saga, struct dbk_slice id, struct dbk_arena *arena,
                     struct dbk_saga_record *record_out, struct dbk_error *err)
{
    const struct dbk_saga_instance *instance = dbk_saga_instance_find(&saga->instances, id);
    if (instance == NULL)
        return dbk_error_set(err, DBK_ENOTFOUND, "saga %s has no open instance %.*s", saga->name,
                             DBK_SLICE_ARGS(id));
    return dbk_saga_record_read(saga->json, dbk_slice(instance->text, instance->text_size), arena,
                                record_out, err);
}

static int ask(struct dbk_saga *saga, struct dbk_slice id, const struct dbk_saga_input *input,
               struct dbk_arena *arena, struct dbk_saga_record *record_out, struct dbk_error *err)
{
    struct dbk_saga_record before;
    int rc = settle(saga, err);
    if (rc == DBK_OK)
        rc = read_back(saga, id, arena, &before, err);
    if (rc == DBK_OK)
        rc = dbk_saga_batch_begin(saga, err);
    if (rc < 0)
        return rc;
    rc = dbk_saga_take(saga, id, input, NULL, err);
    if (rc == DBK_OK)
        rc = read_back(saga, id, arena, record_out, err);
    if (rc == DBK_OK)
        rc = dbk_saga_batch_end(saga, err);
    if (rc < 0) {
        dbk_saga_batch_drop(saga);
        dbk_saga_unload(saga); /* it is read again before it goes on */
    }
    return rc;
}

int dbk_sagas_retry(struct dbk_sagas *sagas, size_t index, struct dbk_slice id,
                    struct dbk_arena *arena, struct dbk_saga_record *record_out,
                    struct dbk_error *err)
{
    struct dbk_saga *saga = sagas->items[index];
    (void)pthread_mutex_lock(&saga->lock);
    int rc =
        ask(saga, id, &(struct dbk_saga_input){.kind = DBK_SAGA_RETRY}, arena, record_out, err);
    (void)pthread_mutex_unlock(&saga->lock);
    if (rc == DBK_OK && dbk_saga_is_parked(record_out))
        rc = dbk_error_set(err, DBK_ESCRIPT, "%.*s", DBK_SLICE_ARGS(record_out->fault));
    dbk_store_wake(sagas->options.store);
    return rc;
}

int dbk_sagas_cancel(struct dbk_sagas *sagas, size_t index, struct dbk_slice id,
                     struct dbk_slice why, struct dbk_arena *arena,
                     struct dbk_saga_record *record_out, struct dbk_error *err)
{
    struct dbk_saga *saga = sagas->items[index];
    if (why.size == 0)
        why = DBK_SLICE_LITERAL("cancelled");
    (void)pthread_mutex_lock(&saga->lock);
    int rc = ask(saga, id, &(struct dbk_saga_input){.kind = DBK_SAGA_CANCEL, .why = why}, arena,
                 record_out, err);
    (void)pthread_mutex_unlock(&saga->lock);
    dbk_store_wake(sagas->options.store);
    return rc;
}
