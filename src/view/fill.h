/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fill -- how a full refresh stores a view's rows: from the snapshot's SELECT into the next
 * generation's table, some at a time.
 *
 * Threads: one refresh of a view at a time.
 */
#ifndef DBK_VIEW_FILL_H
#define DBK_VIEW_FILL_H

#include "view/difference.h"
#include "view/logged.h"
#include "view/refresh.h"

#define DBK_FILL_MEMORY_MAX ((size_t)256 << 20) /* of rows read and not yet written */
#define DBK_FILL_SQL_MAX ((size_t)4 << 20)

/* One refresh's resources. */
struct dbk_fill {
    const struct dbk_view_refresh *refresh;
    struct dbk_connection *read;
    struct dbk_connection *write;
    struct dbk_statement *select;
    struct dbk_statement *insert;
    struct dbk_arena chunk; /* the rows read and not yet written */
    struct dbk_value *values;
    size_t row_count;
    int column_count;
    struct dbk_view_row row;
    struct dbk_view_plan *plan;
    bool stale;               /* the plan's tables are no longer those behind the names */
    struct dbk_buf fill;      /* the SELECT of all that is stored, where the plan is incremental */
    int64_t *cursors;         /* of the plan's relations, in the snapshot */
    struct dbk_logged logged; /* what the snapshot has of the log */
    struct dbk_recording recording;
    bool
        compared; /* with the generation that serves: what changes in it from then on is recorded */
    char owner[DBK_VIEW_TABLE_SIZE_MAX + 24]; /* of the cursors until the generation serves */
    uint64_t old;                             /* the generation that it is to take the place of */
    bool overtaken;                           /* another one serves by now */
    int64_t schema;                           /* as struct dbk_view_attempt has it */
};

/* Both are kept until release, which frees the connections, too. */
void dbk_fill_init(struct dbk_fill *work, const struct dbk_view_refresh *refresh,
                   struct dbk_view_plan *plan);
void dbk_fill_release(struct dbk_fill *work);
/* Ends the snapshot. */
void dbk_fill_end_read(struct dbk_fill *work);

/* Makes the table of row.generation with its indexes, and opens `insert`. */
int dbk_fill_create(struct dbk_fill *work, struct dbk_error *err) DBK_MUST_CHECK;
/* Copies what `select` gives through `insert`; counts the shown ones in row.rows. DBK_ESTOPPED. */
int dbk_fill_rows(struct dbk_fill *work, struct dbk_error *err) DBK_MUST_CHECK;
/* What is stored beside the view: from the snapshot's temporary tables into the generation's. */
int dbk_fill_stored(struct dbk_fill *work, struct dbk_error *err) DBK_MUST_CHECK;

#endif
