/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"
#include "cli/data.h"
#include "cli/text.h"

#define ROW_SIZE_MAX ((size_t)256 << 20)
/* Columns that a value has in a table; programs get it whole. */
#define VALUE_WIDTH_MAX 200

static void put_member(struct dbk_buf *out, bool *first, const char *name,
                       const struct dbk_json_node *value)
{
    dbk_json_write_key(out, first, name);
    if (value == NULL)
        dbk_buf_append_text(out, "\"\"");
    else
        dbk_json_write_node(out, value);
}

/* A value's JSON as a text; of people's it is cut. */
static int put_value(struct dbk_buf *out, bool *first, const char *name,
                     const struct dbk_json_node *value, bool cut)
{
    struct dbk_buf text;
    dbk_buf_init(&text, ROW_SIZE_MAX);
    if (value != NULL)
        dbk_json_write_node(&text, value);
    struct dbk_slice start = dbk_buf_slice(&text);
    if (cut)
        start = dbk_text_cut(start, VALUE_WIDTH_MAX);
    if (start.size < text.size) {
        text.size = start.size;
        dbk_buf_append_text(&text, "…");
    }
    dbk_json_write_key(out, first, name);
    dbk_json_write_string(out, dbk_buf_slice(&text));
    int rc = text.rc;
    dbk_buf_release(&text);
    return rc;
}

static void put_text(struct dbk_buf *out, bool *first, const char *name, const char *text)
{
    dbk_json_write_key(out, first, name);
    dbk_json_write_string(out, dbk_slice_of(text));
}

/* "anna (order-17)": who it was, and in what correlation. */
static int put_by(struct dbk_buf *out, bool *first, const struct dbk_json_node *actor,
                  const struct dbk_json_node *correlation)
{
    struct dbk_buf text;
    dbk_buf_init(&text, ROW_SIZE_MAX);
    if (actor != NULL && actor->kind == DBK_JSON_STRING)
        dbk_buf_append(&text, actor->text);
    if (correlation != NULL && correlation->kind == DBK_JSON_STRING) {
        dbk_buf_append_text(&text, text.size > 0 ? " (" : "(");
        dbk_buf_append(&text, correlation->text);
        dbk_buf_append_char(&text, ')');
    }
    dbk_json_write_key(out, first, "by");
    dbk_json_write_string(out, dbk_buf_slice(&text));
    int rc = text.rc;
    dbk_buf_release(&text);
    return rc;
}

static int put_event(struct dbk_buf *out, bool *first, const struct dbk_json_node *event,
                     bool people)
{
    static const char *const members[] = {"version", "position", "time", "occurred",
                                          "type",    "id",       NULL};
    const struct dbk_json_node *meta = dbk_json_member(event, "meta");
    const struct dbk_json_node *actor = meta == NULL ? NULL : dbk_json_member(meta, "actor");
    const struct dbk_json_node *correlation =
        meta == NULL ? NULL : dbk_json_member(meta, "correlationid");
    for (size_t i = 0; members[i] != NULL; i++)
        put_member(out, first, members[i], dbk_json_member(event, members[i]));
    if (people)
        return put_by(out, first, actor, correlation);
    put_member(out, first, "actor", actor);
    put_member(out, first, "correlation", correlation);
    return DBK_OK;
}

static void put_nothing(struct dbk_buf *out, bool *first)
{
    static const char *const members[] = {"version", "time", "type", "by", NULL};
    for (size_t i = 0; members[i] != NULL; i++)
        put_text(out, first, members[i], "");
}

/* event: NULL where it stands above already, for people. */
static int begin_row(struct dbk_buf *out, bool *first, const struct dbk_json_node *event,
                     bool people)
{
    *first = true;
    dbk_buf_append_text(out, out->size > 1 ? ",{" : "{");
    if (event != NULL)
        return put_event(out, first, event, people);
    put_nothing(out, first);
    return DBK_OK;
}

static int put_change(struct dbk_buf *out, const struct dbk_json_node *event,
                      const struct dbk_json_node *change, bool people)
{
    bool first = true;
    int rc = begin_row(out, &first, event, people);
    if (!people)
        put_member(out, &first, "op", dbk_json_member(change, "op"));
    put_member(out, &first, people ? "field" : "path", dbk_json_member(change, "path"));
    if (rc == DBK_OK)
        rc = put_value(out, &first, "old", dbk_json_member(change, "old"), people);
    if (rc == DBK_OK)
        rc = put_value(out, &first, people ? "new" : "value", dbk_json_member(change, "value"),
                       people);
    dbk_buf_append_char(out, '}');
    return rc < 0 ? rc : out->rc;
}

/* A row that is no change: there is none, or so many are left out. */
static int put_other(struct dbk_buf *out, const struct dbk_json_node *event, uint64_t left_out,
                     bool people)
{
    char text[64];
    bool first = true;
    (void)snprintf(text, sizeof(text), people ? "(%ju more, too many or too large)" : "%ju",
                   (uintmax_t)left_out);
    if (left_out == 0)
        (void)snprintf(text, sizeof(text), "%s", people ? "(no change)" : "");
    int rc = begin_row(out, &first, event, people);
    if (!people)
        put_text(out, &first, "op", left_out > 0 ? "left-out" : "");
    put_text(out, &first, "old", "");
    put_text(out, &first, people ? "new" : "path", "");
    put_text(out, &first, people ? "field" : "value", text);
    dbk_buf_append_char(out, '}');
    return rc < 0 ? rc : out->rc;
}

static int put_changes(struct dbk_buf *out, const struct dbk_json_node *event, bool people)
{
    const struct dbk_json_node *changes = dbk_json_member(event, "changes");
    const struct dbk_json_node *left_out = dbk_json_member(event, "left_out");
    uint32_t count = changes == NULL ? 0 : changes->count;
    int rc = DBK_OK;
    dbk_buf_append_char(out, '[');
    const struct dbk_json_node *change = count > 0 ? dbk_json_first(changes) : NULL;
    for (uint32_t i = 0; rc == DBK_OK && i < count; i++, change = dbk_json_sibling(change))
        rc = put_change(out, i > 0 && people ? NULL : event, change, people);
    if (rc == DBK_OK && (left_out != NULL || count == 0))
        rc = put_other(out, count > 0 && people ? NULL : event,
                       left_out == NULL ? 0 : (uint64_t)left_out->integer, people);
    dbk_buf_append_char(out, ']');
    return rc < 0 ? rc : out->rc;
}

static int changes_for_people(struct dbk_buf *out, const struct dbk_json_node *event)
{
    return put_changes(out, event, true);
}

static int changes_for_csv(struct dbk_buf *out, const struct dbk_json_node *event)
{
    return put_changes(out, event, false);
}

int dbk_run_log(const struct dbk_arguments *arguments)
{
    static const char *const columns[] = {"version", "time", "type", "data", "state", NULL};
    static const char *const change_columns[] = {"version", "time", "type", "by",
                                                 "field",   "old",  "new",  NULL};
    static const char *const change_csv_columns[] = {
        "version",     "position", "time", "occurred", "type",  "id", "actor",
        "correlation", "op",       "path", "old",      "value", NULL};
    static const struct dbk_data_show states = {.mode = DBK_ENGINE_READ,
                                                .table_columns = columns,
                                                .csv_columns = columns,
                                                .summary = dbk_data_event_summary};
    static const struct dbk_data_show changes = {.mode = DBK_ENGINE_READ,
                                                 .table_columns = change_columns,
                                                 .csv_columns = change_csv_columns,
                                                 .summary = changes_for_people,
                                                 .csv_summary = changes_for_csv};
    struct dbk_call call;
    dbk_call_init(&call, "GET", "/streams/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call.path, "/log");
    dbk_call_option(&call, arguments, "from-version", "from_version");
    dbk_call_option(&call, arguments, "to-version", "to_version");
    dbk_call_option(&call, arguments, "diff", "diff");
    dbk_call_option(&call, arguments, "raw", "raw");
    return dbk_data_lines(arguments, &call,
                          dbk_arguments_has(arguments, "diff") ? &changes : &states);
}
