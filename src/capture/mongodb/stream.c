/* SPDX-License-Identifier: Apache-2.0 */
/* A change stream of MongoDB behind capture/source.h. */
#include "capture/mongodb/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "target/target.h"

#define JSON_SIZE_MAX ((size_t)32 << 20)
#define ROW_ARENA_MAX ((size_t)1 << 30)
/* How long a server waits for events; somebody who waits for us waits as long. */
#define WAIT_MS 200
#define WAIT_SHORT_MS 1
#define IDLE_US (INT64_C(10) * 1000000)
#define PROGRESS_US (INT64_C(1) * 1000000)

extern const struct dbk_driver dbk_driver;

static struct dbk_stream *of(struct dbk_source *source)
{
    return (struct dbk_stream *)source;
}

static const struct dbk_stream *of_const(const struct dbk_source *source)
{
    return (const struct dbk_stream *)source;
}

static int64_t now_us(const struct dbk_stream *stream)
{
    return stream->options.os->monotonic_us(stream->options.os);
}

static struct dbk_mongodb_session *session_of(const struct dbk_stream *stream)
{
    return (struct dbk_mongodb_session *)stream->connection;
}

int dbk_stream_no_memory(const struct dbk_stream *stream, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory capturing %s",
                         stream->options.service->name);
}

int dbk_stream_refuse(const struct dbk_stream *stream, int code, const char *what, const char *fix,
                      struct dbk_error *err)
{
    const struct dbk_capture_service *service = stream->options.service;
    return dbk_error_set(err, code, "%s: the database `%s` %s: %s", service->file,
                         service->database, what, fix);
}

struct dbk_stream_table *dbk_stream_table(struct dbk_stream *stream, const char *name)
{
    for (size_t i = 0; i < stream->table_count; i++) {
        struct dbk_stream_table *table = &stream->tables[i];
        if (table->captured && strcmp(table->documents.table->name, name) == 0)
            return table;
    }
    return NULL;
}

/* ---- What the server refuses ---- */

static int lost(const struct dbk_stream *stream, const char *what, struct dbk_error *err)
{
    char fix[256];
    (void)snprintf(fix, sizeof(fix),
                   "`daybook capture resnapshot %.100s` reads its collections again; a larger "
                   "oplog keeps more",
                   stream->options.service->name);
    return dbk_stream_refuse(stream, DBK_EDENIED, what, fix, err);
}

/* Source: MongoDB's error_codes.yml, and what FerretDB 1.24 answers. */
static int failed(const struct dbk_stream *stream, const bson_error_t *error, const bson_t *reply,
                  struct dbk_error *err)
{
    char text[600];
    bool server = error->domain == MONGOC_ERROR_SERVER || error->domain == MONGOC_ERROR_QUERY;
    if (server && error->code == 40573)
        return dbk_stream_refuse(stream, DBK_EINVAL,
                                 "is a server on its own, which has no change streams",
                                 "make it a replica set of one (rs.initiate()), or write `capture: "
                                 "polling`",
                                 err);
    if (server && (error->code == 238 || error->code == 40324))
        return dbk_stream_refuse(stream, DBK_EINVAL, "has no change streams",
                                 "write `capture: polling`", err);
    if (server && (error->code == 286 || error->code == 280 || error->code == 260)) {
        (void)snprintf(text, sizeof(text),
                       "does not keep what was changed since it was read last (%.400s)",
                       error->message);
        return lost(stream, text, err);
    }
    if (server && error->code == 10334)
        return dbk_stream_refuse(stream, DBK_EDENIED,
                                 "has an event that is larger than the server's replies (16 MB)",
                                 "make the document smaller, then read the collections again by "
                                 "`daybook capture resnapshot`, or write `capture: polling`",
                                 err);
    /* What the server says will work again, and what one before 4.4, without labels, says then. */
    bool again = error->code == 63 || error->code == 133 || error->code == 150 ||
                 error->code == 234 || error->code == 13388 ||
                 (reply != NULL && mongoc_error_has_label(reply, "ResumableChangeStreamError"));
    if (server && again)
        return dbk_error_set(err, DBK_ECONNECT, "MongoDB: %.700s", error->message);
    return dbk_mongodb_fault(error, reply, err);
}

int dbk_stream_ask(struct dbk_stream *stream, const bson_t *command, bson_t *reply,
                   struct dbk_error *err)
{
    struct dbk_mongodb_session *session = session_of(stream);
    bson_t options = BSON_INITIALIZER;
    bson_error_t error = {0};
    if (stream->server != 0)
        BSON_APPEND_INT32(&options, "serverId", (int32_t)stream->server);
    bool good =
        stream->session == NULL || mongoc_client_session_append(stream->session, &options, &error);
    if (!good)
        bson_init(reply);
    good = good && mongoc_client_command_with_opts(session->client, session->database, command,
                                                   NULL, &options, reply, &error);
    bson_destroy(&options);
    return good ? DBK_OK : failed(stream, &error, reply, err);
}

/* ---- Opening ---- */

/* Its primary; what is asked later is asked there. */
static int choose_server(struct dbk_stream *stream, struct dbk_error *err)
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

/* A server that knows less than was read from it is another one, or was restored. */
static int compare(struct dbk_stream *stream, const char *set, dbk_cluster_time time,
                   struct dbk_error *err)
{
    dbk_cluster_time last = 0;
    if (stream->token != NULL && strcmp(stream->set, set) != 0)
        return lost(stream, "is not the replica set that was captured", err);
    if (stream->token != NULL && dbk_cluster_time_of_token(stream->token, &last) && time != 0 &&
        time < last)
        return lost(stream, "is from before what the book has of it: it was restored", err);
    if (strlen(set) >= sizeof(stream->set))
        return dbk_stream_refuse(stream, DBK_ELIMIT, "has a replica set's name that is too long",
                                 "write `capture: polling`", err);
    (void)snprintf(stream->set, sizeof(stream->set), "%s", set);
    return DBK_OK;
}

static int greet(struct dbk_stream *stream, struct dbk_error *err)
{
    bson_t *command = BCON_NEW("isMaster", BCON_INT32(1));
    bson_t reply;
    bson_iter_t at;
    int rc = dbk_stream_ask(stream, command, &reply, err);
    if (rc == DBK_OK && session_of(stream)->is_ferretdb)
        rc = dbk_stream_refuse(stream, DBK_EINVAL, "is of FerretDB, which has no change streams",
                               "write `capture: polling`", err);
    if (rc == DBK_OK && bson_iter_init_find(&at, &reply, "msg") && BSON_ITER_HOLDS_UTF8(&at))
        rc = dbk_stream_refuse(stream, DBK_EINVAL,
                               "is a sharded cluster, whose change streams are not followed",
                               "write `capture: polling`", err);
    if (rc == DBK_OK) {
        bool named = bson_iter_init_find(&at, &reply, "setName") && BSON_ITER_HOLDS_UTF8(&at);
        rc = compare(stream, named ? bson_iter_utf8(&at, NULL) : "",
                     dbk_cluster_time_of(&reply, "operationTime"), err);
    }
    bson_destroy(&reply);
    bson_destroy(command);
    return rc;
}

/* The stream is open: what is changed from here on is told by it. */
static int begin_tables(struct dbk_stream *stream, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < stream->table_count; i++) {
        struct dbk_stream_table *table = &stream->tables[i];
        if (!table->captured || table->phase != DBK_STREAM_NEW)
            continue;
        rc = dbk_collection_check(session_of(stream), &table->documents, err);
        table->phase = DBK_STREAM_READ;
        table->until = stream->options.last_position(stream->options.context);
    }
    return rc;
}

static void close_stream(struct dbk_source *base)
{
    struct dbk_stream *stream = of(base);
    dbk_stream_drop_piece(stream);
    for (size_t i = 0; i < stream->table_count; i++) {
        dbk_documents_release(&stream->tables[i].documents);
        bson_destroy(stream->tables[i].cursor);
    }
    bson_destroy(stream->token);
    bson_destroy(stream->last);
    bson_destroy(stream->batch);
    if (stream->session != NULL)
        mongoc_client_session_destroy(stream->session);
    if (stream->connection != NULL)
        dbk_driver.close(stream->connection);
    dbk_json_free(stream->json);
    dbk_arena_release(&stream->piece.arena);
    dbk_arena_release(&stream->row);
    dbk_arena_release(&stream->list);
    dbk_arena_release(&stream->arena);
    dbk_free(stream);
}

static int open_tables(struct dbk_stream *stream, struct dbk_error *err)
{
    const struct dbk_capture_service *service = stream->options.service;
    stream->json = dbk_json_create(JSON_SIZE_MAX);
    stream->tables =
        dbk_arena_alloc_zero(&stream->arena, service->table_count + 1, sizeof(*stream->tables));
    if (stream->json == NULL || stream->tables == NULL)
        return dbk_stream_no_memory(stream, err);
    for (size_t i = 0; i < service->table_count; i++) {
        dbk_documents_init(&stream->tables[i].documents, service, i);
        stream->tables[i].captured = service->tables[i].kind == DBK_CAPTURE_CDC;
        stream->table_count++;
    }
    return dbk_stream_read_state(stream, err);
}

static int open_stream(const struct dbk_source_options *options, struct dbk_source **source_out,
                       struct dbk_error *err)
{
    struct dbk_stream *stream = dbk_alloc_zero(1, sizeof(*stream));
    if (stream == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory capturing %s", options->service->name);
    stream->base.driver = &dbk_source_driver;
    stream->options = *options;
    stream->moved_us = now_us(stream);
    dbk_arena_init(&stream->arena, (size_t)16 << 20);
    dbk_arena_init(&stream->row, ROW_ARENA_MAX);
    dbk_arena_init(&stream->list, (size_t)16 << 20);
    dbk_arena_init(&stream->piece.arena, ROW_ARENA_MAX);
    int rc = open_tables(stream, err);
    if (rc == DBK_OK)
        rc = dbk_driver.open(strchr(options->service->address, ':') + 1, DBK_CONNECT_READ,
                             &stream->connection, err);
    if (rc == DBK_OK)
        rc = choose_server(stream, err);
    if (rc == DBK_OK)
        rc = greet(stream, err);
    if (rc == DBK_OK)
        rc = dbk_stream_open_cursor(stream, err);
    if (rc == DBK_OK)
        rc = begin_tables(stream, err);
    if (rc < 0) {
        close_stream(&stream->base);
        return rc;
    }
    (void)snprintf(stream->identity, sizeof(stream->identity), "mongodb/%s", stream->incarnation);
    *source_out = &stream->base;
    return DBK_OK;
}

static struct dbk_slice identity(const struct dbk_source *base)
{
    return dbk_slice_of(of_const(base)->identity);
}

/* ---- The run of changes ---- */

/* The event at hand is told, or tells nothing. */
static int leave_event(struct dbk_stream *stream, struct dbk_error *err)
{
    const struct dbk_stream_event *event = &stream->event;
    stream->ready = false;
    if (event->time > 0 && event->time - 1 > stream->passed)
        stream->passed = event->time - 1;
    bson_destroy(stream->last);
    stream->last = bson_new_from_data((const uint8_t *)event->token.data, event->token.size);
    return stream->last == NULL ? dbk_stream_no_memory(stream, err) : DBK_OK;
}

/* The stream is behind the last event that was left. */
static void settle(struct dbk_stream *stream)
{
    bson_destroy(stream->token);
    stream->token = stream->last;
    stream->last = NULL;
    stream->ended = false;
    stream->moved = true;
}

static int begin(struct dbk_stream *stream, struct dbk_change *change_out)
{
    const struct dbk_stream_event *event = &stream->event;
    char time[DBK_CLUSTER_TIME_TEXT_SIZE];
    stream->next_same = event->time == stream->time ? stream->same + 1 : 0;
    stream->next_time = event->time;
    dbk_cluster_time_format(event->time, time);
    if (stream->next_same == 0)
        (void)snprintf(stream->position, sizeof(stream->position), "%s", time);
    else
        (void)snprintf(stream->position, sizeof(stream->position), "%s/%ju", time,
                       (uintmax_t)stream->next_same);
    memcpy(stream->transaction, event->transaction, sizeof(stream->transaction));
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_BEGIN,
                                      .position = dbk_slice_of(stream->position),
                                      .transaction = dbk_slice_of(stream->transaction),
                                      .time_us = event->time_us};
    stream->at = DBK_STREAM_WITHIN;
    return 1;
}

static int end(struct dbk_stream *stream, struct dbk_change *change_out)
{
    settle(stream);
    stream->time = stream->next_time;
    stream->same = stream->next_same;
    stream->at = DBK_STREAM_BETWEEN;
    stream->told = false;
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_END};
    return 1;
}

static int tell_event(struct dbk_stream *stream, struct dbk_change *change_out,
                      struct dbk_error *err)
{
    struct dbk_stream_event *event = &stream->event;
    *change_out = event->change;
    stream->told = true;
    dbk_stream_touch(stream, event);
    /* What was under a name that another collection gets is gone, too: a change of its own. */
    if (event->filled != NULL && event->change.table != event->filled->documents.index) {
        event->change.table = event->filled->documents.index;
        return 1;
    }
    int rc = leave_event(stream, err);
    return rc < 0 ? rc : 1;
}

/* Within a transaction. 2: look again; 0: what follows has not come yet. */
static int go_on(struct dbk_stream *stream, struct dbk_change *change_out, struct dbk_error *err)
{
    if (stream->told && !stream->ready && stream->transaction[0] == '\0')
        return end(stream, change_out);
    int rc = dbk_stream_take_event(stream, err);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return stream->drained ? end(stream, change_out) : 0;
    if (stream->event.kind == DBK_STREAM_END ||
        strcmp(stream->event.transaction, stream->transaction) != 0)
        return end(stream, change_out);
    if (stream->event.kind == DBK_STREAM_CHANGE)
        return tell_event(stream, change_out, err);
    rc = leave_event(stream, err);
    return rc < 0 ? rc : 2;
}

static int begin_piece(struct dbk_stream *stream, struct dbk_change *change_out)
{
    /* The event at hand has the shape that its collection's last document had, which is soon one
       of the piece's: it is taken again behind it. */
    if (stream->ready) {
        stream->ready = false;
        stream->event_at--;
    }
    dbk_cluster_time_format(stream->piece.time, stream->position);
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_BEGIN,
                                      .snapshot = true,
                                      .position = dbk_slice_of(stream->position),
                                      .time_us = DBK_TIME_NONE};
    stream->at = DBK_STREAM_PIECE;
    return 1;
}

/* The piece that is held stands before what is at hand. */
static bool is_passed(const struct dbk_stream *stream)
{
    if (stream->piece.table == NULL)
        return false;
    if (stream->ready)
        return stream->event.time > stream->piece.time;
    return stream->drained && stream->passed >= stream->piece.time;
}

/* An event that is none of a row's. */
static int pass_event(struct dbk_stream *stream, struct dbk_error *err)
{
    bool ended = stream->event.kind == DBK_STREAM_END;
    int rc = leave_event(stream, err);
    if (rc < 0)
        return rc;
    settle(stream);
    if (ended) {
        stream->ended = true;
        stream->cursor = 0;
        stream->urgent = true;
    }
    return 2;
}

/* Between transactions. 2: look again; 0: there is nothing now. */
static int find_next(struct dbk_stream *stream, struct dbk_change *change_out,
                     struct dbk_error *err)
{
    int rc = dbk_stream_take_event(stream, err);
    if (rc < 0)
        return rc;
    if (is_passed(stream))
        return begin_piece(stream, change_out);
    if (rc == 1)
        return stream->event.kind == DBK_STREAM_CHANGE ? begin(stream, change_out)
                                                       : pass_event(stream, err);
    struct dbk_stream_table *table = dbk_stream_unfinished(stream);
    if (table == NULL || stream->piece.table != NULL || stream->cursor == 0 ||
        stream->token == NULL)
        return 0;
    return dbk_stream_read_piece(stream, table, err);
}

static int next(struct dbk_source *base, struct dbk_change *change_out, struct dbk_error *err)
{
    struct dbk_stream *stream = of(base);
    int rc = 2;
    while (rc == 2) {
        if (stream->at == DBK_STREAM_PIECE)
            rc = dbk_stream_tell_piece(stream, change_out, err);
        else if (stream->at == DBK_STREAM_WITHIN)
            rc = go_on(stream, change_out, err);
        else
            rc = find_next(stream, change_out, err);
    }
    return rc;
}

static int wait_stream(struct dbk_source *base, int64_t timeout_us, struct dbk_error *err)
{
    struct dbk_stream *stream = of(base);
    struct pollfd look = {.fd = stream->options.wake, .events = POLLIN};
    bool within = stream->at != DBK_STREAM_BETWEEN;
    bool soon = within || stream->hurried || dbk_stream_unfinished(stream) != NULL;
    int64_t wait_ms = timeout_us / 1000 < WAIT_MS ? timeout_us / 1000 : WAIT_MS;
    if (poll(&look, 1, 0) < 0 && errno != EINTR)
        return dbk_error_set_errno(err, errno, "waiting for MongoDB");
    if (look.revents != 0)
        return DBK_OK;
    stream->hurried = false;
    if (stream->cursor != 0)
        return dbk_stream_get_more(stream, soon || wait_ms < 1 ? WAIT_SHORT_MS : wait_ms, err);
    if (within)
        return dbk_error_set(err, DBK_ECONNECT,
                             "MongoDB: the change stream ended within a transaction");
    return dbk_stream_open_cursor(stream, err);
}

/* ---- What is asked of it ---- */

static void put_state(const struct dbk_source *base, struct dbk_buf *out)
{
    dbk_stream_put_state(of_const(base), out);
}

static bool moved(const struct dbk_source *base)
{
    const struct dbk_stream *stream = of_const(base);
    int64_t since_us = now_us(stream) - stream->moved_us;
    if (stream->at != DBK_STREAM_BETWEEN || stream->token == NULL)
        return false;
    if (stream->urgent)
        return true;
    if (stream->progress && (since_us > PROGRESS_US || dbk_stream_unfinished(stream) == NULL))
        return true;
    return stream->moved && since_us > IDLE_US;
}

static int stored(struct dbk_source *base, struct dbk_error *err)
{
    struct dbk_stream *stream = of(base);
    (void)err;
    stream->moved = stream->urgent = stream->progress = false;
    stream->moved_us = now_us(stream);
    return DBK_OK;
}

static void status(const struct dbk_source *base, struct dbk_source_status *status_out)
{
    const struct dbk_stream *stream = of_const(base);
    dbk_cluster_time_format(stream->passed, status_out->position);
    status_out->caught_up = stream->drained && !stream->ready;
    const struct dbk_stream_table *table = dbk_stream_unfinished(stream);
    if (table == NULL)
        return;
    status_out->snapshot = true;
    status_out->snapshot_rows = table->rows;
    (void)snprintf(status_out->snapshot_table, sizeof(status_out->snapshot_table), "%s",
                   table->documents.table->name);
}

static int hurry(struct dbk_source *base, struct dbk_error *err)
{
    (void)err;
    of(base)->hurried = true;
    return DBK_OK;
}

static bool is_reached(struct dbk_slice wanted, struct dbk_slice position, bool *reached_out)
{
    dbk_cluster_time left = 0;
    dbk_cluster_time right = 0;
    if (!dbk_cluster_time_parse(wanted, &left) ||
        (position.size > 0 && !dbk_cluster_time_parse(position, &right)))
        return false;
    *reached_out = left <= right;
    return true;
}

__attribute__((visibility("default"))) const struct dbk_source_driver dbk_source_driver = {
    .version = DBK_SOURCE_VERSION,
    .open = open_stream,
    .close = close_stream,
    .identity = identity,
    .next = next,
    .wait = wait_stream,
    .state = put_state,
    .moved = moved,
    .stored = stored,
    .status = status,
    .hurry = hurry,
    .is_reached = is_reached,
};
