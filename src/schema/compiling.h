/* SPDX-License-Identifier: Apache-2.0 */
/* What the compiler of rules shares with the keywords whose value holds no schema. */
#ifndef DBK_SCHEMA_COMPILING_H
#define DBK_SCHEMA_COMPILING_H

#include "schema/rule.h"

/* Each answers DBK_OK or DBK_ENOMEM; what is wrong with the value is added to the faults. */

/* Reads a keyword's value into a member of the rule, whose type is the function's. */
typedef int (*dbk_keyword_fn)(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                              const struct dbk_json_node *value, void *field);

/* A struct dbk_bound. */
int dbk_keyword_bound(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                      const struct dbk_json_node *value, void *field) DBK_MUST_CHECK;
/* A uint64_t. */
int dbk_keyword_count(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                      const struct dbk_json_node *value, void *field) DBK_MUST_CHECK;
/* A struct dbk_name_list. */
int dbk_keyword_names(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                      const struct dbk_json_node *value, void *field) DBK_MUST_CHECK;
/* A bool. */
int dbk_keyword_flag(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value, void *field) DBK_MUST_CHECK;

/* Read a keyword's value into the rule; the last three check it only. */
int dbk_keyword_type(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value) DBK_MUST_CHECK;
int dbk_keyword_enum(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value) DBK_MUST_CHECK;
int dbk_keyword_const(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                      const struct dbk_json_node *value) DBK_MUST_CHECK;
int dbk_keyword_multiple(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                         const struct dbk_json_node *value) DBK_MUST_CHECK;
int dbk_keyword_pattern(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                        const struct dbk_json_node *value) DBK_MUST_CHECK;
int dbk_keyword_format(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                       const struct dbk_json_node *value) DBK_MUST_CHECK;
int dbk_keyword_note(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value) DBK_MUST_CHECK;
int dbk_keyword_text_note(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                          const struct dbk_json_node *value) DBK_MUST_CHECK;
int dbk_keyword_dialect(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                        const struct dbk_json_node *value) DBK_MUST_CHECK;

/* A keyword's value of another kind than it has. */
int dbk_keyword_refuse(struct dbk_schema_reading *reading, const struct dbk_json_node *value,
                       const char *expected) DBK_MUST_CHECK;
/* The pattern of this text, which stands at that place. */
int dbk_keyword_make_pattern(struct dbk_schema_reading *reading, const struct dbk_fault *place,
                             struct dbk_slice text,
                             const struct dbk_pattern **pattern_out) DBK_MUST_CHECK;

#endif
