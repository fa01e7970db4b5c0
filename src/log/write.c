/* SPDX-License-Identifier: Apache-2.0 */
/* The writer: groups at the tail, the zeros ahead of it, and one segment after the other. */
#include <inttypes.h>

#include "base/assert.h"
#include "log/state.h"

/* Zeros written ahead of small groups, so that most syncs write no metadata. */
#define AHEAD_MIN ((uint32_t)64 << 10)
#define AHEAD_MAX ((uint32_t)1 << 20)
/* A group as large as this just extends the file: its sync costs more than the metadata. */
#define GROUP_SIZE_LARGE ((size_t)256 << 10)

/* A smaller segment is not worth a thread that prepares the next. */
#define THREAD_SIZE_MIN ((uint64_t)1 << 20)

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

void dbk_log_settle(struct dbk_log *log)
{
    struct dbk_tail *tail = &log->tail;
    const struct dbk_segment *segment = dbk_log_segment(log, tail->segment);
    if (tail->synced_size < tail->size && sync_tail(log, NULL) < 0)
        return;
    struct dbk_note note = dbk_log_note(log);
    if (tail->zeroed_size > tail->size || tail->soiled)
        dbk_ignore(log->os->truncate(log->os, &segment->file, tail->size, NULL));
    dbk_ignore(dbk_note_settle(log->os, &log->note, &note, NULL));
}

/* Of the sealed segments from one back on, as far as there are any. Those that are in use come with
   the next segment. */
static void drop_parts(struct dbk_log *log, uint32_t index)
{
    while (dbk_segment_drop_parts(log->os, dbk_log_segment(log, index)) && index > 0)
        index--;
}

/* The file of the segment that begins: a prepared one, if it is ready. */
static int begin_file(struct dbk_log *log, const struct dbk_segment_header *header, bool *prepared,
                      struct dbk_segment **segment_out, struct dbk_error *err)
{
    struct dbk_segment *segment = NULL;
    struct dbk_file file = DBK_FILE_CLOSED;
    bool named = false;
    *prepared = dbk_ahead_take(&log->ahead, &file);
    int rc =
        dbk_segment_begin(log->os, log->folder, header, *prepared ? &file : NULL, &segment, err);
    if (rc == DBK_OK)
        rc = dbk_segment_settle(log->os, log->folder, segment, &named, err);
    if (rc == DBK_OK) {
        *segment_out = segment;
        return DBK_OK;
    }
    /* Whether the name is durable is in doubt, and a second sync would not tell. */
    if (named)
        atomic_store(&log->stopped, true);
    else if (*prepared)
        dbk_ignore(log->os->remove(log->os, log->ahead.path, NULL));
    dbk_segment_free(log->os, segment);
    return rc;
}

/* Seals the last segment and begins the next; on failure the old one stays the last. */
static int begin_segment(struct dbk_log *log, uint32_t salt, struct dbk_error *err)
{
    struct dbk_tail *tail = &log->tail;
    struct dbk_segment *old = dbk_log_segment(log, tail->segment);
    struct dbk_segment *segment = NULL;
    bool prepared = false;
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
    rc = begin_file(log, &header, &prepared, &segment, err);
    if (rc < 0)
        return rc;
    dbk_assert(segment != NULL);
    uint32_t chain = segment->header.chain_begin;
    rc = dbk_log_put_segment(log, segment, err);
    if (rc < 0) {
        atomic_store(&log->stopped, true);
        return rc;
    }
    /* Zeros left behind a sealed segment mean nothing: not cutting them only wastes space. */
    if (tail->zeroed_size > tail->size)
        dbk_ignore(log->os->truncate(log->os, &old->file, tail->size, NULL));
    dbk_segment_seal(log->os, old, tail->size, header.first_position - old->header.first_position);
    drop_parts(log, tail->segment);
    *tail = (struct dbk_tail){
        .segment = tail->segment + 1,
        .size = DBK_SEGMENT_HEADER_SIZE,
        .synced_size = DBK_SEGMENT_HEADER_SIZE,
        .zeroed_size = prepared ? (uint32_t)log->ahead.size : DBK_SEGMENT_HEADER_SIZE,
        .ahead = tail->ahead,
        .chain = chain,
        .last_position = tail->last_position,
        .last_time_us = tail->last_time_us,
    };
    return DBK_OK;
}

/*
 * Asks for the next segment's file: from a quarter of this one on, at twice its pace. What comes in
 * large groups does without, because their syncs cost more than the metadata, and writing each byte
 * twice costs more than both.
 */
static void want_next(struct dbk_log *log, size_t group_size)
{
    struct dbk_tail *tail = &log->tail;
    uint64_t begin = log->segment_size / 4;
    if (group_size < GROUP_SIZE_LARGE)
        tail->small_size += (uint32_t)group_size;
    if (tail->size <= begin || tail->small_size < tail->size / 2)
        return;
    dbk_ahead_want(&log->ahead, (tail->size - begin) * 2, log->segment_size >= THREAD_SIZE_MIN);
}

/* Writes zeros behind the tail of a segment that was not prepared, where a small group has used up
   those before; failing is no harm. */
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
        dbk_ignore(log->os->truncate(log->os, &segment->file, tail->size, NULL));
        if (rc == DBK_EFULL)
            dbk_ahead_give_back(&log->ahead);
        return rc;
    }
    tail->size += (uint32_t)group->size;
    tail->chain = dbk_group_chain(tail->chain, group->bytes);
    tail->last_position = group->next_position - 1;
    tail->last_time_us = group->last_time_us;
    write_ahead(log, segment, group->size);
    want_next(log, group->size);
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
            dbk_ignore(dbk_note_write(log->os, &log->note, &note, NULL));
    }
    if (rc == DBK_OK)
        dbk_log_publish(log);
    else if (atomic_load(&log->stopped))
        log->tail = before; /* so that further groups, all in vain, go on from what is readable */
out:
    dbk_log_group_end(group);
    return rc;
}

bool dbk_log_prepare(struct dbk_log *log)
{
    dbk_assert(log->segment_size < THREAD_SIZE_MIN);
    return dbk_ahead_step(&log->ahead);
}
