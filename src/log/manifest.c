/* SPDX-License-Identifier: Apache-2.0 */
/* A backup's manifest as bytes. */
#include "base/bytes.h"
#include "base/hash.h"
#include "log/backup.h"

static const char magic[8] = "dbkbackp";

void dbk_backup_manifest_encode(const struct dbk_backup_manifest *manifest,
                                const struct dbk_backup_entry *entries, struct dbk_buf *out)
{
    char header[DBK_BACKUP_HEADER_SIZE] = {0};
    char entry[DBK_BACKUP_ENTRY_SIZE];
    size_t begin = out->size;
    memcpy(header, magic, sizeof(magic));
    dbk_put_u32(header + 8, DBK_BACKUP_FORMAT);
    memcpy(header + 16, manifest->book_id.bytes, DBK_UUID_SIZE);
    dbk_put_u64(header + 32, manifest->last_position);
    dbk_put_i64(header + 40, manifest->last_time_us);
    dbk_put_i64(header + 48, manifest->taken_us);
    dbk_put_u32(header + 56, manifest->chain);
    dbk_put_u32(header + 60, manifest->salt);
    dbk_put_u64(header + 64, manifest->count);
    dbk_buf_append(out, dbk_slice(header, sizeof(header)));
    for (uint64_t i = 0; i < manifest->count; i++) {
        dbk_put_u64(entry, entries[i].first_position);
        dbk_put_u32(entry + 8, entries[i].header_crc);
        dbk_put_u32(entry + 12, entries[i].content_crc);
        dbk_put_u64(entry + 16, entries[i].size);
        dbk_buf_append(out, dbk_slice(entry, sizeof(entry)));
    }
    if (out->rc < 0)
        return;
    char *bytes = out->data + begin;
    dbk_put_u32(bytes + 12,
                dbk_crc32c(DBK_BACKUP_FORMAT, dbk_slice(bytes + 16, out->size - begin - 16)));
}

struct dbk_backup_entry dbk_backup_entry_at(const struct dbk_backup_manifest *manifest,
                                            uint64_t index)
{
    const char *at = manifest->entries + index * DBK_BACKUP_ENTRY_SIZE;
    return (struct dbk_backup_entry){.first_position = dbk_get_u64(at),
                                     .header_crc = dbk_get_u32(at + 8),
                                     .content_crc = dbk_get_u32(at + 12),
                                     .size = dbk_get_u64(at + 16)};
}

int dbk_backup_manifest_decode(struct dbk_slice bytes, struct dbk_backup_manifest *manifest_out,
                               uint32_t *version_out)
{
    const char *at = bytes.data;
    if (bytes.size < DBK_BACKUP_HEADER_SIZE || memcmp(at, magic, sizeof(magic)) != 0)
        return DBK_ECORRUPT;
    *version_out = dbk_get_u32(at + 8);
    if (*version_out > DBK_BACKUP_FORMAT)
        return DBK_EFORMAT;
    struct dbk_backup_manifest manifest = {.last_position = dbk_get_u64(at + 32),
                                           .last_time_us = dbk_get_i64(at + 40),
                                           .taken_us = dbk_get_i64(at + 48),
                                           .chain = dbk_get_u32(at + 56),
                                           .salt = dbk_get_u32(at + 60),
                                           .count = dbk_get_u64(at + 64),
                                           .entries = at + DBK_BACKUP_HEADER_SIZE};
    memcpy(manifest.book_id.bytes, at + 16, DBK_UUID_SIZE);
    if (*version_out != DBK_BACKUP_FORMAT || manifest.count == 0 ||
        manifest.count > DBK_BACKUP_SEGMENTS_MAX ||
        bytes.size != DBK_BACKUP_HEADER_SIZE + manifest.count * DBK_BACKUP_ENTRY_SIZE ||
        dbk_get_u32(at + 12) != dbk_crc32c(DBK_BACKUP_FORMAT, dbk_slice(at + 16, bytes.size - 16)))
        return DBK_ECORRUPT;
    for (uint64_t i = 0; i < manifest.count; i++) {
        struct dbk_backup_entry entry = dbk_backup_entry_at(&manifest, i);
        uint64_t before = i == 0 ? 0 : dbk_backup_entry_at(&manifest, i - 1).first_position;
        if (entry.first_position <= before || entry.size > UINT32_MAX)
            return DBK_ECORRUPT;
    }
    *manifest_out = manifest;
    return DBK_OK;
}
