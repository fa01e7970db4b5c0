/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "engine/state.h"
#include "model/letters.h"
#include "model/with.h"

/* Free scratches that are kept; more are given back to the heap. */
#define SCRATCHES_MAX 64
#define SCRATCH_OUT_KEPT ((size_t)1 << 20)

static char *path_in(struct dbk_engine *engine, const char *name)
{
    return dbk_arena_format(&engine->arena, "%s/%s", engine->book->data, name);
}

static int open_store_as(struct dbk_engine *engine, const struct dbk_engine_options *options,
                         bool writer, struct dbk_error *err)
{
    return dbk_store_open(
        &(struct dbk_store_options){.os = engine->os,
                                    .folder = engine->book->data,
                                    .writer = writer,
                                    .holder = options->holder,
                                    .event_size_max = engine->book->event_size_max,
                                    .batch_count_max = engine->book->batch_count_max,
                                    .step = options->step,
                                    .context = options->context},
        &engine->store, err);
}

/* A book that nobody has written yet is made, so that it can be read: empty. */
static int open_reader(struct dbk_engine *engine, const struct dbk_engine_options *options,
                       struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = open_store_as(engine, options, false, &failure);
    if (rc != DBK_ENOTFOUND) {
        if (rc < 0 && err != NULL)
            *err = failure;
        return rc;
    }
    rc = open_store_as(engine, options, true, err);
    if (rc < 0)
        return rc;
    dbk_store_free(engine->store);
    engine->store = NULL;
    return open_store_as(engine, options, false, err);
}

static int open_store(struct dbk_engine *engine, const struct dbk_engine_options *options,
                      struct dbk_error *err)
{
    struct dbk_error failure = {0};
    if (options->mode == DBK_ENGINE_READ) {
        (void)dbk_error_set(&engine->no_writer, DBK_EDENIED, "%s was opened for reading",
                            engine->book->data);
        return open_reader(engine, options, err);
    }
    int rc = open_store_as(engine, options, true, &failure);
    engine->writer = rc == DBK_OK;
    engine->no_writer = failure;
    bool beside = rc == DBK_EBUSY || rc == DBK_EDENIED;
    if (beside && options->mode == DBK_ENGINE_WRITE_OR_READ)
        return open_store_as(engine, options, false, err);
    if (rc < 0 && err != NULL)
        *err = failure;
    return rc;
}

static int open_proof(struct dbk_engine *engine, struct dbk_error *err)
{
    return dbk_proof_open(&(struct dbk_proof_options){.os = engine->os,
                                                      .store = engine->store,
                                                      .folder = engine->book->data,
                                                      .name = engine->book->name,
                                                      .writer = engine->writer},
                          &engine->proof, err);
}

static int append(void *context, const struct dbk_batch *batch,
                  struct dbk_append_result *result_out, struct dbk_error *err)
{
    return dbk_engine_append(context, batch, result_out, err);
}

static int open_scripts(struct dbk_engine *engine, struct dbk_error *err)
{
    const struct dbk_book *book = engine->book;
    const char *snapshots = path_in(engine, "snapshots");
    int rc = dbk_groups_open(engine->store, engine->os, engine->writer, append, engine,
                             &engine->groups, err);
    if (rc < 0)
        return rc;
    rc = snapshots == NULL
             ? dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", book->folder)
             : dbk_folds_open(engine->store, engine->os, snapshots, engine->writer, &engine->folds,
                              err);
    if (rc == DBK_OK)
        dbk_folds_set_upcasts(engine->folds, engine->upcasts);
    for (size_t i = 0; rc == DBK_OK && i < book->fold_count; i++)
        rc = dbk_folds_add(engine->folds, dbk_slice_of(book->folds[i].name), book->folds[i].file,
                           book->folds[i].source, err);
    if (rc == DBK_OK)
        rc =
            dbk_commands_open(engine->store, engine->folds, append, engine, &engine->commands, err);
    for (size_t i = 0; rc == DBK_OK && i < book->command_count; i++)
        rc = dbk_commands_add(engine->commands, book->commands[i].name, book->commands[i].file,
                              book->commands[i].source, err);
    for (size_t i = 0; rc == DBK_OK && i < book->service_command_count; i++)
        rc =
            dbk_commands_add_service(engine->commands, &book->service_commands[i], engine->os, err);
    return rc;
}

static int list_tables(struct dbk_engine *engine, struct dbk_error *err)
{
    const struct dbk_book *book = engine->book;
    engine->tables =
        dbk_arena_alloc_zero(&engine->arena, book->model_count + 1, sizeof(*engine->tables));
    engine->table_counts =
        dbk_arena_alloc_zero(&engine->arena, book->model_count + 1, sizeof(*engine->table_counts));
    if (engine->tables == NULL || engine->table_counts == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", book->folder);
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < book->model_count; i++)
        rc = dbk_model_tables(&book->models[i], &engine->arena, &engine->tables[i],
                              &engine->table_counts[i], err);
    return rc;
}

static int compare_types(const void *a, const void *b)
{
    return dbk_slice_compare(*(const struct dbk_slice *)a, *(const struct dbk_slice *)b);
}

static void put_upcasts(const struct dbk_engine *engine, struct dbk_slice type, struct dbk_buf *out)
{
    uint8_t fingerprint[DBK_SHA256_SIZE];
    if (!dbk_upcasts_fingerprint(engine->upcasts, type, fingerprint))
        return;
    dbk_buf_append(out, type);
    dbk_buf_append_char(out, ':');
    for (size_t i = 0; i < sizeof(fingerprint); i++)
        dbk_buf_append_format(out, "%02x", fingerprint[i]);
    dbk_buf_append_char(out, '\n');
}

/* A model's rows change with the folds whose states it takes. */
static int put_folds(const struct dbk_engine *engine, const struct dbk_model_definition *definition,
                     struct dbk_arena *arena, struct dbk_buf *out)
{
    struct dbk_slice *categories = NULL;
    size_t count = 0;
    int rc = dbk_withs_categories(definition, arena, &categories, &count);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        uint8_t fingerprint[DBK_SHA256_SIZE] = {0};
        (void)dbk_folds_fingerprint(engine->folds, categories[i], fingerprint);
        dbk_buf_append_text(out, "state of ");
        dbk_buf_append(out, categories[i]);
        dbk_buf_append_char(out, ':');
        for (size_t j = 0; j < sizeof(fingerprint); j++)
            dbk_buf_append_format(out, "%02x", fingerprint[j]);
        dbk_buf_append_char(out, '\n');
    }
    return rc;
}

/* What a model's rows depend on beside its own files: how the types it handles are upcast, and
   folds. */
static int note_upcasts(struct dbk_engine *engine, struct dbk_model_definition *definition)
{
    struct dbk_buf text;
    size_t count = definition->handler_count;
    struct dbk_slice *types = dbk_arena_alloc_zero(&engine->arena, count + 1, sizeof(*types));
    if (types == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < count; i++)
        types[i] = definition->handlers[i].type;
    qsort(types, count, sizeof(*types), compare_types);
    dbk_buf_init(&text, DBK_ENGINE_TEXT_SIZE_MAX);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !dbk_slice_equal(types[i], types[i - 1]))
            put_upcasts(engine, types[i], &text);
    }
    if (put_folds(engine, definition, &engine->arena, &text) < 0)
        text.rc = DBK_ENOMEM;
    definition->upcasts = dbk_arena_copy(&engine->arena, dbk_buf_slice(&text));
    int rc = text.rc < 0 || definition->upcasts.data == NULL ? DBK_ENOMEM : DBK_OK;
    dbk_buf_release(&text);
    return rc;
}

static int add_model(struct dbk_engine *engine, const struct dbk_model_definition *definition,
                     struct dbk_error *err)
{
    struct dbk_model_definition noted = *definition;
    int rc = note_upcasts(engine, &noted);
    return rc < 0 ? dbk_error_set(err, rc, "out of memory opening model %s", definition->name)
                  : dbk_models_add(engine->models, &noted, engine->writer, err);
}

/* Once a database. */
static int settle_views(struct dbk_engine *engine, struct dbk_error *err)
{
    const struct dbk_book *book = engine->book;
    int rc = DBK_OK;
    /* Of a server also what lies there without models. */
    for (size_t i = 0; rc == DBK_OK && engine->writer && i < book->database_count; i++) {
        const char *path = book->databases[i].path;
        if (dbk_target_dialect(path) == DBK_DIALECT_POSTGRES)
            rc = dbk_views_settle(engine->views, path, err);
    }
    for (size_t i = 0; rc == DBK_OK && engine->writer && i < book->model_count; i++) {
        const char *path = book->models[i].database_path;
        bool settled = dbk_target_dialect(path) != DBK_DIALECT_SQLITE;
        for (size_t j = 0; j < i; j++)
            settled = settled || strcmp(book->models[j].database_path, path) == 0;
        if (!settled)
            rc = dbk_views_settle(engine->views, path, err);
    }
    return rc;
}

static int open_models(struct dbk_engine *engine, struct dbk_error *err)
{
    const struct dbk_book *book = engine->book;
    engine->as_of = path_in(engine, "as-of");
    int rc = engine->as_of == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", book->folder)
                 : dbk_models_open(engine->store, &engine->models, err);
    if (rc == DBK_OK)
        dbk_models_set_append(engine->models, dbk_engine_append_letters, engine);
    if (rc == DBK_OK)
        dbk_models_set_folds(engine->models, engine->folds);
    for (size_t i = 0; rc == DBK_OK && i < book->model_count; i++)
        rc = add_model(engine, &book->models[i], err);
    if (rc == DBK_OK)
        rc = dbk_views_open(engine->store, engine->models, engine->os, &engine->views, err);
    for (size_t i = 0; rc == DBK_OK && i < book->view_count; i++)
        rc = dbk_views_add(engine->views, &book->views[i], book->models, book->model_count,
                           engine->writer, err);
    if (rc == DBK_OK)
        rc = settle_views(engine, err);
    return rc < 0 ? rc : list_tables(engine, err);
}

static int begin_counting(struct dbk_engine *engine, struct dbk_error *err)
{
    engine->opened_us = engine->os->now_us(engine->os);
    engine->opened_position = dbk_store_last_position(engine->store);
    engine->queries = dbk_arena_alloc_zero(&engine->arena, engine->book->query_count + 1,
                                           sizeof(*engine->queries));
    return engine->queries != NULL ? DBK_OK
                                   : dbk_error_set(err, DBK_ENOMEM, "out of memory opening a book");
}

int dbk_engine_open(const struct dbk_engine_options *options, struct dbk_diagnostics *diagnostics,
                    struct dbk_engine **engine_out, struct dbk_error *err)
{
    struct dbk_engine *engine = dbk_alloc_zero(1, sizeof(*engine));
    if (engine == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", options->folder);
    engine->os = options->os;
    dbk_arena_init(&engine->arena, DBK_ENGINE_TEXT_SIZE_MAX);
    pthread_rwlockattr_t fair;
    (void)pthread_mutex_init(&engine->scratch_lock, NULL);
    (void)pthread_rwlockattr_init(&fair);
    (void)pthread_rwlockattr_setkind_np(&fair, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    (void)pthread_rwlock_init(&engine->appending, &fair);
    (void)pthread_rwlockattr_destroy(&fair);
    int rc = dbk_book_load(&(struct dbk_book_options){.os = options->os,
                                                      .folder = options->folder,
                                                      .data = options->data,
                                                      .environment = options->environment},
                           diagnostics, &engine->book, err);
    if (rc == DBK_OK)
        rc = open_store(engine, options, err);
    if (rc == DBK_OK)
        rc = begin_counting(engine, err);
    if (rc == DBK_OK)
        rc = dbk_upcasts_open(engine->book->schemas, options->upcasts, options->upcast_count,
                              &engine->upcasts, err);
    if (rc == DBK_OK)
        rc = dbk_lens_open(engine, options->schedule, err);
    if (rc == DBK_OK)
        rc = open_proof(engine, err);
    if (rc == DBK_OK)
        rc = open_scripts(engine, err);
    if (rc == DBK_OK)
        rc = open_models(engine, err);
    if (rc == DBK_OK)
        rc = dbk_engine_open_forget(engine, err);
    if (rc == DBK_OK)
        rc = dbk_engine_open_captures(engine, err);
    if (rc == DBK_OK)
        rc = dbk_engine_open_sagas(engine, err);
    if (rc == DBK_OK && engine->writer)
        rc = dbk_models_start(engine->models, err);
    if (rc == DBK_OK && engine->writer && options->schedule)
        rc = dbk_views_start(engine->views, err);
    if (rc == DBK_OK && engine->writer && engine->vault != NULL)
        rc = dbk_forget_start(engine->forget, err);
    if (rc == DBK_OK && engine->writer && engine->book->fold_count > 0)
        rc = dbk_upkeep_start(engine, err);
    if (rc == DBK_OK && engine->writer && options->schedule)
        rc = dbk_captures_start(engine->captures, err);
    if (rc == DBK_OK && engine->writer && options->schedule)
        rc = dbk_sagas_start(engine->sagas, err);
    if (rc == DBK_OK && engine->writer && options->schedule)
        rc = dbk_observer_start(engine, err);
    if (rc < 0) {
        dbk_engine_free(engine);
        return rc;
    }
    *engine_out = engine;
    return DBK_OK;
}

int dbk_engine_add_fold(struct dbk_engine *engine, struct dbk_slice category,
                        struct dbk_slice version, uint64_t every,
                        const struct dbk_fold_functions *functions, struct dbk_error *err)
{
    int rc = dbk_folds_add_functions(engine->folds, category, version, every, functions, err);
    return rc < 0 || every == 0 || !engine->writer || engine->upkeep_runs
               ? rc
               : dbk_upkeep_start(engine, err);
}

static void free_scratch(struct dbk_scratch *scratch)
{
    dbk_arena_release(&scratch->arena);
    dbk_buf_release(&scratch->out);
    dbk_json_free(scratch->json);
    dbk_free(scratch);
}

void dbk_engine_free(struct dbk_engine *engine)
{
    if (engine == NULL)
        return;
    dbk_observer_stop(engine);
    dbk_sagas_free(engine->sagas);
    dbk_captures_free(engine->captures);
    dbk_upkeep_stop(engine);
    dbk_forget_free(engine->forget);
    dbk_views_free(engine->views);
    dbk_models_free(engine->models);
    engine->models = NULL; /* groups are saved yet */
    dbk_commands_free(engine->commands);
    dbk_groups_free(engine->groups);
    dbk_folds_free(engine->folds);
    dbk_vault_free(engine->vault);
    dbk_proof_free(engine->proof);
    dbk_store_free(engine->store);
    dbk_upcasts_free(engine->upcasts);
    dbk_book_free(engine->book);
    for (struct dbk_scratch *scratch = engine->scratches, *next; scratch != NULL; scratch = next) {
        next = scratch->next;
        free_scratch(scratch);
    }
    dbk_arena_release(&engine->arena);
    (void)pthread_mutex_destroy(&engine->scratch_lock);
    (void)pthread_rwlock_destroy(&engine->appending);
    dbk_free(engine);
}

bool dbk_engine_is_writer(const struct dbk_engine *engine)
{
    return engine->writer;
}

const struct dbk_book *dbk_engine_book(const struct dbk_engine *engine)
{
    return engine->book;
}

struct dbk_os *dbk_engine_os(const struct dbk_engine *engine)
{
    return engine->os;
}

struct dbk_store *dbk_engine_store(struct dbk_engine *engine)
{
    return engine->store;
}

struct dbk_vault *dbk_engine_vault(struct dbk_engine *engine)
{
    return engine->vault;
}

struct dbk_proof *dbk_engine_proof(struct dbk_engine *engine)
{
    return engine->proof;
}

struct dbk_groups *dbk_engine_groups(struct dbk_engine *engine)
{
    return engine->groups;
}

struct dbk_captures *dbk_engine_captures(struct dbk_engine *engine)
{
    return engine->captures;
}

struct dbk_folds *dbk_engine_folds(struct dbk_engine *engine)
{
    return engine->folds;
}

struct dbk_commands *dbk_engine_commands(struct dbk_engine *engine)
{
    return engine->commands;
}

struct dbk_models *dbk_engine_models(struct dbk_engine *engine)
{
    return engine->models;
}

struct dbk_views *dbk_engine_views(struct dbk_engine *engine)
{
    return engine->views;
}

struct dbk_forget *dbk_engine_forget(struct dbk_engine *engine)
{
    return engine->forget;
}

int dbk_engine_check_writer(const struct dbk_engine *engine, struct dbk_error *err)
{
    if (engine->writer)
        return DBK_OK;
    if (err != NULL)
        *err = engine->no_writer;
    return engine->no_writer.code;
}

bool dbk_engine_is_stopped(const struct dbk_engine *engine)
{
    return engine->stopped;
}

const char *const *dbk_engine_model_tables(const struct dbk_engine *engine, size_t model_index,
                                           size_t *count_out)
{
    *count_out = engine->table_counts[model_index];
    return engine->tables[model_index];
}

struct dbk_engine_counters *dbk_engine_counters(struct dbk_engine *engine)
{
    return &engine->counters;
}

struct dbk_scratch *dbk_engine_scratch_take(struct dbk_engine *engine)
{
    (void)pthread_mutex_lock(&engine->scratch_lock);
    struct dbk_scratch *scratch = engine->scratches;
    if (scratch != NULL)
        engine->scratches = scratch->next;
    (void)pthread_mutex_unlock(&engine->scratch_lock);
    if (scratch != NULL)
        return scratch;
    scratch = dbk_alloc_zero(1, sizeof(*scratch));
    if (scratch == NULL)
        return NULL;
    dbk_arena_init(&scratch->arena, DBK_ENGINE_TEXT_SIZE_MAX * 4);
    dbk_buf_init(&scratch->out, DBK_ENGINE_TEXT_SIZE_MAX * 8);
    scratch->json = dbk_json_create(DBK_ENGINE_TEXT_SIZE_MAX);
    if (scratch->json == NULL) {
        free_scratch(scratch);
        return NULL;
    }
    return scratch;
}

void dbk_engine_scratch_give(struct dbk_engine *engine, struct dbk_scratch *scratch)
{
    size_t count = 0;
    if (scratch == NULL)
        return;
    bool large = scratch->out.capacity > SCRATCH_OUT_KEPT || scratch->arena.used > SCRATCH_OUT_KEPT;
    dbk_arena_reset(&scratch->arena);
    dbk_buf_reset(&scratch->out);
    (void)pthread_mutex_lock(&engine->scratch_lock);
    for (const struct dbk_scratch *at = engine->scratches; at != NULL; at = at->next)
        count++;
    bool kept = !large && count < SCRATCHES_MAX;
    if (kept) {
        scratch->next = engine->scratches;
        engine->scratches = scratch;
    }
    (void)pthread_mutex_unlock(&engine->scratch_lock);
    if (!kept)
        free_scratch(scratch);
}

int dbk_engine_open_migration(struct dbk_engine *engine, const struct dbk_engine_migration *options,
                              struct dbk_migration **migration_out, struct dbk_error *err)
{
    int rc = options->look ? DBK_OK : dbk_engine_check_writer(engine, err);
    if (rc < 0)
        return rc;
    if (!options->look && engine->vault != NULL)
        dbk_vault_hold_epochs(engine->vault);
    return dbk_migration_open(
        &(struct dbk_migration_options){.source = options->source->store,
                                        .source_folder = options->source->book->folder,
                                        .source_schemas = options->source->book->schemas,
                                        .target = engine->store,
                                        .target_schemas = engine->book->schemas,
                                        .os = engine->os,
                                        .script_name = options->script_name,
                                        .script = options->script,
                                        .changed_script = options->changed_script,
                                        .batch_count_max = engine->book->batch_count_max,
                                        .append = options->look ? NULL : append,
                                        .context = engine,
                                        .step = options->step,
                                        .step_context = options->context},
        migration_out, err);
}

int dbk_engine_move(struct dbk_engine *engine, struct dbk_slice place, const struct dbk_uuid *book,
                    struct dbk_append_result *result_out, struct dbk_error *err)
{
    int rc = dbk_engine_check_writer(engine, err);
    if (rc < 0)
        return rc;
    dbk_groups_save(engine->groups);
    return dbk_store_move(engine->store, place, book, result_out, err);
}

/* A view has got there when the position its result is as of has. */
static int wait_view(struct dbk_engine *engine, size_t index, uint64_t after, int64_t timeout_us,
                     struct dbk_error *err)
{
    int64_t end_us = engine->os->monotonic_us(engine->os) + timeout_us;
    for (;;) {
        struct dbk_view_status status;
        int rc = dbk_views_status(engine->views, index, &status, err);
        if (rc < 0 || status.position >= after)
            return rc;
        int64_t left_us = end_us - engine->os->monotonic_us(engine->os);
        if (left_us <= 0)
            return dbk_error_set(err, DBK_ETIMEOUT,
                                 "view %s is as of position %" PRIu64 ", not yet of %" PRIu64,
                                 status.name, status.position, after);
        /* Wakes with each append, too: cheap, and refreshes are rare. */
        rc = dbk_store_wait(engine->store, dbk_store_wakes(engine->store), UINT64_MAX,
                            left_us < 20000 ? left_us : 20000, err);
        if (rc < 0)
            return rc;
    }
}

int dbk_engine_wait(struct dbk_engine *engine, const char *name, uint64_t after, int64_t timeout_us,
                    struct dbk_error *err)
{
    size_t index = 0;
    if (dbk_models_find(engine->models, name, &index, NULL) == DBK_OK)
        return dbk_models_wait(engine->models, name, after, timeout_us, err);
    if (dbk_views_find(engine->views, name, &index, NULL) == DBK_OK)
        return wait_view(engine, index, after, timeout_us, err);
    return dbk_error_set(err, DBK_ENOTFOUND, "there is no model and no view %s", name);
}
