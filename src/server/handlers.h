/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handlers -- one function an operation, and the table that names them.
 *
 * A handler returns the status it has sent. Negative: err says why, and the dispatcher sends the
 * problem document, or breaks the answer off when it had begun.
 *
 * Threads: any.
 */
#ifndef DBK_SERVER_HANDLERS_H
#define DBK_SERVER_HANDLERS_H

#include "server/request.h"

typedef int (*dbk_handler_fn)(struct dbk_api_call *call, struct dbk_error *err);

struct dbk_route {
    const char *method;
    const char *path; /* "/streams/{stream}/state" */
    dbk_handler_fn handler;
    const char *query; /* names of its query parameters, a space between; "*": any */
    const char *summary;
    bool body; /* takes one, in JSON */
};

extern const struct dbk_route dbk_routes[];
extern const size_t dbk_route_count;

int dbk_api_append_stream(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_append_events(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_read_stream(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_read_events(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_stream_rules(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_stream_set_rules(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_stream_delete(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_compact(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_move(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_reopen(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_upgrade(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_groups(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_group(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_group_set(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_group_remove(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_group_read(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_group_events(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_group_ack(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_group_nack(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_group_parked(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_group_replay(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_group_drop(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_keys(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_keys_rotate(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_state(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_log(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_timeline(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_trace(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_command(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_advice(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_queries(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_query(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_report(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_sql(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_models(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_model(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_model_table(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_model_letters(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_model_letter(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_model_retry(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_model_drop(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_model_rebuild(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_sagas(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_saga(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_saga_instance(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_saga_retry(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_saga_cancel(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_captures(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_capture_position(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_capture_resnapshot(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_views(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_view(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_view_rows(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_view_changes(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_view_alerts(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_view_alert(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_view_alert_do(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_view_explain(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_view_verify(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_view_refresh(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_view_rollback(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_plan(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_proof_checkpoint(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_proof_inclusion(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_proof_consistency(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_proof_key(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_forget(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_forgotten(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_forgotten_run(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_forgotten_one(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_certificate(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_access_keys(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_access_add(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_access_rotate(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_access_scope(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_access_limit(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_access_revoke(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_root(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_health(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_metrics(struct dbk_api_call *call, struct dbk_error *err);
int dbk_api_openapi(struct dbk_api_call *call, struct dbk_error *err);

/* The body as JSON, an object; an empty one is an empty object. Only where this process writes. */
int dbk_api_body(struct dbk_api_call *call, const struct dbk_json_node **root_out,
                 struct dbk_error *err) DBK_MUST_CHECK;
/* A list of positions that is not empty, in the request's arena. */
int dbk_api_positions(struct dbk_api_call *call, const struct dbk_json_node *list,
                      const uint64_t **positions_out, size_t *count_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Rows of SQL as {"columns":[…],"rows":[{…}],"position":P}; more: members before, with a comma
   behind. */
int dbk_api_send_rows(struct dbk_api_call *call, struct dbk_rows *rows, const char *more,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* `after` and `timeout_ms`. */
int dbk_api_after(const struct dbk_api_call *call, uint64_t *after_out, int64_t *timeout_us_out,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* A model's or a view's status, as a JSON object. */
int dbk_api_put_model(struct dbk_api_call *call, size_t index,
                      struct dbk_error *err) DBK_MUST_CHECK;
int dbk_api_put_view(struct dbk_api_call *call, size_t index, struct dbk_error *err) DBK_MUST_CHECK;
/* The models' part of /metrics. */
int dbk_api_put_models_metrics(struct dbk_api_call *call, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_api_put_views_metrics(struct dbk_api_call *call, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_api_put_alerts_metrics(struct dbk_api_call *call, struct dbk_error *err) DBK_MUST_CHECK;
/* What /healthz says of a view's; *degraded: one is stuck. */
int dbk_api_put_alerts_health(struct dbk_api_call *call, size_t view, bool *degraded,
                              struct dbk_error *err) DBK_MUST_CHECK;
/* The captures' part of /healthz and /metrics. */
int dbk_api_put_captures_health(struct dbk_api_call *call, bool *degraded,
                                struct dbk_error *err) DBK_MUST_CHECK;
int dbk_api_put_captures_metrics(struct dbk_api_call *call, struct dbk_error *err) DBK_MUST_CHECK;
/* The sagas' part of /healthz and /metrics. */
void dbk_api_put_sagas_health(struct dbk_api_call *call, bool *degraded);
int dbk_api_put_sagas_metrics(struct dbk_api_call *call, struct dbk_error *err) DBK_MUST_CHECK;
/* An event as JSON, with the member `attempt` when it is not 0; and as a server-sent event. */
void dbk_api_put_delivery(struct dbk_buf *out, const struct dbk_event *event, uint32_t attempt);
void dbk_api_put_sse(struct dbk_buf *out, const struct dbk_event *event, uint32_t attempt);
/* How far long work is. */
struct dbk_api_progress {
    struct dbk_api_call *call;
    int64_t told_us;
    bool broken; /* the client is gone: the work ends, to be gone on with */
};
/* Writes a line when it is time for one; false: the client is gone. */
bool dbk_api_tell(void *progress, uint64_t done, uint64_t total);
/* The status once it is done: the answer, or its last line. */
int dbk_api_finish(struct dbk_api_call *call, bool lines, int rc);
/* The version that If-Match or If-None-Match expects of a stream; DBK_EXPECT_ANY: none. */
int dbk_api_expected(const struct dbk_api_call *call, int64_t *version_out,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* A path's part as text. */
const char *dbk_api_part(const struct dbk_api_call *call, size_t index);

#endif
