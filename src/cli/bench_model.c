/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cli/bench_posting.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "model/model.h"

#define LIVE_EVENTS 500
#define WAIT_US INT64_C(600000000)
/* The model and the statements by hand take turns, so that both meet the same machine. */
#define PARTS 10

static const char schema[] =
    "CREATE TABLE counts (id TEXT PRIMARY KEY, n INTEGER NOT NULL, total INTEGER NOT NULL);\n";
static const char handler[] =
    "INSERT INTO counts (id, n, total) VALUES (:id, 1, :amount)\n"
    "ON CONFLICT (id) DO UPDATE SET n = n + 1, total = total + :amount;\n";
static const char by_hand[] = "INSERT INTO counts (id, n, total) VALUES (?1, 1, ?2) "
                              "ON CONFLICT (id) DO UPDATE SET n = n + 1, total = total + ?2";

struct figures {
    uint64_t batches;
    double seconds;
    double hand_seconds;
    struct dbk_histogram visible_ns; /* from an append's answer until the model has it */
};

static int define(struct dbk_bench *bench, char path[DBK_BENCH_PATH_SIZE],
                  struct dbk_models *models, struct dbk_error *err)
{
    const struct dbk_slice categories[] = {DBK_SLICE_LITERAL("bench")};
    const struct dbk_handler handlers[] = {{.file = "Measured.sql",
                                            .line = 1,
                                            .type = DBK_SLICE_LITERAL("Measured"),
                                            .sql = DBK_SLICE_LITERAL(handler)}};
    dbk_bench_path(bench, "model.db", path);
    return dbk_models_add(models,
                          &(struct dbk_model_definition){.name = "counts",
                                                         .database = "bench",
                                                         .database_path = path,
                                                         .sync = DBK_SYNC_EVENTS,
                                                         .categories = categories,
                                                         .category_count = 1,
                                                         .schema_file = "schema.sql",
                                                         .schema = DBK_SLICE_LITERAL(schema),
                                                         .handlers = handlers,
                                                         .handler_count = 1},
                          true, err);
}

/* Appends one event after the other, and measures how long the model takes beyond the append. */
static int follow_live(struct dbk_store *store, struct dbk_models *models,
                       const struct dbk_bench_fill *fill, struct figures *figures,
                       struct dbk_error *err)
{
    struct dbk_buf data;
    int rc = DBK_OK;
    dbk_buf_init(&data, 1 << 20);
    dbk_bench_event(&data, 1, 1, fill->size);
    struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL("bench-1"),
                                  .type = DBK_SLICE_LITERAL("Measured"),
                                  .data = dbk_buf_slice(&data),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    for (int i = 0; rc == DBK_OK && i < LIVE_EVENTS; i++) {
        struct dbk_append_result result = {0};
        rc = dbk_store_append(store, &(struct dbk_batch){.events = &event, .count = 1}, &result,
                              err);
        int64_t started = dbk_bench_now_ns();
        if (rc == DBK_OK)
            rc = dbk_models_wait(models, "counts", result.last_position, WAIT_US, err);
        dbk_histogram_add(&figures->visible_ns, (uint64_t)(dbk_bench_now_ns() - started));
        if (rc == DBK_OK)
            rc = dbk_bench_stopped(err);
    }
    dbk_buf_release(&data);
    return rc;
}

/* Opens the model and has it post what was appended since; `live`: and follow. */
static int post(struct dbk_bench *bench, struct dbk_store *store, const struct dbk_bench_fill *fill,
                bool live, struct figures *figures, struct dbk_error *err)
{
    char path[DBK_BENCH_PATH_SIZE];
    struct dbk_models *models = NULL;
    struct dbk_model_status status;
    int rc = dbk_models_open(store, &models, err);
    if (rc == DBK_OK)
        rc = define(bench, path, models, err);
    int64_t started = dbk_bench_now_ns();
    if (rc == DBK_OK)
        rc = dbk_models_start(models, err);
    if (rc == DBK_OK)
        rc = dbk_models_wait(models, "counts", dbk_store_last_position(store), WAIT_US, err);
    figures->seconds += (double)(dbk_bench_now_ns() - started) / 1e9;
    if (rc == DBK_OK)
        rc = dbk_models_status(models, 0, &status, err);
    if (rc == DBK_OK)
        figures->batches += status.batches;
    if (rc == DBK_OK && live)
        rc = follow_live(store, models, fill, figures, err);
    dbk_models_free(models);
    return rc;
}

static int run_statements(struct dbk_connection *connection, struct dbk_statement *statement,
                          const struct dbk_bench_fill *fill, uint64_t batch_count,
                          struct dbk_error *err)
{
    int rc = DBK_OK;
    for (uint64_t i = 0; rc == DBK_OK && i < fill->events; i++) {
        char id[24];
        if (i % batch_count == 0)
            rc = dbk_connection_run(connection, i == 0 ? "BEGIN" : "COMMIT; BEGIN", err);
        if (rc < 0)
            break;
        uint64_t number = fill->first + i;
        int size = snprintf(id, sizeof(id), "%ju",
                            (uintmax_t)(number * UINT64_C(2654435761) % fill->streams));
        struct dbk_value values[] = {
            {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice(id, (size_t)size)},
            {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)(i % 1000 % 100)}};
        dbk_statement_bind(statement, 1, &values[0]);
        dbk_statement_bind(statement, 2, &values[1]);
        rc = dbk_statement_step(statement, err);
        dbk_statement_reset(statement);
        if (rc == DBK_OK && i % batch_count == 0)
            rc = dbk_bench_stopped(err);
    }
    return rc == DBK_OK ? dbk_connection_run(connection, "COMMIT", err) : rc;
}

/* The same rows by one prepared statement, in so many transactions. */
static int run_by_hand(struct dbk_bench *bench, const struct dbk_bench_fill *fill, uint64_t batches,
                       struct figures *figures, struct dbk_error *err)
{
    char path[DBK_BENCH_PATH_SIZE];
    struct dbk_connection *connection = NULL;
    struct dbk_statement *statement = NULL;
    uint64_t batch_count = (fill->events + batches - 1) / batches;
    dbk_bench_path(bench, "hand.db", path);
    int rc = dbk_connection_open(path, 0, &connection, err);
    if (rc == DBK_OK && fill->first == 0)
        rc = dbk_connection_run(connection, schema, err);
    int64_t started = dbk_bench_now_ns();
    if (rc == DBK_OK)
        rc = dbk_statement_open(connection, DBK_SLICE_LITERAL(by_hand), &statement, NULL, err);
    if (rc == DBK_OK)
        rc = run_statements(connection, statement, fill, batch_count, err);
    figures->hand_seconds += (double)(dbk_bench_now_ns() - started) / 1e9;
    dbk_statement_free(statement);
    dbk_connection_free(connection);
    return rc;
}

static int post_both(struct dbk_bench *bench, const struct dbk_bench_fill *fill,
                     struct figures *figures, struct dbk_error *err)
{
    struct dbk_store *store = NULL;
    int rc = dbk_bench_open_store(bench, &store, err);
    for (uint64_t part = 0; rc == DBK_OK && part < PARTS; part++) {
        struct dbk_bench_fill one = *fill;
        uint64_t before = figures->batches;
        one.first = fill->events * part / PARTS;
        one.events = fill->events * (part + 1) / PARTS - one.first;
        rc = dbk_bench_fill_store(bench, store, &one, err);
        if (rc == DBK_OK)
            rc = post(bench, store, &one, part == PARTS - 1, figures, err);
        if (rc == DBK_OK && one.events > 0)
            rc = run_by_hand(bench, &one, figures->batches > before ? figures->batches - before : 1,
                             figures, err);
    }
    dbk_store_free(store);
    return rc;
}

/* ---- In servers ---- */

struct plan {
    struct dbk_bench_fill fill;
    uint64_t server_events;
    uint64_t hand_updates;
    struct dbk_bench_servers servers;
    struct dbk_bench_posting postings[DBK_BENCH_KINDS][DBK_BENCH_TASKS];
};

static int post_in_servers(struct plan *plan, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (int kind = DBK_BENCH_POSTGRES; kind < DBK_BENCH_KINDS; kind++) {
        for (int task = 0; rc == DBK_OK && task < DBK_BENCH_TASKS; task++) {
            struct dbk_bench_posting *posting = &plan->postings[kind][task];
            *posting = (struct dbk_bench_posting){.servers = &plan->servers,
                                                  .kind = (enum dbk_bench_kind)kind,
                                                  .task = (enum dbk_bench_task)task,
                                                  .events = plan->server_events,
                                                  .size = plan->fill.size,
                                                  .hand_updates = plan->hand_updates};
            if (plan->servers.where[kind] != NULL)
                rc = dbk_bench_post(posting, err);
        }
    }
    return rc;
}

static void name_posting(const struct dbk_bench_posting *posting, char name_out[64])
{
    (void)snprintf(name_out, 64, "%s_%s", dbk_bench_kind_option(posting->kind),
                   dbk_bench_task_text(posting->task));
}

static double rate_of(uint64_t events, double seconds)
{
    return seconds > 0 ? (double)events / seconds : 0;
}

static void report_postings(struct dbk_buf *report, const struct plan *plan, bool ratios)
{
    for (int i = 0; i < DBK_BENCH_KINDS * DBK_BENCH_TASKS; i++) {
        const struct dbk_bench_posting *posting =
            &plan->postings[i / DBK_BENCH_TASKS][i % DBK_BENCH_TASKS];
        char name[64];
        if (posting->counted == 0)
            continue;
        name_posting(posting, name);
        if (ratios) {
            dbk_bench_number(report, name, posting->hand_seconds / posting->seconds, 3);
            continue;
        }
        dbk_bench_open_part(report, name);
        dbk_bench_number(report, "events", (double)posting->counted, 0);
        dbk_bench_number(report, "batches", (double)posting->batches, 0);
        dbk_bench_number(report, "events_per_second", rate_of(posting->counted, posting->seconds),
                         0);
        dbk_bench_number(report, "by_hand_per_second",
                         rate_of(posting->counted, posting->hand_seconds), 0);
        dbk_bench_close_part(report);
    }
}

static int measure(struct dbk_bench *bench, void *context, struct dbk_buf *report,
                   struct dbk_error *err)
{
    static struct figures figures;
    static struct dbk_bench_raw raw;
    struct plan *plan = context;
    const struct dbk_bench_fill *fill = &plan->fill;
    plan->servers.bench = bench;
    int rc = dbk_bench_servers_check(&plan->servers, err);
    if (rc == DBK_OK)
        rc = dbk_bench_measure_raw(bench, (size_t)fill->size, &raw, err);
    if (rc == DBK_OK)
        rc = post_both(bench, fill, &figures, err);
    if (rc == DBK_OK)
        rc = post_in_servers(plan, err);
    if (rc < 0)
        return rc;
    double rate = (double)fill->events / figures.seconds;
    double hand = (double)fill->events / figures.hand_seconds;
    dbk_bench_settings(report, fill);
    dbk_bench_number(report, "batches", (double)figures.batches, 0);
    dbk_bench_number(report, "seconds", figures.seconds, 3);
    dbk_bench_number(report, "events_per_second", rate, 0);
    dbk_bench_latency(report, "visible_us", &figures.visible_ns);
    report_postings(report, plan, false);
    dbk_bench_open_part(report, "raw");
    dbk_bench_number(report, "by_hand_per_second", hand, 0);
    dbk_bench_latency(report, "sync_us", &raw.sync_ns);
    dbk_bench_close_part(report);
    dbk_bench_open_part(report, "ratio");
    dbk_bench_number(report, "by_hand", rate / hand, 3);
    report_postings(report, plan, true);
    dbk_bench_close_part(report);
    return DBK_OK;
}

int dbk_run_bench_model(const struct dbk_arguments *arguments)
{
    static struct plan plan;
    plan.fill = (struct dbk_bench_fill){.events = 200000, .streams = 20000, .size = 200};
    if (!dbk_bench_take_fill(arguments, &plan.fill) ||
        !dbk_bench_take(arguments,
                        &(struct dbk_bench_bounds){"server-events", 20000, 10, 100000000},
                        &plan.server_events) ||
        !dbk_bench_take(arguments, &(struct dbk_bench_bounds){"hand-updates", 1000, 1, 100000},
                        &plan.hand_updates))
        return DBK_EXIT_USAGE;
    dbk_bench_servers_take(&plan.servers, DBK_BENCH_NEO4J, arguments);
    return dbk_bench_run(
        arguments, &(struct dbk_bench_work){.name = "model", .measure = measure, .context = &plan});
}
