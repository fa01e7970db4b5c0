/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command -- wishes to change something, decided by a pure function of (state, command).
 *
 * `commands/<Name>.lua` returns a table:
 *
 *     return {
 *         stream = function(command) return "account-" .. command.account end,
 *         decide = function(state, command, stream)   -- stream.name, stream.version
 *             if state.balance < command.amount then
 *                 return refuse("balance-short", "the balance is " .. state.balance)
 *             end
 *             return event("Withdrawn", { amount = command.amount })   -- or a list of them
 *         end,
 *     }
 *
 * `event(type, data [, options])` makes an event of the command's stream; options: stream, tags,
 * occurred, meta. `refuse(code, text)` refuses. The events are appended at the version the state
 * was read at; on a conflict it is decided again, at most DBK_COMMAND_TRIES times.
 *
 * With an idempotency key the events' ids derive from (book, command, key, ordinal): a repeated
 * key answers as the first time, also when both come at once, and a repeated key with another body
 * is DBK_ECONFLICT (the first event's meta keeps the body's hash as `commandhash`, and the name as
 * `command`). Nothing is stored of a refusal: such a key is decided anew. Meta of the request
 * (correlationid, causationid, traceparent) goes into every event, and wins over the event's own.
 *
 * Threads: from any thread.
 */
#ifndef DBK_COMMAND_COMMAND_H
#define DBK_COMMAND_COMMAND_H

#include "fold/fold.h"

#define DBK_COMMAND_TRIES 10

struct dbk_commands;

/* append: the engine's pipeline (checks, participants). */
int dbk_commands_open(struct dbk_store *store, struct dbk_folds *folds, dbk_append_fn append,
                      void *context, struct dbk_commands **commands_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
void dbk_commands_free(struct dbk_commands *commands);
/* DBK_EINVAL, DBK_ESCRIPT  message: file:line: what is wrong */
int dbk_commands_add(struct dbk_commands *commands, const char *command_name, const char *file_name,
                     struct dbk_slice source, struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_command {
    struct dbk_slice name;
    struct dbk_slice body;            /* a JSON object */
    struct dbk_slice idempotency_key; /* empty: none */
    struct dbk_slice meta;            /* JSON object that goes into each event's meta; or empty */
    bool dry_run;                     /* decide, answer, append nothing */
};

struct dbk_command_result {
    char stream[DBK_STREAM_SIZE_MAX + 1];
    uint64_t version;        /* of the stream afterwards */
    uint64_t first_position; /* 0 when no event came of it */
    uint64_t last_position;
    size_t event_count;
    bool known; /* answered from an earlier run of the same key */
    int tries;
    struct dbk_append_warnings warnings;
    char refusal[64]; /* on DBK_EREFUSED by the command: its code; else empty */
};

/*
 * events: the decided events as a JSON array [{"type":…,"data":…}, …], appended to the buffer.
 *
 * DBK_ENOTFOUND  no such command (message: did you mean …)
 * DBK_EINVAL     the body is no JSON object
 * DBK_EREFUSED   refused; the message is the command's text
 * DBK_ESCRIPT    it failed; message: file:line
 * DBK_ECONFLICT  conflicts to the end of its tries, or a key used before with another body
 * and all that an append answers
 */
int dbk_command_do(struct dbk_commands *commands, const struct dbk_command *command,
                   struct dbk_buf *events, struct dbk_command_result *result_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

#endif
