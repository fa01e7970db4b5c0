/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_test -- a captured row's stream is named by its key, and two keys never share one.
 */
#include "test.h"

#include "capture/capture.h"

static void assert_stream(const struct dbk_slice *key, size_t count, const char *expected)
{
    struct dbk_buf out;
    dbk_buf_init(&out, 1 << 12);
    dbk_capture_put_stream(dbk_slice_of("users"), dbk_slice_of("people"), key, count, &out);
    assert_int_equal(out.rc, DBK_OK);
    assert_slice_equal(dbk_buf_slice(&out), expected);
    dbk_buf_release(&out);
}

static void test_capture_stream__a_key_is_joined_and_its_marks_are_encoded(void **state)
{
    (void)state;
    const struct dbk_slice one[] = {DBK_SLICE_LITERAL("7")};
    const struct dbk_slice two[] = {DBK_SLICE_LITERAL("a,b"), DBK_SLICE_LITERAL("50%")};
    const struct dbk_slice other[] = {DBK_SLICE_LITERAL("a"), DBK_SLICE_LITERAL("b,50%")};
    const struct dbk_slice odd[] = {DBK_SLICE_LITERAL("x\ny-z"), DBK_SLICE_LITERAL("")};
    assert_stream(one, 1, "users.people-7");
    assert_stream(two, 2, "users.people-a%2Cb,50%25");
    assert_stream(other, 2, "users.people-a,b%2C50%25");
    assert_stream(odd, 2, "users.people-x%0Ay-z,");
}

static void test_capture_stream__a_table_is_found_by_its_name(void **state)
{
    (void)state;
    struct dbk_capture_table tables[] = {{.name = "people"}, {.name = "people2"}};
    const struct dbk_capture_service service = {
        .name = "users", .tables = tables, .table_count = 2};
    assert_ptr_equal(dbk_capture_table(&service, dbk_slice_of("people")), &tables[0]);
    assert_ptr_equal(dbk_capture_table(&service, dbk_slice_of("people2")), &tables[1]);
    assert_null(dbk_capture_table(&service, dbk_slice_of("peopl")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capture_stream__a_key_is_joined_and_its_marks_are_encoded),
        cmocka_unit_test(test_capture_stream__a_table_is_found_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
