/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_test -- an event comes back from its bytes as it was, any other bytes are refused, and its
 * leaf depends on what record.h says and on nothing else.
 *
 * The leaf is compared with one built here by hand, out of the sentence in record.h.
 */
#include "test.h"

#include <string.h>

#include "base/bytes.h"
#include "log/record.h"

#define SALT 0xC0FFEEu

static struct dbk_event sample(void)
{
    static const char sealed[] = "\x01\x00"                         /* one field */
                                 "\x02\x00\x00\x00\x03\x00\x00\x00" /* path 2, kind 0, value 3 */
                                 "0123456789abcdef"                 /* key id */
                                 "/eXYZ";
    struct dbk_event event = {
        .position = 7,
        .version = 3,
        .time_us = 1700000000000001,
        .occurred_us = DBK_TIME_NONE,
        .flags = DBK_RECORD_JSON | DBK_RECORD_BATCH_END,
        .schema_version = 2,
        .stream = DBK_SLICE_LITERAL("account-123"),
        .type = DBK_SLICE_LITERAL("Deposited"),
        .tags = DBK_SLICE_LITERAL("\x01x\x02yz"),
        .data = DBK_SLICE_LITERAL("{\"amount\":50}"),
        .meta = DBK_SLICE_LITERAL("{}"),
        .sealed = dbk_slice(sealed, sizeof(sealed) - 1),
    };
    memcpy(event.id.bytes, "fedcba9876543210", DBK_UUID_SIZE);
    return event;
}

static void assert_same(const struct dbk_event *a, const struct dbk_event *b)
{
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->version, b->version);
    assert_true(a->time_us == b->time_us);
    assert_true(a->occurred_us == b->occurred_us);
    assert_true(dbk_uuid_equal(&a->id, &b->id));
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->schema_version, b->schema_version);
    assert_true(dbk_slice_equal(a->stream, b->stream));
    assert_true(dbk_slice_equal(a->type, b->type));
    assert_true(dbk_slice_equal(a->tags, b->tags));
    assert_true(dbk_slice_equal(a->data, b->data));
    assert_true(dbk_slice_equal(a->meta, b->meta));
    assert_true(dbk_slice_equal(a->sealed, b->sealed));
}

static void test_log_record__comes_back_as_it_was(void **state)
{
    (void)state;
    char bytes[512];
    struct dbk_event back;
    struct dbk_event event = sample();
    size_t size = dbk_record_size(&event);

    memset(bytes, 'x', sizeof(bytes));
    dbk_record_encode(&event, SALT, bytes);
    assert_int_equal(bytes[size], 'x');
    assert_int_equal(dbk_record_claimed_size(dbk_slice(bytes, 4)), size);
    assert_int_equal(dbk_record_claimed_size(dbk_slice(bytes, 3)), 0);
    assert_int_equal(dbk_record_decode(dbk_slice(bytes, sizeof(bytes)), SALT, &back), DBK_OK);
    assert_same(&back, &event);

    struct dbk_event empty = {.position = 1};
    dbk_record_encode(&empty, SALT, bytes);
    assert_int_equal(dbk_record_size(&empty), DBK_RECORD_HEADER_SIZE);
    assert_int_equal(dbk_record_decode(dbk_slice(bytes, DBK_RECORD_HEADER_SIZE), SALT, &back),
                     DBK_OK);
    assert_same(&back, &empty);
}

static void test_log_record__every_flip_cut_and_other_salt_is_refused(void **state)
{
    (void)state;
    char bytes[512];
    struct dbk_event back;
    struct dbk_event event = sample();
    size_t size = dbk_record_size(&event);

    dbk_record_encode(&event, SALT, bytes);
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
        assert_int_equal(dbk_record_decode(dbk_slice(bytes, sizeof(bytes)), SALT, &back),
                         DBK_ECORRUPT);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
    }
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(dbk_record_decode(dbk_slice(bytes, cut), SALT, &back), DBK_ECORRUPT);
    assert_int_equal(dbk_record_decode(dbk_slice(bytes, size), SALT + 1, &back), DBK_ECORRUPT);
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(dbk_record_decode(dbk_slice(bytes, sizeof(bytes)), 0, &back), DBK_ECORRUPT);
    memset(bytes, 0xFF, sizeof(bytes));
    assert_int_equal(dbk_record_decode(dbk_slice(bytes, sizeof(bytes)), 0, &back), DBK_ECORRUPT);
}

static void test_log_record__category_is_what_stands_before_the_dash(void **state)
{
    (void)state;
    assert_slice_equal(dbk_stream_category(dbk_slice_of("account-123-4")), "account");
    assert_slice_equal(dbk_stream_category(dbk_slice_of("account")), "account");
    assert_slice_equal(dbk_stream_category(dbk_slice_of("-1")), "");
    assert_slice_equal(dbk_stream_category((struct dbk_slice){0}), "");
}

/* The digest of the sample's content, by the document. */
static void expected_content(uint8_t digest[DBK_SHA256_SIZE])
{
    struct dbk_sha256 hash;
    uint8_t ciphertext[DBK_SHA256_SIZE];

    dbk_sha256_of(dbk_slice_of("XYZ"), ciphertext);
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, DBK_SLICE_LITERAL("\x05\0\0\0\x0d\0\0\0\x02\0\0\0\x01\0\0\0"
                                               "\x01x\x02yz{\"amount\":50}{}"
                                               "\x02\0\0\0/e"
                                               "0123456789abcdef"));
    dbk_sha256_update(&hash, dbk_slice(ciphertext, sizeof(ciphertext)));
    dbk_sha256_final(&hash, digest);
}

static void expected_leaf(uint8_t leaf[DBK_SHA256_SIZE])
{
    static const char clear[] = "\0dbkleaf2"
                                "\x07\0\0\0\0\0\0\0"
                                "\x03\0\0\0\0\0\0\0";
    char numbers[16];
    struct dbk_sha256 hash;
    uint8_t digest[DBK_SHA256_SIZE];

    expected_content(digest);
    dbk_put_i64(numbers, 1700000000000001);
    dbk_put_i64(numbers + 8, INT64_MIN);
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, dbk_slice(clear, sizeof(clear) - 1));
    dbk_sha256_update(&hash, dbk_slice(numbers, sizeof(numbers)));
    dbk_sha256_update(&hash, DBK_SLICE_LITERAL("fedcba9876543210\x03\0\0\0\x02\0"
                                               "\x0b\0account-123\x09\0Deposited"));
    dbk_sha256_update(&hash, dbk_slice(digest, sizeof(digest)));
    dbk_sha256_final(&hash, leaf);
}

/* The leaf that a removed event kept until format version 2. */
static void old_leaf(uint8_t leaf[DBK_SHA256_SIZE])
{
    static const char clear[] = "\0dbkleaf1"
                                "\x07\0\0\0\0\0\0\0"
                                "\x03\0\0\0\0\0\0\0";
    char numbers[16];
    struct dbk_sha256 hash;
    uint8_t digest[DBK_SHA256_SIZE];

    dbk_sha256_of(dbk_slice_of("XYZ"), digest);
    dbk_put_i64(numbers, 1700000000000001);
    dbk_put_i64(numbers + 8, INT64_MIN);
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, dbk_slice(clear, sizeof(clear) - 1));
    dbk_sha256_update(&hash, dbk_slice(numbers, sizeof(numbers)));
    dbk_sha256_update(&hash, DBK_SLICE_LITERAL("fedcba9876543210\x02\0\0\0\x02\0"
                                               "\x0b\0\0\0account-123\x09\0\0\0Deposited"
                                               "\x05\0\0\0\x01x\x02yz"
                                               "\x0d\0\0\0{\"amount\":50}\x02\0\0\0{}"
                                               "\x01\0\0\0\x02\0\0\0/e"
                                               "0123456789abcdef"));
    dbk_sha256_update(&hash, dbk_slice(digest, sizeof(digest)));
    dbk_sha256_final(&hash, leaf);
}

static void test_log_record__leaf_is_the_documented_one(void **state)
{
    (void)state;
    uint8_t leaf[DBK_SHA256_SIZE];
    uint8_t expected[DBK_SHA256_SIZE];
    struct dbk_event event = sample();

    expected_leaf(expected);
    assert_int_equal(dbk_record_leaf(&event, leaf), DBK_OK);
    assert_memory_equal(leaf, expected, sizeof(leaf));
}

static struct dbk_event removed_sample(const uint8_t kept[DBK_SHA256_SIZE])
{
    struct dbk_event removed = sample();
    removed.flags |= DBK_RECORD_REMOVED;
    removed.data = dbk_slice(kept, DBK_SHA256_SIZE);
    removed.tags = removed.meta = removed.sealed = (struct dbk_slice){0};
    return removed;
}

static void test_log_record__leaf_covers_the_envelope_of_a_removed_event(void **state)
{
    (void)state;
    uint8_t digest[DBK_SHA256_SIZE];
    uint8_t leaf[DBK_SHA256_SIZE];
    uint8_t expected[DBK_SHA256_SIZE];
    expected_content(digest);
    expected_leaf(expected);
    /* Every bit of a record but its size, its checksum and the flag that says it is removed. */
    for (int removed = 0; removed < 2; removed++) {
        struct dbk_event event = removed ? removed_sample(digest) : sample();
        char bytes[512];
        size_t size = dbk_record_size(&event);
        dbk_record_encode(&event, SALT, bytes);
        for (size_t bit = (size_t)8 * 8; bit < size * 8; bit++) {
            struct dbk_event back;
            bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
            dbk_put_u32(bytes + 4, dbk_crc32c(SALT, dbk_slice(bytes + 8, size - 8)));
            if (bit != 56 * 8 + 2 && dbk_record_decode(dbk_slice(bytes, size), SALT, &back) == 0 &&
                dbk_record_leaf(&back, leaf) == 0)
                assert_memory_not_equal(leaf, expected, sizeof(leaf));
            bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
        }
    }
}

static void test_log_record__leaf_outlives_ciphertext_and_data(void **state)
{
    (void)state;
    uint8_t leaf[DBK_SHA256_SIZE];
    uint8_t expected[DBK_SHA256_SIZE];
    uint8_t content[DBK_SHA256_SIZE];
    char sealed[128];
    struct dbk_event event = sample();

    expected_leaf(expected);
    memcpy(sealed, event.sealed.data, event.sealed.size);
    dbk_put_u16(sealed + 4, 1);
    dbk_put_u32(sealed + 6, DBK_SHA256_SIZE);
    size_t fixed = event.sealed.size - 3;
    dbk_sha256_of(dbk_slice_of("XYZ"), (uint8_t *)sealed + fixed);
    event.sealed = dbk_slice(sealed, fixed + DBK_SHA256_SIZE);
    assert_int_equal(dbk_record_leaf(&event, leaf), DBK_OK);
    assert_memory_equal(leaf, expected, sizeof(leaf));

    assert_int_equal(dbk_record_content(&event, content), DBK_OK);
    struct dbk_event removed = removed_sample(content);
    assert_int_equal(dbk_record_leaf(&removed, leaf), DBK_OK);
    assert_memory_equal(leaf, expected, sizeof(leaf));
    removed.data.size--;
    assert_int_equal(dbk_record_leaf(&removed, leaf), DBK_ECORRUPT);
    removed.data.size++;
    removed.meta = dbk_slice_of("{}");
    assert_int_equal(dbk_record_leaf(&removed, leaf), DBK_ECORRUPT);
}

static void test_log_record__removed_event_is_known_again(void **state)
{
    (void)state;
    uint8_t kept[DBK_SHA256_SIZE];
    struct dbk_event event = sample();
    for (int old = 0; old < 2; old++) {
        if (old)
            old_leaf(kept);
        else
            expected_content(kept);
        struct dbk_event removed = removed_sample(kept);
        struct dbk_event other = sample();
        assert_true(dbk_record_had(&removed, &event));
        other.data = dbk_slice_of("{\"amount\":51}");
        assert_false(dbk_record_had(&removed, &other));
        other = sample();
        other.tags = (struct dbk_slice){0};
        assert_false(dbk_record_had(&removed, &other));
        other = sample();
        other.meta = (struct dbk_slice){0};
        assert_false(dbk_record_had(&removed, &other));
    }
}

static void test_log_record__leaf_refuses_a_bad_sealed_section(void **state)
{
    (void)state;
    uint8_t leaf[DBK_SHA256_SIZE];
    char sealed[128];
    struct dbk_event event = sample();
    struct dbk_slice good = event.sealed;

    for (size_t size = 1; size < good.size; size++) {
        event.sealed = dbk_slice(good.data, size);
        assert_int_equal(dbk_record_leaf(&event, leaf), DBK_ECORRUPT);
    }
    memcpy(sealed, good.data, good.size);
    sealed[good.size] = 0;
    event.sealed = dbk_slice(sealed, good.size + 1);
    assert_int_equal(dbk_record_leaf(&event, leaf), DBK_ECORRUPT);
    event.sealed = dbk_slice(sealed, good.size);
    sealed[4] = 1; /* a digest must have 32 bytes */
    assert_int_equal(dbk_record_leaf(&event, leaf), DBK_ECORRUPT);
    sealed[4] = 2; /* no such kind */
    assert_int_equal(dbk_record_leaf(&event, leaf), DBK_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_record__comes_back_as_it_was),
        cmocka_unit_test(test_log_record__every_flip_cut_and_other_salt_is_refused),
        cmocka_unit_test(test_log_record__category_is_what_stands_before_the_dash),
        cmocka_unit_test(test_log_record__leaf_is_the_documented_one),
        cmocka_unit_test(test_log_record__leaf_covers_the_envelope_of_a_removed_event),
        cmocka_unit_test(test_log_record__removed_event_is_known_again),
        cmocka_unit_test(test_log_record__leaf_outlives_ciphertext_and_data),
        cmocka_unit_test(test_log_record__leaf_refuses_a_bad_sealed_section),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
