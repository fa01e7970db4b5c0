/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pgoutput_test -- messages as PostgreSQL 15 sent them are decoded to what was done, and to the
 * same bytes again; cut ones, and those with a byte too many, are refused. The fuzz target has the
 * rest.
 */
#include "test.h"

#include "pgoutput_bytes.h"

struct sent {
    const char *hex;
    bool streamed;
};

/* BEGIN; RELATION t (id int key, name text, m mood, big text); INSERT (1, anna, happy, 'xyz');
   UPDATE to id 2 and name b with `big` unchanged; DELETE; COMMIT; and with protocol 2 STREAM
   START, a streamed INSERT, STREAM STOP, ABORT and COMMIT. */
static const struct sent begin = {"42000000000153483000030445fa70569e000002d6", false};
static const struct sent commit = {"43000000000001534830000000000153486000030445fa70569e", false};
static const struct sent relation = {
    "52000040057075626c69630074006400040169640000000017ffffffff006e616d650000000019ffffffff006d0000"
    "004001ffffffff006269670000000019ffffffff",
    false};
static const struct sent insert = {"49000040054e00047400000001317400000004616e6e617400000005686170"
                                   "7079740000000378797a",
                                   false};
static const struct sent update = {"55000040054b00047400000001316e6e6e4e00047400000001327400000001"
                                   "627400000005686170707975",
                                   false};
static const struct sent removed = {"44000040054b00047400000001326e6e6e", false};
static const struct sent truncate_both = {"5400000002030000400500004010", false};
static const struct sent stream_start = {"53000002d801", false};
static const struct sent stream_insert = {"49000002d9000040054e0001740000000131", true};
static const struct sent stream_stop = {"45", false};
static const struct sent stream_abort = {"41000002d8000002d9", false};
static const struct sent stream_commit = {
    "63000002d800000000000153483000000000015348600003 0445fa70569e", false};

static struct dbk_slice bytes_of(const char *hex, char *room)
{
    size_t size = 0;
    for (const char *at = hex; *at != 0; at++) {
        unsigned digit = 0;
        if (sscanf((char[2]){*at, 0}, "%1x", &digit) != 1)
            continue;
        room[size / 2] = (char)(size % 2 == 0 ? digit << 4 : (unsigned char)room[size / 2] | digit);
        size++;
    }
    return dbk_slice(room, size / 2);
}

static struct dbk_pgoutput decode(const struct sent *sent, char room[512])
{
    struct dbk_error err = {0};
    struct dbk_pgoutput message;
    struct dbk_buf again;
    struct dbk_slice bytes = bytes_of(sent->hex, room);
    assert_ok(dbk_pgoutput_decode(bytes, sent->streamed, &message, &err), &err);
    dbk_buf_init(&again, 1 << 16);
    put_message(&again, &message, sent->streamed);
    assert_true(dbk_slice_equal(dbk_buf_slice(&again), bytes));
    dbk_buf_release(&again);
    return message;
}

static void assert_value(struct dbk_pgoutput_tuple *tuple, char kind, const char *text)
{
    struct dbk_pgoutput_value value;
    assert_true(dbk_pgoutput_next_value(tuple, &value));
    assert_int_equal(value.kind, kind);
    assert_slice_equal(value.text, text);
}

static void test_capture_pgoutput__a_transaction_is_decoded(void **state)
{
    (void)state;
    char room[512];
    struct dbk_pgoutput message = decode(&begin, room);
    assert_int_equal(message.lsn, 0x1534830);
    assert_int_equal(message.transaction, 0x2d6);
    assert_int_equal(message.time_us, INT64_C(0x00030445fa70569e) + INT64_C(946684800000000));
    message = decode(&commit, room);
    assert_int_equal(message.lsn, 0x1534830);
    assert_int_equal(message.end_lsn, 0x1534860);
    message = decode(&relation, room);
    assert_int_equal(message.relation, 0x4005);
    assert_slice_equal(message.space, "public");
    assert_slice_equal(message.name, "t");
    assert_int_equal(message.identity, 'd');
    struct dbk_pgoutput_column column;
    assert_int_equal(message.columns.count, 4);
    assert_true(dbk_pgoutput_next_column(&message.columns, &column));
    assert_true(column.key);
    assert_slice_equal(column.name, "id");
    assert_int_equal(column.type, 23);
    assert_int_equal(column.modifier, -1);
    assert_true(dbk_pgoutput_next_column(&message.columns, &column));
    assert_false(column.key);
    assert_slice_equal(column.name, "name");
}

static void test_capture_pgoutput__rows_are_decoded(void **state)
{
    (void)state;
    char room[512];
    struct dbk_pgoutput message = decode(&insert, room);
    assert_int_equal(message.row.count, 4);
    assert_value(&message.row, 't', "1");
    assert_value(&message.row, 't', "anna");
    assert_value(&message.row, 't', "happy");
    assert_value(&message.row, 't', "xyz");
    assert_false(dbk_pgoutput_next_value(&message.row, &(struct dbk_pgoutput_value){0}));
    message = decode(&update, room);
    assert_int_equal(message.old_kind, 'K');
    assert_value(&message.old, 't', "1");
    assert_value(&message.old, 'n', "");
    assert_value(&message.row, 't', "2");
    assert_value(&message.row, 't', "b");
    assert_value(&message.row, 't', "happy");
    assert_value(&message.row, 'u', "");
    message = decode(&removed, room);
    assert_false(dbk_pgoutput_next_value(&message.row, &(struct dbk_pgoutput_value){0}));
    assert_int_equal(message.old_kind, 'K');
    assert_value(&message.old, 't', "2");
    message = decode(&truncate_both, room);
    uint32_t id = 0;
    assert_int_equal(message.options, 3);
    assert_true(dbk_pgoutput_next_relation(&message.relations, &id));
    assert_int_equal(id, 0x4005);
    assert_true(dbk_pgoutput_next_relation(&message.relations, &id));
    assert_int_equal(id, 0x4010);
    assert_false(dbk_pgoutput_next_relation(&message.relations, &id));
}

static void test_capture_pgoutput__open_transactions_are_decoded(void **state)
{
    (void)state;
    char room[512];
    struct dbk_pgoutput message = decode(&stream_start, room);
    assert_int_equal(message.transaction, 0x2d8);
    assert_true(message.first);
    message = decode(&stream_insert, room);
    assert_int_equal(message.transaction, 0x2d9);
    assert_value(&message.row, 't', "1");
    (void)decode(&stream_stop, room);
    message = decode(&stream_abort, room);
    assert_int_equal(message.transaction, 0x2d8);
    assert_int_equal(message.subtransaction, 0x2d9);
    message = decode(&stream_commit, room);
    assert_int_equal(message.end_lsn, 0x1534860);
}

static void test_capture_pgoutput__what_is_cut_or_too_long_is_refused(void **state)
{
    (void)state;
    const struct sent *const all[] = {&begin,         &commit,      &relation,      &insert,
                                      &update,        &removed,     &truncate_both, &stream_start,
                                      &stream_insert, &stream_stop, &stream_abort,  &stream_commit};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char room[512] = {0};
        struct dbk_pgoutput message;
        struct dbk_error err = {0};
        struct dbk_slice bytes = bytes_of(all[i]->hex, room);
        for (size_t size = 0; size < bytes.size; size++)
            assert_int_equal(
                dbk_pgoutput_decode(dbk_slice(room, size), all[i]->streamed, &message, &err),
                DBK_ECORRUPT);
        assert_int_equal(
            dbk_pgoutput_decode(dbk_slice(room, bytes.size + 1), all[i]->streamed, &message, &err),
            DBK_ECORRUPT);
    }
}

static void test_capture_pgoutput__a_status_is_laid_out_as_the_manual_says(void **state)
{
    (void)state;
    char bytes[DBK_WALSENDER_STATUS_SIZE];
    char room[512];
    dbk_walsender_status(0x1122334455667788, INT64_C(946684800000001), true, bytes);
    struct dbk_slice expected =
        bytes_of("72 1122334455667788 1122334455667788 1122334455667788 0000000000000001 01", room);
    assert_true(dbk_slice_equal(dbk_slice(bytes, sizeof(bytes)), expected));
}

static void test_capture_pgoutput__an_lsn_is_read_and_written(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "/", "1/", "/1", "1/123456789", "g/0", "1/2/3", "a/1"};
    char text[DBK_LSN_TEXT_SIZE];
    uint64_t lsn = 0;
    assert_true(dbk_lsn_parse(dbk_slice_of("16/B374D848"), &lsn));
    assert_int_equal(lsn, 0x16b374d848);
    dbk_lsn_format(lsn, text);
    assert_string_equal(text, "16/B374D848");
    dbk_lsn_format(UINT64_MAX, text);
    assert_string_equal(text, "FFFFFFFF/FFFFFFFF");
    /* Behind a page's header, and a segment's; and where a record ends. */
    assert_int_equal(dbk_lsn_written(0x21c6018), 0x21c6000);
    assert_int_equal(dbk_lsn_written(0x3000028), 0x3000000);
    assert_int_equal(dbk_lsn_written(0x21c6028), 0x21c6028);
    assert_int_equal(dbk_lsn_written(0x21c6000), 0x21c6000);
    assert_int_equal(dbk_lsn_written(0x21c7ff8), 0x21c7ff8);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(dbk_lsn_parse(dbk_slice_of(bad[i]), &lsn));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capture_pgoutput__a_transaction_is_decoded),
        cmocka_unit_test(test_capture_pgoutput__rows_are_decoded),
        cmocka_unit_test(test_capture_pgoutput__open_transactions_are_decoded),
        cmocka_unit_test(test_capture_pgoutput__what_is_cut_or_too_long_is_refused),
        cmocka_unit_test(test_capture_pgoutput__a_status_is_laid_out_as_the_manual_says),
        cmocka_unit_test(test_capture_pgoutput__an_lsn_is_read_and_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
