/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/data.h"

#include <string.h>

#include "cli/fail.h"
#include "cli/words.h"
#include "json/json.h"

#define ANSWER_SIZE_MAX ((size_t)1 << 31)
#define LINE_SIZE_MAX ((size_t)256 << 20)

const char *const dbk_data_event_columns[] = {"position", "stream", "version", "time",
                                              "type",     "data",   NULL};
const char *const dbk_data_event_csv_columns[] = {"position", "stream", "version", "time",
                                                  "occurred", "type",   "id",      "data",
                                                  "meta",     "tags",   NULL};

struct dbk_table_options dbk_data_options(const struct dbk_arguments *arguments,
                                          const struct dbk_data_show *show)
{
    enum dbk_output output = dbk_output_of(arguments);
    return (struct dbk_table_options){.out = stdout,
                                      .output = output,
                                      .width_max = dbk_output_width(stdout),
                                      .live = show->live,
                                      .columns = output == DBK_OUTPUT_CSV ? show->csv_columns
                                                                          : show->table_columns};
}

/* ---- Summaries for people ---- */

int dbk_data_event_summary(struct dbk_buf *out, const struct dbk_json_node *row)
{
    struct dbk_buf text;
    const struct dbk_json_node *member = dbk_json_first(row);
    bool first = true;
    dbk_buf_init(&text, LINE_SIZE_MAX);
    dbk_buf_append_char(out, '{');
    for (uint32_t i = 0; i < row->count; i++) {
        if (!first)
            dbk_buf_append_char(out, ',');
        first = false;
        dbk_json_write_string(out, member->key);
        dbk_buf_append_char(out, ':');
        if (dbk_slice_equal_text(member->key, "data") ||
            dbk_slice_equal_text(member->key, "state")) {
            dbk_buf_reset(&text);
            dbk_words_write(&text, member);
            dbk_json_write_string(out, dbk_buf_slice(&text));
        } else {
            dbk_json_write_node(out, member);
        }
        if (i + 1 < row->count)
            member = dbk_json_sibling(member);
    }
    dbk_buf_append_char(out, '}');
    int rc = text.rc < 0 ? text.rc : out->rc;
    dbk_buf_release(&text);
    return rc;
}

void dbk_data_after(struct dbk_call *call, const struct dbk_arguments *arguments)
{
    char text[32];
    dbk_call_option(call, arguments, "after", "after");
    if (!dbk_arguments_has(arguments, "timeout"))
        return;
    int size = snprintf(text, sizeof(text), "%jd",
                        (intmax_t)(dbk_arguments_duration_us(arguments, "timeout", 0) / 1000));
    dbk_call_query(call, "timeout_ms", dbk_slice(text, (size_t)size));
}

/* ---- Answers that come whole ---- */

static int draw_row(struct dbk_table *table, const struct dbk_json_node *item,
                    const struct dbk_data_show *show, struct dbk_error *err)
{
    const struct dbk_json_node *drawn = NULL;
    struct dbk_buf row;
    struct dbk_json *json = dbk_json_create(ANSWER_SIZE_MAX);
    dbk_buf_init(&row, ANSWER_SIZE_MAX);
    int rc = json == NULL ? DBK_ENOMEM : show->draw(&row, item);
    if (rc < 0)
        rc = dbk_error_set(err, rc, "%s", dbk_code_text(rc));
    if (rc == DBK_OK)
        rc = dbk_json_parse(json, dbk_buf_slice(&row), &drawn, err);
    if (rc == DBK_OK)
        rc = dbk_table_row(table, drawn, err);
    dbk_buf_release(&row);
    dbk_json_free(json);
    return rc;
}

static int show_rows(struct dbk_table *table, const struct dbk_json_node *answer,
                     const struct dbk_json_node *rows, const struct dbk_data_show *show,
                     struct dbk_error *err)
{
    /* The columns of an answer without rows are known too. */
    const struct dbk_json_node *columns = dbk_json_member(answer, "columns");
    const struct dbk_json_node *item = NULL;
    int rc = DBK_OK;
    if (columns != NULL && columns->kind == DBK_JSON_ARRAY)
        item = dbk_json_first(columns);
    for (uint32_t i = 0; item != NULL && rc == DBK_OK && i < columns->count; i++) {
        rc = dbk_table_column(table, item->text);
        item = dbk_json_sibling(item);
    }
    item = dbk_json_first(rows);
    for (uint32_t i = 0; rc == DBK_OK && i < rows->count; i++) {
        rc =
            show->draw == NULL ? dbk_table_row(table, item, err) : draw_row(table, item, show, err);
        if (i + 1 < rows->count)
            item = dbk_json_sibling(item);
    }
    return rc == DBK_OK ? dbk_table_end(table, err) : rc;
}

/* Of those commands that have the option. */
static bool wants_position(const struct dbk_arguments *arguments)
{
    for (size_t i = 0; i < arguments->given_count; i++) {
        if (strcmp(arguments->given[i].option->name, "position") == 0)
            return true;
    }
    return false;
}

/* `--position`: all that the rows are of stands behind them. */
static void say_position(const struct dbk_json_node *answer)
{
    const struct dbk_json_node *position = dbk_json_member(answer, "position");
    const struct dbk_json_node *lag = dbk_json_member(answer, "lag_ms");
    if (position == NULL)
        return;
    (void)fflush(stdout);
    (void)fprintf(stderr, "position %.*s", DBK_SLICE_ARGS(position->raw));
    if (lag != NULL)
        (void)fprintf(stderr, ", %.*s ms behind", DBK_SLICE_ARGS(lag->raw));
    (void)fprintf(stderr, "\n");
}

static int show_answer(const struct dbk_arguments *arguments, const struct dbk_answer *answer,
                       const struct dbk_data_show *show, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_table_options options = dbk_data_options(arguments, show);
    struct dbk_table *table = NULL;
    struct dbk_json *json = dbk_json_create(ANSWER_SIZE_MAX);
    int rc = json == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                          : dbk_json_parse(json, dbk_buf_slice(&answer->body), &root, err);
    if (rc < 0)
        goto out;
    bool position = wants_position(arguments);
    if (show->rows == NULL || ((position || show->whole) && options.output == DBK_OUTPUT_JSON)) {
        rc = dbk_table_object(&options, root, show->open, err);
        goto out;
    }
    const struct dbk_json_node *rows = dbk_json_member(root, show->rows);
    if (rows == NULL || rows->kind != DBK_JSON_ARRAY) {
        rc = dbk_error_set(err, DBK_EIO, "the answer has no %s", show->rows);
        goto out;
    }
    table = dbk_table_create(&options);
    rc = table == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                       : show_rows(table, root, rows, show, err);
    if (rc == DBK_OK && position)
        say_position(root);
    if (rc == DBK_OK && show->say != NULL) {
        (void)fflush(stdout);
        show->say(root);
    }
out:
    dbk_table_free(table);
    dbk_json_free(json);
    return rc;
}

int dbk_data_object(const struct dbk_arguments *arguments, const struct dbk_buf *text,
                    struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_table_options options = dbk_data_options(arguments, &(struct dbk_data_show){0});
    struct dbk_json *json = dbk_json_create(text->size + 1);
    int rc = json == NULL || text->rc < 0
                 ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : dbk_json_parse(json, dbk_buf_slice(text), &root, err);
    if (rc == DBK_OK)
        rc = dbk_table_object(&options, root, NULL, err);
    dbk_json_free(json);
    return rc;
}

int dbk_data_answer_over(const struct dbk_arguments *arguments, struct dbk_link *link,
                         struct dbk_call *call, const struct dbk_data_show *show,
                         struct dbk_error *err)
{
    struct dbk_answer answer;
    dbk_answer_init(&answer);
    int rc = dbk_link_send(link, call, NULL, NULL, &answer, err);
    if (rc == DBK_OK)
        rc = show_answer(arguments, &answer, show, err);
    dbk_answer_release(&answer);
    return rc;
}

int dbk_data_answer(const struct dbk_arguments *arguments, struct dbk_call *call,
                    const struct dbk_data_show *show)
{
    struct dbk_error err = {0};
    struct dbk_link *link = NULL;
    int rc = dbk_link_open(arguments, show->mode, &link, &err);
    if (rc == DBK_OK)
        rc = dbk_data_answer_over(arguments, link, call, show, &err);
    dbk_link_free(link);
    dbk_call_release(call);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}

/* ---- Answers that come line by line ---- */

struct lines {
    const struct dbk_data_show *show;
    int (*summary)(struct dbk_buf *out, const struct dbk_json_node *row); /* NULL: none */
    struct dbk_table *table;
    struct dbk_json *json;
    struct dbk_buf line; /* one that has not ended yet */
    struct dbk_buf row;
    uint64_t count;
    struct dbk_error err;
};

static int add_rows(struct lines *lines, const struct dbk_json_node *root)
{
    if (root->kind != DBK_JSON_ARRAY)
        return dbk_table_row(lines->table, root, &lines->err);
    int rc = DBK_OK;
    const struct dbk_json_node *row = dbk_json_first(root);
    for (uint32_t i = 0; rc == DBK_OK && i < root->count; i++, row = dbk_json_sibling(row))
        rc = dbk_table_row(lines->table, row, &lines->err);
    return rc;
}

/* An answer that has begun says by its last line that it failed. */
static bool is_problem(const struct dbk_json_node *root)
{
    const struct dbk_json_node *type = dbk_json_member(root, "type");
    const struct dbk_json_node *status = dbk_json_member(root, "status");
    return type != NULL && type->kind == DBK_JSON_STRING &&
           dbk_slice_equal_text(type->text, "about:blank") && status != NULL &&
           status->kind == DBK_JSON_INTEGER && dbk_json_member(root, "stream") == NULL;
}

/* A line of the answer: an event, or in a live one a field of it, of which only data matters. */
static int take_line(struct lines *lines, struct dbk_slice line)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_slice data = DBK_SLICE_LITERAL("data:");
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    if (lines->show->live) {
        if (!dbk_slice_starts_with(line, data))
            return DBK_OK;
        line = dbk_slice(line.data + data.size, line.size - data.size);
    }
    if (line.size == 0)
        return DBK_OK;
    int rc = dbk_json_parse(lines->json, line, &root, &lines->err);
    if (rc == DBK_OK && is_problem(root)) {
        /* What came before it is shown. */
        rc = dbk_table_flush(lines->table, &lines->err);
        return rc < 0 ? rc : dbk_link_problem(root, 0, &lines->err);
    }
    if (rc == DBK_OK && lines->summary != NULL) {
        dbk_buf_reset(&lines->row);
        rc = lines->summary(&lines->row, root);
        if (rc == DBK_OK)
            rc = dbk_json_parse(lines->json, dbk_buf_slice(&lines->row), &root, &lines->err);
    }
    if (rc == DBK_OK)
        rc = add_rows(lines, root);
    if (rc == DBK_OK && lines->show->live)
        rc = dbk_table_flush(lines->table, &lines->err);
    if (rc == DBK_OK && lines->show->limit > 0 && ++lines->count == lines->show->limit)
        return DBK_ESTOPPED;
    return rc;
}

static int take_bytes(void *context, struct dbk_slice bytes)
{
    struct lines *lines = context;
    while (bytes.size > 0) {
        const char *end = memchr(bytes.data, '\n', bytes.size);
        size_t size = end != NULL ? (size_t)(end - bytes.data) : bytes.size;
        struct dbk_slice line = dbk_slice(bytes.data, size);
        if (end == NULL || lines->line.size > 0) {
            dbk_buf_append(&lines->line, line);
            line = dbk_buf_slice(&lines->line);
        }
        if (lines->line.rc < 0)
            return dbk_error_set(&lines->err, lines->line.rc, "a line of the answer: %s",
                                 dbk_code_text(lines->line.rc));
        if (end == NULL)
            return DBK_OK;
        int rc = take_line(lines, line);
        dbk_buf_reset(&lines->line);
        if (rc < 0)
            return rc;
        bytes = dbk_slice(end + 1, bytes.size - size - 1);
    }
    return DBK_OK;
}

/* What ends the walk on purpose: the limit, or a signal. */
static bool ended(const struct lines *lines, int rc)
{
    return rc == DBK_ESTOPPED && lines->err.code == DBK_OK;
}

static int lines_init(struct lines *lines, const struct dbk_arguments *arguments,
                      const struct dbk_data_show *show)
{
    struct dbk_table_options options = dbk_data_options(arguments, show);
    *lines = (struct lines){.show = show};
    if (options.output == DBK_OUTPUT_TABLE)
        lines->summary = show->summary;
    else if (options.output == DBK_OUTPUT_CSV)
        lines->summary = show->csv_summary;
    dbk_buf_init(&lines->line, LINE_SIZE_MAX);
    dbk_buf_init(&lines->row, LINE_SIZE_MAX);
    lines->table = dbk_table_create(&options);
    lines->json = dbk_json_create(LINE_SIZE_MAX);
    if (lines->table == NULL || lines->json == NULL)
        return dbk_error_set(&lines->err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    return DBK_OK;
}

int dbk_data_lines(const struct dbk_arguments *arguments, struct dbk_call *call,
                   const struct dbk_data_show *show)
{
    struct dbk_error err = {0};
    struct lines lines;
    struct dbk_link *link = NULL;
    struct dbk_answer answer;
    dbk_answer_init(&answer);
    dbk_call_header(call, "Accept", show->live ? "text/event-stream" : "application/x-ndjson");
    int rc = lines_init(&lines, arguments, show);
    if (rc == DBK_OK) {
        dbk_link_stop_on_signals();
        rc = dbk_link_open(arguments, show->mode, &link, &err);
    }
    if (rc == DBK_OK)
        rc = dbk_link_send(link, call, take_bytes, &lines, &answer, &err);
    if (rc == DBK_OK && lines.line.size > 0)
        rc = take_line(&lines, dbk_buf_slice(&lines.line));
    if (rc == DBK_OK || ended(&lines, rc))
        rc = dbk_table_end(lines.table, &err);
    dbk_answer_release(&answer);
    dbk_link_free(link);
    dbk_call_release(call);
    dbk_table_free(lines.table);
    dbk_json_free(lines.json);
    dbk_buf_release(&lines.line);
    dbk_buf_release(&lines.row);
    if (rc == DBK_OK)
        return DBK_EXIT_OK;
    return dbk_fail(arguments, lines.err.code != DBK_OK ? &lines.err : &err);
}
