/* SPDX-License-Identifier: Apache-2.0 */
/* commands/<Name>.sql: transactions in services' own databases. */
#include "book/loader.h"

/* A command is decided in one place. */
static int check_name(struct dbk_book_loader *loader, const struct dbk_book_file *file)
{
    const struct dbk_book *book = loader->book;
    for (size_t i = 0; i < book->command_count; i++) {
        const struct dbk_fault fault = {.file = file->file, .fix = "name one of them otherwise"};
        if (strcmp(book->commands[i].name, file->name) == 0)
            return dbk_fault_add(loader->faults, &fault, "%s is this command, too",
                                 book->commands[i].file);
    }
    return DBK_OK;
}

int dbk_book_read_service_commands(struct dbk_book_loader *loader, struct dbk_error *err)
{
    static const char *const lua[] = {".lua", NULL};
    struct dbk_book *book = loader->book;
    const struct dbk_book_file *files = NULL;
    size_t count = 0;
    int rc = dbk_book_read_folder_beside(loader, "commands", ".sql", lua, &files, &count, err);
    if (rc < 0)
        return rc;
    struct dbk_service_command *commands =
        dbk_arena_alloc_zero(&book->arena, count + 1, sizeof(*commands));
    if (commands == NULL)
        return dbk_book_no_memory(err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        if (check_name(loader, &files[i]) < 0)
            return dbk_book_no_memory(err);
        rc = dbk_service_command_parse(files[i].name, files[i].file, files[i].source,
                                       book->services, book->service_count, &book->arena,
                                       loader->faults, &commands[i], err);
    }
    book->service_commands = commands;
    book->service_command_count = count;
    return rc;
}
