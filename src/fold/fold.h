/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fold -- state from events, at any version or time, with snapshots.
 *
 * `folds/<category>.lua` returns a table:
 *
 *     return {
 *         initial = { balance = 0, status = "none" },
 *         snapshot = { every = 1000 },
 *         on = {
 *             Deposited = function(state, data, event)
 *                 state.balance = state.balance + data.amount
 *             end,                              -- returns nothing: state was changed in place;
 *             AccountClosed = function(state)   -- or returns the new state
 *                 return { status = "closed" }
 *             end,
 *         },
 *     }
 *
 * `event` holds stream, type, version, position, time, occurred, id, meta. A type without a
 * function leaves the state as it is. Functions get events in the newest version of their schema;
 * one named ["Deposited.v1"] gets those that were written in version 1, as they were written.
 *
 * A fold may also be a program's own functions, in C: the walk
 * over snapshots and events is the same. A fold's fingerprint is the SHA-256 of its source (or
 * version), of how the types it names are upcast (in C: all types), and of Daybook's fold version;
 * a snapshot carries it and does not fit another.
 *
 * At every multiple of `every` the state becomes what its JSON reads back as, so that it is the
 * same with a snapshot as without.
 *
 * Snapshots are files in <data>/snapshots, written beside and renamed, checksummed, dropped freely:
 * a missing, damaged or unfitting one is as good as none. Every `every` versions one is kept, by
 * dbk_fold_snapshot behind the appends and by reads that replay past one that is missing.
 *
 * Threads: a folds object from any thread (it keeps a pool of states).
 * Source:  DESIGN section 3.
 */
#ifndef DBK_FOLD_FOLD_H
#define DBK_FOLD_FOLD_H

#include "schema/upcaster.h"
#include "script/script.h"
#include "store/store.h"

struct dbk_folds;

/*
 * store   kept until free; NULL: only to check folds
 * folder  the data directory's "snapshots"; created with the first one; NULL: no snapshots
 * keep    snapshots are taken; else they are only read
 */
int dbk_folds_open(struct dbk_store *store, struct dbk_os *os, const char *folder, bool keep,
                   struct dbk_folds **folds_out, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_folds_free(struct dbk_folds *folds);
/* How events are upcast, before any fold is added; kept until free. */
void dbk_folds_set_upcasts(struct dbk_folds *folds, const struct dbk_upcasts *upcasts);

/*
 * Adds the fold of a category. name is the file's path for messages. Checks its shape: `on` is a
 * table of functions, `initial` is writable as JSON, `snapshot.every` is a positive integer; no
 * other keys.
 *
 * DBK_EINVAL, DBK_ESCRIPT  message: file:line: what is wrong
 */
int dbk_folds_add(struct dbk_folds *folds, struct dbk_slice category, const char *name,
                  struct dbk_slice source, struct dbk_error *err) DBK_MUST_CHECK;
/*
 * A fold that is no script: what a program does to a state of its own. Any thread calls them, with
 * one state from one thread at a time. Negative: a code, and err says why.
 */
struct dbk_fold_functions {
    void *context;
    /* Makes a state, with whatever in it. */
    int (*create)(void *context, void **state_out, struct dbk_error *err);
    void (*destroy)(void *context, void *state);
    /* It becomes the initial one. */
    int (*reset)(void *context, void *state, struct dbk_error *err);
    /* Puts an event into it, whose slices are valid for the call. */
    int (*apply)(void *context, void *state, const struct dbk_event *event, struct dbk_error *err);
    /* The same by the function for the event's own schema version. NULL: there are none. */
    int (*apply_written)(void *context, void *state, const struct dbk_event *event,
                         struct dbk_error *err);
    /* Appends it as JSON. DBK_ESCRIPT: it has none now. */
    int (*write)(void *context, void *state, struct dbk_buf *out, struct dbk_error *err);
    /* It becomes what was written. */
    int (*read)(void *context, void *state, struct dbk_slice text, struct dbk_error *err);
    /* Instead of apply: with an event whose data is asked for. */
    int (*apply_lazy)(void *context, void *state, struct dbk_lazy *event, struct dbk_error *err);
};
/*
 * Adds the fold of a category by its functions, kept until free. version: changes with what they
 * do, so that older snapshots no longer fit; every: versions between two snapshots, 0: none.
 *
 * DBK_EEXISTS  the category has a fold
 */
int dbk_folds_add_functions(struct dbk_folds *folds, struct dbk_slice category,
                            struct dbk_slice version, uint64_t every,
                            const struct dbk_fold_functions *functions,
                            struct dbk_error *err) DBK_MUST_CHECK;
/* True when the category has a fold. */
bool dbk_folds_has(struct dbk_folds *folds, struct dbk_slice category);

/* Versions between two snapshots of a category's streams; 0: none are kept. */
uint64_t dbk_folds_every(struct dbk_folds *folds, struct dbk_slice category);

/* Which state; zero-initialised: the newest. At most one of them. */
struct dbk_fold_at {
    uint64_t version;    /* 0: any */
    int64_t time_us;     /* events recorded up to then; 0: any */
    int64_t occurred_us; /* events that occurred up to then, in version order; 0: any */
};

/* How a state came about, for --explain. */
struct dbk_fold_result {
    uint64_t version;          /* of the last event in it; 0: no stream then */
    uint64_t position;         /* of that event */
    int64_t time_us;           /* of that event */
    uint64_t snapshot_version; /* 0: none was used */
    uint64_t replayed;         /* events folded after it */
};

/*
 * The state as JSON, appended to `state`. A stream that had no events then: DBK_OK, version 0 and
 * the fold's initial state.
 *
 * DBK_ENOTFOUND  no fold for its category
 * DBK_ESCRIPT    the fold failed; the message names stream, version, position, type, file and line
 * DBK_ECORRUPT, DBK_EIO, DBK_ENOMEM
 */
int dbk_fold_state(struct dbk_folds *folds, struct dbk_slice stream, const struct dbk_fold_at *at,
                   struct dbk_buf *state, struct dbk_fold_result *result_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Every event of a stream with the folded state after it (the bank statement). each gets the event
 * and the state as JSON, both valid for the call; a negative answer ends the walk with it.
 */
typedef int (*dbk_fold_each_fn)(const struct dbk_event *event, struct dbk_slice state,
                                void *context);
struct dbk_fold_range {
    uint64_t version_min; /* 0: any; so is the other */
    uint64_t version_max;
    bool raw; /* events are given as they are stored; the states are the same */
};
int dbk_fold_log(struct dbk_folds *folds, struct dbk_slice stream,
                 const struct dbk_fold_range *range, dbk_fold_each_fn each, void *context,
                 struct dbk_error *err) DBK_MUST_CHECK;

/*
 * A stream's state that goes forwards: each event is folded once, however many positions it is
 * asked at, but for what the stream's rules leave out on the way: then what they leave is folded
 * anew. The state is that of dbk_fold_state at the same version, by the rules of then.
 *
 * occurred_us  leaves out events that occurred later; 0: none
 */
struct dbk_fold_walk;
int dbk_fold_walk_open(struct dbk_folds *folds, struct dbk_slice stream, int64_t occurred_us,
                       struct dbk_fold_walk **walk_out, struct dbk_error *err) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_fold_walk_free(struct dbk_fold_walk *walk);
/* Events that come behind the store's last one (dbk_store_stream_info_ahead): until the next call,
   the walk has them, too. Whoever takes some of them back takes the walk for over. */
void dbk_fold_walk_ahead(struct dbk_fold_walk *walk, const struct dbk_store_ahead *ahead);
struct dbk_fold_moment {
    uint64_t version;  /* of the stream's last event up to the position; 0: it had none */
    uint64_t position; /* of that event */
    uint64_t next;     /* position of the stream's event behind it; UINT64_MAX: there is none yet */
    bool ruled;        /* the stream had rules then: the state may change without an event of it */
};
/*
 * The state at a position, appended to `state` as JSON where the stream had events then. A position
 * before the last one that was asked is walked to from the beginning. As dbk_fold_state.
 *
 * time_us  when the event at the position was recorded, for rules that go by age
 */
int dbk_fold_walk_to(struct dbk_fold_walk *walk, uint64_t position, int64_t time_us,
                     struct dbk_buf *state, struct dbk_fold_moment *moment_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* A fold's fingerprint; false: the category has none. */
bool dbk_folds_fingerprint(struct dbk_folds *folds, struct dbk_slice category,
                           uint8_t fingerprint_out[DBK_SHA256_SIZE]);
/* The event types that a category's script has functions for, valid until free; count 0: none, or
   no script. */
const struct dbk_slice *dbk_folds_types(struct dbk_folds *folds, struct dbk_slice category,
                                        size_t *count_out);
/* Changes with every dbk_folds_forget: states that were made before may tell what is forgotten. */
uint64_t dbk_folds_forgets(struct dbk_folds *folds);

/* Takes the snapshot of a stream at a version, when it is not there. */
int dbk_fold_snapshot(struct dbk_folds *folds, struct dbk_slice stream, uint64_t version,
                      struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Drops the snapshots of some streams (NULL: of all), since what their events say has changed:
 * states that are being folded now leave none behind.
 * count_out  files that were removed
 */
int dbk_folds_forget(struct dbk_folds *folds, const struct dbk_slice *streams, size_t count,
                     uint64_t *count_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
