/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/event.h"

#include <lauxlib.h>
#include <lua.h>

#define EVENT "daybook.event"
#define META_SIZE_MAX ((size_t)64 << 20)

static void push_time(lua_State *lua, int64_t time_us)
{
    char text[DBK_TIME_TEXT_SIZE];
    size_t size = dbk_time_format(time_us, text);
    lua_pushlstring(lua, text, size);
}

/* By a parser of its own: the event's data may still be in the other. */
static void push_meta(lua_State *lua, const struct dbk_script_event *view)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    struct dbk_json *json = dbk_json_create(META_SIZE_MAX);
    bool read = json != NULL &&
                dbk_json_parse(json, view->event->meta, &root, &failure) == DBK_OK &&
                dbk_script_push_json(view->script, root, &failure) == DBK_OK;
    dbk_json_free(json);
    if (!read)
        (void)luaL_error(lua, "event.meta: %s", failure.message);
}

/* event.<name> */
static int index_event(lua_State *lua)
{
    const struct dbk_script_event *const *proxy = luaL_checkudata(lua, 1, EVENT);
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

/* (view): makes the proxy. */
static int prepare(lua_State *lua)
{
    struct dbk_script_event *view = lua_touserdata(lua, 1);
    (void)luaL_newmetatable(lua, EVENT);
    lua_pushcfunction(lua, index_event);
    lua_setfield(lua, -2, "__index");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    struct dbk_script_event **proxy = lua_newuserdatauv(lua, sizeof(struct dbk_script_event *), 0);
    *proxy = view;
    luaL_setmetatable(lua, EVENT);
    view->proxy = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

int dbk_script_event_open(struct dbk_script_event *view, struct dbk_script *script,
                          struct dbk_json *json, struct dbk_error *err)
{
    *view = (struct dbk_script_event){.script = script, .json = json};
    lua_pushcfunction(dbk_script_lua(script), prepare);
    lua_pushlightuserdata(dbk_script_lua(script), view);
    return dbk_script_call(script, 1, 0, err);
}

void dbk_script_event_push_data(const struct dbk_script_event *view)
{
    lua_State *lua = dbk_script_lua(view->script);
    const struct dbk_event *event = view->event;
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    if ((event->flags & DBK_RECORD_JSON) == 0)
        lua_pushlstring(lua, event->data.size == 0 ? "" : event->data.data, event->data.size);
    else if (dbk_json_parse(view->json, event->data, &root, &failure) < 0 ||
             dbk_script_push_json(view->script, root, &failure) < 0)
        (void)luaL_error(lua, "the event's data: %s", failure.message);
}

void dbk_script_event_push(const struct dbk_script_event *view)
{
    (void)lua_rawgeti(dbk_script_lua(view->script), LUA_REGISTRYINDEX, view->proxy);
}
