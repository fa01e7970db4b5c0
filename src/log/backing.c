/* SPDX-License-Identifier: Apache-2.0 */
#include "log/backing.h"

#include <inttypes.h>
#include <stdio.h>

#include "log/path.h"

void dbk_backing_copy_name(const struct dbk_backup_entry *entry, char name[DBK_COPY_NAME_SIZE])
{
    (void)snprintf(name, DBK_COPY_NAME_SIZE, "%020" PRIu64 "-%08" PRIx32 ".seg",
                   entry->first_position, entry->header_crc);
}

int dbk_backing_no_memory(const char *folder, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s: %s", folder, dbk_code_text(DBK_ENOMEM));
}

/* Reads a manifest; 1: it is there; 0: there is none. */
int dbk_backing_read_manifest(struct dbk_os *os, const char *folder, const char *name,
                              struct dbk_buf *bytes, struct dbk_backup_manifest *manifest_out,
                              struct dbk_error *err)
{
    struct dbk_error why = {0};
    uint32_t version = 0;
    char *path = dbk_path_join(folder, name);
    if (path == NULL)
        return dbk_backing_no_memory(folder, err);
    dbk_buf_reset(bytes);
    int rc = dbk_os_read_file(os, path, DBK_MANIFEST_SIZE_MAX, bytes, &why);
    if (rc < 0 && rc != DBK_ENOTFOUND && err != NULL)
        *err = why;
    if (rc == DBK_OK)
        rc = dbk_backup_manifest_decode(dbk_buf_slice(bytes), manifest_out, &version);
    if (rc == DBK_EFORMAT)
        (void)dbk_error_set(err, rc,
                            "%s has format version %" PRIu32 ", this Daybook reads up to %d", path,
                            version, DBK_BACKUP_FORMAT);
    else if (rc == DBK_ECORRUPT)
        (void)dbk_error_set(err, rc, "%s is damaged, or no manifest of a backup", path);
    dbk_free(path);
    return rc == DBK_OK ? 1 : rc == DBK_ENOTFOUND ? 0 : rc;
}

int dbk_backing_tell(struct dbk_backing *backing, uint64_t size)
{
    const struct dbk_backup_options *options = backing->options;
    backing->done += size;
    return options->step == NULL ? DBK_OK
                                 : options->step(options->context, backing->done, backing->total);
}

void dbk_backing_result(const struct dbk_backing *backing,
                        const struct dbk_backup_manifest *manifest,
                        struct dbk_backup_result *result_out)
{
    *result_out = (struct dbk_backup_result){.book_id = manifest->book_id,
                                             .last_position = manifest->last_position,
                                             .last_time_us = manifest->last_time_us,
                                             .taken_us = manifest->taken_us,
                                             .segments = manifest->count,
                                             .copied_size = backing->copied};
    for (uint64_t i = 0; i < manifest->count; i++)
        result_out->size += dbk_backup_entry_at(manifest, i).size;
}

void dbk_backing_init(struct dbk_backing *backing, const struct dbk_backup_options *options)
{
    *backing = (struct dbk_backing){.options = options, .os = options->os};
    dbk_buf_init(&backing->old, DBK_MANIFEST_SIZE_MAX);
    dbk_buf_init(&backing->partial_bytes, DBK_MANIFEST_SIZE_MAX);
    dbk_buf_init(&backing->bytes, SIZE_MAX);
    dbk_buf_init(&backing->entries, SIZE_MAX);
}

void dbk_backing_release(struct dbk_backing *backing)
{
    dbk_log_free(backing->log);
    dbk_buf_release(&backing->old);
    dbk_buf_release(&backing->partial_bytes);
    dbk_buf_release(&backing->bytes);
    dbk_buf_release(&backing->entries);
}

int dbk_backing_write_manifest(struct dbk_backing *backing,
                               const struct dbk_backup_manifest *manifest, const char *folder,
                               const char *name, struct dbk_error *err)
{
    struct dbk_buf bytes;
    char *path = dbk_path_join(folder, name);
    if (path == NULL)
        return dbk_backing_no_memory(folder, err);
    dbk_buf_init(&bytes, DBK_MANIFEST_SIZE_MAX);
    dbk_backup_manifest_encode(manifest, (const void *)backing->entries.data, &bytes);
    int rc = bytes.rc < 0 ? dbk_backing_no_memory(folder, err)
                          : dbk_os_replace_file(backing->os, path, dbk_buf_slice(&bytes), err);
    dbk_buf_release(&bytes);
    dbk_free(path);
    return rc;
}
