/* SPDX-License-Identifier: Apache-2.0 */
/* API keys: GET, POST /access/keys; POST /access/keys/{key}/rotate, /limit and
   /scopes; DELETE
   /access/keys/{key}. */
#include "server/handlers.h"

/* The server's, or, where a command has opened the book itself, one for this request. */
static int begin(struct dbk_api_call *call, struct dbk_access **access_out, struct dbk_error *err)
{
    *access_out = call->request->access;
    return *access_out != NULL
               ? DBK_OK
               : dbk_access_open(call->engine, &(struct dbk_access_options){0}, access_out, err);
}

static void end(const struct dbk_api_call *call, struct dbk_access *access)
{
    if (call->request->access == NULL)
        dbk_access_free(access);
}

int dbk_api_access_keys(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_access *access = NULL;
    int rc = begin(call, &access, err);
    if (rc < 0)
        return rc;
    dbk_buf_append_text(&call->scratch->out, "{\"keys\":[");
    dbk_access_list(access, &call->scratch->out);
    dbk_buf_append_text(&call->scratch->out, "]}");
    end(call, access);
    return dbk_call_send_json(call, 200);
}

static int read_scopes(struct dbk_api_call *call, const struct dbk_json_node *list,
                       struct dbk_key_request *request, struct dbk_error *err)
{
    struct dbk_slice *scopes =
        dbk_arena_alloc_zero(&call->scratch->arena, list->count + 1, sizeof(*scopes));
    if (list->kind != DBK_JSON_ARRAY)
        return dbk_error_set(err, DBK_EINVAL, "scopes is no list");
    if (scopes == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading scopes");
    const struct dbk_json_node *item = dbk_json_first(list);
    for (uint32_t i = 0; i < list->count; i++, item = dbk_json_sibling(item)) {
        if (item->kind != DBK_JSON_STRING)
            return dbk_error_set(err, DBK_EINVAL, "scopes: item %u is no text", i);
        scopes[i] = item->text;
    }
    request->scopes = scopes;
    request->scope_count = list->count;
    return DBK_OK;
}

/* A whole number from 1. */
static bool read_number(const struct dbk_json_node *member, uint32_t *number_out)
{
    bool good = member->kind == DBK_JSON_INTEGER && member->integer >= 1 &&
                member->integer <= DBK_KEY_RATE_MAX;
    if (good)
        *number_out = (uint32_t)member->integer;
    return good;
}

/* Of the two that a limit has. */
static bool read_limit(const struct dbk_json_node *member, struct dbk_key_limit *limit)
{
    if (dbk_slice_equal_text(member->key, "rate"))
        return read_number(member, &limit->rate);
    return dbk_slice_equal_text(member->key, "burst") && read_number(member, &limit->burst);
}

/* As many at once as in a second, where nothing is said. */
static void default_burst(struct dbk_key_limit *limit)
{
    if (limit->burst == 0)
        limit->burst = limit->rate;
}

static int read_key(struct dbk_api_call *call, const struct dbk_json_node *root,
                    struct dbk_key_request *request, struct dbk_error *err)
{
    const struct dbk_json_node *member = dbk_json_first(root);
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && i < root->count; i++, member = dbk_json_sibling(member)) {
        bool text = member->kind == DBK_JSON_STRING;
        if (text && dbk_slice_equal_text(member->key, "name"))
            request->name = member->text;
        else if (text && dbk_slice_equal_text(member->key, "service"))
            request->service = member->text;
        else if (dbk_slice_equal_text(member->key, "scopes"))
            rc = read_scopes(call, member, request, err);
        else if (read_limit(member, &request->limit))
            continue;
        else if (!text || !dbk_slice_equal_text(member->key, "expires") ||
                 !dbk_time_parse(member->text, &request->expires_us))
            rc = dbk_error_set(err, DBK_EINVAL,
                               "the body has name, service, scopes (a list of texts), expires (an "
                               "instant), rate and burst (1 to %d), not so \"%.*s\"",
                               DBK_KEY_RATE_MAX,
                               (int)(member->key.size < 80 ? member->key.size : 80),
                               member->key.data);
    }
    default_burst(&request->limit);
    return rc;
}

static int send_key(struct dbk_api_call *call, const char *text, int status)
{
    bool first = true;
    dbk_buf_append_char(&call->scratch->out, '{');
    dbk_put_text(&call->scratch->out, &first, "key", dbk_slice(text + 4, DBK_KEY_ID_SIZE));
    dbk_put_text(&call->scratch->out, &first, "secret", dbk_slice_of(text));
    dbk_buf_append_char(&call->scratch->out, '}');
    return dbk_call_send_json(call, status);
}

int dbk_api_access_add(struct dbk_api_call *call, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_key_request request = {0};
    struct dbk_access *access = NULL;
    char text[DBK_KEY_TEXT_SIZE];
    int rc = dbk_api_body(call, &root, err);
    if (rc == DBK_OK)
        rc = read_key(call, root, &request, err);
    if (rc == DBK_OK)
        rc = begin(call, &access, err);
    if (rc < 0)
        return rc;
    rc = dbk_access_add(access, &request, text, err);
    end(call, access);
    return rc < 0 ? rc : send_key(call, text, 201);
}

int dbk_api_access_rotate(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_access *access = NULL;
    char text[DBK_KEY_TEXT_SIZE];
    int64_t until_us = 0;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_call_time(call, "old_until", &until_us, err);
    if (rc == DBK_OK)
        rc = begin(call, &access, err);
    if (rc < 0)
        return rc;
    rc = dbk_access_rotate(access, call->parts[2], until_us, text, err);
    end(call, access);
    return rc < 0 ? rc : send_key(call, text, 200);
}

int dbk_api_access_limit(struct dbk_api_call *call, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_access *access = NULL;
    struct dbk_key_limit limit = {0};
    int rc = dbk_api_body(call, &root, err);
    if (rc < 0)
        return rc;
    const struct dbk_json_node *rate = dbk_json_member(root, "rate");
    const struct dbk_json_node *burst = dbk_json_member(root, "burst");
    bool none = rate != NULL && rate->kind == DBK_JSON_NULL && root->count == 1;
    if (!none &&
        (rate == NULL || !read_number(rate, &limit.rate) || root->count != 1U + (burst != NULL) ||
         (burst != NULL && !read_number(burst, &limit.burst))))
        return dbk_error_set(
            err, DBK_EINVAL,
            "the body is {\"rate\":100}, requests a second, and may have \"burst\" "
            "(both 1 to %d), or {\"rate\":null}",
            DBK_KEY_RATE_MAX);
    default_burst(&limit);
    rc = begin(call, &access, err);
    if (rc < 0)
        return rc;
    rc = dbk_access_limit(access, call->parts[2], limit, err);
    if (rc == DBK_OK)
        rc = dbk_access_put(access, call->parts[2], &call->scratch->out, err);
    end(call, access);
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

int dbk_api_access_scope(struct dbk_api_call *call, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_access *access = NULL;
    struct dbk_key_request request = {0};
    int rc = dbk_api_body(call, &root, err);
    if (rc < 0)
        return rc;
    const struct dbk_json_node *scopes = dbk_json_member(root, "scopes");
    if (scopes == NULL || root->count != 1)
        return dbk_error_set(err, DBK_EINVAL, "the body is {\"scopes\":[\"read:order\"]}");
    rc = read_scopes(call, scopes, &request, err);
    if (rc == DBK_OK)
        rc = begin(call, &access, err);
    if (rc < 0)
        return rc;
    rc = dbk_access_scope(access, call->parts[2], request.scopes, request.scope_count, err);
    if (rc == DBK_OK)
        rc = dbk_access_put(access, call->parts[2], &call->scratch->out, err);
    end(call, access);
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}

int dbk_api_access_revoke(struct dbk_api_call *call, struct dbk_error *err)
{
    struct dbk_access *access = NULL;
    bool old = false;
    int rc = dbk_engine_check_writer(call->engine, err);
    if (rc == DBK_OK)
        rc = dbk_call_flag(call, "old", &old, err);
    if (rc == DBK_OK)
        rc = begin(call, &access, err);
    if (rc < 0)
        return rc;
    rc = dbk_access_revoke(access, call->parts[2], old, err);
    if (rc == DBK_OK)
        rc = dbk_access_put(access, call->parts[2], &call->scratch->out, err);
    end(call, access);
    return rc < 0 ? rc : dbk_call_send_json(call, 200);
}
