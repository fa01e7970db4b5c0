/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole book against what was signed: the log is read from its beginning, verified record by
 * record by its own checksums, and a tree grown beside; at the size of each checkpoint it must have
 * that root, and each tile must be the one in the file.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "proof/state.h"

#define STEP_EVENTS 16384
#define FILE_NAME_SIZE 64
/* So many findings are told, the others counted. */
#define FINDINGS_MAX 100

struct verifying {
    struct dbk_proof *proof;
    const struct dbk_proof_verification *options;
    struct dbk_proof_verified *verified;
    struct dbk_tree grown; /* from the log */
    struct dbk_tree tiles; /* as they are in the files */
    struct dbk_buf notes;
    struct dbk_slice left; /* of the notes: those larger than the tree so far */
    uint64_t whole;        /* bytes of the notes file that are whole notes */
    struct dbk_key key;
    bool has_key;
    struct dbk_checkpoint next; /* of the notes, the one to come; note is empty: none */
    uint64_t next_offset;
    uint64_t newest_size; /* tiles up to it count */
    struct dbk_checkpoint kept;
    uint64_t last; /* position */
};

static void DBK_PRINTF(6, 7) tell(struct verifying *verifying, const char *kind, const char *file,
                                  uint64_t offset, uint64_t position, const char *format, ...)
{
    struct dbk_error what = {0};
    va_list arguments;
    va_start(arguments, format);
    (void)dbk_error_set_va(&what, DBK_ECORRUPT, format, arguments);
    va_end(arguments);
    verifying->verified->findings++;
    if (verifying->options->found != NULL && verifying->verified->findings <= FINDINGS_MAX)
        verifying->options->found(verifying->options->context,
                                  &(struct dbk_proof_finding){.kind = kind,
                                                              .file = file,
                                                              .offset = offset,
                                                              .position = position,
                                                              .what = what.message});
}

/* The next checkpoint of the file that is whole and signed; others are told. */
static void next_checkpoint(struct verifying *verifying)
{
    struct dbk_slice note;
    const struct dbk_key *key = verifying->has_key ? &verifying->key : NULL;
    uint64_t before = verifying->grown.size;
    verifying->next = (struct dbk_checkpoint){0};
    while (dbk_note_next(&verifying->left, &note)) {
        struct dbk_error err = {0};
        struct dbk_checkpoint checkpoint;
        uint64_t offset = (uint64_t)(note.data - verifying->notes.data);
        if (dbk_checkpoint_parse(note, key, &checkpoint, &err) < 0) {
            tell(verifying, "checkpoint", "proof/checkpoints", offset, 0, "%s", err.message);
            continue;
        }
        if (!dbk_slice_equal_text(checkpoint.origin, verifying->proof->origin) && key == NULL)
            tell(verifying, "checkpoint", "proof/checkpoints", offset, 0,
                 "a checkpoint of another book, %.*s", DBK_SLICE_ARGS(checkpoint.origin));
        if (checkpoint.size < before)
            tell(verifying, "checkpoint", "proof/checkpoints", offset, checkpoint.size,
                 "a checkpoint of %" PRIu64 " events stands behind one of %" PRIu64,
                 checkpoint.size, before);
        else if (checkpoint.size <= verifying->last) {
            verifying->next = checkpoint;
            verifying->next_offset = offset;
            return;
        } else {
            tell(verifying, "size", "proof/checkpoints", offset, verifying->last,
                 "%" PRIu64 " events were signed, but the log ends at position %" PRIu64,
                 checkpoint.size, verifying->last);
        }
    }
}

/* Newest size, and what stands behind the last whole note. */
static void look_at_notes(struct verifying *verifying)
{
    struct dbk_slice left = dbk_buf_slice(&verifying->notes);
    struct dbk_slice note;
    struct dbk_checkpoint checkpoint;
    while (dbk_note_next(&left, &note))
        if (dbk_checkpoint_parse(note, NULL, &checkpoint, NULL) == DBK_OK) {
            verifying->newest_size = checkpoint.size;
            verifying->verified->checkpoints++;
        }
    if (left.size > 0)
        tell(verifying, "checkpoint", "proof/checkpoints",
             (uint64_t)(left.data - verifying->notes.data), 0,
             "%zu bytes that are no checkpoint; of a crash, who writes the book cuts them off",
             left.size);
    verifying->verified->checkpoint = verifying->newest_size;
    verifying->left = dbk_buf_slice(&verifying->notes);
}

static int compare_root(struct verifying *verifying, const struct dbk_checkpoint *checkpoint,
                        const char *file, uint64_t offset, struct dbk_error *err)
{
    struct dbk_merkle_source source = dbk_tree_source(&verifying->grown);
    struct dbk_hash root;
    int rc = dbk_merkle_root(&source, verifying->grown.size, &root, err);
    if (rc == DBK_OK && !dbk_hash_equal(&root, &checkpoint->root))
        tell(verifying, "checkpoint", file, offset, checkpoint->size,
             "the first %" PRIu64 " events are not those that were signed", checkpoint->size);
    return rc;
}

/* Checkpoints of the size that the tree has now. */
static int compare_checkpoints(struct verifying *verifying, struct dbk_error *err)
{
    int rc = DBK_OK;
    if (verifying->kept.note.size > 0 && verifying->kept.size == verifying->grown.size)
        rc = compare_root(verifying, &verifying->kept, "", 0, err);
    while (rc == DBK_OK && verifying->next.note.size > 0 &&
           verifying->next.size == verifying->grown.size) {
        rc = compare_root(verifying, &verifying->next, "proof/checkpoints", verifying->next_offset,
                          err);
        next_checkpoint(verifying);
    }
    return rc;
}

static void file_of(unsigned level, char file[FILE_NAME_SIZE])
{
    char name[DBK_TREE_NAME_SIZE];
    dbk_tree_name(level, "", name);
    (void)snprintf(file, FILE_NAME_SIZE, "proof/%s", name);
}

/* A tile that is full now in the tree against the one in the file. position: of its first leaf. */
static int compare_tile(struct verifying *verifying, unsigned level, uint64_t index,
                        const struct dbk_hash *expected, struct dbk_error *err)
{
    const struct dbk_hash *hashes = NULL;
    char file[FILE_NAME_SIZE];
    struct dbk_error failure = {0};
    uint64_t leaves = UINT64_C(1) << (8 * level);
    file_of(level, file);
    int rc = dbk_tree_tile(&verifying->tiles, level, index, &hashes, &failure);
    if (rc == DBK_ENOTFOUND) {
        tell(verifying, "tile", file, index * DBK_TILE_SIZE, index * DBK_TILE_COUNT * leaves + 1,
             "the tile is missing");
        return DBK_OK;
    }
    if (rc < 0) {
        if (err != NULL)
            *err = failure;
        return rc;
    }
    verifying->verified->tiles++;
    for (unsigned i = 0; i < DBK_TILE_COUNT; i++)
        if (!dbk_hash_equal(&hashes[i], &expected[i]))
            tell(verifying, "tile", file, index * DBK_TILE_SIZE + (uint64_t)i * DBK_SHA256_SIZE,
                 (index * DBK_TILE_COUNT + i) * leaves + 1,
                 level == 0 ? "the hash is not that of the event"
                            : "the hash is not that of the "
                              "tile below");
    return DBK_OK;
}

/* Upper tiles against those below, whose hashes are known to be right or were told. */
static int compare_upper(struct verifying *verifying, struct dbk_error *err)
{
    int rc = DBK_OK;
    struct dbk_hash expected[DBK_TILE_COUNT];
    for (unsigned level = 1; level + 1 < DBK_TREE_LEVELS; level++) {
        uint64_t tiles =
            (verifying->newest_size < verifying->last ? verifying->newest_size : verifying->last) >>
            (8 * (level + 1));
        for (uint64_t index = 0; rc == DBK_OK && index < tiles; index++) {
            bool whole = true;
            for (unsigned i = 0; rc == DBK_OK && whole && i < DBK_TILE_COUNT; i++) {
                const struct dbk_hash *below = NULL;
                rc = dbk_tree_tile(&verifying->tiles, level - 1, index * DBK_TILE_COUNT + i, &below,
                                   err);
                whole = rc == DBK_OK;
                if (rc == DBK_ENOTFOUND)
                    rc = DBK_OK;
                else if (rc == DBK_OK)
                    dbk_merkle_fold(below, DBK_TILE_COUNT, &expected[i]);
            }
            if (rc == DBK_OK && whole)
                rc = compare_tile(verifying, level, index, expected, err);
        }
    }
    return rc;
}

static int take(struct verifying *verifying, const struct dbk_event *event, struct dbk_error *err)
{
    struct dbk_hash leaf;
    struct dbk_tree_level *level = &verifying->grown.levels[0];
    if (dbk_record_leaf(event, leaf.bytes) < 0) {
        tell(verifying, "record", "", 0, event->position,
             "the event's sealed section, or what is left of it, is damaged");
        memset(&leaf, 0, sizeof(leaf));
    }
    verifying->verified->events++;
    verifying->verified->removed += (event->flags & DBK_RECORD_REMOVED) != 0;
    int rc = dbk_tree_add(&verifying->grown, &leaf, err);
    if (rc == DBK_OK && level->count == DBK_TILE_COUNT &&
        verifying->grown.size <= verifying->newest_size)
        rc = compare_tile(verifying, 0, level->tiles, level->edge, err);
    return rc < 0 ? rc : compare_checkpoints(verifying, err);
}

static int step(struct verifying *verifying)
{
    const struct dbk_proof_verification *options = verifying->options;
    return options->step == NULL
               ? DBK_OK
               : options->step(options->context, verifying->grown.size, verifying->last);
}

static int read_log(struct verifying *verifying, struct dbk_error *err)
{
    struct dbk_log_scan *scan = NULL;
    struct dbk_event event;
    struct dbk_error failure = {0};
    struct dbk_log *log = dbk_store_log(verifying->proof->store);
    int rc = dbk_log_scan_open(log, (struct dbk_log_place){0}, 0, &scan, err);
    while (rc == DBK_OK && verifying->grown.size < verifying->last) {
        int got = dbk_log_scan_next(scan, &event, NULL, &failure);
        if (got == 0) {
            tell(verifying, "size", "log", 0, verifying->grown.size,
                 "the log ends behind position %" PRIu64 ", not at %" PRIu64, verifying->grown.size,
                 verifying->last);
            break;
        }
        if (got == DBK_ECORRUPT) {
            /* What follows cannot be told apart from damage. */
            tell(verifying, "record", "log", 0, verifying->grown.size + 1, "%s", failure.message);
            break;
        }
        if (got < 0) {
            if (err != NULL)
                *err = failure;
            rc = got;
            break;
        }
        rc = take(verifying, &event, err);
        if (rc == DBK_OK && verifying->grown.size % STEP_EVENTS == 0)
            rc = step(verifying);
    }
    dbk_log_scan_free(scan);
    return rc;
}

static int read_options(struct verifying *verifying, struct dbk_error *err)
{
    const struct dbk_proof_verification *options = verifying->options;
    struct dbk_proof *proof = verifying->proof;
    verifying->has_key = proof->has_key;
    verifying->key = proof->key;
    if (options->key != NULL) {
        verifying->has_key = dbk_key_parse(dbk_slice_of(options->key), &verifying->key);
        if (!verifying->has_key || verifying->key.secret)
            return dbk_error_set(err, DBK_EINVAL,
                                 "\"%.80s\" is no public key: as `daybook proof key` prints it, "
                                 "name+id+key",
                                 options->key);
    }
    if (options->kept == NULL)
        return DBK_OK;
    int rc =
        dbk_checkpoint_parse(dbk_slice_of(options->kept),
                             verifying->has_key ? &verifying->key : NULL, &verifying->kept, err);
    if (rc == DBK_OK && !dbk_slice_equal_text(verifying->kept.origin, proof->origin) &&
        !dbk_slice_equal_text(verifying->kept.origin, verifying->key.name))
        rc = dbk_error_set(err, DBK_EINVAL,
                           "the checkpoint that was kept is of another book, %.*s; this one is %s",
                           DBK_SLICE_ARGS(verifying->kept.origin), proof->origin);
    return rc < 0 ? DBK_EINVAL : DBK_OK;
}

/* Reads what is signed, under the lock: a writer may be at it. */
static int begin(struct verifying *verifying, struct dbk_error *err)
{
    struct dbk_proof *proof = verifying->proof;
    struct dbk_slice newest;
    (void)pthread_mutex_lock(&proof->lock);
    int rc = DBK_OK;
    if (!proof->has_key)
        rc = dbk_proof_look(proof, err);
    if (rc == DBK_OK)
        rc = read_options(verifying, err);
    if (rc == DBK_OK) {
        struct dbk_checkpoints file;
        rc = dbk_checkpoints_init(&file, proof->os, proof->folder, err);
        if (rc == DBK_OK)
            rc = dbk_checkpoints_read(&file, &verifying->notes, &newest, NULL);
        dbk_checkpoints_release(&file);
        rc = rc == DBK_ECORRUPT ? DBK_OK : rc;
    }
    (void)pthread_mutex_unlock(&proof->lock);
    if (rc < 0)
        return rc;
    rc = dbk_store_wait(proof->store, dbk_store_wakes(proof->store), UINT64_MAX, 0, err);
    verifying->last = dbk_log_synced_position(dbk_store_log(proof->store));
    return rc;
}

static int verify(struct verifying *verifying, struct dbk_error *err)
{
    int rc = begin(verifying, err);
    if (rc < 0)
        return rc;
    look_at_notes(verifying);
    next_checkpoint(verifying);
    if (verifying->kept.note.size > 0 && verifying->kept.size > verifying->last)
        tell(verifying, "size", "", 0, verifying->last,
             "the checkpoint that was kept covers %" PRIu64 " events, but the log ends at position "
             "%" PRIu64,
             verifying->kept.size, verifying->last);
    rc = compare_checkpoints(verifying, err);
    if (rc == DBK_OK)
        rc = read_log(verifying, err);
    if (rc == DBK_OK)
        rc = compare_upper(verifying, err);
    return rc == DBK_OK ? step(verifying) : rc;
}

int dbk_proof_verify(struct dbk_proof *proof, const struct dbk_proof_verification *options,
                     struct dbk_proof_verified *verified_out, struct dbk_error *err)
{
    struct verifying *verifying = dbk_alloc_zero(1, sizeof(*verifying));
    *verified_out = (struct dbk_proof_verified){0};
    if (verifying == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory verifying the book");
    verifying->proof = proof;
    verifying->options = options;
    verifying->verified = verified_out;
    dbk_tree_init(&verifying->grown, proof->os, proof->folder, "", false);
    dbk_tree_init(&verifying->tiles, proof->os, proof->folder, "", false);
    dbk_buf_init(&verifying->notes, DBK_CHECKPOINTS_SIZE_MAX + 1);
    int rc = verify(verifying, err);
    dbk_tree_release(&verifying->grown);
    dbk_tree_release(&verifying->tiles);
    dbk_buf_release(&verifying->notes);
    dbk_free(verifying);
    return rc;
}
