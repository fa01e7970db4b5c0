/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_test -- running out of memory while a model is checked is no fault of its files.
 */
#include "test.h"

#include <stdlib.h>

#include "model/model.h"

static long allocations;
static long allocation_fails; /* which one; 0: none */

static bool refuses(void)
{
    return ++allocations == allocation_fails;
}

static void *allocate(size_t size)
{
    return refuses() ? NULL : malloc(size);
}

static void *reallocate(void *memory, size_t size)
{
    return refuses() ? NULL : realloc(memory, size);
}

static int check(struct dbk_diagnostics *faults)
{
    static const struct dbk_slice category = {.data = "account", .size = 7};
    const struct dbk_handler handler = {
        .file = "handlers.sql",
        .line = 1,
        .type = DBK_SLICE_LITERAL("Deposited"),
        .sql = DBK_SLICE_LITERAL("UPDATE balances SET balance = balance + :amount")};
    const struct dbk_model_definition definition = {
        .name = "balances",
        .database = "reading",
        .database_path = "reading.db",
        .categories = &category,
        .category_count = 1,
        .schema_file = "schema.sql",
        .schema = DBK_SLICE_LITERAL("CREATE TABLE balances (account TEXT, balance INTEGER);"),
        .handlers = &handler,
        .handler_count = 1};
    struct dbk_error err = {0};
    return dbk_model_check(&definition, faults, &err);
}

static void test_model_check__out_of_memory_is_no_fault(void **state)
{
    (void)state;
    struct dbk_diagnostics faults;
    dbk_diagnostics_init(&faults);
    assert_int_equal(check(&faults), DBK_OK);
    allocations = 0;
    assert_int_equal(check(&faults), DBK_OK);
    long count = allocations;
    assert_true(count > 5);
    for (long at = 1; at <= count; at++) {
        allocations = 0;
        allocation_fails = at;
        int rc = check(&faults);
        allocation_fails = 0;
        if (rc != DBK_ENOMEM || faults.count > 0)
            fail_msg("allocation %ld of %ld: %d, %zu faults", at, count, rc, faults.count);
    }
    dbk_diagnostics_release(&faults);
}

int main(void)
{
    const struct dbk_allocator allocator = {
        .allocate = allocate, .reallocate = reallocate, .release = free};
    dbk_set_allocator(&allocator);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_check__out_of_memory_is_no_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
