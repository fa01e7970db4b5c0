/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_names_test -- each name is counted once, however often and in whatever order it comes.
 */
#include "test.h"

#include "cli/import_names.h"

static void test_cli_import_names__each_counts_once(void **state)
{
    (void)state;
    struct dbk_import_names names = {0};
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 50000; i++) {
            char name[32];
            int size = snprintf(name, sizeof(name), "order-%d", (i * 7919) % 50000);
            assert_int_equal(dbk_import_names_add(&names, dbk_slice(name, (size_t)size)), DBK_OK);
        }
        assert_int_equal(names.count, 50000);
    }
    dbk_import_names_release(&names);
    dbk_import_names_release(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_import_names__each_counts_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
