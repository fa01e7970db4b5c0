/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

int dbk_run_read(const struct dbk_arguments *arguments)
{
    static const struct {
        const char *option;
        const char *parameter;
        bool stream; /* where it may stand: with a stream, or without */
        bool book;
    } parameters[] = {
        {"category", "category", false, true},
        {"type", "type", true, true},
        {"tag", "tag", true, true},
        {"query", "query", true, true},
        {"prefix", "stream_prefix", false, true},
        {"correlation", "correlation", true, true},
        {"after", "after", false, true},
        {"before", "before", false, true},
        {"from-version", "from_version", true, false},
        {"to-version", "to_version", true, false},
        {"from-time", "from_time", true, true},
        {"to-time", "to_time", true, true},
        {"from-occurred", "from_occurred", true, true},
        {"to-occurred", "to_occurred", true, true},
        {"limit", "limit", true, true},
        {"backwards", "backwards", true, true},
        {"hidden", "hidden", false, true},
        {"removed", "removed", true, true},
        {"raw", "raw", true, true},
    };
    struct dbk_call call;
    bool stream = arguments->positional_count > 0;
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
        if (dbk_arguments_has(arguments, parameters[i].option) &&
            !(stream ? parameters[i].stream : parameters[i].book))
            return dbk_fail_usage(arguments, "--%s goes only %s a stream", parameters[i].option,
                                  stream ? "without" : "with");
    dbk_call_init(&call, "GET", stream ? "/streams/" : "/events");
    if (stream)
        dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
        dbk_call_option(&call, arguments, parameters[i].option, parameters[i].parameter);
    return dbk_data_lines(arguments, &call,
                          &(struct dbk_data_show){.mode = DBK_ENGINE_READ,
                                                  .table_columns = dbk_data_event_columns,
                                                  .csv_columns = dbk_data_event_csv_columns,
                                                  .summary = dbk_data_event_summary});
}
