/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done already, at FerretDB 1.
 *
 * It finds a document by an index only where a filter is {_id: a text or an ObjectId} alone; with
 * the guard in it, it reads the collection from its beginning. Nor would the guard there be worth
 * what it is to MongoDB: a document is read, and then written by its _id, whatever has become of it
 * in between. So an update or delete that names its document so has no guard in its filter, and
 * what protects it is that nobody else writes, and that guards are read where it may be done:
 *
 *     sent  of the model's document: no change of an event behind it was ever sent. It is moved
 *           ahead with the position; a session that ends well sets it to that
 *     doubt of the session: changes of events up to it may be done, as the session before did not
 *           end well, or a batch failed. Their documents' guards are read before they are sent
 *
 * A command whose connection is gone is carried out to its end. So the first time guards are read
 * after a session that did not end well, they are read until they stay as they are for QUIET_MS.
 *
 * Source: FerretDB 1.24, internal/backends/sqlite/collection.go, internal/handler/msg_update.go.
 */
#include "target/mongodb/statement.h"

#include <string.h>
#include <time.h>

/* How far ahead of the position changes may be sent without saying so first: two batches. */
#define SENT_AHEAD 4096
#define QUIET_MS 1000
#define ABSENT (-1)  /* guards: of a document that is not there */
#define UNKNOWN (-2) /* not asked for */

bool dbk_mongodb_is_found(const struct dbk_mongodb_session *session, const bson_t *query)
{
    bson_iter_t at;
    return session->is_ferretdb && session->set_position != NULL && bson_count_keys(query) == 1 &&
           bson_iter_init_find(&at, query, "_id") &&
           (BSON_ITER_HOLDS_UTF8(&at) || BSON_ITER_HOLDS_OID(&at));
}

/* ---- The model's document ---- */

/* Of the generation that the session posts into, also before its position is set. */
static int find_key(struct dbk_mongodb_session *session, char key_out[DBK_MONGODB_KEY_SIZE])
{
    const struct dbk_mongodb_statement *statement = session->set_position;
    if (statement == NULL || statement->value_count < 3)
        return 0;
    dbk_mongodb_write_key(statement->values[1].bytes, statement->values[2].integer, key_out);
    return 1;
}

static int set_sent(struct dbk_mongodb_session *session, const char *key, int64_t position,
                    int64_t sent, struct dbk_error *err)
{
    bson_t reply;
    bson_t *command = BCON_NEW("update", BCON_UTF8(DBK_MONGODB_MODELS), "updates", "[", "{", "q",
                               "{", "_id", BCON_UTF8(key), "position", BCON_INT64(position), "}",
                               "u", "{", "$set", "{", "sent", BCON_INT64(sent), "}", "}", "}", "]");
    int rc = dbk_mongodb_change_command(session, command, &reply, err);
    if (rc == DBK_OK && dbk_mongodb_integer(&reply, "n") != 1)
        rc = dbk_mongodb_fenced(err);
    bson_destroy(&reply);
    bson_destroy(command);
    if (rc == DBK_OK)
        session->sent_to = sent;
    return rc;
}

static int64_t event_of(const struct dbk_mongodb_change *change)
{
    return change->guard / (DBK_MONGODB_CHANGES_MAX + 1);
}

/* What an older session has left; none that is known of `sent` has told how far it went. */
static int64_t doubt_of(int64_t position, int64_t sent)
{
    return sent < position ? position + SENT_AHEAD : sent > position ? sent : 0;
}

int dbk_mongodb_prepare(struct dbk_mongodb_session *session, struct dbk_error *err)
{
    char key[DBK_MONGODB_KEY_SIZE];
    int64_t position = -1;
    int64_t sent = -1;
    if (!session->is_ferretdb || find_key(session, key) == 0)
        return DBK_OK;
    int rc = dbk_mongodb_position(session, key, &position, &sent, err);
    if (rc < 0)
        return rc;
    if (position < 0 || (session->position_key != NULL && position != session->position_before))
        return dbk_mongodb_fenced(err);
    if (strcmp(session->sent_key, key) != 0 || session->sent_position != position) {
        memcpy(session->sent_key, key, sizeof(key));
        session->sent_position = position;
        session->sent_to = sent;
        session->doubt = doubt_of(position, sent);
    }
    if (session->change_count == session->sent)
        return DBK_OK;
    int64_t last = event_of(&session->changes[session->change_count - 1]);
    return last <= session->sent_to ? DBK_OK
                                    : set_sent(session, key, position, last + SENT_AHEAD, err);
}

int64_t dbk_mongodb_sent_with(const struct dbk_mongodb_session *session)
{
    int64_t ahead = session->position + SENT_AHEAD;
    return ahead > session->sent_to ? ahead : session->sent_to;
}

void dbk_mongodb_moved(struct dbk_mongodb_session *session)
{
    if (!session->is_ferretdb)
        return;
    session->sent_to = dbk_mongodb_sent_with(session);
    session->sent_position = session->position;
    if (session->doubt <= session->position)
        session->doubt = 0;
}

void dbk_mongodb_failed(struct dbk_mongodb_session *session)
{
    session->doubt = session->is_ferretdb ? session->sent_to : 0;
}

void dbk_mongodb_end_well(struct dbk_mongodb_session *session)
{
    struct dbk_error err = {0};
    if (session->sent_key[0] != '\0' && session->doubt == 0)
        dbk_ignore(set_sent(session, session->sent_key, session->sent_position,
                            session->sent_position, &err));
}

/* ---- Guards that are read ---- */

static bool is_in_doubt(const struct dbk_mongodb_session *session,
                        const struct dbk_mongodb_change *change)
{
    bson_t body;
    bson_iter_t at;
    bson_iter_t query;
    if (change->what == DBK_MONGODB_INSERT || event_of(change) > session->doubt)
        return false;
    dbk_mongodb_body(session, change, &body);
    if (!bson_iter_init_find(&at, &body, "q") || !bson_iter_recurse(&at, &query))
        return false;
    while (bson_iter_next(&query))
        if (strcmp(bson_iter_key(&query), "_daybook") == 0)
            return false;
    return true;
}

static int read_guard(struct dbk_mongodb_session *session, uint32_t number, const bson_iter_t *id,
                      int64_t *guard_out, struct dbk_error *err)
{
    bson_t filter = BSON_INITIALIZER;
    bson_t *options = BCON_NEW("projection", "{", "_daybook", BCON_INT32(1), "}");
    const bson_t *document = NULL;
    const bson_t *reply = NULL;
    bson_error_t error = {0};
    int rc = DBK_OK;
    mongoc_collection_t *collection = mongoc_client_get_collection(
        session->client, session->database, session->collections[number]);
    bson_append_iter(&filter, "_id", 3, id);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, &filter, options, NULL);
    bool found = mongoc_cursor_next(cursor, &document);
    *guard_out = found ? dbk_mongodb_integer(document, "_daybook") : ABSENT;
    if (!found && mongoc_cursor_error_document(cursor, &error, &reply))
        rc = dbk_mongodb_fault(&error, reply, err);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(collection);
    bson_destroy(options);
    bson_destroy(&filter);
    return rc;
}

/* Of all changes of the list whose documents one in doubt is of. */
static int read_guards(struct dbk_mongodb_session *session, size_t count, int64_t *guards,
                       bool *any_out, struct dbk_error *err)
{
    int rc = DBK_OK;
    *any_out = false;
    for (size_t i = 0; i < count; i++)
        guards[i] = UNKNOWN;
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        const struct dbk_mongodb_change *change = &session->changes[session->list[i]];
        bson_t body;
        bson_iter_t id;
        if (guards[i] != UNKNOWN || !is_in_doubt(session, change) ||
            !dbk_mongodb_id(session, change, &body, &id))
            continue;
        rc = atomic_load(&session->interrupted)
                 ? dbk_error_set(err, DBK_ECONNECT, "MongoDB: the session was ended")
                 : read_guard(session, change->collection, &id, &guards[i], err);
        *any_out = true;
        for (size_t j = 0; rc == DBK_OK && j < count; j++) {
            bson_t other;
            bson_iter_t own;
            if (guards[j] == UNKNOWN &&
                dbk_mongodb_id(session, &session->changes[session->list[j]], &other, &own) &&
                dbk_mongodb_is_same_id(&id, &own))
                guards[j] = guards[i];
        }
    }
    return rc;
}

/* Until what an earlier session sent is over. */
static int await_quiet(struct dbk_mongodb_session *session, size_t count, int64_t *guards,
                       struct dbk_error *err)
{
    bool any = false;
    int rc = DBK_OK;
    int64_t *again = dbk_alloc_zero(count, sizeof(*again));
    if (again == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory posting");
    while (rc == DBK_OK && !session->quiet) {
        (void)nanosleep(
            &(struct timespec){.tv_sec = QUIET_MS / 1000, .tv_nsec = QUIET_MS % 1000 * 1000000L},
            NULL);
        rc = read_guards(session, count, again, &any, err);
        session->quiet = rc == DBK_OK && memcmp(again, guards, count * sizeof(*again)) == 0;
        memcpy(guards, again, count * sizeof(*again));
    }
    dbk_free(again);
    return rc;
}

int dbk_mongodb_leave_out_done(struct dbk_mongodb_session *session, size_t *count,
                               struct dbk_error *err)
{
    size_t kept = 0;
    bool any = false;
    if (session->doubt == 0 || *count == 0)
        return DBK_OK;
    int64_t *guards = dbk_alloc_zero(*count, sizeof(*guards));
    if (guards == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory posting");
    int rc = read_guards(session, *count, guards, &any, err);
    if (rc == DBK_OK && any && !session->quiet)
        rc = await_quiet(session, *count, guards, err);
    for (size_t i = 0; rc == DBK_OK && i < *count; i++)
        if (session->changes[session->list[i]].guard > guards[i])
            session->list[kept++] = session->list[i];
    dbk_free(guards);
    if (rc == DBK_OK)
        *count = kept;
    return rc;
}
