/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/names.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    return dbk_slice_compare(((const struct dbk_migrate_name *)a)->name,
                             ((const struct dbk_migrate_name *)b)->name);
}

/* The text at a stack index, in the arena. */
static struct dbk_slice text_at(lua_State *lua, int index, const char *field,
                                struct dbk_arena *arena)
{
    size_t size = 0;
    if (lua_type(lua, index) != LUA_TSTRING)
        (void)luaL_error(lua, "`%s` has %s where a name is a text", field,
                         luaL_typename(lua, index));
    const char *text = lua_tolstring(lua, index, &size);
    if (size == 0)
        (void)luaL_error(lua, "`%s` has an empty name", field);
    struct dbk_slice copy = dbk_arena_copy(arena, dbk_slice(text, size));
    if (copy.data == NULL)
        (void)luaL_error(lua, "%s", dbk_code_text(DBK_ENOMEM));
    return copy;
}

static size_t count_keys(lua_State *lua)
{
    size_t count = 0;
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
        lua_pop(lua, 1);
        count++;
    }
    return count;
}

static void read_texts(lua_State *lua, const char *field, struct dbk_arena *arena,
                       struct dbk_migrate_name *name)
{
    if (lua_type(lua, -1) != LUA_TTABLE)
        (void)luaL_error(lua, "`%s` must have a list of tags for each type", field);
    name->text_count = (size_t)lua_rawlen(lua, -1);
    struct dbk_slice *texts = dbk_arena_alloc_zero(arena, name->text_count + 1, sizeof(*texts));
    if (texts == NULL)
        (void)luaL_error(lua, "%s", dbk_code_text(DBK_ENOMEM));
    for (size_t i = 0; i < name->text_count; i++) {
        (void)lua_rawgeti(lua, -1, (lua_Integer)i + 1);
        texts[i] = text_at(lua, -1, field, arena);
        lua_pop(lua, 1);
    }
    name->texts = texts;
}

/* The entry whose key and value are on top of the stack. */
static void read_name(lua_State *lua, const char *field, enum dbk_migrate_names_kind kind,
                      struct dbk_arena *arena, struct dbk_migrate_name *name)
{
    if (kind == DBK_MIGRATE_NAMES_LIST && lua_type(lua, -2) != LUA_TNUMBER)
        (void)luaL_error(lua, "`%s` must be a list of names: {\"A\", \"B\"}", field);
    name->name = text_at(lua, kind == DBK_MIGRATE_NAMES_LIST ? -1 : -2, field, arena);
    if (kind == DBK_MIGRATE_NAMES_PAIRS)
        name->other = text_at(lua, -1, field, arena);
    if (kind == DBK_MIGRATE_NAMES_LISTS)
        read_texts(lua, field, arena, name);
    if (kind == DBK_MIGRATE_NAMES_FUNCTIONS && lua_type(lua, -1) != LUA_TFUNCTION)
        (void)luaL_error(lua, "`%s.%s` must be a function, not %s", field, name->name.data,
                         luaL_typename(lua, -1));
}

void dbk_migrate_names_read(lua_State *lua, const char *field, enum dbk_migrate_names_kind kind,
                            struct dbk_arena *arena, struct dbk_migrate_names *names_out)
{
    int type = lua_getfield(lua, 1, field);
    *names_out = (struct dbk_migrate_names){0};
    if (type == LUA_TNIL) {
        lua_pop(lua, 1);
        return;
    }
    if (type != LUA_TTABLE)
        (void)luaL_error(lua, "`%s` must be a table, not %s", field, lua_typename(lua, type));
    names_out->names = dbk_arena_alloc_zero(arena, count_keys(lua) + 1, sizeof(*names_out->names));
    if (names_out->names == NULL) {
        (void)luaL_error(lua, "%s", dbk_code_text(DBK_ENOMEM));
        return;
    }
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
        read_name(lua, field, kind, arena, &names_out->names[names_out->count++]);
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
    qsort(names_out->names, names_out->count, sizeof(*names_out->names), compare);
}

const struct dbk_migrate_name *dbk_migrate_names_find(const struct dbk_migrate_names *names,
                                                      struct dbk_slice name)
{
    size_t low = 0;
    size_t high = names->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = dbk_slice_compare(names->names[middle].name, name);
        if (order == 0)
            return &names->names[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
