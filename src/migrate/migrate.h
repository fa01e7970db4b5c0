/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate -- copy-transform: a book is copied into a new one, and becomes another on the way.
 *
 *     old book ----> what the script makes of each event ----> new book, `$migration`
 *              read beside its writer                  one batch with how far it has got
 *
 * A batch of the new book holds what some hundreds or thousands of events became, and at its end
 * MigrationCopied, which says up to where the old book has been looked at. So a migration that was
 * killed at any moment goes on behind the last batch that is stored, and nothing is copied twice.
 * What an event becomes does not depend on where a run began (migrate/map.h).
 *
 * The order of the book, and so of each stream, stays; recorded times and ids stay; positions are
 * new, and without gaps. What is the book's own (streams that begin with `$`) is not copied: groups
 * and streams' rules are carried over when the new book takes over, in terms of its positions.
 *
 * Threads: a migration belongs to one thread.
 * Source:  docs/migration.md, docs/format/migration.md, docs/design/copy-transform.md.
 */
#ifndef DBK_MIGRATE_MIGRATE_H
#define DBK_MIGRATE_MIGRATE_H

#include "migrate/report.h"
#include "schema/schema.h"
#include "store/store.h"

struct dbk_migration;

struct dbk_migration_options {
    struct dbk_store *source;
    const char *source_folder;                /* kept in the new book, for people */
    const struct dbk_schemas *source_schemas; /* NULL: none are declared */
    struct dbk_store *target;
    const struct dbk_schemas *target_schemas;
    struct dbk_os *os;
    /* What the script is called and says; a source of NULL: the one that the new book keeps. */
    const char *script_name;
    struct dbk_slice script;
    bool changed_script;    /* goes on with another than it began with */
    size_t batch_count_max; /* of the new book */
    dbk_append_fn append;   /* its pipeline; NULL: nothing is copied */
    void *context;
    /* Told now and then: up to where of the old book, which ends there; negative ends it. */
    int (*step)(void *context, uint64_t done, uint64_t total);
    void *step_context;
};

/*
 * All of the options is kept until free.
 *
 * DBK_EDENIED    the new book holds events of its own, or another book's
 * DBK_ECONFLICT  the script is not the one that the migration began with
 * DBK_ENOTFOUND  no script was given, and none is kept
 * DBK_ELIMIT     the script is too large
 * and all of dbk_migrate_map_open
 */
int dbk_migration_open(const struct dbk_migration_options *options,
                       struct dbk_migration **migration_out, struct dbk_error *err) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_migration_free(struct dbk_migration *migration);

/*
 * Copies up to the old book's end as it is now. What was stored stays so when it fails, and the
 * next call or process goes on behind it.
 *
 * DBK_ESCRIPT, DBK_EINVAL  the script, or the new book's schema, does not take an event: the
 *                          message names it
 * DBK_EDENIED              what is personal would become plain, or was copied before it was
 *                          forgotten in the old book
 * and all of dbk_store_append and dbk_cursor_next, or what step returned
 */
int dbk_migration_copy(struct dbk_migration *migration, struct dbk_error *err) DBK_MUST_CHECK;

/* Up to where of the old book everything is in the new one; the report of it, valid until free. */
uint64_t dbk_migration_position(const struct dbk_migration *migration);
const struct dbk_report *dbk_migration_report(const struct dbk_migration *migration);

/* Where what a position of the old book held is in the new one. */
struct dbk_migrate_place {
    uint64_t up_to; /* what all up to the old position became is at or before it */
    uint64_t first; /* the first of what the event at the old position became; 0: it became none */
    uint64_t count;
};
/* In the new book alone. DBK_ENOTFOUND: the migration has not got there, or there is none. */
int dbk_migrate_place(struct dbk_store *target, uint64_t position,
                      struct dbk_migrate_place *place_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
