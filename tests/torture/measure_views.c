/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure_views -- what an incremental refresh of a join with GROUP BY costs, against a full one.
 *
 *     measure_views [--rows N]
 *
 * A table of N orders and one of customers, in a database on the disk of the folder TMPDIR (/tmp);
 * the view is their join, grouped by region. For 10, 1,000, … changed orders, a third each
 * inserted, updated and deleted: what the changes took, followed and not, what the incremental
 * refresh took in a session that a small one has warmed, as `serve` keeps one, and a full one of
 * the same view. A line of JSON each; the smallest of three runs.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/os.h"
#include "os/sim.h"
#include "view/plan.h"

#define RUNS 3

static const char view_text[] =
    "SELECT c.region, count(*) AS orders, sum(o.amount) AS total, avg(o.amount) AS mean "
    "FROM orders o JOIN customers c ON o.customer = c.id GROUP BY c.region";

struct measure {
    char path[128];
    struct dbk_connection *open; /* as a server keeps one, so that the last to close is not us */
    struct dbk_store *store;
    struct dbk_os *os;
    struct dbk_view_session *session; /* as a server keeps one of a continuous view */
    uint64_t rows;
    uint64_t next; /* the id of the next order */
};

static void die(const char *what, const struct dbk_error *err)
{
    (void)fprintf(stderr, "measure_views: %s: %s\n", what, err->message);
    exit(1);
}

static void run_sql(struct measure *measure, const char *sql)
{
    struct dbk_error err = {0};
    if (dbk_connection_run(measure->open, sql, &err) < 0)
        die("run", &err);
}

static int64_t refresh(struct measure *measure, const char *name, enum dbk_view_mode mode)
{
    static const struct dbk_view_source none = {0};
    struct dbk_error err = {0};
    const struct dbk_view_definition definition = {.name = name,
                                                   .file = "views/v.sql",
                                                   .database = "d",
                                                   .database_path = measure->path,
                                                   .mode = mode,
                                                   .sql = dbk_slice_of(view_text)};
    int64_t begun_us = measure->os->monotonic_us(measure->os);
    if (dbk_view_refresh_run(
            &(struct dbk_view_refresh){.definition = &definition,
                                       .source = &none,
                                       .fingerprint = "f",
                                       .store = measure->store,
                                       .os = measure->os,
                                       .session = name[0] == 'v' ? measure->session : NULL},
            &err) < 0)
        die("refresh", &err);
    return measure->os->monotonic_us(measure->os) - begun_us;
}

static void make_tables(struct measure *measure)
{
    char sql[1024];
    (void)snprintf(
        sql, sizeof(sql),
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, region TEXT); CREATE TABLE orders (id "
        "INTEGER PRIMARY KEY, customer INTEGER, amount INTEGER); CREATE INDEX orders_customer ON "
        "orders (customer); BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        "WHERE i < 10000) INSERT INTO customers SELECT i, 'region ' || (i %% 200) FROM n; WITH "
        "RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %" PRIu64
        ") INSERT INTO orders SELECT i, (i * 7919) %% 10000 + 1, i %% 1000 FROM n; COMMIT",
        measure->rows);
    run_sql(measure, sql);
    measure->next = measure->rows + 1;
}

static void step(struct dbk_statement *statement, uint64_t first, uint64_t second)
{
    struct dbk_error err = {0};
    const struct dbk_value values[] = {
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)first},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)second},
    };
    dbk_statement_bind(statement, 1, &values[0]);
    dbk_statement_bind(statement, 2, &values[1]);
    if (dbk_statement_step(statement, &err) < 0)
        die("change", &err);
    dbk_statement_reset(statement);
}

/* A third each is inserted, updated and deleted, row by row, in one transaction, as a model's
   handlers do. */
static int64_t change(struct measure *measure, uint64_t count)
{
    static const char *const texts[] = {"INSERT INTO orders VALUES (?1, ?2, 7)",
                                        "UPDATE orders SET amount = amount + ?2 % 5 WHERE id = ?1",
                                        "DELETE FROM orders WHERE id = ?1 AND ?2 > 0"};
    struct dbk_statement *statements[3] = {NULL};
    struct dbk_error err = {0};
    for (int i = 0; i < 3; i++) {
        if (dbk_statement_open(measure->open, dbk_slice_of(texts[i]), &statements[i], NULL, &err) <
            0)
            die("prepare", &err);
    }
    int64_t begun_us = measure->os->monotonic_us(measure->os);
    run_sql(measure, "BEGIN IMMEDIATE");
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = (measure->next * 48271 + i * 7919) % measure->rows + 1;
        step(statements[i % 3], i % 3 == 0 ? measure->next++ : id, id % 10000 + 1);
    }
    run_sql(measure, "COMMIT");
    int64_t us = measure->os->monotonic_us(measure->os) - begun_us;
    for (int i = 0; i < 3; i++)
        dbk_statement_free(statements[i]);
    return us;
}

static void measure_changes(struct measure *measure, uint64_t count)
{
    int64_t least[4] = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
    for (int run = 0; run < RUNS; run++) {
        int64_t us[4] = {0};
        /* The first is full, the second opens the session, the third prepares its statements. */
        (void)refresh(measure, "v", DBK_VIEW_INCREMENTAL);
        (void)refresh(measure, "v", DBK_VIEW_INCREMENTAL);
        (void)change(measure, 10);
        (void)refresh(measure, "v", DBK_VIEW_INCREMENTAL);
        us[0] = change(measure, count);
        us[1] = refresh(measure, "v", DBK_VIEW_INCREMENTAL);
        us[2] = refresh(measure, "f", DBK_VIEW_FULL);
        /* The same changes of a table that nobody follows. */
        (void)refresh(measure, "v", DBK_VIEW_FULL);
        us[3] = change(measure, count);
        for (int i = 0; i < 4; i++)
            least[i] = us[i] < least[i] ? us[i] : least[i];
    }
    (void)printf("{\"rows\":%" PRIu64 ",\"changes\":%" PRIu64 ",\"incremental_us\":%" PRId64
                 ",\"full_us\":%" PRId64 ",\"ratio\":%.1f,\"write_followed_us\":%" PRId64
                 ",\"write_bare_us\":%" PRId64 ",\"write_ratio\":%.2f}\n",
                 measure->rows, count, least[1], least[2], (double)least[2] / (double)least[1],
                 least[0], least[3], (double)least[0] / (double)least[3]);
}

int main(int argc, char **argv)
{
    struct measure measure = {.rows = 1000000};
    struct dbk_error err = {0};
    static const char *const ends[] = {"", "-wal", "-shm"};
    const char *folder = getenv("TMPDIR");
    struct dbk_sim *sim = dbk_sim_create(1);
    if (argc == 3 && strcmp(argv[1], "--rows") == 0)
        measure.rows = strtoull(argv[2], NULL, 10);
    (void)snprintf(measure.path, sizeof(measure.path), "%s/daybook-measure-%d.db",
                   folder == NULL ? "/tmp" : folder, (int)getpid());
    if (sim == NULL ||
        dbk_store_open(
            &(struct dbk_store_options){.os = dbk_sim_os(sim), .folder = "data", .writer = true},
            &measure.store, &err) < 0)
        die("the store", &err);
    measure.os = dbk_os_real();
    if (dbk_connection_open(measure.path, 0, &measure.open, &err) < 0)
        die("the database", &err);
    make_tables(&measure);
    if (dbk_view_session_open(&measure.session, &err) < 0)
        die("the session", &err);
    for (uint64_t count = 10; count <= measure.rows / 10; count *= 100)
        measure_changes(&measure, count);
    if (measure.rows >= 1000000)
        measure_changes(&measure, 100000);
    dbk_view_session_free(measure.session);
    dbk_connection_free(measure.open);
    dbk_store_free(measure.store);
    dbk_sim_free(sim);
    for (size_t i = 0; i < 3; i++) {
        char file[160];
        (void)snprintf(file, sizeof(file), "%s%s", measure.path, ends[i]);
        (void)unlink(file);
    }
    return 0;
}
