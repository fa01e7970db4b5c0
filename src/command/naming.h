/* SPDX-License-Identifier: Apache-2.0 */
/*
 * naming -- `-- service: orders, users`: whose tables a command in a service's database is over.
 *
 * The first is whose command it is; all are in one database, because a transaction is.
 *
 * Threads: one at a time.
 */
#ifndef DBK_COMMAND_NAMING_H
#define DBK_COMMAND_NAMING_H

#include "command/command.h"

struct dbk_command_naming {
    const char *file;
    struct dbk_slice text; /* of the file, for places in it */
    const struct dbk_capture_service *services;
    size_t service_count;
    struct dbk_arena *arena;
    struct dbk_diagnostics *faults;
    struct dbk_service_command *command; /* gets them */
};

/* list: a part of the text. Faults go to the list. DBK_ENOMEM. */
int dbk_command_take_services(const struct dbk_command_naming *naming,
                              struct dbk_slice list) DBK_MUST_CHECK;

#endif
