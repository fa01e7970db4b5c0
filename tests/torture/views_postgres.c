/* SPDX-License-Identifier: Apache-2.0 */
/*
 * views_postgres -- random views over random tables of a PostgreSQL server, brought up to date
 * after random changes, for as long as told.
 *
 *     DAYBOOK_POSTGRES='host=… dbname=…' views_postgres [--seed N] [--count VIEWS] [--batches N]
 *                                                       [--show]
 *
 * Tables, SELECTs (of some seeds a second one, over the first one's view) and batches of changes
 * are made of the seed. A second session has a transaction open across refreshes, and commits or
 * rolls back later. After each batch the views are refreshed and compared, as bags of rows (where
 * all columns order them, in their order), with their SELECTs run by the server. Views that have
 * something to be refused are counted apart.
 *
 * Prints counts as a JSON line; ends with 1 and the seed that shows it at the first difference.
 *
 * Threads: one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "make_postgres.h"
#include "os/sim.h"
#include "view/home.h"

#define ADDRESS "postgres:env:DAYBOOK_POSTGRES"
#define VIEWS_MAX 2

/* What is asked of one view; the second may read the first. */
struct view {
    const char *name;
    struct dbk_buf select;
    bool ordered;
    struct dbk_view_definition definition;
    struct dbk_view_session *session; /* of every other seed */
    const char *reads;
    struct dbk_view_source source;
};

struct world {
    struct maker maker;
    uint64_t seed;
    struct view made[VIEWS_MAX];
    size_t view_count;
    const struct view *view; /* under way */
    bool show;
    struct dbk_connection *connection;
    struct dbk_connection *other; /* with a transaction open across refreshes */
    const struct dbk_view_home *home;
    struct dbk_view_refresh refresh;
    uint64_t views;
    uint64_t refused;
    uint64_t incremental;
    uint64_t full;
    uint64_t jointly;
    uint64_t batches;
};

static void die(struct world *world, const char *what, const char *why)
{
    (void)fprintf(stderr, "views_postgres --seed %" PRIu64 " --count 1: %s: %s\n", world->seed,
                  what, why);
    for (size_t i = 0; i < world->view_count; i++)
        (void)fprintf(stderr, "%s: %.*s\n", world->made[i].name,
                      DBK_SLICE_ARGS(world->made[i].select));
    exit(1);
}

/* ---- Changes ---- */

static void run_sql(struct world *world, struct dbk_connection *connection, const char *what,
                    struct dbk_buf *sql)
{
    struct dbk_error err = {0};
    dbk_buf_append_char(sql, '\0');
    if (world->show)
        (void)printf("%s\n", sql->data);
    if (sql->rc < 0 || dbk_connection_run(connection, sql->data, &err) < 0)
        die(world, what, err.message);
    dbk_buf_reset(sql);
}

/* The other session begins, goes on with, or ends its transaction. */
static void run_other(struct world *world, struct dbk_buf *sql)
{
    struct maker *maker = &world->maker;
    if (!maker->others)
        dbk_buf_append_text(sql, "BEGIN;");
    maker->others = true;
    maker_change(maker, sql, 100);
    maker_change(maker, sql, 100);
    if (maker_one_in(maker, 3)) {
        dbk_buf_append_text(sql, maker_one_in(maker, 4) ? "ROLLBACK;" : "COMMIT;");
        maker->others = false;
    }
    run_sql(world, world->other, "the other session", sql);
}

/* ---- Comparing ---- */

static int64_t ask(struct world *world, struct dbk_buf *sql, struct dbk_error *err)
{
    int64_t value = -1;
    dbk_buf_append_char(sql, '\0');
    if (sql->rc < 0 || dbk_view_integer(world->connection, sql->data, NULL, &value, err) < 0)
        value = -1;
    dbk_buf_reset(sql);
    return value;
}

/* True when the server itself cannot run the SELECT. */
static bool fails(struct world *world, struct dbk_buf *sql)
{
    struct dbk_error err = {0};
    dbk_buf_append_text(sql, "SELECT count(*) FROM (");
    dbk_buf_append(sql, dbk_buf_slice(&world->view->select));
    dbk_buf_append_text(sql, ") AS q");
    bool failed = ask(world, sql, &err) < 0;
    if (failed && world->show)
        (void)printf("-- it fails: %s\n", err.message);
    return failed;
}

/* What the view shows, or its SELECT gives; where they are ordered by all columns, with their
   numbers. */
static void append_side(struct world *world, struct dbk_buf *sql, bool stored)
{
    const struct view *view = world->view;
    dbk_buf_append_format(sql, "SELECT %s* FROM ",
                          view->ordered ? "row_number() OVER () AS n, q." : "q.");
    if (stored) {
        dbk_buf_append_text(sql, view->name);
    } else {
        dbk_buf_append_char(sql, '(');
        dbk_buf_append(sql, dbk_buf_slice(&view->select));
        dbk_buf_append_char(sql, ')');
    }
    dbk_buf_append_text(sql, " AS q");
}

static void compare(struct world *world, const struct dbk_view_row *row, struct dbk_buf *sql)
{
    struct dbk_error err = {0};
    for (int side = 0; side < 2; side++) {
        dbk_buf_append_text(sql, "SELECT count(*) FROM ((");
        append_side(world, sql, side == 0);
        dbk_buf_append_text(sql, ") EXCEPT ALL (");
        append_side(world, sql, side == 1);
        dbk_buf_append_text(sql, ")) AS q");
        int64_t count = ask(world, sql, &err);
        if (count != 0) {
            char text[sizeof(err.message) + 80];
            (void)snprintf(text, sizeof(text), "%" PRId64 " rows of %s are %s; %s", count,
                           world->view->name, side == 0 ? "too many" : "missing", err.message);
            die(world, "a difference", text);
        }
    }
    /* The row counts all that are stored, the SELECT what LIMIT leaves. */
    dbk_buf_append_format(sql, "SELECT count(*) FROM %s", world->view->name);
    int64_t count = ask(world, sql, &err);
    bool bounded = strstr(world->view->select.data, " LIMIT ") != NULL;
    if (bounded ? count > (int64_t)row->rows : count != (int64_t)row->rows)
        die(world, "a difference", "rows are counted otherwise");
}

/* ---- Refreshing ---- */

static void count(struct world *world, const struct dbk_view_row *row, bool first)
{
    if (first && strcmp(row->reason, "it is the first refresh") != 0) {
        if (world->show)
            (void)printf("-- refused: %s\n", row->reason);
        world->refused++;
    } else if (!first && row->refreshed == DBK_VIEW_INCREMENTAL) {
        world->incremental++;
    } else if (!first) {
        if (world->show)
            (void)printf("-- full: %s\n", row->reason);
        world->full++;
    }
}

static void refresh(struct world *world, struct dbk_buf *sql, bool first)
{
    const struct view *view = world->view;
    struct dbk_error err = {0};
    struct dbk_view_row row = {0};
    world->refresh.definition = &view->definition;
    world->refresh.source = &view->source;
    world->refresh.session = view->session;
    if (world->home->refresh(&world->refresh, &err) < 0)
        die(world, "the refresh", err.message);
    if (world->home->row(&view->definition, &row, &(struct dbk_kept){0}, &err) < 0)
        die(world, "the view's row", err.message);
    count(world, &row, first);
    compare(world, &row, sql);
    struct dbk_view_check check = {0};
    bool readable = view->source.view_count == 0 || row.layout != 0;
    if (world->seed % 3 != 0 || row.layout == 0 || !readable)
        return;
    /* What a transaction that is still open has truncated may be missing. */
    int rc = world->home->verify(&world->refresh, &check, &err);
    if (rc < 0 && rc != DBK_EBUSY)
        die(world, "verify", err.message);
}

/* Both in one transaction, where their home can; true: it was done. */
static bool refresh_jointly(struct world *world, struct dbk_buf *sql)
{
    struct dbk_view_refresh refreshes[VIEWS_MAX];
    struct dbk_error err = {0};
    bool done = false;
    for (size_t i = 0; i < world->view_count; i++) {
        world->view = &world->made[i];
        refreshes[i] = world->refresh;
        refreshes[i].definition = &world->view->definition;
        refreshes[i].source = &world->view->source;
        refreshes[i].session = world->view->session;
        if (fails(world, sql))
            return false;
    }
    if (world->home->refresh_jointly(refreshes, world->view_count, &done, &err) < 0)
        die(world, "the refresh of both", err.message);
    for (size_t i = 0; done && i < world->view_count; i++) {
        struct dbk_view_row row = {0};
        struct dbk_kept kept;
        world->view = &world->made[i];
        if (world->home->row(&world->view->definition, &row, &kept, &err) < 0)
            die(world, "the view's row", err.message);
        count(world, &row, false);
        compare(world, &row, sql);
    }
    world->jointly += done;
    return done;
}

/* Each behind what it reads; one that the server cannot compute is left, with what stands on it. */
static void refresh_all(struct world *world, struct dbk_buf *sql, bool first)
{
    if (!first && world->view_count > 1 && maker_one_in(&world->maker, 2) &&
        refresh_jointly(world, sql))
        return;
    for (size_t i = 0; i < world->view_count; i++) {
        world->view = &world->made[i];
        if (fails(world, sql))
            return;
        refresh(world, sql, first);
    }
}

static void make_view(struct world *world)
{
    static const char *const names[VIEWS_MAX] = {"v", "w"};
    size_t number = world->view_count++;
    struct view *view = &world->made[number];
    struct dbk_error err = {0};
    *view = (struct view){.name = names[number]};
    dbk_buf_init(&view->select, SQL_SIZE_MAX);
    maker_select(&world->maker, &view->select);
    view->ordered = world->maker.ordered;
    dbk_buf_append_char(&view->select, '\0');
    view->select.size -= view->select.rc < 0 ? 0 : 1;
    if (world->show)
        (void)printf("%s: %s\n", view->name, view->select.data);
    view->reads = names[0];
    view->source.views = &view->reads;
    view->source.view_count = number;
    view->definition = (struct dbk_view_definition){.name = view->name,
                                                    .file = "views/v.sql",
                                                    .database = "d",
                                                    .database_path = ADDRESS,
                                                    .mode = DBK_VIEW_AUTO,
                                                    .sql = dbk_buf_slice(&view->select)};
    if (world->seed % 2 == 0 && world->home->session_open(&view->session, &err) < 0)
        die(world, "the session", err.message);
}

static void run_views(struct world *world, unsigned batches)
{
    struct maker *maker = &world->maker;
    struct dbk_error err = {0};
    struct dbk_buf sql;
    *maker = (struct maker){.random = world->seed};
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;");
    maker_tables(maker, &sql);
    run_sql(world, world->connection, "the tables", &sql);
    maker_batch(maker, &sql, 40);
    run_sql(world, world->connection, "the first rows", &sql);
    world->view_count = 0;
    make_view(world);
    if (maker_one_in(maker, 3)) {
        maker->view = maker->outputs;
        make_view(world);
    }
    refresh_all(world, &sql, true);
    for (unsigned i = 0; i < batches; i++) {
        maker_batch(maker, &sql, 1 + maker_below(maker, 10));
        run_sql(world, world->connection, "a batch", &sql);
        if (maker_one_in(maker, 2))
            run_other(world, &sql);
        refresh_all(world, &sql, false);
        world->batches++;
    }
    if (maker->others && dbk_connection_run(world->other, "ROLLBACK", &err) < 0)
        die(world, "the other session", err.message);
    world->views += world->view_count;
    for (size_t i = 0; i < world->view_count; i++) {
        world->home->session_free(world->made[i].session);
        dbk_buf_release(&world->made[i].select);
    }
    dbk_buf_release(&sql);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    uint64_t count = 100;
    unsigned batches = 10;
    struct world world = {.seed = 0};
    struct dbk_error err = {0};
    struct dbk_store *store = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--show") == 0)
            world.show = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--count") == 0 && i + 1 < argc)
            count = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--batches") == 0 && i + 1 < argc)
            batches = (unsigned)strtoul(argv[++i], NULL, 10);
        else
            return fprintf(stderr, "views_postgres: %s is not known\n", argv[i]), 2;
    }
    struct dbk_sim *sim = dbk_sim_create(1);
    if (sim == NULL ||
        dbk_store_open(
            &(struct dbk_store_options){.os = dbk_sim_os(sim), .folder = "data", .writer = true},
            &store, &err) < 0 ||
        dbk_view_home_of(ADDRESS, &world.home, &err) < 0 ||
        dbk_connection_open(ADDRESS, 0, &world.connection, &err) < 0 ||
        dbk_connection_open(ADDRESS, 0, &world.other, &err) < 0)
        return fprintf(stderr, "views_postgres: %s\n", err.message), 1;
    world.refresh =
        (struct dbk_view_refresh){.fingerprint = "f", .store = store, .os = dbk_sim_os(sim)};
    for (uint64_t i = 0; i < count; i++) {
        world.seed = seed + i;
        run_views(&world, batches);
    }
    (void)printf("{\"seed\":%" PRIu64 ",\"views\":%" PRIu64 ",\"refused\":%" PRIu64
                 ",\"batches\":%" PRIu64 ",\"incremental\":%" PRIu64 ",\"full\":%" PRIu64
                 ",\"jointly\":%" PRIu64 "}\n",
                 seed, world.views, world.refused, world.batches, world.incremental, world.full,
                 world.jointly);
    dbk_connection_free(world.connection);
    dbk_connection_free(world.other);
    dbk_store_free(store);
    dbk_sim_free(sim);
    return 0;
}
