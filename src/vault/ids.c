/* SPDX-License-Identifier: Apache-2.0 */
#include "vault/ids.h"

#include "base/bytes.h"
#include "base/memory.h"

void dbk_ids_release(struct dbk_ids *ids)
{
    dbk_free(ids->items);
    dbk_places_release(&ids->places);
    *ids = (struct dbk_ids){0};
}

bool dbk_ids_has(const struct dbk_ids *ids, const struct dbk_uuid *id)
{
    size_t at = 0;
    uint32_t index = 0;
    while (dbk_places_next(&ids->places, dbk_get_u32(id->bytes), &at, &index))
        if (dbk_uuid_equal(&ids->items[index], id))
            return true;
    return false;
}

int dbk_ids_add(struct dbk_ids *ids, const struct dbk_uuid *id)
{
    if (dbk_ids_has(ids, id))
        return DBK_OK;
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity == 0 ? 64 : ids->capacity * 2;
        struct dbk_uuid *items = dbk_realloc(ids->items, capacity * sizeof(*items));
        if (items == NULL)
            return DBK_ENOMEM;
        ids->items = items;
        ids->capacity = capacity;
    }
    int rc = dbk_places_add(&ids->places, dbk_get_u32(id->bytes), (uint32_t)ids->count);
    if (rc == DBK_OK)
        ids->items[ids->count++] = *id;
    return rc;
}
