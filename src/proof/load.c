/* SPDX-License-Identifier: Apache-2.0 */
/* What an open proof begins with: key, newest checkpoint, tree; and making the tree again. */
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>

#include "proof/state.h"

#define KEY_FILE_SIZE_MAX 4096
#define LEAVES 1024

static int no_memory(const struct dbk_proof *proof, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", proof->folder);
}

int dbk_proof_leaves(struct dbk_store *store, uint64_t first, uint64_t last,
                     struct dbk_hash *leaves_out, size_t room, size_t *count_out,
                     struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    size_t count = 0;
    *count_out = 0;
    if (first > last || room == 0)
        return DBK_OK;
    last = last - first < room ? last : first + room - 1;
    int rc = dbk_cursor_open(store,
                             &(struct dbk_filter){.position_min = first,
                                                  .position_max = last,
                                                  .hidden = true,
                                                  .removed = true,
                                                  .raw = true},
                             &cursor, err);
    while (rc >= 0 && (rc = dbk_cursor_next(cursor, &event, err)) > 0) {
        if (event.position != first + count)
            rc =
                dbk_error_set(err, DBK_ECORRUPT, "the log has no position %" PRIu64, first + count);
        else if (dbk_record_leaf(&event, leaves_out[count].bytes) < 0)
            rc = dbk_error_set(err, DBK_ECORRUPT,
                               "the event at position %" PRIu64 " has a damaged sealed section",
                               event.position);
        else
            count++;
    }
    dbk_cursor_free(cursor);
    if (rc == 0 && count < last - first + 1)
        rc = dbk_error_set(err, DBK_ECORRUPT, "the log has no position %" PRIu64, first + count);
    *count_out = count;
    return rc;
}

/* A file that need not be there leaves the buffer empty. */
static int read_if_there(struct dbk_os *os, const char *path, size_t size_max,
                         struct dbk_buf *bytes, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_os_read_file(os, path, size_max, bytes, &failure);
    if (rc == DBK_ENOTFOUND)
        return DBK_OK;
    if (rc < 0 && err != NULL)
        *err = failure;
    return rc;
}

int dbk_proof_look(struct dbk_proof *proof, struct dbk_error *err)
{
    struct dbk_buf text;
    dbk_buf_init(&text, KEY_FILE_SIZE_MAX + 1);
    int rc = read_if_there(proof->os, proof->key_path, KEY_FILE_SIZE_MAX, &text, err);
    proof->has_key = false;
    if (rc == DBK_OK && text.size > 0) {
        proof->has_key = dbk_key_parse(dbk_buf_slice(&text), &proof->key);
        if (!proof->has_key || !proof->key.secret)
            rc =
                dbk_error_set(err, DBK_ECORRUPT,
                              "%s is no signing key: put it back from its backup", proof->key_path);
    }
    if (text.data != NULL)
        OPENSSL_cleanse(text.data, text.size);
    dbk_buf_release(&text);
    /* Who only reads the book may not be allowed to read the key. */
    return rc == DBK_EDENIED && !proof->writer ? DBK_OK : rc;
}

static int tampered(struct dbk_proof *proof, struct dbk_error *err)
{
    if (err != NULL)
        *err = proof->tampered;
    return proof->tampered.code;
}

static int take_newest(struct dbk_proof *proof, struct dbk_slice note, struct dbk_error *err)
{
    struct dbk_checkpoint checkpoint;
    struct dbk_error failure = {0};
    if (proof->writer && !proof->has_key)
        return dbk_error_set(err, DBK_ENOTFOUND,
                             "%s is missing, but checkpoints were signed with it: put it back from "
                             "its backup",
                             proof->key_path);
    int rc = dbk_checkpoint_parse(note, proof->has_key ? &proof->key : NULL, &checkpoint, &failure);
    if (rc < 0)
        return dbk_error_set(err, rc == DBK_ENOMEM ? rc : DBK_ECORRUPT,
                             "%s: the newest checkpoint: %s", proof->checkpoints.path,
                             failure.message);
    dbk_buf_append(&proof->newest, note);
    proof->newest_size = checkpoint.size;
    proof->newest_root = checkpoint.root;
    return proof->newest.rc < 0 ? no_memory(proof, err) : DBK_OK;
}

static int load_newest(struct dbk_proof *proof, struct dbk_error *err)
{
    struct dbk_buf notes;
    struct dbk_slice note;
    proof->newest_size = 0;
    dbk_buf_reset(&proof->newest);
    dbk_buf_init(&notes, DBK_CHECKPOINTS_SIZE_MAX + 1);
    int rc = dbk_checkpoints_read(&proof->checkpoints, &notes, &note, err);
    if (rc == DBK_OK && note.size > 0)
        rc = take_newest(proof, note, err);
    dbk_buf_release(&notes);
    return rc;
}

/* Makes the tree that of the newest checkpoint; whether it came out right is told apart. */
static int load_tree(struct dbk_proof *proof, bool *right_out, struct dbk_error *err)
{
    struct dbk_hash leaves[DBK_TILE_COUNT];
    struct dbk_merkle_source source = dbk_tree_source(&proof->tree);
    struct dbk_hash root;
    size_t count = 0;
    uint64_t size = proof->newest_size;
    *right_out = false;
    int rc = dbk_proof_leaves(proof->store, size - size % DBK_TILE_COUNT + 1, size, leaves,
                              DBK_TILE_COUNT, &count, err);
    if (rc < 0)
        return rc;
    rc = dbk_tree_load(&proof->tree, size, leaves, err);
    if (rc == DBK_OK)
        rc = dbk_merkle_root(&source, size, &root, err);
    *right_out = rc == DBK_OK && dbk_hash_equal(&root, &proof->newest_root);
    return rc == DBK_ECORRUPT ? DBK_OK : rc;
}

/* The first of some leaves that the tiles as they are have otherwise; 0: none. */
static uint64_t first_other(struct dbk_tree *tiles, uint64_t first, const struct dbk_hash *leaves,
                            size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct dbk_hash *hashes = NULL;
        uint64_t index = first - 1 + i;
        if (dbk_tree_tile(tiles, 0, index / DBK_TILE_COUNT, &hashes, NULL) == DBK_OK &&
            !dbk_hash_equal(&hashes[index % DBK_TILE_COUNT], &leaves[i]))
            return first + i;
    }
    return 0;
}

/* All leaves up to the newest checkpoint, into another tree. */
static int build(struct dbk_proof *proof, struct dbk_tree *tree, uint64_t *other_out,
                 struct dbk_error *err)
{
    struct dbk_hash *leaves = dbk_alloc_zero(LEAVES, sizeof(*leaves));
    struct dbk_tree tiles;
    int rc = leaves == NULL ? no_memory(proof, err) : DBK_OK;
    dbk_tree_init(&tiles, proof->os, proof->folder, "", false);
    *other_out = 0;
    while (rc == DBK_OK && tree->size < proof->newest_size) {
        size_t count = 0;
        uint64_t first = tree->size + 1;
        rc = dbk_proof_leaves(proof->store, first, proof->newest_size, leaves, LEAVES, &count, err);
        if (*other_out == 0)
            *other_out = first_other(&tiles, first, leaves, count);
        for (size_t i = 0; rc == DBK_OK && i < count; i++)
            rc = dbk_tree_add(tree, &leaves[i], err);
    }
    dbk_tree_release(&tiles);
    dbk_free(leaves);
    return rc;
}

static char *path_of(const struct dbk_proof *proof, unsigned level, const char *suffix)
{
    char name[DBK_TREE_NAME_SIZE];
    size_t size = strlen(proof->folder) + sizeof(name) + 1;
    char *path = dbk_alloc(size);
    dbk_tree_name(level, suffix, name);
    if (path != NULL)
        (void)snprintf(path, size, "%s/%s", proof->folder, name);
    return path;
}

/* Gives the files of a tree that was made anew their names, or removes them. */
static int settle_files(struct dbk_proof *proof, const struct dbk_tree *tree, bool keep,
                        struct dbk_error *err)
{
    int rc = DBK_OK;
    for (unsigned i = 0; rc == DBK_OK && i < DBK_TREE_LEVELS; i++) {
        if (tree->levels[i].tiles == 0)
            continue;
        char *from = path_of(proof, i, tree->suffix);
        char *to = path_of(proof, i, "");
        if (from == NULL || to == NULL)
            rc = no_memory(proof, err);
        else if (keep)
            rc = proof->os->rename(proof->os, from, to, err);
        else
            dbk_ignore(proof->os->remove(proof->os, from, NULL));
        dbk_free(from);
        dbk_free(to);
    }
    return rc == DBK_OK && keep ? proof->os->sync_folder(proof->os, proof->folder, err) : rc;
}

/* Makes the tree again from the log. The tiles that are there are replaced only by those of the
   root that was signed. */
static int rebuild(struct dbk_proof *proof, struct dbk_error *err)
{
    struct dbk_tree *tree = dbk_alloc(sizeof(*tree));
    struct dbk_hash root;
    uint64_t other = 0;
    if (tree == NULL)
        return no_memory(proof, err);
    dbk_tree_init(tree, proof->os, proof->folder, ".new", true);
    struct dbk_merkle_source source = dbk_tree_source(tree);
    int rc = build(proof, tree, &other, err);
    if (rc == DBK_OK)
        rc = dbk_merkle_root(&source, tree->size, &root, err);
    bool right = rc == DBK_OK && dbk_hash_equal(&root, &proof->newest_root);
    if (right)
        rc = dbk_tree_sync(tree, err);
    if (rc == DBK_OK)
        rc = settle_files(proof, tree, right, err);
    else
        dbk_ignore(settle_files(proof, tree, false, NULL));
    dbk_tree_release(tree);
    dbk_free(tree);
    if (rc < 0 || right)
        return rc;
    if (other > 0)
        (void)dbk_error_set(
            &proof->tampered, DBK_ECORRUPT,
            "the log was changed after it was signed: the event at position %" PRIu64
            " is not the one in the tree of the checkpoint of size %" PRIu64,
            other, proof->newest_size);
    else
        (void)dbk_error_set(&proof->tampered, DBK_ECORRUPT,
                            "the log was changed after it was signed: its events do not have the "
                            "root of the checkpoint of size %" PRIu64,
                            proof->newest_size);
    return tampered(proof, err);
}

void dbk_proof_unload(struct dbk_proof *proof)
{
    dbk_tree_release(&proof->tree);
    proof->loaded = false;
}

/* Tiles are as the checkpoint says, or are made so. */
static int load_or_rebuild(struct dbk_proof *proof, bool again, struct dbk_error *err)
{
    bool right = false;
    int rc = again ? DBK_OK : load_tree(proof, &right, err);
    if (rc < 0 || right)
        return rc;
    if (!proof->writer)
        return dbk_error_set(err, DBK_ECORRUPT,
                             "the tiles in %s are not those of the newest checkpoint; who writes "
                             "the book makes them again when it opens it, `daybook verify` says "
                             "more",
                             proof->folder);
    dbk_tree_release(&proof->tree);
    rc = rebuild(proof, err);
    if (rc == DBK_OK)
        rc = load_tree(proof, &right, err);
    return rc == DBK_OK && !right
               ? dbk_error_set(err, DBK_EIO, "%s: tiles do not read as they were written",
                               proof->folder)
               : rc;
}

static int load(struct dbk_proof *proof, bool again, struct dbk_error *err)
{
    if (proof->tampered.code != DBK_OK)
        return tampered(proof, err);
    if (proof->loaded)
        return DBK_OK;
    dbk_proof_unload(proof);
    int rc = dbk_proof_look(proof, err);
    if (rc == DBK_OK)
        rc = load_newest(proof, err);
    /* What a checkpoint covers was synced before it: a reader has to look again. */
    if (rc == DBK_OK)
        rc = dbk_store_wait(proof->store, dbk_store_wakes(proof->store), UINT64_MAX, 0, err);
    if (rc < 0)
        return rc;
    uint64_t last = dbk_store_last_position(proof->store);
    if (proof->newest_size > last) {
        (void)dbk_error_set(&proof->tampered, DBK_ECORRUPT,
                            "the log ends at position %" PRIu64 ", but a checkpoint was signed of "
                            "%" PRIu64 " events: its end is missing",
                            last, proof->newest_size);
        return tampered(proof, err);
    }
    if (proof->newest_size > 0)
        rc = load_or_rebuild(proof, again, err);
    if (rc < 0)
        dbk_tree_release(&proof->tree);
    proof->loaded = rc == DBK_OK;
    return rc;
}

int dbk_proof_load(struct dbk_proof *proof, struct dbk_error *err)
{
    return load(proof, false, err);
}

int dbk_proof_load_again(struct dbk_proof *proof, struct dbk_error *err)
{
    return load(proof, true, err);
}
