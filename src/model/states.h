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

/* store and folds are kept until free. occurred_us: leaves out what occurred later; 0: nothing. */
int dbk_states_open(struct dbk_store *store, struct dbk_folds *folds, int64_t occurred_us,
                    struct dbk_states **states_out, struct dbk_error *err) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_states_free(struct dbk_states *states);

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
