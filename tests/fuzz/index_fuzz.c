/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index_fuzz -- bytes that decode as a run of an index can be walked, looked up in and asked for
 * places and zones without leaving them; entries that a walk gives are also found.
 *
 * Nearly all mutations die at a checksum, so each input is also tried with the checksums mended.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "index/run.h"

/* Where header and footer have their checksums, as index/run.h and docs/format/index.md say. */
#define HEADER_CRC 12
#define FOOTER_BODY_CRC 56
#define FOOTER_CRC 60
#define POSTINGS 8

static void check_find(const struct dbk_run *run, const struct dbk_run_entry *entry)
{
    struct dbk_posting postings[POSTINGS];
    struct dbk_index_range range = {
        .rank_min = 0, .rank_max = UINT64_MAX, .position_max = UINT64_MAX};
    for (int backwards = 0; backwards < 2; backwards++) {
        size_t count = 0;
        range.backwards = backwards == 1;
        if (dbk_run_find(run, entry->key, &range, postings, POSTINGS, &count) < 0)
            continue;
        if (count > POSTINGS)
            abort();
        for (size_t i = 0; i < count; i++) {
            if (postings[i].position < run->first || postings[i].position > run->last)
                abort();
        }
    }
}

static void check(struct dbk_slice bytes)
{
    static const struct dbk_uuid book = {.bytes = "book-of-a-fuzzer"};
    struct dbk_run run;
    struct dbk_run_walk walk;
    if (dbk_run_decode(bytes, &book, &run, NULL) < 0)
        return;
    dbk_run_walk_init(&walk, &run);
    while (dbk_run_walk_next(&walk) > 0) {
        if (walk.entry.position < run.first || walk.entry.position > run.last)
            abort();
        check_find(&run, &walk.entry);
    }
    for (uint64_t position = run.first; position <= run.last; position++)
        (void)dbk_run_place(&run, position);
    for (uint64_t zone = 0; zone < run.counts.zones; zone++)
        (void)dbk_run_zone_at(&run, zone);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(dbk_slice(data, size));
    if (size < DBK_RUN_HEADER_SIZE + DBK_RUN_FOOTER_SIZE)
        return 0;
    uint8_t *mended = malloc(size);
    if (mended == NULL)
        abort();
    memcpy(mended, data, size);
    uint8_t *footer = mended + size - DBK_RUN_FOOTER_SIZE;
    dbk_put_u32(mended + HEADER_CRC,
                dbk_crc32c(dbk_get_u32(mended + 8), dbk_slice(mended + 16, 48)));
    dbk_put_u32(footer + FOOTER_BODY_CRC,
                dbk_crc32c(0, dbk_slice(mended + DBK_RUN_HEADER_SIZE,
                                        size - DBK_RUN_HEADER_SIZE - DBK_RUN_FOOTER_SIZE)));
    dbk_put_u32(footer + FOOTER_CRC, dbk_crc32c(0, dbk_slice(footer, FOOTER_CRC)));
    check(dbk_slice(mended, size));
    free(mended);
    return 0;
}
