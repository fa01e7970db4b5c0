/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_batch_test -- events keep their bytes while the buffer grows, is cut, and is moved over.
 */
#include "test.h"

#include "cli/import_batch.h"

static struct dbk_import_part add_text(struct dbk_import_batch *batch, const char *text)
{
    struct dbk_import_part part = {.offset = batch->bytes.size, .size = strlen(text)};
    dbk_buf_append_text(&batch->bytes, text);
    return part;
}

/* Event n: stream s-n, type T, data {"n":n}, and n % 3 tags. */
static void add_event(struct dbk_import_batch *batch, int n)
{
    char text[32];
    struct dbk_import_event *item = dbk_import_batch_add(batch);
    assert_non_null(item);
    (void)snprintf(text, sizeof(text), "s-%d", n);
    item->stream = add_text(batch, text);
    item->type = add_text(batch, "T");
    (void)snprintf(text, sizeof(text), "{\"n\":%d}", n);
    item->data = add_text(batch, text);
    item->tag_count = (size_t)n % 3;
    for (int tag = 0; tag < n % 3; tag++) {
        (void)snprintf(text, sizeof(text), "tag-%d-%d", n, tag);
        assert_int_equal(dbk_import_batch_add_tag(batch, add_text(batch, text)), DBK_OK);
    }
}

static void expect_events(struct dbk_import_batch *batch, int first, int count)
{
    char text[32];
    assert_int_equal(batch->count, count);
    assert_int_equal(dbk_import_batch_seal(batch), DBK_OK);
    for (int i = 0; i < count; i++) {
        const struct dbk_new_event *event = &batch->events[i];
        int n = first + i;
        (void)snprintf(text, sizeof(text), "s-%d", n);
        assert_slice_equal(event->stream, text);
        assert_slice_equal(event->type, "T");
        (void)snprintf(text, sizeof(text), "{\"n\":%d}", n);
        assert_slice_equal(event->data, text);
        assert_int_equal(event->meta.size, 0);
        assert_int_equal(event->tag_count, n % 3);
        for (int tag = 0; tag < n % 3; tag++) {
            (void)snprintf(text, sizeof(text), "tag-%d-%d", n, tag);
            assert_slice_equal(event->tags[tag], text);
        }
    }
}

static void test_cli_import_batch__events_keep_their_bytes(void **state)
{
    (void)state;
    struct dbk_import_batch batch;
    dbk_import_batch_init(&batch);
    for (int round = 0; round < 2; round++) {
        for (int n = 0; n < 3000; n++)
            add_event(&batch, n);
        expect_events(&batch, 0, 3000);
        dbk_import_batch_reset(&batch);
    }
    dbk_import_batch_release(&batch);
}

static void test_cli_import_batch__a_row_can_move_over(void **state)
{
    (void)state;
    for (int cut = 0; cut <= 12; cut++) {
        struct dbk_import_batch batch;
        struct dbk_import_batch other;
        struct dbk_import_place place = {0};
        dbk_import_batch_init(&batch);
        dbk_import_batch_init(&other);
        add_event(&other, cut - 2 >= 0 ? cut - 2 : 0);
        add_event(&other, cut - 1 >= 0 ? cut - 1 : 0);
        for (int n = 0; n < 12; n++) {
            if (n == cut)
                place = dbk_import_batch_place(&batch);
            add_event(&batch, n);
        }
        if (cut == 12)
            place = dbk_import_batch_place(&batch);
        assert_int_equal(dbk_import_batch_move(&batch, &place, &other), DBK_OK);
        expect_events(&batch, 0, cut);
        if (cut >= 2)
            expect_events(&other, cut - 2, 14 - cut);
        dbk_import_batch_release(&batch);
        dbk_import_batch_release(&other);
    }
}

static void test_cli_import_batch__a_cut_forgets_an_overflow(void **state)
{
    (void)state;
    struct dbk_import_batch batch;
    dbk_import_batch_init(&batch);
    add_event(&batch, 1);
    struct dbk_import_place place = dbk_import_batch_place(&batch);
    static char large[1 << 20];
    memset(large, 'x', sizeof(large));
    while (batch.bytes.rc == DBK_OK)
        dbk_buf_append(&batch.bytes, dbk_slice(large, sizeof(large)));
    assert_int_equal(batch.bytes.rc, DBK_ELIMIT);
    dbk_import_batch_cut(&batch, &place);
    add_event(&batch, 2);
    expect_events(&batch, 1, 2);
    dbk_import_batch_release(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_import_batch__events_keep_their_bytes),
        cmocka_unit_test(test_cli_import_batch__a_row_can_move_over),
        cmocka_unit_test(test_cli_import_batch__a_cut_forgets_an_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
