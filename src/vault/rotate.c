/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new epoch: every key that lives is wrapped anew, in a table beside the old one.
 *
 *     the new epoch's key is written   nothing refers to it yet: a crash leaves a file to destroy
 *     slots are copied                 others make and forget keys in the old table meanwhile
 *     what came since is copied,       nobody makes or forgets
 *     what went since is destroyed
 *     the new table takes the name     from here on the new epoch holds, whatever happens
 *     the mark says so
 *     the old key is overwritten       else the next open does it
 */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "vault/state.h"

struct rotation {
    struct dbk_keys *keys;
    struct dbk_ring *ring; /* holds the new epoch's key */
    struct dbk_table table;
    uint64_t copied; /* slots of the old table */
    uint64_t erased; /* entries of the list when it began */
    char *read;      /* DBK_SLOTS_AT_ONCE slots of the old table */
    char *written;   /* and of the new one */
    size_t written_count;
    uint8_t *nonces;
};

#define BLOCK_SIZE ((size_t)DBK_SLOTS_AT_ONCE * DBK_SLOT_SIZE)
#define NONCES_SIZE ((size_t)DBK_SLOTS_AT_ONCE * DBK_NONCE_SIZE)

static int flush(struct rotation *rotation, struct dbk_error *err)
{
    struct dbk_os *os = rotation->keys->os;
    struct dbk_table *table = &rotation->table;
    size_t size = rotation->written_count * DBK_SLOT_SIZE;
    uint64_t first = table->slots - rotation->written_count;
    int rc = size == 0 ? DBK_OK
                       : os->pwrite(os, &table->file, dbk_slice(rotation->written, size),
                                    DBK_TABLE_BEGIN + first * DBK_SLOT_SIZE, err);
    rotation->written_count = 0;
    table->capacity = table->slots;
    return rc;
}

static int wrap_anew(struct rotation *rotation, struct dbk_slot *slot, struct dbk_error *err)
{
    struct dbk_keys *keys = rotation->keys;
    struct dbk_table *table = &rotation->table;
    int rc = dbk_slot_wrap_anew(keys->ring->secrets.epoch, &keys->table.header,
                                rotation->ring->secrets.epoch, &table->header,
                                rotation->nonces + rotation->written_count * DBK_NONCE_SIZE, slot);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s: a key in it is not under the key of epoch %" PRIu64,
                             keys->table_path, keys->table.header.epoch);
    if (dbk_table_index(table, table->slots, slot) < 0)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory beginning an epoch");
    dbk_slot_encode(slot, table->slots,
                    rotation->written + rotation->written_count * DBK_SLOT_SIZE);
    table->slots++;
    rotation->written_count++;
    return DBK_OK;
}

/* Copies the live ones of some slots. */
static int copy_block(struct rotation *rotation, uint64_t count, struct dbk_error *err)
{
    struct dbk_os *os = rotation->keys->os;
    const struct dbk_table *from = &rotation->keys->table;
    size_t size = 0;
    int rc = os->pread(os, &from->file, rotation->read, count * DBK_SLOT_SIZE,
                       DBK_TABLE_BEGIN + rotation->copied * DBK_SLOT_SIZE, &size, err);
    if (rc == DBK_OK)
        rc = os->random(os, rotation->nonces, NONCES_SIZE, err);
    for (uint64_t i = 0; rc == DBK_OK && i < count; i++) {
        struct dbk_slot slot;
        size_t at = i * DBK_SLOT_SIZE;
        /* One that is being destroyed may be half written: then it is read alone, again. */
        if (at + DBK_SLOT_SIZE > size ||
            dbk_slot_decode(dbk_slice(rotation->read + at, DBK_SLOT_SIZE), rotation->copied + i,
                            &slot) < 0)
            rc = dbk_table_read_slot(os, from, rotation->copied + i, &slot, err);
        if (rc == DBK_OK && slot.state == DBK_SLOT_LIVE)
            rc = wrap_anew(rotation, &slot, err);
    }
    if (rc == DBK_OK)
        rc = flush(rotation, err);
    rotation->copied += count;
    return rc;
}

static int copy_up_to(struct rotation *rotation, uint64_t end, struct dbk_error *err)
{
    int rc = DBK_OK;
    while (rc == DBK_OK && rotation->copied < end) {
        uint64_t left = end - rotation->copied;
        rc = copy_block(rotation, left < DBK_SLOTS_AT_ONCE ? left : DBK_SLOTS_AT_ONCE, err);
    }
    return rc;
}

static int begin(struct rotation *rotation, struct dbk_error *err)
{
    struct dbk_keys *keys = rotation->keys;
    struct dbk_os *os = keys->os;
    struct dbk_secrets *secrets = NULL;
    struct dbk_table *table = &rotation->table;
    rotation->read = dbk_alloc(BLOCK_SIZE);
    rotation->written = dbk_alloc(BLOCK_SIZE);
    rotation->nonces = dbk_alloc(NONCES_SIZE);
    if (rotation->read == NULL || rotation->written == NULL || rotation->nonces == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory beginning an epoch");
    int rc = dbk_ring_create(&rotation->ring, err);
    if (rc < 0)
        return rc;
    secrets = &rotation->ring->secrets;
    *secrets = keys->ring->secrets;
    rc = os->random(os, secrets->epoch, DBK_KEY_SIZE, err);
    table->header = (struct dbk_table_header){.book_id = keys->book_id,
                                              .epoch = keys->table.header.epoch + 1,
                                              .created_us = os->now_us(os)};
    if (rc == DBK_OK)
        rc = dbk_epoch_write(keys, table->header.epoch, secrets, err);
    if (rc == DBK_OK)
        rc = os->open(os, keys->new_path, DBK_OS_WRITE | DBK_OS_CREATE, &table->file, err);
    if (rc == DBK_OK)
        rc = os->protect(os, keys->new_path, err);
    if (rc == DBK_OK)
        rc = os->truncate(os, &table->file, 0, err);
    return rc;
}

/* With `change` and `syncing` held: the new table is as the old one now is. */
static int catch_up(struct rotation *rotation, struct dbk_error *err)
{
    char header[DBK_TABLE_HEADER_SIZE];
    struct dbk_keys *keys = rotation->keys;
    struct dbk_os *os = keys->os;
    struct dbk_table *table = &rotation->table;
    int rc = copy_up_to(rotation, keys->table.slots, err);
    for (uint64_t i = rotation->erased; rc == DBK_OK && i < keys->erased.ids.count; i++) {
        uint64_t index = 0;
        struct dbk_slot slot;
        rc = dbk_table_find_id(os, table, &keys->erased.ids.items[i], &index, &slot, err);
        if (rc == 1 && slot.state == DBK_SLOT_LIVE)
            rc = dbk_table_destroy(os, table, index, &slot, err);
        rc = rc > 0 ? DBK_OK : rc;
    }
    table->header.erased = keys->erased.ids.count;
    dbk_table_encode(&table->header, header);
    if (rc == DBK_OK)
        rc = os->pwrite(os, &table->file, dbk_slice(header, sizeof(header)), 0, err);
    if (rc == DBK_OK)
        rc = dbk_table_count(os, table, keys->erased.ids.count, table->slots, err);
    return rc == DBK_OK ? os->sync(os, &table->file, err) : rc;
}

/* The new table takes the old one's name and place. */
static int change_over(struct rotation *rotation, struct dbk_error *err)
{
    struct dbk_keys *keys = rotation->keys;
    struct dbk_os *os = keys->os;
    int rc = os->rename(os, keys->new_path, keys->table_path, err);
    bool renamed = rc == DBK_OK;
    if (rc == DBK_OK)
        rc = os->sync_folder(os, keys->folder, err);
    (void)pthread_mutex_lock(&keys->lock);
    if (rc == DBK_OK) {
        dbk_table_release(os, &keys->table);
        keys->table = rotation->table;
        rotation->table = (struct dbk_table){.file = DBK_FILE_CLOSED};
        keys->ring->secrets = rotation->ring->secrets;
        dbk_ring_clear(keys->ring);
        keys->synced = keys->made;
        keys->synced_slots = keys->table.slots;
        rc = dbk_mark_write(keys, err);
    } else if (renamed) {
        keys->failed = true;
    }
    (void)pthread_mutex_unlock(&keys->lock);
    return rc;
}

static int rotate(struct rotation *rotation, struct dbk_error *err)
{
    struct dbk_keys *keys = rotation->keys;
    int rc = begin(rotation, err);
    /* Who is forgetting has added to the list and not yet destroyed: that is waited for, so that
       slots of keys in the list are destroyed before they are copied, or caught up with. */
    (void)pthread_mutex_lock(&keys->change);
    (void)pthread_mutex_lock(&keys->lock);
    uint64_t slots = keys->table.slots;
    rotation->erased = keys->erased.ids.count;
    (void)pthread_mutex_unlock(&keys->lock);
    (void)pthread_mutex_unlock(&keys->change);
    if (rc == DBK_OK)
        rc = copy_up_to(rotation, slots, err);
    /* What follows waits for the disk while nobody can make a key: let it be short. */
    if (rc == DBK_OK)
        rc = keys->os->sync(keys->os, &rotation->table.file, err);
    if (rc < 0)
        return rc;
    (void)pthread_mutex_lock(&keys->change);
    (void)pthread_mutex_lock(&keys->syncing);
    rc = catch_up(rotation, err);
    if (rc == DBK_OK)
        rc = change_over(rotation, err);
    (void)pthread_mutex_unlock(&keys->syncing);
    (void)pthread_mutex_unlock(&keys->change);
    return rc < 0 ? rc : dbk_epoch_destroy_others(keys, keys->table.header.epoch, err);
}

static int enter(struct dbk_keys *keys, struct dbk_error *err)
{
    int rc = DBK_OK;
    (void)pthread_mutex_lock(&keys->lock);
    if (!keys->writer)
        rc = dbk_error_set(err, DBK_EDENIED, "%s was opened for reading", keys->folder);
    else if (keys->failed)
        rc = dbk_error_set(err, DBK_ESTOPPED,
                           "%s is not changed any more after a failed sync; open the book again",
                           keys->folder);
    else if (keys->rotating)
        rc = dbk_error_set(err, DBK_EBUSY, "a new epoch is being begun already");
    else
        keys->rotating = true;
    (void)pthread_mutex_unlock(&keys->lock);
    return rc;
}

int dbk_keys_rotate(struct dbk_keys *keys, uint64_t *epoch_out, struct dbk_error *err)
{
    struct rotation rotation = {.keys = keys, .table = {.file = DBK_FILE_CLOSED}};
    int rc = enter(keys, err);
    if (rc < 0)
        return rc;
    rc = rotate(&rotation, err);
    /* A table that did not take over, and its key, are of no use to anybody. */
    if (rotation.table.file.fd >= 0 && !keys->failed) {
        keys->os->remove(keys->os, keys->new_path, NULL);
        dbk_ignore(dbk_epoch_destroy_others(keys, keys->table.header.epoch, NULL));
    }
    dbk_table_release(keys->os, &rotation.table);
    dbk_ring_free(rotation.ring);
    dbk_free(rotation.read);
    dbk_free(rotation.written);
    dbk_free(rotation.nonces);
    (void)pthread_mutex_lock(&keys->lock);
    keys->rotating = false;
    *epoch_out = keys->table.header.epoch;
    (void)pthread_mutex_unlock(&keys->lock);
    return rc;
}
