/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys_test -- subjects' keys across crashes, failures, damage and forgetting.
 *
 * One life of a book's keys (made, forgotten, two rotations) runs on the simulated disk and is cut
 * off at each of its calls. What was acknowledged before the cut is the oracle: those keys must be
 * the same afterwards, those forgotten must be gone, and of epochs only one may be left.
 */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/memory.h"
#include "os/sim.h"
#include "vault/erased.h"
#include "vault/keys.h"

#define FOLDER "keys"
#define TABLE FOLDER "/subjects.keys"
#define LIST FOLDER "/erased.list"
#define EPOCH_3 FOLDER "/epoch-0000000003.key"

static const struct dbk_uuid book = {{1, 2, 3}};
static const char *const subjects[] = {"ann", "bob", "cem", "dan", "eve"};
enum { ANN, BOB, CEM, DAN, EVE, SUBJECTS };

/* What a book would remember. */
struct life {
    struct dbk_key keys[SUBJECTS];
    bool known[SUBJECTS];     /* acknowledged */
    bool forgotten[SUBJECTS]; /* its event is durable */
    uint64_t log_epoch;
};

static struct dbk_keys *open_with(struct dbk_os *os, const struct life *life, bool create,
                                  const char *passphrase, int *rc_out, struct dbk_error *err)
{
    struct dbk_uuid forgotten[SUBJECTS];
    size_t count = 0;
    struct dbk_keys *keys = NULL;
    for (size_t i = 0; i < SUBJECTS; i++)
        if (life->forgotten[i])
            forgotten[count++] = life->keys[i].id;
    *rc_out =
        dbk_keys_open(&(struct dbk_keys_options){.os = os,
                                                 .folder = FOLDER,
                                                 .book_id = book,
                                                 .writer = true,
                                                 .create = create,
                                                 .root = {.passphrase = dbk_slice_of(passphrase),
                                                          .file = "secrets/root",
                                                          .passes = 1,
                                                          .memory = 8 << 10},
                                                 .log_epoch = life->log_epoch,
                                                 .forgotten = forgotten,
                                                 .forgotten_count = count},
                      &keys, err);
    return keys;
}

static void make(struct dbk_keys *keys, struct life *life, size_t from, size_t to)
{
    struct dbk_key made[SUBJECTS];
    int rc = DBK_OK;
    for (size_t i = from; rc == DBK_OK && i <= to; i++)
        rc = dbk_keys_make(keys, dbk_slice_of(subjects[i]), &made[i], NULL);
    if (rc == DBK_OK)
        rc = dbk_keys_sync(keys, NULL);
    for (size_t i = from; rc == DBK_OK && i <= to; i++) {
        life->keys[i] = made[i];
        life->known[i] = true;
    }
}

static void forget(struct dbk_keys *keys, struct life *life, size_t i)
{
    if (!life->known[i])
        return;
    life->forgotten[i] = true;
    dbk_ignore(dbk_keys_forget(keys, &life->keys[i].id, 1, NULL));
}

static void rotate(struct dbk_keys *keys, struct life *life)
{
    uint64_t epoch = 0;
    if (dbk_keys_rotate(keys, &epoch, NULL) == DBK_OK)
        life->log_epoch = epoch;
}

static void live(struct dbk_os *os, struct life *life, const char *passphrase)
{
    int rc = DBK_OK;
    struct dbk_keys *keys = open_with(os, life, true, passphrase, &rc, NULL);
    if (keys == NULL)
        return;
    life->log_epoch = 1;
    make(keys, life, ANN, CEM);
    forget(keys, life, ANN);
    rotate(keys, life);
    make(keys, life, DAN, DAN);
    forget(keys, life, BOB);
    rotate(keys, life);
    dbk_keys_free(keys);
}

static int count_epochs(const char *name, void *context)
{
    *(int *)context += strncmp(name, "epoch-", 6) == 0;
    assert_string_not_equal(name, "subjects.tmp");
    return DBK_OK;
}

static void check(struct dbk_keys *keys, struct dbk_os *os, const struct life *life)
{
    int epochs = 0;
    struct dbk_error err = {0};
    for (size_t i = 0; i < SUBJECTS; i++) {
        struct dbk_key key;
        if (!life->known[i])
            continue;
        int by_id = dbk_keys_find(keys, &life->keys[i].id, &key, &err);
        if (life->forgotten[i]) {
            assert_int_equal(by_id, DBK_ENOTFOUND);
            assert_int_equal(dbk_keys_of_subject(keys, dbk_slice_of(subjects[i]), &key, &err),
                             DBK_ENOTFOUND);
            assert_true(dbk_keys_is_erased(keys, &life->keys[i].id));
            continue;
        }
        assert_ok(by_id, &err);
        assert_memory_equal(&key, &life->keys[i], sizeof(key));
        assert_ok(dbk_keys_of_subject(keys, dbk_slice_of(subjects[i]), &key, &err), &err);
        assert_memory_equal(&key, &life->keys[i], sizeof(key));
    }
    assert_ok(os->list(os, FOLDER, count_epochs, &epochs, &err), &err);
    assert_int_equal(epochs, 1);
}

/* After whatever happened the keys open, are right, and can be worked with. */
static void check_reopened(struct dbk_os *os, struct life *life, const char *passphrase)
{
    struct dbk_error err = {0};
    int rc = DBK_OK;
    for (int round = 0; round < 2; round++) {
        struct dbk_keys *keys = open_with(os, life, life->log_epoch == 0, passphrase, &rc, &err);
        assert_ok(rc, &err);
        check(keys, os, life);
        if (round == 0) {
            life->log_epoch = dbk_keys_epoch(keys);
            make(keys, life, EVE, EVE);
            assert_true(life->known[EVE]);
            rotate(keys, life);
            check(keys, os, life);
        }
        dbk_keys_free(keys);
    }
}

static void test_vault_keys__any_crash_leaves_what_was_acknowledged(void **state)
{
    (void)state;
    static const enum dbk_sim_keep keeps[] = {DBK_SIM_NONE, DBK_SIM_ALL, DBK_SIM_PREFIX,
                                              DBK_SIM_TORN, DBK_SIM_SUBSET};
    struct dbk_sim *whole = dbk_sim_create(1);
    struct life life = {0};
    live(dbk_sim_os(whole), &life, NULL);
    uint64_t calls = dbk_sim_calls(whole, DBK_SIM_CHANGES);
    assert_int_equal(life.log_epoch, 3);
    dbk_sim_free(whole);
    for (uint64_t at = 1; at <= calls; at++) {
        for (size_t keep = 0; keep < 5; keep++) {
            for (uint64_t seed = 1; seed <= (keep < 2 ? 1 : 4); seed++) {
                struct dbk_sim *sim = dbk_sim_create(1);
                struct life cut = {0};
                dbk_sim_crash_at(sim, at, DBK_SIM_CHANGES);
                live(dbk_sim_os(sim), &cut, NULL);
                dbk_sim_restart(sim, keeps[keep], keeps[keep], seed);
                check_reopened(dbk_sim_os(sim), &cut, NULL);
                dbk_sim_free(sim);
            }
        }
    }
}

static void test_vault_keys__any_failing_call_leaves_what_was_acknowledged(void **state)
{
    (void)state;
    struct dbk_sim *whole = dbk_sim_create(1);
    struct life life = {0};
    live(dbk_sim_os(whole), &life, "opensesame");
    uint64_t calls = dbk_sim_calls(whole, 0);
    dbk_sim_free(whole);
    for (uint64_t at = 1; at <= calls; at++) {
        struct dbk_sim *sim = dbk_sim_create(1);
        struct life cut = {0};
        dbk_sim_fail_at(sim, at, 0, DBK_EFULL, false);
        live(dbk_sim_os(sim), &cut, "opensesame");
        dbk_sim_fail_at(sim, 0, 0, 0, false);
        dbk_sim_restart(sim, DBK_SIM_NONE, DBK_SIM_NONE, at);
        check_reopened(dbk_sim_os(sim), &cut, "opensesame");
        dbk_sim_free(sim);
    }
}

/* ---- What is refused, and by which words ---- */

static struct dbk_sim *sim;
static struct life made;

static int make_life(void **state)
{
    (void)state;
    memset(&made, 0, sizeof(made));
    sim = dbk_sim_create(1);
    live(dbk_sim_os(sim), &made, NULL);
    return made.log_epoch == 3 ? 0 : -1;
}

static int free_life(void **state)
{
    (void)state;
    dbk_sim_free(sim);
    return 0;
}

static void assert_refused(struct dbk_sim *with, const struct life *life, int code,
                           const char *words)
{
    struct dbk_error err = {0};
    int rc = DBK_OK;
    uint64_t before = dbk_sim_fingerprint(with);
    struct dbk_keys *keys = open_with(dbk_sim_os(with), life, false, NULL, &rc, &err);
    assert_null(keys);
    if (rc != code || strstr(err.message, words) == NULL)
        fail_msg("%s: %s", dbk_code_name(rc), err.message);
    if (before != dbk_sim_fingerprint(with))
        fail_msg("a refused open changed a file: %s", err.message);
}

static void test_vault_keys__files_that_do_not_fit_are_refused_by_name(void **state)
{
    (void)state;
    struct life old = made;
    struct dbk_sim *copy = dbk_sim_clone(sim, 1);

    dbk_ignore(dbk_sim_os(copy)->remove(dbk_sim_os(copy), TABLE, NULL));
    assert_refused(copy, &made, DBK_ENOTFOUND,
                   "subjects.keys is missing, and the log tells of epoch 3");
    dbk_sim_free(copy);

    copy = dbk_sim_clone(sim, 1);
    dbk_ignore(dbk_sim_os(copy)->remove(dbk_sim_os(copy), EPOCH_3, NULL));
    assert_refused(copy, &made, DBK_ENOTFOUND, "epoch-0000000003.key is missing");
    dbk_sim_free(copy);

    copy = dbk_sim_clone(sim, 1);
    dbk_ignore(dbk_sim_os(copy)->remove(dbk_sim_os(copy), LIST, NULL));
    assert_refused(copy, &made, DBK_ENOTFOUND, "erased.list is missing");
    dbk_sim_free(copy);

    old.log_epoch = 4;
    assert_refused(sim, &old, DBK_ECONFLICT, "is of epoch 3, and the log tells of epoch 4");

    old = made;
    old.forgotten[EVE] = true;
    old.keys[EVE].id = (struct dbk_uuid){{9}};
    assert_refused(sim, &old, DBK_ECONFLICT, "never had the key 09000000");
}

static void test_vault_keys__an_older_list_is_refused(void **state)
{
    (void)state;
    struct dbk_slice list = dbk_sim_file(sim, LIST);
    assert_int_equal(list.size, DBK_ERASED_HEADER_SIZE + 2 * DBK_ERASED_ENTRY_SIZE);
    char *bytes = malloc(list.size);
    size_t size = list.size;
    memcpy(bytes, list.data, size);
    for (size_t cut = DBK_ERASED_HEADER_SIZE; cut < size; cut++) {
        struct dbk_sim *copy = dbk_sim_clone(sim, 1);
        dbk_sim_set_file(copy, LIST, dbk_slice(bytes, cut));
        assert_refused(copy, &made, DBK_ECORRUPT, "whole entries, and the keys know of 2");
        dbk_sim_free(copy);
    }
    free(bytes);
}

/* An entry altered with its checksums mended: only the mac tells. */
static void test_vault_keys__a_forged_list_is_refused(void **state)
{
    (void)state;
    char bytes[DBK_ERASED_HEADER_SIZE + 2 * DBK_ERASED_ENTRY_SIZE];
    struct dbk_slice list = dbk_sim_file(sim, LIST);
    memcpy(bytes, list.data, sizeof(bytes));
    for (size_t at = 0; at < 64; at++) {
        char forged[sizeof(bytes)];
        memcpy(forged, bytes, sizeof(bytes));
        forged[DBK_ERASED_HEADER_SIZE + at] ^= 1;
        uint32_t crc = dbk_get_u32(forged + 12);
        for (size_t entry = 0; entry < 2; entry++) {
            char *begin = forged + DBK_ERASED_HEADER_SIZE + entry * DBK_ERASED_ENTRY_SIZE;
            crc = dbk_crc32c(crc, dbk_slice(begin, 64));
            dbk_put_u32(begin + 64, crc);
        }
        struct dbk_sim *copy = dbk_sim_clone(sim, 1);
        dbk_sim_set_file(copy, LIST, dbk_slice(forged, sizeof(forged)));
        assert_refused(copy, &made, DBK_ECORRUPT, "was altered");
        dbk_sim_free(copy);
    }
}

/* Every bit of the files' headers and slots: found, or of no effect. */
static void test_vault_keys__damage_is_found(void **state)
{
    (void)state;
    static const char *const paths[] = {TABLE, EPOCH_3, LIST};
    for (size_t file = 0; file < 3; file++) {
        size_t size = dbk_sim_file(sim, paths[file]).size;
        for (size_t at = 0; at < size && at < 4096 + 4 * DBK_SLOT_SIZE; at++) {
            struct dbk_error err = {0};
            int rc = DBK_OK;
            if (file == 0 && at >= 128 && at < 4096 && at % 512 > 40)
                continue; /* between the counters: nothing stands there */
            struct dbk_sim *copy = dbk_sim_clone(sim, 1);
            dbk_sim_flip(copy, paths[file], at, (uint8_t)(1u << at % 8));
            struct dbk_keys *keys = open_with(dbk_sim_os(copy), &made, false, NULL, &rc, &err);
            if (keys != NULL)
                check(keys, dbk_sim_os(copy), &made);
            else
                assert_true(rc == DBK_ECORRUPT || rc == DBK_EFORMAT || rc == DBK_ECONFLICT);
            if (keys != NULL && !(file == 0 && at >= 512))
                fail_msg("%s: a bit of byte %zu was missed", paths[file], at);
            dbk_keys_free(keys);
            dbk_sim_free(copy);
        }
    }
}

static void test_vault_keys__an_older_copy_of_the_table_brings_nothing_back(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct life life = {0};
    int rc = DBK_OK;
    struct dbk_sim *disk = dbk_sim_create(7);
    struct dbk_os *os = dbk_sim_os(disk);
    struct dbk_keys *keys = open_with(os, &life, true, NULL, &rc, &err);
    assert_ok(rc, &err);
    life.log_epoch = 1;
    make(keys, &life, ANN, BOB);
    dbk_keys_free(keys);
    struct dbk_sim *before = dbk_sim_clone(disk, 1);

    keys = open_with(os, &life, false, NULL, &rc, &err);
    forget(keys, &life, ANN);
    dbk_keys_free(keys);
    /* The old table beside the new list, of the same epoch: what was forgotten is destroyed. */
    struct dbk_slice old = dbk_sim_file(before, TABLE);
    dbk_sim_set_file(disk, TABLE, old);
    keys = open_with(os, &life, false, NULL, &rc, &err);
    assert_ok(rc, &err);
    check(keys, os, &life);
    rotate(keys, &life);
    dbk_keys_free(keys);
    /* And once the epoch has gone, it is refused. */
    dbk_sim_set_file(disk, TABLE, dbk_sim_file(before, TABLE));
    assert_refused(disk, &life, DBK_ECONFLICT, "it is an older copy");
    dbk_sim_set_file(disk, TABLE, dbk_sim_file(before, TABLE));
    life.log_epoch = 1;
    assert_refused(disk, &life, DBK_ENOTFOUND, "epoch-0000000001.key is missing");
    dbk_sim_free(before);
    dbk_sim_free(disk);
}

static void test_vault_keys__a_passphrase_is_needed_and_must_be_right(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct life life = {0};
    int rc = DBK_OK;
    struct dbk_sim *disk = dbk_sim_create(7);
    live(dbk_sim_os(disk), &life, "right");
    assert_null(open_with(dbk_sim_os(disk), &life, false, "wrong", &rc, &err));
    assert_int_equal(rc, DBK_EDENIED);
    assert_non_null(strstr(err.message, "the passphrase in secrets/root does not open it"));
    assert_null(open_with(dbk_sim_os(disk), &life, false, NULL, &rc, &err));
    assert_int_equal(rc, DBK_EDENIED);
    assert_non_null(strstr(err.message, "is under a passphrase, and none is given"));
    check_reopened(dbk_sim_os(disk), &life, "right");
    dbk_sim_free(disk);
    /* One that comes later holds from the next epoch on. */
    disk = dbk_sim_create(7);
    memset(&life, 0, sizeof(life));
    live(dbk_sim_os(disk), &life, NULL);
    check_reopened(dbk_sim_os(disk), &life, "later");
    assert_null(open_with(dbk_sim_os(disk), &life, false, NULL, &rc, &err));
    assert_int_equal(rc, DBK_EDENIED);
    dbk_sim_free(disk);
}

static void test_vault_keys__another_books_keys_are_refused(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_keys *keys = NULL;
    struct dbk_keys_options options = {
        .os = dbk_sim_os(sim), .folder = FOLDER, .book_id = {{7}}, .writer = true, .log_epoch = 3};
    assert_int_equal(dbk_keys_open(&options, &keys, &err), DBK_ECONFLICT);
    assert_non_null(strstr(err.message, "holds another book's keys"));
}

static void test_vault_keys__no_sync_where_there_is_nothing_new(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_key key;
    int rc = DBK_OK;
    struct dbk_keys *keys = open_with(dbk_sim_os(sim), &made, false, NULL, &rc, &err);
    assert_ok(rc, &err);
    uint64_t before = dbk_sim_calls(sim, DBK_SIM_CHANGES);
    for (int i = 0; i < 10; i++) {
        assert_ok(dbk_keys_make(keys, dbk_slice_of("dan"), &key, &err), &err);
        assert_memory_equal(&key, &made.keys[DAN], sizeof(key));
        assert_ok(dbk_keys_sync(keys, &err), &err);
    }
    assert_int_equal(dbk_sim_calls(sim, DBK_SIM_CHANGES), before);
    before = dbk_sim_calls(sim, DBK_SIM_SYNC);
    for (int i = 0; i < 1000; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "new-%d", i);
        assert_ok(dbk_keys_make(keys, dbk_slice_of(name), &key, &err), &err);
    }
    assert_ok(dbk_keys_sync(keys, &err), &err);
    assert_int_equal(dbk_sim_calls(sim, DBK_SIM_SYNC), before + 1);
    dbk_keys_free(keys);
}

/* ---- Several at once ---- */

#define MAKERS 3
#define MADE_EACH 400

static char real_folder[64];
static struct dbk_keys *shared;
static struct dbk_key made_keys[MAKERS][MADE_EACH];
static _Atomic int made_counts[MAKERS];

static void *make_many(void *context)
{
    size_t maker = (size_t)(uintptr_t)context;
    struct dbk_error err = {0};
    for (int i = 0; i < MADE_EACH; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "subject-%zu-%d", maker, i);
        assert_ok(dbk_keys_make(shared, dbk_slice_of(name), &made_keys[maker][i], &err), &err);
        assert_ok(dbk_keys_sync(shared, &err), &err);
        made_counts[maker]++;
    }
    return NULL;
}

/* Every third key of each maker, once it is made. */
static void *forget_some(void *context)
{
    struct dbk_error err = {0};
    (void)context;
    for (int i = 0; i < MADE_EACH; i += 3) {
        for (size_t maker = 0; maker < MAKERS; maker++) {
            while (made_counts[maker] <= i)
                (void)sched_yield();
            assert_ok(dbk_keys_forget(shared, &made_keys[maker][i].id, 1, &err), &err);
        }
    }
    return NULL;
}

static void check_many(void)
{
    struct dbk_error err = {0};
    for (size_t maker = 0; maker < MAKERS; maker++) {
        for (int i = 0; i < MADE_EACH; i++) {
            struct dbk_key key;
            int rc = dbk_keys_find(shared, &made_keys[maker][i].id, &key, &err);
            assert_int_equal(rc, i % 3 == 0 ? DBK_ENOTFOUND : DBK_OK);
            if (rc == DBK_OK)
                assert_memory_equal(&key, &made_keys[maker][i], sizeof(key));
        }
    }
    assert_int_equal(dbk_keys_count(shared), MAKERS * (MADE_EACH - (MADE_EACH + 2) / 3));
}

static void open_shared(uint64_t log_epoch)
{
    struct dbk_error err = {0};
    assert_ok(dbk_keys_open(&(struct dbk_keys_options){.os = dbk_os_real(),
                                                       .folder = real_folder,
                                                       .book_id = book,
                                                       .writer = true,
                                                       .create = log_epoch == 0,
                                                       .log_epoch = log_epoch},
                            &shared, &err),
              &err);
}

static void test_vault_keys__epochs_begin_while_others_make_and_forget(void **state)
{
    (void)state;
    pthread_t threads[MAKERS + 1];
    struct dbk_error err = {0};
    uint64_t epoch = 0;
    char command[128];
    (void)snprintf(real_folder, sizeof(real_folder), "/tmp/dbk-keys-XXXXXX");
    assert_non_null(mkdtemp(real_folder));
    open_shared(0);
    for (size_t i = 0; i < MAKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_many, (void *)(uintptr_t)i), 0);
    assert_int_equal(pthread_create(&threads[MAKERS], NULL, forget_some, NULL), 0);
    while (made_counts[0] < MADE_EACH || epoch < 5)
        assert_ok(dbk_keys_rotate(shared, &epoch, &err), &err);
    for (size_t i = 0; i <= MAKERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    check_many();
    dbk_keys_free(shared);
    open_shared(epoch);
    check_many();
    dbk_keys_free(shared);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", real_folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vault_keys__any_crash_leaves_what_was_acknowledged),
        cmocka_unit_test(test_vault_keys__any_failing_call_leaves_what_was_acknowledged),
        cmocka_unit_test(test_vault_keys__an_older_copy_of_the_table_brings_nothing_back),
        cmocka_unit_test(test_vault_keys__a_passphrase_is_needed_and_must_be_right),
        cmocka_unit_test(test_vault_keys__epochs_begin_while_others_make_and_forget),
        cmocka_unit_test_setup_teardown(test_vault_keys__files_that_do_not_fit_are_refused_by_name,
                                        make_life, free_life),
        cmocka_unit_test_setup_teardown(test_vault_keys__an_older_list_is_refused, make_life,
                                        free_life),
        cmocka_unit_test_setup_teardown(test_vault_keys__a_forged_list_is_refused, make_life,
                                        free_life),
        cmocka_unit_test_setup_teardown(test_vault_keys__damage_is_found, make_life, free_life),
        cmocka_unit_test_setup_teardown(test_vault_keys__another_books_keys_are_refused, make_life,
                                        free_life),
        cmocka_unit_test_setup_teardown(test_vault_keys__no_sync_where_there_is_nothing_new,
                                        make_life, free_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
