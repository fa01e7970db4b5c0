/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout -- how the rows of an incremental view are stored: hidden columns, then its own.
 *
 * Of a WINDOW the keys are what its windows are partitioned by.
 *
 *     of blocks and unions                    of groups
 *     _daybook_k0 …  the row ids of           _daybook_k0 …  the group's keys, NULLs too
 *                    the input rows, behind   _daybook_n     rows in the group
 *                    the branch's number      _daybook_v0 …  the aggregates' values, and for
 *                                             SUM, TOTAL and AVG:
 *                                             _daybook_c0    values that are not NULL
 *                                             _daybook_i0    the sum of integers
 *                                             _daybook_x0    values that cannot be added exactly
 *                                             _daybook_a0    the sum of the integers' sizes
 *                                             _daybook_shown 1: HAVING holds
 *
 * In PostgreSQL i is the numeric sum, x counts what is no number or has too many decimals, and a
 * is the sum of 10^(10 x decimals): how many values have how many decimals, of which the most are
 * those of the sum.
 *
 * Sums are exact: in SQLite they are added to only while every value is an integer of less than
 * 2^40 and the sum of sizes says that no partial sum can have overflown (or, of AVG and TOTAL,
 * which add as floating-point numbers, have been rounded); else the group is computed again.
 *
 * Threads: pure functions.
 */
#ifndef DBK_VIEW_LAYOUT_H
#define DBK_VIEW_LAYOUT_H

#include "view/algebra.h"

/* Changes with what is stored: a view of another layout is refreshed fully. */
#define DBK_VIEW_LAYOUT 1

/* Integers past this are not added: sums of fewer than 2^22 of them cannot overflow. */
#define DBK_VIEW_ADDEND_MAX "1099511627776"
/* Sums of sizes up to which no partial sum overflows, or is rounded as a floating-point number. */
#define DBK_VIEW_SUM_MAX "4.6e18"
#define DBK_VIEW_REAL_SUM_MAX "9.0e15"
/* In PostgreSQL: of values with more decimals a group is computed again. */
#define DBK_VIEW_SCALE_MAX "30"

/* Says where the relations beside a view's generation lie: in "<view>__g<generation>n<number>". */
int dbk_layout_place(const struct dbk_algebra *tree, const char *view,
                     uint64_t generation) DBK_MUST_CHECK;
/* Statements that make one's indexes: on keys, and on what it is joined by. schema: "temp.". */
void dbk_layout_indexes(struct dbk_buf *out, const struct dbk_algebra *tree,
                        const struct dbk_relation *stored, const char *schema);
/*
 * Part `part` of what the rows of a block's input are known by, read by the name `row`. as_text: in
 * a server's UNION, whose branches share columns: a text that is the same for equal keys.
 */
void dbk_layout_key(struct dbk_buf *out, const struct dbk_relation *input, size_t number,
                    size_t part, const char *row, bool as_text);
/* The hidden columns' names, with commas; nothing where there are none. */
void dbk_layout_hidden(struct dbk_buf *out, const struct dbk_relation *root);
/* The SELECT of all stored columns over the tables themselves: hidden ones, outputs by name. */
void dbk_layout_fill(struct dbk_buf *out, const struct dbk_relation *root,
                     const char *const *names);
/* A WINDOW's SELECT list. */
void dbk_layout_window(struct dbk_buf *out, const struct dbk_relation *relation,
                       const char *const *names);
/* A block's SELECT list, FROM and WHERE over its tables, with columns c0, c1, … */
void dbk_layout_block(struct dbk_buf *out, const struct dbk_relation *block);
/* The tests of a LEFT JOIN with an input, or all others (SIZE_MAX), with `before` and then AND. */
void dbk_layout_tests(struct dbk_buf *out, const struct dbk_relation *block, size_t input,
                      const char *before);
/* A group's keys and slots over "b", which has the block's columns. */
void dbk_layout_slots(struct dbk_buf *out, const struct dbk_relation *group);
/* The test that a group's HAVING holds, as 0 or 1. */
void dbk_layout_shown(struct dbk_buf *out, const struct dbk_relation *group, const char *prefix);
/* True when the sum of this aggregate is that of floating-point numbers. */
bool dbk_aggregate_is_real(const struct dbk_aggregate *aggregate);

#endif
