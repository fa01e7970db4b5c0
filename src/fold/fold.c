/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/fold.h"

#include <inttypes.h>
#include <lua.h>
#include <pthread.h>
#include <stdio.h>

#include "base/assert.h"
#include "fold/instance.h"
#include "fold/snapshot.h"

/* Older snapshots that are looked for when the nearest is not there. */
#define SNAPSHOT_TRIES 64
/* Lua states of one fold that are kept. */
#define INSTANCES_MAX 8

struct fold {
    struct dbk_slice category;
    char *name;
    struct dbk_slice source;
    uint8_t fingerprint[DBK_SHA256_SIZE];
    uint64_t every;
    struct dbk_fold_instance *free;
    size_t free_count;
};

struct dbk_folds {
    struct dbk_store *store;
    struct dbk_os *os;
    char *folder;
    bool keep;
    pthread_mutex_t lock;
    struct fold *items;
    size_t count;
};

int dbk_folds_open(struct dbk_store *store, struct dbk_os *os, const char *folder, bool keep,
                   struct dbk_folds **folds_out, struct dbk_error *err)
{
    struct dbk_folds *folds = dbk_alloc_zero(1, sizeof(*folds));
    if (folds == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening folds");
    folds->store = store;
    folds->os = os;
    folds->keep = keep && folder != NULL;
    (void)pthread_mutex_init(&folds->lock, NULL);
    if (folder != NULL) {
        folds->folder = dbk_copy_text(dbk_slice_of(folder));
        if (folds->folder == NULL) {
            dbk_folds_free(folds);
            return dbk_error_set(err, DBK_ENOMEM, "out of memory opening folds");
        }
    }
    *folds_out = folds;
    return DBK_OK;
}

static void release_fold(struct fold *fold)
{
    for (struct dbk_fold_instance *instance = fold->free, *next; instance != NULL;
         instance = next) {
        next = instance->next;
        dbk_fold_instance_free(instance);
    }
    dbk_free((void *)(uintptr_t)fold->category.data);
    dbk_free((void *)(uintptr_t)fold->source.data);
    dbk_free(fold->name);
}

void dbk_folds_free(struct dbk_folds *folds)
{
    if (folds == NULL)
        return;
    for (size_t i = 0; i < folds->count; i++)
        release_fold(&folds->items[i]);
    dbk_free(folds->items);
    dbk_free(folds->folder);
    (void)pthread_mutex_destroy(&folds->lock);
    dbk_free(folds);
}

static int take(struct dbk_folds *folds, struct fold *fold, struct dbk_fold_instance **instance_out,
                struct dbk_error *err)
{
    (void)pthread_mutex_lock(&folds->lock);
    struct dbk_fold_instance *instance = fold->free;
    if (instance != NULL) {
        fold->free = instance->next;
        fold->free_count--;
    }
    (void)pthread_mutex_unlock(&folds->lock);
    if (instance == NULL)
        return dbk_fold_instance_open(fold->name, fold->source, instance_out, err);
    *instance_out = instance;
    return DBK_OK;
}

/* One that failed is not used again: its script may have left anything behind. */
static void give(struct dbk_folds *folds, struct fold *fold, struct dbk_fold_instance *instance,
                 bool sound)
{
    if (instance == NULL)
        return;
    lua_settop(dbk_script_lua(instance->script), 1);
    (void)pthread_mutex_lock(&folds->lock);
    bool kept = sound && fold->free_count < INSTANCES_MAX;
    if (kept) {
        instance->next = fold->free;
        fold->free = instance;
        fold->free_count++;
    }
    (void)pthread_mutex_unlock(&folds->lock);
    if (!kept)
        dbk_fold_instance_free(instance);
}

static void take_fingerprint(struct fold *fold)
{
    struct dbk_sha256 hash;
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, DBK_SLICE_LITERAL("daybook fold 2\n"));
    dbk_sha256_update(&hash, fold->source);
    dbk_sha256_final(&hash, fold->fingerprint);
}

int dbk_folds_add(struct dbk_folds *folds, struct dbk_slice category, const char *name,
                  struct dbk_slice source, struct dbk_error *err)
{
    struct dbk_fold_instance *instance = NULL;
    struct fold *items = dbk_realloc(folds->items, (folds->count + 1) * sizeof(*items));
    if (items == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", name);
    folds->items = items;
    struct fold *fold = &items[folds->count];
    *fold = (struct fold){0};
    fold->category = dbk_slice(dbk_copy_text(category), category.size);
    fold->source = dbk_slice(dbk_copy_text(source), source.size);
    fold->name = dbk_copy_text(dbk_slice_of(name));
    int rc = DBK_OK;
    if (fold->category.data == NULL || fold->source.data == NULL || fold->name == NULL)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", name);
    if (rc == DBK_OK)
        rc = dbk_fold_instance_open(fold->name, fold->source, &instance, err);
    if (rc == DBK_OK) {
        take_fingerprint(fold);
        rc = dbk_fold_instance_check(instance, &fold->every, err);
    }
    if (rc < 0) {
        dbk_fold_instance_free(instance);
        release_fold(fold);
        return rc;
    }
    fold->free = instance;
    fold->free_count = 1;
    folds->count++;
    return DBK_OK;
}

static struct fold *find_fold(const struct dbk_folds *folds, struct dbk_slice category)
{
    for (size_t i = 0; i < folds->count; i++) {
        if (dbk_slice_equal(folds->items[i].category, category))
            return &folds->items[i];
    }
    return NULL;
}

bool dbk_folds_has(const struct dbk_folds *folds, struct dbk_slice category)
{
    return find_fold(folds, category) != NULL;
}

uint64_t dbk_folds_every(const struct dbk_folds *folds, struct dbk_slice category)
{
    const struct fold *fold = find_fold(folds, category);
    return fold == NULL || !folds->keep ? 0 : fold->every;
}

/* ---- Folding ---- */

struct folding {
    struct dbk_folds *folds;
    struct fold *fold;
    struct dbk_fold_instance *instance;
    struct dbk_slice stream;
    bool cut; /* the stream's rules leave events out: the state changes with them */
    struct dbk_fold_result result;
    int64_t occurred_max_us;
    struct dbk_buf bytes; /* a snapshot's file, or a state as JSON */
};

/* The state lies at stack index 2. */
static int push_state(struct folding *folding, struct dbk_slice text, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_fold_instance *instance = folding->instance;
    int rc = dbk_json_parse(instance->json, text, &root, err);
    return rc < 0 ? rc : dbk_script_push_json(instance->script, root, err);
}

/* A copy of the initial state, by way of JSON: a fold may change what it is given. */
static int push_initial(struct folding *folding, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(folding->instance->script);
    dbk_buf_reset(&folding->bytes);
    (void)lua_getfield(lua, 1, "initial");
    int rc = dbk_script_write_json(folding->instance->script, -1, &folding->bytes, err);
    lua_settop(lua, 1);
    return rc < 0 ? rc : push_state(folding, dbk_buf_slice(&folding->bytes), err);
}

static int explain(const struct dbk_event *event, int rc, const struct dbk_error *failure,
                   struct dbk_error *err)
{
    return dbk_error_set(err, rc, "%s (%.*s of %.*s, version %" PRIu64 ", position %" PRIu64 ")",
                         failure->message, DBK_SLICE_ARGS(event->type),
                         DBK_SLICE_ARGS(event->stream), event->version, event->position);
}

static int fold_event(struct folding *folding, const struct dbk_event *event, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_fold_instance_apply(folding->instance, event, &failure);
    if (rc < 0)
        return explain(event, rc, &failure, err);
    int64_t occurred = event->occurred_us == DBK_TIME_NONE ? event->time_us : event->occurred_us;
    if (occurred > folding->occurred_max_us)
        folding->occurred_max_us = occurred;
    folding->result.version = event->version;
    folding->result.position = event->position;
    folding->result.time_us = event->time_us;
    folding->result.replayed++;
    return DBK_OK;
}

static int write_state(struct folding *folding, struct dbk_buf *out, struct dbk_error *err)
{
    return dbk_script_write_json(folding->instance->script, 2, out, err);
}

static bool fits(const struct folding *folding, const struct dbk_snapshot *snapshot,
                 int64_t occurred_us)
{
    return memcmp(snapshot->fingerprint, folding->fold->fingerprint, DBK_SHA256_SIZE) == 0 &&
           dbk_uuid_equal(&snapshot->book, dbk_store_book_id(folding->folds->store)) &&
           (occurred_us == 0 || snapshot->occurred_max_us <= occurred_us);
}

/* Begins with the newest fitting snapshot up to a version, or with the initial state. */
static int begin(struct folding *folding, uint64_t version_max, int64_t occurred_us,
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
        return push_state(folding, snapshot.state, err);
    }
    folding->occurred_max_us = INT64_MIN;
    return push_initial(folding, err);
}

/* Keeps the state that `bytes` holds. One that cannot be kept is done without. */
static void keep(struct folding *folding)
{
    struct dbk_snapshot snapshot = {.book = *dbk_store_book_id(folding->folds->store),
                                    .version = folding->result.version,
                                    .position = folding->result.position,
                                    .time_us = folding->result.time_us,
                                    .occurred_max_us = folding->occurred_max_us,
                                    .stream = folding->stream,
                                    .state = dbk_buf_slice(&folding->bytes)};
    memcpy(snapshot.fingerprint, folding->fold->fingerprint, DBK_SHA256_SIZE);
    dbk_ignore(dbk_snapshot_write(folding->folds->os, folding->folds->folder, &snapshot, NULL));
}

/*
 * Behind each event: where a snapshot is due the state becomes what its JSON reads back as, kept or
 * not. What JSON does not tell apart (5 and 5.0, an empty list that was not marked) would else
 * differ between a reader that begins with the snapshot and one that does not.
 */
static int settle(struct folding *folding, struct dbk_error *err)
{
    uint64_t every = folding->fold->every;
    if (every == 0 || folding->result.version % every != 0)
        return DBK_OK;
    struct dbk_error failure = {0};
    dbk_buf_reset(&folding->bytes);
    int rc = write_state(folding, &folding->bytes, &failure);
    /* No JSON at this version, or too large: nobody has a snapshot of it. */
    if (rc == DBK_ESCRIPT || rc == DBK_ELIMIT || folding->bytes.size > DBK_FOLD_STATE_SIZE_MAX)
        return DBK_OK;
    if (rc < 0)
        return dbk_error_set(err, rc, "%s", failure.message);
    if (folding->folds->keep && !folding->cut)
        keep(folding);
    lua_settop(dbk_script_lua(folding->instance->script), 1);
    return push_state(folding, dbk_buf_slice(&folding->bytes), err);
}

static int replay(struct folding *folding, uint64_t version_max, int64_t occurred_us,
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
                                                  .hidden = true},
                             &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        int64_t occurred = event.occurred_us == DBK_TIME_NONE ? event.time_us : event.occurred_us;
        rc = DBK_OK;
        if (occurred_us != 0 && occurred > occurred_us) {
            whole = false;
            continue;
        }
        rc = fold_event(folding, &event, err);
        if (rc == DBK_OK && whole)
            rc = settle(folding, err);
    }
    dbk_cursor_free(cursor);
    return rc;
}

/* Snapshots are of whole streams. */
static int look_at_rules(struct folding *folding, struct dbk_error *err)
{
    struct dbk_stream_info info;
    int rc = dbk_store_stream_info(folding->folds->store, folding->stream, &info, err);
    folding->cut = rc == DBK_OK && (info.first > 1 || info.time_min_us > 0);
    return rc;
}

static int start(struct dbk_folds *folds, struct dbk_slice stream, struct folding *folding,
                 struct dbk_error *err)
{
    *folding = (struct folding){.folds = folds, .stream = stream};
    dbk_buf_init(&folding->bytes, DBK_SNAPSHOT_SIZE_MAX);
    folding->fold = find_fold(folds, dbk_stream_category(stream));
    if (folding->fold == NULL)
        return dbk_error_set(err, DBK_ENOTFOUND, "there is no fold for the category %.*s",
                             DBK_SLICE_ARGS(dbk_stream_category(stream)));
    int rc = look_at_rules(folding, err);
    if (rc < 0)
        return rc;
    return take(folds, folding->fold, &folding->instance, err);
}

static void finish(struct folding *folding, bool sound)
{
    if (folding->fold != NULL)
        give(folding->folds, folding->fold, folding->instance, sound);
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
    rc = dbk_cursor_open(
        folds->store,
        &(struct dbk_filter){
            .stream = stream, .position_max = position, .hidden = true, .backwards = true},
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
    struct folding folding;
    uint64_t version = 0;
    struct dbk_fold_at when = at == NULL ? (struct dbk_fold_at){0} : *at;
    int rc = start(folds, stream, &folding, err);
    if (rc == DBK_OK)
        rc = when.time_us != 0 ? version_at(folds, stream, when.time_us, &version, err)
                               : dbk_store_stream_version(folds->store, stream, &version, err);
    if (rc == DBK_OK && when.version != 0 && when.version < version)
        version = when.version;
    if (rc == DBK_OK)
        rc = begin(&folding, version, when.occurred_us, err);
    if (rc == DBK_OK)
        rc = replay(&folding, version, when.occurred_us, err);
    if (rc == DBK_OK)
        rc = write_state(&folding, state, err);
    if (rc == DBK_OK)
        *result_out = folding.result;
    finish(&folding, rc == DBK_OK);
    return rc;
}

int dbk_fold_log(struct dbk_folds *folds, struct dbk_slice stream, uint64_t version_min,
                 uint64_t version_max, dbk_fold_each_fn each, void *context, struct dbk_error *err)
{
    struct folding folding;
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_buf state;
    dbk_buf_init(&state, DBK_FOLD_STATE_SIZE_MAX);
    int rc = start(folds, stream, &folding, err);
    uint64_t before = version_min == 0 ? 0 : version_min - 1;
    if (rc == DBK_OK)
        rc = begin(&folding, before, 0, err);
    if (rc == DBK_OK)
        rc = replay(&folding, before, 0, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_open(folds->store,
                             &(struct dbk_filter){.stream = stream,
                                                  .version_min = before + 1,
                                                  .version_max = version_max,
                                                  .hidden = true},
                             &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        dbk_buf_reset(&state);
        rc = fold_event(&folding, &event, err);
        if (rc == DBK_OK)
            rc = write_state(&folding, &state, err);
        if (rc == DBK_OK)
            rc = each(&event, dbk_buf_slice(&state), context);
        if (rc == DBK_OK)
            rc = settle(&folding, err);
    }
    dbk_cursor_free(cursor);
    finish(&folding, rc == DBK_OK);
    dbk_buf_release(&state);
    return rc;
}

int dbk_fold_snapshot(struct dbk_folds *folds, struct dbk_slice stream, uint64_t version,
                      struct dbk_error *err)
{
    struct folding folding;
    struct dbk_snapshot there;
    int rc = start(folds, stream, &folding, err);
    dbk_assert(folds->keep);
    if (rc == DBK_OK && !folding.cut &&
        !(dbk_snapshot_read(folds->os, folds->folder, stream, version, &folding.bytes, &there) ==
              1 &&
          fits(&folding, &there, 0))) {
        rc = begin(&folding, version, 0, err);
        if (rc == DBK_OK)
            rc = replay(&folding, version, 0, err);
    }
    finish(&folding, rc == DBK_OK);
    return rc;
}

int dbk_folds_drop_snapshots(struct dbk_folds *folds, struct dbk_error *err)
{
    return folds->folder == NULL ? DBK_OK : dbk_snapshot_drop(folds->os, folds->folder, err);
}
