/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- a script's Lua state, shared by this room's sources.
 */
#ifndef DBK_SCRIPT_STATE_H
#define DBK_SCRIPT_STATE_H

#include <lauxlib.h>
#include <lua.h>

#include "script/script.h"

struct dbk_script {
    lua_State *lua;
    char *name;
    size_t memory_used;
    size_t memory_max;
    uint64_t instructions_left;
    uint64_t instructions_max;
    bool exceeded;    /* a limit was passed; nothing may catch that */
    bool heap_failed; /* the heap had no memory, which is not the script's doing */
    int running;      /* protected calls under way: only there the limit of memory holds */
    int environment;  /* registry reference */
    int array_mark;   /* registry reference: the metatable of arrays */
};

/* The script that a state belongs to. */
struct dbk_script *dbk_script_of(lua_State *lua);

/* lua_pcall, under the limit of memory. */
int dbk_script_protect(struct dbk_script *script, int argument_count, int result_count);
/* Counts work of a C function as instructions; raises the error when none are left. */
void dbk_script_charge(lua_State *lua, uint64_t count);

/* Puts null, array and decimal into the table on top of the stack. */
void dbk_script_add_values(lua_State *lua, struct dbk_script *script);
/* Puts the allowed part of the standard library there. */
void dbk_script_add_library(lua_State *lua);

bool dbk_script_is_null(lua_State *lua, int index);
void dbk_script_push_null(lua_State *lua);
void dbk_script_push_decimal(lua_State *lua, struct dbk_decimal value);
/* NULL when the value is no decimal. */
const struct dbk_decimal *dbk_script_decimal(lua_State *lua, int index);
/* A value that was forgotten, by its 32 digits. */
void dbk_script_push_forgotten(lua_State *lua, struct dbk_slice id);
/* Its digits; data is NULL when the value was not forgotten. */
struct dbk_slice dbk_script_forgotten(lua_State *lua, int index);
bool dbk_script_is_array(lua_State *lua, int index, const struct dbk_script *script);

#endif
