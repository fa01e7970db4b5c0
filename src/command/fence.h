/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fence -- what a command is kept from in a SQLite file that services share.
 *
 * A server knows who asks, and refuses. A file does not: there SQLite tells, while each statement
 * is prepared, which tables and columns it uses, also through views and triggers, and what is of a
 * service that the command does not name and in none of its contracts is refused. What a foreign
 * key looks up or does is the database's own doing, as it is in a server.
 *
 * Threads: one at a time a connection.
 * Source:  sqlite.org/c3ref/set_authorizer.html.
 */
#ifndef DBK_COMMAND_FENCE_H
#define DBK_COMMAND_FENCE_H

#include "command/command.h"

struct dbk_connection;

/*
 * Outside of a transaction. version: of the schema at the last check, 0: none was; where it is
 * still that one nothing is done. DBK_ESCRIPT: a statement goes where it may not, and which.
 */
int dbk_command_check_fences(const struct dbk_service_command *command,
                             struct dbk_connection *connection, int64_t *version,
                             struct dbk_error *err) DBK_MUST_CHECK;

#endif
