/* SPDX-License-Identifier: Apache-2.0 */
/*
 * erase_test -- compaction takes ciphertexts of erased keys wherever they lie: by the keys' tags in
 * the index, whatever share of a segment they are, also out of the segment that grew.
 */
#include "test.h"

#include "log/sealed.h"
#include "os/sim.h"
#include "store/store.h"

#define EVENTS 300
#define KEYS 10
#define CIPHERTEXT_SIZE 80

static struct dbk_sim *sim;
static struct dbk_store *store;

static struct dbk_uuid key_of(unsigned number)
{
    return (struct dbk_uuid){.bytes = {(uint8_t)number, 1}};
}

static void open_store(void)
{
    struct dbk_error err = {0};
    assert_ok(dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(sim),
                                                         .folder = "data",
                                                         .writer = true,
                                                         .segment_size = 8000,
                                                         .chunk_events = 64},
                             &store, &err),
              &err);
}

static void append(unsigned number)
{
    struct dbk_error err = {0};
    struct dbk_append_result result;
    struct dbk_buf sealed;
    char tag_text[DBK_KEY_TAG_SIZE + 1];
    char ciphertext[CIPHERTEXT_SIZE];
    memset(ciphertext, 'A' + (int)number, sizeof(ciphertext));
    struct dbk_sealed_field field = {.path = DBK_SLICE_LITERAL("name"),
                                     .key_id = key_of(number),
                                     .value = dbk_slice(ciphertext, sizeof(ciphertext))};
    dbk_buf_init(&sealed, 1000);
    dbk_sealed_begin(&sealed, 1);
    dbk_sealed_append(&sealed, &field);
    dbk_key_tag(&field.key_id, tag_text);
    struct dbk_slice tag = dbk_slice(tag_text, DBK_KEY_TAG_SIZE);
    struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL("person-1"),
                                  .type = DBK_SLICE_LITERAL("Moved"),
                                  .data = DBK_SLICE_LITERAL("{}"),
                                  .tags = &tag,
                                  .tag_count = 1,
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON,
                                  .sealed = dbk_buf_slice(&sealed)};
    assert_ok(
        dbk_store_append(store, &(struct dbk_batch){.events = &event, .count = 1}, &result, &err),
        &err);
    dbk_buf_release(&sealed);
}

static int set_up(void **state)
{
    (void)state;
    sim = dbk_sim_create(9);
    open_store();
    for (unsigned i = 0; i < EVENTS; i++)
        append(i % KEYS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_store_free(store);
    dbk_sim_free(sim);
    return 0;
}

/* Up to `position` fields of the keys in the set have lost their ciphertext, and no others. */
static void check(unsigned erased, uint64_t position)
{
    struct dbk_error err = {0};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t count = 0;
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){.raw = true}, &cursor, &err), &err);
    while (dbk_cursor_next(cursor, &event, &err) > 0) {
        struct dbk_sealed_field field;
        struct dbk_slice fields;
        uint16_t fields_count = 0;
        assert_int_equal(event.position, ++count);
        assert_int_equal(dbk_sealed_open(event.sealed, &fields_count, &fields), DBK_OK);
        assert_int_equal(dbk_sealed_next(&fields, &field), 1);
        bool gone = (erased >> field.key_id.bytes[0] & 1) != 0 && event.position <= position;
        assert_int_equal(field.kind, gone ? DBK_SEALED_DIGEST : DBK_SEALED_CIPHERTEXT);
    }
    assert_int_equal(err.code, 0);
    dbk_cursor_free(cursor);
}

static struct dbk_store_compacted compact(const struct dbk_uuid *keys, size_t count)
{
    struct dbk_error err = {0};
    struct dbk_store_compacted result;
    assert_ok(dbk_store_compact(store,
                                &(struct dbk_store_compaction){
                                    .percent = 100, .erased = keys, .erased_count = count},
                                &result, &err),
              &err);
    return result;
}

static void test_store_erase__takes_ciphertexts_whatever_their_share(void **state)
{
    struct dbk_uuid keys[] = {key_of(3), key_of(5)};
    (void)state;
    uint64_t sealed = dbk_store_sealed_position(store);
    assert_true(sealed > EVENTS / 2 && sealed < EVENTS);
    struct dbk_store_compacted result = compact(keys, 2);
    assert_true(result.segments > 5);
    assert_int_equal(result.removed, 0);
    assert_int_equal(result.dropped, (sealed + 9 - 3) / 10 + (sealed + 9 - 5) / 10);
    assert_int_equal(result.size_before - result.size > 0, 1);
    check(1u << 3 | 1u << 5, sealed);
    result = compact(keys, 2);
    assert_int_equal(result.segments, 0);
    dbk_store_free(store);
    open_store();
    check(1u << 3 | 1u << 5, sealed);
}

static void test_store_erase__reaches_the_segment_that_grew(void **state)
{
    struct dbk_uuid keys[] = {key_of(3)};
    (void)state;
    dbk_store_seal(store);
    append(9);
    assert_int_equal(dbk_store_sealed_position(store), EVENTS);
    assert_int_equal(compact(keys, 1).dropped, EVENTS / KEYS);
    check(1u << 3, EVENTS);
    /* Old ciphertexts are in no file any more, and those of others are. */
    size_t size = 0;
    for (unsigned number = 0; number < KEYS; number++) {
        char needle[CIPHERTEXT_SIZE];
        unsigned found = 0;
        memset(needle, 'A' + (int)number, sizeof(needle));
        for (uint64_t first = 1; first <= EVENTS + 1; first++) {
            char path[64];
            (void)snprintf(path, sizeof(path), "data/log/%020ju.seg", (uintmax_t)first);
            struct dbk_slice file = dbk_sim_file(sim, path);
            size += file.size;
            for (size_t i = 0; i + sizeof(needle) <= file.size; i++)
                found += memcmp(file.data + i, needle, sizeof(needle)) == 0;
        }
        assert_int_equal(found, number == 3 ? 0 : EVENTS / KEYS + (number == 9));
    }
    assert_true(size > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_store_erase__takes_ciphertexts_whatever_their_share,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_store_erase__reaches_the_segment_that_grew, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
