/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proof_test -- what a proof promises across closing, crashes, damage and tampering.
 *
 * A book in memory, with small segments. The oracle knows the leaves from the store's own events
 * and the RFC's recursion; every checkpoint that was handed out is kept, and every later tree must
 * have begun like it.
 */
#include "test.h"

#include "log/log.h"
#include "os/sim.h"
#include "proof/note.h"
#include "proof/proof.h"

#define EVENTS_MAX 700
#define TILE_SIZE 8192

struct book {
    struct dbk_store *store;
    struct dbk_proof *proof;
};

static int open_as(struct dbk_sim *sim, bool writer, struct book *book, struct dbk_error *err)
{
    *book = (struct book){0};
    int rc = dbk_store_open(
        &(struct dbk_store_options){
            .os = dbk_sim_os(sim), .folder = "data", .writer = writer, .segment_size = 8000},
        &book->store, err);
    if (rc == DBK_OK)
        rc = dbk_proof_open(&(struct dbk_proof_options){.os = dbk_sim_os(sim),
                                                        .store = book->store,
                                                        .folder = "data",
                                                        .name = "test",
                                                        .writer = writer,
                                                        .interval_us = -1},
                            &book->proof, err);
    return rc;
}

static void shut(struct book *book)
{
    dbk_proof_free(book->proof);
    dbk_store_free(book->store);
    *book = (struct book){0};
}

static int append(struct dbk_store *store, unsigned count, struct dbk_error *err)
{
    char data[32];
    struct dbk_append_result result;
    (void)snprintf(data, sizeof(data), "{\"n\":%u}", count);
    struct dbk_new_event events[50];
    while (count > 0) {
        unsigned size = count < 50 ? count : 50;
        for (unsigned i = 0; i < size; i++)
            events[i] = (struct dbk_new_event){.stream = DBK_SLICE_LITERAL("thing-1"),
                                               .type = DBK_SLICE_LITERAL("Seen"),
                                               .data = dbk_slice_of(data),
                                               .occurred_us = DBK_TIME_NONE,
                                               .flags = DBK_RECORD_JSON};
        int rc = dbk_store_append(store, &(struct dbk_batch){.events = events, .count = size},
                                  &result, err);
        if (rc < 0)
            return rc;
        count -= size;
    }
    return DBK_OK;
}

static struct dbk_hash leaves[EVENTS_MAX + 1];

static uint64_t read_leaves(struct dbk_store *store)
{
    struct dbk_error err = {0};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t count = 0;
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){.hidden = true, .removed = true}, &cursor,
                              &err),
              &err);
    while (dbk_cursor_next(cursor, &event, &err) > 0)
        assert_int_equal(dbk_record_leaf(&event, leaves[count++].bytes), DBK_OK);
    dbk_cursor_free(cursor);
    return count;
}

static struct dbk_hash oracle(uint64_t begin, uint64_t end)
{
    struct dbk_hash hash;
    if (end - begin == 1)
        return leaves[begin];
    uint64_t half = 1;
    while (half * 2 < end - begin)
        half *= 2;
    struct dbk_hash parts[2] = {oracle(begin, begin + half), oracle(begin + half, end)};
    char input[65] = {1};
    memcpy(input + 1, parts, 64);
    dbk_sha256_of(dbk_slice(input, sizeof(input)), hash.bytes);
    return hash;
}

static uint64_t checkpoint(struct book *book, struct dbk_error *err)
{
    struct dbk_buf note;
    uint64_t size = 0;
    dbk_buf_init(&note, 4096);
    if (dbk_proof_checkpoint(book->proof, &note, &size, err) == DBK_OK) {
        struct dbk_checkpoint read;
        assert_ok(dbk_checkpoint_parse(dbk_buf_slice(&note), NULL, &read, err), err);
        assert_int_equal(read.size, size);
        struct dbk_hash root = oracle(0, size);
        assert_true(dbk_hash_equal(&read.root, &root));
    } else {
        size = 0;
    }
    dbk_buf_release(&note);
    return size;
}

/* The proof of a position in the tree of a size (0: the newest), checked by the oracle. */
static void check_inclusion(struct book *book, uint64_t position, uint64_t size)
{
    struct dbk_error err = {0};
    struct dbk_proof_inclusion inclusion;
    dbk_proof_inclusion_init(&inclusion);
    assert_ok(dbk_proof_inclusion(book->proof, position, size, &inclusion, &err), &err);
    struct dbk_hash root = oracle(0, inclusion.size);
    assert_true(size == 0 || inclusion.size == size);
    assert_true(dbk_hash_equal(&inclusion.leaf, &leaves[position - 1]));
    assert_true(dbk_merkle_check_inclusion(&leaves[position - 1], position - 1, inclusion.size,
                                           &inclusion.path, &root));
    dbk_proof_inclusion_release(&inclusion);
}

/* Whether the proof within a tree of a size comes with the checkpoint of that size. */
static bool has_checkpoint(struct book *book, uint64_t size)
{
    struct dbk_error err = {0};
    struct dbk_proof_inclusion inclusion;
    dbk_proof_inclusion_init(&inclusion);
    assert_ok(dbk_proof_inclusion(book->proof, 1, size, &inclusion, &err), &err);
    bool found = inclusion.checkpoint.size > 0;
    dbk_proof_inclusion_release(&inclusion);
    return found;
}

static void check_consistency(struct book *book, uint64_t from, uint64_t to)
{
    struct dbk_error err = {0};
    struct dbk_proof_consistency consistency;
    assert_ok(dbk_proof_consistency(book->proof, from, to, &consistency, &err), &err);
    struct dbk_hash from_root = oracle(0, from);
    struct dbk_hash to_root = oracle(0, consistency.to);
    assert_true(dbk_merkle_check_consistency(from, &from_root, consistency.to, &to_root,
                                             &consistency.path));
}

static void test_proof__every_size_is_signed_and_proved(void **state)
{
    (void)state;
    struct dbk_sim *sim = dbk_sim_create(1);
    struct dbk_error err = {0};
    struct book book;
    struct book reader;
    assert_ok(open_as(sim, true, &book, &err), &err);
    assert_ok(open_as(sim, false, &reader, &err), &err);
    for (unsigned round = 1; round <= 5; round++) {
        assert_ok(append(book.store, round == 5 ? 1 : 127 + round, &err), &err);
        uint64_t last = read_leaves(book.store);
        assert_int_equal(checkpoint(&book, &err), last);
        assert_int_equal(checkpoint(&reader, &err), last);
        for (uint64_t position = 1; position <= last; position += 1 + position % 13) {
            check_inclusion(&book, position, 0);
            check_inclusion(&reader, position, 0);
            check_inclusion(&book, position, position + (last - position) / 2);
            check_consistency(&book, position, 0);
            check_consistency(&reader, position, position + (last - position) / 3);
        }
    }
    assert_true(has_checkpoint(&book, 128) && has_checkpoint(&reader, 128));
    assert_false(has_checkpoint(&book, 127) || has_checkpoint(&reader, 129));
    shut(&reader);
    shut(&book);
    /* The same again by who opens it. */
    assert_ok(open_as(sim, true, &book, &err), &err);
    check_inclusion(&book, 1, 0);
    check_inclusion(&book, 515, 0);
    shut(&book);
    dbk_sim_free(sim);
}

static void test_proof__what_is_past_the_tree_is_refused(void **state)
{
    (void)state;
    struct dbk_sim *sim = dbk_sim_create(1);
    struct dbk_error err = {0};
    struct book book;
    struct dbk_proof_inclusion inclusion;
    struct dbk_proof_consistency consistency;
    struct dbk_buf note;
    uint64_t size = 0;
    dbk_buf_init(&note, 4096);
    dbk_proof_inclusion_init(&inclusion);
    assert_ok(open_as(sim, true, &book, &err), &err);
    assert_int_equal(dbk_proof_checkpoint(book.proof, &note, &size, &err), DBK_ENOTFOUND);
    assert_int_equal(dbk_proof_inclusion(book.proof, 1, 0, &inclusion, &err), DBK_ENOTFOUND);
    assert_ok(append(book.store, 3, &err), &err);
    assert_int_equal(dbk_proof_inclusion(book.proof, 0, 0, &inclusion, &err), DBK_EINVAL);
    assert_int_equal(dbk_proof_inclusion(book.proof, 4, 0, &inclusion, &err), DBK_EINVAL);
    assert_string_equal(err.message,
                        "position 4 is past the newest checkpoint, which covers 3 events");
    assert_int_equal(dbk_proof_inclusion(book.proof, 3, 2, &inclusion, &err), DBK_EINVAL);
    assert_int_equal(dbk_proof_consistency(book.proof, 0, 2, &consistency, &err), DBK_EINVAL);
    assert_int_equal(dbk_proof_consistency(book.proof, 3, 2, &consistency, &err), DBK_EINVAL);
    assert_int_equal(dbk_proof_consistency(book.proof, 1, 4, &consistency, &err), DBK_EINVAL);
    shut(&book);
    dbk_proof_inclusion_release(&inclusion);
    dbk_buf_release(&note);
    dbk_sim_free(sim);
}

static void test_proof__what_is_not_synced_is_not_signed(void **state)
{
    (void)state;
    struct dbk_sim *sim = dbk_sim_create(1);
    struct dbk_error err = {0};
    struct book book;
    struct dbk_append_result result;
    struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL("thing-1"),
                                  .type = DBK_SLICE_LITERAL("Seen"),
                                  .occurred_us = DBK_TIME_NONE};
    struct dbk_batch batch = {.events = &event, .count = 1, .flags = DBK_APPEND_NO_SYNC};
    assert_ok(open_as(sim, true, &book, &err), &err);
    assert_ok(append(book.store, 3, &err), &err);
    assert_ok(dbk_store_append(book.store, &batch, &result, &err), &err);
    assert_false(result.synced);
    assert_int_equal(read_leaves(book.store), 4);
    assert_int_equal(checkpoint(&book, &err), 3);
    assert_ok(append(book.store, 1, &err), &err);
    assert_int_equal(read_leaves(book.store), 5);
    assert_int_equal(checkpoint(&book, &err), 5);
    shut(&book);
    dbk_sim_free(sim);
}

/* A closed book of 600 events, signed. */
static struct dbk_sim *signed_book(void)
{
    struct dbk_sim *sim = dbk_sim_create(1);
    struct dbk_error err = {0};
    struct book book;
    assert_ok(open_as(sim, true, &book, &err), &err);
    assert_ok(append(book.store, 600, &err), &err);
    (void)read_leaves(book.store);
    assert_int_equal(checkpoint(&book, &err), 600);
    shut(&book);
    return sim;
}

static void test_proof__damaged_tiles_are_made_again(void **state)
{
    (void)state;
    struct dbk_sim *sim = signed_book();
    struct dbk_error err = {0};
    struct book book;
    char right[2 * TILE_SIZE];
    assert_int_equal(dbk_sim_file(sim, "data/proof/tiles-0").size, sizeof(right));
    memcpy(right, dbk_sim_file(sim, "data/proof/tiles-0").data, sizeof(right));
    for (uint64_t at = 0; at < sizeof(right); at += 509) {
        dbk_sim_flip(sim, "data/proof/tiles-0", at, 0x10);
        assert_ok(open_as(sim, true, &book, &err), &err);
        check_inclusion(&book, at / 32 + 1, 0);
        check_inclusion(&book, 600, 0);
        shut(&book);
        assert_memory_equal(dbk_sim_file(sim, "data/proof/tiles-0").data, right, sizeof(right));
    }
    for (size_t size = 0; size < sizeof(right); size += 1021) {
        dbk_sim_set_file(sim, "data/proof/tiles-0", dbk_slice(right, size));
        assert_ok(open_as(sim, true, &book, &err), &err);
        check_inclusion(&book, 300, 0);
        shut(&book);
        assert_memory_equal(dbk_sim_file(sim, "data/proof/tiles-0").data, right, sizeof(right));
    }
    assert_int_equal(dbk_sim_os(sim)->remove(dbk_sim_os(sim), "data/proof/tiles-0", &err), DBK_OK);
    assert_ok(open_as(sim, true, &book, &err), &err);
    check_inclusion(&book, 300, 0);
    shut(&book);
    dbk_sim_free(sim);
}

/* The newest checkpoint of the file says another root, signed by the book's own key: as if the log
   had been another. */
static void sign_another_root(struct dbk_sim *sim, uint64_t size)
{
    struct dbk_key key;
    struct dbk_error err = {0};
    struct dbk_hash root = {{1}};
    struct dbk_buf note;
    assert_true(dbk_key_parse(dbk_sim_file(sim, "data/proof.key"), &key));
    dbk_buf_init(&note, 4096);
    assert_ok(dbk_checkpoint_sign(&key, size, &root, &note, &err), &err);
    dbk_sim_set_file(sim, "data/proof/checkpoints", dbk_buf_slice(&note));
    dbk_buf_release(&note);
}

static void assert_refused(struct dbk_sim *sim, int code, const char *message)
{
    struct dbk_error err = {0};
    struct book book;
    struct dbk_buf note;
    uint64_t size = 0;
    struct dbk_slice before = dbk_sim_file(sim, "data/proof/checkpoints");
    char *kept = before.data == NULL ? NULL : dbk_copy_text(before);
    dbk_buf_init(&note, 4096);
    assert_ok(open_as(sim, true, &book, &err), &err);
    assert_ok(append(book.store, 1, &err), &err);
    assert_int_equal(dbk_proof_checkpoint(book.proof, &note, &size, &err), code);
    if (strstr(err.message, message) == NULL)
        fail_msg("got \"%s\", expected \"%s\"", err.message, message);
    shut(&book);
    /* Nothing was signed, not even at the end. */
    if (kept != NULL)
        assert_slice_equal(dbk_sim_file(sim, "data/proof/checkpoints"), kept);
    dbk_free(kept);
    dbk_buf_release(&note);
}

static void test_proof__a_changed_log_is_named_and_no_longer_signed(void **state)
{
    (void)state;
    struct dbk_sim *sim = signed_book();
    uint64_t before = 0;
    sign_another_root(sim, 600);
    struct dbk_slice tiles = dbk_sim_file(sim, "data/proof/tiles-0");
    before = dbk_crc32c(0, tiles);
    assert_refused(sim, DBK_ECORRUPT, "the log was changed after it was signed");
    assert_int_equal(before, dbk_crc32c(0, dbk_sim_file(sim, "data/proof/tiles-0")));
    assert_null(dbk_sim_file(sim, "data/proof/tiles-0.new").data);
    dbk_sim_free(sim);

    sim = signed_book();
    sign_another_root(sim, 602);
    assert_refused(sim, DBK_ECORRUPT,
                   "the log ends at position 601, but a checkpoint was signed of 602 events");
    dbk_sim_free(sim);
}

static void test_proof__a_missing_or_other_key_is_named(void **state)
{
    (void)state;
    struct dbk_sim *sim = signed_book();
    struct dbk_os *os = dbk_sim_os(sim);
    struct dbk_error err = {0};
    struct dbk_key key;
    struct dbk_buf text;
    assert_int_equal(os->remove(os, "data/proof.key", &err), DBK_OK);
    assert_refused(sim, DBK_ENOTFOUND, "data/proof.key is missing");
    dbk_buf_init(&text, 4096);
    assert_ok(dbk_key_make(os, "daybook/test/x", &key, &err), &err);
    dbk_key_format_secret(&key, &text);
    dbk_sim_set_file(sim, "data/proof.key", dbk_buf_slice(&text));
    assert_refused(sim, DBK_ECORRUPT, "not by the key daybook/test/x");
    dbk_sim_set_file(sim, "data/proof.key", dbk_slice_of("nonsense"));
    assert_refused(sim, DBK_ECORRUPT, "data/proof.key is no signing key");
    dbk_buf_release(&text);
    dbk_sim_free(sim);
}

struct found {
    unsigned count;
    char last[256];
};

static void note_finding(void *context, const struct dbk_proof_finding *finding)
{
    struct found *found = context;
    found->count++;
    (void)snprintf(found->last, sizeof(found->last), "%s %s %ju %ju", finding->kind, finding->file,
                   (uintmax_t)finding->offset, (uintmax_t)finding->position);
}

static void verify(struct dbk_sim *sim, struct found *found)
{
    struct dbk_error err = {0};
    struct book book;
    struct dbk_proof_verified verified;
    *found = (struct found){0};
    assert_ok(open_as(sim, false, &book, &err), &err);
    assert_ok(
        dbk_proof_verify(book.proof,
                         &(struct dbk_proof_verification){.found = note_finding, .context = found},
                         &verified, &err),
        &err);
    assert_int_equal(verified.findings, found->count);
    shut(&book);
}

static void test_proof__verifying_names_every_byte(void **state)
{
    (void)state;
    struct dbk_sim *sim = signed_book();
    struct found found;
    char expected[64];
    verify(sim, &found);
    assert_int_equal(found.count, 0);
    for (uint64_t at = 3; at < (uint64_t)2 * TILE_SIZE; at += 1999) {
        dbk_sim_flip(sim, "data/proof/tiles-0", at, 1);
        verify(sim, &found);
        (void)snprintf(expected, sizeof(expected), "tile proof/tiles-0 %ju %ju",
                       (uintmax_t)(at / 32 * 32), (uintmax_t)(at / 32 + 1));
        assert_string_equal(found.last, expected);
        dbk_sim_flip(sim, "data/proof/tiles-0", at, 1);
    }
    uint64_t size = dbk_sim_file(sim, "data/proof/checkpoints").size;
    for (uint64_t at = 0; at < size; at += 7) {
        dbk_sim_flip(sim, "data/proof/checkpoints", at, 1);
        verify(sim, &found);
        assert_true(found.count > 0);
        dbk_sim_flip(sim, "data/proof/checkpoints", at, 1);
    }
    sign_another_root(sim, 100);
    verify(sim, &found);
    assert_string_equal(found.last, "checkpoint proof/checkpoints 0 100");
    dbk_sim_free(sim);
}

/* ---- Crashes ---- */

struct handed {
    uint64_t sizes[8];
    struct dbk_hash roots[8];
    unsigned count;
};

static int hand_out(struct book *book, struct handed *handed, struct dbk_error *err)
{
    struct dbk_buf note;
    struct dbk_checkpoint read;
    uint64_t size = 0;
    dbk_buf_init(&note, 4096);
    int rc = dbk_proof_checkpoint(book->proof, &note, &size, err);
    if (rc == DBK_OK) {
        assert_ok(dbk_checkpoint_parse(dbk_buf_slice(&note), NULL, &read, err), err);
        handed->sizes[handed->count] = size;
        handed->roots[handed->count++] = read.root;
    }
    dbk_buf_release(&note);
    return rc;
}

static void work(struct dbk_sim *sim, struct handed *handed)
{
    struct dbk_error err = {0};
    struct book book;
    *handed = (struct handed){0};
    int rc = open_as(sim, true, &book, &err);
    for (unsigned round = 0; rc == DBK_OK && round < 3; round++) {
        rc = append(book.store, 130, &err);
        if (rc == DBK_OK)
            rc = hand_out(&book, handed, &err);
    }
    shut(&book);
    if (rc == DBK_OK && open_as(sim, true, &book, &err) == DBK_OK &&
        append(book.store, 130, &err) == DBK_OK)
        dbk_ignore(hand_out(&book, handed, &err));
    shut(&book);
}

/* What was handed out is the beginning of what the book is now, and it goes on. */
static void check_after(struct dbk_sim *sim, const struct handed *handed)
{
    struct dbk_error err = {0};
    struct book book;
    struct found found;
    assert_ok(open_as(sim, true, &book, &err), &err);
    assert_ok(append(book.store, 1, &err), &err);
    uint64_t last = read_leaves(book.store);
    assert_int_equal(checkpoint(&book, &err), last);
    for (unsigned i = 0; i < handed->count; i++) {
        assert_true(handed->sizes[i] <= last);
        struct dbk_hash root = oracle(0, handed->sizes[i]);
        assert_true(dbk_hash_equal(&root, &handed->roots[i]));
        check_consistency(&book, handed->sizes[i], 0);
    }
    check_inclusion(&book, 1, 0);
    shut(&book);
    verify(sim, &found);
    if (found.count > 0)
        fail_msg("%s", found.last);
}

static void test_proof__crashed_at_every_call_it_goes_on(void **state)
{
    (void)state;
    struct handed handed;
    struct dbk_sim *sim = dbk_sim_create(1);
    work(sim, &handed);
    assert_int_equal(handed.count, 4);
    uint64_t calls = dbk_sim_calls(sim, DBK_SIM_CHANGES);
    dbk_sim_free(sim);
    assert_true(calls > 50);
    for (uint64_t at = 1; at <= calls; at++) {
        for (int keep = DBK_SIM_NONE; keep <= DBK_SIM_SUBSET; keep++) {
            if (keep != (int)(at % 5) && keep != DBK_SIM_TORN)
                continue;
            sim = dbk_sim_create(1);
            dbk_sim_crash_at(sim, at, DBK_SIM_CHANGES);
            work(sim, &handed);
            dbk_sim_restart(sim, (enum dbk_sim_keep)keep, (enum dbk_sim_keep)keep, at);
            check_after(sim, &handed);
            dbk_sim_free(sim);
        }
    }
}

static void test_proof__every_call_may_fail_once(void **state)
{
    (void)state;
    struct handed handed;
    struct dbk_sim *sim = dbk_sim_create(1);
    work(sim, &handed);
    uint64_t calls = dbk_sim_calls(sim, 0);
    dbk_sim_free(sim);
    for (uint64_t at = 1; at <= calls; at += 1 + at % 2) {
        sim = dbk_sim_create(1);
        dbk_sim_fail_at(sim, at, 0, at % 3 == 0 ? DBK_EFULL : DBK_EIO, false);
        work(sim, &handed);
        dbk_sim_fail_at(sim, 0, 0, DBK_OK, false);
        check_after(sim, &handed);
        dbk_sim_free(sim);
    }
}

static void test_proof__the_thread_follows_and_signs(void **state)
{
    (void)state;
    struct dbk_sim *sim = dbk_sim_create(1);
    struct dbk_error err = {0};
    struct book book;
    struct dbk_proof_status status = {0};
    assert_ok(open_as(sim, true, &book, &err), &err);
    dbk_proof_free(book.proof);
    assert_ok(dbk_proof_open(&(struct dbk_proof_options){.os = dbk_sim_os(sim),
                                                         .store = book.store,
                                                         .folder = "data",
                                                         .writer = true,
                                                         .interval_us = 1000},
                             &book.proof, &err),
              &err);
    assert_ok(append(book.store, 300, &err), &err);
    for (unsigned i = 0; i < 1000 && status.checkpoint < 300; i++) {
        assert_int_equal(dbk_store_wait(book.store, dbk_store_wakes(book.store), 300, 10000, &err),
                         0);
        dbk_proof_status(book.proof, &status);
    }
    assert_int_equal(status.checkpoint, 300);
    assert_int_equal(status.failure.code, DBK_OK);
    assert_ok(append(book.store, 7, &err), &err);
    shut(&book);
    assert_ok(open_as(sim, false, &book, &err), &err);
    (void)read_leaves(book.store);
    assert_int_equal(checkpoint(&book, &err), 307);
    shut(&book);
    dbk_sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proof__every_size_is_signed_and_proved),
        cmocka_unit_test(test_proof__what_is_past_the_tree_is_refused),
        cmocka_unit_test(test_proof__what_is_not_synced_is_not_signed),
        cmocka_unit_test(test_proof__damaged_tiles_are_made_again),
        cmocka_unit_test(test_proof__a_changed_log_is_named_and_no_longer_signed),
        cmocka_unit_test(test_proof__a_missing_or_other_key_is_named),
        cmocka_unit_test(test_proof__verifying_names_every_byte),
        cmocka_unit_test(test_proof__crashed_at_every_call_it_goes_on),
        cmocka_unit_test(test_proof__every_call_may_fail_once),
        cmocka_unit_test(test_proof__the_thread_follows_and_signs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
