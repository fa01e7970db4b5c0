/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error_test -- an error's code goes through, its message is whole or cut at a character, and the
 * list of codes has no gaps, doubles or blanks.
 */
#include "test.h"

#include <errno.h>
#include <string.h>

static void test_base_error__code_goes_through_with_and_without_a_struct(void **state)
{
    (void)state;
    struct dbk_error err = {.os_errno = 7};
    assert_int_equal(dbk_error_set(NULL, DBK_EBUSY, "%s", "x"), DBK_EBUSY);
    assert_int_equal(dbk_error_set(&err, DBK_EBUSY, "held by %d", 12), DBK_EBUSY);
    assert_int_equal(err.code, DBK_EBUSY);
    assert_int_equal(err.os_errno, 0);
    assert_string_equal(err.message, "held by 12");
}

static void test_base_error__a_message_may_be_made_of_the_one_before(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    assert_int_equal(dbk_error_set(&err, DBK_EIO, "inner"), DBK_EIO);
    assert_int_equal(dbk_error_set(&err, DBK_EBOOK, "outer: %s", err.message), DBK_EBOOK);
    assert_string_equal(err.message, "outer: inner");
}

/* A message of every size around the limit, ended by characters of 1 to 4 bytes. */
static void test_base_error__a_long_message_is_cut_at_a_character(void **state)
{
    (void)state;
    static const char *const characters[] = {"x", "é", "€", "😀"};
    for (size_t i = 0; i < 4; i++) {
        for (size_t size = DBK_ERROR_MESSAGE_SIZE - 12; size < DBK_ERROR_MESSAGE_SIZE + 4; size++) {
            char text[DBK_ERROR_MESSAGE_SIZE + 16];
            struct dbk_error err = {0};
            size_t left = size - strlen(characters[i]);
            memset(text, 'a', left);
            (void)snprintf(text + left, sizeof(text) - left, "%s", characters[i]);
            assert_int_equal(dbk_error_set(&err, DBK_EINVAL, "%s", text), DBK_EINVAL);
            assert_true(dbk_slice_is_utf8(dbk_slice_of(err.message)));
            assert_memory_equal(err.message, text, strlen(err.message));
            if (size < DBK_ERROR_MESSAGE_SIZE)
                assert_string_equal(err.message, text);
            else
                assert_true(strlen(err.message) >= DBK_ERROR_MESSAGE_SIZE - 5);
        }
    }
}

static void test_base_error__system_errors_get_the_code_to_act_on(void **state)
{
    (void)state;
    static const int cases[][2] = {
        {ENOSPC, DBK_EFULL},     {EDQUOT, DBK_EFULL},   {ENOMEM, DBK_ENOMEM},
        {ENOENT, DBK_ENOTFOUND}, {EACCES, DBK_EDENIED}, {EPERM, DBK_EDENIED},
        {EROFS, DBK_EDENIED},    {EIO, DBK_EIO},        {EMFILE, DBK_EIO},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_error err = {0};
        char expected[256];
        (void)snprintf(expected, sizeof(expected), "open x: %s", strerror(cases[i][0]));
        assert_int_equal(dbk_error_set_errno(&err, cases[i][0], "open %s", "x"), cases[i][1]);
        assert_int_equal(dbk_error_set_errno(NULL, cases[i][0], "open"), cases[i][1]);
        assert_int_equal(err.code, cases[i][1]);
        assert_int_equal(err.os_errno, cases[i][0]);
        assert_string_equal(err.message, expected);
    }
}

static void test_base_error__codes_are_a_closed_list_without_gaps(void **state)
{
    (void)state;
    static const int codes[] = {
#define CODE(name, value, wire, text) DBK_##name,
        DBK_CODES(CODE)
#undef CODE
    };
    size_t count = sizeof(codes) / sizeof(codes[0]);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(codes[i], -(int)i - 1);
        assert_true(strlen(dbk_code_text(codes[i])) > 0);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(dbk_code_name(codes[i]), dbk_code_name(codes[j]));
            assert_string_not_equal(dbk_code_text(codes[i]), dbk_code_text(codes[j]));
        }
    }
    assert_string_equal(dbk_code_name(DBK_OK), "ok");
    assert_string_equal(dbk_code_text(DBK_OK), "ok");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_error__code_goes_through_with_and_without_a_struct),
        cmocka_unit_test(test_base_error__a_message_may_be_made_of_the_one_before),
        cmocka_unit_test(test_base_error__a_long_message_is_cut_at_a_character),
        cmocka_unit_test(test_base_error__system_errors_get_the_code_to_act_on),
        cmocka_unit_test(test_base_error__codes_are_a_closed_list_without_gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
