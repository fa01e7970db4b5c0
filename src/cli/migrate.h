/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate -- what the commands share that work on an old book and a new one.
 *
 * Threads: the main thread.
 */
#ifndef DBK_CLI_MIGRATE_H
#define DBK_CLI_MIGRATE_H

#include "cli/link.h"
#include "cli/progress.h"

struct dbk_migrating {
    const struct dbk_arguments *arguments;
    struct dbk_engine *source;
    struct dbk_engine *target;
    struct dbk_migration *migration;
    struct dbk_buf script;
    struct dbk_progress progress; /* begun by whoever shows it */
};

/*
 * Opens the old book (--book) for reading and the new one (--to), and the migration between them.
 * look: the new one for reading, too. Ends with dbk_migrating_release, also when it fails.
 */
int dbk_migrating_open(const struct dbk_arguments *arguments, bool look,
                       struct dbk_migrating *migrating, struct dbk_error *err) DBK_MUST_CHECK;
/* The new book alone. */
int dbk_migrating_open_target(const struct dbk_arguments *arguments, enum dbk_engine_mode mode,
                              struct dbk_migrating *migrating,
                              struct dbk_error *err) DBK_MUST_CHECK;
void dbk_migrating_release(struct dbk_migrating *migrating);
/* Shows an object as -o asks. */
int dbk_migrating_show(const struct dbk_arguments *arguments, struct dbk_buf *text,
                       struct dbk_error *err) DBK_MUST_CHECK;

#endif
