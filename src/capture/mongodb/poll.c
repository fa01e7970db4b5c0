/* SPDX-License-Identifier: Apache-2.0 */
/* MongoDB behind struct dbk_poll_kind. */
#include "capture/mongodb/poll.h"

#include <math.h>
#include <stdio.h>

#include "base/time.h"
#include "capture/mongodb/collection.h"
#include "capture/mongodb/value.h"
#include "target/target.h"

#define NAME_SIZE_MAX 512

extern const struct dbk_driver dbk_driver;

static struct dbk_mongodb_poll *of(const struct dbk_poll *poll)
{
    return poll->own;
}

static struct dbk_mongodb_poll_table *table_of(const struct dbk_poll_table *table)
{
    return table->own;
}

static struct dbk_mongodb_session *session_of(const struct dbk_poll *poll)
{
    return (struct dbk_mongodb_session *)of(poll)->connection;
}

static const struct dbk_capture_polling *settings(const struct dbk_mongodb_poll_table *table)
{
    return &table->documents.table->polling;
}

/* ---- Life ---- */

/* Whether it is one that can take back what it has shown. */
static int ask_kind(struct dbk_poll *poll, struct dbk_error *err)
{
    bson_t *command = BCON_NEW("isMaster", BCON_INT32(1));
    bson_t reply;
    bson_iter_t at;
    int rc = dbk_mongodb_ask(session_of(poll), command, &reply, err);
    if (rc == DBK_OK)
        of(poll)->majority = bson_has_field(&reply, "setName") ||
                             (bson_iter_init_find(&at, &reply, "msg") && BSON_ITER_HOLDS_UTF8(&at));
    bson_destroy(&reply);
    bson_destroy(command);
    return rc;
}

static int open_mongodb(struct dbk_poll *poll, struct dbk_error *err)
{
    const struct dbk_capture_service *service = poll->options.service;
    struct dbk_mongodb_poll *own = dbk_arena_alloc_zero(&poll->arena, 1, sizeof(*own));
    struct dbk_mongodb_poll_table *tables =
        dbk_arena_alloc_zero(&poll->arena, poll->table_count + 1, sizeof(*tables));
    if (own == NULL || tables == NULL)
        return dbk_poll_no_memory(poll, err);
    poll->own = own;
    for (size_t i = 0; i < poll->table_count; i++) {
        poll->tables[i].own = &tables[i];
        poll->tables[i].key_count = 1;
        dbk_documents_init(&tables[i].documents, service, i);
        tables[i].stamped = service->tables[i].polling.cursor != NULL;
    }
    int rc =
        dbk_driver.open(strchr(service->address, ':') + 1, DBK_CONNECT_READ, &own->connection, err);
    return rc < 0 ? rc : ask_kind(poll, err);
}

static void drop(bson_t **document)
{
    bson_destroy(*document);
    *document = NULL;
}

static void close_page(struct dbk_poll *poll)
{
    mongoc_cursor_destroy(of(poll)->page);
    of(poll)->page = NULL;
    of(poll)->row = NULL;
}

static void close_mongodb(struct dbk_poll *poll)
{
    if (of(poll) == NULL)
        return;
    close_page(poll);
    for (size_t i = 0; i < poll->table_count; i++) {
        struct dbk_mongodb_poll_table *table = table_of(&poll->tables[i]);
        dbk_documents_release(&table->documents);
        drop(&table->cursor);
        drop(&table->from);
        drop(&table->next);
        drop(&table->newest);
    }
    if (of(poll)->connection != NULL)
        dbk_driver.close(of(poll)->connection);
}

/* ---- Asking ---- */

/* A find, of what a majority has where there is one. */
static mongoc_cursor_t *find(struct dbk_poll *poll, const struct dbk_mongodb_poll_table *table,
                             const bson_t *filter, bson_t *options)
{
    struct dbk_mongodb_session *session = session_of(poll);
    mongoc_collection_t *collection = mongoc_client_get_collection(
        session->client, session->database, table->documents.table->name);
    bson_t concern;
    if (of(poll)->majority) {
        BSON_APPEND_DOCUMENT_BEGIN(options, "readConcern", &concern);
        BSON_APPEND_UTF8(&concern, "level", "majority");
        bson_append_document_end(options, &concern);
    }
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, options, NULL);
    mongoc_collection_destroy(collection);
    return cursor;
}

/* 1: a document; 0: none is left. */
static int next_document(mongoc_cursor_t *cursor, const bson_t **document_out,
                         struct dbk_error *err)
{
    bson_error_t error = {0};
    const bson_t *reply = NULL;
    if (mongoc_cursor_next(cursor, document_out))
        return 1;
    return mongoc_cursor_error_document(cursor, &error, &reply)
               ? dbk_mongodb_fault(&error, reply, err)
               : 0;
}

/* The first document, of those that match, when they are sorted by a field (NULL: they are not);
   its own copy. NULL: there is none. */
static int find_one(struct dbk_poll *poll, const struct dbk_mongodb_poll_table *table,
                    const bson_t *filter, const char *field, bson_t **document_out,
                    struct dbk_error *err)
{
    bson_t options = BSON_INITIALIZER;
    bson_t inner;
    const bson_t *document = NULL;
    BSON_APPEND_INT64(&options, "limit", 1);
    if (field != NULL) {
        BSON_APPEND_DOCUMENT_BEGIN(&options, "sort", &inner);
        BSON_APPEND_INT32(&inner, field, 1);
        bson_append_document_end(&options, &inner);
    }
    mongoc_cursor_t *cursor = find(poll, table, filter, &options);
    int rc = next_document(cursor, &document, err);
    *document_out = rc == 1 ? bson_copy(document) : NULL;
    mongoc_cursor_destroy(cursor);
    bson_destroy(&options);
    return rc < 0 ? rc : DBK_OK;
}

/* ---- Looking at a collection ---- */

/* The value of a field, or of one within it ("meta.changed"). */
static bool find_field(const bson_t *document, const char *path, bson_iter_t *value_out)
{
    bson_iter_t at;
    return bson_iter_init(&at, document) && bson_iter_find_descendant(&at, path, value_out);
}

static int refuse_cursor(const struct dbk_mongodb_poll_table *table, const bson_t *document,
                         const char *what, struct dbk_error *err)
{
    struct dbk_buf key;
    char text[600];
    bson_iter_t id;
    dbk_buf_init(&key, NAME_SIZE_MAX);
    if (bson_iter_init_find(&id, document, "_id") && dbk_bson_write_key(&id, &key) == DBK_OK)
        dbk_buf_append_char(&key, '\0');
    (void)snprintf(text, sizeof(text), "has a document (_id %.200s) whose cursor `%.100s` %s",
                   key.rc == DBK_OK && key.size > 0 ? key.data : "?", settings(table)->cursor,
                   what);
    dbk_buf_release(&key);
    return dbk_documents_fault(&table->documents, DBK_EINVAL, text,
                               "it would be missed: give all documents a date, a number, an "
                               "ObjectId or a text there, of one of these kinds",
                               err);
}

/* Kinds of values that grow. */
static bool can_be_cursor(const bson_iter_t *value)
{
    if (BSON_ITER_HOLDS_DOUBLE(value))
        return !isnan(bson_iter_double(value));
    return BSON_ITER_HOLDS_INT32(value) || BSON_ITER_HOLDS_INT64(value) ||
           BSON_ITER_HOLDS_DECIMAL128(value) || BSON_ITER_HOLDS_UTF8(value) ||
           BSON_ITER_HOLDS_OID(value) || BSON_ITER_HOLDS_DATE_TIME(value) ||
           BSON_ITER_HOLDS_TIMESTAMP(value);
}

static int check_stamp(const struct dbk_mongodb_poll_table *table, const bson_t *document,
                       struct dbk_error *err)
{
    bson_iter_t value;
    if (!find_field(document, settings(table)->cursor, &value) || BSON_ITER_HOLDS_NULL(&value))
        return refuse_cursor(table, document, "is missing or null", err);
    return can_be_cursor(&value)
               ? DBK_OK
               : refuse_cursor(table, document, "is of a kind that does not grow", err);
}

/* What has no cursor sorts first, and what has one of another kind sorts behind. */
static int check_cursors(struct dbk_poll *poll, const struct dbk_mongodb_poll_table *table,
                         struct dbk_error *err)
{
    const char *field = settings(table)->cursor;
    bson_t all = BSON_INITIALIZER;
    bson_t others = BSON_INITIALIZER;
    bson_t *first = NULL;
    bson_t *other = NULL;
    bson_iter_t value;
    int rc = find_one(poll, table, &all, field, &first, err);
    if (rc == DBK_OK && first != NULL)
        rc = check_stamp(table, first, err);
    if (rc == DBK_OK && first != NULL && find_field(first, field, &value)) {
        dbk_mongodb_put_others(field, dbk_mongodb_rank(&value), &others);
        rc = find_one(poll, table, &others, NULL, &other, err);
        if (rc == DBK_OK && other != NULL)
            rc = refuse_cursor(table, other, "is of another kind than that of others", err);
    }
    bson_destroy(first);
    bson_destroy(other);
    bson_destroy(&others);
    bson_destroy(&all);
    return rc;
}

static int look(struct dbk_poll *poll, struct dbk_poll_table *base, struct dbk_error *err)
{
    const struct dbk_mongodb_poll_table *table = table_of(base);
    int rc = dbk_collection_check(session_of(poll), &table->documents, err);
    return rc == DBK_OK && table->stamped ? check_cursors(poll, table, err) : rc;
}

/* ---- Rounds ---- */

/* The place's value alone. */
static void keep_value(bson_t **kept, const bson_t *place)
{
    bson_iter_t value;
    drop(kept);
    if (place == NULL || !bson_iter_init_find(&value, place, "v"))
        return;
    *kept = bson_new();
    (void)bson_append_iter(*kept, "v", 1, &value);
}

/* The greatest value an overlap ago bounds what a writer may still commit. */
static void remember_newest(const struct dbk_poll *poll, struct dbk_mongodb_poll_table *table)
{
    int64_t now_us = dbk_poll_now_us(poll);
    if (table->newest != NULL && now_us - table->newest_us < settings(table)->overlap_us)
        return;
    if (table->newest != NULL)
        keep_value(&table->next, table->newest);
    table->newest_us = now_us;
    if (table->cursor != NULL)
        keep_value(&table->newest, table->cursor);
}

static int begin_round(struct dbk_poll *poll, struct dbk_poll_table *base, struct dbk_error *err)
{
    struct dbk_mongodb_poll_table *table = table_of(base);
    int rc = look(poll, base, err);
    /* A round that was left goes on behind its last page, with the bound it began with. */
    if (rc < 0 || base->at == DBK_POLL_PAGE)
        return rc;
    if (table->stamped) {
        remember_newest(poll, table);
        if (table->next != NULL)
            keep_value(&table->from, table->next);
    }
    drop(&table->cursor);
    return DBK_OK;
}

static int open_page(struct dbk_poll *poll, struct dbk_error *err)
{
    const struct dbk_mongodb_poll_table *table = table_of(poll->table);
    const char *field = settings(table)->cursor;
    bson_t filter = BSON_INITIALIZER;
    bson_t options = BSON_INITIALIZER;
    bson_t sort;
    (void)err;
    dbk_mongodb_put_filter(table, &filter);
    BSON_APPEND_DOCUMENT_BEGIN(&options, "sort", &sort);
    if (table->stamped && strcmp(field, "_id") != 0)
        BSON_APPEND_INT32(&sort, field, 1);
    BSON_APPEND_INT32(&sort, "_id", 1);
    bson_append_document_end(&options, &sort);
    BSON_APPEND_INT64(&options, "limit", (int64_t)poll->page_limit);
    dbk_collection_put_projection(table->documents.table, &options);
    of(poll)->page = find(poll, table, &filter, &options);
    bson_destroy(&options);
    bson_destroy(&filter);
    return DBK_OK;
}

/* ---- Rows ---- */

static bool is_zero(const bson_iter_t *decimal)
{
    char text[BSON_DECIMAL128_STRING];
    bson_decimal128_t number;
    (void)bson_iter_decimal128(decimal, &number);
    bson_decimal128_to_string(&number, text);
    size_t digits = strspn(text, "-0.");
    return text[digits] == '\0' || text[digits] == 'E';
}

/* A document that says it is deleted is one that is gone. */
static bool is_deleted(const struct dbk_mongodb_poll_table *table, const bson_t *document)
{
    const char *path = settings(table)->deleted;
    bson_iter_t value;
    uint32_t size = 0;
    if (path == NULL || !find_field(document, path, &value) || BSON_ITER_HOLDS_NULL(&value) ||
        BSON_ITER_HOLDS_UNDEFINED(&value))
        return false;
    if (BSON_ITER_HOLDS_UTF8(&value)) {
        (void)bson_iter_utf8(&value, &size);
        return size > 0;
    }
    if (BSON_ITER_HOLDS_DECIMAL128(&value))
        return !is_zero(&value);
    if (BSON_ITER_HOLDS_BOOL(&value) || BSON_ITER_HOLDS_NUMBER(&value))
        return bson_iter_as_bool(&value);
    return true;
}

/* When a document was stamped is the nearest to its commit that is known. */
static int64_t time_of(const struct dbk_mongodb_poll_table *table, const bson_t *document)
{
    bson_iter_t value;
    uint32_t seconds = 0;
    uint32_t count = 0;
    if (!table->stamped || !find_field(document, settings(table)->cursor, &value))
        return DBK_TIME_NONE;
    if (BSON_ITER_HOLDS_TIMESTAMP(&value)) {
        bson_iter_timestamp(&value, &seconds, &count);
        return (int64_t)seconds * 1000000;
    }
    if (!BSON_ITER_HOLDS_DATE_TIME(&value))
        return DBK_TIME_NONE;
    int64_t time_ms = bson_iter_date_time(&value);
    return time_ms < DBK_TIME_MIN / 1000 || time_ms > DBK_TIME_MAX / 1000 ? DBK_TIME_NONE
                                                                          : time_ms * 1000;
}

static int next_row(struct dbk_poll *poll, struct dbk_error *err)
{
    struct dbk_mongodb_poll_table *table = table_of(poll->table);
    int rc = next_document(of(poll)->page, &of(poll)->row, err);
    if (rc != 1)
        return rc;
    rc = dbk_documents_take(&table->documents, of(poll)->row, &poll->row, &poll->change, err);
    if (rc < 0)
        return rc;
    rc = dbk_collection_check_id(&table->documents, of(poll)->row, &poll->change, err);
    if (rc == DBK_OK && table->stamped)
        rc = check_stamp(table, of(poll)->row, err);
    if (rc < 0)
        return rc;
    poll->time_us = time_of(table, of(poll)->row);
    if (is_deleted(table, of(poll)->row))
        poll->change.kind = DBK_CHANGE_DELETE;
    return 1;
}

static int move(struct dbk_poll *poll, struct dbk_error *err)
{
    struct dbk_mongodb_poll_table *table = table_of(poll->table);
    bson_iter_t value;
    (void)err;
    drop(&table->cursor);
    table->cursor = bson_new();
    if (table->stamped && find_field(of(poll)->row, settings(table)->cursor, &value))
        (void)bson_append_iter(table->cursor, "v", 1, &value);
    if (bson_iter_init_find(&value, of(poll)->row, "_id"))
        (void)bson_append_iter(table->cursor, "id", 2, &value);
    return DBK_OK;
}

/* ---- Keys that are gone ---- */

static int take_found(struct dbk_poll *poll, const struct dbk_mongodb_poll_table *table,
                      mongoc_cursor_t *cursor, const struct dbk_listed_keys *list, bool *gone,
                      struct dbk_error *err)
{
    const bson_t *document = NULL;
    size_t index = 0;
    int rc = 0;
    while ((rc = next_document(cursor, &document, err)) == 1) {
        struct dbk_change change = {0};
        rc = dbk_documents_take_key(&table->documents, document, &poll->row, &change, err);
        if (rc < 0)
            return rc;
        if (dbk_listed_keys_find(list, change.key[0], &index))
            gone[index] = false;
    }
    return rc;
}

static int find_gone(struct dbk_poll *poll, struct dbk_poll_table *base,
                     const struct dbk_live_keys *keys, bool *gone, struct dbk_error *err)
{
    const struct dbk_mongodb_poll_table *table = table_of(base);
    bson_t filter = BSON_INITIALIZER;
    bson_t *options = BCON_NEW("projection", "{", "_id", BCON_INT32(1), "}");
    dbk_arena_reset(&poll->row);
    struct dbk_listed_keys list = {0};
    int rc = dbk_listed_keys_make(keys->keys, keys->count, &poll->row, &list);
    if (rc == DBK_OK)
        rc = dbk_collection_put_keys(session_of(poll), keys->keys, keys->count, &filter);
    if (rc < 0)
        rc = dbk_poll_no_memory(poll, err);
    if (rc == DBK_OK && keys->count > 0) {
        mongoc_cursor_t *cursor = find(poll, table, &filter, options);
        for (size_t i = 0; i < keys->count; i++)
            gone[i] = true;
        rc = take_found(poll, table, cursor, &list, gone, err);
        mongoc_cursor_destroy(cursor);
    }
    bson_destroy(options);
    bson_destroy(&filter);
    return rc;
}

/* ---- State ---- */

static void put_place(const char *name, const bson_t *place, struct dbk_buf *out)
{
    dbk_buf_append_format(out, ",\"%s\":", name);
    char *text = place == NULL ? NULL : bson_as_canonical_extended_json(place, NULL);
    dbk_buf_append_text(out, text == NULL ? "null" : text);
    bson_free(text);
}

static void put_state(const struct dbk_poll_table *base, struct dbk_buf *out)
{
    const struct dbk_mongodb_poll_table *table = table_of(base);
    dbk_buf_append_text(out, ",\"by\":");
    dbk_json_write_string(out, dbk_slice_of(table->stamped ? settings(table)->cursor : ""));
    put_place("cursor", table->cursor, out);
    put_place("from", table->from, out);
    put_place("next", table->next, out);
}

/* DBK_ECORRUPT: it is no place, or has not the members. */
static int read_place(const struct dbk_json_node *node, bool value, bool id, bson_t **place_out)
{
    if (node == NULL || node->kind == DBK_JSON_NULL)
        return DBK_OK;
    *place_out = bson_new_from_json((const uint8_t *)node->raw.data, (ssize_t)node->raw.size, NULL);
    return *place_out == NULL || (value && !bson_has_field(*place_out, "v")) ||
                   (id && !bson_has_field(*place_out, "id"))
               ? DBK_ECORRUPT
               : DBK_OK;
}

static int read_state(struct dbk_poll *poll, struct dbk_poll_table *base,
                      const struct dbk_json_node *node)
{
    struct dbk_mongodb_poll_table *table = table_of(base);
    const struct dbk_json_node *by = dbk_json_member(node, "by");
    (void)poll;
    if (by == NULL || by->kind != DBK_JSON_STRING ||
        !dbk_slice_equal_text(by->text, table->stamped ? settings(table)->cursor : ""))
        return 0;
    int rc = read_place(dbk_json_member(node, "cursor"), table->stamped, true, &table->cursor);
    if (rc == DBK_OK)
        rc = read_place(dbk_json_member(node, "from"), true, false, &table->from);
    if (rc == DBK_OK)
        rc = read_place(dbk_json_member(node, "next"), true, false, &table->next);
    return rc < 0 ? rc : 1;
}

__attribute__((visibility("default"))) const struct dbk_poll_kind dbk_poll_kind = {
    .version = DBK_POLL_VERSION,
    .open = open_mongodb,
    .close = close_mongodb,
    .look = look,
    .begin_round = begin_round,
    .open_page = open_page,
    .next_row = next_row,
    .close_page = close_page,
    .move = move,
    .find_gone = find_gone,
    .put_state = put_state,
    .read_state = read_state,
};
