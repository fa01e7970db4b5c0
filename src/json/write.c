/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD sizeof(uint64_t)
#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Whether eight bytes may be written as they are; false also of some that may. */
static inline bool is_plain(const char *at)
{
    uint64_t word;
    memcpy(&word, at, WORD);
    uint64_t quote = word ^ EACH('"');
    uint64_t backslash = word ^ EACH('\\');
    uint64_t found = ((word - EACH(0x20)) & ~word) | ((quote - EACH(1)) & ~quote) |
                     ((backslash - EACH(1)) & ~backslash);
    return (found & EACH(0x80)) == 0;
}

void dbk_json_write_string(struct dbk_buf *out, struct dbk_slice text)
{
    static const char hex[] = "0123456789abcdef";
    size_t written = 0;
    dbk_buf_append_char(out, '"');
    for (size_t i = 0; i < text.size; i++) {
        while (text.size - i > WORD && is_plain(text.data + i))
            i += WORD;
        unsigned char byte = (unsigned char)text.data[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        dbk_buf_append(out, dbk_slice(text.data + written, i - written));
        written = i + 1;
        const char *escape = NULL;
        switch (byte) {
        case '"':
            escape = "\\\"";
            break;
        case '\\':
            escape = "\\\\";
            break;
        case '\n':
            escape = "\\n";
            break;
        case '\r':
            escape = "\\r";
            break;
        case '\t':
            escape = "\\t";
            break;
        default:
            break;
        }
        const char unicode[] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 0x0F]};
        dbk_buf_append(out,
                       escape != NULL ? dbk_slice_of(escape) : dbk_slice(unicode, sizeof(unicode)));
    }
    if (text.size > written)
        dbk_buf_append(out, dbk_slice(text.data + written, text.size - written));
    dbk_buf_append_char(out, '"');
}

void dbk_json_write_integer(struct dbk_buf *out, int64_t value)
{
    if (value < 0)
        dbk_buf_append_char(out, '-');
    dbk_json_write_u64(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void dbk_json_write_u64(struct dbk_buf *out, uint64_t value)
{
    char text[DBK_INTEGER_TEXT_SIZE];
    size_t size = dbk_u64_format(value, text);
    dbk_buf_append(out, dbk_slice(text, size));
}

void dbk_json_write_decimal(struct dbk_buf *out, struct dbk_decimal value)
{
    char text[DBK_DECIMAL_TEXT_SIZE];
    size_t size = dbk_decimal_format(value, text);
    dbk_buf_append(out, dbk_slice(text, size));
}

void dbk_json_write_double(struct dbk_buf *out, double value)
{
    char text[40];
    if (!isfinite(value)) {
        dbk_buf_append_text(out, "null");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, value);
        double back = strtod(text, NULL);
        if (memcmp(&back, &value, sizeof(back)) == 0)
            break;
    }
    dbk_buf_append_text(out, text);
}

void dbk_json_write_key(struct dbk_buf *out, bool *first, const char *key)
{
    if (!*first)
        dbk_buf_append_char(out, ',');
    *first = false;
    dbk_json_write_string(out, dbk_slice_of(key));
    dbk_buf_append_char(out, ':');
}

void dbk_json_write_node(struct dbk_buf *out, const struct dbk_json_node *node)
{
    switch (node->kind) {
    case DBK_JSON_NULL:
        dbk_buf_append_text(out, "null");
        break;
    case DBK_JSON_FALSE:
        dbk_buf_append_text(out, "false");
        break;
    case DBK_JSON_TRUE:
        dbk_buf_append_text(out, "true");
        break;
    case DBK_JSON_INTEGER:
        dbk_json_write_integer(out, node->integer);
        break;
    case DBK_JSON_DECIMAL:
        dbk_buf_append(out, node->raw);
        break;
    case DBK_JSON_STRING:
        dbk_json_write_string(out, node->text);
        break;
    case DBK_JSON_ARRAY:
    case DBK_JSON_OBJECT: {
        bool object = node->kind == DBK_JSON_OBJECT;
        const struct dbk_json_node *child = dbk_json_first(node);
        dbk_buf_append_char(out, object ? '{' : '[');
        for (uint32_t i = 0; i < node->count; i++) {
            if (i > 0)
                dbk_buf_append_char(out, ',');
            if (object) {
                dbk_json_write_string(out, child->key);
                dbk_buf_append_char(out, ':');
            }
            dbk_json_write_node(out, child);
            child = dbk_json_sibling(child);
        }
        dbk_buf_append_char(out, object ? '}' : ']');
        break;
    }
    }
}
