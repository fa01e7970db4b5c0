/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- an open proof, shared by its sources.
 *
 * Threads: lock guards all that is not fixed. It is held while some thousand events are followed,
 *          while signing, and while a proof is made.
 */
#ifndef DBK_PROOF_STATE_H
#define DBK_PROOF_STATE_H

#include <pthread.h>

#include "log/log.h"
#include "proof/checkpoints.h"
#include "proof/note.h"
#include "proof/proof.h"
#include "proof/tree.h"

struct dbk_proof {
    struct dbk_os *os;
    struct dbk_store *store;
    char *folder;   /* data/proof */
    char *key_path; /* data/proof.key */
    char origin[DBK_KEY_NAME_SIZE_MAX + 1];
    bool writer;
    int64_t interval_us;
    uint64_t opened_position; /* what was synced when it was opened */

    pthread_mutex_t lock;
    bool loaded;
    struct dbk_tree tree;
    struct dbk_key key;
    bool has_key;
    struct dbk_checkpoints checkpoints;
    struct dbk_buf newest; /* the newest note */
    uint64_t newest_size;  /* 0: none was signed */
    struct dbk_hash newest_root;
    uint32_t segments;         /* when that was signed */
    int64_t signed_us;         /* by the monotonic clock */
    struct dbk_error failure;  /* of the last attempt */
    struct dbk_error tampered; /* code DBK_OK: it is not */

    pthread_t thread;
    bool runs;
    bool stops;
    pthread_cond_t stopping;
};

/* All under the lock. */

/* Reads the key, if there is one that may be read. */
int dbk_proof_look(struct dbk_proof *proof, struct dbk_error *err) DBK_MUST_CHECK;
/* Reads key and checkpoints, and makes the tree that of the newest. */
int dbk_proof_load(struct dbk_proof *proof, struct dbk_error *err) DBK_MUST_CHECK;
/* The same, with tiles that are made again from the log. */
int dbk_proof_load_again(struct dbk_proof *proof, struct dbk_error *err) DBK_MUST_CHECK;
/* Forgets all that load made. */
void dbk_proof_unload(struct dbk_proof *proof);
/* Follows the log by some thousand events; 1: there is more, 0: all that is synced is there. */
int dbk_proof_follow(struct dbk_proof *proof, struct dbk_error *err) DBK_MUST_CHECK;
/* Signs the tree as it is, if that is new. */
int dbk_proof_sign(struct dbk_proof *proof, struct dbk_error *err) DBK_MUST_CHECK;

/* Makes sure that there is a checkpoint, in a writer one of at least a size. */
int dbk_proof_reach(struct dbk_proof *proof, uint64_t size, struct dbk_error *err) DBK_MUST_CHECK;

/* Leaves of the events from a position on, while positions are at most `last` and there is room. */
int dbk_proof_leaves(struct dbk_store *store, uint64_t first, uint64_t last,
                     struct dbk_hash *leaves_out, size_t room, size_t *count_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

#endif
