/* SPDX-License-Identifier: Apache-2.0 */
/* Sagas in an open book. */
#include "engine/state.h"
#include "saga/functions.h"

struct dbk_sagas *dbk_engine_sagas(struct dbk_engine *engine)
{
    return engine->sagas;
}

/* A saga's records are the book's own, and stand in one batch with what it sends: that is held to
   what anybody's events are held to. */
static int append(void *context, const struct dbk_batch *batch,
                  struct dbk_append_result *result_out, struct dbk_error *err)
{
    struct dbk_engine *engine = context;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < batch->count; i++)
        rc = dbk_engine_check_captured(engine, i, &batch->events[i], err);
    return rc < 0 ? rc : dbk_engine_append(engine, batch, result_out, err);
}

int dbk_engine_open_sagas(struct dbk_engine *engine, struct dbk_error *err)
{
    const struct dbk_book *book = engine->book;
    struct dbk_standing standing = {0};
    int rc = dbk_store_standing(engine->store, &standing, err);
    if (rc == DBK_OK)
        rc = dbk_sagas_open(
            &(struct dbk_sagas_options){.store = engine->store,
                                        .os = engine->os,
                                        .commands = engine->commands,
                                        .append = append,
                                        .context = engine,
                                        .batch_count_max = book->batch_count_max,
                                        .targets = book->targets,
                                        .target_count = book->target_count,
                                        .writer =
                                            engine->writer && standing.state == DBK_STANDING_OPEN},
            &engine->sagas, err);
    for (size_t i = 0; rc == DBK_OK && i < book->saga_count; i++)
        rc = dbk_sagas_add(engine->sagas, book->sagas[i].name, book->sagas[i].file,
                           book->sagas[i].source, err);
    return rc;
}

/* As a file's are by `check`: what an instance keeps of an event stays when its subject is
   forgotten. */
static int check_personal(const struct dbk_engine *engine, const char *name,
                          const struct dbk_saga_definition *definition, struct dbk_error *err)
{
    for (size_t i = 0; i < definition->route_count; i++) {
        struct dbk_slice type = definition->routes[i].type;
        if (dbk_book_has_personal(engine->book->schemas, type))
            return dbk_error_set(err, DBK_EINVAL,
                                 "saga %s takes %.*s, which has personal fields: an instance's "
                                 "record keeps what it saw, and forgetting would not reach it",
                                 name, DBK_SLICE_ARGS(type));
    }
    return DBK_OK;
}

int dbk_engine_add_saga(struct dbk_engine *engine, const char *name,
                        const struct dbk_saga_functions *functions, struct dbk_error *err)
{
    int rc = check_personal(engine, name, functions->definition, err);
    return rc < 0 ? rc : dbk_sagas_add_functions(engine->sagas, name, functions, err);
}
