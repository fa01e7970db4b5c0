/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chunk -- the newest events' postings in memory: a hash table of keys, each with a chain.
 *
 * Postings lie in the order they were added, so that the newest can be taken out again. A chunk
 * holds at most its capacity of events; memory is touched as it fills.
 *
 * Threads: one at a time for changes; look-ups while nothing changes.
 */
#ifndef DBK_INDEX_CHUNK_H
#define DBK_INDEX_CHUNK_H

#include "index/run.h"

#define DBK_CHUNK_KEYS 4
/* Further keys that one event can have: a tag takes two bytes of its 65,535 at least. */
#define DBK_CHUNK_FURTHER_MAX 32768
#define DBK_CHUNK_NONE UINT32_MAX

struct dbk_chunk_slot {
    struct dbk_hash128 key;
    uint32_t first; /* posting, DBK_CHUNK_NONE: the key has none */
    uint32_t last;
};

struct dbk_chunk_posting {
    uint64_t rank;
    uint32_t event; /* position - chunk's first */
    uint32_t slot;
    uint32_t before; /* the same key's posting before and behind this one */
    uint32_t behind;
};

struct dbk_chunk {
    uint64_t first;
    uint32_t count; /* events */
    uint32_t capacity;
    uint32_t posting_count;
    uint32_t posting_room; /* keys of so many events with four further ones, and one more event */
    bool full;             /* another one has been begun behind it */
    uint32_t table_size;   /* a power of two */
    uint32_t slot_count;
    uint64_t streams; /* that begin here */
    struct dbk_log_place *places;
    int64_t *times;
    int64_t *occurred;
    uint32_t *begins; /* each event's first posting */
    uint32_t *table;  /* slot + 1; 0: free */
    struct dbk_chunk_slot *slots;
    struct dbk_chunk_posting *postings; /* DBK_CHUNK_KEYS and the further ones an event */
};

/* An empty one; `first` is set before it is used. NULL when out of memory. */
struct dbk_chunk *dbk_chunk_create(uint32_t capacity) DBK_MUST_CHECK;
void dbk_chunk_free(struct dbk_chunk *chunk);

static inline uint64_t dbk_chunk_last(const struct dbk_chunk *chunk)
{
    return chunk->first + chunk->count - 1;
}

static inline bool dbk_chunk_is_full(const struct dbk_chunk *chunk)
{
    return chunk->full || chunk->count == chunk->capacity;
}

/* further: its keys beside those that each event has. */
bool dbk_chunk_has_room(const struct dbk_chunk *chunk, size_t further);
/* keys: of stream, category, type and id, in this order. There must be room. */
void dbk_chunk_add(struct dbk_chunk *chunk, const struct dbk_event *event,
                   struct dbk_log_place place, const struct dbk_hash128 keys[DBK_CHUNK_KEYS]);
/* A further key of the event just added: a tag, or its correlation. */
void dbk_chunk_add_key(struct dbk_chunk *chunk, struct dbk_hash128 key);
/* Forgets the events from a position on. */
void dbk_chunk_cut(struct dbk_chunk *chunk, uint64_t position);
/* As dbk_run_find, but leaves out positions up to `covered`, which runs answer for. */
void dbk_chunk_find(const struct dbk_chunk *chunk, uint64_t covered, struct dbk_hash128 key,
                    const struct dbk_index_range *range, struct dbk_posting *postings, size_t max,
                    size_t *count);
/* Streams that begin behind a position. */
uint64_t dbk_chunk_streams_behind(const struct dbk_chunk *chunk, uint64_t covered);
/* Writes the chunk as a run. */
int dbk_chunk_write(const struct dbk_chunk *chunk, struct dbk_run_writer *writer,
                    struct dbk_error *err) DBK_MUST_CHECK;

#endif
