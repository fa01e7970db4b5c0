/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- an open book, shared by this room's sources.
 */
#ifndef DBK_ENGINE_STATE_H
#define DBK_ENGINE_STATE_H

#include <pthread.h>

#include "engine/engine.h"

struct dbk_engine {
    struct dbk_os *os;
    bool writer;
    struct dbk_error no_writer; /* why not, in a process that would have liked to */
    struct dbk_book *book;
    struct dbk_store *store;
    struct dbk_folds *folds;
    struct dbk_commands *commands;
    struct dbk_models *models;
    struct dbk_views *views;
    struct dbk_arena arena;
    const char ***tables; /* by model */
    size_t *table_counts;
    _Atomic bool stopped;
    struct dbk_engine_counters counters;
    pthread_mutex_t scratch_lock;
    struct dbk_scratch *scratches; /* free ones */
    pthread_t upkeep;
    bool upkeep_runs;
    _Atomic bool upkeep_ends;
    uint64_t upkeep_from; /* snapshots are taken of what is appended behind it */
};

/* Takes the snapshots that are due behind the appends, in a thread of its own. */
int dbk_upkeep_start(struct dbk_engine *engine, struct dbk_error *err) DBK_MUST_CHECK;
/* Ends when it has got to the log's end. */
void dbk_upkeep_stop(struct dbk_engine *engine);

#endif
