/* SPDX-License-Identifier: Apache-2.0 */
/* Letters are retried, dropped, and told to the book. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "model/state.h"

int dbk_letters_create(struct dbk_model *model, struct dbk_letters **letters_out,
                       struct dbk_error *err)
{
    struct dbk_letters *letters = dbk_alloc_zero(1, sizeof(*letters));
    if (letters == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening model %s",
                             model->definition.name);
    dbk_letters_init(letters, model->models->store, model->definition.name);
    letters->append = model->models->append;
    letters->context = model->models->append_context;
    letters->owed = &model->models->owed;
    letters->keeps = model->definition.set_aside;
    *letters_out = letters;
    return DBK_OK;
}

void dbk_letters_free(struct dbk_letters *letters)
{
    if (letters == NULL)
        return;
    dbk_letters_release(letters);
    dbk_free(letters);
}

int dbk_letters_open(struct dbk_letters *letters, const struct dbk_generation *generation,
                     struct dbk_connection *connection, struct dbk_error *err)
{
    letters->in_target =
        letters->append == NULL || generation->definition.sync == DBK_SYNC_TRANSACTION;
    letters->quiet = generation->definition.personal != DBK_PERSONAL_NONE;
    int rc = dbk_letters_load(letters, generation->number, generation->position, err);
    return rc < 0 ? rc : dbk_letters_settle(letters, connection, err);
}

void dbk_models_set_append(struct dbk_models *models, dbk_append_fn append, void *context)
{
    models->append = append;
    models->append_context = context;
}

void dbk_models_set_folds(struct dbk_models *models, struct dbk_folds *folds)
{
    models->folds = folds;
}

/* ---- Telling the book what is only in a target ---- */

struct owed {
    struct dbk_letter_note *notes;
    uint64_t *positions;
    size_t count;
};

static int collect_owed(struct dbk_letters *letters, struct owed *owed)
{
    (void)pthread_mutex_lock(&letters->lock);
    owed->notes = dbk_alloc_zero(letters->count + 1, sizeof(*owed->notes));
    owed->positions = dbk_alloc_zero(letters->count + 1, sizeof(*owed->positions));
    bool room = owed->notes != NULL && owed->positions != NULL;
    for (size_t i = 0; room && i < letters->count; i++) {
        const struct dbk_letter_place *place = &letters->places[i];
        if (place->state != DBK_LETTER_OWED)
            continue;
        struct dbk_letter_note *note = &owed->notes[owed->count];
        note->position = place->position;
        note->tries = place->tries;
        (void)snprintf(note->reason, sizeof(note->reason), "%s", place->reason);
        owed->positions[owed->count++] = place->position;
    }
    (void)pthread_mutex_unlock(&letters->lock);
    return room ? DBK_OK : DBK_ENOMEM;
}

/* Rows of letters that the book has, or is to hear no more of. Under `retrying`. */
static int clear_rows(struct dbk_model *model, const uint64_t *positions, size_t count,
                      struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    (void)pthread_mutex_lock(&model->work);
    int rc = dbk_connection_open(model->definition.database_path, 0, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = dbk_letters_clear_owed(model->letters, connection, positions, count, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, "COMMIT", err);
    dbk_connection_free(connection);
    (void)pthread_mutex_unlock(&model->work);
    return rc;
}

/* Under `retrying`. */
static int tell_model(struct dbk_model *model, struct dbk_error *err)
{
    struct owed owed = {0};
    int rc = model->letters == NULL ? DBK_OK : collect_owed(model->letters, &owed);
    if (rc == DBK_OK && owed.count > 0)
        rc = dbk_letters_store(model->letters, owed.notes, owed.count, DBK_LETTER_WORD_RETRIED,
                               NULL, 0, err);
    /* A row that stays is found again with the next open, or by who drops the letter. */
    if (rc == DBK_OK && owed.count > 0)
        dbk_ignore(clear_rows(model, owed.positions, owed.count, NULL));
    dbk_free(owed.notes);
    dbk_free(owed.positions);
    return rc;
}

static bool owes(struct dbk_model *model)
{
    (void)pthread_mutex_lock(&model->models->lock);
    bool owed = model->letters != NULL && dbk_letters_owes(model->letters);
    (void)pthread_mutex_unlock(&model->models->lock);
    return owed;
}

void dbk_letters_tell(struct dbk_models *models)
{
    if (models == NULL || atomic_load(&models->owed) == atomic_load(&models->told))
        return;
    /* Who comes second waits: its own letter may be among those that are just being told. */
    (void)pthread_mutex_lock(&models->telling);
    uint64_t owed = atomic_load(&models->owed);
    bool all = true;
    for (size_t i = 0; i < models->count && owed != atomic_load(&models->told); i++) {
        struct dbk_model *model = models->items[i];
        if (!owes(model))
            continue;
        (void)pthread_mutex_lock(&model->retrying);
        all = tell_model(model, NULL) >= 0 && all;
        (void)pthread_mutex_unlock(&model->retrying);
    }
    if (all)
        atomic_store(&models->told, owed);
    (void)pthread_mutex_unlock(&models->telling);
}

/* ---- What is meant ---- */

struct chosen {
    uint64_t *positions; /* ascending, each once */
    size_t count;
};

static int compare(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a;
    uint64_t other = *(const uint64_t *)b;
    return one < other ? -1 : one > other;
}

static int no_letter(const struct dbk_model *model, uint64_t position, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOTFOUND, "position %" PRIu64 " is no letter of model %s",
                         position, model->definition.name);
}

/* Every letter that waits, or the given positions. Under `retrying`. */
static int choose(struct dbk_model *model, const uint64_t *positions, size_t count,
                  struct chosen *chosen, struct dbk_error *err)
{
    struct dbk_letters *letters = model->letters;
    int rc = DBK_OK;
    (void)pthread_mutex_lock(&letters->lock);
    size_t room = count == 0 ? letters->count : count;
    chosen->positions = dbk_alloc_zero(room + 1, sizeof(*chosen->positions));
    if (chosen->positions == NULL)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory taking letters");
    for (size_t i = 0; rc == DBK_OK && i < room; i++) {
        const struct dbk_letter_place *place =
            count == 0 ? &letters->places[i] : dbk_letters_find(letters, positions[i]);
        bool waits = place != NULL && place->state != DBK_LETTER_DROPPED;
        if (!waits && count > 0)
            rc = no_letter(model, positions[i], err);
        else if (waits)
            chosen->positions[chosen->count++] = place->position;
    }
    (void)pthread_mutex_unlock(&letters->lock);
    if (rc < 0)
        return rc;
    qsort(chosen->positions, chosen->count, sizeof(*chosen->positions), compare);
    size_t kept = 0;
    for (size_t i = 0; i < chosen->count; i++) {
        if (kept == 0 || chosen->positions[kept - 1] != chosen->positions[i])
            chosen->positions[kept++] = chosen->positions[i];
    }
    chosen->count = kept;
    return DBK_OK;
}

/* What the runner has yet to pass over is its own. */
static int check_passed(struct dbk_model *model, const struct chosen *chosen, struct dbk_error *err)
{
    (void)pthread_mutex_lock(&model->models->lock);
    uint64_t position = model->position;
    (void)pthread_mutex_unlock(&model->models->lock);
    if (chosen->count == 0 || chosen->positions[chosen->count - 1] <= position)
        return DBK_OK;
    return dbk_error_set(err, DBK_EBUSY,
                         "model %s is at position %" PRIu64 ", and has yet to pass letter %" PRIu64,
                         model->definition.name, position, chosen->positions[chosen->count - 1]);
}

static int begin(struct dbk_models *models, size_t index, struct dbk_model **model_out,
                 struct dbk_error *err)
{
    struct dbk_model *model = models->items[index];
    dbk_assert(model->writer);
    dbk_letters_tell(models);
    if (pthread_mutex_trylock(&model->retrying) != 0)
        return dbk_error_set(err, DBK_EBUSY, "letters of model %s are just being retried",
                             model->definition.name);
    *model_out = model;
    return DBK_OK;
}

/* ---- Retrying ---- */

struct retry {
    struct dbk_model *model;
    struct dbk_batch_post post;
    struct dbk_letters_retried *result;
    struct dbk_letter_note *failed;
    size_t failed_count;
    uint64_t *done;
    size_t done_count;
};

static void close_retry(struct retry *retry)
{
    dbk_poster_free(retry->post.poster);
    dbk_statement_free(retry->post.set_position);
    dbk_statement_free(retry->post.fence);
    dbk_connection_free(retry->post.connection);
    dbk_free(retry->failed);
    dbk_free(retry->done);
}

/* A session of its own, whose commits are on the disk before they are told. Under `work`. */
static int open_retry(struct retry *retry, struct dbk_error *err)
{
    struct dbk_model *model = retry->model;
    struct dbk_batch_post *post = &retry->post;
    const struct dbk_generation *serving = &model->serving;
    if (!model->opened)
        return dbk_error_set(err, DBK_ECONNECT, "%s",
                             model->error.code != DBK_OK ? model->error.message
                                                         : "its database cannot be reached");
    int rc = dbk_connection_open(model->definition.database_path, DBK_CONNECT_HANDLERS,
                                 &post->connection, err);
    if (rc == DBK_OK && dbk_connection_dialect(post->connection) == DBK_DIALECT_SQLITE)
        rc = dbk_connection_run(post->connection, "PRAGMA synchronous = FULL", err);
    if (rc == DBK_OK) {
        dbk_connection_limit_us(post->connection, DBK_POST_LIMIT_US);
        rc = dbk_poster_open(post->connection, &serving->definition, serving->renames,
                             serving->object_count, &post->poster, NULL, err);
    }
    if (rc == DBK_OK)
        rc = dbk_poster_read_by(post->poster, model->models->store, model->models->folds, 0, err);
    if (rc == DBK_OK)
        rc = dbk_post_set_position(post->connection, model->definition.name, serving->number,
                                   &post->set_position, err);
    if (rc == DBK_OK)
        rc = dbk_post_fence(post->connection, model->definition.name, serving->number, &post->fence,
                            err);
    post->models = model->models;
    post->definition = &serving->definition;
    post->letters = model->letters;
    post->model = model->definition.name;
    return rc;
}

static uint32_t tries_of(struct dbk_letters *letters, uint64_t position)
{
    (void)pthread_mutex_lock(&letters->lock);
    const struct dbk_letter_place *place = dbk_letters_find(letters, position);
    uint32_t tries = place == NULL ? 0 : place->tries;
    (void)pthread_mutex_unlock(&letters->lock);
    return tries;
}

/* It stays, with a try more. */
static void note_failure(struct retry *retry, const struct dbk_event *event,
                         const struct dbk_error *why)
{
    char where[DBK_LETTERS_REASON_SIZE];
    struct dbk_letter_note *note = &retry->failed[retry->failed_count++];
    dbk_poster_place(retry->post.poster, where, sizeof(where));
    note->position = event->position;
    note->tries = tries_of(retry->model->letters, event->position) + 1;
    dbk_letters_reason(retry->model->letters, event, where, why, note->reason);
    if (retry->result->error.code == DBK_OK)
        retry->result->error = *why;
}

static int post_again(struct retry *retry, uint64_t position, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_error why = {0};
    struct dbk_models *models = retry->model->models;
    int rc = dbk_letters_event(models->store, position, &cursor, &event, err);
    if (rc == 0)
        rc = dbk_error_set(err, DBK_ENOTFOUND,
                           "event %" PRIu64 " is not in the book any more: drop its letter",
                           position);
    if (rc < 0) {
        dbk_cursor_free(cursor);
        return rc;
    }
    rc = dbk_post_letter(&retry->post, &event, &why);
    if (rc >= 0) {
        retry->done[retry->done_count++] = position;
        rc = DBK_OK;
    } else if (dbk_letters_is_own(rc)) {
        note_failure(retry, &event, &why);
        rc = DBK_OK;
    } else if (err != NULL) {
        *err = why;
    }
    dbk_cursor_free(cursor);
    return rc;
}

/* What is marked is in the tables already: only the book has yet to hear of it. */
static int retry_one(struct retry *retry, uint64_t position, struct dbk_error *err)
{
    struct dbk_model *model = retry->model;
    (void)pthread_mutex_lock(&model->work);
    int rc = retry->post.connection == NULL ? open_retry(retry, err) : DBK_OK;
    retry->post.position = model->position;
    if (rc == DBK_OK)
        rc = dbk_letters_marked(model->letters, retry->post.connection, position, err);
    if (rc == 1) {
        retry->done[retry->done_count++] = position;
        rc = DBK_OK;
    } else if (rc == DBK_OK) {
        rc = post_again(retry, position, err);
    }
    (void)pthread_mutex_unlock(&model->work);
    return rc;
}

/* The book first: a mark that stays is found again. */
static int tell_retried(struct retry *retry, struct dbk_error *err)
{
    struct dbk_model *model = retry->model;
    int rc = dbk_letters_store(model->letters, retry->failed, retry->failed_count,
                               DBK_LETTER_WORD_RETRIED, retry->done, retry->done_count, err);
    if (rc < 0 || retry->done_count == 0)
        return rc;
    (void)pthread_mutex_lock(&model->work);
    dbk_ignore(dbk_letters_clear(model->letters, retry->post.connection, retry->done,
                                 retry->done_count, NULL));
    (void)pthread_mutex_unlock(&model->work);
    return DBK_OK;
}

static int retry_all(struct retry *retry, const struct chosen *chosen, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    retry->failed = dbk_alloc_zero(chosen->count + 1, sizeof(*retry->failed));
    retry->done = dbk_alloc_zero(chosen->count + 1, sizeof(*retry->done));
    int rc = retry->failed == NULL || retry->done == NULL
                 ? dbk_error_set(&failure, DBK_ENOMEM, "out of memory retrying letters")
                 : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < chosen->count; i++)
        rc = retry_one(retry, chosen->positions[i], &failure);
    /* What was done before something broke is told all the same. */
    if (retry->failed_count + retry->done_count > 0) {
        struct dbk_error untold = {0};
        int told = tell_retried(retry, &untold);
        failure = rc < 0 ? failure : untold;
        rc = rc < 0 ? rc : told;
    }
    retry->result->retried = retry->done_count;
    retry->result->failed = retry->failed_count;
    if (rc < 0 && err != NULL)
        *err = failure;
    return rc;
}

int dbk_letters_retry(struct dbk_models *models, size_t index, const uint64_t *positions,
                      size_t count, struct dbk_letters_retried *retried_out, struct dbk_error *err)
{
    struct retry retry = {.result = retried_out};
    struct chosen chosen = {0};
    *retried_out = (struct dbk_letters_retried){0};
    int rc = begin(models, index, &retry.model, err);
    if (rc < 0)
        return rc;
    rc = choose(retry.model, positions, count, &chosen, err);
    if (rc == DBK_OK)
        rc = check_passed(retry.model, &chosen, err);
    if (rc == DBK_OK)
        rc = retry_all(&retry, &chosen, err);
    close_retry(&retry);
    dbk_free(chosen.positions);
    (void)pthread_mutex_unlock(&retry.model->retrying);
    return rc;
}

int dbk_letters_drop(struct dbk_models *models, size_t index, const uint64_t *positions,
                     size_t count, size_t *count_out, struct dbk_error *err)
{
    struct dbk_model *model = NULL;
    struct chosen chosen = {0};
    *count_out = 0;
    int rc = begin(models, index, &model, err);
    if (rc < 0)
        return rc;
    rc = choose(model, positions, count, &chosen, err);
    if (rc == DBK_OK)
        rc = check_passed(model, &chosen, err);
    /* A row that stayed would be a letter once more with the next open; one that the book has not
       heard of is all that there is of its letter. */
    if (rc == DBK_OK)
        rc = tell_model(model, err);
    if (rc == DBK_OK && chosen.count > 0 && model->letters->in_target)
        rc = clear_rows(model, chosen.positions, chosen.count, err);
    if (rc == DBK_OK && chosen.count > 0)
        rc = dbk_letters_store(model->letters, NULL, 0, DBK_LETTER_WORD_DROPPED, chosen.positions,
                               chosen.count, err);
    if (rc == DBK_OK)
        *count_out = chosen.count;
    dbk_free(chosen.positions);
    (void)pthread_mutex_unlock(&model->retrying);
    return rc;
}
