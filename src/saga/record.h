/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record -- where an instance of a saga stands, as its newest event in the book tells it.
 *
 * Each event of an instance's stream holds all of it, so that the newest one is enough to go on
 * from; docs/format/sagas.md names the members. Beside what it holds, each says what it came of
 * (`on`) and which event of the book the saga had read by then (`read`).
 *
 * Threads: a record belongs to one thread at a time.
 */
#ifndef DBK_SAGA_RECORD_H
#define DBK_SAGA_RECORD_H

#include "base/memory.h"
#include "json/json.h"

#define DBK_SAGA_STEPS_MAX 1000
#define DBK_SAGA_TIMERS_MAX 1000
#define DBK_SAGA_STASH_MAX 1000

enum dbk_saga_status {
    DBK_SAGA_WAITING, /* it has not begun */
    DBK_SAGA_RUNNING,
    DBK_SAGA_COMPENSATING,
    DBK_SAGA_COMPLETED,
    DBK_SAGA_COMPENSATED,
    DBK_SAGA_DROPPED, /* it was cancelled before it began */
};

/*
 *     WAITS ──> SENT ──> DONE ──> UNDOING ──> UNDONE
 *       │       ^  │ ├─> UNKNOWN ──^  ^ │ └─> KEPT (given up)
 *       │       │  v │                │ v
 *       │      PAUSED└─> FAILED   UNDO_PAUSED
 *       └─> SKIPPED                          DONE, UNKNOWN ──> KEPT (`none`)
 */
enum dbk_saga_phase {
    DBK_SAGA_WAITS,  /* for its lock, until due */
    DBK_SAGA_SENT,   /* until due, 0: until its call has an outcome */
    DBK_SAGA_PAUSED, /* until due: then it is sent again */
    DBK_SAGA_STEP_DONE,
    DBK_SAGA_STEP_FAILED,  /* refused: it did nothing */
    DBK_SAGA_STEP_UNKNOWN, /* it may have done something */
    DBK_SAGA_SKIPPED,      /* it was never sent */
    DBK_SAGA_UNDOING,      /* as SENT */
    DBK_SAGA_UNDO_PAUSED,  /* as PAUSED */
    DBK_SAGA_STEP_UNDONE,
    DBK_SAGA_KEPT, /* what it did stays */
};
#define DBK_SAGA_PHASES 11

struct dbk_saga_step {
    struct dbk_slice name;
    enum dbk_saga_phase phase;
    uint64_t attempt; /* of sending, or of undoing; from 1 */
    uint64_t sends;   /* ever: ids of what it sends derive from it */
    int64_t due_us;   /* 0: nothing is due */
    uint64_t since;   /* WAITS: the log's position then; who waits longest is next */
    struct dbk_slice key;
    struct dbk_slice lock;  /* empty: none */
    struct dbk_slice call;  /* JSON, of a call under way; empty: none */
    struct dbk_slice error; /* why it failed last; empty: it did not */
};

struct dbk_saga_timer {
    struct dbk_slice name;
    int64_t due_us;
};

struct dbk_saga_record {
    enum dbk_saga_status status;
    uint64_t read;           /* the saga has read the book's events up to this position */
    struct dbk_slice state;  /* JSON */
    struct dbk_slice reason; /* why it compensates; empty: it does not */
    bool complete;           /* completes when its steps have ended */
    struct dbk_saga_step *steps;
    size_t step_count;
    struct dbk_saga_timer *timers;
    size_t timer_count;
    /* Parked: nothing goes on until someone retries or cancels. */
    struct dbk_slice fault;       /* why; empty: it is not parked */
    struct dbk_slice fault_input; /* JSON: what could not be taken; empty: the step below */
    uint64_t fault_step;          /* from 1; whose compensation failed; 0: none */
    struct dbk_slice *stash;      /* JSON: what came meanwhile, in order */
    size_t stash_count;
};

bool dbk_saga_is_open(const struct dbk_saga_record *record);
bool dbk_saga_is_parked(const struct dbk_saga_record *record);
const char *dbk_saga_status_name(enum dbk_saga_status status);
const char *dbk_saga_phase_name(enum dbk_saga_phase phase);
/* The first moment at which something is due; INT64_MAX: nothing is. Parked ones have none. */
int64_t dbk_saga_due_us(const struct dbk_saga_record *record);

/* Room for one more; NULL: out of memory, or past its maximum. */
struct dbk_saga_step *dbk_saga_add_step(struct dbk_saga_record *record, struct dbk_arena *arena);
struct dbk_saga_timer *dbk_saga_add_timer(struct dbk_saga_record *record, struct dbk_arena *arena);
/* First: before all others. DBK_ELIMIT, DBK_ENOMEM */
int dbk_saga_add_stash(struct dbk_saga_record *record, struct dbk_slice input, bool first,
                       struct dbk_arena *arena, struct dbk_error *err) DBK_MUST_CHECK;

/* Writes the event's data: on is the JSON of what it came of. */
void dbk_saga_record_write(const struct dbk_saga_record *record, struct dbk_slice on,
                           struct dbk_buf *out);
/* Reads it; texts lie in the arena. DBK_ECORRUPT: it is none; DBK_ENOMEM */
int dbk_saga_record_read(struct dbk_json *json, struct dbk_slice text, struct dbk_arena *arena,
                         struct dbk_saga_record *record_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
