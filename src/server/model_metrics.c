/* SPDX-License-Identifier: Apache-2.0 */
/* The models' part of GET /metrics. */
#include "server/handlers.h"

enum kind { WHOLE, FLAG, SECONDS };

static const struct {
    const char *name;
    const char *type;
    const char *help;
    enum kind kind; /* of the status's field: uint64_t, bool, int64_t of microseconds */
    size_t offset;
} metrics[] = {
    {"position", "gauge", "Everything up to this position is in the model.", WHOLE,
     offsetof(struct dbk_model_status, position)},
    {"lag_events", "gauge", "Events of the book behind the model's position.", WHOLE,
     offsetof(struct dbk_model_status, lag_events)},
    {"lag_seconds", "gauge", "Age of the oldest event not yet in the model.", SECONDS,
     offsetof(struct dbk_model_status, lag_us)},
    {"stopped", "gauge", "1 when the model stopped at an event.", FLAG,
     offsetof(struct dbk_model_status, stopped)},
    {"late", "gauge", "1 when it is further behind than its max_lag.", FLAG,
     offsetof(struct dbk_model_status, late)},
    {"events_posted_total", "counter", "Events posted since start.", WHOLE,
     offsetof(struct dbk_model_status, events_posted)},
    {"failures_total", "counter", "Events that a handler could not digest.", WHOLE,
     offsetof(struct dbk_model_status, failures)},
    {"retries_total", "counter", "Tries after a failure that may pass.", WHOLE,
     offsetof(struct dbk_model_status, retries)},
    {"letters", "gauge", "Events set aside that wait to be retried or dropped.", WHOLE,
     offsetof(struct dbk_model_status, letters)},
    {"visible_max_seconds", "gauge", "The longest from an event's commit until it could be read.",
     SECONDS, offsetof(struct dbk_model_status, visible_max_us)},
};

static void put_value(struct dbk_buf *out, enum kind kind, const void *field)
{
    switch (kind) {
    case WHOLE:
        dbk_buf_append_format(out, "%ju\n", (uintmax_t) * (const uint64_t *)field);
        break;
    case FLAG:
        dbk_buf_append_format(out, "%d\n", *(const bool *)field);
        break;
    case SECONDS:
        dbk_buf_append_format(out, "%.6f\n", (double)*(const int64_t *)field / 1e6);
        break;
    }
}

static void put_metric(struct dbk_buf *out, size_t index, const struct dbk_model_status *statuses,
                       size_t count)
{
    const char *name = metrics[index].name;
    dbk_buf_append_format(out, "# HELP daybook_model_%s %s\n# TYPE daybook_model_%s %s\n", name,
                          metrics[index].help, name, metrics[index].type);
    for (size_t i = 0; i < count; i++) {
        dbk_buf_append_format(out, "daybook_model_%s{model=\"%s\"} ", name, statuses[i].name);
        put_value(out, metrics[index].kind,
                  (const void *)((const char *)&statuses[i] + metrics[index].offset));
    }
}

static void put_visible(struct dbk_buf *out, const struct dbk_model_status *statuses, size_t count)
{
    dbk_buf_append_text(out, "# HELP daybook_model_visible_seconds From an event's commit at its "
                             "source until it could be read.\n"
                             "# TYPE daybook_model_visible_seconds summary\n");
    for (size_t i = 0; i < count; i++) {
        const struct dbk_model_status *status = &statuses[i];
        static const char name[] = "daybook_model_visible_seconds";
        dbk_buf_append_format(out, "%s{model=\"%s\",quantile=\"0.5\"} %.6f\n", name, status->name,
                              (double)status->visible_p50_us / 1e6);
        dbk_buf_append_format(out, "%s{model=\"%s\",quantile=\"0.99\"} %.6f\n", name, status->name,
                              (double)status->visible_p99_us / 1e6);
        dbk_buf_append_format(out, "%s_sum{model=\"%s\"} %.6f\n", name, status->name,
                              (double)status->visible_sum_us / 1e6);
        dbk_buf_append_format(out, "%s_count{model=\"%s\"} %ju\n", name, status->name,
                              (uintmax_t)status->visible_count);
    }
}

int dbk_api_put_models_metrics(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_models *models = dbk_engine_models(call->engine);
    size_t count = dbk_models_count(models);
    struct dbk_model_status *statuses =
        dbk_arena_alloc_zero(&call->scratch->arena, count + 1, sizeof(*statuses));
    if (statuses == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading the models");
    for (size_t i = 0; i < count; i++) {
        int rc = dbk_models_status(models, i, &statuses[i], err);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; count > 0 && i < sizeof(metrics) / sizeof(metrics[0]); i++)
        put_metric(&call->scratch->out, i, statuses, count);
    if (count > 0)
        put_visible(&call->scratch->out, statuses, count);
    return DBK_OK;
}
