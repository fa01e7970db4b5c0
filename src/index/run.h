/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run -- an immutable sorted file of postings: written once, verified whole when it is opened.
 *
 *     header   64 bytes
 *     blocks   entries in order of (key, rank), about 4 KiB each, difference-coded
 *     marks    32 bytes a block: first key, first rank, offset
 *     filter   64-byte lines, seven bits a key
 *     places   8 bytes an event: segment, offset
 *     zones    40 bytes each 256 events: first position, time and occurred bounds
 *     footer   64 bytes: counts and checksums
 *
 * Threads: an open run is read-only; a writer belongs to one thread.
 * Source:  docs/format/index.md.
 */
#ifndef DBK_INDEX_RUN_H
#define DBK_INDEX_RUN_H

#include "index/index.h"

#define DBK_RUN_HEADER_SIZE 64
#define DBK_RUN_FOOTER_SIZE 64
#define DBK_RUN_BLOCK_SIZE 1024
#define DBK_RUN_MARK_SIZE 32
#define DBK_RUN_PLACE_SIZE 8
#define DBK_RUN_ZONE_SIZE 40
#define DBK_RUN_ZONE_EVENTS 256
#define DBK_RUN_LINE_SIZE 64
/* 20 digits, '-', 20 digits, ".run" and a NUL. */
#define DBK_RUN_NAME_SIZE 46

struct dbk_run_counts {
    uint64_t keys;
    uint64_t streams;
    uint64_t blocks_size;
    uint64_t marks;
    uint64_t lines;
    uint64_t zones;
};

struct dbk_run {
    uint64_t first;
    uint64_t last;
    struct dbk_run_counts counts;
    struct dbk_slice bytes; /* the whole file */
    const char *blocks;
    const char *marks;
    const char *filter;
    const char *places;
    const char *zones;
};

struct dbk_run_zone {
    uint64_t first;
    int64_t time_min_us;
    int64_t time_max_us;
    int64_t occurred_min_us;
    int64_t occurred_max_us;
};

struct dbk_run_entry {
    struct dbk_hash128 key;
    uint64_t rank;
    uint64_t position;
};

int dbk_hash128_compare(struct dbk_hash128 a, struct dbk_hash128 b);

/*
 * Reads a run's bytes, all of them checked but the insides of blocks, which the checksum covers.
 * DBK_ECORRUPT: damaged, or of another book; DBK_EFORMAT: newer.
 */
int dbk_run_decode(struct dbk_slice bytes, const struct dbk_uuid *book, struct dbk_run *run_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

bool dbk_run_may_have(const struct dbk_run *run, struct dbk_hash128 key);
/* Adds postings of a key to those there, up to max. DBK_ECORRUPT. */
int dbk_run_find(const struct dbk_run *run, struct dbk_hash128 key,
                 const struct dbk_index_range *range, struct dbk_posting *postings, size_t max,
                 size_t *count) DBK_MUST_CHECK;
struct dbk_log_place dbk_run_place(const struct dbk_run *run, uint64_t position);
struct dbk_run_zone dbk_run_zone_at(const struct dbk_run *run, uint64_t zone);

/* All entries in order. */
struct dbk_run_walk {
    const struct dbk_run *run;
    const char *at;
    const char *end;
    struct dbk_run_entry entry; /* the last one read */
};
void dbk_run_walk_init(struct dbk_run_walk *walk, const struct dbk_run *run);
/* 1: walk->entry is the next; 0: the end; DBK_ECORRUPT. */
int dbk_run_walk_next(struct dbk_run_walk *walk) DBK_MUST_CHECK;

/* ---- Writing: entries in order, then places, then zones, then finish ---- */

struct dbk_run_writer;
/* path: the final one; it is written beside and renamed. keys: at least as many as will come. */
int dbk_run_writer_open(struct dbk_os *os, const char *path, const struct dbk_uuid *book,
                        uint64_t first, uint64_t last, uint64_t keys,
                        struct dbk_run_writer **writer_out, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_run_writer_entry(struct dbk_run_writer *writer, const struct dbk_run_entry *entry);
void dbk_run_writer_place(struct dbk_run_writer *writer, struct dbk_log_place place);
void dbk_run_writer_zone(struct dbk_run_writer *writer, const struct dbk_run_zone *zone);
/* Durable under its name when DBK_OK; the folder must be synced by the caller. */
int dbk_run_writer_finish(struct dbk_run_writer *writer, uint64_t streams,
                          struct dbk_error *err) DBK_MUST_CHECK;
/* Removes what is unfinished. NULL is fine. */
void dbk_run_writer_free(struct dbk_run_writer *writer);

#endif
