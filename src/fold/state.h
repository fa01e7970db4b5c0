/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- folds and a folding under way, shared by this room's sources.
 */
#ifndef DBK_FOLD_STATE_H
#define DBK_FOLD_STATE_H

#include <pthread.h>

#include "fold/fold.h"
#include "fold/lua.h"
#include "fold/snapshot.h"

/* States of one fold that are kept. */
#define STATES_MAX 8

/* A function for events of one version, as they were written. */
struct dbk_fold_written {
    struct dbk_slice type;
    uint16_t version;
};

struct dbk_fold {
    char *category;
    struct dbk_fold_functions functions;
    bool script; /* the functions are those of lua.h */
    uint8_t fingerprint[DBK_SHA256_SIZE];
    uint64_t every;
    struct dbk_arena arena;
    struct dbk_slice *names; /* what it has functions for; NULL: unknown */
    size_t name_count;
    struct dbk_fold_written *written; /* those of them that are for one schema version */
    size_t written_count;
    void *free[STATES_MAX];
    size_t free_count;
};

struct dbk_folds {
    struct dbk_store *store;
    const struct dbk_upcasts *upcasts; /* NULL: nothing is upcast */
    struct dbk_os *os;
    char *folder;
    bool keep;
    pthread_mutex_t lock;
    struct dbk_fold **items;
    size_t count;
    pthread_rwlock_t keeping; /* written while snapshots are forgotten */
    uint64_t forgets;
};

struct dbk_folding {
    struct dbk_folds *folds;
    struct dbk_fold *fold;
    void *state;
    struct dbk_slice stream;
    bool raw;             /* events come as they are stored */
    struct dbk_lazy lazy; /* whose lens is for events that do not come through it */
    bool ahead;           /* of events that are not stored yet, no snapshot is kept */
    bool cut;             /* the stream's rules leave events out: the state changes with them */
    uint64_t forgets;     /* of the folds, when it began */
    struct dbk_fold_result result;
    int64_t occurred_max_us;
    struct dbk_buf bytes; /* a snapshot's file, or a state as JSON */
};

/* ---- fold.c ---- */

/* NULL: there is none. */
struct dbk_fold *dbk_fold_find(struct dbk_folds *folds, struct dbk_slice category);
int dbk_fold_take(struct dbk_folds *folds, struct dbk_fold *fold, void **state_out,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* One that failed is not used again: its functions may have left anything behind. */
void dbk_fold_give(struct dbk_folds *folds, struct dbk_fold *fold, void *state, bool sound);

/* ---- folding.c ---- */

/* stream is kept until the finish, which also follows a failure. */
int dbk_folding_start(struct dbk_folds *folds, struct dbk_slice stream, struct dbk_folding *folding,
                      struct dbk_error *err) DBK_MUST_CHECK;
void dbk_folding_finish(struct dbk_folding *folding, bool sound);
/* Begins with the newest fitting snapshot up to a version, or with the initial state. */
int dbk_folding_begin(struct dbk_folding *folding, uint64_t version_max, int64_t occurred_us,
                      struct dbk_error *err) DBK_MUST_CHECK;
int dbk_folding_event(struct dbk_folding *folding, const struct dbk_event *event,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Whether the fold itself looks through the store's lens, as far as it needs to. */
bool dbk_folding_as_written(const struct dbk_folding *folding);
int dbk_folding_settle(struct dbk_folding *folding, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_folding_write(struct dbk_folding *folding, struct dbk_buf *out,
                      struct dbk_error *err) DBK_MUST_CHECK;

#endif
