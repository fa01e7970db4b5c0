/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk_test -- a state that goes forwards is at each position what a fold of the whole stream up
 * to there gives, wherever it began, also when it is sent back. The oracle is a folds object
 * without a folder, which replays from the first event.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "fold/fold.h"
#include "os/sim.h"

#define COUNT 90
#define SECOND INT64_C(1000000)

/* What JSON does not bring back as it was differs between a walk that began with a snapshot and one
   that did not, if they are not careful. */
static const char counter[] =
    "return { initial = { sum = 0 }, snapshot = { every = 7 }, on = {\n"
    "  Added = function(state, data)\n"
    "    state.sum = state.sum + data.n\n"
    "    if data.n % 10 == 5 then state.made = { data.n } end\n"
    "    if data.n % 10 == 2 and state.made then table.remove(state.made) end\n"
    "    state.before = tostring(state.half)\n"
    "    state.half = data.n / 2\n"
    "  end,\n"
    "  Bad = function(state, data) return data.x.y end,\n"
    "} }";

static struct dbk_sim *sim;
static struct dbk_store *store;
static struct dbk_folds *folds; /* with snapshots */
static struct dbk_folds *plain; /* without */

static struct dbk_folds *open_folds(const char *folder, bool keep)
{
    struct dbk_folds *opened = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_folds_open(store, dbk_sim_os(sim), folder, keep, &opened, &err), &err);
    assert_ok(
        dbk_folds_add(opened, DBK_SLICE_LITERAL("c"), "folds/c.lua", dbk_slice_of(counter), &err),
        &err);
    return opened;
}

static uint64_t append(const char *stream, const char *type, int n, int64_t occurred_us)
{
    struct dbk_append_result result;
    struct dbk_error err = {0};
    char data[32];
    (void)snprintf(data, sizeof(data), "{\"n\":%d}", n);
    struct dbk_new_event event = {.stream = dbk_slice_of(stream),
                                  .type = dbk_slice_of(type),
                                  .data = dbk_slice_of(data),
                                  .occurred_us = occurred_us,
                                  .flags = DBK_RECORD_JSON};
    dbk_sim_pass_us(sim, SECOND);
    assert_ok(
        dbk_store_append(store, &(struct dbk_batch){.events = &event, .count = 1}, &result, &err),
        &err);
    return result.first_position;
}

static int set_up(void **state)
{
    struct dbk_error err = {0};
    (void)state;
    sim = dbk_sim_create(7);
    assert_ok(dbk_store_open(
                  &(struct dbk_store_options){.os = dbk_sim_os(sim), .folder = "d", .writer = true},
                  &store, &err),
              &err);
    folds = open_folds("d/snapshots", true);
    plain = open_folds(NULL, false);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_folds_free(folds);
    dbk_folds_free(plain);
    dbk_store_free(store);
    dbk_sim_free(sim);
    return 0;
}

/* Events of c-1, and every third of another stream; the one that event n of c-1 is at. */
static uint64_t places[COUNT + 2];
static void fill(void)
{
    for (int n = 1; n <= COUNT; n++) {
        places[n] = append("c-1", "Added", n, n % 4 == 0 ? 500 * SECOND + n : n);
        if (n % 3 == 0)
            (void)append("c-2", "Added", n, DBK_TIME_NONE);
    }
    places[COUNT + 1] = UINT64_MAX;
}

static uint64_t version_at(uint64_t position)
{
    uint64_t version = 0;
    while (places[version + 1] <= position)
        version++;
    return version;
}

static void compare(struct dbk_fold_walk *walk, uint64_t position)
{
    struct dbk_error err = {0};
    struct dbk_fold_moment moment;
    struct dbk_fold_result result;
    struct dbk_buf state;
    struct dbk_buf wanted;
    uint64_t version = version_at(position);
    dbk_buf_init(&state, 1 << 20);
    dbk_buf_init(&wanted, 1 << 20);
    assert_ok(dbk_fold_walk_to(walk, position, 0, &state, &moment, &err), &err);
    if (version > 0)
        assert_ok(dbk_fold_state(plain, DBK_SLICE_LITERAL("c-1"),
                                 &(struct dbk_fold_at){.version = version}, &wanted, &result, &err),
                  &err);
    assert_int_equal(moment.version, version);
    assert_int_equal(moment.position, version == 0 ? 0 : places[version]);
    assert_int_equal(moment.next, places[version + 1]);
    assert_int_equal(state.size, wanted.size);
    assert_memory_equal(state.size == 0 ? "" : state.data, wanted.size == 0 ? "" : wanted.data,
                        wanted.size);
    dbk_buf_release(&state);
    dbk_buf_release(&wanted);
}

static struct dbk_fold_walk *open_walk(int64_t occurred_us)
{
    struct dbk_error err = {0};
    struct dbk_fold_walk *walk = NULL;
    assert_ok(dbk_fold_walk_open(folds, DBK_SLICE_LITERAL("c-1"), occurred_us, &walk, &err), &err);
    return walk;
}

static void test_fold_walk__each_position_has_the_state_of_then(void **state)
{
    (void)state;
    fill();
    struct dbk_fold_walk *walk = open_walk(0);
    for (uint64_t position = 0; position <= places[COUNT]; position++)
        compare(walk, position);
    dbk_fold_walk_free(walk);
    /* Again, beginning behind the snapshots that were left on the way. */
    for (uint64_t from = 1; from <= places[COUNT]; from += 5) {
        walk = open_walk(0);
        for (uint64_t position = from; position <= from + 20; position += 3)
            compare(walk, position);
        dbk_fold_walk_free(walk);
    }
}

static void test_fold_walk__may_be_sent_back(void **state)
{
    (void)state;
    fill();
    struct dbk_fold_walk *walk = open_walk(0);
    uint64_t position = 1;
    for (int i = 0; i < 200; i++) {
        position = position * 75 % (places[COUNT] + 1);
        position = position * 29 % (places[COUNT] + 1) + 1;
        compare(walk, position);
    }
    dbk_fold_walk_free(walk);
}

static void test_fold_walk__goes_on_with_what_is_appended(void **state)
{
    (void)state;
    struct dbk_fold_walk *walk = open_walk(0);
    places[1] = UINT64_MAX;
    compare(walk, 5);
    for (int n = 1; n <= 30; n++) {
        places[n] = append("c-1", "Added", n, DBK_TIME_NONE);
        places[n + 1] = UINT64_MAX;
        compare(walk, places[n]);
        compare(walk, places[n] + 100);
    }
    dbk_fold_walk_free(walk);
}

static void test_fold_walk__leaves_out_what_occurred_later(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_fold_moment moment;
    struct dbk_fold_result result;
    struct dbk_buf walked;
    struct dbk_buf wanted;
    fill();
    dbk_buf_init(&walked, 1 << 20);
    dbk_buf_init(&wanted, 1 << 20);
    struct dbk_fold_walk *walk = open_walk(200);
    for (uint64_t position = 1; position <= places[COUNT]; position += 11) {
        dbk_buf_reset(&walked);
        assert_ok(dbk_fold_walk_to(walk, position, 0, &walked, &moment, &err), &err);
    }
    dbk_buf_reset(&walked);
    assert_ok(dbk_fold_walk_to(walk, places[COUNT], 0, &walked, &moment, &err), &err);
    assert_ok(dbk_fold_state(plain, DBK_SLICE_LITERAL("c-1"),
                             &(struct dbk_fold_at){.occurred_us = 200}, &wanted, &result, &err),
              &err);
    assert_int_equal(moment.version, result.version);
    assert_int_equal(walked.size, wanted.size);
    assert_memory_equal(walked.data, wanted.data, wanted.size);
    dbk_fold_walk_free(walk);
    dbk_buf_release(&walked);
    dbk_buf_release(&wanted);
}

/* What c-1's rules left at a moment: of versions from `first` on, those recorded since `since`. */
struct left {
    uint64_t first;
    uint64_t max_count;
    int64_t max_age_us;
};
struct moment {
    uint64_t position;
    int64_t time_us;
    long long sum; /* of what was left then */
};

static void keep_rules(struct left *left, const struct dbk_stream_rules *rules)
{
    struct dbk_append_result result;
    struct dbk_error err = {0};
    assert_ok(dbk_store_set_rules(store, DBK_SLICE_LITERAL("c-1"), rules, &result, &err), &err);
    left->max_count = rules->max_count;
    left->max_age_us = rules->max_age_us;
    if (rules->truncate_before > left->first)
        left->first = rules->truncate_before;
}

static long long sum_of(const int64_t *times, uint64_t version, const struct left *left,
                        int64_t now_us)
{
    long long sum = 0;
    for (uint64_t n = left->first; n <= version; n++) {
        if ((left->max_count == 0 || n + left->max_count > version) &&
            (left->max_age_us == 0 || times[n] >= now_us - left->max_age_us))
            sum += (long long)n;
    }
    return sum;
}

static void compare_sum(struct dbk_fold_walk *walk, const struct moment *moment)
{
    struct dbk_error err = {0};
    struct dbk_fold_moment at;
    struct dbk_buf state;
    dbk_buf_init(&state, 1 << 20);
    assert_ok(dbk_fold_walk_to(walk, moment->position, moment->time_us, &state, &at, &err), &err);
    dbk_buf_append_char(&state, '\0');
    const char *sum = at.version == 0 ? NULL : strstr(state.data, "\"sum\":");
    assert_int_equal(sum == NULL ? 0 : strtoll(sum + 6, NULL, 10), moment->sum);
    dbk_buf_release(&state);
}

/* c-2's events stand between, so that age goes on without c-1. */
static void test_fold_walk__rules_leave_out_what_they_did_then(void **state)
{
    static struct moment moments[2 * COUNT + 1];
    static int64_t times[COUNT + 1];
    struct left left = {.first = 1};
    size_t count = 0;
    (void)state;
    struct dbk_fold_walk *walk = open_walk(0);
    for (int n = 1; n <= COUNT; n++) {
        if (n == 20)
            keep_rules(&left, &(struct dbk_stream_rules){.max_count = 9});
        if (n == 40) { /* what was left out stays so */
            left.first = 31;
            keep_rules(&left, &(struct dbk_stream_rules){.truncate_before = 35});
        }
        if (n == 55)
            keep_rules(&left, &(struct dbk_stream_rules){.max_age_us = 12 * SECOND});
        for (int other = 0; other < 2; other++) {
            uint64_t at = append(other ? "c-2" : "c-1", "Added", n, DBK_TIME_NONE);
            int64_t now_us = dbk_sim_os(sim)->now_us(dbk_sim_os(sim));
            if (other == 0)
                times[n] = now_us;
            moments[count] = (struct moment){at, now_us, sum_of(times, (uint64_t)n, &left, now_us)};
            compare_sum(walk, &moments[count++]);
        }
    }
    dbk_fold_walk_free(walk);
    walk = open_walk(0); /* a replay */
    for (size_t i = 0; i < count; i++)
        compare_sum(walk, &moments[i]);
    for (size_t i = 0; i < count; i++)
        compare_sum(walk, &moments[i * 77 % count]);
    dbk_fold_walk_free(walk);
}

static void test_fold_walk__a_failure_names_the_event(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_fold_moment moment;
    struct dbk_fold_walk *walk = NULL;
    struct dbk_buf text;
    dbk_buf_init(&text, 1 << 20);
    (void)append("c-1", "Added", 1, DBK_TIME_NONE);
    uint64_t bad = append("c-1", "Bad", 1, DBK_TIME_NONE);
    walk = open_walk(0);
    assert_ok(dbk_fold_walk_to(walk, bad - 1, 0, &text, &moment, &err), &err);
    assert_int_equal(dbk_fold_walk_to(walk, bad, 0, &text, &moment, &err), DBK_ESCRIPT);
    assert_non_null(strstr(err.message, "Bad of c-1, version 2"));
    dbk_fold_walk_free(walk);
    assert_int_equal(dbk_fold_walk_open(folds, DBK_SLICE_LITERAL("d-1"), 0, &walk, &err),
                     DBK_ENOTFOUND);
    dbk_buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_fold_walk__##name, set_up, tear_down)
        TEST(each_position_has_the_state_of_then), TEST(may_be_sent_back),
        TEST(goes_on_with_what_is_appended),       TEST(leaves_out_what_occurred_later),
        TEST(a_failure_names_the_event),           TEST(rules_leave_out_what_they_did_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
