/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/data.h"

int dbk_run_capture_ls(const struct dbk_arguments *arguments)
{
    static const char *const columns[] = {"service",  "database", "capture", "state",
                                          "position", "lag_ms",   "events",  "lag_bytes",
                                          "warning",  "error",    NULL};
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/captures");
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ,
                                                   .rows = "captures",
                                                   .table_columns = columns});
}

int dbk_run_capture_resnapshot(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "POST", "/captures/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call.path, "/resnapshot");
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}
