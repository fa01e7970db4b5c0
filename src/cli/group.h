/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group -- what the commands of consumer groups share.
 *
 * Threads: the main thread.
 */
#ifndef DBK_CLI_GROUP_H
#define DBK_CLI_GROUP_H

#include "cli/arguments.h"
#include "cli/call.h"

/* A request on /groups/{the first argument} and what is behind it. */
void dbk_group_call(struct dbk_call *call, const struct dbk_arguments *arguments,
                    const char *method, const char *behind);

#endif
