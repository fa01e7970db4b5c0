/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diagnostics_test -- faults are kept and sorted, places are counted in characters, and a name is
 * suggested exactly when it is close.
 */
#include "test.h"

#include <string.h>

#include "base/diagnostics.h"

static struct dbk_diagnostic fault(const char *file, unsigned line, unsigned column)
{
    return (struct dbk_diagnostic){.file = file, .line = line, .column = column, .what = "w"};
}

static void test_base_diagnostics__sorted_by_file_line_and_column(void **state)
{
    (void)state;
    struct dbk_diagnostics list;
    dbk_diagnostics_init(&list);
    /*
     * All of 3 files, 3 lines and 3 columns, from the last to the first, but shuffled by a stride.
     */
    for (unsigned i = 0; i < 27; i++) {
        unsigned n = i * 10 % 27;
        const char file[] = {(char)('a' + n / 9), '\0'};
        struct dbk_diagnostic item = fault(file, n / 3 % 3, n % 3);
        assert_int_equal(dbk_diagnostics_add(&list, &item), DBK_OK);
    }
    dbk_diagnostics_sort(&list);
    assert_int_equal(list.count, 27);
    for (unsigned i = 0; i < 27; i++) {
        assert_int_equal(list.items[i].file[0], 'a' + (int)(i / 9));
        assert_int_equal(list.items[i].line, i / 3 % 3);
        assert_int_equal(list.items[i].column, i % 3);
        assert_string_equal(list.items[i].what, "w");
        assert_string_equal(list.items[i].why, "");
    }
    dbk_diagnostics_release(&list);
}

static void test_base_diagnostics__past_the_maximum_they_are_only_counted(void **state)
{
    (void)state;
    struct dbk_diagnostics list;
    dbk_diagnostics_init(&list);
    for (unsigned i = 0; i < DBK_DIAGNOSTICS_MAX + 10; i++) {
        struct dbk_diagnostic item = fault("f", i, 1);
        item.warning = i % 2 == 1;
        assert_int_equal(dbk_diagnostics_add(&list, &item), DBK_OK);
    }
    assert_int_equal(list.count, DBK_DIAGNOSTICS_MAX);
    assert_int_equal(list.error_count, (DBK_DIAGNOSTICS_MAX + 10) / 2);
    dbk_diagnostics_release(&list);
    assert_int_equal(list.count, 0);
    assert_int_equal(list.error_count, 0);
}

static void test_base_diagnostics__columns_count_characters(void **state)
{
    (void)state;
    static const char text[] = "aé€\n😀b\n\nc";
    static const struct {
        const char *at;
        unsigned line;
        unsigned column;
    } cases[] = {{"aé", 1, 1}, {"é€", 1, 2},  {"€\n", 1, 3}, {"\n😀", 1, 4},
                 {"😀b", 2, 1}, {"b\n", 2, 2}, {"\nc", 3, 1}, {"c", 4, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned line = 0;
        unsigned column = 0;
        size_t offset = (size_t)(strstr(text, cases[i].at) - text);
        dbk_text_place(dbk_slice_of(text), offset, &line, &column);
        assert_int_equal(line, cases[i].line);
        assert_int_equal(column, cases[i].column);
        dbk_text_place(dbk_slice_of(text), sizeof(text) + 100, &line, &column);
        assert_int_equal(line, 4);
        assert_int_equal(column, 2);
    }
}

/* The definition, without a table: what is left to do behind the first characters. */
static unsigned distance(const char *a, const char *b)
{
    if (*a == '\0' || *b == '\0')
        return (unsigned)(strlen(a) + strlen(b));
    unsigned best = distance(a + 1, b + 1) + (*a == *b ? 0 : 1);
    unsigned other = distance(a + 1, b) + 1;
    best = other < best ? other : best;
    other = distance(a, b + 1) + 1;
    best = other < best ? other : best;
    if (a[1] != '\0' && b[1] != '\0' && a[0] == b[1] && a[1] == b[0]) {
        other = distance(a + 2, b + 2) + 1;
        best = other < best ? other : best;
    }
    return best;
}

/* The n-th text over {a, b} of up to 5 characters. */
static void make_text(unsigned n, char text_out[6])
{
    unsigned size = 0;
    for (n++; n > 1; n /= 2)
        text_out[size++] = (char)('a' + n % 2);
    text_out[size] = '\0';
}

static void test_base_diagnostics__a_name_is_suggested_exactly_when_it_is_close(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 63; i++) {
        for (unsigned j = 0; j < 63; j++) {
            char name[6];
            char candidate[6];
            make_text(i, name);
            make_text(j, candidate);
            const char *const candidates[] = {candidate};
            const char *found = dbk_closest_name(name, candidates, 1);
            unsigned limit = strlen(name) < 4 ? 1 : 2;
            assert_int_equal(found != NULL, distance(name, candidate) <= limit);
        }
    }
}

static void test_base_diagnostics__the_closest_of_several_is_suggested(void **state)
{
    (void)state;
    static const char *const names[] = {"OrderPlaced", "OrderPaid", "Order", "LineAdded"};
    char long_name[200];
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    assert_string_equal(dbk_closest_name("OrderPalced", names, 4), "OrderPlaced");
    assert_string_equal(dbk_closest_name("OrderPad", names, 4), "OrderPaid");
    assert_string_equal(dbk_closest_name("Ordr", names, 4), "Order");
    assert_null(dbk_closest_name("Refund", names, 4));
    assert_null(dbk_closest_name("Order", names, 0));
    assert_null(dbk_closest_name(long_name, (const char *const[]){long_name}, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_diagnostics__sorted_by_file_line_and_column),
        cmocka_unit_test(test_base_diagnostics__past_the_maximum_they_are_only_counted),
        cmocka_unit_test(test_base_diagnostics__columns_count_characters),
        cmocka_unit_test(test_base_diagnostics__a_name_is_suggested_exactly_when_it_is_close),
        cmocka_unit_test(test_base_diagnostics__the_closest_of_several_is_suggested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
