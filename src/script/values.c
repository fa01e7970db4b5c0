/* SPDX-License-Identifier: Apache-2.0 */
/* What JSON has and Lua has not: null, arrays that may be empty, exact decimal numbers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "script/state.h"

#define DECIMAL "daybook.decimal"

static char null_key; /* its address is null */

bool dbk_script_is_null(lua_State *lua, int index)
{
    return lua_islightuserdata(lua, index) && lua_touserdata(lua, index) == &null_key;
}

void dbk_script_push_null(lua_State *lua)
{
    lua_pushlightuserdata(lua, &null_key);
}

void dbk_script_push_decimal(lua_State *lua, struct dbk_decimal value)
{
    struct dbk_decimal *memory = lua_newuserdatauv(lua, sizeof(*memory), 0);
    *memory = value;
    luaL_setmetatable(lua, DECIMAL);
}

const struct dbk_decimal *dbk_script_decimal(lua_State *lua, int index)
{
    return luaL_testudata(lua, index, DECIMAL);
}

bool dbk_script_is_array(lua_State *lua, int index, const struct dbk_script *script)
{
    if (lua_getmetatable(lua, index) == 0)
        return false;
    (void)lua_rawgeti(lua, LUA_REGISTRYINDEX, script->array_mark);
    bool marked = lua_rawequal(lua, -1, -2) != 0;
    lua_pop(lua, 2);
    return marked;
}

/* Nothing is known of a forgotten value, so it is neither less nor more than anything. */
static int never(lua_State *lua)
{
    lua_pushboolean(lua, 0);
    return 1;
}

/* An argument as a decimal: a decimal, an integer, or (parse) text. */
static struct dbk_decimal to_decimal(lua_State *lua, int index, bool parse)
{
    struct dbk_decimal value = {0};
    const struct dbk_decimal *decimal = dbk_script_decimal(lua, index);
    if (decimal != NULL)
        return *decimal;
    if (lua_isinteger(lua, index) != 0)
        return dbk_decimal_of(lua_tointeger(lua, index));
    if (parse && lua_type(lua, index) == LUA_TSTRING) {
        size_t size = 0;
        const char *text = lua_tolstring(lua, index, &size);
        if (!dbk_decimal_parse(dbk_slice(text, size), &value))
            (void)luaL_error(lua, "decimal: \"%s\" is no number that can be kept exactly", text);
        return value;
    }
    if (lua_type(lua, index) == LUA_TNUMBER)
        (void)luaL_error(lua, "decimal: a binary fraction is not exact; write decimal(\"%f\")",
                         lua_tonumber(lua, index));
    (void)luaL_error(lua, "decimal: %s is no number", luaL_typename(lua, index));
    return value;
}

static int make_decimal(lua_State *lua)
{
    if (dbk_script_forgotten(lua, 1).data != NULL) {
        lua_settop(lua, 1);
        return 1;
    }
    dbk_script_push_decimal(lua, to_decimal(lua, 1, true));
    return 1;
}

typedef bool (*operation_fn)(struct dbk_decimal a, struct dbk_decimal b, struct dbk_decimal *out);

static int calculate(lua_State *lua, operation_fn operation, const char *name)
{
    struct dbk_decimal value;
    if (dbk_script_forgotten(lua, 2).data != NULL)
        return 1; /* it is on top: what is made of it is forgotten, too */
    if (!operation(to_decimal(lua, 1, false), to_decimal(lua, 2, false), &value))
        return luaL_error(lua, "decimal: the exact %s does not fit", name);
    dbk_script_push_decimal(lua, value);
    return 1;
}

static int add(lua_State *lua)
{
    return calculate(lua, dbk_decimal_add, "sum");
}

static int subtract(lua_State *lua)
{
    return calculate(lua, dbk_decimal_subtract, "difference");
}

static int multiply(lua_State *lua)
{
    return calculate(lua, dbk_decimal_multiply, "product");
}

static int negate(lua_State *lua)
{
    struct dbk_decimal value;
    if (!dbk_decimal_subtract(dbk_decimal_of(0), to_decimal(lua, 1, false), &value))
        return luaL_error(lua, "decimal: the negative does not fit");
    dbk_script_push_decimal(lua, value);
    return 1;
}

static int refuse_divide(lua_State *lua)
{
    if (dbk_script_forgotten(lua, 2).data != NULL)
        return 1;
    return luaL_error(lua, "decimal: a quotient needs places: a:divide(b, 2)");
}

static int divide(lua_State *lua)
{
    struct dbk_decimal value;
    int places = (int)luaL_checkinteger(lua, 3);
    if (!dbk_decimal_divide(to_decimal(lua, 1, false), to_decimal(lua, 2, false), places, &value))
        return luaL_error(lua, "decimal: the quotient does not fit, or divides by zero");
    dbk_script_push_decimal(lua, value);
    return 1;
}

static int round_to(lua_State *lua)
{
    struct dbk_decimal value;
    int places = (int)luaL_optinteger(lua, 2, 0);
    if (!dbk_decimal_round(to_decimal(lua, 1, false), places, &value))
        return luaL_error(lua, "decimal: the rounded number does not fit");
    dbk_script_push_decimal(lua, value);
    return 1;
}

static int to_integer(lua_State *lua)
{
    int64_t integer = 0;
    if (dbk_decimal_to_i64(to_decimal(lua, 1, false), &integer))
        lua_pushinteger(lua, integer);
    else
        lua_pushnil(lua);
    return 1;
}

static int to_number(lua_State *lua)
{
    lua_pushnumber(lua, dbk_decimal_to_double(to_decimal(lua, 1, false)));
    return 1;
}

static int equal(lua_State *lua)
{
    if (dbk_script_forgotten(lua, 2).data != NULL)
        return never(lua);
    int order = dbk_decimal_compare(to_decimal(lua, 1, false), to_decimal(lua, 2, false));
    lua_pushboolean(lua, order == 0);
    return 1;
}

static int less(lua_State *lua)
{
    if (dbk_script_forgotten(lua, 2).data != NULL)
        return never(lua);
    int order = dbk_decimal_compare(to_decimal(lua, 1, false), to_decimal(lua, 2, false));
    lua_pushboolean(lua, order < 0);
    return 1;
}

static int less_equal(lua_State *lua)
{
    if (dbk_script_forgotten(lua, 2).data != NULL)
        return never(lua);
    int order = dbk_decimal_compare(to_decimal(lua, 1, false), to_decimal(lua, 2, false));
    lua_pushboolean(lua, order <= 0);
    return 1;
}

static int to_text(lua_State *lua)
{
    char text[DBK_DECIMAL_TEXT_SIZE];
    size_t size = dbk_decimal_format(to_decimal(lua, 1, false), text);
    lua_pushlstring(lua, text, size);
    return 1;
}

static int concatenate(lua_State *lua)
{
    if (dbk_script_forgotten(lua, 2).data != NULL)
        return 1;
    for (int i = 1; i <= 2; i++)
        (void)luaL_tolstring(lua, i, NULL);
    lua_concat(lua, 2);
    return 1;
}

static int null_text(lua_State *lua)
{
    lua_pushliteral(lua, "null");
    return 1;
}

/* ---- Forgotten values ---- */

/*
 * What reads as {"$forgotten":"<id>"}. A script that was written before anybody was forgotten goes
 * on with it: what is made of it is forgotten, too.
 */
#define FORGOTTEN "daybook.forgotten"

struct forgotten {
    char id[32];
};

void dbk_script_push_forgotten(lua_State *lua, struct dbk_slice id)
{
    struct forgotten *memory = lua_newuserdatauv(lua, sizeof(*memory), 0);
    memcpy(memory->id, id.data, sizeof(memory->id));
    luaL_setmetatable(lua, FORGOTTEN);
}

struct dbk_slice dbk_script_forgotten(lua_State *lua, int index)
{
    const struct forgotten *forgotten = luaL_testudata(lua, index, FORGOTTEN);
    return forgotten == NULL ? (struct dbk_slice){0}
                             : dbk_slice(forgotten->id, sizeof(forgotten->id));
}

/* Of an operation with a forgotten value: the first such one. */
static int absorb(lua_State *lua)
{
    lua_pushvalue(lua, luaL_testudata(lua, 1, FORGOTTEN) != NULL ? 1 : 2);
    return 1;
}

static int same_forgotten(lua_State *lua)
{
    lua_pushboolean(lua,
                    dbk_slice_equal(dbk_script_forgotten(lua, 1), dbk_script_forgotten(lua, 2)));
    return 1;
}

static int no_length(lua_State *lua)
{
    lua_pushinteger(lua, 0);
    return 1;
}

static int forgotten_text(lua_State *lua)
{
    lua_pushliteral(lua, "[forgotten]");
    return 1;
}

/* What is put into it is gone. */
static int swallow(lua_State *lua)
{
    (void)lua;
    return 0;
}

static void make_forgotten(lua_State *lua)
{
    static const luaL_Reg meta[] = {{"__add", absorb},
                                    {"__sub", absorb},
                                    {"__mul", absorb},
                                    {"__div", absorb},
                                    {"__idiv", absorb},
                                    {"__mod", absorb},
                                    {"__pow", absorb},
                                    {"__unm", absorb},
                                    {"__band", absorb},
                                    {"__bor", absorb},
                                    {"__bxor", absorb},
                                    {"__bnot", absorb},
                                    {"__shl", absorb},
                                    {"__shr", absorb},
                                    {"__concat", absorb},
                                    {"__index", absorb},
                                    {"__call", absorb},
                                    {"__newindex", swallow},
                                    {"__eq", same_forgotten},
                                    {"__lt", never},
                                    {"__le", never},
                                    {"__len", no_length},
                                    {"__tostring", forgotten_text},
                                    {NULL, NULL}};
    (void)luaL_newmetatable(lua, FORGOTTEN);
    luaL_setfuncs(lua, meta, 0);
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_pop(lua, 1);
}

static int mark_array(lua_State *lua)
{
    if (lua_isnoneornil(lua, 1))
        lua_newtable(lua);
    else
        luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 1);
    (void)lua_rawgeti(lua, LUA_REGISTRYINDEX, dbk_script_of(lua)->array_mark);
    (void)lua_setmetatable(lua, 1);
    return 1;
}

static void make_decimals(lua_State *lua)
{
    static const luaL_Reg meta[] = {{"__add", add},
                                    {"__sub", subtract},
                                    {"__mul", multiply},
                                    {"__div", refuse_divide},
                                    {"__idiv", refuse_divide},
                                    {"__unm", negate},
                                    {"__eq", equal},
                                    {"__lt", less},
                                    {"__le", less_equal},
                                    {"__tostring", to_text},
                                    {"__concat", concatenate},
                                    {NULL, NULL}};
    static const luaL_Reg methods[] = {{"divide", divide},
                                       {"round", round_to},
                                       {"to_integer", to_integer},
                                       {"to_number", to_number},
                                       {NULL, NULL}};
    (void)luaL_newmetatable(lua, DECIMAL);
    luaL_setfuncs(lua, meta, 0);
    luaL_newlib(lua, methods);
    lua_setfield(lua, -2, "__index");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_pop(lua, 1);
}

/* All light userdata share one metatable; null is the only one a script ever holds. */
static void make_null(lua_State *lua)
{
    dbk_script_push_null(lua);
    lua_newtable(lua);
    lua_pushcfunction(lua, null_text);
    lua_setfield(lua, -2, "__tostring");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    (void)lua_setmetatable(lua, -2);
    lua_pop(lua, 1);
}

void dbk_script_add_values(lua_State *lua, struct dbk_script *script)
{
    make_decimals(lua);
    make_forgotten(lua);
    make_null(lua);
    lua_newtable(lua);
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    script->array_mark = luaL_ref(lua, LUA_REGISTRYINDEX);
    dbk_script_push_null(lua);
    lua_setfield(lua, -2, "null");
    lua_pushcfunction(lua, mark_array);
    lua_setfield(lua, -2, "array");
    lua_pushcfunction(lua, make_decimal);
    lua_setfield(lua, -2, "decimal");
}
