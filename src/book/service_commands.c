/* SPDX-License-Identifier: Apache-2.0 */
/* commands/<Name>.sql and <Name>.json: transactions in services' own databases. */
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
    for (size_t i = 0; i < book->service_command_count; i++) {
        const struct dbk_fault fault = {.file = file->file, .fix = "name one of them otherwise"};
        if (strcmp(book->service_commands[i].name, file->name) == 0)
            return dbk_fault_add(loader->faults, &fault, "%s is this command, too",
                                 book->service_commands[i].file);
    }
    return DBK_OK;
}

struct files {
    const struct dbk_book_file *items;
    size_t count;
};

static int parse(struct dbk_book_loader *loader, const struct files *files,
                 struct dbk_service_command *commands, struct dbk_error *err)
{
    struct dbk_book *book = loader->book;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < files->count; i++) {
        const struct dbk_book_file *file = &files->items[i];
        if (check_name(loader, file) < 0)
            return dbk_book_no_memory(err);
        rc = dbk_service_command_parse(file->name, file->file, file->source, book->services,
                                       book->service_count, &book->arena, loader->faults,
                                       &commands[book->service_command_count], err);
        book->service_command_count++;
    }
    return rc;
}

int dbk_book_read_service_commands(struct dbk_book_loader *loader, struct dbk_error *err)
{
    static const char *const beside_sql[] = {".lua", ".json", NULL};
    static const char *const beside_json[] = {".lua", ".sql", NULL};
    struct dbk_book *book = loader->book;
    struct files sql = {0};
    struct files json = {0};
    int rc = dbk_book_read_folder_beside(loader, "commands", ".sql", beside_sql, &sql.items,
                                         &sql.count, err);
    if (rc == DBK_OK)
        rc = dbk_book_read_folder_beside(loader, "commands", ".json", beside_json, &json.items,
                                         &json.count, err);
    if (rc < 0)
        return rc;
    struct dbk_service_command *commands =
        dbk_arena_alloc_zero(&book->arena, sql.count + json.count + 1, sizeof(*commands));
    if (commands == NULL)
        return dbk_book_no_memory(err);
    book->service_commands = commands;
    rc = parse(loader, &sql, commands, err);
    return rc < 0 ? rc : parse(loader, &json, commands, err);
}
