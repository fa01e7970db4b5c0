/* SPDX-License-Identifier: Apache-2.0 */
/* What goes wrong at a MongoDB server, in our codes, with what an operator can do. */
#include <string.h>

#include "target/mongodb/session.h"

struct known {
    int32_t number;
    int code;
    const char *fix; /* NULL: the server's words are enough */
};

/* Source: MongoDB's src/mongo/base/error_codes.yml. */
static const struct known known[] = {
    {13, DBK_ECONNECT, "give the user the role readWrite on the database"},
    {18, DBK_ECONNECT, "check user, password and authSource in the connection string"},
    {50, DBK_ETIMEOUT, NULL},
    {6, DBK_ECONNECT, NULL}, /* its own connections, as are those that follow */
    {7, DBK_ECONNECT, NULL},
    {89, DBK_ECONNECT, NULL},
    {262, DBK_ECONNECT, NULL},
    {9001, DBK_ECONNECT, NULL},
    {24, DBK_EBUSY, NULL},     /* a lock */
    {43, DBK_ECONNECT, NULL},  /* a cursor is gone, as it is with the next two: */
    {175, DBK_ECONNECT, NULL}, /* its collection was dropped or renamed meanwhile */
    {237, DBK_ECONNECT, NULL},
    {134, DBK_ECONNECT, NULL}, /* no majority to read of, yet */
    {215, DBK_EBUSY, NULL},    /* its database is just dropped */
    {11601, DBK_EBUSY, NULL},  /* somebody has killed the operation */
    {91, DBK_ECONNECT, NULL},  /* it shuts down */
    {112, DBK_EBUSY, NULL},    /* another one's transaction */
    {121, DBK_EREFUSED, NULL}, /* a validator */
    {189, DBK_ECONNECT, NULL}, /* no longer the primary, as are those that follow */
    {10107, DBK_ECONNECT, NULL},
    {11600, DBK_ECONNECT, NULL},
    {11602, DBK_ECONNECT, NULL},
    {13435, DBK_ECONNECT, NULL},
    {13436, DBK_ECONNECT, NULL},
    {251, DBK_EBUSY, NULL}, /* its transaction is gone */
    {11000, DBK_EREFUSED, NULL},
    {263, DBK_EDENIED,
     "transactions write neither to capped collections nor to such that they would have to make: "
     "create it in the model's schema.json, without `capped`"},
    {14031, DBK_EFULL, "free space on the server's disk"},
};

static int set(int code, const char *text, const char *fix, struct dbk_error *err)
{
    const char *what = text[0] == '\0' ? "it gives no reason" : text;
    return dbk_error_set(err, code, "MongoDB: %.700s%s%s", what, fix == NULL ? "" : ": ",
                         fix == NULL ? "" : fix);
}

int dbk_mongodb_write_fault(int32_t number, const char *text, struct dbk_error *err)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].number == number)
            return set(known[i].code, text, known[i].fix, err);
    }
    return set(DBK_ESCRIPT, text, NULL, err);
}

int dbk_mongodb_fault(const bson_error_t *error, const bson_t *reply, struct dbk_error *err)
{
    bool server = error->domain == MONGOC_ERROR_SERVER || error->domain == MONGOC_ERROR_QUERY;
    /* It is done at the primary, and may be undone: as after an answer that is lost. */
    if (error->domain == MONGOC_ERROR_WRITE_CONCERN)
        return set(DBK_ECONNECT, error->message,
                   "the replica set does not confirm writes as w= in the connection string asks "
                   "(the majority, where it does not): see to its members",
                   err);
    if (reply != NULL && (mongoc_error_has_label(reply, "TransientTransactionError") ||
                          mongoc_error_has_label(reply, "UnknownTransactionCommitResult")))
        return set(server ? DBK_EBUSY : DBK_ECONNECT, error->message, NULL, err);
    if (error->domain == MONGOC_ERROR_CLIENT && error->code == MONGOC_ERROR_CLIENT_AUTHENTICATE)
        return set(DBK_ECONNECT, "it does not let us in",
                   "check user, password and authSource in the connection string", err);
    if (error->code == MONGOC_ERROR_PROTOCOL_BAD_WIRE_VERSION)
        return set(DBK_ECONNECT, error->message, "MongoDB 3.6 or later is needed", err);
    if (server)
        return dbk_mongodb_write_fault((int32_t)error->code, error->message, err);
    bool lost = error->domain == MONGOC_ERROR_STREAM ||
                error->domain == MONGOC_ERROR_SERVER_SELECTION ||
                error->domain == MONGOC_ERROR_PROTOCOL || error->domain == MONGOC_ERROR_CLIENT ||
                error->domain == MONGOC_ERROR_SCRAM || error->domain == MONGOC_ERROR_SASL;
    return set(lost ? DBK_ECONNECT : DBK_ESCRIPT, error->message, NULL, err);
}

int64_t dbk_mongodb_integer(const bson_t *document, const char *key)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, document, key) ? bson_iter_as_int64(&at) : 0;
}

static int ended(bson_t *reply, struct dbk_error *err)
{
    bson_init(reply);
    return dbk_error_set(err, DBK_ECONNECT, "MongoDB: the session was ended");
}

int dbk_mongodb_ask(struct dbk_mongodb_session *session, const bson_t *command, bson_t *reply,
                    struct dbk_error *err)
{
    bson_error_t error = {0};
    if (atomic_load(&session->interrupted))
        return ended(reply, err);
    return mongoc_client_command_with_opts(session->client, session->database, command, NULL, NULL,
                                           reply, &error)
               ? DBK_OK
               : dbk_mongodb_fault(&error, reply, err);
}

/* libmongoc sends a command that it is not told to be a write without any write concern, and does
   not look for writeConcernError in its answer. */
static bool change_alone(struct dbk_mongodb_session *session, const bson_t *command, bson_t *reply,
                         bson_error_t *error)
{
    bson_t options = BSON_INITIALIZER;
    mongoc_write_concern_t *concern =
        mongoc_write_concern_copy(mongoc_client_get_write_concern(session->client));
    bool sent = mongoc_write_concern_append(concern, &options);
    if (sent) {
        sent = mongoc_client_write_command_with_opts(session->client, session->database, command,
                                                     &options, reply, error);
    } else {
        bson_init(reply);
        bson_set_error(error, MONGOC_ERROR_COMMAND, MONGOC_ERROR_COMMAND_INVALID_ARG,
                       "the write concern of the connection string is none");
    }
    mongoc_write_concern_destroy(concern);
    bson_destroy(&options);
    return sent;
}

/* The concern is its COMMIT's. */
static bool change_within(struct dbk_mongodb_session *session, const bson_t *command, bson_t *reply,
                          bson_error_t *error)
{
    bson_t options = BSON_INITIALIZER;
    bool sent = mongoc_client_session_append(session->transaction, &options, error);
    if (sent)
        sent = mongoc_client_command_with_opts(session->client, session->database, command, NULL,
                                               &options, reply, error);
    else
        bson_init(reply);
    bson_destroy(&options);
    return sent;
}

int dbk_mongodb_change_command(struct dbk_mongodb_session *session, const bson_t *command,
                               bson_t *reply, struct dbk_error *err)
{
    bson_error_t error = {0};
    if (atomic_load(&session->interrupted))
        return ended(reply, err);
    bool sent = session->transaction != NULL ? change_within(session, command, reply, &error)
                                             : change_alone(session, command, reply, &error);
    int rc = sent ? DBK_OK : dbk_mongodb_fault(&error, reply, err);
    session->lost = session->lost || rc == DBK_ECONNECT;
    return rc;
}
