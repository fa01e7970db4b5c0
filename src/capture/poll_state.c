/* SPDX-License-Identifier: Apache-2.0 */
/* Where polling is, as the event Captured keeps it: docs/format/capture.md. */
#include <inttypes.h>
#include <stdio.h>

#include "base/uuid.h"
#include "capture/poll.h"

static void put_table(const struct dbk_poll *poll, const struct dbk_poll_table *table,
                      struct dbk_buf *out)
{
    dbk_json_write_string(out, dbk_slice_of(table->definition->name));
    dbk_buf_append_format(out, ":{\"reads\":%s,\"first\":%s,\"rows\":%" PRIu64,
                          table->at == DBK_POLL_PAGE ? "true" : "false",
                          table->first ? "true" : "false", table->rows);
    poll->kind->put_state(table, out);
    dbk_buf_append_char(out, '}');
}

void dbk_poll_put_state(const struct dbk_poll *poll, struct dbk_buf *out)
{
    bool first = true;
    dbk_buf_append_format(out,
                          "{\"kind\":\"polling\",\"incarnation\":\"%s\",\"position\":\"%" PRIu64
                          "\",\"tables\":{",
                          poll->incarnation, poll->told);
    for (size_t i = 0; i < poll->table_count; i++) {
        if (!poll->tables[i].captured)
            continue;
        if (!first)
            dbk_buf_append_char(out, ',');
        first = false;
        put_table(poll, &poll->tables[i], out);
    }
    dbk_buf_append_text(out, "}}");
}

static struct dbk_slice text_of(const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    return node != NULL && node->kind == DBK_JSON_STRING ? node->text : (struct dbk_slice){0};
}

static bool is_true(const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    return node != NULL && node->kind == DBK_JSON_TRUE;
}

static int64_t count_of(const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    return node != NULL && node->kind == DBK_JSON_INTEGER && node->integer > 0 ? node->integer : 0;
}

/* A table whose cursor is another one now is read from its beginning. */
static int read_table(struct dbk_poll *poll, struct dbk_poll_table *table,
                      const struct dbk_json_node *node)
{
    int rc = poll->kind->read_state(poll, table, node);
    if (rc != 1)
        return rc;
    table->rows = (uint64_t)count_of(node, "rows");
    table->first = is_true(node, "first");
    table->at = is_true(node, "reads") ? DBK_POLL_PAGE : DBK_POLL_IDLE;
    return DBK_OK;
}

static int parse(struct dbk_poll *poll, const struct dbk_json_node *root)
{
    const struct dbk_json_node *tables = dbk_json_member(root, "tables");
    struct dbk_slice incarnation = text_of(root, "incarnation");
    int rc = DBK_OK;
    if (!dbk_slice_equal_text(text_of(root, "kind"), "polling") || tables == NULL ||
        incarnation.size == 0 || incarnation.size >= sizeof(poll->incarnation) ||
        !dbk_slice_to_u64(text_of(root, "position"), &poll->told))
        return DBK_ECORRUPT;
    (void)snprintf(poll->incarnation, sizeof(poll->incarnation), "%.*s",
                   DBK_SLICE_ARGS(incarnation));
    for (size_t i = 0; i < poll->table_count && rc == DBK_OK; i++) {
        struct dbk_poll_table *table = &poll->tables[i];
        const struct dbk_json_node *node = dbk_json_member(tables, table->definition->name);
        if (node != NULL && table->captured)
            rc = read_table(poll, table, node);
    }
    return rc;
}

int dbk_poll_read_state(struct dbk_poll *poll, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_os *os = poll->options.os;
    struct dbk_uuid uuid;
    struct dbk_slice state = poll->options.state;
    const char *name = poll->options.service->name;
    if (state.size > 0 && !poll->options.resnapshot) {
        if (dbk_json_parse(poll->json, state, &root, NULL) == DBK_OK && parse(poll, root) == DBK_OK)
            return DBK_OK;
        return dbk_error_set(err, DBK_ECORRUPT,
                             "what the book keeps of polling %s cannot be read: `daybook capture "
                             "resnapshot %s` begins anew",
                             name, name);
    }
    int rc = os->random(os, uuid.bytes, sizeof(uuid.bytes), err);
    if (rc == DBK_OK)
        dbk_uuid_format(&uuid, poll->incarnation);
    return rc;
}
