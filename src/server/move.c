/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a book that a migration has copied: POST /move, POST /reopen. */
#include "server/handlers.h"

static int send_position(struct dbk_api_call *call, const struct dbk_append_result *result)
{
    struct dbk_buf *out = &call->scratch->out;
    bool first = true;
    call->position = result->last_position;
    dbk_buf_append_char(out, '{');
    dbk_put_u64(out, &first, "position", result->last_position);
    dbk_buf_append_char(out, '}');
    return dbk_call_send_json(call, 200);
}

int dbk_api_move(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_append_result result;
    const struct dbk_json_node *root = NULL;
    struct dbk_error why = {0};
    struct dbk_uuid book;
    int rc = dbk_json_parse(call->scratch->json, call->request->body, &root, &why);
    if (rc < 0)
        return dbk_error_set(err, rc, "the body: %s", why.message);
    const struct dbk_json_node *to = dbk_json_member(root, "to");
    const struct dbk_json_node *id = dbk_json_member(root, "book");
    if (to == NULL || to->kind != DBK_JSON_STRING || to->text.size == 0 || id == NULL ||
        id->kind != DBK_JSON_STRING || !dbk_uuid_parse(id->text, &book))
        return dbk_error_set(err, DBK_EINVAL,
                             "the body is {\"to\": where the new book is, \"book\": its id}");
    rc = dbk_engine_move(call->engine, to->text, &book, &result, err);
    return rc < 0 ? rc : send_position(call, &result);
}

int dbk_api_reopen(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_append_result result;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_store_reopen(dbk_engine_store(call->engine), &result, err);
    return rc < 0 ? rc : send_position(call, &result);
}
