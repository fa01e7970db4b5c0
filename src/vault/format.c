/* SPDX-License-Identifier: Apache-2.0 */
#include "vault/format.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"

/* Every header: mark, version, checksum. */
#define AT_VERSION 8
#define AT_CRC 12
#define AT_REST 16

static const char epoch_name[] = "dbkepoch";
static const char table_name[] = "dbkkeys\n";
static const char erased_name[] = "dbkerasd";
static const char mark_name[] = "dbkmark\n";
static const char backup_name[] = "dbkkeysb";

static uint32_t header_crc(const char *bytes, size_t size)
{
    return dbk_crc32c(dbk_crc32c(0, dbk_slice(bytes, AT_CRC)),
                      dbk_slice(bytes + AT_REST, size - AT_REST));
}

static void begin(char *bytes, size_t size, const char *name)
{
    memset(bytes, 0, size);
    memcpy(bytes, name, AT_VERSION);
    dbk_put_u32(bytes + AT_VERSION, DBK_KEYS_FORMAT);
}

static void end(char *bytes, size_t size)
{
    dbk_put_u32(bytes + AT_CRC, header_crc(bytes, size));
}

static bool is_zero(const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static int check(struct dbk_slice bytes, size_t size, const char *name, uint32_t *version_out)
{
    if (bytes.size < size || memcmp(bytes.data, name, AT_VERSION) != 0)
        return DBK_ECORRUPT;
    *version_out = dbk_get_u32(bytes.data + AT_VERSION);
    if (*version_out > DBK_KEYS_FORMAT)
        return DBK_EFORMAT;
    if (*version_out == 0 || dbk_get_u32(bytes.data + AT_CRC) != header_crc(bytes.data, size))
        return DBK_ECORRUPT;
    return DBK_OK;
}

static void get(void *to, const char *from, size_t size)
{
    memcpy(to, from, size);
}

/* ---- Epoch ---- */

enum {
    EPOCH_BOOK = 16,
    EPOCH_NUMBER = 32,
    EPOCH_CREATED = 40,
    EPOCH_ROOT = 48,
    EPOCH_PASSES = 52,
    EPOCH_MEMORY = 56,
    EPOCH_SALT = 64,
    EPOCH_NONCE = 80,
    EPOCH_SECRETS = DBK_EPOCH_BOUND_SIZE,
    EPOCH_TAG = 168,
    EPOCH_END = 184,
};

static bool is_sane(const struct dbk_epoch_file *file)
{
    if (file->epoch == 0)
        return false;
    if (file->root == DBK_ROOT_NONE)
        return file->passes == 0 && file->memory == 0;
    return file->root == DBK_ROOT_PASSPHRASE && file->passes > 0 &&
           file->passes <= DBK_PASSES_MAX && file->memory >= DBK_PASSPHRASE_MEMORY_MIN &&
           file->memory <= DBK_PASSPHRASE_MEMORY_MAX;
}

int dbk_epoch_decode(struct dbk_slice bytes, struct dbk_epoch_file *file_out, uint32_t *version_out)
{
    int rc = check(bytes, DBK_EPOCH_SIZE, epoch_name, version_out);
    if (rc < 0)
        return rc;
    const char *at = bytes.data;
    get(file_out->book_id.bytes, at + EPOCH_BOOK, DBK_UUID_SIZE);
    file_out->epoch = dbk_get_u64(at + EPOCH_NUMBER);
    file_out->created_us = dbk_get_i64(at + EPOCH_CREATED);
    file_out->root = dbk_get_u32(at + EPOCH_ROOT);
    file_out->passes = dbk_get_u32(at + EPOCH_PASSES);
    file_out->memory = dbk_get_u64(at + EPOCH_MEMORY);
    get(file_out->salt, at + EPOCH_SALT, sizeof(file_out->salt));
    get(file_out->nonce, at + EPOCH_NONCE, sizeof(file_out->nonce));
    get(file_out->secrets, at + EPOCH_SECRETS, sizeof(file_out->secrets));
    get(file_out->tag, at + EPOCH_TAG, sizeof(file_out->tag));
    bool whole =
        bytes.size == DBK_EPOCH_SIZE && is_zero(at + EPOCH_END, DBK_EPOCH_SIZE - EPOCH_END);
    return whole && is_sane(file_out) ? DBK_OK : DBK_ECORRUPT;
}

void dbk_epoch_encode(const struct dbk_epoch_file *file, char bytes_out[DBK_EPOCH_SIZE])
{
    begin(bytes_out, DBK_EPOCH_SIZE, epoch_name);
    memcpy(bytes_out + EPOCH_BOOK, file->book_id.bytes, DBK_UUID_SIZE);
    dbk_put_u64(bytes_out + EPOCH_NUMBER, file->epoch);
    dbk_put_i64(bytes_out + EPOCH_CREATED, file->created_us);
    dbk_put_u32(bytes_out + EPOCH_ROOT, file->root);
    dbk_put_u32(bytes_out + EPOCH_PASSES, file->passes);
    dbk_put_u64(bytes_out + EPOCH_MEMORY, file->memory);
    memcpy(bytes_out + EPOCH_SALT, file->salt, sizeof(file->salt));
    memcpy(bytes_out + EPOCH_NONCE, file->nonce, sizeof(file->nonce));
    memcpy(bytes_out + EPOCH_SECRETS, file->secrets, sizeof(file->secrets));
    memcpy(bytes_out + EPOCH_TAG, file->tag, sizeof(file->tag));
    end(bytes_out, DBK_EPOCH_SIZE);
}

/* ---- Table ---- */

int dbk_table_decode(struct dbk_slice bytes, struct dbk_table_header *header_out,
                     uint32_t *version_out)
{
    int rc = check(bytes, DBK_TABLE_HEADER_SIZE, table_name, version_out);
    if (rc < 0)
        return rc;
    get(header_out->book_id.bytes, bytes.data + 16, DBK_UUID_SIZE);
    header_out->epoch = dbk_get_u64(bytes.data + 32);
    header_out->created_us = dbk_get_i64(bytes.data + 40);
    header_out->erased = dbk_get_u64(bytes.data + 48);
    return header_out->epoch > 0 && is_zero(bytes.data + 56, DBK_TABLE_HEADER_SIZE - 56)
               ? DBK_OK
               : DBK_ECORRUPT;
}

void dbk_table_encode(const struct dbk_table_header *header, char bytes_out[DBK_TABLE_HEADER_SIZE])
{
    begin(bytes_out, DBK_TABLE_HEADER_SIZE, table_name);
    memcpy(bytes_out + 16, header->book_id.bytes, DBK_UUID_SIZE);
    dbk_put_u64(bytes_out + 32, header->epoch);
    dbk_put_i64(bytes_out + 40, header->created_us);
    dbk_put_u64(bytes_out + 48, header->erased);
    end(bytes_out, DBK_TABLE_HEADER_SIZE);
}

#define COUNTER_CRC 24

int dbk_table_counter_decode(struct dbk_slice bytes, struct dbk_table_counter *counter_out)
{
    const char *at = bytes.data;
    if (bytes.size < DBK_TABLE_COUNTER_SIZE ||
        dbk_get_u32(at + COUNTER_CRC) != dbk_crc32c(1, dbk_slice(at, COUNTER_CRC)) ||
        dbk_get_u64(at) == 0 || dbk_get_u32(at + COUNTER_CRC + 4) != 0)
        return DBK_ECORRUPT;
    counter_out->sequence = dbk_get_u64(at);
    counter_out->erased = dbk_get_u64(at + 8);
    counter_out->slots = dbk_get_u64(at + 16);
    return DBK_OK;
}

void dbk_table_counter_encode(const struct dbk_table_counter *counter,
                              char bytes_out[DBK_TABLE_COUNTER_SIZE])
{
    memset(bytes_out, 0, DBK_TABLE_COUNTER_SIZE);
    dbk_put_u64(bytes_out, counter->sequence);
    dbk_put_u64(bytes_out + 8, counter->erased);
    dbk_put_u64(bytes_out + 16, counter->slots);
    dbk_put_u32(bytes_out + COUNTER_CRC, dbk_crc32c(1, dbk_slice(bytes_out, COUNTER_CRC)));
}

/* ---- Slots ---- */

enum {
    SLOT_STATE = 4,
    SLOT_ID = 8,
    SLOT_NAME = 24,
    SLOT_NONCE = 40,
    SLOT_WRAPPED = 64,
    SLOT_CREATED = 112,
    SLOT_END = 120,
};

static uint32_t slot_crc(const char *bytes, uint64_t index)
{
    char number[8];
    dbk_put_u64(number, index);
    return dbk_crc32c(dbk_crc32c(0, dbk_slice(number, sizeof(number))),
                      dbk_slice(bytes + SLOT_STATE, DBK_SLOT_SIZE - SLOT_STATE));
}

int dbk_slot_decode(struct dbk_slice bytes, uint64_t index, struct dbk_slot *slot_out)
{
    const char *at = bytes.data;
    if (bytes.size < DBK_SLOT_SIZE)
        return DBK_ECORRUPT;
    *slot_out = (struct dbk_slot){.state = DBK_SLOT_FREE};
    uint32_t crc = dbk_get_u32(at);
    uint32_t state = dbk_get_u32(at + SLOT_STATE);
    if (crc == 0 && state == DBK_SLOT_FREE && is_zero(at, DBK_SLOT_SIZE))
        return DBK_OK;
    if (crc != slot_crc(at, index) || !is_zero(at + SLOT_END, DBK_SLOT_SIZE - SLOT_END))
        return DBK_ECORRUPT;
    if (state == DBK_SLOT_DESTROYED && !is_zero(at + SLOT_NAME, SLOT_END - SLOT_NAME))
        return DBK_ECORRUPT;
    if (state != DBK_SLOT_LIVE && state != DBK_SLOT_DESTROYED)
        return DBK_ECORRUPT;
    slot_out->state = (enum dbk_slot_state)state;
    get(slot_out->id.bytes, at + SLOT_ID, DBK_UUID_SIZE);
    get(slot_out->name, at + SLOT_NAME, sizeof(slot_out->name));
    get(slot_out->nonce, at + SLOT_NONCE, sizeof(slot_out->nonce));
    get(slot_out->wrapped, at + SLOT_WRAPPED, sizeof(slot_out->wrapped));
    slot_out->created_us = dbk_get_i64(at + SLOT_CREATED);
    return DBK_OK;
}

void dbk_slot_encode(const struct dbk_slot *slot, uint64_t index, char bytes_out[DBK_SLOT_SIZE])
{
    memset(bytes_out, 0, DBK_SLOT_SIZE);
    if (slot->state == DBK_SLOT_FREE)
        return;
    dbk_put_u32(bytes_out + SLOT_STATE, (uint32_t)slot->state);
    memcpy(bytes_out + SLOT_ID, slot->id.bytes, DBK_UUID_SIZE);
    if (slot->state == DBK_SLOT_LIVE) {
        memcpy(bytes_out + SLOT_NAME, slot->name, sizeof(slot->name));
        memcpy(bytes_out + SLOT_NONCE, slot->nonce, sizeof(slot->nonce));
        memcpy(bytes_out + SLOT_WRAPPED, slot->wrapped, sizeof(slot->wrapped));
        dbk_put_i64(bytes_out + SLOT_CREATED, slot->created_us);
    }
    dbk_put_u32(bytes_out, slot_crc(bytes_out, index));
}

/* ---- Erased keys ---- */

int dbk_erased_header_decode(struct dbk_slice bytes, struct dbk_erased_header *header_out,
                             uint32_t *version_out)
{
    int rc = check(bytes, DBK_ERASED_HEADER_SIZE, erased_name, version_out);
    if (rc < 0)
        return rc;
    get(header_out->book_id.bytes, bytes.data + 16, DBK_UUID_SIZE);
    header_out->created_us = dbk_get_i64(bytes.data + 32);
    header_out->crc = dbk_get_u32(bytes.data + AT_CRC);
    return is_zero(bytes.data + 40, DBK_ERASED_HEADER_SIZE - 40) ? DBK_OK : DBK_ECORRUPT;
}

void dbk_erased_header_encode(struct dbk_erased_header *header,
                              char bytes_out[DBK_ERASED_HEADER_SIZE])
{
    begin(bytes_out, DBK_ERASED_HEADER_SIZE, erased_name);
    memcpy(bytes_out + 16, header->book_id.bytes, DBK_UUID_SIZE);
    dbk_put_i64(bytes_out + 32, header->created_us);
    end(bytes_out, DBK_ERASED_HEADER_SIZE);
    header->crc = dbk_get_u32(bytes_out + AT_CRC);
}

enum { ERASED_AT = 8, ERASED_ID = 16, ERASED_MAC = 32, ERASED_CRC = 64, ERASED_END = 68 };

int dbk_erased_entry_decode(struct dbk_slice bytes, uint32_t previous,
                            struct dbk_erased_entry *entry_out)
{
    const char *at = bytes.data;
    if (bytes.size < DBK_ERASED_ENTRY_SIZE ||
        dbk_get_u32(at + ERASED_CRC) != dbk_crc32c(previous, dbk_slice(at, ERASED_CRC)) ||
        !is_zero(at + ERASED_END, DBK_ERASED_ENTRY_SIZE - ERASED_END))
        return DBK_ECORRUPT;
    entry_out->sequence = dbk_get_u64(at);
    entry_out->at_us = dbk_get_i64(at + ERASED_AT);
    get(entry_out->id.bytes, at + ERASED_ID, DBK_UUID_SIZE);
    get(entry_out->mac, at + ERASED_MAC, sizeof(entry_out->mac));
    entry_out->crc = dbk_get_u32(at + ERASED_CRC);
    return DBK_OK;
}

void dbk_erased_entry_encode(struct dbk_erased_entry *entry, uint32_t previous,
                             char bytes_out[DBK_ERASED_ENTRY_SIZE])
{
    memset(bytes_out, 0, DBK_ERASED_ENTRY_SIZE);
    dbk_put_u64(bytes_out, entry->sequence);
    dbk_put_i64(bytes_out + ERASED_AT, entry->at_us);
    memcpy(bytes_out + ERASED_ID, entry->id.bytes, DBK_UUID_SIZE);
    memcpy(bytes_out + ERASED_MAC, entry->mac, sizeof(entry->mac));
    entry->crc = dbk_crc32c(previous, dbk_slice(bytes_out, ERASED_CRC));
    dbk_put_u32(bytes_out + ERASED_CRC, entry->crc);
}

/* ---- Mark ---- */

int dbk_mark_decode(struct dbk_slice bytes, struct dbk_mark *mark_out)
{
    uint32_t version = 0;
    int rc = check(bytes, DBK_MARK_SIZE, mark_name, &version);
    if (rc == DBK_OK)
        *mark_out = dbk_mark_peek(bytes.data);
    return rc;
}

void dbk_mark_encode(const struct dbk_mark *mark, char bytes_out[DBK_MARK_SIZE])
{
    begin(bytes_out, DBK_MARK_SIZE, mark_name);
    dbk_put_u64(bytes_out + 16, mark->epoch);
    dbk_put_u64(bytes_out + 24, mark->changes);
    end(bytes_out, DBK_MARK_SIZE);
}

struct dbk_mark dbk_mark_peek(const char *bytes)
{
    return (struct dbk_mark){.epoch = dbk_get_u64(bytes + 16), .changes = dbk_get_u64(bytes + 24)};
}

/* ---- Backup ---- */

int dbk_keys_backup_decode(struct dbk_slice bytes, struct dbk_keys_backup_header *header_out,
                           uint32_t *version_out)
{
    int rc = check(bytes, DBK_KEYS_BACKUP_HEADER_SIZE, backup_name, version_out);
    if (rc < 0)
        return rc;
    get(header_out->book_id.bytes, bytes.data + 16, DBK_UUID_SIZE);
    header_out->epoch = dbk_get_u64(bytes.data + 32);
    header_out->taken_us = dbk_get_i64(bytes.data + 40);
    header_out->slots = dbk_get_u64(bytes.data + 48);
    header_out->erased = dbk_get_u64(bytes.data + 56);
    return header_out->epoch > 0 && header_out->slots <= DBK_KEYS_MAX &&
                   header_out->erased <= DBK_ERASED_MAX &&
                   is_zero(bytes.data + 64, DBK_KEYS_BACKUP_HEADER_SIZE - 64)
               ? DBK_OK
               : DBK_ECORRUPT;
}

void dbk_keys_backup_encode(const struct dbk_keys_backup_header *header,
                            char bytes_out[DBK_KEYS_BACKUP_HEADER_SIZE])
{
    begin(bytes_out, DBK_KEYS_BACKUP_HEADER_SIZE, backup_name);
    memcpy(bytes_out + 16, header->book_id.bytes, DBK_UUID_SIZE);
    dbk_put_u64(bytes_out + 32, header->epoch);
    dbk_put_i64(bytes_out + 40, header->taken_us);
    dbk_put_u64(bytes_out + 48, header->slots);
    dbk_put_u64(bytes_out + 56, header->erased);
    end(bytes_out, DBK_KEYS_BACKUP_HEADER_SIZE);
}
