/* SPDX-License-Identifier: Apache-2.0 */
#include "service/placement_mongodb.h"

#include <stdio.h>

#define REPLY_SIZE_MAX ((size_t)64 << 20)
#define COMMAND_SIZE_MAX ((size_t)1 << 20)
#define PASSWORD_SIZE 24 /* random bytes */
#define HIDDEN "\"***\""

/* Of differences. A user comes before its role: what a killed run leaves has the book's mark. */
enum step {
    STEP_SECRET = 1,
    STEP_USER = 10,
    STEP_ROLE,
    STEP_REVOKE,
    STEP_GRANT,
    STEP_MEMBER,
    STEP_OTHERS,
    STEP_SETTING,
    STEP_PASSWORD,
};

const char *const dbk_mongodb_actions[DBK_MONGODB_ACTION_COUNT + 1] = {
    "collMod", "collStats",  "createCollection", "createIndex", "dropCollection", "dropIndex",
    "find",    "indexStats", "insert",           "listIndexes", "remove",         "update",
    NULL};

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

/* ---- Asking ---- */

int dbk_mongodb_roles_open(const struct dbk_placement_scope *scope, struct dbk_arena *arena,
                           struct dbk_mongodb_roles *roles_out, struct dbk_error *err)
{
    const void *symbol = NULL;
    *roles_out = (struct dbk_mongodb_roles){.scope = scope, .arena = arena};
    int rc = dbk_target_symbol(scope->address, DBK_ROLES_SYMBOL, &symbol, err);
    if (rc == DBK_OK && symbol == NULL)
        rc = dbk_error_set(err, DBK_EFORMAT, "the database's module knows no roles");
    roles_out->driver = symbol;
    return rc < 0 ? rc : dbk_connection_open(scope->address, 0, &roles_out->connection, err);
}

int dbk_mongodb_roles_ask(const struct dbk_mongodb_roles *roles, struct dbk_connection *connection,
                          const char *database, const char *command,
                          const struct dbk_json_node **reply_out, struct dbk_error *err)
{
    struct dbk_slice text = {0};
    const struct dbk_json_node *root = NULL;
    int rc = roles->driver->ask(connection, database, dbk_slice_of(command), &text, err);
    if (rc < 0 || reply_out == NULL)
        return rc;
    struct dbk_json *json = dbk_json_create(REPLY_SIZE_MAX);
    struct dbk_slice kept = dbk_arena_copy(roles->arena, text);
    if (json == NULL || kept.data == NULL)
        rc = no_memory(err);
    if (rc == DBK_OK)
        rc = dbk_json_parse(json, kept, &root, err);
    if (rc == DBK_OK)
        rc = dbk_json_keep(root, kept, roles->arena, reply_out);
    dbk_json_free(json);
    return rc;
}

int dbk_mongodb_roles_list(const struct dbk_mongodb_roles *roles, const char *database,
                           const char *command, const char *list,
                           const struct dbk_json_node **list_out, struct dbk_error *err)
{
    const struct dbk_json_node *reply = NULL;
    struct dbk_error failure = {0};
    int rc = dbk_mongodb_roles_ask(roles, roles->connection, database, command, &reply, &failure);
    if (rc == DBK_ENOTFOUND)
        return dbk_error_set(
            err, DBK_EREFUSED,
            "the server of the database %s has no roles (%.200s): it has to be one "
            "service's alone, which names no `login`",
            roles->scope->database, failure.message);
    if (rc == DBK_EDENIED)
        return dbk_error_set(err, rc,
                             "the user of the database %s may not see users and roles (%.200s): "
                             "give it the role userAdminAnyDatabase",
                             roles->scope->database, failure.message);
    if (rc < 0) {
        *err = failure;
        return rc;
    }
    *list_out = dbk_json_member(reply, list);
    return *list_out != NULL && (*list_out)->kind == DBK_JSON_ARRAY
               ? DBK_OK
               : dbk_error_set(err, DBK_EFORMAT, "the server answered without %s", list);
}

static bool is_text(const struct dbk_json_node *object, const char *key, const char *text)
{
    const struct dbk_json_node *member = dbk_json_member(object, key);
    return member != NULL && member->kind == DBK_JSON_STRING &&
           dbk_slice_equal_text(member->text, text);
}

static struct dbk_slice text_of(const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *member = dbk_json_member(object, key);
    return member != NULL && member->kind == DBK_JSON_STRING ? member->text : dbk_slice_of("");
}

/* The one of a list that has a name in the book's database; NULL: there is none. */
static const struct dbk_json_node *find(const struct dbk_json_node *list, const char *key,
                                        const char *name, const char *database)
{
    const struct dbk_json_node *one = dbk_mongodb_first(list);
    for (uint32_t i = 0; list != NULL && i < list->count; i++, one = dbk_json_sibling(one)) {
        if (is_text(one, key, name) && is_text(one, "db", database))
            return one;
    }
    return NULL;
}

/* ---- Differences ---- */

struct looking {
    struct dbk_mongodb_roles roles;
    const char *database; /* its name at the server */
    struct dbk_placement *placement;
    struct dbk_login *logins;
    const struct dbk_json_node *all_roles; /* of the database */
    const struct dbk_json_node *all_users; /* of all databases */
};

static int add(const struct looking *looking, const struct dbk_service_definition *service,
               enum step step, const char *place, const char *what, const char *command,
               const char *undo, struct dbk_error *err)
{
    const struct dbk_difference difference = {.service = service->own->name,
                                              .what = what,
                                              .sql = command,
                                              .place = place,
                                              .undo = undo,
                                              .step = (unsigned)step};
    return what == NULL || command == NULL || undo == NULL
               ? no_memory(err)
               : dbk_placement_add(looking->placement, &difference, err);
}

bool dbk_mongodb_owns(const struct dbk_placement_scope *scope,
                      const struct dbk_service_definition *service, const char *collection)
{
    const struct dbk_capture_service *own = service->own;
    if (own->outbox.table != NULL && strcmp(own->outbox.table, collection) == 0)
        return true;
    for (size_t i = 0; i < own->table_count; i++) {
        if (strcmp(own->tables[i].name, collection) == 0)
            return true;
    }
    return own->table_count == 0 &&
           dbk_service_share(scope->services, scope->count, own->database) == 1;
}

/* Whether its role should be able to do something with a resource. */
static bool is_wanted(const struct looking *looking, const struct dbk_service_definition *service,
                      const struct dbk_json_node *resource, struct dbk_slice action)
{
    char collection[256];
    struct dbk_slice name = text_of(resource, "collection");
    if (!is_text(resource, "db", looking->database) || resource->count != 2 ||
        name.size >= sizeof(collection))
        return false;
    bool all = service->own->table_count == 0 && service->own->outbox.table == NULL;
    (void)snprintf(collection, sizeof(collection), "%.*s", DBK_SLICE_ARGS(name));
    if (name.size == 0 ? !all : all || !dbk_mongodb_owns(looking->roles.scope, service, collection))
        return false;
    for (size_t i = 0; dbk_mongodb_actions[i] != NULL; i++) {
        if (dbk_slice_equal_text(action, dbk_mongodb_actions[i]))
            return true;
    }
    return all && dbk_slice_equal_text(action, "listCollections");
}

static bool has_action(const struct dbk_json_node *privileges, const char *database,
                       const char *collection, const char *action)
{
    const struct dbk_json_node *one = dbk_mongodb_first(privileges);
    for (uint32_t i = 0; privileges != NULL && i < privileges->count;
         i++, one = dbk_json_sibling(one)) {
        const struct dbk_json_node *resource = dbk_json_member(one, "resource");
        const struct dbk_json_node *actions = dbk_json_member(one, "actions");
        if (resource == NULL || actions == NULL || !is_text(resource, "db", database) ||
            !is_text(resource, "collection", collection))
            continue;
        const struct dbk_json_node *word = dbk_mongodb_first(actions);
        for (uint32_t j = 0; j < actions->count; j++, word = dbk_json_sibling(word)) {
            if (word->kind == DBK_JSON_STRING && dbk_slice_equal_text(word->text, action))
                return true;
        }
    }
    return false;
}

/* The n-th action on a collection ("": all); NULL: there are no more. */
static const char *action_at(const char *collection, size_t n)
{
    size_t count = sizeof(dbk_mongodb_actions) / sizeof(dbk_mongodb_actions[0]) - 1;
    return n == count && *collection == '\0' ? "listCollections"
           : n < count                       ? dbk_mongodb_actions[n]
                                             : NULL;
}

/* What the service should have on a collection ("": all), and has not in privileges. */
static size_t put_missing(const struct looking *looking, const struct dbk_json_node *privileges,
                          const char *collection, struct dbk_buf *out, struct dbk_buf *words)
{
    const char *action = NULL;
    size_t count = 0;
    for (size_t i = 0; (action = action_at(collection, i)) != NULL; i++) {
        if (has_action(privileges, looking->database, collection, action))
            continue;
        if (count++ == 0) {
            bool first = true;
            dbk_buf_append_text(out, out->size > 1 ? ",{\"resource\":{" : "{\"resource\":{");
            dbk_json_write_key(out, &first, "db");
            dbk_json_write_string(out, dbk_slice_of(looking->database));
            dbk_json_write_key(out, &first, "collection");
            dbk_json_write_string(out, dbk_slice_of(collection));
            dbk_buf_append_text(out, "},\"actions\":[");
        } else {
            dbk_buf_append_char(out, ',');
        }
        dbk_json_write_string(out, dbk_slice_of(action));
        dbk_buf_append_format(words, "%s%s", words->size > 0 ? ", " : "", action);
    }
    if (count > 0)
        dbk_buf_append_text(out, "]}");
    return count;
}

/* A list of what is missing; words: the actions. */
static size_t put_privileges(const struct looking *looking,
                             const struct dbk_service_definition *service,
                             const struct dbk_json_node *privileges, struct dbk_buf *out,
                             struct dbk_buf *words)
{
    const struct dbk_capture_service *own = service->own;
    size_t count = 0;
    dbk_buf_append_char(out, '[');
    if (own->table_count == 0 && own->outbox.table == NULL)
        count = put_missing(looking, privileges, "", out, words);
    for (size_t i = 0; i < own->table_count; i++)
        count += put_missing(looking, privileges, own->tables[i].name, out, words);
    if (own->outbox.table != NULL)
        count += put_missing(looking, privileges, own->outbox.table, out, words);
    dbk_buf_append_char(out, ']');
    return count;
}

static const char *keep(const struct looking *looking, struct dbk_buf *text)
{
    const char *kept =
        text->rc < 0 ? NULL : dbk_arena_copy(looking->roles.arena, dbk_buf_slice(text)).data;
    dbk_buf_release(text);
    return kept;
}

/* A role that is not there, or has less than it should. */
static int look_for_missing(const struct looking *looking,
                            const struct dbk_service_definition *service,
                            const struct dbk_json_node *role, struct dbk_error *err)
{
    struct dbk_buf list;
    struct dbk_buf words;
    struct dbk_arena *arena = looking->roles.arena;
    dbk_buf_init(&list, COMMAND_SIZE_MAX);
    dbk_buf_init(&words, COMMAND_SIZE_MAX);
    size_t count = put_privileges(
        looking, service, role == NULL ? NULL : dbk_json_member(role, "privileges"), &list, &words);
    const char *privileges = keep(looking, &list);
    const char *actions = keep(looking, &words);
    if (privileges == NULL || actions == NULL)
        return no_memory(err);
    if (role == NULL)
        return add(looking, service, STEP_ROLE, NULL,
                   dbk_arena_format(arena, "there is no role %s", service->role),
                   dbk_arena_format(arena, "{\"createRole\":\"%s\",\"privileges\":%s,\"roles\":[]}",
                                    service->role, privileges),
                   dbk_arena_format(arena, "{\"dropRole\":\"%s\"}", service->role), err);
    return count == 0
               ? DBK_OK
               : add(looking, service, STEP_GRANT, NULL,
                     dbk_arena_format(arena, "the role %s has no %s", service->role, actions),
                     dbk_arena_format(arena, "{\"grantPrivilegesToRole\":\"%s\",\"privileges\":%s}",
                                      service->role, privileges),
                     dbk_arena_format(arena,
                                      "{\"revokePrivilegesFromRole\":\"%s\",\"privileges\":%s}",
                                      service->role, privileges),
                     err);
}

/* One resource of a role: what it should not have there. */
static int look_for_more(const struct looking *looking,
                         const struct dbk_service_definition *service,
                         const struct dbk_json_node *privilege, struct dbk_error *err)
{
    const struct dbk_json_node *resource = dbk_json_member(privilege, "resource");
    const struct dbk_json_node *actions = dbk_json_member(privilege, "actions");
    struct dbk_arena *arena = looking->roles.arena;
    struct dbk_buf words;
    if (resource == NULL || actions == NULL)
        return dbk_error_set(err, DBK_EFORMAT, "the server answered with a privilege of nothing");
    dbk_buf_init(&words, COMMAND_SIZE_MAX);
    const struct dbk_json_node *action = dbk_mongodb_first(actions);
    for (uint32_t i = 0; i < actions->count; i++, action = dbk_json_sibling(action)) {
        if (action->kind != DBK_JSON_STRING || is_wanted(looking, service, resource, action->text))
            continue;
        dbk_buf_append_text(&words, words.size > 0 ? "," : "");
        dbk_json_write_string(&words, action->text);
    }
    bool more = words.size > 0;
    const char *list = keep(looking, &words);
    if (list == NULL)
        return no_memory(err);
    if (!more)
        return DBK_OK;
    const char *privileges = dbk_arena_format(arena, "[{\"resource\":%.*s,\"actions\":[%s]}]",
                                              DBK_SLICE_ARGS(resource->raw), list);
    if (privileges == NULL)
        return no_memory(err);
    return add(looking, service, STEP_REVOKE, NULL,
               dbk_arena_format(arena, "the role %s has %s on %.*s", service->role, list,
                                DBK_SLICE_ARGS(resource->raw)),
               dbk_arena_format(arena, "{\"revokePrivilegesFromRole\":\"%s\",\"privileges\":%s}",
                                service->role, privileges),
               dbk_arena_format(arena, "{\"grantPrivilegesToRole\":\"%s\",\"privileges\":%s}",
                                service->role, privileges),
               err);
}

/* Roles that one has, or is given to, and should not: `from` is who has it. */
static int add_member(const struct looking *looking, const struct dbk_service_definition *service,
                      enum step step, bool user, struct dbk_slice from, struct dbk_slice place,
                      const struct dbk_json_node *role, struct dbk_error *err)
{
    struct dbk_arena *arena = looking->roles.arena;
    const char *kind = user ? "User" : "Role";
    const char *kept = dbk_arena_copy(arena, place).data;
    if (kept == NULL)
        return no_memory(err);
    return add(looking, service, step, kept,
               dbk_arena_format(arena, "%.*s of %s has the role %.*s of %.*s", DBK_SLICE_ARGS(from),
                                kept, DBK_SLICE_ARGS(text_of(role, "role")),
                                DBK_SLICE_ARGS(text_of(role, "db"))),
               dbk_arena_format(arena, "{\"revokeRolesFrom%s\":\"%.*s\",\"roles\":[%.*s]}", kind,
                                DBK_SLICE_ARGS(from), DBK_SLICE_ARGS(role->raw)),
               dbk_arena_format(arena, "{\"grantRolesTo%s\":\"%.*s\",\"roles\":[%.*s]}", kind,
                                DBK_SLICE_ARGS(from), DBK_SLICE_ARGS(role->raw)),
               err);
}

static int look_at_role(const struct looking *looking, const struct dbk_service_definition *service,
                        struct dbk_error *err)
{
    const struct dbk_json_node *role =
        find(looking->all_roles, "role", service->role, looking->database);
    int rc = look_for_missing(looking, service, role, err);
    if (rc < 0 || role == NULL)
        return rc;
    const struct dbk_json_node *privileges = dbk_json_member(role, "privileges");
    const struct dbk_json_node *one = dbk_mongodb_first(privileges);
    for (uint32_t i = 0; rc == DBK_OK && privileges != NULL && i < privileges->count;
         i++, one = dbk_json_sibling(one))
        rc = look_for_more(looking, service, one, err);
    const struct dbk_json_node *inherited = dbk_json_member(role, "roles");
    one = dbk_mongodb_first(inherited);
    for (uint32_t i = 0; rc == DBK_OK && inherited != NULL && i < inherited->count;
         i++, one = dbk_json_sibling(one))
        rc = add_member(looking, service, STEP_REVOKE, false, dbk_slice_of(service->role),
                        dbk_slice_of(looking->database), one, err);
    return rc;
}

/* Somebody else who has the service's role: a user of whatever database, or a role. */
static int look_at_holders(const struct looking *looking,
                           const struct dbk_service_definition *service,
                           const struct dbk_json_node *list, bool users, struct dbk_error *err)
{
    const struct dbk_json_node *one = dbk_mongodb_first(list);
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && i < list->count; i++, one = dbk_json_sibling(one)) {
        const struct dbk_json_node *role =
            find(dbk_json_member(one, "roles"), "role", service->role, looking->database);
        bool own =
            users && is_text(one, "user", service->role) && is_text(one, "db", looking->database);
        if (role != NULL && !own)
            rc = add_member(looking, service, STEP_OTHERS, users,
                            text_of(one, users ? "user" : "role"), text_of(one, "db"), role, err);
    }
    return rc;
}

/* From where a user may log in, which nobody has bounded. */
static int look_at_restrictions(const struct looking *looking,
                                const struct dbk_service_definition *service, struct dbk_error *err)
{
    const struct dbk_json_node *list = NULL;
    struct dbk_arena *arena = looking->roles.arena;
    const char *command = dbk_arena_format(
        arena,
        "{\"usersInfo\":{\"user\":\"%s\",\"db\":\"%s\"},\"showAuthenticationRestrictions\":true}",
        service->role, looking->database);
    int rc = command == NULL
                 ? no_memory(err)
                 : dbk_mongodb_roles_list(&looking->roles, NULL, command, "users", &list, err);
    const struct dbk_json_node *bounds =
        rc < 0 || list->count == 0
            ? NULL
            : dbk_json_member(dbk_mongodb_first(list), "authenticationRestrictions");
    if (bounds == NULL || bounds->count == 0)
        return rc;
    return add(looking, service, STEP_SETTING, NULL,
               dbk_arena_format(arena, "%s may log in from some places alone", service->role),
               dbk_arena_format(arena, "{\"updateUser\":\"%s\",\"authenticationRestrictions\":[]}",
                                service->role),
               dbk_arena_format(arena,
                                "{\"updateUser\":\"%s\",\"authenticationRestrictions\":%.*s}",
                                service->role, DBK_SLICE_ARGS(bounds->raw)),
               err);
}

static const char *mark_of(const struct looking *looking,
                           const struct dbk_service_definition *service)
{
    return dbk_arena_format(looking->roles.arena, "service %s of %s in %s", service->own->name,
                            looking->roles.scope->book, looking->roles.scope->database);
}

static int add_user(const struct looking *looking, const struct dbk_service_definition *service,
                    struct dbk_error *err)
{
    struct dbk_arena *arena = looking->roles.arena;
    const char *mark = mark_of(looking, service);
    if (mark == NULL)
        return no_memory(err);
    if (find(looking->all_roles, "role", service->role, looking->database) != NULL)
        return dbk_error_set(err, DBK_EBOOK,
                             "%s: the role `%s` of the database is there already, and not this "
                             "book's: name another, `role: %s_%s`",
                             service->own->file, service->role, looking->roles.scope->book,
                             service->role);
    return add(looking, service, STEP_USER, NULL,
               dbk_arena_format(arena, "there is no user %s", service->role),
               dbk_arena_format(arena,
                                "{\"createUser\":\"%s\",\"pwd\":" HIDDEN
                                ",\"customData\":{\"daybook\":\"%s\"},\"roles\":[]}",
                                service->role, mark),
               dbk_arena_format(arena, "{\"dropUser\":\"%s\"}", service->role), err);
}

static int look_at_user(const struct looking *looking, const struct dbk_service_definition *service,
                        struct dbk_error *err)
{
    const struct dbk_json_node *user =
        find(looking->all_users, "user", service->role, looking->database);
    struct dbk_arena *arena = looking->roles.arena;
    const char *mark = mark_of(looking, service);
    if (mark == NULL)
        return no_memory(err);
    if (user != NULL && !is_text(dbk_json_member(user, "customData"), "daybook", mark))
        return dbk_error_set(err, DBK_EBOOK,
                             "%s: the user `%s` of the database is there already, and not this "
                             "book's: name another, `role: %s_%s`",
                             service->own->file, service->role, looking->roles.scope->book,
                             service->role);
    int rc = user == NULL ? add_user(looking, service, err) : DBK_OK;
    const struct dbk_json_node *list = user == NULL ? NULL : dbk_json_member(user, "roles");
    const struct dbk_json_node *role = dbk_mongodb_first(list);
    bool has = false;
    for (uint32_t i = 0; rc == DBK_OK && list != NULL && i < list->count;
         i++, role = dbk_json_sibling(role)) {
        bool own = is_text(role, "role", service->role) && is_text(role, "db", looking->database);
        has = has || own;
        if (!own)
            rc = add_member(looking, service, STEP_REVOKE, true, dbk_slice_of(service->role),
                            dbk_slice_of(looking->database), role, err);
    }
    if (rc == DBK_OK && !has)
        rc = add(looking, service, STEP_MEMBER, NULL,
                 dbk_arena_format(arena, "%s has not its role", service->role),
                 dbk_arena_format(arena, "{\"grantRolesToUser\":\"%s\",\"roles\":[\"%s\"]}",
                                  service->role, service->role),
                 dbk_arena_format(arena, "{\"revokeRolesFromUser\":\"%s\",\"roles\":[\"%s\"]}",
                                  service->role, service->role),
                 err);
    if (rc == DBK_OK && user != NULL)
        rc = look_at_restrictions(looking, service, err);
    if (rc == DBK_OK)
        rc = look_at_holders(looking, service, looking->all_users, true, err);
    return rc < 0 ? rc : look_at_holders(looking, service, looking->all_roles, false, err);
}

/* ---- Logging in ---- */

static int look_at_login(const struct looking *looking, struct dbk_login *login,
                         struct dbk_error *err)
{
    const struct dbk_service_definition *service = login->service;
    struct dbk_arena *arena = looking->roles.arena;
    struct dbk_connection *connection = NULL;
    struct dbk_error failure = {0};
    int rc = dbk_login_read(looking->roles.scope, login, err);
    if (rc < 0)
        return rc;
    if (login->made)
        rc = dbk_login_add_secret(looking->placement, login, STEP_SECRET, err);
    if (rc < 0 || find(looking->all_users, "user", service->role, looking->database) == NULL)
        return rc;
    bool in = !login->made && dbk_connection_open(service->login, 0, &connection, &failure) == 0 &&
              dbk_mongodb_roles_ask(&looking->roles, connection, NULL, "{\"connectionStatus\":1}",
                                    NULL, &failure) == DBK_OK;
    dbk_connection_free(connection);
    return in ? DBK_OK
              : add(looking, service, STEP_PASSWORD, NULL,
                    login->made ? "it has no password"
                                : dbk_arena_format(arena, "it cannot log in: %s", failure.message),
                    dbk_arena_format(arena, "{\"updateUser\":\"%s\",\"pwd\":" HIDDEN "}",
                                     service->role),
                    "", err);
}

/* ---- Looking ---- */

/* What MongoDB cannot grant is said before anything is asked. */
static int check_service(const struct dbk_placement_scope *scope,
                         const struct dbk_service_definition *service, struct dbk_error *err)
{
    if (service->contract_count > 0)
        return dbk_error_set(err, DBK_EBOOK,
                             "%s:%u:%u: MongoDB grants whole documents, and a contract names "
                             "columns: read %s's events instead (`events: {read: [%s.%s]}`)",
                             service->own->file, service->contracts[0].line,
                             service->contracts[0].column, service->contracts[0].service,
                             service->contracts[0].service, service->contracts[0].table);
    for (size_t i = 0; service->own->table_count == 0 && i < scope->model_count; i++) {
        if (strcmp(scope->models[i].database, scope->database) == 0)
            return dbk_error_set(err, DBK_EBOOK,
                                 "%s: `tables` is missing: it would own the collections of the "
                                 "model %s, too",
                                 service->own->file, scope->models[i].name);
    }
    return DBK_OK;
}

static int look(struct looking *looking, struct dbk_error *err)
{
    const struct dbk_placement_scope *scope = looking->roles.scope;
    size_t count = 0;
    looking->placement->count = 0;
    looking->database = looking->roles.driver->database(looking->roles.connection);
    int rc =
        dbk_mongodb_roles_list(&looking->roles, NULL, "{\"rolesInfo\":1,\"showPrivileges\":true}",
                               "roles", &looking->all_roles, err);
    if (rc == DBK_OK)
        rc =
            dbk_mongodb_roles_list(&looking->roles, "admin", "{\"usersInfo\":{\"forAllDBs\":true}}",
                                   "users", &looking->all_users, err);
    for (size_t i = 0; rc == DBK_OK && i < scope->count; i++) {
        const struct dbk_service_definition *service = &scope->services[i];
        if (!dbk_placement_is_here(scope, service))
            continue;
        rc = check_service(scope, service, err);
        looking->logins[count].service = service;
        if (rc == DBK_OK)
            rc = look_at_user(looking, service, err);
        if (rc == DBK_OK)
            rc = look_at_role(looking, service, err);
        if (rc == DBK_OK)
            rc = look_at_login(looking, &looking->logins[count++], err);
    }
    return rc;
}

static int begin(const struct dbk_placement_scope *scope, struct dbk_placement *placement,
                 struct looking *looking, struct dbk_error *err)
{
    *looking = (struct looking){.placement = placement, .logins = dbk_logins_create(scope)};
    if (looking->logins == NULL)
        return no_memory(err);
    int rc = dbk_mongodb_roles_open(scope, placement->arena, &looking->roles, err);
    return rc < 0 ? rc : look(looking, err);
}

static void end(struct looking *looking, const struct dbk_placement_scope *scope)
{
    dbk_connection_free(looking->roles.connection);
    dbk_logins_free(looking->logins, scope->count);
}

int dbk_mongodb_placement_look(const struct dbk_placement_scope *scope,
                               struct dbk_placement *placement, struct dbk_error *err)
{
    struct looking looking;
    int rc = begin(scope, placement, &looking, err);
    end(&looking, scope);
    return rc;
}

/* ---- Applying ---- */

/* The command with the password in it; wiped and released by the caller. */
static void put_password(const struct looking *looking, const struct dbk_difference *difference,
                         struct dbk_buf *out)
{
    const struct dbk_login *login = looking->logins;
    const char *hidden = strstr(difference->sql, HIDDEN);
    dbk_buf_init(out, COMMAND_SIZE_MAX);
    if (hidden == NULL) {
        dbk_buf_append(out, dbk_slice(difference->sql, strlen(difference->sql) + 1));
        return;
    }
    while (strcmp(login->service->own->name, difference->service) != 0)
        login++;
    dbk_buf_append(out, dbk_slice(difference->sql, (size_t)(hidden - difference->sql)));
    dbk_json_write_string(out, dbk_slice_of(login->password));
    hidden += sizeof(HIDDEN) - 1;
    dbk_buf_append(out, dbk_slice(hidden, strlen(hidden) + 1));
}

static int run(const struct looking *looking, const struct dbk_difference *difference,
               struct dbk_error *err)
{
    struct dbk_buf command;
    struct dbk_error failure = {0};
    if (difference->step == STEP_SECRET)
        return DBK_OK;
    put_password(looking, difference, &command);
    int rc = command.rc < 0
                 ? no_memory(&failure)
                 : dbk_mongodb_roles_ask(&looking->roles, looking->roles.connection,
                                         difference->place, command.data, NULL, &failure);
    if (command.data != NULL)
        explicit_bzero(command.data, command.size);
    dbk_buf_release(&command);
    if (rc == DBK_EDENIED)
        return dbk_error_set(
            err, rc,
            "the user of the database %s may not do it (`%.100s`: %.100s): give it "
            "the role userAdminAnyDatabase; nothing was changed",
            looking->roles.scope->database, difference->sql, failure.message);
    return rc < 0 ? dbk_error_set(err, rc, "`%.120s`: %.200s; nothing was changed", difference->sql,
                                  failure.message)
                  : DBK_OK;
}

/* Takes back what was done; what cannot be is said. */
static void undo(const struct looking *looking, const struct dbk_placement *placement, size_t count,
                 struct dbk_error *err)
{
    while (count-- > 0) {
        const struct dbk_difference *difference = &placement->items[count];
        struct dbk_error failure = {0};
        if (difference->step == STEP_SECRET || difference->undo[0] == '\0')
            continue;
        if (dbk_mongodb_roles_ask(&looking->roles, looking->roles.connection, difference->place,
                                  difference->undo, NULL, &failure) < 0)
            dbk_ignore(dbk_error_set(err, err->code, "%.300s; but `%.100s` was not taken back: %s",
                                     err->message, difference->sql, failure.message));
    }
}

int dbk_mongodb_placement_apply(const struct dbk_placement_scope *scope,
                                const struct dbk_placement *shown, struct dbk_error *err)
{
    struct looking looking;
    struct dbk_placement now = {.arena = shown->arena};
    size_t done = 0;
    bool written = false;
    int rc = begin(scope, &now, &looking, err);
    if (rc == DBK_OK && !dbk_placement_is_same(&now, shown))
        rc = dbk_error_set(err, DBK_EBUSY, "the database %s was changed meanwhile: look again",
                           scope->database);
    if (rc == DBK_OK) {
        written = true;
        rc = dbk_logins_write(scope, looking.logins, err);
    }
    for (; rc == DBK_OK && done < now.count; done += rc == DBK_OK ? 1 : 0)
        rc = run(&looking, &now.items[done], err);
    if (rc < 0 && written) {
        undo(&looking, &now, done, err);
        dbk_logins_remove(scope, looking.logins);
    }
    end(&looking, scope);
    return rc;
}
