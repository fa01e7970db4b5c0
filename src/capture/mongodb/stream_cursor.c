/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change stream's cursor, opened and asked for more.
 *
 * By commands of our own, not by libmongoc's change streams: those hide the times of replies, and
 * go on by themselves after a failure. Here each failure ends the session, and the next one goes
 * on behind the token that is stored.
 */
#include <stdio.h>

#include "capture/mongodb/stream.h"

#define BATCH_EVENTS 1000

/* ---- Asking for them ---- */

static void put_index(bson_t *list, uint32_t index, const char *text)
{
    char room[16];
    const char *key = NULL;
    (void)bson_uint32_to_string(index, &key, room, sizeof(room));
    BSON_APPEND_UTF8(list, key, text);
}

/* {"<field>": {$in: [the captured collections]}} */
static void put_collections(const struct dbk_stream *stream, bson_t *list, const char *index,
                            const char *field)
{
    bson_t item;
    bson_t inner;
    bson_t names;
    uint32_t count = 0;
    BSON_APPEND_DOCUMENT_BEGIN(list, index, &item);
    BSON_APPEND_DOCUMENT_BEGIN(&item, field, &inner);
    BSON_APPEND_ARRAY_BEGIN(&inner, "$in", &names);
    for (size_t i = 0; i < stream->table_count; i++) {
        if (stream->tables[i].captured)
            put_index(&names, count++, stream->tables[i].documents.table->name);
    }
    bson_append_array_end(&inner, &names);
    bson_append_document_end(&item, &inner);
    bson_append_document_end(list, &item);
}

static void put_match(const struct dbk_stream *stream, bson_t *pipeline)
{
    bson_t stage;
    bson_t match;
    bson_t list;
    bson_t item;
    BSON_APPEND_DOCUMENT_BEGIN(pipeline, "1", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$match", &match);
    BSON_APPEND_ARRAY_BEGIN(&match, "$or", &list);
    put_collections(stream, &list, "0", "ns.coll");
    put_collections(stream, &list, "1", "to.coll");
    BSON_APPEND_DOCUMENT_BEGIN(&list, "2", &item);
    BSON_APPEND_UTF8(&item, "operationType", "invalidate");
    bson_append_document_end(&list, &item);
    bson_append_array_end(&match, &list);
    bson_append_document_end(&stage, &match);
    bson_append_document_end(pipeline, &stage);
}

static void put_stream(const struct dbk_stream *stream, bson_t *pipeline)
{
    bson_t stage;
    bson_t options;
    BSON_APPEND_DOCUMENT_BEGIN(pipeline, "0", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$changeStream", &options);
    BSON_APPEND_UTF8(&options, "fullDocument", "updateLookup");
    /* Behind the end of a stream only the one can go on. */
    if (stream->token != NULL)
        BSON_APPEND_DOCUMENT(&options, stream->ended ? "startAfter" : "resumeAfter", stream->token);
    bson_append_document_end(&stage, &options);
    bson_append_document_end(pipeline, &stage);
}

/* ---- What comes ---- */

static int bad_reply(const struct dbk_stream *stream, struct dbk_error *err)
{
    return dbk_stream_refuse(stream, DBK_EINVAL, "does not say where its change stream is",
                             "MongoDB 4.2 or later is needed, or write `capture: polling`", err);
}

static bool find_in(const bson_t *reply, const char *path, bson_iter_t *value_out)
{
    bson_iter_t at;
    return bson_iter_init(&at, reply) && bson_iter_find_descendant(&at, path, value_out);
}

/* Where there was no event, all up to the token's time was looked at. */
static int take_token(struct dbk_stream *stream, struct dbk_error *err)
{
    bson_iter_t at;
    const uint8_t *data = NULL;
    uint32_t size = 0;
    bson_t token;
    dbk_cluster_time time = 0;
    if (!find_in(stream->batch, "cursor.postBatchResumeToken", &at) ||
        !BSON_ITER_HOLDS_DOCUMENT(&at))
        return bad_reply(stream, err);
    bson_iter_document(&at, &size, &data);
    if (!bson_init_static(&token, data, size) || !dbk_cluster_time_of_token(&token, &time))
        return bad_reply(stream, err);
    if (time > stream->passed)
        stream->passed = time;
    if (stream->at != DBK_STREAM_BETWEEN ||
        (stream->token != NULL && bson_equal(stream->token, &token)))
        return DBK_OK;
    dbk_stream_set_token(stream, bson_copy(&token), false);
    stream->ended = false;
    return stream->token == NULL ? dbk_stream_no_memory(stream, err) : DBK_OK;
}

static int bad_event(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ECORRUPT, "MongoDB: a reply of a change stream is damaged");
}

static int list_events(struct dbk_stream *stream, bson_iter_t *at, struct dbk_error *err)
{
    bson_iter_t look = *at;
    const uint8_t *data = NULL;
    uint32_t size = 0;
    stream->event_at = stream->event_count = 0;
    while (bson_iter_next(&look))
        stream->event_count++;
    dbk_arena_reset(&stream->list);
    stream->events =
        dbk_arena_alloc_zero(&stream->list, stream->event_count + 1, sizeof(*stream->events));
    if (stream->events == NULL)
        return dbk_stream_no_memory(stream, err);
    for (size_t i = 0; i < stream->event_count; i++) {
        if (!bson_iter_next(at) || !BSON_ITER_HOLDS_DOCUMENT(at))
            return bad_event(err);
        bson_iter_document(at, &size, &data);
        stream->events[i] = dbk_slice((const char *)data, size);
    }
    stream->drained = stream->event_count == 0;
    return DBK_OK;
}

static int take_reply(struct dbk_stream *stream, const char *events, struct dbk_error *err)
{
    bson_iter_t at;
    bson_iter_t list;
    const char *collection = NULL;
    if (!find_in(stream->batch, "cursor.id", &at))
        return bad_reply(stream, err);
    stream->cursor = bson_iter_as_int64(&at);
    if (find_in(stream->batch, "cursor.ns", &at) && BSON_ITER_HOLDS_UTF8(&at))
        collection = strchr(bson_iter_utf8(&at, NULL), '.');
    if (collection != NULL)
        (void)snprintf(stream->collection, sizeof(stream->collection), "%s", collection + 1);
    if (!find_in(stream->batch, events, &at) || !bson_iter_recurse(&at, &list))
        return bad_reply(stream, err);
    int rc = list_events(stream, &list, err);
    return rc == DBK_OK && stream->drained ? take_token(stream, err) : rc;
}

static int ask(struct dbk_stream *stream, const bson_t *command, const char *events,
               struct dbk_error *err)
{
    bson_t reply;
    int rc = dbk_stream_ask(stream, command, &reply, err);
    if (rc == DBK_OK) {
        bson_destroy(stream->batch);
        stream->batch = bson_copy(&reply);
        rc = stream->batch == NULL ? dbk_stream_no_memory(stream, err) : DBK_OK;
    }
    bson_destroy(&reply);
    return rc < 0 ? rc : take_reply(stream, events, err);
}

int dbk_stream_open_cursor(struct dbk_stream *stream, struct dbk_error *err)
{
    bson_t command = BSON_INITIALIZER;
    bson_t pipeline;
    bson_t cursor;
    BSON_APPEND_INT32(&command, "aggregate", 1);
    BSON_APPEND_ARRAY_BEGIN(&command, "pipeline", &pipeline);
    put_stream(stream, &pipeline);
    put_match(stream, &pipeline);
    bson_append_array_end(&command, &pipeline);
    BSON_APPEND_DOCUMENT_BEGIN(&command, "cursor", &cursor);
    BSON_APPEND_INT32(&cursor, "batchSize", BATCH_EVENTS);
    bson_append_document_end(&command, &cursor);
    (void)snprintf(stream->collection, sizeof(stream->collection), "$cmd.aggregate");
    int rc = ask(stream, &command, "cursor.firstBatch", err);
    bson_destroy(&command);
    return rc;
}

int dbk_stream_get_more(struct dbk_stream *stream, int64_t wait_ms, struct dbk_error *err)
{
    bson_t command = BSON_INITIALIZER;
    BSON_APPEND_INT64(&command, "getMore", stream->cursor);
    BSON_APPEND_UTF8(&command, "collection", stream->collection);
    BSON_APPEND_INT32(&command, "batchSize", BATCH_EVENTS);
    BSON_APPEND_INT64(&command, "maxTimeMS", wait_ms);
    int rc = ask(stream, &command, "cursor.nextBatch", err);
    bson_destroy(&command);
    if (rc == DBK_OK)
        *stream->options.doubt = (struct dbk_source_doubt){0};
    return rc;
}
