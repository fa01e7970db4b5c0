/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse_test -- the head of a view's file is read, and each fault of it is named by its place.
 */
#include "test.h"

#include "view/view.h"

struct fixture {
    struct dbk_arena arena;
    struct dbk_diagnostics faults;
    struct dbk_view_definition view;
};

static void parse(struct fixture *fixture, const char *text)
{
    struct dbk_error err = {0};
    dbk_arena_init(&fixture->arena, 1 << 20);
    dbk_diagnostics_init(&fixture->faults);
    assert_ok(dbk_view_parse("daily", "views/daily.sql", dbk_slice_of(text), "reading",
                             &fixture->arena, &fixture->view, &fixture->faults, &err),
              &err);
}

static void release(struct fixture *fixture)
{
    dbk_arena_release(&fixture->arena);
    dbk_diagnostics_release(&fixture->faults);
}

static void test_view_parse__the_head_is_read(void **state)
{
    (void)state;
    struct fixture fixture;
    parse(&fixture, "-- What was sold: by day.\n"
                    "-- refresh: every 5 minutes\r\n"
                    "\n"
                    "--database:other\n"
                    "-- index: date, region\n"
                    "-- index: region\n"
                    "SELECT 1 AS a -- refresh: on demand\n");
    assert_int_equal(fixture.faults.count, 0);
    assert_int_equal(fixture.view.schedule.kind, DBK_SCHEDULE_EVERY);
    assert_string_equal(fixture.view.database, "other");
    assert_int_equal(fixture.view.index_count, 2);
    assert_string_equal(fixture.view.indexes[0], "date, region");
    assert_string_equal(fixture.view.indexes[1], "region");
    release(&fixture);
}

static void test_view_parse__when_it_is_verified_is_read(void **state)
{
    (void)state;
    struct fixture fixture;
    parse(&fixture, "-- refresh: continuous\n-- verify: every day at 04:00 and refresh\nSELECT 1");
    assert_int_equal(fixture.faults.count, 0);
    assert_int_equal(fixture.view.verify.kind, DBK_SCHEDULE_DAILY);
    assert_int_equal(fixture.view.verify.minute_of_day, 240);
    assert_true(fixture.view.verify_mends);
    release(&fixture);
    parse(&fixture, "-- refresh: continuous\n-- verify: every 7 days\nSELECT 1");
    assert_int_equal(fixture.view.verify.kind, DBK_SCHEDULE_EVERY);
    assert_false(fixture.view.verify_mends);
    release(&fixture);
    parse(&fixture, "-- refresh: continuous\nSELECT 1");
    assert_int_equal(fixture.view.verify.kind, DBK_SCHEDULE_ON_DEMAND);
    release(&fixture);
}

static void test_view_parse__the_default_database_is_taken(void **state)
{
    (void)state;
    struct fixture fixture;
    parse(&fixture, "-- refresh: on demand\nSELECT 1 AS a");
    assert_int_equal(fixture.faults.count, 0);
    assert_string_equal(fixture.view.database, "reading");
    release(&fixture);
}

static void test_view_parse__a_fault_is_named_by_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned line;
        unsigned column;
        const char *what;
    } cases[] = {
        {"SELECT 1", 1, 1, "the view does not say when it is refreshed"},
        {"", 1, 1, "the view does not say when it is refreshed"},
        {"-- refresh: daily\nSELECT 1", 1, 13, "\"daily\" is no schedule"},
        {"-- refresh: on demand\n--  refrsh: x\nSELECT 1", 2, 5, "unknown key `refrsh`"},
        {"-- refresh: on demand\n-- refresh: on demand\n", 2, 4,
         "this key stands twice in the head"},
        {"-- refresh: on demand\n-- verify: lag 10 s\n", 2, 12,
         "\"lag 10 s\" does not say when the view is verified"},
        {"-- refresh: on demand\n-- verify:  and refresh\n", 2, 13,
         "\"and refresh\" does not say when the view is verified"},
        {"-- refresh: on demand\n-- database:\n", 2, 4, "this key has no value"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        parse(&fixture, cases[i].text);
        assert_int_equal(fixture.faults.count, 1);
        assert_string_equal(fixture.faults.items[0].what, cases[i].what);
        assert_int_equal(fixture.faults.items[0].line, cases[i].line);
        assert_int_equal(fixture.faults.items[0].column, cases[i].column);
        release(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_view_parse__the_head_is_read),
        cmocka_unit_test(test_view_parse__when_it_is_verified_is_read),
        cmocka_unit_test(test_view_parse__the_default_database_is_taken),
        cmocka_unit_test(test_view_parse__a_fault_is_named_by_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
