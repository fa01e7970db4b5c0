/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proof goes down both schemas together. What is known of a value on the side `from` is a view:
 * rules that all apply to it, and the types it may have. Each keyword of a rule on the side `to`
 * must follow from the view; keywords of `from` that are not looked at only make the view allow
 * more, so a proof stays one. A pair that is being proven further up is taken for granted when it
 * is met again deeper in the data: data ends, and so does the proof.
 */
#include "schema/compare.h"

#include <inttypes.h>
#include <stdio.h>

#include "schema/finding.h"
#include "schema/rule.h"

#define VIEW_RULES_MAX 32
#define STEPS_MAX 200000
#define DEPTH_MAX 200
/* Branches of `anyOf` and `oneOf` that a view is split by, one within the other. */
#define SPLITS_MAX 3
#define PATH_MAX_SIZE 1000

struct view {
    const struct dbk_rule *rules[VIEW_RULES_MAX];
    size_t count;
    unsigned types;
    unsigned splits;
    size_t split_at; /* rules before it were split by */
};

/* A pair under proof. */
struct pair {
    const struct pair *above;
    const struct view *view;
    const struct dbk_rule *rule;
};

struct compare {
    const struct dbk_schema *from;
    const struct dbk_schema *to;
    struct dbk_arena *arena;
    struct dbk_matcher matcher;
    const struct pair *pairs;
    uint64_t steps;
    unsigned depth;
    unsigned quiet; /* breaks are not noted */
    int rc;
    char path[PATH_MAX_SIZE];
    size_t path_size;
    struct dbk_slice field;
    struct dbk_schema_break *breaks;
    size_t count;
};

static bool covers(struct compare *compare, const struct view *view, const struct dbk_rule *rule);

/* ---- Breaks ---- */

static bool note(struct compare *compare, const char *keyword, const char *format, ...)
    DBK_PRINTF(3, 4);

/* Always false: what could not be proven. */
static bool note(struct compare *compare, const char *keyword, const char *format, ...)
{
    struct dbk_error what;
    va_list arguments;
    if (compare->quiet > 0 || compare->count == DBK_SCHEMA_BREAKS_MAX)
        return false;
    va_start(arguments, format);
    dbk_error_set_va(&what, DBK_EINVAL, format, arguments);
    va_end(arguments);
    struct dbk_schema_break *item = &compare->breaks[compare->count];
    item->path = dbk_arena_copy(compare->arena, dbk_slice(compare->path, compare->path_size)).data;
    item->what = dbk_arena_copy(compare->arena, dbk_slice_of(what.message)).data;
    item->keyword = keyword;
    item->field = compare->field;
    if (item->path == NULL || item->what == NULL) {
        compare->rc = DBK_ENOMEM;
        return false;
    }
    for (size_t i = 0; i < compare->count; i++) {
        if (strcmp(compare->breaks[i].path, item->path) == 0 &&
            strcmp(compare->breaks[i].what, item->what) == 0)
            return false;
    }
    compare->count++;
    return false;
}

/* Goes into a member or an element, and back with the size that there was. */
static size_t enter(struct compare *compare, struct dbk_slice name, const char *step)
{
    size_t before = compare->path_size;
    int size = step == NULL ? snprintf(compare->path + before, PATH_MAX_SIZE - before, ".%.*s",
                                       DBK_SLICE_ARGS(name))
                            : snprintf(compare->path + before, PATH_MAX_SIZE - before, "%s", step);
    if (size > 0 && before + (size_t)size < PATH_MAX_SIZE)
        compare->path_size = before + (size_t)size;
    return before;
}

/* ---- Views ---- */

/* Adds a rule and those that always apply with it. One too many is left out: the view allows more.
 */
static void add_rule(struct view *view, const struct dbk_rule *rule)
{
    for (size_t i = 0; i < view->count; i++) {
        if (view->rules[i] == rule)
            return;
    }
    if (view->count == VIEW_RULES_MAX)
        return;
    view->rules[view->count++] = rule;
    view->types &= rule->never ? 0 : rule->types;
    if (rule->referred != NULL)
        add_rule(view, rule->referred);
    for (size_t i = 0; i < rule->all_of.count; i++)
        add_rule(view, rule->all_of.items[i]);
}

static bool is_same_view(const struct view *a, const struct view *b)
{
    return a->count == b->count && a->types == b->types &&
           memcmp(a->rules, b->rules, a->count * sizeof(a->rules[0])) == 0;
}

/* Types that a rule allows at most. */
static unsigned types_of(const struct dbk_rule *rule)
{
    struct view view = {.types = DBK_TYPE_ANY};
    add_rule(&view, rule);
    return view.types;
}

/* ---- Keywords that must be the same ---- */

static bool has_reference(const struct dbk_json_node *node)
{
    for (uint32_t i = 0; i < node->next; i++) {
        if (dbk_slice_equal_text(node[i].key, "$ref"))
            return true;
    }
    return false;
}

/* Equal texts mean the same, unless they name schemas that may differ. */
static bool means_same(const struct compare *compare, const struct dbk_json_node *a,
                       const struct dbk_json_node *b)
{
    if (a == NULL || b == NULL || !dbk_json_equal(a, b))
        return false;
    return !has_reference(a) || dbk_json_equal(compare->from->source, compare->to->source);
}

static bool has_same(const struct compare *compare, const struct view *view,
                     const struct dbk_rule *rule, const char *keyword)
{
    const struct dbk_json_node *wanted = dbk_json_member(rule->source, keyword);
    for (size_t i = 0; i < view->count; i++) {
        if (means_same(compare, dbk_json_member(view->rules[i]->source, keyword), wanted))
            return true;
    }
    return false;
}

/* ---- Values that can be counted ---- */

/* 1: all that the view allows of these values fits; 0: one does not; negative: a code. */
static int try_value(struct compare *compare, const struct view *view, const struct dbk_rule *rule,
                     const struct dbk_json_node *value)
{
    for (size_t i = 0; i < view->count; i++) {
        int fits = dbk_rule_fits(view->rules[i], value);
        if (fits != 1)
            return fits == 0 ? 1 : 0;
    }
    return dbk_rule_fits(rule, value) == 1
               ? 1
               : note(compare, "enum", "does not allow %.*s",
                      (int)(value->raw.size > 60 ? 60 : value->raw.size), value->raw.data);
}

static bool is_allowed(const struct view *view, const struct dbk_json_node *value)
{
    switch (value->kind) {
    case DBK_JSON_NULL:
        return (view->types & DBK_TYPE_NULL) != 0;
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
        return (view->types & DBK_TYPE_BOOLEAN) != 0;
    case DBK_JSON_STRING:
        return (view->types & DBK_TYPE_STRING) != 0;
    case DBK_JSON_ARRAY:
        return (view->types & DBK_TYPE_ARRAY) != 0;
    case DBK_JSON_OBJECT:
        return (view->types & DBK_TYPE_OBJECT) != 0;
    case DBK_JSON_INTEGER:
    case DBK_JSON_DECIMAL:
        break;
    }
    return (view->types & DBK_TYPE_NUMBER) != 0;
}

/* True when the view has so few values that each was tried; *all_out: all of them fit. */
static bool try_values(struct compare *compare, const struct view *view,
                       const struct dbk_rule *rule, bool *all_out)
{
    static const struct dbk_json_node few[] = {
        {.kind = DBK_JSON_NULL, .next = 1, .raw = {"null", 4}},
        {.kind = DBK_JSON_FALSE, .next = 1, .raw = {"false", 5}},
        {.kind = DBK_JSON_TRUE, .next = 1, .raw = {"true", 4}}};
    *all_out = true;
    for (size_t i = 0; i < view->count; i++) {
        const struct dbk_rule *known = view->rules[i];
        const struct dbk_json_node *value = known->constant;
        uint32_t count = 1;
        if (value == NULL && known->values != NULL) {
            count = known->values->count;
            value = dbk_json_first(known->values);
        }
        for (uint32_t j = 0; value != NULL && j < count; j++) {
            if (is_allowed(view, value))
                *all_out = try_value(compare, view, rule, value) == 1 && *all_out;
            value = j + 1 < count ? dbk_json_sibling(value) : value;
        }
        if (value != NULL)
            return true;
    }
    if ((view->types & ~(unsigned)(DBK_TYPE_NULL | DBK_TYPE_BOOLEAN)) != 0)
        return false;
    for (size_t i = 0; i < 3; i++) {
        if (is_allowed(view, &few[i]))
            *all_out = try_value(compare, view, rule, &few[i]) == 1 && *all_out;
    }
    return true;
}

/* ---- Numbers ---- */

/* A bound of the view is at least as tight. sign: 1 of minima, -1 of maxima. */
static bool has_bound(const struct view *view, const struct dbk_bound *wanted, bool exclusive,
                      int sign)
{
    for (size_t i = 0; i < view->count; i++) {
        const struct dbk_rule *rule = view->rules[i];
        const struct dbk_bound *open =
            sign > 0 ? &rule->minimum_exclusive : &rule->maximum_exclusive;
        const struct dbk_bound *closed = sign > 0 ? &rule->minimum : &rule->maximum;
        if (open->set && dbk_decimal_compare(open->value, wanted->value) * sign >= 0)
            return true;
        if (closed->set &&
            dbk_decimal_compare(closed->value, wanted->value) * sign >= (exclusive ? 1 : 0))
            return true;
    }
    return !wanted->set;
}

static bool covers_multiple(const struct view *view, const struct dbk_bound *wanted)
{
    for (size_t i = 0; i < view->count; i++) {
        const struct dbk_bound *known = &view->rules[i]->multiple;
        if (known->set && dbk_decimal_is_multiple(known->value, wanted->value))
            return true;
    }
    return !wanted->set || ((view->types & DBK_TYPE_FRACTION) == 0 &&
                            dbk_decimal_is_multiple(dbk_decimal_of(1), wanted->value));
}

static bool note_bound(struct compare *compare, const char *keyword, const char *what,
                       struct dbk_bound bound)
{
    char text[DBK_DECIMAL_TEXT_SIZE];
    (void)dbk_decimal_format(bound.value, text);
    return note(compare, keyword, "%s %s", what, text);
}

static bool covers_numbers(struct compare *compare, const struct view *view,
                           const struct dbk_rule *rule)
{
    bool good = true;
    if ((view->types & DBK_TYPE_NUMBER) == 0)
        return true;
    if (!has_bound(view, &rule->minimum, false, 1))
        good = note_bound(compare, "minimum", "asks for at least", rule->minimum);
    if (!has_bound(view, &rule->minimum_exclusive, true, 1))
        good =
            note_bound(compare, "exclusiveMinimum", "asks for more than", rule->minimum_exclusive);
    if (!has_bound(view, &rule->maximum, false, -1))
        good = note_bound(compare, "maximum", "asks for at most", rule->maximum);
    if (!has_bound(view, &rule->maximum_exclusive, true, -1))
        good =
            note_bound(compare, "exclusiveMaximum", "asks for less than", rule->maximum_exclusive);
    if (!covers_multiple(view, &rule->multiple))
        good = note_bound(compare, "multipleOf", "asks for a multiple of", rule->multiple);
    return good;
}

/* ---- Counts ---- */

enum count_kind {
    LENGTH_MIN,
    LENGTH_MAX,
    ITEMS_MIN,
    ITEMS_MAX,
    MEMBERS_MIN,
    MEMBERS_MAX,
};

static uint64_t count_of(const struct dbk_rule *rule, enum count_kind kind)
{
    switch (kind) {
    case LENGTH_MIN:
        return rule->length_min;
    case LENGTH_MAX:
        return rule->length_max;
    case ITEMS_MIN:
        return rule->items_min;
    case ITEMS_MAX:
        return rule->items_max;
    case MEMBERS_MIN:
        return rule->members_min > rule->required.count ? rule->members_min : rule->required.count;
    case MEMBERS_MAX:
        break;
    }
    return rule->members_max;
}

static bool covers_count(struct compare *compare, const struct view *view, uint64_t wanted,
                         enum count_kind kind, const char *keyword)
{
    bool minimum = kind == LENGTH_MIN || kind == ITEMS_MIN || kind == MEMBERS_MIN;
    if (wanted == (minimum ? 0 : DBK_COUNT_MAX))
        return true;
    for (size_t i = 0; i < view->count; i++) {
        uint64_t known = count_of(view->rules[i], kind);
        if (minimum ? known >= wanted : known <= wanted)
            return true;
    }
    return note(compare, keyword, "asks for at %s %" PRIu64, minimum ? "least" : "most", wanted);
}

/* ---- Texts ---- */

static bool has_pattern(const struct view *view, struct dbk_slice text)
{
    for (size_t i = 0; i < view->count; i++) {
        if (view->rules[i]->pattern != NULL &&
            dbk_slice_equal(dbk_pattern_text(view->rules[i]->pattern), text))
            return true;
    }
    return false;
}

static bool has_format(const struct view *view, enum dbk_format format)
{
    for (size_t i = 0; i < view->count; i++) {
        if (view->rules[i]->format == format)
            return true;
    }
    return false;
}

static bool covers_texts(struct compare *compare, const struct view *view,
                         const struct dbk_rule *rule)
{
    if ((view->types & DBK_TYPE_STRING) == 0)
        return true;
    bool good = covers_count(compare, view, rule->length_min, LENGTH_MIN, "minLength");
    good = covers_count(compare, view, rule->length_max, LENGTH_MAX, "maxLength") && good;
    if (rule->pattern != NULL && !has_pattern(view, dbk_pattern_text(rule->pattern)))
        good = note(compare, "pattern", "asks for texts that match %.*s",
                    DBK_SLICE_ARGS(dbk_pattern_text(rule->pattern)));
    if (rule->format != DBK_FORMAT_NONE && !has_format(view, rule->format))
        good = note(compare, "format", "asks for the format %s", dbk_format_name(rule->format));
    return good;
}

/* ---- Lists ---- */

/* What is known of the element at an index. */
static struct view element_view(const struct view *view, size_t index)
{
    struct view element = {.types = DBK_TYPE_ANY};
    for (size_t i = 0; i < view->count; i++) {
        const struct dbk_rule *rule = view->rules[i];
        const struct dbk_rule *by =
            index < rule->prefix.count ? rule->prefix.items[index] : rule->items;
        if (by != NULL)
            add_rule(&element, by);
    }
    return element;
}

static uint64_t items_max_of(const struct view *view)
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

static bool covers_items(struct compare *compare, const struct view *view,
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
        struct view element = element_view(view, i);
        (void)snprintf(step, sizeof(step), i < listed ? "[%zu]" : "[]", i);
        size_t before = enter(compare, dbk_slice(NULL, 0), step);
        good = covers(compare, &element, by) && good;
        compare->path_size = before;
    }
    return good;
}

static bool covers_contains(struct compare *compare, const struct view *view,
                            const struct dbk_rule *rule)
{
    bool at_least = rule->contains_min == 0;
    bool at_most = rule->contains_max == DBK_COUNT_MAX;
    for (size_t i = 0; i < view->count; i++) {
        const struct dbk_rule *known = view->rules[i];
        if (known->contains == NULL)
            continue;
        struct view element = {.types = DBK_TYPE_ANY};
        add_rule(&element, known->contains);
        compare->quiet++;
        at_least = at_least || (known->contains_min >= rule->contains_min &&
                                covers(compare, &element, rule->contains));
        compare->quiet--;
        at_most = at_most || (known->contains_max <= rule->contains_max &&
                              means_same(compare, known->contains->source, rule->contains->source));
    }
    return (at_least && at_most) ||
           note(compare, "contains", "asks for elements that `contains` describes");
}

static bool covers_lists(struct compare *compare, const struct view *view,
                         const struct dbk_rule *rule)
{
    bool unique = !rule->unique || items_max_of(view) <= 1;
    if ((view->types & DBK_TYPE_ARRAY) == 0)
        return true;
    bool good = covers_count(compare, view, rule->items_min, ITEMS_MIN, "minItems");
    good = covers_count(compare, view, rule->items_max, ITEMS_MAX, "maxItems") && good;
    for (size_t i = 0; i < view->count; i++)
        unique = unique || view->rules[i]->unique;
    if (!unique)
        good = note(compare, "uniqueItems", "asks for lists without equal elements");
    if (rest_of(rule) != NULL || rule->prefix.count > 0)
        good = covers_items(compare, view, rule) && good;
    if (rule->contains != NULL)
        good = covers_contains(compare, view, rule) && good;
    if (rule->items_unevaluated != NULL && rule->items == NULL &&
        (rule->in_place || rule->contains != NULL))
        good = note(compare, "unevaluatedItems", "is known to be the same only beside the same");
    return good;
}

/* ---- Objects ---- */

/* 1: the text matches; 0: not; anything else counts as unknown. */
static int matches(struct compare *compare, const struct dbk_pattern *pattern,
                   struct dbk_slice text)
{
    int found = dbk_pattern_match(pattern, &compare->matcher, text);
    if (found == DBK_ENOMEM)
        compare->rc = DBK_ENOMEM;
    return found;
}

/* What is known of a member by its name. */
static struct view member_view(struct compare *compare, const struct view *view,
                               struct dbk_slice name)
{
    struct view member = {.types = DBK_TYPE_ANY};
    for (size_t i = 0; i < view->count; i++) {
        const struct dbk_rule *rule = view->rules[i];
        const struct dbk_property *property = dbk_rule_property(rule, name);
        bool known = property != NULL;
        bool unknown = false;
        if (known)
            add_rule(&member, property->rule);
        for (size_t j = 0; j < rule->pattern_count; j++) {
            int found = matches(compare, rule->patterns[j].pattern, name);
            if (found == 1)
                add_rule(&member, rule->patterns[j].rule);
            known = known || found == 1;
            unknown = unknown || found < 0;
        }
        if (!known && !unknown && rule->additional != NULL)
            add_rule(&member, rule->additional);
    }
    return member;
}

static bool is_required(const struct view *view, struct dbk_slice name)
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
static bool covers_member(struct compare *compare, const struct view *view,
                          const struct dbk_rule *rule, struct dbk_slice name)
{
    struct view member = member_view(compare, view, name);
    const struct dbk_property *property = dbk_rule_property(rule, name);
    const struct dbk_rule *additional = additional_of(rule);
    struct dbk_slice field = compare->field;
    size_t before = enter(compare, name, NULL);
    bool known = property != NULL;
    bool good = true;
    compare->field = name;
    if (known)
        good = covers(compare, &member, property->rule);
    for (size_t i = 0; i < rule->pattern_count; i++) {
        int found = matches(compare, rule->patterns[i].pattern, name);
        known = known || found == 1;
        if (found != 0)
            good = covers(compare, &member, rule->patterns[i].rule) && good;
    }
    if (!known && additional != NULL) {
        if (additional->never && member.types != 0)
            good = note(compare, "additionalProperties", "does not allow this field");
        else
            good = covers(compare, &member, additional) && good;
    }
    compare->path_size = before;
    compare->field = field;
    return good;
}

/* Members that neither names, by one rule of the view: true when it proves what `wanted` asks. own:
   a pattern that they match; NULL: what matches none. */
static bool covers_others_by(struct compare *compare, const struct dbk_rule *known,
                             const struct dbk_rule *to, const struct dbk_rule *wanted,
                             const struct dbk_pattern *own)
{
    struct view other = {.types = DBK_TYPE_ANY};
    bool good = true;
    for (size_t i = 0; i < known->pattern_count; i++) {
        struct dbk_slice text = dbk_pattern_text(known->patterns[i].pattern);
        bool apart = false; /* what matches it is asked for elsewhere */
        if (own != NULL && dbk_slice_equal(text, dbk_pattern_text(own))) {
            struct view matched = {.types = DBK_TYPE_ANY};
            add_rule(&matched, known->patterns[i].rule);
            return covers(compare, &matched, wanted);
        }
        for (size_t j = 0; own == NULL && j < to->pattern_count; j++)
            apart = apart || dbk_slice_equal(text, dbk_pattern_text(to->patterns[j].pattern));
        if (apart)
            continue;
        struct view matched = {.types = DBK_TYPE_ANY};
        add_rule(&matched, known->patterns[i].rule);
        good = good && covers(compare, &matched, wanted);
    }
    if (known->additional != NULL)
        add_rule(&other, known->additional);
    else if (!known->in_place && known->members_unevaluated != NULL)
        add_rule(&other, known->members_unevaluated);
    return good && covers(compare, &other, wanted);
}

static bool covers_others(struct compare *compare, const struct view *view,
                          const struct dbk_rule *to, const struct dbk_rule *wanted,
                          const struct dbk_pattern *own)
{
    struct view anything = {.types = DBK_TYPE_ANY};
    bool good = false;
    compare->quiet++;
    good = covers(compare, &anything, wanted);
    for (size_t i = 0; i < view->count && !good; i++)
        good = covers_others_by(compare, view->rules[i], to, wanted, own);
    compare->quiet--;
    return good;
}

static bool covers_members(struct compare *compare, const struct view *view,
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
            good = note(compare, "patternProperties", "asks more of fields that match %.*s",
                        DBK_SLICE_ARGS(dbk_pattern_text(pattern)));
    }
    if (additional != NULL && !covers_others(compare, view, rule, additional, NULL))
        good = note(compare, "additionalProperties",
                    additional->never ? "allows no fields that it does not name"
                                      : "asks more of fields that it does not name");
    return good;
}

static bool covers_required(struct compare *compare, const struct view *view,
                            const struct dbk_rule *rule)
{
    bool good = true;
    for (size_t i = 0; i < rule->required.count; i++) {
        struct dbk_slice name = rule->required.items[i];
        if (is_required(view, name))
            continue;
        struct dbk_slice field = compare->field;
        compare->field = name;
        good = note(compare, "required", "needs the field `%.*s`", DBK_SLICE_ARGS(name));
        compare->field = field;
    }
    return good;
}

/* Names of members, which are texts. */
static bool covers_names(struct compare *compare, const struct view *view,
                         const struct dbk_rule *rule)
{
    struct view name = {.types = DBK_TYPE_STRING};
    for (size_t i = 0; i < view->count; i++) {
        if (view->rules[i]->names != NULL)
            add_rule(&name, view->rules[i]->names);
    }
    compare->quiet++;
    bool good = covers(compare, &name, rule->names);
    compare->quiet--;
    return good || note(compare, "propertyNames", "asks more of the names of fields");
}

static bool has_dependency(const struct view *view, struct dbk_slice trigger, struct dbk_slice name)
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

static bool covers_dependency(struct compare *compare, const struct view *view,
                              const struct dbk_dependency *wanted)
{
    bool good = true;
    if (member_view(compare, view, wanted->name).types == 0)
        return true; /* It is never there. */
    for (size_t i = 0; i < wanted->required.count; i++) {
        if (!has_dependency(view, wanted->name, wanted->required.items[i]))
            good = note(compare, "dependentRequired", "needs the field `%.*s` where `%.*s` is",
                        DBK_SLICE_ARGS(wanted->required.items[i]), DBK_SLICE_ARGS(wanted->name));
    }
    if (wanted->rule == NULL)
        return good;
    struct view with = *view;
    for (size_t i = 0; i < view->count; i++) {
        const struct dbk_rule *rule = view->rules[i];
        for (size_t j = 0; j < rule->dependency_count; j++) {
            if (rule->dependencies[j].rule != NULL &&
                dbk_slice_equal(rule->dependencies[j].name, wanted->name))
                add_rule(&with, rule->dependencies[j].rule);
        }
    }
    compare->quiet++;
    bool fits = covers(compare, &with, wanted->rule);
    compare->quiet--;
    return (fits || note(compare, "dependentSchemas", "asks more where `%.*s` is",
                         DBK_SLICE_ARGS(wanted->name))) &&
           good;
}

static bool covers_objects(struct compare *compare, const struct view *view,
                           const struct dbk_rule *rule)
{
    if ((view->types & DBK_TYPE_OBJECT) == 0)
        return true;
    bool good = covers_required(compare, view, rule);
    good = covers_members(compare, view, rule) && good;
    good = covers_count(compare, view, rule->members_min, MEMBERS_MIN, "minProperties") && good;
    good = covers_count(compare, view, rule->members_max, MEMBERS_MAX, "maxProperties") && good;
    if (rule->names != NULL)
        good = covers_names(compare, view, rule) && good;
    for (size_t i = 0; i < rule->dependency_count; i++)
        good = covers_dependency(compare, view, &rule->dependencies[i]) && good;
    if (rule->members_unevaluated != NULL && rule->additional == NULL && rule->in_place)
        good =
            note(compare, "unevaluatedProperties", "is known to be the same only beside the same");
    return good;
}

/* ---- In place ---- */

static bool is_apart(const struct view *view, const struct dbk_rule *rule)
{
    return (view->types & types_of(rule)) == 0;
}

/* The branches but one are out of the view's reach. */
static bool others_are_apart(const struct view *view, const struct dbk_rule_list *list, size_t but)
{
    for (size_t i = 0; i < list->count; i++) {
        if (i != but && !is_apart(view, list->items[i]))
            return false;
    }
    return true;
}

static bool covers_one(struct compare *compare, const struct view *view,
                       const struct dbk_rule_list *list, bool alone)
{
    bool good = false;
    compare->quiet++;
    for (size_t i = 0; i < list->count && !good; i++)
        good = (!alone || others_are_apart(view, list, i)) && covers(compare, view, list->items[i]);
    compare->quiet--;
    return good;
}

/* Some branch takes all of the view, or for each type some branch does. */
static bool covers_branches(struct compare *compare, const struct view *view,
                            const struct dbk_rule *rule, const struct dbk_rule_list *list,
                            const char *keyword)
{
    bool alone = list == &rule->one_of;
    if (list->count == 0 || covers_one(compare, view, list, alone))
        return true;
    bool good = true;
    for (unsigned bit = 1; bit < DBK_TYPE_ANY && good; bit <<= 1) {
        struct view of_type = *view;
        of_type.types &= bit;
        good = of_type.types == 0 || covers_one(compare, &of_type, list, alone);
    }
    /* The same branches beside each other allow the same. */
    return good || has_same(compare, view, rule, keyword) ||
           note(compare, keyword, "no branch of it is known to take all that was allowed");
}

static bool covers_not(struct compare *compare, const struct view *view,
                       const struct dbk_rule *rule)
{
    if (is_apart(view, rule->not_rule) || has_same(compare, view, rule, "not"))
        return true;
    return note(compare, "not", "is not known to leave all that was allowed");
}

static bool covers_if(struct compare *compare, const struct view *view, const struct dbk_rule *rule)
{
    bool good = true;
    compare->quiet++;
    if (rule->then_rule != NULL && !is_apart(view, rule->if_rule))
        good = covers(compare, view, rule->then_rule);
    if (rule->else_rule != NULL)
        good = good && covers(compare, view, rule->else_rule);
    compare->quiet--;
    return good || note(compare, "if", "asks more in one of its cases");
}

static bool covers_in_place(struct compare *compare, const struct view *view,
                            const struct dbk_rule *rule)
{
    bool good = rule->referred == NULL || covers(compare, view, rule->referred);
    for (size_t i = 0; i < rule->all_of.count; i++)
        good = covers(compare, view, rule->all_of.items[i]) && good;
    good = covers_branches(compare, view, rule, &rule->any_of, "anyOf") && good;
    good = covers_branches(compare, view, rule, &rule->one_of, "oneOf") && good;
    if (rule->not_rule != NULL)
        good = covers_not(compare, view, rule) && good;
    if (rule->if_rule != NULL)
        good = covers_if(compare, view, rule) && good;
    return good;
}

/* ---- All of it ---- */

static bool covers_rule(struct compare *compare, const struct view *view,
                        const struct dbk_rule *rule)
{
    bool all = true;
    for (size_t i = 0; i < view->count; i++) {
        if (means_same(compare, view->rules[i]->source, rule->source))
            return true;
    }
    if (rule->never)
        return note(compare, "false", "allows no value here");
    if ((view->types & ~rule->types) != 0) {
        struct dbk_buf text;
        dbk_buf_init(&text, 512);
        dbk_schema_put_types(&text, view->types & ~rule->types);
        (void)note(compare, "type", "does not allow %.*s", DBK_SLICE_ARGS(dbk_buf_slice(&text)));
        dbk_buf_release(&text);
        return false;
    }
    if (try_values(compare, view, rule, &all))
        return all;
    if (rule->constant != NULL || rule->values != NULL)
        return note(compare, rule->constant != NULL ? "const" : "enum",
                    "allows only some of the values");
    bool good = covers_numbers(compare, view, rule);
    good = covers_texts(compare, view, rule) && good;
    good = covers_lists(compare, view, rule) && good;
    good = covers_objects(compare, view, rule) && good;
    return rule->in_place ? covers_in_place(compare, view, rule) && good : good;
}

/* The next `anyOf` or `oneOf` that the view can be split by; NULL: none. */
static const struct dbk_rule_list *next_split(struct view *view)
{
    for (; view->split_at < view->count; view->split_at++) {
        const struct dbk_rule *rule = view->rules[view->split_at];
        const struct dbk_rule_list *list = rule->any_of.count > 0 ? &rule->any_of : &rule->one_of;
        if (list->count > 0) {
            view->split_at++;
            return list;
        }
    }
    return NULL;
}

/* What the view allows is taken branch by branch: all must be covered. */
static bool covers_split(struct compare *compare, const struct view *view,
                         const struct dbk_rule *rule)
{
    struct view left = *view;
    const struct dbk_rule_list *list = view->splits < SPLITS_MAX ? next_split(&left) : NULL;
    bool good = true;
    if (list == NULL)
        return covers_rule(compare, view, rule);
    compare->quiet++;
    bool whole = covers_rule(compare, view, rule);
    compare->quiet--;
    if (whole)
        return true;
    left.splits++;
    for (size_t i = 0; i < list->count; i++) {
        struct view branch = left;
        add_rule(&branch, list->items[i]);
        good = (branch.types == 0 || covers_split(compare, &branch, rule)) && good;
    }
    return good;
}

static bool covers(struct compare *compare, const struct view *view, const struct dbk_rule *rule)
{
    if (view->types == 0)
        return true; /* There is no such value. */
    for (const struct pair *pair = compare->pairs; pair != NULL; pair = pair->above) {
        if (pair->rule == rule && is_same_view(pair->view, view))
            return true;
    }
    if (++compare->steps > STEPS_MAX || compare->depth == DEPTH_MAX)
        return note(compare, "$ref", "takes too long to compare");
    struct pair own = {.above = compare->pairs, .view = view, .rule = rule};
    compare->pairs = &own;
    compare->depth++;
    bool good = covers_split(compare, view, rule);
    compare->depth--;
    compare->pairs = own.above;
    return good;
}

int dbk_schema_covers(const struct dbk_schema *from, const struct dbk_schema *to,
                      struct dbk_arena *arena, const struct dbk_schema_break **breaks_out,
                      size_t *count_out)
{
    struct compare compare = {.from = from, .to = to, .arena = arena, .path = "$", .path_size = 1};
    struct view view = {.types = DBK_TYPE_ANY};
    compare.breaks = dbk_arena_alloc_zero(arena, DBK_SCHEMA_BREAKS_MAX, sizeof(*compare.breaks));
    if (compare.breaks == NULL)
        return DBK_ENOMEM;
    add_rule(&view, from->root);
    bool good = covers(&compare, &view, to->root);
    dbk_matcher_release(&compare.matcher);
    *breaks_out = compare.breaks;
    *count_out = compare.count;
    return compare.rc < 0 ? compare.rc : good;
}
