/* SPDX-License-Identifier: Apache-2.0 */
/* A backup that is read: compared with its checksums, and written as a log. */
#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"
#include "log/backing.h"
#include "log/path.h"

/* In a log's folder while it is being restored: the manifest of what it becomes. */
#define RESTORING_NAME "restoring"
#define COPY_SIZE ((size_t)1 << 20)

/* ---- Reading ---- */

/* Reads a copy of `entry` as far as it counts, and writes it into a file where one is given. */
static int read_copy(struct dbk_backing *backing, const char *folder, const char *name,
                     const struct dbk_backup_entry *entry, const struct dbk_file *out,
                     struct dbk_error *err)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    struct dbk_os *os = backing->os;
    uint32_t crc = 0;
    char *path = dbk_path_join(folder, name);
    if (path == NULL || dbk_buf_reserve(&backing->bytes, COPY_SIZE) < 0) {
        dbk_free(path);
        return dbk_backing_no_memory(folder, err);
    }
    int rc = os->open(os, path, DBK_OS_READ, &file, err);
    if (rc == DBK_ENOTFOUND)
        rc = dbk_error_set(err, DBK_ECORRUPT, "%s is missing", path);
    for (uint64_t at = 0; rc == DBK_OK && at < entry->size;) {
        uint64_t left = entry->size - at;
        size_t size = 0;
        rc = os->pread(os, &file, backing->bytes.data, left < COPY_SIZE ? (size_t)left : COPY_SIZE,
                       at, &size, err);
        if (rc == DBK_OK && size == 0)
            rc = dbk_error_set(err, DBK_ECORRUPT, "%s has %" PRIu64 " bytes instead of %" PRIu64,
                               path, at, entry->size);
        struct dbk_slice bytes = dbk_slice(backing->bytes.data, size);
        if (rc == DBK_OK && out != NULL)
            rc = os->pwrite(os, out, bytes, at, err);
        if (rc < 0)
            break;
        crc = dbk_crc32c(crc, bytes);
        at += size;
        rc = dbk_backing_tell(backing, size);
    }
    if (rc == DBK_OK && crc != entry->content_crc)
        rc = dbk_error_set(err, DBK_ECORRUPT, "%s is damaged: its checksum differs", path);
    os->close(os, &file);
    dbk_free(path);
    return rc;
}

static int read_backup(struct dbk_backing *backing, struct dbk_error *err)
{
    int rc = dbk_backing_read_manifest(backing->os, backing->options->backup, DBK_MANIFEST_NAME,
                                       &backing->old, &backing->before, err);
    if (rc == 0)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "there is no whole backup in %s",
                           backing->options->backup);
    if (rc < 0)
        return rc;
    for (uint64_t i = 0; i < backing->before.count; i++)
        backing->total += dbk_backup_entry_at(&backing->before, i).size;
    return DBK_OK;
}

int dbk_backup_look(const struct dbk_backup_options *options, struct dbk_backup_result *result_out,
                    struct dbk_error *err)
{
    struct dbk_backing backing;
    dbk_backing_init(&backing, options);
    int rc = read_backup(&backing, err);
    if (rc == DBK_OK)
        dbk_backing_result(&backing, &backing.before, result_out);
    dbk_backing_release(&backing);
    return rc;
}

int dbk_backup_verify(const struct dbk_backup_options *options,
                      struct dbk_backup_result *result_out, struct dbk_error *err)
{
    struct dbk_backing backing;
    dbk_backing_init(&backing, options);
    int rc = read_backup(&backing, err);
    for (uint64_t i = 0; rc == DBK_OK && i < backing.before.count; i++) {
        struct dbk_backup_entry entry = dbk_backup_entry_at(&backing.before, i);
        char name[DBK_COPY_NAME_SIZE];
        dbk_backing_copy_name(&entry, name);
        rc = read_copy(&backing, options->backup, name, &entry, NULL, err);
    }
    if (rc == DBK_OK)
        dbk_backing_result(&backing, &backing.before, result_out);
    dbk_backing_release(&backing);
    return rc;
}

/* ---- Restoring ---- */

/* A marker alone, or half of one, is what a crash at the very beginning leaves. */
static int count_name(const char *name, void *context)
{
    if (strcmp(name, RESTORING_NAME) != 0 && strcmp(name, RESTORING_NAME ".tmp") != 0)
        ++*(uint64_t *)context;
    return DBK_OK;
}

/* An empty folder, or what a restore of this backup left there. */
static int claim_folder(struct dbk_backing *backing, struct dbk_error *err)
{
    const char *folder = backing->options->log;
    struct dbk_os *os = backing->os;
    struct dbk_backup_manifest left = {0};
    struct dbk_buf bytes;
    uint64_t names = 0;
    dbk_buf_init(&bytes, DBK_MANIFEST_SIZE_MAX);
    int rc = dbk_os_make_folder(os, folder, err);
    if (rc == DBK_OK)
        rc = os->list(os, folder, count_name, &names, err);
    if (rc == DBK_OK && names > 0) {
        rc = dbk_backing_read_manifest(os, folder, RESTORING_NAME, &bytes, &left, NULL);
        bool begun = rc == 1;
        bool same = begun && dbk_uuid_equal(&left.book_id, &backing->before.book_id) &&
                    left.last_position == backing->before.last_position;
        rc = same ? DBK_OK
                  : dbk_error_set(err, DBK_EEXISTS,
                                  begun ? "%s holds a part of another backup; remove it"
                                        : "there is a log in %s already",
                                  folder);
    }
    dbk_buf_release(&bytes);
    return rc;
}

static int restore_segment(struct dbk_backing *backing, const struct dbk_backup_entry *entry,
                           struct dbk_error *err)
{
    char name[DBK_SEGMENT_NAME_SIZE];
    char copy[DBK_COPY_NAME_SIZE];
    struct dbk_file file = DBK_FILE_CLOSED;
    struct dbk_os *os = backing->os;
    uint64_t done = backing->done;
    dbk_backing_copy_name(entry, copy);
    (void)snprintf(name, sizeof(name), "%020" PRIu64 ".seg", entry->first_position);
    char *path = dbk_path_join(backing->options->log, name);
    if (path == NULL)
        return dbk_backing_no_memory(backing->options->log, err);
    /* An interrupted restore may have written it; whether it is synced, too, nobody knows. */
    int rc = read_copy(backing, backing->options->log, name, entry, NULL, NULL);
    bool there = rc == DBK_OK;
    if (!there)
        backing->done = done;
    rc = os->open(os, path, DBK_OS_WRITE | DBK_OS_CREATE, &file, err);
    if (rc == DBK_OK && !there)
        rc = os->truncate(os, &file, 0, err);
    if (rc == DBK_OK && !there)
        rc = read_copy(backing, backing->options->backup, copy, entry, &file, err);
    if (rc == DBK_OK)
        rc = os->sync(os, &file, err);
    os->close(os, &file);
    dbk_free(path);
    if (rc == DBK_OK && !there)
        backing->copied += entry->size;
    return rc;
}

static int begin_restore(struct dbk_backing *backing, struct dbk_error *err)
{
    struct dbk_backup_manifest *manifest = &backing->before;
    const char *folder = backing->options->log;
    for (uint64_t i = 0; i < manifest->count; i++) {
        struct dbk_backup_entry entry = dbk_backup_entry_at(manifest, i);
        dbk_buf_append(&backing->entries, dbk_slice(&entry, sizeof(entry)));
    }
    if (backing->entries.rc < 0)
        return dbk_backing_no_memory(folder, err);
    int rc = dbk_backing_write_manifest(backing, manifest, folder, RESTORING_NAME, err);
    if (rc < 0)
        return rc;
    /* From here on the log says that more was synced than is there: nobody can open it. */
    struct dbk_note note = {
        .sequence = 1,
        .segment = manifest->count - 1,
        .size = dbk_backup_entry_at(manifest, manifest->count - 1).size,
        .last_position = manifest->last_position,
        .last_time_us = manifest->last_time_us,
        .salt = manifest->salt,
        .chain = manifest->chain,
    };
    return dbk_note_replace(backing->os, folder, &note, err);
}

/* All of it is there, and so it can be opened; the marker goes when it may stay. */
static int check_whole(struct dbk_backing *backing, struct dbk_error *err)
{
    const struct dbk_backup_options *options = backing->options;
    int rc = backing->os->sync_folder(backing->os, options->log, err);
    if (rc == DBK_OK)
        rc = dbk_log_open(&(struct dbk_log_options){.os = backing->os, .folder = options->log},
                          &backing->log, err);
    if (rc == DBK_OK && dbk_log_last_position(backing->log) != backing->before.last_position)
        rc = dbk_error_set(err, DBK_ECORRUPT, "%s ends at position %" PRIu64 " instead of %" PRIu64,
                           options->log, dbk_log_last_position(backing->log),
                           backing->before.last_position);
    return rc == DBK_OK && options->approve != NULL ? options->approve(options->context, err) : rc;
}

static int end_restore(struct dbk_backing *backing, struct dbk_error *err)
{
    struct dbk_os *os = backing->os;
    const char *folder = backing->options->log;
    char *path = dbk_path_join(folder, RESTORING_NAME);
    int rc = path == NULL ? dbk_backing_no_memory(folder, err) : check_whole(backing, err);
    if (rc == DBK_OK)
        rc = os->remove(os, path, err);
    if (rc == DBK_OK)
        rc = os->sync_folder(os, folder, err);
    dbk_free(path);
    return rc;
}

int dbk_backup_restore(const struct dbk_backup_options *options,
                       struct dbk_backup_result *result_out, struct dbk_error *err)
{
    struct dbk_backing backing;
    dbk_backing_init(&backing, options);
    int rc = read_backup(&backing, err);
    if (rc == DBK_OK)
        rc = claim_folder(&backing, err);
    if (rc == DBK_OK)
        rc = begin_restore(&backing, err);
    for (uint64_t i = 0; rc == DBK_OK && i < backing.before.count; i++) {
        struct dbk_backup_entry entry = dbk_backup_entry_at(&backing.before, i);
        rc = restore_segment(&backing, &entry, err);
    }
    if (rc == DBK_OK)
        rc = end_restore(&backing, err);
    if (rc == DBK_OK)
        dbk_backing_result(&backing, &backing.before, result_out);
    dbk_backing_release(&backing);
    return rc;
}
