/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A report of `bench patterns` for people: a column a pattern, and what takes how long as bars on
 * one logarithmic scale, from 1 us:
 *
 *     a page     database per service   ━━━━━━━━━━━             12 us
 *                shared database        ━━━━━━━━━━━━━━━━        61 us
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/bench_shop.h"
#include "cli/data.h"

#define ROW_SIZE_MAX ((size_t)1 << 20)
#define BARS_A_DECADE 7

/* A member by its path; NULL: there is none. */
static const struct dbk_json_node *find(const struct dbk_json_node *node, const char *path)
{
    while (node != NULL && *path != '\0') {
        char name[64];
        size_t size = strcspn(path, ".");
        (void)snprintf(name, sizeof(name), "%.*s", (int)size, path);
        node = dbk_json_member(node, name);
        path += size + (path[size] == '.');
    }
    return node;
}

static void write_us(char text[32], double us)
{
    if (us >= 1e6)
        (void)snprintf(text, 32, "%.2f s", us / 1e6);
    else if (us >= 1e4)
        (void)snprintf(text, 32, "%.0f ms", us / 1e3);
    else if (us >= 1e3)
        (void)snprintf(text, 32, "%.2f ms", us / 1e3);
    else
        (void)snprintf(text, 32, "%.0f us", us);
}

enum unit { TEXT, COUNT, MICROSECONDS, SECONDS };
static const struct row {
    const char *title;
    const char *path;
    enum unit unit;
} rows[] = {
    {"data", "data", TEXT},
    {"consistency", "consistency", TEXT},
    {"definitions, lines", "definition_lines", COUNT},
    {"processes", "processes", COUNT},
    {"can go wrong between", "can_go_wrong", TEXT},
    {"an order written, p50", "write_us.p50", MICROSECONDS},
    {"p99", "write_us.p99", MICROSECONDS},
    {"a page read, p50", "page_us.p50", MICROSECONDS},
    {"p99", "page_us.p99", MICROSECONDS},
    {"a summary read, p50", "summary_us.p50", MICROSECONDS},
    {"late, p50", "stale_us.p50", MICROSECONDS},
    {"p99", "stale_us.p99", MICROSECONDS},
    {"orders/s of one writer", "orders_per_second", COUNT},
    {"orders/s beside readers", "beside_readers.orders_per_second", COUNT},
    {"their pages/s", "beside_readers.reads_per_second", COUNT},
    {"a page then, p99", "beside_readers.page_us.p99", MICROSECONDS},
    {"bytes an order", "bytes_an_order", COUNT},
    {"a new field, lines", "new_field.lines", COUNT},
    {"and until it is read", "new_field.seconds", SECONDS},
    {"made for", "made_for", TEXT},
};

static void put_value(struct dbk_buf *out, const struct row *row, const struct dbk_json_node *node)
{
    char text[32];
    if (node == NULL || row->unit == TEXT) {
        dbk_json_write_string(out, node == NULL ? DBK_SLICE_LITERAL("-") : node->text);
        return;
    }
    if (row->unit == COUNT)
        (void)snprintf(text, sizeof(text), "%.0f", dbk_bench_value(node));
    else
        write_us(text, dbk_bench_value(node) * (row->unit == SECONDS ? 1e6 : 1));
    dbk_json_write_string(out, dbk_slice_of(text));
}

static int add_row(struct dbk_table *table, struct dbk_json *json, const struct row *row,
                   const struct dbk_json_node *patterns, struct dbk_error *err)
{
    const struct dbk_json_node *node = NULL;
    const struct dbk_json_node *pattern = dbk_json_first(patterns);
    bool first = true;
    struct dbk_buf text;
    dbk_buf_init(&text, ROW_SIZE_MAX);
    dbk_buf_append_char(&text, '{');
    dbk_json_write_key(&text, &first, "of");
    dbk_json_write_string(&text, dbk_slice_of(row->title));
    for (uint32_t i = 0; i < patterns->count; i++, pattern = dbk_json_sibling(pattern)) {
        char title[64];
        (void)snprintf(title, sizeof(title), "%.*s", DBK_SLICE_ARGS(find(pattern, "title")->text));
        dbk_json_write_key(&text, &first, title);
        put_value(&text, row, find(pattern, row->path));
    }
    dbk_buf_append_char(&text, '}');
    int rc = text.rc < 0 ? dbk_error_set(err, text.rc, "%s", dbk_code_text(text.rc))
                         : dbk_json_parse(json, dbk_buf_slice(&text), &node, err);
    if (rc == DBK_OK)
        rc = dbk_table_row(table, node, err);
    dbk_buf_release(&text);
    return rc;
}

static int show_table(const struct dbk_arguments *arguments, const struct dbk_json_node *patterns,
                      struct dbk_error *err)
{
    struct dbk_table_options options = dbk_data_options(arguments, &(struct dbk_data_show){0});
    struct dbk_table *table = dbk_table_create(&options);
    struct dbk_json *json = dbk_json_create(ROW_SIZE_MAX);
    int rc = table == NULL || json == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < sizeof(rows) / sizeof(rows[0]); i++)
        rc = add_row(table, json, &rows[i], patterns, err);
    if (rc == DBK_OK)
        rc = dbk_table_end(table, err);
    dbk_json_free(json);
    dbk_table_free(table);
    return rc;
}

/* ---- The plot ---- */

static void draw_bar(const char *title, const struct dbk_json_node *pattern,
                     const struct dbk_json_node *node)
{
    char text[32] = "-";
    int columns = 0;
    if (node != NULL) {
        double us = dbk_bench_value(node);
        write_us(text, us);
        columns = us > 1 ? 1 + (int)(log10(us) * BARS_A_DECADE) : 0;
    }
    (void)printf("%-10s %-22.*s", title, DBK_SLICE_ARGS(find(pattern, "title")->text));
    for (int i = 0; i < columns; i++)
        (void)printf("━");
    (void)printf(" %s\n", text);
}

static void draw(const struct dbk_json_node *patterns)
{
    static const struct {
        const char *title;
        const char *path;
    } plots[] = {{"writing", "write_us.p50"},
                 {"a page", "page_us.p50"},
                 {"a summary", "summary_us.p50"},
                 {"late", "stale_us.p50"}};
    for (size_t i = 0; i < sizeof(plots) / sizeof(plots[0]); i++) {
        const struct dbk_json_node *pattern = dbk_json_first(patterns);
        (void)printf("\n");
        for (uint32_t j = 0; j < patterns->count; j++, pattern = dbk_json_sibling(pattern))
            draw_bar(j == 0 ? plots[i].title : "", pattern, find(pattern, plots[i].path));
    }
}

int dbk_bench_show_patterns(const struct dbk_arguments *arguments,
                            const struct dbk_json_node *report, struct dbk_error *err)
{
    static const char *const parts[] = {"settings", "raw", "environment"};
    const struct dbk_json_node *patterns = dbk_json_member(report, "patterns");
    int rc = show_table(arguments, patterns, err);
    if (rc < 0)
        return rc;
    draw(patterns);
    (void)printf("\n");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        dbk_bench_print(dbk_json_member(report, parts[i]), parts[i]);
    return DBK_OK;
}
