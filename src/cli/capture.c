/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

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

int dbk_run_capture_wait(const struct dbk_arguments *arguments)
{
    char text[32];
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/captures/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call.path, "/position");
    dbk_call_query(&call, "source", dbk_slice_of(arguments->positional[1]));
    if (dbk_arguments_has(arguments, "timeout")) {
        int64_t timeout_us = dbk_arguments_duration_us(arguments, "timeout", 0);
        int size = snprintf(text, sizeof(text), "%jd", (intmax_t)(timeout_us / 1000));
        dbk_call_query(&call, "timeout_ms", dbk_slice(text, (size_t)size));
    }
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ});
}
