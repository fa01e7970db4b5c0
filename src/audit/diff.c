/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/diff.h"

#include <stdlib.h>

#define MEMORY_MAX ((size_t)1 << 30)

struct diff {
    struct dbk_arena arena;
    struct dbk_buf path;
    struct dbk_buf *out;
    size_t begin; /* of the changes in it */
    const struct dbk_diff_limits *limits;
    uint64_t count;
    uint64_t left_out;
    size_t cells; /* that may still be filled */
};

/* Elements of an array, and what each is worth. */
struct list {
    const struct dbk_json_node **nodes;
    uint64_t *hashes;
    size_t count;
};

static int compare(struct diff *diff, const struct dbk_json_node *before,
                   const struct dbk_json_node *after);

/* ---- Changes ---- */

/* before or after may be NULL: there was, or is, nothing. */
static int change(struct diff *diff, const struct dbk_json_node *before,
                  const struct dbk_json_node *after)
{
    struct dbk_buf *out = diff->out;
    size_t mark = out->size;
    size_t size = (before == NULL ? 0 : before->raw.size) + (after == NULL ? 0 : after->raw.size);
    if (diff->count == diff->limits->changes || size > diff->limits->size) {
        diff->left_out++;
        return DBK_OK;
    }
    dbk_buf_append_text(out, diff->count > 0 ? ",{\"op\":" : "{\"op\":");
    dbk_buf_append_text(out, before == NULL  ? "\"add\""
                             : after == NULL ? "\"remove\""
                                             : "\"replace\"");
    dbk_buf_append_text(out, ",\"path\":");
    dbk_json_write_string(out, dbk_buf_slice(&diff->path));
    if (before != NULL) {
        dbk_buf_append_text(out, ",\"old\":");
        dbk_json_write_node(out, before);
    }
    if (after != NULL) {
        dbk_buf_append_text(out, ",\"value\":");
        dbk_json_write_node(out, after);
    }
    dbk_buf_append_char(out, '}');
    if (out->rc < 0)
        return out->rc;
    if (out->size - diff->begin > diff->limits->size) {
        out->size = mark;
        diff->left_out++;
        return DBK_OK;
    }
    diff->count++;
    return DBK_OK;
}

/* The same one step further down; the path is then as before. */
static int at_key(struct diff *diff, struct dbk_slice key, const struct dbk_json_node *before,
                  const struct dbk_json_node *after)
{
    size_t mark = diff->path.size;
    dbk_buf_append_char(&diff->path, '/');
    for (size_t i = 0; i < key.size; i++) {
        if (key.data[i] == '~' || key.data[i] == '/')
            dbk_buf_append_text(&diff->path, key.data[i] == '~' ? "~0" : "~1");
        else
            dbk_buf_append_char(&diff->path, key.data[i]);
    }
    if (diff->path.rc < 0)
        return diff->path.rc;
    int rc = before != NULL && after != NULL ? compare(diff, before, after)
                                             : change(diff, before, after);
    diff->path.size = mark;
    return rc;
}

static int at_index(struct diff *diff, size_t index, const struct dbk_json_node *before,
                    const struct dbk_json_node *after)
{
    size_t mark = diff->path.size;
    dbk_buf_append_format(&diff->path, "/%zu", index);
    if (diff->path.rc < 0)
        return diff->path.rc;
    int rc = before != NULL && after != NULL ? compare(diff, before, after)
                                             : change(diff, before, after);
    diff->path.size = mark;
    return rc;
}

/* ---- Objects ---- */

static int compare_keys(const void *a, const void *b)
{
    const struct dbk_json_node *const *left = a;
    const struct dbk_json_node *const *right = b;
    return dbk_slice_compare((*left)->key, (*right)->key);
}

static const struct dbk_json_node **children_of(struct diff *diff, const struct dbk_json_node *node)
{
    const struct dbk_json_node **children =
        dbk_arena_alloc(&diff->arena, (node->count + 1) * sizeof(struct dbk_json_node *));
    const struct dbk_json_node *child = dbk_json_first(node);
    for (uint32_t i = 0; children != NULL && i < node->count; i++, child = dbk_json_sibling(child))
        children[i] = child;
    return children;
}

static int compare_objects(struct diff *diff, const struct dbk_json_node *before,
                           const struct dbk_json_node *after)
{
    const struct dbk_json_node **left = children_of(diff, before);
    const struct dbk_json_node **right = children_of(diff, after);
    int rc = left == NULL || right == NULL ? DBK_ENOMEM : DBK_OK;
    if (rc < 0)
        return rc;
    qsort((void *)left, before->count, sizeof(*left), compare_keys);
    qsort((void *)right, after->count, sizeof(*right), compare_keys);
    for (uint32_t i = 0, j = 0; rc == DBK_OK && (i < before->count || j < after->count);) {
        int order = i == before->count  ? 1
                    : j == after->count ? -1
                                        : dbk_slice_compare(left[i]->key, right[j]->key);
        struct dbk_slice key = order <= 0 ? left[i]->key : right[j]->key;
        rc = at_key(diff, key, order <= 0 ? left[i] : NULL, order >= 0 ? right[j] : NULL);
        i += order <= 0;
        j += order >= 0;
    }
    return rc;
}

/* ---- Arrays ---- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

static uint64_t hash_text(uint64_t hash, struct dbk_slice text)
{
    for (size_t i = 0; i < text.size; i++)
        hash = mix(hash, (unsigned char)text.data[i]);
    return mix(hash, text.size);
}

/* The same for equal values; what is the same for others too costs a worse result, no wrong one. */
static uint64_t hash_of(const struct dbk_json_node *node)
{
    struct dbk_decimal number;
    uint64_t hash = 0;
    const struct dbk_json_node *child = NULL;
    switch (node->kind) {
    case DBK_JSON_INTEGER:
    case DBK_JSON_DECIMAL:
        number = node->kind == DBK_JSON_INTEGER ? dbk_decimal_of(node->integer) : node->decimal;
        return mix(mix(DBK_JSON_DECIMAL, (uint64_t)number.coefficient), (uint64_t)number.exponent);
    case DBK_JSON_STRING:
        return hash_text(DBK_JSON_STRING, node->text);
    case DBK_JSON_ARRAY:
        hash = mix(DBK_JSON_ARRAY, node->count);
        child = dbk_json_first(node);
        for (uint32_t i = 0; i < node->count; i++, child = dbk_json_sibling(child))
            hash = mix(hash, hash_of(child));
        return hash;
    case DBK_JSON_OBJECT:
        /* Members in any order. */
        child = dbk_json_first(node);
        for (uint32_t i = 0; i < node->count; i++, child = dbk_json_sibling(child))
            hash += mix(hash_text(DBK_JSON_OBJECT, child->key), hash_of(child));
        return mix(hash, node->count);
    case DBK_JSON_NULL:
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
        break;
    }
    return mix(1, (uint64_t)node->kind);
}

static int read_list(struct diff *diff, const struct dbk_json_node *array, struct list *list_out)
{
    list_out->nodes = children_of(diff, array);
    list_out->hashes = dbk_arena_alloc(&diff->arena, (array->count + 1) * sizeof(uint64_t));
    list_out->count = array->count;
    if (list_out->nodes == NULL || list_out->hashes == NULL)
        return DBK_ENOMEM;
    for (uint32_t i = 0; i < array->count; i++)
        list_out->hashes[i] = hash_of(list_out->nodes[i]);
    return DBK_OK;
}

/* Part of two lists between elements that stay: i to i_end becomes j to j_end. */
static int replace(struct diff *diff, const struct list *before, const struct list *after, size_t i,
                   size_t i_end, size_t j, size_t j_end)
{
    int rc = DBK_OK;
    for (; rc == DBK_OK && i < i_end && j < j_end; i++, j++)
        rc = at_index(diff, j, before->nodes[i], after->nodes[j]);
    for (; rc == DBK_OK && i < i_end; i++)
        rc = at_index(diff, j, before->nodes[i], NULL);
    for (; rc == DBK_OK && j < j_end; j++)
        rc = at_index(diff, j, NULL, after->nodes[j]);
    return rc;
}

/* lengths[i][j]: of the longest common run of what begins at i and at j. */
static uint16_t *measure(const struct list *before, const struct list *after, size_t first,
                         size_t rows, size_t columns)
{
    size_t width = columns + 1;
    uint16_t *lengths = dbk_alloc_zero((rows + 1) * width, sizeof(*lengths));
    for (size_t i = rows; lengths != NULL && i-- > 0;) {
        for (size_t j = columns; j-- > 0;) {
            uint16_t *cell = &lengths[i * width + j];
            if (before->hashes[first + i] == after->hashes[first + j])
                *cell = (uint16_t)(cell[width + 1] + 1);
            else
                *cell = cell[1] > cell[width] ? cell[1] : cell[width];
        }
    }
    return lengths;
}

/* The parts of two lists that are left when their equal ends have been taken off. */
static int compare_middles(struct diff *diff, const struct list *before, const struct list *after,
                           size_t first, size_t rows, size_t columns)
{
    size_t i = 0;
    size_t j = 0;
    size_t i_begin = 0; /* of a part that does not stay */
    size_t j_begin = 0;
    int rc = DBK_OK;
    uint16_t *lengths = NULL;
    if (rows > 0 && columns > 0 && rows <= diff->cells / columns) {
        diff->cells -= rows * columns;
        lengths = measure(before, after, first, rows, columns);
        if (lengths == NULL)
            return DBK_ENOMEM;
    }
    while (rc == DBK_OK && lengths != NULL && i < rows && j < columns) {
        const uint16_t *cell = &lengths[i * (columns + 1) + j];
        if (before->hashes[first + i] != after->hashes[first + j]) {
            if (cell[0] == cell[columns + 1])
                i++;
            else
                j++;
            continue;
        }
        rc = replace(diff, before, after, first + i_begin, first + i, first + j_begin, first + j);
        if (rc == DBK_OK)
            rc = at_index(diff, first + j, before->nodes[first + i], after->nodes[first + j]);
        i_begin = ++i;
        j_begin = ++j;
    }
    dbk_free(lengths);
    return rc < 0 ? rc
                  : replace(diff, before, after, first + i_begin, first + rows, first + j_begin,
                            first + columns);
}

static int compare_arrays(struct diff *diff, const struct dbk_json_node *before_node,
                          const struct dbk_json_node *after_node)
{
    struct list before;
    struct list after;
    size_t first = 0;
    size_t ends = 0;
    int rc = read_list(diff, before_node, &before);
    if (rc == DBK_OK)
        rc = read_list(diff, after_node, &after);
    if (rc < 0)
        return rc;
    size_t shorter = before.count < after.count ? before.count : after.count;
    while (first < shorter && before.hashes[first] == after.hashes[first])
        first++;
    while (ends < shorter - first &&
           before.hashes[before.count - 1 - ends] == after.hashes[after.count - 1 - ends])
        ends++;
    /* Equal hashes are no proof: all that stays is compared too. */
    for (size_t i = 0; rc == DBK_OK && i < first; i++)
        rc = at_index(diff, i, before.nodes[i], after.nodes[i]);
    if (rc == DBK_OK)
        rc = compare_middles(diff, &before, &after, first, before.count - first - ends,
                             after.count - first - ends);
    for (size_t i = ends; rc == DBK_OK && i > 0; i--)
        rc = at_index(diff, after.count - i, before.nodes[before.count - i],
                      after.nodes[after.count - i]);
    return rc;
}

/* ---- Values ---- */

static bool is_number(const struct dbk_json_node *node)
{
    return node->kind == DBK_JSON_INTEGER || node->kind == DBK_JSON_DECIMAL;
}

static bool same_number(const struct dbk_json_node *before, const struct dbk_json_node *after)
{
    if (before->kind == DBK_JSON_INTEGER && after->kind == DBK_JSON_INTEGER)
        return before->integer == after->integer;
    return dbk_decimal_compare(before->kind == DBK_JSON_INTEGER ? dbk_decimal_of(before->integer)
                                                                : before->decimal,
                               after->kind == DBK_JSON_INTEGER ? dbk_decimal_of(after->integer)
                                                               : after->decimal) == 0;
}

static int compare(struct diff *diff, const struct dbk_json_node *before,
                   const struct dbk_json_node *after)
{
    if (dbk_slice_equal(before->raw, after->raw))
        return DBK_OK;
    if (is_number(before) && is_number(after))
        return same_number(before, after) ? DBK_OK : change(diff, before, after);
    if (before->kind != after->kind)
        return change(diff, before, after);
    if (before->kind == DBK_JSON_OBJECT)
        return compare_objects(diff, before, after);
    if (before->kind == DBK_JSON_ARRAY)
        return compare_arrays(diff, before, after);
    if (before->kind == DBK_JSON_STRING && !dbk_slice_equal(before->text, after->text))
        return change(diff, before, after);
    return DBK_OK;
}

int dbk_diff_write(const struct dbk_json_node *before, const struct dbk_json_node *after,
                   const struct dbk_diff_limits *limits, struct dbk_buf *out,
                   uint64_t *left_out_out, struct dbk_error *err)
{
    struct diff diff = {.out = out, .limits = limits, .cells = DBK_DIFF_CELLS};
    dbk_arena_init(&diff.arena, MEMORY_MAX);
    dbk_buf_init(&diff.path, MEMORY_MAX);
    dbk_buf_append_char(out, '[');
    diff.begin = out->size;
    int rc = compare(&diff, before, after);
    dbk_buf_append_char(out, ']');
    if (rc == DBK_OK)
        rc = out->rc;
    dbk_arena_release(&diff.arena);
    dbk_buf_release(&diff.path);
    *left_out_out = diff.left_out;
    return rc < 0 ? dbk_error_set(err, rc, "comparing two states: %s", dbk_code_text(rc)) : DBK_OK;
}
