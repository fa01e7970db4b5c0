/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session -- a client of MongoDB's, and what waits for a transaction's COMMIT.
 *
 * A handler's changes are made into BSON as they come, and sent with COMMIT, collection by
 * collection (documents do not lean on one another, so only the order within a collection counts):
 *
 *     bodies   one document for each change: of an update or delete {q, u, …}, of an insert it
 *     changes  of which collection each is, what it does, and its guard
 *     position the model's, from which to which
 *
 * A guard is the event's position and the number of the change in its event, as one integer
 * (position * 1024 + number), kept in each document as `_daybook`. A change is made only to a
 * document whose guard is less, so that what is sent again changes nothing again.
 *
 *     GUARDED      the changes, then the position. A batch that was cut is sent again, whole.
 *                  Of FerretDB guards are read, and not asked for (ferretdb.c)
 *     TRANSACTION  the same guards, and position and changes in one transaction of the server's
 *
 * A letter (model/letters.h) is posted behind events that came later: its changes ask for no guard,
 * and leave the greatest one of the model's position, which all later events are behind. Only a
 * transaction makes that exactly once, with the mark in the model's document.
 *
 * Which of them a server can do is tried with its first use (dbk_mongodb_probe).
 *
 * Threads: one at a time; interruption from any.
 */
#ifndef DBK_TARGET_MONGODB_SESSION_H
#define DBK_TARGET_MONGODB_SESSION_H

#include <stdatomic.h>

#include <mongoc/mongoc.h>

#include "target/driver.h"
#include "target/mongodb/build.h"
#include "target/mongodb/command.h"

#define DBK_MONGODB_DUPLICATE 11000 /* a key is there already */
#define DBK_MONGODB_MODELS "_daybook_models"
#define DBK_MONGODB_SERVING "_daybook_serving"
/* Room for "model:generation". */
#define DBK_MONGODB_KEY_SIZE 512
/* Past the first a batch takes no more events, so that the rest is room for one event's changes. */
#define DBK_MONGODB_BODIES_SIZE_FULL ((size_t)64 << 20)
#define DBK_MONGODB_BODIES_SIZE_MAX ((size_t)256 << 20)

enum dbk_mongodb_mode { DBK_MONGODB_UNKNOWN, DBK_MONGODB_GUARDED, DBK_MONGODB_TRANSACTION };
enum dbk_mongodb_what { DBK_MONGODB_INSERT, DBK_MONGODB_UPDATE, DBK_MONGODB_DELETE };

struct dbk_mongodb_statement;

struct dbk_mongodb_change {
    enum dbk_mongodb_what what;
    uint32_t collection; /* in the session's list */
    size_t offset;       /* of its document in bodies */
    int64_t guard;
};

struct dbk_mongodb_session {
    struct dbk_connection base; /* first: a connection is cast to it */
    mongoc_client_t *client;
    char *database;
    enum dbk_guard guard;
    int64_t limit_us; /* of a query; 0: none */
    enum dbk_mongodb_mode mode;
    bool is_ferretdb;
    bool majority; /* what is read of the model itself is what a majority has */
    atomic_bool interrupted;
    bool in_transaction;
    mongoc_client_session_t *transaction; /* of the server's, when one is open */
    bool again; /* a batch that was cut in the GUARDED mode is gone on with */
    char **collections;
    uint32_t collection_count;
    struct dbk_buf bodies;
    struct dbk_mongodb_change *changes;
    size_t change_count;
    size_t change_capacity;
    size_t sent;   /* of changes, in this transaction */
    size_t *list;  /* indexes of changes, while they are sent; as many as fit in changes */
    int64_t event; /* position of the event that changes are made for, and their number */
    int64_t number;
    char *position_key; /* of the model's document; NULL: it does not move */
    int64_t position_before;
    int64_t position;
    /* A letter is posted: the position stays, behind which its event is. */
    bool letter;
    int64_t retried; /* it is marked with COMMIT; 0: it is not */
    struct dbk_json *json;
    /* Of FerretDB (ferretdb.c). */
    const struct dbk_mongodb_statement *set_position; /* that is open; NULL: none */
    char sent_key[DBK_MONGODB_KEY_SIZE];              /* of the document that follows; "": none */
    int64_t sent_position;                            /* there */
    int64_t sent_to;                                  /* `sent` there */
    int64_t doubt;                                    /* changes of events up to it may be done */
    bool quiet;  /* nothing that an earlier session sent is still carried out */
    char *reply; /* of a command about roles */
};

/* ---- fault.c ---- */

/* The code and message of what libmongoc or the server says. reply may be NULL. */
int dbk_mongodb_fault(const bson_error_t *error, const bson_t *reply, struct dbk_error *err);
/* The same of the number and text of what failed of a write. */
int dbk_mongodb_write_fault(int32_t number, const char *text, struct dbk_error *err);
/* Runs a command that only reads. The reply is to be destroyed, also when it failed. */
int dbk_mongodb_ask(struct dbk_mongodb_session *session, const bson_t *command, bson_t *reply,
                    struct dbk_error *err) DBK_MUST_CHECK;
/*
 * The same of one that changes something: within the session's transaction if one is open, else
 * with the client's write concern.
 *
 * DBK_ECONNECT  also: it is done, and not confirmed as the concern asks
 */
int dbk_mongodb_change_command(struct dbk_mongodb_session *session, const bson_t *command,
                               bson_t *reply, struct dbk_error *err) DBK_MUST_CHECK;
/* An integer of a reply, of whatever type; 0 where there is none. */
int64_t dbk_mongodb_integer(const bson_t *document, const char *key);

/* ---- post.c ---- */

void dbk_mongodb_clear(struct dbk_mongodb_session *session);
/* Adds a change whose document was built. */
int dbk_mongodb_add(struct dbk_mongodb_session *session, enum dbk_mongodb_what what,
                    uint32_t collection, int64_t guard, const bson_t *body,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Sends what waits, without the position; the transaction stays open. */
int dbk_mongodb_flush(struct dbk_mongodb_session *session, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_mongodb_commit(struct dbk_mongodb_session *session, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_mongodb_abort(struct dbk_mongodb_session *session);
/* DBK_ECONNECT: what was believed of the model's position is not so. */
int dbk_mongodb_fenced(struct dbk_error *err) DBK_MUST_CHECK;

/* ---- ferretdb.c: nothing is done at other servers ---- */

/* Whether a filter is found by an index that with a guard would not be. */
bool dbk_mongodb_is_found(const struct dbk_mongodb_session *session, const bson_t *query);
/* Before changes are sent: checks the position, and finds out which may be done. */
int dbk_mongodb_prepare(struct dbk_mongodb_session *session, struct dbk_error *err) DBK_MUST_CHECK;
/* What is set with a new position; then that it was, or that anything failed before. */
int64_t dbk_mongodb_sent_with(const struct dbk_mongodb_session *session);
void dbk_mongodb_moved(struct dbk_mongodb_session *session);
void dbk_mongodb_failed(struct dbk_mongodb_session *session);
/* The session ends, and nothing of it is in doubt. */
void dbk_mongodb_end_well(struct dbk_mongodb_session *session);
/* Takes what is done out of the session's list of one collection's changes. */
int dbk_mongodb_leave_out_done(struct dbk_mongodb_session *session, size_t *count,
                               struct dbk_error *err) DBK_MUST_CHECK;

/* ---- changes.c ---- */

/* A change's document in bodies, as it is there. */
void dbk_mongodb_body(const struct dbk_mongodb_session *session,
                      const struct dbk_mongodb_change *change, bson_t *out);
/* The _id of the document that it changes; body is what that stands in. */
bool dbk_mongodb_id(const struct dbk_mongodb_session *session,
                    const struct dbk_mongodb_change *change, bson_t *body, bson_iter_t *id_out);
/* As the server compares them. */
bool dbk_mongodb_is_same_id(const bson_iter_t *a, const bson_iter_t *b);

/*
 * Sends the session's changes that were not yet, in their order. What is done already is passed
 * over; in a transaction it is an error, which ends it.
 *
 * DBK_EREFUSED  a key is there already; done_out: by this change, which was done before
 */
int dbk_mongodb_send(struct dbk_mongodb_session *session, bool *done_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* ---- catalog.c ---- */

extern const char *const dbk_mongodb_catalog[DBK_CATALOG_COUNT];
/* Runs one of the catalog; what it gives is in values_out (up to 4, of the arena). 1: a row. */
int dbk_mongodb_run_catalog(struct dbk_mongodb_session *session, enum dbk_catalog which,
                            const struct dbk_value *values, struct dbk_arena *arena,
                            struct dbk_value *values_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Positions of letters that are marked as retried, in the arena. values: model, generation. */
int dbk_mongodb_retried(struct dbk_mongodb_session *session, const struct dbk_value *values,
                        struct dbk_arena *arena, int64_t **positions_out, size_t *count_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* The generation that serves; 0: none. */
int dbk_mongodb_serving(struct dbk_mongodb_session *session, struct dbk_slice model,
                        int64_t *generation_out, struct dbk_error *err) DBK_MUST_CHECK;
/* The position document's, when it is there; sent_out: only where it has it. */
int dbk_mongodb_position(struct dbk_mongodb_session *session, const char *key,
                         int64_t *position_out, int64_t *sent_out,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* The _id of a generation's. */
void dbk_mongodb_write_key(struct dbk_slice model, int64_t generation,
                           char key_out[DBK_MONGODB_KEY_SIZE]);
/* Finds out whether the server has transactions, by one that is taken back and looked for. */
int dbk_mongodb_probe(struct dbk_mongodb_session *session, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_mongodb_drop(struct dbk_connection *connection, struct dbk_slice prefix,
                     struct dbk_error *err);

#endif
