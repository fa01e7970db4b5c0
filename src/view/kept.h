/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept -- a view's generations: the one that serves, and what is being built beside it.
 *
 *     CREATE TABLE _daybook_view_generations (
 *         view TEXT NOT NULL, generation BIGINT NOT NULL,
 *         state TEXT NOT NULL,        'building' or 'serving'
 *         stored BIGINT NOT NULL,     1: its tables are there
 *         fingerprint TEXT NOT NULL,  of the file that made it
 *         definition TEXT NOT NULL,   that file
 *         shown TEXT,                 the SELECT of the plain view; NULL while it is being built
 *         PRIMARY KEY (view, generation))
 *
 * A generation's number is given once, with a row that says 'building', so that nobody takes its
 * tables for what a crash left behind. What a crash left behind says 'building' when the book is
 * opened next, and goes then.
 *
 * Threads: a connection belongs to one thread at a time.
 * Source:  docs/format/view.md.
 */
#ifndef DBK_VIEW_KEPT_H
#define DBK_VIEW_KEPT_H

#include "view/catalog.h"

/* Makes the table where it is missing. */
int dbk_kept_catalog(struct dbk_connection *connection, struct dbk_error *err) DBK_MUST_CHECK;
/* Gives a generation that is to be built its number, in a transaction of its own. */
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
 * Inside a transaction: the generation that was built serves, and its row is the view's row.
 * shown: the SELECT of the plain view, which the caller makes.
 */
int dbk_kept_serve(struct dbk_connection *connection, const char *name,
                   const struct dbk_view_row *row, struct dbk_slice shown,
                   struct dbk_error *err) DBK_MUST_CHECK;

#endif
