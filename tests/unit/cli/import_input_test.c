/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_input_test -- compressed bytes come out as they went in, and a file cut off anywhere is an
 * error, never a shorter file.
 */
#include "test.h"

#include <zlib.h>
#include <zstd.h>

#include "base/memory.h"
#include "cli/import_input.h"
#include "memory_os.h"

static char plain[100000];

static void fill_plain(void)
{
    for (size_t i = 0; i < sizeof(plain); i++)
        plain[i] = (char)('a' + (i * i / 7) % 26);
}

static size_t gzip(const char *bytes, size_t size, char *out, size_t room)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)bytes;
    stream.avail_in = (uInt)size;
    stream.next_out = (Bytef *)out;
    stream.avail_out = (uInt)room;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    size_t got = room - stream.avail_out;
    (void)deflateEnd(&stream);
    return got;
}

/* Reads all of a file; the error is what reading ended with. */
static int read_all(struct dbk_slice file, size_t piece, size_t step, struct dbk_buf *out,
                    struct dbk_error *err)
{
    static char buffer[1 << 17];
    struct memory_os memory;
    struct dbk_input *input = NULL;
    size_t size = 0;
    memory_os_init(&memory, file, piece);
    assert_ok(dbk_input_open(&memory.os, "file", &input, err), err);
    int rc = DBK_OK;
    while ((rc = dbk_input_read(input, buffer, step, &size, err)) == DBK_OK && size > 0)
        dbk_buf_append(out, dbk_slice(buffer, size));
    dbk_input_free(input);
    return rc;
}

static void expect_plain(struct dbk_slice file, size_t times)
{
    static const size_t pieces[] = {0, 1, 7, 4096};
    static const size_t steps[] = {1 << 17, 1, 1000};
    for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
        for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
            struct dbk_error err = {0};
            struct dbk_buf out;
            dbk_buf_init(&out, 10 * sizeof(plain));
            assert_ok(read_all(file, pieces[p], steps[s], &out, &err), &err);
            assert_int_equal(out.size, times * sizeof(plain));
            for (size_t i = 0; i < times; i++)
                assert_memory_equal(out.data + i * sizeof(plain), plain, sizeof(plain));
            dbk_buf_release(&out);
        }
    }
}

static void test_cli_import_input__all_codings_give_the_same_bytes(void **state)
{
    (void)state;
    static char file[4 * sizeof(plain)];
    fill_plain();
    expect_plain(dbk_slice(plain, sizeof(plain)), 1);
    size_t size = gzip(plain, sizeof(plain), file, sizeof(file));
    expect_plain(dbk_slice(file, size), 1);
    memcpy(file + size, file, size);
    expect_plain(dbk_slice(file, 2 * size), 2);
    size = ZSTD_compress(file, sizeof(file), plain, sizeof(plain), 3);
    assert_false(ZSTD_isError(size));
    expect_plain(dbk_slice(file, size), 1);
    memcpy(file + size, file, size);
    expect_plain(dbk_slice(file, 2 * size), 2);
}

static void expect_cuts_found(struct dbk_slice file, const char *name)
{
    /* Of the first bytes alone nobody can tell that it is compressed. */
    for (size_t size = 4; size < file.size; size++) {
        struct dbk_error err = {0};
        struct dbk_buf out;
        dbk_buf_init(&out, 10 * sizeof(plain));
        assert_int_equal(read_all(dbk_slice(file.data, size), 0, 1 << 17, &out, &err),
                         DBK_ECORRUPT);
        assert_non_null(strstr(err.message, name));
        assert_non_null(strstr(err.message, "the file ends too early"));
        dbk_buf_release(&out);
    }
}

static void test_cli_import_input__every_cut_is_found(void **state)
{
    (void)state;
    static char file[4096];
    fill_plain();
    size_t size = gzip(plain, 3000, file, sizeof(file));
    expect_cuts_found(dbk_slice(file, size), "file: gzip data is damaged near byte");
    size = ZSTD_compress(file, sizeof(file), plain, 3000, 3);
    expect_cuts_found(dbk_slice(file, size), "file: zstd data is damaged near byte");
}

static void test_cli_import_input__damage_is_found_or_harmless(void **state)
{
    (void)state;
    static char file[4096];
    size_t found = 0;
    fill_plain();
    size_t size = gzip(plain, 3000, file, sizeof(file));
    for (size_t i = 10; i < size; i++) {
        struct dbk_error err = {0};
        struct dbk_buf out;
        dbk_buf_init(&out, 10 * sizeof(plain));
        file[i] = (char)(file[i] ^ 0x10);
        int rc = read_all(dbk_slice(file, size), 0, 1 << 17, &out, &err);
        file[i] = (char)(file[i] ^ 0x10);
        found += rc == DBK_ECORRUPT;
        dbk_buf_release(&out);
    }
    assert_int_equal(found, size - 10);
}

static void test_cli_import_input__an_empty_file_is_empty(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_buf out;
    dbk_buf_init(&out, 10);
    assert_ok(read_all((struct dbk_slice){0}, 0, 10, &out, &err), &err);
    assert_int_equal(out.size, 0);
    dbk_buf_release(&out);
}

static void test_cli_import_input__a_source_is_named_without_its_coding(void **state)
{
    (void)state;
    assert_slice_equal(dbk_input_source_name("a/b/retail.csv.zst"), "retail.csv");
    assert_slice_equal(dbk_input_source_name("retail.csv.gz"), "retail.csv");
    assert_slice_equal(dbk_input_source_name("retail.csv"), "retail.csv");
    assert_slice_equal(dbk_input_source_name("/x/.gz"), ".gz");
    assert_slice_equal(dbk_input_source_name("x.tar.zstd"), "x.tar");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_import_input__all_codings_give_the_same_bytes),
        cmocka_unit_test(test_cli_import_input__every_cut_is_found),
        cmocka_unit_test(test_cli_import_input__damage_is_found_or_harmless),
        cmocka_unit_test(test_cli_import_input__an_empty_file_is_empty),
        cmocka_unit_test(test_cli_import_input__a_source_is_named_without_its_coding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
