/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_test -- what is appended is read, by this process and by others, now and after opening again.
 *
 * On the real system, in a folder under the temporary folder. Faults and crashes are the matter of
 * crash_test and damage_test.
 */
#include "test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sample.h"

static char root[64];
static char folder[80];

static int make_root(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof(root), "/tmp/daybook-log-XXXXXX");
    (void)snprintf(folder, sizeof(folder), "%s/log", mkdtemp(root) != NULL ? root : "");
    return 0;
}

static int remove_name(const char *name, void *context)
{
    char path[400];
    (void)snprintf(path, sizeof(path), "%s/%s", (const char *)context, name);
    return remove(path) == 0 ? DBK_OK : DBK_EIO;
}

static int remove_root(void **state)
{
    (void)state;
    struct dbk_os *os = dbk_os_real();
    if (os->list(os, folder, remove_name, folder, NULL) < 0 || rmdir(folder) < 0)
        return -1;
    return rmdir(root);
}

static struct dbk_log *open_log(bool writer, uint64_t segment_size)
{
    struct dbk_error err = {0};
    struct dbk_log *log = NULL;
    struct dbk_log_options options = {
        .os = dbk_os_real(), .folder = folder, .writer = writer, .segment_size = segment_size};
    assert_ok(dbk_log_open(&options, &log, &err), &err);
    return log;
}

static void append(struct dbk_log *log, unsigned count)
{
    struct dbk_error err = {0};
    assert_ok(sample_append(log, count, true, &err), &err);
}

static void check(struct dbk_log *log)
{
    struct dbk_error err = {0};
    if (!sample_check(log, &err))
        fail_msg("%s", err.code < 0 ? err.message : "another event than was appended");
}

static void test_log_log__a_new_log_is_empty_and_stays_itself(void **state)
{
    (void)state;
    struct dbk_log *log = open_log(true, 0);
    struct dbk_uuid id = *dbk_log_book_id(log);
    uint8_t key[16];
    memcpy(key, dbk_log_hash_key(log), sizeof(key));
    assert_int_equal(dbk_log_last_position(log), 0);
    assert_int_equal(dbk_log_last_time_us(log), 0);
    assert_int_equal(dbk_log_segment_count(log), 1);
    assert_int_equal(dbk_log_segment_first_position(log, 0), 1);
    assert_false(dbk_uuid_is_none(&id));
    check(log);
    dbk_log_free(log);

    log = open_log(true, 0);
    assert_true(dbk_uuid_equal(dbk_log_book_id(log), &id));
    assert_memory_equal(dbk_log_hash_key(log), key, sizeof(key));
    append(log, 3);
    dbk_log_free(log);
    log = open_log(false, 0);
    assert_true(dbk_uuid_equal(dbk_log_book_id(log), &id));
    assert_memory_equal(dbk_log_hash_key(log), key, sizeof(key));
    check(log);
    dbk_log_free(log);
}

static void test_log_log__groups_of_all_sizes_over_many_segments(void **state)
{
    (void)state;
    struct dbk_log *log = open_log(true, 5000);
    uint64_t position = 0;
    for (unsigned i = 0; i < 200; i++) {
        unsigned count = i % 9 == 0 ? 40 : i % 4 + 1;
        append(log, count);
        position += count;
        assert_int_equal(dbk_log_last_position(log), position);
        if (i % 50 == 0)
            check(log);
    }
    assert_true(dbk_log_segment_count(log) > 20);
    check(log);
    uint32_t count = dbk_log_segment_count(log);
    int64_t time_us = dbk_log_last_time_us(log);
    dbk_log_free(log);

    log = open_log(true, 5000);
    assert_int_equal(dbk_log_last_position(log), position);
    assert_int_equal(dbk_log_last_time_us(log), time_us);
    assert_int_equal(dbk_log_segment_count(log), count);
    check(log);
    append(log, 7);
    check(log);
    dbk_log_free(log);
}

static void test_log_log__a_scan_starts_at_any_record_and_goes_on_later(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_log_place places[101] = {0};
    struct dbk_log_scan *scan = NULL;
    struct dbk_event event;
    struct dbk_log *log = open_log(true, 3000);
    for (unsigned i = 0; i < 20; i++)
        append(log, 5);
    assert_ok(dbk_log_scan_open(log, (struct dbk_log_place){0}, 0, &scan, &err), &err);
    for (unsigned i = 1; i <= 100; i++)
        assert_int_equal(dbk_log_scan_next(scan, &event, &places[i], &err), 1);
    assert_int_equal(dbk_log_scan_next(scan, &event, NULL, &err), 0);
    append(log, 1);
    assert_int_equal(dbk_log_scan_next(scan, &event, NULL, &err), 1);
    assert_int_equal(event.position, 101);
    dbk_log_scan_free(scan);

    for (unsigned i = 1; i <= 100; i++) {
        uint64_t position = i;
        assert_ok(dbk_log_scan_open(log, places[i], 0, &scan, &err), &err);
        for (;;) {
            int rc = dbk_log_scan_next(scan, &event, NULL, &err);
            assert_ok(rc, &err);
            if (rc == 0)
                break;
            assert_int_equal(event.position, position++);
        }
        assert_int_equal(position, 102);
        dbk_log_scan_free(scan);

        /* The end of a record is a place, too. */
        struct sample sample;
        struct dbk_log_place behind = places[i];
        sample_make(&sample, i);
        behind.offset += (uint32_t)dbk_record_size(&sample.event);
        assert_ok(dbk_log_scan_open(log, behind, 0, &scan, &err), &err);
        assert_int_equal(dbk_log_scan_next(scan, &event, NULL, &err), 1);
        assert_int_equal(event.position, i + 1);
        dbk_log_scan_free(scan);
    }
    assert_ok(dbk_log_scan_open(log, dbk_log_end(log), 0, &scan, &err), &err);
    assert_int_equal(dbk_log_scan_next(scan, &event, NULL, &err), 0);
    append(log, 1);
    assert_int_equal(dbk_log_scan_next(scan, &event, NULL, &err), 1);
    assert_int_equal(event.position, 102);
    dbk_log_scan_free(scan);
    dbk_log_free(log);
}

static void test_log_log__a_place_without_a_record_is_refused(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_event event;
    struct dbk_log_reader reader;
    struct dbk_log *log = open_log(true, 0);
    append(log, 3);
    struct dbk_log_place end = dbk_log_end(log);
    dbk_log_reader_init(&reader);
    assert_int_equal(dbk_log_read(log, end, 0, &reader, &event, &err), DBK_EINVAL);
    assert_int_equal(dbk_log_read(log, (struct dbk_log_place){0}, 0, &reader, &event, &err),
                     DBK_EINVAL);
    assert_int_equal(dbk_log_read(log, (struct dbk_log_place){.segment = 1, .offset = 200}, 0,
                                  &reader, &event, &err),
                     DBK_EINVAL);
    unsigned found = 0;
    for (uint32_t offset = 1; offset < end.offset; offset++) {
        struct dbk_log_place place = {.offset = offset};
        found += dbk_log_read(log, place, 0, &reader, &event, &err) == DBK_OK;
    }
    assert_int_equal(found, 3);
    dbk_log_reader_release(&reader);
    dbk_log_free(log);
}

static void test_log_log__two_groups_are_filled_and_cut(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_log *log = open_log(true, 2000);
    uint64_t position = 0;
    for (unsigned round = 0; round < 30; round++) {
        struct dbk_log_group *groups[2];
        struct dbk_log_place places[2][8];
        struct sample sample;
        for (unsigned g = 0; g < 2; g++) {
            groups[g] = dbk_log_group_begin(log);
            assert_int_equal(dbk_log_group_size(groups[g]), 0);
            for (unsigned i = 0; i < 8; i++) {
                sample_make(&sample, position + 5 * g + i + 1);
                assert_int_equal(dbk_log_group_add(groups[g], &sample.event, &places[g][i]),
                                 DBK_OK);
            }
            dbk_log_group_cut(groups[g], position + 5 * g + 6);
            dbk_log_group_cut(groups[g], position + 5 * g + 6);
        }
        assert_ptr_not_equal(groups[0], groups[1]);
        for (unsigned g = 0; g < 2; g++) {
            assert_ok(dbk_log_write_group(log, groups[g], true, &err), &err);
            position += 5;
            assert_int_equal(dbk_log_last_position(log), position);
        }
        struct dbk_log_reader reader;
        struct dbk_event event;
        dbk_log_reader_init(&reader);
        for (unsigned i = 0; i < 10; i++) {
            sample_make(&sample, position - 9 + i);
            assert_ok(dbk_log_read(log, places[i / 5][i % 5], 0, &reader, &event, &err), &err);
            assert_true(sample_equal(&event, &sample.event));
        }
        dbk_log_reader_release(&reader);
    }
    check(log);
    dbk_log_free(log);
}

static void test_log_log__a_cut_group_is_placed_anew(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_log *log = open_log(true, 0);
    struct dbk_log_place place;
    struct sample sample;
    struct dbk_log_group *first = dbk_log_group_begin(log);
    sample_make(&sample, 1);
    assert_int_equal(dbk_log_group_add(first, &sample.event, &place), DBK_OK);
    struct dbk_log_group *second = dbk_log_group_begin(log);
    sample_make(&sample, 2);
    assert_int_equal(dbk_log_group_add(second, &sample.event, &place), DBK_OK);

    /* The first is given up: the second stands in no place of the log any more. */
    dbk_log_group_cut(first, 1);
    assert_ok(dbk_log_write_group(log, first, true, &err), &err);
    assert_int_equal(dbk_log_write_group(log, second, true, &err), DBK_EINVAL);
    assert_int_equal(dbk_log_last_position(log), 0);
    append(log, 2);
    check(log);
    dbk_log_free(log);
}

static void test_log_log__a_group_has_a_largest_size_and_gives_its_memory_back(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_log *log = open_log(true, 0);
    size_t size = (size_t)20 << 20;
    char *data = dbk_alloc_zero(1, size);
    struct dbk_log_place place;
    struct dbk_event event = {.position = 1, .version = 1, .data = dbk_slice(data, size)};
    struct dbk_log_group *group = dbk_log_group_begin(log);
    for (; event.position <= 3; event.position++)
        assert_int_equal(dbk_log_group_add(group, &event, &place), DBK_OK);
    assert_int_equal(dbk_log_group_add(group, &event, &place), DBK_ELIMIT);
    assert_ok(dbk_log_write_group(log, group, true, &err), &err);

    struct dbk_log_reader reader;
    struct dbk_event back;
    struct dbk_log_scan *scan = NULL;
    dbk_log_reader_init(&reader);
    assert_ok(dbk_log_read(log, place, 0, &reader, &back, &err), &err);
    assert_int_equal(back.position, 3);
    assert_int_equal(back.data.size, size);
    assert_ok(dbk_log_scan_open(log, (struct dbk_log_place){0}, 0, &scan, &err), &err);
    for (uint64_t position = 1; position <= 3; position++) {
        assert_int_equal(dbk_log_scan_next(scan, &back, NULL, &err), 1);
        assert_int_equal(back.position, position);
    }
    assert_int_equal(dbk_log_scan_next(scan, &back, NULL, &err), 0);
    dbk_log_scan_free(scan);
    dbk_log_reader_release(&reader);
    dbk_free(data);
    dbk_log_free(log);
}

static void test_log_log__another_process_reads_what_is_synced(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_log *reader = NULL;
    struct dbk_log_options options = {.os = dbk_os_real(), .folder = folder};
    bool changed = true;
    assert_int_equal(dbk_log_open(&options, &reader, &err), DBK_ENOTFOUND);

    struct dbk_log *log = open_log(true, 2000);
    reader = open_log(false, 0);
    assert_ok(dbk_log_refresh(reader, &changed, &err), &err);
    assert_false(changed);
    for (unsigned i = 0; i < 60; i++) {
        append(log, i % 5 + 1);
        assert_ok(dbk_log_refresh(reader, &changed, &err), &err);
        assert_true(changed);
        assert_int_equal(dbk_log_last_position(reader), dbk_log_last_position(log));
        assert_int_equal(dbk_log_segment_count(reader), dbk_log_segment_count(log));
        check(reader);
        if (i % 10 == 9) {
            dbk_log_free(log);
            log = open_log(true, 2000);
        }
    }
    assert_ok(sample_append(log, 1, false, &err), &err);
    check(log);
    uint64_t position = dbk_log_last_position(log);
    assert_ok(dbk_log_refresh(reader, &changed, &err), &err);
    assert_int_equal(dbk_log_last_position(reader), position - 1);
    assert_ok(dbk_log_write_group(log, dbk_log_group_begin(log), true, &err), &err);
    assert_ok(dbk_log_refresh(reader, &changed, &err), &err);
    assert_int_equal(dbk_log_last_position(reader), position);
    dbk_log_free(log);
    check(reader);
    dbk_log_free(reader);
}

static void *read_on(void *context)
{
    struct dbk_log *log = context;
    struct dbk_error err = {0};
    uint64_t last = 0;
    while (last < 3000) {
        last = dbk_log_last_position(log);
        struct dbk_log_scan *scan = NULL;
        struct dbk_event event;
        uint64_t position = 0;
        int rc = dbk_log_scan_open(log, (struct dbk_log_place){0}, 0, &scan, &err);
        while (rc >= 0 && (rc = dbk_log_scan_next(scan, &event, NULL, &err)) == 1) {
            struct sample sample;
            sample_make(&sample, ++position);
            if (!sample_equal(&event, &sample.event))
                rc = DBK_ECORRUPT;
        }
        dbk_log_scan_free(scan);
        if (rc < 0 || position < last)
            return (void *)1;
    }
    return NULL;
}

static void test_log_log__threads_read_while_one_writes(void **state)
{
    (void)state;
    pthread_t threads[3];
    struct dbk_error err = {0};
    struct dbk_log *log = open_log(true, 20000);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, log), 0);
    while (dbk_log_last_position(log) < 3000)
        assert_ok(sample_append(log, 10, dbk_log_last_position(log) % 100 == 0, &err), &err);
    for (size_t i = 0; i < 3; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    dbk_log_free(log);
}

static void test_log_log__a_segment_too_large_is_refused(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_log *log = open_log(true, UINT64_C(3) << 30);
    dbk_log_free(log);
    struct dbk_log_options options = {.os = dbk_os_real(),
                                      .folder = folder,
                                      .writer = true,
                                      .segment_size = (UINT64_C(3) << 30) + 1};
    assert_int_equal(dbk_log_open(&options, &log, &err), DBK_EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_log_log__##name, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_log_is_empty_and_stays_itself),
        TEST(groups_of_all_sizes_over_many_segments),
        TEST(a_scan_starts_at_any_record_and_goes_on_later),
        TEST(a_place_without_a_record_is_refused),
        TEST(two_groups_are_filled_and_cut),
        TEST(a_cut_group_is_placed_anew),
        TEST(a_group_has_a_largest_size_and_gives_its_memory_back),
        TEST(another_process_reads_what_is_synced),
        TEST(threads_read_while_one_writes),
        TEST(a_segment_too_large_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
