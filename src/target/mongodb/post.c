/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for COMMIT, and how it is sent in each mode (session.h). */
#include "target/mongodb/session.h"

#include <string.h>

void dbk_mongodb_abort(struct dbk_mongodb_session *session)
{
    if (session->transaction == NULL)
        return;
    /* A server that cannot be told takes it back by itself. */
    if (mongoc_client_session_in_transaction(session->transaction))
        (void)mongoc_client_session_abort_transaction(session->transaction, NULL);
    mongoc_client_session_destroy(session->transaction);
    session->transaction = NULL;
}

void dbk_mongodb_clear(struct dbk_mongodb_session *session)
{
    dbk_mongodb_abort(session);
    dbk_buf_reset(&session->bodies);
    session->change_count = 0;
    session->sent = 0;
    session->event = 0;
    session->number = 0;
    session->letter = false;
    session->retried = 0;
    dbk_free(session->key);
    session->key = NULL;
    session->moves = false;
    session->record_count = 0;
    session->lost = false;
}

static int reserve(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    if (session->change_count < session->change_capacity)
        return DBK_OK;
    size_t capacity = session->change_capacity == 0 ? 1024 : session->change_capacity * 2;
    struct dbk_mongodb_change *changes = dbk_realloc(session->changes, capacity * sizeof(*changes));
    if (changes != NULL)
        session->changes = changes;
    size_t *list = changes == NULL ? NULL : dbk_realloc(session->list, capacity * sizeof(*list));
    if (list != NULL)
        session->list = list;
    struct dbk_mongodb_mark *marks =
        list == NULL ? NULL : dbk_realloc(session->marks, capacity * sizeof(*marks));
    if (marks == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory posting");
    session->marks = marks;
    session->change_capacity = capacity;
    return DBK_OK;
}

int dbk_mongodb_add(struct dbk_mongodb_session *session, enum dbk_mongodb_what what,
                    uint32_t collection, int64_t guard, const bson_t *body, struct dbk_error *err)
{
    size_t offset = session->bodies.size;
    int rc = reserve(session, err);
    if (rc < 0)
        return rc;
    dbk_buf_append(&session->bodies, dbk_slice((const char *)bson_get_data(body), body->len));
    if (session->bodies.rc < 0)
        return dbk_error_set(err, session->bodies.rc,
                             "the changes of one event are larger than %zu MiB",
                             (DBK_MONGODB_BODIES_SIZE_MAX - DBK_MONGODB_BODIES_SIZE_FULL) >> 20);
    session->changes[session->change_count++] =
        (struct dbk_mongodb_change){what, collection, offset, guard};
    return DBK_OK;
}

/* ---- The server's transactions ---- */

static int open_transaction(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    bson_error_t error = {0};
    if (session->transaction != NULL)
        return DBK_OK;
    session->transaction = mongoc_client_start_session(session->client, NULL, &error);
    if (session->transaction == NULL)
        return dbk_mongodb_fault(&error, NULL, err);
    return mongoc_client_session_start_transaction(session->transaction, NULL, &error)
               ? DBK_OK
               : dbk_mongodb_fault(&error, NULL, err);
}

/* An answer that is lost leaves it unknown: the position will tell. */
static int commit_transaction(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    bson_error_t error = {0};
    bson_t reply;
    bool committed = mongoc_client_session_commit_transaction(session->transaction, &reply, &error);
    int rc = committed ? DBK_OK : dbk_mongodb_fault(&error, &reply, err);
    bool unknown = !committed && mongoc_error_has_label(&reply, "UnknownTransactionCommitResult");
    bson_destroy(&reply);
    mongoc_client_session_destroy(session->transaction);
    session->transaction = NULL;
    return unknown ? DBK_ECONNECT : rc;
}

/* ---- The position ---- */

int dbk_mongodb_fenced(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ECONNECT,
                         "a model's position in the database is another than was expected");
}

/* The same document has the marks of letters: one that is there is not made again. */
static bson_t *write_move(const struct dbk_mongodb_session *session)
{
    bson_t *query =
        BCON_NEW("_id", BCON_UTF8(session->key), "position", BCON_INT64(session->position_before),
                 "shift", BCON_INT64(session->shift));
    bson_t *update = BCON_NEW("$set", "{", "position", BCON_INT64(session->position), "shift",
                              BCON_INT64(session->shift + (session->letter ? 1 : 0)), "}");
    if (session->retried != 0) {
        BCON_APPEND(query, "retried", "{", "$ne", BCON_INT64(session->retried), "}");
        BCON_APPEND(update, "$push", "{", "retried", BCON_INT64(session->retried), "}");
    }
    bson_t *command = BCON_NEW("update", BCON_UTF8(DBK_MONGODB_MODELS), "updates", "[", "{", "q",
                               BCON_DOCUMENT(query), "u", BCON_DOCUMENT(update), "}", "]");
    bson_destroy(query);
    bson_destroy(update);
    return command;
}

static int move_position(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    bson_t reply;
    bson_t *command = write_move(session);
    int rc = dbk_mongodb_change_command(session, command, &reply, err);
    if (rc == DBK_OK && dbk_mongodb_integer(&reply, "n") != 1)
        rc = dbk_mongodb_fenced(err);
    bson_destroy(&reply);
    bson_destroy(command);
    return rc;
}

/* ---- Both ways ---- */

int dbk_mongodb_flush(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    int rc = session->mode == DBK_MONGODB_UNKNOWN ? dbk_mongodb_probe(session, err) : DBK_OK;
    if (rc == DBK_OK && session->sent < session->change_count)
        rc = session->mode == DBK_MONGODB_TRANSACTION ? open_transaction(session, err)
                                                      : dbk_mongodb_record(session, err);
    return rc == DBK_OK ? dbk_mongodb_send(session, err) : rc;
}

static int commit_within(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    int rc = open_transaction(session, err);
    if (rc == DBK_OK && session->moves)
        rc = move_position(session, err);
    if (rc == DBK_OK)
        rc = dbk_mongodb_flush(session, err);
    return rc == DBK_OK ? commit_transaction(session, err) : rc;
}

/* The next batch writes over the first record alone. */
static int commit_guarded(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    int rc = dbk_mongodb_flush(session, err);
    if (rc == DBK_OK && session->moves)
        rc = move_position(session, err);
    if (rc == DBK_OK && session->record_count > 1)
        dbk_ignore(dbk_mongodb_forget_records(session, session->from, NULL));
    return rc;
}

int dbk_mongodb_commit(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    if (session->change_count == 0 && !session->moves)
        return DBK_OK;
    int rc = session->mode == DBK_MONGODB_UNKNOWN ? dbk_mongodb_probe(session, err) : DBK_OK;
    if (rc < 0)
        return rc;
    return session->mode == DBK_MONGODB_TRANSACTION ? commit_within(session, err)
                                                    : commit_guarded(session, err);
}
