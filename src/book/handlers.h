/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handlers -- handlers.sql in its sections.
 *
 *     -- on: LineAdded, LineReturned
 *     UPDATE …;
 *
 * A section begins with a comment line `-- on:` and the event types it handles, and goes to the
 * next such line. Only comments may stand before the first. A line that looks so within a string or
 * within a comment of more lines is none.
 *
 * Threads: pure function on the given arena and list.
 */
#ifndef DBK_BOOK_HANDLERS_H
#define DBK_BOOK_HANDLERS_H

#include "model/model.h"

/* Handlers, growing in an arena. */
struct dbk_handler_list {
    struct dbk_arena *arena;
    struct dbk_handler *items;
    size_t count;
    size_t capacity;
};

/* A file's language, as its ending tells: `.cypher`, `.json` (MongoDB's), or else SQL. */
enum dbk_dialect dbk_book_language(const char *file);
/* ".sql", and how people call it; of a dialect, or a database's address. */
const char *dbk_book_ending(enum dbk_dialect dialect);
const char *dbk_book_language_name(enum dbk_dialect dialect);
/* True when a file is in the language of a database. */
bool dbk_book_speaks(const char *file, const char *address);

/* Adds a copy. DBK_ENOMEM */
int dbk_handler_list_add(struct dbk_handler_list *list,
                         const struct dbk_handler *handler) DBK_MUST_CHECK;

/* Adds the handlers of a file; slices are the text's. Faults go to the list. DBK_ENOMEM only. */
int dbk_handlers_parse(const char *file, struct dbk_slice text, struct dbk_handler_list *list,
                       struct dbk_diagnostics *diagnostics) DBK_MUST_CHECK;

/*
 * Refuses a handler without a statement. sql begins at its line's start.
 */
int dbk_handlers_check_sql(const char *file, unsigned line, struct dbk_slice sql,
                           struct dbk_diagnostics *diagnostics) DBK_MUST_CHECK;

struct dbk_book_loader;

/* Gives handlers their versions ("Deposited.v1"), and checks both against the book's schemas. */
int dbk_book_check_handlers(struct dbk_book_loader *loader, struct dbk_handler_list *handlers,
                            struct dbk_error *err) DBK_MUST_CHECK;

#endif
