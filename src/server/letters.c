/* SPDX-License-Identifier: Apache-2.0 */
/* The dead letters of read models. */
#include "model/letters.h"

#include "server/handlers.h"

struct listing {
    struct dbk_api_call *call;
    const char *comma;
};

static int find(struct dbk_api_call *call, size_t *index_out, struct dbk_error *err)
{
    return dbk_models_find(dbk_engine_models(call->engine), dbk_api_part(call, 1), index_out, err);
}

static void put_members(struct dbk_buf *out, bool *first, const struct dbk_letter *letter)
{
    dbk_put_u64(out, first, "position", letter->position);
    dbk_put_text(out, first, "stream", letter->stream);
    dbk_put_u64(out, first, "version", letter->version);
    dbk_put_text(out, first, "type", letter->type);
    dbk_put_u64(out, first, "generation", letter->generation);
    dbk_put_time(out, first, "tried", letter->time_us);
    dbk_put_u64(out, first, "tries", letter->tries);
    dbk_put_text(out, first, "reason", letter->reason);
}

static int put_letter(const struct dbk_letter *letter, void *context)
{
    struct listing *listing = context;
    struct dbk_buf *out = &listing->call->scratch->out;
    bool first = true;
    dbk_buf_append_text(out, listing->comma);
    listing->comma = ",";
    dbk_buf_append_char(out, '{');
    put_members(out, &first, letter);
    dbk_buf_append_char(out, '}');
    return out->rc;
}

int dbk_api_model_letters(struct dbk_api_call *call, struct dbk_error *err)
{
    struct listing listing = {call, ""};
    size_t index = 0;
    int rc = find(call, &index, err);
    dbk_buf_append_text(&call->scratch->out, "{\"letters\":[");
    if (rc == DBK_OK)
        rc = dbk_letters_list(dbk_engine_models(call->engine), index, 0, put_letter, &listing, err);
    dbk_buf_append_text(&call->scratch->out, "]}");
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

/* The event as it can be read now: what was forgotten since is not in it. null: it is gone. */
static int put_event(struct dbk_api_call *call, uint64_t position, struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_buf *out = &call->scratch->out;
    int rc = dbk_cursor_open(
        dbk_engine_store(call->engine),
        &(struct dbk_filter){.position_min = position, .position_max = position, .hidden = true},
        &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    dbk_buf_append_text(out, ",\"event\":");
    if (rc == 1)
        dbk_put_event(out, &event, (struct dbk_slice){0});
    else
        dbk_buf_append_text(out, "null");
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

static int put_one(const struct dbk_letter *letter, void *context)
{
    struct dbk_buf *out = &((struct dbk_api_call *)context)->scratch->out;
    bool first = true;
    dbk_buf_append_char(out, '{');
    put_members(out, &first, letter);
    return out->rc;
}

int dbk_api_model_letter(struct dbk_api_call *call, struct dbk_error *err)
{
    size_t index = 0;
    uint64_t position = 0;
    if (!dbk_slice_to_u64(call->parts[3], &position) || position == 0)
        return dbk_error_set(err, DBK_EINVAL, "\"%.*s\" is no position",
                             (int)(call->parts[3].size < 80 ? call->parts[3].size : 80),
                             call->parts[3].data);
    int rc = find(call, &index, err);
    if (rc == DBK_OK)
        rc = dbk_letters_list(dbk_engine_models(call->engine), index, position, put_one, call, err);
    if (rc == DBK_OK)
        rc = put_event(call, position, err);
    dbk_buf_append_char(&call->scratch->out, '}');
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

static int read_wish(struct dbk_api_call *call, size_t *index_out, const uint64_t **positions_out,
                     size_t *count_out, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    int rc = dbk_api_body(call, &root, err);
    if (rc < 0)
        return rc;
    const struct dbk_json_node *list = dbk_json_member(root, "positions");
    if (root->count != (list == NULL ? 0 : 1))
        return dbk_error_set(err, DBK_EINVAL, "the body has positions, or nothing: all");
    if (list != NULL)
        rc = dbk_api_positions(call, list, positions_out, count_out, err);
    return rc < 0 ? rc : find(call, index_out, err);
}

/* Where nothing was posted the first failure is the answer. */
int dbk_api_model_retry(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_letters_retried retried;
    struct dbk_buf *out = &call->scratch->out;
    const uint64_t *positions = NULL;
    size_t count = 0;
    size_t index = 0;
    bool first = true;
    int rc = read_wish(call, &index, &positions, &count, err);
    if (rc == DBK_OK)
        rc = dbk_letters_retry(dbk_engine_models(call->engine), index, positions, count, &retried,
                               err);
    if (rc < 0)
        return rc;
    if (retried.retried == 0 && retried.failed > 0)
        return dbk_error_set(err, DBK_EREFUSED, "%s", retried.error.message);
    dbk_buf_append_char(out, '{');
    dbk_put_u64(out, &first, "retried", retried.retried);
    dbk_put_u64(out, &first, "failed", retried.failed);
    if (retried.failed > 0)
        dbk_put_text(out, &first, "error", dbk_slice_of(retried.error.message));
    dbk_buf_append_char(out, '}');
    return dbk_call_send_json(call, 200);
}

int dbk_api_model_drop(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_buf *out = &call->scratch->out;
    const uint64_t *positions = NULL;
    size_t count = 0;
    size_t index = 0;
    bool first = true;
    int rc = read_wish(call, &index, &positions, &count, err);
    if (rc == DBK_OK)
        rc =
            dbk_letters_drop(dbk_engine_models(call->engine), index, positions, count, &count, err);
    if (rc < 0)
        return rc;
    dbk_buf_append_char(out, '{');
    dbk_put_u64(out, &first, "dropped", count);
    dbk_buf_append_char(out, '}');
    return dbk_call_send_json(call, 200);
}
