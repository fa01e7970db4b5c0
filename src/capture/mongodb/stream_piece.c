/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of collections, read while the stream is followed. */
#include <stdio.h>

#include "base/time.h"
#include "capture/mongodb/poll.h"
#include "capture/mongodb/stream.h"

#define SWEEP_KEYS 1000
/* More than a document's key can be is never asked for at once. */
#define SWEEP_BATCH 1000000

struct dbk_stream_table *dbk_stream_unfinished(const struct dbk_stream *stream)
{
    for (size_t i = 0; i < stream->table_count; i++) {
        struct dbk_stream_table *table = &stream->tables[i];
        if (table->captured && table->phase != DBK_STREAM_DONE)
            return table;
    }
    return NULL;
}

void dbk_stream_drop_piece(struct dbk_stream *stream)
{
    struct dbk_stream_piece *piece = &stream->piece;
    if (piece->table == NULL)
        return;
    bson_destroy(piece->reply);
    dbk_arena_reset(&piece->arena);
    *piece = (struct dbk_stream_piece){.arena = piece->arena};
}

/* ---- Asking ---- */

/* What a majority has, of a time not before what was told. */
static void put_concern(const struct dbk_stream *stream, bson_t *command)
{
    bson_t concern;
    BSON_APPEND_DOCUMENT_BEGIN(command, "readConcern", &concern);
    BSON_APPEND_UTF8(&concern, "level", "majority");
    if (stream->session != NULL && stream->passed != 0)
        BSON_APPEND_TIMESTAMP(&concern, "afterClusterTime", (uint32_t)(stream->passed >> 32),
                              (uint32_t)stream->passed);
    bson_append_document_end(command, &concern);
}

static int ask(struct dbk_stream *stream, const bson_t *command, struct dbk_error *err)
{
    struct dbk_stream_piece *piece = &stream->piece;
    bson_t reply;
    int rc = dbk_stream_ask(stream, command, &reply, err);
    if (rc == DBK_OK) {
        piece->time = dbk_cluster_time_of(&reply, "operationTime");
        piece->reply = bson_copy(&reply);
    }
    bson_destroy(&reply);
    if (rc == DBK_OK && piece->reply == NULL)
        rc = dbk_stream_no_memory(stream, err);
    if (rc < 0)
        return rc;
    return piece->time > 0
               ? DBK_OK
               : dbk_stream_refuse(stream, DBK_EINVAL, "does not say of what time its answers are",
                                   "MongoDB 4.2 or later is needed, or write `capture: polling`",
                                   err);
}

/* The documents of the reply. */
static int open_documents(struct dbk_stream *stream, bson_iter_t *documents_out,
                          struct dbk_error *err)
{
    bson_iter_t at;
    bson_iter_t batch;
    if (bson_iter_init(&at, stream->piece.reply) &&
        bson_iter_find_descendant(&at, "cursor.firstBatch", &batch) &&
        bson_iter_recurse(&batch, documents_out))
        return DBK_OK;
    return dbk_error_set(err, DBK_ECORRUPT, "MongoDB: a reply to find has no documents");
}

/* 1: the next of them; 0: none is left. */
static int next_document(bson_iter_t *documents, bson_t *document_out, struct dbk_error *err)
{
    const uint8_t *data = NULL;
    uint32_t size = 0;
    if (!bson_iter_next(documents))
        return 0;
    if (BSON_ITER_HOLDS_DOCUMENT(documents)) {
        bson_iter_document(documents, &size, &data);
        if (bson_init_static(document_out, data, size))
            return 1;
    }
    return dbk_error_set(err, DBK_ECORRUPT, "MongoDB: a reply to find holds what is no document");
}

static int list_items(struct dbk_stream *stream, struct dbk_error *err)
{
    struct dbk_stream_piece *piece = &stream->piece;
    struct dbk_slice *keys = dbk_arena_alloc_zero(&piece->arena, piece->count + 1, sizeof(*keys));
    for (size_t i = 0; keys != NULL && i < piece->count; i++)
        keys[i] = piece->items[i].key;
    return keys == NULL || dbk_listed_keys_make(keys, piece->count, &piece->arena, &piece->keys) < 0
               ? dbk_stream_no_memory(stream, err)
               : DBK_OK;
}

/* ---- Documents by _id ---- */

static int take_documents(struct dbk_stream *stream, struct dbk_error *err)
{
    struct dbk_stream_piece *piece = &stream->piece;
    const struct dbk_documents *documents = &piece->table->documents;
    bson_iter_t at;
    bson_t document;
    int rc = open_documents(stream, &at, err);
    piece->items =
        dbk_arena_alloc_zero(&piece->arena, stream->options.chunk_rows + 1, sizeof(*piece->items));
    if (rc == DBK_OK && piece->items == NULL)
        return dbk_stream_no_memory(stream, err);
    while (rc == DBK_OK && piece->count < stream->options.chunk_rows) {
        struct dbk_stream_item *item = &piece->items[piece->count];
        struct dbk_change change = {0};
        rc = next_document(&at, &document, err);
        if (rc != 1)
            break;
        item->document = dbk_slice((const char *)bson_get_data(&document), document.len);
        rc = dbk_documents_take_key(documents, &document, &piece->arena, &change, err);
        if (rc == DBK_OK)
            rc = dbk_collection_check_id(documents, &document, &change, err);
        if (rc == DBK_OK)
            item->key = change.key[0];
        piece->count++;
    }
    return rc < 0 ? rc : list_items(stream, err);
}

static int read_documents(struct dbk_stream *stream, struct dbk_error *err)
{
    const struct dbk_stream_table *table = stream->piece.table;
    const struct dbk_mongodb_poll_table place = {.documents = table->documents,
                                                 .cursor = table->cursor};
    bson_t command = BSON_INITIALIZER;
    bson_t inner;
    BSON_APPEND_UTF8(&command, "find", table->documents.table->name);
    BSON_APPEND_DOCUMENT_BEGIN(&command, "filter", &inner);
    dbk_mongodb_put_filter(&place, &inner);
    bson_append_document_end(&command, &inner);
    BSON_APPEND_DOCUMENT_BEGIN(&command, "sort", &inner);
    BSON_APPEND_INT32(&inner, "_id", 1);
    bson_append_document_end(&command, &inner);
    dbk_collection_put_projection(table->documents.table, &command);
    BSON_APPEND_INT64(&command, "limit", (int64_t)stream->options.chunk_rows);
    BSON_APPEND_INT64(&command, "batchSize", (int64_t)stream->options.chunk_rows);
    BSON_APPEND_BOOL(&command, "singleBatch", true);
    put_concern(stream, &command);
    int rc = ask(stream, &command, err);
    bson_destroy(&command);
    return rc < 0 ? rc : take_documents(stream, err);
}

/* ---- Keys of the book ---- */

/* Nothing is left to ask for. */
static bool is_whole(const bson_t *reply)
{
    bson_iter_t at;
    bson_iter_t id;
    return bson_iter_init(&at, reply) && bson_iter_find_descendant(&at, "cursor.id", &id) &&
           bson_iter_as_int64(&id) == 0;
}

/* A key that has a document is none that is gone. */
static int take_found(struct dbk_stream *stream, struct dbk_error *err)
{
    struct dbk_stream_piece *piece = &stream->piece;
    bson_iter_t at;
    bson_t document;
    size_t index = 0;
    int rc = open_documents(stream, &at, err);
    if (rc == DBK_OK && !is_whole(piece->reply))
        rc = dbk_error_set(err, DBK_ELIMIT, "MongoDB: _ids of %s.%s do not fit into one reply",
                           stream->options.service->name, piece->table->documents.table->name);
    while (rc == DBK_OK) {
        struct dbk_change change = {0};
        rc = next_document(&at, &document, err);
        if (rc != 1)
            break;
        rc = dbk_documents_take_key(&piece->table->documents, &document, &piece->arena, &change,
                                    err);
        if (rc == DBK_OK && dbk_listed_keys_find(&piece->keys, change.key[0], &index))
            piece->items[index].dropped = true;
    }
    return rc;
}

static int look_for(struct dbk_stream *stream, const struct dbk_live_keys *keys,
                    struct dbk_error *err)
{
    struct dbk_stream_piece *piece = &stream->piece;
    bson_t command = BSON_INITIALIZER;
    bson_t inner;
    BSON_APPEND_UTF8(&command, "find", piece->table->documents.table->name);
    BSON_APPEND_DOCUMENT_BEGIN(&command, "filter", &inner);
    int rc = dbk_collection_put_keys((struct dbk_mongodb_session *)stream->connection, keys->keys,
                                     keys->count, &inner);
    bson_append_document_end(&command, &inner);
    BSON_APPEND_DOCUMENT_BEGIN(&command, "projection", &inner);
    BSON_APPEND_INT32(&inner, "_id", 1);
    bson_append_document_end(&command, &inner);
    BSON_APPEND_INT64(&command, "batchSize", SWEEP_BATCH);
    put_concern(stream, &command);
    rc = rc < 0 ? dbk_stream_no_memory(stream, err) : ask(stream, &command, err);
    bson_destroy(&command);
    return rc < 0 ? rc : take_found(stream, err);
}

static int read_keys(struct dbk_stream *stream, struct dbk_error *err)
{
    struct dbk_stream_piece *piece = &stream->piece;
    struct dbk_live_keys keys = {.parts = 1};
    int rc = stream->options.live(stream->options.context, piece->table->documents.index,
                                  piece->table->swept, piece->table->until, SWEEP_KEYS, &keys, err);
    if (rc < 0)
        return rc;
    piece->items = dbk_arena_alloc_zero(&piece->arena, keys.count + 1, sizeof(*piece->items));
    if (piece->items == NULL)
        return dbk_stream_no_memory(stream, err);
    for (; piece->count < keys.count; piece->count++) {
        piece->items[piece->count].key = dbk_arena_copy(&piece->arena, keys.keys[piece->count]);
        if (piece->items[piece->count].key.data == NULL)
            return dbk_stream_no_memory(stream, err);
    }
    piece->looked = keys.looked;
    rc = list_items(stream, err);
    return rc < 0 ? rc : look_for(stream, &keys, err);
}

int dbk_stream_read_piece(struct dbk_stream *stream, struct dbk_stream_table *table,
                          struct dbk_error *err)
{
    struct dbk_stream_piece *piece = &stream->piece;
    dbk_stream_drop_piece(stream);
    piece->table = table;
    int rc = table->phase == DBK_STREAM_READ ? read_documents(stream, err) : read_keys(stream, err);
    /* It is the stream's replies from here on that say what it has passed. */
    stream->drained = false;
    if (rc < 0)
        dbk_stream_drop_piece(stream);
    return rc < 0 ? rc : 2;
}

/* ---- Holding ---- */

static void drop_all(struct dbk_stream_piece *piece)
{
    for (size_t i = 0; i < piece->count; i++)
        piece->items[i].dropped = true;
}

void dbk_stream_touch(struct dbk_stream *stream, const struct dbk_stream_event *event)
{
    struct dbk_stream_piece *piece = &stream->piece;
    struct dbk_stream_table *filled = event->filled;
    size_t index = 0;
    if (filled != NULL) {
        filled->phase = DBK_STREAM_READ;
        filled->until = filled->swept = filled->rows = 0;
        bson_destroy(filled->cursor);
        filled->cursor = NULL;
        stream->urgent = true;
        if (piece->table == filled)
            dbk_stream_drop_piece(stream);
    }
    if (piece->table == NULL || event->kind != DBK_STREAM_CHANGE ||
        event->change.table != piece->table->documents.index)
        return;
    if (event->change.kind == DBK_CHANGE_TRUNCATE)
        drop_all(piece);
    else if (dbk_listed_keys_find(&piece->keys, event->change.key[0], &index))
        piece->items[index].dropped = true;
}

/* ---- Telling ---- */

static bool view(const struct dbk_stream_item *item, bson_t *document_out)
{
    return bson_init_static(document_out, (const uint8_t *)item->document.data,
                            item->document.size);
}

/* An empty one is behind the last document: a reply may have ended by its size. */
static int move_on(struct dbk_stream *stream, struct dbk_error *err)
{
    const struct dbk_stream_piece *piece = &stream->piece;
    struct dbk_stream_table *table = piece->table;
    bson_iter_t id;
    bson_t document;
    if (table->phase == DBK_STREAM_SWEEP) {
        table->swept = piece->looked;
        if (table->swept >= table->until)
            table->phase = DBK_STREAM_DONE;
        return DBK_OK;
    }
    if (piece->count == 0) {
        table->phase = table->until > 0 ? DBK_STREAM_SWEEP : DBK_STREAM_DONE;
        return DBK_OK;
    }
    table->rows += piece->count;
    bson_destroy(table->cursor);
    table->cursor = bson_new();
    return view(&piece->items[piece->count - 1], &document) &&
                   bson_iter_init_find(&id, &document, "_id") &&
                   bson_append_iter(table->cursor, "id", 2, &id)
               ? DBK_OK
               : dbk_stream_no_memory(stream, err);
}

static int end_piece(struct dbk_stream *stream, struct dbk_change *change_out,
                     struct dbk_error *err)
{
    int rc = move_on(stream, err);
    dbk_stream_drop_piece(stream);
    stream->at = DBK_STREAM_BETWEEN;
    stream->progress = true;
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_END};
    return rc < 0 ? rc : 1;
}

int dbk_stream_tell_piece(struct dbk_stream *stream, struct dbk_change *change_out,
                          struct dbk_error *err)
{
    struct dbk_stream_piece *piece = &stream->piece;
    while (piece->told < piece->count && piece->items[piece->told].dropped)
        piece->told++;
    if (piece->told == piece->count)
        return end_piece(stream, change_out, err);
    struct dbk_stream_item *item = &piece->items[piece->told++];
    const struct dbk_documents *documents = &piece->table->documents;
    bson_t document;
    int rc = DBK_OK;
    dbk_arena_reset(&stream->row);
    if (piece->table->phase == DBK_STREAM_SWEEP)
        *change_out = (struct dbk_change){.kind = DBK_CHANGE_DELETE,
                                          .table = documents->index,
                                          .key = &item->key,
                                          .key_count = 1};
    else if (view(item, &document))
        rc = dbk_documents_take(&piece->table->documents, &document, &stream->row, change_out, err);
    else
        rc = dbk_error_set(err, DBK_ECORRUPT, "MongoDB: a reply to find is damaged");
    change_out->snapshot = true;
    change_out->position = dbk_slice_of(stream->position);
    return rc < 0 ? rc : 1;
}
