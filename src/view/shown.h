/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shown -- the plain view by which a stored result is read.
 *
 *     CREATE VIEW "<view>" AS SELECT <its columns> FROM "<view>__g<generation>"
 *         [WHERE _daybook_shown] [ORDER BY … [LIMIT … OFFSET …]]
 *
 * ORDER BY and LIMIT are no part of what is stored: whoever reads the plain view gets the rows in
 * their order and no more of them than LIMIT says. So that it always says which, rows that are
 * alike by ORDER BY are told apart by all the columns, first to last.
 *
 * Threads: a connection belongs to one thread at a time.
 */
#ifndef DBK_VIEW_SHOWN_H
#define DBK_VIEW_SHOWN_H

#include "view/plan.h"

/* Puts the plain view over a generation, of which it shows this SELECT, inside a transaction. */
int dbk_shown_create(struct dbk_connection *connection, const char *view, struct dbk_slice shown,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* The index on a generation by which LIMIT finds its rows; nothing where there is no LIMIT. */
void dbk_shown_index(struct dbk_buf *sql, const struct dbk_view_plan *plan, const char *view,
                     uint64_t generation);
/* The SELECT of the stored rows, without ORDER BY and LIMIT; numbered: of columns c0, c1, … */
void dbk_shown_whole(struct dbk_buf *sql, const struct dbk_view_plan *plan, const char *view,
                     uint64_t generation, bool numbered);

/* What stands behind its SELECT list, with the generation's table as "v". */
void dbk_shown_from(struct dbk_buf *sql, const struct dbk_view_plan *plan, const char *view,
                    uint64_t generation);
/* Its ORDER BY and LIMIT; where that would leave something open the columns decide. */
void dbk_shown_order(struct dbk_buf *sql, const struct dbk_view_plan *plan);
/* The SELECT of that plain view. */
void dbk_shown_select(struct dbk_buf *sql, const struct dbk_view_plan *plan, const char *view,
                      uint64_t generation);

#endif
