/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

int dbk_run_view_ls(const struct dbk_arguments *arguments)
{
    static const char *const columns[] = {
        "name",        "database", "refresh",   "state",       "blocked_by", "as_of",
        "position",    "lag_ms",   "target_ms", "rows",        "bytes",      "last_mode",
        "duration_ms", "next",     "changed",   "rolled_back", "error",      NULL};
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

int dbk_run_view_alerts(const struct dbk_arguments *arguments)
{
    static const char *const actions[] = {"pause", "resume", "retry", "drop"};
    static const char *const columns[] = {"alert",     "state",    "delivered", "last",  "waiting",
                                          "set_aside", "failures", "next_try",  "error", NULL};
    static const char *const due_columns[] = {"id",       "position", "state", "attempts",
                                              "next_try", "reason",   "row",   NULL};
    bool one = arguments->positional_count > 1;
    const char *action = NULL;
    struct dbk_call call;
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (!dbk_arguments_has(arguments, actions[i]))
            continue;
        if (action != NULL || !one)
            return dbk_fail_usage(arguments, "--%s goes with VIEW and ALERT, alone", actions[i]);
        action = actions[i];
    }
    view_call(&call, action == NULL ? "GET" : "POST", arguments, "/alerts");
    if (one) {
        dbk_buf_append_char(&call.path, '/');
        dbk_call_path(&call, dbk_slice_of(arguments->positional[1]));
    }
    if (action != NULL)
        dbk_buf_append_format(&call.path, "/%s", action);
    bool due = one && action == NULL;
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = action == NULL ? DBK_ENGINE_WRITE_OR_READ
                                                                          : DBK_ENGINE_WRITE,
                                                   .rows = due ? "due" : "alerts",
                                                   .table_columns = due ? due_columns : columns});
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

int dbk_run_view_rollback(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    view_call(&call, "POST", arguments, "/rollback");
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}

/* By the files as they are now: the server that runs has those of when it started. */
int dbk_run_view_plan(const struct dbk_arguments *arguments)
{
    const struct dbk_data_show show = {.mode = DBK_ENGINE_WRITE_OR_READ, .rows = "plan"};
    struct dbk_error err = {0};
    struct dbk_link *link = NULL;
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/plan");
    int rc = dbk_link_open_beside(arguments, show.mode, &link, &err);
    if (rc == DBK_OK)
        rc = dbk_data_answer_over(arguments, link, &call, &show, &err);
    dbk_link_free(link);
    dbk_call_release(&call);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
