/* SPDX-License-Identifier: Apache-2.0 */
/* A member's text without a parser: one walk over the object, strings jumped over whole. */
#include <string.h>

#include "json/json.h"

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

/* Undoes the escapes of what stands between two quotes; false: it does not fit, or is no JSON. */
static bool unescape(struct dbk_slice raw, char *room, size_t room_size, struct dbk_slice *text_out)
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

static bool is_key(struct dbk_slice raw, bool escaped, struct dbk_slice key)
{
    char room[DBK_JSON_FIND_KEY_MAX];
    return (!escaped || unescape(raw, room, sizeof(room), &raw)) && dbk_slice_equal(raw, key);
}

bool dbk_json_find_text(struct dbk_slice object, const char *key, char *room, size_t room_size,
                        struct dbk_slice *text_out)
{
    struct dbk_slice wanted = dbk_slice_of(key);
    unsigned depth = 0;
    bool escaped = false;
    if (object.size == 0 || (memmem(object.data, object.size, wanted.data, wanted.size) == NULL &&
                             memchr(object.data, '\\', object.size) == NULL))
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
        if (depth != 1 || colon == end || *colon != ':' ||
            !is_key(dbk_slice(begin, (size_t)(at - 1 - begin)), escaped, wanted))
            continue;
        const char *value = behind_space(colon + 1, end);
        at = value == end || *value != '"' ? NULL : behind_string(value, end, &escaped);
        if (at == NULL)
            return false;
        *text_out = dbk_slice(value + 1, (size_t)(at - 1 - (value + 1)));
        return !escaped || unescape(*text_out, room, room_size, text_out);
    }
    return false;
}
