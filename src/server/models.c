/* SPDX-License-Identifier: Apache-2.0 */
/* Status, rebuilds and refreshes of models and views. */
#include "server/guard.h"

static const char *state_of(const struct dbk_model_status *status)
{
    if (status->stopped)
        return "stopped";
    return status->rebuild_generation != 0 ? "rebuilding" : "following";
}

static void put_error(struct dbk_buf *out, bool *first, const struct dbk_error *error)
{
    dbk_json_write_key(out, first, "error");
    if (error->code == DBK_OK)
        dbk_buf_append_text(out, "null");
    else
        dbk_json_write_string(out, dbk_slice_of(error->message));
}

/* null where there is none. */
static void put_ms(struct dbk_buf *out, bool *first, const char *name, bool there, int64_t time_us)
{
    if (there) {
        dbk_put_ms(out, first, name, time_us);
        return;
    }
    dbk_json_write_key(out, first, name);
    dbk_buf_append_text(out, "null");
}

static void put_name(struct dbk_buf *out, bool *first, const char *name, const char *value)
{
    if (value != NULL)
        dbk_put_text(out, first, name, dbk_slice_of(value));
}

static void put_pace(struct dbk_buf *out, bool *first, const struct dbk_model_status *status)
{
    bool measured = status->visible_count > 0;
    dbk_put_u64(out, first, "events_posted", status->events_posted);
    dbk_json_write_key(out, first, "events_per_second");
    dbk_buf_append_format(out, "%.1f", status->events_per_second);
    dbk_put_u64(out, first, "failures", status->failures);
    dbk_put_u64(out, first, "retries", status->retries);
    dbk_put_u64(out, first, "letters", status->letters);
    put_ms(out, first, "visible_p50_ms", measured, status->visible_p50_us);
    put_ms(out, first, "visible_p99_ms", measured, status->visible_p99_us);
    put_ms(out, first, "visible_max_ms", measured, status->visible_max_us);
}

int dbk_api_put_model(struct dbk_api_call *call, size_t index, struct dbk_error *err)
{
    struct dbk_model_status status;
    struct dbk_buf *out = &call->scratch->out;
    size_t count = 0;
    bool first = true;
    int rc = dbk_models_status(dbk_engine_models(call->engine), index, &status, err);
    if (rc < 0)
        return rc;
    const char *const *tables = dbk_engine_model_tables(call->engine, index, &count);
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "name", dbk_slice_of(status.name));
    dbk_put_text(out, &first, "database", dbk_slice_of(status.database));
    dbk_put_text(out, &first, "sync", dbk_slice_of(dbk_model_sync_text(status.sync)));
    if (status.mode != NULL) {
        dbk_put_text(out, &first, "mode", dbk_slice_of(status.mode));
    } else {
        dbk_json_write_key(out, &first, "mode");
        dbk_buf_append_text(out, "null");
    }
    dbk_put_u64(out, &first, "generation", status.generation);
    dbk_put_u64(out, &first, "position", status.position);
    dbk_put_time(out, &first, "position_time",
                 status.position_time_us == 0 ? DBK_TIME_NONE : status.position_time_us);
    dbk_put_u64(out, &first, "lag_events", status.lag_events);
    dbk_put_u64(out, &first, "lag_ms", (uint64_t)(status.lag_us / 1000));
    put_ms(out, &first, "max_lag_ms", status.max_lag_us != 0, status.max_lag_us);
    dbk_put_bool(out, &first, "late", status.late);
    dbk_put_text(out, &first, "on_error", dbk_slice_of(status.set_aside ? "set-aside" : "stop"));
    dbk_put_text(out, &first, "state", dbk_slice_of(state_of(&status)));
    dbk_put_bool(out, &first, "changed", status.changed);
    if (status.rebuild_generation != 0)
        dbk_put_u64(out, &first, "rebuild_position", status.rebuild_position);
    put_pace(out, &first, &status);
    put_error(out, &first, &status.error);
    dbk_json_write_key(out, &first, "tables");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        dbk_json_write_string(out, dbk_slice_of(tables[i]));
    }
    dbk_buf_append_text(out, "]}");
    return DBK_OK;
}

/* What a rollback would swap in, and how old it is; null: nothing. */
static void put_kept(struct dbk_buf *out, bool *first, const struct dbk_view_status *status)
{
    bool inner = true;
    dbk_json_write_key(out, first, "kept");
    if (status->kept_generation == 0) {
        dbk_buf_append_text(out, "null");
        return;
    }
    dbk_buf_append_char(out, '{');
    dbk_put_u64(out, &inner, "generation", status->kept_generation);
    dbk_put_u64(out, &inner, "position", status->kept_position);
    dbk_put_time(out, &inner, "as_of", status->kept_as_of_us);
    dbk_put_u64(out, &inner, "rows", status->kept_rows);
    dbk_put_time(out, &inner, "until", status->kept_until_us);
    dbk_buf_append_char(out, '}');
}

/* When it is compared with its SELECT, and what that has found; null: nothing yet. */
static void put_verified(struct dbk_buf *out, bool *first, const struct dbk_view_status *status)
{
    const struct dbk_view_check *check = &status->checked;
    bool inner = true;
    if (status->verify[0] != '\0') {
        dbk_put_text(out, first, "verify", dbk_slice_of(status->verify));
        dbk_put_bool(out, first, "verify_refreshes", status->verify_mends);
        dbk_put_time(out, first, "verify_next", status->verify_next_us);
        dbk_put_u64(out, first, "verify_mended", status->mended);
    }
    if (status->unchecked.code != DBK_OK)
        dbk_put_text(out, first, "verify_error", dbk_slice_of(status->unchecked.message));
    dbk_json_write_key(out, first, "verified");
    if (check->at_us == DBK_TIME_NONE) {
        dbk_buf_append_text(out, "null");
        return;
    }
    dbk_buf_append_char(out, '{');
    dbk_put_time(out, &inner, "at", check->at_us);
    dbk_put_u64(out, &inner, "position", check->position);
    dbk_put_u64(out, &inner, "rows", check->rows);
    dbk_put_u64(out, &inner, "too_many", check->more);
    dbk_put_u64(out, &inner, "missing", check->less);
    dbk_buf_append_char(out, '}');
}

int dbk_api_put_view(struct dbk_api_call *call, size_t index, struct dbk_error *err)
{
    struct dbk_view_status status;
    struct dbk_buf *out = &call->scratch->out;
    bool first = true;
    int rc = dbk_views_status(dbk_engine_views(call->engine), index, &status, err);
    if (rc < 0)
        return rc;
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "name", dbk_slice_of(status.name));
    dbk_put_text(out, &first, "database", dbk_slice_of(status.database));
    dbk_put_text(out, &first, "refresh", dbk_slice_of(status.refresh));
    dbk_put_u64(out, &first, "generation", status.generation);
    dbk_put_u64(out, &first, "position", status.position);
    dbk_put_time(out, &first, "as_of", status.generation == 0 ? DBK_TIME_NONE : status.as_of_us);
    dbk_put_u64(out, &first, "duration_ms", (uint64_t)(status.duration_us / 1000));
    dbk_put_text(out, &first, "mode", dbk_slice_of(dbk_view_mode_text(status.mode)));
    if (status.refreshed != DBK_VIEW_AUTO)
        dbk_put_text(out, &first, "last_mode", dbk_slice_of(dbk_view_mode_text(status.refreshed)));
    if (status.reason[0] != '\0')
        dbk_put_text(out, &first, "full_because", dbk_slice_of(status.reason));
    dbk_put_u64(out, &first, "changes", status.changes);
    dbk_put_u64(out, &first, "rows", status.rows);
    if (status.size != 0)
        dbk_put_u64(out, &first, "bytes", status.size);
    dbk_put_time(out, &first, "next", status.next_us);
    dbk_put_text(out, &first, "state", dbk_slice_of(status.state));
    put_name(out, &first, "blocked_by", status.blocked_by);
    put_name(out, &first, "waits_for", status.waits_for);
    put_ms(out, &first, "lag_ms", status.generation != 0, status.lag_us);
    put_ms(out, &first, "target_ms", status.target_us != 0, status.target_us);
    dbk_put_bool(out, &first, "late", status.late);
    dbk_put_bool(out, &first, "refreshing", status.refreshing);
    dbk_put_bool(out, &first, "changed", status.changed);
    dbk_put_bool(out, &first, "rolled_back", status.rolled_back);
    put_kept(out, &first, &status);
    put_verified(out, &first, &status);
    put_error(out, &first, &status.error);
    dbk_buf_append_char(out, '}');
    return DBK_OK;
}

int dbk_api_models(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    size_t count = dbk_models_count(dbk_engine_models(call->engine));
    const struct dbk_book *book = dbk_engine_book(call->engine);
    const char *comma = "";
    int rc = DBK_OK;
    dbk_buf_append_text(out, "{\"models\":[");
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        if (!dbk_guard_sees(call, DBK_SCOPE_MODEL, dbk_slice_of(book->models[i].name)))
            continue;
        dbk_buf_append_text(out, comma);
        comma = ",";
        rc = dbk_api_put_model(call, i, err);
    }
    dbk_buf_append_text(out, "]}");
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

int dbk_api_model(struct dbk_api_call *call, struct dbk_error *err)
{
    size_t index = 0;
    int rc = dbk_models_find(dbk_engine_models(call->engine), dbk_api_part(call, 1), &index, err);
    if (rc == DBK_OK)
        rc = dbk_api_put_model(call, index, err);
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

int dbk_api_views(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    size_t count = dbk_views_count(dbk_engine_views(call->engine));
    const struct dbk_book *book = dbk_engine_book(call->engine);
    const char *comma = "";
    int rc = DBK_OK;
    dbk_buf_append_text(out, "{\"views\":[");
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        if (!dbk_guard_sees(call, DBK_SCOPE_VIEW, dbk_slice_of(book->views[i].name)))
            continue;
        dbk_buf_append_text(out, comma);
        comma = ",";
        rc = dbk_api_put_view(call, i, err);
    }
    dbk_buf_append_text(out, "]}");
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

int dbk_api_view(struct dbk_api_call *call, struct dbk_error *err)
{
    size_t index = 0;
    int rc = dbk_views_find(dbk_engine_views(call->engine), dbk_api_part(call, 1), &index, err);
    if (rc == DBK_OK)
        rc = dbk_api_put_view(call, index, err);
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

int dbk_api_model_rebuild(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_api_progress progress = {.call = call};
    struct dbk_models *models = dbk_engine_models(call->engine);
    bool lines = dbk_call_accepts(call, "application/x-ndjson");
    size_t index = 0;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_models_find(models, dbk_api_part(call, 1), &index, err);
    if (rc == DBK_OK && lines)
        rc = dbk_call_begin(call, 200, "application/x-ndjson") < 0 ? DBK_EIO : DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_models_rebuild(models, dbk_api_part(call, 1), lines ? dbk_api_tell : NULL,
                                &progress, err);
    if (rc == DBK_OK)
        rc = dbk_api_put_model(call, index, err);
    return dbk_api_finish(call, lines, rc);
}

int dbk_api_view_explain(struct dbk_api_call *call, struct dbk_error *err)
{
    bool writer = dbk_engine_check_writer(call->engine, NULL) == DBK_OK;
    int rc = dbk_views_explain(dbk_engine_views(call->engine), dbk_api_part(call, 1), writer,
                               &call->scratch->out, err);
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

int dbk_api_view_verify(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_views *views = dbk_engine_views(call->engine);
    struct dbk_buf *out = &call->scratch->out;
    struct dbk_view_check check = {0};
    bool first = true;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_views_verify(views, dbk_api_part(call, 1), &check, err);
    if (rc < 0)
        return rc;
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "view", dbk_slice_of(dbk_api_part(call, 1)));
    dbk_put_u64(out, &first, "rows", check.rows);
    dbk_put_bool(out, &first, "equal", true);
    dbk_buf_append_char(out, '}');
    return dbk_call_send_json(call, 200);
}

int dbk_api_view_refresh(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_api_progress progress = {.call = call};
    struct dbk_views *views = dbk_engine_views(call->engine);
    bool lines = dbk_call_accepts(call, "application/x-ndjson");
    size_t index = 0;
    uint64_t after = 0;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_call_number(call, "after", &after, err);
    if (rc == DBK_OK)
        rc = dbk_views_find(views, dbk_api_part(call, 1), &index, err);
    if (rc == DBK_OK && lines)
        rc = dbk_call_begin(call, 200, "application/x-ndjson") < 0 ? DBK_EIO : DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_views_refresh(views, dbk_api_part(call, 1), after, lines ? dbk_api_tell : NULL,
                               &progress, err);
    if (rc == DBK_OK)
        rc = dbk_api_put_view(call, index, err);
    return dbk_api_finish(call, lines, rc);
}
