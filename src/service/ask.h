/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask -- what a database is asked and told, as texts.
 *
 * Threads: a connection from one at a time.
 */
#ifndef DBK_SERVICE_ASK_H
#define DBK_SERVICE_ASK_H

#include "base/memory.h"
#include "target/target.h"

#define DBK_ASK_COLUMNS_MAX 6
#define DBK_ASK_PARAMETERS_MAX 4

/* Each gets a row's columns, NULL where they are; valid for the call. */
typedef int (*dbk_ask_fn)(void *context, const char *const *columns, struct dbk_error *err);

/* parameters: ?1 and so on, as texts; ends with NULL; NULL: none. each: NULL: rows are let go. */
int dbk_ask(struct dbk_connection *connection, const char *sql, const char *const *parameters,
            dbk_ask_fn each, void *context, struct dbk_error *err) DBK_MUST_CHECK;
/* The first row's first column, in the arena; NULL: there is none, or it is. */
int dbk_ask_text(struct dbk_connection *connection, const char *sql, const char *const *parameters,
                 struct dbk_arena *arena, const char **text_out,
                 struct dbk_error *err) DBK_MUST_CHECK;
/* The same as a whole number; 0: there is none, or it is NULL. */
int dbk_ask_number(struct dbk_connection *connection, const char *sql,
                   const char *const *parameters, int64_t *number_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Statements without rows. The message has their beginning, where they hold no secret. */
int dbk_tell(struct dbk_connection *connection, struct dbk_error *err, const char *format, ...)
    DBK_PRINTF(3, 4) DBK_MUST_CHECK;
int dbk_tell_secret(struct dbk_connection *connection, struct dbk_error *err, const char *what,
                    const char *format, ...) DBK_PRINTF(4, 5) DBK_MUST_CHECK;

#endif
