/* SPDX-License-Identifier: Apache-2.0 */
/* Which documents are behind a place. */
#include <math.h>
#include <stdio.h>

#include "capture/mongodb/poll.h"

/* Kinds of values as they sort, by their names in $type. MinKey, MaxKey and code are left out: no
   _id or cursor of these is taken. */
static const struct {
    const char *name;
    bson_type_t types[4];
} kinds[] = {
    {"null", {BSON_TYPE_NULL, BSON_TYPE_UNDEFINED}},
    {"number", {BSON_TYPE_INT32, BSON_TYPE_INT64, BSON_TYPE_DOUBLE, BSON_TYPE_DECIMAL128}},
    {"string", {BSON_TYPE_UTF8}},
    {"object", {BSON_TYPE_DOCUMENT}},
    {"binData", {BSON_TYPE_BINARY}},
    {"objectId", {BSON_TYPE_OID}},
    {"bool", {BSON_TYPE_BOOL}},
    {"date", {BSON_TYPE_DATE_TIME}},
    {"timestamp", {BSON_TYPE_TIMESTAMP}},
};
#define KIND_COUNT ((int)(sizeof(kinds) / sizeof(kinds[0])))

int dbk_mongodb_rank(const bson_iter_t *value)
{
    for (int i = 0; i < KIND_COUNT; i++) {
        for (int j = 0; j < 4; j++) {
            if (kinds[i].types[j] == bson_iter_type(value) && kinds[i].types[j] != BSON_TYPE_EOD)
                return i;
        }
    }
    return -1;
}

static void put_kinds(int from, bool arrays, bson_t *out)
{
    bson_t list;
    char name[16];
    unsigned count = 0;
    BSON_APPEND_ARRAY_BEGIN(out, "$type", &list);
    for (int i = from; i < KIND_COUNT; i++) {
        (void)snprintf(name, sizeof(name), "%u", count++);
        BSON_APPEND_UTF8(&list, name, kinds[i].name);
    }
    (void)snprintf(name, sizeof(name), "%u", count);
    if (arrays)
        BSON_APPEND_UTF8(&list, name, "array");
    bson_append_array_end(out, &list);
}

void dbk_mongodb_put_others(const char *field, int rank, bson_t *filter)
{
    bson_t inner;
    BSON_APPEND_DOCUMENT_BEGIN(filter, field, &inner);
    put_kinds(rank + 1, true, &inner);
    bson_append_document_end(filter, &inner);
}

/* {field: {$gt: value}}. No number is greater than NaN to a comparison, and all sort behind it. */
static void put_greater(const char *field, const bson_iter_t *value, bson_t *out)
{
    bson_t inner;
    BSON_APPEND_DOCUMENT_BEGIN(out, field, &inner);
    if (BSON_ITER_HOLDS_DOUBLE(value) && isnan(bson_iter_double(value)))
        BSON_APPEND_DOUBLE(&inner, "$gte", -(double)INFINITY);
    else
        (void)bson_append_iter(&inner, "$gt", 3, value);
    bson_append_document_end(out, &inner);
}

/* Items of an $or: what has a greater _id, and what has one of a kind that sorts behind; each with
   the cursor's value, where there is one. */
static void put_ids_behind(const char *field, const bson_iter_t *value, const bson_iter_t *id,
                           unsigned first, bson_t *list)
{
    char name[16];
    bson_t item;
    bson_t inner;
    int rank = dbk_mongodb_rank(id);
    (void)snprintf(name, sizeof(name), "%u", first);
    BSON_APPEND_DOCUMENT_BEGIN(list, name, &item);
    if (field != NULL)
        (void)bson_append_iter(&item, field, -1, value);
    put_greater("_id", id, &item);
    bson_append_document_end(list, &item);
    if (rank + 1 >= KIND_COUNT)
        return;
    (void)snprintf(name, sizeof(name), "%u", first + 1);
    BSON_APPEND_DOCUMENT_BEGIN(list, name, &item);
    if (field != NULL)
        (void)bson_append_iter(&item, field, -1, value);
    BSON_APPEND_DOCUMENT_BEGIN(&item, "_id", &inner);
    put_kinds(rank + 1, false, &inner);
    bson_append_document_end(&item, &inner);
    bson_append_document_end(list, &item);
}

static void put_behind(const struct dbk_mongodb_poll_table *table, bson_t *filter)
{
    const char *field = table->stamped ? table->documents.table->polling.cursor : NULL;
    bson_iter_t value;
    bson_iter_t id;
    bson_t list;
    bson_t item;
    unsigned count = 0;
    (void)bson_iter_init_find(&id, table->cursor, "id");
    BSON_APPEND_ARRAY_BEGIN(filter, "$or", &list);
    if (field != NULL) {
        (void)bson_iter_init_find(&value, table->cursor, "v");
        BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &item);
        put_greater(field, &value, &item);
        bson_append_document_end(&list, &item);
        count = 1;
    }
    put_ids_behind(field, field == NULL ? NULL : &value, &id, count, &list);
    bson_append_array_end(filter, &list);
}

void dbk_mongodb_put_filter(const struct dbk_mongodb_poll_table *table, bson_t *filter)
{
    bson_iter_t value;
    bson_t inner;
    if (table->cursor != NULL) {
        put_behind(table, filter);
        return;
    }
    if (!table->stamped || table->from == NULL || !bson_iter_init_find(&value, table->from, "v"))
        return;
    BSON_APPEND_DOCUMENT_BEGIN(filter, table->documents.table->polling.cursor, &inner);
    (void)bson_append_iter(&inner, "$gte", 4, &value);
    bson_append_document_end(filter, &inner);
}
