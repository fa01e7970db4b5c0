/* SPDX-License-Identifier: Apache-2.0 */
#include "vault/backup.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "base/memory.h"
#include "vault/state.h"
#include "vault/subjects.h"

#define BLOCK_SIZE ((size_t)DBK_SLOTS_AT_ONCE * DBK_SLOT_SIZE)
#define NONCES_SIZE ((size_t)DBK_SLOTS_AT_ONCE * DBK_NONCE_SIZE)
/* Beside a server an epoch may begin, or a key be made and erased, between file and file. */
#define OPEN_TRIES 5

struct writing {
    struct dbk_keys *keys;
    struct dbk_ring *ring; /* holds the backup's key */
    struct dbk_file file;
    uint64_t at;
    crypto_generichash_state mac;
    struct dbk_keys_backup_header header;
    struct dbk_table_header bound; /* to the slots */
    char *block;
    uint8_t *nonces;
    uint64_t subjects;
};

static int put(struct writing *writing, struct dbk_slice bytes, struct dbk_error *err)
{
    struct dbk_os *os = writing->keys->os;
    int rc = os->pwrite(os, &writing->file, bytes, writing->at, err);
    writing->at += bytes.size;
    (void)crypto_generichash_update(&writing->mac, (const unsigned char *)bytes.data, bytes.size);
    return rc;
}

/* Header and key. */
static int put_front(struct writing *writing, const struct dbk_root *root, struct dbk_error *err)
{
    char bytes[DBK_KEYS_BACKUP_HEADER_SIZE + DBK_EPOCH_SIZE];
    uint8_t key[DBK_KEY_SIZE];
    struct dbk_os *os = writing->keys->os;
    const struct dbk_keys_backup_header *header = &writing->header;
    struct dbk_epoch_file file = {
        .book_id = header->book_id, .epoch = header->epoch, .created_us = header->taken_us};
    struct dbk_secrets *secrets = &writing->ring->secrets;
    *secrets = writing->keys->ring->secrets;
    int rc = os->random(os, secrets->epoch, DBK_KEY_SIZE, err);
    if (rc == DBK_OK)
        rc = dbk_secrets_seal(os, root, secrets, &file, err);
    if (rc < 0)
        return rc;
    dbk_secrets_backup_key(secrets, key);
    (void)crypto_generichash_init(&writing->mac, key, sizeof(key), DBK_KEYS_BACKUP_MAC_SIZE);
    dbk_keys_backup_encode(header, bytes);
    dbk_epoch_encode(&file, bytes + DBK_KEYS_BACKUP_HEADER_SIZE);
    rc = put(writing, dbk_slice(bytes, sizeof(bytes)), err);
    dbk_wipe(key, sizeof(key));
    dbk_wipe(&file, sizeof(file));
    dbk_wipe(bytes, sizeof(bytes));
    return rc;
}

/* One slot of the table as it goes into the backup; of what does not live nothing does. */
static int copy_slot(struct writing *writing, uint64_t index, size_t place, struct dbk_error *err)
{
    struct dbk_keys *keys = writing->keys;
    char *to = writing->block + place * DBK_SLOT_SIZE;
    struct dbk_slot slot;
    int rc = dbk_slot_decode(dbk_slice(to, DBK_SLOT_SIZE), index, &slot);
    if (rc < 0)
        rc = dbk_table_read_slot(keys->os, &keys->table, index, &slot, err);
    /* What no sync covered may be anything after a crash. */
    if (rc == DBK_ECORRUPT && index >= keys->table.counter.slots) {
        slot.state = DBK_SLOT_DESTROYED;
        rc = DBK_OK;
    }
    if (rc < 0)
        return rc;
    if (slot.state == DBK_SLOT_LIVE && !dbk_erased_has(&keys->erased, &slot.id)) {
        rc = dbk_slot_wrap_anew(keys->ring->secrets.epoch, &keys->table.header,
                                writing->ring->secrets.epoch, &writing->bound,
                                writing->nonces + place * DBK_NONCE_SIZE, &slot);
        if (rc < 0)
            return dbk_error_set(err, rc, "%s: a key in it is not under the key of epoch %" PRIu64,
                                 keys->table_path, keys->table.header.epoch);
        writing->subjects++;
    } else {
        slot = (struct dbk_slot){.state = DBK_SLOT_DESTROYED};
    }
    dbk_slot_encode(&slot, index, to);
    return DBK_OK;
}

static int put_slots(struct writing *writing, struct dbk_error *err)
{
    struct dbk_keys *keys = writing->keys;
    struct dbk_os *os = keys->os;
    int rc = DBK_OK;
    for (uint64_t index = 0; rc == DBK_OK && index < writing->header.slots;) {
        uint64_t left = writing->header.slots - index;
        size_t count = left < DBK_SLOTS_AT_ONCE ? (size_t)left : DBK_SLOTS_AT_ONCE;
        size_t size = 0;
        memset(writing->block, 0, BLOCK_SIZE);
        rc = os->pread(os, &keys->table.file, writing->block, count * DBK_SLOT_SIZE,
                       DBK_TABLE_BEGIN + index * DBK_SLOT_SIZE, &size, err);
        if (rc == DBK_OK)
            rc = os->random(os, writing->nonces, NONCES_SIZE, err);
        for (size_t i = 0; rc == DBK_OK && i < count; i++)
            rc = copy_slot(writing, index + i, i, err);
        if (rc == DBK_OK)
            rc = put(writing, dbk_slice(writing->block, count * DBK_SLOT_SIZE), err);
        index += count;
    }
    return rc;
}

/* The list as far as it was read: it is only added to. */
static int put_list(struct writing *writing, struct dbk_error *err)
{
    struct dbk_keys *keys = writing->keys;
    struct dbk_os *os = keys->os;
    struct dbk_file list = DBK_FILE_CLOSED;
    int rc = os->open(os, keys->erased_path, DBK_OS_READ, &list, err);
    for (uint64_t at = 0; rc == DBK_OK && at < keys->erased.size;) {
        uint64_t left = keys->erased.size - at;
        size_t size = 0;
        rc = os->pread(os, &list, writing->block, left < BLOCK_SIZE ? (size_t)left : BLOCK_SIZE, at,
                       &size, err);
        if (rc == DBK_OK && size == 0)
            rc = dbk_error_set(err, DBK_ECORRUPT, "%s was cut off", keys->erased_path);
        if (rc == DBK_OK)
            rc = put(writing, dbk_slice(writing->block, size), err);
        at += size;
    }
    os->close(os, &list);
    return rc;
}

static int put_all(struct writing *writing, const char *path, const struct dbk_root *root,
                   struct dbk_error *err)
{
    char mac[DBK_KEYS_BACKUP_MAC_SIZE];
    struct dbk_os *os = writing->keys->os;
    int rc = os->open(os, path, DBK_OS_WRITE | DBK_OS_CREATE, &writing->file, err);
    if (rc == DBK_OK)
        rc = os->protect(os, path, err);
    if (rc == DBK_OK)
        rc = os->truncate(os, &writing->file, 0, err);
    if (rc == DBK_OK)
        rc = put_front(writing, root, err);
    if (rc == DBK_OK)
        rc = put_slots(writing, err);
    if (rc == DBK_OK)
        rc = put_list(writing, err);
    if (rc < 0)
        return rc;
    (void)crypto_generichash_final(&writing->mac, (unsigned char *)mac, sizeof(mac));
    rc = os->pwrite(os, &writing->file, dbk_slice(mac, sizeof(mac)), writing->at, err);
    return rc == DBK_OK ? os->sync(os, &writing->file, err) : rc;
}

/* What is at the path may only be an older backup of this book. */
static int check_target(struct dbk_keys *keys, const char *path, struct dbk_error *err)
{
    char bytes[DBK_KEYS_BACKUP_HEADER_SIZE];
    struct dbk_os *os = keys->os;
    struct dbk_file file = DBK_FILE_CLOSED;
    struct dbk_keys_backup_header header;
    struct dbk_error failure = {0};
    uint32_t version = 0;
    size_t size = 0;
    int rc = os->open(os, path, DBK_OS_READ, &file, &failure);
    if (rc == DBK_ENOTFOUND)
        return DBK_OK;
    if (rc == DBK_OK)
        rc = os->pread(os, &file, bytes, sizeof(bytes), 0, &size, &failure);
    os->close(os, &file);
    if (rc < 0) {
        if (err != NULL)
            *err = failure;
        return rc;
    }
    if (dbk_keys_backup_decode(dbk_slice(bytes, size), &header, &version) < 0)
        return dbk_error_set(err, DBK_EEXISTS,
                             "%s is there, and is no backup of keys that this Daybook knows: name "
                             "another file",
                             path);
    if (!dbk_uuid_equal(&header.book_id, &keys->book_id))
        return dbk_error_set(err, DBK_ECONFLICT,
                             "%s is a backup of another book's keys: name another file", path);
    return DBK_OK;
}

/* The folder that a path is in, owned by the caller. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return dbk_copy_text(DBK_SLICE_LITERAL("."));
    return dbk_copy_text(slash == path ? DBK_SLICE_LITERAL("/")
                                       : dbk_slice(path, (size_t)(slash - path)));
}

static char *beside(const char *path)
{
    struct dbk_buf name;
    dbk_buf_init(&name, SIZE_MAX);
    dbk_buf_append_format(&name, "%s.tmp", path);
    char *copy = name.rc < 0 ? NULL : dbk_copy_text(dbk_buf_slice(&name));
    dbk_buf_release(&name);
    return copy;
}

int dbk_keys_backup(struct dbk_keys *keys, const char *path, const struct dbk_root *root,
                    struct dbk_keys_backup_result *result_out, struct dbk_error *err)
{
    struct dbk_os *os = keys->os;
    struct writing writing = {.keys = keys, .file = DBK_FILE_CLOSED};
    char *folder = folder_of(path);
    char *new_path = beside(path);
    writing.block = dbk_alloc(BLOCK_SIZE);
    writing.nonces = dbk_alloc(NONCES_SIZE);
    int rc = check_target(keys, path, err);
    if (rc == DBK_OK &&
        (folder == NULL || new_path == NULL || writing.block == NULL || writing.nonces == NULL))
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory backing up keys");
    if (rc == DBK_OK)
        rc = dbk_ring_create(&writing.ring, err);
    if (rc < 0)
        goto out;
    /* Table, list and epoch's key as they are now: nobody makes, forgets or rotates meanwhile. */
    (void)pthread_mutex_lock(&keys->change);
    (void)pthread_mutex_lock(&keys->lock);
    writing.header = (struct dbk_keys_backup_header){.book_id = keys->book_id,
                                                     .epoch = keys->table.header.epoch,
                                                     .taken_us = os->now_us(os),
                                                     .slots = keys->table.slots,
                                                     .erased = keys->erased.ids.count};
    writing.bound.book_id = keys->book_id;
    writing.bound.epoch = keys->table.header.epoch;
    rc = put_all(&writing, new_path, root, err);
    (void)pthread_mutex_unlock(&keys->lock);
    (void)pthread_mutex_unlock(&keys->change);
    bool opened = writing.file.fd >= 0;
    os->close(os, &writing.file);
    if (rc == DBK_OK)
        rc = os->rename(os, new_path, path, err);
    if (rc == DBK_OK)
        rc = os->sync_folder(os, folder, err);
    else if (opened)
        dbk_ignore(os->remove(os, new_path, NULL));
    *result_out = (struct dbk_keys_backup_result){.epoch = writing.header.epoch,
                                                  .taken_us = writing.header.taken_us,
                                                  .subjects = writing.subjects,
                                                  .erased = writing.header.erased};
out:
    dbk_ring_free(writing.ring);
    dbk_free(writing.block);
    dbk_free(writing.nonces);
    dbk_free(folder);
    dbk_free(new_path);
    return rc;
}

/* ---- Of a book ---- */

static int open_beside(const struct dbk_vault_copy *copy, struct dbk_vault **vault_out,
                       struct dbk_error *err)
{
    struct dbk_vault_options options = {
        .os = copy->os, .store = copy->store, .data = copy->data, .root = copy->root};
    int rc = DBK_OK;
    for (int tries = 0; tries < OPEN_TRIES; tries++) {
        rc = dbk_vault_open(&options, vault_out, err);
        if (rc != DBK_ENOTFOUND && rc != DBK_ECORRUPT && rc != DBK_ECONFLICT)
            break;
    }
    return rc;
}

int dbk_vault_backup(const struct dbk_vault_copy *copy, enum dbk_keys_protection *protection_out,
                     struct dbk_keys_backup_result *result_out, struct dbk_error *err)
{
    struct dbk_vault *vault = NULL;
    struct dbk_keys *keys = NULL;
    struct dbk_buf text;
    const char *file = copy->plain                ? NULL
                       : copy->passphrase != NULL ? copy->passphrase
                                                  : copy->root;
    if (file == NULL && !copy->plain)
        return dbk_error_set(err, DBK_EINVAL,
                             "this book's keys are under no passphrase, and whoever has a copy of "
                             "them can read everything: give one with --passphrase FILE, or name "
                             "one in book.yaml, `keys: {root: file:<path>}`; --plain copies them "
                             "all the same");
    *protection_out = copy->plain                ? DBK_KEYS_PLAIN
                      : copy->passphrase != NULL ? DBK_KEYS_UNDER_PASSPHRASE
                                                 : DBK_KEYS_UNDER_ROOT;
    dbk_buf_init(&text, DBK_PASSPHRASE_SIZE_MAX + 1);
    int rc = dbk_passphrase_read(copy->os, file, &text, err);
    if (rc == DBK_OK)
        rc = open_beside(copy, &vault, err);
    if (rc == DBK_OK)
        rc = dbk_vault_keys(vault, false, &keys, err);
    if (rc == DBK_OK && keys == NULL)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "there are no keys to back up: no subject has one");
    if (rc == DBK_OK)
        rc = dbk_keys_backup(keys, copy->file,
                             &(struct dbk_root){.passphrase = dbk_buf_slice(&text), .file = file},
                             result_out, err);
    dbk_passphrase_release(&text);
    dbk_vault_free(vault);
    return rc;
}
