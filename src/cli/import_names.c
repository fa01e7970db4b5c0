/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/import_names.h"

#include "base/hash.h"
#include "base/memory.h"

void dbk_import_names_release(struct dbk_import_names *names)
{
    dbk_free(names->slots);
    *names = (struct dbk_import_names){0};
}

/* The slot that holds the hash, or the free one where it belongs. */
static uint64_t *find(const struct dbk_import_names *names, uint64_t hash)
{
    size_t at = (size_t)hash & (names->capacity - 1);
    while (names->slots[at] != 0 && names->slots[at] != hash)
        at = (at + 1) & (names->capacity - 1);
    return &names->slots[at];
}

static int grow(struct dbk_import_names *names)
{
    struct dbk_import_names larger = {.capacity = names->capacity == 0 ? 1024 : names->capacity * 2,
                                      .count = names->count};
    larger.slots = dbk_alloc_zero(larger.capacity, sizeof(*larger.slots));
    if (larger.slots == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < names->capacity; i++)
        if (names->slots[i] != 0)
            *find(&larger, names->slots[i]) = names->slots[i];
    dbk_free(names->slots);
    *names = larger;
    return DBK_OK;
}

int dbk_import_names_add(struct dbk_import_names *names, struct dbk_slice name)
{
    static const uint8_t key[16] = "daybook streams";
    if (names->count * 4 >= names->capacity * 3 && grow(names) < 0)
        return DBK_ENOMEM;
    uint64_t hash = dbk_siphash128(key, name).low;
    hash = hash == 0 ? 1 : hash;
    uint64_t *slot = find(names, hash);
    if (*slot == 0) {
        *slot = hash;
        names->count++;
    }
    return DBK_OK;
}
