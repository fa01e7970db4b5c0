/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules applied to data. A check answers 1 (it fits), 0 (it does not: `finding` says where and why)
 * or a negative code. What a finding says in words is worked out only for the one that is reported,
 * in explain.c.
 */
#include <stdlib.h>

#include "schema/validating.h"

/* Rules within rules at one time; also what bounds the stack. */
#define DEPTH_MAX 1000
/* Elements up to so many are compared pair by pair. */
#define PAIRWISE_MAX 16

int dbk_validate_miss(struct dbk_validation *walk, const struct dbk_rule *rule,
                      enum dbk_check check, const struct dbk_json_node *node)
{
    walk->finding =
        (struct dbk_finding){.rule = rule, .check = check, .node = node, .level = walk->level};
    return 0;
}

int dbk_validate_charge(struct dbk_validation *walk, uint64_t steps)
{
    walk->steps += steps;
    if (walk->steps <= DBK_SCHEMA_STEPS_MAX)
        return 1;
    walk->finding.check = DBK_CHECK_NONE;
    return DBK_ELIMIT;
}

/* Applies a rule whose misses are no faults. */
int dbk_validate_attempt(struct dbk_validation *walk, const struct dbk_rule *rule,
                         const struct dbk_json_node *node)
{
    struct dbk_finding before = walk->finding;
    int fits = dbk_validate_apply(walk, rule, node);
    if (fits == 0)
        walk->finding = before;
    return fits;
}

/* ---- Scalars ---- */

static unsigned type_of(const struct dbk_json_node *node)
{
    static const unsigned types[] = {
        [DBK_JSON_NULL] = DBK_TYPE_NULL,        [DBK_JSON_FALSE] = DBK_TYPE_BOOLEAN,
        [DBK_JSON_TRUE] = DBK_TYPE_BOOLEAN,     [DBK_JSON_INTEGER] = DBK_TYPE_INTEGER,
        [DBK_JSON_DECIMAL] = DBK_TYPE_FRACTION, [DBK_JSON_STRING] = DBK_TYPE_STRING,
        [DBK_JSON_ARRAY] = DBK_TYPE_ARRAY,      [DBK_JSON_OBJECT] = DBK_TYPE_OBJECT,
    };
    if (node->kind == DBK_JSON_DECIMAL && node->decimal.exponent >= 0)
        return DBK_TYPE_INTEGER; /* 1.0 */
    return types[node->kind];
}

static int check_value(struct dbk_validation *walk, const struct dbk_rule *rule,
                       const struct dbk_json_node *node)
{
    if (rule->constant != NULL && !dbk_json_equal(rule->constant, node))
        return dbk_validate_miss(walk, rule, DBK_CHECK_CONST, node);
    if (rule->values == NULL)
        return 1;
    const struct dbk_json_node *value = dbk_json_first(rule->values);
    for (uint32_t i = 0; i < rule->values->count; i++) {
        if (dbk_json_equal(value, node))
            return 1;
        value = dbk_json_sibling(value);
    }
    return dbk_validate_miss(walk, rule, DBK_CHECK_ENUM, node);
}

static int check_number(struct dbk_validation *walk, const struct dbk_rule *rule,
                        const struct dbk_json_node *node)
{
    bool any = rule->minimum.set || rule->maximum.set || rule->minimum_exclusive.set ||
               rule->maximum_exclusive.set || rule->multiple.set;
    struct dbk_decimal number;
    if (!any || !dbk_json_number(node, &number))
        return 1;
    if (rule->minimum.set && dbk_decimal_compare(number, rule->minimum.value) < 0)
        return dbk_validate_miss(walk, rule, DBK_CHECK_MINIMUM, node);
    if (rule->maximum.set && dbk_decimal_compare(number, rule->maximum.value) > 0)
        return dbk_validate_miss(walk, rule, DBK_CHECK_MAXIMUM, node);
    if (rule->minimum_exclusive.set &&
        dbk_decimal_compare(number, rule->minimum_exclusive.value) <= 0)
        return dbk_validate_miss(walk, rule, DBK_CHECK_MINIMUM_EXCLUSIVE, node);
    if (rule->maximum_exclusive.set &&
        dbk_decimal_compare(number, rule->maximum_exclusive.value) >= 0)
        return dbk_validate_miss(walk, rule, DBK_CHECK_MAXIMUM_EXCLUSIVE, node);
    if (rule->multiple.set && !dbk_decimal_is_multiple(number, rule->multiple.value))
        return dbk_validate_miss(walk, rule, DBK_CHECK_MULTIPLE, node);
    return 1;
}

static int check_text(struct dbk_validation *walk, const struct dbk_rule *rule,
                      const struct dbk_json_node *node)
{
    if (rule->length_min > 0 || rule->length_max != DBK_COUNT_MAX) {
        uint64_t length = 0;
        for (size_t i = 0; i < node->text.size; i++)
            length += ((unsigned char)node->text.data[i] & 0xC0) != 0x80;
        if (length < rule->length_min)
            return dbk_validate_miss(walk, rule, DBK_CHECK_LENGTH_MIN, node);
        if (length > rule->length_max)
            return dbk_validate_miss(walk, rule, DBK_CHECK_LENGTH_MAX, node);
    }
    if (rule->pattern != NULL) {
        int found = dbk_pattern_match(rule->pattern, &walk->matcher, node->text);
        if (found == DBK_ELIMIT)
            (void)dbk_validate_miss(walk, rule, DBK_CHECK_PATTERN, node);
        if (found != 1)
            return found < 0 ? found : dbk_validate_miss(walk, rule, DBK_CHECK_PATTERN, node);
    }
    if (!dbk_format_fits(rule->format, node->text))
        return dbk_validate_miss(walk, rule, DBK_CHECK_FORMAT, node);
    return 1;
}

/* ---- Arrays ---- */

struct hashed {
    uint64_t hash;
    const struct dbk_json_node *node;
};

static int compare_hashed(const void *a, const void *b)
{
    const struct hashed *left = a;
    const struct hashed *right = b;
    if (left->hash != right->hash)
        return left->hash < right->hash ? -1 : 1;
    return (left->node > right->node) - (left->node < right->node);
}

static int compare_pair(struct dbk_validation *walk, const struct dbk_json_node *a,
                        const struct dbk_json_node *b)
{
    int rc = dbk_validate_charge(walk, 1 + a->next + (uint64_t)a->count * a->count / 64);
    return rc < 0 ? rc : !dbk_json_equal(a, b);
}

/* Elements with equal hashes stand side by side. */
static int check_unique_hashed(struct dbk_validation *walk, const struct dbk_rule *rule,
                               const struct dbk_json_node *node)
{
    struct hashed *items = dbk_alloc_zero(node->count, sizeof(*items));
    if (items == NULL)
        return DBK_ENOMEM;
    const struct dbk_json_node *item = dbk_json_first(node);
    for (uint32_t i = 0; i < node->count; i++) {
        items[i] = (struct hashed){.hash = dbk_json_hash(item), .node = item};
        item = dbk_json_sibling(item);
    }
    qsort(items, node->count, sizeof(*items), compare_hashed);
    int rc = 1;
    for (uint32_t i = 1; i < node->count && rc == 1; i++) {
        for (uint32_t j = i; j > 0 && items[j - 1].hash == items[i].hash && rc == 1; j--)
            rc = compare_pair(walk, items[j - 1].node, items[i].node);
        if (rc == 0)
            (void)dbk_validate_miss(walk, rule, DBK_CHECK_UNIQUE, items[i].node);
    }
    dbk_free(items);
    return rc;
}

static int check_unique(struct dbk_validation *walk, const struct dbk_rule *rule,
                        const struct dbk_json_node *node)
{
    if (node->count > PAIRWISE_MAX)
        return check_unique_hashed(walk, rule, node);
    const struct dbk_json_node *item = dbk_json_first(node);
    for (uint32_t i = 0; i < node->count; i++) {
        const struct dbk_json_node *earlier = dbk_json_first(node);
        for (uint32_t j = 0; j < i; j++) {
            int rc = compare_pair(walk, earlier, item);
            if (rc != 1)
                return rc < 0 ? rc : dbk_validate_miss(walk, rule, DBK_CHECK_UNIQUE, item);
            earlier = dbk_json_sibling(earlier);
        }
        item = dbk_json_sibling(item);
    }
    return 1;
}

static int check_contains(struct dbk_validation *walk, const struct dbk_rule *rule,
                          const struct dbk_json_node *node)
{
    const struct dbk_json_node *item = dbk_json_first(node);
    uint64_t found = 0;
    for (uint32_t i = 0; i < node->count && found <= rule->contains_max; i++) {
        int fits = dbk_validate_attempt(walk, rule->contains, item);
        if (fits < 0)
            return fits;
        found += (uint64_t)fits;
        item = dbk_json_sibling(item);
    }
    if (found > rule->contains_max)
        return dbk_validate_miss(walk, rule, DBK_CHECK_CONTAINS_MAX, node);
    return found < rule->contains_min ? dbk_validate_miss(walk, rule, DBK_CHECK_CONTAINS_MIN, node)
                                      : 1;
}

static int check_items(struct dbk_validation *walk, const struct dbk_rule *rule,
                       const struct dbk_json_node *node)
{
    const struct dbk_json_node *item = dbk_json_first(node);
    int fits = 1;
    walk->level++;
    for (uint32_t i = 0; i < node->count && fits == 1; i++) {
        const struct dbk_rule *by = i < rule->prefix.count ? rule->prefix.items[i] : rule->items;
        if (by != NULL)
            fits = dbk_validate_apply(walk, by, item);
        item = dbk_json_sibling(item);
    }
    walk->level--;
    return fits;
}

static int check_array(struct dbk_validation *walk, const struct dbk_rule *rule,
                       const struct dbk_json_node *node)
{
    if (node->count < rule->items_min)
        return dbk_validate_miss(walk, rule, DBK_CHECK_ITEMS_MIN, node);
    if (node->count > rule->items_max)
        return dbk_validate_miss(walk, rule, DBK_CHECK_ITEMS_MAX, node);
    int fits = 1;
    if (rule->items != NULL || rule->prefix.count > 0)
        fits = check_items(walk, rule, node);
    if (fits == 1 && rule->unique)
        fits = check_unique(walk, rule, node);
    if (fits == 1 && rule->contains != NULL)
        fits = check_contains(walk, rule, node);
    return fits;
}

/* ---- Objects ---- */

static int check_name(struct dbk_validation *walk, const struct dbk_rule *rule,
                      const struct dbk_json_node *member)
{
    const struct dbk_json_node name = {
        .kind = DBK_JSON_STRING, .next = 1, .raw = member->key, .text = member->key};
    int fits = dbk_validate_apply(walk, rule->names, &name);
    if (fits == 0) {
        walk->finding.node = member;
        walk->finding.is_name = true;
    }
    return fits;
}

/* A member by everything that names it; *known_out: something does. */
static int check_member(struct dbk_validation *walk, const struct dbk_rule *rule,
                        const struct dbk_property *property, const struct dbk_json_node *member)
{
    bool known = property != NULL;
    int fits = known ? dbk_validate_apply(walk, property->rule, member) : 1;
    for (size_t i = 0; i < rule->pattern_count && fits == 1; i++) {
        int found = dbk_pattern_match(rule->patterns[i].pattern, &walk->matcher, member->key);
        if (found == DBK_ELIMIT)
            (void)dbk_validate_miss(walk, rule, DBK_CHECK_PATTERN, member);
        if (found < 0)
            return found;
        known = known || found == 1;
        if (found == 1)
            fits = dbk_validate_apply(walk, rule->patterns[i].rule, member);
    }
    if (fits == 1 && !known && rule->additional != NULL) {
        fits = dbk_validate_apply(walk, rule->additional, member);
        if (fits == 0 && rule->additional->never)
            (void)dbk_validate_miss(walk, rule, DBK_CHECK_UNKNOWN, member);
    }
    if (fits == 1 && rule->names != NULL)
        fits = check_name(walk, rule, member);
    return fits;
}

static int miss_name(struct dbk_validation *walk, const struct dbk_rule *rule, enum dbk_check check,
                     const struct dbk_json_node *node, struct dbk_slice name)
{
    (void)dbk_validate_miss(walk, rule, check, node);
    walk->finding.name = name;
    return 0;
}

/* `required`; known: those that `properties` names and that were met. */
static int check_required(struct dbk_validation *walk, const struct dbk_rule *rule,
                          const struct dbk_json_node *node, size_t known)
{
    if (known == rule->required_known && rule->required.count == rule->required_known)
        return 1;
    for (size_t i = 0; i < rule->required.count; i++) {
        if (dbk_json_member_slice(node, rule->required.items[i]) == NULL)
            return miss_name(walk, rule, DBK_CHECK_REQUIRED, node, rule->required.items[i]);
    }
    return 1;
}

static int check_object(struct dbk_validation *walk, const struct dbk_rule *rule,
                        const struct dbk_json_node *node)
{
    if (node->count < rule->members_min)
        return dbk_validate_miss(walk, rule, DBK_CHECK_MEMBERS_MIN, node);
    if (node->count > rule->members_max)
        return dbk_validate_miss(walk, rule, DBK_CHECK_MEMBERS_MAX, node);
    size_t known = 0;
    if (rule->property_count > 0 || rule->pattern_count > 0 || rule->additional != NULL ||
        rule->names != NULL) {
        const struct dbk_json_node *member = dbk_json_first(node);
        int fits = 1;
        walk->level++;
        for (uint32_t i = 0; i < node->count && fits == 1; i++) {
            const struct dbk_property *property = dbk_rule_property(rule, member->key);
            known += property != NULL && property->required;
            fits = check_member(walk, rule, property, member);
            member = dbk_json_sibling(member);
        }
        walk->level--;
        if (fits != 1)
            return fits;
    }
    return check_required(walk, rule, node, known);
}

/* ---- In place ---- */

static int check_dependencies(struct dbk_validation *walk, const struct dbk_rule *rule,
                              const struct dbk_json_node *node)
{
    for (size_t i = 0; i < rule->dependency_count; i++) {
        const struct dbk_dependency *dependency = &rule->dependencies[i];
        if (dbk_json_member_slice(node, dependency->name) == NULL)
            continue;
        for (size_t j = 0; j < dependency->required.count; j++) {
            struct dbk_slice name = dependency->required.items[j];
            if (dbk_json_member_slice(node, name) == NULL)
                return miss_name(walk, rule, DBK_CHECK_REQUIRED, node, name);
        }
        int fits = dependency->rule == NULL ? 1 : dbk_validate_apply(walk, dependency->rule, node);
        if (fits != 1)
            return fits;
    }
    return 1;
}

/* Of the branches that do not fit, the one that got deepest into the data is most likely meant. */
static int check_any_of(struct dbk_validation *walk, const struct dbk_rule *rule,
                        const struct dbk_json_node *node)
{
    struct dbk_finding deepest = {.level = walk->level};
    for (size_t i = 0; i < rule->any_of.count; i++) {
        int fits = dbk_validate_apply(walk, rule->any_of.items[i], node);
        if (fits != 0)
            return fits;
        if (walk->finding.level > deepest.level)
            deepest = walk->finding;
    }
    if (deepest.rule == NULL)
        return dbk_validate_miss(walk, rule, DBK_CHECK_ANY_OF, node);
    walk->finding = deepest;
    return 0;
}

static int check_one_of(struct dbk_validation *walk, const struct dbk_rule *rule,
                        const struct dbk_json_node *node)
{
    struct dbk_finding deepest = {.level = walk->level};
    size_t found = 0;
    for (size_t i = 0; i < rule->one_of.count && found < 2; i++) {
        int fits = dbk_validate_apply(walk, rule->one_of.items[i], node);
        if (fits < 0)
            return fits;
        if (fits == 0 && walk->finding.level > deepest.level)
            deepest = walk->finding;
        found += (size_t)fits;
    }
    if (found == 1)
        return 1;
    if (found > 1)
        return dbk_validate_miss(walk, rule, DBK_CHECK_ONE_OF_MORE, node);
    if (deepest.rule == NULL)
        return dbk_validate_miss(walk, rule, DBK_CHECK_ONE_OF, node);
    walk->finding = deepest;
    return 0;
}

static int check_if(struct dbk_validation *walk, const struct dbk_rule *rule,
                    const struct dbk_json_node *node)
{
    int fits = dbk_validate_attempt(walk, rule->if_rule, node);
    if (fits < 0)
        return fits;
    const struct dbk_rule *by = fits == 1 ? rule->then_rule : rule->else_rule;
    return by == NULL ? 1 : dbk_validate_apply(walk, by, node);
}

static int check_in_place(struct dbk_validation *walk, const struct dbk_rule *rule,
                          const struct dbk_json_node *node)
{
    int fits = rule->referred == NULL ? 1 : dbk_validate_apply(walk, rule->referred, node);
    for (size_t i = 0; i < rule->all_of.count && fits == 1; i++)
        fits = dbk_validate_apply(walk, rule->all_of.items[i], node);
    if (fits == 1 && rule->any_of.count > 0)
        fits = check_any_of(walk, rule, node);
    if (fits == 1 && rule->one_of.count > 0)
        fits = check_one_of(walk, rule, node);
    if (fits == 1 && rule->not_rule != NULL) {
        fits = dbk_validate_attempt(walk, rule->not_rule, node);
        if (fits >= 0)
            fits = fits == 0 ? 1 : dbk_validate_miss(walk, rule, DBK_CHECK_NOT, node);
    }
    if (fits == 1 && rule->if_rule != NULL)
        fits = check_if(walk, rule, node);
    if (fits == 1 && node->kind == DBK_JSON_OBJECT)
        fits = check_dependencies(walk, rule, node);
    return fits;
}

/* ---- All of it ---- */

static int check_kind(struct dbk_validation *walk, const struct dbk_rule *rule,
                      const struct dbk_json_node *node)
{
    switch (node->kind) {
    case DBK_JSON_INTEGER:
    case DBK_JSON_DECIMAL:
        return check_number(walk, rule, node);
    case DBK_JSON_STRING:
        return check_text(walk, rule, node);
    case DBK_JSON_ARRAY:
        return check_array(walk, rule, node);
    case DBK_JSON_OBJECT:
        return check_object(walk, rule, node);
    case DBK_JSON_NULL:
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
        break;
    }
    return 1;
}

static bool is_forgotten(const struct dbk_json_node *node)
{
    return node->kind == DBK_JSON_OBJECT && node->count == 1 &&
           dbk_slice_equal_text(dbk_json_first(node)->key, "$forgotten");
}

int dbk_validate_apply(struct dbk_validation *walk, const struct dbk_rule *rule,
                       const struct dbk_json_node *node)
{
    if (walk->carried && is_forgotten(node))
        return 1;
    if (rule->never)
        return dbk_validate_miss(walk, rule, DBK_CHECK_NEVER, node);
    if ((rule->types & type_of(node)) == 0)
        return dbk_validate_miss(walk, rule, DBK_CHECK_TYPE, node);
    int fits = dbk_validate_charge(walk, walk->depth == DEPTH_MAX ? DBK_SCHEMA_STEPS_MAX + 1 : 1);
    if (fits < 0)
        return fits;
    walk->depth++;
    if (rule->constant != NULL || rule->values != NULL)
        fits = check_value(walk, rule, node);
    if (fits == 1)
        fits = check_kind(walk, rule, node);
    if (fits == 1 && rule->in_place)
        fits = check_in_place(walk, rule, node);
    if (fits == 1 && rule->members_unevaluated != NULL && node->kind == DBK_JSON_OBJECT)
        fits = dbk_validate_check_unevaluated(walk, rule, rule->members_unevaluated, node);
    if (fits == 1 && rule->items_unevaluated != NULL && node->kind == DBK_JSON_ARRAY)
        fits = dbk_validate_check_unevaluated(walk, rule, rule->items_unevaluated, node);
    walk->depth--;
    return fits;
}

int dbk_rule_fits(const struct dbk_rule *rule, const struct dbk_json_node *value)
{
    struct dbk_validation walk = {0};
    int fits = dbk_validate_apply(&walk, rule, value);
    dbk_matcher_release(&walk.matcher);
    return fits;
}

static int validate(const struct dbk_schema *schema, const struct dbk_json_node *data,
                    struct dbk_slice text, bool carried, struct dbk_error *err)
{
    struct dbk_validation walk = {.carried = carried};
    int fits = dbk_validate_apply(&walk, schema->root, data);
    dbk_matcher_release(&walk.matcher);
    if (fits == 1)
        return DBK_OK;
    if (fits == DBK_ENOMEM)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory checking data");
    if (fits == DBK_ELIMIT && walk.finding.check != DBK_CHECK_PATTERN)
        return dbk_error_set(err, DBK_ELIMIT,
                             "version %u of its schema needs more than %d checks, or %d within "
                             "each other: simplify it",
                             (unsigned)schema->version, DBK_SCHEMA_STEPS_MAX, DEPTH_MAX);
    return dbk_finding_explain(&walk.finding, schema, data, text, fits == DBK_ELIMIT, err);
}

int dbk_schema_validate(const struct dbk_schema *schema, const struct dbk_json_node *data,
                        struct dbk_slice text, struct dbk_error *err)
{
    return validate(schema, data, text, false, err);
}

int dbk_schema_validate_carried(const struct dbk_schema *schema, const struct dbk_json_node *data,
                                struct dbk_slice text, struct dbk_error *err)
{
    return validate(schema, data, text, true, err);
}
