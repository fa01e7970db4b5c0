/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recent -- the last commands that changed something: when they were sent, and when they were done.
 *
 * A command of the log is found by its events' positions, one in a service's own database by its
 * id (`:_id`), which its events may name as their cause.
 *
 * Threads: under the caller's lock.
 */
#ifndef DBK_COMMAND_RECENT_H
#define DBK_COMMAND_RECENT_H

#include "base/uuid.h"
#include "command/command.h"

#define DBK_RECENT_COMMANDS 4096

struct dbk_recent_command {
    struct dbk_uuid id;    /* of one in a service's database; else zero */
    uint64_t position_min; /* of its events; 0: it appended none */
    uint64_t position_max;
    const char *name;
    const char *service;
    int64_t sent_us;
    int64_t done_us;
};

struct dbk_recent {
    struct dbk_recent_command *commands; /* NULL until the first note */
    uint64_t count;                      /* ever noted; n is at n % DBK_RECENT_COMMANDS */
};

/* Without memory nothing is noted. */
void dbk_recent_note(struct dbk_recent *recent, const struct dbk_recent_command *command);
/* What an event came of. NULL: it is not among the last. */
const struct dbk_recent_command *dbk_recent_of(const struct dbk_recent *recent,
                                               const struct dbk_event *event);
void dbk_recent_release(struct dbk_recent *recent);

#endif
