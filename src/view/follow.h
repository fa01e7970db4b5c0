/* SPDX-License-Identifier: Apache-2.0 */
/*
 * follow -- which rows of a table have changed, for the views that stand on it.
 *
 * A followed table `t` has triggers that note each row before it changes:
 *
 *     CREATE TABLE "_daybook_changes_t" (
 *         _daybook_seq INTEGER PRIMARY KEY,   ascending; never that of an earlier row again
 *         _daybook_row INTEGER,               the row id
 *         _daybook_had INTEGER,               1: the columns hold the row as it was; 0: it was not
 *         <the table's columns>)
 *
 * Of a row's notes behind a view's cursor the first says how the row was when the view last looked;
 * how it is now stands in the table. A note too many therefore does no harm, and that is used:
 * REPLACE deletes rows without firing DELETE triggers (PRAGMA recursive_triggers is off by
 * default, for everybody who writes), so INSERT and UPDATE note beforehand what they may replace.
 *
 * A view's cursors are rows of `_daybook_cursors`, changed in the transaction that changes the
 * view. What lies behind all cursors is removed, but for the newest note, whose number must not be
 * given again: it is only emptied, so that no row that was deleted is kept in it. Notes are
 * removed from the oldest on, so that those that are there have numbers without a gap. Of a table
 * there are DBK_FOLLOW_NOTES_MAX and a thousand at most: of more a trigger removes the oldest, and
 * a view that had not taken them is filled anew.
 *
 * Threads: a connection belongs to one thread at a time.
 * Source:  docs/format/view.md; sqlite.org/lang_createtrigger.html, lang_conflict.html.
 */
#ifndef DBK_VIEW_FOLLOW_H
#define DBK_VIEW_FOLLOW_H

#include "view/delta.h"

/* What the triggers' names begin with, before the table's. */
extern const char *const dbk_follow_triggers[6];
/* What the name of a table's notes begins with. */
#define DBK_FOLLOW_LOG "_daybook_changes_"
/* How many notes of a table are kept for views that stand still. */
#define DBK_FOLLOW_NOTES_MAX "500000"

/* Makes `_daybook_cursors` where it is missing. */
int dbk_follow_catalog(struct dbk_connection *connection, struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Follows all tables of a tree for a view, inside a write transaction. On those on which it has no
 * cursor it gets one that stands before all notes (-1), so that nobody ends their following before
 * the view has its rows; by such a cursor nothing can be brought up to date.
 */
int dbk_follow_tables(struct dbk_connection *connection, const char *view,
                      const struct dbk_algebra *tree, struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Whether a table's triggers are those that its columns and unique indexes call for. Where they
 * are not, changes may have been missed, and dbk_follow_tables makes the log anew: then no view has
 * a cursor on it by which it could be brought up to date.
 */
int dbk_follow_is_current(struct dbk_connection *connection, const struct dbk_relation *table,
                          bool *current_out, struct dbk_error *err) DBK_MUST_CHECK;
/* The newest note of a table; 0: there is none. */
int dbk_follow_newest(struct dbk_connection *connection, const char *table, int64_t *seq_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* A view's cursor on a table; -1: it has none by which it could be brought up to date. */
int dbk_follow_cursor(struct dbk_connection *connection, const char *view, const char *table,
                      int64_t *seq_out, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_follow_set_cursor(struct dbk_connection *connection, const char *view, const char *table,
                          int64_t seq, struct dbk_error *err) DBK_MUST_CHECK;
/* Removes the cursors of all views that are not among these names, and what they alone needed.
   Where there is no catalog nothing is done. */
int dbk_follow_keep(struct dbk_connection *connection, const char *const *views, size_t count,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Removes a view's cursors. */
int dbk_follow_forget(struct dbk_connection *connection, const char *view,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Inside a transaction: the cursors of a generation that was built are the view's from now on, and
   those that it had go. */
int dbk_follow_take_over(struct dbk_connection *connection, const char *owner, const char *view,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* Removes those cursors of a view that stand before all notes, and those of generations that were
   being built: when a book is opened. Where there is no catalog nothing is done. */
int dbk_follow_release(struct dbk_connection *connection, const char *view,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* ---- Notes (notes.c) ---- */

/* What is known of a table's notes in one refresh. All zero at first. */
struct dbk_notes {
    int64_t cursor; /* of the view, when they were gathered; -1: it cannot be brought up to date */
    int64_t upto;   /* temp.l<n> has the notes behind the cursor up to this one */
    uint64_t rows;  /* how many rows those are of */
    bool lost;      /* some behind the cursor are gone: there were too many */
};
/*
 * Gathers in temp.l<n> the first note of each row that was noted behind the view's cursor, and not
 * yet gathered. Called in a read transaction first, where there are many, and again in the write
 * transaction, for which only those are left that came between.
 */
int dbk_notes_gather(struct dbk_delta *delta, const char *view, const struct dbk_relation *table,
                     struct dbk_notes *notes, struct dbk_error *err) DBK_MUST_CHECK;
/* Gathers none, by the same statements: for an explanation. */
int dbk_notes_none(struct dbk_delta *delta, const struct dbk_relation *table,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Fills temp.d<n> of a table with the difference that the gathered notes tell of. count_out: rows
   in it. */
int dbk_notes_difference(struct dbk_delta *delta, const struct dbk_relation *table,
                         uint64_t *count_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Removes some of a table's notes that no view needs, inside a write transaction. left_out: whether
   there may be more. */
int dbk_notes_clean(struct dbk_connection *connection, const char *table, bool *left_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Removes the notes that no view needs, in short transactions, and ends the following of tables
   that no view has a cursor on. */
int dbk_follow_clean(struct dbk_connection *connection, struct dbk_error *err) DBK_MUST_CHECK;

/* A name that is put together: prefix and table, quoted. */
void dbk_follow_name(struct dbk_buf *out, const char *prefix, const char *table);
/* A table's columns, each behind a comma and a prefix. */
void dbk_follow_columns(struct dbk_buf *out, const struct dbk_relation *table, const char *prefix);
/* The statements that end a table's following. */
void dbk_follow_end(struct dbk_buf *sql, const char *table);

#endif
