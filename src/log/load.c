/* SPDX-License-Identifier: Apache-2.0 */
#include "log/load.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"

/* How often a reader looks again when a recovering writer changes files under its eyes. */
#define LOAD_ATTEMPTS 5

static int collect(const char *name, void *context)
{
    uint64_t position = dbk_segment_position_of_name(name);
    if (position > 0)
        dbk_buf_append(context, dbk_slice(&position, sizeof(position)));
    return ((struct dbk_buf *)context)->rc;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = dbk_get_u64(a);
    uint64_t right = dbk_get_u64(b);
    return left < right ? -1 : left > right;
}

int dbk_log_list_segments(struct dbk_log *log, struct dbk_buf *positions, struct dbk_error *err)
{
    dbk_buf_reset(positions);
    int rc = log->os->list(log->os, log->folder, collect, positions, err);
    if (positions->rc < 0)
        return dbk_error_set(err, positions->rc, "%s: %s", log->folder,
                             dbk_code_text(positions->rc));
    if (rc == DBK_OK && positions->size > 0)
        qsort(positions->data, positions->size / sizeof(uint64_t), sizeof(uint64_t), compare);
    return rc;
}

/* What a segment must say to be the first. */
static int check_first(const struct dbk_segment *segment, struct dbk_error *err)
{
    const struct dbk_segment_header *header = &segment->header;
    if (header->ordinal != 0 || header->first_position != 1)
        return dbk_error_set(err, DBK_ECORRUPT,
                             "%s: the first segment found is number %" PRIu64 " of the log",
                             segment->path, header->ordinal + 1);
    return DBK_OK;
}

/* Its end as the next one says it: of a compacted one, the end it had. */
static bool ends_as_said(const struct dbk_segment *segment, const struct dbk_segment_header *next)
{
    const struct dbk_segment_header *header = &segment->header;
    return header->generation == 0 || (header->original.size == next->previous_size &&
                                       header->original.chain == next->previous_chain &&
                                       header->size > DBK_SEGMENT_HEADER_SIZE);
}

static uint64_t sealed_size(const struct dbk_segment *segment,
                            const struct dbk_segment_header *next)
{
    return segment->header.generation > 0 ? segment->header.size : next->previous_size;
}

static int check_link(const struct dbk_segment *previous, const struct dbk_segment *segment,
                      struct dbk_error *err)
{
    const struct dbk_segment_header *a = &previous->header;
    const struct dbk_segment_header *b = &segment->header;
    if (b->ordinal != a->ordinal + 1)
        return dbk_error_set(err, DBK_ECORRUPT,
                             "%s: the segment is number %" PRIu64 " of the log and stands behind "
                             "number %" PRIu64,
                             segment->path, b->ordinal + 1, a->ordinal + 1);
    if (!dbk_uuid_equal(&a->book_id, &b->book_id) ||
        b->previous_crc != dbk_segment_header_identity(a) ||
        memcmp(a->hash_key, b->hash_key, DBK_HASH_KEY_SIZE) != 0 ||
        b->previous_size <= DBK_SEGMENT_HEADER_SIZE || b->previous_size > UINT32_MAX ||
        b->first_position <= a->first_position || !ends_as_said(previous, b))
        return dbk_error_set(err, DBK_ECORRUPT, "%s: the segment does not follow %s", segment->path,
                             previous->name);
    uint64_t size = dbk_segment_whole_size(previous, sealed_size(previous, b),
                                           b->first_position - a->first_position);
    if (previous->file_size < size)
        return dbk_error_set(err, DBK_ECORRUPT, "%s has %" PRIu64 " bytes instead of %" PRIu64,
                             previous->path, previous->file_size, size);
    return DBK_OK;
}

static bool is_loaded(const struct dbk_log *log, uint32_t index)
{
    return index < dbk_log_loaded_count(log);
}

/* Takes the segment. */
static int enter(struct dbk_log *log, struct dbk_segment *segment, uint32_t index,
                 struct dbk_error *err)
{
    struct dbk_segment *previous = index == 0 ? NULL : dbk_log_segment(log, index - 1);
    int rc = previous == NULL ? check_first(segment, err) : check_link(previous, segment, err);
    if (rc < 0) {
        dbk_segment_free(log->os, segment);
        return rc;
    }
    if (previous != NULL)
        dbk_segment_seal(log->os, previous, sealed_size(previous, &segment->header),
                         segment->header.first_position - previous->header.first_position);
    if (is_loaded(log, index)) {
        struct dbk_segment *known = dbk_log_segment(log, index);
        if (known->header.crc == segment->header.crc) {
            known->file_size = segment->file_size;
            dbk_segment_free(log->os, segment);
            return DBK_OK;
        }
    }
    return dbk_log_put_segment(log, segment, err);
}

int dbk_log_load_again(struct dbk_log *log, uint32_t index, struct dbk_error *err)
{
    struct dbk_segment *segment = NULL;
    const struct dbk_segment *old = dbk_log_segment(log, index);
    const struct dbk_segment *next = dbk_log_segment(log, index + 1);
    int rc = dbk_segment_load(log->os, log->folder, old->header.first_position, &segment, err);
    if (rc < 0)
        return rc;
    if (segment->header.ordinal != index)
        rc = dbk_error_set(err, DBK_ECORRUPT, "%s is another segment by now", segment->path);
    if (rc == DBK_OK)
        rc = check_link(segment, next, err);
    if (rc < 0) {
        dbk_segment_free(log->os, segment);
        return rc;
    }
    dbk_segment_seal(log->os, segment, sealed_size(segment, &next->header),
                     next->header.first_position - segment->header.first_position);
    return dbk_log_put_segment(log, segment, err);
}

int dbk_log_load_segments(struct dbk_log *log, const struct dbk_buf *positions, uint32_t from,
                          uint32_t count, struct dbk_error *err)
{
    for (uint32_t i = from; i < count; i++) {
        struct dbk_segment *segment = NULL;
        uint64_t position = dbk_get_u64(positions->data + i * sizeof(uint64_t));
        int rc = dbk_segment_load(log->os, log->folder, position, &segment, err);
        if (rc == DBK_OK)
            rc = enter(log, segment, i, err);
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

/* The last segment must be the one the note means, and as long. */
static int check_noted(struct dbk_log *log, const struct dbk_note *note, struct dbk_error *err)
{
    const struct dbk_segment *segment = dbk_log_segment(log, (uint32_t)note->segment);
    if (note->size <= DBK_SEGMENT_HEADER_SIZE)
        return DBK_OK;
    if (segment->header.salt != note->salt)
        return dbk_error_set(err, DBK_ECORRUPT, "%s is not the segment that was noted as synced",
                             segment->path);
    if (segment->file_size < note->size)
        return dbk_error_set(err, DBK_ECORRUPT, "%s has %" PRIu64 " bytes, %" PRIu64 " were synced",
                             segment->path, segment->file_size, note->size);
    return DBK_OK;
}

static void adopt(struct dbk_log *log, const struct dbk_note *note)
{
    const struct dbk_segment *first = dbk_log_segment(log, 0);
    if (log->seen.sequence == 0) {
        log->book_id = first->header.book_id;
        memcpy(log->hash_key, first->header.hash_key, sizeof(log->hash_key));
    }
    uint64_t size = note->size < DBK_SEGMENT_HEADER_SIZE ? DBK_SEGMENT_HEADER_SIZE : note->size;
    log->tail = (struct dbk_tail){
        .segment = (uint32_t)note->segment,
        .size = (uint32_t)size,
        .synced_size = (uint32_t)size,
        .chain = note->chain,
        .last_position = note->last_position,
        .last_time_us = note->last_time_us,
    };
    log->seen = *note;
    dbk_log_publish(log);
}

/* One attempt; DBK_ECORRUPT may pass when a writer is just recovering. */
static int load_once(struct dbk_log *log, const struct dbk_note *note, struct dbk_error *err)
{
    struct dbk_buf positions;
    uint32_t loaded = dbk_log_loaded_count(log);
    uint32_t wanted = (uint32_t)note->segment + 1;
    /* The last one loaded is looked at again: it may have grown, or been replaced. */
    uint32_t from = loaded == 0 ? 0 : loaded - 1;
    dbk_buf_init(&positions, SIZE_MAX / 2);
    int rc = dbk_log_list_segments(log, &positions, err);
    if (rc == DBK_OK && positions.size / sizeof(uint64_t) < wanted)
        rc = dbk_error_set(err, note->size == 0 ? DBK_ENOTFOUND : DBK_ECORRUPT,
                           "%s: %zu segments are there, %" PRIu32 " were noted as synced",
                           log->folder, positions.size / sizeof(uint64_t), wanted);
    if (rc == DBK_OK)
        rc = dbk_log_load_segments(log, &positions, from, wanted, err);
    if (rc == DBK_OK)
        rc = check_noted(log, note, err);
    dbk_buf_release(&positions);
    return rc;
}

int dbk_log_load_note(struct dbk_log *log, bool *changed_out, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (int attempt = 0; attempt < LOAD_ATTEMPTS; attempt++) {
        struct dbk_note note = {0};
        struct dbk_error attempt_err = {0};
        rc = dbk_note_read(log->os, log->folder, &note, &attempt_err);
        bool known = rc == DBK_OK && note.sequence == log->seen.sequence &&
                     note.salt == log->seen.salt && note.size == log->seen.size &&
                     note.segment == log->seen.segment;
        if (known) {
            *changed_out = false;
            return DBK_OK;
        }
        if (rc == DBK_OK && note.last_position < log->seen.last_position)
            return dbk_error_set(err, DBK_ECORRUPT,
                                 "%s: the log ends at position %" PRIu64
                                 " and had ended at position %" PRIu64,
                                 log->folder, note.last_position, log->seen.last_position);
        /* In the segment known already there is nothing to load. */
        bool grown = log->seen.sequence > 0 && note.segment == log->seen.segment &&
                     note.salt == log->seen.salt;
        if (rc == DBK_OK && !grown)
            rc = load_once(log, &note, &attempt_err);
        if (rc == DBK_OK) {
            adopt(log, &note);
            *changed_out = true;
            return DBK_OK;
        }
        if (err != NULL)
            *err = attempt_err;
        if (rc != DBK_ECORRUPT)
            return rc;
    }
    return rc;
}
