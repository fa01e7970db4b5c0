/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan -- how a view is maintained in its database as it is now.
 *
 * A plan is made for a refresh, an explanation or a check: the tables behind names change with each
 * rebuild of a model. A session (view/refresh.h) keeps it for the next refresh, as long as the
 * database's schema version is the same.
 *
 * Threads: one at a time.
 */
#ifndef DBK_VIEW_PLAN_H
#define DBK_VIEW_PLAN_H

#include "view/catalog.h"
#include "view/follow.h"
#include "view/refresh.h"

struct dbk_view_plan {
    struct dbk_arena arena;
    struct dbk_algebra tree;
    bool incremental;   /* else tree.obstacle says why not */
    const char **names; /* of the root's outputs; the result has the first name_count */
    size_t name_count;
};

void dbk_view_plan_init(struct dbk_view_plan *plan);
void dbk_view_plan_release(struct dbk_view_plan *plan);
/* Makes the plan. connection: the view's database; nothing is changed. Fails as the database
   does. */
int dbk_view_plan_make(struct dbk_view_plan *plan, struct dbk_connection *connection,
                       const struct dbk_view_definition *definition,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* Names the hidden outputs (algebra.h), behind those of the result. 1: done. */
int dbk_view_plan_name_hidden(struct dbk_view_plan *plan, struct dbk_error *err) DBK_MUST_CHECK;
/* Whether the tables behind its names are still those of the plan: asked in the transaction that
   reads them, since a rebuilt model puts another table behind its name at any time. */
int dbk_view_plan_is_current(const struct dbk_view_plan *plan, struct dbk_connection *connection,
                             bool *current_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Makes it anew. */
int dbk_view_plan_renew(struct dbk_view_plan *plan, struct dbk_connection *connection,
                        const struct dbk_view_definition *definition,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* "line 3, column 8: a window function" in the view's file. */
void dbk_view_plan_obstacle(const struct dbk_view_plan *plan,
                            const struct dbk_view_definition *definition, char *text, size_t size);

/* What became of an attempt to refresh incrementally. */
struct dbk_view_attempt {
    bool joined; /* in a write transaction of the caller's, who ends it as `done` says */
    bool done;
    bool stale;       /* the plan does not fit the database, or the stored rows, any longer */
    bool left;        /* more notes that no view needs are left than were removed at once */
    uint64_t changes; /* rows of the sources that changed */
    int64_t schema;   /* the database's schema version for which the plan was last found to fit, or
                         -1; set to the one for which it now was */
    char reason[512]; /* why not, where it was not done */
};
/*
 * Brings the stored rows up to date in one transaction, with the view's row and cursors. row: as
 * stored; filled with the new one. Not done: nothing was changed, and a full refresh is to follow;
 * where it is joined the caller rolls back.
 */
int dbk_view_apply(const struct dbk_view_refresh *refresh, const struct dbk_view_plan *plan,
                   struct dbk_connection *connection, struct dbk_view_row *row,
                   struct dbk_view_attempt *attempt, struct dbk_error *err) DBK_MUST_CHECK;

/* The position that the sources hold; found_out: whether there are any. */
int dbk_view_position(struct dbk_connection *connection, const struct dbk_view_source *source,
                      uint64_t *position_out, bool *found_out,
                      struct dbk_error *err) DBK_MUST_CHECK;

#endif
