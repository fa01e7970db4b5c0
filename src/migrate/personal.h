/* SPDX-License-Identifier: Apache-2.0 */
/*
 * personal -- nothing that is personal in the old book becomes plain in the new one unasked.
 *
 * A personal field of an event is one that is sealed in the old book, or that its schema there
 * declares so. In what the event becomes it may be sealed again, changed, or missing. Where it is
 * as it was and would stand in the clear data, the event is refused, unless the script says so.
 *
 * Threads: an object belongs to one thread.
 * Source:  docs/migration.md.
 */
#ifndef DBK_MIGRATE_PERSONAL_H
#define DBK_MIGRATE_PERSONAL_H

#include "migrate/names.h"
#include "schema/schema.h"
#include "store/store.h"

struct dbk_migrate_personal;

struct dbk_migrate_personal_options {
    const struct dbk_schemas *source; /* NULL: nothing is declared; kept until free, as are all */
    const struct dbk_schemas *target;
    const struct dbk_migrate_names *plain; /* "Type.field", by the old book's names */
    bool as_written;                       /* events come in the version they were written in */
};
/* NULL when out of memory. */
struct dbk_migrate_personal *
dbk_migrate_personal_create(const struct dbk_migrate_personal_options *options) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_migrate_personal_free(struct dbk_migrate_personal *personal);

/*
 * Events without sealed fields cost nothing.
 *
 * DBK_EDENIED   the message names the field, and what to do
 * DBK_ECORRUPT  the event's sealed section makes no sense
 * and all of dbk_fields_cut
 */
int dbk_migrate_personal_check(struct dbk_migrate_personal *personal, const struct dbk_event *event,
                               const struct dbk_new_event *made, struct dbk_arena *arena,
                               struct dbk_error *err) DBK_MUST_CHECK;

#endif
