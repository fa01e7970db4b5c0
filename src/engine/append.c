/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a caller into the store: JSON is read, events of declared types are checked against their
 * schema and get its version and tags. One reading of an event's data serves all of it; of events
 * that come as they are stored nothing is copied.
 */
#include <stdio.h>

#include "engine/state.h"
#include "json/json.h"
#include "model/letters.h"

struct passing {
    struct dbk_engine *engine;
    const struct dbk_batch *batch;
    bool own_json; /* written by this process */
    struct dbk_scratch *scratch;
    struct dbk_new_event *events; /* a copy of the batch's, once one becomes another; else NULL */
    struct dbk_append_result *result;
    struct dbk_append_warnings warnings;
};

/* The batch's events become a copy that may be changed. */
static int own_events(struct passing *passing, struct dbk_error *err)
{
    size_t size = passing->batch->count * sizeof(*passing->events);
    if (passing->events != NULL)
        return DBK_OK;
    passing->events = dbk_arena_alloc(&passing->scratch->arena, size);
    if (passing->events == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory checking a batch");
    memcpy(passing->events, passing->batch->events, size);
    return DBK_OK;
}

/* ---- Schemas ---- */

/* An event does not fit: it is refused, or stored with a warning. */
static int complain(struct passing *passing, size_t index, const struct dbk_schema *schema, int rc,
                    const struct dbk_error *failure, struct dbk_error *err)
{
    struct dbk_append_warnings *warnings = &passing->warnings;
    struct dbk_error full = {0};
    (void)dbk_error_set(&full, rc, "event %zu: %s (%.*s, version %u)", index, failure->message,
                        DBK_SLICE_ARGS(dbk_schema_type(schema)),
                        (unsigned)dbk_schema_version(schema));
    if (rc == DBK_ENOMEM || passing->engine->book->schema_mode == DBK_SCHEMA_STRICT) {
        if (err != NULL)
            *err = full;
        return rc;
    }
    if (warnings->count++ == 0)
        (void)snprintf(warnings->first, sizeof(warnings->first), "%s", full.message);
    return DBK_OK;
}

static int check_data(struct passing *passing, size_t index, const struct dbk_schema *schema,
                      const struct dbk_json_node *data, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    struct dbk_error why = {0};
    struct dbk_slice text = passing->batch->events[index].data;
    if (passing->engine->book->schema_mode == DBK_SCHEMA_OFF)
        return DBK_OK;
    int rc = DBK_OK;
    if (data == NULL)
        rc = dbk_error_set(&why, DBK_EINVAL, "it is bytes, where JSON is expected");
    else if ((passing->batch->flags & DBK_APPEND_MIGRATED) != 0)
        rc = dbk_schema_validate_carried(schema, data, text, &why);
    else
        rc = dbk_schema_validate(schema, data, text, &why);
    if (rc == DBK_OK)
        return DBK_OK;
    (void)dbk_error_set(&failure, rc, "its data: %s", why.message);
    return complain(passing, index, schema, rc, &failure, err);
}

static bool has_tag(const struct dbk_new_event *event, struct dbk_slice tag)
{
    for (size_t i = 0; i < event->tag_count; i++) {
        if (dbk_slice_equal(event->tags[i], tag))
            return true;
    }
    return false;
}

/* Adds those tags to the event's that it does not have. */
static int add_tags(struct passing *passing, struct dbk_new_event *event,
                    const struct dbk_slice *tags, size_t count, struct dbk_error *err)
{
    struct dbk_slice *all =
        dbk_arena_alloc_zero(&passing->scratch->arena, event->tag_count + count, sizeof(*all));
    if (all == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory checking a batch");
    for (size_t i = 0; i < event->tag_count; i++)
        all[i] = event->tags[i];
    event->tags = all;
    for (size_t i = 0; i < count; i++) {
        if (!has_tag(event, tags[i]))
            all[event->tag_count++] = tags[i];
    }
    return DBK_OK;
}

/* Personal fields leave the data, whatever else is wrong with it. */
static int seal(struct passing *passing, size_t index, const struct dbk_schema *schema,
                const struct dbk_json_node *data, struct dbk_error *err)
{
    if (dbk_schema_subject(schema) == NULL)
        return DBK_OK;
    if (data == NULL)
        return dbk_error_set(err, DBK_EINVAL,
                             "event %zu: %.*s belongs to a subject, and its data is bytes, where "
                             "JSON is expected",
                             index, DBK_SLICE_ARGS(dbk_schema_type(schema)));
    struct dbk_new_event *event = &passing->events[index];
    int rc = dbk_engine_check_personal(schema, data, index, event, err);
    return rc < 0 ? rc
                  : dbk_vault_seal(passing->engine->vault, schema, data,
                                   (passing->batch->flags & DBK_APPEND_MIGRATED) != 0, index, event,
                                   &passing->scratch->arena, err);
}

/* data is NULL where it is no JSON. */
static int apply_schema(struct passing *passing, size_t index, const struct dbk_schema *newest,
                        const struct dbk_json_node *data, struct dbk_error *err)
{
    const struct dbk_new_event *given = &passing->batch->events[index];
    const struct dbk_slice *tags = NULL;
    size_t tag_count = 0;
    struct dbk_error failure = {0};
    const struct dbk_schema *schema = newest;
    if (given->schema_version != 0)
        schema =
            dbk_schemas_find(passing->engine->book->schemas, given->type, given->schema_version);
    if (schema == NULL)
        return dbk_error_set(err, DBK_EINVAL,
                             "event %zu: %.*s has no schema version %u: the newest is %u", index,
                             DBK_SLICE_ARGS(given->type), (unsigned)given->schema_version,
                             (unsigned)dbk_schema_version(newest));
    int rc = check_data(passing, index, schema, data, err);
    if (rc == DBK_OK)
        rc = own_events(passing, err);
    if (rc < 0)
        return rc;
    struct dbk_new_event *event = &passing->events[index];
    event->schema_version = dbk_schema_version(schema);
    if (data != NULL)
        rc = dbk_schema_tags(schema, data, &passing->scratch->arena, &tags, &tag_count, &failure);
    if (rc < 0)
        rc = complain(passing, index, schema, rc, &failure, err);
    else if (tag_count > 0)
        rc = add_tags(passing, event, tags, tag_count, err);
    return rc < 0 ? rc : seal(passing, index, schema, data, err);
}

/* ---- Events ---- */

static int read_json(struct passing *passing, struct dbk_slice text, size_t index, const char *what,
                     const struct dbk_json_node **root_out, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_json_parse(passing->scratch->json, text, root_out, &failure);
    return rc < 0 ? dbk_error_set(err, rc, "event %zu: its %s: %s", index, what, failure.message)
                  : DBK_OK;
}

/* The schema of an event's type; NULL: it has none to be held against. */
static const struct dbk_schema *schema_of(const struct passing *passing,
                                          const struct dbk_new_event *event)
{
    bool own = (passing->batch->flags & DBK_APPEND_OWN) != 0 && event->stream.size > 0 &&
               event->stream.data[0] == '$';
    return own ? NULL : dbk_schemas_newest(passing->engine->book->schemas, event->type);
}

/* Tags that begin with '$' are the book's own. */
static int check_tags(const struct passing *passing, size_t index, struct dbk_error *err)
{
    const struct dbk_new_event *event = &passing->batch->events[index];
    if ((passing->batch->flags & DBK_APPEND_OWN) != 0)
        return DBK_OK;
    for (size_t i = 0; i < event->tag_count; i++) {
        if (event->tags[i].size > 0 && event->tags[i].data[0] == '$')
            return dbk_error_set(err, DBK_EINVAL,
                                 "event %zu: its tag %.*s begins with '$', as only the book's own "
                                 "tags do",
                                 index, DBK_SLICE_ARGS(event->tags[i]));
    }
    return DBK_OK;
}

static int check_event(struct passing *passing, size_t index, struct dbk_error *err)
{
    const struct dbk_new_event *event = &passing->batch->events[index];
    const struct dbk_schema *newest = schema_of(passing, event);
    const struct dbk_json_node *data = NULL;
    const struct dbk_json_node *meta = NULL;
    int rc = check_tags(passing, index, err);
    if (rc == DBK_OK && (passing->batch->flags & (DBK_APPEND_OWN | DBK_APPEND_MIGRATED)) == 0)
        rc = dbk_engine_check_captured(passing->engine, index, event, err);
    if (rc < 0)
        return rc;
    if (newest == NULL && event->schema_version != 0)
        return dbk_error_set(err, DBK_EINVAL,
                             "event %zu: %.*s is not declared, and so has no schema version %u",
                             index, DBK_SLICE_ARGS(event->type), (unsigned)event->schema_version);
    if ((event->flags & DBK_RECORD_JSON) != 0 && (newest != NULL || !passing->own_json))
        rc = read_json(passing, event->data, index, "data", &data, err);
    if (rc == DBK_OK && newest != NULL)
        rc = apply_schema(passing, index, newest, data, err);
    if (rc < 0 || event->meta.size == 0 || passing->own_json)
        return rc;
    rc = read_json(passing, event->meta, index, "meta", &meta, err);
    if (rc == DBK_OK && meta->kind != DBK_JSON_OBJECT)
        rc = dbk_error_set(err, DBK_EINVAL, "event %zu: its meta is no JSON object", index);
    return rc;
}

static int check_events(struct passing *passing, struct dbk_error *err)
{
    int rc = DBK_OK;
    passing->scratch = dbk_engine_scratch_take(passing->engine);
    if (passing->scratch == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory checking a batch");
    for (size_t i = 0; rc == DBK_OK && i < passing->batch->count; i++)
        rc = check_event(passing, i, err);
    return rc;
}

/* What the events need stays until they are stored, and no longer. */
static int store(struct passing *passing, struct dbk_error *err)
{
    struct dbk_batch batch = *passing->batch;
    if (passing->events == NULL) {
        dbk_engine_scratch_give(passing->engine, passing->scratch);
        passing->scratch = NULL;
    } else {
        batch.events = passing->events;
    }
    if (passing->engine->vault != NULL) {
        /* What is sealed under a key is stored when the key is. */
        int rc = dbk_vault_sync(passing->engine->vault, err);
        if (rc < 0)
            return rc;
    }
    return dbk_store_append(passing->engine->store, &batch, passing->result, err);
}

static int append(struct dbk_engine *engine, const struct dbk_batch *batch, bool own_json,
                  struct dbk_append_result *result_out, struct dbk_error *err)
{
    struct passing passing = {
        .engine = engine, .batch = batch, .own_json = own_json, .result = result_out};
    *result_out = (struct dbk_append_result){0};
    int rc = dbk_engine_check_writer(engine, err);
    /* What is sealed under a key is stored before the key is forgotten, or not at all. */
    if (engine->vault != NULL)
        (void)pthread_rwlock_rdlock(&engine->appending);
    if (rc == DBK_OK)
        rc = check_events(&passing, err);
    if (rc == DBK_OK)
        rc = store(&passing, err);
    if (engine->vault != NULL)
        (void)pthread_rwlock_unlock(&engine->appending);
    dbk_engine_scratch_give(engine, passing.scratch);
    result_out->warnings = passing.warnings;
    if (rc == DBK_EUNKNOWN || rc == DBK_ESTOPPED)
        engine->stopped = true;
    if (rc == DBK_OK) {
        engine->counters.appends++;
        engine->counters.appended_events += result_out->appended;
    } else {
        engine->counters.appends_refused++;
    }
    return rc;
}

int dbk_engine_append(struct dbk_engine *engine, const struct dbk_batch *batch,
                      struct dbk_append_result *result_out, struct dbk_error *err)
{
    int rc = append(engine, batch, false, result_out, err);
    if (rc == DBK_OK)
        dbk_letters_tell(engine->models);
    return rc;
}

int dbk_engine_append_letters(void *context, const struct dbk_batch *batch,
                              struct dbk_append_result *result_out, struct dbk_error *err)
{
    return append(context, batch, false, result_out, err);
}

int dbk_engine_append_own_json(struct dbk_engine *engine, const struct dbk_batch *batch,
                               struct dbk_append_result *result_out, struct dbk_error *err)
{
    int rc = append(engine, batch, true, result_out, err);
    if (rc == DBK_OK)
        dbk_letters_tell(engine->models);
    return rc;
}
