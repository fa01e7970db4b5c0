/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules_test -- what streams keep: random changes against a model, with compaction and reopening in
 * between; expectations on deleted and closed streams; readers, crashes and full disks while
 * compacting.
 */
#include "test.h"

#include <pthread.h>

#include "os/sim.h"
#include "store/store.h"

#define STREAMS 6
#define STEPS 900
#define EVENTS_MAX 4000

struct model_event {
    unsigned stream;
    uint64_t version;
    int64_t time_us;
    bool gone; /* by a compaction: must be removed */
};

struct model_stream {
    uint64_t version;
    uint64_t max_count;
    int64_t max_age_us;
    uint64_t truncate_before;
    bool closed;
};

static struct dbk_sim *sim;
static struct dbk_store *store;
static struct model_stream streams[STREAMS];
static struct model_event events[EVENTS_MAX + 1]; /* by position; stream STREAMS: rules */
static uint64_t last;

static uint32_t random_number(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void open_store(void)
{
    struct dbk_error err = {0};
    assert_ok(dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(sim),
                                                         .folder = "data",
                                                         .writer = true,
                                                         .segment_size = 3000,
                                                         .chunk_events = 256},
                             &store, &err),
              &err);
}

static int set_up(void **state)
{
    (void)state;
    sim = dbk_sim_create(21);
    memset(streams, 0, sizeof(streams));
    memset(events, 0, sizeof(events));
    last = 0;
    open_store();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_store_free(store);
    dbk_sim_free(sim);
    return 0;
}

static struct dbk_slice name_of(unsigned stream)
{
    static const char names[STREAMS][4] = {"a-1", "a-2", "b-1", "b-2", "c-1", "d"};
    return dbk_slice_of(names[stream]);
}

static size_t data_of(uint64_t position, char text[64])
{
    return (size_t)snprintf(text, 64, "{\"was\":%ju}", (uintmax_t)position * 7919);
}

static int append_at(unsigned stream, int64_t expected, struct dbk_append_result *result,
                     struct dbk_error *err)
{
    char text[64];
    struct dbk_slice tag = DBK_SLICE_LITERAL("t");
    struct dbk_new_event event = {.stream = name_of(stream),
                                  .type = DBK_SLICE_LITERAL("Happened"),
                                  .data = {text, data_of(last + 1, text)},
                                  .tags = &tag,
                                  .tag_count = 1,
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    event.id.bytes[0] = 1;
    uint64_t number = last + 1;
    memcpy(event.id.bytes + 8, &number, sizeof(number));
    struct dbk_expectation expectation = {event.stream, expected};
    return dbk_store_append(
        store,
        &(struct dbk_batch){
            .events = &event, .count = 1, .expectations = &expectation, .expectation_count = 1},
        result, err);
}

/* Notes an event that was stored. */
static void note(unsigned stream, const struct dbk_append_result *result)
{
    assert_int_equal(result->last_position, last + 1);
    last++;
    events[last] = (struct model_event){.stream = stream,
                                        .version = result->last_version,
                                        .time_us = dbk_store_last_time_us(store)};
}

static uint64_t first_of(const struct model_stream *stream, unsigned number, int64_t now_us)
{
    uint64_t first = stream->truncate_before > 1 ? stream->truncate_before : 1;
    if (stream->closed)
        return stream->version + 1;
    if (stream->max_count > 0 && stream->version > stream->max_count &&
        stream->version - stream->max_count + 1 > first)
        first = stream->version - stream->max_count + 1;
    for (uint64_t at = 1; stream->max_age_us > 0 && at <= last; at++) {
        if (events[at].stream == number && events[at].time_us < now_us - stream->max_age_us &&
            events[at].version >= first)
            first = events[at].version + 1;
    }
    return first;
}

static void check_stream(unsigned number)
{
    struct dbk_error err = {0};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_stream_info info;
    struct model_stream *stream = &streams[number];
    assert_ok(dbk_store_stream_info(store, name_of(number), &info, &err), &err);
    assert_int_equal(info.version, stream->version);
    assert_ok(
        dbk_cursor_open(store, &(struct dbk_filter){.stream = name_of(number)}, &cursor, &err),
        &err);
    /* Ages are in seconds, and each look at the clock takes a microsecond. */
    uint64_t first = first_of(stream, number, dbk_sim_os(sim)->now_us(dbk_sim_os(sim)));
    for (uint64_t position = 1; position <= last; position++) {
        if (events[position].stream != number || events[position].version < first)
            continue;
        char text[64];
        assert_int_equal(dbk_cursor_next(cursor, &event, &err), 1);
        assert_int_equal(event.position, position);
        assert_int_equal(event.version, events[position].version);
        text[data_of(position, text)] = '\0';
        assert_slice_equal(event.data, text);
    }
    assert_int_equal(dbk_cursor_next(cursor, &event, &err), 0);
    dbk_cursor_free(cursor);
}

/* The whole book, with what was removed: every position is there, with its content or its leaf. */
static void check_book(void)
{
    struct dbk_error err = {0};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t position = 0;
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){.hidden = true, .removed = true}, &cursor,
                              &err),
              &err);
    while (dbk_cursor_next(cursor, &event, &err) > 0) {
        const struct model_event *model = &events[++position];
        bool removed = (event.flags & DBK_RECORD_REMOVED) != 0;
        assert_int_equal(event.position, position);
        if (model->stream == STREAMS)
            continue;
        assert_true(dbk_slice_equal(event.stream, name_of(model->stream)));
        assert_int_equal(event.version, model->version);
        /* The last segment is never compacted. */
        assert_true(!removed || model->gone);
    }
    assert_int_equal(err.code, 0);
    assert_int_equal(position, last);
    dbk_cursor_free(cursor);
}

static void change(unsigned number, uint32_t *seed)
{
    struct model_stream *stream = &streams[number];
    struct dbk_append_result result;
    struct dbk_error err = {0};
    int64_t now_us = dbk_sim_os(sim)->now_us(dbk_sim_os(sim));
    uint64_t first = first_of(stream, number, now_us);
    bool close = number == STREAMS - 1 && random_number(seed) % 8 == 0;
    if (close || random_number(seed) % 3 == 0) {
        int rc =
            dbk_store_delete_stream(store, name_of(number), DBK_EXPECT_ANY, close, &result, &err);
        if (stream->version == 0 || (first > stream->version && stream->truncate_before >= first &&
                                     !close && !stream->closed)) {
            assert_int_equal(rc, DBK_ENOTFOUND);
            return;
        }
        if (stream->closed) {
            assert_int_equal(rc, DBK_EDENIED);
            return;
        }
        assert_ok(rc, &err);
        stream->truncate_before = stream->version + 1;
        stream->closed = close;
    } else {
        struct dbk_stream_rules rules = {.max_count = random_number(seed) % 12};
        if (random_number(seed) % 2 == 0)
            rules.max_age_us = (1 + (int64_t)random_number(seed) % 20) * 1000000;
        if (random_number(seed) % 2 == 0)
            rules.truncate_before = random_number(seed) % (stream->version + 2);
        int rc = dbk_store_set_rules(store, name_of(number), &rules, &result, &err);
        if (stream->version == 0 || stream->closed) {
            assert_int_equal(rc, stream->closed ? DBK_EDENIED : DBK_ENOTFOUND);
            return;
        }
        assert_ok(rc, &err);
        uint64_t before = rules.truncate_before > first ? rules.truncate_before : first;
        stream->max_count = rules.max_count;
        stream->max_age_us = rules.max_age_us;
        stream->truncate_before = before;
    }
    note(STREAMS, &result);
}

static void compact(void)
{
    struct dbk_error err = {0};
    struct dbk_store_compacted result;
    int64_t now_us = dbk_sim_os(sim)->now_us(dbk_sim_os(sim));
    assert_ok(dbk_store_compact(store, &(struct dbk_store_compaction){0}, &result, &err), &err);
    for (uint64_t position = 1; position <= last; position++) {
        struct model_event *event = &events[position];
        event->gone = event->gone || event->stream == STREAMS ||
                      event->version < first_of(&streams[event->stream], event->stream, now_us);
    }
}

static void test_store_rules__do_what_a_model_does(void **state)
{
    uint32_t seed = 3;
    (void)state;
    for (int step = 0; step < STEPS; step++) {
        unsigned number = random_number(&seed) % STREAMS;
        struct dbk_append_result result;
        struct dbk_error err = {0};
        unsigned what = random_number(&seed) % 40;
        dbk_sim_pass_us(sim, 300000);
        if (what < 4) {
            change(number, &seed);
        } else if (what == 4) {
            compact();
            check_book();
        } else if (what == 5) {
            dbk_store_free(store);
            open_store();
        } else {
            int rc = append_at(number, DBK_EXPECT_ANY, &result, &err);
            if (streams[number].closed) {
                assert_int_equal(rc, DBK_EDENIED);
            } else {
                assert_ok(rc, &err);
                streams[number].version++;
                assert_int_equal(result.last_version, streams[number].version);
                note(number, &result);
            }
        }
        for (unsigned i = 0; i < STREAMS && step % 5 == 0; i++)
            check_stream(i);
    }
    compact();
    check_book();
}

static void test_store_rules__meet_expectations_as_they_say(void **state)
{
    struct dbk_append_result result;
    struct dbk_error err = {0};
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_ok(append_at(0, i, &result, &err), &err);
        note(0, &result);
    }
    assert_int_equal(dbk_store_delete_stream(store, name_of(0), 2, false, &result, &err),
                     DBK_ECONFLICT);
    assert_ok(dbk_store_delete_stream(store, name_of(0), 3, false, &result, &err), &err);
    note(STREAMS, &result);
    assert_int_equal(append_at(0, DBK_EXPECT_EXISTS, &result, &err), DBK_ECONFLICT);
    assert_int_equal(result.actual_version, 0);
    assert_ok(append_at(0, DBK_EXPECT_NONE, &result, &err), &err);
    assert_int_equal(result.last_version, 4); /* versions go on */
    note(0, &result);
    assert_int_equal(append_at(0, DBK_EXPECT_NONE, &result, &err), DBK_ECONFLICT);
    assert_ok(dbk_store_delete_stream(store, name_of(0), 4, true, &result, &err), &err);
    note(STREAMS, &result);
    assert_int_equal(append_at(0, DBK_EXPECT_ANY, &result, &err), DBK_EDENIED);
    dbk_store_free(store);
    open_store();
    assert_int_equal(append_at(0, DBK_EXPECT_ANY, &result, &err), DBK_EDENIED);
    assert_int_equal(dbk_store_last_position(store), last);
    assert_int_equal(dbk_store_delete_stream(store, DBK_SLICE_LITERAL("x-1"), DBK_EXPECT_ANY, false,
                                             &result, &err),
                     DBK_ENOTFOUND);
    assert_ok(append_at(1, 0, &result, &err), &err);
    assert_int_equal(dbk_store_set_rules(store, name_of(1),
                                         &(struct dbk_stream_rules){.truncate_before = 3}, &result,
                                         &err),
                     DBK_EINVAL);
    assert_int_equal(dbk_store_set_rules(store, name_of(1),
                                         &(struct dbk_stream_rules){.max_age_us = -1}, &result,
                                         &err),
                     DBK_EINVAL);
}

/* Content that was removed is still known by its leaf: sent again it is known, other content is
   refused. */
static void test_store_rules__know_removed_events_when_they_come_again(void **state)
{
    struct dbk_append_result result;
    struct dbk_store_compacted compacted;
    struct dbk_error err = {0};
    (void)state;
    for (int i = 0; i < 60; i++) {
        assert_ok(append_at(0, DBK_EXPECT_ANY, &result, &err), &err);
        note(0, &result);
    }
    assert_ok(dbk_store_delete_stream(store, name_of(0), DBK_EXPECT_ANY, false, &result, &err),
              &err);
    assert_ok(dbk_store_compact(store, &(struct dbk_store_compaction){0}, &compacted, &err), &err);
    assert_true(compacted.removed > 20 && compacted.segments > 1);
    uint64_t end = last;
    last = 4; /* so that the event is the fifth once more */
    assert_ok(append_at(0, DBK_EXPECT_ANY, &result, &err), &err);
    assert_true(result.known);
    assert_int_equal(result.last_position, 5);
    assert_int_equal(append_at(1, DBK_EXPECT_ANY, &result, &err), DBK_ECONFLICT);
    last = end;
    /* Removed events match no tag: neither in reads nor in conditions. */
    struct dbk_slice tag = DBK_SLICE_LITERAL("t");
    struct dbk_query_item item = {.tags = &tag, .tag_count = 1};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t count = 0;
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){.query = {&item, 1}, .removed = true},
                              &cursor, &err),
              &err);
    while (dbk_cursor_next(cursor, &event, &err) > 0)
        count++;
    dbk_cursor_free(cursor);
    assert_int_equal(count, 60 - compacted.removed);
}

static void *append_meanwhile(void *context)
{
    struct dbk_append_result result;
    struct dbk_error err = {0};
    for (int i = 0; i < 200; i++) {
        if (append_at(1, DBK_EXPECT_ANY, &result, &err) < 0)
            return context;
        note(1, &result);
    }
    return NULL;
}

static void test_store_rules__compact_while_others_append_and_read(void **state)
{
    struct dbk_append_result result;
    struct dbk_error err = {0};
    pthread_t thread;
    void *failed = NULL;
    (void)state;
    for (int i = 0; i < 300; i++) {
        assert_ok(append_at((unsigned)i % 2, DBK_EXPECT_ANY, &result, &err), &err);
        note((unsigned)i % 2, &result);
    }
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){.position_max = 300, .removed = true},
                              &cursor, &err),
              &err);
    assert_ok(dbk_store_set_rules(store, name_of(0), &(struct dbk_stream_rules){.max_count = 1},
                                  &result, &err),
              &err);
    note(STREAMS, &result);
    assert_int_equal(pthread_create(&thread, NULL, append_meanwhile, store), 0);
    for (uint64_t position = 1; position <= 300; position++) {
        struct dbk_store_compacted compacted;
        if (position % 60 == 0)
            assert_ok(dbk_store_compact(store, &(struct dbk_store_compaction){0}, &compacted, &err),
                      &err);
        assert_int_equal(dbk_cursor_next(cursor, &event, &err), 1);
        assert_int_equal(event.position, position);
    }
    dbk_cursor_free(cursor);
    (void)pthread_join(thread, &failed);
    assert_null(failed);
}

static int stop_soon(void *context, uint64_t done, uint64_t total, uint64_t read)
{
    assert_true(read > 0 || done > 0);
    assert_true(done <= total);
    return --*(int *)context == 0 ? DBK_ESTOPPED : DBK_OK;
}

static void test_store_rules__go_on_compacting_after_a_full_disk_or_a_stop(void **state)
{
    struct dbk_append_result result;
    struct dbk_store_compacted compacted;
    struct dbk_error err = {0};
    (void)state;
    for (int i = 0; i < 200; i++) {
        assert_ok(append_at(0, DBK_EXPECT_ANY, &result, &err), &err);
        note(0, &result);
    }
    assert_ok(dbk_store_set_rules(store, name_of(0), &(struct dbk_stream_rules){.max_count = 5},
                                  &result, &err),
              &err);
    int left = 2;
    assert_int_equal(dbk_store_compact(store, &(struct dbk_store_compaction){0, stop_soon, &left},
                                       &compacted, &err),
                     DBK_ESTOPPED);
    uint64_t removed = compacted.removed;
    dbk_sim_fail_at(sim, 8, DBK_SIM_PWRITE, DBK_EFULL, true);
    assert_int_equal(dbk_store_compact(store, &(struct dbk_store_compaction){0}, &compacted, &err),
                     DBK_EFULL);
    removed += compacted.removed;
    dbk_sim_fail_at(sim, 0, 0, 0, false);
    assert_ok(dbk_store_compact(store, &(struct dbk_store_compaction){0}, &compacted, &err), &err);
    removed += compacted.removed;
    assert_true(removed > 150 && compacted.removed < removed);
    assert_ok(dbk_store_compact(store, &(struct dbk_store_compaction){0}, &compacted, &err), &err);
    assert_int_equal(compacted.segments, 0); /* nothing is left to do */
    assert_ok(dbk_store_set_rules(store, name_of(0), &(struct dbk_stream_rules){0}, &result, &err),
              &err);
    streams[0] = (struct model_stream){.version = 200, .truncate_before = 196};
    check_stream(0); /* what was hidden stays so */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_store_rules__##name, set_up, tear_down)
        TEST(do_what_a_model_does),
        TEST(meet_expectations_as_they_say),
        TEST(know_removed_events_when_they_come_again),
        TEST(compact_while_others_append_and_read),
        TEST(go_on_compacting_after_a_full_disk_or_a_stop),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
