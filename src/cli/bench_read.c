/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/fail.h"

#define CHUNK_SIZE ((size_t)1 << 20)

struct figures {
    uint64_t events;
    double seconds;     /* of the whole book, warm */
    double raw_seconds; /* of the log's files, warm */
    uint64_t log_size;
};

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
        if (rc == DBK_OK)
            rc = dbk_bench_stopped(&raw->err);
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

/* The first pass brings the files into memory, the second is measured. */
static int read_twice(struct dbk_bench *bench, const struct dbk_bench_fill *fill,
                      struct figures *figures, struct dbk_error *err)
{
    struct dbk_store *store = NULL;
    int rc = dbk_bench_open_filled(bench, fill, &store, err);
    for (int pass = 0; rc == DBK_OK && pass < 2; pass++) {
        int64_t started = dbk_bench_now_ns();
        rc = dbk_bench_read_all(bench, store, &figures->events, err);
        figures->seconds = (double)(dbk_bench_now_ns() - started) / 1e9;
    }
    for (int pass = 0; rc == DBK_OK && pass < 2; pass++)
        rc = read_raw(bench, figures, err);
    dbk_store_free(store);
    return rc;
}

static int measure(struct dbk_bench *bench, void *context, struct dbk_buf *report,
                   struct dbk_error *err)
{
    const struct dbk_bench_fill *fill = context;
    struct figures figures = {0};
    int rc = read_twice(bench, fill, &figures, err);
    if (rc < 0)
        return rc;
    double bytes = (double)figures.log_size / figures.seconds;
    double raw_bytes = (double)figures.log_size / figures.raw_seconds;
    dbk_bench_settings(report, fill);
    dbk_bench_number(report, "events", (double)figures.events, 0);
    dbk_bench_number(report, "seconds", figures.seconds, 3);
    dbk_bench_number(report, "events_per_second", (double)figures.events / figures.seconds, 0);
    dbk_bench_number(report, "log_bytes_per_second", bytes, 0);
    dbk_bench_open_part(report, "raw");
    dbk_bench_number(report, "bytes_per_second", raw_bytes, 0);
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "ratio");
    dbk_bench_number(report, "read", bytes / raw_bytes, 3);
    dbk_bench_close_part(report);
    return DBK_OK;
}

int dbk_run_bench_read(const struct dbk_arguments *arguments)
{
    struct dbk_bench_fill fill = {.events = 500000, .streams = 50000, .size = 200};
    if (!dbk_bench_take_fill(arguments, &fill))
        return DBK_EXIT_USAGE;
    return dbk_bench_run(arguments,
                         &(struct dbk_bench_work){
                             .name = "read", .measure = measure, .context = &fill, .store = true});
}
