/* SPDX-License-Identifier: Apache-2.0 */
/* Values that can be counted, numbers, counts and texts. */
#include <inttypes.h>
#include <stdio.h>

#include "schema/comparing.h"

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
bool dbk_compare_means_same(const struct dbk_compare *compare, const struct dbk_json_node *a,
                            const struct dbk_json_node *b)
{
    if (a == NULL || b == NULL || !dbk_json_equal(a, b))
        return false;
    return !has_reference(a) || dbk_json_equal(compare->from->source, compare->to->source);
}

bool dbk_compare_has_same(const struct dbk_compare *compare, const struct dbk_compare_view *view,
                          const struct dbk_rule *rule, const char *keyword)
{
    const struct dbk_json_node *wanted = dbk_json_member(rule->source, keyword);
    for (size_t i = 0; i < view->count; i++) {
        if (dbk_compare_means_same(compare, dbk_json_member(view->rules[i]->source, keyword),
                                   wanted))
            return true;
    }
    return false;
}

/* ---- Values that can be counted ---- */

/* 1: all that the view allows of these values fits; 0: one does not; negative: a code. */
static int try_value(struct dbk_compare *compare, const struct dbk_compare_view *view,
                     const struct dbk_rule *rule, const struct dbk_json_node *value)
{
    for (size_t i = 0; i < view->count; i++) {
        int fits = dbk_rule_fits(view->rules[i], value);
        if (fits != 1)
            return fits == 0 ? 1 : 0;
    }
    return dbk_rule_fits(rule, value) == 1
               ? 1
               : dbk_compare_note(compare, "enum", "does not allow %.*s",
                                  (int)(value->raw.size > 60 ? 60 : value->raw.size),
                                  value->raw.data);
}

static bool is_allowed(const struct dbk_compare_view *view, const struct dbk_json_node *value)
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
bool dbk_compare_try_values(struct dbk_compare *compare, const struct dbk_compare_view *view,
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
static bool has_bound(const struct dbk_compare_view *view, const struct dbk_bound *wanted,
                      bool exclusive, int sign)
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

static bool covers_multiple(const struct dbk_compare_view *view, const struct dbk_bound *wanted)
{
    for (size_t i = 0; i < view->count; i++) {
        const struct dbk_bound *known = &view->rules[i]->multiple;
        if (known->set && dbk_decimal_is_multiple(known->value, wanted->value))
            return true;
    }
    return !wanted->set || ((view->types & DBK_TYPE_FRACTION) == 0 &&
                            dbk_decimal_is_multiple(dbk_decimal_of(1), wanted->value));
}

static bool note_bound(struct dbk_compare *compare, const char *keyword, const char *what,
                       struct dbk_bound bound)
{
    char text[DBK_DECIMAL_TEXT_SIZE];
    (void)dbk_decimal_format(bound.value, text);
    return dbk_compare_note(compare, keyword, "%s %s", what, text);
}

bool dbk_compare_covers_numbers(struct dbk_compare *compare, const struct dbk_compare_view *view,
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

static uint64_t count_of(const struct dbk_rule *rule, enum dbk_compare_count kind)
{
    switch (kind) {
    case DBK_LENGTH_MIN:
        return rule->length_min;
    case DBK_LENGTH_MAX:
        return rule->length_max;
    case DBK_ITEMS_MIN:
        return rule->items_min;
    case DBK_ITEMS_MAX:
        return rule->items_max;
    case DBK_MEMBERS_MIN:
        return rule->members_min > rule->required.count ? rule->members_min : rule->required.count;
    case DBK_MEMBERS_MAX:
        break;
    }
    return rule->members_max;
}

bool dbk_compare_covers_count(struct dbk_compare *compare, const struct dbk_compare_view *view,
                              uint64_t wanted, enum dbk_compare_count kind, const char *keyword)
{
    bool minimum = kind == DBK_LENGTH_MIN || kind == DBK_ITEMS_MIN || kind == DBK_MEMBERS_MIN;
    if (wanted == (minimum ? 0 : DBK_COUNT_MAX))
        return true;
    for (size_t i = 0; i < view->count; i++) {
        uint64_t known = count_of(view->rules[i], kind);
        if (minimum ? known >= wanted : known <= wanted)
            return true;
    }
    return dbk_compare_note(compare, keyword, "asks for at %s %" PRIu64, minimum ? "least" : "most",
                            wanted);
}

/* ---- Texts ---- */

static bool has_pattern(const struct dbk_compare_view *view, struct dbk_slice text)
{
    for (size_t i = 0; i < view->count; i++) {
        if (view->rules[i]->pattern != NULL &&
            dbk_slice_equal(dbk_pattern_text(view->rules[i]->pattern), text))
            return true;
    }
    return false;
}

static bool has_format(const struct dbk_compare_view *view, enum dbk_format format)
{
    for (size_t i = 0; i < view->count; i++) {
        if (view->rules[i]->format == format)
            return true;
    }
    return false;
}

bool dbk_compare_covers_texts(struct dbk_compare *compare, const struct dbk_compare_view *view,
                              const struct dbk_rule *rule)
{
    if ((view->types & DBK_TYPE_STRING) == 0)
        return true;
    bool good =
        dbk_compare_covers_count(compare, view, rule->length_min, DBK_LENGTH_MIN, "minLength");
    good = dbk_compare_covers_count(compare, view, rule->length_max, DBK_LENGTH_MAX, "maxLength") &&
           good;
    if (rule->pattern != NULL && !has_pattern(view, dbk_pattern_text(rule->pattern)))
        good = dbk_compare_note(compare, "pattern", "asks for texts that match %.*s",
                                DBK_SLICE_ARGS(dbk_pattern_text(rule->pattern)));
    if (rule->format != DBK_FORMAT_NONE && !has_format(view, rule->format))
        good = dbk_compare_note(compare, "format", "asks for the format %s",
                                dbk_format_name(rule->format));
    return good;
}
