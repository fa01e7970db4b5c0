/* SPDX-License-Identifier: Apache-2.0 */
/*
 * yaml_fuzz -- any bytes are a tree whose nodes lie within the text, or a fault; never a crash.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "book/yaml.h"

/* Counts a tree's nodes; aborts at one that stands nowhere. */
static size_t walk(const struct dbk_yaml_node *node, size_t depth)
{
    size_t count = 1;
    if (node->line == 0 || node->column == 0 || depth > DBK_YAML_DEPTH_MAX + 1)
        abort();
    if (node->kind == DBK_YAML_SCALAR && node->text.data[node->text.size] != '\0')
        abort();
    for (const struct dbk_yaml_node *child = node->first; child != NULL; child = child->next) {
        if (node->kind == DBK_YAML_MAPPING &&
            dbk_yaml_find(node, child->key->text.data) != child) /* A key twice. */
            abort();
        count += walk(child, depth + 1);
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_arena arena;
    struct dbk_diagnostics faults;
    const struct dbk_yaml_node *root = NULL;
    dbk_arena_init(&arena, 64 << 20);
    dbk_diagnostics_init(&faults);
    if (dbk_yaml_parse("f", dbk_slice(data, size), &arena, &faults, &root) != DBK_OK)
        abort();
    if (root != NULL && walk(root, 1) > DBK_YAML_NODES_MAX)
        abort();
    dbk_diagnostics_release(&faults);
    dbk_arena_release(&arena);
    return 0;
}
