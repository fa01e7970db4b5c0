/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes_test -- integers are little-endian on disk whatever their alignment, and come back whole.
 */
#include "test.h"

#include <string.h>

#include "base/bytes.h"

#define ALIGNMENTS 16

/* Byte i of a value, as the format says it: the lowest first. */
static void assert_little_endian(const uint8_t *at, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        assert_int_equal(at[i], value >> (8 * i) & 0xFF);
}

static void test_base_bytes__lowest_byte_comes_first_at_any_alignment(void **state)
{
    (void)state;
    const uint64_t value = UINT64_C(0xF1E2D3C4B5A69788);
    for (unsigned offset = 0; offset < ALIGNMENTS; offset++) {
        uint8_t bytes[ALIGNMENTS + 8];
        uint8_t *at = bytes + offset;
        dbk_put_u16(at, (uint16_t)value);
        assert_little_endian(at, value, 2);
        assert_int_equal(dbk_get_u16(at), (uint16_t)value);
        dbk_put_u32(at, (uint32_t)value);
        assert_little_endian(at, value, 4);
        assert_int_equal(dbk_get_u32(at), (uint32_t)value);
        dbk_put_u64(at, value);
        assert_little_endian(at, value, 8);
        assert_true(dbk_get_u64(at) == value);
        dbk_put_i64(at, (int64_t)value);
        assert_little_endian(at, value, 8);
        assert_true(dbk_get_i64(at) == (int64_t)value);
    }
}

static void test_base_bytes__nothing_beside_them_is_touched(void **state)
{
    (void)state;
    for (unsigned size = 2; size <= 8; size *= 2) {
        uint8_t bytes[10];
        memset(bytes, 0x55, sizeof(bytes));
        if (size == 2)
            dbk_put_u16(bytes + 1, 0);
        else if (size == 4)
            dbk_put_u32(bytes + 1, 0);
        else
            dbk_put_u64(bytes + 1, 0);
        for (unsigned i = 0; i < sizeof(bytes); i++)
            assert_int_equal(bytes[i], i >= 1 && i <= size ? 0 : 0x55);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_bytes__lowest_byte_comes_first_at_any_alignment),
        cmocka_unit_test(test_base_bytes__nothing_beside_them_is_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
