/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delta -- brings a view's stored rows up to date from the rows that changed.
 *
 * All of it happens in one write transaction, in which the tables are in their new state and
 * temp.d<n> has the difference of TABLE n: its changed rows as they were, with weight -1, and as
 * they are, with weight 1. The difference of a join of tables in their new state R and S is
 *
 *     dR x S  +  R x dS  -  dR x dS
 *
 * and so on for more tables: one term for each set of tables that changed, the sign by its size.
 * Terms are statements of their own with the differences outermost, so that the other tables are
 * looked up by their indexes.
 *
 * A block's stored rows are those of its tables' row ids: the keys that any term has are deleted
 * and read again. A group's slots are added to, by weight; where a value cannot be (MIN that left,
 * DISTINCT, sums of what is no integer) the group alone is computed again.
 *
 * What is stored beside the view goes before what reads it: the rows of its touched keys, before
 * and after, are its own temp.d<n>.
 *
 * Threads: one at a time.
 * Source:  docs/design/views.md.
 */
#ifndef DBK_VIEW_DELTA_H
#define DBK_VIEW_DELTA_H

#include "view/layout.h"

struct dbk_difference;

struct dbk_delta {
    struct dbk_connection *connection; /* inside a write transaction */
    const struct dbk_algebra *tree;
    const char *view;          /* the table of the view's rows */
    const char *const *labels; /* of the view's outputs */
    bool *changed;             /* by relation's number: the table has a difference */
    bool all;                  /* all are thought to have one: for an explanation */
    int64_t rows;              /* that the view shows: those that came, less those that went */
    const struct dbk_difference *difference; /* gets the touched rows; NULL: nobody wants them */
    /* of the relation under way: */
    const char *table;        /* its rows */
    const char *const *names; /* of its outputs */
    struct dbk_buf sql;
    struct dbk_buf *log; /* the statements that were run; NULL: nobody asks */
};

/*
 * Tables in temp are made once a connection, where dbk_delta_has says that they are missing, and
 * emptied at the end: so that statements on them can be kept prepared. Where relations are stored
 * beside the view, temp.x and temp.g are made for each of them. A transaction that is rolled back
 * leaves all as it was.
 */
int dbk_delta_has(struct dbk_delta *delta, const char *table, bool *there_out,
                  struct dbk_error *err) DBK_MUST_CHECK;

/* Makes temp.d<n> for a table or what is stored as one, empty. */
int dbk_delta_make(struct dbk_delta *delta, const struct dbk_relation *table,
                   struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Applies the differences, of which `changed` says which there are. DBK_ECONFLICT: they do not fit
 * the stored rows, which somebody else must have changed.
 */
int dbk_delta_apply(struct dbk_delta *delta, struct dbk_error *err) DBK_MUST_CHECK;
/* Empties all tables in temp. */
int dbk_delta_clear(struct dbk_delta *delta, struct dbk_error *err) DBK_MUST_CHECK;
/* Runs the one statement that the buffer holds, and empties it. */
int dbk_delta_run(struct dbk_delta *delta, struct dbk_error *err) DBK_MUST_CHECK;
/* The same with a number for ?1. */
int dbk_delta_run_with(struct dbk_delta *delta, int64_t number,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* The same with values for ?1, ?2, … */
int dbk_delta_run_values(struct dbk_delta *delta, const struct dbk_value *values, size_t count,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* How many rows the last statement changed. */
int dbk_delta_count(struct dbk_delta *delta, int64_t *count_out,
                    struct dbk_error *err) DBK_MUST_CHECK;

/*
 * The terms of a block (term.c). A LEFT JOIN's input has no part in them: its rows are read again
 * by the keys of the tables before it. So there is one more term for each such input that changed,
 * which has the keys of the rows that its difference meets, and no weight.
 */
struct dbk_term {
    const struct dbk_relation *block;
    unsigned set;                         /* inputs whose difference it takes */
    size_t order[DBK_ALGEBRA_INPUTS_MAX]; /* of the joins */
    size_t order_count;
    bool last; /* the difference stands behind other LEFT JOINs, which its test reads */
};
/* The next term behind one (all zero: the first); false: that was the last. */
bool dbk_term_next(const struct dbk_delta *delta, const struct dbk_relation *block,
                   struct dbk_term *term);
/* The product of its weights with the sign. */
void dbk_term_weight(struct dbk_buf *out, const struct dbk_term *term);
/* What the rows of all inputs before LEFT JOIN are known by (dbk_layout_key), each with a comma
   behind it. */
void dbk_term_keys(struct dbk_buf *out, const struct dbk_term *term, bool as_text);
/* FROM and WHERE. */
void dbk_term_from(struct dbk_buf *out, const struct dbk_term *term);

/*
 * Rows of a block that a subquery's difference may answer otherwise (touch.c): calls for each
 * statement that finds their keys, with what stands behind its SELECT list.
 */
typedef int (*dbk_touch_fn)(void *context, const struct dbk_buf *from, struct dbk_error *err);
int dbk_touch_subqueries(const struct dbk_delta *delta, const struct dbk_relation *block,
                         dbk_touch_fn touch, void *context, struct dbk_error *err) DBK_MUST_CHECK;
/* True when a relation that this one reads has a difference. */
bool dbk_delta_reaches(const struct dbk_delta *delta, const struct dbk_relation *relation);
/* The rows of temp.<keys>, as they are stored, into the relation's difference. */
int dbk_delta_note(struct dbk_delta *delta, const struct dbk_relation *relation, const char *keys,
                   int weight, struct dbk_error *err) DBK_MUST_CHECK;

/* A GROUP's part (regroup.c). */
int dbk_delta_group(struct dbk_delta *delta, const struct dbk_relation *group,
                    struct dbk_error *err) DBK_MUST_CHECK;

#endif
