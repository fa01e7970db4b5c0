/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/data.h"

int dbk_run_sql(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    bool first = true;
    dbk_call_init(&call, "POST", "/sql");
    dbk_buf_append_char(&call.body, '{');
    dbk_json_write_key(&call.body, &first, "sql");
    dbk_json_write_string(&call.body, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_char(&call.body, '}');
    return dbk_data_answer(
        arguments, &call,
        &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ, .rows = "rows"});
}
