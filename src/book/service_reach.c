/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands in a shared database: what they change of other services' tables is of a service that
 * they name, what they read of them stands in a contract. Only what a text says for certain is held
 * against it here; what they are kept from when they are done is written into them.
 */
#include <strings.h>

#include "book/loader.h"
#include "service/sql.h"
#include "target/target.h"

struct reach {
    struct dbk_book_loader *loader;
    const struct dbk_service_command *command;
    unsigned line;
};

static const struct dbk_service_definition *definition_of(const struct dbk_book *book,
                                                          const struct dbk_capture_service *service)
{
    return &book->service_definitions[service - book->services];
}

/* One that is in the command's database, and that it does not name. */
static bool is_foreign(const struct dbk_service_command *command,
                       const struct dbk_capture_service *other)
{
    return other->database != NULL && strcmp(other->database, command->service->database) == 0 &&
           !dbk_command_names(command, other);
}

static bool is_same(const struct dbk_capture_service *service, const char *one, const char *other)
{
    return dbk_target_dialect(service->address) == DBK_DIALECT_SQLITE ? strcasecmp(one, other) == 0
                                                                      : strcmp(one, other) == 0;
}

/* The other service in the same database that names the table; NULL: there is none. */
static const struct dbk_service_definition *owner_of(const struct reach *reach, const char *table)
{
    const struct dbk_book *book = reach->loader->book;
    for (size_t i = 0; i < book->service_count; i++) {
        const struct dbk_service_definition *other = &book->service_definitions[i];
        const struct dbk_capture_service *own = other->own;
        if (own->database == NULL || own == reach->command->service ||
            strcmp(own->database, reach->command->service->database) != 0)
            continue;
        if (own->outbox.table != NULL && is_same(own, own->outbox.table, table))
            return other;
        for (size_t j = 0; j < own->table_count; j++) {
            if (is_same(own, own->tables[j].name, table))
                return other;
        }
    }
    return NULL;
}

/* That of one of the services that the command names. */
static const struct dbk_service_contract *contract_on(const struct dbk_book *book,
                                                      const struct dbk_service_command *command,
                                                      const struct dbk_capture_service *owner,
                                                      const char *table)
{
    for (size_t i = 0; i <= command->other_count; i++) {
        const struct dbk_service_definition *service =
            definition_of(book, i == 0 ? command->service : command->others[i - 1]);
        for (size_t j = 0; j < service->contract_count; j++) {
            const struct dbk_service_contract *contract = &service->contracts[j];
            if (strcmp(contract->service, owner->name) == 0 &&
                is_same(owner, contract->table, table))
                return contract;
        }
    }
    return NULL;
}

static bool names(const struct dbk_service_contract *contract,
                  const struct dbk_capture_service *owner, const char *column)
{
    for (size_t i = 0; i < contract->column_count; i++) {
        if (is_same(owner, contract->columns[i], column))
            return true;
    }
    return false;
}

static int check_change(const struct reach *reach, const struct dbk_service_definition *owner,
                        const struct dbk_use *use)
{
    const struct dbk_service_command *command = reach->command;
    struct dbk_fault fault = {.file = command->file, .line = reach->line, .column = 1};
    fault.warning = dbk_command_names(command, owner->own);
    fault.why = "both services have to agree on what their rows mean, and neither can leave";
    fault.fix = "have its owner change it, or give the table to this service";
    if (!fault.warning) {
        fault.why = "a service changes its own tables";
        fault.fix = dbk_arena_format(&reach->loader->faults->arena,
                                     "have its owner change it, or make it a transaction of both: "
                                     "`-- service: %s, %s`",
                                     command->service->name, owner->own->name);
    }
    return fault.fix == NULL
               ? DBK_ENOMEM
               : dbk_fault_add(reach->loader->faults, &fault, "`%s` is %s's, and is changed here",
                               use->table, owner->own->file);
}

static int check_table(const struct reach *reach, const struct dbk_service_definition *owner,
                       const struct dbk_service_contract *contract, const struct dbk_use *use)
{
    const unsigned writes = DBK_USE_INSERT | DBK_USE_POSITIONAL | DBK_USE_UPDATE | DBK_USE_DELETE;
    struct dbk_fault fault = {.file = reach->command->file, .line = reach->line, .column = 1};
    int rc = use->flags & writes ? check_change(reach, owner, use) : DBK_OK;
    if (rc < 0 || contract != NULL || (use->flags & DBK_USE_READ) == 0 ||
        !is_foreign(reach->command, owner->own))
        return rc;
    fault.why = "its owner would not know who uses it";
    fault.fix = dbk_arena_format(&reach->loader->faults->arena, "add to %s: `reads: {%s.%s: …}`",
                                 reach->command->service->file, owner->own->name, use->table);
    return fault.fix == NULL ? DBK_ENOMEM
                             : dbk_fault_add(reach->loader->faults, &fault,
                                             "`%s` is %s's, and is read here without a contract",
                                             use->table, owner->own->file);
}

static int check_column(const struct reach *reach, const struct dbk_service_definition *owner,
                        const struct dbk_service_contract *contract, const struct dbk_use *use)
{
    struct dbk_fault fault = {.file = reach->command->file, .line = reach->line, .column = 1};
    bool star = strcmp(use->column, "*") == 0;
    if (contract == NULL || (use->flags & DBK_USE_READ) == 0 ||
        !is_foreign(reach->command, owner->own) ||
        (!star && names(contract, owner->own, use->column)))
        return DBK_OK;
    fault.why = "its owner would not know who uses it";
    fault.fix = star ? "name the columns of the contract" : "add it to the contract's columns";
    if (star)
        return dbk_fault_add(reach->loader->faults, &fault,
                             "all columns of `%s` are read here, and not those of the contract",
                             use->table);
    return dbk_fault_add(reach->loader->faults, &fault,
                         "`%s.%s` is read here, and is not in the contract", use->table,
                         use->column);
}

/* Done with the rights of the book's user, who may read what others may not: passwords, other
   servers' logins, what statistics keep of rows. */
static bool is_books_own(const struct reach *reach)
{
    const struct dbk_service_command *command = reach->command;
    return dbk_target_dialect(command->service->address) == DBK_DIALECT_POSTGRES &&
           (command->other_count > 0 ||
            definition_of(reach->loader->book, command->service)->login == NULL);
}

static int check_server(const struct reach *reach, const struct dbk_use *use)
{
    static const char *const own[] = {"pg_", "_pg_", "user_mapping"};
    struct dbk_fault fault = {.file = reach->command->file, .line = reach->line, .column = 1};
    bool server = false;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        server = server || strncasecmp(use->table, own[i], strlen(own[i])) == 0;
    if (!server || *use->column != '\0')
        return DBK_OK;
    fault.why = "it is done with the rights of the book's user, who may read passwords";
    fault.fix =
        reach->command->other_count > 0
            ? "read it in a command of one service, which has a `login`"
            : dbk_arena_format(&reach->loader->faults->arena,
                               "give the service rights of its own: `login: "
                               "file:secrets/%s` in %s",
                               reach->command->service->name, reach->command->service->file);
    return fault.fix == NULL
               ? DBK_ENOMEM
               : dbk_fault_add(reach->loader->faults, &fault,
                               "the server's own table `%s` is used here", use->table);
}

static int check_statement(const struct reach *reach, struct dbk_json *json, struct dbk_slice sql,
                           struct dbk_error *err)
{
    struct dbk_uses uses = {.arena = &reach->loader->book->arena};
    int rc = dbk_uses_read(&uses, json, sql, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == DBK_OK && i < uses.count; i++) {
        const struct dbk_use *use = &uses.items[i];
        rc = is_books_own(reach) ? check_server(reach, use) : DBK_OK;
        if (rc < 0)
            break;
        const struct dbk_service_definition *owner =
            use->flags & DBK_USE_POSSIBLE || *use->column == '?' ? NULL
                                                                 : owner_of(reach, use->table);
        if (owner == NULL)
            continue;
        const struct dbk_service_contract *contract =
            contract_on(reach->loader->book, reach->command, owner->own, use->table);
        rc = *use->column == '\0' ? check_table(reach, owner, contract, use)
                                  : check_column(reach, owner, contract, use);
    }
    return rc < 0 ? dbk_book_no_memory(err) : DBK_OK;
}

/* MongoDB's commands change one collection. */
static int check_collection(const struct reach *reach, const char *name, struct dbk_error *err)
{
    const struct dbk_service_definition *owner = owner_of(reach, name);
    const struct dbk_use use = {.table = name, .column = "", .flags = DBK_USE_UPDATE};
    int rc = owner == NULL ? DBK_OK : check_change(reach, owner, &use);
    return rc < 0 ? dbk_book_no_memory(err) : DBK_OK;
}

/* ---- What a command is kept from ---- */

static void add_fence(const struct dbk_book *book, const struct dbk_service_command *command,
                      const struct dbk_capture_service *owner, const char *table,
                      struct dbk_command_fence *fence)
{
    const struct dbk_service_contract *contract = contract_on(book, command, owner, table);
    *fence = (struct dbk_command_fence){.table = table, .service = owner->name};
    if (contract != NULL) {
        fence->columns = contract->columns;
        fence->column_count = contract->column_count;
    }
}

int dbk_book_fence(const struct dbk_book *book, struct dbk_arena *arena,
                   struct dbk_service_command *command, struct dbk_error *err)
{
    size_t count = 0;
    for (size_t i = 0; i < book->service_count; i++)
        count += book->services[i].table_count + 1;
    struct dbk_command_fence *fences = dbk_arena_alloc_zero(arena, count + 1, sizeof(*fences));
    if (fences == NULL)
        return dbk_book_no_memory(err);
    command->fences = fences;
    command->fence_count = 0;
    for (size_t i = 0; i < book->service_count; i++) {
        const struct dbk_capture_service *other = &book->services[i];
        if (!is_foreign(command, other))
            continue;
        for (size_t j = 0; j < other->table_count; j++)
            add_fence(book, command, other, other->tables[j].name, &fences[command->fence_count++]);
        if (other->outbox.table != NULL)
            add_fence(book, command, other, other->outbox.table, &fences[command->fence_count++]);
    }
    return DBK_OK;
}

/* One that is a single service's is done with that one's own rights, where it has a login. */
static int place(struct dbk_book *book, struct dbk_service_command *command, struct dbk_error *err)
{
    const char *login = definition_of(book, command->service)->login;
    if (login != NULL && command->other_count == 0)
        command->address = login;
    return dbk_book_fence(book, &book->arena, command, err);
}

int dbk_book_place_commands(struct dbk_book_loader *loader, struct dbk_error *err)
{
    struct dbk_book *book = loader->book;
    int rc = DBK_OK;
    struct dbk_service_command *commands =
        dbk_arena_alloc_zero(&book->arena, book->service_command_count + 1, sizeof(*commands));
    if (commands == NULL)
        return dbk_book_no_memory(err);
    for (size_t i = 0; rc == DBK_OK && i < book->service_command_count; i++) {
        commands[i] = book->service_commands[i];
        if (commands[i].service != NULL && commands[i].service->database != NULL)
            rc = place(book, &commands[i], err);
    }
    book->service_commands = commands;
    return rc;
}

int dbk_book_check_reach(struct dbk_book_loader *loader, struct dbk_error *err)
{
    const struct dbk_book *book = loader->book;
    struct dbk_json *json = dbk_service_json();
    int rc = json == NULL ? dbk_book_no_memory(err) : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < book->service_command_count; i++) {
        const struct dbk_service_command *command = &book->service_commands[i];
        struct reach reach = {.loader = loader, .command = command};
        if (command->service == NULL || command->service->database == NULL)
            continue;
        for (size_t j = 0; rc == DBK_OK && j < command->statement_count; j++) {
            reach.line = command->statements[j].line;
            rc = command->statements[j].table != NULL
                     ? check_collection(&reach, command->statements[j].table, err)
                     : check_statement(&reach, json, command->statements[j].sql, err);
        }
    }
    dbk_json_free(json);
    return rc;
}
