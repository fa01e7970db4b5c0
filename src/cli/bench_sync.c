/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four syncs on the same work, beside each other. Each in turn:
 *
 *     alone      one order a commit, as fast as one writer goes, with nothing that follows; in
 *     followed   turns with the same while the read model follows
 *     paced      one order a commit at a rate that leaves everybody idle: how late a reader is
 *     many       orders in large commits, until a reader finds the last: rows a second all the way
 */
#include <stdio.h>

#include "cli/bench_place.h"
#include "cli/bench_watch.h"
#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

#define PARTS 10

static const struct dbk_bench_route routes[] = {
    {"transaction", DBK_SYNC_TRANSACTION, DBK_BENCH_SQLITE, DBK_BENCH_SQLITE},
    {"events", DBK_SYNC_EVENTS, DBK_BENCH_SQLITE, DBK_BENCH_SQLITE},
    {"cdc", DBK_SYNC_CDC, DBK_BENCH_SQLITE, DBK_BENCH_SQLITE},
    {"polling", DBK_SYNC_POLLING, DBK_BENCH_SQLITE, DBK_BENCH_SQLITE},
    {"events_to_server", DBK_SYNC_EVENTS, DBK_BENCH_SQLITE, DBK_BENCH_POSTGRES},
    {"cdc_from_server", DBK_SYNC_CDC, DBK_BENCH_POSTGRES, DBK_BENCH_SQLITE},
    {"cdc_of_servers", DBK_SYNC_CDC, DBK_BENCH_POSTGRES, DBK_BENCH_POSTGRES},
    {"polling_of_servers", DBK_SYNC_POLLING, DBK_BENCH_POSTGRES, DBK_BENCH_POSTGRES},
    {"events_to_mongodb", DBK_SYNC_EVENTS, DBK_BENCH_SQLITE, DBK_BENCH_MONGODB},
    {"cdc_to_mongodb", DBK_SYNC_CDC, DBK_BENCH_SQLITE, DBK_BENCH_MONGODB},
    {"polling_to_mongodb", DBK_SYNC_POLLING, DBK_BENCH_SQLITE, DBK_BENCH_MONGODB},
    {"events_to_neo4j", DBK_SYNC_EVENTS, DBK_BENCH_SQLITE, DBK_BENCH_NEO4J},
    {"cdc_to_neo4j", DBK_SYNC_CDC, DBK_BENCH_SQLITE, DBK_BENCH_NEO4J},
    {"polling_to_neo4j", DBK_SYNC_POLLING, DBK_BENCH_SQLITE, DBK_BENCH_NEO4J},
};
#define ROUTES (sizeof(routes) / sizeof(routes[0]))

struct plan {
    uint64_t commits;
    uint64_t rate;
    uint64_t seconds;
    uint64_t rows;
    uint64_t batch;
    uint64_t size;
    int64_t every_us;
    struct dbk_bench_servers servers;
};

/* Commits as fast as they go. */
struct pace {
    struct dbk_histogram latency_ns;
    double seconds;
    uint64_t commits;
};

struct figures {
    bool measured;
    struct pace alone;
    struct pace followed;
    struct dbk_histogram stale_ns; /* from a commit's return until a reader finds its order */
    double rows_seconds;
};

/* ---- One writer, as fast as it goes ---- */

static int write_commits(struct dbk_bench_place *place, uint64_t count, struct pace *pace,
                         struct dbk_error *err)
{
    int64_t begun_ns = dbk_bench_now_ns();
    int64_t before_ns = begun_ns;
    int rc = DBK_OK;
    for (uint64_t i = 0; rc == DBK_OK && i < count; i++) {
        rc = dbk_bench_commit(place, 1, err);
        int64_t now_ns = dbk_bench_now_ns();
        dbk_histogram_add(&pace->latency_ns, (uint64_t)(now_ns - before_ns));
        before_ns = now_ns;
        if (rc == DBK_OK)
            rc = dbk_bench_stopped(err);
    }
    pace->seconds += (double)(dbk_bench_now_ns() - begun_ns) / 1e9;
    pace->commits += count;
    return rc;
}

/* ---- One route ---- */

/* Somebody who writes alone, and somebody who is followed, in places of their own. */
struct pair {
    struct dbk_bench_place places[2];
};
enum { ALONE, FOLLOWED };

static int open_pair(struct pair *pair, struct dbk_bench *bench,
                     const struct dbk_bench_route *route, struct plan *plan, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (int i = ALONE; i <= FOLLOWED; i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "%s-%s", route->name, i == ALONE ? "alone" : "followed");
        pair->places[i] = (struct dbk_bench_place){.bench = bench,
                                                   .route = route,
                                                   .servers = &plan->servers,
                                                   .size = (size_t)plan->size,
                                                   .every_us = plan->every_us,
                                                   .alone = i == ALONE};
        if (rc == DBK_OK)
            rc = dbk_bench_place_open(&pair->places[i], name, err);
    }
    return rc;
}

static void close_pair(struct pair *pair)
{
    for (int i = ALONE; i <= FOLLOWED; i++)
        dbk_bench_place_close(&pair->places[i]);
}

/* They take turns, so that both meet the same machine; who follows has ended before the other
   begins. */
static int take_turns(struct pair *pair, const struct plan *plan, struct figures *figures,
                      struct dbk_error *err)
{
    struct dbk_bench_place *followed = &pair->places[FOLLOWED];
    int rc = DBK_OK;
    for (uint64_t part = 0; rc == DBK_OK && part < PARTS; part++) {
        uint64_t count = plan->commits * (part + 1) / PARTS - plan->commits * part / PARTS;
        rc = write_commits(&pair->places[ALONE], count, &figures->alone, err);
        if (rc == DBK_OK)
            rc = write_commits(followed, count, &figures->followed, err);
        if (rc == DBK_OK)
            rc = dbk_bench_await(followed, followed->last, err);
    }
    return rc;
}

static int run_route(struct dbk_bench *bench, size_t index, struct plan *plan,
                     struct figures *figures, struct dbk_error *err)
{
    static struct pair pair;
    struct dbk_bench_place *followed = &pair.places[FOLLOWED];
    int rc = open_pair(&pair, bench, &routes[index], plan, err);
    if (rc == DBK_OK)
        rc = take_turns(&pair, plan, figures, err);
    if (rc == DBK_OK)
        rc = dbk_bench_watch(followed, plan->rate, plan->rate * plan->seconds, &figures->stale_ns,
                             err);
    if (rc == DBK_OK)
        rc = dbk_bench_write_many(followed, plan->rows, plan->batch, &figures->rows_seconds, err);
    close_pair(&pair);
    figures->measured = rc == DBK_OK;
    return rc;
}

/* ---- The report ---- */

static double rate_of(const struct pace *pace)
{
    return pace->seconds > 0 ? (double)pace->commits / pace->seconds : 0;
}

static void report_pace(struct dbk_buf *report, const char *name, const struct pace *pace)
{
    dbk_bench_open_part(report, name);
    dbk_bench_number(report, "commits_per_second", rate_of(pace), 0);
    dbk_bench_latency(report, "latency_us", &pace->latency_ns);
    dbk_bench_close_part(report);
}

static const char *source_of(const struct dbk_bench_route *route)
{
    return dbk_bench_is_table(route) ? dbk_bench_kind_text(route->source) : "book";
}

static void report_route(struct dbk_buf *report, const struct dbk_bench_route *route,
                         const struct figures *figures)
{
    dbk_bench_open_part(report, route->name);
    dbk_bench_text(report, "sync", dbk_model_sync_text(route->sync));
    dbk_bench_text(report, "source", source_of(route));
    dbk_bench_text(report, "target", dbk_bench_kind_text(route->target));
    dbk_bench_latency(report, "stale_us", &figures->stale_ns);
    report_pace(report, "alone", &figures->alone);
    report_pace(report, "followed", &figures->followed);
    dbk_bench_close_part(report);
}

static void report_sync(struct dbk_buf *report, const struct plan *plan,
                        const struct figures *figures, const struct dbk_bench_raw *raw)
{
    dbk_bench_open_part(report, "settings");
    dbk_bench_number(report, "commits", (double)plan->commits, 0);
    dbk_bench_number(report, "rate", (double)plan->rate, 0);
    dbk_bench_number(report, "seconds", (double)plan->seconds, 0);
    dbk_bench_number(report, "rows", (double)plan->rows, 0);
    dbk_bench_number(report, "batch", (double)plan->batch, 0);
    dbk_bench_number(report, "size", (double)plan->size, 0);
    dbk_bench_number(report, "every_ms", (double)plan->every_us / 1e3, 0);
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "syncs");
    for (size_t i = 0; i < ROUTES; i++)
        if (figures[i].measured)
            report_route(report, &routes[i], &figures[i]);
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "raw");
    dbk_bench_number(report, "syncs_per_second", dbk_bench_raw_syncs(raw), 0);
    dbk_bench_latency(report, "sync_us", &raw->sync_ns);
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "ratio");
    for (size_t i = 0; i < ROUTES; i++)
        if (figures[i].measured)
            dbk_bench_number(report, routes[i].name,
                             rate_of(&figures[i].followed) / rate_of(&figures[i].alone), 3);
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "rate");
    for (size_t i = 0; i < ROUTES; i++)
        if (figures[i].measured)
            dbk_bench_number(report, routes[i].name, (double)plan->rows / figures[i].rows_seconds,
                             0);
    dbk_bench_close_part(report);
}

static bool is_served(const struct dbk_bench_servers *servers, enum dbk_bench_kind kind)
{
    return kind == DBK_BENCH_SQLITE || servers->where[kind] != NULL;
}

static bool is_wanted(const struct plan *plan, size_t index)
{
    return is_served(&plan->servers, routes[index].source) &&
           is_served(&plan->servers, routes[index].target);
}

static int measure(struct dbk_bench *bench, void *context, struct dbk_buf *report,
                   struct dbk_error *err)
{
    static struct figures figures[ROUTES];
    static struct dbk_bench_raw raw;
    struct plan *plan = context;
    size_t wanted = 0;
    size_t done = 0;
    plan->servers.bench = bench;
    for (size_t i = 0; i < ROUTES; i++)
        wanted += is_wanted(plan, i);
    int rc = dbk_bench_servers_check(&plan->servers, err);
    if (rc == DBK_OK)
        rc = dbk_bench_measure_raw(bench, (size_t)plan->size, &raw, err);
    dbk_bench_begin_part(bench, "sync", "syncs");
    for (size_t i = 0; rc == DBK_OK && i < ROUTES; i++) {
        if (!is_wanted(plan, i))
            continue;
        rc = run_route(bench, i, plan, &figures[i], err);
        if (rc == DBK_OK)
            rc = dbk_bench_step(bench, ++done, wanted, err);
    }
    if (rc == DBK_OK)
        rc = dbk_bench_measure_raw(bench, (size_t)plan->size, &raw, err);
    if (rc == DBK_OK)
        report_sync(report, plan, figures, &raw);
    return rc;
}

int dbk_run_bench_sync(const struct dbk_arguments *arguments)
{
    struct plan plan = {.every_us = dbk_arguments_duration_us(arguments, "every", 1000000)};
    const struct {
        struct dbk_bench_bounds bounds;
        uint64_t *value;
    } options[] = {{{"commits", 4000, PARTS, 100000000}, &plan.commits},
                   {{"rate", 200, 1, 100000}, &plan.rate},
                   {{"seconds", 10, 1, 3600}, &plan.seconds},
                   {{"rows", 200000, 1, 1000000000}, &plan.rows},
                   {{"batch", 1000, 1, 10000}, &plan.batch},
                   {{"size", 100, 1, 100000}, &plan.size}};
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (!dbk_bench_take(arguments, &options[i].bounds, options[i].value))
            return DBK_EXIT_USAGE;
    dbk_bench_servers_take(&plan.servers, DBK_BENCH_NEO4J, arguments);
    if (plan.every_us < 1000 || plan.every_us > 60000000)
        return dbk_fail_usage(arguments, "--every is from 1 ms to 1 minute");
    return dbk_bench_run(arguments, &(struct dbk_bench_work){.name = "sync",
                                                             .measure = measure,
                                                             .show = dbk_bench_show_syncs,
                                                             .context = &plan});
}
