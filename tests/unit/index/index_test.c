/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_test -- every look-up against a plain array of what was appended, with the events in
 * memory, in runs, in merged runs, after damage to any byte of a run, and after each lost file.
 */
#include "test.h"

#include <stdlib.h>

#include "index/index.h"
#include "index/run.h"
#include "os/sim.h"

#define EVENTS 900
#define CHUNK 64
#define STREAMS 37

struct sample {
    char stream[24];
    char type[8];
    struct dbk_uuid id;
    char tags[16]; /* as they are stored: "\2g1\2g4" */
    size_t tags_size;
    char meta[40];
    char correlation[8]; /* what it says; empty: nothing */
    uint64_t version;
    int64_t time_us;
    int64_t occurred_us;
};

struct fixture {
    struct dbk_sim *sim;
    struct dbk_os *os;
    struct dbk_log *log;
    struct dbk_index *index;
    struct sample samples[EVENTS + 1]; /* by position */
    uint64_t count;
};

static uint32_t random_number(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void open_index(struct fixture *fixture, bool writer)
{
    struct dbk_error err = {0};
    assert_ok(dbk_index_open(&(struct dbk_index_options){.os = fixture->os,
                                                         .folder = "data/index",
                                                         .log = fixture->log,
                                                         .writer = writer,
                                                         .chunk_events = CHUNK},
                             &fixture->index, &err),
              &err);
}

static void set_up(struct fixture *fixture)
{
    struct dbk_error err = {0};
    *fixture = (struct fixture){.sim = dbk_sim_create(7)};
    fixture->os = dbk_sim_os(fixture->sim);
    assert_ok(fixture->os->make_folder(fixture->os, "data", &err), &err);
    assert_ok(dbk_log_open(&(struct dbk_log_options){.os = fixture->os,
                                                     .folder = "data/log",
                                                     .writer = true,
                                                     .segment_size = 20000},
                           &fixture->log, &err),
              &err);
    open_index(fixture, true);
}

static void tear_down(struct fixture *fixture)
{
    dbk_index_free(fixture->index);
    dbk_log_free(fixture->log);
    dbk_sim_free(fixture->sim);
}

static void make_sample(struct fixture *fixture, uint64_t position)
{
    uint32_t seed = (uint32_t)position * 2654435761u;
    struct sample *sample = &fixture->samples[position];
    uint32_t stream = random_number(&seed) % STREAMS;
    (void)snprintf(sample->stream, sizeof(sample->stream), "c%u-%u", stream % 5, stream);
    (void)snprintf(sample->type, sizeof(sample->type), "T%u", random_number(&seed) % 4);
    memcpy(sample->id.bytes, &position, sizeof(position));
    sample->tags_size = 0;
    for (unsigned tag = 0; tag < 5; tag++) {
        if (random_number(&seed) % 3 != 0)
            continue;
        memcpy(sample->tags + sample->tags_size, (char[]){2, 'g', (char)('0' + tag)}, 3);
        sample->tags_size += 3;
    }
    unsigned correlation = random_number(&seed) % 6;
    (void)snprintf(sample->correlation, sizeof(sample->correlation), "%s%u",
                   correlation < 4 ? "k" : "", correlation);
    (void)snprintf(sample->meta, sizeof(sample->meta), "{\"correlationid\":\"%s%u\"}",
                   correlation % 2 == 0 ? "k" : "\\u006b", correlation);
    if (correlation >= 4) {
        sample->correlation[0] = 0;
        (void)snprintf(sample->meta, sizeof(sample->meta), "%s",
                       correlation == 4 ? "" : "{\"a\":{\"correlationid\":\"k1\"}}");
    }
    sample->version = 1;
    for (uint64_t before = position; --before > 0;) {
        if (strcmp(fixture->samples[before].stream, sample->stream) == 0) {
            sample->version = fixture->samples[before].version + 1;
            break;
        }
    }
    sample->time_us = (int64_t)(position / 3) * 100;
    sample->occurred_us = (int64_t)(random_number(&seed) % 100) + (int64_t)position;
}

static struct dbk_event event_of(const struct sample *sample, uint64_t position)
{
    return (struct dbk_event){.position = position,
                              .version = sample->version,
                              .time_us = sample->time_us,
                              .occurred_us = sample->occurred_us,
                              .id = sample->id,
                              .flags = DBK_RECORD_JSON | DBK_RECORD_BATCH_END,
                              .stream = dbk_slice_of(sample->stream),
                              .type = dbk_slice_of(sample->type),
                              .tags = dbk_slice(sample->tags, sample->tags_size),
                              .data = DBK_SLICE_LITERAL("{}"),
                              .meta = dbk_slice_of(sample->meta)};
}

static void append(struct fixture *fixture, uint64_t count)
{
    struct dbk_error err = {0};
    struct dbk_log_group *group = dbk_log_group_begin(fixture->log);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t position = ++fixture->count;
        struct dbk_log_place place;
        make_sample(fixture, position);
        struct dbk_event event = event_of(&fixture->samples[position], position);
        assert_int_equal(dbk_log_group_add(group, &event, &place), DBK_OK);
        assert_int_equal(dbk_index_add(fixture->index, &event, place), DBK_OK);
    }
    assert_ok(dbk_log_write_group(fixture->log, group, true, &err), &err);
    dbk_index_synced(fixture->index, fixture->count);
}

static struct dbk_slice name_of(const struct sample *sample, enum dbk_index_kind kind)
{
    struct dbk_slice stream = dbk_slice_of(sample->stream);
    switch (kind) {
    case DBK_INDEX_STREAM:
        return stream;
    case DBK_INDEX_CATEGORY:
        return dbk_stream_category(stream);
    case DBK_INDEX_TYPE:
        return dbk_slice_of(sample->type);
    case DBK_INDEX_ID:
        return dbk_slice(sample->id.bytes, DBK_UUID_SIZE);
    case DBK_INDEX_TAG:
        return dbk_slice(sample->tags + 1, 2);
    case DBK_INDEX_CORRELATION:
        return dbk_slice_of(sample->correlation);
    }
    return stream;
}

static bool has_name(const struct sample *sample, enum dbk_index_kind kind, struct dbk_slice name)
{
    if (kind != DBK_INDEX_TAG)
        return dbk_slice_equal(name_of(sample, kind), name);
    for (size_t at = 0; at < sample->tags_size; at += 3) {
        if (memcmp(sample->tags + at + 1, name.data, 2) == 0)
            return true;
    }
    return false;
}

/* What find must answer, by looking at every event. */
static size_t model_find(const struct fixture *fixture, enum dbk_index_kind kind,
                         struct dbk_slice name, const struct dbk_index_range *range,
                         struct dbk_posting *postings, size_t max)
{
    size_t count = 0;
    for (uint64_t i = 1; i <= fixture->count && count < max; i++) {
        uint64_t position = range->backwards ? fixture->count + 1 - i : i;
        const struct sample *sample = &fixture->samples[position];
        uint64_t rank = kind == DBK_INDEX_STREAM ? sample->version : position;
        if (has_name(sample, kind, name) && rank >= range->rank_min && rank <= range->rank_max &&
            position <= range->position_max)
            postings[count++] = (struct dbk_posting){rank, position};
    }
    return count;
}

static void check_find(struct fixture *fixture, uint32_t *seed)
{
    struct dbk_posting want[EVENTS];
    struct dbk_posting got[EVENTS];
    struct dbk_error err = {0};
    size_t count = 0;
    enum dbk_index_kind kind = (enum dbk_index_kind)(1 + random_number(seed) % 6);
    uint64_t at = 1 + random_number(seed) % fixture->count;
    struct dbk_slice name = name_of(&fixture->samples[at], kind);
    if (kind == DBK_INDEX_TAG && fixture->samples[at].tags_size == 0)
        name = DBK_SLICE_LITERAL("g9");
    if (kind == DBK_INDEX_CORRELATION && name.size == 0)
        name = DBK_SLICE_LITERAL("k4");
    struct dbk_index_range range = {.rank_min = random_number(seed) % 60,
                                    .rank_max = UINT64_MAX,
                                    .position_max = UINT64_MAX,
                                    .backwards = random_number(seed) % 2 == 0};
    if (random_number(seed) % 2 == 0)
        range.rank_max = range.rank_min + random_number(seed) % fixture->count;
    if (random_number(seed) % 2 == 0)
        range.position_max = random_number(seed) % (fixture->count + 2);
    size_t max = 1 + random_number(seed) % EVENTS;
    size_t expected = model_find(fixture, kind, name, &range, want, max);
    assert_ok(dbk_index_find(fixture->index, kind, name, &range, got, max, &count, &err), &err);
    assert_int_equal(count, expected);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(got[i].rank, want[i].rank);
        assert_int_equal(got[i].position, want[i].position);
    }
}

static void check_times(struct fixture *fixture, int64_t time_us)
{
    uint64_t low = 0;
    uint64_t high = 0;
    uint64_t want = 0;
    while (want < fixture->count && fixture->samples[want + 1].time_us <= time_us)
        want++;
    dbk_index_time_range(fixture->index, time_us, &low, &high);
    assert_true(low <= want && want <= high);
    assert_true(high - low < DBK_RUN_ZONE_EVENTS);
    assert_true(low == 0 || fixture->samples[low].time_us <= time_us);
}

/* A skip may stop early but never pass an event that fits. */
static void check_skip(struct fixture *fixture, uint64_t from, int64_t min_us, bool backwards)
{
    int64_t max_us = min_us + 5;
    uint64_t got = dbk_index_occurred_skip(fixture->index, from, min_us, max_us, backwards);
    for (uint64_t at = from; at >= 1 && at <= fixture->count; at += backwards ? UINT64_MAX : 1) {
        if (at == got)
            return;
        const struct sample *sample = &fixture->samples[at];
        assert_false(sample->occurred_us >= min_us && sample->occurred_us <= max_us);
    }
    assert_int_equal(got, 0);
}

static void check_all(struct fixture *fixture)
{
    struct dbk_error err = {0};
    struct dbk_log_reader reader;
    uint32_t seed = 99;
    uint64_t streams = 0;
    dbk_log_reader_init(&reader);
    assert_int_equal(dbk_index_last(fixture->index), fixture->count);
    for (uint64_t position = 1; position <= fixture->count; position++) {
        struct dbk_log_place place;
        struct dbk_event event;
        assert_ok(dbk_index_place(fixture->index, position, &place, &err), &err);
        assert_ok(dbk_log_read(fixture->log, place, 0, &reader, &event, &err), &err);
        assert_int_equal(event.position, position);
        streams += fixture->samples[position].version == 1;
        check_skip(fixture, position, random_number(&seed) % EVENTS, position % 2 == 0);
    }
    assert_int_equal(dbk_index_stream_count(fixture->index), streams);
    for (int i = 0; i < 400; i++)
        check_find(fixture, &seed);
    for (int64_t time_us = -1; time_us < (int64_t)fixture->count * 34; time_us += 77)
        check_times(fixture, time_us);
    dbk_log_reader_release(&reader);
}

static void settle(struct fixture *fixture)
{
    struct dbk_error err = {0};
    assert_ok(dbk_index_settle(fixture->index, &err), &err);
}

static void test_index__answers_as_a_scan_would_in_memory_and_in_runs(void **state)
{
    (void)state;
    struct fixture fixture;
    struct dbk_index_stats stats;
    set_up(&fixture);
    append(&fixture, 50);
    check_all(&fixture);
    for (int i = 0; i < 17; i++)
        append(&fixture, 50);
    settle(&fixture);
    dbk_index_stats(fixture.index, &stats);
    assert_true(stats.runs > 0 && stats.tail_events < CHUNK);
    assert_int_equal(stats.made, EVENTS / CHUNK + 1); /* one merge of eight */
    check_all(&fixture);
    tear_down(&fixture);
}

static void test_index__forgets_what_is_cut(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    /* Streams that begin in what is cut, too. */
    append(&fixture, 3);
    for (uint64_t position = 4; position <= 30; position++) {
        make_sample(&fixture, position);
        struct dbk_event event = event_of(&fixture.samples[position], position);
        assert_int_equal(dbk_index_add(fixture.index, &event, (struct dbk_log_place){0, 0}),
                         DBK_OK);
    }
    dbk_index_cut(fixture.index, 4);
    check_all(&fixture);
    append(&fixture, 97);
    settle(&fixture);
    for (uint64_t kept = 100; kept <= 230; kept += 13) {
        uint64_t before = fixture.count;
        for (uint64_t position = before + 1; position <= 260; position++) {
            make_sample(&fixture, position);
            struct dbk_event event = event_of(&fixture.samples[position], position);
            assert_int_equal(dbk_index_add(fixture.index, &event, (struct dbk_log_place){0, 0}),
                             DBK_OK);
        }
        dbk_index_cut(fixture.index, fixture.count + 1);
        check_all(&fixture);
        append(&fixture, 13);
        check_all(&fixture);
        settle(&fixture);
    }
    tear_down(&fixture);
}

/* Two of these are more tags than a chunk has room for, however few its events. */
static void test_index__begins_a_chunk_where_tags_fill_one(void **state)
{
    (void)state;
    struct fixture fixture;
    struct dbk_error err = {0};
    static char tags[20000 * 3];
    struct dbk_posting posting;
    size_t count = 0;
    set_up(&fixture);
    for (size_t i = 0; i < sizeof(tags); i += 3)
        memcpy(tags + i, (char[]){2, (char)(' ' + i / 3 % 150), (char)(' ' + i / 450)}, 3);
    for (uint64_t position = 1; position <= 6; position++) {
        struct dbk_log_group *group = dbk_log_group_begin(fixture.log);
        struct dbk_log_place place;
        make_sample(&fixture, position);
        struct dbk_event event = event_of(&fixture.samples[position], position);
        event.tags = dbk_slice(tags, sizeof(tags));
        assert_int_equal(dbk_log_group_add(group, &event, &place), DBK_OK);
        assert_int_equal(dbk_index_add(fixture.index, &event, place), DBK_OK);
        dbk_index_cut(fixture.index, position);
        assert_int_equal(dbk_index_add(fixture.index, &event, place), DBK_OK);
        assert_ok(dbk_log_write_group(fixture.log, group, true, &err), &err);
        dbk_index_synced(fixture.index, position);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (uint64_t position = 1; position <= 6; position++) {
            struct dbk_index_range range = {position, position, UINT64_MAX, pass == 0};
            assert_ok(dbk_index_find(fixture.index, DBK_INDEX_TAG,
                                     dbk_slice(tags + 1 + 3 * (position * 3000), 2), &range,
                                     &posting, 1, &count, &err),
                      &err);
            assert_int_equal(count, 1);
            assert_int_equal(posting.position, position);
        }
        settle(&fixture);
    }
    tear_down(&fixture);
}

static void fill(struct fixture *fixture, uint64_t count)
{
    set_up(fixture);
    append(fixture, count);
    settle(fixture);
    dbk_index_free(fixture->index);
    fixture->index = NULL;
}

static void test_index__is_the_same_after_opening_again(void **state)
{
    (void)state;
    struct fixture fixture;
    fill(&fixture, 300);
    open_index(&fixture, true);
    check_all(&fixture);
    append(&fixture, 200);
    dbk_index_free(fixture.index);
    open_index(&fixture, false);
    check_all(&fixture);
    tear_down(&fixture);
}

static void test_index__makes_damaged_runs_again(void **state)
{
    (void)state;
    struct fixture fixture;
    char path[80] = "data/index/";
    fill(&fixture, 2 * CHUNK + 5);
    (void)snprintf(path + 11, sizeof(path) - 11, "%020u-%020u.run", CHUNK + 1, 2 * CHUNK);
    size_t size = dbk_sim_file(fixture.sim, path).size;
    assert_true(size > 0);
    for (size_t at = 0; at < size; at += 3) {
        struct dbk_index_stats stats;
        dbk_sim_flip(fixture.sim, path, at, (uint8_t)(1u << (at % 8)));
        open_index(&fixture, true);
        dbk_index_stats(fixture.index, &stats);
        assert_int_equal(stats.removed, 1);
        settle(&fixture);
        if (at % 60 == 0)
            check_all(&fixture);
        dbk_index_free(fixture.index);
        assert_int_equal(dbk_sim_file(fixture.sim, path).size, size);
    }
    fixture.index = NULL;
    tear_down(&fixture);
}

static void test_index__makes_short_and_lost_runs_again(void **state)
{
    (void)state;
    struct fixture fixture;
    struct dbk_error err = {0};
    fill(&fixture, 3 * CHUNK + 5);
    for (unsigned lost = 0; lost < 3; lost++) {
        char path[80];
        (void)snprintf(path, sizeof(path), "data/index/%020u-%020u.run", lost * CHUNK + 1,
                       (lost + 1) * CHUNK);
        struct dbk_slice whole = dbk_sim_file(fixture.sim, path);
        char copy[65536];
        assert_true(whole.size > 0 && whole.size < sizeof(copy));
        memcpy(copy, whole.data, whole.size);
        size_t size = whole.size;
        for (size_t kept = 0; kept < size; kept += 97) {
            dbk_sim_set_file(fixture.sim, path, dbk_slice(copy, kept));
            open_index(&fixture, true);
            settle(&fixture);
            dbk_index_free(fixture.index);
            assert_int_equal(dbk_sim_file(fixture.sim, path).size, size);
        }
        assert_ok(fixture.os->remove(fixture.os, path, &err), &err);
        open_index(&fixture, true);
        settle(&fixture);
        check_all(&fixture);
        dbk_index_free(fixture.index);
    }
    fixture.index = NULL;
    tear_down(&fixture);
}

static void test_index__refuses_a_newer_run_by_name(void **state)
{
    (void)state;
    struct fixture fixture;
    struct dbk_error err = {0};
    char path[80];
    char copy[65536];
    fill(&fixture, CHUNK);
    (void)snprintf(path, sizeof(path), "data/index/%020u-%020u.run", 1, CHUNK);
    struct dbk_slice whole = dbk_sim_file(fixture.sim, path);
    memcpy(copy, whole.data, whole.size);
    uint32_t newer = DBK_INDEX_FORMAT + 1;
    memcpy(copy + 8, &newer, 4);
    uint32_t checksum = dbk_crc32c(newer, dbk_slice(copy + 16, DBK_RUN_HEADER_SIZE - 16));
    memcpy(copy + 12, &checksum, 4);
    dbk_sim_set_file(fixture.sim, path, dbk_slice(copy, whole.size));
    int rc = dbk_index_open(&(struct dbk_index_options){.os = fixture.os,
                                                        .folder = "data/index",
                                                        .log = fixture.log,
                                                        .writer = true,
                                                        .chunk_events = CHUNK},
                            &fixture.index, &err);
    assert_int_equal(rc, DBK_EFORMAT);
    assert_non_null(strstr(err.message, "00000000000000000064.run"));
    fixture.index = NULL;
    tear_down(&fixture);
}

static void test_index__goes_on_after_a_full_disk(void **state)
{
    (void)state;
    struct fixture fixture;
    struct dbk_error err = {0};
    set_up(&fixture);
    append(&fixture, CHUNK / 2);
    for (unsigned call = 1; call < 12; call++) {
        uint64_t position = fixture.count;
        dbk_sim_fail_at(fixture.sim, 0, 0, 0, false);
        append(&fixture, CHUNK / 2);
        settle(&fixture);
        append(&fixture, CHUNK / 2 - 1);
        (void)position;
        dbk_sim_fail_at(fixture.sim, call, DBK_SIM_PWRITE | DBK_SIM_OPEN | DBK_SIM_RENAME,
                        DBK_EFULL, true);
        dbk_ignore(dbk_index_settle(fixture.index, &err));
        dbk_sim_fail_at(fixture.sim, 0, 0, 0, false);
        append(&fixture, 1);
        settle(&fixture);
        if (fixture.count > EVENTS - CHUNK * 2)
            break;
    }
    check_all(&fixture);
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index__answers_as_a_scan_would_in_memory_and_in_runs),
        cmocka_unit_test(test_index__forgets_what_is_cut),
        cmocka_unit_test(test_index__begins_a_chunk_where_tags_fill_one),
        cmocka_unit_test(test_index__is_the_same_after_opening_again),
        cmocka_unit_test(test_index__makes_damaged_runs_again),
        cmocka_unit_test(test_index__makes_short_and_lost_runs_again),
        cmocka_unit_test(test_index__refuses_a_newer_run_by_name),
        cmocka_unit_test(test_index__goes_on_after_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
