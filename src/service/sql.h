/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sql -- a text's parse tree, and what it uses of tables.
 *
 * Both dialects are read by PostgreSQL's grammar. The parser is recursive, so that a text is
 * bounded before it is reached, whatever its quotes hide: every word and every sign counts, also
 * those in strings and comments.
 *
 * Threads: one at a time a list; libpg_query keeps its memory by thread.
 * Source:  libpg_query, PostgreSQL 15's grammar.
 */
#ifndef DBK_SERVICE_SQL_H
#define DBK_SERVICE_SQL_H

#include <stdbool.h>

#include "base/memory.h"
#include "json/json.h"

#define DBK_SERVICE_SQL_SIZE_MAX ((size_t)256 << 10)
#define DBK_SERVICE_SQL_WORDS_MAX 10000

/* DBK_ELIMIT: more bytes or words than that, or a NUL byte; the message says how many. */
int dbk_service_bound(struct dbk_slice text, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Parses all statements of a text, of which :name and ?1 are parameters. root_out is
 * {"stmts": […]}, valid until the next parse or free of json.
 *
 * offset_out  the byte where it is wrong, or 0
 *
 * DBK_EINVAL  PostgreSQL's grammar does not read it
 * DBK_ELIMIT  it is too long, or nested too deeply; DBK_ENOMEM
 */
int dbk_service_parse(struct dbk_json *json, struct dbk_slice text,
                      const struct dbk_json_node **root_out, size_t *offset_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* A text for PostgreSQL's parser, freed by the caller: parameters are $1, in their places. NULL:
   out of memory. */
char *dbk_service_copy(struct dbk_slice text) DBK_MUST_CHECK;
/* A parser for that. NULL when out of memory. */
struct dbk_json *dbk_service_json(void) DBK_MUST_CHECK;

/* The statement of an item of "stmts": its node, whose key is its kind; NULL: there is none. */
const struct dbk_json_node *dbk_service_statement(const struct dbk_json_node *item);
/* A member's text; empty: there is none. */
struct dbk_slice dbk_service_text(const struct dbk_json_node *node, const char *key);
/* The text of {"String": {"sval": …}}; empty: it is something else. */
struct dbk_slice dbk_service_string(const struct dbk_json_node *node);
bool dbk_service_is_true(const struct dbk_json_node *node, const char *key);
/* True when a name is this one, in any case. */
bool dbk_service_is_name(struct dbk_slice name, const char *other);

/* ---- What a text uses ---- */

enum dbk_use_flags {
    DBK_USE_READ = 1 << 0,
    DBK_USE_WRITE = 1 << 1,      /* gives the column a value */
    DBK_USE_INSERT = 1 << 2,     /* of a table: adds rows, with the columns that it names */
    DBK_USE_POSITIONAL = 1 << 3, /* of a table: adds rows without naming columns */
    DBK_USE_UPDATE = 1 << 4,     /* of a table */
    DBK_USE_DELETE = 1 << 5,     /* of a table */
    DBK_USE_CONFLICT = 1 << 6,   /* of a table: ON CONFLICT, which needs a key */
    DBK_USE_POSSIBLE = 1 << 7,   /* it may be another table's: the text does not tell */
    DBK_USE_COUNTED = 1 << 8,    /* of "*": there must be as many as something else has */
    DBK_USE_GIVEN = 1 << 9,      /* of "*": an INSERT without names takes them by their place */
};

/* A column of a table; "" as a column is the table itself, "*" all columns, "?name" a column that
   it has not, and that a name without its table would mean, too, if it had; and "()" as a table
   functions that are called. */
struct dbk_use {
    const char *table;
    const char *column;
    unsigned flags;
};

struct dbk_uses {
    struct dbk_arena *arena;
    struct dbk_use *items;
    size_t count;
    size_t capacity;
    bool unread; /* the text could not be parsed: words of it, each of them possible */
};

/* Adds one; names are copied. DBK_ENOMEM. */
int dbk_uses_add(struct dbk_uses *uses, struct dbk_slice table, struct dbk_slice column,
                 unsigned flags) DBK_MUST_CHECK;

/* Adds what a text of SQL uses. What cannot be parsed is said by all of its words. */
int dbk_uses_read(struct dbk_uses *uses, struct dbk_json *json, struct dbk_slice text,
                  struct dbk_error *err) DBK_MUST_CHECK;

#endif
