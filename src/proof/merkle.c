/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/merkle.h"

#include "base/assert.h"

#define FOLD_MAX 256
#define NODE_PREFIX 1

void dbk_merkle_join(const struct dbk_hash *left, const struct dbk_hash *right,
                     struct dbk_hash *hash_out)
{
    uint8_t bytes[1 + 2 * DBK_SHA256_SIZE];
    bytes[0] = NODE_PREFIX;
    memcpy(bytes + 1, left->bytes, DBK_SHA256_SIZE);
    memcpy(bytes + 1 + DBK_SHA256_SIZE, right->bytes, DBK_SHA256_SIZE);
    dbk_sha256_of(dbk_slice(bytes, sizeof(bytes)), hash_out->bytes);
}

void dbk_merkle_fold(const struct dbk_hash *hashes, size_t count, struct dbk_hash *root_out)
{
    struct dbk_hash row[FOLD_MAX / 2];
    dbk_assert(count > 0 && count <= FOLD_MAX && (count & (count - 1)) == 0);
    if (count == 1) {
        *root_out = hashes[0];
        return;
    }
    for (size_t i = 0; i < count / 2; i++)
        dbk_merkle_join(&hashes[2 * i], &hashes[2 * i + 1], &row[i]);
    for (count /= 2; count > 1; count /= 2)
        for (size_t i = 0; i < count / 2; i++)
            dbk_merkle_join(&row[2 * i], &row[2 * i + 1], &row[i]);
    *root_out = row[0];
}

/* The largest power of two below a size of at least 2, as an exponent. */
static unsigned split_of(uint64_t size)
{
    return 63 - (unsigned)__builtin_clzll(size - 1);
}

/* The hash over `size` leaves from a begin that a perfect subtree as large may begin at: perfect
   subtrees, the larger ones first, are joined from the right. */
static int hash_range(const struct dbk_merkle_source *source, uint64_t begin, uint64_t size,
                      struct dbk_hash *hash_out, struct dbk_error *err)
{
    uint64_t end = begin + size;
    bool first = true;
    for (uint64_t left = size; left > 0; left &= left - 1) {
        unsigned height = (unsigned)__builtin_ctzll(left);
        struct dbk_hash hash;
        end -= UINT64_C(1) << height;
        int rc = source->node(source->context, height, end >> height, &hash, err);
        if (rc < 0)
            return rc;
        if (first)
            *hash_out = hash;
        else
            dbk_merkle_join(&hash, hash_out, hash_out);
        first = false;
    }
    return DBK_OK;
}

int dbk_merkle_root(const struct dbk_merkle_source *source, uint64_t size,
                    struct dbk_hash *root_out, struct dbk_error *err)
{
    struct dbk_hash root;
    dbk_sha256_of((struct dbk_slice){0}, root.bytes);
    int rc = hash_range(source, 0, size, &root, err);
    if (rc == DBK_OK)
        *root_out = root;
    return rc;
}

static int add_range(const struct dbk_merkle_source *source, uint64_t begin, uint64_t size,
                     struct dbk_merkle_path *path, struct dbk_error *err)
{
    dbk_assert(path->count < DBK_MERKLE_PATH_MAX);
    return hash_range(source, begin, size, &path->hashes[path->count++], err);
}

/* Collected from the root down, but written from the leaf up. */
static void reverse(struct dbk_merkle_path *path)
{
    for (size_t i = 0; i < path->count / 2; i++) {
        struct dbk_hash hash = path->hashes[i];
        path->hashes[i] = path->hashes[path->count - 1 - i];
        path->hashes[path->count - 1 - i] = hash;
    }
}

int dbk_merkle_inclusion(const struct dbk_merkle_source *source, uint64_t index, uint64_t size,
                         struct dbk_merkle_path *path_out, struct dbk_error *err)
{
    uint64_t begin = 0;
    int rc = DBK_OK;
    dbk_assert(index < size);
    path_out->count = 0;
    while (rc == DBK_OK && size > 1) {
        uint64_t half = UINT64_C(1) << split_of(size);
        if (index - begin < half) {
            rc = add_range(source, begin + half, size - half, path_out, err);
            size = half;
        } else {
            rc = add_range(source, begin, half, path_out, err);
            begin += half;
            size -= half;
        }
    }
    reverse(path_out);
    return rc;
}

int dbk_merkle_consistency(const struct dbk_merkle_source *source, uint64_t from, uint64_t to,
                           struct dbk_merkle_path *path_out, struct dbk_error *err)
{
    uint64_t begin = 0;
    bool whole = true; /* the subtree at hand is the tree of size `from`, whose root is known */
    int rc = DBK_OK;
    dbk_assert(from > 0 && from <= to);
    path_out->count = 0;
    while (rc == DBK_OK && from < to) {
        uint64_t half = UINT64_C(1) << split_of(to);
        if (from <= half) {
            rc = add_range(source, begin + half, to - half, path_out, err);
            to = half;
        } else {
            rc = add_range(source, begin, half, path_out, err);
            begin += half;
            from -= half;
            to -= half;
            whole = false;
        }
    }
    if (rc == DBK_OK && !whole)
        rc = add_range(source, begin, to, path_out, err);
    reverse(path_out);
    return rc;
}

bool dbk_merkle_check_inclusion(const struct dbk_hash *leaf, uint64_t index, uint64_t size,
                                const struct dbk_merkle_path *path, const struct dbk_hash *root)
{
    struct dbk_hash hash = *leaf;
    if (index >= size || path->count > DBK_MERKLE_PATH_MAX)
        return false;
    uint64_t last = size - 1;
    for (size_t i = 0; i < path->count; i++) {
        if (last == 0)
            return false;
        if ((index & 1) != 0 || index == last) {
            dbk_merkle_join(&path->hashes[i], &hash, &hash);
            while ((index & 1) == 0 && index != 0) {
                index >>= 1;
                last >>= 1;
            }
        } else {
            dbk_merkle_join(&hash, &path->hashes[i], &hash);
        }
        index >>= 1;
        last >>= 1;
    }
    return last == 0 && dbk_hash_equal(&hash, root);
}

/* The walk of both roots at once, `from` and `to` already without their common end. */
static bool check_walk(uint64_t from, uint64_t to, const struct dbk_hash *begin,
                       const struct dbk_hash *hashes, size_t count,
                       const struct dbk_hash *from_root, const struct dbk_hash *to_root)
{
    struct dbk_hash old = *begin;
    struct dbk_hash new = *begin;
    for (size_t i = 0; i < count; i++) {
        if (to == 0)
            return false;
        if ((from & 1) != 0 || from == to) {
            dbk_merkle_join(&hashes[i], &old, &old);
            dbk_merkle_join(&hashes[i], &new, &new);
            while ((from & 1) == 0 && from != 0) {
                from >>= 1;
                to >>= 1;
            }
        } else {
            dbk_merkle_join(&new, &hashes[i], &new);
        }
        from >>= 1;
        to >>= 1;
    }
    return to == 0 && dbk_hash_equal(&old, from_root) && dbk_hash_equal(&new, to_root);
}

bool dbk_merkle_check_consistency(uint64_t from, const struct dbk_hash *from_root, uint64_t to,
                                  const struct dbk_hash *to_root,
                                  const struct dbk_merkle_path *path)
{
    if (from == 0 || from > to || path->count > DBK_MERKLE_PATH_MAX)
        return false;
    if (from == to)
        return path->count == 0 && dbk_hash_equal(from_root, to_root);
    if (path->count == 0)
        return false;
    uint64_t common = (uint64_t)__builtin_ctzll(from);
    /* A tree of a power of two is a subtree of the other: its root begins the walk. */
    bool perfect = (from & (from - 1)) == 0;
    return check_walk((from - 1) >> common, (to - 1) >> common,
                      perfect ? from_root : &path->hashes[0], path->hashes + !perfect,
                      path->count - !perfect, from_root, to_root);
}
