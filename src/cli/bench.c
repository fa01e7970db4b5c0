/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench.h"

#include <stdio.h>
#include <time.h>

#include "cli/bench_baseline.h"
#include "cli/data.h"
#include "cli/fail.h"
#include "cli/link.h"

#define REPORT_SIZE_MAX ((size_t)1 << 20)
#define NOISE_PERCENT 10

int64_t dbk_bench_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t dbk_bench_random(uint64_t *state)
{
    uint64_t random = *state;
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    *state = random;
    return random;
}

bool dbk_bench_take(const struct dbk_arguments *arguments, const struct dbk_bench_bounds *bounds,
                    uint64_t *value_out)
{
    uint64_t value = dbk_arguments_number(arguments, bounds->option, bounds->otherwise);
    if (value < bounds->min || value > bounds->max) {
        (void)dbk_fail_usage(arguments, "--%s is from %ju to %ju", bounds->option,
                             (uintmax_t)bounds->min, (uintmax_t)bounds->max);
        return false;
    }
    *value_out = value;
    return true;
}

int dbk_bench_stopped(struct dbk_error *err)
{
    return dbk_link_stopped() ? dbk_error_set(err, DBK_ESTOPPED, "interrupted") : DBK_OK;
}

void dbk_bench_begin_part(struct dbk_bench *bench, const char *what, const char *unit)
{
    dbk_progress_begin(&bench->progress, what, unit);
}

int dbk_bench_step(struct dbk_bench *bench, uint64_t done, uint64_t total, struct dbk_error *err)
{
    dbk_progress_update(&bench->progress, done, done, total);
    return dbk_bench_stopped(err);
}

/* ---- The folder ---- */

static int make_folder(struct dbk_bench *bench, const char *store, struct dbk_error *err)
{
    uint64_t random = 0;
    const char *parent = dbk_arguments_text(bench->arguments, "dir");
    int size = 0;
    int rc = bench->os->random(bench->os, &random, sizeof(random), err);
    if (rc < 0)
        return rc;
    if (store != NULL)
        size = snprintf(bench->folder, sizeof(bench->folder), "%s", store);
    else
        size = snprintf(bench->folder, sizeof(bench->folder), "%s/daybook-bench-%08x",
                        parent != NULL ? parent : ".", (unsigned)random);
    bench->kept = store != NULL;
    if (size >= (int)sizeof(bench->folder) - 64)
        rc = dbk_error_set(err, DBK_ELIMIT, "--%s is too long", store != NULL ? "store" : "dir");
    if (rc == DBK_OK)
        rc = bench->os->make_folder(bench->os, bench->folder, err);
    if (rc < 0)
        bench->kept = true; /* not ours to remove */
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

void dbk_bench_path(const struct dbk_bench *bench, const char *name,
                    char path_out[DBK_BENCH_PATH_SIZE])
{
    (void)snprintf(path_out, DBK_BENCH_PATH_SIZE, "%.*s/%s", DBK_BENCH_PATH_SIZE - 64,
                   bench->folder, name);
}

/* ---- The report, and an earlier one ---- */

void dbk_bench_print(const struct dbk_json_node *object, const char *part)
{
    const struct dbk_json_node *member = dbk_json_first(object);
    for (uint32_t i = 0; i < object->count; i++, member = dbk_json_sibling(member)) {
        char name[80];
        (void)snprintf(name, sizeof(name), "%s%s%.*s", part, part[0] != '\0' ? " " : "",
                       DBK_SLICE_ARGS(member->key));
        if (member->kind == DBK_JSON_OBJECT)
            dbk_bench_print(member, name);
        else if (member->kind == DBK_JSON_STRING)
            (void)printf("%-32s %.*s\n", name, DBK_SLICE_ARGS(member->text));
        else
            (void)printf("%-32s %.*s\n", name, DBK_SLICE_ARGS(member->raw));
    }
}

static int show(const struct dbk_arguments *arguments, const struct dbk_bench_work *work,
                const struct dbk_json_node *report, struct dbk_error *err)
{
    struct dbk_table_options options = dbk_data_options(arguments, &(struct dbk_data_show){0});
    if (options.output != DBK_OUTPUT_TABLE)
        return dbk_table_object(&options, report, NULL, err);
    if (work->show != NULL)
        return work->show(arguments, report, err);
    dbk_bench_print(report, "");
    return DBK_OK;
}

/* A run's report beside an earlier one. */
struct comparison {
    const char *file; /* --baseline; NULL: none */
    double noise;
    struct dbk_json *before_json;
    const struct dbk_json_node *before;
    struct dbk_json *json;
    const struct dbk_json_node *report;
};

static int parse(struct dbk_slice text, struct dbk_json **json_out,
                 const struct dbk_json_node **node_out, struct dbk_error *err)
{
    *json_out = dbk_json_create(REPORT_SIZE_MAX);
    if (*json_out == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    return dbk_json_parse(*json_out, text, node_out, err);
}

/* Read before anything is measured, so that a file that cannot be read costs no time. */
static int read_baseline(struct dbk_bench *bench, struct comparison *comparison,
                         struct dbk_error *err)
{
    struct dbk_error why = {0};
    struct dbk_buf text;
    if (comparison->file == NULL)
        return DBK_OK;
    dbk_buf_init(&text, REPORT_SIZE_MAX);
    int rc = dbk_os_read_file(bench->os, comparison->file, REPORT_SIZE_MAX, &text, err);
    if (rc == DBK_OK) {
        rc = parse(dbk_buf_slice(&text), &comparison->before_json, &comparison->before, &why);
        if (rc < 0)
            (void)dbk_error_set(err, rc, "%s: %s", comparison->file, why.message);
    }
    dbk_buf_release(&text);
    return rc;
}

static int compare(const struct comparison *comparison, struct dbk_error *err)
{
    struct dbk_baseline baseline;
    struct dbk_error why = {0};
    if (comparison->file == NULL)
        return DBK_OK;
    int rc = dbk_baseline_compare(comparison->before, comparison->report, comparison->noise,
                                  &baseline, &why);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s: %s", comparison->file, why.message);
    for (size_t i = 0; i < baseline.count; i++)
        (void)fprintf(stderr, "%s: %.6g before, %.6g now (%+.1f %%)\n", baseline.items[i].name,
                      baseline.items[i].before, baseline.items[i].now, baseline.items[i].change);
    return baseline.worse > 0 ? dbk_baseline_failure(&baseline, comparison->noise, err) : DBK_OK;
}

static int measure_and_show(struct dbk_bench *bench, const struct dbk_bench_work *work,
                            struct comparison *comparison, struct dbk_error *err)
{
    struct dbk_buf report;
    dbk_bench_begin_report(&report, work->name);
    int rc = work->measure(bench, work->context, &report, err);
    dbk_progress_clear(&bench->progress);
    if (rc == DBK_OK) {
        dbk_bench_end_report(bench, &report);
        rc = parse(dbk_buf_slice(&report), &comparison->json, &comparison->report, err);
    }
    if (rc == DBK_OK)
        rc = show(bench->arguments, work, comparison->report, err);
    if (rc == DBK_OK)
        rc = compare(comparison, err);
    dbk_buf_release(&report);
    return rc;
}

int dbk_bench_run(const struct dbk_arguments *arguments, const struct dbk_bench_work *work)
{
    struct dbk_error err = {0};
    struct dbk_bench bench = {.arguments = arguments, .os = dbk_os_real()};
    struct comparison comparison = {.file = dbk_arguments_text(arguments, "baseline")};
    const char *store = work->store ? dbk_arguments_text(arguments, "store") : NULL;
    uint64_t noise = 0;
    if (!dbk_bench_take(arguments, &(struct dbk_bench_bounds){"noise", NOISE_PERCENT, 0, 99},
                        &noise))
        return DBK_EXIT_USAGE;
    if (dbk_arguments_has(arguments, "noise") && comparison.file == NULL)
        return dbk_fail_usage(arguments, "--noise goes with --baseline");
    if (store != NULL && dbk_arguments_has(arguments, "dir"))
        return dbk_fail_usage(arguments, "give --dir or --store, not both");
    comparison.noise = (double)noise;
    dbk_link_stop_on_signals();
    int rc = read_baseline(&bench, &comparison, &err);
    bool made = rc == DBK_OK;
    if (rc == DBK_OK)
        rc = make_folder(&bench, store, &err);
    if (rc == DBK_OK)
        rc = measure_and_show(&bench, work, &comparison, &err);
    if (made && !bench.kept)
        remove_folder(bench.os, bench.folder);
    dbk_json_free(comparison.before_json);
    dbk_json_free(comparison.json);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
