/* SPDX-License-Identifier: Apache-2.0 */
/*
 * views_postgres -- random views over random tables of a PostgreSQL server, brought up to date
 * after random changes, for as long as told.
 *
 *     DAYBOOK_POSTGRES='host=… dbname=…' views_postgres [--seed N] [--count VIEWS] [--batches N]
 *                                                       [--show]
 *
 * Tables, SELECTs and batches of changes are made of the seed, with types as PostgreSQL wants them.
 * A second session has a transaction open across refreshes, and commits or rolls back later. After
 * each batch the view is refreshed and compared, as a bag of rows, with its SELECT run by the
 * server. Views that have something to be refused are counted apart.
 *
 * Prints counts as a JSON line; ends with 1 and the seed that shows it at the first difference.
 *
 * Threads: one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/sim.h"
#include "view/home.h"

#define ADDRESS "postgres:env:DAYBOOK_POSTGRES"
#define SQL_SIZE_MAX ((size_t)1 << 20)
#define TABLES_MAX 3
#define COLUMNS_MAX 5
#define INPUTS_MAX 3

enum type { WHOLE, NUMBER, WORD, TYPE_COUNT };
static const char *const type_names[] = {"bigint", "numeric", "text"};

struct table {
    unsigned columns;
    enum type types[COLUMNS_MAX];
    unsigned key; /* how many columns it has */
};

/* What a SELECT's names may mean. */
struct scope {
    char alias;
    unsigned count;
    unsigned columns[INPUTS_MAX];
    char letter[INPUTS_MAX]; /* of the columns: a0, a1 of a table, o0, o1 of a SELECT */
    enum type types[INPUTS_MAX][COLUMNS_MAX];
    const struct scope *around;
};

struct world {
    uint64_t random;
    uint64_t seed;
    struct table tables[TABLES_MAX];
    unsigned table_count;
    struct dbk_buf select;
    bool show;
    struct scope *scope;
    unsigned names; /* of aliases given so far */
    struct dbk_connection *connection;
    struct dbk_connection *other; /* with a transaction open across refreshes */
    bool open;
    const struct dbk_view_home *home;
    struct dbk_view_refresh refresh;
    uint64_t views;
    uint64_t refused;
    uint64_t incremental;
    uint64_t full;
    uint64_t batches;
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

static void die(struct world *world, const char *what, const char *why)
{
    (void)fprintf(stderr, "views_postgres --seed %" PRIu64 " --count 1: %s: %s\n%.*s\n",
                  world->seed, what, why, DBK_SLICE_ARGS(world->select));
    exit(1);
}

/* ---- Tables and changes ---- */

static void append_constant(struct world *world, struct dbk_buf *sql, enum type type, bool null)
{
    static const char *const numbers[] = {"0.5", "1.25", "2", "3.00", "-1", "0", "2.125"};
    static const char *const words[] = {"'a'", "'b'", "'ab'", "''", "'1'", "'it''s'"};
    if (null && one_in(world, 4)) {
        dbk_buf_append_format(sql, "NULL::%s", type_names[type]);
        return;
    }
    if (type == WHOLE)
        dbk_buf_append_format(sql, "%d::bigint", (int)below(world, 7) - 1);
    else if (type == NUMBER)
        dbk_buf_append_format(sql, "%s::numeric",
                              null && one_in(world, 60) ? "'NaN'" : PICK(world, numbers));
    else
        dbk_buf_append_format(sql, "%s::text", PICK(world, words));
}

static void make_tables(struct world *world, struct dbk_buf *sql)
{
    world->table_count = 1 + below(world, TABLES_MAX);
    for (unsigned i = 0; i < world->table_count; i++) {
        struct table *table = &world->tables[i];
        table->columns = 2 + below(world, COLUMNS_MAX - 1);
        table->key = one_in(world, 3) ? 2 : 1;
        dbk_buf_append_format(sql, "CREATE TABLE t%u (", i);
        for (unsigned j = 0; j < table->columns; j++) {
            table->types[j] = j == 0 ? WHOLE : (enum type)below(world, TYPE_COUNT);
            dbk_buf_append_format(sql, "a%u %s%s, ", j, type_names[table->types[j]],
                                  j < table->key ? " NOT NULL" : "");
        }
        dbk_buf_append_text(sql, table->key == 2 ? "PRIMARY KEY (a1, a0));" : "PRIMARY KEY (a0));");
        if (one_in(world, 2))
            dbk_buf_append_format(sql, "CREATE INDEX ON t%u (a1);", i);
    }
}

/* base: of the first column's values, so that two sessions never want one row. */
static void append_change(struct world *world, struct dbk_buf *sql, unsigned base)
{
    unsigned t = below(world, world->table_count);
    const struct table *table = &world->tables[t];
    unsigned j = below(world, table->columns);
    switch (below(world, 9)) {
    case 0:
        dbk_buf_append_format(sql, "DELETE FROM t%u WHERE a0 / 100 = %u AND a%u = ", t, base / 100,
                              j);
        append_constant(world, sql, table->types[j], false);
        break;
    case 1:
        dbk_buf_append_format(sql, "DELETE FROM t%u WHERE a0 / 100 = %u AND a0 %% 5 = %u", t,
                              base / 100, below(world, 5));
        break;
    case 2:
    case 3:
        if (table->key == table->columns)
            return;
        j = table->key + below(world, table->columns - table->key);
        dbk_buf_append_format(sql, "UPDATE t%u SET a%u = ", t, j);
        append_constant(world, sql, table->types[j], true);
        dbk_buf_append_format(sql, " WHERE a0 / 100 = %u AND a0 %% 4 = %u", base / 100,
                              below(world, 4));
        break;
    case 4: /* All at once: keys change places. */
        dbk_buf_append_format(
            sql,
            "UPDATE t%u SET a0 = -1 - a0 WHERE a0 / 100 = %u; UPDATE t%u SET a0 = "
            "%u + (-1 - a0 + %u) %% 40 WHERE a0 < 0",
            t, base / 100, t, base, below(world, 40));
        break;
    default:
        dbk_buf_append_format(sql, "INSERT INTO t%u VALUES (%u", t, base + below(world, 40));
        for (j = 1; j < table->columns; j++) {
            dbk_buf_append_text(sql, ", ");
            append_constant(world, sql, table->types[j], j >= table->key);
        }
        dbk_buf_append_text(sql, ") ON CONFLICT");
        if (one_in(world, 2) || table->key == table->columns) {
            dbk_buf_append_text(sql, " DO NOTHING");
            break;
        }
        j = table->columns - 1;
        dbk_buf_append_format(sql, " (%s) DO UPDATE SET a%u = ", table->key == 2 ? "a1, a0" : "a0",
                              j);
        append_constant(world, sql, table->types[j], true);
        break;
    }
    dbk_buf_append_text(sql, ";");
}

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

static void make_batch(struct world *world, struct dbk_buf *sql, unsigned changes)
{
    dbk_buf_append_text(sql, "BEGIN;");
    for (unsigned i = 0; i < changes; i++) {
        bool back = one_in(world, 8);
        dbk_buf_append_text(sql, back ? "SAVEPOINT s;" : "");
        append_change(world, sql, 0);
        dbk_buf_append_text(sql, back ? "ROLLBACK TO s;" : "");
    }
    if (!world->open && one_in(world, 30))
        dbk_buf_append_format(sql, "TRUNCATE t%u;", below(world, world->table_count));
    dbk_buf_append_text(sql, one_in(world, 12) ? "ROLLBACK;" : "COMMIT;");
}

/* The other session begins, goes on with, or ends its transaction. */
static void run_other(struct world *world, struct dbk_buf *sql)
{
    if (!world->open)
        dbk_buf_append_text(sql, "BEGIN;");
    world->open = true;
    append_change(world, sql, 100);
    append_change(world, sql, 100);
    if (one_in(world, 3)) {
        dbk_buf_append_text(sql, one_in(world, 4) ? "ROLLBACK;" : "COMMIT;");
        world->open = false;
    }
    run_sql(world, world->other, "the other session", sql);
}

/* ---- Expressions ---- */

static void append_query(struct world *world, struct dbk_buf *sql, const enum type *types,
                         unsigned count, unsigned depth);
static void append_test(struct world *world, struct dbk_buf *sql, unsigned depth);

/* A column of a type, where there is one; else a constant. */
static void append_column(struct world *world, struct dbk_buf *sql, enum type type)
{
    const struct scope *scope = world->scope;
    if (scope->around != NULL && one_in(world, 3))
        scope = scope->around;
    for (unsigned tries = 0; tries < 8; tries++) {
        unsigned input = below(world, scope->count);
        unsigned column = below(world, scope->columns[input]);
        if (scope->types[input][column] != type)
            continue;
        dbk_buf_append_format(sql, "%c%u.%c%u", scope->alias, input, scope->letter[input], column);
        return;
    }
    append_constant(world, sql, type, false);
}

static void append_value(struct world *world, struct dbk_buf *sql, enum type type, unsigned depth)
{
    static const char *const signs[] = {"+", "-", "*"};
    unsigned kind = below(world, depth == 0 ? 4 : 10);
    if (kind < 3) {
        append_column(world, sql, type);
    } else if (kind == 3) {
        append_constant(world, sql, type, one_in(world, 5));
    } else if (kind == 4) {
        dbk_buf_append_text(sql, "CASE WHEN ");
        append_test(world, sql, 0);
        dbk_buf_append_text(sql, " THEN ");
        append_value(world, sql, type, depth - 1);
        dbk_buf_append_text(sql, " ELSE ");
        append_value(world, sql, type, depth - 1);
        dbk_buf_append_text(sql, " END");
    } else if (kind == 5) {
        dbk_buf_append_text(sql, one_in(world, 2) ? "coalesce(" : "nullif(");
        append_value(world, sql, type, depth - 1);
        dbk_buf_append_text(sql, ", ");
        append_value(world, sql, type, depth - 1);
        dbk_buf_append_text(sql, ")");
    } else if (type == WORD) {
        dbk_buf_append_text(sql, kind == 6 ? "upper(" : "(");
        append_value(world, sql, type, depth - 1);
        if (kind > 6) {
            dbk_buf_append_text(sql, " || ");
            append_value(world, sql, type, depth - 1);
        }
        dbk_buf_append_text(sql, ")");
    } else if (kind == 6) {
        dbk_buf_append_text(sql, type == WHOLE ? "length(" : "(");
        append_value(world, sql, type == WHOLE ? WORD : WHOLE, depth - 1);
        dbk_buf_append_text(sql, type == WHOLE ? ")::bigint" : ")::numeric(12, 3)");
    } else {
        dbk_buf_append_text(sql, "(");
        append_value(world, sql, type, depth - 1);
        dbk_buf_append_format(sql, " %s ", PICK(world, signs));
        append_value(world, sql, type, 0);
        dbk_buf_append_text(sql, ")");
    }
}

static void append_test(struct world *world, struct dbk_buf *sql, unsigned depth)
{
    static const char *const signs[] = {
        "=", "<>", "<", "<=", ">", "=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"};
    enum type type = (enum type)below(world, TYPE_COUNT);
    unsigned kind = below(world, depth == 0 ? 6 : 10);
    switch (kind) {
    case 4:
        append_value(world, sql, type, 0);
        dbk_buf_append_text(sql, one_in(world, 2) ? " IS NULL" : " IS NOT NULL");
        break;
    case 5:
        append_value(world, sql, type, 0);
        dbk_buf_append_text(sql, one_in(world, 2) ? " IN (" : " NOT IN (");
        append_constant(world, sql, type, true);
        dbk_buf_append_text(sql, ", ");
        append_constant(world, sql, type, false);
        dbk_buf_append_text(sql, ")");
        break;
    case 6:
        dbk_buf_append_text(sql, one_in(world, 3) ? "NOT (" : "(");
        append_test(world, sql, depth - 1);
        dbk_buf_append_text(sql, one_in(world, 2) ? " OR " : " AND ");
        append_test(world, sql, depth - 1);
        dbk_buf_append_text(sql, ")");
        break;
    case 7:
        dbk_buf_append_text(sql, one_in(world, 2) ? "EXISTS (" : "NOT EXISTS (");
        append_query(world, sql, &type, 1, depth - 1);
        dbk_buf_append_text(sql, ")");
        break;
    case 8:
        append_value(world, sql, type, 0);
        dbk_buf_append_text(sql, one_in(world, 2) ? " IN (" : " NOT IN (");
        append_query(world, sql, &type, 1, depth - 1);
        dbk_buf_append_text(sql, ")");
        break;
    default:
        append_value(world, sql, type, depth > 0 ? 1 : 0);
        dbk_buf_append_format(sql, " %s ", PICK(world, signs));
        append_value(world, sql, type, 0);
        break;
    }
}

/* ---- SELECTs ---- */

static void append_input(struct world *world, struct dbk_buf *sql, struct scope *scope,
                         unsigned input, unsigned depth)
{
    enum type types[COLUMNS_MAX];
    if (depth == 0 || one_in(world, 2)) {
        unsigned t = below(world, world->table_count);
        const struct table *table = &world->tables[t];
        scope->columns[input] = table->columns;
        scope->letter[input] = 'a';
        memcpy(scope->types[input], table->types, sizeof(table->types));
        dbk_buf_append_format(sql, "t%u AS %c%u", t, scope->alias, input);
        return;
    }
    unsigned count = 1 + below(world, 3);
    for (unsigned i = 0; i < count; i++)
        types[i] = (enum type)below(world, TYPE_COUNT);
    struct scope *before = world->scope;
    world->scope = NULL; /* A subquery in FROM sees nothing of what is around it. */
    dbk_buf_append_text(sql, "(");
    append_query(world, sql, types, count, depth - 1);
    dbk_buf_append_format(sql, ") AS %c%u", scope->alias, input);
    world->scope = before;
    scope->columns[input] = count;
    scope->letter[input] = 'o';
    memcpy(scope->types[input], types, sizeof(types));
}

static void append_from(struct world *world, struct dbk_buf *sql, struct scope *scope,
                        unsigned depth)
{
    static const char *const joins[] = {" JOIN ", " JOIN ", " LEFT JOIN ", " RIGHT JOIN ",
                                        " FULL JOIN "};
    unsigned count = 1 + (one_in(world, 2) ? below(world, INPUTS_MAX) : 0);
    const struct scope *around = scope->around;
    dbk_buf_append_text(sql, " FROM ");
    for (unsigned i = 0; i < count; i++) {
        if (i == 0 || one_in(world, 6)) {
            dbk_buf_append_text(sql, i > 0 ? " CROSS JOIN " : "");
            append_input(world, sql, scope, i, depth);
            scope->count = i + 1;
            continue;
        }
        const char *join = PICK(world, joins);
        bool full = strcmp(join, " FULL JOIN ") == 0;
        dbk_buf_append_text(sql, join);
        append_input(world, sql, scope, i, depth);
        /* ON names what stands before it. FULL JOIN wants a comparison that can be merged. */
        unsigned j = below(world, i);
        unsigned left = 0;
        unsigned right = 0;
        bool found = false;
        for (left = 0; left < scope->columns[j] && !found; left++) {
            for (right = 0; right < scope->columns[i] && !found; right++)
                found = scope->types[j][left] == scope->types[i][right];
        }
        scope->count = i + 1;
        scope->around = NULL;
        if (found)
            dbk_buf_append_format(sql, " ON %c%u.%c%u = %c%u.%c%u", scope->alias, j,
                                  scope->letter[j], left - 1, scope->alias, i, scope->letter[i],
                                  right - 1);
        else
            dbk_buf_append_text(sql, full ? " ON TRUE" : " ON 1 = 1");
        if (!full && one_in(world, 3)) {
            dbk_buf_append_text(sql, " AND ");
            append_test(world, sql, 0);
        }
        scope->around = around;
    }
}

static void append_aggregate(struct world *world, struct dbk_buf *sql, enum type type)
{
    static const char *const ends[] = {"min", "max"};
    if (type == WHOLE && one_in(world, 3)) {
        dbk_buf_append_text(sql, one_in(world, 2) ? "count(*)" : "count(");
        if (sql->size > 0 && sql->data[sql->size - 1] == '(') {
            dbk_buf_append_text(sql, one_in(world, 4) ? "DISTINCT " : "");
            append_value(world, sql, (enum type)below(world, TYPE_COUNT), 1);
            dbk_buf_append_text(sql, ")");
        }
        return;
    }
    if (type == NUMBER && !one_in(world, 3)) {
        dbk_buf_append_text(sql, one_in(world, 2) ? "sum(" : "avg(");
        dbk_buf_append_text(sql, one_in(world, 8) ? "DISTINCT " : "");
        append_value(world, sql, one_in(world, 2) ? NUMBER : WHOLE, 1);
        dbk_buf_append_text(sql, ")");
        return;
    }
    dbk_buf_append_format(sql, "%s(", PICK(world, ends));
    append_value(world, sql, type, 1);
    dbk_buf_append_text(sql, ")");
}

static void append_outputs(struct world *world, struct dbk_buf *sql, const enum type *types,
                           unsigned count, unsigned groups)
{
    for (unsigned i = 0; i < count; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : "");
        if (i < groups)
            append_value(world, sql, types[i], 1);
        else
            append_aggregate(world, sql, types[i]);
        dbk_buf_append_format(sql, " AS o%u", i);
    }
}

static void append_select(struct world *world, struct dbk_buf *sql, const enum type *types,
                          unsigned count, unsigned depth)
{
    struct scope scope = {.alias = (char)('b' + world->names++ % 24), .around = world->scope};
    struct scope *before = world->scope;
    struct dbk_buf from;
    unsigned kind = below(world, 4);
    unsigned groups = kind == 0 ? below(world, count + 1) : count;
    dbk_buf_init(&from, SQL_SIZE_MAX);
    world->scope = &scope;
    append_from(world, &from, &scope, depth);
    dbk_buf_append_text(sql, kind == 1 ? "SELECT DISTINCT " : "SELECT ");
    append_outputs(world, sql, types, count, groups);
    dbk_buf_append(sql, dbk_buf_slice(&from));
    if (one_in(world, 2)) {
        dbk_buf_append_text(sql, " WHERE ");
        append_test(world, sql, depth);
    }
    for (unsigned i = 0; kind == 0 && i < groups; i++)
        dbk_buf_append_format(sql, i > 0 ? ", %u" : " GROUP BY %u", i + 1);
    if (kind == 0 && one_in(world, 4)) {
        dbk_buf_append_text(sql, " HAVING ");
        append_aggregate(world, sql, WHOLE);
        dbk_buf_append_text(sql, " > 1");
    }
    if (from.rc < 0)
        sql->rc = from.rc;
    dbk_buf_release(&from);
    world->scope = before;
}

static void append_query(struct world *world, struct dbk_buf *sql, const enum type *types,
                         unsigned count, unsigned depth)
{
    static const char *const words[] = {" UNION ALL ", " UNION ", " EXCEPT ", " INTERSECT ",
                                        " UNION ALL "};
    append_select(world, sql, types, count, depth);
    if (!one_in(world, 5))
        return;
    dbk_buf_append_text(sql, PICK(world, words));
    append_select(world, sql, types, count, depth);
}

/* ---- Running it ---- */

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
    dbk_buf_append(sql, dbk_buf_slice(&world->select));
    dbk_buf_append_text(sql, ") AS q");
    bool failed = ask(world, sql, &err) < 0;
    if (failed && world->show)
        (void)printf("-- it fails: %s\n", err.message);
    return failed;
}

static void refresh(struct world *world, struct dbk_buf *sql, bool first)
{
    struct dbk_error err = {0};
    struct dbk_view_row row = {0};
    if (fails(world, sql))
        return;
    if (world->home->refresh(&world->refresh, &err) < 0)
        die(world, "the refresh", err.message);
    if (world->home->row(world->refresh.definition, &row, &err) < 0)
        die(world, "the view's row", err.message);
    if (first && strcmp(row.reason, "it is the first refresh") != 0) {
        if (world->show)
            (void)printf("-- refused: %s\n", row.reason);
        world->refused++;
    } else if (!first && row.refreshed == DBK_VIEW_INCREMENTAL) {
        world->incremental++;
    } else if (!first) {
        if (world->show)
            (void)printf("-- full: %s\n", row.reason);
        world->full++;
    }
    for (int side = 0; side < 2; side++) {
        dbk_buf_append_format(sql, "SELECT count(*) FROM (%s ",
                              side == 0 ? "SELECT * FROM v" : "(");
        if (side == 1)
            dbk_buf_append(sql, dbk_buf_slice(&world->select));
        dbk_buf_append_text(sql, side == 0 ? " EXCEPT ALL (" : ") EXCEPT ALL (SELECT * FROM v");
        if (side == 0)
            dbk_buf_append(sql, dbk_buf_slice(&world->select));
        dbk_buf_append_text(sql, ")) AS q");
        int64_t count = ask(world, sql, &err);
        if (count != 0) {
            char text[sizeof(err.message) + 80];
            (void)snprintf(text, sizeof(text), "%" PRId64 " rows are %s; %s", count,
                           side == 0 ? "too many" : "missing", err.message);
            die(world, "a difference", text);
        }
    }
    dbk_buf_append_text(sql, "SELECT count(*) FROM v");
    if (ask(world, sql, &err) != (int64_t)row.rows)
        die(world, "a difference", "rows are counted otherwise");
}

static void run_view(struct world *world, unsigned batches)
{
    struct dbk_view_definition definition = {.name = "v",
                                             .file = "views/v.sql",
                                             .database = "d",
                                             .database_path = ADDRESS,
                                             .mode = DBK_VIEW_AUTO};
    struct dbk_error err = {0};
    struct dbk_buf sql;
    enum type types[COLUMNS_MAX];
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_text(&sql, "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public;");
    make_tables(world, &sql);
    run_sql(world, world->connection, "the tables", &sql);
    make_batch(world, &sql, 40);
    run_sql(world, world->connection, "the first rows", &sql);
    unsigned count = 1 + below(world, 4);
    for (unsigned i = 0; i < count; i++)
        types[i] = (enum type)below(world, TYPE_COUNT);
    dbk_buf_reset(&world->select);
    world->names = 0;
    world->scope = NULL;
    append_query(world, &world->select, types, count, below(world, 4));
    if (world->show)
        (void)printf("%.*s\n", DBK_SLICE_ARGS(world->select));
    definition.sql = dbk_buf_slice(&world->select);
    world->refresh.definition = &definition;
    if (world->seed % 2 == 0 && world->home->session_open(&world->refresh.session, &err) < 0)
        die(world, "the session", err.message);
    refresh(world, &sql, true);
    for (unsigned i = 0; i < batches; i++) {
        make_batch(world, &sql, 1 + below(world, 10));
        run_sql(world, world->connection, "a batch", &sql);
        if (one_in(world, 2))
            run_other(world, &sql);
        refresh(world, &sql, false);
        world->batches++;
    }
    if (world->open && dbk_connection_run(world->other, "ROLLBACK", &err) < 0)
        die(world, "the other session", err.message);
    world->open = false;
    world->views++;
    world->home->session_free(world->refresh.session);
    world->refresh.session = NULL;
    dbk_buf_release(&sql);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    uint64_t count = 100;
    unsigned batches = 10;
    struct world world = {.table_count = 0};
    struct dbk_error err = {0};
    struct dbk_store *store = NULL;
    static const struct dbk_view_source nothing = {0};
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
    world.refresh = (struct dbk_view_refresh){
        .source = &nothing, .fingerprint = "f", .store = store, .os = dbk_sim_os(sim)};
    dbk_buf_init(&world.select, SQL_SIZE_MAX);
    for (uint64_t i = 0; i < count; i++) {
        world.seed = seed + i;
        world.random = world.seed;
        run_view(&world, batches);
    }
    (void)printf("{\"seed\":%" PRIu64 ",\"views\":%" PRIu64 ",\"refused\":%" PRIu64
                 ",\"batches\":%" PRIu64 ",\"incremental\":%" PRIu64 ",\"full\":%" PRIu64 "}\n",
                 seed, world.views, world.refused, world.batches, world.incremental, world.full);
    dbk_connection_free(world.connection);
    dbk_connection_free(world.other);
    dbk_buf_release(&world.select);
    dbk_store_free(store);
    dbk_sim_free(sim);
    return 0;
}
