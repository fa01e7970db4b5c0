/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/bench.h"
#include "json/json.h"

#ifdef __OPTIMIZE__
#define OPTIMISED "optimised"
#else
#define OPTIMISED "not optimised"
#endif

static void write_key(struct dbk_buf *report, const char *key)
{
    bool first = report->size > 0 && report->data[report->size - 1] == '{';
    dbk_json_write_key(report, &first, key);
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

double dbk_bench_value(const struct dbk_json_node *node)
{
    if (node != NULL && node->kind == DBK_JSON_INTEGER)
        return (double)node->integer;
    return node != NULL && node->kind == DBK_JSON_DECIMAL ? dbk_decimal_to_double(node->decimal)
                                                          : 0;
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

void dbk_bench_settings(struct dbk_buf *report, const struct dbk_bench_fill *fill)
{
    dbk_bench_open_part(report, "settings");
    dbk_bench_number(report, "events", (double)fill->events, 0);
    dbk_bench_number(report, "streams", (double)fill->streams, 0);
    dbk_bench_number(report, "size", (double)fill->size, 0);
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
    dbk_bench_number(report, "memory_bytes",
                     (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE), 0);
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
    dbk_bench_text(report, "kernel", uname(&system) == 0 ? system.release : "unknown");
    dbk_bench_text(report, "filesystem",
                   statfs(bench->folder, &disk) == 0 ? filesystem_name((long)disk.f_type)
                                                     : "unknown");
    dbk_bench_text(report, "sync", "fdatasync of each group before it is answered");
    dbk_bench_text(report, "build", DAYBOOK_VERSION ", compiler " __VERSION__ ", " OPTIMISED);
    dbk_bench_close_part(report);
}

void dbk_bench_begin_report(struct dbk_buf *report, const char *name)
{
    dbk_buf_init(report, 1 << 20);
    dbk_buf_append_char(report, '{');
    dbk_bench_text(report, "bench", name);
}

void dbk_bench_end_report(struct dbk_bench *bench, struct dbk_buf *report)
{
    write_environment(bench, report);
    dbk_buf_append_char(report, '}');
}
