/* SPDX-License-Identifier: Apache-2.0 */
/* Epochs' keys, and the mark that tells other processes of changes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "vault/state.h"

#define EPOCH_NAME_SIZE 32

char *dbk_epoch_path(const struct dbk_keys *keys, uint64_t epoch)
{
    size_t size = strlen(keys->folder) + 1 + EPOCH_NAME_SIZE;
    char *path = dbk_alloc(size);
    if (path != NULL)
        (void)snprintf(path, size, "%s/" DBK_EPOCH_NAME, keys->folder, epoch);
    return path;
}

/* Bytes into a file of their own, readable for its owner only, and synced; its name is not. */
static int write_private(struct dbk_os *os, const char *path, struct dbk_slice bytes,
                         struct dbk_error *err)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    int rc = os->open(os, path, DBK_OS_WRITE | DBK_OS_CREATE, &file, err);
    if (rc == DBK_OK)
        rc = os->protect(os, path, err);
    if (rc == DBK_OK)
        rc = os->truncate(os, &file, 0, err);
    if (rc == DBK_OK)
        rc = os->pwrite(os, &file, bytes, 0, err);
    if (rc == DBK_OK)
        rc = os->sync(os, &file, err);
    os->close(os, &file);
    return rc;
}

int dbk_epoch_write(struct dbk_keys *keys, uint64_t epoch, const struct dbk_secrets *secrets,
                    struct dbk_error *err)
{
    char bytes[DBK_EPOCH_SIZE];
    struct dbk_os *os = keys->os;
    char *path = dbk_epoch_path(keys, epoch);
    struct dbk_epoch_file file = {
        .book_id = keys->book_id, .epoch = epoch, .created_us = os->now_us(os)};
    int rc = path == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory making a key")
                          : dbk_secrets_seal(os, &keys->root, secrets, &file, err);
    if (rc == DBK_OK) {
        dbk_epoch_encode(&file, bytes);
        rc = write_private(os, path, dbk_slice(bytes, sizeof(bytes)), err);
    }
    if (rc == DBK_OK)
        rc = os->sync_folder(os, keys->folder, err);
    dbk_wipe(&file, sizeof(file));
    dbk_wipe(bytes, sizeof(bytes));
    dbk_free(path);
    return rc;
}

static int read_epoch(struct dbk_keys *keys, const char *path, struct dbk_epoch_file *file,
                      struct dbk_error *err)
{
    char bytes[DBK_EPOCH_SIZE + 1];
    struct dbk_os *os = keys->os;
    struct dbk_file source = DBK_FILE_CLOSED;
    struct dbk_error failure = {0};
    uint32_t version = 0;
    size_t size = 0;
    int rc = os->open(os, path, DBK_OS_READ, &source, &failure);
    if (rc == DBK_ENOTFOUND)
        return dbk_error_set(
            err, rc,
            "%s is missing, and without it no key can be used: put a backup of the "
            "keys back",
            path);
    if (rc == DBK_OK)
        rc = os->pread(os, &source, bytes, sizeof(bytes), 0, &size, &failure);
    os->close(os, &source);
    if (rc < 0) {
        if (err != NULL)
            *err = failure;
        return rc;
    }
    rc = dbk_epoch_decode(dbk_slice(bytes, size), file, &version);
    dbk_wipe(bytes, sizeof(bytes));
    if (rc == DBK_EFORMAT)
        return dbk_error_set(err, rc,
                             "%s has format version %" PRIu32 ", this Daybook reads up to %d", path,
                             version, DBK_KEYS_FORMAT);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s is damaged: put a backup of the keys back", path);
    return DBK_OK;
}

int dbk_epoch_read(struct dbk_keys *keys, uint64_t epoch, struct dbk_secrets *secrets_out,
                   struct dbk_error *err)
{
    struct dbk_epoch_file file;
    char *path = dbk_epoch_path(keys, epoch);
    int rc = path == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading a key")
                          : read_epoch(keys, path, &file, err);
    if (rc == DBK_OK && (file.epoch != epoch || !dbk_uuid_equal(&file.book_id, &keys->book_id)))
        rc = dbk_error_set(err, DBK_ECONFLICT, "%s is the key of another %s", path,
                           file.epoch != epoch ? "epoch" : "book");
    if (rc == DBK_OK)
        rc = dbk_secrets_open(&keys->root, &file, path, secrets_out, err);
    dbk_wipe(&file, sizeof(file));
    dbk_free(path);
    return rc;
}

/* ---- Destroying ---- */

struct epochs {
    uint64_t keep;
    uint64_t *found;
    size_t count;
};

static int look_at(const char *name, void *context)
{
    struct epochs *epochs = context;
    uint64_t epoch = 0;
    static const char begin[] = "epoch-";
    static const char end[] = ".key";
    size_t size = strlen(name);
    if (size <= sizeof(begin) + sizeof(end) - 2 || strncmp(name, begin, sizeof(begin) - 1) != 0 ||
        strcmp(name + size - (sizeof(end) - 1), end) != 0 ||
        !dbk_slice_to_u64(
            dbk_slice(name + sizeof(begin) - 1, size - (sizeof(begin) - 1) - (sizeof(end) - 1)),
            &epoch) ||
        epoch == epochs->keep)
        return DBK_OK;
    uint64_t *found = dbk_realloc(epochs->found, (epochs->count + 1) * sizeof(*found));
    if (found == NULL)
        return DBK_ENOMEM;
    found[epochs->count++] = epoch;
    epochs->found = found;
    return DBK_OK;
}

static int destroy(struct dbk_keys *keys, uint64_t epoch, struct dbk_error *err)
{
    char noise[DBK_EPOCH_SIZE];
    struct dbk_os *os = keys->os;
    struct dbk_file file = DBK_FILE_CLOSED;
    char *path = dbk_epoch_path(keys, epoch);
    int rc = path == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory destroying a key")
                          : os->open(os, path, DBK_OS_WRITE, &file, err);
    if (rc == DBK_OK)
        rc = os->random(os, noise, sizeof(noise), err);
    if (rc == DBK_OK)
        rc = os->pwrite(os, &file, dbk_slice(noise, sizeof(noise)), 0, err);
    if (rc == DBK_OK)
        rc = os->sync(os, &file, err);
    os->close(os, &file);
    if (rc == DBK_OK)
        rc = os->remove(os, path, err);
    dbk_free(path);
    return rc;
}

int dbk_epoch_newest(struct dbk_keys *keys, uint64_t *epoch_out, struct dbk_error *err)
{
    struct epochs epochs = {.keep = 0};
    int rc = keys->os->list(keys->os, keys->folder, look_at, &epochs, err);
    if (rc == DBK_ENOMEM)
        rc = dbk_error_set(err, rc, "out of memory looking into %s", keys->folder);
    *epoch_out = 0;
    for (size_t i = 0; rc == DBK_OK && i < epochs.count; i++)
        if (epochs.found[i] > *epoch_out)
            *epoch_out = epochs.found[i];
    dbk_free(epochs.found);
    return rc;
}

int dbk_epoch_destroy_others(struct dbk_keys *keys, uint64_t epoch, struct dbk_error *err)
{
    struct epochs epochs = {.keep = epoch};
    struct dbk_os *os = keys->os;
    int rc = os->list(os, keys->folder, look_at, &epochs, err);
    if (rc == DBK_ENOMEM)
        rc = dbk_error_set(err, rc, "out of memory looking into %s", keys->folder);
    for (size_t i = 0; rc == DBK_OK && i < epochs.count; i++)
        rc = destroy(keys, epochs.found[i], err);
    if (rc == DBK_OK && epochs.count > 0)
        rc = os->sync_folder(os, keys->folder, err);
    dbk_free(epochs.found);
    return rc;
}

int dbk_mark_write(struct dbk_keys *keys, struct dbk_error *err)
{
    char bytes[DBK_MARK_SIZE];
    struct dbk_mark next = {keys->table.header.epoch, keys->mark.changes + 1};
    dbk_mark_encode(&next, bytes);
    int rc = keys->os->pwrite(keys->os, &keys->mark_file, dbk_slice(bytes, sizeof(bytes)), 0, err);
    if (rc == DBK_OK)
        keys->mark = next;
    return rc;
}
