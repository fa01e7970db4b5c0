/* SPDX-License-Identifier: Apache-2.0 */
#include "service/placement_logins.h"

#include <stdio.h>

#define PASSWORD_SIZE 24 /* random bytes */

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

struct dbk_login *dbk_logins_create(const struct dbk_placement_scope *scope)
{
    return dbk_alloc_zero(scope->count + 1, sizeof(struct dbk_login));
}

static const char *file_of(const char *login)
{
    const char *rest = strchr(login, ':') + 1;
    return strncmp(rest, "file:", 5) == 0 ? rest + 5 : NULL;
}

static bool is_there(struct dbk_os *os, const char *path)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    int rc = os->open(os, path, DBK_OS_READ, &file, NULL);
    os->close(os, &file);
    return rc != DBK_ENOTFOUND;
}

int dbk_login_driver_of(const struct dbk_placement_scope *scope,
                        const struct dbk_login_driver **driver_out, struct dbk_error *err)
{
    const void *symbol = NULL;
    int rc = dbk_target_symbol(scope->address, DBK_LOGIN_SYMBOL, &symbol, err);
    *driver_out = symbol;
    return rc == DBK_OK && symbol == NULL
               ? dbk_error_set(err, DBK_EFORMAT, "the database's module knows no logins")
               : rc;
}

int dbk_login_read(const struct dbk_placement_scope *scope, struct dbk_login *login,
                   struct dbk_error *err)
{
    const struct dbk_service_definition *service = login->service;
    const struct dbk_login_driver *driver = NULL;
    struct dbk_error failure = {0};
    char user[DBK_LOGIN_TEXT_SIZE];
    if (service->login == NULL)
        return dbk_error_set(err, DBK_EBOOK,
                             "%s: `login` is missing: name a file for the service's connection "
                             "string, which is made: `login: file:secrets/%s`",
                             service->own->file, service->own->name);
    int rc = dbk_login_driver_of(scope, &driver, err);
    const char *path = file_of(service->login);
    if (rc == DBK_OK && path != NULL && !is_there(scope->os, path)) {
        uint8_t bytes[PASSWORD_SIZE];
        login->made = true;
        rc = scope->os->random(scope->os, bytes, sizeof(bytes), err);
        for (size_t i = 0; rc == DBK_OK && i < sizeof(bytes); i++)
            (void)snprintf(login->password + 2 * i, 3, "%02x", bytes[i]);
        return rc;
    }
    if (rc < 0)
        return rc;
    rc = driver->read(service->login, user, login->password, &failure);
    if (rc == DBK_OK)
        rc = driver->agree(scope->address, service->login, &failure);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s: the `login`: %s", service->own->file, failure.message);
    if (strcmp(user, service->role) != 0)
        return dbk_error_set(err, DBK_EBOOK,
                             "%s: the `login` is for the user `%s`, and the service's role is `%s`",
                             service->own->file, user, service->role);
    return DBK_OK;
}

int dbk_login_check_place(const struct dbk_placement_scope *scope, const char *identity,
                          struct dbk_connection *connection, struct dbk_error *err)
{
    char found[DBK_LOGIN_IDENTITY_SIZE] = "";
    int rc = dbk_login_identity(connection, found, err);
    if (rc == DBK_OK && strcmp(found, identity) != 0)
        rc = dbk_error_set(err, DBK_EBOOK, "it leads to another server or database than that of %s",
                           scope->database);
    return rc;
}

static int read_identity(const struct dbk_placement_scope *scope,
                         char text_out[DBK_LOGIN_IDENTITY_SIZE], struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    int rc = dbk_connection_open(scope->address, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_login_identity(connection, text_out, err);
    dbk_connection_free(connection);
    return rc;
}

/* 1: it lets the service in; 0: it does not, and the reason why is kept. DBK_EBOOK: elsewhere. */
static int lets_in(const struct dbk_placement_scope *scope, const char *identity,
                   const struct dbk_login *login, struct dbk_error *failure, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_error wrong = {0};
    if (login->made ||
        dbk_connection_open(login->service->login, DBK_CONNECT_READ, &connection, failure) < 0)
        return 0;
    int rc = dbk_login_check_place(scope, identity, connection, &wrong);
    dbk_connection_free(connection);
    return rc < 0 ? dbk_error_set(err, rc, "%s: the `login`: %s", login->service->own->file,
                                  wrong.message)
                  : 1;
}

int dbk_login_add_secret(struct dbk_placement *placement, const struct dbk_login *login,
                         unsigned step, struct dbk_error *err)
{
    const struct dbk_service_definition *service = login->service;
    const char *path = file_of(service->login);
    struct dbk_difference difference = {
        .service = service->own->name,
        .what = dbk_arena_format(placement->arena, "there is no %s", path),
        .sql = dbk_arena_format(placement->arena, "-- %s is made, with a password", path),
        .step = step};
    return difference.what == NULL || difference.sql == NULL
               ? no_memory(err)
               : dbk_placement_add(placement, &difference, err);
}

/* Adds what is to be done so that each service can log in. */
int dbk_logins_look(const struct dbk_placement_scope *scope, struct dbk_placement *placement,
                    struct dbk_login *logins, struct dbk_error *err)
{
    char identity[DBK_LOGIN_IDENTITY_SIZE] = "";
    size_t count = 0;
    int rc = read_identity(scope, identity, err);
    for (size_t i = 0; rc == DBK_OK && i < scope->count; i++) {
        struct dbk_error failure = {0};
        struct dbk_difference difference = {.step = DBK_STEP_PASSWORD};
        struct dbk_login *login = &logins[count];
        if (!dbk_placement_is_here(scope, &scope->services[i]))
            continue;
        count++;
        login->service = &scope->services[i];
        rc = dbk_login_read(scope, login, err);
        int in = rc < 0 ? rc : lets_in(scope, identity, login, &failure, err);
        if (in != 0) {
            rc = in < 0 ? in : rc;
            continue;
        }
        if (login->password[0] == '\0')
            return dbk_error_set(err, DBK_EBOOK,
                                 "%s: the `login` has no password, and does not let the service in",
                                 login->service->own->file);
        difference.service = login->service->own->name;
        difference.what = login->made ? "it has no password"
                                      : dbk_arena_format(placement->arena, "it cannot log in: %s",
                                                         failure.message);
        difference.sql = dbk_arena_format(placement->arena, "ALTER ROLE %s PASSWORD '***'",
                                          login->service->role);
        if (difference.what == NULL || difference.sql == NULL)
            return no_memory(err);
        if (login->made)
            rc = dbk_login_add_secret(placement, login, DBK_STEP_SECRET, err);
        if (rc == DBK_OK)
            rc = dbk_placement_add(placement, &difference, err);
    }
    return rc;
}

void dbk_logins_free(struct dbk_login *logins, size_t count)
{
    if (logins != NULL)
        explicit_bzero(logins, (count + 1) * sizeof(*logins));
    dbk_free(logins);
}

int dbk_placement_write_secret(struct dbk_os *os, const char *path, struct dbk_slice text,
                               bool replace, struct dbk_error *err)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    const char *slash = strrchr(path, '/');
    char *folder = dbk_copy_text(dbk_slice(path, slash == NULL ? 0 : (size_t)(slash - path)));
    size_t size = strlen(path) + sizeof(".new");
    char *beside = dbk_alloc(size);
    int rc = folder == NULL || beside == NULL ? no_memory(err) : DBK_OK;
    const char *first = replace ? beside : path;
    if (rc == DBK_OK) {
        (void)snprintf(beside, size, "%s.new", path);
        if (replace)
            dbk_ignore(os->remove(os, beside, NULL));
        rc = *folder != '\0' ? dbk_os_make_folder(os, folder, err) : DBK_OK;
    }
    if (rc == DBK_OK)
        rc = os->open(os, first, DBK_OS_WRITE | DBK_OS_CREATE | DBK_OS_NEW | DBK_OS_PRIVATE, &file,
                      err);
    bool made = rc == DBK_OK;
    if (rc == DBK_OK)
        rc = os->pwrite(os, &file, text, 0, err);
    if (rc == DBK_OK)
        rc = os->sync(os, &file, err);
    os->close(os, &file);
    if (rc == DBK_OK && replace)
        rc = os->rename(os, beside, path, err);
    if (rc < 0 && made)
        dbk_ignore(os->remove(os, first, NULL));
    if (rc == DBK_OK && *folder != '\0')
        rc = os->sync_folder(os, folder, err);
    dbk_free(beside);
    dbk_free(folder);
    return rc;
}

static int write_secret(const struct dbk_placement_scope *scope, const struct dbk_login *login,
                        struct dbk_error *err)
{
    char text[DBK_LOGIN_TEXT_SIZE];
    const struct dbk_login_driver *driver = NULL;
    int rc = dbk_login_driver_of(scope, &driver, err);
    if (rc == DBK_OK)
        rc = driver->make(scope->address, login->service->role, login->password, text, err);
    if (rc == DBK_OK)
        rc = dbk_placement_write_secret(scope->os, file_of(login->service->login),
                                        dbk_slice_of(text), false, err);
    explicit_bzero(text, sizeof(text));
    return rc;
}

/* Files come before the commit: one that is left without its role is used by the next run. */
int dbk_logins_write(const struct dbk_placement_scope *scope, struct dbk_login *logins,
                     struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && logins[i].service != NULL; i++) {
        if (logins[i].made)
            rc = write_secret(scope, &logins[i], err);
        logins[i].written = logins[i].made && rc == DBK_OK;
    }
    return rc;
}

void dbk_logins_remove(const struct dbk_placement_scope *scope, const struct dbk_login *logins)
{
    for (size_t i = 0; logins[i].service != NULL; i++) {
        if (logins[i].written)
            dbk_ignore(scope->os->remove(scope->os, file_of(logins[i].service->login), NULL));
    }
}
