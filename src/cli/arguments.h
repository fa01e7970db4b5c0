/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arguments -- a command line read by the table that also makes its help.
 *
 * A command is described by one struct dbk_cli_command; nothing else knows its options. Options may
 * stand before, between and behind positional arguments; `--name value` and `--name=value` are the
 * same, `--` ends options, and `-` alone is an argument (standard input). What an option's kind
 * promises (a number, an instant) is checked while parsing, so commands read values that are
 * well-formed.
 *
 * Threads: pure functions.
 */
#ifndef DBK_CLI_ARGUMENTS_H
#define DBK_CLI_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define DBK_ARGUMENTS_MAX 256
#define DBK_ARGUMENTS_OPTIONS_MAX 32

enum dbk_option_kind {
    DBK_OPTION_FLAG,     /* takes no value */
    DBK_OPTION_TEXT,     /* any text */
    DBK_OPTION_NUMBER,   /* a whole number from 0 */
    DBK_OPTION_TIME,     /* "2011-03-01", "2011-03-01 08:26", RFC 3339 */
    DBK_OPTION_DURATION, /* "10 s", "250 ms" */
    DBK_OPTION_CHOICE,   /* one of `value`'s words, which '|' parts */
};

struct dbk_option {
    const char *name; /* without "--"; NULL ends a list */
    char letter;      /* of the short form; 0: none */
    enum dbk_option_kind kind;
    const char *value; /* its value's name in help ("N"), or the choices */
    const char *help;
};

struct dbk_arguments;

struct dbk_cli_command {
    const char *name;                 /* "append", or two words: "model ls" */
    const char *positional;           /* as help shows it: "STREAM TYPE JSON" */
    const char *summary;              /* one line */
    const char *details;              /* more to know, lines of at most 78 columns; may be empty */
    const char *const *examples;      /* whole command lines, each with `  # why`; ends with NULL */
    const struct dbk_option *options; /* its own; NULL: none */
    unsigned positional_min;
    unsigned positional_max;
    bool book;                                         /* takes dbk_options_book */
    int (*run)(const struct dbk_arguments *arguments); /* returns the exit status */
};

struct dbk_arguments {
    const struct dbk_cli_command *command;
    bool help; /* --help was given; nothing else is filled */
    const char *positional[DBK_ARGUMENTS_MAX];
    size_t positional_count;
    struct {
        const struct dbk_option *option;
        const char *value; /* "" for flags */
    } given[DBK_ARGUMENTS_OPTIONS_MAX];
    size_t given_count;
};

/* --output and --help, which all commands take; and those that say which book. End with NULL
   names. */
extern const struct dbk_option dbk_options_common[];
extern const struct dbk_option dbk_options_book[];

/*
 * Reads what stands behind a command's name. Strings are kept from argv.
 *
 * DBK_EINVAL  the message names the option or argument, and the closest one there is; or an option
 *             is given twice, with two values
 */
int dbk_arguments_parse(const struct dbk_cli_command *command, int argc, const char *const *argv,
                        struct dbk_arguments *arguments_out, struct dbk_error *err) DBK_MUST_CHECK;

/* The value of an option of this command, NULL when it was not given. */
const char *dbk_arguments_text(const struct dbk_arguments *arguments, const char *name);
bool dbk_arguments_has(const struct dbk_arguments *arguments, const char *name);
bool dbk_arguments_is_flag(const struct dbk_arguments *arguments, const char *name);
/* The same as a number, or in microseconds; `otherwise` when it was not given. */
uint64_t dbk_arguments_number(const struct dbk_arguments *arguments, const char *name,
                              uint64_t otherwise);
int64_t dbk_arguments_time_us(const struct dbk_arguments *arguments, const char *name,
                              int64_t otherwise);
int64_t dbk_arguments_duration_us(const struct dbk_arguments *arguments, const char *name,
                                  int64_t otherwise);

#endif
