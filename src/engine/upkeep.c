/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots are taken behind the appends: never on their path, and not by the first reader. */
#include "engine/state.h"

#define IDLE_US 1000000

/* Reads what was appended; a stream that passed a multiple of its fold's `every` is due. */
static void keep_up(struct dbk_engine *engine, struct dbk_cursor *cursor)
{
    struct dbk_event event;
    while (dbk_cursor_next(cursor, &event, NULL) > 0) {
        uint64_t every = dbk_folds_every(engine->folds, dbk_stream_category(event.stream));
        if (every != 0 && event.version % every == 0)
            dbk_ignore(dbk_fold_snapshot(engine->folds, event.stream, event.version, NULL));
    }
}

static void *run(void *context)
{
    struct dbk_engine *engine = context;
    struct dbk_cursor *cursor = NULL;
    int rc = dbk_cursor_open(
        engine->store, &(struct dbk_filter){.position_min = engine->upkeep_from + 1, .raw = true},
        &cursor, NULL);
    while (rc >= 0) {
        uint64_t wakes = dbk_store_wakes(engine->store);
        bool ends = engine->upkeep_ends;
        keep_up(engine, cursor);
        if (ends)
            break;
        rc = dbk_store_wait(engine->store, wakes, dbk_cursor_position(cursor), IDLE_US, NULL);
        if (rc >= 0)
            rc = dbk_cursor_extend(cursor, NULL);
    }
    dbk_cursor_free(cursor);
    return NULL;
}

int dbk_upkeep_start(struct dbk_engine *engine, struct dbk_error *err)
{
    engine->upkeep_from = dbk_store_last_position(engine->store);
    int failure = pthread_create(&engine->upkeep, NULL, run, engine);
    if (failure != 0)
        return dbk_error_set_errno(err, failure, "cannot start the thread for snapshots");
    engine->upkeep_runs = true;
    return DBK_OK;
}

void dbk_upkeep_stop(struct dbk_engine *engine)
{
    if (!engine->upkeep_runs)
        return;
    engine->upkeep_ends = true;
    dbk_store_wake(engine->store);
    (void)pthread_join(engine->upkeep, NULL);
    engine->upkeep_runs = false;
}
