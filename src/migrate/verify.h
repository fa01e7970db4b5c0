/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify -- whether the new book is what the script makes of the old one.
 *
 * Both books are read side by side. Each event of the old one is mapped again, by a script opened
 * anew, and compared with what the new one holds there: stream, type, data, tags, meta, times, id.
 * What the report said is counted again. Versions of the new book's streams must add up. And each
 * old stream that became one stream of its own is folded in both books: the states must be the
 * same, or what the script's `states` says.
 *
 * Threads: a verification belongs to one thread.
 */
#ifndef DBK_MIGRATE_VERIFY_H
#define DBK_MIGRATE_VERIFY_H

#include "fold/fold.h"
#include "migrate/migrate.h"

/* So many differences are described; the others are counted. */
#define DBK_MIGRATE_DIFFERENCES_MAX 100

struct dbk_migrate_verification {
    struct dbk_folds *source_folds; /* NULL: no states are compared */
    struct dbk_folds *target_folds;
    uint64_t sample; /* of how many streams, spread evenly; 0: of all */
    uint64_t after;  /* only what is behind this position of the old book; then nothing is counted
                        again, and no states are compared */
};

struct dbk_migrate_verified {
    uint64_t position; /* of the old book, up to which it was compared */
    uint64_t old_events;
    uint64_t new_events;
    uint64_t removed_since; /* of those: came of events that the old book has removed since */
    uint64_t old_streams;   /* that begin in it */
    uint64_t new_streams;
    uint64_t states_compared;
    uint64_t states_equal;
    uint64_t states_without_fold; /* not compared, because: a category has no fold */
    uint64_t states_split;        /* the stream became several */
    uint64_t states_merged;       /* or one that holds others, too */
    uint64_t states_dropped;      /* or nothing of it was copied */
    uint64_t states_skipped;      /* `states` did not answer */
    uint64_t states_kept_less;    /* the old stream's rules keep not all of it */
    uint64_t differences;
};

/*
 * differences  gets JSON objects with commas between them
 *
 * DBK_OK also with differences. Negative: it could not be done.
 */
int dbk_migration_verify(struct dbk_migration *migration,
                         const struct dbk_migrate_verification *options,
                         struct dbk_migrate_verified *verified_out, struct dbk_buf *differences,
                         struct dbk_error *err) DBK_MUST_CHECK;

#endif
