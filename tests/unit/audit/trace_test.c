/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace_test -- every event has one row, behind its cause; all ways in which four events can cause
 * each other; what is not there; and a hundred thousand in a chain, a star and a circle.
 */
#include "test.h"

#include <stdlib.h>

#include "audit/audit.h"

#define MANY 100000

static struct dbk_trace *trace;
static size_t asked; /* how often an event was looked for */

static struct dbk_uuid id_of(uint32_t number)
{
    struct dbk_uuid id = {{0}};
    memcpy(id.bytes, &number, sizeof(number));
    id.bytes[15] = 1;
    return id;
}

/* cause: the number of an event, 0: none. */
static void add(uint32_t number, uint32_t cause)
{
    char meta[80] = "";
    char text[DBK_UUID_TEXT_SIZE];
    struct dbk_uuid id = id_of(cause);
    dbk_uuid_format(&id, text);
    if (cause > 0)
        (void)snprintf(meta, sizeof(meta), "{\"actor\":\"web\",\"causationid\":\"%s\"}", text);
    struct dbk_event event = {.position = number,
                              .version = 1,
                              .time_us = number,
                              .occurred_us = DBK_TIME_NONE,
                              .id = id_of(number),
                              .stream = DBK_SLICE_LITERAL("a-1"),
                              .type = DBK_SLICE_LITERAL("T"),
                              .meta = dbk_slice_of(meta)};
    assert_int_equal(dbk_trace_add(trace, &event), DBK_OK);
}

/* 90 is an event of another correlation, caused by event 2; 91 one without a correlation. */
static int find(void *context, const struct dbk_uuid *id, struct dbk_event *event_out,
                struct dbk_error *err)
{
    struct dbk_uuid outside = id_of(90);
    struct dbk_uuid alone = id_of(91);
    (void)context;
    (void)err;
    asked++;
    if (!dbk_uuid_equal(id, &outside) && !dbk_uuid_equal(id, &alone))
        return 0;
    *event_out = (struct dbk_event){
        .position = 90,
        .id = *id,
        .stream = DBK_SLICE_LITERAL("b-1"),
        .type = DBK_SLICE_LITERAL("O"),
        .meta = dbk_uuid_equal(id, &alone)
                    ? (struct dbk_slice){0}
                    : DBK_SLICE_LITERAL("{\"correlationid\":\"c\",\"causationid\":"
                                        "\"02000000-0000-0000-0000-000000000001\"}")};
    return 1;
}

static void begin(void)
{
    trace = dbk_trace_create();
    assert_non_null(trace);
    asked = 0;
}

static void finish(void)
{
    struct dbk_error err = {0};
    assert_ok(dbk_trace_finish(trace, find, NULL, &err), &err);
}

static const struct dbk_trace_row *row(size_t number)
{
    return dbk_trace_row(trace, number - 1);
}

/* What holds for every tree. */
static void check_shape(void)
{
    size_t count = dbk_trace_count(trace);
    for (size_t number = 1; number <= count; number++) {
        const struct dbk_trace_row *at = row(number);
        assert_true(at->parent < number);
        assert_int_equal(at->depth, at->parent == 0 ? 0 : row(at->parent)->depth + 1);
        /* A row is read behind its cause and all that its earlier effects came to. */
        if (number > 1 && at->parent != number - 1) {
            uint32_t up = (uint32_t)number - 1;
            while (up != 0 && row(up)->parent != at->parent)
                up = row(up)->parent;
            assert_true(up != 0 && !row(up)->last);
            assert_true(row(up)->kind == DBK_TRACE_UNKNOWN || at->kind == DBK_TRACE_UNKNOWN ||
                        row(up)->position < at->position);
        }
    }
}

static uint32_t number_of(uint64_t position)
{
    for (uint32_t number = 1; number <= dbk_trace_count(trace); number++) {
        if (row(number)->position == position)
            return number;
    }
    return 0;
}

/* Causes 0 to 4 of each of four events, in any order: 625 graphs, with circles of every length. */
static void test_audit_trace__has_a_row_an_event_whatever_causes_what(void **state)
{
    (void)state;
    for (unsigned graph = 0; graph < 625; graph++) {
        uint32_t causes[5] = {0, graph % 5, graph / 5 % 5, graph / 25 % 5, graph / 125};
        begin();
        for (uint32_t i = 4; i >= 1; i--)
            add(i, causes[i]);
        finish();
        assert_int_equal(dbk_trace_count(trace), 4);
        check_shape();
        for (uint32_t i = 1; i <= 4; i++) {
            const struct dbk_trace_row *at = row(number_of(i));
            bool round = false;
            bool lowest = true;
            for (uint32_t up = causes[i], steps = 0; up != 0 && steps < 5; up = causes[up]) {
                round = round || up == i;
                steps++;
            }
            /* In a circle, the lowest of it is where it is cut. */
            for (uint32_t up = causes[i]; round && up != i; up = causes[up])
                lowest = lowest && i < up;
            bool cut = round && lowest;
            assert_int_equal(at->circle, cut ? number_of(causes[i]) : 0);
            assert_int_equal(at->parent, cut || causes[i] == 0 ? 0 : number_of(causes[i]));
            assert_int_equal(at->later, at->parent != 0 && causes[i] > i);
        }
        dbk_trace_free(trace);
    }
}

static void test_audit_trace__shows_what_is_not_in_it(void **state)
{
    (void)state;
    begin();
    add(1, 0);
    add(2, 1);
    add(3, 77);
    add(4, 90);
    add(5, 77);
    add(6, 91);
    struct dbk_event event = {.position = 7,
                              .id = id_of(7),
                              .stream = DBK_SLICE_LITERAL("a-1"),
                              .type = DBK_SLICE_LITERAL("T"),
                              .meta = DBK_SLICE_LITERAL("{\"causationid\":\"a \\\"command\\\"\"}")};
    assert_int_equal(dbk_trace_add(trace, &event), DBK_OK);
    finish();
    check_shape();
    assert_int_equal(asked, 3); /* each id once, and what is no id never */
    assert_int_equal(dbk_trace_count(trace), 11);
    /* 1, 2, 90 (caused by 2), 4; then 77 with 3 and 5; 91 with 6; the command with 7. */
    assert_int_equal(row(3)->kind, DBK_TRACE_OUTSIDE);
    assert_slice_equal(row(3)->correlation, "c");
    assert_int_equal(row(3)->parent, 2);
    assert_int_equal(row(4)->position, 4);
    assert_true(row(4)->later);
    assert_int_equal(row(5)->kind, DBK_TRACE_UNKNOWN);
    assert_slice_equal(row(5)->cause, "4d000000-0000-0000-0000-000000000001");
    assert_int_equal(row(6)->position, 3);
    assert_int_equal(row(7)->position, 5);
    assert_true(row(7)->last);
    assert_int_equal(row(8)->kind, DBK_TRACE_UNKNOWN);
    assert_slice_equal(row(8)->cause, "a \"command\"");
    assert_int_equal(row(10)->kind, DBK_TRACE_OUTSIDE);
    assert_slice_equal(row(10)->correlation, "5b000000-0000-0000-0000-000000000001");
    assert_int_equal(row(11)->position, 6);
    assert_slice_equal(row(11)->actor, "web");
    dbk_trace_free(trace);
}

static void test_audit_trace__takes_a_hundred_thousand_of_any_shape(void **state)
{
    (void)state;
    for (int shape = 0; shape < 4; shape++) {
        begin();
        for (uint32_t i = 1; i <= MANY; i++) {
            uint32_t cause = shape == 0   ? i - 1        /* a chain */
                             : shape == 1 ? (i > 1)      /* a star */
                             : shape == 2 ? i % MANY + 1 /* a circle, backwards */
                                          : 1000000 + i; /* each of its own */
            add(i, cause);
        }
        finish();
        assert_int_equal(dbk_trace_count(trace), shape == 3 ? 2 * MANY : MANY);
        assert_int_equal(row(dbk_trace_count(trace))->depth,
                         shape == 0 || shape == 2 ? MANY - 1 : 1);
        dbk_trace_free(trace);
    }
    begin();
    finish();
    assert_int_equal(dbk_trace_count(trace), 0);
    dbk_trace_free(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_audit_trace__has_a_row_an_event_whatever_causes_what),
        cmocka_unit_test(test_audit_trace__shows_what_is_not_in_it),
        cmocka_unit_test(test_audit_trace__takes_a_hundred_thousand_of_any_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
