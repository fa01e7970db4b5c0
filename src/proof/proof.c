/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/proof.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <time.h>

#include "base/assert.h"
#include "proof/state.h"

#define INTERVAL_US INT64_C(5000000)
/* A sealed segment does not wait so long; but where many are sealed a second, each sync of ours is
   one that appends wait for. */
#define SEALED_US INT64_C(1000000)
/* Followed at once, so that others get the lock in between. */
#define FOLLOW_EVENTS ((size_t)2048)
/* How far behind the tree may be: waking up for each group would cost the appends' time. */
#define LAG_US INT64_C(50000)
/* How long closing may take. */
#define CLOSE_US INT64_C(2000000)

static char *path_in(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = dbk_alloc(size);
    if (path != NULL)
        (void)snprintf(path, size, "%s/%s", folder, name);
    return path;
}

int dbk_proof_follow(struct dbk_proof *proof, struct dbk_error *err)
{
    uint64_t synced = dbk_log_synced_position(dbk_store_log(proof->store));
    size_t count = 0;
    if (proof->tree.size >= synced)
        return 0;
    struct dbk_hash *leaves = dbk_alloc_zero(FOLLOW_EVENTS, sizeof(*leaves));
    if (leaves == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory following the log");
    int rc = dbk_os_make_folder(proof->os, proof->folder, err);
    if (rc == DBK_OK)
        rc = dbk_proof_leaves(proof->store, proof->tree.size + 1, synced, leaves, FOLLOW_EVENTS,
                              &count, err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = dbk_tree_add(&proof->tree, &leaves[i], err);
    dbk_free(leaves);
    if (rc < 0)
        return rc;
    return proof->tree.size < synced ? 1 : 0;
}

/* A new key, durable before anything is signed with it. */
static int make_key(struct dbk_proof *proof, struct dbk_error *err)
{
    struct dbk_os *os = proof->os;
    struct dbk_file file = DBK_FILE_CLOSED;
    struct dbk_buf text;
    char *slash = strrchr(proof->key_path, '/');
    size_t size = strlen(proof->key_path) + sizeof(".tmp");
    char *beside = dbk_alloc(size);
    char *folder = dbk_copy_text(dbk_slice(proof->key_path, (size_t)(slash - proof->key_path)));
    dbk_buf_init(&text, DBK_KEY_TEXT_SIZE_MAX * 2);
    int rc = beside == NULL || folder == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory making a key")
                 : dbk_key_make(os, proof->origin, &proof->key, err);
    if (rc < 0)
        goto out;
    dbk_key_format_secret(&proof->key, &text);
    if (text.rc < 0) {
        rc = dbk_error_set(err, text.rc, "out of memory making a key");
        goto out;
    }
    (void)snprintf(beside, size, "%s.tmp", proof->key_path);
    rc = os->open(os, beside, DBK_OS_WRITE | DBK_OS_CREATE, &file, err);
    if (rc == DBK_OK)
        rc = os->protect(os, beside, err);
    if (rc == DBK_OK)
        rc = os->truncate(os, &file, 0, err);
    if (rc == DBK_OK)
        rc = os->pwrite(os, &file, dbk_buf_slice(&text), 0, err);
    if (rc == DBK_OK)
        rc = os->sync(os, &file, err);
    os->close(os, &file);
    if (rc == DBK_OK)
        rc = os->rename(os, beside, proof->key_path, err);
    if (rc == DBK_OK)
        rc = os->sync_folder(os, folder, err);
    proof->has_key = rc == DBK_OK;
out:
    if (text.data != NULL)
        OPENSSL_cleanse(text.data, text.size);
    dbk_buf_release(&text);
    dbk_free(beside);
    dbk_free(folder);
    return rc;
}

static int need_key(struct dbk_proof *proof, struct dbk_error *err)
{
    if (proof->has_key)
        return DBK_OK;
    return proof->writer
               ? make_key(proof, err)
               : dbk_error_set(err, DBK_ENOTFOUND,
                               "%s is not there, or may not be read by this user", proof->key_path);
}

int dbk_proof_sign(struct dbk_proof *proof, struct dbk_error *err)
{
    struct dbk_merkle_source source = dbk_tree_source(&proof->tree);
    struct dbk_hash root;
    struct dbk_buf note;
    uint64_t size = proof->tree.size;
    dbk_assert(proof->writer && proof->loaded && size >= proof->newest_size);
    if (size == proof->newest_size)
        return DBK_OK;
    dbk_buf_init(&note, DBK_NOTE_SIZE_MAX * 2);
    int rc = need_key(proof, err);
    if (rc == DBK_OK)
        rc = dbk_tree_sync(&proof->tree, err);
    if (rc == DBK_OK)
        rc = dbk_merkle_root(&source, size, &root, err);
    if (rc == DBK_OK)
        rc = dbk_checkpoint_sign(&proof->key, size, &root, &note, err);
    if (rc == DBK_OK)
        rc = dbk_checkpoints_append(&proof->checkpoints, dbk_buf_slice(&note), err);
    if (rc == DBK_OK) {
        dbk_buf_reset(&proof->newest);
        dbk_buf_append(&proof->newest, dbk_buf_slice(&note));
        if (proof->newest.rc < 0)
            rc = dbk_error_set(err, proof->newest.rc, "out of memory signing a checkpoint");
    }
    dbk_buf_release(&note);
    if (rc < 0)
        return rc;
    proof->newest_size = size;
    proof->newest_root = root;
    proof->segments = dbk_log_segment_count(dbk_store_log(proof->store));
    proof->signed_us = proof->os->monotonic_us(proof->os);
    return DBK_OK;
}

static bool is_due(struct dbk_proof *proof)
{
    if (proof->tree.size <= proof->newest_size)
        return false;
    int64_t waited_us = proof->os->monotonic_us(proof->os) - proof->signed_us;
    return waited_us >= proof->interval_us ||
           (waited_us >= SEALED_US &&
            proof->segments != dbk_log_segment_count(dbk_store_log(proof->store)));
}

/* After a failure nothing in memory is to be trusted. */
static int note_failure(struct dbk_proof *proof, int rc, const struct dbk_error *failure)
{
    if (rc < 0) {
        proof->failure = *failure;
        dbk_proof_unload(proof);
    } else {
        proof->failure.code = DBK_OK;
    }
    return rc;
}

/* Follows until all that is synced is there, or a time; under the lock, but lets others have it. */
static int catch_up(struct dbk_proof *proof, int64_t end_us, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = 1;
    while (rc > 0) {
        rc = dbk_proof_load(proof, &failure);
        if (rc == DBK_OK)
            rc = dbk_proof_follow(proof, &failure);
        if (rc > 0) {
            (void)pthread_mutex_unlock(&proof->lock);
            (void)pthread_mutex_lock(&proof->lock);
            if (proof->os->monotonic_us(proof->os) >= end_us)
                break;
        }
    }
    if (rc < 0 && err != NULL)
        *err = failure;
    return note_failure(proof, rc, &failure) < 0 ? rc : DBK_OK;
}

static int sign_now(struct dbk_proof *proof, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_proof_load(proof, &failure);
    if (rc == DBK_OK)
        rc = dbk_proof_sign(proof, &failure);
    if (rc < 0 && err != NULL)
        *err = failure;
    return note_failure(proof, rc, &failure);
}

/* One round of the thread; says how long there is nothing to do unless something is appended. */
static int64_t work(struct dbk_proof *proof)
{
    int rc = catch_up(proof, INT64_MAX, NULL);
    if (rc == DBK_OK && is_due(proof))
        rc = sign_now(proof, NULL);
    if (rc < 0 || proof->tree.size <= proof->newest_size)
        return proof->interval_us;
    int64_t left_us = proof->signed_us + proof->interval_us - proof->os->monotonic_us(proof->os);
    return left_us > LAG_US ? left_us : LAG_US;
}

static void pause_us(struct dbk_proof *proof, int64_t duration_us)
{
    struct timespec end;
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    int64_t nanoseconds = end.tv_nsec + duration_us % 1000000 * 1000;
    end.tv_sec += duration_us / 1000000 + nanoseconds / 1000000000;
    end.tv_nsec = nanoseconds % 1000000000;
    int rc = 0;
    while (!proof->stops && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&proof->stopping, &proof->lock, &end);
}

static void *run(void *context)
{
    struct dbk_proof *proof = context;
    (void)pthread_mutex_lock(&proof->lock);
    for (;;) {
        pause_us(proof, LAG_US);
        uint64_t wakes = dbk_store_wakes(proof->store);
        if (proof->stops)
            break;
        int64_t wait_us = work(proof);
        uint64_t size = proof->tree.size;
        bool failed = proof->failure.code != DBK_OK;
        if (failed) {
            pause_us(proof, wait_us);
            continue;
        }
        (void)pthread_mutex_unlock(&proof->lock);
        dbk_ignore(dbk_store_wait(proof->store, wakes, size, wait_us, NULL));
        (void)pthread_mutex_lock(&proof->lock);
    }
    (void)pthread_mutex_unlock(&proof->lock);
    return NULL;
}

static int start(struct dbk_proof *proof, struct dbk_error *err)
{
    int failed = pthread_create(&proof->thread, NULL, run, proof);
    if (failed != 0)
        return dbk_error_set_errno(err, failed, "starting the thread of the proof");
    proof->runs = true;
    return DBK_OK;
}

static void stop(struct dbk_proof *proof)
{
    if (!proof->runs)
        return;
    (void)pthread_mutex_lock(&proof->lock);
    proof->stops = true;
    (void)pthread_cond_broadcast(&proof->stopping);
    (void)pthread_mutex_unlock(&proof->lock);
    dbk_store_wake(proof->store);
    (void)pthread_join(proof->thread, NULL);
    proof->runs = false;
}

static int set_origin(struct dbk_proof *proof, const char *name, struct dbk_error *err)
{
    char id[DBK_UUID_TEXT_SIZE];
    dbk_uuid_format(dbk_store_book_id(proof->store), id);
    int size = snprintf(proof->origin, sizeof(proof->origin), "daybook/%s%s%s",
                        name == NULL ? "" : name, name == NULL ? "" : "/", id);
    return size > 0 && (size_t)size < sizeof(proof->origin)
               ? DBK_OK
               : dbk_error_set(err, DBK_ELIMIT, "the book's name is too long for an origin");
}

int dbk_proof_open(const struct dbk_proof_options *options, struct dbk_proof **proof_out,
                   struct dbk_error *err)
{
    struct dbk_proof *proof = dbk_alloc_zero(1, sizeof(*proof));
    if (proof == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", options->folder);
    pthread_condattr_t clock;
    proof->os = options->os;
    proof->store = options->store;
    proof->writer = options->writer;
    proof->interval_us = options->interval_us == 0 ? INTERVAL_US : options->interval_us;
    /* The first one is due at once. */
    proof->signed_us = proof->os->monotonic_us(proof->os) - proof->interval_us;
    proof->opened_position = dbk_log_synced_position(dbk_store_log(options->store));
    (void)pthread_mutex_init(&proof->lock, NULL);
    (void)pthread_condattr_init(&clock);
    (void)pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&proof->stopping, &clock);
    (void)pthread_condattr_destroy(&clock);
    dbk_buf_init(&proof->newest, DBK_CHECKPOINTS_SIZE_MAX);
    proof->folder = path_in(options->folder, "proof");
    proof->key_path = path_in(options->folder, "proof.key");
    int rc = proof->folder == NULL || proof->key_path == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", options->folder)
                 : set_origin(proof, options->name, err);
    dbk_tree_init(&proof->tree, proof->os, proof->folder, "", proof->writer);
    if (rc == DBK_OK)
        rc = dbk_checkpoints_init(&proof->checkpoints, proof->os, proof->folder, err);
    if (rc == DBK_OK && proof->writer && proof->interval_us > 0)
        rc = start(proof, err);
    if (rc < 0) {
        dbk_proof_free(proof);
        return rc;
    }
    *proof_out = proof;
    return DBK_OK;
}

/* What this process appended, and what is already in the tree, is signed before it ends. */
static void finish(struct dbk_proof *proof)
{
    int64_t end_us = proof->os->monotonic_us(proof->os) + CLOSE_US;
    if (!proof->loaded &&
        dbk_log_synced_position(dbk_store_log(proof->store)) == proof->opened_position)
        return;
    if (catch_up(proof, end_us, NULL) == DBK_OK)
        dbk_ignore(sign_now(proof, NULL));
}

void dbk_proof_free(struct dbk_proof *proof)
{
    if (proof == NULL)
        return;
    stop(proof);
    (void)pthread_mutex_lock(&proof->lock);
    if (proof->writer && proof->checkpoints.path != NULL)
        finish(proof);
    dbk_proof_unload(proof);
    (void)pthread_mutex_unlock(&proof->lock);
    dbk_checkpoints_release(&proof->checkpoints);
    dbk_buf_release(&proof->newest);
    OPENSSL_cleanse(&proof->key, sizeof(proof->key));
    (void)pthread_mutex_destroy(&proof->lock);
    (void)pthread_cond_destroy(&proof->stopping);
    dbk_free(proof->folder);
    dbk_free(proof->key_path);
    dbk_free(proof);
}

int dbk_proof_settle(struct dbk_proof *proof, struct dbk_error *err)
{
    (void)pthread_mutex_lock(&proof->lock);
    int rc = catch_up(proof, INT64_MAX, err);
    (void)pthread_mutex_unlock(&proof->lock);
    return rc;
}

void dbk_proof_status(struct dbk_proof *proof, struct dbk_proof_status *status_out)
{
    (void)pthread_mutex_lock(&proof->lock);
    *status_out = (struct dbk_proof_status){
        .size = proof->tree.size, .checkpoint = proof->newest_size, .failure = proof->failure};
    (void)pthread_mutex_unlock(&proof->lock);
}

/* Under the lock: what is on the disk for who reads, all that is synced and signed for who
   writes. */
static int refresh(struct dbk_proof *proof, bool everything, struct dbk_error *err)
{
    if (!proof->writer)
        dbk_proof_unload(proof);
    if (!proof->writer || !everything) {
        struct dbk_error failure = {0};
        int rc = dbk_proof_load(proof, &failure);
        if (rc < 0 && err != NULL)
            *err = failure;
        return note_failure(proof, rc, &failure);
    }
    int rc = catch_up(proof, INT64_MAX, err);
    return rc < 0 ? rc : sign_now(proof, err);
}

int dbk_proof_key(struct dbk_proof *proof, struct dbk_buf *text_out, struct dbk_error *err)
{
    (void)pthread_mutex_lock(&proof->lock);
    int rc = refresh(proof, false, err);
    if (rc == DBK_OK)
        rc = need_key(proof, err);
    if (rc == DBK_OK)
        dbk_key_format(&proof->key, text_out);
    (void)pthread_mutex_unlock(&proof->lock);
    return rc == DBK_OK && text_out->rc < 0
               ? dbk_error_set(err, text_out->rc, "out of memory writing a key")
               : rc;
}

static int no_checkpoint(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOTFOUND,
                         "nothing was signed so far: the book is empty, or nobody has written it "
                         "since");
}

int dbk_proof_sign_text(struct dbk_proof *proof, struct dbk_slice text, struct dbk_buf *note_out,
                        struct dbk_error *err)
{
    dbk_assert(text.size > 0 && text.data[text.size - 1] == '\n');
    (void)pthread_mutex_lock(&proof->lock);
    dbk_assert(!dbk_slice_starts_with(text, dbk_slice_of(proof->origin)));
    int rc = refresh(proof, false, err);
    if (rc == DBK_OK)
        rc = need_key(proof, err);
    if (rc == DBK_OK) {
        size_t begin = note_out->size;
        dbk_buf_append(note_out, text);
        rc = dbk_note_sign(&proof->key, begin, note_out, err);
    }
    (void)pthread_mutex_unlock(&proof->lock);
    return rc;
}

int dbk_proof_checkpoint(struct dbk_proof *proof, struct dbk_buf *note_out, uint64_t *size_out,
                         struct dbk_error *err)
{
    (void)pthread_mutex_lock(&proof->lock);
    int rc = refresh(proof, true, err);
    if (rc == DBK_OK && proof->newest_size == 0)
        rc = no_checkpoint(err);
    if (rc == DBK_OK) {
        dbk_buf_append(note_out, dbk_buf_slice(&proof->newest));
        *size_out = proof->newest_size;
    }
    (void)pthread_mutex_unlock(&proof->lock);
    return rc == DBK_OK && note_out->rc < 0
               ? dbk_error_set(err, note_out->rc, "out of memory writing a checkpoint")
               : rc;
}

/* Under the lock: makes sure that there is a checkpoint of at least a size. */
int dbk_proof_reach(struct dbk_proof *proof, uint64_t size, struct dbk_error *err)
{
    int rc = refresh(proof, false, err);
    if (rc == DBK_OK && proof->writer && proof->newest_size < size)
        rc = refresh(proof, true, err);
    return rc == DBK_OK && proof->newest_size == 0 ? no_checkpoint(err) : rc;
}
