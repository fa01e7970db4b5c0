/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interrupted_test -- calls that a signal interrupts, and those that do a part of their work, are
 * gone on with; a failing one is named, after whichever part.
 *
 * The system's calls are replaced by ones that fail as told before they are made; those that the C
 * library would put inline for its own checks are not.
 */
#undef _FORTIFY_SOURCE
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/os.h"

#define SIZE 100

/* What calls do: so many are interrupted first, then a part at a time, then one fails. */
static struct {
    unsigned interrupted;
    size_t part;    /* bytes a call reads or writes at most; 0: all */
    unsigned good;  /* so many succeed, with fail_errno */
    int fail_errno; /* 0: none fails */
} plan;

static bool fails(void)
{
    if (plan.interrupted > 0) {
        plan.interrupted--;
        errno = EINTR;
        return true;
    }
    if (plan.fail_errno != 0 && plan.good == 0) {
        errno = plan.fail_errno;
        return true;
    }
    plan.good -= plan.good > 0;
    return false;
}

static size_t part_of(size_t size)
{
    return plan.part != 0 && plan.part < size ? plan.part : size;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    return fails() ? -1 : syscall(SYS_pwrite64, fd, bytes, part_of(size), offset);
}

ssize_t pread(int fd, void *bytes, size_t size, off_t offset)
{
    return fails() ? -1 : syscall(SYS_pread64, fd, bytes, part_of(size), offset);
}

ssize_t getrandom(void *bytes, size_t size, unsigned flags)
{
    return fails() ? -1 : syscall(SYS_getrandom, bytes, part_of(size), flags);
}

int ftruncate(int fd, off_t size)
{
    return fails() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int flock(int fd, int operation)
{
    return fails() ? -1 : (int)syscall(SYS_flock, fd, operation);
}

int fdatasync(int fd)
{
    return fails() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

static char path[] = "/tmp/daybook-os-XXXXXX";
static char bytes[SIZE];

static int make_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (char)(i + 1);
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static struct dbk_file open_file(void)
{
    struct dbk_os *os = dbk_os_real();
    struct dbk_error err = {0};
    struct dbk_file file = DBK_FILE_CLOSED;
    memset(&plan, 0, sizeof(plan));
    assert_ok(os->open(os, path, DBK_OS_WRITE, &file, &err), &err);
    assert_ok(os->truncate(os, &file, 0, &err), &err);
    return file;
}

/* Every part a call can do, with and without interruptions. */
static void test_os_interrupted__reads_and_writes_are_whole(void **state)
{
    (void)state;
    struct dbk_os *os = dbk_os_real();
    for (size_t part = 0; part <= SIZE; part++) {
        for (unsigned interrupted = 0; interrupted < 3; interrupted++) {
            struct dbk_error err = {0};
            char again[SIZE + 1] = {0};
            char random[SIZE] = {0};
            size_t size = 0;
            struct dbk_file file = open_file();
            plan.part = part;
            plan.interrupted = interrupted;
            assert_ok(os->pwrite(os, &file, dbk_slice(bytes, SIZE), 7, &err), &err);
            plan.interrupted = interrupted;
            assert_ok(os->pread(os, &file, again, SIZE + 1, 7, &size, &err), &err);
            assert_int_equal(size, SIZE);
            assert_memory_equal(again, bytes, SIZE);
            plan.interrupted = interrupted;
            assert_ok(os->random(os, random, SIZE, &err), &err);
            assert_true(part == 0 || random[SIZE - 1] != 0 || random[SIZE - 2] != 0 ||
                        random[SIZE - 3] != 0 || random[SIZE - 4] != 0);
            os->close(os, &file);
        }
    }
}

static void test_os_interrupted__short_calls_are_made_again(void **state)
{
    (void)state;
    struct dbk_os *os = dbk_os_real();
    struct dbk_error err = {0};
    uint64_t size = 0;
    struct dbk_file file = open_file();
    plan.interrupted = 5;
    assert_ok(os->truncate(os, &file, 33, &err), &err);
    assert_int_equal(plan.interrupted, 0);
    assert_ok(os->size(os, &file, &size, &err), &err);
    assert_int_equal(size, 33);
    plan.interrupted = 5;
    assert_ok(os->lock(os, &file, &err), &err);
    assert_int_equal(plan.interrupted, 0);
    os->close(os, &file);
}

/* Behind any number of parts; what was written by then stays, and no more is. */
static void test_os_interrupted__a_failure_is_named_after_any_part(void **state)
{
    static const struct {
        int number;
        int rc;
    } failures[] = {{ENOSPC, DBK_EFULL}, {EDQUOT, DBK_EFULL}, {EIO, DBK_EIO}, {EFBIG, DBK_EIO}};
    (void)state;
    struct dbk_os *os = dbk_os_real();
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        for (unsigned good = 0; good < 10; good++) {
            struct dbk_error err = {0};
            uint64_t size = 0;
            struct dbk_file file = open_file();
            plan.part = 10;
            plan.good = good;
            plan.fail_errno = failures[i].number;
            int rc = os->pwrite(os, &file, dbk_slice(bytes, SIZE), 0, &err);
            memset(&plan, 0, sizeof(plan));
            assert_int_equal(rc, failures[i].rc);
            assert_non_null(strstr(err.message, "write daybook-os-"));
            assert_ok(os->size(os, &file, &size, &err), &err);
            assert_int_equal(size, 10 * good);
            os->close(os, &file);
        }
    }
}

/* Whether the first call has dropped an error is not known. */
static void test_os_interrupted__a_sync_is_never_made_twice(void **state)
{
    (void)state;
    struct dbk_os *os = dbk_os_real();
    struct dbk_error err = {0};
    struct dbk_file file = open_file();
    plan.interrupted = 1;
    assert_int_equal(os->sync(os, &file, &err), DBK_EIO);
    assert_non_null(strstr(err.message, "sync daybook-os-"));
    assert_int_equal(plan.interrupted, 0);
    os->close(os, &file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_os_interrupted__reads_and_writes_are_whole),
        cmocka_unit_test(test_os_interrupted__short_calls_are_made_again),
        cmocka_unit_test(test_os_interrupted__a_failure_is_named_after_any_part),
        cmocka_unit_test(test_os_interrupted__a_sync_is_never_made_twice),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
