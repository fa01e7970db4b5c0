/* SPDX-License-Identifier: Apache-2.0 */
/* An event as a function of the script sees it, and what the function answered. */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/diagnostics.h"
#include "migrate/mapping.h"

#define TEXT_SIZE_MAX ((size_t)64 << 20)

static const char *const event_fields[] = {"stream", "type",     "data",    "meta",
                                           "tags",   "occurred", "id",      "schema_version",
                                           "json",   "position", "version", "time"};
#define EVENT_FIELDS (sizeof(event_fields) / sizeof(event_fields[0]))

/* ---- What a function sees of an event ---- */

void dbk_migrate_map_raise(lua_State *lua, int code, const struct dbk_error *failure)
{
    (void)luaL_error(lua, "%s",
                     failure->message[0] == '\0' ? dbk_code_text(code) : failure->message);
}

static void *need(lua_State *lua, void *memory)
{
    if (memory == NULL)
        (void)luaL_error(lua, "%s", dbk_code_text(DBK_ENOMEM));
    return memory;
}

static void set_text(lua_State *lua, const char *field, struct dbk_slice text)
{
    lua_pushlstring(lua, text.size == 0 ? "" : text.data, text.size);
    lua_setfield(lua, -2, field);
}

static void set_json(lua_State *lua, struct dbk_migrate_call *call, const char *field,
                     struct dbk_json *json, struct dbk_slice text,
                     const struct dbk_json_node **root_out)
{
    struct dbk_error failure = {0};
    int rc = dbk_json_parse(json, text, root_out, &failure);
    if (rc == DBK_OK)
        rc = dbk_script_push_json(call->map->script, *root_out, &failure);
    if (rc < 0)
        dbk_migrate_map_raise(lua, rc, &failure);
    lua_setfield(lua, -2, field);
}

static void push_event(lua_State *lua, struct dbk_migrate_call *call)
{
    const struct dbk_event *event = call->event;
    const struct dbk_json_node *meta = NULL;
    char text[DBK_UUID_TEXT_SIZE > DBK_TIME_TEXT_SIZE ? DBK_UUID_TEXT_SIZE : DBK_TIME_TEXT_SIZE];
    bool json = (event->flags & DBK_RECORD_JSON) != 0;
    lua_createtable(lua, 0, EVENT_FIELDS);
    set_text(lua, "stream", event->stream);
    set_text(lua, "type", event->type);
    lua_pushinteger(lua, (lua_Integer)event->position);
    lua_setfield(lua, -2, "position");
    lua_pushinteger(lua, (lua_Integer)event->version);
    lua_setfield(lua, -2, "version");
    lua_pushinteger(lua, event->schema_version);
    lua_setfield(lua, -2, "schema_version");
    set_text(lua, "time", dbk_slice(text, dbk_time_format(event->time_us, text)));
    if (event->occurred_us != DBK_TIME_NONE)
        set_text(lua, "occurred", dbk_slice(text, dbk_time_format(event->occurred_us, text)));
    dbk_uuid_format(&event->id, text);
    set_text(lua, "id", dbk_slice_of(text));
    lua_pushboolean(lua, json);
    lua_setfield(lua, -2, "json");
    lua_createtable(lua, (int)call->tag_count, 0);
    for (size_t i = 0; i < call->tag_count; i++) {
        lua_pushlstring(lua, call->tags[i].data, call->tags[i].size);
        lua_rawseti(lua, -2, (lua_Integer)i + 1);
    }
    lua_setfield(lua, -2, "tags");
    if (event->meta.size > 0)
        set_json(lua, call, "meta", call->map->other, event->meta, &meta);
    else
        set_json(lua, call, "meta", call->map->other, DBK_SLICE_LITERAL("{}"), &meta);
    if (json)
        set_json(lua, call, "data", call->map->json, event->data, &call->data);
    else
        set_text(lua, "data", event->data);
}

/* ---- What it answered ---- */

bool dbk_json_same(const struct dbk_json_node *a, const struct dbk_json_node *b)
{
    if (a->kind != b->kind)
        return false;
    const struct dbk_json_node *child = dbk_json_first(a);
    const struct dbk_json_node *other = dbk_json_first(b);
    switch (a->kind) {
    case DBK_JSON_INTEGER:
        return a->integer == b->integer;
    case DBK_JSON_DECIMAL:
        return dbk_decimal_compare(a->decimal, b->decimal) == 0;
    case DBK_JSON_STRING:
        return dbk_slice_equal(a->text, b->text);
    case DBK_JSON_ARRAY:
    case DBK_JSON_OBJECT:
        if (a->count != b->count)
            return false;
        for (uint32_t i = 0; i < a->count; i++) {
            if (a->kind == DBK_JSON_OBJECT)
                other = dbk_json_member_slice(b, child->key);
            if (other == NULL || !dbk_json_same(child, other))
                return false;
            child = dbk_json_sibling(child);
            other = a->kind == DBK_JSON_ARRAY ? dbk_json_sibling(other) : NULL;
        }
        return true;
    case DBK_JSON_NULL:
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
    default:
        return true;
    }
}

struct dbk_made *dbk_migrate_map_add_made(lua_State *lua, struct dbk_migrate_call *call)
{
    struct dbk_migrate_map *map = call->map;
    const struct dbk_event *event = call->event;
    if (map->made_count == map->options.made_max) {
        if (lua == NULL)
            return NULL;
        (void)luaL_error(lua, "it becomes more than %d events, what a batch of the new book takes",
                         (int)map->options.made_max);
    }
    if (map->made_count == map->made_capacity) {
        size_t capacity = map->made_capacity == 0 ? 16 : map->made_capacity * 2;
        struct dbk_made *grown = dbk_realloc(map->made, capacity * sizeof(*grown));
        if (grown == NULL && lua == NULL)
            return NULL;
        map->made = lua == NULL ? grown : need(lua, grown);
        map->made_capacity = capacity;
    }
    struct dbk_made *made = &map->made[map->made_count++];
    *made = (struct dbk_made){.event = {.stream = event->stream,
                                        .type = event->type,
                                        .data = event->data,
                                        .meta = event->meta,
                                        .tags = call->tags,
                                        .tag_count = call->tag_count,
                                        .occurred_us = event->occurred_us,
                                        .time_us = event->time_us,
                                        .flags = event->flags & DBK_RECORD_JSON,
                                        .schema_version = map->raw ? event->schema_version : 0}};
    return made;
}

static struct dbk_slice keep(lua_State *lua, struct dbk_migrate_call *call, struct dbk_slice text)
{
    struct dbk_slice copy = dbk_arena_copy(call->arena, text);
    (void)need(lua, (void *)(uintptr_t)copy.data);
    return copy;
}

/* A field that is a text; false: it is not there. */
static bool text_field(lua_State *lua, int table, const char *field, struct dbk_slice *text_out)
{
    size_t size = 0;
    int type = lua_getfield(lua, table, field);
    if (type != LUA_TNIL && type != LUA_TSTRING)
        (void)luaL_error(lua, "the event's %s is a %s, not a text", field, lua_typename(lua, type));
    const char *text = type == LUA_TNIL ? NULL : lua_tolstring(lua, -1, &size);
    *text_out = dbk_slice(text, size);
    return type != LUA_TNIL; /* the text stays on the stack, and valid */
}

static void refuse_change(lua_State *lua, const char *field)
{
    (void)luaL_error(lua, "the event's %s is the book's, and cannot be changed", field);
}

/* What only the book gives may be there as it was. */
static void check_fixed(lua_State *lua, const struct dbk_event *event, int table)
{
    char time[DBK_TIME_TEXT_SIZE];
    if (lua_getfield(lua, table, "position") != LUA_TNIL &&
        lua_tointeger(lua, -1) != (lua_Integer)event->position)
        refuse_change(lua, "position");
    if (lua_getfield(lua, table, "version") != LUA_TNIL &&
        lua_tointeger(lua, -1) != (lua_Integer)event->version)
        refuse_change(lua, "version");
    (void)dbk_time_format(event->time_us, time);
    int type = lua_getfield(lua, table, "time");
    if (type != LUA_TNIL && (type != LUA_TSTRING || strcmp(lua_tostring(lua, -1), time) != 0))
        refuse_change(lua, "time");
    lua_pop(lua, 3);
}

static void read_names(lua_State *lua, struct dbk_migrate_call *call, int table,
                       struct dbk_made *made)
{
    struct dbk_slice text;
    if (text_field(lua, table, "stream", &text) && !dbk_slice_equal(text, made->event.stream))
        made->event.stream = keep(lua, call, text);
    if (text_field(lua, table, "type", &text) && !dbk_slice_equal(text, made->event.type))
        made->event.type = keep(lua, call, text);
    if (text_field(lua, table, "occurred", &text) &&
        !dbk_time_parse(text, &made->event.occurred_us))
        (void)luaL_error(lua, "the event's occurred is no instant: \"%s\"", lua_tostring(lua, -1));
    if (text_field(lua, table, "id", &text) && !dbk_uuid_parse(text, &made->event.id))
        (void)luaL_error(lua, "the event's id is no UUID: \"%s\"", lua_tostring(lua, -1));
    if (made->event.stream.size == 0 || made->event.stream.data[0] == '$')
        (void)luaL_error(lua, "an event's stream is not empty, and does not begin with $");
    int type = lua_getfield(lua, table, "schema_version");
    int whole = 0;
    lua_Integer version = lua_tointegerx(lua, -1, &whole);
    if (type != LUA_TNIL && (whole == 0 || version < 0 || version > UINT16_MAX))
        (void)luaL_error(lua, "the event's schema_version is no whole number from 0 to 65535");
    if (type != LUA_TNIL && version != call->event->schema_version)
        made->event.schema_version = (uint16_t)version;
}

/* Data or meta: written as JSON, unless it says the same as the event's own. */
static struct dbk_slice write_json(lua_State *lua, struct dbk_migrate_call *call,
                                   const struct dbk_json_node *original, struct dbk_slice bytes)
{
    struct dbk_migrate_map *map = call->map;
    struct dbk_error failure = {0};
    const struct dbk_json_node *root = NULL;
    dbk_buf_reset(&map->text);
    int rc = dbk_script_write_json(map->script, -1, &map->text, &failure);
    struct dbk_slice text = dbk_buf_slice(&map->text);
    if (rc == DBK_OK && dbk_slice_equal(text, bytes))
        return bytes;
    if (rc == DBK_OK && original != NULL)
        rc = dbk_json_parse(map->other, text, &root, &failure);
    if (rc < 0)
        dbk_migrate_map_raise(lua, rc, &failure);
    return root != NULL && dbk_json_same(original, root) ? bytes : keep(lua, call, text);
}

static void read_data(lua_State *lua, struct dbk_migrate_call *call, int table,
                      struct dbk_made *made)
{
    int json = lua_getfield(lua, table, "json");
    if (json != LUA_TNIL && json != LUA_TBOOLEAN)
        (void)luaL_error(lua, "the event's json is neither true nor false");
    if (json == LUA_TBOOLEAN)
        made->event.flags = lua_toboolean(lua, -1) != 0 ? DBK_RECORD_JSON : 0;
    int type = lua_getfield(lua, table, "data");
    if (type == LUA_TNIL)
        return;
    if ((made->event.flags & DBK_RECORD_JSON) != 0) {
        made->event.data = write_json(lua, call, call->data, call->event->data);
        return;
    }
    if (type != LUA_TSTRING)
        (void)luaL_error(lua, "the event's data is a %s, not a text; json = true makes it JSON",
                         lua_typename(lua, type));
    size_t size = 0;
    const char *text = lua_tolstring(lua, -1, &size);
    if (!dbk_slice_equal(dbk_slice(text, size), made->event.data))
        made->event.data = keep(lua, call, dbk_slice(text, size));
}

static void read_meta(lua_State *lua, struct dbk_migrate_call *call, int table,
                      struct dbk_made *made)
{
    struct dbk_slice before = call->event->meta;
    if (lua_getfield(lua, table, "meta") == LUA_TNIL)
        return;
    struct dbk_slice meta = write_json(lua, call, NULL, before);
    if (meta.data[0] != '{')
        (void)luaL_error(lua, "the event's meta is no object");
    if (dbk_slice_equal_text(meta, "{}")) {
        made->event.meta = (struct dbk_slice){0};
        return;
    }
    /* Members may stand in another order. */
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = before.size == 0 ? NULL : dbk_json_create(TEXT_SIZE_MAX);
    bool same = json != NULL && dbk_json_parse(json, before, &root, NULL) == DBK_OK;
    const struct dbk_json_node *other = NULL;
    same = same && dbk_json_parse(call->map->other, meta, &other, NULL) == DBK_OK &&
           dbk_json_same(root, other);
    dbk_json_free(json);
    made->event.meta = same ? before : meta;
}

static void read_tags(lua_State *lua, struct dbk_migrate_call *call, int table,
                      struct dbk_made *made)
{
    int type = lua_getfield(lua, table, "tags");
    if (type == LUA_TNIL)
        return;
    if (type != LUA_TTABLE)
        (void)luaL_error(lua, "the event's tags are a %s, not a list", lua_typename(lua, type));
    size_t count = (size_t)lua_rawlen(lua, -1);
    struct dbk_slice *tags = need(lua, dbk_arena_alloc_zero(call->arena, count + 1, sizeof(*tags)));
    for (size_t i = 0; i < count; i++) {
        size_t size = 0;
        if (lua_rawgeti(lua, -1, (lua_Integer)i + 1) != LUA_TSTRING)
            (void)luaL_error(lua, "tag %d is a %s, not a text", (int)i + 1, luaL_typename(lua, -1));
        const char *text = lua_tolstring(lua, -1, &size);
        if (size > 0 && text[0] == '$')
            (void)luaL_error(lua, "tag %d begins with $, as those of the book's own", (int)i + 1);
        tags[i] = keep(lua, call, dbk_slice(text, size));
        lua_pop(lua, 1);
    }
    made->event.tags = tags;
    made->event.tag_count = count;
}

/* An event that a function answered, at a stack index; the event's own table is at 4. */
static void read_made(lua_State *lua, struct dbk_migrate_call *call, int table)
{
    int top = lua_gettop(lua);
    if (lua_type(lua, table) != LUA_TTABLE)
        (void)luaL_error(lua, "it answered a list with a %s, where an event is a table",
                         luaL_typename(lua, table));
    dbk_migrate_map_check_keys(lua, table, "an event", event_fields, EVENT_FIELDS);
    check_fixed(lua, call->event, table);
    struct dbk_made *made = dbk_migrate_map_add_made(lua, call);
    read_names(lua, call, table, made);
    read_data(lua, call, table, made);
    read_meta(lua, call, table, made);
    read_tags(lua, call, table, made);
    lua_settop(lua, top);
}

static void read_answer(lua_State *lua, struct dbk_migrate_call *call, int answer)
{
    size_t count = lua_istable(lua, answer) ? (size_t)lua_rawlen(lua, answer) : 0;
    switch (lua_type(lua, answer)) {
    case LUA_TNIL: /* as the function left it */
        read_made(lua, call, 4);
        return;
    case LUA_TBOOLEAN:
        if (lua_toboolean(lua, answer) != 0)
            (void)dbk_migrate_map_add_made(lua, call);
        return;
    case LUA_TTABLE:
        lua_pushnil(lua);
        if (lua_next(lua, answer) == 0)
            (void)luaL_error(lua, "it answered an empty table: to drop an event answer false");
        lua_settop(lua, answer);
        if (count == 0)
            read_made(lua, call, answer);
        for (size_t i = 1; i <= count; i++) {
            (void)lua_rawgeti(lua, answer, (lua_Integer)i);
            read_made(lua, call, lua_gettop(lua));
            lua_pop(lua, 1);
        }
        return;
    default:
        (void)luaL_error(lua,
                         "it answered a %s: an event becomes nothing (as it is now), true (as it "
                         "was), false (dropped), an event or a list of events",
                         luaL_typename(lua, answer));
    }
}

/* (call, the script's table) */
int dbk_migrate_map_transform(lua_State *lua)
{
    struct dbk_migrate_call *call = lua_touserdata(lua, 1);
    const struct dbk_migrate_map *map = call->map;
    if (dbk_migrate_names_find(&map->functions, call->event->type) != NULL) {
        (void)lua_getfield(lua, 2, "events");
        lua_pushlstring(lua, call->event->type.data, call->event->type.size);
        (void)lua_rawget(lua, -2);
        lua_remove(lua, -2);
    } else {
        (void)lua_getfield(lua, 2, "any");
    }
    push_event(lua, call);
    lua_pushvalue(lua, 3);
    lua_pushvalue(lua, 4);
    lua_call(lua, 1, 1);
    read_answer(lua, call, 5);
    return 0;
}
