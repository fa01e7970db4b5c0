/* SPDX-License-Identifier: Apache-2.0 */
/*
 * demo_orders_test -- the demo's commands are the same for the same seed, well-formed, and cancel
 * only what was placed.
 */
#include "test.h"

#include <string.h>

#include "cli/demo_orders.h"
#include "json/json.h"

#define COUNT 2000

static void test_cli_demo_orders__a_seed_gives_the_same_commands(void **state)
{
    (void)state;
    struct dbk_demo_orders one;
    struct dbk_demo_orders two;
    struct dbk_demo_orders other;
    struct dbk_demo_command a;
    struct dbk_demo_command b;
    size_t different = 0;
    dbk_demo_orders_init(&one, 7);
    dbk_demo_orders_init(&two, 7);
    dbk_demo_orders_init(&other, 8);
    dbk_demo_command_init(&a);
    dbk_demo_command_init(&b);
    for (int i = 0; i < COUNT; i++) {
        dbk_demo_orders_next(&one, &a);
        dbk_demo_orders_next(&two, &b);
        assert_string_equal(a.name, b.name);
        assert_true(dbk_slice_equal(dbk_buf_slice(&a.body), dbk_buf_slice(&b.body)));
        dbk_demo_orders_next(&other, &b);
        different += !dbk_slice_equal(dbk_buf_slice(&a.body), dbk_buf_slice(&b.body));
    }
    assert_int_equal(different, COUNT);
    dbk_demo_command_release(&a);
    dbk_demo_command_release(&b);
}

static void test_cli_demo_orders__every_body_is_json(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_demo_orders orders;
    struct dbk_demo_command command;
    struct dbk_json *json = dbk_json_create(1 << 20);
    size_t cancelled = 0;
    assert_non_null(json);
    dbk_demo_orders_init(&orders, 1);
    dbk_demo_command_init(&command);
    for (int i = 0; i < COUNT; i++) {
        const struct dbk_json_node *root = NULL;
        uint64_t placed = orders.placed;
        dbk_demo_orders_next(&orders, &command);
        assert_ok(dbk_json_parse(json, dbk_buf_slice(&command.body), &root, &err), &err);
        const struct dbk_json_node *id = dbk_json_member(root, "order_id");
        uint64_t number = 0;
        assert_non_null(id);
        assert_true(dbk_slice_to_u64(dbk_slice(id->text.data + 7, id->text.size - 7), &number));
        if (strcmp(command.name, "CancelOrder") == 0) {
            cancelled++;
            assert_true(number >= 1 && number <= placed);
        } else {
            assert_string_equal(command.name, "PlaceOrder");
            assert_int_equal(number, placed + 1);
            assert_true(dbk_json_member(root, "lines")->count >= 1);
        }
    }
    assert_in_range(cancelled, COUNT / 20, COUNT / 5);
    dbk_demo_command_release(&command);
    dbk_json_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_demo_orders__a_seed_gives_the_same_commands),
        cmocka_unit_test(test_cli_demo_orders__every_body_is_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
