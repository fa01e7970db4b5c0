/* SPDX-License-Identifier: Apache-2.0 */
/* service hot: where a shared database is the bottleneck. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/progress.h"
#include "cli/schema_rows.h"
#include "service/hot.h"

#define MEMORY_MAX ((size_t)64 << 20)
#define WINDOW_US (INT64_C(10) * 1000000)
#define BAR_COLUMNS 24

struct work {
    const struct dbk_arguments *arguments;
    struct dbk_book *book;
    struct dbk_arena arena;
    struct dbk_hot hot;
    struct dbk_progress progress;
};

/* ---- Which database ---- */

static int find_database(const struct work *work, const struct dbk_book_database **database_out,
                         struct dbk_error *err)
{
    const struct dbk_book *book = work->book;
    const char *name = dbk_arguments_text(work->arguments, "database");
    size_t found = 0;
    *database_out = NULL;
    for (size_t i = 0; i < book->database_count; i++) {
        const struct dbk_book_database *database = &book->databases[i];
        bool meant = name == NULL ? dbk_service_share(book->service_definitions,
                                                      book->service_count, database->name) > 1
                                  : strcmp(database->name, name) == 0;
        found += meant ? 1 : 0;
        *database_out = meant ? database : *database_out;
    }
    if (found != 1)
        return dbk_error_set(err, found == 0 ? DBK_ENOTFOUND : DBK_EINVAL,
                             name == NULL ? "%zu databases are shared by services: name one with "
                                            "--database"
                                          : "%zu databases of book.yaml have that name",
                             found);
    if (dbk_target_dialect((*database_out)->path) != DBK_DIALECT_POSTGRES)
        return dbk_error_set(err, DBK_EREFUSED,
                             "%s is no PostgreSQL database: only that tells who waits for whom",
                             (*database_out)->name);
    return DBK_OK;
}

/* ---- Rows ---- */

static const char *service_of(const struct work *work, const char *role)
{
    for (size_t i = 0; i < work->book->service_count; i++) {
        if (strcmp(work->book->service_definitions[i].role, role) == 0)
            return work->book->services[i].name;
    }
    return NULL;
}

/* Who owns a table, as the files say; by its name without its schema. */
static const char *owner_of(const struct work *work, const char *table)
{
    const char *dot = strrchr(table, '.');
    struct dbk_slice name = dbk_slice_of(dot == NULL ? table : dot + 1);
    for (size_t i = 0; i < work->book->service_count; i++) {
        if (dbk_capture_table(&work->book->services[i], name) != NULL)
            return work->book->services[i].name;
    }
    return NULL;
}

static void put(struct dbk_buf *out, bool *first, const char *key, const char *text)
{
    dbk_json_write_key(out, first, key);
    if (text == NULL)
        dbk_buf_append_text(out, "null");
    else
        dbk_json_write_string(out, dbk_slice_of(text));
}

static void put_number(struct dbk_buf *out, bool *first, const char *key, int64_t number)
{
    dbk_json_write_key(out, first, key);
    dbk_json_write_integer(out, number);
}

/* Found so many times waiting, of so many looks: for how long. */
static int64_t wait_ms(const struct dbk_hot *hot, int64_t waits)
{
    return hot->samples == 0 ? 0 : waits * (hot->window_us / hot->samples) / 1000;
}

static double average(const struct dbk_hot *hot, int64_t sum)
{
    int64_t tenths = hot->samples == 0 ? 0 : sum * 10 / hot->samples;
    return (double)tenths / 10;
}

static void put_average(struct dbk_buf *out, bool *first, const char *key, double number)
{
    dbk_json_write_key(out, first, key);
    dbk_json_write_double(out, number);
}

static void put_bar(struct dbk_buf *out, bool *first, int64_t waits, int64_t waits_max)
{
    int64_t width = waits_max == 0 ? 0 : (waits * BAR_COLUMNS + waits_max - 1) / waits_max;
    dbk_json_write_key(out, first, "bar");
    dbk_buf_append_char(out, '"');
    for (int64_t i = 0; i < width; i++)
        dbk_buf_append_text(out, "█");
    dbk_buf_append_char(out, '"');
}

static void put_row(const struct work *work, struct dbk_buf *out, const struct dbk_hot_row *row,
                    int64_t waits_max)
{
    static const char *const kinds[] = {"service", "table", "wait"};
    const struct dbk_hot *hot = &work->hot;
    bool first = true;
    const char *service =
        row->kind == DBK_HOT_TABLE ? owner_of(work, row->name) : service_of(work, row->name);
    dbk_buf_append_char(out, '{');
    put(out, &first, "by", kinds[row->kind]);
    put(out, &first, "name", row->name);
    put(out, &first, "service", service);
    put_number(out, &first, "waited_ms", wait_ms(hot, row->waits));
    if (dbk_output_of(work->arguments) == DBK_OUTPUT_TABLE)
        put_bar(out, &first, row->waits, waits_max);
    if (row->kind == DBK_HOT_WAIT) {
        put(out, &first, "for_table", row->table[0] == '\0' ? NULL : row->table);
        put(out, &first, "held_by", row->holder);
    } else if (row->kind == DBK_HOT_TABLE) {
        put_number(out, &first, "rows_read", row->rows_read);
        put_number(out, &first, "rows_written", row->rows_written);
    } else {
        put_average(out, &first, "connections", average(hot, row->connections));
        put_average(out, &first, "active", average(hot, row->active));
        if (hot->timed) {
            put_number(out, &first, "time_ms", row->time_us / 1000);
            put_number(out, &first, "calls", row->calls);
        }
    }
    dbk_buf_append_char(out, '}');
}

static bool is_silent(const struct dbk_hot_row *row)
{
    return row->waits == 0 && row->connections == 0 && row->calls == 0 && row->rows_read == 0 &&
           row->rows_written == 0;
}

/* By kind; who waited longest first, then who did most. */
static int compare_rows(const void *a, const void *b)
{
    const struct dbk_hot_row *one = a;
    const struct dbk_hot_row *other = b;
    int64_t more = other->waits - one->waits;
    if (one->kind != other->kind)
        return one->kind < other->kind ? -1 : 1;
    if (more == 0)
        more = other->time_us + other->rows_written - one->time_us - one->rows_written;
    return more == 0 ? strcmp(one->name, other->name) : more < 0 ? -1 : 1;
}

static int show(struct work *work, struct dbk_error *err)
{
    static const char *const columns[] = {
        "by",          "name",   "service", "waited_ms", "bar",       "for_table",    "held_by",
        "connections", "active", "time_ms", "calls",     "rows_read", "rows_written", NULL};
    struct dbk_schema_rows rows;
    struct dbk_hot *hot = &work->hot;
    int64_t waits_max = 0;
    if (hot->count > 0)
        qsort(hot->rows, hot->count, sizeof(*hot->rows), compare_rows);
    for (size_t i = 0; i < hot->count; i++)
        waits_max = hot->rows[i].waits > waits_max ? hot->rows[i].waits : waits_max;
    int rc = dbk_schema_rows_open(work->arguments, columns, &rows, err);
    for (size_t i = 0; rc == DBK_OK && i < hot->count; i++) {
        if (is_silent(&hot->rows[i]))
            continue;
        put_row(work, &rows.row, &hot->rows[i], waits_max);
        rc = dbk_schema_rows_put(&rows, err);
    }
    if (rc == DBK_OK)
        rc = dbk_schema_rows_end(&rows, err);
    dbk_schema_rows_close(&rows);
    return rc;
}

/* ---- The command ---- */

static int step(void *context, uint64_t done_us, uint64_t total_us)
{
    return dbk_progress_step(context, done_us / 1000, total_us / 1000);
}

static int watch(struct work *work, struct dbk_error *err)
{
    const struct dbk_book_database *database = NULL;
    struct dbk_connection *connection = NULL;
    int64_t window_us = dbk_arguments_duration_us(work->arguments, "for", WINDOW_US);
    int rc = find_database(work, &database, err);
    if (rc == DBK_OK)
        rc = dbk_connection_open(database->path, DBK_CONNECT_READ, &connection, err);
    if (rc < 0)
        return rc;
    work->hot.arena = &work->arena;
    dbk_progress_begin(&work->progress, "watch", "ms");
    rc =
        dbk_hot_watch(connection, dbk_os_real(), window_us, step, &work->progress, &work->hot, err);
    dbk_progress_clear(&work->progress);
    dbk_connection_free(connection);
    if (rc == DBK_OK && !work->hot.timed)
        (void)fprintf(stderr,
                      "%s: time is not known: set shared_preload_libraries = 'pg_stat_statements', "
                      "restart the server, and CREATE EXTENSION pg_stat_statements there\n",
                      database->name);
    return rc;
}

int dbk_run_service_hot(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_place place;
    struct work work = {.arguments = arguments};
    dbk_arena_init(&work.arena, MEMORY_MAX);
    int rc = dbk_place_find(arguments, &place, &err);
    if (rc == DBK_OK)
        rc = dbk_place_load(&place, &work.book, &err);
    if (rc == DBK_OK)
        rc = watch(&work, &err);
    if (rc == DBK_OK)
        rc = show(&work, &err);
    dbk_book_free(work.book);
    dbk_arena_release(&work.arena);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
