/* SPDX-License-Identifier: Apache-2.0 */
/*
 * difference -- which of a view's rows a refresh changed, in SQLite.
 *
 * temp.r has rows that were, with weight -1, and rows that are, with weight 1: of an incremental
 * refresh those of the touched keys, of one whose SELECT has a LIMIT all that it shows, and of a
 * full one what two generations do not have in common as bags. What is left once they are summed up
 * is the difference, of which rows of one key are paired: a row that went and one that came are a
 * row that changed.
 *
 * The key is that of the head (`-- key:`), or what the stored rows are known by: the row ids that a
 * row is made of, or what it is grouped by. Rows that have neither are not paired.
 *
 * Threads: a connection belongs to one thread at a time.
 */
#ifndef DBK_VIEW_DIFFERENCE_H
#define DBK_VIEW_DIFFERENCE_H

#include "view/plan.h"
#include "view/record.h"

struct dbk_difference {
    struct dbk_connection *connection;
    const struct dbk_view_definition *definition;
    const struct dbk_view_plan *plan;
    const char *const *names; /* of the view's columns */
    size_t name_count;
    struct dbk_buf columns; /* the SELECT list: key, then the view's columns, of "v" */
    size_t key_count;
    bool paired;
    bool plain; /* rows are not paired in any case */
};

/* Begins with connection, definition, plan, names and plain. hidden: rows may be paired by what
   they are stored with. */
int dbk_difference_init(struct dbk_difference *difference, bool hidden,
                        struct dbk_error *err) DBK_MUST_CHECK;
void dbk_difference_release(struct dbk_difference *difference);

/* Makes temp.r where it is missing, for the rows of a table or view. */
int dbk_difference_make(struct dbk_difference *difference, const char *table,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* True when the touched keys do not tell which rows are shown. */
bool dbk_difference_is_whole(const struct dbk_difference *difference);
/* All rows that a generation shows, into temp.r. */
int dbk_difference_whole(struct dbk_difference *difference, uint64_t generation, int weight,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* The SELECT for dbk_recording_take; the caller frees it. */
int dbk_difference_open(struct dbk_difference *difference, struct dbk_statement **select_out,
                        struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Writes the difference between a view's old result and a new generation beside it, in short
 * transactions, with the recording that the swap ends. row: of the new generation.
 */
int dbk_difference_record(struct dbk_recording *recording, struct dbk_connection *connection,
                          const struct dbk_view_refresh *refresh, const struct dbk_view_plan *plan,
                          const struct dbk_view_row *old, const struct dbk_view_row *row,
                          struct dbk_error *err) DBK_MUST_CHECK;

#endif
