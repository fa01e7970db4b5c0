/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the folder of keys: made, checked, and completed after a crash. */
#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "vault/state.h"
#include "vault/vault.h"

/* How often a reader begins anew whose table is older than what it is held against. */
#define READ_TRIES 5

char *dbk_keys_path(const char *folder, const char *name)
{
    struct dbk_buf path;
    dbk_buf_init(&path, SIZE_MAX);
    dbk_buf_append_format(&path, "%s/%s", folder, name);
    dbk_buf_append_char(&path, '\0');
    if (path.rc == DBK_OK)
        return path.data;
    dbk_buf_release(&path);
    return NULL;
}

static int copy_options(struct dbk_keys *keys, const struct dbk_keys_options *options,
                        struct dbk_error *err)
{
    keys->os = options->os;
    keys->book_id = options->book_id;
    keys->writer = options->writer;
    keys->root = options->root;
    keys->folder = dbk_copy_text(dbk_slice_of(options->folder));
    keys->table_path = dbk_keys_path(options->folder, DBK_TABLE_NAME);
    keys->new_path = dbk_keys_path(options->folder, DBK_TABLE_NEW_NAME);
    keys->erased_path = dbk_keys_path(options->folder, DBK_ERASED_NAME);
    keys->mark_path = dbk_keys_path(options->folder, DBK_MARK_NAME);
    keys->passphrase = dbk_copy_text(options->root.passphrase);
    keys->root_file = dbk_copy_text(dbk_slice_of(options->root.file));
    if (keys->folder == NULL || keys->table_path == NULL || keys->new_path == NULL ||
        keys->erased_path == NULL || keys->mark_path == NULL || keys->passphrase == NULL ||
        keys->root_file == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", options->folder);
    keys->root.passphrase.data = keys->passphrase;
    keys->root.file = keys->root_file;
    return DBK_OK;
}

/* A table for an epoch with no slots, synced, under the name of one that is being made. */
static int write_empty_table(struct dbk_keys *keys, uint64_t epoch, struct dbk_error *err)
{
    struct dbk_os *os = keys->os;
    struct dbk_table table = {.file = DBK_FILE_CLOSED};
    char header[DBK_TABLE_BEGIN] = {0};
    table.header = (struct dbk_table_header){
        .book_id = keys->book_id, .epoch = epoch, .created_us = os->now_us(os)};
    dbk_table_encode(&table.header, header);
    int rc = os->open(os, keys->new_path, DBK_OS_WRITE | DBK_OS_CREATE, &table.file, err);
    if (rc == DBK_OK)
        rc = os->protect(os, keys->new_path, err);
    if (rc == DBK_OK)
        rc = os->truncate(os, &table.file, 0, err);
    if (rc == DBK_OK)
        rc = os->pwrite(os, &table.file, dbk_slice(header, sizeof(header)), 0, err);
    if (rc == DBK_OK)
        rc = dbk_table_count(os, &table, 0, 0, err);
    if (rc == DBK_OK)
        rc = os->sync(os, &table.file, err);
    dbk_table_release(os, &table);
    return rc;
}

/* The table's name comes last: with it the keys are there. */
static int create_files(struct dbk_keys *keys, struct dbk_error *err)
{
    struct dbk_os *os = keys->os;
    struct dbk_secrets *secrets = &keys->ring->secrets;
    struct dbk_erased erased = {0};
    int rc = dbk_os_make_folder(os, keys->folder, err);
    if (rc == DBK_OK)
        rc = os->protect(os, keys->folder, err);
    if (rc == DBK_OK)
        rc = os->random(os, secrets->epoch, DBK_KEY_SIZE, err);
    if (rc == DBK_OK)
        rc = os->random(os, secrets->book, DBK_KEY_SIZE, err);
    if (rc == DBK_OK)
        rc = dbk_epoch_write(keys, 1, secrets, err);
    if (rc == DBK_OK)
        rc = dbk_erased_create(os, keys->erased_path, &keys->book_id, &erased, err);
    dbk_erased_release(&erased);
    if (rc == DBK_OK)
        rc = write_empty_table(keys, 1, err);
    if (rc == DBK_OK)
        rc = os->rename(os, keys->new_path, keys->table_path, err);
    return rc < 0 ? rc : os->sync_folder(os, keys->folder, err);
}

static int load_table(struct dbk_keys *keys, const struct dbk_keys_options *options,
                      struct dbk_error *err)
{
    struct dbk_error failure = {0};
    struct dbk_table *table = &keys->table;
    int rc = dbk_table_load(keys->os, keys->table_path, keys->writer, table, &failure);
    if (rc == DBK_ENOTFOUND && options->log_epoch > 0)
        return dbk_error_set(err, rc,
                             "%s is missing, and the log tells of epoch %" PRIu64
                             ": put a backup of the keys back",
                             keys->table_path, options->log_epoch);
    if (rc == DBK_ENOTFOUND && options->create) {
        rc = create_files(keys, err);
        return rc < 0 ? rc : dbk_table_load(keys->os, keys->table_path, true, table, err);
    }
    if (rc < 0) {
        if (err != NULL)
            *err = failure;
        return rc;
    }
    if (!dbk_uuid_equal(&table->header.book_id, &keys->book_id))
        return dbk_error_set(err, DBK_ECONFLICT, "%s holds another book's keys", keys->table_path);
    if (table->header.epoch < options->log_epoch)
        return dbk_error_set(err, DBK_ECONFLICT,
                             "%s is of epoch %" PRIu64 ", and the log tells of epoch %" PRIu64
                             ": it is an older copy; put the newest backup of the keys back",
                             keys->table_path, table->header.epoch, options->log_epoch);
    return DBK_OK;
}

/* What was read may be in memory only; what is torn belongs to nobody. */
static int settle_list(struct dbk_keys *keys, bool torn, struct dbk_error *err)
{
    struct dbk_os *os = keys->os;
    struct dbk_file file = DBK_FILE_CLOSED;
    if (!torn && keys->erased.ids.count == keys->table.counter.erased)
        return DBK_OK;
    int rc = os->open(os, keys->erased_path, DBK_OS_WRITE, &file, err);
    if (rc == DBK_OK && torn)
        rc = os->truncate(os, &file, keys->erased.size, err);
    if (rc == DBK_OK)
        rc = os->sync(os, &file, err);
    os->close(os, &file);
    return rc;
}

static int load_erased(struct dbk_keys *keys, bool *torn_out, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    struct dbk_erased *erased = &keys->erased;
    int rc = dbk_erased_read(keys->os, keys->erased_path, &keys->ring->secrets, erased, torn_out,
                             &failure);
    if (rc == DBK_ENOTFOUND)
        return dbk_error_set(err, rc,
                             "%s is missing: without it an old backup could bring a forgotten key "
                             "back; every backup folder has a copy, put the newest there",
                             keys->erased_path);
    if (rc < 0) {
        if (err != NULL)
            *err = failure;
        return rc;
    }
    if (!dbk_uuid_equal(&erased->header.book_id, &keys->book_id))
        return dbk_error_set(err, DBK_ECONFLICT, "%s is another book's", keys->erased_path);
    if (erased->ids.count < keys->table.counter.erased)
        return dbk_error_set(err, DBK_ECORRUPT,
                             "%s has %zu whole entries, and the keys know of %" PRIu64
                             ": it was cut off or is an older copy; every backup folder has one, "
                             "put the newest there",
                             keys->erased_path, erased->ids.count, keys->table.counter.erased);
    return DBK_OK;
}

static int open_mark(struct dbk_keys *keys, struct dbk_error *err)
{
    struct dbk_os *os = keys->os;
    char bytes[DBK_MARK_SIZE] = {0};
    size_t size = 0;
    unsigned flags = keys->writer ? DBK_OS_WRITE | DBK_OS_CREATE : DBK_OS_READ;
    int rc = os->open(os, keys->mark_path, flags, &keys->mark_file, err);
    if (rc == DBK_OK)
        rc = os->pread(os, &keys->mark_file, bytes, sizeof(bytes), 0, &size, err);
    if (rc < 0)
        return rc;
    keys->mark = dbk_mark_peek(bytes);
    if (keys->writer)
        return dbk_mark_write(keys, err);
    if (size < sizeof(bytes))
        return dbk_error_set(err, DBK_ECORRUPT, "%s is damaged: it is too short", keys->mark_path);
    return os->map(os, &keys->mark_file, DBK_MARK_SIZE, &keys->mark_bytes, err);
}

/* ---- What was forgotten ---- */

/* A key that only the list or the log knows: the table is older than its making. */
static int check_known(struct dbk_keys *keys, const struct dbk_uuid *id, struct dbk_error *err)
{
    uint64_t index = 0;
    struct dbk_slot slot;
    int rc = dbk_table_find_id(keys->os, &keys->table, id, &index, &slot, err);
    if (rc != 0)
        return rc < 0 ? rc : DBK_OK;
    char text[DBK_UUID_TEXT_SIZE];
    dbk_uuid_format(id, text);
    return dbk_error_set(err, DBK_ECONFLICT,
                         "%s never had the key %s, which was forgotten later: it is an older copy; "
                         "put the newest backup of the keys back",
                         keys->table_path, text);
}

/* The keys that list and log say were destroyed since the table counted them must be its own. */
static int check_erased(struct dbk_keys *keys, const struct dbk_keys_options *options,
                        struct dbk_error *err)
{
    const struct dbk_erased *erased = &keys->erased;
    int rc = DBK_OK;
    for (uint64_t i = keys->table.counter.erased; rc == DBK_OK && i < erased->ids.count; i++)
        rc = check_known(keys, &erased->ids.items[i], err);
    for (size_t i = 0; rc == DBK_OK && i < options->forgotten_count; i++)
        if (!dbk_erased_has(erased, &options->forgotten[i]))
            rc = check_known(keys, &options->forgotten[i], err);
    return rc;
}

/* In a writer: what a crash has left of forgetting is completed. */
static int settle_erased(struct dbk_keys *keys, const struct dbk_keys_options *options,
                         struct dbk_error *err)
{
    struct dbk_erased *erased = &keys->erased;
    int rc = DBK_OK;
    bool behind = keys->table.counter.erased < erased->ids.count;
    for (size_t i = 0; rc == DBK_OK && i < erased->ids.count; i++)
        rc = dbk_keys_destroy(keys, &erased->ids.items[i], err);
    if (rc == DBK_OK && behind) {
        rc = dbk_table_count(keys->os, &keys->table, erased->ids.count, keys->table.counter.slots,
                             err);
        if (rc == DBK_OK)
            rc = keys->os->sync(keys->os, &keys->table.file, err);
    }
    return rc < 0 ? rc : dbk_keys_forget(keys, options->forgotten, options->forgotten_count, err);
}

/* What a crash left behind. */
static int clean_up(struct dbk_keys *keys, struct dbk_error *err)
{
    struct dbk_os *os = keys->os;
    int rc = os->remove(os, keys->new_path, NULL);
    if (rc < 0 && rc != DBK_ENOTFOUND)
        return dbk_error_set(err, rc, "%s cannot be removed", keys->new_path);
    return dbk_epoch_destroy_others(keys, keys->table.header.epoch, err);
}

int dbk_keys_begin(const struct dbk_keys_options *options, struct dbk_keys **keys_out,
                   struct dbk_error *err)
{
    struct dbk_keys *keys = dbk_alloc_zero(1, sizeof(*keys));
    if (keys == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", options->folder);
    (void)pthread_mutex_init(&keys->change, NULL);
    (void)pthread_mutex_init(&keys->syncing, NULL);
    (void)pthread_mutex_init(&keys->lock, NULL);
    keys->table.file = DBK_FILE_CLOSED;
    keys->mark_file = DBK_FILE_CLOSED;
    int rc = copy_options(keys, options, err);
    if (rc == DBK_OK)
        rc = dbk_ring_create(&keys->ring, err);
    if (rc < 0) {
        dbk_keys_free(keys);
        return rc;
    }
    *keys_out = keys;
    return DBK_OK;
}

static int open_once(const struct dbk_keys_options *options, struct dbk_keys **keys_out,
                     struct dbk_error *err)
{
    bool torn = false;
    struct dbk_keys *keys = NULL;
    int rc = dbk_keys_begin(options, &keys, err);
    if (rc < 0)
        return rc;
    rc = load_table(keys, options, err);
    keys->synced_slots = keys->table.slots;
    if (rc == DBK_OK)
        rc = dbk_epoch_read(keys, keys->table.header.epoch, &keys->ring->secrets, err);
    if (rc == DBK_OK)
        rc = load_erased(keys, &torn, err);
    if (rc == DBK_OK)
        rc = check_erased(keys, options, err);
    if (rc == DBK_OK && keys->writer)
        rc = settle_list(keys, torn, err);
    if (rc == DBK_OK)
        rc = open_mark(keys, err);
    if (rc == DBK_OK && keys->writer)
        rc = settle_erased(keys, options, err);
    if (rc == DBK_OK && keys->writer)
        rc = clean_up(keys, err);
    if (rc < 0) {
        dbk_keys_free(keys);
        return rc;
    }
    *keys_out = keys;
    return DBK_OK;
}

/* A reader's table may be older than the list and the log that it is held against: a key may have
   been made and destroyed in between. It is read again then. */
int dbk_keys_open(const struct dbk_keys_options *options, struct dbk_keys **keys_out,
                  struct dbk_error *err)
{
    int rc = open_once(options, keys_out, err);
    for (int i = 1; rc == DBK_ECONFLICT && !options->writer && i < READ_TRIES; i++)
        rc = open_once(options, keys_out, err);
    return rc;
}

/* All that was synced is counted, so that a table that is cut off later is noticed. */
static void settle_counter(struct dbk_keys *keys)
{
    if (!keys->writer || keys->failed || keys->table.file.fd < 0 || keys->made != keys->synced ||
        keys->table.counter.slots == keys->table.slots)
        return;
    if (dbk_table_count(keys->os, &keys->table, keys->table.counter.erased, keys->table.slots,
                        NULL) == DBK_OK)
        dbk_ignore(keys->os->sync(keys->os, &keys->table.file, NULL));
}

void dbk_keys_free(struct dbk_keys *keys)
{
    if (keys == NULL)
        return;
    settle_counter(keys);
    dbk_table_release(keys->os, &keys->table);
    keys->os->unmap(keys->os, keys->mark_bytes);
    keys->os->close(keys->os, &keys->mark_file);
    dbk_erased_release(&keys->erased);
    dbk_ring_free(keys->ring);
    if (keys->passphrase != NULL)
        dbk_wipe(keys->passphrase, keys->root.passphrase.size);
    dbk_free(keys->passphrase);
    dbk_free(keys->root_file);
    dbk_free(keys->folder);
    dbk_free(keys->table_path);
    dbk_free(keys->new_path);
    dbk_free(keys->erased_path);
    dbk_free(keys->mark_path);
    (void)pthread_mutex_destroy(&keys->change);
    (void)pthread_mutex_destroy(&keys->syncing);
    (void)pthread_mutex_destroy(&keys->lock);
    dbk_free(keys);
}
