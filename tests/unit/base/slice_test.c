/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slice_test -- comparing, UTF-8 and integers, each against another way of saying the same.
 */
#include "test.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All slices of up to three bytes out of three values, the empty one with and without a pointer. */
static void test_base_slice__order_is_that_of_bytes_then_of_size(void **state)
{
    (void)state;
    static const char alphabet[] = {'\0', 'a', '\xFF'};
    char texts[40][4];
    size_t sizes[40];
    size_t count = 0;
    for (size_t size = 0, of_size = 1; size <= 3; size++, of_size *= 3) {
        for (size_t n = 0; n < of_size; n++, count++) {
            memset(texts[count], 0, sizeof(texts[count]));
            sizes[count] = size;
            for (size_t i = 0, rest = n; i < size; i++, rest /= 3)
                texts[count][i] = alphabet[rest % 3];
        }
    }
    assert_int_equal(count, 40);
    for (size_t a = 0; a < count; a++) {
        for (size_t b = 0; b < count; b++) {
            struct dbk_slice left = dbk_slice(sizes[a] == 0 ? NULL : texts[a], sizes[a]);
            struct dbk_slice right = dbk_slice(texts[b], sizes[b]);
            int order = 0;
            for (size_t i = 0; order == 0 && i < sizes[a] && i < sizes[b]; i++)
                order = (unsigned char)texts[a][i] - (unsigned char)texts[b][i];
            if (order == 0)
                order = (int)sizes[a] - (int)sizes[b];
            int found = dbk_slice_compare(left, right);
            assert_int_equal((found > 0) - (found < 0), (order > 0) - (order < 0));
            assert_int_equal(dbk_slice_equal(left, right), order == 0);
            assert_int_equal(dbk_slice_starts_with(left, right),
                             sizes[a] >= sizes[b] &&
                                 (sizes[b] == 0 || memcmp(texts[a], texts[b], sizes[b]) == 0));
        }
    }
}

/* By arithmetic: the value is worked out, then looked at. */
static bool is_character(const uint8_t *text, size_t size)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t wanted = text[0] < 0x80 ? 1 : text[0] >> 5 == 6 ? 2 : text[0] >> 4 == 14 ? 3 : 4;
    if (wanted == 4 && text[0] >> 3 != 30)
        return false;
    if (size != wanted)
        return false;
    uint32_t value = wanted == 1 ? text[0] : text[0] & (0x7Fu >> wanted);
    for (size_t i = 1; i < size; i++) {
        if (text[i] >> 6 != 2)
            return false;
        value = value << 6 | (text[i] & 0x3Fu);
    }
    return value >= smallest[wanted] && value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF);
}

static bool is_utf8(const uint8_t *text, size_t size)
{
    if (size == 0)
        return true;
    for (size_t first = 1; first <= 4 && first <= size; first++) {
        if (is_character(text, first))
            return is_utf8(text + first, size - first);
    }
    return false;
}

static void assert_judged_alike(const uint8_t *text, size_t size)
{
    if (dbk_slice_is_utf8(dbk_slice(text, size)) != is_utf8(text, size))
        fail_msg("%zu bytes %02x %02x %02x %02x", size, text[0], text[1], text[2], text[3]);
}

/* Every text of one and two bytes; of three and four, those at the borders of what leads there. */
static void test_base_slice__utf8_is_what_the_rfc_says(void **state)
{
    (void)state;
    static const uint8_t edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0,
                                    0xC1, 0xC2, 0xDF, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF};
    assert_true(dbk_slice_is_utf8(dbk_slice(NULL, 0)));
    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            uint8_t text[4] = {(uint8_t)a, (uint8_t)b, 0, 0};
            assert_judged_alike(text, 1);
            assert_judged_alike(text, 2);
            for (size_t c = 0; c < sizeof(edges); c++) {
                text[2] = edges[c];
                assert_judged_alike(text, 3);
                for (size_t d = 0; d < sizeof(edges); d++) {
                    text[3] = edges[d];
                    assert_judged_alike(text, 4);
                }
            }
        }
    }
}

static void test_base_slice__integers_are_written_as_libc_does(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits <= 64; bits++) {
        uint64_t power = bits == 64 ? 0 : UINT64_C(1) << bits;
        for (uint64_t i = 0; i < 40; i++) {
            uint64_t values[] = {power + i, power - i, (power + i) * 10, UINT64_MAX / (i + 1)};
            for (size_t j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
                char text[DBK_INTEGER_TEXT_SIZE];
                char expected[DBK_INTEGER_TEXT_SIZE + 1];
                size_t size = dbk_u64_format(values[j], text);
                (void)snprintf(expected, sizeof(expected), "%" PRIu64, values[j]);
                assert_int_equal(size, strlen(expected));
                assert_memory_equal(text, expected, size);
            }
        }
    }
}

static void test_base_slice__every_integer_of_the_range_and_none_beyond(void **state)
{
    (void)state;
    static const char *const texts[] = {"0",
                                        "-0",
                                        "00",
                                        "7",
                                        "-7",
                                        "9223372036854775807",
                                        "9223372036854775808",
                                        "",
                                        "-",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "-9223372036854775808",
                                        "-9223372036854775809",
                                        "--1",
                                        "1a",
                                        "0x1",
                                        "1e3",
                                        "1.0",
                                        "18446744073709551615",
                                        "18446744073709551616",
                                        "99999999999999999999999999999999"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const char *text = texts[i];
        size_t digits = strspn(text + (text[0] == '-'), "0123456789");
        bool plain = digits > 0 && text[(text[0] == '-') + digits] == '\0';
        int64_t signed_value = 42;
        uint64_t value = 42;
        errno = 0;
        int64_t signed_expected = strtoimax(text, NULL, 10);
        bool is_signed = plain && errno == 0;
        errno = 0;
        uint64_t expected = strtoumax(text, NULL, 10);
        bool is_unsigned = plain && errno == 0 && text[0] != '-';
        assert_int_equal(dbk_slice_to_i64(dbk_slice_of(text), &signed_value), is_signed);
        assert_true(signed_value == (is_signed ? signed_expected : 42));
        assert_int_equal(dbk_slice_to_u64(dbk_slice_of(text), &value), is_unsigned);
        assert_true(value == (is_unsigned ? expected : 42));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_slice__order_is_that_of_bytes_then_of_size),
        cmocka_unit_test(test_base_slice__utf8_is_what_the_rfc_says),
        cmocka_unit_test(test_base_slice__integers_are_written_as_libc_does),
        cmocka_unit_test(test_base_slice__every_integer_of_the_range_and_none_beyond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
