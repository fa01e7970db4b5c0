/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory_test -- buffers and arenas hold what was put in, keep their ceilings, and stay whole when
 * the n-th allocation fails, for every n.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static unsigned allocations;
static unsigned failing; /* the allocation that fails, from 1; 0: none */
static long live;        /* blocks not yet released */

static void *allocate(size_t size)
{
    if (++allocations == failing)
        return NULL;
    live++;
    return malloc(size);
}

static void *reallocate(void *memory, size_t size)
{
    if (++allocations == failing)
        return NULL;
    live += memory == NULL ? 1 : 0;
    return realloc(memory, size);
}

static void release(void *memory)
{
    live--;
    free(memory);
}

static int count_from_now(void **state)
{
    (void)state;
    allocations = 0;
    failing = 0;
    live = 0;
    return 0;
}

static void test_base_memory__a_product_that_overflows_is_no_memory(void **state)
{
    (void)state;
    assert_null(dbk_alloc_zero(SIZE_MAX / 2, 3));
    assert_int_equal(allocations, 0);
    uint8_t *memory = dbk_alloc_zero(3, 100);
    assert_non_null(memory);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(memory[i], 0);
    dbk_free(memory);
    dbk_free(NULL);
    void *empty = dbk_alloc(0);
    assert_non_null(empty);
    dbk_free(empty);
    assert_int_equal(live, 0);
}

static void test_base_memory__buffer_holds_what_was_appended_up_to_its_ceiling(void **state)
{
    (void)state;
    char expected[1200];
    struct dbk_buf buf;
    dbk_buf_init(&buf, 1000);
    for (size_t i = 0; i < sizeof(expected); i++)
        expected[i] = (char)('a' + i % 26);
    for (size_t i = 0; i < 1000; i++)
        dbk_buf_append_char(&buf, expected[i]);
    assert_int_equal(buf.rc, DBK_OK);
    assert_int_equal(buf.size, 1000);
    assert_memory_equal(buf.data, expected, 1000);
    dbk_buf_append(&buf, dbk_slice(NULL, 0));
    assert_int_equal(buf.rc, DBK_OK);
    dbk_buf_append_char(&buf, 'x');
    assert_int_equal(buf.rc, DBK_ELIMIT);
    assert_int_equal(buf.size, 1000);
    dbk_buf_reset(&buf);
    dbk_buf_append_text(&buf, "again");
    assert_slice_equal(dbk_buf_slice(&buf), "again");
    dbk_buf_append(&buf, dbk_slice(expected, sizeof(expected)));
    assert_int_equal(buf.rc, DBK_ELIMIT);
    dbk_buf_append_text(&buf, "!"); /* sticky: nothing more comes in */
    assert_slice_equal(dbk_buf_slice(&buf), "again");
    dbk_buf_release(&buf);
    dbk_buf_release(&buf);
    assert_int_equal(live, 0);
}

static void test_base_memory__formatted_text_of_every_size(void **state)
{
    (void)state;
    for (int size = 0; size < 600; size++) {
        struct dbk_buf buf;
        dbk_buf_init(&buf, 1 << 20);
        dbk_buf_append_text(&buf, "<");
        dbk_buf_append_format(&buf, "%*s", size, "");
        dbk_buf_append_format(&buf, "%s", ">");
        assert_int_equal(buf.rc, DBK_OK);
        assert_int_equal(buf.size, size + 2);
        assert_int_equal(buf.data[size + 1], '>');
        dbk_buf_release(&buf);
    }
    assert_int_equal(live, 0);
}

static void test_base_memory__buffer_survives_every_failing_allocation(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 10; n++) {
        struct dbk_buf buf;
        dbk_buf_init(&buf, 1 << 16);
        count_from_now(NULL);
        failing = n;
        size_t before = 0;
        for (unsigned i = 0; i < 5000; i++) {
            dbk_buf_append_text(&buf, "0123456789");
            if (buf.rc == DBK_OK)
                before = buf.size;
        }
        assert_int_equal(buf.rc, allocations >= n ? DBK_ENOMEM : DBK_OK);
        assert_int_equal(buf.size, before);
        assert_int_equal(before % 10, 0);
        dbk_buf_release(&buf);
        assert_int_equal(live, 0);
    }
}

/* Blocks of many sizes, each filled with its own byte, all looked at again at the end. */
static void test_base_memory__arena_blocks_are_aligned_and_apart(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    uint8_t *blocks[COUNT];
    struct dbk_arena arena;
    dbk_arena_init(&arena, (size_t)4 << 20);
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            size_t size = i * i % 20011;
            blocks[i] =
                i % 2 == 0 ? dbk_arena_alloc(&arena, size) : dbk_arena_alloc_zero(&arena, size, 1);
            assert_non_null(blocks[i]);
            assert_int_equal((uintptr_t)blocks[i] % _Alignof(max_align_t), 0);
            for (size_t at = 0; i % 2 == 1 && at < size; at++)
                assert_int_equal(blocks[i][at], 0);
            memset(blocks[i], (int)(i & 0xFF), size);
        }
        for (size_t i = 0; i < COUNT; i++) {
            for (size_t at = 0; at < i * i % 20011; at++)
                assert_int_equal(blocks[i][at], i & 0xFF);
        }
        dbk_arena_reset(&arena);
        assert_int_equal(arena.used, 0);
    }
    dbk_arena_release(&arena);
    assert_int_equal(live, 0);
}

static void test_base_memory__arena_keeps_its_ceiling(void **state)
{
    (void)state;
    struct dbk_arena arena;
    dbk_arena_init(&arena, 1000);
    assert_null(dbk_arena_alloc(&arena, 1001));
    assert_null(dbk_arena_alloc(&arena, SIZE_MAX));
    assert_null(dbk_arena_alloc_zero(&arena, SIZE_MAX / 2, 3));
    assert_null(dbk_arena_copy(&arena, dbk_slice("x", SIZE_MAX)).data);
    assert_int_equal(arena.used, 0);
    while (dbk_arena_alloc(&arena, 100) != NULL)
        assert_true(arena.used <= 1000);
    assert_true(arena.used >= 800);
    dbk_arena_reset(&arena);
    assert_non_null(dbk_arena_alloc(&arena, 900));
    dbk_arena_release(&arena);
    assert_int_equal(live, 0);
}

static void test_base_memory__copies_end_in_nul(void **state)
{
    (void)state;
    struct dbk_arena arena;
    dbk_arena_init(&arena, 1 << 16);
    struct dbk_slice copy = dbk_arena_copy(&arena, dbk_slice("abcdef", 3));
    assert_int_equal(copy.size, 3);
    assert_string_equal(copy.data, "abc");
    copy = dbk_arena_copy(&arena, dbk_slice(NULL, 0));
    assert_int_equal(copy.size, 0);
    assert_string_equal(copy.data, "");
    char *text = dbk_arena_format(&arena, "%s-%d", "x", 7);
    assert_non_null(text);
    assert_string_equal(text, "x-7");
    dbk_arena_release(&arena);
    text = dbk_copy_text(dbk_slice("abcdef", 2));
    assert_non_null(text);
    assert_string_equal(text, "ab");
    dbk_free(text);
    assert_int_equal(live, 0);
}

static void test_base_memory__without_memory_nothing_is_handed_out(void **state)
{
    (void)state;
    struct dbk_arena arena;
    dbk_arena_init(&arena, 1 << 16);
    failing = 1;
    assert_null(dbk_arena_alloc(&arena, 10));
    count_from_now(NULL);
    failing = 1;
    assert_null(dbk_arena_format(&arena, "%d", 1));
    count_from_now(NULL);
    failing = 1;
    assert_null(dbk_copy_text(DBK_SLICE_LITERAL("x")));
    assert_int_equal(arena.used, 0);
    dbk_arena_release(&arena);
    assert_int_equal(live, 0);
}

int main(void)
{
    dbk_set_allocator(&(struct dbk_allocator){
        .allocate = allocate, .reallocate = reallocate, .release = release});
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_base_memory__a_product_that_overflows_is_no_memory,
                               count_from_now),
        cmocka_unit_test_setup(test_base_memory__buffer_holds_what_was_appended_up_to_its_ceiling,
                               count_from_now),
        cmocka_unit_test_setup(test_base_memory__formatted_text_of_every_size, count_from_now),
        cmocka_unit_test_setup(test_base_memory__buffer_survives_every_failing_allocation,
                               count_from_now),
        cmocka_unit_test_setup(test_base_memory__arena_blocks_are_aligned_and_apart,
                               count_from_now),
        cmocka_unit_test_setup(test_base_memory__arena_keeps_its_ceiling, count_from_now),
        cmocka_unit_test_setup(test_base_memory__copies_end_in_nul, count_from_now),
        cmocka_unit_test_setup(test_base_memory__without_memory_nothing_is_handed_out,
                               count_from_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
