/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/neo4j/node.h"

#include <stdlib.h>

#define NAMES_SIZE_MAX ((size_t)16 << 20)

void dbk_nodes_init(struct dbk_nodes *nodes, const struct dbk_capture_service *service,
                    size_t index)
{
    *nodes =
        (struct dbk_nodes){.service = service, .table = &service->tables[index], .index = index};
    dbk_arena_init(&nodes->arena, NAMES_SIZE_MAX);
}

void dbk_nodes_release(struct dbk_nodes *nodes)
{
    dbk_arena_release(&nodes->arena);
}

int dbk_nodes_fault(const struct dbk_nodes *nodes, int code, const char *what, const char *fix,
                    struct dbk_error *err)
{
    return dbk_error_set(err, code, "%s:%u:%u: the label `%s` %s: %s", nodes->service->file,
                         nodes->table->line, nodes->table->column, nodes->table->name, what, fix);
}

int dbk_nodes_no_memory(const struct dbk_nodes *nodes, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s.%s", nodes->service->name,
                         nodes->table->name);
}

bool dbk_nodes_key(const struct dbk_json_node *value, struct dbk_arena *arena,
                   struct dbk_slice *text_out)
{
    if (value->kind == DBK_JSON_STRING)
        *text_out = dbk_arena_copy(arena, value->text);
    else if (value->kind == DBK_JSON_INTEGER)
        *text_out = dbk_slice_of(dbk_arena_format(arena, "%lld", (long long)value->integer));
    else
        return false;
    return text_out->data != NULL;
}

/* ---- Shapes ---- */

/* A property, or a name that is wanted and may have none. */
struct property {
    struct dbk_slice name;
    const struct dbk_json_node *value; /* NULL: the node has none */
};
struct properties {
    struct property *items;
    size_t count;
};

static int compare(const void *a, const void *b)
{
    const struct property *left = a;
    const struct property *right = b;
    int order = dbk_slice_compare(left->name, right->name);
    /* One that has a value stands before the same name without. */
    return order != 0 ? order : (left->value == NULL) - (right->value == NULL);
}

static void add_named(struct properties *properties, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        properties->items[properties->count++].name = dbk_slice_of(names[i]);
}

/* Whether services/<name>.yaml wants the property. */
static bool is_wanted(const struct dbk_capture_table *table, struct dbk_slice name)
{
    for (size_t i = 0; i < table->column_count; i++) {
        if (dbk_slice_equal_text(name, table->columns[i]))
            return true;
    }
    return table->column_count == 0;
}

static void list(const struct dbk_nodes *nodes, const struct dbk_json_node *object,
                 struct properties *properties)
{
    const struct dbk_capture_table *table = nodes->table;
    const struct dbk_json_node *member = dbk_json_first(object);
    size_t kept = 0;
    for (uint32_t i = 0; i < object->count; i++, member = dbk_json_sibling(member)) {
        if (is_wanted(table, member->key))
            properties->items[properties->count++] = (struct property){member->key, member};
    }
    add_named(properties, table->columns, table->column_count);
    add_named(properties, table->masked, table->masked_count);
    add_named(properties, table->personal, table->personal_count);
    if (table->subject != NULL)
        add_named(properties, &table->subject, 1);
    qsort(properties->items, properties->count, sizeof(*properties->items), compare);
    for (size_t i = 0; i < properties->count; i++) {
        if (kept == 0 ||
            !dbk_slice_equal(properties->items[kept - 1].name, properties->items[i].name))
            properties->items[kept++] = properties->items[i];
    }
    properties->count = kept;
}

static bool is_same(const struct dbk_change_shape *shape, const struct properties *properties)
{
    for (size_t i = 0; i < properties->count && shape->count == properties->count; i++) {
        if (!dbk_slice_equal(shape->names[i], properties->items[i].name))
            return false;
    }
    return shape->number != 0 && shape->count == properties->count;
}

static int keep_shape(struct dbk_nodes *nodes, const struct properties *properties,
                      struct dbk_error *err)
{
    uint64_t number = nodes->shape.number + 1;
    dbk_arena_reset(&nodes->arena);
    nodes->shape = (struct dbk_change_shape){.number = 0};
    struct dbk_slice *names =
        dbk_arena_alloc_zero(&nodes->arena, properties->count + 1, sizeof(*names));
    for (size_t i = 0; names != NULL && i < properties->count; i++) {
        names[i] = dbk_arena_copy(&nodes->arena, properties->items[i].name);
        if (names[i].data == NULL)
            names = NULL;
    }
    nodes->shape = (struct dbk_change_shape){number, names, names == NULL ? 0 : properties->count};
    return names == NULL ? dbk_nodes_no_memory(nodes, err) : DBK_OK;
}

/* ---- Rows ---- */

static struct dbk_change_value value_of(const struct dbk_json_node *value)
{
    if (value == NULL || value->kind == DBK_JSON_NULL)
        return (struct dbk_change_value){.kind = DBK_CHANGE_NULL};
    if (value->kind == DBK_JSON_STRING)
        return (struct dbk_change_value){DBK_CHANGE_TEXT, value->text};
    return (struct dbk_change_value){DBK_CHANGE_JSON, value->raw};
}

int dbk_nodes_take(struct dbk_nodes *nodes, const struct dbk_json_node *key,
                   const struct dbk_json_node *properties, struct dbk_arena *arena,
                   struct dbk_change *change_out, struct dbk_error *err)
{
    const struct dbk_capture_table *table = nodes->table;
    struct properties all = {.count = 0};
    struct dbk_slice *text = dbk_arena_alloc_zero(arena, 1, sizeof(*text));
    if ((key->kind != DBK_JSON_STRING && key->kind != DBK_JSON_INTEGER) ||
        properties->kind != DBK_JSON_OBJECT)
        return dbk_nodes_fault(nodes, DBK_EINVAL, "has a node whose key is no text and no number",
                               "give all nodes a text, or all a whole number, there", err);
    size_t capacity = (size_t)properties->count + table->column_count + table->masked_count +
                      table->personal_count + 1;
    if (capacity > DBK_NODE_PROPERTIES_MAX)
        return dbk_nodes_fault(nodes, DBK_ELIMIT, "has a node of too many properties",
                               "put them into nodes of their own", err);
    all.items = dbk_arena_alloc_zero(arena, capacity, sizeof(*all.items));
    if (text == NULL || all.items == NULL || !dbk_nodes_key(key, arena, text))
        return dbk_nodes_no_memory(nodes, err);
    list(nodes, properties, &all);
    int rc = is_same(&nodes->shape, &all) ? DBK_OK : keep_shape(nodes, &all, err);
    struct dbk_change_value *values = dbk_arena_alloc_zero(arena, all.count + 1, sizeof(*values));
    if (rc == DBK_OK && values == NULL)
        rc = dbk_nodes_no_memory(nodes, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < all.count; i++)
        values[i] = value_of(all.items[i].value);
    *change_out = (struct dbk_change){.kind = DBK_CHANGE_ROW,
                                      .table = nodes->index,
                                      .key = text,
                                      .key_count = 1,
                                      .shape = &nodes->shape,
                                      .values = values};
    return DBK_OK;
}
