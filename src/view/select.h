/* SPDX-License-Identifier: Apache-2.0 */
/*
 * select -- a SELECT's clauses into relations, shared by the sources that read them.
 *
 * Threads: one at a time.
 */
#ifndef DBK_VIEW_SELECT_H
#define DBK_VIEW_SELECT_H

#include "view/read.h"

#define DBK_ALGEBRA_BRANCHES_MAX 16

/* What a grouped SELECT consists of, over the inputs of its block. */
struct dbk_group_parts {
    struct dbk_relation *block;
    struct dbk_expression **outputs;
    size_t output_count;
    struct dbk_expression **keys;
    size_t key_count;
    const struct dbk_json_node *having_node;
    struct dbk_expression *having; /* NULL: none */
    /* filled: what the block gives, keys first and then the aggregates' arguments */
    struct dbk_expression **block_outputs;
    const char **block_labels;
    size_t block_output_count;
};

/* A relation in the arena; columns of what is no table are c0, c1, … */
int dbk_read_make_relation(struct dbk_reading *reading, enum dbk_relation_kind kind,
                           size_t column_count, size_t input_count, struct dbk_relation **made_out);
/* Enters a relation whose inputs have been entered. */
int dbk_read_enter(struct dbk_reading *reading, struct dbk_relation *relation);
/* RangeVar. */
int dbk_read_table(struct dbk_reading *reading, const struct dbk_json_node *node,
                   struct dbk_relation **relation_out);
int dbk_read_select(struct dbk_reading *reading, const struct dbk_json_node *node,
                    struct dbk_relation **relation_out);
/* WITH's relations, in front of those that there are. */
int dbk_read_with(struct dbk_reading *reading, const struct dbk_json_node *clause);
/*
 * The written tree into one that is maintained (normal.c), once it is known to mean the text.
 * DBK_EREFUSED: there is an obstacle.
 */
int dbk_read_normal(struct dbk_reading *reading);
/* A subquery of an expression in a block: what it reads becomes a relation of the tree. */
int dbk_normal_subquery(struct dbk_reading *reading, struct dbk_expression *expression);
/* A relation as another's input: a table, or stored as one. */
int dbk_normal_input(struct dbk_reading *reading, struct dbk_relation *relation,
                     struct dbk_relation **input_out);
/* SELECT c0, … FROM an input. */
int dbk_normal_trivial(struct dbk_reading *reading, struct dbk_relation *input,
                       struct dbk_relation **block_out);
/* Joins of any kind into inner ones with LEFT JOINs behind (joins.c). */
int dbk_normal_joins(struct dbk_reading *reading, struct dbk_relation *block);
/* All inputs and conditions of a block into one input. */
int dbk_normal_take(struct dbk_reading *reading, struct dbk_relation *block);
/* What a block reads of the log becomes an input that is stored (apart.c). */
int dbk_normal_apart(struct dbk_reading *reading, struct dbk_relation *block);
/* True when the log is an input of a block. */
bool dbk_relation_reads_log(const struct dbk_relation *block);
/* A block whose outputs have window functions into a WINDOW; not yet entered. */
int dbk_normal_window(struct dbk_reading *reading, struct dbk_relation *block);
/* A COLUMN of an input. */
int dbk_read_input_column(struct dbk_reading *reading, size_t input, size_t column,
                          struct dbk_expression **expression_out);
/* A SELECT that is none of several; refuses clauses that it has no place for. */
int dbk_read_plain(struct dbk_reading *reading, const struct dbk_json_node *node,
                   struct dbk_relation **relation_out);
int dbk_read_refuse(struct dbk_reading *reading, const struct dbk_json_node *node);
/* RangeVar: a name of WITH, or a table. */
int dbk_read_named(struct dbk_reading *reading, const struct dbk_json_node *node,
                   struct dbk_relation **relation_out);
/* Refuses branches of other affinities: which one a subquery's column has is not determined. */
int dbk_read_alike(struct dbk_reading *reading, const struct dbk_relation *relation, size_t place);
/* Fills a group's keys, aggregates, outputs and having. */
int dbk_read_group(struct dbk_reading *reading, struct dbk_group_parts *parts,
                   struct dbk_relation *group);
/* SortBy: its direction, and its expression in *item. */
int dbk_read_sort(struct dbk_reading *reading, const struct dbk_json_node **item,
                  struct dbk_order *order);
/*
 * ORDER BY, LIMIT and OFFSET of the whole SELECT, into the tree (order.c). scope: its outputs, and
 * their block, or NULL where it is several SELECTs. hidden_out: hidden outputs, as many as the tree
 * says.
 */
int dbk_read_order(struct dbk_reading *reading, const struct dbk_json_node *node,
                   const struct dbk_scope *scope, struct dbk_expression ***hidden_out);
/* Where a clause's first word stands in the text outside of brackets; else 0. */
size_t dbk_read_clause_place(const struct dbk_reading *reading, const char *words);
/* Where a subquery's first column stands. */
size_t dbk_read_select_place(const struct dbk_json_node *node);

#endif
