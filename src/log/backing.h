/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What making, reading and restoring a backup share (docs/format/backup.md).
 */
#ifndef DBK_LOG_BACKING_H
#define DBK_LOG_BACKING_H

#include "log/backup.h"
#include "log/load.h"

#define DBK_MANIFEST_NAME "manifest"
#define DBK_MANIFEST_SIZE_MAX                                                                      \
    (DBK_BACKUP_HEADER_SIZE + DBK_BACKUP_SEGMENTS_MAX * DBK_BACKUP_ENTRY_SIZE)
/* "00000000000000000001-0123abcd.seg" and its NUL. */
#define DBK_COPY_NAME_SIZE 34

struct dbk_backing {
    const struct dbk_backup_options *options;
    struct dbk_os *os;
    struct dbk_log *log;
    struct dbk_buf old; /* the manifest before */
    struct dbk_backup_manifest before;
    bool has_before;
    struct dbk_buf partial_bytes;
    struct dbk_backup_manifest partial;
    bool has_partial;
    struct dbk_buf bytes; /* being copied */
    struct dbk_buf entries;
    uint64_t done;
    uint64_t total;
    uint64_t copied;
};

void dbk_backing_init(struct dbk_backing *backing, const struct dbk_backup_options *options);
void dbk_backing_release(struct dbk_backing *backing);

/* DBK_ENOMEM, with the folder's name. */
int dbk_backing_no_memory(const char *folder, struct dbk_error *err) DBK_MUST_CHECK;
/* A segment's file in a backup. */
void dbk_backing_copy_name(const struct dbk_backup_entry *entry, char name[DBK_COPY_NAME_SIZE]);
/* More bytes are done. What `step` says. */
int dbk_backing_tell(struct dbk_backing *backing, uint64_t size) DBK_MUST_CHECK;
void dbk_backing_result(const struct dbk_backing *backing,
                        const struct dbk_backup_manifest *manifest,
                        struct dbk_backup_result *result_out);

/* Reads a manifest, which keeps pointing into `bytes`. 1: it is there; 0: there is none. */
int dbk_backing_read_manifest(struct dbk_os *os, const char *folder, const char *name,
                              struct dbk_buf *bytes, struct dbk_backup_manifest *manifest_out,
                              struct dbk_error *err) DBK_MUST_CHECK;
/* Writes one of `entries`, synced, in place of what is there. */
int dbk_backing_write_manifest(struct dbk_backing *backing,
                               const struct dbk_backup_manifest *manifest, const char *folder,
                               const char *name, struct dbk_error *err) DBK_MUST_CHECK;

#endif
