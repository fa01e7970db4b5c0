/* SPDX-License-Identifier: Apache-2.0 */
/* What every reader of the store looks through. */
#include "engine/state.h"
#include "json/json.h"

/* A reader's part of it. */
struct reader {
    void *vault;
    struct dbk_upcaster *upcaster;
};

static struct reader *make_reader(void **state)
{
    if (*state == NULL)
        *state = dbk_alloc_zero(1, sizeof(struct reader));
    return *state;
}

/* Most events hold nothing personal, and so need nothing of their own. */
static int open_event(void *context, void **state, struct dbk_event *event, struct dbk_error *err)
{
    const struct dbk_engine *engine = context;
    if (engine->vault == NULL || !dbk_vault_touches(engine->vault, event))
        return 1;
    struct reader *reader = make_reader(state);
    if (reader == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
    return dbk_vault_open_event(engine->vault, &reader->vault, event, err);
}

/* Most readers meet no old event. */
static int upcast_event(void *context, void **state, struct dbk_event *event, struct dbk_error *err)
{
    const struct dbk_engine *engine = context;
    if (*state == NULL && !dbk_upcasts_touch(engine->upcasts, event))
        return 1;
    struct reader *reader = make_reader(state);
    if (reader == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
    return dbk_upcast_event(engine->upcasts, &reader->upcaster, event, err);
}

static int find_member(void *context, void **state, struct dbk_event *event, struct dbk_slice name,
                       struct dbk_slice *value_out, struct dbk_error *err)
{
    const struct dbk_engine *engine = context;
    if (*state == NULL && !dbk_upcasts_touch(engine->upcasts, event))
        return dbk_json_find(event->data, name, value_out);
    struct reader *reader = make_reader(state);
    if (reader == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
    return dbk_upcast_member(engine->upcasts, &reader->upcaster, event, name, value_out, err);
}

static void end(void *context, void *state)
{
    const struct dbk_engine *engine = context;
    struct reader *reader = state;
    if (reader->vault != NULL)
        dbk_vault_end(reader->vault);
    dbk_upcaster_give(engine->upcasts, reader->upcaster);
    dbk_free(reader);
}

static void history(void *context, struct dbk_history *history_out)
{
    const struct dbk_engine *engine = context;
    struct dbk_vault_status status = {0};
    if (engine->vault != NULL)
        dbk_vault_status(engine->vault, &status);
    history_out->forgotten = status.erased + status.tombstoned;
    (void)dbk_upcasts_fingerprint(engine->upcasts, (struct dbk_slice){0}, history_out->upcasts);
}

/* Some type has a subject, or the log tells of subjects. */
static int needs_vault(struct dbk_engine *engine, bool *needs_out, struct dbk_error *err)
{
    const struct dbk_schemas *schemas = engine->book->schemas;
    uint64_t version = 0;
    int rc = dbk_store_stream_version(engine->store, DBK_SLICE_LITERAL(DBK_SUBJECTS_STREAM),
                                      &version, err);
    *needs_out = version > 0;
    for (size_t i = 0; rc == DBK_OK && i < dbk_schemas_count(schemas); i++) {
        struct dbk_slice type = dbk_schema_type(dbk_schemas_at(schemas, i));
        uint16_t newest = dbk_schema_version(dbk_schemas_at(schemas, i));
        for (uint16_t v = 1; v <= newest && !*needs_out; v++) {
            const struct dbk_schema *schema = dbk_schemas_find(schemas, type, v);
            *needs_out = schema != NULL && dbk_schema_subject(schema) != NULL;
        }
    }
    return rc;
}

int dbk_lens_open(struct dbk_engine *engine, bool schedule, struct dbk_error *err)
{
    bool needs = false;
    int rc = needs_vault(engine, &needs, err);
    if (rc == DBK_OK && needs)
        rc = dbk_vault_open(&(struct dbk_vault_options){.os = engine->os,
                                                        .store = engine->store,
                                                        .data = engine->book->data,
                                                        .root = engine->book->keys_root,
                                                        .writer = engine->writer,
                                                        .rotates = schedule},
                            &engine->vault, err);
    engine->lens = (struct dbk_lens){.context = engine,
                                     .open = open_event,
                                     .upcast = upcast_event,
                                     .end = end,
                                     .member = find_member,
                                     .history = history};
    if (rc == DBK_OK)
        dbk_store_set_lens(engine->store, &engine->lens);
    return rc;
}
