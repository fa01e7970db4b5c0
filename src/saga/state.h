/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- the sagas of an open book, shared by this room's sources.
 *
 * A round takes what there is to take (outcomes of calls, what is due, locks that became free,
 * events of the book, in this order), puts what comes of it into one batch, and appends it. What
 * is in memory then is ahead of the book: when the append fails all of it is read again.
 */
#ifndef DBK_SAGA_STATE_H
#define DBK_SAGA_STATE_H

#include <pthread.h>

#include "saga/instances.h"
#include "saga/machine.h"
#include "saga/saga.h"

#define DBK_SAGA_JSON_SIZE_MAX ((size_t)64 << 20)

/* A call's outcome, on its way to the saga. */
struct dbk_saga_done {
    struct dbk_saga_done *next;
    char *id;
    size_t step;
    uint64_t attempt;
    bool undo;
    enum dbk_saga_outcome outcome;
    char *reply; /* JSON; NULL: none */
    char *why;   /* NULL: none */
};

/* A call to be made. */
struct dbk_saga_job {
    struct dbk_saga_job *next;
    struct dbk_saga *saga;
    bool undo;
    int64_t timeout_us;
    char *key;
    char *call;                 /* JSON */
    struct dbk_saga_done *done; /* what becomes of it: made with it, so that there is room for it */
    struct dbk_uuid cause;      /* the record's event that began it */
};

/* A thread that makes calls, and what it needs for it. */
struct dbk_saga_caller {
    struct dbk_sagas *sagas;
    struct dbk_json *json;
    struct dbk_http_session *http;
    pthread_t thread;
};

struct dbk_saga_grant {
    struct dbk_saga_instance *instance;
    size_t step;
};

/* What one append stores. */
struct dbk_saga_batch {
    struct dbk_arena arena;
    struct dbk_new_event *events;
    size_t count;
    size_t capacity;
    struct dbk_expectation *expectations;
    size_t expectation_count;
    size_t inputs;
    struct dbk_saga_done *taken; /* outcomes, newest first */
    struct dbk_saga_job *jobs;   /* newest first */
    struct dbk_saga_instance **touched;
    size_t touched_count;
};

struct dbk_saga {
    struct dbk_sagas *sagas;
    char *name;
    char *file;
    char *category; /* "$saga.<name>" */
    char *notes;    /* "$sagas-<name>" */
    struct dbk_slice source;
    const struct dbk_saga_functions *functions; /* in place of the source; NULL: none */
    pthread_mutex_t lock;                       /* of all that follows */
    bool loaded;
    bool unnoted; /* the book was empty, and has no note yet: it may be filled by a migration */
    struct dbk_saga_script *script;
    struct dbk_json *json;
    struct dbk_saga_instances instances;
    struct dbk_saga_grant *grants;
    size_t grant_count;
    size_t grant_capacity;
    struct dbk_slice *types; /* the routes' */
    size_t type_count;
    uint64_t read;  /* the book's events up to it are taken */
    uint64_t noted; /* `read` of the newest note */
    uint64_t moved; /* records since then */
    uint64_t own;   /* position of the newest record */
    uint64_t completed;
    uint64_t compensated;
    uint64_t dropped;
    struct dbk_cursor *cursor;         /* the book's events behind `read` */
    struct dbk_cursor *loading;        /* the one of an event that was put aside */
    struct dbk_saga_instance *current; /* whose record is being made */
    struct dbk_saga_batch batch;
    size_t single;          /* so many inputs come one a batch: one of them cannot be stored */
    struct dbk_error blame; /* why the next input is parked instead; rc 0: it is not */
    char trouble[DBK_ERROR_MESSAGE_SIZE];
    /* Outcomes come from the callers' threads. */
    pthread_mutex_t done_lock;
    struct dbk_saga_done *done;
    struct dbk_saga_done **done_end;
    _Atomic uint64_t calls;
    pthread_t thread;
    bool runs;
};

struct dbk_sagas {
    struct dbk_sagas_options options;
    struct dbk_saga **items;
    size_t count;
    _Atomic bool ends;
    /* The callers: */
    pthread_mutex_t job_lock;
    pthread_cond_t job_there;
    struct dbk_saga_job *jobs;
    struct dbk_saga_job **jobs_end;
    struct dbk_saga_caller *callers;
    size_t caller_count;
    _Atomic bool callers_end;
};

/* Opens its script, where none is open. */
int dbk_saga_open_script(struct dbk_saga *saga, struct dbk_error *err) DBK_MUST_CHECK;
int64_t dbk_saga_now_us(const struct dbk_saga *saga);

/* ---- load.c: what the book says; under the lock ---- */

/* Reads what is open, and how far it had read. */
int dbk_saga_load(struct dbk_saga *saga, struct dbk_error *err) DBK_MUST_CHECK;
/* The event of the record that began a call which is under way: of a step, at so many sends. */
int dbk_saga_find_cause(struct dbk_saga *saga, const struct dbk_saga_instance *instance,
                        size_t step, uint64_t sends, struct dbk_uuid *cause_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
void dbk_saga_unload(struct dbk_saga *saga);
/* Notes what is open and how far it has read. */
int dbk_saga_note(struct dbk_saga *saga, struct dbk_error *err) DBK_MUST_CHECK;
/* The book's notes of a saga: 1, or 0 when there are none. */
int dbk_saga_noted(struct dbk_saga *saga, struct dbk_error *err) DBK_MUST_CHECK;
/* The locks that a record holds become its, those that it waits for get an heir. */
int dbk_saga_settle_locks(struct dbk_saga *saga, struct dbk_saga_instance *instance,
                          const struct dbk_saga_record *record) DBK_MUST_CHECK;
/* What an instance that ends held goes to who waited longest. */
int dbk_saga_release_locks(struct dbk_saga *saga, struct dbk_saga_instance *instance,
                           const struct dbk_saga_record *record) DBK_MUST_CHECK;

/* ---- batch.c: one input into the batch, and the batch into the book; under the lock ---- */

int dbk_saga_batch_begin(struct dbk_saga *saga, struct dbk_error *err) DBK_MUST_CHECK;
bool dbk_saga_batch_full(const struct dbk_saga *saga);
/* It is stored as it is, before its inputs would fail together for want of room, again and again;
   and where one alone does, that is the input's fault. */
bool dbk_saga_batch_large(const struct dbk_saga *saga);
/* May park it. park: it is parked for that instead. */
int dbk_saga_take(struct dbk_saga *saga, struct dbk_slice id, const struct dbk_saga_input *input,
                  const struct dbk_error *park, struct dbk_error *err) DBK_MUST_CHECK;
/* Stores it, and begins its calls. DBK_ECONFLICT etc.: nothing is stored, and all is to be loaded
   again. */
int dbk_saga_batch_end(struct dbk_saga *saga, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_saga_batch_drop(struct dbk_saga *saga);

/* ---- runner.c ---- */

int dbk_saga_run(struct dbk_saga *saga, struct dbk_error *err) DBK_MUST_CHECK;
/* Waits until it has ended. */
void dbk_saga_join(struct dbk_saga *saga);

/* ---- calls.c ---- */

int dbk_saga_callers_start(struct dbk_sagas *sagas, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_saga_callers_stop(struct dbk_sagas *sagas);
/* Takes jobs, newest first. */
void dbk_saga_queue(struct dbk_sagas *sagas, struct dbk_saga_job *jobs);
void dbk_saga_job_free(struct dbk_saga_job *job);
void dbk_saga_done_free(struct dbk_saga_done *done);
/* NULL: out of memory. */
struct dbk_saga_job *dbk_saga_job_create(struct dbk_saga *saga,
                                         const struct dbk_saga_instance *instance,
                                         const struct dbk_saga_record *record, size_t step,
                                         const struct dbk_uuid *cause);

#endif
