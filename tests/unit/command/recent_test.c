/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recent_test -- the last commands are found by their events' positions and by their ids, and no
 * others are.
 */
#include "test.h"

#include <stdlib.h>

#include "command/recent.h"

static struct dbk_recent recent;

static int set_up(void **state)
{
    (void)state;
    recent = (struct dbk_recent){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_recent_release(&recent);
    return 0;
}

static struct dbk_uuid id_of(uint64_t number)
{
    struct dbk_uuid id = {0};
    for (size_t i = 0; i < 8; i++)
        id.bytes[15 - i] = (uint8_t)(number >> (8 * i));
    id.bytes[0] = 1;
    return id;
}

/* Command n: one in a service's database where n is odd, else of positions 10 n to 10 n + 2. */
static void note(uint64_t n)
{
    struct dbk_recent_command command = {.name = "Do", .sent_us = (int64_t)n, .done_us = 1};
    if (n % 2 == 1) {
        command.id = id_of(n);
        command.service = "posts";
    } else {
        command.position_min = 10 * n;
        command.position_max = 10 * n + 2;
    }
    dbk_recent_note(&recent, &command);
}

static const struct dbk_recent_command *at(uint64_t position)
{
    return dbk_recent_of(&recent, &(struct dbk_event){.position = position});
}

static const struct dbk_recent_command *caused_by(const char *member, uint64_t n)
{
    char meta[128];
    char text[DBK_UUID_TEXT_SIZE];
    const struct dbk_uuid id = id_of(n);
    dbk_uuid_format(&id, text);
    (void)snprintf(meta, sizeof(meta), "{\"other\":1,\"%s\":\"%s\"}", member, text);
    return dbk_recent_of(&recent, &(struct dbk_event){.position = 1, .meta = dbk_slice_of(meta)});
}

static void check(uint64_t n, bool there)
{
    const struct dbk_recent_command *found =
        n % 2 == 1 ? caused_by("causationid", n) : at(10 * n + 1);
    if (!there) {
        assert_null(found);
        return;
    }
    assert_non_null(found);
    assert_int_equal(found->sent_us, n);
}

static void test_command_recent__the_last_are_found_and_no_others(void **state)
{
    (void)state;
    assert_null(at(10));
    assert_null(caused_by("causationid", 1));
    for (uint64_t n = 2; n < 2 * DBK_RECENT_COMMANDS; n++) {
        note(n);
        check(n, true);
        check(n + 1, false);
        if (n >= DBK_RECENT_COMMANDS + 2) {
            check(n - DBK_RECENT_COMMANDS, false);
            check(n - DBK_RECENT_COMMANDS + 1, true);
        }
    }
}

static void test_command_recent__a_command_s_positions_are_its_own_alone(void **state)
{
    (void)state;
    note(2);
    assert_null(at(19));
    for (uint64_t position = 20; position <= 22; position++)
        assert_non_null(at(position));
    assert_null(at(23));
}

static void test_command_recent__meta_names_it_as_cause_or_correlation(void **state)
{
    (void)state;
    note(3);
    note(4);
    assert_non_null(caused_by("causationid", 3));
    assert_non_null(caused_by("correlationid", 3));
    assert_null(caused_by("traceparent", 3));
    /* One that appended its events has no id, and is not named by the zero one. */
    assert_null(dbk_recent_of(
        &recent,
        &(struct dbk_event){.position = 1,
                            .meta = DBK_SLICE_LITERAL(
                                "{\"causationid\":\"00000000-0000-0000-0000-000000000000\"}")}));
    assert_null(dbk_recent_of(
        &recent, &(struct dbk_event){
                     .position = 1, .meta = DBK_SLICE_LITERAL("{\"causationid\":\"the third\"}")}));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_command_recent__##name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_last_are_found_and_no_others),
        TEST(a_command_s_positions_are_its_own_alone),
        TEST(meta_names_it_as_cause_or_correlation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
