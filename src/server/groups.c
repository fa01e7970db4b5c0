/* SPDX-License-Identifier: Apache-2.0 */
/* Consumer groups: /groups and what is below. */
#include "server/guard.h"

#define LIMIT_DEFAULT 1
#define UNACKED_DEFAULT 10
#define WAIT_MAX_MS 300000
#define COMMENT_US (INT64_C(15) * 1000000)
/* How long a reader sleeps before it looks whether its client is still there. */
#define LOOK_US (INT64_C(1) * 1000000)

static struct dbk_groups *groups_of(const struct dbk_api_call *call)
{
    return dbk_engine_groups(call->engine);
}

/* ---- What there is ---- */

struct listing {
    struct dbk_api_call *call;
    const char *comma;
};

static int put_status(struct dbk_slice name, const struct dbk_group_status *status, void *context)
{
    struct listing *listing = context;
    struct dbk_buf *out = &listing->call->scratch->out;
    uint64_t last = dbk_store_last_position(dbk_engine_store(listing->call->engine));
    bool first = true;
    dbk_buf_append_text(out, listing->comma);
    listing->comma = ",";
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "name", name);
    dbk_put_u64(out, &first, "position", status->position);
    dbk_put_u64(out, &first, "behind", last > status->position ? last - status->position : 0);
    dbk_put_u64(out, &first, "ready", status->ready);
    dbk_put_u64(out, &first, "leased", status->leased);
    dbk_put_u64(out, &first, "waiting", status->waiting);
    dbk_put_u64(out, &first, "parked", status->parked);
    if (status->oldest > 0)
        dbk_put_u64(out, &first, "oldest_open", status->oldest);
    dbk_put_u64(out, &first, "consumers", status->consumers);
    dbk_put_u64(out, &first, "delivered", status->delivered);
    dbk_put_u64(out, &first, "acked", status->acked);
    dbk_put_u64(out, &first, "retried", status->retried);
    if (status->trouble[0] != '\0')
        dbk_put_text(out, &first, "trouble", dbk_slice_of(status->trouble));
    dbk_json_write_key(out, &first, "settings");
    dbk_buf_append(out, status->settings);
    dbk_buf_append_char(out, '}');
    return out->rc;
}

static int put_seen(struct dbk_slice name, const struct dbk_group_status *status, void *context)
{
    const struct listing *listing = context;
    return dbk_guard_sees(listing->call, DBK_SCOPE_GROUP, name) ? put_status(name, status, context)
                                                                : DBK_OK;
}

int dbk_api_groups(struct dbk_api_call *call, struct dbk_error *err)
{
    struct listing listing = {call, ""};
    dbk_buf_append_text(&call->scratch->out, "{\"groups\":[");
    int rc = dbk_group_list(groups_of(call), put_seen, &listing, err);
    dbk_buf_append_text(&call->scratch->out, "]}");
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

static int send_status(struct dbk_api_call *call, int status, struct dbk_error *err)
{
    struct listing listing = {call, ""};
    int rc = dbk_group_show(groups_of(call), call->parts[1], put_status, &listing, err);
    return rc < 0 ? rc : dbk_call_send_json(call, status);
}

int dbk_api_group(struct dbk_api_call *call, struct dbk_error *err)
{
    return send_status(call, 200, err);
}

int dbk_api_body(struct dbk_api_call *call, const struct dbk_json_node **root_out,
                 struct dbk_error *err)
{
    struct dbk_error why = {0};
    struct dbk_slice body = call->request->body;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc < 0)
        return rc;
    if (body.size == 0)
        body = DBK_SLICE_LITERAL("{}");
    rc = dbk_json_parse(call->scratch->json, body, root_out, &why);
    if (rc < 0)
        return dbk_error_set(err, rc, "the body: %s", why.message);
    if ((*root_out)->kind != DBK_JSON_OBJECT)
        return dbk_error_set(err, DBK_EINVAL, "the body is no JSON object");
    return DBK_OK;
}

int dbk_api_group_set(struct dbk_api_call *call, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    bool created = false;
    int rc = dbk_api_body(call, &root, err);
    if (rc == DBK_OK)
        rc = dbk_guard_group(call, root, err);
    if (rc == DBK_OK)
        rc = dbk_group_set(groups_of(call), call->parts[1], root, &created, err);
    return rc < 0 ? rc : send_status(call, created ? 201 : 200, err);
}

int dbk_api_group_remove(struct dbk_api_call *call, struct dbk_error *err)
{
    bool first = true;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_group_remove(groups_of(call), call->parts[1], err);
    if (rc < 0)
        return rc;
    dbk_buf_append_char(&call->scratch->out, '{');
    dbk_put_text(&call->scratch->out, &first, "removed", call->parts[1]);
    dbk_buf_append_char(&call->scratch->out, '}');
    return dbk_call_send_json(call, 200);
}

/* ---- Reading ---- */

/* True when the client is still there. */
static bool is_there(struct dbk_api_call *call)
{
    return dbk_call_wait(call) >= 0;
}

static int put_item(const struct dbk_event *event, uint32_t attempt, void *context)
{
    struct listing *listing = context;
    struct dbk_buf *out = &listing->call->scratch->out;
    if (!dbk_guard_may_read(listing->call, event->stream))
        return DBK_EDENIED;
    /* The first may have been waited for: nothing is leased to who is gone, or whose key is. */
    if (listing->comma[0] == '\0' && !is_there(listing->call))
        return DBK_ECONNECT;
    dbk_buf_append_text(out, listing->comma);
    listing->comma = ",";
    dbk_api_put_delivery(out, event, attempt);
    return out->rc;
}

int dbk_api_group_read(struct dbk_api_call *call, struct dbk_error *err)
{
    struct listing listing = {call, ""};
    struct dbk_os *os = dbk_engine_os(call->engine);
    uint64_t limit = LIMIT_DEFAULT;
    uint64_t wait_ms = 0;
    size_t count = 0;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "limit", &limit, err);
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "wait_ms", &wait_ms, err);
    if (rc == DBK_OK && (limit == 0 || limit > DBK_GROUP_BATCH_MAX))
        rc = dbk_error_set(err, DBK_EINVAL, "limit: 1 to %d events", DBK_GROUP_BATCH_MAX);
    if (rc == DBK_OK && wait_ms > WAIT_MAX_MS)
        rc = dbk_error_set(err, DBK_EINVAL, "wait_ms: at most %d", WAIT_MAX_MS);
    if (rc < 0)
        return rc;
    int64_t end_us = os->monotonic_us(os) + (int64_t)wait_ms * 1000;
    dbk_buf_append_text(&call->scratch->out, "{\"events\":[");
    for (;;) {
        int64_t left_us = end_us - os->monotonic_us(os);
        struct dbk_group_read read = {.name = call->parts[1],
                                      .limit = (size_t)limit,
                                      .timeout_us = left_us < LOOK_US ? left_us : LOOK_US,
                                      .each = put_item,
                                      .context = &listing};
        rc = dbk_group_read(groups_of(call), &read, &count, err);
        if (rc < 0 || count > 0 || os->monotonic_us(os) >= end_us || !is_there(call))
            break;
    }
    dbk_buf_append_text(&call->scratch->out, "]}");
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

static int put_live(const struct dbk_event *event, uint32_t attempt, void *context)
{
    struct dbk_api_call *call = context;
    /* The group may have got another filter since. */
    if (!dbk_guard_may_read(call, event->stream))
        return DBK_EDENIED;
    dbk_api_put_sse(&call->scratch->out, event, attempt);
    return call->scratch->out.rc;
}

static int follow(struct dbk_api_call *call, uint32_t consumer, uint64_t unacked,
                  struct dbk_error *err)
{
    struct dbk_os *os = dbk_engine_os(call->engine);
    int64_t commented_us = os->monotonic_us(os);
    struct dbk_group_read read = {.name = call->parts[1],
                                  .consumer = consumer,
                                  .limit = DBK_GROUP_BATCH_MAX,
                                  .unacked_max = (size_t)unacked,
                                  .timeout_us = LOOK_US,
                                  .each = put_live,
                                  .context = call};
    size_t count = 0;
    int rc = dbk_call_begin(call, 200, "text/event-stream");
    if (rc >= 0) {
        dbk_buf_append_text(&call->scratch->out, ": a consumer of the group\n\n");
        rc = dbk_call_flush(call);
    }
    while (rc >= 0) {
        rc = dbk_group_read(groups_of(call), &read, &count, err);
        if (rc == DBK_OK && count == 0)
            rc = dbk_call_wait(call);
        if (rc == DBK_OK && os->monotonic_us(os) - commented_us >= COMMENT_US) {
            commented_us = os->monotonic_us(os);
            dbk_buf_append_text(&call->scratch->out, ": still here\n\n");
        }
        if (rc == DBK_OK && call->scratch->out.size > 0)
            rc = dbk_call_flush(call);
    }
    return rc;
}

int dbk_api_group_events(struct dbk_api_call *call, struct dbk_error *err)
{
    uint64_t unacked = UNACKED_DEFAULT;
    uint32_t consumer = 0;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "unacked", &unacked, err);
    if (rc == DBK_OK && (unacked == 0 || unacked > DBK_GROUP_BATCH_MAX))
        rc = dbk_error_set(err, DBK_EINVAL, "unacked: 1 to %d events", DBK_GROUP_BATCH_MAX);
    if (rc == DBK_OK && !dbk_call_accepts(call, "text/event-stream"))
        rc = dbk_error_set(err, DBK_EINVAL,
                           "this is a live stream for Accept: text/event-stream; "
                           "POST /groups/%.*s/read answers at once",
                           DBK_SLICE_ARGS(call->parts[1]));
    if (rc == DBK_OK)
        rc = dbk_group_join(groups_of(call), call->parts[1], &consumer, err);
    if (rc < 0)
        return rc;
    rc = follow(call, consumer, unacked, err);
    dbk_group_leave(groups_of(call), call->parts[1], consumer);
    return rc < 0 ? rc : 200;
}

/* ---- Answering ---- */

int dbk_api_positions(struct dbk_api_call *call, const struct dbk_json_node *list,
                      const uint64_t **positions_out, size_t *count_out, struct dbk_error *err)
{
    if (list->kind != DBK_JSON_ARRAY || list->count == 0)
        return dbk_error_set(err, DBK_EINVAL, "positions is a list of positions that is not empty");
    uint64_t *positions =
        dbk_arena_alloc_zero(&call->scratch->arena, list->count, sizeof(*positions));
    if (positions == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading positions");
    const struct dbk_json_node *node = dbk_json_first(list);
    for (uint32_t i = 0; i < list->count; i++, node = dbk_json_sibling(node)) {
        if (node->kind != DBK_JSON_INTEGER || node->integer < 1)
            return dbk_error_set(err, DBK_EINVAL, "positions: item %u is no position", i);
        positions[i] = (uint64_t)node->integer;
    }
    *positions_out = positions;
    *count_out = list->count;
    return DBK_OK;
}

static int read_action(const struct dbk_json_node *node, enum dbk_group_action *action_out,
                       struct dbk_error *err)
{
    static const struct {
        const char *name;
        enum dbk_group_action action;
    } actions[] = {{"retry", DBK_GROUP_RETRY}, {"park", DBK_GROUP_PARK}, {"skip", DBK_GROUP_SKIP}};
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (node->kind == DBK_JSON_STRING && dbk_slice_equal_text(node->text, actions[i].name)) {
            *action_out = actions[i].action;
            return DBK_OK;
        }
    }
    return dbk_error_set(err, DBK_EINVAL, "action is \"retry\", \"park\" or \"skip\"");
}

static int read_answer(struct dbk_api_call *call, const struct dbk_json_node *root,
                       struct dbk_group_answer *answer, struct dbk_error *err)
{
    bool nack = answer->action != DBK_GROUP_ACK;
    const struct dbk_json_node *member = dbk_json_first(root);
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && i < root->count; i++, member = dbk_json_sibling(member)) {
        if (dbk_slice_equal_text(member->key, "positions"))
            rc = dbk_api_positions(call, member, &answer->positions, &answer->count, err);
        else if (nack && dbk_slice_equal_text(member->key, "action"))
            rc = read_action(member, &answer->action, err);
        else if (nack && dbk_slice_equal_text(member->key, "reason") &&
                 member->kind == DBK_JSON_STRING)
            answer->reason = member->text;
        else if (!nack || !dbk_slice_equal_text(member->key, "delay"))
            rc = dbk_error_set(err, DBK_EINVAL, "the body has %s, not \"%.*s\"",
                               nack ? "positions, action, reason (a text) and delay" : "positions",
                               (int)(member->key.size < 80 ? member->key.size : 80),
                               member->key.data);
        else if (member->kind != DBK_JSON_STRING ||
                 !dbk_duration_parse(member->text, &answer->delay_us) || answer->delay_us < 0)
            rc = dbk_error_set(err, DBK_EINVAL, "delay is a duration, as \"5 s\"");
    }
    if (rc == DBK_OK && answer->count == 0)
        rc = dbk_error_set(err, DBK_EINVAL, "the body says no positions");
    return rc;
}

static int send_count(struct dbk_api_call *call, const char *what, size_t count)
{
    bool first = true;
    dbk_buf_append_char(&call->scratch->out, '{');
    dbk_put_u64(&call->scratch->out, &first, what, count);
    dbk_buf_append_char(&call->scratch->out, '}');
    return dbk_call_send_json(call, 200);
}

static int answer(struct dbk_api_call *call, enum dbk_group_action action, const char *what,
                  struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_group_answer answer = {.name = call->parts[1], .action = action, .delay_us = -1};
    size_t count = 0;
    int rc = dbk_api_body(call, &root, err);
    if (rc == DBK_OK)
        rc = read_answer(call, root, &answer, err);
    if (rc == DBK_OK)
        rc = dbk_group_answer(groups_of(call), &answer, &count, err);
    return rc < 0 ? rc : send_count(call, what, count);
}

int dbk_api_group_ack(struct dbk_api_call *call, struct dbk_error *err)
{
    return answer(call, DBK_GROUP_ACK, "acked", err);
}

int dbk_api_group_nack(struct dbk_api_call *call, struct dbk_error *err)
{
    return answer(call, DBK_GROUP_RETRY, "nacked", err);
}

/* ---- What is parked ---- */

static int put_parked(const struct dbk_group_parked *parked, void *context)
{
    struct listing *listing = context;
    struct dbk_buf *out = &listing->call->scratch->out;
    bool first = true;
    if (!dbk_guard_may_read(listing->call, parked->stream))
        return DBK_EDENIED;
    dbk_buf_append_text(out, listing->comma);
    listing->comma = ",";
    dbk_buf_append_char(out, '{');
    dbk_put_u64(out, &first, "position", parked->position);
    dbk_put_text(out, &first, "stream", parked->stream);
    dbk_put_u64(out, &first, "version", parked->version);
    dbk_put_text(out, &first, "type", parked->type);
    dbk_put_time(out, &first, "parked", parked->time_us);
    dbk_put_u64(out, &first, "attempts", parked->attempts);
    dbk_put_text(out, &first, "reason", parked->reason);
    dbk_buf_append_char(out, '}');
    return out->rc;
}

int dbk_api_group_parked(struct dbk_api_call *call, struct dbk_error *err)
{
    struct listing listing = {call, ""};
    dbk_buf_append_text(&call->scratch->out, "{\"parked\":[");
    int rc = dbk_group_list_parked(groups_of(call), call->parts[1], put_parked, &listing, err);
    dbk_buf_append_text(&call->scratch->out, "]}");
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

static int unpark(struct dbk_api_call *call, bool replay, const char *what, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    const uint64_t *positions = NULL;
    size_t count = 0;
    int rc = dbk_api_body(call, &root, err);
    if (rc < 0)
        return rc;
    const struct dbk_json_node *list = dbk_json_member(root, "positions");
    if (root->count != (list == NULL ? 0 : 1))
        return dbk_error_set(err, DBK_EINVAL, "the body has positions, or nothing: all");
    if (list != NULL)
        rc = dbk_api_positions(call, list, &positions, &count, err);
    if (rc == DBK_OK)
        rc = dbk_group_unpark(groups_of(call), call->parts[1], replay, positions, count, &count,
                              err);
    return rc < 0 ? rc : send_count(call, what, count);
}

int dbk_api_group_replay(struct dbk_api_call *call, struct dbk_error *err)
{
    return unpark(call, true, "replayed", err);
}

int dbk_api_group_drop(struct dbk_api_call *call, struct dbk_error *err)
{
    return unpark(call, false, "dropped", err);
}
