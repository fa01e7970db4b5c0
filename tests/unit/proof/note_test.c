/* SPDX-License-Identifier: Apache-2.0 */
/*
 * note_test -- keys and checkpoints are those of the C2SP documents, and nothing else is taken.
 *
 * The key pair is the one that the format's first implementation documents.
 */
#include "test.h"

#include "os/sim.h"
#include "proof/note.h"

#define SECRET "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
#define PUBLIC "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"

static struct dbk_key key_of(const char *text)
{
    struct dbk_key key;
    assert_true(dbk_key_parse(dbk_slice_of(text), &key));
    return key;
}

static void test_proof_note__keys_are_the_documented_ones(void **state)
{
    (void)state;
    struct dbk_key secret = key_of(SECRET "\n");
    struct dbk_key public_key = key_of(PUBLIC);
    struct dbk_buf text;
    assert_true(secret.secret && !public_key.secret);
    assert_memory_equal(secret.public_key, public_key.public_key, DBK_KEY_SIZE);
    dbk_buf_init(&text, 1024);
    dbk_key_format(&secret, &text);
    assert_slice_equal(dbk_buf_slice(&text), PUBLIC);
    dbk_buf_reset(&text);
    dbk_key_format_secret(&secret, &text);
    assert_slice_equal(dbk_buf_slice(&text), SECRET "\n");
    dbk_buf_release(&text);
}

static void test_proof_note__other_texts_are_no_keys(void **state)
{
    (void)state;
    struct dbk_key key;
    char text[sizeof(PUBLIC)];
    memcpy(text, PUBLIC, sizeof(PUBLIC));
    /* Any other character in name, id or key: the id no longer fits. */
    for (size_t at = 0; at + 1 < sizeof(PUBLIC); at++) {
        text[at] = text[at] == 'x' ? 'y' : 'x';
        assert_false(dbk_key_parse(dbk_slice_of(text), &key));
        text[at] = PUBLIC[at];
    }
    for (size_t size = 0; size + 1 < sizeof(PUBLIC); size++)
        assert_false(dbk_key_parse(dbk_slice(PUBLIC, size), &key));
    struct dbk_sim *sim = dbk_sim_create(1);
    struct dbk_error err = {0};
    assert_int_equal(dbk_key_make(dbk_sim_os(sim), "a b", &key, &err), DBK_EINVAL);
    assert_int_equal(dbk_key_make(dbk_sim_os(sim), "a+b", &key, &err), DBK_EINVAL);
    assert_int_equal(dbk_key_make(dbk_sim_os(sim), "", &key, &err), DBK_EINVAL);
    dbk_sim_free(sim);
}

static void sign(struct dbk_buf *note, uint64_t size)
{
    struct dbk_key key = key_of(SECRET);
    struct dbk_error err = {0};
    struct dbk_hash root;
    memset(&root, (int)size, sizeof(root));
    assert_ok(dbk_checkpoint_sign(&key, size, &root, note, &err), &err);
}

static void test_proof_note__a_checkpoint_comes_back_and_no_other_does(void **state)
{
    (void)state;
    struct dbk_key key = key_of(PUBLIC);
    struct dbk_checkpoint checkpoint;
    struct dbk_error err = {0};
    struct dbk_buf note;
    dbk_buf_init(&note, 4096);
    sign(&note, 20852163);
    assert_ok(dbk_checkpoint_parse(dbk_buf_slice(&note), &key, &checkpoint, &err), &err);
    assert_slice_equal(checkpoint.origin, "PeterNeumann");
    assert_int_equal(checkpoint.size, 20852163);
    assert_int_equal(checkpoint.root.bytes[31], (uint8_t)20852163);
    /* Every bit. */
    for (size_t bit = 0; bit < note.size * 8; bit++) {
        note.data[bit / 8] = (char)(note.data[bit / 8] ^ 1 << bit % 8);
        assert_true(dbk_checkpoint_parse(dbk_buf_slice(&note), &key, &checkpoint, NULL) < 0);
        note.data[bit / 8] = (char)(note.data[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t size = 0; size < note.size; size++)
        assert_true(dbk_checkpoint_parse(dbk_slice(note.data, size), &key, &checkpoint, NULL) < 0);
    dbk_buf_append_char(&note, '\n');
    assert_true(dbk_checkpoint_parse(dbk_buf_slice(&note), &key, &checkpoint, NULL) < 0);
    dbk_buf_release(&note);
}

static void test_proof_note__others_signatures_are_passed_over(void **state)
{
    (void)state;
    struct dbk_sim *sim = dbk_sim_create(7);
    struct dbk_key key = key_of(PUBLIC);
    struct dbk_key other;
    struct dbk_checkpoint checkpoint;
    struct dbk_error err = {0};
    struct dbk_buf note;
    dbk_buf_init(&note, 4096);
    sign(&note, 5);
    dbk_buf_append_text(&note, "\xE2\x80\x94 witness.example AAAAAAAA\n");
    assert_ok(dbk_checkpoint_parse(dbk_buf_slice(&note), &key, &checkpoint, &err), &err);
    assert_ok(dbk_key_make(dbk_sim_os(sim), "PeterNeumann", &other, &err), &err);
    assert_int_equal(dbk_checkpoint_parse(dbk_buf_slice(&note), &other, &checkpoint, &err),
                     DBK_ENOTFOUND);
    dbk_buf_release(&note);
    dbk_sim_free(sim);
}

static void test_proof_note__notes_are_taken_one_by_one(void **state)
{
    (void)state;
    struct dbk_buf notes;
    struct dbk_slice left;
    struct dbk_slice note;
    dbk_buf_init(&notes, 4096);
    for (uint64_t size = 1; size <= 3; size++)
        sign(&notes, size);
    left = dbk_buf_slice(&notes);
    for (uint64_t size = 1; size <= 3; size++) {
        struct dbk_checkpoint checkpoint;
        assert_true(dbk_note_next(&left, &note));
        assert_int_equal(dbk_checkpoint_parse(note, NULL, &checkpoint, NULL), DBK_OK);
        assert_int_equal(checkpoint.size, size);
    }
    assert_int_equal(left.size, 0);
    assert_false(dbk_note_next(&left, &note));
    dbk_buf_release(&notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proof_note__keys_are_the_documented_ones),
        cmocka_unit_test(test_proof_note__other_texts_are_no_keys),
        cmocka_unit_test(test_proof_note__a_checkpoint_comes_back_and_no_other_does),
        cmocka_unit_test(test_proof_note__others_signatures_are_passed_over),
        cmocka_unit_test(test_proof_note__notes_are_taken_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
