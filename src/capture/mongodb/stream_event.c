/* SPDX-License-Identifier: Apache-2.0 */
/* Events of a change stream as changes of rows. */
#include <inttypes.h>
#include <stdio.h>

#include "base/time.h"
#include "base/uuid.h"
#include "capture/mongodb/stream.h"

#define UUID_SUBTYPE 4

static int damaged(const struct dbk_stream *stream, const char *what, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ECORRUPT, "MongoDB: an event of the change stream of %s has %s",
                         stream->options.service->name, what);
}

static bool find_document(const bson_t *event, const char *name, bson_t *document_out)
{
    bson_iter_t at;
    const uint8_t *data = NULL;
    uint32_t size = 0;
    if (!bson_iter_init_find(&at, event, name) || !BSON_ITER_HOLDS_DOCUMENT(&at))
        return false;
    bson_iter_document(&at, &size, &data);
    return bson_init_static(document_out, data, size);
}

/* The text of a member of a member; NULL: there is none. */
static const char *text_of(const bson_t *event, const char *path)
{
    bson_iter_t at;
    bson_iter_t value;
    return bson_iter_init(&at, event) && bson_iter_find_descendant(&at, path, &value) &&
                   BSON_ITER_HOLDS_UTF8(&value)
               ? bson_iter_utf8(&value, NULL)
               : NULL;
}

/* The session's id and the number in it; nothing where it is no part of a transaction. */
static void take_transaction(const bson_t *document, struct dbk_stream_event *event)
{
    bson_iter_t at;
    bson_iter_t id;
    bson_iter_t number;
    struct dbk_uuid uuid = {{0}};
    char text[DBK_UUID_TEXT_SIZE];
    const uint8_t *data = NULL;
    uint32_t size = 0;
    bson_subtype_t subtype = BSON_SUBTYPE_BINARY;
    if (!bson_iter_init_find(&number, document, "txnNumber") || !bson_iter_init(&at, document) ||
        !bson_iter_find_descendant(&at, "lsid.id", &id) || !BSON_ITER_HOLDS_BINARY(&id))
        return;
    bson_iter_binary(&id, &subtype, &size, &data);
    if ((int)subtype != UUID_SUBTYPE || size != sizeof(uuid.bytes))
        return;
    memcpy(uuid.bytes, data, size);
    dbk_uuid_format(&uuid, text);
    (void)snprintf(event->transaction, sizeof(event->transaction), "%s/%" PRId64, text,
                   bson_iter_as_int64(&number));
}

/* The server's clock at the commit, where it says so (6.0); else the cluster's time. */
static int64_t time_of(const bson_t *document, dbk_cluster_time time)
{
    bson_iter_t at;
    if (bson_iter_init_find(&at, document, "wallTime") && BSON_ITER_HOLDS_DATE_TIME(&at)) {
        int64_t time_ms = bson_iter_date_time(&at);
        if (time_ms >= DBK_TIME_MIN / 1000 && time_ms <= DBK_TIME_MAX / 1000)
            return time_ms * 1000;
    }
    return (int64_t)(time >> 32) * 1000000;
}

/* ---- Kinds ---- */

static int take_row(struct dbk_stream *stream, struct dbk_stream_table *table,
                    const bson_t *document, bool must_be_whole, struct dbk_error *err)
{
    struct dbk_stream_event *event = &stream->event;
    bson_t row;
    bson_t key;
    event->kind = DBK_STREAM_CHANGE;
    if (find_document(document, "fullDocument", &row))
        return dbk_documents_take(&table->documents, &row, &stream->row, &event->change, err);
    if (must_be_whole)
        return damaged(stream, "no fullDocument", err);
    /* It was not found any more. */
    return find_document(document, "documentKey", &key)
               ? dbk_documents_take_key(&table->documents, &key, &stream->row, &event->change, err)
               : damaged(stream, "no documentKey", err);
}

static void take_gone(struct dbk_stream_event *event, const struct dbk_stream_table *table)
{
    event->kind = DBK_STREAM_CHANGE;
    event->change =
        (struct dbk_change){.kind = DBK_CHANGE_TRUNCATE, .table = table->documents.index};
}

/* The documents are gone from under the one name. Those that are under the other now are read, and
   what was there before is gone, too. */
static void take_rename(struct dbk_stream *stream, const struct dbk_stream_table *table,
                        const bson_t *document)
{
    const char *name = text_of(document, "to.coll");
    const char *database = text_of(document, "to.db");
    const char *ours = ((struct dbk_mongodb_session *)stream->connection)->database;
    if (name != NULL && database != NULL && strcmp(database, ours) == 0)
        stream->event.filled = dbk_stream_table(stream, name);
    if (table != NULL)
        take_gone(&stream->event, table);
    else if (stream->event.filled != NULL)
        take_gone(&stream->event, stream->event.filled);
}

static int take_kind(struct dbk_stream *stream, const bson_t *document, struct dbk_error *err)
{
    const char *kind = text_of(document, "operationType");
    const char *name = text_of(document, "ns.coll");
    struct dbk_stream_table *table = name == NULL ? NULL : dbk_stream_table(stream, name);
    stream->event.kind = DBK_STREAM_NOTHING;
    if (kind == NULL)
        return damaged(stream, "no operationType", err);
    if (strcmp(kind, "invalidate") == 0) {
        stream->event.kind = DBK_STREAM_END;
        return DBK_OK;
    }
    if (strcmp(kind, "rename") == 0) {
        take_rename(stream, table, document);
        return DBK_OK;
    }
    if (table == NULL)
        return DBK_OK;
    if (strcmp(kind, "insert") == 0 || strcmp(kind, "replace") == 0)
        return take_row(stream, table, document, true, err);
    if (strcmp(kind, "update") == 0)
        return take_row(stream, table, document, false, err);
    if (strcmp(kind, "drop") == 0) {
        take_gone(&stream->event, table);
        return DBK_OK;
    }
    bson_t key;
    if (strcmp(kind, "delete") != 0)
        return damaged(stream, "an operationType that is not known", err);
    stream->event.kind = DBK_STREAM_CHANGE;
    return find_document(document, "documentKey", &key)
               ? dbk_documents_take_key(&table->documents, &key, &stream->row,
                                        &stream->event.change, err)
               : damaged(stream, "no documentKey", err);
}

int dbk_stream_take_event(struct dbk_stream *stream, struct dbk_error *err)
{
    bson_t document;
    bson_t token;
    if (stream->ready)
        return 1;
    if (stream->event_at == stream->event_count)
        return 0;
    struct dbk_slice bytes = stream->events[stream->event_at++];
    stream->event = (struct dbk_stream_event){.kind = DBK_STREAM_NOTHING};
    dbk_arena_reset(&stream->row);
    if (!bson_init_static(&document, (const uint8_t *)bytes.data, bytes.size))
        return damaged(stream, "no members", err);
    if (!find_document(&document, "_id", &token))
        return damaged(stream, "no resume token", err);
    stream->event.token = dbk_slice((const char *)bson_get_data(&token), token.len);
    stream->event.time = dbk_cluster_time_of(&document, "clusterTime");
    if (stream->event.time == 0)
        return damaged(stream, "no clusterTime", err);
    stream->event.time_us = time_of(&document, stream->event.time);
    take_transaction(&document, &stream->event);
    int rc = take_kind(stream, &document, err);
    if (rc < 0)
        return rc;
    stream->ready = true;
    return 1;
}
