/* SPDX-License-Identifier: Apache-2.0 */
/*
 * portable -- what of a book would not run unchanged on the other SQL target.
 *
 * Models, queries and views in SQLite are tried as PostgreSQL would take them, and those in
 * PostgreSQL as SQLite would: each is prepared or parsed by the other's own means, and a scan of
 * its words finds what both would take and mean otherwise, or what only a server with the tables
 * would refuse. What is in Cypher or MongoDB's commands is not looked at.
 *
 * Threads: a pure function of the book and its files.
 * Source:  sqlite.org/lang.html; PostgreSQL's manual 15, chapters 4, 8 and 9.
 */
#ifndef DBK_BOOK_PORTABLE_H
#define DBK_BOOK_PORTABLE_H

#include "book/book.h"

/* One text as it stands in a file, from a line of it on. */
struct dbk_portable_text {
    const char *file;
    struct dbk_slice text;
    unsigned line;            /* where the text begins in the file, from 1 */
    enum dbk_dialect dialect; /* what it is written for */
    bool schema;              /* names of types count */
    bool query;               /* it may read the log */
};
/* Finds words. DBK_ENOMEM only. */
int dbk_portable_words(const struct dbk_portable_text *portable, struct dbk_diagnostics *faults,
                       struct dbk_error *err) DBK_MUST_CHECK;

#endif
