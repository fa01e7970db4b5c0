/* SPDX-License-Identifier: Apache-2.0 */
/*
 * build -- a view's next generation, made beside the one that serves.
 *
 *     fill       read connection                       write connection
 *                BEGIN, positions, SELECT … (a snapshot)
 *                rows, some at a time          -->   BEGIN IMMEDIATE, INSERT …, COMMIT  (and again)
 *     catch up                                       what changed since, in one transaction
 *     swap                                           the plain view, the view's row, its cursors
 *
 * Until it is swapped its cursors belong to an owner of its own, `<view>__g<n>`, so that the
 * generation that serves is refreshed by its own meanwhile.
 *
 * A build may be made onto a model's generation that does not serve yet (dbk_view_onto): on its
 * connections views in temp, with the names of the plain ones, show that generation, so that the
 * SELECT's text is run as it stands.
 *
 * Threads: one at a time; several builds of a view do no harm to each other.
 */
#ifndef DBK_VIEW_BUILD_H
#define DBK_VIEW_BUILD_H

#include "view/fill.h"

/* Stores the snapshot's rows in a generation with a number of its own. write is open. */
int dbk_build_fill(struct dbk_fill *work, const struct dbk_view_row *old,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Brings it up to date, where that can be done incrementally and does not hold writers for long;
   else it stays as it was filled. */
int dbk_build_catch_up(struct dbk_fill *work, struct dbk_error *err) DBK_MUST_CHECK;
/* Inside a write transaction of any connection: it serves. DBK_EBUSY: it is overtaken. */
int dbk_build_swap(struct dbk_fill *work, struct dbk_connection *connection,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Removes what was built. */
void dbk_build_undo(struct dbk_fill *work);
/* Notes in the view's row, as it is by now, why it failed; the old result stays. */
void dbk_build_note_failure(struct dbk_fill *work, const struct dbk_error *err);
/* Makes the plan anew, and says why where it is not incremental. */
int dbk_build_plan_again(struct dbk_fill *work, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Builds that are swapped with a model ---- */

struct dbk_view_build;
/*
 * Fills a view onto refresh->source->onto. refresh and its session are not kept, what it points at
 * else is until free. DBK_ENOTFOUND: the view was never refreshed.
 */
int dbk_view_build_open(const struct dbk_view_refresh *refresh, struct dbk_view_build **build_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
int dbk_view_build_catch_up(struct dbk_view_build *build, struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Writes for who follows the view what the swap will change, in short transactions: what it and the
 * generation that serves do not have in common, and behind that what it catches up with from here
 * on. The one that serves must stand still until the swap, which makes it count.
 */
int dbk_view_build_compare(struct dbk_view_build *build, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_view_build_swap(struct dbk_view_build *build, struct dbk_connection *connection,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* What it shows and holds, for those that read it; valid until free. */
struct dbk_view_behind dbk_view_build_behind(struct dbk_view_build *build);
/* swapped: what it took the place of is removed; else what was built. NULL is fine. */
void dbk_view_build_free(struct dbk_view_build *build, bool swapped);

#endif
