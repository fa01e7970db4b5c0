/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compact_test -- compacted segments: nothing but what was to be removed is gone, whoever was in
 * the middle of reading; a crash at any call, a failing call, and any damaged byte afterwards.
 */
#include "test.h"

#include <string.h>

#include "os/sim.h"
#include "sample.h"

#define FOLDER "data/log"
#define SEGMENT_SIZE 1500
#define EVENTS 90

struct fixture {
    struct dbk_sim *sim;
    struct dbk_log *log;
    struct dbk_log_place places[EVENTS + 1]; /* as they were written */
    bool removed[EVENTS + 1];                /* by now */
    bool doubtful;                           /* one may have failed at its last step */
};

static int open_log(struct dbk_sim *sim, bool writer, struct dbk_log **log_out,
                    struct dbk_error *err)
{
    struct dbk_log_options options = {
        .os = dbk_sim_os(sim), .folder = FOLDER, .writer = writer, .segment_size = SEGMENT_SIZE};
    return dbk_log_open(&options, log_out, err);
}

static void set_up(struct fixture *fixture)
{
    struct dbk_error err = {0};
    struct dbk_log_scan *scan = NULL;
    struct dbk_event event;
    struct dbk_log_place place;
    *fixture = (struct fixture){.sim = dbk_sim_create(3)};
    assert_ok(dbk_sim_os(fixture->sim)->make_folder(dbk_sim_os(fixture->sim), "data", &err), &err);
    assert_ok(open_log(fixture->sim, true, &fixture->log, &err), &err);
    for (unsigned count = 1; dbk_log_last_position(fixture->log) < EVENTS; count = count % 5 + 1) {
        unsigned left = (unsigned)(EVENTS - dbk_log_last_position(fixture->log));
        assert_ok(sample_append(fixture->log, count < left ? count : left, true, &err), &err);
    }
    assert_ok(dbk_log_scan_open(fixture->log, (struct dbk_log_place){0}, 0, &scan, &err), &err);
    while (dbk_log_scan_next(scan, &event, &place, &err) > 0)
        fixture->places[event.position] = place;
    dbk_log_scan_free(scan);
    assert_true(dbk_log_segment_count(fixture->log) > 5);
}

static void tear_down(struct fixture *fixture)
{
    dbk_log_free(fixture->log);
    dbk_sim_free(fixture->sim);
}

/* Whether the event is the sample of its position, or (when `may`) what is left of it. */
static bool is_right(const struct dbk_event *event, bool must, bool may)
{
    struct sample sample;
    uint8_t digest[DBK_SHA256_SIZE];
    sample_make(&sample, event->position);
    if ((event->flags & DBK_RECORD_REMOVED) == 0)
        return !must && sample_equal(event, &sample.event);
    assert_int_equal(dbk_record_content(&sample.event, digest), DBK_OK);
    sample.event.flags |= DBK_RECORD_REMOVED;
    sample.event.data = dbk_slice((const char *)digest, sizeof(digest));
    return may && sample_equal(event, &sample.event);
}

/* Scans all of it, and reads each record by the place it first had. may: to be removed, perhaps. */
static void check(struct fixture *fixture, struct dbk_log *log, const bool *may)
{
    struct dbk_error err = {0};
    struct dbk_log_scan *scan = NULL;
    struct dbk_log_reader reader;
    struct dbk_event event;
    uint64_t position = 0;
    dbk_log_reader_init(&reader);
    assert_ok(dbk_log_scan_open(log, (struct dbk_log_place){0}, 0, &scan, &err), &err);
    while (dbk_log_scan_next(scan, &event, NULL, &err) > 0) {
        assert_int_equal(event.position, ++position);
        assert_true(is_right(&event, fixture->removed[position], may[position]));
        assert_ok(dbk_log_read(log, fixture->places[position], position, &reader, &event, &err),
                  &err);
        assert_int_equal(event.position, position);
        assert_true(is_right(&event, fixture->removed[position], may[position]));
    }
    assert_int_equal(err.code, 0);
    assert_int_equal(position, dbk_log_last_position(log));
    dbk_log_scan_free(scan);
    for (position = 1; position <= EVENTS; position += 7) {
        assert_ok(dbk_log_scan_open(log, fixture->places[position], position, &scan, &err), &err);
        for (uint64_t at = position; at <= EVENTS; at++) {
            assert_int_equal(dbk_log_scan_next(scan, &event, NULL, &err), 1);
            assert_int_equal(event.position, at);
        }
        dbk_log_scan_free(scan);
    }
    dbk_log_reader_release(&reader);
}

struct plan {
    uint64_t modulus; /* every so many-th event goes */
    uint64_t steps;
    int step_rc;
};

static bool removes(void *context, const struct dbk_event *event)
{
    const struct plan *plan = context;
    return event->position % plan->modulus == 0;
}

static int step(void *context, size_t size)
{
    struct plan *plan = context;
    plan->steps += size > 0;
    return plan->step_rc;
}

static int compact(struct fixture *fixture, uint32_t segment, uint64_t modulus,
                   struct dbk_error *err)
{
    struct plan plan = {.modulus = modulus};
    struct dbk_log_compacted compacted = {0};
    uint64_t first = dbk_log_segment_first_position(fixture->log, segment);
    uint64_t end = dbk_log_segment_first_position(fixture->log, segment + 1);
    uint64_t expected = 0;
    int rc = dbk_log_compact(fixture->log, segment,
                             &(struct dbk_log_compaction){removes, step, &plan}, &compacted, err);
    if (rc < 0)
        return rc;
    for (uint64_t position = first; position < end; position++) {
        expected += position % modulus == 0 && !fixture->removed[position];
        fixture->removed[position] = fixture->removed[position] || position % modulus == 0;
    }
    /* Less, when one before had come through and could not say so. */
    assert_true(compacted.removed == expected || (fixture->doubtful && compacted.removed == 0));
    assert_int_equal(compacted.size, dbk_log_segment_size(fixture->log, segment));
    return DBK_OK;
}

static void compact_all(struct fixture *fixture, uint64_t modulus)
{
    struct dbk_error err = {0};
    for (uint32_t i = 0; i + 1 < dbk_log_segment_count(fixture->log); i++)
        assert_ok(compact(fixture, i, modulus, &err), &err);
}

static void test_log_compact__keeps_all_that_was_not_to_go(void **state)
{
    (void)state;
    struct fixture fixture;
    struct dbk_error err = {0};
    struct dbk_log *reader = NULL;
    set_up(&fixture);
    check(&fixture, fixture.log, fixture.removed);
    static const uint64_t moduli[] = {3, 7, 1000, 2};
    for (size_t i = 0; i < 4; i++) {
        compact_all(&fixture, moduli[i]);
        check(&fixture, fixture.log, fixture.removed);
        assert_ok(open_log(fixture.sim, false, &reader, &err), &err);
        check(&fixture, reader, fixture.removed);
        dbk_log_free(reader);
        dbk_log_free(fixture.log);
        assert_ok(open_log(fixture.sim, true, &fixture.log, &err), &err);
        check(&fixture, fixture.log, fixture.removed);
    }
    assert_int_equal(dbk_log_compact(fixture.log, dbk_log_segment_count(fixture.log) - 1,
                                     &(struct dbk_log_compaction){removes, step, NULL},
                                     &(struct dbk_log_compacted){0}, &err),
                     DBK_EINVAL);
    tear_down(&fixture);
}

static void test_log_compact__lets_readers_go_on(void **state)
{
    (void)state;
    struct fixture fixture;
    struct dbk_error err = {0};
    struct dbk_log *beside = NULL;
    struct dbk_log_scan *scans[3] = {0};
    struct dbk_log_reader reader;
    struct dbk_event held;
    struct dbk_event event;
    set_up(&fixture);
    assert_ok(open_log(fixture.sim, false, &beside, &err), &err);
    dbk_log_reader_init(&reader);
    assert_ok(dbk_log_read(fixture.log, fixture.places[6], 6, &reader, &held, &err), &err);
    for (size_t i = 0; i < 3; i++) {
        assert_ok(dbk_log_scan_open(i == 2 ? beside : fixture.log, fixture.places[1 + i], 1 + i,
                                    &scans[i], &err),
                  &err);
        assert_int_equal(dbk_log_scan_next(scans[i], &event, NULL, &err), 1);
    }
    compact_all(&fixture, 2);
    compact_all(&fixture, 3);
    dbk_log_reclaim(fixture.log);
    assert_true(is_right(&held, false, false)); /* what is held stays as it was */
    bool may[EVENTS + 1];
    memset(may, 1, sizeof(may));
    for (size_t i = 0; i < 3; i++) {
        for (uint64_t position = 2 + i; position <= EVENTS; position++) {
            assert_int_equal(dbk_log_scan_next(scans[i], &event, NULL, &err), 1);
            assert_int_equal(event.position, position);
            assert_true(is_right(&event, false, true));
        }
        dbk_log_scan_free(scans[i]);
    }
    dbk_log_reader_release(&reader);
    memset(may, 0, sizeof(may));
    check(&fixture, fixture.log, fixture.removed);
    /* The one beside had not mapped the later segments: it finds out that they are others. */
    memset(may, 1, sizeof(may));
    bool removed[EVENTS + 1];
    memcpy(removed, fixture.removed, sizeof(removed));
    memset(fixture.removed, 0, sizeof(fixture.removed));
    check(&fixture, beside, may);
    memcpy(fixture.removed, removed, sizeof(removed));
    dbk_log_free(beside);
    tear_down(&fixture);
}

static void test_log_compact__survives_a_crash_at_any_call(void **state)
{
    (void)state;
    struct fixture fixture;
    struct dbk_error err = {0};
    set_up(&fixture);
    compact_all(&fixture, 5);
    fixture.doubtful = true;
    for (uint64_t at = 1;; at++) {
        bool ended = true;
        for (enum dbk_sim_keep keep = DBK_SIM_NONE; keep <= DBK_SIM_SUBSET; keep++) {
            struct fixture twin = fixture;
            bool may[EVENTS + 1];
            twin.sim = dbk_sim_clone(fixture.sim, at);
            assert_ok(open_log(twin.sim, true, &twin.log, &err), &err);
            for (uint64_t position = 0; position <= EVENTS; position++)
                may[position] = position % 2 == 0 || position % 5 == 0;
            dbk_sim_crash_at(twin.sim, at, DBK_SIM_CHANGES);
            int rc = compact(&twin, 2, 2, &err);
            ended = ended && !dbk_sim_crashed(twin.sim);
            if (rc == DBK_OK)
                rc = compact(&twin, 3, 2, &err);
            dbk_log_free(twin.log);
            dbk_sim_restart(twin.sim, keep, keep, at);
            err = (struct dbk_error){0};
            assert_ok(open_log(twin.sim, true, &twin.log, &err), &err);
            check(&twin, twin.log, may);
            assert_ok(compact(&twin, 2, 2, &err), &err);
            check(&twin, twin.log, may);
            tear_down(&twin);
        }
        if (ended)
            break;
    }
    tear_down(&fixture);
}

static void test_log_compact__leaves_the_old_one_when_a_call_fails(void **state)
{
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    fixture.doubtful = true;
    for (uint64_t at = 1;; at++) {
        struct dbk_error err = {0};
        struct fixture twin = fixture;
        bool may[EVENTS + 1];
        twin.sim = dbk_sim_clone(fixture.sim, at);
        assert_ok(open_log(twin.sim, true, &twin.log, &err), &err);
        for (uint64_t position = 0; position <= EVENTS; position++)
            may[position] = position % 2 == 0;
        dbk_sim_fail_at(twin.sim, at, 0, at % 2 == 0 ? DBK_EFULL : DBK_EIO, false);
        int rc = compact(&twin, 1, 2, &err);
        dbk_sim_fail_at(twin.sim, 0, 0, 0, false);
        check(&twin, twin.log, may);
        assert_null(dbk_sim_file(twin.sim, FOLDER "/compact.tmp").data);
        assert_ok(compact(&twin, 1, 2, &err), &err);
        check(&twin, twin.log, twin.removed);
        assert_ok(sample_append(twin.log, 3, true, &err), &err);
        tear_down(&twin);
        if (rc == DBK_OK && at > 30)
            break;
    }
    tear_down(&fixture);
}

static void test_log_compact__stops_when_told(void **state)
{
    (void)state;
    struct fixture fixture;
    struct dbk_error err = {0};
    struct plan plan = {.modulus = 2, .step_rc = DBK_ESTOPPED};
    set_up(&fixture);
    static char large[300000];
    struct dbk_log_group *group = dbk_log_group_begin(fixture.log);
    struct sample sample;
    struct dbk_log_place place;
    sample_make(&sample, EVENTS + 1);
    sample.event.data = dbk_slice(large, sizeof(large));
    assert_int_equal(dbk_log_group_add(group, &sample.event, &place), DBK_OK);
    assert_ok(dbk_log_write_group(fixture.log, group, true, &err), &err);
    uint32_t segment = dbk_log_segment_count(fixture.log) - 1;
    assert_ok(sample_append(fixture.log, 1, true, &err), &err);
    assert_int_equal(dbk_log_compact(fixture.log, segment,
                                     &(struct dbk_log_compaction){removes, step, &plan},
                                     &(struct dbk_log_compacted){0}, &err),
                     DBK_ESTOPPED);
    assert_int_equal(plan.steps, 1);
    assert_null(dbk_sim_file(fixture.sim, FOLDER "/compact.tmp").data);
    tear_down(&fixture);
}

/* Every byte of a compacted segment: all is right, or it is named as damage. */
static void test_log_compact__finds_damage(void **state)
{
    (void)state;
    struct fixture fixture;
    struct dbk_error err = {0};
    char path[64];
    set_up(&fixture);
    compact_all(&fixture, 2);
    (void)snprintf(path, sizeof(path), FOLDER "/%020ju.seg",
                   (uintmax_t)dbk_log_segment_first_position(fixture.log, 1));
    dbk_log_free(fixture.log);
    size_t size = dbk_sim_file(fixture.sim, path).size;
    for (size_t bit = 0; bit < size * 8; bit += 3) {
        struct dbk_log *log = NULL;
        struct dbk_log_scan *scan = NULL;
        struct dbk_log_reader reader;
        struct dbk_event event;
        uint64_t position = 0;
        dbk_sim_flip(fixture.sim, path, bit / 8, (uint8_t)(1u << bit % 8));
        int rc = open_log(fixture.sim, false, &log, &err);
        dbk_log_reader_init(&reader);
        if (rc == DBK_OK)
            rc = dbk_log_scan_open(log, (struct dbk_log_place){0}, 0, &scan, &err);
        while (rc >= 0 && (rc = dbk_log_scan_next(scan, &event, NULL, &err)) > 0) {
            assert_int_equal(event.position, ++position);
            assert_true(is_right(&event, fixture.removed[position], fixture.removed[position]));
            rc = dbk_log_read(log, fixture.places[position], position, &reader, &event, &err);
            assert_true(rc < 0 ||
                        is_right(&event, fixture.removed[position], fixture.removed[position]));
        }
        assert_true(rc == DBK_ECORRUPT || rc == DBK_EFORMAT);
        dbk_log_scan_free(scan);
        dbk_log_reader_release(&reader);
        dbk_log_free(log);
        dbk_sim_flip(fixture.sim, path, bit / 8, (uint8_t)(1u << bit % 8));
    }
    fixture.log = NULL;
    tear_down(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_compact__keeps_all_that_was_not_to_go),
        cmocka_unit_test(test_log_compact__lets_readers_go_on),
        cmocka_unit_test(test_log_compact__survives_a_crash_at_any_call),
        cmocka_unit_test(test_log_compact__leaves_the_old_one_when_a_call_fails),
        cmocka_unit_test(test_log_compact__stops_when_told),
        cmocka_unit_test(test_log_compact__finds_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
