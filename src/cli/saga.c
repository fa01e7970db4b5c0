/* SPDX-License-Identifier: Apache-2.0 */
/* saga ls, show, retry and cancel. */
#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "cli/trace.h"

#define BAR_COLUMNS 32

static void begin(struct dbk_call *call, const struct dbk_arguments *arguments, const char *method,
                  const char *behind)
{
    dbk_call_init(call, method, "/sagas");
    for (size_t i = 0; i < arguments->positional_count; i++) {
        dbk_buf_append_char(&call->path, '/');
        dbk_call_path(call, dbk_slice_of(arguments->positional[i]));
    }
    dbk_buf_append_text(&call->path, behind);
}

int dbk_run_saga_ls(const struct dbk_arguments *arguments)
{
    static const char *const columns[] = {"name",    "position",  "open",
                                          "parked",  "completed", "compensated",
                                          "dropped", "trouble",   NULL};
    static const char *const instance_columns[] = {"instance", "status", "changed",
                                                   "steps",    "reason", NULL};
    struct dbk_call call;
    begin(&call, arguments, "GET", "");
    if (arguments->positional_count == 0) {
        if (dbk_arguments_has(arguments, "ended") || dbk_arguments_has(arguments, "limit")) {
            dbk_call_release(&call);
            return dbk_fail_usage(arguments, "say of which saga, as `daybook saga ls NAME`");
        }
        return dbk_data_answer(arguments, &call,
                               &(struct dbk_data_show){.mode = DBK_ENGINE_READ,
                                                       .rows = "sagas",
                                                       .table_columns = columns});
    }
    if (dbk_arguments_has(arguments, "ended"))
        dbk_call_query(&call, "ended", DBK_SLICE_LITERAL("true"));
    dbk_call_option(&call, arguments, "limit", "limit");
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_READ,
                                                   .rows = "instances",
                                                   .table_columns = instance_columns,
                                                   .csv_columns = instance_columns});
}

static int64_t number_of(const struct dbk_json_node *row, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(row, key);
    return node != NULL && node->kind == DBK_JSON_INTEGER ? node->integer : 0;
}

static void copy_member(struct dbk_buf *out, bool *first, const struct dbk_json_node *row,
                        const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(row, key);
    dbk_json_write_key(out, first, key);
    if (node == NULL)
        dbk_buf_append_text(out, "\"\"");
    else
        dbk_buf_append(out, node->raw);
}

/* A moment: when, of what, what it did, and its place in the whole. */
static int draw(struct dbk_buf *out, const struct dbk_json_node *row)
{
    struct dbk_buf after;
    bool first = true;
    int64_t offset_us = number_of(row, "offset_us");
    int64_t whole_us = number_of(row, "whole_us");
    int64_t column = whole_us == 0 ? 0 : offset_us * (BAR_COLUMNS - 1) / whole_us;
    dbk_buf_init(&after, out->size_max);
    dbk_trace_write_offset(&after, offset_us);
    dbk_buf_append_char(out, '{');
    dbk_json_write_key(out, &first, "after");
    dbk_json_write_string(out, dbk_buf_slice(&after));
    copy_member(out, &first, row, "status");
    copy_member(out, &first, row, "of");
    copy_member(out, &first, row, "steps");
    dbk_json_write_key(out, &first, "timeline");
    dbk_buf_append_char(out, '"');
    for (int64_t i = 0; i < column; i++)
        dbk_buf_append_text(out, "━");
    dbk_buf_append_text(out, "●\"");
    copy_member(out, &first, row, "fault");
    dbk_buf_append_char(out, '}');
    int rc = after.rc < 0 ? after.rc : out->rc;
    dbk_buf_release(&after);
    return rc;
}

int dbk_run_saga_show(const struct dbk_arguments *arguments)
{
    static const char *const columns[] = {"after",    "status", "of", "steps",
                                          "timeline", "fault",  NULL};
    static const char *const csv_columns[] = {"time", "status", "of", "steps", "fault", NULL};
    struct dbk_call call;
    struct dbk_data_show show = {.mode = DBK_ENGINE_READ,
                                 .rows = "moments",
                                 .table_columns = columns,
                                 .csv_columns = csv_columns};
    enum dbk_output output = dbk_data_options(arguments, &show).output;
    show.draw = output == DBK_OUTPUT_TABLE ? draw : NULL;
    show.rows = output == DBK_OUTPUT_JSON ? NULL : show.rows;
    begin(&call, arguments, "GET", "");
    return dbk_data_answer(arguments, &call, &show);
}

int dbk_run_saga_retry(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    begin(&call, arguments, "POST", "/retry");
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}

int dbk_run_saga_cancel(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    const char *why = dbk_arguments_text(arguments, "reason");
    begin(&call, arguments, "POST", "/cancel");
    dbk_buf_append_char(&call.body, '{');
    if (why != NULL) {
        dbk_buf_append_text(&call.body, "\"reason\":");
        dbk_json_write_string(&call.body, dbk_slice_of(why));
    }
    dbk_buf_append_char(&call.body, '}');
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}
