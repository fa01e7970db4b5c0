/* SPDX-License-Identifier: Apache-2.0 */
/* The views' part of GET /metrics. */
#include "server/handlers.h"

/* Each answers whether the view has such a value. */
typedef bool (*value_fn)(const struct dbk_view_status *status, double *value_out);

static bool value(double from, double *value_out)
{
    *value_out = from;
    return true;
}

static bool position(const struct dbk_view_status *status, double *value_out)
{
    return value((double)status->position, value_out);
}

static bool as_of(const struct dbk_view_status *status, double *value_out)
{
    return value((double)status->as_of_us / 1e6, value_out) && status->generation != 0;
}

static bool lag(const struct dbk_view_status *status, double *value_out)
{
    return value((double)status->lag_us / 1e6, value_out) && status->generation != 0;
}

static bool target(const struct dbk_view_status *status, double *value_out)
{
    return value((double)status->target_us / 1e6, value_out) && status->target_us != 0;
}

static bool late(const struct dbk_view_status *status, double *value_out)
{
    return value(status->late, value_out);
}

static bool rows(const struct dbk_view_status *status, double *value_out)
{
    return value((double)status->rows, value_out);
}

static bool size(const struct dbk_view_status *status, double *value_out)
{
    return value((double)status->size, value_out) && status->size != 0;
}

static bool incremental(const struct dbk_view_status *status, double *value_out)
{
    return value(status->refreshed == DBK_VIEW_INCREMENTAL, value_out) &&
           status->refreshed != DBK_VIEW_AUTO;
}

static bool duration(const struct dbk_view_status *status, double *value_out)
{
    return value((double)status->duration_us / 1e6, value_out) && status->generation != 0;
}

static bool next(const struct dbk_view_status *status, double *value_out)
{
    return value((double)status->next_us / 1e6, value_out) && status->next_us != DBK_TIME_NONE;
}

static bool failed(const struct dbk_view_status *status, double *value_out)
{
    return value(status->error.code != DBK_OK, value_out);
}

static bool blocked(const struct dbk_view_status *status, double *value_out)
{
    return value(status->blocked_by != NULL, value_out);
}

static bool verified(const struct dbk_view_status *status, double *value_out)
{
    return value((double)status->checked.at_us / 1e6, value_out) &&
           status->checked.at_us != DBK_TIME_NONE;
}

static bool differences(const struct dbk_view_status *status, double *value_out)
{
    return value((double)(status->checked.more + status->checked.less), value_out) &&
           status->checked.at_us != DBK_TIME_NONE;
}

static bool unverified(const struct dbk_view_status *status, double *value_out)
{
    return value(status->unchecked.code != DBK_OK, value_out) && status->verify[0] != '\0';
}

static const struct {
    const char *name;
    const char *help;
    int decimals;
    value_fn value;
} metrics[] = {
    {"position", "The result is as of this position.", 0, position},
    {"as_of_timestamp_seconds", "When its rows were read, since 1970.", 6, as_of},
    {"lag_seconds", "Age of the oldest event not yet in the view.", 6, lag},
    {"lag_target_seconds", "What `refresh: lag` allows.", 6, target},
    {"late", "1 when it is further behind than that.", 0, late},
    {"rows", "Rows stored.", 0, rows},
    {"bytes", "What they take, with indexes.", 0, size},
    {"last_refresh_incremental", "1 when the last refresh was incremental, 0: a full one.", 0,
     incremental},
    {"last_refresh_seconds", "What the last refresh took.", 6, duration},
    {"next_refresh_timestamp_seconds", "When it is refreshed next, since 1970.", 6, next},
    {"failed", "1 when the last refresh failed.", 0, failed},
    {"blocked", "1 when a view on which it stands failed.", 0, blocked},
    {"verified_timestamp_seconds", "When it was compared with its SELECT, since 1970.", 6,
     verified},
    {"verify_differences", "Rows too many or missing in that comparison.", 0, differences},
    {"verify_failed", "1 when the last scheduled comparison came to no end.", 0, unverified},
};

static void put_metric(struct dbk_buf *out, size_t index, const struct dbk_view_status *statuses,
                       size_t count)
{
    const char *name = metrics[index].name;
    dbk_buf_append_format(out, "# HELP daybook_view_%s %s\n# TYPE daybook_view_%s gauge\n", name,
                          metrics[index].help, name);
    for (size_t i = 0; i < count; i++) {
        double number = 0;
        if (!metrics[index].value(&statuses[i], &number))
            continue;
        dbk_buf_append_format(out, "daybook_view_%s{view=\"%s\"} %.*f\n", name, statuses[i].name,
                              metrics[index].decimals, number);
    }
}

int dbk_api_put_views_metrics(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_views *views = dbk_engine_views(call->engine);
    size_t count = dbk_views_count(views);
    struct dbk_view_status *statuses =
        dbk_arena_alloc_zero(&call->scratch->arena, count + 1, sizeof(*statuses));
    if (statuses == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading the views");
    for (size_t i = 0; i < count; i++) {
        int rc = dbk_views_status(views, i, &statuses[i], err);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; count > 0 && i < sizeof(metrics) / sizeof(metrics[0]); i++)
        put_metric(&call->scratch->out, i, statuses, count);
    return DBK_OK;
}
