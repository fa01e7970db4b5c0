/* SPDX-License-Identifier: Apache-2.0 */
/* Proofs that are handed out: each is checked before it is. */
#include <inttypes.h>

#include "base/base64.h"
#include "base/bytes.h"
#include "proof/state.h"

#define EXTRA_SIZE_MAX ((size_t)256 << 20)

void dbk_proof_inclusion_init(struct dbk_proof_inclusion *inclusion)
{
    *inclusion = (struct dbk_proof_inclusion){0};
    dbk_buf_init(&inclusion->checkpoint, DBK_CHECKPOINTS_SIZE_MAX);
    dbk_buf_init(&inclusion->extra, EXTRA_SIZE_MAX);
}

void dbk_proof_inclusion_release(struct dbk_proof_inclusion *inclusion)
{
    dbk_buf_release(&inclusion->checkpoint);
    dbk_buf_release(&inclusion->extra);
}

/* The event's leaf, and everything it is made of. */
static int read_leaf(struct dbk_proof *proof, struct dbk_proof_inclusion *out,
                     struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    char input[DBK_LEAF_INPUT_SIZE_MAX];
    int rc = dbk_cursor_open(proof->store,
                             &(struct dbk_filter){.position_min = out->position,
                                                  .position_max = out->position,
                                                  .hidden = true,
                                                  .removed = true,
                                                  .raw = true},
                             &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 0)
        rc = dbk_error_set(err, DBK_EINVAL, "there is no position %" PRIu64, out->position);
    if (rc > 0) {
        size_t size = dbk_record_leaf_input(&event, input);
        dbk_buf_append(&out->extra, dbk_slice(input, size));
        dbk_sha256_of(dbk_slice(input, size), out->leaf.bytes);
        rc = size == 0 ? DBK_ECORRUPT : dbk_record_content_input(&event, &out->extra);
        if (rc < 0)
            rc = dbk_error_set(err, rc,
                               rc == DBK_ECORRUPT
                                   ? "the event at position %" PRIu64 " is damaged"
                                   : "out of memory proving the event at position %" PRIu64,
                               out->position);
    }
    dbk_cursor_free(cursor);
    return rc;
}

/* The checkpoint of a size, where it was kept. */
static int find_checkpoint(struct dbk_proof *proof, uint64_t size, struct dbk_buf *note_out,
                           struct dbk_error *err)
{
    struct dbk_checkpoints file;
    struct dbk_buf notes;
    struct dbk_slice note;
    struct dbk_checkpoint checkpoint;
    if (size == proof->newest_size) {
        dbk_buf_append(note_out, dbk_buf_slice(&proof->newest));
        return DBK_OK;
    }
    dbk_buf_init(&notes, DBK_CHECKPOINTS_SIZE_MAX + 1);
    int rc = dbk_checkpoints_init(&file, proof->os, proof->folder, err);
    if (rc == DBK_OK)
        rc = dbk_checkpoints_read(&file, &notes, &note, err);
    struct dbk_slice left = dbk_buf_slice(&notes);
    while (rc == DBK_OK && note_out->size == 0 && dbk_note_next(&left, &note))
        if (dbk_checkpoint_parse(note, NULL, &checkpoint, NULL) == DBK_OK &&
            checkpoint.size == size)
            dbk_buf_append(note_out, note);
    dbk_checkpoints_release(&file);
    dbk_buf_release(&notes);
    return rc;
}

static int wrong(struct dbk_proof *proof, struct dbk_error *err)
{
    dbk_proof_unload(proof);
    return dbk_error_set(err, DBK_ECORRUPT,
                         "a tile in %s, or the log, is damaged: `daybook verify` says where",
                         proof->folder);
}

/* Tiles that were damaged since they were loaded: made again from the log, if that is right. */
static int repair(struct dbk_proof *proof, struct dbk_error *err)
{
    if (!proof->writer)
        return wrong(proof, err);
    dbk_proof_unload(proof);
    return dbk_proof_load_again(proof, err);
}

static int include(struct dbk_proof *proof, struct dbk_proof_inclusion *out, struct dbk_error *err)
{
    struct dbk_merkle_source source = dbk_tree_source(&proof->tree);
    struct dbk_hash newest;
    struct dbk_merkle_path path;
    int rc = dbk_merkle_inclusion(&source, out->position - 1, out->size, &out->path, err);
    if (rc == DBK_OK)
        rc = dbk_merkle_root(&source, out->size, &out->root, err);
    if (rc < 0)
        return rc;
    /* A root that was not signed is shown to be the beginning of the one that was. */
    rc = dbk_merkle_consistency(&source, out->size, proof->newest_size, &path, err);
    newest = proof->newest_root;
    bool right =
        dbk_merkle_check_inclusion(&out->leaf, out->position - 1, out->size, &out->path,
                                   &out->root) &&
        dbk_merkle_check_consistency(out->size, &out->root, proof->newest_size, &newest, &path);
    return rc < 0 || right ? rc : DBK_ECORRUPT;
}

int dbk_proof_inclusion(struct dbk_proof *proof, uint64_t position, uint64_t size,
                        struct dbk_proof_inclusion *out, struct dbk_error *err)
{
    if (position == 0)
        return dbk_error_set(err, DBK_EINVAL, "there is no position 0, the first one is 1");
    if (size > 0 && size < position)
        return dbk_error_set(err, DBK_EINVAL,
                             "a tree of size %" PRIu64 " ends before position %" PRIu64, size,
                             position);
    (void)pthread_mutex_lock(&proof->lock);
    int rc = dbk_proof_reach(proof, size > position ? size : position, err);
    out->position = position;
    out->size = size == 0 ? proof->newest_size : size;
    if (rc == DBK_OK && (position > proof->newest_size || out->size > proof->newest_size))
        rc = dbk_error_set(
            err, DBK_EINVAL,
            "%s %" PRIu64 " is past the newest checkpoint, which covers %" PRIu64 " events",
            position > proof->newest_size ? "position" : "size",
            position > proof->newest_size ? position : out->size, proof->newest_size);
    if (rc == DBK_OK)
        rc = read_leaf(proof, out, err);
    if (rc == DBK_OK)
        rc = include(proof, out, err);
    if (rc == DBK_ECORRUPT) {
        rc = repair(proof, err);
        if (rc == DBK_OK)
            rc = include(proof, out, err);
        if (rc == DBK_ECORRUPT)
            rc = wrong(proof, err);
    }
    if (rc == DBK_OK)
        rc = find_checkpoint(proof, out->size, &out->checkpoint, err);
    (void)pthread_mutex_unlock(&proof->lock);
    return rc == DBK_OK && (out->checkpoint.rc < 0 || out->extra.rc < 0)
               ? dbk_error_set(err, DBK_ENOMEM, "out of memory proving an event")
               : rc;
}

void dbk_proof_put_inclusion(struct dbk_buf *out, const struct dbk_proof_inclusion *inclusion)
{
    dbk_buf_append_text(out, "c2sp.org/tlog-proof@v1\nextra ");
    dbk_base64_encode(dbk_buf_slice(&inclusion->extra), out);
    dbk_buf_append_format(out, "\nindex %" PRIu64 "\n", inclusion->position - 1);
    for (size_t i = 0; i < inclusion->path.count; i++) {
        dbk_base64_encode(dbk_slice(inclusion->path.hashes[i].bytes, DBK_SHA256_SIZE), out);
        dbk_buf_append_char(out, '\n');
    }
    dbk_buf_append_char(out, '\n');
    dbk_buf_append(out, dbk_buf_slice(&inclusion->checkpoint));
}

static int join(struct dbk_proof *proof, struct dbk_proof_consistency *out, struct dbk_error *err)
{
    struct dbk_merkle_source source = dbk_tree_source(&proof->tree);
    struct dbk_merkle_path path;
    int rc = dbk_merkle_root(&source, out->from, &out->from_root, err);
    if (rc == DBK_OK)
        rc = dbk_merkle_root(&source, out->to, &out->to_root, err);
    if (rc == DBK_OK)
        rc = dbk_merkle_consistency(&source, out->from, out->to, &out->path, err);
    if (rc == DBK_OK)
        rc = dbk_merkle_consistency(&source, out->to, proof->newest_size, &path, err);
    if (rc < 0)
        return rc;
    return dbk_merkle_check_consistency(out->from, &out->from_root, out->to, &out->to_root,
                                        &out->path) &&
                   dbk_merkle_check_consistency(out->to, &out->to_root, proof->newest_size,
                                                &proof->newest_root, &path)
               ? DBK_OK
               : DBK_ECORRUPT;
}

int dbk_proof_consistency(struct dbk_proof *proof, uint64_t from, uint64_t to,
                          struct dbk_proof_consistency *out, struct dbk_error *err)
{
    (void)pthread_mutex_lock(&proof->lock);
    int rc = dbk_proof_reach(proof, to > from ? to : from, err);
    out->from = from;
    out->to = to == 0 ? proof->newest_size : to;
    if (rc == DBK_OK && from == 0)
        rc = dbk_error_set(err, DBK_EINVAL,
                           "every tree goes on from the empty one: from is at "
                           "least 1");
    else if (rc == DBK_OK && (out->to > proof->newest_size || from > proof->newest_size))
        rc = dbk_error_set(err, DBK_EINVAL,
                           "size %" PRIu64 " is past the newest checkpoint, which covers %" PRIu64
                           " events",
                           from > out->to ? from : out->to, proof->newest_size);
    else if (rc == DBK_OK && from > out->to)
        rc = dbk_error_set(err, DBK_EINVAL,
                           "a tree of size %" PRIu64 " does not begin with one of %" PRIu64,
                           out->to, from);
    if (rc == DBK_OK)
        rc = join(proof, out, err);
    if (rc == DBK_ECORRUPT) {
        rc = repair(proof, err);
        if (rc == DBK_OK)
            rc = join(proof, out, err);
        if (rc == DBK_ECORRUPT)
            rc = wrong(proof, err);
    }
    (void)pthread_mutex_unlock(&proof->lock);
    return rc;
}
