/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What services can do in MongoDB, by trying. A server judges a command before it does anything, so
 * tries change what is not there: a document with an `_id` that none has, or one that no document
 * may have. What would not be without effect (drops, changes of a collection) is tried on a
 * collection that the book's user has made for it, and else the server is asked what the session
 * may do.
 */
#include <stdio.h>

#include "service/placement_mongodb.h"

#define PROBE "_daybook_probe"
#define NAME_SIZE 256
#define COLLECTIONS_MAX 4096

struct verifying {
    struct dbk_mongodb_roles roles; /* the book's user's session */
    const char *database;
    struct dbk_attempts *attempts;
    const char **collections;
    size_t count;
    char later[NAME_SIZE]; /* a collection that is made after the grants */
    const struct dbk_service_definition *service;
    struct dbk_connection *session; /* the service's */
};

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

/* ---- Trying ---- */

static int add(const struct verifying *verifying, struct dbk_attempt *attempt,
               struct dbk_error *err)
{
    struct dbk_arena *arena = verifying->attempts->arena;
    attempt->service = verifying->service->own->name;
    attempt->thing = dbk_arena_copy(arena, dbk_slice_of(attempt->thing)).data;
    attempt->sql = dbk_arena_copy(arena, dbk_slice_of(attempt->sql)).data;
    if (attempt->why != NULL)
        attempt->why = dbk_arena_copy(arena, dbk_slice_of(attempt->why)).data;
    verifying->attempts->surprises += attempt->got != attempt->expected ? 1 : 0;
    return attempt->thing == NULL || attempt->sql == NULL
               ? no_memory(err)
               : dbk_attempts_add(verifying->attempts, attempt, err);
}

/* database: NULL is the service's own. got_out may be NULL. */
static int try(const struct verifying *verifying, const char *thing, const char *action,
               const char *database, const char *command, bool expected, bool *got_out,
               struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_mongodb_roles_ask(&verifying->roles, verifying->session, database, command, NULL,
                                   &failure);
    struct dbk_attempt attempt = {.thing = thing,
                                  .action = action,
                                  .sql = command,
                                  .expected = expected,
                                  .got = rc != DBK_EDENIED};
    if (rc == DBK_ECONNECT || rc == DBK_ENOMEM || rc == DBK_EBUSY || rc == DBK_ETIMEOUT)
        return dbk_error_set(err, rc, "%s's try to %s %s: %s", verifying->service->own->name,
                             action, thing, failure.message);
    /* A command that the server has not got is let in by nobody. */
    if (rc == DBK_ENOTFOUND) {
        attempt.got = false;
        attempt.why = failure.message;
    }
    if (got_out != NULL)
        *got_out = rc == DBK_OK;
    return add(verifying, &attempt, err);
}

static const struct way {
    const char *action;
    const char *command; /* the collection's name for @ */
} ways[] = {
    {"read",
     "{\"find\":\"@\",\"filter\":{\"_id\":\"" PROBE "\"},\"limit\":1,\"singleBatch\":true}"},
    {"count", "{\"aggregate\":\"@\",\"pipeline\":[{\"$match\":{\"_id\":\"" PROBE
              "\"}},{\"$count\":\"n\"}],\"cursor\":{}}"},
    {"insert", "{\"insert\":\"@\",\"documents\":[{\"_id\":[]}]}"},
    {"update",
     "{\"update\":\"@\",\"updates\":[{\"q\":{\"_id\":\"" PROBE "\"},\"u\":{\"$set\":{\"a\":1}}}]}"},
    {"delete", "{\"delete\":\"@\",\"deletes\":[{\"q\":{\"_id\":\"" PROBE "\"},\"limit\":1}]}"},
    {"list indexes", "{\"listIndexes\":\"@\"}"},
};

static int format(char *out, size_t size, const char *command, const char *name,
                  struct dbk_error *err)
{
    const char *mark = strchr(command, '@');
    return snprintf(out, size, "%.*s%s%s", (int)(mark - command), command, name, mark + 1) <
                   (int)size
               ? DBK_OK
               : dbk_error_set(err, DBK_ELIMIT, "the name of a collection is too long");
}

static int try_collection(const struct verifying *verifying, const char *name, bool mine,
                          struct dbk_error *err)
{
    char command[1024];
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < sizeof(ways) / sizeof(ways[0]); i++) {
        rc = format(command, sizeof(command), ways[i].command, name, err);
        if (rc == DBK_OK)
            rc = try(verifying, name, ways[i].action, NULL, command, mine, NULL, err);
    }
    return rc;
}

/* Through one of its own, which it may read, into what is another's. */
static int try_through(const struct verifying *verifying, const char *own, const char *name,
                       struct dbk_error *err)
{
    char command[2048];
    (void)snprintf(command, sizeof(command),
                   "{\"aggregate\":\"%s\",\"pipeline\":[{\"$match\":{\"_id\":\"" PROBE
                   "\"}},{\"$lookup\":{\"from\":\"%s\",\"localField\":\"_id\",\"foreignField\":"
                   "\"_id\",\"as\":\"a\"}}],\"cursor\":{}}",
                   own, name);
    int rc = try(verifying, name, "read through its own", NULL, command, false, NULL, err);
    (void)snprintf(command, sizeof(command),
                   "{\"aggregate\":\"%s\",\"pipeline\":[{\"$match\":{\"_id\":\"" PROBE
                   "\"}},{\"$merge\":{\"into\":\"%s\"}}],\"cursor\":{}}",
                   own, name);
    return rc < 0 ? rc
                  : try(verifying, name, "write through its own", NULL, command, false, NULL, err);
}

/* Is removed again where it could be made. */
static int try_create(const struct verifying *verifying, struct dbk_error *err)
{
    char name[NAME_SIZE];
    char command[1024];
    bool made = false;
    (void)snprintf(name, sizeof(name), "%.200s_%s", verifying->later, verifying->service->role);
    (void)snprintf(command, sizeof(command), "{\"create\":\"%s\"}", name);
    bool all = dbk_mongodb_owns(verifying->roles.scope, verifying->service, name);
    int rc = try(verifying, "the database", "make a collection", NULL, command, all, &made, err);
    (void)snprintf(command, sizeof(command), "{\"drop\":\"%s\"}", name);
    if (rc == DBK_OK && made)
        rc = dbk_mongodb_roles_ask(&verifying->roles, verifying->roles.connection, NULL, command,
                                   NULL, err);
    return rc;
}

/* What was made after the grants is nobody's, but of who owns all. */
static int try_later(const struct verifying *verifying, struct dbk_error *err)
{
    char command[1024];
    bool all = dbk_mongodb_owns(verifying->roles.scope, verifying->service, verifying->later);
    int rc = try_collection(verifying, verifying->later, all, err);
    (void)snprintf(command, sizeof(command), "{\"collMod\":\"%s\"}", verifying->later);
    if (rc == DBK_OK)
        rc = try(verifying, verifying->later, "change", NULL, command, all, NULL, err);
    (void)snprintf(command, sizeof(command), "{\"drop\":\"%s\"}", verifying->later);
    return rc < 0 || all
               ? rc
               : try(verifying, verifying->later, "drop", NULL, command, false, NULL, err);
}

static int try_doors(const struct verifying *verifying, struct dbk_error *err)
{
    static const struct {
        const char *thing;
        const char *action;
        const char *database;
        const char *command;
    } doors[] = {
        {"another database", "read", PROBE, "{\"find\":\"a\",\"limit\":1}"},
        {"another database", "insert", PROBE, "{\"insert\":\"a\",\"documents\":[{\"_id\":[]}]}"},
        {"the database admin", "read", "admin", "{\"find\":\"system.users\",\"limit\":1}"},
        {"the database local", "read", "local", "{\"find\":\"oplog.rs\",\"limit\":1}"},
        {"the database", "read its users", NULL, "{\"usersInfo\":1}"},
        {"the database", "read its roles", NULL, "{\"rolesInfo\":1,\"showPrivileges\":true}"},
        {"the database", "profile", NULL, "{\"profile\":-1}"},
        {"the server", "read its status", "admin", "{\"serverStatus\":1}"},
        {"the server", "read its settings", "admin", "{\"getParameter\":1,\"quiet\":1}"},
        {"the server", "read its log", "admin", "{\"getLog\":\"global\"}"},
        {"the server", "read its operations", "admin",
         "{\"aggregate\":1,\"pipeline\":[{\"$currentOp\":{\"allUsers\":true}}],\"cursor\":{}}"},
    };
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < sizeof(doors) / sizeof(doors[0]); i++)
        rc = try(verifying, doors[i].thing, doors[i].action, doors[i].database, doors[i].command,
                 false, NULL, err);
    return rc;
}

/* ---- Asking ---- */

static struct dbk_slice text_of(const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *member = dbk_json_member(object, key);
    return member != NULL && member->kind == DBK_JSON_STRING ? member->text : dbk_slice_of("");
}

static bool is_expected(const struct verifying *verifying, const struct dbk_json_node *resource,
                        struct dbk_slice action)
{
    char name[NAME_SIZE];
    struct dbk_slice collection = text_of(resource, "collection");
    if (!dbk_slice_equal_text(text_of(resource, "db"), verifying->database) ||
        resource->count != 2 || collection.size >= sizeof(name))
        return false;
    (void)snprintf(name, sizeof(name), "%.*s", DBK_SLICE_ARGS(collection));
    bool all = dbk_mongodb_owns(verifying->roles.scope, verifying->service, verifying->later);
    if (!all && !dbk_mongodb_owns(verifying->roles.scope, verifying->service, name))
        return false;
    if (all && dbk_slice_equal_text(action, "listCollections"))
        return true;
    for (size_t i = 0; i < DBK_MONGODB_ACTION_COUNT; i++) {
        if (dbk_slice_equal_text(action, dbk_mongodb_actions[i]))
            return true;
    }
    return false;
}

static bool is_listed(const struct dbk_json_node *actions, const char *action)
{
    const struct dbk_json_node *one = dbk_mongodb_first(actions);
    for (uint32_t i = 0; i < actions->count; i++, one = dbk_json_sibling(one)) {
        if (one->kind == DBK_JSON_STRING && dbk_slice_equal_text(one->text, action))
            return true;
    }
    return false;
}

static int ask_action(const struct verifying *verifying, const char *thing, const char *action,
                      bool expected, bool got, struct dbk_error *err)
{
    struct dbk_attempt attempt = {.thing = thing,
                                  .action = action,
                                  .sql = "{\"connectionStatus\":1,\"showPrivileges\":true}",
                                  .expected = expected,
                                  .got = got,
                                  .asked = true};
    return add(verifying, &attempt, err);
}

/* What a session may do beside what it should, as the server has it. */
static int ask_privilege(const struct verifying *verifying, const struct dbk_json_node *privilege,
                         struct dbk_error *err)
{
    struct dbk_arena *arena = verifying->attempts->arena;
    const struct dbk_json_node *resource = dbk_json_member(privilege, "resource");
    const struct dbk_json_node *actions = dbk_json_member(privilege, "actions");
    int rc = resource == NULL || actions == NULL
                 ? dbk_error_set(err, DBK_EFORMAT, "the server names a privilege of nothing")
                 : DBK_OK;
    const struct dbk_json_node *action = rc < 0 ? NULL : dbk_mongodb_first(actions);
    for (uint32_t i = 0; rc == DBK_OK && i < actions->count;
         i++, action = dbk_json_sibling(action)) {
        const char *word = dbk_arena_copy(arena, action->text).data;
        const char *thing = dbk_arena_copy(arena, resource->raw).data;
        if (word == NULL || thing == NULL)
            rc = no_memory(err);
        else if (!is_expected(verifying, resource, action->text))
            rc = ask_action(verifying, thing, word, false, true, err);
    }
    return rc;
}

/* What it should be able to do with a collection of its own. */
static int ask_own(const struct verifying *verifying, const char *collection,
                   const struct dbk_json_node *privileges, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < DBK_MONGODB_ACTION_COUNT; i++) {
        const struct dbk_json_node *one = dbk_mongodb_first(privileges);
        bool got = false;
        for (uint32_t j = 0; j < privileges->count; j++, one = dbk_json_sibling(one)) {
            const struct dbk_json_node *resource = dbk_json_member(one, "resource");
            const struct dbk_json_node *actions = dbk_json_member(one, "actions");
            struct dbk_slice name = text_of(resource, "collection");
            got = got || (dbk_slice_equal_text(text_of(resource, "db"), verifying->database) &&
                          (name.size == 0 || dbk_slice_equal_text(name, collection)) &&
                          actions != NULL && is_listed(actions, dbk_mongodb_actions[i]));
        }
        rc = ask_action(verifying, collection, dbk_mongodb_actions[i], true, got, err);
    }
    return rc;
}

static int ask_status(const struct verifying *verifying, struct dbk_error *err)
{
    const struct dbk_json_node *reply = NULL;
    int rc = dbk_mongodb_roles_ask(&verifying->roles, verifying->session, NULL,
                                   "{\"connectionStatus\":1,\"showPrivileges\":true}", &reply, err);
    if (rc < 0)
        return rc;
    const struct dbk_json_node *info = dbk_json_member(reply, "authInfo");
    const struct dbk_json_node *privileges =
        info == NULL ? NULL : dbk_json_member(info, "authenticatedUserPrivileges");
    if (privileges == NULL || privileges->kind != DBK_JSON_ARRAY)
        return dbk_error_set(err, DBK_EFORMAT, "the server does not say what a session may do");
    const struct dbk_json_node *one = dbk_mongodb_first(privileges);
    for (uint32_t i = 0; rc == DBK_OK && i < privileges->count; i++, one = dbk_json_sibling(one))
        rc = ask_privilege(verifying, one, err);
    for (size_t i = 0; rc == DBK_OK && i < verifying->service->own->table_count; i++)
        rc = ask_own(verifying, verifying->service->own->tables[i].name, privileges, err);
    return rc;
}

/* ---- Collections ---- */

static int keep_collection(struct verifying *verifying, const char *name, struct dbk_error *err)
{
    for (size_t i = 0; i < verifying->count; i++) {
        if (strcmp(verifying->collections[i], name) == 0)
            return DBK_OK;
    }
    if (strchr(name, '"') != NULL || strchr(name, '\\') != NULL || strlen(name) > 200)
        return DBK_OK; /* would not stay within its quotes */
    if (verifying->count == COLLECTIONS_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "the database has more than %d collections",
                             COLLECTIONS_MAX);
    verifying->collections[verifying->count++] = name;
    return DBK_OK;
}

static int list_collections(struct verifying *verifying, struct dbk_error *err)
{
    const struct dbk_placement_scope *scope = verifying->roles.scope;
    const struct dbk_json_node *reply = NULL;
    int rc = dbk_mongodb_roles_ask(
        &verifying->roles, verifying->roles.connection, NULL,
        "{\"listCollections\":1,\"nameOnly\":true,\"cursor\":{\"batchSize\":8192}}", &reply, err);
    const struct dbk_json_node *cursor = rc < 0 ? NULL : dbk_json_member(reply, "cursor");
    const struct dbk_json_node *batch =
        cursor == NULL ? NULL : dbk_json_member(cursor, "firstBatch");
    const struct dbk_json_node *one = dbk_mongodb_first(batch);
    for (uint32_t i = 0; rc == DBK_OK && batch != NULL && i < batch->count;
         i++, one = dbk_json_sibling(one)) {
        const char *name = dbk_arena_copy(verifying->attempts->arena, text_of(one, "name")).data;
        rc = name == NULL ? no_memory(err) : DBK_OK;
        if (rc == DBK_OK && strncmp(name, PROBE, sizeof(PROBE) - 1) != 0)
            rc = keep_collection(verifying, name, err);
    }
    for (size_t i = 0; rc == DBK_OK && i < scope->count; i++) {
        const struct dbk_capture_service *own = scope->services[i].own;
        for (size_t j = 0; rc == DBK_OK && dbk_placement_is_here(scope, &scope->services[i]) &&
                           j < own->table_count;
             j++)
            rc = keep_collection(verifying, own->tables[j].name, err);
    }
    return rc;
}

/* Removes what a killed run has left, too. */
static int remove_probes(const struct verifying *verifying, struct dbk_error *err)
{
    const struct dbk_json_node *reply = NULL;
    int rc = dbk_mongodb_roles_ask(
        &verifying->roles, verifying->roles.connection, NULL,
        "{\"listCollections\":1,\"nameOnly\":true,\"filter\":{\"name\":{\"$regex\":\"^" PROBE
        "_[0-9a-f]{8}\"}},\"cursor\":{}}",
        &reply, err);
    const struct dbk_json_node *cursor = rc < 0 ? NULL : dbk_json_member(reply, "cursor");
    const struct dbk_json_node *batch =
        cursor == NULL ? NULL : dbk_json_member(cursor, "firstBatch");
    const struct dbk_json_node *one = dbk_mongodb_first(batch);
    for (uint32_t i = 0; rc == DBK_OK && batch != NULL && i < batch->count;
         i++, one = dbk_json_sibling(one)) {
        char command[1024];
        struct dbk_slice name = text_of(one, "name");
        if (!dbk_slice_starts_with(name, DBK_SLICE_LITERAL(PROBE "_")) || name.size > 300 ||
            memchr(name.data, '"', name.size) != NULL || memchr(name.data, '\\', name.size) != NULL)
            continue; /* not ours: it would not stay within its quotes */
        (void)snprintf(command, sizeof(command), "{\"drop\":\"%.*s\"}", DBK_SLICE_ARGS(name));
        rc = dbk_mongodb_roles_ask(&verifying->roles, verifying->roles.connection, NULL, command,
                                   NULL, err);
    }
    return rc;
}

/* ---- Services ---- */

static int try_service(const struct verifying *verifying, struct dbk_error *err)
{
    const struct dbk_placement_scope *scope = verifying->roles.scope;
    const struct dbk_capture_service *own = verifying->service->own;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < verifying->count; i++) {
        const char *name = verifying->collections[i];
        bool mine = dbk_mongodb_owns(scope, verifying->service, name);
        rc = try_collection(verifying, name, mine, err);
        if (rc == DBK_OK && !mine && own->table_count > 0)
            rc = try_through(verifying, own->tables[0].name, name, err);
    }
    if (rc == DBK_OK)
        rc = try_later(verifying, err);
    if (rc == DBK_OK)
        rc = try_create(verifying, err);
    if (rc == DBK_OK)
        rc = try_doors(verifying, err);
    return rc < 0 ? rc : ask_status(verifying, err);
}

static int log_in(struct verifying *verifying, struct dbk_error *err)
{
    const struct dbk_placement_scope *scope = verifying->roles.scope;
    const struct dbk_service_definition *service = verifying->service;
    const struct dbk_login_driver *driver = NULL;
    struct dbk_error failure = {0};
    if (service->login == NULL)
        return dbk_error_set(err, DBK_EBOOK,
                             "%s: `login` is missing: `daybook service apply` needs it, too",
                             service->own->file);
    int rc = dbk_login_driver_of(scope, &driver, &failure);
    if (rc == DBK_OK)
        rc = driver->agree(scope->address, service->login, &failure);
    if (rc == DBK_OK)
        rc = dbk_connection_open(service->login, 0, &verifying->session, &failure);
    if (rc == DBK_OK)
        rc = dbk_mongodb_roles_ask(&verifying->roles, verifying->session, NULL,
                                   "{\"connectionStatus\":1}", NULL, &failure);
    if (rc == DBK_OK)
        return DBK_OK;
    dbk_connection_free(verifying->session);
    verifying->session = NULL;
    struct dbk_attempt attempt = {.thing = "the database",
                                  .action = "log in",
                                  .sql = "",
                                  .why = failure.message,
                                  .expected = true};
    return add(verifying, &attempt, err);
}

static int verify(struct verifying *verifying, struct dbk_error *err)
{
    const struct dbk_placement_scope *scope = verifying->roles.scope;
    char command[1024];
    uint32_t random = 0;
    const struct dbk_json_node *list = NULL;
    verifying->database = verifying->roles.driver->database(verifying->roles.connection);
    int rc =
        dbk_mongodb_roles_list(&verifying->roles, NULL, "{\"rolesInfo\":1}", "roles", &list, err);
    if (rc == DBK_OK)
        rc = scope->os->random(scope->os, &random, sizeof(random), err);
    (void)snprintf(verifying->later, sizeof(verifying->later), PROBE "_%08x", (unsigned)random);
    (void)snprintf(command, sizeof(command), "{\"create\":\"%s\"}", verifying->later);
    if (rc == DBK_OK)
        rc = remove_probes(verifying, err);
    if (rc == DBK_OK)
        rc = list_collections(verifying, err);
    if (rc == DBK_OK)
        rc = dbk_mongodb_roles_ask(&verifying->roles, verifying->roles.connection, NULL, command,
                                   NULL, err);
    for (size_t i = 0; rc == DBK_OK && i < scope->count; i++) {
        verifying->service = &scope->services[i];
        if (!dbk_placement_is_here(scope, verifying->service))
            continue;
        rc = log_in(verifying, err);
        if (rc == DBK_OK && verifying->session != NULL)
            rc = try_service(verifying, err);
        dbk_connection_free(verifying->session);
        verifying->session = NULL;
    }
    struct dbk_error failure = {0};
    int removed = remove_probes(verifying, &failure);
    return rc == DBK_OK && removed < 0 ? dbk_error_set(err, removed, "%s is left behind: %s",
                                                       verifying->later, failure.message)
                                       : rc;
}

int dbk_mongodb_placement_verify(const struct dbk_placement_scope *scope,
                                 struct dbk_attempts *attempts, struct dbk_error *err)
{
    struct verifying verifying = {.attempts = attempts};
    verifying.collections =
        dbk_arena_alloc_zero(attempts->arena, COLLECTIONS_MAX, sizeof(*verifying.collections));
    if (verifying.collections == NULL)
        return no_memory(err);
    int rc = dbk_mongodb_roles_open(scope, attempts->arena, &verifying.roles, err);
    if (rc == DBK_OK)
        rc = verify(&verifying, err);
    dbk_connection_free(verifying.roles.connection);
    return rc;
}
