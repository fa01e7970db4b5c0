/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- an open book, shared by this room's sources.
 */
#ifndef DBK_ENGINE_STATE_H
#define DBK_ENGINE_STATE_H

#include <pthread.h>

#include "engine/engine.h"
#include "vault/vault.h"

/* A read of SQL under way. */
struct dbk_rows {
    struct dbk_arena arena;
    struct dbk_connection *connection;
    struct dbk_statement *statement;
    const char **names; /* of the columns, each once */
    uint64_t position;
    uint64_t position_max; /* of the model or view that is furthest */
    int64_t lag_us;        /* negative: it is as of a time, and has none */
    struct dbk_slice sql;
    struct dbk_engine *engine;
    uint64_t *seen;                /* of each model that is read, its position; 0: it is not */
    struct dbk_query_count *asked; /* of a named query; NULL: of none */
    int64_t begun_us;
};

/* Any thread adds to them. */
struct dbk_query_count {
    _Atomic uint64_t calls;
    _Atomic uint64_t sum_us;
    _Atomic uint64_t max_us;
};

struct dbk_engine {
    struct dbk_os *os;
    bool writer;
    struct dbk_error no_writer; /* why not, in a process that would have liked to */
    struct dbk_book *book;
    struct dbk_store *store;
    struct dbk_upcasts *upcasts;
    struct dbk_vault *vault; /* NULL: no event has a subject */
    struct dbk_lens lens;    /* the store's */
    struct dbk_proof *proof;
    struct dbk_groups *groups;
    struct dbk_folds *folds;
    struct dbk_commands *commands;
    struct dbk_models *models;
    struct dbk_views *views;
    struct dbk_forget *forget;
    struct dbk_captures *captures;
    struct dbk_sagas *sagas;
    pthread_rwlock_t appending; /* read by appends; written while a subject is forgotten */
    struct dbk_arena arena;
    const char *as_of;    /* the folder of models as of a time */
    const char ***tables; /* by model */
    size_t *table_counts;
    _Atomic bool stopped;
    struct dbk_engine_counters counters;
    struct dbk_query_count *queries; /* by the book's */
    uint64_t opened_position;
    int64_t opened_us;
    pthread_mutex_t scratch_lock;
    struct dbk_scratch *scratches; /* free ones */
    pthread_t upkeep;
    bool upkeep_runs;
    _Atomic bool upkeep_ends;
    uint64_t upkeep_from; /* snapshots are taken of what is appended behind it */
    pthread_t observer;
    pthread_mutex_t observer_lock;
    pthread_cond_t observer_woken;
    bool observer_runs;
    bool observer_ends;
};

/* Makes a database known to a read, by a name. */
int dbk_rows_attach(struct dbk_rows *rows, const char *name, const char *path,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* True when the SQL names one of a model's tables anywhere. */
bool dbk_rows_names_model(const struct dbk_engine *engine, struct dbk_slice sql, size_t model);
/* A query by name; NULL: there is none (did you mean). */
const struct dbk_book_query *dbk_engine_find_query(struct dbk_engine *engine, const char *name,
                                                   struct dbk_arena *arena, struct dbk_error *err);
/* Opens what a read as of a time names: its models' files, built where they are missing, its views
   as they would have been, and `events` up to then. */
/* Changes with a view's file, and with all that it stands on. */
int dbk_engine_view_fingerprint(const struct dbk_engine *engine,
                                const struct dbk_view_definition *view,
                                char text_out[DBK_VIEW_FINGERPRINT_SIZE],
                                struct dbk_error *err) DBK_MUST_CHECK;
int dbk_rows_open_as_of(struct dbk_engine *engine, const struct dbk_rows_options *options,
                        struct dbk_rows *rows, struct dbk_error *err) DBK_MUST_CHECK;

/* Opens the vault where the book needs one, and sets the store's lens. Before the first cursor. */
int dbk_lens_open(struct dbk_engine *engine, bool schedule, struct dbk_error *err) DBK_MUST_CHECK;
/* Refuses an event that tells a personal value of its own in the stream, a tag or the meta.
   DBK_EINVAL names event and field. */
int dbk_engine_check_personal(const struct dbk_schema *schema, const struct dbk_json_node *root,
                              size_t index, const struct dbk_new_event *event,
                              struct dbk_error *err) DBK_MUST_CHECK;
/* How read models store their letters: what is owed is not told once more by it. */
int dbk_engine_append_letters(void *context, const struct dbk_batch *batch,
                              struct dbk_append_result *result_out, struct dbk_error *err);
/* Opens what forgets; behind everything that it cleans. */
int dbk_engine_open_forget(struct dbk_engine *engine, struct dbk_error *err) DBK_MUST_CHECK;

/* Opens the captures of services, which do not run yet. */
int dbk_engine_open_captures(struct dbk_engine *engine, struct dbk_error *err) DBK_MUST_CHECK;

/* What is captured is told by its database alone: DBK_EDENIED. */
int dbk_engine_check_captured(const struct dbk_engine *engine, size_t index,
                              const struct dbk_new_event *event,
                              struct dbk_error *err) DBK_MUST_CHECK;

/* Opens the book's sagas, which do not run yet. */
int dbk_engine_open_sagas(struct dbk_engine *engine, struct dbk_error *err) DBK_MUST_CHECK;

/* Takes the snapshots that are due behind the appends, in a thread of its own. */
int dbk_upkeep_start(struct dbk_engine *engine, struct dbk_error *err) DBK_MUST_CHECK;
/* Ends when it has got to the log's end. */
void dbk_upkeep_stop(struct dbk_engine *engine);

/* Notes when services' databases last did each statement, in a thread of its own. */
int dbk_observer_start(struct dbk_engine *engine, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_observer_stop(struct dbk_engine *engine);

#endif
