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

/* ---- The book's files ---- */

static const char schema[] = "CREATE TABLE orders_read (id BIGINT PRIMARY KEY, account BIGINT NOT "
                             "NULL, amount BIGINT NOT NULL, note TEXT NOT NULL);\n";
static const char event_handler[] = "INSERT INTO orders_read (id, account, amount, note) VALUES "
                                    "(:id, :account, :amount, :note);\n";
static const char row_handler[] = "INSERT INTO orders_read (id, account, amount, note) VALUES "
                                  "(:new.id, :new.account, :new.amount, :new.note);\n";

static int write_file(const struct dbk_bench_place *place, const char *name, const char *text,
                      struct dbk_error *err)
{
    char path[DBK_BENCH_PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%.*s/%s", DBK_BENCH_PATH_SIZE - 64, place->folder, name);
    return dbk_os_replace_file(place->bench->os, path, dbk_slice_of(text), err);
}

static int make_folder(const struct dbk_bench_place *place, const char *name, struct dbk_error *err)
{
    char path[DBK_BENCH_PATH_SIZE];
    (void)snprintf(path, sizeof(path), "%.*s/%s", DBK_BENCH_PATH_SIZE - 64, place->folder, name);
    return place->bench->os->make_folder(place->bench->os, path, err);
}

/* In the book a server is named by its secret beside the folder, and a file by its name in the
   data. */
static void put_database(struct dbk_buf *out, const char *name, const char *server,
                         const char *database)
{
    if (server != NULL)
        dbk_buf_append_format(out, "  %s: postgres:file:../%s\n", name, server);
    else
        dbk_buf_append_format(out, "  %s: sqlite:%s\n", name, database);
}

static int write_book(const struct dbk_bench_place *place, struct dbk_error *err)
{
    const struct dbk_bench_route *route = place->route;
    struct dbk_buf text;
    dbk_buf_init(&text, NOTE_SIZE_MAX);
    dbk_buf_append_text(&text, "book: bench\ndata: data\n");
    if (!place->alone)
        dbk_buf_append_text(&text, "databases:\n");
    if (!place->alone && dbk_bench_is_table(route))
        put_database(&text, "source", route->server_source ? place->server->names[0] : NULL,
                     "source.db");
    if (!place->alone && !place->book)
        put_database(&text, "target", route->server_target ? place->server->names[1] : NULL,
                     "target.db");
    dbk_buf_append_char(&text, '\0');
    int rc = text.rc < 0 ? dbk_error_set(err, text.rc, "%s", dbk_code_text(text.rc))
                         : write_file(place, "book.yaml", text.data, err);
    dbk_buf_release(&text);
    return rc;
}

static int write_service(const struct dbk_bench_place *place, struct dbk_error *err)
{
    char text[256];
    int rc = make_folder(place, "services", err);
    if (rc < 0)
        return rc;
    if (place->route->sync == DBK_SYNC_CDC)
        (void)snprintf(text, sizeof(text),
                       "database: source\ntables:\n  orders:\n    capture: cdc\n");
    else
        /* An id of SQLite is given by its one writer, in the order of commits. */
        (void)snprintf(text, sizeof(text),
                       "database: source\ntables:\n  orders:\n    capture: polling\n    every: %jd "
                       "ms\n    cursor: %s\n"
                       "    deletes: none\n%s",
                       (intmax_t)(place->every_us / 1000),
                       place->route->server_source ? "changed" : "id",
                       place->route->server_source ? "" : "    overlap: 100 ms\n");
    return write_file(place, "services/shop.yaml", text, err);
}

static int write_model(const struct dbk_bench_place *place, struct dbk_error *err)
{
    bool table = dbk_bench_is_table(place->route);
    char text[128];
    int rc = make_folder(place, "models", err);
    if (rc == DBK_OK)
        rc = make_folder(place, "models/orders_read", err);
    (void)snprintf(text, sizeof(text), "database: target\nsync: %s\nsource: [%s]\n",
                   dbk_model_sync_text(place->route->sync), table ? "shop.orders" : "order");
    if (rc == DBK_OK)
        rc = write_file(place, "models/orders_read/model.yaml", text, err);
    if (rc == DBK_OK)
        rc = write_file(place, "models/orders_read/schema.sql", schema, err);
    if (rc == DBK_OK)
        rc = write_file(
            place, table ? "models/orders_read/orders.insert.sql" : "models/orders_read/Placed.sql",
            table ? row_handler : event_handler, err);
    return rc;
}

static int write_files(struct dbk_bench_place *place, struct dbk_error *err)
{
    int rc = place->bench->os->make_folder(place->bench->os, place->folder, err);
    if (rc == DBK_OK)
        rc = make_folder(place, "data", err);
    if (rc == DBK_OK)
        rc = write_book(place, err);
    if (rc == DBK_OK && !place->alone && dbk_bench_is_table(place->route))
        rc = write_service(place, err);
    if (rc == DBK_OK && !place->alone && !place->book)
        rc = write_model(place, err);
    return rc;
}

/* ---- The source ---- */

static const char insert[] =
    "INSERT INTO orders (id, account, amount, note) VALUES (?1, ?2, ?3, ?4)";

/* Durable, as the book is. */
static int open_writer(struct dbk_bench_place *place, struct dbk_error *err)
{
    bool server = place->route->server_source;
    int rc = dbk_connection_open(place->source, 0, &place->writer, err);
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
    if (place->book)
        return dbk_cursor_open(dbk_engine_store(place->engine),
                               &(struct dbk_filter){.categories = &category, .category_count = 1},
                               &place->cursor, err);
    int rc = dbk_connection_open(place->target, place->route->server_target ? 0 : DBK_CONNECT_READ,
                                 &place->reader, err);
    return rc == DBK_OK ? dbk_statement_open(place->reader,
                                             DBK_SLICE_LITERAL("SELECT max(id) FROM orders_read"),
                                             &place->look, NULL, err)
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

int dbk_bench_find_last(struct dbk_bench_place *place, uint64_t *last_out, struct dbk_error *err)
{
    if (place->book)
        return find_in_book(place, last_out, err);
    int rc = dbk_statement_step(place->look, err);
    if (rc == 1) {
        struct dbk_value value = dbk_statement_column(place->look, 0);
        *last_out = value.kind == DBK_VALUE_INTEGER ? (uint64_t)value.integer : 0;
    }
    dbk_statement_reset(place->look);
    return rc < 0 ? rc : DBK_OK;
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
    int64_t begun_ns = dbk_bench_now_ns();
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
        if (dbk_bench_now_ns() - begun_ns > AWAIT_NS)
            return dbk_error_set(err, DBK_ETIMEOUT,
                                 "%s: order %" PRIu64 " has not come in two minutes, the last is "
                                 "%" PRIu64,
                                 place->route->name, order, last);
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

static void name_databases(struct dbk_bench_place *place)
{
    const struct dbk_bench_route *route = place->route;
    (void)snprintf(place->source, sizeof(place->source), "%.*s/data/source.db",
                   DBK_BENCH_PATH_SIZE - 64, place->folder);
    (void)snprintf(place->target, sizeof(place->target), "%.*s/data/target.db",
                   DBK_BENCH_PATH_SIZE - 64, place->folder);
    if (route->server_source)
        (void)snprintf(place->source, sizeof(place->source), "%s", place->server->source);
    if (route->server_target)
        (void)snprintf(place->target, sizeof(place->target), "%s", place->server->target);
}

int dbk_bench_place_open(struct dbk_bench_place *place, const char *name, struct dbk_error *err)
{
    bool table = dbk_bench_is_table(place->route);
    dbk_bench_path(place->bench, name, place->folder);
    name_databases(place);
    dbk_buf_init(&place->note, NOTE_SIZE_MAX);
    dbk_buf_init(&place->data, DATA_SIZE_MAX);
    while (place->note.rc == DBK_OK && place->note.size < place->size)
        dbk_buf_append_char(&place->note, (char)('a' + place->note.size % 26));
    place->batch = dbk_alloc_zero(1, sizeof(*place->batch));
    int rc = place->batch == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                                  : write_files(place, err);
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
    place->batch = NULL;
    place->cursor = NULL;
    place->look = NULL;
    place->reader = NULL;
    place->engine = NULL;
    place->insert = NULL;
    place->writer = NULL;
}
