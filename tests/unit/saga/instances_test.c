/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is promised: instances are found by their ids and come in the order they are due, whatever
 * is added, changed and removed; a lock has one holder at a time, and its heir before others.
 */
#include "test.h"

#include "saga/instances.h"

#define COUNT 2000

static struct dbk_slice id_of(char room[16], unsigned number)
{
    int size = snprintf(room, 16, "i%u", number);
    return dbk_slice(room, (size_t)size);
}

static void set_due(struct dbk_saga_instances *instances, struct dbk_saga_instance *instance,
                    int64_t due_us)
{
    struct dbk_saga_timer timer = {DBK_SLICE_LITERAL("t"), due_us};
    struct dbk_saga_record record = {
        .status = DBK_SAGA_RUNNING, .timers = &timer, .timer_count = 1};
    assert_int_equal(
        dbk_saga_instance_set(instances, instance, 1, &record, DBK_SLICE_LITERAL("{}")), DBK_OK);
}

static void test_saga_instances__come_in_the_order_they_are_due(void **state)
{
    struct dbk_saga_instances instances = {0};
    char room[16];
    uint32_t dice = 1;
    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        struct dbk_saga_instance *instance = dbk_saga_instance_add(&instances, id_of(room, i));
        assert_non_null(instance);
        dice = dice * 1664525 + 1013904223;
        set_due(&instances, instance, 1 + (dice >> 8));
    }
    for (unsigned i = 0; i < COUNT; i += 3) {
        dice = dice * 1664525 + 1013904223;
        set_due(&instances, dbk_saga_instance_find(&instances, id_of(room, i)), 1 + (dice >> 8));
    }
    for (unsigned i = 1; i < COUNT; i += 5)
        dbk_saga_instance_remove(&instances, dbk_saga_instance_find(&instances, id_of(room, i)));
    assert_null(dbk_saga_instance_find(&instances, id_of(room, 1)));
    assert_non_null(dbk_saga_instance_find(&instances, id_of(room, 2)));
    size_t left = instances.count;
    assert_int_equal(left, COUNT - COUNT / 5);
    int64_t before_us = 0;
    for (; left > 0; left--) {
        struct dbk_saga_instance *first = dbk_saga_instance_first(&instances);
        assert_true(first->due_us >= before_us);
        before_us = first->due_us;
        dbk_saga_instance_remove(&instances, first);
    }
    assert_null(dbk_saga_instance_first(&instances));
    dbk_saga_instances_release(&instances);
}

static void test_saga_instances__a_lock_has_one_holder_and_its_heir_goes_first(void **state)
{
    struct dbk_saga_instances instances = {0};
    const struct dbk_slice key = DBK_SLICE_LITERAL("seat");
    (void)state;
    struct dbk_saga_instance *a = dbk_saga_instance_add(&instances, DBK_SLICE_LITERAL("a"));
    struct dbk_saga_instance *b = dbk_saga_instance_add(&instances, DBK_SLICE_LITERAL("b"));
    assert_true(dbk_saga_lock_take(&instances, a, key));
    assert_true(dbk_saga_lock_take(&instances, a, key)); /* its own */
    assert_false(dbk_saga_lock_take(&instances, b, key));
    struct dbk_saga_lock *lock = dbk_saga_lock_of(&instances, key);
    lock->holder = NULL;
    lock->heir = b;
    assert_false(dbk_saga_lock_take(&instances, a, key));
    assert_true(dbk_saga_lock_take(&instances, b, key));
    assert_ptr_equal(lock->holder, b);
    assert_null(lock->heir);
    /* Locks that nobody holds do not pile up. */
    for (unsigned i = 0; i < 10000; i++) {
        char room[16];
        lock = dbk_saga_lock_of(&instances, id_of(room, i));
        assert_non_null(lock);
    }
    assert_true(instances.lock_count <= 128);
    assert_ptr_equal(dbk_saga_lock_of(&instances, key)->holder, b);
    dbk_saga_instances_release(&instances);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saga_instances__come_in_the_order_they_are_due),
        cmocka_unit_test(test_saga_instances__a_lock_has_one_holder_and_its_heir_goes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
