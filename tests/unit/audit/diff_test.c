/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diff_test -- the changes, done one after the other, make the second value of the first: for all
 * pairs of short arrays; what they look like; and where they are cut.
 */
#include "test.h"

#include "audit/audit.h"

#define LONGEST 5

static struct dbk_json *parsers[3];
static struct dbk_buf changes;
static uint64_t left_out;
static const struct dbk_diff_limits no_limits = {SIZE_MAX, SIZE_MAX};

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++)
        parsers[i] = dbk_json_create(1 << 24);
    dbk_buf_init(&changes, 1 << 24);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++)
        dbk_json_free(parsers[i]);
    dbk_buf_release(&changes);
    return 0;
}

static const struct dbk_json_node *parse(size_t parser, struct dbk_slice text)
{
    const struct dbk_json_node *node = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_json_parse(parsers[parser], text, &node, &err), &err);
    return node;
}

static void diff(struct dbk_slice before, struct dbk_slice after,
                 const struct dbk_diff_limits *limits)
{
    struct dbk_error err = {0};
    dbk_buf_reset(&changes);
    assert_ok(dbk_diff_write(parse(0, before), parse(1, after), limits, &changes, &left_out, &err),
              &err);
}

static void check(const char *before, const char *after, const char *want)
{
    diff(dbk_slice_of(before), dbk_slice_of(after), &no_limits);
    assert_slice_equal(dbk_buf_slice(&changes), want);
    assert_int_equal(left_out, 0);
}

static void test_audit_diff__names_fields_by_their_paths(void **state)
{
    (void)state;
    check("{\"a\":1}", "{\"a\":1}", "[]");
    check("{\"a\":1,\"b\":{\"c\":[1,2.50]}}", "{ \"b\" : {\"c\":[1.0,2.5]}, \"a\":1e0 }", "[]");
    check("{\"balance\":70}", "{\"balance\":120}",
          "[{\"op\":\"replace\",\"path\":\"/balance\",\"old\":70,\"value\":120}]");
    check("{\"a\":9007199254740993}", "{\"a\":9007199254740992}",
          "[{\"op\":\"replace\",\"path\":\"/a\",\"old\":9007199254740993,"
          "\"value\":9007199254740992}]");
    check("{\"a\":{\"x/y\":1,\"z~\":2}}", "{\"a\":{\"z~\":null},\"b\":[]}",
          "[{\"op\":\"remove\",\"path\":\"/a/x~1y\",\"old\":1},"
          "{\"op\":\"replace\",\"path\":\"/a/z~0\",\"old\":2,\"value\":null},"
          "{\"op\":\"add\",\"path\":\"/b\",\"value\":[]}]");
    check("[1]", "{}", "[{\"op\":\"replace\",\"path\":\"\",\"old\":[1],\"value\":{}}]");
    check("{\"\":\"a\"}", "{\"\":\"\\u0061\"}", "[]");
    check("{\"\":true}", "{\"\":false}",
          "[{\"op\":\"replace\",\"path\":\"/\",\"old\":true,\"value\":false}]");
}

static void test_audit_diff__follows_elements_that_move_along(void **state)
{
    (void)state;
    check("[{\"s\":\"a\",\"q\":1},{\"s\":\"b\",\"q\":2}]",
          "[{\"s\":\"n\",\"q\":9},{\"s\":\"a\",\"q\":1},{\"s\":\"b\",\"q\":3}]",
          "[{\"op\":\"add\",\"path\":\"/0\",\"value\":{\"s\":\"n\",\"q\":9}},"
          "{\"op\":\"replace\",\"path\":\"/2/q\",\"old\":2,\"value\":3}]");
    check("[\"a\",\"b\",\"c\",\"d\"]", "[\"b\",\"d\"]",
          "[{\"op\":\"remove\",\"path\":\"/0\",\"old\":\"a\"},"
          "{\"op\":\"remove\",\"path\":\"/1\",\"old\":\"c\"}]");
    check("[{\"a\":1,\"b\":2},5]", "[6,{\"b\":2.0,\"a\":1}]",
          "[{\"op\":\"add\",\"path\":\"/0\",\"value\":6},"
          "{\"op\":\"remove\",\"path\":\"/2\",\"old\":5}]");
}

/* ---- All pairs of arrays of the numbers 0 to 2, of up to LONGEST elements ---- */

struct numbers {
    int64_t items[2 * LONGEST];
    size_t count;
};

static struct numbers numbers_of(unsigned code)
{
    struct numbers numbers = {.count = 0};
    for (unsigned size = 1, first = 0; numbers.count < LONGEST; size *= 3, numbers.count++) {
        if (code < first + size) {
            code -= first;
            break;
        }
        first += size;
    }
    for (size_t i = 0; i < numbers.count; i++, code /= 3)
        numbers.items[i] = code % 3;
    return numbers;
}

static void write(const struct numbers *numbers, char text[64])
{
    size_t size = 0;
    text[size++] = '[';
    for (size_t i = 0; i < numbers->count; i++) {
        if (i > 0)
            text[size++] = ',';
        text[size++] = (char)('0' + numbers->items[i]);
    }
    text[size++] = ']';
    text[size] = 0;
}

static void apply(struct numbers *numbers, const struct dbk_json_node *step)
{
    uint64_t at = 0;
    struct dbk_slice path = dbk_json_member(step, "path")->text;
    struct dbk_slice op = dbk_json_member(step, "op")->text;
    const struct dbk_json_node *old = dbk_json_member(step, "old");
    const struct dbk_json_node *value = dbk_json_member(step, "value");
    int64_t *items = numbers->items;
    assert_true(dbk_slice_to_u64(dbk_slice(path.data + 1, path.size - 1), &at));
    if (old != NULL) {
        assert_true(at < numbers->count);
        assert_int_equal(items[at], old->integer);
    }
    if (dbk_slice_equal_text(op, "remove")) {
        memmove(items + at, items + at + 1, (--numbers->count - at) * sizeof(*items));
        return;
    }
    if (dbk_slice_equal_text(op, "add")) {
        assert_true(at <= numbers->count && numbers->count < 2 * LONGEST);
        memmove(items + at + 1, items + at, (numbers->count++ - at) * sizeof(*items));
    }
    items[at] = value->integer;
}

static void test_audit_diff__makes_any_array_of_any_other(void **state)
{
    (void)state;
    unsigned codes = 1 + 3 + 9 + 27 + 81;
    for (unsigned from = 0; from < codes; from++) {
        for (unsigned to = 0; to < codes; to++) {
            struct numbers before = numbers_of(from);
            struct numbers after = numbers_of(to);
            char before_text[64];
            char after_text[64];
            write(&before, before_text);
            write(&after, after_text);
            diff(dbk_slice_of(before_text), dbk_slice_of(after_text), &no_limits);
            const struct dbk_json_node *steps = parse(2, dbk_buf_slice(&changes));
            const struct dbk_json_node *step = dbk_json_first(steps);
            for (uint32_t i = 0; i < steps->count; i++, step = dbk_json_sibling(step))
                apply(&before, step);
            assert_int_equal(before.count, after.count);
            assert_memory_equal(before.items, after.items, after.count * sizeof(int64_t));
            size_t longer =
                strlen(before_text) > strlen(after_text) ? strlen(before_text) : strlen(after_text);
            assert_true(steps->count <= longer / 2 + LONGEST);
        }
    }
}

/* ---- Limits ---- */

static void test_audit_diff__leaves_out_what_does_not_fit_and_counts_it(void **state)
{
    (void)state;
    struct dbk_diff_limits limits = {.changes = 2, .size = 1000};
    struct dbk_slice before = DBK_SLICE_LITERAL("{\"a\":1,\"b\":1,\"c\":1,\"d\":1}");
    diff(before, DBK_SLICE_LITERAL("{\"a\":2,\"b\":2,\"c\":2,\"d\":2}"), &limits);
    assert_int_equal(left_out, 2);
    assert_int_equal(parse(2, dbk_buf_slice(&changes))->count, 2);
    /* Every size: what is listed is whole, and fits. */
    limits.changes = 100;
    for (limits.size = 0; limits.size < 300; limits.size++) {
        diff(before, DBK_SLICE_LITERAL("{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaa\",\"c\":2,\"e\":[]}"),
             &limits);
        assert_true(changes.size <= limits.size + 2);
        assert_int_equal(parse(2, dbk_buf_slice(&changes))->count + left_out, 5);
    }
    assert_int_equal(left_out, 0);
}

/* Arrays too large for the table of lengths, and many that are not. */
static void test_audit_diff__takes_large_values(void **state)
{
    (void)state;
    struct dbk_buf texts[2];
    for (int shape = 0; shape < 2; shape++) {
        unsigned count = shape == 0 ? 100000 : 300;
        for (unsigned side = 0; side < 2; side++) {
            dbk_buf_init(&texts[side], 1 << 24);
            for (unsigned i = 0; i < count; i++) {
                dbk_buf_append_text(&texts[side], i == 0 ? "[" : ",");
                if (shape == 0)
                    dbk_buf_append_format(&texts[side], "%u", i + side);
                for (unsigned j = 0; shape == 1 && j < 300; j++)
                    dbk_buf_append_format(&texts[side], "%s%u%s", j == 0 ? "[" : ",",
                                          i * 7 + j + side, j == 299 ? "]" : "");
            }
            dbk_buf_append_char(&texts[side], ']');
        }
        diff(dbk_buf_slice(&texts[0]), dbk_buf_slice(&texts[1]), &no_limits);
        assert_true(changes.size > 2);
        dbk_buf_release(&texts[0]);
        dbk_buf_release(&texts[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_audit_diff__names_fields_by_their_paths),
        cmocka_unit_test(test_audit_diff__follows_elements_that_move_along),
        cmocka_unit_test(test_audit_diff__makes_any_array_of_any_other),
        cmocka_unit_test(test_audit_diff__leaves_out_what_does_not_fit_and_counts_it),
        cmocka_unit_test(test_audit_diff__takes_large_values),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
