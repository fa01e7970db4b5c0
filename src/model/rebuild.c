/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rebuild: the next generation is made beside the serving one from the files' definition, posted
 * from the log's first event, and swapped when it has caught up. What an interrupted rebuild of the
 * same definition has built is gone on with.
 */
#include <time.h>

#include "base/assert.h"
#include "model/state.h"

/* The last few events are posted under `work`, so that nothing comes between them and the swap. */
#define SWAP_EVENTS 500
/* How often the swap is tried in a server, while readers hold what is swapped. */
#define SWAP_TRIES 100
#define SWAP_PAUSE_NS 50000000

struct rebuild {
    struct dbk_model *model;
    struct dbk_generation next;
    struct dbk_letters *letters; /* of the next one */
    struct dbk_batch_post post;
    uint64_t forgotten; /* one that was begun before this position holds what is forgotten since */
    dbk_progress_fn progress;
    void *context;
    struct dbk_model_next onto;
    void *along; /* what was built on it; NULL: nothing */
};

void dbk_models_set_along(struct dbk_models *models, const struct dbk_models_along *along)
{
    models->along = *along;
}

/* A position up to which what is forgotten can no longer be read. Who forgets is waited for, and
   does not wait: nothing is done to a database meanwhile. */
static uint64_t forgotten_position(struct dbk_models *models)
{
    (void)pthread_mutex_lock(&models->forgetting);
    uint64_t position = dbk_store_last_position(models->store);
    (void)pthread_mutex_unlock(&models->forgetting);
    return position;
}

/* An unfinished generation under another definition, or of before something was forgotten, is
   dropped, another one gone on with. */
static int find_or_create(struct rebuild *rebuild, struct dbk_error *err)
{
    struct dbk_model *model = rebuild->model;
    struct dbk_connection *connection = rebuild->post.connection;
    int64_t newest = 0;
    for (;;) {
        dbk_generation_release(&rebuild->next);
        dbk_generation_init(&rebuild->next);
        int rc = dbk_generation_find(connection, &model->definition, false, &rebuild->next, err);
        if (rc < 0)
            return rc;
        if (rebuild->next.number == 0)
            break;
        uint64_t purged = 0;
        rc = dbk_generation_purged(connection, model->definition.name, rebuild->next.number,
                                   &purged, err);
        if (rc < 0)
            return rc;
        if (strcmp(rebuild->next.fingerprint, model->fingerprint) == 0 &&
            rebuild->next.number > model->serving.number && purged >= rebuild->forgotten)
            return DBK_OK;
        rc = dbk_generation_drop(&rebuild->next, err);
        if (rc < 0)
            return rc;
    }
    int rc = dbk_generation_newest(connection, model->definition.name, &newest, err);
    if (rc == DBK_OK)
        rc = dbk_letters_begin(rebuild->letters, (uint64_t)newest + 1, err);
    if (rc == DBK_OK)
        rc = dbk_generation_create(connection, &model->definition, (uint64_t)newest + 1, false,
                                   forgotten_position(model->models), err);
    return rc < 0 ? rc
                  : dbk_generation_find(connection, &model->definition, false, &rebuild->next, err);
}

static void tell(struct rebuild *rebuild, bool rebuilding)
{
    struct dbk_model *model = rebuild->model;
    (void)pthread_mutex_lock(&model->models->lock);
    model->rebuilding = rebuilding;
    model->rebuild_generation = rebuild->next.number;
    model->rebuild_position = rebuild->post.position;
    (void)pthread_mutex_unlock(&model->models->lock);
}

static int prepare(struct rebuild *rebuild, struct dbk_error *err)
{
    struct dbk_model *model = rebuild->model;
    struct dbk_batch_post *post = &rebuild->post;
    int rc = dbk_connection_open(model->definition.database_path, DBK_CONNECT_HANDLERS,
                                 &post->connection, err);
    if (rc == DBK_OK) {
        dbk_connection_limit_us(post->connection, DBK_POST_LIMIT_US);
        rc = find_or_create(rebuild, err);
    }
    if (rc == DBK_OK)
        rc = dbk_letters_open(rebuild->letters, &rebuild->next, post->connection, err);
    if (rc == DBK_OK)
        rc = dbk_poster_open(post->connection, &rebuild->next.definition, rebuild->next.renames,
                             rebuild->next.object_count, &post->poster, NULL, err);
    if (rc == DBK_OK)
        rc = dbk_poster_read_by(post->poster, model->models->store, model->models->folds, 0, err);
    if (rc == DBK_OK)
        rc = dbk_post_set_position(post->connection, model->definition.name, rebuild->next.number,
                                   &post->set_position, err);
    if (rc == DBK_OK)
        rc = dbk_post_fence(post->connection, model->definition.name, rebuild->next.number,
                            &post->fence, err);
    post->models = model->models;
    post->definition = &rebuild->next.definition;
    post->letters = rebuild->letters;
    post->position = rebuild->next.position;
    if (rc == DBK_OK)
        rc = dbk_post_cursor(model->models->store, &rebuild->next.definition, post->position, 0,
                             &post->cursor, err);
    return rc;
}

static int end_here(const struct rebuild *rebuild, uint64_t last, struct dbk_error *err)
{
    return dbk_error_set(
        err, DBK_ESTOPPED,
        "model %s: the rebuild was ended at position %ju of %ju; the next one goes "
        "on there",
        rebuild->model->definition.name, (uintmax_t)rebuild->post.position, (uintmax_t)last);
}

static bool goes_on(void *context)
{
    const struct rebuild *rebuild = context;
    return rebuild->progress == NULL ||
           rebuild->progress(rebuild->context, rebuild->post.position,
                             dbk_store_last_position(rebuild->model->models->store));
}

/* Posts until no more than `left` events are missing. */
static int catch_up(struct rebuild *rebuild, uint64_t left, struct dbk_error *err)
{
    struct dbk_store *store = rebuild->model->models->store;
    for (;;) {
        bool failed = false;
        int rc =
            rebuild->post.cursor == NULL ? DBK_OK : dbk_cursor_extend(rebuild->post.cursor, err);
        if (rc == DBK_OK)
            rc = dbk_post_batch(&rebuild->post, &failed, err);
        if (rc < 0)
            return rc;
        tell(rebuild, true);
        uint64_t last = dbk_store_last_position(store);
        if (!goes_on(rebuild))
            return end_here(rebuild, last, err);
        if (rebuild->post.position + left >= last && (left > 0 || rc == 0))
            return DBK_OK;
    }
}

/* What stands on the model is built on its next generation, which has nearly all events; then
   both catch up with what came meanwhile. */
static int build_along(struct rebuild *rebuild, struct dbk_error *err)
{
    const struct dbk_models *models = rebuild->model->models;
    const struct dbk_generation *next = &rebuild->next;
    struct dbk_slice *names = NULL;
    if (models->along.build == NULL)
        return DBK_OK;
    names = dbk_arena_alloc_zero(&rebuild->next.arena, 2 * next->object_count + 1, sizeof(*names));
    if (names == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory rebuilding %s", next->definition.name);
    rebuild->onto = (struct dbk_model_next){.model = next->definition.name,
                                            .database_path = next->definition.database_path,
                                            .generation = next->number,
                                            .names = names,
                                            .tables = names + next->object_count};
    for (size_t i = 0; i < next->object_count; i++) {
        if (next->objects[i].kind != DBK_OBJECT_TABLE && next->objects[i].kind != DBK_OBJECT_VIEW)
            continue;
        names[rebuild->onto.table_count] = next->objects[i].name;
        names[next->object_count + rebuild->onto.table_count++] = next->renames[i].to;
    }
    int rc = models->along.build(models->along.context, &rebuild->onto, goes_on, rebuild,
                                 &rebuild->along, err);
    if (rc < 0 || rebuild->along == NULL)
        return rc;
    rc = catch_up(rebuild, SWAP_EVENTS, err);
    if (rc == DBK_OK)
        models->along.catch_up(rebuild->along);
    return rc < 0 ? rc : catch_up(rebuild, SWAP_EVENTS, err);
}

static void end_along(struct rebuild *rebuild, bool swapped)
{
    if (rebuild->along != NULL)
        rebuild->model->models->along.done(rebuild->along, swapped);
    rebuild->along = NULL;
}

static void close_post(struct dbk_batch_post *post)
{
    dbk_cursor_free(post->cursor);
    dbk_poster_free(post->poster);
    dbk_statement_free(post->set_position);
    dbk_statement_free(post->fence);
    dbk_connection_free(post->connection);
    *post = (struct dbk_batch_post){0};
}

/* Under `work`: the model serves the next generation from now on. */
static int adopt(struct rebuild *rebuild, struct dbk_error *err)
{
    struct dbk_model *model = rebuild->model;
    uint64_t position = rebuild->post.position;
    dbk_model_close_serving(model);
    close_post(&rebuild->post);
    (void)pthread_mutex_lock(&model->models->lock);
    struct dbk_generation old = model->serving;
    struct dbk_letters *old_letters = model->letters;
    model->serving = rebuild->next;
    model->letters = rebuild->letters;
    /* Whoever told the book meanwhile did not see them. */
    atomic_fetch_add(&model->models->owed, dbk_letters_owes(model->letters) ? 1 : 0);
    model->failures += dbk_letters_kept(old_letters);
    rebuild->next = old;
    rebuild->letters = old_letters;
    model->position = position;
    model->stopped = false;
    model->behind = false;
    model->error = (struct dbk_error){0};
    (void)pthread_cond_broadcast(&model->models->moved);
    (void)pthread_mutex_unlock(&model->models->lock);
    int rc = dbk_model_open_serving(model, err);
    if (rc < 0) {
        dbk_model_close_serving(model);
        struct dbk_error why = {0};
        (void)dbk_error_set(&why, rc, "model %s: its handlers could not be prepared again; restart",
                            model->definition.name);
        dbk_model_stopped(model, &why);
    }
    return rc;
}

static int swap_once(struct rebuild *rebuild, bool server, struct dbk_error *err)
{
    struct dbk_connection *connection = rebuild->post.connection;
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK && server)
        rc = dbk_connection_run(connection, "SET LOCAL lock_timeout = '100ms'", err);
    if (rc == DBK_OK)
        rc = dbk_generation_swap(connection, &rebuild->model->serving, &rebuild->next, err);
    if (rc == DBK_OK && rebuild->along != NULL)
        rc = rebuild->model->models->along.swap(rebuild->along, connection, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, "COMMIT", err);
    if (rc < 0 && dbk_connection_in_transaction(connection))
        dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    return rc;
}

/* Of a server it waits for readers of the plain views a tenth of a second at a time, and holds
   nothing meanwhile, so that nobody queues behind it. */
static int swap(struct rebuild *rebuild, struct dbk_error *err)
{
    const struct timespec pause = {.tv_nsec = SWAP_PAUSE_NS};
    bool server = dbk_connection_dialect(rebuild->post.connection) == DBK_DIALECT_POSTGRES;
    struct dbk_error failure = {0};
    int rc = swap_once(rebuild, server, &failure);
    for (int i = 1; server && rc == DBK_EBUSY && i < SWAP_TRIES; i++) {
        (void)nanosleep(&pause, NULL);
        rc = swap_once(rebuild, server, &failure);
    }
    return rc < 0 ? dbk_error_set(err, rc, "%s", failure.message) : rc;
}

/* Changing `sync:` changes who posts: that is left to the next open of the book. */
static int check_sync(const struct dbk_model *model, struct dbk_error *err)
{
    if (model->sync == model->definition.sync)
        return DBK_OK;
    return dbk_error_set(err, DBK_EINVAL,
                         "model %s: a rebuild cannot change sync: give the model another name",
                         model->definition.name);
}

static int finish(struct rebuild *rebuild, struct dbk_error *err)
{
    struct dbk_model *model = rebuild->model;
    (void)pthread_mutex_lock(&model->retrying);
    (void)pthread_mutex_lock(&model->work);
    bool was_stopped = model->stopped;
    bool swapped = false;
    int rc = catch_up(rebuild, 0, err);
    if (rc == DBK_OK && rebuild->along != NULL)
        model->models->along.catch_up(rebuild->along);
    if (rc == DBK_OK) {
        rc = swap(rebuild, err);
        swapped = rc == DBK_OK;
        /* Whether it was done is not known: the runner asks which generation serves. */
        if (rc == DBK_ECONNECT)
            dbk_model_close(model);
    }
    if (rc == DBK_OK)
        rc = adopt(rebuild, err);
    (void)pthread_mutex_unlock(&model->work);
    (void)pthread_mutex_unlock(&model->retrying);
    end_along(rebuild, swapped);
    if (rc == DBK_OK && was_stopped && model->sync == DBK_SYNC_EVENTS) {
        dbk_runner_stop(model);
        rc = dbk_runner_start(model, err);
    }
    return rc;
}

int dbk_models_rebuild(struct dbk_models *models, const char *name, dbk_progress_fn progress,
                       void *context, struct dbk_error *err)
{
    size_t index = 0;
    int rc = dbk_models_find(models, name, &index, err);
    if (rc < 0)
        return rc;
    struct rebuild rebuild = {.model = models->items[index],
                              .post = {.model = models->items[index]->definition.name},
                              .progress = progress,
                              .context = context};
    dbk_assert(rebuild.model->writer);
    (void)pthread_mutex_lock(&models->lock);
    bool busy = rebuild.model->rebuilding;
    rebuild.model->rebuilding = true;
    rebuild.forgotten = models->forgotten;
    (void)pthread_mutex_unlock(&models->lock);
    if (busy)
        return dbk_error_set(err, DBK_EBUSY, "model %s is being rebuilt already", name);
    dbk_generation_init(&rebuild.next);
    rc = check_sync(rebuild.model, err);
    if (rc == DBK_OK)
        rc = dbk_letters_create(rebuild.model, &rebuild.letters, err);
    if (rc == DBK_OK)
        rc = prepare(&rebuild, err);
    if (rc == DBK_OK)
        rc = catch_up(&rebuild, SWAP_EVENTS, err);
    if (rc == DBK_OK)
        rc = build_along(&rebuild, err);
    if (rc == DBK_OK)
        rc = finish(&rebuild, err);
    end_along(&rebuild, false);
    close_post(&rebuild.post);
    if (rc == DBK_OK && rebuild.next.number != 0)
        rc = dbk_generation_drop(&rebuild.next, err);
    dbk_generation_release(&rebuild.next);
    dbk_letters_free(rebuild.letters);
    dbk_letters_tell(models);
    (void)pthread_mutex_lock(&models->lock);
    rebuild.model->rebuilding = false;
    (void)pthread_mutex_unlock(&models->lock);
    return rc;
}
