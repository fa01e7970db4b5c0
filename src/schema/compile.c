/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A version's schema becomes rules: one for each subschema, by a table of keywords. What `$ref`
 * names is joined afterwards.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "schema/rule.h"

struct dbk_fault dbk_schema_fault_at(const struct dbk_schema_reading *reading,
                                     const struct dbk_json_node *node)
{
    struct dbk_fault fault = {.file = reading->type->file};
    dbk_fault_place(&fault, reading->type->source, dbk_json_offset(node, reading->type->source));
    return fault;
}

struct dbk_fault dbk_schema_fault_at_key(const struct dbk_schema_reading *reading,
                                         const struct dbk_json_node *member)
{
    struct dbk_fault fault = {.file = reading->type->file};
    dbk_fault_place(&fault, reading->type->source,
                    dbk_json_key_offset(member, reading->type->source));
    return fault;
}

const char *dbk_schema_kind(const struct dbk_json_node *node)
{
    static const char *const kinds[] = {
        [DBK_JSON_NULL] = "null",        [DBK_JSON_FALSE] = "false",
        [DBK_JSON_TRUE] = "true",        [DBK_JSON_INTEGER] = "a whole number",
        [DBK_JSON_DECIMAL] = "a number", [DBK_JSON_STRING] = "a text",
        [DBK_JSON_ARRAY] = "a list",     [DBK_JSON_OBJECT] = "an object",
    };
    return kinds[node->kind];
}

/* A keyword's value of another kind than it has. */
static int refuse_value(struct dbk_schema_reading *reading, const struct dbk_json_node *value,
                        const char *expected)
{
    struct dbk_fault fault = dbk_schema_fault_at(reading, value);
    return dbk_fault_add(reading->faults, &fault, "`%.*s` is %s, where %s is expected",
                         DBK_SLICE_ARGS(value->key), dbk_schema_kind(value), expected);
}

static int compile_rule(struct dbk_schema_reading *reading, const struct dbk_json_node *node,
                        const char *pointer, struct dbk_rule **rule_out);

/* ---- Subschemas ---- */

/* A segment of a JSON pointer, escaped; NULL when out of memory. */
static const char *pointer_below(struct dbk_schema_reading *reading, const struct dbk_rule *rule,
                                 const char *keyword, const struct dbk_slice *name)
{
    struct dbk_buf text;
    const char *pointer = NULL;
    dbk_buf_init(&text, 1 << 24);
    dbk_buf_append_format(&text, "%s/%s", rule->pointer, keyword);
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
                       const struct dbk_json_node *value, const char *keyword,
                       const struct dbk_slice *name, struct dbk_rule **rule_out)
{
    const char *pointer = pointer_below(reading, above, keyword, name);
    return pointer == NULL ? DBK_ENOMEM : compile_rule(reading, value, pointer, rule_out);
}

static int take_one(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                    const struct dbk_json_node *value, const char *keyword,
                    const struct dbk_rule **rule_out)
{
    struct dbk_rule *taken = NULL;
    int rc = take_schema(reading, rule, value, keyword, NULL, &taken);
    *rule_out = taken;
    return rc;
}

static int take_list(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value, const char *keyword,
                     struct dbk_rule_list *list_out)
{
    if (value->kind != DBK_JSON_ARRAY || value->count == 0)
        return refuse_value(reading, value, "a list of at least one schema");
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
        rc = take_schema(reading, rule, item, keyword, &name, &taken);
        list_out->items[i] = taken;
        item = dbk_json_sibling(item);
    }
    list_out->count = value->count;
    return rc;
}

/* ---- Values ---- */

static int take_bound(struct dbk_schema_reading *reading, const struct dbk_json_node *value,
                      struct dbk_bound *bound_out)
{
    if (!dbk_json_number(value, &bound_out->value))
        return refuse_value(reading, value, "a number");
    bound_out->set = true;
    return DBK_OK;
}

static int take_count(struct dbk_schema_reading *reading, const struct dbk_json_node *value,
                      uint64_t *count_out)
{
    struct dbk_decimal number;
    int64_t count = -1;
    if (!dbk_json_number(value, &number) || !dbk_decimal_to_i64(number, &count) || count < 0)
        return refuse_value(reading, value, "a whole number of at least 0");
    *count_out = (uint64_t)count;
    return DBK_OK;
}

static int take_names(struct dbk_schema_reading *reading, const struct dbk_json_node *value,
                      struct dbk_name_list *list_out)
{
    if (value->kind != DBK_JSON_ARRAY)
        return refuse_value(reading, value, "a list of names");
    struct dbk_slice *names =
        dbk_arena_alloc_zero(&reading->schemas->arena, value->count + 1, sizeof(*names));
    if (names == NULL)
        return DBK_ENOMEM;
    const struct dbk_json_node *item = dbk_json_first(value);
    for (uint32_t i = 0; i < value->count; i++) {
        struct dbk_fault fault = dbk_schema_fault_at(reading, item);
        if (item->kind != DBK_JSON_STRING)
            return dbk_fault_add(reading->faults, &fault, "a name is %s, where a text is expected",
                                 dbk_schema_kind(item));
        for (uint32_t j = 0; j < i; j++) {
            if (dbk_slice_equal(names[j], item->text))
                return dbk_fault_add(reading->faults, &fault, "`%.*s` stands twice",
                                     DBK_SLICE_ARGS(item->text));
        }
        names[i] = item->text;
        item = dbk_json_sibling(item);
    }
    *list_out = (struct dbk_name_list){.items = names, .count = value->count};
    return DBK_OK;
}

static const struct {
    const char *name;
    unsigned bits;
} type_names[] = {
    {"null", DBK_TYPE_NULL},     {"boolean", DBK_TYPE_BOOLEAN}, {"integer", DBK_TYPE_INTEGER},
    {"number", DBK_TYPE_NUMBER}, {"string", DBK_TYPE_STRING},   {"array", DBK_TYPE_ARRAY},
    {"object", DBK_TYPE_OBJECT},
};
#define TYPE_COUNT (sizeof(type_names) / sizeof(type_names[0]))

static int add_type(struct dbk_schema_reading *reading, const struct dbk_json_node *node,
                    unsigned *types)
{
    const char *names[TYPE_COUNT];
    struct dbk_fault fault = dbk_schema_fault_at(reading, node);
    static const char known[] =
        "there are null, boolean, integer, number, string, array and object";
    fault.fix = known;
    if (node->kind != DBK_JSON_STRING)
        return dbk_fault_add(reading->faults, &fault, "a type is %s, where its name is expected",
                             dbk_schema_kind(node));
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        names[i] = type_names[i].name;
        if (dbk_slice_equal_text(node->text, names[i])) {
            *types |= type_names[i].bits;
            return DBK_OK;
        }
    }
    const char *name = dbk_arena_copy(&reading->faults->arena, node->text).data;
    if (name == NULL ||
        dbk_fault_suggest(reading->faults, name, names, TYPE_COUNT, known, &fault.fix) < 0)
        return DBK_ENOMEM;
    return dbk_fault_add(reading->faults, &fault, "there is no type `%s`", name);
}

static int take_type(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value)
{
    unsigned types = 0;
    if (value->kind != DBK_JSON_ARRAY) {
        int rc = add_type(reading, value, &types);
        rule->types = types;
        return rc;
    }
    if (value->count == 0)
        return refuse_value(reading, value, "a type, or a list of at least one");
    const struct dbk_json_node *item = dbk_json_first(value);
    int rc = DBK_OK;
    for (uint32_t i = 0; i < value->count && rc == DBK_OK; i++) {
        rc = add_type(reading, item, &types);
        item = dbk_json_sibling(item);
    }
    rule->types = types;
    return rc;
}

static int take_enum(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value)
{
    if (value->kind != DBK_JSON_ARRAY || value->count == 0)
        return refuse_value(reading, value, "a list of at least one value");
    rule->values = value;
    return DBK_OK;
}

static int take_const(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                      const struct dbk_json_node *value)
{
    (void)reading;
    rule->constant = value;
    return DBK_OK;
}

/* ---- Numbers ---- */

static int take_minimum(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                        const struct dbk_json_node *value)
{
    return take_bound(reading, value, &rule->minimum);
}

static int take_maximum(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                        const struct dbk_json_node *value)
{
    return take_bound(reading, value, &rule->maximum);
}

static int take_exclusive_minimum(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                                  const struct dbk_json_node *value)
{
    return take_bound(reading, value, &rule->minimum_exclusive);
}

static int take_exclusive_maximum(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                                  const struct dbk_json_node *value)
{
    return take_bound(reading, value, &rule->maximum_exclusive);
}

static int take_multiple_of(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                            const struct dbk_json_node *value)
{
    struct dbk_decimal number;
    if (!dbk_json_number(value, &number) || number.coefficient <= 0)
        return refuse_value(reading, value, "a number above 0");
    return take_bound(reading, value, &rule->multiple);
}

/* ---- Texts ---- */

static int take_min_length(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                           const struct dbk_json_node *value)
{
    return take_count(reading, value, &rule->length_min);
}

static int take_max_length(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                           const struct dbk_json_node *value)
{
    return take_count(reading, value, &rule->length_max);
}

static int make_pattern(struct dbk_schema_reading *reading, const struct dbk_fault *place,
                        struct dbk_slice text, const struct dbk_pattern **pattern_out)
{
    struct dbk_error failure = {0};
    struct dbk_fault fault = *place;
    size_t offset = 0;
    int rc = dbk_patterns_add(reading->schemas->patterns, text, pattern_out, &offset, &failure);
    if (rc != DBK_EINVAL)
        return rc;
    fault.fix = "docs/schemas.md says which patterns are understood";
    return dbk_fault_add(reading->faults, &fault, "this is no pattern: at its byte %zu: %s", offset,
                         failure.message);
}

static int take_pattern(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                        const struct dbk_json_node *value)
{
    if (value->kind != DBK_JSON_STRING)
        return refuse_value(reading, value, "a text");
    struct dbk_fault place = dbk_schema_fault_at(reading, value);
    return make_pattern(reading, &place, value->text, &rule->pattern);
}

static int take_format(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                       const struct dbk_json_node *value)
{
    const char *names[DBK_FORMAT_COUNT];
    if (value->kind != DBK_JSON_STRING)
        return refuse_value(reading, value, "a text");
    for (unsigned i = 1; i < DBK_FORMAT_COUNT; i++) {
        names[i - 1] = dbk_format_name((enum dbk_format)i);
        if (dbk_slice_equal_text(value->text, names[i - 1])) {
            rule->format = (enum dbk_format)i;
            return DBK_OK;
        }
    }
    struct dbk_fault fault = dbk_schema_fault_at(reading, value);
    const char *name = dbk_arena_copy(&reading->faults->arena, value->text).data;
    fault.warning = true;
    fault.why = "any text would pass";
    if (name == NULL ||
        dbk_fault_suggest(reading->faults, name, names, DBK_FORMAT_COUNT - 1,
                          "docs/schemas.md lists the formats; a `pattern` may do, too",
                          &fault.fix) < 0)
        return DBK_ENOMEM;
    return dbk_fault_add(reading->faults, &fault, "the format `%s` is not checked", name);
}

/* ---- Lists ---- */

static int take_min_items(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                          const struct dbk_json_node *value)
{
    return take_count(reading, value, &rule->items_min);
}

static int take_max_items(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                          const struct dbk_json_node *value)
{
    return take_count(reading, value, &rule->items_max);
}

static int take_flag(struct dbk_schema_reading *reading, const struct dbk_json_node *value,
                     bool *flag_out)
{
    if (value->kind != DBK_JSON_TRUE && value->kind != DBK_JSON_FALSE)
        return refuse_value(reading, value, "true or false");
    *flag_out = value->kind == DBK_JSON_TRUE;
    return DBK_OK;
}

static int take_unique_items(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                             const struct dbk_json_node *value)
{
    return take_flag(reading, value, &rule->unique);
}

static int take_prefix_items(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                             const struct dbk_json_node *value)
{
    return take_list(reading, rule, value, "prefixItems", &rule->prefix);
}

static int take_items(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                      const struct dbk_json_node *value)
{
    if (value->kind == DBK_JSON_ARRAY) {
        struct dbk_fault fault = dbk_schema_fault_at(reading, value);
        fault.fix = "a list of schemas is `prefixItems`";
        return dbk_fault_add(reading->faults, &fault,
                             "`items` is a list, where one schema is expected");
    }
    return take_one(reading, rule, value, "items", &rule->items);
}

static int take_contains(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                         const struct dbk_json_node *value)
{
    return take_one(reading, rule, value, "contains", &rule->contains);
}

static int take_min_contains(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                             const struct dbk_json_node *value)
{
    return take_count(reading, value, &rule->contains_min);
}

static int take_max_contains(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                             const struct dbk_json_node *value)
{
    return take_count(reading, value, &rule->contains_max);
}

static int take_unevaluated_items(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                                  const struct dbk_json_node *value)
{
    return take_one(reading, rule, value, "unevaluatedItems", &rule->items_unevaluated);
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
        return refuse_value(reading, value, "an object of schemas");
    rule->properties =
        dbk_arena_alloc_zero(&reading->schemas->arena, value->count + 1, sizeof(*rule->properties));
    if (rule->properties == NULL)
        return DBK_ENOMEM;
    const struct dbk_json_node *member = dbk_json_first(value);
    for (uint32_t i = 0; i < value->count; i++) {
        struct dbk_property *property = &rule->properties[rule->property_count];
        property->name = member->key;
        int rc = take_schema(reading, rule, member, "properties", &member->key, &property->rule);
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
        return refuse_value(reading, value, "an object of schemas");
    rule->patterns =
        dbk_arena_alloc_zero(&reading->schemas->arena, value->count + 1, sizeof(*rule->patterns));
    if (rule->patterns == NULL)
        return DBK_ENOMEM;
    const struct dbk_json_node *member = dbk_json_first(value);
    for (uint32_t i = 0; i < value->count; i++) {
        struct dbk_pattern_property *property = &rule->patterns[rule->pattern_count];
        struct dbk_fault place = dbk_schema_fault_at_key(reading, member);
        int rc = make_pattern(reading, &place, member->key, &property->pattern);
        if (rc == DBK_OK)
            rc = take_schema(reading, rule, member, "patternProperties", &member->key,
                             &property->rule);
        if (rc < 0)
            return rc;
        if (property->rule != NULL && property->pattern != NULL)
            rule->pattern_count++;
        member = dbk_json_sibling(member);
    }
    return DBK_OK;
}

static int take_additional_properties(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                                      const struct dbk_json_node *value)
{
    return take_one(reading, rule, value, "additionalProperties", &rule->additional);
}

static int take_property_names(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                               const struct dbk_json_node *value)
{
    return take_one(reading, rule, value, "propertyNames", &rule->names);
}

static int take_unevaluated_properties(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                                       const struct dbk_json_node *value)
{
    return take_one(reading, rule, value, "unevaluatedProperties", &rule->members_unevaluated);
}

static int take_required(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                         const struct dbk_json_node *value)
{
    return take_names(reading, value, &rule->required);
}

static int take_min_properties(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                               const struct dbk_json_node *value)
{
    return take_count(reading, value, &rule->members_min);
}

static int take_max_properties(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                               const struct dbk_json_node *value)
{
    return take_count(reading, value, &rule->members_max);
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
        return refuse_value(reading, value,
                            schemas ? "an object of schemas" : "an object of lists of names");
    int rc = grow_dependencies(reading, rule, value->count);
    const struct dbk_json_node *member = dbk_json_first(value);
    for (uint32_t i = 0; i < value->count && rc == DBK_OK; i++) {
        struct dbk_dependency *dependency = &rule->dependencies[rule->dependency_count++];
        dependency->name = member->key;
        rc = schemas ? take_schema(reading, rule, member, "dependentSchemas", &member->key,
                                   &dependency->rule)
                     : take_names(reading, member, &dependency->required);
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

static int take_all_of(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                       const struct dbk_json_node *value)
{
    return take_list(reading, rule, value, "allOf", &rule->all_of);
}

static int take_any_of(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                       const struct dbk_json_node *value)
{
    return take_list(reading, rule, value, "anyOf", &rule->any_of);
}

static int take_one_of(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                       const struct dbk_json_node *value)
{
    return take_list(reading, rule, value, "oneOf", &rule->one_of);
}

static int take_not(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                    const struct dbk_json_node *value)
{
    return take_one(reading, rule, value, "not", &rule->not_rule);
}

static int take_if(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                   const struct dbk_json_node *value)
{
    return take_one(reading, rule, value, "if", &rule->if_rule);
}

static int take_then(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value)
{
    return take_one(reading, rule, value, "then", &rule->then_rule);
}

static int take_else(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value)
{
    return take_one(reading, rule, value, "else", &rule->else_rule);
}

static int take_ref(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                    const struct dbk_json_node *value)
{
    if (value->kind != DBK_JSON_STRING)
        return refuse_value(reading, value, "a text");
    rule->reference = value;
    return DBK_OK;
}

static int take_defs(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value)
{
    if (value->kind != DBK_JSON_OBJECT)
        return refuse_value(reading, value, "an object of schemas");
    const struct dbk_json_node *member = dbk_json_first(value);
    int rc = DBK_OK;
    for (uint32_t i = 0; i < value->count && rc == DBK_OK; i++) {
        struct dbk_rule *taken = NULL;
        rc = take_schema(reading, rule, member, "$defs", &member->key, &taken);
        member = dbk_json_sibling(member);
    }
    return rc;
}

/* ---- What checks nothing ---- */

static int take_note(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value)
{
    (void)reading;
    (void)rule;
    (void)value;
    return DBK_OK;
}

static int take_text_note(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                          const struct dbk_json_node *value)
{
    (void)rule;
    return value->kind == DBK_JSON_STRING ? DBK_OK : refuse_value(reading, value, "a text");
}

static int take_dialect(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                        const struct dbk_json_node *value)
{
    static const char known[] = "https://json-schema.org/draft/2020-12/schema";
    struct dbk_fault fault = dbk_schema_fault_at(reading, value);
    (void)rule;
    if (value->kind == DBK_JSON_STRING && dbk_slice_equal_text(value->text, known))
        return DBK_OK;
    fault.why = "keywords of other drafts mean other things";
    fault.fix = "write \"https://json-schema.org/draft/2020-12/schema\", or leave it out";
    return dbk_fault_add(reading->faults, &fault, "`$schema` names another draft than 2020-12");
}

/* ---- What Daybook adds ---- */

static int take_personal(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                         const struct dbk_json_node *value)
{
    rule->personal_node = value;
    return take_flag(reading, value, &rule->personal);
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
        return refuse_value(reading, value, "a field's name");
    return take_at_root(reading, rule, value, &reading->schema->subject_node);
}

static int take_tags(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value)
{
    if (value->kind != DBK_JSON_ARRAY)
        return refuse_value(reading, value, "a list of texts such as \"customer:{customer_id}\"");
    return take_at_root(reading, rule, value, &reading->schema->tags_node);
}

/* ---- Rules ---- */

static const struct keyword {
    const char *name;
    int (*take)(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                const struct dbk_json_node *value);
} keywords[] = {
    {"type", take_type},
    {"enum", take_enum},
    {"const", take_const},
    {"minimum", take_minimum},
    {"maximum", take_maximum},
    {"exclusiveMinimum", take_exclusive_minimum},
    {"exclusiveMaximum", take_exclusive_maximum},
    {"multipleOf", take_multiple_of},
    {"minLength", take_min_length},
    {"maxLength", take_max_length},
    {"pattern", take_pattern},
    {"format", take_format},
    {"items", take_items},
    {"prefixItems", take_prefix_items},
    {"contains", take_contains},
    {"minContains", take_min_contains},
    {"maxContains", take_max_contains},
    {"minItems", take_min_items},
    {"maxItems", take_max_items},
    {"uniqueItems", take_unique_items},
    {"unevaluatedItems", take_unevaluated_items},
    {"properties", take_properties},
    {"patternProperties", take_pattern_properties},
    {"additionalProperties", take_additional_properties},
    {"propertyNames", take_property_names},
    {"unevaluatedProperties", take_unevaluated_properties},
    {"required", take_required},
    {"minProperties", take_min_properties},
    {"maxProperties", take_max_properties},
    {"dependentRequired", take_dependent_required},
    {"dependentSchemas", take_dependent_schemas},
    {"allOf", take_all_of},
    {"anyOf", take_any_of},
    {"oneOf", take_one_of},
    {"not", take_not},
    {"if", take_if},
    {"then", take_then},
    {"else", take_else},
    {"$ref", take_ref},
    {"$defs", take_defs},
    {"$schema", take_dialect},
    {"$comment", take_text_note},
    {"title", take_text_note},
    {"description", take_text_note},
    {"default", take_note},
    {"examples", take_note},
    {"deprecated", take_note},
    {"readOnly", take_note},
    {"writeOnly", take_note},
    {"x-personal", take_personal},
    {"x-subject", take_subject},
    {"x-tags", take_tags},
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
        if (dbk_slice_equal_text(value->key, keywords[i].name))
            return keywords[i].take(reading, rule, value);
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
