/* SPDX-License-Identifier: Apache-2.0 */
/* Scalars of a JSON text, from one kind to another. */
#include "json/json.h"
#include "schema/program.h"

/* No longer text is a number that can be read exactly, but for zeros that say nothing. */
#define NUMBER_SIZE_MAX 1024

enum scalar { SCALAR_NUMBER, SCALAR_STRING, SCALAR_TRUE, SCALAR_FALSE };

static enum scalar kind_of(struct dbk_slice text)
{
    switch (text.data[0]) {
    case '"':
        return SCALAR_STRING;
    case 't':
        return SCALAR_TRUE;
    case 'f':
        return SCALAR_FALSE;
    default:
        return SCALAR_NUMBER;
    }
}

struct number {
    int64_t integer;
    bool is_whole; /* and `integer` is it */
    bool is_plain; /* and it is written as one: nothing but digits, and a sign */
};

/* A number by the rules of JSON, which can be read exactly. */
static bool read_number(struct dbk_slice text, struct number *number_out)
{
    struct dbk_decimal decimal;
    bool zero_first = text.size > 1 && text.data[text.data[0] == '-'] == '0';
    *number_out = (struct number){0};
    if (!zero_first && dbk_slice_to_i64(text, &number_out->integer)) {
        number_out->is_whole = true;
        number_out->is_plain = true;
        return true;
    }
    if (!dbk_decimal_parse(text, &decimal))
        return false;
    number_out->is_whole = dbk_decimal_to_i64(decimal, &number_out->integer);
    return true;
}

/* What a string says; empty when it is longer than any number or boolean. */
static struct dbk_slice content(struct dbk_slice text, char buffer[NUMBER_SIZE_MAX])
{
    struct dbk_slice said = {0};
    if (text.size < 2 ||
        !dbk_json_unescape(dbk_slice(text.data + 1, text.size - 2), buffer, NUMBER_SIZE_MAX, &said))
        return dbk_slice(buffer, 0);
    return said;
}

static int to_string(struct dbk_slice text, struct dbk_buf *out)
{
    if (kind_of(text) == SCALAR_STRING)
        return 0;
    dbk_buf_append_char(out, '"');
    dbk_buf_append(out, text);
    dbk_buf_append_char(out, '"');
    return 1;
}

static int to_number(struct dbk_slice text, bool whole, struct dbk_buf *out)
{
    char buffer[NUMBER_SIZE_MAX];
    struct number number;
    enum scalar kind = kind_of(text);
    if (kind == SCALAR_TRUE || kind == SCALAR_FALSE) {
        dbk_buf_append_char(out, kind == SCALAR_TRUE ? '1' : '0');
        return 1;
    }
    if (kind == SCALAR_NUMBER && !whole)
        return 0;
    struct dbk_slice written = kind == SCALAR_STRING ? content(text, buffer) : text;
    if (!read_number(written, &number) || (whole && !number.is_whole))
        return DBK_EINVAL;
    if (kind == SCALAR_NUMBER && number.is_plain)
        return 0;
    if (whole)
        dbk_json_write_integer(out, number.integer);
    else
        dbk_buf_append(out, written);
    return 1;
}

static int to_boolean(struct dbk_slice text, struct dbk_buf *out)
{
    char buffer[NUMBER_SIZE_MAX];
    struct number number;
    struct dbk_slice word;
    bool truth = false;
    switch (kind_of(text)) {
    case SCALAR_TRUE:
    case SCALAR_FALSE:
        return 0;
    case SCALAR_STRING:
        word = content(text, buffer);
        truth = dbk_slice_equal_text(word, "true");
        if (!truth && !dbk_slice_equal_text(word, "false"))
            return DBK_EINVAL;
        break;
    case SCALAR_NUMBER:
        if (!read_number(text, &number) || !number.is_whole || number.integer < 0 ||
            number.integer > 1)
            return DBK_EINVAL;
        truth = number.integer == 1;
        break;
    }
    dbk_buf_append_text(out, truth ? "true" : "false");
    return 1;
}

int dbk_upcast_convert(enum dbk_upcast_type type, struct dbk_slice text, struct dbk_buf *out)
{
    switch (type) {
    case DBK_UPCAST_STRING:
        return to_string(text, out);
    case DBK_UPCAST_INTEGER:
        return to_number(text, true, out);
    case DBK_UPCAST_NUMBER:
        return to_number(text, false, out);
    case DBK_UPCAST_BOOLEAN:
        return to_boolean(text, out);
    }
    return DBK_EINVAL;
}

const char *dbk_upcast_type_name(enum dbk_upcast_type type)
{
    static const char *const names[] = {"string", "integer", "number", "boolean"};
    return names[type];
}
