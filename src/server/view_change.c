/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of views: what their files ask for, and the way back. */
#include "server/guard.h"

int dbk_api_view_rollback(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_views *views = dbk_engine_views(call->engine);
    size_t index = 0;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_views_find(views, dbk_api_part(call, 1), &index, err);
    if (rc == DBK_OK)
        rc = dbk_views_roll_back(views, dbk_api_part(call, 1), err);
    if (rc == DBK_OK)
        rc = dbk_api_put_view(call, index, err);
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

/* Null where there is nothing to say. */
static void put_text(struct dbk_buf *out, bool *first, const char *name, const char *text)
{
    if (text[0] != '\0') {
        dbk_put_text(out, first, name, dbk_slice_of(text));
        return;
    }
    dbk_json_write_key(out, first, name);
    dbk_buf_append_text(out, "null");
}

static void put_number(struct dbk_buf *out, bool *first, const char *name, bool there,
                       uint64_t number)
{
    dbk_json_write_key(out, first, name);
    if (there)
        dbk_buf_append_format(out, "%ju", (uintmax_t)number);
    else
        dbk_buf_append_text(out, "null");
}

static int put_planned(struct dbk_buf *out, const struct dbk_view_planned *planned)
{
    bool first = true;
    bool asks = planned->action != DBK_VIEW_NOTHING;
    dbk_buf_append_char(out, '{');
    dbk_put_text(out, &first, "view", dbk_slice_of(planned->name));
    dbk_put_text(out, &first, "action", dbk_slice_of(dbk_view_action_text(planned->action)));
    put_text(out, &first, "because", planned->because);
    put_number(out, &first, "estimated_ms", asks, (uint64_t)(planned->duration_us / 1000));
    put_number(out, &first, "estimated_bytes", planned->size != 0, planned->size);
    put_text(out, &first, "basis", planned->basis);
    put_number(out, &first, "old_kept_s", asks, (uint64_t)(planned->keep_us / 1000000));
    dbk_buf_append_char(out, '}');
    return out->rc;
}

int dbk_api_plan(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_views *views = dbk_engine_views(call->engine);
    struct dbk_buf *out = &call->scratch->out;
    const struct dbk_book *book = dbk_engine_book(call->engine);
    const char *comma = "";
    int rc = DBK_OK;
    dbk_buf_append_text(out, "{\"plan\":[");
    for (size_t i = 0; rc == DBK_OK && i < dbk_views_count(views); i++) {
        struct dbk_view_planned planned;
        if (!dbk_guard_sees(call, DBK_SCOPE_VIEW, dbk_slice_of(book->views[i].name)))
            continue;
        dbk_buf_append_text(out, comma);
        comma = ",";
        rc = dbk_views_planned(views, i, &planned, err);
        if (rc == DBK_OK)
            rc = put_planned(out, &planned);
    }
    dbk_buf_append_text(out, "]}");
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}
