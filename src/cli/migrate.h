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
#include "migrate/verify.h"

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
 * look: the new one for reading, too. script: a file, NULL: what the new book keeps. Ends with
 * dbk_migrating_release, also when it fails.
 */
int dbk_migrating_open(const struct dbk_arguments *arguments, bool look, const char *script,
                       bool changed_script, struct dbk_migrating *migrating,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* The new book alone. */
int dbk_migrating_open_target(const struct dbk_arguments *arguments, enum dbk_engine_mode mode,
                              struct dbk_migrating *migrating,
                              struct dbk_error *err) DBK_MUST_CHECK;
void dbk_migrating_release(struct dbk_migrating *migrating);
/* Copies up to the end, with progress; follow: goes on until it is interrupted. */
int dbk_migrating_copy(struct dbk_migrating *migrating, bool follow,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* Compares both books, with progress; differences as dbk_migration_verify. */
int dbk_migrating_verify(struct dbk_migrating *migrating, uint64_t after, uint64_t sample,
                         struct dbk_migrate_verified *verified_out, struct dbk_buf *differences,
                         struct dbk_error *err) DBK_MUST_CHECK;
void dbk_migrating_put_verified(struct dbk_buf *out, const struct dbk_migrating *migrating,
                                const struct dbk_migrate_verified *verified,
                                const struct dbk_buf *differences);

#endif
