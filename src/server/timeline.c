/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /events/{id}/timeline: when one event was what.
 *
 *     sent  saved  taken  published                received  applied  seen
 *     +-----+------+------+-- ... of each model --+---------+--------+
 *
 * What the book itself says is known for ever, what this process remembers for a while; of what is
 * not known any more stands why.
 */
#include "server/handlers.h"

struct timeline {
    struct dbk_api_call *call;
    const struct dbk_event *event;
    int64_t begun_us; /* the first moment that is known; DBK_TIME_NONE: none yet */
    bool first;       /* no moment is written yet */
};

static void begin_moment(struct timeline *timeline, const char *moment, const char *of)
{
    struct dbk_buf *out = &timeline->call->scratch->out;
    bool first = true;
    dbk_buf_append_text(out, timeline->first ? "{" : ",{");
    timeline->first = false;
    dbk_put_text(out, &first, "moment", dbk_slice_of(moment));
    dbk_put_text(out, &first, "of", dbk_slice_of(of));
}

/* Offsets are from the first that is known here; when an event occurred is the caller's word. */
static void put_moment(struct timeline *timeline, const char *moment, const char *of,
                       int64_t time_us)
{
    struct dbk_buf *out = &timeline->call->scratch->out;
    bool first = false;
    if (timeline->begun_us == DBK_TIME_NONE)
        timeline->begun_us = time_us;
    begin_moment(timeline, moment, of);
    dbk_put_time(out, &first, "time", time_us);
    dbk_json_write_key(out, &first, "offset_us");
    dbk_json_write_integer(out, time_us - timeline->begun_us);
    dbk_buf_append_char(out, '}');
}

static void put_occurred(struct timeline *timeline, const struct dbk_event *event)
{
    bool first = false;
    begin_moment(timeline, "occurred", "");
    dbk_put_time(&timeline->call->scratch->out, &first, "time", event->occurred_us);
    dbk_buf_append_char(&timeline->call->scratch->out, '}');
}

static void put_unknown(struct timeline *timeline, const char *moment, const char *of,
                        const char *why)
{
    struct dbk_buf *out = &timeline->call->scratch->out;
    bool first = false;
    begin_moment(timeline, moment, of);
    dbk_buf_append_text(out, ",\"time\":null");
    dbk_put_text(out, &first, "why", dbk_slice_of(why));
    dbk_buf_append_char(out, '}');
}

static void put_either(struct timeline *timeline, const char *moment, const char *of,
                       int64_t time_us, const char *why)
{
    if (time_us != DBK_TIME_NONE)
        put_moment(timeline, moment, of, time_us);
    else
        put_unknown(timeline, moment, of, why);
}

/* What came out of a service's database. */
static void put_capture(struct timeline *timeline, const struct dbk_capture_moments *capture,
                        const struct dbk_command_moments *command)
{
    const char *of = capture->service == NULL ? "" : capture->service;
    if (capture->committed_us != DBK_TIME_NONE)
        put_moment(timeline, "saved", of, capture->committed_us);
    else if (command->service == NULL)
        put_unknown(timeline, "saved", of,
                    capture->service == NULL
                        ? "not known: whether it came out of a service's outbox is not remembered"
                        : "not known: no command that this process remembers is named in its meta");
    put_either(timeline, "taken", of, capture->taken_us, capture->why);
}

static void put_origin(struct timeline *timeline)
{
    struct dbk_engine *engine = timeline->call->engine;
    const struct dbk_event *event = timeline->event;
    const char *book = dbk_engine_book(engine)->name;
    struct dbk_command_moments command;
    struct dbk_capture_moments capture;
    bool commanded = dbk_commands_moments(dbk_engine_commands(engine), event, &command);
    bool captured = dbk_captures_moments(dbk_engine_captures(engine), event, &capture) == 1;
    bool change = captured && capture.committed_us != DBK_TIME_NONE;
    if (commanded)
        put_moment(timeline, "sent", command.name, command.sent_us);
    else if (event->occurred_us != DBK_TIME_NONE && !change)
        put_occurred(timeline, event);
    else if (command.why[0] != 0)
        put_unknown(timeline, "sent", "", command.why);
    if (command.service != NULL && !change)
        put_moment(timeline, "saved", command.service, command.done_us);
    if (captured)
        put_capture(timeline, &capture, &command);
    else if (command.service == NULL)
        put_moment(timeline, "saved", book, event->time_us);
    put_moment(timeline, "published", book, event->time_us);
}

static void put_models(struct timeline *timeline)
{
    struct dbk_models *models = dbk_engine_models(timeline->call->engine);
    for (size_t i = 0; i < dbk_models_count(models); i++) {
        struct dbk_model_moments moments;
        if (dbk_models_moments(models, i, timeline->event, &moments) == 0)
            continue;
        if (moments.received_us != DBK_TIME_NONE)
            put_moment(timeline, "received", moments.model, moments.received_us);
        put_either(timeline, "applied", moments.model, moments.applied_us, moments.applied_why);
        put_either(timeline, "seen", moments.model, moments.seen_us, moments.seen_why);
    }
}

static void put_timeline(struct timeline *timeline)
{
    struct dbk_buf *out = &timeline->call->scratch->out;
    const struct dbk_event *event = timeline->event;
    char id[DBK_UUID_TEXT_SIZE];
    bool first = true;
    dbk_uuid_format(&event->id, id);
    dbk_buf_append_char(out, '{');
    dbk_put_u64(out, &first, "position", event->position);
    dbk_put_text(out, &first, "stream", event->stream);
    dbk_put_u64(out, &first, "version", event->version);
    dbk_put_text(out, &first, "type", event->type);
    dbk_put_text(out, &first, "id", dbk_slice_of(id));
    dbk_buf_append_text(out, ",\"moments\":[");
    put_origin(timeline);
    put_models(timeline);
    dbk_buf_append_text(out, "]}");
}

static int find(struct dbk_store *store, struct dbk_slice text, uint64_t *position_out,
                struct dbk_error *err)
{
    struct dbk_uuid id;
    *position_out = 0;
    if (dbk_uuid_parse(text, &id)) {
        int rc = dbk_store_find_id(store, &id, position_out, err);
        if (rc < 0)
            return rc;
    } else if (!dbk_slice_to_u64(text, position_out) ||
               *position_out > dbk_store_last_position(store)) {
        *position_out = 0;
    }
    return *position_out != 0
               ? DBK_OK
               : dbk_error_set(err, DBK_ENOTFOUND, "no event has \"%.*s\" as its position or id",
                               (int)(text.size < 200 ? text.size : 200), text.data);
}

int dbk_api_timeline(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_store *store = dbk_engine_store(call->engine);
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t position = 0;
    int rc = find(store, call->parts[1], &position, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_open(store,
                             &(struct dbk_filter){.position_min = position,
                                                  .position_max = position,
                                                  .as_written = true,
                                                  .removed = true,
                                                  .hidden = true},
                             &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1) {
        struct timeline timeline = {
            .call = call, .event = &event, .begun_us = DBK_TIME_NONE, .first = true};
        put_timeline(&timeline);
        call->position = dbk_store_last_position(store);
    } else if (rc == 0) {
        rc = dbk_error_set(err, DBK_ENOTFOUND, "the event at position %ju is not to be read",
                           (uintmax_t)position);
    }
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}
