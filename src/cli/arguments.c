/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/arguments.h"

#include <string.h>

#include "base/assert.h"
#include "base/diagnostics.h"
#include "base/slice.h"
#include "base/time.h"

const struct dbk_option dbk_options_common[] = {
    {"output", 'o', DBK_OPTION_CHOICE, "table|json|jsonl|csv", "how to print the answer (table)"},
    {"help", 'h', DBK_OPTION_FLAG, NULL, "show this help"},
    {0},
};

const struct dbk_option dbk_options_book[] = {
    {"book", 0, DBK_OPTION_TEXT, "DIR",
     "the book's folder (DAYBOOK_BOOK, else the nearest with a book.yaml)"},
    {"data", 0, DBK_OPTION_TEXT, "DIR",
     "its data directory (DAYBOOK_DATA, else as book.yaml says)"},
    {"env", 0, DBK_OPTION_TEXT, "NAME", "read book.NAME.yaml on top of book.yaml"},
    {"url", 0, DBK_OPTION_TEXT, "URL", "instead of all these, ask this server: https://HOST:PORT"},
    {"ca", 0, DBK_OPTION_TEXT, "FILE",
     "the CA of its certificate, in PEM (DAYBOOK_CA, else the system's)"},
    {"key-file", 0, DBK_OPTION_TEXT, "FILE",
     "a file with the API key (DAYBOOK_KEY_FILE, else this machine's own)"},
    {0},
};

/* The lists of options a command takes, in the order help shows them. */
static void option_lists(const struct dbk_cli_command *command,
                         const struct dbk_option *lists_out[3])
{
    static const struct dbk_option none[] = {{0}};
    lists_out[0] = command->options != NULL ? command->options : none;
    lists_out[1] = command->book ? dbk_options_book : none;
    lists_out[2] = dbk_options_common;
}

static const struct dbk_option *find_option(const struct dbk_cli_command *command,
                                            struct dbk_slice name)
{
    const struct dbk_option *lists[3];
    option_lists(command, lists);
    for (size_t i = 0; i < 3; i++)
        for (const struct dbk_option *option = lists[i]; option->name != NULL; option++)
            if (dbk_slice_equal_text(name, option->name))
                return option;
    return NULL;
}

static const struct dbk_option *find_letter(const struct dbk_cli_command *command, char letter)
{
    const struct dbk_option *lists[3];
    option_lists(command, lists);
    for (size_t i = 0; i < 3; i++)
        for (const struct dbk_option *option = lists[i]; option->name != NULL; option++)
            if (option->letter == letter)
                return option;
    return NULL;
}

static int unknown_option(const struct dbk_cli_command *command, const char *text,
                          struct dbk_slice name, struct dbk_error *err)
{
    const char *candidates[64];
    size_t count = 0;
    char wanted[64];
    const struct dbk_option *lists[3];
    option_lists(command, lists);
    for (size_t i = 0; i < 3; i++)
        for (const struct dbk_option *option = lists[i]; option->name != NULL && count < 64;
             option++)
            candidates[count++] = option->name;
    (void)snprintf(wanted, sizeof(wanted), "%.*s", DBK_SLICE_ARGS(name));
    const char *closest = dbk_closest_name(wanted, candidates, count);
    if (closest != NULL)
        return dbk_error_set(err, DBK_EINVAL, "%s has no option %s, did you mean --%s?",
                             command->name, text, closest);
    return dbk_error_set(err, DBK_EINVAL, "%s has no option %s; see `daybook help %s`",
                         command->name, text, command->name);
}

static bool is_choice(const char *choices, struct dbk_slice value)
{
    for (const char *at = choices; value.size > 0; at++) {
        size_t size = strcspn(at, "|");
        if (dbk_slice_equal(value, dbk_slice(at, size)))
            return true;
        at += size;
        if (*at == '\0')
            break;
    }
    return false;
}

static int check_value(const struct dbk_option *option, const char *text, struct dbk_error *err)
{
    struct dbk_slice value = dbk_slice_of(text);
    uint64_t number = 0;
    int64_t time_us = 0;
    switch (option->kind) {
    case DBK_OPTION_NUMBER:
        if (!dbk_slice_to_u64(value, &number))
            return dbk_error_set(err, DBK_EINVAL, "--%s takes a whole number, not \"%s\"",
                                 option->name, text);
        break;
    case DBK_OPTION_TIME:
        if (!dbk_time_parse(value, &time_us))
            return dbk_error_set(err, DBK_EINVAL,
                                 "--%s takes an instant such as 2011-03-01 or "
                                 "2011-03-01T08:26:00Z, not \"%s\"",
                                 option->name, text);
        break;
    case DBK_OPTION_DURATION:
        if (!dbk_duration_parse(value, &time_us))
            return dbk_error_set(err, DBK_EINVAL,
                                 "--%s takes a duration such as \"250 ms\" or \"10 s\", not \"%s\"",
                                 option->name, text);
        break;
    case DBK_OPTION_CHOICE:
        if (!is_choice(option->value, value))
            return dbk_error_set(err, DBK_EINVAL, "--%s is one of %s, not \"%s\"", option->name,
                                 option->value, text);
        break;
    case DBK_OPTION_TEXT:
        if (!dbk_slice_is_utf8(value))
            return dbk_error_set(err, DBK_EINVAL, "the value of --%s is not UTF-8", option->name);
        break;
    case DBK_OPTION_FLAG:
        break;
    }
    return DBK_OK;
}

static const char *given_value(const struct dbk_arguments *arguments,
                               const struct dbk_option *option)
{
    for (size_t i = 0; i < arguments->given_count; i++) {
        if (arguments->given[i].option == option)
            return arguments->given[i].value;
    }
    return NULL;
}

static int give(struct dbk_arguments *arguments, const struct dbk_option *option, const char *value,
                struct dbk_error *err)
{
    int rc = check_value(option, value, err);
    if (rc < 0)
        return rc;
    const char *before = given_value(arguments, option);
    if (before != NULL && strcmp(before, value) != 0)
        return dbk_error_set(err, DBK_EINVAL, "--%s is given twice, as \"%s\" and as \"%s\"",
                             option->name, before, value);
    if (arguments->given_count == DBK_ARGUMENTS_OPTIONS_MAX)
        return dbk_error_set(err, DBK_EINVAL, "more than %d options", DBK_ARGUMENTS_OPTIONS_MAX);
    arguments->given[arguments->given_count].option = option;
    arguments->given[arguments->given_count].value = value;
    arguments->given_count++;
    if (strcmp(option->name, "help") == 0)
        arguments->help = true;
    return DBK_OK;
}

/* Reads the option at argv[*at], and its value behind it; leaves *at on the last word it took. */
static int parse_option(struct dbk_arguments *arguments, int argc, const char *const *argv, int *at,
                        struct dbk_error *err)
{
    const char *text = argv[*at];
    const struct dbk_option *option = NULL;
    const char *value = NULL;
    struct dbk_slice name = {0};
    if (text[1] == '-') {
        name = dbk_slice(text + 2, strcspn(text + 2, "="));
        option = find_option(arguments->command, name);
        if (text[2 + name.size] == '=')
            value = text + 2 + name.size + 1;
    } else {
        name = dbk_slice(text + 1, 1);
        option = find_letter(arguments->command, text[1]);
        if (text[2] != '\0')
            value = text + 2;
    }
    if (option == NULL)
        return unknown_option(arguments->command, text, name, err);
    if (option->kind == DBK_OPTION_FLAG) {
        if (value != NULL)
            return dbk_error_set(err, DBK_EINVAL, "--%s takes no value", option->name);
        return give(arguments, option, "", err);
    }
    if (value == NULL && *at + 1 == argc)
        return dbk_error_set(err, DBK_EINVAL, "--%s needs a value: --%s %s", option->name,
                             option->name, option->value);
    if (value == NULL)
        value = argv[++*at];
    return give(arguments, option, value, err);
}

static int check_count(const struct dbk_arguments *arguments, struct dbk_error *err)
{
    const struct dbk_cli_command *command = arguments->command;
    if (arguments->positional_count < command->positional_min)
        return dbk_error_set(err, DBK_EINVAL, "something is missing: daybook %s %s", command->name,
                             command->positional);
    if (arguments->positional_count > command->positional_max)
        return dbk_error_set(err, DBK_EINVAL, "\"%s\" is one argument too many: daybook %s %s",
                             arguments->positional[command->positional_max], command->name,
                             command->positional);
    return DBK_OK;
}

int dbk_arguments_parse(const struct dbk_cli_command *command, int argc, const char *const *argv,
                        struct dbk_arguments *arguments_out, struct dbk_error *err)
{
    bool options = true;
    *arguments_out = (struct dbk_arguments){.command = command};
    for (int at = 0; at < argc; at++) {
        const char *text = argv[at];
        if (options && strcmp(text, "--") == 0) {
            options = false;
        } else if (options && text[0] == '-' && text[1] != '\0') {
            int rc = parse_option(arguments_out, argc, argv, &at, err);
            if (rc < 0)
                return rc;
        } else {
            if (arguments_out->positional_count == DBK_ARGUMENTS_MAX)
                return dbk_error_set(err, DBK_EINVAL, "more than %d arguments", DBK_ARGUMENTS_MAX);
            if (!dbk_slice_is_utf8(dbk_slice_of(text)))
                return dbk_error_set(err, DBK_EINVAL, "argument %zu is not UTF-8",
                                     arguments_out->positional_count + 1);
            arguments_out->positional[arguments_out->positional_count++] = text;
        }
    }
    return arguments_out->help ? DBK_OK : check_count(arguments_out, err);
}

const char *dbk_arguments_text(const struct dbk_arguments *arguments, const char *name)
{
    const struct dbk_option *option = find_option(arguments->command, dbk_slice_of(name));
    dbk_assert(option != NULL);
    return given_value(arguments, option);
}

bool dbk_arguments_is_flag(const struct dbk_arguments *arguments, const char *name)
{
    const struct dbk_option *option = find_option(arguments->command, dbk_slice_of(name));
    return option != NULL && option->kind == DBK_OPTION_FLAG;
}

bool dbk_arguments_has(const struct dbk_arguments *arguments, const char *name)
{
    return dbk_arguments_text(arguments, name) != NULL;
}

uint64_t dbk_arguments_number(const struct dbk_arguments *arguments, const char *name,
                              uint64_t otherwise)
{
    uint64_t value = otherwise;
    const char *text = dbk_arguments_text(arguments, name);
    if (text != NULL)
        dbk_assert(dbk_slice_to_u64(dbk_slice_of(text), &value));
    return value;
}

int64_t dbk_arguments_time_us(const struct dbk_arguments *arguments, const char *name,
                              int64_t otherwise)
{
    int64_t value = otherwise;
    const char *text = dbk_arguments_text(arguments, name);
    if (text != NULL)
        dbk_assert(dbk_time_parse(dbk_slice_of(text), &value));
    return value;
}

int64_t dbk_arguments_duration_us(const struct dbk_arguments *arguments, const char *name,
                                  int64_t otherwise)
{
    int64_t value = otherwise;
    const char *text = dbk_arguments_text(arguments, name);
    if (text != NULL)
        dbk_assert(dbk_duration_parse(dbk_slice_of(text), &value));
    return value;
}
