/* SPDX-License-Identifier: Apache-2.0 */
/* A member without a parser: by its quotes, or one walk over the object. */
#include <string.h>

#include "json/json.h"
#include "json/quotes.h"

/* Behind the closing quote of the string that begins at `at`; NULL: it has none. */
static const char *behind_string(const char *at, const char *end, bool *escaped_out)
{
    *escaped_out = false;
    for (at++; at < end; at++) {
        if (*at == '"')
            return at + 1;
        if (*at == '\\') {
            *escaped_out = true;
            at++;
        }
    }
    return NULL;
}

static const char *behind_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

/* Four hexadecimal digits; negative: they are none. */
static int32_t read_hex(const char *at, const char *end)
{
    int32_t value = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = at[i] == 0 ? NULL : strchr(digits, at[i] | 0x20);
        if (digit == NULL)
            return -1;
        value = value * 16 + (int32_t)(digit - digits);
    }
    return value;
}

/* Writes a character as UTF-8; returns its size. */
static size_t put_utf8(uint32_t character, char bytes[4])
{
    static const unsigned char heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    if (character < 0x80) {
        bytes[0] = (char)character;
        return 1;
    }
    size_t size = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
    for (size_t i = size; i-- > 1; character >>= 6)
        bytes[i] = (char)(0x80 | (character & 0x3f));
    bytes[0] = (char)(heads[size] | character);
    return size;
}

/* What an escape at `at` (behind the backslash) stands for; returns what is behind it, or NULL. */
static const char *read_escape(const char *at, const char *end, uint32_t *character_out)
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    if (at == end)
        return NULL;
    if (*at != 'u') {
        const char *name = *at == 0 ? NULL : strchr(names, *at);
        if (name == NULL)
            return NULL;
        *character_out = (unsigned char)values[name - names];
        return at + 1;
    }
    int32_t high = read_hex(at + 1, end);
    at += 5;
    if (high < 0 || (high >= 0xdc00 && high < 0xe000))
        return NULL;
    *character_out = (uint32_t)high;
    if (high < 0xd800 || high >= 0xdc00)
        return at;
    int32_t low = end - at < 6 || at[0] != '\\' || at[1] != 'u' ? -1 : read_hex(at + 2, end);
    if (low < 0xdc00 || low >= 0xe000)
        return NULL;
    *character_out = 0x10000 + (((uint32_t)high - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
    return at + 6;
}

bool dbk_json_unescape(struct dbk_slice raw, char *room, size_t room_size,
                       struct dbk_slice *text_out)
{
    const char *at = raw.data;
    const char *end = at + raw.size;
    size_t size = 0;
    while (at < end) {
        uint32_t character = 0;
        char bytes[4] = {*at};
        size_t count = 1;
        if (*at++ == '\\') {
            at = read_escape(at, end, &character);
            if (at == NULL)
                return false;
            count = put_utf8(character, bytes);
        }
        if (count > room_size - size)
            return false;
        memcpy(room + size, bytes, count);
        size += count;
    }
    *text_out = dbk_slice(room, size);
    return true;
}

static bool is_named(struct dbk_slice raw, bool escaped, struct dbk_slice key)
{
    char room[DBK_JSON_FIND_KEY_MAX];
    return (!escaped || dbk_json_unescape(raw, room, sizeof(room), &raw)) &&
           dbk_slice_equal(raw, key);
}

/* ---- Values ---- */

static const char *behind_container(const char *at, const char *end)
{
    bool escaped = false;
    size_t depth = 0;
    while (at != NULL && at < end) {
        if (*at == '"') {
            at = behind_string(at, end, &escaped);
            continue;
        }
        depth += *at == '{' || *at == '[';
        depth -= *at == '}' || *at == ']';
        at++;
        if (depth == 0)
            return at;
    }
    return NULL;
}

/* Behind the value that begins at `at`; NULL: it has no end. */
static const char *behind_value(const char *at, const char *end)
{
    bool escaped = false;
    const char *begin = at;
    if (at == end)
        return NULL;
    if (*at == '"')
        return behind_string(at, end, &escaped);
    if (*at == '{' || *at == '[')
        return behind_container(at, end);
    while (at < end && *at != ',' && *at != '}' && *at != ']' && (unsigned char)*at > ' ')
        at++;
    return at == begin ? NULL : at;
}

/* The value of a key that ends at `at`. */
static bool take_value(const char *at, const char *end, struct dbk_slice *raw_out)
{
    at = behind_space(at, end);
    if (at == end || *at != ':')
        return false;
    at = behind_space(at + 1, end);
    const char *behind = behind_value(at, end);
    if (behind == NULL)
        return false;
    *raw_out = dbk_slice(at, (size_t)(behind - at));
    return true;
}

/* ---- Keys ---- */

static bool walk(struct dbk_slice object, struct dbk_slice key, struct dbk_slice *raw_out)
{
    unsigned depth = 0;
    bool escaped = false;
    if (memmem(object.data, object.size, key.data, key.size) == NULL &&
        memchr(object.data, '\\', object.size) == NULL)
        return false;
    const char *at = object.data;
    const char *end = at + object.size;
    while (at < end) {
        if (*at != '"') {
            depth += *at == '{' || *at == '[';
            depth -= *at == '}' || *at == ']';
            at++;
            continue;
        }
        const char *begin = at + 1;
        at = behind_string(at, end, &escaped);
        if (at == NULL)
            return false;
        const char *colon = behind_space(at, end);
        if (depth == 1 && colon < end && *colon == ':' &&
            is_named(dbk_slice(begin, (size_t)(at - 1 - begin)), escaped, key))
            return take_value(at, end, raw_out);
    }
    return false;
}

/* The place behind the key's closing quote; 0: it is no key of the body; -1: it takes a walk. */
static int64_t find_key(struct dbk_slice body, struct dbk_slice key)
{
    struct dbk_json_quotes quotes;
    size_t begin = 0;
    bool within = false;
    dbk_json_quotes_mark(&quotes, body);
    if (!quotes.plain && memchr(body.data, '\\', body.size) != NULL)
        return -1;
    for (size_t i = 0; i < quotes.count; i++) {
        for (uint64_t word = quotes.words[i]; word != 0; word &= word - 1) {
            size_t at = i * 64 + (size_t)__builtin_ctzll(word);
            within = !within;
            if (within) {
                begin = at + 1;
                continue;
            }
            if (at - begin != key.size ||
                !dbk_json_is_same(body.data + begin, key.data, key.size) ||
                !dbk_json_is_key(body, at + 1))
                continue;
            return quotes.plain || dbk_json_is_on_top(body, begin - 1) ? (int64_t)at + 1 : -1;
        }
    }
    return 0;
}

bool dbk_json_find(struct dbk_slice object, struct dbk_slice key, struct dbk_slice *raw_out)
{
    if (object.size == 0)
        return false;
    const char *end = object.data + object.size;
    const char *begin = behind_space(object.data, end);
    while (end > begin && (unsigned char)end[-1] <= ' ')
        end--;
    if (end - begin < 2 || *begin != '{' || end[-1] != '}')
        return false;
    struct dbk_slice body = dbk_slice(begin + 1, (size_t)(end - begin) - 2);
    int64_t place = body.size <= DBK_JSON_QUOTES_MAX ? find_key(body, key) : -1;
    if (place < 0)
        return walk(dbk_slice(begin, (size_t)(end - begin)), key, raw_out);
    return place > 0 && take_value(body.data + place, end, raw_out);
}

bool dbk_json_find_text(struct dbk_slice object, const char *key, char *room, size_t room_size,
                        struct dbk_slice *text_out)
{
    struct dbk_slice raw;
    if (!dbk_json_find(object, dbk_slice_of(key), &raw) || raw.data[0] != '"')
        return false;
    *text_out = dbk_slice(raw.data + 1, raw.size - 2);
    return memchr(text_out->data, '\\', text_out->size) == NULL ||
           dbk_json_unescape(*text_out, room, room_size, text_out);
}
