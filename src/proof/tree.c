/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/tree.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

#define TILE_BITS 8

void dbk_tree_name(unsigned level, const char *suffix, char name_out[DBK_TREE_NAME_SIZE])
{
    int size = snprintf(name_out, DBK_TREE_NAME_SIZE, "tiles-%u%s", level, suffix);
    dbk_assert(size > 0 && size < DBK_TREE_NAME_SIZE);
}

void dbk_tree_init(struct dbk_tree *tree, struct dbk_os *os, const char *folder, const char *suffix,
                   bool writer)
{
    memset(tree, 0, sizeof(*tree));
    tree->os = os;
    tree->folder = folder;
    tree->suffix = suffix;
    tree->writer = writer;
    for (unsigned i = 0; i < DBK_TREE_LEVELS; i++)
        tree->levels[i].file = DBK_FILE_CLOSED;
}

void dbk_tree_release(struct dbk_tree *tree)
{
    if (tree->os == NULL)
        return;
    for (unsigned i = 0; i < DBK_TREE_LEVELS; i++) {
        tree->os->close(tree->os, &tree->levels[i].file);
        dbk_free(tree->levels[i].read);
    }
    dbk_tree_init(tree, tree->os, tree->folder, tree->suffix, tree->writer);
}

static int open_level(struct dbk_tree *tree, unsigned level, bool writing, struct dbk_error *err)
{
    struct dbk_os *os = tree->os;
    struct dbk_file *file = &tree->levels[level].file;
    char name[DBK_TREE_NAME_SIZE];
    if (file->fd >= 0)
        return DBK_OK;
    dbk_tree_name(level, tree->suffix, name);
    size_t size = strlen(tree->folder) + sizeof(name) + 1;
    char *path = dbk_alloc(size);
    if (path == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s: %s", name, dbk_code_text(DBK_ENOMEM));
    (void)snprintf(path, size, "%s/%s", tree->folder, name);
    unsigned flags = tree->writer ? DBK_OS_WRITE : DBK_OS_READ;
    int rc = os->open(os, path, flags, file, writing ? NULL : err);
    if (rc == DBK_ENOTFOUND && writing) {
        rc = os->open(os, path, flags | DBK_OS_CREATE, file, err);
        tree->unnamed = true;
    } else if (rc < 0 && writing) {
        rc = os->open(os, path, flags, file, err); /* for its message */
    }
    dbk_free(path);
    return rc;
}

int dbk_tree_tile(struct dbk_tree *tree, unsigned level, uint64_t index,
                  const struct dbk_hash **hashes_out, struct dbk_error *err)
{
    struct dbk_tree_level *at = &tree->levels[level];
    size_t size = 0;
    if (at->read != NULL && at->read_index == index) {
        *hashes_out = at->read;
        return DBK_OK;
    }
    if (at->read == NULL)
        at->read = dbk_alloc(DBK_TILE_SIZE);
    if (at->read == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading a tile");
    at->read_index = UINT64_MAX;
    int rc = open_level(tree, level, false, err);
    if (rc == DBK_OK)
        rc = tree->os->pread(tree->os, &at->file, at->read, DBK_TILE_SIZE, index * DBK_TILE_SIZE,
                             &size, err);
    if (rc == DBK_OK && size < DBK_TILE_SIZE)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "%s ends before byte %" PRIu64, at->file.name,
                           (index + 1) * DBK_TILE_SIZE);
    if (rc < 0)
        return rc;
    at->read_index = index;
    *hashes_out = at->read;
    return DBK_OK;
}

/* A tile that must be there. */
static int need_tile(struct dbk_tree *tree, unsigned level, uint64_t index,
                     const struct dbk_hash **hashes_out, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_tree_tile(tree, level, index, hashes_out, &failure);
    if (rc == DBK_ENOTFOUND)
        return dbk_error_set(err, DBK_ECORRUPT, "%s/tiles-%u%s lacks tile %" PRIu64, tree->folder,
                             level, tree->suffix, index);
    if (rc < 0 && err != NULL)
        *err = failure;
    return rc;
}

int dbk_tree_load(struct dbk_tree *tree, uint64_t size, const struct dbk_hash *leaves,
                  struct dbk_error *err)
{
    dbk_assert(tree->size == 0);
    for (unsigned i = 0; i < DBK_TREE_LEVELS; i++) {
        struct dbk_tree_level *level = &tree->levels[i];
        uint64_t hashes = size >> (TILE_BITS * i);
        level->tiles = hashes / DBK_TILE_COUNT;
        level->count = hashes % DBK_TILE_COUNT;
        for (unsigned j = 0; i > 0 && j < level->count; j++) {
            const struct dbk_hash *below = NULL;
            int rc = need_tile(tree, i - 1, level->tiles * DBK_TILE_COUNT + j, &below, err);
            if (rc < 0)
                return rc;
            dbk_merkle_fold(below, DBK_TILE_COUNT, &level->edge[j]);
        }
    }
    memcpy(tree->levels[0].edge, leaves, tree->levels[0].count * sizeof(*leaves));
    tree->size = size;
    return DBK_OK;
}

/* Writes the full edge of a level as a tile, and carries its hash up. */
static int carry(struct dbk_tree *tree, unsigned index, struct dbk_error *err)
{
    struct dbk_tree_level *level = &tree->levels[index];
    struct dbk_tree_level *above = &tree->levels[index + 1];
    dbk_assert(index + 1 < DBK_TREE_LEVELS && level->count == DBK_TILE_COUNT);
    dbk_assert(above->count < DBK_TILE_COUNT);
    if (tree->writer) {
        int rc = open_level(tree, index, true, err);
        if (rc == DBK_OK)
            rc = tree->os->pwrite(tree->os, &level->file, dbk_slice(level->edge, DBK_TILE_SIZE),
                                  level->tiles * DBK_TILE_SIZE, err);
        if (rc < 0)
            return rc;
        level->unsynced = true;
    }
    dbk_merkle_fold(level->edge, DBK_TILE_COUNT, &above->edge[above->count++]);
    level->tiles++;
    level->count = 0;
    return DBK_OK;
}

/* Empties full edges: above one that is, none is. */
static int carry_all(struct dbk_tree *tree, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (unsigned i = DBK_TREE_LEVELS; i-- > 0;)
        for (unsigned j = i; rc == DBK_OK && tree->levels[j].count == DBK_TILE_COUNT; j++)
            rc = carry(tree, j, err);
    return rc;
}

int dbk_tree_add(struct dbk_tree *tree, const struct dbk_hash *leaf, struct dbk_error *err)
{
    struct dbk_tree_level *level = &tree->levels[0];
    if (level->count == DBK_TILE_COUNT) {
        int rc = carry_all(tree, err);
        if (rc < 0)
            return rc;
    }
    level->edge[level->count++] = *leaf;
    tree->size++;
    return DBK_OK;
}

int dbk_tree_sync(struct dbk_tree *tree, struct dbk_error *err)
{
    int rc = carry_all(tree, err);
    for (unsigned i = 0; rc == DBK_OK && i < DBK_TREE_LEVELS; i++) {
        if (!tree->levels[i].unsynced)
            continue;
        rc = tree->os->sync(tree->os, &tree->levels[i].file, err);
        tree->levels[i].unsynced = rc < 0;
    }
    if (rc == DBK_OK && tree->unnamed)
        rc = tree->os->sync_folder(tree->os, tree->folder, err);
    if (rc == DBK_OK)
        tree->unnamed = false;
    return rc;
}

/* A hash of a height is made of 2^(height % 8) hashes of a row of a tile. */
static int node(void *context, unsigned height, uint64_t index, struct dbk_hash *hash_out,
                struct dbk_error *err)
{
    struct dbk_tree *tree = context;
    unsigned within = height % TILE_BITS;
    struct dbk_tree_level *level = &tree->levels[height / TILE_BITS];
    uint64_t first = index << within;
    uint64_t tile = first / DBK_TILE_COUNT;
    size_t count = (size_t)1 << within;
    size_t at = (size_t)(first % DBK_TILE_COUNT);
    const struct dbk_hash *hashes = level->edge;
    int rc = carry_all(tree, err);
    if (rc == DBK_OK && tile < level->tiles)
        rc = need_tile(tree, height / TILE_BITS, tile, &hashes, err);
    if (rc < 0)
        return rc;
    dbk_assert(tile < level->tiles || (tile == level->tiles && at + count <= level->count));
    dbk_merkle_fold(hashes + at, count, hash_out);
    return DBK_OK;
}

struct dbk_merkle_source dbk_tree_source(struct dbk_tree *tree)
{
    return (struct dbk_merkle_source){.node = node, .context = tree};
}
