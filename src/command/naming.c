/* SPDX-License-Identifier: Apache-2.0 */
#include "command/naming.h"

#include <ctype.h>

#include "base/fault.h"

static struct dbk_fault fault_of(const struct dbk_command_naming *naming, struct dbk_slice name)
{
    struct dbk_fault fault = {.file = naming->file};
    dbk_fault_place(&fault, naming->text, (size_t)(name.data - naming->text.data));
    return fault;
}

static int fail(const struct dbk_command_naming *naming, struct dbk_slice name, const char *fix,
                const char *what)
{
    struct dbk_fault fault = fault_of(naming, name);
    fault.fix = fix;
    return dbk_fault_add(naming->faults, &fault, "%s", what);
}

/* NULL, and a fault, where there is no such service. */
static int find(const struct dbk_command_naming *naming, struct dbk_slice name,
                const struct dbk_capture_service **service_out)
{
    struct dbk_fault fault = fault_of(naming, name);
    const char **names =
        dbk_arena_alloc_zero(naming->arena, naming->service_count + 1, sizeof(*names));
    const char *copy = dbk_arena_copy(naming->arena, name).data;
    *service_out = NULL;
    if (names == NULL || copy == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < naming->service_count; i++) {
        names[i] = naming->services[i].name;
        if (dbk_slice_equal_text(name, names[i]))
            *service_out = &naming->services[i];
    }
    if (*service_out != NULL)
        return DBK_OK;
    int rc = dbk_fault_suggest(naming->faults, copy, names, naming->service_count,
                               "services are named by files: services/<name>.yaml", &fault.fix);
    return rc < 0 ? rc : dbk_fault_add(naming->faults, &fault, "there is no service `%s`", copy);
}

bool dbk_command_names(const struct dbk_service_command *command,
                       const struct dbk_capture_service *service)
{
    bool named = service == command->service;
    for (size_t i = 0; i < command->other_count; i++)
        named = named || service == command->others[i];
    return named;
}

static int add(const struct dbk_command_naming *naming, const struct dbk_capture_service *service,
               const struct dbk_capture_service **others, struct dbk_slice name)
{
    struct dbk_service_command *command = naming->command;
    if (command->service == NULL) {
        command->service = service;
        command->address = service->address;
        return DBK_OK;
    }
    const char *database = command->service->database;
    if (dbk_command_names(command, service))
        return fail(naming, name, "name each once", "the service is named twice");
    if (database == NULL || service->database == NULL || strcmp(database, service->database) != 0)
        return fail(naming, name, "let a saga do what crosses databases",
                    "the service is not in the database of the first");
    others[command->other_count++] = service;
    return DBK_OK;
}

/* The next name, without blanks; what is behind its comma is left. */
static struct dbk_slice cut(struct dbk_slice *list, bool *more_out)
{
    const char *comma = list->size == 0 ? NULL : memchr(list->data, ',', list->size);
    size_t size = comma == NULL ? list->size : (size_t)(comma - list->data);
    struct dbk_slice name = dbk_slice(list->data, size);
    *more_out = comma != NULL;
    *list = dbk_slice(list->data + size + *more_out, list->size - size - *more_out);
    while (name.size > 0 && isspace((unsigned char)name.data[0]))
        name = dbk_slice(name.data + 1, name.size - 1);
    while (name.size > 0 && isspace((unsigned char)name.data[name.size - 1]))
        name.size--;
    return name;
}

int dbk_command_take_services(const struct dbk_command_naming *naming, struct dbk_slice list)
{
    struct dbk_service_command *command = naming->command;
    const struct dbk_capture_service *found = NULL;
    int rc = DBK_OK;
    if (command->service != NULL)
        return fail(naming, list, "name all on one line: `-- service: orders, users`",
                    "the command has a service");
    const struct dbk_capture_service **others =
        dbk_arena_alloc_zero(naming->arena, naming->service_count + 1, sizeof(*others));
    if (others == NULL)
        return DBK_ENOMEM;
    command->others = others;
    for (bool more = true; rc == DBK_OK && more;) {
        struct dbk_slice name = cut(&list, &more);
        rc = find(naming, name, &found);
        if (rc < 0 || found == NULL)
            return rc;
        rc = add(naming, found, others, name);
    }
    return rc;
}
