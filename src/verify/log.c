/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify/verify.h"

#define HEADER_SIZE 128
#define GROUP_SIZE 64
#define NOTE_SIZE 128
#define NOTE_DISTANCE 512
#define MANIFEST_HEADER_SIZE 72
#define MANIFEST_ENTRY_SIZE 24
#define FORMAT 3

/* Of the log's note or the backup's manifest: where it ends. */
struct end {
    bool known;
    uint64_t segment;
    uint64_t size;
    uint64_t position;
    int64_t time_us;
    uint32_t salt;
    uint32_t chain;
    bool met;
};

struct segment {
    struct dbk_log *log;
    char name[DBK_PATH_MAX]; /* from the book's or the backup's folder */
    struct dbk_bytes bytes;
    uint64_t ordinal;
    uint64_t first;
    uint32_t salt;
    uint8_t generation;
    uint32_t removed;
    uint32_t chain;
    uint64_t end;     /* of its groups */
    struct end *last; /* of the log; this is the last segment */
};

static void wrong(const struct segment *segment, const char *kind, uint64_t offset,
                  uint64_t position, const char *what)
{
    dbk_found(kind, &(struct dbk_place){segment->name, offset, position}, "%s", what);
}

static bool read_record(struct segment *segment, struct dbk_bytes payload, uint64_t offset,
                        struct dbk_record *record)
{
    struct dbk_log *log = segment->log;
    size_t size = payload.size < 4 ? 0 : (size_t)dbk_number(payload.data, 4);
    struct dbk_bytes bytes = dbk_part(payload, 0, size);
    uint64_t position = log->last + 1;
    if (bytes.size < 8 ||
        dbk_crc(segment->salt, bytes.data + 8, size - 8) != dbk_number(bytes.data + 4, 4) ||
        !dbk_record_read(bytes, record)) {
        wrong(segment, "record", offset, position, "the record is damaged");
        return false;
    }
    if (record->position != position || record->time_us < log->last_time_us)
        wrong(segment, "record", offset, position,
              record->position != position ? "another position stands here"
                                           : "its time is before that of the record before it");
    log->last = position;
    log->last_time_us = record->time_us;
    segment->removed += (record->flags & DBK_REMOVED) != 0;
    log->removed += (record->flags & DBK_REMOVED) != 0;
    log->event(log->context, record, &(struct dbk_place){segment->name, offset, position});
    return true;
}

/* One group; its size, or 0: what stands there is none. */
static uint64_t read_group(struct segment *segment, uint64_t at, struct dbk_bytes places)
{
    struct dbk_record record = {0};
    struct dbk_bytes head = dbk_part(segment->bytes, at, GROUP_SIZE);
    uint64_t size = head.data == NULL ? 0 : dbk_number(head.data + 28, 4);
    struct dbk_bytes payload = dbk_part(segment->bytes, at + GROUP_SIZE, size);
    uint64_t first = segment->log->last + 1;
    if (head.data == NULL || memcmp(head.data, "dbkg", 4) != 0 || payload.data == NULL ||
        dbk_crc(segment->salt, head.data + 8, 56) != dbk_number(head.data + 4, 4) ||
        dbk_crc(segment->salt, payload.data, size) != dbk_number(head.data + 32, 4))
        return 0;
    if (dbk_number(head.data + 36, 4) != segment->chain || dbk_number(head.data + 8, 8) != first ||
        dbk_number(head.data + 40, 4) != segment->ordinal || dbk_number(head.data + 44, 4) != at ||
        !dbk_is_zero(head.data + 52, 12)) {
        wrong(segment, "group", at, first, "the group does not follow what stands before it");
        return 0;
    }
    segment->chain = dbk_crc(segment->chain, head.data + 8, 56);
    for (uint64_t done = 0; done < size; done += dbk_number(payload.data + done, 4)) {
        uint64_t offset = at + GROUP_SIZE + done;
        uint64_t index = segment->log->last + 1 - segment->first;
        if (!read_record(segment, dbk_part(payload, done, size - done), offset, &record))
            return 0;
        if (segment->generation > 0 &&
            (places.size < index * 4 + 4 || dbk_number(places.data + index * 4, 4) != offset))
            wrong(segment, "segment", offset, record.position, "its place is not the noted one");
    }
    if (segment->log->last + 1 - first != dbk_number(head.data + 24, 4) ||
        (int64_t)dbk_number(head.data + 16, 8) != segment->log->last_time_us)
        wrong(segment, "group", at, first, "its records are not those that its header says");
    return GROUP_SIZE + size;
}

static void meet_end(struct segment *segment, uint64_t at)
{
    struct end *end = segment->last;
    if (end == NULL || !end->known || end->segment != segment->ordinal || end->size != at)
        return;
    end->met = end->chain == segment->chain && end->salt == segment->salt &&
               end->position == segment->log->last &&
               (end->time_us == segment->log->last_time_us || end->position == 0);
}

static bool read_groups(struct segment *segment, struct dbk_bytes places)
{
    uint64_t at = HEADER_SIZE;
    meet_end(segment, at);
    while (at < segment->bytes.size && (segment->last != NULL || at < segment->end)) {
        struct dbk_log *log = segment->log;
        uint64_t before = log->last;
        uint64_t size = read_group(segment, at, places);
        if (size == 0 && at >= segment->end)
            return true; /* zeros, or a tail that nobody was told about */
        if (size == 0 && log->last == before)
            wrong(segment, "group", at, before + 1, "the group is damaged");
        if (size == 0)
            return false;
        at += size;
        meet_end(segment, at);
    }
    if (at < segment->end)
        wrong(segment, "segment", at, segment->log->last, "the segment ends too early");
    return at >= segment->end;
}

/* Header, groups, places. before: the header of the segment before, NULL for the first. */
static bool read_segment(struct segment *segment, const uint8_t *before, uint64_t before_size,
                         uint32_t before_chain, const uint8_t *after)
{
    const uint8_t *head = segment->bytes.data;
    struct dbk_log *log = segment->log;
    if (segment->bytes.size < HEADER_SIZE || memcmp(head, "dbksegm\n", 8) != 0 ||
        dbk_number(head + 8, 4) == 0 || dbk_number(head + 8, 4) > FORMAT ||
        dbk_crc(0, head, 124) != dbk_number(head + 124, 4)) {
        wrong(segment, "segment", 0, log->last + 1, "the header is damaged, or of a newer version");
        return false;
    }
    segment->salt = (uint32_t)dbk_number(head + 12, 4);
    segment->generation = head[96];
    segment->removed = 0;
    bool compacted = segment->generation > 0;
    segment->chain = compacted ? dbk_crc(0, head, 96) : (uint32_t)dbk_number(head + 124, 4);
    if (before == NULL)
        memcpy(log->book_id, head + 16, 16);
    if (dbk_number(head + 48, 8) != segment->ordinal ||
        dbk_number(head + 56, 8) != segment->first || segment->first != log->last + 1 ||
        (int64_t)dbk_number(head + 72, 8) != log->last_time_us ||
        dbk_number(head + 80, 8) != before_size || dbk_number(head + 88, 4) != before_chain ||
        (before == NULL ? !dbk_is_zero(head + 80, 16)
                        : memcmp(before + 16, head + 16, 32) != 0 ||
                              dbk_number(before + (before[96] > 0 ? 108 : 124), 4) !=
                                  dbk_number(head + 92, 4)) ||
        (!compacted && !dbk_is_zero(head + 96, 28)) ||
        (compacted && (dbk_number(head + 8, 4) < 2 || after == NULL))) {
        wrong(segment, "segment", 0, log->last + 1, "it does not follow the segment before it");
        return false;
    }
    if (compacted)
        segment->end = dbk_number(head + 116, 4);
    else if (after != NULL)
        segment->end = dbk_number(after + 80, 8);
    else
        segment->end = segment->last->known && segment->last->segment == segment->ordinal
                           ? segment->last->size
                           : HEADER_SIZE;
    uint64_t count = after == NULL ? 0 : dbk_number(after + 56, 8) - segment->first;
    struct dbk_bytes places = {0};
    if (compacted) {
        places =
            dbk_part(segment->bytes, segment->end, count > SIZE_MAX / 8 ? SIZE_MAX : count * 4 + 4);
        if (places.size < 4 || dbk_crc(segment->salt, places.data, places.size - 4) !=
                                   dbk_number(places.data + places.size - 4, 4))
            wrong(segment, "segment", segment->end, 0, "the places behind its groups are damaged");
    }
    if (!read_groups(segment, places))
        return false;
    if (after != NULL && segment->chain != dbk_number(compacted ? head + 120 : after + 88, 4))
        wrong(segment, "segment", 0, log->last, "its end is not the one that was noted");
    if (compacted && segment->removed != dbk_number(head + 97, 3))
        wrong(segment, "segment", 97, 0, "it has another number of removed events than it says");
    return true;
}

static void read_note(struct dbk_log *log, struct end *end)
{
    char path[DBK_PATH_MAX];
    struct dbk_bytes bytes;
    uint64_t newest = 0;
    (void)snprintf(path, sizeof(path), "%s/log/synced", log->folder);
    if (!dbk_file_map(path, &bytes)) {
        dbk_found("note", &(struct dbk_place){"log/synced", 0, 0}, "it cannot be read: %s",
                  strerror(errno));
        return;
    }
    for (unsigned slot = 0; slot < 2; slot++) {
        struct dbk_bytes at = dbk_part(bytes, slot * NOTE_DISTANCE, NOTE_SIZE);
        uint8_t covered[NOTE_SIZE - 4];
        if (at.data == NULL || dbk_is_zero(at.data, at.size))
            continue;
        memcpy(covered, at.data, 12);
        memcpy(covered + 12, at.data + 16, NOTE_SIZE - 16);
        if (memcmp(at.data, "dbknote\n", 8) != 0 ||
            dbk_crc(0, covered, sizeof(covered)) != dbk_number(at.data + 12, 4) ||
            !dbk_is_zero(at.data + 64, 64)) {
            dbk_found("note", &(struct dbk_place){"log/synced", slot * NOTE_DISTANCE, 0},
                      "a slot is damaged");
        } else if (dbk_number(at.data + 16, 8) > newest) {
            newest = dbk_number(at.data + 16, 8);
            *end = (struct end){true,
                                dbk_number(at.data + 24, 8),
                                dbk_number(at.data + 32, 8),
                                dbk_number(at.data + 40, 8),
                                (int64_t)dbk_number(at.data + 48, 8),
                                (uint32_t)dbk_number(at.data + 56, 4),
                                (uint32_t)dbk_number(at.data + 60, 4),
                                false};
        }
    }
    if (bytes.size > NOTE_SIZE &&
        !dbk_is_zero(bytes.data + NOTE_SIZE,
                     (bytes.size < NOTE_DISTANCE ? bytes.size : NOTE_DISTANCE) - NOTE_SIZE))
        dbk_found("note", &(struct dbk_place){"log/synced", NOTE_SIZE, 0},
                  "bytes between the slots");
    dbk_file_unmap(bytes);
}

/* Names and sizes of a backup's segments; NULL: there is no manifest. */
static uint8_t *read_manifest(struct dbk_log *log, struct end *end, size_t *count_out)
{
    char path[DBK_PATH_MAX];
    struct dbk_bytes bytes;
    const struct dbk_place place = {"manifest", 0, 0};
    (void)snprintf(path, sizeof(path), "%s/manifest", log->folder);
    if (!dbk_file_map(path, &bytes))
        return NULL;
    const uint8_t *at = bytes.data;
    uint64_t count = bytes.size < MANIFEST_HEADER_SIZE ? 0 : dbk_number(at + 64, 8);
    if (count == 0 || memcmp(at, "dbkbackp", 8) != 0 || dbk_number(at + 8, 4) != 1 ||
        count != (bytes.size - MANIFEST_HEADER_SIZE) / MANIFEST_ENTRY_SIZE ||
        bytes.size != MANIFEST_HEADER_SIZE + count * MANIFEST_ENTRY_SIZE ||
        dbk_crc(1, at + 16, bytes.size - 16) != dbk_number(at + 12, 4)) {
        dbk_found("manifest", &place, "it is damaged, or of a newer version");
        dbk_file_unmap(bytes);
        return NULL;
    }
    uint8_t *entries = dbk_room(NULL, count, MANIFEST_ENTRY_SIZE);
    memcpy(entries, at + MANIFEST_HEADER_SIZE, count * MANIFEST_ENTRY_SIZE);
    *end = (struct end){true,
                        count - 1,
                        dbk_number(entries + count * MANIFEST_ENTRY_SIZE - 8, 8),
                        dbk_number(at + 32, 8),
                        (int64_t)dbk_number(at + 40, 8),
                        (uint32_t)dbk_number(at + 60, 4),
                        (uint32_t)dbk_number(at + 56, 4),
                        false};
    *count_out = count;
    dbk_file_unmap(bytes);
    return entries;
}

static void name_segment(struct segment *segment, uint64_t first, const uint8_t *entry)
{
    if (entry == NULL)
        (void)snprintf(segment->name, sizeof(segment->name), "log/%020" PRIu64 ".seg", first);
    else
        (void)snprintf(segment->name, sizeof(segment->name), "%020" PRIu64 "-%08" PRIx32 ".seg",
                       first, (uint32_t)dbk_number(entry + 8, 4));
    segment->first = first;
}

static bool map_segment(struct segment *segment, const uint8_t *entry)
{
    char path[2 * DBK_PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%s", segment->log->folder, segment->name);
    if (!dbk_file_map(path, &segment->bytes)) {
        dbk_found("segment", &(struct dbk_place){segment->name, 0, segment->first},
                  "it cannot be read: %s", strerror(errno));
        return false;
    }
    if (entry == NULL)
        return true;
    size_t size = (size_t)dbk_number(entry + 16, 8);
    if (segment->bytes.size < size ||
        dbk_crc(0, segment->bytes.data, size) != dbk_number(entry + 12, 4))
        wrong(segment, "segment", 0, segment->first, "it is not the one that the manifest says");
    return true;
}

bool dbk_log_read(struct dbk_log *log)
{
    struct end end = {0};
    uint64_t *positions = NULL;
    uint8_t *entries = NULL;
    size_t count = 0;
    char folder[DBK_PATH_MAX];
    (void)snprintf(folder, sizeof(folder), "%s/log", log->folder);
    if (log->backup) {
        entries = read_manifest(log, &end, &count);
        if (entries == NULL)
            return dbk_found_count > 0;
    } else {
        long found = dbk_file_segments(folder, &positions);
        if (found < 0)
            return false;
        count = (size_t)found;
        read_note(log, &end);
    }
    struct segment segment = {.log = log};
    struct segment next = {.log = log};
    uint8_t before[HEADER_SIZE];
    uint64_t before_size = 0;
    uint32_t before_chain = 0;
    bool going = count > 0;
    for (size_t i = 0; i < count + 1 && going; i++) {
        const uint8_t *entry =
            entries == NULL || i == count ? NULL : entries + i * MANIFEST_ENTRY_SIZE;
        segment = next;
        next = (struct segment){.log = log, .ordinal = i};
        if (i < count) {
            name_segment(&next, entries == NULL ? positions[i] : dbk_number(entry, 8), entry);
            going = map_segment(&next, entry) && next.bytes.size >= HEADER_SIZE;
            if (!going && next.bytes.data != NULL)
                wrong(&next, "segment", 0, next.first, "it has no header");
        }
        if (i > 0 && going) {
            segment.last = i == count ? &end : NULL;
            going = read_segment(&segment, i == 1 ? NULL : before, before_size, before_chain,
                                 i == count ? NULL : next.bytes.data);
            memcpy(before, segment.bytes.data, HEADER_SIZE);
            bool compacted = before[96] > 0;
            before_size = compacted ? dbk_number(before + 100, 4) : segment.end;
            before_chain = compacted ? (uint32_t)dbk_number(before + 104, 4) : segment.chain;
        }
        dbk_file_unmap(segment.bytes);
        segment.bytes = (struct dbk_bytes){0};
    }
    if (!going)
        dbk_file_unmap(next.bytes);
    if (going && end.known && !end.met)
        dbk_found(log->backup ? "manifest" : "note",
                  &(struct dbk_place){log->backup ? "manifest" : "log/synced", 0, end.position},
                  "the log has no such end");
    if (count == 0)
        dbk_found("segment", &(struct dbk_place){"log", 0, 1}, "there are no segments");
    free(positions);
    free(entries);
    return true;
}
