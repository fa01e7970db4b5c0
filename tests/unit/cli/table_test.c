/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table_test -- the same rows as a table, JSON, JSON lines and CSV.
 */
#include "test.h"

#include <stdlib.h>

#include "cli/table.h"

static const char rows_text[] =
    "[{\"name\":\"\xc3\x84nne\",\"n\":5,\"x\":null},"
    "{\"name\":\"a,\\\"b\\\"\\n\",\"n\":1.50,\"x\":[1,2]},{\"n\":-12,\"name\":\"\"}]";

/* Writes the rows by the options, and compares with what is expected. */
static void expect(struct dbk_table_options options, const char *json_text, const char *expected)
{
    struct dbk_error err = {0};
    const struct dbk_json_node *root = NULL;
    char *text = NULL;
    size_t size = 0;
    struct dbk_json *json = dbk_json_create(1 << 20);
    assert_non_null(json);
    options.out = open_memstream(&text, &size);
    assert_non_null(options.out);
    assert_ok(dbk_json_parse(json, dbk_slice_of(json_text), &root, &err), &err);
    struct dbk_table *table = dbk_table_create(&options);
    assert_non_null(table);
    const struct dbk_json_node *row = dbk_json_first(root);
    for (uint32_t i = 0; i < root->count; i++, row = dbk_json_sibling(row))
        assert_ok(dbk_table_row(table, row, &err), &err);
    assert_ok(dbk_table_end(table, &err), &err);
    dbk_table_free(table);
    assert_int_equal(fclose(options.out), 0);
    assert_string_equal(text, expected);
    free(text);
    dbk_json_free(json);
}

static void test_cli_table__columns_are_aligned(void **state)
{
    (void)state;
    expect((struct dbk_table_options){.output = DBK_OUTPUT_TABLE}, rows_text,
           "name        n  x\n"
           "-------  ----  -----\n"
           "\xc3\x84nne        5  NULL\n"
           "a,\"b\"\\n  1.50  [1,2]\n"
           "          -12  NULL\n");
}

static void test_cli_table__chosen_columns_come_in_their_order(void **state)
{
    (void)state;
    static const char *const columns[] = {"n", "missing", NULL};
    expect((struct dbk_table_options){.output = DBK_OUTPUT_TABLE, .columns = columns}, rows_text,
           "   n  missing\n"
           "----  -------\n"
           "   5     NULL\n"
           "1.50     NULL\n"
           " -12     NULL\n");
    expect((struct dbk_table_options){.output = DBK_OUTPUT_TABLE, .columns = columns}, "[]",
           "n  missing\n"
           "-  -------\n");
    expect((struct dbk_table_options){.output = DBK_OUTPUT_CSV, .columns = columns}, rows_text,
           "n,missing\r\n5,\r\n1.50,\r\n-12,\r\n");
}

static void test_cli_table__a_terminal_gets_lines_that_fit(void **state)
{
    (void)state;
    expect((struct dbk_table_options){.output = DBK_OUTPUT_TABLE, .width_max = 20},
           "[{\"a\":1,\"b\":\"\xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5\xe6\x9c\xac"
           "\xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5\xe6\x9c\xac\"},"
           "{\"a\":2,\"b\":\"short\"}]",
           "a  b\n"
           "-  -----------------\n"
           "1  \xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5\xe6\x9c\xac\xe6\x97\xa5\xe6\x9c\xac"
           "\xe6\x97\xa5\xe6\x9c\xac\xe2\x80\xa6\n"
           "2  short\n");
}

static void test_cli_table__a_terminal_keeps_numbers_and_times_longest(void **state)
{
    (void)state;
    static const char rows[] = "[{\"n\":1234567890,\"t\":\"2011-03-01T08:26:00.123456Z\","
                               "\"s\":\"abcdefghijklmnopqrstuvwxyz\"}]";
    expect((struct dbk_table_options){.output = DBK_OUTPUT_TABLE, .width_max = 44}, rows,
           "         n  t                     s\n"
           "----------  --------------------  ----------\n"
           "1234567890  2011-03-01T08:26:00\xe2\x80\xa6  abcdefghi\xe2\x80\xa6\n");
    /* Where there is no other way they are cut too. */
    expect((struct dbk_table_options){.output = DBK_OUTPUT_TABLE, .width_max = 30}, rows,
           "        n  t          s\n"
           "---------  ---------  --------\n"
           "12345678\xe2\x80\xa6  2011-03-\xe2\x80\xa6  abcdefg\xe2\x80\xa6\n");
}

static void test_cli_table__json_is_an_array(void **state)
{
    (void)state;
    expect((struct dbk_table_options){.output = DBK_OUTPUT_JSON}, "[{\"a\":1},{\"b\":[true]}]",
           "[{\"a\":1},\n {\"b\":[true]}]\n");
    expect((struct dbk_table_options){.output = DBK_OUTPUT_JSON}, "[]", "[]\n");
    expect((struct dbk_table_options){.output = DBK_OUTPUT_JSONL}, "[{\"a\":1},{\"b\":[true]}]",
           "{\"a\":1}\n{\"b\":[true]}\n");
    expect((struct dbk_table_options){.output = DBK_OUTPUT_JSONL}, "[]", "");
}

static void test_cli_table__csv_is_quoted_where_it_must_be(void **state)
{
    (void)state;
    expect((struct dbk_table_options){.output = DBK_OUTPUT_CSV}, rows_text,
           "name,n,x\r\n\xc3\x84nne,5,\r\n\"a,\"\"b\"\"\n\",1.50,\"[1,2]\"\r\n,-12,\r\n");
}

static void test_cli_table__rows_beyond_those_held_back_widen_their_line(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    char *text = NULL;
    size_t size = 0;
    struct dbk_json *json = dbk_json_create(1 << 20);
    const struct dbk_json_node *root = NULL;
    struct dbk_table_options options = {.output = DBK_OUTPUT_TABLE,
                                        .out = open_memstream(&text, &size)};
    struct dbk_table *table = dbk_table_create(&options);
    for (int i = 0; i < DBK_TABLE_AHEAD + 10; i++) {
        const char *row =
            i < DBK_TABLE_AHEAD ? "{\"a\":\"x\",\"b\":1}" : "{\"a\":\"xyz\",\"b\":10000,\"new\":1}";
        assert_ok(dbk_json_parse(json, dbk_slice_of(row), &root, &err), &err);
        assert_ok(dbk_table_row(table, root, &err), &err);
    }
    assert_ok(dbk_table_end(table, &err), &err);
    dbk_table_free(table);
    assert_int_equal(fclose(options.out), 0);
    assert_memory_equal(text, "a  b\n-  -\nx  1\nx  1\n", 20);
    assert_int_equal(size, 5 * (DBK_TABLE_AHEAD + 2) + 10 * 11);
    assert_string_equal(text + size - 11, "xyz  10000\n");
    free(text);
    dbk_json_free(json);
}

static void test_cli_table__an_object_is_a_line_a_member(void **state)
{
    (void)state;
    static const struct {
        enum dbk_output output;
        const char *open;
        const char *expected;
    } cases[] = {
        {DBK_OUTPUT_TABLE, NULL,
         "stream   s\nstate    {\"balance\":120,\"is\":null}\nnothing  NULL\n"},
        {DBK_OUTPUT_TABLE, "state", "stream   s\nbalance  120\nis       NULL\nnothing  NULL\n"},
        {DBK_OUTPUT_JSON, NULL,
         "{\"stream\":\"s\",\"state\":{\"balance\":120,\"is\":null},\"nothing\":null}\n"},
        {DBK_OUTPUT_CSV, NULL,
         "stream,state,nothing\r\ns,\"{\"\"balance\"\":120,\"\"is\"\":null}\",\r\n"},
    };
    struct dbk_json *json = dbk_json_create(1 << 20);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_error err = {0};
        char *text = NULL;
        size_t size = 0;
        const struct dbk_json_node *root = NULL;
        struct dbk_table_options options = {.output = cases[i].output,
                                            .out = open_memstream(&text, &size)};
        assert_ok(dbk_json_parse(json,
                                 DBK_SLICE_LITERAL("{\"stream\":\"s\",\"state\":{\"balance\":120,"
                                                   "\"is\":null},\"nothing\":null}"),
                                 &root, &err),
                  &err);
        assert_ok(dbk_table_object(&options, root, cases[i].open, &err), &err);
        assert_int_equal(fclose(options.out), 0);
        assert_string_equal(text, cases[i].expected);
        free(text);
    }
    dbk_json_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_table__columns_are_aligned),
        cmocka_unit_test(test_cli_table__chosen_columns_come_in_their_order),
        cmocka_unit_test(test_cli_table__a_terminal_gets_lines_that_fit),
        cmocka_unit_test(test_cli_table__a_terminal_keeps_numbers_and_times_longest),
        cmocka_unit_test(test_cli_table__json_is_an_array),
        cmocka_unit_test(test_cli_table__csv_is_quoted_where_it_must_be),
        cmocka_unit_test(test_cli_table__rows_beyond_those_held_back_widen_their_line),
        cmocka_unit_test(test_cli_table__an_object_is_a_line_a_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
