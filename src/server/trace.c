/* SPDX-License-Identifier: Apache-2.0 */
/* GET /trace/{id}: the events of a correlation as a tree of causes and effects. */
#include "audit/audit.h"
#include "server/handlers.h"

#define LIMIT_DEFAULT 10000
#define LIMIT_MAX 1000000
#define PIECE_SIZE ((size_t)64 << 10)

struct tracing {
    struct dbk_api_call *call;
    struct dbk_store *store;
    struct dbk_trace *trace;
    struct dbk_cursor *cursor; /* of the event looked up last */
    char correlation_room[DBK_CORRELATION_SIZE_MAX];
    struct dbk_slice correlation;
    char id_text[DBK_UUID_TEXT_SIZE];
    bool hidden;
    bool more;        /* than the limit */
    int64_t begun_us; /* its first event's time */
};

/* 1: the event at a position, valid until the next call; 0: there is none to be seen. */
static int event_at(struct tracing *tracing, uint64_t position, struct dbk_event *event_out,
                    struct dbk_error *err)
{
    dbk_cursor_free(tracing->cursor);
    tracing->cursor = NULL;
    if (position == 0)
        return 0;
    int rc = dbk_cursor_open(tracing->store,
                             &(struct dbk_filter){.position_min = position,
                                                  .position_max = position,
                                                  .as_written = true,
                                                  .removed = true,
                                                  .hidden = tracing->hidden},
                             &tracing->cursor, err);
    return rc < 0 ? rc : dbk_cursor_next(tracing->cursor, event_out, err);
}

static int event_of(void *context, const struct dbk_uuid *id, struct dbk_event *event_out,
                    struct dbk_error *err)
{
    struct tracing *tracing = context;
    uint64_t position = 0;
    int rc = dbk_store_find_id(tracing->store, id, &position, err);
    return rc < 0 ? rc : event_at(tracing, position, event_out, err);
}

/* What correlates an event; without a correlation its own id does. */
static void correlate(struct tracing *tracing, const struct dbk_event *event)
{
    if (dbk_event_correlation(event, tracing->correlation_room, &tracing->correlation))
        return;
    dbk_uuid_format(&event->id, tracing->id_text);
    tracing->correlation = dbk_slice_of(tracing->id_text);
}

static int has_events(struct tracing *tracing, struct dbk_slice correlation, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    int rc = dbk_cursor_open(tracing->store,
                             &(struct dbk_filter){.correlation = correlation,
                                                  .hidden = tracing->hidden,
                                                  .as_written = true},
                             &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    dbk_cursor_free(cursor);
    return rc;
}

/* The id names a correlation, or else an event by its id, or else by its position. */
static int resolve(struct tracing *tracing, struct dbk_slice text, struct dbk_error *err)
{
    struct dbk_event event;
    struct dbk_uuid id;
    uint64_t position = 0;
    int rc = has_events(tracing, text, err);
    if (rc != 0) {
        tracing->correlation = text;
        return rc < 0 ? rc : DBK_OK;
    }
    if (dbk_uuid_parse(text, &id))
        rc = event_of(tracing, &id, &event, err);
    else if (dbk_slice_to_u64(text, &position) &&
             position <= dbk_store_last_position(tracing->store))
        rc = event_at(tracing, position, &event, err);
    if (rc == 1) {
        correlate(tracing, &event);
        tracing->correlation = dbk_arena_copy(&tracing->call->scratch->arena, tracing->correlation);
        return tracing->correlation.data == NULL
                   ? dbk_error_set(err, DBK_ENOMEM, "out of memory tracing")
                   : DBK_OK;
    }
    return rc < 0 ? rc
                  : dbk_error_set(err, DBK_ENOTFOUND,
                                  "nothing is correlated by \"%.*s\", and no event has it as its "
                                  "id or position",
                                  (int)(text.size < 200 ? text.size : 200), text.data);
}

static int add(struct tracing *tracing, const struct dbk_event *event, struct dbk_error *err)
{
    int rc = dbk_trace_add(tracing->trace, event);
    if (tracing->begun_us == 0 || event->time_us < tracing->begun_us)
        tracing->begun_us = event->time_us;
    return rc < 0 ? dbk_error_set(err, rc, "the events of one trace: %s", dbk_code_text(rc)) : rc;
}

/* The event that correlates others by its own id is one of them. */
static int add_first(struct tracing *tracing, uint64_t *count, struct dbk_error *err)
{
    struct dbk_uuid id;
    struct dbk_event event;
    char room[DBK_CORRELATION_SIZE_MAX];
    struct dbk_slice correlation;
    int rc = 0;
    if (dbk_uuid_parse(tracing->correlation, &id))
        rc = event_of(tracing, &id, &event, err);
    if (rc <= 0 || dbk_event_correlation(&event, room, &correlation))
        return rc < 0 ? rc : DBK_OK;
    ++*count;
    return add(tracing, &event, err);
}

static int add_events(struct tracing *tracing, uint64_t limit, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t count = 0;
    int rc = add_first(tracing, &count, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_open(tracing->store,
                             &(struct dbk_filter){.correlation = tracing->correlation,
                                                  .hidden = tracing->hidden,
                                                  .as_written = true},
                             &cursor, err);
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        tracing->more = count == limit;
        if (tracing->more)
            break;
        count++;
        rc = add(tracing, &event, err);
    }
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

static void put_event(struct dbk_buf *out, bool *first, const struct dbk_trace_row *row,
                      int64_t begun_us)
{
    char id[DBK_UUID_TEXT_SIZE];
    dbk_uuid_format(&row->id, id);
    dbk_put_u64(out, first, "position", row->position);
    dbk_put_text(out, first, "stream", row->stream);
    dbk_put_u64(out, first, "version", row->version);
    dbk_put_text(out, first, "type", row->type);
    dbk_put_time(out, first, "time", row->time_us);
    dbk_json_write_key(out, first, "offset_us");
    dbk_json_write_integer(out, row->time_us - begun_us);
    if (row->occurred_us != DBK_TIME_NONE)
        dbk_put_time(out, first, "occurred", row->occurred_us);
    dbk_put_text(out, first, "id", dbk_slice_of(id));
    if (row->actor.size > 0)
        dbk_put_text(out, first, "actor", row->actor);
    if (row->kind == DBK_TRACE_OUTSIDE)
        dbk_put_text(out, first, "correlation", row->correlation);
}

static void put_row(struct dbk_buf *out, const struct dbk_trace_row *row, size_t number,
                    int64_t begun_us)
{
    static const char *const kinds[] = {[DBK_TRACE_EVENT] = "event",
                                        [DBK_TRACE_OUTSIDE] = "outside",
                                        [DBK_TRACE_UNKNOWN] = "unknown"};
    bool first = true;
    dbk_buf_append_char(out, '{');
    dbk_put_u64(out, &first, "row", number);
    dbk_json_write_key(out, &first, "parent");
    if (row->parent == 0)
        dbk_buf_append_text(out, "null");
    else
        dbk_json_write_u64(out, row->parent);
    dbk_put_u64(out, &first, "depth", row->depth);
    dbk_put_text(out, &first, "kind", dbk_slice_of(kinds[row->kind]));
    if (row->kind != DBK_TRACE_UNKNOWN)
        put_event(out, &first, row, begun_us);
    if (row->cause.size > 0)
        dbk_put_text(out, &first, "cause", row->cause);
    if (row->later)
        dbk_put_bool(out, &first, "later_cause", true);
    if (row->circle > 0)
        dbk_put_u64(out, &first, "circle", row->circle);
    dbk_buf_append_char(out, '}');
}

static int send(struct tracing *tracing)
{
    struct dbk_api_call *call = tracing->call;
    struct dbk_buf *out = &call->scratch->out;
    bool first = true;
    int rc = dbk_call_begin(call, 200, "application/json");
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "correlation", tracing->correlation);
    dbk_buf_append_text(out, ",\"rows\":[");
    for (size_t i = 0; rc >= 0 && i < dbk_trace_count(tracing->trace); i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        put_row(out, dbk_trace_row(tracing->trace, i), i + 1, tracing->begun_us);
        if (out->size >= PIECE_SIZE)
            rc = dbk_call_flush(call);
    }
    dbk_buf_append_format(out, "],\"more\":%s}", tracing->more ? "true" : "false");
    if (rc >= 0)
        rc = dbk_call_flush(call);
    return rc < 0 ? rc : 200;
}

int dbk_api_trace(struct dbk_api_call *call, struct dbk_error *err)
{
    struct tracing tracing = {.call = call, .store = dbk_engine_store(call->engine)};
    uint64_t limit = LIMIT_DEFAULT;
    int rc = dbk_call_number(call, "limit", &limit, err);
    if (rc == DBK_OK && (limit == 0 || limit > LIMIT_MAX))
        rc = dbk_error_set(err, DBK_EINVAL, "limit: a number from 1 to %d", LIMIT_MAX);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "hidden", &tracing.hidden, err);
    if (rc < 0)
        return rc;
    tracing.trace = dbk_trace_create();
    if (tracing.trace == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory tracing");
    rc = resolve(&tracing, call->parts[1], err);
    if (rc == DBK_OK)
        rc = add_events(&tracing, limit, err);
    if (rc == DBK_OK)
        rc = dbk_trace_finish(tracing.trace, event_of, &tracing, err);
    call->position = dbk_store_last_position(tracing.store);
    if (rc == DBK_OK)
        rc = send(&tracing);
    dbk_cursor_free(tracing.cursor);
    dbk_trace_free(tracing.trace);
    return rc;
}
