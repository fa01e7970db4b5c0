/* SPDX-License-Identifier: Apache-2.0 */
/* POST /streams/{stream} and POST /events. */
#include <stdio.h>

#include "base/base64.h"
#include "server/guard.h"

struct appending {
    struct dbk_api_call *call;
    struct dbk_new_event *events;
    size_t count;
    struct dbk_expectation *expectations;
    size_t expectation_count;
    struct dbk_condition condition;
    unsigned flags;
};

static int wrong(struct dbk_error *err, size_t index, const char *what)
{
    return dbk_error_set(err, DBK_EINVAL, "event %zu: %s", index, what);
}

static bool decode_base64(struct dbk_slice text, struct dbk_arena *arena, struct dbk_slice *out)
{
    char *bytes = dbk_arena_alloc(arena, DBK_BASE64_ROOM(text.size) + 1);
    size_t size = 0;
    if (bytes == NULL || !dbk_base64_decode(text, bytes, &size))
        return false;
    *out = dbk_slice(bytes, size);
    return true;
}

static int read_tags(struct appending *appending, const struct dbk_json_node *node,
                     struct dbk_new_event *event, size_t index, struct dbk_error *err)
{
    if (node->kind != DBK_JSON_ARRAY)
        return wrong(err, index, "tags is no list of texts");
    struct dbk_slice *tags =
        dbk_arena_alloc_zero(&appending->call->scratch->arena, node->count + 1, sizeof(*tags));
    if (tags == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory appending");
    const struct dbk_json_node *item = dbk_json_first(node);
    for (uint32_t i = 0; i < node->count; i++, item = dbk_json_sibling(item)) {
        if (item->kind != DBK_JSON_STRING)
            return wrong(err, index, "tags is no list of texts");
        tags[i] = item->text;
    }
    event->tags = tags;
    event->tag_count = node->count;
    return DBK_OK;
}

static int read_data(struct appending *appending, const struct dbk_json_node *member,
                     struct dbk_new_event *event, size_t index, struct dbk_error *err)
{
    bool base64 = dbk_slice_equal_text(member->key, "data_base64");
    if (event->data.data != NULL)
        return wrong(err, index, "it has data and data_base64");
    if (!base64) {
        event->data = member->raw;
        event->flags |= DBK_RECORD_JSON;
        return DBK_OK;
    }
    if (member->kind != DBK_JSON_STRING ||
        !decode_base64(member->text, &appending->call->scratch->arena, &event->data))
        return wrong(err, index, "data_base64 is no base64 text");
    return DBK_OK;
}

static int read_member(struct appending *appending, const struct dbk_json_node *member,
                       struct dbk_new_event *event, size_t index, struct dbk_error *err)
{
    bool text = member->kind == DBK_JSON_STRING;
    if (dbk_slice_equal_text(member->key, "stream") || dbk_slice_equal_text(member->key, "type")) {
        if (!text)
            return wrong(err, index, "stream and type are texts");
        if (dbk_slice_equal_text(member->key, "type"))
            event->type = member->text;
        else
            event->stream = member->text;
        return DBK_OK;
    }
    if (dbk_slice_equal_text(member->key, "data") ||
        dbk_slice_equal_text(member->key, "data_base64"))
        return read_data(appending, member, event, index, err);
    if (dbk_slice_equal_text(member->key, "meta")) {
        if (member->kind != DBK_JSON_OBJECT)
            return wrong(err, index, "meta is no object");
        event->meta = member->count == 0 ? (struct dbk_slice){0} : member->raw;
        return DBK_OK;
    }
    if (dbk_slice_equal_text(member->key, "tags"))
        return read_tags(appending, member, event, index, err);
    if (dbk_slice_equal_text(member->key, "id"))
        return text && dbk_uuid_parse(member->text, &event->id)
                   ? DBK_OK
                   : wrong(err, index, "id is no UUID");
    if (dbk_slice_equal_text(member->key, "occurred"))
        return text && dbk_time_parse(member->text, &event->occurred_us)
                   ? DBK_OK
                   : wrong(err, index, "occurred is no instant, as 2011-03-01T08:26:00Z");
    if (dbk_slice_equal_text(member->key, "schema_version")) {
        if (member->kind != DBK_JSON_INTEGER || member->integer < 0 || member->integer > UINT16_MAX)
            return wrong(err, index, "schema_version is no whole number from 0 to 65535");
        event->schema_version = (uint16_t)member->integer;
        return DBK_OK;
    }
    return dbk_error_set(err, DBK_EINVAL,
                         "event %zu has no \"%.*s\"; it may have stream, type, data, data_base64, "
                         "meta, tags, id, occurred and schema_version",
                         index, DBK_SLICE_ARGS(member->key));
}

static int read_event(struct appending *appending, const struct dbk_json_node *node, size_t index,
                      struct dbk_slice stream, struct dbk_error *err)
{
    struct dbk_new_event *event = &appending->events[index];
    *event = (struct dbk_new_event){.occurred_us = DBK_TIME_NONE};
    if (node->kind != DBK_JSON_OBJECT)
        return wrong(err, index, "it is no object");
    const struct dbk_json_node *member = dbk_json_first(node);
    for (uint32_t i = 0; i < node->count; i++, member = dbk_json_sibling(member)) {
        int rc = read_member(appending, member, event, index, err);
        if (rc < 0)
            return rc;
    }
    if (event->data.data == NULL) {
        event->data = DBK_SLICE_LITERAL("{}");
        event->flags |= DBK_RECORD_JSON;
    }
    if (stream.size > 0 && event->stream.size > 0 && !dbk_slice_equal(stream, event->stream))
        return wrong(err, index, "its stream is another than the path's");
    if (event->stream.size == 0)
        event->stream = stream;
    return DBK_OK;
}

/* list: one event, or an array of them. */
static int read_events(struct appending *appending, const struct dbk_json_node *list,
                       struct dbk_slice stream, struct dbk_error *err)
{
    bool one = list->kind != DBK_JSON_ARRAY;
    size_t count = one ? 1 : list->count;
    appending->events = dbk_arena_alloc_zero(&appending->call->scratch->arena, count + 1,
                                             sizeof(*appending->events));
    if (appending->events == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory appending");
    appending->count = count;
    const struct dbk_json_node *node = one ? list : dbk_json_first(list);
    for (size_t i = 0; i < count; i++, node = dbk_json_sibling(node)) {
        int rc = read_event(appending, node, i, stream, err);
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

static int parse_body(struct dbk_api_call *call, const struct dbk_json_node **root_out,
                      struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_json_parse(call->scratch->json, call->request->body, root_out, &failure);
    return rc < 0 ? dbk_error_set(err, rc, "the body: %s", failure.message) : DBK_OK;
}

static int add_expectation(struct appending *appending, struct dbk_slice stream, int64_t version,
                           struct dbk_error *err)
{
    if (appending->expectations == NULL)
        appending->expectations = dbk_arena_alloc_zero(&appending->call->scratch->arena, 1,
                                                       sizeof(*appending->expectations));
    if (appending->expectations == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory appending");
    appending->expectations[appending->expectation_count++] =
        (struct dbk_expectation){stream, version};
    return DBK_OK;
}

/* If-Match: "3" or *; If-None-Match: *. */
int dbk_api_expected(const struct dbk_api_call *call, int64_t *version_out, struct dbk_error *err)
{
    struct dbk_slice match = dbk_call_header_of(call, "If-Match");
    struct dbk_slice none = dbk_call_header_of(call, "If-None-Match");
    if (match.size > 0 && none.size > 0)
        return dbk_error_set(err, DBK_EINVAL, "If-Match and If-None-Match exclude each other");
    if (none.size > 0 && !dbk_slice_equal_text(none, "*"))
        return dbk_error_set(err, DBK_EINVAL, "If-None-Match takes * alone: no such stream");
    *version_out = none.size > 0    ? DBK_EXPECT_NONE
                   : match.size > 0 ? DBK_EXPECT_EXISTS
                                    : DBK_EXPECT_ANY;
    if (match.size == 0 || dbk_slice_equal_text(match, "*"))
        return DBK_OK;
    if (match.size > 2 && match.data[0] == '"' && match.data[match.size - 1] == '"')
        match = dbk_slice(match.data + 1, match.size - 2);
    if (!dbk_slice_to_i64(match, version_out) || *version_out < 0)
        return dbk_error_set(err, DBK_EINVAL, "If-Match takes a version, as \"3\", or *");
    return DBK_OK;
}

static int read_headers(struct appending *appending, struct dbk_slice stream, struct dbk_error *err)
{
    int64_t version = DBK_EXPECT_ANY;
    int rc = dbk_api_expected(appending->call, &version, err);
    return rc < 0 || version == DBK_EXPECT_ANY ? rc
                                               : add_expectation(appending, stream, version, err);
}

static int read_flags(struct appending *appending, struct dbk_error *err)
{
    bool skip = (appending->flags & DBK_APPEND_SKIP_KNOWN) != 0;
    struct dbk_slice durability = {0};
    int rc = dbk_call_flag(appending->call, "skip_known", &skip, err);
    if (rc < 0)
        return rc;
    appending->flags = skip ? DBK_APPEND_SKIP_KNOWN : 0;
    if (!dbk_call_text(appending->call, "durability", &durability) ||
        dbk_slice_equal_text(durability, "synced"))
        return DBK_OK;
    if (!dbk_slice_equal_text(durability, "none"))
        return dbk_error_set(err, DBK_EINVAL, "durability is synced or none");
    appending->flags |= DBK_APPEND_NO_SYNC;
    return DBK_OK;
}

static int conflict(struct dbk_api_call *call, const struct appending *appending,
                    const struct dbk_append_result *result, int status, const struct dbk_error *err)
{
    char extra[128] = "";
    if (result->matched_position > 0)
        (void)snprintf(extra, sizeof(extra), ",\"matched\":%ju",
                       (uintmax_t)result->matched_position);
    if (result->failed_expectation < appending->expectation_count) {
        int64_t expected = appending->expectations[result->failed_expectation].version;
        if (expected >= 0)
            (void)snprintf(extra, sizeof(extra), ",\"expected\":%jd,\"actual\":%ju",
                           (intmax_t)expected, (uintmax_t)result->actual_version);
        else
            (void)snprintf(extra, sizeof(extra), ",\"expected\":\"%s\",\"actual\":%ju",
                           expected == DBK_EXPECT_EXISTS ? "exists" : "any",
                           (uintmax_t)result->actual_version);
    }
    return dbk_call_problem(call, status, err, extra);
}

/* What may be appended to is what may be expected of; a condition looks at every stream. */
static int judge(const struct appending *appending, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < appending->count; i++)
        rc = dbk_guard_append(appending->call, appending->events[i].stream, err);
    for (size_t i = 0; rc == DBK_OK && i < appending->expectation_count; i++)
        rc = dbk_guard_append(appending->call, appending->expectations[i].stream, err);
    if (rc == DBK_OK && appending->condition.none.count > 0)
        rc = dbk_guard_read_all(appending->call, "a condition", err);
    return rc;
}

static int append(struct appending *appending, struct dbk_slice stream, struct dbk_error *err)
{
    struct dbk_api_call *call = appending->call;
    struct dbk_append_result result;
    struct dbk_buf *out = &call->scratch->out;
    bool first = true;
    int rc = judge(appending, err);
    if (rc < 0)
        return rc;
    rc = dbk_engine_append(call->engine,
                           &(struct dbk_batch){.events = appending->events,
                                               .count = appending->count,
                                               .expectations = appending->expectations,
                                               .expectation_count = appending->expectation_count,
                                               .condition = appending->condition,
                                               .flags = appending->flags},
                           &result, err);
    bool expected = appending->expectation_count > 0 && stream.size > 0;
    if (rc == DBK_ECONFLICT)
        return conflict(call, appending, &result, expected ? 412 : 409, err);
    if (rc < 0)
        return rc;
    call->position = result.last_position;
    dbk_buf_append_char(out, '{');
    if (stream.size > 0)
        dbk_put_text(out, &first, "stream", stream);
    dbk_put_u64(out, &first, "first_position", result.first_position);
    dbk_put_u64(out, &first, "position", result.last_position);
    dbk_put_u64(out, &first, "version", result.last_version);
    dbk_put_u64(out, &first, "appended", result.appended);
    dbk_put_u64(out, &first, "skipped", result.skipped);
    dbk_put_bool(out, &first, "known", result.known);
    dbk_put_text(out, &first, "durability", dbk_slice_of(result.synced ? "synced" : "none"));
    dbk_put_warnings(out, &first, &result.warnings);
    dbk_buf_append_char(out, '}');
    return dbk_call_send_json(call, result.known ? 200 : 201);
}

int dbk_api_append_stream(struct dbk_api_call *call, struct dbk_error *err)
{
    struct appending appending = {.call = call};
    const struct dbk_json_node *root = NULL;
    struct dbk_slice stream = call->parts[1];
    int rc = parse_body(call, &root, err);
    if (rc == DBK_OK)
        rc = read_events(&appending, root, stream, err);
    if (rc == DBK_OK)
        rc = read_headers(&appending, stream, err);
    if (rc == DBK_OK)
        rc = read_flags(&appending, err);
    return rc < 0 ? rc : append(&appending, stream, err);
}

static int read_expectation(struct appending *appending, const struct dbk_json_node *node,
                            struct dbk_error *err)
{
    const struct dbk_json_node *stream = dbk_json_member(node, "stream");
    const struct dbk_json_node *version = dbk_json_member(node, "version");
    struct dbk_expectation *expected = &appending->expectations[appending->expectation_count++];
    if (stream == NULL || stream->kind != DBK_JSON_STRING || version == NULL || node->count != 2)
        return dbk_error_set(err, DBK_EINVAL, "expect: each is {\"stream\":…,\"version\":…}");
    expected->stream = stream->text;
    if (version->kind == DBK_JSON_INTEGER && version->integer >= 0)
        expected->version = version->integer;
    else if (version->kind == DBK_JSON_STRING && dbk_slice_equal_text(version->text, "none"))
        expected->version = DBK_EXPECT_NONE;
    else if (version->kind == DBK_JSON_STRING && dbk_slice_equal_text(version->text, "exists"))
        expected->version = DBK_EXPECT_EXISTS;
    else if (version->kind == DBK_JSON_STRING && dbk_slice_equal_text(version->text, "any"))
        expected->version = DBK_EXPECT_ANY;
    else
        return dbk_error_set(err, DBK_EINVAL,
                             "expect: version is a number, \"none\", \"exists\" or \"any\"");
    return DBK_OK;
}

static int read_expectations(struct appending *appending, const struct dbk_json_node *list,
                             struct dbk_error *err)
{
    if (list->kind != DBK_JSON_ARRAY)
        return dbk_error_set(err, DBK_EINVAL, "expect is no list");
    appending->expectations = dbk_arena_alloc_zero(
        &appending->call->scratch->arena, list->count + 1, sizeof(*appending->expectations));
    if (appending->expectations == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory appending");
    const struct dbk_json_node *item = dbk_json_first(list);
    for (uint32_t i = 0; i < list->count; i++, item = dbk_json_sibling(item)) {
        int rc = read_expectation(appending, item, err);
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

/* {"fail_if_match":[…],"after":N} */
static int read_condition(struct appending *appending, const struct dbk_json_node *node,
                          struct dbk_error *err)
{
    const struct dbk_json_node *query = dbk_json_member(node, "fail_if_match");
    const struct dbk_json_node *after = dbk_json_member(node, "after");
    struct dbk_condition *condition = &appending->condition;
    struct dbk_error why = {0};
    if (query == NULL || node->count != (after == NULL ? 1 : 2) ||
        (after != NULL && (after->kind != DBK_JSON_INTEGER || after->integer < 0)))
        return dbk_error_set(err, DBK_EINVAL,
                             "condition: it is {\"fail_if_match\":[…],\"after\":POSITION}");
    condition->after = after == NULL ? 0 : (uint64_t)after->integer;
    int rc = dbk_query_read(&appending->call->scratch->arena, query, &condition->none, &why);
    return rc < 0 ? dbk_error_set(err, rc, "condition: fail_if_match: %s", why.message) : rc;
}

static int read_batch(struct appending *appending, const struct dbk_json_node *root,
                      struct dbk_error *err)
{
    const struct dbk_json_node *member = dbk_json_first(root);
    int rc = root->kind == DBK_JSON_OBJECT
                 ? DBK_OK
                 : dbk_error_set(err, DBK_EINVAL, "the body is no object with \"events\"");
    for (uint32_t i = 0; rc == DBK_OK && i < root->count; i++, member = dbk_json_sibling(member)) {
        if (dbk_slice_equal_text(member->key, "events"))
            rc = member->kind == DBK_JSON_ARRAY
                     ? read_events(appending, member, (struct dbk_slice){0}, err)
                     : dbk_error_set(err, DBK_EINVAL, "events is no list");
        else if (dbk_slice_equal_text(member->key, "expect"))
            rc = read_expectations(appending, member, err);
        else if (dbk_slice_equal_text(member->key, "condition"))
            rc = read_condition(appending, member, err);
        else if (dbk_slice_equal_text(member->key, "skip_known") &&
                 (member->kind == DBK_JSON_TRUE || member->kind == DBK_JSON_FALSE))
            appending->flags = member->kind == DBK_JSON_TRUE ? DBK_APPEND_SKIP_KNOWN : 0;
        else
            rc = dbk_error_set(err, DBK_EINVAL,
                               "the body has events, expect, condition and skip_known (true or "
                               "false), not \"%.*s\"",
                               DBK_SLICE_ARGS(member->key));
    }
    return rc;
}

int dbk_api_append_events(struct dbk_api_call *call, struct dbk_error *err)
{
    struct appending appending = {.call = call};
    const struct dbk_json_node *root = NULL;
    int rc = parse_body(call, &root, err);
    if (rc == DBK_OK)
        rc = read_batch(&appending, root, err);
    if (rc == DBK_OK)
        rc = read_flags(&appending, err);
    return rc < 0 ? rc : append(&appending, (struct dbk_slice){0}, err);
}
