/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check -- the walk over a command's nodes that says what is wrong, and where.
 *
 * Threads: pure functions.
 */
#ifndef DBK_TARGET_MONGODB_CHECK_H
#define DBK_TARGET_MONGODB_CHECK_H

#include "target/mongodb/command.h"

struct dbk_mongodb_walk {
    struct dbk_slice text;
    enum dbk_guard guard;
    int offset; /* of what is looked at */
    struct dbk_error *err;
};

/* The node, or (of a member) its key, is where it is wrong. Gives the code. */
int dbk_mongodb_fault_at(struct dbk_mongodb_walk *walk, const struct dbk_json_node *node, int rc,
                         const char *why);
int dbk_mongodb_fault_key(struct dbk_mongodb_walk *walk, const struct dbk_json_node *member, int rc,
                          const char *why);
bool dbk_mongodb_is_key(const struct dbk_json_node *member, const char *const *words);
/* Clocks, chance, programs, and names that are Daybook's, in a value and all that is in it. */
int dbk_mongodb_check_values(struct dbk_mongodb_walk *walk, const struct dbk_json_node *node,
                             size_t depth);
/* True when a text is a whole parameter's. */
bool dbk_mongodb_is_parameter(const struct dbk_json_node *node);
/* find and aggregate. */
int dbk_mongodb_check_query(struct dbk_mongodb_walk *walk, const struct dbk_json_node *root);

#endif
