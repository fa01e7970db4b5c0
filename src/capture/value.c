/* SPDX-License-Identifier: Apache-2.0 */
/* A value's text, as PostgreSQL writes it, becomes JSON. */
#include "capture/value.h"

#include "base/base64.h"
#include "base/time.h"

#define VALUE_SIZE_MAX ((size_t)1 << 30)

enum type {
    TYPE_BOOL = 16,
    TYPE_BYTEA = 17,
    TYPE_INT8 = 20,
    TYPE_INT2 = 21,
    TYPE_INT4 = 23,
    TYPE_OID = 26,
    TYPE_JSON = 114,
    TYPE_FLOAT4 = 700,
    TYPE_FLOAT8 = 701,
    TYPE_TIMESTAMP = 1114,
    TYPE_TIMESTAMPTZ = 1184,
    TYPE_NUMERIC = 1700,
    TYPE_JSONB = 3802,
};

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory for a value");
}

static int keep(struct dbk_arena *arena, struct dbk_slice text, struct dbk_slice *text_out,
                struct dbk_error *err)
{
    *text_out = dbk_arena_copy(arena, text);
    return text_out->data == NULL ? no_memory(err) : DBK_OK;
}

static int digit(char letter)
{
    if (letter >= '0' && letter <= '9')
        return letter - '0';
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* "\x0aff" as base64. What is no such text stays as it is. */
static int take_bytes(struct dbk_arena *arena, struct dbk_slice text, struct dbk_slice *text_out,
                      struct dbk_error *err)
{
    struct dbk_buf out;
    if (text.size < 2 || text.size % 2 != 0 || text.data[0] != '\\' || text.data[1] != 'x')
        return DBK_OK;
    size_t size = text.size / 2 - 1;
    char *bytes = dbk_arena_alloc(arena, size + 1);
    if (bytes == NULL)
        return no_memory(err);
    for (size_t i = 0; i < size; i++) {
        int high = digit(text.data[2 + 2 * i]);
        int low = digit(text.data[3 + 2 * i]);
        if (high < 0 || low < 0)
            return DBK_OK;
        bytes[i] = (char)(high << 4 | low);
    }
    dbk_buf_init(&out, VALUE_SIZE_MAX);
    dbk_base64_encode(dbk_slice(bytes, size), &out);
    int rc = out.rc < 0 ? no_memory(err) : keep(arena, dbk_buf_slice(&out), text_out, err);
    dbk_buf_release(&out);
    return rc;
}

/* "2011-03-01 08:26:00.5+00" as RFC 3339; what has no such form ("infinity", years before Christ)
   stays as it is. */
static int take_time(struct dbk_arena *arena, struct dbk_slice text, struct dbk_slice *text_out,
                     struct dbk_error *err)
{
    char again[DBK_TIME_TEXT_SIZE];
    int64_t time_us = 0;
    bool utc = text.size > 3 && memcmp(text.data + text.size - 3, "+00", 3) == 0;
    if (!dbk_time_parse(dbk_slice(text.data, utc ? text.size - 3 : text.size), &time_us))
        return DBK_OK;
    return keep(arena, dbk_slice(again, dbk_time_format(time_us, again)), text_out, err);
}

/* JSON that the book could not read back exactly stays a text. */
static int take_json(struct dbk_arena *arena, struct dbk_json *json, struct dbk_slice text,
                     struct dbk_change_value *value_out, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_buf out;
    int rc = dbk_json_parse(json, text, &root, NULL);
    if (rc == DBK_ENOMEM)
        return no_memory(err);
    if (rc < 0)
        return DBK_OK;
    dbk_buf_init(&out, VALUE_SIZE_MAX);
    dbk_json_write_node(&out, root);
    value_out->kind = DBK_CHANGE_JSON;
    rc = out.rc < 0 ? no_memory(err) : keep(arena, dbk_buf_slice(&out), &value_out->text, err);
    dbk_buf_release(&out);
    return rc;
}

int dbk_change_value_of(uint32_t type, struct dbk_slice text, struct dbk_arena *arena,
                        struct dbk_json *json, struct dbk_change_value *value_out,
                        struct dbk_error *err)
{
    struct dbk_decimal number;
    *value_out = (struct dbk_change_value){.kind = DBK_CHANGE_TEXT, .text = text};
    switch (type) {
    case TYPE_BOOL:
        value_out->kind = DBK_CHANGE_JSON;
        value_out->text = text.size == 1 && text.data[0] == 't' ? DBK_SLICE_LITERAL("true")
                                                                : DBK_SLICE_LITERAL("false");
        return DBK_OK;
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
    case TYPE_OID:
        value_out->kind = DBK_CHANGE_JSON;
        return DBK_OK;
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
    case TYPE_NUMERIC:
        /* NaN, Infinity, and more digits than can be read back are texts. */
        if (dbk_decimal_parse(text, &number))
            value_out->kind = DBK_CHANGE_JSON;
        return DBK_OK;
    case TYPE_JSON:
    case TYPE_JSONB:
        return take_json(arena, json, text, value_out, err);
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return take_time(arena, text, &value_out->text, err);
    case TYPE_BYTEA:
        return take_bytes(arena, text, &value_out->text, err);
    default:
        return DBK_OK;
    }
}
