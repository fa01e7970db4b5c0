/* SPDX-License-Identifier: Apache-2.0 */
/* Scalars of a JSON text, from one kind to another. */
#include "json/json.h"
#include "schema/program.h"

/* No longer text is a number that can be read exactly, but for zeros that say nothing. */
#define NUMBER_SIZE_MAX 1024

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

static int64_t take_hex(struct dbk_slice text, size_t at)
{
    int64_t value = 0;
    if (text.size < at + 4)
        return -1;
    for (size_t i = at; i < at + 4; i++) {
        int digit = hex_digit(text.data[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static size_t put_character(uint32_t character, char out[4])
{
    if (character < 0x80) {
        out[0] = (char)character;
        return 1;
    }
    size_t size = 2;
    if (character >= 0x800)
        size = character < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--, character >>= 6)
        out[i] = (char)(0x80 | (character & 0x3F));
    static const uint32_t first[] = {0, 0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(first[size] | character);
    return size;
}

/* \uXXXX at a place, or two of them: the bytes it takes, 0 when it is none. */
static size_t take_unicode(struct dbk_slice text, size_t at, char out[4], size_t *size_out)
{
    int64_t high = take_hex(text, at + 2);
    if (high < 0 || (high >= 0xDC00 && high <= 0xDFFF))
        return 0;
    if (high < 0xD800 || high > 0xDBFF) {
        *size_out = put_character((uint32_t)high, out);
        return 6;
    }
    if (text.size < at + 12 || text.data[at + 6] != '\\' || text.data[at + 7] != 'u')
        return 0;
    int64_t low = take_hex(text, at + 8);
    if (low < 0xDC00 || low > 0xDFFF)
        return 0;
    *size_out = put_character((uint32_t)(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)), out);
    return 12;
}

/* The escape at a place: as take_unicode. */
static size_t take_escape(struct dbk_slice text, size_t at, char out[4], size_t *size_out)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    if (at + 1 >= text.size)
        return 0;
    if (text.data[at + 1] == 'u')
        return take_unicode(text, at, out, size_out);
    const char *letter = memchr(letters, text.data[at + 1], sizeof(letters) - 1);
    if (letter == NULL)
        return 0;
    out[0] = meant[letter - letters];
    *size_out = 1;
    return 2;
}

int64_t dbk_upcast_unescape(struct dbk_slice text, char *buffer, size_t buffer_size)
{
    size_t size = 0;
    for (size_t at = 0; at < text.size;) {
        char character[4] = {text.data[at]};
        size_t put = 1;
        size_t taken = text.data[at] == '\\' ? take_escape(text, at, character, &put) : 1;
        if (taken == 0 || put > buffer_size - size)
            return -1;
        memcpy(buffer + size, character, put);
        size += put;
        at += taken;
    }
    return (int64_t)size;
}

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
    int64_t size = text.size < 2 ? -1
                                 : dbk_upcast_unescape(dbk_slice(text.data + 1, text.size - 2),
                                                       buffer, NUMBER_SIZE_MAX);
    return dbk_slice(buffer, size < 0 ? 0 : (size_t)size);
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
