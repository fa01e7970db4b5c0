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
 * `commands/<Name>.sql` is one transaction in a service's own database instead, of statements whose
 * :parameters are the body's members:
 *
 *     -- service: posts
 *     -- parameters: author integer, body text, picture text?
 *     -- expect: 1 row, else no-such-user: there is no such user
 *     SELECT 1 FROM users WHERE id = :author;
 *     INSERT INTO posts (id, body) VALUES (:_id, :body);
 *
 * It is done as the service, where that has a connection string of its own, and else as the book's
 * user; `-- service: posts, users` is a transaction over the tables of both, and the book's. With
 * an idempotency key its answer is kept in the same transaction, in that database's table
 * `_daybook_commands`, and given again. A constraint that is violated refuses it.
 *
 * `commands/<Name>.json` is one update of one document in a service's MongoDB database. With a key
 * it is done once there, too, also at a server without transactions: see target/target.h.
 *
 * Threads: from any thread.
 */
#ifndef DBK_COMMAND_COMMAND_H
#define DBK_COMMAND_COMMAND_H

#include "base/diagnostics.h"
#include "capture/capture.h"
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

/* ---- Commands in a service's own database ---- */

enum dbk_command_type {
    DBK_COMMAND_ANY,
    DBK_COMMAND_TEXT,
    DBK_COMMAND_INTEGER,
    DBK_COMMAND_NUMBER,
    DBK_COMMAND_BOOLEAN,
    DBK_COMMAND_JSON, /* an object or array, bound as its text */
};
struct dbk_command_parameter {
    const char *name; /* a member of the body; "_id", "_time", "_key", "_meta": given by Daybook */
    enum dbk_command_type type;
    bool optional; /* it may be missing or null: bound as NULL */
};
enum dbk_command_expect { DBK_ROWS_ANY, DBK_ROWS_EXACTLY, DBK_ROWS_AT_LEAST };
struct dbk_command_statement {
    struct dbk_slice sql; /* with ?1 … ?n; what counts changed rows added */
    unsigned line;        /* of the file */
    const size_t *parameters;
    size_t parameter_count;
    const char *table; /* of MongoDB: the collection; of SQL: NULL */
    bool answers;      /* its rows are the answer's */
    enum dbk_command_expect expect;
    uint64_t rows;       /* that are to be changed or found */
    const char *refusal; /* the code, where it is otherwise */
    const char *text;    /* NULL: rows are counted in the message */
};
/* A table of a service in the same database that the command does not name. */
struct dbk_command_fence {
    const char *table;
    const char *service;
    const char *const *columns; /* that it may read by a contract; none: it is not to use it */
    size_t column_count;
};
struct dbk_service_command {
    const char *name;
    const char *file; /* "commands/CreatePost.sql"; ".json": of documents */
    const struct dbk_capture_service *service;
    const struct dbk_capture_service *const *others; /* whose tables it is over, too */
    size_t other_count;
    const char *address; /* of the connection string that it is done with */
    const struct dbk_command_fence *fences;
    size_t fence_count;
    const struct dbk_command_parameter *parameters;
    size_t parameter_count;
    const struct dbk_command_statement *statements;
    size_t statement_count;
};

/*
 * Reads and checks a file. Faults go to the list, and *command_out is of no use then; what it holds
 * lies in the arena, and services stay the caller's. Tables and columns are the database's to know:
 * they are looked at when the command is first done.
 */
int dbk_service_command_parse(const char *name, const char *file, struct dbk_slice text,
                              const struct dbk_capture_service *services, size_t service_count,
                              struct dbk_arena *arena, struct dbk_diagnostics *faults,
                              struct dbk_service_command *command_out,
                              struct dbk_error *err) DBK_MUST_CHECK;
/* Whether the service's tables are the command's to change. */
bool dbk_command_names(const struct dbk_service_command *command,
                       const struct dbk_capture_service *service);
/* The definition is kept. */
int dbk_commands_add_service(struct dbk_commands *commands,
                             const struct dbk_service_command *definition, struct dbk_os *os,
                             struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Doing ---- */

struct dbk_command {
    struct dbk_slice name;
    struct dbk_slice body;            /* a JSON object */
    struct dbk_slice idempotency_key; /* empty: none */
    struct dbk_slice meta;            /* JSON object that goes into each event's meta; or empty */
    bool dry_run;                     /* decide, answer, append nothing */
    /*
     * Judges the stream that it is about before its state is read, and those of its events before
     * they are appended or answered: a negative answer is the command's. NULL: any stream.
     */
    int (*allow)(void *context, struct dbk_slice stream, struct dbk_error *err);
    void *context;
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
    char refusal[64];    /* on DBK_EREFUSED by the command: its code; else empty */
    const char *service; /* whose database it was done in: no stream, no events; else NULL */
    /* Of that database, at or behind the commit, where it has one ("0/1A2B3C"); else empty. */
    char source_position[64];
    struct dbk_uuid id;   /* then: its `:_id` */
    int64_t committed_us; /* and when it was committed */
};

/*
 * events: the decided events as a JSON array [{"type":…,"data":…}, …], appended to the buffer; of a
 * command in a service's database the rows of its last statement.
 *
 * DBK_ENOTFOUND  no such command (message: did you mean …)
 * DBK_EINVAL     the body is no JSON object; or a parameter is missing, unknown or of another type
 * DBK_EREFUSED   refused; the message is the command's text
 * DBK_ESCRIPT    it failed; message: file:line
 * DBK_ECONNECT   the service's database is not there
 * DBK_EUNKNOWN   it was lost while it committed: repeat the command with its key
 * DBK_ECONFLICT  conflicts to the end of its tries, or a key used before with another body
 * and all that an append answers
 */
int dbk_command_do(struct dbk_commands *commands, const struct dbk_command *command,
                   struct dbk_buf *events, struct dbk_command_result *result_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

/* ---- When ---- */

/* Of the last so many commands that changed something, since these were opened. */
struct dbk_command_moments {
    const char *name;    /* valid until free */
    const char *service; /* in whose database it was done; NULL: it appended the event itself */
    int64_t sent_us;     /* it came */
    int64_t done_us;     /* its transaction was committed, its events were synced */
    char why[256];       /* why none is known; empty where there was none, or one is */
};
/*
 * The command that an event came of: that which appended it, or one in a service's database that
 * the event's meta names as causationid or correlationid. True: it is among the last.
 */
bool dbk_commands_moments(struct dbk_commands *commands, const struct dbk_event *event,
                          struct dbk_command_moments *moments_out);

#endif
