/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names -- the short forms of a migration's script: tables of names, read once.
 *
 * Threads: read-only after it is read.
 */
#ifndef DBK_MIGRATE_NAMES_H
#define DBK_MIGRATE_NAMES_H

#include "base/memory.h"

struct lua_State;

struct dbk_migrate_name {
    struct dbk_slice name;
    struct dbk_slice other;        /* what it becomes */
    const struct dbk_slice *texts; /* or a list: templates of tags */
    size_t text_count;
};
/* Sorted by name. */
struct dbk_migrate_names {
    struct dbk_migrate_name *names;
    size_t count;
};

enum dbk_migrate_names_kind {
    DBK_MIGRATE_NAMES_LIST,      /* {"A", "B"} */
    DBK_MIGRATE_NAMES_PAIRS,     /* {A = "B"}: what each becomes */
    DBK_MIGRATE_NAMES_LISTS,     /* {A = {"x", "y"}} */
    DBK_MIGRATE_NAMES_FUNCTIONS, /* {A = function … end}: only the names */
};
/*
 * Reads a field of the table at stack index 1, in a protected call: raises what is wrong. Without
 * the field there are no names.
 */
void dbk_migrate_names_read(struct lua_State *lua, const char *field,
                            enum dbk_migrate_names_kind kind, struct dbk_arena *arena,
                            struct dbk_migrate_names *names_out);

/* NULL when there is none. */
const struct dbk_migrate_name *dbk_migrate_names_find(const struct dbk_migrate_names *names,
                                                      struct dbk_slice name);

#endif
