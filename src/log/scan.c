/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "base/assert.h"
#include "log/state.h"
#include "log/unchecked.h"

/* How much one pread of the last segment asks for. */
#define CHUNK_SIZE ((size_t)256 << 10)
/* A buffer that a large record made larger is given back. */
#define CHUNK_SIZE_KEPT ((size_t)4 << 20)

struct dbk_log_scan {
    struct dbk_log *log;
    struct dbk_segment *segment; /* pinned; NULL until the first record */
    struct dbk_log_place place;  /* what comes next: a header or a record */
    uint64_t wanted;             /* the position that place was said to have; 0: not known */
    struct dbk_slice chunk;      /* bytes at chunk_offset */
    uint64_t chunk_offset;
    struct dbk_buf buffer;
    bool in_group;          /* the header of the group we are in was read */
    bool verified;          /* and its payload's checksum is right */
    bool chained;           /* the segment was read from its start */
    uint32_t chain;         /* if so, the chain of the next group */
    uint64_t group_end;     /* if in_group */
    uint64_t next_position; /* 0: not known yet */
};

int dbk_log_scan_open(struct dbk_log *log, struct dbk_log_place place, uint64_t position,
                      struct dbk_log_scan **scan_out, struct dbk_error *err)
{
    struct dbk_log_scan *scan = dbk_alloc_zero(1, sizeof(*scan));
    if (scan == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s: %s", log->folder, dbk_code_text(DBK_ENOMEM));
    scan->log = log;
    scan->place = place;
    scan->wanted = position;
    dbk_buf_init(&scan->buffer, SIZE_MAX / 2);
    *scan_out = scan;
    return DBK_OK;
}

void dbk_log_scan_free(struct dbk_log_scan *scan)
{
    if (scan == NULL)
        return;
    dbk_log_unpin(scan->segment);
    dbk_buf_release(&scan->buffer);
    dbk_free(scan);
}

static int fail_at(const struct dbk_log_scan *scan, const char *what, struct dbk_error *err)
{
    if (scan->next_position > 0)
        return dbk_error_set(
            err, DBK_ECORRUPT, "%s: %s at byte %" PRIu32 " is damaged, behind position %" PRIu64,
            scan->segment->path, what, scan->place.offset, scan->next_position - 1);
    return dbk_error_set(err, DBK_ECORRUPT, "%s: %s at byte %" PRIu32 " is damaged",
                         scan->segment->path, what, scan->place.offset);
}

/* Bytes at the scan's place: size of them, or fewer at the segment's end. */
static int look(struct dbk_log_scan *scan, uint64_t end, size_t size, struct dbk_slice *bytes_out,
                struct dbk_error *err)
{
    uint64_t at = scan->place.offset - scan->chunk_offset;
    if (at > scan->chunk.size || scan->chunk.size - at < size) {
        struct dbk_range range = {
            .offset = scan->place.offset,
            .end = end,
            .size_min = size,
            .size_max = CHUNK_SIZE,
        };
        if (scan->buffer.capacity > CHUNK_SIZE_KEPT && size < CHUNK_SIZE)
            dbk_buf_release(&scan->buffer);
        scan->chunk = (struct dbk_slice){0};
        int rc = dbk_segment_bytes(scan->log->os, scan->segment, &range, &scan->buffer,
                                   &scan->chunk, err);
        if (rc < 0)
            return rc;
        scan->chunk_offset = scan->place.offset;
        at = 0;
    }
    *bytes_out = dbk_slice(scan->chunk.data + at, scan->chunk.size - (size_t)at);
    return DBK_OK;
}

/* Enters the place's segment; in one that was compacted since, by the position that the place was
   said to have. */
static int enter_segment(struct dbk_log_scan *scan, struct dbk_error *err)
{
    int rc = dbk_log_pin(scan->log, scan->place.segment, &scan->segment, err);
    if (rc < 0)
        return rc;
    const struct dbk_segment_header *header = &scan->segment->header;
    if (header->generation > 0 && scan->wanted > header->first_position)
        scan->place.offset = dbk_segment_offset(scan->segment, scan->wanted);
    else if (header->generation > 0 && scan->wanted > 0)
        scan->place.offset = DBK_SEGMENT_HEADER_SIZE;
    scan->wanted = 0;
    scan->chunk = (struct dbk_slice){0};
    scan->chunk_offset = 0;
    scan->in_group = false;
    scan->chained = scan->place.offset <= DBK_SEGMENT_HEADER_SIZE;
    scan->chain = header->chain_begin;
    if (scan->chained) {
        scan->place.offset = DBK_SEGMENT_HEADER_SIZE;
        scan->next_position = header->first_position;
    }
    return DBK_OK;
}

/* What the next segment's header says about this one's chain must be what was read. */
static int leave_segment(struct dbk_log_scan *scan, struct dbk_error *err)
{
    const struct dbk_segment *next = dbk_log_segment(scan->log, scan->place.segment + 1);
    const struct dbk_segment_header *header = &scan->segment->header;
    uint32_t chain = header->generation > 0 ? header->chain : next->header.previous_chain;
    bool right = (!scan->chained || chain == scan->chain) &&
                 (scan->next_position == 0 || next->header.first_position == scan->next_position);
    if (!right)
        return dbk_error_set(err, DBK_ECORRUPT, "%s does not end as %s says", scan->segment->path,
                             next->name);
    scan->place.segment++;
    scan->place.offset = 0;
    return enter_segment(scan, err);
}

/*
 * Reads the group header at the scan's place. A payload that is at hand as a whole is verified as a
 * whole; of others each record is.
 */
static int enter_group(struct dbk_log_scan *scan, uint64_t end, struct dbk_slice bytes,
                       struct dbk_error *err)
{
    struct dbk_group_header header;
    uint32_t salt = scan->segment->header.salt;
    if (dbk_group_header_decode(bytes, salt, &header) < 0 ||
        header.segment != scan->place.segment || header.offset != scan->place.offset ||
        header.payload_size > end - scan->place.offset - DBK_GROUP_HEADER_SIZE)
        return fail_at(scan, "the group", err);
    if ((scan->chained && header.chain != scan->chain) ||
        (scan->next_position > 0 && header.first_position != scan->next_position))
        return dbk_error_set(err, DBK_ECORRUPT,
                             "%s: the group at byte %" PRIu32
                             " does not follow what stands before it",
                             scan->segment->path, scan->place.offset);
    if (scan->chained)
        scan->chain = dbk_group_chain(scan->chain, bytes.data);
    size_t size = DBK_GROUP_HEADER_SIZE + (size_t)header.payload_size;
    if (size > bytes.size && size <= CHUNK_SIZE) {
        int rc = look(scan, end, size, &bytes, err);
        if (rc < 0)
            return rc;
    }
    scan->verified = size <= bytes.size;
    if (scan->verified && dbk_crc32c(salt, dbk_slice(bytes.data + DBK_GROUP_HEADER_SIZE,
                                                     header.payload_size)) != header.payload_crc)
        return fail_at(scan, "the group", err);
    scan->in_group = true;
    scan->group_end = scan->place.offset + size;
    scan->place.offset += DBK_GROUP_HEADER_SIZE;
    scan->next_position = header.first_position;
    return DBK_OK;
}

static int take_record(struct dbk_log_scan *scan, uint64_t end, struct dbk_event *event_out,
                       struct dbk_log_place *place_out, struct dbk_error *err)
{
    struct dbk_slice bytes = {0};
    uint64_t limit = scan->in_group ? scan->group_end : end;
    int rc = look(scan, end, DBK_RECORD_HEADER_SIZE, &bytes, err);
    if (rc < 0)
        return rc;
    size_t size = dbk_record_claimed_size(bytes);
    if (size > limit - scan->place.offset)
        return fail_at(scan, "the record", err);
    if (size > bytes.size)
        rc = look(scan, end, size, &bytes, err);
    if (rc < 0)
        return rc;
    rc = scan->in_group && scan->verified
             ? dbk_record_decode_unchecked(bytes, event_out)
             : dbk_record_decode(bytes, scan->segment->header.salt, event_out);
    if (rc < 0 || (scan->next_position > 0 && event_out->position != scan->next_position))
        return fail_at(scan, "the record", err);
    if (place_out != NULL)
        *place_out = scan->place;
    scan->next_position = event_out->position + 1;
    scan->place.offset += (uint32_t)size;
    if (scan->in_group && scan->place.offset == scan->group_end)
        scan->in_group = false;
    return 1;
}

int dbk_log_scan_next(struct dbk_log_scan *scan, struct dbk_event *event_out,
                      struct dbk_log_place *place_out, struct dbk_error *err)
{
    struct dbk_log_place end = dbk_log_end(scan->log);
    for (;;) {
        if (scan->place.segment > end.segment)
            return 0;
        int rc = DBK_OK;
        /* Until its first group is there a segment may be replaced by a recovery. */
        if (scan->segment == NULL || scan->place.offset <= DBK_SEGMENT_HEADER_SIZE)
            rc = enter_segment(scan, err);
        if (rc < 0)
            return rc;
        uint64_t limit = dbk_log_segment_end(scan->segment, end, scan->place.segment);
        if (scan->place.offset >= limit) {
            if (scan->place.segment == end.segment)
                return 0;
            rc = leave_segment(scan, err);
        } else if (scan->in_group) {
            rc = take_record(scan, limit, event_out, place_out, err);
            if (rc > 0)
                return rc;
        } else {
            struct dbk_slice bytes = {0};
            rc = look(scan, limit, DBK_GROUP_HEADER_SIZE, &bytes, err);
            /* A scan may begin inside a group; there each record is verified. */
            bool inside = rc == DBK_OK && !dbk_group_header_begins(bytes) && !scan->chained;
            if (inside)
                rc = take_record(scan, limit, event_out, place_out, err);
            else if (rc == DBK_OK)
                rc = enter_group(scan, limit, bytes, err);
            if (inside && rc > 0)
                return rc;
        }
        if (rc == DBK_EBUSY && scan->next_position > 0) {
            /* Sealed and compacted since we began to read it as the last one. */
            scan->wanted = scan->next_position;
            rc = enter_segment(scan, err);
        }
        if (rc < 0)
            return rc;
    }
}
