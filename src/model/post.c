/* SPDX-License-Identifier: Apache-2.0 */
/* Posting from the log: batches. */
#include <inttypes.h>
#include <time.h>

#include "base/assert.h"
#include "model/state.h"

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
    enum dbk_dialect dialect = dbk_connection_dialect(connection);
    if (dialect != DBK_DIALECT_POSTGRES && dialect != DBK_DIALECT_MONGODB)
        return DBK_OK;
    int rc = dialect == DBK_DIALECT_MONGODB
                 ? dbk_catalog_open(connection, DBK_CATALOG_FENCE, statement_out, err)
                 : dbk_statement_open(
                       connection,
                       DBK_SLICE_LITERAL("SELECT position FROM _daybook_models WHERE model = ?1 "
                                         "AND generation = ?2 FOR UPDATE"),
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

/* Posts more events in the open transaction, up to `stop` (0: as the bounds allow). A deferred
   foreign key whose row may come with the next events keeps the transaction open past the bounds.
 */
static int post_events(struct dbk_batch_post *post, uint64_t stop, uint64_t *failed, bool *more,
                       struct dbk_error *err)
{
    int64_t begun_us = monotonic_us();
    struct dbk_event event;
    int rc = 1;
    uint64_t end = post->seen + limit_of(post);
    bool letters = post->letters != NULL && dbk_letters_any(post->letters);
    *more = true;
    while ((post->seen < end || dbk_connection_deferred_violation(post->connection)) &&
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
static int settle(struct dbk_batch_post *post, bool constraints, uint64_t *failed,
                  struct dbk_error *err)
{
    int rc = dbk_connection_settle(post->connection, constraints, err);
    if (rc < 0) {
        *failed = post->position;
        post->nameless = true;
    }
    return rc;
}

/* SQLite tells at any time whether a deferred constraint waits; PostgreSQL has to try, and does not
   take back that it has been found so. */
static bool has_to_try(const struct dbk_batch_post *post)
{
    return dbk_connection_dialect(post->connection) == DBK_DIALECT_POSTGRES &&
           dbk_sql_names(post->definition->schema, "DEFERRABLE");
}

/* waits_out: a constraint is deferred that does not hold yet, and the transaction can go on. */
static int settle_whole(struct dbk_batch_post *post, bool *waits_out, uint64_t *failed,
                        struct dbk_error *err)
{
    *waits_out = false;
    if (!has_to_try(post))
        return settle(post, true, failed, err);
    int rc = settle(post, false, failed, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(post->connection, "SAVEPOINT _daybook_deferred", err);
    if (rc < 0)
        return rc;
    rc = settle(post, true, failed, err);
    if (!dbk_letters_is_own(rc))
        return rc;
    if (dbk_connection_run(post->connection, "ROLLBACK TO SAVEPOINT _daybook_deferred", NULL) < 0)
        return rc;
    *waits_out = true;
    *failed = 0;
    post->nameless = false;
    return DBK_OK;
}

/* Posts a transaction's events, until no constraint waits for events that are there. */
static int post_whole(struct dbk_batch_post *post, uint64_t stop, uint64_t *failed, bool *more,
                      struct dbk_error *err)
{
    bool waits = false;
    int rc = DBK_OK;
    post->posted = 0;
    post->first = 0;
    post->seen = 0;
    do {
        rc = post_events(post, stop, failed, more, err);
        if (rc == DBK_OK)
            rc = settle_whole(post, &waits, failed, err);
    } while (rc == DBK_OK && waits && *more && stop == 0);
    /* Nothing comes that would mend it: this says so in the database's own words. */
    return rc == DBK_OK && waits ? settle(post, true, failed, err) : rc;
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
    bool bound = stop != 0 && (post->letters == NULL || post->letters->suspects == 0);
    dbk_poster_set_careful(post->poster, bound || limit_of(post) == 1);
    if (rc == DBK_OK)
        rc = check_fence(post, err);
    if (rc == DBK_OK)
        rc = post_whole(post, stop, failed, more, err);
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
    letters->suspects = 0;
    letters->misled = false;
    letters->stop = named ? position + 1 : 0;
    return rc;
}

/* A transaction failed at an event, or at one of those that it has looked at. */
static int search(struct dbk_batch_post *post, uint64_t failed, const struct dbk_error *why,
                  struct dbk_error *err)
{
    struct dbk_letters *letters = post->letters;
    uint64_t limit = limit_of(post);
    enum dbk_dialect dialect = dbk_connection_dialect(post->connection);
    bool tells = dialect == DBK_DIALECT_SQLITE || dialect == DBK_DIALECT_MONGODB;
    uint64_t first = 0;
    uint64_t suspects = dbk_connection_suspects(post->connection, &first);
    if (tells && !post->nameless)
        return set_aside(post, failed, true, why, err);
    if (letters->stop == 0 && limit == 1)
        return set_aside(post, post->nameless ? post->first : failed, !post->nameless, why, err);
    if (suspects > 0 && suspects < limit && first > post->position && !letters->misled) {
        letters->stop = first;
        letters->suspects = suspects;
        return DBK_OK;
    }
    if (letters->stop == 0 || letters->suspects > 0)
        letters->region = post->seen < limit ? post->seen : limit;
    letters->stop = 0; /* what it ended before may mend it */
    letters->suspects = 0;
    return DBK_OK;
}

static void found_good(struct dbk_letters *letters, uint64_t seen)
{
    letters->misled = letters->misled || (letters->region == 1 && seen > 0);
    if (letters->suspects > 0)
        letters->region = letters->suspects;
    else
        letters->region -= seen < letters->region ? seen : letters->region;
    letters->suspects = 0;
    letters->stop = 0;
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
    int rc = handled < 0 ? handled : settle(post, true, &failed, err);
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

/* The position of the `count`th event behind what is posted; 0: there is none. */
static uint64_t place_of(struct dbk_batch_post *post, uint64_t count, struct dbk_error *err)
{
    struct dbk_cursor *look = NULL;
    struct dbk_event event;
    uint64_t position = 0;
    int rc = dbk_post_cursor(post->models->store, post->definition, post->position, 0, &look, err);
    for (uint64_t i = 0; rc >= 0 && i < count && (rc = dbk_cursor_next(look, &event, err)) == 1;
         i++)
        position = event.position;
    dbk_cursor_free(look);
    return rc < 0 ? 0 : position;
}

/* The failing event is the first that cannot be posted alone: one is tried after the other, and of
   those that wait for later ones more and more together. */
void dbk_post_before(struct dbk_model *model, struct dbk_batch_post *post, struct dbk_error *why)
{
    struct dbk_error err = {0};
    uint64_t end = 0;
    bool nameless = post->nameless;
    for (uint64_t count = 1;;) {
        uint64_t failed = 0;
        bool more = false;
        uint64_t last = place_of(post, count, &err);
        if (last == 0 || rewind_cursor(post, 0, &err) < 0)
            break;
        post->nameless = false;
        int rc = post_transaction(post, last + 1, &failed, &more, &err);
        /* Of those that wait, the first is named. */
        if (failed != 0 && nameless && (count == 1 || !post->nameless))
            *why = err;
        if (rc < 0 && post->nameless && last != end) {
            end = last;
            count *= 2;
            continue;
        }
        if (rc < 0 || !more)
            break;
        dbk_model_moved(model, post->position, post->posted);
        count = 1;
    }
}
