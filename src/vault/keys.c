/* SPDX-License-Identifier: Apache-2.0 */
#include "vault/keys.h"

#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "vault/state.h"

/* A new epoch: its table and key, as another process left them. */
static int reload(struct dbk_keys *keys, struct dbk_error *err)
{
    struct dbk_table table;
    int rc = dbk_table_load(keys->os, keys->table_path, false, &table, err);
    if (rc < 0)
        return rc;
    rc = dbk_epoch_read(keys, table.header.epoch, &keys->ring->secrets, err);
    if (rc < 0) {
        dbk_table_release(keys->os, &table);
        return rc;
    }
    dbk_table_release(keys->os, &keys->table);
    keys->table = table;
    return DBK_OK;
}

/* In a reader: has the writer forgotten something, or begun an epoch? Under the lock. */
static int refresh(struct dbk_keys *keys, struct dbk_error *err)
{
    bool torn = false;
    if (keys->writer)
        return DBK_OK;
    struct dbk_mark now = dbk_mark_peek(keys->mark_bytes.data);
    if (now.changes == keys->mark.changes && now.epoch == keys->mark.epoch)
        return DBK_OK;
    dbk_ring_clear(keys->ring);
    int rc = dbk_erased_read(keys->os, keys->erased_path, &keys->ring->secrets, &keys->erased,
                             &torn, err);
    if (rc == DBK_OK && now.epoch != keys->table.header.epoch)
        rc = reload(keys, err);
    if (rc == DBK_OK)
        keys->mark = now;
    return rc;
}

/* The key of a slot that was found. Under the lock. */
static int unwrap(struct dbk_keys *keys, const struct dbk_slot *slot, struct dbk_key *key_out,
                  struct dbk_error *err)
{
    uint8_t subject_key[DBK_KEY_SIZE];
    if (dbk_ring_find(keys->ring, &slot->id, key_out))
        return DBK_OK;
    int rc = dbk_slot_unwrap(keys->ring->secrets.epoch, &keys->table.header, slot, subject_key);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s: a key in it is not under the key of epoch %" PRIu64,
                             keys->table_path, keys->table.header.epoch);
    dbk_key_derive(&slot->id, subject_key, key_out);
    dbk_wipe(subject_key, sizeof(subject_key));
    dbk_ring_put(keys->ring, key_out);
    return DBK_OK;
}

/* Finds a live slot, in a reader also one written since it looked. 1, 0, or a code. */
static int find_live(struct dbk_keys *keys, const struct dbk_uuid *id, const uint8_t *name,
                     uint64_t *index_out, struct dbk_slot *slot_out, struct dbk_error *err)
{
    for (int tries = 0;; tries++) {
        int rc = name != NULL
                     ? dbk_table_find_name(keys->os, &keys->table, name, index_out, slot_out, err)
                     : dbk_table_find_id(keys->os, &keys->table, id, index_out, slot_out, err);
        if (rc == 1 && slot_out->state != DBK_SLOT_LIVE)
            rc = 0;
        if (rc != 0 || keys->writer || tries > 0)
            return rc;
        rc = dbk_table_load_more(keys->os, &keys->table, err);
        if (rc < 0)
            return rc;
    }
}

int dbk_keys_of_subject(struct dbk_keys *keys, struct dbk_slice subject, struct dbk_key *key_out,
                        struct dbk_error *err)
{
    uint8_t name[DBK_NAME_SIZE];
    struct dbk_slot slot;
    uint64_t index = 0;
    (void)pthread_mutex_lock(&keys->lock);
    int rc = refresh(keys, err);
    dbk_subject_name(&keys->ring->secrets, subject, name);
    if (rc == DBK_OK)
        rc = find_live(keys, NULL, name, &index, &slot, err);
    if (rc == 1)
        rc = dbk_erased_has(&keys->erased, &slot.id) ? DBK_ENOTFOUND
                                                     : unwrap(keys, &slot, key_out, err);
    else if (rc == 0)
        rc = DBK_ENOTFOUND;
    (void)pthread_mutex_unlock(&keys->lock);
    return rc;
}

int dbk_keys_find(struct dbk_keys *keys, const struct dbk_uuid *id, struct dbk_key *key_out,
                  struct dbk_error *err)
{
    struct dbk_slot slot;
    uint64_t index = 0;
    (void)pthread_mutex_lock(&keys->lock);
    int rc = refresh(keys, err);
    if (rc < 0 || dbk_ring_find(keys->ring, id, key_out))
        goto out;
    rc = dbk_erased_has(&keys->erased, id) ? 0 : find_live(keys, id, NULL, &index, &slot, err);
    if (rc == 1)
        rc = unwrap(keys, &slot, key_out, err);
    else if (rc == 0)
        rc = DBK_ENOTFOUND;
out:
    (void)pthread_mutex_unlock(&keys->lock);
    return rc;
}

bool dbk_keys_is_erased(struct dbk_keys *keys, const struct dbk_uuid *id)
{
    (void)pthread_mutex_lock(&keys->lock);
    dbk_ignore(refresh(keys, NULL));
    bool erased = dbk_erased_has(&keys->erased, id);
    (void)pthread_mutex_unlock(&keys->lock);
    return erased;
}

uint64_t dbk_keys_epoch(struct dbk_keys *keys)
{
    (void)pthread_mutex_lock(&keys->lock);
    uint64_t epoch = keys->table.header.epoch;
    (void)pthread_mutex_unlock(&keys->lock);
    return epoch;
}

size_t dbk_keys_count(struct dbk_keys *keys)
{
    (void)pthread_mutex_lock(&keys->lock);
    size_t count = keys->table.live;
    (void)pthread_mutex_unlock(&keys->lock);
    return count;
}

uint64_t dbk_keys_changes(struct dbk_keys *keys)
{
    if (!keys->writer)
        return dbk_mark_peek(keys->mark_bytes.data).changes;
    (void)pthread_mutex_lock(&keys->lock);
    uint64_t changes = keys->mark.changes;
    (void)pthread_mutex_unlock(&keys->lock);
    return changes;
}

void dbk_keys_erased_counts(struct dbk_keys *keys, uint64_t *at_epoch_out, uint64_t *now_out)
{
    (void)pthread_mutex_lock(&keys->lock);
    *at_epoch_out = keys->table.header.erased;
    *now_out = keys->erased.ids.count;
    (void)pthread_mutex_unlock(&keys->lock);
}

int64_t dbk_keys_created_us(struct dbk_keys *keys)
{
    (void)pthread_mutex_lock(&keys->lock);
    int64_t created_us = keys->table.header.created_us;
    (void)pthread_mutex_unlock(&keys->lock);
    return created_us;
}

int dbk_keys_add_erased(struct dbk_keys *keys, struct dbk_ids *ids)
{
    int rc = DBK_OK;
    (void)pthread_mutex_lock(&keys->lock);
    for (size_t i = 0; rc == DBK_OK && i < keys->erased.ids.count; i++)
        rc = dbk_ids_add(ids, &keys->erased.ids.items[i]);
    (void)pthread_mutex_unlock(&keys->lock);
    return rc;
}

const char *dbk_keys_erased_path(const struct dbk_keys *keys)
{
    return keys->erased_path;
}

/* ---- Making ---- */

static int stopped(const struct dbk_keys *keys, struct dbk_error *err)
{
    if (!keys->writer)
        return dbk_error_set(err, DBK_EDENIED, "%s was opened for reading", keys->folder);
    if (keys->failed)
        return dbk_error_set(err, DBK_ESTOPPED,
                             "%s is not changed any more after a failed sync; open the book again",
                             keys->folder);
    return DBK_OK;
}

/* Under both locks. */
static int add_slot(struct dbk_keys *keys, const uint8_t name[DBK_NAME_SIZE],
                    struct dbk_key *key_out, struct dbk_error *err)
{
    uint8_t subject_key[DBK_KEY_SIZE];
    struct dbk_os *os = keys->os;
    struct dbk_table *table = &keys->table;
    struct dbk_slot slot = {.state = DBK_SLOT_LIVE, .created_us = os->now_us(os)};
    memcpy(slot.name, name, DBK_NAME_SIZE);
    int rc = os->random(os, slot.id.bytes, DBK_UUID_SIZE, err);
    if (rc == DBK_OK)
        rc = os->random(os, slot.nonce, sizeof(slot.nonce), err);
    if (rc == DBK_OK)
        rc = os->random(os, subject_key, sizeof(subject_key), err);
    if (rc == DBK_OK)
        rc = dbk_table_reserve(os, table, err);
    if (rc < 0)
        return rc;
    dbk_slot_wrap(keys->ring->secrets.epoch, &table->header, subject_key, &slot);
    rc = dbk_table_write_slot(os, table, table->slots, &slot, err);
    if (rc == DBK_OK && dbk_table_index(table, table->slots, &slot) < 0)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory for a subject's key");
    if (rc == DBK_OK) {
        table->slots++;
        keys->made++;
        dbk_key_derive(&slot.id, subject_key, key_out);
        dbk_ring_put(keys->ring, key_out);
    }
    dbk_wipe(subject_key, sizeof(subject_key));
    return rc;
}

int dbk_keys_make(struct dbk_keys *keys, struct dbk_slice subject, struct dbk_key *key_out,
                  struct dbk_error *err)
{
    uint8_t name[DBK_NAME_SIZE];
    struct dbk_slot slot;
    uint64_t index = 0;
    int rc = dbk_keys_of_subject(keys, subject, key_out, err);
    if (rc != DBK_ENOTFOUND)
        return rc;
    (void)pthread_mutex_lock(&keys->change);
    (void)pthread_mutex_lock(&keys->lock);
    rc = stopped(keys, err);
    dbk_subject_name(&keys->ring->secrets, subject, name);
    if (rc == DBK_OK)
        rc = find_live(keys, NULL, name, &index, &slot, err);
    if (rc == 1)
        rc = unwrap(keys, &slot, key_out, err);
    else if (rc == 0)
        rc = add_slot(keys, name, key_out, err);
    (void)pthread_mutex_unlock(&keys->lock);
    (void)pthread_mutex_unlock(&keys->change);
    return rc;
}

/* Syncs the table. With `syncing` held. */
static int sync_table(struct dbk_keys *keys, struct dbk_error *err)
{
    (void)pthread_mutex_lock(&keys->lock);
    uint64_t made = keys->made;
    uint64_t slots = keys->table.slots;
    int rc = stopped(keys, err);
    if (rc == DBK_OK)
        rc = dbk_table_count(keys->os, &keys->table, keys->table.counter.erased, keys->synced_slots,
                             err);
    (void)pthread_mutex_unlock(&keys->lock);
    if (rc < 0)
        return rc;
    rc = keys->os->sync(keys->os, &keys->table.file, err);
    (void)pthread_mutex_lock(&keys->lock);
    if (rc == DBK_OK) {
        keys->synced = made;
        keys->synced_slots = slots;
    } else {
        keys->failed = true;
    }
    (void)pthread_mutex_unlock(&keys->lock);
    return rc;
}

static bool is_synced(struct dbk_keys *keys)
{
    (void)pthread_mutex_lock(&keys->lock);
    bool synced = keys->synced == keys->made;
    (void)pthread_mutex_unlock(&keys->lock);
    return synced;
}

int dbk_keys_sync(struct dbk_keys *keys, struct dbk_error *err)
{
    if (is_synced(keys))
        return DBK_OK;
    (void)pthread_mutex_lock(&keys->syncing);
    int rc = is_synced(keys) ? DBK_OK : sync_table(keys, err);
    (void)pthread_mutex_unlock(&keys->syncing);
    return rc;
}

/* ---- Forgetting ---- */

int dbk_keys_destroy(struct dbk_keys *keys, const struct dbk_uuid *id, struct dbk_error *err)
{
    uint64_t index = 0;
    struct dbk_slot slot;
    int rc = dbk_table_find_id(keys->os, &keys->table, id, &index, &slot, err);
    if (rc == 1 && slot.state == DBK_SLOT_LIVE)
        rc = dbk_table_destroy(keys->os, &keys->table, index, &slot, err);
    dbk_ring_forget(keys->ring, id);
    return rc < 0 ? rc : DBK_OK;
}

/* Overwrites the slots, and counts. Under all locks. */
static int destroy_slots(struct dbk_keys *keys, const struct dbk_uuid *ids, size_t count,
                         struct dbk_error *err)
{
    int rc = DBK_OK;
    (void)pthread_mutex_lock(&keys->lock);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = dbk_keys_destroy(keys, &ids[i], err);
    if (rc == DBK_OK)
        rc = dbk_table_count(keys->os, &keys->table, keys->erased.ids.count, keys->synced_slots,
                             err);
    (void)pthread_mutex_unlock(&keys->lock);
    return rc;
}

/* Those of the ids that the list lacks, each once. */
static size_t choose_new(struct dbk_keys *keys, const struct dbk_uuid *ids, size_t count,
                         struct dbk_uuid *chosen)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        bool twice = false;
        for (size_t k = found > 64 ? found - 64 : 0; k < found && !twice; k++)
            twice = dbk_uuid_equal(&chosen[k], &ids[i]);
        if (!twice && !dbk_erased_has(&keys->erased, &ids[i]))
            chosen[found++] = ids[i];
    }
    return found;
}

int dbk_keys_forget(struct dbk_keys *keys, const struct dbk_uuid *ids, size_t count,
                    struct dbk_error *err)
{
    if (count == 0)
        return DBK_OK;
    struct dbk_uuid *chosen = dbk_alloc_zero(count, sizeof(*chosen));
    if (chosen == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory forgetting keys");
    (void)pthread_mutex_lock(&keys->change);
    (void)pthread_mutex_lock(&keys->syncing);
    (void)pthread_mutex_lock(&keys->lock);
    int rc = stopped(keys, err);
    size_t new_count = rc < 0 ? 0 : choose_new(keys, ids, count, chosen);
    if (new_count > 0)
        rc = dbk_erased_append(keys->os, keys->erased_path, &keys->ring->secrets, chosen, new_count,
                               &keys->erased, err);
    (void)pthread_mutex_unlock(&keys->lock);
    if (rc == DBK_OK && new_count > 0) {
        rc = destroy_slots(keys, chosen, new_count, err);
        if (rc == DBK_OK)
            rc = sync_table(keys, err);
        (void)pthread_mutex_lock(&keys->lock);
        if (rc == DBK_OK)
            rc = dbk_mark_write(keys, err);
        keys->failed = keys->failed || rc < 0;
        (void)pthread_mutex_unlock(&keys->lock);
    }
    (void)pthread_mutex_unlock(&keys->syncing);
    (void)pthread_mutex_unlock(&keys->change);
    dbk_free(chosen);
    return rc;
}

int dbk_keys_tell(struct dbk_keys *keys, struct dbk_error *err)
{
    (void)pthread_mutex_lock(&keys->lock);
    int rc = stopped(keys, err);
    if (rc == DBK_OK)
        rc = dbk_mark_write(keys, err);
    (void)pthread_mutex_unlock(&keys->lock);
    return rc;
}
