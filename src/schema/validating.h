/* SPDX-License-Identifier: Apache-2.0 */
/*
 * validating -- rules being applied to data (schema/validate.c).
 */
#ifndef DBK_SCHEMA_VALIDATING_H
#define DBK_SCHEMA_VALIDATING_H

#include "schema/finding.h"

struct dbk_validation {
    uint64_t steps;
    unsigned depth; /* rules within rules */
    unsigned level; /* containers around the value */
    bool carried;   /* what stands for a forgotten value fits */
    struct dbk_matcher matcher;
    struct dbk_finding finding;
};

/* 1: it fits; 0: it does not, and `finding` says where; negative: an error. */
int dbk_validate_miss(struct dbk_validation *walk, const struct dbk_rule *rule,
                      enum dbk_check check, const struct dbk_json_node *node);
int dbk_validate_charge(struct dbk_validation *walk, uint64_t steps);
int dbk_validate_attempt(struct dbk_validation *walk, const struct dbk_rule *rule,
                         const struct dbk_json_node *node);
int dbk_validate_apply(struct dbk_validation *walk, const struct dbk_rule *rule,
                       const struct dbk_json_node *node);
/* Parts that `by` alone judges, because nothing else does. */
int dbk_validate_check_unevaluated(struct dbk_validation *walk, const struct dbk_rule *rule,
                                   const struct dbk_rule *by, const struct dbk_json_node *node);

#endif
