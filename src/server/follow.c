/* SPDX-License-Identifier: Apache-2.0 */
/* GET /views/{view}/changes: a view's rows and what its refreshes change of them. */
#include "server/guard.h"
#include "view/changes.h"

/* Bytes of an answer that are sent at once. */
#define PIECE_SIZE ((size_t)64 << 10)
#define COMMENT_US (INT64_C(15) * 1000000)
/* How long a follower sleeps before it looks whether its client is still there. */
#define LOOK_US INT64_C(250000)
#define WAIT_MAX_MS 300000

struct following {
    struct dbk_api_call *call;
    struct dbk_follower *follower;
    bool live;
    uint64_t limit; /* changes; 0: all */
    uint64_t count;
    int64_t end_us;     /* until when the first change is waited for, by the monotonic clock */
    int64_t comment_us; /* when the last comment was sent */
};

static void put_change(struct dbk_buf *out, const struct dbk_view_change *change, bool live)
{
    bool first = true;
    if (live && change->token != NULL)
        dbk_buf_append_format(out, "id: %s\n", change->token);
    if (live)
        dbk_buf_append_format(out, "event: %s\ndata: ", dbk_view_change_text(change->kind));
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "change", dbk_slice_of(dbk_view_change_text(change->kind)));
    if (change->token != NULL)
        dbk_put_text(out, &first, "id", dbk_slice_of(change->token));
    dbk_put_u64(out, &first, "position", change->position);
    if (change->as_of_us != DBK_TIME_NONE)
        dbk_put_time(out, &first, "time", change->as_of_us);
    if (change->old_row.size > 0) {
        dbk_json_write_key(out, &first, "old");
        dbk_buf_append(out, change->old_row);
    }
    if (change->new_row.size > 0) {
        dbk_json_write_key(out, &first, "new");
        dbk_buf_append(out, change->new_row);
    }
    dbk_buf_append_text(out, live ? "}\n\n" : "}\n");
}

/* Between changes. 0: there is nothing to wait for any more. */
static int wait_more(struct following *following)
{
    struct dbk_api_call *call = following->call;
    struct dbk_os *os = dbk_engine_os(call->engine);
    int64_t now_us = os->monotonic_us(os);
    int rc = dbk_call_flush(call);
    if (rc >= 0)
        rc = dbk_call_wait(call);
    if (rc < 0)
        return rc;
    if (!following->live && (following->count > 0 || now_us >= following->end_us))
        return 0;
    if (following->live && now_us - following->comment_us >= COMMENT_US) {
        following->comment_us = now_us;
        dbk_buf_append_text(&call->scratch->out, ": still here\n\n");
        rc = dbk_call_flush(call);
    }
    dbk_follower_wait(following->follower, LOOK_US);
    return rc < 0 ? rc : 1;
}

static int send(struct following *following, struct dbk_error *err)
{
    struct dbk_api_call *call = following->call;
    struct dbk_buf *out = &call->scratch->out;
    int rc =
        dbk_call_begin(call, 200, following->live ? "text/event-stream" : "application/x-ndjson");
    if (rc >= 0 && following->live) {
        dbk_buf_append_text(out, ": the view's changes\n\n");
        rc = dbk_call_flush(call);
    }
    while (rc >= 0 && (following->limit == 0 || following->count < following->limit)) {
        struct dbk_view_change change;
        rc = dbk_follower_next(following->follower, &change, err);
        if (rc == 1) {
            put_change(out, &change, following->live);
            following->count += change.kind != DBK_VIEW_CHANGE_FRESH;
            rc = out->size < PIECE_SIZE && out->rc == DBK_OK ? DBK_OK : dbk_call_flush(call);
        } else if (rc == 0) {
            rc = wait_more(following);
            if (rc == 0)
                break;
        }
    }
    if (rc >= 0)
        rc = dbk_call_flush(call);
    return rc < 0 ? rc : 200;
}

/* Last-Event-ID goes before after. */
static struct dbk_slice after_of(const struct dbk_api_call *call)
{
    struct dbk_slice after = dbk_call_header_of(call, "Last-Event-ID");
    if (after.size == 0)
        (void)dbk_call_text(call, "after", &after);
    return after;
}

int dbk_api_view_changes(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_os *os = dbk_engine_os(call->engine);
    struct dbk_engine_counters *counters = dbk_engine_counters(call->engine);
    struct following following = {.call = call,
                                  .live = dbk_call_accepts(call, "text/event-stream"),
                                  .comment_us = os->monotonic_us(os)};
    uint64_t wait_ms = 0;
    int rc = dbk_call_number(call, "limit", &following.limit, err);
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "wait_ms", &wait_ms, err);
    if (rc == DBK_OK && wait_ms > WAIT_MAX_MS)
        rc = dbk_error_set(err, DBK_EINVAL, "wait_ms: at most %d", WAIT_MAX_MS);
    if (rc == DBK_OK)
        rc = dbk_views_follow(dbk_engine_views(call->engine), dbk_api_part(call, 1), after_of(call),
                              dbk_engine_check_writer(call->engine, NULL) == DBK_OK,
                              &following.follower, err);
    if (rc < 0)
        return rc;
    following.end_us = os->monotonic_us(os) + (int64_t)wait_ms * 1000;
    counters->tails++;
    rc = send(&following, err);
    counters->tails--;
    dbk_follower_free(following.follower);
    return rc;
}
