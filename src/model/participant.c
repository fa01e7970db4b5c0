/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sync: transaction`: the store's participant. A group of batches is one transaction of each
 * database; a batch is one savepoint in it.
 *
 *     first apply  lock each model's work, BEGIN IMMEDIATE in each session
 *     apply        SAVEPOINT, handlers, deferred constraints; RELEASE, or ROLLBACK TO and refuse;
 *                  with `on_error: set-aside` a savepoint an event, too, and a letter for one that
 *                  fails
 *     commit       positions, COMMIT -- or ROLLBACK when the log did not take the group
 *
 * States that handlers take (`with:`) are of the log and of what the group has ahead of it, as a
 * replay will find them.
 *
 * When a target's commit fails after the log's, the model is behind: it is brought up from the log
 * before anything more is accepted.
 */
#include <inttypes.h>

#include "base/assert.h"
#include "model/state.h"

static bool takes_part(const struct dbk_model *model)
{
    return model->sync == DBK_SYNC_TRANSACTION;
}

static int ready(struct dbk_model *model, struct dbk_error *err)
{
    if (model->stopped) {
        if (err != NULL)
            *err = model->error;
        return DBK_EREFUSED;
    }
    if (!model->behind)
        return DBK_OK;
    int rc = dbk_model_catch_up(model, err);
    model->behind = rc < 0;
    return rc;
}

static void unlock_all(struct dbk_models *models)
{
    for (size_t i = 0; i < models->count; i++) {
        if (takes_part(models->items[i]))
            (void)pthread_mutex_unlock(&models->items[i]->work);
    }
}

static void end_sessions(struct dbk_models *models)
{
    for (struct dbk_session *session = models->sessions; session != NULL; session = session->next) {
        if (dbk_connection_in_transaction(session->connection))
            dbk_ignore(dbk_connection_run(session->connection, "ROLLBACK", NULL));
        session->open = false;
        session->lost = false;
    }
}

static struct dbk_states *states_of(const struct dbk_model *model)
{
    return takes_part(model) && model->poster != NULL ? dbk_poster_states(model->poster) : NULL;
}

/* What was forgotten since the last group is in no state. */
static int refresh_states(struct dbk_models *models, struct dbk_error *err)
{
    int rc = DBK_OK;
    dbk_unstored_reset(&models->ahead);
    for (size_t i = 0; rc == DBK_OK && i < models->count; i++) {
        struct dbk_states *states = states_of(models->items[i]);
        if (states == NULL)
            continue;
        dbk_states_set_ahead(states, &models->ahead);
        rc = dbk_states_refresh(states, err);
    }
    return rc;
}

static int add_ahead(struct dbk_models *models, const struct dbk_event *events, size_t count,
                     struct dbk_error *err)
{
    bool any = false;
    for (size_t i = 0; i < models->count; i++)
        any = any || states_of(models->items[i]) != NULL;
    return any && dbk_unstored_add(&models->ahead, events, count) < 0
               ? dbk_error_set(err, DBK_ENOMEM, "out of memory keeping a batch")
               : DBK_OK;
}

/* Events from a position on will not be stored. */
static void cut_ahead(struct dbk_models *models, uint64_t position)
{
    dbk_unstored_cut(&models->ahead, position);
    for (size_t i = 0; i < models->count; i++) {
        struct dbk_states *states = states_of(models->items[i]);
        if (states != NULL)
            dbk_states_cut(states, position);
    }
}

static int open_group(struct dbk_models *models, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; i < models->count; i++) {
        if (takes_part(models->items[i]))
            (void)pthread_mutex_lock(&models->items[i]->work);
    }
    for (size_t i = 0; rc == DBK_OK && i < models->count; i++) {
        if (takes_part(models->items[i]))
            rc = ready(models->items[i], err);
    }
    if (rc == DBK_OK)
        rc = refresh_states(models, err);
    for (struct dbk_session *session = models->sessions; rc == DBK_OK && session != NULL;
         session = session->next) {
        rc = dbk_connection_begin(session->connection, DBK_BEGIN_WRITE, err);
        session->open = rc == DBK_OK;
        session->lost = false;
    }
    if (rc < 0) {
        end_sessions(models);
        unlock_all(models);
        return rc;
    }
    for (size_t i = 0; i < models->count; i++) {
        struct dbk_model *model = models->items[i];
        if (takes_part(model)) {
            model->made.count = 0;
            model->made.begun_us = dbk_model_now_us();
        }
    }
    models->group_open = true;
    return DBK_OK;
}

static int each_session(struct dbk_models *models, const char *sql, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (struct dbk_session *session = models->sessions; rc == DBK_OK && session != NULL;
         session = session->next) {
        rc = session->lost
                 ? dbk_error_set(err, DBK_EFULL, "database %s gave its transaction up; try again",
                                 session->path)
                 : dbk_connection_run(session->connection, sql, err);
    }
    return rc;
}

/* strict: a foreign key that is left without its row is the event's own fault. */
static int post_guarded(struct dbk_model *model, const struct dbk_event *event, bool strict,
                        struct dbk_error *err)
{
    struct dbk_connection *connection = model->session->connection;
    bool violated = dbk_connection_deferred_violation(connection);
    int rc = dbk_connection_run(connection, "SAVEPOINT letter", err);
    if (rc < 0)
        return rc;
    struct dbk_error why = {0};
    int handled = dbk_poster_post(model->poster, event, &why);
    if (handled > 0 && strict && !violated && dbk_connection_deferred_violation(connection))
        handled = dbk_error_set(&why, DBK_EREFUSED,
                                "a foreign key would be left without its row (event %" PRIu64 ")",
                                event->position);
    if (handled >= 0) {
        rc = dbk_connection_run(connection, "RELEASE letter", err);
        return rc < 0 ? rc : handled;
    }
    if (!dbk_letters_is_own(handled) || !dbk_connection_in_transaction(connection)) {
        if (err != NULL)
            *err = why;
        return handled;
    }
    rc = dbk_connection_run(connection, "ROLLBACK TO letter; RELEASE letter", err);
    char where[DBK_LETTERS_REASON_SIZE];
    dbk_poster_place(model->poster, where, sizeof(where));
    return rc < 0 ? rc : dbk_letters_keep(model->letters, event, where, &why, err);
}

/* With `on_error: set-aside` an event that fails is taken back alone, and becomes a letter. */
static int post_model(struct dbk_model *model, const struct dbk_event *event, bool strict,
                      struct dbk_error *err)
{
    if (!takes_part(model) || dbk_letters_has(model->letters, event->position))
        return 0;
    return model->letters->keeps ? post_guarded(model, event, strict, err)
                                 : dbk_poster_post(model->poster, event, err);
}

static int post_event(struct dbk_models *models, const struct dbk_event *event, bool strict,
                      struct dbk_error *err)
{
    for (size_t i = 0; i < models->count; i++) {
        struct dbk_model *model = models->items[i];
        int rc = post_model(model, event, strict, err);
        if (rc < 0)
            return rc;
        if (rc > 0)
            dbk_pace_note(&model->made, event);
    }
    return DBK_OK;
}

/* Handlers see what a reader of the log would: posters upcast. */
static int post(struct dbk_models *models, const struct dbk_event *events, size_t count,
                bool strict, struct dbk_error *err)
{
    for (size_t at = 0; at < count; at++) {
        struct dbk_event event = events[at];
        int rc = dbk_store_open_event(models->store, &models->lens, &event, err);
        if (rc > 0)
            rc = post_event(models, &event, strict, err);
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

static int check_sessions(struct dbk_models *models, struct dbk_error *err)
{
    for (struct dbk_session *session = models->sessions; session != NULL; session = session->next) {
        if (dbk_connection_deferred_violation(session->connection))
            return dbk_error_set(err, DBK_EREFUSED,
                                 "a foreign key in %s would be left without its row",
                                 session->path);
    }
    return DBK_OK;
}

/* How much each model has noted: what a refused batch notes is forgotten. */
static void mark_notes(struct dbk_models *models)
{
    for (size_t i = 0; i < models->count; i++) {
        if (takes_part(models->items[i]))
            models->items[i]->made_before = models->items[i]->made.count;
    }
}

/* Takes the batch back. SQLite may have taken the whole group back by itself (a full disk): the
   group's earlier batches are then posted again from the log. */
static void take_back(struct dbk_models *models, uint64_t first)
{
    cut_ahead(models, first);
    for (size_t i = 0; i < models->count; i++) {
        if (!takes_part(models->items[i]))
            continue;
        models->items[i]->made.count = models->items[i]->made_before;
        dbk_letters_undo(models->items[i]->letters, first);
    }
    for (struct dbk_session *session = models->sessions; session != NULL; session = session->next) {
        if (!dbk_connection_in_transaction(session->connection) ||
            dbk_connection_run(session->connection, "ROLLBACK TO batch; RELEASE batch", NULL) < 0)
            session->lost = true;
    }
}

/* Lacking space or memory is no verdict on the batch; all else is. */
static int verdict(int rc, struct dbk_error *err)
{
    if (rc == DBK_EFULL || rc == DBK_EIO || rc == DBK_ENOMEM || rc == DBK_EBUSY)
        return rc;
    if (err != NULL)
        err->code = DBK_EREFUSED;
    return DBK_EREFUSED;
}

static int post_batch(struct dbk_models *models, const struct dbk_event *events, size_t count,
                      bool strict, struct dbk_error *err)
{
    int rc = each_session(models, "SAVEPOINT batch", err);
    if (rc == DBK_OK)
        rc = add_ahead(models, events, count, err);
    if (rc == DBK_OK)
        rc = post(models, events, count, strict, err);
    if (rc == DBK_OK)
        rc = check_sessions(models, err);
    if (rc == DBK_OK)
        rc = each_session(models, "RELEASE batch", err);
    if (rc < 0)
        take_back(models, events[0].position);
    return rc;
}

static bool any_keeps(const struct dbk_models *models)
{
    bool any = false;
    for (size_t i = 0; i < models->count; i++)
        any = any || (takes_part(models->items[i]) && models->items[i]->letters->keeps);
    return any;
}

int dbk_participant_apply(void *context, const struct dbk_event *events, size_t count,
                          struct dbk_error *err)
{
    struct dbk_models *models = context;
    int rc = models->group_open ? DBK_OK : open_group(models, err);
    if (rc < 0)
        return verdict(rc, err);
    mark_notes(models);
    rc = post_batch(models, events, count, false, err);
    /* Which event leaves a foreign key without its row is only found one by one. */
    if (rc == DBK_EREFUSED && any_keeps(models))
        rc = post_batch(models, events, count, true, err);
    return rc < 0 ? verdict(rc, err) : DBK_OK;
}

static int store_positions(struct dbk_models *models, uint64_t last_position)
{
    int rc = DBK_OK;
    for (size_t i = 0; i < models->count; i++) {
        struct dbk_model *model = models->items[i];
        if (!takes_part(model))
            continue;
        struct dbk_value value = {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)last_position};
        int written = dbk_letters_write(model->letters, model->session->connection, NULL);
        rc = written < 0 ? written : rc;
        dbk_statement_bind(model->set_position, 1, &value);
        int stepped = dbk_statement_step(model->set_position, NULL);
        dbk_statement_reset(model->set_position);
        rc = stepped < 0 ? stepped : rc;
    }
    return rc;
}

static void commit_sessions(struct dbk_models *models, uint64_t last_position)
{
    bool good = store_positions(models, last_position) == DBK_OK;
    for (struct dbk_session *session = models->sessions; session != NULL; session = session->next) {
        bool committed = good && !session->lost &&
                         dbk_connection_run(session->connection, "COMMIT", NULL) == DBK_OK;
        for (size_t i = 0; i < models->count; i++) {
            struct dbk_model *model = models->items[i];
            if (!takes_part(model) || model->session != session)
                continue;
            if (!committed) {
                model->behind = true;
                continue;
            }
            dbk_letters_committed(model->letters);
            dbk_model_moved(model, last_position, last_position - model->position);
        }
    }
}

void dbk_participant_commit(void *context, bool stored, uint64_t last_position)
{
    struct dbk_models *models = context;
    if (!models->group_open)
        return;
    if (!stored && models->ahead.count > 0)
        cut_ahead(models, models->ahead.first);
    dbk_unstored_reset(&models->ahead); /* a replay finds them in the log */
    if (stored)
        commit_sessions(models, last_position);
    end_sessions(models);
    for (size_t i = 0; i < models->count; i++) {
        struct dbk_error err = {0};
        struct dbk_model *model = models->items[i];
        if (takes_part(model) && !stored)
            dbk_letters_undo(model->letters, 0);
        if (takes_part(model) && model->behind)
            model->behind = dbk_model_catch_up(model, &err) < 0;
    }
    models->group_open = false;
    unlock_all(models);
}
