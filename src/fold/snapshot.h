/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot -- a stream's folded state at a version, as a file.
 *
 *      0   8   "DBKSNAPS"
 *      8  u32  format, 1
 *     12  u32  CRC-32C of bytes 16 to the end, seeded with the format
 *     16  16   the book's id
 *     32  32   the fold's fingerprint
 *     64  u64  version
 *     72  u64  position of that version's event
 *     80  i64  its time, us since 1970
 *     88  i64  the latest occurred up to it (an event without one counts by its time)
 *     96  u32  stream size
 *    100  u32  state size
 *    104       stream, state (JSON)
 *
 * Threads: pure functions; files by one thread a name at a time.
 * Source:  docs/format/snapshot.md.
 */
#ifndef DBK_FOLD_SNAPSHOT_H
#define DBK_FOLD_SNAPSHOT_H

#include "base/hash.h"
#include "base/memory.h"
#include "base/uuid.h"
#include "os/os.h"

#define DBK_SNAPSHOT_HEADER_SIZE 104
#define DBK_SNAPSHOT_FORMAT 1
#define DBK_SNAPSHOT_SIZE_MAX ((size_t)256 << 20)

struct dbk_snapshot {
    struct dbk_uuid book;
    uint8_t fingerprint[DBK_SHA256_SIZE];
    uint64_t version;
    uint64_t position;
    int64_t time_us;
    int64_t occurred_max_us;
    struct dbk_slice stream;
    struct dbk_slice state;
};

void dbk_snapshot_encode(const struct dbk_snapshot *snapshot, struct dbk_buf *out);
/* Slices point into the bytes. DBK_ECORRUPT; DBK_EFORMAT: newer. */
int dbk_snapshot_decode(struct dbk_slice bytes, struct dbk_snapshot *snapshot_out) DBK_MUST_CHECK;

/* Reads the file of a stream and version; 1: it is there and sound; 0: there is none to use. The
   snapshot's slices point into the buffer. */
int dbk_snapshot_read(struct dbk_os *os, const char *folder, struct dbk_slice stream,
                      uint64_t version, struct dbk_buf *bytes, struct dbk_snapshot *snapshot_out);
/* Writes it beside and renames it; not synced: a torn one is noticed, and none is missed. */
int dbk_snapshot_write(struct dbk_os *os, const char *folder, const struct dbk_snapshot *snapshot,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* Removes the snapshots of some streams from the folder, and whatever was begun of them; streams
   NULL: of all. */
int dbk_snapshot_drop(struct dbk_os *os, const char *folder, const struct dbk_slice *streams,
                      size_t count, uint64_t *count_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
