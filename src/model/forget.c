/* SPDX-License-Identifier: Apache-2.0 */
#include "model/forget.h"

#include "base/assert.h"
#include "model/purge.h"
#include "model/state.h"
#include "model/with.h"

struct forgetting {
    struct dbk_model *model;
    const struct dbk_model_forgetting *what;
    struct dbk_connection *connection;
    uint64_t position; /* of the newest subject */
    uint64_t purged;   /* up to which the serving generation is free of them */
};

void dbk_models_set_forgotten(struct dbk_models *models, uint64_t position)
{
    (void)pthread_mutex_lock(&models->lock);
    if (position > models->forgotten)
        models->forgotten = position;
    (void)pthread_mutex_unlock(&models->lock);
}

void dbk_models_hold(struct dbk_models *models)
{
    (void)pthread_mutex_lock(&models->forgetting);
}

void dbk_models_let_go(struct dbk_models *models)
{
    (void)pthread_mutex_unlock(&models->forgetting);
}

static bool is_source(const struct dbk_model_definition *definition, struct dbk_slice stream)
{
    struct dbk_slice category = dbk_stream_category(stream);
    for (size_t i = 0; i < definition->category_count; i++) {
        if (dbk_slice_equal(definition->categories[i], category))
            return true;
    }
    return false;
}

/* States that handlers take are made of these streams' events, too. Without memory they all are. */
static bool is_taken(const struct dbk_model_definition *definition,
                     const struct dbk_forgotten *subject)
{
    struct dbk_arena arena;
    struct dbk_slice *categories = NULL;
    size_t count = 0;
    dbk_arena_init(&arena, DBK_DEFINITION_SIZE_MAX);
    bool taken = dbk_withs_categories(definition, &arena, &categories, &count) < 0;
    for (size_t i = 0; i < subject->stream_count; i++) {
        for (size_t j = 0; j < count && !taken; j++)
            taken = dbk_slice_equal(dbk_stream_category(subject->streams[i]), categories[j]);
    }
    dbk_arena_release(&arena);
    return taken;
}

/* What the subject's events made is in the model, if only that they were. */
static bool concerns(const struct dbk_model_definition *definition,
                     const struct dbk_forgotten *subject)
{
    for (size_t i = 0; i < subject->stream_count; i++) {
        if (is_source(definition, subject->streams[i]))
            return true;
    }
    return is_taken(definition, subject);
}

/* How those that are still in it get out. What the serving generation was made of counts, and what
   the files say now, by which a rebuild goes: where they have changed, either may know a subject
   that the other does not. */
static enum dbk_model_personal way_of(const struct forgetting *forgetting)
{
    const struct dbk_model *model = forgetting->model;
    const struct dbk_model_definition *serving = &model->serving.definition;
    enum dbk_model_personal way = serving->personal;
    bool concerned = false;
    bool whole = false;
    if (way == DBK_PERSONAL_NONE && model->definition.personal != DBK_PERSONAL_NONE)
        way = DBK_PERSONAL_REBUILD;
    for (size_t i = 0; i < forgetting->what->count; i++) {
        const struct dbk_forgotten *subject = &forgetting->what->subjects[i];
        if (subject->position <= forgetting->purged ||
            !(concerns(serving, subject) || concerns(&model->definition, subject)))
            continue;
        concerned = true;
        whole = whole || subject->whole;
    }
    if (!concerned)
        return DBK_PERSONAL_NONE;
    if (way == DBK_PERSONAL_SEALED)
        way = DBK_PERSONAL_NONE;
    return whole && way == DBK_PERSONAL_NONE ? DBK_PERSONAL_REBUILD : way;
}

static int purge_all(struct forgetting *forgetting, struct dbk_purge *purge, struct dbk_error *err)
{
    const struct dbk_model_forgetting *what = forgetting->what;
    struct dbk_model *model = forgetting->model;
    int rc = dbk_connection_begin(forgetting->connection, DBK_BEGIN_WRITE, err);
    for (size_t i = 0; rc == DBK_OK && i < what->count; i++) {
        if (what->subjects[i].position > forgetting->purged &&
            concerns(&model->serving.definition, &what->subjects[i]))
            rc = dbk_purge_run(purge, &what->subjects[i], err);
    }
    if (rc == DBK_OK && dbk_connection_deferred_violation(forgetting->connection))
        rc = dbk_error_set(err, DBK_EREFUSED, "model %s: %s leaves a foreign key without its row",
                           model->definition.name, model->serving.definition.purge_file);
    if (rc == DBK_OK)
        rc = dbk_generation_set_purged(forgetting->connection, model->definition.name,
                                       model->serving.number, forgetting->position, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(forgetting->connection, "COMMIT", err);
    if (rc < 0 && dbk_connection_in_transaction(forgetting->connection))
        dbk_ignore(dbk_connection_run(forgetting->connection, "ROLLBACK", NULL));
    return rc;
}

static int purge(struct forgetting *forgetting, struct dbk_error *err)
{
    const struct dbk_generation *serving = &forgetting->model->serving;
    struct dbk_purge *statements = NULL;
    struct dbk_purge_fault fault;
    int rc = dbk_purge_open(forgetting->connection, &serving->definition, serving->renames,
                            serving->object_count, &statements, &fault, err);
    if (rc == DBK_OK)
        rc = purge_all(forgetting, statements, err);
    dbk_purge_free(statements);
    return rc;
}

/* What a batch is taken back by is personal, too: between batches, with nothing left of one. */
static int purge_between(struct forgetting *forgetting, struct dbk_error *err)
{
    struct dbk_model *model = forgetting->model;
    struct dbk_statement *fence = NULL;
    if (dbk_connection_dialect(forgetting->connection) != DBK_DIALECT_MONGODB)
        return purge(forgetting, err);
    (void)pthread_mutex_lock(&model->work);
    int rc = dbk_post_fence(forgetting->connection, model->definition.name, model->serving.number,
                            &fence, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(fence, err);
    if (rc >= 0)
        rc = purge(forgetting, err);
    dbk_statement_free(fence);
    (void)pthread_mutex_unlock(&model->work);
    return rc;
}

/* What was begun before, and what a rebuild that was cut short left behind. */
static int drop_old(struct forgetting *forgetting, struct dbk_error *err)
{
    struct dbk_model *model = forgetting->model;
    for (;;) {
        struct dbk_generation old;
        uint64_t purged = 0;
        dbk_generation_init(&old);
        int rc = dbk_generation_find(forgetting->connection, &model->definition, false, &old, err);
        if (rc >= 0 && old.number != 0)
            rc = dbk_generation_purged(forgetting->connection, model->definition.name, old.number,
                                       &purged, err);
        bool drops = rc >= 0 && old.number != 0 &&
                     (purged < forgetting->position || old.number < model->serving.number);
        if (drops)
            rc = dbk_generation_drop(&old, err);
        dbk_generation_release(&old);
        if (rc < 0 || !drops)
            return rc < 0 ? rc : DBK_OK;
    }
}

/* One that stopped posts no more, and what it has is taken out all the same. */
static int wait_posted(const struct forgetting *forgetting, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_models_wait(forgetting->model->models, forgetting->model->definition.name,
                             forgetting->position, forgetting->what->timeout_us, &failure);
    if (rc == DBK_ETIMEOUT && err != NULL)
        *err = failure;
    return rc == DBK_ETIMEOUT ? rc : DBK_OK;
}

/* The model is marked as being rebuilt, so that nobody else swaps its generation. */
static int take_out(struct forgetting *forgetting, bool *rebuild_out, struct dbk_error *err)
{
    struct dbk_model *model = forgetting->model;
    int rc = dbk_connection_open(model->definition.database_path, DBK_CONNECT_HANDLERS,
                                 &forgetting->connection, err);
    if (rc == DBK_OK)
        rc = dbk_generation_purged(forgetting->connection, model->definition.name,
                                   model->serving.number, &forgetting->purged, err);
    if (rc == DBK_OK)
        rc = drop_old(forgetting, err);
    enum dbk_model_personal way = rc < 0 ? DBK_PERSONAL_NONE : way_of(forgetting);
    *rebuild_out = way == DBK_PERSONAL_REBUILD;
    if (rc == DBK_OK && way == DBK_PERSONAL_PURGE)
        rc = wait_posted(forgetting, err);
    if (rc == DBK_OK && way == DBK_PERSONAL_PURGE)
        rc = purge_between(forgetting, err);
    return rc;
}

static bool set_busy(struct dbk_model *model, bool busy)
{
    (void)pthread_mutex_lock(&model->models->lock);
    bool was = model->rebuilding;
    model->rebuilding = busy;
    (void)pthread_mutex_unlock(&model->models->lock);
    return was;
}

int dbk_models_forget(struct dbk_models *models, size_t index,
                      const struct dbk_model_forgetting *forgetting,
                      enum dbk_model_forgot *forgot_out, struct dbk_error *err)
{
    struct forgetting state = {.model = models->items[index], .what = forgetting};
    const char *name = state.model->definition.name;
    bool rebuild = false;
    *forgot_out = DBK_FORGOT_NOTHING;
    dbk_assert(state.model->writer);
    if (forgetting->count == 0)
        return DBK_OK;
    state.position = forgetting->subjects[forgetting->count - 1].position;
    dbk_models_set_forgotten(models, state.position);
    if (set_busy(state.model, true))
        return dbk_error_set(err, DBK_EBUSY, "model %s is being rebuilt", name);
    uint64_t before = 0;
    int rc = take_out(&state, &rebuild, err);
    before = state.purged;
    (void)set_busy(state.model, false);
    if (rc == DBK_OK && rebuild)
        rc = dbk_models_rebuild(models, name, forgetting->progress, forgetting->context, err);
    if (rc == DBK_OK && rebuild)
        rc = drop_old(&state, err);
    if (rc == DBK_OK)
        rc = dbk_connection_checkpoint(state.connection, err);
    if (rc == DBK_OK)
        rc = dbk_generation_purged(state.connection, name, state.model->serving.number,
                                   &state.purged, err);
    dbk_connection_free(state.connection);
    if (rc == DBK_OK && rebuild)
        *forgot_out = DBK_FORGOT_REBUILT;
    else if (rc == DBK_OK && state.purged > before)
        *forgot_out = DBK_FORGOT_PURGED;
    return rc;
}
