/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refresh -- one full refresh of one view.
 *
 *     read connection                       write connection
 *     BEGIN, positions, SELECT … (a snapshot)
 *       rows, some at a time          -->   BEGIN IMMEDIATE, INSERT …, COMMIT   (again and again)
 *     end                                   BEGIN IMMEDIATE, swap the plain view, row, COMMIT
 *                                           DELETE some rows of the old generation … , DROP it
 *
 * The SELECT is never stepped while the write lock is held, so that the lock is held for a few
 * milliseconds however long the SELECT thinks.
 *
 * Threads: one refresh of a view at a time.
 */
#ifndef DBK_VIEW_REFRESH_H
#define DBK_VIEW_REFRESH_H

#include "view/catalog.h"
#include "view/view.h"

struct dbk_view_source {
    const char *const *models; /* models it reads */
    size_t model_count;
    const char *const *views; /* views it reads */
    size_t view_count;
};

struct dbk_view_refresh {
    const struct dbk_view_definition *definition;
    const struct dbk_view_source *source;
    const char *fingerprint;
    struct dbk_store *store;
    struct dbk_os *os;
    dbk_progress_fn progress; /* may be NULL */
    void *context;
};

/* Refreshes; on failure the old result stays and what was begun is removed. */
int dbk_view_refresh_run(const struct dbk_view_refresh *refresh,
                         struct dbk_error *err) DBK_MUST_CHECK;

/* Removes generations of a view other than the one its row names, bit by bit. */
int dbk_view_refresh_clean(struct dbk_connection *connection, const char *name, uint64_t generation,
                           struct dbk_error *err) DBK_MUST_CHECK;

/* The view's SELECT in its file, without the head and the semicolon. */
struct dbk_slice dbk_view_select(const struct dbk_view_definition *definition);

#endif
