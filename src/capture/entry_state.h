/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry_state -- what entry.c (the batch, and how far the source is) and entry_changes.c (events of
 * changes) share.
 */
#ifndef DBK_CAPTURE_ENTRY_STATE_H
#define DBK_CAPTURE_ENTRY_STATE_H

#include "capture/entry.h"
#include "capture/images.h"
#include "capture/row.h"

/* A batch is stored when it has got so large. */
#define DBK_ENTRY_BATCH_SIZE_FULL ((size_t)4 << 20)
#define DBK_ENTRY_STATE_SIZE_MAX ((size_t)1 << 20)

struct dbk_entry {
    struct dbk_entry_options options;
    const struct dbk_source *source;
    struct dbk_arena arena; /* of the entry */
    struct dbk_arena batch; /* of what was gathered */
    struct dbk_images *images;
    struct dbk_json *json;
    struct dbk_rows_writer *rows;
    struct dbk_slice progress; /* the stream, and its version */
    struct dbk_slice prefix;   /* of the service's categories */
    uint64_t version;
    struct dbk_buf state; /* the source's, as it is stored */
    struct dbk_buf data;  /* of the event Captured */
    bool resnapshot;
    bool ruled; /* the stream has its rule */

    struct dbk_new_event *events;
    size_t count;
    size_t capacity; /* without the event Captured */
    bool ended;      /* transactions have ended since the last batch */

    /* The transaction under way. */
    bool begun;
    struct dbk_slice position; /* in `own`, as are the next two */
    struct dbk_slice transaction;
    struct dbk_arena own;
    struct dbk_slice meta; /* in the batch; empty: not made yet */
    int64_t time_us;
    uint64_t ordinal; /* of the next change */
    /* What a stored part of a transaction holds of it. */
    struct dbk_buf part_position;
    uint64_t part_changes; /* 0: no part is stored */
    uint64_t part_from;    /* the book's position from which on parts are held back; 0: none are */

    struct dbk_slice stream; /* of the row at hand */
    struct dbk_buf name;
    struct dbk_buf old_name;
    struct dbk_arena keys; /* of dbk_entry_live */
    struct dbk_entry_counts counts;
};

int dbk_entry_no_memory(const struct dbk_entry *entry, struct dbk_error *err);
/* Stores what is gathered, of a transaction under way as a part of it. */
int dbk_entry_store_gathered(struct dbk_entry *entry, struct dbk_error *err) DBK_MUST_CHECK;

#endif
