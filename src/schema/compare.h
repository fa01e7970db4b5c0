/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare -- whether whatever fits one version fits another.
 *
 * An answer of yes is proven. Not everything that is so can be proven: a no then names the keyword
 * that the proof failed at. Backward: what fits the older fits the newer; forward: the other way
 * round; full: both.
 *
 * Threads: pure function.
 */
#ifndef DBK_SCHEMA_COMPARE_H
#define DBK_SCHEMA_COMPARE_H

#include "schema/schema.h"

/* Past so many breaks a comparison only counts. */
#define DBK_SCHEMA_BREAKS_MAX 200

struct dbk_schema_break {
    const char *path;       /* in the data: "$.lines[].price" */
    struct dbk_slice field; /* the last name on the path, or the one that is missing; empty: none */
    const char *keyword;    /* of the version that more is asked of */
    const char *what;       /* "needs at least 1, which version 1 does not ask" */
};

/*
 * Everything is in the arena.
 *
 * 1: all that fits `from` fits `to`; 0: not so, or not proven: the breaks say where;
 * DBK_ENOMEM
 */
int dbk_schema_covers(const struct dbk_schema *from, const struct dbk_schema *to,
                      struct dbk_arena *arena, const struct dbk_schema_break **breaks_out,
                      size_t *count_out) DBK_MUST_CHECK;

#endif
