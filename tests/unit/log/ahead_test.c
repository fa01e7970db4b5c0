/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ahead_test -- the next segment is there before it is needed: a sync of a group in it changes
 * nothing but bytes that the disk already holds.
 *
 * What a crash makes of it is in crash_test.c.
 */
#include "test.h"

#include "os/sim.h"
#include "sample.h"

#define FOLDER "log"
#define SPARE FOLDER "/next.tmp"
/* Of several steps, and too small for a thread. */
#define SEGMENT_SIZE ((uint64_t)512 << 10)
#define SPARE_SIZE (SEGMENT_SIZE + SEGMENT_SIZE / 64)

struct fixture {
    struct dbk_sim *sim;
    struct dbk_log *log;
};

static struct fixture open_log_of(uint64_t segment_size)
{
    struct dbk_error err = {0};
    struct fixture fixture = {.sim = dbk_sim_create(1)};
    struct dbk_log_options options = {.os = dbk_sim_os(fixture.sim),
                                      .folder = FOLDER,
                                      .writer = true,
                                      .segment_size = segment_size};
    assert_ok(dbk_log_open(&options, &fixture.log, &err), &err);
    return fixture;
}

static struct fixture open_log(void)
{
    return open_log_of(SEGMENT_SIZE);
}

static void end(struct fixture *fixture)
{
    struct dbk_error err = {0};
    assert_true(sample_check(fixture->log, &err));
    dbk_log_free(fixture->log);
    assert_null(dbk_sim_file(fixture->sim, SPARE).data);
    dbk_sim_free(fixture->sim);
}

static uint64_t spare_size(const struct fixture *fixture)
{
    return dbk_sim_file(fixture->sim, SPARE).size;
}

/* Appends small groups until the last segment has so many bytes. */
static void fill(struct fixture *fixture, uint32_t segment, uint64_t size, bool prepares)
{
    struct dbk_error err = {0};
    struct dbk_log *log = fixture->log;
    while (dbk_log_end(log).segment < segment ||
           (dbk_log_end(log).segment == segment && dbk_log_end(log).offset < size)) {
        assert_ok(sample_append(log, 40, true, &err), &err);
        while (prepares && dbk_log_prepare(log))
            continue;
    }
}

static uint64_t file_size(const struct fixture *fixture, uint32_t segment)
{
    char path[64];
    (void)snprintf(path, sizeof(path), FOLDER "/%020ju.seg",
                   (uintmax_t)dbk_log_segment_first_position(fixture->log, segment));
    return dbk_sim_file(fixture->sim, path).size;
}

static void test_log_ahead__groups_of_a_prepared_segment_make_nothing_longer(void **state)
{
    (void)state;
    struct fixture fixture = open_log();
    fill(&fixture, 0, SEGMENT_SIZE / 5, true);
    assert_int_equal(spare_size(&fixture), 0);
    fill(&fixture, 0, SEGMENT_SIZE / 2, true);
    /* Twice as much as has come since, but for some steps. */
    assert_in_range(spare_size(&fixture), SEGMENT_SIZE / 2, SEGMENT_SIZE / 2 + 4 * SPARE_SIZE / 64);
    fill(&fixture, 0, SEGMENT_SIZE * 7 / 8, true);
    assert_int_equal(spare_size(&fixture), SPARE_SIZE);
    fill(&fixture, 1, 0, false);
    uint64_t names =
        dbk_sim_calls(fixture.sim, DBK_SIM_OPEN | DBK_SIM_RENAME | DBK_SIM_SYNC_FOLDER);
    uint64_t syncs = dbk_sim_calls(fixture.sim, DBK_SIM_SYNC);
    uint64_t groups = 0;
    struct dbk_error err = {0};
    for (; dbk_log_end(fixture.log).offset < SEGMENT_SIZE; groups++) {
        assert_ok(sample_append(fixture.log, 40, true, &err), &err);
        assert_int_equal(file_size(&fixture, 1), SPARE_SIZE);
    }
    assert_true(groups > 10);
    assert_int_equal(dbk_sim_calls(fixture.sim, DBK_SIM_SYNC) - syncs, groups);
    assert_int_equal(
        dbk_sim_calls(fixture.sim, DBK_SIM_OPEN | DBK_SIM_RENAME | DBK_SIM_SYNC_FOLDER) - names, 0);
    /* Sealed, it has no zeros behind it. */
    fill(&fixture, 2, 0, false);
    assert_int_equal(file_size(&fixture, 1), dbk_log_segment_size(fixture.log, 1));
    end(&fixture);
}

static void test_log_ahead__what_is_not_ready_is_gone_on_with_for_the_next(void **state)
{
    (void)state;
    struct fixture fixture = open_log();
    fill(&fixture, 0, SEGMENT_SIZE / 2, true);
    uint64_t size = spare_size(&fixture);
    assert_true(size > 0 && size < SPARE_SIZE);
    fill(&fixture, 1, 0, false);
    fill(&fixture, 1, SEGMENT_SIZE / 8, true);
    assert_int_equal(spare_size(&fixture), size);
    assert_true(file_size(&fixture, 1) < SPARE_SIZE);
    fill(&fixture, 1, SEGMENT_SIZE * 7 / 8, true);
    assert_int_equal(spare_size(&fixture), SPARE_SIZE);
    fill(&fixture, 2, 0, true);
    assert_int_equal(file_size(&fixture, 2), SPARE_SIZE);
    assert_int_equal(spare_size(&fixture), 0);
    end(&fixture);
}

static void test_log_ahead__large_groups_go_without(void **state)
{
    (void)state;
    struct fixture fixture = open_log();
    struct dbk_error err = {0};
    while (dbk_log_end(fixture.log).segment < 2) {
        assert_ok(sample_append(fixture.log, 3000, true, &err), &err);
        assert_false(dbk_log_prepare(fixture.log));
    }
    end(&fixture);
}

static void test_log_ahead__a_full_disk_gets_the_space_back(void **state)
{
    (void)state;
    struct fixture fixture = open_log();
    struct dbk_error err = {0};
    fill(&fixture, 0, SEGMENT_SIZE * 7 / 8, true);
    assert_int_equal(spare_size(&fixture), SPARE_SIZE);
    dbk_sim_fail_at(fixture.sim, 1, DBK_SIM_PWRITE, DBK_EFULL, false);
    assert_int_equal(sample_append(fixture.log, 40, true, &err), DBK_EFULL);
    assert_null(dbk_sim_file(fixture.sim, SPARE).data);
    /* It goes on, without a file for this time, and with one for the next. */
    fill(&fixture, 1, SEGMENT_SIZE / 8, true);
    assert_int_equal(spare_size(&fixture), 0);
    fill(&fixture, 1, SEGMENT_SIZE * 7 / 8, true);
    assert_int_equal(spare_size(&fixture), SPARE_SIZE);
    end(&fixture);
}

static void test_log_ahead__one_that_cannot_be_made_costs_nothing(void **state)
{
    (void)state;
    for (uint64_t at = 1; at < 40; at++) {
        struct fixture fixture = open_log();
        fill(&fixture, 0, SEGMENT_SIZE * 7 / 8, false);
        dbk_sim_fail_at(fixture.sim, at, 0, DBK_EFULL, false);
        while (dbk_log_prepare(fixture.log))
            continue;
        dbk_sim_fail_at(fixture.sim, 0, 0, 0, false);
        assert_true(spare_size(&fixture) == 0 || spare_size(&fixture) == SPARE_SIZE);
        fill(&fixture, 2, 0, true);
        assert_int_equal(file_size(&fixture, 2), SPARE_SIZE);
        end(&fixture);
    }
}

static void test_log_ahead__a_thread_does_it_beside_the_writer(void **state)
{
    (void)state;
    struct fixture fixture = open_log_of((uint64_t)1 << 20);
    fill(&fixture, 3, (uint64_t)900 << 10, false);
    end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test(test_log_ahead__##name)
        TEST(groups_of_a_prepared_segment_make_nothing_longer),
        TEST(what_is_not_ready_is_gone_on_with_for_the_next),
        TEST(large_groups_go_without),
        TEST(a_full_disk_gets_the_space_back),
        TEST(one_that_cannot_be_made_costs_nothing),
        TEST(a_thread_does_it_beside_the_writer),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
