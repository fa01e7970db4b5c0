/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_test -- how long a source has been doubted counts only while somebody looks.
 */
#include "test.h"

#include "capture/source.h"

#define SECOND INT64_C(1000000)

static void test_capture_source__a_doubt_lasts_while_it_is_looked_at(void **state)
{
    (void)state;
    struct dbk_source_doubt doubt = {0};
    for (int64_t second = 0; second <= 30; second += 10)
        assert_int_equal(dbk_source_doubt_us(&doubt, (100 + second) * SECOND), second * SECOND);
}

static void test_capture_source__a_doubt_of_long_ago_is_forgotten(void **state)
{
    (void)state;
    for (int64_t gap = 1; gap <= 200; gap++) {
        struct dbk_source_doubt doubt = {0};
        assert_int_equal(dbk_source_doubt_us(&doubt, 100 * SECOND), 0);
        bool kept = gap * SECOND <= DBK_SOURCE_DOUBT_GAP_US;
        assert_int_equal(dbk_source_doubt_us(&doubt, (100 + gap) * SECOND),
                         kept ? gap * SECOND : 0);
        assert_int_equal(dbk_source_doubt_us(&doubt, (101 + gap) * SECOND),
                         (kept ? gap + 1 : 1) * SECOND);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capture_source__a_doubt_lasts_while_it_is_looked_at),
        cmocka_unit_test(test_capture_source__a_doubt_of_long_ago_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
