/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decimal_test -- decimal arithmetic is exact, or says that it cannot be. Whole numbers of a small
 * range, scaled by powers of ten, are the oracle.
 */
#include "test.h"

#include "json/decimal.h"

static struct dbk_decimal of(const char *text)
{
    struct dbk_decimal value = {0};
    if (!dbk_decimal_parse(dbk_slice_of(text), &value))
        fail_msg("%s is not read", text);
    return value;
}

static void assert_text(struct dbk_decimal value, const char *expected)
{
    char text[DBK_DECIMAL_TEXT_SIZE];
    size_t size = dbk_decimal_format(value, text);
    assert_string_equal(text, expected);
    assert_int_equal(size, strlen(expected));
}

static void test_json_decimal__texts_are_read_and_written(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"0", "0"},
        {"-0.0", "0"},
        {"2.55", "2.55"},
        {"-12.50", "-12.5"},
        {"1e3", "1000"},
        {"1E-3", "0.001"},
        {"0.0015", "0.0015"},
        {"9223372036854775807", "9223372036854775807"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"1.5e300", "15e299"},
        {"1000000000000000000000", "1000000000000000000000"},
        {"0.10", "0.1"},
        {"100.001", "100.001"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_text(of(cases[i][0]), cases[i][1]);
}

static void test_json_decimal__other_texts_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        "-",
                                        ".5",
                                        "5.",
                                        "01",
                                        "1e",
                                        "1e+",
                                        "+1",
                                        "1 ",
                                        "0x1",
                                        "nan",
                                        "1.2.3",
                                        "--1",
                                        "1e999",
                                        "0.12345678901234567891",
                                        "12345678901234567891.5"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_decimal value = {.coefficient = 42};
        assert_false(dbk_decimal_parse(dbk_slice_of(cases[i]), &value));
        assert_int_equal(value.coefficient, 42);
    }
}

/* a x 10^-2 with b x 10^-1 over a range: sums, products and order by whole numbers. */
static void test_json_decimal__whole_numbers_agree(void **state)
{
    (void)state;
    for (int64_t a = -150; a <= 150; a++) {
        for (int64_t b = -150; b <= 150; b++) {
            struct dbk_decimal left = dbk_decimal_of(a);
            struct dbk_decimal right = dbk_decimal_of(b);
            struct dbk_decimal result;
            int64_t whole = 0;
            assert_true(dbk_decimal_multiply(left, of("0.01"), &left));
            assert_true(dbk_decimal_multiply(right, of("0.1"), &right));
            assert_int_equal(dbk_decimal_compare(left, right), (a > b * 10) - (a < b * 10));
            assert_true(dbk_decimal_add(left, right, &result));
            assert_true(dbk_decimal_multiply(result, dbk_decimal_of(100), &result));
            assert_true(dbk_decimal_to_i64(result, &whole));
            assert_int_equal(whole, a + b * 10);
            assert_true(dbk_decimal_subtract(left, right, &result));
            assert_true(dbk_decimal_multiply(result, dbk_decimal_of(100), &result));
            assert_true(dbk_decimal_to_i64(result, &whole));
            assert_int_equal(whole, a - b * 10);
            assert_true(dbk_decimal_multiply(left, right, &result));
            assert_true(dbk_decimal_multiply(result, dbk_decimal_of(1000), &result));
            assert_true(dbk_decimal_to_i64(result, &whole));
            assert_int_equal(whole, a * b);
        }
    }
}

static void test_json_decimal__rounding_is_half_to_even(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int places;
        const char *rounded;
    } cases[] = {{"0.125", 2, "0.12"}, {"0.135", 2, "0.14"}, {"-0.125", 2, "-0.12"},
                 {"2.5", 0, "2"},      {"3.5", 0, "4"},      {"2.51", 0, "3"},
                 {"1250", -2, "1200"}, {"0.0001", 2, "0"},   {"7", 5, "7"},
                 {"-2.5", 0, "-2"},    {"9.995", 2, "10"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_decimal value;
        assert_true(dbk_decimal_round(of(cases[i].value), cases[i].places, &value));
        assert_text(value, cases[i].rounded);
    }
}

static void test_json_decimal__quotients_are_rounded_as_asked(void **state)
{
    (void)state;
    struct dbk_decimal value;
    assert_true(dbk_decimal_divide(of("10"), of("3"), 4, &value));
    assert_text(value, "3.3333");
    assert_true(dbk_decimal_divide(of("-1"), of("8"), 2, &value));
    assert_text(value, "-0.12");
    assert_true(dbk_decimal_divide(of("1"), of("0.0004"), 0, &value));
    assert_text(value, "2500");
    assert_false(dbk_decimal_divide(of("1"), of("0"), 2, &value));
}

static void test_json_decimal__what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct dbk_decimal value;
    struct dbk_decimal large = of("9223372036854775807");
    assert_false(dbk_decimal_add(large, of("0.1"), &value));
    assert_false(dbk_decimal_multiply(large, large, &value));
    assert_false(dbk_decimal_add(of("1e300"), of("1e-300"), &value));
    assert_int_equal(dbk_decimal_compare(of("1e300"), of("1e-300")), 1);
    assert_int_equal(dbk_decimal_compare(of("-1e300"), of("-1e-300")), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_decimal__texts_are_read_and_written),
        cmocka_unit_test(test_json_decimal__other_texts_are_refused),
        cmocka_unit_test(test_json_decimal__whole_numbers_agree),
        cmocka_unit_test(test_json_decimal__rounding_is_half_to_even),
        cmocka_unit_test(test_json_decimal__quotients_are_rounded_as_asked),
        cmocka_unit_test(test_json_decimal__what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
