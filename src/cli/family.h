/* SPDX-License-Identifier: Apache-2.0 */
/*
 * family -- how the tables of commands are written.
 *
 * A family of commands has a file with its part of the table; commands.c has their order.
 */
#ifndef DBK_CLI_FAMILY_H
#define DBK_CLI_FAMILY_H

#include "cli/commands.h"

struct dbk_cli_family {
    const struct dbk_cli_command *commands;
    size_t count;
};
#define DBK_CLI_FAMILY(commands)                                                                   \
    {                                                                                              \
        commands, sizeof(commands) / sizeof((commands)[0])                                         \
    }

#define EXAMPLES(...)                                                                              \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
#define OPTIONS(...)                                                                               \
    (const struct dbk_option[])                                                                    \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }
/* Options that several commands share. */
#define FLAG(name, help)                                                                           \
    {                                                                                              \
        name, 0, DBK_OPTION_FLAG, NULL, help                                                       \
    }
#define OPTION(name, kind, value, help)                                                            \
    {                                                                                              \
        name, 0, DBK_OPTION_##kind, value, help                                                    \
    }
#define AFTER                                                                                      \
    OPTION("after", TEXT, "POSITION",                                                              \
           "wait until it holds the events up to this position, or what a service's database had " \
           "committed: users:0/16B3748"),                                                          \
        OPTION("timeout", DURATION, "TIME", "how long --after may wait (10 s)")
#define FILTERS                                                                                    \
    OPTION("category", TEXT, "A,B", "only streams of these categories"),                           \
        OPTION("type", TEXT, "A,B", "only events of these types"),                                 \
        OPTION("tag", TEXT, "A,B", "only events with all of these tags"),                          \
        OPTION("query", TEXT, "JSON", "only events that match: [{\"types\":[…],\"tags\":[…]},…]"), \
        OPTION("prefix", TEXT, "TEXT", "only streams whose name begins so")
#define CORRELATION OPTION("correlation", TEXT, "ID", "only events of this correlationid")
#define POSITION                                                                                   \
    FLAG("position", "also how far the rows are: on standard error, or around them in -o json")

extern const struct dbk_cli_family dbk_cli_commands_use;
extern const struct dbk_cli_family dbk_cli_commands_groups;
extern const struct dbk_cli_family dbk_cli_commands_keep;
extern const struct dbk_cli_family dbk_cli_commands_look;
extern const struct dbk_cli_family dbk_cli_commands_derive;
extern const struct dbk_cli_family dbk_cli_commands_bench;

#endif
