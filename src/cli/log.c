/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/data.h"

int dbk_run_log(const struct dbk_arguments *arguments)
{
    static const char *const columns[] = {"version", "time", "type", "data", "state", NULL};
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/streams/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call.path, "/log");
    dbk_call_option(&call, arguments, "from-version", "from_version");
    dbk_call_option(&call, arguments, "to-version", "to_version");
    return dbk_data_lines(arguments, &call,
                          &(struct dbk_data_show){.mode = DBK_ENGINE_READ,
                                                  .table_columns = columns,
                                                  .csv_columns = columns,
                                                  .summary = dbk_data_event_summary});
}
