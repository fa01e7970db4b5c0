/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/fail.h"

/* A child appends so long, and then is killed. */
#define APPEND_MS_MIN 50
#define APPEND_MS_MAX 450
/* How often the parent looks whether to stop. */
#define HEAR_MS 100

struct plan {
    struct dbk_bench_fill fill;
    uint64_t kills;
};

struct figures {
    struct dbk_histogram open_ns;   /* until the store can be read and written */
    struct dbk_histogram append_ns; /* of the first append after it */
    uint64_t events;                /* after the last open */
    uint64_t anonymous_bytes;       /* of the process, after a full read */
};

/* ---- The child ---- */

static int append_one(struct dbk_store *store, const struct dbk_bench_fill *fill, uint64_t number,
                      struct dbk_error *err)
{
    struct dbk_append_result result = {0};
    struct dbk_buf data;
    char name[32];
    size_t size = dbk_bench_stream_name(number, fill->streams, name);
    dbk_buf_init(&data, 1 << 20);
    dbk_bench_event(&data, number, 1, (size_t)fill->size);
    struct dbk_new_event event = {.stream = dbk_slice(name, size),
                                  .type = DBK_SLICE_LITERAL("Measured"),
                                  .data = dbk_buf_slice(&data),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    int rc = data.rc < 0
                 ? dbk_error_set(err, data.rc, "%s", dbk_code_text(data.rc))
                 : dbk_store_append(store, &(struct dbk_batch){.events = &event, .count = 1},
                                    &result, err);
    dbk_buf_release(&data);
    return rc;
}

/* Fills the store when that has not been done, says so, and appends until it is killed. */
static _Noreturn void be_killed(struct dbk_bench *bench, const struct dbk_bench_fill *fill,
                                int pipe)
{
    struct dbk_store *store = NULL;
    struct dbk_error err = {0};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    int rc = dbk_bench_open_filled(bench, fill, &store, &err);
    if (rc == DBK_OK && write(pipe, &err, sizeof(err)) != (ssize_t)sizeof(err))
        rc = DBK_EIO;
    for (uint64_t i = 0; rc == DBK_OK; i++)
        rc = append_one(store, fill, i, &err);
    dbk_store_free(store);
    (void)!write(pipe, &err, sizeof(err));
    _exit(1);
}

/* ---- The parent ---- */

/* Waits for the child's word that it appends; or for why it does not. */
static int hear(int pipe, struct dbk_error *err)
{
    struct dbk_error word = {0};
    struct pollfd ready = {.fd = pipe, .events = POLLIN};
    while (poll(&ready, 1, HEAR_MS) <= 0) {
        int rc = dbk_bench_stopped(err);
        if (rc < 0)
            return rc;
    }
    ssize_t size = read(pipe, &word, sizeof(word));
    if (size != (ssize_t)sizeof(word))
        return dbk_error_set(err, DBK_EIO, "the process that appends has ended");
    if (word.code != DBK_OK)
        *err = word;
    return word.code;
}

/* A process that appends is killed in the midst of it. */
static int kill_one(struct dbk_bench *bench, const struct dbk_bench_fill *fill, uint64_t *seed,
                    struct dbk_error *err)
{
    int ends[2];
    if (pipe(ends) < 0)
        return dbk_error_set_errno(err, errno, "pipe");
    pid_t child = fork();
    if (child == 0)
        be_killed(bench, fill, ends[1]);
    (void)close(ends[1]);
    int rc = child < 0 ? dbk_error_set_errno(err, errno, "fork") : hear(ends[0], err);
    uint64_t ms = APPEND_MS_MIN + dbk_bench_random(seed) % (APPEND_MS_MAX - APPEND_MS_MIN);
    if (rc == DBK_OK)
        (void)usleep((useconds_t)ms * 1000);
    if (child > 0) {
        (void)kill(child, SIGKILL);
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    (void)close(ends[0]);
    return rc;
}

static int read_anonymous(struct dbk_bench *bench, uint64_t *bytes_out, struct dbk_error *err)
{
    struct dbk_buf text;
    dbk_buf_init(&text, 1 << 16);
    int rc = dbk_os_read_file(bench->os, "/proc/self/status", 1 << 16, &text, err);
    dbk_buf_append_char(&text, '\0');
    const char *at = rc == DBK_OK && text.rc == DBK_OK ? strstr(text.data, "RssAnon:") : NULL;
    if (at != NULL)
        *bytes_out = (uint64_t)strtoull(at + strlen("RssAnon:"), NULL, 10) * 1024;
    dbk_buf_release(&text);
    return rc;
}

/* The process has held nothing of a store before, so that what it holds now is the open's. */
static int open_after(struct dbk_bench *bench, const struct plan *plan, uint64_t round,
                      struct figures *figures, struct dbk_error *err)
{
    struct dbk_store *store = NULL;
    int64_t started = dbk_bench_now_ns();
    int rc = dbk_bench_open_store(bench, &store, err);
    int64_t opened = dbk_bench_now_ns();
    if (rc == DBK_OK)
        rc = append_one(store, &plan->fill, round, err);
    int64_t appended = dbk_bench_now_ns();
    if (rc == DBK_OK) {
        dbk_histogram_add(&figures->open_ns, (uint64_t)(opened - started));
        dbk_histogram_add(&figures->append_ns, (uint64_t)(appended - opened));
        figures->events = dbk_store_last_position(store);
    }
    if (rc == DBK_OK && round + 1 == plan->kills) {
        uint64_t count = 0;
        rc = dbk_bench_read_all(bench, store, &count, err);
        if (rc == DBK_OK)
            rc = read_anonymous(bench, &figures->anonymous_bytes, err);
    }
    dbk_store_free(store);
    return rc;
}

static int measure(struct dbk_bench *bench, void *context, struct dbk_buf *report,
                   struct dbk_error *err)
{
    static struct figures figures;
    const struct plan *plan = context;
    uint64_t seed = UINT64_C(88172645463325252);
    int rc = DBK_OK;
    for (uint64_t round = 0; rc == DBK_OK && round < plan->kills; round++) {
        rc = kill_one(bench, &plan->fill, &seed, err);
        if (rc == DBK_OK)
            rc = dbk_bench_stopped(err);
        if (rc == DBK_OK)
            rc = open_after(bench, plan, round, &figures, err);
    }
    if (rc < 0)
        return rc;
    double slowest = (double)dbk_histogram_percentile(&figures.open_ns, 1) / 1e9;
    dbk_bench_settings(report, &plan->fill);
    dbk_bench_number(report, "kills", (double)plan->kills, 0);
    dbk_bench_number(report, "events", (double)figures.events, 0);
    dbk_bench_latency(report, "open_us", &figures.open_ns);
    dbk_bench_latency(report, "first_append_us", &figures.append_ns);
    dbk_bench_number(report, "anonymous_bytes", (double)figures.anonymous_bytes, 0);
    dbk_bench_open_part(report, "rate");
    dbk_bench_number(report, "opens_per_second", 1 / slowest, 1);
    dbk_bench_close_part(report);
    return DBK_OK;
}

int dbk_run_bench_open(const struct dbk_arguments *arguments)
{
    struct plan plan = {.fill = {.events = 500000, .streams = 50000, .size = 200}};
    if (!dbk_bench_take_fill(arguments, &plan.fill) ||
        !dbk_bench_take(arguments, &(struct dbk_bench_bounds){"kills", 5, 1, 10000}, &plan.kills))
        return DBK_EXIT_USAGE;
    return dbk_bench_run(arguments,
                         &(struct dbk_bench_work){
                             .name = "open", .measure = measure, .context = &plan, .store = true});
}
