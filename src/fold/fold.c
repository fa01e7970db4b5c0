/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/fold.h"

#include <inttypes.h>

#include "base/assert.h"
#include "fold/lua.h"
#include "fold/state.h"

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

static struct dbk_fold *create_fold(const struct dbk_fold_functions *functions, bool script)
{
    struct dbk_fold *fold = dbk_alloc_zero(1, sizeof(*fold));
    if (fold == NULL)
        return NULL;
    fold->functions = *functions;
    fold->script = script;
    dbk_arena_init(&fold->arena, DBK_FOLD_STATE_SIZE_MAX);
    return fold;
}

static void free_fold(struct dbk_fold *fold)
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

int dbk_fold_take(struct dbk_folds *folds, struct dbk_fold *fold, void **state_out,
                  struct dbk_error *err)
{
    *state_out = NULL;
    (void)pthread_mutex_lock(&folds->lock);
    if (fold->free_count > 0)
        *state_out = fold->free[--fold->free_count];
    (void)pthread_mutex_unlock(&folds->lock);
    return *state_out != NULL ? DBK_OK
                              : fold->functions.create(fold->functions.context, state_out, err);
}

void dbk_fold_give(struct dbk_folds *folds, struct dbk_fold *fold, void *state, bool sound)
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

static void take_fingerprint(const struct dbk_folds *folds, struct dbk_fold *fold,
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
static int take_versions(const struct dbk_folds *folds, struct dbk_fold *fold, const char *name,
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
        struct dbk_fold_written *written = &fold->written[fold->written_count];
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
static struct dbk_fold *find_locked(const struct dbk_folds *folds, struct dbk_slice category)
{
    for (size_t i = 0; i < folds->count; i++) {
        if (dbk_slice_equal_text(category, folds->items[i]->category))
            return folds->items[i];
    }
    return NULL;
}

struct dbk_fold *dbk_fold_find(struct dbk_folds *folds, struct dbk_slice category)
{
    (void)pthread_mutex_lock(&folds->lock);
    struct dbk_fold *fold = find_locked(folds, category);
    (void)pthread_mutex_unlock(&folds->lock);
    return fold;
}

/* Takes the fold over, also when that fails. */
static int add(struct dbk_folds *folds, struct dbk_fold *fold, struct dbk_slice category,
               struct dbk_error *err)
{
    int rc = DBK_OK;
    fold->category = dbk_copy_text(category);
    (void)pthread_mutex_lock(&folds->lock);
    struct dbk_fold **items = dbk_realloc(folds->items, (folds->count + 1) * sizeof(*items));
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
    struct dbk_fold *fold = create_fold(&functions, true);
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
    struct dbk_fold *fold = create_fold(functions, false);
    if (fold == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory adding a fold");
    fold->every = every;
    take_fingerprint(folds, fold, version);
    return add(folds, fold, category, err);
}

bool dbk_folds_has(struct dbk_folds *folds, struct dbk_slice category)
{
    return dbk_fold_find(folds, category) != NULL;
}

bool dbk_folds_fingerprint(struct dbk_folds *folds, struct dbk_slice category,
                           uint8_t fingerprint_out[DBK_SHA256_SIZE])
{
    const struct dbk_fold *fold = dbk_fold_find(folds, category);
    if (fold != NULL)
        memcpy(fingerprint_out, fold->fingerprint, DBK_SHA256_SIZE);
    return fold != NULL;
}

const struct dbk_slice *dbk_folds_types(struct dbk_folds *folds, struct dbk_slice category,
                                        size_t *count_out)
{
    const struct dbk_fold *fold = dbk_fold_find(folds, category);
    *count_out = fold == NULL ? 0 : fold->name_count;
    return fold == NULL ? NULL : fold->names;
}

uint64_t dbk_folds_forgets(struct dbk_folds *folds)
{
    (void)pthread_rwlock_rdlock(&folds->keeping);
    uint64_t forgets = folds->forgets;
    (void)pthread_rwlock_unlock(&folds->keeping);
    return forgets;
}

uint64_t dbk_folds_every(struct dbk_folds *folds, struct dbk_slice category)
{
    const struct dbk_fold *fold = dbk_fold_find(folds, category);
    return fold == NULL || !folds->keep ? 0 : fold->every;
}

int dbk_folds_forget(struct dbk_folds *folds, const struct dbk_slice *streams, size_t count,
                     uint64_t *count_out, struct dbk_error *err)
{
    *count_out = 0;
    (void)pthread_rwlock_wrlock(&folds->keeping);
    folds->forgets++;
    (void)pthread_rwlock_unlock(&folds->keeping);
    if (folds->folder == NULL)
        return DBK_OK;
    return dbk_snapshot_drop(folds->os, folds->folder, streams, count, count_out, err);
}
