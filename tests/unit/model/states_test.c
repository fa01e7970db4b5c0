/* SPDX-License-Identifier: Apache-2.0 */
/*
 * states_test -- states of streams with events that are not stored yet: each is the fold of what is
 * up to its position, and the work grows with the events, whatever streams they are of. Work is
 * counted in comparisons of bytes: memcmp of the whole program is one of our own.
 */
#include "test.h"

#include "model/states.h"
#include "os/sim.h"

#define SECOND INT64_C(1000000)

static const char counter[] =
    "return { initial = { sum = 0 }, on = {\n"
    "  Added = function(state, data) state.sum = state.sum + data.n end,\n"
    "} }";

static uint64_t compared;

int memcmp(const void *a, const void *b, size_t size)
{
    const unsigned char *left = a;
    const unsigned char *right = b;
    compared++;
    for (size_t i = 0; i < size; i++) {
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    }
    return 0;
}

static struct dbk_sim *sim;
static struct dbk_store *store;
static struct dbk_folds *folds;
static struct dbk_states *states;
static struct dbk_unstored ahead;

static int set_up(void **state)
{
    struct dbk_error err = {0};
    (void)state;
    sim = dbk_sim_create(7);
    assert_ok(dbk_store_open(
                  &(struct dbk_store_options){.os = dbk_sim_os(sim), .folder = "d", .writer = true},
                  &store, &err),
              &err);
    assert_ok(dbk_folds_open(store, dbk_sim_os(sim), NULL, false, &folds, &err), &err);
    assert_ok(
        dbk_folds_add(folds, DBK_SLICE_LITERAL("c"), "folds/c.lua", dbk_slice_of(counter), &err),
        &err);
    assert_ok(dbk_states_open(store, folds, 0, &states, &err), &err);
    dbk_unstored_init(&ahead);
    dbk_states_set_ahead(states, &ahead);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_states_free(states);
    dbk_unstored_release(&ahead);
    dbk_folds_free(folds);
    dbk_store_free(store);
    dbk_sim_free(sim);
    return 0;
}

/* One batch: event n of stream n % streams adds n. */
static void fill(uint64_t count, uint64_t streams)
{
    for (uint64_t n = 1; n <= count; n++) {
        char stream[32];
        char data[32];
        (void)snprintf(stream, sizeof(stream), "c-%ju", (uintmax_t)(n % streams));
        (void)snprintf(data, sizeof(data), "{\"n\":%ju}", (uintmax_t)n);
        struct dbk_event event = {.position = n,
                                  .version = (n - 1) / streams + 1,
                                  .stream = dbk_slice_of(stream),
                                  .type = DBK_SLICE_LITERAL("Added"),
                                  .data = dbk_slice_of(data),
                                  .time_us = (int64_t)n * SECOND,
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
        assert_int_equal(dbk_unstored_add(&ahead, &event, 1), DBK_OK);
    }
}

/* The state of each event's stream at it, as a handler takes it. */
static void take_all(uint64_t count, uint64_t streams)
{
    for (uint64_t n = 1; n <= count; n++) {
        struct dbk_error err = {0};
        struct dbk_slice found = {0};
        char stream[32];
        char expected[48];
        uint64_t sum = 0;
        (void)snprintf(stream, sizeof(stream), "c-%ju", (uintmax_t)(n % streams));
        for (uint64_t other = (n - 1) % streams + 1; other <= n; other += streams)
            sum += other;
        (void)snprintf(expected, sizeof(expected), "{\"sum\":%ju}", (uintmax_t)sum);
        assert_int_equal(
            dbk_states_at(states, dbk_slice_of(stream), n, (int64_t)n * SECOND, &found, &err), 1);
        assert_int_equal(found.size, strlen(expected));
        assert_memory_equal(found.data, expected, found.size);
    }
}

static uint64_t work_of(uint64_t count, uint64_t streams)
{
    fill(count, streams);
    compared = 0;
    take_all(count, streams);
    uint64_t work = compared;
    dbk_states_cut(states, 1);
    dbk_unstored_reset(&ahead);
    return work;
}

static void test_model_states__work_grows_with_the_events(void **state)
{
    static const uint64_t streams[] = {1, 3, 100};
    (void)state;
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        uint64_t once = work_of(500, streams[i]);
        uint64_t more = work_of(4000, streams[i]);
        assert_true(once > 0);
        assert_true(more < 10 * once);
    }
}

static void test_model_states__what_is_cut_is_in_no_state(void **state)
{
    (void)state;
    /* Each place of a batch over three streams. */
    for (uint64_t kept = 0; kept < 30; kept++) {
        fill(30, 3);
        take_all(30, 3);
        dbk_unstored_cut(&ahead, kept + 1);
        dbk_states_cut(states, kept + 1);
        assert_int_equal(ahead.count, kept);
        for (uint64_t stream = 0; stream < 3; stream++) {
            char name[32];
            (void)snprintf(name, sizeof(name), "c-%ju", (uintmax_t)stream);
            const struct dbk_store_ahead *left = dbk_unstored_find(&ahead, dbk_slice_of(name));
            size_t count = left == NULL ? 0 : left->count;
            size_t expected = 0;
            for (uint64_t n = 1; n <= kept; n++)
                expected += n % 3 == stream;
            assert_int_equal(count, expected);
            assert_true(count == 0 || left->events[count - 1].position <= kept);
        }
        take_all(kept, 3);
        dbk_states_cut(states, 1);
        dbk_unstored_reset(&ahead);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_model_states__##name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(work_grows_with_the_events),
        TEST(what_is_cut_is_in_no_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
