/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "proof/proof.h"

#define WRITERS_MAX 1024
#define SECONDS 5
/* The work is done in so many parts; the raw limits are measured before, between and after them. */
#define PARTS 5
#define NS_PER_S INT64_C(1000000000)
/* A group's frame in the log, about. */
#define GROUP_HEAD_SIZE 64
/* Proofs that are timed, with --tree. */
#define PROOFS 1000
/* From so many events on, an append is held against the sequential limit, too. */
#define BATCH_LARGE 100

struct plan {
    struct dbk_bench *bench;
    struct dbk_store *store;
    uint64_t writers;
    uint64_t batch;
    uint64_t size;
    uint64_t streams;
    uint64_t filled; /* events that are there before */
    uint64_t
        guarded; /* every other part's appends are guarded, `after` so many events back; 0: no */
    bool tree;   /* every other part's are followed by the Merkle tree */
    bool other;  /* the part under way is such a one */
    struct dbk_proof *proof;
    uint64_t events; /* 0: until the time is over */
    uint64_t seconds;
    int64_t end_ns;             /* of the part under way */
    uint64_t events_end;        /* the same in events; UINT64_MAX: until then */
    atomic_uint_fast64_t taken; /* appends begun */
    atomic_uint_fast64_t done;
    atomic_bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    uint64_t running; /* writers; under the mutex */
};

struct writer {
    struct plan *plan;
    pthread_t thread;
    bool running;
    struct dbk_histogram latency_ns;
    uint64_t appends;
    struct dbk_error error;
};

struct work {
    struct dbk_histogram latency_ns;
    uint64_t appends;
    double seconds;        /* until the index had caught up */
    double settle_seconds; /* of them, after the last append */
};

struct figures {
    struct work plain;
    struct work other; /* guarded, or with the tree */
    struct dbk_histogram proof_ns;
    double build_seconds; /* of the tree over all events, from nothing */
    uint64_t built;
    struct dbk_bench_raw raw;
};

/* One writer's batch: data is made once, streams change with each append. */
struct load {
    struct dbk_new_event *events;
    char (*streams)[32];
    char tag[32]; /* with --guarded each append has one of its own */
    struct dbk_slice tags;
    struct dbk_buf data;
};

static void release_load(struct load *load)
{
    dbk_free(load->events);
    dbk_free(load->streams);
    dbk_buf_release(&load->data);
}

static int make_load(const struct plan *plan, struct load *load, struct dbk_error *err)
{
    *load = (struct load){.events = dbk_alloc_zero(plan->batch, sizeof(*load->events)),
                          .streams = dbk_alloc_zero(plan->batch, sizeof(*load->streams))};
    dbk_buf_init(&load->data, (size_t)1 << 30);
    dbk_bench_event(&load->data, 1, 2, plan->size);
    if (load->events == NULL || load->streams == NULL || load->data.rc < 0)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    for (size_t i = 0; i < plan->batch; i++)
        load->events[i] = (struct dbk_new_event){.type = DBK_SLICE_LITERAL("Measured"),
                                                 .data = dbk_buf_slice(&load->data),
                                                 .occurred_us = DBK_TIME_NONE,
                                                 .flags = DBK_RECORD_JSON};
    return DBK_OK;
}

static void name_streams(const struct plan *plan, struct load *load, uint64_t number)
{
    for (size_t i = 0; i < plan->batch; i++) {
        size_t size =
            dbk_bench_stream_name(number * plan->batch + i, plan->streams, load->streams[i]);
        load->events[i].stream = dbk_slice(load->streams[i], size);
    }
    if (plan->guarded > 0) {
        int size = snprintf(load->tag, sizeof(load->tag), "seat:%ju", (uintmax_t)number);
        load->tags = dbk_slice(load->tag, (size_t)size);
    }
}

/* The events' own tag must be new, as far as the caller has not seen. */
static struct dbk_condition guard(struct plan *plan, const struct dbk_query_item *item)
{
    uint64_t last = dbk_store_last_position(plan->store);
    if (plan->guarded == 0 || !plan->other)
        return (struct dbk_condition){0};
    return (struct dbk_condition){.none = {item, 1},
                                  .after = last > plan->guarded ? last - plan->guarded : 0};
}

/* The next append's number; false when the run is over. */
static bool take_turn(struct plan *plan, uint64_t *number_out)
{
    uint64_t number = atomic_fetch_add_explicit(&plan->taken, 1, memory_order_relaxed);
    *number_out = number;
    return !atomic_load_explicit(&plan->stop, memory_order_relaxed) &&
           number * plan->batch < plan->events_end;
}

static void append_in_turn(struct writer *writer, struct load *load)
{
    struct plan *plan = writer->plan;
    const struct dbk_query_item item = {.tags = &load->tags, .tag_count = 1};
    uint64_t number = 0;
    for (size_t i = 0; plan->guarded > 0 && i < plan->batch; i++) {
        load->events[i].tags = &load->tags;
        load->events[i].tag_count = 1;
    }
    while (take_turn(plan, &number)) {
        struct dbk_append_result result = {0};
        name_streams(plan, load, number);
        int64_t started = dbk_bench_now_ns();
        struct dbk_batch batch = {
            .events = load->events, .count = plan->batch, .condition = guard(plan, &item)};
        int rc = dbk_store_append(plan->store, &batch, &result, &writer->error);
        int64_t now = dbk_bench_now_ns();
        if (rc < 0)
            break;
        dbk_histogram_add(&writer->latency_ns, (uint64_t)(now - started));
        writer->appends++;
        atomic_fetch_add_explicit(&plan->done, 1, memory_order_relaxed);
        if (plan->events == 0 && now >= plan->end_ns)
            break;
    }
}

static void *run(void *context)
{
    struct writer *writer = context;
    struct plan *plan = writer->plan;
    struct load load;
    if (make_load(plan, &load, &writer->error) == DBK_OK)
        append_in_turn(writer, &load);
    if (writer->error.code != DBK_OK)
        atomic_store(&plan->stop, true);
    release_load(&load);
    (void)pthread_mutex_lock(&plan->mutex);
    plan->running--;
    (void)pthread_cond_signal(&plan->ended);
    (void)pthread_mutex_unlock(&plan->mutex);
    return NULL;
}

/* Shows how far they are until the last one has ended. */
static int watch(struct plan *plan, struct dbk_error *err)
{
    int rc = DBK_OK;
    (void)pthread_mutex_lock(&plan->mutex);
    while (plan->running > 0) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 100000000;
        until.tv_sec += until.tv_nsec / NS_PER_S;
        until.tv_nsec %= NS_PER_S;
        (void)pthread_cond_timedwait(&plan->ended, &plan->mutex, &until);
        if (rc == DBK_OK)
            rc = dbk_bench_step(plan->bench, atomic_load(&plan->done) * plan->batch, plan->events,
                                err);
        if (rc < 0)
            atomic_store(&plan->stop, true);
    }
    (void)pthread_mutex_unlock(&plan->mutex);
    dbk_progress_clear(&plan->bench->progress);
    return rc;
}

static int run_writers(struct plan *plan, struct writer *writers, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (uint64_t i = 0; rc == DBK_OK && i < plan->writers; i++) {
        writers[i].plan = plan;
        (void)pthread_mutex_lock(&plan->mutex);
        int failed = pthread_create(&writers[i].thread, NULL, run, &writers[i]);
        writers[i].running = failed == 0;
        plan->running += failed == 0 ? 1 : 0;
        (void)pthread_mutex_unlock(&plan->mutex);
        if (failed != 0) {
            atomic_store(&plan->stop, true);
            rc = dbk_error_set_errno(err, failed, "writer %ju", (uintmax_t)i + 1);
        }
    }
    int watched = watch(plan, rc == DBK_OK ? err : NULL);
    if (rc == DBK_OK)
        rc = watched;
    for (uint64_t i = 0; i < plan->writers; i++) {
        if (!writers[i].running)
            continue;
        (void)pthread_join(writers[i].thread, NULL);
        if (rc == DBK_OK && writers[i].error.code != DBK_OK) {
            *err = writers[i].error;
            rc = err->code;
        }
    }
    return rc;
}

static int open_proof(struct plan *plan, struct dbk_error *err)
{
    char folder[DBK_BENCH_PATH_SIZE];
    dbk_bench_path(plan->bench, "data", folder);
    return dbk_proof_open(&(struct dbk_proof_options){.os = plan->bench->os,
                                                      .store = plan->store,
                                                      .folder = folder,
                                                      .name = "bench",
                                                      .writer = true},
                          &plan->proof, err);
}

static void close_proof(struct plan *plan)
{
    dbk_proof_free(plan->proof);
    plan->proof = NULL;
}

/* The tree follows from here on; what came before is in it already. */
static int follow(struct plan *plan, struct dbk_error *err)
{
    int rc = plan->tree && plan->other ? open_proof(plan, err) : DBK_OK;
    return rc == DBK_OK && plan->proof != NULL ? dbk_proof_settle(plan->proof, err) : rc;
}

/* The clock stops when the index, and the tree, have caught up. */
static int append_part(struct plan *plan, uint64_t part, uint64_t parts, struct writer *writers,
                       struct work *work, struct dbk_error *err)
{
    int64_t started = dbk_bench_now_ns();
    plan->end_ns = started + (int64_t)plan->seconds * NS_PER_S / (int64_t)parts;
    plan->events_end = plan->events > 0
                           ? plan->events / plan->batch * (part + 1) / parts * plan->batch
                           : UINT64_MAX;
    memset(writers, 0, (size_t)plan->writers * sizeof(*writers));
    /* Numbers that were taken in vain at the end of the part before. */
    atomic_store(&plan->taken, atomic_load(&plan->done));
    dbk_bench_begin_part(plan->bench, "append", "events");
    int rc = run_writers(plan, writers, err);
    int64_t appended = dbk_bench_now_ns();
    if (rc == DBK_OK)
        rc = dbk_store_settle(plan->store, err);
    if (rc == DBK_OK && plan->proof != NULL)
        rc = dbk_proof_settle(plan->proof, err);
    int64_t settled = dbk_bench_now_ns();
    work->seconds += (double)(settled - started) / 1e9;
    work->settle_seconds += (double)(settled - appended) / 1e9;
    for (uint64_t i = 0; i < plan->writers; i++) {
        dbk_histogram_merge(&work->latency_ns, &writers[i].latency_ns);
        work->appends += writers[i].appends;
    }
    return rc;
}

static int append_and_compare(struct plan *plan, struct figures *figures, struct dbk_error *err)
{
    /* What one append writes: a record has a head of 80 bytes, stream and type. */
    size_t size = GROUP_HEAD_SIZE + plan->batch * (DBK_RECORD_HEADER_SIZE + 20 + plan->size);
    struct writer *writers = dbk_alloc_zero((size_t)plan->writers, sizeof(*writers));
    if (writers == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    bool both = plan->guarded > 0 || plan->tree;
    uint64_t parts = both ? 2 * PARTS : PARTS;
    int rc = dbk_bench_measure_raw(plan->bench, size, &figures->raw, err);
    for (uint64_t part = 0; rc == DBK_OK && part < parts; part++) {
        plan->other = both && part % 2 == 1;
        rc = follow(plan, err);
        if (rc == DBK_OK)
            rc = append_part(plan, part, parts, writers,
                             plan->other ? &figures->other : &figures->plain, err);
        close_proof(plan);
        if (rc == DBK_OK)
            rc = dbk_bench_measure_raw(plan->bench, size, &figures->raw, err);
    }
    dbk_free(writers);
    return rc;
}

/* Proofs of events from all over the book, and the tree made again from the log. */
static int prove(struct plan *plan, struct figures *figures, struct dbk_error *err)
{
    static const char *const files[] = {"data/proof/tiles-0", "data/proof/tiles-1",
                                        "data/proof/tiles-2", "data/proof/checkpoints"};
    uint64_t state = 1;
    uint64_t last = dbk_store_last_position(plan->store);
    int rc = open_proof(plan, err);
    if (rc == DBK_OK)
        rc = dbk_proof_settle(plan->proof, err);
    for (unsigned i = 0; rc == DBK_OK && i < PROOFS; i++) {
        struct dbk_proof_inclusion inclusion;
        uint64_t position = 1 + dbk_bench_random(&state) % last;
        dbk_proof_inclusion_init(&inclusion);
        int64_t started = dbk_bench_now_ns();
        rc = dbk_proof_inclusion(plan->proof, position, 0, &inclusion, err);
        dbk_histogram_add(&figures->proof_ns, (uint64_t)(dbk_bench_now_ns() - started));
        dbk_proof_inclusion_release(&inclusion);
    }
    close_proof(plan);
    for (size_t i = 0; rc == DBK_OK && i < sizeof(files) / sizeof(files[0]); i++) {
        char path[DBK_BENCH_PATH_SIZE];
        dbk_bench_path(plan->bench, files[i], path);
        dbk_ignore(plan->bench->os->remove(plan->bench->os, path, NULL));
    }
    int64_t started = dbk_bench_now_ns();
    if (rc == DBK_OK)
        rc = open_proof(plan, err);
    if (rc == DBK_OK)
        rc = dbk_proof_settle(plan->proof, err);
    figures->build_seconds = (double)(dbk_bench_now_ns() - started) / 1e9;
    figures->built = last;
    close_proof(plan);
    return rc;
}

static void report_tree(struct dbk_buf *report, const struct plan *plan,
                        const struct figures *figures)
{
    double appends = (double)figures->other.appends / figures->other.seconds;
    dbk_bench_open_part(report, "tree");
    dbk_bench_number(report, "appends_per_second", appends, 0);
    dbk_bench_number(report, "events_per_second", appends * (double)plan->batch, 0);
    dbk_bench_number(report, "settle_seconds", figures->other.settle_seconds, 3);
    dbk_bench_latency(report, "latency_us", &figures->other.latency_ns);
    dbk_bench_number(report, "events", (double)figures->built, 0);
    dbk_bench_number(report, "build_seconds", figures->build_seconds, 3);
    dbk_bench_latency(report, "proof_us", &figures->proof_ns);
    dbk_bench_close_part(report);
}

static void report_append(struct dbk_buf *report, const struct plan *plan,
                          const struct figures *figures)
{
    const struct dbk_bench_raw *raw = &figures->raw;
    const struct work *plain = &figures->plain;
    const struct work *other = &figures->other;
    double appends = (double)plain->appends / plain->seconds;
    double other_appends =
        plan->guarded > 0 || plan->tree ? (double)other->appends / other->seconds : 0;
    double bytes = appends * (double)raw->size;
    double raw_syncs = dbk_bench_raw_syncs(raw);
    double raw_bytes = dbk_bench_raw_sequential(raw);
    dbk_bench_open_part(report, "settings");
    dbk_bench_number(report, "writers", (double)plan->writers, 0);
    dbk_bench_number(report, "batch", (double)plan->batch, 0);
    dbk_bench_number(report, "size", (double)plan->size, 0);
    dbk_bench_number(report, "streams", (double)plan->streams, 0);
    dbk_bench_number(report, "fill", (double)plan->filled, 0);
    if (plan->guarded > 0)
        dbk_bench_number(report, "guarded", (double)plan->guarded, 0);
    dbk_bench_close_part(report);
    dbk_bench_number(report, "events", (double)plain->appends * (double)plan->batch, 0);
    dbk_bench_number(report, "seconds", plain->seconds, 3);
    dbk_bench_number(report, "settle_seconds", plain->settle_seconds, 3);
    dbk_bench_number(report, "events_per_second", appends * (double)plan->batch, 0);
    dbk_bench_number(report, "appends_per_second", appends, 0);
    dbk_bench_number(report, "log_bytes_per_second", bytes, 0);
    dbk_bench_latency(report, "latency_us", &plain->latency_ns);
    if (plan->guarded > 0) {
        dbk_bench_number(report, "guarded_appends_per_second", other_appends, 0);
        dbk_bench_latency(report, "guarded_latency_us", &other->latency_ns);
    }
    if (plan->tree)
        report_tree(report, plan, figures);
    dbk_bench_open_part(report, "raw");
    dbk_bench_number(report, "sync_bytes", (double)raw->size, 0);
    dbk_bench_number(report, "syncs_per_second", raw_syncs, 0);
    dbk_bench_latency(report, "sync_us", &raw->sync_ns);
    dbk_bench_number(report, "sequential_bytes_per_second", raw_bytes, 0);
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "ratio");
    dbk_bench_number(report, "sync", appends / raw_syncs, 3);
    if (plan->batch >= BATCH_LARGE)
        dbk_bench_number(report, "sequential", bytes / raw_bytes, 3);
    if (plan->guarded > 0)
        dbk_bench_number(report, "guarded", other_appends / appends, 3);
    if (plan->tree)
        dbk_bench_number(report, "tree", other_appends / appends, 3);
    dbk_bench_close_part(report);
}

static int measure(struct dbk_bench *bench, void *context, struct dbk_buf *report,
                   struct dbk_error *err)
{
    static struct figures figures;
    struct plan *plan = context;
    struct dbk_bench_fill fill = {
        .events = plan->filled, .streams = plan->streams, .size = plan->size};
    plan->bench = bench;
    int rc = dbk_bench_open_store(bench, &plan->store, err);
    if (rc == DBK_OK && plan->filled > 0)
        rc = dbk_bench_fill_store(bench, plan->store, &fill, err);
    if (rc == DBK_OK)
        rc = append_and_compare(plan, &figures, err);
    if (rc == DBK_OK && plan->tree)
        rc = prove(plan, &figures, err);
    dbk_store_free(plan->store);
    if (rc == DBK_OK)
        report_append(report, plan, &figures);
    return rc;
}

int dbk_run_bench_append(const struct dbk_arguments *arguments)
{
    struct plan plan = {.mutex = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};
    const struct {
        struct dbk_bench_bounds bounds;
        uint64_t *value;
    } options[] = {{{"writers", 1, 1, WRITERS_MAX}, &plan.writers},
                   {{"batch", 1, 1, 10000}, &plan.batch},
                   {{"size", 200, 50, 1000000}, &plan.size},
                   {{"streams", 1000, 1, 1000000000}, &plan.streams},
                   {{"guarded", 0, 0, 1000000000}, &plan.guarded},
                   {{"fill", 0, 0, 1000000000}, &plan.filled},
                   {{"events", 0, 0, 1000000000}, &plan.events},
                   {{"seconds", SECONDS, 1, 86400}, &plan.seconds}};
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (!dbk_bench_take(arguments, &options[i].bounds, options[i].value))
            return DBK_EXIT_USAGE;
    if (dbk_arguments_has(arguments, "events") && dbk_arguments_has(arguments, "seconds"))
        return dbk_fail_usage(arguments, "give --events or --seconds, not both");
    plan.tree = dbk_arguments_has(arguments, "tree");
    if (plan.tree && plan.guarded > 0)
        return dbk_fail_usage(arguments, "give --guarded or --tree, not both");
    if (plan.events % plan.batch != 0)
        return dbk_fail_usage(arguments, "--events is a multiple of --batch, which is %ju",
                              (uintmax_t)plan.batch);
    return dbk_bench_run(arguments, &(struct dbk_bench_work){
                                        .name = "append", .measure = measure, .context = &plan});
}
