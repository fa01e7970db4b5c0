/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

static void begin(struct dbk_call *call, const struct dbk_arguments *arguments, const char *method,
                  const char *behind)
{
    dbk_call_init(call, method, "/streams/");
    dbk_call_path(call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call->path, behind);
}

int dbk_run_stream_show(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    begin(&call, arguments, "GET", "/rules");
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_READ});
}

int dbk_run_stream_keep(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    bool first = true;
    const char *age = dbk_arguments_text(arguments, "max-age");
    uint64_t count = dbk_arguments_number(arguments, "max-count", 0);
    uint64_t before = dbk_arguments_number(arguments, "truncate-before", 0);
    bool any = age != NULL || dbk_arguments_has(arguments, "max-count") ||
               dbk_arguments_has(arguments, "truncate-before");
    if (any == dbk_arguments_has(arguments, "all"))
        return dbk_fail_usage(arguments, "say --max-age, --max-count or --truncate-before, "
                                         "or --all alone");
    begin(&call, arguments, "POST", "/rules");
    dbk_buf_append_char(&call.body, '{');
    if (age != NULL) {
        dbk_json_write_key(&call.body, &first, "max_age");
        dbk_json_write_string(&call.body, dbk_slice_of(age));
    }
    if (dbk_arguments_has(arguments, "max-count")) {
        dbk_json_write_key(&call.body, &first, "max_count");
        dbk_json_write_u64(&call.body, count);
    }
    if (dbk_arguments_has(arguments, "truncate-before")) {
        dbk_json_write_key(&call.body, &first, "truncate_before");
        dbk_json_write_u64(&call.body, before);
    }
    dbk_buf_append_char(&call.body, '}');
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}

static int take_away(const struct dbk_arguments *arguments, bool close)
{
    char version[32];
    struct dbk_call call;
    begin(&call, arguments, "DELETE", "");
    if (close)
        dbk_call_query(&call, "close", DBK_SLICE_LITERAL("true"));
    if (dbk_arguments_has(arguments, "expect")) {
        (void)snprintf(version, sizeof(version), "\"%ju\"",
                       (uintmax_t)dbk_arguments_number(arguments, "expect", 0));
        dbk_call_header(&call, "If-Match", version);
    }
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}

int dbk_run_stream_delete(const struct dbk_arguments *arguments)
{
    return take_away(arguments, false);
}

int dbk_run_stream_close(const struct dbk_arguments *arguments)
{
    return take_away(arguments, true);
}

int dbk_run_upgrade(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "POST", "/upgrade");
    dbk_call_option(&call, arguments, "rate", "rate");
    return dbk_data_job(arguments, &call, "upgrade", "bytes");
}

int dbk_run_compact(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "POST", "/compact");
    dbk_call_option(&call, arguments, "percent", "percent");
    dbk_call_option(&call, arguments, "rate", "rate");
    return dbk_data_job(arguments, &call, "compact", "bytes");
}
