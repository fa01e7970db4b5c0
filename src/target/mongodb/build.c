/* SPDX-License-Identifier: Apache-2.0 */
#include "target/mongodb/build.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "target/mongodb/command.h"

static int refuse(const struct dbk_mongodb_build *build, struct dbk_slice key, const char *why)
{
    return dbk_error_set(build->err, DBK_EREFUSED, "\"%.*s\": %s", DBK_SLICE_ARGS(key), why);
}

/* libbson says no where a key holds a NUL or a document grows past what it can. */
static int done(const struct dbk_mongodb_build *build, struct dbk_slice key, bool appended)
{
    return appended ? DBK_OK : refuse(build, key, "it is too large for a document");
}

static int check_key(const struct dbk_mongodb_build *build, struct dbk_slice key)
{
    return memchr(key.data, '\0', key.size) == NULL
               ? DBK_OK
               : refuse(build, key, "MongoDB takes no NUL in a name");
}

/* What is begun in a document is ended, whatever came between: libbson takes nothing else there. */
static int ended(const struct dbk_mongodb_build *build, struct dbk_slice key, int rc, bool appended)
{
    return rc < 0 ? rc : done(build, key, appended);
}

/* ---- An event's values ---- */

static int append_data(const struct dbk_mongodb_build *build, struct dbk_slice key,
                       const struct dbk_json_node *node, bson_t *out);

static int append_data_items(const struct dbk_mongodb_build *build,
                             const struct dbk_json_node *node, bson_t *out)
{
    const struct dbk_json_node *item = dbk_json_first(node);
    char number[16];
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && i < node->count; i++, item = dbk_json_sibling(item)) {
        struct dbk_slice key = item->key;
        if (node->kind == DBK_JSON_ARRAY)
            key = dbk_slice(number, (size_t)snprintf(number, sizeof(number), "%" PRIu32, i));
        else if (key.size > 0 && key.data[0] == '$')
            rc = refuse(build, key, "a member whose name begins with $ would be an operator");
        if (rc == DBK_OK)
            rc = append_data(build, key, item, out);
    }
    return rc;
}

/* What stands for a personal field when its subject is forgotten is a text, as in tables. */
static bool is_forgotten(const struct dbk_json_node *node)
{
    return node->count == 1 && dbk_slice_equal_text(dbk_json_first(node)->key, "$forgotten");
}

static int append_data(const struct dbk_mongodb_build *build, struct dbk_slice key,
                       const struct dbk_json_node *node, bson_t *out)
{
    bson_t inner;
    int size = (int)key.size;
    int rc = check_key(build, key);
    if (rc < 0)
        return rc;
    switch (node->kind) {
    case DBK_JSON_NULL:
        break;
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
        return done(build, key, bson_append_bool(out, key.data, size, node->kind == DBK_JSON_TRUE));
    case DBK_JSON_INTEGER:
        return done(build, key, bson_append_int64(out, key.data, size, node->integer));
    case DBK_JSON_DECIMAL:
        return done(build, key,
                    bson_append_double(out, key.data, size, dbk_decimal_to_double(node->decimal)));
    case DBK_JSON_STRING:
        return done(build, key,
                    bson_append_utf8(out, key.data, size, node->text.data, (int)node->text.size));
    case DBK_JSON_ARRAY:
        if (!bson_append_array_begin(out, key.data, size, &inner))
            return done(build, key, false);
        rc = append_data_items(build, node, &inner);
        return ended(build, key, rc, bson_append_array_end(out, &inner));
    case DBK_JSON_OBJECT:
        if (is_forgotten(node))
            return done(build, key,
                        bson_append_utf8(out, key.data, size, node->raw.data, (int)node->raw.size));
        if (!bson_append_document_begin(out, key.data, size, &inner))
            return done(build, key, false);
        rc = append_data_items(build, node, &inner);
        return ended(build, key, rc, bson_append_document_end(out, &inner));
    }
    return done(build, key, bson_append_null(out, key.data, size));
}

static int append_json(const struct dbk_mongodb_build *build, struct dbk_slice key,
                       struct dbk_slice text, bson_t *out)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    int rc = dbk_json_parse(build->json, text, &root, &failure);
    if (rc < 0)
        return dbk_error_set(build->err, rc, "\"%.*s\": %s", DBK_SLICE_ARGS(key), failure.message);
    return append_data(build, key, root, out);
}

static int append_bound(const struct dbk_mongodb_build *build, struct dbk_slice key,
                        const struct dbk_value *value, bson_t *out)
{
    int size = (int)key.size;
    switch (value->kind) {
    case DBK_VALUE_NULL:
        break;
    case DBK_VALUE_INTEGER:
        if (value->json)
            return done(build, key, bson_append_bool(out, key.data, size, value->integer != 0));
        return done(build, key, bson_append_int64(out, key.data, size, value->integer));
    case DBK_VALUE_REAL:
        return done(build, key, bson_append_double(out, key.data, size, value->real));
    case DBK_VALUE_DECIMAL:
        return done(build, key,
                    bson_append_double(out, key.data, size, dbk_decimal_to_double(value->decimal)));
    case DBK_VALUE_TEXT:
        if (value->json)
            return append_json(build, key, value->bytes, out);
        return done(
            build, key,
            bson_append_utf8(out, key.data, size, value->bytes.data, (int)value->bytes.size));
    case DBK_VALUE_BLOB:
        return done(build, key,
                    bson_append_binary(out, key.data, size, BSON_SUBTYPE_BINARY,
                                       (const uint8_t *)value->bytes.data,
                                       (uint32_t)value->bytes.size));
    }
    return done(build, key, bson_append_null(out, key.data, size));
}

/* ---- A command's nodes ---- */

/* The value of {"$_": 3}; NULL: the node is none. */
static const struct dbk_value *bound(const struct dbk_mongodb_build *build,
                                     const struct dbk_json_node *node)
{
    static const struct dbk_value nothing = {.kind = DBK_VALUE_NULL};
    const struct dbk_json_node *number = dbk_json_member(node, "$_");
    if (number == NULL || number->kind != DBK_JSON_INTEGER)
        return NULL;
    bool there = number->integer >= 0 && (uint64_t)number->integer < build->value_count;
    return there ? &build->values[number->integer] : &nothing;
}

/* The text that stands in {"$date": …}, written there or a parameter's. */
static bool text_of(const struct dbk_mongodb_build *build, const struct dbk_json_node *node,
                    char room[DBK_DECIMAL_TEXT_SIZE])
{
    const struct dbk_value *value = bound(build, node);
    struct dbk_slice text = node->raw;
    size_t size = 0;
    if (value != NULL && value->kind == DBK_VALUE_DECIMAL)
        size = dbk_decimal_format(value->decimal, room);
    else if (value != NULL && value->kind == DBK_VALUE_INTEGER)
        size = (size_t)snprintf(room, DBK_DECIMAL_TEXT_SIZE, "%" PRId64, value->integer);
    else if (value != NULL && value->kind == DBK_VALUE_TEXT && !value->json)
        text = value->bytes;
    else if (value != NULL)
        return false;
    else if (node->kind == DBK_JSON_STRING)
        text = node->text;
    if (size == 0 && text.size >= DBK_DECIMAL_TEXT_SIZE)
        return false;
    if (size == 0)
        memcpy(room, text.data, size = text.size);
    room[size] = '\0';
    return memchr(room, '\0', size) == NULL;
}

static bool append_date(const char *text, struct dbk_slice key, bson_t *out)
{
    int64_t time_us = 0;
    if (!dbk_time_parse(dbk_slice_of(text), &time_us))
        return false;
    /* Down to the millisecond, before 1970, too. */
    int64_t time_ms = time_us / 1000 - (time_us % 1000 < 0 ? 1 : 0);
    return bson_append_date_time(out, key.data, (int)key.size, time_ms);
}

static bool append_number(const char *type, const char *text, struct dbk_slice key, bson_t *out)
{
    struct dbk_decimal decimal = {0};
    bson_decimal128_t decimal128;
    int64_t integer = 0;
    int size = (int)key.size;
    if (strcmp(type, "$numberDecimal") == 0)
        return bson_decimal128_from_string(text, &decimal128) &&
               bson_append_decimal128(out, key.data, size, &decimal128);
    if (!dbk_decimal_parse(dbk_slice_of(text), &decimal))
        return false;
    if (strcmp(type, "$numberDouble") == 0)
        return bson_append_double(out, key.data, size, dbk_decimal_to_double(decimal));
    if (!dbk_decimal_to_i64(decimal, &integer))
        return false;
    if (strcmp(type, "$numberLong") == 0)
        return bson_append_int64(out, key.data, size, integer);
    return integer >= INT32_MIN && integer <= INT32_MAX &&
           bson_append_int32(out, key.data, size, (int32_t)integer);
}

static bool append_oid(const char *text, struct dbk_slice key, bson_t *out)
{
    bson_oid_t oid;
    if (!bson_oid_is_valid(text, strlen(text)) || strlen(text) != 24)
        return false;
    bson_oid_init_from_string(&oid, text);
    return bson_append_oid(out, key.data, (int)key.size, &oid);
}

static int append_regex(const struct dbk_mongodb_build *build, struct dbk_slice key,
                        const struct dbk_json_node *node, bson_t *out)
{
    const struct dbk_json_node *pattern = dbk_json_member(node, "pattern");
    const struct dbk_json_node *options = dbk_json_member(node, "options");
    char text[DBK_DECIMAL_TEXT_SIZE];
    char flags[DBK_DECIMAL_TEXT_SIZE] = "";
    bool good = pattern != NULL && text_of(build, pattern, text) &&
                (options == NULL || text_of(build, options, flags));
    return good && bson_append_regex(out, key.data, (int)key.size, text, flags)
               ? DBK_OK
               : refuse(build, key, "this is no regular expression");
}

/* True when the node is of a type that extended JSON writes out; rc_out: whether it could be. */
static bool append_typed(const struct dbk_mongodb_build *build, struct dbk_slice key,
                         const struct dbk_json_node *node, bson_t *out, int *rc_out)
{
    static const char *const types[] = {
        "$oid",          "$date",          "$numberInt",         "$numberLong",
        "$numberDouble", "$numberDecimal", "$regularExpression", "$minKey",
        "$maxKey"};
    const struct dbk_json_node *inner = dbk_json_first(node);
    char text[DBK_DECIMAL_TEXT_SIZE];
    size_t type = 0;
    while (type < sizeof(types) / sizeof(types[0]) &&
           (node->count != 1 || !dbk_slice_equal_text(inner->key, types[type])))
        type++;
    if (type == sizeof(types) / sizeof(types[0]))
        return false;
    if (type == 6) {
        *rc_out = append_regex(build, key, inner, out);
        return true;
    }
    const struct dbk_value *value = bound(build, inner);
    bool good = false;
    if (value != NULL && value->kind == DBK_VALUE_NULL)
        good = bson_append_null(out, key.data, (int)key.size); /* a missing member */
    else if (type > 6)
        good = type == 7 ? bson_append_minkey(out, key.data, (int)key.size)
                         : bson_append_maxkey(out, key.data, (int)key.size);
    else if (text_of(build, inner, text))
        good = type == 0   ? append_oid(text, key, out)
               : type == 1 ? append_date(text, key, out)
                           : append_number(types[type], text, key, out);
    *rc_out = good ? DBK_OK
                   : dbk_error_set(build->err, DBK_EREFUSED, "\"%.*s\": this is no %s",
                                   DBK_SLICE_ARGS(key), types[type]);
    return true;
}

static int append_text(const struct dbk_mongodb_build *build, struct dbk_slice key,
                       struct dbk_slice text, bson_t *out)
{
    struct dbk_slice model = {0};
    struct dbk_slice name = {0};
    int size = (int)key.size;
    bool named = build->model_count > 0 && dbk_mongodb_collection(text, &model, &name);
    for (size_t i = 0; named && i < build->model_count; i++) {
        char room[256];
        if (!dbk_slice_equal(build->models[i].name, model))
            continue;
        int written = snprintf(room, sizeof(room), "%.*s__g%" PRId64 "_%.*s", DBK_SLICE_ARGS(model),
                               build->models[i].generation, DBK_SLICE_ARGS(name));
        if (written >= (int)sizeof(room))
            return refuse(build, key, "a collection's name is too long");
        return done(build, key, bson_append_utf8(out, key.data, size, room, written));
    }
    return done(build, key, bson_append_utf8(out, key.data, size, text.data, (int)text.size));
}

static int append_items(const struct dbk_mongodb_build *build, const struct dbk_json_node *array,
                        bson_t *out)
{
    const struct dbk_json_node *item = dbk_json_first(array);
    char number[16];
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && i < array->count; i++, item = dbk_json_sibling(item))
        rc = dbk_mongodb_build_value(
            build, dbk_slice(number, (size_t)snprintf(number, sizeof(number), "%" PRIu32, i)), item,
            out);
    return rc;
}

static int append_object(const struct dbk_mongodb_build *build, struct dbk_slice key,
                         const struct dbk_json_node *node, bson_t *out)
{
    bson_t inner;
    int rc = DBK_OK;
    const struct dbk_value *value = bound(build, node);
    if (value != NULL)
        return append_bound(build, key, value, out);
    if (append_typed(build, key, node, out, &rc))
        return rc;
    if (!bson_append_document_begin(out, key.data, (int)key.size, &inner))
        return done(build, key, false);
    rc = dbk_mongodb_build_members(build, node, &inner);
    return ended(build, key, rc, bson_append_document_end(out, &inner));
}

int dbk_mongodb_build_value(const struct dbk_mongodb_build *build, struct dbk_slice key,
                            const struct dbk_json_node *node, bson_t *out)
{
    bson_t inner;
    int rc = check_key(build, key);
    if (rc < 0)
        return rc;
    if (node->kind == DBK_JSON_OBJECT)
        return append_object(build, key, node, out);
    if (node->kind == DBK_JSON_STRING)
        return append_text(build, key, node->text, out);
    if (node->kind != DBK_JSON_ARRAY)
        return append_data(build, key, node, out);
    if (!bson_append_array_begin(out, key.data, (int)key.size, &inner))
        return done(build, key, false);
    rc = append_items(build, node, &inner);
    return ended(build, key, rc, bson_append_array_end(out, &inner));
}

int dbk_mongodb_build_members(const struct dbk_mongodb_build *build,
                              const struct dbk_json_node *object, bson_t *out)
{
    const struct dbk_json_node *item = dbk_json_first(object);
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && i < object->count; i++, item = dbk_json_sibling(item))
        rc = dbk_mongodb_build_value(build, item->key, item, out);
    return rc;
}
