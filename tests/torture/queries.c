/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queries -- the SELECTs of a file as views, brought up to date after the file's own changes.
 *
 *     queries [--batches N] [--only NAME] [--show] FILE
 *
 * The file is SQL in sections, each behind a line of its own:
 *
 *     -- tables           tables and their first rows, once
 *     -- batch            the changes of a batch; ?1 in them is its number, 1 at first
 *     -- query NAME       one SELECT, maintained incrementally
 *     -- query NAME full  one SELECT, refreshed fully; then the file says what is so
 *     -- query NAME tied  SQLite leaves open which rows it gives: only the view's own comparison
 *     -- query NAME ordered  also the order of the rows is compared: no two are alike by ORDER BY
 *
 * After the first refresh and after each batch every view is compared, as a bag of rows, with its
 * SELECT run by SQLite alone. Prints a JSON line a query, with the obstacle of one refreshed fully,
 * and one of counts; ends with 1 at the first difference, and where a view is maintained otherwise
 * than its line says.
 *
 * Threads: one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compare.h"
#include "os/sim.h"
#include "view/explain.h"
#include "view/plan.h"

#define QUERIES_MAX 128
#define FILE_SIZE_MAX ((size_t)1 << 20)

struct query {
    char name[48];
    bool full;
    bool ordered;
    bool tied;
    struct dbk_view_definition definition;
    uint64_t incremental;
    uint64_t changes;
    uint64_t most; /* rows that it ever had */
    char reason[512];
};

struct run {
    const char *file;
    const char *only;
    bool show;
    char path[80];
    char text[FILE_SIZE_MAX];
    struct dbk_slice tables;
    struct dbk_slice batch;
    struct query queries[QUERIES_MAX];
    size_t query_count;
    struct dbk_store *store;
    struct dbk_os *os;
    struct dbk_connection *connection;
};

static void die(const struct run *run, const char *name, const char *what, const char *why)
{
    (void)fprintf(stderr, "%s: %s: %s: %s\n", run->file, name, what, why);
    exit(1);
}

static void add_query(struct run *run, char *line, struct dbk_slice sql)
{
    struct query *query = &run->queries[run->query_count];
    char word[12] = "";
    if (run->query_count == QUERIES_MAX || sscanf(line, "%40s %11s", query->name, word) < 1)
        die(run, line, "the file", "a query has no name, or there are too many");
    if (run->only != NULL && strcmp(run->only, query->name) != 0)
        return;
    query->full = strcmp(word, "full") == 0;
    query->tied = strcmp(word, "tied") == 0;
    query->ordered = strcmp(word, "ordered") == 0;
    query->definition = (struct dbk_view_definition){.name = query->name,
                                                     .file = run->file,
                                                     .database = "d",
                                                     .database_path = run->path,
                                                     .mode = DBK_VIEW_INCREMENTAL,
                                                     .sql = sql};
    run->query_count++;
}

/* A section's text goes from behind its line to the next one's. */
static void read_file(struct run *run)
{
    FILE *file = fopen(run->file, "r");
    size_t size = file == NULL ? 0 : fread(run->text, 1, sizeof(run->text) - 1, file);
    if (size == 0 || size == sizeof(run->text) - 1)
        die(run, "the file", "it cannot be read", "it is missing, empty, or of a megabyte");
    (void)fclose(file);
    char *at = run->text;
    while (at != NULL && *at != '\0') {
        char *end = strchr(at, '\n');
        char *next = end == NULL ? NULL : strstr(end, "\n-- ");
        while (next != NULL && strncmp(next, "\n-- query ", 10) != 0 &&
               strncmp(next, "\n-- batch\n", 10) != 0)
            next = strstr(next + 1, "\n-- ");
        if (end == NULL)
            break;
        *end = '\0';
        size_t left = next == NULL ? strlen(end + 1) : (size_t)(next - end - 1);
        struct dbk_slice sql = dbk_slice(end + 1, left);
        if (strcmp(at, "-- tables") == 0)
            run->tables = sql;
        else if (strcmp(at, "-- batch") == 0)
            run->batch = sql;
        else if (strncmp(at, "-- query ", 9) == 0)
            add_query(run, at + 9, sql);
        else
            die(run, at, "the file", "a section begins with -- tables, -- batch or -- query");
        at = next == NULL ? NULL : next + 1;
    }
}

/* Statement by statement, with a number for ?1. */
static void run_sql(struct run *run, const char *what, struct dbk_slice sql, int64_t number)
{
    struct dbk_error err = {0};
    const struct dbk_value value = {.kind = DBK_VALUE_INTEGER, .integer = number};
    size_t at = 0;
    if (dbk_connection_run(run->connection, "BEGIN", &err) < 0)
        die(run, what, "the transaction", err.message);
    while (at < sql.size) {
        struct dbk_slice one = dbk_sql_statement(sql, at, &at);
        struct dbk_statement *statement = NULL;
        if (one.size == 0)
            break;
        int rc = dbk_statement_open(run->connection, one, &statement, NULL, &err);
        if (rc == DBK_OK && memmem(one.data, one.size, "?1", 2) != NULL)
            dbk_statement_bind(statement, 1, &value);
        while (rc >= 0 && (rc = dbk_statement_step(statement, &err)) == 1)
            continue;
        dbk_statement_free(statement);
        if (rc < 0)
            die(run, what, one.data, err.message);
    }
    if (dbk_connection_run(run->connection, "COMMIT", &err) < 0)
        die(run, what, "the transaction", err.message);
}

/* The view's own comparison must hold, too. */
static void verify(struct run *run, const struct query *query)
{
    static const struct dbk_view_source none = {0};
    struct dbk_error err = {0};
    struct dbk_view_check check = {0};
    if (dbk_view_verify(&(struct dbk_view_refresh){.definition = &query->definition,
                                                   .source = &none,
                                                   .fingerprint = "f",
                                                   .store = run->store,
                                                   .os = run->os},
                        &check, &err) < 0)
        die(run, query->name, "verify", err.message);
}

static uint64_t rows_of(struct run *run, const struct query *query)
{
    struct dbk_error err = {0};
    char sql[96];
    int64_t count = 0;
    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", query->name);
    if (dbk_view_integer(run->connection, sql, NULL, &count, &err) < 0)
        die(run, query->name, "its rows", err.message);
    return (uint64_t)count;
}

static void refresh(struct run *run, struct query *query, bool first)
{
    static const struct dbk_view_source none = {0};
    struct dbk_error err = {0};
    char some[96];
    struct dbk_view_row row;
    int rc = dbk_view_refresh_run(&(struct dbk_view_refresh){.definition = &query->definition,
                                                             .source = &none,
                                                             .fingerprint = "f",
                                                             .store = run->store,
                                                             .os = run->os},
                                  &err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(run->connection, query->name, &row, &err);
    if (rc < 0)
        die(run, query->name, "the refresh", err.message);
    if (first && (row.layout == 0) != query->full)
        die(run, query->name, query->full ? "it is maintained incrementally" : "it is full",
            row.reason);
    if (first)
        (void)snprintf(query->reason, sizeof(query->reason), "%s", query->full ? row.reason : "");
    if (!first && !query->full && row.refreshed != DBK_VIEW_INCREMENTAL)
        die(run, query->name, "it was refreshed fully", row.reason);
    query->incremental += row.refreshed == DBK_VIEW_INCREMENTAL;
    query->changes += row.changes;
    uint64_t rows = rows_of(run, query);
    query->most = rows > query->most ? rows : query->most;
    if (query->tied) {
        verify(run, query);
        return;
    }
    int64_t count = compare_view(run->connection, query->name, dbk_view_select(&query->definition),
                                 false, &err);
    if (count != 0)
        die(run, query->name, "its rows differ from its SELECT's",
            count < 0 ? err.message : dbk_view_mode_text(row.refreshed));
    (void)snprintf(some, sizeof(some), "%s LIMIT 1000000", query->name);
    if (query->ordered && (compare_order(run->connection, query->name, &err) != 1 ||
                           compare_order(run->connection, some, &err) != 1))
        die(run, query->name, "its rows come in another order", err.message);
}

static void print(struct run *run, const struct query *query)
{
    (void)printf("{\"query\":\"%s\",\"incremental\":%s,\"rows\":%" PRIu64 ",\"refreshes\":%" PRIu64
                 ",\"changes\":%" PRIu64 ",\"obstacle\":\"%s\"}\n",
                 query->name, query->full ? "false" : "true", rows_of(run, query),
                 query->incremental, query->changes, query->reason);
}

int main(int argc, char **argv)
{
    static struct run run;
    unsigned batches = 12;
    struct dbk_error err = {0};
    char folder[] = "/tmp/daybook-queries-XXXXXX";
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--show") == 0)
            run.show = true;
        else if (strcmp(argv[i], "--batches") == 0 && i + 1 < argc)
            batches = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            run.only = argv[++i];
        else
            run.file = argv[i];
    }
    struct dbk_sim *sim = dbk_sim_create(1);
    if (run.file == NULL || sim == NULL || mkdtemp(folder) == NULL ||
        dbk_store_open(
            &(struct dbk_store_options){.os = dbk_sim_os(sim), .folder = "data", .writer = true},
            &run.store, &err) < 0)
        return fprintf(stderr, "queries FILE: %s\n", err.message), 1;
    run.os = dbk_sim_os(sim);
    (void)snprintf(run.path, sizeof(run.path), "%s/d.db", folder);
    read_file(&run);
    if (dbk_connection_open(run.path, 0, &run.connection, &err) < 0)
        die(&run, "the database", run.path, err.message);
    run_sql(&run, "the tables", run.tables, 0);
    for (unsigned batch = 0; batch <= batches; batch++) {
        if (batch > 0)
            run_sql(&run, "a batch", run.batch, batch);
        for (size_t i = 0; i < run.query_count; i++)
            refresh(&run, &run.queries[i], batch == 0);
    }
    size_t full = 0;
    for (size_t i = 0; i < run.query_count; i++) {
        full += run.queries[i].full;
        verify(&run, &run.queries[i]);
        if (run.queries[i].most == 0)
            die(&run, run.queries[i].name, "the file", "it never had a row: nothing is shown");
        print(&run, &run.queries[i]);
    }
    (void)printf("{\"queries\":%zu,\"incremental\":%zu,\"batches\":%u}\n", run.query_count,
                 run.query_count - full, batches);
    dbk_connection_free(run.connection);
    dbk_store_free(run.store);
    dbk_sim_free(sim);
    for (size_t i = 0; i < 3; i++) {
        char file[96];
        (void)snprintf(file, sizeof(file), "%s%s", run.path, ends[i]);
        (void)unlink(file);
    }
    (void)rmdir(folder);
    return 0;
}
