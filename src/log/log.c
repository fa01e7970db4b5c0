/* SPDX-License-Identifier: Apache-2.0 */
#include "log/log.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "log/load.h"
#include "log/recover.h"
#include "log/state.h"

/* Past this a group must still fit into u32 offsets. */
#define SEGMENT_SIZE_MAX ((uint64_t)3 << 30)
#define SEGMENT_SIZE_MIN ((uint64_t)DBK_SEGMENT_HEADER_SIZE + 1)

/* A prepared segment is longer by such a part: the last group begins before its end. */
#define PREPARED_PARTS 64

/* What one pread of a single record asks for; most fit. */
#define READ_SIZE ((size_t)4096)

/* How often a segment may be compacted while it is about to be read. */
#define PIN_ATTEMPTS 8
/* Most records are no larger. */
#define PREFETCH_SIZE ((size_t)256)
#define CACHE_LINE_SIZE ((size_t)64)
/* A growing segment is mapped anew so often, or less. */
#define PARTS 64

struct dbk_segment *dbk_log_segment(const struct dbk_log *log, uint32_t index)
{
    struct dbk_log_block *block = atomic_load(&log->blocks[index / DBK_LOG_BLOCK_SIZE]);
    return atomic_load(&block->segments[index % DBK_LOG_BLOCK_SIZE]);
}

uint32_t dbk_log_loaded_count(const struct dbk_log *log)
{
    uint32_t count = 0;
    while (count / DBK_LOG_BLOCK_SIZE < DBK_LOG_BLOCK_COUNT &&
           atomic_load(&log->blocks[count / DBK_LOG_BLOCK_SIZE]) != NULL &&
           dbk_log_segment(log, count) != NULL)
        count++;
    return count;
}

int dbk_log_put_segment(struct dbk_log *log, struct dbk_segment *segment, struct dbk_error *err)
{
    uint64_t index = segment->header.ordinal;
    if (index >= (uint64_t)DBK_LOG_BLOCK_SIZE * DBK_LOG_BLOCK_COUNT) {
        dbk_segment_free(log->os, segment);
        return dbk_error_set(err, DBK_ELIMIT, "%s: more than %d segments", log->folder,
                             DBK_LOG_BLOCK_SIZE * DBK_LOG_BLOCK_COUNT);
    }
    struct dbk_log_block *block = atomic_load(&log->blocks[index / DBK_LOG_BLOCK_SIZE]);
    if (block == NULL) {
        block = dbk_alloc_zero(1, sizeof(*block));
        if (block == NULL) {
            dbk_segment_free(log->os, segment);
            return dbk_error_set(err, DBK_ENOMEM, "%s: %s", log->folder, dbk_code_text(DBK_ENOMEM));
        }
        atomic_store(&log->blocks[index / DBK_LOG_BLOCK_SIZE], block);
    }
    segment->part_step = log->segment_size / PARTS;
    struct dbk_segment *replaced =
        atomic_exchange(&block->segments[index % DBK_LOG_BLOCK_SIZE], segment);
    if (replaced != NULL) {
        (void)pthread_mutex_lock(&log->retired_lock);
        replaced->next = log->retired;
        log->retired = replaced;
        (void)pthread_mutex_unlock(&log->retired_lock);
    }
    return DBK_OK;
}

void dbk_log_reclaim(struct dbk_log *log)
{
    (void)pthread_mutex_lock(&log->retired_lock);
    for (struct dbk_segment *segment = log->retired; segment != NULL; segment = segment->next)
        dbk_segment_unmap(log->os, segment);
    (void)pthread_mutex_unlock(&log->retired_lock);
}

/* Counts as a user of the segment that stands at an index: one replaced meanwhile is let go. */
static struct dbk_segment *pin(const struct dbk_log *log, uint32_t index)
{
    for (;;) {
        struct dbk_segment *segment = dbk_log_segment(log, index);
        atomic_fetch_add(&segment->users, 1);
        if (segment == dbk_log_segment(log, index))
            return segment;
        atomic_fetch_sub(&segment->users, 1);
    }
}

void dbk_log_unpin(struct dbk_segment *segment)
{
    if (segment != NULL)
        atomic_fetch_sub(&segment->users, 1);
}

int dbk_log_pin(struct dbk_log *log, uint32_t index, struct dbk_segment **pinned,
                struct dbk_error *err)
{
    int rc = DBK_EBUSY;
    for (int attempt = 0; rc == DBK_EBUSY && attempt < PIN_ATTEMPTS; attempt++) {
        if (*pinned != dbk_log_segment(log, index)) {
            dbk_log_unpin(*pinned);
            *pinned = pin(log, index);
        }
        rc = dbk_segment_map(log->os, *pinned, err);
        if (rc == DBK_EBUSY) {
            (void)pthread_mutex_lock(&log->reload_lock);
            int again = *pinned == dbk_log_segment(log, index) ? dbk_log_load_again(log, index, err)
                                                               : DBK_OK;
            (void)pthread_mutex_unlock(&log->reload_lock);
            rc = again < 0 ? again : DBK_EBUSY;
        }
    }
    return rc;
}

uint64_t dbk_log_segment_end(const struct dbk_segment *segment, struct dbk_log_place end,
                             uint32_t index)
{
    return index == end.segment ? end.offset : atomic_load(&segment->sealed_size);
}

void dbk_log_publish(struct dbk_log *log)
{
    const struct dbk_tail *tail = &log->tail;
    atomic_store(&log->end, (uint64_t)tail->segment << 32 | tail->size);
    atomic_store(&log->last_time_us, tail->last_time_us);
    atomic_store(&log->last_position, tail->last_position);
    if (tail->synced_size == tail->size)
        atomic_store(&log->synced_position, tail->last_position);
}

uint32_t dbk_log_salt(const struct dbk_log *log, uint64_t ordinal)
{
    char name[sizeof(log->salt_nonce) + sizeof(ordinal)];
    memcpy(name, log->salt_nonce, sizeof(log->salt_nonce));
    dbk_put_u64(name + sizeof(log->salt_nonce), ordinal);
    return (uint32_t)dbk_siphash128(log->hash_key, dbk_slice(name, sizeof(name))).low;
}

struct dbk_note dbk_log_note(const struct dbk_log *log)
{
    const struct dbk_tail *tail = &log->tail;
    return (struct dbk_note){
        .segment = tail->segment,
        .size = tail->size,
        .last_position = tail->last_position,
        .last_time_us = tail->last_time_us,
        .salt = dbk_log_segment(log, tail->segment)->header.salt,
        .chain = tail->chain,
    };
}

static int open_writer(struct dbk_log *log, struct dbk_error *err)
{
    int rc = log->os->random(log->os, log->salt_nonce, sizeof(log->salt_nonce), err);
    if (rc == DBK_OK)
        rc = log->os->make_folder(log->os, log->folder, err);
    if (rc == DBK_OK)
        rc = dbk_log_groups_init(log, err);
    if (rc == DBK_OK)
        rc = dbk_ahead_init(&log->ahead, log->os, log->folder,
                            log->segment_size + log->segment_size / PREPARED_PARTS, err);
    if (rc == DBK_OK)
        rc = dbk_log_recover(log, err);
    if (rc == DBK_OK)
        dbk_log_publish(log);
    else
        atomic_store(&log->stopped, true); /* so that closing it leaves the files alone */
    return rc;
}

static struct dbk_log *create(const struct dbk_log_options *options)
{
    struct dbk_log *log = dbk_alloc_zero(1, sizeof(*log));
    if (log == NULL)
        return NULL;
    uint64_t size = options->segment_size == 0 ? DBK_LOG_SEGMENT_SIZE : options->segment_size;
    log->os = options->os;
    log->writer = options->writer;
    log->segment_size = size < SEGMENT_SIZE_MIN ? SEGMENT_SIZE_MIN : size;
    log->note.file = DBK_FILE_CLOSED;
    log->folder = dbk_copy_text(dbk_slice_of(options->folder));
    if (log->folder == NULL) {
        dbk_free(log);
        return NULL;
    }
    (void)pthread_mutex_init(&log->group_lock, NULL);
    (void)pthread_mutex_init(&log->refresh_lock, NULL);
    (void)pthread_mutex_init(&log->retired_lock, NULL);
    (void)pthread_mutex_init(&log->reload_lock, NULL);
    return log;
}

int dbk_log_open(const struct dbk_log_options *options, struct dbk_log **log_out,
                 struct dbk_error *err)
{
    if (options->segment_size > SEGMENT_SIZE_MAX)
        return dbk_error_set(err, DBK_EINVAL, "segment size %" PRIu64 " is past %" PRIu64,
                             options->segment_size, SEGMENT_SIZE_MAX);
    struct dbk_log *log = create(options);
    if (log == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s: %s", options->folder, dbk_code_text(DBK_ENOMEM));
    bool changed = false;
    int rc = log->writer ? open_writer(log, err) : dbk_log_load_note(log, &changed, err);
    if (rc < 0) {
        dbk_log_free(log);
        return rc;
    }
    *log_out = log;
    return DBK_OK;
}

void dbk_log_free(struct dbk_log *log)
{
    if (log == NULL)
        return;
    dbk_ahead_release(&log->ahead);
    if (log->writer && !atomic_load(&log->stopped))
        dbk_log_settle(log);
    dbk_note_close(log->os, &log->note);
    for (size_t i = 0; i < DBK_LOG_BLOCK_COUNT; i++) {
        struct dbk_log_block *block = atomic_load(&log->blocks[i]);
        for (size_t j = 0; block != NULL && j < DBK_LOG_BLOCK_SIZE; j++)
            dbk_segment_free(log->os, atomic_load(&block->segments[j]));
        dbk_free(block);
    }
    while (log->retired != NULL) {
        struct dbk_segment *next = log->retired->next;
        dbk_segment_free(log->os, log->retired);
        log->retired = next;
    }
    dbk_log_groups_release(log);
    (void)pthread_mutex_destroy(&log->retired_lock);
    (void)pthread_mutex_destroy(&log->reload_lock);
    (void)pthread_mutex_destroy(&log->refresh_lock);
    (void)pthread_mutex_destroy(&log->group_lock);
    dbk_free(log->folder);
    dbk_free(log);
}

const struct dbk_uuid *dbk_log_book_id(const struct dbk_log *log)
{
    return &log->book_id;
}

const uint8_t *dbk_log_hash_key(const struct dbk_log *log)
{
    return log->hash_key;
}

uint64_t dbk_log_last_position(const struct dbk_log *log)
{
    return atomic_load(&log->last_position);
}

uint64_t dbk_log_synced_position(const struct dbk_log *log)
{
    return atomic_load(&log->synced_position);
}

int64_t dbk_log_last_time_us(const struct dbk_log *log)
{
    return atomic_load(&log->last_time_us);
}

struct dbk_log_place dbk_log_end(const struct dbk_log *log)
{
    uint64_t end = atomic_load(&log->end);
    return (struct dbk_log_place){.segment = (uint32_t)(end >> 32), .offset = (uint32_t)end};
}

int dbk_log_refresh(struct dbk_log *log, bool *changed_out, struct dbk_error *err)
{
    *changed_out = false;
    if (log->writer)
        return DBK_OK;
    (void)pthread_mutex_lock(&log->refresh_lock);
    int rc = dbk_log_load_note(log, changed_out, err);
    (void)pthread_mutex_unlock(&log->refresh_lock);
    return rc;
}

void dbk_log_reader_init(struct dbk_log_reader *reader)
{
    *reader = (struct dbk_log_reader){0};
    dbk_buf_init(&reader->bytes, SIZE_MAX);
}

void dbk_log_reader_release(struct dbk_log_reader *reader)
{
    dbk_log_unpin(reader->pinned);
    reader->pinned = NULL;
    dbk_buf_release(&reader->bytes);
}

static int read_record(struct dbk_log *log, struct dbk_segment *segment, struct dbk_range *range,
                       struct dbk_log_reader *reader, struct dbk_event *event_out,
                       struct dbk_error *err)
{
    struct dbk_slice found = {0};
    int rc = dbk_segment_bytes(log->os, segment, range, &reader->bytes, &found, err);
    size_t size = rc < 0 ? 0 : dbk_record_claimed_size(found);
    if (rc == DBK_OK && size > found.size && size <= range->end - range->offset) {
        range->size_min = size;
        rc = dbk_segment_bytes(log->os, segment, range, &reader->bytes, &found, err);
    }
    if (rc == DBK_OK && dbk_record_decode(found, segment->header.salt, event_out) < 0)
        rc = dbk_error_set(err, DBK_ECORRUPT, "%s: the record at byte %" PRIu64 " is damaged",
                           segment->path, range->offset);
    return rc;
}

void dbk_log_prefetch(const struct dbk_log *log, struct dbk_log_place place)
{
    if (place.segment >= dbk_log_segment_count(log))
        return;
    const struct dbk_segment *segment = dbk_log_segment(log, place.segment);
    const char *mapped = atomic_load(&segment->mapped);
    /* In a compacted segment records lie elsewhere. Fetching what is not mapped does nothing. */
    if (mapped == NULL || segment->header.generation > 0)
        return;
    for (size_t i = 0; i < PREFETCH_SIZE; i += CACHE_LINE_SIZE)
        __builtin_prefetch(mapped + place.offset + i);
}

int dbk_log_read(struct dbk_log *log, struct dbk_log_place place, uint64_t position,
                 struct dbk_log_reader *reader, struct dbk_event *event_out, struct dbk_error *err)
{
    struct dbk_log_place end = dbk_log_end(log);
    uint64_t offset = place.offset;
    uint64_t limit = 0;
    int rc = place.segment > end.segment ? DBK_OK
                                         : dbk_log_pin(log, place.segment, &reader->pinned, err);
    if (rc < 0)
        return rc;
    struct dbk_segment *segment = place.segment > end.segment ? NULL : reader->pinned;
    if (segment != NULL) {
        limit = dbk_log_segment_end(segment, end, place.segment);
        if (segment->header.generation > 0 && position >= segment->header.first_position)
            offset = dbk_segment_offset(segment, position);
    }
    if (offset < DBK_SEGMENT_HEADER_SIZE || offset >= limit)
        return dbk_error_set(err, DBK_EINVAL,
                             "no record lies at byte %" PRIu64 " of segment %" PRIu32, offset,
                             place.segment);
    struct dbk_range range = {
        .offset = offset,
        .end = limit,
        .size_min = DBK_RECORD_HEADER_SIZE,
        .size_max = READ_SIZE,
    };
    rc = read_record(log, segment, &range, reader, event_out, err);
    if (rc == DBK_OK && position > 0 && event_out->position != position)
        rc = dbk_error_set(
            err, DBK_ECORRUPT, "%s: position %ju is looked for at byte %" PRIu64 ", where %ju is",
            segment->path, (uintmax_t)position, offset, (uintmax_t)event_out->position);
    return rc;
}

uint32_t dbk_log_segment_removed(const struct dbk_log *log, uint32_t segment)
{
    dbk_assert(segment < dbk_log_segment_count(log));
    return dbk_log_segment(log, segment)->header.removed;
}

uint32_t dbk_log_segment_version(const struct dbk_log *log, uint32_t segment)
{
    dbk_assert(segment < dbk_log_segment_count(log));
    return dbk_log_segment(log, segment)->header.version;
}

uint32_t dbk_log_segment_count(const struct dbk_log *log)
{
    return dbk_log_end(log).segment + 1;
}

uint64_t dbk_log_segment_first_position(const struct dbk_log *log, uint32_t segment)
{
    dbk_assert(segment < dbk_log_segment_count(log));
    return dbk_log_segment(log, segment)->header.first_position;
}

uint64_t dbk_log_segment_size(const struct dbk_log *log, uint32_t segment)
{
    struct dbk_log_place end = dbk_log_end(log);
    dbk_assert(segment <= end.segment);
    return dbk_log_segment_end(dbk_log_segment(log, segment), end, segment);
}
