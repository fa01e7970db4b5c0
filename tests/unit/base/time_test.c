/* SPDX-License-Identifier: Apache-2.0 */
/*
 * time_test -- an instant's text is read back as the same instant, and no other text is read.
 */
#include "test.h"

#include <time.h>

#include "base/time.h"

static void test_base_time__libc_agrees_on_every_day(void **state)
{
    (void)state;
    for (int64_t day = -719162; day <= 2932896; day += 1) {
        time_t seconds = (time_t)day * 86400;
        struct tm parts;
        char expected[64];
        char text[DBK_TIME_TEXT_SIZE];
        int64_t back = 0;
        assert_non_null(gmtime_r(&seconds, &parts));
        (void)snprintf(expected, sizeof(expected), "%04d-%02d-%02dT00:00:00Z", parts.tm_year + 1900,
                       parts.tm_mon + 1, parts.tm_mday);
        size_t size = dbk_time_format((int64_t)seconds * 1000000, text);
        assert_string_equal(text, expected);
        assert_true(dbk_time_parse(dbk_slice(text, size), &back));
        assert_int_equal(back, (int64_t)seconds * 1000000);
    }
}

static void test_base_time__what_people_write_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *instant;
    } cases[] = {
        {"2011-03-01", "2011-03-01T00:00:00Z"},
        {"2011-03-01 08:26", "2011-03-01T08:26:00Z"},
        {"2011-03-01 08:26:30", "2011-03-01T08:26:30Z"},
        {"2011-03-01T08:26:00.5+01:00", "2011-03-01T07:26:00.500000Z"},
        {"2011-03-01T00:30:00.1234567-01:30", "2011-03-01T02:00:00.123456Z"},
        {"1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t time_us = 0;
        char text[DBK_TIME_TEXT_SIZE];
        assert_true(dbk_time_parse(dbk_slice_of(cases[i].text), &time_us));
        dbk_time_format(time_us, text);
        assert_string_equal(text, cases[i].instant);
    }
}

static void test_base_time__no_other_text_is_read(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        "2011",
                                        "2011-13-01",
                                        "2011-02-29",
                                        "2011-3-1",
                                        "2011-03-01T",
                                        "2011-03-01T24:00",
                                        "2011-03-01 08:26x",
                                        "0000-01-01",
                                        "0001-01-01T00:00+00:01",
                                        "9999-12-31T23:59:59-00:01",
                                        "2011-03-01T08:26:00."};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t time_us = 42;
        assert_false(dbk_time_parse(dbk_slice_of(cases[i]), &time_us));
        assert_int_equal(time_us, 42);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_time__libc_agrees_on_every_day),
        cmocka_unit_test(test_base_time__what_people_write_is_read),
        cmocka_unit_test(test_base_time__no_other_text_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
