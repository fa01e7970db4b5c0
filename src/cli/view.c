/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/data.h"

int dbk_run_view_ls(const struct dbk_arguments *arguments)
{
    static const char *const columns[] = {
        "name",        "database", "refresh",   "state", "blocked_by", "as_of",
        "position",    "lag_ms",   "target_ms", "rows",  "bytes",      "last_mode",
        "duration_ms", "next",     "changed",   "error", NULL};
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/views");
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ,
                                                   .rows = "views",
                                                   .table_columns = columns});
}

static void view_call(struct dbk_call *call, const char *method,
                      const struct dbk_arguments *arguments, const char *behind)
{
    dbk_call_init(call, method, "/views/");
    dbk_call_path(call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call->path, behind);
}

int dbk_run_view_show(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    view_call(&call, "GET", arguments, "/status");
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ});
}

int dbk_run_view_read(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    view_call(&call, "GET", arguments, "");
    dbk_data_after(&call, arguments);
    dbk_call_option(&call, arguments, "limit", "limit");
    return dbk_data_answer(
        arguments, &call,
        &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ, .rows = "rows"});
}

int dbk_run_view_explain(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    view_call(&call, "GET", arguments, "/explain");
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ});
}

int dbk_run_view_verify(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    view_call(&call, "POST", arguments, "/verify");
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}

int dbk_run_view_refresh(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    view_call(&call, "POST", arguments, "/refresh");
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}
