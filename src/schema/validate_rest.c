/* SPDX-License-Identifier: Apache-2.0 */
/* What no other keyword evaluates: `unevaluatedItems`, `unevaluatedProperties`. */
#include "schema/validating.h"

/* ---- What nothing else evaluates ---- */

/* A member or an element, in its container. */
struct part {
    const struct dbk_json_node *container;
    const struct dbk_json_node *node;
    uint32_t index;
};

static int evaluates(struct dbk_validation *walk, const struct dbk_rule *rule,
                     const struct part *part, bool own);

/* The rule's own keywords; own: its `unevaluated…` asks and does not count. */
static int evaluates_here(struct dbk_validation *walk, const struct dbk_rule *rule,
                          const struct part *part, bool own)
{
    if (part->container->kind == DBK_JSON_ARRAY) {
        if (part->index < rule->prefix.count || rule->items != NULL ||
            (!own && rule->items_unevaluated != NULL))
            return 1;
        return rule->contains == NULL ? 0 : dbk_validate_attempt(walk, rule->contains, part->node);
    }
    if (rule->additional != NULL || (!own && rule->members_unevaluated != NULL) ||
        dbk_rule_property(rule, part->node->key) != NULL)
        return 1;
    for (size_t i = 0; i < rule->pattern_count; i++) {
        int found = dbk_pattern_match(rule->patterns[i].pattern, &walk->matcher, part->node->key);
        if (found != 0)
            return found;
    }
    return 0;
}

/* A rule that may or may not fit counts only where it does. */
static int evaluates_if_fits(struct dbk_validation *walk, const struct dbk_rule *rule,
                             const struct part *part)
{
    int fits = dbk_validate_attempt(walk, rule, part->container);
    return fits == 1 ? evaluates(walk, rule, part, false) : fits;
}

static int evaluates_by_list(struct dbk_validation *walk, const struct dbk_rule_list *list,
                             const struct part *part)
{
    int rc = 0;
    for (size_t i = 0; i < list->count && rc == 0; i++)
        rc = evaluates_if_fits(walk, list->items[i], part);
    return rc;
}

static int evaluates_by_if(struct dbk_validation *walk, const struct dbk_rule *rule,
                           const struct part *part)
{
    int fits = dbk_validate_attempt(walk, rule->if_rule, part->container);
    if (fits < 0)
        return fits;
    int rc = fits == 1 ? evaluates(walk, rule->if_rule, part, false) : 0;
    const struct dbk_rule *by = fits == 1 ? rule->then_rule : rule->else_rule;
    return rc != 0 || by == NULL ? rc : evaluates(walk, by, part, false);
}

/* Whether a rule, which fits the container, has a say about the part. */
static int evaluates(struct dbk_validation *walk, const struct dbk_rule *rule,
                     const struct part *part, bool own)
{
    int rc = dbk_validate_charge(walk, 1);
    if (rc == 1)
        rc = evaluates_here(walk, rule, part, own);
    if (rc != 0 || !rule->in_place)
        return rc;
    if (rule->referred != NULL)
        rc = evaluates(walk, rule->referred, part, false);
    for (size_t i = 0; i < rule->all_of.count && rc == 0; i++)
        rc = evaluates(walk, rule->all_of.items[i], part, false);
    if (rc == 0)
        rc = evaluates_by_list(walk, &rule->any_of, part);
    if (rc == 0)
        rc = evaluates_by_list(walk, &rule->one_of, part);
    if (rc == 0 && rule->if_rule != NULL)
        rc = evaluates_by_if(walk, rule, part);
    for (size_t i = 0; i < rule->dependency_count && rc == 0; i++) {
        const struct dbk_dependency *dependency = &rule->dependencies[i];
        if (dependency->rule != NULL &&
            dbk_json_member_slice(part->container, dependency->name) != NULL)
            rc = evaluates(walk, dependency->rule, part, false);
    }
    return rc;
}

int dbk_validate_check_unevaluated(struct dbk_validation *walk, const struct dbk_rule *rule,
                                   const struct dbk_rule *by, const struct dbk_json_node *node)
{
    struct part part = {.container = node, .node = dbk_json_first(node)};
    int fits = 1;
    for (; part.index < node->count && fits == 1; part.index++) {
        int evaluated = evaluates(walk, rule, &part, true);
        if (evaluated < 0)
            return evaluated;
        walk->level++;
        if (evaluated == 0)
            fits = dbk_validate_apply(walk, by, part.node);
        if (fits == 0 && by->never)
            (void)dbk_validate_miss(walk, rule, DBK_CHECK_UNKNOWN, part.node);
        walk->level--;
        part.node = dbk_json_sibling(part.node);
    }
    return fits;
}
