/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench.h"

#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "cli/data.h"

#define ZERO_FILE_SIZE ((uint64_t)32 << 20)
#define CHUNK_SIZE ((size_t)1 << 20)
#define GROW_SIZE_MAX ((uint64_t)512 << 20)
#define RAW_NS INT64_C(700000000)

int64_t dbk_bench_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- The folder ---- */

int dbk_bench_begin(struct dbk_bench *bench, const struct dbk_arguments *arguments,
                    struct dbk_error *err)
{
    uint64_t random = 0;
    const char *parent = dbk_arguments_text(arguments, "dir");
    *bench = (struct dbk_bench){
        .arguments = arguments, .os = dbk_os_real(), .parent = parent != NULL ? parent : "."};
    int rc = bench->os->random(bench->os, &random, sizeof(random), err);
    if (rc < 0)
        return rc;
    int size = snprintf(bench->folder, sizeof(bench->folder), "%s/daybook-bench-%08x",
                        bench->parent, (unsigned)random);
    if (size >= (int)sizeof(bench->folder) - 64) {
        bench->folder[0] = '\0';
        return dbk_error_set(err, DBK_ELIMIT, "--dir is too long");
    }
    rc = bench->os->make_folder(bench->os, bench->folder, err);
    if (rc < 0)
        bench->folder[0] = '\0';
    return rc;
}

struct removal {
    struct dbk_os *os;
    const char *folder;
};

static void remove_folder(struct dbk_os *os, const char *folder);

static int remove_entry(const char *name, void *context)
{
    const struct removal *removal = context;
    char path[DBK_BENCH_PATH_SIZE];
    int size = snprintf(path, sizeof(path), "%s/%s", removal->folder, name);
    if (size < (int)sizeof(path) && removal->os->remove(removal->os, path, NULL) < 0)
        remove_folder(removal->os, path);
    return DBK_OK;
}

static void remove_folder(struct dbk_os *os, const char *folder)
{
    struct removal removal = {.os = os, .folder = folder};
    /* What cannot be removed stays; a benchmark has nobody to tell but its report. */
    int rc = os->list(os, folder, remove_entry, &removal, NULL);
    if (rc == DBK_OK)
        (void)os->remove(os, folder, NULL);
}

void dbk_bench_end(struct dbk_bench *bench)
{
    if (bench->folder[0] != '\0')
        remove_folder(bench->os, bench->folder);
    bench->folder[0] = '\0';
}

void dbk_bench_path(const struct dbk_bench *bench, const char *name,
                    char path_out[DBK_BENCH_PATH_SIZE])
{
    (void)snprintf(path_out, DBK_BENCH_PATH_SIZE, "%.*s/%s", DBK_BENCH_PATH_SIZE - 64,
                   bench->folder, name);
}

/* ---- The disk's raw limit ---- */

static int measure_sync(struct dbk_bench *bench, const struct dbk_file *file,
                        struct dbk_slice bytes, struct dbk_bench_raw *raw, struct dbk_error *err)
{
    static struct dbk_histogram histogram;
    uint64_t offset = 0;
    uint64_t count = 0;
    int64_t started = dbk_bench_now_ns();
    int64_t before = started;
    memset(&histogram, 0, sizeof(histogram));
    while (before - started < RAW_NS) {
        int rc = bench->os->pwrite(bench->os, file, bytes, offset, err);
        if (rc == DBK_OK)
            rc = bench->os->sync(bench->os, file, err);
        if (rc < 0)
            return rc;
        int64_t now = dbk_bench_now_ns();
        dbk_histogram_add(&histogram, (uint64_t)(now - before));
        before = now;
        count++;
        offset = offset + 2 * bytes.size > ZERO_FILE_SIZE ? 0 : offset + bytes.size;
    }
    double rate = (double)count * 1e9 / (double)(before - started);
    if (rate > raw->syncs_per_second) {
        raw->syncs_per_second = rate;
        raw->sync_ns = histogram;
    }
    return DBK_OK;
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
    double rate = (double)size * 1e9 / (double)(dbk_bench_now_ns() - started);
    if (rc == DBK_OK && rate > raw->bytes_per_second)
        raw->bytes_per_second = rate;
    return rc;
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

/* ---- Events ---- */

void dbk_bench_event(struct dbk_buf *out, uint64_t id, uint64_t amount, size_t size)
{
    size_t start = out->size;
    dbk_buf_append_format(out, "{\"id\":\"%ju\",\"amount\":%ju,\"text\":\"", (uintmax_t)id,
                          (uintmax_t)amount);
    while (out->rc == DBK_OK && out->size - start + 2 < size)
        dbk_buf_append_char(out, (char)('a' + (out->size - start) % 26));
    dbk_buf_append_text(out, "\"}");
}

static int append_events(struct dbk_store *store, const struct dbk_bench_fill *fill, uint64_t first,
                         size_t count, struct dbk_error *err)
{
    struct dbk_new_event *events = dbk_alloc_zero(count, sizeof(*events));
    char(*streams)[32] = dbk_alloc_zero(count, sizeof(*streams));
    struct dbk_append_result result = {0};
    struct dbk_buf data;
    int rc = DBK_ENOMEM;
    dbk_buf_init(&data, (size_t)1 << 30);
    /* Room for all at once, so that slices of it stay valid. */
    if (events == NULL || streams == NULL || dbk_buf_reserve(&data, count * (fill->size + 80)) < 0)
        goto out;
    for (size_t i = 0; i < count; i++) {
        uint64_t stream = (first + i) * UINT64_C(2654435761) % fill->streams;
        size_t start = data.size;
        int size = snprintf(streams[i], sizeof(streams[i]), "bench-%ju", (uintmax_t)stream);
        dbk_bench_event(&data, stream, i % 100, fill->size);
        events[i] = (struct dbk_new_event){.stream = dbk_slice(streams[i], (size_t)size),
                                           .type = DBK_SLICE_LITERAL("Measured"),
                                           .data = dbk_slice(data.data + start, data.size - start),
                                           .occurred_us = DBK_TIME_NONE,
                                           .flags = DBK_RECORD_JSON};
    }
    struct dbk_batch batch = {.events = events, .count = count};
    if (first + count < fill->events)
        batch.flags = DBK_APPEND_NO_SYNC;
    rc = dbk_store_append(store, &batch, &result, err);
out:
    if (rc == DBK_ENOMEM)
        (void)dbk_error_set(err, rc, "%s", dbk_code_text(rc));
    dbk_buf_release(&data);
    dbk_free(events);
    dbk_free(streams);
    return rc;
}

int dbk_bench_fill_store(struct dbk_store *store, const struct dbk_bench_fill *fill,
                         struct dbk_error *err)
{
    int rc = DBK_OK;
    for (uint64_t first = 0; rc == DBK_OK && first < fill->events; first += 1000) {
        uint64_t left = fill->events - first;
        rc = append_events(store, fill, first, left < 1000 ? (size_t)left : 1000, err);
    }
    return rc;
}

/* ---- The report ---- */

static void write_key(struct dbk_buf *report, const char *key)
{
    bool first = report->size > 0 && report->data[report->size - 1] == '{';
    dbk_json_write_key(report, &first, key);
}

void dbk_bench_open(struct dbk_buf *report, const char *name)
{
    dbk_buf_init(report, 1 << 20);
    dbk_buf_append_char(report, '{');
    dbk_bench_text(report, "bench", name);
}

void dbk_bench_text(struct dbk_buf *report, const char *key, const char *value)
{
    write_key(report, key);
    dbk_json_write_string(report, dbk_slice_of(value));
}

void dbk_bench_number(struct dbk_buf *report, const char *key, double value, int places)
{
    write_key(report, key);
    dbk_buf_append_format(report, "%.*f", places, value);
}

void dbk_bench_open_part(struct dbk_buf *report, const char *key)
{
    write_key(report, key);
    dbk_buf_append_char(report, '{');
}

void dbk_bench_close_part(struct dbk_buf *report)
{
    dbk_buf_append_char(report, '}');
}

void dbk_bench_latency(struct dbk_buf *report, const char *key,
                       const struct dbk_histogram *histogram_ns)
{
    static const struct {
        const char *name;
        double part;
    } points[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
    dbk_bench_open_part(report, key);
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
        dbk_bench_number(report, points[i].name,
                         (double)dbk_histogram_percentile(histogram_ns, points[i].part) / 1e3, 1);
    dbk_bench_close_part(report);
}

static void write_processor(struct dbk_bench *bench, struct dbk_buf *report)
{
    char name[128] = "unknown";
    struct dbk_buf text;
    dbk_buf_init(&text, 1 << 20);
    if (dbk_os_read_file(bench->os, "/proc/cpuinfo", 1 << 20, &text, NULL) == DBK_OK) {
        dbk_buf_append_char(&text, '\0');
        const char *at = text.rc == DBK_OK ? strstr(text.data, "model name") : NULL;
        at = at != NULL ? strchr(at, ':') : NULL;
        if (at != NULL)
            (void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(at + 2, "\n"), at + 2);
    }
    dbk_buf_release(&text);
    dbk_bench_text(report, "processor", name);
    dbk_bench_number(report, "cores", (double)sysconf(_SC_NPROCESSORS_ONLN), 0);
}

static const char *filesystem_name(long type)
{
    static const struct {
        long type;
        const char *name;
    } names[] = {{0xef53, "ext4"},      {0x58465342, "xfs"},       {0x9123683e, "btrfs"},
                 {0x01021994, "tmpfs"}, {0x794c7630, "overlayfs"}, {0x6969, "nfs"},
                 {0x2fc12fc1, "zfs"},   {0xf2f52010, "f2fs"},      {0x01021997, "9p"},
                 {0x65735546, "fuse"}};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].type == type)
            return names[i].name;
    return "unknown";
}

static void write_environment(struct dbk_bench *bench, struct dbk_buf *report)
{
    struct statfs disk = {0};
    struct utsname system = {0};
    dbk_bench_open_part(report, "environment");
    write_processor(bench, report);
    dbk_bench_text(report, "filesystem",
                   statfs(bench->folder, &disk) == 0 ? filesystem_name((long)disk.f_type)
                                                     : "unknown");
    dbk_bench_text(report, "kernel", uname(&system) == 0 ? system.release : "unknown");
    dbk_bench_text(report, "sync", "fdatasync of each group before it is answered");
    dbk_bench_text(report, "version", DAYBOOK_VERSION);
    dbk_bench_close_part(report);
}

/* For people: a line a member, those of a part with its name before them. */
static void print_members(const struct dbk_json_node *object, const char *part)
{
    const struct dbk_json_node *member = dbk_json_first(object);
    for (uint32_t i = 0; i < object->count; i++, member = dbk_json_sibling(member)) {
        char name[80];
        (void)snprintf(name, sizeof(name), "%s%s%.*s", part, part[0] != '\0' ? " " : "",
                       DBK_SLICE_ARGS(member->key));
        if (member->kind == DBK_JSON_OBJECT)
            print_members(member, name);
        else if (member->kind == DBK_JSON_STRING)
            (void)printf("%-30s %.*s\n", name, DBK_SLICE_ARGS(member->text));
        else
            (void)printf("%-30s %.*s\n", name, DBK_SLICE_ARGS(member->raw));
    }
}

int dbk_bench_show(struct dbk_bench *bench, struct dbk_buf *report, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_table_options options =
        dbk_data_options(bench->arguments, &(struct dbk_data_show){0});
    struct dbk_json *json = dbk_json_create(1 << 20);
    write_environment(bench, report);
    dbk_buf_append_char(report, '}');
    int rc = json == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                          : dbk_json_parse(json, dbk_buf_slice(report), &root, err);
    if (rc == DBK_OK && options.output == DBK_OUTPUT_TABLE)
        print_members(root, "");
    else if (rc == DBK_OK)
        rc = dbk_table_object(&options, root, NULL, err);
    dbk_json_free(json);
    return rc;
}
