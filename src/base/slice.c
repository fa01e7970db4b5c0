/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slice.h"

int dbk_slice_compare(struct dbk_slice a, struct dbk_slice b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter == 0 ? 0 : memcmp(a.data, b.data, shorter);
    if (order != 0)
        return order;
    return (a.size > b.size) - (a.size < b.size);
}

/* Size of the well-formed character at text[0], 0 when there is none. RFC 3629, section 4. */
static size_t character_size(const unsigned char *text, size_t left)
{
    unsigned char lead = text[0];
    if (lead < 0x80)
        return 1;
    size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || left < size)
        return 0;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (lead == 0xE0)
        low = 0xA0;
    else if (lead == 0xED)
        high = 0x9F;
    else if (lead == 0xF0)
        low = 0x90;
    else if (lead == 0xF4)
        high = 0x8F;
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    }
    return size;
}

bool dbk_slice_is_utf8(struct dbk_slice text)
{
    const unsigned char *at = (const unsigned char *)text.data;
    size_t left = text.size;
    while (left > 0) {
        size_t size = character_size(at, left);
        if (size == 0)
            return false;
        at += size;
        left -= size;
    }
    return true;
}

size_t dbk_u64_format(uint64_t value, char text_out[DBK_INTEGER_TEXT_SIZE])
{
    char digits[DBK_INTEGER_TEXT_SIZE];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    memcpy(text_out, digits + at, sizeof(digits) - at);
    return sizeof(digits) - at;
}

bool dbk_slice_to_u64(struct dbk_slice text, uint64_t *value_out)
{
    uint64_t value = 0;
    if (text.size == 0)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.data[i] - '0'), &value))
            return false;
    }
    *value_out = value;
    return true;
}

bool dbk_slice_to_i64(struct dbk_slice text, int64_t *value_out)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    if (negative)
        text = dbk_slice(text.data + 1, text.size - 1);
    uint64_t magnitude = 0;
    if (!dbk_slice_to_u64(text, &magnitude) || magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return false;
    *value_out = (int64_t)(negative ? 0 - magnitude : magnitude);
    return true;
}
