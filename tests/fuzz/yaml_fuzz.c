/* SPDX-License-Identifier: Apache-2.0 */
/*
 * yaml_fuzz -- any bytes become a tree whose nodes have places in the text, or faults that say
 * where and what.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "book/yaml.h"

#define ARENA_SIZE_MAX ((size_t)16 << 20)

static void check_node(const struct dbk_yaml_node *node, unsigned depth, size_t *count)
{
    if (depth > DBK_YAML_DEPTH_MAX + 1 || ++*count > 2 * DBK_YAML_NODES_MAX)
        abort();
    if (node->line == 0 || node->column == 0)
        abort();
    if (node->kind == DBK_YAML_SCALAR &&
        (!dbk_slice_is_utf8(node->text) || node->text.data[node->text.size] != '\0'))
        abort();
    for (const struct dbk_yaml_node *child = node->first; child != NULL; child = child->next) {
        if ((node->kind == DBK_YAML_MAPPING) != (child->key != NULL))
            abort();
        if (child->key != NULL)
            check_node(child->key, depth + 1, count);
        check_node(child, depth + 1, count);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_arena arena;
    struct dbk_diagnostics faults;
    const struct dbk_yaml_node *root = NULL;
    size_t count = 0;
    dbk_arena_init(&arena, ARENA_SIZE_MAX);
    dbk_diagnostics_init(&faults);
    int rc = dbk_yaml_parse("book.yaml", dbk_slice(data, size), &arena, &faults, &root);
    if (rc == DBK_OK && root != NULL)
        check_node(root, 0, &count);
    for (size_t i = 0; i < faults.count; i++) {
        if (faults.items[i].what[0] == '\0')
            abort();
    }
    dbk_diagnostics_release(&faults);
    dbk_arena_release(&arena);
    return 0;
}
