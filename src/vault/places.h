/* SPDX-License-Identifier: Apache-2.0 */
/*
 * places -- which slots may hold a name or a key id: 8 bytes an entry, nothing secret.
 *
 * An open-addressed table of a hash's first 32 bits and a slot's index. It says where to look;
 * whether the slot is the right one its bytes say.
 *
 * Threads: its owner locks.
 */
#ifndef DBK_VAULT_PLACES_H
#define DBK_VAULT_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct dbk_places {
    uint64_t *entries; /* hash << 32 | slot + 1; 0: empty */
    unsigned bits;     /* 2^bits entries */
    size_t count;
};

void dbk_places_release(struct dbk_places *places);
/* DBK_ENOMEM: nothing changed. */
int dbk_places_add(struct dbk_places *places, uint32_t hash, uint32_t slot) DBK_MUST_CHECK;
void dbk_places_remove(struct dbk_places *places, uint32_t hash, uint32_t slot);
/* Goes through the slots of a hash: at begins as 0. False: there is no further one. */
bool dbk_places_next(const struct dbk_places *places, uint32_t hash, size_t *at,
                     uint32_t *slot_out);

#endif
