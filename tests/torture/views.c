/* SPDX-License-Identifier: Apache-2.0 */
/*
 * views -- random views over random tables, brought up to date after random changes, for as long
 * as told.
 *
 *     views [--seed N] [--count VIEWS] [--batches N] [--show]
 *
 * A view's tables, its SELECT and the batches of changes (inserts, updates, deletes, replacements,
 * with NULLs, duplicates and values of other types) are made of the seed. After each batch the view
 * is refreshed and compared, as a bag of rows, with its SELECT run by SQLite alone. Views that have
 * something to be refused are counted apart, by the obstacle.
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

#include "os/sim.h"
#include "view/plan.h"

#define TABLES_MAX 3
#define COLUMNS_MAX 5
#define SQL_SIZE_MAX ((size_t)1 << 20)

struct table {
    unsigned columns;
    bool key; /* the first column is INTEGER PRIMARY KEY */
    bool unique;
};

struct world {
    uint64_t random;
    char path[64];
    struct table tables[TABLES_MAX];
    unsigned table_count;
    struct dbk_buf select;
    bool rows_only; /* no groups: also the types of values must be the same */
    bool show;
    /* what the SELECT under way reads */
    unsigned inputs[3];
    unsigned input_count;
};

static uint64_t next_random(struct world *world)
{
    uint64_t x = world->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static unsigned below(struct world *world, unsigned limit)
{
    return (unsigned)(next_random(world) % limit);
}

static bool one_in(struct world *world, unsigned count)
{
    return below(world, count) == 0;
}

static const char *pick(struct world *world, const char *const *items, size_t count)
{
    return items[below(world, (unsigned)count)];
}
#define PICK(world, items) pick(world, items, sizeof(items) / sizeof((items)[0]))

static void die(struct world *world, uint64_t seed, const char *what, const char *why)
{
    (void)fprintf(stderr, "views --seed %" PRIu64 " --count 1: %s: %s\n%.*s\n", seed, what, why,
                  DBK_SLICE_ARGS(world->select));
    exit(1);
}

/* ---- Tables and changes ---- */

static void make_tables(struct world *world, struct dbk_buf *sql)
{
    static const char *const types[] = {"INTEGER", "TEXT", "REAL", "", "NUMERIC", "INTEGER"};
    world->table_count = 1 + below(world, TABLES_MAX);
    for (unsigned i = 0; i < world->table_count; i++) {
        struct table *table = &world->tables[i];
        table->columns = 2 + below(world, COLUMNS_MAX - 1);
        table->key = one_in(world, 2);
        table->unique = one_in(world, 3);
        dbk_buf_append_format(sql, "CREATE TABLE t%u (", i);
        for (unsigned j = 0; j < table->columns; j++)
            dbk_buf_append_format(sql, "%sa%u %s%s", j > 0 ? ", " : "", j,
                                  j == 0 && table->key ? "INTEGER PRIMARY KEY" : PICK(world, types),
                                  j == 1 && table->unique ? " UNIQUE" : "");
        dbk_buf_append_text(sql, ");");
        if (one_in(world, 2))
            dbk_buf_append_format(sql, "CREATE INDEX i%u ON t%u (a1);", i, i);
    }
}

static void append_value(struct world *world, struct dbk_buf *sql)
{
    switch (below(world, 12)) {
    case 0:
    case 1:
        dbk_buf_append_text(sql, "NULL");
        break;
    case 2:
        dbk_buf_append_format(sql, "'%c'", 'a' + (int)below(world, 3));
        break;
    case 3:
        dbk_buf_append_format(sql, "'%u'", below(world, 4));
        break;
    case 4:
        dbk_buf_append_format(sql, "%u.5", below(world, 4));
        break;
    case 5:
        dbk_buf_append_format(sql, "%lld",
                              (long long)(next_random(world) >> (2 + below(world, 50))));
        break;
    default:
        dbk_buf_append_format(sql, "%d", (int)below(world, 7) - 1);
        break;
    }
}

static void append_key(struct world *world, struct dbk_buf *sql)
{
    dbk_buf_append_format(sql, "%u", below(world, 30));
}

static void append_insert(struct world *world, struct dbk_buf *sql, unsigned t)
{
    static const char *const verbs[] = {"INSERT OR IGNORE", "INSERT OR REPLACE", "INSERT OR IGNORE",
                                        "INSERT"};
    const struct table *table = &world->tables[t];
    const char *verb = PICK(world, verbs);
    bool upsert = strcmp(verb, "INSERT") == 0;
    dbk_buf_append_format(sql, "%s INTO t%u VALUES (", verb, t);
    for (unsigned j = 0; j < table->columns; j++) {
        dbk_buf_append_text(sql, j > 0 ? ", " : "");
        if (j == 0 && table->key)
            append_key(world, sql);
        else
            append_value(world, sql);
    }
    dbk_buf_append_text(sql, ")");
    if (upsert && (table->key || table->unique))
        dbk_buf_append_format(sql, " ON CONFLICT DO UPDATE SET a%u = 3", table->columns - 1);
    dbk_buf_append_text(sql, ";");
}

static void append_change(struct world *world, struct dbk_buf *sql)
{
    unsigned t = below(world, world->table_count);
    const struct table *table = &world->tables[t];
    static const char *const verbs[] = {"UPDATE OR IGNORE", "UPDATE OR REPLACE"};
    switch (below(world, 8)) {
    case 0:
        dbk_buf_append_format(sql, "DELETE FROM t%u WHERE a%u = ", t, below(world, table->columns));
        append_value(world, sql);
        dbk_buf_append_text(sql, ";");
        break;
    case 1:
        if (one_in(world, 6))
            dbk_buf_append_format(sql, "DELETE FROM t%u;", t);
        else
            dbk_buf_append_format(sql, "DELETE FROM t%u WHERE rowid %% 5 = %u;", t,
                                  below(world, 5));
        break;
    case 2:
    case 3:
        dbk_buf_append_format(sql, "%s t%u SET a%u = ", PICK(world, verbs), t,
                              below(world, table->columns - 1) + 1);
        append_value(world, sql);
        dbk_buf_append_format(sql, " WHERE rowid %% 4 = %u;", below(world, 4));
        break;
    case 4:
        if (table->key)
            dbk_buf_append_format(sql, "%s t%u SET a0 = a0 + %u WHERE a0 = %u;", PICK(world, verbs),
                                  t, below(world, 3) + 1, below(world, 30));
        break;
    default:
        append_insert(world, sql, t);
        break;
    }
}

static void append_batch(struct world *world, struct dbk_buf *sql, unsigned changes)
{
    dbk_buf_append_text(sql, "BEGIN;");
    for (unsigned i = 0; i < changes; i++)
        append_change(world, sql);
    dbk_buf_append_text(sql, one_in(world, 12) ? "ROLLBACK;" : "COMMIT;");
}

/* ---- SELECTs ---- */

static void append_column(struct world *world, struct dbk_buf *sql)
{
    unsigned input = below(world, world->input_count);
    unsigned column = below(world, world->tables[world->inputs[input]].columns);
    dbk_buf_append_format(sql, "x%u.a%u", input, column);
}

static void append_scalar(struct world *world, struct dbk_buf *sql, unsigned depth);

static void append_test(struct world *world, struct dbk_buf *sql, unsigned depth)
{
    static const char *const operators[] = {"=", "<", ">=", "<>", "IS DISTINCT FROM"};
    switch (depth == 0 ? 0 : below(world, 7)) {
    case 1:
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, one_in(world, 2) ? " IS NULL" : " IS NOT NULL");
        break;
    case 2:
        dbk_buf_append_text(sql, "(");
        append_test(world, sql, depth - 1);
        dbk_buf_append_text(sql, one_in(world, 2) ? " OR " : " AND ");
        append_test(world, sql, depth - 1);
        dbk_buf_append_text(sql, ")");
        break;
    case 3:
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, one_in(world, 2) ? " IN (1, 'a', 2.5)" : " NOT IN (0, 3)");
        break;
    case 4:
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, one_in(world, 2) ? " BETWEEN 0 AND 3" : " NOT BETWEEN 1 AND 2");
        break;
    default:
        append_scalar(world, sql, depth);
        dbk_buf_append_format(sql, " %s ", PICK(world, operators));
        append_scalar(world, sql, depth);
        break;
    }
}

static void append_scalar(struct world *world, struct dbk_buf *sql, unsigned depth)
{
    static const char *const constants[] = {"1", "-1", "'a'", "2.5", "NULL", "'2'", "0"};
    static const char *const operators[] = {"+", "-", "*", "||"};
    switch (depth == 0 ? below(world, 4) : below(world, 9)) {
    case 0:
        dbk_buf_append_text(sql, PICK(world, constants));
        break;
    case 4:
        dbk_buf_append_text(sql, "(");
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_format(sql, " %s ", PICK(world, operators));
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, ")");
        break;
    case 5:
        dbk_buf_append_text(sql, "CASE WHEN ");
        append_test(world, sql, depth - 1);
        dbk_buf_append_text(sql, " THEN ");
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, one_in(world, 2) ? " ELSE 7 END" : " END");
        break;
    case 6:
        dbk_buf_append_text(sql, "coalesce(");
        append_scalar(world, sql, depth - 1);
        dbk_buf_append_text(sql, ", 'none')");
        break;
    case 7:
        dbk_buf_append_text(sql, "CAST(");
        append_column(world, sql);
        dbk_buf_append_text(sql, one_in(world, 2) ? " AS INTEGER)" : " AS TEXT)");
        break;
    default:
        append_column(world, sql);
        break;
    }
}

static void append_aggregate(struct world *world, struct dbk_buf *sql)
{
    static const char *const names[] = {"count", "sum", "avg", "min", "max", "total"};
    if (one_in(world, 5)) {
        dbk_buf_append_text(sql, "count(*)");
        return;
    }
    dbk_buf_append_format(sql, "%s(", PICK(world, names));
    if (one_in(world, 8))
        dbk_buf_append_text(sql, "DISTINCT ");
    append_scalar(world, sql, below(world, 2));
    dbk_buf_append_text(sql, ")");
}

static void append_from(struct world *world, struct dbk_buf *sql)
{
    bool outer = false;
    for (unsigned i = 0; i < world->input_count; i++) {
        outer = outer || (i > 0 && one_in(world, 4));
        dbk_buf_append_format(sql, "%st%u AS x%u",
                              i == 0  ? " FROM "
                              : outer ? " LEFT JOIN "
                                      : " JOIN ",
                              world->inputs[i], i);
        if (i == 0)
            continue;
        dbk_buf_append_format(sql, " ON x%u.a%u = x%u.a%u", below(world, i), below(world, 2), i,
                              below(world, 2));
    }
    if (one_in(world, 2)) {
        dbk_buf_append_text(sql, " WHERE ");
        append_test(world, sql, 2);
    }
}

static void choose_inputs(struct world *world)
{
    world->input_count = 1 + below(world, 3);
    for (unsigned i = 0; i < world->input_count; i++)
        world->inputs[i] = below(world, world->table_count);
}

static void append_outputs(struct world *world, struct dbk_buf *sql, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : " ");
        append_scalar(world, sql, below(world, 3));
        dbk_buf_append_format(sql, " AS o%u", i);
    }
}

static void append_grouped(struct world *world, struct dbk_buf *sql)
{
    unsigned keys = below(world, 3);
    unsigned aggregates = 1 + below(world, 3);
    struct dbk_buf key[2];
    for (unsigned i = 0; i < 2; i++) {
        dbk_buf_init(&key[i], SQL_SIZE_MAX);
        if (one_in(world, 3))
            append_scalar(world, &key[i], 1);
        else
            append_column(world, &key[i]);
    }
    dbk_buf_append_text(sql, "SELECT ");
    for (unsigned i = 0; i < keys; i++) {
        dbk_buf_append(sql, dbk_buf_slice(&key[i]));
        dbk_buf_append_format(sql, " AS k%u, ", i);
    }
    for (unsigned i = 0; i < aggregates; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : "");
        append_aggregate(world, sql);
        if (one_in(world, 4))
            dbk_buf_append_text(sql, one_in(world, 2) ? " + 1" : " || 'x'");
        dbk_buf_append_format(sql, " AS o%u", i);
    }
    append_from(world, sql);
    for (unsigned i = 0; i < keys; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : " GROUP BY ");
        if (one_in(world, 4))
            dbk_buf_append_format(sql, "%u", i + 1);
        else
            dbk_buf_append(sql, dbk_buf_slice(&key[i]));
    }
    if (keys > 0 && one_in(world, 3)) {
        dbk_buf_append_text(sql, " HAVING ");
        append_aggregate(world, sql);
        dbk_buf_append_text(sql, one_in(world, 2) ? " > 1" : " <> 2");
    }
    for (unsigned i = 0; i < 2; i++)
        dbk_buf_release(&key[i]);
}

static void make_select(struct world *world)
{
    struct dbk_buf *sql = &world->select;
    unsigned branches = 1;
    unsigned outputs = 1 + below(world, 4);
    unsigned shape = below(world, 10);
    dbk_buf_reset(sql);
    choose_inputs(world);
    world->rows_only = shape < 4;
    if (shape >= 5) {
        append_grouped(world, sql);
        return;
    }
    if (shape < 2)
        branches = 2 + below(world, 2);
    for (unsigned i = 0; i < branches; i++) {
        choose_inputs(world);
        dbk_buf_append_text(sql, i > 0 ? " UNION ALL SELECT" : "SELECT");
        dbk_buf_append_text(sql, shape == 4 ? " DISTINCT" : "");
        append_outputs(world, sql, outputs);
        append_from(world, sql);
    }
}

/* ---- Running it ---- */

struct run {
    struct world *world;
    uint64_t seed;
    struct dbk_store *store;
    struct dbk_os *os;
    struct dbk_view_definition definition;
    struct dbk_view_source source;
    struct dbk_connection *connection; /* ours */
    uint64_t views;
    uint64_t refused;
    uint64_t incremental;
    uint64_t full;
    uint64_t batches;
};

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
        die(run->world, run->seed, what, err.message);
    dbk_buf_reset(sql);
}

/* The result's columns; types: each with typeof() behind it. */
static void append_list(struct dbk_statement *statement, bool types, struct dbk_buf *out)
{
    for (int i = 0; i < dbk_statement_column_count(statement); i++) {
        const char *name = dbk_statement_column_name(statement, i);
        dbk_buf_append_format(out, i > 0 ? ", %s" : "%s", name);
        if (types)
            dbk_buf_append_format(out, ", typeof(%s)", name);
    }
}

/* What SQLite makes of the SELECT, into temp.q without affinities: inside of another SELECT those
   of a UNION's first branch may change the values of the others. */
static int store_expected(struct run *run, struct dbk_statement *statement, struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "DROP TABLE IF EXISTS temp.q; CREATE TEMP TABLE q (");
    append_list(statement, false, &sql);
    dbk_buf_append_text(&sql, "); INSERT INTO temp.q ");
    dbk_buf_append(&sql, dbk_buf_slice(&run->world->select));
    dbk_buf_append_char(&sql, '\0');
    int rc = dbk_connection_run(run->connection, sql.data, err);
    dbk_buf_release(&sql);
    return rc;
}

/* Rows of each side that the other has not as often. */
static int64_t differences(struct run *run, struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_buf list;
    struct dbk_statement *statement = NULL;
    int64_t count = -1;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_init(&list, SQL_SIZE_MAX);
    int rc = dbk_statement_open(run->connection, DBK_SLICE_LITERAL("SELECT * FROM v"), &statement,
                                NULL, err);
    if (rc == DBK_OK) {
        append_list(statement, run->world->rows_only, &list);
        rc = store_expected(run, statement, err);
    }
    dbk_statement_free(statement);
    statement = NULL;
    dbk_buf_append_format(&sql,
                          "WITH a AS (SELECT %.*s, count(*) FROM v GROUP BY %.*s), b AS (SELECT "
                          "%.*s, count(*) FROM temp.q GROUP BY %.*s) SELECT (SELECT count(*) FROM "
                          "(SELECT * FROM a EXCEPT SELECT * FROM b)) + (SELECT count(*) FROM "
                          "(SELECT * FROM b EXCEPT SELECT * FROM a))",
                          DBK_SLICE_ARGS(list), DBK_SLICE_ARGS(list), DBK_SLICE_ARGS(list),
                          DBK_SLICE_ARGS(list));
    if (rc == DBK_OK)
        rc = dbk_statement_open(run->connection, dbk_buf_slice(&sql), &statement, NULL, err);
    if (rc == DBK_OK && dbk_statement_step(statement, err) == 1)
        count = dbk_statement_column(statement, 0).integer;
    dbk_statement_free(statement);
    dbk_buf_release(&sql);
    dbk_buf_release(&list);
    return count;
}

/* True when SQLite itself cannot run the SELECT (a sum that overflows). */
static bool fails(struct run *run)
{
    struct dbk_statement *statement = NULL;
    struct dbk_error err = {0};
    int rc = dbk_statement_open(run->connection, dbk_buf_slice(&run->world->select), &statement,
                                NULL, &err);
    while (rc >= 0 && (rc = dbk_statement_step(statement, &err)) == 1)
        continue;
    dbk_statement_free(statement);
    return rc < 0;
}

static void refresh(struct run *run, bool first)
{
    struct dbk_error err = {0};
    struct dbk_view_row row;
    bool impossible = fails(run);
    int rc = dbk_view_refresh_run(&(struct dbk_view_refresh){.definition = &run->definition,
                                                             .source = &run->source,
                                                             .fingerprint = "f",
                                                             .store = run->store,
                                                             .os = run->os},
                                  &err);
    if (rc < 0 && impossible)
        return;
    if (rc < 0)
        die(run->world, run->seed, "the refresh failed", err.message);
    if (impossible)
        die(run->world, run->seed, "the refresh", "should have failed as the SELECT does");
    rc = dbk_view_catalog_read(run->connection, "v", &row, &err);
    if (rc < 0)
        die(run->world, run->seed, "the catalog", err.message);
    if (run->world->show)
        (void)printf("-- %s: %s\n", dbk_view_mode_text(row.refreshed), row.reason);
    if (first && row.layout == 0)
        run->refused++;
    if (!first) {
        run->batches++;
        run->incremental += row.refreshed == DBK_VIEW_INCREMENTAL;
        run->full += row.refreshed == DBK_VIEW_FULL;
    }
    int64_t count = differences(run, &err);
    if (count != 0)
        die(run->world, run->seed, count < 0 ? "the comparison" : "the rows differ",
            count < 0 ? err.message : row.reason);
}

static void run_view(struct run *run, unsigned batches)
{
    struct world *world = run->world;
    struct dbk_error err = {0};
    struct dbk_buf sql;
    static const char *const ends[] = {"", "-wal", "-shm"};
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    if (dbk_connection_open(world->path, 0, &run->connection, &err) < 0)
        die(world, run->seed, "the database", err.message);
    make_tables(world, &sql);
    append_batch(world, &sql, 20);
    run_sql(run, "the tables", &sql);
    do
        make_select(world);
    while (world->select.rc < 0);
    if (world->show)
        (void)printf("%.*s\n", DBK_SLICE_ARGS(world->select));
    run->definition = (struct dbk_view_definition){.name = "v",
                                                   .file = "views/v.sql",
                                                   .database = "d",
                                                   .database_path = world->path,
                                                   .mode = DBK_VIEW_AUTO,
                                                   .sql = dbk_buf_slice(&world->select)};
    refresh(run, true);
    for (unsigned i = 0; i < batches; i++) {
        append_batch(world, &sql, 1 + below(world, 10));
        run_sql(run, "a batch", &sql);
        refresh(run, false);
    }
    run->views++;
    dbk_connection_free(run->connection);
    dbk_buf_release(&sql);
    for (size_t i = 0; i < 3; i++) {
        char file[80];
        (void)snprintf(file, sizeof(file), "%s%s", world->path, ends[i]);
        (void)unlink(file);
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    uint64_t count = 100;
    unsigned batches = 10;
    struct world world = {.table_count = 0};
    struct run run = {.world = &world};
    struct dbk_error err = {0};
    char folder[] = "/tmp/daybook-views-XXXXXX";
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
            return fprintf(stderr, "views: %s is not known\n", argv[i]), 2;
    }
    struct dbk_sim *sim = dbk_sim_create(1);
    if (sim == NULL || mkdtemp(folder) == NULL ||
        dbk_store_open(
            &(struct dbk_store_options){.os = dbk_sim_os(sim), .folder = "data", .writer = true},
            &run.store, &err) < 0)
        return fprintf(stderr, "views: %s\n", err.message), 1;
    run.os = dbk_sim_os(sim);
    (void)snprintf(world.path, sizeof(world.path), "%s/d.db", folder);
    dbk_buf_init(&world.select, SQL_SIZE_MAX);
    for (uint64_t i = 0; i < count; i++) {
        run.seed = seed + i;
        world.random = run.seed;
        run_view(&run, batches);
    }
    (void)printf("{\"seed\":%" PRIu64 ",\"views\":%" PRIu64 ",\"refused\":%" PRIu64
                 ",\"batches\":%" PRIu64 ",\"incremental\":%" PRIu64 ",\"full\":%" PRIu64 "}\n",
                 seed, run.views, run.refused, run.batches, run.incremental, run.full);
    dbk_buf_release(&world.select);
    dbk_store_free(run.store);
    dbk_sim_free(sim);
    (void)rmdir(folder);
    return 0;
}
