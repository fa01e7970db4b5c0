/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes -- little-endian integers, field by field, at any alignment.
 *
 * Everything on disk is written through these, never by copying a struct.
 *
 * Threads: pure functions.
 */
#ifndef DBK_BASE_BYTES_H
#define DBK_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Daybook's files are little-endian and so far its machines must be, too"
#endif

static inline void dbk_put_u16(void *at, uint16_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline void dbk_put_u32(void *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline void dbk_put_u64(void *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline void dbk_put_i64(void *at, int64_t value)
{
    memcpy(at, &value, sizeof(value));
}

static inline uint16_t dbk_get_u16(const void *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint32_t dbk_get_u32(const void *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint64_t dbk_get_u64(const void *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static inline int64_t dbk_get_i64(const void *at)
{
    int64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

#endif
