/* SPDX-License-Identifier: Apache-2.0 */
#include "server/request.h"

#include <stdio.h>
#include <strings.h>

#include "base/assert.h"
#include "base/base64.h"

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool dbk_percent_decode(struct dbk_slice text, bool plus, struct dbk_arena *arena,
                        struct dbk_slice *decoded_out)
{
    char *out = dbk_arena_alloc(arena, text.size + 1);
    size_t size = 0;
    if (out == NULL)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.size ? digit_of(text.data[i + 1]) : -1;
            int low = i + 2 < text.size ? digit_of(text.data[i + 2]) : -1;
            if (high < 0 || low < 0 || high * 16 + low == 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        } else if (c == 0) {
            return false;
        }
        out[size++] = c;
    }
    out[size] = 0;
    *decoded_out = dbk_slice(out, size);
    return dbk_slice_is_utf8(*decoded_out);
}

static int malformed(struct dbk_error *err, const char *what)
{
    return dbk_error_set(err, DBK_EINVAL, "the %s is not percent-encoded as it should be", what);
}

static int take_path(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_slice path = call->request->path;
    size_t at = 1;
    if (path.size == 0 || path.data[0] != '/')
        return dbk_error_set(err, DBK_EINVAL, "the path does not begin with a slash");
    while (at < path.size) {
        const char *slash = memchr(path.data + at, '/', path.size - at);
        size_t end = slash == NULL ? path.size : (size_t)(slash - path.data);
        if (call->part_count == DBK_PATH_PARTS_MAX)
            return dbk_error_set(err, DBK_ENOTFOUND, "there is nothing at this path");
        if (!dbk_percent_decode(dbk_slice(path.data + at, end - at), false, &call->scratch->arena,
                                &call->parts[call->part_count++]))
            return malformed(err, "path");
        at = end + 1;
    }
    return DBK_OK;
}

static int take_query(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_slice query = call->request->query;
    for (size_t at = 0; at < query.size;) {
        const char *amp = memchr(query.data + at, '&', query.size - at);
        size_t end = amp == NULL ? query.size : (size_t)(amp - query.data);
        struct dbk_slice pair = dbk_slice(query.data + at, end - at);
        const char *equals = pair.size == 0 ? NULL : memchr(pair.data, '=', pair.size);
        size_t name_size = equals == NULL ? pair.size : (size_t)(equals - pair.data);
        size_t value_at = equals == NULL ? pair.size : name_size + 1;
        at = end + 1;
        if (pair.size == 0)
            continue;
        if (call->query_count == DBK_QUERY_MAX)
            return dbk_error_set(err, DBK_ELIMIT, "more than %d query parameters", DBK_QUERY_MAX);
        struct dbk_api_field *field = &call->query[call->query_count++];
        if (!dbk_percent_decode(dbk_slice(pair.data, name_size), true, &call->scratch->arena,
                                &field->name) ||
            !dbk_percent_decode(dbk_slice(pair.data + value_at, pair.size - value_at), true,
                                &call->scratch->arena, &field->value))
            return malformed(err, "query");
        for (size_t i = 0; i + 1 < call->query_count; i++)
            if (dbk_slice_equal(call->query[i].name, field->name))
                return dbk_error_set(err, DBK_EINVAL,
                                     "query parameter \"%.*s\" is given twice; several values of "
                                     "one stand with a comma between",
                                     (int)(field->name.size < 80 ? field->name.size : 80),
                                     field->name.data);
    }
    return DBK_OK;
}

int dbk_call_take_apart(struct dbk_api_call *call, struct dbk_error *err)
{
    if (call->request->path.size + call->request->query.size > DBK_URL_SIZE_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "the URL has more than %d bytes", DBK_URL_SIZE_MAX);
    int rc = take_path(call, err);
    return rc < 0 ? rc : take_query(call, err);
}

struct dbk_slice dbk_call_header_of(const struct dbk_api_call *call, const char *name)
{
    size_t size = strlen(name);
    for (size_t i = 0; i < call->request->header_count; i++) {
        const struct dbk_api_field *header = &call->request->headers[i];
        if (header->name.size == size && strncasecmp(header->name.data, name, size) == 0)
            return header->value;
    }
    return (struct dbk_slice){0};
}

bool dbk_call_accepts(const struct dbk_api_call *call, const char *type)
{
    struct dbk_slice accept = dbk_call_header_of(call, "Accept");
    return accept.size > 0 && memmem(accept.data, accept.size, type, strlen(type)) != NULL;
}

bool dbk_call_text(const struct dbk_api_call *call, const char *name, struct dbk_slice *value_out)
{
    for (size_t i = 0; i < call->query_count; i++) {
        if (dbk_slice_equal_text(call->query[i].name, name)) {
            *value_out = call->query[i].value;
            return true;
        }
    }
    return false;
}

static int wrong(struct dbk_error *err, const char *name, struct dbk_slice value, const char *what)
{
    return dbk_error_set(err, DBK_EINVAL, "%s: \"%.*s\" is no %s", name,
                         (int)(value.size < 80 ? value.size : 80), value.data, what);
}

int dbk_call_number(const struct dbk_api_call *call, const char *name, uint64_t *value_out,
                    struct dbk_error *err)
{
    struct dbk_slice value = {0};
    if (!dbk_call_text(call, name, &value))
        return DBK_OK;
    return dbk_slice_to_u64(value, value_out) ? DBK_OK : wrong(err, name, value, "whole number");
}

int dbk_call_time(const struct dbk_api_call *call, const char *name, int64_t *time_us_out,
                  struct dbk_error *err)
{
    struct dbk_slice value = {0};
    if (!dbk_call_text(call, name, &value))
        return DBK_OK;
    return dbk_time_parse(value, time_us_out)
               ? DBK_OK
               : wrong(err, name, value, "instant, as 2011-03-01 or 2011-03-01T08:26:00Z");
}

int dbk_call_flag(const struct dbk_api_call *call, const char *name, bool *value_out,
                  struct dbk_error *err)
{
    struct dbk_slice value = {0};
    if (!dbk_call_text(call, name, &value))
        return DBK_OK;
    bool yes = value.size == 0 || dbk_slice_equal_text(value, "true");
    if (!yes && !dbk_slice_equal_text(value, "false"))
        return wrong(err, name, value, "true and no false");
    *value_out = yes;
    return DBK_OK;
}

/* ---- Answers ---- */

int dbk_call_begin(struct dbk_api_call *call, int status, const char *type)
{
    char position[24];
    char lag[32];
    struct dbk_api_field headers[4] = {
        {DBK_SLICE_LITERAL("Content-Type"), dbk_slice_of(type)},
    };
    size_t count = 1;
    if (call->position != 0) {
        int size = snprintf(position, sizeof(position), "%ju", (uintmax_t)call->position);
        headers[count++] = (struct dbk_api_field){DBK_SLICE_LITERAL("Daybook-Position"),
                                                  dbk_slice(position, (size_t)size)};
    }
    if (call->has_lag) {
        int size = snprintf(lag, sizeof(lag), "%jd.%03d", (intmax_t)(call->lag_us / 1000),
                            (int)(call->lag_us % 1000));
        headers[count++] = (struct dbk_api_field){DBK_SLICE_LITERAL("Daybook-Lag-Ms"),
                                                  dbk_slice(lag, (size_t)size)};
    }
    if (call->retry)
        headers[count++] =
            (struct dbk_api_field){DBK_SLICE_LITERAL("Retry-After"), DBK_SLICE_LITERAL("1")};
    dbk_assert(call->status == 0);
    call->status = status;
    call->live = strcmp(type, "text/event-stream") == 0;
    int rc = call->response->begin(call->response->context, status, headers, count);
    return rc < 0 ? rc : status;
}

/* An answer that takes its time ends with the key that it was asked with; one that was asked for
   without a key, when the book's first is made. */
static bool is_still_good(const struct dbk_api_call *call)
{
    const struct dbk_api_request *request = call->request;
    return request->caller != NULL ? dbk_caller_is_live(request->caller)
                                   : request->access == NULL || !dbk_access_asks(request->access);
}

int dbk_call_wait(const struct dbk_api_call *call)
{
    int rc = call->response->wait(call->response->context);
    return rc < 0 ? rc : is_still_good(call) ? DBK_OK : DBK_ECONNECT;
}

int dbk_call_flush(struct dbk_api_call *call)
{
    struct dbk_buf *out = &call->scratch->out;
    int rc = out->rc < 0 ? out->rc : DBK_OK;
    if (rc == DBK_OK && !call->whole && !is_still_good(call))
        rc = DBK_ECONNECT;
    if (rc == DBK_OK && out->size > 0)
        rc = call->response->write(call->response->context, dbk_buf_slice(out));
    dbk_buf_reset(out);
    return rc;
}

int dbk_call_send(struct dbk_api_call *call, int status, const char *type)
{
    call->whole = true;
    int rc = dbk_call_begin(call, status, type);
    if (rc >= 0)
        rc = dbk_call_flush(call);
    return rc < 0 ? rc : status;
}

int dbk_call_send_json(struct dbk_api_call *call, int status)
{
    if (call->scratch->out.rc < 0) {
        struct dbk_error err = {0};
        (void)dbk_error_set(&err, call->scratch->out.rc, "the answer: %s",
                            dbk_code_text(call->scratch->out.rc));
        return dbk_call_fail(call, &err);
    }
    dbk_buf_append_char(&call->scratch->out, '\n');
    return dbk_call_send(call, status, "application/json");
}

static const char *title_of(int status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 410:
        return "Gone";
    case 412:
        return "Precondition Failed";
    case 413:
        return "Content Too Large";
    case 422:
        return "Unprocessable Content";
    case 429:
        return "Too Many Requests";
    case 503:
        return "Service Unavailable";
    case 504:
        return "Gateway Timeout";
    case 507:
        return "Insufficient Storage";
    default:
        return "Internal Server Error";
    }
}

int dbk_call_problem(struct dbk_api_call *call, int status, const struct dbk_error *err,
                     const char *extra)
{
    struct dbk_buf *out = &call->scratch->out;
    bool first = true;
    bool begun = call->status != 0;
    const char *detail = err->message[0] == 0 ? dbk_code_text(err->code) : err->message;
    /* What an answer that comes in pieces has told so far stands. */
    int rc = begun ? dbk_call_flush(call) : DBK_OK;
    if (rc < 0)
        return rc;
    call->retry = err->code == DBK_ESTALE;
    dbk_buf_reset(out);
    dbk_buf_append_text(out, call->live ? "event: error\ndata: {" : "{");
    dbk_put_text(out, &first, "type", DBK_SLICE_LITERAL("about:blank"));
    dbk_put_text(out, &first, "title", dbk_slice_of(title_of(status)));
    dbk_put_u64(out, &first, "status", (uint64_t)status);
    dbk_put_text(out, &first, "detail", dbk_slice_of(detail));
    dbk_put_text(out, &first, "code", dbk_slice_of(dbk_code_name(err->code)));
    dbk_buf_append_text(out, extra == NULL ? "" : extra);
    dbk_buf_append_text(out, call->live ? "}\n\n" : "}\n");
    if (!begun)
        return dbk_call_send(call, status, "application/problem+json");
    rc = dbk_call_flush(call);
    return rc < 0 ? rc : err->code;
}

int dbk_call_fail(struct dbk_api_call *call, const struct dbk_error *err)
{
    return dbk_call_problem(call, dbk_api_status(err->code), err, NULL);
}

/* ---- JSON ---- */

void dbk_put_text(struct dbk_buf *out, bool *first, const char *key, struct dbk_slice text)
{
    dbk_json_write_key(out, first, key);
    dbk_json_write_string(out, text);
}

void dbk_put_ms(struct dbk_buf *out, bool *first, const char *key, int64_t time_us)
{
    dbk_json_write_key(out, first, key);
    dbk_buf_append_format(out, "%jd.%03d", (intmax_t)(time_us / 1000), (int)(time_us % 1000));
}

void dbk_put_u64(struct dbk_buf *out, bool *first, const char *key, uint64_t value)
{
    dbk_json_write_key(out, first, key);
    dbk_json_write_u64(out, value);
}

void dbk_put_warnings(struct dbk_buf *out, bool *first, const struct dbk_append_warnings *warnings)
{
    if (warnings->count == 0)
        return;
    dbk_put_u64(out, first, "warning_count", warnings->count);
    dbk_json_write_key(out, first, "warnings");
    dbk_buf_append_char(out, '[');
    dbk_json_write_string(out, dbk_slice_of(warnings->first));
    dbk_buf_append_char(out, ']');
}

void dbk_put_bool(struct dbk_buf *out, bool *first, const char *key, bool value)
{
    dbk_json_write_key(out, first, key);
    dbk_buf_append_text(out, value ? "true" : "false");
}

void dbk_put_time(struct dbk_buf *out, bool *first, const char *key, int64_t time_us)
{
    char text[DBK_TIME_TEXT_SIZE];
    dbk_json_write_key(out, first, key);
    if (time_us == DBK_TIME_NONE) {
        dbk_buf_append_text(out, "null");
        return;
    }
    size_t size = dbk_time_format(time_us, text);
    dbk_json_write_string(out, dbk_slice(text, size));
}

static void put_tags(struct dbk_buf *out, struct dbk_slice tags)
{
    dbk_buf_append_char(out, '[');
    for (size_t at = 0; at < tags.size;) {
        size_t size = (uint8_t)tags.data[at];
        if (at > 0)
            dbk_buf_append_char(out, ',');
        dbk_json_write_string(out, dbk_slice(tags.data + at + 1, size));
        at += size + 1;
    }
    dbk_buf_append_char(out, ']');
}

/* What a proof of a removed event is about. */
static void put_leaf(struct dbk_buf *out, bool *first, const struct dbk_event *event)
{
    uint8_t leaf[DBK_SHA256_SIZE];
    if (dbk_record_leaf(event, leaf) < 0)
        return;
    dbk_json_write_key(out, first, "leaf");
    dbk_buf_append_char(out, '"');
    for (size_t i = 0; i < sizeof(leaf); i++)
        dbk_buf_append_format(out, "%02x", (unsigned)leaf[i]);
    dbk_buf_append_char(out, '"');
}

/* An event is one line of many: JSON has line ends between its tokens, and nowhere else. */
static void put_line(struct dbk_buf *out, struct dbk_slice json)
{
    size_t begin = out->size;
    dbk_buf_append(out, json);
    for (int i = 0; out->rc == DBK_OK && json.size > 0 && i < 2; i++) {
        char *at = out->data + begin;
        while ((at = memchr(at, "\n\r"[i], (size_t)(out->data + out->size - at))) != NULL)
            *at = ' ';
    }
}

void dbk_put_event(struct dbk_buf *out, const struct dbk_event *event, struct dbk_slice state)
{
    char id[DBK_UUID_TEXT_SIZE];
    bool first = true;
    dbk_uuid_format(&event->id, id);
    dbk_buf_append_char(out, '{');
    dbk_put_u64(out, &first, "position", event->position);
    dbk_put_text(out, &first, "stream", event->stream);
    dbk_put_u64(out, &first, "version", event->version);
    dbk_put_text(out, &first, "type", event->type);
    dbk_put_time(out, &first, "time", event->time_us);
    if (event->occurred_us != DBK_TIME_NONE)
        dbk_put_time(out, &first, "occurred", event->occurred_us);
    dbk_put_text(out, &first, "id", dbk_slice_of(id));
    if ((event->flags & DBK_RECORD_REMOVED) != 0) {
        dbk_put_bool(out, &first, "removed", true);
        put_leaf(out, &first, event);
    } else if ((event->flags & DBK_RECORD_JSON) != 0) {
        dbk_json_write_key(out, &first, "data");
        put_line(out, event->data);
    } else {
        dbk_json_write_key(out, &first, "data_base64");
        dbk_buf_append_char(out, '"');
        dbk_base64_encode(event->data, out);
        dbk_buf_append_char(out, '"');
    }
    if (event->meta.size > 0) {
        dbk_json_write_key(out, &first, "meta");
        put_line(out, event->meta);
    }
    if (event->tags.size > 0) {
        dbk_json_write_key(out, &first, "tags");
        put_tags(out, event->tags);
    }
    if (event->schema_version != 0)
        dbk_put_u64(out, &first, "schema_version", event->schema_version);
    if (state.size > 0) {
        dbk_json_write_key(out, &first, "state");
        put_line(out, state);
    }
    dbk_buf_append_char(out, '}');
}
