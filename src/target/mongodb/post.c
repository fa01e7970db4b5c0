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
    session->again = false;
    session->event = 0;
    session->number = 0;
    session->letter = false;
    session->retried = 0;
    dbk_free(session->position_key);
    session->position_key = NULL;
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
    if (list == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory posting");
    session->list = list;
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

static int check_position(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    int64_t position = -1;
    int64_t sent = 0;
    int rc = dbk_mongodb_position(session, session->position_key, &position, &sent, err);
    if (rc < 0)
        return rc;
    return position == session->position_before ? DBK_OK : dbk_mongodb_fenced(err);
}

/* The same document has the marks of letters: one that is there is not made again. */
static bson_t *write_move(const struct dbk_mongodb_session *session)
{
    bson_t *query = BCON_NEW("_id", BCON_UTF8(session->position_key), "position",
                             BCON_INT64(session->position_before));
    bson_t *update = session->is_ferretdb
                         ? BCON_NEW("$set", "{", "position", BCON_INT64(session->position), "sent",
                                    BCON_INT64(dbk_mongodb_sent_with(session)), "}")
                         : BCON_NEW("$set", "{", "position", BCON_INT64(session->position), "}");
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
    if (rc == DBK_OK)
        dbk_mongodb_moved(session);
    bson_destroy(&reply);
    bson_destroy(command);
    return rc;
}

/* ---- Both ways ---- */

static bool is_transactional(const struct dbk_mongodb_session *session)
{
    return session->mode == DBK_MONGODB_TRANSACTION && !session->again;
}

/* Where a batch is found half done, of a time when the server had no transactions, its guards are
   what it is finished by. */
int dbk_mongodb_flush(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    bool done = false;
    int rc = session->mode == DBK_MONGODB_UNKNOWN ? dbk_mongodb_probe(session, err) : DBK_OK;
    if (rc == DBK_OK && is_transactional(session))
        rc = open_transaction(session, err);
    if (rc == DBK_OK)
        rc = dbk_mongodb_prepare(session, err);
    if (rc == DBK_OK)
        rc = dbk_mongodb_send(session, &done, err);
    if (rc < 0)
        dbk_mongodb_failed(session);
    if (rc == DBK_EREFUSED && done && !session->letter) {
        session->again = true;
        session->sent = 0;
        rc = dbk_mongodb_send(session, &done, err);
    }
    return rc;
}

static int commit_within(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    int rc = open_transaction(session, err);
    if (rc == DBK_OK && session->position_key != NULL)
        rc = move_position(session, err);
    if (rc == DBK_OK)
        rc = dbk_mongodb_flush(session, err);
    if (rc == DBK_OK && session->transaction != NULL)
        rc = commit_transaction(session, err);
    return rc;
}

static int commit_guarded(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    bool prepared = session->is_ferretdb || session->position_key == NULL;
    int rc = prepared ? DBK_OK : check_position(session, err);
    if (rc == DBK_OK)
        rc = dbk_mongodb_flush(session, err);
    return rc == DBK_OK && session->position_key != NULL ? move_position(session, err) : rc;
}

int dbk_mongodb_commit(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    if (session->change_count == 0 && session->position_key == NULL)
        return DBK_OK;
    int rc = session->mode == DBK_MONGODB_UNKNOWN ? dbk_mongodb_probe(session, err) : DBK_OK;
    if (rc == DBK_OK && session->letter && session->mode != DBK_MONGODB_TRANSACTION)
        return dbk_error_set(err, DBK_EDENIED,
                             "a letter is posted in a transaction, and the server has none");
    if (rc == DBK_OK && is_transactional(session))
        rc = commit_within(session, err);
    if (rc == DBK_OK && !is_transactional(session))
        rc = commit_guarded(session, err);
    return rc;
}
