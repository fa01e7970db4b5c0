/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/import_batch.h"

#include "base/assert.h"

void dbk_import_batch_init(struct dbk_import_batch *batch)
{
    *batch = (struct dbk_import_batch){0};
    dbk_buf_init(&batch->bytes, DBK_IMPORT_BATCH_SIZE_MAX);
}

void dbk_import_batch_release(struct dbk_import_batch *batch)
{
    dbk_buf_release(&batch->bytes);
    dbk_free(batch->items);
    dbk_free(batch->tags);
    dbk_free(batch->events);
    dbk_free(batch->tag_slices);
    dbk_import_batch_init(batch);
}

void dbk_import_batch_reset(struct dbk_import_batch *batch)
{
    dbk_buf_reset(&batch->bytes);
    batch->count = 0;
    batch->tag_count = 0;
    batch->row_first = 0;
    batch->row_last = 0;
}

struct dbk_import_event *dbk_import_batch_add(struct dbk_import_batch *batch)
{
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity == 0 ? 1024 : batch->capacity * 2;
        struct dbk_import_event *items = dbk_realloc(batch->items, capacity * sizeof(*items));
        if (items == NULL)
            return NULL;
        batch->items = items;
        batch->capacity = capacity;
    }
    struct dbk_import_event *item = &batch->items[batch->count++];
    *item = (struct dbk_import_event){.tag_first = batch->tag_count, .occurred_us = DBK_TIME_NONE};
    return item;
}

int dbk_import_batch_add_tag(struct dbk_import_batch *batch, struct dbk_import_part tag)
{
    if (batch->tag_count == batch->tag_capacity) {
        size_t capacity = batch->tag_capacity == 0 ? 64 : batch->tag_capacity * 2;
        struct dbk_import_part *tags = dbk_realloc(batch->tags, capacity * sizeof(*tags));
        if (tags == NULL)
            return DBK_ENOMEM;
        batch->tags = tags;
        batch->tag_capacity = capacity;
    }
    batch->tags[batch->tag_count++] = tag;
    return DBK_OK;
}

void dbk_import_batch_cut(struct dbk_import_batch *batch, const struct dbk_import_place *place)
{
    dbk_assert(place->count <= batch->count);
    dbk_assert(place->tag_count <= batch->tag_count);
    dbk_assert(place->size <= batch->bytes.size);
    batch->count = place->count;
    batch->tag_count = place->tag_count;
    batch->bytes.size = place->size;
    batch->bytes.rc = DBK_OK;
}

static void shift(struct dbk_import_part *part, size_t from, size_t to)
{
    if (part->size > 0)
        part->offset = part->offset - from + to;
}

int dbk_import_batch_move(struct dbk_import_batch *batch, const struct dbk_import_place *place,
                          struct dbk_import_batch *to)
{
    struct dbk_import_place before = dbk_import_batch_place(to);
    size_t size = place->size;
    int rc = DBK_OK;
    dbk_buf_append(&to->bytes, dbk_slice(batch->bytes.data + size, batch->bytes.size - size));
    for (size_t i = place->tag_count; rc == DBK_OK && i < batch->tag_count; i++) {
        struct dbk_import_part tag = batch->tags[i];
        shift(&tag, size, before.size);
        rc = dbk_import_batch_add_tag(to, tag);
    }
    for (size_t i = place->count; rc == DBK_OK && i < batch->count; i++) {
        struct dbk_import_event *item = dbk_import_batch_add(to);
        if (item == NULL) {
            rc = DBK_ENOMEM;
            break;
        }
        *item = batch->items[i];
        item->tag_first = item->tag_first - place->tag_count + before.tag_count;
        shift(&item->stream, size, before.size);
        shift(&item->type, size, before.size);
        shift(&item->data, size, before.size);
        shift(&item->meta, size, before.size);
        shift(&item->tags, size, before.size);
    }
    if (rc < 0 || to->bytes.rc < 0) {
        dbk_import_batch_cut(to, &before);
        return DBK_ENOMEM;
    }
    dbk_import_batch_cut(batch, place);
    return DBK_OK;
}

int dbk_import_batch_seal(struct dbk_import_batch *batch)
{
    dbk_free(batch->events);
    dbk_free(batch->tag_slices);
    batch->tag_slices = NULL;
    batch->events = dbk_alloc_zero(batch->count, sizeof(*batch->events));
    if (batch->tag_count > 0)
        batch->tag_slices = dbk_alloc_zero(batch->tag_count, sizeof(*batch->tag_slices));
    if (batch->events == NULL || (batch->tag_count > 0 && batch->tag_slices == NULL))
        return DBK_ENOMEM;
    for (size_t i = 0; i < batch->tag_count; i++)
        batch->tag_slices[i] = dbk_import_part(batch, batch->tags[i]);
    for (size_t i = 0; i < batch->count; i++) {
        const struct dbk_import_event *item = &batch->items[i];
        batch->events[i] = (struct dbk_new_event){
            .stream = dbk_import_part(batch, item->stream),
            .type = dbk_import_part(batch, item->type),
            .data = dbk_import_part(batch, item->data),
            .meta = dbk_import_part(batch, item->meta),
            .tags = item->tag_count > 0 ? batch->tag_slices + item->tag_first : NULL,
            .tag_count = item->tag_count,
            .id = item->id,
            .occurred_us = item->occurred_us,
            .schema_version = item->schema_version,
            .flags = DBK_RECORD_JSON};
    }
    return DBK_OK;
}
