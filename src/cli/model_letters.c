/* SPDX-License-Identifier: Apache-2.0 */
/* model letters, retry and drop: what a read model has set aside. */
#include <inttypes.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

static void begin(struct dbk_call *call, const struct dbk_arguments *arguments, const char *method,
                  const char *behind)
{
    dbk_call_init(call, method, "/models/");
    dbk_call_path(call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call->path, behind);
}

int dbk_run_model_letters(const struct dbk_arguments *arguments)
{
    static const char *const columns[] = {"position", "stream", "version", "type",
                                          "tried",    "tries",  "reason",  NULL};
    struct dbk_call call;
    uint64_t position = 0;
    bool one = arguments->positional_count > 1;
    if (one && !dbk_slice_to_u64(dbk_slice_of(arguments->positional[1]), &position))
        return dbk_fail_usage(arguments, "behind the model's name comes a position, not \"%s\"",
                              arguments->positional[1]);
    begin(&call, arguments, "GET", "/letters");
    if (!one)
        return dbk_data_answer(arguments, &call,
                               &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ,
                                                       .rows = "letters",
                                                       .table_columns = columns,
                                                       .csv_columns = columns});
    dbk_buf_append_format(&call.path, "/%" PRIu64, position);
    return dbk_data_answer(
        arguments, &call,
        &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE_OR_READ, .open = "event"});
}

/* "positions":[…] of the words behind the model's name, or nothing for all. */
static int send(const struct dbk_arguments *arguments, const char *behind)
{
    struct dbk_call call;
    uint64_t position = 0;
    bool all = dbk_arguments_has(arguments, "all");
    if (all == (arguments->positional_count > 1))
        return dbk_fail_usage(arguments, "say positions, or --all");
    begin(&call, arguments, "POST", behind);
    for (size_t i = 1; i < arguments->positional_count; i++) {
        if (!dbk_slice_to_u64(dbk_slice_of(arguments->positional[i]), &position)) {
            dbk_call_release(&call);
            return dbk_fail_usage(arguments, "behind the model's name come positions");
        }
        dbk_buf_append_format(&call.body, "%s%" PRIu64, i == 1 ? "{\"positions\":[" : ",",
                              position);
    }
    if (!all)
        dbk_buf_append_text(&call.body, "]}");
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}

int dbk_run_model_retry(const struct dbk_arguments *arguments)
{
    return send(arguments, "/letters/retry");
}

int dbk_run_model_drop(const struct dbk_arguments *arguments)
{
    return send(arguments, "/letters/drop");
}
