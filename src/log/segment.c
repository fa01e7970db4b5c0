/* SPDX-License-Identifier: Apache-2.0 */
#include "log/segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "log/ahead.h"
#include "log/log.h"
#include "log/path.h"

#define BEGUN_NAME "new.tmp"
#define NAME_FORMAT "%020" PRIu64 ".seg"

static int no_memory(const char *name, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s: %s", name, dbk_code_text(DBK_ENOMEM));
}

uint64_t dbk_segment_position_of_name(const char *name)
{
    char again[DBK_SEGMENT_NAME_SIZE];
    uint64_t position = 0;
    if (strlen(name) != sizeof(again) - 1 || !dbk_slice_to_u64(dbk_slice(name, 20), &position))
        return 0;
    (void)snprintf(again, sizeof(again), NAME_FORMAT, position);
    return strcmp(again, name) == 0 ? position : 0;
}

static int create(const char *folder, uint64_t first_position, struct dbk_segment **segment_out,
                  struct dbk_error *err)
{
    struct dbk_segment *segment = dbk_alloc_zero(1, sizeof(*segment));
    if (segment == NULL)
        return no_memory(folder, err);
    segment->file = DBK_FILE_CLOSED;
    if (pthread_rwlock_init(&segment->lock, NULL) != 0) {
        dbk_free(segment);
        return no_memory(folder, err);
    }
    (void)snprintf(segment->name, sizeof(segment->name), NAME_FORMAT, first_position);
    segment->path = dbk_path_join(folder, segment->name);
    if (segment->path == NULL) {
        (void)pthread_rwlock_destroy(&segment->lock);
        dbk_free(segment);
        return no_memory(folder, err);
    }
    *segment_out = segment;
    return DBK_OK;
}

static void unmap_parts(struct dbk_os *os, struct dbk_segment *segment)
{
    struct dbk_segment_part *part = atomic_exchange(&segment->part, NULL);
    for (struct dbk_segment_part *older; part != NULL; part = older) {
        older = part->older;
        os->unmap(os, part->bytes);
        dbk_free(part);
    }
}

void dbk_segment_free(struct dbk_os *os, struct dbk_segment *segment)
{
    if (segment == NULL)
        return;
    const char *mapped = atomic_load(&segment->mapped);
    if (mapped != NULL)
        os->unmap(os, dbk_slice(mapped, (size_t)segment->map_size));
    unmap_parts(os, segment);
    os->close(os, &segment->file);
    (void)pthread_rwlock_destroy(&segment->lock);
    dbk_free(segment->path);
    dbk_free(segment);
}

static int decode_header(struct dbk_segment *segment, uint64_t first_position,
                         struct dbk_slice bytes, struct dbk_error *err)
{
    uint32_t version = 0;
    int rc = dbk_segment_header_decode(bytes, &segment->header, &version);
    if (rc == DBK_EFORMAT)
        return dbk_error_set(err, rc,
                             "%s has format version %" PRIu32 ", this Daybook reads up to %d",
                             segment->path, version, DBK_LOG_FORMAT);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s: the segment's header is damaged", segment->path);
    if (segment->header.first_position != first_position)
        return dbk_error_set(err, DBK_ECORRUPT,
                             "%s: the segment's header says that it begins with position %" PRIu64,
                             segment->path, segment->header.first_position);
    return DBK_OK;
}

int dbk_segment_load(struct dbk_os *os, const char *folder, uint64_t first_position,
                     struct dbk_segment **segment_out, struct dbk_error *err)
{
    struct dbk_segment *segment = NULL;
    struct dbk_file file = DBK_FILE_CLOSED;
    char bytes[DBK_SEGMENT_HEADER_SIZE];
    size_t size = 0;
    int rc = create(folder, first_position, &segment, err);
    if (rc < 0)
        return rc;
    rc = os->open(os, segment->path, DBK_OS_READ, &file, err);
    if (rc == DBK_OK)
        rc = os->pread(os, &file, bytes, sizeof(bytes), 0, &size, err);
    if (rc == DBK_OK)
        rc = os->size(os, &file, &segment->file_size, err);
    os->close(os, &file);
    if (rc == DBK_OK)
        rc = decode_header(segment, first_position, dbk_slice(bytes, size), err);
    if (rc < 0) {
        dbk_segment_free(os, segment);
        return rc;
    }
    *segment_out = segment;
    return DBK_OK;
}

static int make_file(struct dbk_os *os, const char *folder, struct dbk_file *file_out,
                     struct dbk_error *err)
{
    char *path = dbk_path_join(folder, BEGUN_NAME);
    if (path == NULL)
        return no_memory(folder, err);
    int rc = os->open(os, path, DBK_OS_WRITE | DBK_OS_CREATE, file_out, err);
    if (rc == DBK_OK)
        rc = os->truncate(os, file_out, 0, err);
    dbk_free(path);
    return rc;
}

int dbk_segment_begin(struct dbk_os *os, const char *folder,
                      const struct dbk_segment_header *header, struct dbk_file *prepared,
                      struct dbk_segment **segment_out, struct dbk_error *err)
{
    struct dbk_segment *segment = NULL;
    char bytes[DBK_SEGMENT_HEADER_SIZE];
    int rc = create(folder, header->first_position, &segment, err);
    if (rc < 0) {
        if (prepared != NULL)
            os->close(os, prepared);
        return rc;
    }
    segment->header = *header;
    dbk_segment_header_encode(&segment->header, bytes);
    if (prepared != NULL)
        segment->file = *prepared;
    else
        rc = make_file(os, folder, &segment->file, err);
    if (rc == DBK_OK)
        rc = os->pwrite(os, &segment->file, dbk_slice(bytes, sizeof(bytes)), 0, err);
    if (rc < 0) {
        dbk_segment_free(os, segment);
        return rc;
    }
    *segment_out = segment;
    return DBK_OK;
}

int dbk_segment_settle(struct dbk_os *os, const char *folder, struct dbk_segment *segment,
                       bool *named_out, struct dbk_error *err)
{
    *named_out = false;
    char *path = dbk_path_join(folder, segment->file.name);
    if (path == NULL)
        return no_memory(folder, err);
    int rc = os->sync(os, &segment->file, err);
    if (rc == DBK_OK)
        rc = os->rename(os, path, segment->path, err);
    dbk_free(path);
    if (rc < 0)
        return rc;
    *named_out = true;
    (void)snprintf(segment->file.name, sizeof(segment->file.name), "%s", segment->name);
    return os->sync_folder(os, folder, err);
}

static int discard(struct dbk_os *os, const char *folder, const char *name, struct dbk_error *err)
{
    struct dbk_error remove_err = {0};
    char *path = dbk_path_join(folder, name);
    if (path == NULL)
        return no_memory(folder, err);
    int rc = os->remove(os, path, &remove_err);
    dbk_free(path);
    if (rc == DBK_ENOTFOUND)
        return DBK_OK;
    if (rc < 0 && err != NULL)
        *err = remove_err;
    return rc;
}

int dbk_segment_discard_begun(struct dbk_os *os, const char *folder, struct dbk_error *err)
{
    static const char *const names[] = {BEGUN_NAME, DBK_AHEAD_NAME, DBK_SEGMENT_COMPACT_NAME};
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < sizeof(names) / sizeof(names[0]); i++)
        rc = discard(os, folder, names[i], err);
    return rc;
}

int dbk_segment_cut(struct dbk_os *os, const struct dbk_segment *segment, uint64_t size, bool sync,
                    struct dbk_error *err)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    int rc = os->open(os, segment->path, DBK_OS_WRITE, &file, err);
    if (rc == DBK_OK)
        rc = os->truncate(os, &file, size, err);
    if (rc == DBK_OK && sync)
        rc = os->sync(os, &file, err);
    os->close(os, &file);
    return rc;
}

uint64_t dbk_segment_whole_size(const struct dbk_segment *segment, uint64_t size, uint64_t count)
{
    return segment->header.generation > 0 ? size + count * sizeof(uint32_t) + sizeof(uint32_t)
                                          : size;
}

void dbk_segment_seal(struct dbk_os *os, struct dbk_segment *segment, uint64_t size, uint64_t count)
{
    dbk_assert(size >= DBK_SEGMENT_HEADER_SIZE);
    (void)pthread_rwlock_wrlock(&segment->lock);
    os->close(os, &segment->file);
    segment->map_size = dbk_segment_whole_size(segment, size, count);
    atomic_store(&segment->sealed_size, size);
    (void)pthread_rwlock_unlock(&segment->lock);
}

/* The file must be the one whose header was loaded, and as long. */
static int check_file(struct dbk_os *os, const struct dbk_segment *segment,
                      const struct dbk_file *file, struct dbk_error *err)
{
    char bytes[DBK_SEGMENT_HEADER_SIZE];
    struct dbk_segment_header header;
    uint64_t file_size = 0;
    uint32_t version = 0;
    size_t size = 0;
    int rc = os->pread(os, file, bytes, sizeof(bytes), 0, &size, err);
    if (rc == DBK_OK)
        rc = os->size(os, file, &file_size, err);
    if (rc < 0)
        return rc;
    if (dbk_segment_header_decode(dbk_slice(bytes, size), &header, &version) == DBK_OK &&
        header.crc != segment->header.crc && header.generation > 0)
        return dbk_error_set(err, DBK_EBUSY, "%s was compacted meanwhile", segment->path);
    /* Past the end of its file a mapping is not readable. */
    if (file_size < segment->map_size)
        return dbk_error_set(err, DBK_ECORRUPT, "%s has %" PRIu64 " bytes instead of %" PRIu64,
                             segment->path, file_size, segment->map_size);
    return DBK_OK;
}

/* A compacted segment's places must be as they were written. */
static int check_places(const struct dbk_segment *segment, struct dbk_slice bytes,
                        struct dbk_error *err)
{
    uint64_t size = atomic_load(&segment->sealed_size);
    if (segment->header.generation == 0)
        return DBK_OK;
    struct dbk_slice places = dbk_slice(bytes.data + size, bytes.size - size - sizeof(uint32_t));
    if (dbk_crc32c(segment->header.salt, places) ==
        dbk_get_u32(bytes.data + bytes.size - sizeof(uint32_t)))
        return DBK_OK;
    return dbk_error_set(err, DBK_ECORRUPT, "%s: the places behind its records are damaged",
                         segment->path);
}

static int map(struct dbk_os *os, struct dbk_segment *segment, struct dbk_error *err)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    struct dbk_slice bytes = {0};
    int rc = os->open(os, segment->path, DBK_OS_READ, &file, err);
    if (rc == DBK_OK)
        rc = check_file(os, segment, &file, err);
    if (rc == DBK_OK)
        rc = os->map(os, &file, segment->map_size, &bytes, err);
    os->close(os, &file);
    if (rc == DBK_OK) {
        rc = check_places(segment, bytes, err);
        if (rc < 0)
            os->unmap(os, bytes);
    }
    if (rc == DBK_OK)
        atomic_store(&segment->mapped, bytes.data);
    return rc;
}

int dbk_segment_map(struct dbk_os *os, struct dbk_segment *segment, struct dbk_error *err)
{
    int rc = DBK_OK;
    if (atomic_load(&segment->mapped) != NULL)
        return DBK_OK;
    (void)pthread_rwlock_wrlock(&segment->lock);
    if (atomic_load(&segment->sealed_size) > 0 && atomic_load(&segment->mapped) == NULL)
        rc = map(os, segment, err);
    (void)pthread_rwlock_unlock(&segment->lock);
    return rc;
}

bool dbk_segment_drop_parts(struct dbk_os *os, struct dbk_segment *segment)
{
    bool had = atomic_load(&segment->part) != NULL;
    (void)pthread_rwlock_wrlock(&segment->lock);
    if (atomic_load(&segment->sealed_size) > 0 && atomic_load(&segment->users) == 0)
        unmap_parts(os, segment);
    (void)pthread_rwlock_unlock(&segment->lock);
    return had;
}

void dbk_segment_unmap(struct dbk_os *os, struct dbk_segment *segment)
{
    (void)pthread_rwlock_wrlock(&segment->lock);
    const char *mapped = atomic_load(&segment->mapped);
    if (atomic_load(&segment->users) == 0)
        unmap_parts(os, segment);
    if (mapped != NULL && atomic_load(&segment->users) == 0) {
        atomic_store(&segment->mapped, NULL);
        os->unmap(os, dbk_slice(mapped, (size_t)segment->map_size));
    }
    (void)pthread_rwlock_unlock(&segment->lock);
}

uint32_t dbk_segment_offset(const struct dbk_segment *segment, uint64_t position)
{
    const char *places = atomic_load(&segment->mapped) + atomic_load(&segment->sealed_size);
    return dbk_get_u32(places + (position - segment->header.first_position) * sizeof(uint32_t));
}

/* Maps a sealed segment, or opens the last one for reading, whichever is due. */
static int make_readable(struct dbk_os *os, struct dbk_segment *segment, struct dbk_error *err)
{
    int rc = dbk_segment_map(os, segment, err);
    (void)pthread_rwlock_wrlock(&segment->lock);
    if (rc == DBK_OK && atomic_load(&segment->sealed_size) == 0 && segment->file.fd < 0)
        rc = os->open(os, segment->path, DBK_OS_READ, &segment->file, err);
    if (rc == DBK_OK && segment->file.fd >= 0) {
        rc = check_file(os, segment, &segment->file, err);
        if (rc < 0)
            os->close(os, &segment->file);
    }
    (void)pthread_rwlock_unlock(&segment->lock);
    return rc;
}

static bool is_worth_mapping(const struct dbk_segment *segment, uint64_t end)
{
    const struct dbk_segment_part *part = atomic_load(&segment->part);
    uint64_t size = part == NULL ? 0 : part->bytes.size;
    uint64_t step = size / 8 > segment->part_step ? size / 8 : segment->part_step;
    return segment->part_step > 0 && end >= size + step;
}

/*
 * Maps the segment's beginning up to what is synced now. Where that fails it is read as before.
 * The older part is kept for who reads it still, but not its memory, or each part would hold the
 * pages of all before it once more.
 */
static void map_part(struct dbk_os *os, struct dbk_segment *segment, uint64_t end)
{
    struct dbk_segment_part *part = dbk_alloc_zero(1, sizeof(*part));
    (void)pthread_rwlock_wrlock(&segment->lock);
    if (part != NULL && segment->file.fd >= 0 && is_worth_mapping(segment, end) &&
        os->map(os, &segment->file, end, &part->bytes, NULL) == DBK_OK) {
        part->older = atomic_load(&segment->part);
        atomic_store(&segment->part, part);
        if (part->older != NULL)
            os->unload(os, part->older->bytes);
        part = NULL;
    }
    (void)pthread_rwlock_unlock(&segment->lock);
    dbk_free(part);
}

/* True when the part that is mapped has what is wanted. */
static bool in_part(const struct dbk_segment *segment, const struct dbk_range *range,
                    struct dbk_slice *bytes_out)
{
    const struct dbk_segment_part *part = atomic_load(&segment->part);
    if (part == NULL || range->offset + range->size_min > part->bytes.size)
        return false;
    uint64_t end = range->end < part->bytes.size ? range->end : part->bytes.size;
    *bytes_out = dbk_slice(part->bytes.data + range->offset, (size_t)(end - range->offset));
    return true;
}

/* True when it was read, or failed: rc_out says which. False: it is not open. */
static bool read_open_file(struct dbk_os *os, struct dbk_segment *segment,
                           const struct dbk_range *range, struct dbk_buf *buffer, int *rc_out,
                           struct dbk_error *err)
{
    (void)pthread_rwlock_rdlock(&segment->lock);
    bool open = segment->file.fd >= 0;
    if (open)
        *rc_out = os->pread(os, &segment->file, buffer->data, range->size_max, range->offset,
                            &buffer->size, err);
    (void)pthread_rwlock_unlock(&segment->lock);
    return open;
}

int dbk_segment_bytes(struct dbk_os *os, struct dbk_segment *segment, const struct dbk_range *range,
                      struct dbk_buf *buffer, struct dbk_slice *bytes_out, struct dbk_error *err)
{
    uint64_t left = range->end - range->offset;
    struct dbk_range bounded = *range;
    bounded.size_min = left < range->size_min ? (size_t)left : range->size_min;
    bounded.size_max = range->size_max < bounded.size_min ? bounded.size_min : range->size_max;
    bounded.size_max = left < bounded.size_max ? (size_t)left : bounded.size_max;
    for (;;) {
        const char *mapped = atomic_load(&segment->mapped);
        if (mapped != NULL) {
            *bytes_out = dbk_slice(mapped + range->offset, (size_t)left);
            return DBK_OK;
        }
        /* Whoever uses it since before it was sealed may still see its parts; others its whole. */
        bool grows = atomic_load(&segment->sealed_size) == 0;
        if (grows && is_worth_mapping(segment, range->end))
            map_part(os, segment, range->end);
        if (grows && in_part(segment, &bounded, bytes_out))
            return DBK_OK;
        dbk_buf_reset(buffer);
        int rc = dbk_buf_reserve(buffer, bounded.size_max);
        if (rc < 0)
            return dbk_error_set(err, rc, "%s: %s", segment->path, dbk_code_text(rc));
        if (read_open_file(os, segment, &bounded, buffer, &rc, err)) {
            if (rc == DBK_OK && buffer->size < bounded.size_min)
                rc = dbk_error_set(err, DBK_ECORRUPT, "%s ends before byte %" PRIu64, segment->path,
                                   range->offset + bounded.size_min);
            *bytes_out = dbk_buf_slice(buffer);
            return rc;
        }
        rc = make_readable(os, segment, err);
        if (rc < 0)
            return rc;
    }
}
