/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/map.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/diagnostics.h"
#include "migrate/mapping.h"

#define TEXT_SIZE_MAX ((size_t)64 << 20)
#define VERSION 1

static const char *const fields[] = {"version",
                                     "raw",
                                     "events",
                                     "any",
                                     "states",
                                     "drop_types",
                                     "drop_streams",
                                     "drop_categories",
                                     "rename_types",
                                     "rename_streams",
                                     "rename_categories",
                                     "retag",
                                     "plain"};
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

/* ---- The script ---- */

void dbk_migrate_map_check_keys(lua_State *lua, int table, const char *what,
                                const char *const *known, size_t count)
{
    lua_pushnil(lua);
    while (lua_next(lua, table) != 0) {
        bool found = false;
        lua_pop(lua, 1);
        const char *key = lua_type(lua, -1) == LUA_TSTRING ? lua_tostring(lua, -1) : "(no text)";
        for (size_t i = 0; i < count && !found; i++)
            found = strcmp(key, known[i]) == 0;
        if (found)
            continue;
        const char *closest = dbk_closest_name(key, known, count);
        (void)luaL_error(lua,
                         closest == NULL ? "%s has no `%s`" : "%s has no `%s`; did you mean `%s`?",
                         what, key, closest);
    }
}

static bool has_function(lua_State *lua, const char *field)
{
    int type = lua_getfield(lua, 1, field);
    lua_pop(lua, 1);
    if (type != LUA_TNIL && type != LUA_TFUNCTION)
        (void)luaL_error(lua, "`%s` must be a function, not %s", field, lua_typename(lua, type));
    return type == LUA_TFUNCTION;
}

/* The braces of a tag's template. */
static void check_template(lua_State *lua, struct dbk_slice text)
{
    bool open = false;
    size_t from = 0;
    for (size_t i = 0; i < text.size; i++) {
        bool brace = text.data[i] == '{' || text.data[i] == '}';
        if (brace && (text.data[i] == '{') == open)
            break;
        if (text.data[i] == '}' && i == from)
            break;
        if (brace) {
            open = !open;
            from = i + 1;
        }
        if (i + 1 == text.size && !open)
            return;
    }
    (void)luaL_error(lua, "`retag` has \"%s\", where a tag is as \"customer:{customer_id}\"",
                     text.data);
}

/* (the script's table, map) */
static int read_definition(lua_State *lua)
{
    struct dbk_migrate_map *map = lua_touserdata(lua, 2);
    struct dbk_arena *arena = &map->arena;
    dbk_migrate_map_check_keys(lua, 1, "a migration", fields, FIELDS);
    if (lua_getfield(lua, 1, "version") != LUA_TNUMBER || lua_tointeger(lua, -1) != VERSION)
        (void)luaL_error(lua, "`version` must be %d, the version of what a migration may say",
                         VERSION);
    int raw = lua_getfield(lua, 1, "raw");
    if (raw != LUA_TNIL && raw != LUA_TBOOLEAN)
        (void)luaL_error(lua, "`raw` must be true or false");
    map->raw = lua_toboolean(lua, -1) != 0;
    lua_settop(lua, 1);
    map->has_any = has_function(lua, "any");
    map->has_states = has_function(lua, "states");
    dbk_migrate_names_read(lua, "events", DBK_MIGRATE_NAMES_FUNCTIONS, arena, &map->functions);
    dbk_migrate_names_read(lua, "drop_types", DBK_MIGRATE_NAMES_LIST, arena, &map->drop_types);
    dbk_migrate_names_read(lua, "drop_streams", DBK_MIGRATE_NAMES_LIST, arena, &map->drop_streams);
    dbk_migrate_names_read(lua, "drop_categories", DBK_MIGRATE_NAMES_LIST, arena,
                           &map->drop_categories);
    dbk_migrate_names_read(lua, "rename_types", DBK_MIGRATE_NAMES_PAIRS, arena, &map->rename_types);
    dbk_migrate_names_read(lua, "rename_streams", DBK_MIGRATE_NAMES_PAIRS, arena,
                           &map->rename_streams);
    dbk_migrate_names_read(lua, "rename_categories", DBK_MIGRATE_NAMES_PAIRS, arena,
                           &map->rename_categories);
    dbk_migrate_names_read(lua, "retag", DBK_MIGRATE_NAMES_LISTS, arena, &map->retag);
    dbk_migrate_names_read(lua, "plain", DBK_MIGRATE_NAMES_LIST, arena, &map->plain);
    for (size_t i = 0; i < map->retag.count; i++)
        for (size_t j = 0; j < map->retag.names[i].text_count; j++)
            check_template(lua, map->retag.names[i].texts[j]);
    return 0;
}

static int open_script(struct dbk_migrate_map *map, struct dbk_error *err)
{
    dbk_script_free(map->script);
    map->script = NULL;
    return dbk_script_open(map->options.name, map->options.source, NULL, &map->script, err);
}

int dbk_migrate_map_open(const struct dbk_migrate_map_options *options,
                         struct dbk_migrate_map **map_out, struct dbk_error *err)
{
    struct dbk_migrate_map *map = dbk_alloc_zero(1, sizeof(*map));
    if (map == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", options->name);
    map->options = *options;
    dbk_arena_init(&map->arena, TEXT_SIZE_MAX);
    dbk_buf_init(&map->text, TEXT_SIZE_MAX);
    map->json = dbk_json_create(TEXT_SIZE_MAX);
    map->other = dbk_json_create(TEXT_SIZE_MAX);
    int rc = map->json == NULL || map->other == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", options->name)
                 : open_script(map, err);
    if (rc == DBK_OK) {
        lua_State *lua = dbk_script_lua(map->script);
        lua_pushcfunction(lua, read_definition);
        lua_pushvalue(lua, 1);
        lua_pushlightuserdata(lua, map);
        rc = dbk_script_call(map->script, 2, 0, err);
    }
    if (rc == DBK_OK) {
        map->personal = dbk_migrate_personal_create(
            &(struct dbk_migrate_personal_options){.source = options->source_schemas,
                                                   .target = options->target_schemas,
                                                   .plain = &map->plain,
                                                   .as_written = map->raw});
        if (map->personal == NULL)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", options->name);
    }
    if (rc < 0) {
        dbk_migrate_map_free(map);
        return rc;
    }
    *map_out = map;
    return DBK_OK;
}

void dbk_migrate_map_free(struct dbk_migrate_map *map)
{
    if (map == NULL)
        return;
    dbk_script_free(map->script);
    dbk_migrate_personal_free(map->personal);
    dbk_json_free(map->json);
    dbk_json_free(map->other);
    dbk_buf_release(&map->text);
    dbk_arena_release(&map->arena);
    dbk_free(map->made);
    dbk_free(map);
}

bool dbk_migrate_map_is_raw(const struct dbk_migrate_map *map)
{
    return map->raw;
}

uint64_t dbk_migrate_map_begin(const struct dbk_migrate_map *map, uint64_t position)
{
    bool plain = !map->has_any && map->functions.count == 0;
    return plain ? position + 1 : position / DBK_MIGRATE_BLOCK * DBK_MIGRATE_BLOCK + 1;
}

bool dbk_migrate_map_has_states(const struct dbk_migrate_map *map)
{
    return map->has_states;
}

/* ---- The short forms ---- */

struct dbk_slice dbk_migrate_map_type(const struct dbk_migrate_map *map, struct dbk_slice type)
{
    const struct dbk_migrate_name *name = dbk_migrate_names_find(&map->rename_types, type);
    return name == NULL ? type : name->other;
}

struct dbk_slice dbk_migrate_map_category(const struct dbk_migrate_map *map,
                                          struct dbk_slice category)
{
    const struct dbk_migrate_name *name = dbk_migrate_names_find(&map->rename_categories, category);
    return name == NULL ? category : name->other;
}

int dbk_migrate_map_stream(const struct dbk_migrate_map *map, struct dbk_arena *arena,
                           struct dbk_slice *stream)
{
    struct dbk_slice category = dbk_stream_category(*stream);
    const struct dbk_migrate_name *name = dbk_migrate_names_find(&map->rename_streams, *stream);
    if (name != NULL) {
        *stream = name->other;
        return DBK_OK;
    }
    name = dbk_migrate_names_find(&map->rename_categories, category);
    if (name == NULL)
        return DBK_OK;
    size_t rest = stream->size - category.size;
    char *text = dbk_arena_alloc(arena, name->other.size + rest + 1);
    if (text == NULL)
        return DBK_ENOMEM;
    memcpy(text, name->other.data, name->other.size);
    memcpy(text + name->other.size, stream->data + category.size, rest);
    *stream = dbk_slice(text, name->other.size + rest);
    return DBK_OK;
}

/* The value at a dotted path, as text; false: it is none that a tag could have. */
static bool put_value(const struct dbk_json_node *root, struct dbk_slice path, struct dbk_buf *out)
{
    const struct dbk_json_node *node = root;
    size_t from = 0;
    for (size_t i = 0; node != NULL && i <= path.size; i++) {
        if (i < path.size && path.data[i] != '.')
            continue;
        node = dbk_json_member_slice(node, dbk_slice(path.data + from, i - from));
        from = i + 1;
    }
    if (node == NULL || node->kind == DBK_JSON_NULL || node->kind == DBK_JSON_ARRAY ||
        node->kind == DBK_JSON_OBJECT)
        return false;
    dbk_buf_append(out, node->kind == DBK_JSON_STRING ? node->text : node->raw);
    return true;
}

static bool expand(const struct dbk_json_node *root, struct dbk_slice text, struct dbk_buf *out)
{
    size_t from = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '{') {
            dbk_buf_append(out, dbk_slice(text.data + from, i - from));
            from = i + 1;
        } else if (text.data[i] == '}') {
            if (!put_value(root, dbk_slice(text.data + from, i - from), out))
                return false;
            from = i + 1;
        }
    }
    dbk_buf_append(out, dbk_slice(text.data + from, text.size - from));
    return out->rc == DBK_OK && out->size > 0 && out->size <= DBK_TAG_SIZE_MAX;
}

static int retag(struct dbk_migrate_map *map, struct dbk_arena *arena, struct dbk_made *made)
{
    const struct dbk_migrate_name *rule = dbk_migrate_names_find(&map->retag, made->event.type);
    const struct dbk_json_node *root = NULL;
    size_t count = 0;
    if (rule == NULL)
        return DBK_OK;
    struct dbk_slice *tags = dbk_arena_alloc_zero(arena, rule->text_count + 1, sizeof(*tags));
    if (tags == NULL)
        return DBK_ENOMEM;
    bool json = (made->event.flags & DBK_RECORD_JSON) != 0 &&
                dbk_json_parse(map->other, made->event.data, &root, NULL) == DBK_OK;
    for (size_t i = 0; i < rule->text_count; i++) {
        dbk_buf_reset(&map->text);
        if (!expand(json ? root : NULL, rule->texts[i], &map->text))
            continue;
        tags[count] = dbk_arena_copy(arena, dbk_buf_slice(&map->text));
        if (tags[count++].data == NULL)
            return DBK_ENOMEM;
    }
    made->event.tags = tags;
    made->event.tag_count = count;
    return DBK_OK;
}

static int compare_tags(const void *a, const void *b)
{
    return dbk_slice_compare(*(const struct dbk_slice *)a, *(const struct dbk_slice *)b);
}

/* The event's tags, but for those that the book has given it. */
static int read_event_tags(struct dbk_migrate_call *call)
{
    struct dbk_slice rest = call->event->tags;
    struct dbk_slice tag;
    size_t count = 0;
    while (dbk_event_next_tag(&rest, &tag))
        count++;
    if (count == 0)
        return DBK_OK;
    struct dbk_slice *tags = dbk_arena_alloc_zero(call->arena, count, sizeof(*tags));
    if (tags == NULL)
        return DBK_ENOMEM;
    rest = call->event->tags;
    while (dbk_event_next_tag(&rest, &tag))
        if (tag.data[0] != '$')
            tags[call->tag_count++] = tag;
    call->tags = tags;
    return DBK_OK;
}

static int has_other_tags(const struct dbk_migrate_call *call, const struct dbk_made *made,
                          bool *other_out)
{
    size_t count = made->event.tag_count;
    size_t unique = 0;
    *other_out = false;
    if (made->event.tags == call->tags)
        return DBK_OK;
    struct dbk_slice *tags = dbk_arena_alloc_zero(call->arena, count + 1, sizeof(*tags));
    if (tags == NULL)
        return DBK_ENOMEM;
    if (count > 0)
        memcpy(tags, made->event.tags, count * sizeof(*tags));
    qsort(tags, count, sizeof(*tags), compare_tags);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || !dbk_slice_equal(tags[i], tags[i - 1]))
            tags[unique++] = tags[i];
    *other_out = unique != call->tag_count;
    for (size_t i = 0; i < unique && !*other_out; i++)
        *other_out = !dbk_slice_equal(tags[i], call->tags[i]);
    return DBK_OK;
}

static int find_changes(const struct dbk_migrate_call *call, struct dbk_made *made)
{
    const struct dbk_event *event = call->event;
    bool tags = false;
    int rc = has_other_tags(call, made, &tags);
    unsigned changes = tags ? DBK_MADE_TAGS : 0;
    changes |= dbk_slice_equal(made->event.type, event->type) ? 0 : (unsigned)DBK_MADE_TYPE;
    changes |= dbk_slice_equal(made->event.stream, event->stream) ? 0 : (unsigned)DBK_MADE_STREAM;
    changes |= dbk_slice_equal(made->event.meta, event->meta) ? 0 : (unsigned)DBK_MADE_META;
    changes |= made->event.occurred_us == event->occurred_us ? 0 : (unsigned)DBK_MADE_OCCURRED;
    if (!dbk_slice_equal(made->event.data, event->data) ||
        made->event.flags != (event->flags & DBK_RECORD_JSON))
        changes |= DBK_MADE_DATA;
    made->changes = changes;
    return rc;
}

struct dbk_uuid dbk_migrate_made_id(const struct dbk_uuid *id, size_t ordinal)
{
    uint32_t number = (uint32_t)ordinal;
    const uint8_t bytes[4] = {(uint8_t)number, (uint8_t)(number >> 8), (uint8_t)(number >> 16),
                              (uint8_t)(number >> 24)};
    const struct dbk_slice parts[] = {DBK_SLICE_LITERAL("daybook migration"),
                                      dbk_slice(id->bytes, DBK_UUID_SIZE),
                                      dbk_slice(bytes, sizeof(bytes))};
    return ordinal == 0 ? *id : dbk_uuid_derive(parts, 3);
}

/* The first that an event becomes keeps its id; those behind it derive theirs from that. */
static void give_id(const struct dbk_event *event, size_t ordinal, struct dbk_made *made)
{
    if (dbk_uuid_is_none(&made->event.id) || dbk_uuid_equal(&made->event.id, &event->id))
        made->event.id = dbk_migrate_made_id(&event->id, ordinal);
}

static int finish(const struct dbk_migrate_call *call, struct dbk_error *err)
{
    struct dbk_migrate_map *map = call->map;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < map->made_count; i++) {
        struct dbk_made *made = &map->made[i];
        made->event.type = dbk_migrate_map_type(map, made->event.type);
        rc = dbk_migrate_map_stream(map, call->arena, &made->event.stream);
        if (rc == DBK_OK)
            rc = retag(map, call->arena, made);
        if (rc == DBK_OK)
            rc = find_changes(call, made);
        if (rc == DBK_OK)
            rc = dbk_migrate_personal_check(map->personal, call->event, &made->event, call->arena,
                                            err);
        give_id(call->event, i, made);
    }
    return rc;
}

static bool is_dropped(const struct dbk_migrate_map *map, const struct dbk_event *event)
{
    return dbk_migrate_names_find(&map->drop_types, event->type) != NULL ||
           dbk_migrate_names_find(&map->drop_streams, event->stream) != NULL ||
           dbk_migrate_names_find(&map->drop_categories, dbk_stream_category(event->stream)) !=
               NULL;
}

static int call_function(struct dbk_migrate_map *map, struct dbk_migrate_call *call,
                         struct dbk_error *err)
{
    uint64_t block = (call->event->position - 1) / DBK_MIGRATE_BLOCK + 1;
    if (!map->has_any && dbk_migrate_names_find(&map->functions, call->event->type) == NULL)
        return dbk_migrate_map_add_made(NULL, call) == NULL ? DBK_ENOMEM : DBK_OK;
    if (block != map->block) {
        int rc = open_script(map, err);
        if (rc < 0)
            return rc;
        map->block = block;
    }
    lua_State *lua = dbk_script_lua(map->script);
    lua_pushcfunction(lua, dbk_migrate_map_transform);
    lua_pushlightuserdata(lua, call);
    lua_pushvalue(lua, 1);
    return dbk_script_call(map->script, 2, 0, err);
}

int dbk_migrate_map_event(struct dbk_migrate_map *map, const struct dbk_event *event,
                          struct dbk_arena *arena, const struct dbk_made **made_out,
                          size_t *count_out, struct dbk_error *err)
{
    struct dbk_migrate_call call = {.map = map, .event = event, .arena = arena};
    struct dbk_error failure = {0};
    map->made_count = 0;
    int rc = read_event_tags(&call);
    if (rc == DBK_OK && !is_dropped(map, event))
        rc = call_function(map, &call, &failure);
    if (rc == DBK_OK)
        rc = finish(&call, &failure);
    *made_out = map->made;
    *count_out = map->made_count;
    if (rc == DBK_OK)
        return DBK_OK;
    return dbk_error_set(err, rc, "position %ju, %.*s, version %ju of %.*s: %s",
                         (uintmax_t)event->position, DBK_SLICE_ARGS(event->type),
                         (uintmax_t)event->version, DBK_SLICE_ARGS(event->stream),
                         failure.code == DBK_OK ? dbk_code_text(rc) : failure.message);
}

/* ---- States ---- */

struct expecting {
    struct dbk_migrate_map *map;
    struct dbk_slice state;
    struct dbk_slice stream;
    struct dbk_buf *out;
    bool answered;
};

/* (expecting, the script's table) */
static int expect_state(lua_State *lua)
{
    struct expecting *expecting = lua_touserdata(lua, 1);
    struct dbk_migrate_map *map = expecting->map;
    struct dbk_error failure = {0};
    const struct dbk_json_node *root = NULL;
    (void)lua_getfield(lua, 2, "states");
    int rc = dbk_json_parse(map->json, expecting->state, &root, &failure);
    if (rc == DBK_OK)
        rc = dbk_script_push_json(map->script, root, &failure);
    if (rc < 0)
        dbk_migrate_map_raise(lua, rc, &failure);
    lua_pushlstring(lua, expecting->stream.data, expecting->stream.size);
    lua_call(lua, 2, 1);
    expecting->answered = lua_isnil(lua, -1) == 0;
    if (expecting->answered)
        rc = dbk_script_write_json(map->script, -1, expecting->out, &failure);
    if (rc < 0)
        dbk_migrate_map_raise(lua, rc, &failure);
    return 0;
}

int dbk_migrate_map_state(struct dbk_migrate_map *map, struct dbk_slice state,
                          struct dbk_slice stream, struct dbk_buf *out, struct dbk_error *err)
{
    struct expecting expecting = {.map = map, .state = state, .stream = stream, .out = out};
    lua_State *lua = dbk_script_lua(map->script);
    lua_pushcfunction(lua, expect_state);
    lua_pushlightuserdata(lua, &expecting);
    lua_pushvalue(lua, 1);
    int rc = dbk_script_call(map->script, 2, 0, err);
    return rc < 0 ? rc : expecting.answered;
}
