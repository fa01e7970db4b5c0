/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forgotten -- nobody who is forgotten in the old book is remembered in the new one.
 *
 * What is forgotten when an event is copied stays forgotten (its fields carry over as such), and
 * events of a tombstoned subject are not copied. What was copied before is sealed under a key of
 * the new book, which the old one's forgetting does not reach: then the migration has to begin
 * again. So it has to when something sealed was copied and then removed from the old book, because
 * only there it said whose it was.
 *
 * Threads: pure functions of the stores.
 */
#ifndef DBK_MIGRATE_FORGOTTEN_H
#define DBK_MIGRATE_FORGOTTEN_H

#include "store/store.h"

/* An event that says that somebody is forgotten. */
bool dbk_migrate_is_forgetting(const struct dbk_event *event);
/*
 * Of such an event of the old book; everything up to `position` of it is in the new one.
 *
 * DBK_EDENIED  something was copied before it was forgotten, or may have been
 * and all of dbk_cursor_next
 */
int dbk_migrate_check_forgotten(struct dbk_store *source, struct dbk_store *target,
                                const struct dbk_event *event, uint64_t position,
                                struct dbk_error *err) DBK_MUST_CHECK;

#endif
