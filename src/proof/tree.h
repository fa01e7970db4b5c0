/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree -- the Merkle tree as tiles: rows of 256 hashes, the full ones in files.
 *
 *     level 2                       [ 0 ]                 hashes of 65,536 leaves each
 *     level 1          [ 0 .. 255 ]       [ 256 .. ]      hashes of 256 leaves each
 *     level 0     [0..255] [256..511] … [       ]         leaves
 *                  full tiles: files     the edge: memory
 *
 * A full tile of level n is one hash of level n + 1. The file `tiles-n` holds the full tiles of a
 * level back to back, 8,192 bytes each, so a tile's place is its number, and a file needs no more
 * than its bytes: everything in it can be made again from the log, and is right when the root that
 * comes out is the one that was signed. The edge, the tile of each level that is not full, is made
 * from the tiles below and the last leaves.
 *
 * Threads: one at a time.
 * Source:  docs/format/proof.md; the shape is C2SP tlog-tiles'.
 */
#ifndef DBK_PROOF_TREE_H
#define DBK_PROOF_TREE_H

#include "base/memory.h"
#include "os/os.h"
#include "proof/merkle.h"

#define DBK_TILE_COUNT 256
#define DBK_TILE_SIZE (DBK_TILE_COUNT * DBK_SHA256_SIZE)
#define DBK_TREE_LEVELS 8

struct dbk_tree_level {
    struct dbk_hash edge[DBK_TILE_COUNT];
    unsigned count; /* of them */
    bool unsynced;  /* tiles were written since the last sync */
    uint64_t tiles; /* full ones, in the file */
    struct dbk_file file;
    struct dbk_hash *read; /* the tile that was last read; NULL: none was */
    uint64_t read_index;
};

struct dbk_tree {
    struct dbk_os *os;
    const char *folder; /* kept */
    const char *suffix; /* of its files; kept */
    bool writer;
    bool unnamed; /* a file was made since the last sync */
    uint64_t size;
    struct dbk_tree_level levels[DBK_TREE_LEVELS];
};

/* An empty tree. The folder must exist when a writer's first tile is full. */
void dbk_tree_init(struct dbk_tree *tree, struct dbk_os *os, const char *folder, const char *suffix,
                   bool writer);
/* Closes its files and forgets everything but what init was told. */
void dbk_tree_release(struct dbk_tree *tree);

/*
 * Makes an empty tree one of a size from the tiles in the files and the leaves behind the last full
 * tile: `count` of them, size % 256. Whether it is the right one only its root can tell.
 *
 * DBK_ECORRUPT  tiles are missing; the message names the file
 */
int dbk_tree_load(struct dbk_tree *tree, uint64_t size, const struct dbk_hash *leaves,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* Adds a leaf; a writer writes tiles that get full. On failure nothing is added. */
int dbk_tree_add(struct dbk_tree *tree, const struct dbk_hash *leaf,
                 struct dbk_error *err) DBK_MUST_CHECK;
/* Makes the tiles of all leaves so far durable. After a failure the tree must be loaded again. */
int dbk_tree_sync(struct dbk_tree *tree, struct dbk_error *err) DBK_MUST_CHECK;

/* Hashes of the tree, for roots and proofs of sizes up to its own. DBK_ECORRUPT: as load. */
struct dbk_merkle_source dbk_tree_source(struct dbk_tree *tree);

/* A full tile of a level, valid until the next call. DBK_ENOTFOUND: the file ends before it. */
int dbk_tree_tile(struct dbk_tree *tree, unsigned level, uint64_t index,
                  const struct dbk_hash **hashes_out, struct dbk_error *err) DBK_MUST_CHECK;
/* The name of a level's file, in a buffer. */
#define DBK_TREE_NAME_SIZE 24
void dbk_tree_name(unsigned level, const char *suffix, char name_out[DBK_TREE_NAME_SIZE]);

#endif
