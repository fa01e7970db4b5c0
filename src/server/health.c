/* SPDX-License-Identifier: Apache-2.0 */
/* GET /, /healthz, /metrics and /openapi.json. */
#include "server/guard.h"

int dbk_api_root(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    bool first = true;
    (void)err;
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "name", DBK_SLICE_LITERAL("daybook"));
    dbk_put_text(out, &first, "version", DBK_SLICE_LITERAL(DAYBOOK_VERSION));
    dbk_put_text(out, &first, "book", dbk_slice_of(dbk_engine_book(call->engine)->name));
    dbk_buf_append_text(out, ",\"links\":{\"events\":\"/events\",\"models\":\"/models\","
                             "\"views\":\"/views\",\"groups\":\"/groups\",\"queries\":\"/queries\","
                             "\"health\":\"/healthz\",\"metrics\":\"/metrics\","
                             "\"openapi\":\"/openapi.json\"}}");
    return dbk_call_send_json(call, 200);
}

static int put_health(struct dbk_api_call *call, bool *degraded, struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_models *models = dbk_engine_models(call->engine);
    struct dbk_views *views = dbk_engine_views(call->engine);
    int rc = DBK_OK;
    dbk_buf_append_text(out, ",\"models\":[");
    for (size_t i = 0; rc == DBK_OK && i < dbk_models_count(models); i++) {
        struct dbk_model_status status;
        bool first = true;
        rc = dbk_models_status(models, i, &status, err);
        if (rc < 0)
            break;
        *degraded = *degraded || status.stopped || status.late;
        dbk_buf_append_text(out, i == 0 ? "{" : ",{");
        dbk_put_text(out, &first, "name", dbk_slice_of(status.name));
        dbk_put_u64(out, &first, "position", status.position);
        dbk_put_u64(out, &first, "lag_ms", (uint64_t)(status.lag_us / 1000));
        if (status.max_lag_us != 0) {
            dbk_put_ms(out, &first, "max_lag_ms", status.max_lag_us);
            dbk_put_bool(out, &first, "late", status.late);
        }
        if (status.set_aside || status.letters != 0)
            dbk_put_u64(out, &first, "letters", status.letters);
        dbk_put_text(out, &first, "state", dbk_slice_of(status.stopped ? "stopped" : "following"));
        dbk_buf_append_char(out, '}');
    }
    dbk_buf_append_text(out, "],\"views\":[");
    for (size_t i = 0; rc == DBK_OK && i < dbk_views_count(views); i++) {
        struct dbk_view_status status;
        bool first = true;
        rc = dbk_views_status(views, i, &status, err);
        if (rc < 0)
            break;
        dbk_buf_append_text(out, i == 0 ? "{" : ",{");
        dbk_put_text(out, &first, "name", dbk_slice_of(status.name));
        bool differs = status.checked.more + status.checked.less != 0;
        *degraded = *degraded || status.late || differs;
        dbk_put_u64(out, &first, "position", status.position);
        dbk_put_u64(out, &first, "lag_ms", (uint64_t)(status.lag_us / 1000));
        if (status.target_us != 0) {
            dbk_put_ms(out, &first, "target_ms", status.target_us);
            dbk_put_bool(out, &first, "late", status.late);
        }
        dbk_put_text(out, &first, "state", dbk_slice_of(status.state));
        if (status.blocked_by != NULL)
            dbk_put_text(out, &first, "blocked_by", dbk_slice_of(status.blocked_by));
        dbk_put_bool(out, &first, "failed", status.error.code != DBK_OK);
        if (status.checked.at_us != DBK_TIME_NONE)
            dbk_put_bool(out, &first, "differs", differs);
        rc = dbk_api_put_alerts_health(call, i, degraded, err);
        dbk_buf_append_char(out, '}');
    }
    dbk_buf_append_char(out, ']');
    return rc;
}

/* How far what is signed has got. */
static void put_proof(struct dbk_api_call *call, bool *degraded)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_proof_status status;
    bool first = true;
    dbk_proof_status(dbk_engine_proof(call->engine), &status);
    dbk_buf_append_text(out, ",\"proof\":{");
    dbk_put_u64(out, &first, "size", status.size);
    dbk_put_u64(out, &first, "checkpoint", status.checkpoint);
    if (status.failure.code != DBK_OK)
        dbk_put_text(out, &first, "failure", dbk_slice_of(status.failure.message));
    dbk_buf_append_char(out, '}');
    *degraded = *degraded || status.failure.code == DBK_ECORRUPT;
}

/* What is left to do for those who were forgotten. */
static void put_forgetting(struct dbk_api_call *call, bool *degraded)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_forget_counts counts;
    bool first = true;
    dbk_forget_counts(dbk_engine_forget(call->engine), &counts);
    dbk_buf_append_text(out, ",\"forgetting\":{");
    dbk_put_u64(out, &first, "waiting", counts.waiting);
    dbk_put_u64(out, &first, "waiting_for_epoch", counts.purged);
    if (counts.step[0] != '\0')
        dbk_put_text(out, &first, "step", dbk_slice_of(counts.step));
    if (counts.failure.code != DBK_OK)
        dbk_put_text(out, &first, "failure", dbk_slice_of(counts.failure.message));
    dbk_buf_append_char(out, '}');
    *degraded = *degraded || counts.failure.code != DBK_OK;
}

int dbk_api_health(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_store_stats stats;
    bool degraded = dbk_engine_is_stopped(call->engine);
    bool first = false;
    if (!dbk_guard_has(call, DBK_SCOPE_METRICS)) {
        dbk_buf_append_text(out, "{\"status\":\"up\"}");
        return dbk_call_send_json(call, 200);
    }
    int rc = dbk_store_stats(dbk_engine_store(call->engine), &stats, err);
    if (rc < 0)
        return rc;
    /* The status is known last and stands first: both words have nine bytes. */
    dbk_buf_append_text(out, "{\"status\":");
    size_t at = out->size;
    dbk_buf_append_text(out, "          ");
    dbk_put_text(out, &first, "book", dbk_slice_of(dbk_engine_book(call->engine)->name));
    dbk_put_u64(out, &first, "position", stats.events);
    dbk_put_u64(out, &first, "events", stats.events);
    dbk_put_u64(out, &first, "streams", stats.streams);
    rc = put_health(call, &degraded, err);
    if (rc == DBK_OK)
        rc = dbk_api_put_captures_health(call, &degraded, err);
    if (rc < 0)
        return rc;
    dbk_api_put_sagas_health(call, &degraded);
    put_proof(call, &degraded);
    put_forgetting(call, &degraded);
    dbk_buf_append_char(out, '}');
    if (out->rc == DBK_OK)
        memcpy(out->data + at, degraded ? "\"degraded\"" : "\"ok\"      ", 10);
    call->position = stats.events;
    return dbk_call_send_json(call, degraded ? 503 : 200);
}

static void metric(struct dbk_buf *out, const char *name, const char *type, const char *help)
{
    dbk_buf_append_format(out, "# HELP daybook_%s %s\n# TYPE daybook_%s %s\n", name, help, name,
                          type);
}

static void single(struct dbk_buf *out, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    metric(out, name, type, help);
    dbk_buf_append_format(out, "daybook_%s %ju\n", name, (uintmax_t)value);
}

struct group_metric {
    struct dbk_buf *out;
    const char *name;
    const char *type;
    const char *help;
    int what;
    uint64_t last; /* position of the book */
    bool begun;
};

static int put_group_metric(struct dbk_slice name, const struct dbk_group_status *status,
                            void *context)
{
    struct group_metric *put = context;
    const uint64_t values[] = {put->last > status->position ? put->last - status->position : 0,
                               status->ready + status->leased + status->waiting, status->parked,
                               status->acked, status->retried};
    if (!put->begun)
        metric(put->out, put->name, put->type, put->help);
    put->begun = true;
    dbk_buf_append_format(put->out, "daybook_%s{group=\"%.*s\"} %ju\n", put->name,
                          DBK_SLICE_ARGS(name), (uintmax_t)values[put->what]);
    return DBK_OK;
}

static int put_group_metrics(struct dbk_api_call *call, struct dbk_error *err)
{
    static const char *const names[] = {"group_behind", "group_open", "group_parked",
                                        "group_acked_total", "group_retried_total"};
    static const char *const helps[] = {"Positions that the group has not looked at yet.",
                                        "Events that are not done.", "Events put aside.",
                                        "Events acknowledged since start.",
                                        "Events that failed and were given back since start."};
    uint64_t last = dbk_store_last_position(dbk_engine_store(call->engine));
    int rc = DBK_OK;
    for (int what = 0; rc == DBK_OK && what < 5; what++) {
        struct group_metric put = {&call->scratch->out,
                                   names[what],
                                   what < 3 ? "gauge" : "counter",
                                   helps[what],
                                   what,
                                   last,
                                   false};
        rc = dbk_group_list(dbk_engine_groups(call->engine), put_group_metric, &put, err);
    }
    return rc;
}

struct key_metric {
    struct dbk_buf *out;
    bool throttled;
};

static void put_key_metric(void *context, const char *id, uint64_t requests, uint64_t throttled)
{
    const struct key_metric *put = context;
    dbk_buf_append_format(put->out, "daybook_access_%s_total{key=\"%s\"} %ju\n",
                          put->throttled ? "throttled" : "requests", id,
                          (uintmax_t)(put->throttled ? throttled : requests));
}

static void put_query_metrics(struct dbk_api_call *call)
{
    const struct dbk_book *book = dbk_engine_book(call->engine);
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_query_work work;
    if (book->query_count > 0)
        metric(out, "query_calls_total", "counter", "Answers of named queries.");
    for (size_t i = 0; i < book->query_count; i++) {
        dbk_engine_query_work(call->engine, i, &work);
        dbk_buf_append_format(out, "daybook_query_calls_total{query=\"%s\"} %ju\n",
                              book->queries[i].name, (uintmax_t)work.calls);
    }
    if (book->query_count > 0)
        metric(out, "query_seconds_total", "counter", "What named queries took.");
    for (size_t i = 0; i < book->query_count; i++) {
        dbk_engine_query_work(call->engine, i, &work);
        dbk_buf_append_format(out, "daybook_query_seconds_total{query=\"%s\"} %.6f\n",
                              book->queries[i].name, (double)work.sum_us / 1e6);
    }
}

/* By keys' ids, which are no secrets. */
static void put_access_metrics(struct dbk_api_call *call)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_access *access = call->request->access;
    struct key_metric put = {out, false};
    if (access == NULL)
        return;
    metric(out, "access_requests_total", "counter", "Requests with each API key since start.");
    dbk_access_each_used(access, put_key_metric, &put);
    put.throttled = true;
    metric(out, "access_throttled_total", "counter", "Of those, over the key's limit.");
    dbk_access_each_used(access, put_key_metric, &put);
    metric(out, "access_refused_total", "counter", "Requests that were refused since start.");
    for (int i = 0; i < DBK_REFUSAL_REASON_COUNT; i++)
        dbk_buf_append_format(out, "daybook_access_refused_total{reason=\"%s\"} %ju\n",
                              dbk_refusal_reason_name((enum dbk_refusal_reason)i),
                              (uintmax_t)dbk_access_refused(access, (enum dbk_refusal_reason)i));
}

int dbk_api_metrics(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_engine_counters *counters = dbk_engine_counters(call->engine);
    struct dbk_store_stats stats;
    struct dbk_proof_status proof;
    int rc = dbk_store_stats(dbk_engine_store(call->engine), &stats, err);
    if (rc < 0)
        return rc;
    single(out, "events", "gauge", "Events in the book, which is its last position.", stats.events);
    single(out, "streams", "gauge", "Streams in the book.", stats.streams);
    single(out, "log_bytes", "gauge", "Size of the log.", stats.log_size);
    dbk_proof_status(dbk_engine_proof(call->engine), &proof);
    single(out, "proof_events", "gauge", "Events in the Merkle tree.", proof.size);
    single(out, "proof_checkpoint_events", "gauge", "Events that the newest checkpoint covers.",
           proof.checkpoint);
    single(out, "appends_total", "counter", "Batches stored.", counters->appends);
    single(out, "appended_events_total", "counter", "Events stored.", counters->appended_events);
    single(out, "appends_refused_total", "counter", "Batches refused.", counters->appends_refused);
    single(out, "tails", "gauge", "Live tails open now.", counters->tails);
    single(out, "stopped", "gauge", "1 when a sync failed and the book takes no more appends.",
           dbk_engine_is_stopped(call->engine));
    metric(out, "requests_total", "counter", "Answers by class of status.");
    for (int i = 2; i < 6; i++)
        dbk_buf_append_format(out, "daybook_requests_total{status=\"%dxx\"} %ju\n", i,
                              (uintmax_t)counters->requests[i]);
    put_query_metrics(call);
    put_access_metrics(call);
    rc = dbk_api_put_models_metrics(call, err);
    if (rc == DBK_OK)
        rc = dbk_api_put_views_metrics(call, err);
    if (rc == DBK_OK)
        rc = dbk_api_put_alerts_metrics(call, err);
    if (rc == DBK_OK)
        rc = put_group_metrics(call, err);
    if (rc == DBK_OK)
        rc = dbk_api_put_captures_metrics(call, err);
    if (rc == DBK_OK)
        rc = dbk_api_put_sagas_metrics(call, err);
    if (rc < 0)
        return rc;
    return dbk_call_send(call, 200, "text/plain; version=0.0.4");
}

/* ---- OpenAPI, from the table of routes ---- */

static void put_parameter(struct dbk_buf *out, bool *first, struct dbk_slice name, const char *in)
{
    dbk_buf_append_text(out, *first ? "" : ",");
    *first = false;
    dbk_buf_append_text(out, "{\"name\":");
    dbk_json_write_string(out, name);
    dbk_buf_append_format(out, ",\"in\":\"%s\",\"required\":%s,\"schema\":{\"type\":\"string\"}}",
                          in, strcmp(in, "path") == 0 ? "true" : "false");
}

static void put_parameters(struct dbk_buf *out, const struct dbk_route *route)
{
    bool first = true;
    dbk_buf_append_text(out, ",\"parameters\":[");
    for (const char *at = strchr(route->path, '{'); at != NULL; at = strchr(at, '{')) {
        size_t size = strcspn(at + 1, "}");
        put_parameter(out, &first, dbk_slice(at + 1, size), "path");
        at += size;
    }
    for (const char *at = route->query; *at != 0 && *at != '*';) {
        size_t size = strcspn(at, " ");
        put_parameter(out, &first, dbk_slice(at, size), "query");
        at += size + (at[size] == ' ');
    }
    dbk_buf_append_char(out, ']');
}

static void put_operation(struct dbk_buf *out, const struct dbk_route *route)
{
    char method[8] = "";
    for (size_t i = 0; i < sizeof(method) - 1 && route->method[i] != 0; i++)
        method[i] = (char)(route->method[i] | 0x20);
    dbk_buf_append_format(out, "\"%s\":{\"summary\":", method);
    dbk_json_write_string(out, dbk_slice_of(route->summary));
    put_parameters(out, route);
    if (dbk_guard_is_nobodys(route->method, route->path))
        dbk_buf_append_text(out, ",\"security\":[{},{\"key\":[]}]");
    if (route->body)
        dbk_buf_append_text(out, ",\"requestBody\":{\"content\":{\"application/json\":{\"schema\":"
                                 "{}}}}");
    dbk_buf_append_text(out, ",\"responses\":{\"default\":{\"description\":\"A problem (RFC "
                             "9457)\",\"content\":{\"application/problem+json\":{\"schema\":{"
                             "\"$ref\":\"#/components/schemas/Problem\"}}}},\"200\":{"
                             "\"description\":\"Done\",\"content\":{\"application/json\":{"
                             "\"schema\":{}}}}}}");
}

int dbk_api_openapi(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    (void)err;
    dbk_buf_append_text(
        out, "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Daybook\",\"version\":\"" DAYBOOK_VERSION
             "\"},\"security\":[");
    dbk_buf_append_text(out, dbk_guard_asks(call) ? "{\"key\":[]}],\"paths\":{"
                                                  : "{},{\"key\":[]}],\"paths\":{");
    for (size_t i = 0; i < dbk_route_count; i++) {
        bool same = i > 0 && strcmp(dbk_routes[i].path, dbk_routes[i - 1].path) == 0;
        dbk_buf_append_text(out, same ? "," : i == 0 ? "" : "},");
        if (!same) {
            dbk_json_write_string(out, dbk_slice_of(dbk_routes[i].path));
            dbk_buf_append_text(out, ":{");
        }
        put_operation(out, &dbk_routes[i]);
    }
    dbk_buf_append_text(out, "}},\"components\":{\"securitySchemes\":{\"key\":{\"type\":\"http\","
                             "\"scheme\":\"bearer\",\"bearerFormat\":\"dbk_<id>_<secret>\","
                             "\"description\":\"An API key, where the book asks for one\"}},"
                             "\"schemas\":{\"Problem\":{\"type\":\"object\","
                             "\"required\":[\"title\",\"status\",\"detail\",\"code\"],"
                             "\"properties\":{\"type\":{\"type\":\"string\"},\"title\":{\"type\":"
                             "\"string\"},\"status\":{\"type\":\"integer\"},\"detail\":{\"type\":"
                             "\"string\"},\"code\":{\"type\":\"string\",\"enum\":[");
#define CODE(name, value, wire, text) "\"" wire "\","
    dbk_buf_append_text(out, DBK_CODES(CODE) "\"ok\"]}}}}}}");
#undef CODE
    return dbk_call_send_json(call, 200);
}
