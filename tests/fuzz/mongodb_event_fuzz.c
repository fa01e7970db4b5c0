/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongodb_event_fuzz -- any document as an event of a change stream becomes a change, or an error
 * that says why; and where the stream is then reads back from its state as the same.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "capture/mongodb/stream.h"
#include "os/os.h"

static struct dbk_capture_table tables[] = {{.name = "a", .kind = DBK_CAPTURE_CDC},
                                            {.name = "b", .kind = DBK_CAPTURE_CDC}};
static const struct dbk_capture_service service = {
    .name = "s", .file = "services/s.yaml", .database = "d", .tables = tables, .table_count = 2};
static struct dbk_mongodb_session session;
static char database[] = "d";

/* As the source's, whose file needs a server. */
struct dbk_stream_table *dbk_stream_table(struct dbk_stream *stream, const char *name)
{
    for (size_t i = 0; i < stream->table_count; i++) {
        if (strcmp(stream->tables[i].documents.table->name, name) == 0)
            return &stream->tables[i];
    }
    return NULL;
}

static void open_stream(struct dbk_stream *stream, struct dbk_stream_table *list)
{
    *stream = (struct dbk_stream){.options = {.service = &service},
                                  .connection = &session.base,
                                  .json = dbk_json_create((size_t)1 << 24),
                                  .incarnation = "i",
                                  .set = "rs0",
                                  .tables = list,
                                  .table_count = 2};
    for (size_t i = 0; i < 2; i++) {
        list[i] = (struct dbk_stream_table){.captured = true};
        dbk_documents_init(&list[i].documents, &service, i);
    }
    dbk_arena_init(&stream->row, (size_t)1 << 24);
    if (stream->json == NULL)
        abort();
}

static void close_stream(struct dbk_stream *stream)
{
    for (size_t i = 0; i < 2; i++)
        dbk_documents_release(&stream->tables[i].documents);
    bson_destroy(stream->token);
    dbk_json_free(stream->json);
    dbk_arena_release(&stream->row);
}

/* What is stored of it is read as the same. */
static void check_state(struct dbk_stream *stream)
{
    struct dbk_stream again;
    struct dbk_stream_table list[2];
    struct dbk_buf first;
    struct dbk_buf second;
    struct dbk_error err = {0};
    dbk_buf_init(&first, (size_t)1 << 24);
    dbk_buf_init(&second, (size_t)1 << 24);
    dbk_stream_put_state(stream, &first);
    open_stream(&again, list);
    again.options.state = dbk_buf_slice(&first);
    if (dbk_stream_read_state(&again, &err) == DBK_OK) {
        dbk_stream_put_state(&again, &second);
        if (!dbk_slice_equal(dbk_buf_slice(&first), dbk_buf_slice(&second)))
            abort();
    } else if (err.message[0] == '\0') {
        abort();
    }
    close_stream(&again);
    dbk_buf_release(&first);
    dbk_buf_release(&second);
}

static void check_event(struct dbk_stream *stream)
{
    const struct dbk_stream_event *event = &stream->event;
    dbk_cluster_time time = 0;
    if (event->time == 0 || event->token.size < 5 ||
        (event->kind != DBK_STREAM_CHANGE && event->filled != NULL))
        abort();
    if (event->kind == DBK_STREAM_CHANGE &&
        (event->change.table > 1 ||
         (event->change.kind != DBK_CHANGE_TRUNCATE && event->change.key_count != 1)))
        abort();
    stream->token = bson_new_from_data((const uint8_t *)event->token.data, event->token.size);
    stream->time = stream->passed = event->time;
    if (stream->token != NULL && dbk_cluster_time_of_token(stream->token, &time))
        check_state(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_slice event = dbk_slice((const char *)data, size);
    struct dbk_stream stream;
    struct dbk_stream_table list[2];
    struct dbk_error err = {0};
    session.database = database;
    open_stream(&stream, list);
    stream.events = &event;
    stream.event_count = 1;
    int rc = dbk_stream_take_event(&stream, &err);
    if (rc == 1)
        check_event(&stream);
    else if (rc < 0 && err.message[0] == '\0')
        abort();
    close_stream(&stream);
    return 0;
}
