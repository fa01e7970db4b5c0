/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/as_of.h"
#include "cli/commands.h"
#include "cli/fail.h"

static int ask_as_of(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_link *link = NULL;
    struct dbk_progress progress;
    struct dbk_as_of_time time = dbk_as_of_option(arguments);
    int rc = dbk_as_of_open(arguments, &progress, &link, &err);
    if (rc == DBK_OK)
        rc = dbk_as_of_ask(arguments, link, arguments->positional[0], &time, &err);
    dbk_progress_clear(&progress);
    dbk_link_free(link);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

int dbk_run_sql(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    bool first = true;
    bool at = dbk_arguments_has(arguments, "at");
    bool occurred = dbk_arguments_has(arguments, "occurred-at");
    const char *database = dbk_arguments_text(arguments, "database");
    if (at + occurred + (database != NULL) > 1)
        return dbk_fail_usage(arguments, "sql takes one of --at, --occurred-at and --database");
    if (at || occurred)
        return ask_as_of(arguments);
    dbk_call_init(&call, "POST", "/sql");
    dbk_buf_append_char(&call.body, '{');
    dbk_json_write_key(&call.body, &first, "sql");
    dbk_json_write_string(&call.body, dbk_slice_of(arguments->positional[0]));
    if (database != NULL) {
        dbk_json_write_key(&call.body, &first, "database");
        dbk_json_write_string(&call.body, dbk_slice_of(database));
    }
    dbk_buf_append_char(&call.body, '}');
    return dbk_data_answer(
        arguments, &call,
        &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ, .rows = "rows"});
}
