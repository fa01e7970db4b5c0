/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include <string.h>

#include "base/diagnostics.h"
#include "cli/family.h"

static const struct dbk_cli_command commands[] = {
    {.name = "advise",
     .positional = "",
     .summary = "which patterns fit: five questions, what follows from the answers, and its price",
     .details =
         "Of each service and query the server says what follows from what it has seen since it\n"
         "was started: reads to writes, what a query takes, how late a model is, and of captured\n"
         "tables which transactions cross owners. --ask goes by your answers: those that are not\n"
         "given as options are asked for. Also says what not to do.",
     .examples = EXAMPLES("daybook advise --book examples/shop", "daybook advise --ask",
                          ("daybook advise --ask --independent yes --acid no --audit yes --ratio 3 "
                           "--complex no --scale no --expensive yes --stale yes -o json")),
     .options =
         OPTIONS(FLAG("ask", "go by your answers"),
                 OPTION("independent", CHOICE, "yes|no", "services are to change independently"),
                 OPTION("acid", CHOICE, "yes|no", "one transaction holds over several services"),
                 OPTION("audit", CHOICE, "yes|no", "a full audit trail is needed"),
                 OPTION("ratio", NUMBER, "N", "reads to a write"),
                 OPTION("complex", CHOICE, "yes|no", "queries do not fit what is written"),
                 OPTION("scale", CHOICE, "yes|no", "reads have to grow apart from writes"),
                 OPTION("expensive", CHOICE, "yes|no", "queries are expensive"),
                 OPTION("stale", CHOICE, "yes|no", "their answers may be old")),
     .book = true,
     .run = dbk_run_advise},
    {.name = "help",
     .positional = "[COMMAND]",
     .summary = "how to use a command",
     .details = "",
     .examples = EXAMPLES("daybook help import"),
     .positional_max = 2,
     .run = dbk_run_help},
};

static const struct dbk_cli_family last = DBK_CLI_FAMILY(commands);

/* In the order of the help. */
static const struct dbk_cli_family *const families[] = {
    &dbk_cli_commands_use,
    &dbk_cli_commands_groups,
    &dbk_cli_commands_keep,
    &dbk_cli_commands_look,
    &dbk_cli_commands_derive,
    &dbk_cli_commands_bench,
    &last,
};

const struct dbk_cli_command *dbk_cli_command(size_t index)
{
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        if (index < families[i]->count)
            return &families[i]->commands[index];
        index -= families[i]->count;
    }
    return NULL;
}

/* Bytes of `word` when the command's name begins with it as a whole word, else 0. */
static size_t first_word(const char *name, const char *word)
{
    size_t size = strlen(word);
    if (strncmp(name, word, size) == 0 && (name[size] == ' ' || name[size] == '\0'))
        return size;
    return 0;
}

const struct dbk_cli_command *dbk_cli_find(int argc, const char *const *argv, int *words_out)
{
    const struct dbk_cli_command *command = NULL;
    for (size_t i = 0; argc > 0 && (command = dbk_cli_command(i)) != NULL; i++) {
        size_t size = first_word(command->name, argv[0]);
        if (size == 0)
            continue;
        if (command->name[size] == '\0') {
            *words_out = 1;
            return command;
        }
        if (argc > 1 && strcmp(command->name + size + 1, argv[1]) == 0) {
            *words_out = 2;
            return command;
        }
    }
    return NULL;
}

bool dbk_cli_group(const char *word)
{
    const struct dbk_cli_command *command = NULL;
    for (size_t i = 0; (command = dbk_cli_command(i)) != NULL; i++) {
        size_t size = first_word(command->name, word);
        if (size > 0 && command->name[size] == ' ')
            return true;
    }
    return false;
}

const char *dbk_cli_closest(const char *group, const char *word)
{
    const char *names[DBK_CLI_COMMANDS_MAX];
    static char first[DBK_CLI_COMMANDS_MAX][16];
    const struct dbk_cli_command *command = NULL;
    size_t count = 0;
    for (size_t i = 0; i < DBK_CLI_COMMANDS_MAX && (command = dbk_cli_command(i)) != NULL; i++) {
        const char *name = command->name;
        size_t size = strcspn(name, " ");
        if (group == NULL) {
            (void)snprintf(first[i], sizeof(first[i]), "%.*s", (int)size, name);
            names[count++] = first[i];
        } else if (first_word(name, group) > 0 && name[size] == ' ') {
            names[count++] = name + size + 1;
        }
    }
    return dbk_closest_name(word, names, count);
}
