/* SPDX-License-Identifier: Apache-2.0 */
/* Sagas and their instances: /sagas and what is below. */
#include "server/handlers.h"

#define LIMIT_DEFAULT 100
#define PHASES_MAX DBK_SAGA_STEPS_MAX

static int find(struct dbk_api_call *call, size_t *index_out, struct dbk_error *err)
{
    return dbk_sagas_find(dbk_engine_sagas(call->engine), dbk_api_part(call, 1), index_out, err);
}

static void put_json(struct dbk_buf *out, bool *first, const char *key, struct dbk_slice json)
{
    if (json.size == 0)
        return;
    dbk_json_write_key(out, first, key);
    dbk_buf_append(out, json);
}

static void put_some(struct dbk_buf *out, bool *first, const char *key, struct dbk_slice text)
{
    if (text.size > 0)
        dbk_put_text(out, first, key, text);
}

/* ---- What there is ---- */

static void put_totals(struct dbk_buf *out, const struct dbk_saga_totals *totals)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "name", dbk_slice_of(totals->name));
    dbk_put_u64(out, &first, "position", totals->position);
    dbk_put_u64(out, &first, "open", totals->open);
    dbk_put_u64(out, &first, "parked", totals->parked);
    dbk_put_u64(out, &first, "completed", totals->completed);
    dbk_put_u64(out, &first, "compensated", totals->compensated);
    dbk_put_u64(out, &first, "dropped", totals->dropped);
    dbk_put_u64(out, &first, "calls", totals->calls);
    dbk_put_bool(out, &first, "runs", totals->runs);
    put_some(out, &first, "trouble", dbk_slice_of(totals->trouble));
    dbk_buf_append_char(out, '}');
}

int dbk_api_sagas(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_sagas *sagas = dbk_engine_sagas(call->engine);
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_saga_totals totals;
    dbk_buf_append_text(out, "{\"sagas\":[");
    for (size_t i = 0; i < dbk_sagas_count(sagas); i++) {
        int rc = dbk_sagas_totals(sagas, i, &totals, err);
        if (rc < 0)
            return rc;
        dbk_buf_append_text(out, i == 0 ? "" : ",");
        put_totals(out, &totals);
    }
    dbk_buf_append_text(out, "]}");
    return dbk_call_send_json(call, 200);
}

/* ---- Instances ---- */

static const char *status_of(const struct dbk_saga_record *record)
{
    return dbk_saga_is_open(record) && dbk_saga_is_parked(record)
               ? "parked"
               : dbk_saga_status_name(record->status);
}

/* Steps as "reserve done, pay sent", with the tries past the first. */
static void put_step_words(struct dbk_buf *out, const struct dbk_saga_record *record)
{
    for (size_t i = 0; i < record->step_count; i++) {
        const struct dbk_saga_step *step = &record->steps[i];
        dbk_buf_append_format(out, "%s%.*s %s", i == 0 ? "" : ", ", DBK_SLICE_ARGS(step->name),
                              dbk_saga_phase_name(step->phase));
        if (step->attempt > 1 && step->attempt < UINT32_MAX)
            dbk_buf_append_format(out, " %ju", (uintmax_t)step->attempt);
    }
}

static void put_members(struct dbk_buf *out, bool *first, struct dbk_slice id,
                        const struct dbk_event *event, const struct dbk_saga_record *record)
{
    struct dbk_buf words;
    dbk_buf_init(&words, DBK_ENGINE_TEXT_SIZE_MAX);
    put_step_words(&words, record);
    dbk_put_text(out, first, "instance", id);
    dbk_put_text(out, first, "status", dbk_slice_of(status_of(record)));
    dbk_put_time(out, first, "changed", event->time_us);
    dbk_put_text(out, first, "steps", dbk_buf_slice(&words));
    dbk_put_text(out, first, "reason", record->fault.size > 0 ? record->fault : record->reason);
    dbk_buf_release(&words);
}

struct listing {
    struct dbk_api_call *call;
    const char *comma;
};

static int put_instance(struct dbk_slice id, const struct dbk_event *event,
                        const struct dbk_saga_record *record, void *context)
{
    struct listing *listing = context;
    struct dbk_buf *out = &listing->call->scratch->out;
    bool first = true;
    dbk_buf_append_text(out, listing->comma);
    listing->comma = ",";
    dbk_buf_append_char(out, '{');
    put_members(out, &first, id, event, record);
    put_json(out, &first, "state", record->state);
    dbk_buf_append_char(out, '}');
    return out->rc;
}

int dbk_api_saga(struct dbk_api_call *call, struct dbk_error *err)
{
    struct listing listing = {call, ""};
    size_t index = 0;
    bool ended = false;
    uint64_t limit = 0;
    int rc = find(call, &index, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "ended", &ended, err);
    limit = ended ? LIMIT_DEFAULT : UINT64_MAX;
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "limit", &limit, err);
    dbk_buf_append_text(&call->scratch->out, "{\"instances\":[");
    if (rc == DBK_OK)
        rc = dbk_sagas_list(dbk_engine_sagas(call->engine), index, ended, limit, put_instance,
                            &listing, err);
    dbk_buf_append_text(&call->scratch->out, "]}");
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

/* ---- One, as a timeline ---- */

struct timeline {
    struct dbk_buf *out;
    struct dbk_json *json;
    const char *comma;
    int64_t first_us;
    int64_t last_us;
    uint8_t phases[PHASES_MAX];
    uint64_t sends[PHASES_MAX];
    size_t step_count;
    struct dbk_slice status; /* of the newest */
    struct dbk_arena *arena;
    struct dbk_slice head; /* JSON members of the newest */
};

static int measure(struct dbk_slice id, const struct dbk_event *event,
                   const struct dbk_saga_record *record, void *context)
{
    struct timeline *timeline = context;
    struct dbk_buf head;
    bool first = true;
    if (timeline->first_us == 0)
        timeline->first_us = event->time_us;
    timeline->last_us = event->time_us;
    dbk_buf_init(&head, DBK_ENGINE_TEXT_SIZE_MAX);
    dbk_buf_append_char(&head, '{');
    put_members(&head, &first, id, event, record);
    put_json(&head, &first, "state", record->state);
    dbk_put_u64(&head, &first, "stashed", record->stash_count);
    timeline->head =
        head.rc < 0 ? (struct dbk_slice){0} : dbk_arena_copy(timeline->arena, dbk_buf_slice(&head));
    dbk_buf_release(&head);
    return timeline->head.data == NULL ? DBK_ENOMEM : DBK_OK;
}

static struct dbk_slice text_of(const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    return node != NULL && node->kind == DBK_JSON_STRING ? node->text : (struct dbk_slice){0};
}

/* "OrderPlaced at 17", "pay: done", "time", "retry", "cancelled". */
static void put_cause(struct dbk_buf *out, const struct dbk_json_node *on,
                      const struct dbk_saga_record *record)
{
    const struct dbk_json_node *position = dbk_json_member(on, "position");
    const struct dbk_json_node *step = dbk_json_member(on, "step");
    size_t index = step != NULL && step->kind == DBK_JSON_INTEGER ? (size_t)step->integer : 0;
    if (position != NULL)
        dbk_buf_append_format(out, "%.*s at %.*s", DBK_SLICE_ARGS(text_of(on, "type")),
                              DBK_SLICE_ARGS(position->raw));
    else if (text_of(on, "outcome").size > 0 && index > 0 && index <= record->step_count)
        dbk_buf_append_format(
            out, "%s%.*s: %.*s", dbk_json_member(on, "undo") != NULL ? "undoing " : "",
            DBK_SLICE_ARGS(record->steps[index - 1].name), DBK_SLICE_ARGS(text_of(on, "outcome")));
    else if (text_of(on, "lock").size > 0)
        dbk_buf_append_format(out, "lock %.*s", DBK_SLICE_ARGS(text_of(on, "lock")));
    else if (dbk_json_member(on, "retry") != NULL)
        dbk_buf_append_text(out, "retry");
    else if (dbk_json_member(on, "cancel") != NULL)
        dbk_buf_append_format(out, "cancel: %.*s", DBK_SLICE_ARGS(text_of(on, "cancel")));
    else
        dbk_buf_append_text(out, "time");
}

/* Steps that are otherwise than in the record before. */
static void put_changes(struct dbk_buf *out, struct timeline *timeline,
                        const struct dbk_saga_record *record)
{
    const char *comma = "";
    for (size_t i = 0; i < record->step_count && i < PHASES_MAX; i++) {
        const struct dbk_saga_step *step = &record->steps[i];
        bool same = i < timeline->step_count && timeline->phases[i] == (uint8_t)step->phase &&
                    timeline->sends[i] == step->sends;
        timeline->phases[i] = (uint8_t)step->phase;
        timeline->sends[i] = step->sends;
        if (same)
            continue;
        dbk_buf_append_format(out, "%s%.*s %s", comma, DBK_SLICE_ARGS(step->name),
                              dbk_saga_phase_name(step->phase));
        if (step->attempt > 1 && step->attempt < UINT32_MAX)
            dbk_buf_append_format(out, " %ju", (uintmax_t)step->attempt);
        if (step->error.size > 0)
            dbk_buf_append_format(out, " (%.*s)", DBK_SLICE_ARGS(step->error));
        comma = ", ";
    }
    timeline->step_count = record->step_count;
}

static int put_moment(struct dbk_slice id, const struct dbk_event *event,
                      const struct dbk_saga_record *record, void *context)
{
    struct timeline *timeline = context;
    struct dbk_buf *out = timeline->out;
    struct dbk_buf words;
    const struct dbk_json_node *root = NULL;
    const struct dbk_json_node *on = NULL;
    bool first = true;
    (void)id;
    int rc = dbk_json_parse(timeline->json, event->data, &root, NULL);
    if (rc == DBK_OK)
        on = dbk_json_member(root, "on");
    dbk_buf_init(&words, DBK_ENGINE_TEXT_SIZE_MAX);
    dbk_buf_append_text(out, timeline->comma);
    timeline->comma = ",";
    dbk_buf_append_char(out, '{');
    dbk_put_time(out, &first, "time", event->time_us);
    dbk_put_u64(out, &first, "offset_us", (uint64_t)(event->time_us - timeline->first_us));
    dbk_put_u64(out, &first, "whole_us", (uint64_t)(timeline->last_us - timeline->first_us));
    dbk_put_u64(out, &first, "position", event->position);
    dbk_put_text(out, &first, "moment", event->type);
    dbk_put_text(out, &first, "status", dbk_slice_of(status_of(record)));
    put_cause(&words, on, record);
    dbk_put_text(out, &first, "of", dbk_buf_slice(&words));
    dbk_buf_reset(&words);
    put_changes(&words, timeline, record);
    dbk_put_text(out, &first, "steps", dbk_buf_slice(&words));
    put_some(out, &first, "fault", record->fault);
    if (on != NULL)
        put_json(out, &first, "on", on->raw);
    dbk_buf_append_char(out, '}');
    dbk_buf_release(&words);
    return rc < 0 ? rc : out->rc;
}

int dbk_api_saga_instance(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_sagas *sagas = dbk_engine_sagas(call->engine);
    struct timeline *timeline = dbk_arena_alloc_zero(&call->scratch->arena, 1, sizeof(*timeline));
    struct dbk_buf *out = &call->scratch->out;
    size_t index = 0;
    if (timeline == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading a saga");
    *timeline = (struct timeline){
        .out = out, .json = call->scratch->json, .comma = "", .arena = &call->scratch->arena};
    struct dbk_slice id = dbk_slice_of(dbk_api_part(call, 2));
    int rc = find(call, &index, err);
    if (rc == DBK_OK)
        rc = dbk_sagas_show(sagas, index, id, measure, timeline, err);
    if (rc < 0)
        return rc;
    dbk_buf_append(out, dbk_slice(timeline->head.data, timeline->head.size));
    dbk_buf_append_text(out, ",\"moments\":[");
    rc = dbk_sagas_show(sagas, index, id, put_moment, timeline, err);
    dbk_buf_append_text(out, "]}");
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

/* ---- Asking ---- */

static int send_record(struct dbk_api_call *call, const struct dbk_saga_record *record)
{
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_buf words;
    bool first = true;
    dbk_buf_init(&words, DBK_ENGINE_TEXT_SIZE_MAX);
    put_step_words(&words, record);
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "instance", dbk_slice_of(dbk_api_part(call, 2)));
    dbk_put_text(out, &first, "status", dbk_slice_of(status_of(record)));
    dbk_put_text(out, &first, "steps", dbk_buf_slice(&words));
    dbk_buf_append_char(out, '}');
    dbk_buf_release(&words);
    return dbk_call_send_json(call, 200);
}

int dbk_api_saga_retry(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_saga_record record;
    size_t index = 0;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = find(call, &index, err);
    if (rc == DBK_OK)
        rc = dbk_sagas_retry(dbk_engine_sagas(call->engine), index,
                             dbk_slice_of(dbk_api_part(call, 2)), &call->scratch->arena, &record,
                             err);
    return rc < 0 ? rc : send_record(call, &record);
}

int dbk_api_saga_cancel(struct dbk_api_call *call, struct dbk_error *err)
{
    const struct dbk_json_node *body = NULL;
    struct dbk_saga_record record;
    struct dbk_slice why = {0};
    size_t index = 0;
    int rc = dbk_api_body(call, &body, err);
    if (rc == DBK_OK)
        why = text_of(body, "reason");
    if (rc == DBK_OK)
        rc = find(call, &index, err);
    if (rc == DBK_OK)
        rc = dbk_sagas_cancel(dbk_engine_sagas(call->engine), index,
                              dbk_slice_of(dbk_api_part(call, 2)), why, &call->scratch->arena,
                              &record, err);
    return rc < 0 ? rc : send_record(call, &record);
}

/* ---- How they are ---- */

/* A saga that cannot go on is told of, and the others are too. */
void dbk_api_put_sagas_health(struct dbk_api_call *call, bool *degraded)
{
    struct dbk_sagas *sagas = dbk_engine_sagas(call->engine);
    struct dbk_buf *out = &call->scratch->out;
    dbk_buf_append_text(out, ",\"sagas\":[");
    for (size_t i = 0; i < dbk_sagas_count(sagas); i++) {
        struct dbk_saga_totals totals = {0};
        struct dbk_error failure = {0};
        bool first = true;
        if (dbk_sagas_totals(sagas, i, &totals, &failure) < 0) {
            dbk_buf_append_text(out, i == 0 ? "{" : ",{");
            dbk_put_text(out, &first, "trouble", dbk_slice_of(failure.message));
            dbk_buf_append_char(out, '}');
            *degraded = true;
            continue;
        }
        *degraded = *degraded || totals.trouble[0] != '\0';
        dbk_buf_append_text(out, i == 0 ? "" : ",");
        put_totals(out, &totals);
    }
    dbk_buf_append_char(out, ']');
}

static const struct {
    const char *name;
    const char *type;
    const char *help;
    size_t offset; /* of the totals' field, a uint64_t */
} metrics[] = {
    {"position", "gauge", "The book's events up to it are taken.",
     offsetof(struct dbk_saga_totals, position)},
    {"open", "gauge", "Instances that have not ended, parked ones too.",
     offsetof(struct dbk_saga_totals, open)},
    {"parked", "gauge", "Instances that wait for someone.",
     offsetof(struct dbk_saga_totals, parked)},
    {"calls", "gauge", "Calls under way or waiting for it.",
     offsetof(struct dbk_saga_totals, calls)},
    {"completed_total", "counter", "Instances that completed.",
     offsetof(struct dbk_saga_totals, completed)},
    {"compensated_total", "counter", "Instances that were undone.",
     offsetof(struct dbk_saga_totals, compensated)},
};

int dbk_api_put_sagas_metrics(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_sagas *sagas = dbk_engine_sagas(call->engine);
    struct dbk_buf *out = &call->scratch->out;
    size_t count = dbk_sagas_count(sagas);
    for (size_t what = 0; count > 0 && what < sizeof(metrics) / sizeof(metrics[0]); what++) {
        dbk_buf_append_format(out, "# HELP daybook_saga_%s %s\n# TYPE daybook_saga_%s %s\n",
                              metrics[what].name, metrics[what].help, metrics[what].name,
                              metrics[what].type);
        for (size_t i = 0; i < count; i++) {
            struct dbk_saga_totals totals;
            int rc = dbk_sagas_totals(sagas, i, &totals, err);
            if (rc < 0)
                return rc;
            const char *field = (const char *)&totals + metrics[what].offset;
            dbk_buf_append_format(out, "daybook_saga_%s{saga=\"%s\"} %ju\n", metrics[what].name,
                                  totals.name, (uintmax_t) * (const uint64_t *)(const void *)field);
        }
    }
    return DBK_OK;
}
