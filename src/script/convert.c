/* SPDX-License-Identifier: Apache-2.0 */
/* JSON to Lua and back. Lua allocates, so both run inside lua_pcall. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script/state.h"

#define PATH_SIZE 200

/* {"$forgotten":"<32 digits>"}, and nothing else: its digits; else data is NULL. */
static struct dbk_slice forgotten_id(const struct dbk_json_node *object)
{
    const struct dbk_json_node *member = dbk_json_first(object);
    bool is_one = object->count == 1 && dbk_slice_equal_text(member->key, "$forgotten") &&
                  member->kind == DBK_JSON_STRING && member->text.size == 32;
    return is_one ? member->text : (struct dbk_slice){0};
}

static void push(lua_State *lua, const struct dbk_script *script, const struct dbk_json_node *node)
{
    const struct dbk_json_node *child = dbk_json_first(node);
    luaL_checkstack(lua, 4, "JSON is nested too deeply");
    switch (node->kind) {
    case DBK_JSON_NULL:
        dbk_script_push_null(lua);
        break;
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
        lua_pushboolean(lua, node->kind == DBK_JSON_TRUE);
        break;
    case DBK_JSON_INTEGER:
        lua_pushinteger(lua, node->integer);
        break;
    case DBK_JSON_DECIMAL:
        dbk_script_push_decimal(lua, node->decimal);
        break;
    case DBK_JSON_STRING:
        lua_pushlstring(lua, node->text.size == 0 ? "" : node->text.data, node->text.size);
        break;
    case DBK_JSON_ARRAY:
        lua_createtable(lua, (int)node->count, 0);
        for (uint32_t i = 0; i < node->count; i++, child = dbk_json_sibling(child)) {
            push(lua, script, child);
            lua_rawseti(lua, -2, (lua_Integer)i + 1);
        }
        (void)lua_rawgeti(lua, LUA_REGISTRYINDEX, script->array_mark);
        (void)lua_setmetatable(lua, -2);
        break;
    case DBK_JSON_OBJECT:
        if (forgotten_id(node).data != NULL) {
            dbk_script_push_forgotten(lua, forgotten_id(node));
            break;
        }
        lua_createtable(lua, 0, (int)node->count);
        for (uint32_t i = 0; i < node->count; i++, child = dbk_json_sibling(child)) {
            lua_pushlstring(lua, child->key.size == 0 ? "" : child->key.data, child->key.size);
            push(lua, script, child);
            lua_rawset(lua, -3);
        }
        break;
    }
}

static int push_protected(lua_State *lua)
{
    const struct dbk_json_node *node = lua_touserdata(lua, 1);
    push(lua, dbk_script_of(lua), node);
    return 1;
}

int dbk_script_push_json(struct dbk_script *script, const struct dbk_json_node *node,
                         struct dbk_error *err)
{
    lua_State *lua = script->lua;
    lua_pushcfunction(lua, push_protected);
    lua_pushlightuserdata(lua, (void *)(uintptr_t)node);
    if (dbk_script_protect(script, 1, 1) == LUA_OK)
        return DBK_OK;
    lua_pop(lua, 1);
    return script->heap_failed
               ? dbk_error_set(err, DBK_ENOMEM, "%s: %s", script->name, dbk_code_text(DBK_ENOMEM))
               : dbk_error_set(err, DBK_ESCRIPT, "%s: out of the script's memory", script->name);
}

/* The way from the value to what cannot be written, outermost part first. */
struct part {
    const struct part *outer;
    struct dbk_slice key; /* empty: an index */
    lua_Integer index;
    unsigned depth;
};

struct writing {
    struct dbk_script *script;
    struct dbk_buf *out;
};

static size_t format_path(const struct part *part, char path[PATH_SIZE])
{
    size_t size = part->outer == NULL ? 0 : format_path(part->outer, path);
    int more = 0;
    if (part->outer == NULL || size >= PATH_SIZE - 1)
        return size;
    if (part->key.size > 0)
        more = snprintf(path + size, PATH_SIZE - size, "%s%.*s", size == 0 ? "" : ".",
                        DBK_SLICE_ARGS(part->key));
    else
        more = snprintf(path + size, PATH_SIZE - size, "[%lld]", (long long)part->index);
    size += more < 0 ? 0 : (size_t)more;
    return size < PATH_SIZE - 1 ? size : PATH_SIZE - 1;
}

static void refuse(lua_State *lua, const struct part *part, const char *why)
{
    char path[PATH_SIZE] = "";
    (void)format_path(part, path);
    (void)luaL_error(lua, "%s%s%s cannot be JSON", path, path[0] == 0 ? "" : ": ", why);
}

static void write_value(lua_State *lua, struct writing *writing, const struct part *part);

static void write_array(lua_State *lua, struct writing *writing, const struct part *part,
                        lua_Integer count)
{
    int table = lua_gettop(lua);
    dbk_buf_append_char(writing->out, '[');
    for (lua_Integer i = 1; i <= count; i++) {
        struct part item = {.outer = part, .index = i, .depth = part->depth + 1};
        if (i > 1)
            dbk_buf_append_char(writing->out, ',');
        (void)lua_rawgeti(lua, table, i);
        write_value(lua, writing, &item);
        lua_pop(lua, 1);
    }
    dbk_buf_append_char(writing->out, ']');
}

static int compare_slices(const void *a, const void *b)
{
    return dbk_slice_compare(*(const struct dbk_slice *)a, *(const struct dbk_slice *)b);
}

/* The keys lie in a userdata on the stack, so that an error frees them. */
static struct dbk_slice *sorted_keys(lua_State *lua, int table, size_t count,
                                     const struct part *part)
{
    size_t at = 0;
    struct dbk_slice *keys = lua_newuserdatauv(lua, (count + 1) * sizeof(*keys), 0);
    lua_pushnil(lua);
    while (lua_next(lua, table) != 0) {
        lua_pop(lua, 1);
        if (lua_type(lua, -1) != LUA_TSTRING)
            refuse(lua, part, "a table with keys that are no texts");
        keys[at].data = lua_tolstring(lua, -1, &keys[at].size);
        at++;
    }
    qsort(keys, count, sizeof(*keys), compare_slices);
    return keys;
}

static void write_object(lua_State *lua, struct writing *writing, const struct part *part,
                         size_t count)
{
    int table = lua_gettop(lua);
    struct dbk_slice *keys = sorted_keys(lua, table, count, part);
    dbk_buf_append_char(writing->out, '{');
    for (size_t i = 0; i < count; i++) {
        struct part member = {.outer = part, .key = keys[i], .depth = part->depth + 1};
        if (!dbk_slice_is_utf8(keys[i]))
            refuse(lua, part, "a key that is not UTF-8");
        if (i > 0)
            dbk_buf_append_char(writing->out, ',');
        dbk_json_write_string(writing->out, keys[i]);
        dbk_buf_append_char(writing->out, ':');
        lua_pushlstring(lua, keys[i].data, keys[i].size);
        (void)lua_rawget(lua, table);
        write_value(lua, writing, &member);
        lua_pop(lua, 1);
    }
    dbk_buf_append_char(writing->out, '}');
    lua_pop(lua, 1);
}

/* Entries of the table on top of the stack; and how many of them are 1 to `size`. */
static size_t count_entries(lua_State *lua, lua_Integer size, size_t *items_out)
{
    size_t count = 0;
    size_t items = 0;
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
        lua_pop(lua, 1);
        lua_Integer index = lua_isinteger(lua, -1) != 0 ? lua_tointeger(lua, -1) : 0;
        items += index >= 1 && index <= size;
        count++;
    }
    *items_out = items;
    return count;
}

static void write_table(lua_State *lua, struct writing *writing, const struct part *part)
{
    lua_Integer size = (lua_Integer)lua_rawlen(lua, -1);
    size_t items = 0;
    if (part->depth >= DBK_JSON_DEPTH_MAX)
        refuse(lua, part, "a table in itself, or nested too deeply,");
    size_t count = count_entries(lua, size, &items);
    bool marked = dbk_script_is_array(lua, -1, writing->script);
    bool sequence = count == items && items == (size_t)size;
    if (marked && !sequence)
        refuse(lua, part, "an array with gaps or other keys");
    if (marked || (size > 0 && sequence))
        write_array(lua, writing, part, size);
    else
        write_object(lua, writing, part, count);
}

static void write_number(lua_State *lua, struct writing *writing, const struct part *part)
{
    if (lua_isinteger(lua, -1) != 0) {
        dbk_json_write_integer(writing->out, lua_tointeger(lua, -1));
        return;
    }
    double number = lua_tonumber(lua, -1);
    if (!isfinite(number))
        refuse(lua, part, "an infinity, or what is no number,");
    dbk_json_write_double(writing->out, number);
}

static void write_text(lua_State *lua, struct writing *writing, const struct part *part)
{
    size_t size = 0;
    const char *text = lua_tolstring(lua, -1, &size);
    if (!dbk_slice_is_utf8(dbk_slice(text, size)))
        refuse(lua, part, "text that is not UTF-8");
    dbk_json_write_string(writing->out, dbk_slice(text, size));
}

static void write_userdata(lua_State *lua, struct writing *writing, const struct part *part)
{
    const struct dbk_decimal *decimal = dbk_script_decimal(lua, -1);
    struct dbk_slice forgotten = dbk_script_forgotten(lua, -1);
    if (forgotten.data != NULL)
        dbk_buf_append_format(writing->out, "{\"$forgotten\":\"%.*s\"}", DBK_SLICE_ARGS(forgotten));
    else if (dbk_script_is_null(lua, -1))
        dbk_buf_append_text(writing->out, "null");
    else if (decimal != NULL)
        dbk_json_write_decimal(writing->out, *decimal);
    else
        refuse(lua, part, "a userdata");
}

/* Writes the value on top of the stack. */
static void write_value(lua_State *lua, struct writing *writing, const struct part *part)
{
    luaL_checkstack(lua, 8, "a table is nested too deeply");
    /* A table that stands in many places is written each time: it ends where the buffer does. */
    if (writing->out->rc < 0)
        (void)luaL_error(lua, "%s", dbk_code_text(writing->out->rc));
    switch (lua_type(lua, -1)) {
    case LUA_TNIL:
        dbk_buf_append_text(writing->out, "null");
        break;
    case LUA_TBOOLEAN:
        dbk_buf_append_text(writing->out, lua_toboolean(lua, -1) != 0 ? "true" : "false");
        break;
    case LUA_TNUMBER:
        write_number(lua, writing, part);
        break;
    case LUA_TSTRING:
        write_text(lua, writing, part);
        break;
    case LUA_TTABLE:
        write_table(lua, writing, part);
        break;
    case LUA_TUSERDATA:
    case LUA_TLIGHTUSERDATA:
        write_userdata(lua, writing, part);
        break;
    default:
        refuse(lua, part, "a function");
    }
}

static int write_protected(lua_State *lua)
{
    struct writing *writing = lua_touserdata(lua, 1);
    struct part whole = {0};
    write_value(lua, writing, &whole);
    return 0;
}

int dbk_script_write_json(struct dbk_script *script, int index, struct dbk_buf *out,
                          struct dbk_error *err)
{
    lua_State *lua = script->lua;
    struct writing writing = {script, out};
    size_t size = out->size;
    int value = lua_absindex(lua, index);
    lua_pushcfunction(lua, write_protected);
    lua_pushlightuserdata(lua, &writing);
    lua_pushvalue(lua, value);
    int status = dbk_script_protect(script, 2, 0);
    if (status == LUA_OK && out->rc == DBK_OK)
        return DBK_OK;
    int rc = DBK_ESCRIPT;
    const char *text = status == LUA_OK ? NULL : lua_tostring(lua, -1);
    if (out->rc < 0)
        rc = dbk_error_set(err, out->rc, "%s: %s", script->name, dbk_code_text(out->rc));
    else if (status == LUA_ERRMEM && script->heap_failed)
        rc = dbk_error_set(err, DBK_ENOMEM, "%s: %s", script->name, dbk_code_text(DBK_ENOMEM));
    else
        rc = dbk_error_set(err, rc, "%s: %s", script->name,
                           status == LUA_ERRMEM || text == NULL ? "out of the script's memory"
                                                                : text);
    if (status != LUA_OK)
        lua_pop(lua, 1);
    out->size = size;
    return rc;
}
