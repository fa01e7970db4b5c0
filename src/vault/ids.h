/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ids -- a set of key ids, in the order they came.
 *
 * Threads: its owner locks.
 */
#ifndef DBK_VAULT_IDS_H
#define DBK_VAULT_IDS_H

#include "base/uuid.h"
#include "vault/places.h"

struct dbk_ids {
    struct dbk_uuid *items;
    size_t count;
    size_t capacity;
    struct dbk_places places;
};
void dbk_ids_release(struct dbk_ids *ids);
bool dbk_ids_has(const struct dbk_ids *ids, const struct dbk_uuid *id);
/* DBK_ENOMEM. One that is there is left alone. */
int dbk_ids_add(struct dbk_ids *ids, const struct dbk_uuid *id) DBK_MUST_CHECK;

#endif
