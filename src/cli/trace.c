/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/trace.h"

#include <errno.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

#define ANSWER_SIZE_MAX ((size_t)1 << 31)
/* Deeper effects are drawn as deep as this, with a number that says how deep they are. */
#define DEPTH_DRAWN 32

void dbk_trace_write_offset(struct dbk_buf *out, int64_t offset_us)
{
    static const struct {
        uint64_t unit;
        uint64_t smaller;
        const char *name;
        const char *smaller_name;
    } units[] = {{86400, 3600, "d", "h"}, {3600, 60, "h", "min"}, {60, 1, "min", "s"}};
    uint64_t us = offset_us < 0 ? (uint64_t)-offset_us : (uint64_t)offset_us;
    uint64_t seconds = us / 1000000;
    dbk_buf_append_char(out, offset_us < 0 ? '-' : '+');
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (seconds >= units[i].unit) {
            dbk_buf_append_format(
                out, "%ju %s %ju %s", (uintmax_t)(seconds / units[i].unit), units[i].name,
                (uintmax_t)(seconds % units[i].unit / units[i].smaller), units[i].smaller_name);
            return;
        }
    }
    if (seconds > 0)
        dbk_buf_append_format(out, "%ju.%02ju s", (uintmax_t)seconds,
                              (uintmax_t)(us % 1000000 / 10000));
    else if (us >= 1000)
        dbk_buf_append_format(out, "%ju ms", (uintmax_t)(us / 1000));
    else
        dbk_buf_append_format(out, "%ju us", (uintmax_t)us);
}

/* ---- What the answer says ---- */

static uint64_t number_of(const struct dbk_json_node *row, const char *key)
{
    const struct dbk_json_node *member = dbk_json_member(row, key);
    return member != NULL && member->kind == DBK_JSON_INTEGER && member->integer > 0
               ? (uint64_t)member->integer
               : 0;
}

static struct dbk_slice text_of(const struct dbk_json_node *row, const char *key)
{
    const struct dbk_json_node *member = dbk_json_member(row, key);
    return member != NULL && member->kind == DBK_JSON_STRING ? member->text : (struct dbk_slice){0};
}

static struct dbk_trace_line line_of(const struct dbk_json_node *row)
{
    const struct dbk_json_node *offset = dbk_json_member(row, "offset_us");
    const struct dbk_json_node *later = dbk_json_member(row, "later_cause");
    struct dbk_slice kind = text_of(row, "kind");
    return (struct dbk_trace_line){
        .row = number_of(row, "row"),
        .parent = number_of(row, "parent"),
        .depth = number_of(row, "depth"),
        .circle = number_of(row, "circle"),
        .position = number_of(row, "position"),
        .version = number_of(row, "version"),
        .offset_us = offset != NULL && offset->kind == DBK_JSON_INTEGER ? offset->integer : 0,
        .later = later != NULL && later->kind == DBK_JSON_TRUE,
        .outside = dbk_slice_equal_text(kind, "outside"),
        .unknown = dbk_slice_equal_text(kind, "unknown"),
        .stream = text_of(row, "stream"),
        .type = text_of(row, "type"),
        .actor = text_of(row, "actor"),
        .cause = text_of(row, "cause"),
        .correlation = text_of(row, "correlation")};
}

/* ---- The tree ---- */

/* Which lines are the last effect of their cause: seen from the end, the first at its depth since a
   line above it. */
static void find_last(const struct dbk_trace_line *lines, size_t count, bool *last)
{
    bool seen[DEPTH_DRAWN + 1] = {false};
    for (size_t i = count; i-- > 0;) {
        size_t depth = lines[i].depth < DEPTH_DRAWN ? (size_t)lines[i].depth : DEPTH_DRAWN;
        last[i] = !seen[depth];
        seen[depth] = true;
        for (size_t below = depth + 1; below <= DEPTH_DRAWN; below++)
            seen[below] = false;
    }
}

static void write_branch(struct dbk_buf *out, const struct dbk_trace_line *line, bool last,
                         bool more[DEPTH_DRAWN + 1])
{
    size_t depth = line->depth < DEPTH_DRAWN ? (size_t)line->depth : DEPTH_DRAWN;
    for (size_t at = 1; at < depth; at++)
        dbk_buf_append_text(out, more[at] ? "│  " : "   ");
    more[depth] = !last;
    if (line->depth > DEPTH_DRAWN)
        dbk_buf_append_format(out, "… %ju deep: ", (uintmax_t)line->depth);
    else if (depth > 0)
        dbk_buf_append_text(out, last ? "└─ " : "├─ ");
}

static void write_event(struct dbk_buf *out, const struct dbk_trace_line *line)
{
    if (line->unknown) {
        dbk_buf_append(out, line->cause);
        dbk_buf_append_text(out, " (no event)");
        return;
    }
    dbk_buf_append(out, line->type);
    if (line->outside) {
        dbk_buf_append_text(out, " (of ");
        dbk_buf_append(out, line->correlation);
        dbk_buf_append_char(out, ')');
    }
    if (line->later)
        dbk_buf_append_text(out, " (recorded before its cause)");
    if (line->circle > 0)
        dbk_buf_append_text(out, " (its causes go in a circle)");
}

static void write_cell(struct dbk_buf *row, bool *first, const char *name, struct dbk_slice text)
{
    dbk_json_write_key(row, first, name);
    dbk_json_write_string(row, text);
}

/* No event has none: it is left empty. */
static void write_number(struct dbk_buf *row, bool *first, const char *name, uint64_t number)
{
    dbk_json_write_key(row, first, name);
    if (number > 0)
        dbk_json_write_u64(row, number);
    else
        dbk_json_write_string(row, (struct dbk_slice){0});
}

/* A row of the table, as JSON; texts are made visible by it. */
static int write_row(struct dbk_buf *row, const struct dbk_trace_line *line, bool last,
                     bool more[DEPTH_DRAWN + 1])
{
    struct dbk_buf text;
    bool first = true;
    dbk_buf_init(&text, ANSWER_SIZE_MAX);
    dbk_buf_append_char(row, '{');
    if (!line->unknown)
        dbk_trace_write_offset(&text, line->offset_us);
    write_cell(row, &first, "after", dbk_buf_slice(&text));
    dbk_buf_reset(&text);
    write_branch(&text, line, last, more);
    write_event(&text, line);
    write_cell(row, &first, "event", dbk_buf_slice(&text));
    write_cell(row, &first, "stream", line->stream);
    write_number(row, &first, "version", line->version);
    write_number(row, &first, "position", line->position);
    write_cell(row, &first, "actor", line->actor);
    dbk_buf_append_char(row, '}');
    int rc = text.rc < 0 ? text.rc : row->rc;
    dbk_buf_release(&text);
    return rc;
}

static int show_tree(const struct dbk_arguments *arguments, const struct dbk_trace_line *lines,
                     size_t count, const bool *last, struct dbk_error *err)
{
    static const char *const columns[] = {"after",    "event", "stream", "version",
                                          "position", "actor", NULL};
    struct dbk_table_options options =
        dbk_data_options(arguments, &(struct dbk_data_show){.table_columns = columns});
    struct dbk_table *table = dbk_table_create(&options);
    struct dbk_json *json = dbk_json_create(ANSWER_SIZE_MAX);
    struct dbk_buf row;
    bool more[DEPTH_DRAWN + 1] = {false};
    dbk_buf_init(&row, ANSWER_SIZE_MAX);
    int rc = table == NULL || json == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        const struct dbk_json_node *node = NULL;
        dbk_buf_reset(&row);
        rc = write_row(&row, &lines[i], last[i], more);
        if (rc < 0)
            rc = dbk_error_set(err, rc, "%s", dbk_code_text(rc));
        if (rc == DBK_OK)
            rc = dbk_json_parse(json, dbk_buf_slice(&row), &node, err);
        if (rc == DBK_OK)
            rc = dbk_table_row(table, node, err);
    }
    if (rc == DBK_OK)
        rc = dbk_table_end(table, err);
    dbk_buf_release(&row);
    dbk_json_free(json);
    dbk_table_free(table);
    return rc;
}

/* ---- The answer ---- */

static int show_lines(const struct dbk_arguments *arguments, const struct dbk_json_node *root,
                      const struct dbk_json_node *rows, struct dbk_error *err)
{
    struct dbk_buf text;
    struct dbk_trace_line *lines = dbk_alloc_zero(rows->count + 1, sizeof(*lines));
    bool *last = dbk_alloc_zero(rows->count + 1, sizeof(*last));
    const struct dbk_json_node *row = dbk_json_first(rows);
    int rc = DBK_OK;
    if (lines == NULL || last == NULL) {
        rc = dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
        goto out;
    }
    for (uint32_t i = 0; i < rows->count; i++, row = dbk_json_sibling(row))
        lines[i] = line_of(row);
    if (dbk_output_of(arguments) == DBK_OUTPUT_TABLE) {
        find_last(lines, rows->count, last);
        rc = show_tree(arguments, lines, rows->count, last, err);
        goto out;
    }
    dbk_buf_init(&text, ANSWER_SIZE_MAX);
    rc = dbk_trace_write_dot(&text, text_of(root, "correlation"), lines, rows->count, err);
    if (rc == DBK_OK && fwrite(text.data, 1, text.size, stdout) != text.size)
        rc = dbk_error_set_errno(err, errno, "standard output");
    dbk_buf_release(&text);
out:
    dbk_free(lines);
    dbk_free(last);
    return rc;
}

static int show_rows(const struct dbk_arguments *arguments, const struct dbk_json_node *rows,
                     struct dbk_error *err)
{
    static const char *const columns[] = {
        "row",     "parent",      "depth",     "kind",        "position", "stream",
        "version", "time",        "occurred",  "type",        "id",       "actor",
        "cause",   "correlation", "offset_us", "later_cause", "circle",   NULL};
    struct dbk_table_options options =
        dbk_data_options(arguments, &(struct dbk_data_show){.csv_columns = columns});
    struct dbk_table *table = dbk_table_create(&options);
    const struct dbk_json_node *row = dbk_json_first(rows);
    int rc =
        table == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM)) : DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && i < rows->count; i++, row = dbk_json_sibling(row))
        rc = dbk_table_row(table, row, err);
    if (rc == DBK_OK)
        rc = dbk_table_end(table, err);
    dbk_table_free(table);
    return rc;
}

static int show(const struct dbk_arguments *arguments, const struct dbk_answer *answer,
                struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create(ANSWER_SIZE_MAX);
    int rc = json == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                          : dbk_json_parse(json, dbk_buf_slice(&answer->body), &root, err);
    const struct dbk_json_node *rows = rc == DBK_OK ? dbk_json_member(root, "rows") : NULL;
    if (rc == DBK_OK && (rows == NULL || rows->kind != DBK_JSON_ARRAY))
        rc = dbk_error_set(err, DBK_EIO, "the answer has no rows");
    if (rc < 0)
        goto out;
    enum dbk_output output = dbk_output_of(arguments);
    rc = output == DBK_OUTPUT_TABLE || output == DBK_OUTPUT_DOT
             ? show_lines(arguments, root, rows, err)
             : show_rows(arguments, rows, err);
    const struct dbk_json_node *more = dbk_json_member(root, "more");
    if (rc == DBK_OK && more != NULL && more->kind == DBK_JSON_TRUE) {
        (void)fflush(stdout);
        (void)fprintf(stderr, "daybook: there are more events; --limit takes a higher number\n");
    }
out:
    dbk_json_free(json);
    return rc;
}

int dbk_run_trace(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_call call;
    struct dbk_link *link = NULL;
    struct dbk_answer answer;
    if (dbk_arguments_has(arguments, "timeline"))
        return dbk_trace_timeline(arguments);
    dbk_call_init(&call, "GET", "/trace/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_call_option(&call, arguments, "limit", "limit");
    dbk_call_option(&call, arguments, "hidden", "hidden");
    dbk_answer_init(&answer);
    int rc = dbk_link_open(arguments, DBK_ENGINE_READ, &link, &err);
    if (rc == DBK_OK)
        rc = dbk_link_send(link, &call, NULL, NULL, &answer, &err);
    if (rc == DBK_OK)
        rc = show(arguments, &answer, &err);
    dbk_answer_release(&answer);
    dbk_link_free(link);
    dbk_call_release(&call);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
