/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema_rows -- rows of the schema commands: JSON that is written here and shown as -o asks.
 *
 * Threads: a list belongs to one thread.
 */
#ifndef DBK_CLI_SCHEMA_ROWS_H
#define DBK_CLI_SCHEMA_ROWS_H

#include "book/book.h"
#include "cli/data.h"
#include "schema/compare.h"

struct dbk_schema_rows {
    struct dbk_table *table;
    struct dbk_json *json;
    struct dbk_buf row; /* of the next row: an object */
};

int dbk_schema_rows_open(const struct dbk_arguments *arguments, const char *const *columns,
                         struct dbk_schema_rows *rows_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Shows what is in `row`, and empties it. */
int dbk_schema_rows_put(struct dbk_schema_rows *rows, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_schema_rows_end(struct dbk_schema_rows *rows, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_schema_rows_close(struct dbk_schema_rows *rows);

/* A type's newest version by name. DBK_ENOTFOUND: did you mean … */
int dbk_schema_rows_find(const struct dbk_book *book, const char *type,
                         const struct dbk_schema **schema_out,
                         struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Calls for every line of the book's files that names a field of an event type: folds, commands,
 * imports, upcasters, handlers of the type, queries and views. Of Lua and of queries only files
 * count that name the type, too.
 *
 * field  a member's name
 */
typedef int (*dbk_schema_user_fn)(void *context, const char *kind, const char *file, unsigned line);
int dbk_schema_users(const struct dbk_book *book, const struct dbk_schema *schema,
                     struct dbk_slice field, dbk_schema_user_fn each, void *context);

#endif
