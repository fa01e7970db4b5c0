/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine -- an open book: everything above joined into the append and read pipelines.
 *
 * Threads: all functions from any thread.
 */
#ifndef DBK_ENGINE_ENGINE_H
#define DBK_ENGINE_ENGINE_H

#include "book/book.h"
#include "command/command.h"
#include "forget/forget.h"
#include "group/group.h"
#include "migrate/migrate.h"
#include "model/as_of.h"
#include "proof/proof.h"
#include "saga/saga.h"
#include "schema/upcaster.h"
#include "vault/vault.h"

struct dbk_engine;

/* Past so many bytes a request's text is refused. */
#define DBK_ENGINE_TEXT_SIZE_MAX ((size_t)64 << 20)

enum dbk_engine_mode {
    DBK_ENGINE_WRITE,         /* hold the book: append, post models */
    DBK_ENGINE_READ,          /* beside whoever holds it */
    DBK_ENGINE_WRITE_OR_READ, /* hold it when it is free, else read beside */
};

struct dbk_engine_options {
    struct dbk_os *os;
    const char *folder;
    const char *data;        /* NULL: as book.yaml says */
    const char *environment; /* NULL: none */
    const char *holder;      /* for the lock: "daybook serve" */
    enum dbk_engine_mode mode;
    bool schedule; /* run the views' schedules and sagas, and capture services (serve) */
    const struct dbk_upcast_function *upcasts; /* a program's own; see schema/upcaster.h */
    size_t upcast_count;
    /* Told how far an open is that has to make the index; negative ends it. NULL: not told. */
    int (*step)(void *context, uint64_t done, uint64_t total);
    void *context;
};

/* Opens a book. diagnostics gets its faults (DBK_EBOOK). In a writing process models follow the
   log at once. */
int dbk_engine_open(const struct dbk_engine_options *options, struct dbk_diagnostics *diagnostics,
                    struct dbk_engine **engine_out, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_engine_free(struct dbk_engine *engine);

bool dbk_engine_is_writer(const struct dbk_engine *engine);
const struct dbk_book *dbk_engine_book(const struct dbk_engine *engine);
struct dbk_os *dbk_engine_os(const struct dbk_engine *engine);
struct dbk_store *dbk_engine_store(struct dbk_engine *engine);
/* NULL where no event has a subject. */
struct dbk_vault *dbk_engine_vault(struct dbk_engine *engine);
struct dbk_proof *dbk_engine_proof(struct dbk_engine *engine);
struct dbk_groups *dbk_engine_groups(struct dbk_engine *engine);
struct dbk_folds *dbk_engine_folds(struct dbk_engine *engine);
struct dbk_commands *dbk_engine_commands(struct dbk_engine *engine);
struct dbk_models *dbk_engine_models(struct dbk_engine *engine);
struct dbk_views *dbk_engine_views(struct dbk_engine *engine);
struct dbk_forget *dbk_engine_forget(struct dbk_engine *engine);
struct dbk_captures *dbk_engine_captures(struct dbk_engine *engine);
struct dbk_sagas *dbk_engine_sagas(struct dbk_engine *engine);
struct dbk_saga_functions;
/* A program's own saga, which runs at once. As dbk_sagas_add_functions. */
int dbk_engine_add_saga(struct dbk_engine *engine, const char *name,
                        const struct dbk_saga_functions *functions,
                        struct dbk_error *err) DBK_MUST_CHECK;

/* DBK_OK in a process that holds the book; else DBK_EBUSY, and the message names who does, or
   DBK_EDENIED: it was opened for reading. */
int dbk_engine_check_writer(const struct dbk_engine *engine, struct dbk_error *err) DBK_MUST_CHECK;
/* True when an append met a failed sync: the writer takes no more until the book is reopened. */
bool dbk_engine_is_stopped(const struct dbk_engine *engine);
/* The tables and views a model's schema creates, by its index; valid until free. */
const char *const *dbk_engine_model_tables(const struct dbk_engine *engine, size_t model_index,
                                           size_t *count_out);

/* dbk_store_compact, with the ciphertexts of all keys that are erased: they are not set here. */
int dbk_engine_compact(struct dbk_engine *engine, const struct dbk_store_compaction *options,
                       struct dbk_store_compacted *result_out,
                       struct dbk_error *err) DBK_MUST_CHECK;

/* What a request needs of memory, taken from a pool and given back cleared. */
struct dbk_scratch {
    struct dbk_scratch *next; /* the pool's */
    struct dbk_arena arena;
    struct dbk_buf out;
    struct dbk_json *json; /* takes DBK_ENGINE_TEXT_SIZE_MAX bytes */
};
/* NULL when out of memory. */
struct dbk_scratch *dbk_engine_scratch_take(struct dbk_engine *engine) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_engine_scratch_give(struct dbk_engine *engine, struct dbk_scratch *scratch);

/* dbk_folds_add_functions, before other threads use the engine; snapshots are kept from here on. */
int dbk_engine_add_fold(struct dbk_engine *engine, struct dbk_slice category,
                        struct dbk_slice version, uint64_t every,
                        const struct dbk_fold_functions *functions,
                        struct dbk_error *err) DBK_MUST_CHECK;

/* What /metrics counts; any thread adds to them. */
struct dbk_engine_counters {
    _Atomic uint64_t appends;         /* batches stored */
    _Atomic uint64_t appended_events; /* events stored */
    _Atomic uint64_t appends_refused;
    _Atomic uint64_t requests[6]; /* by status class: [2] counts 2xx */
    _Atomic uint64_t tails;       /* open now */
};
struct dbk_engine_counters *dbk_engine_counters(struct dbk_engine *engine);

/*
 * Appends what came from outside: data and meta that claim to be JSON are validated whole. Events
 * of declared types are checked against their schema, as book.yaml says, and get its version (the
 * newest, where they bring none) and tags. As dbk_store_append; DBK_EINVAL names the event's index
 * in the batch, the place in its data, what was expected and what stands there.
 */
int dbk_engine_append(struct dbk_engine *engine, const struct dbk_batch *batch,
                      struct dbk_append_result *result_out, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Copies a book into this one, which must be empty, or have been begun from it: what the script
 * makes of its events goes through this book's pipeline. The migration is driven by dbk_migration_…
 * and ends before both engines.
 */
struct dbk_engine_migration {
    struct dbk_engine *source; /* usually opened for reading, beside who holds it */
    const char *script_name;
    struct dbk_slice script; /* NULL: the one that this book keeps */
    bool changed_script;
    bool look; /* nothing is to be copied: this book may be opened for reading */
    int (*step)(void *context, uint64_t done, uint64_t total); /* NULL: not told */
    void *context;
};
int dbk_engine_open_migration(struct dbk_engine *engine, const struct dbk_engine_migration *options,
                              struct dbk_migration **migration_out,
                              struct dbk_error *err) DBK_MUST_CHECK;

/* The same for JSON that this process has written itself, which is read only to be checked. */
int dbk_engine_append_own_json(struct dbk_engine *engine, const struct dbk_batch *batch,
                               struct dbk_append_result *result_out,
                               struct dbk_error *err) DBK_MUST_CHECK;

/* Ends the book, for good or until dbk_store_reopen: what groups have done is saved before. As
   dbk_store_move. */
int dbk_engine_move(struct dbk_engine *engine, struct dbk_slice place, const struct dbk_uuid *book,
                    struct dbk_append_result *result_out, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * A read of SQL: rows come one by one. Tables of models and views of all the book's databases, and
 * `events`, are in scope; only reading is possible.
 */
struct dbk_rows;
struct dbk_rows_options {
    struct dbk_slice sql;
    const char *database;           /* main database; NULL: every database is attached by name */
    const struct dbk_value *values; /* for ?1 … ?n */
    size_t value_count;
    int64_t limit_us; /* ends it with DBK_ETIMEOUT; 0: none */
    bool named;       /* it is a file of the book: else a server's functions are few */
    /* Every model and view the SQL names must first have got to this position. */
    uint64_t after;
    int64_t timeout_us; /* how long to wait for that; 0: looks only */
    /* As it all was at a time: models are built as of then (progress may be NULL), views computed.
       NULL: now. Not with `database` and `after`. */
    const struct dbk_as_of_time *at;
    uint64_t position_max; /* with `at`: nothing past it; 0: none */
    dbk_progress_fn progress;
    void *context;
};
/* DBK_EINVAL: it does not prepare; DBK_EDENIED: it is no reading; DBK_ENOTFOUND: no such database;
   DBK_ETIMEOUT: `after` was not reached, the message says what is where; DBK_ESTALE: a model whose
   readers are to have nothing older than its max_lag is further behind. */
int dbk_engine_rows(struct dbk_engine *engine, const struct dbk_rows_options *options,
                    struct dbk_rows **rows_out, struct dbk_error *err) DBK_MUST_CHECK;
/* dbk_models_as_of and its list and removal, in the book's own folder: os and folder are set here.
 */
int dbk_engine_as_of(struct dbk_engine *engine, const struct dbk_as_of_options *options,
                     struct dbk_as_of *as_of_out, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_engine_as_of_list(struct dbk_engine *engine, dbk_as_of_each_fn each, void *context,
                          struct dbk_error *err) DBK_MUST_CHECK;
int dbk_engine_as_of_remove(struct dbk_engine *engine, enum dbk_as_of_kind kind, const char *model,
                            const struct dbk_as_of_time *time, uint64_t *count_out,
                            struct dbk_error *err) DBK_MUST_CHECK;

/* A view as it was, in a file of its own beside those of the models that it is made of. */
struct dbk_view_as_of_options {
    const char *view;
    struct dbk_as_of_time time;
    uint64_t position;        /* as of this one instead of a time; 0: by the time */
    const char *file;         /* build this one instead of one in the folder; NULL: none */
    dbk_progress_fn progress; /* may be NULL; false ends the build */
    void *context;
};
struct dbk_view_as_of {
    char file[DBK_AS_OF_PATH_SIZE];
    uint64_t position;        /* everything up to it is in, as far as it belongs to the time */
    int64_t position_time_us; /* when that event was recorded; DBK_TIME_NONE: there is none */
    uint64_t rows;
    bool found; /* the file was whole already */
};
/*
 * Builds it, or finds it.
 *
 * DBK_ENOTFOUND  no such view
 * DBK_EINVAL     the view does not stand on the log; or the log has no such position
 * and as dbk_models_as_of and dbk_engine_rows
 */
int dbk_engine_view_as_of(struct dbk_engine *engine, const struct dbk_view_as_of_options *options,
                          struct dbk_view_as_of *as_of_out, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_rows_column_count(const struct dbk_rows *rows);
const char *dbk_rows_column_name(const struct dbk_rows *rows, int column);
/* 1: a row; 0: the end; negative: an error. Values are valid until the next call. */
int dbk_rows_next(struct dbk_rows *rows, struct dbk_error *err) DBK_MUST_CHECK;
struct dbk_value dbk_rows_value(struct dbk_rows *rows, int column);
/* Appends the current row as a JSON object. What is no text is "\\x" and hexadecimal digits. */
void dbk_rows_put(struct dbk_rows *rows, struct dbk_buf *out);
/* All events up to this position are in what the rows say. */
uint64_t dbk_rows_position(const struct dbk_rows *rows);
/* The age of the oldest event behind that position; negative of what is as of a time. */
int64_t dbk_rows_lag_us(const struct dbk_rows *rows);
/* NULL is fine. */
void dbk_rows_free(struct dbk_rows *rows);

/*
 * A named query with its parameters (a JSON object); `after`: waits until every model it reads has
 * posted up to it (timeout_us). DBK_ENOTFOUND (did you mean), DBK_EINVAL (a parameter missing or
 * unknown, by name), DBK_ETIMEOUT.
 */
int dbk_engine_query(struct dbk_engine *engine, const char *name,
                     const struct dbk_json_node *parameters, uint64_t after, int64_t timeout_us,
                     struct dbk_rows **rows_out, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * A report: a named query on one cut of the book. All that it reads is as of one position, which is
 * the end of a batch and of no source transaction's part; it waits for that, at most timeout_us.
 *
 * cut_out  appended: {"position":P,"time":…,"sources":[…]}: for each category that the models it
 *          reads follow, its last event up to there, and of one that is captured the source's own
 *          position that is in it
 *
 * DBK_EINVAL    it reads a view over several models, of which nobody knows how far each was
 * DBK_ETIMEOUT  what it reads was never as of one position; the message says how far apart
 * and all that dbk_engine_query answers
 */
int dbk_engine_report(struct dbk_engine *engine, const char *name,
                      const struct dbk_json_node *parameters, uint64_t after, int64_t timeout_us,
                      struct dbk_buf *cut_out, struct dbk_rows **rows_out,
                      struct dbk_error *err) DBK_MUST_CHECK;

/*
 * True when all that a query or a view reads, itself or through views, are tables of these models.
 * False where nobody knows: a name that stands anywhere counts as read, and of a query to a server
 * only that knows its tables.
 */
bool dbk_engine_query_reads_only(const struct dbk_engine *engine, struct dbk_slice name,
                                 const char *const *models, size_t count);
bool dbk_engine_view_reads_only(const struct dbk_engine *engine, struct dbk_slice name,
                                const char *const *models, size_t count);

/* What a query (by its index in the book) was asked for since the engine was opened. */
struct dbk_query_work {
    uint64_t calls;
    uint64_t sum_us; /* until its rows were given back */
    uint64_t max_us;
};
void dbk_engine_query_work(const struct dbk_engine *engine, size_t query,
                           struct dbk_query_work *work_out);
/* Whether it reads a model, or a view, itself or through views. */
bool dbk_engine_query_uses_model(const struct dbk_engine *engine, size_t query, size_t model);
bool dbk_engine_query_uses_view(const struct dbk_engine *engine, size_t query, size_t view);
/* The book's last position, and the time, when the engine was opened. */
uint64_t dbk_engine_opened_at(const struct dbk_engine *engine, int64_t *time_us_out);

/* Waits until a model or view (by name) has got to a position; see dbk_models_wait. DBK_ENOTFOUND;
   DBK_ETIMEOUT. */
int dbk_engine_wait(struct dbk_engine *engine, const char *name, uint64_t after, int64_t timeout_us,
                    struct dbk_error *err) DBK_MUST_CHECK;

#endif
