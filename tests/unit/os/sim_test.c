/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_test -- the simulated disk keeps exactly what a disk must keep, and loses what it may.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "os/sim.h"

static struct dbk_sim *sim;
static struct dbk_os *os;
static struct dbk_error err;

static int create_sim(void **state)
{
    (void)state;
    sim = dbk_sim_create(7);
    os = dbk_sim_os(sim);
    err = (struct dbk_error){0};
    return 0;
}

/* A new disk instead of the one so far. */
static void renew(void)
{
    dbk_sim_free(sim);
    assert_int_equal(create_sim(NULL), 0);
}

static int free_sim(void **state)
{
    (void)state;
    dbk_sim_free(sim);
    return 0;
}

static struct dbk_file open_file(const char *path, unsigned flags)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    assert_ok(os->open(os, path, flags, &file, &err), &err);
    return file;
}

static void write_at(const struct dbk_file *file, const char *text, uint64_t offset)
{
    assert_ok(os->pwrite(os, file, dbk_slice_of(text), offset, &err), &err);
}

/* A file whose name and first bytes are durable. */
static struct dbk_file make_durable(const char *path, const char *text)
{
    struct dbk_file file = open_file(path, DBK_OS_WRITE | DBK_OS_CREATE);
    write_at(&file, text, 0);
    assert_ok(os->sync(os, &file, &err), &err);
    assert_ok(os->sync_folder(os, "", &err), &err);
    return file;
}

static void test_os_sim__behaves_like_a_disk(void **state)
{
    (void)state;
    char buffer[16];
    size_t got = 0;
    uint64_t size = 0;
    struct dbk_slice mapped;
    assert_ok(os->make_folder(os, "d/", &err), &err);
    assert_ok(os->make_folder(os, "d", &err), &err);
    struct dbk_file file = open_file("d/a", DBK_OS_WRITE | DBK_OS_CREATE | DBK_OS_NEW);
    struct dbk_file other = DBK_FILE_CLOSED;

    write_at(&file, "daybook", 3);
    assert_ok(os->pread(os, &file, buffer, sizeof(buffer), 1, &got, &err), &err);
    assert_int_equal(got, 9);
    assert_memory_equal(buffer, "\0\0daybook", 9);
    assert_ok(os->truncate(os, &file, 6, &err), &err);
    assert_ok(os->size(os, &file, &size, &err), &err);
    assert_int_equal(size, 6);
    assert_ok(os->map(os, &file, 6, &mapped, &err), &err);
    assert_ok(os->rename(os, "d/a", "d/b", &err), &err);
    assert_int_equal(os->open(os, "d/a", DBK_OS_READ, &other, &err), DBK_ENOTFOUND);
    assert_int_equal(os->open(os, "d/b", DBK_OS_CREATE | DBK_OS_NEW, &other, &err), DBK_EEXISTS);
    other = open_file("d/b", DBK_OS_READ);
    assert_int_equal(os->pwrite(os, &other, dbk_slice_of("x"), 0, &err), DBK_EIO);
    assert_ok(os->lock(os, &other, &err), &err);
    assert_int_equal(os->lock(os, &file, &err), DBK_EBUSY);
    os->close(os, &other);
    assert_ok(os->lock(os, &file, &err), &err);
    assert_int_equal(os->remove(os, "d", &err), DBK_EIO);
    assert_ok(os->remove(os, "d/b", &err), &err);
    assert_ok(os->remove(os, "d", &err), &err);
    assert_int_equal(os->open(os, "d/b", DBK_OS_CREATE, &other, &err), DBK_ENOTFOUND);
    assert_memory_equal(mapped.data, "\0\0\0day", 6);
    os->unmap(os, mapped);
    os->close(os, &file);
    assert_int_equal(os->pread(os, &file, buffer, 1, 0, &got, &err), DBK_EIO);
    int64_t now_us = os->now_us(os);
    dbk_sim_pass_us(sim, 1000);
    assert_true(os->now_us(os) > now_us + 1000);
}

static void test_os_sim__what_is_synced_survives_and_nothing_else_must(void **state)
{
    (void)state;
    struct dbk_file file = make_durable("a", "old");
    write_at(&file, "new", 0);
    struct dbk_file unnamed = open_file("b", DBK_OS_WRITE | DBK_OS_CREATE);
    write_at(&unnamed, "b", 0);
    assert_ok(os->sync(os, &unnamed, &err), &err);
    struct dbk_sim *twin = dbk_sim_clone(sim, 1);

    dbk_sim_restart(sim, DBK_SIM_NONE, DBK_SIM_NONE, 1);
    assert_slice_equal(dbk_sim_file(sim, "a"), "old");
    assert_null(dbk_sim_file(sim, "b").data);
    assert_slice_equal(dbk_sim_file(twin, "a"), "new");
    assert_slice_equal(dbk_sim_file(twin, "b"), "b");
    dbk_sim_free(twin);
}

static void test_os_sim__all_survives_when_all_is_kept(void **state)
{
    (void)state;
    struct dbk_file file = make_durable("a", "old");
    write_at(&file, "new", 1);
    assert_ok(os->rename(os, "a", "b", &err), &err);
    uint64_t fingerprint = dbk_sim_fingerprint(sim);
    dbk_sim_restart(sim, DBK_SIM_ALL, DBK_SIM_ALL, 1);
    assert_slice_equal(dbk_sim_file(sim, "b"), "onew");
    assert_true(dbk_sim_fingerprint(sim) == fingerprint);
    assert_int_equal(os->sync(os, &file, &err), DBK_EIO); /* closed by the crash */
}

static void test_os_sim__names_and_bytes_survive_apart(void **state)
{
    (void)state;
    for (int names_kept = 0; names_kept < 2; names_kept++) {
        renew();
        struct dbk_file file = make_durable("a", "old");
        os->close(os, &file);
        file = open_file("tmp", DBK_OS_WRITE | DBK_OS_CREATE);
        write_at(&file, "new", 0);
        assert_ok(os->rename(os, "tmp", "a", &err), &err);
        dbk_sim_restart(sim, names_kept ? DBK_SIM_NONE : DBK_SIM_ALL,
                        names_kept ? DBK_SIM_ALL : DBK_SIM_NONE, 1);
        assert_slice_equal(dbk_sim_file(sim, "a"), names_kept ? "" : "old");
    }
}

static void test_os_sim__prefixes_are_prefixes_of_the_calls(void **state)
{
    (void)state;
    unsigned seen = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        renew();
        struct dbk_file a = make_durable("a", "0");
        struct dbk_file b = make_durable("b", "0");
        write_at(&a, "1", 0);
        write_at(&b, "2", 0);
        write_at(&a, "3", 1);
        dbk_sim_restart(sim, DBK_SIM_PREFIX, DBK_SIM_PREFIX, seed);
        struct dbk_slice bytes_a = dbk_sim_file(sim, "a");
        struct dbk_slice bytes_b = dbk_sim_file(sim, "b");
        int kept = (bytes_a.data[0] == '1') + (bytes_b.data[0] == '2') + (bytes_a.size == 2);
        assert_true(kept < 1 || bytes_a.data[0] == '1');
        assert_true(kept < 2 || bytes_b.data[0] == '2');
        seen |= 1u << kept;
    }
    assert_int_equal(seen, 15);
}

static void test_os_sim__writes_are_torn_at_sectors(void **state)
{
    (void)state;
    enum { SECTORS = 4 };
    unsigned seen = 0;
    static char bytes[SECTORS * DBK_SIM_SECTOR_SIZE];
    memset(bytes, 'x', sizeof(bytes));
    for (uint64_t seed = 0; seed < 300; seed++) {
        renew();
        struct dbk_file file = make_durable("a", "");
        assert_ok(os->truncate(os, &file, sizeof(bytes), &err), &err);
        assert_ok(os->sync(os, &file, &err), &err);
        assert_ok(os->pwrite(os, &file, dbk_slice(bytes, sizeof(bytes)), 0, &err), &err);
        dbk_sim_restart(sim, DBK_SIM_TORN, DBK_SIM_NONE, seed);
        struct dbk_slice left = dbk_sim_file(sim, "a");
        unsigned kept = 0;
        assert_int_equal(left.size, sizeof(bytes));
        for (unsigned s = 0; s < SECTORS; s++) {
            const char *sector = left.data + (size_t)s * DBK_SIM_SECTOR_SIZE;
            for (size_t i = 1; i < DBK_SIM_SECTOR_SIZE; i++)
                assert_int_equal(sector[i], sector[0]);
            kept |= (unsigned)(sector[0] == 'x') << s;
        }
        seen |= 1u << kept;
    }
    assert_int_equal(seen, 0xFFFF);
}

static void test_os_sim__a_failed_sync_takes_its_bytes_along(void **state)
{
    (void)state;
    struct dbk_file file = make_durable("a", "old");
    write_at(&file, "lost", 0);
    dbk_sim_fail_at(sim, 1, DBK_SIM_SYNC, DBK_EIO, false);
    assert_int_equal(os->sync(os, &file, &err), DBK_EIO);
    assert_slice_equal(dbk_sim_file(sim, "a"), "lost");
    write_at(&file, "!", 5);
    assert_ok(os->sync(os, &file, &err), &err);
    dbk_sim_restart(sim, DBK_SIM_NONE, DBK_SIM_NONE, 1);
    struct dbk_slice bytes = dbk_sim_file(sim, "a");
    assert_int_equal(bytes.size, 6);
    assert_memory_equal(bytes.data, "old\0\0!", 6);
}

static void test_os_sim__faults_strike_the_call_they_were_set_for(void **state)
{
    (void)state;
    struct dbk_file file = make_durable("a", "");
    dbk_sim_fail_at(sim, 2, DBK_SIM_PWRITE, DBK_EFULL, false);
    write_at(&file, "1", 0);
    assert_ok(os->sync(os, &file, &err), &err);
    assert_int_equal(os->pwrite(os, &file, dbk_slice_of("2345"), 1, &err), DBK_EFULL);
    assert_true(dbk_sim_file(sim, "a").size < 5);
    write_at(&file, "2345", 1);
    dbk_sim_fail_at(sim, 1, 0, DBK_EDENIED, true);
    for (int i = 0; i < 3; i++)
        assert_int_equal(os->sync(os, &file, &err), DBK_EDENIED);
    dbk_sim_fail_at(sim, 0, 0, 0, false);
    assert_ok(os->sync(os, &file, &err), &err);
    assert_int_equal(dbk_sim_calls(sim, DBK_SIM_PWRITE), 4);

    dbk_sim_crash_at(sim, 2, 0);
    write_at(&file, "x", 0);
    assert_false(dbk_sim_crashed(sim));
    assert_int_equal(os->pwrite(os, &file, dbk_slice_of("y"), 0, &err), DBK_EIO);
    assert_true(dbk_sim_crashed(sim));
    assert_int_equal(os->pwrite(os, &file, dbk_slice_of("z"), 0, &err), DBK_EIO);
    dbk_sim_restart(sim, DBK_SIM_ALL, DBK_SIM_ALL, 1);
    assert_slice_equal(dbk_sim_file(sim, "a"), "y2345");
    assert_int_equal(dbk_sim_calls(sim, 0), 0);
}

static void test_os_sim__files_are_replaced_whole_at_every_crash(void **state)
{
    (void)state;
    struct dbk_slice old = DBK_SLICE_LITERAL("the old content");
    struct dbk_slice new = DBK_SLICE_LITERAL("the new content");
    for (uint64_t at = 1;; at++) {
        for (unsigned keep = 0; keep < 25 * 4; keep++) {
            renew();
            assert_ok(dbk_os_replace_file(os, "a", old, &err), &err);
            dbk_sim_crash_at(sim, at, 0);
            int rc = dbk_os_replace_file(os, "a", new, &err);
            if (!dbk_sim_crashed(sim))
                return;
            dbk_sim_restart(sim, keep % 5, keep / 5 % 5, keep);
            struct dbk_slice bytes = dbk_sim_file(sim, "a");
            assert_true(dbk_slice_equal(bytes, new) || (rc < 0 && dbk_slice_equal(bytes, old)));
        }
    }
}

static void test_os_sim__the_same_seeds_do_the_same(void **state)
{
    (void)state;
    uint64_t fingerprints[2];
    for (int i = 0; i < 2; i++) {
        renew();
        char bytes[5000];
        assert_ok(os->random(os, bytes, sizeof(bytes), &err), &err);
        struct dbk_file file = make_durable("a", "");
        for (uint64_t at = 0; at < 20; at++)
            assert_ok(os->pwrite(os, &file, dbk_slice(bytes, sizeof(bytes)), at * 100, &err), &err);
        dbk_sim_restart(sim, DBK_SIM_SUBSET, DBK_SIM_SUBSET, 5);
        fingerprints[i] = dbk_sim_fingerprint(sim);
        dbk_sim_flip(sim, "a", 0, 1);
        assert_true(dbk_sim_fingerprint(sim) != fingerprints[i]);
    }
    assert_true(fingerprints[0] == fingerprints[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_os_sim__##name, create_sim, free_sim)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(behaves_like_a_disk),
        TEST(what_is_synced_survives_and_nothing_else_must),
        TEST(all_survives_when_all_is_kept),
        TEST(names_and_bytes_survive_apart),
        TEST(prefixes_are_prefixes_of_the_calls),
        TEST(writes_are_torn_at_sectors),
        TEST(a_failed_sync_takes_its_bytes_along),
        TEST(faults_strike_the_call_they_were_set_for),
        TEST(files_are_replaced_whole_at_every_crash),
        TEST(the_same_seeds_do_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
