/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A version's schema becomes rules: one for each subschema, by a table of keywords. What `$ref`
 * names is joined afterwards.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "schema/compiling.h"

static int compile_rule(struct dbk_schema_reading *reading, const struct dbk_json_node *node,
                        const char *pointer, struct dbk_rule **rule_out);

/* ---- Subschemas ---- */

/* A segment of a JSON pointer, escaped; NULL when out of memory. */
static const char *pointer_below(struct dbk_schema_reading *reading, const struct dbk_rule *rule,
                                 struct dbk_slice keyword, const struct dbk_slice *name)
{
    struct dbk_buf text;
    const char *pointer = NULL;
    dbk_buf_init(&text, 1 << 24);
    dbk_buf_append_format(&text, "%s/%.*s", rule->pointer, DBK_SLICE_ARGS(keyword));
    if (name != NULL)
        dbk_buf_append_char(&text, '/');
    for (size_t i = 0; name != NULL && i < name->size; i++) {
        if (name->data[i] == '~')
            dbk_buf_append_text(&text, "~0");
        else if (name->data[i] == '/')
            dbk_buf_append_text(&text, "~1");
        else
            dbk_buf_append_char(&text, name->data[i]);
    }
    if (text.rc == DBK_OK)
        pointer = dbk_arena_copy(&reading->schemas->arena, dbk_buf_slice(&text)).data;
    dbk_buf_release(&text);
    return pointer;
}

static int take_schema(struct dbk_schema_reading *reading, const struct dbk_rule *above,
                       const struct dbk_json_node *value, struct dbk_slice keyword,
                       const struct dbk_slice *name, struct dbk_rule **rule_out)
{
    const char *pointer = pointer_below(reading, above, keyword, name);
    return pointer == NULL ? DBK_ENOMEM : compile_rule(reading, value, pointer, rule_out);
}

static int take_one(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                    const struct dbk_json_node *value, void *field)
{
    const struct dbk_rule **rule_out = field;
    struct dbk_rule *taken = NULL;
    int rc = take_schema(reading, rule, value, value->key, NULL, &taken);
    *rule_out = taken;
    return rc;
}

static int take_list(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value, void *field)
{
    struct dbk_rule_list *list_out = field;
    if (value->kind != DBK_JSON_ARRAY || value->count == 0)
        return dbk_keyword_refuse(reading, value, "a list of at least one schema");
    list_out->items =
        dbk_arena_alloc_zero(&reading->schemas->arena, value->count, sizeof(*list_out->items));
    if (list_out->items == NULL)
        return DBK_ENOMEM;
    const struct dbk_json_node *item = dbk_json_first(value);
    int rc = DBK_OK;
    for (uint32_t i = 0; i < value->count && rc == DBK_OK; i++) {
        char digits[16];
        (void)snprintf(digits, sizeof(digits), "%" PRIu32, i);
        struct dbk_slice name = dbk_slice_of(digits);
        struct dbk_rule *taken = NULL;
        rc = take_schema(reading, rule, item, value->key, &name, &taken);
        list_out->items[i] = taken;
        item = dbk_json_sibling(item);
    }
    list_out->count = value->count;
    return rc;
}

/* ---- Lists ---- */

static int take_items(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                      const struct dbk_json_node *value)
{
    if (value->kind == DBK_JSON_ARRAY) {
        struct dbk_fault fault = dbk_schema_fault_at(reading, value);
        fault.fix = "a list of schemas is `prefixItems`";
        return dbk_fault_add(reading->faults, &fault,
                             "`items` is a list, where one schema is expected");
    }
    return take_one(reading, rule, value, &rule->items);
}

/* ---- Objects ---- */

static int compare_names(struct dbk_slice a, struct dbk_slice b)
{
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return a.size == 0 ? 0 : memcmp(a.data, b.data, a.size);
}

static int compare_properties(const void *a, const void *b)
{
    const struct dbk_property *left = a;
    const struct dbk_property *right = b;
    return compare_names(left->name, right->name);
}

const struct dbk_property *dbk_rule_property(const struct dbk_rule *rule, struct dbk_slice name)
{
    size_t low = 0;
    size_t high = rule->property_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_names(rule->properties[middle].name, name);
        if (order == 0)
            return &rule->properties[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int take_properties(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                           const struct dbk_json_node *value)
{
    if (value->kind != DBK_JSON_OBJECT)
        return dbk_keyword_refuse(reading, value, "an object of schemas");
    rule->properties =
        dbk_arena_alloc_zero(&reading->schemas->arena, value->count + 1, sizeof(*rule->properties));
    if (rule->properties == NULL)
        return DBK_ENOMEM;
    const struct dbk_json_node *member = dbk_json_first(value);
    for (uint32_t i = 0; i < value->count; i++) {
        struct dbk_property *property = &rule->properties[rule->property_count];
        property->name = member->key;
        int rc = take_schema(reading, rule, member, value->key, &member->key, &property->rule);
        if (rc < 0)
            return rc;
        if (property->rule != NULL)
            rule->property_count++;
        member = dbk_json_sibling(member);
    }
    qsort(rule->properties, rule->property_count, sizeof(*rule->properties), compare_properties);
    return DBK_OK;
}

static int take_pattern_properties(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                                   const struct dbk_json_node *value)
{
    if (value->kind != DBK_JSON_OBJECT)
        return dbk_keyword_refuse(reading, value, "an object of schemas");
    rule->patterns =
        dbk_arena_alloc_zero(&reading->schemas->arena, value->count + 1, sizeof(*rule->patterns));
    if (rule->patterns == NULL)
        return DBK_ENOMEM;
    const struct dbk_json_node *member = dbk_json_first(value);
    for (uint32_t i = 0; i < value->count; i++) {
        struct dbk_pattern_property *property = &rule->patterns[rule->pattern_count];
        struct dbk_fault place = dbk_schema_fault_at_key(reading, member);
        int rc = dbk_keyword_make_pattern(reading, &place, member->key, &property->pattern);
        if (rc == DBK_OK)
            rc = take_schema(reading, rule, member, value->key, &member->key, &property->rule);
        if (rc < 0)
            return rc;
        if (property->rule != NULL && property->pattern != NULL)
            rule->pattern_count++;
        member = dbk_json_sibling(member);
    }
    return DBK_OK;
}

/* Room for so many more dependencies. */
static int grow_dependencies(struct dbk_schema_reading *reading, struct dbk_rule *rule, size_t more)
{
    struct dbk_dependency *items = dbk_arena_alloc_zero(
        &reading->schemas->arena, rule->dependency_count + more + 1, sizeof(*items));
    if (items == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < rule->dependency_count; i++)
        items[i] = rule->dependencies[i];
    rule->dependencies = items;
    return DBK_OK;
}

static int take_dependencies(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                             const struct dbk_json_node *value, bool schemas)
{
    if (value->kind != DBK_JSON_OBJECT)
        return dbk_keyword_refuse(reading, value,
                                  schemas ? "an object of schemas" : "an object of lists of names");
    int rc = grow_dependencies(reading, rule, value->count);
    const struct dbk_json_node *member = dbk_json_first(value);
    for (uint32_t i = 0; i < value->count && rc == DBK_OK; i++) {
        struct dbk_dependency *dependency = &rule->dependencies[rule->dependency_count++];
        dependency->name = member->key;
        rc = schemas
                 ? take_schema(reading, rule, member, value->key, &member->key, &dependency->rule)
                 : dbk_keyword_names(reading, rule, member, &dependency->required);
        member = dbk_json_sibling(member);
    }
    return rc;
}

static int take_dependent_required(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                                   const struct dbk_json_node *value)
{
    return take_dependencies(reading, rule, value, false);
}

static int take_dependent_schemas(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                                  const struct dbk_json_node *value)
{
    return take_dependencies(reading, rule, value, true);
}

/* ---- In place ---- */

static int take_ref(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                    const struct dbk_json_node *value)
{
    if (value->kind != DBK_JSON_STRING)
        return dbk_keyword_refuse(reading, value, "a text");
    rule->reference = value;
    return DBK_OK;
}

static int take_defs(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value)
{
    if (value->kind != DBK_JSON_OBJECT)
        return dbk_keyword_refuse(reading, value, "an object of schemas");
    const struct dbk_json_node *member = dbk_json_first(value);
    int rc = DBK_OK;
    for (uint32_t i = 0; i < value->count && rc == DBK_OK; i++) {
        struct dbk_rule *taken = NULL;
        rc = take_schema(reading, rule, member, value->key, &member->key, &taken);
        member = dbk_json_sibling(member);
    }
    return rc;
}

/* ---- What Daybook adds ---- */

static int take_personal(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                         const struct dbk_json_node *value)
{
    rule->personal_node = value;
    return dbk_keyword_flag(reading, rule, value, &rule->personal);
}

/* For the version's own level only. */
static int take_at_root(struct dbk_schema_reading *reading, const struct dbk_rule *rule,
                        const struct dbk_json_node *value, const struct dbk_json_node **node_out)
{
    if (*rule->pointer == '\0') {
        *node_out = value;
        return DBK_OK;
    }
    struct dbk_fault fault = dbk_schema_fault_at_key(reading, value);
    fault.fix = "write it beside the version's own `type` and `properties`";
    return dbk_fault_add(reading->faults, &fault, "`%.*s` stands within a field's schema",
                         DBK_SLICE_ARGS(value->key));
}

static int take_subject(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                        const struct dbk_json_node *value)
{
    if (value->kind != DBK_JSON_STRING)
        return dbk_keyword_refuse(reading, value, "a field's name");
    return take_at_root(reading, rule, value, &reading->schema->subject_node);
}

static int take_tags(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value)
{
    if (value->kind != DBK_JSON_ARRAY)
        return dbk_keyword_refuse(reading, value,
                                  "a list of texts such as \"customer:{customer_id}\"");
    return take_at_root(reading, rule, value, &reading->schema->tags_node);
}

/* ---- Rules ---- */

static const struct keyword {
    const char *name;
    int (*set)(struct dbk_schema_reading *reading, struct dbk_rule *rule,
               const struct dbk_json_node *value);
    dbk_keyword_fn take; /* into the rule's member at this offset, where it is not NULL */
    size_t offset;
} keywords[] = {
    {"type", dbk_keyword_type, NULL, 0},
    {"enum", dbk_keyword_enum, NULL, 0},
    {"const", dbk_keyword_const, NULL, 0},
    {"minimum", NULL, dbk_keyword_bound, offsetof(struct dbk_rule, minimum)},
    {"maximum", NULL, dbk_keyword_bound, offsetof(struct dbk_rule, maximum)},
    {"exclusiveMinimum", NULL, dbk_keyword_bound, offsetof(struct dbk_rule, minimum_exclusive)},
    {"exclusiveMaximum", NULL, dbk_keyword_bound, offsetof(struct dbk_rule, maximum_exclusive)},
    {"multipleOf", dbk_keyword_multiple, NULL, 0},
    {"minLength", NULL, dbk_keyword_count, offsetof(struct dbk_rule, length_min)},
    {"maxLength", NULL, dbk_keyword_count, offsetof(struct dbk_rule, length_max)},
    {"pattern", dbk_keyword_pattern, NULL, 0},
    {"format", dbk_keyword_format, NULL, 0},
    {"items", take_items, NULL, 0},
    {"prefixItems", NULL, take_list, offsetof(struct dbk_rule, prefix)},
    {"contains", NULL, take_one, offsetof(struct dbk_rule, contains)},
    {"minContains", NULL, dbk_keyword_count, offsetof(struct dbk_rule, contains_min)},
    {"maxContains", NULL, dbk_keyword_count, offsetof(struct dbk_rule, contains_max)},
    {"minItems", NULL, dbk_keyword_count, offsetof(struct dbk_rule, items_min)},
    {"maxItems", NULL, dbk_keyword_count, offsetof(struct dbk_rule, items_max)},
    {"uniqueItems", NULL, dbk_keyword_flag, offsetof(struct dbk_rule, unique)},
    {"unevaluatedItems", NULL, take_one, offsetof(struct dbk_rule, items_unevaluated)},
    {"properties", take_properties, NULL, 0},
    {"patternProperties", take_pattern_properties, NULL, 0},
    {"additionalProperties", NULL, take_one, offsetof(struct dbk_rule, additional)},
    {"propertyNames", NULL, take_one, offsetof(struct dbk_rule, names)},
    {"unevaluatedProperties", NULL, take_one, offsetof(struct dbk_rule, members_unevaluated)},
    {"required", NULL, dbk_keyword_names, offsetof(struct dbk_rule, required)},
    {"minProperties", NULL, dbk_keyword_count, offsetof(struct dbk_rule, members_min)},
    {"maxProperties", NULL, dbk_keyword_count, offsetof(struct dbk_rule, members_max)},
    {"dependentRequired", take_dependent_required, NULL, 0},
    {"dependentSchemas", take_dependent_schemas, NULL, 0},
    {"allOf", NULL, take_list, offsetof(struct dbk_rule, all_of)},
    {"anyOf", NULL, take_list, offsetof(struct dbk_rule, any_of)},
    {"oneOf", NULL, take_list, offsetof(struct dbk_rule, one_of)},
    {"not", NULL, take_one, offsetof(struct dbk_rule, not_rule)},
    {"if", NULL, take_one, offsetof(struct dbk_rule, if_rule)},
    {"then", NULL, take_one, offsetof(struct dbk_rule, then_rule)},
    {"else", NULL, take_one, offsetof(struct dbk_rule, else_rule)},
    {"$ref", take_ref, NULL, 0},
    {"$defs", take_defs, NULL, 0},
    {"$schema", dbk_keyword_dialect, NULL, 0},
    {"$comment", dbk_keyword_text_note, NULL, 0},
    {"title", dbk_keyword_text_note, NULL, 0},
    {"description", dbk_keyword_text_note, NULL, 0},
    {"default", dbk_keyword_note, NULL, 0},
    {"examples", dbk_keyword_note, NULL, 0},
    {"deprecated", dbk_keyword_note, NULL, 0},
    {"readOnly", dbk_keyword_note, NULL, 0},
    {"writeOnly", dbk_keyword_note, NULL, 0},
    {"x-personal", take_personal, NULL, 0},
    {"x-subject", take_subject, NULL, 0},
    {"x-tags", take_tags, NULL, 0},
};
#define KEYWORD_COUNT (sizeof(keywords) / sizeof(keywords[0]))

static int refuse_keyword(struct dbk_schema_reading *reading, const struct dbk_json_node *value)
{
    const char *names[KEYWORD_COUNT];
    struct dbk_fault fault = dbk_schema_fault_at_key(reading, value);
    const char *name = dbk_arena_copy(&reading->faults->arena, value->key).data;
    for (size_t i = 0; i < KEYWORD_COUNT; i++)
        names[i] = keywords[i].name;
    fault.why = "it would check nothing";
    if (name == NULL || dbk_fault_suggest(reading->faults, name, names, KEYWORD_COUNT,
                                          "docs/schemas.md lists the keywords", &fault.fix) < 0)
        return DBK_ENOMEM;
    return dbk_fault_add(reading->faults, &fault, "unknown keyword `%s`", name);
}

static int take_keyword(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                        const struct dbk_json_node *value)
{
    for (size_t i = 0; i < KEYWORD_COUNT; i++) {
        const struct keyword *keyword = &keywords[i];
        if (!dbk_slice_equal_text(value->key, keyword->name))
            continue;
        if (keyword->set != NULL)
            return keyword->set(reading, rule, value);
        return keyword->take(reading, rule, value, (char *)rule + keyword->offset);
    }
    return refuse_keyword(reading, value);
}

/* `required` beside `properties`: a walk over the data's members then counts them. */
static void mark_required(struct dbk_rule *rule)
{
    for (size_t i = 0; i < rule->required.count; i++) {
        const struct dbk_property *property = dbk_rule_property(rule, rule->required.items[i]);
        if (property == NULL)
            continue;
        rule->properties[property - rule->properties].required = true;
        rule->required_known++;
    }
}

/* `then` without `if` and `minContains` without `contains` do nothing. */
static int check_alone(struct dbk_schema_reading *reading, const struct dbk_rule *rule)
{
    static const char *const pairs[][2] = {
        {"then", "if"}, {"else", "if"}, {"minContains", "contains"}, {"maxContains", "contains"}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        const struct dbk_json_node *member = dbk_json_member(rule->source, pairs[i][0]);
        if (member == NULL || dbk_json_member(rule->source, pairs[i][1]) != NULL)
            continue;
        struct dbk_fault fault = dbk_schema_fault_at_key(reading, member);
        fault.warning = true;
        if (dbk_fault_add(reading->faults, &fault, "`%s` does nothing without `%s`", pairs[i][0],
                          pairs[i][1]) < 0)
            return DBK_ENOMEM;
    }
    return DBK_OK;
}

/* rule_out stays NULL when the node is no schema, which is a fault. */
static int compile_rule(struct dbk_schema_reading *reading, const struct dbk_json_node *node,
                        const char *pointer, struct dbk_rule **rule_out)
{
    struct dbk_fault fault = dbk_schema_fault_at(reading, node);
    *rule_out = NULL;
    bool boolean = node->kind == DBK_JSON_TRUE || node->kind == DBK_JSON_FALSE;
    if (node->kind != DBK_JSON_OBJECT && !boolean)
        return dbk_fault_add(reading->faults, &fault,
                             "a schema is %s, where an object, true or false is expected",
                             dbk_schema_kind(node));
    if (++reading->rule_count == DBK_SCHEMA_RULES_MAX + 1)
        return dbk_fault_add(reading->faults, &fault, "the file holds more than %d schemas",
                             DBK_SCHEMA_RULES_MAX);
    if (reading->rule_count > DBK_SCHEMA_RULES_MAX)
        return DBK_OK;
    struct dbk_rule *rule = dbk_arena_alloc_zero(&reading->schemas->arena, 1, sizeof(*rule));
    if (rule == NULL)
        return DBK_ENOMEM;
    rule->source = node;
    rule->pointer = pointer;
    rule->never = node->kind == DBK_JSON_FALSE;
    rule->types = DBK_TYPE_ANY;
    rule->length_max = DBK_COUNT_MAX;
    rule->items_max = DBK_COUNT_MAX;
    rule->contains_min = 1;
    rule->contains_max = DBK_COUNT_MAX;
    rule->members_max = DBK_COUNT_MAX;
    reading->schema->rules[node - reading->schema->source] = rule;
    *rule_out = rule;
    if (boolean)
        return DBK_OK;
    const struct dbk_json_node *member = dbk_json_first(node);
    int rc = DBK_OK;
    for (uint32_t i = 0; i < node->count && rc == DBK_OK; i++) {
        rc = take_keyword(reading, rule, member);
        member = dbk_json_sibling(member);
    }
    mark_required(rule);
    rule->in_place = rule->reference != NULL || rule->all_of.count > 0 || rule->any_of.count > 0 ||
                     rule->one_of.count > 0 || rule->not_rule != NULL || rule->if_rule != NULL ||
                     rule->dependency_count > 0;
    return rc < 0 ? rc : check_alone(reading, rule);
}

int dbk_schema_compile(struct dbk_schema_reading *reading)
{
    struct dbk_schema *schema = reading->schema;
    struct dbk_rule *root = NULL;
    schema->rules = dbk_arena_alloc_zero(&reading->schemas->arena, schema->source->next,
                                         sizeof(*schema->rules));
    if (schema->rules == NULL)
        return DBK_ENOMEM;
    int rc = compile_rule(reading, schema->source, "", &root);
    schema->root = root;
    return rc;
}
