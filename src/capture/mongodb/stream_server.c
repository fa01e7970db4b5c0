/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server that has the stream: which it is, whether it is the one that was captured, and what it
 * refuses.
 *
 *     trusted ──(older than the state, or without its last event)──> doubted
 *     doubted ──(a reply of the stream: dbk_stream_get_more)──> trusted
 *     doubted ──(DOUBT_US)──> lost: the capture ends, and says so
 *     doubted ──(no look for DBK_SOURCE_DOUBT_GAP_US)──> as if it never was
 *
 * Source: MongoDB's manual 7.0, "hello", "$changeStream"; its error_codes.yml; "Replica Set
 *         Elections" (electionTimeoutMillis).
 */
#include <stdio.h>

#include "capture/mongodb/stream.h"

/* A primary that does not reach most of its set steps down within 10 s. */
#define DOUBT_US (INT64_C(12) * 1000000)
#define WIRE_VERSION_MIN 8 /* MongoDB 4.2: startAfter */
/* How long the last event is looked for at first: it is found at once, if it is there. */
#define LOOK_MS 2000
#define MAX_TIME_MS_EXPIRED 50

static struct dbk_mongodb_session *session_of(const struct dbk_stream *stream)
{
    return (struct dbk_mongodb_session *)stream->connection;
}

/* ---- What was captured, and is not there ---- */

static int lost(const struct dbk_stream *stream, const char *what, struct dbk_error *err)
{
    char fix[256];
    (void)snprintf(fix, sizeof(fix),
                   "`daybook capture resnapshot %.100s` reads its collections again; a larger "
                   "oplog keeps more",
                   stream->options.service->name);
    return dbk_stream_refuse(stream, DBK_EDENIED, what, fix, err);
}

int dbk_stream_doubt(const struct dbk_stream *stream, const char *what, struct dbk_error *err)
{
    if (dbk_source_doubt_us(stream->options.doubt, dbk_stream_now_us(stream)) >= DOUBT_US)
        return lost(stream, what, err);
    return dbk_stream_refuse(stream, DBK_ECONNECT, what,
                             "or a primary that was replaced and does not know it yet, which is "
                             "looked at again",
                             err);
}

/* Source: MongoDB's error_codes.yml, and what FerretDB 1.24 answers. 40576 and 40585 are what
   280 and 286 were before they had names. */
static int failed_stream(const struct dbk_stream *stream, const bson_error_t *error,
                         struct dbk_error *err)
{
    char text[600];
    switch (error->code) {
    case 40573:
        return dbk_stream_refuse(stream, DBK_EINVAL,
                                 "is a server on its own, which has no change streams",
                                 "make it a replica set of one (rs.initiate()), or write `capture: "
                                 "polling`",
                                 err);
    case 238:
    case 40324:
        return dbk_stream_refuse(stream, DBK_EINVAL, "has no change streams",
                                 "write `capture: polling`", err);
    case 260:
    case 286:
    case 40576:
        (void)snprintf(text, sizeof(text),
                       "does not keep what was changed since it was read last (%.400s)",
                       error->message);
        return lost(stream, text, err);
    case 280:
    case 40585:
        (void)snprintf(text, sizeof(text),
                       "does not have what was read of it last: it was restored (%.400s)",
                       error->message);
        return dbk_stream_doubt(stream, text, err);
    case 10334:
        return dbk_stream_refuse(stream, DBK_EDENIED,
                                 "has an event that is larger than the server's replies (16 MB)",
                                 "make the document smaller, then read the collections again by "
                                 "`daybook capture resnapshot`, or write `capture: polling`",
                                 err);
    default:
        return DBK_OK;
    }
}

static int failed(const struct dbk_stream *stream, const bson_error_t *error, const bson_t *reply,
                  struct dbk_error *err)
{
    bool server = error->domain == MONGOC_ERROR_SERVER || error->domain == MONGOC_ERROR_QUERY;
    int rc = server ? failed_stream(stream, error, err) : DBK_OK;
    if (rc < 0)
        return rc;
    /* What the server says will work again, and what one before 4.4, without labels, says then. */
    bool again = error->code == 63 || error->code == 133 || error->code == 150 ||
                 error->code == 234 || error->code == 13388 ||
                 (reply != NULL && mongoc_error_has_label(reply, "ResumableChangeStreamError"));
    if (server && again)
        return dbk_error_set(err, DBK_ECONNECT, "MongoDB: %.700s", error->message);
    return dbk_mongodb_fault(error, reply, err);
}

/* ---- Asking ---- */

static bool ask_server(struct dbk_stream *stream, const bson_t *command, bson_t *reply,
                       bson_error_t *error)
{
    struct dbk_mongodb_session *session = session_of(stream);
    bson_t options = BSON_INITIALIZER;
    if (stream->server != 0)
        BSON_APPEND_INT32(&options, "serverId", (int32_t)stream->server);
    bool good =
        stream->session == NULL || mongoc_client_session_append(stream->session, &options, error);
    if (!good)
        bson_init(reply);
    good = good && mongoc_client_command_with_opts(session->client, session->database, command,
                                                   NULL, &options, reply, error);
    bson_destroy(&options);
    return good;
}

int dbk_stream_ask(struct dbk_stream *stream, const bson_t *command, bson_t *reply,
                   struct dbk_error *err)
{
    bson_error_t error = {0};
    return ask_server(stream, command, reply, &error) ? DBK_OK : failed(stream, &error, reply, err);
}

/* ---- Who it is ---- */

int dbk_stream_choose_server(struct dbk_stream *stream, struct dbk_error *err)
{
    bson_error_t error = {0};
    mongoc_client_t *client = session_of(stream)->client;
    mongoc_server_description_t *server = mongoc_client_select_server(client, true, NULL, &error);
    if (server == NULL)
        return dbk_mongodb_fault(&error, NULL, err);
    stream->server = mongoc_server_description_id(server);
    mongoc_server_description_destroy(server);
    mongoc_session_opt_t *options = mongoc_session_opts_new();
    mongoc_session_opts_set_causal_consistency(options, false);
    stream->session = mongoc_client_start_session(client, options, NULL);
    mongoc_session_opts_destroy(options);
    return DBK_OK;
}

static const char *text_of(const bson_t *reply, const char *name)
{
    bson_iter_t at;
    return bson_iter_init_find(&at, reply, name) && BSON_ITER_HOLDS_UTF8(&at)
               ? bson_iter_utf8(&at, NULL)
               : NULL;
}

/* An election's id is an ObjectId: 7fffffff and the term. 0: there is none. */
static uint64_t term_of(const bson_t *reply)
{
    static const uint8_t head[] = {0x7f, 0xff, 0xff, 0xff};
    bson_iter_t at;
    uint64_t term = 0;
    if (!bson_iter_init_find(&at, reply, "electionId") || !BSON_ITER_HOLDS_OID(&at))
        return 0;
    const bson_oid_t *id = bson_iter_oid(&at);
    if (memcmp(id->bytes, head, sizeof(head)) != 0)
        return 0;
    for (size_t i = sizeof(head); i < sizeof(id->bytes); i++)
        term = term << 8 | id->bytes[i];
    return term > INT64_MAX ? 0 : term;
}

/* Its cursors go on being answered, while it falls behind, or is taken out of its set. */
static int check_primary(const struct dbk_stream *stream, const bson_t *reply,
                         struct dbk_error *err)
{
    char what[300];
    bson_iter_t at;
    if (bson_iter_init_find(&at, reply, "ismaster") && bson_iter_as_bool(&at))
        return DBK_OK;
    const char *primary = text_of(reply, "primary");
    (void)snprintf(what, sizeof(what), "is not at the primary of its replica set, which is %.200s",
                   primary == NULL ? "just none" : primary);
    return dbk_stream_refuse(stream, DBK_ECONNECT, what,
                             "it is looked for again, by all hosts of the connection string with "
                             "replicaSet= in it",
                             err);
}

/* A server that knows less than was read from it is another one, or was restored. */
static int compare(struct dbk_stream *stream, const bson_t *reply, struct dbk_error *err)
{
    dbk_cluster_time last = 0;
    dbk_cluster_time time = dbk_cluster_time_of(reply, "operationTime");
    uint64_t term = term_of(reply);
    const char *set = text_of(reply, "setName");
    set = set == NULL ? "" : set;
    if (strlen(set) >= sizeof(stream->set))
        return dbk_stream_refuse(stream, DBK_ELIMIT, "has a replica set's name that is too long",
                                 "write `capture: polling`", err);
    if (stream->token != NULL) {
        if (strcmp(stream->set, set) != 0)
            return lost(stream, "is not the replica set that was captured", err);
        if (dbk_cluster_time_of_token(stream->token, &last) && time != 0 && time < last)
            return dbk_stream_doubt(stream,
                                    "is from before what the book has of it: it was restored", err);
        if (term != 0 && term < stream->term)
            return dbk_stream_doubt(
                stream, "has had fewer elections than when it was read last: it was restored", err);
    }
    if (term != 0)
        stream->term = term;
    (void)snprintf(stream->set, sizeof(stream->set), "%s", set);
    return DBK_OK;
}

static int check_kind(const struct dbk_stream *stream, const bson_t *reply, struct dbk_error *err)
{
    if (session_of(stream)->is_ferretdb)
        return dbk_stream_refuse(stream, DBK_EINVAL, "is of FerretDB, which has no change streams",
                                 "write `capture: polling`", err);
    if (text_of(reply, "msg") != NULL)
        return dbk_stream_refuse(stream, DBK_EINVAL,
                                 "is a sharded cluster, whose change streams are not followed",
                                 "write `capture: polling`", err);
    if (dbk_mongodb_integer(reply, "maxWireVersion") < WIRE_VERSION_MIN)
        return dbk_stream_refuse(
            stream, DBK_EINVAL, "is a server whose change streams cannot go on behind their end",
            "MongoDB 4.2 or later is needed, or write `capture: polling`", err);
    return DBK_OK;
}

int dbk_stream_greet(struct dbk_stream *stream, struct dbk_error *err)
{
    bson_t *command = BCON_NEW("isMaster", BCON_INT32(1));
    bson_t reply;
    int rc = dbk_stream_ask(stream, command, &reply, err);
    if (rc == DBK_OK)
        rc = check_kind(stream, &reply, err);
    if (rc == DBK_OK)
        rc = check_primary(stream, &reply, err);
    if (rc == DBK_OK)
        rc = compare(stream, &reply, err);
    stream->greeted_us = dbk_stream_now_us(stream);
    bson_destroy(&reply);
    bson_destroy(command);
    return rc;
}

/* ---- The last event ---- */

/* {aggregate: 1, pipeline: [{$changeStream: {…}}, {$match: {_id: …}}?], cursor: {batchSize: 1}} */
static void write_look(const struct dbk_stream *stream, bool resumes, bson_t *command)
{
    const bson_t *token = stream->event_token;
    dbk_cluster_time time = 0;
    bson_t pipeline;
    bson_t stage;
    bson_t inner;
    (void)dbk_cluster_time_of_token(token, &time);
    BSON_APPEND_INT32(command, "aggregate", 1);
    BSON_APPEND_ARRAY_BEGIN(command, "pipeline", &pipeline);
    BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "0", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$changeStream", &inner);
    if (resumes)
        BSON_APPEND_DOCUMENT(&inner, "resumeAfter", token);
    else
        BSON_APPEND_TIMESTAMP(&inner, "startAtOperationTime", (uint32_t)(time >> 32),
                              (uint32_t)time);
    bson_append_document_end(&stage, &inner);
    bson_append_document_end(&pipeline, &stage);
    if (!resumes) {
        BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "1", &stage);
        BSON_APPEND_DOCUMENT_BEGIN(&stage, "$match", &inner);
        BSON_APPEND_DOCUMENT(&inner, "_id", token);
        bson_append_document_end(&stage, &inner);
        bson_append_document_end(&pipeline, &stage);
    }
    bson_append_array_end(command, &pipeline);
    BSON_APPEND_DOCUMENT_BEGIN(command, "cursor", &inner);
    BSON_APPEND_INT32(&inner, "batchSize", 1);
    bson_append_document_end(command, &inner);
    if (!resumes)
        BSON_APPEND_INT64(command, "maxTimeMS", LOOK_MS);
}

static void kill_cursor(struct dbk_stream *stream, int64_t cursor)
{
    bson_t reply;
    bson_error_t error = {0};
    if (cursor == 0)
        return;
    bson_t *command = BCON_NEW("killCursors", BCON_UTF8("$cmd.aggregate"), "cursors", "[",
                               BCON_INT64(cursor), "]");
    /* What fails leaves a cursor that the server ends by itself. */
    (void)ask_server(stream, command, &reply, &error);
    bson_destroy(&reply);
    bson_destroy(command);
}

static bool take_look(struct dbk_stream *stream, const bson_t *reply)
{
    bson_iter_t at;
    bson_iter_t value;
    if (bson_iter_init(&at, reply) && bson_iter_find_descendant(&at, "cursor.id", &value))
        kill_cursor(stream, bson_iter_as_int64(&value));
    return bson_iter_init(&at, reply) &&
           bson_iter_find_descendant(&at, "cursor.firstBatch.0", &value);
}

/* 1: it is there, or too far back to tell; 0: it is not; 2: that took too long. */
static int look_for_event(struct dbk_stream *stream, bool resumes, struct dbk_error *err)
{
    bson_t command = BSON_INITIALIZER;
    bson_t reply;
    bson_error_t error = {0};
    int rc = 1;
    write_look(stream, resumes, &command);
    bool asked = ask_server(stream, &command, &reply, &error);
    bool server = error.domain == MONGOC_ERROR_SERVER || error.domain == MONGOC_ERROR_QUERY;
    if (asked)
        rc = take_look(stream, &reply) || resumes ? 1 : 0;
    else if (server && error.code == MAX_TIME_MS_EXPIRED && !resumes)
        rc = 2;
    else if (!server || (error.code != 286 && error.code != 40576))
        rc = failed(stream, &error, &reply, err);
    bson_destroy(&reply);
    bson_destroy(&command);
    return rc;
}

int dbk_stream_check_event(struct dbk_stream *stream, struct dbk_error *err)
{
    if (stream->at_event || stream->event_token == NULL)
        return DBK_OK; /* a stream that goes on behind an event looks for it */
    int rc = look_for_event(stream, false, err);
    /* Reading behind it takes long where it is there, but not where it is not. */
    if (rc == 2)
        rc = look_for_event(stream, true, err);
    if (rc == 0)
        return dbk_stream_doubt(stream, "does not have what was read of it last: it was restored",
                                err);
    return rc < 0 ? rc : DBK_OK;
}
