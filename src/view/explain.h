/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explain -- how a view is maintained, and whether it has been maintained rightly.
 *
 * Threads: any; a view's refresh may be under way.
 */
#ifndef DBK_VIEW_EXPLAIN_H
#define DBK_VIEW_EXPLAIN_H

#include "view/plan.h"

/*
 * Appends a JSON object: mode, incremental, parts or obstacle, what refreshes took, and in a
 * writing process the statements of an incremental refresh.
 */
int dbk_view_explain(const struct dbk_view_refresh *refresh, bool writer, struct dbk_buf *out,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* The same from what is known already; statements: NULL where there are none to show. */
int dbk_view_explain_write(const struct dbk_view_definition *definition,
                           const struct dbk_view_plan *plan, const struct dbk_view_row *row,
                           const struct dbk_slice *statements, struct dbk_buf *out,
                           struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Compares the stored rows with what the SELECT gives, as bags, in one snapshot in which the view
 * has taken every change. Floating-point numbers count as equal in twelve digits: sums of them
 * depend on the order in which they are added.
 *
 * check_out  what it finds, but for when
 *
 * DBK_EBUSY     the snapshot has changes that the view has not: refresh it, and try again
 * DBK_ECORRUPT  they differ; the message has how many, and one of them
 */
int dbk_view_verify(const struct dbk_view_refresh *refresh, struct dbk_view_check *check_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Makes the next refresh a full one, because the stored rows are wrong. */
int dbk_view_distrust(const struct dbk_view_definition *definition, const struct dbk_error *why,
                      struct dbk_error *err) DBK_MUST_CHECK;

#endif
