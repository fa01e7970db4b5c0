/* SPDX-License-Identifier: Apache-2.0 */
#include "saga/declare.h"

#include <ctype.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diagnostics.h"
#include "base/time.h"
#include "saga/marks.h"

#define STEPS_MAX 256
#define ROUTES_MAX 1024
#define TRIES_MAX 1000

struct declaring {
    struct dbk_script *script;
    struct dbk_slice source;
    struct dbk_arena *arena;
    struct dbk_saga_definition *definition;
    struct dbk_saga_step_definition *steps;
    struct dbk_saga_route *routes;
    struct dbk_error *err;
    int rc;
};

/* The line where `name =` or `["name"] =` first stands behind the line's own blanks; 1: nowhere. */
static unsigned line_of(const struct declaring *declaring, const char *name)
{
    unsigned line = 1;
    size_t size = strlen(name);
    const struct dbk_slice source = declaring->source;
    for (size_t at = 0; at + size < source.size; at++) {
        if (at > 0 && source.data[at - 1] == '\n')
            line++;
        char before = at == 0 ? ' ' : source.data[at - 1];
        if (memcmp(source.data + at, name, size) != 0 || isalnum((unsigned char)before) != 0 ||
            before == '_' || before == '.')
            continue;
        size_t behind = at + size;
        while (behind < source.size && strchr("\"'] \t", source.data[behind]) != NULL)
            behind++;
        if (behind + 1 < source.size && source.data[behind] == '=' &&
            source.data[behind + 1] != '=')
            return line;
    }
    return 1;
}

static int wrong(struct declaring *declaring, const char *name, const char *format, ...)
    DBK_PRINTF(3, 4);
static int wrong(struct declaring *declaring, const char *name, const char *format, ...)
{
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return dbk_error_set(declaring->err, DBK_EINVAL, "%s:%u: %s",
                         dbk_script_name(declaring->script), line_of(declaring, name), text);
}

static int no_memory(struct declaring *declaring)
{
    return dbk_error_set(declaring->err, DBK_ENOMEM, "out of memory reading %s",
                         dbk_script_name(declaring->script));
}

/* The table on top has text keys, and no others than the known ones. */
static int check_keys(struct declaring *declaring, lua_State *lua, const char *what,
                      const char *place, const char *const *known, size_t count)
{
    lua_pushnil(lua);
    while (lua_next(lua, -2) != 0) {
        bool found = false;
        lua_pop(lua, 1);
        const char *key = lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1) : "(no text)";
        for (size_t i = 0; i < count; i++)
            found = found || strcmp(key, known[i]) == 0;
        if (found)
            continue;
        const char *closest = dbk_closest_name(key, known, count);
        return wrong(declaring, strcmp(key, "(no text)") == 0 ? place : key, "%s has no `%s`%s%s%s",
                     what, key, closest == NULL ? "" : "; did you mean `",
                     closest == NULL ? "" : closest, closest == NULL ? "" : "`?");
    }
    return DBK_OK;
}

/* Each member of the table on top, which stays there: its name, its value on top. */
typedef int (*each_fn)(struct declaring *declaring, lua_State *lua, const char *name);

static int compare_texts(const void *a, const void *b)
{
    const char *const *left = a;
    const char *const *right = b;
    return strcmp(*left, *right);
}

/* In the order of their names. */
static int each_member(struct declaring *declaring, lua_State *lua, const char *what, each_fn each)
{
    size_t count = 0;
    if (!lua_istable(lua, -1))
        return wrong(declaring, what, "`%s` must be a table", what);
    for (lua_pushnil(lua); lua_next(lua, -2) != 0; lua_pop(lua, 1))
        count++;
    const char **names = dbk_arena_alloc(declaring->arena, (count + 1) * sizeof(*names));
    if (names == NULL)
        return no_memory(declaring);
    size_t at = 0;
    int rc = DBK_OK;
    for (lua_pushnil(lua); lua_next(lua, -2) != 0; lua_pop(lua, 1)) {
        size_t size = 0;
        if (lua_type(lua, -2) != LUA_TSTRING) {
            lua_pop(lua, 2);
            return wrong(declaring, what, "`%s` may only hold what has a name", what);
        }
        const char *name = lua_tolstring(lua, -2, &size);
        names[at] = dbk_arena_copy(declaring->arena, dbk_slice(name, size)).data;
        if (names[at++] == NULL)
            rc = no_memory(declaring);
    }
    if (rc == DBK_OK && count > 1)
        qsort((void *)names, count, sizeof(*names), compare_texts);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        (void)lua_getfield(lua, -1, names[i]);
        rc = each(declaring, lua, names[i]);
        lua_pop(lua, 1);
    }
    return rc;
}

static int add_route(struct declaring *declaring, const char *type, enum dbk_saga_role role,
                     size_t step)
{
    struct dbk_saga_definition *definition = declaring->definition;
    for (size_t i = 0; i < definition->route_count; i++) {
        if (dbk_slice_equal_text(definition->routes[i].type, type))
            return wrong(declaring, type,
                         "%s stands in two places: an event type means one thing to a saga", type);
    }
    if (definition->route_count == ROUTES_MAX)
        return wrong(declaring, type, "a saga takes at most %d event types", ROUTES_MAX);
    declaring->routes[definition->route_count++] =
        (struct dbk_saga_route){.type = dbk_slice_of(type), .role = role, .step = step};
    return DBK_OK;
}

/* ---- on ---- */

static int has_function(lua_State *lua, const char *name, bool *there_out)
{
    int type = lua_getfield(lua, -1, name);
    lua_pop(lua, 1);
    *there_out = type == LUA_TFUNCTION;
    return type == LUA_TNIL || type == LUA_TFUNCTION;
}

static int take_on(struct declaring *declaring, lua_State *lua, const char *type)
{
    static const char *const known[] = {"by", "starts", "run"};
    char what[120];
    bool there = false;
    (void)snprintf(what, sizeof(what), "`on.%s`", type);
    if (!lua_istable(lua, -1))
        return wrong(declaring, type,
                     "%s must be a table, as { by = function(data) … end, run = … }", what);
    int rc = check_keys(declaring, lua, what, type, known, 3);
    if (rc < 0)
        return rc;
    if (has_function(lua, "by", &there) == 0 || !there)
        return wrong(declaring, type,
                     "%s needs `by`: the function that says which instance an "
                     "event is of",
                     what);
    if (has_function(lua, "run", &there) == 0 || !there)
        return wrong(declaring, type, "%s needs `run`: the function of (state, data, event)", what);
    int kind = lua_getfield(lua, -1, "starts");
    bool starts = lua_toboolean(lua, -1) != 0;
    lua_pop(lua, 1);
    if (kind != LUA_TNIL && kind != LUA_TBOOLEAN)
        return wrong(declaring, type, "%s: `starts` is true or false", what);
    return add_route(declaring, type, starts ? DBK_SAGA_START : DBK_SAGA_ON, 0);
}

/* ---- Steps ---- */

static int take_duration(struct declaring *declaring, lua_State *lua, const char *step,
                         const char *name, int64_t *duration_out, bool *there_out)
{
    size_t size = 0;
    int type = lua_getfield(lua, -1, name);
    const char *text = type == LUA_TSTRING ? lua_tolstring(lua, -1, &size) : "";
    bool good = type == LUA_TNIL ||
                (dbk_duration_parse(dbk_slice(text, size), duration_out) && *duration_out > 0);
    *there_out = type != LUA_TNIL;
    lua_pop(lua, 1);
    return good ? DBK_OK
                : wrong(declaring, step, "step %s: `%s` is a duration, as \"30 s\"", step, name);
}

static int take_retry(struct declaring *declaring, lua_State *lua, const char *name,
                      struct dbk_saga_step_definition *step)
{
    static const char *const known[] = {"tries", "delay", "max"};
    int is_integer = 1;
    bool there = false;
    if (lua_isnil(lua, -1))
        return DBK_OK;
    if (!lua_istable(lua, -1))
        return wrong(declaring, name,
                     "step %s: `retry` is a table, as { tries = 5, delay = \"1 s\" }", name);
    int rc = check_keys(declaring, lua, "`retry`", name, known, 3);
    if (rc == DBK_OK)
        rc = take_duration(declaring, lua, name, "delay", &step->delay_us, &there);
    if (rc == DBK_OK)
        rc = take_duration(declaring, lua, name, "max", &step->delay_max_us, &there);
    lua_Integer tries = DBK_SAGA_TRIES_DEFAULT;
    if (lua_getfield(lua, -1, "tries") != LUA_TNIL)
        tries = lua_tointegerx(lua, -1, &is_integer);
    lua_pop(lua, 1);
    if (rc == DBK_OK && (is_integer == 0 || tries < 1 || tries > TRIES_MAX))
        return wrong(declaring, name, "step %s: `tries` is a whole number from 1 to %d", name,
                     TRIES_MAX);
    step->tries = (unsigned)tries;
    if (step->delay_max_us < step->delay_us)
        step->delay_max_us = step->delay_us;
    return rc;
}

/* `done`, `failed`, `undone`: { Type = by }. */
static int take_answers(struct declaring *declaring, lua_State *lua, const char *name, size_t step,
                        enum dbk_saga_role role, bool *there_out)
{
    static const char *const keys[] = {
        [DBK_SAGA_DONE] = "done", [DBK_SAGA_FAILED] = "failed", [DBK_SAGA_UNDONE] = "undone"};
    int rc = DBK_OK;
    int type = lua_getfield(lua, -1, keys[role]);
    if (type == LUA_TTABLE) {
        for (lua_pushnil(lua); rc == DBK_OK && lua_next(lua, -2) != 0; lua_pop(lua, 1)) {
            if (lua_type(lua, -2) != LUA_TSTRING || lua_type(lua, -1) != LUA_TFUNCTION) {
                type = LUA_TNUMBER;
                lua_pop(lua, 2);
                break;
            }
            const char *copy =
                dbk_arena_copy(declaring->arena, dbk_slice_of(lua_tostring(lua, -2))).data;
            rc = copy == NULL ? no_memory(declaring) : add_route(declaring, copy, role, step);
            *there_out = true;
            if (rc < 0)
                lua_pop(lua, 1);
        }
        if (rc < 0)
            lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
    if (rc == DBK_OK && type != LUA_TNIL && type != LUA_TTABLE)
        rc =
            wrong(declaring, name,
                  "step %s: `%s` is a table of event types, each with the function that says which "
                  "instance it is of",
                  name, keys[role]);
    return rc;
}

/* What a step cannot be without: `check` refuses it. */
static int check_needs(struct declaring *declaring, lua_State *lua, const char *name,
                       struct dbk_saga_step_definition *step)
{
    bool there = false;
    if (has_function(lua, "send", &there) == 0 || !there)
        return wrong(declaring, name,
                     "step %s needs `send`: what it sends, as event(…), command(…) "
                     "or http(…)",
                     name);
    (void)lua_getfield(lua, -1, "undo");
    bool none = dbk_saga_is_none(lua, -1);
    step->undo = lua_isfunction(lua, -1) && !none;
    lua_pop(lua, 1);
    if (!none && !step->undo)
        return wrong(declaring, name,
                     "step %s has no compensation: write `undo = function(state, "
                     "key) … end`, or `undo = none`",
                     name);
    int rc = take_duration(declaring, lua, name, "timeout", &step->timeout_us, &there);
    if (rc < 0)
        return rc;
    if (!there)
        return wrong(declaring, name, "step %s has no timeout: write `timeout = \"30 s\"`", name);
    if (has_function(lua, "key", &there) == 0 || !there)
        return wrong(declaring, name,
                     "step %s has no idempotency key: write `key = function(state) "
                     "… end`",
                     name);
    return DBK_OK;
}

static int take_step(struct declaring *declaring, lua_State *lua, const char *name)
{
    static const char *const known[] = {"send",   "undo",   "timeout", "key",   "retry",    "done",
                                        "failed", "undone", "lock",    "after", "otherwise"};
    static const char *const optional[] = {"lock", "after", "otherwise"};
    struct dbk_saga_definition *definition = declaring->definition;
    size_t index = definition->step_count;
    bool failed = false;
    if (index == STEPS_MAX)
        return wrong(declaring, name, "a saga has at most %d steps", STEPS_MAX);
    if (!lua_istable(lua, -1))
        return wrong(declaring, name,
                     "step %s must be a table, as { send = function(state, key) … "
                     "end, undo = …, timeout = …, key = … }",
                     name);
    struct dbk_saga_step_definition *step = &declaring->steps[index];
    *step = (struct dbk_saga_step_definition){.name = name,
                                              .tries = DBK_SAGA_TRIES_DEFAULT,
                                              .delay_us = DBK_SAGA_DELAY_DEFAULT_US,
                                              .delay_max_us = DBK_SAGA_DELAY_MAX_DEFAULT_US};
    definition->step_count++;
    int rc = check_keys(declaring, lua, "a step", name, known, sizeof(known) / sizeof(known[0]));
    if (rc == DBK_OK)
        rc = check_needs(declaring, lua, name, step);
    bool *const flags[] = {&step->lock, &step->after, &step->otherwise};
    for (size_t i = 0; rc == DBK_OK && i < 3; i++) {
        if (has_function(lua, optional[i], flags[i]) == 0)
            rc = wrong(declaring, name, "step %s: `%s` must be a function", name, optional[i]);
    }
    if (rc == DBK_OK) {
        (void)lua_getfield(lua, -1, "retry");
        rc = take_retry(declaring, lua, name, step);
        lua_pop(lua, 1);
    }
    if (rc == DBK_OK)
        rc = take_answers(declaring, lua, name, index, DBK_SAGA_DONE, &step->done);
    if (rc == DBK_OK)
        rc = take_answers(declaring, lua, name, index, DBK_SAGA_FAILED, &failed);
    if (rc == DBK_OK)
        rc = take_answers(declaring, lua, name, index, DBK_SAGA_UNDONE, &step->undone);
    if (rc == DBK_OK && failed && !step->done)
        rc = wrong(declaring, name,
                   "step %s: `failed` needs `done`: else it is done when it is sent", name);
    if (rc == DBK_OK && step->undone && !step->undo)
        rc = wrong(declaring, name, "step %s: `undone` needs `undo`", name);
    return rc;
}

/* ---- The rest ---- */

static int take_timer(struct declaring *declaring, lua_State *lua, const char *name)
{
    struct dbk_saga_definition *definition = declaring->definition;
    struct dbk_slice *timers =
        dbk_arena_alloc_zero(declaring->arena, definition->timer_count + 1, sizeof(*timers));
    if (timers == NULL)
        return no_memory(declaring);
    if (!lua_isfunction(lua, -1))
        return wrong(declaring, name, "timer %s must be a function of (state)", name);
    for (size_t i = 0; i < definition->timer_count; i++)
        timers[i] = definition->timers[i];
    timers[definition->timer_count++] = dbk_slice_of(name);
    definition->timers = timers;
    return DBK_OK;
}

static int take_unmatched(struct declaring *declaring, lua_State *lua)
{
    static const char *const policies[] = {"ignore", "park", "wait"};
    const char *text =
        lua_getfield(lua, 1, "unmatched") == LUA_TSTRING ? lua_tostring(lua, -1) : "";
    for (size_t i = 0; i < 3; i++) {
        if (strcmp(text, policies[i]) == 0) {
            declaring->definition->unmatched = (enum dbk_saga_unmatched)i;
            lua_pop(lua, 1);
            return DBK_OK;
        }
    }
    return wrong(declaring, "unmatched",
                 "say what becomes of an event whose instance has not begun: `unmatched = "
                 "\"ignore\"`, \"park\" or \"wait\"");
}

static int take_from(struct declaring *declaring, lua_State *lua)
{
    int type = lua_getfield(lua, 1, "from");
    const char *text = type == LUA_TSTRING ? lua_tostring(lua, -1) : "";
    bool start = strcmp(text, "start") == 0;
    bool good = type == LUA_TNIL || start || strcmp(text, "now") == 0;
    lua_pop(lua, 1);
    declaring->definition->from_start = start;
    return good ? DBK_OK
                : wrong(declaring, "from",
                        "`from` is \"now\" (as it is), or \"start\": the "
                        "book's first event");
}

static int declare_all(struct declaring *declaring, lua_State *lua)
{
    static const char *const known[] = {"unmatched", "from",   "initial", "on",
                                        "steps",     "timers", "samples"};
    bool starts = false;
    int rc = check_keys(declaring, lua, "a saga", "return", known, 7);
    if (rc == DBK_OK)
        rc = take_unmatched(declaring, lua);
    if (rc == DBK_OK)
        rc = take_from(declaring, lua);
    int initial = lua_getfield(lua, 1, "initial");
    lua_pop(lua, 1);
    if (rc == DBK_OK && initial != LUA_TNIL && initial != LUA_TTABLE)
        rc = wrong(declaring, "initial", "`initial` must be a table: the state before the start");
    if (rc < 0)
        return rc;
    (void)lua_getfield(lua, 1, "on");
    rc = each_member(declaring, lua, "on", take_on);
    lua_settop(lua, 1);
    for (size_t i = 0; i < declaring->definition->route_count; i++)
        starts = starts || declaring->routes[i].role == DBK_SAGA_START;
    if (rc == DBK_OK && !starts)
        rc = wrong(declaring, "on", "no event begins it: write `starts = true` beside one in `on`");
    (void)lua_getfield(lua, 1, "steps");
    if (rc == DBK_OK)
        rc = each_member(declaring, lua, "steps", take_step);
    lua_settop(lua, 1);
    int timers = lua_getfield(lua, 1, "timers");
    if (rc == DBK_OK && timers != LUA_TNIL)
        rc = each_member(declaring, lua, "timers", take_timer);
    lua_settop(lua, 1);
    int samples = lua_getfield(lua, 1, "samples");
    lua_settop(lua, 1);
    if (rc == DBK_OK && samples != LUA_TNIL && samples != LUA_TTABLE)
        rc = wrong(declaring, "samples", "`samples` must be a table of data to simulate with");
    return rc;
}

/* (the file's table, declaring) */
static int declare_protected(lua_State *lua)
{
    struct declaring *declaring = lua_touserdata(lua, 2);
    lua_settop(lua, 1);
    declaring->rc = declare_all(declaring, lua);
    return 0;
}

int dbk_saga_declare(struct dbk_script *script, struct dbk_slice source, struct dbk_arena *arena,
                     struct dbk_saga_definition *definition_out, struct dbk_error *err)
{
    lua_State *lua = dbk_script_lua(script);
    struct declaring declaring = {.script = script,
                                  .source = source,
                                  .arena = arena,
                                  .definition = definition_out,
                                  .err = err};
    *definition_out = (struct dbk_saga_definition){0};
    declaring.steps = dbk_arena_alloc_zero(arena, STEPS_MAX, sizeof(*declaring.steps));
    declaring.routes = dbk_arena_alloc_zero(arena, ROUTES_MAX, sizeof(*declaring.routes));
    if (declaring.steps == NULL || declaring.routes == NULL)
        return no_memory(&declaring);
    definition_out->steps = declaring.steps;
    definition_out->routes = declaring.routes;
    lua_pushcfunction(lua, declare_protected);
    lua_pushvalue(lua, 1);
    lua_pushlightuserdata(lua, &declaring);
    int rc = dbk_script_call(script, 2, 0, err);
    lua_settop(lua, 1);
    return rc < 0 ? rc : declaring.rc;
}
