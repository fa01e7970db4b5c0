/* SPDX-License-Identifier: Apache-2.0 */
/*
 * views -- random views over random tables, brought up to date after random changes, for as long
 * as told.
 *
 *     views [--seed N] [--count VIEWS] [--batches N] [--events] [--show]
 *
 * A view's tables, its SELECT and the batches of changes (inserts, updates, deletes, replacements,
 * with NULLs, duplicates and values of other types) are made of the seed. After each batch the view
 * is refreshed and compared, as a bag of rows, with its SELECT run by SQLite alone. Views that have
 * something to be refused are counted apart, by the obstacle. Of most views the differences that
 * their refreshes record are applied to the rows of before, which must then be the rows.
 *
 * With --events they may read `events`, too, of a log that gets some with each batch; what it is
 * compared with reads a plain table of that name, into which the same was written.
 *
 * Prints counts as a JSON line; ends with 1 and the seed that shows it at the first difference.
 *
 * Threads: one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compare.h"
#include "make.h"
#include "os/sim.h"
#include "replay.h"

/* ---- Running it ---- */

#define VIEWS_MAX 2

/* What is asked of one view; the second may read the first. */
struct view {
    const char *name;
    struct dbk_buf select;
    bool rows_only;
    bool ordered;
    unsigned limit;
    unsigned offset;
    struct dbk_view_definition definition;
    struct dbk_view_session *session; /* of every other seed */
    uint64_t taken;                   /* differences, by their numbers */
};

struct run {
    struct world *world;
    const struct view *view; /* under way */
    struct view made[VIEWS_MAX];
    size_t view_count;
    uint64_t seed;
    struct dbk_store *store;
    struct dbk_sim *sim;
    struct dbk_os *os;
    struct dbk_view_source source;
    struct dbk_connection *connection; /* ours */
    uint64_t views;
    uint64_t refused;
    uint64_t incremental;
    uint64_t full;
    uint64_t batches;
};

static void die(const struct run *run, const char *what, const char *why)
{
    (void)fprintf(stderr, "views --seed %" PRIu64 " --count 1%s: %s: %s\n", run->seed,
                  run->world->events ? " --events" : "", what, why);
    for (size_t i = 0; i < run->view_count; i++)
        (void)fprintf(stderr, "%s%s: %.*s\n", run->view == &run->made[i] ? "*" : "",
                      run->made[i].name, DBK_SLICE_ARGS(run->made[i].select));
    exit(1);
}

static void run_sql(struct run *run, const char *what, struct dbk_buf *sql)
{
    struct dbk_error err = {0};
    dbk_buf_append_char(sql, '\0');
    if (run->world->show)
        (void)printf("%s\n", sql->data);
    /* A constraint ends a batch; what it did before stays. */
    int rc = dbk_connection_run(run->connection, sql->data, &err);
    if (rc == DBK_EREFUSED && dbk_connection_in_transaction(run->connection))
        rc = dbk_connection_run(run->connection, "COMMIT", &err);
    if (rc < 0)
        die(run, what, err.message);
    dbk_buf_reset(sql);
}

/* How many of the rows LIMIT shows; a full refresh stores only those. */
static int64_t shown(const struct view *view, const struct dbk_view_row *row)
{
    uint64_t rows = row->rows;
    if (view->limit == 0 || row->layout == 0)
        return (int64_t)rows;
    rows -= rows < view->offset ? rows : view->offset;
    return (int64_t)(rows < view->limit ? rows : view->limit);
}

static void refresh(struct run *run, const struct view *view, bool first)
{
    struct dbk_error err = {0};
    char count_sql[64];
    struct dbk_view_row row;
    struct dbk_slice select = dbk_buf_slice(&view->select);
    bool impossible = compare_fails(run->connection, select);
    int rc = dbk_view_refresh_run(&(struct dbk_view_refresh){.definition = &view->definition,
                                                             .source = &run->source,
                                                             .fingerprint = "f",
                                                             .store = run->store,
                                                             .os = run->os,
                                                             .session = view->session},
                                  &err);
    if (rc < 0 && impossible)
        return;
    if (rc < 0)
        die(run, "the refresh failed", err.message);
    if (impossible)
        die(run, "the refresh", "should have failed as the SELECT does");
    rc = dbk_view_catalog_read(run->connection, view->name, &row, &err);
    if (rc < 0)
        die(run, "the catalog", err.message);
    if (run->world->show)
        (void)printf("-- %s: %s\n", dbk_view_mode_text(row.refreshed), row.reason);
    if (first && row.layout == 0)
        run->refused++;
    if (!first) {
        run->batches++;
        run->incremental += row.refreshed == DBK_VIEW_INCREMENTAL;
        run->full += row.refreshed == DBK_VIEW_FULL;
    }
    if (!first && run->world->nested && strstr(row.reason, "database ") != NULL)
        die(run, "a statement failed", row.reason);
    (void)snprintf(count_sql, sizeof(count_sql), "SELECT count(*) FROM %s", view->name);
    int64_t count = compare_view(run->connection, view->name, select, view->rows_only, &err);
    if (count != 0)
        die(run, count < 0 ? "the comparison" : "the rows differ",
            count < 0 ? err.message : row.reason);
    if (view->ordered && compare_order(run->connection, view->name, &err) != 1)
        die(run, "the rows come in another order", row.reason);
    if (dbk_view_integer(run->connection, count_sql, NULL, &count, &err) < 0 ||
        count != shown(view, &row))
        die(run, "the catalog", "it has another number of rows");
}

/* Some events, into the log and into our own table. */
static void append_events(struct run *run, unsigned count)
{
    static const char *const streams[] = {"s-1", "s-2", "t-1", "2-a", "a-1"};
    static const char *const types[] = {"a", "b", "2", "0"};
    struct world *world = run->world;
    struct dbk_error err = {0};
    struct dbk_buf data;
    struct dbk_buf sql;
    dbk_buf_init(&data, SQL_SIZE_MAX);
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    for (unsigned i = 0; i < count; i++) {
        const char *stream = PICK(world, streams);
        struct dbk_new_event event = {.stream = dbk_slice_of(stream),
                                      .type = dbk_slice_of(PICK(world, types)),
                                      .occurred_us = DBK_TIME_NONE,
                                      .flags = DBK_RECORD_JSON};
        const struct dbk_batch batch = {.events = &event, .count = 1};
        struct dbk_append_result result;
        dbk_buf_reset(&data);
        make_data(world, &data);
        event.data = dbk_buf_slice(&data);
        if (dbk_store_append(run->store, &batch, &result, &err) < 0)
            die(run, "an event", err.message);
        dbk_buf_append_format(&sql,
                              "INSERT INTO temp.events VALUES (%" PRIu64 ", '%s', '%.1s', %" PRIu64
                              ", '%.*s', NULL, NULL, NULL, NULL, '%.*s', NULL, NULL);",
                              result.last_position, stream, stream, result.last_version,
                              DBK_SLICE_ARGS(event.type), DBK_SLICE_ARGS(event.data));
    }
    run_sql(run, "the events", &sql);
    dbk_buf_release(&data);
    dbk_buf_release(&sql);
}

static void look_at_differences(struct run *run, struct view *view, bool first)
{
    struct dbk_error err = {0};
    const char *wrong = NULL;
    struct dbk_view_row row;
    if (!view->definition.keeps_changes ||
        dbk_view_catalog_read(run->connection, view->name, &row, &err) < 0 || row.generation == 0)
        return;
    first = first || view->taken == UINT64_MAX;
    if (first && replay_keep(run->connection, view->name, &err) < 0)
        die(run, "the rows", err.message);
    view->taken = first ? 0 : view->taken;
    wrong = replay(run->connection, view->name, &view->taken, &err);
    if (wrong != NULL)
        die(run, "the differences", wrong);
}

static void refresh_all(struct run *run, bool first)
{
    for (size_t i = 0; i < run->view_count; i++) {
        run->view = &run->made[i];
        refresh(run, run->view, first);
        look_at_differences(run, &run->made[i], first);
    }
}

static void make_view(struct run *run, const char *name)
{
    struct world *world = run->world;
    struct view *view = &run->made[run->view_count++];
    struct dbk_error err = {0};
    *view = (struct view){.name = name, .taken = UINT64_MAX};
    dbk_buf_init(&view->select, SQL_SIZE_MAX);
    do
        make_select(world);
    while (world->select.rc < 0);
    dbk_buf_append(&view->select, dbk_buf_slice(&world->select));
    view->rows_only = world->rows_only;
    view->ordered = world->ordered;
    view->limit = world->limit;
    view->offset = world->offset;
    view->definition = (struct dbk_view_definition){.name = name,
                                                    .file = "views/v.sql",
                                                    .database = "d",
                                                    .database_path = world->path,
                                                    .mode = DBK_VIEW_AUTO,
                                                    .keeps_changes = run->seed % 4 != 0,
                                                    .sql = dbk_buf_slice(&view->select)};
    if (world->show)
        (void)printf("%s: %.*s\n", name, DBK_SLICE_ARGS(view->select));
    if (run->seed % 2 == 0 && dbk_view_session_open(&view->session, &err) < 0)
        die(run, "the session", err.message);
}

static void run_view(struct run *run, unsigned batches)
{
    struct world *world = run->world;
    struct dbk_error err = {0};
    struct dbk_buf sql;
    static const char *const ends[] = {"", "-wal", "-shm"};
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    if (dbk_connection_open(world->path, 0, &run->connection, &err) < 0)
        die(run, "the database", err.message);
    make_tables(world, &sql);
    if (world->events)
        dbk_buf_append_text(&sql, "CREATE TEMP TABLE " DBK_EVENTS_TABLE " " DBK_EVENTS_COLUMNS ";");
    make_batch(world, &sql, 20);
    run_sql(run, "the tables", &sql);
    if (world->events)
        append_events(run, 15);
    run->view_count = 0;
    run->source.log = world->events;
    make_view(run, "v");
    if (world->nested && make_below(world, 3) == 0) {
        world->over = world->outputs;
        make_view(run, "w");
    }
    refresh_all(run, true);
    for (unsigned i = 0; i < batches; i++) {
        make_batch(world, &sql, 1 + make_below(world, 10));
        run_sql(run, "a batch", &sql);
        if (world->events)
            append_events(run, make_below(world, 8));
        refresh_all(run, false);
    }
    run->views += run->view_count;
    for (size_t i = 0; i < run->view_count; i++) {
        dbk_view_session_free(run->made[i].session);
        dbk_buf_release(&run->made[i].select);
    }
    dbk_connection_free(run->connection);
    dbk_buf_release(&sql);
    for (size_t i = 0; i < 3; i++) {
        char file[80];
        (void)snprintf(file, sizeof(file), "%s%s", world->path, ends[i]);
        (void)unlink(file);
    }
}

/* An empty log for each seed. */
static void open_log(struct run *run)
{
    struct dbk_error err = {0};
    run->sim = dbk_sim_create(1);
    if (run->sim == NULL)
        die(run, "the log", "no memory");
    run->os = dbk_sim_os(run->sim);
    if (dbk_store_open(&(struct dbk_store_options){.os = run->os, .folder = "data", .writer = true},
                       &run->store, &err) < 0)
        die(run, "the log", err.message);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    uint64_t count = 100;
    unsigned batches = 10;
    struct world world = {.table_count = 0};
    struct run run = {.world = &world};
    char folder[] = "/tmp/daybook-views-XXXXXX";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--show") == 0)
            world.show = true;
        else if (strcmp(argv[i], "--events") == 0)
            world.events = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--count") == 0 && i + 1 < argc)
            count = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--batches") == 0 && i + 1 < argc)
            batches = (unsigned)strtoul(argv[++i], NULL, 10);
        else
            return fprintf(stderr, "views: %s is not known\n", argv[i]), 2;
    }
    if (mkdtemp(folder) == NULL)
        return fprintf(stderr, "views: %s\n", folder), 1;
    (void)snprintf(world.path, sizeof(world.path), "%s/d.db", folder);
    dbk_buf_init(&world.select, SQL_SIZE_MAX);
    for (uint64_t i = 0; i < count; i++) {
        run.seed = seed + i;
        world.random = run.seed;
        open_log(&run);
        run_view(&run, batches);
        dbk_store_free(run.store);
        dbk_sim_free(run.sim);
    }
    (void)printf("{\"seed\":%" PRIu64 ",\"views\":%" PRIu64 ",\"refused\":%" PRIu64
                 ",\"batches\":%" PRIu64 ",\"incremental\":%" PRIu64 ",\"full\":%" PRIu64 "}\n",
                 seed, run.views, run.refused, run.batches, run.incremental, run.full);
    dbk_buf_release(&world.select);
    (void)rmdir(folder);
    return 0;
}
