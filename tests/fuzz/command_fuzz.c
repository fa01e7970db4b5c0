/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command_fuzz -- any file is read as a command in a service's database, or each fault has a place
 * and a text; what is read keeps to its own parameters.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "command/command.h"

static void check_faults(const struct dbk_diagnostics *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct dbk_diagnostic *item = &list->items[i];
        if (item->what[0] == '\0' || item->line == 0 || item->column == 0)
            abort();
    }
}

static void check_command(const struct dbk_service_command *command)
{
    if (command->service == NULL || command->statement_count == 0)
        abort();
    for (size_t i = 0; i < command->statement_count; i++) {
        const struct dbk_command_statement *statement = &command->statements[i];
        if (statement->sql.size == 0 || statement->line == 0)
            abort();
        for (size_t j = 0; j < statement->parameter_count; j++) {
            /* One of MongoDB's has one more, that only handlers have a value for. */
            if (statement->parameters[j] >= command->parameter_count + (statement->table != NULL))
                abort();
        }
    }
}

static void read_file(const char *file, const char *address, struct dbk_slice text)
{
    const struct dbk_capture_service service = {.name = "s", .database = "s", .address = address};
    struct dbk_arena arena;
    struct dbk_diagnostics faults;
    struct dbk_service_command command;
    struct dbk_error err = {0};
    dbk_arena_init(&arena, 8 << 20);
    dbk_diagnostics_init(&faults);
    int rc =
        dbk_service_command_parse("c", file, text, &service, 1, &arena, &faults, &command, &err);
    if (rc < 0 && err.message[0] == '\0')
        abort();
    if (rc == DBK_OK && faults.error_count == 0)
        check_command(&command);
    check_faults(&faults);
    dbk_diagnostics_release(&faults);
    dbk_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_file("commands/c.sql", "/nowhere/s.db", dbk_slice(data, size));
    /* Without the module that knows MongoDB its command is a fault, and its head is read. */
    read_file("commands/c.json", "mongodb:env:NONE", dbk_slice(data, size));
    return 0;
}
