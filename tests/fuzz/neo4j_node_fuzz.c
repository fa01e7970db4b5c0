/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neo4j_node_fuzz -- of any JSON [key, properties] a row is made or an error is named: its names
 * are in order, each once, those that are asked for among them; texts stay texts, and all else is
 * JSON. A second time makes the same shape.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "capture/neo4j/node.h"

static void check_row(const struct dbk_change *change, bool all)
{
    const struct dbk_change_shape *shape = change->shape;
    struct dbk_json *json = dbk_json_create((size_t)1 << 20);
    const struct dbk_json_node *root = NULL;
    bool named = false;
    if (json == NULL || change->kind != DBK_CHANGE_ROW || change->key_count != 1)
        abort();
    for (size_t i = 0; i < shape->count; i++) {
        const struct dbk_change_value *value = &change->values[i];
        if (i > 0 && dbk_slice_compare(shape->names[i - 1], shape->names[i]) >= 0)
            abort();
        if (value->kind == DBK_CHANGE_JSON &&
            dbk_json_parse(json, value->text, &root, NULL) != DBK_OK)
            abort();
        if (value->kind == DBK_CHANGE_UNCHANGED)
            abort();
        named = named || dbk_slice_equal_text(shape->names[i], "name");
    }
    if (!named || (!all && shape->count != 2))
        abort();
    dbk_json_free(json);
}

static void take(const struct dbk_json_node *root, const struct dbk_capture_service *service,
                 size_t index)
{
    struct dbk_nodes nodes;
    struct dbk_arena arena;
    struct dbk_change change = {0};
    struct dbk_error err = {0};
    const struct dbk_json_node *key = dbk_json_first(root);
    dbk_nodes_init(&nodes, service, index);
    dbk_arena_init(&arena, (size_t)64 << 20);
    int rc = dbk_nodes_take(&nodes, key, dbk_json_sibling(key), &arena, &change, &err);
    if (rc < 0 && (err.message[0] == '\0' || rc == DBK_ENOMEM))
        abort();
    if (rc == DBK_OK) {
        uint64_t number = change.shape->number;
        check_row(&change, index == 0);
        if (dbk_nodes_take(&nodes, key, dbk_json_sibling(key), &arena, &change, &err) < 0 ||
            change.shape->number != number)
            abort();
    }
    dbk_arena_release(&arena);
    dbk_nodes_release(&nodes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const masked[] = {"name"};
    static const char *const columns[] = {"name", "a"};
    struct dbk_capture_table tables[] = {
        {.name = "people", .masked = masked, .masked_count = 1},
        {.name = "others", .columns = columns, .column_count = 2},
    };
    const struct dbk_capture_service service = {
        .name = "users", .file = "services/users.yaml", .tables = tables, .table_count = 2};
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create((size_t)1 << 20);
    if (json == NULL)
        abort();
    if (dbk_json_parse(json, dbk_slice(data, size), &root, NULL) == DBK_OK &&
        root->kind == DBK_JSON_ARRAY && root->count == 2) {
        take(root, &service, 0);
        take(root, &service, 1);
    }
    dbk_json_free(json);
    return 0;
}
