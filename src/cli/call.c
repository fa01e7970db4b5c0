/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/call.h"

#include <ctype.h>
#include <string.h>

#include "base/assert.h"
#include "json/json.h"

#define BODY_SIZE_MAX ((size_t)64 << 20)
#define TARGET_SIZE_MAX ((size_t)64 << 10)

void dbk_call_init(struct dbk_call *call, const char *method, const char *path)
{
    *call = (struct dbk_call){.method = method};
    dbk_buf_init(&call->path, TARGET_SIZE_MAX);
    dbk_buf_init(&call->query, TARGET_SIZE_MAX);
    dbk_buf_init(&call->body, BODY_SIZE_MAX);
    dbk_buf_append_text(&call->path, path);
}

void dbk_call_release(struct dbk_call *call)
{
    dbk_buf_release(&call->path);
    dbk_buf_release(&call->query);
    dbk_buf_release(&call->body);
    call->header_count = 0;
}

static void encode(struct dbk_buf *out, struct dbk_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if ((byte < 0x80 && isalnum(byte)) || (byte != 0 && strchr("-._~", byte) != NULL))
            dbk_buf_append_char(out, (char)byte);
        else
            dbk_buf_append_format(out, "%%%02X", byte);
    }
}

void dbk_call_path(struct dbk_call *call, struct dbk_slice name)
{
    call->nameless = call->nameless || name.size == 0;
    encode(&call->path, name);
}

void dbk_call_query(struct dbk_call *call, const char *name, struct dbk_slice value)
{
    if (call->query.size > 0)
        dbk_buf_append_char(&call->query, '&');
    encode(&call->query, dbk_slice_of(name));
    dbk_buf_append_char(&call->query, '=');
    encode(&call->query, value);
}

void dbk_call_option(struct dbk_call *call, const struct dbk_arguments *arguments,
                     const char *option, const char *parameter)
{
    const char *value = dbk_arguments_text(arguments, option);
    if (value != NULL && dbk_arguments_is_flag(arguments, option))
        value = "true";
    if (value != NULL)
        dbk_call_query(call, parameter, dbk_slice_of(value));
}

int dbk_call_json(struct dbk_call *call, const char *what, const char *text, struct dbk_error *err)
{
    struct dbk_error why = {0};
    const struct dbk_json_node *nodes = NULL;
    struct dbk_json *json = dbk_json_create(BODY_SIZE_MAX);
    if (json == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    int rc = dbk_json_parse(json, dbk_slice_of(text), &nodes, &why);
    dbk_json_free(json);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s: %s", what, why.message);
    dbk_buf_append_text(&call->body, text);
    return DBK_OK;
}

void dbk_call_header(struct dbk_call *call, const char *name, const char *value)
{
    dbk_assert(call->header_count < DBK_CALL_HEADERS_MAX);
    call->headers[call->header_count++] =
        (struct dbk_api_field){.name = dbk_slice_of(name), .value = dbk_slice_of(value)};
}

int dbk_call_check(const struct dbk_call *call, struct dbk_error *err)
{
    if (call->nameless)
        return dbk_error_set(err, DBK_EINVAL, "a name on the command line is empty");
    if (call->path.rc < 0 || call->query.rc < 0)
        return dbk_error_set(err, DBK_ELIMIT, "the request's names and values are past %zu bytes",
                             TARGET_SIZE_MAX);
    if (call->body.rc < 0)
        return dbk_error_set(err, call->body.rc, "the request's body (at most %zu bytes): %s",
                             BODY_SIZE_MAX, dbk_code_text(call->body.rc));
    for (size_t i = 0; i < call->header_count; i++) {
        struct dbk_slice value = call->headers[i].value;
        for (size_t b = 0; b < value.size; b++)
            if ((unsigned char)value.data[b] < 0x20)
                return dbk_error_set(err, DBK_EINVAL, "%.*s has a control character",
                                     DBK_SLICE_ARGS(call->headers[i].name));
    }
    return DBK_OK;
}
