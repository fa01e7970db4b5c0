/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/fail.h"

#define WRITERS_MAX 1024
/* A group's frame in the log, about. */
#define GROUP_HEAD_SIZE 64

struct plan {
    struct dbk_store *store;
    uint64_t writers;
    size_t batch;
    size_t size;
    uint64_t streams;
    int64_t end_ns;
    atomic_bool stop;
};

struct writer {
    struct plan *plan;
    uint64_t number;
    pthread_t thread;
    bool running;
    struct dbk_histogram latency_ns;
    uint64_t appends;
    struct dbk_error error;
};

/* One writer's batch: data is made once, streams change with each append. */
struct load {
    struct dbk_new_event *events;
    char (*streams)[32];
    struct dbk_buf data;
};

static void release_load(struct load *load)
{
    dbk_free(load->events);
    dbk_free(load->streams);
    dbk_buf_release(&load->data);
}

static int make_load(const struct plan *plan, struct load *load, struct dbk_error *err)
{
    *load = (struct load){.events = dbk_alloc_zero(plan->batch, sizeof(*load->events)),
                          .streams = dbk_alloc_zero(plan->batch, sizeof(*load->streams))};
    dbk_buf_init(&load->data, (size_t)1 << 30);
    dbk_bench_event(&load->data, 1, 2, plan->size);
    if (load->events == NULL || load->streams == NULL || load->data.rc < 0)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    for (size_t i = 0; i < plan->batch; i++)
        load->events[i] = (struct dbk_new_event){.type = DBK_SLICE_LITERAL("Measured"),
                                                 .data = dbk_buf_slice(&load->data),
                                                 .occurred_us = DBK_TIME_NONE,
                                                 .flags = DBK_RECORD_JSON};
    return DBK_OK;
}

static void name_streams(const struct plan *plan, struct load *load, uint64_t seed)
{
    for (size_t i = 0; i < plan->batch; i++) {
        uint64_t stream = (seed * plan->batch + i) * UINT64_C(2654435761) % plan->streams;
        int size =
            snprintf(load->streams[i], sizeof(load->streams[i]), "bench-%ju", (uintmax_t)stream);
        load->events[i].stream = dbk_slice(load->streams[i], (size_t)size);
    }
}

static void *run(void *context)
{
    struct writer *writer = context;
    struct plan *plan = writer->plan;
    struct load load;
    int rc = make_load(plan, &load, &writer->error);
    while (rc == DBK_OK && !atomic_load_explicit(&plan->stop, memory_order_relaxed)) {
        struct dbk_append_result result = {0};
        struct dbk_batch batch = {.events = load.events, .count = plan->batch};
        name_streams(plan, &load, writer->number + writer->appends * plan->writers);
        int64_t started = dbk_bench_now_ns();
        rc = dbk_store_append(plan->store, &batch, &result, &writer->error);
        int64_t now = dbk_bench_now_ns();
        if (rc < 0)
            break;
        dbk_histogram_add(&writer->latency_ns, (uint64_t)(now - started));
        writer->appends++;
        if (now >= plan->end_ns)
            break;
    }
    if (rc < 0)
        atomic_store(&plan->stop, true);
    release_load(&load);
    return NULL;
}

static int run_writers(struct plan *plan, struct writer *writers, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (uint64_t i = 0; rc == DBK_OK && i < plan->writers; i++) {
        writers[i].plan = plan;
        writers[i].number = i;
        int failed = pthread_create(&writers[i].thread, NULL, run, &writers[i]);
        writers[i].running = failed == 0;
        if (failed != 0) {
            atomic_store(&plan->stop, true);
            rc = dbk_error_set_errno(err, failed, "writer %ju", (uintmax_t)i + 1);
        }
    }
    for (uint64_t i = 0; i < plan->writers; i++) {
        if (!writers[i].running)
            continue;
        (void)pthread_join(writers[i].thread, NULL);
        if (rc == DBK_OK && writers[i].error.code != DBK_OK) {
            *err = writers[i].error;
            rc = err->code;
        }
    }
    return rc;
}

static void report_append(struct dbk_buf *report, const struct plan *plan,
                          const struct writer *total, double seconds,
                          const struct dbk_bench_raw *raw)
{
    double appends = (double)total->appends / seconds;
    double bytes = appends * (double)raw->size;
    dbk_bench_number(report, "writers", (double)plan->writers, 0);
    dbk_bench_number(report, "batch", (double)plan->batch, 0);
    dbk_bench_number(report, "size", (double)plan->size, 0);
    dbk_bench_number(report, "streams", (double)plan->streams, 0);
    dbk_bench_number(report, "seconds", seconds, 3);
    dbk_bench_number(report, "events", (double)total->appends * (double)plan->batch, 0);
    dbk_bench_number(report, "events_per_second", appends * (double)plan->batch, 0);
    dbk_bench_number(report, "appends_per_second", appends, 0);
    dbk_bench_number(report, "log_bytes_per_second", bytes, 0);
    dbk_bench_latency(report, "latency_us", &total->latency_ns);
    dbk_bench_open_part(report, "raw");
    dbk_bench_number(report, "sync_bytes", (double)raw->size, 0);
    dbk_bench_number(report, "syncs_per_second", raw->syncs_per_second, 0);
    dbk_bench_latency(report, "sync_us", &raw->sync_ns);
    dbk_bench_number(report, "sequential_bytes_per_second", raw->bytes_per_second, 0);
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "ratio");
    dbk_bench_number(report, "sync", appends / raw->syncs_per_second, 3);
    dbk_bench_number(report, "sequential", bytes / raw->bytes_per_second, 3);
    dbk_bench_close_part(report);
}

static int measure(struct dbk_bench *bench, struct plan *plan, struct writer *writers,
                   struct dbk_error *err)
{
    static struct dbk_bench_raw raw;
    struct dbk_buf report;
    char folder[DBK_BENCH_PATH_SIZE];
    uint64_t seconds = dbk_arguments_number(bench->arguments, "seconds", 3);
    /* What one append writes: a record has a head of 80 bytes, stream and type. */
    size_t append_size = GROUP_HEAD_SIZE + plan->batch * (DBK_RECORD_HEADER_SIZE + 20 + plan->size);
    int rc = dbk_bench_measure_raw(bench, append_size, &raw, err);
    if (rc < 0)
        return rc;
    dbk_bench_path(bench, "data", folder);
    rc = dbk_store_open(
        &(struct dbk_store_options){
            .os = bench->os, .folder = folder, .writer = true, .holder = "daybook bench"},
        &plan->store, err);
    if (rc < 0)
        return rc;
    int64_t started = dbk_bench_now_ns();
    plan->end_ns = started + (int64_t)seconds * 1000000000;
    rc = run_writers(plan, writers, err);
    double elapsed = (double)(dbk_bench_now_ns() - started) / 1e9;
    dbk_store_free(plan->store);
    if (rc == DBK_OK)
        rc = dbk_bench_measure_raw(bench, append_size, &raw, err);
    if (rc < 0)
        return rc;
    for (uint64_t i = 1; i < plan->writers; i++) {
        dbk_histogram_merge(&writers[0].latency_ns, &writers[i].latency_ns);
        writers[0].appends += writers[i].appends;
    }
    dbk_bench_open(&report, "append");
    report_append(&report, plan, &writers[0], elapsed, &raw);
    rc = dbk_bench_show(bench, &report, err);
    dbk_buf_release(&report);
    return rc;
}

int dbk_run_bench_append(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_bench bench = {0};
    struct plan plan = {.writers = dbk_arguments_number(arguments, "writers", 1),
                        .batch = (size_t)dbk_arguments_number(arguments, "batch", 1),
                        .size = (size_t)dbk_arguments_number(arguments, "size", 200),
                        .streams = dbk_arguments_number(arguments, "streams", 1000)};
    if (plan.writers == 0 || plan.writers > WRITERS_MAX)
        return dbk_fail_usage(arguments, "--writers is from 1 to %d", WRITERS_MAX);
    if (plan.batch == 0 || plan.batch > 10000)
        return dbk_fail_usage(arguments, "--batch is from 1 to 10000");
    if (plan.size < 50 || plan.size > 1000000)
        return dbk_fail_usage(arguments, "--size is from 50 to 1000000 bytes");
    if (plan.streams == 0)
        return dbk_fail_usage(arguments, "--streams is at least 1");
    struct writer *writers = dbk_alloc_zero((size_t)plan.writers, sizeof(*writers));
    int rc = writers == NULL ? dbk_error_set(&err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                             : dbk_bench_begin(&bench, arguments, &err);
    if (rc == DBK_OK)
        rc = measure(&bench, &plan, writers, &err);
    dbk_bench_end(&bench);
    dbk_free(writers);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
