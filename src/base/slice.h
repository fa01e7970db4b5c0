/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slice -- bytes somebody else owns: a pointer and a size that travel together.
 *
 * Bytes inside the engine are slices, never NUL-terminated strings. Each function that hands one
 * out says until when it is valid. Printing one: printf("%.*s", DBK_SLICE_ARGS(slice)).
 *
 * Threads: pure functions.
 */
#ifndef DBK_BASE_SLICE_H
#define DBK_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct dbk_slice {
    const char *data; /* NULL only when size is 0 */
    size_t size;      /* bytes */
};

#define DBK_SLICE_LITERAL(text) ((struct dbk_slice){.data = (text), .size = sizeof(text) - 1})
#define DBK_SLICE_ARGS(slice) (int)(slice).size, (slice).data

static inline struct dbk_slice dbk_slice(const void *data, size_t size)
{
    return (struct dbk_slice){.data = data, .size = size};
}

/* Borrows text up to its NUL; an empty slice for NULL. */
static inline struct dbk_slice dbk_slice_of(const char *text)
{
    return (struct dbk_slice){.data = text, .size = text == NULL ? 0 : strlen(text)};
}

static inline bool dbk_slice_equal(struct dbk_slice a, struct dbk_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool dbk_slice_equal_text(struct dbk_slice a, const char *text)
{
    return dbk_slice_equal(a, dbk_slice_of(text));
}

static inline bool dbk_slice_starts_with(struct dbk_slice a, struct dbk_slice prefix)
{
    return a.size >= prefix.size &&
           (prefix.size == 0 || memcmp(a.data, prefix.data, prefix.size) == 0);
}

/* Byte order, shorter first among equals; <0, 0, >0. */
int dbk_slice_compare(struct dbk_slice a, struct dbk_slice b);

/* True for well-formed UTF-8 (RFC 3629: no surrogates, nothing past U+10FFFF, shortest form). */
bool dbk_slice_is_utf8(struct dbk_slice text);

/* Room for any 64-bit integer in decimal, with its sign; there is no NUL. */
#define DBK_INTEGER_TEXT_SIZE 20
/* Writes it in decimal and returns the size. */
size_t dbk_u64_format(uint64_t value, char text_out[DBK_INTEGER_TEXT_SIZE]);

/*
 * Reads a whole decimal integer, with an optional '-' where the range allows it: no spaces, no '+',
 * nothing behind it. False when it is none or does not fit; the output is then left alone.
 */
bool dbk_slice_to_u64(struct dbk_slice text, uint64_t *value_out);
bool dbk_slice_to_i64(struct dbk_slice text, int64_t *value_out);

#endif
