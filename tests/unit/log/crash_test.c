/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash_test -- whatever moment the machine stops at, and whichever call fails: what was
 * acknowledged is there, what was never appended is not, and what is there is a prefix in order.
 *
 * A workload of groups over several segments runs on the simulated disk. It is crashed at every
 * call, and what was pending is kept in every way; then the log is opened by a reader and by a
 * writer, and the latter is itself crashed at every call of its recovery. The model is two numbers:
 * the last acknowledged position, and the last that anyone tried to append; content and order
 * follow from the position (sample.h).
 *
 * DBK_CRASH_SEEDS (default 1) sets how often each case is tried with other chances.
 */
#include "test.h"

#include <stdlib.h>

#include "os/sim.h"
#include "sample.h"

#define FOLDER "data/log"
#define SEGMENT_SIZE 1500
#define KEEP_COUNT 5

/* Ways to keep data and names: each alike, the two that set them against each other, and one more
   by turns. */
static const enum dbk_sim_keep keeps[][2] = {
    {DBK_SIM_NONE, DBK_SIM_NONE},     {DBK_SIM_ALL, DBK_SIM_ALL},
    {DBK_SIM_PREFIX, DBK_SIM_PREFIX}, {DBK_SIM_TORN, DBK_SIM_TORN},
    {DBK_SIM_SUBSET, DBK_SIM_SUBSET}, {DBK_SIM_NONE, DBK_SIM_ALL},
    {DBK_SIM_ALL, DBK_SIM_NONE},
};
#define KEEPS_COUNT (sizeof(keeps) / sizeof(keeps[0]))

#define POSITION_MAX 256

struct model {
    uint64_t acknowledged; /* these must survive */
    uint64_t attempted;    /* and none past these may appear */
    unsigned
        counts[POSITION_MAX]; /* behind each position, the size of the group tried there last */
};

static uint64_t seed_count(void)
{
    const char *text = getenv("DBK_CRASH_SEEDS");
    return text == NULL ? 1 : strtoull(text, NULL, 10);
}

static int open_log(struct dbk_sim *sim, bool writer, struct dbk_log **log_out,
                    struct dbk_error *err)
{
    struct dbk_log_options options = {
        .os = dbk_sim_os(sim), .folder = FOLDER, .writer = writer, .segment_size = SEGMENT_SIZE};
    return dbk_log_open(&options, log_out, err);
}

static struct dbk_sim *create_disk(uint64_t seed)
{
    struct dbk_sim *sim = dbk_sim_create(seed);
    struct dbk_os *os = dbk_sim_os(sim);
    struct dbk_error err = {0};
    assert_ok(os->make_folder(os, "data", &err), &err);
    assert_ok(os->sync_folder(os, "", &err), &err);
    return sim;
}

/* Appends a group and keeps the model. True when the log still takes more. */
static bool append(struct dbk_log *log, unsigned count, bool sync, struct model *model)
{
    struct dbk_error err = {0};
    uint64_t before = dbk_log_last_position(log);
    model->attempted = before + count;
    model->counts[before] = count;
    int rc = sample_append(log, count, sync, &err);
    if (rc == DBK_OK && sync)
        model->acknowledged = before + count;
    if (rc == DBK_EFULL || rc == DBK_EIO || rc == DBK_EDENIED) {
        /* Nothing was added, and trying again is fine. */
        assert_int_equal(dbk_log_last_position(log), before);
        model->attempted = before;
    }
    return rc == DBK_OK || rc == DBK_EFULL || rc == DBK_EIO || rc == DBK_EDENIED;
}

/* As far as the thread that prepares segments may have come by now. */
static void prepare(struct dbk_log *log, size_t steps)
{
    while (steps > 0 && dbk_log_prepare(log))
        steps--;
}

/* Two sessions of groups of several sizes; ends early when the log takes no more. */
static void work(struct dbk_sim *sim, struct model *model)
{
    static const unsigned counts[] = {1, 3, 1, 9, 2, 1, 30, 1, 2, 12, 1, 5};
    for (unsigned session = 0; session < 2; session++) {
        struct dbk_log *log = NULL;
        struct dbk_error err = {0};
        if (open_log(sim, true, &log, &err) < 0)
            continue;
        assert_true(dbk_log_last_position(log) >= model->acknowledged);
        assert_true(dbk_log_last_position(log) <= model->attempted);
        /* What a recovery shows is as good as acknowledged. */
        model->acknowledged = dbk_log_last_position(log);
        model->attempted = model->acknowledged;
        bool takes_more = true;
        for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]) && takes_more; i++) {
            takes_more = append(log, counts[i], i % 5 != 4, model);
            prepare(log, i % 3);
        }
        /* A crash takes back what the last call said. */
        if (dbk_sim_crashed(sim) && model->attempted < model->acknowledged + 30)
            model->attempted = model->acknowledged + 30;
        dbk_log_free(log);
    }
}

/* Ends without closing, so that all that was not synced is still pending. */
static void stop(struct dbk_sim *sim, struct dbk_log *log)
{
    dbk_sim_crash_at(sim, 1, 0);
    dbk_log_free(log);
}

/* A reader sees a prefix of what the writer will find. */
static uint64_t check_reader(struct dbk_sim *sim)
{
    struct dbk_log *log = NULL;
    struct dbk_error err = {0};
    int rc = open_log(sim, false, &log, &err);
    if (rc == DBK_ENOTFOUND)
        return 0;
    assert_ok(rc, &err);
    if (!sample_check(log, &err))
        fail_msg("reader: %s", err.code < 0 ? err.message : "another event");
    uint64_t position = dbk_log_last_position(log);
    dbk_log_free(log);
    return position;
}

/* Behind a sealed segment nothing is left. */
static void check_sizes(struct dbk_sim *sim, const struct dbk_log *log)
{
    for (uint32_t i = 0; i + 1 < dbk_log_segment_count(log); i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), FOLDER "/%020ju.seg",
                       (uintmax_t)dbk_log_segment_first_position(log, i));
        assert_int_equal(dbk_sim_file(sim, path).size, dbk_log_segment_size(log, i));
    }
}

/* Opens for writing: what is there agrees with the model. Its last position. */
static uint64_t check_writer(struct dbk_sim *sim, const struct model *model)
{
    struct dbk_log *log = NULL;
    struct dbk_error err = {0};
    assert_ok(open_log(sim, true, &log, &err), &err);
    uint64_t position = dbk_log_last_position(log);
    if (position < model->acknowledged || position > model->attempted)
        fail_msg("the log ends at %ju, acknowledged %ju, attempted %ju", (uintmax_t)position,
                 (uintmax_t)model->acknowledged, (uintmax_t)model->attempted);
    if (!sample_check(log, &err))
        fail_msg("writer: %s", err.code < 0 ? err.message : "another event");
    check_sizes(sim, log);
    dbk_log_free(log);
    return position;
}

/* Opens, crashes as hard as can be, opens again: what was shown once stays. Then it goes on. */
static void check_lasting(struct dbk_sim *sim, const struct model *model)
{
    struct dbk_log *log = NULL;
    struct dbk_error err = {0};
    uint64_t read = check_reader(sim);
    assert_ok(open_log(sim, true, &log, &err), &err);
    uint64_t position = dbk_log_last_position(log);
    assert_true(read <= position);
    stop(sim, log);
    dbk_sim_restart(sim, DBK_SIM_NONE, DBK_SIM_NONE, 0);
    struct model shown = {.acknowledged = position, .attempted = position};
    assert_int_equal(check_writer(sim, model), position);
    /* The same group once more, in the place where it was torn: nothing of what had stood behind
       it may come back. */
    unsigned count = model->counts[position] > 0 ? model->counts[position] : 4;
    assert_ok(open_log(sim, true, &log, &err), &err);
    assert_true(append(log, count, true, &shown));
    assert_int_equal(shown.acknowledged, position + count);
    stop(sim, log);
    dbk_sim_restart(sim, DBK_SIM_NONE, DBK_SIM_NONE, 0);
    assert_int_equal(check_writer(sim, &shown), position + count);
    assert_int_equal(check_reader(sim), position + count);
}

/* The workload crashed at its n-th call; NULL when it has fewer. */
static struct dbk_sim *crash_work(uint64_t at, uint64_t seed, struct model *model)
{
    struct dbk_sim *sim = create_disk(seed);
    *model = (struct model){0};
    dbk_sim_crash_at(sim, at, DBK_SIM_CHANGES);
    work(sim, model);
    if (dbk_sim_crashed(sim))
        return sim;
    dbk_sim_free(sim);
    return NULL;
}

static void test_log_crash__at_every_call_with_every_remainder(void **state)
{
    (void)state;
    struct model model;
    for (uint64_t seed = 0; seed < seed_count(); seed++) {
        struct dbk_sim *sim = NULL;
        for (uint64_t at = 1; (sim = crash_work(at, seed, &model)) != NULL; at++) {
            dbk_sim_free(sim);
            for (size_t keep = 0; keep <= KEEPS_COUNT; keep++) {
                uint64_t turn = at + seed;
                sim = crash_work(at, seed, &model);
                if (keep < KEEPS_COUNT)
                    dbk_sim_restart(sim, keeps[keep][0], keeps[keep][1], seed * 1000 + at);
                else
                    dbk_sim_restart(sim, turn % KEEP_COUNT, turn / KEEP_COUNT % KEEP_COUNT, turn);
                check_lasting(sim, &model);
                dbk_sim_free(sim);
            }
        }
    }
}

/* Crashes the recovery of this disk at every call, with every remainder. */
static void crash_recovery(struct dbk_sim *crashed, const struct model *model, uint64_t seed)
{
    for (uint64_t at = 1;; at++) {
        for (unsigned keep = 0; keep < KEEP_COUNT; keep++) {
            struct dbk_log *log = NULL;
            struct dbk_sim *sim = dbk_sim_clone(crashed, seed);
            dbk_sim_crash_at(sim, at, DBK_SIM_CHANGES);
            int rc = open_log(sim, true, &log, NULL);
            bool through = !dbk_sim_crashed(sim);
            assert_int_equal(rc == DBK_OK, through);
            dbk_log_free(log);
            dbk_sim_restart(sim, keep, (keep + at) % KEEP_COUNT, seed + at);
            (void)check_writer(sim, model);
            dbk_sim_free(sim);
            if (through)
                return;
        }
    }
}

static void test_log_crash__at_every_call_of_the_recovery(void **state)
{
    (void)state;
    struct model model;
    for (uint64_t seed = 0; seed < seed_count(); seed++) {
        struct dbk_sim *sim = NULL;
        for (uint64_t at = 1; (sim = crash_work(at, seed, &model)) != NULL; at++) {
            dbk_sim_restart(sim, (at + seed) % KEEP_COUNT, (at / KEEP_COUNT) % KEEP_COUNT, at);
            crash_recovery(sim, &model, seed * 1000 + at);
            dbk_sim_free(sim);
        }
    }
}

/* Runs the workload with one fault; false when it has fewer calls. */
static bool fail_work(uint64_t at, int code, bool for_ever, enum dbk_sim_keep keep)
{
    struct dbk_sim *sim = create_disk(at);
    struct model model = {0};
    dbk_sim_fail_at(sim, at, 0, code, for_ever);
    uint64_t before = dbk_sim_calls(sim, 0);
    work(sim, &model);
    bool struck = dbk_sim_calls(sim, 0) - before >= at;
    dbk_sim_fail_at(sim, 0, 0, 0, false);
    (void)check_reader(sim);
    dbk_sim_restart(sim, keep, keep, at);
    check_lasting(sim, &model);
    dbk_sim_free(sim);
    return struck;
}

static void test_log_crash__every_call_fails_once_and_for_ever(void **state)
{
    (void)state;
    static const int codes[] = {DBK_EIO, DBK_EFULL, DBK_EDENIED};
    for (uint64_t seed = 0; seed < seed_count(); seed++)
        for (unsigned i = 0; i < 3 * 2; i++)
            for (uint64_t at = 1; fail_work(at, codes[i % 3], i >= 3,
                                            (enum dbk_sim_keep)((at + i + seed) % KEEP_COUNT));
                 at++)
                continue;
}

static void test_log_crash__a_failed_sync_stops_the_log_and_reading_goes_on(void **state)
{
    (void)state;
    struct dbk_sim *sim = create_disk(1);
    struct dbk_log *log = NULL;
    struct dbk_error err = {0};
    assert_ok(open_log(sim, true, &log, &err), &err);
    assert_ok(sample_append(log, 5, true, &err), &err);
    dbk_sim_fail_at(sim, 1, DBK_SIM_SYNC, DBK_EIO, false);
    assert_int_equal(sample_append(log, 2, true, &err), DBK_EUNKNOWN);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sample_append(log, 1, true, &err), DBK_ESTOPPED);
    assert_int_equal(dbk_log_last_position(log), 5);
    assert_true(sample_check(log, &err));
    dbk_log_free(log);
    /* The bytes can be read, but they are not on the disk: they are written anew. */
    assert_ok(open_log(sim, true, &log, &err), &err);
    assert_int_equal(dbk_log_last_position(log), 7);
    dbk_log_free(log);
    dbk_sim_restart(sim, DBK_SIM_NONE, DBK_SIM_NONE, 1);
    struct model model = {.acknowledged = 7, .attempted = 7};
    (void)check_writer(sim, &model);
    dbk_sim_free(sim);
}

/*
 * A group that was torn is appended again, byte for byte: what had stood behind it must not be
 * taken for its successor, although it would follow.
 */
static void test_log_crash__a_torn_tail_does_not_come_back(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 64; seed++) {
        struct dbk_sim *sim = create_disk(1);
        struct dbk_log *log = NULL;
        struct dbk_error err = {0};
        assert_ok(open_log(sim, true, &log, &err), &err);
        assert_ok(sample_append(log, 2, true, &err), &err);
        uint32_t torn = dbk_log_end(log).offset;
        assert_ok(sample_append(log, 3, false, &err), &err);
        assert_ok(sample_append(log, 2, false, &err), &err);
        stop(sim, log);
        dbk_sim_restart(sim, DBK_SIM_ALL, DBK_SIM_ALL, 0);
        dbk_sim_flip(sim, FOLDER "/00000000000000000001.seg", torn + 100, 1);

        assert_ok(open_log(sim, true, &log, &err), &err);
        assert_int_equal(dbk_log_last_position(log), 2);
        assert_ok(sample_append(log, 3, seed % 2 == 0, &err), &err);
        stop(sim, log);
        dbk_sim_restart(sim, DBK_SIM_SUBSET, DBK_SIM_ALL, seed);
        struct model model = {.acknowledged = seed % 2 == 0 ? 5 : 2, .attempted = 5};
        (void)check_writer(sim, &model);
        dbk_sim_free(sim);
    }
}

static void test_log_crash__a_full_disk_refuses_and_goes_on_by_itself(void **state)
{
    (void)state;
    struct dbk_sim *sim = create_disk(1);
    struct dbk_log *log = NULL;
    struct dbk_error err = {0};
    assert_ok(open_log(sim, true, &log, &err), &err);
    assert_ok(sample_append(log, 5, true, &err), &err);
    for (unsigned i = 0; i < 40; i++) {
        dbk_sim_fail_at(sim, 1, DBK_SIM_PWRITE, DBK_EFULL, true);
        assert_int_equal(sample_append(log, 2, true, &err), DBK_EFULL);
        assert_int_equal(sample_append(log, 30, true, &err), DBK_EFULL);
        assert_int_equal(dbk_log_last_position(log), 5 + i);
        assert_true(sample_check(log, &err));
        dbk_sim_fail_at(sim, 0, 0, 0, false);
        assert_ok(sample_append(log, 1, true, &err), &err);
    }
    assert_true(sample_check(log, &err));
    dbk_log_free(log);
    dbk_sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_crash__at_every_call_with_every_remainder),
        cmocka_unit_test(test_log_crash__at_every_call_of_the_recovery),
        cmocka_unit_test(test_log_crash__every_call_fails_once_and_for_ever),
        cmocka_unit_test(test_log_crash__a_failed_sync_stops_the_log_and_reading_goes_on),
        cmocka_unit_test(test_log_crash__a_torn_tail_does_not_come_back),
        cmocka_unit_test(test_log_crash__a_full_disk_refuses_and_goes_on_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
