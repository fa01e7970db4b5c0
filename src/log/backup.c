/* SPDX-License-Identifier: Apache-2.0 */
#include "log/backup.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"
#include "log/load.h"
#include "log/path.h"

#define MANIFEST_NAME "manifest"
/* What a backup that was interrupted had copied. */
#define PARTIAL_NAME "manifest.partial"
#define MANIFEST_SIZE_MAX (DBK_BACKUP_HEADER_SIZE + DBK_BACKUP_SEGMENTS_MAX * DBK_BACKUP_ENTRY_SIZE)
/* In a log's folder while it is being restored: the manifest of what it becomes. */
#define RESTORING_NAME "restoring"
#define COPY_SIZE ((size_t)1 << 20)
/* "00000000000000000001-0123abcd.seg" and its NUL. */
#define COPY_NAME_SIZE 34

struct backing {
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

static void copy_name(const struct dbk_backup_entry *entry, char name[COPY_NAME_SIZE])
{
    (void)snprintf(name, COPY_NAME_SIZE, "%020" PRIu64 "-%08" PRIx32 ".seg", entry->first_position,
                   entry->header_crc);
}

static int no_memory(const char *folder, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s: %s", folder, dbk_code_text(DBK_ENOMEM));
}

/* Reads a manifest; 1: it is there; 0: there is none. */
static int read_manifest(struct dbk_os *os, const char *folder, const char *name,
                         struct dbk_buf *bytes, struct dbk_backup_manifest *manifest_out,
                         struct dbk_error *err)
{
    struct dbk_error why = {0};
    uint32_t version = 0;
    char *path = dbk_path_join(folder, name);
    if (path == NULL)
        return no_memory(folder, err);
    dbk_buf_reset(bytes);
    int rc = dbk_os_read_file(os, path, MANIFEST_SIZE_MAX, bytes, &why);
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

static int tell(struct backing *backing, uint64_t size)
{
    const struct dbk_backup_options *options = backing->options;
    backing->done += size;
    return options->step == NULL ? DBK_OK
                                 : options->step(options->context, backing->done, backing->total);
}

static void fill_result(const struct backing *backing, const struct dbk_backup_manifest *manifest,
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

static void init(struct backing *backing, const struct dbk_backup_options *options)
{
    *backing = (struct backing){.options = options, .os = options->os};
    dbk_buf_init(&backing->old, MANIFEST_SIZE_MAX);
    dbk_buf_init(&backing->partial_bytes, MANIFEST_SIZE_MAX);
    dbk_buf_init(&backing->bytes, SIZE_MAX);
    dbk_buf_init(&backing->entries, SIZE_MAX);
}

static void release(struct backing *backing)
{
    dbk_log_free(backing->log);
    dbk_buf_release(&backing->old);
    dbk_buf_release(&backing->partial_bytes);
    dbk_buf_release(&backing->bytes);
    dbk_buf_release(&backing->entries);
}

/* ---- Making ---- */

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
static bool find_before(const struct backing *backing, struct dbk_backup_entry *entry)
{
    return (backing->has_partial && find_in(&backing->partial, entry)) ||
           (backing->has_before && find_in(&backing->before, entry));
}

/* Bytes of the segment that stands at an index: by its mapping, or the last one by reading. */
static int read_segment(struct backing *backing, struct dbk_segment *segment, uint64_t offset,
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
static int copy_bytes(struct backing *backing, struct dbk_segment *segment,
                      struct dbk_backup_entry *entry, uint64_t size, struct dbk_error *err)
{
    char name[COPY_NAME_SIZE];
    struct dbk_file file = DBK_FILE_CLOSED;
    struct dbk_os *os = backing->os;
    copy_name(entry, name);
    char *path = dbk_path_join(backing->options->backup, name);
    if (path == NULL)
        return no_memory(backing->options->backup, err);
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
        rc = tell(backing, bytes.size);
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

static int write_manifest(struct backing *backing, const struct dbk_backup_manifest *manifest,
                          const char *folder, const char *name, struct dbk_error *err)
{
    struct dbk_buf bytes;
    char *path = dbk_path_join(folder, name);
    if (path == NULL)
        return no_memory(folder, err);
    dbk_buf_init(&bytes, MANIFEST_SIZE_MAX);
    dbk_backup_manifest_encode(manifest, (const void *)backing->entries.data, &bytes);
    int rc = bytes.rc < 0 ? no_memory(folder, err)
                          : dbk_os_replace_file(backing->os, path, dbk_buf_slice(&bytes), err);
    dbk_buf_release(&bytes);
    dbk_free(path);
    return rc;
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
static int write_partial(struct backing *backing, uint32_t index, struct dbk_error *err)
{
    struct dbk_backup_manifest manifest = {.book_id = *dbk_log_book_id(backing->log),
                                           .count = (uint64_t)index + 1};
    struct dbk_os *os = backing->os;
    int rc = os->sync_folder(os, backing->options->backup, err);
    if (rc < 0)
        return rc;
    return write_manifest(backing, &manifest, backing->options->backup, PARTIAL_NAME, err);
}

static int copy_segment(struct backing *backing, uint32_t index, struct dbk_log_place end,
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
        rc = no_memory(backing->options->backup, err);
    if (rc == DBK_OK && backing->copied > copied)
        rc = write_partial(backing, index, err);
out:
    dbk_log_unpin(segment);
    return rc;
}

/* Verifies what is to be copied: whole groups, checksums, and that each segment follows. */
static int verify_log(struct backing *backing, uint32_t from, uint64_t last_position,
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
static uint32_t first_new(const struct backing *backing, struct dbk_log_place end)
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
    const struct backing *backing;
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
    if (size != COPY_NAME_SIZE - 1 || strcmp(name + size - 4, ".seg") != 0 ||
        !dbk_slice_to_u64(dbk_slice(name, 20), &position))
        return DBK_OK;
    for (uint64_t i = 0; i < leftovers->count; i++) {
        char kept[COPY_NAME_SIZE];
        if (entries[i].first_position != position)
            continue;
        copy_name(&entries[i], kept);
        if (strcmp(kept, name) == 0)
            return DBK_OK;
    }
    dbk_buf_append(&leftovers->names, dbk_slice(name, size + 1));
    return leftovers->names.rc;
}

static void remove_name(const struct backing *backing, const char *name)
{
    char *path = dbk_path_join(backing->options->backup, name);
    if (path != NULL)
        dbk_ignore(backing->os->remove(backing->os, path, NULL));
    dbk_free(path);
}

static void remove_leftovers(const struct backing *backing, uint64_t count)
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

static int check_folder(const struct backing *backing, struct dbk_error *err)
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
static int check_before(struct backing *backing, const struct dbk_note *note, struct dbk_error *err)
{
    int rc = read_manifest(backing->os, backing->options->backup, MANIFEST_NAME, &backing->old,
                           &backing->before, err);
    if (rc < 0)
        return rc;
    backing->has_before = rc > 0;
    /* One that cannot be read is as good as none. */
    backing->has_partial = read_manifest(backing->os, backing->options->backup, PARTIAL_NAME,
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

static int make(struct backing *backing, struct dbk_backup_result *result_out,
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
    rc = write_manifest(backing, &manifest, options->backup, MANIFEST_NAME, err);
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
    struct backing backing;
    init(&backing, options);
    int rc = make(&backing, result_out, err);
    release(&backing);
    return rc;
}

/* ---- Reading ---- */

/* Reads a copy of `entry` as far as it counts, and writes it into a file where one is given. */
static int read_copy(struct backing *backing, const char *folder, const char *name,
                     const struct dbk_backup_entry *entry, const struct dbk_file *out,
                     struct dbk_error *err)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    struct dbk_os *os = backing->os;
    uint32_t crc = 0;
    char *path = dbk_path_join(folder, name);
    if (path == NULL || dbk_buf_reserve(&backing->bytes, COPY_SIZE) < 0) {
        dbk_free(path);
        return no_memory(folder, err);
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
        rc = tell(backing, size);
    }
    if (rc == DBK_OK && crc != entry->content_crc)
        rc = dbk_error_set(err, DBK_ECORRUPT, "%s is damaged: its checksum differs", path);
    os->close(os, &file);
    dbk_free(path);
    return rc;
}

static int read_backup(struct backing *backing, struct dbk_error *err)
{
    int rc = read_manifest(backing->os, backing->options->backup, MANIFEST_NAME, &backing->old,
                           &backing->before, err);
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
    struct backing backing;
    init(&backing, options);
    int rc = read_backup(&backing, err);
    if (rc == DBK_OK)
        fill_result(&backing, &backing.before, result_out);
    release(&backing);
    return rc;
}

int dbk_backup_verify(const struct dbk_backup_options *options,
                      struct dbk_backup_result *result_out, struct dbk_error *err)
{
    struct backing backing;
    init(&backing, options);
    int rc = read_backup(&backing, err);
    for (uint64_t i = 0; rc == DBK_OK && i < backing.before.count; i++) {
        struct dbk_backup_entry entry = dbk_backup_entry_at(&backing.before, i);
        char name[COPY_NAME_SIZE];
        copy_name(&entry, name);
        rc = read_copy(&backing, options->backup, name, &entry, NULL, err);
    }
    if (rc == DBK_OK)
        fill_result(&backing, &backing.before, result_out);
    release(&backing);
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
static int claim_folder(struct backing *backing, struct dbk_error *err)
{
    const char *folder = backing->options->log;
    struct dbk_os *os = backing->os;
    struct dbk_backup_manifest left = {0};
    struct dbk_buf bytes;
    uint64_t names = 0;
    dbk_buf_init(&bytes, MANIFEST_SIZE_MAX);
    int rc = dbk_os_make_folder(os, folder, err);
    if (rc == DBK_OK)
        rc = os->list(os, folder, count_name, &names, err);
    if (rc == DBK_OK && names > 0) {
        rc = read_manifest(os, folder, RESTORING_NAME, &bytes, &left, NULL);
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

static int restore_segment(struct backing *backing, const struct dbk_backup_entry *entry,
                           struct dbk_error *err)
{
    char name[DBK_SEGMENT_NAME_SIZE];
    char copy[COPY_NAME_SIZE];
    struct dbk_file file = DBK_FILE_CLOSED;
    struct dbk_os *os = backing->os;
    uint64_t done = backing->done;
    copy_name(entry, copy);
    (void)snprintf(name, sizeof(name), "%020" PRIu64 ".seg", entry->first_position);
    char *path = dbk_path_join(backing->options->log, name);
    if (path == NULL)
        return no_memory(backing->options->log, err);
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

static int begin_restore(struct backing *backing, struct dbk_error *err)
{
    struct dbk_backup_manifest *manifest = &backing->before;
    const char *folder = backing->options->log;
    for (uint64_t i = 0; i < manifest->count; i++) {
        struct dbk_backup_entry entry = dbk_backup_entry_at(manifest, i);
        dbk_buf_append(&backing->entries, dbk_slice(&entry, sizeof(entry)));
    }
    if (backing->entries.rc < 0)
        return no_memory(folder, err);
    int rc = write_manifest(backing, manifest, folder, RESTORING_NAME, err);
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

static int end_restore(struct backing *backing, struct dbk_error *err)
{
    struct dbk_os *os = backing->os;
    const char *folder = backing->options->log;
    int rc = os->sync_folder(os, folder, err);
    char *path = dbk_path_join(folder, RESTORING_NAME);
    if (rc == DBK_OK && path == NULL)
        rc = no_memory(folder, err);
    if (rc == DBK_OK)
        rc = os->remove(os, path, err);
    if (rc == DBK_OK)
        rc = os->sync_folder(os, folder, err);
    dbk_free(path);
    if (rc == DBK_OK)
        rc =
            dbk_log_open(&(struct dbk_log_options){.os = os, .folder = folder}, &backing->log, err);
    if (rc == DBK_OK && dbk_log_last_position(backing->log) != backing->before.last_position)
        rc = dbk_error_set(err, DBK_ECORRUPT, "%s ends at position %" PRIu64 " instead of %" PRIu64,
                           folder, dbk_log_last_position(backing->log),
                           backing->before.last_position);
    return rc;
}

int dbk_backup_restore(const struct dbk_backup_options *options,
                       struct dbk_backup_result *result_out, struct dbk_error *err)
{
    struct backing backing;
    init(&backing, options);
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
        fill_result(&backing, &backing.before, result_out);
    release(&backing);
    return rc;
}
