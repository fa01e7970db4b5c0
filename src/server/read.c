/* SPDX-License-Identifier: Apache-2.0 */
/* GET /streams/{stream} and GET /events: as JSON, line by line, and as a live tail. */
#include <stdio.h>

#include "server/guard.h"

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX 10000
/* Bytes of an answer that are sent at once. */
#define PIECE_SIZE ((size_t)64 << 10)
#define COMMENT_US (INT64_C(15) * 1000000)
/* How long a tail sleeps before it looks whether its client is still there. */
#define LOOK_US (INT64_C(1) * 1000000)
/* So many events are passed over before it does, too. */
#define LOOK_EVENTS 4096
#define WAIT_MAX_MS 300000
#define NAMES_MAX DBK_CALLER_NAMES_MAX

struct reading {
    struct dbk_api_call *call;
    struct dbk_filter filter;
    struct dbk_slice categories[NAMES_MAX];
    struct dbk_slice types[NAMES_MAX];
    struct dbk_slice tags[NAMES_MAX];
    struct dbk_query_item item; /* of `tag` */
    uint64_t limit;             /* 0: none */
    int64_t wait_us;            /* for the first event, when there is none yet */
    uint64_t end;               /* the last position when it began: later ones may be missing */
    bool filtered;              /* not all of it is for whoever asks */
};

static int read_names(const struct dbk_api_call *call, const char *name, struct dbk_slice *names,
                      size_t *count_out, struct dbk_error *err)
{
    struct dbk_slice value = {0};
    size_t count = 0;
    if (!dbk_call_text(call, name, &value))
        return DBK_OK;
    for (size_t at = 0; at <= value.size;) {
        const char *comma = at == value.size ? NULL : memchr(value.data + at, ',', value.size - at);
        size_t end = comma == NULL ? value.size : (size_t)(comma - value.data);
        if (end == at || count == NAMES_MAX)
            return dbk_error_set(err, DBK_EINVAL, "%s: names with a comma between, at most %d",
                                 name, NAMES_MAX);
        names[count++] = dbk_slice(value.data + at, end - at);
        at = end + 1;
    }
    *count_out = count;
    return DBK_OK;
}

static int read_times(struct reading *reading, struct dbk_error *err)
{
    struct dbk_filter *filter = &reading->filter;
    int rc = dbk_call_time(reading->call, "from_time", &filter->time_min_us, err);
    if (rc == DBK_OK)
        rc = dbk_call_time(reading->call, "to_time", &filter->time_max_us, err);
    if (rc == DBK_OK)
        rc = dbk_call_time(reading->call, "from_occurred", &filter->occurred_min_us, err);
    if (rc == DBK_OK)
        rc = dbk_call_time(reading->call, "to_occurred", &filter->occurred_max_us, err);
    return rc;
}

/* after=now begins at the end; Last-Event-ID goes before after. */
static int read_after(struct reading *reading, struct dbk_error *err)
{
    struct dbk_api_call *call = reading->call;
    struct dbk_slice after = dbk_call_header_of(call, "Last-Event-ID");
    uint64_t position = 0;
    uint64_t before = 0;
    bool given = after.size > 0 || dbk_call_text(call, "after", &after);
    if (given && dbk_slice_equal_text(after, "now"))
        position = dbk_store_last_position(dbk_engine_store(call->engine));
    else if (given && !dbk_slice_to_u64(after, &position))
        return dbk_error_set(err, DBK_EINVAL, "after: \"%.*s\" is no position",
                             (int)(after.size < 80 ? after.size : 80), after.data);
    int rc = dbk_call_number(call, "before", &before, err);
    if (rc < 0)
        return rc;
    if (given)
        reading->filter.position_min = position + 1;
    if (before > 0)
        reading->filter.position_max = before - 1;
    if (before == 1)
        reading->filter.position_min = UINT64_MAX;
    return DBK_OK;
}

/* tag=A,B: events that have all of them; query=[…]: what it says. */
static int read_query(struct reading *reading, struct dbk_error *err)
{
    struct dbk_api_call *call = reading->call;
    const struct dbk_json_node *list = NULL;
    struct dbk_error why = {0};
    struct dbk_slice text = {0};
    size_t tags = 0;
    int rc = read_names(call, "tag", reading->tags, &tags, err);
    bool given = dbk_call_text(call, "query", &text);
    if (rc < 0)
        return rc;
    if (given && tags > 0)
        return dbk_error_set(err, DBK_EINVAL, "tag and query exclude each other");
    if (tags > 0) {
        reading->item = (struct dbk_query_item){.tags = reading->tags, .tag_count = tags};
        reading->filter.query = (struct dbk_query){&reading->item, 1};
    }
    if (!given)
        return DBK_OK;
    rc = dbk_json_parse(call->scratch->json, text, &list, &why);
    if (rc < 0)
        return dbk_error_set(err, rc, "query: %s", why.message);
    return dbk_query_read(&call->scratch->arena, list, &reading->filter.query, err);
}

/* wait_ms: a document that would be empty waits for its first event. */
static int read_wait(struct reading *reading, struct dbk_error *err)
{
    uint64_t wait_ms = 0;
    int rc = dbk_call_number(reading->call, "wait_ms", &wait_ms, err);
    if (rc < 0)
        return rc;
    if (wait_ms > WAIT_MAX_MS)
        return dbk_error_set(err, DBK_EINVAL, "wait_ms: at most %d", WAIT_MAX_MS);
    if (wait_ms > 0 && (reading->filter.backwards || reading->filter.position_max != 0))
        return dbk_error_set(err, DBK_EINVAL, "a read that waits goes forwards, without `before`");
    reading->wait_us = (int64_t)wait_ms * 1000;
    return DBK_OK;
}

static int read_filter(struct reading *reading, struct dbk_error *err)
{
    const struct dbk_api_call *call = reading->call;
    struct dbk_filter *filter = &reading->filter;
    uint64_t limit = 0;
    int rc = read_names(call, "category", reading->categories, &filter->category_count, err);
    if (rc == DBK_OK)
        rc = read_names(call, "type", reading->types, &filter->type_count, err);
    if (rc == DBK_OK)
        rc = read_query(reading, err);
    if (rc == DBK_OK)
        rc = read_times(reading, err);
    if (rc == DBK_OK)
        rc = read_after(reading, err);
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "from_version", &filter->version_min, err);
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "to_version", &filter->version_max, err);
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "limit", &limit, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "backwards", &filter->backwards, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "hidden", &filter->hidden, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "removed", &filter->removed, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "raw", &filter->raw, err);
    if (rc == DBK_OK)
        rc = read_wait(reading, err);
    filter->categories = reading->categories;
    filter->types = reading->types;
    (void)dbk_call_text(call, "stream_prefix", &filter->stream_prefix);
    (void)dbk_call_text(call, "correlation", &filter->correlation);
    reading->limit = limit;
    return rc;
}

static int flush_piece(struct dbk_api_call *call)
{
    return call->scratch->out.size < PIECE_SIZE && call->scratch->out.rc == DBK_OK
               ? DBK_OK
               : dbk_call_flush(call);
}

/* What is not for whoever asks is as if it were not there. */
static int next(const struct reading *reading, struct dbk_cursor *cursor,
                struct dbk_event *event_out, struct dbk_error *err)
{
    for (uint64_t passed = 1;; passed++) {
        int rc = dbk_cursor_next(cursor, event_out, err);
        if (rc != 1 || !reading->filtered || dbk_guard_may_read(reading->call, event_out->stream))
            return rc;
        if (passed % LOOK_EVENTS == 0 && dbk_call_wait(reading->call) < 0)
            return DBK_ECONNECT;
    }
}

/* Whole categories are looked up; any other scopes are a scan. */
static void narrow(struct reading *reading)
{
    struct dbk_filter *filter = &reading->filter;
    reading->filtered = dbk_guard_filters(reading->call);
    size_t count = 0;
    const struct dbk_caller *caller = reading->call->request->caller;
    if (reading->filtered && caller != NULL && filter->category_count == 0 &&
        filter->stream_prefix.size == 0 &&
        dbk_caller_read_categories(caller, reading->categories, &count))
        filter->category_count = count;
}

/* ---- One JSON document ---- */

/* The first event of a document: 1; 0: there is none, also after the wait. */
static int wait_first(struct reading *reading, struct dbk_cursor *cursor, struct dbk_event *event,
                      struct dbk_error *err)
{
    struct dbk_api_call *call = reading->call;
    struct dbk_store *store = dbk_engine_store(call->engine);
    struct dbk_os *os = dbk_engine_os(call->engine);
    int64_t end_us = os->monotonic_us(os) + reading->wait_us;
    for (;;) {
        uint64_t wakes = dbk_store_wakes(store);
        int rc = next(reading, cursor, event, err);
        int64_t left_us = end_us - os->monotonic_us(os);
        if (rc != 0 || reading->wait_us == 0 || left_us <= 0 || dbk_call_wait(call) < 0)
            return rc;
        rc = dbk_store_wait(store, wakes, dbk_cursor_position(cursor),
                            left_us < LOOK_US ? left_us : LOOK_US, err);
        if (rc >= 0)
            rc = dbk_cursor_extend(cursor, err);
        if (rc < 0)
            return rc;
    }
}

static int send_document(struct reading *reading, struct dbk_cursor *cursor, struct dbk_error *err)
{
    struct dbk_api_call *call = reading->call;
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_event event;
    uint64_t limit = reading->limit == 0          ? LIMIT_DEFAULT
                     : reading->limit > LIMIT_MAX ? LIMIT_MAX
                                                  : reading->limit;
    uint64_t count = 0;
    bool more = false;
    uint64_t last = 0;
    int rc = wait_first(reading, cursor, &event, err);
    dbk_buf_append_text(out, "{\"events\":[");
    for (; rc == 1; rc = next(reading, cursor, &event, err)) {
        more = count == limit;
        if (more)
            break;
        if (count++ > 0)
            dbk_buf_append_char(out, ',');
        dbk_put_event(out, &event, (struct dbk_slice){0});
        last = event.position;
    }
    if (rc < 0)
        return rc;
    call->position = more                   ? last
                     : reading->wait_us > 0 ? dbk_cursor_position(cursor)
                                            : reading->end;
    dbk_buf_append_format(out, "],\"more\":%s,\"position\":%ju}", more ? "true" : "false",
                          (uintmax_t)call->position);
    return dbk_call_send_json(call, 200);
}

/* ---- A line an event ---- */

static int send_lines(struct reading *reading, struct dbk_cursor *cursor, struct dbk_error *err)
{
    struct dbk_api_call *call = reading->call;
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_event event;
    uint64_t count = 0;
    int rc = dbk_call_begin(call, 200, "application/x-ndjson");
    while (rc >= 0 && (reading->limit == 0 || count < reading->limit)) {
        rc = next(reading, cursor, &event, err);
        if (rc <= 0)
            break;
        dbk_put_event(out, &event, (struct dbk_slice){0});
        dbk_buf_append_char(out, '\n');
        count++;
        rc = flush_piece(call);
    }
    if (rc >= 0)
        rc = dbk_call_flush(call);
    return rc < 0 ? rc : 200;
}

/* ---- A live tail ---- */

void dbk_api_put_delivery(struct dbk_buf *out, const struct dbk_event *event, uint32_t attempt)
{
    dbk_put_event(out, event, (struct dbk_slice){0});
    if (attempt == 0 || out->rc < 0)
        return;
    out->size--; /* the closing brace */
    dbk_buf_append_format(out, ",\"attempt\":%u}", attempt);
}

void dbk_api_put_sse(struct dbk_buf *out, const struct dbk_event *event, uint32_t attempt)
{
    dbk_buf_append_format(out, "id: %ju\nevent: %.*s\ndata: ", (uintmax_t)event->position,
                          DBK_SLICE_ARGS(event->type));
    dbk_api_put_delivery(out, event, attempt);
    dbk_buf_append_text(out, "\n\n");
}

static int send_waiting(struct reading *reading, struct dbk_cursor *cursor, int64_t *commented_us,
                        struct dbk_error *err)
{
    struct dbk_api_call *call = reading->call;
    struct dbk_os *os = dbk_engine_os(call->engine);
    uint64_t wakes = dbk_store_wakes(dbk_engine_store(call->engine));
    int rc = dbk_call_wait(call);
    if (rc == DBK_OK && os->monotonic_us(os) - *commented_us >= COMMENT_US) {
        *commented_us = os->monotonic_us(os);
        dbk_buf_append_text(&call->scratch->out, ": still here\n\n");
        rc = dbk_call_flush(call);
    }
    if (rc == DBK_OK)
        rc = dbk_store_wait(dbk_engine_store(call->engine), wakes, dbk_cursor_position(cursor),
                            LOOK_US, err);
    return rc < 0 ? rc : dbk_cursor_extend(cursor, err);
}

static int send_live(struct reading *reading, struct dbk_cursor *cursor, struct dbk_error *err)
{
    struct dbk_api_call *call = reading->call;
    struct dbk_os *os = dbk_engine_os(call->engine);
    struct dbk_engine_counters *counters = dbk_engine_counters(call->engine);
    struct dbk_event event;
    uint64_t count = 0;
    int64_t commented_us = os->monotonic_us(os);
    int rc = dbk_call_begin(call, 200, "text/event-stream");
    counters->tails++;
    if (rc >= 0) {
        dbk_buf_append_text(&call->scratch->out, ": the book's tail\n\n");
        rc = dbk_call_flush(call);
    }
    while (rc >= 0 && (reading->limit == 0 || count < reading->limit)) {
        rc = next(reading, cursor, &event, err);
        if (rc == 1) {
            dbk_api_put_sse(&call->scratch->out, &event, 0);
            count++;
            rc = flush_piece(call);
        } else if (rc == 0) {
            rc = dbk_call_flush(call);
            if (rc == DBK_OK)
                rc = send_waiting(reading, cursor, &commented_us, err);
        }
    }
    if (rc >= 0)
        rc = dbk_call_flush(call);
    counters->tails--;
    return rc < 0 ? rc : 200;
}

static int send(struct reading *reading, struct dbk_error *err)
{
    struct dbk_api_call *call = reading->call;
    struct dbk_cursor *cursor = NULL;
    bool live = dbk_call_accepts(call, "text/event-stream");
    if (live && (reading->filter.backwards || reading->filter.position_max != 0))
        return dbk_error_set(err, DBK_EINVAL, "a tail goes forwards, and has no `before`");
    reading->end = dbk_store_last_position(dbk_engine_store(call->engine));
    int rc = dbk_cursor_open(dbk_engine_store(call->engine), &reading->filter, &cursor, err);
    if (rc < 0)
        return rc;
    if (live)
        rc = send_live(reading, cursor, err);
    else if (dbk_call_accepts(call, "application/x-ndjson"))
        rc = send_lines(reading, cursor, err);
    else
        rc = send_document(reading, cursor, err);
    dbk_cursor_free(cursor);
    return rc;
}

int dbk_api_read_stream(struct dbk_api_call *call, struct dbk_error *err)
{
    struct reading reading = {.call = call};
    struct dbk_stream_info info = {0};
    int rc = read_filter(&reading, err);
    reading.filter.stream = call->parts[1];
    reading.filter.hidden = true;
    if (rc == DBK_OK)
        rc = dbk_store_stream_info(dbk_engine_store(call->engine), call->parts[1], &info, err);
    if (rc == DBK_OK && !info.exists && !reading.filter.removed &&
        !dbk_call_accepts(call, "text/event-stream"))
        rc = dbk_error_set(err, DBK_ENOTFOUND,
                           info.version == 0   ? "there is no stream %.*s"
                           : info.rules.closed ? "stream %.*s was closed for good"
                                               : "stream %.*s was deleted",
                           DBK_SLICE_ARGS(call->parts[1]));
    return rc < 0 ? rc : send(&reading, err);
}

int dbk_api_read_events(struct dbk_api_call *call, struct dbk_error *err)
{
    struct reading reading = {.call = call};
    int rc = read_filter(&reading, err);
    if (rc < 0)
        return rc;
    narrow(&reading);
    return send(&reading, err);
}
