/* SPDX-License-Identifier: Apache-2.0 */
/*
 * changes -- following a view: its rows, then what each refresh changes of them.
 *
 *     dbk_views_follow  ->  SNAPSHOT …  FRESH  ->  INSERT, DELETE, UPDATE …  FRESH  ->  …
 *                           └─ only without a token ─┘
 *
 * A token says up to where a follower has everything; with that of the last change it saw it goes
 * on behind it, and gets none twice and misses none. The rows of a snapshot have none: who is
 * interrupted in it begins again. FRESH says that all changes up to its position have been given:
 * behind those of each refresh, and, at most once a second, when the view got further without any.
 *
 * Following a view has it recorded (view/record.h), which only the process that writes can begin.
 *
 * Threads: a follower belongs to one thread; it ends before its views do.
 */
#ifndef DBK_VIEW_CHANGES_H
#define DBK_VIEW_CHANGES_H

#include "view/view.h"

#define DBK_CHANGES_TOKEN_SIZE 40 /* with its NUL */
#define DBK_CHANGES_EPOCH_SIZE 17 /* likewise, of a token's first part */

enum dbk_view_change_kind {
    DBK_VIEW_CHANGE_SNAPSHOT,
    DBK_VIEW_CHANGE_INSERT,
    DBK_VIEW_CHANGE_DELETE,
    DBK_VIEW_CHANGE_UPDATE,
    DBK_VIEW_CHANGE_FRESH,
};
/* "snapshot", … */
const char *dbk_view_change_text(enum dbk_view_change_kind kind);

/* Valid until the next call. */
struct dbk_view_change {
    enum dbk_view_change_kind kind;
    uint64_t position;        /* that the view was fresh to with it */
    int64_t as_of_us;         /* of FRESH: when; DBK_TIME_NONE: not known of this position */
    const char *token;        /* everything up to it has been given; NULL: of a snapshot's rows */
    struct dbk_slice old_row; /* JSON objects; empty: there was none, or is none */
    struct dbk_slice new_row;
};

/* "<16 hexadecimal digits>.<number>"; false: it is no token. */
bool dbk_changes_parse_token(struct dbk_slice text, char epoch_out[DBK_CHANGES_EPOCH_SIZE],
                             uint64_t *number_out);

struct dbk_follower;

/*
 * Begins to follow. after: a token; "now": with what comes next; empty: with the rows. writer: this
 * process may begin to record the view.
 *
 * DBK_ENOTFOUND  there is no such view, or it has not been refreshed yet
 * DBK_EINVAL     that is no token
 * DBK_EGONE      the changes behind the token are no longer kept: begin with the rows
 * DBK_EREFUSED   the view is not recorded, and this process only reads; or it lies where it cannot
 *                be followed
 */
int dbk_views_follow(struct dbk_views *views, const char *name, struct dbk_slice after, bool writer,
                     struct dbk_follower **follower_out, struct dbk_error *err) DBK_MUST_CHECK;
/* 1: a change; 0: there is none now. DBK_EGONE: it came too late, or the record was begun anew. */
int dbk_follower_next(struct dbk_follower *follower, struct dbk_view_change *change_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Waits until there may be more, for as long at most. */
void dbk_follower_wait(struct dbk_follower *follower, int64_t timeout_us);
/* NULL is fine. */
void dbk_follower_free(struct dbk_follower *follower);

/* What is kept for who follows the views is no longer: it may hold what was forgotten since. */
int dbk_views_forget_changes(struct dbk_views *views, const char *name,
                             struct dbk_error *err) DBK_MUST_CHECK;

#endif
