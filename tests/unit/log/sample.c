/* SPDX-License-Identifier: Apache-2.0 */
#include "sample.h"

#include <stdio.h>
#include <string.h>

void sample_make(struct sample *sample, uint64_t position)
{
    uint64_t mixed = position * UINT64_C(0x9E3779B97F4A7C15);
    size_t data_size = (size_t)(mixed >> 32) % (position % 13 == 0 ? SAMPLE_DATA_SIZE : 60);
    memset(sample, 0, sizeof(*sample));
    int stream_size =
        snprintf(sample->stream, sizeof(sample->stream), "thing-%u", (unsigned)(position % 7));
    for (size_t i = 0; i < data_size; i++)
        sample->data[i] = (char)(mixed >> i % 57);
    sample->event = (struct dbk_event){
        .position = position,
        .version = position / 7 + 1,
        .time_us = (int64_t)(1700000000000000 + position / 3),
        .occurred_us = position % 5 == 0 ? (int64_t)position : DBK_TIME_NONE,
        .flags = DBK_RECORD_BATCH_END,
        .stream = dbk_slice(sample->stream, (size_t)stream_size),
        .type = dbk_slice_of(position % 2 == 0 ? "Changed" : "Seen"),
        .data = dbk_slice(sample->data, data_size),
    };
    memcpy(sample->event.id.bytes, &mixed, sizeof(mixed));
}

bool sample_equal(const struct dbk_event *a, const struct dbk_event *b)
{
    return a->position == b->position && a->version == b->version && a->time_us == b->time_us &&
           a->occurred_us == b->occurred_us && dbk_uuid_equal(&a->id, &b->id) &&
           a->flags == b->flags && a->schema_version == b->schema_version &&
           dbk_slice_equal(a->stream, b->stream) && dbk_slice_equal(a->type, b->type) &&
           dbk_slice_equal(a->tags, b->tags) && dbk_slice_equal(a->data, b->data) &&
           dbk_slice_equal(a->meta, b->meta) && dbk_slice_equal(a->sealed, b->sealed);
}

int sample_append(struct dbk_log *log, unsigned count, bool sync, struct dbk_error *err)
{
    struct dbk_log_group *group = dbk_log_group_begin(log);
    uint64_t position = dbk_log_last_position(log);
    for (unsigned i = 0; i < count; i++) {
        struct sample sample;
        struct dbk_log_place place;
        sample_make(&sample, ++position);
        int rc = dbk_log_group_add(group, &sample.event, &place);
        if (rc < 0)
            return dbk_error_set(err, rc, "add position %ju", (uintmax_t)position);
    }
    return dbk_log_write_group(log, group, sync, err);
}

static bool is_sample(const struct dbk_event *event, uint64_t position)
{
    struct sample sample;
    sample_make(&sample, position);
    return sample_equal(event, &sample.event);
}

bool sample_check(struct dbk_log *log, struct dbk_error *err)
{
    struct dbk_log_scan *scan = NULL;
    struct dbk_log_reader reader;
    struct dbk_event event;
    struct dbk_log_place place;
    uint64_t position = 0;
    bool right = true;
    dbk_log_reader_init(&reader);
    int rc = dbk_log_scan_open(log, (struct dbk_log_place){0}, 0, &scan, err);
    while (rc >= 0 && right) {
        rc = dbk_log_scan_next(scan, &event, &place, err);
        if (rc <= 0)
            break;
        right = is_sample(&event, ++position);
        rc = dbk_log_read(log, place, 0, &reader, &event, err);
        right = right && rc == DBK_OK && is_sample(&event, position);
    }
    dbk_log_scan_free(scan);
    dbk_log_reader_release(&reader);
    return right && rc == 0 && position == dbk_log_last_position(log);
}
