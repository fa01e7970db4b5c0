/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One shop under all five patterns. Of each in turn:
 *
 *     alone     orders as fast as one writer goes
 *     paced     orders at a rate that leaves everybody idle: how late a reader finds them
 *     read      pages and summaries, while nobody writes
 *     beside    as fast as one writer goes while readers read pages, each at its own rate
 *     change    orders get a new field
 *
 * What readers find must add up to what was written, or the benchmark fails.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "cli/bench_shop.h"
#include "cli/commands.h"
#include "cli/fail.h"

#define READERS_MAX 256
#define SUMMARIES 20
#define LOOK_NS 50000
#define AWAIT_NS (INT64_C(60) * 1000000000)
#define STEPS 5

struct plan {
    uint64_t orders;
    uint64_t paced;
    uint64_t rate;
    uint64_t pages;
    uint64_t readers;
    uint64_t reads; /* of a reader, a second */
    uint64_t seconds;
};

struct figures {
    struct dbk_histogram write_ns;
    double write_seconds;
    struct dbk_histogram stale_ns;
    struct dbk_histogram page_ns;
    struct dbk_histogram summary_ns;
    uint64_t bytes;
    uint64_t bytes_orders;
    uint64_t beside_orders;
    uint64_t beside_reads;
    double beside_seconds;
    struct dbk_histogram beside_page_ns;
    uint64_t change_orders;
    double change_seconds;
};

static double seconds_since(int64_t begun_ns)
{
    return (double)(dbk_bench_now_ns() - begun_ns) / 1e9;
}

/* ---- A writer ---- */

static int write_alone(struct dbk_bench_shop *shop, uint64_t orders, struct figures *figures,
                       struct dbk_error *err)
{
    int64_t begun_ns = dbk_bench_now_ns();
    int64_t before_ns = begun_ns;
    int rc = DBK_OK;
    for (uint64_t i = 0; rc == DBK_OK && i < orders; i++) {
        rc = dbk_bench_shop_write(shop, err);
        int64_t now_ns = dbk_bench_now_ns();
        dbk_histogram_add(&figures->write_ns, (uint64_t)(now_ns - before_ns));
        before_ns = now_ns;
        if (rc == DBK_OK)
            rc = dbk_bench_stopped(err);
    }
    figures->write_seconds = seconds_since(begun_ns);
    return rc;
}

/* Until a reader finds the last order that was written. */
static int await_last(struct dbk_bench_reader *reader, struct dbk_error *err)
{
    struct dbk_bench_shop *shop = reader->shop;
    int64_t begun_ns = dbk_bench_now_ns();
    for (;;) {
        bool found = false;
        int rc = dbk_bench_find_order(reader, shop->last, &found, err);
        if (rc == DBK_OK && !found)
            rc = dbk_bench_stopped(err);
        if (rc < 0 || found)
            return rc;
        if (dbk_bench_now_ns() - begun_ns > AWAIT_NS)
            return dbk_error_set(err, DBK_ETIMEOUT,
                                 "%s: a reader has not found order %ju in a minute",
                                 shop->pattern->name, (uintmax_t)shop->last);
        (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
}

static int write_paced(struct dbk_bench_reader *reader, const struct plan *plan,
                       struct figures *figures, struct dbk_error *err)
{
    int64_t begun_ns = dbk_bench_now_ns();
    int rc = DBK_OK;
    for (uint64_t i = 0; rc == DBK_OK && i < plan->paced; i++) {
        int64_t until_ns = begun_ns + (int64_t)(i * 1000000000 / plan->rate);
        const struct timespec until = {.tv_sec = until_ns / 1000000000,
                                       .tv_nsec = until_ns % 1000000000};
        bool found = false;
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        rc = dbk_bench_shop_write(reader->shop, err);
        int64_t written_ns = dbk_bench_now_ns();
        if (rc == DBK_OK)
            rc = dbk_bench_find_order(reader, reader->shop->last, &found, err);
        /* What the first look finds was not late. */
        if (rc == DBK_OK && !found)
            rc = await_last(reader, err);
        dbk_histogram_add(&figures->stale_ns,
                          found ? 0 : (uint64_t)(dbk_bench_now_ns() - written_ns));
    }
    return rc;
}

/* ---- Readers ---- */

static int read_alone(struct dbk_bench_reader *reader, const struct plan *plan,
                      struct figures *figures, struct dbk_error *err)
{
    uint64_t draw = 1;
    int rc = DBK_OK;
    for (uint64_t i = 0; rc == DBK_OK && i < plan->pages; i++) {
        int64_t begun_ns = dbk_bench_now_ns();
        rc = dbk_bench_read_page(reader, dbk_bench_random(&draw) % DBK_BENCH_SHOP_USERS, err);
        dbk_histogram_add(&figures->page_ns, (uint64_t)(dbk_bench_now_ns() - begun_ns));
        if (rc == DBK_OK)
            rc = dbk_bench_stopped(err);
    }
    for (uint64_t i = 0; rc == DBK_OK && reader->summary != NULL && i < SUMMARIES; i++) {
        int64_t begun_ns = dbk_bench_now_ns();
        rc = dbk_bench_read_summary(reader, err);
        dbk_histogram_add(&figures->summary_ns, (uint64_t)(dbk_bench_now_ns() - begun_ns));
    }
    return rc;
}

struct crowd {
    struct dbk_bench_shop *shop;
    const struct plan *plan;
    _Atomic bool stop;
    struct member {
        struct crowd *crowd;
        pthread_t thread;
        uint64_t seed;
        struct dbk_histogram page_ns;
        int rc;
        struct dbk_error err;
    } members[READERS_MAX];
};

static void *read_on(void *context)
{
    struct member *member = context;
    struct crowd *crowd = member->crowd;
    struct dbk_bench_reader reader;
    uint64_t draw = member->seed;
    int64_t pause_ns = (int64_t)(1000000000 / crowd->plan->reads);
    member->rc = dbk_bench_reader_open(&reader, crowd->shop, &member->err);
    int64_t next_ns = dbk_bench_now_ns() +
                      (int64_t)(dbk_bench_random(&draw) % 1000000000) / (int64_t)crowd->plan->reads;
    while (member->rc == DBK_OK && !crowd->stop) {
        const struct timespec until = {.tv_sec = next_ns / 1000000000,
                                       .tv_nsec = next_ns % 1000000000};
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        int64_t begun_ns = dbk_bench_now_ns();
        member->rc = dbk_bench_read_page(&reader, dbk_bench_random(&draw) % DBK_BENCH_SHOP_USERS,
                                         &member->err);
        int64_t now_ns = dbk_bench_now_ns();
        dbk_histogram_add(&member->page_ns, (uint64_t)(now_ns - begun_ns));
        /* Who is late does not make up for it. */
        next_ns = next_ns + pause_ns > now_ns ? next_ns + pause_ns : now_ns;
    }
    dbk_bench_reader_close(&reader);
    return NULL;
}

static int write_for(struct dbk_bench_shop *shop, uint64_t seconds, struct figures *figures,
                     struct dbk_error *err)
{
    int64_t begun_ns = dbk_bench_now_ns();
    uint64_t before = shop->last;
    int rc = DBK_OK;
    while (rc == DBK_OK && dbk_bench_now_ns() - begun_ns < (int64_t)seconds * 1000000000) {
        rc = dbk_bench_shop_write(shop, err);
        if (rc == DBK_OK)
            rc = dbk_bench_stopped(err);
    }
    figures->beside_seconds = seconds_since(begun_ns);
    figures->beside_orders = shop->last - before;
    return rc;
}

static int write_beside(struct dbk_bench_shop *shop, const struct plan *plan,
                        struct figures *figures, struct dbk_error *err)
{
    struct crowd *crowd = dbk_alloc_zero(1, sizeof(*crowd));
    size_t started = 0;
    if (crowd == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    crowd->shop = shop;
    crowd->plan = plan;
    int rc = DBK_OK;
    for (; rc == DBK_OK && started < plan->readers; started += rc == DBK_OK) {
        struct member *member = &crowd->members[started];
        member->crowd = crowd;
        member->seed = started + 1;
        int code = pthread_create(&member->thread, NULL, read_on, member);
        rc = code != 0 ? dbk_error_set_errno(err, code, "starting a reader") : DBK_OK;
    }
    if (rc == DBK_OK)
        rc = write_for(shop, plan->seconds, figures, err);
    crowd->stop = true;
    for (size_t i = 0; i < started; i++) {
        struct member *member = &crowd->members[i];
        (void)pthread_join(member->thread, NULL);
        dbk_histogram_merge(&figures->beside_page_ns, &member->page_ns);
        if (rc == DBK_OK && member->rc < 0) {
            rc = member->rc;
            *err = member->err;
        }
    }
    figures->beside_reads = figures->beside_page_ns.count;
    dbk_free(crowd);
    return rc;
}

/* ---- One pattern ---- */

static int change(struct dbk_bench_shop *shop, struct figures *figures, struct dbk_error *err)
{
    int64_t begun_ns = dbk_bench_now_ns();
    int rc = dbk_bench_shop_change(shop, err);
    figures->change_seconds = seconds_since(begun_ns);
    figures->change_orders = shop->last;
    return rc;
}

static int measure_shop(struct dbk_bench_shop *shop, struct dbk_bench_reader *reader,
                        const struct plan *plan, uint64_t *step, struct figures *figures,
                        struct dbk_error *err)
{
    struct dbk_bench *bench = shop->bench;
    uint64_t steps = DBK_BENCH_PATTERNS * STEPS;
    int rc = dbk_bench_shop_write(shop, err);
    if (rc == DBK_OK)
        rc = await_last(reader, err);
    if (rc == DBK_OK)
        rc = write_alone(shop, plan->orders, figures, err);
    if (rc == DBK_OK)
        rc = await_last(reader, err);
    if (rc == DBK_OK)
        rc = dbk_bench_shop_bytes(shop, &figures->bytes, err);
    figures->bytes_orders = shop->last;
    if (rc == DBK_OK)
        rc = dbk_bench_step(bench, ++*step, steps, err);
    if (rc == DBK_OK)
        rc = write_paced(reader, plan, figures, err);
    if (rc == DBK_OK)
        rc = dbk_bench_step(bench, ++*step, steps, err);
    if (rc == DBK_OK)
        rc = read_alone(reader, plan, figures, err);
    if (rc == DBK_OK)
        rc = dbk_bench_step(bench, ++*step, steps, err);
    if (rc == DBK_OK && plan->readers > 0)
        rc = write_beside(shop, plan, figures, err);
    if (rc == DBK_OK)
        rc = await_last(reader, err);
    if (rc == DBK_OK)
        rc = dbk_bench_check_orders(reader, err);
    return rc == DBK_OK ? dbk_bench_step(bench, ++*step, steps, err) : rc;
}

static int measure_pattern(struct dbk_bench *bench, const struct dbk_bench_pattern *pattern,
                           const struct plan *plan, uint64_t *step, struct figures *figures,
                           struct dbk_error *err)
{
    struct dbk_bench_shop shop = {0};
    struct dbk_bench_reader reader = {0};
    int rc = dbk_bench_shop_open(&shop, bench, pattern, err);
    if (rc == DBK_OK)
        rc = dbk_bench_reader_open(&reader, &shop, err);
    if (rc == DBK_OK)
        rc = measure_shop(&shop, &reader, plan, step, figures, err);
    dbk_bench_reader_close(&reader);
    if (rc == DBK_OK)
        rc = change(&shop, figures, err);
    dbk_bench_shop_close(&shop);
    return rc == DBK_OK ? dbk_bench_step(bench, ++*step, DBK_BENCH_PATTERNS * STEPS, err) : rc;
}

/* ---- The report ---- */

static double per_second(uint64_t count, double seconds)
{
    return seconds > 0 ? (double)count / seconds : 0;
}

static void report_pattern(struct dbk_buf *report, const struct dbk_bench_pattern *pattern,
                           const struct figures *figures)
{
    dbk_bench_open_part(report, pattern->name);
    dbk_bench_text(report, "title", pattern->title);
    dbk_bench_text(report, "data", pattern->distribution);
    dbk_bench_text(report, "consistency", pattern->consistency);
    dbk_bench_number(report, "definition_lines", dbk_bench_shop_lines(pattern), 0);
    dbk_bench_number(report, "processes", pattern->processes, 0);
    dbk_bench_text(report, "can_go_wrong", pattern->failures);
    dbk_bench_text(report, "made_for", pattern->made_for);
    dbk_bench_number(report, "orders_per_second",
                     per_second(figures->write_ns.count, figures->write_seconds), 0);
    dbk_bench_latency(report, "write_us", &figures->write_ns);
    dbk_bench_latency(report, "page_us", &figures->page_ns);
    if (figures->summary_ns.count > 0)
        dbk_bench_latency(report, "summary_us", &figures->summary_ns);
    dbk_bench_latency(report, "stale_us", &figures->stale_ns);
    dbk_bench_number(report, "bytes_an_order",
                     (double)figures->bytes / (double)figures->bytes_orders, 0);
    if (figures->beside_reads > 0) {
        dbk_bench_open_part(report, "beside_readers");
        dbk_bench_number(report, "orders_per_second",
                         per_second(figures->beside_orders, figures->beside_seconds), 0);
        dbk_bench_number(report, "reads_per_second",
                         per_second(figures->beside_reads, figures->beside_seconds), 0);
        dbk_bench_latency(report, "page_us", &figures->beside_page_ns);
        dbk_bench_close_part(report);
    }
    dbk_bench_open_part(report, "new_field");
    dbk_bench_number(report, "lines", dbk_bench_shop_changed_lines(pattern), 0);
    dbk_bench_number(report, "orders", (double)figures->change_orders, 0);
    dbk_bench_number(report, "seconds", figures->change_seconds, 3);
    dbk_bench_close_part(report);
    dbk_bench_close_part(report);
}

static void report_settings(struct dbk_buf *report, const struct plan *plan)
{
    dbk_bench_open_part(report, "settings");
    dbk_bench_number(report, "orders", (double)plan->orders, 0);
    dbk_bench_number(report, "paced", (double)plan->paced, 0);
    dbk_bench_number(report, "rate", (double)plan->rate, 0);
    dbk_bench_number(report, "pages", (double)plan->pages, 0);
    dbk_bench_number(report, "readers", (double)plan->readers, 0);
    dbk_bench_number(report, "reads", (double)plan->reads, 0);
    dbk_bench_number(report, "seconds", (double)plan->seconds, 0);
    dbk_bench_close_part(report);
}

static int measure(struct dbk_bench *bench, void *context, struct dbk_buf *report,
                   struct dbk_error *err)
{
    static struct figures figures[DBK_BENCH_PATTERNS];
    static struct dbk_bench_raw raw;
    const struct plan *plan = context;
    uint64_t step = 0;
    int rc = dbk_bench_measure_raw(bench, 200, &raw, err);
    dbk_bench_begin_part(bench, "patterns", "steps");
    for (size_t i = 0; rc == DBK_OK && i < DBK_BENCH_PATTERNS; i++)
        rc = measure_pattern(bench, &dbk_bench_patterns[i], plan, &step, &figures[i], err);
    if (rc == DBK_OK)
        rc = dbk_bench_measure_raw(bench, 200, &raw, err);
    if (rc < 0)
        return rc;
    report_settings(report, plan);
    dbk_bench_open_part(report, "patterns");
    for (size_t i = 0; i < DBK_BENCH_PATTERNS; i++)
        report_pattern(report, &dbk_bench_patterns[i], &figures[i]);
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "raw");
    dbk_bench_number(report, "syncs_per_second", dbk_bench_raw_syncs(&raw), 0);
    dbk_bench_latency(report, "sync_us", &raw.sync_ns);
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "ratio");
    for (size_t i = 0; i < DBK_BENCH_PATTERNS; i++)
        dbk_bench_number(report, dbk_bench_patterns[i].name,
                         per_second(figures[i].write_ns.count, figures[i].write_seconds) /
                             dbk_bench_raw_syncs(&raw),
                         3);
    dbk_bench_close_part(report);
    return DBK_OK;
}

int dbk_run_bench_patterns(const struct dbk_arguments *arguments)
{
    struct plan plan = {0};
    const struct {
        struct dbk_bench_bounds bounds;
        uint64_t *value;
    } options[] = {{{"orders", 20000, 100, 10000000}, &plan.orders},
                   {{"paced", 500, 1, 1000000}, &plan.paced},
                   {{"rate", 100, 1, 100000}, &plan.rate},
                   {{"pages", 5000, 1, 10000000}, &plan.pages},
                   {{"readers", 64, 0, READERS_MAX}, &plan.readers},
                   {{"reads", 100, 1, 100000}, &plan.reads},
                   {{"seconds", 5, 1, 3600}, &plan.seconds}};
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (!dbk_bench_take(arguments, &options[i].bounds, options[i].value))
            return DBK_EXIT_USAGE;
    return dbk_bench_run(arguments, &(struct dbk_bench_work){.name = "patterns",
                                                             .measure = measure,
                                                             .show = dbk_bench_show_patterns,
                                                             .context = &plan});
}
