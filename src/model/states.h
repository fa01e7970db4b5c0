/* SPDX-License-Identifier: Apache-2.0 */
/*
 * states -- folded states of streams at positions that go forwards, kept between events.
 *
 * A stream's state is kept as text until the stream gets its next event; the newest few hundred are
 * also kept folded, so that they go on from there. What is older is folded anew, from its
 * snapshot. Nothing is kept past a forgetting.
 *
 * Threads: one at a time.
 */
#ifndef DBK_MODEL_STATES_H
#define DBK_MODEL_STATES_H

#include "fold/fold.h"

struct dbk_states;

/*
 * Events that a group has accepted and not stored yet (the store's participant): handlers see the
 * states that these will make, too. They are kept by the stream that they concern; one list serves
 * all states that were told of it.
 */
struct dbk_unstored {
    struct dbk_arena arena; /* of their own copies */
    struct dbk_unstored_stream *streams;
    size_t stream_count;
    size_t stream_capacity;
    uint32_t *slots; /* of the streams by hash: their indexes from 1; twice as many, at least */
    size_t slot_count;
    struct dbk_unstored_place *order; /* of all events */
    uint64_t first;                   /* the first one's position, while there is one */
    size_t count;
    size_t capacity;
};
void dbk_unstored_init(struct dbk_unstored *ahead);
void dbk_unstored_release(struct dbk_unstored *ahead);
void dbk_unstored_reset(struct dbk_unstored *ahead);
/* Adds copies. DBK_ENOMEM; then none of them is there. */
int dbk_unstored_add(struct dbk_unstored *ahead, const struct dbk_event *events,
                     size_t count) DBK_MUST_CHECK;
/* Of a stream's name. */
uint64_t dbk_unstored_hash(struct dbk_slice stream);
/* What concerns a stream, valid until something is added; NULL: nothing does. */
const struct dbk_store_ahead *dbk_unstored_find(const struct dbk_unstored *ahead,
                                                struct dbk_slice stream);
/* Takes those from a position on out again. */
void dbk_unstored_cut(struct dbk_unstored *ahead, uint64_t position);

/* store and folds are kept until free. occurred_us: leaves out what occurred later; 0: nothing. */
int dbk_states_open(struct dbk_store *store, struct dbk_folds *folds, int64_t occurred_us,
                    struct dbk_states **states_out, struct dbk_error *err) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_states_free(struct dbk_states *states);

/* ahead is kept; NULL: there are none. */
void dbk_states_set_ahead(struct dbk_states *states, const struct dbk_unstored *ahead);
/* Events from a position on were not stored after all: nothing is kept that has one of them. */
void dbk_states_cut(struct dbk_states *states, uint64_t position);

/* Before a transaction: what was forgotten since the last one is in no state. */
int dbk_states_refresh(struct dbk_states *states, struct dbk_error *err) DBK_MUST_CHECK;
/* 1: something was forgotten, or is just being forgotten, since the last refresh; 0: nothing. */
int dbk_states_stale(const struct dbk_states *states, struct dbk_error *err) DBK_MUST_CHECK;

/* 1: the state as JSON, valid until the next call; 0: the stream had no events then. As
   dbk_fold_walk_to. */
int dbk_states_at(struct dbk_states *states, struct dbk_slice stream, uint64_t position,
                  int64_t time_us, struct dbk_slice *state_out,
                  struct dbk_error *err) DBK_MUST_CHECK;

#endif
