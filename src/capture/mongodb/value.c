/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/mongodb/value.h"

#include <math.h>
#include <stdio.h>

#include "base/base64.h"
#include "base/time.h"
#include "base/uuid.h"
#include "json/json.h"

#define TEXT_SIZE_MAX ((size_t)64 << 20)
#define UUID_SIZE 16
#define OID_DIGITS 24

/* ---- Texts of values that are no text in JSON ---- */

static struct dbk_slice date_text(const bson_iter_t *at, char text[DBK_TIME_TEXT_SIZE])
{
    int64_t time_ms = bson_iter_date_time(at);
    if (time_ms < DBK_TIME_MIN / 1000 || time_ms > DBK_TIME_MAX / 1000)
        return (struct dbk_slice){0};
    return dbk_slice(text, dbk_time_format(time_ms * 1000, text));
}

static bool take_uuid(const bson_iter_t *at, struct dbk_uuid *uuid_out)
{
    bson_subtype_t subtype = BSON_SUBTYPE_BINARY;
    uint32_t size = 0;
    const uint8_t *bytes = NULL;
    bson_iter_binary(at, &subtype, &size, &bytes);
    if (subtype != BSON_SUBTYPE_UUID || size != UUID_SIZE)
        return false;
    memcpy(uuid_out->bytes, bytes, UUID_SIZE);
    return true;
}

static void put_binary(const bson_iter_t *at, struct dbk_buf *out)
{
    struct dbk_uuid uuid;
    char text[DBK_UUID_TEXT_SIZE];
    bson_subtype_t subtype = BSON_SUBTYPE_BINARY;
    uint32_t size = 0;
    const uint8_t *bytes = NULL;
    if (take_uuid(at, &uuid)) {
        dbk_uuid_format(&uuid, text);
        dbk_buf_append_text(out, text);
        return;
    }
    bson_iter_binary(at, &subtype, &size, &bytes);
    dbk_base64_encode(dbk_slice(bytes, size), out);
}

static void put_oid(const bson_iter_t *at, struct dbk_buf *out)
{
    char text[OID_DIGITS + 1];
    bson_oid_to_string(bson_iter_oid(at), text);
    dbk_buf_append_text(out, text);
}

/* What stands behind the colon of { "v" : … }: libbson writes documents only. */
static struct dbk_slice behind_colon(struct dbk_slice text)
{
    const char *colon = memchr(text.data, ':', text.size);
    size_t before = (size_t)(colon - text.data) + 2;
    return dbk_slice(text.data + before, text.size - before - 2);
}

/* Without the white space that is in no string. */
static void put_dense(struct dbk_slice json, struct dbk_buf *out)
{
    bool within = false;
    for (size_t i = 0; i < json.size; i++) {
        if (json.data[i] == '"')
            within = !within;
        if (within && json.data[i] == '\\' && i + 1 < json.size)
            dbk_buf_append_char(out, json.data[i++]);
        if (within || json.data[i] != ' ')
            dbk_buf_append_char(out, json.data[i]);
    }
}

/* A date that libbson's relaxed text would not read back. */
static bool has_far_date(const bson_iter_t *at)
{
    char text[DBK_TIME_TEXT_SIZE];
    bson_iter_t item;
    bool far = false;
    if (BSON_ITER_HOLDS_DATE_TIME(at))
        return date_text(at, text).size == 0;
    if ((!BSON_ITER_HOLDS_DOCUMENT(at) && !BSON_ITER_HOLDS_ARRAY(at)) ||
        !bson_iter_recurse(at, &item))
        return false;
    while (!far && bson_iter_next(&item))
        far = has_far_date(&item);
    return far;
}

static int put_extended(const bson_iter_t *at, struct dbk_buf *out)
{
    bson_t one = BSON_INITIALIZER;
    size_t size = 0;
    char *text = NULL;
    if (bson_append_iter(&one, "v", 1, at))
        text = has_far_date(at) ? bson_as_canonical_extended_json(&one, &size)
                                : bson_as_relaxed_extended_json(&one, &size);
    int rc = DBK_ECORRUPT;
    if (text != NULL) {
        rc = dbk_slice_is_utf8(dbk_slice(text, size)) ? DBK_OK : DBK_EINVAL;
        put_dense(behind_colon(dbk_slice(text, size)), out);
    }
    bson_free(text);
    bson_destroy(&one);
    return rc;
}

/* ---- Numbers ---- */

/* What cannot be read back exactly from JSON is a text. */
static void put_number(struct dbk_slice text, bool quoted, struct dbk_buf *out)
{
    struct dbk_decimal number;
    if (!quoted || dbk_decimal_parse(text, &number))
        dbk_buf_append(out, text);
    else
        dbk_json_write_string(out, text);
}

/* quoted: as JSON; else the bare text. */
static int put_double(double value, bool quoted, struct dbk_buf *out)
{
    struct dbk_buf text;
    dbk_buf_init(&text, 64);
    if (isnan(value))
        dbk_buf_append_text(&text, "NaN");
    else if (isinf(value))
        dbk_buf_append_text(&text, value > 0 ? "Infinity" : "-Infinity");
    else
        dbk_json_write_double(&text, value);
    put_number(dbk_buf_slice(&text), quoted, out);
    int rc = text.rc;
    dbk_buf_release(&text);
    return rc;
}

static void put_decimal(const bson_iter_t *at, bool quoted, struct dbk_buf *out)
{
    char text[BSON_DECIMAL128_STRING];
    bson_decimal128_t number;
    (void)bson_iter_decimal128(at, &number);
    bson_decimal128_to_string(&number, text);
    put_number(dbk_slice_of(text), quoted, out);
}

/* ---- JSON ---- */

static int write_value(const bson_iter_t *at, unsigned depth, struct dbk_buf *out);

static int write_text(struct dbk_slice text, struct dbk_buf *out)
{
    if (!dbk_slice_is_utf8(text))
        return DBK_EINVAL;
    dbk_json_write_string(out, text);
    return DBK_OK;
}

static int write_items(const bson_iter_t *container, bool named, unsigned depth,
                       struct dbk_buf *out)
{
    bson_iter_t at;
    bool first = true;
    int rc = DBK_OK;
    if (depth == DBK_BSON_DEPTH_MAX)
        return DBK_ELIMIT;
    if (!bson_iter_recurse(container, &at))
        return DBK_ECORRUPT;
    dbk_buf_append_char(out, named ? '{' : '[');
    while (rc == DBK_OK && bson_iter_next(&at)) {
        if (!first)
            dbk_buf_append_char(out, ',');
        first = false;
        if (named) {
            rc = write_text(dbk_slice_of(bson_iter_key(&at)), out);
            dbk_buf_append_char(out, ':');
        }
        if (rc == DBK_OK)
            rc = write_value(&at, depth + 1, out);
    }
    dbk_buf_append_char(out, named ? '}' : ']');
    return rc == DBK_OK && at.err_off != 0 ? DBK_ECORRUPT : rc;
}

static int write_quoted(const bson_iter_t *at, struct dbk_buf *out)
{
    char text[DBK_TIME_TEXT_SIZE];
    struct dbk_slice date = {0};
    if (BSON_ITER_HOLDS_DATE_TIME(at)) {
        date = date_text(at, text);
        if (date.size == 0)
            return put_extended(at, out);
    }
    dbk_buf_append_char(out, '"');
    if (BSON_ITER_HOLDS_DATE_TIME(at))
        dbk_buf_append(out, date);
    else if (BSON_ITER_HOLDS_OID(at))
        put_oid(at, out);
    else
        put_binary(at, out);
    dbk_buf_append_char(out, '"');
    return DBK_OK;
}

static int write_value(const bson_iter_t *at, unsigned depth, struct dbk_buf *out)
{
    uint32_t size = 0;
    const char *text = NULL;
    if (BSON_ITER_HOLDS_NULL(at) || BSON_ITER_HOLDS_UNDEFINED(at))
        dbk_buf_append_text(out, "null");
    else if (BSON_ITER_HOLDS_BOOL(at))
        dbk_buf_append_text(out, bson_iter_bool(at) ? "true" : "false");
    else if (BSON_ITER_HOLDS_INT32(at) || BSON_ITER_HOLDS_INT64(at))
        dbk_json_write_integer(out, bson_iter_as_int64(at));
    else if (BSON_ITER_HOLDS_DOUBLE(at))
        return put_double(bson_iter_double(at), true, out);
    else if (BSON_ITER_HOLDS_DECIMAL128(at))
        put_decimal(at, true, out);
    else if (BSON_ITER_HOLDS_UTF8(at)) {
        text = bson_iter_utf8(at, &size);
        return write_text(dbk_slice(text, size), out);
    } else if (BSON_ITER_HOLDS_DOCUMENT(at) || BSON_ITER_HOLDS_ARRAY(at))
        return write_items(at, BSON_ITER_HOLDS_DOCUMENT(at), depth, out);
    else if (BSON_ITER_HOLDS_DATE_TIME(at) || BSON_ITER_HOLDS_OID(at) || BSON_ITER_HOLDS_BINARY(at))
        return write_quoted(at, out);
    else
        return put_extended(at, out);
    return DBK_OK;
}

int dbk_bson_write(const bson_iter_t *at, struct dbk_buf *out)
{
    int rc = write_value(at, 0, out);
    return rc < 0 ? rc : out->rc;
}

/* ---- Keys ---- */

/* Equal to a server is 5 and 5.0. */
static int write_key_double(double value, struct dbk_buf *out)
{
    if (value >= -9007199254740992.0 && value <= 9007199254740992.0 && !(value < floor(value)) &&
        !(value > floor(value))) {
        dbk_json_write_integer(out, (int64_t)value);
        return DBK_OK;
    }
    return put_double(value, false, out);
}

/* Depth and texts are looked at first: libbson would cut the one and pass on the other. */
static int write_key_extended(const bson_iter_t *at, struct dbk_buf *out)
{
    struct dbk_buf json;
    dbk_buf_init(&json, TEXT_SIZE_MAX);
    int rc = dbk_bson_write(at, &json);
    dbk_buf_release(&json);
    return rc < 0 ? rc : put_extended(at, out);
}

static bool is_plain_binary(const bson_iter_t *at)
{
    struct dbk_uuid uuid;
    bson_subtype_t subtype = BSON_SUBTYPE_BINARY;
    bson_iter_binary(at, &subtype, NULL, NULL);
    return subtype == BSON_SUBTYPE_BINARY || take_uuid(at, &uuid);
}

int dbk_bson_write_key(const bson_iter_t *at, struct dbk_buf *out)
{
    char text[DBK_TIME_TEXT_SIZE];
    uint32_t size = 0;
    if (BSON_ITER_HOLDS_ARRAY(at))
        return DBK_ECORRUPT; /* a server has no such _id */
    if (BSON_ITER_HOLDS_UTF8(at)) {
        const char *string = bson_iter_utf8(at, &size);
        dbk_buf_append(out, dbk_slice(string, size));
        return dbk_slice_is_utf8(dbk_slice(string, size)) ? out->rc : DBK_EINVAL;
    }
    if (BSON_ITER_HOLDS_DATE_TIME(at) && date_text(at, text).size > 0)
        dbk_buf_append(out, date_text(at, text));
    else if (BSON_ITER_HOLDS_OID(at))
        put_oid(at, out);
    else if (BSON_ITER_HOLDS_BINARY(at) && is_plain_binary(at))
        put_binary(at, out);
    else if (BSON_ITER_HOLDS_DECIMAL128(at))
        put_decimal(at, false, out);
    else {
        int rc = BSON_ITER_HOLDS_DOUBLE(at) ? write_key_double(bson_iter_double(at), out)
                 : BSON_ITER_HOLDS_NULL(at) || BSON_ITER_HOLDS_BOOL(at) ||
                         BSON_ITER_HOLDS_INT32(at) || BSON_ITER_HOLDS_INT64(at)
                     ? write_value(at, 0, out)
                     : write_key_extended(at, out);
        return rc < 0 ? rc : out->rc;
    }
    return out->rc;
}

struct candidates {
    struct dbk_slice key;
    bson_t *array;
    uint32_t *index;
    char name[16]; /* of the next item */
};

static const char *next_name(struct candidates *candidates)
{
    (void)snprintf(candidates->name, sizeof(candidates->name), "%u", (unsigned)*candidates->index);
    (*candidates->index)++;
    return candidates->name;
}

/* libbson reads behind a text's end, and of an empty one in front of it. */
static bool take_decimal(struct dbk_slice key, bson_decimal128_t *decimal_out)
{
    char text[BSON_DECIMAL128_STRING];
    if (key.size == 0 || key.size >= sizeof(text) || memchr(key.data, 0, key.size) != NULL)
        return false;
    (void)snprintf(text, sizeof(text), "%.*s", DBK_SLICE_ARGS(key));
    return bson_decimal128_from_string(text, decimal_out);
}

static bool put_numbers(struct candidates *candidates, bool all)
{
    struct dbk_decimal decimal;
    bson_decimal128_t exact;
    int64_t integer = 0;
    struct dbk_slice key = candidates->key;
    bool good = true;
    if (dbk_slice_to_i64(key, &integer))
        good = bson_append_int64(candidates->array, next_name(candidates), -1, integer);
    else if (dbk_decimal_parse(key, &decimal))
        good = bson_append_double(candidates->array, next_name(candidates), -1,
                                  dbk_decimal_to_double(decimal));
    else if (all && dbk_slice_equal_text(key, "NaN"))
        good = bson_append_double(candidates->array, next_name(candidates), -1, (double)NAN);
    else if (dbk_slice_equal_text(key, "Infinity") || dbk_slice_equal_text(key, "-Infinity"))
        good = bson_append_double(candidates->array, next_name(candidates), -1,
                                  key.data[0] == '-' ? -(double)INFINITY : (double)INFINITY);
    if (good && all && take_decimal(key, &exact))
        good = bson_append_decimal128(candidates->array, next_name(candidates), -1, &exact);
    return good;
}

static bool put_words(struct candidates *candidates)
{
    if (dbk_slice_equal_text(candidates->key, "null"))
        return bson_append_null(candidates->array, next_name(candidates), -1);
    bool yes = dbk_slice_equal_text(candidates->key, "true");
    if (yes || dbk_slice_equal_text(candidates->key, "false"))
        return bson_append_bool(candidates->array, next_name(candidates), -1, yes);
    return true;
}

static bool put_bytes(struct candidates *candidates)
{
    struct dbk_uuid uuid;
    size_t size = 0;
    struct dbk_slice key = candidates->key;
    uint8_t *bytes = dbk_alloc(DBK_BASE64_ROOM(key.size) + 1);
    bool good = bytes != NULL;
    if (good && dbk_base64_decode(key, bytes, &size))
        good = bson_append_binary(candidates->array, next_name(candidates), -1, BSON_SUBTYPE_BINARY,
                                  bytes, (uint32_t)size);
    dbk_free(bytes);
    if (good && dbk_uuid_parse(key, &uuid))
        good = bson_append_binary(candidates->array, next_name(candidates), -1, BSON_SUBTYPE_UUID,
                                  uuid.bytes, UUID_SIZE);
    return good;
}

static bool put_identifiers(struct candidates *candidates)
{
    bson_oid_t oid;
    int64_t time_us = 0;
    struct dbk_slice key = candidates->key;
    bool good = true;
    if (key.size == OID_DIGITS && bson_oid_is_valid(key.data, key.size)) {
        char digits[OID_DIGITS + 1];
        (void)snprintf(digits, sizeof(digits), "%.*s", DBK_SLICE_ARGS(key));
        bson_oid_init_from_string(&oid, digits);
        good = bson_append_oid(candidates->array, next_name(candidates), -1, &oid);
    }
    if (good && dbk_time_parse(key, &time_us))
        good = bson_append_date_time(candidates->array, next_name(candidates), -1, time_us / 1000);
    return good && put_words(candidates) && put_bytes(candidates);
}

/* {"v":…} of extended JSON. */
static bool put_parsed(struct candidates *candidates)
{
    struct dbk_buf text;
    bson_iter_t at;
    bson_t *parsed = NULL;
    bool good = true;
    if (candidates->key.size == 0 || candidates->key.data[0] != '{')
        return true;
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    dbk_buf_append_text(&text, "{\"v\":");
    dbk_buf_append(&text, candidates->key);
    dbk_buf_append_char(&text, '}');
    if (text.rc == DBK_OK)
        parsed = bson_new_from_json((const uint8_t *)text.data, (ssize_t)text.size, NULL);
    if (parsed != NULL && bson_iter_init_find(&at, parsed, "v"))
        good = bson_append_iter(candidates->array, next_name(candidates), -1, &at);
    good = good && text.rc == DBK_OK;
    bson_destroy(parsed);
    dbk_buf_release(&text);
    return good;
}

int dbk_bson_put_candidates(struct dbk_slice key, bool all, bson_t *array, uint32_t *index)
{
    struct candidates candidates = {.key = key, .array = array, .index = index};
    bool good = bson_append_utf8(array, next_name(&candidates), -1, key.data, (int)key.size);
    return good && put_numbers(&candidates, all) && put_identifiers(&candidates) &&
                   put_parsed(&candidates)
               ? DBK_OK
               : DBK_ENOMEM;
}
