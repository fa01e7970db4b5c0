/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/service_grants.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/service.h"
#include "service/ask.h"
#include "target/login.h"

#define MEMORY_MAX ((size_t)256 << 20)
/* Whoever writes the tables, or follows, waits behind it as long. */
#define LOCK_WAIT_MS 2000
#define VARIABLE "DAYBOOK_SPLIT_LOGIN"
#define FILE_LOGIN "postgres:file:"

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

/* ---- Logins ---- */

/* The path of a login's file; NULL: it is none. */
static const char *path_of(const char *login)
{
    return strncmp(login, FILE_LOGIN, sizeof(FILE_LOGIN) - 1) == 0 ? login + sizeof(FILE_LOGIN) - 1
                                                                   : NULL;
}

static int read_identity(const char *address, char text_out[DBK_LOGIN_IDENTITY_SIZE],
                         struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    int rc = dbk_connection_open(address, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_login_identity(connection, text_out, err);
    dbk_connection_free(connection);
    return rc;
}

/* Whether it leads there already; one that lets nobody in leads nowhere. */
static int leads_to(const char *login, const char *to, bool *leads_out, struct dbk_error *err)
{
    char wanted[DBK_LOGIN_IDENTITY_SIZE] = "";
    char found[DBK_LOGIN_IDENTITY_SIZE] = "";
    struct dbk_error failure = {0};
    int rc = read_identity(to, wanted, err);
    *leads_out = rc == DBK_OK && read_identity(login, found, &failure) == DBK_OK &&
                 strcmp(wanted, found) == 0;
    return rc;
}

static int find_driver(const char *address, const struct dbk_login_driver **driver_out,
                       struct dbk_error *err)
{
    const void *symbol = NULL;
    int rc = dbk_target_symbol(address, DBK_LOGIN_SYMBOL, &symbol, err);
    *driver_out = symbol;
    return rc == DBK_OK && symbol == NULL
               ? dbk_error_set(err, DBK_EFORMAT, "the database's module knows no logins")
               : rc;
}

static int is_there(const char *path, bool *there_out, struct dbk_error *err)
{
    struct dbk_os *os = dbk_os_real();
    struct dbk_file file = DBK_FILE_CLOSED;
    struct dbk_error failure = {0};
    int rc = os->open(os, path, DBK_OS_READ, &file, &failure);
    os->close(os, &file);
    *there_out = rc == DBK_OK;
    return rc < 0 && rc != DBK_ENOTFOUND ? dbk_error_set(err, rc, "%s", failure.message) : DBK_OK;
}

/*
 * The connection string that a service's file is to have: its own with the other address. "": the
 * one that it names is to stay, or is still to be made.
 */
static int make_login(const struct dbk_service_definition *service, const char *to,
                      char text_out[DBK_LOGIN_TEXT_SIZE], struct dbk_error *err)
{
    char user[DBK_LOGIN_TEXT_SIZE];
    char password[DBK_LOGIN_TEXT_SIZE];
    const struct dbk_login_driver *driver = NULL;
    const char *path = path_of(service->login);
    bool stays = path == NULL;
    text_out[0] = '\0';
    int rc = DBK_OK;
    if (path != NULL) {
        bool there = false;
        rc = is_there(path, &there, err);
        stays = !there;
    }
    if (rc == DBK_OK && !stays)
        rc = leads_to(service->login, to, &stays, err);
    if (rc < 0 || stays)
        return rc;
    rc = find_driver(to, &driver, err);
    if (rc == DBK_OK)
        rc = driver->read(service->login, user, password, err);
    if (rc == DBK_OK)
        rc = driver->make(to, user, password, text_out, err);
    explicit_bzero(password, sizeof(password));
    return rc;
}

int dbk_service_grants_login(const struct dbk_service_definition *service, const char *to,
                             struct dbk_error *err)
{
    char text[DBK_LOGIN_TEXT_SIZE];
    if (service->login == NULL)
        return DBK_OK;
    int rc = make_login(service, to, text, err);
    if (rc == DBK_OK && text[0] != '\0') {
        rc = dbk_placement_write_secret(dbk_os_real(), path_of(service->login), dbk_slice_of(text),
                                        true, err);
        if (rc == DBK_OK)
            (void)fprintf(stderr, "%s leads there\n", path_of(service->login));
    }
    explicit_bzero(text, sizeof(text));
    return rc;
}

/* ---- Marks ---- */

static int read_name(struct dbk_connection *connection, struct dbk_arena *arena,
                     const char **name_out, const char **server_out, struct dbk_error *err)
{
    int rc =
        dbk_ask_text(connection, "SELECT current_database()::text", NULL, arena, name_out, err);
    return rc < 0
               ? rc
               : dbk_ask_text(connection, "SELECT system_identifier::text FROM pg_control_system()",
                              NULL, arena, server_out, err);
}

static int move_mark(const char *book, const struct dbk_service_definition *service,
                     struct dbk_connection *const sides[2], struct dbk_arena *arena,
                     struct dbk_error *err)
{
    const char *names[2] = {NULL, NULL};
    const char *servers[2] = {NULL, NULL};
    const char *marks[2] = {NULL, NULL};
    const char *sql = NULL;
    int rc = DBK_OK;
    for (int i = 0; rc == DBK_OK && i < 2; i++)
        rc = read_name(sides[i], arena, &names[i], &servers[i], err);
    if (rc < 0 || names[0] == NULL || names[1] == NULL || strcmp(servers[0], servers[1]) != 0)
        return rc;
    for (int i = 0; i < 2; i++)
        marks[i] = dbk_arena_format(arena, "daybook: service %s of %s in %s", service->own->name,
                                    book, names[i]);
    if (marks[0] == NULL || marks[1] == NULL)
        return no_memory(err);
    const char *const parameters[] = {service->role, marks[0], marks[1], NULL};
    rc = dbk_ask_text(
        sides[1],
        "SELECT format('COMMENT ON ROLE %I IS %L', rolname, ?3::text) FROM pg_roles WHERE "
        "rolname = ?1 AND shobj_description(oid, 'pg_authid') = ?2",
        parameters, arena, &sql, err);
    return rc < 0 || sql == NULL ? rc : dbk_tell(sides[1], err, "%s", sql);
}

int dbk_service_grants_mark(const char *book, const struct dbk_service_definition *service,
                            const char *from, const char *to, struct dbk_error *err)
{
    struct dbk_connection *sides[2] = {NULL, NULL};
    struct dbk_arena arena;
    if (service->login == NULL)
        return DBK_OK;
    dbk_arena_init(&arena, MEMORY_MAX);
    int rc = dbk_connection_open(from, DBK_CONNECT_READ, &sides[0], err);
    if (rc == DBK_OK)
        rc = dbk_connection_open(to, 0, &sides[1], err);
    for (int i = 0; rc == DBK_OK && i < 2; i++)
        rc = dbk_connection_run(sides[i], "SET search_path = pg_catalog, pg_temp", err);
    if (rc == DBK_OK)
        rc = move_mark(book, service, sides, &arena, err);
    dbk_connection_free(sides[0]);
    dbk_connection_free(sides[1]);
    dbk_arena_release(&arena);
    return rc;
}

/* ---- Grants ---- */

static bool concerns(const struct dbk_placement *placement, const char *service)
{
    for (size_t i = 0; i < placement->count; i++) {
        if (strcmp(placement->items[i].service, service) == 0)
            return true;
    }
    return false;
}

/* What differs for others alone is theirs. */
static int look_and_apply(const struct dbk_placement_scope *scope, const char *service,
                          struct dbk_arena *arena, struct dbk_error *err)
{
    struct dbk_placement placement = {.arena = arena};
    int rc = dbk_placement_look(scope, &placement, err);
    if (rc < 0 || !concerns(&placement, service))
        return rc;
    rc = dbk_placement_apply(scope, &placement, err);
    if (rc == DBK_OK)
        (void)fprintf(stderr, "%s: %zu steps done, of what `daybook service apply` does\n",
                      scope->database, placement.count);
    return rc;
}

/* As if the service's file had that string, without one that could be left behind. */
static int apply_with(struct dbk_placement_scope *scope, size_t index, char *variable,
                      struct dbk_arena *arena, struct dbk_error *err)
{
    const char *name = scope->services[index].own->name;
    struct dbk_service_definition *services =
        dbk_arena_alloc_zero(arena, scope->count, sizeof(*services));
    if (services == NULL)
        return no_memory(err);
    memcpy(services, scope->services, scope->count * sizeof(*services));
    if (variable[sizeof(VARIABLE)] != '\0') {
        services[index].login = "postgres:env:" VARIABLE;
        if (putenv(variable) != 0)
            return no_memory(err);
    }
    scope->services = services;
    int rc = look_and_apply(scope, name, arena, err);
    (void)unsetenv(VARIABLE);
    return rc;
}

int dbk_service_grants_apply(const struct dbk_book *book, const char *service, const char *from,
                             struct dbk_error *err)
{
    char variable[sizeof(VARIABLE) + DBK_LOGIN_TEXT_SIZE] = VARIABLE "=";
    struct dbk_arena arena;
    const struct dbk_capture_service *own = dbk_book_service(book, dbk_slice_of(service));
    const struct dbk_book_database *to =
        own == NULL ? NULL : dbk_book_database(book, own->database);
    if (to == NULL)
        return dbk_error_set(err, DBK_EBOOK, "the book has no database of %s", service);
    size_t index = (size_t)(own - book->services);
    const struct dbk_service_definition *definition = &book->service_definitions[index];
    if (definition->login == NULL) {
        (void)fprintf(stderr,
                      "%s names no `login`: nothing is granted, and the tables are written "
                      "by the book's user alone\n",
                      own->file);
        return DBK_OK;
    }
    dbk_arena_init(&arena, MEMORY_MAX);
    struct dbk_placement_scope scope = dbk_service_scope(book, to);
    scope.lock_wait_ms = LOCK_WAIT_MS;
    int rc = make_login(definition, to->path, variable + sizeof(VARIABLE), err);
    if (rc == DBK_OK)
        rc = dbk_service_grants_mark(book->name, definition, from, to->path, err);
    if (rc == DBK_OK)
        rc = apply_with(&scope, index, variable, &arena, err);
    explicit_bzero(variable, sizeof(variable));
    dbk_arena_release(&arena);
    return rc;
}
