/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace --timeline: one event's moments below each other, each with a bar from the one before.
 *
 *     after     moment     of          timeline
 *     0.00 ms   sent       CreatePost  ●
 *     1.31 ms   saved      posts       ━●
 *     8.02 ms   published  feed         ━━━━━●
 */
#include <stdio.h>

#include "cli/data.h"
#include "cli/fail.h"
#include "cli/trace.h"

#define ANSWER_SIZE_MAX ((size_t)64 << 20)
#define BAR_COLUMNS 40

static struct dbk_slice text_of(const struct dbk_json_node *row, const char *key)
{
    const struct dbk_json_node *member = dbk_json_member(row, key);
    return member != NULL && member->kind == DBK_JSON_STRING ? member->text : (struct dbk_slice){0};
}

/* False: it is not known, or is not counted. */
static bool offset_of(const struct dbk_json_node *row, int64_t *offset_us)
{
    const struct dbk_json_node *member = dbk_json_member(row, "offset_us");
    if (member == NULL || member->kind != DBK_JSON_INTEGER)
        return false;
    *offset_us = member->integer;
    return true;
}

/* "12.34 ms" below ten seconds, then as in a tree of causes. */
static void write_offset(struct dbk_buf *out, int64_t offset_us)
{
    uint64_t us = offset_us < 0 ? (uint64_t)-offset_us : (uint64_t)offset_us;
    if (us >= 10000000) {
        dbk_trace_write_offset(out, offset_us);
        return;
    }
    dbk_buf_append_format(out, "%s%ju.%02ju ms", offset_us < 0 ? "-" : "", (uintmax_t)(us / 1000),
                          (uintmax_t)(us % 1000 / 10));
}

struct bars {
    int64_t end_us; /* of the last moment */
    size_t column;  /* of the moment before */
};

/* Clocks may differ: a moment may be before the first. */
static void write_bar(struct dbk_buf *out, struct bars *bars, int64_t offset_us)
{
    int64_t at_us = offset_us < 0 ? 0 : offset_us;
    size_t column =
        bars->end_us == 0 ? 0 : (size_t)((double)at_us / (double)bars->end_us * (BAR_COLUMNS - 1));
    for (size_t i = 0; i < column; i++)
        dbk_buf_append_text(out, i < bars->column ? " " : "━");
    dbk_buf_append_text(out, "●");
    bars->column = column;
}

static void write_cell(struct dbk_buf *row, bool *first, const char *name, struct dbk_slice text)
{
    dbk_json_write_key(row, first, name);
    dbk_json_write_string(row, text);
}

/* A row of the table, as JSON. */
static int write_row(struct dbk_buf *row, const struct dbk_json_node *moment, struct bars *bars)
{
    struct dbk_buf after;
    struct dbk_buf bar;
    int64_t offset_us = 0;
    bool first = true;
    dbk_buf_init(&after, ANSWER_SIZE_MAX);
    dbk_buf_init(&bar, ANSWER_SIZE_MAX);
    if (offset_of(moment, &offset_us)) {
        write_offset(&after, offset_us);
        write_bar(&bar, bars, offset_us);
    } else if (text_of(moment, "time").size > 0) {
        dbk_buf_append(&bar, text_of(moment, "time"));
    } else {
        dbk_buf_append(&bar, text_of(moment, "why"));
    }
    dbk_buf_append_char(row, '{');
    write_cell(row, &first, "after", dbk_buf_slice(&after));
    write_cell(row, &first, "moment", text_of(moment, "moment"));
    write_cell(row, &first, "of", text_of(moment, "of"));
    write_cell(row, &first, "timeline", dbk_buf_slice(&bar));
    dbk_buf_append_char(row, '}');
    int rc = after.rc < 0 ? after.rc : bar.rc < 0 ? bar.rc : row->rc;
    dbk_buf_release(&after);
    dbk_buf_release(&bar);
    return rc;
}

static int add_drawn(struct dbk_table *table, struct dbk_json *json, struct bars *bars,
                     const struct dbk_json_node *moment, struct dbk_error *err)
{
    const struct dbk_json_node *node = NULL;
    struct dbk_buf row;
    dbk_buf_init(&row, ANSWER_SIZE_MAX);
    int rc = write_row(&row, moment, bars);
    if (rc < 0)
        rc = dbk_error_set(err, rc, "%s", dbk_code_text(rc));
    if (rc == DBK_OK)
        rc = dbk_json_parse(json, dbk_buf_slice(&row), &node, err);
    if (rc == DBK_OK)
        rc = dbk_table_row(table, node, err);
    dbk_buf_release(&row);
    return rc;
}

/* What the table is of: the event, and when it begins. */
static void print_head(const struct dbk_json_node *root, const struct dbk_json_node *moments)
{
    const struct dbk_json_node *position = dbk_json_member(root, "position");
    const struct dbk_json_node *moment = dbk_json_first(moments);
    struct dbk_slice begun = {0};
    int64_t offset_us = 0;
    for (uint32_t i = 0; begun.size == 0 && i < moments->count; i++) {
        if (offset_of(moment, &offset_us) && offset_us == 0)
            begun = text_of(moment, "time");
        moment = dbk_json_sibling(moment);
    }
    (void)printf("%.*s of %.*s at position %.*s, from %.*s\n\n",
                 DBK_SLICE_ARGS(text_of(root, "type")), DBK_SLICE_ARGS(text_of(root, "stream")),
                 DBK_SLICE_ARGS(position->raw), DBK_SLICE_ARGS(begun));
}

static int show_drawn(struct dbk_table *table, const struct dbk_json_node *moments,
                      struct dbk_error *err)
{
    struct bars bars = {0};
    struct dbk_json *json = dbk_json_create(ANSWER_SIZE_MAX);
    const struct dbk_json_node *moment = dbk_json_first(moments);
    int rc =
        json == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM)) : DBK_OK;
    for (uint32_t i = 0; i < moments->count; i++, moment = dbk_json_sibling(moment)) {
        int64_t offset_us = 0;
        if (offset_of(moment, &offset_us) && offset_us > bars.end_us)
            bars.end_us = offset_us;
    }
    moment = dbk_json_first(moments);
    for (uint32_t i = 0; rc == DBK_OK && i < moments->count; i++) {
        rc = add_drawn(table, json, &bars, moment, err);
        moment = dbk_json_sibling(moment);
    }
    dbk_json_free(json);
    return rc;
}

static int show_moments(const struct dbk_arguments *arguments, const struct dbk_json_node *root,
                        const struct dbk_json_node *moments, struct dbk_error *err)
{
    static const char *const drawn[] = {"after", "moment", "of", "timeline", NULL};
    static const char *const csv[] = {"moment", "of", "time", "offset_us", "why", NULL};
    struct dbk_table_options options = dbk_data_options(
        arguments, &(struct dbk_data_show){.table_columns = drawn, .csv_columns = csv});
    struct dbk_table *table = dbk_table_create(&options);
    const struct dbk_json_node *moment = dbk_json_first(moments);
    int rc =
        table == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM)) : DBK_OK;
    if (rc == DBK_OK && options.output == DBK_OUTPUT_TABLE) {
        print_head(root, moments);
        rc = show_drawn(table, moments, err);
    } else {
        for (uint32_t i = 0; rc == DBK_OK && i < moments->count; i++) {
            rc = dbk_table_row(table, moment, err);
            moment = dbk_json_sibling(moment);
        }
    }
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
    const struct dbk_json_node *moments = rc == DBK_OK ? dbk_json_member(root, "moments") : NULL;
    const struct dbk_json_node *position = rc == DBK_OK ? dbk_json_member(root, "position") : NULL;
    if (rc == DBK_OK && (moments == NULL || moments->kind != DBK_JSON_ARRAY || position == NULL))
        rc = dbk_error_set(err, DBK_EIO, "the answer has no moments");
    if (rc == DBK_OK)
        rc = show_moments(arguments, root, moments, err);
    dbk_json_free(json);
    return rc;
}

int dbk_trace_timeline(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_call call;
    struct dbk_link *link = NULL;
    struct dbk_answer answer;
    if (dbk_output_of(arguments) == DBK_OUTPUT_DOT)
        return dbk_fail_usage(arguments, "--timeline is no graph: it takes no -o dot");
    if (dbk_arguments_has(arguments, "limit") || dbk_arguments_has(arguments, "hidden"))
        return dbk_fail_usage(arguments, "--timeline is of one event: no --limit, no --hidden");
    dbk_call_init(&call, "GET", "/events/");
    dbk_call_path(&call, dbk_slice_of(arguments->positional[0]));
    dbk_buf_append_text(&call.path, "/timeline");
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
