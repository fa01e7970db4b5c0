/* SPDX-License-Identifier: Apache-2.0 */
#include "server/api.h"

#include <stdio.h>

#include "server/guard.h"

#define READ                                                                                       \
    "category type tag query stream_prefix correlation after before from_time to_time "            \
    "from_occurred "                                                                               \
    "to_occurred"

/* Operations of one path stand together. */
const struct dbk_route dbk_routes[] = {
    {"GET", "/", dbk_api_root, "", "What this is, and where to look", false},
    {"GET", "/healthz", dbk_api_health, "", "Whether all is well; 503 when it is not", false},
    {"GET", "/metrics", dbk_api_metrics, "", "Counters and gauges for Prometheus", false},
    {"GET", "/openapi.json", dbk_api_openapi, "", "This contract", false},
    {"GET", "/events", dbk_api_read_events, READ " limit backwards hidden removed raw wait_ms",
     "Reads the book: JSON (wait_ms waits for the first event), lines (application/x-ndjson), or a "
     "live tail (text/event-stream)",
     false},
    {"POST", "/events", dbk_api_append_events, "skip_known durability",
     "Appends a batch over any streams, all or nothing", true},
    {"GET", "/events/{id}/timeline", dbk_api_timeline, "",
     "When an event was sent, saved, published, and in each read model received, applied and first "
     "seen; id: its position or id",
     false},
    {"GET", "/streams/{stream}", dbk_api_read_stream,
     "type tag query correlation after before from_version to_version from_time to_time "
     "from_occurred "
     "to_occurred limit "
     "backwards removed raw wait_ms",
     "Reads a stream", false},
    {"POST", "/streams/{stream}", dbk_api_append_stream, "skip_known durability",
     "Appends to a stream; If-Match takes the expected version", true},
    {"DELETE", "/streams/{stream}", dbk_api_stream_delete, "close",
     "Leaves out all of a stream's events so far; close: and takes no more, for good", false},
    {"GET", "/streams/{stream}/rules", dbk_api_stream_rules, "", "What a stream keeps", false},
    {"POST", "/streams/{stream}/rules", dbk_api_stream_set_rules, "",
     "Sets what a stream keeps: max_age, max_count, truncate_before", true},
    {"POST", "/compact", dbk_api_compact, "percent rate",
     "Gives back the space of events that no stream keeps any more", false},
    {"POST", "/upgrade", dbk_api_upgrade, "rate",
     "Writes what an older Daybook wrote in the format of this one", false},
    {"POST", "/move", dbk_api_move, "",
     "Ends the book, which a migration has copied: to, book. It takes no more appends", true},
    {"POST", "/reopen", dbk_api_reopen, "", "A book that has moved takes appends again", false},
    {"GET", "/streams/{stream}/state", dbk_api_state, "version at occurred_at explain",
     "The folded state, now, at a version or at a time", false},
    {"GET", "/streams/{stream}/log", dbk_api_log, "from_version to_version diff raw",
     "Every event with the state after it; diff: with what it changed, as a JSON Patch", false},
    {"GET", "/trace/{id}", dbk_api_trace, "limit hidden",
     "The events of a correlation as a tree of causes and effects; id: the correlation's, or an "
     "event's id or position",
     false},
    {"GET", "/groups", dbk_api_groups, "", "The consumer groups", false},
    {"GET", "/groups/{group}", dbk_api_group, "", "A consumer group's status", false},
    {"PUT", "/groups/{group}", dbk_api_group_set, "", "Makes a group, or changes its settings",
     true},
    {"DELETE", "/groups/{group}", dbk_api_group_remove, "", "Forgets a group", false},
    {"GET", "/groups/{group}/events", dbk_api_group_events, "unacked",
     "A consumer's live stream (text/event-stream), of at most so many unacknowledged events",
     false},
    {"POST", "/groups/{group}/read", dbk_api_group_read, "limit wait_ms",
     "Leases the next events; wait_ms waits for the first", false},
    {"POST", "/groups/{group}/ack", dbk_api_group_ack, "", "Acknowledges events: positions", true},
    {"POST", "/groups/{group}/nack", dbk_api_group_nack, "",
     "Gives events back: positions, action (retry, park, skip), reason, delay", true},
    {"GET", "/groups/{group}/parked", dbk_api_group_parked, "", "The parked events", false},
    {"POST", "/groups/{group}/parked/replay", dbk_api_group_replay, "",
     "Delivers parked events again: positions, or all", true},
    {"POST", "/groups/{group}/parked/drop", dbk_api_group_drop, "",
     "Drops parked events: positions, or all", true},
    {"GET", "/keys", dbk_api_keys, "", "The subjects' keys: their epoch, and how many", false},
    {"POST", "/keys/rotate", dbk_api_keys_rotate, "now",
     "Begins a new epoch of keys when some were erased in this one; now: in any case", false},
    {"GET", "/access/keys", dbk_api_access_keys, "", "The API keys, without their secrets", false},
    {"POST", "/access/keys", dbk_api_access_add, "",
     "Makes an API key: name, service, scopes, expires, rate, burst. Its secret is answered once",
     true},
    {"POST", "/access/keys/{key}/limit", dbk_api_access_limit, "",
     "Limits a key's requests: rate, a second (null: no limit), and burst, at once", true},
    {"POST", "/access/keys/{key}/rotate", dbk_api_access_rotate, "old_until",
     "Gives a key a new secret; the old one is good until then, or until it is revoked", false},
    {"POST", "/access/keys/{key}/scopes", dbk_api_access_scope, "",
     "What a key may from now on: scopes, beside what a service's file gives", true},
    {"DELETE", "/access/keys/{key}", dbk_api_access_revoke, "old",
     "Ends a key; old: only the secret from before its rotation", false},
    {"POST", "/commands/{name}", dbk_api_command, "dry_run",
     "Sends a command; Idempotency-Key makes it safe to repeat", true},
    {"GET", "/advice", dbk_api_advice, "",
     "The five questions of each service and query, answered from what was seen", false},
    {"GET", "/queries", dbk_api_queries, "", "The named queries", false},
    {"GET", "/queries/{name}", dbk_api_query, "*",
     "Asks a named query with its parameters; after= waits for a position", false},
    {"GET", "/reports/{name}", dbk_api_report, "*",
     "Asks a named query on one cut of the book, and says what that is: its position, and of each "
     "source how far it is in it",
     false},
    {"GET", "/models", dbk_api_models, "", "The read models", false},
    {"GET", "/models/{model}", dbk_api_model, "", "A read model's status", false},
    {"GET", "/models/{model}/tables/{table}", dbk_api_model_table, "after timeout_ms limit",
     "Rows of a read model's table", false},
    {"POST", "/models/{model}/rebuild", dbk_api_model_rebuild, "",
     "Builds the next generation and swaps it in", false},
    {"GET", "/models/{model}/letters", dbk_api_model_letters, "",
     "The events that a read model has set aside", false},
    {"GET", "/models/{model}/letters/{position}", dbk_api_model_letter, "",
     "One of them, with the event as it can be read now", false},
    {"POST", "/models/{model}/letters/retry", dbk_api_model_retry, "",
     "Posts them again, each exactly once: positions, or all", true},
    {"POST", "/models/{model}/letters/drop", dbk_api_model_drop, "",
     "Drops them: positions, or all", true},
    {"GET", "/sagas", dbk_api_sagas, "", "The sagas, and how many instances each has", false},
    {"GET", "/sagas/{saga}", dbk_api_saga, "ended limit",
     "A saga's open instances, or the newest that have ended", false},
    {"GET", "/sagas/{saga}/{instance}", dbk_api_saga_instance, "",
     "An instance, and all its moments", false},
    {"POST", "/sagas/{saga}/{instance}/retry", dbk_api_saga_retry, "",
     "Tries a parked instance again", false},
    {"POST", "/sagas/{saga}/{instance}/cancel", dbk_api_saga_cancel, "",
     "Undoes what an instance has done: reason", true},
    {"GET", "/captures", dbk_api_captures, "", "The services whose databases are captured", false},
    {"GET", "/captures/{service}/position", dbk_api_capture_position, "source timeout_ms",
     "Waits until all up to the source's own position is in the book, and says where", false},
    {"POST", "/captures/{service}/resnapshot", dbk_api_capture_resnapshot, "",
     "Reads a service's tables again", false},
    {"GET", "/views", dbk_api_views, "", "The materialized views", false},
    {"GET", "/views/{view}", dbk_api_view_rows, "after timeout_ms limit",
     "A view's rows, and as of when they are", false},
    {"GET", "/views/{view}/status", dbk_api_view, "", "A view's status", false},
    {"GET", "/views/{view}/changes", dbk_api_view_changes, "after limit wait_ms",
     "A view's rows and what its refreshes change of them, or behind `after` only these: live as "
     "text/event-stream, else what there is, a line a change",
     false},
    {"GET", "/views/{view}/alerts", dbk_api_view_alerts, "", "What a view's alerts have told of",
     false},
    {"GET", "/views/{view}/alerts/{alert}", dbk_api_view_alert, "limit",
     "What of an alert waits, or was set aside", false},
    {"POST", "/views/{view}/alerts/{alert}/{action}", dbk_api_view_alert_do, "",
     "pause, resume, retry or drop", false},
    {"GET", "/views/{view}/explain", dbk_api_view_explain, "", "How a view is maintained", false},
    {"POST", "/views/{view}/verify", dbk_api_view_verify, "",
     "Compares a view's rows with its SELECT", false},
    {"POST", "/views/{view}/refresh", dbk_api_view_refresh, "after", "Refreshes a view now", false},
    {"POST", "/views/{view}/rollback", dbk_api_view_rollback, "",
     "Swaps the generation that is kept with the one that serves", false},
    {"GET", "/plan", dbk_api_plan, "", "What the views' files ask for that is not stored yet",
     false},
    {"GET", "/proof/checkpoint", dbk_api_proof_checkpoint, "",
     "The newest signed checkpoint, of all that is stored; as a note where text/plain is accepted",
     false},
    {"GET", "/proof/inclusion", dbk_api_proof_inclusion, "position size",
     "That an event is in a tree (the newest checkpoint's); as a tlog-proof with text/plain",
     false},
    {"GET", "/proof/consistency", dbk_api_proof_consistency, "from to",
     "That the tree of one size is how that of another (the newest checkpoint's) began", false},
    {"GET", "/proof/key", dbk_api_proof_key, "", "The public key that checkpoints are signed with",
     false},
    {"POST", "/subjects/{subject}/forget", dbk_api_forget, "tombstone now wait",
     "Forgets a person: what is personal in their events (tombstone: the events) is not read any "
     "more. The rest is a job; wait: until it has purged, now: and until it is final",
     false},
    {"GET", "/forgotten", dbk_api_forgotten, "", "Whom was forgotten, and how far that is", false},
    {"POST", "/forgotten/run", dbk_api_forgotten_run, "now",
     "Goes on with what is left to do; now: also begins a new epoch, and compacts", false},
    {"GET", "/forgotten/{key}", dbk_api_forgotten_one, "", "One of them, by the key's id", false},
    {"GET", "/forgotten/{key}/certificate", dbk_api_certificate, "",
     "The signed certificate, once it is final", false},
    {"POST", "/sql", dbk_api_sql, "", "Reads by SQL over all tables, views and `events`", true},
};
const size_t dbk_route_count = sizeof(dbk_routes) / sizeof(dbk_routes[0]);

int dbk_api_status(int code)
{
    switch (code) {
    case DBK_OK:
        return 200;
    case DBK_EINVAL:
        return 400;
    case DBK_EKEY:
        return 401;
    case DBK_EDENIED:
        return 403;
    case DBK_ENOTFOUND:
        return 404;
    case DBK_ECONFLICT:
    case DBK_EEXISTS:
        return 409;
    case DBK_EGONE:
        return 410;
    case DBK_ELIMIT:
        return 413;
    case DBK_EREFUSED:
        return 422;
    case DBK_ETHROTTLED:
        return 429;
    case DBK_EBUSY:
    case DBK_ECONNECT:
    case DBK_ESTOPPED:
    case DBK_ESTALE:
        return 503;
    case DBK_ETIMEOUT:
        return 504;
    case DBK_EFULL:
        return 507;
    default:
        return 500;
    }
}

const char *dbk_api_part(const struct dbk_api_call *call, size_t index)
{
    return call->parts[index].data; /* decoded with a NUL behind */
}

/* True when the path's parts fit the route's: {names} fit anything but nothing. */
static bool fits(const struct dbk_route *route, const struct dbk_api_call *call)
{
    const char *at = route->path + 1;
    size_t part = 0;
    while (*at != 0) {
        size_t size = strcspn(at, "/");
        if (part == call->part_count)
            return false;
        if (at[0] == '{' ? call->parts[part].size == 0
                         : !dbk_slice_equal(call->parts[part], dbk_slice(at, size)))
            return false;
        part++;
        at += size + (at[size] == '/');
    }
    return part == call->part_count;
}

static int check_parameters(const struct dbk_route *route, const struct dbk_api_call *call,
                            struct dbk_error *err)
{
    if (strcmp(route->query, "*") == 0)
        return DBK_OK;
    for (size_t i = 0; i < call->query_count; i++) {
        bool known = false;
        for (const char *at = route->query; *at != 0 && !known;) {
            size_t size = strcspn(at, " ");
            known = dbk_slice_equal(call->query[i].name, dbk_slice(at, size));
            at += size + (at[size] == ' ');
        }
        if (!known)
            return dbk_error_set(
                err, DBK_EINVAL, "there is no query parameter \"%.*s\" here%s%s",
                (int)(call->query[i].name.size < 80 ? call->query[i].name.size : 80),
                call->query[i].name.data,
                route->query[0] == 0 ? "" : "; there are: ", route->query);
    }
    return DBK_OK;
}

static int not_allowed(struct dbk_api_call *call, const char *allow)
{
    struct dbk_error err = {0};
    struct dbk_buf *out = &call->scratch->out;
    const struct dbk_api_field headers[] = {
        {DBK_SLICE_LITERAL("Content-Type"), DBK_SLICE_LITERAL("application/problem+json")},
        {DBK_SLICE_LITERAL("Allow"), dbk_slice_of(allow)},
    };
    (void)dbk_error_set(&err, DBK_EINVAL, "this path takes %s", allow);
    bool first = true;
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "type", DBK_SLICE_LITERAL("about:blank"));
    dbk_put_text(out, &first, "title", DBK_SLICE_LITERAL("Method Not Allowed"));
    dbk_put_u64(out, &first, "status", 405);
    dbk_put_text(out, &first, "detail", dbk_slice_of(err.message));
    dbk_put_text(out, &first, "code", dbk_slice_of(dbk_code_name(err.code)));
    dbk_buf_append_text(out, "}\n");
    call->status = 405;
    int rc = call->response->begin(call->response->context, 405, headers, 2);
    if (rc >= 0)
        rc = dbk_call_flush(call);
    return rc < 0 ? rc : 405;
}

static int run(const struct dbk_route *route, struct dbk_api_call *call)
{
    struct dbk_error err = {0};
    call->route = route;
    int rc = dbk_guard_judge(route, call, &err);
    if (rc == DBK_OK)
        rc = check_parameters(route, call, &err);
    if (rc == DBK_OK && !route->body && call->request->body.size > 0)
        rc =
            dbk_error_set(&err, DBK_EINVAL, "%s %s takes no body%s%s", route->method, route->path,
                          route->query[0] == 0 ? "" : "; its query parameters are: ", route->query);
    if (rc == DBK_OK)
        rc = route->handler(call, &err);
    if (rc >= 0)
        return rc;
    if (err.code == DBK_OK && call->status != 0)
        return rc; /* the client is gone */
    if (err.code == DBK_OK)
        (void)dbk_error_set(&err, rc, "%s", dbk_code_text(rc));
    return dbk_call_fail(call, &err);
}

static int dispatch(struct dbk_api_call *call)
{
    char allow[64] = "";
    struct dbk_error err = {0};
    struct dbk_slice method = call->request->method;
    if (dbk_slice_equal_text(method, "HEAD"))
        method = DBK_SLICE_LITERAL("GET");
    for (size_t i = 0; i < dbk_route_count; i++) {
        if (!fits(&dbk_routes[i], call))
            continue;
        if (dbk_slice_equal_text(method, dbk_routes[i].method))
            return run(&dbk_routes[i], call);
        size_t size = strlen(allow);
        (void)snprintf(allow + size, sizeof(allow) - size, "%s%s", size == 0 ? "" : ", ",
                       dbk_routes[i].method);
    }
    if (allow[0] != 0)
        return not_allowed(call, allow);
    bool empty = call->request->path.data[call->request->path.size - 1] == '/';
    for (size_t i = 0; i < call->part_count; i++)
        empty = empty || call->parts[i].size == 0;
    if (empty) {
        (void)dbk_error_set(&err, DBK_EINVAL, "a name in the path is empty");
        return dbk_call_fail(call, &err);
    }
    (void)dbk_error_set(&err, DBK_ENOTFOUND, "there is nothing at %.*s",
                        (int)(call->request->path.size < 200 ? call->request->path.size : 200),
                        call->request->path.data);
    return dbk_call_fail(call, &err);
}

int dbk_api_handle(struct dbk_engine *engine, const struct dbk_api_request *request,
                   const struct dbk_api_response *response)
{
    struct dbk_error err = {0};
    struct dbk_api_call call = {.engine = engine, .request = request, .response = response};
    call.scratch = dbk_engine_scratch_take(engine);
    if (call.scratch == NULL)
        return DBK_ENOMEM;
    int rc = dbk_call_take_apart(&call, &err);
    rc = rc < 0 ? dbk_call_fail(&call, &err) : dispatch(&call);
    if (call.status >= 100 && call.status < 600)
        dbk_engine_counters(engine)->requests[call.status / 100]++;
    dbk_engine_scratch_give(engine, call.scratch);
    return rc;
}

static bool contains(const struct dbk_api_request *request, const char *header, const char *text)
{
    struct dbk_api_call call = {.request = request};
    struct dbk_slice value = dbk_call_header_of(&call, header);
    return value.size > 0 && memmem(value.data, value.size, text, strlen(text)) != NULL;
}

bool dbk_api_streams(const struct dbk_api_request *request)
{
    return contains(request, "Accept", "text/event-stream") ||
           contains(request, "Accept", "application/x-ndjson") ||
           dbk_slice_equal_text(request->path, "/sql") ||
           dbk_slice_starts_with(request->path, DBK_SLICE_LITERAL("/trace/")) ||
           dbk_slice_starts_with(request->path, DBK_SLICE_LITERAL("/queries/")) ||
           dbk_slice_starts_with(request->path, DBK_SLICE_LITERAL("/views/")) ||
           dbk_slice_starts_with(request->path, DBK_SLICE_LITERAL("/captures/")) ||
           dbk_slice_starts_with(request->path, DBK_SLICE_LITERAL("/models/"));
}
