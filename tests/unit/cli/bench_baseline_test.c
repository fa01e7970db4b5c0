/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_baseline_test -- a metric that fell by more than the noise is found and named, and nothing
 * is compared that cannot be.
 */
#include "test.h"

#include "cli/bench_baseline.h"

static const char now_text[] = "{\"bench\":\"append\",\"settings\":{\"writers\":1,\"size\":200},"
                               "\"ratio\":{\"sync\":0.9},\"rate\":{\"reads_per_second\":1000}}";

static int compare(const char *before_text, double noise, struct dbk_baseline *baseline,
                   struct dbk_error *err)
{
    const struct dbk_json_node *before = NULL;
    const struct dbk_json_node *now = NULL;
    struct dbk_json *before_json = dbk_json_create(1 << 16);
    struct dbk_json *now_json = dbk_json_create(1 << 16);
    assert_non_null(before_json);
    assert_non_null(now_json);
    assert_ok(dbk_json_parse(before_json, dbk_slice_of(before_text), &before, err), err);
    assert_ok(dbk_json_parse(now_json, dbk_slice_of(now_text), &now, err), err);
    int rc = dbk_baseline_compare(before, now, noise, baseline, err);
    dbk_json_free(before_json);
    dbk_json_free(now_json);
    return rc;
}

static void test_cli_bench_baseline__worse_is_beyond_the_noise(void **state)
{
    (void)state;
    /* The ratio was 1.00 before and is 0.9: 10 % less. The rate was 1000.0 and is 1000. */
    static const char before[] = "{\"bench\":\"append\",\"settings\":{\"writers\":1,\"size\":200},"
                                 "\"ratio\":{\"sync\":1.00},"
                                 "\"rate\":{\"reads_per_second\":1000.0},\"more\":1}";
    for (int noise = 0; noise < 100; noise++) {
        struct dbk_error err = {0};
        struct dbk_baseline baseline = {0};
        if (noise == 10)
            continue; /* the border is a matter of rounding */
        assert_ok(compare(before, noise, &baseline, &err), &err);
        assert_int_equal(baseline.count, 2);
        assert_int_equal(baseline.items[0].worse, noise < 10);
        assert_false(baseline.items[1].worse);
        assert_int_equal(baseline.worse, noise < 10);
    }
}

static void test_cli_bench_baseline__failure_names_metric_old_and_new(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_baseline baseline = {0};
    assert_ok(compare("{\"bench\":\"append\",\"settings\":{\"writers\":1,\"size\":200},"
                      "\"ratio\":{\"sync\":1.8},\"rate\":{\"reads_per_second\":4000}}",
                      5, &baseline, &err),
              &err);
    assert_int_equal(dbk_baseline_failure(&baseline, 5, &err), DBK_ELIMIT);
    assert_string_equal(err.message,
                        "worse than the baseline by more than 5 %: ratio sync fell from 1.8 to 0.9 "
                        "(-50.0 %), rate reads_per_second fell from 4000 to 1000 (-75.0 %)");
}

static void test_cli_bench_baseline__better_is_fine(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_baseline baseline = {0};
    assert_ok(compare("{\"bench\":\"append\",\"settings\":{\"size\":200,\"writers\":1},"
                      "\"ratio\":{\"sync\":0},\"rate\":{\"reads_per_second\":10}}",
                      0, &baseline, &err),
              &err);
    assert_int_equal(baseline.worse, 0);
}

static void test_cli_bench_baseline__other_reports_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *before;
        const char *message;
    } cases[] = {
        {"[]", "it is no report of daybook bench"},
        {"{\"bench\":1}", "it is no report of daybook bench"},
        {"{\"bench\":\"read\"}", "it is of daybook bench read, not of bench append"},
        {"{\"bench\":\"append\"}", "it has no settings"},
        {"{\"bench\":\"append\",\"settings\":1}", "its settings lack writers"},
        {"{\"bench\":\"append\",\"settings\":{\"writers\":1}}", "its settings lack size"},
        {"{\"bench\":\"append\",\"settings\":{\"writers\":64,\"size\":200}}",
         "its writers is 64, this run's 1"},
        {"{\"bench\":\"append\",\"settings\":{\"writers\":1,\"size\":200}}",
         "it has no number ratio sync"},
        {"{\"bench\":\"append\",\"settings\":{\"writers\":1,\"size\":200},\"ratio\":{\"sync\":1}}",
         "it has no number rate reads_per_second"},
        {"{\"bench\":\"append\",\"settings\":{\"writers\":1,\"size\":200},"
         "\"ratio\":{\"sync\":\"fast\"}}",
         "it has no number ratio sync"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_error err = {0};
        struct dbk_baseline baseline = {0};
        assert_int_equal(compare(cases[i].before, 10, &baseline, &err), DBK_EINVAL);
        assert_string_equal(err.message, cases[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_bench_baseline__worse_is_beyond_the_noise),
        cmocka_unit_test(test_cli_bench_baseline__failure_names_metric_old_and_new),
        cmocka_unit_test(test_cli_bench_baseline__better_is_fine),
        cmocka_unit_test(test_cli_bench_baseline__other_reports_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
