/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lens_test -- every cursor looks through the store's lens, as far as its filter says.
 *
 * The lens here leaves out every third position, puts "opened" in the place of sealed data and
 * "newest" in the place of version 1; it counts its states, each of which must be ended.
 */
#include "test.h"

#include "os/sim.h"
#include "store/store.h"

#define EVENTS 12

struct lens_context {
    int states;
    int made;
    int fail_at; /* a position; 0: none */
};

static struct dbk_sim *sim;
static struct dbk_store *store;
static struct lens_context context;

static void make_state(struct lens_context *lens, void **state)
{
    if (*state != NULL)
        return;
    *state = &lens->states;
    lens->states++;
    lens->made++;
}

static int open_event(void *lens, void **state, struct dbk_event *event, struct dbk_error *err)
{
    struct lens_context *of = lens;
    make_state(of, state);
    if (of->fail_at != 0 && event->position == (uint64_t)of->fail_at)
        return dbk_error_set(err, DBK_ECORRUPT, "position %d", of->fail_at);
    if (event->sealed.size > 0)
        event->data = DBK_SLICE_LITERAL("opened");
    return event->position % 3 != 0;
}

static int upcast_event(void *lens, void **state, struct dbk_event *event, struct dbk_error *err)
{
    (void)err;
    make_state(lens, state);
    if (event->schema_version == 1) {
        event->data = DBK_SLICE_LITERAL("newest");
        event->schema_version = 2;
    }
    return 1;
}

static void end_state(void *lens, void *state)
{
    struct lens_context *of = lens;
    assert_ptr_equal(state, &of->states);
    of->states--;
}

static const struct dbk_lens lens = {
    .context = &context, .open = open_event, .upcast = upcast_event, .end = end_state};

static int set_up(void **state)
{
    struct dbk_error err = {0};
    (void)state;
    context = (struct lens_context){0};
    sim = dbk_sim_create(1);
    assert_non_null(sim);
    assert_ok(
        dbk_store_open(
            &(struct dbk_store_options){.os = dbk_sim_os(sim), .folder = "data", .writer = true},
            &store, &err),
        &err);
    dbk_store_set_lens(store, &lens);
    for (int i = 1; i <= EVENTS; i++) {
        struct dbk_append_result result;
        struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL("a-1"),
                                      .type = DBK_SLICE_LITERAL("T"),
                                      .data = DBK_SLICE_LITERAL("stored"),
                                      .occurred_us = DBK_TIME_NONE,
                                      .sealed = i % 2 == 0 ? DBK_SLICE_LITERAL("\0\0")
                                                           : (struct dbk_slice){0},
                                      .schema_version = i % 4 == 0 ? 1 : 2};
        assert_ok(dbk_store_append(store, &(struct dbk_batch){.events = &event, .count = 1},
                                   &result, &err),
                  &err);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_store_free(store);
    dbk_sim_free(sim);
    return 0;
}

/* Reads all and says it, a letter a position: s, o or n; '.' where one was left out. */
static void read_all(struct dbk_filter filter, const char *want)
{
    char got[EVENTS + 1] = {0};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_error err = {0};
    int rc = 0;
    memset(got, '.', EVENTS);
    assert_ok(dbk_cursor_open(store, &filter, &cursor, &err), &err);
    while ((rc = dbk_cursor_next(cursor, &event, &err)) > 0)
        got[event.position - 1] = event.data.data[0];
    assert_int_equal(rc, 0);
    assert_string_equal(got, want);
    assert_int_equal(dbk_cursor_position(cursor), filter.backwards ? 1 : EVENTS);
    dbk_cursor_free(cursor);
    assert_int_equal(context.states, 0);
}

static void test_store_lens__is_between_every_cursor_and_the_log(void **state)
{
    (void)state;
    struct dbk_slice type = DBK_SLICE_LITERAL("T");
    const char *want = "so.ns.sn.os.";
    read_all((struct dbk_filter){0}, want);
    read_all((struct dbk_filter){.backwards = true}, want);
    read_all((struct dbk_filter){.stream = DBK_SLICE_LITERAL("a-1")}, want);
    read_all((struct dbk_filter){.types = &type, .type_count = 1, .backwards = true}, want);
    read_all((struct dbk_filter){.occurred_min_us = 1}, want);
}

static void test_store_lens__stops_where_the_filter_says(void **state)
{
    (void)state;
    read_all((struct dbk_filter){.as_written = true}, "so.os.so.os.");
    int made = context.made;
    read_all((struct dbk_filter){.raw = true}, "ssssssssssss");
    assert_int_equal(context.made, made);
}

static void test_store_lens__ends_a_read_with_its_error(void **state)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_error err = {0};
    (void)state;
    context.fail_at = 2;
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){0}, &cursor, &err), &err);
    assert_int_equal(dbk_cursor_next(cursor, &event, &err), 1);
    assert_int_equal(dbk_cursor_next(cursor, &event, &err), DBK_ECORRUPT);
    assert_string_equal(err.message, "position 2");
    dbk_cursor_free(cursor);
    assert_int_equal(context.states, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_store_lens__##name, set_up, tear_down)
        TEST(is_between_every_cursor_and_the_log),
        TEST(stops_where_the_filter_says),
        TEST(ends_a_read_with_its_error),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
