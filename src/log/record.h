/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record -- an event as bytes.
 *
 *      0  u32  record size, this header included
 *      4  u32  CRC-32C of bytes 8 to the end, seeded with the segment's salt
 *      8  u64  position
 *     16  u64  version
 *     24  i64  time, us since 1970
 *     32  i64  occurred, us since 1970; INT64_MIN: none
 *     40   16  event id
 *     56  u32  flags (enum dbk_record_flags)
 *     60  u16  schema version; 0: the type was not declared
 *     62  u16  stream size
 *     64  u16  type size
 *     66  u16  tags size: tags one after the other, each a u8 size and its bytes, in byte order
 *     68  u32  data size
 *     72  u32  meta size
 *     76  u32  sealed size
 *     80       stream, type, tags, data, meta, sealed
 *
 * The sealed section holds personal fields: u16 count, then for each u16 path size, u16 kind
 * (0: ciphertext, 1: the ciphertext's SHA-256, when the ciphertext itself was removed), u32 value
 * size, 16 bytes key id, path, value; in byte order of the paths. The clear data leaves those
 * fields out.
 *
 * A removed event (DBK_RECORD_REMOVED) keeps its envelope; data is the 32-byte digest of the
 * content it had (until format version 2: its leaf as it was then); tags, meta and sealed are
 * empty.
 *
 * The content digest is the SHA-256 of the sizes of tags, data and meta and the count of sealed
 * fields, u32 each; tags, data and meta; and for each sealed field its path behind a u32 size, its
 * key id, and the SHA-256 of its ciphertext.
 *
 * The leaf of an event in the Merkle tree is SHA-256(0x00 || "dbkleaf2" || position, version, time,
 * occurred, id, flags but DBK_RECORD_REMOVED, schema version as above || stream and type, each
 * behind a u16 size || content digest). It does not depend on where the record lies, nor on whether
 * a ciphertext or all of the content is still there.
 *
 * Threads: pure functions.
 * Source:  docs/format/log.md; RFC 6962, section 2.1 for the leaf prefix.
 */
#ifndef DBK_LOG_RECORD_H
#define DBK_LOG_RECORD_H

#include <stdint.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/time.h"
#include "base/uuid.h"

#define DBK_RECORD_HEADER_SIZE 80
#define DBK_STREAM_SIZE_MAX 1024
#define DBK_TYPE_SIZE_MAX 255
#define DBK_TAG_SIZE_MAX 255

enum dbk_record_flags {
    DBK_RECORD_BATCH_END = 1 << 0, /* the last event of its batch */
    DBK_RECORD_JSON = 1 << 1,      /* data is JSON, else bytes */
    DBK_RECORD_REMOVED = 1 << 2,   /* data is the digest of what stood here */
};

/* An event as it is read. Slices are valid as long as the bytes it was decoded from. */
struct dbk_event {
    uint64_t position;
    uint64_t version;
    int64_t time_us;
    int64_t occurred_us; /* DBK_TIME_NONE: none was given */
    struct dbk_uuid id;
    uint32_t flags;
    uint16_t schema_version;
    struct dbk_slice stream;
    struct dbk_slice type;
    struct dbk_slice tags; /* encoded as above */
    struct dbk_slice data;
    struct dbk_slice meta; /* JSON object, or empty */
    struct dbk_slice sealed;
};

/* Takes the first of encoded tags off them; false: there is none. */
bool dbk_event_next_tag(struct dbk_slice *tags, struct dbk_slice *tag_out);
/* The category of a stream: what stands before its first '-', or all of it. */
struct dbk_slice dbk_stream_category(struct dbk_slice stream);

/* The record's size in bytes. */
size_t dbk_record_size(const struct dbk_event *event);
/* Writes dbk_record_size bytes. Sizes must be within their limits. */
void dbk_record_encode(const struct dbk_event *event, uint32_t salt, char *bytes_out);
/*
 * Reads the record at the start of the bytes, which may be longer.
 * DBK_ECORRUPT  sizes do not fit, or the checksum differs
 */
int dbk_record_decode(struct dbk_slice bytes, uint32_t salt,
                      struct dbk_event *event_out) DBK_MUST_CHECK;
/* The size of the record at the start of the bytes as it claims it, 0 when there are too few. */
size_t dbk_record_claimed_size(struct dbk_slice bytes);

/* Room for what a leaf is the SHA-256 of. */
#define DBK_LEAF_INPUT_SIZE_MAX 2048

/* The digest of the event's content, of which a removed one has only that. DBK_ECORRUPT: its sealed
   section is damaged, or what is left of it is no digest. */
int dbk_record_content(const struct dbk_event *event,
                       uint8_t digest_out[DBK_SHA256_SIZE]) DBK_MUST_CHECK;
/* Appends what that is the SHA-256 of; of a removed event nothing. DBK_ECORRUPT, or the buffer's
   code. */
int dbk_record_content_input(const struct dbk_event *event, struct dbk_buf *out) DBK_MUST_CHECK;
/* The event's leaf, the same for stored and removed events. DBK_ECORRUPT as above. */
int dbk_record_leaf(const struct dbk_event *event,
                    uint8_t leaf_out[DBK_SHA256_SIZE]) DBK_MUST_CHECK;
/* What the leaf is the SHA-256 of, written to input_out; 0: as DBK_ECORRUPT above. */
size_t dbk_record_leaf_input(const struct dbk_event *event,
                             char input_out[DBK_LEAF_INPUT_SIZE_MAX]) DBK_MUST_CHECK;
/* Whether what a removed event kept is what a whole one had; envelopes are not compared. */
bool dbk_record_had(const struct dbk_event *removed, const struct dbk_event *whole);

#endif
