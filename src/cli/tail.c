/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "cli/words.h"

#define TEXT_SIZE_MAX ((size_t)64 << 20)

/* What a value reads, in a row of words. */
static void put_value(struct dbk_buf *out, const struct dbk_json_node *value)
{
    if (value->kind == DBK_JSON_STRING)
        dbk_buf_append(out, value->text);
    else
        dbk_json_write_node(out, value);
}

/* A row that changed: name=old→new where it did. */
static void put_changed(struct dbk_buf *out, const struct dbk_json_node *old,
                        const struct dbk_json_node *new)
{
    const struct dbk_json_node *member = dbk_json_first(new);
    for (uint32_t i = 0; i < new->count; i++) {
        char name[256];
        (void)snprintf(name, sizeof(name), "%.*s", DBK_SLICE_ARGS(member->key));
        const struct dbk_json_node *before = dbk_json_member(old, name);
        dbk_buf_append_text(out, i > 0 ? " " : "");
        dbk_buf_append(out, member->key);
        dbk_buf_append_char(out, '=');
        if (before != NULL && !dbk_slice_equal(before->raw, member->raw)) {
            put_value(out, before);
            dbk_buf_append_text(out, "\xe2\x86\x92");
        }
        put_value(out, member);
        if (i + 1 < new->count)
            member = dbk_json_sibling(member);
    }
}

/* A change as a row of a table; that the view is fresh is none. */
static int summarise(struct dbk_buf *out, const struct dbk_json_node *row)
{
    static const struct {
        const char *change;
        const char *sign;
    } signs[] = {{"snapshot", "="}, {"insert", "+"}, {"delete", "-"}, {"update", "~"}};
    const struct dbk_json_node *change = dbk_json_member(row, "change");
    const struct dbk_json_node *position = dbk_json_member(row, "position");
    const struct dbk_json_node *old = dbk_json_member(row, "old");
    const struct dbk_json_node *new = dbk_json_member(row, "new");
    const char *sign = NULL;
    for (size_t i = 0; change != NULL && i < sizeof(signs) / sizeof(signs[0]); i++)
        sign = dbk_slice_equal_text(change->text, signs[i].change) ? signs[i].sign : sign;
    if (sign == NULL || position == NULL || (old == NULL && new == NULL)) {
        dbk_buf_append_text(out, "[]");
        return out->rc;
    }
    struct dbk_buf text;
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    if (old != NULL && new != NULL)
        put_changed(&text, old, new);
    else
        dbk_words_write(&text, new != NULL ? new : old);
    dbk_buf_append_format(out, "{\"\":\"%s\",\"position\":%.*s,\"row\":", sign,
                          DBK_SLICE_ARGS(position->raw));
    dbk_json_write_string(out, dbk_buf_slice(&text));
    dbk_buf_append_char(out, '}');
    int rc = text.rc < 0 ? text.rc : out->rc;
    dbk_buf_release(&text);
    return rc;
}

static int tail_view(const struct dbk_arguments *arguments, const char *view)
{
    static const char *const others[] = {"category", "type",        "tag",       "query",
                                         "prefix",   "correlation", "from-time", "raw"};
    static const char *const columns[] = {"", "position", "row", NULL};
    static const char *const csv_columns[] = {"change", "id",  "position", "time",
                                              "old",    "new", NULL};
    struct dbk_call call;
    bool follow = !dbk_arguments_has(arguments, "no-follow");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (dbk_arguments_has(arguments, others[i]))
            return dbk_fail_usage(arguments, "--%s goes only without --view", others[i]);
    }
    dbk_call_init(&call, "GET", "/views/");
    dbk_call_path(&call, dbk_slice_of(view));
    dbk_buf_append_text(&call.path, "/changes");
    dbk_call_option(&call, arguments, "after", "after");
    dbk_call_option(&call, arguments, "limit", "limit");
    return dbk_data_lines(
        arguments, &call,
        &(struct dbk_data_show){.mode = follow ? DBK_ENGINE_READ : DBK_ENGINE_WRITE_OR_READ,
                                .table_columns = columns,
                                .csv_columns = csv_columns,
                                .summary = summarise,
                                .live = follow});
}

int dbk_run_tail(const struct dbk_arguments *arguments)
{
    struct dbk_call call;
    uint64_t position = 0;
    if (dbk_arguments_has(arguments, "view"))
        return tail_view(arguments, dbk_arguments_text(arguments, "view"));
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
