/* SPDX-License-Identifier: Apache-2.0 */
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"

static int fail(struct dbk_error *err, const char *doing, const char *name)
{
    int os_errno = errno;
    if (os_errno == EEXIST)
        return dbk_error_set(err, DBK_EEXISTS, "%s %s: %s", doing, name, strerror(os_errno));
    return dbk_error_set_errno(err, os_errno, "%s %s", doing, name);
}

static int real_open(struct dbk_os *os, const char *path, unsigned flags, struct dbk_file *file_out,
                     struct dbk_error *err)
{
    (void)os;
    int open_flags = O_CLOEXEC | ((flags & DBK_OS_WRITE) != 0 ? O_RDWR : O_RDONLY);
    if ((flags & DBK_OS_CREATE) != 0)
        open_flags |= O_CREAT;
    if ((flags & DBK_OS_NEW) != 0)
        open_flags |= O_EXCL;
    int fd = -1;
    do
        fd = open(path, open_flags, (flags & DBK_OS_PRIVATE) != 0 ? 0600 : 0640);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return fail(err, "open", path);
    const char *slash = strrchr(path, '/');
    *file_out = (struct dbk_file){.fd = fd};
    (void)snprintf(file_out->name, sizeof(file_out->name), "%s", slash != NULL ? slash + 1 : path);
    return DBK_OK;
}

static void real_close(struct dbk_os *os, struct dbk_file *file)
{
    (void)os;
    if (file->fd >= 0)
        (void)close(file->fd);
    *file = DBK_FILE_CLOSED;
}

static int real_pread(struct dbk_os *os, const struct dbk_file *file, void *buffer, size_t size,
                      uint64_t offset, size_t *size_out, struct dbk_error *err)
{
    (void)os;
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(file->fd, (char *)buffer + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(err, "read", file->name);
        if (got == 0)
            break;
        done += (size_t)got;
    }
    *size_out = done;
    return DBK_OK;
}

static int real_pwrite(struct dbk_os *os, const struct dbk_file *file, struct dbk_slice bytes,
                       uint64_t offset, struct dbk_error *err)
{
    (void)os;
    size_t done = 0;
    while (done < bytes.size) {
        ssize_t put =
            pwrite(file->fd, bytes.data + done, bytes.size - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return fail(err, "write", file->name);
        done += (size_t)put;
    }
    return DBK_OK;
}

static int real_sync(struct dbk_os *os, const struct dbk_file *file, struct dbk_error *err)
{
    (void)os;
    /* Not retried on EINTR either: whether the first call has dropped an error is not known. */
    return fdatasync(file->fd) == 0 ? DBK_OK : fail(err, "sync", file->name);
}

static int real_size(struct dbk_os *os, const struct dbk_file *file, uint64_t *size_out,
                     struct dbk_error *err)
{
    (void)os;
    struct stat status;
    if (fstat(file->fd, &status) < 0)
        return fail(err, "look at", file->name);
    *size_out = (uint64_t)status.st_size;
    return DBK_OK;
}

static int real_truncate(struct dbk_os *os, const struct dbk_file *file, uint64_t size,
                         struct dbk_error *err)
{
    (void)os;
    int rc = -1;
    do
        rc = ftruncate(file->fd, (off_t)size);
    while (rc < 0 && errno == EINTR);
    return rc == 0 ? DBK_OK : fail(err, "truncate", file->name);
}

static int real_map(struct dbk_os *os, const struct dbk_file *file, uint64_t size,
                    struct dbk_slice *bytes_out, struct dbk_error *err)
{
    (void)os;
    if (size == 0) {
        *bytes_out = (struct dbk_slice){0};
        return DBK_OK;
    }
    void *bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, file->fd, 0);
    if (bytes == MAP_FAILED)
        return fail(err, "map", file->name);
    *bytes_out = dbk_slice(bytes, size);
    return DBK_OK;
}

static void real_unmap(struct dbk_os *os, struct dbk_slice bytes)
{
    (void)os;
    if (bytes.size == 0)
        return;
    void *address = NULL;
    memcpy(&address, &bytes.data, sizeof(address)); /* munmap takes no const */
    (void)munmap(address, bytes.size);
}

static void real_unload(struct dbk_os *os, struct dbk_slice bytes)
{
    (void)os;
    if (bytes.size == 0)
        return;
    void *address = NULL;
    memcpy(&address, &bytes.data, sizeof(address)); /* madvise takes no const */
    (void)madvise(address, bytes.size, MADV_DONTNEED);
}

static int real_rename(struct dbk_os *os, const char *from, const char *to, struct dbk_error *err)
{
    (void)os;
    return rename(from, to) == 0 ? DBK_OK : fail(err, "rename", from);
}

static int real_remove(struct dbk_os *os, const char *path, struct dbk_error *err)
{
    (void)os;
    return remove(path) == 0 ? DBK_OK : fail(err, "remove", path);
}

static int real_make_folder(struct dbk_os *os, const char *path, struct dbk_error *err)
{
    (void)os;
    if (mkdir(path, 0750) == 0)
        return DBK_OK;
    int os_errno = errno;
    struct stat status;
    if (os_errno == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return DBK_OK;
    errno = os_errno;
    return fail(err, "make folder", path);
}

static int real_protect(struct dbk_os *os, const char *path, struct dbk_error *err)
{
    (void)os;
    struct stat status;
    int rc = stat(path, &status);
    if (rc == 0)
        rc = chmod(path, S_ISDIR(status.st_mode) ? 0700 : 0600);
    return rc == 0 ? DBK_OK : fail(err, "protect", path);
}

static int real_sync_folder(struct dbk_os *os, const char *path, struct dbk_error *err)
{
    (void)os;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, "open folder", path);
    int rc = fsync(fd) == 0 ? DBK_OK : fail(err, "sync folder", path);
    (void)close(fd);
    return rc;
}

static int real_list(struct dbk_os *os, const char *path, dbk_os_each_fn each, void *context,
                     struct dbk_error *err)
{
    (void)os;
    DIR *folder = opendir(path);
    if (folder == NULL)
        return fail(err, "open folder", path);
    int rc = DBK_OK;
    while (rc >= 0) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            rc = errno == 0 ? DBK_OK : fail(err, "read folder", path);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = each(entry->d_name, context);
    }
    (void)closedir(folder);
    return rc < 0 ? rc : DBK_OK;
}

static int real_lock(struct dbk_os *os, const struct dbk_file *file, struct dbk_error *err)
{
    (void)os;
    int rc = -1;
    do
        rc = flock(file->fd, LOCK_EX | LOCK_NB);
    while (rc < 0 && errno == EINTR);
    if (rc < 0 && errno == EWOULDBLOCK)
        return dbk_error_set(err, DBK_EBUSY, "%s is locked by another process", file->name);
    return rc == 0 ? DBK_OK : fail(err, "lock", file->name);
}

static int64_t clock_us(clockid_t clock)
{
    struct timespec now = {0};
    (void)clock_gettime(clock, &now); /* cannot fail for these two clocks */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t real_now_us(struct dbk_os *os)
{
    (void)os;
    return clock_us(CLOCK_REALTIME);
}

static int64_t real_monotonic_us(struct dbk_os *os)
{
    (void)os;
    return clock_us(CLOCK_MONOTONIC);
}

static int real_random(struct dbk_os *os, void *buffer, size_t size, struct dbk_error *err)
{
    (void)os;
    size_t done = 0;
    while (done < size) {
        ssize_t got = getrandom((char *)buffer + done, size - done, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail(err, "read", "random bytes");
        done += (size_t)got;
    }
    return DBK_OK;
}

struct dbk_os *dbk_os_real(void)
{
    static struct dbk_os real = {
        .open = real_open,
        .close = real_close,
        .pread = real_pread,
        .pwrite = real_pwrite,
        .sync = real_sync,
        .size = real_size,
        .truncate = real_truncate,
        .map = real_map,
        .unmap = real_unmap,
        .unload = real_unload,
        .rename = real_rename,
        .remove = real_remove,
        .make_folder = real_make_folder,
        .protect = real_protect,
        .sync_folder = real_sync_folder,
        .list = real_list,
        .lock = real_lock,
        .now_us = real_now_us,
        .monotonic_us = real_monotonic_us,
        .random = real_random,
    };
    return &real;
}
