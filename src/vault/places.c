/* SPDX-License-Identifier: Apache-2.0 */
#include "vault/places.h"

#include "base/memory.h"

#define BITS_MIN 10

void dbk_places_release(struct dbk_places *places)
{
    dbk_free(places->entries);
    *places = (struct dbk_places){0};
}

static size_t mask_of(const struct dbk_places *places)
{
    return ((size_t)1 << places->bits) - 1;
}

static size_t home_of(const struct dbk_places *places, uint32_t hash)
{
    return (size_t)hash >> (32 - places->bits);
}

static void insert(struct dbk_places *places, uint64_t entry)
{
    size_t at = home_of(places, (uint32_t)(entry >> 32));
    while (places->entries[at] != 0)
        at = (at + 1) & mask_of(places);
    places->entries[at] = entry;
}

static int grow(struct dbk_places *places)
{
    struct dbk_places larger = {.bits = places->entries == NULL ? BITS_MIN : places->bits + 1,
                                .count = places->count};
    if (larger.bits > 32)
        return DBK_ELIMIT;
    larger.entries = dbk_alloc_zero((size_t)1 << larger.bits, sizeof(*larger.entries));
    if (larger.entries == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; places->entries != NULL && i <= mask_of(places); i++)
        if (places->entries[i] != 0)
            insert(&larger, places->entries[i]);
    dbk_free(places->entries);
    *places = larger;
    return DBK_OK;
}

int dbk_places_add(struct dbk_places *places, uint32_t hash, uint32_t slot)
{
    /* At most seven eighths are taken: 9 to 18 bytes an entry. */
    if (places->entries == NULL || (places->count + 1) * 8 > (mask_of(places) + 1) * 7) {
        int rc = grow(places);
        if (rc < 0)
            return rc;
    }
    insert(places, (uint64_t)hash << 32 | ((uint64_t)slot + 1));
    places->count++;
    return DBK_OK;
}

void dbk_places_remove(struct dbk_places *places, uint32_t hash, uint32_t slot)
{
    uint64_t entry = (uint64_t)hash << 32 | ((uint64_t)slot + 1);
    if (places->entries == NULL)
        return;
    size_t mask = mask_of(places);
    size_t at = home_of(places, hash);
    while (places->entries[at] != entry) {
        if (places->entries[at] == 0)
            return;
        at = (at + 1) & mask;
    }
    /* What follows moves up where the gap would hide it. */
    for (size_t next = (at + 1) & mask; places->entries[next] != 0; next = (next + 1) & mask) {
        size_t home = home_of(places, (uint32_t)(places->entries[next] >> 32));
        if (((next - home) & mask) < ((next - at) & mask))
            continue;
        places->entries[at] = places->entries[next];
        at = next;
    }
    places->entries[at] = 0;
    places->count--;
}

bool dbk_places_next(const struct dbk_places *places, uint32_t hash, size_t *at, uint32_t *slot_out)
{
    if (places->entries == NULL)
        return false;
    for (;; (*at)++) {
        uint64_t entry = places->entries[(home_of(places, hash) + *at) & mask_of(places)];
        if (entry == 0 || *at > mask_of(places))
            return false;
        if ((uint32_t)(entry >> 32) != hash)
            continue;
        *slot_out = (uint32_t)(entry & UINT32_MAX) - 1;
        (*at)++;
        return true;
    }
}
