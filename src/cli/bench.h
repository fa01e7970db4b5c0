/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench -- what the benchmarks share: a folder of their own, a filled store, the disk's raw limits,
 * the report.
 *
 * Every figure stands beside one that was measured on the same disk in the same run, because only
 * their ratio says something about Daybook. The raw limit is taken before and after the work, and
 * the better of both counts, so that a disk that was busy meanwhile flatters nobody.
 *
 * A benchmark is a function that measures and writes its part of the report; dbk_bench_run makes
 * the folder, adds the environment, shows the report, compares it with --baseline and cleans up,
 * also after SIGINT.
 *
 * Threads: the main thread, but for what a benchmark starts itself.
 * Source:  DESIGN section 7.
 */
#ifndef DBK_CLI_BENCH_H
#define DBK_CLI_BENCH_H

#include "cli/arguments.h"
#include "cli/histogram.h"
#include "cli/progress.h"
#include "json/json.h"
#include "store/store.h"

#define DBK_BENCH_PATH_SIZE 4096

struct dbk_bench {
    const struct dbk_arguments *arguments;
    struct dbk_os *os;
    char folder[DBK_BENCH_PATH_SIZE]; /* what it works in: new, in --dir; or --store */
    bool kept;                        /* --store: the folder stays */
    struct dbk_progress progress;
};

/* Measures, and writes settings and figures into an open report. */
typedef int (*dbk_bench_fn)(struct dbk_bench *bench, void *context, struct dbk_buf *report,
                            struct dbk_error *err);

struct dbk_bench_work {
    const char *name;
    dbk_bench_fn measure;
    void *context;
    bool store; /* it has the option --store */
    /* For people, in place of a line a member; NULL: none. */
    int (*show)(const struct dbk_arguments *arguments, const struct dbk_json_node *report,
                struct dbk_error *err);
};

/* Runs a benchmark from folder to report; returns the exit status. */
int dbk_bench_run(const struct dbk_arguments *arguments, const struct dbk_bench_work *work);

/*
 * An option's number, or what counts without it. False when it is not within the bounds, which is
 * said on standard error: the command then ends with DBK_EXIT_USAGE.
 */
struct dbk_bench_bounds {
    const char *option;
    uint64_t otherwise;
    uint64_t min;
    uint64_t max;
};
bool dbk_bench_take(const struct dbk_arguments *arguments, const struct dbk_bench_bounds *bounds,
                    uint64_t *value_out) DBK_MUST_CHECK;

/* A path in the folder. */
void dbk_bench_path(const struct dbk_bench *bench, const char *name,
                    char path_out[DBK_BENCH_PATH_SIZE]);
int64_t dbk_bench_now_ns(void);
/* What a run draws from: always the same numbers. */
uint64_t dbk_bench_random(uint64_t *state);

/* DBK_ESTOPPED once SIGINT or SIGTERM came; long loops ask now and then. */
int dbk_bench_stopped(struct dbk_error *err) DBK_MUST_CHECK;
/* A long part begins: what it is and what it counts; and how far it is, which also asks that. */
void dbk_bench_begin_part(struct dbk_bench *bench, const char *what, const char *unit);
int dbk_bench_step(struct dbk_bench *bench, uint64_t done, uint64_t total,
                   struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Stores ---- */

/* Opens the folder's store for writing. */
int dbk_bench_open_store(struct dbk_bench *bench, struct dbk_store **store_out,
                         struct dbk_error *err) DBK_MUST_CHECK;

/* An event's data: a JSON object with id and amount, filled up to a size. */
void dbk_bench_event(struct dbk_buf *out, uint64_t id, uint64_t amount, size_t size);
/* The stream of the n-th event, as a name; and its size. */
size_t dbk_bench_stream_name(uint64_t number, uint64_t streams, char name_out[32]);

/* Events over streams bench-0, bench-1, …, in batches of 1,000 that only the last one syncs. */
struct dbk_bench_fill {
    uint64_t events;
    uint64_t streams;
    uint64_t size;  /* data of an event, bytes */
    uint64_t first; /* number of the first one */
};

/* Reads --events, --streams and --size; false as dbk_bench_take. */
bool dbk_bench_take_fill(const struct dbk_arguments *arguments, struct dbk_bench_fill *fill);
/* Appends them, and waits for the index. */
int dbk_bench_fill_store(struct dbk_bench *bench, struct dbk_store *store,
                         const struct dbk_bench_fill *fill, struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Opens the folder's store, filled so: a kept one is filled once, and its note says with what.
 *
 * DBK_EINVAL  the kept store was filled otherwise
 */
int dbk_bench_open_filled(struct dbk_bench *bench, const struct dbk_bench_fill *fill,
                          struct dbk_store **store_out, struct dbk_error *err) DBK_MUST_CHECK;

/* Reads what a filter lets through, and counts it. */
int dbk_bench_count(struct dbk_store *store, const struct dbk_filter *filter, uint64_t *count_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* The same for the whole book, with progress. */
int dbk_bench_read_all(struct dbk_bench *bench, struct dbk_store *store, uint64_t *count_out,
                       struct dbk_error *err) DBK_MUST_CHECK;

/* ---- The disk's raw limits ---- */

/* What the disk can do: by plain writes of a size, each synced, and by a growing file. */
struct dbk_bench_raw {
    size_t size; /* of a synced write, bytes */
    struct dbk_histogram sync_ns;
    double sync_seconds;
    double sequential_bytes;
    double sequential_seconds;
};

double dbk_bench_raw_syncs(const struct dbk_bench_raw *raw);      /* a second */
double dbk_bench_raw_sequential(const struct dbk_bench_raw *raw); /* bytes a second */

/* Measures for half a second, and adds it to what was measured before. raw is zero at first. */
int dbk_bench_measure_raw(struct dbk_bench *bench, size_t size, struct dbk_bench_raw *raw,
                          struct dbk_error *err) DBK_MUST_CHECK;

/* ---- The report: a JSON object, shown as -o asks ---- */

/* A figure of a report that was read; 0 where there is none. */
double dbk_bench_value(const struct dbk_json_node *node);
/* For people: a line a member, those of a part with its name before them. */
void dbk_bench_print(const struct dbk_json_node *object, const char *part);

void dbk_bench_text(struct dbk_buf *report, const char *key, const char *value);
void dbk_bench_number(struct dbk_buf *report, const char *key, double value, int places);
/* A member that is an object: between these, its members. */
void dbk_bench_open_part(struct dbk_buf *report, const char *key);
void dbk_bench_close_part(struct dbk_buf *report);
/* Percentiles in microseconds, as a part. */
void dbk_bench_latency(struct dbk_buf *report, const char *key,
                       const struct dbk_histogram *histogram_ns);
/* The settings of a filled store, as the part `settings`. */
void dbk_bench_settings(struct dbk_buf *report, const struct dbk_bench_fill *fill);
/* Opens it; closes it with the environment. */
void dbk_bench_begin_report(struct dbk_buf *report, const char *name);
void dbk_bench_end_report(struct dbk_bench *bench, struct dbk_buf *report);

#endif
