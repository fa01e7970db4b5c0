/* SPDX-License-Identifier: Apache-2.0 */
/*
 * call_test -- names and values arrive in a request's path and query as they were given.
 */
#include "test.h"

#include "cli/call.h"

static void test_cli_call__every_byte_is_encoded_or_harmless(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    for (int byte = 1; byte < 256; byte++) {
        struct dbk_call call;
        char text = (char)byte;
        dbk_call_init(&call, "GET", "/streams/");
        dbk_call_path(&call, dbk_slice(&text, 1));
        assert_ok(dbk_call_check(&call, &err), &err);
        struct dbk_slice path = dbk_buf_slice(&call.path);
        bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                     (byte >= '0' && byte <= '9') || byte == '-' || byte == '.' || byte == '_' ||
                     byte == '~';
        assert_int_equal(path.size, plain ? 10 : 12);
        if (plain) {
            assert_int_equal(path.data[9], text);
        } else {
            char expected[16];
            (void)snprintf(expected, sizeof(expected), "/streams/%%%02X", byte);
            assert_slice_equal(path, expected);
        }
        dbk_call_release(&call);
    }
}

static void test_cli_call__query_values_are_parted(void **state)
{
    (void)state;
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/events");
    dbk_call_query(&call, "type", dbk_slice_of("A&B=C"));
    dbk_call_query(&call, "name", dbk_slice_of("\xc3\xa4 1+1"));
    assert_slice_equal(dbk_buf_slice(&call.query), "type=A%26B%3DC&name=%C3%A4%201%2B1");
    dbk_call_release(&call);
}

static void test_cli_call__a_header_cannot_carry_another(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_call call;
    dbk_call_init(&call, "POST", "/commands/X");
    dbk_call_header(&call, "Idempotency-Key", "a\r\nHost: evil");
    assert_int_equal(dbk_call_check(&call, &err), DBK_EINVAL);
    assert_string_equal(err.message, "Idempotency-Key has a control character");
    dbk_call_release(&call);
}

static void test_cli_call__an_empty_name_is_no_path(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_call call;
    dbk_call_init(&call, "PUT", "/groups/");
    dbk_call_path(&call, dbk_slice_of(""));
    assert_int_equal(dbk_call_check(&call, &err), DBK_EINVAL);
    assert_string_equal(err.message, "a name on the command line is empty");
    dbk_call_release(&call);
}

static void test_cli_call__json_is_one_value(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_call call;
    dbk_call_init(&call, "PUT", "/groups/a");
    assert_ok(dbk_call_json(&call, "--query", "[{\"types\":[\"A\"]}]", &err), &err);
    assert_slice_equal(dbk_buf_slice(&call.body), "[{\"types\":[\"A\"]}]");
    assert_int_equal(dbk_call_json(&call, "--query", "[],\"window\":5", &err), DBK_EINVAL);
    assert_memory_equal(err.message, "--query: line 1, column 3: ", 27);
    assert_slice_equal(dbk_buf_slice(&call.body), "[{\"types\":[\"A\"]}]");
    dbk_call_release(&call);
}

static void test_cli_call__only_a_flag_is_true(void **state)
{
    (void)state;
    static const struct dbk_option options[] = {{"removed", 0, DBK_OPTION_FLAG, NULL, "a flag"},
                                                {"type", 0, DBK_OPTION_TEXT, "NAME", "a text"},
                                                {0}};
    static const struct dbk_cli_command command = {.name = "x", .options = options};
    struct dbk_arguments arguments;
    struct dbk_error err = {0};
    struct dbk_call call;
    const char *const words[] = {"--removed", "--type", ""};
    assert_ok(dbk_arguments_parse(&command, 3, words, &arguments, &err), &err);
    dbk_call_init(&call, "GET", "/events");
    dbk_call_option(&call, &arguments, "removed", "removed");
    dbk_call_option(&call, &arguments, "type", "type");
    assert_slice_equal(dbk_buf_slice(&call.query), "removed=true&type=");
    dbk_call_release(&call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_call__every_byte_is_encoded_or_harmless),
        cmocka_unit_test(test_cli_call__query_values_are_parted),
        cmocka_unit_test(test_cli_call__a_header_cannot_carry_another),
        cmocka_unit_test(test_cli_call__an_empty_name_is_no_path),
        cmocka_unit_test(test_cli_call__json_is_one_value),
        cmocka_unit_test(test_cli_call__only_a_flag_is_true),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
