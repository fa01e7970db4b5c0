/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format -- the small pieces of a run's bytes: varints and filter lines.
 *
 * Threads: pure functions.
 * Source:  docs/format/index.md; LEB128.
 */
#ifndef DBK_INDEX_FORMAT_H
#define DBK_INDEX_FORMAT_H

#include "base/bytes.h"
#include "index/run.h"

#define DBK_RUN_MAGIC "DBKINDEX"
#define DBK_VARINT_SIZE_MAX 10

static inline size_t dbk_varint_encode(uint64_t value, char *out)
{
    size_t size = 0;
    for (; value >= 0x80; value >>= 7)
        out[size++] = (char)((value & 0x7f) | 0x80);
    out[size++] = (char)value;
    return size;
}

/* False when the bytes end within it or it does not fit 64 bits. */
static inline bool dbk_varint_decode(const char **at, const char *end, uint64_t *value_out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && *at < end; shift += 7) {
        uint64_t byte = (uint8_t) * (*at)++;
        if (shift == 63 && byte > 1)
            return false;
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value_out = value;
            return true;
        }
    }
    return false;
}

/* Offset of a key's line in a filter. */
static inline uint64_t dbk_run_line_of(struct dbk_hash128 key, uint64_t lines)
{
    return (key.high >> 8) % lines * DBK_RUN_LINE_SIZE;
}

/* Seven bits of a line's 512, nine bits of the hash each. */
static inline bool dbk_run_line_has(const char *line, struct dbk_hash128 key)
{
    for (unsigned shift = 0; shift < 63; shift += 9) {
        unsigned bit = (unsigned)(key.low >> shift) & 511;
        if ((((uint8_t)line[bit / 8] >> (bit % 8)) & 1) == 0)
            return false;
    }
    return true;
}

static inline void dbk_run_line_add(char *line, struct dbk_hash128 key)
{
    for (unsigned shift = 0; shift < 63; shift += 9) {
        unsigned bit = (unsigned)(key.low >> shift) & 511;
        line[bit / 8] = (char)((uint8_t)line[bit / 8] | (1u << (bit % 8)));
    }
}

#endif
