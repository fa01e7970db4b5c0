/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/group.h"

#include <string.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

void dbk_group_call(struct dbk_call *call, const struct dbk_arguments *arguments,
                    const char *method, const char *behind)
{
    dbk_call_init(call, method, "/groups/");
    dbk_call_path(call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call->path, behind);
}

/* ---- What there is ---- */

static const char *const columns[] = {"name",   "position", "behind", "ready",
                                      "leased", "waiting",  "parked", NULL};
static const char *const parked_columns[] = {"position", "stream",   "version", "type",
                                             "parked",   "attempts", "reason",  NULL};

int dbk_run_group_ls(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/groups");
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_READ,
                                                   .rows = "groups",
                                                   .table_columns = columns});
}

int dbk_run_group_show(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_group_call(&call, arguments, "GET", "");
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_READ, .open = "settings"});
}

int dbk_run_group_parked(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_group_call(&call, arguments, "GET", "/parked");
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_READ,
                                                   .rows = "parked",
                                                   .table_columns = parked_columns,
                                                   .csv_columns = parked_columns});
}

/* ---- Settings ---- */

static void put_names(struct dbk_buf *out, bool *first, const char *key, const char *list)
{
    const char *at = list;
    if (list == NULL)
        return;
    dbk_json_write_key(out, first, key);
    dbk_buf_append_char(out, '[');
    for (;;) {
        size_t size = strcspn(at, ",");
        dbk_json_write_string(out, dbk_slice(at, size));
        at += size;
        if (*at == '\0')
            break;
        dbk_buf_append_char(out, ',');
        at++;
    }
    dbk_buf_append_char(out, ']');
}

static void put_text(struct dbk_buf *out, bool *first, const char *key, const char *text)
{
    if (text == NULL)
        return;
    dbk_json_write_key(out, first, key);
    dbk_json_write_string(out, dbk_slice_of(text));
}

static void put_number(struct dbk_buf *out, bool *first, const char *key,
                       const struct dbk_arguments *arguments, const char *option)
{
    if (!dbk_arguments_has(arguments, option))
        return;
    dbk_json_write_key(out, first, key);
    dbk_json_write_u64(out, dbk_arguments_number(arguments, option, 0));
}

/* --tag A,B is a query of one item, --query any. */
static int put_query(struct dbk_call *call, bool *first, const struct dbk_arguments *arguments,
                     struct dbk_error *err)
{
    struct dbk_buf *out = &call->body;
    bool item = true;
    const char *query = dbk_arguments_text(arguments, "query");
    const char *tags = dbk_arguments_text(arguments, "tag");
    if (query != NULL || tags != NULL)
        dbk_json_write_key(out, first, "query");
    if (query != NULL)
        return dbk_call_json(call, "--query", query, err);
    if (tags != NULL) {
        dbk_buf_append_text(out, "[{");
        put_names(out, &item, "tags", tags);
        dbk_buf_append_text(out, "}]");
    }
    return DBK_OK;
}

int dbk_run_group_set(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    struct dbk_error err = {0};
    bool first = true;
    uint64_t position = 0;
    const char *after = dbk_arguments_text(arguments, "after");
    if (dbk_arguments_has(arguments, "tag") && dbk_arguments_has(arguments, "query"))
        return dbk_fail_usage(arguments, "--tag and --query exclude each other");
    bool now = after != NULL && strcmp(after, "now") == 0;
    if (after != NULL && !now && !dbk_slice_to_u64(dbk_slice_of(after), &position))
        return dbk_fail_usage(arguments, "--after is a position or now, not \"%s\"", after);
    dbk_group_call(&call, arguments, "PUT", "");
    struct dbk_buf *body = &call.body;
    dbk_buf_append_char(body, '{');
    put_names(body, &first, "categories", dbk_arguments_text(arguments, "category"));
    put_names(body, &first, "types", dbk_arguments_text(arguments, "type"));
    put_text(body, &first, "stream_prefix", dbk_arguments_text(arguments, "prefix"));
    if (put_query(&call, &first, arguments, &err) < 0) {
        dbk_call_release(&call);
        return dbk_fail(arguments, &err);
    }
    if (now)
        put_text(body, &first, "after", "now");
    else
        put_number(body, &first, "after", arguments, "after");
    put_text(body, &first, "order", dbk_arguments_text(arguments, "order"));
    put_text(body, &first, "timeout", dbk_arguments_text(arguments, "timeout"));
    put_text(body, &first, "retry_delay", dbk_arguments_text(arguments, "retry-delay"));
    put_number(body, &first, "max_retries", arguments, "max-retries");
    put_number(body, &first, "window", arguments, "window");
    dbk_buf_append_char(body, '}');
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE, .open = "settings"});
}

int dbk_run_group_rm(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_group_call(&call, arguments, "DELETE", "");
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}

/* ---- Reading and answering ---- */

int dbk_run_group_read(const struct dbk_arguments *arguments)
{
    static const char *const event_columns[] = {"position", "stream",  "version", "type",
                                                "data",     "attempt", NULL};
    char wait[32];
    struct dbk_call call;
    dbk_group_call(&call, arguments, "POST", "/read");
    dbk_call_option(&call, arguments, "limit", "limit");
    int size = snprintf(wait, sizeof(wait), "%jd",
                        (intmax_t)(dbk_arguments_duration_us(arguments, "wait", 0) / 1000));
    dbk_call_query(&call, "wait_ms", dbk_slice(wait, (size_t)size));
    return dbk_data_answer(arguments, &call,
                           &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE,
                                                   .rows = "events",
                                                   .table_columns = event_columns,
                                                   .csv_columns = event_columns,
                                                   .summary = dbk_data_event_summary});
}

/* "positions":[…] of the words behind the group's name; false: one is no position. */
static bool put_positions(struct dbk_buf *out, bool *first, const struct dbk_arguments *arguments)
{
    uint64_t position = 0;
    dbk_json_write_key(out, first, "positions");
    for (size_t i = 1; i < arguments->positional_count; i++) {
        if (!dbk_slice_to_u64(dbk_slice_of(arguments->positional[i]), &position))
            return false;
        dbk_buf_append_format(out, "%s%ju", i == 1 ? "[" : ",", (uintmax_t)position);
    }
    dbk_buf_append_char(out, ']');
    return true;
}

/* Sends positions with what is in the body already. */
static int send_positions(const struct dbk_arguments *arguments, struct dbk_call *call, bool first)
{
    if (!put_positions(&call->body, &first, arguments)) {
        dbk_call_release(call);
        return dbk_fail_usage(arguments, "behind the group's name come positions");
    }
    dbk_buf_append_char(&call->body, '}');
    return dbk_data_answer(arguments, call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}

int dbk_run_group_ack(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    dbk_group_call(&call, arguments, "POST", "/ack");
    dbk_buf_append_char(&call.body, '{');
    return send_positions(arguments, &call, true);
}

int dbk_run_group_nack(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    bool first = true;
    dbk_group_call(&call, arguments, "POST", "/nack");
    dbk_buf_append_char(&call.body, '{');
    put_text(&call.body, &first, "action", dbk_arguments_text(arguments, "action"));
    put_text(&call.body, &first, "reason", dbk_arguments_text(arguments, "reason"));
    put_text(&call.body, &first, "delay", dbk_arguments_text(arguments, "delay"));
    return send_positions(arguments, &call, first);
}

static int unpark(const struct dbk_arguments *arguments, const char *behind)
{
    struct dbk_call call;
    bool all = dbk_arguments_has(arguments, "all");
    if (all == (arguments->positional_count > 1))
        return dbk_fail_usage(arguments, "say positions, or --all");
    dbk_group_call(&call, arguments, "POST", behind);
    if (all)
        return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
    dbk_buf_append_char(&call.body, '{');
    return send_positions(arguments, &call, true);
}

int dbk_run_group_replay(const struct dbk_arguments *arguments)
{
    return unpark(arguments, "/parked/replay");
}

int dbk_run_group_drop(const struct dbk_arguments *arguments)
{
    return unpark(arguments, "/parked/drop");
}
