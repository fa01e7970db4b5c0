/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of a source as events. */
#include "capture/entry_state.h"

#include "base/assert.h"

/* ---- Events ---- */

/* What a row that was read from a snapshot, and not told by a transaction, says of its source. */
static int make_meta(struct dbk_entry *entry, const struct dbk_change *change,
                     struct dbk_slice *meta_out, struct dbk_error *err)
{
    struct dbk_buf text;
    if (!change->snapshot && entry->meta.size > 0) {
        *meta_out = entry->meta;
        return DBK_OK;
    }
    struct dbk_slice position = change->snapshot ? change->position : entry->position;
    dbk_buf_init(&text, DBK_ENTRY_STATE_SIZE_MAX);
    dbk_buf_append_text(&text, "{\"source\":{\"position\":");
    dbk_json_write_string(&text, position);
    if (change->snapshot)
        dbk_buf_append_text(&text, ",\"snapshot\":true");
    else if (entry->transaction.size > 0) {
        dbk_buf_append_text(&text, ",\"transaction\":");
        dbk_json_write_string(&text, entry->transaction);
    }
    dbk_buf_append_text(&text, "}}");
    *meta_out = dbk_arena_copy(&entry->batch, dbk_buf_slice(&text));
    int rc = text.rc < 0 || meta_out->data == NULL ? dbk_entry_no_memory(entry, err) : DBK_OK;
    dbk_buf_release(&text);
    if (!change->snapshot)
        entry->meta = *meta_out;
    return rc;
}

/* The same change has the same id, whenever it is captured. */
static struct dbk_uuid id_of(const struct dbk_entry *entry, const struct dbk_change *change,
                             struct dbk_slice stream)
{
    uint64_t ordinal = entry->ordinal;
    const struct dbk_slice parts[] = {
        DBK_SLICE_LITERAL("capture"),
        entry->source->driver->identity(entry->source),
        change->snapshot ? change->position : entry->position,
        change->snapshot ? DBK_SLICE_LITERAL("snapshot") : dbk_slice(&ordinal, sizeof(ordinal)),
        stream,
    };
    return dbk_uuid_derive(parts, sizeof(parts) / sizeof(parts[0]));
}

static int add_event(struct dbk_entry *entry, const struct dbk_change *change,
                     struct dbk_slice stream, struct dbk_slice type, struct dbk_slice data,
                     struct dbk_error *err)
{
    struct dbk_slice meta;
    int rc = make_meta(entry, change, &meta, err);
    if (rc < 0)
        return rc;
    if (data.size + meta.size > entry->options.event_size_max)
        return dbk_error_set(err, DBK_ELIMIT,
                             "the row %.*s makes an event of %zu bytes, at most %zu are allowed: "
                             "raise event_bytes in book.yaml, or leave columns out in %s",
                             DBK_SLICE_ARGS(stream), data.size + meta.size,
                             entry->options.event_size_max, entry->options.service->file);
    struct dbk_new_event *event = &entry->events[entry->count];
    *event = (struct dbk_new_event){
        .stream = dbk_arena_copy(&entry->batch, stream),
        .type = type,
        .data = dbk_arena_copy(&entry->batch, data),
        .meta = meta,
        .id = id_of(entry, change, stream),
        .flags = DBK_RECORD_JSON,
        .occurred_us = change->snapshot ? DBK_TIME_NONE : entry->time_us,
    };
    if (event->stream.data == NULL || event->data.data == NULL)
        return dbk_entry_no_memory(entry, err);
    entry->count++;
    return DBK_OK;
}

/* Room for the events of one change. */
static int make_room(struct dbk_entry *entry, struct dbk_error *err)
{
    bool full =
        entry->count + 2 > entry->capacity || entry->batch.used >= 2 * DBK_ENTRY_BATCH_SIZE_FULL;
    return full && entry->count > 0 ? dbk_entry_store_gathered(entry, err) : DBK_OK;
}

static int delete_row(struct dbk_entry *entry, const struct dbk_change *change,
                      struct dbk_slice stream, struct dbk_error *err)
{
    struct dbk_slice image;
    struct dbk_slice data;
    int rc = dbk_images_find(entry->images, stream, &image, err);
    if (rc < 0 || image.size == 0)
        return rc;
    rc = dbk_rows_writer_data(entry->rows, (struct dbk_slice){0}, image, &data, err);
    if (rc == DBK_OK)
        rc = add_event(entry, change, stream,
                       dbk_rows_writer_type(entry->rows, change->table, DBK_ROW_DELETE), data, err);
    if (rc == DBK_OK && dbk_images_put(entry->images, stream, (struct dbk_slice){0}) < 0)
        rc = dbk_entry_no_memory(entry, err);
    return rc;
}

static int name_row(struct dbk_entry *entry, const struct dbk_change *change,
                    const struct dbk_slice *key, struct dbk_buf *name, struct dbk_error *err)
{
    const struct dbk_capture_service *service = entry->options.service;
    const char *table = service->tables[change->table].name;
    dbk_buf_reset(name);
    dbk_capture_put_stream(dbk_slice_of(service->name), dbk_slice_of(table), key, change->key_count,
                           name);
    if (name->rc < 0)
        return dbk_entry_no_memory(entry, err);
    if (name->size > DBK_STREAM_SIZE_MAX)
        return dbk_error_set(err, DBK_ELIMIT,
                             "a row of %s.%s has a key of %zu bytes, at most %d fit into a "
                             "stream's name",
                             service->name, table, name->size, DBK_STREAM_SIZE_MAX);
    return DBK_OK;
}

/* What the source did not send the book does not have either, and a snapshot will bring. */
static bool is_unread(const struct dbk_change *change, struct dbk_slice base)
{
    bool unchanged = false;
    for (size_t i = 0; change->unread && base.size == 0 && i < change->shape->count; i++)
        unchanged = unchanged || change->values[i].kind == DBK_CHANGE_UNCHANGED;
    return unchanged;
}

static int write_row(struct dbk_entry *entry, const struct dbk_change *change,
                     struct dbk_slice stream, struct dbk_slice base, struct dbk_error *err)
{
    struct dbk_slice last;
    struct dbk_slice image;
    struct dbk_slice data;
    int rc = dbk_images_find(entry->images, stream, &last, err);
    if (rc == DBK_OK && base.size == 0)
        base = last;
    if (rc == DBK_OK && is_unread(change, base))
        return DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_rows_writer_image(entry->rows, change, stream, base, &image, err);
    if (rc < 0 || dbk_rows_writer_same(entry->rows, last, image))
        return rc;
    enum dbk_row_change what = last.size == 0 ? DBK_ROW_INSERT : DBK_ROW_UPDATE;
    rc = dbk_rows_writer_data(entry->rows, image, last, &data, err);
    if (rc == DBK_OK)
        rc = add_event(entry, change, stream,
                       dbk_rows_writer_type(entry->rows, change->table, what), data, err);
    if (rc == DBK_OK && dbk_images_put(entry->images, stream, image) < 0)
        rc = dbk_entry_no_memory(entry, err);
    return rc;
}

/* A row whose key changed is another one: what its old key names is gone. */
static int take_row(struct dbk_entry *entry, const struct dbk_change *change, struct dbk_error *err)
{
    struct dbk_slice base = {0};
    int rc = name_row(entry, change, change->key, &entry->name, err);
    if (rc == DBK_OK && change->old_key != NULL)
        rc = name_row(entry, change, change->old_key, &entry->old_name, err);
    if (rc < 0)
        return rc;
    struct dbk_slice stream = dbk_buf_slice(&entry->name);
    struct dbk_slice old = dbk_buf_slice(&entry->old_name);
    if (change->old_key != NULL && !dbk_slice_equal(stream, old)) {
        struct dbk_slice image;
        rc = dbk_images_find(entry->images, old, &image, err);
        if (rc == DBK_OK && image.size > 0) {
            base = dbk_arena_copy(&entry->batch, image);
            rc = base.data == NULL ? dbk_entry_no_memory(entry, err) : DBK_OK;
        }
        if (rc == DBK_OK)
            rc = delete_row(entry, change, old, err);
    }
    return rc < 0 ? rc : write_row(entry, change, stream, base, err);
}

/* ---- Truncate ---- */

static bool is_of_table(const struct dbk_entry *entry, size_t table, struct dbk_slice stream)
{
    return dbk_slice_equal(dbk_stream_category(stream),
                           dbk_rows_writer_category(entry->rows, table));
}

/* Streams of the table that what was gathered has rows of. */
static int list_fresh(struct dbk_entry *entry, size_t table, struct dbk_slice **streams_out,
                      size_t *count_out, struct dbk_error *err)
{
    struct dbk_slice stream;
    struct dbk_slice image;
    size_t count = 0;
    const void *at = NULL;
    while (dbk_images_next(entry->images, &at, &stream, &image))
        count += image.size > 0 && is_of_table(entry, table, stream);
    struct dbk_slice *streams = dbk_arena_alloc_zero(&entry->batch, count + 1, sizeof(*streams));
    if (streams == NULL)
        return dbk_entry_no_memory(entry, err);
    count = 0;
    at = NULL;
    while (dbk_images_next(entry->images, &at, &stream, &image)) {
        if (image.size == 0 || !is_of_table(entry, table, stream))
            continue;
        streams[count] = dbk_arena_copy(&entry->batch, stream);
        if (streams[count++].data == NULL)
            return dbk_entry_no_memory(entry, err);
    }
    *streams_out = streams;
    *count_out = count;
    return DBK_OK;
}

/* True when the event is the last of its stream, and the row is there. */
static int is_live(struct dbk_entry *entry, const struct dbk_event *event, struct dbk_error *err)
{
    uint64_t version = 0;
    struct dbk_slice ending = DBK_SLICE_LITERAL(".delete");
    if (event->type.size >= ending.size &&
        memcmp(event->type.data + event->type.size - ending.size, ending.data, ending.size) == 0)
        return 0;
    int rc = dbk_store_stream_version(entry->options.store, event->stream, &version, err);
    return rc < 0 ? rc : version == event->version;
}

static int delete_stored(struct dbk_entry *entry, const struct dbk_change *change,
                         struct dbk_error *err)
{
    struct dbk_slice category = dbk_rows_writer_category(entry->rows, change->table);
    const struct dbk_filter filter = {
        .categories = &category, .category_count = 1, .raw = true, .held = true};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    int rc = dbk_cursor_open(entry->options.store, &filter, &cursor, err);
    while (rc >= 0 && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        if (dbk_images_is_fresh(entry->images, event.stream))
            continue;
        rc = is_live(entry, &event, err);
        if (rc == 1)
            rc = make_room(entry, err);
        else if (rc == 0)
            continue;
        if (rc == DBK_OK)
            rc = delete_row(entry, change, event.stream, err);
    }
    dbk_cursor_free(cursor);
    return rc;
}

static int take_truncate(struct dbk_entry *entry, const struct dbk_change *change,
                         struct dbk_error *err)
{
    struct dbk_slice *streams = NULL;
    size_t count = 0;
    /* Those that are gathered fit into what is gathered; the room for their ends is made first. */
    int rc = entry->count > 0 && entry->count * 2 > entry->capacity
                 ? dbk_entry_store_gathered(entry, err)
                 : DBK_OK;
    if (rc == DBK_OK)
        rc = list_fresh(entry, change->table, &streams, &count, err);
    for (size_t i = 0; i < count && rc == DBK_OK; i++)
        rc = delete_row(entry, change, streams[i], err);
    return rc < 0 ? rc : delete_stored(entry, change, err);
}

/* ---- Changes ---- */

static int begin(struct dbk_entry *entry, const struct dbk_change *change, struct dbk_error *err)
{
    dbk_assert(!entry->begun);
    dbk_arena_reset(&entry->own);
    entry->position = dbk_arena_copy(&entry->own, change->position);
    entry->transaction = dbk_arena_copy(&entry->own, change->transaction);
    entry->time_us = change->time_us;
    entry->meta = (struct dbk_slice){0};
    entry->ordinal = 0;
    entry->begun = true;
    if (entry->part_changes > 0 &&
        !dbk_slice_equal(dbk_buf_slice(&entry->part_position), entry->position))
        return dbk_error_set(err, DBK_ECORRUPT,
                             "the book has a part of transaction %.*s, and the source goes on with "
                             "%.*s: `daybook capture resnapshot %s` reads everything again",
                             DBK_SLICE_ARGS(dbk_buf_slice(&entry->part_position)),
                             DBK_SLICE_ARGS(entry->position), entry->options.service->name);
    return entry->position.data == NULL || entry->transaction.data == NULL
               ? dbk_entry_no_memory(entry, err)
               : DBK_OK;
}

static void end(struct dbk_entry *entry)
{
    dbk_assert(entry->begun);
    entry->begun = false;
    entry->ended = true;
    entry->part_changes = 0;
    dbk_buf_reset(&entry->part_position);
}

static int take_change(struct dbk_entry *entry, const struct dbk_change *change,
                       struct dbk_error *err)
{
    int rc = make_room(entry, err);
    if (rc < 0)
        return rc;
    if (change->kind == DBK_CHANGE_ROW)
        return take_row(entry, change, err);
    if (change->kind == DBK_CHANGE_TRUNCATE)
        return take_truncate(entry, change, err);
    rc = name_row(entry, change, change->key, &entry->name, err);
    return rc < 0 ? rc : delete_row(entry, change, dbk_buf_slice(&entry->name), err);
}

int dbk_entry_take(struct dbk_entry *entry, const struct dbk_change *change, struct dbk_error *err)
{
    if (change->kind == DBK_CHANGE_BEGIN)
        return begin(entry, change, err);
    if (change->kind == DBK_CHANGE_END) {
        end(entry);
        return DBK_OK;
    }
    dbk_assert(entry->begun);
    entry->counts.changes++;
    if (change->time_us != 0)
        entry->time_us = change->time_us;
    if (!change->snapshot && entry->ordinal < entry->part_changes) {
        entry->ordinal++;
        return DBK_OK;
    }
    int rc = take_change(entry, change, err);
    if (rc == DBK_OK && !change->snapshot)
        entry->ordinal++;
    return rc;
}

/* ---- Rows that are in the book ---- */

uint64_t dbk_entry_last_position(void *context)
{
    struct dbk_entry *entry = context;
    return dbk_store_last_position(entry->options.store);
}

/* Takes a stream's key apart, into the arena. DBK_ECORRUPT: it is none. */
static int take_key(struct dbk_entry *entry, struct dbk_slice stream, struct dbk_live_keys *keys,
                    struct dbk_slice *parts, struct dbk_error *err)
{
    size_t category = dbk_stream_category(stream).size;
    struct dbk_slice key = dbk_slice(stream.data + category, stream.size - category);
    int rc = key.size == 0 ? DBK_ECORRUPT
                           : dbk_capture_take_key(dbk_slice(key.data + 1, key.size - 1),
                                                  &entry->keys, parts, keys->parts);
    if (rc == DBK_ECORRUPT)
        return dbk_error_set(err, rc,
                             "the stream %.*s is named by no key of its table: was the table's "
                             "primary key changed?",
                             DBK_SLICE_ARGS(stream));
    return rc < 0 ? dbk_entry_no_memory(entry, err) : DBK_OK;
}

int dbk_entry_live(void *context, size_t table, uint64_t after, uint64_t until, size_t max,
                   struct dbk_live_keys *keys_out, struct dbk_error *err)
{
    struct dbk_entry *entry = context;
    struct dbk_slice category = dbk_rows_writer_category(entry->rows, table);
    const struct dbk_filter filter = {.categories = &category,
                                      .category_count = 1,
                                      .position_min = after + 1,
                                      .position_max = until,
                                      .raw = true,
                                      .held = true};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    dbk_arena_reset(&entry->keys);
    struct dbk_slice *keys =
        dbk_arena_alloc_zero(&entry->keys, max * keys_out->parts + 1, sizeof(*keys));
    keys_out->keys = keys;
    keys_out->count = 0;
    keys_out->looked = until;
    if (keys == NULL)
        return dbk_entry_no_memory(entry, err);
    if (after >= until)
        return DBK_OK;
    int rc = dbk_cursor_open(entry->options.store, &filter, &cursor, err);
    while (rc >= 0 && keys_out->count < max && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        rc = is_live(entry, &event, err);
        if (rc == 1)
            rc = take_key(entry, event.stream, keys_out, keys + keys_out->count++ * keys_out->parts,
                          err);
        keys_out->looked = event.position;
    }
    if (rc == 0 && keys_out->count < max)
        keys_out->looked = until;
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}
