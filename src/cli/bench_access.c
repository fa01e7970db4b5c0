/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What API keys cost: two books are served in this process, one that asks for none and one that
 * does, and are asked in turns over one connection each. A request with the least to do shows what
 * finding a key costs, a read what it costs to look whether each event is for the key.
 */
#include <inttypes.h>
#include <stdio.h>

#include "access/access.h"
#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/http_reply.h"
#include "cli/wire.h"
#include "server/server.h"

#define ROUNDS 20
#define EVENTS 20000
#define HEAD_SIZE 512
#define ANSWER_SIZE ((size_t)64 << 10)
/* All that a key can have; the last one is that which counts. */
#define SCOPES 64

struct plan {
    uint64_t requests; /* of each kind */
    uint64_t keys;
};

struct side {
    struct dbk_engine *engine;
    struct dbk_server *server;
    struct dbk_wire *wire;
    struct dbk_buf body; /* of the last answer */
};

enum kind { NO_KEY, ONE_SCOPE, MANY_SCOPES, KIND_COUNT };

struct asker {
    struct side *side;
    char key[128];
    struct dbk_histogram empty_ns;
    double read_s;
};

static int take_body(void *context, struct dbk_slice bytes)
{
    struct side *side = context;
    dbk_buf_append(&side->body, bytes);
    return side->body.rc;
}

/* One request, and its answer whole. */
static int ask(struct side *side, const char *key, const char *request, const char *body,
               struct dbk_error *err)
{
    static char buffer[ANSWER_SIZE];
    static struct dbk_http_reply reply;
    char head[HEAD_SIZE];
    (void)snprintf(head, sizeof(head),
                   "%s HTTP/1.1\r\nHost: localhost\r\n%s%s%sContent-Length: %zu\r\n\r\n", request,
                   key[0] == '\0' ? "" : "Authorization: Bearer ", key,
                   key[0] == '\0' ? "" : "\r\n", strlen(body));
    dbk_buf_reset(&side->body);
    dbk_http_reply_init(&reply, take_body, side);
    int rc = dbk_wire_send(side->wire, dbk_slice_of(head), err);
    if (rc == DBK_OK)
        rc = dbk_wire_send(side->wire, dbk_slice_of(body), err);
    while (rc >= 0 && reply.state != DBK_HTTP_DONE) {
        size_t size = 0;
        rc = dbk_wire_receive(side->wire, buffer, sizeof(buffer), &size, err);
        if (rc > 0)
            rc = dbk_http_reply_push(&reply, dbk_slice(buffer, size), NULL, err);
        else if (rc == 0)
            rc = dbk_http_reply_end(&reply, err);
    }
    if (rc >= 0 && reply.status >= 300)
        return dbk_error_set(err, DBK_EIO, "%s was answered with %d: %.*s", request, reply.status,
                             DBK_SLICE_ARGS(dbk_buf_slice(&side->body)));
    return rc < 0 ? rc : DBK_OK;
}

/* ---- The two books ---- */

static int fill(struct side *side, struct dbk_error *err)
{
    struct dbk_buf data;
    int rc = DBK_OK;
    dbk_buf_init(&data, 4096);
    for (uint64_t i = 0; rc == DBK_OK && i < EVENTS; i++) {
        char stream[32];
        struct dbk_append_result result;
        size_t size = dbk_bench_stream_name(i, 100, stream);
        dbk_buf_reset(&data);
        dbk_bench_event(&data, i, i, 200);
        const struct dbk_new_event event = {.stream = dbk_slice(stream, size),
                                            .type = DBK_SLICE_LITERAL("Added"),
                                            .data = dbk_buf_slice(&data),
                                            .occurred_us = DBK_TIME_NONE,
                                            .flags = DBK_RECORD_JSON};
        rc = dbk_engine_append(
            side->engine,
            &(struct dbk_batch){.events = &event, .count = 1, .flags = DBK_APPEND_NO_SYNC}, &result,
            err);
    }
    dbk_buf_release(&data);
    return rc;
}

static int open_side(struct dbk_bench *bench, const char *name, struct side *side,
                     struct dbk_error *err)
{
    char folder[DBK_BENCH_PATH_SIZE];
    char data[DBK_BENCH_PATH_SIZE + 8];
    char file[DBK_BENCH_PATH_SIZE + 16];
    struct dbk_diagnostics faults;
    struct dbk_url url = {.host = "127.0.0.1"};
    dbk_bench_path(bench, name, folder);
    (void)snprintf(data, sizeof(data), "%s/data", folder);
    (void)snprintf(file, sizeof(file), "%s/book.yaml", folder);
    dbk_buf_init(&side->body, (size_t)64 << 20);
    int rc = bench->os->make_folder(bench->os, folder, err);
    if (rc == DBK_OK)
        rc = dbk_os_replace_file(bench->os, file, DBK_SLICE_LITERAL("book: bench\ndata: data\n"),
                                 err);
    if (rc < 0)
        return rc;
    dbk_diagnostics_init(&faults);
    rc = dbk_engine_open(&(struct dbk_engine_options){.os = bench->os,
                                                      .folder = folder,
                                                      .data = data,
                                                      .holder = "daybook bench access",
                                                      .mode = DBK_ENGINE_WRITE},
                         &faults, &side->engine, err);
    dbk_diagnostics_release(&faults);
    if (rc == DBK_OK)
        rc = dbk_server_open(side->engine, &(struct dbk_server_options){0}, &side->server, err);
    if (rc == DBK_OK)
        rc = fill(side, err);
    if (rc < 0)
        return rc;
    url.port = dbk_server_port(side->server);
    (void)snprintf(url.authority, sizeof(url.authority), "127.0.0.1:%u", (unsigned)url.port);
    return dbk_wire_open_url(&url, NULL, &side->wire, err);
}

static void close_side(struct side *side)
{
    dbk_wire_free(side->wire);
    dbk_server_free(side->server);
    dbk_engine_free(side->engine);
    dbk_buf_release(&side->body);
}

/* Makes a key with so many scopes, the last of which reads what is there. */
static int make_key(struct side *side, const char *admin, size_t scopes, char key_out[128],
                    struct dbk_error *err)
{
    struct dbk_buf body;
    dbk_buf_init(&body, (size_t)64 << 10);
    dbk_buf_append_text(&body, "{\"name\":\"bench\",\"scopes\":[");
    for (size_t i = 1; i < scopes; i++)
        dbk_buf_append_format(&body, "\"read:other%zu-*\",", i);
    dbk_buf_append_text(&body, "\"read:bench-*\"]}");
    dbk_buf_append_char(&body, '\0');
    int rc = body.rc < 0 ? dbk_error_set(err, body.rc, "%s", dbk_code_text(body.rc))
                         : ask(side, admin, "POST /access/keys", body.data, err);
    dbk_buf_release(&body);
    const char *found = rc < 0 ? NULL : memmem(side->body.data, side->body.size, "dbk_", 4);
    if (rc == DBK_OK && found == NULL)
        rc = dbk_error_set(err, DBK_EIO, "no key was answered");
    if (rc == DBK_OK)
        (void)snprintf(key_out, 128, "%.60s", found);
    return rc;
}

static int make_keys(struct dbk_bench *bench, const struct plan *plan, struct side *side,
                     struct asker askers[KIND_COUNT], struct dbk_error *err)
{
    char path[DBK_BENCH_PATH_SIZE + 32];
    char folder[DBK_BENCH_PATH_SIZE];
    char spare[128];
    struct dbk_buf admin;
    dbk_bench_path(bench, "asks", folder);
    (void)snprintf(path, sizeof(path), "%s/data/" DBK_ACCESS_FILE, folder);
    dbk_buf_init(&admin, 256);
    int rc = dbk_os_read_file(bench->os, path, 200, &admin, err);
    dbk_buf_append_char(&admin, '\0');
    dbk_bench_begin_part(bench, "make", "keys");
    for (uint64_t i = 0; rc == DBK_OK && i + 2 < plan->keys; i++) {
        rc = make_key(side, admin.data, 1, spare, err);
        if (rc == DBK_OK && i % 64 == 0)
            rc = dbk_bench_step(bench, i, plan->keys, err);
    }
    if (rc == DBK_OK)
        rc = make_key(side, admin.data, 1, askers[ONE_SCOPE].key, err);
    if (rc == DBK_OK)
        rc = make_key(side, admin.data, SCOPES, askers[MANY_SCOPES].key, err);
    dbk_buf_release(&admin);
    return rc;
}

/* ---- Measuring ---- */

/* The least that there is to do, and a read of all. */
static int ask_round(struct asker *asker, uint64_t requests, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (uint64_t i = 0; rc == DBK_OK && i < requests; i++) {
        int64_t started = dbk_bench_now_ns();
        rc = ask(asker->side, asker->key, "GET /", "", err);
        dbk_histogram_add(&asker->empty_ns, (uint64_t)(dbk_bench_now_ns() - started));
    }
    int64_t started = dbk_bench_now_ns();
    if (rc == DBK_OK)
        rc = ask(asker->side, asker->key, "GET /events?type=Added&limit=10000", "", err);
    asker->read_s += (double)(dbk_bench_now_ns() - started) / 1e9;
    return rc;
}

static double median_ns(const struct dbk_histogram *histogram)
{
    return (double)dbk_histogram_percentile(histogram, 0.5);
}

static void report_costs(const struct plan *plan, const struct asker askers[KIND_COUNT],
                         struct dbk_buf *report)
{
    static const char *const names[] = {"no_key_us", "one_scope_us", "many_scopes_us"};
    double without = median_ns(&askers[NO_KEY].empty_ns);
    dbk_bench_open_part(report, "settings");
    dbk_bench_number(report, "requests", (double)plan->requests, 0);
    dbk_bench_number(report, "keys", (double)plan->keys, 0);
    dbk_bench_number(report, "scopes", SCOPES, 0);
    dbk_bench_close_part(report);
    for (int i = 0; i < KIND_COUNT; i++)
        dbk_bench_latency(report, names[i], &askers[i].empty_ns);
    dbk_bench_number(report, "key_costs_us",
                     (median_ns(&askers[ONE_SCOPE].empty_ns) - without) / 1e3, 2);
    dbk_bench_number(report, "read_events_per_second", ROUNDS * 10000 / askers[NO_KEY].read_s, 0);
    dbk_bench_open_part(report, "rate");
    dbk_bench_number(report, "requests_of_no_key", without / median_ns(&askers[ONE_SCOPE].empty_ns),
                     3);
    dbk_bench_number(report, "read_of_no_key", askers[NO_KEY].read_s / askers[ONE_SCOPE].read_s, 3);
    dbk_bench_number(report, "read_of_no_key_with_many_scopes",
                     askers[NO_KEY].read_s / askers[MANY_SCOPES].read_s, 3);
    dbk_bench_close_part(report);
}

static int measure(struct dbk_bench *bench, void *context, struct dbk_buf *report,
                   struct dbk_error *err)
{
    static struct asker askers[KIND_COUNT];
    static struct side free_side;
    static struct side asking;
    const struct plan *plan = context;
    askers[NO_KEY].side = &free_side;
    askers[ONE_SCOPE].side = askers[MANY_SCOPES].side = &asking;
    int rc = open_side(bench, "free", &free_side, err);
    if (rc == DBK_OK)
        rc = open_side(bench, "asks", &asking, err);
    if (rc == DBK_OK)
        rc = make_keys(bench, plan, &asking, askers, err);
    dbk_bench_begin_part(bench, "ask", "rounds");
    for (uint64_t round = 0; rc == DBK_OK && round < ROUNDS; round++) {
        for (int i = 0; rc == DBK_OK && i < KIND_COUNT; i++)
            rc = ask_round(&askers[i], plan->requests / ROUNDS, err);
        if (rc == DBK_OK)
            rc = dbk_bench_step(bench, round + 1, ROUNDS, err);
    }
    close_side(&asking);
    close_side(&free_side);
    if (rc == DBK_OK)
        report_costs(plan, askers, report);
    return rc;
}

int dbk_run_bench_access(const struct dbk_arguments *arguments)
{
    struct plan plan = {0};
    if (!dbk_bench_take(arguments, &(struct dbk_bench_bounds){"requests", 20000, 100, 10000000},
                        &plan.requests) ||
        !dbk_bench_take(arguments, &(struct dbk_bench_bounds){"keys", 1000, 2, DBK_ACCESS_KEYS_MAX},
                        &plan.keys))
        return DBK_EXIT_USAGE;
    return dbk_bench_run(arguments, &(struct dbk_bench_work){
                                        .name = "access", .measure = measure, .context = &plan});
}
