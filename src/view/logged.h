/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logged -- the log, as `events`, as a source of an incremental view.
 *
 * The log only grows, so nothing notes its changes: what a view has yet to take are the events
 * behind the position that it holds, up to one that is chosen anew in each refresh, all of them
 * insertions. What cannot be told from positions is that events which a view has read already would
 * be read otherwise now: because they lost their content, because a subject was forgotten, because
 * an upcaster has changed, or because the log is another one. So beside the position a view keeps
 * what the store said of that (store/store.h), in `_daybook_log_cursors`, which changes in the
 * transaction that changes the view:
 *
 *     view TEXT PRIMARY KEY
 *     position INTEGER       events up to it are in the view
 *     book TEXT              the log's id
 *     event TEXT             the id of the event at the position; empty: there is none
 *     removed INTEGER        as struct dbk_history has them, of before the view read
 *     forgotten INTEGER
 *     upcasts TEXT           in hexadecimal
 *
 * Where any of it differs the view is filled anew.
 *
 * Threads: a connection belongs to one thread at a time.
 * Source:  docs/format/view.md.
 */
#ifndef DBK_VIEW_LOGGED_H
#define DBK_VIEW_LOGGED_H

#include "view/delta.h"
#include "view/refresh.h"

struct dbk_logged {
    uint64_t position;
    uint64_t removed;
    uint64_t forgotten;
    char book[DBK_UUID_TEXT_SIZE];
    char event[DBK_UUID_TEXT_SIZE];
    char upcasts[2 * DBK_SHA256_SIZE + 1];
    bool found; /* there is such a row */
};

/* True when a tree reads the log. */
bool dbk_logged_reads(const struct dbk_algebra *tree);
/* Makes the catalog where it is missing. */
int dbk_logged_catalog(struct dbk_connection *connection, struct dbk_error *err) DBK_MUST_CHECK;
/* `events` in a view's session, with nothing left out that is there. */
int dbk_logged_attach(struct dbk_connection *connection, struct dbk_store *store,
                      struct dbk_error *err) DBK_MUST_CHECK;

/* What the store says before a view reads it. */
void dbk_logged_take(struct dbk_store *store, struct dbk_logged *logged_out);
/* Pins `events` in a transaction in which the sources stand still: where the one stands that is
   furthest back, or at the end of the log. Fills position and event. */
int dbk_logged_pin(struct dbk_connection *connection, const struct dbk_view_refresh *refresh,
                   struct dbk_logged *logged, struct dbk_error *err) DBK_MUST_CHECK;
/* A view's row; `found` says whether there is one. */
int dbk_logged_read(struct dbk_connection *connection, const char *view,
                    struct dbk_logged *logged_out, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_logged_write(struct dbk_connection *connection, const char *view,
                     const struct dbk_logged *logged, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_logged_forget(struct dbk_connection *connection, const char *view,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Inside a transaction: the row of a generation that was built is the view's from now on. */
int dbk_logged_take_over(struct dbk_connection *connection, const char *owner, const char *view,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* Removes the rows of all views that are not among these names; where there is no catalog nothing
   is done. */
int dbk_logged_keep(struct dbk_connection *connection, const char *const *views, size_t count,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Why what a view has of the log is not what the log would give it now; empty: it is. */
int dbk_logged_differs(struct dbk_store *store, const struct dbk_logged *stored,
                       const struct dbk_logged *now, char *reason, size_t size,
                       struct dbk_error *err) DBK_MUST_CHECK;

/* Adds to temp.d<n> of a place that reads the log what is behind a position, up to another, of
   those events that it reads. count_out: rows. */
int dbk_logged_gather(struct dbk_delta *delta, const struct dbk_relation *log, uint64_t after,
                      uint64_t upto, uint64_t *count_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
