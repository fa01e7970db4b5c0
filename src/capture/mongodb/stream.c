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
/* How often it is asked whether the server is the primary still: cursors outlive that. */
#define GREET_US (INT64_C(10) * 1000000)

extern const struct dbk_driver dbk_driver;

static struct dbk_stream *of(struct dbk_source *source)
{
    return (struct dbk_stream *)source;
}

static const struct dbk_stream *of_const(const struct dbk_source *source)
{
    return (const struct dbk_stream *)source;
}

int64_t dbk_stream_now_us(const struct dbk_stream *stream)
{
    return stream->options.os->monotonic_us(stream->options.os);
}

void dbk_stream_set_token(struct dbk_stream *stream, bson_t *token, bool at_event)
{
    bson_t *left = stream->token;
    if (at_event || stream->at_event) {
        bson_destroy(stream->event_token);
        stream->event_token = NULL;
    }
    if (!at_event && stream->at_event) {
        stream->event_token = left;
        left = NULL;
    }
    bson_destroy(left);
    stream->token = token;
    stream->at_event = at_event;
    stream->moved = true;
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

/* ---- Opening ---- */

/* The stream is open: what is changed from here on is told by it. */
static int begin_tables(struct dbk_stream *stream, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < stream->table_count; i++) {
        struct dbk_stream_table *table = &stream->tables[i];
        if (!table->captured || table->phase != DBK_STREAM_NEW)
            continue;
        rc = dbk_collection_check((struct dbk_mongodb_session *)stream->connection,
                                  &table->documents, err);
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
    bson_destroy(stream->event_token);
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
    stream->moved_us = dbk_stream_now_us(stream);
    dbk_arena_init(&stream->arena, (size_t)16 << 20);
    dbk_arena_init(&stream->row, ROW_ARENA_MAX);
    dbk_arena_init(&stream->list, (size_t)16 << 20);
    dbk_arena_init(&stream->piece.arena, ROW_ARENA_MAX);
    int rc = open_tables(stream, err);
    if (rc == DBK_OK)
        rc = dbk_driver.open(strchr(options->service->address, ':') + 1, DBK_CONNECT_READ,
                             &stream->connection, err);
    if (rc == DBK_OK)
        rc = dbk_stream_choose_server(stream, err);
    if (rc == DBK_OK)
        rc = dbk_stream_greet(stream, err);
    if (rc == DBK_OK)
        rc = dbk_stream_check_event(stream, err);
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

/* The stream is behind the last event that was left, or its end. */
static void settle(struct dbk_stream *stream, bool ended)
{
    dbk_stream_set_token(stream, stream->last, !ended);
    stream->last = NULL;
    stream->ended = ended;
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
    settle(stream, false);
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
    settle(stream, ended);
    if (ended) {
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
    if (dbk_stream_now_us(stream) - stream->greeted_us >= GREET_US) {
        int rc = dbk_stream_greet(stream, err);
        if (rc < 0)
            return rc;
    }
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
    int64_t since_us = dbk_stream_now_us(stream) - stream->moved_us;
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
    stream->moved_us = dbk_stream_now_us(stream);
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
