/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/service_files.h"

#include <stdint.h>

#include "access/access.h"

struct building {
    struct dbk_arena *arena;
    struct dbk_files_other *items;
    size_t count;
};

static bool is_wanted(void *context, const char *service)
{
    return dbk_service_is_named(context, service);
}

/* Room is there for all. */
static int add(struct building *building, const char *what, const char *path, const char *database,
               bool folder, struct dbk_error *err)
{
    if (path == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    building->items[building->count++] = (struct dbk_files_other){what, path, database, folder};
    return DBK_OK;
}

/* A service may have its models' databases open. */
static const char *owner_of(const struct dbk_book *book, const struct dbk_book_database *database)
{
    for (size_t i = 0; i < book->service_count; i++) {
        const char *own = book->services[i].database;
        if (own != NULL && strcmp(own, database->name) == 0)
            return own;
    }
    return NULL;
}

static bool has_models(const struct dbk_book *book, const struct dbk_book_database *database)
{
    for (size_t i = 0; i < book->model_count; i++) {
        if (strcmp(book->models[i].database, database->name) == 0)
            return true;
    }
    return false;
}

/* A connection string's file, and a SQLite file of read models. */
static int add_databases(struct building *building, const struct dbk_book *book,
                         struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < book->database_count; i++) {
        const struct dbk_book_database *database = &book->databases[i];
        const char *colon = strchr(database->path, ':');
        if (dbk_target_dialect(database->path) != DBK_DIALECT_SQLITE) {
            if (strncmp(colon + 1, "file:", 5) == 0)
                rc = add(building, "the book's login", colon + 6, NULL, false, err);
        } else if (owner_of(book, database) == NULL && has_models(book, database)) {
            rc = add(building, "the read models' database", database->path, NULL, false, err);
        }
    }
    return rc;
}

int dbk_service_files_scope(const struct dbk_arguments *arguments, const struct dbk_book *book,
                            struct dbk_arena *arena, struct dbk_files_scope *scope_out,
                            struct dbk_error *err)
{
    struct building building = {.arena = arena};
    building.items = dbk_arena_alloc_zero(arena, book->database_count + 4, sizeof(*building.items));
    if (building.items == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    int rc = add(&building, "the book's data", book->data, NULL, true, err);
    if (rc == DBK_OK)
        rc = add(&building, "the operator's key",
                 dbk_arena_format(arena, "%s/" DBK_ACCESS_FILE, book->data), NULL, false, err);
    if (rc == DBK_OK && book->keys_root != NULL)
        rc = add(&building, "the passphrase of keys", book->keys_root, NULL, false, err);
    if (rc == DBK_OK)
        rc = add_databases(&building, book, err);
    *scope_out = (struct dbk_files_scope){.services = book->service_definitions,
                                          .count = book->service_count,
                                          .is_wanted = is_wanted,
                                          .context = (void *)(uintptr_t)arguments,
                                          .data = book->data,
                                          .others = building.items,
                                          .other_count = building.count};
    return rc;
}
