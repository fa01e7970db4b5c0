/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot_fuzz -- bytes that decode as a snapshot are encoded to the same bytes again; each input
 * is also tried with its checksum mended.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "fold/snapshot.h"

static void check(struct dbk_slice bytes)
{
    struct dbk_snapshot snapshot;
    struct dbk_buf again;
    if (dbk_snapshot_decode(bytes, &snapshot) < 0)
        return;
    dbk_buf_init(&again, SIZE_MAX);
    dbk_snapshot_encode(&snapshot, &again);
    if (again.rc < 0 || again.size != bytes.size)
        abort();
    if (memcmp(again.data, bytes.data, bytes.size) != 0)
        abort();
    dbk_buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(dbk_slice(data, size));
    if (size < DBK_SNAPSHOT_HEADER_SIZE)
        return 0;
    uint8_t *mended = malloc(size);
    if (mended == NULL)
        abort();
    memcpy(mended, data, size);
    dbk_put_u32(mended + 12,
                dbk_crc32c(dbk_get_u32(mended + 8), dbk_slice(mended + 16, size - 16)));
    check(dbk_slice(mended, size));
    free(mended);
    return 0;
}
