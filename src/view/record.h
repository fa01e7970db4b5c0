/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record -- the differences of a view, kept for those who follow it.
 *
 * A refresh writes what it changed in the transaction that changes it: a row of
 * `_daybook_differences` for each row of the view that came, went, or changed, numbered without a
 * gap, and the newest number into the view's row of `_daybook_recorded`. Who has taken all up to a
 * number goes on behind it, and misses nothing and gets nothing twice.
 *
 *     _daybook_recorded                        _daybook_differences
 *     view        PRIMARY KEY                  view, seq   PRIMARY KEY
 *     epoch       of rows that come            position    that the refresh made the view fresh to
 *                                              ends        1: the last one of its refresh
 *     first, head the numbers that count       bytes       of its texts
 *     bytes       of their texts               old, new    the row as JSON; NULL: it was not there
 *     followed    when somebody last followed
 *
 *     _daybook_record_epochs
 *     view, epoch PRIMARY KEY
 *     process     that writes in it, by chance
 *     upto        rows up to this number are of it; NULL: it is the record's
 *
 * Each process that writes begins an epoch of its own: a database that is an earlier one than
 * followers have seen, because it was restored, or the machine crashed, goes on in another epoch,
 * and numbers that are given once more are not taken for those that they were.
 *
 * Rows below `first` are on their way out, rows above `head` are of a refresh that is under way or
 * failed: neither is read.
 *
 * A view is recorded when its head says so, or when it is followed: then until nobody has followed
 * it for a day. What is kept is bounded by count and bytes; a refresh that changes more than that
 * leaves nothing behind, and whoever follows begins with the rows again.
 *
 * Threads: a connection belongs to one thread at a time.
 * Source:  docs/format/view.md.
 */
#ifndef DBK_VIEW_RECORD_H
#define DBK_VIEW_RECORD_H

#include "view/view.h"

#define DBK_RECORD_EPOCH_SIZE 17 /* with its NUL */

struct dbk_record {
    char epoch[DBK_RECORD_EPOCH_SIZE]; /* empty: the view is not recorded */
    uint64_t first;
    uint64_t head;
    uint64_t bytes;
    int64_t followed_us;
};

/* Makes the tables where they are missing. */
int dbk_record_create(struct dbk_connection *connection, struct dbk_error *err) DBK_MUST_CHECK;
/* Reads a view's row; zeros where there is none. */
int dbk_record_read(struct dbk_connection *connection, const char *view,
                    struct dbk_record *record_out, struct dbk_error *err) DBK_MUST_CHECK;
/* The epoch of a row, and the last row of that epoch. */
int dbk_record_epoch_of(struct dbk_connection *connection, const char *view,
                        const struct dbk_record *record, uint64_t seq,
                        char epoch_out[DBK_RECORD_EPOCH_SIZE], uint64_t *upto_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* Whether who has everything up to a number of an epoch has a part of this record's history. */
int dbk_record_has(struct dbk_connection *connection, const char *view,
                   const struct dbk_record *record, const char *epoch, uint64_t seq, bool *has_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Somebody follows the view: it is recorded from here on. In a write transaction. */
int dbk_record_follow(struct dbk_connection *connection, const char *view, struct dbk_os *os,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* What was kept is no longer: whoever follows begins with the rows again. In a write transaction;
   the rows go with dbk_record_clean. */
int dbk_record_forget(struct dbk_connection *connection, const char *view,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Removes what was kept of all views that are not among these names; where there is nothing kept
   nothing is done. */
int dbk_record_keep(struct dbk_connection *connection, const char *const *views, size_t count,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Removes rows that do not count, in short transactions. */
int dbk_record_clean(struct dbk_connection *connection, const char *view,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* ---- What one refresh writes ---- */

struct dbk_recording {
    struct dbk_connection *connection;
    const struct dbk_view_definition *definition;
    struct dbk_os *os;
    bool renewed;             /* the epoch is this process's */
    struct dbk_record record; /* as it was when the refresh began; its epoch is empty: none */
    uint64_t position;        /* that the refresh makes the view fresh to */
    uint64_t next;            /* the number of the next row */
    uint64_t bytes;           /* of those that were written */
    bool lost;                /* it changes more than is kept */
    bool left;                /* there is something for dbk_record_clean to remove */
    struct dbk_statement *insert;
    struct dbk_buf old_row; /* that waits for its pair */
    struct dbk_buf new_row;
    int64_t pair;
    int64_t copies; /* of the row that waits; 0: none does */
};

/* Whether the view is recorded is settled, in a write transaction. */
int dbk_recording_begin(struct dbk_recording *recording, struct dbk_connection *connection,
                        const struct dbk_view_definition *definition, struct dbk_os *os,
                        struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Writes up to `limit` rows of a SELECT of pair, weight and the view's columns, in the order of
 * both: a weight below 0 is that many rows less, above 0 that many more, and of one pair a row that
 * went and one that came are a row that changed. 1: there may be more; 0: that was the end.
 */
int dbk_recording_take(struct dbk_recording *recording, struct dbk_statement *select, size_t limit,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* The transaction since `before` was taken of it was rolled back. */
void dbk_recording_undo(struct dbk_recording *recording, const struct dbk_recording *before);
/* What was written so far brings the rows from one state into another: what comes is the next
   step of the same refresh. In a write transaction. */
int dbk_recording_pause(struct dbk_recording *recording, struct dbk_error *err) DBK_MUST_CHECK;
/* Makes what was written count, in the transaction that changes the view. DBK_EBUSY: somebody began
   to follow, or ceased to, since the beginning. */
int dbk_recording_end(struct dbk_recording *recording, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_recording_release(struct dbk_recording *recording);

#endif
