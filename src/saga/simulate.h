/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simulate -- a saga against a world that fails: each step in turn is refused, gets no answer, gets
 * it twice, late, out of order or only after a crash, and so is each way back.
 *
 * The world is memory, its clock is advanced. It knows keys: it does once what is asked of it
 * twice, and does not do what was undone before. What it has done at the end is held against what
 * the record says. One instance runs at a time, so that all locks are free.
 *
 * Data comes from the file's `samples`: of the event that begins it, of each event that answers a
 * step, and of calls' replies by the step's name (null where there is none). Samples of other types
 * are delivered, each once, when nothing else comes.
 *
 * Threads: any.
 */
#ifndef DBK_SAGA_SIMULATE_H
#define DBK_SAGA_SIMULATE_H

#include "saga/script.h"

enum dbk_saga_end {
    DBK_SAGA_END_COMPLETE,
    DBK_SAGA_END_COMPENSATED,
    DBK_SAGA_END_STUCK,     /* parked, or it waits for what does not come */
    DBK_SAGA_END_HALF_DONE, /* it has ended, and what was done is not what it says */
};

struct dbk_saga_simulated {
    const char *step;  /* that the fault was in; "" without one */
    const char *fault; /* "refused", "undo: no answer once", … */
    enum dbk_saga_end end;
    const char *steps; /* "reserve undone, pay failed" */
    const char *why;
};
typedef int (*dbk_saga_simulated_fn)(const struct dbk_saga_simulated *run, void *context);
const char *dbk_saga_end_name(enum dbk_saga_end end);

/* Calls each with every run; texts are valid for the call. DBK_EINVAL: a sample is missing, or of
   another instance; DBK_ESCRIPT, DBK_ENOMEM; or what each answers. */
int dbk_saga_simulate(const char *name, const char *file, struct dbk_slice source,
                      dbk_saga_simulated_fn each, void *context,
                      struct dbk_error *err) DBK_MUST_CHECK;

#endif
