/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reading -- a migration while it is read: the names that its tables have at a place of the file,
 * and the changes so far.
 *
 * Functions answer DBK_OK, or a negative code with reading->err filled.
 *
 * Threads: one at a time.
 */
#ifndef DBK_SERVICE_READING_H
#define DBK_SERVICE_READING_H

#include "service/migration.h"

#define DBK_MIGRATION_NAMES_MAX 256
#define DBK_MIGRATION_NONE ((struct dbk_slice){"", 0})

/* A table under the name that it has at this place of the file. */
struct dbk_migration_name {
    struct dbk_slice now;
    struct dbk_slice before;    /* as its users know it; empty: it is new */
    const char *const *columns; /* of a new one; NULL: not known */
    size_t column_count;
};

/* An index that the file makes. */
struct dbk_migration_index {
    struct dbk_slice name;
    struct dbk_slice table;
};

struct dbk_migration_reading {
    struct dbk_migration *migration;
    struct dbk_migration_name names[DBK_MIGRATION_NAMES_MAX];
    size_t name_count;
    struct dbk_migration_index indexes[DBK_MIGRATION_NAMES_MAX];
    size_t index_count;
    size_t offset; /* of the statement in the text */
    bool schemas;  /* a schema is named: one name may be several tables' */
    struct dbk_error *err;
};

int dbk_migration_no_memory(struct dbk_migration_reading *reading);

/* Adds a change at the statement; its words come by format. */
int dbk_migration_put(struct dbk_migration_reading *reading, const struct dbk_change *change,
                      const char *format, ...) DBK_PRINTF(3, 4);
/*
 * Begins a change of a table: fills it in and answers 1, or 0 of a table that the file made, which
 * has no users.
 */
int dbk_migration_begin(struct dbk_migration_reading *reading, enum dbk_change_kind kind,
                        struct dbk_slice table, struct dbk_slice column,
                        struct dbk_change *change_out) DBK_MUST_CHECK;
/* A change whose words are followed by `table.column` or `table`. */
int dbk_migration_put_simple(struct dbk_migration_reading *reading, enum dbk_change_kind kind,
                             struct dbk_slice table, struct dbk_slice column,
                             const char *words) DBK_MUST_CHECK;
/* A statement whose effect cannot be told. */
int dbk_migration_put_unknown(struct dbk_migration_reading *reading,
                              struct dbk_slice what) DBK_MUST_CHECK;
/* What stands on what a statement drops; the node has its "behavior", and may be NULL. */
int dbk_migration_put_cascade(struct dbk_migration_reading *reading,
                              const struct dbk_json_node *node) DBK_MUST_CHECK;

/* True when a name is another, as the dialect compares them. */
bool dbk_migration_is(const struct dbk_migration_reading *reading, struct dbk_slice name,
                      struct dbk_slice other);
/* The table of that name that the file has made or renamed; NULL: it did neither. */
struct dbk_migration_name *dbk_migration_find_name(struct dbk_migration_reading *reading,
                                                   struct dbk_slice table);
int dbk_migration_put_name(struct dbk_migration_reading *reading,
                           const struct dbk_migration_name *name) DBK_MUST_CHECK;
/* A table is made: a new one, or one that was dropped or renamed before. columns may be NULL. */
int dbk_migration_make_anew(struct dbk_migration_reading *reading, struct dbk_slice table,
                            const char *const *columns, size_t count) DBK_MUST_CHECK;

/* A member that is a list; NULL: there is none. */
const struct dbk_json_node *dbk_migration_list(const struct dbk_json_node *node, const char *key);
/* The name of a member that is a relation. */
struct dbk_slice dbk_migration_table(const struct dbk_json_node *node, const char *key);
/* The last of a list of names, which is the one without its schema. */
struct dbk_slice dbk_migration_last(const struct dbk_json_node *list);

/* A temporary table hides another for a while, and no longer. */
bool dbk_migration_is_temporary(const struct dbk_json_node *relation);

/* InsertStmt, UpdateStmt, DeleteStmt, MergeStmt, SelectStmt. */
int dbk_migration_read_rows(struct dbk_migration_reading *reading,
                            const struct dbk_json_node *node) DBK_MUST_CHECK;
/* AlterTableStmt. */
int dbk_migration_read_alter(struct dbk_migration_reading *reading,
                             const struct dbk_json_node *node) DBK_MUST_CHECK;

#endif
