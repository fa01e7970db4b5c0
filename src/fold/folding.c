/* SPDX-License-Identifier: Apache-2.0 */
/* A stream's events are folded, from its newest fitting snapshot on. */
#include "fold/state.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

/* Older snapshots that are looked for when the nearest is not there. */
#define SNAPSHOT_TRIES 64
static int read_state(struct dbk_folding *folding, struct dbk_slice text, struct dbk_error *err)
{
    const struct dbk_fold_functions *functions = &folding->fold->functions;
    return functions->read(functions->context, folding->state, text, err);
}

static int explain(const struct dbk_event *event, int rc, const struct dbk_error *failure,
                   struct dbk_error *err)
{
    return dbk_error_set(err, rc, "%s (%.*s of %.*s, version %" PRIu64 ", position %" PRIu64 ")",
                         failure->message, DBK_SLICE_ARGS(event->type),
                         DBK_SLICE_ARGS(event->stream), event->version, event->position);
}

static bool has_written(const struct dbk_fold *fold, const struct dbk_event *event)
{
    uint16_t version = event->schema_version == 0 ? 1 : event->schema_version;
    for (size_t i = 0; i < fold->written_count; i++) {
        if (fold->written[i].version == version &&
            dbk_slice_equal(fold->written[i].type, event->type))
            return true;
    }
    return false;
}

bool dbk_folding_as_written(const struct dbk_folding *folding)
{
    return folding->fold->written_count > 0 || folding->fold->functions.apply_lazy != NULL;
}

/* An event whose data could not be had is no event that was put in, whatever the function says. */
static int apply_lazy(struct dbk_folding *folding, const struct dbk_event *event,
                      struct dbk_error *err)
{
    const struct dbk_fold_functions *functions = &folding->fold->functions;
    struct dbk_error failure = {0};
    folding->lazy.event = *event;
    folding->lazy.failure.code = DBK_OK;
    int rc = functions->apply_lazy(functions->context, folding->state, &folding->lazy, &failure);
    if (folding->lazy.failure.code != DBK_OK)
        return dbk_error_set(err, folding->lazy.failure.code, "%s", folding->lazy.failure.message);
    return rc < 0 ? explain(event, rc, &failure, err) : DBK_OK;
}

/* Calls the event's function, by its own version or by the newest. */
static int apply(struct dbk_folding *folding, const struct dbk_event *event, struct dbk_error *err)
{
    const struct dbk_fold_functions *functions = &folding->fold->functions;
    struct dbk_error failure;
    if (functions->apply_lazy != NULL)
        return apply_lazy(folding, event, err);
    failure.code = DBK_OK;
    failure.message[0] = 0;
    bool written = has_written(folding->fold, event);
    int rc = written ? functions->apply_written(functions->context, folding->state, event, &failure)
                     : functions->apply(functions->context, folding->state, event, &failure);
    return rc < 0 ? explain(event, rc, &failure, err) : DBK_OK;
}

/* What the cursor has not done to the event, because the fold or the caller wants to see it first.
   0: it is left out. */
static int look_through(struct dbk_folding *folding, struct dbk_event *event, struct dbk_error *err)
{
    struct dbk_store *store = folding->folds->store;
    int rc = folding->raw ? dbk_store_open_event(store, &folding->lazy.lens, event, err) : 1;
    if (rc > 0 && folding->fold->functions.apply_lazy == NULL &&
        (folding->raw || folding->fold->written_count > 0) && !has_written(folding->fold, event))
        rc = dbk_store_upcast_event(store, &folding->lazy.lens, event, err);
    return rc;
}

int dbk_folding_event(struct dbk_folding *folding, const struct dbk_event *event,
                      struct dbk_error *err)
{
    struct dbk_event seen = *event;
    int rc = 0;
    if ((event->flags & DBK_RECORD_REMOVED) == 0)
        rc = look_through(folding, &seen, err);
    if (rc > 0)
        rc = apply(folding, &seen, err);
    if (rc < 0)
        return rc;
    int64_t occurred = event->occurred_us == DBK_TIME_NONE ? event->time_us : event->occurred_us;
    if (occurred > folding->occurred_max_us)
        folding->occurred_max_us = occurred;
    folding->result.version = event->version;
    folding->result.position = event->position;
    folding->result.time_us = event->time_us;
    folding->result.replayed++;
    return DBK_OK;
}

int dbk_folding_write(struct dbk_folding *folding, struct dbk_buf *out, struct dbk_error *err)
{
    const struct dbk_fold_functions *functions = &folding->fold->functions;
    return functions->write(functions->context, folding->state, out, err);
}

static bool fits(const struct dbk_folding *folding, const struct dbk_snapshot *snapshot,
                 int64_t occurred_us)
{
    return memcmp(snapshot->fingerprint, folding->fold->fingerprint, DBK_SHA256_SIZE) == 0 &&
           dbk_uuid_equal(&snapshot->book, dbk_store_book_id(folding->folds->store)) &&
           (occurred_us == 0 || snapshot->occurred_max_us <= occurred_us);
}

/* Begins with the newest fitting snapshot up to a version, or with the initial state. */
int dbk_folding_begin(struct dbk_folding *folding, uint64_t version_max, int64_t occurred_us,
                      struct dbk_error *err)
{
    uint64_t every = folding->fold->every;
    uint64_t version = every == 0 || folding->cut || folding->folds->folder == NULL
                           ? 0
                           : version_max / every * every;
    for (int tries = 0; version > 0 && tries < SNAPSHOT_TRIES; tries++, version -= every) {
        struct dbk_snapshot snapshot;
        if (dbk_snapshot_read(folding->folds->os, folding->folds->folder, folding->stream, version,
                              &folding->bytes, &snapshot) != 1 ||
            !fits(folding, &snapshot, occurred_us))
            continue;
        folding->result = (struct dbk_fold_result){.version = version,
                                                   .position = snapshot.position,
                                                   .time_us = snapshot.time_us,
                                                   .snapshot_version = version};
        folding->occurred_max_us = snapshot.occurred_max_us;
        return read_state(folding, snapshot.state, err);
    }
    folding->occurred_max_us = INT64_MIN;
    return folding->fold->functions.reset(folding->fold->functions.context, folding->state, err);
}

/* Keeps the state that `bytes` holds. One that cannot be kept is done without, and so is one that
   began before something was forgotten. */
static void keep(struct dbk_folding *folding)
{
    struct dbk_folds *folds = folding->folds;
    struct dbk_snapshot snapshot = {.book = *dbk_store_book_id(folds->store),
                                    .version = folding->result.version,
                                    .position = folding->result.position,
                                    .time_us = folding->result.time_us,
                                    .occurred_max_us = folding->occurred_max_us,
                                    .stream = folding->stream,
                                    .state = dbk_buf_slice(&folding->bytes)};
    memcpy(snapshot.fingerprint, folding->fold->fingerprint, DBK_SHA256_SIZE);
    (void)pthread_rwlock_rdlock(&folds->keeping);
    if (folding->forgets == folds->forgets)
        dbk_ignore(dbk_snapshot_write(folds->os, folds->folder, &snapshot, NULL));
    (void)pthread_rwlock_unlock(&folds->keeping);
}

/*
 * Behind each event: where a snapshot is due the state becomes what its JSON reads back as, kept or
 * not. What JSON does not tell apart (5 and 5.0, an empty list that was not marked) would else
 * differ between a reader that begins with the snapshot and one that does not.
 */
int dbk_folding_settle(struct dbk_folding *folding, struct dbk_error *err)
{
    uint64_t every = folding->fold->every;
    if (every == 0 || folding->result.version % every != 0)
        return DBK_OK;
    struct dbk_error failure = {0};
    dbk_buf_reset(&folding->bytes);
    int rc = dbk_folding_write(folding, &folding->bytes, &failure);
    /* No JSON at this version, or too large: nobody has a snapshot of it. */
    if (rc == DBK_ESCRIPT || rc == DBK_ELIMIT || folding->bytes.size > DBK_FOLD_STATE_SIZE_MAX)
        return DBK_OK;
    if (rc < 0)
        return dbk_error_set(err, rc, "%s", failure.message);
    if (folding->folds->keep && !folding->cut && !folding->ahead)
        keep(folding);
    return read_state(folding, dbk_buf_slice(&folding->bytes), err);
}

static int replay(struct dbk_folding *folding, uint64_t version_max, int64_t occurred_us,
                  struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t from = folding->result.version + 1;
    bool whole = true; /* no event was left out, so that the state is one of the stream's own */
    if (version_max < from)
        return DBK_OK;
    int rc = dbk_cursor_open(folding->folds->store,
                             &(struct dbk_filter){.stream = folding->stream,
                                                  .version_min = from,
                                                  .version_max = version_max,
                                                  .as_written = dbk_folding_as_written(folding),
                                                  .hidden = true},
                             &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        int64_t occurred = event.occurred_us == DBK_TIME_NONE ? event.time_us : event.occurred_us;
        rc = DBK_OK;
        if (occurred_us != 0 && occurred > occurred_us) {
            whole = false;
            continue;
        }
        rc = dbk_folding_event(folding, &event, err);
        if (rc == DBK_OK && whole)
            rc = dbk_folding_settle(folding, err);
    }
    dbk_cursor_free(cursor);
    return rc;
}

/* Snapshots are of whole streams. */
static int look_at_rules(struct dbk_folding *folding, struct dbk_error *err)
{
    struct dbk_stream_info info;
    int rc = dbk_store_stream_info(folding->folds->store, folding->stream, &info, err);
    folding->cut = rc == DBK_OK && (info.first > 1 || info.time_min_us > 0);
    return rc;
}

int dbk_folding_start(struct dbk_folds *folds, struct dbk_slice stream, struct dbk_folding *folding,
                      struct dbk_error *err)
{
    *folding =
        (struct dbk_folding){.folds = folds, .stream = stream, .lazy = {.store = folds->store}};
    dbk_buf_init(&folding->bytes, DBK_SNAPSHOT_SIZE_MAX);
    (void)pthread_rwlock_rdlock(&folds->keeping);
    folding->forgets = folds->forgets;
    (void)pthread_rwlock_unlock(&folds->keeping);
    folding->fold = dbk_fold_find(folds, dbk_stream_category(stream));
    if (folding->fold == NULL)
        return dbk_error_set(err, DBK_ENOTFOUND, "there is no fold for the category %.*s",
                             DBK_SLICE_ARGS(dbk_stream_category(stream)));
    int rc = look_at_rules(folding, err);
    if (rc < 0)
        return rc;
    return dbk_fold_take(folds, folding->fold, &folding->state, err);
}

void dbk_folding_finish(struct dbk_folding *folding, bool sound)
{
    if (folding->fold != NULL)
        dbk_fold_give(folding->folds, folding->fold, folding->state, sound);
    dbk_lazy_end(&folding->lazy);
    dbk_buf_release(&folding->bytes);
}

/* The stream's version at a recorded time. */
static int version_at(struct dbk_folds *folds, struct dbk_slice stream, int64_t time_us,
                      uint64_t *version_out, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event = {0};
    uint64_t position = 0;
    int rc = dbk_store_position_at(folds->store, time_us, &position, err);
    *version_out = 0;
    if (rc < 0 || position == 0)
        return rc;
    rc = dbk_cursor_open(folds->store,
                         &(struct dbk_filter){.stream = stream,
                                              .position_max = position,
                                              .raw = true,
                                              .hidden = true,
                                              .backwards = true},
                         &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1)
        *version_out = event.version;
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_fold_state(struct dbk_folds *folds, struct dbk_slice stream, const struct dbk_fold_at *at,
                   struct dbk_buf *state, struct dbk_fold_result *result_out, struct dbk_error *err)
{
    struct dbk_folding folding;
    uint64_t version = 0;
    struct dbk_fold_at when = at == NULL ? (struct dbk_fold_at){0} : *at;
    int rc = dbk_folding_start(folds, stream, &folding, err);
    if (rc == DBK_OK)
        rc = when.time_us != 0 ? version_at(folds, stream, when.time_us, &version, err)
                               : dbk_store_stream_version(folds->store, stream, &version, err);
    if (rc == DBK_OK && when.version != 0 && when.version < version)
        version = when.version;
    if (rc == DBK_OK)
        rc = dbk_folding_begin(&folding, version, when.occurred_us, err);
    if (rc == DBK_OK)
        rc = replay(&folding, version, when.occurred_us, err);
    if (rc == DBK_OK)
        rc = dbk_folding_write(&folding, state, err);
    if (rc == DBK_OK)
        *result_out = folding.result;
    dbk_folding_finish(&folding, rc == DBK_OK);
    return rc;
}

/* The event as whoever asked wants to see it: folds with functions for versions had it as written.
 */
static int give_event(struct dbk_folding *folding, const struct dbk_event *event,
                      struct dbk_slice state, dbk_fold_each_fn each, void *context,
                      struct dbk_error *err)
{
    struct dbk_event seen = *event;
    int rc = folding->raw || !dbk_folding_as_written(folding)
                 ? 1
                 : dbk_store_upcast_event(folding->folds->store, &folding->lazy.lens, &seen, err);
    return rc > 0 ? each(&seen, state, context) : rc;
}

int dbk_fold_log(struct dbk_folds *folds, struct dbk_slice stream,
                 const struct dbk_fold_range *range, dbk_fold_each_fn each, void *context,
                 struct dbk_error *err)
{
    struct dbk_folding folding;
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_buf state;
    dbk_buf_init(&state, DBK_FOLD_STATE_SIZE_MAX);
    int rc = dbk_folding_start(folds, stream, &folding, err);
    uint64_t before = range->version_min == 0 ? 0 : range->version_min - 1;
    if (rc == DBK_OK)
        rc = dbk_folding_begin(&folding, before, 0, err);
    if (rc == DBK_OK)
        rc = replay(&folding, before, 0, err);
    folding.raw = range->raw;
    if (rc == DBK_OK)
        rc = dbk_cursor_open(folds->store,
                             &(struct dbk_filter){.stream = stream,
                                                  .version_min = before + 1,
                                                  .version_max = range->version_max,
                                                  .raw = range->raw,
                                                  .as_written = dbk_folding_as_written(&folding),
                                                  .hidden = true},
                             &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        dbk_buf_reset(&state);
        rc = dbk_folding_event(&folding, &event, err);
        if (rc == DBK_OK)
            rc = dbk_folding_write(&folding, &state, err);
        if (rc == DBK_OK)
            rc = give_event(&folding, &event, dbk_buf_slice(&state), each, context, err);
        if (rc == DBK_OK)
            rc = dbk_folding_settle(&folding, err);
    }
    dbk_cursor_free(cursor);
    dbk_folding_finish(&folding, rc == DBK_OK);
    dbk_buf_release(&state);
    return rc;
}

int dbk_fold_snapshot(struct dbk_folds *folds, struct dbk_slice stream, uint64_t version,
                      struct dbk_error *err)
{
    struct dbk_folding folding;
    struct dbk_snapshot there;
    int rc = dbk_folding_start(folds, stream, &folding, err);
    dbk_assert(folds->keep);
    if (rc == DBK_OK && !folding.cut &&
        !(dbk_snapshot_read(folds->os, folds->folder, stream, version, &folding.bytes, &there) ==
              1 &&
          fits(&folding, &there, 0))) {
        rc = dbk_folding_begin(&folding, version, 0, err);
        if (rc == DBK_OK)
            rc = replay(&folding, version, 0, err);
    }
    dbk_folding_finish(&folding, rc == DBK_OK);
    return rc;
}
