/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup_test -- keys backed up and restored, across crashes, failures, damage and forgetting.
 *
 * A backup is taken, then a subject is forgotten. Whatever call a restore is cut off at, the key
 * that was forgotten must be gone afterwards, and the others the same once it was repeated.
 */
#include "test.h"

#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "os/sim.h"
#include "vault/backup.h"
#include "vault/erased.h"

#define FOLDER "keys"
#define TABLE FOLDER "/subjects.keys"
#define LIST FOLDER "/erased.list"
#define FILE_PATH "safe/shop.keys"
#define LIST_COPY "safe/erased.list"

static const struct dbk_uuid book = {{1, 2, 3}};
static const char *const subjects[] = {"ann", "bob", "cem", "dan"};
enum { ANN, BOB, CEM, DAN, SUBJECTS }; /* dan comes after the backup */

static const enum dbk_sim_keep keeps[] = {DBK_SIM_NONE, DBK_SIM_ALL, DBK_SIM_PREFIX, DBK_SIM_TORN,
                                          DBK_SIM_SUBSET};

static struct dbk_key made[SUBJECTS];
static uint64_t log_epoch;
static struct dbk_uuid forgotten[SUBJECTS];
static size_t forgotten_count;
static struct dbk_sim *disk;

static struct dbk_root root_of(const char *passphrase)
{
    return (struct dbk_root){
        .passphrase = dbk_slice_of(passphrase), .file = "root", .passes = 1, .memory = 8 << 10};
}

static struct dbk_keys_options options_of(struct dbk_os *os, const char *passphrase)
{
    return (struct dbk_keys_options){.os = os,
                                     .folder = FOLDER,
                                     .book_id = book,
                                     .writer = true,
                                     .root = root_of(passphrase),
                                     .log_epoch = log_epoch,
                                     .forgotten = forgotten,
                                     .forgotten_count = forgotten_count};
}

static struct dbk_keys *open_keys(struct dbk_os *os, bool create)
{
    struct dbk_keys_options options = options_of(os, "root");
    struct dbk_keys *keys = NULL;
    struct dbk_error err = {0};
    options.create = create;
    assert_ok(dbk_keys_open(&options, &keys, &err), &err);
    return keys;
}

static int back_up(struct dbk_keys *keys, const char *passphrase,
                   struct dbk_keys_backup_result *result, struct dbk_error *err)
{
    struct dbk_root root = root_of(passphrase);
    return dbk_keys_backup(keys, FILE_PATH, &root, result, err);
}

static void forget(struct dbk_keys *keys, size_t i)
{
    struct dbk_error err = {0};
    forgotten[forgotten_count++] = made[i].id;
    assert_ok(dbk_keys_forget(keys, &made[i].id, 1, &err), &err);
}

/* Ann to cem, of whom ann is forgotten; a backup; dan is made, bob and dan are forgotten; an epoch
   ends; the list is kept elsewhere. */
static void live(const char *passphrase)
{
    struct dbk_error err = {0};
    struct dbk_keys_backup_result result = {0};
    struct dbk_os *os = dbk_sim_os(disk);
    assert_ok(dbk_os_make_folder(os, "safe", &err), &err);
    struct dbk_keys *keys = open_keys(os, true);
    for (size_t i = 0; i < DAN; i++)
        assert_ok(dbk_keys_make(keys, dbk_slice_of(subjects[i]), &made[i], &err), &err);
    assert_ok(dbk_keys_sync(keys, &err), &err);
    forget(keys, ANN);
    assert_ok(back_up(keys, passphrase, &result, &err), &err);
    assert_int_equal(result.subjects, 2);
    assert_int_equal(result.erased, 1);
    assert_ok(dbk_keys_make(keys, dbk_slice_of("dan"), &made[DAN], &err), &err);
    assert_ok(dbk_keys_sync(keys, &err), &err);
    forget(keys, BOB);
    forget(keys, DAN);
    assert_ok(dbk_keys_rotate(keys, &log_epoch, &err), &err);
    dbk_keys_free(keys);
    dbk_sim_set_file(disk, LIST_COPY, dbk_sim_file(disk, LIST));
}

static void begin_with(const char *passphrase)
{
    disk = dbk_sim_create(1);
    log_epoch = 0;
    forgotten_count = 0;
    live(passphrase);
}

static int begin(void **state)
{
    (void)state;
    begin_with("backup");
    return 0;
}

static int end(void **state)
{
    (void)state;
    dbk_sim_free(disk);
    return 0;
}

static void lose_keys(struct dbk_sim *sim)
{
    struct dbk_os *os = dbk_sim_os(sim);
    struct dbk_error err = {0};
    assert_ok(os->remove(os, TABLE, &err), &err);
    assert_ok(os->remove(os, FOLDER "/epoch-0000000002.key", &err), &err);
    assert_ok(os->remove(os, LIST, &err), &err);
    assert_ok(os->sync_folder(os, FOLDER, &err), &err);
}

static struct dbk_keys_restore restore_of(struct dbk_os *os)
{
    return (struct dbk_keys_restore){.keys = options_of(os, "root"),
                                     .backup = FILE_PATH,
                                     .root = root_of("backup"),
                                     .given = true,
                                     .erased_list = LIST_COPY};
}

static void expect(struct dbk_keys *keys, size_t i, bool there)
{
    struct dbk_key key;
    struct dbk_error err = {0};
    int by_id = dbk_keys_find(keys, &made[i].id, &key, &err);
    assert_int_equal(by_id, there ? DBK_OK : DBK_ENOTFOUND);
    if (there)
        assert_memory_equal(&key, &made[i], sizeof(key));
    int by_name = dbk_keys_of_subject(keys, dbk_slice_of(subjects[i]), &key, &err);
    assert_int_equal(by_name, there ? DBK_OK : DBK_ENOTFOUND);
    assert_int_equal(dbk_keys_is_erased(keys, &made[i].id), !there);
}

static int count_epochs(const char *name, void *context)
{
    *(int *)context += strncmp(name, "epoch-", 6) == 0;
    assert_string_not_equal(name, "subjects.tmp");
    return DBK_OK;
}

static void check_restored(struct dbk_os *os)
{
    int epochs = 0;
    struct dbk_error err = {0};
    for (int round = 0; round < 2; round++) {
        struct dbk_keys *keys = open_keys(os, false);
        assert_true(dbk_keys_epoch(keys) > 2);
        for (size_t i = 0; i < SUBJECTS; i++)
            expect(keys, i, i == CEM);
        dbk_keys_free(keys);
    }
    assert_ok(os->list(os, FOLDER, count_epochs, &epochs, &err), &err);
    assert_int_equal(epochs, 1);
}

static void test_vault_backup__the_forgotten_stay_forgotten_and_the_others_open(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_keys_backup_result result = {0};
    struct dbk_keys_restore restore = restore_of(dbk_sim_os(disk));
    lose_keys(disk);
    assert_ok(dbk_keys_restore(&restore, &result, &err), &err);
    assert_int_equal(result.epoch, 3);
    assert_int_equal(result.subjects, 1);
    assert_int_equal(result.left_out, 1);
    assert_int_equal(result.erased, 3);
    check_restored(dbk_sim_os(disk));
}

static void test_vault_backup__a_crash_of_a_restore_can_be_repeated(void **state)
{
    (void)state;
    struct dbk_keys_backup_result result = {0};
    for (int replace = 0; replace < 2; replace++) {
        struct dbk_sim *whole = dbk_sim_clone(disk, 1);
        struct dbk_keys_restore restore = restore_of(dbk_sim_os(whole));
        restore.replace = replace;
        if (!replace)
            lose_keys(whole);
        uint64_t before = dbk_sim_calls(whole, DBK_SIM_CHANGES);
        struct dbk_error err = {0};
        assert_ok(dbk_keys_restore(&restore, &result, &err), &err);
        uint64_t calls = dbk_sim_calls(whole, DBK_SIM_CHANGES) - before;
        assert_true(calls > 8);
        dbk_sim_free(whole);
        for (uint64_t at = 1; at <= calls; at++) {
            for (size_t keep = 0; keep < 5; keep++) {
                struct dbk_sim *sim = dbk_sim_clone(disk, at);
                if (!replace)
                    lose_keys(sim);
                restore = restore_of(dbk_sim_os(sim));
                restore.replace = replace;
                dbk_sim_crash_at(sim, at, DBK_SIM_CHANGES);
                assert_true(dbk_keys_restore(&restore, &result, NULL) < 0);
                dbk_sim_restart(sim, keeps[keep], keeps[keep], at);
                restore.replace = true;
                if (replace) {
                    /* The keys before, or the restored ones: nobody who was forgotten. */
                    struct dbk_keys *keys = open_keys(dbk_sim_os(sim), false);
                    for (size_t i = 0; i < SUBJECTS; i++)
                        expect(keys, i, i == CEM);
                    dbk_keys_free(keys);
                }
                assert_ok(dbk_keys_restore(&restore, &result, &err), &err);
                check_restored(dbk_sim_os(sim));
                dbk_sim_free(sim);
            }
        }
    }
}

static void test_vault_backup__any_failing_call_of_a_restore_can_be_repeated(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_keys_backup_result result = {0};
    for (uint64_t at = 1;; at++) {
        struct dbk_sim *sim = dbk_sim_clone(disk, 1);
        struct dbk_keys_restore restore = restore_of(dbk_sim_os(sim));
        lose_keys(sim);
        dbk_sim_fail_at(sim, at, 0, DBK_EFULL, false);
        int rc = dbk_keys_restore(&restore, &result, NULL);
        dbk_sim_fail_at(sim, 0, 0, 0, false);
        restore.replace = true;
        if (rc < 0)
            assert_ok(dbk_keys_restore(&restore, &result, &err), &err);
        check_restored(dbk_sim_os(sim));
        dbk_sim_free(sim);
        if (rc == DBK_OK)
            break;
    }
}

/* ---- Making one ---- */

static void test_vault_backup__a_crash_leaves_the_backup_before_or_the_new_one(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_keys_backup_result result = {0};
    struct dbk_sim *whole = dbk_sim_clone(disk, 1);
    struct dbk_keys *keys = open_keys(dbk_sim_os(whole), false);
    uint64_t before = dbk_sim_calls(whole, DBK_SIM_CHANGES);
    assert_ok(back_up(keys, "backup", &result, &err), &err);
    uint64_t calls = dbk_sim_calls(whole, DBK_SIM_CHANGES) - before;
    assert_int_equal(result.subjects, 1);
    dbk_keys_free(keys);
    dbk_sim_free(whole);
    for (uint64_t at = 1; at <= calls; at++) {
        for (size_t keep = 0; keep < 5; keep++) {
            struct dbk_sim *sim = dbk_sim_clone(disk, at);
            keys = open_keys(dbk_sim_os(sim), false);
            dbk_sim_crash_at(sim, at, DBK_SIM_CHANGES);
            assert_true(back_up(keys, "backup", &result, NULL) < 0);
            dbk_keys_free(keys);
            dbk_sim_restart(sim, keeps[keep], keeps[keep], at);
            struct dbk_keys_restore restore = restore_of(dbk_sim_os(sim));
            restore.replace = true;
            assert_ok(dbk_keys_restore(&restore, &result, &err), &err);
            check_restored(dbk_sim_os(sim));
            /* And again over what is left there. */
            keys = open_keys(dbk_sim_os(sim), false);
            assert_ok(back_up(keys, "backup", &result, &err), &err);
            dbk_keys_free(keys);
            dbk_sim_free(sim);
        }
    }
}

static void test_vault_backup__another_file_is_not_overwritten(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_keys_backup_result result = {0};
    char bytes[DBK_KEYS_BACKUP_HEADER_SIZE];
    struct dbk_keys *keys = open_keys(dbk_sim_os(disk), false);
    dbk_sim_set_file(disk, FILE_PATH, DBK_SLICE_LITERAL("a letter"));
    assert_int_equal(back_up(keys, "x", &result, &err), DBK_EEXISTS);
    assert_non_null(strstr(err.message, "is there, and is no backup of keys"));
    dbk_keys_backup_encode(&(struct dbk_keys_backup_header){.book_id = {{9}}, .epoch = 1}, bytes);
    dbk_sim_set_file(disk, FILE_PATH, dbk_slice(bytes, sizeof(bytes)));
    assert_int_equal(back_up(keys, "x", &result, &err), DBK_ECONFLICT);
    assert_non_null(strstr(err.message, "another book's keys"));
    dbk_keys_free(keys);
}

/* Beside a writer that has gone on: what the reader opened is what is in it. */
static void test_vault_backup__of_a_reader_holds_what_it_opened(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_keys_backup_result result = {0};
    struct dbk_os *os = dbk_sim_os(disk);
    struct dbk_keys_options options = options_of(os, "root");
    struct dbk_keys *reader = NULL;
    struct dbk_keys *keys = open_keys(os, false);
    options.writer = false;
    assert_ok(dbk_keys_open(&options, &reader, &err), &err);
    assert_ok(dbk_keys_rotate(keys, &log_epoch, &err), &err);
    assert_ok(back_up(reader, "backup", &result, &err), &err);
    assert_int_equal(result.epoch, 2);
    dbk_keys_free(reader);
    dbk_keys_free(keys);
    struct dbk_keys_restore restore = restore_of(os);
    restore.replace = true;
    assert_ok(dbk_keys_restore(&restore, &result, &err), &err);
    assert_int_equal(result.epoch, 4);
    check_restored(os);
}

/* ---- What is refused ---- */

static void refused(struct dbk_sim *sim, const struct dbk_keys_restore *restore, int code,
                    const char *words)
{
    struct dbk_error err = {0};
    struct dbk_keys_backup_result result = {0};
    uint64_t before = dbk_sim_fingerprint(sim);
    int rc = dbk_keys_restore(restore, &result, &err);
    if (rc != code || strstr(err.message, words) == NULL)
        fail_msg("%s: %s", dbk_code_name(rc), err.message);
    if (before != dbk_sim_fingerprint(sim))
        fail_msg("a refused restore changed a file: %s", err.message);
}

static void test_vault_backup__what_does_not_fit_is_refused_by_name(void **state)
{
    (void)state;
    struct dbk_keys_restore restore = restore_of(dbk_sim_os(disk));
    refused(disk, &restore, DBK_EEXISTS, "the book has keys; --replace puts the backup's");
    lose_keys(disk);
    restore.keys.book_id = (struct dbk_uuid){{9}};
    refused(disk, &restore, DBK_ECONFLICT, "holds another book's keys");
    restore = restore_of(dbk_sim_os(disk));
    restore.root = root_of("wrong");
    refused(disk, &restore, DBK_EDENIED, "the passphrase in root does not open it");
    restore.root = root_of(NULL);
    refused(disk, &restore, DBK_EDENIED, "name its file with --passphrase");
    restore = restore_of(dbk_sim_os(disk));
    restore.backup = "safe/none";
    refused(disk, &restore, DBK_ENOTFOUND, "safe/none");
    restore = restore_of(dbk_sim_os(disk));
    restore.erased_list = "safe/none";
    refused(disk, &restore, DBK_ENOTFOUND, "safe/none");
    /* The backup's own list is from before bob was forgotten. */
    restore.erased_list = NULL;
    refused(disk, &restore, DBK_ECORRUPT, "which the log says was erased: it is an older copy");
}

static void test_vault_backup__an_older_or_forged_list_is_refused(void **state)
{
    (void)state;
    char bytes[DBK_ERASED_HEADER_SIZE + 3 * DBK_ERASED_ENTRY_SIZE];
    struct dbk_keys_restore restore = restore_of(dbk_sim_os(disk));
    lose_keys(disk);
    assert_int_equal(dbk_sim_file(disk, LIST_COPY).size, sizeof(bytes));
    memcpy(bytes, dbk_sim_file(disk, LIST_COPY).data, sizeof(bytes));
    for (size_t cut = 0; cut < sizeof(bytes); cut++) {
        bool whole = cut >= DBK_ERASED_HEADER_SIZE &&
                     (cut - DBK_ERASED_HEADER_SIZE) % DBK_ERASED_ENTRY_SIZE == 0;
        dbk_sim_set_file(disk, LIST_COPY, dbk_slice(bytes, cut));
        refused(disk, &restore, DBK_ECORRUPT, whole ? "it is an older copy" : "damaged");
    }
    for (size_t at = 0; at < 64; at++) {
        char forged[sizeof(bytes)];
        memcpy(forged, bytes, sizeof(bytes));
        forged[DBK_ERASED_HEADER_SIZE + 2 * DBK_ERASED_ENTRY_SIZE + at] ^= 1;
        char *last = forged + DBK_ERASED_HEADER_SIZE + 2 * DBK_ERASED_ENTRY_SIZE;
        dbk_put_u32(last + 64, dbk_crc32c(dbk_get_u32(last - 8), dbk_slice(last, 64)));
        dbk_sim_set_file(disk, LIST_COPY, dbk_slice(forged, sizeof(forged)));
        refused(disk, &restore, DBK_ECORRUPT, "was altered");
    }
}

static void test_vault_backup__every_bit_and_byte_counts(void **state)
{
    (void)state;
    size_t size = dbk_sim_file(disk, FILE_PATH).size;
    struct dbk_keys_restore restore = restore_of(dbk_sim_os(disk));
    struct dbk_keys_backup_result result;
    char bytes[1024];
    assert_true(size < sizeof(bytes));
    memcpy(bytes, dbk_sim_file(disk, FILE_PATH).data, size);
    lose_keys(disk);
    uint64_t before = 0;
    for (size_t at = 0; at < size; at++) {
        dbk_sim_set_file(disk, FILE_PATH, dbk_slice(bytes, at));
        refused(disk, &restore, DBK_ECORRUPT, FILE_PATH);
        dbk_sim_set_file(disk, FILE_PATH, dbk_slice(bytes, size));
        dbk_sim_flip(disk, FILE_PATH, at, (uint8_t)(1u << at % 8));
        before = dbk_sim_fingerprint(disk);
        int rc = dbk_keys_restore(&restore, &result, NULL);
        assert_true(rc == DBK_ECORRUPT || rc == DBK_EFORMAT);
        assert_int_equal(dbk_sim_fingerprint(disk), before);
    }
    bytes[size] = 0;
    dbk_sim_set_file(disk, FILE_PATH, dbk_slice(bytes, size + 1));
    refused(disk, &restore, DBK_ECORRUPT, "is damaged: it has");
    dbk_put_u32(bytes + 8, 2);
    dbk_sim_set_file(disk, FILE_PATH, dbk_slice(bytes, size));
    refused(disk, &restore, DBK_EFORMAT, "has format version 2, this Daybook reads up to 1");
}

static void test_vault_backup__in_plain_no_passphrase_may_be_given(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_keys_backup_result result = {0};
    begin_with(NULL);
    struct dbk_keys_restore restore = restore_of(dbk_sim_os(disk));
    lose_keys(disk);
    refused(disk, &restore, DBK_EINVAL, "is under no passphrase, and one is given");
    restore.given = false;
    assert_ok(dbk_keys_restore(&restore, &result, &err), &err);
    check_restored(dbk_sim_os(disk));
    dbk_sim_free(disk);
}

#define CASE(name) cmocka_unit_test_setup_teardown(test_vault_backup__##name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_forgotten_stay_forgotten_and_the_others_open),
        CASE(a_crash_of_a_restore_can_be_repeated),
        CASE(any_failing_call_of_a_restore_can_be_repeated),
        CASE(a_crash_leaves_the_backup_before_or_the_new_one),
        CASE(another_file_is_not_overwritten),
        CASE(of_a_reader_holds_what_it_opened),
        CASE(what_does_not_fit_is_refused_by_name),
        CASE(an_older_or_forged_list_is_refused),
        CASE(every_bit_and_byte_counts),
        cmocka_unit_test(test_vault_backup__in_plain_no_passphrase_may_be_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
