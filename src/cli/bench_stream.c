/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/fail.h"

#define READS 20000

struct plan {
    struct dbk_bench_fill fill;
    uint64_t reads;
};

struct figures {
    struct dbk_histogram read_ns; /* of all events of a stream */
    struct dbk_histogram head_ns; /* of a stream's version */
    uint64_t events;
    double read_seconds;
    double head_seconds;
};

static int read_stream(struct dbk_store *store, struct dbk_slice stream, struct figures *figures,
                       struct dbk_error *err)
{
    uint64_t count = 0;
    int64_t started = dbk_bench_now_ns();
    int rc = dbk_bench_count(store, &(struct dbk_filter){.stream = stream}, &count, err);
    uint64_t took = (uint64_t)(dbk_bench_now_ns() - started);
    dbk_histogram_add(&figures->read_ns, took);
    figures->read_seconds += (double)took / 1e9;
    figures->events += count;
    return rc;
}

static int read_head(struct dbk_store *store, struct dbk_slice stream, struct figures *figures,
                     struct dbk_error *err)
{
    uint64_t version = 0;
    int64_t started = dbk_bench_now_ns();
    int rc = dbk_store_stream_version(store, stream, &version, err);
    uint64_t took = (uint64_t)(dbk_bench_now_ns() - started);
    dbk_histogram_add(&figures->head_ns, took);
    figures->head_seconds += (double)took / 1e9;
    return rc;
}

typedef int (*each_fn)(struct dbk_store *store, struct dbk_slice stream, struct figures *figures,
                       struct dbk_error *err);

/* Calls each for streams drawn at random, from a seed. */
static int draw(struct dbk_bench *bench, struct dbk_store *store, const struct plan *plan,
                each_fn each, struct figures *figures, struct dbk_error *err)
{
    uint64_t seed = UINT64_C(88172645463325252);
    int rc = DBK_OK;
    dbk_bench_begin_part(bench, "read", "streams");
    for (uint64_t i = 0; rc == DBK_OK && i < plan->reads; i++) {
        char name[32];
        uint64_t number = dbk_bench_random(&seed) % plan->fill.streams;
        size_t size = dbk_bench_stream_name(number, plan->fill.streams, name);
        rc = each(store, dbk_slice(name, size), figures, err);
        if (rc == DBK_OK && i % 1000 == 0)
            rc = dbk_bench_step(bench, i, plan->reads, err);
    }
    dbk_progress_clear(&bench->progress);
    return rc;
}

static int read_streams(struct dbk_bench *bench, const struct plan *plan, struct figures *figures,
                        struct dbk_error *err)
{
    struct dbk_store *store = NULL;
    uint64_t events = 0;
    int rc = dbk_bench_open_filled(bench, &plan->fill, &store, err);
    /* Brings the files into memory; and heads are looked up before reads know the streams. */
    if (rc == DBK_OK)
        rc = dbk_bench_read_all(bench, store, &events, err);
    if (rc == DBK_OK)
        rc = draw(bench, store, plan, read_head, figures, err);
    if (rc == DBK_OK)
        rc = draw(bench, store, plan, read_stream, figures, err);
    dbk_store_free(store);
    return rc;
}

static int measure(struct dbk_bench *bench, void *context, struct dbk_buf *report,
                   struct dbk_error *err)
{
    static struct figures figures;
    const struct plan *plan = context;
    double reads = (double)plan->reads;
    int rc = read_streams(bench, plan, &figures, err);
    if (rc < 0)
        return rc;
    dbk_bench_settings(report, &plan->fill);
    dbk_bench_number(report, "reads", reads, 0);
    dbk_bench_number(report, "events_a_read", (double)figures.events / reads, 1);
    dbk_bench_latency(report, "latency_us", &figures.read_ns);
    dbk_bench_latency(report, "head_latency_us", &figures.head_ns);
    dbk_bench_open_part(report, "rate");
    dbk_bench_number(report, "reads_per_second", reads / figures.read_seconds, 0);
    dbk_bench_number(report, "heads_per_second", reads / figures.head_seconds, 0);
    dbk_bench_close_part(report);
    return DBK_OK;
}

int dbk_run_bench_stream(const struct dbk_arguments *arguments)
{
    struct plan plan = {.fill = {.events = 500000, .streams = 50000, .size = 200}};
    if (!dbk_bench_take_fill(arguments, &plan.fill) ||
        !dbk_bench_take(arguments, &(struct dbk_bench_bounds){"reads", READS, 1, 100000000},
                        &plan.reads))
        return DBK_EXIT_USAGE;
    return dbk_bench_run(
        arguments, &(struct dbk_bench_work){
                       .name = "stream", .measure = measure, .context = &plan, .store = true});
}
