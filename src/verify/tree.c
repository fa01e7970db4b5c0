/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "verify/verify.h"

static struct dbk_hash join(const struct dbk_hash *left, const struct dbk_hash *right)
{
    uint8_t node[1 + 2 * DBK_HASH_SIZE] = {1};
    memcpy(node + 1, left, DBK_HASH_SIZE);
    memcpy(node + 1 + DBK_HASH_SIZE, right, DBK_HASH_SIZE);
    return dbk_sha256((struct dbk_bytes){node, sizeof(node)});
}

/* The root over a power of two of hashes, at most a tile. */
static struct dbk_hash fold(const struct dbk_hash *hashes, unsigned count)
{
    struct dbk_hash row[DBK_TILE];
    memcpy(row, hashes, count * sizeof(*row));
    for (; count > 1; count /= 2)
        for (unsigned i = 0; i < count / 2; i++)
            row[i] = join(&row[2 * i], &row[2 * i + 1]);
    return row[0];
}

void dbk_tree_add(struct dbk_tree *tree, struct dbk_hash leaf)
{
    tree->size++;
    for (unsigned level = 0;; level++) {
        struct dbk_hash *edge = tree->levels[level].edge;
        edge[tree->levels[level].count++] = leaf;
        if (tree->levels[level].count < DBK_TILE || level == 7)
            return;
        if (tree->tile != NULL)
            tree->tile(tree->context, level, tree->levels[level].tiles, edge);
        tree->levels[level].tiles++;
        tree->levels[level].count = 0;
        leaf = fold(edge, DBK_TILE);
    }
}

struct dbk_hash dbk_tree_root(const struct dbk_tree *tree)
{
    struct dbk_hash root = dbk_sha256((struct dbk_bytes){0});
    bool begun = false;
    for (unsigned level = 0; level < 8; level++) {
        unsigned end = tree->levels[level].count;
        for (unsigned size = 1; size < DBK_TILE; size *= 2) {
            if ((tree->levels[level].count & size) == 0)
                continue;
            end -= size;
            struct dbk_hash part = fold(&tree->levels[level].edge[end], size);
            root = begun ? join(&part, &root) : part;
            begun = true;
        }
    }
    return root;
}

bool dbk_tree_walk(struct dbk_hash leaf, uint64_t index, uint64_t size, const struct dbk_hash *path,
                   size_t count, struct dbk_hash *root_out)
{
    uint64_t last = size - 1;
    if (index >= size)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (last == 0)
            return false;
        if ((index & 1) != 0 || index == last) {
            leaf = join(&path[i], &leaf);
            for (; (index & 1) == 0 && index != 0; index /= 2)
                last /= 2;
        } else {
            leaf = join(&leaf, &path[i]);
        }
        index /= 2;
        last /= 2;
    }
    *root_out = leaf;
    return last == 0;
}
