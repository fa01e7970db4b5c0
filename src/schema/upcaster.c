/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/upcaster.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#include "schema/upcasting.h"

/* Upcasters that are kept for later readers, and what one may hold on to. */
#define POOL_MAX 32
#define KEPT_SIZE ((size_t)1 << 20)
#define ARENA_SIZE_MAX ((size_t)64 << 20)

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

static struct dbk_upcasts_type *find_type(const struct dbk_upcasts *upcasts, struct dbk_slice name)
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

static void enter_type(struct dbk_upcasts *upcasts, struct dbk_upcasts_type *type)
{
    size_t at = hash(type->name) & upcasts->slot_mask;
    while (upcasts->slots[at] != NULL)
        at = (at + 1) & upcasts->slot_mask;
    upcasts->slots[at] = type;
}

int dbk_upcasts_no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory opening the upcasters");
}

static int open_type(struct dbk_upcasts *upcasts, const struct dbk_schema *schema,
                     struct dbk_upcasts_type *type, struct dbk_error *err)
{
    struct dbk_arena *arena = &upcasts->arena;
    *type = (struct dbk_upcasts_type){.name = dbk_schema_type(schema),
                                      .file = dbk_schema_file(schema),
                                      .newest = dbk_schema_version(schema)};
    type->chains = dbk_arena_alloc_zero(arena, type->newest, sizeof(*type->chains));
    type->scripts = dbk_arena_alloc_zero(arena, type->newest + 1U, sizeof(*type->scripts));
    type->functions = dbk_arena_alloc_zero(arena, type->newest + 1U, sizeof(*type->functions));
    if (type->chains == NULL || type->scripts == NULL || type->functions == NULL)
        return dbk_upcasts_no_memory(err);
    for (uint16_t version = 2; version <= type->newest; version++) {
        const struct dbk_schema *of = dbk_schemas_find(upcasts->schemas, type->name, version);
        struct dbk_upcast_script *script = &type->scripts[version];
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
    struct dbk_upcasts_type *type = find_type(upcasts, function->type);
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

static void take_fingerprint(const struct dbk_upcasts *upcasts, struct dbk_upcasts_type *type)
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
    upcasts->slots =
        dbk_arena_alloc_zero(&upcasts->arena, slots, sizeof(struct dbk_upcasts_type *));
    upcasts->slot_mask = slots - 1;
    if (upcasts->types == NULL || upcasts->slots == NULL)
        return dbk_upcasts_no_memory(err);
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
        return dbk_upcasts_no_memory(err);
    upcasts->schemas = schemas;
    dbk_arena_init(&upcasts->arena, ARENA_SIZE_MAX);
    (void)pthread_mutex_init(&upcasts->lock, NULL);
    int rc = open_types(upcasts, err);
    upcasts->functions =
        dbk_arena_alloc_zero(&upcasts->arena, function_count + 1, sizeof(*upcasts->functions));
    if (rc == DBK_OK && upcasts->functions == NULL)
        rc = dbk_upcasts_no_memory(err);
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
        const struct dbk_upcasts_type *type = &upcasts->types[i];
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
    const struct dbk_upcasts_type *of = find_type(upcasts, type);
    memset(fingerprint_out, 0, DBK_SHA256_SIZE);
    if (type.size == 0)
        return fingerprint_all(upcasts, fingerprint_out);
    if (of == NULL || of->newest == 1)
        return false;
    memcpy(fingerprint_out, of->fingerprint, DBK_SHA256_SIZE);
    return true;
}

/* ---- Upcasters ---- */

static void free_upcaster(const struct dbk_upcasts *upcasts, struct dbk_upcaster *upcaster)
{
    for (size_t i = 0; upcaster->instances != NULL && i < upcasts->script_count; i++)
        dbk_upcaster_close_instance(&upcaster->instances[i]);
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
    for (const struct dbk_upcast_chain *chain = upcasts->chains; chain != NULL;
         chain = chain->next) {
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
    dbk_buf_init(&upcaster->texts[0], DBK_UPCAST_DATA_MAX);
    dbk_buf_init(&upcaster->texts[1], DBK_UPCAST_DATA_MAX);
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
            dbk_buf_init(&upcaster->texts[i], DBK_UPCAST_DATA_MAX);
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

/* ---- Events ---- */

/* The type of an event that is older or newer than it; NULL: it is neither. */
static struct dbk_upcasts_type *touches(const struct dbk_upcasts *upcasts, struct dbk_event *event)
{
    struct dbk_upcasts_type *type = find_type(upcasts, event->type);
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
static int prepare(struct dbk_upcasts *upcasts, struct dbk_upcasts_type *type,
                   struct dbk_upcaster **upcaster, const struct dbk_event *event,
                   const struct dbk_upcast_chain **chain_out, struct dbk_error *err)
{
    if (event->schema_version > type->newest)
        return dbk_error_set(err, DBK_EBOOK,
                             "%s: version %u is stored, and %u is the newest declared (%.*s of "
                             "%.*s, version %" PRIu64 ", position %" PRIu64 ")",
                             type->file, event->schema_version, type->newest,
                             DBK_SLICE_ARGS(event->type), DBK_SLICE_ARGS(event->stream),
                             event->version, event->position);
    int rc = dbk_upcasts_chain(upcasts, type, event->schema_version, chain_out, err);
    if (rc == DBK_OK && *upcaster == NULL)
        *upcaster = take(upcasts);
    if (rc == DBK_OK && *upcaster == NULL)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory upcasting an event");
    return rc;
}

int dbk_upcast_event(struct dbk_upcasts *upcasts, struct dbk_upcaster **upcaster,
                     struct dbk_event *event, struct dbk_error *err)
{
    struct dbk_upcasts_type *type = touches(upcasts, event);
    const struct dbk_upcast_chain *chain = NULL;
    if (type == NULL)
        return 1;
    int rc = prepare(upcasts, type, upcaster, event, &chain, err);
    return rc < 0 ? rc : dbk_upcaster_run(*upcaster, type, chain, event, err);
}

/* Whether it is the event of which a member was asked for before. */
static bool is_picking(const struct dbk_upcaster *upcaster, const struct dbk_event *event)
{
    const struct dbk_upcast_picking *picking = &upcaster->picking;
    return picking->program != NULL && picking->position == event->position &&
           picking->version == event->schema_version && picking->text.data == event->data.data &&
           picking->text.size == event->data.size;
}

static bool begin_picking(struct dbk_upcaster *upcaster, const struct dbk_upcast_chain *chain,
                          const struct dbk_event *event)
{
    struct dbk_upcast_picking *picking = &upcaster->picking;
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
    const struct dbk_upcast_picking *picking = &upcaster->picking;
    return dbk_upcast_pick(picking->program, picking->text, &picking->finding, name,
                           &upcaster->texts[1], value_out);
}

int dbk_upcast_member(struct dbk_upcasts *upcasts, struct dbk_upcaster **upcaster,
                      struct dbk_event *event, struct dbk_slice name, struct dbk_slice *value_out,
                      struct dbk_error *err)
{
    const struct dbk_upcast_chain *chain = NULL;
    if (*upcaster != NULL && is_picking(*upcaster, event)) {
        int picked = pick(*upcaster, name, value_out);
        if (picked >= 0)
            return picked;
    }
    struct dbk_upcasts_type *type = touches(upcasts, event);
    if (type == NULL)
        return dbk_json_find(event->data, name, value_out);
    int rc = prepare(upcasts, type, upcaster, event, &chain, err);
    if (rc < 0)
        return rc;
    rc = begin_picking(*upcaster, chain, event) ? pick(*upcaster, name, value_out) : -1;
    if (rc >= 0)
        return rc;
    rc = dbk_upcaster_run(*upcaster, type, chain, event, err);
    return rc < 0 ? rc : dbk_json_find(event->data, name, value_out);
}
