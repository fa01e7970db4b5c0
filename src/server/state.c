/* SPDX-License-Identifier: Apache-2.0 */
/* GET /streams/{stream}/state and /log; POST /commands/{name}. */
#include <stdio.h>

#include "audit/audit.h"
#include "server/guard.h"

static int read_at(const struct dbk_api_call *call, struct dbk_fold_at *at, struct dbk_error *err)
{
    struct dbk_slice text = {0};
    int given = dbk_call_text(call, "version", &text) + dbk_call_text(call, "at", &text) +
                dbk_call_text(call, "occurred_at", &text);
    if (given > 1)
        return dbk_error_set(err, DBK_EINVAL, "version, at and occurred_at exclude each other");
    int rc = dbk_call_number(call, "version", &at->version, err);
    if (rc == DBK_OK)
        rc = dbk_call_time(call, "at", &at->time_us, err);
    if (rc == DBK_OK)
        rc = dbk_call_time(call, "occurred_at", &at->occurred_us, err);
    if (rc == DBK_OK && dbk_call_text(call, "version", &text) && at->version == 0)
        return dbk_error_set(err, DBK_EINVAL, "version: the first event's is 1");
    return rc;
}

/* There was no such stream, or not yet: the message says which. */
static int none(const struct dbk_api_call *call, const struct dbk_fold_at *at,
                struct dbk_error *err)
{
    char time[DBK_TIME_TEXT_SIZE];
    uint64_t version = 0;
    struct dbk_slice stream = call->parts[1];
    int rc = dbk_store_stream_version(dbk_engine_store(call->engine), stream, &version, err);
    if (rc < 0)
        return rc;
    if (version == 0)
        return dbk_error_set(err, DBK_ENOTFOUND, "there is no stream %.*s", DBK_SLICE_ARGS(stream));
    (void)dbk_time_format(at->time_us != 0 ? at->time_us : at->occurred_us, time);
    return dbk_error_set(err, DBK_ENOTFOUND, "there was no stream %.*s yet at %s",
                         DBK_SLICE_ARGS(stream), time);
}

static int check_version(const struct dbk_api_call *call, const struct dbk_fold_at *at,
                         const struct dbk_fold_result *result, struct dbk_error *err)
{
    if (at->version <= result->version)
        return DBK_OK;
    return dbk_error_set(err, DBK_ENOTFOUND, "stream %.*s has %ju versions, not %ju",
                         DBK_SLICE_ARGS(call->parts[1]), (uintmax_t)result->version,
                         (uintmax_t)at->version);
}

int dbk_api_state(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_fold_at at = {0};
    struct dbk_fold_result result = {0};
    struct dbk_buf state;
    struct dbk_buf *out = &call->scratch->out;
    bool explain = false;
    bool first = true;
    dbk_buf_init(&state, DBK_ENGINE_TEXT_SIZE_MAX);
    int rc = read_at(call, &at, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "explain", &explain, err);
    if (rc == DBK_OK)
        rc = dbk_fold_state(dbk_engine_folds(call->engine), call->parts[1], &at, &state, &result,
                            err);
    if (rc == DBK_OK && result.version == 0)
        rc = none(call, &at, err);
    if (rc == DBK_OK)
        rc = check_version(call, &at, &result, err);
    if (rc == DBK_OK) {
        call->position = result.position;
        dbk_buf_append_char(out, '{');
        dbk_put_text(out, &first, "stream", call->parts[1]);
        dbk_put_u64(out, &first, "version", result.version);
        dbk_put_u64(out, &first, "position", result.position);
        dbk_put_time(out, &first, "time", result.time_us);
        dbk_json_write_key(out, &first, "state");
        dbk_buf_append(out, dbk_buf_slice(&state));
        if (explain)
            dbk_buf_append_format(out, ",\"explain\":{\"snapshot_version\":%ju,\"replayed\":%ju}",
                                  (uintmax_t)result.snapshot_version, (uintmax_t)result.replayed);
        dbk_buf_append_char(out, '}');
        rc = dbk_call_send_json(call, 200);
    }
    dbk_buf_release(&state);
    return rc;
}

/* Of one version. */
static const struct dbk_diff_limits diff_limits = {.changes = 1000, .size = (size_t)1 << 20};

struct logging {
    struct dbk_api_call *call;
    bool lines;
    uint64_t count;
    /* With `diff`: changes stand in place of the state. */
    bool diff;
    uint64_t from;                      /* a version before it only says what was before */
    struct dbk_json *parsers[2];        /* of the last state and the one at hand, by turns */
    const struct dbk_json_node *before; /* in the first parser */
    struct dbk_error *err;
};

static int read_state(struct logging *logging, struct dbk_slice state, uint64_t version,
                      const struct dbk_json_node **state_out)
{
    struct dbk_error why = {0};
    int rc = dbk_json_parse(logging->parsers[1], state, state_out, &why);
    return rc < 0 ? dbk_error_set(logging->err, rc, "the state at version %ju: %s",
                                  (uintmax_t)version, why.message)
                  : rc;
}

/* The state at hand becomes the last one. */
static void turn(struct logging *logging, const struct dbk_json_node *state)
{
    struct dbk_json *parser = logging->parsers[0];
    logging->parsers[0] = logging->parsers[1];
    logging->parsers[1] = parser;
    logging->before = state;
}

static int begin_diff(struct logging *logging, struct dbk_error *err)
{
    struct dbk_fold_result result;
    struct dbk_buf state;
    const struct dbk_json_node *root = NULL;
    logging->err = err;
    for (size_t i = 0; i < 2; i++) {
        logging->parsers[i] = dbk_json_create(DBK_ENGINE_TEXT_SIZE_MAX);
        if (logging->parsers[i] == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory comparing states");
    }
    dbk_buf_init(&state, DBK_ENGINE_TEXT_SIZE_MAX);
    /* Before the first event of all there is the initial state. */
    int rc = dbk_fold_state(dbk_engine_folds(logging->call->engine), logging->call->parts[1],
                            &(struct dbk_fold_at){.time_us = 1}, &state, &result, err);
    if (rc == DBK_OK)
        rc = read_state(logging, dbk_buf_slice(&state), 0, &root);
    if (rc == DBK_OK)
        turn(logging, root);
    dbk_buf_release(&state);
    return rc;
}

static int put_changes(struct logging *logging, const struct dbk_event *event,
                       const struct dbk_json_node *state)
{
    struct dbk_buf *out = &logging->call->scratch->out;
    uint64_t left_out = 0;
    dbk_put_event(out, event, (struct dbk_slice){0});
    if (out->rc < 0)
        return out->rc;
    out->size--; /* the closing brace */
    dbk_buf_append_text(out, ",\"changes\":");
    int rc = dbk_diff_write(logging->before, state, &diff_limits, out, &left_out, logging->err);
    if (left_out > 0)
        dbk_buf_append_format(out, ",\"left_out\":%ju", (uintmax_t)left_out);
    dbk_buf_append_char(out, '}');
    return rc < 0 ? rc : out->rc;
}

static int log_each(const struct dbk_event *event, struct dbk_slice state, void *context)
{
    struct logging *logging = context;
    struct dbk_buf *out = &logging->call->scratch->out;
    const struct dbk_json_node *root = NULL;
    int rc = logging->diff ? read_state(logging, state, event->version, &root) : DBK_OK;
    bool shown = event->version >= logging->from;
    if (rc == DBK_OK && shown && logging->count++ > 0 && !logging->lines)
        dbk_buf_append_char(out, ',');
    if (rc == DBK_OK && shown && logging->diff)
        rc = put_changes(logging, event, root);
    else if (rc == DBK_OK && shown)
        dbk_put_event(out, event, state);
    if (logging->diff)
        turn(logging, root);
    if (rc < 0 || !shown)
        return rc;
    if (!logging->lines)
        return out->rc;
    dbk_buf_append_char(out, '\n');
    return out->size < 65536 && out->rc == DBK_OK ? DBK_OK : dbk_call_flush(logging->call);
}

static int send_log(struct logging *logging, struct dbk_fold_range range, struct dbk_error *err)
{
    range.version_min = logging->diff && logging->from > 1 ? logging->from - 1 : logging->from;
    struct dbk_api_call *call = logging->call;
    struct dbk_buf *out = &call->scratch->out;
    bool first = true;
    if (logging->lines) {
        int rc = dbk_call_begin(call, 200, "application/x-ndjson");
        if (rc < 0)
            return rc;
    } else {
        dbk_buf_append_char(out, '{');
        dbk_put_text(out, &first, "stream", call->parts[1]);
        dbk_buf_append_text(out, ",\"entries\":[");
    }
    int rc = dbk_fold_log(dbk_engine_folds(call->engine), call->parts[1], &range, log_each, logging,
                          err);
    if (rc < 0)
        return rc;
    if (logging->lines) {
        rc = dbk_call_flush(call);
        return rc < 0 ? rc : 200;
    }
    dbk_buf_append_text(out, "]}");
    return dbk_call_send_json(call, 200);
}

int dbk_api_log(struct dbk_api_call *call, struct dbk_error *err)
{
    struct logging logging = {.call = call,
                              .lines = dbk_call_accepts(call, "application/x-ndjson")};
    struct dbk_fold_range range = {0};
    uint64_t version = 0;
    struct dbk_slice stream = call->parts[1];
    int rc = dbk_call_number(call, "from_version", &logging.from, err);
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "to_version", &range.version_max, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "raw", &range.raw, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "diff", &logging.diff, err);
    if (rc == DBK_OK)
        rc = dbk_store_stream_version(dbk_engine_store(call->engine), stream, &version, err);
    if (rc == DBK_OK && version == 0)
        rc = dbk_error_set(err, DBK_ENOTFOUND, "there is no stream %.*s", DBK_SLICE_ARGS(stream));
    if (rc == DBK_OK && !dbk_folds_has(dbk_engine_folds(call->engine), dbk_stream_category(stream)))
        rc = dbk_error_set(err, DBK_ENOTFOUND, "there is no fold for the category %.*s",
                           DBK_SLICE_ARGS(dbk_stream_category(stream)));
    if (rc == DBK_OK && logging.diff)
        rc = begin_diff(&logging, err);
    if (rc == DBK_OK)
        rc = send_log(&logging, range, err);
    dbk_json_free(logging.parsers[0]);
    dbk_json_free(logging.parsers[1]);
    return rc;
}

/* Headers become meta by their CloudEvents names. */
static struct dbk_slice command_meta(struct dbk_api_call *call)
{
    static const struct {
        const char *header;
        const char *key;
    } names[] = {{"correlation-id", "correlationid"},
                 {"causation-id", "causationid"},
                 {"traceparent", "traceparent"},
                 {"actor", "actor"}};
    struct dbk_buf meta;
    bool first = true;
    struct dbk_slice copy = {0};
    dbk_buf_init(&meta, DBK_URL_SIZE_MAX * 4);
    dbk_buf_append_char(&meta, '{');
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct dbk_slice value = dbk_call_header_of(call, names[i].header);
        if (value.size > 0 && dbk_slice_is_utf8(value))
            dbk_put_text(&meta, &first, names[i].key, value);
    }
    dbk_buf_append_char(&meta, '}');
    if (!first && meta.rc == DBK_OK)
        copy = dbk_arena_copy(&call->scratch->arena, dbk_buf_slice(&meta));
    dbk_buf_release(&meta);
    return copy;
}

static int refused(struct dbk_api_call *call, const struct dbk_command_result *result,
                   const struct dbk_error *err)
{
    struct dbk_buf extra;
    bool first = false;
    dbk_buf_init(&extra, DBK_URL_SIZE_MAX);
    if (result->refusal[0] != 0)
        dbk_put_text(&extra, &first, "refusal", dbk_slice_of(result->refusal));
    dbk_buf_append_char(&extra, 0);
    int rc = dbk_call_problem(call, 422, err, extra.rc == DBK_OK ? extra.data : NULL);
    dbk_buf_release(&extra);
    return rc;
}

static void put_answer(const struct dbk_command *command, const struct dbk_command_result *result,
                       struct dbk_slice events, struct dbk_buf *out)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "command", command->name);
    if (result->service != NULL) {
        dbk_put_text(out, &first, "service", dbk_slice_of(result->service));
    } else {
        dbk_put_text(out, &first, "stream", dbk_slice_of(result->stream));
        dbk_put_u64(out, &first, "version", result->version);
    }
    if (result->first_position != 0) {
        dbk_put_u64(out, &first, "first_position", result->first_position);
        dbk_put_u64(out, &first, "position", result->last_position);
    }
    if (result->source_position[0] != 0)
        dbk_put_text(out, &first, "source_position", dbk_slice_of(result->source_position));
    dbk_json_write_key(out, &first, result->service != NULL ? "rows" : "events");
    dbk_buf_append(out, events);
    dbk_put_bool(out, &first, "known", result->known);
    dbk_put_warnings(out, &first, &result->warnings);
    dbk_buf_append_char(out, '}');
}

int dbk_api_command(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_command command = {.name = call->parts[1], .body = call->request->body};
    struct dbk_command_result result;
    struct dbk_buf events;
    struct dbk_buf *out = &call->scratch->out;
    if (command.body.size == 0)
        command.body = DBK_SLICE_LITERAL("{}");
    command.idempotency_key = dbk_call_header_of(call, "Idempotency-Key");
    command.meta = command_meta(call);
    command.allow = dbk_guard_command;
    command.context = call;
    int rc = dbk_call_flag(call, "dry_run", &command.dry_run, err);
    if (rc == DBK_OK)
        rc = dbk_engine_check_writer(call->engine, err);
    if (rc < 0)
        return rc;
    dbk_buf_init(&events, DBK_ENGINE_TEXT_SIZE_MAX);
    rc = dbk_command_do(dbk_engine_commands(call->engine), &command, &events, &result, err);
    if (rc == DBK_EREFUSED) {
        rc = refused(call, &result, err);
    } else if (rc == DBK_OK) {
        call->position = result.last_position;
        put_answer(&command, &result, dbk_buf_slice(&events), out);
        rc = dbk_call_send_json(call, 200);
    }
    dbk_buf_release(&events);
    return rc;
}
