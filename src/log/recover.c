/* SPDX-License-Identifier: Apache-2.0 */
#include "log/recover.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "log/load.h"
#include "log/unchecked.h"

/* What stands behind the floor. */
struct survey {
    struct dbk_tail floor;
    bool noted; /* a note could be read */
    struct dbk_note note;
    char *bytes; /* of the last segment's file from the floor on */
    size_t size;
    size_t kept_size; /* of whole groups at their start */
};

static struct dbk_tail start_of(const struct dbk_segment *segment)
{
    return (struct dbk_tail){
        .segment = (uint32_t)segment->header.ordinal,
        .size = DBK_SEGMENT_HEADER_SIZE,
        .chain = segment->header.chain_begin,
        .last_position = segment->header.first_position - 1,
        .last_time_us = segment->header.previous_time_us,
    };
}

static int find_floor(const struct dbk_log *log, struct survey *survey, struct dbk_error *err)
{
    const struct dbk_note *note = &survey->note;
    uint32_t last_index = dbk_log_loaded_count(log) - 1;
    const struct dbk_segment *last = dbk_log_segment(log, last_index);
    survey->floor = start_of(last);
    if (!survey->noted || note->size <= DBK_SEGMENT_HEADER_SIZE)
        return DBK_OK;
    if (note->segment > last_index)
        return dbk_error_set(err, DBK_ECORRUPT,
                             "%s: %" PRIu32 " segments are there, %" PRIu64 " were noted as synced",
                             log->folder, last_index + 1, note->segment + 1);
    const struct dbk_segment *segment = dbk_log_segment(log, (uint32_t)note->segment);
    if (dbk_segment_header_first_salt(&segment->header) != note->salt)
        return dbk_error_set(err, DBK_ECORRUPT, "%s is not the segment that was noted as synced",
                             segment->path);
    bool sealed = note->segment < last_index;
    uint64_t size = sealed ? atomic_load(&segment->sealed_size) : segment->file_size;
    if (segment->header.generation > 0)
        size = segment->header.original.size;
    if (note->size > size)
        return dbk_error_set(err, DBK_ECORRUPT, "%s has %" PRIu64 " bytes, %" PRIu64 " were synced",
                             segment->path, size, note->size);
    if (sealed)
        return DBK_OK;
    survey->floor = (struct dbk_tail){
        .segment = last_index,
        .size = (uint32_t)note->size,
        .chain = note->chain,
        .last_position = note->last_position,
        .last_time_us = note->last_time_us,
    };
    return DBK_OK;
}

static int read_tail(const struct dbk_log *log, struct survey *survey, struct dbk_error *err)
{
    const struct dbk_segment *last = dbk_log_segment(log, survey->floor.segment);
    struct dbk_file file = DBK_FILE_CLOSED;
    if (last->file_size > UINT32_MAX)
        return dbk_error_set(err, DBK_ECORRUPT, "%s has %" PRIu64 " bytes, more than a segment can",
                             last->path, last->file_size);
    if (last->file_size <= survey->floor.size)
        return DBK_OK;
    size_t size = (size_t)last->file_size - survey->floor.size;
    survey->bytes = dbk_alloc(size);
    if (survey->bytes == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s: %s", last->path, dbk_code_text(DBK_ENOMEM));
    int rc = log->os->open(log->os, last->path, DBK_OS_READ, &file, err);
    if (rc == DBK_OK)
        rc = log->os->pread(log->os, &file, survey->bytes, size, survey->floor.size, &survey->size,
                            err);
    log->os->close(log->os, &file);
    return rc;
}

/* A group header of this segment at this very place, or DBK_ECORRUPT. */
static int header_at(const struct survey *survey, uint32_t salt, size_t at,
                     struct dbk_group_header *header_out)
{
    struct dbk_slice bytes = dbk_slice(survey->bytes + at, survey->size - at);
    if (dbk_group_header_decode(bytes, salt, header_out) < 0 ||
        header_out->segment != survey->floor.segment ||
        header_out->offset != survey->floor.size + at)
        return DBK_ECORRUPT;
    return DBK_OK;
}

/* A whole group whose payload is as its header says. */
static int group_at(const struct survey *survey, uint32_t salt, size_t at,
                    struct dbk_group_header *header_out)
{
    if (header_at(survey, salt, at, header_out) < 0)
        return DBK_ECORRUPT;
    size_t left = survey->size - at - DBK_GROUP_HEADER_SIZE;
    if (header_out->payload_size > left)
        return DBK_ECORRUPT;
    struct dbk_slice payload =
        dbk_slice(survey->bytes + at + DBK_GROUP_HEADER_SIZE, header_out->payload_size);
    return dbk_crc32c(salt, payload) == header_out->payload_crc ? DBK_OK : DBK_ECORRUPT;
}

/* The group's records must be what its header says, and go on where the tail ends. */
static int check_group(const struct survey *survey, uint32_t salt, size_t at,
                       const struct dbk_group_header *header, const struct dbk_tail *tail)
{
    struct dbk_slice left =
        dbk_slice(survey->bytes + at + DBK_GROUP_HEADER_SIZE, header->payload_size);
    struct dbk_event event = {0};
    if (header->chain != tail->chain || header->first_position != tail->last_position + 1)
        return DBK_ECORRUPT;
    for (uint32_t i = 0; i < header->count; i++) {
        if (dbk_record_decode(left, salt, &event) < 0 ||
            event.position != header->first_position + i)
            return DBK_ECORRUPT;
        size_t size = dbk_record_size(&event);
        left = dbk_slice(left.data + size, left.size - size);
    }
    return left.size == 0 && event.time_us == header->last_time_us ? DBK_OK : DBK_ECORRUPT;
}

/* Nothing behind the bad place may show that it had been synced. */
static int check_torn(const struct survey *survey, const struct dbk_segment *segment,
                      struct dbk_error *err)
{
    uint64_t bad = survey->floor.size + survey->kept_size;
    for (size_t at = survey->kept_size + 1; at < survey->size; at++) {
        struct dbk_group_header header;
        const char *found = memmem(survey->bytes + at, survey->size - at, "dbkg", 4);
        if (found == NULL)
            break;
        at = (size_t)(found - survey->bytes);
        if (header_at(survey, segment->header.salt, at, &header) == DBK_OK &&
            header.synced_size > bad)
            return dbk_error_set(err, DBK_ECORRUPT,
                                 "%s: damaged at byte %" PRIu64 ", behind position %" PRIu64
                                 "; the group at byte %" PRIu32 " was written when that was synced",
                                 segment->path, bad, header.first_position - 1, header.offset);
    }
    if (survey->noted)
        return DBK_OK;
    for (size_t at = survey->kept_size; at < survey->size; at++)
        if (survey->bytes[at] != 0)
            return dbk_error_set(err, DBK_ECORRUPT,
                                 "%s: damaged at byte %" PRIu64
                                 ", and the note of what was synced is missing or damaged, too",
                                 segment->path, bad);
    return DBK_OK;
}

/* Finds the whole groups behind the floor; tail_out is where they end. */
static int look_behind_floor(const struct dbk_log *log, struct survey *survey,
                             struct dbk_tail *tail_out, struct dbk_error *err)
{
    const struct dbk_segment *segment = dbk_log_segment(log, survey->floor.segment);
    struct dbk_tail tail = survey->floor;
    struct dbk_group_header header;
    size_t at = 0;
    while (at < survey->size && group_at(survey, segment->header.salt, at, &header) == DBK_OK) {
        if (check_group(survey, segment->header.salt, at, &header, &tail) < 0)
            return dbk_error_set(err, DBK_ECORRUPT,
                                 "%s: the group at byte %" PRIu32
                                 " does not follow what stands before it",
                                 segment->path, header.offset);
        tail.chain = dbk_group_chain(tail.chain, survey->bytes + at);
        tail.last_position += header.count;
        tail.last_time_us = header.last_time_us;
        at += DBK_GROUP_HEADER_SIZE + header.payload_size;
        tail.size = survey->floor.size + (uint32_t)at;
    }
    survey->kept_size = at;
    *tail_out = tail;
    return check_torn(survey, segment, err);
}

/* Rewrites a kept group for another segment, in place. */
static void readdress(char *bytes, struct dbk_group_header *header, uint32_t salt)
{
    char *payload = bytes + DBK_GROUP_HEADER_SIZE;
    for (size_t at = 0; at < header->payload_size;) {
        struct dbk_slice left = dbk_slice(payload + at, header->payload_size - at);
        size_t size = dbk_record_claimed_size(left);
        dbk_record_reseed(payload + at, size, salt);
        at += size;
    }
    header->payload_crc = dbk_crc32c(salt, dbk_slice(payload, header->payload_size));
    dbk_group_header_encode(header, salt, bytes);
}

static int write_kept(struct dbk_log *log, struct survey *survey, uint32_t old_salt,
                      struct dbk_segment *segment, struct dbk_tail *tail, struct dbk_error *err)
{
    uint32_t salt = segment->header.salt;
    for (size_t at = 0; at < survey->kept_size;) {
        struct dbk_group_header header;
        struct dbk_slice left = dbk_slice(survey->bytes + at, survey->kept_size - at);
        int rc = dbk_group_header_decode(left, old_salt, &header);
        if (rc < 0)
            return dbk_error_set(err, rc, "%s: a group changed while it was copied", segment->path);
        header.chain = tail->chain;
        header.segment = tail->segment;
        header.offset = tail->size;
        header.synced_size = DBK_SEGMENT_HEADER_SIZE;
        readdress(survey->bytes + at, &header, salt);
        struct dbk_slice group =
            dbk_slice(survey->bytes + at, DBK_GROUP_HEADER_SIZE + header.payload_size);
        rc = log->os->pwrite(log->os, &segment->file, group, tail->size, err);
        if (rc < 0)
            return rc;
        tail->chain = dbk_group_chain(tail->chain, group.data);
        tail->last_position += header.count;
        tail->last_time_us = header.last_time_us;
        tail->size += (uint32_t)group.size;
        at += group.size;
    }
    return DBK_OK;
}

/* The header of the segment that takes the kept groups. */
static struct dbk_segment_header header_for_kept(const struct dbk_log *log,
                                                 const struct survey *survey,
                                                 const struct dbk_segment *old)
{
    struct dbk_segment_header header = old->header;
    dbk_segment_header_renew(&header);
    header.created_us = log->os->now_us(log->os);
    if (survey->floor.size > DBK_SEGMENT_HEADER_SIZE) {
        header.ordinal++;
        header.first_position = survey->floor.last_position + 1;
        header.previous_time_us = survey->floor.last_time_us;
        header.previous_size = survey->floor.size;
        header.previous_chain = survey->floor.chain;
        header.previous_crc = old->header.crc;
    }
    header.salt = dbk_log_salt(log, header.ordinal);
    return header;
}

static int carry_over(struct dbk_log *log, struct survey *survey, struct dbk_error *err)
{
    struct dbk_segment *old = dbk_log_segment(log, survey->floor.segment);
    struct dbk_segment_header header = header_for_kept(log, survey, old);
    struct dbk_segment *segment = NULL;
    bool named = false;
    int rc = dbk_segment_begin(log->os, log->folder, &header, NULL, &segment, err);
    if (rc < 0)
        return rc;
    log->tail = start_of(segment);
    rc = write_kept(log, survey, old->header.salt, segment, &log->tail, err);
    if (rc == DBK_OK)
        rc = dbk_segment_settle(log->os, log->folder, segment, &named, err);
    if (rc < 0) {
        dbk_segment_free(log->os, segment);
        return rc;
    }
    if (header.ordinal != old->header.ordinal) {
        dbk_segment_seal(log->os, old, survey->floor.size,
                         header.first_position - old->header.first_position);
        rc = dbk_segment_cut(log->os, old, survey->floor.size, false, err);
    }
    int put_rc = dbk_log_put_segment(log, segment, rc < 0 ? NULL : err);
    return rc < 0 ? rc : put_rc;
}

/* Cuts what an earlier recovery left behind sealed segments. */
static int cut_leftovers(struct dbk_log *log, struct dbk_error *err)
{
    uint32_t count = dbk_log_loaded_count(log);
    for (uint32_t i = 0; i + 1 < count; i++) {
        struct dbk_segment *segment = dbk_log_segment(log, i);
        uint64_t size = segment->map_size;
        int rc = segment->file_size > size ? dbk_segment_cut(log->os, segment, size, false, err)
                                           : DBK_OK;
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

static int repair(struct dbk_log *log, struct survey *survey, struct dbk_error *err)
{
    int rc = dbk_segment_discard_begun(log->os, log->folder, err);
    if (rc == DBK_OK)
        rc = cut_leftovers(log, err);
    if (rc < 0)
        return rc;
    struct dbk_segment *last = dbk_log_segment(log, survey->floor.segment);
    if (survey->kept_size > 0)
        return carry_over(log, survey, err);
    log->tail = survey->floor;
    if (survey->size > 0)
        rc = dbk_segment_cut(log->os, last, survey->floor.size, true, err);
    if (rc == DBK_OK)
        rc = log->os->open(log->os, last->path, DBK_OS_WRITE, &last->file, err);
    return rc;
}

static int write_first_note(struct dbk_log *log, const struct dbk_note *note, struct dbk_error *err)
{
    int rc = dbk_note_replace(log->os, log->folder, note, err);
    if (rc == DBK_OK)
        rc = dbk_note_open(log->os, log->folder, note->sequence, &log->note, err);
    return rc;
}

/* Where a folder's name is kept: what stands before its last part. */
static int sync_parent(struct dbk_log *log, struct dbk_error *err)
{
    struct dbk_slice parent = dbk_slice_of(log->folder);
    while (parent.size > 1 && parent.data[parent.size - 1] == '/')
        parent.size--;
    while (parent.size > 0 && parent.data[parent.size - 1] != '/')
        parent.size--;
    char *path = dbk_copy_text(parent.size == 0 ? DBK_SLICE_LITERAL(".") : parent);
    if (path == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s: %s", log->folder, dbk_code_text(DBK_ENOMEM));
    int rc = log->os->sync_folder(log->os, path, err);
    dbk_free(path);
    return rc;
}

static int begin_log(struct dbk_log *log, uint64_t sequence, struct dbk_error *err)
{
    uint8_t random[10];
    struct dbk_os *os = log->os;
    int64_t now_us = os->now_us(os);
    int rc = os->random(os, random, sizeof(random), err);
    if (rc == DBK_OK)
        rc = os->random(os, log->hash_key, sizeof(log->hash_key), err);
    if (rc == DBK_OK)
        rc = sync_parent(log, err);
    struct dbk_note note = {.sequence = sequence + 1};
    if (rc == DBK_OK)
        rc = write_first_note(log, &note, err);
    if (rc < 0)
        return rc;

    struct dbk_segment *segment = NULL;
    struct dbk_segment_header header = {
        .salt = dbk_log_salt(log, 0),
        .book_id = dbk_uuid_v7(now_us < 0 ? 0 : now_us, random),
        .first_position = 1,
        .created_us = now_us,
    };
    bool named = false;
    memcpy(header.hash_key, log->hash_key, sizeof(header.hash_key));
    rc = dbk_segment_begin(os, log->folder, &header, NULL, &segment, err);
    if (rc < 0)
        return rc;
    rc = dbk_segment_settle(os, log->folder, segment, &named, err);
    if (rc < 0) {
        dbk_segment_free(os, segment);
        return rc;
    }
    log->book_id = header.book_id;
    log->tail = start_of(segment);
    return dbk_log_put_segment(log, segment, err);
}

static int recover_segments(struct dbk_log *log, struct survey *survey, struct dbk_error *err)
{
    struct dbk_tail tail;
    const struct dbk_segment *first = dbk_log_segment(log, 0);
    log->book_id = first->header.book_id;
    memcpy(log->hash_key, first->header.hash_key, sizeof(log->hash_key));
    int rc = find_floor(log, survey, err);
    if (rc == DBK_OK)
        rc = read_tail(log, survey, err);
    if (rc == DBK_OK)
        rc = look_behind_floor(log, survey, &tail, err);
    if (rc == DBK_OK)
        rc = repair(log, survey, err);
    if (rc < 0)
        return rc;
    struct dbk_note note = dbk_log_note(log);
    note.sequence = survey->noted ? survey->note.sequence : 1;
    if (!survey->noted)
        return write_first_note(log, &note, err);
    rc = dbk_note_open(log->os, log->folder, note.sequence, &log->note, err);
    return rc < 0 ? rc : dbk_note_settle(log->os, &log->note, &note, err);
}

int dbk_log_recover(struct dbk_log *log, struct dbk_error *err)
{
    struct survey survey = {0};
    struct dbk_buf positions;
    struct dbk_error note_err = {0};
    dbk_buf_init(&positions, SIZE_MAX / 2);
    int rc = dbk_log_list_segments(log, &positions, err);
    if (rc < 0)
        goto out;
    rc = dbk_note_read(log->os, log->folder, &survey.note, &note_err);
    if (rc < 0 && rc != DBK_ENOTFOUND && rc != DBK_ECORRUPT) {
        if (err != NULL)
            *err = note_err;
        goto out;
    }
    survey.noted = rc == DBK_OK;
    if (positions.size == 0) {
        rc = survey.note.size > 0 ? dbk_error_set(err, DBK_ECORRUPT,
                                                  "%s: there are no segments, position %" PRIu64
                                                  " was noted as synced",
                                                  log->folder, survey.note.last_position)
                                  : begin_log(log, survey.note.sequence, err);
        goto out;
    }
    rc = dbk_log_load_segments(log, &positions, 0, (uint32_t)(positions.size / sizeof(uint64_t)),
                               err);
    if (rc == DBK_OK)
        rc = recover_segments(log, &survey, err);
out:
    if (rc == DBK_OK) {
        log->tail.synced_size = log->tail.size;
        log->tail.zeroed_size = log->tail.size;
    }
    dbk_free(survey.bytes);
    dbk_buf_release(&positions);
    return rc;
}
