/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void dbk_base64_encode(struct dbk_slice bytes, struct dbk_buf *out)
{
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t group = (uint32_t)(uint8_t)bytes.data[i] << 16;
        group |= left > 1 ? (uint32_t)(uint8_t)bytes.data[i + 1] << 8 : 0;
        group |= left > 2 ? (uint32_t)(uint8_t)bytes.data[i + 2] : 0;
        dbk_buf_append_char(out, digits[group >> 18]);
        dbk_buf_append_char(out, digits[group >> 12 & 63]);
        dbk_buf_append_char(out, left > 1 ? digits[group >> 6 & 63] : '=');
        dbk_buf_append_char(out, left > 2 ? digits[group & 63] : '=');
    }
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool dbk_base64_decode(struct dbk_slice text, void *bytes_out, size_t *size_out)
{
    char *bytes = bytes_out;
    size_t size = 0;
    if (text.size % 4 != 0)
        return false;
    for (size_t i = 0; i < text.size; i += 4) {
        bool last = i + 4 == text.size;
        size_t pad = last && text.data[i + 3] == '=' ? text.data[i + 2] == '=' ? 2 : 1 : 0;
        uint32_t group = 0;
        for (size_t j = 0; j < 4 - pad; j++) {
            int value = value_of(text.data[i + j]);
            if (value < 0)
                return false;
            group |= (uint32_t)value << (18 - 6 * j);
        }
        /* Bits that no byte takes are zero. */
        if ((group & ((UINT32_C(1) << 8 * pad) - 1)) != 0)
            return false;
        for (size_t j = 0; j < 3 - pad; j++)
            bytes[size++] = (char)(group >> (16 - 8 * j) & 255);
    }
    *size_out = size;
    return true;
}
