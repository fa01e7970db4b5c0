/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static struct dbk_allocator heap = {.allocate = malloc, .reallocate = realloc, .release = free};

void dbk_set_allocator(const struct dbk_allocator *allocator)
{
    heap = *allocator;
}

void *dbk_alloc(size_t size)
{
    return heap.allocate(size == 0 ? 1 : size);
}

void *dbk_alloc_zero(size_t count, size_t size)
{
    size_t total = 0;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *memory = dbk_alloc(total);
    if (memory != NULL)
        memset(memory, 0, total);
    return memory;
}

void *dbk_realloc(void *memory, size_t size)
{
    return heap.reallocate(memory, size == 0 ? 1 : size);
}

void dbk_free(void *memory)
{
    if (memory != NULL)
        heap.release(memory);
}

char *dbk_copy_text(struct dbk_slice text)
{
    char *copy = dbk_alloc(text.size + 1);
    if (copy == NULL)
        return NULL;
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return copy;
}

void dbk_buf_init(struct dbk_buf *buf, size_t size_max)
{
    *buf = (struct dbk_buf){.size_max = size_max};
}

void dbk_buf_release(struct dbk_buf *buf)
{
    dbk_free(buf->data);
    *buf = (struct dbk_buf){.size_max = buf->size_max};
}

void dbk_buf_reset(struct dbk_buf *buf)
{
    buf->size = 0;
    buf->rc = DBK_OK;
}

int dbk_buf_reserve(struct dbk_buf *buf, size_t size)
{
    if (buf->rc < 0)
        return buf->rc;
    if (size > buf->size_max - buf->size)
        return buf->rc = DBK_ELIMIT;
    size_t needed = buf->size + size;
    if (needed <= buf->capacity)
        return DBK_OK;
    size_t capacity = buf->capacity < 256 ? 256 : buf->capacity;
    while (capacity < needed)
        capacity = capacity > buf->size_max / 2 ? buf->size_max : capacity * 2;
    char *data = dbk_realloc(buf->data, capacity);
    if (data == NULL)
        return buf->rc = DBK_ENOMEM;
    buf->data = data;
    buf->capacity = capacity;
    return DBK_OK;
}

static inline bool has_room(const struct dbk_buf *buf, size_t size)
{
    size_t end = buf->capacity < buf->size_max ? buf->capacity : buf->size_max;
    return buf->rc >= 0 && buf->size <= end && size <= end - buf->size;
}

void dbk_buf_append(struct dbk_buf *buf, struct dbk_slice bytes)
{
    if (bytes.size == 0 || (!has_room(buf, bytes.size) && dbk_buf_reserve(buf, bytes.size) < 0))
        return;
    memcpy(buf->data + buf->size, bytes.data, bytes.size);
    buf->size += bytes.size;
}

void dbk_buf_append_text(struct dbk_buf *buf, const char *text)
{
    dbk_buf_append(buf, dbk_slice_of(text));
}

void dbk_buf_append_char(struct dbk_buf *buf, char byte)
{
    if (has_room(buf, 1) || dbk_buf_reserve(buf, 1) == DBK_OK)
        buf->data[buf->size++] = byte;
}

void dbk_buf_append_format(struct dbk_buf *buf, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    /* One more byte for the NUL that vsnprintf insists on. */
    if (size >= 0 && dbk_buf_reserve(buf, (size_t)size + 1) == DBK_OK) {
        (void)vsnprintf(buf->data + buf->size, (size_t)size + 1, format, again);
        buf->size += (size_t)size;
    }
    va_end(again);
}

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_BLOCK_SIZE 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_BLOCK_SIZE 0
#endif
#endif
#ifndef ARENA_BLOCK_SIZE
#define ARENA_BLOCK_SIZE ((size_t)16 * 1024)
#endif

#define ARENA_ALIGNMENT _Alignof(max_align_t)

struct dbk_arena_block {
    struct dbk_arena_block *next;
    size_t used;
    size_t capacity;
    _Alignas(max_align_t) char data[];
};

void dbk_arena_init(struct dbk_arena *arena, size_t size_max)
{
    *arena = (struct dbk_arena){.size_max = size_max};
}

void dbk_arena_release(struct dbk_arena *arena)
{
    struct dbk_arena_block *block = arena->blocks;
    while (block != NULL) {
        struct dbk_arena_block *next = block->next;
        dbk_free(block);
        block = next;
    }
    *arena = (struct dbk_arena){.size_max = arena->size_max};
}

/* Keeps the newest block of ordinary size; a request that needed more does not hold it for ever. */
void dbk_arena_reset(struct dbk_arena *arena)
{
    struct dbk_arena_block *kept = NULL;
    struct dbk_arena_block *block = arena->blocks;
    while (block != NULL) {
        struct dbk_arena_block *next = block->next;
        if (kept == NULL && ARENA_BLOCK_SIZE > 0 && block->capacity == ARENA_BLOCK_SIZE) {
            kept = block;
            kept->used = 0;
            kept->next = NULL;
        } else {
            dbk_free(block);
        }
        block = next;
    }
    arena->blocks = kept;
    arena->used = 0;
}

void *dbk_arena_alloc(struct dbk_arena *arena, size_t size)
{
    if (size > SIZE_MAX - ARENA_ALIGNMENT - sizeof(struct dbk_arena_block))
        return NULL;
    size_t rounded = (size + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
    if (rounded > arena->size_max - arena->used)
        return NULL;
    struct dbk_arena_block *block = arena->blocks;
    if (block == NULL || block->capacity - block->used < rounded) {
        size_t capacity = rounded > ARENA_BLOCK_SIZE ? rounded : ARENA_BLOCK_SIZE;
        block = dbk_alloc(sizeof(*block) + capacity);
        if (block == NULL)
            return NULL;
        *block = (struct dbk_arena_block){.next = arena->blocks, .capacity = capacity};
        arena->blocks = block;
    }
    void *memory = block->data + block->used;
    block->used += rounded;
    arena->used += rounded;
    return memory;
}

void *dbk_arena_alloc_zero(struct dbk_arena *arena, size_t count, size_t size)
{
    size_t total = 0;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *memory = dbk_arena_alloc(arena, total);
    if (memory != NULL)
        memset(memory, 0, total);
    return memory;
}

struct dbk_slice dbk_arena_copy(struct dbk_arena *arena, struct dbk_slice bytes)
{
    char *copy = bytes.size == SIZE_MAX ? NULL : dbk_arena_alloc(arena, bytes.size + 1);
    if (copy == NULL)
        return dbk_slice(NULL, 0);
    if (bytes.size > 0)
        memcpy(copy, bytes.data, bytes.size);
    copy[bytes.size] = '\0';
    return dbk_slice(copy, bytes.size);
}

char *dbk_arena_format(struct dbk_arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    va_list again;
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = size < 0 ? NULL : dbk_arena_alloc(arena, (size_t)size + 1);
    if (text != NULL)
        (void)vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    return text;
}
