/* SPDX-License-Identifier: Apache-2.0 */
/* events/: what events of a type look like, and upcasters in Lua. */
#include "book/loader.h"

#define VERSION_MAX 65535

/* What defines a type: letters, digits, `_`, `.` and `-`; a letter or `_` comes first. */
static bool is_type_name(struct dbk_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        bool mark = text.data[i] == '.' || text.data[i] == '-';
        if (!(mark && i > 0) &&
            !dbk_fault_is_name(dbk_slice((char[2]){i == 0 ? text.data[i] : '_', text.data[i]}, 2)))
            return false;
    }
    return text.size > 0;
}

static int refuse_name(struct dbk_book_loader *loader, const char *path, const char *stem,
                       struct dbk_error *err)
{
    struct dbk_fault fault = {.file = path, .fix = "use letters, digits, `_`, `.` and `-`"};
    return dbk_fault_add(loader->faults, &fault, "`%s` is no name of an event type", stem) < 0
               ? dbk_book_no_memory(err)
               : DBK_OK;
}

/* Takes "Deposited.1-2" apart: false: it is not made so. */
static bool take_versions(struct dbk_slice stem, struct dbk_slice *type_out, uint64_t *from_out,
                          uint64_t *to_out)
{
    const char *dot = memrchr(stem.data, '.', stem.size);
    if (dot == NULL)
        return false;
    struct dbk_slice rest = dbk_slice(dot + 1, stem.size - (size_t)(dot + 1 - stem.data));
    const char *dash = memchr(rest.data, '-', rest.size);
    if (dash == NULL)
        return false;
    size_t size = (size_t)(dash - rest.data);
    *type_out = dbk_slice(stem.data, (size_t)(dot - stem.data));
    return dbk_slice_to_u64(dbk_slice(rest.data, size), from_out) &&
           dbk_slice_to_u64(dbk_slice(dash + 1, rest.size - size - 1), to_out);
}

static int read_script(struct dbk_book_loader *loader, const char *path, struct dbk_slice stem,
                       struct dbk_error *err)
{
    struct dbk_book *book = loader->book;
    struct dbk_fault fault = {.file = path,
                              .fix = "name it <Type>.<version>-<next version>.lua: "
                                     "Deposited.1-2.lua"};
    struct dbk_slice type;
    struct dbk_slice source;
    uint64_t from = 0;
    uint64_t to = 0;
    bool good =
        take_versions(stem, &type, &from, &to) && from > 0 && to == from + 1 && to <= VERSION_MAX;
    if (!good)
        return dbk_fault_add(loader->faults, &fault,
                             "this upcaster does not say from which version to the next") < 0
                   ? dbk_book_no_memory(err)
                   : DBK_OK;
    const char *name = dbk_arena_copy(&book->arena, type).data;
    if (name == NULL)
        return dbk_book_no_memory(err);
    if (!is_type_name(type))
        return refuse_name(loader, path, name, err);
    int rc = dbk_book_read(loader, path, &source, err);
    if (rc < 0 || source.data == NULL)
        return rc;
    return dbk_schemas_add_script(book->schemas, name, (uint16_t)to, path, source) < 0
               ? dbk_book_no_memory(err)
               : DBK_OK;
}

static int read_entry(struct dbk_book_loader *loader, const char *path, struct dbk_error *err)
{
    struct dbk_slice type;
    struct dbk_slice script;
    struct dbk_slice source;
    const char *name = strrchr(path, '/') + 1;
    int rc = dbk_book_stem(loader, name, ".schema.json", &type, err);
    if (rc == DBK_OK)
        rc = dbk_book_stem(loader, name, ".lua", &script, err);
    if (rc < 0)
        return rc;
    if (script.data != NULL)
        return read_script(loader, path, script, err);
    if (type.data == NULL) {
        struct dbk_fault fault = {.file = path,
                                  .warning = true,
                                  .fix = "name it <Type>.schema.json, or move it out of this "
                                         "folder"};
        rc = dbk_fault_add(loader->faults, &fault,
                           "this file is not read: its name does not end with `.schema.json` or "
                           "`.lua`");
        return rc < 0 ? dbk_book_no_memory(err) : DBK_OK;
    }
    if (!is_type_name(type))
        return refuse_name(loader, path, type.data, err);
    rc = dbk_book_read(loader, path, &source, err);
    if (rc < 0 || source.data == NULL)
        return rc;
    return dbk_schemas_add(loader->book->schemas, type.data, path, source, loader->faults, err);
}

int dbk_book_read_schemas(struct dbk_book_loader *loader, struct dbk_error *err)
{
    struct dbk_book *book = loader->book;
    struct dbk_book_names names;
    book->schemas = dbk_schemas_create();
    if (book->schemas == NULL)
        return dbk_book_no_memory(err);
    int rc = dbk_book_list(loader, "events", &names, err);
    for (size_t i = 0; i < names.count && rc == DBK_OK; i++) {
        const char *path = dbk_arena_format(&book->arena, "events/%s", names.items[i]);
        rc = path == NULL ? dbk_book_no_memory(err) : read_entry(loader, path, err);
    }
    if (rc == DBK_OK)
        rc = dbk_book_add_service_schemas(loader, err);
    return rc < 0 ? rc : dbk_schemas_finish(book->schemas, loader->faults, err);
}
