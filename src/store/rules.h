/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules -- what a stream keeps of its events.
 *
 * A stream's rules are the newest event of "$stream-<its name>". Most streams have none, and a book
 * that never had any looks nothing up.
 *
 * Threads: as store.h; those that say so under the store's lock.
 */
#ifndef DBK_STORE_RULES_H
#define DBK_STORE_RULES_H

#include "store/state.h"

/* "$stream-" and a name; larger than a stream's name may be, as the caller has checked. */
#define DBK_RULES_PREFIX "$stream-"
#define DBK_RULES_NAME_SIZE (DBK_STREAM_SIZE_MAX + sizeof(DBK_RULES_PREFIX))

/* Whether there are rules in the book at all; found out at open and when a reader refreshes. */
int dbk_rules_look(struct dbk_store *store, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * A stream's rules up to a readable position; all 0 when there are none.
 * DBK_EBUSY  under the lock: the newest are accepted and not yet readable; *position_out is theirs
 */
int dbk_rules_find(struct dbk_store *store, struct dbk_slice stream, uint64_t position_max,
                   struct dbk_stream_rules *rules_out, uint64_t *position_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* What a stream shows: versions from *version_out, events recorded at or after *time_us_out (0:
   any). */
int dbk_rules_bounds(struct dbk_store *store, struct dbk_slice stream, uint64_t *version_out,
                     int64_t *time_us_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
