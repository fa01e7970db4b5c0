/* SPDX-License-Identifier: Apache-2.0 */
/* Posting from the log: batches, and the runner of a `sync: events` model. */
#include <inttypes.h>
#include <time.h>

#include "base/assert.h"
#include "model/state.h"

/* How long a runner sleeps without news, and after a failure that may pass. */
#define IDLE_US 1000000
#define RETRY_US 200000
#define RETRY_US_MAX (25 * RETRY_US)

static int64_t monotonic_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int dbk_post_cursor(struct dbk_store *store, const struct dbk_model_definition *definition,
                    uint64_t position, uint64_t position_max, struct dbk_cursor **cursor_out,
                    struct dbk_error *err)
{
    return dbk_cursor_open(store,
                           &(struct dbk_filter){.categories = definition->categories,
                                                .category_count = definition->category_count,
                                                .position_min = position + 1,
                                                .position_max = position_max,
                                                .as_written = true,
                                                .hidden = true},
                           cursor_out, err);
}

int dbk_post_set_position(struct dbk_connection *connection, const char *model, uint64_t generation,
                          struct dbk_statement **statement_out, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = !dbk_dialect_is_sql(dbk_connection_dialect(connection))
                 ? dbk_catalog_open(connection, DBK_CATALOG_SET_POSITION, &statement, err)
                 : dbk_statement_open(connection,
                                      DBK_SLICE_LITERAL("UPDATE _daybook_models SET position = ?1 "
                                                        "WHERE model = ?2 AND generation = ?3"),
                                      &statement, NULL, err);
    if (rc < 0)
        return rc;
    struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(model)};
    struct dbk_value number = {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)generation};
    dbk_statement_bind(statement, 2, &name);
    dbk_statement_bind(statement, 3, &number);
    *statement_out = statement;
    return DBK_OK;
}

int dbk_post_fence(struct dbk_connection *connection, const char *model, uint64_t generation,
                   struct dbk_statement **statement_out, struct dbk_error *err)
{
    if (dbk_connection_dialect(connection) != DBK_DIALECT_POSTGRES)
        return DBK_OK;
    int rc = dbk_statement_open(connection,
                                DBK_SLICE_LITERAL("SELECT position FROM _daybook_models WHERE "
                                                  "model = ?1 AND generation = ?2 FOR UPDATE"),
                                statement_out, NULL, err);
    if (rc < 0)
        return rc;
    struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(model)};
    struct dbk_value number = {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)generation};
    dbk_statement_bind(*statement_out, 1, &name);
    dbk_statement_bind(*statement_out, 2, &number);
    return DBK_OK;
}

/* DBK_ECONNECT: what was believed of the database is no longer true, it is to be opened again. */
static int check_fence(struct dbk_batch_post *post, struct dbk_error *err)
{
    if (post->fence == NULL)
        return DBK_OK;
    int rc = dbk_statement_step(post->fence, err);
    bool same = rc == 1 && dbk_statement_column(post->fence, 0).integer == (int64_t)post->position;
    dbk_statement_reset(post->fence);
    if (rc < 0 || same)
        return rc < 0 ? rc : DBK_OK;
    return dbk_error_set(err, DBK_ECONNECT, "model %s: its position in the database has changed",
                         post->model);
}

/* before: the position that must still be there, where no fence has looked. */
static int set_position(struct dbk_batch_post *post, uint64_t before, struct dbk_error *err)
{
    struct dbk_value value = {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)post->position};
    struct dbk_value old = {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)before};
    dbk_statement_bind(post->set_position, 1, &value);
    if (!dbk_dialect_is_sql(dbk_connection_dialect(post->connection)))
        dbk_statement_bind(post->set_position, 4, &old);
    int rc = dbk_statement_step(post->set_position, err);
    dbk_statement_reset(post->set_position);
    return rc;
}

/* What was sent ahead may also fail as late as here. */
static int commit(struct dbk_batch_post *post, uint64_t *failed, struct dbk_error *err)
{
    int rc = dbk_connection_run(post->connection, "COMMIT", err);
    if (rc < 0) {
        *failed = post->position;
        post->nameless = true;
    }
    return rc;
}

static bool is_later(const struct dbk_event *event, const int64_t *occurred_max_us)
{
    int64_t occurred = event->occurred_us == DBK_TIME_NONE ? event->time_us : event->occurred_us;
    return occurred_max_us != NULL && occurred > *occurred_max_us;
}

/* How many events a transaction takes: while one that fails is searched for, half of those that it
   is among. */
static uint64_t limit_of(const struct dbk_batch_post *post)
{
    uint64_t region = post->letters == NULL ? 0 : post->letters->region;
    return region == 0 || region > DBK_POST_EVENTS ? DBK_POST_EVENTS : (region + 1) / 2;
}

/* 1: its handler ran; 0: it has none, or is passed over. */
static int post_event(struct dbk_batch_post *post, const struct dbk_event *event, bool letters,
                      struct dbk_error *err)
{
    if (is_later(event, post->occurred_max_us) ||
        (letters && dbk_letters_has(post->letters, event->position)))
        return 0;
    int rc = dbk_poster_post(post->poster, event, err);
    if (rc != 0 && post->first == 0)
        post->first = event->position;
    return rc;
}

/* Posts events in the open transaction, up to `stop` (0: as the bounds allow). A deferred foreign
   key whose row may come with the next events keeps the transaction open past the bounds. */
static int post_events(struct dbk_batch_post *post, uint64_t stop, uint64_t *failed, bool *more,
                       struct dbk_error *err)
{
    int64_t begun_us = monotonic_us();
    struct dbk_event event;
    int rc = 1;
    uint64_t limit = limit_of(post);
    bool letters = post->letters != NULL && dbk_letters_any(post->letters);
    *more = true;
    post->posted = 0;
    post->first = 0;
    post->seen = 0;
    while ((post->seen < limit || dbk_connection_deferred_violation(post->connection)) &&
           (rc = dbk_cursor_next(post->cursor, &event, err)) > 0) {
        if (stop != 0 && event.position >= stop) {
            post->position = stop - 1;
            return DBK_OK;
        }
        post->seen++;
        rc = post_event(post, &event, letters, err);
        if (rc < 0) {
            *failed = event.position;
            return rc;
        }
        if (rc > 0 && post->made != NULL)
            dbk_pace_note(post->made, &event);
        post->posted += (uint64_t)rc;
        rc = 1;
        post->position = event.position;
        if (dbk_connection_is_full(post->connection) ||
            (post->seen % 64 == 0 && monotonic_us() - begun_us > DBK_POST_US &&
             !dbk_connection_deferred_violation(post->connection)))
            return DBK_OK;
    }
    if (rc == 0) {
        post->position = dbk_cursor_position(post->cursor);
        *more = false;
    }
    return rc < 0 ? rc : DBK_OK;
}

static bool may_pass(int rc)
{
    return rc == DBK_EBUSY || rc == DBK_EFULL || rc == DBK_EIO || rc == DBK_ENOMEM ||
           rc == DBK_ECONNECT;
}

/* What a server was sent ahead may have failed, at an event that is only found one by one. */
static int settle(struct dbk_batch_post *post, uint64_t *failed, struct dbk_error *err)
{
    int rc = dbk_connection_settle(post->connection, true, err);
    if (rc < 0) {
        *failed = post->position;
        post->nameless = true;
    }
    return rc;
}

/* The commit would only say that there is such a key. */
static int check_deferred(struct dbk_batch_post *post, uint64_t *failed, struct dbk_error *err)
{
    if (!dbk_connection_deferred_violation(post->connection))
        return DBK_OK;
    *failed = post->position;
    post->nameless = true;
    return dbk_error_set(err, DBK_EREFUSED,
                         "model %s: a foreign key is left without its row behind event %" PRIu64,
                         post->model, post->position);
}

/* No state is made of what is being forgotten: who forgets is waited for, and waits for nobody. */
static int refresh_states(struct dbk_batch_post *post, struct dbk_error *err)
{
    struct dbk_states *states = dbk_poster_states(post->poster);
    if (states == NULL)
        return DBK_OK;
    (void)pthread_mutex_lock(&post->models->forgetting);
    int rc = dbk_states_refresh(states, err);
    (void)pthread_mutex_unlock(&post->models->forgetting);
    return rc;
}

/* The states before the database: who forgets holds the one and may wait for the other, where a
   `transaction` model shares the file. What was forgotten while the database was waited for is
   looked for behind it. */
static int begin(struct dbk_batch_post *post, struct dbk_error *err)
{
    const struct dbk_states *states = dbk_poster_states(post->poster);
    int stale = 1;
    while (stale == 1) {
        int rc = refresh_states(post, err);
        if (rc == DBK_OK)
            rc = dbk_connection_begin(post->connection, DBK_BEGIN_WRITE, err);
        if (rc < 0)
            return rc;
        stale = states == NULL ? 0 : dbk_states_stale(states, err);
        if (stale != 0)
            dbk_ignore(dbk_connection_run(post->connection, "ROLLBACK", NULL));
    }
    return stale;
}

static int post_transaction(struct dbk_batch_post *post, uint64_t stop, uint64_t *failed,
                            bool *more, struct dbk_error *err)
{
    uint64_t before = post->position;
    if (post->made != NULL) {
        post->made->count = 0;
        post->made->begun_us = dbk_model_now_us();
    }
    int rc = begin(post, err);
    dbk_poster_set_careful(post->poster, stop != 0 || limit_of(post) == 1);
    if (rc == DBK_OK)
        rc = check_fence(post, err);
    if (rc == DBK_OK)
        rc = post_events(post, stop, failed, more, err);
    if (rc == DBK_OK)
        rc = settle(post, failed, err);
    if (rc == DBK_OK && !dbk_connection_in_transaction(post->connection))
        rc = dbk_error_set(err, DBK_ESCRIPT, "a handler ended the transaction it was run in");
    if (rc == DBK_OK)
        rc = check_deferred(post, failed, err);
    if (rc == DBK_OK && post->letters != NULL && post->letters->in_target)
        rc = dbk_letters_write(post->letters, post->connection, err);
    if (rc == DBK_OK && post->position != before)
        rc = set_position(post, before, err);
    if (rc == DBK_OK)
        rc = commit(post, failed, err);
    if (rc == DBK_OK && post->letters != NULL)
        dbk_letters_committed(post->letters);
    if (rc < 0) {
        if (dbk_connection_in_transaction(post->connection))
            dbk_ignore(dbk_connection_run(post->connection, "ROLLBACK", NULL));
        post->position = before;
        post->posted = 0;
    }
    return rc;
}

/* A cursor goes forwards only: after a failure a new one begins where the model is. */
static void drop_cursor(struct dbk_batch_post *post)
{
    dbk_cursor_free(post->cursor);
    post->cursor = NULL;
}

static int rewind_cursor(struct dbk_batch_post *post, uint64_t position_max, struct dbk_error *err)
{
    drop_cursor(post);
    return dbk_post_cursor(post->models->store, post->definition, post->position, position_max,
                           &post->cursor, err);
}

/* A statement that is interrupted at the end is no fault. */
static bool is_ending(const struct dbk_batch_post *post)
{
    (void)pthread_mutex_lock(&post->models->lock);
    bool over = post->models->stop;
    (void)pthread_mutex_unlock(&post->models->lock);
    return over;
}

/* The event is durable as a letter before any transaction passes over it. */
static int set_aside(struct dbk_batch_post *post, uint64_t position, bool named,
                     const struct dbk_error *why, struct dbk_error *err)
{
    struct dbk_letters *letters = post->letters;
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    char place[DBK_LETTERS_REASON_SIZE] = "";
    if (named)
        dbk_poster_place(post->poster, place, sizeof(place));
    int rc = dbk_letters_event(post->models->store, position, &cursor, &event, err);
    if (rc == 1)
        rc = dbk_letters_keep(letters, &event, place, why, err);
    dbk_cursor_free(cursor);
    letters->region = 0;
    letters->stop = named ? position + 1 : 0;
    return rc;
}

/* A transaction failed at an event, or at one of those that it has looked at. */
static int search(struct dbk_batch_post *post, uint64_t failed, const struct dbk_error *why,
                  struct dbk_error *err)
{
    struct dbk_letters *letters = post->letters;
    uint64_t limit = limit_of(post);
    bool tells = dbk_connection_dialect(post->connection) == DBK_DIALECT_SQLITE;
    int rc = DBK_OK;
    if (tells && !post->nameless)
        rc = set_aside(post, failed, true, why, err);
    else if (letters->stop != 0)
        letters->stop = 0; /* what it ended before may mend it */
    else if (limit == 1)
        rc = set_aside(post, post->first, !post->nameless, why, err);
    else
        letters->region = post->seen < limit ? post->seen : limit;
    return rc;
}

static void found_good(struct dbk_letters *letters, uint64_t seen)
{
    letters->stop = 0;
    letters->region -= seen < letters->region ? seen : letters->region;
}

int dbk_post_batch(struct dbk_batch_post *post, bool *failed_out, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    struct dbk_letters *letters =
        post->letters != NULL && post->letters->keeps ? post->letters : NULL;
    uint64_t failed = 0;
    bool more = false;
    *failed_out = false;
    post->nameless = false;
    uint64_t stop = letters == NULL ? 0 : letters->stop;
    int rc = post->cursor == NULL ? rewind_cursor(post, post->position_max, err) : DBK_OK;
    if (rc < 0)
        return rc;
    rc = post_transaction(post, stop, &failed, &more, &failure);
    if (rc == DBK_OK && letters != NULL)
        found_good(letters, post->seen);
    if (rc == DBK_OK && stop != 0)
        drop_cursor(post); /* it has read past where the transaction ended */
    if (rc == DBK_OK)
        return more || stop != 0 ? 1 : 0;
    bool own = letters != NULL && failed != 0 && post->first != 0 && dbk_letters_is_own(rc);
    if (own && !is_ending(post)) {
        struct dbk_error why = failure;
        drop_cursor(post);
        rc = search(post, failed, &why, &failure);
        if (rc >= 0)
            return 1;
        failed = rc == DBK_ELIMIT ? failed : 0;
    }
    if (err != NULL)
        *err = failure;
    *failed_out = failed != 0 && !may_pass(rc);
    return rc;
}

/* 1: another session's retry, which the fence has waited for, was committed after all; 0: it is to
   be posted. A graph's own node is written first: that is its fence. */
static int begin_letter(struct dbk_batch_post *post, uint64_t position, struct dbk_error *err)
{
    int rc = begin(post, err);
    if (rc == DBK_OK)
        rc = check_fence(post, err);
    if (rc == DBK_OK && !dbk_dialect_is_sql(dbk_connection_dialect(post->connection)))
        rc = set_position(post, post->position, err);
    return rc < 0 ? rc : dbk_letters_marked(post->letters, post->connection, position, err);
}

/* 1: there is a handler; 0: none. */
static int post_marked(struct dbk_batch_post *post, const struct dbk_event *event,
                       struct dbk_error *err)
{
    uint64_t failed = 0;
    int handled = dbk_poster_post(post->poster, event, err);
    int rc = handled < 0 ? handled : settle(post, &failed, err);
    if (rc == DBK_OK && !dbk_connection_in_transaction(post->connection))
        rc = dbk_error_set(err, DBK_ESCRIPT, "a handler ended the transaction it was run in");
    if (rc == DBK_OK)
        rc = check_deferred(post, &failed, err);
    if (rc == DBK_OK)
        rc = dbk_letters_mark(post->letters, post->connection, event->position, err);
    if (rc == DBK_OK)
        rc = commit(post, &failed, err);
    return rc < 0 ? rc : handled;
}

int dbk_post_letter(struct dbk_batch_post *post, const struct dbk_event *event,
                    struct dbk_error *err)
{
    dbk_poster_set_careful(post->poster, true);
    int rc = begin_letter(post, event->position, err);
    bool done = rc == 1;
    if (rc == 0)
        rc = post_marked(post, event, err);
    if (dbk_connection_in_transaction(post->connection))
        dbk_ignore(dbk_connection_run(post->connection, "ROLLBACK", NULL));
    return done ? 0 : rc;
}

/* Everything before the event that failed is posted all the same. why: which event leaves a foreign
   key without its row is only found here. */
static void post_before(struct dbk_model *model, struct dbk_batch_post *post, struct dbk_error *why)
{
    struct dbk_store *store = model->models->store;
    const struct dbk_model_definition *definition = &model->serving.definition;
    struct dbk_error err = {0};
    struct dbk_event event;
    struct dbk_cursor *look = NULL;
    bool nameless = post->nameless;
    /* The failing event is the first that cannot be posted alone: one is tried after the other. */
    for (;;) {
        uint64_t failed = 0;
        bool more = false;
        dbk_cursor_free(look);
        look = NULL;
        int rc = dbk_post_cursor(store, definition, post->position, 0, &look, &err);
        if (rc == DBK_OK)
            rc = dbk_cursor_next(look, &event, &err);
        if (rc <= 0 || rewind_cursor(post, 0, &err) < 0)
            break;
        rc = post_transaction(post, event.position + 1, &failed, &more, &err);
        if (failed != 0 && nameless)
            *why = err;
        if (rc < 0 || !more)
            break;
        dbk_model_moved(model, post->position, post->posted);
    }
    dbk_cursor_free(look);
}

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
        post_before(model, &post, err);
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
