/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine -- what an instance does with what comes: pure memory, without clock, store or threads.
 *
 * Whoever drives it reads the record, gives it one input, and stores what comes of it in one batch:
 * the record's next event and the events to be sent. Calls are begun when that is stored. So what
 * the runner does against the book, a simulation does against a world of its own.
 *
 * Threads: a machine belongs to one thread at a time.
 */
#ifndef DBK_SAGA_MACHINE_H
#define DBK_SAGA_MACHINE_H

#include "saga/record.h"
#include "saga/script.h"

enum dbk_saga_input_kind {
    DBK_SAGA_EVENT,   /* an event of the book */
    DBK_SAGA_OUTCOME, /* a call has one */
    DBK_SAGA_TIME,    /* something is due; or the next of the stash is to be taken */
    DBK_SAGA_LOCK,    /* a lock became free that a step waits for */
    DBK_SAGA_RETRY,
    DBK_SAGA_CANCEL,
};

enum dbk_saga_outcome {
    DBK_SAGA_SUCCEEDED,
    DBK_SAGA_REFUSED, /* for good, and nothing was done */
    DBK_SAGA_AGAIN,   /* it may have been done, or not: try again */
    DBK_SAGA_BROKEN,  /* the book itself is wrong: it is parked */
};

struct dbk_saga_input {
    enum dbk_saga_input_kind kind;
    const struct dbk_event *event;
    const struct dbk_saga_route *route;
    size_t step; /* OUTCOME, LOCK: from 0 */
    uint64_t attempt;
    bool undo;
    enum dbk_saga_outcome outcome;
    struct dbk_slice reply; /* JSON; empty: none */
    struct dbk_slice why;   /* OUTCOME, CANCEL */
};

/* An event to be sent, with what its id derives from. */
struct dbk_saga_send {
    struct dbk_saga_event event;
    size_t step;
    uint64_t ordinal; /* `sends` of the step */
    size_t index;     /* among those of one sending */
    struct dbk_slice key;
};

struct dbk_saga_machine {
    struct dbk_saga_script *script;
    struct dbk_json *json; /* for inputs that are kept as JSON */
    struct dbk_arena *arena;
    int64_t now_us;
    uint64_t position; /* the saga has read the book up to it */
    struct dbk_slice name;
    /* Takes a lock for the instance when it is free, or its own: true. */
    bool (*take_lock)(void *context, struct dbk_slice lock);
    /* An event that was put aside, valid until the next call. 1; 0: it is gone; negative. */
    int (*load)(void *context, uint64_t position, const struct dbk_event **event_out,
                struct dbk_error *err);
    void *context;
    /* What came of it: */
    struct dbk_saga_send *sends;
    size_t send_count;
    size_t send_capacity;
    struct dbk_slice on; /* JSON: what it was */
};

/*
 * 1: the record is another, to be stored; 0: it is as it was; negative: it could not be taken, and
 * the record is of no use: read it again and park it.
 *
 * DBK_ESCRIPT  the saga's file failed, or steps or its size went past a limit
 * DBK_EINVAL   RETRY or CANCEL of what has ended, or RETRY of what is not parked
 */
int dbk_saga_apply(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                   const struct dbk_saga_input *input, struct dbk_error *err) DBK_MUST_CHECK;
/* Parks it because of an input that could not be taken. DBK_ENOMEM */
int dbk_saga_park(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                  const struct dbk_saga_input *input, const struct dbk_error *why,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* A text as the JSON of a slice, in the arena; data is NULL: out of memory. */
struct dbk_slice dbk_saga_input_json(const struct dbk_saga_machine *machine,
                                     const struct dbk_saga_record *record,
                                     const struct dbk_saga_input *input);

#endif
