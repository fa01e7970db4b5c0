/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "os/os.h"

/* Reads on until the end of the file or size_max + 1 bytes, which is one too many. */
static int read_up_to(struct dbk_os *os, const struct dbk_file *file, size_t size_max,
                      struct dbk_buf *bytes, struct dbk_error *err)
{
    size_t begin = bytes->size;
    for (;;) {
        size_t got = 0;
        size_t total = bytes->size - begin;
        size_t room = bytes->capacity - bytes->size;
        if (total == size_max || room == 0) {
            char more = 0;
            int rc = os->pread(os, file, &more, 1, total, &got, err);
            if (rc < 0 || got == 0)
                return rc;
            if (total == size_max)
                return dbk_error_set(err, DBK_ELIMIT, "%s is larger than %zu bytes", file->name,
                                     size_max);
            dbk_buf_append_char(bytes, more);
            if (bytes->rc < 0)
                return dbk_error_set(err, bytes->rc, "%s: %s", file->name,
                                     dbk_code_text(bytes->rc));
            continue;
        }
        size_t wanted = room < size_max - total ? room : size_max - total;
        int rc = os->pread(os, file, bytes->data + bytes->size, wanted, total, &got, err);
        if (rc < 0)
            return rc;
        bytes->size += got;
        if (got < wanted)
            return DBK_OK;
    }
}

int dbk_os_read_file(struct dbk_os *os, const char *path, size_t size_max, struct dbk_buf *bytes,
                     struct dbk_error *err)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    int rc = os->open(os, path, DBK_OS_READ, &file, err);
    if (rc < 0)
        return rc;
    /* The size is a hint: a file may grow meanwhile, and those in /proc claim to be empty. */
    uint64_t size = 0;
    rc = os->size(os, &file, &size, err);
    if (rc == DBK_OK && size > 0 && size <= size_max) {
        rc = dbk_buf_reserve(bytes, (size_t)size);
        if (rc < 0)
            rc = dbk_error_set(err, rc, "%s: %s", file.name, dbk_code_text(rc));
    }
    if (rc == DBK_OK)
        rc = read_up_to(os, &file, size_max, bytes, err);
    os->close(os, &file);
    return rc;
}

static int write_whole(struct dbk_os *os, const char *path, struct dbk_slice bytes,
                       struct dbk_error *err)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    int rc = os->open(os, path, DBK_OS_WRITE | DBK_OS_CREATE, &file, err);
    if (rc == DBK_OK)
        rc = os->truncate(os, &file, 0, err);
    if (rc == DBK_OK)
        rc = os->pwrite(os, &file, bytes, 0, err);
    if (rc == DBK_OK)
        rc = os->sync(os, &file, err);
    os->close(os, &file);
    return rc;
}

int dbk_os_make_folder(struct dbk_os *os, const char *path, struct dbk_error *err)
{
    int rc = os->make_folder(os, path, err);
    if (rc < 0)
        return rc;
    /* Its name is kept in what stands before its last part. */
    struct dbk_slice parent = dbk_slice_of(path);
    while (parent.size > 1 && parent.data[parent.size - 1] == '/')
        parent.size--;
    while (parent.size > 0 && parent.data[parent.size - 1] != '/')
        parent.size--;
    char *copy = dbk_copy_text(parent.size == 0 ? DBK_SLICE_LITERAL(".") : parent);
    if (copy == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s: %s", path, dbk_code_text(DBK_ENOMEM));
    rc = os->sync_folder(os, copy, err);
    dbk_free(copy);
    return rc;
}

int dbk_os_replace_file(struct dbk_os *os, const char *path, struct dbk_slice bytes,
                        struct dbk_error *err)
{
    const char *slash = strrchr(path, '/');
    char *beside = NULL;
    char *folder = slash == NULL
                       ? dbk_copy_text(DBK_SLICE_LITERAL("."))
                       : dbk_copy_text(dbk_slice(path, slash == path ? 1 : (size_t)(slash - path)));
    size_t size = strlen(path) + sizeof(".tmp");
    beside = dbk_alloc(size);
    int rc = DBK_OK;
    if (folder == NULL || beside == NULL) {
        rc = dbk_error_set(err, DBK_ENOMEM, "%s: %s", path, dbk_code_text(DBK_ENOMEM));
        goto out;
    }
    (void)snprintf(beside, size, "%s.tmp", path);
    rc = write_whole(os, beside, bytes, err);
    if (rc == DBK_OK)
        rc = os->rename(os, beside, path, err);
    if (rc < 0) {
        os->remove(os, beside, NULL);
        goto out;
    }
    rc = os->sync_folder(os, folder, err);
out:
    dbk_free(beside);
    dbk_free(folder);
    return rc;
}
