/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forget -- a person is forgotten: at once in what the log says, then in everything made of it.
 *
 * What happened to a subject stands in the hidden stream `$subjects`, each event with the tag
 * `$subject:<key id>`:
 *
 *     SubjectForgotten   its key is destroyed (or its events are left out): dbk_forget_subject
 *       |                returned when this was durable
 *     SubjectPurged      snapshots, models, views, as-of files and parked events are free of it
 *       |
 *     EpochRotated       copies of its key in older key files are worth nothing (vault)
 *       |
 *     SubjectErased      final, with the certificate
 *
 *     CiphertextRemoved  a compaction took the ciphertexts of all keys forgotten before a position
 *
 * The job goes by these events alone, and each of its steps may be repeated: whatever ends it, the
 * next one goes on. Subjects are purged together, as many as wait.
 *
 * Threads: all functions from any thread.
 * Source:  docs/forgetting.md, docs/format/subjects.md.
 */
#ifndef DBK_FORGET_FORGET_H
#define DBK_FORGET_FORGET_H

#include <pthread.h>

#include "fold/fold.h"
#include "group/group.h"
#include "model/as_of.h"
#include "model/forget.h"
#include "proof/proof.h"
#include "vault/vault.h"
#include "view/view.h"

struct dbk_forget;

/* All kept until free. vault is NULL where no event has a subject: then nobody can be forgotten. */
struct dbk_forget_options {
    struct dbk_os *os;
    struct dbk_store *store;
    struct dbk_vault *vault;
    const struct dbk_schemas *schemas;
    struct dbk_folds *folds;
    struct dbk_groups *groups;
    struct dbk_models *models;
    struct dbk_views *views;
    struct dbk_proof *proof;
    const char *as_of;           /* the folder of models as of a time */
    int64_t horizon_us;          /* how long backups of keys are kept */
    pthread_rwlock_t *appending; /* held for reading while events are sealed and appended */
    bool writer;
};

int dbk_forget_open(const struct dbk_forget_options *options, struct dbk_forget **forget_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Stops the job after the step it is in. NULL is fine. */
void dbk_forget_free(struct dbk_forget *forget);
/* Does what is left to do in a thread, now and whenever a subject is forgotten. */
int dbk_forget_start(struct dbk_forget *forget, struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_forget_request {
    struct dbk_slice subject; /* as events name it */
    enum dbk_forget_mode mode;
};
/*
 * Forgets: when it returns, nobody can read the subject's personal fields any more (or, by
 * tombstone, its events), and that is durable. The rest is the job's.
 *
 * DBK_ENOTFOUND  no event has the subject, or it was forgotten before
 * DBK_ESTOPPED   it is not known whether it is durable: open the book again
 * and as the append
 */
int dbk_forget_subject(struct dbk_forget *forget, const struct dbk_forget_request *request,
                       struct dbk_uuid *key_out, struct dbk_error *err) DBK_MUST_CHECK;

/* How far the job is, for people. */
struct dbk_forget_progress {
    const char *step; /* "read models: orders" */
    uint64_t subjects;
};
typedef bool (*dbk_forget_progress_fn)(void *context, const struct dbk_forget_progress *progress);
struct dbk_forget_run {
    bool now; /* begin a new epoch and take the ciphertexts, without waiting for either's time */
    dbk_forget_progress_fn progress; /* NULL: not told; false ends it, to be gone on with */
    void *context;
};
/*
 * Does all that can be done: purges, and (`now`, or the vault did) what follows a rotation. Waits
 * for another one.
 *
 * DBK_ESTOPPED  progress ended it; or as the step that failed, whose message it is
 */
int dbk_forget_run(struct dbk_forget *forget, const struct dbk_forget_run *run,
                   struct dbk_error *err) DBK_MUST_CHECK;

/* Keys whose ciphertexts may still be in the log, in byte order; end with dbk_free. Compaction is
   given them, and what it did is told with the position up to which it could go. */
int dbk_forget_ciphertexts(struct dbk_forget *forget, struct dbk_uuid **keys_out, size_t *count_out,
                           struct dbk_error *err) DBK_MUST_CHECK;
int dbk_forget_ciphertexts_removed(struct dbk_forget *forget, uint64_t position,
                                   struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_forget_status {
    struct dbk_uuid key;
    enum dbk_forget_mode mode;
    int64_t at_us;           /* when it was forgotten */
    uint64_t position;       /* of SubjectForgotten */
    uint64_t purged;         /* of SubjectPurged; 0: it is under way */
    uint64_t erased;         /* of SubjectErased; 0: not final */
    bool rotated;            /* a new epoch began since */
    bool ciphertext_removed; /* from the log */
    struct dbk_slice what;   /* what was purged: a JSON object; empty: not yet */
};
typedef int (*dbk_forget_each_fn)(const struct dbk_forget_status *status, void *context);
/* All that were forgotten, in the order of it. Slices are valid for the call. */
int dbk_forget_list(struct dbk_forget *forget, dbk_forget_each_fn each, void *context,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* One, by its key. DBK_ENOTFOUND */
int dbk_forget_show(struct dbk_forget *forget, const struct dbk_uuid *key, dbk_forget_each_fn each,
                    void *context, struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_forget_counts {
    uint64_t waiting; /* subjects of which something is left to do */
    uint64_t purged;  /* of them, those that wait for an epoch */
    bool running;
    char step[80];
    struct dbk_error failure; /* why the job does not go on; code DBK_OK: it does */
};
void dbk_forget_counts(struct dbk_forget *forget, struct dbk_forget_counts *counts_out);

/* The signed certificate of a key: a note (docs/format/subjects.md). DBK_ENOTFOUND: there is no
   such key, or it is not final; the message says which. */
int dbk_forget_certificate(struct dbk_forget *forget, const struct dbk_uuid *key,
                           struct dbk_buf *note_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
