/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- what an open log holds.
 *
 * Segments stand in a table of blocks that never move, so that readers need no lock: a segment is
 * put in before `end` is moved to it. `end` is published first, then time and position: whoever
 * sees a position can read up to it.
 *
 * The writer alone knows the tail:
 *
 *     header ... groups synced ... groups not synced ... zeros
 *                            ^                     ^          ^
 *                            synced_size           size       zeroed_size
 *
 * Threads: the atomic fields by all; groups under group_lock; the rest by the writer, or under
 *          refresh_lock by whoever refreshes a reader.
 */
#ifndef DBK_LOG_STATE_H
#define DBK_LOG_STATE_H

#include "log/ahead.h"
#include "log/log.h"
#include "log/note.h"
#include "log/segment.h"

#define DBK_LOG_BLOCK_SIZE 1024 /* segments */
#define DBK_LOG_BLOCK_COUNT 1024

struct dbk_log_block {
    _Atomic(struct dbk_segment *) segments[DBK_LOG_BLOCK_SIZE];
};

/* Where the log ends, as recovery finds it and the writer carries it on. */
struct dbk_tail {
    uint32_t segment;
    uint32_t size;
    uint32_t synced_size;
    uint32_t zeroed_size; /* up to here the file is known to be there, with zeros past size */
    uint32_t ahead;       /* zeros to write ahead the next time; grows */
    uint32_t small_size;  /* bytes of small groups in this segment */
    uint32_t chain;
    bool soiled; /* a failed write may have left bytes past size */
    uint64_t last_position;
    int64_t last_time_us;
};

struct dbk_log_group {
    struct dbk_log *log;
    char *bytes; /* room for the header, then the records */
    size_t size; /* header included */
    size_t capacity;
    struct dbk_log_place place; /* of the header */
    uint32_t salt;
    uint64_t first_position;
    uint64_t next_position;
    int64_t last_time_us; /* of the last record, or before it */
};

struct dbk_log {
    struct dbk_os *os;
    char *folder;
    bool writer;
    uint64_t segment_size;
    struct dbk_uuid book_id;
    uint8_t hash_key[DBK_HASH_KEY_SIZE];
    char salt_nonce[16];

    _Atomic(struct dbk_log_block *) blocks[DBK_LOG_BLOCK_COUNT];
    pthread_mutex_t retired_lock;
    struct dbk_segment *retired; /* replaced, but perhaps still looked at */
    pthread_mutex_t reload_lock; /* one at a time loads a segment again */
    _Atomic uint64_t end;        /* segment << 32 | offset */
    _Atomic int64_t last_time_us;
    _Atomic uint64_t last_position;
    _Atomic uint64_t synced_position;

    struct dbk_tail tail;
    struct dbk_ahead ahead; /* of the next segment */
    struct dbk_note_file note;
    _Atomic bool stopped;  /* a sync failed */
    _Atomic uint32_t seal; /* the segment that ends early, counted from 1; 0: none does */
    pthread_mutex_t group_lock;
    struct dbk_log_group groups[2];

    pthread_mutex_t refresh_lock;
    struct dbk_note seen; /* a reader's newest note */
};

/* The segment at an index below dbk_log_segment_count; never NULL there. */
struct dbk_segment *dbk_log_segment(const struct dbk_log *log, uint32_t index);
/* Puts a segment into the table; owned by the log from then on. One it replaces is retired. */
int dbk_log_put_segment(struct dbk_log *log, struct dbk_segment *segment,
                        struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Makes *pinned the segment at an index below dbk_log_segment_count, and maps it if it is sealed;
 * what was pinned before is let go. It is not unmapped until dbk_log_unpin, which takes NULL, too.
 */
int dbk_log_pin(struct dbk_log *log, uint32_t index, struct dbk_segment **pinned,
                struct dbk_error *err) DBK_MUST_CHECK;
void dbk_log_unpin(struct dbk_segment *segment);
/* How many there are from the first one on, those past the end included. */
uint32_t dbk_log_loaded_count(const struct dbk_log *log);
/* Where a segment's groups end, by an end of the log read before. */
uint64_t dbk_log_segment_end(const struct dbk_segment *segment, struct dbk_log_place end,
                             uint32_t index);
/* Moves the published end to the tail. */
void dbk_log_publish(struct dbk_log *log);
/* The salt this writer gives to the segment with an ordinal; no one else can foresee it. */
uint32_t dbk_log_salt(const struct dbk_log *log, uint64_t ordinal);
/* The note that says the tail. */
struct dbk_note dbk_log_note(const struct dbk_log *log);

/* What a closed log need not keep: zeros ahead, and a note that was not synced. */
void dbk_log_settle(struct dbk_log *log);

/* Groups' memory; see log.h for the rest. */
int dbk_log_groups_init(struct dbk_log *log, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_log_groups_release(struct dbk_log *log);
/* Empties a group and gives back its memory when it was large. */
void dbk_log_group_end(struct dbk_log_group *group);

#endif
