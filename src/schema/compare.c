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

#include "schema/comparing.h"
#include "schema/finding.h"

#define STEPS_MAX 200000
#define DEPTH_MAX 200
/* Branches of `anyOf` and `oneOf` that a view is split by, one within the other. */
#define SPLITS_MAX 3

/* ---- Breaks ---- */

/* Always false: what could not be proven. */
bool dbk_compare_note(struct dbk_compare *compare, const char *keyword, const char *format, ...)
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
size_t dbk_compare_enter(struct dbk_compare *compare, struct dbk_slice name, const char *step)
{
    size_t before = compare->path_size;
    int size = step == NULL
                   ? snprintf(compare->path + before, DBK_COMPARE_PATH_SIZE - before, ".%.*s",
                              DBK_SLICE_ARGS(name))
                   : snprintf(compare->path + before, DBK_COMPARE_PATH_SIZE - before, "%s", step);
    if (size > 0 && before + (size_t)size < DBK_COMPARE_PATH_SIZE)
        compare->path_size = before + (size_t)size;
    return before;
}

/* ---- Views ---- */

/* Adds a rule and those that always apply with it. One too many is left out: the view allows more.
 */
void dbk_compare_add_rule(struct dbk_compare_view *view, const struct dbk_rule *rule)
{
    for (size_t i = 0; i < view->count; i++) {
        if (view->rules[i] == rule)
            return;
    }
    if (view->count == DBK_COMPARE_RULES_MAX)
        return;
    view->rules[view->count++] = rule;
    view->types &= rule->never ? 0 : rule->types;
    if (rule->referred != NULL)
        dbk_compare_add_rule(view, rule->referred);
    for (size_t i = 0; i < rule->all_of.count; i++)
        dbk_compare_add_rule(view, rule->all_of.items[i]);
}

static bool is_same_view(const struct dbk_compare_view *a, const struct dbk_compare_view *b)
{
    return a->count == b->count && a->types == b->types &&
           memcmp(a->rules, b->rules, a->count * sizeof(a->rules[0])) == 0;
}

/* Types that a rule allows at most. */
static unsigned types_of(const struct dbk_rule *rule)
{
    struct dbk_compare_view view = {.types = DBK_TYPE_ANY};
    dbk_compare_add_rule(&view, rule);
    return view.types;
}

/* ---- In place ---- */

static bool is_apart(const struct dbk_compare_view *view, const struct dbk_rule *rule)
{
    return (view->types & types_of(rule)) == 0;
}

/* The branches but one are out of the view's reach. */
static bool others_are_apart(const struct dbk_compare_view *view, const struct dbk_rule_list *list,
                             size_t but)
{
    for (size_t i = 0; i < list->count; i++) {
        if (i != but && !is_apart(view, list->items[i]))
            return false;
    }
    return true;
}

static bool covers_one(struct dbk_compare *compare, const struct dbk_compare_view *view,
                       const struct dbk_rule_list *list, bool alone)
{
    bool good = false;
    compare->quiet++;
    for (size_t i = 0; i < list->count && !good; i++)
        good = (!alone || others_are_apart(view, list, i)) &&
               dbk_compare_covers(compare, view, list->items[i]);
    compare->quiet--;
    return good;
}

/* Some branch takes all of the view, or for each type some branch does. */
static bool covers_branches(struct dbk_compare *compare, const struct dbk_compare_view *view,
                            const struct dbk_rule *rule, const struct dbk_rule_list *list,
                            const char *keyword)
{
    bool alone = list == &rule->one_of;
    if (list->count == 0 || covers_one(compare, view, list, alone))
        return true;
    bool good = true;
    for (unsigned bit = 1; bit < DBK_TYPE_ANY && good; bit <<= 1) {
        struct dbk_compare_view of_type = *view;
        of_type.types &= bit;
        good = of_type.types == 0 || covers_one(compare, &of_type, list, alone);
    }
    /* The same branches beside each other allow the same. */
    return good || dbk_compare_has_same(compare, view, rule, keyword) ||
           dbk_compare_note(compare, keyword,
                            "no branch of it is known to take all that was allowed");
}

static bool covers_not(struct dbk_compare *compare, const struct dbk_compare_view *view,
                       const struct dbk_rule *rule)
{
    if (is_apart(view, rule->not_rule) || dbk_compare_has_same(compare, view, rule, "not"))
        return true;
    return dbk_compare_note(compare, "not", "is not known to leave all that was allowed");
}

static bool covers_if(struct dbk_compare *compare, const struct dbk_compare_view *view,
                      const struct dbk_rule *rule)
{
    bool good = true;
    compare->quiet++;
    if (rule->then_rule != NULL && !is_apart(view, rule->if_rule))
        good = dbk_compare_covers(compare, view, rule->then_rule);
    if (rule->else_rule != NULL)
        good = good && dbk_compare_covers(compare, view, rule->else_rule);
    compare->quiet--;
    return good || dbk_compare_note(compare, "if", "asks more in one of its cases");
}

static bool covers_in_place(struct dbk_compare *compare, const struct dbk_compare_view *view,
                            const struct dbk_rule *rule)
{
    bool good = rule->referred == NULL || dbk_compare_covers(compare, view, rule->referred);
    for (size_t i = 0; i < rule->all_of.count; i++)
        good = dbk_compare_covers(compare, view, rule->all_of.items[i]) && good;
    good = covers_branches(compare, view, rule, &rule->any_of, "anyOf") && good;
    good = covers_branches(compare, view, rule, &rule->one_of, "oneOf") && good;
    if (rule->not_rule != NULL)
        good = covers_not(compare, view, rule) && good;
    if (rule->if_rule != NULL)
        good = covers_if(compare, view, rule) && good;
    return good;
}

/* ---- All of it ---- */

static bool covers_rule(struct dbk_compare *compare, const struct dbk_compare_view *view,
                        const struct dbk_rule *rule)
{
    bool all = true;
    for (size_t i = 0; i < view->count; i++) {
        if (dbk_compare_means_same(compare, view->rules[i]->source, rule->source))
            return true;
    }
    if (rule->never)
        return dbk_compare_note(compare, "false", "allows no value here");
    if ((view->types & ~rule->types) != 0) {
        struct dbk_buf text;
        dbk_buf_init(&text, 512);
        dbk_schema_put_types(&text, view->types & ~rule->types);
        (void)dbk_compare_note(compare, "type", "does not allow %.*s",
                               DBK_SLICE_ARGS(dbk_buf_slice(&text)));
        dbk_buf_release(&text);
        return false;
    }
    if (dbk_compare_try_values(compare, view, rule, &all))
        return all;
    if (rule->constant != NULL || rule->values != NULL)
        return dbk_compare_note(compare, rule->constant != NULL ? "const" : "enum",
                                "allows only some of the values");
    bool good = dbk_compare_covers_numbers(compare, view, rule);
    good = dbk_compare_covers_texts(compare, view, rule) && good;
    good = dbk_compare_covers_lists(compare, view, rule) && good;
    good = dbk_compare_covers_objects(compare, view, rule) && good;
    return rule->in_place ? covers_in_place(compare, view, rule) && good : good;
}

/* The next `anyOf` or `oneOf` that the view can be split by; NULL: none. */
static const struct dbk_rule_list *next_split(struct dbk_compare_view *view)
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
static bool covers_split(struct dbk_compare *compare, const struct dbk_compare_view *view,
                         const struct dbk_rule *rule)
{
    struct dbk_compare_view left = *view;
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
        struct dbk_compare_view branch = left;
        dbk_compare_add_rule(&branch, list->items[i]);
        good = (branch.types == 0 || covers_split(compare, &branch, rule)) && good;
    }
    return good;
}

bool dbk_compare_covers(struct dbk_compare *compare, const struct dbk_compare_view *view,
                        const struct dbk_rule *rule)
{
    if (view->types == 0)
        return true; /* There is no such value. */
    for (const struct dbk_compare_pair *pair = compare->pairs; pair != NULL; pair = pair->above) {
        if (pair->rule == rule && is_same_view(pair->view, view))
            return true;
    }
    if (++compare->steps > STEPS_MAX || compare->depth == DEPTH_MAX)
        return dbk_compare_note(compare, "$ref", "takes too long to compare");
    struct dbk_compare_pair own = {.above = compare->pairs, .view = view, .rule = rule};
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
    struct dbk_compare compare = {
        .from = from, .to = to, .arena = arena, .path = "$", .path_size = 1};
    struct dbk_compare_view view = {.types = DBK_TYPE_ANY};
    compare.breaks = dbk_arena_alloc_zero(arena, DBK_SCHEMA_BREAKS_MAX, sizeof(*compare.breaks));
    if (compare.breaks == NULL)
        return DBK_ENOMEM;
    dbk_compare_add_rule(&view, from->root);
    bool good = dbk_compare_covers(&compare, &view, to->root);
    dbk_matcher_release(&compare.matcher);
    *breaks_out = compare.breaks;
    *count_out = compare.count;
    return compare.rc < 0 ? compare.rc : good;
}
