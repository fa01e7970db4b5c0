/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash_test -- the store is crashed at every call that changes the disk, and every call fails
 * once: what was acknowledged is there afterwards, batches are whole, versions have no gaps, and
 * the book takes appends again.
 */
#include "test.h"

#include <stdlib.h>

#include "os/sim.h"
#include "store/store.h"

#define BATCHES 12
#define BATCH 3

struct run {
    unsigned acknowledged; /* batches */
    unsigned attempted;
};

static int open_store(struct dbk_sim *sim, struct dbk_store **store_out, struct dbk_error *err)
{
    return dbk_store_open(
        &(struct dbk_store_options){
            .os = dbk_sim_os(sim), .folder = "data", .writer = true, .segment_size = 1200},
        store_out, err);
}

/* Batch n: event 0 and 2 to "even" or "odd", event 1 to a stream of its own; ids are derived. */
static int append_batch(struct dbk_store *store, unsigned number, struct dbk_append_result *result,
                        struct dbk_error *err)
{
    char own[16];
    char data[32];
    struct dbk_new_event events[BATCH];
    (void)snprintf(own, sizeof(own), "own-%u", number);
    (void)snprintf(data, sizeof(data), "{\"batch\":%u}", number);
    for (unsigned i = 0; i < BATCH; i++) {
        events[i] = (struct dbk_new_event){
            .stream = i == 1 ? dbk_slice_of(own) : dbk_slice_of(number % 2 == 0 ? "even" : "odd"),
            .type = DBK_SLICE_LITERAL("T"),
            .data = dbk_slice_of(data),
            .occurred_us = DBK_TIME_NONE,
            .flags = DBK_RECORD_JSON};
        events[i].id.bytes[0] = (uint8_t)(number + 1);
        events[i].id.bytes[1] = (uint8_t)i;
    }
    return dbk_store_append(store, &(struct dbk_batch){.events = events, .count = BATCH}, result,
                            err);
}

static void work(struct dbk_sim *sim, struct run *run)
{
    struct dbk_store *store = NULL;
    struct dbk_error err = {0};
    *run = (struct run){0};
    if (open_store(sim, &store, &err) < 0)
        return;
    for (unsigned number = 0; number < BATCHES; number++) {
        struct dbk_append_result result;
        run->attempted = number + 1;
        int rc = append_batch(store, number, &result, &err);
        if (rc < 0)
            break;
        run->acknowledged = number + 1;
    }
    dbk_store_free(store);
}

/* The book must hold the batches 0 to k, whole, with acknowledged <= k <= attempted. */
static void check(struct dbk_store *store, const struct run *run)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_error err = {0};
    uint64_t versions[2] = {0};
    unsigned events = 0;
    int rc = 0;
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){0}, &cursor, &err), &err);
    while ((rc = dbk_cursor_next(cursor, &event, &err)) > 0) {
        unsigned number = events / BATCH;
        assert_int_equal(event.position, ++events);
        assert_int_equal(event.id.bytes[0], number + 1);
        if ((events - 1) % BATCH != 1)
            assert_int_equal(event.version, ++versions[number % 2]);
        else
            assert_int_equal(event.version, 1);
    }
    assert_ok(rc, &err);
    dbk_cursor_free(cursor);
    assert_int_equal(events % BATCH, 0);
    assert_in_range(events / BATCH, run->acknowledged, run->attempted);
}

static void check_and_finish(struct dbk_sim *sim, const struct run *run)
{
    struct dbk_store *store = NULL;
    struct dbk_error err = {0};
    struct run whole = {.acknowledged = BATCHES, .attempted = BATCHES};
    assert_ok(open_store(sim, &store, &err), &err);
    check(store, run);
    for (unsigned number = 0; number < BATCHES; number++) {
        struct dbk_append_result result;
        assert_ok(append_batch(store, number, &result, &err), &err);
        assert_true(result.known || number >= run->acknowledged);
        assert_int_equal(result.first_position, number * BATCH + 1);
    }
    check(store, &whole);
    dbk_store_free(store);
}

static uint64_t count_calls(unsigned kinds)
{
    struct run run;
    struct dbk_sim *sim = dbk_sim_create(1);
    work(sim, &run);
    assert_int_equal(run.acknowledged, BATCHES);
    uint64_t calls = dbk_sim_calls(sim, kinds);
    dbk_sim_free(sim);
    return calls;
}

static void test_store_crash__keeps_what_was_acknowledged(void **state)
{
    static const enum dbk_sim_keep keeps[] = {DBK_SIM_NONE, DBK_SIM_ALL, DBK_SIM_TORN,
                                              DBK_SIM_SUBSET};
    (void)state;
    uint64_t calls = count_calls(DBK_SIM_CHANGES);
    for (uint64_t at = 1; at <= calls; at++) {
        for (unsigned keep = 0; keep < sizeof(keeps) / sizeof(keeps[0]); keep++) {
            struct run run;
            struct dbk_sim *sim = dbk_sim_create(1);
            dbk_sim_crash_at(sim, at, DBK_SIM_CHANGES);
            work(sim, &run);
            dbk_sim_restart(sim, keeps[keep], keeps[keep], at);
            check_and_finish(sim, &run);
            dbk_sim_free(sim);
        }
    }
}

static void test_store_crash__survives_each_failing_call(void **state)
{
    static const int codes[] = {DBK_EIO, DBK_EFULL};
    (void)state;
    uint64_t calls = count_calls(0);
    for (uint64_t at = 1; at <= calls; at++) {
        for (unsigned code = 0; code < 2; code++) {
            struct run run;
            struct dbk_sim *sim = dbk_sim_create(1);
            dbk_sim_fail_at(sim, at, 0, codes[code], code == 1);
            work(sim, &run);
            dbk_sim_restart(sim, DBK_SIM_NONE, DBK_SIM_NONE, at);
            check_and_finish(sim, &run);
            dbk_sim_free(sim);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_store_crash__keeps_what_was_acknowledged),
        cmocka_unit_test(test_store_crash__survives_each_failing_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
