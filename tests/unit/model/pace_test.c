/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pace_test -- what a model tells of its times is never less than it was and at most 1/16 more;
 * captured changes are measured from their database's commit.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "model/pace.h"

#define NOW_US (INT64_C(1800000000) * 1000000)

static struct dbk_pace *pace;
static struct dbk_pace_batch *batch;

static int set_up(void **state)
{
    (void)state;
    pace = calloc(1, sizeof(*pace));
    batch = calloc(1, sizeof(*batch));
    return pace == NULL || batch == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    free(pace);
    free(batch);
    return 0;
}

static void note(int64_t age_us)
{
    const struct dbk_event event = {.stream = DBK_SLICE_LITERAL("order-1"),
                                    .type = DBK_SLICE_LITERAL("Placed"),
                                    .time_us = NOW_US - age_us,
                                    .occurred_us = DBK_TIME_NONE};
    dbk_pace_note(batch, &event);
}

static void measure(int64_t age_us)
{
    note(age_us);
    dbk_pace_commit(pace, batch, 1, NOW_US);
}

/* Each time alone, below a longer one that keeps the maximum from capping what is told. */
static void test_model_pace__a_time_is_told_at_most_a_sixteenth_too_long(void **state)
{
    (void)state;
    for (int64_t age_us = 0; age_us < INT64_C(1) << 40; age_us += 1 + age_us / 57) {
        memset(pace, 0, sizeof(*pace));
        measure(age_us);
        measure(INT64_C(1) << 40);
        int64_t told_us = dbk_pace_quantile_us(pace, 500);
        assert_true(told_us >= age_us && told_us <= age_us + age_us / 16);
        assert_int_equal(pace->max_us, INT64_C(1) << 40);
    }
}

static void test_model_pace__a_quantile_is_one_of_the_times(void **state)
{
    (void)state;
    assert_int_equal(dbk_pace_quantile_us(pace, 500), 0);
    for (int64_t i = 0; i < 990; i++)
        note(3);
    for (int64_t i = 0; i < 10; i++)
        note(1000000);
    dbk_pace_commit(pace, batch, 1000, NOW_US);
    assert_int_equal(pace->count, 1000);
    assert_int_equal(pace->sum_us, 990 * 3 + 10 * 1000000);
    assert_int_equal(dbk_pace_quantile_us(pace, 0), 3);
    assert_int_equal(dbk_pace_quantile_us(pace, 990), 3);
    assert_int_equal(dbk_pace_quantile_us(pace, 991), 1000000);
    assert_int_equal(dbk_pace_quantile_us(pace, 1000), 1000000);
}

static void test_model_pace__any_time_is_counted(void **state)
{
    (void)state;
    measure(-5000000); /* a clock that is ahead */
    assert_int_equal(dbk_pace_quantile_us(pace, 1000), 0);
    measure(NOW_US);
    assert_int_equal(dbk_pace_quantile_us(pace, 1000), NOW_US);
    assert_int_equal(pace->count, 2);
}

static void test_model_pace__what_was_there_before_is_not_measured(void **state)
{
    (void)state;
    batch->since_us = NOW_US - 100;
    note(101);
    assert_int_equal(batch->count, 0);
    note(100);
    assert_int_equal(batch->count, 1);
    for (int i = 0; i < DBK_PACE_BATCH + 7; i++)
        note(1);
    dbk_pace_commit(pace, batch, DBK_PACE_BATCH + 8, NOW_US);
    assert_int_equal(pace->count, DBK_PACE_BATCH);
    assert_int_equal(batch->count, 0);
}

static void test_model_pace__changes_became_when_their_database_committed(void **state)
{
    (void)state;
    static const struct {
        const char *stream;
        const char *type;
        bool change;
    } cases[] = {
        {"users.people-7", "people.insert", true},
        {"users.people-7", "people.update", true},
        {"users.people-7", "people.delete", true},
        {"users.people-7", "people.truncate", false},
        {"users.people-7", "persons.insert", false},
        {"people-7", "people.insert", false},
        {".people-7", "people.insert", false},
        {"xpeople-7", "people.insert", false},
        {"users.people-7", ".insert", false},
        {"users.people-7", "insert", false},
        {"order-1", "Placed", false},
        {"users.people-7", "people.", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_event event = {.stream = dbk_slice_of(cases[i].stream),
                                  .type = dbk_slice_of(cases[i].type),
                                  .time_us = NOW_US,
                                  .occurred_us = NOW_US - 9};
        assert_int_equal(dbk_pace_became_us(&event), cases[i].change ? NOW_US - 9 : NOW_US);
        event.occurred_us = DBK_TIME_NONE;
        assert_int_equal(dbk_pace_became_us(&event), NOW_US);
    }
}

static int64_t tenths_at(int64_t second)
{
    return (int64_t)(dbk_pace_rate(pace, NOW_US + second * 1000000) * 10 + 0.5);
}

static void test_model_pace__the_rate_is_of_the_last_whole_seconds(void **state)
{
    (void)state;
    for (int second = 0; second < 40; second++)
        dbk_pace_commit(pace, batch, 100, NOW_US + second * INT64_C(1000000));
    /* Of the last second, which is not over, nothing. */
    assert_int_equal(tenths_at(39), 1000);
    assert_int_equal(tenths_at(44), 600);
    assert_int_equal(tenths_at(50), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_model_pace__a_time_is_told_at_most_a_sixteenth_too_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_model_pace__a_quantile_is_one_of_the_times, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_model_pace__any_time_is_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_model_pace__what_was_there_before_is_not_measured,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_model_pace__changes_became_when_their_database_committed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_model_pace__the_rate_is_of_the_last_whole_seconds,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
