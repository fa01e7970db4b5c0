/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zone_fuzz -- any bytes are refused or are a zone, in which clocks are never further from UTC than
 * they may be, and the first moment of a local time is the first of those that show it or a later.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "base/zone.h"

static void check_time(const struct dbk_zone *zone, int64_t local_s)
{
    int64_t first = dbk_zone_first(zone, local_s);
    int64_t shown = first + dbk_zone_offset(zone, first);
    int64_t before = first - 1 + dbk_zone_offset(zone, first - 1);
    if (shown < local_s || before >= local_s)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_arena arena;
    const struct dbk_zone *zone = NULL;
    dbk_arena_init(&arena, (size_t)4 << 20);
    if (dbk_zone_parse(dbk_slice(data, size), &arena, &zone) == DBK_OK) {
        for (int64_t day = -40000; day < 60000; day += 613) {
            int64_t offset = dbk_zone_offset(zone, day * 86400);
            if (offset > DBK_ZONE_OFFSET_MAX || offset < -DBK_ZONE_OFFSET_MAX)
                abort();
            check_time(zone, day * 86400 + 9000);
        }
    }
    dbk_arena_release(&arena);
    return 0;
}
