/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text.h"

#include <stdint.h>

struct range {
    uint32_t first;
    uint32_t last;
};

static const struct range narrow_none[] = {
    {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd},   {0x0610, 0x061a}, {0x064b, 0x065f},
    {0x200b, 0x200f}, {0x202a, 0x202e}, {0x2060, 0x2064},   {0x20d0, 0x20f0}, {0xfe00, 0xfe0f},
    {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}, {0xe0100, 0xe01ef},
};

static const struct range wide[] = {
    {0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},   {0xac00, 0xd7a3},
    {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},
    {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1faff}, {0x20000, 0x3fffd},
};

static bool within(const struct range *ranges, size_t count, uint32_t character)
{
    for (size_t i = 0; i < count; i++)
        if (character >= ranges[i].first && character <= ranges[i].last)
            return true;
    return false;
}

/* The character at the start of a text that is not empty, and its bytes; a broken one is itself. */
static uint32_t decode(struct dbk_slice text, size_t *size_out)
{
    const unsigned char *bytes = (const unsigned char *)text.data;
    size_t size = bytes[0] < 0xc0 ? 1 : bytes[0] < 0xe0 ? 2 : bytes[0] < 0xf0 ? 3 : 4;
    uint32_t character = size == 1 ? bytes[0] : bytes[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if (i >= text.size || (bytes[i] & 0xc0) != 0x80) {
            *size_out = 1;
            return bytes[0];
        }
        character = character << 6 | (bytes[i] & 0x3fu);
    }
    *size_out = size;
    return character;
}

static size_t width_of(uint32_t character)
{
    if (character < 0x300)
        return 1;
    if (within(narrow_none, sizeof(narrow_none) / sizeof(narrow_none[0]), character))
        return 0;
    return within(wide, sizeof(wide) / sizeof(wide[0]), character) ? 2 : 1;
}

size_t dbk_text_width(struct dbk_slice text)
{
    size_t width = 0;
    for (size_t at = 0, size = 0; at < text.size; at += size)
        width += width_of(decode(dbk_slice(text.data + at, text.size - at), &size));
    return width;
}

struct dbk_slice dbk_text_cut(struct dbk_slice text, size_t width_max)
{
    size_t width = 0;
    size_t at = 0;
    while (at < text.size) {
        size_t size = 0;
        width += width_of(decode(dbk_slice(text.data + at, text.size - at), &size));
        if (width > width_max)
            break;
        at += size;
    }
    return dbk_slice(text.data, at);
}

void dbk_text_write_visible(struct dbk_buf *out, struct dbk_slice text)
{
    size_t clean = 0;
    for (size_t at = 0; at < text.size; at++) {
        unsigned char byte = (unsigned char)text.data[at];
        /* C1 controls are 0xc2 0x80 to 0xc2 0x9f in UTF-8. */
        bool c1 = byte == 0xc2 && at + 1 < text.size && (unsigned char)text.data[at + 1] < 0xa0;
        if (byte >= 0x20 && byte != 0x7f && !c1)
            continue;
        dbk_buf_append(out, dbk_slice(text.data + clean, at - clean));
        if (byte == '\n')
            dbk_buf_append_text(out, "\\n");
        else if (byte == '\t')
            dbk_buf_append_text(out, "\\t");
        else if (byte == '\r')
            dbk_buf_append_text(out, "\\r");
        else
            dbk_buf_append_format(out, "\\x%02x", c1 ? (unsigned char)text.data[++at] : byte);
        clean = at + 1;
    }
    dbk_buf_append(out, dbk_slice(text.data + clean, text.size - clean));
}
