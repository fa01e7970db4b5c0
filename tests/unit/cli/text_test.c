/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text_test -- widths are those a terminal shows, cuts fall between characters, and nothing a
 * terminal would obey gets through.
 */
#include "test.h"

#include "cli/text.h"

static void test_cli_text__widths_are_the_terminals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t width;
    } cases[] = {{"", 0},
                 {"abc", 3},
                 {"\xc3\xa4\xc3\xb6", 2},         /* two umlauts */
                 {"e\xcc\x81", 1},                /* e and a combining acute */
                 {"\xe6\x97\xa5\xe6\x9c\xac", 4}, /* two ideographs */
                 {"\xf0\x9f\x98\x80", 2},         /* an emoji */
                 {"\xff\xfe", 2},                 /* no UTF-8 */
                 {"a\xe6\x97", 3}};               /* a character that is cut off */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(dbk_text_width(dbk_slice_of(cases[i].text)), cases[i].width);
}

static void test_cli_text__cuts_keep_characters_whole(void **state)
{
    (void)state;
    struct dbk_slice text = dbk_slice_of("a\xc3\xa4\xe6\x97\xa5z");
    static const size_t sizes[] = {0, 1, 3, 3, 6, 7, 7};
    for (size_t width = 0; width < sizeof(sizes) / sizeof(sizes[0]); width++) {
        struct dbk_slice cut = dbk_text_cut(text, width);
        assert_int_equal(cut.size, sizes[width]);
        assert_true(dbk_slice_is_utf8(cut));
        assert_true(dbk_text_width(cut) <= width);
    }
}

static void test_cli_text__no_control_character_gets_through(void **state)
{
    (void)state;
    struct dbk_buf out;
    dbk_buf_init(&out, 1 << 16);
    dbk_text_write_visible(&out, DBK_SLICE_LITERAL("a\n\t\r\x1b[2J\x7f\0z\xc2\x9b\xc3\xa4"));
    assert_slice_equal(dbk_buf_slice(&out), "a\\n\\t\\r\\x1b[2J\\x7f\\x00z\\x9b\xc3\xa4");
    dbk_buf_reset(&out);
    for (int byte = 0; byte < 256; byte++)
        dbk_text_write_visible(&out, dbk_slice(&(char){(char)byte}, 1));
    for (size_t i = 0; i < out.size; i++)
        assert_true((unsigned char)out.data[i] >= 0x20 && out.data[i] != 0x7f);
    dbk_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_text__widths_are_the_terminals),
        cmocka_unit_test(test_cli_text__cuts_keep_characters_whole),
        cmocka_unit_test(test_cli_text__no_control_character_gets_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
