/* SPDX-License-Identifier: Apache-2.0 */
#include "target/neo4j/reply.h"

#include <string.h>

static int no_answer(struct dbk_error *err, const char *why)
{
    return dbk_error_set(err, DBK_ECONNECT, "Neo4j: the answer cannot be read: %s", why);
}

static bool is_array(const struct dbk_json_node *node)
{
    return node != NULL && node->kind == DBK_JSON_ARRAY;
}

static bool is_text(const struct dbk_json_node *node)
{
    return node != NULL && node->kind == DBK_JSON_STRING;
}

/* Every row has a value for each column. */
static bool is_result(const struct dbk_json_node *result)
{
    const struct dbk_json_node *columns = dbk_json_member(result, "columns");
    const struct dbk_json_node *data = dbk_json_member(result, "data");
    if (!is_array(columns) || !is_array(data))
        return false;
    const struct dbk_json_node *item = dbk_json_first(columns);
    for (uint32_t i = 0; i < columns->count; i++, item = dbk_json_sibling(item)) {
        if (!is_text(item))
            return false;
    }
    item = dbk_json_first(data);
    for (uint32_t i = 0; i < data->count; i++, item = dbk_json_sibling(item)) {
        const struct dbk_json_node *row = dbk_json_member(item, "row");
        if (!is_array(row) || row->count != columns->count)
            return false;
    }
    return true;
}

static int read_results(const struct dbk_json_node *results, struct dbk_neo4j_reply *reply,
                        struct dbk_error *err)
{
    if (results == NULL)
        return reply->code.size > 0 ? DBK_OK : no_answer(err, "it has no results");
    if (!is_array(results))
        return no_answer(err, "results is no array");
    const struct dbk_json_node *item = dbk_json_first(results);
    for (uint32_t i = 0; i < results->count; i++, item = dbk_json_sibling(item)) {
        /* The last one of a failure may be cut short. */
        bool last = reply->code.size > 0 && i + 1 == results->count;
        if (!last && !is_result(item))
            return no_answer(err, "a result without columns and rows");
    }
    reply->results = results;
    return DBK_OK;
}

static int read_errors(const struct dbk_json_node *errors, struct dbk_neo4j_reply *reply,
                       struct dbk_error *err)
{
    if (!is_array(errors))
        return no_answer(err, "it has no errors");
    if (errors->count == 0)
        return DBK_OK;
    const struct dbk_json_node *first = dbk_json_first(errors);
    const struct dbk_json_node *code = dbk_json_member(first, "code");
    const struct dbk_json_node *message = dbk_json_member(first, "message");
    if (!is_text(code) || !is_text(message) || code->text.size == 0)
        return no_answer(err, "an error without a code");
    reply->code = code->text;
    reply->message = message->text;
    return DBK_OK;
}

int dbk_neo4j_reply_parse(struct dbk_json *json, struct dbk_slice body,
                          struct dbk_neo4j_reply *reply_out, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_neo4j_reply reply = {0};
    struct dbk_error failure = {0};
    int rc = dbk_json_parse(json, body, &root, &failure);
    if (rc == DBK_ENOMEM)
        return dbk_error_set(err, rc, "out of memory reading an answer");
    if (rc < 0)
        return no_answer(err, failure.message);
    if (root->kind != DBK_JSON_OBJECT)
        return no_answer(err, "it is no object");
    rc = read_errors(dbk_json_member(root, "errors"), &reply, err);
    if (rc == DBK_OK)
        rc = read_results(dbk_json_member(root, "results"), &reply, err);
    if (rc == DBK_OK)
        *reply_out = reply;
    return rc;
}

const struct dbk_json_node *dbk_neo4j_reply_result(const struct dbk_neo4j_reply *reply,
                                                   size_t index)
{
    if (reply->results == NULL || index >= reply->results->count)
        return NULL;
    const struct dbk_json_node *item = dbk_json_first(reply->results);
    for (; index > 0; index--)
        item = dbk_json_sibling(item);
    return item;
}

static bool has_prefix(struct dbk_slice text, const char *prefix)
{
    return text.size >= strlen(prefix) && memcmp(text.data, prefix, strlen(prefix)) == 0;
}

int dbk_neo4j_code(struct dbk_slice code)
{
    static const struct {
        const char *prefix;
        int code;
    } codes[] = {
        {"Neo.ClientError.Transaction.TransactionTimedOut", DBK_ETIMEOUT},
        {"Neo.TransientError.", DBK_EBUSY},
        {"Neo.ClientError.Security.Forbidden", DBK_EDENIED},
        {"Neo.ClientError.Security.", DBK_ECONNECT},
        {"Neo.ClientError.Database.", DBK_ECONNECT},
        {"Neo.ClientError.Transaction.TransactionNotFound", DBK_ECONNECT},
        {"Neo.ClientError.Statement.AccessMode", DBK_EDENIED},
        {"Neo.ClientError.Statement.Syntax", DBK_EINVAL},
        {"Neo.ClientError.Schema.ConstraintValidationFailed", DBK_EREFUSED},
        {"Neo.DatabaseError.Statement.", DBK_ESCRIPT},
        {"Neo.DatabaseError.", DBK_EIO},
    };
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (has_prefix(code, codes[i].prefix))
            return codes[i].code;
    }
    return DBK_ESCRIPT;
}

/* The message is one line: what stands behind it shows the statement, which is Daybook's. */
static struct dbk_slice first_line(struct dbk_slice text)
{
    const char *end = memchr(text.data, '\n', text.size);
    return end == NULL ? text : dbk_slice(text.data, (size_t)(end - text.data));
}

int dbk_neo4j_reply_check(const struct dbk_neo4j_reply *reply, struct dbk_error *err)
{
    if (reply->code.size == 0)
        return DBK_OK;
    struct dbk_slice message = first_line(reply->message);
    return dbk_error_set(err, dbk_neo4j_code(reply->code), "%.*s (%.*s)", DBK_SLICE_ARGS(message),
                         DBK_SLICE_ARGS(reply->code));
}

static bool take_number(struct dbk_slice *text, unsigned *number_out)
{
    size_t at = 0;
    *number_out = 0;
    while (at < text->size && at < 6 && text->data[at] >= '0' && text->data[at] <= '9')
        *number_out = *number_out * 10 + (unsigned)(text->data[at++] - '0');
    *text = dbk_slice(text->data + at, text->size - at);
    return at > 0;
}

bool dbk_neo4j_version_is_enough(struct dbk_slice version)
{
    unsigned major = 0;
    unsigned minor = 0;
    if (!take_number(&version, &major) || version.size == 0 || version.data[0] != '.')
        return false;
    version = dbk_slice(version.data + 1, version.size - 1);
    return take_number(&version, &minor) && (major > 5 || (major == 5 && minor >= 23));
}
