/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decide -- one command's script: from (state, command) to events or a refusal.
 *
 * Threads: a decider belongs to one thread at a time.
 */
#ifndef DBK_COMMAND_DECIDE_H
#define DBK_COMMAND_DECIDE_H

#include "command/command.h"

#define DBK_COMMAND_EVENTS_MAX 10000

struct dbk_decider;

int dbk_decider_open(const char *file_name, struct dbk_slice source,
                     struct dbk_decider **decider_out, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_decider_free(struct dbk_decider *decider);
/* Keeps the command's body for the calls that follow. DBK_EINVAL: it is no JSON object. */
int dbk_decider_begin(struct dbk_decider *decider, struct dbk_slice body,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* The stream the command is about, appended to the buffer. */
int dbk_decider_stream(struct dbk_decider *decider, struct dbk_buf *stream,
                       struct dbk_error *err) DBK_MUST_CHECK;

/* A decided event; texts are in the arena. */
struct dbk_decided {
    struct dbk_slice stream; /* empty: the command's own */
    struct dbk_slice type;
    struct dbk_slice data;
    struct dbk_slice meta; /* a JSON object or empty */
    struct dbk_slice *tags;
    size_t tag_count;
    int64_t occurred_us;
};
struct dbk_decision {
    struct dbk_decided *events;
    size_t count;
    struct dbk_slice refusal; /* its code; empty: not refused */
    struct dbk_slice text;    /* why */
};
/* Decides; what comes of it is in the arena. */
int dbk_decider_decide(struct dbk_decider *decider, struct dbk_slice state, struct dbk_slice stream,
                       uint64_t version, struct dbk_arena *arena, struct dbk_decision *decision_out,
                       struct dbk_error *err) DBK_MUST_CHECK;

#endif
