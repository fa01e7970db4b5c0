/* SPDX-License-Identifier: Apache-2.0 */
/* A finding in words. */
#include <inttypes.h>

#include "schema/finding.h"

#define SHOWN_MAX 60    /* bytes of a value */
#define LIST_MAX 300    /* bytes of a list of values */
#define NAMES_MAX 256   /* candidates of a did-you-mean */
#define MESSAGE_MAX 900 /* bytes; a message has room for these */

static const char *kind_of(const struct dbk_json_node *node)
{
    return node->kind == DBK_JSON_TRUE || node->kind == DBK_JSON_FALSE ? "a boolean"
                                                                       : dbk_schema_kind(node);
}

/* A value as it is written, cut at a character. */
static void put_raw(struct dbk_buf *out, struct dbk_slice raw, size_t size_max)
{
    size_t size = raw.size;
    if (size > size_max) {
        size = size_max;
        while (size > 0 && ((unsigned char)raw.data[size] & 0xC0) == 0x80)
            size--;
    }
    for (size_t i = 0; i < size; i++) /* Messages have one line. */
        dbk_buf_append_char(out, (unsigned char)raw.data[i] < ' ' ? ' ' : raw.data[i]);
    if (size < raw.size)
        dbk_buf_append_text(out, "…");
}

static void put_value(struct dbk_buf *out, const struct dbk_json_node *node, bool personal)
{
    bool container = node->kind == DBK_JSON_ARRAY || node->kind == DBK_JSON_OBJECT;
    if (container && !personal) {
        dbk_buf_append_format(out, "%s of %" PRIu32, kind_of(node), node->count);
        return;
    }
    if (container || personal)
        dbk_buf_append_text(out, kind_of(node));
    else
        put_raw(out, node->raw, SHOWN_MAX);
}

/* ---- The path ---- */

static bool is_plain(struct dbk_slice key)
{
    for (size_t i = 0; i < key.size; i++) {
        char byte = key.data[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
        if (!letter && !(i > 0 && byte >= '0' && byte <= '9'))
            return false;
    }
    return key.size > 0;
}

/* Steps into the child that holds the node; false: this is it. */
static bool step(const struct dbk_json_node **at, const struct dbk_json_node *node,
                 uint32_t *index_out)
{
    if (*at == node)
        return false;
    const struct dbk_json_node *child = dbk_json_first(*at);
    for (*index_out = 0; node >= child + child->next; (*index_out)++)
        child = dbk_json_sibling(child);
    *at = child;
    return true;
}

/* "$.lines[2].price". */
static void put_path(struct dbk_buf *out, const struct dbk_json_node *data,
                     const struct dbk_json_node *node)
{
    uint32_t index = 0;
    dbk_buf_append_char(out, '$');
    for (const struct dbk_json_node *above = data; step(&data, node, &index); above = data) {
        if (above->kind == DBK_JSON_ARRAY) {
            dbk_buf_append_format(out, "[%" PRIu32 "]", index);
        } else if (is_plain(data->key)) {
            dbk_buf_append_format(out, ".%.*s", DBK_SLICE_ARGS(data->key));
        } else {
            dbk_buf_append_char(out, '[');
            dbk_json_write_string(out, data->key);
            dbk_buf_append_char(out, ']');
        }
    }
}

/* True when a personal field holds the node. */
static bool is_personal(const struct dbk_schema *schema, const struct dbk_json_node *data,
                        const struct dbk_json_node *node)
{
    for (size_t i = 0; i < schema->personal_count; i++) {
        const struct dbk_schema_path *path = &schema->personal[i];
        const struct dbk_json_node *at = data;
        size_t met = 0;
        uint32_t index = 0;
        while (met < path->count && step(&at, node, &index)) {
            struct dbk_slice key = path->steps[met].key;
            if (key.data == NULL ? at->key.data != NULL : !dbk_slice_equal(key, at->key))
                break;
            met++;
        }
        if (met == path->count)
            return true;
    }
    return false;
}

/* ---- What was expected ---- */

void dbk_schema_put_types(struct dbk_buf *out, unsigned types)
{
    static const struct {
        unsigned bits;
        const char *text;
    } names[] = {
        {DBK_TYPE_STRING, "a text"},          {DBK_TYPE_NUMBER, "a number"},
        {DBK_TYPE_INTEGER, "a whole number"}, {DBK_TYPE_FRACTION, "a number with a fraction"},
        {DBK_TYPE_BOOLEAN, "true or false"},  {DBK_TYPE_ARRAY, "a list"},
        {DBK_TYPE_OBJECT, "an object"},       {DBK_TYPE_NULL, "null"},
    };
    bool first = true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((types & names[i].bits) != names[i].bits)
            continue;
        types &= ~names[i].bits;
        dbk_buf_append_text(out, first ? "" : types == 0 ? " or " : ", ");
        dbk_buf_append_text(out, names[i].text);
        first = false;
    }
}

static void put_values(struct dbk_buf *out, const struct dbk_json_node *values)
{
    const struct dbk_json_node *value = dbk_json_first(values);
    size_t begin = out->size;
    dbk_buf_append_text(out, values->count == 1 ? "" : "one of ");
    for (uint32_t i = 0; i < values->count; i++) {
        if (out->size - begin > LIST_MAX) {
            dbk_buf_append_format(out, " and %" PRIu32 " more", values->count - i);
            return;
        }
        dbk_buf_append_text(out, i == 0 ? "" : ", ");
        put_raw(out, value->raw, SHOWN_MAX);
        value = dbk_json_sibling(value);
    }
}

static void put_bound(struct dbk_buf *out, const char *text, struct dbk_bound bound)
{
    dbk_buf_append_text(out, text);
    dbk_json_write_decimal(out, bound.value);
}

static void put_count(struct dbk_buf *out, const char *before, uint64_t count, const char *what)
{
    dbk_buf_append_format(out, "%s%" PRIu64 " %s%s", before, count, what, count == 1 ? "" : "s");
}

static void put_expected(struct dbk_buf *out, const struct dbk_finding *finding)
{
    const struct dbk_rule *rule = finding->rule;
    switch (finding->check) {
    case DBK_CHECK_NONE:
    case DBK_CHECK_NEVER:
    case DBK_CHECK_UNKNOWN:
    case DBK_CHECK_REQUIRED:
        dbk_buf_append_text(out, "nothing");
        break;
    case DBK_CHECK_TYPE:
        dbk_schema_put_types(out, rule->types);
        break;
    case DBK_CHECK_CONST:
        put_raw(out, rule->constant->raw, SHOWN_MAX);
        break;
    case DBK_CHECK_ENUM:
        put_values(out, rule->values);
        break;
    case DBK_CHECK_MINIMUM:
        put_bound(out, "a number of at least ", rule->minimum);
        break;
    case DBK_CHECK_MAXIMUM:
        put_bound(out, "a number of at most ", rule->maximum);
        break;
    case DBK_CHECK_MINIMUM_EXCLUSIVE:
        put_bound(out, "a number above ", rule->minimum_exclusive);
        break;
    case DBK_CHECK_MAXIMUM_EXCLUSIVE:
        put_bound(out, "a number below ", rule->maximum_exclusive);
        break;
    case DBK_CHECK_MULTIPLE:
        put_bound(out, "a multiple of ", rule->multiple);
        break;
    case DBK_CHECK_LENGTH_MIN:
        put_count(out, "a text of at least ", rule->length_min, "character");
        break;
    case DBK_CHECK_LENGTH_MAX:
        put_count(out, "a text of at most ", rule->length_max, "character");
        break;
    case DBK_CHECK_PATTERN:
        dbk_buf_append_text(out, "a text that matches ");
        if (rule->pattern != NULL)
            put_raw(out, dbk_pattern_text(rule->pattern), SHOWN_MAX * 2);
        break;
    case DBK_CHECK_FORMAT:
        dbk_buf_append_format(out, "a text of the format %s", dbk_format_name(rule->format));
        break;
    case DBK_CHECK_ITEMS_MIN:
        put_count(out, "a list of at least ", rule->items_min, "element");
        break;
    case DBK_CHECK_ITEMS_MAX:
        put_count(out, "a list of at most ", rule->items_max, "element");
        break;
    case DBK_CHECK_UNIQUE:
        dbk_buf_append_text(out, "an element that is not in the list already");
        break;
    case DBK_CHECK_CONTAINS_MIN:
        put_count(out, "a list with at least ", rule->contains_min, "element");
        dbk_buf_append_text(out, " that `contains` describes");
        break;
    case DBK_CHECK_CONTAINS_MAX:
        put_count(out, "a list with at most ", rule->contains_max, "element");
        dbk_buf_append_text(out, " that `contains` describes");
        break;
    case DBK_CHECK_MEMBERS_MIN:
        put_count(out, "an object of at least ", rule->members_min, "field");
        break;
    case DBK_CHECK_MEMBERS_MAX:
        put_count(out, "an object of at most ", rule->members_max, "field");
        break;
    case DBK_CHECK_ANY_OF:
        dbk_buf_append_format(out, "what one of the %zu schemas of `anyOf` allows",
                              rule->any_of.count);
        break;
    case DBK_CHECK_ONE_OF:
    case DBK_CHECK_ONE_OF_MORE:
        dbk_buf_append_format(out, "what exactly one of the %zu schemas of `oneOf` allows",
                              rule->one_of.count);
        break;
    case DBK_CHECK_NOT:
        dbk_buf_append_text(out, "what the schema of `not` does not allow");
        break;
    }
}

/* A name that nothing allows, and one that it may have meant. */
static void put_unknown(struct dbk_buf *out, const struct dbk_finding *finding,
                        struct dbk_arena *arena)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    const struct dbk_rule *rule = finding->rule;
    if (finding->node->key.data == NULL) {
        dbk_buf_append_text(out, "no further element is expected");
        return;
    }
    for (; count < rule->property_count && count < NAMES_MAX; count++) {
        names[count] = dbk_arena_copy(arena, rule->properties[count].name).data;
        if (names[count] == NULL)
            break;
    }
    const char *name = dbk_arena_copy(arena, finding->node->key).data;
    const char *closest = name == NULL ? NULL : dbk_closest_name(name, names, count);
    dbk_buf_append_text(out, "no field of this name is expected");
    if (closest != NULL)
        dbk_buf_append_format(out, ": did you mean `%s`?", closest);
}

static void put_missing(struct dbk_buf *out, const struct dbk_finding *finding)
{
    const struct dbk_property *property = dbk_rule_property(finding->rule, finding->name);
    dbk_buf_append_text(out, "the field `");
    put_raw(out, finding->name, SHOWN_MAX);
    dbk_buf_append_text(out, "` is missing");
    if (property == NULL || property->rule->types == DBK_TYPE_ANY || property->rule->types == 0)
        return;
    dbk_buf_append_text(out, ": expected ");
    dbk_schema_put_types(out, property->rule->types);
}

static void put_finding(struct dbk_buf *out, const struct dbk_finding *finding, bool personal,
                        struct dbk_arena *arena)
{
    if (finding->check == DBK_CHECK_UNKNOWN) {
        put_unknown(out, finding, arena);
        return;
    }
    if (finding->check == DBK_CHECK_REQUIRED) {
        put_missing(out, finding);
        return;
    }
    dbk_buf_append_text(out, finding->is_name ? "its name: expected " : "expected ");
    put_expected(out, finding);
    dbk_buf_append_text(out, ", got ");
    if (finding->is_name)
        put_raw(out, finding->node->key, SHOWN_MAX);
    else
        put_value(out, finding->node, personal);
    if (finding->check == DBK_CHECK_ONE_OF_MORE)
        dbk_buf_append_text(out, ", which more than one allows");
}

int dbk_finding_explain(const struct dbk_finding *finding, const struct dbk_schema *schema,
                        const struct dbk_json_node *data, struct dbk_slice text, bool limit,
                        struct dbk_error *err)
{
    struct dbk_buf out;
    struct dbk_arena arena;
    unsigned line = 0;
    unsigned column = 0;
    size_t blank = 0;
    while (blank < text.size && strchr(" \t\r\n", text.data[blank]) != NULL)
        blank++;
    dbk_text_place(text, blank + (size_t)(finding->node->raw.data - data->raw.data), &line,
                   &column);
    dbk_buf_init(&out, MESSAGE_MAX * 8);
    dbk_arena_init(&arena, (size_t)1 << 22);
    put_path(&out, data, finding->node);
    dbk_buf_append_text(&out, ": ");
    if (limit)
        dbk_buf_append_text(&out, "matching a pattern takes too many steps");
    else
        put_finding(&out, finding, is_personal(schema, data, finding->node), &arena);
    int rc = out.rc < 0
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory checking data")
                 : dbk_error_set(err, limit ? DBK_ELIMIT : DBK_EINVAL, "line %u, column %u: %.*s",
                                 line, column, DBK_SLICE_ARGS(dbk_buf_slice(&out)));
    dbk_buf_release(&out);
    dbk_arena_release(&arena);
    return rc;
}
