/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key_test -- the text of an API key: every cut, and every byte of it wrong.
 */
#include "test.h"

#include "access/access.h"

static void test_access_key__is_read_whole_or_not(void **state)
{
    char text[] = "dbk_abcdefghij27_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno-_";
    struct dbk_slice id;
    struct dbk_slice secret;
    (void)state;
    assert_int_equal(sizeof(text), DBK_KEY_TEXT_SIZE);
    assert_true(dbk_key_text_parse(dbk_slice_of(text), &id, &secret));
    assert_true(dbk_slice_equal_text(id, "abcdefghij27"));
    for (size_t size = 0; size < sizeof(text) - 1; size++)
        assert_false(dbk_key_text_parse(dbk_slice(text, size), &id, &secret));
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        char kept = text[i];
        text[i] = i < 17 ? '0' : ' ';
        assert_false(dbk_key_text_parse(dbk_slice_of(text), &id, &secret));
        text[i] = kept;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access_key__is_read_whole_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
