/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What services' keys are answered. What is expected follows from the services' files alone; what
 * would change something is asked in a way that is let in and then fails: an append that expects a
 * version which no stream has, any other operation with a parameter that none takes.
 */
#include <stdio.h>
#include <time.h>

#include "cli/link.h"
#include "cli/service_log.h"
#include "json/json.h"

#define PROBE "_daybook_probe"
#define KEY_FILE_SIZE_MAX 256
#define NO_VERSION "4611686018427387904"
/* A key over its limit is waited for: 30 seconds. */
#define THROTTLED_TRIES 300
#define THROTTLED_PAUSE_MS 100

struct trying {
    const struct dbk_book *book;
    const struct dbk_service_definition *service;
    struct dbk_link *link;
    struct dbk_attempts *attempts;
};

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

/* ---- What follows from the files ---- */

/* Whether one of the scopes that the file names is enough. */
static bool has_scope(const struct dbk_service_definition *service, enum dbk_scope_kind kind,
                      const char *name)
{
    for (size_t i = 0; i < service->scope_count; i++) {
        if (dbk_scope_allows(&service->scopes[i], kind, dbk_slice_of(name)))
            return true;
    }
    return false;
}

static bool owns_table(const struct dbk_service_definition *service, const char *category)
{
    size_t size = strlen(service->own->name);
    if (strncmp(category, service->own->name, size) != 0 || category[size] != '.')
        return false;
    for (size_t i = 0; i < service->own->table_count; i++) {
        if (strcmp(service->own->tables[i].name, category + size + 1) == 0)
            return true;
    }
    return false;
}

static bool reads_category(const struct dbk_service_definition *service, const char *category)
{
    return dbk_service_has(service->appends, service->append_count, category) ||
           dbk_service_has(service->reads, service->read_count, category) ||
           owns_table(service, category);
}

static bool meets_category(const struct dbk_service_definition *service, const char *category)
{
    bool meets = reads_category(service, category);
    for (size_t i = 0; !meets && i < service->scope_count; i++)
        meets =
            dbk_scope_meets_category(&service->scopes[i], DBK_SCOPE_READ, dbk_slice_of(category));
    return meets;
}

/* ---- Asking ---- */

/* A try: what is asked, and what is shown of it. */
struct probe {
    const char *thing;
    const char *action;
    const char *method;
    const char *path; /* with its query; names in it need no encoding */
    const char *body; /* NULL: none */
    bool append;
    bool expected;
};

static int send_once(const struct trying *trying, const struct probe *probe,
                     struct dbk_error *failure)
{
    struct dbk_call call;
    struct dbk_answer answer;
    const char *query = strchr(probe->path, '?');
    dbk_answer_init(&answer);
    dbk_call_init(&call, probe->method, "");
    dbk_buf_append(&call.path,
                   dbk_slice(probe->path,
                             query == NULL ? strlen(probe->path) : (size_t)(query - probe->path)));
    dbk_buf_append_text(&call.query, query == NULL ? "" : query + 1);
    dbk_buf_append_text(&call.body, probe->body == NULL ? "" : probe->body);
    if (probe->append)
        dbk_call_header(&call, "If-Match", NO_VERSION);
    int rc = dbk_link_send(trying->link, &call, NULL, NULL, &answer, failure);
    dbk_call_release(&call);
    dbk_answer_release(&answer);
    return rc;
}

/* What fails behind being let in is said, but where the try was made to fail so. */
static const char *why_of(const struct probe *probe, const struct dbk_error *failure)
{
    bool meant = failure->code == DBK_OK || failure->code == DBK_EDENIED ||
                 failure->code == DBK_EKEY || failure->code == DBK_ECONFLICT ||
                 (failure->code == DBK_EINVAL && strstr(probe->path, PROBE "=") != NULL);
    return meant ? NULL : failure->message;
}

static int try(const struct trying *trying, const struct probe *probe, struct dbk_error *err)
{
    struct dbk_arena *arena = trying->attempts->arena;
    struct dbk_error failure = {0};
    int rc = send_once(trying, probe, &failure);
    for (int i = 0; rc == DBK_ETHROTTLED && i < THROTTLED_TRIES; i++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = THROTTLED_PAUSE_MS * 1000000L}, NULL);
        failure = (struct dbk_error){0};
        rc = send_once(trying, probe, &failure);
    }
    if (rc == DBK_ECONNECT || rc == DBK_ESTOPPED || rc == DBK_ENOMEM || rc == DBK_ETHROTTLED)
        return dbk_error_set(err, rc, "%s's try to %s %s: %s", trying->service->own->name,
                             probe->action, probe->thing, failure.message);
    failure.code = rc;
    const char *why = why_of(probe, &failure);
    const struct dbk_attempt attempt = {
        .service = trying->service->own->name,
        .thing = dbk_arena_copy(arena, dbk_slice_of(probe->thing)).data,
        .action = probe->action,
        .sql = dbk_arena_format(arena, "%s %s", probe->method, probe->path),
        .why = why == NULL ? NULL : dbk_arena_copy(arena, dbk_slice_of(why)).data,
        .expected = probe->expected,
        .got = rc != DBK_EDENIED && rc != DBK_EKEY};
    if (attempt.thing == NULL || attempt.sql == NULL || (why != NULL && attempt.why == NULL))
        return no_memory(err);
    trying->attempts->surprises += attempt.got != attempt.expected ? 1 : 0;
    return dbk_attempts_add(trying->attempts, &attempt, err);
}

/* ---- Streams ---- */

static int try_stream(const struct trying *trying, const char *stream, struct dbk_error *err)
{
    const struct dbk_service_definition *service = trying->service;
    char thing[DBK_SCOPE_SIZE_MAX + 32];
    char path[DBK_SCOPE_SIZE_MAX + 64];
    char category[DBK_SCOPE_SIZE_MAX + 32];
    (void)snprintf(thing, sizeof(thing), "stream %s", stream);
    (void)snprintf(category, sizeof(category), "%.*s", (int)strcspn(stream, "-"), stream);
    (void)snprintf(path, sizeof(path), "/streams/%s", stream);
    int rc = try(
        trying,
        &(struct probe){thing, "append", "POST", path, "{\"type\":\"" PROBE "\",\"data\":{}}", true,
                        dbk_service_has(service->appends, service->append_count, category) ||
                            has_scope(service, DBK_SCOPE_APPEND, stream)},
        err);
    (void)snprintf(path, sizeof(path), "/streams/%s?limit=1", stream);
    return rc < 0 ? rc
                  : try(trying,
                        &(struct probe){thing, "read", "GET", path, NULL, false,
                                        reads_category(service, category) ||
                                            has_scope(service, DBK_SCOPE_READ, stream)},
                        err);
}

static int try_category(const struct trying *trying, const char *category, struct dbk_error *err)
{
    char thing[DBK_SCOPE_SIZE_MAX + 32];
    char path[DBK_SCOPE_SIZE_MAX + 64];
    (void)snprintf(thing, sizeof(thing), "category %s", category);
    (void)snprintf(path, sizeof(path), "/events?category=%s&limit=1", category);
    int rc = try(trying,
                 &(struct probe){thing, "read", "GET", path, NULL, false,
                                 meets_category(trying->service, category)},
                 err);
    if (rc < 0)
        return rc;
    bool meets = reads_category(trying->service, category);
    (void)snprintf(path, sizeof(path), "%s-", category);
    for (size_t i = 0; !meets && i < trying->service->scope_count; i++)
        meets =
            dbk_scope_meets_prefix(&trying->service->scopes[i], DBK_SCOPE_READ, dbk_slice_of(path));
    (void)snprintf(thing, sizeof(thing), "streams %s-*", category);
    (void)snprintf(path, sizeof(path), "/events?stream_prefix=%s-&limit=1", category);
    rc = try(trying, &(struct probe){thing, "read", "GET", path, NULL, false, meets}, err);
    (void)snprintf(thing, sizeof(thing), "%s-" PROBE, category);
    return rc < 0 ? rc : try_stream(trying, thing, err);
}

/* A stream that a scope is about, of this service or another. */
static int try_scope(const struct trying *trying, const struct dbk_scope *scope,
                     struct dbk_error *err)
{
    char stream[DBK_SCOPE_SIZE_MAX + 32];
    struct dbk_slice pattern = scope->pattern;
    bool open = pattern.size > 0 && pattern.data[pattern.size - 1] == '*';
    if (scope->kind != DBK_SCOPE_APPEND && scope->kind != DBK_SCOPE_READ)
        return DBK_OK;
    pattern.size -= open ? 1 : 0;
    bool whole = !open && memchr(pattern.data, '-', pattern.size) == NULL;
    (void)snprintf(stream, sizeof(stream), "%.*s%s", DBK_SLICE_ARGS(pattern),
                   open    ? PROBE
                   : whole ? "-" PROBE
                           : "");
    return try_stream(trying, stream, err);
}

static int try_own_categories(const struct trying *trying,
                              const struct dbk_service_definition *other, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < other->append_count; i++)
        rc = try_category(trying, other->appends[i], err);
    for (size_t i = 0; rc == DBK_OK && i < other->own->table_count; i++) {
        char category[DBK_SCOPE_SIZE_MAX];
        (void)snprintf(category, sizeof(category), "%s.%s", other->own->name,
                       other->own->tables[i].name);
        rc = try_category(trying, category, err);
    }
    for (size_t i = 0; rc == DBK_OK && i < other->scope_count; i++)
        rc = try_scope(trying, &other->scopes[i], err);
    return rc;
}

/* A category that has a fold, and that nobody appends to, may be read. */
static bool is_appended(const struct dbk_book *book, const char *category)
{
    for (size_t i = 0; i < book->service_count; i++) {
        if (dbk_service_has(book->service_definitions[i].appends,
                            book->service_definitions[i].append_count, category))
            return true;
    }
    return strchr(category, '.') != NULL;
}

static int try_streams(const struct trying *trying, struct dbk_error *err)
{
    static const char *const nobodys[] = {PROBE "-1", "$access-keys", "$access"};
    const struct dbk_book *book = trying->book;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < book->service_count; i++)
        rc = try_own_categories(trying, &book->service_definitions[i], err);
    for (size_t i = 0; rc == DBK_OK && i < book->fold_count; i++) {
        if (!is_appended(book, book->folds[i].name))
            rc = try_category(trying, book->folds[i].name, err);
    }
    for (size_t i = 0; rc == DBK_OK && i < sizeof(nobodys) / sizeof(nobodys[0]); i++)
        rc = try_stream(trying, nobodys[i], err);
    return rc;
}

/* ---- Operations ---- */

/* Those that need a scope whatever they are about. */
static const struct operation {
    const char *method;
    const char *path;
    enum dbk_scope_kind kind;
} operations[] = {
    {"GET", "/metrics", DBK_SCOPE_METRICS},
    {"GET", "/events/1/timeline", DBK_SCOPE_READ_ONLY},
    {"DELETE", "/streams/" PROBE "-1", DBK_SCOPE_ADMIN},
    {"POST", "/streams/" PROBE "-1/rules", DBK_SCOPE_ADMIN},
    {"POST", "/compact", DBK_SCOPE_ADMIN},
    {"POST", "/upgrade", DBK_SCOPE_ADMIN},
    {"POST", "/move", DBK_SCOPE_ADMIN},
    {"POST", "/reopen", DBK_SCOPE_ADMIN},
    {"GET", "/trace/1", DBK_SCOPE_READ_ONLY},
    {"GET", "/keys", DBK_SCOPE_ADMIN},
    {"POST", "/keys/rotate", DBK_SCOPE_ADMIN},
    {"GET", "/access/keys", DBK_SCOPE_ADMIN},
    {"POST", "/access/keys", DBK_SCOPE_ADMIN},
    {"POST", "/access/keys/" PROBE "/limit", DBK_SCOPE_ADMIN},
    {"POST", "/access/keys/" PROBE "/rotate", DBK_SCOPE_ADMIN},
    {"POST", "/access/keys/" PROBE "/scopes", DBK_SCOPE_ADMIN},
    {"DELETE", "/access/keys/" PROBE, DBK_SCOPE_ADMIN},
    {"GET", "/advice", DBK_SCOPE_READ_ONLY},
    {"GET", "/sagas", DBK_SCOPE_READ_ONLY},
    {"GET", "/sagas/" PROBE, DBK_SCOPE_READ_ONLY},
    {"GET", "/sagas/" PROBE "/1", DBK_SCOPE_READ_ONLY},
    {"POST", "/sagas/" PROBE "/1/retry", DBK_SCOPE_ADMIN},
    {"POST", "/sagas/" PROBE "/1/cancel", DBK_SCOPE_ADMIN},
    {"POST", "/captures/" PROBE "/resnapshot", DBK_SCOPE_ADMIN},
    {"POST", "/subjects/" PROBE "/forget", DBK_SCOPE_FORGET},
    {"GET", "/forgotten", DBK_SCOPE_FORGET},
    {"POST", "/forgotten/run", DBK_SCOPE_FORGET},
    {"GET", "/forgotten/" PROBE, DBK_SCOPE_FORGET},
    {"GET", "/forgotten/" PROBE "/certificate", DBK_SCOPE_FORGET},
    {"POST", "/sql", DBK_SCOPE_READ_ONLY},
};

/* Asked with a parameter that no operation takes. */
static int try_operation(const struct trying *trying, const char *thing, const char *action,
                         const char *method, const char *path, bool expected, struct dbk_error *err)
{
    char whole[512];
    (void)snprintf(whole, sizeof(whole), "%s?" PROBE "=1", path);
    return try(trying, &(struct probe){thing, action, method, whole, NULL, false, expected}, err);
}

static int try_operations(const struct trying *trying, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < sizeof(operations) / sizeof(operations[0]); i++) {
        const struct operation *operation = &operations[i];
        rc = try_operation(trying, operation->path, operation->method, operation->method,
                           operation->path, has_scope(trying->service, operation->kind, ""), err);
    }
    return rc;
}

/* Ways to a thing by its name. */
static const struct way {
    const char *what; /* "model" */
    const char *action;
    const char *method;
    const char *before;
    const char *behind;
    enum dbk_scope_kind kind;
} ways[] = {
    {"model", "read", "GET", "/models/", "/tables/" PROBE, DBK_SCOPE_MODEL},
    {"model", "look at", "GET", "/models/", "", DBK_SCOPE_MODEL},
    {"model", "rebuild", "POST", "/models/", "/rebuild", DBK_SCOPE_OPERATE},
    {"model", "read letters", "GET", "/models/", "/letters", DBK_SCOPE_OPERATE},
    {"model", "read a letter", "GET", "/models/", "/letters/1", DBK_SCOPE_OPERATE},
    {"model", "retry letters", "POST", "/models/", "/letters/retry", DBK_SCOPE_OPERATE},
    {"model", "drop letters", "POST", "/models/", "/letters/drop", DBK_SCOPE_OPERATE},
    {"view", "read", "GET", "/views/", "", DBK_SCOPE_VIEW},
    {"view", "look at", "GET", "/views/", "/status", DBK_SCOPE_VIEW},
    {"view", "follow", "GET", "/views/", "/changes", DBK_SCOPE_VIEW},
    {"view", "explain", "GET", "/views/", "/explain", DBK_SCOPE_VIEW},
    {"view", "look at alerts", "GET", "/views/", "/alerts", DBK_SCOPE_VIEW},
    {"view", "look at an alert", "GET", "/views/", "/alerts/" PROBE, DBK_SCOPE_VIEW},
    {"view", "do with an alert", "POST", "/views/", "/alerts/" PROBE "/" PROBE, DBK_SCOPE_OPERATE},
    {"view", "verify", "POST", "/views/", "/verify", DBK_SCOPE_OPERATE},
    {"view", "refresh", "POST", "/views/", "/refresh", DBK_SCOPE_OPERATE},
    {"view", "roll back", "POST", "/views/", "/rollback", DBK_SCOPE_OPERATE},
    {"query", "ask", "GET", "/queries/", "", DBK_SCOPE_QUERY},
    {"query", "report", "GET", "/reports/", "", DBK_SCOPE_QUERY},
    {"group", "look at", "GET", "/groups/", "-" PROBE, DBK_SCOPE_GROUP},
    {"group", "make", "PUT", "/groups/", "-" PROBE, DBK_SCOPE_GROUP},
    {"group", "forget", "DELETE", "/groups/", "-" PROBE, DBK_SCOPE_GROUP},
    {"group", "follow", "GET", "/groups/", "-" PROBE "/events", DBK_SCOPE_GROUP},
    {"group", "lease", "POST", "/groups/", "-" PROBE "/read", DBK_SCOPE_GROUP},
    {"group", "acknowledge", "POST", "/groups/", "-" PROBE "/ack", DBK_SCOPE_GROUP},
    {"group", "give back", "POST", "/groups/", "-" PROBE "/nack", DBK_SCOPE_GROUP},
    {"group", "read parked", "GET", "/groups/", "-" PROBE "/parked", DBK_SCOPE_GROUP},
    {"group", "replay", "POST", "/groups/", "-" PROBE "/parked/replay", DBK_SCOPE_GROUP},
    {"group", "drop", "POST", "/groups/", "-" PROBE "/parked/drop", DBK_SCOPE_GROUP},
    {"capture", "wait for", "GET", "/captures/", "/position", DBK_SCOPE_CAPTURE},
    {"command", "do", "POST", "/commands/", "", DBK_SCOPE_COMMAND},
};

/* expected: by the rest of the service's file; its scopes come on top. */
static int try_ways(const struct trying *trying, const char *what, const char *name, bool expected,
                    struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < sizeof(ways) / sizeof(ways[0]); i++) {
        const struct way *way = &ways[i];
        char thing[DBK_SCOPE_SIZE_MAX + 32];
        char path[DBK_SCOPE_SIZE_MAX + 64];
        char scoped[DBK_SCOPE_SIZE_MAX + 32];
        if (strcmp(way->what, what) != 0)
            continue;
        bool group = strcmp(what, "group") == 0;
        (void)snprintf(thing, sizeof(thing), "%s %s%s", what, name, group ? "-" PROBE : "");
        (void)snprintf(scoped, sizeof(scoped), "%s%s", name, group ? "-" PROBE : "");
        (void)snprintf(path, sizeof(path), "%s%s%s", way->before, name, way->behind);
        rc = try_operation(trying, thing, way->action, way->method, path,
                           expected || has_scope(trying->service, way->kind, scoped), err);
    }
    return rc;
}

/* Of views and queries what a service with models may is not in the files: what they read is. */
static int try_reads(const struct trying *trying, struct dbk_error *err)
{
    const struct dbk_book *book = trying->book;
    bool certain = trying->service->model_count == 0;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && certain && i < book->view_count; i++)
        rc = try_ways(trying, "view", book->views[i].name, false, err);
    for (size_t i = 0; rc == DBK_OK && certain && i < book->query_count; i++)
        rc = try_ways(trying, "query", book->queries[i].name, false, err);
    for (size_t i = 0; rc == DBK_OK && i < book->model_count; i++)
        rc = try_ways(trying, "model", book->models[i].name,
                      dbk_service_has(trying->service->models, trying->service->model_count,
                                      book->models[i].name),
                      err);
    return rc;
}

static int try_names(const struct trying *trying, struct dbk_error *err)
{
    const struct dbk_book *book = trying->book;
    const struct dbk_service_definition *service = trying->service;
    int rc = try_reads(trying, err);
    for (size_t i = 0; rc == DBK_OK && i < book->service_count; i++) {
        const char *name = book->services[i].name;
        bool own = strcmp(name, service->own->name) == 0;
        size_t size = strlen(service->own->name);
        bool begun = strncmp(name, service->own->name, size) == 0 && name[size] == '-';
        rc = try_ways(trying, "group", name, own || begun, err);
        if (rc == DBK_OK)
            rc = try_ways(trying, "capture", name, own, err);
    }
    for (size_t i = 0; rc == DBK_OK && i < book->service_command_count; i++)
        rc = try_ways(trying, "command", book->service_commands[i].name,
                      book->service_commands[i].service == service->own, err);
    for (size_t i = 0; rc == DBK_OK && i < book->command_count; i++)
        rc = try_ways(trying, "command", book->commands[i].name, service->append_count > 0, err);
    return rc;
}

/* ---- All ---- */

/* The whole book at once. */
static int try_book(const struct trying *trying, struct dbk_error *err)
{
    const struct dbk_service_definition *service = trying->service;
    const char *category = service->append_count > 0 ? service->appends[0] : PROBE;
    bool all = has_scope(service, DBK_SCOPE_READ_ONLY, "");
    bool own = all;
    char body[1024];
    for (size_t i = 0; i < service->scope_count; i++) {
        bool read = service->scopes[i].kind == DBK_SCOPE_READ;
        all = all || (read && dbk_slice_equal_text(service->scopes[i].pattern, "*"));
        own = own || (read && dbk_slice_equal_text(service->scopes[i].pattern, "$*"));
    }
    (void)snprintf(body, sizeof(body),
                   "{\"events\":[{\"stream\":\"%s-" PROBE "\",\"type\":\"" PROBE "\",\"data\":{}}],"
                   "\"expect\":[{\"stream\":\"%s-" PROBE "\",\"version\":" NO_VERSION "}],"
                   "\"condition\":{\"fail_if_match\":[{\"types\":[\"" PROBE "\"]}]}}",
                   category, category);
    bool appends =
        service->append_count > 0 || has_scope(service, DBK_SCOPE_APPEND, PROBE "-" PROBE);
    int rc = try(trying,
                 &(struct probe){"every stream", "set conditions on", "POST", "/events", body,
                                 false, all && appends},
                 err);
    return rc < 0 ? rc
                  : try(trying,
                        &(struct probe){"the book's own streams", "read", "GET",
                                        "/events?hidden=true&limit=1", NULL, false, own},
                        err);
}

/* Without a key, and with one that is wrong by a letter. */
static int try_doors(struct trying *trying, struct dbk_slice key, struct dbk_error *err)
{
    char other[DBK_KEY_TEXT_SIZE];
    const struct probe probe = {
        "the book", "read without a key", "GET", "/events?limit=1", NULL, false, false};
    struct probe wrong = probe;
    int rc = dbk_link_as(trying->link, (struct dbk_slice){0}, err);
    if (rc == DBK_OK)
        rc = try(trying, &probe, err);
    (void)snprintf(other, sizeof(other), "%.*s", DBK_SLICE_ARGS(key));
    other[key.size - 1] = other[key.size - 1] == 'A' ? 'B' : 'A';
    wrong.action = "read with a wrong key";
    if (rc == DBK_OK)
        rc = dbk_link_as(trying->link, dbk_slice_of(other), err);
    if (rc == DBK_OK)
        rc = try(trying, &wrong, err);
    explicit_bzero(other, sizeof(other));
    return rc < 0 ? rc : dbk_link_as(trying->link, key, err);
}

/* Without a good key nothing is tried: the failure stands for all of it. */
static int add_failure(const struct trying *trying, const struct dbk_error *failure,
                       struct dbk_error *err)
{
    const struct dbk_attempt attempt = {
        .service = trying->service->own->name,
        .thing = "the book",
        .action = "log in",
        .sql = "",
        .why = dbk_arena_copy(trying->attempts->arena, dbk_slice_of(failure->message)).data,
        .expected = true};
    trying->attempts->surprises++;
    return attempt.why == NULL ? no_memory(err) : dbk_attempts_add(trying->attempts, &attempt, err);
}

static int try_service(struct trying *trying, struct dbk_error *err)
{
    struct dbk_buf key;
    struct dbk_error failure = {0};
    const struct probe login = {"the book", "log in", "GET", "/", NULL, false, true};
    size_t before = trying->attempts->surprises;
    dbk_buf_init(&key, KEY_FILE_SIZE_MAX);
    int rc = dbk_service_log_read_key(trying->service, &key, &failure);
    if (rc < 0) {
        rc = add_failure(trying, &failure, err);
    } else {
        rc = try_doors(trying, dbk_buf_slice(&key), err);
        if (rc == DBK_OK)
            rc = try(trying, &login, err);
        bool in = trying->attempts->surprises == before;
        if (rc == DBK_OK && in)
            rc = try_streams(trying, err);
        if (rc == DBK_OK && in)
            rc = try_book(trying, err);
        if (rc == DBK_OK && in)
            rc = try_operations(trying, err);
        if (rc == DBK_OK && in)
            rc = try_names(trying, err);
    }
    explicit_bzero(key.data, key.size);
    dbk_buf_release(&key);
    return rc;
}

/* Of all keys of a service, whose secrets nobody has here, the book is asked. */
static int ask_keys(const struct trying *trying, const struct dbk_placement *found,
                    struct dbk_error *err)
{
    struct dbk_attempt attempt = {.service = trying->service->own->name,
                                  .thing = "its keys",
                                  .action = "have more than its file says",
                                  .sql = "GET /access/keys",
                                  .asked = true};
    for (size_t i = 0; i < found->count && !attempt.got; i++) {
        const struct dbk_difference *difference = &found->items[i];
        attempt.got = difference->step == DBK_SERVICE_LOG_SCOPES &&
                      strcmp(difference->service, attempt.service) == 0;
        attempt.why = attempt.got ? difference->what : NULL;
    }
    trying->attempts->surprises += attempt.got ? 1 : 0;
    return dbk_attempts_add(trying->attempts, &attempt, err);
}

/* A file with somebody else's key is tried as it is. */
static int look(const struct dbk_arguments *arguments, const struct dbk_book *book,
                struct dbk_placement *found, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_service_log_look(arguments, book, found, &failure);
    if (rc < 0 && rc != DBK_EBOOK)
        *err = failure;
    return rc == DBK_EBOOK ? DBK_OK : rc;
}

int dbk_service_log_verify(const struct dbk_arguments *arguments, const struct dbk_book *book,
                           struct dbk_attempts *attempts, struct dbk_error *err)
{
    struct trying trying = {.book = book, .attempts = attempts};
    struct dbk_placement found = {.arena = attempts->arena};
    int rc = look(arguments, book, &found, err);
    /* To one that is open for reading nothing may be appended, whoever asks. */
    if (rc == DBK_OK)
        rc = dbk_link_open(arguments, DBK_ENGINE_WRITE, &trying.link, err);
    for (size_t i = 0; rc == DBK_OK && i < book->service_count; i++) {
        trying.service = &book->service_definitions[i];
        if (trying.service->key == NULL ||
            !dbk_service_is_named(arguments, trying.service->own->name))
            continue;
        rc = ask_keys(&trying, &found, err);
        if (rc == DBK_OK)
            rc = try_service(&trying, err);
    }
    dbk_link_free(trying.link);
    return rc;
}
