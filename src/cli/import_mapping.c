/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/import_mapping.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"

#define MEMORY_SIZE ((size_t)128 << 20)

/* Names looked up in every row. They are kept as Lua strings, because making one allocates, and out
   of a protected call nothing may fail. */
enum key {
    KEY_MAP,
    KEY_STREAM,
    KEY_TYPE,
    KEY_OCCURRED,
    KEY_DATA,
    KEY_META,
    KEY_TAGS,
    KEY_SCHEMA_VERSION,
    KEY_COUNT
};
static const char *const key_names[KEY_COUNT] = {"map",  "stream", "type", "occurred",
                                                 "data", "meta",   "tags", "schema_version"};

struct dbk_mapping {
    struct dbk_mapping_options options;
    struct dbk_script *script;
    struct dbk_json *json;
    int columns;         /* registry reference: a list of the columns' names */
    int keys[KEY_COUNT]; /* registry references */
};

/* Called by lua_pcall with the mapping: keeps the names. */
static int keep_names(lua_State *lua)
{
    struct dbk_mapping *mapping = lua_touserdata(lua, 1);
    size_t count = mapping->options.column_count;
    lua_createtable(lua, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(lua, mapping->options.columns[i].data, mapping->options.columns[i].size);
        lua_rawseti(lua, -2, (lua_Integer)i + 1);
    }
    mapping->columns = luaL_ref(lua, LUA_REGISTRYINDEX);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        lua_pushstring(lua, key_names[i]);
        mapping->keys[i] = luaL_ref(lua, LUA_REGISTRYINDEX);
    }
    return 0;
}

/* Pushes a table's field and returns its type; allocates nothing. */
static int push_key(const struct dbk_mapping *mapping, int table, enum key key)
{
    lua_State *lua = dbk_script_lua(mapping->script);
    (void)lua_rawgeti(lua, LUA_REGISTRYINDEX, mapping->keys[key]);
    return lua_rawget(lua, table);
}

static int prepare(struct dbk_mapping *mapping, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(mapping->script);
    lua_pushcfunction(lua, keep_names);
    lua_pushlightuserdata(lua, mapping);
    if (lua_pcall(lua, 1, 0, 0) != LUA_OK) {
        lua_pop(lua, 1);
        return dbk_error_set(err, DBK_ESCRIPT, "%s: out of the script's memory",
                             mapping->options.file);
    }
    int type = push_key(mapping, 1, KEY_MAP);
    lua_pop(lua, 1);
    if (type != LUA_TFUNCTION)
        return dbk_error_set(err, DBK_EINVAL, "%s: the table it returns has no function `map`",
                             mapping->options.file);
    return DBK_OK;
}

int dbk_mapping_open(const struct dbk_mapping_options *options, struct dbk_mapping **mapping_out,
                     struct dbk_error *err)
{
    struct dbk_script_limits limits = {.memory_size = MEMORY_SIZE};
    struct dbk_mapping *mapping = dbk_alloc_zero(1, sizeof(*mapping));
    if (mapping == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    mapping->options = *options;
    mapping->json = dbk_json_create(DBK_ROW_SIZE_MAX + 1);
    int rc = mapping->json == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : dbk_script_open(options->file, options->script, &limits, &mapping->script, err);
    if (rc == DBK_OK)
        rc = prepare(mapping, err);
    if (rc < 0)
        goto out;
    *mapping_out = mapping;
    mapping = NULL;
out:
    dbk_mapping_free(mapping);
    return rc;
}

void dbk_mapping_free(struct dbk_mapping *mapping)
{
    if (mapping == NULL)
        return;
    dbk_script_free(mapping->script);
    dbk_json_free(mapping->json);
    dbk_free(mapping);
}

/* ---- The row as Lua sees it ---- */

struct pushing {
    struct dbk_mapping *mapping;
    const struct dbk_row *row;
};

/* Lua allocates here, and may run out of its memory: called by lua_pcall. */
static int push_fields(lua_State *lua)
{
    const struct pushing *pushing = lua_touserdata(lua, 1);
    size_t count = pushing->mapping->options.column_count;
    lua_createtable(lua, 0, (int)count);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, pushing->mapping->columns);
    for (size_t i = 0; i < count; i++) {
        struct dbk_slice field = pushing->row->fields[i];
        lua_rawgeti(lua, -1, (lua_Integer)i + 1);
        lua_pushlstring(lua, field.size > 0 ? field.data : "", field.size);
        lua_rawset(lua, -4);
    }
    lua_pop(lua, 1);
    return 1;
}

static int push_row(struct dbk_mapping *mapping, const struct dbk_row *row, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(mapping->script);
    const struct dbk_json_node *nodes = NULL;
    if (mapping->options.column_count == 0) {
        int rc = dbk_json_parse(mapping->json, row->text, &nodes, err);
        return rc < 0 ? rc : dbk_script_push_json(mapping->script, nodes, err);
    }
    struct pushing pushing = {.mapping = mapping, .row = row};
    lua_pushcfunction(lua, push_fields);
    lua_pushlightuserdata(lua, &pushing);
    if (lua_pcall(lua, 1, 1, 0) == LUA_OK)
        return DBK_OK;
    lua_pop(lua, 1);
    return dbk_error_set(err, DBK_ESCRIPT, "%s: out of the script's memory", mapping->options.file);
}

/* ---- What it answered ---- */

static struct dbk_import_part add_bytes(struct dbk_import_batch *batch, struct dbk_slice bytes)
{
    size_t offset = batch->bytes.size;
    dbk_buf_append(&batch->bytes, bytes);
    return (struct dbk_import_part){.offset = offset, .size = bytes.size};
}

/* The text of a field of the event on top of the stack; valid while the event is. */
static int text_field(const struct dbk_mapping *mapping, int event, enum key key,
                      struct dbk_slice *text_out, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(mapping->script);
    int type = push_key(mapping, event, key);
    *text_out = (struct dbk_slice){0};
    if (type == LUA_TSTRING) {
        size_t size = 0;
        const char *text = lua_tolstring(lua, -1, &size);
        *text_out = dbk_slice(text, size);
    }
    lua_pop(lua, 1);
    if (type == LUA_TSTRING || (type == LUA_TNIL && key == KEY_OCCURRED))
        return DBK_OK;
    return dbk_error_set(err, DBK_EINVAL, "the event's %s is %s, not text", key_names[key],
                         type == LUA_TNIL ? "missing" : lua_typename(lua, type));
}

static int check_name(struct dbk_slice name, const char *what, size_t size_max,
                      struct dbk_error *err)
{
    if (name.size == 0 || name.size > size_max)
        return dbk_error_set(err, DBK_EINVAL, "the event's %s has %zu bytes, and may have 1 to %zu",
                             what, name.size, size_max);
    if (!dbk_slice_is_utf8(name))
        return dbk_error_set(err, DBK_EINVAL, "the event's %s is not UTF-8", what);
    for (size_t i = 0; i < name.size; i++)
        if ((unsigned char)name.data[i] < 0x20 || name.data[i] == 0x7f)
            return dbk_error_set(err, DBK_EINVAL, "the event's %s has a control character", what);
    return DBK_OK;
}

static int read_names(const struct dbk_mapping *mapping, int event, struct dbk_import_batch *batch,
                      struct dbk_import_event *item, struct dbk_error *err)
{
    struct dbk_slice text = {0};
    int rc = text_field(mapping, event, KEY_STREAM, &text, err);
    if (rc == DBK_OK)
        rc = check_name(text, "stream", DBK_STREAM_SIZE_MAX, err);
    if (rc == DBK_OK && text.data[0] == '$')
        rc = dbk_error_set(err, DBK_EINVAL, "the stream %.*s is of a category of the book's own",
                           DBK_SLICE_ARGS(text));
    if (rc < 0)
        return rc;
    item->stream = add_bytes(batch, text);
    rc = text_field(mapping, event, KEY_TYPE, &text, err);
    if (rc == DBK_OK)
        rc = check_name(text, "type", DBK_TYPE_SIZE_MAX, err);
    if (rc < 0)
        return rc;
    item->type = add_bytes(batch, text);
    rc = text_field(mapping, event, KEY_OCCURRED, &text, err);
    if (rc == DBK_OK && text.data != NULL && !dbk_time_parse(text, &item->occurred_us))
        rc = dbk_error_set(err, DBK_EINVAL, "occurred is no instant: \"%.*s\"",
                           (int)(text.size < 80 ? text.size : 80), text.data);
    return rc;
}

static int read_version(const struct dbk_mapping *mapping, int event, struct dbk_import_event *item,
                        struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(mapping->script);
    bool given = push_key(mapping, event, KEY_SCHEMA_VERSION) != LUA_TNIL;
    lua_Integer version = lua_isinteger(lua, -1) != 0 ? lua_tointeger(lua, -1) : 0;
    lua_pop(lua, 1);
    if (given && (version < 1 || version > UINT16_MAX))
        return dbk_error_set(err, DBK_EINVAL, "the event's schema_version is no number from 1 on");
    item->schema_version = (uint16_t)version;
    return DBK_OK;
}

static int write_value(struct dbk_mapping *mapping, int event, enum key key,
                       struct dbk_import_batch *batch, struct dbk_import_part *part,
                       struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(mapping->script);
    size_t offset = batch->bytes.size;
    int rc = DBK_OK;
    if (push_key(mapping, event, key) != LUA_TNIL)
        rc = dbk_script_write_json(mapping->script, lua_gettop(lua), &batch->bytes, err);
    lua_pop(lua, 1);
    *part = (struct dbk_import_part){.offset = offset, .size = batch->bytes.size - offset};
    return rc;
}

static int read_tags(struct dbk_mapping *mapping, int event, struct dbk_import_batch *batch,
                     struct dbk_import_event *item, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(mapping->script);
    int rc = DBK_OK;
    if (push_key(mapping, event, KEY_TAGS) == LUA_TNIL) {
        lua_pop(lua, 1);
        return DBK_OK;
    }
    if (!lua_istable(lua, -1))
        rc = dbk_error_set(err, DBK_EINVAL, "the event's tags are %s, not a list",
                           luaL_typename(lua, -1));
    size_t count = rc == DBK_OK ? (size_t)lua_rawlen(lua, -1) : 0;
    for (size_t i = 1; rc == DBK_OK && i <= count; i++) {
        size_t size = 0;
        if (lua_rawgeti(lua, -1, (lua_Integer)i) != LUA_TSTRING)
            rc = dbk_error_set(err, DBK_EINVAL, "tag %zu is %s, not text", i,
                               luaL_typename(lua, -1));
        const char *text = rc == DBK_OK ? lua_tolstring(lua, -1, &size) : NULL;
        if (rc == DBK_OK)
            rc = check_name(dbk_slice(text, size), "tag", DBK_TAG_SIZE_MAX, err);
        if (rc == DBK_OK)
            rc = dbk_import_batch_add_tag(batch, add_bytes(batch, dbk_slice(text, size)));
        lua_pop(lua, 1);
    }
    item->tag_count = count;
    lua_pop(lua, 1);
    return rc == DBK_OK && count > 0
               ? write_value(mapping, event, KEY_TAGS, batch, &item->tags, err)
               : rc;
}

static struct dbk_uuid derive_id(const struct dbk_mapping *mapping, uint64_t number, size_t ordinal)
{
    char row[24];
    char place[24];
    int row_size = snprintf(row, sizeof(row), "%ju", (uintmax_t)number);
    int place_size = snprintf(place, sizeof(place), "%zu", ordinal);
    const struct dbk_slice parts[] = {dbk_slice_of(mapping->options.import),
                                      mapping->options.source, dbk_slice(row, (size_t)row_size),
                                      dbk_slice(place, (size_t)place_size)};
    return dbk_uuid_derive(parts, 4);
}

/* Reads the event at a stack index. */
static int read_event(struct dbk_mapping *mapping, int event, struct dbk_import_batch *batch,
                      struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(mapping->script);
    if (!lua_istable(lua, event))
        return dbk_error_set(err, DBK_EINVAL, "map returned %s where an event is a table",
                             luaL_typename(lua, event));
    struct dbk_import_event *item = dbk_import_batch_add(batch);
    if (item == NULL)
        return DBK_ENOMEM;
    int rc = read_names(mapping, event, batch, item, err);
    if (rc == DBK_OK)
        rc = read_version(mapping, event, item, err);
    if (rc == DBK_OK)
        rc = write_value(mapping, event, KEY_DATA, batch, &item->data, err);
    if (rc == DBK_OK && item->data.size == 0)
        rc = dbk_error_set(err, DBK_EINVAL, "the event's data is missing");
    if (rc == DBK_OK)
        rc = write_value(mapping, event, KEY_META, batch, &item->meta, err);
    if (rc == DBK_OK && item->meta.size > 0 && batch->bytes.data[item->meta.offset] != '{')
        rc = dbk_error_set(err, DBK_EINVAL, "the event's meta is no object");
    if (rc == DBK_OK)
        rc = read_tags(mapping, event, batch, item, err);
    if (rc == DBK_OK && item->data.size + item->meta.size > mapping->options.event_size_max)
        rc = dbk_error_set(err, DBK_ELIMIT,
                           "the event has %zu bytes of data and meta, more than "
                           "%zu",
                           item->data.size + item->meta.size, mapping->options.event_size_max);
    if (rc == DBK_OK && batch->bytes.rc < 0)
        rc = dbk_error_set(err, batch->bytes.rc, "the row's events: %s",
                           dbk_code_text(batch->bytes.rc));
    return rc;
}

/* Reads what map answered, at a stack index: nil, an event, or a list of events. */
static int read_answer(struct dbk_mapping *mapping, int answer, const struct dbk_row *row,
                       struct dbk_import_batch *batch, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(mapping->script);
    size_t max = mapping->options.event_count_max;
    size_t first = batch->count;
    int rc = DBK_OK;
    if (lua_isnil(lua, answer))
        return DBK_OK;
    size_t count = lua_istable(lua, answer) ? (size_t)lua_rawlen(lua, answer) : 0;
    if (count > max)
        return dbk_error_set(err, DBK_ELIMIT, "it maps to %zu events, more than the %zu of a batch",
                             count, max);
    if (count == 0) {
        rc = read_event(mapping, answer, batch, err);
    } else {
        for (size_t i = 1; rc == DBK_OK && i <= count; i++) {
            lua_rawgeti(lua, answer, (lua_Integer)i);
            rc = read_event(mapping, lua_gettop(lua), batch, err);
            lua_pop(lua, 1);
        }
    }
    for (size_t i = first; rc == DBK_OK && i < batch->count; i++)
        batch->items[i].id = derive_id(mapping, row->number, i - first + 1);
    return rc;
}

/* Calls the function at the top of the stack, which remembers that the row was taken; nil: none. */
static int remember(struct dbk_mapping *mapping, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(mapping->script);
    if (lua_isnil(lua, -1))
        return DBK_OK;
    if (!lua_isfunction(lua, -1))
        return dbk_error_set(err, DBK_EINVAL,
                             "map returned %s behind its events, where a function may be",
                             luaL_typename(lua, -1));
    return dbk_script_call(mapping->script, 0, 0, err);
}

int dbk_mapping_row(struct dbk_mapping *mapping, const struct dbk_row *row,
                    struct dbk_import_batch *batch, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(mapping->script);
    struct dbk_import_place place = dbk_import_batch_place(batch);
    int top = lua_gettop(lua);
    (void)push_key(mapping, 1, KEY_MAP);
    int rc = push_row(mapping, row, err);
    if (rc == DBK_OK) {
        lua_pushinteger(lua, (lua_Integer)row->number);
        rc = dbk_script_call(mapping->script, 2, 2, err);
    }
    if (rc == DBK_OK)
        rc = read_answer(mapping, top + 1, row, batch, err);
    if (rc == DBK_OK)
        rc = remember(mapping, err);
    lua_settop(lua, top);
    if (rc < 0)
        dbk_import_batch_cut(batch, &place);
    return rc;
}
