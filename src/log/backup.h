/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup -- a log copied while it is written to, piece by piece, and put back.
 *
 * A backup is a folder of segments, each named by its first position and its header's checksum, and
 * a manifest that says which of them, how much of each, and the checksum of that. The manifest is
 * replaced last, as a whole: until then the backup before stands, whatever happens. Sealed segments
 * are copied once; of the last one only what is new. Everything copied is verified by the log's own
 * checksums on the way; everything restored by the manifest's.
 *
 * Index, snapshots and read models are made again from the log.
 *
 * Threads: one at a time a folder; beside a writer of any process.
 * Source:  docs/format/backup.md.
 */
#ifndef DBK_LOG_BACKUP_H
#define DBK_LOG_BACKUP_H

#include "base/memory.h"
#include "base/uuid.h"
#include "os/os.h"

#define DBK_BACKUP_FORMAT 1
#define DBK_BACKUP_HEADER_SIZE 72
#define DBK_BACKUP_ENTRY_SIZE 24
/* So many segments a backup may have. */
#define DBK_BACKUP_SEGMENTS_MAX ((size_t)1 << 20)

struct dbk_backup_entry {
    uint64_t first_position;
    uint32_t header_crc;
    uint32_t content_crc; /* of its first `size` bytes */
    uint64_t size;
};

struct dbk_backup_manifest {
    struct dbk_uuid book_id;
    uint64_t last_position;
    int64_t last_time_us;
    int64_t taken_us;
    uint32_t chain; /* of the last segment at its size */
    uint32_t salt;  /* of the last segment */
    uint64_t count;
    const char *entries; /* encoded; see dbk_backup_entry_at */
};

void dbk_backup_manifest_encode(const struct dbk_backup_manifest *manifest,
                                const struct dbk_backup_entry *entries, struct dbk_buf *out);
/* entries point into the bytes. DBK_ECORRUPT: it is none, or damaged; DBK_EFORMAT: newer. */
int dbk_backup_manifest_decode(struct dbk_slice bytes, struct dbk_backup_manifest *manifest_out,
                               uint32_t *version_out) DBK_MUST_CHECK;
struct dbk_backup_entry dbk_backup_entry_at(const struct dbk_backup_manifest *manifest,
                                            uint64_t index);

struct dbk_backup_options {
    struct dbk_os *os;
    const char *log;    /* the log's folder; borrowed, as the others */
    const char *backup; /* the backup's folder */
    /* Told how many bytes are done; negative ends it with that code, and it can be gone on with.
       NULL: not told. */
    int (*step)(void *context, uint64_t done, uint64_t total);
    /* A restore only: asked when the log is whole and can be opened. Negative: the restore fails
       with it, and can be gone on with. NULL: it may stay. */
    int (*approve)(void *context, struct dbk_error *err);
    void *context; /* of both */
};

struct dbk_backup_result {
    struct dbk_uuid book_id;
    uint64_t last_position;
    int64_t last_time_us;
    int64_t taken_us;
    uint64_t segments;
    uint64_t size;        /* of the backup, bytes of segments */
    uint64_t copied_size; /* bytes written by this call */
};

/*
 * Makes or carries on the backup in a folder, which is created when missing.
 *
 * DBK_ECONFLICT  another book's backup is there, or a later one of this book (the log is an older
 *                copy); nothing was changed
 * DBK_EINVAL     the folder is a log, or a data directory; nothing was changed
 * DBK_ECORRUPT   the log is damaged, or the manifest; the backup before stands
 * DBK_EFULL      no space: what was copied is gone on with by the next call
 * DBK_ENOTFOUND  no log; DBK_EIO, DBK_EDENIED, DBK_EFORMAT, DBK_ENOMEM
 */
int dbk_backup_make(const struct dbk_backup_options *options, struct dbk_backup_result *result_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* What a backup says of itself: its manifest alone is read. `log` is not used. DBK_ENOTFOUND. */
int dbk_backup_look(const struct dbk_backup_options *options, struct dbk_backup_result *result_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Reads all of a backup and compares checksums. `log` is not used. DBK_ECORRUPT names the file. */
int dbk_backup_verify(const struct dbk_backup_options *options,
                      struct dbk_backup_result *result_out, struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Writes a backup as a log, verified. The log's folder must not exist, be empty, or hold what a
 * restore of this backup that was interrupted left there. Until it is whole, nobody can open it.
 *
 * DBK_EEXISTS  there is a log already
 */
int dbk_backup_restore(const struct dbk_backup_options *options,
                       struct dbk_backup_result *result_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
