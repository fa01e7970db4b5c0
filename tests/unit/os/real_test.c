/* SPDX-License-Identifier: Apache-2.0 */
/*
 * real_test -- the real system keeps what os.h says, in a folder of its own under the temporary
 * folder.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "os/os.h"

static char folder[64];

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/daybook-os-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_name(const char *name, void *context)
{
    (void)context;
    return remove(path_of(name)) == 0 ? DBK_OK : DBK_EIO;
}

static int remove_folder(void **state)
{
    (void)state;
    struct dbk_os *os = dbk_os_real();
    int rc = os->list(os, folder, remove_name, NULL, NULL);
    return rc < 0 ? rc : rmdir(folder);
}

static struct dbk_file open_file(const char *name, unsigned flags)
{
    struct dbk_os *os = dbk_os_real();
    struct dbk_error err = {0};
    struct dbk_file file = DBK_FILE_CLOSED;
    assert_ok(os->open(os, path_of(name), flags, &file, &err), &err);
    return file;
}

static void test_os_real__what_is_written_is_read(void **state)
{
    (void)state;
    struct dbk_os *os = dbk_os_real();
    struct dbk_error err = {0};
    char buffer[16];
    size_t got = 0;
    uint64_t size = 0;
    struct dbk_slice mapped;
    struct dbk_file file = open_file("a", DBK_OS_WRITE | DBK_OS_CREATE);

    assert_string_equal(file.name, "a");
    assert_ok(os->pwrite(os, &file, DBK_SLICE_LITERAL("daybook"), 3, &err), &err);
    assert_ok(os->sync(os, &file, &err), &err);
    assert_ok(os->pread(os, &file, buffer, sizeof(buffer), 1, &got, &err), &err);
    assert_int_equal(got, 9);
    assert_memory_equal(buffer, "\0\0daybook", 9);
    assert_ok(os->truncate(os, &file, 6, &err), &err);
    assert_ok(os->size(os, &file, &size, &err), &err);
    assert_int_equal(size, 6);
    assert_ok(os->map(os, &file, size, &mapped, &err), &err);
    os->close(os, &file);
    assert_int_equal(file.fd, -1);
    os->close(os, &file);
    assert_ok(os->remove(os, path_of("a"), &err), &err);
    assert_memory_equal(mapped.data, "\0\0\0day", 6);
    os->unmap(os, mapped);
}

static void test_os_real__failures_have_their_codes(void **state)
{
    (void)state;
    struct dbk_os *os = dbk_os_real();
    struct dbk_error err = {0};
    struct dbk_file file = DBK_FILE_CLOSED;
    struct dbk_file other = DBK_FILE_CLOSED;

    assert_int_equal(os->open(os, path_of("none"), DBK_OS_READ, &file, &err), DBK_ENOTFOUND);
    assert_int_equal(file.fd, -1);
    assert_non_null(strstr(err.message, "none: No such file"));
    file = open_file("b", DBK_OS_WRITE | DBK_OS_CREATE | DBK_OS_NEW);
    assert_int_equal(
        os->open(os, path_of("b"), DBK_OS_WRITE | DBK_OS_CREATE | DBK_OS_NEW, &other, &err),
        DBK_EEXISTS);
    assert_ok(os->lock(os, &file, &err), &err);
    other = open_file("b", DBK_OS_READ);
    assert_int_equal(os->lock(os, &other, &err), DBK_EBUSY);
    assert_string_equal(err.message, "b is locked by another process");
    assert_int_equal(os->pwrite(os, &other, DBK_SLICE_LITERAL("x"), 0, &err), DBK_EIO);
    assert_int_equal(os->make_folder(os, path_of("b"), &err), DBK_EEXISTS);
    os->close(os, &file);
    assert_ok(os->lock(os, &other, &err), &err);
    os->close(os, &other);
    assert_int_equal(os->remove(os, path_of("none"), &err), DBK_ENOTFOUND);
    assert_int_equal(os->rename(os, path_of("none"), path_of("b"), &err), DBK_ENOTFOUND);
}

static int count_name(const char *name, void *context)
{
    (void)name;
    return ++*(int *)context == 2 ? DBK_EREFUSED : DBK_OK;
}

static void test_os_real__folders(void **state)
{
    (void)state;
    struct dbk_os *os = dbk_os_real();
    struct dbk_error err = {0};
    int count = 0;

    assert_ok(os->make_folder(os, path_of("f"), &err), &err);
    assert_ok(os->make_folder(os, path_of("f"), &err), &err);
    assert_ok(os->list(os, path_of("f"), count_name, &count, &err), &err);
    assert_int_equal(count, 0);
    for (int i = 0; i < 3; i++) {
        char name[] = "f/0";
        name[2] = (char)('0' + i);
        struct dbk_file file = open_file(name, DBK_OS_WRITE | DBK_OS_CREATE);
        os->close(os, &file);
    }
    assert_int_equal(os->list(os, path_of("f"), count_name, &count, &err), DBK_EREFUSED);
    assert_int_equal(count, 2);
    assert_ok(os->sync_folder(os, path_of("f"), &err), &err);
    assert_int_equal(os->sync_folder(os, path_of("none"), &err), DBK_ENOTFOUND);
    for (int i = 0; i < 3; i++) {
        char name[] = "f/0";
        name[2] = (char)('0' + i);
        assert_ok(os->remove(os, path_of(name), &err), &err);
    }
    assert_ok(os->remove(os, path_of("f"), &err), &err);
}

static void test_os_real__a_file_is_replaced_and_read_whole(void **state)
{
    (void)state;
    struct dbk_os *os = dbk_os_real();
    struct dbk_error err = {0};
    static char content[10000];
    struct dbk_buf bytes;

    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (char)('a' + i % 23);
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, sizeof(content)};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct dbk_slice expected = dbk_slice(content, sizes[i]);
        assert_ok(dbk_os_replace_file(os, path_of("c"), expected, &err), &err);
        for (size_t max = sizes[i]; max < sizes[i] + 2; max++) {
            dbk_buf_init(&bytes, 1 << 20);
            assert_ok(dbk_os_read_file(os, path_of("c"), max, &bytes, &err), &err);
            assert_true(dbk_slice_equal(dbk_buf_slice(&bytes), expected));
            dbk_buf_release(&bytes);
        }
        if (sizes[i] > 0) {
            dbk_buf_init(&bytes, 1 << 20);
            assert_int_equal(dbk_os_read_file(os, path_of("c"), sizes[i] - 1, &bytes, &err),
                             DBK_ELIMIT);
            dbk_buf_release(&bytes);
        }
    }
    dbk_buf_init(&bytes, 100);
    assert_int_equal(dbk_os_read_file(os, path_of("c"), 20000, &bytes, &err), DBK_ELIMIT);
    assert_int_equal(dbk_os_read_file(os, path_of("none"), 1, &bytes, &err), DBK_ENOTFOUND);
    dbk_buf_release(&bytes);
    assert_int_equal(dbk_os_replace_file(os, path_of("no/c"), dbk_slice_of("x"), &err),
                     DBK_ENOTFOUND);
}

static void test_os_real__what_is_protected_is_its_owners_alone(void **state)
{
    (void)state;
    struct dbk_os *os = dbk_os_real();
    struct dbk_error err = {0};
    struct stat status;

    struct dbk_file file = open_file("p", DBK_OS_WRITE | DBK_OS_CREATE);
    os->close(os, &file);
    assert_ok(os->protect(os, path_of("p"), &err), &err);
    assert_int_equal(stat(path_of("p"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_ok(os->make_folder(os, path_of("q"), &err), &err);
    assert_ok(os->protect(os, path_of("q"), &err), &err);
    assert_int_equal(stat(path_of("q"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_ok(os->remove(os, path_of("q"), &err), &err);
    assert_int_equal(os->protect(os, path_of("q"), &err), DBK_ENOTFOUND);
    mode_t before = umask(0);
    struct dbk_file own = open_file("own", DBK_OS_WRITE | DBK_OS_CREATE | DBK_OS_PRIVATE);
    (void)umask(before);
    assert_int_equal(stat(path_of("own"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    os->close(os, &own);
}

static void test_os_real__clocks_and_randomness(void **state)
{
    (void)state;
    struct dbk_os *os = dbk_os_real();
    struct dbk_error err = {0};
    char a[32] = {0};
    char b[32] = {0};

    assert_true(os->now_us(os) > INT64_C(1600000000000000));
    int64_t before = os->monotonic_us(os);
    assert_true(os->monotonic_us(os) >= before);
    assert_ok(os->random(os, a, sizeof(a), &err), &err);
    assert_ok(os->random(os, b, sizeof(b), &err), &err);
    assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_os_real__what_is_written_is_read),
        cmocka_unit_test(test_os_real__failures_have_their_codes),
        cmocka_unit_test(test_os_real__folders),
        cmocka_unit_test(test_os_real__a_file_is_replaced_and_read_whole),
        cmocka_unit_test(test_os_real__what_is_protected_is_its_owners_alone),
        cmocka_unit_test(test_os_real__clocks_and_randomness),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
