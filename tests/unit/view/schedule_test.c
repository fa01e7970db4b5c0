/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schedule_test -- what a schedule's words mean, and that the next run is the first one that fits.
 */
#include "test.h"

#include "base/time.h"
#include "view/schedule.h"

#define MINUTE_US INT64_C(60000000)
#define DAY_US (1440 * MINUTE_US)

static void test_view_schedule__words_are_read_and_written_back(void **state)
{
    (void)state;
    static const char *const cases[] = {"on demand",
                                        "every day at 02:00",
                                        "every day at 23:59",
                                        "every day at 02:00 Europe/Berlin",
                                        "every day at 02:30 America/Argentina/Jujuy ± 1 hour",
                                        "every day at 00:00 ± 5 minutes",
                                        "every 1 hour ± 30 minutes",
                                        "every 5 minutes",
                                        "every 1 second",
                                        "every 90 seconds",
                                        "every 2 hours",
                                        "every 1 day",
                                        "continuous",
                                        "downstream",
                                        "lag 10 s",
                                        "lag 100 ms",
                                        "lag 5 min",
                                        "lag 2 h",
                                        "lag 1 d"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_schedule schedule;
        char text[DBK_SCHEDULE_TEXT_SIZE];
        assert_true(dbk_schedule_parse(dbk_slice_of(cases[i]), &schedule));
        size_t size = dbk_schedule_format(&schedule, text, sizeof(text));
        assert_int_equal(size, strlen(cases[i]));
        assert_string_equal(text, cases[i]);
    }
}

static void test_view_schedule__other_words_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        "sometimes",
                                        "every day",
                                        "every day at 2:00",
                                        "every day at 24:00",
                                        "every day at 02:60",
                                        "every day at 02:00 ",
                                        "every day at 02:00Europe/Berlin",
                                        "every day at 02:00 ../etc/passwd",
                                        "every day at 02:00 /etc/passwd",
                                        "every day at 02:00 Europe//Berlin",
                                        "every day at 02:00 Europe/",
                                        "every day at 02:00 ± 7 h",
                                        "every day at 02:00 ± 5",
                                        "every day at 02:00 ± 0 s",
                                        "every day at 02:00 ± 5 min ± 5 min",
                                        "every 1 hour ± 31 minutes",
                                        "every ± 31 minutes",
                                        "lag 10 s ± 1 s",
                                        "every 0 seconds",
                                        "every 10 ms",
                                        "every 99999 days",
                                        "every -5 minutes",
                                        "on demand please",
                                        "downstream x",
                                        "lag",
                                        "lag 10",
                                        "lag 99 ms",
                                        "lag 0 s",
                                        "lag -1 s",
                                        "lag 99999 days"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_schedule schedule = {.minute_of_day = 42};
        assert_false(dbk_schedule_parse(dbk_slice_of(cases[i]), &schedule));
        assert_int_equal(schedule.minute_of_day, 42);
    }
}

/* The oracle walks minute by minute from the last run to the first that has the time of day. */
static void test_view_schedule__daily_runs_at_the_next_such_minute(void **state)
{
    (void)state;
    for (int minute = 0; minute < 1440; minute += 7) {
        const struct dbk_schedule schedule = {.kind = DBK_SCHEDULE_DAILY, .minute_of_day = minute};
        for (int64_t last = -2 * DAY_US; last < 2 * DAY_US; last += 331 * MINUTE_US / 3) {
            int64_t expected = last / MINUTE_US * MINUTE_US - 2 * MINUTE_US;
            while (expected <= last || ((expected / MINUTE_US) % 1440 + 1440) % 1440 != minute)
                expected += MINUTE_US;
            assert_int_equal(dbk_schedule_next(&schedule, last), expected);
        }
    }
}

static void test_view_schedule__a_period_counts_from_the_last_run(void **state)
{
    (void)state;
    const struct dbk_schedule every = {.kind = DBK_SCHEDULE_EVERY, .period_us = 5 * MINUTE_US};
    const struct dbk_schedule never = {.kind = DBK_SCHEDULE_ON_DEMAND};
    assert_int_equal(dbk_schedule_next(&every, 7), 7 + 5 * MINUTE_US);
    assert_int_equal(dbk_schedule_next(&every, DBK_TIME_NONE), DBK_TIME_MIN);
    assert_true(dbk_schedule_next(&never, 7) == DBK_TIME_NONE);
    assert_true(dbk_schedule_next(&never, DBK_TIME_NONE) == DBK_TIME_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_view_schedule__words_are_read_and_written_back),
        cmocka_unit_test(test_view_schedule__other_words_are_refused),
        cmocka_unit_test(test_view_schedule__daily_runs_at_the_next_such_minute),
        cmocka_unit_test(test_view_schedule__a_period_counts_from_the_last_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
