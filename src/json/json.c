/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/diagnostics.h"
#include "json/simdjson.h"

/* Objects up to so many members are searched for equal keys pair by pair. */
#define PAIRWISE_MAX 16
/* A buffer that one large text needed is not kept for ever. */
#define KEPT_SIZE ((size_t)1 << 20)

struct dbk_json {
    struct dbk_simdjson *parser;
    size_t size_max;
    char *text; /* the padded copy */
    size_t text_capacity;
    size_t text_size;
    struct dbk_json_node *nodes;
    size_t node_count;
    size_t node_capacity;
    uint32_t open[DBK_JSON_DEPTH_MAX + 1]; /* containers not yet closed */
    unsigned depth;
    size_t fault_offset;
    const char *fault;
    struct dbk_slice fault_text;
    const struct dbk_slice *keys; /* of the members that are wanted */
    size_t key_count;
    char reason[256]; /* of the last fault, with the text it is about */
};

struct dbk_json *dbk_json_create(size_t size_max)
{
    struct dbk_json *json = dbk_alloc_zero(1, sizeof(*json));
    if (json == NULL)
        return NULL;
    json->size_max = size_max;
    json->parser = dbk_simdjson_create();
    if (json->parser == NULL) {
        dbk_json_free(json);
        return NULL;
    }
    return json;
}

void dbk_json_free(struct dbk_json *json)
{
    if (json == NULL)
        return;
    dbk_simdjson_free(json->parser);
    dbk_free(json->text);
    dbk_free(json->nodes);
    dbk_free(json);
}

/* Gives back what a large text took. */
static void shrink(struct dbk_json *json)
{
    if (json->text_capacity > KEPT_SIZE) {
        dbk_free(json->text);
        json->text = NULL;
        json->text_capacity = 0;
    }
    if (json->node_capacity * sizeof(*json->nodes) > KEPT_SIZE) {
        dbk_free(json->nodes);
        json->nodes = NULL;
        json->node_capacity = 0;
    }
}

static int fault(struct dbk_json *json, size_t offset, const char *reason, struct dbk_slice text)
{
    json->fault_offset = offset;
    json->fault = reason;
    json->fault_text = text;
    return DBK_EINVAL;
}

static int compare_keys(const void *a, const void *b)
{
    const struct dbk_json_node *const *left = a;
    const struct dbk_json_node *const *right = b;
    return dbk_slice_compare((*left)->key, (*right)->key);
}

static int fault_key(struct dbk_json *json, const struct dbk_json_node *member)
{
    const char *at = member->raw.data; /* A key with escapes is known by its value's place. */
    if (member->key.data > json->text && member->key.data < at)
        at = member->key.data - 1;
    return fault(json, (size_t)(at - json->text), "a key stands twice in one object", member->key);
}

static int check_keys_sorted(struct dbk_json *json, const struct dbk_json_node *object)
{
    const struct dbk_json_node **members =
        dbk_alloc_zero(object->count, sizeof(struct dbk_json_node *));
    if (members == NULL)
        return DBK_ENOMEM;
    const struct dbk_json_node *member = object + 1;
    for (uint32_t i = 0; i < object->count; i++) {
        members[i] = member;
        member = dbk_json_sibling(member);
    }
    qsort(members, object->count, sizeof(struct dbk_json_node *), compare_keys);
    int rc = DBK_OK;
    for (uint32_t i = 1; i < object->count && rc == DBK_OK; i++) {
        if (dbk_slice_equal(members[i - 1]->key, members[i]->key))
            rc = fault_key(json, members[i] > members[i - 1] ? members[i] : members[i - 1]);
    }
    dbk_free(members);
    return rc;
}

/* No key may stand twice: readers would disagree about which one counts. */
static int check_keys(struct dbk_json *json, const struct dbk_json_node *object)
{
    if (object->count > PAIRWISE_MAX)
        return check_keys_sorted(json, object);
    const struct dbk_json_node *member = object + 1;
    for (uint32_t i = 0; i < object->count; i++) {
        const struct dbk_json_node *earlier = object + 1;
        for (uint32_t j = 0; j < i; j++) {
            if (dbk_slice_equal(earlier->key, member->key))
                return fault_key(json, member);
            earlier = dbk_json_sibling(earlier);
        }
        member = dbk_json_sibling(member);
    }
    return DBK_OK;
}

static int close_container(struct dbk_json *json, size_t end)
{
    struct dbk_json_node *node = &json->nodes[json->open[--json->depth]];
    size_t begin = (size_t)(node->raw.data - json->text);
    node->next = (uint32_t)(json->node_count - json->open[json->depth]);
    node->raw.size = end - begin;
    return node->kind == DBK_JSON_OBJECT ? check_keys(json, node) : DBK_OK;
}

static int read_number(struct dbk_json *json, struct dbk_json_node *node, size_t offset)
{
    /* "-0" is no integer that could be written back. */
    bool negative_zero =
        node->raw.size == 2 && node->raw.data[0] == '-' && node->raw.data[1] == '0';
    bool zero_first = node->raw.size > 1 && node->raw.data[node->raw.data[0] == '-'] == '0';
    if (!negative_zero && !zero_first && dbk_slice_to_i64(node->raw, &node->integer)) {
        node->kind = DBK_JSON_INTEGER;
        return DBK_OK;
    }
    if (!dbk_decimal_parse(node->raw, &node->decimal)) {
        bool plausible = node->raw.size > 0 && !zero_first;
        for (size_t i = 0; i < node->raw.size && plausible; i++)
            plausible = strchr("0123456789+-.eE", node->raw.data[i]) != NULL;
        return fault(json, offset,
                     plausible ? "a number cannot be read exactly (64-bit integers and up to 18 "
                                 "digits with a point can)"
                               : "a number is malformed",
                     node->raw);
    }
    node->kind = DBK_JSON_DECIMAL;
    int64_t integer;
    if (memchr(node->raw.data, '.', node->raw.size) == NULL &&
        dbk_decimal_to_i64(node->decimal, &integer)) {
        node->kind = DBK_JSON_INTEGER;
        node->integer = integer;
    }
    return DBK_OK;
}

static int grow(struct dbk_json *json)
{
    size_t capacity = json->node_capacity == 0 ? 64 : json->node_capacity * 2;
    struct dbk_json_node *nodes = dbk_realloc(json->nodes, capacity * sizeof(*nodes));
    if (nodes == NULL)
        return DBK_ENOMEM;
    json->nodes = nodes;
    json->node_capacity = capacity;
    return DBK_OK;
}

static int take(void *context, const struct dbk_simdjson_value *value)
{
    static const enum dbk_json_kind kinds[] = {
        [DBK_SIMDJSON_NULL] = DBK_JSON_NULL,     [DBK_SIMDJSON_FALSE] = DBK_JSON_FALSE,
        [DBK_SIMDJSON_TRUE] = DBK_JSON_TRUE,     [DBK_SIMDJSON_NUMBER] = DBK_JSON_INTEGER,
        [DBK_SIMDJSON_STRING] = DBK_JSON_STRING, [DBK_SIMDJSON_ARRAY] = DBK_JSON_ARRAY,
        [DBK_SIMDJSON_OBJECT] = DBK_JSON_OBJECT,
    };
    struct dbk_json *json = context;
    if (value->event == DBK_SIMDJSON_END)
        return close_container(json, value->offset);
    if (json->node_count == json->node_capacity && grow(json) < 0)
        return DBK_ENOMEM;
    if (json->depth > 0)
        json->nodes[json->open[json->depth - 1]].count++;
    uint32_t index = (uint32_t)json->node_count++;
    struct dbk_json_node *node = &json->nodes[index];
    *node = (struct dbk_json_node){
        .kind = kinds[value->event], .next = 1, .key = dbk_slice(value->key, value->key_size)};
    node->raw = dbk_slice(json->text + value->offset, 0);
    switch (value->event) {
    case DBK_SIMDJSON_NULL:
    case DBK_SIMDJSON_TRUE:
        node->raw.size = 4;
        return DBK_OK;
    case DBK_SIMDJSON_FALSE:
        node->raw.size = 5;
        return DBK_OK;
    case DBK_SIMDJSON_NUMBER:
        node->raw = dbk_slice(value->text, value->text_size);
        return read_number(json, node, value->offset);
    case DBK_SIMDJSON_STRING: {
        /* Without escapes the text stands in place; else to the closing quote: the first one that
           no backslash escapes. */
        size_t end = value->offset + 1;
        if (value->text == json->text + end)
            end += value->text_size;
        while (json->text[end] != '"')
            end += json->text[end] == '\\' ? 2 : 1;
        node->raw.size = end + 1 - value->offset;
        node->text = dbk_slice(value->text, value->text_size);
        return DBK_OK;
    }
    case DBK_SIMDJSON_ARRAY:
    case DBK_SIMDJSON_OBJECT:
    case DBK_SIMDJSON_END:
        break;
    }
    json->open[json->depth++] = index;
    return DBK_OK;
}

static bool wants(void *context, const char *key, size_t key_size)
{
    const struct dbk_json *json = context;
    for (size_t i = 0; i < json->key_count; i++) {
        if (dbk_slice_equal(json->keys[i], dbk_slice(key, key_size)))
            return true;
    }
    return false;
}

/* Copies the text with padding; a scalar is put into brackets, so that all walks are alike. */
static int copy_text(struct dbk_json *json, struct dbk_slice text, bool wrapped)
{
    size_t size = text.size + (wrapped ? 2 : 0);
    size_t needed = size + DBK_SIMDJSON_PADDING;
    if (needed > json->text_capacity) {
        size_t capacity = json->text_capacity < 4096 ? 4096 : json->text_capacity;
        while (capacity < needed)
            capacity *= 2;
        char *copy = dbk_realloc(json->text, capacity);
        if (copy == NULL)
            return DBK_ENOMEM;
        json->text = copy;
        json->text_capacity = capacity;
    }
    if (text.size > 0)
        memcpy(json->text + wrapped, text.data, text.size);
    if (wrapped) {
        json->text[0] = '[';
        json->text[size - 1] = ']';
    }
    memset(json->text + size, ' ', DBK_SIMDJSON_PADDING);
    json->text_size = size;
    return DBK_OK;
}

static int report(struct dbk_json *json, struct dbk_slice text, size_t offset, const char *reason,
                  struct dbk_error *err)
{
    unsigned line;
    unsigned column;
    struct dbk_slice shown = json->fault_text;
    if (shown.size > 64)
        shown.size = 64;
    dbk_text_place(text, offset, &line, &column);
    json->fault_offset = offset;
    if (shown.size > 0)
        (void)snprintf(json->reason, sizeof(json->reason), "%s: %.*s", reason,
                       DBK_SLICE_ARGS(shown));
    else
        (void)snprintf(json->reason, sizeof(json->reason), "%s", reason);
    return dbk_error_set(err, DBK_EINVAL, "line %u, column %u: %s", line, column, json->reason);
}

size_t dbk_json_fault(const struct dbk_json *json, const char **reason_out)
{
    *reason_out = json->reason;
    return json->fault_offset;
}

static int parse(struct dbk_json *json, struct dbk_slice text, dbk_simdjson_wants_fn wanted,
                 const struct dbk_json_node **nodes_out, struct dbk_error *err)
{
    if (text.size > json->size_max || text.size > UINT32_MAX / 2)
        return dbk_error_set(err, DBK_ELIMIT, "JSON of %zu bytes; at most %zu are taken", text.size,
                             json->size_max);
    shrink(json);
    size_t blank = 0;
    while (blank < text.size && strchr(" \t\r\n", text.data[blank]) != NULL &&
           text.data[blank] != 0)
        blank++;
    bool wrapped = blank == text.size || (text.data[blank] != '{' && text.data[blank] != '[');
    json->node_count = 0;
    json->depth = 0;
    json->fault_text = dbk_slice(NULL, 0);
    if (blank == text.size)
        return report(json, text, blank, "a value was expected and nothing is there", err);
    /* simdjson takes a NUL behind a number for the end of its text. */
    const char *nul = memchr(text.data, 0, text.size);
    if (nul != NULL)
        return report(json, text, (size_t)(nul - text.data), "a NUL byte", err);
    if (copy_text(json, text, wrapped) < 0)
        return dbk_error_set(err, DBK_ENOMEM, "JSON: %s", dbk_code_text(DBK_ENOMEM));
    size_t offset = 0;
    const char *reason = NULL;
    int walked = dbk_simdjson_walk(json->parser, json->text, json->text_size, DBK_JSON_DEPTH_MAX,
                                   take, wrapped ? NULL : wanted, json, &offset, &reason);
    if (walked == DBK_ENOMEM || walked == 2)
        return dbk_error_set(err, DBK_ENOMEM, "JSON: %s", dbk_code_text(DBK_ENOMEM));
    if (walked < 0) {
        offset = json->fault_offset;
        reason = json->fault;
    } else if (walked == 0 && wrapped && json->nodes[0].count != 1) {
        walked = 1;
        offset = json->nodes[0].count == 0
                     ? 1
                     : (size_t)(json->nodes[1].raw.data - json->text) + json->nodes[1].raw.size;
        reason = "something stands behind the value";
    }
    if (walked != 0)
        return report(json, text, offset - (wrapped && offset > 0), reason, err);
    *nodes_out = json->nodes + wrapped;
    return DBK_OK;
}

int dbk_json_parse(struct dbk_json *json, struct dbk_slice text,
                   const struct dbk_json_node **nodes_out, struct dbk_error *err)
{
    return parse(json, text, NULL, nodes_out, err);
}

int dbk_json_parse_members(struct dbk_json *json, struct dbk_slice text,
                           const struct dbk_slice *keys, size_t key_count,
                           const struct dbk_json_node **nodes_out, struct dbk_error *err)
{
    json->keys = keys;
    json->key_count = key_count;
    return parse(json, text, wants, nodes_out, err);
}

const struct dbk_json_node *dbk_json_member_slice(const struct dbk_json_node *object,
                                                  struct dbk_slice key)
{
    if (object->kind != DBK_JSON_OBJECT)
        return NULL;
    const struct dbk_json_node *member = object + 1;
    for (uint32_t i = 0; i < object->count; i++) {
        if (dbk_slice_equal(member->key, key))
            return member;
        member = dbk_json_sibling(member);
    }
    return NULL;
}

const struct dbk_json_node *dbk_json_member(const struct dbk_json_node *object, const char *key)
{
    return dbk_json_member_slice(object, dbk_slice_of(key));
}

const struct dbk_json_node *dbk_json_first(const struct dbk_json_node *container)
{
    return container->count == 0 ? NULL : container + 1;
}
