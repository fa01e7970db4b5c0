/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold_test -- what is held back is seen by no read that could meet a part of it, by all others,
 * and by everybody once it is released: without a gap, whichever way a cursor goes.
 */
#include "test.h"

#include <pthread.h>

#include "os/sim.h"
#include "store/store.h"

static struct dbk_sim *sim;
static struct dbk_store *store;

static void append(const char *stream, const char *type)
{
    struct dbk_error err = {0};
    struct dbk_append_result result;
    const struct dbk_new_event event = {.stream = dbk_slice_of(stream),
                                        .type = dbk_slice_of(type),
                                        .data = DBK_SLICE_LITERAL("{}"),
                                        .flags = DBK_RECORD_JSON,
                                        .occurred_us = DBK_TIME_NONE};
    const struct dbk_batch batch = {.events = &event, .count = 1};
    assert_ok(dbk_store_append(store, &batch, &result, &err), &err);
}

/* order-1 A, users.t-1 A, then held: users.t-1 B, order-1 B, users.t-2 B. */
static int begin(void **state)
{
    struct dbk_error err = {0};
    uint64_t from = 0;
    (void)state;
    sim = dbk_sim_create(1);
    assert_ok(dbk_store_open(
                  &(struct dbk_store_options){
                      .os = dbk_sim_os(sim), .folder = "data", .writer = true, .chunk_events = 64},
                  &store, &err),
              &err);
    append("order-1", "A");
    append("users.t-1", "A");
    assert_ok(dbk_store_hold(store, DBK_SLICE_LITERAL("users."), 0, &from, &err), &err);
    assert_int_equal(from, 3);
    append("users.t-1", "B");
    append("order-1", "B");
    append("users.t-2", "B");
    return 0;
}

static int end(void **state)
{
    (void)state;
    dbk_store_free(store);
    dbk_sim_free(sim);
    return 0;
}

static void read_to(const struct dbk_filter *filter, uint64_t *positions, size_t *count)
{
    struct dbk_error err = {0};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    *count = 0;
    assert_ok(dbk_cursor_open(store, filter, &cursor, &err), &err);
    while (dbk_cursor_next(cursor, &event, &err) == 1)
        positions[(*count)++] = event.position;
    dbk_cursor_free(cursor);
}

static void assert_reads(const struct dbk_filter *filter, const uint64_t *expected, size_t count)
{
    uint64_t positions[16];
    size_t found = 0;
    read_to(filter, positions, &found);
    assert_int_equal(found, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(positions[i], expected[i]);
}

static void test_store_hold__a_part_is_not_read(void **state)
{
    (void)state;
    const struct dbk_slice users = DBK_SLICE_LITERAL("users.t");
    const struct dbk_slice order = DBK_SLICE_LITERAL("order");
    const struct dbk_slice both[] = {order, users};
    const struct dbk_slice type = DBK_SLICE_LITERAL("B");
    assert_int_equal(dbk_store_last_position(store), 2);
    assert_reads(&(struct dbk_filter){0}, (uint64_t[]){1, 2}, 2);
    assert_reads(&(struct dbk_filter){.backwards = true}, (uint64_t[]){2, 1}, 2);
    assert_reads(&(struct dbk_filter){.position_max = 4}, (uint64_t[]){1, 2}, 2);
    assert_reads(&(struct dbk_filter){.types = &type, .type_count = 1}, NULL, 0);
    assert_reads(&(struct dbk_filter){.categories = both, .category_count = 2}, (uint64_t[]){1, 2},
                 2);
    assert_reads(&(struct dbk_filter){.stream = DBK_SLICE_LITERAL("users.t-1")}, (uint64_t[]){2},
                 1);
    /* What is of no held stream cannot be a part. */
    assert_reads(&(struct dbk_filter){.categories = &order, .category_count = 1},
                 (uint64_t[]){1, 4}, 2);
    assert_reads(&(struct dbk_filter){.stream = DBK_SLICE_LITERAL("order-1")}, (uint64_t[]){1, 4},
                 2);
    assert_reads(&(struct dbk_filter){.held = true}, (uint64_t[]){1, 2, 3, 4, 5}, 5);
    dbk_store_release(store, DBK_SLICE_LITERAL("users."));
    assert_int_equal(dbk_store_last_position(store), 5);
    assert_reads(&(struct dbk_filter){0}, (uint64_t[]){1, 2, 3, 4, 5}, 5);
}

static void test_store_hold__a_tail_goes_on_without_a_gap(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){0}, &cursor, &err), &err);
    for (uint64_t position = 1; position <= 2; position++) {
        assert_int_equal(dbk_cursor_next(cursor, &event, &err), 1);
        assert_int_equal(event.position, position);
    }
    assert_int_equal(dbk_cursor_next(cursor, &event, &err), 0);
    assert_int_equal(dbk_cursor_position(cursor), 2);
    append("order-1", "C");
    assert_ok(dbk_cursor_extend(cursor, &err), &err);
    assert_int_equal(dbk_cursor_next(cursor, &event, &err), 0);
    dbk_store_release(store, DBK_SLICE_LITERAL("users."));
    assert_ok(dbk_cursor_extend(cursor, &err), &err);
    for (uint64_t position = 3; position <= 6; position++) {
        assert_int_equal(dbk_cursor_next(cursor, &event, &err), 1);
        assert_int_equal(event.position, position);
    }
    assert_int_equal(dbk_cursor_next(cursor, &event, &err), 0);
    dbk_cursor_free(cursor);
}

static void *release_later(void *context)
{
    (void)context;
    const struct timespec nap = {.tv_nsec = 20000000};
    (void)nanosleep(&nap, NULL);
    dbk_store_release(store, DBK_SLICE_LITERAL("users."));
    return NULL;
}

static void test_store_hold__who_waits_is_told(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    pthread_t thread;
    uint64_t wakes = dbk_store_wakes(store);
    /* It is at the end of what it may see; and one that reads other categories has all. */
    assert_int_equal(dbk_store_wait(store, wakes, 2, 1000, &err), 0);
    assert_int_equal(dbk_store_wait(store, wakes, 5, 1000, &err), 0);
    /* There is something for each of these. */
    assert_int_equal(dbk_store_wait(store, wakes, 1, 1000, &err), 1);
    assert_int_equal(dbk_store_wait(store, wakes, 4, 1000, &err), 1);
    assert_int_equal(pthread_create(&thread, NULL, release_later, NULL), 0);
    assert_int_equal(dbk_store_wait(store, wakes, 2, INT64_C(60) * 1000000, &err), 1);
    (void)pthread_join(thread, NULL);
}

static void test_store_hold__runs_are_held_side_by_side(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    uint64_t from = 0;
    assert_ok(dbk_store_hold(store, DBK_SLICE_LITERAL("users."), 0, &from, &err), &err);
    assert_int_equal(from, 3);
    assert_ok(dbk_store_hold(store, DBK_SLICE_LITERAL("stock."), 0, &from, &err), &err);
    assert_int_equal(from, 6);
    append("stock.t-1", "A");
    dbk_store_release(store, DBK_SLICE_LITERAL("users."));
    assert_int_equal(dbk_store_last_position(store), 5);
    dbk_store_release(store, DBK_SLICE_LITERAL("nothing."));
    dbk_store_release(store, DBK_SLICE_LITERAL("stock."));
    assert_int_equal(dbk_store_last_position(store), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_store_hold__a_part_is_not_read, begin, end),
        cmocka_unit_test_setup_teardown(test_store_hold__a_tail_goes_on_without_a_gap, begin, end),
        cmocka_unit_test_setup_teardown(test_store_hold__who_waits_is_told, begin, end),
        cmocka_unit_test_setup_teardown(test_store_hold__runs_are_held_side_by_side, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
