/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "fold/fold.h"

static const char fold[] = "return {\n"
                           "    initial = { count = 0, total = 0 },\n"
                           "    on = {\n"
                           "        Measured = function(state, data)\n"
                           "            state.count = state.count + 1\n"
                           "            state.total = state.total + data.amount\n"
                           "        end,\n"
                           "    },\n"
                           "}\n";

/* The same fold in C. */
struct total {
    uint64_t count;
    uint64_t total;
};

static int create(void *context, void **state_out, struct dbk_error *err)
{
    (void)context;
    *state_out = dbk_alloc_zero(1, sizeof(struct total));
    return *state_out != NULL ? DBK_OK
                              : dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

static void destroy(void *context, void *state)
{
    (void)context;
    dbk_free(state);
}

static int reset(void *context, void *state, struct dbk_error *err)
{
    (void)context;
    (void)err;
    *(struct total *)state = (struct total){0};
    return DBK_OK;
}

/* The number of a member that begins the data, as the bench wrote it. */
static uint64_t amount_of(struct dbk_slice data)
{
    static const char key[] = "\"amount\":";
    const char *at = data.size == 0 ? NULL : memmem(data.data, data.size, key, sizeof(key) - 1);
    uint64_t amount = 0;
    if (at == NULL)
        return 0;
    const char *end = data.data + data.size;
    for (at += sizeof(key) - 1; at < end && *at >= '0' && *at <= '9'; at++)
        amount = amount * 10 + (uint64_t)(*at - '0');
    return amount;
}

static int apply(void *context, void *state, const struct dbk_event *event, struct dbk_error *err)
{
    struct total *total = state;
    (void)context;
    (void)err;
    if (!dbk_slice_equal_text(event->type, "Measured"))
        return DBK_OK;
    total->count++;
    total->total += amount_of(event->data);
    return DBK_OK;
}

static int write_total(void *context, void *state, struct dbk_buf *out, struct dbk_error *err)
{
    const struct total *total = state;
    (void)context;
    (void)err;
    dbk_buf_append_format(out, "{\"count\":%ju,\"total\":%ju}", (uintmax_t)total->count,
                          (uintmax_t)total->total);
    return out->rc;
}

static int read_total(void *context, void *state, struct dbk_slice text, struct dbk_error *err)
{
    (void)text;
    return reset(context, state, err); /* there are no snapshots */
}

struct work {
    struct dbk_bench_fill fill;
    bool in_c;
};

struct figures {
    uint64_t events;
    double seconds;
    struct dbk_histogram state_ns; /* of a stream's state */
};

/* The state of every stream, one after the other. */
static int fold_streams(struct dbk_bench *bench, struct dbk_folds *folds,
                        const struct dbk_bench_fill *fill, struct figures *figures,
                        struct dbk_error *err)
{
    struct dbk_buf state;
    int rc = DBK_OK;
    dbk_buf_init(&state, (size_t)1 << 20);
    dbk_bench_begin_part(bench, "fold", "streams");
    int64_t started = dbk_bench_now_ns();
    int64_t before = started;
    for (uint64_t i = 0; rc == DBK_OK && i < fill->streams; i++) {
        struct dbk_fold_result result = {0};
        char name[32];
        size_t size = dbk_bench_stream_name(i, fill->streams, name);
        dbk_buf_reset(&state);
        rc = dbk_fold_state(folds, dbk_slice(name, size), &(struct dbk_fold_at){0}, &state, &result,
                            err);
        int64_t now = dbk_bench_now_ns();
        dbk_histogram_add(&figures->state_ns, (uint64_t)(now - before));
        before = now;
        figures->events += result.replayed;
        if (rc == DBK_OK)
            rc = dbk_bench_step(bench, i, fill->streams, err);
    }
    figures->seconds = (double)(before - started) / 1e9;
    dbk_progress_clear(&bench->progress);
    dbk_buf_release(&state);
    return rc;
}

static int fold_all(struct dbk_bench *bench, const struct work *work, struct figures *figures,
                    struct dbk_error *err)
{
    const struct dbk_bench_fill *fill = &work->fill;
    struct dbk_store *store = NULL;
    struct dbk_folds *folds = NULL;
    uint64_t events = 0;
    int rc = dbk_bench_open_filled(bench, fill, &store, err);
    /* Brings the files into memory. */
    if (rc == DBK_OK)
        rc = dbk_bench_read_all(bench, store, &events, err);
    if (rc == DBK_OK)
        rc = dbk_folds_open(store, bench->os, NULL, false, &folds, err);
    if (rc == DBK_OK)
        rc = work->in_c ? dbk_folds_add_functions(
                              folds, DBK_SLICE_LITERAL("bench"), DBK_SLICE_LITERAL("1"), 0,
                              &(struct dbk_fold_functions){NULL, create, destroy, reset, apply,
                                                           NULL, write_total, read_total},
                              err)
                        : dbk_folds_add(folds, DBK_SLICE_LITERAL("bench"), "bench.lua",
                                        DBK_SLICE_LITERAL(fold), err);
    if (rc == DBK_OK)
        rc = fold_streams(bench, folds, fill, figures, err);
    dbk_folds_free(folds);
    dbk_store_free(store);
    return rc;
}

static int measure(struct dbk_bench *bench, void *context, struct dbk_buf *report,
                   struct dbk_error *err)
{
    static struct figures figures;
    const struct work *work = context;
    int rc = fold_all(bench, work, &figures, err);
    if (rc < 0)
        return rc;
    dbk_bench_settings(report, &work->fill);
    dbk_bench_number(report, "events", (double)figures.events, 0);
    dbk_bench_number(report, "seconds", figures.seconds, 3);
    dbk_bench_latency(report, "latency_us", &figures.state_ns);
    dbk_bench_open_part(report, "rate");
    dbk_bench_number(report, work->in_c ? "c_events_per_second" : "lua_events_per_second",
                     (double)figures.events / figures.seconds, 0);
    dbk_bench_close_part(report);
    return DBK_OK;
}

int dbk_run_bench_state(const struct dbk_arguments *arguments)
{
    const char *fold_in = dbk_arguments_text(arguments, "fold");
    struct work work = {.fill = {.events = 500000, .streams = 500, .size = 200},
                        .in_c = fold_in != NULL && strcmp(fold_in, "c") == 0};
    if (!dbk_bench_take_fill(arguments, &work.fill))
        return DBK_EXIT_USAGE;
    return dbk_bench_run(arguments,
                         &(struct dbk_bench_work){
                             .name = "state", .measure = measure, .context = &work, .store = true});
}
