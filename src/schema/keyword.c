/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/compiling.h"

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
int dbk_keyword_refuse(struct dbk_schema_reading *reading, const struct dbk_json_node *value,
                       const char *expected)
{
    struct dbk_fault fault = dbk_schema_fault_at(reading, value);
    return dbk_fault_add(reading->faults, &fault, "`%.*s` is %s, where %s is expected",
                         DBK_SLICE_ARGS(value->key), dbk_schema_kind(value), expected);
}

/* ---- Values ---- */

int dbk_keyword_bound(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                      const struct dbk_json_node *value, void *field)
{
    struct dbk_bound *bound_out = field;
    (void)rule;
    if (!dbk_json_number(value, &bound_out->value))
        return dbk_keyword_refuse(reading, value, "a number");
    bound_out->set = true;
    return DBK_OK;
}

int dbk_keyword_count(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                      const struct dbk_json_node *value, void *field)
{
    uint64_t *count_out = field;
    struct dbk_decimal number;
    (void)rule;
    int64_t count = -1;
    if (!dbk_json_number(value, &number) || !dbk_decimal_to_i64(number, &count) || count < 0)
        return dbk_keyword_refuse(reading, value, "a whole number of at least 0");
    *count_out = (uint64_t)count;
    return DBK_OK;
}

int dbk_keyword_names(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                      const struct dbk_json_node *value, void *field)
{
    struct dbk_name_list *list_out = field;
    (void)rule;
    if (value->kind != DBK_JSON_ARRAY)
        return dbk_keyword_refuse(reading, value, "a list of names");
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

int dbk_keyword_type(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value)
{
    unsigned types = 0;
    if (value->kind != DBK_JSON_ARRAY) {
        int rc = add_type(reading, value, &types);
        rule->types = types;
        return rc;
    }
    if (value->count == 0)
        return dbk_keyword_refuse(reading, value, "a type, or a list of at least one");
    const struct dbk_json_node *item = dbk_json_first(value);
    int rc = DBK_OK;
    for (uint32_t i = 0; i < value->count && rc == DBK_OK; i++) {
        rc = add_type(reading, item, &types);
        item = dbk_json_sibling(item);
    }
    rule->types = types;
    return rc;
}

int dbk_keyword_enum(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value)
{
    if (value->kind != DBK_JSON_ARRAY || value->count == 0)
        return dbk_keyword_refuse(reading, value, "a list of at least one value");
    rule->values = value;
    return DBK_OK;
}

int dbk_keyword_const(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                      const struct dbk_json_node *value)
{
    (void)reading;
    rule->constant = value;
    return DBK_OK;
}

/* ---- Numbers ---- */

int dbk_keyword_multiple(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                         const struct dbk_json_node *value)
{
    struct dbk_decimal number;
    if (!dbk_json_number(value, &number) || number.coefficient <= 0)
        return dbk_keyword_refuse(reading, value, "a number above 0");
    return dbk_keyword_bound(reading, rule, value, &rule->multiple);
}

/* ---- Texts ---- */

int dbk_keyword_make_pattern(struct dbk_schema_reading *reading, const struct dbk_fault *place,
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

int dbk_keyword_pattern(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                        const struct dbk_json_node *value)
{
    if (value->kind != DBK_JSON_STRING)
        return dbk_keyword_refuse(reading, value, "a text");
    struct dbk_fault place = dbk_schema_fault_at(reading, value);
    return dbk_keyword_make_pattern(reading, &place, value->text, &rule->pattern);
}

int dbk_keyword_format(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                       const struct dbk_json_node *value)
{
    const char *names[DBK_FORMAT_COUNT];
    if (value->kind != DBK_JSON_STRING)
        return dbk_keyword_refuse(reading, value, "a text");
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

/* ---- Flags ---- */

int dbk_keyword_flag(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value, void *field)
{
    bool *flag_out = field;
    (void)rule;
    if (value->kind != DBK_JSON_TRUE && value->kind != DBK_JSON_FALSE)
        return dbk_keyword_refuse(reading, value, "true or false");
    *flag_out = value->kind == DBK_JSON_TRUE;
    return DBK_OK;
}

/* ---- What checks nothing ---- */

int dbk_keyword_note(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                     const struct dbk_json_node *value)
{
    (void)reading;
    (void)rule;
    (void)value;
    return DBK_OK;
}

int dbk_keyword_text_note(struct dbk_schema_reading *reading, struct dbk_rule *rule,
                          const struct dbk_json_node *value)
{
    (void)rule;
    return value->kind == DBK_JSON_STRING ? DBK_OK : dbk_keyword_refuse(reading, value, "a text");
}

int dbk_keyword_dialect(struct dbk_schema_reading *reading, struct dbk_rule *rule,
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
