/* SPDX-License-Identifier: Apache-2.0 */
#include "log/backup.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"
#include "log/backing.h"
#include "log/path.h"

/* What a backup that was interrupted had copied. */
#define PARTIAL_NAME "manifest.partial"
#define COPY_SIZE ((size_t)1 << 20)

/* What a manifest says of a segment's very version; false: nothing. */
static bool find_in(const struct dbk_backup_manifest *manifest, struct dbk_backup_entry *entry)
{
    uint64_t low = 0;
    uint64_t high = manifest->count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        struct dbk_backup_entry found = dbk_backup_entry_at(manifest, middle);
        if (found.first_position == entry->first_position) {
            if (found.header_crc != entry->header_crc)
                return false;
            *entry = found;
            return true;
        }
        if (found.first_position < entry->first_position)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* What is there of a segment's very version, by the backup before or one that was interrupted. */
static bool find_before(const struct dbk_backing *backing, struct dbk_backup_entry *entry)
{
    return (backing->has_partial && find_in(&backing->partial, entry)) ||
           (backing->has_before && find_in(&backing->before, entry));
}

/* Bytes of the segment that stands at an index: by its mapping, or the last one by reading. */
static int read_segment(struct dbk_backing *backing, struct dbk_segment *segment, uint64_t offset,
                        size_t size, struct dbk_slice *bytes_out, struct dbk_error *err)
{
    const char *mapped = atomic_load(&segment->mapped);
    if (mapped != NULL) {
        *bytes_out = dbk_slice(mapped + offset, size);
        return DBK_OK;
    }
    struct dbk_range range = {
        .offset = offset, .end = offset + size, .size_min = size, .size_max = size};
    return dbk_segment_bytes(backing->os, segment, &range, &backing->bytes, bytes_out, err);
}

/* Copies bytes [entry->size, size) behind those that are there, and syncs. */
static int copy_bytes(struct dbk_backing *backing, struct dbk_segment *segment,
                      struct dbk_backup_entry *entry, uint64_t size, struct dbk_error *err)
{
    char name[DBK_COPY_NAME_SIZE];
    struct dbk_file file = DBK_FILE_CLOSED;
    struct dbk_os *os = backing->os;
    dbk_backing_copy_name(entry, name);
    char *path = dbk_path_join(backing->options->backup, name);
    if (path == NULL)
        return dbk_backing_no_memory(backing->options->backup, err);
    int rc = os->open(os, path, DBK_OS_WRITE | DBK_OS_CREATE, &file, err);
    while (rc == DBK_OK && entry->size < size) {
        uint64_t left = size - entry->size;
        struct dbk_slice bytes = {0};
        rc = read_segment(backing, segment, entry->size,
                          left < COPY_SIZE ? (size_t)left : COPY_SIZE, &bytes, err);
        if (rc == DBK_OK)
            rc = os->pwrite(os, &file, bytes, entry->size, err);
        if (rc < 0)
            break;
        entry->content_crc = dbk_crc32c(entry->content_crc, bytes);
        entry->size += bytes.size;
        backing->copied += bytes.size;
        rc = dbk_backing_tell(backing, bytes.size);
    }
    if (rc == DBK_OK)
        rc = os->sync(os, &file, err);
    os->close(os, &file);
    dbk_free(path);
    return rc;
}

/* The file of a segment as far as it belongs to the log: header, groups, and places. */
static uint64_t copy_size(const struct dbk_segment *segment, struct dbk_log_place end,
                          uint32_t index)
{
    return index == end.segment ? dbk_log_segment_end(segment, end, index) : segment->map_size;
}

/* The same copy, of which less counts; the segment is mapped. */
static struct dbk_backup_entry shortened(const struct dbk_segment *segment,
                                         const struct dbk_backup_entry *entry, uint64_t size)
{
    struct dbk_backup_entry shorter = *entry;
    shorter.size = size;
    shorter.content_crc = dbk_crc32c(0, dbk_slice(atomic_load(&segment->mapped), (size_t)size));
    return shorter;
}

/* So that the next attempt goes on behind this segment. */
static int write_partial(struct dbk_backing *backing, uint32_t index, struct dbk_error *err)
{
    struct dbk_backup_manifest manifest = {.book_id = *dbk_log_book_id(backing->log),
                                           .count = (uint64_t)index + 1};
    struct dbk_os *os = backing->os;
    int rc = os->sync_folder(os, backing->options->backup, err);
    if (rc < 0)
        return rc;
    return dbk_backing_write_manifest(backing, &manifest, backing->options->backup, PARTIAL_NAME,
                                      err);
}

static int copy_segment(struct dbk_backing *backing, uint32_t index, struct dbk_log_place end,
                        struct dbk_error *err)
{
    struct dbk_segment *segment = NULL;
    uint64_t copied = backing->copied;
    int rc = dbk_log_pin(backing->log, index, &segment, err);
    if (rc < 0)
        goto out;
    struct dbk_backup_entry entry = {.first_position = segment->header.first_position,
                                     .header_crc = segment->header.crc};
    uint64_t size = copy_size(segment, end, index);
    bool known = find_before(backing, &entry);
    /* A recovery cut the segment and wrote its last groups into the next one. */
    if (known && entry.size > size && atomic_load(&segment->mapped) != NULL)
        entry = shortened(segment, &entry, size);
    if (entry.size > size)
        rc = dbk_error_set(err, DBK_ECONFLICT, "%s has more of %s than the log, which still grows",
                           backing->options->backup, segment->name);
    backing->done += entry.size;
    if (rc == DBK_OK && entry.size < size)
        rc = copy_bytes(backing, segment, &entry, size, err);
    dbk_buf_append(&backing->entries, dbk_slice(&entry, sizeof(entry)));
    if (rc == DBK_OK && backing->entries.rc < 0)
        rc = dbk_backing_no_memory(backing->options->backup, err);
    if (rc == DBK_OK && backing->copied > copied)
        rc = write_partial(backing, index, err);
out:
    dbk_log_unpin(segment);
    return rc;
}

/* Verifies what is to be copied: whole groups, checksums, and that each segment follows. */
static int verify_log(struct dbk_backing *backing, uint32_t from, uint64_t last_position,
                      struct dbk_error *err)
{
    struct dbk_log_scan *scan = NULL;
    struct dbk_event event = {0};
    int rc = dbk_log_scan_open(backing->log, (struct dbk_log_place){from, 0}, 0, &scan, err);
    while (rc == DBK_OK && event.position < last_position) {
        rc = dbk_log_scan_next(scan, &event, NULL, err);
        if (rc == 0)
            break;
        rc = rc > 0 ? DBK_OK : rc;
    }
    dbk_log_scan_free(scan);
    return rc;
}

/* The first segment that the backup before does not have whole. */
static uint32_t first_new(const struct dbk_backing *backing, struct dbk_log_place end)
{
    uint32_t index = 0;
    for (; index < end.segment; index++) {
        const struct dbk_segment *segment = dbk_log_segment(backing->log, index);
        struct dbk_backup_entry entry = {.first_position = segment->header.first_position,
                                         .header_crc = segment->header.crc};
        if (!find_before(backing, &entry) || entry.size != segment->map_size)
            break;
    }
    return index;
}

struct leftovers {
    const struct dbk_backing *backing;
    uint64_t count;
    struct dbk_buf names;
};

/* Copies that the manifest does not name are of no use. */
static int collect_leftover(const char *name, void *context)
{
    struct leftovers *leftovers = context;
    const struct dbk_backup_entry *entries = (const void *)leftovers->backing->entries.data;
    uint64_t position = 0;
    size_t size = strlen(name);
    if (size != DBK_COPY_NAME_SIZE - 1 || strcmp(name + size - 4, ".seg") != 0 ||
        !dbk_slice_to_u64(dbk_slice(name, 20), &position))
        return DBK_OK;
    for (uint64_t i = 0; i < leftovers->count; i++) {
        char kept[DBK_COPY_NAME_SIZE];
        if (entries[i].first_position != position)
            continue;
        dbk_backing_copy_name(&entries[i], kept);
        if (strcmp(kept, name) == 0)
            return DBK_OK;
    }
    dbk_buf_append(&leftovers->names, dbk_slice(name, size + 1));
    return leftovers->names.rc;
}

static void remove_name(const struct dbk_backing *backing, const char *name)
{
    char *path = dbk_path_join(backing->options->backup, name);
    if (path != NULL)
        dbk_ignore(backing->os->remove(backing->os, path, NULL));
    dbk_free(path);
}

static void remove_leftovers(const struct dbk_backing *backing, uint64_t count)
{
    struct leftovers leftovers = {.backing = backing, .count = count};
    const char *folder = backing->options->backup;
    dbk_buf_init(&leftovers.names, SIZE_MAX);
    int rc = backing->os->list(backing->os, folder, collect_leftover, &leftovers, NULL);
    for (size_t at = 0; rc == DBK_OK && at < leftovers.names.size;
         at += strlen(leftovers.names.data + at) + 1)
        remove_name(backing, leftovers.names.data + at);
    dbk_buf_release(&leftovers.names);
}

/* What a log or a data directory has, and a backup never. */
static int look_for_log(const char *name, void *context)
{
    static const char *const names[] = {"LOCK", "log", "synced", "00000000000000000001.seg"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0)
            *(const char **)context = names[i];
    }
    return DBK_OK;
}

static int check_folder(const struct dbk_backing *backing, struct dbk_error *err)
{
    const char *folder = backing->options->backup;
    const char *found = NULL;
    int rc = backing->os->list(backing->os, folder, look_for_log, (void *)&found, err);
    if (rc == DBK_OK && found != NULL)
        rc = dbk_error_set(err, DBK_EINVAL,
                           "%s is a data directory or a log, it has %s; give a backup a folder of "
                           "its own",
                           folder, found);
    return rc;
}

/* The manifest there must be an earlier one of this book. */
static int check_before(struct dbk_backing *backing, const struct dbk_note *note,
                        struct dbk_error *err)
{
    int rc = dbk_backing_read_manifest(backing->os, backing->options->backup, DBK_MANIFEST_NAME,
                                       &backing->old, &backing->before, err);
    if (rc < 0)
        return rc;
    backing->has_before = rc > 0;
    /* One that cannot be read is as good as none. */
    backing->has_partial =
        dbk_backing_read_manifest(backing->os, backing->options->backup, PARTIAL_NAME,
                                  &backing->partial_bytes, &backing->partial, NULL) == 1 &&
        dbk_uuid_equal(&backing->partial.book_id, dbk_log_book_id(backing->log));
    if (!backing->has_before)
        return DBK_OK;
    if (!dbk_uuid_equal(&backing->before.book_id, dbk_log_book_id(backing->log)))
        return dbk_error_set(err, DBK_ECONFLICT, "%s is a backup of another book",
                             backing->options->backup);
    if (backing->before.last_position > note->last_position)
        return dbk_error_set(
            err, DBK_ECONFLICT,
            "%s goes up to position %" PRIu64 ", the log to %" PRIu64 ": the log is an older copy",
            backing->options->backup, backing->before.last_position, note->last_position);
    return DBK_OK;
}

static int make(struct dbk_backing *backing, struct dbk_backup_result *result_out,
                struct dbk_error *err)
{
    const struct dbk_backup_options *options = backing->options;
    struct dbk_os *os = backing->os;
    int rc = dbk_log_open(&(struct dbk_log_options){.os = os, .folder = options->log},
                          &backing->log, err);
    if (rc == DBK_OK)
        rc = dbk_os_make_folder(os, options->backup, err);
    if (rc == DBK_OK)
        rc = check_folder(backing, err);
    if (rc < 0)
        return rc;
    /* A reader's tail is what its note says. */
    struct dbk_note note = dbk_log_note(backing->log);
    struct dbk_log_place end = dbk_log_end(backing->log);
    rc = check_before(backing, &note, err);
    for (uint32_t i = 0; rc == DBK_OK && i <= end.segment; i++)
        backing->total += copy_size(dbk_log_segment(backing->log, i), end, i);
    if (rc == DBK_OK && note.last_position > 0)
        rc = verify_log(backing, first_new(backing, end), note.last_position, err);
    for (uint32_t i = 0; rc == DBK_OK && i <= end.segment; i++)
        rc = copy_segment(backing, i, end, err);
    if (rc == DBK_OK)
        rc = os->sync_folder(os, options->backup, err);
    if (rc < 0)
        return rc;
    struct dbk_backup_manifest manifest = {
        .book_id = *dbk_log_book_id(backing->log),
        .last_position = note.last_position,
        .last_time_us = note.last_time_us,
        .taken_us = os->now_us(os),
        .chain = note.chain,
        .salt = note.salt,
        .count = (uint64_t)end.segment + 1,
    };
    rc = dbk_backing_write_manifest(backing, &manifest, options->backup, DBK_MANIFEST_NAME, err);
    if (rc < 0)
        return rc;
    remove_name(backing, PARTIAL_NAME);
    remove_leftovers(backing, manifest.count);
    *result_out = (struct dbk_backup_result){.book_id = manifest.book_id,
                                             .last_position = manifest.last_position,
                                             .last_time_us = manifest.last_time_us,
                                             .taken_us = manifest.taken_us,
                                             .segments = manifest.count,
                                             .size = backing->total,
                                             .copied_size = backing->copied};
    return DBK_OK;
}

int dbk_backup_make(const struct dbk_backup_options *options, struct dbk_backup_result *result_out,
                    struct dbk_error *err)
{
    struct dbk_backing backing;
    dbk_backing_init(&backing, options);
    int rc = make(&backing, result_out, err);
    dbk_backing_release(&backing);
    return rc;
}
