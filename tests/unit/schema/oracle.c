/* SPDX-License-Identifier: Apache-2.0 */
#include "oracle.h"

#include <stdlib.h>
#include <string.h>

#include "json/json.h"

/* Members that steps may add to one object. */
#define ADDED_MAX 64

struct tree {
    enum dbk_json_kind kind;
    struct dbk_slice text; /* a scalar as written */
    size_t count;
    struct dbk_slice *keys;
    struct tree **values;
};

static struct dbk_arena arena;

static struct tree *plant(const struct dbk_json_node *node)
{
    struct tree *tree = dbk_arena_alloc_zero(&arena, 1, sizeof(*tree));
    const struct dbk_json_node *child = dbk_json_first(node);
    if (tree == NULL)
        abort();
    tree->kind = node->kind;
    tree->keys = dbk_arena_alloc_zero(&arena, node->count + ADDED_MAX, sizeof(*tree->keys));
    tree->values = dbk_arena_alloc_zero(&arena, node->count + ADDED_MAX, sizeof(*tree->values));
    if (tree->keys == NULL || tree->values == NULL)
        abort();
    if (node->kind != DBK_JSON_OBJECT && node->kind != DBK_JSON_ARRAY)
        tree->text = dbk_arena_copy(&arena, node->raw);
    for (uint32_t i = 0; i < node->count; i++, child = dbk_json_sibling(child)) {
        tree->keys[i] = dbk_arena_copy(&arena, child->key);
        tree->values[i] = plant(child);
    }
    tree->count = node->count;
    return tree;
}

static struct tree *parse(struct dbk_slice text)
{
    static struct dbk_json *json;
    const struct dbk_json_node *root = NULL;
    if (json == NULL)
        json = dbk_json_create((size_t)1 << 24);
    if (json == NULL)
        abort();
    return dbk_json_parse(json, text, &root, NULL) < 0 ? NULL : plant(root);
}

static void write(const struct tree *tree, struct dbk_buf *out)
{
    bool object = tree->kind == DBK_JSON_OBJECT;
    if (!object && tree->kind != DBK_JSON_ARRAY) {
        dbk_buf_append(out, tree->text);
        return;
    }
    dbk_buf_append_char(out, object ? '{' : '[');
    for (size_t i = 0; i < tree->count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        if (object) {
            dbk_json_write_string(out, tree->keys[i]);
            dbk_buf_append_char(out, ':');
        }
        write(tree->values[i], out);
    }
    dbk_buf_append_char(out, object ? '}' : ']');
}

static size_t find(const struct tree *object, struct dbk_slice key)
{
    size_t i = 0;
    while (i < object->count && !dbk_slice_equal(object->keys[i], key))
        i++;
    return i;
}

/* ---- Conversions ---- */

static void become(struct tree *tree, struct dbk_slice text)
{
    struct tree *made = parse(text);
    if (made == NULL)
        abort();
    *tree = *made;
}

static bool is_number(const struct tree *tree)
{
    return tree->kind == DBK_JSON_INTEGER || tree->kind == DBK_JSON_DECIMAL;
}

/* What a string's content is as JSON; NULL when it is none, or has blanks around it. */
static struct tree *inside(struct dbk_slice text)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create((size_t)1 << 20);
    struct tree *tree = NULL;
    if (json == NULL || dbk_json_parse(json, text, &root, NULL) < 0)
        abort();
    struct dbk_slice content = dbk_arena_copy(&arena, root->text);
    if (content.size > 0 && strchr(" \t\r\n", content.data[0]) == NULL &&
        strchr(" \t\r\n", content.data[content.size - 1]) == NULL)
        tree = parse(content);
    dbk_json_free(json);
    return tree;
}

static struct dbk_slice quoted(struct dbk_slice text)
{
    return dbk_slice_of(dbk_arena_format(&arena, "\"%.*s\"", DBK_SLICE_ARGS(text)));
}

static bool whole_value(const struct tree *tree, int64_t *value_out)
{
    struct dbk_decimal decimal;
    return dbk_slice_to_i64(tree->text, value_out) ||
           (dbk_decimal_parse(tree->text, &decimal) && dbk_decimal_to_i64(decimal, value_out));
}

static bool convert(struct tree *tree, enum dbk_upcast_type type)
{
    const struct tree *number = tree;
    int64_t value = 0;
    bool truth = tree->kind == DBK_JSON_TRUE || tree->kind == DBK_JSON_FALSE;
    if (tree->kind == DBK_JSON_NULL)
        return true;
    if (tree->kind == DBK_JSON_OBJECT || tree->kind == DBK_JSON_ARRAY)
        return false;
    if (type == DBK_UPCAST_STRING) {
        if (tree->kind != DBK_JSON_STRING)
            become(tree, quoted(tree->text));
        return true;
    }
    if (tree->kind == DBK_JSON_STRING)
        number = inside(tree->text);
    if (number == NULL)
        return false;
    if (type == DBK_UPCAST_BOOLEAN) {
        if (tree->kind == DBK_JSON_STRING && number->kind != DBK_JSON_TRUE &&
            number->kind != DBK_JSON_FALSE)
            return false;
        if (number->kind == DBK_JSON_TRUE || number->kind == DBK_JSON_FALSE) {
            become(tree, number->text);
            return true;
        }
        if (!whole_value(number, &value) || value < 0 || value > 1)
            return false;
        become(tree, dbk_slice_of(value == 1 ? "true" : "false"));
        return true;
    }
    if (truth) {
        become(tree, dbk_slice_of(tree->kind == DBK_JSON_TRUE ? "1" : "0"));
        return true;
    }
    if (!is_number(number) || (type == DBK_UPCAST_INTEGER && !whole_value(number, &value)))
        return false;
    become(tree, type == DBK_UPCAST_NUMBER
                     ? number->text
                     : dbk_slice_of(dbk_arena_format(&arena, "%jd", (intmax_t)value)));
    return true;
}

/* ---- Steps ---- */

static void take_out(struct tree *object, size_t at)
{
    object->count--;
    for (size_t i = at; i < object->count; i++) {
        object->keys[i] = object->keys[i + 1];
        object->values[i] = object->values[i + 1];
    }
}

static bool is_forgotten(const struct tree *tree)
{
    return tree->kind == DBK_JSON_OBJECT && tree->count > 0 &&
           dbk_slice_equal_text(tree->keys[0], "$forgotten");
}

static bool apply_to_member(struct tree *object, const struct dbk_upcast_step *step)
{
    struct dbk_slice key = step->path.steps[step->path.count - 1].key;
    size_t at = find(object, key);
    size_t to = 0;
    switch (step->kind) {
    case DBK_UPCAST_ADD:
        if (at < object->count)
            return true;
        object->keys[object->count] = key;
        object->values[object->count++] = parse(step->value->raw);
        return true;
    case DBK_UPCAST_RENAME:
        to = find(object, step->to.steps[step->to.count - 1].key);
        if (at == object->count)
            return true;
        if (to < object->count)
            return false;
        object->keys[at] = step->to.steps[step->to.count - 1].key;
        return true;
    case DBK_UPCAST_REMOVE:
        if (at < object->count)
            take_out(object, at);
        return true;
    case DBK_UPCAST_CONVERT:
        return at == object->count || is_forgotten(object->values[at]) ||
               convert(object->values[at], step->type);
    }
    return false;
}

static bool apply(struct tree *tree, const struct dbk_upcast_step *step, size_t at)
{
    bool element = at < step->path.count && step->path.steps[at].key.data == NULL;
    if (at == step->path.count)
        return is_forgotten(tree) || convert(tree, step->type);
    if (tree->kind == DBK_JSON_NULL || is_forgotten(tree))
        return true;
    if (tree->kind != (element ? DBK_JSON_ARRAY : DBK_JSON_OBJECT))
        return step->kind != DBK_UPCAST_ADD;
    if (element) {
        for (size_t i = 0; i < tree->count; i++) {
            if (!apply(tree->values[i], step, at + 1))
                return false;
        }
        return true;
    }
    if (at + 1 == step->path.count)
        return apply_to_member(tree, step);
    size_t member = find(tree, step->path.steps[at].key);
    return member == tree->count || apply(tree->values[member], step, at + 1);
}

bool oracle_upcast(const struct dbk_upcast_version *versions, size_t count, struct dbk_slice text,
                   struct dbk_buf *out)
{
    bool done = true;
    dbk_arena_init(&arena, (size_t)1 << 28);
    struct tree *tree = parse(text);
    if (tree == NULL)
        abort();
    for (size_t i = 0; i < count && done; i++) {
        for (size_t j = 0; j < versions[i].count && done; j++)
            done = apply(tree, &versions[i].steps[j], 0);
    }
    if (done)
        write(tree, out);
    dbk_arena_release(&arena);
    return done;
}

struct dbk_schema_path oracle_path(const char *text, struct dbk_schema_step *steps)
{
    struct dbk_schema_path path = {.text = dbk_slice_of(text), .steps = steps};
    while (*text != 0) {
        size_t size = strcspn(text, ".[");
        if (size > 0)
            steps[path.count++].key = dbk_slice(text, size);
        text += size;
        if (*text == '[') {
            steps[path.count++].key = (struct dbk_slice){0};
            text += 2;
        }
        text += *text == '.';
    }
    return path;
}
