/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys_fuzz -- the vault's files: what decodes encodes to the same bytes again. Each input is also
 * tried with its checksum mended, as each of the parts that files are made of.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "vault/format.h"

#define INPUT_SIZE_MAX 256

static void expect(const char *again, struct dbk_slice bytes, size_t size)
{
    if (bytes.size < size || memcmp(again, bytes.data, size) != 0)
        abort();
}

static void check_headers(struct dbk_slice bytes)
{
    char again[INPUT_SIZE_MAX];
    uint32_t version = 0;
    struct dbk_epoch_file epoch;
    struct dbk_table_header table;
    struct dbk_erased_header erased;
    struct dbk_mark mark;
    struct dbk_keys_backup_header backup;
    if (dbk_epoch_decode(bytes, &epoch, &version) == DBK_OK) {
        dbk_epoch_encode(&epoch, again);
        expect(again, bytes, DBK_EPOCH_SIZE);
    }
    if (dbk_table_decode(bytes, &table, &version) == DBK_OK) {
        dbk_table_encode(&table, again);
        expect(again, bytes, DBK_TABLE_HEADER_SIZE);
    }
    if (dbk_erased_header_decode(bytes, &erased, &version) == DBK_OK) {
        dbk_erased_header_encode(&erased, again);
        expect(again, bytes, DBK_ERASED_HEADER_SIZE);
    }
    if (dbk_keys_backup_decode(bytes, &backup, &version) == DBK_OK) {
        dbk_keys_backup_encode(&backup, again);
        expect(again, bytes, DBK_KEYS_BACKUP_HEADER_SIZE);
    }
    if (dbk_mark_decode(bytes, &mark) == DBK_OK) {
        dbk_mark_encode(&mark, again);
        struct dbk_mark back = dbk_mark_peek(again);
        if (back.epoch != mark.epoch || back.changes != mark.changes)
            abort();
    }
}

static void check_parts(struct dbk_slice bytes)
{
    char again[INPUT_SIZE_MAX];
    struct dbk_table_counter counter;
    struct dbk_slot slot;
    struct dbk_erased_entry entry;
    if (dbk_table_counter_decode(bytes, &counter) == DBK_OK) {
        dbk_table_counter_encode(&counter, again);
        expect(again, bytes, DBK_TABLE_COUNTER_SIZE);
    }
    if (dbk_slot_decode(bytes, 0, &slot) == DBK_OK) {
        dbk_slot_encode(&slot, 0, again);
        expect(again, bytes, DBK_SLOT_SIZE);
    }
    if (dbk_erased_entry_decode(bytes, 0, &entry) == DBK_OK) {
        dbk_erased_entry_encode(&entry, 0, again);
        expect(again, bytes, DBK_ERASED_ENTRY_SIZE);
    }
}

static void check(struct dbk_slice bytes)
{
    check_headers(bytes);
    check_parts(bytes);
}

/* The checksum of a header of this size. */
static void mend_header(char *bytes, size_t size)
{
    uint32_t front = dbk_crc32c(0, dbk_slice(bytes, 12));
    dbk_put_u32(bytes + 12, dbk_crc32c(front, dbk_slice(bytes + 16, size - 16)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t headers[] = {DBK_EPOCH_SIZE, DBK_TABLE_HEADER_SIZE, DBK_ERASED_HEADER_SIZE,
                                     DBK_KEYS_BACKUP_HEADER_SIZE};
    char mended[INPUT_SIZE_MAX];
    if (size > sizeof(mended))
        return 0;
    check(dbk_slice(data, size));
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        if (size < headers[i])
            continue;
        memcpy(mended, data, size);
        mend_header(mended, headers[i]);
        check(dbk_slice(mended, size));
    }
    if (size >= DBK_SLOT_SIZE) {
        memcpy(mended, data, size);
        uint32_t number = dbk_crc32c(0, DBK_SLICE_LITERAL("\0\0\0\0\0\0\0\0"));
        dbk_put_u32(mended, dbk_crc32c(number, dbk_slice(mended + 4, DBK_SLOT_SIZE - 4)));
        check(dbk_slice(mended, size));
    }
    if (size >= DBK_ERASED_ENTRY_SIZE) {
        memcpy(mended, data, size);
        dbk_put_u32(mended + 64, dbk_crc32c(0, dbk_slice(mended, 64)));
        dbk_put_u32(mended + 24, dbk_crc32c(1, dbk_slice(mended, 24)));
        check(dbk_slice(mended, size));
    }
    return 0;
}
