/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/fail.h"

#define CHUNK_SIZE ((size_t)1 << 20)
#define STREAM_READS 20000

struct figures {
    uint64_t events;
    double seconds;     /* of the whole book, warm */
    double raw_seconds; /* of the log's files, warm */
    uint64_t log_size;
    struct dbk_histogram stream_ns;
    uint64_t stream_events;
};

/* Reads what a filter lets through, and counts it. */
static int read_all(struct dbk_store *store, const struct dbk_filter *filter, uint64_t *count_out,
                    struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t count = 0;
    int rc = dbk_cursor_open(store, filter, &cursor, err);
    while (rc >= 0 && (rc = dbk_cursor_next(cursor, &event, err)) == 1)
        count++;
    dbk_cursor_free(cursor);
    *count_out = count;
    return rc;
}

struct raw_read {
    struct dbk_os *os;
    char folder[DBK_BENCH_PATH_SIZE];
    char *buffer;
    uint64_t size;
    struct dbk_error err;
};

static int read_file(const char *name, void *context)
{
    struct raw_read *raw = context;
    struct dbk_file file = DBK_FILE_CLOSED;
    char path[DBK_BENCH_PATH_SIZE + 512];
    size_t got = 0;
    uint64_t offset = 0;
    (void)snprintf(path, sizeof(path), "%s/%s", raw->folder, name);
    int rc = raw->os->open(raw->os, path, DBK_OS_READ, &file, &raw->err);
    do {
        if (rc == DBK_OK)
            rc = raw->os->pread(raw->os, &file, raw->buffer, CHUNK_SIZE, offset, &got, &raw->err);
        offset += got;
    } while (rc == DBK_OK && got == CHUNK_SIZE);
    raw->os->close(raw->os, &file);
    raw->size += offset;
    return rc;
}

/* Reads the log's files with plain reads. */
static int read_raw(struct dbk_bench *bench, struct figures *figures, struct dbk_error *err)
{
    static struct raw_read raw;
    raw = (struct raw_read){.os = bench->os, .buffer = dbk_alloc(CHUNK_SIZE)};
    if (raw.buffer == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    dbk_bench_path(bench, "data/log", raw.folder);
    int64_t started = dbk_bench_now_ns();
    int rc = bench->os->list(bench->os, raw.folder, read_file, &raw, err);
    figures->raw_seconds = (double)(dbk_bench_now_ns() - started) / 1e9;
    figures->log_size = raw.size;
    if (rc < 0 && raw.err.code != DBK_OK)
        *err = raw.err;
    dbk_free(raw.buffer);
    return rc;
}

static int read_streams(struct dbk_store *store, uint64_t streams, struct figures *figures,
                        struct dbk_error *err)
{
    int rc = DBK_OK;
    for (uint64_t i = 0; rc == DBK_OK && i < STREAM_READS; i++) {
        char name[32];
        uint64_t count = 0;
        int size = snprintf(name, sizeof(name), "bench-%ju",
                            (uintmax_t)((i * UINT64_C(40503) + 17) % streams));
        struct dbk_filter filter = {.stream = dbk_slice(name, (size_t)size)};
        int64_t started = dbk_bench_now_ns();
        rc = read_all(store, &filter, &count, err);
        dbk_histogram_add(&figures->stream_ns, (uint64_t)(dbk_bench_now_ns() - started));
        figures->stream_events += count;
    }
    return rc;
}

static int measure(struct dbk_bench *bench, const struct dbk_bench_fill *fill,
                   struct figures *figures, struct dbk_error *err)
{
    struct dbk_store *store = NULL;
    char folder[DBK_BENCH_PATH_SIZE];
    dbk_bench_path(bench, "data", folder);
    int rc = dbk_store_open(
        &(struct dbk_store_options){
            .os = bench->os, .folder = folder, .writer = true, .holder = "daybook bench"},
        &store, err);
    if (rc == DBK_OK)
        rc = dbk_bench_fill_store(store, fill, err);
    /*
     * The first pass brings the files into memory, the second is measured; so with the raw reads.
     */
    for (int pass = 0; rc == DBK_OK && pass < 2; pass++) {
        int64_t started = dbk_bench_now_ns();
        rc = read_all(store, &(struct dbk_filter){0}, &figures->events, err);
        figures->seconds = (double)(dbk_bench_now_ns() - started) / 1e9;
    }
    for (int pass = 0; rc == DBK_OK && pass < 2; pass++)
        rc = read_raw(bench, figures, err);
    if (rc == DBK_OK)
        rc = read_streams(store, fill->streams, figures, err);
    dbk_store_free(store);
    return rc;
}

static void report_read(struct dbk_buf *report, const struct dbk_bench_fill *fill,
                        const struct figures *figures)
{
    double bytes = (double)figures->log_size / figures->seconds;
    double raw_bytes = (double)figures->log_size / figures->raw_seconds;
    dbk_bench_number(report, "events", (double)figures->events, 0);
    dbk_bench_number(report, "size", (double)fill->size, 0);
    dbk_bench_number(report, "streams", (double)fill->streams, 0);
    dbk_bench_number(report, "seconds", figures->seconds, 3);
    dbk_bench_number(report, "events_per_second", (double)figures->events / figures->seconds, 0);
    dbk_bench_number(report, "log_bytes_per_second", bytes, 0);
    dbk_bench_open_part(report, "stream");
    dbk_bench_number(report, "reads", STREAM_READS, 0);
    dbk_bench_number(report, "events", (double)figures->stream_events / STREAM_READS, 1);
    dbk_bench_latency(report, "latency_us", &figures->stream_ns);
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "raw");
    dbk_bench_number(report, "bytes_per_second", raw_bytes, 0);
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "ratio");
    dbk_bench_number(report, "read", bytes / raw_bytes, 3);
    dbk_bench_close_part(report);
}

int dbk_run_bench_read(const struct dbk_arguments *arguments)
{
    static struct figures figures;
    struct dbk_error err = {0};
    struct dbk_bench bench = {0};
    struct dbk_buf report;
    struct dbk_bench_fill fill = {.events = dbk_arguments_number(arguments, "events", 500000),
                                  .streams = dbk_arguments_number(arguments, "streams", 50000),
                                  .size = (size_t)dbk_arguments_number(arguments, "size", 200)};
    if (fill.events == 0 || fill.streams == 0)
        return dbk_fail_usage(arguments, "--events and --streams are at least 1");
    if (fill.size < 50 || fill.size > 100000)
        return dbk_fail_usage(arguments, "--size is from 50 to 100000 bytes");
    int rc = dbk_bench_begin(&bench, arguments, &err);
    if (rc == DBK_OK)
        rc = measure(&bench, &fill, &figures, &err);
    dbk_bench_open(&report, "read");
    if (rc == DBK_OK) {
        report_read(&report, &fill, &figures);
        rc = dbk_bench_show(&bench, &report, &err);
    }
    dbk_buf_release(&report);
    dbk_bench_end(&bench);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
