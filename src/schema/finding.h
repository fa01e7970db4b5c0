/* SPDX-License-Identifier: Apache-2.0 */
/*
 * finding -- why a value does not fit, and in words.
 *
 * Threads: pure function.
 */
#ifndef DBK_SCHEMA_FINDING_H
#define DBK_SCHEMA_FINDING_H

#include "schema/rule.h"

enum dbk_check {
    DBK_CHECK_NONE,
    DBK_CHECK_NEVER,
    DBK_CHECK_UNKNOWN, /* a member or element that nothing allows */
    DBK_CHECK_TYPE,
    DBK_CHECK_CONST,
    DBK_CHECK_ENUM,
    DBK_CHECK_MINIMUM,
    DBK_CHECK_MAXIMUM,
    DBK_CHECK_MINIMUM_EXCLUSIVE,
    DBK_CHECK_MAXIMUM_EXCLUSIVE,
    DBK_CHECK_MULTIPLE,
    DBK_CHECK_LENGTH_MIN,
    DBK_CHECK_LENGTH_MAX,
    DBK_CHECK_PATTERN,
    DBK_CHECK_FORMAT,
    DBK_CHECK_ITEMS_MIN,
    DBK_CHECK_ITEMS_MAX,
    DBK_CHECK_UNIQUE, /* the node is the later of two equal elements */
    DBK_CHECK_CONTAINS_MIN,
    DBK_CHECK_CONTAINS_MAX,
    DBK_CHECK_MEMBERS_MIN,
    DBK_CHECK_MEMBERS_MAX,
    DBK_CHECK_REQUIRED, /* of `name`, in the node */
    DBK_CHECK_ANY_OF,
    DBK_CHECK_ONE_OF,
    DBK_CHECK_ONE_OF_MORE,
    DBK_CHECK_NOT,
};

struct dbk_finding {
    const struct dbk_rule *rule;
    enum dbk_check check;
    const struct dbk_json_node *node; /* one of the data's */
    struct dbk_slice name;
    unsigned level; /* containers around it */
    bool is_name;   /* not the node's value, but its name */
};

/*
 * "line 3, column 12: $.lines[2].price: expected a number of at least 0, got -5". Returns
 * DBK_EINVAL; with `limit` DBK_ELIMIT: a pattern takes too many steps.
 */
int dbk_finding_explain(const struct dbk_finding *finding, const struct dbk_schema *schema,
                        const struct dbk_json_node *data, struct dbk_slice text, bool limit,
                        struct dbk_error *err);

/* Appends "a text", "a whole number or null". */
void dbk_schema_put_types(struct dbk_buf *out, unsigned types);

#endif
