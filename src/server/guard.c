/* SPDX-License-Identifier: Apache-2.0 */
#include "server/guard.h"

#include <stdio.h>

enum right {
    NOBODY,   /* also without a key; the handler tells less then */
    ANY_KEY,  /* what it says is of no stream, model or person */
    SCOPE,    /* of a kind, with the name in a part of the path; without a name for others */
    LISTED,   /* the handler leaves out what it may not see */
    FILTERED, /* a read of the book: what it names must be within reach, the rest is left out */
    COMMAND,  /* and the handler judges the streams */
    GROUPED,  /* as SCOPE, and the group's filter must be within what the key reads */
    IN_BODY,  /* the handler judges what the body or the query names */
};

struct rule {
    const char *method;
    const char *path;
    enum right right;
    enum dbk_scope_kind kind;
    size_t part; /* 0: no name */
};

static const struct rule rules[] = {
    {"GET", "/", ANY_KEY, DBK_SCOPE_COUNT, 0},
    {"GET", "/healthz", NOBODY, DBK_SCOPE_METRICS, 0},
    {"GET", "/metrics", SCOPE, DBK_SCOPE_METRICS, 0},
    {"GET", "/openapi.json", ANY_KEY, DBK_SCOPE_COUNT, 0},
    {"GET", "/events", FILTERED, DBK_SCOPE_READ, 0},
    {"POST", "/events", IN_BODY, DBK_SCOPE_APPEND, 0},
    {"GET", "/events/{id}/timeline", SCOPE, DBK_SCOPE_READ_ONLY, 0},
    {"GET", "/streams/{stream}", SCOPE, DBK_SCOPE_READ, 1},
    {"POST", "/streams/{stream}", SCOPE, DBK_SCOPE_APPEND, 1},
    {"DELETE", "/streams/{stream}", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"GET", "/streams/{stream}/rules", SCOPE, DBK_SCOPE_READ, 1},
    {"POST", "/streams/{stream}/rules", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"POST", "/compact", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"POST", "/upgrade", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"POST", "/move", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"POST", "/reopen", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"GET", "/streams/{stream}/state", SCOPE, DBK_SCOPE_READ, 1},
    {"GET", "/streams/{stream}/log", SCOPE, DBK_SCOPE_READ, 1},
    {"GET", "/trace/{id}", SCOPE, DBK_SCOPE_READ_ONLY, 0},
    {"GET", "/groups", LISTED, DBK_SCOPE_GROUP, 0},
    {"GET", "/groups/{group}", GROUPED, DBK_SCOPE_GROUP, 1},
    {"PUT", "/groups/{group}", SCOPE, DBK_SCOPE_GROUP, 1},
    {"DELETE", "/groups/{group}", SCOPE, DBK_SCOPE_GROUP, 1},
    {"GET", "/groups/{group}/events", GROUPED, DBK_SCOPE_GROUP, 1},
    {"POST", "/groups/{group}/read", GROUPED, DBK_SCOPE_GROUP, 1},
    {"POST", "/groups/{group}/ack", SCOPE, DBK_SCOPE_GROUP, 1},
    {"POST", "/groups/{group}/nack", SCOPE, DBK_SCOPE_GROUP, 1},
    {"GET", "/groups/{group}/parked", GROUPED, DBK_SCOPE_GROUP, 1},
    {"POST", "/groups/{group}/parked/replay", SCOPE, DBK_SCOPE_GROUP, 1},
    {"POST", "/groups/{group}/parked/drop", SCOPE, DBK_SCOPE_GROUP, 1},
    {"GET", "/keys", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"POST", "/keys/rotate", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"GET", "/access/keys", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"POST", "/access/keys", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"POST", "/access/keys/{key}/limit", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"POST", "/access/keys/{key}/rotate", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"POST", "/access/keys/{key}/scopes", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"DELETE", "/access/keys/{key}", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"POST", "/commands/{name}", COMMAND, DBK_SCOPE_COMMAND, 1},
    {"GET", "/advice", SCOPE, DBK_SCOPE_READ_ONLY, 0},
    {"GET", "/queries", LISTED, DBK_SCOPE_QUERY, 0},
    {"GET", "/queries/{name}", SCOPE, DBK_SCOPE_QUERY, 1},
    {"GET", "/reports/{name}", SCOPE, DBK_SCOPE_QUERY, 1},
    {"GET", "/models", LISTED, DBK_SCOPE_MODEL, 0},
    {"GET", "/models/{model}", SCOPE, DBK_SCOPE_MODEL, 1},
    {"GET", "/models/{model}/tables/{table}", SCOPE, DBK_SCOPE_MODEL, 1},
    {"POST", "/models/{model}/rebuild", SCOPE, DBK_SCOPE_OPERATE, 1},
    {"GET", "/models/{model}/letters", SCOPE, DBK_SCOPE_OPERATE, 1},
    {"GET", "/models/{model}/letters/{position}", SCOPE, DBK_SCOPE_OPERATE, 1},
    {"POST", "/models/{model}/letters/retry", SCOPE, DBK_SCOPE_OPERATE, 1},
    {"POST", "/models/{model}/letters/drop", SCOPE, DBK_SCOPE_OPERATE, 1},
    {"GET", "/sagas", SCOPE, DBK_SCOPE_READ_ONLY, 0},
    {"GET", "/sagas/{saga}", SCOPE, DBK_SCOPE_READ_ONLY, 0},
    {"GET", "/sagas/{saga}/{instance}", SCOPE, DBK_SCOPE_READ_ONLY, 0},
    {"POST", "/sagas/{saga}/{instance}/retry", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"POST", "/sagas/{saga}/{instance}/cancel", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"GET", "/captures", LISTED, DBK_SCOPE_CAPTURE, 0},
    {"GET", "/captures/{service}/position", SCOPE, DBK_SCOPE_CAPTURE, 1},
    {"POST", "/captures/{service}/resnapshot", SCOPE, DBK_SCOPE_ADMIN, 0},
    {"GET", "/views", LISTED, DBK_SCOPE_VIEW, 0},
    {"GET", "/views/{view}", SCOPE, DBK_SCOPE_VIEW, 1},
    {"GET", "/views/{view}/status", SCOPE, DBK_SCOPE_VIEW, 1},
    {"GET", "/views/{view}/changes", SCOPE, DBK_SCOPE_VIEW, 1},
    {"GET", "/views/{view}/alerts", SCOPE, DBK_SCOPE_VIEW, 1},
    {"GET", "/views/{view}/alerts/{alert}", SCOPE, DBK_SCOPE_VIEW, 1},
    {"POST", "/views/{view}/alerts/{alert}/{action}", SCOPE, DBK_SCOPE_OPERATE, 1},
    {"GET", "/views/{view}/explain", SCOPE, DBK_SCOPE_VIEW, 1},
    {"POST", "/views/{view}/verify", SCOPE, DBK_SCOPE_OPERATE, 1},
    {"POST", "/views/{view}/refresh", SCOPE, DBK_SCOPE_OPERATE, 1},
    {"POST", "/views/{view}/rollback", SCOPE, DBK_SCOPE_OPERATE, 1},
    {"GET", "/plan", LISTED, DBK_SCOPE_VIEW, 0},
    {"GET", "/proof/checkpoint", ANY_KEY, DBK_SCOPE_COUNT, 0},
    {"GET", "/proof/inclusion", IN_BODY, DBK_SCOPE_READ, 0},
    {"GET", "/proof/consistency", ANY_KEY, DBK_SCOPE_COUNT, 0},
    {"GET", "/proof/key", ANY_KEY, DBK_SCOPE_COUNT, 0},
    {"POST", "/subjects/{subject}/forget", SCOPE, DBK_SCOPE_FORGET, 0},
    {"GET", "/forgotten", SCOPE, DBK_SCOPE_FORGET, 0},
    {"POST", "/forgotten/run", SCOPE, DBK_SCOPE_FORGET, 0},
    {"GET", "/forgotten/{key}", SCOPE, DBK_SCOPE_FORGET, 0},
    {"GET", "/forgotten/{key}/certificate", SCOPE, DBK_SCOPE_FORGET, 0},
    {"POST", "/sql", SCOPE, DBK_SCOPE_READ_ONLY, 0},
};

static const struct rule *find(const char *method, const char *path)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (strcmp(rules[i].method, method) == 0 && strcmp(rules[i].path, path) == 0)
            return &rules[i];
    return NULL;
}

bool dbk_guard_is_nobodys(const char *method, const char *path)
{
    const struct rule *rule = find(method, path);
    return rule != NULL && rule->right == NOBODY;
}

bool dbk_guard_has_rule(const char *method, const char *path)
{
    return find(method, path) != NULL;
}

static void note(const struct dbk_api_call *call, enum dbk_scope_kind kind, struct dbk_slice name)
{
    dbk_caller_denied(call->request->caller, call->route->method, call->route->path, kind, name);
}

/* Names the scope that would do: of streams their category, never the stream. */
static int deny(const struct dbk_api_call *call, enum dbk_scope_kind kind, struct dbk_slice name,
                struct dbk_error *err)
{
    note(call, kind, name);
    bool streams = kind == DBK_SCOPE_APPEND || kind == DBK_SCOPE_READ;
    struct dbk_slice text = streams ? dbk_stream_category(name) : name;
    bool named = dbk_scope_has_name(kind);
    return dbk_error_set(err, DBK_EDENIED, "key %s may not do this: it needs the scope %s%s%.*s",
                         dbk_caller_id(call->request->caller), dbk_scope_word(kind),
                         named ? ":" : "", named ? (int)text.size : 0, text.data);
}

bool dbk_guard_asks(const struct dbk_api_call *call)
{
    return call->request->access != NULL && dbk_access_asks(call->request->access);
}

/* 1: there is nothing to judge; 0: there is a key to judge. A request that came before the book's
   first key was made has none, and goes on no further. */
static int begin(const struct dbk_api_call *call, struct dbk_error *err)
{
    if (!dbk_guard_asks(call))
        return 1;
    return call->request->caller != NULL ? 0 : dbk_error_set(err, DBK_EKEY, "an API key is needed");
}

static int judge_scope(const struct rule *rule, const struct dbk_api_call *call,
                       struct dbk_error *err)
{
    struct dbk_slice name = {0};
    if (rule->part > 0)
        name = call->parts[rule->part];
    return dbk_caller_may(call->request->caller, rule->kind, name)
               ? DBK_OK
               : deny(call, rule->kind, name, err);
}

/* Each of several names with a comma between. */
static int judge_categories(const struct dbk_api_call *call, struct dbk_slice names,
                            struct dbk_error *err)
{
    for (size_t at = 0; at <= names.size;) {
        const char *comma = at == names.size ? NULL : memchr(names.data + at, ',', names.size - at);
        size_t end = comma == NULL ? names.size : (size_t)(comma - names.data);
        struct dbk_slice category = dbk_slice(names.data + at, end - at);
        if (!dbk_caller_meets_category(call->request->caller, DBK_SCOPE_READ, category))
            return deny(call, DBK_SCOPE_READ, category, err);
        at = end + 1;
    }
    return DBK_OK;
}

/* A read of the book passes when the key may see something of each category, and of the prefix,
   that it names. */
static int judge_filter(const struct dbk_api_call *call, struct dbk_error *err)
{
    const struct dbk_caller *caller = call->request->caller;
    struct dbk_slice text = {0};
    bool hidden = false;
    int rc = dbk_call_flag(call, "hidden", &hidden, err);
    if (rc < 0)
        return rc;
    if (hidden && !dbk_caller_reads_own(caller))
        return deny(call, DBK_SCOPE_READ, DBK_SLICE_LITERAL("$*"), err);
    if (dbk_caller_reads_all(caller))
        return DBK_OK;
    if (!dbk_caller_reads_some(caller)) {
        note(call, DBK_SCOPE_READ, (struct dbk_slice){0});
        return dbk_error_set(err, DBK_EDENIED,
                             "key %s may not do this: it reads no streams, and needs a scope such "
                             "as read:order",
                             dbk_caller_id(caller));
    }
    if (dbk_call_text(call, "stream_prefix", &text) && text.size > 0 &&
        !dbk_caller_meets_prefix(caller, DBK_SCOPE_READ, text))
        return deny(call, DBK_SCOPE_READ, text, err);
    return dbk_call_text(call, "category", &text) ? judge_categories(call, text, err) : DBK_OK;
}

struct judging {
    const struct dbk_api_call *call;
    struct dbk_error *err;
};

static int judge_settings(struct dbk_slice name, const struct dbk_group_status *status,
                          void *context)
{
    const struct judging *judging = context;
    const struct dbk_json_node *root = NULL;
    (void)name;
    int rc = dbk_json_parse(judging->call->scratch->json, status->settings, &root, judging->err);
    return rc < 0 ? rc : dbk_guard_group(judging->call, root, judging->err);
}

/* Whoever made the group may read more. One that is not there its handler misses. */
static int judge_group(const struct dbk_api_call *call, struct dbk_error *err)
{
    struct judging judging = {call, err};
    struct dbk_error missing = {0};
    int rc = dbk_group_show(dbk_engine_groups(call->engine), call->parts[1], judge_settings,
                            &judging, &missing);
    if (rc < 0 && rc != DBK_ENOTFOUND && err->code == DBK_OK)
        *err = missing;
    return rc == DBK_ENOTFOUND ? DBK_OK : rc;
}

int dbk_guard_judge(const struct dbk_route *route, struct dbk_api_call *call, struct dbk_error *err)
{
    if (!dbk_guard_asks(call))
        return DBK_OK;
    const struct rule *rule = find(route->method, route->path);
    if (rule != NULL && rule->right == NOBODY)
        return DBK_OK;
    if (call->request->caller == NULL)
        return dbk_error_set(err, DBK_EKEY, "an API key is needed");
    if (rule == NULL)
        return dbk_error_set(err, DBK_EDENIED, "no key may do this: it has no rule");
    if (rule->right == SCOPE || rule->right == GROUPED) {
        int rc = judge_scope(rule, call, err);
        return rc == DBK_OK && rule->right == GROUPED ? judge_group(call, err) : rc;
    }
    if (rule->right == COMMAND &&
        !dbk_caller_may_command(call->request->caller, call->parts[rule->part],
                                (struct dbk_slice){0}))
        return deny(call, DBK_SCOPE_COMMAND, call->parts[rule->part], err);
    return rule->right == FILTERED ? judge_filter(call, err) : DBK_OK;
}

bool dbk_guard_is_open(struct dbk_slice method, struct dbk_slice path)
{
    if (dbk_slice_equal_text(method, "HEAD"))
        method = DBK_SLICE_LITERAL("GET");
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (rules[i].right == NOBODY && dbk_slice_equal_text(method, rules[i].method) &&
            dbk_slice_equal_text(path, rules[i].path))
            return true;
    return false;
}

bool dbk_guard_has(const struct dbk_api_call *call, enum dbk_scope_kind kind)
{
    const struct dbk_caller *caller = call->request->caller;
    return !dbk_guard_asks(call) ||
           (caller != NULL && dbk_caller_may(caller, kind, (struct dbk_slice){0}));
}

bool dbk_guard_sees(const struct dbk_api_call *call, enum dbk_scope_kind kind,
                    struct dbk_slice name)
{
    const struct dbk_caller *caller = call->request->caller;
    return !dbk_guard_asks(call) ||
           (caller != NULL && (dbk_caller_may(caller, kind, name) ||
                               dbk_caller_may(caller, DBK_SCOPE_READ_ONLY, (struct dbk_slice){0})));
}

bool dbk_guard_filters(const struct dbk_api_call *call)
{
    const struct dbk_caller *caller = call->request->caller;
    return dbk_guard_asks(call) && (caller == NULL || !dbk_caller_reads_all(caller));
}

int dbk_guard_command(void *context, struct dbk_slice stream, struct dbk_error *err)
{
    const struct dbk_api_call *call = context;
    struct dbk_slice name = call->parts[1];
    int rc = begin(call, err);
    if (rc < 0)
        return rc;
    if (rc == 1 || dbk_caller_may_command(call->request->caller, name, stream))
        return DBK_OK;
    note(call, DBK_SCOPE_COMMAND, name);
    return dbk_error_set(err, DBK_EDENIED,
                         "key %s may not do %.*s about a stream of %.*s: it needs the scope "
                         "command:%.*s, or command:%.*s/ and the stream's name",
                         dbk_caller_id(call->request->caller), DBK_SLICE_ARGS(name),
                         DBK_SLICE_ARGS(dbk_stream_category(stream)), DBK_SLICE_ARGS(name),
                         DBK_SLICE_ARGS(name));
}

int dbk_guard_append(const struct dbk_api_call *call, struct dbk_slice stream,
                     struct dbk_error *err)
{
    int rc = begin(call, err);
    if (rc < 0)
        return rc;
    return rc == 1 || dbk_caller_may(call->request->caller, DBK_SCOPE_APPEND, stream)
               ? DBK_OK
               : deny(call, DBK_SCOPE_APPEND, stream, err);
}

bool dbk_guard_may_read(const struct dbk_api_call *call, struct dbk_slice stream)
{
    const struct dbk_caller *caller = call->request->caller;
    return !dbk_guard_asks(call) ||
           (caller != NULL && dbk_caller_may(caller, DBK_SCOPE_READ, stream));
}

int dbk_guard_event(const struct dbk_api_call *call, struct dbk_slice stream, struct dbk_error *err)
{
    if (dbk_guard_may_read(call, stream))
        return DBK_OK;
    if (call->request->caller == NULL)
        return dbk_error_set(err, DBK_EKEY, "an API key is needed");
    note(call, DBK_SCOPE_READ, (struct dbk_slice){0});
    return dbk_error_set(err, DBK_EDENIED,
                         "key %s may not do this: it does not read the event's stream",
                         dbk_caller_id(call->request->caller));
}

int dbk_guard_read_all(const struct dbk_api_call *call, const char *what, struct dbk_error *err)
{
    int rc = begin(call, err);
    if (rc < 0)
        return rc;
    if (rc == 1 || dbk_caller_reads_all(call->request->caller))
        return DBK_OK;
    note(call, DBK_SCOPE_READ, (struct dbk_slice){0});
    return dbk_error_set(err, DBK_EDENIED, "key %s may not do this: %s needs the scope read:*",
                         dbk_caller_id(call->request->caller), what);
}

int dbk_guard_group(const struct dbk_api_call *call, const struct dbk_json_node *settings,
                    struct dbk_error *err)
{
    const struct dbk_json_node *list = dbk_json_member(settings, "categories");
    const struct dbk_json_node *prefix = dbk_json_member(settings, "stream_prefix");
    int rc = begin(call, err);
    if (rc < 0)
        return rc;
    if (rc == 1 || dbk_caller_reads_all(call->request->caller))
        return DBK_OK;
    if (prefix != NULL && prefix->kind == DBK_JSON_STRING &&
        dbk_caller_covers_prefix(call->request->caller, DBK_SCOPE_READ, prefix->text))
        return DBK_OK;
    if (list == NULL || list->kind != DBK_JSON_ARRAY || list->count == 0)
        return dbk_guard_read_all(call, "a group without categories or stream_prefix", err);
    const struct dbk_json_node *item = dbk_json_first(list);
    for (uint32_t i = 0; i < list->count; i++, item = dbk_json_sibling(item))
        if (item->kind != DBK_JSON_STRING ||
            !dbk_caller_covers_category(call->request->caller, DBK_SCOPE_READ, item->text))
            return deny(call, DBK_SCOPE_READ, item->text, err);
    return DBK_OK;
}
