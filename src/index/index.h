/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index -- stream, category, type, id, tag, correlation and time look-ups over the log.
 *
 * Events enter a tail in memory. A thread behind the writer makes each full and synced chunk of the
 * tail (DBK_INDEX_CHUNK_EVENTS events) an immutable sorted run, "<first>-<last>.run", and merges
 * neighbours of similar size. Nothing here is true of itself: a run that is missing, damaged or of
 * another book is removed and made again from the log. Every byte is in docs/format/index.md.
 *
 * An event has a key for its stream, category, type, id, each of its tags and its correlation:
 * SipHash-128, keyed by the book's secret. A key's postings are (rank, position), ascending: the
 * rank is the version for streams and the position for the others. Readers compare names with the
 * event itself.
 *
 * Threads: add, cut, synced and refresh from one at a time; look-ups from any, also meanwhile.
 * Source:  O'Neil et al., The Log-Structured Merge-Tree, 1996; Putze et al., Cache-, Hash- and
 *          Space-Efficient Bloom Filters, 2007 (one cache line a look-up).
 */
#ifndef DBK_INDEX_INDEX_H
#define DBK_INDEX_INDEX_H

#include "log/log.h"

#define DBK_INDEX_CHUNK_EVENTS 65536
#define DBK_INDEX_FORMAT 3
/* A longer `correlationid` is not looked up by. */
#define DBK_CORRELATION_SIZE_MAX 255

struct dbk_index;

enum dbk_index_kind {
    DBK_INDEX_STREAM = 1,
    DBK_INDEX_CATEGORY = 2,
    DBK_INDEX_TYPE = 3,
    DBK_INDEX_ID = 4,
    DBK_INDEX_TAG = 5,
    DBK_INDEX_CORRELATION = 6,
};

struct dbk_posting {
    uint64_t rank;
    uint64_t position;
};

struct dbk_index_options {
    struct dbk_os *os;
    const char *folder;    /* created when missing, by a writer; borrowed */
    struct dbk_log *log;   /* open, kept until free */
    bool writer;           /* false: beside a writer of another process; nothing is changed */
    uint32_t chunk_events; /* 0: DBK_INDEX_CHUNK_EVENTS; tests make it small */
    /* Told how many of the events that are not in runs yet have been read; negative ends the open
       with that code, and the next goes on where it was. NULL: not told. */
    int (*step)(void *context, uint64_t done, uint64_t total);
    void *context;
};

/*
 * Opens the index and brings it up to the log's end.
 *
 * DBK_EFORMAT  a newer version wrote a run; the message names the file
 * DBK_ECORRUPT the log is; DBK_EIO, DBK_EFULL, DBK_EDENIED, DBK_ENOMEM
 */
int dbk_index_open(const struct dbk_index_options *options, struct dbk_index **index_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Stops the thread behind; a long tail is made a run first, so that the next open is short. NULL
   is fine. */
void dbk_index_free(struct dbk_index *index);

/* ---- The writer's side ---- */

/* Enters an event, the one behind the last. DBK_ENOMEM. */
int dbk_index_add(struct dbk_index *index, const struct dbk_event *event,
                  struct dbk_log_place place) DBK_MUST_CHECK;
/* Forgets everything from a position on; it must not have been told synced. */
void dbk_index_cut(struct dbk_index *index, uint64_t position);
/* Everything up to this position is durable and may be written into runs. */
void dbk_index_synced(struct dbk_index *index, uint64_t position);
/*
 * Waits while the tail is at its bound (runs are made slower than events come). Fails when runs
 * cannot be made at all: DBK_EFULL, DBK_EIO; they are tried again by the next call.
 */
int dbk_index_wait_room(struct dbk_index *index, struct dbk_error *err) DBK_MUST_CHECK;
/* Waits until all full chunks are runs and nothing is left to merge. */
int dbk_index_settle(struct dbk_index *index, struct dbk_error *err) DBK_MUST_CHECK;
/* In a reading process, behind dbk_log_refresh: brings the index up to the log's end. */
int dbk_index_refresh(struct dbk_index *index, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Look-ups ---- */

struct dbk_index_range {
    uint64_t rank_min; /* inclusive */
    uint64_t rank_max; /* inclusive */
    uint64_t position_max;
    bool backwards; /* highest rank first */
};

/* What an event is correlated by: its meta's `correlationid`, where that is a text of 1 to
   DBK_CORRELATION_SIZE_MAX bytes. In the event or in the room. */
bool dbk_event_correlation(const struct dbk_event *event, char room[DBK_CORRELATION_SIZE_MAX],
                           struct dbk_slice *correlation_out);

/* What a name is looked up by; at most DBK_STREAM_SIZE_MAX bytes. */
struct dbk_hash128 dbk_index_key(const struct dbk_index *index, enum dbk_index_kind kind,
                                 struct dbk_slice name);
/* As dbk_index_find, by the name's key. */
int dbk_index_find_key(struct dbk_index *index, enum dbk_index_kind kind, struct dbk_hash128 key,
                       const struct dbk_index_range *range, struct dbk_posting *postings,
                       size_t max, size_t *count_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Up to `max` postings of a name within the range, in order. */
int dbk_index_find(struct dbk_index *index, enum dbk_index_kind kind, struct dbk_slice name,
                   const struct dbk_index_range *range, struct dbk_posting *postings, size_t max,
                   size_t *count_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Where the events of positions (1 to the last added) lie. */
int dbk_index_places(struct dbk_index *index, const uint64_t *positions, size_t count,
                     struct dbk_log_place *places_out, struct dbk_error *err) DBK_MUST_CHECK;
/* The same of one. */
int dbk_index_place(struct dbk_index *index, uint64_t position, struct dbk_log_place *place_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* The last added position. */
uint64_t dbk_index_last(struct dbk_index *index);
/* The last position known to be not after an instant lies within [*low_out, *high_out]; both 0:
   there is none. */
void dbk_index_time_range(struct dbk_index *index, int64_t time_us, uint64_t *low_out,
                          uint64_t *high_out);
/* The first position from `position` on (or, backwards, down to 1) near which occurred times lie
   within the range; 0: there is none up to the last (down to the first). */
uint64_t dbk_index_occurred_skip(struct dbk_index *index, uint64_t position, int64_t min_us,
                                 int64_t max_us, bool backwards);
uint64_t dbk_index_stream_count(struct dbk_index *index);

/* For tests and messages: runs in use, and how many were made or removed since open. */
struct dbk_index_stats {
    size_t runs;
    uint64_t tail_events;
    uint64_t made;
    uint64_t removed;
};
void dbk_index_stats(struct dbk_index *index, struct dbk_index_stats *stats_out);

#endif
