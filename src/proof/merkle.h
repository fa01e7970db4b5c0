/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merkle -- the arithmetic of RFC 6962 trees: roots, proofs, and checking proofs.
 *
 * A tree over `size` leaves, numbered from 0. A perfect subtree of height h and index i covers the
 * leaves from i * 2^h to (i + 1) * 2^h; every hash that a proof needs is made of a few of those, so
 * whoever keeps them says where they come from (dbk_merkle_node_fn). A leaf is a subtree of height
 * 0.
 *
 * Threads: pure functions.
 * Source:  RFC 6962, section 2.1; checking as in RFC 9162, sections 2.1.3.2 and 2.1.4.2.
 */
#ifndef DBK_PROOF_MERKLE_H
#define DBK_PROOF_MERKLE_H

#include "base/error.h"
#include "base/hash.h"

struct dbk_hash {
    uint8_t bytes[DBK_SHA256_SIZE];
};

static inline bool dbk_hash_equal(const struct dbk_hash *a, const struct dbk_hash *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* No proof has more hashes. */
#define DBK_MERKLE_PATH_MAX 65
struct dbk_merkle_path {
    struct dbk_hash hashes[DBK_MERKLE_PATH_MAX];
    size_t count;
};

/* The hash over two subtrees. */
void dbk_merkle_join(const struct dbk_hash *left, const struct dbk_hash *right,
                     struct dbk_hash *hash_out);
/* The root of a perfect subtree over `count` hashes, a power of two up to 256. */
void dbk_merkle_fold(const struct dbk_hash *hashes, size_t count, struct dbk_hash *root_out);

/* The hash of a perfect subtree, or a negative code. */
typedef int (*dbk_merkle_node_fn)(void *context, unsigned height, uint64_t index,
                                  struct dbk_hash *hash_out, struct dbk_error *err);
struct dbk_merkle_source {
    dbk_merkle_node_fn node;
    void *context;
};

/* The root of the first `size` leaves; of none it is the SHA-256 of nothing. */
int dbk_merkle_root(const struct dbk_merkle_source *source, uint64_t size,
                    struct dbk_hash *root_out, struct dbk_error *err) DBK_MUST_CHECK;
/* That the leaf at an index below `size` is in the tree of that size. */
int dbk_merkle_inclusion(const struct dbk_merkle_source *source, uint64_t index, uint64_t size,
                         struct dbk_merkle_path *path_out, struct dbk_error *err) DBK_MUST_CHECK;
/* That the tree of size `from`, at least 1, is how the tree of size `to` began. */
int dbk_merkle_consistency(const struct dbk_merkle_source *source, uint64_t from, uint64_t to,
                           struct dbk_merkle_path *path_out, struct dbk_error *err) DBK_MUST_CHECK;

bool dbk_merkle_check_inclusion(const struct dbk_hash *leaf, uint64_t index, uint64_t size,
                                const struct dbk_merkle_path *path, const struct dbk_hash *root);
bool dbk_merkle_check_consistency(uint64_t from, const struct dbk_hash *from_root, uint64_t to,
                                  const struct dbk_hash *to_root,
                                  const struct dbk_merkle_path *path);

#endif
