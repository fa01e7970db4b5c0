/* SPDX-License-Identifier: Apache-2.0 */
#include "book/book.h"

#include "book/loader.h"

/* Every file is at most 1 MiB, and what is made of it a few times that. */
#define BOOK_MEMORY_MAX ((size_t)1 << 30)

const struct dbk_book_database *dbk_book_database(const struct dbk_book *book, const char *name)
{
    for (size_t i = 0; i < book->database_count; i++) {
        if (strcmp(book->databases[i].name, name) == 0)
            return &book->databases[i];
    }
    return NULL;
}

void dbk_book_free(struct dbk_book *book)
{
    if (book == NULL)
        return;
    dbk_schemas_free(book->schemas);
    dbk_arena_release(&book->arena);
    dbk_free(book);
}

/* A folder beside book.yaml whose name is nearly one that is read. */
static int check_folder_names(struct dbk_book_loader *loader, struct dbk_error *err)
{
    static const char *const known[] = {"events", "folds", "commands", "imports", "queries",
                                        "models", "views", "services", "sagas"};
    const size_t known_count = sizeof(known) / sizeof(known[0]);
    struct dbk_book_names names;
    int rc = dbk_book_list(loader, "", &names, err);
    for (size_t i = 0; i < names.count && rc == DBK_OK; i++) {
        const char *closest = dbk_closest_name(names.items[i], known, known_count);
        if (closest == NULL || strcmp(closest, names.items[i]) == 0)
            continue;
        struct dbk_fault fault = {.file = names.items[i], .warning = true};
        if (dbk_fault_suggest(loader->faults, names.items[i], known, known_count, NULL,
                              &fault.fix) < 0 ||
            dbk_fault_add(loader->faults, &fault, "this is not read") < 0)
            rc = dbk_book_no_memory(err);
    }
    return rc;
}

static int read_all(struct dbk_book_loader *loader, struct dbk_error *err)
{
    int rc = dbk_book_read_settings(loader, err);
    if (rc == DBK_OK)
        rc = check_folder_names(loader, err);
    if (rc == DBK_OK)
        rc = dbk_book_read_services(loader, err);
    if (rc == DBK_OK)
        rc = dbk_book_read_schemas(loader, err);
    if (rc == DBK_OK)
        rc = dbk_book_read_scripts(loader, err);
    if (rc == DBK_OK)
        rc = dbk_book_read_service_commands(loader, err);
    if (rc == DBK_OK)
        rc = dbk_book_read_sagas(loader, err);
    if (rc == DBK_OK)
        rc = dbk_book_read_models(loader, err);
    if (rc == DBK_OK)
        rc = dbk_book_check_services(loader, err);
    if (rc == DBK_OK)
        rc = dbk_book_check_reach(loader, err);
    if (rc == DBK_OK)
        rc = dbk_book_place_commands(loader, err);
    return rc == DBK_OK ? dbk_book_read_queries(loader, err) : rc;
}

int dbk_book_load(const struct dbk_book_options *options, struct dbk_diagnostics *diagnostics,
                  struct dbk_book **book_out, struct dbk_error *err)
{
    struct dbk_book_loader loader = {.options = options, .faults = diagnostics};
    size_t before = diagnostics->error_count;
    struct dbk_book *book = dbk_alloc_zero(1, sizeof(*book));
    if (book == NULL)
        return dbk_book_no_memory(err);
    dbk_arena_init(&book->arena, BOOK_MEMORY_MAX);
    dbk_buf_init(&loader.file, DBK_BOOK_FILE_SIZE_MAX + 1);
    loader.book = book;
    book->folder = dbk_arena_copy(&book->arena, dbk_slice_of(options->folder)).data;
    int rc = book->folder == NULL ? dbk_book_no_memory(err) : read_all(&loader, err);
    dbk_buf_release(&loader.file);
    dbk_diagnostics_sort(diagnostics);
    size_t found = diagnostics->error_count - before;
    if (rc == DBK_OK && found > 0)
        rc = dbk_error_set(err, DBK_EBOOK, "the book %s has %zu %s", options->folder, found,
                           found == 1 ? "error" : "errors");
    if (rc < 0) {
        dbk_book_free(book);
        return rc;
    }
    *book_out = book;
    return DBK_OK;
}
