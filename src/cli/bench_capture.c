/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capture: how soon a commit in a service's database is in the book, and how many rows a second get
 * there; and on into a read model.
 */
#include "cli/bench_place.h"
#include "cli/bench_watch.h"
#include "cli/commands.h"
#include "cli/fail.h"

static const struct way {
    struct dbk_bench_route route;
    bool book; /* it ends there */
} ways[] = {
    {{"sqlite_to_book", DBK_SYNC_CDC, DBK_BENCH_SQLITE, DBK_BENCH_SQLITE}, true},
    {{"sqlite_to_sqlite", DBK_SYNC_CDC, DBK_BENCH_SQLITE, DBK_BENCH_SQLITE}, false},
    {{"postgres_to_book", DBK_SYNC_CDC, DBK_BENCH_POSTGRES, DBK_BENCH_SQLITE}, true},
    {{"postgres_to_sqlite", DBK_SYNC_CDC, DBK_BENCH_POSTGRES, DBK_BENCH_SQLITE}, false},
    {{"postgres_to_postgres", DBK_SYNC_CDC, DBK_BENCH_POSTGRES, DBK_BENCH_POSTGRES}, false},
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

struct plan {
    uint64_t rate;
    uint64_t seconds;
    uint64_t rows;
    uint64_t batch;
    uint64_t size;
    struct dbk_bench_servers servers;
};

struct figures {
    bool measured;
    struct dbk_histogram late_ns;
    double rows_seconds;
};

static int run_way(struct dbk_bench *bench, const struct way *way, struct plan *plan,
                   struct figures *figures, struct dbk_error *err)
{
    struct dbk_bench_place place = {.bench = bench,
                                    .route = &way->route,
                                    .servers = &plan->servers,
                                    .size = (size_t)plan->size,
                                    .book = way->book};
    int rc = dbk_bench_place_open(&place, way->route.name, err);
    if (rc == DBK_OK)
        rc =
            dbk_bench_watch(&place, plan->rate, plan->rate * plan->seconds, &figures->late_ns, err);
    if (rc == DBK_OK)
        rc = dbk_bench_write_many(&place, plan->rows, plan->batch, &figures->rows_seconds, err);
    dbk_bench_place_close(&place);
    figures->measured = rc == DBK_OK;
    return rc;
}

static void report_capture(struct dbk_buf *report, const struct plan *plan,
                           const struct figures *figures)
{
    dbk_bench_open_part(report, "settings");
    dbk_bench_number(report, "rate", (double)plan->rate, 0);
    dbk_bench_number(report, "seconds", (double)plan->seconds, 0);
    dbk_bench_number(report, "rows", (double)plan->rows, 0);
    dbk_bench_number(report, "batch", (double)plan->batch, 0);
    dbk_bench_number(report, "size", (double)plan->size, 0);
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "late_us");
    for (size_t i = 0; i < WAYS; i++)
        if (figures[i].measured)
            dbk_bench_latency(report, ways[i].route.name, &figures[i].late_ns);
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "rate");
    for (size_t i = 0; i < WAYS; i++)
        if (figures[i].measured)
            dbk_bench_number(report, ways[i].route.name,
                             (double)plan->rows / figures[i].rows_seconds, 0);
    dbk_bench_close_part(report);
}

static int measure(struct dbk_bench *bench, void *context, struct dbk_buf *report,
                   struct dbk_error *err)
{
    static struct figures figures[WAYS];
    struct plan *plan = context;
    bool served = plan->servers.where[DBK_BENCH_POSTGRES] != NULL;
    plan->servers.bench = bench;
    int rc = dbk_bench_servers_check(&plan->servers, err);
    dbk_bench_begin_part(bench, "capture", "ways");
    for (size_t i = 0; rc == DBK_OK && i < WAYS; i++) {
        if (ways[i].route.source == DBK_BENCH_SQLITE || served)
            rc = run_way(bench, &ways[i], plan, &figures[i], err);
        if (rc == DBK_OK)
            rc = dbk_bench_step(bench, i + 1, served ? WAYS : 2, err);
    }
    if (rc == DBK_OK)
        report_capture(report, plan, figures);
    return rc;
}

int dbk_run_bench_capture(const struct dbk_arguments *arguments)
{
    struct plan plan = {0};
    const struct {
        struct dbk_bench_bounds bounds;
        uint64_t *value;
    } options[] = {{{"rate", 200, 1, 100000}, &plan.rate},
                   {{"seconds", 10, 1, 3600}, &plan.seconds},
                   {{"rows", 300000, 1, 1000000000}, &plan.rows},
                   {{"batch", 1000, 1, 10000}, &plan.batch},
                   {{"size", 100, 1, 100000}, &plan.size}};
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (!dbk_bench_take(arguments, &options[i].bounds, options[i].value))
            return DBK_EXIT_USAGE;
    dbk_bench_servers_take(&plan.servers, DBK_BENCH_POSTGRES, arguments);
    return dbk_bench_run(arguments, &(struct dbk_bench_work){
                                        .name = "capture", .measure = measure, .context = &plan});
}
