/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench -- what the benchmarks share: a folder of their own, the disk's raw limit, the report.
 *
 * Every figure stands beside one that was measured on the same disk in the same run, because only
 * their ratio says something about Daybook. The raw limit is taken before and after the work, and
 * the better of both counts, so that a disk that was busy meanwhile flatters nobody.
 *
 * Threads: the main thread, but for what a benchmark starts itself.
 * Source:  DESIGN section 7.
 */
#ifndef DBK_CLI_BENCH_H
#define DBK_CLI_BENCH_H

#include "cli/arguments.h"
#include "cli/histogram.h"
#include "store/store.h"

#define DBK_BENCH_PATH_SIZE 4096

struct dbk_bench {
    const struct dbk_arguments *arguments;
    struct dbk_os *os;
    const char *parent;               /* --dir */
    char folder[DBK_BENCH_PATH_SIZE]; /* a new folder in it */
};

/* What the disk can do: by plain writes of a size, each synced, and by a growing file. */
struct dbk_bench_raw {
    size_t size; /* of a synced write, bytes */
    double syncs_per_second;
    struct dbk_histogram sync_ns;
    double bytes_per_second;
};

/* Makes the folder; dbk_bench_end removes it with all that is in it. */
int dbk_bench_begin(struct dbk_bench *bench, const struct dbk_arguments *arguments,
                    struct dbk_error *err) DBK_MUST_CHECK;
void dbk_bench_end(struct dbk_bench *bench);
/* A path in the folder. */
void dbk_bench_path(const struct dbk_bench *bench, const char *name,
                    char path_out[DBK_BENCH_PATH_SIZE]);
int64_t dbk_bench_now_ns(void);

/* Measures for about a second, and keeps what is better than before. raw is zero at first. */
int dbk_bench_measure_raw(struct dbk_bench *bench, size_t size, struct dbk_bench_raw *raw,
                          struct dbk_error *err) DBK_MUST_CHECK;

/* An event's data: a JSON object with id and amount, filled up to a size. */
void dbk_bench_event(struct dbk_buf *out, uint64_t id, uint64_t amount, size_t size);

/* Fills a store with events over streams bench-0, bench-1, …, unsynced but for the last. */
struct dbk_bench_fill {
    uint64_t events;
    uint64_t streams;
    size_t size;
};
int dbk_bench_fill_store(struct dbk_store *store, const struct dbk_bench_fill *fill,
                         struct dbk_error *err) DBK_MUST_CHECK;

/* ---- The report: a JSON object, shown as -o asks ---- */

void dbk_bench_open(struct dbk_buf *report, const char *name);
void dbk_bench_text(struct dbk_buf *report, const char *key, const char *value);
void dbk_bench_number(struct dbk_buf *report, const char *key, double value, int places);
/* A member that is an object: between these, its members. */
void dbk_bench_open_part(struct dbk_buf *report, const char *key);
void dbk_bench_close_part(struct dbk_buf *report);
/* Percentiles in microseconds, as a part. */
void dbk_bench_latency(struct dbk_buf *report, const char *key,
                       const struct dbk_histogram *histogram_ns);
/* Closes it with the environment, and prints it. */
int dbk_bench_show(struct dbk_bench *bench, struct dbk_buf *report,
                   struct dbk_error *err) DBK_MUST_CHECK;

#endif
