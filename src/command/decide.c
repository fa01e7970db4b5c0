/* SPDX-License-Identifier: Apache-2.0 */
#include "command/decide.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>

#include "base/diagnostics.h"
#include "script/script.h"

#define TEXT_SIZE_MAX ((size_t)64 << 20)
#define CODE_SIZE_MAX 63 /* dbk_command_result has room for that */
#define EVENT "daybook.decided"
#define REFUSAL "daybook.refusal"

struct dbk_decider {
    struct dbk_script *script;
    struct dbk_json *json;
    int body; /* registry reference */
};

/* event(type, data [, options]): a marked table. */
static int make_event(lua_State *lua)
{
    (void)luaL_checkstring(lua, 1);
    if (lua_isnoneornil(lua, 2))
        return luaL_error(lua, "event: its data is missing");
    if (!lua_isnoneornil(lua, 3))
        luaL_checktype(lua, 3, LUA_TTABLE);
    lua_settop(lua, 3);
    lua_createtable(lua, 0, 3);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, "type");
    lua_pushvalue(lua, 2);
    lua_setfield(lua, -2, "data");
    lua_pushvalue(lua, 3);
    lua_setfield(lua, -2, "options");
    luaL_setmetatable(lua, EVENT);
    return 1;
}

/* refuse(code, text) */
static int make_refusal(lua_State *lua)
{
    size_t sizes[2];
    const char *code = luaL_checklstring(lua, 1, &sizes[0]);
    const char *text = luaL_checklstring(lua, 2, &sizes[1]);
    luaL_argcheck(lua,
                  sizes[0] > 0 && sizes[0] <= CODE_SIZE_MAX &&
                      dbk_slice_is_utf8(dbk_slice(code, sizes[0])),
                  1, "a code has 1 to 63 bytes of UTF-8");
    luaL_argcheck(lua, dbk_slice_is_utf8(dbk_slice(text, sizes[1])), 2, "text must be UTF-8");
    lua_createtable(lua, 0, 2);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, "code");
    lua_pushvalue(lua, 2);
    lua_setfield(lua, -2, "text");
    luaL_setmetatable(lua, REFUSAL);
    return 1;
}

static int make_marks(lua_State *lua)
{
    (void)luaL_newmetatable(lua, EVENT);
    (void)luaL_newmetatable(lua, REFUSAL);
    lua_settop(lua, 0);
    return 0;
}

static bool is_marked(lua_State *lua, int index, const char *mark)
{
    if (lua_getmetatable(lua, index) == 0)
        return false;
    (void)luaL_getmetatable(lua, mark);
    bool same = lua_rawequal(lua, -1, -2) != 0;
    lua_pop(lua, 2);
    return same;
}

static int check_shape(struct dbk_decider *decider, struct dbk_error *err)
{
    static const char *const known[] = {"stream", "decide"};
    lua_State *lua = dbk_script_lua(decider->script);
    const char *name = dbk_script_name(decider->script);
    for (size_t i = 0; i < 2; i++) {
        bool function = lua_getfield(lua, 1, known[i]) == LUA_TFUNCTION;
        lua_pop(lua, 1);
        if (!function)
            return dbk_error_set(err, DBK_EINVAL, "%s:1: `%s` must be a function", name, known[i]);
    }
    lua_pushnil(lua);
    while (lua_next(lua, 1) != 0) {
        lua_pop(lua, 1);
        const char *key = lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1) : "(no text)";
        if (strcmp(key, known[0]) == 0 || strcmp(key, known[1]) == 0)
            continue;
        const char *closest = dbk_closest_name(key, known, 2);
        int rc = dbk_error_set(err, DBK_EINVAL, "%s:1: a command has no `%s`%s%s%s", name, key,
                               closest == NULL ? "" : "; did you mean `",
                               closest == NULL ? "" : closest, closest == NULL ? "" : "`?");
        lua_settop(lua, 1);
        return rc;
    }
    return DBK_OK;
}

int dbk_decider_open(const char *file_name, struct dbk_slice source,
                     struct dbk_decider **decider_out, struct dbk_error *err)
{
    struct dbk_decider *decider = dbk_alloc_zero(1, sizeof(*decider));
    if (decider == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", file_name);
    decider->body = LUA_NOREF;
    decider->json = dbk_json_create(TEXT_SIZE_MAX);
    int rc = decider->json == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", file_name)
                 : dbk_script_open(file_name, source, NULL, &decider->script, err);
    if (rc == DBK_OK) {
        lua_pushcfunction(dbk_script_lua(decider->script), make_marks);
        rc = dbk_script_call(decider->script, 0, 0, err);
    }
    if (rc == DBK_OK)
        rc = dbk_script_register(decider->script, "event", make_event, err);
    if (rc == DBK_OK)
        rc = dbk_script_register(decider->script, "refuse", make_refusal, err);
    if (rc == DBK_OK)
        rc = check_shape(decider, err);
    if (rc < 0) {
        dbk_decider_free(decider);
        return rc;
    }
    *decider_out = decider;
    return DBK_OK;
}

void dbk_decider_free(struct dbk_decider *decider)
{
    if (decider == NULL)
        return;
    dbk_script_free(decider->script);
    dbk_json_free(decider->json);
    dbk_free(decider);
}

static int keep_value(lua_State *lua)
{
    lua_pushinteger(lua, luaL_ref(lua, LUA_REGISTRYINDEX));
    return 1;
}

int dbk_decider_begin(struct dbk_decider *decider, struct dbk_slice body, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(decider->script);
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    int rc = dbk_json_parse(decider->json, body, &root, &failure);
    if (rc == DBK_OK && root->kind != DBK_JSON_OBJECT)
        rc = dbk_error_set(&failure, DBK_EINVAL, "it is no JSON object");
    if (rc < 0)
        return dbk_error_set(err, rc, "the command's body: %s", failure.message);
    luaL_unref(lua, LUA_REGISTRYINDEX, decider->body);
    decider->body = LUA_NOREF;
    lua_settop(lua, 1);
    lua_pushcfunction(lua, keep_value);
    rc = dbk_script_push_json(decider->script, root, err);
    if (rc == DBK_OK)
        rc = dbk_script_call(decider->script, 1, 1, err);
    if (rc == DBK_OK)
        decider->body = (int)lua_tointeger(lua, -1);
    lua_settop(lua, 1);
    return rc;
}

int dbk_decider_stream(struct dbk_decider *decider, struct dbk_buf *stream, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(decider->script);
    (void)lua_getfield(lua, 1, "stream");
    (void)lua_rawgeti(lua, LUA_REGISTRYINDEX, decider->body);
    int rc = dbk_script_call(decider->script, 1, 1, err);
    if (rc == DBK_OK && lua_type(lua, -1) != LUA_TSTRING)
        rc = dbk_error_set(err, DBK_ESCRIPT, "%s: `stream` must return a text, not %s",
                           dbk_script_name(decider->script), luaL_typename(lua, -1));
    if (rc == DBK_OK) {
        size_t size = 0;
        const char *text = lua_tolstring(lua, -1, &size);
        dbk_buf_append(stream, dbk_slice(text, size));
        rc = stream->rc < 0 ? dbk_error_set(err, DBK_EINVAL, "%s: the stream's name is too long",
                                            dbk_script_name(decider->script))
                            : DBK_OK;
    }
    lua_settop(lua, 1);
    return rc;
}

/* What is read of a decision, and where it goes. */
struct reading {
    struct dbk_decider *decider;
    struct dbk_arena *arena;
    struct dbk_buf text;
    size_t number; /* of the event, from 1 */
    struct dbk_decision *decision;
    struct dbk_error *err;
    int rc;
};

static int wrong(const struct reading *reading, struct dbk_error *err, const char *what)
{
    return dbk_error_set(err, DBK_ESCRIPT, "%s: event %zu: %s",
                         dbk_script_name(reading->decider->script), reading->number, what);
}

static int copy(const struct reading *reading, struct dbk_slice text, struct dbk_slice *copy_out,
                struct dbk_error *err)
{
    *copy_out = dbk_arena_copy(reading->arena, text);
    return copy_out->data == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory deciding")
                                  : DBK_OK;
}

/* Copies the text on top of the stack; the caller pops it. */
static int copy_text(const struct reading *reading, const char *what, struct dbk_slice *text_out,
                     struct dbk_error *err)
{
    size_t size = 0;
    lua_State *lua = dbk_script_lua(reading->decider->script);
    if (lua_type(lua, -1) != LUA_TSTRING)
        return wrong(reading, err, what);
    const char *text = lua_tolstring(lua, -1, &size);
    return copy(reading, dbk_slice(text, size), text_out, err);
}

/* Writes the value on top of the stack as JSON into the arena. */
static int copy_json(struct reading *reading, struct dbk_slice *text_out, struct dbk_error *err)
{
    dbk_buf_reset(&reading->text);
    int rc = dbk_script_write_json(reading->decider->script, -1, &reading->text, err);
    return rc < 0 ? rc : copy(reading, dbk_buf_slice(&reading->text), text_out, err);
}

static int read_tags(struct reading *reading, struct dbk_decided *event, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(reading->decider->script);
    if (!lua_istable(lua, -1))
        return wrong(reading, err, "tags must be a list of texts");
    size_t count = (size_t)lua_rawlen(lua, -1);
    int rc = DBK_OK;
    event->tags = dbk_arena_alloc_zero(reading->arena, count + 1, sizeof(*event->tags));
    if (event->tags == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory deciding");
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        (void)lua_rawgeti(lua, -1, (lua_Integer)i + 1);
        rc = copy_text(reading, "tags must be a list of texts", &event->tags[i], err);
        lua_pop(lua, 1);
    }
    event->tag_count = count;
    return rc;
}

static int read_option(struct reading *reading, const char *key, struct dbk_decided *event,
                       struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(reading->decider->script);
    bool text = lua_type(lua, -1) == LUA_TSTRING;
    if (strcmp(key, "stream") == 0)
        return copy_text(reading, "stream must be a text", &event->stream, err);
    if (strcmp(key, "tags") == 0)
        return read_tags(reading, event, err);
    if (strcmp(key, "meta") == 0) {
        int rc = copy_json(reading, &event->meta, err);
        return rc == DBK_OK && event->meta.data[0] != '{'
                   ? wrong(reading, err, "meta must be a table with texts as keys")
                   : rc;
    }
    if (strcmp(key, "occurred") == 0) {
        size_t size = 0;
        const char *instant = text ? lua_tolstring(lua, -1, &size) : "";
        return dbk_time_parse(dbk_slice(instant, size), &event->occurred_us)
                   ? DBK_OK
                   : wrong(reading, err, "occurred must be an instant, as 2026-11-24T08:00:00Z");
    }
    return wrong(reading, err, "options are stream, tags, meta and occurred");
}

/* Options lie on top of the stack. */
static int read_options(struct reading *reading, struct dbk_decided *event, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(reading->decider->script);
    int rc = DBK_OK;
    if (lua_isnil(lua, -1))
        return DBK_OK;
    lua_pushnil(lua);
    while (rc == DBK_OK && lua_next(lua, -2) != 0) {
        rc = lua_type(lua, -2) == LUA_TSTRING
                 ? read_option(reading, lua_tostring(lua, -2), event, err)
                 : wrong(reading, err, "options are named");
        lua_pop(lua, 1);
    }
    return rc;
}

/* The event lies on top of the stack. */
static int read_event(struct reading *reading, struct dbk_decided *event, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(reading->decider->script);
    int top = lua_gettop(lua);
    event->occurred_us = DBK_TIME_NONE;
    if (!is_marked(lua, top, EVENT))
        return wrong(reading, err, "`decide` returns event(…), a list of them, or refuse(…)");
    (void)lua_getfield(lua, top, "type");
    int rc = copy_text(reading, "its type must be a text", &event->type, err);
    (void)lua_getfield(lua, top, "data");
    if (rc == DBK_OK)
        rc = copy_json(reading, &event->data, err);
    (void)lua_getfield(lua, top, "options");
    if (rc == DBK_OK)
        rc = read_options(reading, event, err);
    lua_settop(lua, top);
    return rc;
}

static int read_refusal(struct reading *reading, struct dbk_decision *decision,
                        struct dbk_error *err)
{
    static const char what[] = "a refusal's code and text must be texts";
    lua_State *lua = dbk_script_lua(reading->decider->script);
    (void)lua_getfield(lua, -1, "code");
    int rc = copy_text(reading, what, &decision->refusal, err);
    lua_pop(lua, 1);
    (void)lua_getfield(lua, -1, "text");
    if (rc == DBK_OK)
        rc = copy_text(reading, what, &decision->text, err);
    lua_pop(lua, 1);
    return rc;
}

/* The answer lies on top of the stack. */
static int read_answer(struct reading *reading, struct dbk_decision *decision,
                       struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(reading->decider->script);
    int answer = lua_gettop(lua);
    int rc = DBK_OK;
    if (is_marked(lua, answer, REFUSAL))
        return read_refusal(reading, decision, err);
    bool one = is_marked(lua, answer, EVENT);
    if (!one && !lua_istable(lua, answer))
        return dbk_error_set(err, DBK_ESCRIPT,
                             "%s: `decide` returns event(…), a list of them, or refuse(…), not %s",
                             dbk_script_name(reading->decider->script), luaL_typename(lua, answer));
    size_t count = one ? 1 : (size_t)lua_rawlen(lua, answer);
    if (count > DBK_COMMAND_EVENTS_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "%s: %zu events of one command, at most %d",
                             dbk_script_name(reading->decider->script), count,
                             DBK_COMMAND_EVENTS_MAX);
    decision->events = dbk_arena_alloc_zero(reading->arena, count + 1, sizeof(*decision->events));
    if (decision->events == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory deciding");
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        reading->number = i + 1;
        if (one)
            lua_pushvalue(lua, answer);
        else
            (void)lua_rawgeti(lua, answer, (lua_Integer)i + 1);
        rc = read_event(reading, &decision->events[i], err);
        lua_settop(lua, answer);
    }
    decision->count = count;
    return rc;
}

/* (answer, reading) */
static int read_protected(lua_State *lua)
{
    struct reading *reading = lua_touserdata(lua, 2);
    lua_settop(lua, 1);
    reading->rc = read_answer(reading, reading->decision, reading->err);
    return 0;
}

static int make_stream(lua_State *lua)
{
    const struct dbk_slice *name = lua_touserdata(lua, 1);
    const uint64_t *version = lua_touserdata(lua, 2);
    lua_createtable(lua, 0, 2);
    lua_pushlstring(lua, name->data, name->size);
    lua_setfield(lua, -2, "name");
    lua_pushinteger(lua, (lua_Integer)*version);
    lua_setfield(lua, -2, "version");
    return 1;
}

int dbk_decider_decide(struct dbk_decider *decider, struct dbk_slice state, struct dbk_slice stream,
                       uint64_t version, struct dbk_arena *arena, struct dbk_decision *decision_out,
                       struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(decider->script);
    const struct dbk_json_node *root = NULL;
    struct reading reading = {
        .decider = decider, .arena = arena, .number = 1, .decision = decision_out, .err = err};
    *decision_out = (struct dbk_decision){0};
    dbk_buf_init(&reading.text, TEXT_SIZE_MAX);
    (void)lua_getfield(lua, 1, "decide");
    int rc = dbk_json_parse(decider->json, state, &root, err);
    if (rc == DBK_OK)
        rc = dbk_script_push_json(decider->script, root, err);
    (void)lua_rawgeti(lua, LUA_REGISTRYINDEX, decider->body);
    if (rc == DBK_OK) {
        lua_pushcfunction(lua, make_stream);
        lua_pushlightuserdata(lua, &stream);
        lua_pushlightuserdata(lua, &version);
        rc = dbk_script_call(decider->script, 2, 1, err);
    }
    if (rc == DBK_OK)
        rc = dbk_script_call(decider->script, 3, 1, err);
    if (rc == DBK_OK) {
        lua_pushcfunction(lua, read_protected);
        lua_insert(lua, -2);
        lua_pushlightuserdata(lua, &reading);
        rc = dbk_script_call(decider->script, 2, 0, err);
    }
    if (rc == DBK_OK)
        rc = reading.rc;
    dbk_buf_release(&reading.text);
    lua_settop(lua, 1);
    return rc;
}
