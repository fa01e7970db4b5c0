/* SPDX-License-Identifier: Apache-2.0 */
#include "vault/erased.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"

/* Bytes read at once. */
#define READ_SIZE ((size_t)DBK_ERASED_ENTRY_SIZE * 1024)

void dbk_erased_release(struct dbk_erased *erased)
{
    dbk_ids_release(&erased->ids);
    *erased = (struct dbk_erased){0};
}

bool dbk_erased_has(const struct dbk_erased *erased, const struct dbk_uuid *id)
{
    return dbk_ids_has(&erased->ids, id);
}

static int take(struct dbk_erased *erased, const struct dbk_erased_entry *entry,
                struct dbk_error *err)
{
    size_t count = erased->ids.count;
    int rc = count < DBK_ERASED_MAX ? dbk_ids_add(&erased->ids, &entry->id) : DBK_ELIMIT;
    if (rc < 0)
        return dbk_error_set(err, rc, "the ids of destroyed keys: %s", dbk_code_text(rc));
    if (erased->ids.count == count)
        return dbk_error_set(err, DBK_ECORRUPT, "the list of destroyed keys has one twice");
    memcpy(erased->mac, entry->mac, sizeof(erased->mac));
    erased->crc = entry->crc;
    erased->size += DBK_ERASED_ENTRY_SIZE;
    return DBK_OK;
}

int dbk_erased_create(struct dbk_os *os, const char *path, const struct dbk_uuid *book_id,
                      struct dbk_erased *erased, struct dbk_error *err)
{
    char bytes[DBK_ERASED_HEADER_SIZE];
    struct dbk_file file = DBK_FILE_CLOSED;
    *erased = (struct dbk_erased){
        .header = {.book_id = *book_id, .created_us = os->now_us(os)},
        .size = DBK_ERASED_HEADER_SIZE,
    };
    dbk_erased_header_encode(&erased->header, bytes);
    erased->crc = erased->header.crc;
    int rc = os->open(os, path, DBK_OS_WRITE | DBK_OS_CREATE, &file, err);
    if (rc == DBK_OK)
        rc = os->truncate(os, &file, 0, err);
    if (rc == DBK_OK)
        rc = os->pwrite(os, &file, dbk_slice(bytes, sizeof(bytes)), 0, err);
    if (rc == DBK_OK)
        rc = os->sync(os, &file, err);
    os->close(os, &file);
    return rc;
}

static int take_header(struct dbk_slice bytes, const char *path, struct dbk_erased *erased,
                       struct dbk_error *err)
{
    uint32_t version = 0;
    int rc = dbk_erased_header_decode(bytes, &erased->header, &version);
    if (rc == DBK_EFORMAT)
        return dbk_error_set(err, rc,
                             "%s has format version %" PRIu32 ", this Daybook reads up to %d", path,
                             version, DBK_KEYS_FORMAT);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s is damaged, or no list of erased keys", path);
    erased->crc = erased->header.crc;
    erased->size = DBK_ERASED_HEADER_SIZE;
    return DBK_OK;
}

static int read_header(struct dbk_os *os, const struct dbk_file *file, const char *path,
                       struct dbk_erased *erased, struct dbk_error *err)
{
    char bytes[DBK_ERASED_HEADER_SIZE];
    size_t size = 0;
    int rc = os->pread(os, file, bytes, sizeof(bytes), 0, &size, err);
    return rc < 0 ? rc : take_header(dbk_slice(bytes, size), path, erased, err);
}

/* Takes the whole entries of some bytes; fewer than there are: what follows is not whole. */
static int take_entries(struct dbk_slice bytes, const char *path, const struct dbk_secrets *secrets,
                        struct dbk_erased *erased, struct dbk_error *err)
{
    for (size_t at = 0; at + DBK_ERASED_ENTRY_SIZE <= bytes.size; at += DBK_ERASED_ENTRY_SIZE) {
        struct dbk_erased_entry entry;
        uint8_t mac[32];
        if (dbk_erased_entry_decode(dbk_slice(bytes.data + at, DBK_ERASED_ENTRY_SIZE), erased->crc,
                                    &entry) < 0)
            return DBK_OK;
        if (secrets != NULL)
            dbk_erased_mac(secrets, &erased->header, erased->ids.count == 0 ? NULL : erased->mac,
                           &entry, mac);
        if (entry.sequence != erased->ids.count + 1 ||
            (secrets != NULL && sodium_memcmp(mac, entry.mac, sizeof(mac)) != 0))
            return dbk_error_set(err, DBK_ECORRUPT,
                                 "%s: entry %zu was altered, or is of another book's keys", path,
                                 erased->ids.count + 1);
        int rc = take(erased, &entry, err);
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

int dbk_erased_read(struct dbk_os *os, const char *path, const struct dbk_secrets *secrets,
                    struct dbk_erased *erased, bool *torn_out, struct dbk_error *err)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    uint64_t file_size = 0;
    char *bytes = NULL;
    int rc = os->open(os, path, DBK_OS_READ, &file, err);
    if (rc == DBK_OK)
        rc = os->size(os, &file, &file_size, err);
    if (rc == DBK_OK && erased->size == 0)
        rc = read_header(os, &file, path, erased, err);
    if (rc < 0)
        goto out;
    bytes = dbk_alloc(READ_SIZE);
    if (bytes == NULL)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", path);
    for (bool more = true; rc == DBK_OK && more;) {
        size_t size = 0;
        uint64_t before = erased->size;
        rc = os->pread(os, &file, bytes, READ_SIZE, erased->size, &size, err);
        if (rc == DBK_OK)
            rc = take_entries(dbk_slice(bytes, size), path, secrets, erased, err);
        more = size == READ_SIZE && erased->size - before == READ_SIZE;
    }
    *torn_out = file_size > erased->size;
out:
    os->close(os, &file);
    dbk_free(bytes);
    if (rc < 0)
        dbk_erased_release(erased);
    return rc;
}

int dbk_erased_parse(struct dbk_slice bytes, const char *path, const struct dbk_secrets *secrets,
                     const struct dbk_uuid *book_id, struct dbk_erased *erased,
                     struct dbk_error *err)
{
    int rc = take_header(bytes, path, erased, err);
    if (rc == DBK_OK && !dbk_uuid_equal(&erased->header.book_id, book_id))
        rc = dbk_error_set(err, DBK_ECONFLICT, "%s is of another book", path);
    if (rc == DBK_OK)
        rc = take_entries(
            dbk_slice(bytes.data + DBK_ERASED_HEADER_SIZE, bytes.size - DBK_ERASED_HEADER_SIZE),
            path, secrets, erased, err);
    if (rc == DBK_OK && erased->size < bytes.size)
        rc = dbk_error_set(err, DBK_ECORRUPT, "%s is damaged behind entry %zu", path,
                           erased->ids.count);
    return rc;
}

int dbk_erased_compare(const struct dbk_erased *a, const struct dbk_erased *b,
                       struct dbk_error *err)
{
    size_t both = a->ids.count < b->ids.count ? a->ids.count : b->ids.count;
    for (size_t i = 0; i < both; i++)
        if (!dbk_uuid_equal(&a->ids.items[i], &b->ids.items[i]))
            return dbk_error_set(err, DBK_ECONFLICT,
                                 "two lists of erased keys differ at entry %zu: one of them is no "
                                 "copy of this book's",
                                 i + 1);
    return DBK_OK;
}

int dbk_erased_check_covers(const struct dbk_erased *list, const char *path,
                            const struct dbk_uuid *ids, size_t count, struct dbk_error *err)
{
    for (size_t i = 0; i < count; i++) {
        char text[DBK_UUID_TEXT_SIZE];
        if (dbk_erased_has(list, &ids[i]))
            continue;
        dbk_uuid_format(&ids[i], text);
        return dbk_error_set(err, DBK_ECORRUPT,
                             "%s lacks the key %s, which the log says was erased: it is an older "
                             "copy; give the newest with --erased-list",
                             path, text);
    }
    return DBK_OK;
}

int dbk_erased_append(struct dbk_os *os, const char *path, const struct dbk_secrets *secrets,
                      const struct dbk_uuid *ids, size_t count, struct dbk_erased *erased,
                      struct dbk_error *err)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    struct dbk_buf bytes;
    struct dbk_erased_entry *entries = dbk_alloc_zero(count + 1, sizeof(*entries));
    const uint8_t *mac = erased->ids.count == 0 ? NULL : erased->mac;
    uint32_t crc = erased->crc;
    dbk_buf_init(&bytes, SIZE_MAX);
    int rc = entries == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory adding to %s", path)
                             : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        char text[DBK_ERASED_ENTRY_SIZE];
        struct dbk_erased_entry *entry = &entries[i];
        *entry = (struct dbk_erased_entry){
            .sequence = erased->ids.count + 1 + i, .at_us = os->now_us(os), .id = ids[i]};
        dbk_erased_mac(secrets, &erased->header, mac, entry, entry->mac);
        dbk_erased_entry_encode(entry, crc, text);
        dbk_buf_append(&bytes, dbk_slice(text, sizeof(text)));
        mac = entry->mac;
        crc = entry->crc;
    }
    if (rc == DBK_OK && bytes.rc < 0)
        rc = dbk_error_set(err, bytes.rc, "out of memory adding to %s", path);
    if (rc == DBK_OK)
        rc = os->open(os, path, DBK_OS_WRITE, &file, err);
    if (rc == DBK_OK)
        rc = os->pwrite(os, &file, dbk_buf_slice(&bytes), erased->size, err);
    if (rc == DBK_OK)
        rc = os->sync(os, &file, err);
    os->close(os, &file);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = take(erased, &entries[i], err);
    dbk_free(entries);
    dbk_buf_release(&bytes);
    return rc;
}
