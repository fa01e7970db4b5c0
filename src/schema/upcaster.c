/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/upcaster.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <stdatomic.h>

#include "schema/event.h"
#include "schema/program.h"

/* Upcasters that are kept for later readers, and what one may hold on to. */
#define POOL_MAX 32
#define KEPT_SIZE ((size_t)1 << 20)
#define DATA_SIZE_MAX ((size_t)64 << 20)
#define ARENA_SIZE_MAX ((size_t)64 << 20)

/* One part of a chain: exactly one of the three. */
struct link {
    uint16_t from;
    uint16_t version; /* that it makes */
    struct dbk_upcast_program *program;
    const struct script *script;
    const struct dbk_upcast_function *function;
};

/* From a version to the newest. */
struct chain {
    struct chain *next; /* of all */
    struct link *links;
    size_t count;
};

struct script {
    size_t index;
    const struct dbk_schema_script *source;
};

struct type {
    struct dbk_slice name;
    const char *file;
    uint16_t newest;
    _Atomic(struct chain *) *chains; /* by version, the first is that of version 1; NULL: not met */
    struct script *scripts;          /* by version; source is NULL where there is none */
    const struct dbk_upcast_function **functions;
    uint8_t fingerprint[DBK_SHA256_SIZE];
};

struct dbk_upcasts {
    const struct dbk_schemas *schemas;
    struct dbk_arena arena;
    struct type *types;
    size_t type_count;
    struct type **slots; /* by hash; a power of two of them */
    size_t slot_mask;
    struct dbk_upcast_function *functions;
    size_t function_count;
    size_t script_count;
    pthread_mutex_t lock; /* of what follows, and of making chains */
    struct chain *chains;
    struct dbk_upcaster *pool;
    size_t pool_count;
};

/* A script, as one reader has it. */
struct instance {
    struct dbk_script *script;
    struct dbk_script_event event;
};

/* An event of which single members are asked for. */
struct picking {
    const struct dbk_upcast_program *program; /* NULL: there is none, or it takes a run */
    struct dbk_slice text;
    uint64_t position;
    uint16_t version;
    struct dbk_upcast_finding finding;
};

struct dbk_upcaster {
    struct dbk_upcaster *next; /* in the pool */
    struct dbk_buf texts[2];   /* of the event: one is made of the other */
    struct dbk_json *json;
    struct instance *instances; /* by the script's index */
    struct picking picking;
};

/* ---- Types ---- */

/* Names differ at their ends. */
static size_t hash(struct dbk_slice name)
{
    uint64_t head = 0;
    uint64_t tail = 0;
    if (name.size >= sizeof(head)) {
        memcpy(&head, name.data, sizeof(head));
        memcpy(&tail, name.data + name.size - sizeof(tail), sizeof(tail));
    } else {
        for (size_t i = 0; i < name.size; i++)
            head = head << 8 | (unsigned char)name.data[i];
    }
    uint64_t mixed =
        (head ^ (tail * UINT64_C(0x9E3779B97F4A7C15)) ^ name.size) * UINT64_C(0xD6E8FEB86659FD93);
    return (size_t)(mixed >> 32);
}

static struct type *find_type(const struct dbk_upcasts *upcasts, struct dbk_slice name)
{
    if (name.size == 0)
        return NULL;
    for (size_t at = hash(name) & upcasts->slot_mask; upcasts->slots[at] != NULL;
         at = (at + 1) & upcasts->slot_mask) {
        if (dbk_slice_equal(upcasts->slots[at]->name, name))
            return upcasts->slots[at];
    }
    return NULL;
}

static void enter_type(struct dbk_upcasts *upcasts, struct type *type)
{
    size_t at = hash(type->name) & upcasts->slot_mask;
    while (upcasts->slots[at] != NULL)
        at = (at + 1) & upcasts->slot_mask;
    upcasts->slots[at] = type;
}

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory opening the upcasters");
}

static int open_type(struct dbk_upcasts *upcasts, const struct dbk_schema *schema,
                     struct type *type, struct dbk_error *err)
{
    struct dbk_arena *arena = &upcasts->arena;
    *type = (struct type){.name = dbk_schema_type(schema),
                          .file = dbk_schema_file(schema),
                          .newest = dbk_schema_version(schema)};
    type->chains = dbk_arena_alloc_zero(arena, type->newest, sizeof(*type->chains));
    type->scripts = dbk_arena_alloc_zero(arena, type->newest + 1U, sizeof(*type->scripts));
    type->functions = dbk_arena_alloc_zero(arena, type->newest + 1U, sizeof(*type->functions));
    if (type->chains == NULL || type->scripts == NULL || type->functions == NULL)
        return no_memory(err);
    for (uint16_t version = 2; version <= type->newest; version++) {
        const struct dbk_schema *of = dbk_schemas_find(upcasts->schemas, type->name, version);
        struct script *script = &type->scripts[version];
        script->source = of == NULL ? NULL : dbk_schema_script(of);
        if (script->source != NULL)
            script->index = upcasts->script_count++;
    }
    enter_type(upcasts, type);
    return DBK_OK;
}

static int take_function(struct dbk_upcasts *upcasts, const struct dbk_upcast_function *function,
                         struct dbk_error *err)
{
    struct type *type = find_type(upcasts, function->type);
    const struct dbk_schema *schema =
        dbk_schemas_find(upcasts->schemas, function->type, function->version);
    if (type == NULL || schema == NULL || !dbk_schema_is_program(schema))
        return dbk_error_set(err, DBK_EINVAL,
                             "version %u of %.*s is not declared as one that a program makes; its "
                             "schema must say \"upcast\": \"program\"",
                             function->version, DBK_SLICE_ARGS(function->type));
    if (type->functions[function->version] != NULL)
        return dbk_error_set(err, DBK_EINVAL, "version %u of %.*s is made by two functions",
                             function->version, DBK_SLICE_ARGS(function->type));
    type->functions[function->version] = function;
    return DBK_OK;
}

static void take_fingerprint(const struct dbk_upcasts *upcasts, struct type *type)
{
    struct dbk_sha256 sum;
    uint8_t declared[DBK_SCHEMA_FINGERPRINT_SIZE];
    if (type->newest == 1)
        return;
    dbk_schemas_fingerprint(upcasts->schemas, type->name, declared);
    dbk_sha256_init(&sum);
    dbk_sha256_update(&sum, DBK_SLICE_LITERAL("daybook upcasts 1\n"));
    dbk_sha256_update(&sum, dbk_slice(declared, sizeof(declared)));
    for (uint16_t version = 2; version <= type->newest; version++) {
        const struct dbk_upcast_function *function = type->functions[version];
        const char number[2] = {(char)(version & 0xFF), (char)(version >> 8)};
        if (function == NULL)
            continue;
        dbk_sha256_update(&sum, dbk_slice(number, sizeof(number)));
        dbk_sha256_update(&sum, function->definition);
    }
    dbk_sha256_final(&sum, type->fingerprint);
}

static int open_types(struct dbk_upcasts *upcasts, struct dbk_error *err)
{
    size_t count = dbk_schemas_count(upcasts->schemas);
    size_t slots = 8;
    while (slots < 2 * count)
        slots *= 2;
    upcasts->types = dbk_arena_alloc_zero(&upcasts->arena, count + 1, sizeof(*upcasts->types));
    upcasts->slots = dbk_arena_alloc_zero(&upcasts->arena, slots, sizeof(struct type *));
    upcasts->slot_mask = slots - 1;
    if (upcasts->types == NULL || upcasts->slots == NULL)
        return no_memory(err);
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = open_type(upcasts, dbk_schemas_at(upcasts->schemas, i),
                       &upcasts->types[upcasts->type_count++], err);
    return rc;
}

int dbk_upcasts_open(const struct dbk_schemas *schemas, const struct dbk_upcast_function *functions,
                     size_t function_count, struct dbk_upcasts **upcasts_out, struct dbk_error *err)
{
    struct dbk_upcasts *upcasts = dbk_alloc_zero(1, sizeof(*upcasts));
    if (upcasts == NULL)
        return no_memory(err);
    upcasts->schemas = schemas;
    dbk_arena_init(&upcasts->arena, ARENA_SIZE_MAX);
    (void)pthread_mutex_init(&upcasts->lock, NULL);
    int rc = open_types(upcasts, err);
    upcasts->functions =
        dbk_arena_alloc_zero(&upcasts->arena, function_count + 1, sizeof(*upcasts->functions));
    if (rc == DBK_OK && upcasts->functions == NULL)
        rc = no_memory(err);
    for (size_t i = 0; rc == DBK_OK && i < function_count; i++) {
        upcasts->functions[i] = functions[i];
        rc = take_function(upcasts, &upcasts->functions[i], err);
    }
    for (size_t i = 0; rc == DBK_OK && i < upcasts->type_count; i++)
        take_fingerprint(upcasts, &upcasts->types[i]);
    if (rc < 0) {
        dbk_upcasts_free(upcasts);
        return rc;
    }
    *upcasts_out = upcasts;
    return DBK_OK;
}

const struct dbk_schemas *dbk_upcasts_schemas(const struct dbk_upcasts *upcasts)
{
    return upcasts->schemas;
}

static bool fingerprint_all(const struct dbk_upcasts *upcasts,
                            uint8_t fingerprint_out[DBK_SHA256_SIZE])
{
    bool any = false;
    struct dbk_sha256 sum;
    dbk_sha256_init(&sum);
    for (size_t i = 0; i < upcasts->type_count; i++) {
        const struct type *type = &upcasts->types[i];
        if (type->newest == 1)
            continue;
        any = true;
        dbk_sha256_update(&sum, type->name);
        dbk_sha256_update(&sum, dbk_slice(type->fingerprint, DBK_SHA256_SIZE));
    }
    if (any)
        dbk_sha256_final(&sum, fingerprint_out);
    return any;
}

bool dbk_upcasts_fingerprint(const struct dbk_upcasts *upcasts, struct dbk_slice type,
                             uint8_t fingerprint_out[DBK_SHA256_SIZE])
{
    const struct type *of = find_type(upcasts, type);
    memset(fingerprint_out, 0, DBK_SHA256_SIZE);
    if (type.size == 0)
        return fingerprint_all(upcasts, fingerprint_out);
    if (of == NULL || of->newest == 1)
        return false;
    memcpy(fingerprint_out, of->fingerprint, DBK_SHA256_SIZE);
    return true;
}

/* ---- Upcasters ---- */

static void close_instance(struct instance *instance)
{
    dbk_script_free(instance->script);
    *instance = (struct instance){0};
}

static void free_upcaster(const struct dbk_upcasts *upcasts, struct dbk_upcaster *upcaster)
{
    for (size_t i = 0; upcaster->instances != NULL && i < upcasts->script_count; i++)
        close_instance(&upcaster->instances[i]);
    dbk_free(upcaster->instances);
    dbk_json_free(upcaster->json);
    dbk_buf_release(&upcaster->texts[0]);
    dbk_buf_release(&upcaster->texts[1]);
    dbk_free(upcaster);
}

void dbk_upcasts_free(struct dbk_upcasts *upcasts)
{
    if (upcasts == NULL)
        return;
    for (struct dbk_upcaster *at = upcasts->pool, *next; at != NULL; at = next) {
        next = at->next;
        free_upcaster(upcasts, at);
    }
    for (const struct chain *chain = upcasts->chains; chain != NULL; chain = chain->next) {
        for (size_t i = 0; i < chain->count; i++)
            dbk_upcast_free(chain->links[i].program);
    }
    dbk_arena_release(&upcasts->arena);
    (void)pthread_mutex_destroy(&upcasts->lock);
    dbk_free(upcasts);
}

static struct dbk_upcaster *take(struct dbk_upcasts *upcasts)
{
    (void)pthread_mutex_lock(&upcasts->lock);
    struct dbk_upcaster *upcaster = upcasts->pool;
    if (upcaster != NULL) {
        upcasts->pool = upcaster->next;
        upcasts->pool_count--;
    }
    (void)pthread_mutex_unlock(&upcasts->lock);
    if (upcaster != NULL)
        return upcaster;
    upcaster = dbk_alloc_zero(1, sizeof(*upcaster));
    if (upcaster == NULL)
        return NULL;
    dbk_buf_init(&upcaster->texts[0], DATA_SIZE_MAX);
    dbk_buf_init(&upcaster->texts[1], DATA_SIZE_MAX);
    upcaster->instances = dbk_alloc_zero(upcasts->script_count + 1, sizeof(*upcaster->instances));
    if (upcaster->instances != NULL)
        return upcaster;
    free_upcaster(upcasts, upcaster);
    return NULL;
}

void dbk_upcaster_give(struct dbk_upcasts *upcasts, struct dbk_upcaster *upcaster)
{
    if (upcaster == NULL)
        return;
    upcaster->picking.program = NULL; /* the next reader's events may have its places */
    for (size_t i = 0; i < 2; i++) {
        if (upcaster->texts[i].capacity > KEPT_SIZE) {
            dbk_buf_release(&upcaster->texts[i]);
            dbk_buf_init(&upcaster->texts[i], DATA_SIZE_MAX);
        }
    }
    (void)pthread_mutex_lock(&upcasts->lock);
    bool kept = upcasts->pool_count < POOL_MAX;
    if (kept) {
        upcaster->next = upcasts->pool;
        upcasts->pool = upcaster;
        upcasts->pool_count++;
    }
    (void)pthread_mutex_unlock(&upcasts->lock);
    if (!kept)
        free_upcaster(upcasts, upcaster);
}

/* ---- Chains ---- */

static bool is_steps(const struct dbk_schema *schema)
{
    return dbk_schema_script(schema) == NULL && !dbk_schema_is_program(schema);
}

/* The steps of all versions behind *version that only have steps, as one program; *version becomes
   the last of them. */
static int make_program(struct dbk_upcasts *upcasts, const struct type *type, uint16_t *version,
                        struct link *link, struct dbk_error *err)
{
    size_t count = 0;
    struct dbk_upcast_version *versions =
        dbk_alloc_zero((size_t)(type->newest - *version), sizeof(*versions));
    if (versions == NULL)
        return no_memory(err);
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

static int make_link(struct dbk_upcasts *upcasts, const struct type *type, uint16_t *version,
                     struct link *link, struct dbk_error *err)
{
    uint16_t next = (uint16_t)(*version + 1);
    const struct dbk_schema *schema = dbk_schemas_find(upcasts->schemas, type->name, next);
    int rc = DBK_OK;
    *link = (struct link){.from = *version};
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

static int make_chain(struct dbk_upcasts *upcasts, const struct type *type, uint16_t version,
                      struct chain **chain_out, struct dbk_error *err)
{
    struct chain *chain = dbk_arena_alloc_zero(&upcasts->arena, 1, sizeof(*chain));
    struct link *links =
        dbk_arena_alloc_zero(&upcasts->arena, (size_t)(type->newest - version), sizeof(*links));
    int rc = chain == NULL || links == NULL ? no_memory(err) : DBK_OK;
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

static int chain_of(struct dbk_upcasts *upcasts, struct type *type, uint16_t version,
                    const struct chain **chain_out, struct dbk_error *err)
{
    _Atomic(struct chain *) *slot = &type->chains[version - 1];
    struct chain *chain = atomic_load_explicit(slot, memory_order_acquire);
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

/* (instance): the data in the next version. */
static int call_script(lua_State *lua)
{
    const struct instance *instance = lua_touserdata(lua, 1);
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
                         struct instance *instance, struct dbk_error *err)
{
    if (upcaster->json == NULL)
        upcaster->json = dbk_json_create(DATA_SIZE_MAX);
    if (upcaster->json == NULL)
        return no_memory(err);
    int rc =
        dbk_script_open(source->file, source->source,
                        &(struct dbk_script_limits){.is_function = true}, &instance->script, err);
    return rc < 0 ? rc
                  : dbk_script_event_open(&instance->event, instance->script, upcaster->json, err);
}

static int run_script(struct dbk_upcaster *upcaster, const struct script *script,
                      const struct dbk_event *event, struct dbk_buf *out, struct dbk_error *err)
{
    struct instance *instance = &upcaster->instances[script->index];
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
        close_instance(instance);
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
        upcaster->json = dbk_json_create(DATA_SIZE_MAX);
    if (upcaster->json == NULL)
        return no_memory(err);
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
static int run_link(struct dbk_upcaster *upcaster, const struct link *link,
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
static int explain(const struct type *type, const struct link *link, const struct dbk_event *event,
                   const struct dbk_error *failure, int rc, struct dbk_error *err)
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
static int run_program(struct dbk_upcaster *upcaster, const struct type *type,
                       const struct link *link, struct dbk_event *event, struct dbk_error *err)
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

static int run_chain(struct dbk_upcaster *upcaster, const struct type *type,
                     const struct chain *chain, struct dbk_event *event, struct dbk_error *err)
{
    if (chain->count == 1 && chain->links[0].program != NULL)
        return run_program(upcaster, type, &chain->links[0], event, err);
    struct dbk_event now = *event;
    size_t text = 0;
    for (size_t i = 0; i < chain->count; i++) {
        const struct link *link = &chain->links[i];
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

/* The type of an event that is older or newer than it; NULL: it is neither. */
static struct type *touches(const struct dbk_upcasts *upcasts, struct dbk_event *event)
{
    struct type *type = find_type(upcasts, event->type);
    if (type == NULL || (event->flags & DBK_RECORD_JSON) == 0)
        return NULL;
    if (event->schema_version == 0)
        event->schema_version = 1;
    return event->schema_version == type->newest ? NULL : type;
}

bool dbk_upcasts_touch(const struct dbk_upcasts *upcasts, struct dbk_event *event)
{
    return touches(upcasts, event) != NULL;
}

/* What becomes of an event that is older than its type; takes an upcaster where there is none. */
static int prepare(struct dbk_upcasts *upcasts, struct type *type, struct dbk_upcaster **upcaster,
                   const struct dbk_event *event, const struct chain **chain_out,
                   struct dbk_error *err)
{
    if (event->schema_version > type->newest)
        return dbk_error_set(err, DBK_EBOOK,
                             "%s: version %u is stored, and %u is the newest declared (%.*s of "
                             "%.*s, version %" PRIu64 ", position %" PRIu64 ")",
                             type->file, event->schema_version, type->newest,
                             DBK_SLICE_ARGS(event->type), DBK_SLICE_ARGS(event->stream),
                             event->version, event->position);
    int rc = chain_of(upcasts, type, event->schema_version, chain_out, err);
    if (rc == DBK_OK && *upcaster == NULL)
        *upcaster = take(upcasts);
    if (rc == DBK_OK && *upcaster == NULL)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory upcasting an event");
    return rc;
}

int dbk_upcast_event(struct dbk_upcasts *upcasts, struct dbk_upcaster **upcaster,
                     struct dbk_event *event, struct dbk_error *err)
{
    struct type *type = touches(upcasts, event);
    const struct chain *chain = NULL;
    if (type == NULL)
        return 1;
    int rc = prepare(upcasts, type, upcaster, event, &chain, err);
    return rc < 0 ? rc : run_chain(*upcaster, type, chain, event, err);
}

/* Whether it is the event of which a member was asked for before. */
static bool is_picking(const struct dbk_upcaster *upcaster, const struct dbk_event *event)
{
    const struct picking *picking = &upcaster->picking;
    return picking->program != NULL && picking->position == event->position &&
           picking->version == event->schema_version && picking->text.data == event->data.data &&
           picking->text.size == event->data.size;
}

static bool begin_picking(struct dbk_upcaster *upcaster, const struct chain *chain,
                          const struct dbk_event *event)
{
    struct picking *picking = &upcaster->picking;
    const struct dbk_upcast_program *program = chain->count == 1 ? chain->links[0].program : NULL;
    picking->program = NULL;
    if (program == NULL || !dbk_upcast_begin_pick(program, event->data, &picking->finding))
        return false;
    picking->program = program;
    picking->text = event->data;
    picking->position = event->position;
    picking->version = event->schema_version;
    return true;
}

static int pick(struct dbk_upcaster *upcaster, struct dbk_slice name, struct dbk_slice *value_out)
{
    const struct picking *picking = &upcaster->picking;
    return dbk_upcast_pick(picking->program, picking->text, &picking->finding, name,
                           &upcaster->texts[1], value_out);
}

int dbk_upcast_member(struct dbk_upcasts *upcasts, struct dbk_upcaster **upcaster,
                      struct dbk_event *event, struct dbk_slice name, struct dbk_slice *value_out,
                      struct dbk_error *err)
{
    const struct chain *chain = NULL;
    if (*upcaster != NULL && is_picking(*upcaster, event)) {
        int picked = pick(*upcaster, name, value_out);
        if (picked >= 0)
            return picked;
    }
    struct type *type = touches(upcasts, event);
    if (type == NULL)
        return dbk_json_find(event->data, name, value_out);
    int rc = prepare(upcasts, type, upcaster, event, &chain, err);
    if (rc < 0)
        return rc;
    rc = begin_picking(*upcaster, chain, event) ? pick(*upcaster, name, value_out) : -1;
    if (rc >= 0)
        return rc;
    rc = run_chain(*upcaster, type, chain, event, err);
    return rc < 0 ? rc : dbk_json_find(event->data, name, value_out);
}
