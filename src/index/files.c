/* SPDX-License-Identifier: Apache-2.0 */
#include "index/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct found {
    uint64_t first;
    uint64_t last;
};

struct listing {
    struct dbk_buf runs;       /* struct found */
    struct dbk_buf unfinished; /* names, each with its NUL */
};

void dbk_run_name(uint64_t first, uint64_t last, char name_out[DBK_RUN_NAME_SIZE])
{
    (void)snprintf(name_out, DBK_RUN_NAME_SIZE, "%020" PRIu64 "-%020" PRIu64 ".run", first, last);
}

char *dbk_run_path(const char *folder, const char *name)
{
    size_t folder_size = strlen(folder);
    size_t name_size = strlen(name);
    char *path = dbk_alloc(folder_size + name_size + 2);
    if (path == NULL)
        return NULL;
    memcpy(path, folder, folder_size);
    path[folder_size] = '/';
    memcpy(path + folder_size + 1, name, name_size + 1);
    return path;
}

int dbk_run_file_open(struct dbk_os *os, const char *folder, const char *name,
                      const struct dbk_uuid *book, struct dbk_run_file **file_out,
                      struct dbk_error *err)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    struct dbk_slice bytes = {0};
    uint64_t size = 0;
    struct dbk_error why = {0};
    char *path = dbk_run_path(folder, name);
    struct dbk_run_file *run = dbk_alloc_zero(1, sizeof(*run));
    int rc = DBK_OK;
    if (path == NULL || run == NULL) {
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", name);
        goto out;
    }
    (void)snprintf(run->name, sizeof(run->name), "%s", name);
    rc = os->open(os, path, DBK_OS_READ, &file, err);
    if (rc == DBK_OK)
        rc = os->size(os, &file, &size, err);
    if (rc == DBK_OK && size < DBK_RUN_HEADER_SIZE + DBK_RUN_FOOTER_SIZE)
        rc = dbk_error_set(err, DBK_ECORRUPT, "index run %s is too short", name);
    if (rc == DBK_OK)
        rc = os->map(os, &file, size, &bytes, err);
    if (rc < 0)
        goto out;
    rc = dbk_run_decode(bytes, book, &run->run, &why);
    if (rc < 0)
        rc = dbk_error_set(err, rc, "index run %s: %s", name, why.message);
out:
    os->close(os, &file);
    dbk_free(path);
    if (rc < 0) {
        if (bytes.data != NULL)
            os->unmap(os, bytes);
        dbk_free(run);
        return rc;
    }
    *file_out = run;
    return DBK_OK;
}

void dbk_run_file_free(struct dbk_os *os, struct dbk_run_file *file)
{
    if (file == NULL)
        return;
    os->unmap(os, file->run.bytes);
    dbk_free(file);
}

void dbk_run_files_release(struct dbk_os *os, struct dbk_run_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        dbk_run_file_free(os, files->items[i]);
    dbk_free((void *)files->items);
    *files = (struct dbk_run_files){0};
}

static int list_name(const char *name, void *context)
{
    struct listing *listing = context;
    struct found found = {0};
    size_t size = strlen(name);
    if (size == DBK_RUN_NAME_SIZE - 1 && name[20] == '-' && strcmp(name + 41, ".run") == 0 &&
        dbk_slice_to_u64(dbk_slice(name, 20), &found.first) &&
        dbk_slice_to_u64(dbk_slice(name + 21, 20), &found.last))
        dbk_buf_append(&listing->runs, dbk_slice(&found, sizeof(found)));
    else if (size > 4 && strcmp(name + size - 4, ".new") == 0)
        dbk_buf_append(&listing->unfinished, dbk_slice(name, size + 1));
    return listing->runs.rc < 0 ? listing->runs.rc : listing->unfinished.rc;
}

/* By first position; of those that begin together the widest first. */
static int compare_found(const void *a, const void *b)
{
    const struct found *left = a;
    const struct found *right = b;
    if (left->first != right->first)
        return left->first < right->first ? -1 : 1;
    return left->last == right->last ? 0 : left->last > right->last ? -1 : 1;
}

static void remove_file(struct dbk_os *os, const char *folder, const char *name,
                        struct dbk_run_files *files)
{
    char *path = dbk_run_path(folder, name);
    if (path != NULL)
        dbk_ignore(os->remove(os, path, NULL));
    dbk_free(path);
    files->removed++;
}

/* Takes the run when it goes on where the chain ends. *used_out: whether it did. */
static int chain(struct dbk_os *os, const char *folder, const struct dbk_uuid *book,
                 const char *name, struct dbk_run_files *files, bool *used_out,
                 struct dbk_error *err)
{
    struct dbk_run_file *file = NULL;
    struct dbk_error why = {0};
    *used_out = false;
    int rc = dbk_run_file_open(os, folder, name, book, &file, &why);
    if (rc == DBK_ECORRUPT || rc == DBK_ENOTFOUND)
        return DBK_OK;
    if (rc < 0) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    char right[DBK_RUN_NAME_SIZE];
    dbk_run_name(file->run.first, file->run.last, right);
    if (strcmp(right, name) != 0) {
        dbk_run_file_free(os, file);
        return DBK_OK;
    }
    files->items[files->count++] = file;
    *used_out = true;
    return DBK_OK;
}

int dbk_run_files_open(struct dbk_os *os, const char *folder, const struct dbk_uuid *book,
                       uint64_t last, bool clean, struct dbk_run_files *files_out,
                       struct dbk_error *err)
{
    struct listing listing;
    struct dbk_run_files files = {0};
    dbk_buf_init(&listing.runs, SIZE_MAX);
    dbk_buf_init(&listing.unfinished, SIZE_MAX);
    int rc = os->list(os, folder, list_name, &listing, err);
    if (rc < 0)
        goto out;
    struct found *found = (void *)listing.runs.data;
    size_t count = listing.runs.size / sizeof(*found);
    if (count > 1)
        qsort(found, count, sizeof(*found), compare_found);
    files.items = dbk_alloc_zero(count + 1, sizeof(struct dbk_run_file *));
    if (files.items == NULL) {
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", folder);
        goto out;
    }
    uint64_t next = 1;
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        char name[DBK_RUN_NAME_SIZE];
        bool used = false;
        dbk_run_name(found[i].first, found[i].last, name);
        if (found[i].first == next && found[i].last <= last)
            rc = chain(os, folder, book, name, &files, &used, err);
        if (used)
            next = found[i].last + 1;
        else if (clean && rc == DBK_OK)
            remove_file(os, folder, name, &files);
    }
    for (size_t at = 0; clean && rc == DBK_OK && at < listing.unfinished.size;
         at += strlen(listing.unfinished.data + at) + 1)
        remove_file(os, folder, listing.unfinished.data + at, &files);
out:
    dbk_buf_release(&listing.runs);
    dbk_buf_release(&listing.unfinished);
    if (rc < 0) {
        dbk_run_files_release(os, &files);
        return rc;
    }
    *files_out = files;
    return DBK_OK;
}
