/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/fold.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/assert.h"
#include "fold/lua.h"
#include "fold/snapshot.h"

/* Older snapshots that are looked for when the nearest is not there. */
#define SNAPSHOT_TRIES 64
/* States of one fold that are kept. */
#define STATES_MAX 8

/* A function for events of one version, as they were written. */
struct written {
    struct dbk_slice type;
    uint16_t version;
};

struct fold {
    char *category;
    struct dbk_fold_functions functions;
    bool script; /* the functions are those of lua.h */
    uint8_t fingerprint[DBK_SHA256_SIZE];
    uint64_t every;
    struct dbk_arena arena;
    struct dbk_slice *names; /* what it has functions for; NULL: unknown */
    size_t name_count;
    struct written *written; /* those of them that are for one schema version */
    size_t written_count;
    void *free[STATES_MAX];
    size_t free_count;
};

struct dbk_folds {
    struct dbk_store *store;
    const struct dbk_upcasts *upcasts; /* NULL: nothing is upcast */
    struct dbk_os *os;
    char *folder;
    bool keep;
    pthread_mutex_t lock;
    struct fold **items;
    size_t count;
    pthread_rwlock_t keeping; /* written while snapshots are forgotten */
    uint64_t forgets;
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
    (void)pthread_rwlock_init(&folds->keeping, NULL);
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

void dbk_folds_set_upcasts(struct dbk_folds *folds, const struct dbk_upcasts *upcasts)
{
    folds->upcasts = upcasts;
}

static struct fold *create_fold(const struct dbk_fold_functions *functions, bool script)
{
    struct fold *fold = dbk_alloc_zero(1, sizeof(*fold));
    if (fold == NULL)
        return NULL;
    fold->functions = *functions;
    fold->script = script;
    dbk_arena_init(&fold->arena, DBK_FOLD_STATE_SIZE_MAX);
    return fold;
}

static void free_fold(struct fold *fold)
{
    for (size_t i = 0; i < fold->free_count; i++)
        fold->functions.destroy(fold->functions.context, fold->free[i]);
    if (fold->script)
        dbk_fold_lua_free(&fold->functions);
    dbk_arena_release(&fold->arena);
    dbk_free(fold->category);
    dbk_free(fold);
}

void dbk_folds_free(struct dbk_folds *folds)
{
    if (folds == NULL)
        return;
    for (size_t i = 0; i < folds->count; i++)
        free_fold(folds->items[i]);
    dbk_free(folds->items);
    dbk_free(folds->folder);
    (void)pthread_mutex_destroy(&folds->lock);
    (void)pthread_rwlock_destroy(&folds->keeping);
    dbk_free(folds);
}

static int take(struct dbk_folds *folds, struct fold *fold, void **state_out, struct dbk_error *err)
{
    *state_out = NULL;
    (void)pthread_mutex_lock(&folds->lock);
    if (fold->free_count > 0)
        *state_out = fold->free[--fold->free_count];
    (void)pthread_mutex_unlock(&folds->lock);
    return *state_out != NULL ? DBK_OK
                              : fold->functions.create(fold->functions.context, state_out, err);
}

/* One that failed is not used again: its functions may have left anything behind. */
static void give(struct dbk_folds *folds, struct fold *fold, void *state, bool sound)
{
    if (state == NULL)
        return;
    (void)pthread_mutex_lock(&folds->lock);
    bool kept = sound && fold->free_count < STATES_MAX;
    if (kept)
        fold->free[fold->free_count++] = state;
    (void)pthread_mutex_unlock(&folds->lock);
    if (!kept)
        fold->functions.destroy(fold->functions.context, state);
}

static void hash_upcasts(const struct dbk_upcasts *upcasts, struct dbk_slice type,
                         struct dbk_sha256 *hash)
{
    uint8_t fingerprint[DBK_SHA256_SIZE];
    if (upcasts == NULL || !dbk_upcasts_fingerprint(upcasts, type, fingerprint))
        return;
    dbk_sha256_update(hash, type);
    dbk_sha256_update(hash, dbk_slice(fingerprint, sizeof(fingerprint)));
}

static void take_fingerprint(const struct dbk_folds *folds, struct fold *fold,
                             struct dbk_slice definition)
{
    struct dbk_sha256 hash;
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, fold->script ? DBK_SLICE_LITERAL("daybook fold 2\n")
                                          : DBK_SLICE_LITERAL("daybook functions 1\n"));
    dbk_sha256_update(&hash, definition);
    if (fold->names == NULL)
        hash_upcasts(folds->upcasts, (struct dbk_slice){0}, &hash);
    for (size_t i = 0; i < fold->name_count; i++)
        hash_upcasts(folds->upcasts, fold->names[i], &hash);
    dbk_sha256_final(&hash, fold->fingerprint);
}

/* Names of versions are told from names of types, and those must exist. */
static int take_versions(const struct dbk_folds *folds, struct fold *fold, const char *name,
                         struct dbk_error *err)
{
    fold->written =
        dbk_arena_alloc_zero(&fold->arena, fold->name_count + 1, sizeof(*fold->written));
    if (fold->written == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", name);
    if (folds->upcasts == NULL)
        return DBK_OK;
    const struct dbk_schemas *schemas = dbk_upcasts_schemas(folds->upcasts);
    for (size_t i = 0; i < fold->name_count; i++) {
        struct written *written = &fold->written[fold->written_count];
        if (!dbk_schemas_split(schemas, fold->names[i], &written->type, &written->version))
            continue;
        if (dbk_schemas_find(schemas, written->type, written->version) == NULL)
            return dbk_error_set(err, DBK_EINVAL,
                                 "%s:1: `on` has `%.*s`, and %.*s has versions 1 to %u", name,
                                 DBK_SLICE_ARGS(fold->names[i]), DBK_SLICE_ARGS(written->type),
                                 dbk_schema_version(dbk_schemas_newest(schemas, written->type)));
        fold->names[i] = written->type;
        fold->written_count++;
    }
    return DBK_OK;
}

/* folds->lock is held. */
static struct fold *find_locked(const struct dbk_folds *folds, struct dbk_slice category)
{
    for (size_t i = 0; i < folds->count; i++) {
        if (dbk_slice_equal_text(category, folds->items[i]->category))
            return folds->items[i];
    }
    return NULL;
}

static struct fold *find_fold(struct dbk_folds *folds, struct dbk_slice category)
{
    (void)pthread_mutex_lock(&folds->lock);
    struct fold *fold = find_locked(folds, category);
    (void)pthread_mutex_unlock(&folds->lock);
    return fold;
}

/* Takes the fold over, also when that fails. */
static int add(struct dbk_folds *folds, struct fold *fold, struct dbk_slice category,
               struct dbk_error *err)
{
    int rc = DBK_OK;
    fold->category = dbk_copy_text(category);
    (void)pthread_mutex_lock(&folds->lock);
    struct fold **items = dbk_realloc(folds->items, (folds->count + 1) * sizeof(*items));
    if (items != NULL)
        folds->items = items;
    if (items == NULL || fold->category == NULL)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory adding a fold");
    else if (find_locked(folds, category) != NULL)
        rc = dbk_error_set(err, DBK_EEXISTS, "the category %.*s has a fold already",
                           DBK_SLICE_ARGS(category));
    else
        folds->items[folds->count++] = fold;
    (void)pthread_mutex_unlock(&folds->lock);
    if (rc < 0)
        free_fold(fold);
    return rc;
}

int dbk_folds_add(struct dbk_folds *folds, struct dbk_slice category, const char *name,
                  struct dbk_slice source, struct dbk_error *err)
{
    struct dbk_fold_functions functions;
    int rc = dbk_fold_lua_open(name, source, &functions, err);
    if (rc < 0)
        return rc;
    struct fold *fold = create_fold(&functions, true);
    if (fold == NULL) {
        dbk_fold_lua_free(&functions);
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", name);
    }
    rc = dbk_fold_lua_check(&fold->functions, &fold->arena, &fold->names, &fold->name_count,
                            &fold->every, err);
    if (rc == DBK_OK)
        rc = take_versions(folds, fold, name, err);
    if (rc < 0) {
        free_fold(fold);
        return rc;
    }
    take_fingerprint(folds, fold, source);
    return add(folds, fold, category, err);
}

int dbk_folds_add_functions(struct dbk_folds *folds, struct dbk_slice category,
                            struct dbk_slice version, uint64_t every,
                            const struct dbk_fold_functions *functions, struct dbk_error *err)
{
    struct fold *fold = create_fold(functions, false);
    if (fold == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory adding a fold");
    fold->every = every;
    take_fingerprint(folds, fold, version);
    return add(folds, fold, category, err);
}

bool dbk_folds_has(struct dbk_folds *folds, struct dbk_slice category)
{
    return find_fold(folds, category) != NULL;
}

uint64_t dbk_folds_every(struct dbk_folds *folds, struct dbk_slice category)
{
    const struct fold *fold = find_fold(folds, category);
    return fold == NULL || !folds->keep ? 0 : fold->every;
}

/* ---- Folding ---- */

struct folding {
    struct dbk_folds *folds;
    struct fold *fold;
    void *state;
    struct dbk_slice stream;
    bool raw;         /* events come as they are stored */
    void *lens;       /* of the store's, where events do not come through it */
    bool cut;         /* the stream's rules leave events out: the state changes with them */
    uint64_t forgets; /* of the folds, when it began */
    struct dbk_fold_result result;
    int64_t occurred_max_us;
    struct dbk_buf bytes; /* a snapshot's file, or a state as JSON */
};

static int read_state(struct folding *folding, struct dbk_slice text, struct dbk_error *err)
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

static bool has_written(const struct fold *fold, const struct dbk_event *event)
{
    uint16_t version = event->schema_version == 0 ? 1 : event->schema_version;
    for (size_t i = 0; i < fold->written_count; i++) {
        if (fold->written[i].version == version &&
            dbk_slice_equal(fold->written[i].type, event->type))
            return true;
    }
    return false;
}

/* Calls the event's function, by its own version or by the newest. */
static int apply(struct folding *folding, const struct dbk_event *event, struct dbk_error *err)
{
    const struct dbk_fold_functions *functions = &folding->fold->functions;
    struct dbk_error failure = {0};
    bool written = has_written(folding->fold, event);
    int rc = written ? functions->apply_written(functions->context, folding->state, event, &failure)
                     : functions->apply(functions->context, folding->state, event, &failure);
    return rc < 0 ? explain(event, rc, &failure, err) : DBK_OK;
}

/* What the cursor has not done to the event, because the fold or the caller wants to see it first.
   0: it is left out. */
static int look_through(struct folding *folding, struct dbk_event *event, struct dbk_error *err)
{
    struct dbk_store *store = folding->folds->store;
    int rc = folding->raw ? dbk_store_open_event(store, &folding->lens, event, err) : 1;
    if (rc > 0 && (folding->raw || folding->fold->written_count > 0) &&
        !has_written(folding->fold, event))
        rc = dbk_store_upcast_event(store, &folding->lens, event, err);
    return rc;
}

static int fold_event(struct folding *folding, const struct dbk_event *event, struct dbk_error *err)
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

static int write_state(struct folding *folding, struct dbk_buf *out, struct dbk_error *err)
{
    const struct dbk_fold_functions *functions = &folding->fold->functions;
    return functions->write(functions->context, folding->state, out, err);
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
        return read_state(folding, snapshot.state, err);
    }
    folding->occurred_max_us = INT64_MIN;
    return folding->fold->functions.reset(folding->fold->functions.context, folding->state, err);
}

/* Keeps the state that `bytes` holds. One that cannot be kept is done without, and so is one that
   began before something was forgotten. */
static void keep(struct folding *folding)
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
    return read_state(folding, dbk_buf_slice(&folding->bytes), err);
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
                                                  .as_written = folding->fold->written_count > 0,
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
    (void)pthread_rwlock_rdlock(&folds->keeping);
    folding->forgets = folds->forgets;
    (void)pthread_rwlock_unlock(&folds->keeping);
    folding->fold = find_fold(folds, dbk_stream_category(stream));
    if (folding->fold == NULL)
        return dbk_error_set(err, DBK_ENOTFOUND, "there is no fold for the category %.*s",
                             DBK_SLICE_ARGS(dbk_stream_category(stream)));
    int rc = look_at_rules(folding, err);
    if (rc < 0)
        return rc;
    return take(folds, folding->fold, &folding->state, err);
}

static void finish(struct folding *folding, bool sound)
{
    if (folding->fold != NULL)
        give(folding->folds, folding->fold, folding->state, sound);
    if (folding->folds->store != NULL)
        dbk_store_end_lens(folding->folds->store, &folding->lens);
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

/* The event as whoever asked wants to see it: folds with functions for versions had it as written.
 */
static int give_event(struct folding *folding, const struct dbk_event *event,
                      struct dbk_slice state, dbk_fold_each_fn each, void *context,
                      struct dbk_error *err)
{
    struct dbk_event seen = *event;
    int rc = folding->raw || folding->fold->written_count == 0
                 ? 1
                 : dbk_store_upcast_event(folding->folds->store, &folding->lens, &seen, err);
    return rc > 0 ? each(&seen, state, context) : rc;
}

int dbk_fold_log(struct dbk_folds *folds, struct dbk_slice stream,
                 const struct dbk_fold_range *range, dbk_fold_each_fn each, void *context,
                 struct dbk_error *err)
{
    struct folding folding;
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_buf state;
    dbk_buf_init(&state, DBK_FOLD_STATE_SIZE_MAX);
    int rc = start(folds, stream, &folding, err);
    uint64_t before = range->version_min == 0 ? 0 : range->version_min - 1;
    if (rc == DBK_OK)
        rc = begin(&folding, before, 0, err);
    if (rc == DBK_OK)
        rc = replay(&folding, before, 0, err);
    folding.raw = range->raw;
    if (rc == DBK_OK)
        rc = dbk_cursor_open(folds->store,
                             &(struct dbk_filter){.stream = stream,
                                                  .version_min = before + 1,
                                                  .version_max = range->version_max,
                                                  .raw = range->raw,
                                                  .as_written = folding.fold->written_count > 0,
                                                  .hidden = true},
                             &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        dbk_buf_reset(&state);
        rc = fold_event(&folding, &event, err);
        if (rc == DBK_OK)
            rc = write_state(&folding, &state, err);
        if (rc == DBK_OK)
            rc = give_event(&folding, &event, dbk_buf_slice(&state), each, context, err);
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

int dbk_folds_forget(struct dbk_folds *folds, const struct dbk_slice *streams, size_t count,
                     uint64_t *count_out, struct dbk_error *err)
{
    *count_out = 0;
    if (folds->folder == NULL)
        return DBK_OK;
    (void)pthread_rwlock_wrlock(&folds->keeping);
    folds->forgets++;
    (void)pthread_rwlock_unlock(&folds->keeping);
    return dbk_snapshot_drop(folds->os, folds->folder, streams, count, count_out, err);
}
