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
/* Fills a group's keys, aggregates, outputs and having. */
int dbk_read_group(struct dbk_reading *reading, struct dbk_group_parts *parts,
                   struct dbk_relation *group);
/* Where a clause's first word stands in the text outside of brackets; else 0. */
size_t dbk_read_clause_place(const struct dbk_reading *reading, const char *words);
/* Where a subquery's first column stands. */
size_t dbk_read_select_place(const struct dbk_json_node *node);

#endif
