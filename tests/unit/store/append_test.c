/* SPDX-License-Identifier: Apache-2.0 */
/*
 * append_test -- conditions, ids, refusals that rest on unsynced batches, group commit, failures.
 */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "os/sim.h"
#include "store/store.h"

#define THREADS 16

struct fixture {
    struct dbk_sim *sim;
    struct dbk_store *store;
};

static int open_store(struct fixture *fixture, struct dbk_error *err)
{
    return dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(fixture->sim),
                                                      .folder = "data",
                                                      .writer = true,
                                                      .holder = "a test",
                                                      .event_size_max = 100,
                                                      .batch_count_max = 50},
                          &fixture->store, err);
}

static int set_up(void **state)
{
    static struct fixture fixture;
    struct dbk_error err = {0};
    fixture = (struct fixture){.sim = dbk_sim_create(3)};
    assert_ok(open_store(&fixture, &err), &err);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    dbk_store_free(fixture->store);
    dbk_sim_free(fixture->sim);
    return 0;
}

static struct dbk_new_event event_in(const char *stream, const char *data)
{
    return (struct dbk_new_event){.stream = dbk_slice_of(stream),
                                  .type = DBK_SLICE_LITERAL("Happened"),
                                  .data = dbk_slice_of(data),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
}

static struct dbk_uuid id_of(uint64_t number)
{
    struct dbk_uuid id = {{0}};
    memcpy(id.bytes + 4, &number, sizeof(number));
    id.bytes[0] = 1;
    return id;
}

static int append(struct fixture *fixture, const char *stream, int64_t expected,
                  struct dbk_append_result *result, struct dbk_error *err)
{
    struct dbk_new_event event = event_in(stream, "{}");
    struct dbk_expectation expectation = {dbk_slice_of(stream), expected};
    return dbk_store_append(
        fixture->store,
        &(struct dbk_batch){
            .events = &event, .count = 1, .expectations = &expectation, .expectation_count = 1},
        result, err);
}

static void test_store_append__checks_every_kind_of_expected_version(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_append_result result;
    struct dbk_error err = {0};
    for (uint64_t version = 0; version < 4; version++) {
        uint64_t before = dbk_store_last_position(fixture->store);
        for (int64_t expected = DBK_EXPECT_EXISTS; expected < 6; expected++) {
            bool holds = expected == DBK_EXPECT_ANY || expected == (int64_t)version ||
                         (expected == DBK_EXPECT_EXISTS && version > 0);
            if (holds)
                continue;
            assert_int_equal(append(fixture, "s-1", expected, &result, &err), DBK_ECONFLICT);
            assert_int_equal(result.actual_version, version);
            assert_int_equal(result.failed_expectation, 0);
        }
        assert_int_equal(dbk_store_last_position(fixture->store), before);
        int64_t right = version % 3 == 0   ? (int64_t)version
                        : version % 3 == 1 ? DBK_EXPECT_EXISTS
                                           : DBK_EXPECT_ANY;
        assert_ok(append(fixture, "s-1", right, &result, &err), &err);
        assert_int_equal(result.last_version, version + 1);
        assert_int_equal(result.first_position, before + 1);
        assert_true(result.synced);
    }
}

static void test_store_append__stores_a_batch_whole_or_not_at_all(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_append_result result;
    struct dbk_error err = {0};
    struct dbk_new_event events[] = {event_in("a-1", "1"), event_in("b-1", "2"),
                                     event_in("a-1", "3")};
    struct dbk_expectation expectations[] = {{DBK_SLICE_LITERAL("a-1"), 0},
                                             {DBK_SLICE_LITERAL("b-1"), 7}};
    struct dbk_batch batch = {
        .events = events, .count = 3, .expectations = expectations, .expectation_count = 2};
    uint64_t version = 9;
    assert_int_equal(dbk_store_append(fixture->store, &batch, &result, &err), DBK_ECONFLICT);
    assert_int_equal(result.failed_expectation, 1);
    assert_ok(dbk_store_stream_version(fixture->store, events[0].stream, &version, &err), &err);
    assert_int_equal(version, 0);
    expectations[1].version = 0;
    assert_ok(dbk_store_append(fixture->store, &batch, &result, &err), &err);
    assert_int_equal(result.first_position, 1);
    assert_int_equal(result.last_position, 3);
    assert_int_equal(result.last_version, 2);
    assert_ok(dbk_store_stream_version(fixture->store, events[1].stream, &version, &err), &err);
    assert_int_equal(version, 1);
}

static void test_store_append__answers_repeated_ids_as_the_first_time(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_append_result first;
    struct dbk_append_result again;
    struct dbk_error err = {0};
    struct dbk_new_event events[] = {event_in("a-1", "1"), event_in("a-2", "2")};
    struct dbk_expectation none = {DBK_SLICE_LITERAL("a-1"), 0};
    struct dbk_batch batch = {
        .events = events, .count = 2, .expectations = &none, .expectation_count = 1};
    events[0].id = id_of(1);
    events[1].id = id_of(2);
    assert_ok(dbk_store_append(fixture->store, &batch, &first, &err), &err);
    assert_ok(dbk_store_append(fixture->store, &batch, &again, &err), &err);
    assert_true(again.known && again.synced);
    assert_int_equal(again.appended, 0);
    assert_int_equal(again.first_position, first.first_position);
    assert_int_equal(again.last_position, first.last_position);
    assert_int_equal(again.last_version, first.last_version);
    assert_int_equal(dbk_store_last_position(fixture->store), 2);
}

static void test_store_append__refuses_a_known_id_with_anything_else_in_it(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_append_result result;
    struct dbk_error err = {0};
    struct dbk_slice tag = DBK_SLICE_LITERAL("red");
    struct dbk_new_event stored = event_in("a-1", "{\"a\":1}");
    stored.id = id_of(1);
    struct dbk_batch batch = {.events = &stored, .count = 1};
    assert_ok(dbk_store_append(fixture->store, &batch, &result, &err), &err);
    struct dbk_new_event others[6];
    for (size_t i = 0; i < 6; i++)
        others[i] = stored;
    others[0].stream = DBK_SLICE_LITERAL("a-2");
    others[1].type = DBK_SLICE_LITERAL("Other");
    others[2].data = DBK_SLICE_LITERAL("{\"a\":2}");
    others[3].meta = DBK_SLICE_LITERAL("{}");
    others[4].tags = &tag;
    others[4].tag_count = 1;
    others[5].occurred_us = 5;
    for (size_t i = 0; i < 6; i++) {
        batch.events = &others[i];
        for (unsigned flags = 0; flags <= DBK_APPEND_SKIP_KNOWN; flags++) {
            batch.flags = flags;
            assert_int_equal(dbk_store_append(fixture->store, &batch, &result, &err),
                             DBK_ECONFLICT);
        }
    }
    assert_int_equal(dbk_store_last_position(fixture->store), 1);
}

static void test_store_append__mixes_known_and_new_only_when_asked(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_append_result result;
    struct dbk_error err = {0};
    struct dbk_new_event events[4];
    for (uint64_t i = 0; i < 4; i++) {
        events[i] = event_in("a-1", "{}");
        events[i].id = id_of(i + 1);
    }
    struct dbk_batch batch = {.events = events + 1, .count = 1};
    assert_ok(dbk_store_append(fixture->store, &batch, &result, &err), &err);
    batch.events = events + 3;
    assert_ok(dbk_store_append(fixture->store, &batch, &result, &err), &err);
    batch = (struct dbk_batch){.events = events, .count = 4};
    assert_int_equal(dbk_store_append(fixture->store, &batch, &result, &err), DBK_ECONFLICT);
    batch.flags = DBK_APPEND_SKIP_KNOWN;
    assert_ok(dbk_store_append(fixture->store, &batch, &result, &err), &err);
    assert_int_equal(result.appended, 2);
    assert_int_equal(result.skipped, 2);
    assert_int_equal(dbk_store_last_position(fixture->store), 4);
    events[1].id = events[0].id;
    events[0].id = id_of(77);
    events[1].id = id_of(77);
    assert_int_equal(dbk_store_append(fixture->store, &batch, &result, &err), DBK_ECONFLICT);
}

static void test_store_append__names_what_is_wrong_with_an_event(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_append_result result;
    struct dbk_error err = {0};
    char large[102];
    memset(large, 'x', 101);
    large[101] = 0;
    struct dbk_new_event good = event_in("a-1", "{}");
    struct {
        struct dbk_new_event event;
        int rc;
        const char *word;
    } cases[] = {
        {event_in("", "{}"), DBK_EINVAL, "stream is empty"},
        {event_in("a\n", "{}"), DBK_EINVAL, "control character at byte 1"},
        {event_in("a\xff", "{}"), DBK_EINVAL, "not UTF-8"},
        {event_in("$a", "{}"), DBK_EINVAL, "book's own"},
        {event_in("a-1", large), DBK_ELIMIT, "101 bytes"},
        {good, DBK_EINVAL, "meta is no JSON object"},
        {good, DBK_EINVAL, "type is empty"},
    };
    cases[5].event.meta = DBK_SLICE_LITERAL("[]");
    cases[6].event.type = (struct dbk_slice){0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_new_event events[] = {good, cases[i].event};
        struct dbk_batch batch = {.events = events, .count = 2};
        assert_int_equal(dbk_store_append(fixture->store, &batch, &result, &err), cases[i].rc);
        assert_non_null(strstr(err.message, cases[i].word));
        assert_non_null(strstr(err.message, "event 1"));
    }
    assert_int_equal(dbk_store_last_position(fixture->store), 0);
}

static void test_store_append__is_held_by_one_process_that_it_names(void **state)
{
    struct fixture *fixture = *state;
    struct fixture second = {.sim = fixture->sim};
    struct dbk_error err = {0};
    assert_int_equal(open_store(&second, &err), DBK_EBUSY);
    assert_non_null(strstr(err.message, "a test (process "));
}

struct racer {
    struct fixture *fixture;
    _Atomic uint64_t *won;
    uint64_t own;
    unsigned number;
};

static void *race(void *context)
{
    struct racer *racer = context;
    struct dbk_append_result result;
    struct dbk_error err = {0};
    char own[16];
    (void)snprintf(own, sizeof(own), "own-%u", racer->number);
    for (int64_t version = 0; version < 30; version++) {
        int rc = append(racer->fixture, "shared-1", version, &result, &err);
        if (rc == DBK_OK)
            atomic_fetch_add(racer->won, 1);
        else if (rc != DBK_ECONFLICT || result.actual_version <= (uint64_t)version)
            return racer;
        rc = append(racer->fixture, own, version, &result, &err);
        if (rc != DBK_OK || result.last_version != (uint64_t)version + 1)
            return racer;
        racer->own++;
    }
    return NULL;
}

static void test_store_append__lets_one_of_many_win_each_version(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_error err = {0};
    pthread_t threads[THREADS];
    struct racer racers[THREADS];
    _Atomic uint64_t won = 0;
    uint64_t version = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){.fixture = fixture, .won = &won, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *failed = NULL;
        (void)pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(won, 30);
    assert_ok(
        dbk_store_stream_version(fixture->store, DBK_SLICE_LITERAL("shared-1"), &version, &err),
        &err);
    assert_int_equal(version, 30);
    assert_int_equal(dbk_store_last_position(fixture->store), 30 + THREADS * 30);
}

static int (*fast_sync)(struct dbk_os *os, const struct dbk_file *file, struct dbk_error *err);

static int slow_sync(struct dbk_os *os, const struct dbk_file *file, struct dbk_error *err)
{
    struct timespec time = {.tv_nsec = 2000000};
    (void)nanosleep(&time, NULL);
    return fast_sync(os, file, err);
}

static void *append_own(void *context)
{
    struct racer *racer = context;
    struct dbk_append_result result;
    struct dbk_error err = {0};
    char own[16];
    (void)snprintf(own, sizeof(own), "own-%u", racer->number);
    for (int64_t version = 0; version < 10; version++) {
        if (append(racer->fixture, own, version, &result, &err) != DBK_OK)
            return racer;
    }
    return NULL;
}

/* While a group syncs the next one fills; somebody must write it, also when nobody comes after. */
static void test_store_append__leaves_nobody_waiting_in_the_next_group(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_os *os = dbk_sim_os(fixture->sim);
    pthread_t threads[THREADS];
    struct racer racers[THREADS];
    fast_sync = os->sync;
    os->sync = slow_sync;
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){.fixture = fixture, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, append_own, &racers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *failed = NULL;
        (void)pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    os->sync = fast_sync;
    assert_int_equal(dbk_store_last_position(fixture->store), THREADS * 10);
}

static void test_store_append__goes_on_after_a_full_disk(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_append_result result;
    struct dbk_error err = {0};
    assert_ok(append(fixture, "a-1", 0, &result, &err), &err);
    dbk_sim_fail_at(fixture->sim, 1, DBK_SIM_PWRITE, DBK_EFULL, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(append(fixture, "a-1", 1, &result, &err), DBK_EFULL);
    assert_int_equal(dbk_store_last_position(fixture->store), 1);
    dbk_sim_fail_at(fixture->sim, 0, 0, 0, false);
    assert_ok(append(fixture, "a-1", 1, &result, &err), &err);
    assert_int_equal(result.last_position, 2);
}

static void test_store_append__stops_after_a_failed_sync(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_append_result result;
    struct dbk_error err = {0};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    assert_ok(append(fixture, "a-1", 0, &result, &err), &err);
    dbk_sim_fail_at(fixture->sim, 1, DBK_SIM_SYNC, DBK_EIO, false);
    assert_int_equal(append(fixture, "a-1", 1, &result, &err), DBK_EUNKNOWN);
    assert_int_equal(append(fixture, "a-1", 1, &result, &err), DBK_ESTOPPED);
    assert_ok(dbk_cursor_open(fixture->store, &(struct dbk_filter){0}, &cursor, &err), &err);
    assert_int_equal(dbk_cursor_next(cursor, &event, &err), 1);
    assert_int_equal(dbk_cursor_next(cursor, &event, &err), 0);
    dbk_cursor_free(cursor);
}

struct books {
    int64_t applied;   /* events since the last commit */
    int64_t committed; /* events for good */
    unsigned commits;
    int64_t limit; /* more than so many are refused */
};

static int apply(void *context, const struct dbk_event *events, size_t count, struct dbk_error *err)
{
    struct books *books = context;
    (void)events;
    if (books->committed + books->applied + (int64_t)count > books->limit)
        return dbk_error_set(err, DBK_EREFUSED, "over %jd", (intmax_t)books->limit);
    books->applied += (int64_t)count;
    return DBK_OK;
}

static void commit(void *context, bool stored, uint64_t last_position)
{
    struct books *books = context;
    (void)last_position;
    books->committed += stored ? books->applied : 0;
    books->applied = 0;
    books->commits++;
}

static void *append_freely(void *context)
{
    struct racer *racer = context;
    for (int i = 0; i < 20; i++) {
        struct dbk_append_result result;
        struct dbk_error err = {0};
        int rc = append(racer->fixture, "p-1", DBK_EXPECT_ANY, &result, &err);
        if (rc == DBK_OK)
            atomic_fetch_add(racer->won, 1);
        else if (rc != DBK_EREFUSED)
            return racer;
    }
    return NULL;
}

static void test_store_append__commits_with_its_participant(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_append_result result;
    struct dbk_error err = {0};
    struct books books = {.limit = 250};
    struct dbk_participant participant = {&books, apply, commit};
    pthread_t threads[THREADS];
    struct racer racers[THREADS];
    _Atomic uint64_t won = 0;
    dbk_store_set_participant(fixture->store, &participant);
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){.fixture = fixture, .won = &won, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, append_freely, &racers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *failed = NULL;
        (void)pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(won, 250);
    assert_int_equal(books.committed, 250);
    assert_int_equal(books.applied, 0);
    assert_int_equal(dbk_store_last_position(fixture->store), 250);
    /* A group whose only batch is refused ends, too: the participant's transaction is over. */
    unsigned commits = books.commits;
    assert_int_equal(append(fixture, "p-1", DBK_EXPECT_ANY, &result, &err), DBK_EREFUSED);
    assert_int_equal(books.commits, commits + 1);
    assert_int_equal(books.committed, 250);
    dbk_store_set_participant(fixture->store, NULL);
    assert_ok(append(fixture, "p-1", 250, &result, &err), &err);
    assert_int_equal(books.committed, 250);
}

/* ---- Memory ---- */

/* What this thread allocates: the one behind the index may, appends may not. */
static _Thread_local unsigned allocations;

static void *count_allocate(size_t size)
{
    allocations++;
    return malloc(size);
}

static void *count_reallocate(void *memory, size_t size)
{
    allocations++;
    return realloc(memory, size);
}

/* Every kind of append, over three chunks of the index, each kind often enough to have been had. */
static void test_store_append__allocates_nothing(void **state)
{
    enum { CHUNK = 256, KINDS = 6 };
    struct fixture *fixture = *state;
    struct dbk_error err = {0};
    const struct dbk_slice tags[] = {DBK_SLICE_LITERAL("seat:1"), DBK_SLICE_LITERAL("flight:7")};
    const struct dbk_query_item none = {.tags = tags, .tag_count = 1};
    dbk_store_free(fixture->store);
    assert_ok(dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(fixture->sim),
                                                         .folder = "other",
                                                         .writer = true,
                                                         .holder = "a test",
                                                         .chunk_events = CHUNK},
                             &fixture->store, &err),
              &err);
    for (unsigned i = 0; i < 3 * CHUNK; i++) {
        struct dbk_append_result result = {0};
        struct dbk_new_event events[3];
        unsigned kind = i % KINDS;
        for (unsigned e = 0; e < 3; e++) {
            events[e] = event_in("s-1", "{}");
            events[e].tags = tags;
            events[e].tag_count = kind == 1 ? 2 : 0;
            if (kind >= 4)
                events[e].id = id_of(1 + i * 3 + e);
        }
        struct dbk_batch batch = {.events = events, .count = kind < 3 ? 1 : 3};
        const struct dbk_expectation expected = {events[0].stream, DBK_EXPECT_EXISTS};
        batch.expectations = &expected;
        batch.expectation_count = i > 0;
        if (kind == 2)
            batch.condition =
                (struct dbk_condition){{&none, 1}, dbk_store_last_position(fixture->store)};
        batch.flags = kind == 5 ? DBK_APPEND_SKIP_KNOWN : 0;
        unsigned before = allocations;
        assert_ok(dbk_store_append(fixture->store, &batch, &result, &err), &err);
        /* Buffers find their size first. The disk in memory has a heap of its own. */
        if (i >= 2 * KINDS)
            assert_int_equal(allocations - before, 0);
        assert_ok(dbk_store_settle(fixture->store, &err), &err);
    }
    assert_true(dbk_store_last_position(fixture->store) > 5 * CHUNK);
}

int main(void)
{
    static const struct dbk_allocator counting = {count_allocate, count_reallocate, free};
    dbk_set_allocator(&counting);
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_store_append__##name, set_up, tear_down)
        TEST(checks_every_kind_of_expected_version),
        TEST(stores_a_batch_whole_or_not_at_all),
        TEST(answers_repeated_ids_as_the_first_time),
        TEST(refuses_a_known_id_with_anything_else_in_it),
        TEST(mixes_known_and_new_only_when_asked),
        TEST(names_what_is_wrong_with_an_event),
        TEST(is_held_by_one_process_that_it_names),
        TEST(lets_one_of_many_win_each_version),
        TEST(goes_on_after_a_full_disk),
        TEST(leaves_nobody_waiting_in_the_next_group),
        TEST(stops_after_a_failed_sync),
        TEST(commits_with_its_participant),
        TEST(allocates_nothing),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
