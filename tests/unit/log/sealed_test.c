/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sealed_test -- sealed sections, and compaction that takes ciphertexts of erased keys: what is
 * left is their digest, the leaf stays, nothing else changes; a crash at any call, a reader in the
 * middle, a segment that ends early.
 */
#include "test.h"

#include <string.h>

#include "log/log.h"
#include "os/sim.h"

#define FOLDER "data/log"
#define SEGMENT_SIZE 3000
#define EVENTS 60
#define KEYS 3
#define FIELDS_MAX 4
#define VALUE_SIZE_MAX 120

/* An event whose sealed fields are a function of its position. */
struct sample {
    struct dbk_event event;
    struct dbk_buf sealed;
};

static struct dbk_sim *sim;
static struct dbk_log *book_log;

static struct dbk_uuid key_of(unsigned number)
{
    struct dbk_uuid key = {.bytes = {(uint8_t)(number + 1), 7}};
    return key;
}

static unsigned number_of(const struct dbk_uuid *key)
{
    return key->bytes[0] - 1u;
}

/* Which keys are erased, as bits; only those count. */
static bool is_erased(void *context, const struct dbk_uuid *key)
{
    return (*(unsigned *)context >> number_of(key) & 1) != 0;
}

/* erased: fields of these keys are as compaction leaves them. */
static void sample_init(struct sample *sample, uint64_t position, unsigned erased)
{
    char value[VALUE_SIZE_MAX];
    unsigned count = (unsigned)(position % (FIELDS_MAX + 1));
    dbk_buf_init(&sample->sealed, SIZE_MAX / 2);
    if (count > 0)
        dbk_sealed_begin(&sample->sealed, (uint16_t)count);
    for (unsigned i = 0; i < count; i++) {
        char path[2] = {'a', (char)('a' + i)};
        uint8_t digest[DBK_SHA256_SIZE];
        size_t size = (size_t)(position * 7 + i * 31) % VALUE_SIZE_MAX;
        memset(value, (int)(position + i), size);
        struct dbk_sealed_field field = {.path = dbk_slice(path, sizeof(path)),
                                         .key_id = key_of((unsigned)(position + i) % KEYS),
                                         .value = dbk_slice(value, size)};
        if ((erased >> (position + i) % KEYS & 1) != 0) {
            dbk_sha256_of(field.value, digest);
            field.kind = DBK_SEALED_DIGEST;
            field.value = dbk_slice((const char *)digest, sizeof(digest));
        }
        dbk_sealed_append(&sample->sealed, &field);
    }
    assert_int_equal(sample->sealed.rc, DBK_OK);
    sample->event = (struct dbk_event){.position = position,
                                       .version = position,
                                       .time_us = (int64_t)(1700000000000000 + position),
                                       .occurred_us = DBK_TIME_NONE,
                                       .flags = DBK_RECORD_BATCH_END | DBK_RECORD_JSON,
                                       .stream = DBK_SLICE_LITERAL("person-1"),
                                       .type = DBK_SLICE_LITERAL("Moved"),
                                       .data = DBK_SLICE_LITERAL("{\"clear\":1}"),
                                       .sealed = dbk_buf_slice(&sample->sealed)};
    sample->event.id.bytes[15] = (uint8_t)position;
}

static void open_log(struct dbk_sim *of, bool writer, struct dbk_log **log_out)
{
    struct dbk_error err = {0};
    assert_ok(dbk_log_open(&(struct dbk_log_options){.os = dbk_sim_os(of),
                                                     .folder = FOLDER,
                                                     .writer = writer,
                                                     .segment_size = SEGMENT_SIZE},
                           log_out, &err),
              &err);
}

static void add(struct dbk_log_group *group, uint64_t position)
{
    struct sample sample;
    struct dbk_log_place place;
    sample_init(&sample, position, 0);
    assert_int_equal(dbk_log_group_add(group, &sample.event, &place), DBK_OK);
    dbk_buf_release(&sample.sealed);
}

static int append(struct dbk_log *log, struct dbk_error *err)
{
    struct dbk_log_group *group = dbk_log_group_begin(log);
    add(group, dbk_log_last_position(log) + 1);
    return dbk_log_write_group(log, group, true, err);
}

static int set_up(void **state)
{
    struct dbk_error err = {0};
    (void)state;
    sim = dbk_sim_create(5);
    assert_ok(dbk_sim_os(sim)->make_folder(dbk_sim_os(sim), "data", &err), &err);
    open_log(sim, true, &book_log);
    while (dbk_log_last_position(book_log) < EVENTS)
        assert_ok(append(book_log, &err), &err);
    assert_true(dbk_log_segment_count(book_log) > 4);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_log_free(book_log);
    dbk_sim_free(sim);
    return 0;
}

static bool is_sample(const struct dbk_event *event, unsigned erased)
{
    struct sample sample;
    struct sample whole;
    uint8_t leaf[DBK_SHA256_SIZE];
    uint8_t expected[DBK_SHA256_SIZE];
    sample_init(&sample, event->position, erased);
    sample_init(&whole, event->position, 0);
    bool same = dbk_slice_equal(event->sealed, sample.event.sealed) &&
                dbk_slice_equal(event->data, sample.event.data) &&
                event->flags == sample.event.flags;
    assert_int_equal(dbk_record_leaf(event, leaf), DBK_OK);
    assert_int_equal(dbk_record_leaf(&whole.event, expected), DBK_OK);
    assert_memory_equal(leaf, expected, sizeof(leaf));
    dbk_buf_release(&sample.sealed);
    dbk_buf_release(&whole.sealed);
    return same;
}

/* All of the log; the sealed segments' events have lost the keys in `erased`, or (bits in `may`)
   perhaps those. */
static void check(struct dbk_log *log, unsigned erased, unsigned may)
{
    struct dbk_error err = {0};
    struct dbk_log_scan *scan = NULL;
    struct dbk_event event;
    uint64_t position = 0;
    uint32_t last = dbk_log_segment_count(log) - 1;
    uint64_t growing = dbk_log_segment_first_position(log, last);
    assert_ok(dbk_log_scan_open(log, (struct dbk_log_place){0}, 0, &scan, &err), &err);
    while (dbk_log_scan_next(scan, &event, NULL, &err) > 0) {
        assert_int_equal(event.position, ++position);
        assert_true(is_sample(&event, position < growing ? erased : 0) ||
                    (may != 0 && is_sample(&event, may)));
    }
    assert_int_equal(err.code, 0);
    assert_int_equal(position, dbk_log_last_position(log));
    dbk_log_scan_free(scan);
}

static int step(void *context, size_t size)
{
    (void)context;
    (void)size;
    return DBK_OK;
}

static int compact(struct dbk_log *log, uint32_t segment, unsigned *erased,
                   struct dbk_log_compacted *compacted_out, struct dbk_error *err)
{
    return dbk_log_compact(
        log, segment,
        &(struct dbk_log_compaction){.step = step, .context = erased, .erased = is_erased},
        compacted_out, err);
}

static void compact_all(unsigned erased)
{
    struct dbk_error err = {0};
    for (uint32_t i = 0; i + 1 < dbk_log_segment_count(book_log); i++) {
        struct dbk_log_compacted compacted;
        assert_ok(compact(book_log, i, &erased, &compacted, &err), &err);
        assert_int_equal(compacted.removed, 0);
    }
}

static void test_log_sealed__sections_read_as_they_were_written(void **state)
{
    (void)state;
    for (uint64_t position = 1; position <= 40; position++) {
        struct sample sample;
        struct dbk_sealed_field field;
        struct dbk_slice fields;
        uint16_t count = 0;
        unsigned i = 0;
        sample_init(&sample, position, 2);
        assert_int_equal(dbk_sealed_open(sample.event.sealed, &count, &fields), DBK_OK);
        assert_int_equal(count, position % (FIELDS_MAX + 1));
        while (dbk_sealed_next(&fields, &field) > 0) {
            assert_int_equal(field.path.data[1], 'a' + (int)i);
            assert_int_equal(number_of(&field.key_id), (position + i) % KEYS);
            bool gone = (position + i) % KEYS == 1;
            assert_int_equal(field.kind, gone ? DBK_SEALED_DIGEST : DBK_SEALED_CIPHERTEXT);
            assert_int_equal(field.value.size,
                             gone ? DBK_SHA256_SIZE : (position * 7 + i * 31) % VALUE_SIZE_MAX);
            i++;
        }
        assert_int_equal(i, count);
        /* Cut anywhere it is damaged, or ends between two fields. */
        for (size_t size = 0; size < sample.event.sealed.size; size++) {
            struct dbk_slice cut = dbk_slice(sample.event.sealed.data, size);
            unsigned found = 0;
            int rc = dbk_sealed_open(cut, &count, &fields);
            while (rc == DBK_OK && (rc = dbk_sealed_next(&fields, &field)) > 0) {
                rc = DBK_OK;
                found++;
            }
            assert_true(rc == DBK_ECORRUPT || size == 0 || found < i);
        }
        dbk_buf_release(&sample.sealed);
    }
}

static void test_log_sealed__ciphertexts_of_erased_keys_go(void **state)
{
    static const unsigned steps[] = {0, 1, 1, 5, 7};
    (void)state;
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        struct dbk_log *reader = NULL;
        compact_all(steps[i]);
        check(book_log, steps[i], 0);
        open_log(sim, false, &reader);
        check(reader, steps[i], 0);
        dbk_log_free(reader);
        dbk_log_free(book_log);
        open_log(sim, true, &book_log);
        check(book_log, steps[i], 0);
    }
}

static void test_log_sealed__says_how_many_events_lost_some(void **state)
{
    struct dbk_error err = {0};
    struct dbk_log_compacted compacted;
    unsigned erased = 1;
    uint64_t expected = 0;
    (void)state;
    for (uint64_t position = dbk_log_segment_first_position(book_log, 1);
         position < dbk_log_segment_first_position(book_log, 2); position++) {
        bool loses = false;
        for (unsigned i = 0; i < position % (FIELDS_MAX + 1); i++)
            loses = loses || (position + i) % KEYS == 0;
        expected += loses;
    }
    assert_ok(compact(book_log, 1, &erased, &compacted, &err), &err);
    assert_true(expected > 0);
    assert_int_equal(compacted.dropped, expected);
    assert_ok(compact(book_log, 1, &erased, &compacted, &err), &err);
    assert_int_equal(compacted.dropped, 0);
}

static void test_log_sealed__readers_go_on(void **state)
{
    struct dbk_error err = {0};
    struct dbk_log_scan *scan = NULL;
    struct dbk_event event;
    (void)state;
    assert_ok(dbk_log_scan_open(book_log, (struct dbk_log_place){0}, 0, &scan, &err), &err);
    assert_int_equal(dbk_log_scan_next(scan, &event, NULL, &err), 1);
    assert_true(is_sample(&event, 0));
    compact_all(1);
    assert_true(is_sample(&event, 0)); /* what is held stays as it was */
    for (uint64_t position = 2; position <= EVENTS; position++) {
        assert_int_equal(dbk_log_scan_next(scan, &event, NULL, &err), 1);
        assert_int_equal(event.position, position);
        assert_true(is_sample(&event, 0) || is_sample(&event, 1));
    }
    dbk_log_scan_free(scan);
}

static void test_log_sealed__survives_a_crash_at_any_call(void **state)
{
    (void)state;
    for (uint64_t at = 1;; at++) {
        bool ended = true;
        for (enum dbk_sim_keep keep = DBK_SIM_NONE; keep <= DBK_SIM_SUBSET; keep++) {
            struct dbk_sim *twin = dbk_sim_clone(sim, at);
            struct dbk_log *log = NULL;
            struct dbk_log_compacted compacted;
            struct dbk_error err = {0};
            unsigned erased = 3;
            open_log(twin, true, &log);
            dbk_sim_crash_at(twin, at, DBK_SIM_CHANGES);
            dbk_ignore(compact(log, 1, &erased, &compacted, &err));
            ended = ended && !dbk_sim_crashed(twin);
            dbk_log_free(log);
            dbk_sim_restart(twin, keep, keep, at);
            open_log(twin, true, &log);
            check(log, 0, erased);
            for (uint32_t i = 0; i + 1 < dbk_log_segment_count(log); i++)
                assert_ok(compact(log, i, &erased, &compacted, &err), &err);
            check(log, erased, 0);
            dbk_log_free(log);
            dbk_sim_free(twin);
        }
        if (ended)
            break;
    }
}

/* Also while one group is being filled and another was begun behind it. */
static void test_log_sealed__a_segment_ends_early(void **state)
{
    struct dbk_error err = {0};
    (void)state;
    uint32_t count = dbk_log_segment_count(book_log);
    uint64_t last = dbk_log_last_position(book_log);
    struct dbk_log_group *first = dbk_log_group_begin(book_log);
    add(first, last + 1);
    dbk_log_seal(book_log);
    struct dbk_log_group *second = dbk_log_group_begin(book_log);
    add(second, last + 2);
    assert_ok(dbk_log_write_group(book_log, first, true, &err), &err);
    assert_int_equal(dbk_log_segment_count(book_log), count);
    assert_ok(dbk_log_write_group(book_log, second, true, &err), &err);
    assert_int_equal(dbk_log_segment_count(book_log), count + 1);
    assert_int_equal(dbk_log_segment_first_position(book_log, count), last + 2);
    assert_ok(append(book_log, &err), &err);
    assert_int_equal(dbk_log_segment_count(book_log), count + 1); /* once */
    dbk_log_seal(book_log);
    dbk_log_seal(book_log);
    assert_ok(append(book_log, &err), &err);
    assert_int_equal(dbk_log_segment_count(book_log), count + 2);
    check(book_log, 0, 0);
    compact_all(2);
    check(book_log, 2, 0);
    dbk_log_free(book_log);
    open_log(sim, true, &book_log);
    check(book_log, 2, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_sealed__sections_read_as_they_were_written),
        cmocka_unit_test_setup_teardown(test_log_sealed__ciphertexts_of_erased_keys_go, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_log_sealed__says_how_many_events_lost_some, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_log_sealed__readers_go_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_log_sealed__survives_a_crash_at_any_call, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_log_sealed__a_segment_ends_early, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
