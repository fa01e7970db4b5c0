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
 * A guard is the event's position, with the model's shift, and the number of the change in its
 * event, as one integer ((position + shift) * 1024 + number), kept in each document as `_daybook`.
 * A change is made only to a document whose guard is less, so that what a server still does for a
 * connection that is gone changes nothing. The shift grows with each batch that is taken back.
 *
 *     GUARDED      what the batch's documents are (undo.c), the changes, then the position. A batch
 *                  that fails or was cut is taken back, whole, before anything else is posted
 *     TRANSACTION  the same guards, and position and changes in one transaction of the server's
 *
 * A letter (model/letters.h) is posted behind events that came later: its changes have the guards
 * of an event behind the position, and the shift grows with the mark in the model's document.
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
#define DBK_MONGODB_UNDO "_daybook_undo"
/* Room for "model:generation". */
#define DBK_MONGODB_KEY_SIZE 512
/* Past the first a batch takes no more events, so that the rest is room for one event's changes. */
#define DBK_MONGODB_BODIES_SIZE_FULL ((size_t)64 << 20)
#define DBK_MONGODB_BODIES_SIZE_MAX ((size_t)256 << 20)
#define DBK_MONGODB_STRAYS_MAX 64

enum dbk_mongodb_mode { DBK_MONGODB_UNKNOWN, DBK_MONGODB_GUARDED, DBK_MONGODB_TRANSACTION };
enum dbk_mongodb_what { DBK_MONGODB_INSERT, DBK_MONGODB_UPDATE, DBK_MONGODB_DELETE };

struct dbk_mongodb_change {
    enum dbk_mongodb_what what;
    uint32_t collection; /* in the session's list */
    size_t offset;       /* of its document in bodies */
    int64_t guard;
};

/* A change of a batch by the id of its document. */
struct dbk_mongodb_mark {
    uint64_t high; /* the id's hash */
    uint64_t low;
    size_t change;
    bool there; /* there is such a document */
};

/* Guards of a batch that was cut a while ago. */
struct dbk_mongodb_stray {
    int64_t from;
    int64_t to; /* behind the last */
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
    char **collections;
    uint32_t collection_count;
    struct dbk_buf bodies;
    struct dbk_mongodb_change *changes;
    size_t change_count;
    size_t change_capacity;
    size_t sent;  /* of changes, in this transaction */
    size_t *list; /* indexes of changes, while they are sent; as many as fit in changes */
    struct dbk_mongodb_mark *marks; /* likewise, while they are written down */
    int64_t event; /* position of the event that changes are made for, and their number */
    int64_t number;
    char *key;  /* of the model's document, which was looked at; NULL: of none yet */
    bool moves; /* its position is set with COMMIT */
    int64_t position_before;
    int64_t shift;         /* of guards */
    int64_t from;          /* the least guard of what is being posted */
    uint32_t record_count; /* written for it */
    bool lost;             /* an answer was, since BEGIN */
    bool looked;           /* nothing is left to be taken back */
    int64_t suspect; /* since BEGIN: of so many events from this one on one failed; 0: of any */
    uint64_t suspects;
    struct dbk_mongodb_stray strays[DBK_MONGODB_STRAYS_MAX];
    size_t stray_count;
    int64_t position;
    /* A letter is posted: the position stays, behind which its event is. */
    bool letter;
    int64_t retried; /* it is marked with COMMIT; 0: it is not */
    struct dbk_json *json;
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
/* Another has moved the position, or its shift. */
int dbk_mongodb_fenced(struct dbk_error *err);
void dbk_mongodb_abort(struct dbk_mongodb_session *session);

/* ---- changes.c ---- */

/*
 * Sends the session's changes that were not yet, in their order. What fails ends a transaction.
 *
 * DBK_EREFUSED  a key is there already
 */
int dbk_mongodb_send(struct dbk_mongodb_session *session, struct dbk_error *err) DBK_MUST_CHECK;
/* The document of a change; valid until another is added. */
void dbk_mongodb_body(const struct dbk_mongodb_session *session, size_t change, bson_t *out);

/* ---- record.c ---- */

/* Writes down what the documents are that changes are not sent for yet. */
int dbk_mongodb_record(struct dbk_mongodb_session *session, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- undo.c ---- */

/* Runs a command on what a batch is taken back by. matched_out (may be NULL): how many it met. */
int dbk_mongodb_run_own(struct dbk_mongodb_session *session, const bson_t *command,
                        int64_t *matched_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Before a batch: takes back what one has left. marked: `undo` of the model's document, or 0. */
int dbk_mongodb_mend(struct dbk_mongodb_session *session, int64_t marked,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* Takes back what was sent; what cannot be is left to dbk_mongodb_mend. */
void dbk_mongodb_take_back(struct dbk_mongodb_session *session);
/* Removes what a server has done of batches that were cut, since they were taken back. */
int dbk_mongodb_sweep(struct dbk_mongodb_session *session, int64_t *removed_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Removes records of the model's; live 0: all. */
int dbk_mongodb_forget_records(struct dbk_mongodb_session *session, int64_t live,
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
/* Finds out whether the server has transactions, by one that is taken back and looked for. */
int dbk_mongodb_probe(struct dbk_mongodb_session *session, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_mongodb_drop(struct dbk_connection *connection, struct dbk_slice prefix,
                     struct dbk_error *err);

#endif
