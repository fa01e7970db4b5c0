/* SPDX-License-Identifier: Apache-2.0 */
/* A report of `bench sync` for people: a line a sync. */
#include <stdio.h>

#include "cli/bench_place.h"
#include "cli/data.h"

#define ROW_SIZE_MAX ((size_t)1 << 20)

static double number_at(const struct dbk_json_node *object, const char *part, const char *name)
{
    const struct dbk_json_node *node = dbk_json_member(object, part);
    return node == NULL ? 0 : dbk_bench_value(dbk_json_member(node, name));
}

static void put_text(struct dbk_buf *row, bool *first, const char *name, struct dbk_slice text)
{
    dbk_json_write_key(row, first, name);
    dbk_json_write_string(row, text);
}

static void put_number(struct dbk_buf *row, bool *first, const char *name, double value, int places)
{
    char text[64];
    int size = snprintf(text, sizeof(text), "%.*f", places, value);
    put_text(row, first, name, dbk_slice(text, (size_t)size));
}

static void put_ms(struct dbk_buf *row, bool *first, const char *name,
                   const struct dbk_json_node *latency, const char *point)
{
    double us = latency == NULL ? 0 : dbk_bench_value(dbk_json_member(latency, point));
    put_number(row, first, name, us / 1e3, us < 10000 ? 2 : 0);
}

static void put_row(struct dbk_buf *row, const struct dbk_json_node *report,
                    const struct dbk_json_node *sync)
{
    const struct dbk_json_node *stale = dbk_json_member(sync, "stale_us");
    const struct dbk_json_node *alone = dbk_json_member(sync, "alone");
    const struct dbk_json_node *followed = dbk_json_member(sync, "followed");
    char name[64];
    bool first = true;
    (void)snprintf(name, sizeof(name), "%.*s", DBK_SLICE_ARGS(sync->key));
    dbk_buf_append_char(row, '{');
    put_text(row, &first, "sync", dbk_json_member(sync, "sync")->text);
    put_text(row, &first, "source", dbk_json_member(sync, "source")->text);
    put_text(row, &first, "target", dbk_json_member(sync, "target")->text);
    put_ms(row, &first, "stale p50 ms", stale, "p50");
    put_ms(row, &first, "p99 ms", stale, "p99");
    put_ms(row, &first, "max ms", stale, "max");
    put_number(row, &first, "commits/s alone", number_at(sync, "alone", "commits_per_second"), 0);
    put_number(row, &first, "followed", number_at(sync, "followed", "commits_per_second"), 0);
    put_number(row, &first, "ratio", number_at(report, "ratio", name), 2);
    put_ms(row, &first, "commit p99 ms alone", dbk_json_member(alone, "latency_us"), "p99");
    put_ms(row, &first, "p99 ms followed", dbk_json_member(followed, "latency_us"), "p99");
    put_number(row, &first, "rows/s", number_at(report, "rate", name), 0);
    dbk_buf_append_char(row, '}');
}

static int add_row(struct dbk_table *table, struct dbk_json *json,
                   const struct dbk_json_node *report, const struct dbk_json_node *sync,
                   struct dbk_error *err)
{
    const struct dbk_json_node *node = NULL;
    struct dbk_buf row;
    dbk_buf_init(&row, ROW_SIZE_MAX);
    put_row(&row, report, sync);
    int rc = row.rc < 0 ? dbk_error_set(err, row.rc, "%s", dbk_code_text(row.rc))
                        : dbk_json_parse(json, dbk_buf_slice(&row), &node, err);
    if (rc == DBK_OK)
        rc = dbk_table_row(table, node, err);
    dbk_buf_release(&row);
    return rc;
}

int dbk_bench_show_syncs(const struct dbk_arguments *arguments, const struct dbk_json_node *report,
                         struct dbk_error *err)
{
    struct dbk_table_options options = dbk_data_options(arguments, &(struct dbk_data_show){0});
    struct dbk_table *table = dbk_table_create(&options);
    struct dbk_json *json = dbk_json_create(ROW_SIZE_MAX);
    const struct dbk_json_node *syncs = dbk_json_member(report, "syncs");
    const struct dbk_json_node *sync = dbk_json_first(syncs);
    int rc = table == NULL || json == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && i < syncs->count; i++, sync = dbk_json_sibling(sync))
        rc = add_row(table, json, report, sync, err);
    if (rc == DBK_OK)
        rc = dbk_table_end(table, err);
    dbk_json_free(json);
    dbk_table_free(table);
    if (rc < 0)
        return rc;
    (void)printf("\n");
    static const char *const parts[] = {"settings", "raw", "environment"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        dbk_bench_print(dbk_json_member(report, parts[i]), parts[i]);
    return DBK_OK;
}
