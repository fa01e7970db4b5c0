/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parameter -- a member of a command's body as a value of its statements.
 *
 * Threads: any thread.
 */
#ifndef DBK_COMMAND_PARAMETER_H
#define DBK_COMMAND_PARAMETER_H

#include "command/command.h"
#include "json/json.h"
#include "target/target.h"

/* node: NULL: it is not there. DBK_EINVAL: it must be, or is of another type. */
int dbk_command_value(const char *command, const struct dbk_command_parameter *parameter,
                      const struct dbk_json_node *node, struct dbk_value *value_out,
                      struct dbk_error *err) DBK_MUST_CHECK;

#endif
