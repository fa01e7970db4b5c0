/* SPDX-License-Identifier: Apache-2.0 */
/* A sealed segment written anew, without the content of some of its events or fields. */
#include <inttypes.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "log/load.h"
#include "log/path.h"

/* Records are packed into groups of about this size: there are no batches to keep together, and a
   group's header is as long as a small event. */
#define PACK_SIZE ((size_t)256 << 10)

struct packing {
    struct dbk_log *log;
    const struct dbk_log_compaction *compaction;
    struct dbk_file file;
    struct dbk_segment_header header;
    uint64_t size;         /* of the file so far */
    uint32_t chain;        /* behind the groups so far */
    struct dbk_buf group;  /* room for its header, then its records */
    struct dbk_buf places; /* of all records */
    uint64_t first_position;
    uint32_t count; /* of records in the group */
    int64_t last_time_us;
    uint8_t digest[DBK_SHA256_SIZE]; /* of the content being removed */
    struct dbk_buf sealed;           /* of an event whose ciphertexts are dropped */
    uint64_t removed;
    uint64_t dropped;
    uint32_t removed_ever; /* also by compactions before */
};

static int no_memory(const struct packing *packing, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory compacting %s", packing->log->folder);
}

static int write_group(struct packing *packing, struct dbk_error *err)
{
    char *bytes = packing->group.data;
    size_t payload_size = packing->group.size - DBK_GROUP_HEADER_SIZE;
    uint32_t salt = packing->header.salt;
    if (packing->count == 0)
        return DBK_OK;
    struct dbk_group_header header = {
        .first_position = packing->first_position,
        .last_time_us = packing->last_time_us,
        .count = packing->count,
        .payload_size = (uint32_t)payload_size,
        .payload_crc = dbk_crc32c(salt, dbk_slice(bytes + DBK_GROUP_HEADER_SIZE, payload_size)),
        .chain = packing->chain,
        .segment = (uint32_t)packing->header.ordinal,
        .offset = (uint32_t)packing->size,
        .synced_size = DBK_SEGMENT_HEADER_SIZE,
    };
    dbk_group_header_encode(&header, salt, bytes);
    struct dbk_os *os = packing->log->os;
    int rc = os->pwrite(os, &packing->file, dbk_buf_slice(&packing->group), packing->size, err);
    packing->chain = dbk_group_chain(packing->chain, bytes);
    packing->size += packing->group.size;
    packing->count = 0;
    return rc;
}

/* What stays of an event that is removed: its envelope and the digest of its content. */
static int strip(struct dbk_event *event, uint8_t digest[DBK_SHA256_SIZE])
{
    int rc = dbk_record_content(event, digest);
    if (rc < 0)
        return rc;
    event->flags |= DBK_RECORD_REMOVED;
    event->data = dbk_slice((const char *)digest, DBK_SHA256_SIZE);
    event->tags = event->meta = event->sealed = (struct dbk_slice){0};
    return DBK_OK;
}

/* The ciphertexts of erased keys become their digests. */
static int drop_sealed(struct packing *packing, struct dbk_event *event)
{
    const struct dbk_log_compaction *compaction = packing->compaction;
    int64_t size = 0;
    int rc = compaction->erased == NULL ? 0
                                        : dbk_sealed_droppable(event->sealed, compaction->erased,
                                                               compaction->context, &size);
    if (rc <= 0)
        return rc;
    dbk_buf_reset(&packing->sealed);
    rc = dbk_sealed_drop(event->sealed, compaction->erased, compaction->context, &packing->sealed);
    event->sealed = dbk_buf_slice(&packing->sealed);
    packing->dropped += rc == DBK_OK;
    return rc;
}

/* Takes from the event what is to go. */
static int reduce(struct packing *packing, struct dbk_event *event, struct dbk_error *err)
{
    const struct dbk_log_compaction *compaction = packing->compaction;
    bool removes = (event->flags & DBK_RECORD_REMOVED) == 0 && compaction->removes != NULL &&
                   compaction->removes(compaction->context, event);
    int rc = removes ? strip(event, packing->digest) : drop_sealed(packing, event);
    if (rc == DBK_ENOMEM)
        return no_memory(packing, err);
    if (rc < 0)
        return dbk_error_set(err, DBK_ECORRUPT, "%s: position %ju has a damaged sealed section",
                             packing->log->folder, (uintmax_t)event->position);
    packing->removed += removes;
    packing->removed_ever += (event->flags & DBK_RECORD_REMOVED) != 0;
    return DBK_OK;
}

static int pack(struct packing *packing, struct dbk_event *event, struct dbk_error *err)
{
    static const char zeros[DBK_GROUP_HEADER_SIZE];
    char place[sizeof(uint32_t)];
    int reduced = reduce(packing, event, err);
    if (reduced < 0)
        return reduced;
    size_t size = dbk_record_size(event);
    if (packing->count > 0 && packing->group.size + size > PACK_SIZE) {
        int rc = write_group(packing, err);
        if (rc < 0)
            return rc;
    }
    if (packing->count == 0) {
        dbk_buf_reset(&packing->group);
        dbk_buf_append(&packing->group, dbk_slice(zeros, sizeof(zeros)));
        packing->first_position = event->position;
    }
    if (dbk_buf_reserve(&packing->group, packing->group.size + size) < 0)
        return no_memory(packing, err);
    dbk_put_u32(place, (uint32_t)(packing->size + packing->group.size));
    dbk_buf_append(&packing->places, dbk_slice(place, sizeof(place)));
    dbk_record_encode(event, packing->header.salt, packing->group.data + packing->group.size);
    packing->group.size += size;
    packing->count++;
    packing->last_time_us = event->time_us;
    return packing->places.rc < 0 ? no_memory(packing, err) : DBK_OK;
}

static int pack_all(struct packing *packing, uint32_t index, struct dbk_error *err)
{
    const struct dbk_log_compaction *compaction = packing->compaction;
    struct dbk_log_scan *scan = NULL;
    struct dbk_event event;
    uint64_t end = dbk_log_segment(packing->log, index + 1)->header.first_position;
    size_t done = 0;
    int rc = dbk_log_scan_open(packing->log, (struct dbk_log_place){index, 0}, 0, &scan, err);
    for (uint64_t at = packing->header.first_position; rc == DBK_OK && at < end; at++) {
        rc = dbk_log_scan_next(scan, &event, NULL, err);
        if (rc == 0)
            rc = dbk_error_set(err, DBK_ECORRUPT, "%s ends before position %ju",
                               packing->log->folder, (uintmax_t)at);
        if (rc < 0)
            break;
        done += dbk_record_size(&event);
        rc = pack(packing, &event, err);
        if (rc == DBK_OK && done >= PACK_SIZE) {
            rc = compaction->step(compaction->context, done);
            done = 0;
        }
    }
    dbk_log_scan_free(scan);
    return rc == DBK_OK ? write_group(packing, err) : rc;
}

/* The places behind the groups, and at last the header, which says where they end. */
static int finish(struct packing *packing, struct dbk_error *err)
{
    struct dbk_os *os = packing->log->os;
    char bytes[DBK_SEGMENT_HEADER_SIZE];
    char crc[sizeof(uint32_t)];
    dbk_put_u32(crc, dbk_crc32c(packing->header.salt, dbk_buf_slice(&packing->places)));
    dbk_buf_append(&packing->places, dbk_slice(crc, sizeof(crc)));
    if (packing->places.rc < 0)
        return no_memory(packing, err);
    packing->header.size = (uint32_t)packing->size;
    packing->header.chain = packing->chain;
    packing->header.removed = packing->removed_ever;
    dbk_segment_header_encode(&packing->header, bytes);
    int rc = os->pwrite(os, &packing->file, dbk_buf_slice(&packing->places), packing->size, err);
    if (rc == DBK_OK)
        rc = os->pwrite(os, &packing->file, dbk_slice(bytes, sizeof(bytes)), 0, err);
    return rc == DBK_OK ? os->sync(os, &packing->file, err) : rc;
}

/* The header of the new version; its chain begins before its end is known. */
static void begin_header(struct packing *packing, const struct dbk_segment *old,
                         const struct dbk_segment *next)
{
    struct dbk_segment_header *header = &packing->header;
    char bytes[DBK_SEGMENT_HEADER_SIZE];
    *header = old->header;
    if (header->generation == 0) {
        header->original.size = (uint32_t)next->header.previous_size;
        header->original.chain = next->header.previous_chain;
        header->original.crc = old->header.crc;
        header->original.salt = old->header.salt;
    }
    header->generation = (uint8_t)(header->generation < UINT8_MAX ? header->generation + 1 : 1);
    header->salt = dbk_log_salt(packing->log, header->ordinal | (uint64_t)header->generation << 32);
    dbk_segment_header_encode(header, bytes);
    packing->chain = header->chain_begin;
    packing->size = DBK_SEGMENT_HEADER_SIZE;
}

/* Gives the new version the segment's name, and readers the new version. */
static int exchange(struct packing *packing, const char *path, uint32_t index,
                    struct dbk_error *err)
{
    struct dbk_log *log = packing->log;
    struct dbk_os *os = log->os;
    int rc = os->rename(os, path, dbk_log_segment(log, index)->path, err);
    if (rc < 0)
        return rc;
    /* Until it is durable either version may be found after a crash: both are whole. */
    rc = os->sync_folder(os, log->folder, err);
    (void)pthread_mutex_lock(&log->reload_lock);
    int loaded = dbk_log_load_again(log, index, rc < 0 ? NULL : err);
    (void)pthread_mutex_unlock(&log->reload_lock);
    dbk_log_reclaim(log);
    return rc < 0 ? rc : loaded;
}

static int compact(struct packing *packing, const char *path, uint32_t index, struct dbk_error *err)
{
    struct dbk_log *log = packing->log;
    struct dbk_os *os = log->os;
    begin_header(packing, dbk_log_segment(log, index), dbk_log_segment(log, index + 1));
    int rc = os->open(os, path, DBK_OS_WRITE | DBK_OS_CREATE, &packing->file, err);
    if (rc < 0)
        return rc;
    rc = os->truncate(os, &packing->file, 0, err);
    if (rc == DBK_OK)
        rc = pack_all(packing, index, err);
    if (rc == DBK_OK)
        rc = finish(packing, err);
    os->close(os, &packing->file);
    if (rc == DBK_OK)
        rc = exchange(packing, path, index, err);
    if (rc < 0)
        dbk_ignore(os->remove(os, path, NULL));
    return rc;
}

int dbk_log_compact(struct dbk_log *log, uint32_t segment,
                    const struct dbk_log_compaction *compaction,
                    struct dbk_log_compacted *compacted_out, struct dbk_error *err)
{
    struct packing packing = {.log = log, .compaction = compaction, .file = DBK_FILE_CLOSED};
    dbk_assert(log->writer);
    if (segment >= dbk_log_end(log).segment)
        return dbk_error_set(err, DBK_EINVAL, "%s: only sealed segments are compacted",
                             log->folder);
    char *path = dbk_path_join(log->folder, DBK_SEGMENT_COMPACT_NAME);
    if (path == NULL)
        return no_memory(&packing, err);
    *compacted_out = (struct dbk_log_compacted){.size_before = dbk_log_segment_size(log, segment)};
    dbk_buf_init(&packing.group, SIZE_MAX / 2);
    dbk_buf_init(&packing.places, SIZE_MAX / 2);
    dbk_buf_init(&packing.sealed, SIZE_MAX / 2);
    int rc = compact(&packing, path, segment, err);
    dbk_buf_release(&packing.group);
    dbk_buf_release(&packing.places);
    dbk_buf_release(&packing.sealed);
    dbk_free(path);
    compacted_out->removed = packing.removed;
    compacted_out->dropped = packing.dropped;
    compacted_out->size = dbk_log_segment_size(log, segment);
    return rc;
}
