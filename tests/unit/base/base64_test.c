/* SPDX-License-Identifier: Apache-2.0 */
/* base64_test -- the RFC's vectors, every size both ways, and every wrong character. */
#include "test.h"

#include "base/base64.h"

static void encoded(struct dbk_slice bytes, struct dbk_buf *out)
{
    dbk_buf_init(out, 4096);
    dbk_base64_encode(bytes, out);
    assert_int_equal(out->rc, DBK_OK);
}

static void test_base_base64__the_documented_texts(void **state)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct dbk_buf out;
        encoded(dbk_slice_of(pairs[i][0]), &out);
        assert_slice_equal(dbk_buf_slice(&out), pairs[i][1]);
        dbk_buf_release(&out);
    }
}

static void test_base_base64__comes_back_and_nothing_else_does(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 20; size++) {
        char bytes[20];
        char back[64];
        size_t back_size = 0;
        struct dbk_buf out;
        for (size_t i = 0; i < size; i++)
            bytes[i] = (char)(i * 37 + size * 11);
        encoded(dbk_slice(bytes, size), &out);
        assert_true(dbk_base64_decode(dbk_buf_slice(&out), back, &back_size));
        assert_int_equal(back_size, size);
        assert_memory_equal(back, bytes, size);
        /* Whatever another character makes of it, it is never read as the same bytes. */
        for (size_t at = 0; at < out.size; at++) {
            char right = out.data[at];
            for (int c = 0; c < 256; c++) {
                out.data[at] = (char)c;
                if ((char)c != right && dbk_base64_decode(dbk_buf_slice(&out), back, &back_size))
                    assert_true(back_size != size || memcmp(back, bytes, size) != 0);
            }
            out.data[at] = right;
        }
        for (size_t cut = 1; cut < 4 && cut < out.size; cut++)
            assert_false(dbk_base64_decode(dbk_slice(out.data, out.size - cut), back, &back_size));
        dbk_buf_release(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_base64__the_documented_texts),
        cmocka_unit_test(test_base_base64__comes_back_and_nothing_else_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
