/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quotes -- where the quotes of an object's text are, so that its keys are found without a walk.
 *
 * Where a text has no backslash, each quote in it begins or ends a string. A string that a colon
 * follows is a key, and one of the object itself when no other object or array has begun before it.
 *
 * Threads: pure functions.
 */
#ifndef DBK_JSON_QUOTES_H
#define DBK_JSON_QUOTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

#define DBK_JSON_QUOTES_MAX ((size_t)4096) /* bytes that can be marked */

struct dbk_json_quotes {
    uint64_t words[DBK_JSON_QUOTES_MAX / 64]; /* a bit a byte */
    size_t count;
    bool plain; /* there is no backslash, no brace and no bracket */
};

/* Marks the bytes between an object's braces: at most DBK_JSON_QUOTES_MAX, with a byte before and
   one behind them. */
void dbk_json_quotes_mark(struct dbk_json_quotes *quotes, struct dbk_slice body);

/* As memcmp says; names are too short for a call to pay. */
static inline bool dbk_json_is_same(const char *a, const char *b, size_t size)
{
    uint64_t longs[4];
    uint32_t words[4];
    if (size > 2 * sizeof(longs[0]) || size < sizeof(words[0]))
        return memcmp(a, b, size) == 0;
    if (size >= sizeof(longs[0])) {
        memcpy(&longs[0], a, sizeof(longs[0]));
        memcpy(&longs[1], b, sizeof(longs[0]));
        memcpy(&longs[2], a + size - sizeof(longs[0]), sizeof(longs[0]));
        memcpy(&longs[3], b + size - sizeof(longs[0]), sizeof(longs[0]));
        return longs[0] == longs[1] && longs[2] == longs[3];
    }
    memcpy(&words[0], a, sizeof(words[0]));
    memcpy(&words[1], b, sizeof(words[0]));
    memcpy(&words[2], a + size - sizeof(words[0]), sizeof(words[0]));
    memcpy(&words[3], b + size - sizeof(words[0]), sizeof(words[0]));
    return words[0] == words[1] && words[2] == words[3];
}

static inline bool dbk_json_is_key(struct dbk_slice body, size_t end)
{
    while (end < body.size && (unsigned char)body.data[end] <= ' ')
        end++;
    return end < body.size && body.data[end] == ':';
}

/* Whether no object or array begins before the key. */
static inline bool dbk_json_is_on_top(struct dbk_slice body, size_t offset)
{
    for (size_t i = 0; i < offset; i++) {
        if (body.data[i] == '{' || body.data[i] == '[')
            return false;
    }
    return true;
}

#endif
