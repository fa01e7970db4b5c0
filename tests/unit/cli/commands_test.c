/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commands_test -- the table of commands is whole: each has help, examples and a name of its own.
 */
#include "test.h"

#include <string.h>

#include "cli/commands.h"

#define WORDS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void check_options(const struct dbk_cli_command *of)
{
    size_t count = 0;
    for (const struct dbk_option *option = of->options; option != NULL && option->name != NULL;
         option++) {
        assert_true(option->help[0] != '\0');
        assert_true((option->value != NULL) == (option->kind != DBK_OPTION_FLAG));
        for (const struct dbk_option *other = of->options; other != option; other++)
            assert_string_not_equal(other->name, option->name);
        for (const struct dbk_option *other = dbk_options_common; other->name != NULL; other++)
            assert_string_not_equal(other->name, option->name);
        count++;
    }
    assert_true(count < DBK_ARGUMENTS_OPTIONS_MAX);
}

static void test_cli_commands__every_command_is_described(void **state)
{
    (void)state;
    const struct dbk_cli_command *of = NULL;
    for (size_t i = 0; (of = dbk_cli_command(i)) != NULL; i++) {
        assert_true(i < DBK_CLI_COMMANDS_MAX);
        assert_non_null(of->run);
        assert_true(of->summary[0] != '\0');
        assert_non_null(of->positional);
        assert_non_null(of->details);
        assert_non_null(of->examples[0]);
        for (size_t e = 0; of->examples[e] != NULL; e++) {
            assert_memory_equal(of->examples[e], "daybook ", 8);
            assert_memory_equal(of->examples[e] + 8, of->name, strlen(of->name));
        }
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(of->name, dbk_cli_command(j)->name);
        check_options(of);
    }
}

static void test_cli_commands__one_or_two_words_name_one(void **state)
{
    (void)state;
    int words = 0;
    assert_string_equal(dbk_cli_find(1, WORDS("read"), &words)->name, "read");
    assert_int_equal(words, 1);
    assert_string_equal(dbk_cli_find(2, WORDS("model", "ls"), &words)->name, "model ls");
    assert_int_equal(words, 2);
    assert_null(dbk_cli_find(1, WORDS("model"), &words));
    assert_null(dbk_cli_find(2, WORDS("model", "l"), &words));
    assert_null(dbk_cli_find(1, WORDS("rea"), &words));
    assert_null(dbk_cli_find(0, WORDS("read"), &words));
    assert_true(dbk_cli_group("model"));
    assert_true(dbk_cli_group("bench"));
    assert_false(dbk_cli_group("read"));
    assert_false(dbk_cli_group("mode"));
    assert_string_equal(dbk_cli_closest(NULL, "improt"), "import");
    assert_string_equal(dbk_cli_closest(NULL, "veiw"), "view");
    assert_string_equal(dbk_cli_closest(NULL, "gruop"), "group");
    assert_string_equal(dbk_cli_closest("group", "sohw"), "show");
    assert_null(dbk_cli_closest(NULL, "xyzzy"));
    assert_null(dbk_cli_closest("view", "parked"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_commands__every_command_is_described),
        cmocka_unit_test(test_cli_commands__one_or_two_words_name_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
