/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migration -- what a file of SQL changes in a database, statement by statement.
 *
 * Names are followed through the file: what is renamed keeps its users, what is made in it has
 * none, and a table that is dropped and made again is one that was made anew.
 *
 * What a statement changes that cannot be told is DBK_CHANGE_UNKNOWN, of its table, or of all of
 * them where not even that is known.
 *
 * Threads: pure functions on the given arena.
 * Source:  libpg_query, PostgreSQL 15's grammar; docs/services.md.
 */
#ifndef DBK_SERVICE_MIGRATION_H
#define DBK_SERVICE_MIGRATION_H

#include "base/diagnostics.h"
#include "service/sql.h"
#include "target/target.h"

enum dbk_change_kind {
    DBK_CHANGE_NONE, /* nothing that anybody uses */
    DBK_CHANGE_DROP_TABLE,
    DBK_CHANGE_RENAME_TABLE,
    DBK_CHANGE_REMADE, /* dropped or renamed, and there again with other columns */
    DBK_CHANGE_DROP_COLUMN,
    DBK_CHANGE_RENAME_COLUMN,
    DBK_CHANGE_TYPE,
    DBK_CHANGE_SET_NOT_NULL,
    DBK_CHANGE_DROP_NOT_NULL,
    DBK_CHANGE_SET_DEFAULT,
    DBK_CHANGE_DROP_DEFAULT,
    DBK_CHANGE_ADD_COLUMN,
    DBK_CHANGE_ADD_REQUIRED, /* a column that is NOT NULL and has no default */
    DBK_CHANGE_ADD_CONSTRAINT,
    DBK_CHANGE_DROP_CONSTRAINT,
    DBK_CHANGE_ADD_INDEX,
    DBK_CHANGE_ADD_UNIQUE,
    DBK_CHANGE_DROP_INDEX,
    DBK_CHANGE_REPLACE_VIEW,
    DBK_CHANGE_UPDATE_ROWS, /* of a column */
    DBK_CHANGE_DELETE_ROWS,
    DBK_CHANGE_RIGHTS,
    DBK_CHANGE_REVOKE, /* from the role new_name, of the columns; their count 0: of all */
    DBK_CHANGE_SEQUENCE,
    DBK_CHANGE_TRIGGER,
    DBK_CHANGE_DROP_FUNCTION,
    DBK_CHANGE_REPLACE_FUNCTION,
    DBK_CHANGE_REPLICA, /* what capture is told of a row */
    DBK_CHANGE_CASCADE, /* what stands on it, and the book does not know of */
    DBK_CHANGE_UNKNOWN,
    DBK_CHANGE_COUNT
};

struct dbk_change {
    enum dbk_change_kind kind;
    const char *table;          /* as its users know it; "": any. Of functions their name */
    const char *column;         /* "": of none */
    const char *new_name;       /* "": there is none */
    const char *const *columns; /* of what is made anew; NULL: not known */
    size_t column_count;
    unsigned rights; /* that are taken: DBK_USE_READ, …_INSERT, …_UPDATE, …_DELETE */
    unsigned line;   /* of its statement */
    unsigned place;
    char text[200]; /* "drops the column people.email" */
};

struct dbk_migration {
    const char *file; /* for messages */
    struct dbk_slice text;
    enum dbk_dialect dialect;
    struct dbk_arena *arena;
    struct dbk_change *changes;
    size_t count;
    size_t capacity;
};

/*
 * Reads a file. file, text, dialect and arena are the caller's. Where SQLite's own grammar is
 * needed, the statement's words say what it may change.
 *
 * DBK_EINVAL  PostgreSQL would not read it: the message says where and why
 * DBK_ELIMIT  it is too long; DBK_ENOMEM
 */
int dbk_migration_read(struct dbk_migration *migration, struct dbk_error *err) DBK_MUST_CHECK;

#endif
