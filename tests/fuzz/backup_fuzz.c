/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup_fuzz -- a backup's manifest: what decodes encodes to the same bytes again. Each input is
 * also tried with its checksum mended.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "log/backup.h"

#define INPUT_SIZE_MAX 4096

static void check(struct dbk_slice bytes)
{
    struct dbk_backup_manifest manifest;
    struct dbk_backup_entry entries[INPUT_SIZE_MAX / DBK_BACKUP_ENTRY_SIZE];
    struct dbk_buf again;
    uint32_t version = 0;
    if (dbk_backup_manifest_decode(bytes, &manifest, &version) < 0)
        return;
    for (uint64_t i = 0; i < manifest.count; i++)
        entries[i] = dbk_backup_entry_at(&manifest, i);
    dbk_buf_init(&again, SIZE_MAX);
    dbk_backup_manifest_encode(&manifest, entries, &again);
    if (again.rc == DBK_OK &&
        (again.size != bytes.size || memcmp(again.data, bytes.data, bytes.size) != 0))
        abort();
    dbk_buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char mended[INPUT_SIZE_MAX];
    if (size > sizeof(mended))
        return 0;
    check(dbk_slice(data, size));
    if (size < DBK_BACKUP_HEADER_SIZE)
        return 0;
    memcpy(mended, data, size);
    dbk_put_u32(mended + 12, dbk_crc32c(DBK_BACKUP_FORMAT, dbk_slice(mended + 16, size - 16)));
    check(dbk_slice(mended, size));
    return 0;
}
