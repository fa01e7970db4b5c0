/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress_test -- the line tells how far the work is, how fast, and how long it will take.
 */
#include "test.h"

#include "cli/progress.h"

static void test_cli_progress__the_line_says_rate_and_rest(void **state)
{
    (void)state;
    char text[160];
    struct dbk_progress progress = {.what = "import", .unit = "rows"};
    (void)dbk_progress_format(&progress, 5000000, 270000, 50, 100, text);
    assert_string_equal(text,
                        "import  [##########----------]  50%  270000 rows  54000 rows/s  5 s left");
    (void)dbk_progress_format(&progress, 2000000, 0, 0, 100, text);
    assert_string_equal(text, "import  [--------------------]   0%  0 rows  0 rows/s");
    (void)dbk_progress_format(&progress, 2000000, 10, 300, 100, text);
    assert_string_equal(text, "import  [####################] 100%  10 rows  5 rows/s  0 s left");
    (void)dbk_progress_format(&progress, 2000000, 10, 10, 0, text);
    assert_string_equal(text, "import  10 rows  5 rows/s");
}

static void test_cli_progress__a_long_line_is_cut(void **state)
{
    (void)state;
    char name[300];
    char text[160];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    struct dbk_progress progress = {.what = name, .unit = "rows"};
    assert_int_equal(dbk_progress_format(&progress, 1, 1, 1, 2, text), 159);
    assert_int_equal(strlen(text), 159);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_progress__the_line_says_rate_and_rest),
        cmocka_unit_test(test_cli_progress__a_long_line_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
