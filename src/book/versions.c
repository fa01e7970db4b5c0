/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handlers and the schemas of what they handle: `Deposited.v1` is for events of one version, and a
 * parameter is a field that the handler's events may have.
 */
#include "book/handlers.h"
#include "book/loader.h"
#include "model/with.h"

#define PARTS_MAX 16

static int check_version(struct dbk_book_loader *loader, struct dbk_handler *handler)
{
    const struct dbk_schemas *schemas = loader->book->schemas;
    struct dbk_slice name = handler->type;
    if (!dbk_schemas_split(schemas, name, &handler->type, &handler->version) ||
        dbk_schemas_find(schemas, handler->type, handler->version) != NULL)
        return DBK_OK;
    struct dbk_fault fault = {.file = handler->file, .line = handler->line, .column = 1};
    fault.why = "no event would ever be handled by it";
    fault.fix =
        dbk_arena_format(&loader->faults->arena, "there are versions 1 to %u",
                         (unsigned)dbk_schema_version(dbk_schemas_newest(schemas, handler->type)));
    return dbk_fault_add(loader->faults, &fault, "`%.*s` has no version %u",
                         DBK_SLICE_ARGS(handler->type), (unsigned)handler->version);
}

static size_t split(struct dbk_slice name, struct dbk_slice parts[PARTS_MAX])
{
    size_t count = 0;
    for (size_t begin = 0; begin <= name.size && count < PARTS_MAX;) {
        const char *dot =
            begin == name.size ? NULL : memchr(name.data + begin, '.', name.size - begin);
        size_t end = dot == NULL ? name.size : (size_t)(dot - name.data);
        parts[count++] = dbk_slice(name.data + begin, end - begin);
        begin = end + 1;
    }
    return count;
}

static int check_parameter(struct dbk_book_loader *loader, const struct dbk_handler *handler,
                           const struct dbk_schema *schema, struct dbk_slice name, size_t offset)
{
    struct dbk_arena *arena = &loader->faults->arena;
    struct dbk_slice parts[PARTS_MAX];
    const char *const *known = NULL;
    size_t known_count = 0;
    size_t missing = 0;
    size_t count = split(name, parts);
    int rc = dbk_schema_may_have(schema, parts, count, arena, &missing, &known, &known_count);
    if (rc != 0)
        return rc < 0 ? rc : DBK_OK;
    struct dbk_fault fault = {.file = handler->file, .warning = true};
    dbk_fault_place(&fault, handler->sql, offset);
    fault.line += handler->line - 1;
    fault.why = "it would always be NULL";
    const char *part = dbk_arena_copy(arena, parts[missing]).data;
    rc = part == NULL
             ? DBK_ENOMEM
             : dbk_fault_suggest(loader->faults, part, known, known_count, NULL, &fault.fix);
    return rc < 0 ? rc
                  : dbk_fault_add(loader->faults, &fault,
                                  "version %u of `%.*s` declares no field `%.*s`",
                                  (unsigned)dbk_schema_version(schema),
                                  DBK_SLICE_ARGS(handler->type), DBK_SLICE_ARGS(name));
}

/* The members that a stream is named by. */
static int check_stream(struct dbk_book_loader *loader, const struct dbk_handler *handler,
                        const struct dbk_schema *schema, const struct dbk_with *with)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < with->part_count; i++) {
        const struct dbk_with_part *part = &with->parts[i];
        if (part->path_count == 0)
            continue;
        struct dbk_slice last = part->path[part->path_count - 1];
        struct dbk_slice name =
            dbk_slice(part->path[0].data, (size_t)(last.data + last.size - part->path[0].data));
        rc =
            check_parameter(loader, handler, schema, name, (size_t)(name.data - handler->sql.data));
    }
    return rc;
}

/* Of the version that the handler's events come in. */
static int check_parameters(struct dbk_book_loader *loader, const struct dbk_handler *handler)
{
    const struct dbk_schemas *schemas = loader->book->schemas;
    const struct dbk_schema *schema =
        handler->version == 0 ? dbk_schemas_newest(schemas, handler->type)
                              : dbk_schemas_find(schemas, handler->type, handler->version);
    struct dbk_withs withs;
    size_t at = 0;
    const char *fix = NULL;
    /* What is wrong with it is said elsewhere. */
    int rc = dbk_withs_read(&withs, handler->sql, dbk_book_language(handler->file),
                            &loader->faults->arena, &at, &fix, NULL);
    rc = rc == DBK_ENOMEM ? rc : DBK_OK;
    for (size_t offset = 0; schema != NULL && rc == DBK_OK && offset < handler->sql.size;) {
        struct dbk_slice name =
            dbk_text_parameter(dbk_book_language(handler->file), handler->sql, offset, &offset);
        if (name.size > 0 && name.data[0] != '_' && dbk_withs_find(&withs, name) == withs.count)
            rc = check_parameter(loader, handler, schema, name,
                                 (size_t)(name.data - handler->sql.data) - 1);
    }
    for (size_t i = 0; schema != NULL && rc == DBK_OK && i < withs.count; i++)
        rc = check_stream(loader, handler, schema, &withs.items[i]);
    dbk_withs_release(&withs);
    return rc;
}

int dbk_book_check_handlers(struct dbk_book_loader *loader, struct dbk_handler_list *handlers,
                            struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < handlers->count; i++) {
        rc = check_version(loader, &handlers->items[i]);
        if (rc == DBK_OK)
            rc = check_parameters(loader, &handlers->items[i]);
    }
    return rc < 0 ? dbk_book_no_memory(err) : DBK_OK;
}
