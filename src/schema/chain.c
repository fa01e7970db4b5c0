/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>

#include "schema/upcasting.h"

static bool is_steps(const struct dbk_schema *schema)
{
    return dbk_schema_script(schema) == NULL && !dbk_schema_is_program(schema);
}

/* The steps of all versions behind *version that only have steps, as one program; *version becomes
   the last of them. */
static int make_program(struct dbk_upcasts *upcasts, const struct dbk_upcasts_type *type,
                        uint16_t *version, struct dbk_upcast_link *link, struct dbk_error *err)
{
    size_t count = 0;
    struct dbk_upcast_version *versions =
        dbk_alloc_zero((size_t)(type->newest - *version), sizeof(*versions));
    if (versions == NULL)
        return dbk_upcasts_no_memory(err);
    while (*version < type->newest) {
        uint16_t next = (uint16_t)(*version + 1);
        const struct dbk_schema *schema = dbk_schemas_find(upcasts->schemas, type->name, next);
        if (!is_steps(schema))
            break;
        versions[count].version = next;
        versions[count].steps = dbk_schema_upcast(schema, &versions[count].count);
        count++;
        *version = next;
    }
    int rc = dbk_upcast_compile(versions, count, &link->program, NULL, err);
    dbk_free(versions);
    return rc;
}

static int make_link(struct dbk_upcasts *upcasts, const struct dbk_upcasts_type *type,
                     uint16_t *version, struct dbk_upcast_link *link, struct dbk_error *err)
{
    uint16_t next = (uint16_t)(*version + 1);
    const struct dbk_schema *schema = dbk_schemas_find(upcasts->schemas, type->name, next);
    int rc = DBK_OK;
    *link = (struct dbk_upcast_link){.from = *version};
    if (is_steps(schema)) {
        rc = make_program(upcasts, type, version, link, err);
    } else {
        link->script = type->scripts[next].source == NULL ? NULL : &type->scripts[next];
        link->function = type->functions[next];
        *version = next;
    }
    link->version = *version;
    return rc;
}

static int make_chain(struct dbk_upcasts *upcasts, const struct dbk_upcasts_type *type,
                      uint16_t version, struct dbk_upcast_chain **chain_out, struct dbk_error *err)
{
    struct dbk_upcast_chain *chain = dbk_arena_alloc_zero(&upcasts->arena, 1, sizeof(*chain));
    struct dbk_upcast_link *links =
        dbk_arena_alloc_zero(&upcasts->arena, (size_t)(type->newest - version), sizeof(*links));
    int rc = chain == NULL || links == NULL ? dbk_upcasts_no_memory(err) : DBK_OK;
    if (rc < 0)
        return rc;
    chain->links = links;
    while (rc == DBK_OK && version < type->newest)
        rc = make_link(upcasts, type, &version, &links[chain->count++], err);
    chain->next = upcasts->chains;
    upcasts->chains = chain;
    *chain_out = chain;
    return rc;
}

int dbk_upcasts_chain(struct dbk_upcasts *upcasts, struct dbk_upcasts_type *type, uint16_t version,
                      const struct dbk_upcast_chain **chain_out, struct dbk_error *err)
{
    _Atomic(struct dbk_upcast_chain *) *slot = &type->chains[version - 1];
    struct dbk_upcast_chain *chain = atomic_load_explicit(slot, memory_order_acquire);
    int rc = DBK_OK;
    if (chain == NULL) {
        (void)pthread_mutex_lock(&upcasts->lock);
        chain = atomic_load_explicit(slot, memory_order_relaxed);
        if (chain == NULL)
            rc = make_chain(upcasts, type, version, &chain, err);
        if (rc == DBK_OK)
            atomic_store_explicit(slot, chain, memory_order_release);
        (void)pthread_mutex_unlock(&upcasts->lock);
    }
    *chain_out = chain;
    return rc;
}

/* ---- Running ---- */

void dbk_upcaster_close_instance(struct dbk_upcast_instance *instance)
{
    dbk_script_free(instance->script);
    *instance = (struct dbk_upcast_instance){0};
}

/* (instance): the data in the next version. */
static int call_script(lua_State *lua)
{
    const struct dbk_upcast_instance *instance = lua_touserdata(lua, 1);
    lua_pushvalue(lua, 2);
    dbk_script_event_push_data(&instance->event);
    bool is_table = lua_istable(lua, -1);
    dbk_script_event_push(&instance->event);
    lua_call(lua, 2, 1);
    if (lua_isnil(lua, -1) || (is_table && !lua_istable(lua, -1)))
        return luaL_error(lua, "it must return the data as a table, not %s",
                          luaL_typename(lua, -1));
    return 1;
}

static int open_instance(struct dbk_upcaster *upcaster, const struct dbk_schema_script *source,
                         struct dbk_upcast_instance *instance, struct dbk_error *err)
{
    if (upcaster->json == NULL)
        upcaster->json = dbk_json_create(DBK_UPCAST_DATA_MAX);
    if (upcaster->json == NULL)
        return dbk_upcasts_no_memory(err);
    int rc =
        dbk_script_open(source->file, source->source,
                        &(struct dbk_script_limits){.is_function = true}, &instance->script, err);
    return rc < 0 ? rc
                  : dbk_script_event_open(&instance->event, instance->script, upcaster->json, err);
}

static int run_script(struct dbk_upcaster *upcaster, const struct dbk_upcast_script *script,
                      const struct dbk_event *event, struct dbk_buf *out, struct dbk_error *err)
{
    struct dbk_upcast_instance *instance = &upcaster->instances[script->index];
    int rc =
        instance->script != NULL ? DBK_OK : open_instance(upcaster, script->source, instance, err);
    if (rc == DBK_OK) {
        lua_State *lua = dbk_script_lua(instance->script);
        instance->event.event = event;
        lua_pushcfunction(lua, call_script);
        lua_pushlightuserdata(lua, instance);
        lua_pushvalue(lua, 1);
        rc = dbk_script_call(instance->script, 2, 1, err);
        instance->event.event = NULL;
    }
    if (rc == DBK_OK)
        rc = dbk_script_write_json(instance->script, -1, out, err);
    /* One that failed may have left anything behind. */
    if (rc < 0)
        dbk_upcaster_close_instance(instance);
    else
        lua_settop(dbk_script_lua(instance->script), 1);
    return rc < 0 ? rc : 1;
}

static int run_function(struct dbk_upcaster *upcaster, const struct dbk_upcast_function *function,
                        const struct dbk_event *event, struct dbk_buf *out, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    if (upcaster->json == NULL)
        upcaster->json = dbk_json_create(DBK_UPCAST_DATA_MAX);
    if (upcaster->json == NULL)
        return dbk_upcasts_no_memory(err);
    int rc = function->upcast(function->context, event, out, err);
    if (rc < 0)
        return rc;
    if (out->rc < 0)
        return dbk_error_set(err, out->rc, "%s", dbk_code_text(out->rc));
    rc = dbk_json_parse(upcaster->json, dbk_buf_slice(out), &root, &failure);
    return rc == DBK_EINVAL
               ? dbk_error_set(err, DBK_ESCRIPT, "what it made is no JSON: %s", failure.message)
               : 1;
}

/* 1: the new data is in `out`; 0: it stays as it is. */
static int run_link(struct dbk_upcaster *upcaster, const struct dbk_upcast_link *link,
                    const struct dbk_event *event, struct dbk_buf *out, struct dbk_error *err)
{
    if (link->program != NULL)
        return dbk_upcast_run(link->program, event->data, out, err);
    if (link->script != NULL)
        return run_script(upcaster, link->script, event, out, err);
    if (link->function != NULL)
        return run_function(upcaster, link->function, event, out, err);
    return dbk_error_set(err, DBK_ESCRIPT, "it takes the program that has the upcaster");
}

/* A script's message begins with its own file. */
static int explain(const struct dbk_upcasts_type *type, const struct dbk_upcast_link *link,
                   const struct dbk_event *event, const struct dbk_error *failure, int rc,
                   struct dbk_error *err)
{
    char place[80] = "";
    if (link->program == NULL && link->script == NULL)
        (void)snprintf(place, sizeof(place), "version %u: ", link->version);
    return dbk_error_set(err, rc,
                         "%s%s%s%s (%.*s of %.*s, version %" PRIu64 ", position %" PRIu64 ")",
                         link->script != NULL ? "" : type->file, link->script != NULL ? "" : ": ",
                         place, failure->message, DBK_SLICE_ARGS(event->type),
                         DBK_SLICE_ARGS(event->stream), event->version, event->position);
}

/* Most chains are one program. */
static int run_program(struct dbk_upcaster *upcaster, const struct dbk_upcasts_type *type,
                       const struct dbk_upcast_link *link, struct dbk_event *event,
                       struct dbk_error *err)
{
    struct dbk_buf *out = &upcaster->texts[0];
    struct dbk_error failure;
    failure.message[0] = 0;
    dbk_buf_reset(out);
    int rc = dbk_upcast_run(link->program, event->data, out, &failure);
    if (rc < 0)
        return explain(type, link, event, &failure, rc, err);
    if (rc == 1)
        event->data = dbk_buf_slice(out);
    event->schema_version = link->version;
    return 1;
}

int dbk_upcaster_run(struct dbk_upcaster *upcaster, const struct dbk_upcasts_type *type,
                     const struct dbk_upcast_chain *chain, struct dbk_event *event,
                     struct dbk_error *err)
{
    if (chain->count == 1 && chain->links[0].program != NULL)
        return run_program(upcaster, type, &chain->links[0], event, err);
    struct dbk_event now = *event;
    size_t text = 0;
    for (size_t i = 0; i < chain->count; i++) {
        const struct dbk_upcast_link *link = &chain->links[i];
        struct dbk_buf *out = &upcaster->texts[text];
        struct dbk_error failure;
        failure.message[0] = 0;
        dbk_buf_reset(out);
        int rc = run_link(upcaster, link, &now, out, &failure);
        if (rc < 0)
            return explain(type, link, event, &failure, rc, err);
        now.schema_version = link->version;
        if (rc == 0)
            continue;
        now.data = dbk_buf_slice(out);
        text = 1 - text;
    }
    *event = now;
    return 1;
}
