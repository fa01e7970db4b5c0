/* SPDX-License-Identifier: Apache-2.0 */
#include "script/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script/state.h"

#define MEMORY_DEFAULT ((size_t)64 << 20)
#define INSTRUCTIONS_DEFAULT UINT64_C(10000000)
#define HOOK_STEP 1000

/* Larger blocks cost instructions: copying goes on inside of single ones. */
#define BLOCK_FREE 4096
#define BLOCK_BYTES_PER_INSTRUCTION 32

/*
 * What the rooms above push outside of protected calls is always given: there is nobody to catch
 * the error. It is counted, and the next call that needs more fails.
 */
static void *allocate(void *context, void *memory, size_t old_size, size_t new_size)
{
    struct dbk_script *script = context;
    size_t old = memory == NULL ? 0 : old_size;
    if (new_size == 0) {
        dbk_free(memory);
        script->memory_used -= old;
        return NULL;
    }
    if (script->running > 0 && new_size > old &&
        script->memory_used - old + new_size > script->memory_max)
        return NULL;
    void *grown = dbk_realloc(memory, new_size);
    if (grown == NULL) {
        script->heap_failed = true;
        return NULL;
    }
    script->memory_used += new_size - old;
    if (new_size > old && new_size >= BLOCK_FREE) {
        uint64_t cost = new_size / BLOCK_BYTES_PER_INSTRUCTION;
        script->instructions_left -=
            cost < script->instructions_left ? cost : script->instructions_left;
    }
    return grown;
}

struct dbk_script *dbk_script_of(lua_State *lua)
{
    return *(struct dbk_script **)lua_getextraspace(lua);
}

void dbk_script_charge(lua_State *lua, uint64_t count)
{
    struct dbk_script *script = dbk_script_of(lua);
    if (script->instructions_left > count) {
        script->instructions_left -= count;
        return;
    }
    script->instructions_left = 0;
    script->exceeded = true;
    /* The innermost function that has lines: what is charged may be a C function. */
    luaL_where(lua, 0);
    if (lua_tostring(lua, -1)[0] == 0)
        luaL_where(lua, 1);
    lua_pushliteral(lua, "it used up its instructions");
    lua_concat(lua, 2);
    (void)lua_error(lua);
}

static void count_instructions(lua_State *lua, lua_Debug *debug)
{
    (void)debug;
    dbk_script_charge(lua, HOOK_STEP);
}

int dbk_script_protect(struct dbk_script *script, int argument_count, int result_count)
{
    script->running++;
    int status = lua_pcall(script->lua, argument_count, result_count, 0);
    script->running--;
    return status;
}

/* A script may raise any bytes; a message is one line of UTF-8. */
static void clean(struct dbk_error *err)
{
    if (err == NULL)
        return;
    bool sound = dbk_slice_is_utf8(dbk_slice_of(err->message));
    for (char *at = err->message; *at != 0; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = ' ';
        else if (!sound && (unsigned char)*at >= 0x80)
            *at = '?';
    }
}

/* Puts what failed into words. The error object is popped. */
static int fail(struct dbk_script *script, int status, struct dbk_error *err)
{
    lua_State *lua = script->lua;
    const char *text = lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1) : NULL;
    int rc = status == LUA_ERRSYNTAX ? DBK_EINVAL : DBK_ESCRIPT;
    if (status == LUA_ERRMEM && script->heap_failed)
        rc = dbk_error_set(err, DBK_ENOMEM, "%s: %s", script->name, dbk_code_text(DBK_ENOMEM));
    else if (status == LUA_ERRMEM)
        rc = dbk_error_set(err, rc, "%s: it used up its memory of %zu bytes", script->name,
                           script->memory_max);
    else if (text != NULL && strncmp(text, script->name, strlen(script->name)) == 0)
        rc = dbk_error_set(err, rc, "%s", text);
    else
        rc = dbk_error_set(err, rc, "%s: %s", script->name,
                           text != NULL ? text : "it raised an error that is no text");
    clean(err);
    lua_pop(lua, 1);
    return rc;
}

struct opening {
    struct dbk_script *script;
    struct dbk_slice source;
    const struct dbk_script_limits *limits; /* NULL: the defaults */
};

/* Called by lua_pcall: builds the environment and loads the chunk. */
static int load(lua_State *lua)
{
    const struct opening *opening = lua_touserdata(lua, 1);
    struct dbk_script *script = opening->script;
    lua_settop(lua, 0);
    lua_newtable(lua);
    dbk_script_add_library(lua);
    dbk_script_add_values(lua, script);
    for (size_t i = 0; opening->limits != NULL && i < opening->limits->function_count; i++) {
        lua_pushcfunction(lua, opening->limits->functions[i].function);
        lua_setfield(lua, 1, opening->limits->functions[i].name);
    }
    lua_pushvalue(lua, -1);
    script->environment = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_pushfstring(lua, "@%s", script->name);
    int status = luaL_loadbufferx(lua, opening->source.data == NULL ? "" : opening->source.data,
                                  opening->source.size, lua_tostring(lua, -1), "t");
    if (status != LUA_OK)
        return lua_error(lua);
    lua_pushvalue(lua, 1);
    (void)lua_setupvalue(lua, -2, 1);
    return 1;
}

static int open_chunk(struct dbk_script *script, struct dbk_slice source,
                      const struct dbk_script_limits *limits, struct dbk_error *err)
{
    lua_State *lua = script->lua;
    bool is_function = limits != NULL && limits->is_function;
    struct opening opening = {script, source, limits};
    lua_pushcfunction(lua, load);
    lua_pushlightuserdata(lua, &opening);
    int status = dbk_script_protect(script, 1, 1);
    if (status != LUA_OK)
        return fail(script, status == LUA_ERRRUN ? LUA_ERRSYNTAX : status, err);
    int rc = dbk_script_call(script, 0, 1, err);
    if (rc < 0)
        return rc;
    if (lua_type(lua, 1) != (is_function ? LUA_TFUNCTION : LUA_TTABLE))
        return dbk_error_set(err, DBK_EINVAL, "%s:1: it must return a %s, not %s", script->name,
                             is_function ? "function" : "table", luaL_typename(lua, 1));
    return DBK_OK;
}

int dbk_script_open(const char *name, struct dbk_slice source,
                    const struct dbk_script_limits *limits, struct dbk_script **script_out,
                    struct dbk_error *err)
{
    struct dbk_script *script = dbk_alloc_zero(1, sizeof(*script));
    if (script == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s: %s", name, dbk_code_text(DBK_ENOMEM));
    script->memory_max =
        limits == NULL || limits->memory_size == 0 ? MEMORY_DEFAULT : limits->memory_size;
    script->instructions_max = limits == NULL || limits->instruction_count == 0
                                   ? INSTRUCTIONS_DEFAULT
                                   : limits->instruction_count;
    script->name = dbk_copy_text(dbk_slice_of(name));
    if (script->name != NULL)
        script->lua = lua_newstate(allocate, script);
    int rc = DBK_OK;
    if (script->lua == NULL) {
        rc = dbk_error_set(err, DBK_ENOMEM, "%s: %s", name, dbk_code_text(DBK_ENOMEM));
    } else {
        *(struct dbk_script **)lua_getextraspace(script->lua) = script;
        lua_sethook(script->lua, count_instructions, LUA_MASKCOUNT, HOOK_STEP);
        script->instructions_left = script->instructions_max;
        rc = open_chunk(script, source, limits, err);
    }
    if (rc < 0) {
        dbk_script_free(script);
        return rc;
    }
    *script_out = script;
    return DBK_OK;
}

void dbk_script_free(struct dbk_script *script)
{
    if (script == NULL)
        return;
    if (script->lua != NULL)
        lua_close(script->lua);
    dbk_free(script->name);
    dbk_free(script);
}

struct lua_State *dbk_script_lua(struct dbk_script *script)
{
    return script->lua;
}

const char *dbk_script_name(const struct dbk_script *script)
{
    return script->name;
}

struct registering {
    const char *name;
    int (*function)(lua_State *lua);
};

static int register_function(lua_State *lua)
{
    const struct registering *registering = lua_touserdata(lua, 1);
    (void)lua_rawgeti(lua, LUA_REGISTRYINDEX, dbk_script_of(lua)->environment);
    lua_pushcfunction(lua, registering->function);
    lua_setfield(lua, -2, registering->name);
    return 0;
}

int dbk_script_register(struct dbk_script *script, const char *name,
                        int (*function)(struct lua_State *lua), struct dbk_error *err)
{
    struct registering registering = {name, function};
    lua_pushcfunction(script->lua, register_function);
    lua_pushlightuserdata(script->lua, &registering);
    int status = dbk_script_protect(script, 1, 0);
    return status == LUA_OK ? DBK_OK : fail(script, status, err);
}

int dbk_script_call(struct dbk_script *script, int argument_count, int result_count,
                    struct dbk_error *err)
{
    script->instructions_left = script->instructions_max;
    script->exceeded = false;
    script->heap_failed = false;
    int status = dbk_script_protect(script, argument_count, result_count);
    return status == LUA_OK ? DBK_OK : fail(script, status, err);
}
