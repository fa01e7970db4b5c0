/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_test -- what takes a personal field says how it is forgotten, and running out of memory
 * while a model is checked is no fault of its files.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

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

/* A handler's SQL, an event type's personal field, and whether the one takes the other. */
static const struct {
    const char *sql;
    const char *field;
    unsigned column; /* of the fault; 0: none */
} takes[] = {
    {"INSERT INTO t VALUES (:name)", "name", 23},
    {"INSERT INTO t VALUES (:names)", "name", 0},
    {"INSERT INTO t VALUES (:address)", "address.street", 23},
    {"INSERT INTO t VALUES (:address.street)", "address", 23},
    {"INSERT INTO t VALUES (:address.city)", "address.street", 0},
    {"INSERT INTO t VALUES (:lines)", "lines[].note", 23},
    {"INSERT INTO t VALUES (:lines.note)", "lines[].note", 23},
    {"INSERT INTO t VALUES (:lines)", "lines[]", 23},
    {"INSERT INTO t VALUES (:grid.x)", "grid[][].x", 23},
    {"INSERT INTO t VALUES (:_data)", "name", 23},
    {"INSERT INTO t VALUES (:_stream || :_meta)", "name", 0},
    {"INSERT INTO t VALUES (':name') -- :name", "name", 0},
    {"INSERT INTO t VALUES (:other); INSERT INTO t VALUES (:a.b.c)", "a.b", 54},
};

static int check_takes(size_t at, enum dbk_model_personal personal, const char *type,
                       const char *purge, struct dbk_diagnostics *faults)
{
    struct dbk_slice category = DBK_SLICE_LITERAL("account");
    const struct dbk_handler handler = {.file = "handlers.sql",
                                        .line = 7,
                                        .type = DBK_SLICE_LITERAL("Opened"),
                                        .sql = dbk_slice_of(takes[at].sql)};
    const struct dbk_personal_field field = {dbk_slice_of(type), dbk_slice_of(takes[at].field)};
    const struct dbk_model_definition definition = {.name = "m",
                                                    .database = "reading",
                                                    .database_path = "reading.db",
                                                    .categories = &category,
                                                    .category_count = 1,
                                                    .schema_file = "schema.sql",
                                                    .schema =
                                                        DBK_SLICE_LITERAL("CREATE TABLE t (a);"),
                                                    .handlers = &handler,
                                                    .handler_count = 1,
                                                    .personal = personal,
                                                    .purge_file = "purge.sql",
                                                    .purge = dbk_slice_of(purge),
                                                    .personal_fields = &field,
                                                    .personal_field_count = 1};
    struct dbk_error err = {0};
    return dbk_model_check(&definition, faults, &err);
}

static void test_model_check__names_a_personal_field_that_nothing_is_said_of(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(takes) / sizeof(takes[0]); i++) {
        struct dbk_diagnostics faults;
        dbk_diagnostics_init(&faults);
        assert_int_equal(check_takes(i, DBK_PERSONAL_NONE, "Opened", "", &faults), DBK_OK);
        assert_int_equal(faults.count, takes[i].column != 0);
        if (faults.count > 0) {
            assert_string_equal(faults.items[0].file, "handlers.sql");
            assert_int_equal(faults.items[0].line, 7);
            assert_int_equal(faults.items[0].column, takes[i].column);
            assert_non_null(strstr(faults.items[0].what, takes[i].field));
            assert_non_null(strstr(faults.items[0].fix, "personal: rebuild"));
        }
        dbk_diagnostics_release(&faults);
        dbk_diagnostics_init(&faults);
        assert_int_equal(check_takes(i, DBK_PERSONAL_REBUILD, "Opened", "", &faults), DBK_OK);
        assert_int_equal(check_takes(i, DBK_PERSONAL_NONE, "Closed", "", &faults), DBK_OK);
        assert_int_equal(faults.count, 0);
        dbk_diagnostics_release(&faults);
    }
}

static void test_model_check__statements_that_forget_are_prepared(void **state)
{
    static const struct {
        const char *sql;
        unsigned line;
        unsigned column;
    } cases[] = {
        {"DELETE FROM t WHERE a = :_subject;\nUPDATE t SET a = NULL WHERE a = :_stream", 0, 0},
        {"DELETE FROM t WHERE a = :name", 1, 1},
        {"DELETE FROM t;\nDELETE FROM missing", 2, 1},
        {"DROP TABLE t", 1, 1},
        {" -- nothing", 1, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_diagnostics faults;
        dbk_diagnostics_init(&faults);
        assert_int_equal(check_takes(0, DBK_PERSONAL_PURGE, "Opened", cases[i].sql, &faults),
                         DBK_OK);
        assert_int_equal(faults.count, cases[i].line != 0);
        if (faults.count > 0) {
            assert_string_equal(faults.items[0].file, "purge.sql");
            assert_int_equal(faults.items[0].line, cases[i].line);
            assert_int_equal(faults.items[0].column, cases[i].column);
        }
        dbk_diagnostics_release(&faults);
    }
}

int main(void)
{
    const struct dbk_allocator allocator = {
        .allocate = allocate, .reallocate = reallocate, .release = free};
    dbk_set_allocator(&allocator);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_check__out_of_memory_is_no_fault),
        cmocka_unit_test(test_model_check__names_a_personal_field_that_nothing_is_said_of),
        cmocka_unit_test(test_model_check__statements_that_forget_are_prepared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
