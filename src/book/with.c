/* SPDX-License-Identifier: Apache-2.0 */
/* `with:` lines of handlers: the folds that they ask for, and what they are used for. */
#include "model/with.h"

#include <stdio.h>

#include "book/handlers.h"
#include "book/loader.h"

static int fault_at(struct dbk_book_loader *loader, const struct dbk_handler *handler,
                    size_t offset, const char *fix, const char *what)
{
    struct dbk_fault fault = {.file = handler->file, .fix = fix};
    dbk_fault_place(&fault, handler->sql, offset);
    fault.line += handler->line - 1;
    fault.why = "the handler would not have its state";
    return dbk_fault_add(loader->faults, &fault, "%s", what);
}

static size_t place_of(const struct dbk_handler *handler, struct dbk_slice part)
{
    return (size_t)(part.data - handler->sql.data);
}

static int check_fold(struct dbk_book_loader *loader, const struct dbk_handler *handler,
                      struct dbk_slice category, size_t offset)
{
    const struct dbk_book *book = loader->book;
    struct dbk_arena *arena = &loader->faults->arena;
    const char **names = dbk_arena_alloc_zero(arena, book->fold_count + 1, sizeof(*names));
    const char *name = dbk_arena_copy(arena, category).data;
    const char *fix = NULL;
    if (names == NULL || name == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < book->fold_count; i++) {
        names[i] = book->folds[i].name;
        if (strcmp(names[i], name) == 0)
            return DBK_OK;
    }
    const char *what = dbk_arena_format(arena, "there is no fold for the category `%s`", name);
    const char *make = dbk_arena_format(arena, "write folds/%s.lua", name);
    if (what == NULL || make == NULL ||
        dbk_fault_suggest(loader->faults, name, names, book->fold_count, make, &fix) < 0)
        return DBK_ENOMEM;
    return fault_at(loader, handler, offset, fix, what);
}

/* One that is named by the event's own stream needs the folds of all sources. */
static int check_folds(struct dbk_book_loader *loader,
                       const struct dbk_model_definition *definition,
                       const struct dbk_handler *handler, const struct dbk_with *with)
{
    size_t offset = place_of(handler, with->stream);
    int rc = DBK_OK;
    if (with->category.size > 0)
        return check_fold(loader, handler, with->category, offset);
    for (size_t i = 0; rc == DBK_OK && i < definition->category_count; i++)
        rc = check_fold(loader, handler, definition->categories[i], offset);
    return rc;
}

static int check_used(struct dbk_book_loader *loader, const struct dbk_handler *handler,
                      const struct dbk_withs *withs, size_t index)
{
    const struct dbk_with *with = &withs->items[index];
    struct dbk_arena *arena = &loader->faults->arena;
    for (size_t offset = 0; offset < handler->sql.size;) {
        struct dbk_slice name =
            dbk_text_parameter(dbk_book_language(handler->file), handler->sql, offset, &offset);
        if (name.size > 0 && dbk_withs_find(withs, name) == index)
            return DBK_OK;
    }
    const char *sign = dbk_book_language(handler->file) == DBK_DIALECT_CYPHER ? "$" : ":";
    const char *what = dbk_arena_format(arena, "no parameter takes anything of `%.*s`",
                                        DBK_SLICE_ARGS(with->name));
    const char *fix = dbk_arena_format(arena, "write such as `%s%.*s.title`, or leave the line out",
                                       sign, DBK_SLICE_ARGS(with->name));
    return what == NULL || fix == NULL
               ? DBK_ENOMEM
               : fault_at(loader, handler, place_of(handler, with->name), fix, what);
}

static int check_handler(struct dbk_book_loader *loader,
                         const struct dbk_model_definition *definition,
                         const struct dbk_handler *handler)
{
    struct dbk_withs withs;
    struct dbk_error failure = {0};
    size_t offset = 0;
    const char *fix = NULL;
    int rc = dbk_withs_read(&withs, handler->sql, dbk_book_language(handler->file),
                            &loader->faults->arena, &offset, &fix, &failure);
    if (rc < 0 && rc != DBK_ENOMEM)
        rc = fault_at(loader, handler, offset, fix, failure.message);
    for (size_t i = 0; rc == DBK_OK && i < withs.count; i++) {
        rc = check_folds(loader, definition, handler, &withs.items[i]);
        if (rc == DBK_OK)
            rc = check_used(loader, handler, &withs, i);
    }
    dbk_withs_release(&withs);
    return rc;
}

int dbk_book_check_withs(struct dbk_book_loader *loader,
                         const struct dbk_model_definition *definition, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < definition->handler_count; i++)
        rc = check_handler(loader, definition, &definition->handlers[i]);
    return rc < 0 ? dbk_book_no_memory(err) : DBK_OK;
}

/* ---- Personal fields in states ---- */

bool dbk_book_has_personal(const struct dbk_schemas *schemas, struct dbk_slice type)
{
    const struct dbk_schema *newest = dbk_schemas_newest(schemas, type);
    for (uint16_t version = 1; newest != NULL && version <= dbk_schema_version(newest); version++) {
        const struct dbk_schema *schema = dbk_schemas_find(schemas, type, version);
        size_t count = 0;
        if (schema != NULL && dbk_schema_personal(schema, &count) != NULL && count > 0)
            return true;
    }
    return false;
}

int dbk_book_note_personal_folds(struct dbk_book_loader *loader, struct dbk_folds *folds,
                                 struct dbk_error *err)
{
    const struct dbk_book *book = loader->book;
    struct dbk_slice *noted =
        dbk_arena_alloc_zero(&loader->book->arena, book->fold_count + 1, sizeof(*noted));
    if (noted == NULL)
        return dbk_book_no_memory(err);
    for (size_t i = 0; i < book->fold_count; i++) {
        struct dbk_slice category = dbk_slice_of(book->folds[i].name);
        size_t count = 0;
        const struct dbk_slice *types = dbk_folds_types(folds, category, &count);
        bool personal = false;
        for (size_t j = 0; j < count && !personal; j++)
            personal = dbk_book_has_personal(book->schemas, types[j]);
        if (personal)
            noted[loader->personal_fold_count++] = category;
    }
    loader->personal_folds = noted;
    return DBK_OK;
}
