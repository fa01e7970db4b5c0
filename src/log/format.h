/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format -- the fixed parts of the log's files as bytes: segment header, group header, note.
 *
 * Segment header, 128 bytes, at the start of each segment file:
 *
 *      0    8  "dbksegm\n"
 *      8  u32  format version (DBK_LOG_FORMAT)
 *     12  u32  salt: random, seeds every checksum of the segment but this header's
 *     16   16  book id          \ the same in all segments,
 *     32   16  hash key         / made with the first
 *     48  u64  ordinal, from 0
 *     56  u64  first position
 *     64  i64  created, us since 1970
 *     72  i64  time of the event before the first position; 0: there is none
 *     80  u64  size of the segment before; 0: there is none
 *     88  u32  its chain
 *     92  u32  its header's checksum
 *     96   u8  generation: how often it was compacted, up to 255; 0: never, and zeros follow
 *     97  u24  how many of its events are removed
 *    100  u32  size before it ever was     \
 *    104  u32  chain at that size           | what the next segment says
 *    108  u32  its header's checksum then  /
 *    112  u32  salt then
 *    116  u32  size now; behind it the places of its records
 *    120  u32  chain at that size
 *    124  u32  CRC-32C of bytes 0 to 124
 *
 * Group header, 64 bytes, followed by its records back to back:
 *
 *      0    4  "dbkg": as a u32 larger than any record, so that the two are never mistaken
 *      4  u32  CRC-32C of bytes 8 to 64, seeded with the salt
 *      8  u64  position of the first record
 *     16  i64  time of the last record
 *     24  u32  number of records, at least 1
 *     28  u32  payload size: bytes of all records
 *     32  u32  CRC-32C of the payload, seeded with the salt
 *     36  u32  chain: the running checksum of the headers before it in this segment
 *     40  u32  ordinal of the segment
 *     44  u32  offset of this header in it
 *     48  u32  synced size: up to where the segment was synced when this group was written
 *     52   12  zero
 *
 * The chain begins as the segment header's checksum, in a compacted segment as the CRC-32C of bytes
 * 0 to 96 of its header; behind a group it is the CRC-32C of bytes 8 to
 * 64 of its header, seeded with the chain before it.
 *
 * Note, one of two slots of 128 bytes at 0 and 512 of the file "synced", written in turns:
 *
 *      0    8  "dbknote\n"
 *      8  u32  format version
 *     12  u32  CRC-32C of bytes 0 to 12 and 16 to 128
 *     16  u64  sequence: the slot with the higher one counts
 *     24  u64  ordinal of the last segment that holds a synced group
 *     32  u64  its synced size; 0: the log was just made
 *     40  u64  last synced position
 *     48  i64  its time
 *     56  u32  the segment's salt
 *     60  u32  the chain at that size
 *     64   64  zero
 *
 * Threads: pure functions.
 * Source:  docs/format/log.md.
 */
#ifndef DBK_LOG_FORMAT_H
#define DBK_LOG_FORMAT_H

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"
#include "base/uuid.h"

#define DBK_SEGMENT_HEADER_SIZE 128
#define DBK_GROUP_HEADER_SIZE 64
#define DBK_NOTE_SLOT_SIZE 128
#define DBK_NOTE_SLOT_DISTANCE 512
#define DBK_NOTE_SIZE (DBK_NOTE_SLOT_DISTANCE + DBK_NOTE_SLOT_SIZE)
#define DBK_HASH_KEY_SIZE 16

struct dbk_segment_header {
    uint32_t salt;
    struct dbk_uuid book_id;
    uint8_t hash_key[DBK_HASH_KEY_SIZE];
    uint64_t ordinal;
    uint64_t first_position;
    int64_t created_us;
    int64_t previous_time_us;
    uint64_t previous_size;
    uint32_t previous_chain;
    uint32_t previous_crc;
    uint8_t generation;
    uint32_t removed; /* events, below 2^24 */
    struct {
        uint32_t size;
        uint32_t chain;
        uint32_t crc;
        uint32_t salt;
    } original; /* of a compacted segment, as it was written */
    uint32_t size;
    uint32_t chain;
    uint32_t crc;         /* of this header; set, as the next, by decode and encode */
    uint32_t chain_begin; /* the chain before the first group */
    uint32_t version;     /* of the format; set by decode */
};

struct dbk_group_header {
    uint64_t first_position;
    int64_t last_time_us;
    uint32_t count;
    uint32_t payload_size;
    uint32_t payload_crc;
    uint32_t chain;
    uint32_t segment;
    uint32_t offset;
    uint32_t synced_size;
};

struct dbk_note {
    uint64_t sequence;
    uint64_t segment;
    uint64_t size;
    uint64_t last_position;
    int64_t last_time_us;
    uint32_t salt;
    uint32_t chain;
};

/* What stays the same when a segment is compacted: by this others know it. */
uint32_t dbk_segment_header_identity(const struct dbk_segment_header *header);
uint32_t dbk_segment_header_first_salt(const struct dbk_segment_header *header);
/* A header for another segment of the book: not compacted. */
void dbk_segment_header_renew(struct dbk_segment_header *header);

void dbk_segment_header_encode(struct dbk_segment_header *header,
                               char bytes_out[DBK_SEGMENT_HEADER_SIZE]);
/*
 * Reads the header at the start of the bytes.
 * version_out  the version found; set on success and DBK_EFORMAT
 * DBK_EFORMAT  a newer version
 * DBK_ECORRUPT it is no such header, or damaged
 */
int dbk_segment_header_decode(struct dbk_slice bytes, struct dbk_segment_header *header_out,
                              uint32_t *version_out) DBK_MUST_CHECK;

void dbk_group_header_encode(const struct dbk_group_header *header, uint32_t salt,
                             char bytes_out[DBK_GROUP_HEADER_SIZE]);
/* True for the first bytes of a group header, whatever follows. */
bool dbk_group_header_begins(struct dbk_slice bytes);
/* DBK_ECORRUPT: it is no group header, or damaged. Segment and offset are left to the caller. */
int dbk_group_header_decode(struct dbk_slice bytes, uint32_t salt,
                            struct dbk_group_header *header_out) DBK_MUST_CHECK;
/* The chain behind a group whose header has these bytes. */
uint32_t dbk_group_chain(uint32_t chain, const char header[DBK_GROUP_HEADER_SIZE]);

void dbk_note_encode(const struct dbk_note *note, char bytes_out[DBK_NOTE_SLOT_SIZE]);
/* As dbk_segment_header_decode, for one slot. */
int dbk_note_decode(struct dbk_slice bytes, struct dbk_note *note_out,
                    uint32_t *version_out) DBK_MUST_CHECK;

#endif
