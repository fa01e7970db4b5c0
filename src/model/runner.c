/* SPDX-License-Identifier: Apache-2.0 */
/* The runner of a model that follows the log: one thread a model. */
#include <time.h>

#include "model/state.h"

/* How long a runner sleeps without news, and after a failure that may pass. */
#define IDLE_US 1000000
#define RETRY_US 200000
#define RETRY_US_MAX (25 * RETRY_US)

static bool ends(struct dbk_model *model)
{
    (void)pthread_mutex_lock(&model->models->lock);
    bool over = model->models->stop || model->stopped;
    (void)pthread_mutex_unlock(&model->models->lock);
    return over;
}

static struct dbk_batch_post begin_post(struct dbk_model *model)
{
    return (struct dbk_batch_post){.models = model->models,
                                   .definition = &model->serving.definition,
                                   .letters = model->letters,
                                   .model = model->definition.name,
                                   .connection = model->session->connection,
                                   .poster = model->poster,
                                   .set_position = model->set_position,
                                   .fence = model->fence,
                                   .made = &model->made,
                                   .position = model->position};
}

/* One batch. 1: more to do; 0: nothing left; negative: it stopped, or should be tried again. */
static int run_once(struct dbk_model *model, struct dbk_cursor **cursor, struct dbk_error *err)
{
    bool failed = false;
    int rc = model->opened ? DBK_OK : dbk_model_open(model, err);
    if (rc < 0) {
        dbk_model_troubled(model, err);
        return rc;
    }
    struct dbk_batch_post post = begin_post(model);
    uint64_t before = post.position;
    if (*cursor == NULL)
        rc = dbk_post_cursor(model->models->store, &model->serving.definition, post.position, 0,
                             cursor, err);
    else
        rc = dbk_cursor_extend(*cursor, err);
    if (rc < 0)
        return rc;
    post.cursor = *cursor;
    rc = dbk_post_batch(&post, &failed, err);
    *cursor = post.cursor;
    if (rc >= 0) {
        if (post.position != before || post.posted > 0)
            dbk_model_moved(model, post.position, post.posted);
        return rc;
    }
    failed = failed && !ends(model); /* a statement that is interrupted at the end is no fault */
    if (failed)
        dbk_post_before(model, &post, err);
    *cursor = post.cursor;
    dbk_cursor_free(*cursor);
    *cursor = NULL;
    if (failed)
        dbk_model_stopped(model, err);
    else
        dbk_model_troubled(model, err);
    /* Whether the last commit was done is not known: the database is asked where it is. */
    if (rc == DBK_ECONNECT)
        dbk_model_close(model);
    return rc;
}

int dbk_model_catch_up(struct dbk_model *model, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_error unasked = {0};
    int rc = 1;
    while (rc == 1)
        rc = run_once(model, &cursor, err == NULL ? &unasked : err);
    dbk_cursor_free(cursor);
    return rc;
}

/* Sleeps until it is worth trying again, or the models end. */
static void back_off(struct dbk_model *model, int64_t duration_us)
{
    struct dbk_models *models = model->models;
    struct timespec end;
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    int64_t nanoseconds = end.tv_nsec + duration_us % 1000000 * 1000;
    end.tv_sec += duration_us / 1000000 + nanoseconds / 1000000000;
    end.tv_nsec = nanoseconds % 1000000000;
    int waited = 0;
    (void)pthread_mutex_lock(&models->lock);
    while (!models->stop && waited == 0)
        waited = pthread_cond_timedwait(&models->moved, &models->lock, &end);
    (void)pthread_mutex_unlock(&models->lock);
}

/* The cursor belongs to one generation: a rebuild's swap is noticed by the number. */
static void *run_thread(void *context)
{
    struct dbk_model *model = context;
    struct dbk_cursor *cursor = NULL;
    uint64_t generation = 0; /* that the cursor is of */
    int64_t retry_us = RETRY_US;
    for (;;) {
        struct dbk_error err = {0};
        uint64_t wakes = dbk_store_wakes(model->models->store);
        if (ends(model))
            break;
        (void)pthread_mutex_lock(&model->work);
        if (generation != model->serving.number) {
            dbk_cursor_free(cursor);
            cursor = NULL;
            generation = model->serving.number;
        }
        int rc = run_once(model, &cursor, &err);
        uint64_t position = model->position;
        (void)pthread_mutex_unlock(&model->work);
        if (rc == 0)
            dbk_ignore(dbk_store_wait(model->models->store, wakes, position, IDLE_US, &err));
        else if (rc < 0 && !ends(model))
            back_off(model, retry_us);
        retry_us = rc >= 0 ? RETRY_US : retry_us < RETRY_US_MAX / 2 ? retry_us * 2 : RETRY_US_MAX;
    }
    dbk_cursor_free(cursor);
    return NULL;
}

int dbk_runner_start(struct dbk_model *model, struct dbk_error *err)
{
    int failure = pthread_create(&model->thread, NULL, run_thread, model);
    if (failure != 0)
        return dbk_error_set_errno(err, failure, "model %s: its thread cannot start",
                                   model->definition.name);
    model->thread_runs = true;
    return DBK_OK;
}

void dbk_runner_stop(struct dbk_model *model)
{
    if (model->thread_runs)
        (void)pthread_join(model->thread, NULL);
    model->thread_runs = false;
}
