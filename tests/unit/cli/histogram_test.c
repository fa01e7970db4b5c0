/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram_test -- a percentile is never below the value it stands for and at most 3.2 % above.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "cli/histogram.h"

static void test_cli_histogram__buckets_follow_without_gap(void **state)
{
    (void)state;
    /* Each bucket's largest value is its own, and the next value is the next bucket's. */
    for (size_t i = 0; i < DBK_HISTOGRAM_BUCKETS; i++) {
        uint64_t max = dbk_histogram_bucket_max(i);
        assert_int_equal(dbk_histogram_bucket(max), i);
        if (i + 1 < DBK_HISTOGRAM_BUCKETS)
            assert_int_equal(dbk_histogram_bucket(max + 1), i + 1);
        else
            assert_true(max == UINT64_MAX);
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void test_cli_histogram__percentiles_are_near_the_sorted_ones(void **state)
{
    (void)state;
    enum { COUNT = 10007 };
    static uint64_t values[COUNT];
    static struct dbk_histogram histogram;
    static struct dbk_histogram half;
    uint64_t random = 88172645463325252u;
    memset(&histogram, 0, sizeof(histogram));
    memset(&half, 0, sizeof(half));
    for (size_t i = 0; i < COUNT; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        values[i] = random >> (random % 60);
        dbk_histogram_add(i % 2 == 0 ? &histogram : &half, values[i]);
    }
    dbk_histogram_merge(&histogram, &half);
    qsort(values, COUNT, sizeof(values[0]), compare);
    assert_int_equal(histogram.count, COUNT);
    assert_true(histogram.max == values[COUNT - 1]);
    for (int i = 0; i < 1000; i++) {
        double part = i / 1000.0;
        uint64_t exact = values[(size_t)(part * COUNT)];
        uint64_t got = dbk_histogram_percentile(&histogram, part);
        assert_true(got >= exact);
        assert_true((double)got <= (double)exact * 1.032);
    }
    assert_true(dbk_histogram_percentile(&histogram, 1) == values[COUNT - 1]);
}

static void test_cli_histogram__nothing_counted_is_zero(void **state)
{
    (void)state;
    static struct dbk_histogram histogram;
    assert_int_equal(dbk_histogram_percentile(&histogram, 0.99), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_histogram__buckets_follow_without_gap),
        cmocka_unit_test(test_cli_histogram__percentiles_are_near_the_sorted_ones),
        cmocka_unit_test(test_cli_histogram__nothing_counted_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
