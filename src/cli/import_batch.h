/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_batch -- events on their way from the mapping to the store.
 *
 * While a batch is filled, its events say where their bytes lie by offsets, because the buffer
 * moves as it grows; sealing turns them into what dbk_store_append takes.
 *
 * Threads: a batch belongs to one thread at a time.
 */
#ifndef DBK_CLI_IMPORT_BATCH_H
#define DBK_CLI_IMPORT_BATCH_H

#include "base/memory.h"
#include "store/store.h"

/* Bytes at which a batch is handed on, and the most that it may hold. */
#define DBK_IMPORT_BATCH_SIZE ((size_t)4 << 20)
#define DBK_IMPORT_BATCH_SIZE_MAX ((size_t)40 << 20)

struct dbk_import_part {
    size_t offset;
    size_t size;
};

struct dbk_import_event {
    struct dbk_import_part stream;
    struct dbk_import_part type;
    struct dbk_import_part data;
    struct dbk_import_part meta; /* size 0: none */
    struct dbk_import_part tags; /* as a JSON array, for the wire; size 0: none */
    size_t tag_first;            /* of the batch's tags */
    size_t tag_count;
    struct dbk_uuid id;
    int64_t occurred_us;
    uint16_t schema_version; /* 0: its type's newest */
};

struct dbk_import_batch {
    struct dbk_buf bytes;
    struct dbk_import_event *items;
    struct dbk_import_part *tags;
    size_t count;
    size_t capacity;
    size_t tag_count;
    size_t tag_capacity;
    uint64_t row_first; /* rows whose events these are */
    uint64_t row_last;
    struct dbk_new_event *events; /* after sealing: `count` of them, borrowing from the batch */
    struct dbk_slice *tag_slices;
};

/* The end of what a batch holds. */
struct dbk_import_place {
    size_t count;
    size_t tag_count;
    size_t size;
};

void dbk_import_batch_init(struct dbk_import_batch *batch);
void dbk_import_batch_release(struct dbk_import_batch *batch);
void dbk_import_batch_reset(struct dbk_import_batch *batch);
/* A new item at the end, zeroed; NULL when out of memory. Valid until the next. */
struct dbk_import_event *dbk_import_batch_add(struct dbk_import_batch *batch) DBK_MUST_CHECK;
int dbk_import_batch_add_tag(struct dbk_import_batch *batch,
                             struct dbk_import_part tag) DBK_MUST_CHECK;
static inline struct dbk_import_place dbk_import_batch_place(const struct dbk_import_batch *batch)
{
    return (struct dbk_import_place){
        .count = batch->count, .tag_count = batch->tag_count, .size = batch->bytes.size};
}
/* Takes back everything behind a place it was at. */
void dbk_import_batch_cut(struct dbk_import_batch *batch, const struct dbk_import_place *place);
/*
 * Moves what lies behind such a place to the end of another batch. DBK_ENOMEM: nothing was moved.
 */
int dbk_import_batch_move(struct dbk_import_batch *batch, const struct dbk_import_place *place,
                          struct dbk_import_batch *to) DBK_MUST_CHECK;
/* Fills `events`. DBK_ENOMEM. */
int dbk_import_batch_seal(struct dbk_import_batch *batch) DBK_MUST_CHECK;
static inline struct dbk_slice dbk_import_part(const struct dbk_import_batch *batch,
                                               struct dbk_import_part part)
{
    return dbk_slice(batch->bytes.data + part.offset, part.size);
}

#endif
