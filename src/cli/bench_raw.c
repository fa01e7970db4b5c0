/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/bench.h"

#define ZERO_FILE_SIZE ((uint64_t)32 << 20)
#define CHUNK_SIZE ((size_t)1 << 20)
#define GROW_SIZE_MAX ((uint64_t)512 << 20)
#define RAW_NS INT64_C(250000000)

static int measure_sync(struct dbk_bench *bench, const struct dbk_file *file,
                        struct dbk_slice bytes, struct dbk_bench_raw *raw, struct dbk_error *err)
{
    uint64_t offset = 0;
    int64_t started = dbk_bench_now_ns();
    int64_t before = started;
    while (before - started < RAW_NS) {
        int rc = bench->os->pwrite(bench->os, file, bytes, offset, err);
        if (rc == DBK_OK)
            rc = bench->os->sync(bench->os, file, err);
        if (rc < 0)
            return rc;
        int64_t now = dbk_bench_now_ns();
        dbk_histogram_add(&raw->sync_ns, (uint64_t)(now - before));
        before = now;
        offset = offset + 2 * bytes.size > ZERO_FILE_SIZE ? 0 : offset + bytes.size;
    }
    raw->sync_seconds += (double)(before - started) / 1e9;
    return dbk_bench_stopped(err);
}

static int fill_zeros(struct dbk_bench *bench, const struct dbk_file *file, const char *zeros,
                      struct dbk_error *err)
{
    int rc = DBK_OK;
    for (uint64_t offset = 0; rc == DBK_OK && offset < ZERO_FILE_SIZE; offset += CHUNK_SIZE)
        rc = bench->os->pwrite(bench->os, file, dbk_slice(zeros, CHUNK_SIZE), offset, err);
    return rc == DBK_OK ? bench->os->sync(bench->os, file, err) : rc;
}

static int measure_growth(struct dbk_bench *bench, const struct dbk_file *file, const char *bytes,
                          struct dbk_bench_raw *raw, struct dbk_error *err)
{
    uint64_t size = 0;
    int rc = DBK_OK;
    int64_t started = dbk_bench_now_ns();
    while (rc == DBK_OK && size < GROW_SIZE_MAX && dbk_bench_now_ns() - started < RAW_NS) {
        rc = bench->os->pwrite(bench->os, file, dbk_slice(bytes, CHUNK_SIZE), size, err);
        size += CHUNK_SIZE;
    }
    if (rc == DBK_OK)
        rc = bench->os->sync(bench->os, file, err);
    raw->sequential_bytes += (double)size;
    raw->sequential_seconds += (double)(dbk_bench_now_ns() - started) / 1e9;
    return rc == DBK_OK ? dbk_bench_stopped(err) : rc;
}

double dbk_bench_raw_syncs(const struct dbk_bench_raw *raw)
{
    return (double)raw->sync_ns.count / raw->sync_seconds;
}

double dbk_bench_raw_sequential(const struct dbk_bench_raw *raw)
{
    return raw->sequential_bytes / raw->sequential_seconds;
}

int dbk_bench_measure_raw(struct dbk_bench *bench, size_t size, struct dbk_bench_raw *raw,
                          struct dbk_error *err)
{
    struct dbk_file zeroed = DBK_FILE_CLOSED;
    struct dbk_file growing = DBK_FILE_CLOSED;
    char path[DBK_BENCH_PATH_SIZE];
    char *bytes = NULL;
    raw->size = size < ZERO_FILE_SIZE / 4 ? size : ZERO_FILE_SIZE / 4;
    size_t room = raw->size > CHUNK_SIZE ? raw->size : CHUNK_SIZE;
    bytes = dbk_alloc_zero(1, room);
    if (bytes == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    dbk_bench_path(bench, "raw-sync", path);
    int rc = bench->os->open(bench->os, path, DBK_OS_WRITE | DBK_OS_CREATE, &zeroed, err);
    if (rc == DBK_OK)
        rc = fill_zeros(bench, &zeroed, bytes, err);
    memset(bytes, 'x', room);
    if (rc == DBK_OK)
        rc = measure_sync(bench, &zeroed, dbk_slice(bytes, raw->size), raw, err);
    bench->os->close(bench->os, &zeroed);
    (void)bench->os->remove(bench->os, path, NULL);
    dbk_bench_path(bench, "raw-growing", path);
    if (rc == DBK_OK)
        rc = bench->os->open(bench->os, path, DBK_OS_WRITE | DBK_OS_CREATE, &growing, err);
    if (rc == DBK_OK)
        rc = measure_growth(bench, &growing, bytes, raw, err);
    bench->os->close(bench->os, &growing);
    (void)bench->os->remove(bench->os, path, NULL);
    dbk_free(bytes);
    return rc;
}
