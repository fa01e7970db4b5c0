/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine's parts are to forgetting. */
#include "forget/forget.h"

#include "engine/state.h"

int dbk_engine_open_forget(struct dbk_engine *engine, struct dbk_error *err)
{
    return dbk_forget_open(&(struct dbk_forget_options){.os = engine->os,
                                                        .store = engine->store,
                                                        .vault = engine->vault,
                                                        .schemas = engine->book->schemas,
                                                        .folds = engine->folds,
                                                        .groups = engine->groups,
                                                        .models = engine->models,
                                                        .views = engine->views,
                                                        .proof = engine->proof,
                                                        .as_of = engine->as_of,
                                                        .horizon_us = engine->book->horizon_us,
                                                        .appending = &engine->appending,
                                                        .writer = engine->writer},
                           &engine->forget, err);
}

int dbk_engine_compact(struct dbk_engine *engine, const struct dbk_store_compaction *options,
                       struct dbk_store_compacted *result_out, struct dbk_error *err)
{
    struct dbk_store_compaction whole = *options;
    struct dbk_uuid *keys = NULL;
    *result_out = (struct dbk_store_compacted){0};
    uint64_t position = dbk_store_sealed_position(engine->store);
    int rc = dbk_forget_ciphertexts(engine->forget, &keys, &whole.erased_count, err);
    whole.erased = keys;
    /* What groups kept of forgotten events goes with them, however little it is. */
    if (whole.erased_count > 0)
        whole.percent = 0;
    if (rc == DBK_OK)
        rc = dbk_store_compact(engine->store, &whole, result_out, err);
    if (rc == DBK_OK && whole.erased_count > 0)
        rc = dbk_forget_ciphertexts_removed(engine->forget, position, err);
    dbk_free(keys);
    return rc;
}
