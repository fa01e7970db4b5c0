/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_rows_test -- rows come with their fields, numbers and lines, wrong ones with their reason,
 * and the reading goes on behind them; however the bytes are cut.
 */
#include "test.h"

#include "cli/import_rows.h"
#include "memory_os.h"

/* Reads a file whole, and writes each row as `number@line[field|field]` or `number@line!fault`. */
static int read_rows(struct dbk_slice file, size_t piece, enum dbk_row_format format,
                     struct dbk_buf *out, struct dbk_error *err)
{
    struct memory_os memory;
    struct dbk_input *input = NULL;
    struct dbk_rows_reader *reader = NULL;
    struct dbk_row row;
    size_t columns = 0;
    memory_os_init(&memory, file, piece);
    int rc = dbk_input_open(&memory.os, "file", &input, err);
    if (rc == DBK_OK)
        rc = dbk_rows_reader_open(input, format, &reader, err);
    if (rc == DBK_OK)
        (void)dbk_rows_reader_columns(reader, &columns);
    while (rc >= 0 && (rc = dbk_rows_reader_next(reader, &row, err)) == 1) {
        dbk_buf_append_format(out, "%ju@%ju", (uintmax_t)row.number, (uintmax_t)row.line);
        if (row.fault != NULL) {
            dbk_buf_append_format(out, "!%s;", row.fault);
            continue;
        }
        dbk_buf_append_char(out, '[');
        if (format == DBK_ROW_JSONL)
            dbk_buf_append(out, row.text);
        for (size_t i = 0; i < columns; i++) {
            if (i > 0)
                dbk_buf_append_char(out, '|');
            dbk_buf_append(out, row.fields[i]);
        }
        dbk_buf_append_text(out, "];");
    }
    dbk_rows_reader_free(reader);
    dbk_input_free(input);
    return rc;
}

static void expect(struct dbk_slice file, enum dbk_row_format format, const char *rows)
{
    for (size_t piece = 0; piece < 9; piece++) {
        struct dbk_error err = {0};
        struct dbk_buf out;
        dbk_buf_init(&out, 64 << 20);
        assert_ok(read_rows(file, piece, format, &out, &err), &err);
        assert_slice_equal(dbk_buf_slice(&out), rows);
        dbk_buf_release(&out);
    }
}
#define CSV(file, rows) expect(DBK_SLICE_LITERAL(file), DBK_ROW_CSV, rows)
#define JSONL(file, rows) expect(DBK_SLICE_LITERAL(file), DBK_ROW_JSONL, rows)

static void test_cli_import_rows__csv_is_read_as_written(void **state)
{
    (void)state;
    CSV("a,b\n1,2\n3,4\n", "1@2[1|2];2@3[3|4];");
    CSV("a,b\r\n1,2\r\n3,4", "1@2[1|2];2@3[3|4];");
    CSV("\xef\xbb\xbf"
        "a,b\n1,2\n",
        "1@2[1|2];");
    CSV("a,b\n , x \n,\n", "1@2[ | x ];2@3[|];");
    CSV("a,b\n\"x, y\",\"say \"\"hi\"\"\"\n", "1@2[x, y|say \"hi\"];");
    CSV("a,b\n\n\n1,2\n\n", "1@4[1|2];");
    CSV("a\n\"\"\n", "1@2[];");
    CSV("a,b\n", "");
    CSV("a,b", "");
}

static void test_cli_import_rows__lines_within_quotes_count(void **state)
{
    (void)state;
    CSV("a,b\n1,\"x\ny\n\nz\"\n3,4\n", "1@2[1|x\ny\n\nz];2@6[3|4];");
    CSV("a,b\r\n1,\"x\r\ny\"\r\n3,4\r\n", "1@2[1|x\r\ny];2@4[3|4];");
    CSV("\"a\nb\",c\n1,2\n", "1@3[1|2];");
}

static void test_cli_import_rows__a_wrong_row_is_named_and_left(void **state)
{
    (void)state;
    CSV("a,b\n1\n1,2,3\n4,5\n",
        "1@2!1 fields where 2 columns are;2@3!3 fields where 2 columns are;3@4[4|5];");
    CSV("a,b\n1,x\"y\n4,5\n",
        "1@2!a quote where none may be, or text behind a closing quote;2@3[4|5];");
    CSV("a,b\n1,\"x\"y\n4,5\n",
        "1@2!a quote where none may be, or text behind a closing quote;2@3[4|5];");
    CSV("a,b\n1,\xff\n4,5\n", "1@2!invalid UTF-8 in column b;2@3[4|5];");
    CSV("a,b\n\xc3,\xa4\n4,5\n", "1@2!invalid UTF-8 in column a;2@3[4|5];");
    CSV("a,b\n1,x\0y\n4,5\n", "1@2!a NUL byte in column b;2@3[4|5];");
    CSV("a,b\n1,x\ry,2\n4,5\n", "1@2!a carriage return outside quotes;2@3[4|5];");
    CSV("a,b\n1,\"x\n4,5\n", "1@2!a quoted field is never closed;");
}

static void test_cli_import_rows__a_header_is_needed(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        const char *message;
    } cases[] = {
        {"", "file: it is empty, where its first row names the columns"},
        {"\n\n", "file: it is empty, where its first row names the columns"},
        {"a,,b\n", "file: the header's column 2 has no name"},
        {"a,b,a\n", "file: the header names the column a twice"},
        {"a,\"b\n", "file:1: the header: a quoted field is never closed"},
        {"a,\xff\n", "file: the header's column 2 has no name"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_error err = {0};
        struct dbk_buf out;
        dbk_buf_init(&out, 1 << 10);
        assert_int_equal(read_rows(dbk_slice_of(cases[i].file), 0, DBK_ROW_CSV, &out, &err),
                         DBK_EINVAL);
        assert_string_equal(err.message, cases[i].message);
        dbk_buf_release(&out);
    }
}

static void test_cli_import_rows__jsonl_is_a_value_a_line(void **state)
{
    (void)state;
    JSONL("{\"a\":1}\n\n{\"a\":2}\r\n[3]", "1@1[{\"a\":1}];2@3[{\"a\":2}];3@4[[3]];");
    JSONL("", "");
    JSONL("\n\n", "");
}

static void test_cli_import_rows__an_endless_row_is_passed_over(void **state)
{
    (void)state;
    size_t size = 3 * DBK_ROW_SIZE_MAX;
    char *file = dbk_alloc(size + 16);
    struct dbk_error err = {0};
    struct dbk_buf out;
    assert_non_null(file);
    memset(file, 'x', size + 16);
    memcpy(file, "a\n", 2);
    memcpy(file + size, "\nend\n", 5);
    dbk_buf_init(&out, 1 << 10);
    assert_ok(read_rows(dbk_slice(file, size + 5), 0, DBK_ROW_CSV, &out, &err), &err);
    assert_slice_equal(dbk_buf_slice(&out),
                       "1@2!larger than 4 MiB, is a quote not closed?;2@3[end];");
    dbk_buf_reset(&out);
    assert_ok(read_rows(dbk_slice(file, size + 5), 0, DBK_ROW_JSONL, &out, &err), &err);
    assert_slice_equal(dbk_buf_slice(&out), "1@1[a];2@2!larger than 4 MiB;3@3[end];");
    /* A quote that is never closed takes in line after line, until the row is too large. */
    for (size_t i = 2; i < size; i++)
        file[i] = i % 100 == 0 ? '\n' : 'x';
    file[2] = '"';
    dbk_buf_reset(&out);
    assert_ok(read_rows(dbk_slice(file, size + 5), 0, DBK_ROW_CSV, &out, &err), &err);
    assert_memory_equal(out.data, "1@2!larger than 4 MiB, is a quote not closed?;2@", 48);
    dbk_buf_release(&out);
    dbk_free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_import_rows__csv_is_read_as_written),
        cmocka_unit_test(test_cli_import_rows__lines_within_quotes_count),
        cmocka_unit_test(test_cli_import_rows__a_wrong_row_is_named_and_left),
        cmocka_unit_test(test_cli_import_rows__a_header_is_needed),
        cmocka_unit_test(test_cli_import_rows__jsonl_is_a_value_a_line),
        cmocka_unit_test(test_cli_import_rows__an_endless_row_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
