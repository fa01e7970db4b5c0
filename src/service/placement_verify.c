/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services' own sessions try what placement_sql.c lists. Each try is a transaction that is rolled
 * back; what is made before, for the rights of what is made later, has `_daybook_probe_` in its
 * name and is removed at the end, and at the beginning what a killed run left.
 */
#include <stdio.h>

#include "base/assert.h"
#include "service/placement.h"
#include "service/placement_logins.h"
#include "service/placement_mongodb.h"
#include "service/placement_sql.h"

#define RETRIES 20
#define NAME_SIZE 32
/* A try waits for nobody for long, and stops nobody who waits behind it. */
#define SESSION_SQL "SET lock_timeout = '250ms'; SET statement_timeout = '10s'; " DBK_PLACEMENT_PIN
/* What a session finds by its own path is tried with it. */
#define PATH "search_path"

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

int dbk_attempts_add(struct dbk_attempts *attempts, const struct dbk_attempt *attempt,
                     struct dbk_error *err)
{
    if (attempts->count == attempts->capacity) {
        size_t capacity = attempts->capacity == 0 ? 256 : 2 * attempts->capacity;
        struct dbk_attempt *items = dbk_arena_alloc_zero(attempts->arena, capacity, sizeof(*items));
        if (items == NULL)
            return no_memory(err);
        if (attempts->count > 0)
            memcpy(items, attempts->items, attempts->count * sizeof(*items));
        attempts->items = items;
        attempts->capacity = capacity;
    }
    attempts->items[attempts->count++] = *attempt;
    return DBK_OK;
}

static int take_attempt(void *context, const struct dbk_slice *columns, size_t count,
                        struct dbk_error *err)
{
    struct dbk_attempts *attempts = context;
    struct dbk_attempt attempt = {0};
    dbk_assert(count == 6);
    attempt.service = dbk_arena_copy(attempts->arena, columns[0]).data;
    attempt.thing = dbk_arena_copy(attempts->arena, columns[1]).data;
    attempt.action = dbk_arena_copy(attempts->arena, columns[2]).data;
    attempt.expected = dbk_slice_equal_text(columns[3], "1");
    attempt.asked = dbk_slice_equal_text(columns[4], "1");
    attempt.sql = dbk_arena_copy(attempts->arena, columns[5]).data;
    if (attempt.service == NULL || attempt.thing == NULL || attempt.action == NULL ||
        attempt.sql == NULL)
        return no_memory(err);
    return dbk_attempts_add(attempts, &attempt, err);
}

/* ---- What is made for it ---- */

struct probes {
    struct dbk_connection *connection;
    struct dbk_arena *arena;
    const char **statements;
    size_t count;
};

static int take_statement(void *context, const struct dbk_slice *columns, size_t count,
                          struct dbk_error *err)
{
    struct probes *probes = context;
    const char **grown = dbk_arena_alloc_zero(probes->arena, probes->count + 1, sizeof(*grown));
    dbk_assert(count == 1);
    if (grown == NULL)
        return no_memory(err);
    for (size_t i = 0; i < probes->count; i++)
        grown[i] = probes->statements[i];
    grown[probes->count] = dbk_arena_copy(probes->arena, columns[0]).data;
    probes->statements = grown;
    return grown[probes->count++] == NULL ? no_memory(err) : DBK_OK;
}

static int remove_probes(const struct dbk_placement_scope *scope, struct dbk_connection *connection,
                         struct dbk_arena *arena, struct dbk_error *err)
{
    const char *const *const texts[] = {dbk_placement_sql_probes, NULL};
    struct probes probes = {.connection = connection, .arena = arena};
    int rc = dbk_placement_ask(scope, connection, texts, take_statement, &probes, err);
    for (size_t i = 0; rc == DBK_OK && i < probes.count; i++)
        rc = dbk_connection_run(connection, probes.statements[i], err);
    return rc;
}

/* schema: "" is the first of the session's own path. */
static int make_probes(struct dbk_connection *connection, const char *schema, const char *name,
                       struct dbk_error *err)
{
    char sql[1024];
    char place[DBK_SERVICE_ROLE_SIZE_MAX + 4] = "";
    if (*schema != '\0')
        (void)snprintf(place, sizeof(place), "\"%s\".", schema);
    (void)snprintf(sql, sizeof(sql),
                   "BEGIN; " DBK_PLACEMENT_UNPIN ";"
                   "CREATE TABLE %s%s_table (id integer);"
                   "CREATE SEQUENCE %s%s_sequence;"
                   "CREATE VIEW %s%s_view AS SELECT 1 AS id;"
                   "CREATE FUNCTION %s%s_function() RETURNS integer LANGUAGE sql SECURITY DEFINER "
                   "AS 'SELECT 1'; COMMIT",
                   place, name, place, name, place, name, place, name);
    int rc = dbk_connection_run(connection, sql, err);
    if (rc < 0)
        dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    return rc;
}

/* ---- Trying ---- */

/* Whether the server says that it would let it. */
static int ask(struct dbk_connection *connection, const char *sql, bool *yes_out,
               struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    *yes_out = false;
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        struct dbk_value value = dbk_statement_column(statement, 0);
        *yes_out = value.kind == DBK_VALUE_INTEGER && value.integer != 0;
    }
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

static int try_once(struct dbk_connection *connection, struct dbk_attempt *attempt,
                    struct dbk_error *failure, struct dbk_error *err)
{
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc < 0)
        return rc;
    if (strcmp(attempt->thing, PATH) == 0)
        rc = dbk_connection_run(connection, DBK_PLACEMENT_UNPIN, err);
    if (rc < 0)
        return rc;
    rc = attempt->asked ? ask(connection, attempt->sql, &attempt->got, failure)
                        : dbk_connection_run(connection, attempt->sql, failure);
    if (rc < 0 || !attempt->asked)
        attempt->got = rc != DBK_EDENIED;
    failure->code = rc;
    return dbk_connection_run(connection, "ROLLBACK", err);
}

/* Refused is what the server calls so: what fails otherwise was let in. */
static int try_attempt(struct dbk_connection *connection, struct dbk_arena *arena,
                       struct dbk_attempt *attempt, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = try_once(connection, attempt, &failure, err);
    for (int i = 0; rc == DBK_OK && failure.code == DBK_EBUSY && i < RETRIES; i++)
        rc = try_once(connection, attempt, &failure, err);
    if (rc < 0 || failure.code == DBK_OK || failure.code == DBK_EDENIED)
        return rc;
    if (failure.code == DBK_EBUSY)
        return dbk_error_set(err, DBK_EBUSY, "%s's try to %s %s: %s", attempt->service,
                             attempt->action, attempt->thing, failure.message);
    attempt->why = dbk_arena_copy(arena, dbk_slice_of(failure.message)).data;
    return attempt->why == NULL ? no_memory(err) : DBK_OK;
}

static int try_all(struct dbk_attempts *attempts, struct dbk_connection *connection,
                   const char *service, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < attempts->count; i++) {
        if (strcmp(attempts->items[i].service, service) == 0)
            rc = try_attempt(connection, attempts->arena, &attempts->items[i], err);
    }
    return rc;
}

/* Without a session nothing is tried: the failure stands for all of it. */
static int add_failure(struct dbk_attempts *attempts, const char *service, const char *thing,
                       const char *action, const struct dbk_error *failure, struct dbk_error *err)
{
    const struct dbk_attempt attempt = {
        .service = service,
        .thing = thing,
        .action = action,
        .sql = "",
        .why = dbk_arena_copy(attempts->arena, dbk_slice_of(failure->message)).data,
        .expected = true};
    return attempt.why == NULL ? no_memory(err) : dbk_attempts_add(attempts, &attempt, err);
}

/* As sure of the server as the book's own user is, and in the same database. */
static int open_login(const struct dbk_placement_scope *scope,
                      const struct dbk_service_definition *service, const char *identity,
                      struct dbk_connection **connection_out, struct dbk_error *failure)
{
    const struct dbk_login_driver *driver = NULL;
    int rc = dbk_login_driver_of(scope, &driver, failure);
    if (rc == DBK_OK)
        rc = driver->agree(scope->address, service->login, failure);
    if (rc == DBK_OK)
        rc = dbk_connection_open(service->login, 0, connection_out, failure);
    if (rc == DBK_OK)
        rc = dbk_connection_run(*connection_out, SESSION_SQL, failure);
    return rc < 0 ? rc : dbk_login_check_place(scope, identity, *connection_out, failure);
}

static int log_in(const struct dbk_placement_scope *scope,
                  const struct dbk_service_definition *service, const char *identity,
                  struct dbk_attempts *attempts, struct dbk_connection **connection_out,
                  struct dbk_error *err)
{
    struct dbk_error failure = {0};
    if (service->login == NULL)
        return dbk_error_set(err, DBK_EBOOK,
                             "%s: `login` is missing: `daybook service apply` needs it, too",
                             service->own->file);
    if (open_login(scope, service, identity, connection_out, &failure) == DBK_OK)
        return DBK_OK;
    dbk_connection_free(*connection_out);
    *connection_out = NULL;
    return add_failure(attempts, service->own->name, "the database", "log in", &failure, err);
}

struct verifying {
    const struct dbk_placement_scope *scope;
    struct dbk_attempts *attempts;
    struct dbk_connection *own;       /* the book's own user's */
    struct dbk_connection **sessions; /* as the scope's services; NULL: of another database, or it
                                         could not log in */
};

static int begin_sessions(const struct verifying *verifying, const char *name,
                          struct dbk_error *err)
{
    const struct dbk_placement_scope *scope = verifying->scope;
    char identity[DBK_LOGIN_IDENTITY_SIZE] = "";
    int rc = dbk_login_identity(verifying->own, identity, err);
    for (size_t i = 0; rc == DBK_OK && i < scope->count; i++) {
        const struct dbk_service_definition *service = &scope->services[i];
        struct dbk_error failure = {0};
        if (!dbk_placement_is_here(scope, service))
            continue;
        rc = log_in(scope, service, identity, verifying->attempts, &verifying->sessions[i], err);
        if (rc < 0 || verifying->sessions[i] == NULL)
            continue;
        if (make_probes(verifying->sessions[i], service->role, name, &failure) < 0)
            rc = add_failure(verifying->attempts, service->own->name, "its own schema", "make in",
                             &failure, err);
    }
    return rc;
}

static int list_attempts(const struct verifying *verifying, struct dbk_error *err)
{
    struct dbk_placement_texts texts;
    int rc = dbk_connection_begin(verifying->own, DBK_BEGIN_READ, err);
    if (rc == DBK_OK)
        rc = dbk_placement_texts(verifying->scope, verifying->own, dbk_placement_sql_attempts,
                                 &texts, err);
    if (rc == DBK_OK)
        rc = dbk_placement_ask(verifying->scope, verifying->own, texts.texts, take_attempt,
                               verifying->attempts, err);
    return rc < 0 ? rc : dbk_connection_run(verifying->own, "COMMIT", err);
}

static int verify(const struct verifying *verifying, struct dbk_error *err)
{
    char name[NAME_SIZE];
    uint32_t random = 0;
    const struct dbk_placement_scope *scope = verifying->scope;
    struct dbk_arena *arena = verifying->attempts->arena;
    int rc = scope->os->random(scope->os, &random, sizeof(random), err);
    (void)snprintf(name, sizeof(name), "_daybook_probe_%08x", (unsigned)random);
    if (rc == DBK_OK)
        rc = remove_probes(scope, verifying->own, arena, err);
    if (rc == DBK_OK)
        rc = make_probes(verifying->own, "", name, err);
    if (rc == DBK_OK)
        rc = begin_sessions(verifying, name, err);
    if (rc == DBK_OK)
        rc = list_attempts(verifying, err);
    for (size_t i = 0; rc == DBK_OK && i < scope->count; i++) {
        if (verifying->sessions[i] != NULL)
            rc = try_all(verifying->attempts, verifying->sessions[i], scope->services[i].own->name,
                         err);
    }
    struct dbk_error failure = {0};
    dbk_ignore(dbk_connection_run(verifying->own, "ROLLBACK", NULL));
    int removed = remove_probes(scope, verifying->own, arena, &failure);
    if (rc == DBK_OK && removed < 0)
        rc = dbk_error_set(err, removed, "%s_* is left behind: %s", name, failure.message);
    return rc;
}

/* What a service that could not log in was to try is not known. */
static void count_surprises(const struct verifying *verifying)
{
    struct dbk_attempts *attempts = verifying->attempts;
    size_t kept = 0;
    for (size_t i = 0; i < attempts->count; i++) {
        const struct dbk_attempt *attempt = &attempts->items[i];
        bool tried = attempt->sql[0] == '\0';
        for (size_t j = 0; !tried && j < verifying->scope->count; j++)
            tried = verifying->sessions[j] != NULL &&
                    strcmp(verifying->scope->services[j].own->name, attempt->service) == 0;
        if (!tried)
            continue;
        attempts->surprises += attempt->got != attempt->expected ? 1 : 0;
        attempts->items[kept++] = *attempt;
    }
    attempts->count = kept;
}

int dbk_placement_verify(const struct dbk_placement_scope *scope, struct dbk_attempts *attempts,
                         struct dbk_error *err)
{
    struct verifying verifying = {.scope = scope, .attempts = attempts};
    if (dbk_target_dialect(scope->address) == DBK_DIALECT_MONGODB)
        return dbk_mongodb_placement_verify(scope, attempts, err);
    verifying.sessions = dbk_alloc_zero(scope->count + 1, sizeof(struct dbk_connection *));
    if (verifying.sessions == NULL)
        return no_memory(err);
    int rc = dbk_placement_begin(scope, DBK_BEGIN_WRITE, &verifying.own, err);
    if (rc == DBK_OK)
        rc = dbk_placement_faults(scope, verifying.own, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(verifying.own, "COMMIT", err);
    if (rc == DBK_OK)
        rc = verify(&verifying, err);
    if (rc == DBK_OK)
        count_surprises(&verifying);
    for (size_t i = 0; i < scope->count; i++)
        dbk_connection_free(verifying.sessions[i]);
    dbk_free((void *)verifying.sessions);
    dbk_connection_free(verifying.own);
    return rc;
}
