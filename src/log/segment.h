/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment -- one file of the log.
 *
 *     0        128                                        size
 *     +--------+--------+---------+-- ... --+------+------+- - - - - - - - -
 *     | header | group  | group             | group       | zeros, torn tail?
 *     +--------+--------+---------+-- ... --+------+------+- - - - - - - - -
 *
 * A segment that has a successor is sealed: the successor's header says its size, what lies behind
 * it means nothing, and its bytes are read through a mapping made at the first read. The last
 * segment is read with pread.
 *
 * A new segment is written beside ("new.tmp", or "next.tmp" of log/ahead.h), synced and renamed
 * into place, so that one with its proper name always has a whole header. So is a compacted one
 * ("compact.tmp"): behind its groups stand the offsets of its records, u32 each, and their CRC-32C.
 *
 * Limit: when the disk cannot deliver a mapped page the process gets SIGBUS.
 *
 * Sealed segments are mapped whole. Of the last one the beginning is, again and again as it grows;
 * what is behind that is read. Bytes up to the log's end never change, so that older parts stay
 * right; they are dropped some time after the segment was sealed.
 *
 * Users: whoever looks at a mapping counts as a user of the segment; one that has been replaced is
 * unmapped when it has none. The struct itself stays until the log is freed, so that counting is
 * safe at any time.
 *
 * Threads: sealed_size is set by the one who writes (or refreshes) and read by all; the file and
 *          the mapping are guarded by the lock; the rest is fixed.
 * Source:  docs/format/log.md.
 */
#ifndef DBK_LOG_SEGMENT_H
#define DBK_LOG_SEGMENT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/memory.h"
#include "log/format.h"
#include "os/os.h"

/* "00000000000000000001.seg" and its NUL. */
#define DBK_SEGMENT_NAME_SIZE 25

/* A mapping of the beginning of a segment that still grows. */
struct dbk_segment_part {
    struct dbk_slice bytes;
    struct dbk_segment_part *older;
};

struct dbk_segment {
    struct dbk_segment_header header;
    uint64_t file_size; /* when it was loaded */
    char name[DBK_SEGMENT_NAME_SIZE];
    char *path;
    _Atomic uint64_t sealed_size; /* 0: not sealed */
    _Atomic(const char *) mapped; /* the whole file up to map_size; NULL: not mapped yet */
    uint64_t map_size;
    uint64_t part_step; /* a part is mapped anew when it would be larger by so much; 0: none is */
    _Atomic(struct dbk_segment_part *) part; /* of one not sealed: the newest; NULL: none */
    _Atomic uint32_t users;
    pthread_rwlock_t lock;
    struct dbk_file file;
    struct dbk_segment *next; /* in a list of retired ones */
};

/* The position in a segment's name, 0 when it is no segment's name. */
uint64_t dbk_segment_position_of_name(const char *name);

/*
 * Reads the header of the segment that begins with a position, and the file's size.
 *
 * DBK_ECORRUPT, DBK_EFORMAT, DBK_ENOTFOUND, DBK_EIO, DBK_EDENIED, DBK_ENOMEM
 */
int dbk_segment_load(struct dbk_os *os, const char *folder, uint64_t first_position,
                     struct dbk_segment **segment_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Unmaps, closes and frees. NULL is fine. */
void dbk_segment_free(struct dbk_os *os, struct dbk_segment *segment);

/*
 * Begins a new segment beside the others: its header is written, groups may follow into its file.
 * The header's position gives the name. Ends with dbk_segment_settle or dbk_segment_free.
 *
 * prepared  a file of the folder that holds zeros; taken in any case. NULL: "new.tmp" is made
 */
int dbk_segment_begin(struct dbk_os *os, const char *folder,
                      const struct dbk_segment_header *header, struct dbk_file *prepared,
                      struct dbk_segment **segment_out, struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Syncs it and gives it its name, replacing a segment that begins with the same position. The file
 * stays open for writing.
 *
 * named_out  whether the name was given: if so and the call failed, only the name's durability is
 *            in doubt
 */
int dbk_segment_settle(struct dbk_os *os, const char *folder, struct dbk_segment *segment,
                       bool *named_out, struct dbk_error *err) DBK_MUST_CHECK;
/* The file that a segment is compacted into. */
#define DBK_SEGMENT_COMPACT_NAME "compact.tmp"

/* Removes what a crash left of a segment being begun or compacted. */
int dbk_segment_discard_begun(struct dbk_os *os, const char *folder,
                              struct dbk_error *err) DBK_MUST_CHECK;
/* Cuts the file to a size. */
int dbk_segment_cut(struct dbk_os *os, const struct dbk_segment *segment, uint64_t size, bool sync,
                    struct dbk_error *err) DBK_MUST_CHECK;

/* How many bytes the file of a sealed segment has, with `count` records. */
uint64_t dbk_segment_whole_size(const struct dbk_segment *segment, uint64_t size, uint64_t count);
/* The segment has a successor, which says this size and that it has so many records. Closes the
   file. */
void dbk_segment_seal(struct dbk_os *os, struct dbk_segment *segment, uint64_t size,
                      uint64_t count);
/*
 * Maps a sealed segment where it is not yet. DBK_EBUSY: the file is another by now; it was
 * compacted. DBK_ECORRUPT, DBK_EIO, …
 */
int dbk_segment_map(struct dbk_os *os, struct dbk_segment *segment,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Unmaps the parts of a sealed segment when nobody uses it; true when there were some. */
bool dbk_segment_drop_parts(struct dbk_os *os, struct dbk_segment *segment);
/* Unmaps what nobody uses. */
void dbk_segment_unmap(struct dbk_os *os, struct dbk_segment *segment);
/* In a compacted and mapped segment: where the record of a position lies. */
uint32_t dbk_segment_offset(const struct dbk_segment *segment, uint64_t position);

/*
 * Bytes of the segment from an offset on: at least size_min, or fewer where `end` comes first.
 *
 * end        nothing past it is read
 * size_max   how much to read at once when the segment is not mapped
 * buffer     holds them in that case
 * bytes_out  valid until the buffer changes or the segment is freed
 *
 * DBK_ECORRUPT  the file is shorter
 * DBK_EBUSY     as dbk_segment_map
 * DBK_EIO, DBK_ENOTFOUND, DBK_EDENIED, DBK_ENOMEM
 */
struct dbk_range {
    uint64_t offset;
    uint64_t end;
    size_t size_min;
    size_t size_max;
};
int dbk_segment_bytes(struct dbk_os *os, struct dbk_segment *segment, const struct dbk_range *range,
                      struct dbk_buf *buffer, struct dbk_slice *bytes_out,
                      struct dbk_error *err) DBK_MUST_CHECK;

#endif
