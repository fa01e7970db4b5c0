/* SPDX-License-Identifier: Apache-2.0 */
/* JSON values compared as JSON Schema compares them. */
#include "schema/rule.h"

bool dbk_json_number(const struct dbk_json_node *node, struct dbk_decimal *value_out)
{
    if (node->kind == DBK_JSON_INTEGER)
        *value_out = dbk_decimal_of(node->integer);
    else if (node->kind == DBK_JSON_DECIMAL)
        *value_out = node->decimal;
    else
        return false;
    return true;
}

static bool equal_containers(const struct dbk_json_node *a, const struct dbk_json_node *b)
{
    const struct dbk_json_node *left = dbk_json_first(a);
    const struct dbk_json_node *right = dbk_json_first(b);
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->kind == DBK_JSON_OBJECT) {
            right = dbk_json_member_slice(b, left->key);
            if (right == NULL)
                return false;
        }
        if (!dbk_json_equal(left, right))
            return false;
        left = dbk_json_sibling(left);
        right = dbk_json_sibling(right);
    }
    return true;
}

bool dbk_json_equal(const struct dbk_json_node *a, const struct dbk_json_node *b)
{
    struct dbk_decimal left;
    struct dbk_decimal right;
    if (dbk_json_number(a, &left) && dbk_json_number(b, &right))
        return dbk_decimal_compare(left, right) == 0;
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case DBK_JSON_STRING:
        return dbk_slice_equal(a->text, b->text);
    case DBK_JSON_ARRAY:
    case DBK_JSON_OBJECT:
        return equal_containers(a, b);
    case DBK_JSON_NULL:
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
    case DBK_JSON_INTEGER:
    case DBK_JSON_DECIMAL:
        break;
    }
    return true;
}

/* FNV-1a, mixed once more: spreads, and no more is asked of it. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return (hash ^ (hash >> 29)) * UINT64_C(0x9e3779b97f4a7c15);
}

uint64_t dbk_json_hash(const struct dbk_json_node *node)
{
    struct dbk_decimal number;
    uint64_t hash = UINT64_C(0xcbf29ce484222325) + (uint64_t)node->kind;
    if (dbk_json_number(node, &number)) {
        hash = mix(UINT64_C(0xcbf29ce484222325), &number.coefficient, sizeof(number.coefficient));
        return mix(hash, &number.exponent, sizeof(number.exponent));
    }
    if (node->kind == DBK_JSON_STRING)
        return mix(hash, node->text.data, node->text.size);
    if (node->kind != DBK_JSON_ARRAY && node->kind != DBK_JSON_OBJECT)
        return mix(hash, "", 1);
    const struct dbk_json_node *child = dbk_json_first(node);
    uint64_t members = 0;
    for (uint32_t i = 0; i < node->count; i++) {
        uint64_t inner = dbk_json_hash(child);
        if (node->kind == DBK_JSON_OBJECT) /* In any order. */
            members += mix(inner, child->key.data, child->key.size);
        else
            members = mix(members ^ inner, &inner, sizeof(inner));
        child = dbk_json_sibling(child);
    }
    return mix(hash, &members, sizeof(members));
}
