/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify/verify.h"

void *dbk_room(void *old, size_t count, size_t size)
{
    void *room = count > SIZE_MAX / size ? NULL : realloc(old, count * size);
    if (room == NULL) {
        (void)fputs("daybook-verify: out of memory\n", stderr);
        exit(2);
    }
    return room;
}

struct dbk_bytes dbk_part(struct dbk_bytes bytes, size_t offset, size_t size)
{
    if (offset > bytes.size || size > bytes.size - offset)
        return (struct dbk_bytes){0};
    return (struct dbk_bytes){bytes.data + offset, size};
}

uint64_t dbk_number(const uint8_t *at, unsigned size)
{
    uint64_t number = 0;
    for (unsigned i = size; i-- > 0;)
        number = number << 8 | at[i];
    return number;
}

bool dbk_is_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* CRC-32C, eight bytes at a time by tables. */
uint32_t dbk_crc(uint32_t seed, const uint8_t *bytes, size_t size)
{
    static uint32_t tables[8][256];
    if (tables[0][1] == 0) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t crc = i;
            for (int bit = 0; bit < 8; bit++)
                crc = crc >> 1 ^ ((crc & 1) != 0 ? UINT32_C(0x82F63B78) : 0);
            tables[0][i] = crc;
        }
        for (unsigned t = 1; t < 8; t++)
            for (uint32_t i = 0; i < 256; i++)
                tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 255];
    }
    uint32_t crc = ~seed;
    for (; size >= 8; size -= 8, bytes += 8) {
        uint64_t word = dbk_number(bytes, 8) ^ crc;
        crc = 0;
        for (unsigned i = 0; i < 8; i++)
            crc ^= tables[7 - i][word >> (8 * i) & 255];
    }
    for (; size > 0; size--, bytes++)
        crc = crc >> 8 ^ tables[0][(crc ^ *bytes) & 255];
    return ~crc;
}

struct dbk_hash dbk_sha256(struct dbk_bytes bytes)
{
    struct dbk_hash hash;
    (void)SHA256(bytes.data, bytes.size, hash.bytes);
    return hash;
}

long dbk_base64(struct dbk_bytes text, uint8_t *bytes_out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t size = 0;
    if (text.size % 4 != 0)
        return -1;
    for (size_t i = 0; i < text.size; i += 4) {
        uint32_t group = 0;
        unsigned pad = 0;
        if (i + 4 == text.size && text.data[i + 3] == '=')
            pad = text.data[i + 2] == '=' ? 2 : 1;
        for (unsigned j = 0; j < 4 - pad; j++) {
            const char *digit = memchr(digits, text.data[i + j], 64);
            if (digit == NULL)
                return -1;
            group |= (uint32_t)(digit - digits) << (18 - 6 * j);
        }
        if ((group & ((UINT32_C(1) << 8 * pad) - 1)) != 0)
            return -1;
        for (unsigned j = 0; j < 3 - pad; j++)
            bytes_out[size++] = (uint8_t)(group >> (16 - 8 * j));
    }
    return (long)size;
}

bool dbk_line(struct dbk_bytes *text, struct dbk_bytes *line_out)
{
    const uint8_t *end = text->size == 0 ? NULL : memchr(text->data, '\n', text->size);
    if (end == NULL)
        return false;
    *line_out = dbk_part(*text, 0, (size_t)(end - text->data));
    *text = dbk_part(*text, line_out->size + 1, text->size - line_out->size - 1);
    return true;
}

bool dbk_decimal(struct dbk_bytes text, uint64_t *number_out)
{
    uint64_t number = 0;
    if (text.size == 0 || (text.data[0] == '0' && text.size > 1))
        return false;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';
        if (digit > 9 || number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *number_out = number;
    return true;
}
