/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/lua.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

#include "base/diagnostics.h"
#include "schema/event.h"

struct definition {
    char *name;
    struct dbk_slice source;
};

/* A state. */
struct instance {
    struct dbk_script *script;
    struct dbk_json *json;
    struct dbk_buf text;
    struct dbk_script_event event;
    bool written; /* the function for the event's own version is called */
    int on;       /* a registry reference */
};

static void destroy(void *context, void *state)
{
    struct instance *instance = state;
    (void)context;
    dbk_script_free(instance->script);
    dbk_json_free(instance->json);
    dbk_buf_release(&instance->text);
    dbk_free(instance);
}

/* (instance, the script's table): keeps the functions. */
static int prepare(lua_State *lua)
{
    struct instance *instance = lua_touserdata(lua, 1);
    (void)lua_getfield(lua, 2, "on");
    instance->on = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

static int create(void *context, void **state_out, struct dbk_error *err)
{
    const struct definition *definition = context;
    struct instance *instance = dbk_alloc_zero(1, sizeof(*instance));
    if (instance == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", definition->name);
    dbk_buf_init(&instance->text, DBK_FOLD_STATE_SIZE_MAX);
    instance->json = dbk_json_create(DBK_FOLD_STATE_SIZE_MAX);
    int rc =
        instance->json == NULL
            ? dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", definition->name)
            : dbk_script_open(definition->name, definition->source, NULL, &instance->script, err);
    if (rc == DBK_OK)
        rc = dbk_script_event_open(&instance->event, instance->script, instance->json, err);
    if (rc == DBK_OK) {
        lua_State *lua = dbk_script_lua(instance->script);
        lua_pushcfunction(lua, prepare);
        lua_pushlightuserdata(lua, instance);
        lua_pushvalue(lua, 1);
        rc = dbk_script_call(instance->script, 2, 0, err);
    }
    if (rc < 0) {
        destroy(context, instance);
        return rc;
    }
    *state_out = instance;
    return DBK_OK;
}

/* ---- Folding ---- */

/* Pushes the name of the event's function. */
static void push_name(lua_State *lua, const struct dbk_event *event, bool written)
{
    lua_pushlstring(lua, event->type.data, event->type.size);
    if (written) {
        lua_pushfstring(lua, ".v%d", event->schema_version == 0 ? 1 : (int)event->schema_version);
        lua_concat(lua, 2);
    }
}

/* (instance, state): the state with the event in it. */
static int apply(lua_State *lua)
{
    const struct instance *instance = lua_touserdata(lua, 1);
    const struct dbk_event *event = instance->event.event;
    (void)lua_rawgeti(lua, LUA_REGISTRYINDEX, instance->on);
    push_name(lua, event, instance->written);
    if (lua_rawget(lua, -2) == LUA_TFUNCTION) {
        lua_pushvalue(lua, 2);
        dbk_script_event_push_data(&instance->event);
        dbk_script_event_push(&instance->event);
        lua_call(lua, 3, 1);
        if (lua_istable(lua, -1))
            return 1;
        const char *kind = luaL_typename(lua, -1);
        if (!lua_isnil(lua, -1))
            return luaL_error(lua, "`%s` must return the new state as a table, or nothing, not %s",
                              lua_pushlstring(lua, event->type.data, event->type.size), kind);
    }
    lua_settop(lua, 2);
    return 1;
}

static int apply_by(struct instance *instance, const struct dbk_event *event, bool written,
                    struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(instance->script);
    instance->event.event = event;
    instance->written = written;
    lua_pushcfunction(lua, apply);
    lua_pushlightuserdata(lua, instance);
    lua_pushvalue(lua, 2);
    int rc = dbk_script_call(instance->script, 2, 1, err);
    instance->event.event = NULL;
    if (rc == DBK_OK)
        lua_replace(lua, 2);
    return rc;
}

static int apply_event(void *context, void *state, const struct dbk_event *event,
                       struct dbk_error *err)
{
    (void)context;
    return apply_by(state, event, false, err);
}

static int apply_written(void *context, void *state, const struct dbk_event *event,
                         struct dbk_error *err)
{
    (void)context;
    return apply_by(state, event, true, err);
}

static int write_state(void *context, void *state, struct dbk_buf *out, struct dbk_error *err)
{
    const struct instance *instance = state;
    (void)context;
    return dbk_script_write_json(instance->script, 2, out, err);
}

static int read_state(void *context, void *state, struct dbk_slice text, struct dbk_error *err)
{
    struct instance *instance = state;
    const struct dbk_json_node *root = NULL;
    (void)context;
    lua_settop(dbk_script_lua(instance->script), 1);
    int rc = dbk_json_parse(instance->json, text, &root, err);
    return rc < 0 ? rc : dbk_script_push_json(instance->script, root, err);
}

/* A copy of the initial state, by way of JSON: a fold may change what it is given. */
static int reset(void *context, void *state, struct dbk_error *err)
{
    struct instance *instance = state;
    lua_State *lua = dbk_script_lua(instance->script);
    lua_settop(lua, 1);
    dbk_buf_reset(&instance->text);
    (void)lua_getfield(lua, 1, "initial");
    int rc = dbk_script_write_json(instance->script, -1, &instance->text, err);
    return rc < 0 ? rc : read_state(context, state, dbk_buf_slice(&instance->text), err);
}

int dbk_fold_lua_open(const char *name, struct dbk_slice source,
                      struct dbk_fold_functions *functions_out, struct dbk_error *err)
{
    struct definition *definition = dbk_alloc_zero(1, sizeof(*definition));
    *functions_out = (struct dbk_fold_functions){
        definition, create, destroy, reset, apply_event, apply_written, write_state, read_state};
    if (definition != NULL) {
        definition->name = dbk_copy_text(dbk_slice_of(name));
        definition->source = dbk_slice(dbk_copy_text(source), source.size);
    }
    if (definition != NULL && definition->name != NULL && definition->source.data != NULL)
        return DBK_OK;
    dbk_fold_lua_free(functions_out);
    return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", name);
}

void dbk_fold_lua_free(struct dbk_fold_functions *functions)
{
    struct definition *definition = functions->context;
    if (definition == NULL)
        return;
    dbk_free(definition->name);
    dbk_free((void *)(uintptr_t)definition->source.data);
    dbk_free(definition);
    functions->context = NULL;
}

/* ---- Checking a fold's shape ---- */

static int wrong(const char *name, struct dbk_error *err, const char *what)
{
    return dbk_error_set(err, DBK_EINVAL, "%s:1: %s", name, what);
}

/* The table on top of the stack has no other keys than the known ones. */
static int check_keys(lua_State *lua, const char *name, const char *what, const char *const *known,
                      size_t count, struct dbk_error *err)
{
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
        bool found = false;
        lua_pop(lua, 1);
        const char *key = lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1) : "(no text)";
        for (size_t i = 0; i < count; i++)
            found = found || strcmp(key, known[i]) == 0;
        if (found)
            continue;
        const char *closest = dbk_closest_name(key, known, count);
        return dbk_error_set(err, DBK_EINVAL, "%s:1: %s has no `%s`%s%s%s", name, what, key,
                             closest == NULL ? "" : "; did you mean `",
                             closest == NULL ? "" : closest, closest == NULL ? "" : "`?");
    }
    return DBK_OK;
}

struct checking {
    struct instance *instance;
    struct dbk_buf state;
    struct dbk_arena *arena;
    struct dbk_slice *names; /* of `on` */
    size_t name_count;
    uint64_t every;
    struct dbk_error *err;
    int rc;
};

static int compare_names(const void *a, const void *b)
{
    return dbk_slice_compare(*(const struct dbk_slice *)a, *(const struct dbk_slice *)b);
}

/* The keys of `on`, which is on top of the stack. */
static int take_names(lua_State *lua, struct checking *checking)
{
    size_t count = 0;
    for (lua_pushnil(lua); lua_next(lua, -2) != 0; lua_pop(lua, 1))
        count++;
    struct dbk_slice *names = dbk_arena_alloc_zero(checking->arena, count + 1, sizeof(*names));
    bool good = names != NULL;
    checking->names = names;
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
        struct dbk_slice name;
        lua_pop(lua, 1);
        name.data = lua_tolstring(lua, -1, &name.size);
        if (good)
            names[checking->name_count] = dbk_arena_copy(checking->arena, name);
        good = good && names[checking->name_count++].data != NULL;
    }
    if (!good)
        return dbk_error_set(checking->err, DBK_ENOMEM, "out of memory checking a fold");
    if (count > 1)
        qsort(names, count, sizeof(*names), compare_names);
    return DBK_OK;
}

static int check_on(lua_State *lua, const char *name, struct checking *checking)
{
    struct dbk_error *err = checking->err;
    if (lua_getfield(lua, 1, "on") != LUA_TTABLE)
        return wrong(name, err, "`on` must be a table of functions, one an event type");
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
        if (lua_type(lua, -2) != LUA_TSTRING || lua_type(lua, -1) != LUA_TFUNCTION)
            return wrong(name, err, "`on` may only hold functions, named by event types");
        lua_pop(lua, 1);
    }
    return take_names(lua, checking);
}

static int check_snapshot(lua_State *lua, const char *name, uint64_t *every_out,
                          struct dbk_error *err)
{
    int type = lua_getfield(lua, 1, "snapshot");
    if (type == LUA_TNIL)
        return DBK_OK;
    if (type != LUA_TTABLE)
        return wrong(name, err, "`snapshot` must be a table, as { every = 1000 }");
    static const char *const known[] = {"every"};
    int is_integer = 0;
    int rc = check_keys(lua, name, "`snapshot`", known, 1, err);
    if (rc < 0)
        return rc;
    (void)lua_getfield(lua, -1, "every");
    lua_Integer every = lua_tointegerx(lua, -1, &is_integer);
    if (is_integer == 0 || every <= 0)
        return wrong(name, err, "`snapshot.every` must be a whole number above 0");
    *every_out = (uint64_t)every;
    return DBK_OK;
}

/* (the script's table, checking) */
static int check(lua_State *lua)
{
    static const char *const known[] = {"initial", "on", "snapshot"};
    struct checking *checking = lua_touserdata(lua, 2);
    struct dbk_script *script = checking->instance->script;
    const char *name = dbk_script_name(script);
    lua_settop(lua, 1);
    int rc = check_keys(lua, name, "a fold", known, 3, checking->err);
    if (rc == DBK_OK)
        rc = check_on(lua, name, checking);
    lua_settop(lua, 1);
    if (rc == DBK_OK)
        rc = check_snapshot(lua, name, &checking->every, checking->err);
    lua_settop(lua, 1);
    if (rc == DBK_OK && lua_getfield(lua, 1, "initial") != LUA_TTABLE)
        rc = wrong(name, checking->err,
                   "`initial` must be a table: the state before the first event");
    if (rc == DBK_OK)
        rc = dbk_script_write_json(script, 2, &checking->state, checking->err);
    checking->rc = rc;
    return 0;
}

static int check_instance(struct checking *checking, struct dbk_error *err)
{
    struct dbk_script *script = checking->instance->script;
    lua_State *lua = dbk_script_lua(script);
    dbk_buf_init(&checking->state, DBK_FOLD_STATE_SIZE_MAX);
    lua_pushcfunction(lua, check);
    lua_pushvalue(lua, 1);
    lua_pushlightuserdata(lua, checking);
    int rc = dbk_script_call(script, 2, 0, err);
    dbk_buf_release(&checking->state);
    return rc == DBK_OK ? checking->rc : rc;
}

int dbk_fold_lua_check(const struct dbk_fold_functions *functions, struct dbk_arena *arena,
                       struct dbk_slice **names_out, size_t *count_out, uint64_t *every_out,
                       struct dbk_error *err)
{
    void *state = NULL;
    int rc = create(functions->context, &state, err);
    if (rc < 0)
        return rc;
    struct checking checking = {.instance = state, .arena = arena, .err = err};
    rc = check_instance(&checking, err);
    destroy(functions->context, state);
    if (rc < 0)
        return rc;
    *names_out = checking.names;
    *count_out = checking.name_count;
    *every_out = checking.every;
    return DBK_OK;
}
