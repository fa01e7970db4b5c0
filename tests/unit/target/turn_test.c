/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn_test -- one writer of a file at a time asks for its lock, and nobody waits for ever.
 */
#include <pthread.h>

#include "test.h"

#include "target/turn.h"

static void test_target_turn__those_of_one_file_share_it(void **state)
{
    (void)state;
    struct dbk_turn_queue *one = dbk_turn_queue_ref("a.db");
    struct dbk_turn_queue *other = dbk_turn_queue_ref("b.db");
    assert_ptr_equal(dbk_turn_queue_ref("a.db"), one);
    assert_ptr_not_equal(one, other);
    assert_true(dbk_turn_take(one, 0));
    assert_true(dbk_turn_take(other, 0));
    dbk_turn_give(other);
    dbk_turn_queue_unref(other);
    dbk_turn_queue_unref(one);
    /* It is there as long as one of them has it, and taken. */
    assert_false(dbk_turn_take(one, 20));
    dbk_turn_give(one);
    assert_true(dbk_turn_take(one, 0));
    dbk_turn_give(one);
    dbk_turn_queue_unref(one);
    dbk_turn_queue_unref(NULL);
}

static void *wait_turn(void *context)
{
    bool mine = dbk_turn_take(context, 900);
    if (mine)
        dbk_turn_give(context);
    return mine ? context : NULL;
}

static void test_target_turn__who_waits_gets_it(void **state)
{
    (void)state;
    struct dbk_turn_queue *queue = dbk_turn_queue_ref("a.db");
    pthread_t threads[4];
    assert_true(dbk_turn_take(queue, 0));
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_turn, queue), 0);
    /* Less than a second is waited for, too. */
    assert_false(dbk_turn_take(queue, 100));
    dbk_turn_give(queue);
    for (size_t i = 0; i < 4; i++) {
        void *mine = NULL;
        assert_int_equal(pthread_join(threads[i], &mine), 0);
        assert_ptr_equal(mine, queue);
    }
    dbk_turn_queue_unref(queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_turn__those_of_one_file_share_it),
        cmocka_unit_test(test_target_turn__who_waits_gets_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
