/* SPDX-License-Identifier: Apache-2.0 */
/*
 * damage_test -- damage is found and named, and neither mended by guessing nor made worse.
 *
 * Small logs on the simulated disk; every byte flipped, every length cut, files missing, exchanged
 * and from an older copy. The verdict is always one of two: DBK_ECORRUPT (or DBK_EFORMAT) with
 * every file as it was, or every event as it was appended.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "log/format.h"
#include "os/sim.h"
#include "sample.h"

#define FOLDER "log"
#define NOTE FOLDER "/synced"
#define SEGMENT_SIZE 700

static int open_log(struct dbk_sim *sim, bool writer, struct dbk_log **log_out,
                    struct dbk_error *err)
{
    struct dbk_log_options options = {
        .os = dbk_sim_os(sim), .folder = FOLDER, .writer = writer, .segment_size = SEGMENT_SIZE};
    return dbk_log_open(&options, log_out, err);
}

/* Two sealed segments and a third one, closed. Its paths, first to last. */
static struct dbk_sim *create_closed(uint64_t seed, char paths[3][64])
{
    struct dbk_sim *sim = dbk_sim_create(seed);
    struct dbk_log *log = NULL;
    struct dbk_error err = {0};
    assert_ok(open_log(sim, true, &log, &err), &err);
    while (dbk_log_segment_count(log) < 3)
        assert_ok(sample_append(log, 2, true, &err), &err);
    assert_ok(sample_append(log, 1, true, &err), &err);
    for (uint32_t i = 0; i < 3; i++)
        (void)snprintf(paths[i], sizeof(paths[i]), FOLDER "/%020ju.seg",
                       (uintmax_t)dbk_log_segment_first_position(log, i));
    dbk_log_free(log);
    return sim;
}

static uint64_t last_position(struct dbk_sim *sim)
{
    struct dbk_sim *twin = dbk_sim_clone(sim, 1);
    struct dbk_log *log = NULL;
    struct dbk_error err = {0};
    assert_ok(open_log(twin, true, &log, &err), &err);
    uint64_t position = dbk_log_last_position(log);
    dbk_log_free(log);
    dbk_sim_free(twin);
    return position;
}

static bool says_damage(int rc)
{
    return rc == DBK_ECORRUPT || rc == DBK_EFORMAT;
}

/* What a scan and reads say: whether all is there; on damage they must say so. */
static bool is_whole(struct dbk_log *log, uint64_t position)
{
    struct dbk_error err = {0};
    assert_int_equal(dbk_log_last_position(log), position);
    bool whole = sample_check(log, &err);
    if (!whole && !says_damage(err.code))
        fail_msg("damage goes unnoticed: %s", err.code < 0 ? err.message : "another event");
    return whole;
}

/*
 * Opens a damaged disk and keeps it as it was. True when nothing was noticed, that is, when all
 * events are there all the same.
 */
static bool is_harmless(struct dbk_sim *damaged, uint64_t position)
{
    bool harmless[2] = {true, true};
    for (int writer = 0; writer < 2; writer++) {
        struct dbk_sim *sim = dbk_sim_clone(damaged, 2);
        struct dbk_log *log = NULL;
        struct dbk_error err = {0};
        uint64_t before = dbk_sim_fingerprint(sim);
        int rc = open_log(sim, writer == 1, &log, &err);
        if (rc == DBK_OK) {
            /* A reader sees what was noted. */
            assert_true(dbk_log_last_position(log) <= position);
            harmless[writer] = is_whole(log, writer == 0 ? dbk_log_last_position(log) : position);
        } else {
            harmless[writer] = false;
            assert_true(says_damage(rc) || (writer == 0 && rc == DBK_ENOTFOUND));
            assert_string_not_equal(err.message, "");
        }
        if (rc < 0 || writer == 0)
            assert_true(dbk_sim_fingerprint(sim) == before);
        dbk_log_free(log);
        dbk_sim_free(sim);
    }
    return harmless[1];
}

static void remove_file(struct dbk_sim *sim, const char *path)
{
    assert_int_equal(dbk_sim_os(sim)->remove(dbk_sim_os(sim), path, NULL), DBK_OK);
}

static void test_log_damage__every_flip_in_a_segment_is_found(void **state)
{
    (void)state;
    static const uint8_t masks[] = {0x01, 0x80, 0xFF};
    char paths[3][64];
    struct dbk_sim *sim = create_closed(1, paths);
    uint64_t position = last_position(sim);
    for (size_t i = 0; i < 3; i++) {
        size_t size = dbk_sim_file(sim, paths[i]).size;
        for (size_t at = 0; at < size * 3; at++) {
            dbk_sim_flip(sim, paths[i], at / 3, masks[at % 3]);
            if (is_harmless(sim, position))
                fail_msg("%s: a flip at byte %zu goes unnoticed", paths[i], at / 3);
            dbk_sim_flip(sim, paths[i], at / 3, masks[at % 3]);
        }
    }
    dbk_sim_free(sim);
}

static void test_log_damage__a_flip_in_the_note_loses_nothing(void **state)
{
    (void)state;
    char paths[3][64];
    struct dbk_sim *sim = create_closed(1, paths);
    uint64_t position = last_position(sim);
    size_t size = dbk_sim_file(sim, NOTE).size;
    for (size_t bit = 0; bit < size * 8; bit++) {
        dbk_sim_flip(sim, NOTE, bit / 8, (uint8_t)(1 << bit % 8));
        bool version = bit / 8 % DBK_NOTE_SLOT_DISTANCE / 4 == 2;
        assert_true(is_harmless(sim, position) || version);
        dbk_sim_flip(sim, NOTE, bit / 8, (uint8_t)(1 << bit % 8));
    }
    dbk_sim_free(sim);
}

static void test_log_damage__every_shortened_segment_is_found(void **state)
{
    (void)state;
    char paths[3][64];
    char bytes[4096];
    struct dbk_sim *sim = create_closed(1, paths);
    uint64_t position = last_position(sim);
    for (size_t i = 0; i < 3; i++) {
        struct dbk_slice file = dbk_sim_file(sim, paths[i]);
        size_t size = file.size;
        memcpy(bytes, file.data, size);
        for (size_t cut = 0; cut < size; cut++) {
            dbk_sim_set_file(sim, paths[i], dbk_slice(bytes, cut));
            assert_false(is_harmless(sim, position));
        }
        dbk_sim_set_file(sim, paths[i], dbk_slice(bytes, size));
    }
    dbk_sim_free(sim);
}

static void test_log_damage__without_a_note_only_a_whole_log_opens(void **state)
{
    (void)state;
    char paths[3][64];
    char bytes[4096];
    struct dbk_sim *sim = create_closed(1, paths);
    uint64_t position = last_position(sim);
    remove_file(sim, NOTE);
    struct dbk_slice file = dbk_sim_file(sim, paths[2]);
    size_t size = file.size;
    memcpy(bytes, file.data, size);
    assert_true(is_harmless(sim, position));
    for (size_t at = 0; at < size; at++) {
        dbk_sim_flip(sim, paths[2], at, 0x10);
        assert_false(is_harmless(sim, position));
        dbk_sim_flip(sim, paths[2], at, 0x10);
    }
    bytes[size] = 0;
    dbk_sim_set_file(sim, paths[2], dbk_slice(bytes, size + 1));
    assert_true(is_harmless(sim, position));
    bytes[size] = 1;
    dbk_sim_set_file(sim, paths[2], dbk_slice(bytes, size + 1));
    assert_false(is_harmless(sim, position));
    dbk_sim_free(sim);
}

static void test_log_damage__garbage_behind_the_end_is_a_torn_tail(void **state)
{
    (void)state;
    char paths[3][64];
    char bytes[4096];
    struct dbk_sim *sim = create_closed(1, paths);
    uint64_t position = last_position(sim);
    for (size_t i = 0; i < 3; i++) {
        struct dbk_slice file = dbk_sim_file(sim, paths[i]);
        memcpy(bytes, file.data, file.size);
        memcpy(bytes + file.size, file.data + DBK_SEGMENT_HEADER_SIZE, 300);
        dbk_sim_set_file(sim, paths[i], dbk_slice(bytes, file.size + 300));
        assert_true(is_harmless(sim, position));
    }
    dbk_sim_free(sim);
}

static void test_log_damage__missing_and_exchanged_segments_are_found(void **state)
{
    (void)state;
    char paths[3][64];
    char bytes[4096];
    struct dbk_sim *sim = create_closed(1, paths);
    struct dbk_sim *other = create_closed(2, paths);
    uint64_t position = last_position(sim);
    for (size_t i = 0; i < 3; i++) {
        struct dbk_slice file = dbk_sim_file(sim, paths[i]);
        struct dbk_slice others = dbk_sim_file(other, paths[i]);
        size_t size = file.size;
        assert_int_equal(others.size, size);
        memcpy(bytes, file.data, size);
        dbk_sim_set_file(sim, paths[i], others);
        assert_false(is_harmless(sim, position));
        remove_file(sim, paths[i]);
        assert_false(is_harmless(sim, position));
        dbk_sim_set_file(sim, paths[i], dbk_slice(bytes, size));
        assert_true(is_harmless(sim, position));
    }
    for (size_t i = 0; i < 3; i++)
        remove_file(sim, paths[i]);
    assert_false(is_harmless(sim, position));
    dbk_sim_free(other);
    dbk_sim_free(sim);
}

/* Two logs that were one: their segments have the same names and sizes, and the same book. */
static void test_log_damage__segments_of_a_forked_log_are_found(void **state)
{
    (void)state;
    struct dbk_sim *forks[2] = {dbk_sim_create(1), NULL};
    struct dbk_log *log = NULL;
    struct dbk_error err = {0};
    assert_ok(open_log(forks[0], true, &log, &err), &err);
    dbk_log_free(log);
    forks[1] = dbk_sim_clone(forks[0], 2);
    uint64_t first_positions[3] = {0};
    for (size_t f = 0; f < 2; f++) {
        assert_ok(open_log(forks[f], true, &log, &err), &err);
        while (dbk_log_segment_count(log) < 4)
            assert_ok(sample_append(log, 2, true, &err), &err);
        for (uint32_t i = 0; i < 3; i++)
            first_positions[i] = dbk_log_segment_first_position(log, i + 1);
        dbk_log_free(log);
    }
    uint64_t position = last_position(forks[0]);
    for (size_t i = 0; i < 3; i++) {
        char path[64];
        struct dbk_sim *sim = dbk_sim_clone(forks[0], 1);
        (void)snprintf(path, sizeof(path), FOLDER "/%020ju.seg", (uintmax_t)first_positions[i]);
        dbk_sim_set_file(sim, path, dbk_sim_file(forks[1], path));
        assert_int_equal(open_log(sim, true, &log, &err), DBK_ECORRUPT);
        assert_false(is_harmless(sim, position));
        dbk_sim_free(sim);
    }
    dbk_sim_free(forks[0]);
    dbk_sim_free(forks[1]);
}

static struct dbk_note note_in(struct dbk_sim *sim, size_t slot)
{
    struct dbk_note note = {0};
    uint32_t version = 0;
    struct dbk_slice file = dbk_sim_file(sim, NOTE);
    size_t at = slot * DBK_NOTE_SLOT_DISTANCE;
    assert_int_equal(dbk_note_decode(dbk_slice(file.data + at, file.size - at), &note, &version),
                     DBK_OK);
    return note;
}

static void test_log_damage__notes_take_turns_and_the_last_is_durable(void **state)
{
    (void)state;
    struct dbk_sim *sim = dbk_sim_create(1);
    struct dbk_log *log = NULL;
    struct dbk_error err = {0};
    assert_ok(open_log(sim, true, &log, &err), &err);
    for (uint64_t i = 1; i <= 20; i++) {
        assert_ok(sample_append(log, 1, true, &err), &err);
        struct dbk_note notes[2] = {note_in(sim, 0), note_in(sim, 1)};
        size_t newest = notes[0].sequence > notes[1].sequence ? 0 : 1;
        assert_int_equal(notes[newest].sequence, notes[1 - newest].sequence + 1);
        assert_int_equal(notes[newest].last_position, i);
        assert_int_equal(notes[1 - newest].last_position, i - 1);
    }
    dbk_log_free(log);
    dbk_sim_restart(sim, DBK_SIM_NONE, DBK_SIM_NONE, 0);
    assert_int_equal(note_in(sim, 0).last_position, 20);
    assert_int_equal(note_in(sim, 1).last_position, 20);
    dbk_sim_free(sim);
}

static void test_log_damage__an_older_copy_of_the_last_segment_is_found(void **state)
{
    (void)state;
    char paths[3][64];
    char bytes[4096];
    struct dbk_sim *sim = create_closed(1, paths);
    struct dbk_log *log = NULL;
    struct dbk_error err = {0};
    struct dbk_slice file = dbk_sim_file(sim, paths[2]);
    size_t size = file.size;
    memcpy(bytes, file.data, size);
    struct dbk_log_options options = {.os = dbk_sim_os(sim), .folder = FOLDER, .writer = true};
    assert_ok(dbk_log_open(&options, &log, &err), &err);
    assert_ok(sample_append(log, 1, true, &err), &err);
    dbk_log_free(log);
    dbk_sim_set_file(sim, paths[2], dbk_slice(bytes, size));
    assert_int_equal(open_log(sim, true, &log, &err), DBK_ECORRUPT);
    assert_non_null(strstr(err.message, "were synced"));
    dbk_sim_free(sim);
}

static void test_log_damage__a_newer_version_is_refused_by_name(void **state)
{
    (void)state;
    char paths[3][64];
    struct dbk_sim *sim = create_closed(1, paths);
    struct dbk_log *log = NULL;
    const char *damaged[] = {paths[0], paths[2], NOTE};
    for (size_t i = 0; i < 3; i++) {
        struct dbk_error err = {0};
        char expected[128];
        dbk_sim_flip(sim, damaged[i], 8, DBK_LOG_FORMAT ^ 77);
        assert_int_equal(open_log(sim, true, &log, &err), DBK_EFORMAT);
        (void)snprintf(expected, sizeof(expected),
                       "%s has format version 77, this Daybook reads up to %d", damaged[i],
                       DBK_LOG_FORMAT);
        assert_string_equal(err.message, expected);
        assert_int_equal(open_log(sim, false, &log, &err), DBK_EFORMAT);
        dbk_sim_flip(sim, damaged[i], 8, DBK_LOG_FORMAT ^ 77);
    }
    dbk_sim_free(sim);
}

/*
 * Groups behind an old note, as after a power cut: a damaged one is a torn tail only when it is the
 * last, since each header tells what had been synced when it was written.
 */
static void test_log_damage__behind_the_note_only_the_last_group_can_be_torn(void **state)
{
    (void)state;
    struct dbk_sim *sim = dbk_sim_create(3);
    struct dbk_log *log = NULL;
    struct dbk_error err = {0};
    char note[DBK_NOTE_SIZE];
    uint32_t offsets[5];
    struct dbk_log_options options = {.os = dbk_sim_os(sim), .folder = FOLDER, .writer = true};
    assert_ok(dbk_log_open(&options, &log, &err), &err);
    assert_ok(sample_append(log, 2, true, &err), &err);
    memcpy(note, dbk_sim_file(sim, NOTE).data, sizeof(note));
    for (size_t i = 0; i < 5; i++) {
        offsets[i] = dbk_log_end(log).offset;
        if (i < 4)
            assert_ok(sample_append(log, 1, true, &err), &err);
    }
    dbk_log_free(log);
    dbk_sim_set_file(sim, NOTE, dbk_slice(note, sizeof(note)));
    assert_true(is_harmless(sim, 6));

    const char *path = FOLDER "/00000000000000000001.seg";
    for (uint32_t at = offsets[0]; at < offsets[4]; at++) {
        dbk_sim_flip(sim, path, at, 0x20);
        if (at < offsets[3])
            assert_false(is_harmless(sim, 6));
        else
            assert_true(is_harmless(sim, 5));
        dbk_sim_flip(sim, path, at, 0x20);
    }
    dbk_sim_free(sim);
}

/* A group whose checksums are right and that follows nothing: not a torn tail either. */
static void test_log_damage__a_whole_group_out_of_order_is_refused(void **state)
{
    (void)state;
    char paths[3][64];
    char bytes[4096];
    char group[DBK_GROUP_HEADER_SIZE + 512];
    struct dbk_sim *sim = create_closed(1, paths);
    uint64_t position = last_position(sim);
    struct dbk_slice file = dbk_sim_file(sim, paths[2]);
    size_t size = file.size;
    memcpy(bytes, file.data, size);
    uint32_t salt = dbk_get_u32(bytes + 12);
    struct dbk_group_header first;
    assert_int_equal(
        dbk_group_header_decode(dbk_slice(bytes + DBK_SEGMENT_HEADER_SIZE, size), salt, &first),
        DBK_OK);
    assert_true(DBK_GROUP_HEADER_SIZE + first.payload_size <= sizeof(group));

    for (int fault = 0; fault < 4; fault++) {
        struct dbk_group_header header = first;
        struct sample sample;
        sample_make(&sample, position + 1 + (fault == 1));
        header.first_position = position + 1;
        header.count = fault == 2 ? 2 : 1;
        header.last_time_us = sample.event.time_us + (fault == 3);
        header.payload_size = (uint32_t)dbk_record_size(&sample.event);
        header.offset = (uint32_t)size;
        header.synced_size = (uint32_t)size;
        header.chain = fault == 0 ? 1 : 0;
        if (fault != 0) {
            struct dbk_segment_header segment;
            uint32_t version = 0;
            assert_int_equal(dbk_segment_header_decode(dbk_slice(bytes, size), &segment, &version),
                             DBK_OK);
            header.chain = segment.crc;
            for (size_t at = DBK_SEGMENT_HEADER_SIZE; at < size;) {
                struct dbk_group_header one;
                assert_int_equal(
                    dbk_group_header_decode(dbk_slice(bytes + at, size - at), salt, &one), DBK_OK);
                header.chain = dbk_group_chain(header.chain, bytes + at);
                at += DBK_GROUP_HEADER_SIZE + one.payload_size;
            }
        }
        dbk_record_encode(&sample.event, salt, group + DBK_GROUP_HEADER_SIZE);
        header.payload_crc =
            dbk_crc32c(salt, dbk_slice(group + DBK_GROUP_HEADER_SIZE, header.payload_size));
        dbk_group_header_encode(&header, salt, group);
        memcpy(bytes + size, group, DBK_GROUP_HEADER_SIZE + header.payload_size);
        dbk_sim_set_file(sim, paths[2],
                         dbk_slice(bytes, size + DBK_GROUP_HEADER_SIZE + header.payload_size));
        struct dbk_log *log = NULL;
        struct dbk_error err = {0};
        uint64_t before = dbk_sim_fingerprint(sim);
        assert_int_equal(open_log(sim, true, &log, &err), DBK_ECORRUPT);
        assert_non_null(strstr(err.message, "does not follow what stands before it"));
        assert_true(dbk_sim_fingerprint(sim) == before);
    }
    dbk_sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_damage__every_flip_in_a_segment_is_found),
        cmocka_unit_test(test_log_damage__a_flip_in_the_note_loses_nothing),
        cmocka_unit_test(test_log_damage__every_shortened_segment_is_found),
        cmocka_unit_test(test_log_damage__without_a_note_only_a_whole_log_opens),
        cmocka_unit_test(test_log_damage__garbage_behind_the_end_is_a_torn_tail),
        cmocka_unit_test(test_log_damage__missing_and_exchanged_segments_are_found),
        cmocka_unit_test(test_log_damage__segments_of_a_forked_log_are_found),
        cmocka_unit_test(test_log_damage__notes_take_turns_and_the_last_is_durable),
        cmocka_unit_test(test_log_damage__an_older_copy_of_the_last_segment_is_found),
        cmocka_unit_test(test_log_damage__a_newer_version_is_refused_by_name),
        cmocka_unit_test(test_log_damage__behind_the_note_only_the_last_group_can_be_torn),
        cmocka_unit_test(test_log_damage__a_whole_group_out_of_order_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
