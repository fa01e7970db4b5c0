/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log -- the append-only log: segments of groups of records, group commit, recovery.
 *
 * A folder of segment files, each named by its first position ("00000000000000000001.seg"), and a
 * note of the synced size. A segment is a header and a run of groups; a group is what one write
 * and one sync make durable: a checksummed header that names segment, offset and size, and its
 * records (log/record.h). All checksums of a segment are seeded with its random salt, so that no
 * event's bytes can be made to look like a group. Every byte is in docs/format/log.md.
 *
 * After each sync the writer notes the synced size: readers in other processes read up to the
 * note, and recovery may cut only past it, and only what no valid later group follows. The valid
 * groups past the note are copied into a new segment and synced before anyone reads them.
 *
 * A segment's end is fixed by the header of the next one (size and chained checksum), so that a
 * shortened or exchanged sealed segment is found at open without reading it.
 *
 * Threads: one writer (any thread, one at a time: the store sees to it) calls group, write and
 *          sync; dbk_log_group_add for the next group may run while dbk_log_write_group of the one
 *          before is under way. Any number of threads read below dbk_log_end.
 * Source:  docs/format/log.md, DESIGN sections 3 and 9.
 */
#ifndef DBK_LOG_LOG_H
#define DBK_LOG_LOG_H

#include "log/record.h"
#include "log/sealed.h"
#include "os/os.h"

#define DBK_LOG_SEGMENT_SIZE ((uint64_t)64 << 20)
#define DBK_LOG_GROUP_SIZE_MAX ((size_t)64 << 20)
#define DBK_LOG_FORMAT 3
/* From this one on segments may have been compacted. */
#define DBK_LOG_FORMAT_COMPACTED 2

struct dbk_log;

/* A place in the log: a segment (counted from 0, as in the folder) and an offset in it. */
struct dbk_log_place {
    uint32_t segment;
    uint32_t offset;
};

struct dbk_log_options {
    struct dbk_os *os;
    const char *folder;    /* created when missing, by a writer; borrowed */
    bool writer;           /* false: beside a writer of another process; nothing is changed */
    uint64_t segment_size; /* a new segment begins past it; 0: DBK_LOG_SEGMENT_SIZE */
};

/*
 * Opens the log; a writer recovers it first.
 *
 * DBK_ECORRUPT  something other than a torn tail is damaged; nothing was changed
 * DBK_EFORMAT   a newer version wrote it; the message names file and version
 * DBK_ENOTFOUND a reader's folder does not exist
 * DBK_EIO, DBK_EFULL, DBK_EDENIED, DBK_ENOMEM
 */
int dbk_log_open(const struct dbk_log_options *options, struct dbk_log **log_out,
                 struct dbk_error *err) DBK_MUST_CHECK;
/* Closes; a writer's note is synced first. NULL is fine. */
void dbk_log_free(struct dbk_log *log);

/* The book's id and the secret key of its hashes: random, made with the first segment. */
const struct dbk_uuid *dbk_log_book_id(const struct dbk_log *log);
const uint8_t *dbk_log_hash_key(const struct dbk_log *log); /* 16 bytes */

/* The last position that can be read, 0 when there is none; its time (0); the place behind it. */
uint64_t dbk_log_last_position(const struct dbk_log *log);
int64_t dbk_log_last_time_us(const struct dbk_log *log);
struct dbk_log_place dbk_log_end(const struct dbk_log *log);

/* Up to here nothing is lost in a crash: what was written without a sync lies behind it. */
uint64_t dbk_log_synced_position(const struct dbk_log *log);

/* A reader process looks at the note again; true when there is something new. */
int dbk_log_refresh(struct dbk_log *log, bool *changed_out, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * A group being filled. The log has two, so that one is filled while the other is being written.
 * Each grows as needed up to DBK_LOG_GROUP_SIZE_MAX, and keeps some MiB for the groups to come.
 */
struct dbk_log_group;
/* The empty group to fill next. It begins behind the group before, also one still being written. */
struct dbk_log_group *dbk_log_group_begin(struct dbk_log *log);
/* Bytes it holds; 0 when empty. */
size_t dbk_log_group_size(const struct dbk_log_group *group);
/*
 * Adds a record; its position must be the one behind the last added.
 * place_out  where the record will be
 * DBK_ELIMIT no room in this group
 */
int dbk_log_group_add(struct dbk_log_group *group, const struct dbk_event *event,
                      struct dbk_log_place *place_out) DBK_MUST_CHECK;
/* Takes the records from a position on out again (a batch that was refused half-way). */
void dbk_log_group_cut(struct dbk_log_group *group, uint64_t position);

/*
 * Writes the group and syncs it: when DBK_OK is returned its records are durable, readable and the
 * synced size is noted. The group is free again in either case.
 *
 * sync  false leaves out the sync, for callers who asked for weaker durability by name
 *
 * DBK_EFULL     no space: nothing was added, and a later group may succeed. A group already begun
 *               behind this one must be given up (dbk_log_group_cut), its places are wrong now
 * DBK_EUNKNOWN  the sync failed: the outcome is unknown and the log takes no more
 * DBK_ESTOPPED  it had failed so before
 * DBK_EIO       the write failed: as DBK_EFULL
 */
int dbk_log_write_group(struct dbk_log *log, struct dbk_log_group *group, bool sync,
                        struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Does a bit of what is due to prepare the next segment; false: nothing is. A thread of the log's
 * own does it where segments have a MiB or more, so this is for smaller ones, whose every call is
 * to be counted. By the writer.
 */
bool dbk_log_prepare(struct dbk_log *log);

/* Who reads single records, one after the other: keeps what the last one lies in. */
struct dbk_log_reader {
    struct dbk_buf bytes;
    struct dbk_segment *pinned; /* a mapped segment that stays until another is read */
};
void dbk_log_reader_init(struct dbk_log_reader *reader);
void dbk_log_reader_release(struct dbk_log_reader *reader);

/* Has the processor fetch what lies at a place, where it is mapped: it will be read soon. */
void dbk_log_prefetch(const struct dbk_log *log, struct dbk_log_place place);
/*
 * Reads the record of a position at a place below the end; in a segment that was compacted since,
 * the log knows the place better. position 0: whatever lies at the place. The event's slices are
 * valid until the reader's next read or its release.
 *
 * DBK_ECORRUPT  it is damaged, or another position's; the message names file, offset and position
 */
int dbk_log_read(struct dbk_log *log, struct dbk_log_place place, uint64_t position,
                 struct dbk_log_reader *reader, struct dbk_event *event_out,
                 struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Reads forwards, group by group, verified: for scans and for building indexes. One syscall or map
 * access a chunk, not a record.
 */
struct dbk_log_scan;
/* place: a record's place, or the end of one; {0, 0} is the log's start. position: of the record at
   the place; 0: not known, then its segment must not have been compacted since. */
int dbk_log_scan_open(struct dbk_log *log, struct dbk_log_place place, uint64_t position,
                      struct dbk_log_scan **scan_out, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_log_scan_free(struct dbk_log_scan *scan);
/* 1: an event, valid until the next call; place_out (may be NULL) is where it lies. 0: the end, as
   of dbk_log_end now; may be called again later. Negative: an error. */
int dbk_log_scan_next(struct dbk_log_scan *scan, struct dbk_event *event_out,
                      struct dbk_log_place *place_out, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Segments: how many, the first position of one, its size in bytes (of the last: what is synced).
 */
uint32_t dbk_log_segment_count(const struct dbk_log *log);
uint64_t dbk_log_segment_first_position(const struct dbk_log *log, uint32_t segment);
uint64_t dbk_log_segment_size(const struct dbk_log *log, uint32_t segment);
/* How many of its events compaction has removed. */
uint32_t dbk_log_segment_removed(const struct dbk_log *log, uint32_t segment);
/* The format version it was written in. */
uint32_t dbk_log_segment_version(const struct dbk_log *log, uint32_t segment);

/*
 * Compaction: a sealed segment is written anew beside the old one, without the content of some of
 * its events, or without the ciphertexts of erased keys, and takes its name. Positions, versions
 * and ids stay; a removed event keeps its envelope and the digest of its content. Readers go on, in
 * the old one where they are in the middle of it; its space is given back when the last of them has
 * left it.
 */
struct dbk_log_compaction {
    /* NULL: none goes. */
    bool (*removes)(void *context, const struct dbk_event *event);
    /* Told as it goes on, with bytes read since; negative ends it with that code. */
    int (*step)(void *context, size_t size);
    void *context;
    /* Fields sealed under such keys keep only the digest of their ciphertext. NULL: none do. */
    dbk_sealed_erased_fn erased;
};
struct dbk_log_compacted {
    uint64_t removed; /* events, in this run */
    uint64_t dropped; /* events that lost ciphertexts in this run, and were not removed */
    uint64_t size_before;
    uint64_t size;
};
/*
 * Only in a writer, by one thread at a time, also while others append and read. On failure the old
 * segment stands, and nothing is left behind.
 *
 * DBK_EINVAL  it is the last segment; DBK_EFULL, DBK_EIO, DBK_ECORRUPT, DBK_ENOMEM, or what step
 *             returned
 */
int dbk_log_compact(struct dbk_log *log, uint32_t segment,
                    const struct dbk_log_compaction *compaction,
                    struct dbk_log_compacted *compacted_out, struct dbk_error *err) DBK_MUST_CHECK;
/*
 * The segment that grows now ends with the next group, which begins another: so that this one can
 * be compacted. One without a group goes on. Only in a writer, by any thread.
 */
void dbk_log_seal(struct dbk_log *log);
/* Gives back the space of compacted segments that nobody reads any more. */
void dbk_log_reclaim(struct dbk_log *log);

#endif
