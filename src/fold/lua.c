/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/lua.h"

#include <lauxlib.h>
#include <lua.h>

#include "base/diagnostics.h"

#define EVENT "daybook.event"

struct definition {
    char *name;
    struct dbk_slice source;
};

/* A state. */
struct instance {
    struct dbk_script *script;
    struct dbk_json *json;
    struct dbk_buf text;
    const struct dbk_event *event; /* what `event` shows now */
    int on;                        /* registry references */
    int proxy;
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

/* ---- What a script sees of an event ---- */

static void push_time(lua_State *lua, int64_t time_us)
{
    char text[DBK_TIME_TEXT_SIZE];
    size_t size = dbk_time_format(time_us, text);
    lua_pushlstring(lua, text, size);
}

static void push_meta(lua_State *lua, const struct instance *instance)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    struct dbk_json *json = dbk_json_create(DBK_FOLD_STATE_SIZE_MAX);
    bool read = json != NULL &&
                dbk_json_parse(json, instance->event->meta, &root, &failure) == DBK_OK &&
                dbk_script_push_json(instance->script, root, &failure) == DBK_OK;
    dbk_json_free(json);
    if (!read)
        (void)luaL_error(lua, "event.meta: %s", failure.message);
}

/* event.<name>, made when it is asked for: most folds ask for little. */
static int index_event(lua_State *lua)
{
    struct instance *const *proxy = luaL_checkudata(lua, 1, EVENT);
    const struct dbk_event *event = (*proxy)->event;
    const char *name = luaL_checkstring(lua, 2);
    if (event == NULL)
        return luaL_error(lua, "event: it is valid only while its function runs");
    if (strcmp(name, "stream") == 0) {
        lua_pushlstring(lua, event->stream.data, event->stream.size);
    } else if (strcmp(name, "type") == 0) {
        lua_pushlstring(lua, event->type.data, event->type.size);
    } else if (strcmp(name, "version") == 0) {
        lua_pushinteger(lua, (lua_Integer)event->version);
    } else if (strcmp(name, "position") == 0) {
        lua_pushinteger(lua, (lua_Integer)event->position);
    } else if (strcmp(name, "time") == 0) {
        push_time(lua, event->time_us);
    } else if (strcmp(name, "occurred") == 0) {
        push_time(lua, event->occurred_us == DBK_TIME_NONE ? event->time_us : event->occurred_us);
    } else if (strcmp(name, "id") == 0) {
        char text[DBK_UUID_TEXT_SIZE];
        dbk_uuid_format(&event->id, text);
        lua_pushstring(lua, text);
    } else if (strcmp(name, "meta") == 0) {
        if (event->meta.size == 0)
            lua_newtable(lua);
        else
            push_meta(lua, *proxy);
    } else {
        return luaL_error(lua, "event has no %s", name);
    }
    return 1;
}

/* (instance, the script's table): makes the proxy, and keeps the functions. */
static int prepare(lua_State *lua)
{
    struct instance *instance = lua_touserdata(lua, 1);
    (void)lua_getfield(lua, 2, "on");
    instance->on = luaL_ref(lua, LUA_REGISTRYINDEX);
    (void)luaL_newmetatable(lua, EVENT);
    lua_pushcfunction(lua, index_event);
    lua_setfield(lua, -2, "__index");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    struct instance **proxy = lua_newuserdatauv(lua, sizeof(struct instance *), 0);
    *proxy = instance;
    luaL_setmetatable(lua, EVENT);
    instance->proxy = luaL_ref(lua, LUA_REGISTRYINDEX);
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

static void push_data(lua_State *lua, const struct instance *instance)
{
    const struct dbk_event *event = instance->event;
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    if ((event->flags & DBK_RECORD_JSON) == 0)
        lua_pushlstring(lua, event->data.size == 0 ? "" : event->data.data, event->data.size);
    else if (dbk_json_parse(instance->json, event->data, &root, &failure) < 0 ||
             dbk_script_push_json(instance->script, root, &failure) < 0)
        (void)luaL_error(lua, "the event's data: %s", failure.message);
}

/* (instance, state): the state with the event in it. */
static int apply(lua_State *lua)
{
    const struct instance *instance = lua_touserdata(lua, 1);
    const struct dbk_event *event = instance->event;
    (void)lua_rawgeti(lua, LUA_REGISTRYINDEX, instance->on);
    lua_pushlstring(lua, event->type.data, event->type.size);
    if (lua_rawget(lua, -2) == LUA_TFUNCTION) {
        lua_pushvalue(lua, 2);
        push_data(lua, instance);
        (void)lua_rawgeti(lua, LUA_REGISTRYINDEX, instance->proxy);
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

static int apply_event(void *context, void *state, const struct dbk_event *event,
                       struct dbk_error *err)
{
    struct instance *instance = state;
    lua_State *lua = dbk_script_lua(instance->script);
    (void)context;
    instance->event = event;
    lua_pushcfunction(lua, apply);
    lua_pushlightuserdata(lua, instance);
    lua_pushvalue(lua, 2);
    int rc = dbk_script_call(instance->script, 2, 1, err);
    instance->event = NULL;
    if (rc == DBK_OK)
        lua_replace(lua, 2);
    return rc;
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
    *functions_out = (struct dbk_fold_functions){definition,  create,      destroy,   reset,
                                                 apply_event, write_state, read_state};
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

static int check_on(lua_State *lua, const char *name, struct dbk_error *err)
{
    if (lua_getfield(lua, 1, "on") != LUA_TTABLE)
        return wrong(name, err, "`on` must be a table of functions, one an event type");
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
        if (lua_type(lua, -2) != LUA_TSTRING || lua_type(lua, -1) != LUA_TFUNCTION)
            return wrong(name, err, "`on` may only hold functions, named by event types");
        lua_pop(lua, 1);
    }
    return DBK_OK;
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

struct checking {
    struct instance *instance;
    struct dbk_buf state;
    uint64_t every;
    struct dbk_error *err;
    int rc;
};

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
        rc = check_on(lua, name, checking->err);
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

static int check_instance(struct instance *instance, uint64_t *every_out, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(instance->script);
    struct checking checking = {.instance = instance, .err = err};
    dbk_buf_init(&checking.state, DBK_FOLD_STATE_SIZE_MAX);
    lua_pushcfunction(lua, check);
    lua_pushvalue(lua, 1);
    lua_pushlightuserdata(lua, &checking);
    int rc = dbk_script_call(instance->script, 2, 0, err);
    if (rc == DBK_OK)
        rc = checking.rc;
    if (rc == DBK_OK)
        *every_out = checking.every;
    dbk_buf_release(&checking.state);
    return rc;
}

int dbk_fold_lua_check(const struct dbk_fold_functions *functions, uint64_t *every_out,
                       struct dbk_error *err)
{
    void *state = NULL;
    int rc = create(functions->context, &state, err);
    if (rc < 0)
        return rc;
    rc = check_instance(state, every_out, err);
    destroy(functions->context, state);
    return rc;
}
