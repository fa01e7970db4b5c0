/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongodb_value_fuzz -- of any document each value becomes JSON that reads back, or an error; and a
 * key's text leads back to the key: one of what it may be has the same text.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "capture/mongodb/document.h"
#include "capture/mongodb/value.h"
#include "json/json.h"

static const char *const columns[] = {"a", "b"};
static struct dbk_capture_table tables[] = {
    {.name = "all"}, {.name = "some", .columns = columns, .column_count = 2}};
static const struct dbk_capture_service service = {
    .name = "s", .file = "services/s.yaml", .database = "d", .tables = tables, .table_count = 2};

static void check_json(const bson_iter_t *at, struct dbk_json *json)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_buf out;
    dbk_buf_init(&out, (size_t)1 << 24);
    if (dbk_bson_write(at, &out) == DBK_OK &&
        dbk_json_parse(json, dbk_buf_slice(&out), &root, NULL))
        abort();
    dbk_buf_release(&out);
}

static bool leads_back(const bson_t *array, struct dbk_slice key)
{
    bson_iter_t item;
    bool found = false;
    (void)bson_iter_init(&item, array);
    while (!found && bson_iter_next(&item)) {
        struct dbk_buf text;
        dbk_buf_init(&text, (size_t)1 << 24);
        found = dbk_bson_write_key(&item, &text) == DBK_OK &&
                dbk_slice_equal(dbk_buf_slice(&text), key);
        dbk_buf_release(&text);
    }
    return found;
}

/* Their kinds are those that polling takes for an _id. */
static bool is_id(const bson_iter_t *at)
{
    return BSON_ITER_HOLDS_INT32(at) || BSON_ITER_HOLDS_INT64(at) || BSON_ITER_HOLDS_DOUBLE(at) ||
           BSON_ITER_HOLDS_BOOL(at) || BSON_ITER_HOLDS_OID(at) || BSON_ITER_HOLDS_BINARY(at) ||
           BSON_ITER_HOLDS_UTF8(at) || BSON_ITER_HOLDS_NULL(at) || BSON_ITER_HOLDS_TIMESTAMP(at) ||
           BSON_ITER_HOLDS_DATE_TIME(at) || BSON_ITER_HOLDS_DECIMAL128(at);
}

static void check_key(const bson_iter_t *at)
{
    struct dbk_buf key;
    bson_t array = BSON_INITIALIZER;
    uint32_t index = 0;
    dbk_buf_init(&key, (size_t)1 << 24);
    if (dbk_bson_write_key(at, &key) == DBK_OK) {
        if (dbk_bson_put_candidates(dbk_buf_slice(&key), true, &array, &index) < 0)
            abort();
        if (is_id(at) && !leads_back(&array, dbk_buf_slice(&key)))
            abort();
    }
    bson_destroy(&array);
    dbk_buf_release(&key);
}

static void check_rows(const bson_t *document, size_t table)
{
    struct dbk_documents documents;
    struct dbk_arena arena;
    struct dbk_change change = {0};
    struct dbk_error err = {0};
    dbk_arena_init(&arena, (size_t)1 << 24);
    dbk_documents_init(&documents, &service, table);
    if (dbk_documents_take(&documents, document, &arena, &change, &err) < 0) {
        if (err.message[0] == '\0')
            abort();
    } else {
        uint64_t number = change.shape->number;
        if (change.key_count != 1 || change.shape->count < (table == 1 ? 3 : 1) ||
            dbk_documents_take(&documents, document, &arena, &change, &err) < 0 ||
            change.shape->number != number)
            abort();
    }
    dbk_documents_release(&documents);
    dbk_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bson_t document;
    bson_iter_t at;
    struct dbk_json *json = dbk_json_create((size_t)1 << 24);
    if (json == NULL)
        abort();
    if (bson_init_static(&document, data, size) && bson_iter_init(&at, &document)) {
        while (bson_iter_next(&at)) {
            check_json(&at, json);
            check_key(&at);
        }
        check_rows(&document, 0);
        check_rows(&document, 1);
    }
    dbk_json_free(json);
    return 0;
}
