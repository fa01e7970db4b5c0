/* SPDX-License-Identifier: Apache-2.0 */
#include "fold/instance.h"

#include <lauxlib.h>
#include <lua.h>

#include "base/diagnostics.h"

#define EVENT "daybook.event"

void dbk_fold_instance_free(struct dbk_fold_instance *instance)
{
    if (instance == NULL)
        return;
    dbk_script_free(instance->script);
    dbk_json_free(instance->json);
    dbk_free(instance);
}

/* ---- What a script sees of an event ---- */

static void push_time(lua_State *lua, int64_t time_us)
{
    char text[DBK_TIME_TEXT_SIZE];
    size_t size = dbk_time_format(time_us, text);
    lua_pushlstring(lua, text, size);
}

static void push_meta(lua_State *lua, const struct dbk_fold_instance *instance)
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
    struct dbk_fold_instance *const *proxy = luaL_checkudata(lua, 1, EVENT);
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

/* Called by lua_pcall with the instance: the proxy, and the functions. */
static int prepare(lua_State *lua)
{
    struct dbk_fold_instance *instance = lua_touserdata(lua, 1);
    lua_settop(lua, 0);
    (void)luaL_newmetatable(lua, EVENT);
    lua_pushcfunction(lua, index_event);
    lua_setfield(lua, -2, "__index");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    struct dbk_fold_instance **proxy =
        lua_newuserdatauv(lua, sizeof(struct dbk_fold_instance *), 0);
    *proxy = instance;
    luaL_setmetatable(lua, EVENT);
    instance->proxy = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

int dbk_fold_instance_open(const char *name, struct dbk_slice source,
                           struct dbk_fold_instance **instance_out, struct dbk_error *err)
{
    struct dbk_fold_instance *instance = dbk_alloc_zero(1, sizeof(*instance));
    if (instance == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", name);
    instance->json = dbk_json_create(DBK_FOLD_STATE_SIZE_MAX);
    int rc = instance->json == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", name)
                 : dbk_script_open(name, source, NULL, &instance->script, err);
    if (rc == DBK_OK) {
        lua_State *lua = dbk_script_lua(instance->script);
        lua_pushcfunction(lua, prepare);
        lua_pushlightuserdata(lua, instance);
        rc = dbk_script_call(instance->script, 1, 0, err);
    }
    if (rc == DBK_OK) {
        lua_State *lua = dbk_script_lua(instance->script);
        (void)lua_getfield(lua, 1, "on");
        instance->on = luaL_ref(lua, LUA_REGISTRYINDEX);
    }
    if (rc < 0) {
        dbk_fold_instance_free(instance);
        return rc;
    }
    *instance_out = instance;
    return DBK_OK;
}

/* ---- Checking a fold's shape ---- */

static int wrong(const char *name, struct dbk_error *err, const char *what)
{
    return dbk_error_set(err, DBK_EINVAL, "%s:1: %s", name, what);
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
    int is_integer = 0;
    (void)lua_getfield(lua, -1, "every");
    lua_Integer every = lua_tointegerx(lua, -1, &is_integer);
    if (is_integer == 0 || every <= 0)
        return wrong(name, err, "`snapshot.every` must be a whole number above 0");
    *every_out = (uint64_t)every;
    return DBK_OK;
}

static int check_keys(lua_State *lua, const char *name, struct dbk_error *err)
{
    static const char *const known[] = {"initial", "on", "snapshot"};
    lua_pushnil(lua);
    while (lua_next(lua, 1) != 0) {
        bool found = false;
        lua_pop(lua, 1);
        const char *key = lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1) : "(no text)";
        for (size_t i = 0; i < 3; i++)
            found = found || strcmp(key, known[i]) == 0;
        if (found)
            continue;
        const char *closest = dbk_closest_name(key, known, 3);
        return dbk_error_set(err, DBK_EINVAL, "%s:1: a fold has no `%s`%s%s%s", name, key,
                             closest == NULL ? "" : "; did you mean `",
                             closest == NULL ? "" : closest, closest == NULL ? "" : "`?");
    }
    return DBK_OK;
}

int dbk_fold_instance_check(struct dbk_fold_instance *instance, uint64_t *every_out,
                            struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(instance->script);
    const char *name = dbk_script_name(instance->script);
    struct dbk_buf state;
    *every_out = 0;
    dbk_buf_init(&state, DBK_FOLD_STATE_SIZE_MAX);
    int rc = check_keys(lua, name, err);
    lua_settop(lua, 1);
    if (rc == DBK_OK)
        rc = check_on(lua, name, err);
    lua_settop(lua, 1);
    if (rc == DBK_OK)
        rc = check_snapshot(lua, name, every_out, err);
    lua_settop(lua, 1);
    if (rc == DBK_OK && lua_getfield(lua, 1, "initial") != LUA_TTABLE)
        rc = wrong(name, err, "`initial` must be a table: the state before the first event");
    if (rc == DBK_OK)
        rc = dbk_script_write_json(instance->script, 2, &state, err);
    lua_settop(lua, 1);
    dbk_buf_release(&state);
    return rc;
}
