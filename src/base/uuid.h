/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uuid -- 16-byte identifiers and their text.
 *
 * New events get version 7 (sorted by time, so that their index stays compact); ids derived from a
 * name get version 8 from a SHA-256, so that the same name always gives the same id.
 *
 * Threads: pure functions.
 * Source:  RFC 9562, sections 4, 5.7 and 5.8.
 */
#ifndef DBK_BASE_UUID_H
#define DBK_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define DBK_UUID_SIZE 16
/* "0189dcd5-5311-7d40-8db0-9496a2eef37b" and its NUL. */
#define DBK_UUID_TEXT_SIZE 37

struct dbk_uuid {
    uint8_t bytes[DBK_UUID_SIZE]; /* in network order; all zero means none */
};

/* A version 7 id of an instant (microseconds since 1970, not negative) and ten random bytes. */
struct dbk_uuid dbk_uuid_v7(int64_t time_us, const uint8_t random[10]);

/*
 * The id of a name made of parts; each part's size is hashed too, so ("a","bc") is not ("ab","c").
 */
struct dbk_uuid dbk_uuid_derive(const struct dbk_slice *parts, size_t count);

void dbk_uuid_format(const struct dbk_uuid *uuid, char text_out[DBK_UUID_TEXT_SIZE]);
/* Reads the 36-character form in either case; false when it is none. */
bool dbk_uuid_parse(struct dbk_slice text, struct dbk_uuid *uuid_out);

static inline bool dbk_uuid_equal(const struct dbk_uuid *a, const struct dbk_uuid *b)
{
    return memcmp(a->bytes, b->bytes, DBK_UUID_SIZE) == 0;
}

static inline bool dbk_uuid_is_none(const struct dbk_uuid *uuid)
{
    static const struct dbk_uuid none;
    return dbk_uuid_equal(uuid, &none);
}

#endif
