/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What services' users can open. Tries are made by a process that has become the user; where this
 * one cannot, they are rows that say so, and no answer.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "os/owner.h"
#include "service/placement_files.h"

#define TRIES_MAX 4096

struct trying {
    const struct dbk_files_scope *scope;
    const struct dbk_service_definition *service;
    struct dbk_attempts *attempts;
    struct dbk_owner_try *tries; /* as the attempts from `first` on */
    size_t first;
};

static const char *const words[] = {
    [DBK_OWNER_READ] = "read",
    [DBK_OWNER_WRITE] = "write",
    [DBK_OWNER_LIST] = "list",
    [DBK_OWNER_MAKE_IN] = "make in",
};

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

static int add(struct trying *trying, const char *what, const char *path,
               enum dbk_owner_action action, bool expected, struct dbk_error *err)
{
    struct dbk_arena *arena = trying->attempts->arena;
    size_t at = trying->attempts->count - trying->first;
    struct dbk_owner_status status;
    /* What is not there nobody opens; that it should be, others say. */
    if (!expected && dbk_owner_look(path, &status, NULL) == DBK_ENOTFOUND)
        return DBK_OK;
    if (at == TRIES_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "there is more than %d to try as %s", TRIES_MAX,
                             trying->service->own->name);
    const struct dbk_attempt attempt = {
        .service = trying->service->own->name,
        .thing = dbk_arena_format(arena, "%s %s", what, path),
        .action = words[action],
        .sql = dbk_arena_format(arena, "as %s",
                                trying->service->user == NULL ? "its user" : trying->service->user),
        .expected = expected};
    if (attempt.thing == NULL || attempt.sql == NULL)
        return no_memory(err);
    trying->tries[at] = (struct dbk_owner_try){
        .path = dbk_arena_copy(arena, dbk_slice_of(path)).data, .action = action};
    return trying->tries[at].path == NULL ? no_memory(err)
                                          : dbk_attempts_add(trying->attempts, &attempt, err);
}

static int add_file(struct trying *trying, const char *what, const char *path, bool expected,
                    struct dbk_error *err)
{
    int rc = add(trying, what, path, DBK_OWNER_READ, expected, err);
    return rc < 0 ? rc : add(trying, what, path, DBK_OWNER_WRITE, expected, err);
}

static int add_folder(struct trying *trying, const char *what, const char *path, bool expected,
                      struct dbk_error *err)
{
    int rc = add(trying, what, path, DBK_OWNER_LIST, expected, err);
    return rc < 0 ? rc : add(trying, what, path, DBK_OWNER_MAKE_IN, expected, err);
}

/* With what SQLite puts beside it, and the folder that lets one replace it. */
static int add_database(struct trying *trying, const char *what, const char *path, bool expected,
                        struct dbk_error *err)
{
    char name[4096];
    const char *slash = strrchr(path, '/');
    int rc = add_file(trying, what, path, expected, err);
    for (size_t i = 0; rc == DBK_OK && i < DBK_FILES_BESIDE_COUNT; i++) {
        struct dbk_owner_status status;
        (void)snprintf(name, sizeof(name), "%s%s", path, dbk_files_beside[i]);
        if (dbk_owner_look(name, &status, NULL) == DBK_OK)
            rc = add_file(trying, what, name, expected, err);
    }
    (void)snprintf(name, sizeof(name), "%.*s",
                   slash == NULL   ? 1
                   : slash == path ? 1
                                   : (int)(slash - path),
                   slash == NULL ? "." : path);
    return rc < 0 ? rc : add(trying, "the folder", name, DBK_OWNER_MAKE_IN, expected, err);
}

static int add_service(struct trying *trying, const struct dbk_service_definition *other,
                       struct dbk_error *err)
{
    bool own = other == trying->service;
    const char *const secrets[] = {other->key, dbk_files_login(other)};
    int rc = DBK_OK;
    if (dbk_files_is_sqlite(other)) {
        bool shared = dbk_files_is_shared(trying->scope, other);
        rc = add_database(trying, shared ? "the shared database" : "the database",
                          other->own->address, own && !shared, err);
    }
    for (size_t i = 0; rc == DBK_OK && i < 2; i++) {
        struct dbk_owner_status status;
        if (secrets[i] == NULL || dbk_owner_look(secrets[i], &status, NULL) < 0)
            continue;
        rc =
            add(trying, i == 0 ? "the API key" : "the login", secrets[i], DBK_OWNER_READ, own, err);
        if (rc == DBK_OK && !own)
            rc = add(trying, i == 0 ? "the API key" : "the login", secrets[i], DBK_OWNER_WRITE,
                     false, err);
    }
    return rc;
}

/* What is the book's, but where its own database is. */
static int add_others(struct trying *trying, struct dbk_error *err)
{
    const struct dbk_files_scope *scope = trying->scope;
    const char *database = trying->service->own->database;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < scope->other_count; i++) {
        const struct dbk_files_other *other = &scope->others[i];
        if (other->database != NULL && database != NULL && strcmp(other->database, database) == 0)
            continue;
        rc = other->folder ? add_folder(trying, other->what, other->path, false, err)
                           : add_file(trying, other->what, other->path, false, err);
    }
    return rc;
}

static int list_tries(struct trying *trying, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < trying->scope->count; i++)
        rc = add_service(trying, &trying->scope->services[i], err);
    return rc < 0 ? rc : add_others(trying, err);
}

/* The system's word for a refusal, or nothing there. What fails otherwise (a full disk, too many
   open files, a link) was let in as far as anybody knows. */
static void take_answer(struct dbk_attempts *attempts, struct dbk_attempt *attempt, int error)
{
    attempt->got = error == 0;
    bool refused = error == EACCES || error == EPERM || error == EROFS || error == ENOENT;
    if (error != 0 && (attempt->expected || !refused))
        attempt->why = dbk_arena_copy(attempts->arena, dbk_slice_of(strerror(error))).data;
    attempt->untested = error != 0 && !attempt->expected && !refused;
    attempts->untested += attempt->untested ? 1 : 0;
    attempts->surprises += attempt->got != attempt->expected ? 1 : 0;
}

static void leave_untested(struct trying *trying, const char *why)
{
    struct dbk_attempts *attempts = trying->attempts;
    for (size_t i = trying->first; i < attempts->count; i++) {
        attempts->items[i].untested = true;
        attempts->items[i].why = why;
        attempts->untested++;
    }
}

static int try_service(struct trying *trying, struct dbk_error *err)
{
    struct dbk_attempts *attempts = trying->attempts;
    const struct dbk_service_definition *service = trying->service;
    struct dbk_owner_user user;
    struct dbk_error failure = {0};
    trying->first = attempts->count;
    int rc = list_tries(trying, err);
    if (rc < 0)
        return rc;
    if (service->user == NULL) {
        const char *why = dbk_arena_format(attempts->arena, "%s names no `user`, as whom to try",
                                           service->own->file);
        leave_untested(trying, why);
        return why == NULL ? no_memory(err) : DBK_OK;
    }
    rc = dbk_owner_find(service->user, service->group, &user, &failure);
    if (rc == DBK_OK)
        rc = dbk_owner_try(&user, trying->tries, attempts->count - trying->first, &failure);
    if (rc == DBK_ENOTFOUND || rc == DBK_EDENIED) {
        const char *why = dbk_arena_format(attempts->arena, "%s: only root, or %s itself, can try",
                                           failure.message, service->user);
        leave_untested(trying, why);
        return why == NULL ? no_memory(err) : DBK_OK;
    }
    if (rc < 0) {
        *err = failure;
        return rc;
    }
    for (size_t i = trying->first; i < attempts->count; i++)
        take_answer(attempts, &attempts->items[i], trying->tries[i - trying->first].error);
    return DBK_OK;
}

int dbk_files_verify(const struct dbk_files_scope *scope, struct dbk_attempts *attempts,
                     struct dbk_error *err)
{
    struct trying trying = {.scope = scope, .attempts = attempts};
    int rc = DBK_OK;
    trying.tries = dbk_arena_alloc_zero(attempts->arena, TRIES_MAX, sizeof(*trying.tries));
    if (trying.tries == NULL)
        return no_memory(err);
    for (size_t i = 0; rc == DBK_OK && i < scope->count; i++) {
        trying.service = &scope->services[i];
        bool shared = dbk_files_is_shared(scope, trying.service);
        if ((trying.service->user != NULL || shared) &&
            (scope->is_wanted == NULL ||
             scope->is_wanted(scope->context, trying.service->own->name)))
            rc = try_service(&trying, err);
    }
    return rc;
}
