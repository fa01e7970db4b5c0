/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proof -- that the book was not rewritten: a Merkle tree over its events, and signed checkpoints.
 *
 * The leaves are the events' (log/record.h) in order of position: leaf i is position i + 1. In a
 * process that writes, a thread of its own follows the log, never in the way of appends, and signs
 * a checkpoint every few seconds while there is something new, sooner when a segment is sealed, and
 * when asked. Only what is synced is signed. The folder `proof` of the data directory holds the
 * tree's full tiles (proof/tree.h) and the checkpoints; the key stands beside it, in `proof.key`.
 *
 * Opening and recovery: the tree is loaded at the size of the newest checkpoint, and its root
 * compared. When it differs, or tiles are missing, the tree is made again from the log; if its root
 * is the signed one, the tiles were damaged and are replaced. If not, the log was changed: that is
 * named, nothing is signed any more, and nothing on the disk is touched.
 *
 *     load -> follow <-> sign        any failure: what is in memory is dropped, and loaded again
 *       `-> tampered                 for good, until the book is opened again
 *
 * A process that only reads answers from the newest checkpoint of the one that writes.
 *
 * Threads: all functions from any thread.
 * Source:  docs/proof.md, docs/format/proof.md; RFC 6962, C2SP tlog-tiles, tlog-checkpoint.
 */
#ifndef DBK_PROOF_PROOF_H
#define DBK_PROOF_PROOF_H

#include "base/memory.h"
#include "os/os.h"
#include "proof/merkle.h"
#include "store/store.h"

struct dbk_proof;

struct dbk_proof_options {
    struct dbk_os *os;
    struct dbk_store *store; /* kept; freed after the proof */
    const char *folder;      /* the data directory */
    const char *name;        /* the book's, for the origin; NULL: none */
    bool writer;             /* the store is one */
    /* Between checkpoints; 0: 5 seconds; negative: there is no thread, they come when asked and at
       the end. */
    int64_t interval_us;
};

/* Looks at nothing yet. DBK_ENOMEM */
int dbk_proof_open(const struct dbk_proof_options *options, struct dbk_proof **proof_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* A writer follows and signs what was appended since it was opened, for at most two seconds. NULL
   is fine. */
void dbk_proof_free(struct dbk_proof *proof);

/*
 * What the functions below have in common: DBK_ECORRUPT, the log is not the one that was signed, or
 * something in the folder is damaged; DBK_ENOTFOUND, nothing was signed so far; DBK_EDENIED, a key
 * or a file cannot be read; DBK_EIO, DBK_EFULL, DBK_ENOMEM.
 */

/* The public key's text. A writer makes a key at its first use. */
int dbk_proof_key(struct dbk_proof *proof, struct dbk_buf *text_out,
                  struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Appends the newest checkpoint to a buffer. A writer first signs one that covers all that is
 * synced.
 */
int dbk_proof_checkpoint(struct dbk_proof *proof, struct dbk_buf *note_out, uint64_t *size_out,
                         struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Appends a text, which ends with a newline, as a note that the book's key has signed. Its first
 * line must not be the book's origin: that is what makes a checkpoint.
 */
int dbk_proof_sign_text(struct dbk_proof *proof, struct dbk_slice text, struct dbk_buf *note_out,
                        struct dbk_error *err) DBK_MUST_CHECK;

/* Everything that shows that an event is in the tree of a checkpoint. */
struct dbk_proof_inclusion {
    uint64_t position;
    uint64_t size; /* of the tree; the leaf's index is position - 1 */
    struct dbk_hash leaf;
    struct dbk_hash root;
    struct dbk_merkle_path path;
    struct dbk_buf checkpoint; /* the note of that size; empty when none is kept */
    struct dbk_buf extra;      /* the leaf's input, and the input of its content digest */
};
void dbk_proof_inclusion_init(struct dbk_proof_inclusion *inclusion);
void dbk_proof_inclusion_release(struct dbk_proof_inclusion *inclusion);
/*
 * size  of the tree; 0: of the newest checkpoint
 *
 * DBK_EINVAL  there is no such event, or the tree of that size does not have it
 */
int dbk_proof_inclusion(struct dbk_proof *proof, uint64_t position, uint64_t size,
                        struct dbk_proof_inclusion *inclusion_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* The same as text that others' tools read, too: C2SP tlog-proof. */
void dbk_proof_put_inclusion(struct dbk_buf *out, const struct dbk_proof_inclusion *inclusion);

struct dbk_proof_consistency {
    uint64_t from;
    uint64_t to;
    struct dbk_hash from_root;
    struct dbk_hash to_root;
    struct dbk_merkle_path path;
};
/* That the tree of size `from` is how the one of size `to` (0: the newest checkpoint's) began.
   DBK_EINVAL: from is 0 or past to, or to past the newest checkpoint. */
int dbk_proof_consistency(struct dbk_proof *proof, uint64_t from, uint64_t to,
                          struct dbk_proof_consistency *consistency_out,
                          struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_proof_status {
    uint64_t size;            /* leaves in the tree */
    uint64_t checkpoint;      /* size of the newest checkpoint; 0: none */
    struct dbk_error failure; /* why it does not go on; code DBK_OK: it does */
};
void dbk_proof_status(struct dbk_proof *proof, struct dbk_proof_status *status_out);

/* Waits until the tree has all that is synced: benchmarks stop their clocks here. In a writer. */
int dbk_proof_settle(struct dbk_proof *proof, struct dbk_error *err) DBK_MUST_CHECK;

/* What verifying found wrong. */
struct dbk_proof_finding {
    const char *kind;  /* record, tile, checkpoint, key or size */
    const char *file;  /* from the data directory; "" when it is no file's */
    uint64_t offset;   /* in it */
    uint64_t position; /* 0: none in particular */
    const char *what;  /* one line */
};
struct dbk_proof_verification {
    const char *kept; /* a checkpoint that was kept elsewhere, its text; NULL: none */
    const char *key;  /* a public key's text; NULL: the book's own */
    /* Told how many of how many events are done; negative ends it with that code. NULL: not told.
     */
    int (*step)(void *context, uint64_t done, uint64_t total);
    void (*found)(void *context, const struct dbk_proof_finding *finding);
    void *context;
};
struct dbk_proof_verified {
    uint64_t events;
    uint64_t removed; /* of them */
    uint64_t tiles;
    uint64_t checkpoints;
    uint64_t checkpoint; /* size of the newest; what is behind is not signed */
    uint64_t findings;
};
/*
 * Verifies every record, leaf, tile and checkpoint, and that the book goes on from the checkpoint
 * that was kept; also beside a writer. Findings are no failure.
 *
 * DBK_EINVAL  the kept checkpoint, or the key, is none
 */
int dbk_proof_verify(struct dbk_proof *proof, const struct dbk_proof_verification *options,
                     struct dbk_proof_verified *verified_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
