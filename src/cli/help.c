/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"
#include "cli/fail.h"

static bool has_option(const struct dbk_option *option, const char *name)
{
    for (; option != NULL && option->name != NULL; option++) {
        if (strcmp(option->name, name) == 0)
            return true;
    }
    return false;
}

/* own: the command's, which go before others of their name. */
static void print_options(FILE *out, const struct dbk_option *option, const struct dbk_option *own)
{
    for (; option != NULL && option->name != NULL; option++) {
        char left[64];
        if (has_option(own, option->name))
            continue;
        const char *value = option->value != NULL ? option->value : "";
        if (option->letter != 0)
            (void)snprintf(left, sizeof(left), "-%c, --%s%s%s", option->letter, option->name,
                           value[0] != '\0' ? " " : "", value);
        else
            (void)snprintf(left, sizeof(left), "--%s%s%s", option->name,
                           value[0] != '\0' ? " " : "", value);
        if (strlen(left) > 25)
            (void)fprintf(out, "  %s\n  %-25s  %s\n", left, "", option->help);
        else
            (void)fprintf(out, "  %-25s  %s\n", left, option->help);
    }
}

void dbk_help_command(FILE *out, const struct dbk_cli_command *command)
{
    (void)fprintf(out, "%s: %s\n\n", command->name, command->summary);
    for (size_t i = 0; command->examples[i] != NULL; i++)
        (void)fprintf(out, "  %s\n", command->examples[i]);
    (void)fprintf(out, "\nUsage: daybook %s%s%s [OPTION]…\n", command->name,
                  command->positional[0] != '\0' ? " " : "", command->positional);
    if (command->details[0] != '\0')
        (void)fprintf(out, "\n%s\n", command->details);
    (void)fputs("\nOptions:\n", out);
    print_options(out, command->options, NULL);
    if (command->book)
        print_options(out, dbk_options_book, command->options);
    print_options(out, dbk_options_common, command->options);
}

static void print_summaries(FILE *out, const char *group)
{
    const struct dbk_cli_command *command = NULL;
    for (size_t i = 0; (command = dbk_cli_command(i)) != NULL; i++) {
        size_t size = group != NULL ? strlen(group) : 0;
        if (strncmp(command->name, group != NULL ? group : "", size) == 0)
            (void)fprintf(out, "  %-14s %s\n", command->name, command->summary);
    }
}

void dbk_help_overview(FILE *out, const char *group)
{
    if (group != NULL) {
        (void)fprintf(out, "Commands of %s:\n", group);
        print_summaries(out, group);
        (void)fprintf(out, "\nSee `daybook help %s COMMAND`.\n", group);
        return;
    }
    (void)fputs("daybook: an event store, its read models and its views, from a folder of files\n\n"
                "  daybook new ledger && cd ledger    # make a book\n"
                "  daybook serve                      # hold it open\n"
                "  daybook tail                       # see what comes in\n"
                "\nCommands:\n",
                out);
    print_summaries(out, NULL);
    (void)fputs("\nSee `daybook help COMMAND`. Exit status: 0 ok, 1 failed, 2 usage, 3 cannot "
                "connect,\n4 conflict, 5 not allowed.\n",
                out);
}

int dbk_run_help(const struct dbk_arguments *arguments)
{
    int words = 0;
    int count = (int)arguments->positional_count;
    if (count == 0) {
        dbk_help_overview(stdout, NULL);
        return DBK_EXIT_OK;
    }
    const struct dbk_cli_command *command = dbk_cli_find(count, arguments->positional, &words);
    if (command != NULL && words == count) {
        dbk_help_command(stdout, command);
        return DBK_EXIT_OK;
    }
    if (count == 1 && dbk_cli_group(arguments->positional[0])) {
        dbk_help_overview(stdout, arguments->positional[0]);
        return DBK_EXIT_OK;
    }
    return dbk_fail_usage(arguments, "there is no command %s; see `daybook help`",
                          arguments->positional[count - 1]);
}
