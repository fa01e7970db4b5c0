/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arguments_test -- a command line is read as its table says, or refused with the place named.
 */
#include "test.h"

#include "cli/arguments.h"

static const struct dbk_option options[] = {
    {"limit", 'n', DBK_OPTION_NUMBER, "N", "n"},
    {"at", 0, DBK_OPTION_TIME, "TIME", "t"},
    {"timeout", 0, DBK_OPTION_DURATION, "TIME", "d"},
    {"mode", 0, DBK_OPTION_CHOICE, "a|bc|def", "c"},
    {"name", 0, DBK_OPTION_TEXT, "NAME", "x"},
    {"all", 'a', DBK_OPTION_FLAG, NULL, "f"},
    {0},
};
static const struct dbk_cli_command command = {.name = "probe",
                                               .positional = "A [B]",
                                               .options = options,
                                               .positional_min = 1,
                                               .positional_max = 2,
                                               .book = true};

#define WORDS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define PARSE(arguments, err, ...)                                                                 \
    dbk_arguments_parse(&command, (int)(sizeof(WORDS(__VA_ARGS__)) / sizeof(char *)),              \
                        WORDS(__VA_ARGS__), arguments, err)

static void test_cli_arguments__options_may_stand_anywhere(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_arguments arguments;
    assert_ok(PARSE(&arguments, &err, "--limit", "5", "one", "--all", "--name=x=y", "two", "-o",
                    "json", "--book", "b"),
              &err);
    assert_int_equal(arguments.positional_count, 2);
    assert_string_equal(arguments.positional[0], "one");
    assert_string_equal(arguments.positional[1], "two");
    assert_int_equal(dbk_arguments_number(&arguments, "limit", 1), 5);
    assert_string_equal(dbk_arguments_text(&arguments, "name"), "x=y");
    assert_string_equal(dbk_arguments_text(&arguments, "output"), "json");
    assert_string_equal(dbk_arguments_text(&arguments, "book"), "b");
    assert_true(dbk_arguments_has(&arguments, "all"));
    assert_false(dbk_arguments_has(&arguments, "at"));
    assert_int_equal(dbk_arguments_time_us(&arguments, "at", 7), 7);
}

static void test_cli_arguments__an_option_has_one_value(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_arguments arguments;
    assert_ok(PARSE(&arguments, &err, "-n4", "one", "--limit=4", "--timeout", "250 ms", "--at",
                    "1970-01-02"),
              &err);
    assert_int_equal(dbk_arguments_number(&arguments, "limit", 0), 4);
    assert_int_equal(dbk_arguments_duration_us(&arguments, "timeout", 0), 250000);
    assert_int_equal(dbk_arguments_time_us(&arguments, "at", 0), 86400 * INT64_C(1000000));
    assert_int_equal(PARSE(&arguments, &err, "-n3", "one", "--limit=4"), DBK_EINVAL);
    assert_string_equal(err.message, "--limit is given twice, as \"3\" and as \"4\"");
}

static void test_cli_arguments__two_dashes_end_options(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_arguments arguments;
    assert_ok(PARSE(&arguments, &err, "-", "--", "--all"), &err);
    assert_string_equal(arguments.positional[0], "-");
    assert_string_equal(arguments.positional[1], "--all");
    assert_false(dbk_arguments_has(&arguments, "all"));
}

static void test_cli_arguments__help_needs_nothing_else(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_arguments arguments;
    assert_ok(PARSE(&arguments, &err, "--help"), &err);
    assert_true(arguments.help);
    assert_ok(PARSE(&arguments, &err, "-h"), &err);
    assert_true(arguments.help);
}

static void refuse(const char *message, int count, const char *const *words)
{
    struct dbk_error err = {0};
    struct dbk_arguments arguments;
    assert_int_equal(dbk_arguments_parse(&command, count, words, &arguments, &err), DBK_EINVAL);
    assert_string_equal(err.message, message);
}
#define REFUSE(message, ...)                                                                       \
    refuse(message, (int)(sizeof(WORDS(__VA_ARGS__)) / sizeof(char *)), WORDS(__VA_ARGS__))

static void test_cli_arguments__what_is_wrong_is_named(void **state)
{
    (void)state;
    REFUSE("probe has no option --limt, did you mean --limit?", "x", "--limt", "1");
    REFUSE("probe has no option --wholly-other; see `daybook help probe`", "x", "--wholly-other");
    REFUSE("probe has no option -z; see `daybook help probe`", "x", "-z");
    REFUSE("--limit needs a value: --limit N", "x", "--limit");
    REFUSE("--limit takes a whole number, not \"-1\"", "x", "--limit", "-1");
    REFUSE("--limit takes a whole number, not \"\"", "x", "--limit=");
    REFUSE("--all takes no value", "x", "--all=yes");
    REFUSE("--mode is one of a|bc|def, not \"b\"", "x", "--mode", "b");
    REFUSE("--mode is one of a|bc|def, not \"a|bc\"", "x", "--mode", "a|bc");
    REFUSE("--mode is one of a|bc|def, not \"\"", "x", "--mode", "");
    REFUSE("--at takes an instant such as 2011-03-01 or 2011-03-01T08:26:00Z, not \"March\"", "x",
           "--at", "March");
    REFUSE("--timeout takes a duration such as \"250 ms\" or \"10 s\", not \"10\"", "x",
           "--timeout", "10");
    REFUSE("the value of --name is not UTF-8", "x", "--name", "\xff");
    REFUSE("argument 1 is not UTF-8", "\xff");
    REFUSE("something is missing: daybook probe A [B]", "--all");
    REFUSE("\"3\" is one argument too many: daybook probe A [B]", "1", "2", "3");
}

static void test_cli_arguments__too_many_are_refused(void **state)
{
    (void)state;
    const char *words[DBK_ARGUMENTS_MAX + 1];
    for (size_t i = 0; i <= DBK_ARGUMENTS_MAX; i++)
        words[i] = "x";
    refuse("more than 256 arguments", DBK_ARGUMENTS_MAX + 1, words);
    for (size_t i = 0; i <= DBK_ARGUMENTS_MAX; i++)
        words[i] = "--all";
    refuse("more than 32 options", DBK_ARGUMENTS_MAX + 1, words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_arguments__options_may_stand_anywhere),
        cmocka_unit_test(test_cli_arguments__an_option_has_one_value),
        cmocka_unit_test(test_cli_arguments__two_dashes_end_options),
        cmocka_unit_test(test_cli_arguments__help_needs_nothing_else),
        cmocka_unit_test(test_cli_arguments__what_is_wrong_is_named),
        cmocka_unit_test(test_cli_arguments__too_many_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
