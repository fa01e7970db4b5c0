/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uuid_test -- an id is the one RFC 9562 gives, its text is read back as the same id, and no other
 * text is read.
 */
#include "test.h"

#include <ctype.h>
#include <string.h>

#include "base/uuid.h"

static void test_base_uuid__version_7_is_the_rfc_s(void **state)
{
    (void)state;
    /* RFC 9562, appendix A.6. */
    static const uint8_t random[10] = {0x0C, 0xC3, 0x18, 0xC4, 0xDC, 0x0C, 0x0C, 0x07, 0x39, 0x8F};
    char text[DBK_UUID_TEXT_SIZE];
    struct dbk_uuid uuid = dbk_uuid_v7(INT64_C(1645557742000999), random);
    dbk_uuid_format(&uuid, text);
    assert_string_equal(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

static void test_base_uuid__version_7_sorts_by_its_millisecond(void **state)
{
    (void)state;
    static const uint8_t high[10] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    static const uint8_t low[10] = {0};
    for (int64_t time_ms = 1; time_ms < INT64_C(1) << 46; time_ms = time_ms * 3 + 1) {
        struct dbk_uuid before = dbk_uuid_v7(time_ms * 1000, high);
        struct dbk_uuid after = dbk_uuid_v7((time_ms + 1) * 1000, low);
        assert_true(memcmp(before.bytes, after.bytes, DBK_UUID_SIZE) < 0);
    }
}

static void test_base_uuid__every_random_bit_is_kept_but_the_six_that_mark(void **state)
{
    (void)state;
    unsigned seen = 0;
    const struct dbk_uuid zero = dbk_uuid_v7(0, (const uint8_t[10]){0});
    for (unsigned bit = 0; bit < 80; bit++) {
        uint8_t random[10] = {0};
        random[bit / 8] = (uint8_t)(1 << bit % 8);
        struct dbk_uuid uuid = dbk_uuid_v7(0, random);
        seen += dbk_uuid_equal(&uuid, &zero) ? 0 : 1;
    }
    assert_int_equal(seen, 74);
}

static void test_base_uuid__derived_ids_depend_on_parts_and_their_borders(void **state)
{
    (void)state;
    struct dbk_slice one[] = {DBK_SLICE_LITERAL("a"), DBK_SLICE_LITERAL("bc")};
    struct dbk_slice other[] = {DBK_SLICE_LITERAL("ab"), DBK_SLICE_LITERAL("c")};
    struct dbk_uuid id = dbk_uuid_derive(one, 2);
    struct dbk_uuid same = dbk_uuid_derive(one, 2);
    struct dbk_uuid moved = dbk_uuid_derive(other, 2);
    struct dbk_uuid shorter = dbk_uuid_derive(one, 1);
    assert_true(dbk_uuid_equal(&id, &same));
    assert_false(dbk_uuid_equal(&id, &moved));
    assert_false(dbk_uuid_equal(&id, &shorter));
    assert_int_equal(id.bytes[6] >> 4, 8);
    assert_int_equal(id.bytes[8] >> 6, 2);
    /* Stored ids rest on it: SHA-256 of u64 1, "a", u64 2, "bc", with version and variant set. */
    char text[DBK_UUID_TEXT_SIZE];
    dbk_uuid_format(&id, text);
    assert_string_equal(text, "9a8acca1-b6c6-80be-bd3f-bc756aed625d");
}

static void test_base_uuid__text_comes_back_in_either_case(void **state)
{
    (void)state;
    struct dbk_uuid uuid = {.bytes = {0}};
    for (unsigned byte = 0; byte < DBK_UUID_SIZE; byte++) {
        for (unsigned value = 0; value < 256; value++) {
            char text[DBK_UUID_TEXT_SIZE];
            struct dbk_uuid back = {.bytes = {1}};
            uuid.bytes[byte] = (uint8_t)value;
            dbk_uuid_format(&uuid, text);
            assert_int_equal(strlen(text), DBK_UUID_TEXT_SIZE - 1);
            assert_true(dbk_uuid_parse(dbk_slice_of(text), &back));
            assert_true(dbk_uuid_equal(&uuid, &back));
            for (char *at = text; *at != '\0'; at++)
                *at = (char)toupper((unsigned char)*at);
            assert_true(dbk_uuid_parse(dbk_slice_of(text), &back));
            assert_true(dbk_uuid_equal(&uuid, &back));
        }
    }
}

/* Every byte of a good text replaced by every other. */
static void test_base_uuid__no_other_text_is_read(void **state)
{
    (void)state;
    static const char good[] = "0189dcd5-5311-7d40-8db0-9496a2eef37b";
    for (size_t i = 0; i < sizeof(good) - 1; i++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[sizeof(good)];
            struct dbk_uuid uuid = {.bytes = {0}};
            bool dash = i == 8 || i == 13 || i == 18 || i == 23;
            memcpy(text, good, sizeof(good));
            text[i] = (char)byte;
            assert_int_equal(dbk_uuid_parse(dbk_slice(text, sizeof(good) - 1), &uuid),
                             dash ? byte == '-' : byte < 128 && isxdigit(byte) != 0);
        }
    }
    for (size_t size = 0; size < sizeof(good) + 1; size++) {
        struct dbk_uuid uuid = {.bytes = {0}};
        char text[sizeof(good) + 1] = "0189dcd5-5311-7d40-8db0-9496a2eef37b0";
        assert_int_equal(dbk_uuid_parse(dbk_slice(text, size), &uuid), size == sizeof(good) - 1);
        assert_int_equal(dbk_uuid_is_none(&uuid), size != sizeof(good) - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_uuid__version_7_is_the_rfc_s),
        cmocka_unit_test(test_base_uuid__version_7_sorts_by_its_millisecond),
        cmocka_unit_test(test_base_uuid__every_random_bit_is_kept_but_the_six_that_mark),
        cmocka_unit_test(test_base_uuid__derived_ids_depend_on_parts_and_their_borders),
        cmocka_unit_test(test_base_uuid__text_comes_back_in_either_case),
        cmocka_unit_test(test_base_uuid__no_other_text_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
