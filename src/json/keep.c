/* SPDX-License-Identifier: Apache-2.0 */
/* Values that outlive their parser. */
#include <string.h>

#include "base/assert.h"
#include "json/json.h"

/* What is parsed is a copy of the text from its first byte that is not blank. */
struct keeping {
    const char *parsed;
    size_t size;
    const char *text;
    struct dbk_arena *arena;
};

static bool keep(const struct keeping *keeping, struct dbk_slice *slice)
{
    if (slice->data >= keeping->parsed && slice->data <= keeping->parsed + keeping->size) {
        slice->data = keeping->text + (slice->data - keeping->parsed);
        return true;
    }
    *slice = dbk_arena_copy(keeping->arena, *slice);
    return slice->data != NULL;
}

int dbk_json_keep(const struct dbk_json_node *root, struct dbk_slice text, struct dbk_arena *arena,
                  const struct dbk_json_node **root_out)
{
    size_t blank = 0;
    while (blank < text.size && strchr(" \t\r\n", text.data[blank]) != NULL)
        blank++;
    const struct keeping keeping = {.parsed = root->raw.data,
                                    .size = root->raw.size,
                                    .text = text.data + blank,
                                    .arena = arena};
    dbk_assert(blank + root->raw.size <= text.size);
    struct dbk_json_node *nodes = dbk_arena_alloc(arena, root->next * sizeof(*nodes));
    if (nodes == NULL)
        return DBK_ENOMEM;
    memcpy(nodes, root, root->next * sizeof(*nodes));
    for (uint32_t i = 0; i < root->next; i++) {
        struct dbk_json_node *node = &nodes[i];
        if (!keep(&keeping, &node->raw) || (node->key.data != NULL && !keep(&keeping, &node->key)))
            return DBK_ENOMEM;
        if (node->kind == DBK_JSON_STRING && !keep(&keeping, &node->text))
            return DBK_ENOMEM;
    }
    *root_out = nodes;
    return DBK_OK;
}

size_t dbk_json_offset(const struct dbk_json_node *node, struct dbk_slice text)
{
    return (size_t)(node->raw.data - text.data);
}

size_t dbk_json_key_offset(const struct dbk_json_node *member, struct dbk_slice text)
{
    const char *key = member->key.data;
    if (key != NULL && key > text.data && key <= text.data + text.size)
        return (size_t)(key - text.data) - 1;
    return dbk_json_offset(member, text); /* A key with escapes is known by its value's place. */
}
