/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trail_test -- what is remembered is exact, and what is not is said to be: against a plain list of
 * all steps, for every position, while far more steps come than fit.
 */
#include "test.h"

#include <stdlib.h>

#include "base/trail.h"

#define STEPS (3 * DBK_TRAIL_STEPS)

static struct dbk_trail trail;
static struct dbk_trail_step *steps;

static int set_up(void **state)
{
    (void)state;
    trail = (struct dbk_trail){0};
    steps = calloc(STEPS, sizeof(*steps));
    return steps == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_trail_release(&trail);
    free(steps);
    return 0;
}

/* Step n: 1 to 3 positions, and now and then one between it and the step before. */
static void note_step(size_t n)
{
    uint64_t before = n == 0 ? 4 : steps[n - 1].position_max;
    steps[n].position_min = before + 1 + (n % 5 == 3);
    steps[n].position_max = steps[n].position_min + n % 3;
    steps[n].begun_us = (int64_t)n * 10;
    steps[n].done_us = (int64_t)n * 10 + 7;
    dbk_trail_note(&trail, &steps[n]);
}

static enum dbk_trail_answer expected(uint64_t position, size_t count, size_t *step_out)
{
    size_t oldest = count > DBK_TRAIL_STEPS ? count - DBK_TRAIL_STEPS : 0;
    for (size_t n = 0; n < count; n++) {
        if (position < steps[n].position_min)
            return n > oldest   ? DBK_TRAIL_BETWEEN
                   : oldest > 0 ? DBK_TRAIL_FORGOTTEN
                                : DBK_TRAIL_BEFORE;
        *step_out = n;
        if (position <= steps[n].position_max)
            return n < oldest ? DBK_TRAIL_FORGOTTEN : DBK_TRAIL_FOUND;
    }
    return DBK_TRAIL_AHEAD;
}

static void check_all(size_t count)
{
    uint64_t end = count == 0 ? 3 : steps[count - 1].position_max + 3;
    for (uint64_t position = 0; position <= end; position++) {
        struct dbk_trail_step found = {0};
        size_t n = 0;
        enum dbk_trail_answer answer = dbk_trail_find(&trail, position, &found);
        assert_int_equal(answer, expected(position, count, &n));
        if (answer == DBK_TRAIL_FOUND) {
            assert_int_equal(found.begun_us, steps[n].begun_us);
            assert_int_equal(found.done_us, steps[n].done_us);
        }
    }
    assert_int_equal(dbk_trail_position(&trail), count == 0 ? 0 : steps[count - 1].position_max);
}

static void test_base_trail__every_position_is_of_its_step(void **state)
{
    (void)state;
    for (size_t n = 0; n < 40; n++) {
        check_all(n);
        note_step(n);
    }
    check_all(40);
}

static void test_base_trail__what_is_forgotten_is_said_to_be(void **state)
{
    (void)state;
    for (size_t n = 0; n < STEPS; n++) {
        note_step(n);
        if (n == DBK_TRAIL_STEPS - 1 || n == DBK_TRAIL_STEPS || n == STEPS - 1)
            check_all(n + 1);
    }
}

/* A generation that is rebuilt goes over positions again: they were passed when they first were. */
static void test_base_trail__what_was_passed_is_not_noted_again(void **state)
{
    struct dbk_trail_step found = {0};
    (void)state;
    dbk_trail_note(&trail, &(struct dbk_trail_step){1, 10, 100, 110});
    dbk_trail_note(&trail, &(struct dbk_trail_step){1, 10, 200, 210});
    dbk_trail_note(&trail, &(struct dbk_trail_step){5, 12, 300, 310});
    assert_int_equal(dbk_trail_find(&trail, 10, &found), DBK_TRAIL_FOUND);
    assert_int_equal(found.done_us, 110);
    assert_int_equal(dbk_trail_find(&trail, 11, &found), DBK_TRAIL_FOUND);
    assert_int_equal(found.done_us, 310);
    assert_int_equal(found.position_min, 11);
    assert_int_equal(dbk_trail_find(&trail, 13, &found), DBK_TRAIL_AHEAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_base_trail__every_position_is_of_its_step, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_base_trail__what_is_forgotten_is_said_to_be, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_base_trail__what_was_passed_is_not_noted_again, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
