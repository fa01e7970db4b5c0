/* SPDX-License-Identifier: Apache-2.0 */
/*
 * finish -- the new book takes over from the old one.
 *
 * What streams keep and where consumer groups are is carried over in terms of the new book: rules
 * of streams that became one stream of their own, with versions counted there; groups with their
 * positions, what is open and what is parked. A group's filter is renamed as the short forms do.
 * Then MigrationSwitched is stored, and the new book takes appends.
 *
 * Threads: as migrate.h.
 */
#ifndef DBK_MIGRATE_FINISH_H
#define DBK_MIGRATE_FINISH_H

#include "group/group.h"
#include "migrate/migrate.h"

struct dbk_migration_switched {
    uint64_t groups;
    uint64_t rules;
    uint64_t rules_left; /* of streams that were split or merged: not carried over */
    char rules_left_first[DBK_STREAM_SIZE_MAX + 1]; /* such a stream */
};

/* groups: of the old book, which must have ended, and been copied to its end. As copy. */
int dbk_migration_switch(struct dbk_migration *migration, struct dbk_groups *groups,
                         struct dbk_migration_switched *switched_out,
                         struct dbk_error *err) DBK_MUST_CHECK;

#endif
