/* SPDX-License-Identifier: Apache-2.0 */
/* A state that goes forwards with the book. */
#include "fold/state.h"

struct dbk_fold_walk {
    struct dbk_folding folding;
    char *stream;
    int64_t occurred_us;
    const struct dbk_store_ahead *ahead; /* borrowed; NULL: none */
    bool begun;
    bool whole;        /* no event was left out */
    uint64_t version;  /* of the last event that was looked at, folded or left out */
    uint64_t position; /* of that event */
    /* What the rules left: nothing before it is in the state, and all behind it. */
    uint64_t first;
    int64_t time_min_us;
    /* Of the first event in the state; 0: there is none. */
    uint64_t oldest;
    int64_t oldest_us;
};

int dbk_fold_walk_open(struct dbk_folds *folds, struct dbk_slice stream, int64_t occurred_us,
                       struct dbk_fold_walk **walk_out, struct dbk_error *err)
{
    struct dbk_fold_walk *walk = dbk_alloc_zero(1, sizeof(*walk));
    if (walk == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory folding");
    walk->occurred_us = occurred_us;
    walk->stream = dbk_copy_text(stream);
    int rc = walk->stream == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory folding")
                                  : dbk_folding_start(folds, dbk_slice(walk->stream, stream.size),
                                                      &walk->folding, err);
    if (rc < 0) {
        dbk_fold_walk_free(walk);
        return rc;
    }
    *walk_out = walk;
    return DBK_OK;
}

void dbk_fold_walk_free(struct dbk_fold_walk *walk)
{
    if (walk == NULL)
        return;
    if (walk->folding.folds != NULL)
        dbk_folding_finish(&walk->folding, walk->begun);
    dbk_free(walk->stream);
    dbk_free(walk);
}

/* Snapshots are of whole streams, and say nothing of a stream's oldest event. */
static void note_rules(struct dbk_fold_walk *walk, const struct dbk_stream_info *info)
{
    walk->first = info->first;
    walk->time_min_us = info->time_min_us;
    walk->folding.cut = walk->folding.cut || info->rules.version > 0;
}

/* From a snapshot, where one fits, or from the initial state. */
static int begin(struct dbk_fold_walk *walk, const struct dbk_stream_info *info,
                 struct dbk_error *err)
{
    walk->begun = false;
    walk->folding.result = (struct dbk_fold_result){0};
    note_rules(walk, info);
    int rc = dbk_folding_begin(&walk->folding, info->version, walk->occurred_us, err);
    walk->begun = rc == DBK_OK;
    walk->whole = true;
    walk->version = walk->folding.result.version;
    walk->position = walk->folding.result.position;
    walk->oldest = walk->version > 0 ? 1 : 0;
    walk->oldest_us = walk->version > 0 ? INT64_MIN : 0;
    return rc;
}

/* True when the state has no event that the rules leave out, and lacks none that they leave. */
static bool stands(const struct dbk_fold_walk *walk, const struct dbk_stream_info *info)
{
    return info->first >= walk->first && info->time_min_us >= walk->time_min_us &&
           (walk->oldest == 0 ||
            (walk->oldest >= info->first &&
             (info->time_min_us == 0 || walk->oldest_us >= info->time_min_us)));
}

static int take(struct dbk_fold_walk *walk, const struct dbk_event *event, struct dbk_error *err)
{
    int64_t occurred = event->occurred_us == DBK_TIME_NONE ? event->time_us : event->occurred_us;
    int rc = DBK_OK;
    walk->version = event->version;
    walk->position = event->position;
    if (event->version < walk->first || event->time_us < walk->time_min_us ||
        (event->flags & DBK_RECORD_REMOVED) != 0)
        return DBK_OK;
    if (walk->oldest == 0) {
        walk->oldest = event->version;
        walk->oldest_us = event->time_us;
    }
    if (walk->occurred_us != 0 && occurred > walk->occurred_us) {
        walk->whole = false;
        return DBK_OK;
    }
    rc = dbk_folding_event(&walk->folding, event, err);
    return rc == DBK_OK && walk->whole ? dbk_folding_settle(&walk->folding, err) : rc;
}

void dbk_fold_walk_ahead(struct dbk_fold_walk *walk, const struct dbk_store_ahead *ahead)
{
    walk->ahead = ahead;
}

/* The first of them that the state has not. */
static size_t first_ahead(const struct dbk_fold_walk *walk)
{
    size_t low = 0;
    size_t high = walk->ahead == NULL ? 0 : walk->ahead->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (walk->ahead->events[middle].version <= walk->version)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* They are as they will be stored. */
static int take_ahead(struct dbk_fold_walk *walk, uint64_t position, uint64_t *next_out,
                      struct dbk_error *err)
{
    int rc = DBK_OK;
    size_t count = walk->ahead == NULL ? 0 : walk->ahead->count;
    for (size_t i = first_ahead(walk); rc == DBK_OK && i < count; i++) {
        const struct dbk_event *event = &walk->ahead->events[i];
        if (event->position > position) {
            *next_out = event->position;
            break;
        }
        walk->folding.raw = true;
        walk->folding.ahead = true;
        rc = take(walk, event, err);
        walk->folding.raw = false;
        walk->folding.ahead = false;
    }
    return rc;
}

static int take_stored(struct dbk_fold_walk *walk, uint64_t position, uint64_t *next_out,
                       struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t head = 0;
    int rc = dbk_store_stream_version(walk->folding.folds->store, walk->folding.stream, &head, err);
    if (rc < 0 || head <= walk->version)
        return rc;
    rc = dbk_cursor_open(walk->folding.folds->store,
                         &(struct dbk_filter){.stream = walk->folding.stream,
                                              .version_min = walk->version + 1,
                                              .as_written = dbk_folding_as_written(&walk->folding),
                                              .removed = true,
                                              .hidden = true},
                         &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        rc = DBK_OK;
        if (event.position > position) {
            *next_out = event.position;
            break;
        }
        rc = take(walk, &event, err);
    }
    dbk_cursor_free(cursor);
    return rc;
}

static int go_on(struct dbk_fold_walk *walk, uint64_t position, uint64_t *next_out,
                 struct dbk_error *err)
{
    *next_out = UINT64_MAX;
    int rc = take_stored(walk, position, next_out, err);
    return rc == DBK_OK && *next_out == UINT64_MAX ? take_ahead(walk, position, next_out, err) : rc;
}

int dbk_fold_walk_to(struct dbk_fold_walk *walk, uint64_t position, int64_t time_us,
                     struct dbk_buf *state, struct dbk_fold_moment *moment_out,
                     struct dbk_error *err)
{
    struct dbk_stream_info info;
    uint64_t next = 0;
    const struct dbk_store_moment moment = {position, time_us, walk->ahead};
    int rc = dbk_store_stream_info_ahead(walk->folding.folds->store, walk->folding.stream, &moment,
                                         &info, err);
    if (rc == DBK_OK && walk->begun && walk->position <= position && stands(walk, &info))
        note_rules(walk, &info);
    else if (rc == DBK_OK)
        rc = begin(walk, &info, err);
    if (rc == DBK_OK)
        rc = go_on(walk, position, &next, err);
    if (rc == DBK_OK && walk->folding.result.version != 0)
        rc = dbk_folding_write(&walk->folding, state, err);
    if (rc < 0) {
        walk->begun = false; /* the state may be anything: it is begun anew */
        return rc;
    }
    *moment_out = (struct dbk_fold_moment){.version = walk->folding.result.version,
                                           .position = walk->position,
                                           .next = next,
                                           .ruled = info.rules.version > 0};
    return DBK_OK;
}
