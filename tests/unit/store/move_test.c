/* SPDX-License-Identifier: Apache-2.0 */
/*
 * move_test -- a book that has moved takes nothing, also when that was told it at the last moment;
 * one that is filled takes only what a migration copies, with the times that it gives.
 */
#include "test.h"

#include "os/sim.h"
#include "store/store.h"

static struct dbk_sim *sim;
static struct dbk_store *store;

static void open_store(void)
{
    struct dbk_error err = {0};
    assert_ok(
        dbk_store_open(
            &(struct dbk_store_options){.os = dbk_sim_os(sim), .folder = "data", .writer = true},
            &store, &err),
        &err);
}

static void reopen(void)
{
    dbk_store_free(store);
    store = NULL;
    open_store();
}

static int set_up(void **state)
{
    (void)state;
    sim = dbk_sim_create(5);
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

static int append(const char *stream, uint8_t id, int64_t time_us, unsigned flags,
                  struct dbk_append_result *result, struct dbk_error *err)
{
    struct dbk_new_event event = {.stream = dbk_slice_of(stream),
                                  .type = DBK_SLICE_LITERAL("Happened"),
                                  .data = DBK_SLICE_LITERAL("{}"),
                                  .time_us = time_us,
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    event.id.bytes[0] = id;
    if (stream[0] == '$')
        event.type = DBK_SLICE_LITERAL("MigrationCopied");
    return dbk_store_append(
        store, &(struct dbk_batch){.events = &event, .count = 1, .flags = flags}, result, err);
}

static enum dbk_standing_state standing(void)
{
    struct dbk_standing found;
    struct dbk_error err = {0};
    assert_ok(dbk_store_standing(store, &found, &err), &err);
    return found.state;
}

static void test_store_move__a_moved_book_takes_nothing_but_to_be_reopened(void **state)
{
    struct dbk_append_result result;
    struct dbk_error err = {0};
    struct dbk_uuid book = {{7}};
    (void)state;
    assert_ok(append("a-1", 1, 0, 0, &result, &err), &err);
    assert_int_equal(dbk_store_reopen(store, &result, &err), DBK_ENOTFOUND);
    assert_ok(dbk_store_move(store, DBK_SLICE_LITERAL("../\"new\""), &book, &result, &err), &err);
    assert_int_equal(result.last_position, 2);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(standing(), DBK_STANDING_MOVED);
        assert_int_equal(append("a-1", 2, 0, 0, &result, &err), DBK_EDENIED);
        assert_non_null(strstr(err.message, "has moved to ../\"new\" at 2"));
        assert_int_equal(append("$own", 2, 0, DBK_APPEND_OWN, &result, &err), DBK_EDENIED);
        assert_int_equal(append("a-1", 2, 0, DBK_APPEND_MIGRATED, &result, &err), DBK_EDENIED);
        assert_int_equal(dbk_store_move(store, DBK_SLICE_LITERAL("x"), &book, &result, &err),
                         DBK_EEXISTS);
        /* What was stored before is answered as ever. */
        assert_ok(append("a-1", 1, 0, 0, &result, &err), &err);
        assert_true(result.known);
        reopen();
    }
    assert_ok(dbk_store_reopen(store, &result, &err), &err);
    assert_int_equal(standing(), DBK_STANDING_OPEN);
    assert_ok(append("a-1", 3, 0, 0, &result, &err), &err);
    assert_int_equal(result.last_position, 4);
    assert_int_equal(append("a-1", 4, 0, DBK_APPEND_MIGRATED, &result, &err), DBK_EDENIED);
}

static void test_store_move__a_move_that_was_not_stored_is_forgotten(void **state)
{
    struct dbk_append_result result;
    struct dbk_error err = {0};
    struct dbk_uuid book = {{7}};
    (void)state;
    assert_ok(append("a-1", 1, 0, 0, &result, &err), &err);
    /* The disk is full for a moment. */
    dbk_sim_fail_at(sim, 1, DBK_SIM_PWRITE, DBK_EFULL, false);
    assert_int_equal(dbk_store_move(store, DBK_SLICE_LITERAL("new"), &book, &result, &err),
                     DBK_EFULL);
    assert_int_equal(standing(), DBK_STANDING_OPEN);
    assert_ok(append("a-1", 2, 0, 0, &result, &err), &err);
    assert_int_equal(result.last_position, 2);
    assert_ok(dbk_store_move(store, DBK_SLICE_LITERAL("new"), &book, &result, &err), &err);
    assert_int_equal(append("a-1", 3, 0, 0, &result, &err), DBK_EDENIED);
}

static void test_store_move__a_filled_book_keeps_the_times_it_is_given(void **state)
{
    struct dbk_append_result result;
    struct dbk_error err = {0};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    (void)state;
    assert_ok(append("a-1", 1, 1000, DBK_APPEND_MIGRATED, &result, &err), &err);
    /* Nothing says that it is being filled: the next one is refused, as by any book with events. */
    assert_int_equal(append("a-1", 2, 1000, DBK_APPEND_MIGRATED, &result, &err), DBK_EDENIED);
    dbk_store_free(store);
    dbk_sim_free(sim);
    sim = dbk_sim_create(6);
    open_store();
    assert_ok(append("$migration", 1, 1000, DBK_APPEND_MIGRATED, &result, &err), &err);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(append("a-1", 2, 0, 0, &result, &err), DBK_EDENIED);
        assert_int_equal(append("$own", 2, 0, DBK_APPEND_OWN, &result, &err), DBK_EDENIED);
        assert_int_equal(append("a-1", 2, 999, DBK_APPEND_MIGRATED, &result, &err), DBK_EINVAL);
        assert_non_null(strstr(err.message, "recorded before the event in front of it"));
        reopen();
    }
    assert_ok(append("a-1", 2, 1000, DBK_APPEND_MIGRATED, &result, &err), &err);
    assert_ok(append("a-1", 3, 4000, DBK_APPEND_MIGRATED, &result, &err), &err);
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){0}, &cursor, &err), &err);
    assert_int_equal(dbk_cursor_next(cursor, &event, &err), 1);
    assert_int_equal(event.time_us, 1000);
    assert_int_equal(dbk_cursor_next(cursor, &event, &err), 1);
    assert_int_equal(event.time_us, 4000);
    dbk_cursor_free(cursor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_store_move__a_moved_book_takes_nothing_but_to_be_reopened, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_move__a_move_that_was_not_stored_is_forgotten,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_move__a_filled_book_keeps_the_times_it_is_given,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
