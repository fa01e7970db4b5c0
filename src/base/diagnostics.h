/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diagnostics -- faults of a book's files, collected so that one run reports them all.
 *
 * Each is shown as `file:line:column: what, why it matters, what to do`.
 *
 * Threads: a list belongs to one thread at a time.
 */
#ifndef DBK_BASE_DIAGNOSTICS_H
#define DBK_BASE_DIAGNOSTICS_H

#include <stdbool.h>

#include "base/memory.h"

/* Past so many a list only counts; nobody reads the thousandth. */
#define DBK_DIAGNOSTICS_MAX 1000

struct dbk_diagnostic {
    const char *file; /* path as the user would type it, from the book's folder; in the arena */
    unsigned line;    /* from 1; 0 when the fault is the whole file's */
    unsigned column;  /* from 1, in characters; 0 with line 0 */
    bool warning;     /* true: the book works, but look at it */
    const char *what; /* the fault; in the arena */
    const char *why;  /* why it matters; in the arena, may be empty */
    const char *fix;  /* what to do; in the arena, may be empty */
};

struct dbk_diagnostics {
    struct dbk_arena arena;
    struct dbk_diagnostic *items; /* `count` of them, in order of report */
    size_t count;
    size_t capacity;
    size_t error_count; /* all that were reported, also past the maximum; warnings not counted */
};

void dbk_diagnostics_init(struct dbk_diagnostics *list);
void dbk_diagnostics_release(struct dbk_diagnostics *list);

/* Adds a copy of the item. DBK_ENOMEM: it was not added, but it is counted. */
int dbk_diagnostics_add(struct dbk_diagnostics *list, const struct dbk_diagnostic *item);

/* Sorts by file, line and column. */
void dbk_diagnostics_sort(struct dbk_diagnostics *list);

/* Finds the line and column, from 1, of a byte offset in a text; columns count characters. */
void dbk_text_place(struct dbk_slice text, size_t offset, unsigned *line_out, unsigned *column_out);

/*
 * The candidate closest to a name by edit distance (insert, delete, replace, swap of neighbours),
 * NULL when none is within 2, or within 1 for names under 4 characters. Candidates are names really
 * in scope, so that a suggestion is never a guess.
 */
const char *dbk_closest_name(const char *name, const char *const *candidates, size_t count);

#endif
