/* SPDX-License-Identifier: Apache-2.0 */
/*
 * saga -- what crosses services: steps, each with its way back.
 *
 * `sagas/<name>.lua` returns a table. An event begins an instance; functions of (state, event)
 * answer with the new state, the steps to begin and the timers to set. A step sends events into
 * other streams, does a command, or makes an HTTP call. When one fails, what was done is undone in
 * reverse order.
 *
 *     local by = function(data) return data.order end
 *     return {
 *         unmatched = "ignore",        -- or "park", "wait": events of no instance that has begun
 *         on = {
 *             OrderPlaced = { by = by, starts = true, run = function(state, data)
 *                 return data, { step("reserve") }
 *             end },
 *         },
 *         steps = {
 *             reserve = {
 *                 send = function(state, key)
 *                     return event("StockRequested", { order = state.order },
 *                                  { stream = "stock-" .. state.sku })
 *                 end,
 *                 done = { StockReserved = by }, failed = { StockRefused = by },
 *                 undo = function(state, key)
 *                     return command("ReleaseStock", { order = state.order })
 *                 end,
 *                 timeout = "30 s", retry = { tries = 5, delay = "1 s", max = "1 min" },
 *                 key = function(state) return state.order end,
 *                 after = function(state, data) return state, { complete() } end,
 *             },
 *         },
 *     }
 *
 * Exactly once: an instance's next record, the events it sends and the position that the saga has
 * read are one batch of the book, at the version that the instance was read at. Ids of sent events
 * derive from (book, saga, instance, step, sending). Calls begin when that is stored, carry an
 * idempotency key that is the same at each try, and are made again after a crash.
 *
 * Records are events of `$saga.<name>-<instance>`, and `$sagas-<name>` notes now and then what is
 * open (docs/format/sagas.md). A saga runs in a thread of its own.
 *
 * Threads: all functions from any thread.
 * Source:  Garcia-Molina and Salem, Sagas (1987); DESIGN sections 3 and 9.
 */
#ifndef DBK_SAGA_SAGA_H
#define DBK_SAGA_SAGA_H

#include "command/command.h"
#include "saga/record.h"
#include "saga/script.h"

#define DBK_SAGA_CATEGORY "$saga."
#define DBK_SAGA_NOTES "$sagas-"

/* Where http(NAME, …) goes: book.yaml's `calls:`. */
struct dbk_saga_target {
    const char *name;
    const char *url; /* "https://payments.example:8443/v1", without a '/' at its end */
};

struct dbk_sagas_options {
    struct dbk_store *store;
    struct dbk_os *os;
    struct dbk_commands *commands;
    dbk_append_fn append; /* the engine's pipeline */
    void *context;
    size_t batch_count_max;
    const struct dbk_saga_target *targets; /* kept */
    size_t target_count;
    bool writer;
};

struct dbk_sagas;

int dbk_sagas_open(const struct dbk_sagas_options *options, struct dbk_sagas **sagas_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Waits for calls under way. NULL is fine. */
void dbk_sagas_free(struct dbk_sagas *sagas);
/* Names are copied. In a writer a saga that the book did not have begins here: at the book's end,
   or its start where it says so. DBK_EINVAL, DBK_ESCRIPT  message: file:line: what is wrong */
int dbk_sagas_add(struct dbk_sagas *sagas, const char *name, const char *file,
                  struct dbk_slice source, struct dbk_error *err) DBK_MUST_CHECK;
struct dbk_saga_functions;
/* The same of a program's own functions, which are kept; it runs at once. Not while other threads
   use these. DBK_EEXISTS: there is one of that name; DBK_EINVAL: this is no writer */
int dbk_sagas_add_functions(struct dbk_sagas *sagas, const char *name,
                            const struct dbk_saga_functions *functions,
                            struct dbk_error *err) DBK_MUST_CHECK;
/* Lets them run. */
int dbk_sagas_start(struct dbk_sagas *sagas, struct dbk_error *err) DBK_MUST_CHECK;

size_t dbk_sagas_count(const struct dbk_sagas *sagas);
/* DBK_ENOTFOUND: did you mean … */
int dbk_sagas_find(const struct dbk_sagas *sagas, const char *name, size_t *index_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_saga_totals {
    const char *name; /* valid until free */
    uint64_t position;
    uint64_t open; /* all that have not ended, parked ones too */
    uint64_t parked;
    uint64_t completed;
    uint64_t compensated;
    uint64_t dropped;
    uint64_t calls; /* under way or waiting for it */
    bool runs;
    char trouble[DBK_ERROR_MESSAGE_SIZE]; /* why nothing goes on; empty: it does */
};
int dbk_sagas_totals(struct dbk_sagas *sagas, size_t index, struct dbk_saga_totals *totals_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* An instance: its newest event, valid for the call. */
typedef int (*dbk_saga_each_fn)(struct dbk_slice id, const struct dbk_event *event,
                                const struct dbk_saga_record *record, void *context);
/* Open ones, in the order of their ids; or the newest `limit` that have ended, newest first. */
int dbk_sagas_list(struct dbk_sagas *sagas, size_t index, bool ended, uint64_t limit,
                   dbk_saga_each_fn each, void *context, struct dbk_error *err) DBK_MUST_CHECK;
/* All events of an instance, oldest first. DBK_ENOTFOUND */
int dbk_sagas_show(struct dbk_sagas *sagas, size_t index, struct dbk_slice id,
                   dbk_saga_each_fn each, void *context, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Tries a parked instance again, from what it is parked for. record_out: where it stands then, in
 * the arena. DBK_ENOTFOUND; DBK_EINVAL: it is not parked; DBK_ESCRIPT: it failed again, and stays
 * parked with the new reason; as the append.
 */
int dbk_sagas_retry(struct dbk_sagas *sagas, size_t index, struct dbk_slice id,
                    struct dbk_arena *arena, struct dbk_saga_record *record_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Undoes what an instance has done, in reverse order; of one that is stuck undoing a step, gives
 * that step up and goes on with those before it. As dbk_sagas_retry; DBK_EINVAL: it has ended.
 */
int dbk_sagas_cancel(struct dbk_sagas *sagas, size_t index, struct dbk_slice id,
                     struct dbk_slice why, struct dbk_arena *arena,
                     struct dbk_saga_record *record_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
