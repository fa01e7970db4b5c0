/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

int dbk_run_tail(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    uint64_t position = 0;
    bool follow = !dbk_arguments_has(arguments, "no-follow");
    const char *after = dbk_arguments_text(arguments, "after");
    bool now = after != NULL && strcmp(after, "now") == 0;
    if (after != NULL && !now && !dbk_slice_to_u64(dbk_slice_of(after), &position))
        return dbk_fail_usage(arguments, "--after is a position or now, not \"%s\"", after);
    if (!follow && now)
        return dbk_fail_usage(arguments, "--no-follow with --after now would show nothing");
    bool from = after != NULL || dbk_arguments_has(arguments, "from-time");
    dbk_call_init(&call, "GET", "/events");
    dbk_call_option(&call, arguments, "category", "category");
    dbk_call_option(&call, arguments, "type", "type");
    dbk_call_option(&call, arguments, "tag", "tag");
    dbk_call_option(&call, arguments, "query", "query");
    dbk_call_option(&call, arguments, "prefix", "stream_prefix");
    dbk_call_option(&call, arguments, "correlation", "correlation");
    dbk_call_option(&call, arguments, "from-time", "from_time");
    dbk_call_option(&call, arguments, "raw", "raw");
    if (after != NULL || (follow && !from))
        dbk_call_query(&call, "after", dbk_slice_of(after != NULL ? after : "now"));
    return dbk_data_lines(
        arguments, &call,
        &(struct dbk_data_show){.mode = DBK_ENGINE_READ,
                                .table_columns = dbk_data_event_columns,
                                .csv_columns = dbk_data_event_csv_columns,
                                .summary = dbk_data_event_summary,
                                .limit = dbk_arguments_number(arguments, "limit", 0),
                                .live = follow});
}
