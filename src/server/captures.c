/* SPDX-License-Identifier: Apache-2.0 */
/* The services that are captured: status, health and metrics. */
#include "server/guard.h"

static void put_status(struct dbk_buf *out, const struct dbk_capture_status *status)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "service", dbk_slice_of(status->service));
    dbk_put_text(out, &first, "database", dbk_slice_of(status->database));
    dbk_put_text(out, &first, "capture", dbk_slice_of(status->kind));
    dbk_put_text(out, &first, "state", dbk_slice_of(dbk_capture_state_text(status->state)));
    dbk_put_text(out, &first, "position", dbk_slice_of(status->position));
    dbk_put_u64(out, &first, "lag_ms", (uint64_t)(status->lag_us / 1000));
    dbk_put_u64(out, &first, "lag_bytes", status->lag_bytes);
    if (status->table[0] != 0) {
        dbk_put_text(out, &first, "table", dbk_slice_of(status->table));
        dbk_put_u64(out, &first, "table_rows", status->table_rows);
    }
    dbk_put_u64(out, &first, "changes", status->changes);
    dbk_put_u64(out, &first, "events", status->events);
    dbk_put_u64(out, &first, "failures", status->failures);
    dbk_put_u64(out, &first, "retained_bytes", status->retained_bytes);
    if (status->health[0] != 0)
        dbk_put_text(out, &first, "health", dbk_slice_of(status->health));
    if (status->warning[0] != 0)
        dbk_put_text(out, &first, "warning", dbk_slice_of(status->warning));
    dbk_json_write_key(out, &first, "error");
    if (status->error[0] == 0)
        dbk_buf_append_text(out, "null");
    else
        dbk_json_write_string(out, dbk_slice_of(status->error));
    dbk_buf_append_char(out, '}');
}

int dbk_api_captures(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_captures *captures = dbk_engine_captures(call->engine);
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_capture_status status;
    const char *comma = "";
    dbk_buf_append_text(out, "{\"captures\":[");
    for (size_t i = 0; i < dbk_captures_count(captures); i++) {
        int rc = dbk_captures_status(captures, i, &status, err);
        if (rc < 0)
            return rc;
        if (!dbk_guard_sees(call, DBK_SCOPE_CAPTURE, dbk_slice_of(status.service)))
            continue;
        dbk_buf_append_text(out, comma);
        comma = ",";
        put_status(out, &status);
    }
    dbk_buf_append_text(out, "]}");
    return dbk_call_send_json(call, 200);
}

/* Waits until the book has what the source has at a position of its own, and says where. */
int dbk_api_capture_position(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_slice service = dbk_slice_of(dbk_api_part(call, 1));
    struct dbk_slice source = {0};
    uint64_t after = 0;
    uint64_t position = 0;
    int64_t timeout_us = 0;
    bool first = true;
    int rc = dbk_api_after(call, &after, &timeout_us, err);
    if (rc == DBK_OK && (!dbk_call_text(call, "source", &source) || source.size == 0))
        rc = dbk_error_set(err, DBK_EINVAL, "source: the source's own position is needed");
    if (rc == DBK_OK)
        rc = dbk_captures_wait(dbk_engine_captures(call->engine), service, source, timeout_us,
                               &position, err);
    if (rc < 0)
        return rc;
    call->position = position;
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "service", service);
    dbk_put_text(out, &first, "source", source);
    dbk_put_u64(out, &first, "position", position);
    dbk_buf_append_char(out, '}');
    return dbk_call_send_json(call, 200);
}

int dbk_api_capture_resnapshot(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_slice service = dbk_slice_of(dbk_api_part(call, 1));
    bool first = true;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_captures_resnapshot(dbk_engine_captures(call->engine), service, err);
    if (rc < 0)
        return rc;
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "service", service);
    dbk_put_bool(out, &first, "resnapshot", true);
    dbk_buf_append_char(out, '}');
    return dbk_call_send_json(call, 202);
}

int dbk_api_put_captures_health(struct dbk_api_call *call, bool *degraded, struct dbk_error *err)
{
    struct dbk_captures *captures = dbk_engine_captures(call->engine);
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_capture_status status;
    if (dbk_captures_count(captures) == 0)
        return DBK_OK;
    dbk_buf_append_text(out, ",\"captures\":[");
    for (size_t i = 0; i < dbk_captures_count(captures); i++) {
        bool first = true;
        int rc = dbk_captures_status(captures, i, &status, err);
        if (rc < 0)
            return rc;
        *degraded = *degraded || status.error[0] != 0 || status.warning[0] != 0;
        dbk_buf_append_text(out, i == 0 ? "{" : ",{");
        dbk_put_text(out, &first, "service", dbk_slice_of(status.service));
        dbk_put_text(out, &first, "capture", dbk_slice_of(status.kind));
        dbk_put_text(out, &first, "state", dbk_slice_of(dbk_capture_state_text(status.state)));
        dbk_put_u64(out, &first, "lag_ms", (uint64_t)(status.lag_us / 1000));
        if (status.warning[0] != 0)
            dbk_put_text(out, &first, "warning", dbk_slice_of(status.warning));
        if (status.error[0] != 0)
            dbk_put_text(out, &first, "error", dbk_slice_of(status.error));
        dbk_buf_append_char(out, '}');
    }
    dbk_buf_append_char(out, ']');
    return DBK_OK;
}

static const struct {
    const char *name;
    const char *type;
    const char *help;
} metrics[] = {
    {"capture_lag_seconds", "gauge", "Age of the last stored transaction while there are others."},
    {"capture_lag_bytes", "gauge", "How far the source is ahead."},
    {"capture_retained_bytes", "gauge", "What the source keeps for the capture."},
    {"capture_failed", "gauge", "1 when the capture failed and is not following."},
    {"capture_failures_total", "counter", "Failures since start."},
    {"capture_changes_total", "counter", "Changes of rows taken since start."},
    {"capture_events_total", "counter", "Events stored since start."},
};

int dbk_api_put_captures_metrics(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_captures *captures = dbk_engine_captures(call->engine);
    struct dbk_buf *out = &call->scratch->out;
    size_t count = dbk_captures_count(captures);
    for (size_t what = 0; count > 0 && what < sizeof(metrics) / sizeof(metrics[0]); what++) {
        dbk_buf_append_format(out, "# HELP daybook_%s %s\n# TYPE daybook_%s %s\n",
                              metrics[what].name, metrics[what].help, metrics[what].name,
                              metrics[what].type);
        for (size_t i = 0; i < count; i++) {
            struct dbk_capture_status status;
            int rc = dbk_captures_status(captures, i, &status, err);
            if (rc < 0)
                return rc;
            const uint64_t values[] = {0,
                                       status.lag_bytes,
                                       status.retained_bytes,
                                       status.error[0] != 0,
                                       status.failures,
                                       status.changes,
                                       status.events};
            dbk_buf_append_format(out, "daybook_%s{service=\"%s\",capture=\"%s\"} ",
                                  metrics[what].name, status.service, status.kind);
            if (what == 0)
                dbk_buf_append_format(out, "%.6f\n", (double)status.lag_us / 1e6);
            else
                dbk_buf_append_format(out, "%ju\n", (uintmax_t)values[what]);
        }
    }
    return DBK_OK;
}
