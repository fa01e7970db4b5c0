/* SPDX-License-Identifier: Apache-2.0 */
/* The table of slots. */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "vault/state.h"

/* A reader may look at a slot while it is written. */
#define READ_TRIES 3

static uint64_t offset_of(uint64_t index)
{
    return DBK_TABLE_BEGIN + index * DBK_SLOT_SIZE;
}

static uint32_t hash_of(const uint8_t *bytes)
{
    return dbk_get_u32(bytes);
}

void dbk_table_release(struct dbk_os *os, struct dbk_table *table)
{
    os->close(os, &table->file);
    dbk_places_release(&table->names);
    dbk_places_release(&table->ids);
    *table = (struct dbk_table){.file = DBK_FILE_CLOSED};
}

int dbk_table_index(struct dbk_table *table, uint64_t index, const struct dbk_slot *slot)
{
    int rc = dbk_uuid_is_none(&slot->id)
                 ? DBK_OK
                 : dbk_places_add(&table->ids, hash_of(slot->id.bytes), (uint32_t)index);
    if (rc < 0 || slot->state != DBK_SLOT_LIVE)
        return rc;
    rc = dbk_places_add(&table->names, hash_of(slot->name), (uint32_t)index);
    if (rc < 0)
        dbk_places_remove(&table->ids, hash_of(slot->id.bytes), (uint32_t)index);
    else
        table->live++;
    return rc;
}

/* ---- Loading ---- */

static int load_header(struct dbk_os *os, const char *path, struct dbk_table *table,
                       struct dbk_error *err)
{
    char bytes[DBK_TABLE_BEGIN];
    size_t size = 0;
    uint32_t version = 0;
    int rc = os->pread(os, &table->file, bytes, sizeof(bytes), 0, &size, err);
    if (rc < 0)
        return rc;
    rc = dbk_table_decode(dbk_slice(bytes, size), &table->header, &version);
    if (rc == DBK_EFORMAT)
        return dbk_error_set(err, rc,
                             "%s has format version %" PRIu32 ", this Daybook reads up to %d", path,
                             version, DBK_KEYS_FORMAT);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s is damaged: its header is not whole", path);
    for (size_t at = DBK_TABLE_COUNTER_DISTANCE; at <= 2 * DBK_TABLE_COUNTER_DISTANCE;
         at += DBK_TABLE_COUNTER_DISTANCE) {
        struct dbk_table_counter counter;
        if (at < size &&
            dbk_table_counter_decode(dbk_slice(bytes + at, size - at), &counter) == DBK_OK &&
            counter.sequence > table->counter.sequence)
            table->counter = counter;
    }
    if (table->counter.sequence == 0)
        return dbk_error_set(err, DBK_ECORRUPT, "%s is damaged: both its counters are", path);
    return DBK_OK;
}

/* One slot of a table that is loaded. What was never synced may be anything. */
static int load_slot(struct dbk_table *table, struct dbk_slice bytes, uint64_t index,
                     const char *path, struct dbk_error *err)
{
    struct dbk_slot slot;
    int rc = dbk_slot_decode(bytes, index, &slot);
    if (rc == DBK_OK && slot.state != DBK_SLOT_FREE) {
        table->slots = index + 1;
        rc = dbk_table_index(table, index, &slot);
        return rc < 0 ? dbk_error_set(err, rc, "out of memory reading %s", path) : DBK_OK;
    }
    if (index < table->counter.slots)
        return dbk_error_set(err, DBK_ECORRUPT,
                             "%s is damaged: the slot %" PRIu64 " at byte %" PRIu64
                             " is not whole; "
                             "put a backup of the keys back",
                             path, index, offset_of(index));
    return DBK_OK;
}

static int load_slots(struct dbk_os *os, const char *path, struct dbk_table *table,
                      struct dbk_error *err)
{
    size_t block = (size_t)DBK_SLOTS_AT_ONCE * DBK_SLOT_SIZE;
    uint64_t index = table->slots;
    size_t size = block;
    char *bytes = dbk_alloc(block);
    int rc =
        bytes == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", path) : DBK_OK;
    while (rc == DBK_OK && size == block) {
        rc = os->pread(os, &table->file, bytes, block, offset_of(index), &size, err);
        for (size_t at = 0; rc == DBK_OK && at + DBK_SLOT_SIZE <= size; at += DBK_SLOT_SIZE)
            rc = load_slot(table, dbk_slice(bytes + at, DBK_SLOT_SIZE), index++, path, err);
    }
    if (rc == DBK_OK && table->slots < table->counter.slots)
        rc = dbk_error_set(err, DBK_ECORRUPT,
                           "%s was cut off: it has %" PRIu64 " of %" PRIu64 " slots; put a backup "
                           "of the keys back",
                           path, table->slots, table->counter.slots);
    dbk_free(bytes);
    table->capacity = index > table->slots ? index : table->slots;
    return rc;
}

int dbk_table_load_more(struct dbk_os *os, struct dbk_table *table, struct dbk_error *err)
{
    table->counter.slots = 0; /* what a writer is at is not ours to judge */
    return load_slots(os, table->file.name, table, err);
}

/* Slots that no sync covered and that are not whole become ones that hold nothing. */
static int mend(struct dbk_os *os, struct dbk_table *table, struct dbk_error *err)
{
    struct dbk_slot nothing = {.state = DBK_SLOT_DESTROYED};
    struct dbk_slot slot;
    int rc = DBK_OK;
    char bytes[DBK_SLOT_SIZE];
    for (uint64_t i = table->counter.slots; rc == DBK_OK && i < table->capacity; i++) {
        size_t size = 0;
        rc = os->pread(os, &table->file, bytes, sizeof(bytes), offset_of(i), &size, err);
        if (rc < 0)
            break;
        int slot_rc = dbk_slot_decode(dbk_slice(bytes, size), i, &slot);
        bool behind = i >= table->slots;
        if (slot_rc == DBK_OK && (slot.state != DBK_SLOT_FREE || behind))
            continue;
        if (behind) {
            memset(bytes, 0, sizeof(bytes));
            rc = os->pwrite(os, &table->file, dbk_slice(bytes, sizeof(bytes)), offset_of(i), err);
        } else {
            rc = dbk_table_write_slot(os, table, i, &nothing, err);
        }
    }
    /* Also whole ones may be in memory only, after a crash of nothing but the process. */
    return rc == DBK_OK && table->counter.slots < table->slots ? os->sync(os, &table->file, err)
                                                               : rc;
}

int dbk_table_load(struct dbk_os *os, const char *path, bool writer, struct dbk_table *table,
                   struct dbk_error *err)
{
    *table = (struct dbk_table){.file = DBK_FILE_CLOSED};
    int rc = os->open(os, path, writer ? DBK_OS_WRITE : DBK_OS_READ, &table->file, err);
    if (rc == DBK_OK)
        rc = load_header(os, path, table, err);
    if (rc == DBK_OK)
        rc = load_slots(os, path, table, err);
    if (rc == DBK_OK && writer)
        rc = mend(os, table, err);
    if (rc < 0)
        dbk_table_release(os, table);
    return rc;
}

/* ---- Slots ---- */

int dbk_table_read_slot(struct dbk_os *os, const struct dbk_table *table, uint64_t index,
                        struct dbk_slot *slot_out, struct dbk_error *err)
{
    char bytes[DBK_SLOT_SIZE];
    for (int i = 0; i < READ_TRIES; i++) {
        size_t size = 0;
        int rc = os->pread(os, &table->file, bytes, sizeof(bytes), offset_of(index), &size, err);
        if (rc < 0)
            return rc;
        if (dbk_slot_decode(dbk_slice(bytes, size), index, slot_out) == DBK_OK)
            return DBK_OK;
    }
    return dbk_error_set(err, DBK_ECORRUPT,
                         "%s is damaged: the slot %" PRIu64 " at byte %" PRIu64 " is not whole",
                         table->file.name, index, offset_of(index));
}

int dbk_table_write_slot(struct dbk_os *os, const struct dbk_table *table, uint64_t index,
                         const struct dbk_slot *slot, struct dbk_error *err)
{
    char bytes[DBK_SLOT_SIZE];
    dbk_slot_encode(slot, index, bytes);
    return os->pwrite(os, &table->file, dbk_slice(bytes, sizeof(bytes)), offset_of(index), err);
}

int dbk_table_count(struct dbk_os *os, struct dbk_table *table, uint64_t erased, uint64_t slots,
                    struct dbk_error *err)
{
    char bytes[DBK_TABLE_COUNTER_SIZE];
    struct dbk_table_counter next = {table->counter.sequence + 1, erased, slots};
    dbk_table_counter_encode(&next, bytes);
    int rc = os->pwrite(os, &table->file, dbk_slice(bytes, sizeof(bytes)),
                        DBK_TABLE_COUNTER_DISTANCE * (1 + next.sequence % 2), err);
    if (rc == DBK_OK)
        table->counter = next;
    return rc;
}

static int find(struct dbk_os *os, const struct dbk_table *table, const struct dbk_places *places,
                const uint8_t bytes[DBK_UUID_SIZE], size_t offset, uint64_t *index_out,
                struct dbk_slot *slot_out, struct dbk_error *err)
{
    size_t at = 0;
    uint32_t index = 0;
    while (dbk_places_next(places, hash_of(bytes), &at, &index)) {
        int rc = dbk_table_read_slot(os, table, index, slot_out, err);
        if (rc < 0)
            return rc;
        if (memcmp((const char *)slot_out + offset, bytes, DBK_UUID_SIZE) == 0) {
            *index_out = index;
            return 1;
        }
    }
    return 0;
}

int dbk_table_find_id(struct dbk_os *os, const struct dbk_table *table, const struct dbk_uuid *id,
                      uint64_t *index_out, struct dbk_slot *slot_out, struct dbk_error *err)
{
    return find(os, table, &table->ids, id->bytes, offsetof(struct dbk_slot, id), index_out,
                slot_out, err);
}

int dbk_table_find_name(struct dbk_os *os, const struct dbk_table *table,
                        const uint8_t name[DBK_NAME_SIZE], uint64_t *index_out,
                        struct dbk_slot *slot_out, struct dbk_error *err)
{
    return find(os, table, &table->names, name, offsetof(struct dbk_slot, name), index_out,
                slot_out, err);
}

int dbk_table_destroy(struct dbk_os *os, struct dbk_table *table, uint64_t index,
                      const struct dbk_slot *slot, struct dbk_error *err)
{
    struct dbk_slot destroyed = {.state = DBK_SLOT_DESTROYED, .id = slot->id};
    int rc = dbk_table_write_slot(os, table, index, &destroyed, err);
    if (rc < 0)
        return rc;
    dbk_places_remove(&table->names, hash_of(slot->name), (uint32_t)index);
    table->live--;
    return DBK_OK;
}

int dbk_table_reserve(struct dbk_os *os, struct dbk_table *table, struct dbk_error *err)
{
    static const char zeros[DBK_SLOTS_AT_ONCE * DBK_SLOT_SIZE];
    if (table->slots < table->capacity)
        return DBK_OK;
    if (table->slots >= DBK_KEYS_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "%s is full: %ju keys", table->file.name,
                             (uintmax_t)table->slots);
    int rc = os->pwrite(os, &table->file, dbk_slice(zeros, sizeof(zeros)),
                        offset_of(table->capacity), err);
    if (rc == DBK_OK)
        table->capacity += DBK_SLOTS_AT_ONCE;
    return rc;
}
