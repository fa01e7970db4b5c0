/* SPDX-License-Identifier: Apache-2.0 */
/* service apply, service check: what services may do in their databases. */
#include <stdio.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/schema_rows.h"
#include "cli/service_files.h"
#include "cli/service_log.h"

#define MEMORY_MAX ((size_t)256 << 20)

struct work {
    struct dbk_arena arena;
    struct dbk_book *book;
    struct dbk_placement *placements; /* as the book's databases */
    struct dbk_placement_scope *scopes;
    struct dbk_files_scope files;
    size_t count;
    size_t differences;
};

/* ---- Databases ---- */

bool dbk_service_is_named(const struct dbk_arguments *arguments, const char *service)
{
    for (size_t i = 0; i < arguments->positional_count; i++) {
        if (strcmp(arguments->positional[i], service) == 0)
            return true;
    }
    return arguments->positional_count == 0;
}

bool dbk_service_is_wanted(const struct dbk_arguments *arguments, const struct dbk_book *book,
                           const char *database)
{
    for (size_t i = 0; i < book->service_count; i++) {
        const struct dbk_capture_service *service = &book->services[i];
        if (service->database != NULL && strcmp(service->database, database) == 0 &&
            dbk_service_is_named(arguments, service->name))
            return true;
    }
    return false;
}

int dbk_service_check_names(const struct dbk_arguments *arguments, const struct dbk_book *book,
                            struct dbk_error *err)
{
    for (size_t i = 0; i < arguments->positional_count; i++) {
        const char *name = arguments->positional[i];
        const struct dbk_capture_service *service = dbk_book_service(book, dbk_slice_of(name));
        if (service == NULL)
            return dbk_error_set(err, DBK_ENOTFOUND,
                                 "there is no service %s: `daybook service ls` lists them", name);
        if (service->database == NULL &&
            book->service_definitions[service - book->services].key == NULL)
            return dbk_error_set(err, DBK_EINVAL, "the service %s has no database and no key",
                                 name);
    }
    return DBK_OK;
}

static bool has_user(const struct dbk_book *book, const char *database)
{
    for (size_t i = 0; i < book->service_count; i++) {
        const char *own = book->services[i].database;
        if (own != NULL && strcmp(own, database) == 0 && book->service_definitions[i].user != NULL)
            return true;
    }
    return false;
}

/* True when each service of the database names how it logs in. */
static bool all_log_in(const struct dbk_book *book, const char *database)
{
    bool all = true;
    for (size_t i = 0; i < book->service_count; i++) {
        const char *own = book->services[i].database;
        if (own != NULL && strcmp(own, database) == 0)
            all = all && book->service_definitions[i].login != NULL;
    }
    return all;
}

int dbk_service_has_grants(const struct dbk_book *book, const struct dbk_book_database *database,
                           struct dbk_error *err)
{
    static const struct {
        const char *shared; /* why nothing can be granted */
        const char *alone;
    } words[] = {
        [DBK_DIALECT_SQLITE] = {"",
                                "whoever can read the SQLite file reads all of it: name as whom "
                                "its service runs, `user: <name>`"},
        [DBK_DIALECT_CYPHER] = {"Neo4j's Community edition has no roles: give each a server of its "
                                "own",
                                "Neo4j's Community edition has no roles: the server has to be this "
                                "service's alone"},
        [DBK_DIALECT_MONGODB] =
            {"name a `login` for each where MongoDB has roles, else give each a "
             "server of its own",
             "without a `login` no role is made in MongoDB: the server has to "
             "be this service's alone"},
    };
    enum dbk_dialect dialect = dbk_target_dialect(database->path);
    size_t share =
        dbk_service_share(book->service_definitions, book->service_count, database->name);
    if (dialect == DBK_DIALECT_POSTGRES ||
        (dialect == DBK_DIALECT_MONGODB && all_log_in(book, database->name)))
        return 1;
    /* SQLite's are files, which are looked at as such. */
    if (dialect == DBK_DIALECT_SQLITE && (share > 1 || has_user(book, database->name)))
        return 0;
    if (share > 1)
        return dbk_error_set(err, DBK_EREFUSED,
                             "several services share the database %s, and nothing keeps one from "
                             "what is another's: %s, or name services of others",
                             database->name, words[dialect].shared);
    (void)fprintf(stderr, "%s: %s\n", database->name, words[dialect].alone);
    return 0;
}

struct dbk_placement_scope dbk_service_scope(const struct dbk_book *book,
                                             const struct dbk_book_database *database)
{
    return (struct dbk_placement_scope){.book = book->name,
                                        .services = book->service_definitions,
                                        .count = book->service_count,
                                        .database = database->name,
                                        .address = database->path,
                                        .models = book->models,
                                        .model_count = book->model_count,
                                        .views = book->views,
                                        .view_count = book->view_count,
                                        .os = dbk_os_real()};
}

/* Behind the databases. */
static int look_at_files(struct work *work, const struct dbk_arguments *arguments,
                         struct dbk_error *err)
{
    struct dbk_placement *placement = &work->placements[work->count];
    int rc = dbk_service_files_scope(arguments, work->book, &work->arena, &work->files, err);
    if (rc < 0 || !dbk_files_is_wanted(&work->files))
        return rc;
    placement->arena = &work->arena;
    work->scopes[work->count++].database = DBK_SERVICE_FILES;
    rc = dbk_files_look(&work->files, placement, err);
    work->differences += placement->count;
    return rc;
}

static int look_at_log(struct work *work, const struct dbk_arguments *arguments,
                       struct dbk_error *err)
{
    struct dbk_placement *placement = &work->placements[work->count];
    placement->arena = &work->arena;
    work->scopes[work->count++].database = DBK_SERVICE_LOG;
    int rc = dbk_service_log_look(arguments, work->book, placement, err);
    work->differences += placement->count;
    return rc;
}

static int look(struct work *work, const struct dbk_arguments *arguments, struct dbk_error *err)
{
    const struct dbk_book *book = work->book;
    int rc = dbk_service_check_names(arguments, book, err);
    work->scopes =
        dbk_arena_alloc_zero(&work->arena, book->database_count + 3, sizeof(*work->scopes));
    work->placements =
        dbk_arena_alloc_zero(&work->arena, book->database_count + 3, sizeof(*work->placements));
    if (rc == DBK_OK && (work->scopes == NULL || work->placements == NULL))
        rc = dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    for (size_t i = 0; rc >= 0 && i < book->database_count; i++) {
        const struct dbk_book_database *database = &book->databases[i];
        struct dbk_placement *placement = &work->placements[work->count];
        if (!dbk_service_is_wanted(arguments, book, database->name))
            continue;
        rc = dbk_service_has_grants(book, database, err);
        if (rc < 1)
            continue;
        placement->arena = &work->arena;
        work->scopes[work->count] = dbk_service_scope(book, database);
        rc = dbk_placement_look(&work->scopes[work->count++], placement, err);
        work->differences += placement->count;
    }
    if (rc >= 0)
        rc = look_at_files(work, arguments, err);
    return rc < 0 || !dbk_service_log_is_wanted(arguments, book)
               ? rc
               : look_at_log(work, arguments, err);
}

/* ---- Showing ---- */

static void put(struct dbk_buf *row, bool *first, const char *key, const char *text)
{
    dbk_json_write_key(row, first, key);
    dbk_json_write_string(row, dbk_slice_of(text));
}

static int show(const struct work *work, const struct dbk_arguments *arguments,
                struct dbk_error *err)
{
    static const char *const columns[] = {"database", "service", "what", "statement", NULL};
    struct dbk_schema_rows rows;
    int rc = dbk_schema_rows_open(arguments, columns, &rows, err);
    for (size_t i = 0; i < work->count; i++) {
        for (size_t j = 0; rc == DBK_OK && j < work->placements[i].count; j++) {
            const struct dbk_difference *difference = &work->placements[i].items[j];
            bool first = true;
            dbk_buf_append_char(&rows.row, '{');
            put(&rows.row, &first, "database", work->scopes[i].database);
            put(&rows.row, &first, "service", difference->service);
            put(&rows.row, &first, "what", difference->what);
            put(&rows.row, &first, "statement", difference->sql);
            dbk_buf_append_char(&rows.row, '}');
            rc = dbk_schema_rows_put(&rows, err);
        }
    }
    if (rc == DBK_OK)
        rc = dbk_schema_rows_end(&rows, err);
    dbk_schema_rows_close(&rows);
    return rc;
}

/* ---- Commands ---- */

static int begin(struct work *work, const struct dbk_arguments *arguments, struct dbk_error *err)
{
    struct dbk_place place;
    dbk_arena_init(&work->arena, MEMORY_MAX);
    int rc = dbk_place_find(arguments, &place, err);
    if (rc == DBK_OK)
        rc = dbk_place_load(&place, &work->book, err);
    if (rc == DBK_OK)
        rc = look(work, arguments, err);
    return rc < 0 ? rc : show(work, arguments, err);
}

static void end(struct work *work)
{
    dbk_book_free(work->book);
    dbk_arena_release(&work->arena);
}

int dbk_run_service_check(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct work work = {0};
    int rc = begin(&work, arguments, &err);
    if (rc == DBK_OK && work.differences > 0)
        rc = dbk_error_set(&err, DBK_EREFUSED,
                           "%zu differ from the book: `daybook service apply` mends it",
                           work.differences);
    end(&work);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

/* Keys that were made, and nothing else, are given away with what was shown. */
static int give_made(struct work *work, struct dbk_error *err)
{
    const struct dbk_placement none = {.arena = &work->arena};
    return work->differences == 0 || !dbk_files_is_wanted(&work->files)
               ? DBK_OK
               : dbk_files_apply(&work->files, &none, err);
}

/* Yes as --yes, or as somebody says at a terminal. */
static int ask(const struct work *work, const struct dbk_arguments *arguments,
               struct dbk_error *err)
{
    char line[16] = "";
    if (dbk_arguments_has(arguments, "yes"))
        return DBK_OK;
    if (isatty(STDIN_FILENO) == 0)
        return dbk_error_set(err, DBK_EREFUSED, "nothing was changed: --yes does these %zu steps",
                             work->differences);
    (void)fprintf(stderr, "Do these %zu steps? (yes/no) ", work->differences);
    if (fgets(line, sizeof(line), stdin) != NULL && strcmp(line, "yes\n") == 0)
        return DBK_OK;
    return dbk_error_set(err, DBK_EREFUSED, "nothing was changed");
}

static int apply(const struct work *work, const struct dbk_arguments *arguments, size_t index,
                 struct dbk_error *err)
{
    const struct dbk_placement *shown = &work->placements[index];
    const char *database = work->scopes[index].database;
    if (strcmp(database, DBK_SERVICE_LOG) == 0)
        return dbk_service_log_apply(arguments, work->book, shown, err);
    return strcmp(database, DBK_SERVICE_FILES) == 0
               ? dbk_files_apply(&work->files, shown, err)
               : dbk_placement_apply(&work->scopes[index], shown, err);
}

int dbk_run_service_apply(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct work work = {0};
    int rc = begin(&work, arguments, &err);
    if (rc == DBK_OK && work.differences > 0)
        rc = ask(&work, arguments, &err);
    for (size_t i = 0; rc == DBK_OK && i < work.count; i++) {
        if (work.placements[i].count > 0)
            rc = apply(&work, arguments, i, &err);
        if (rc == DBK_OK)
            (void)fprintf(stderr, "%s: %zu steps done\n", work.scopes[i].database,
                          work.placements[i].count);
    }
    if (rc == DBK_OK)
        rc = give_made(&work, &err);
    end(&work);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
