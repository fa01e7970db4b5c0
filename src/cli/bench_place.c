/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench_place.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/fail.h"
#include "target/target.h"

#define NOTE_SIZE_MAX ((size_t)1 << 20)
#define DATA_SIZE_MAX ((size_t)1 << 30)
#define COMMIT_MAX 10000
#define AWAIT_NS (INT64_C(120) * 1000000000)
#define LOOK_NS 200000

/* Events that are made again and again in the same memory. */
struct dbk_bench_batch {
    struct dbk_new_event events[COMMIT_MAX];
    char streams[COMMIT_MAX][32];
    size_t starts[COMMIT_MAX + 1]; /* of their data */
};

bool dbk_bench_is_table(const struct dbk_bench_route *route)
{
    return route->sync == DBK_SYNC_CDC || route->sync == DBK_SYNC_POLLING;
}

/* A search for the greatest is one of all documents to some servers. */
static bool is_asked_one_by_one(const struct dbk_bench_place *place)
{
    return place->target.kind == DBK_BENCH_MONGODB || place->target.kind == DBK_BENCH_NEO4J;
}

/* ---- The source ---- */

static const char insert[] =
    "INSERT INTO orders (id, account, amount, note) VALUES (?1, ?2, ?3, ?4)";

/* Durable, as the book is. */
static int open_writer(struct dbk_bench_place *place, struct dbk_error *err)
{
    bool server = place->route->source == DBK_BENCH_POSTGRES;
    int rc = dbk_connection_open(place->source.address, 0, &place->writer, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(place->writer,
                                server ? "SET synchronous_commit = on"
                                       : "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
                                err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(
            place->writer,
            server ? "CREATE TABLE orders (id bigint PRIMARY KEY, account "
                     "bigint NOT NULL, amount bigint NOT NULL, note text NOT "
                     "NULL, changed xid8 NOT NULL DEFAULT pg_current_xact_id())"
                   : "CREATE TABLE orders (id INTEGER NOT NULL PRIMARY KEY, account "
                     "INTEGER NOT NULL, amount INTEGER NOT NULL, note TEXT NOT "
                     "NULL)",
            err);
    if (rc == DBK_OK && server && place->route->sync == DBK_SYNC_POLLING)
        rc = dbk_connection_run(place->writer, "CREATE INDEX ON orders (changed, id)", err);
    return rc == DBK_OK
               ? dbk_statement_open(place->writer, dbk_slice_of(insert), &place->insert, NULL, err)
               : rc;
}

static int insert_one(struct dbk_bench_place *place, uint64_t order, struct dbk_error *err)
{
    const struct dbk_value values[] = {
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)order},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)(order % 1000)},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)(order % 100)},
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_buf_slice(&place->note)}};
    for (int i = 0; i < 4; i++)
        dbk_statement_bind(place->insert, i + 1, &values[i]);
    int rc = dbk_statement_step(place->insert, err);
    dbk_statement_reset(place->insert);
    return rc;
}

static int commit_rows(struct dbk_bench_place *place, uint64_t count, struct dbk_error *err)
{
    int rc = dbk_connection_begin(place->writer, DBK_BEGIN_WRITE, err);
    for (uint64_t i = 0; rc == DBK_OK && i < count; i++)
        rc = insert_one(place, place->last + 1 + i, err);
    if (rc == DBK_OK)
        rc = dbk_connection_settle(place->writer, false, err);
    return rc == DBK_OK ? dbk_connection_run(place->writer, "COMMIT", err) : rc;
}

static int commit_events(struct dbk_bench_place *place, uint64_t count, struct dbk_error *err)
{
    struct dbk_bench_batch *batch = place->batch;
    struct dbk_append_result result;
    struct dbk_buf *data = &place->data;
    dbk_buf_reset(data);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t order = place->last + 1 + i;
        batch->starts[i] = data->size;
        dbk_buf_append_format(data, "{\"id\":%ju,\"account\":%ju,\"amount\":%ju,\"note\":\"",
                              (uintmax_t)order, (uintmax_t)(order % 1000),
                              (uintmax_t)(order % 100));
        dbk_buf_append(data, dbk_buf_slice(&place->note));
        dbk_buf_append_text(data, "\"}");
        (void)snprintf(batch->streams[i], sizeof(batch->streams[i]), "order-%ju", (uintmax_t)order);
    }
    batch->starts[count] = data->size;
    if (data->rc < 0)
        return dbk_error_set(err, data->rc, "%s", dbk_code_text(data->rc));
    for (uint64_t i = 0; i < count; i++)
        batch->events[i] =
            (struct dbk_new_event){.stream = dbk_slice_of(batch->streams[i]),
                                   .type = DBK_SLICE_LITERAL("Placed"),
                                   .data = dbk_slice(data->data + batch->starts[i],
                                                     batch->starts[i + 1] - batch->starts[i]),
                                   .occurred_us = DBK_TIME_NONE,
                                   .flags = DBK_RECORD_JSON};
    return dbk_engine_append(
        place->engine, &(struct dbk_batch){.events = batch->events, .count = count}, &result, err);
}

int dbk_bench_commit(struct dbk_bench_place *place, uint64_t count, struct dbk_error *err)
{
    int rc = dbk_bench_is_table(place->route) ? commit_rows(place, count, err)
                                              : commit_events(place, count, err);
    if (rc == DBK_OK)
        place->last += count;
    return rc;
}

/* ---- The reader ---- */

static int open_reader(struct dbk_bench_place *place, struct dbk_error *err)
{
    static const struct dbk_slice category = {.data = "shop.orders", .size = 11};
    char question[256];
    if (place->book)
        return dbk_cursor_open(dbk_engine_store(place->engine),
                               &(struct dbk_filter){.categories = &category, .category_count = 1},
                               &place->cursor, err);
    dbk_bench_place_question(place, question);
    unsigned flags = place->target.kind == DBK_BENCH_SQLITE ? DBK_CONNECT_READ : 0;
    int rc = dbk_connection_open(place->target.address, flags, &place->reader, err);
    if (rc == DBK_OK && is_asked_one_by_one(place))
        dbk_connection_guard(place->reader, DBK_GUARD_QUERY);
    return rc == DBK_OK
               ? dbk_statement_open(place->reader, dbk_slice_of(question), &place->look, NULL, err)
               : rc;
}

/* Streams are named by the rows' keys. */
static int find_in_book(struct dbk_bench_place *place, uint64_t *last_out, struct dbk_error *err)
{
    struct dbk_event event;
    int rc = dbk_cursor_extend(place->cursor, err);
    while (rc >= 0 && (rc = dbk_cursor_next(place->cursor, &event, err)) == 1) {
        struct dbk_slice stream = event.stream;
        const char *dash = memchr(stream.data, '-', stream.size);
        if (dash == NULL ||
            !dbk_slice_to_u64(dbk_slice(dash + 1, stream.size - (size_t)(dash + 1 - stream.data)),
                              &place->found))
            return dbk_error_set(err, DBK_ECORRUPT, "a row is in the stream %.*s",
                                 DBK_SLICE_ARGS(stream));
    }
    *last_out = place->found;
    return rc < 0 ? rc : DBK_OK;
}

static int find_greatest(struct dbk_bench_place *place, uint64_t *last_out, struct dbk_error *err)
{
    int rc = dbk_statement_step(place->look, err);
    if (rc == 1) {
        struct dbk_value value = dbk_statement_column(place->look, 0);
        *last_out = value.kind == DBK_VALUE_INTEGER ? (uint64_t)value.integer : 0;
    }
    dbk_statement_reset(place->look);
    return rc < 0 ? rc : DBK_OK;
}

/* 1: the order is there. */
static int find_one(struct dbk_bench_place *place, uint64_t order, struct dbk_error *err)
{
    char stream[48];
    int size =
        snprintf(stream, sizeof(stream), "%s-%ju",
                 dbk_bench_is_table(place->route) ? "shop.orders" : "order", (uintmax_t)order);
    dbk_statement_bind(
        place->look, 1,
        &(struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = dbk_slice(stream, (size_t)size)});
    int rc = dbk_statement_step(place->look, err);
    dbk_statement_reset(place->look);
    return rc;
}

/* Orders come in their order: those behind the last that was found are tried in strides that grow
   until one is not there, and then between. */
static int find_one_by_one(struct dbk_bench_place *place, uint64_t *last_out, struct dbk_error *err)
{
    uint64_t there = place->found;
    uint64_t stride = 1;
    int rc = 1;
    while ((rc = find_one(place, there + stride, err)) == 1) {
        there += stride;
        stride *= 2;
    }
    for (uint64_t missing = there + stride; rc >= 0 && there + 1 < missing;) {
        uint64_t middle = there + (missing - there) / 2;
        rc = find_one(place, middle, err);
        if (rc == 1)
            there = middle;
        else
            missing = middle;
    }
    *last_out = place->found = there;
    return rc < 0 ? rc : DBK_OK;
}

int dbk_bench_find_last(struct dbk_bench_place *place, uint64_t *last_out, struct dbk_error *err)
{
    if (place->book)
        return find_in_book(place, last_out, err);
    return is_asked_one_by_one(place) ? find_one_by_one(place, last_out, err)
                                      : find_greatest(place, last_out, err);
}

/* What the model or the capture has to say; DBK_OK: nothing that ends them. */
static int look_for_failure(struct dbk_bench_place *place, struct dbk_error *err)
{
    struct dbk_model_status model;
    struct dbk_capture_status capture;
    struct dbk_captures *captures = dbk_engine_captures(place->engine);
    struct dbk_models *models = dbk_engine_models(place->engine);
    int rc = place->book ? DBK_OK : dbk_models_status(models, 0, &model, err);
    if (rc == DBK_OK && !place->book && model.stopped)
        return dbk_error_set(err, DBK_EREFUSED, "%s: %s", place->route->name, model.error.message);
    for (size_t i = 0; rc == DBK_OK && i < dbk_captures_count(captures); i++) {
        rc = dbk_captures_status(captures, i, &capture, err);
        if (rc == DBK_OK && capture.state == DBK_CAPTURE_FAILED)
            rc = dbk_error_set(err, DBK_EREFUSED, "%s: %s", place->route->name, capture.error);
    }
    return rc;
}

int dbk_bench_await(struct dbk_bench_place *place, uint64_t order, struct dbk_error *err)
{
    int64_t moved_ns = dbk_bench_now_ns();
    uint64_t before = 0;
    for (uint64_t looks = 1;; looks++) {
        uint64_t last = 0;
        int rc = dbk_bench_find_last(place, &last, err);
        if (rc < 0 || last >= order)
            return rc;
        if (looks % 64 == 0)
            rc = look_for_failure(place, err);
        if (rc == DBK_OK)
            rc = dbk_bench_stopped(err);
        if (rc < 0)
            return rc;
        if (last > before)
            moved_ns = dbk_bench_now_ns();
        before = last;
        if (dbk_bench_now_ns() - moved_ns > AWAIT_NS)
            return dbk_error_set(err, DBK_ETIMEOUT,
                                 "%s: nothing has come in two minutes, the last is order %" PRIu64
                                 " of %" PRIu64,
                                 place->route->name, last, order);
        (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
}

/* ---- All of it ---- */

static int open_engine(struct dbk_bench_place *place, struct dbk_error *err)
{
    struct dbk_diagnostics faults;
    dbk_diagnostics_init(&faults);
    int rc = dbk_engine_open(&(struct dbk_engine_options){.os = place->bench->os,
                                                          .folder = place->folder,
                                                          .holder = "daybook bench",
                                                          .mode = DBK_ENGINE_WRITE,
                                                          .schedule = true},
                             &faults, &place->engine, err);
    if (rc == DBK_EBOOK)
        dbk_fail_diagnostics(stderr, &faults);
    dbk_diagnostics_release(&faults);
    return rc;
}

/* A file in the book's data, or a database of its own on a server. */
static int open_database(struct dbk_bench_place *place, struct dbk_bench_database *database,
                         enum dbk_bench_kind kind, const char *part, struct dbk_error *err)
{
    *database = (struct dbk_bench_database){.servers = place->servers, .kind = kind};
    if (kind != DBK_BENCH_SQLITE)
        return dbk_bench_database_open(database, part, err);
    (void)snprintf(database->address, sizeof(database->address), "%.*s/data/%s.db",
                   DBK_BENCH_PATH_SIZE - 64, place->folder, part);
    return DBK_OK;
}

static int open_databases(struct dbk_bench_place *place, struct dbk_error *err)
{
    bool followed = !place->alone && !place->book;
    int rc = open_database(place, &place->source, place->route->source, "source", err);
    if (rc == DBK_OK && followed)
        rc = open_database(place, &place->target, place->route->target, "target", err);
    (void)snprintf(place->model, sizeof(place->model), "%s",
                   place->target.kind == DBK_BENCH_NEO4J ? place->target.name : "orders_read");
    return rc;
}

int dbk_bench_place_open(struct dbk_bench_place *place, const char *name, struct dbk_error *err)
{
    bool table = dbk_bench_is_table(place->route);
    dbk_bench_path(place->bench, name, place->folder);
    dbk_buf_init(&place->note, NOTE_SIZE_MAX);
    dbk_buf_init(&place->data, DATA_SIZE_MAX);
    while (place->note.rc == DBK_OK && place->note.size < place->size)
        dbk_buf_append_char(&place->note, (char)('a' + place->note.size % 26));
    place->batch = dbk_alloc_zero(1, sizeof(*place->batch));
    int rc = place->batch == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                                  : open_databases(place, err);
    if (rc == DBK_OK)
        rc = dbk_bench_place_write(place, err);
    if (rc == DBK_OK && table)
        rc = open_writer(place, err);
    if (rc == DBK_OK && (!table || !place->alone))
        rc = open_engine(place, err);
    if (rc == DBK_OK && !place->alone)
        rc = open_reader(place, err);
    if (rc == DBK_OK)
        rc = dbk_bench_commit(place, 1, err);
    if (rc == DBK_OK && !place->alone)
        rc = dbk_bench_await(place, 1, err);
    return rc;
}

void dbk_bench_place_close(struct dbk_bench_place *place)
{
    dbk_cursor_free(place->cursor);
    dbk_statement_free(place->look);
    dbk_connection_free(place->reader);
    dbk_engine_free(place->engine);
    dbk_statement_free(place->insert);
    dbk_connection_free(place->writer);
    dbk_buf_release(&place->note);
    dbk_buf_release(&place->data);
    dbk_free(place->batch);
    dbk_bench_database_close(&place->source);
    dbk_bench_database_close(&place->target);
    place->batch = NULL;
    place->cursor = NULL;
    place->look = NULL;
    place->reader = NULL;
    place->engine = NULL;
    place->insert = NULL;
    place->writer = NULL;
}
