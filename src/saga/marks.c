/* SPDX-License-Identifier: Apache-2.0 */
#include "saga/marks.h"

#include <lauxlib.h>
#include <lua.h>

#include "base/time.h"

#define MARK "daybook.saga"

/* A table of a kind, with the first arguments under these names. */
static int make(lua_State *lua, const char *kind, const char *const *names)
{
    int count = 0;
    while (names[count] != NULL)
        count++;
    lua_settop(lua, count);
    lua_createtable(lua, 0, count + 1);
    lua_pushstring(lua, kind);
    lua_setfield(lua, -2, "kind");
    for (int i = 0; i < count; i++) {
        lua_pushvalue(lua, i + 1);
        lua_setfield(lua, -2, names[i]);
    }
    (void)luaL_newmetatable(lua, MARK); /* or pushes the one that is there */
    lua_setmetatable(lua, -2);
    return 1;
}

static int make_step(lua_State *lua)
{
    static const char *const names[] = {"name", NULL};
    (void)luaL_checkstring(lua, 1);
    return make(lua, "step", names);
}

static int make_complete(lua_State *lua)
{
    static const char *const names[] = {NULL};
    return make(lua, "complete", names);
}

static int make_fail(lua_State *lua)
{
    static const char *const names[] = {"name", NULL};
    (void)luaL_checkstring(lua, 1);
    return make(lua, "fail", names);
}

static int make_timer(lua_State *lua)
{
    static const char *const names[] = {"name", "delay", NULL};
    int64_t delay_us = 0;
    size_t size = 0;
    (void)luaL_checkstring(lua, 1);
    const char *delay = luaL_checklstring(lua, 2, &size);
    luaL_argcheck(lua, dbk_duration_parse(dbk_slice(delay, size), &delay_us), 2,
                  "a duration is written as \"30 s\" or \"2 days\"");
    return make(lua, "timer", names);
}

static int make_stop(lua_State *lua)
{
    static const char *const names[] = {"name", NULL};
    (void)luaL_checkstring(lua, 1);
    return make(lua, "stop", names);
}

static int make_event(lua_State *lua)
{
    static const char *const names[] = {"type", "data", "options", NULL};
    (void)luaL_checkstring(lua, 1);
    if (lua_isnoneornil(lua, 2))
        return luaL_error(lua, "event: its data is missing");
    luaL_checktype(lua, 3, LUA_TTABLE);
    if (lua_getfield(lua, 3, "stream") != LUA_TSTRING)
        return luaL_error(lua, "event: say its stream, as { stream = \"stock-1\" }");
    return make(lua, "event", names);
}

static int make_command(lua_State *lua)
{
    static const char *const names[] = {"name", "body", NULL};
    (void)luaL_checkstring(lua, 1);
    luaL_checktype(lua, 2, LUA_TTABLE);
    return make(lua, "command", names);
}

static int make_http(lua_State *lua)
{
    static const char *const names[] = {"name", "method", "path", "body", NULL};
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE", "GET", NULL};
    (void)luaL_checkstring(lua, 1);
    (void)luaL_checkoption(lua, 2, NULL, methods);
    const char *path = luaL_checkstring(lua, 3);
    luaL_argcheck(lua, path[0] == '/', 3, "a path begins with '/'");
    for (const char *at = path; *at != '\0'; at++)
        luaL_argcheck(lua, (unsigned char)*at > ' ' && *at != '#' && (unsigned char)*at < 127, 3,
                      "a path has no white space, no '#' and no bytes past ASCII");
    return make(lua, "http", names);
}

static int make_none(lua_State *lua)
{
    return luaL_error(lua, "`none` is written as it is, and not called");
}

const char *dbk_saga_mark(lua_State *lua, int index)
{
    index = lua_absindex(lua, index);
    if (!lua_istable(lua, index) || lua_getmetatable(lua, index) == 0)
        return NULL;
    (void)luaL_getmetatable(lua, MARK);
    bool same = lua_rawequal(lua, -1, -2) != 0;
    lua_pop(lua, 2);
    if (!same)
        return NULL;
    (void)lua_getfield(lua, index, "kind");
    const char *kind = lua_tostring(lua, -1);
    lua_pop(lua, 1); /* the table holds it */
    return kind;
}

bool dbk_saga_is_none(lua_State *lua, int index)
{
    return lua_tocfunction(lua, index) == make_none;
}

const struct dbk_script_function dbk_saga_marks[] = {
    {"step", make_step},       {"complete", make_complete}, {"fail", make_fail},
    {"timer", make_timer},     {"stop", make_stop},         {"event", make_event},
    {"command", make_command}, {"http", make_http},         {"none", make_none},
};
const size_t dbk_saga_marks_count = sizeof(dbk_saga_marks) / sizeof(dbk_saga_marks[0]);
