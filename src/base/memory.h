/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory -- the heap behind one hook, arenas that are cleared whole, and the one growing buffer.
 *
 * Every allocation goes through dbk_alloc, so that an embedder can bring a heap of its own and a
 * test can make the n-th allocation fail. None of them aborts: NULL means out of memory.
 *
 * Threads: dbk_set_allocator once, before anything else; dbk_alloc, dbk_realloc and dbk_free from
 * any thread; an arena and a buffer belong to one thread at a time.
 */
#ifndef DBK_BASE_MEMORY_H
#define DBK_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

struct dbk_allocator {
    void *(*allocate)(size_t size);
    void *(*reallocate)(void *memory, size_t size);
    void (*release)(void *memory);
};

/* Replaces malloc, realloc and free. Call it before any other function, or not at all. */
void dbk_set_allocator(const struct dbk_allocator *allocator);

/* Memory with room for size bytes (size 0 counts as 1); owned by the caller, ends with dbk_free. */
void *dbk_alloc(size_t size) DBK_MUST_CHECK;
/* The same, count times size bytes, checked for overflow and zeroed. */
void *dbk_alloc_zero(size_t count, size_t size) DBK_MUST_CHECK;
void *dbk_realloc(void *memory, size_t size) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_free(void *memory);
/* A NUL-terminated copy, owned by the caller; NULL when out of memory. */
char *dbk_copy_text(struct dbk_slice text) DBK_MUST_CHECK;

/*
 * A growing buffer, born with its ceiling. An append that fails (no memory: DBK_ENOMEM; past the
 * ceiling: DBK_ELIMIT) marks the buffer, and every later append does nothing, so that many appends
 * need one check of `rc` at the end.
 */
struct dbk_buf {
    char *data;      /* `size` bytes; valid until the next append or release */
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t size_max; /* the ceiling */
    int rc;          /* DBK_OK, or why an append failed */
};

void dbk_buf_init(struct dbk_buf *buf, size_t size_max);
void dbk_buf_release(struct dbk_buf *buf);
/* Empty again, keeps its memory and ceiling, forgets the failure. */
void dbk_buf_reset(struct dbk_buf *buf);
/* Room for size more bytes, so that appends within it cannot fail. */
int dbk_buf_reserve(struct dbk_buf *buf, size_t size) DBK_MUST_CHECK;
void dbk_buf_append(struct dbk_buf *buf, struct dbk_slice bytes);
void dbk_buf_append_text(struct dbk_buf *buf, const char *text);
void dbk_buf_append_char(struct dbk_buf *buf, char byte);
void dbk_buf_append_format(struct dbk_buf *buf, const char *format, ...) DBK_PRINTF(2, 3);
static inline struct dbk_slice dbk_buf_slice(const struct dbk_buf *buf)
{
    return dbk_slice(buf->data, buf->size);
}

/*
 * An arena: allocations that end together. Blocks are kept by reset for the next request. Under
 * ASan each allocation is a heap block of its own, so that overruns are seen.
 */
struct dbk_arena {
    struct dbk_arena_block *blocks; /* newest first */
    size_t used;                    /* bytes handed out since the last reset */
    size_t size_max;                /* the ceiling for `used` */
};

void dbk_arena_init(struct dbk_arena *arena, size_t size_max);
void dbk_arena_release(struct dbk_arena *arena);
void dbk_arena_reset(struct dbk_arena *arena);
/* Aligned for any type, not zeroed, in the arena; NULL when out of memory or past the ceiling. */
void *dbk_arena_alloc(struct dbk_arena *arena, size_t size) DBK_MUST_CHECK;
void *dbk_arena_alloc_zero(struct dbk_arena *arena, size_t count, size_t size) DBK_MUST_CHECK;
/* A copy with a NUL behind it, in the arena; data is NULL when there was no memory. */
struct dbk_slice dbk_arena_copy(struct dbk_arena *arena, struct dbk_slice bytes) DBK_MUST_CHECK;
char *dbk_arena_format(struct dbk_arena *arena, const char *format, ...) DBK_MUST_CHECK
    DBK_PRINTF(2, 3);

#endif
