/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/fail.h"

/* group: NULL, or a command's first word, which is known. */
static int unknown_command(const char *group, const char *word)
{
    const char *closest = dbk_cli_closest(group, word);
    const char *begin = group != NULL ? group : "";
    const char *space = group != NULL ? " " : "";
    if (closest != NULL)
        return dbk_fail_usage(NULL, "there is no command %s%s%s, did you mean %s%s%s?", begin,
                              space, word, begin, space, closest);
    return dbk_fail_usage(NULL, "there is no command %s%s%s; see `daybook help%s%s`", begin, space,
                          word, space, begin);
}

/* What is still in standard output's buffer may meet a full disk. */
static int flush(int status)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return status;
    if (errno != EPIPE)
        (void)fprintf(stderr, "daybook: standard output: %s\n", strerror(errno));
    return status != DBK_EXIT_OK ? status : DBK_EXIT_FAILED;
}

static int run(const struct dbk_cli_command *command, int argc, const char *const *argv)
{
    struct dbk_error err = {0};
    struct dbk_arguments arguments;
    if (dbk_arguments_parse(command, argc, argv, &arguments, &err) < 0)
        return dbk_fail_usage(NULL, "%s", err.message);
    if (arguments.help) {
        dbk_help_command(stdout, command);
        return DBK_EXIT_OK;
    }
    return command->run(&arguments);
}

int dbk_cli_main(int argc, char **argv)
{
    const char *const *words = (const char *const *)argv + 1;
    int count = argc > 0 ? argc - 1 : 0;
    int used = 0;

    /* A reader that went away ends a write with EPIPE, on sockets and pipes alike. */
    (void)signal(SIGPIPE, SIG_IGN);
    if (count == 0 || strcmp(words[0], "--help") == 0 || strcmp(words[0], "-h") == 0) {
        dbk_help_overview(count == 0 ? stderr : stdout, NULL);
        return flush(count == 0 ? DBK_EXIT_USAGE : DBK_EXIT_OK);
    }
    if (strcmp(words[0], "--version") == 0) {
        (void)puts("daybook " DAYBOOK_VERSION);
        return flush(DBK_EXIT_OK);
    }
    const struct dbk_cli_command *command = dbk_cli_find(count, words, &used);
    if (command != NULL)
        return flush(run(command, count - used, words + used));
    if (!dbk_cli_group(words[0]))
        return unknown_command(NULL, words[0]);
    if (count > 1 && words[1][0] != '-')
        return unknown_command(words[0], words[1]);
    bool asked = count > 1 && (strcmp(words[1], "--help") == 0 || strcmp(words[1], "-h") == 0);
    dbk_help_overview(asked ? stdout : stderr, words[0]);
    return flush(asked ? DBK_EXIT_OK : DBK_EXIT_USAGE);
}
