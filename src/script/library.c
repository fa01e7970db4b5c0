/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The allowed part of Lua's library. What could tell runs apart is replaced: tables are walked in
 * key order, tostring shows no addresses, and a passed limit cannot be caught.
 */
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "script/state.h"

/* Instructions that putting one key or item into its order counts as. */
#define KEY_COST 8
/* Bytes of text that are looked at for one instruction. */
#define TEXT_BYTES_PER_INSTRUCTION 64

static char sort_key; /* its address is the registry key of table.sort */

/* pcall and xpcall do not catch what passed a limit. */
static void pass_limits_on(lua_State *lua, int status)
{
    struct dbk_script *script = dbk_script_of(lua);
    if (status == LUA_ERRMEM)
        script->exceeded = true;
    if (status != LUA_OK && script->exceeded)
        (void)lua_error(lua);
}

static int call_protected(lua_State *lua)
{
    luaL_checkany(lua, 1);
    int status = lua_pcall(lua, lua_gettop(lua) - 1, LUA_MULTRET, 0);
    pass_limits_on(lua, status);
    lua_pushboolean(lua, status == LUA_OK);
    lua_insert(lua, 1);
    return lua_gettop(lua);
}

/*
 * The handler runs behind the failed call, not within it: an error of the hook that counts
 * instructions would run it with the hook switched off, and so for ever.
 */
static int call_handled(lua_State *lua)
{
    luaL_checktype(lua, 2, LUA_TFUNCTION);
    lua_pushvalue(lua, 2);
    lua_insert(lua, 1);
    lua_remove(lua, 3);
    int status = lua_pcall(lua, lua_gettop(lua) - 2, LUA_MULTRET, 0);
    pass_limits_on(lua, status);
    if (status != LUA_OK) {
        lua_pushvalue(lua, 1);
        lua_insert(lua, 2);
        pass_limits_on(lua, lua_pcall(lua, 1, 1, 0));
    }
    lua_pushboolean(lua, status == LUA_OK);
    lua_replace(lua, 1);
    return lua_gettop(lua);
}

/* Numbers before texts before the rest; each in its own order. */
static int rank(int type)
{
    return type == LUA_TNUMBER ? 0 : type == LUA_TSTRING ? 1 : type == LUA_TBOOLEAN ? 2 : 3;
}

static int compare_keys(lua_State *lua)
{
    int left = lua_type(lua, 1);
    int right = lua_type(lua, 2);
    bool less = false;
    if (rank(left) != rank(right)) {
        less = rank(left) < rank(right);
    } else if (left == LUA_TNUMBER) {
        less = lua_compare(lua, 1, 2, LUA_OPLT) != 0;
    } else if (left == LUA_TSTRING) {
        size_t sizes[2];
        const char *a = lua_tolstring(lua, 1, &sizes[0]);
        const char *b = lua_tolstring(lua, 2, &sizes[1]);
        less = dbk_slice_compare(dbk_slice(a, sizes[0]), dbk_slice(b, sizes[1])) < 0;
    } else if (left == LUA_TBOOLEAN) {
        less = lua_toboolean(lua, 1) < lua_toboolean(lua, 2);
    }
    lua_pushboolean(lua, less);
    return 1;
}

/* Pushes a list of a table's keys in order. Keys that have none (tables) are refused. */
static void push_keys(lua_State *lua, int table)
{
    lua_Integer count = 0;
    lua_newtable(lua);
    int list = lua_gettop(lua);
    lua_pushnil(lua);
    while (lua_next(lua, table) != 0) {
        lua_pop(lua, 1);
        dbk_script_charge(lua, KEY_COST);
        if (rank(lua_type(lua, -1)) == 3)
            (void)luaL_error(lua, "a table with a %s as key has no order", luaL_typename(lua, -1));
        lua_pushvalue(lua, -1);
        lua_rawseti(lua, list, ++count);
    }
    (void)lua_rawgetp(lua, LUA_REGISTRYINDEX, &sort_key);
    lua_pushvalue(lua, list);
    lua_pushcfunction(lua, compare_keys);
    lua_call(lua, 2, 0);
}

static int next_pair(lua_State *lua)
{
    for (;;) {
        lua_Integer at = lua_tointeger(lua, lua_upvalueindex(2)) + 1;
        lua_pushinteger(lua, at);
        lua_replace(lua, lua_upvalueindex(2));
        if (lua_rawgeti(lua, lua_upvalueindex(1), at) == LUA_TNIL)
            return 1;
        lua_pushvalue(lua, -1);
        if (lua_rawget(lua, 1) != LUA_TNIL)
            return 2; /* an entry taken out meanwhile is passed over */
        lua_pop(lua, 2);
    }
}

static int ordered_pairs(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 1);
    push_keys(lua, 1);
    lua_pushinteger(lua, 0);
    lua_pushcclosure(lua, next_pair, 2);
    lua_pushvalue(lua, 1);
    lua_pushnil(lua);
    return 3;
}

static int ordered_next(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 2);
    push_keys(lua, 1);
    lua_Integer at = 1;
    if (!lua_isnil(lua, 2)) {
        while (lua_rawgeti(lua, 3, at) != LUA_TNIL && lua_rawequal(lua, -1, 2) == 0) {
            lua_pop(lua, 1);
            at++;
        }
        lua_pop(lua, 1);
        at++;
    }
    if (lua_rawgeti(lua, 3, at) == LUA_TNIL)
        return 1;
    lua_pushvalue(lua, -1);
    (void)lua_rawget(lua, 1);
    return 2;
}

static int plain_tostring(lua_State *lua)
{
    luaL_checkany(lua, 1);
    int type = lua_type(lua, 1);
    bool named = luaL_getmetafield(lua, 1, "__tostring") != LUA_TNIL;
    lua_settop(lua, 1);
    if (named || type == LUA_TNIL || type == LUA_TBOOLEAN || type == LUA_TNUMBER ||
        type == LUA_TSTRING)
        (void)luaL_tolstring(lua, 1, NULL);
    else
        lua_pushstring(lua, lua_typename(lua, type));
    return 1;
}

/* string.format shows no addresses: no %p, and tables by the name of their type. */
static int plain_format(lua_State *lua)
{
    const char *format = luaL_checkstring(lua, 1);
    for (const char *at = strchr(format, '%'); at != NULL; at = strchr(at, '%')) {
        at++;
        at += strspn(at, "-+ #0123456789.");
        if (*at == 'p')
            return luaL_error(lua, "string.format has no %%p here");
        if (*at != 0)
            at++;
    }
    for (int i = 2; i <= lua_gettop(lua); i++) {
        int type = lua_type(lua, i);
        if (type != LUA_TTABLE && type != LUA_TFUNCTION && type != LUA_TUSERDATA &&
            type != LUA_TLIGHTUSERDATA)
            continue;
        lua_pushcfunction(lua, plain_tostring);
        lua_pushvalue(lua, i);
        lua_call(lua, 1, 1);
        lua_replace(lua, i);
    }
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

/*
 * Functions that work long within one instruction are charged for it beforehand. The one that is
 * wrapped runs in the wrapper's place, so that its errors name the caller's line. What a pattern's
 * repeats cost cannot be told beforehand: see script.h.
 */
static int charged_text(lua_State *lua)
{
    size_t size = 0;
    if (lua_type(lua, 1) == LUA_TSTRING)
        (void)lua_tolstring(lua, 1, &size);
    dbk_script_charge(lua, size / TEXT_BYTES_PER_INSTRUCTION);
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

static int charged_rep(lua_State *lua)
{
    lua_Integer count = luaL_checkinteger(lua, 2);
    if (count > 0)
        dbk_script_charge(lua, (uint64_t)count);
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

static int charged_move(lua_State *lua)
{
    lua_Integer from = luaL_checkinteger(lua, 2);
    lua_Integer to = luaL_checkinteger(lua, 3);
    if (to >= from)
        dbk_script_charge(lua, (uint64_t)to - (uint64_t)from);
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

static int charged_sort(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    dbk_script_charge(lua, lua_rawlen(lua, 1) * KEY_COST);
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

/* table.insert and table.remove with a place move what is behind it. */
static int charged_shift(lua_State *lua)
{
    int is_integer = 0;
    lua_Integer size = lua_type(lua, 1) == LUA_TTABLE ? (lua_Integer)lua_rawlen(lua, 1) : 0;
    lua_Integer place = lua_tointegerx(lua, 2, &is_integer);
    if (is_integer != 0 && place >= 0 && place < size)
        dbk_script_charge(lua, (uint64_t)(size - place));
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

static int charged_concat(lua_State *lua)
{
    if (lua_type(lua, 1) == LUA_TTABLE)
        dbk_script_charge(lua, lua_rawlen(lua, 1));
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

/* Puts a wrapper around functions of the library on top of the stack. */
static void wrap(lua_State *lua, const luaL_Reg *wrappers)
{
    for (; wrappers->name != NULL; wrappers++) {
        (void)lua_getfield(lua, -1, wrappers->name);
        lua_pushcclosure(lua, wrappers->func, 1);
        lua_setfield(lua, -2, wrappers->name);
    }
}

/* Copies one function of a library, at `library`, into the table on top. */
static void copy(lua_State *lua, int library, const char *name)
{
    (void)lua_getfield(lua, library, name);
    lua_setfield(lua, -2, name);
}

static void add_base(lua_State *lua, int environment)
{
    static const char *const names[] = {"assert", "error", "ipairs", "select", "tonumber", "type"};
    static const luaL_Reg own[] = {{"pcall", call_protected}, {"pairs", ordered_pairs},
                                   {"next", ordered_next},    {"tostring", plain_tostring},
                                   {"xpcall", call_handled},  {NULL, NULL}};
    luaL_requiref(lua, LUA_GNAME, luaopen_base, 0);
    int base = lua_gettop(lua);
    lua_pushvalue(lua, environment);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        copy(lua, base, names[i]);
    luaL_setfuncs(lua, own, 0);
    lua_settop(lua, environment);
}

static void forget(lua_State *lua, const char *name)
{
    lua_pushnil(lua);
    lua_setfield(lua, -2, name);
}

static void add_libraries(lua_State *lua, int environment)
{
    static const luaL_Reg tables[] = {{"move", charged_move},     {"sort", charged_sort},
                                      {"insert", charged_shift},  {"remove", charged_shift},
                                      {"concat", charged_concat}, {NULL, NULL}};
    static const luaL_Reg texts[] = {{"find", charged_text},
                                     {"match", charged_text},
                                     {"gmatch", charged_text},
                                     {"gsub", charged_text},
                                     {"rep", charged_rep},
                                     {"format", plain_format},
                                     {NULL, NULL}};
    luaL_requiref(lua, LUA_TABLIBNAME, luaopen_table, 0);
    (void)lua_getfield(lua, -1, "sort");
    lua_rawsetp(lua, LUA_REGISTRYINDEX, &sort_key);
    wrap(lua, tables);
    lua_setfield(lua, environment, LUA_TABLIBNAME);
    luaL_requiref(lua, LUA_UTF8LIBNAME, luaopen_utf8, 0);
    lua_setfield(lua, environment, LUA_UTF8LIBNAME);
    luaL_requiref(lua, LUA_MATHLIBNAME, luaopen_math, 0);
    forget(lua, "random");
    forget(lua, "randomseed");
    lua_setfield(lua, environment, LUA_MATHLIBNAME);
    luaL_requiref(lua, LUA_STRLIBNAME, luaopen_string, 0);
    forget(lua, "dump");
    wrap(lua, texts);
    lua_setfield(lua, environment, LUA_STRLIBNAME);
    lua_pushliteral(lua, "");
    if (lua_getmetatable(lua, -1) != 0) {
        lua_pushboolean(lua, 0);
        lua_setfield(lua, -2, "__metatable");
    }
    lua_settop(lua, environment);
}

void dbk_script_add_library(lua_State *lua)
{
    int environment = lua_gettop(lua);
    add_base(lua, environment);
    add_libraries(lua, environment);
}
