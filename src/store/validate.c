/* SPDX-License-Identifier: Apache-2.0 */
/* What can be checked of a batch without looking at the book. */
#include "base/assert.h"
#include "store/state.h"

/* Room that a batch's records need in one group, with all their names and tags. */
#define OWN_SIZE_MAX ((size_t)1 << 20)
#define BATCH_SIZE_MAX (DBK_LOG_GROUP_SIZE_MAX - ((size_t)1 << 20))

static int check_name(const char *what, struct dbk_slice name, size_t size_max, size_t index,
                      struct dbk_error *err)
{
    if (name.size == 0)
        return dbk_error_set(err, DBK_EINVAL, "event %zu: its %s is empty", index, what);
    if (name.size > size_max)
        return dbk_error_set(err, DBK_EINVAL, "event %zu: its %s has %zu bytes, at most %zu fit",
                             index, what, name.size, size_max);
    if (!dbk_slice_is_utf8(name))
        return dbk_error_set(err, DBK_EINVAL, "event %zu: its %s is not UTF-8", index, what);
    for (size_t i = 0; i < name.size; i++) {
        if ((uint8_t)name.data[i] < 0x20 || name.data[i] == 0x7f)
            return dbk_error_set(err, DBK_EINVAL,
                                 "event %zu: its %s has a control character at byte %zu", index,
                                 what, i);
    }
    return DBK_OK;
}

static int check_tags(const struct dbk_new_event *event, size_t index, struct dbk_error *err)
{
    size_t size = 0;
    for (size_t i = 0; i < event->tag_count; i++) {
        int rc = check_name("tag", event->tags[i], DBK_TAG_SIZE_MAX, index, err);
        if (rc < 0)
            return rc;
        size += event->tags[i].size + 1;
    }
    if (size > UINT16_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "event %zu: its tags need %zu bytes, %d fit", index,
                             size, UINT16_MAX);
    return DBK_OK;
}

static int check_condition(const struct dbk_condition *condition, struct dbk_error *err)
{
    size_t names = 0;
    for (size_t i = 0; i < condition->none.count; i++) {
        const struct dbk_query_item *item = &condition->none.items[i];
        names += item->type_count + item->tag_count + 1;
        for (size_t j = 0; j < item->type_count; j++) {
            if (item->types[j].size == 0 || item->types[j].size > DBK_TYPE_SIZE_MAX)
                return dbk_error_set(err, DBK_EINVAL,
                                     "condition: type %zu of item %zu has %zu bytes, 1 to %d fit",
                                     j, i, item->types[j].size, DBK_TYPE_SIZE_MAX);
        }
        for (size_t j = 0; j < item->tag_count; j++) {
            if (item->tags[j].size == 0 || item->tags[j].size > DBK_TAG_SIZE_MAX)
                return dbk_error_set(err, DBK_EINVAL,
                                     "condition: tag %zu of item %zu has %zu bytes, 1 to %d fit", j,
                                     i, item->tags[j].size, DBK_TAG_SIZE_MAX);
        }
    }
    if (names > DBK_QUERY_NAMES_MAX)
        return dbk_error_set(err, DBK_ELIMIT,
                             "condition: its items, types and tags are %zu, at most %d are allowed",
                             names, DBK_QUERY_NAMES_MAX);
    return DBK_OK;
}

static bool is_object(struct dbk_slice text)
{
    return text.size >= 2 && text.data[0] == '{' && text.data[text.size - 1] == '}';
}

static int check_event(const struct dbk_store *store, const struct dbk_new_event *event,
                       size_t index, bool own, struct dbk_error *err)
{
    int rc = check_name("stream", event->stream, DBK_STREAM_SIZE_MAX, index, err);
    if (rc == DBK_OK)
        rc = check_name("type", event->type, DBK_TYPE_SIZE_MAX, index, err);
    if (rc == DBK_OK)
        rc = check_tags(event, index, err);
    if (rc < 0)
        return rc;
    if (event->stream.data[0] == '$' && !own)
        return dbk_error_set(err, DBK_EINVAL,
                             "event %zu: streams that begin with '$' are the book's own", index);
    /* What the book keeps of itself is not bounded by what it asks of others. */
    size_t size_max = event->stream.data[0] == '$' ? OWN_SIZE_MAX : store->event_size_max;
    if (event->data.size + event->meta.size > size_max)
        return dbk_error_set(err, DBK_ELIMIT,
                             "event %zu: its data and meta have %zu bytes, at most %zu are allowed",
                             index, event->data.size + event->meta.size, size_max);
    if (event->meta.size > 0 && !is_object(event->meta))
        return dbk_error_set(err, DBK_EINVAL, "event %zu: its meta is no JSON object", index);
    if (event->occurred_us != DBK_TIME_NONE &&
        (event->occurred_us < DBK_TIME_MIN || event->occurred_us > DBK_TIME_MAX))
        return dbk_error_set(err, DBK_EINVAL,
                             "event %zu: it occurred outside the years 0001 to 9999", index);
    return DBK_OK;
}

/* So many ids need no memory of their own to be compared. */
#define FEW_IDS ((size_t)64)

/* Ids of one batch differ: an open hash table, at most half full. */
static int check_twice(const struct dbk_batch *batch, struct dbk_error *err)
{
    uint32_t few[FEW_IDS * 2] = {0};
    uint32_t *many = NULL;
    size_t size = FEW_IDS * 2;
    size_t count = 0;
    int rc = DBK_OK;
    for (size_t i = 0; i < batch->count; i++)
        count += !dbk_uuid_is_none(&batch->events[i].id);
    while (size < count * 2)
        size *= 2;
    if (count > FEW_IDS)
        many = dbk_alloc_zero(size, sizeof(*many));
    if (count > FEW_IDS && many == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory checking a batch");
    uint32_t *table = count > FEW_IDS ? many : few;
    for (size_t i = 0; rc == DBK_OK && i < batch->count; i++) {
        const struct dbk_uuid *id = &batch->events[i].id;
        uint64_t hash = 0;
        if (dbk_uuid_is_none(id))
            continue;
        memcpy(&hash, id->bytes + 8, sizeof(hash));
        size_t at = (size_t)(hash * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (size - 1);
        while (table[at] != 0 && !dbk_uuid_equal(&batch->events[table[at] - 1].id, id))
            at = (at + 1) & (size - 1);
        if (table[at] != 0)
            rc = dbk_error_set(err, DBK_ECONFLICT,
                               "events %u and %zu of the batch have the same id", table[at] - 1, i);
        table[at] = (uint32_t)i + 1;
    }
    dbk_free(many);
    return rc;
}

int dbk_batch_validate(const struct dbk_store *store, const struct dbk_batch *batch,
                       struct dbk_error *err)
{
    size_t size = 0;
    if (batch->count == 0)
        return dbk_error_set(err, DBK_EINVAL, "the batch has no events");
    if (batch->count > store->batch_count_max)
        return dbk_error_set(err, DBK_ELIMIT, "the batch has %zu events, at most %zu are allowed",
                             batch->count, store->batch_count_max);
    bool own = (batch->flags & (DBK_APPEND_OWN | DBK_APPEND_MIGRATED)) != 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct dbk_new_event *event = &batch->events[i];
        int rc = check_event(store, event, i, own, err);
        if (rc < 0)
            return rc;
        size += DBK_RECORD_HEADER_SIZE + event->stream.size + event->type.size + event->data.size +
                event->meta.size + event->sealed.size;
        for (size_t j = 0; j < event->tag_count; j++)
            size += event->tags[j].size + 1;
    }
    if (size > BATCH_SIZE_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "the batch needs %zu bytes, at most %zu are allowed",
                             size, BATCH_SIZE_MAX);
    for (size_t i = 0; i < batch->expectation_count; i++) {
        if (batch->expectations[i].version < DBK_EXPECT_EXISTS ||
            batch->expectations[i].stream.size > DBK_STREAM_SIZE_MAX)
            return dbk_error_set(err, DBK_EINVAL, "expectation %zu makes no sense", i);
    }
    int rc = check_condition(&batch->condition, err);
    return rc < 0 || batch->count == 1 ? rc : check_twice(batch, err);
}
