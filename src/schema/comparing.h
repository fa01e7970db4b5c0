/* SPDX-License-Identifier: Apache-2.0 */
/*
 * comparing -- what the parts of a comparison of two schemas share (schema/compare.c).
 *
 * Each `covers_…` says whether what a rule demands follows from a view, and notes what does not.
 */
#ifndef DBK_SCHEMA_COMPARING_H
#define DBK_SCHEMA_COMPARING_H

#include "schema/compare.h"
#include "schema/rule.h"

#define DBK_COMPARE_RULES_MAX 32
#define DBK_COMPARE_PATH_SIZE 1000

struct dbk_compare_view {
    const struct dbk_rule *rules[DBK_COMPARE_RULES_MAX];
    size_t count;
    unsigned types;
    unsigned splits;
    size_t split_at; /* rules before it were split by */
};

/* A pair under proof. */
struct dbk_compare_pair {
    const struct dbk_compare_pair *above;
    const struct dbk_compare_view *view;
    const struct dbk_rule *rule;
};

struct dbk_compare {
    const struct dbk_schema *from;
    const struct dbk_schema *to;
    struct dbk_arena *arena;
    struct dbk_matcher matcher;
    const struct dbk_compare_pair *pairs;
    uint64_t steps;
    unsigned depth;
    unsigned quiet; /* breaks are not noted */
    int rc;
    char path[DBK_COMPARE_PATH_SIZE];
    size_t path_size;
    struct dbk_slice field;
    struct dbk_schema_break *breaks;
    size_t count;
};

enum dbk_compare_count {
    DBK_LENGTH_MIN,
    DBK_LENGTH_MAX,
    DBK_ITEMS_MIN,
    DBK_ITEMS_MAX,
    DBK_MEMBERS_MIN,
    DBK_MEMBERS_MAX,
};

/* Always false: what could not be proven. */
bool dbk_compare_note(struct dbk_compare *compare, const char *keyword, const char *format, ...)
    DBK_PRINTF(3, 4);
/* Goes into a member or an element, and back with the size that there was. */
size_t dbk_compare_enter(struct dbk_compare *compare, struct dbk_slice name, const char *step);
/* Adds a rule and those that always apply with it. */
void dbk_compare_add_rule(struct dbk_compare_view *view, const struct dbk_rule *rule);
bool dbk_compare_covers(struct dbk_compare *compare, const struct dbk_compare_view *view,
                        const struct dbk_rule *rule);
bool dbk_compare_means_same(const struct dbk_compare *compare, const struct dbk_json_node *a,
                            const struct dbk_json_node *b);
bool dbk_compare_has_same(const struct dbk_compare *compare, const struct dbk_compare_view *view,
                          const struct dbk_rule *rule, const char *keyword);
bool dbk_compare_try_values(struct dbk_compare *compare, const struct dbk_compare_view *view,
                            const struct dbk_rule *rule, bool *all_out);
bool dbk_compare_covers_numbers(struct dbk_compare *compare, const struct dbk_compare_view *view,
                                const struct dbk_rule *rule);
bool dbk_compare_covers_count(struct dbk_compare *compare, const struct dbk_compare_view *view,
                              uint64_t wanted, enum dbk_compare_count kind, const char *keyword);
bool dbk_compare_covers_texts(struct dbk_compare *compare, const struct dbk_compare_view *view,
                              const struct dbk_rule *rule);
bool dbk_compare_covers_lists(struct dbk_compare *compare, const struct dbk_compare_view *view,
                              const struct dbk_rule *rule);
bool dbk_compare_covers_objects(struct dbk_compare *compare, const struct dbk_compare_view *view,
                                const struct dbk_rule *rule);

#endif
