/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of subjects: making them, forgetting some, new epochs, and opening them. A rotation counts
 * in seconds a million keys.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "vault/keys.h"

#define FORGOTTEN 100
#define ROTATIONS 3
/* What a rotation may take, for a million keys. */
#define ROTATION_MAX_S 2.0

struct plan {
    uint64_t subjects;
};

struct figures {
    double make_s;
    double open_s;
    struct dbk_histogram forget_ns;
    struct dbk_histogram rotate_ns;
    uint64_t epoch;
};

static double since(int64_t started_ns)
{
    return (double)(dbk_bench_now_ns() - started_ns) / 1e9;
}

static int open_keys(struct dbk_bench *bench, const struct figures *figures, struct dbk_keys **keys,
                     struct dbk_error *err)
{
    char path[DBK_BENCH_PATH_SIZE];
    dbk_bench_path(bench, "keys", path);
    return dbk_keys_open(&(struct dbk_keys_options){.os = bench->os,
                                                    .folder = path,
                                                    .book_id = {{1}},
                                                    .writer = true,
                                                    .create = true,
                                                    .log_epoch = figures->epoch},
                         keys, err);
}

static int make_keys(struct dbk_bench *bench, struct dbk_keys *keys, uint64_t count,
                     struct figures *figures, struct dbk_uuid forgotten[FORGOTTEN],
                     struct dbk_error *err)
{
    int rc = DBK_OK;
    int64_t started = dbk_bench_now_ns();
    dbk_bench_begin_part(bench, "make", "keys");
    for (uint64_t i = 0; rc == DBK_OK && i < count; i++) {
        char subject[32];
        struct dbk_key key;
        int size = snprintf(subject, sizeof(subject), "subject-%" PRIu64, i);
        rc = dbk_keys_make(keys, dbk_slice(subject, (size_t)size), &key, err);
        if (rc == DBK_OK && i < FORGOTTEN)
            forgotten[i] = key.id;
        if (rc == DBK_OK && i % 4096 == 0)
            rc = dbk_bench_step(bench, i, count, err);
    }
    if (rc == DBK_OK)
        rc = dbk_keys_sync(keys, err);
    figures->make_s = since(started);
    return rc;
}

static int measure_open(struct dbk_bench *bench, struct figures *figures, struct dbk_error *err)
{
    struct dbk_keys *keys = NULL;
    int64_t started = dbk_bench_now_ns();
    int rc = open_keys(bench, figures, &keys, err);
    figures->open_s = since(started);
    dbk_keys_free(keys);
    return rc;
}

static void report_keys(const struct plan *plan, const struct figures *figures,
                        struct dbk_buf *report)
{
    double subjects = (double)plan->subjects;
    double slowest_s = (double)dbk_histogram_percentile(&figures->rotate_ns, 1) / 1e9;
    double per_million_s = slowest_s * 1e6 / subjects;
    dbk_bench_open_part(report, "settings");
    dbk_bench_number(report, "subjects", subjects, 0);
    dbk_bench_close_part(report);
    dbk_bench_number(report, "make_us", figures->make_s * 1e6 / subjects, 2);
    dbk_bench_number(report, "open_s", figures->open_s, 3);
    dbk_bench_latency(report, "forget_us", &figures->forget_ns);
    dbk_bench_latency(report, "rotate_us", &figures->rotate_ns);
    dbk_bench_number(report, "rotate_s_per_million", per_million_s, 3);
    dbk_bench_open_part(report, "rate");
    dbk_bench_number(report, "keys_rotated_per_second", subjects / slowest_s, 0);
    dbk_bench_number(report, "rotation_budget", ROTATION_MAX_S / per_million_s, 2);
    dbk_bench_close_part(report);
}

static int measure(struct dbk_bench *bench, void *context, struct dbk_buf *report,
                   struct dbk_error *err)
{
    static struct figures figures;
    static struct dbk_uuid forgotten[FORGOTTEN];
    const struct plan *plan = context;
    struct dbk_keys *keys = NULL;
    int rc = open_keys(bench, &figures, &keys, err);
    if (rc == DBK_OK)
        rc = make_keys(bench, keys, plan->subjects, &figures, forgotten, err);
    for (size_t i = 0; rc == DBK_OK && i < FORGOTTEN && i < plan->subjects; i++) {
        int64_t started = dbk_bench_now_ns();
        rc = dbk_keys_forget(keys, &forgotten[i], 1, err);
        dbk_histogram_add(&figures.forget_ns, (uint64_t)(dbk_bench_now_ns() - started));
    }
    dbk_bench_begin_part(bench, "rotate", "epochs");
    for (uint64_t i = 0; rc == DBK_OK && i < ROTATIONS; i++) {
        int64_t started = dbk_bench_now_ns();
        rc = dbk_keys_rotate(keys, &figures.epoch, err);
        dbk_histogram_add(&figures.rotate_ns, (uint64_t)(dbk_bench_now_ns() - started));
        if (rc == DBK_OK)
            rc = dbk_bench_step(bench, i + 1, ROTATIONS, err);
    }
    dbk_keys_free(keys);
    if (rc == DBK_OK)
        rc = measure_open(bench, &figures, err);
    if (rc == DBK_OK)
        report_keys(plan, &figures, report);
    return rc;
}

int dbk_run_bench_keys(const struct dbk_arguments *arguments)
{
    struct plan plan = {0};
    if (!dbk_bench_take(arguments, &(struct dbk_bench_bounds){"subjects", 1000000, 100, 100000000},
                        &plan.subjects))
        return DBK_EXIT_USAGE;
    return dbk_bench_run(
        arguments, &(struct dbk_bench_work){.name = "keys", .measure = measure, .context = &plan});
}
