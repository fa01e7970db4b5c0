/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map -- what a migration's script makes of an event.
 *
 * In this order: what drop_types, drop_categories and drop_streams name is dropped; the function of
 * the event's type, or `any`, is called; what is left is renamed and retagged. Names before the
 * functions are those of the old book, behind them those of the new.
 *
 * What an event becomes follows from the event and from those before it in its block of
 * DBK_MIGRATE_BLOCK positions: at the start of each the script is opened anew, so that a migration
 * that was cut short goes on to the same result.
 *
 * Threads: a map belongs to one thread.
 * Source:  docs/migration.md.
 */
#ifndef DBK_MIGRATE_MAP_H
#define DBK_MIGRATE_MAP_H

#include "schema/schema.h"
#include "script/script.h"
#include "store/store.h"

#define DBK_MIGRATE_BLOCK UINT64_C(4096)

/* In what a made event differs from the one it was made of. */
enum dbk_made_change {
    DBK_MADE_TYPE = 1 << 0,
    DBK_MADE_STREAM = 1 << 1,
    DBK_MADE_DATA = 1 << 2,
    DBK_MADE_TAGS = 1 << 3,
    DBK_MADE_META = 1 << 4,
    DBK_MADE_OCCURRED = 1 << 5,
};

struct dbk_made {
    struct dbk_new_event event;
    unsigned changes;
};

struct dbk_migrate_map;

struct dbk_migrate_map_options {
    const char *name; /* for messages; kept until free, as is the source */
    struct dbk_slice source;
    size_t made_max;                          /* events that one may become */
    const struct dbk_schemas *source_schemas; /* kept until free; NULL: none are declared */
    const struct dbk_schemas *target_schemas;
};

/* DBK_EINVAL, DBK_ESCRIPT: the script is wrong; the message says where. DBK_ENOMEM */
int dbk_migrate_map_open(const struct dbk_migrate_map_options *options,
                         struct dbk_migrate_map **map_out, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_migrate_map_free(struct dbk_migrate_map *map);

/* True: events come with the schema version they were written in. */
bool dbk_migrate_map_is_raw(const struct dbk_migrate_map *map);

/* From where events have to be shown to it, when those up to a position are done: the script may
   remember some of its block. */
uint64_t dbk_migrate_map_begin(const struct dbk_migrate_map *map, uint64_t position);

/*
 * What an event becomes; events in the order of their positions. What is made is in the arena, or
 * borrowed from the event, and valid as long as both.
 *
 * DBK_ESCRIPT, DBK_EINVAL, DBK_ELIMIT  the message names the event
 * DBK_EDENIED  what is personal in it would become plain (migrate/personal.h)
 * DBK_ENOMEM
 */
int dbk_migrate_map_event(struct dbk_migrate_map *map, const struct dbk_event *event,
                          struct dbk_arena *arena, const struct dbk_made **made_out,
                          size_t *count_out, struct dbk_error *err) DBK_MUST_CHECK;

/* The id of the ordinal-th (from 0) that an event becomes, where the script gives none. */
struct dbk_uuid dbk_migrate_made_id(const struct dbk_uuid *id, size_t ordinal);

/* Renames as the short forms do: names of the old book become those of the new. */
struct dbk_slice dbk_migrate_map_type(const struct dbk_migrate_map *map, struct dbk_slice type);
/* The name is in the arena, or as it was. DBK_ENOMEM */
int dbk_migrate_map_stream(const struct dbk_migrate_map *map, struct dbk_arena *arena,
                           struct dbk_slice *stream) DBK_MUST_CHECK;
struct dbk_slice dbk_migrate_map_category(const struct dbk_migrate_map *map,
                                          struct dbk_slice category);

/*
 * The state that a stream of the new book is expected to have, by the script's `states(old,
 * stream)`; JSON in both. 1: it is in the buffer; 0: it is not to be compared (no answer).
 * Without such a function the state is expected to be the same, and this is not called.
 */
bool dbk_migrate_map_has_states(const struct dbk_migrate_map *map);
int dbk_migrate_map_state(struct dbk_migrate_map *map, struct dbk_slice state,
                          struct dbk_slice stream, struct dbk_buf *out,
                          struct dbk_error *err) DBK_MUST_CHECK;

/* True when two JSON values are the same, in whatever order members stand. */
bool dbk_json_same(const struct dbk_json_node *a, const struct dbk_json_node *b);

#endif
