/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mapping -- a migration's script, and an event that goes through it (migrate/map.c).
 */
#ifndef DBK_MIGRATE_MAPPING_H
#define DBK_MIGRATE_MAPPING_H

#include <lua.h>

#include "migrate/map.h"
#include "migrate/names.h"
#include "migrate/personal.h"

struct dbk_migrate_map {
    struct dbk_migrate_map_options options;
    struct dbk_script *script;
    struct dbk_arena arena; /* of the names */
    uint64_t block;         /* that the script was opened for; 0: none */
    bool raw;
    bool has_any;
    bool has_states;
    struct dbk_migrate_names functions;
    struct dbk_migrate_names drop_types;
    struct dbk_migrate_names drop_streams;
    struct dbk_migrate_names drop_categories;
    struct dbk_migrate_names rename_types;
    struct dbk_migrate_names rename_streams;
    struct dbk_migrate_names rename_categories;
    struct dbk_migrate_names retag;
    struct dbk_migrate_names plain;
    struct dbk_migrate_personal *personal;
    struct dbk_json *json;  /* of the event's data */
    struct dbk_json *other; /* of what is compared with it, and of meta */
    struct dbk_buf text;
    struct dbk_made *made; /* of the event at hand */
    size_t made_count;
    size_t made_capacity;
};

/* An event being mapped. */
struct dbk_migrate_call {
    struct dbk_migrate_map *map;
    const struct dbk_event *event;
    struct dbk_arena *arena;
    const struct dbk_json_node *data; /* parsed; NULL: it is no JSON */
    const struct dbk_slice *tags;     /* the event's, without the book's own */
    size_t tag_count;
};

/* Refuses what a table of the script has that is not known, with what may have been meant. */
void dbk_migrate_map_check_keys(lua_State *lua, int table, const char *what,
                                const char *const *known, size_t count);
/* Ends the script with a failure. */
void dbk_migrate_map_raise(lua_State *lua, int code, const struct dbk_error *failure);
/* One more event that is made of it, as it is so far. */
struct dbk_made *dbk_migrate_map_add_made(lua_State *lua, struct dbk_migrate_call *call);
/* (call): runs the function for the event's type, and takes what it answers. */
int dbk_migrate_map_transform(lua_State *lua);

#endif
