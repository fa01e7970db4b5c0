/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup_test -- backups of a log that goes on, is compacted and recovers in between: each restores
 * to exactly what was there; a crash or a failing call at any moment leaves the last whole one; any
 * damaged byte is found.
 */
#include "test.h"

#include <string.h>

#include "base/bytes.h"
#include "log/backup.h"
#include "os/sim.h"
#include "sample.h"

#define LOG "data/log"
#define BACKUP "backup"
#define RESTORED "again/log"
#define SEGMENT_SIZE 1500

static int open_log(struct dbk_sim *sim, const char *folder, bool writer, struct dbk_log **log_out,
                    struct dbk_error *err)
{
    struct dbk_log_options options = {
        .os = dbk_sim_os(sim), .folder = folder, .writer = writer, .segment_size = SEGMENT_SIZE};
    return dbk_log_open(&options, log_out, err);
}

static struct dbk_sim *create_disk(uint64_t seed)
{
    struct dbk_sim *sim = dbk_sim_create(seed);
    struct dbk_os *os = dbk_sim_os(sim);
    struct dbk_error err = {0};
    assert_ok(os->make_folder(os, "data", &err), &err);
    assert_ok(os->make_folder(os, "again", &err), &err);
    assert_ok(os->sync_folder(os, "", &err), &err);
    return sim;
}

static void append(struct dbk_sim *sim, unsigned groups)
{
    struct dbk_log *log = NULL;
    struct dbk_error err = {0};
    assert_ok(open_log(sim, LOG, true, &log, &err), &err);
    for (unsigned i = 0; i < groups; i++)
        assert_ok(sample_append(log, 1 + i % 4, true, &err), &err);
    dbk_log_free(log);
}

static int backup(struct dbk_sim *sim, struct dbk_backup_result *result, struct dbk_error *err)
{
    return dbk_backup_make(
        &(struct dbk_backup_options){.os = dbk_sim_os(sim), .log = LOG, .backup = BACKUP}, result,
        err);
}

static int restore(struct dbk_sim *sim, struct dbk_backup_result *result, struct dbk_error *err)
{
    return dbk_backup_restore(
        &(struct dbk_backup_options){.os = dbk_sim_os(sim), .log = RESTORED, .backup = BACKUP},
        result, err);
}

/* What was restored holds the samples, by a reader and by a writer, and takes more. */
static uint64_t check_restored(struct dbk_sim *sim)
{
    struct dbk_log *log = NULL;
    struct dbk_error err = {0};
    uint64_t position = 0;
    for (int writer = 0; writer < 2; writer++) {
        assert_ok(open_log(sim, RESTORED, writer == 1, &log, &err), &err);
        if (!sample_check(log, &err))
            fail_msg("restored: %s", err.code < 0 ? err.message : "another event");
        position = dbk_log_last_position(log);
        if (writer == 1)
            assert_ok(sample_append(log, 1, true, &err), &err);
        dbk_log_free(log);
    }
    return position;
}

static uint64_t restore_and_check(struct dbk_sim *sim)
{
    struct dbk_backup_result result;
    struct dbk_error err = {0};
    struct dbk_sim *twin = dbk_sim_clone(sim, 5);
    assert_ok(restore(twin, &result, &err), &err);
    uint64_t position = check_restored(twin);
    assert_int_equal(position, result.last_position);
    dbk_sim_free(twin);
    return position;
}

static void test_log_backup__restores_what_was_there(void **state)
{
    (void)state;
    struct dbk_sim *sim = create_disk(11);
    struct dbk_backup_result result;
    struct dbk_error err = {0};
    uint64_t size = 0;
    append(sim, 0);
    for (unsigned groups = 0; groups < 9; groups++) {
        struct dbk_log *log = NULL;
        append(sim, groups);
        assert_ok(open_log(sim, LOG, true, &log, &err), &err);
        uint64_t last = dbk_log_last_position(log);
        dbk_log_free(log);
        assert_ok(backup(sim, &result, &err), &err);
        assert_int_equal(result.last_position, last);
        assert_int_equal(result.copied_size, result.size - size); /* only what is new */
        size = result.size;
        assert_ok(backup(sim, &result, &err), &err);
        assert_int_equal(result.copied_size, 0);
        assert_ok(
            dbk_backup_verify(&(struct dbk_backup_options){.os = dbk_sim_os(sim), .backup = BACKUP},
                              &result, &err),
            &err);
        assert_int_equal(restore_and_check(sim), last);
    }
    dbk_sim_free(sim);
}

/* The writer dies in the middle: what survives in its tail goes into a new segment. */
static void test_log_backup__goes_on_behind_a_recovery(void **state)
{
    (void)state;
    for (int keep = DBK_SIM_NONE; keep <= DBK_SIM_SUBSET; keep++) {
        struct dbk_sim *sim = create_disk(11);
        struct dbk_backup_result result;
        struct dbk_error err = {0};
        for (unsigned round = 0; round < 12; round++) {
            struct dbk_log *log = NULL;
            assert_ok(open_log(sim, LOG, true, &log, &err), &err);
            assert_ok(sample_append(log, 1 + round % 3, true, &err), &err);
            assert_ok(backup(sim, &result, &err), &err);
            assert_ok(sample_append(log, 2, round % 2 == 0, &err), &err);
            dbk_sim_crash_at(sim, 1, 0);
            dbk_log_free(log);
            dbk_sim_restart(sim, (enum dbk_sim_keep)keep, (enum dbk_sim_keep)keep, round);
            assert_int_equal(restore_and_check(sim), result.last_position);
        }
        dbk_sim_free(sim);
    }
}

static bool removes(void *context, const struct dbk_event *event)
{
    (void)context;
    return event->position % 2 == 0;
}

static int step(void *context, size_t size)
{
    (void)context;
    (void)size;
    return DBK_OK;
}

static void test_log_backup__takes_compacted_segments_anew(void **state)
{
    (void)state;
    struct dbk_sim *sim = create_disk(11);
    struct dbk_backup_result result;
    struct dbk_error err = {0};
    struct dbk_log *log = NULL;
    struct dbk_log_compacted compacted;
    append(sim, 30);
    assert_ok(backup(sim, &result, &err), &err);
    uint64_t segments = result.segments;
    assert_ok(open_log(sim, LOG, true, &log, &err), &err);
    assert_ok(dbk_log_compact(log, 1, &(struct dbk_log_compaction){removes, step, NULL}, &compacted,
                              &err),
              &err);
    dbk_log_free(log);
    assert_ok(backup(sim, &result, &err), &err);
    assert_int_equal(result.segments, segments);
    assert_true(result.copied_size > compacted.size && result.copied_size < 2 * compacted.size);
    assert_ok(restore(sim, &result, &err), &err);
    assert_ok(open_log(sim, RESTORED, true, &log, &err), &err);
    struct dbk_log_scan *scan = NULL;
    struct dbk_event event;
    uint64_t count = 0;
    uint64_t removed = 0;
    assert_ok(dbk_log_scan_open(log, (struct dbk_log_place){0}, 0, &scan, &err), &err);
    while (dbk_log_scan_next(scan, &event, NULL, &err) > 0) {
        assert_int_equal(event.position, ++count);
        removed += (event.flags & DBK_RECORD_REMOVED) != 0;
    }
    assert_int_equal(count, result.last_position);
    assert_int_equal(removed, compacted.removed);
    dbk_log_scan_free(scan);
    dbk_log_free(log);
    dbk_sim_free(sim);
}

static void test_log_backup__refuses_what_is_not_its_own(void **state)
{
    (void)state;
    struct dbk_sim *sim = create_disk(11);
    struct dbk_sim *other = NULL;
    struct dbk_backup_result result;
    struct dbk_error err = {0};
    assert_int_equal(backup(sim, &result, &err), DBK_ENOTFOUND);
    append(sim, 3);
    other = dbk_sim_clone(sim, 1);
    append(sim, 3);
    assert_ok(backup(sim, &result, &err), &err);
    struct dbk_slice manifest = dbk_sim_file(sim, BACKUP "/manifest");
    assert_ok(dbk_sim_os(other)->make_folder(dbk_sim_os(other), BACKUP, &err), &err);
    dbk_sim_set_file(other, BACKUP "/manifest", manifest);
    assert_int_equal(backup(other, &result, &err), DBK_ECONFLICT);
    assert_non_null(strstr(err.message, "the log is an older copy"));
    assert_ok(restore(sim, &result, &err), &err);
    assert_int_equal(restore(sim, &result, &err), DBK_EEXISTS);
    dbk_sim_free(other);
    other = create_disk(12);
    append(other, 9);
    assert_ok(dbk_sim_os(other)->make_folder(dbk_sim_os(other), BACKUP, &err), &err);
    dbk_sim_set_file(other, BACKUP "/manifest", dbk_sim_file(sim, BACKUP "/manifest"));
    assert_int_equal(backup(other, &result, &err), DBK_ECONFLICT);
    assert_non_null(strstr(err.message, "another book"));
    dbk_sim_free(other);
    dbk_sim_free(sim);
}

/* fail: the call fails, and all after it for a while; else the machine stops there. */
static void interrupt(struct dbk_sim *sim, bool restoring, bool fail, uint64_t old, uint64_t new)
{
    for (uint64_t at = 1;; at++) {
        struct dbk_sim *twin = dbk_sim_clone(sim, at);
        struct dbk_backup_result result;
        struct dbk_error err = {0};
        if (fail)
            dbk_sim_fail_at(twin, at, 0, at % 2 == 0 ? DBK_EFULL : DBK_EIO, true);
        else
            dbk_sim_crash_at(twin, at, DBK_SIM_CHANGES);
        int rc = restoring ? restore(twin, &result, &err) : backup(twin, &result, &err);
        bool ended = rc == DBK_OK && (fail || !dbk_sim_crashed(twin));
        dbk_sim_fail_at(twin, 0, 0, 0, false);
        if (!fail)
            dbk_sim_restart(twin, at % 5, at % 5, at);
        err = (struct dbk_error){0};
        if (restoring) {
            struct dbk_log *log = NULL;
            /* What is not whole is not opened, or it is whole. */
            int opened = open_log(twin, RESTORED, false, &log, &err);
            assert_true(opened < 0 || dbk_log_last_position(log) == new);
            dbk_log_free(log);
            rc = restore(twin, &result, &err);
            assert_true(rc == DBK_OK || (rc == DBK_EEXISTS && opened == DBK_OK));
            assert_int_equal(check_restored(twin), new);
        } else {
            if (old > 0) {
                uint64_t position = restore_and_check(twin);
                assert_true(position == old || position == new);
            }
            assert_ok(backup(twin, &result, &err), &err);
            assert_int_equal(restore_and_check(twin), new);
        }
        dbk_sim_free(twin);
        if (ended)
            break;
    }
}

static void test_log_backup__leaves_the_last_whole_one_when_interrupted(void **state)
{
    (void)state;
    struct dbk_sim *sim = create_disk(11);
    struct dbk_backup_result result;
    struct dbk_error err = {0};
    append(sim, 7);
    struct dbk_sim *first = dbk_sim_clone(sim, 2);
    assert_ok(backup(sim, &result, &err), &err);
    uint64_t old = result.last_position;
    interrupt(first, false, false, 0, old);
    append(sim, 9);
    struct dbk_sim *whole = dbk_sim_clone(sim, 3);
    assert_ok(backup(whole, &result, &err), &err);
    uint64_t new = result.last_position;
    for (int fail = 0; fail < 2; fail++) {
        interrupt(sim, false, fail == 1, old, new);
        interrupt(whole, true, fail == 1, old, new);
    }
    dbk_sim_free(whole);
    dbk_sim_free(first);
    dbk_sim_free(sim);
}

static void check_flips(struct dbk_sim *sim, const char *path, size_t size)
{
    for (size_t bit = 0; bit < size * 8; bit++) {
        struct dbk_backup_result result;
        struct dbk_error err = {0};
        dbk_sim_flip(sim, path, bit / 8, (uint8_t)(1u << bit % 8));
        int rc = dbk_backup_verify(
            &(struct dbk_backup_options){.os = dbk_sim_os(sim), .backup = BACKUP}, &result, &err);
        assert_true(rc == DBK_ECORRUPT || rc == DBK_EFORMAT);
        assert_int_not_equal(err.message[0], '\0');
        dbk_sim_flip(sim, path, bit / 8, (uint8_t)(1u << bit % 8));
    }
}

static void test_log_backup__finds_every_damaged_bit(void **state)
{
    (void)state;
    struct dbk_sim *sim = create_disk(11);
    struct dbk_backup_result result;
    struct dbk_backup_manifest manifest;
    struct dbk_error err = {0};
    uint32_t version = 0;
    append(sim, 12);
    assert_ok(backup(sim, &result, &err), &err);
    struct dbk_slice bytes = dbk_sim_file(sim, BACKUP "/manifest");
    assert_int_equal(dbk_backup_manifest_decode(bytes, &manifest, &version), DBK_OK);
    struct dbk_backup_entry entry = dbk_backup_entry_at(&manifest, 1);
    check_flips(sim, BACKUP "/manifest", bytes.size);
    char path[64];
    (void)snprintf(path, sizeof(path), BACKUP "/%020ju-%08x.seg", (uintmax_t)entry.first_position,
                   entry.header_crc);
    check_flips(sim, path, (size_t)entry.size);
    dbk_sim_flip(sim, path, 300, 1);
    assert_int_equal(restore(sim, &result, &err), DBK_ECORRUPT);
    assert_non_null(strstr(err.message, path));
    dbk_sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_backup__restores_what_was_there),
        cmocka_unit_test(test_log_backup__goes_on_behind_a_recovery),
        cmocka_unit_test(test_log_backup__takes_compacted_segments_anew),
        cmocka_unit_test(test_log_backup__refuses_what_is_not_its_own),
        cmocka_unit_test(test_log_backup__leaves_the_last_whole_one_when_interrupted),
        cmocka_unit_test(test_log_backup__finds_every_damaged_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
