/* SPDX-License-Identifier: Apache-2.0 */
/* Folds, commands and imports: each is run once, as far as that its table has its shape. */
#include "book/loader.h"

#include <lua.h>

#include "command/command.h"
#include "fold/fold.h"
#include "script/script.h"

/* Takes "folds/order.lua:12: why" apart: what stands behind the place. */
static const char *take_place(const char *message, struct dbk_fault *fault)
{
    size_t size = strlen(fault->file);
    if (strncmp(message, fault->file, size) != 0 || message[size] != ':')
        return message;
    const char *at = message + size + 1;
    size_t digits = strspn(at, "0123456789");
    uint64_t line = 0;
    if (digits > 0 && at[digits] == ':' && dbk_slice_to_u64(dbk_slice(at, digits), &line) &&
        line <= UINT32_MAX) {
        fault->line = (unsigned)line;
        fault->column = line == 0 ? 0 : 1;
        at += digits + 1;
    }
    return at + strspn(at, " ");
}

int dbk_book_report_script(struct dbk_book_loader *loader, const struct dbk_book_file *file, int rc,
                           const struct dbk_error *failure, const char *why, struct dbk_error *err)
{
    struct dbk_fault fault = {.file = file->file, .why = why};
    if (rc == DBK_ENOMEM)
        return dbk_book_no_memory(err);
    const char *what = take_place(failure->message, &fault);
    return dbk_fault_add(loader->faults, &fault, "%s", what) < 0 ? dbk_book_no_memory(err) : DBK_OK;
}

static int check_folds(struct dbk_book_loader *loader, struct dbk_folds *folds,
                       struct dbk_error *err)
{
    const struct dbk_book *book = loader->book;
    int rc = DBK_OK;
    for (size_t i = 0; i < book->fold_count && rc == DBK_OK; i++) {
        const struct dbk_book_file *file = &book->folds[i];
        struct dbk_error failure = {0};
        rc = dbk_folds_add(folds, dbk_slice_of(file->name), file->file, file->source, &failure);
        if (rc < 0)
            rc = dbk_book_report_script(loader, file, rc, &failure,
                                        "its streams would have no state", err);
    }
    return rc;
}

static int check_commands(struct dbk_book_loader *loader, struct dbk_commands *commands,
                          struct dbk_error *err)
{
    const struct dbk_book *book = loader->book;
    int rc = DBK_OK;
    for (size_t i = 0; i < book->command_count && rc == DBK_OK; i++) {
        const struct dbk_book_file *file = &book->commands[i];
        struct dbk_error failure = {0};
        rc = dbk_commands_add(commands, file->name, file->file, file->source, &failure);
        if (rc < 0)
            rc = dbk_book_report_script(loader, file, rc, &failure, "the command could not be done",
                                        err);
    }
    return rc;
}

/* Called by Lua, so that running out of its memory is an error and not the end. */
static int has_map(lua_State *lua)
{
    lua_pushliteral(lua, "map");
    lua_pushboolean(lua, lua_rawget(lua, 1) == LUA_TFUNCTION);
    return 1;
}

static int check_import(const struct dbk_book_file *file, struct dbk_error *failure)
{
    struct dbk_script *script = NULL;
    int rc = dbk_script_open(file->file, file->source, NULL, &script, failure);
    if (rc < 0)
        return rc;
    lua_State *lua = dbk_script_lua(script);
    lua_pushcfunction(lua, has_map);
    lua_pushvalue(lua, 1);
    rc = dbk_script_call(script, 1, 1, failure);
    if (rc == DBK_OK) {
        bool good = lua_toboolean(lua, -1);
        lua_pop(lua, 1);
        if (!good)
            rc = dbk_error_set(failure, DBK_EINVAL, "the table it returns has no function `map`");
    }
    dbk_script_free(script);
    return rc;
}

static int check_imports(struct dbk_book_loader *loader, struct dbk_error *err)
{
    const struct dbk_book *book = loader->book;
    int rc = DBK_OK;
    for (size_t i = 0; i < book->import_count && rc == DBK_OK; i++) {
        struct dbk_error failure = {0};
        rc = check_import(&book->imports[i], &failure);
        if (rc < 0)
            rc = dbk_book_report_script(loader, &book->imports[i], rc, &failure,
                                        "no row could become an event", err);
    }
    return rc;
}

static int check(struct dbk_book_loader *loader, struct dbk_error *err)
{
    struct dbk_upcasts *upcasts = NULL;
    struct dbk_folds *folds = NULL;
    struct dbk_commands *commands = NULL;
    /* Nothing is read or appended: neither needs a store. */
    int rc = dbk_upcasts_open(loader->book->schemas, NULL, 0, &upcasts, err);
    if (rc == DBK_OK)
        rc = dbk_folds_open(NULL, loader->options->os, NULL, false, &folds, err);
    if (rc == DBK_OK)
        dbk_folds_set_upcasts(folds, upcasts);
    if (rc == DBK_OK)
        rc = dbk_commands_open(NULL, folds, NULL, NULL, &commands, err);
    if (rc == DBK_OK)
        rc = check_folds(loader, folds, err);
    if (rc == DBK_OK)
        rc = dbk_book_note_personal_folds(loader, folds, err);
    if (rc == DBK_OK)
        rc = check_commands(loader, commands, err);
    dbk_commands_free(commands);
    dbk_folds_free(folds);
    dbk_upcasts_free(upcasts);
    return rc == DBK_OK ? check_imports(loader, err) : rc;
}

/* Upcasters are functions; where one is missing, or meant for nothing, the schemas have said. */
static int check_upcasters(struct dbk_book_loader *loader, struct dbk_error *err)
{
    const struct dbk_schemas *schemas = loader->book->schemas;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < dbk_schemas_count(schemas); i++) {
        const struct dbk_schema *newest = dbk_schemas_at(schemas, i);
        for (uint16_t version = 2; rc == DBK_OK && version <= dbk_schema_version(newest);
             version++) {
            const struct dbk_schema_script *script =
                dbk_schema_script(dbk_schemas_find(schemas, dbk_schema_type(newest), version));
            struct dbk_script *opened = NULL;
            struct dbk_error failure = {0};
            if (script == NULL)
                continue;
            const struct dbk_book_file file = {.file = script->file, .source = script->source};
            rc = dbk_script_open(file.file, file.source,
                                 &(struct dbk_script_limits){.is_function = true}, &opened,
                                 &failure);
            dbk_script_free(opened);
            if (rc < 0)
                rc = dbk_book_report_script(loader, &file, rc, &failure,
                                            "stored events could not be read", err);
        }
    }
    return rc;
}

int dbk_book_read_scripts(struct dbk_book_loader *loader, struct dbk_error *err)
{
    static const char *const services[] = {".sql", ".json", NULL};
    struct dbk_book *book = loader->book;
    int rc = dbk_book_read_folder(loader, "folds", ".lua", &book->folds, &book->fold_count, err);
    if (rc == DBK_OK)
        rc = dbk_book_read_folder_beside(loader, "commands", ".lua", services, &book->commands,
                                         &book->command_count, err);
    if (rc == DBK_OK)
        rc = dbk_book_read_folder(loader, "imports", ".lua", &book->imports, &book->import_count,
                                  err);
    if (rc == DBK_OK)
        rc = check_upcasters(loader, err);
    return rc == DBK_OK ? check(loader, err) : rc;
}
