/* SPDX-License-Identifier: Apache-2.0 */
/* /views/{view}/alerts, and what /healthz and /metrics say of them. */
#include "server/handlers.h"
#include "view/alert.h"

/* How many are listed when nothing is said. */
#define LIST_MAX 100

static const char *state_of(const struct dbk_alert_status *status)
{
    if (status->paused)
        return "paused";
    if (status->stuck)
        return "stuck";
    return status->attempts > 0 ? "retrying" : "ready";
}

/* A command's words are shown as they are run; an address that is a secret by where it stands. */
static void put_target(struct dbk_buf *out, bool *first,
                       const struct dbk_alert_definition *definition)
{
    if (definition->words == NULL) {
        dbk_put_text(out, first, "to", dbk_slice_of(definition->url));
        return;
    }
    struct dbk_buf text;
    dbk_buf_init(&text, DBK_ENGINE_TEXT_SIZE_MAX);
    dbk_buf_append_text(&text, "command");
    for (size_t i = 0; definition->words[i] != NULL; i++)
        dbk_buf_append_format(&text, " %s", definition->words[i]);
    dbk_put_text(out, first, "to", dbk_buf_slice(&text));
    if (text.rc < 0)
        out->rc = text.rc;
    dbk_buf_release(&text);
}

static void put_alert(struct dbk_buf *out, const struct dbk_alert_status *status)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "alert", dbk_slice_of(status->definition->name));
    dbk_put_text(out, &first, "when", status->definition->when);
    put_target(out, &first, status->definition);
    dbk_put_text(out, &first, "state", dbk_slice_of(state_of(status)));
    dbk_put_u64(out, &first, "delivered", status->delivered);
    if (status->last[0] != '\0') {
        dbk_put_text(out, &first, "last", dbk_slice_of(status->last));
        dbk_put_time(out, &first, "last_time", status->last_us);
    }
    dbk_put_u64(out, &first, "waiting", status->waiting);
    dbk_put_u64(out, &first, "set_aside", status->aside);
    dbk_put_u64(out, &first, "failures", status->failures);
    dbk_put_u64(out, &first, "attempts", status->attempts);
    if (status->next_us != DBK_TIME_NONE)
        dbk_put_time(out, &first, "next_try", status->next_us);
    dbk_put_u64(out, &first, "missed", status->missed);
    dbk_put_u64(out, &first, "dropped", status->dropped);
    if (status->error[0] != '\0')
        dbk_put_text(out, &first, "error", dbk_slice_of(status->error));
    dbk_buf_append_char(out, '}');
}

static int find(struct dbk_api_call *call, size_t *index_out, struct dbk_error *err)
{
    return dbk_views_find(dbk_engine_views(call->engine), dbk_api_part(call, 1), index_out, err);
}

static int send_alerts(struct dbk_api_call *call, size_t view, struct dbk_error *err)
{
    struct dbk_views *views = dbk_engine_views(call->engine);
    struct dbk_buf *out = &call->scratch->out;
    int rc = DBK_OK;
    dbk_buf_append_text(out, "{\"alerts\":[");
    for (size_t i = 0; rc == DBK_OK && i < dbk_views_alert_count(views, view); i++) {
        struct dbk_alert_status status;
        rc = dbk_views_alert_status(views, view, i, &status, err);
        if (rc < 0)
            break;
        dbk_buf_append_text(out, i > 0 ? "," : "");
        put_alert(out, &status);
    }
    dbk_buf_append_text(out, "]}");
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

int dbk_api_view_alerts(struct dbk_api_call *call, struct dbk_error *err)
{
    size_t view = 0;
    int rc = find(call, &view, err);
    return rc < 0 ? rc : send_alerts(call, view, err);
}

struct listing {
    struct dbk_buf *out;
    size_t count;
};

static int put_due(const struct dbk_alert_due *due, void *context)
{
    struct listing *listing = context;
    struct dbk_buf *out = listing->out;
    bool first = true;
    dbk_buf_append_text(out, listing->count++ > 0 ? ",{" : "{");
    dbk_put_text(out, &first, "id", dbk_slice_of(due->id));
    dbk_put_u64(out, &first, "position", due->position);
    dbk_put_text(out, &first, "state", dbk_slice_of(due->aside ? "set aside" : "waiting"));
    dbk_put_u64(out, &first, "attempts", due->attempts);
    if (due->next_us != DBK_TIME_NONE)
        dbk_put_time(out, &first, "next_try", due->next_us);
    if (due->reason.size > 0)
        dbk_put_text(out, &first, "reason", due->reason);
    if (due->old_row.size > 0) {
        dbk_json_write_key(out, &first, "old");
        dbk_buf_append(out, due->old_row);
    }
    dbk_json_write_key(out, &first, "row");
    dbk_buf_append(out, due->new_row);
    dbk_buf_append_char(out, '}');
    return out->rc;
}

int dbk_api_view_alert(struct dbk_api_call *call, struct dbk_error *err)
{
    size_t view = 0;
    uint64_t limit = LIST_MAX;
    struct listing listing = {.out = &call->scratch->out};
    int rc = find(call, &view, err);
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "limit", &limit, err);
    dbk_buf_append_text(listing.out, "{\"due\":[");
    if (rc == DBK_OK)
        rc = dbk_views_alert_list(dbk_engine_views(call->engine), view, dbk_api_part(call, 3),
                                  limit, put_due, &listing, err);
    dbk_buf_append_text(listing.out, "]}");
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

int dbk_api_view_alert_do(struct dbk_api_call *call, struct dbk_error *err)
{
    size_t view = 0;
    int action = 0;
    const char *text = dbk_api_part(call, 4);
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = find(call, &view, err);
    if (rc < 0)
        return rc;
    while (action < DBK_ALERT_ACTION_COUNT &&
           strcmp(text, dbk_alert_action_text((enum dbk_alert_action)action)) != 0)
        action++;
    if (action == DBK_ALERT_ACTION_COUNT)
        return dbk_error_set(err, DBK_ENOTFOUND,
                             "an alert is told pause, resume, retry or drop, not %.40s", text);
    rc = dbk_views_alert_do(dbk_engine_views(call->engine), view, dbk_api_part(call, 3),
                            (enum dbk_alert_action)action, err);
    return rc < 0 ? rc : send_alerts(call, view, err);
}

int dbk_api_put_alerts_health(struct dbk_api_call *call, size_t view, bool *degraded,
                              struct dbk_error *err)
{
    struct dbk_views *views = dbk_engine_views(call->engine);
    struct dbk_buf *out = &call->scratch->out;
    size_t count = dbk_views_alert_count(views, view);
    int rc = DBK_OK;
    if (count == 0)
        return DBK_OK;
    dbk_buf_append_text(out, ",\"alerts\":[");
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        struct dbk_alert_status status;
        bool first = true;
        rc = dbk_views_alert_status(views, view, i, &status, err);
        if (rc < 0)
            break;
        *degraded = *degraded || status.stuck;
        dbk_buf_append_text(out, i > 0 ? ",{" : "{");
        dbk_put_text(out, &first, "name", dbk_slice_of(status.definition->name));
        dbk_put_text(out, &first, "state", dbk_slice_of(state_of(&status)));
        dbk_put_u64(out, &first, "waiting", status.waiting);
        dbk_put_u64(out, &first, "set_aside", status.aside);
        dbk_put_u64(out, &first, "missed", status.missed);
        dbk_buf_append_char(out, '}');
    }
    dbk_buf_append_char(out, ']');
    return rc;
}

static const struct {
    const char *name;
    const char *type;
    const char *help;
} metrics[] = {
    {"delivered_total", "counter", "What an alert of a view was told of, and was taken."},
    {"failures_total", "counter", "Tries that failed."},
    {"waiting", "gauge", "What waits to be told."},
    {"set_aside", "gauge", "What was given up, until it is retried or dropped."},
    {"missed_total", "counter", "How often changes were gone before they were told of."},
    {"stuck", "gauge", "1 when the same one has failed four times and more."},
};

static uint64_t number_of(size_t metric, const struct dbk_alert_status *status)
{
    const uint64_t numbers[] = {status->delivered, status->failures, status->waiting,
                                status->aside,     status->missed,   status->stuck};
    return numbers[metric];
}

int dbk_api_put_alerts_metrics(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_views *views = dbk_engine_views(call->engine);
    struct dbk_buf *out = &call->scratch->out;
    const struct dbk_book *book = dbk_engine_book(call->engine);
    struct dbk_alert_status *statuses = NULL;
    size_t count = 0;
    size_t at = 0;
    for (size_t i = 0; i < dbk_views_count(views); i++)
        count += dbk_views_alert_count(views, i);
    statuses = dbk_arena_alloc_zero(&call->scratch->arena, count + 1, sizeof(*statuses));
    if (statuses == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading the alerts");
    for (size_t i = 0; i < dbk_views_count(views); i++) {
        for (size_t j = 0; j < dbk_views_alert_count(views, i); j++) {
            int rc = dbk_views_alert_status(views, i, j, &statuses[at++], err);
            if (rc < 0)
                return rc;
        }
    }
    for (size_t k = 0; count > 0 && k < sizeof(metrics) / sizeof(metrics[0]); k++) {
        dbk_buf_append_format(out, "# HELP daybook_alert_%s %s\n# TYPE daybook_alert_%s %s\n",
                              metrics[k].name, metrics[k].help, metrics[k].name, metrics[k].type);
        at = 0;
        for (size_t i = 0; i < dbk_views_count(views); i++) {
            for (size_t j = 0; j < dbk_views_alert_count(views, i); j++, at++)
                dbk_buf_append_format(out, "daybook_alert_%s{view=\"%s\",alert=\"%s\"} %ju\n",
                                      metrics[k].name, book->views[i].name,
                                      statuses[at].definition->name,
                                      (uintmax_t)number_of(k, &statuses[at]));
        }
    }
    return DBK_OK;
}
