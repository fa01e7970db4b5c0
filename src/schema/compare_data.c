/* SPDX-License-Identifier: Apache-2.0 */
/* Lists and objects. */
#include <inttypes.h>
#include <stdio.h>

#include "schema/comparing.h"

/* ---- Lists ---- */

/* What is known of the element at an index. */
static struct dbk_compare_view element_view(const struct dbk_compare_view *view, size_t index)
{
    struct dbk_compare_view element = {.types = DBK_TYPE_ANY};
    for (size_t i = 0; i < view->count; i++) {
        const struct dbk_rule *rule = view->rules[i];
        const struct dbk_rule *by =
            index < rule->prefix.count ? rule->prefix.items[index] : rule->items;
        if (by != NULL)
            dbk_compare_add_rule(&element, by);
    }
    return element;
}

static uint64_t items_max_of(const struct dbk_compare_view *view)
{
    uint64_t most = DBK_COUNT_MAX;
    for (size_t i = 0; i < view->count; i++) {
        if (view->rules[i]->items_max < most)
            most = view->rules[i]->items_max;
    }
    return most;
}

/* `unevaluatedItems` beside nothing that evaluates elements is `items`. */
static const struct dbk_rule *rest_of(const struct dbk_rule *rule)
{
    if (rule->items == NULL && !rule->in_place && rule->contains == NULL)
        return rule->items_unevaluated;
    return rule->items;
}

static bool covers_items(struct dbk_compare *compare, const struct dbk_compare_view *view,
                         const struct dbk_rule *rule)
{
    size_t listed = rule->prefix.count;
    bool good = true;
    for (size_t i = 0; i < view->count; i++) {
        if (view->rules[i]->prefix.count > listed)
            listed = view->rules[i]->prefix.count;
    }
    uint64_t most = items_max_of(view);
    for (size_t i = 0; i <= listed && i < most; i++) { /* The last stands for all behind it. */
        const struct dbk_rule *by = i < rule->prefix.count ? rule->prefix.items[i] : rest_of(rule);
        char step[32];
        if (by == NULL)
            continue;
        struct dbk_compare_view element = element_view(view, i);
        (void)snprintf(step, sizeof(step), i < listed ? "[%zu]" : "[]", i);
        size_t before = dbk_compare_enter(compare, dbk_slice(NULL, 0), step);
        good = dbk_compare_covers(compare, &element, by) && good;
        compare->path_size = before;
    }
    return good;
}

static bool covers_contains(struct dbk_compare *compare, const struct dbk_compare_view *view,
                            const struct dbk_rule *rule)
{
    bool at_least = rule->contains_min == 0;
    bool at_most = rule->contains_max == DBK_COUNT_MAX;
    for (size_t i = 0; i < view->count; i++) {
        const struct dbk_rule *known = view->rules[i];
        if (known->contains == NULL)
            continue;
        struct dbk_compare_view element = {.types = DBK_TYPE_ANY};
        dbk_compare_add_rule(&element, known->contains);
        compare->quiet++;
        at_least = at_least || (known->contains_min >= rule->contains_min &&
                                dbk_compare_covers(compare, &element, rule->contains));
        compare->quiet--;
        at_most = at_most || (known->contains_max <= rule->contains_max &&
                              dbk_compare_means_same(compare, known->contains->source,
                                                     rule->contains->source));
    }
    return (at_least && at_most) ||
           dbk_compare_note(compare, "contains", "asks for elements that `contains` describes");
}

bool dbk_compare_covers_lists(struct dbk_compare *compare, const struct dbk_compare_view *view,
                              const struct dbk_rule *rule)
{
    bool unique = !rule->unique || items_max_of(view) <= 1;
    if ((view->types & DBK_TYPE_ARRAY) == 0)
        return true;
    bool good = dbk_compare_covers_count(compare, view, rule->items_min, DBK_ITEMS_MIN, "minItems");
    good =
        dbk_compare_covers_count(compare, view, rule->items_max, DBK_ITEMS_MAX, "maxItems") && good;
    for (size_t i = 0; i < view->count; i++)
        unique = unique || view->rules[i]->unique;
    if (!unique)
        good = dbk_compare_note(compare, "uniqueItems", "asks for lists without equal elements");
    if (rest_of(rule) != NULL || rule->prefix.count > 0)
        good = covers_items(compare, view, rule) && good;
    if (rule->contains != NULL)
        good = covers_contains(compare, view, rule) && good;
    if (rule->items_unevaluated != NULL && rule->items == NULL &&
        (rule->in_place || rule->contains != NULL))
        good = dbk_compare_note(compare, "unevaluatedItems",
                                "is known to be the same only beside the same");
    return good;
}

/* ---- Objects ---- */

/* 1: the text matches; 0: not; anything else counts as unknown. */
static int matches(struct dbk_compare *compare, const struct dbk_pattern *pattern,
                   struct dbk_slice text)
{
    int found = dbk_pattern_match(pattern, &compare->matcher, text);
    if (found == DBK_ENOMEM)
        compare->rc = DBK_ENOMEM;
    return found;
}

/* What is known of a member by its name. */
static struct dbk_compare_view
member_view(struct dbk_compare *compare, const struct dbk_compare_view *view, struct dbk_slice name)
{
    struct dbk_compare_view member = {.types = DBK_TYPE_ANY};
    for (size_t i = 0; i < view->count; i++) {
        const struct dbk_rule *rule = view->rules[i];
        const struct dbk_property *property = dbk_rule_property(rule, name);
        bool known = property != NULL;
        bool unknown = false;
        if (known)
            dbk_compare_add_rule(&member, property->rule);
        for (size_t j = 0; j < rule->pattern_count; j++) {
            int found = matches(compare, rule->patterns[j].pattern, name);
            if (found == 1)
                dbk_compare_add_rule(&member, rule->patterns[j].rule);
            known = known || found == 1;
            unknown = unknown || found < 0;
        }
        if (!known && !unknown && rule->additional != NULL)
            dbk_compare_add_rule(&member, rule->additional);
    }
    return member;
}

static bool is_required(const struct dbk_compare_view *view, struct dbk_slice name)
{
    for (size_t i = 0; i < view->count; i++) {
        for (size_t j = 0; j < view->rules[i]->required.count; j++) {
            if (dbk_slice_equal(view->rules[i]->required.items[j], name))
                return true;
        }
    }
    return false;
}

/* `unevaluatedProperties` beside nothing that applies in place is `additionalProperties`. */
static const struct dbk_rule *additional_of(const struct dbk_rule *rule)
{
    if (rule->additional == NULL && !rule->in_place)
        return rule->members_unevaluated;
    return rule->additional;
}

/* A member that both or one of them name, by everything that `to` says of it. */
static bool covers_member(struct dbk_compare *compare, const struct dbk_compare_view *view,
                          const struct dbk_rule *rule, struct dbk_slice name)
{
    struct dbk_compare_view member = member_view(compare, view, name);
    const struct dbk_property *property = dbk_rule_property(rule, name);
    const struct dbk_rule *additional = additional_of(rule);
    struct dbk_slice field = compare->field;
    size_t before = dbk_compare_enter(compare, name, NULL);
    bool known = property != NULL;
    bool good = true;
    compare->field = name;
    if (known)
        good = dbk_compare_covers(compare, &member, property->rule);
    for (size_t i = 0; i < rule->pattern_count; i++) {
        int found = matches(compare, rule->patterns[i].pattern, name);
        known = known || found == 1;
        if (found != 0)
            good = dbk_compare_covers(compare, &member, rule->patterns[i].rule) && good;
    }
    if (!known && additional != NULL) {
        if (additional->never && member.types != 0)
            good = dbk_compare_note(compare, "additionalProperties", "does not allow this field");
        else
            good = dbk_compare_covers(compare, &member, additional) && good;
    }
    compare->path_size = before;
    compare->field = field;
    return good;
}

/* Members that neither names, by one rule of the view: true when it proves what `wanted` asks. own:
   a pattern that they match; NULL: what matches none. */
static bool covers_others_by(struct dbk_compare *compare, const struct dbk_rule *known,
                             const struct dbk_rule *to, const struct dbk_rule *wanted,
                             const struct dbk_pattern *own)
{
    struct dbk_compare_view other = {.types = DBK_TYPE_ANY};
    bool good = true;
    for (size_t i = 0; i < known->pattern_count; i++) {
        struct dbk_slice text = dbk_pattern_text(known->patterns[i].pattern);
        bool apart = false; /* what matches it is asked for elsewhere */
        if (own != NULL && dbk_slice_equal(text, dbk_pattern_text(own))) {
            struct dbk_compare_view matched = {.types = DBK_TYPE_ANY};
            dbk_compare_add_rule(&matched, known->patterns[i].rule);
            return dbk_compare_covers(compare, &matched, wanted);
        }
        for (size_t j = 0; own == NULL && j < to->pattern_count; j++)
            apart = apart || dbk_slice_equal(text, dbk_pattern_text(to->patterns[j].pattern));
        if (apart)
            continue;
        struct dbk_compare_view matched = {.types = DBK_TYPE_ANY};
        dbk_compare_add_rule(&matched, known->patterns[i].rule);
        good = good && dbk_compare_covers(compare, &matched, wanted);
    }
    if (known->additional != NULL)
        dbk_compare_add_rule(&other, known->additional);
    else if (!known->in_place && known->members_unevaluated != NULL)
        dbk_compare_add_rule(&other, known->members_unevaluated);
    return good && dbk_compare_covers(compare, &other, wanted);
}

static bool covers_others(struct dbk_compare *compare, const struct dbk_compare_view *view,
                          const struct dbk_rule *to, const struct dbk_rule *wanted,
                          const struct dbk_pattern *own)
{
    struct dbk_compare_view anything = {.types = DBK_TYPE_ANY};
    bool good = false;
    compare->quiet++;
    good = dbk_compare_covers(compare, &anything, wanted);
    for (size_t i = 0; i < view->count && !good; i++)
        good = covers_others_by(compare, view->rules[i], to, wanted, own);
    compare->quiet--;
    return good;
}

static bool covers_members(struct dbk_compare *compare, const struct dbk_compare_view *view,
                           const struct dbk_rule *rule)
{
    const struct dbk_rule *additional = additional_of(rule);
    bool good = true;
    for (size_t i = 0; i < rule->property_count; i++)
        good = covers_member(compare, view, rule, rule->properties[i].name) && good;
    for (size_t i = 0; i < view->count; i++) {
        for (size_t j = 0; j < view->rules[i]->property_count; j++) {
            struct dbk_slice name = view->rules[i]->properties[j].name;
            if (dbk_rule_property(rule, name) == NULL)
                good = covers_member(compare, view, rule, name) && good;
        }
    }
    for (size_t i = 0; i < rule->pattern_count; i++) {
        const struct dbk_pattern *pattern = rule->patterns[i].pattern;
        if (!covers_others(compare, view, rule, rule->patterns[i].rule, pattern))
            good = dbk_compare_note(compare, "patternProperties",
                                    "asks more of fields that match %.*s",
                                    DBK_SLICE_ARGS(dbk_pattern_text(pattern)));
    }
    if (additional != NULL && !covers_others(compare, view, rule, additional, NULL))
        good = dbk_compare_note(compare, "additionalProperties",
                                additional->never ? "allows no fields that it does not name"
                                                  : "asks more of fields that it does not name");
    return good;
}

static bool covers_required(struct dbk_compare *compare, const struct dbk_compare_view *view,
                            const struct dbk_rule *rule)
{
    bool good = true;
    for (size_t i = 0; i < rule->required.count; i++) {
        struct dbk_slice name = rule->required.items[i];
        if (is_required(view, name))
            continue;
        struct dbk_slice field = compare->field;
        compare->field = name;
        good =
            dbk_compare_note(compare, "required", "needs the field `%.*s`", DBK_SLICE_ARGS(name));
        compare->field = field;
    }
    return good;
}

/* Names of members, which are texts. */
static bool covers_names(struct dbk_compare *compare, const struct dbk_compare_view *view,
                         const struct dbk_rule *rule)
{
    struct dbk_compare_view name = {.types = DBK_TYPE_STRING};
    for (size_t i = 0; i < view->count; i++) {
        if (view->rules[i]->names != NULL)
            dbk_compare_add_rule(&name, view->rules[i]->names);
    }
    compare->quiet++;
    bool good = dbk_compare_covers(compare, &name, rule->names);
    compare->quiet--;
    return good || dbk_compare_note(compare, "propertyNames", "asks more of the names of fields");
}

static bool has_dependency(const struct dbk_compare_view *view, struct dbk_slice trigger,
                           struct dbk_slice name)
{
    for (size_t i = 0; i < view->count; i++) {
        const struct dbk_rule *rule = view->rules[i];
        for (size_t j = 0; j < rule->dependency_count; j++) {
            const struct dbk_dependency *known = &rule->dependencies[j];
            if (!dbk_slice_equal(known->name, trigger))
                continue;
            for (size_t k = 0; k < known->required.count; k++) {
                if (dbk_slice_equal(known->required.items[k], name))
                    return true;
            }
        }
    }
    return is_required(view, name);
}

static bool covers_dependency(struct dbk_compare *compare, const struct dbk_compare_view *view,
                              const struct dbk_dependency *wanted)
{
    bool good = true;
    if (member_view(compare, view, wanted->name).types == 0)
        return true; /* It is never there. */
    for (size_t i = 0; i < wanted->required.count; i++) {
        if (!has_dependency(view, wanted->name, wanted->required.items[i]))
            good = dbk_compare_note(
                compare, "dependentRequired", "needs the field `%.*s` where `%.*s` is",
                DBK_SLICE_ARGS(wanted->required.items[i]), DBK_SLICE_ARGS(wanted->name));
    }
    if (wanted->rule == NULL)
        return good;
    struct dbk_compare_view with = *view;
    for (size_t i = 0; i < view->count; i++) {
        const struct dbk_rule *rule = view->rules[i];
        for (size_t j = 0; j < rule->dependency_count; j++) {
            if (rule->dependencies[j].rule != NULL &&
                dbk_slice_equal(rule->dependencies[j].name, wanted->name))
                dbk_compare_add_rule(&with, rule->dependencies[j].rule);
        }
    }
    compare->quiet++;
    bool fits = dbk_compare_covers(compare, &with, wanted->rule);
    compare->quiet--;
    return (fits || dbk_compare_note(compare, "dependentSchemas", "asks more where `%.*s` is",
                                     DBK_SLICE_ARGS(wanted->name))) &&
           good;
}

bool dbk_compare_covers_objects(struct dbk_compare *compare, const struct dbk_compare_view *view,
                                const struct dbk_rule *rule)
{
    if ((view->types & DBK_TYPE_OBJECT) == 0)
        return true;
    bool good = covers_required(compare, view, rule);
    good = covers_members(compare, view, rule) && good;
    good = dbk_compare_covers_count(compare, view, rule->members_min, DBK_MEMBERS_MIN,
                                    "minProperties") &&
           good;
    good = dbk_compare_covers_count(compare, view, rule->members_max, DBK_MEMBERS_MAX,
                                    "maxProperties") &&
           good;
    if (rule->names != NULL)
        good = covers_names(compare, view, rule) && good;
    for (size_t i = 0; i < rule->dependency_count; i++)
        good = covers_dependency(compare, view, &rule->dependencies[i]) && good;
    if (rule->members_unevaluated != NULL && rule->additional == NULL && rule->in_place)
        good = dbk_compare_note(compare, "unevaluatedProperties",
                                "is known to be the same only beside the same");
    return good;
}
