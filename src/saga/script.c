/* SPDX-License-Identifier: Apache-2.0 */
/* A saga's functions are called: values go in as JSON, and what they return is read. */
#include "saga/script.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>

#include "base/time.h"
#include "saga/declare.h"
#include "saga/functions.h"
#include "saga/marks.h"
#include "schema/event.h"

#define EVENTS_MAX 1000
#define NAME_SIZE_MAX 256

struct dbk_saga_script {
    const struct dbk_saga_functions *functions; /* in place of what follows; NULL: none */
    const char *name;                           /* of theirs */
    struct dbk_script *script;
    struct dbk_json *json;
    struct dbk_script_event event;
    struct dbk_buf text;
    struct dbk_arena arena; /* the definition's */
    struct dbk_saga_definition definition;
};

int dbk_saga_script_open(const char *name, struct dbk_slice source,
                         struct dbk_saga_script **script_out, struct dbk_error *err)
{
    const struct dbk_script_limits limits = {.functions = dbk_saga_marks,
                                             .function_count = dbk_saga_marks_count};
    struct dbk_saga_script *script = dbk_alloc_zero(1, sizeof(*script));
    if (script == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", name);
    dbk_buf_init(&script->text, DBK_SAGA_TEXT_SIZE_MAX);
    dbk_arena_init(&script->arena, DBK_SAGA_TEXT_SIZE_MAX);
    script->json = dbk_json_create(DBK_SAGA_TEXT_SIZE_MAX);
    int rc = script->json == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", name)
                                  : dbk_script_open(name, source, &limits, &script->script, err);
    if (rc == DBK_OK)
        rc = dbk_saga_declare(script->script, source, &script->arena, &script->definition, err);
    if (rc == DBK_OK)
        rc = dbk_script_event_open(&script->event, script->script, script->json, err);
    if (rc < 0) {
        dbk_saga_script_free(script);
        return rc;
    }
    *script_out = script;
    return DBK_OK;
}

int dbk_saga_script_open_functions(const char *name, const struct dbk_saga_functions *functions,
                                   struct dbk_saga_script **script_out, struct dbk_error *err)
{
    struct dbk_saga_script *script = dbk_alloc_zero(1, sizeof(*script));
    if (script == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", name);
    dbk_buf_init(&script->text, DBK_SAGA_TEXT_SIZE_MAX);
    dbk_arena_init(&script->arena, DBK_SAGA_TEXT_SIZE_MAX);
    script->functions = functions;
    script->name = name;
    script->definition = *functions->definition;
    *script_out = script;
    return DBK_OK;
}

void dbk_saga_script_free(struct dbk_saga_script *script)
{
    if (script == NULL)
        return;
    dbk_script_free(script->script);
    dbk_json_free(script->json);
    dbk_buf_release(&script->text);
    dbk_arena_release(&script->arena);
    dbk_free(script);
}

const struct dbk_saga_definition *dbk_saga_script_definition(const struct dbk_saga_script *script)
{
    return &script->definition;
}

const struct dbk_saga_route *dbk_saga_script_route(const struct dbk_saga_script *script,
                                                   struct dbk_slice type)
{
    for (size_t i = 0; i < script->definition.route_count; i++) {
        if (dbk_slice_equal(script->definition.routes[i].type, type))
            return &script->definition.routes[i];
    }
    return NULL;
}

bool dbk_saga_script_step(const struct dbk_saga_script *script, struct dbk_slice name,
                          size_t *step_out)
{
    for (size_t i = 0; i < script->definition.step_count; i++) {
        if (dbk_slice_equal_text(name, script->definition.steps[i].name)) {
            *step_out = i;
            return true;
        }
    }
    return false;
}

/* ---- Calling ---- */

/* A function of the file, up to four names deep, and what it gets behind the state. */
struct invocation {
    struct dbk_saga_script *script;
    const char *path[4];
    struct dbk_slice leaf; /* behind them; empty: none */
    const struct dbk_event *event;
    bool data; /* the event's data goes before it */
    const struct dbk_slice *why;
    const struct dbk_slice *reason; /* behind it */
    int results;
};

/* (invocation, the file's table, [state], [reply]) */
static int invoke(lua_State *lua)
{
    const struct invocation *call = lua_touserdata(lua, 1);
    int given = lua_gettop(lua) - 2;
    lua_pushvalue(lua, 2);
    for (size_t i = 0; i < 4 && call->path[i] != NULL && lua_istable(lua, -1); i++) {
        (void)lua_getfield(lua, -1, call->path[i]);
        lua_remove(lua, -2);
    }
    if (call->leaf.size > 0 && lua_istable(lua, -1)) {
        lua_pushlstring(lua, call->leaf.data, call->leaf.size);
        (void)lua_rawget(lua, -2);
        lua_remove(lua, -2);
    }
    if (!lua_isfunction(lua, -1))
        return 1; /* a value that stands for itself: samples, initial */
    for (int i = 0; i < given; i++)
        lua_pushvalue(lua, 3 + i);
    int count = given;
    if (call->event != NULL && call->data) {
        dbk_script_event_push_data(&call->script->event);
        count++;
    }
    if (call->event != NULL) {
        dbk_script_event_push(&call->script->event);
        count++;
    }
    if (call->why != NULL) {
        lua_pushlstring(lua, call->why->data == NULL ? "" : call->why->data, call->why->size);
        count++;
    }
    if (call->reason != NULL) {
        lua_pushlstring(lua, call->reason->data == NULL ? "" : call->reason->data,
                        call->reason->size);
        count++;
    }
    lua_call(lua, count, call->results);
    return call->results;
}

static int push_json(struct dbk_saga_script *script, struct dbk_slice text, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    int rc = dbk_json_parse(script->json, text, &root, err);
    return rc < 0 ? rc : dbk_script_push_json(script->script, root, err);
}

/* Its results lie on the stack behind the file's table, on success. reply: JSON, "" for none. */
static int call(struct dbk_saga_script *script, struct invocation *invocation,
                const struct dbk_slice *state, const struct dbk_slice *reply, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(script->script);
    int count = 2;
    int rc = DBK_OK;
    invocation->script = script;
    script->event.event = invocation->event;
    lua_settop(lua, 1);
    lua_pushcfunction(lua, invoke);
    lua_pushlightuserdata(lua, invocation);
    lua_pushvalue(lua, 1);
    if (state != NULL) {
        rc = push_json(script, *state, err);
        count++;
    }
    if (rc == DBK_OK && reply != NULL) {
        rc = push_json(script, reply->size == 0 ? DBK_SLICE_LITERAL("null") : *reply, err);
        count++;
    }
    if (rc == DBK_OK)
        rc = dbk_script_call(script->script, count, invocation->results, err);
    script->event.event = NULL;
    if (rc < 0)
        lua_settop(lua, 1);
    return rc;
}

/* ---- What they return ---- */

/* Reads results, called by Lua so that running out of its memory is an error and not the end. */
struct reading {
    struct dbk_saga_script *script;
    struct dbk_arena *arena;
    const char *what; /* "steps.pay.send" */
    int (*read)(struct reading *reading, lua_State *lua, struct dbk_error *err);
    void *out;
    struct dbk_error *err;
    int rc;
};

static int wrong(const struct reading *reading, struct dbk_error *err, const char *why)
{
    return dbk_error_set(err, DBK_ESCRIPT, "%s: `%s` %s", dbk_script_name(reading->script->script),
                         reading->what, why);
}

static int no_memory(const struct reading *reading, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory running %s",
                         dbk_script_name(reading->script->script));
}

/* (results…, reading) */
static int read_protected(lua_State *lua)
{
    struct reading *reading = lua_touserdata(lua, -1);
    lua_pop(lua, 1);
    reading->rc = reading->read(reading, lua, reading->err);
    return 0;
}

static int read_results(struct reading *reading, int count)
{
    lua_State *lua = dbk_script_lua(reading->script->script);
    lua_pushcfunction(lua, read_protected);
    lua_insert(lua, 2);
    lua_pushlightuserdata(lua, reading);
    int rc = dbk_script_call(reading->script->script, count + 1, 0, reading->err);
    lua_settop(lua, 1);
    return rc < 0 ? rc : reading->rc;
}

static int copy_json(const struct reading *reading, int index, struct dbk_slice *out,
                     struct dbk_error *err)
{
    struct dbk_buf *text = &reading->script->text;
    dbk_buf_reset(text);
    int rc = dbk_script_write_json(reading->script->script, index, text, err);
    if (rc < 0)
        return rc;
    *out = dbk_arena_copy(reading->arena, dbk_buf_slice(text));
    return out->data == NULL ? no_memory(reading, err) : DBK_OK;
}

/* A field of the table at the top, as text. */
static int copy_field(const struct reading *reading, lua_State *lua, const char *name,
                      struct dbk_slice *out, struct dbk_error *err)
{
    size_t size = 0;
    (void)lua_getfield(lua, -1, name);
    const char *text = lua_tolstring(lua, -1, &size);
    bool good = text != NULL && dbk_slice_is_utf8(dbk_slice(text, size));
    if (good)
        *out = dbk_arena_copy(reading->arena, dbk_slice(text, size));
    lua_pop(lua, 1);
    if (!good)
        return wrong(reading, err, "returned what is no text of UTF-8, where one is expected");
    return out->data == NULL ? no_memory(reading, err) : DBK_OK;
}

/* One wish on top of the stack. */
static int read_action(struct reading *reading, lua_State *lua, struct dbk_saga_action *action,
                       struct dbk_error *err)
{
    static const char *const kinds[] = {"step", "complete", "fail", "timer", "stop"};
    const char *kind = dbk_saga_mark(lua, -1);
    size_t at = 0;
    while (kind != NULL && at < 5 && strcmp(kinds[at], kind) != 0)
        at++;
    if (kind == NULL || at == 5)
        return wrong(reading, err,
                     "returns (state, commands, timers): lists of step(…), complete(), fail(…), "
                     "timer(…), stop(…)");
    action->kind = (enum dbk_saga_action_kind)at;
    int rc = action->kind == DBK_SAGA_COMPLETE
                 ? DBK_OK
                 : copy_field(reading, lua, "name", &action->name, err);
    if (rc == DBK_OK && action->kind == DBK_SAGA_BEGIN &&
        !dbk_saga_script_step(reading->script, action->name, &action->step))
        return wrong(reading, err, "begins a step that `steps` does not declare");
    if (rc == DBK_OK && action->kind == DBK_SAGA_TIMER) {
        struct dbk_slice delay = {0};
        rc = copy_field(reading, lua, "delay", &delay, err);
        if (rc == DBK_OK && !dbk_duration_parse(delay, &action->delay_us))
            rc = wrong(reading, err, "returned a timer whose duration is none");
        bool known = false;
        const struct dbk_saga_definition *definition = &reading->script->definition;
        for (size_t i = 0; i < definition->timer_count; i++)
            known = known || dbk_slice_equal(definition->timers[i], action->name);
        if (rc == DBK_OK && !known)
            rc = wrong(reading, err, "sets a timer that `timers` does not declare");
    }
    return rc;
}

/* A wish, a list of them, or nothing, at an index. */
static int read_actions(struct reading *reading, lua_State *lua, int index,
                        struct dbk_saga_answer *answer, struct dbk_error *err)
{
    bool one = dbk_saga_mark(lua, index) != NULL;
    if (lua_isnoneornil(lua, index))
        return DBK_OK;
    if (!one && !lua_istable(lua, index))
        return wrong(reading, err, "returns (state, commands, timers), and the last two are lists");
    size_t count = one ? 1 : (size_t)lua_rawlen(lua, index);
    int rc = count > EVENTS_MAX ? wrong(reading, err, "returns more than 1000 commands") : DBK_OK;
    struct dbk_saga_action *actions =
        dbk_arena_alloc_zero(reading->arena, answer->count + count + 1, sizeof(*actions));
    if (actions == NULL)
        return no_memory(reading, err);
    for (size_t i = 0; i < answer->count; i++)
        actions[i] = answer->actions[i];
    answer->actions = actions;
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        if (one)
            lua_pushvalue(lua, index);
        else
            (void)lua_rawgeti(lua, index, (lua_Integer)i + 1);
        rc = read_action(reading, lua, &actions[answer->count++], err);
        lua_pop(lua, 1);
    }
    return rc;
}

static int read_answer(struct reading *reading, lua_State *lua, struct dbk_error *err)
{
    struct dbk_saga_answer *answer = reading->out;
    int rc = DBK_OK;
    if (lua_istable(lua, 1) && dbk_saga_mark(lua, 1) == NULL)
        rc = copy_json(reading, 1, &answer->state, err);
    else if (!lua_isnil(lua, 1))
        rc = wrong(reading, err, "must return the new state first, as a table, or nil to keep it");
    if (rc == DBK_OK && answer->state.size > 0 && answer->state.data[0] != '{')
        rc = wrong(reading, err, "returned a state that is a list: it must have names");
    for (int i = 2; rc == DBK_OK && i <= 3; i++)
        rc = read_actions(reading, lua, i, answer, err);
    return rc;
}

/* "steps.pay.after" for messages, valid as long as the room. */
static const char *put_what(char room[NAME_SIZE_MAX], const struct invocation *call)
{
    size_t size = 0;
    room[0] = '\0';
    for (size_t i = 0; i < 4 && call->path[i] != NULL && size < NAME_SIZE_MAX; i++)
        size += (size_t)snprintf(room + size, NAME_SIZE_MAX - size, "%s%s", i == 0 ? "" : ".",
                                 call->path[i]);
    if (call->leaf.size > 0 && size < NAME_SIZE_MAX)
        (void)snprintf(room + size, NAME_SIZE_MAX - size, ".%.*s", DBK_SLICE_ARGS(call->leaf));
    return room;
}

static const char *text_in(struct dbk_arena *arena, struct dbk_slice text)
{
    return dbk_arena_copy(arena, text).data;
}

int dbk_saga_script_run(struct dbk_saga_script *script, const struct dbk_saga_call *wish,
                        struct dbk_arena *arena, struct dbk_saga_answer *answer_out,
                        struct dbk_error *err)
{
    if (script->functions != NULL)
        return dbk_saga_functions_run(script->functions, script->name, wish, arena, answer_out,
                                      err);
    static const char *const last[] = {"run", "after", "otherwise", NULL};
    char what[NAME_SIZE_MAX];
    const char *name = text_in(arena, wish->name);
    struct dbk_slice state = wish->state;
    bool replies = wish->function == DBK_SAGA_AFTER && wish->event == NULL;
    struct invocation invocation = {.path = {wish->function == DBK_SAGA_RUN     ? "on"
                                             : wish->function == DBK_SAGA_TIMED ? "timers"
                                                                                : "steps",
                                             name, last[wish->function]},
                                    .event = wish->event,
                                    .data = true,
                                    .why = wish->function == DBK_SAGA_OTHERWISE ? &wish->why : NULL,
                                    .results = 3};
    struct reading reading = {.script = script,
                              .arena = arena,
                              .what = put_what(what, &invocation),
                              .read = read_answer,
                              .out = answer_out,
                              .err = err};
    if (name == NULL)
        return no_memory(&reading, err);
    *answer_out = (struct dbk_saga_answer){0};
    int rc = DBK_OK;
    if (state.size == 0)
        rc = dbk_saga_script_initial(script, arena, &state, err);
    if (rc == DBK_OK)
        rc = call(script, &invocation, &state, replies ? &wish->reply : NULL, err);
    if (rc == DBK_OK)
        rc = read_results(&reading, 3);
    if (rc == DBK_OK && answer_out->state.size == 0)
        answer_out->state = state;
    return rc;
}

/* ---- Texts ---- */

static int read_text(struct reading *reading, lua_State *lua, struct dbk_error *err)
{
    struct dbk_slice *out = reading->out;
    size_t size = 0;
    *out = (struct dbk_slice){0};
    if (lua_isnil(lua, 1))
        return DBK_OK;
    if (lua_type(lua, 1) != LUA_TSTRING && !lua_isinteger(lua, 1))
        return wrong(reading, err, "must return a text");
    const char *text = lua_tolstring(lua, 1, &size);
    struct dbk_slice slice = dbk_slice(text, size);
    if (size == 0 || size > DBK_SAGA_ID_SIZE_MAX || !dbk_slice_is_utf8(slice))
        return wrong(reading, err, "must return a text of 1 to 200 bytes of UTF-8");
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return wrong(reading, err, "returned a text with a control character");
    }
    *out = dbk_arena_copy(reading->arena, slice);
    return out->data == NULL ? no_memory(reading, err) : DBK_OK;
}

static int call_text(struct dbk_saga_script *script, struct invocation *invocation,
                     const struct dbk_slice *state, struct dbk_arena *arena, struct dbk_slice *out,
                     struct dbk_error *err)
{
    char what[NAME_SIZE_MAX];
    struct reading reading = {.script = script,
                              .arena = arena,
                              .what = put_what(what, invocation),
                              .read = read_text,
                              .out = out,
                              .err = err};
    invocation->results = 1;
    int rc = call(script, invocation, state, NULL, err);
    return rc < 0 ? rc : read_results(&reading, 1);
}

int dbk_saga_script_by(struct dbk_saga_script *script, const struct dbk_saga_route *route,
                       const struct dbk_event *event, struct dbk_arena *arena,
                       struct dbk_slice *id_out, struct dbk_error *err)
{
    if (script->functions != NULL)
        return dbk_saga_functions_by(script->functions, script->name, route, event, arena, id_out,
                                     err);
    static const char *const answers[] = {
        [DBK_SAGA_DONE] = "done", [DBK_SAGA_FAILED] = "failed", [DBK_SAGA_UNDONE] = "undone"};
    const char *type = text_in(arena, route->type);
    struct invocation invocation = {.event = event, .data = true};
    if (type == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory running a saga");
    if (route->role <= DBK_SAGA_ON) {
        invocation.path[0] = "on";
        invocation.path[1] = type;
        invocation.path[2] = "by";
    } else {
        invocation.path[0] = "steps";
        invocation.path[1] = script->definition.steps[route->step].name;
        invocation.path[2] = answers[route->role];
        invocation.path[3] = type;
    }
    return call_text(script, &invocation, NULL, arena, id_out, err);
}

int dbk_saga_script_key(struct dbk_saga_script *script, size_t step, struct dbk_slice state,
                        struct dbk_arena *arena, struct dbk_slice *key_out, struct dbk_error *err)
{
    if (script->functions != NULL)
        return dbk_saga_functions_key(script->functions, script->name, step, state, arena, key_out,
                                      err);
    struct invocation invocation = {.path = {"steps", script->definition.steps[step].name, "key"}};
    int rc = call_text(script, &invocation, &state, arena, key_out, err);
    if (rc == DBK_OK && key_out->data == NULL)
        rc = dbk_error_set(err, DBK_ESCRIPT, "%s: `steps.%s.key` must return a text",
                           dbk_script_name(script->script), script->definition.steps[step].name);
    return rc;
}

int dbk_saga_script_lock(struct dbk_saga_script *script, size_t step, struct dbk_slice state,
                         struct dbk_arena *arena, struct dbk_slice *lock_out, struct dbk_error *err)
{
    if (script->functions != NULL)
        return dbk_saga_functions_lock(script->functions, script->name, step, state, arena,
                                       lock_out, err);
    struct invocation invocation = {.path = {"steps", script->definition.steps[step].name, "lock"}};
    *lock_out = (struct dbk_slice){0};
    return script->definition.steps[step].lock
               ? call_text(script, &invocation, &state, arena, lock_out, err)
               : DBK_OK;
}

/* ---- Messages ---- */

static int read_tags(struct reading *reading, lua_State *lua, struct dbk_saga_event *event,
                     struct dbk_error *err)
{
    if (lua_getfield(lua, -1, "tags") == LUA_TNIL) {
        lua_pop(lua, 1);
        return DBK_OK;
    }
    size_t count = lua_istable(lua, -1) ? (size_t)lua_rawlen(lua, -1) : 0;
    struct dbk_slice *tags = dbk_arena_alloc_zero(reading->arena, count + 1, sizeof(*tags));
    int rc = tags == NULL ? no_memory(reading, err) : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        size_t size = 0;
        (void)lua_rawgeti(lua, -1, (lua_Integer)i + 1);
        const char *text = lua_tolstring(lua, -1, &size);
        tags[i] = text == NULL ? (struct dbk_slice){0}
                               : dbk_arena_copy(reading->arena, dbk_slice(text, size));
        if (tags[i].data == NULL)
            rc = wrong(reading, err, "returned an event whose tags are no texts");
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
    event->tags = tags;
    event->tag_count = count;
    return rc;
}

/* event(…) on top of the stack. */
static int read_event(struct reading *reading, lua_State *lua, struct dbk_saga_event *event,
                      struct dbk_error *err)
{
    const char *kind = dbk_saga_mark(lua, -1);
    if (kind == NULL || strcmp(kind, "event") != 0)
        return wrong(reading, err, "returns event(…), a list of them, command(…) or http(…)");
    int rc = copy_field(reading, lua, "type", &event->type, err);
    (void)lua_getfield(lua, -1, "data");
    if (rc == DBK_OK)
        rc = copy_json(reading, -1, &event->data, err);
    lua_pop(lua, 1);
    (void)lua_getfield(lua, -1, "options");
    if (rc == DBK_OK)
        rc = copy_field(reading, lua, "stream", &event->stream, err);
    if (rc == DBK_OK)
        rc = read_tags(reading, lua, event, err);
    lua_pop(lua, 1);
    return rc;
}

/* A call, at index 1, becomes JSON that is kept until it has an outcome. */
static int read_call(struct reading *reading, lua_State *lua, const char *kind,
                     struct dbk_saga_message *message, struct dbk_error *err)
{
    static const char *const fields[] = {"method", "path"};
    struct dbk_slice text = {0};
    struct dbk_slice body = {0};
    struct dbk_buf out;
    bool first = true;
    lua_settop(lua, 1);
    dbk_buf_init(&out, DBK_SAGA_TEXT_SIZE_MAX);
    dbk_buf_append_char(&out, '{');
    int rc = copy_field(reading, lua, "name", &text, err);
    dbk_json_write_key(&out, &first, kind);
    dbk_json_write_string(&out, text);
    for (size_t i = 0; rc == DBK_OK && strcmp(kind, "http") == 0 && i < 2; i++) {
        rc = copy_field(reading, lua, fields[i], &text, err);
        dbk_json_write_key(&out, &first, fields[i]);
        dbk_json_write_string(&out, text);
    }
    if (rc == DBK_OK && lua_getfield(lua, 1, "body") != LUA_TNIL) {
        rc = copy_json(reading, -1, &body, err);
        dbk_json_write_key(&out, &first, "body");
        dbk_buf_append(&out, body);
    }
    dbk_buf_append_char(&out, '}');
    if (rc == DBK_OK && out.rc == DBK_OK)
        message->call = dbk_arena_copy(reading->arena, dbk_buf_slice(&out));
    if (rc == DBK_OK && message->call.data == NULL)
        rc = no_memory(reading, err);
    dbk_buf_release(&out);
    return rc;
}

static int read_message(struct reading *reading, lua_State *lua, struct dbk_error *err)
{
    struct dbk_saga_message *message = reading->out;
    const char *kind = dbk_saga_mark(lua, 1);
    if (kind != NULL && (strcmp(kind, "command") == 0 || strcmp(kind, "http") == 0))
        return read_call(reading, lua, kind, message, err);
    if (kind == NULL && !lua_istable(lua, 1))
        return wrong(reading, err, "returns event(…), a list of them, command(…) or http(…)");
    size_t count = kind != NULL ? 1 : (size_t)lua_rawlen(lua, 1);
    if (count == 0 || count > EVENTS_MAX)
        return wrong(reading, err, "must return from 1 to 1000 events, or a call");
    int rc = DBK_OK;
    message->events = dbk_arena_alloc_zero(reading->arena, count, sizeof(*message->events));
    if (message->events == NULL)
        return no_memory(reading, err);
    message->count = count;
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        if (kind != NULL)
            lua_pushvalue(lua, 1);
        else
            (void)lua_rawgeti(lua, 1, (lua_Integer)i + 1);
        rc = read_event(reading, lua, &message->events[i], err);
        lua_settop(lua, 1);
    }
    return rc;
}

int dbk_saga_script_send(struct dbk_saga_script *script, const struct dbk_saga_sending *sending,
                         struct dbk_arena *arena, struct dbk_saga_message *message_out,
                         struct dbk_error *err)
{
    if (script->functions != NULL)
        return dbk_saga_functions_send(script->functions, script->name, sending, arena, message_out,
                                       err);
    char what[NAME_SIZE_MAX];
    struct invocation invocation = {.path = {"steps", script->definition.steps[sending->step].name,
                                             sending->undo ? "undo" : "send"},
                                    .why = &sending->key,
                                    .reason = sending->undo ? &sending->reason : NULL,
                                    .results = 1};
    struct reading reading = {.script = script,
                              .arena = arena,
                              .what = put_what(what, &invocation),
                              .read = read_message,
                              .out = message_out,
                              .err = err};
    *message_out = (struct dbk_saga_message){0};
    int rc = call(script, &invocation, &sending->state, NULL, err);
    return rc < 0 ? rc : read_results(&reading, 1);
}

static int read_json(struct reading *reading, lua_State *lua, struct dbk_error *err)
{
    return lua_isnil(lua, 1) ? DBK_OK : copy_json(reading, 1, reading->out, err);
}

int dbk_saga_script_sample(struct dbk_saga_script *script, struct dbk_slice name,
                           struct dbk_slice state, struct dbk_arena *arena,
                           struct dbk_slice *sample_out, struct dbk_error *err)
{
    struct invocation invocation = {.path = {"samples"}, .leaf = name, .results = 1};
    struct reading reading = {.script = script,
                              .arena = arena,
                              .what = "samples",
                              .read = read_json,
                              .out = sample_out,
                              .err = err};
    *sample_out = (struct dbk_slice){0};
    int rc = state.size == 0 ? dbk_saga_script_initial(script, arena, &state, err) : DBK_OK;
    if (rc == DBK_OK)
        rc = call(script, &invocation, &state, NULL, err);
    return rc < 0 ? rc : read_results(&reading, 1);
}

int dbk_saga_script_initial(struct dbk_saga_script *script, struct dbk_arena *arena,
                            struct dbk_slice *state_out, struct dbk_error *err)
{
    struct invocation invocation = {.path = {"initial"}, .results = 1};
    struct reading reading = {.script = script,
                              .arena = arena,
                              .what = "initial",
                              .read = read_json,
                              .out = state_out,
                              .err = err};
    *state_out = (struct dbk_slice){0};
    int rc = call(script, &invocation, NULL, NULL, err);
    if (rc == DBK_OK)
        rc = read_results(&reading, 1);
    if (rc == DBK_OK && state_out->size == 0)
        *state_out = DBK_SLICE_LITERAL("{}");
    return rc;
}
