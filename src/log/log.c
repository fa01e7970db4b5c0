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

/* Zeros written ahead of small groups, so that most syncs write no metadata. */
#define AHEAD_MIN ((uint32_t)64 << 10)
#define AHEAD_MAX ((uint32_t)1 << 20)
/* A group as large as this just extends the file: its sync costs more than the metadata. */
#define GROUP_SIZE_LARGE ((size_t)256 << 10)

/* What one pread of a single record asks for; most fit. */
#define READ_SIZE ((size_t)4096)

/* How often a segment may be compacted while it is about to be read. */
#define PIN_ATTEMPTS 8
/* Most records are no larger. */
#define PREFETCH_SIZE ((size_t)256)
#define CACHE_LINE_SIZE ((size_t)64)
/* A growing segment is mapped anew so often, or less. */
#define PARTS 64

/* For steps whose failure costs nothing that the next opening does not mend. */
static void ignore(int rc)
{
    (void)rc;
}

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

/* Makes the tail durable. A failure leaves the outcome of what was not synced unknown. */
static int sync_tail(struct dbk_log *log, struct dbk_error *err)
{
    struct dbk_error sync_err = {0};
    const struct dbk_segment *segment = dbk_log_segment(log, log->tail.segment);
    if (log->os->sync(log->os, &segment->file, &sync_err) < 0) {
        atomic_store(&log->stopped, true);
        return dbk_error_set(err, DBK_EUNKNOWN, "%s; whether the last group is stored is unknown",
                             sync_err.message);
    }
    log->tail.synced_size = log->tail.size;
    return DBK_OK;
}

/* What a closed log need not keep: zeros ahead, and a note that was not synced. */
static void settle(struct dbk_log *log)
{
    struct dbk_tail *tail = &log->tail;
    const struct dbk_segment *segment = dbk_log_segment(log, tail->segment);
    if (tail->synced_size < tail->size && sync_tail(log, NULL) < 0)
        return;
    struct dbk_note note = dbk_log_note(log);
    if (tail->zeroed_size > tail->size || tail->soiled)
        ignore(log->os->truncate(log->os, &segment->file, tail->size, NULL));
    ignore(dbk_note_settle(log->os, &log->note, &note, NULL));
}

void dbk_log_free(struct dbk_log *log)
{
    if (log == NULL)
        return;
    if (log->writer && !atomic_load(&log->stopped))
        settle(log);
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

/* Of the sealed segments from one back on, as far as there are any. Those that are in use come with
   the next segment. */
static void drop_parts(struct dbk_log *log, uint32_t index)
{
    while (dbk_segment_drop_parts(log->os, dbk_log_segment(log, index)) && index > 0)
        index--;
}

/* Seals the last segment and begins the next; on failure the old one stays the last. */
static int begin_segment(struct dbk_log *log, uint32_t salt, struct dbk_error *err)
{
    struct dbk_tail *tail = &log->tail;
    struct dbk_segment *old = dbk_log_segment(log, tail->segment);
    struct dbk_segment *segment = NULL;
    bool named = false;
    /* The header about to be written proves that all before it is synced. */
    int rc = tail->synced_size < tail->size ? sync_tail(log, err) : DBK_OK;
    if (rc < 0)
        return rc;
    struct dbk_segment_header header = old->header;
    dbk_segment_header_renew(&header);
    header.salt = salt;
    header.ordinal++;
    header.first_position = tail->last_position + 1;
    header.created_us = log->os->now_us(log->os);
    header.previous_time_us = tail->last_time_us;
    header.previous_size = tail->size;
    header.previous_chain = tail->chain;
    header.previous_crc = dbk_segment_header_identity(&old->header);
    rc = dbk_segment_begin(log->os, log->folder, &header, &segment, err);
    if (rc < 0)
        return rc;
    rc = dbk_segment_settle(log->os, log->folder, segment, &named, err);
    if (rc < 0) {
        /* Whether the name is durable is in doubt, and a second sync would not tell. */
        if (named)
            atomic_store(&log->stopped, true);
        dbk_segment_free(log->os, segment);
        return rc;
    }
    uint32_t chain = segment->header.chain_begin;
    rc = dbk_log_put_segment(log, segment, err);
    if (rc < 0) {
        atomic_store(&log->stopped, true);
        return rc;
    }
    /* Zeros left behind a sealed segment mean nothing: not cutting them only wastes space. */
    if (tail->zeroed_size > tail->size)
        ignore(log->os->truncate(log->os, &old->file, tail->size, NULL));
    dbk_segment_seal(log->os, old, tail->size, header.first_position - old->header.first_position);
    drop_parts(log, tail->segment);
    *tail = (struct dbk_tail){
        .segment = tail->segment + 1,
        .size = DBK_SEGMENT_HEADER_SIZE,
        .synced_size = DBK_SEGMENT_HEADER_SIZE,
        .zeroed_size = DBK_SEGMENT_HEADER_SIZE,
        .ahead = tail->ahead,
        .chain = chain,
        .last_position = tail->last_position,
        .last_time_us = tail->last_time_us,
    };
    return DBK_OK;
}

/* Writes zeros behind the tail where a small group has used up those before; failing is no harm. */
static void write_ahead(struct dbk_log *log, const struct dbk_segment *segment, size_t group_size)
{
    static const char zeros[AHEAD_MIN];
    struct dbk_tail *tail = &log->tail;
    if (tail->size <= tail->zeroed_size || group_size >= GROUP_SIZE_LARGE)
        return;
    tail->zeroed_size = tail->size;
    uint64_t wanted = (uint64_t)tail->size + tail->ahead;
    uint64_t end = wanted < log->segment_size ? wanted : log->segment_size;
    while (tail->zeroed_size < end) {
        uint64_t left = end - tail->zeroed_size;
        size_t size = left < sizeof(zeros) ? (size_t)left : sizeof(zeros);
        if (log->os->pwrite(log->os, &segment->file, dbk_slice(zeros, size), tail->zeroed_size,
                            NULL) < 0)
            return;
        tail->zeroed_size += (uint32_t)size;
    }
    tail->ahead = tail->ahead == 0 ? AHEAD_MIN : tail->ahead * 2;
    tail->ahead = tail->ahead > AHEAD_MAX ? AHEAD_MAX : tail->ahead;
}

static void fill_header(const struct dbk_log *log, struct dbk_log_group *group)
{
    size_t payload_size = dbk_log_group_size(group);
    struct dbk_group_header header = {
        .first_position = group->first_position,
        .last_time_us = group->last_time_us,
        .count = (uint32_t)(group->next_position - group->first_position),
        .payload_size = (uint32_t)payload_size,
        .payload_crc =
            dbk_crc32c(group->salt, dbk_slice(group->bytes + DBK_GROUP_HEADER_SIZE, payload_size)),
        .chain = log->tail.chain,
        .segment = log->tail.segment,
        .offset = log->tail.size,
        .synced_size = log->tail.synced_size,
    };
    dbk_group_header_encode(&header, group->salt, group->bytes);
}

/*
 * Takes away what a failed write left behind the tail, durably: were the same records tried again
 * over it and failed again, the two parts together could make a group that was refused twice.
 */
static int clean_tail(struct dbk_log *log, const struct dbk_segment *segment, struct dbk_error *err)
{
    int rc = log->os->truncate(log->os, &segment->file, log->tail.size, err);
    if (rc == DBK_OK)
        rc = sync_tail(log, err);
    if (rc == DBK_OK) {
        log->tail.soiled = false;
        log->tail.zeroed_size = log->tail.size;
    }
    return rc;
}

static int write_at_tail(struct dbk_log *log, struct dbk_log_group *group, struct dbk_error *err)
{
    struct dbk_tail *tail = &log->tail;
    const struct dbk_segment *segment = dbk_log_segment(log, tail->segment);
    int rc = tail->soiled ? clean_tail(log, segment, err) : DBK_OK;
    if (rc < 0)
        return rc;
    fill_header(log, group);
    rc = log->os->pwrite(log->os, &segment->file, dbk_slice(group->bytes, group->size), tail->size,
                         err);
    if (rc < 0) {
        tail->soiled = true;
        /* At once, since on a full disk others can use the space. */
        ignore(log->os->truncate(log->os, &segment->file, tail->size, NULL));
        return rc;
    }
    tail->size += (uint32_t)group->size;
    tail->chain = dbk_group_chain(tail->chain, group->bytes);
    tail->last_position = group->next_position - 1;
    tail->last_time_us = group->last_time_us;
    write_ahead(log, segment, group->size);
    return DBK_OK;
}

/* Where the group says it begins must be where the log ends. */
static bool is_in_place(const struct dbk_log *log, const struct dbk_log_group *group)
{
    const struct dbk_tail *tail = &log->tail;
    struct dbk_log_place place = group->place;
    return group->first_position == tail->last_position + 1 &&
           ((place.segment == tail->segment && place.offset == tail->size) ||
            (place.segment == tail->segment + 1 && place.offset == DBK_SEGMENT_HEADER_SIZE));
}

static int write_records(struct dbk_log *log, struct dbk_log_group *group, struct dbk_error *err)
{
    if (dbk_log_group_size(group) == 0)
        return DBK_OK;
    if (!is_in_place(log, group))
        return dbk_error_set(err, DBK_EINVAL,
                             "the group begins with position %" PRIu64
                             ", but the log ends with position %" PRIu64,
                             group->first_position, log->tail.last_position);
    if (group->place.segment > log->tail.segment) {
        int rc = begin_segment(log, group->salt, err);
        if (rc < 0)
            return rc;
    }
    return write_at_tail(log, group, err);
}

int dbk_log_write_group(struct dbk_log *log, struct dbk_log_group *group, bool sync,
                        struct dbk_error *err)
{
    int rc = DBK_OK;
    struct dbk_tail before = log->tail;
    if (atomic_load(&log->stopped)) {
        rc = dbk_error_set(err, DBK_ESTOPPED, "%s takes no more since a sync failed", log->folder);
        goto out;
    }
    rc = write_records(log, group, err);
    if (rc == DBK_OK && sync && log->tail.synced_size < log->tail.size) {
        rc = sync_tail(log, err);
        struct dbk_note note = dbk_log_note(log);
        /* The note only spares others work: without it they would find the group all the same. */
        if (rc == DBK_OK)
            ignore(dbk_note_write(log->os, &log->note, &note, NULL));
    }
    if (rc == DBK_OK)
        dbk_log_publish(log);
    else if (atomic_load(&log->stopped))
        log->tail = before; /* so that further groups, all in vain, go on from what is readable */
out:
    dbk_log_group_end(group);
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
