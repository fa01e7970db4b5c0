/* SPDX-License-Identifier: Apache-2.0 */
/*
 * script -- a saga's file: what it declares, and its functions.
 *
 * `sagas/<name>.lua` returns a table (saga/saga.h shows one). What it declares is read and checked
 * once; its functions are called with values that go in and come out as JSON, so that nothing but
 * (state, event) can decide.
 *
 * Threads: a script belongs to one thread at a time.
 */
#ifndef DBK_SAGA_SCRIPT_H
#define DBK_SAGA_SCRIPT_H

#include "log/record.h"
#include "script/script.h"

#define DBK_SAGA_TEXT_SIZE_MAX ((size_t)64 << 20)
/* Of an instance's id, a key or a lock, bytes. */
#define DBK_SAGA_ID_SIZE_MAX 200
#define DBK_SAGA_TRIES_DEFAULT 3
#define DBK_SAGA_DELAY_DEFAULT_US INT64_C(1000000)
#define DBK_SAGA_DELAY_MAX_DEFAULT_US INT64_C(60000000)

/* What becomes of an event whose instance has not begun. */
enum dbk_saga_unmatched { DBK_SAGA_IGNORE, DBK_SAGA_PARK, DBK_SAGA_WAIT };

enum dbk_saga_role {
    DBK_SAGA_START,  /* on.<Type>, with starts = true */
    DBK_SAGA_ON,     /* on.<Type> */
    DBK_SAGA_DONE,   /* a step's answer */
    DBK_SAGA_FAILED, /* the same: it was refused, and did nothing */
    DBK_SAGA_UNDONE, /* its compensation's answer */
};

struct dbk_saga_route {
    struct dbk_slice type;
    enum dbk_saga_role role;
    size_t step; /* of the last three */
};

struct dbk_saga_step_definition {
    const char *name;
    int64_t timeout_us;
    unsigned tries;
    int64_t delay_us; /* before the second try; doubles with each, up to: */
    int64_t delay_max_us;
    bool undo; /* false: `none` */
    bool done; /* an event says when it is done; else it is when it was sent */
    bool undone;
    bool lock;
    bool after;
    bool otherwise;
};

struct dbk_saga_definition {
    enum dbk_saga_unmatched unmatched;
    bool from_start; /* it also takes what the book held before it had the saga */
    const struct dbk_saga_step_definition *steps; /* in the order of their names */
    size_t step_count;
    const struct dbk_saga_route *routes; /* each type once */
    size_t route_count;
    const struct dbk_slice *timers; /* names of `timers` */
    size_t timer_count;
};

struct dbk_saga_script;

/*
 * DBK_EINVAL  message: file:line: what is wrong; DBK_ESCRIPT: it failed while it was read
 *
 * name  the file's path, as the user knows it; copied, as the source is
 */
int dbk_saga_script_open(const char *name, struct dbk_slice source,
                         struct dbk_saga_script **script_out, struct dbk_error *err) DBK_MUST_CHECK;
struct dbk_saga_functions;
/* The same of a program's own functions (saga/functions.h), which are kept. */
int dbk_saga_script_open_functions(const char *name, const struct dbk_saga_functions *functions,
                                   struct dbk_saga_script **script_out,
                                   struct dbk_error *err) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_saga_script_free(struct dbk_saga_script *script);
const struct dbk_saga_definition *dbk_saga_script_definition(const struct dbk_saga_script *script);
/* NULL when the saga takes no such type. */
const struct dbk_saga_route *dbk_saga_script_route(const struct dbk_saga_script *script,
                                                   struct dbk_slice type);
/* False: there is none of that name. */
bool dbk_saga_script_step(const struct dbk_saga_script *script, struct dbk_slice name,
                          size_t *step_out);

/* What a function wishes. Texts are in the arena of the call. */
enum dbk_saga_action_kind {
    DBK_SAGA_BEGIN,
    DBK_SAGA_COMPLETE,
    DBK_SAGA_FAIL,
    DBK_SAGA_TIMER,
    DBK_SAGA_STOP,
};
struct dbk_saga_action {
    enum dbk_saga_action_kind kind;
    struct dbk_slice name; /* of the step or timer; why, of a failure */
    size_t step;
    int64_t delay_us;
};
struct dbk_saga_answer {
    struct dbk_slice state; /* JSON */
    struct dbk_saga_action *actions;
    size_t count;
};

enum dbk_saga_function {
    DBK_SAGA_RUN,       /* on.<Type>.run(state, data, event) */
    DBK_SAGA_AFTER,     /* steps.<name>.after(state, reply, event) */
    DBK_SAGA_OTHERWISE, /* steps.<name>.otherwise(state, why) */
    DBK_SAGA_TIMED,     /* timers.<name>(state) */
};
struct dbk_saga_call {
    enum dbk_saga_function function;
    struct dbk_slice name;         /* the type, step or timer */
    struct dbk_slice state;        /* JSON; empty: the initial one */
    const struct dbk_event *event; /* NULL: none */
    struct dbk_slice reply;        /* JSON, of a call's outcome; empty: none */
    struct dbk_slice why;
};
/* DBK_ESCRIPT: it raised an error, went past a limit, or returned nonsense; the message names file
   and line. The script is to be freed then: it may have left anything behind. */
int dbk_saga_script_run(struct dbk_saga_script *script, const struct dbk_saga_call *wish,
                        struct dbk_arena *arena, struct dbk_saga_answer *answer_out,
                        struct dbk_error *err) DBK_MUST_CHECK;

/* `initial`, or {}. DBK_ESCRIPT */
int dbk_saga_script_initial(struct dbk_saga_script *script, struct dbk_arena *arena,
                            struct dbk_slice *state_out, struct dbk_error *err) DBK_MUST_CHECK;

/* The instance an event is of, in the arena; data is NULL: it is of none. DBK_ESCRIPT */
int dbk_saga_script_by(struct dbk_saga_script *script, const struct dbk_saga_route *route,
                       const struct dbk_event *event, struct dbk_arena *arena,
                       struct dbk_slice *id_out, struct dbk_error *err) DBK_MUST_CHECK;
/* A step's key, and its lock (data is NULL: none). DBK_ESCRIPT */
int dbk_saga_script_key(struct dbk_saga_script *script, size_t step, struct dbk_slice state,
                        struct dbk_arena *arena, struct dbk_slice *key_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
int dbk_saga_script_lock(struct dbk_saga_script *script, size_t step, struct dbk_slice state,
                         struct dbk_arena *arena, struct dbk_slice *lock_out,
                         struct dbk_error *err) DBK_MUST_CHECK;

/* What a step, or its compensation, sends: events, or one call. */
struct dbk_saga_event {
    struct dbk_slice stream;
    struct dbk_slice type;
    struct dbk_slice data;
    const struct dbk_slice *tags;
    size_t tag_count;
};
struct dbk_saga_message {
    struct dbk_saga_event *events;
    size_t count;
    /* {"command":NAME,"body":{…}} or {"http":NAME,"method":…,"path":…,"body":…}; empty: events. */
    struct dbk_slice call;
};
struct dbk_saga_sending {
    size_t step;
    bool undo; /* undo(state, key, reason), not send(state, key) */
    struct dbk_slice state;
    struct dbk_slice key;
    struct dbk_slice reason; /* why it is undone */
};
/* DBK_ESCRIPT */
int dbk_saga_script_send(struct dbk_saga_script *script, const struct dbk_saga_sending *sending,
                         struct dbk_arena *arena, struct dbk_saga_message *message_out,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* Data to simulate with: samples.<name>, a value or a function of (state), as JSON in the arena;
   data is NULL: there is none. DBK_ESCRIPT */
int dbk_saga_script_sample(struct dbk_saga_script *script, struct dbk_slice name,
                           struct dbk_slice state, struct dbk_arena *arena,
                           struct dbk_slice *sample_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
