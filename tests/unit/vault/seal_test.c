/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal_test -- sealed values: known answers, and that nothing altered or misplaced opens.
 *
 * The answers come from a program of its own, with XChaCha20-Poly1305 written from its draft (and
 * checked against that draft's vector) and BLAKE2b from Python's library.
 */
#include "test.h"

#include <string.h>

#include "vault/seal.h"

#define X10 "xxxxxxxxxx"
#define LONG "{\"a\":[1,2,3],\"text\":\"" X10 X10 X10 X10 X10 X10 X10 X10 "\"}"

static struct dbk_key key_of(uint8_t first)
{
    struct dbk_key key;
    uint8_t secret[DBK_KEY_SIZE];
    struct dbk_uuid id;
    for (size_t i = 0; i < sizeof(secret); i++)
        secret[i] = (uint8_t)(first + i);
    for (size_t i = 0; i < DBK_UUID_SIZE; i++)
        id.bytes[i] = (uint8_t)(0x10 + i);
    dbk_key_derive(&id, secret, &key);
    return key;
}

static struct dbk_seal_place place_of(const char *path)
{
    struct dbk_seal_place place = {.stream = DBK_SLICE_LITERAL("customer-7"),
                                   .path = dbk_slice_of(path)};
    memset(place.book_id.bytes, 'B', DBK_UUID_SIZE);
    memset(place.event_id.bytes, 'E', DBK_UUID_SIZE);
    return place;
}

static void test_vault_seal__known_answers(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *value;
        const char *sealed;
    } answers[] = {
        {"name", "\"Ann\"",
         "10bf96d7f4dbcf82ccc315a3c47a7437cb0bd9e2c3869f605549db388eb680a4b58367bb13c973af"
         "d44398b7d7a3c0cb44dafe97db29f04b6a8082b0d780dec928c57ce84550201fa9f8f0ceba"},
        {"lines[3].note", LONG,
         "bae17244151129bbffa0de5fd7382f9f93b5ec1501d554ff0407c64131ba3b157176358665e5c383"
         "b7bc652fca112a772488aef4a4ae56f9bfa8261e7f99df7245fb3695de714ff202e627340c223040"
         "7e3e8dcfbe340d08527b0d1847ac26b428bddfcf181fd6aa3e8adf8bb43252f20799ffdd6c9ef573"
         "80e2ebcccbef229d84f9e23cb79726243fca88b74c8706ada85b4659673e318bd5e90e19723caa78"
         "ac0c0a8a30e63e9d837d74c3b39110"},
        {"empty", "",
         "179dd061278d6bdcc5f3e07a5b3642e48fc3f72cacc21455e4430a447682075763d56015c8c0de88"
         "289051e0e169c4acc5af5a70fa6624e64f15b558b2f6e23e2a1ed3fe637dbcb4"},
    };
    struct dbk_key key = key_of(0);
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct dbk_seal_place place = place_of(answers[i].path);
        struct dbk_buf sealed;
        struct dbk_buf text;
        dbk_buf_init(&sealed, 1 << 16);
        dbk_buf_init(&text, 1 << 16);
        dbk_seal(&key, &place, dbk_slice_of(answers[i].value), &sealed);
        for (size_t k = 0; k < sealed.size; k++)
            dbk_buf_append_format(&text, "%02x", (uint8_t)sealed.data[k]);
        assert_slice_equal(dbk_buf_slice(&text), answers[i].sealed);
        dbk_buf_reset(&text);
        assert_int_equal(dbk_unseal(&key, &place, dbk_buf_slice(&sealed), &text), DBK_OK);
        assert_slice_equal(dbk_buf_slice(&text), answers[i].value);
        dbk_buf_release(&sealed);
        dbk_buf_release(&text);
    }
}

static void refused(const struct dbk_key *key, const struct dbk_seal_place *place,
                    struct dbk_slice sealed)
{
    struct dbk_buf out;
    dbk_buf_init(&out, 1 << 16);
    assert_int_equal(dbk_unseal(key, place, sealed, &out), DBK_ECORRUPT);
    assert_int_equal(out.size, 0);
    dbk_buf_release(&out);
}

static void test_vault_seal__every_altered_bit_is_refused(void **state)
{
    (void)state;
    struct dbk_key key = key_of(0);
    struct dbk_seal_place place = place_of("name");
    struct dbk_buf sealed;
    dbk_buf_init(&sealed, 1 << 16);
    dbk_seal(&key, &place, DBK_SLICE_LITERAL("\"Ann\""), &sealed);
    for (size_t bit = 0; bit < sealed.size * 8; bit++) {
        sealed.data[bit / 8] ^= (char)(1 << bit % 8);
        refused(&key, &place, dbk_buf_slice(&sealed));
        sealed.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t size = 0; size < sealed.size; size++)
        refused(&key, &place, dbk_slice(sealed.data, size));
    dbk_buf_append_char(&sealed, 'x');
    refused(&key, &place, dbk_buf_slice(&sealed));
    dbk_buf_release(&sealed);
}

static void test_vault_seal__each_part_of_the_place_is_bound(void **state)
{
    (void)state;
    struct dbk_key key = key_of(0);
    struct dbk_seal_place place = place_of("name");
    struct dbk_buf sealed;
    dbk_buf_init(&sealed, 1 << 16);
    dbk_seal(&key, &place, DBK_SLICE_LITERAL("\"Ann\""), &sealed);
    struct dbk_slice bytes = dbk_buf_slice(&sealed);

    struct dbk_seal_place other = place;
    other.book_id.bytes[3] ^= 1;
    refused(&key, &other, bytes);
    other = place;
    other.event_id.bytes[15] ^= 1;
    refused(&key, &other, bytes);
    other = place;
    other.stream = DBK_SLICE_LITERAL("customer-8");
    refused(&key, &other, bytes);
    other = place;
    other.path = DBK_SLICE_LITERAL("nama");
    refused(&key, &other, bytes);
    /* The same bytes, divided otherwise. */
    other = place;
    other.stream = DBK_SLICE_LITERAL("customer-7n");
    other.path = DBK_SLICE_LITERAL("ame");
    refused(&key, &other, bytes);
    struct dbk_key another = key;
    another.id.bytes[0] ^= 1;
    refused(&another, &place, bytes);
    another = key_of(1);
    refused(&another, &place, bytes);
    another = key;
    another.seal[0] ^= 1; /* the commitment still holds: the tag does not */
    refused(&another, &place, bytes);
    dbk_buf_release(&sealed);
}

static void test_vault_seal__sizes_are_bounded_before_opening(void **state)
{
    (void)state;
    struct dbk_key key = key_of(0);
    struct dbk_seal_place place = place_of("name");
    /* Nobody may read behind such a claim. */
    refused(&key, &place, dbk_slice("", DBK_SEAL_VALUE_SIZE_MAX + DBK_SEAL_OVERHEAD + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vault_seal__known_answers),
        cmocka_unit_test(test_vault_seal__every_altered_bit_is_refused),
        cmocka_unit_test(test_vault_seal__each_part_of_the_place_is_bound),
        cmocka_unit_test(test_vault_seal__sizes_are_bounded_before_opening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
