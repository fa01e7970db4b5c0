/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept -- a view's generations: the one that serves, what is being built beside it, and what a
 * changed file or a rollback has taken the place of.
 *
 *     CREATE TABLE _daybook_view_generations (
 *         view TEXT NOT NULL, generation BIGINT NOT NULL,
 *         state TEXT NOT NULL,        'building', 'serving', 'kept' or 'undone'
 *         stored BIGINT NOT NULL,     1: its tables are there
 *         fingerprint TEXT NOT NULL,  of the file that made it
 *         definition TEXT NOT NULL,   that file
 *         shown TEXT,                 the SELECT of the plain view; NULL while it is being built
 *         position, as_of, rows, duration, replaced BIGINT NOT NULL,  while it does not serve
 *         PRIMARY KEY (view, generation))
 *
 *     building --(swap)--> serving --(another SELECT is swapped in)--> kept --+
 *                             |  ^                                            |
 *                  (rollback) v  +------------------(rollback)----------------+
 *                           undone                                            |
 *                             +----------(its time is over: its tables go)----+--> gone
 *
 * A generation's number is given once, with a row that says 'building', so that nobody takes its
 * tables for what a crash left behind. What a crash left behind says 'building' when the book is
 * opened next, and goes then.
 *
 * Of a view one generation is kept beside the one that serves: of the SELECT before, as it was when
 * it was replaced. One that was undone also says, as long as the file is the one that made it, that
 * the view is kept by the definition that serves, not by the file; so its row outlives its tables.
 *
 * Threads: a connection belongs to one thread at a time.
 * Source:  docs/format/view.md.
 */
#ifndef DBK_VIEW_KEPT_H
#define DBK_VIEW_KEPT_H

#include "view/catalog.h"

/* The generation beside the one that serves. */
struct dbk_kept {
    uint64_t generation; /* 0: there is none */
    bool stored;         /* its tables are there */
    bool undone;         /* by a rollback; else a changed file took its place */
    char fingerprint[DBK_VIEW_FINGERPRINT_SIZE];
    uint64_t position; /* as it was when it was replaced */
    int64_t as_of_us;
    uint64_t rows;
    int64_t duration_us; /* of its last refresh */
    int64_t replaced_us;
};

/* Makes the table where it is missing, and columns that an earlier version has not made. */
int dbk_kept_catalog(struct dbk_connection *connection, struct dbk_error *err) DBK_MUST_CHECK;
/* Gives a generation that is to be built its number, inside a transaction. */
int dbk_kept_add(struct dbk_connection *connection, const struct dbk_view_definition *definition,
                 const char *fingerprint, uint64_t *number_out,
                 struct dbk_error *err) DBK_MUST_CHECK;
/* The same in a transaction of its own. */
int dbk_kept_begin(struct dbk_connection *connection, const struct dbk_view_definition *definition,
                   const char *fingerprint, uint64_t *number_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* It was given up: what is stored of it may be removed. */
int dbk_kept_give_up(struct dbk_connection *connection, const char *name, uint64_t number,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* As dbk_kept_give_up, of all that are being built: when a book is opened. */
int dbk_kept_give_up_all(struct dbk_connection *connection, const char *name,
                         struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Inside a transaction: the generation that was built serves, and its row is the view's row. The
 * one before it, old, is kept where its SELECT was another and the head lets it.
 * shown: the SELECT of the plain view, which the caller makes.
 */
int dbk_kept_serve(struct dbk_connection *connection, const struct dbk_view_definition *definition,
                   const struct dbk_view_row *old, const struct dbk_view_row *row, int64_t now_us,
                   struct dbk_slice shown, struct dbk_error *err) DBK_MUST_CHECK;

/* What is kept beside the generation that serves; zeros where there is none, or no table. */
int dbk_kept_read(struct dbk_connection *connection, const char *name, struct dbk_kept *kept_out,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* The file that made the generation that serves, or the one that is kept, in the arena; empty: it
   is not known. */
int dbk_kept_definition(struct dbk_connection *connection, const char *name, bool kept,
                        struct dbk_arena *arena, struct dbk_slice *text_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
/*
 * What a rollback swaps in: looked at before the swap, outside of its transaction.
 * shown: appends the SELECT of the plain view.
 * DBK_ENOTFOUND  nothing is kept
 * DBK_ECORRUPT   it cannot be read, or has not the rows that it had
 */
int dbk_kept_look(struct dbk_connection *connection, const char *name, struct dbk_kept *kept_out,
                  struct dbk_buf *shown, struct dbk_error *err) DBK_MUST_CHECK;
/* Inside a transaction: it serves again, and the one that served is undone. The plain view is the
   caller's. DBK_EBUSY: something else is kept by now. */
int dbk_kept_roll_back(struct dbk_connection *connection, const char *name,
                       const struct dbk_kept *kept, int64_t now_us,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* Gives up what was replaced by then; its tables may be removed. */
int dbk_kept_drop(struct dbk_connection *connection, const char *name, int64_t before_us,
                  struct dbk_error *err) DBK_MUST_CHECK;

#endif
