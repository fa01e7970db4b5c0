/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refresh_test -- a refresh brings the whole new result or leaves the old one, and writes in
 * transactions of few rows.
 *
 * Every session is watched from its opening on: which rows a write transaction changes is counted,
 * and the function watched(), called by a view's SELECT, tells when that SELECT is stepped.
 */
#include "test.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/sim.h"
#include "view/refresh.h"

#define ROWS_MAX 500 /* of one write transaction */

static struct dbk_sim *sim;
static struct dbk_store *store;
static char folder[64];
static char path[96];

static bool writing;         /* a write transaction is open */
static unsigned writes;      /* write transactions so far */
static sqlite3_int64 before; /* changes of the session when the transaction began */
static sqlite3_int64 rows_most;
static unsigned steps; /* calls of watched() */
static unsigned steps_while_writing;
static int64_t seen_rows; /* what another session sees in the view while it is refreshed */

static int64_t ask(const char *sql);

static int on_statement(unsigned kind, void *context, void *statement, void *text)
{
    sqlite3 *sqlite = context;
    const char *sql = text;
    (void)kind;
    (void)statement;
    if (strcmp(sql, "BEGIN IMMEDIATE") == 0) {
        writing = true;
        writes++;
        before = sqlite3_total_changes64(sqlite);
    } else if (writing && (strcmp(sql, "COMMIT") == 0 || strcmp(sql, "ROLLBACK") == 0)) {
        sqlite3_int64 rows = sqlite3_total_changes64(sqlite) - before;
        rows_most = rows > rows_most ? rows : rows_most;
        writing = false;
    }
    return 0;
}

static void watched(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    steps++;
    steps_while_writing += writing;
    if (seen_rows >= 0 && steps % 997 == 0)
        seen_rows = ask("SELECT count(*) FROM v");
    sqlite3_result_value(context, values[0]);
}

static int watch(sqlite3 *sqlite, char **message, const struct sqlite3_api_routines *routines)
{
    (void)message;
    (void)routines;
    (void)sqlite3_trace_v2(sqlite, SQLITE_TRACE_STMT, on_statement, sqlite);
    return sqlite3_create_function_v2(sqlite, "watched", 1, SQLITE_UTF8, NULL, watched, NULL, NULL,
                                      NULL);
}

static int64_t ask(const char *sql)
{
    struct dbk_connection *connection = NULL;
    struct dbk_statement *statement = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_connection_open(path, DBK_CONNECT_READ, &connection, &err), &err);
    assert_ok(dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, &err), &err);
    assert_int_equal(dbk_statement_step(statement, &err), 1);
    int64_t answer = dbk_statement_column(statement, 0).integer;
    dbk_statement_free(statement);
    dbk_connection_free(connection);
    return answer;
}

static void run(const char *sql)
{
    struct dbk_connection *connection = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_connection_open(path, 0, &connection, &err), &err);
    assert_ok(dbk_connection_run(connection, sql, &err), &err);
    dbk_connection_free(connection);
}

static int set_up(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    (void)snprintf(folder, sizeof(folder), "/tmp/daybook-view-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/reading.db", folder);
    sim = dbk_sim_create(1);
    assert_ok(
        dbk_store_open(
            &(struct dbk_store_options){.os = dbk_sim_os(sim), .folder = "data", .writer = true},
            &store, &err),
        &err);
    run("CREATE TABLE t (n)");
    writes = 0;
    rows_most = 0;
    steps = 0;
    steps_while_writing = 0;
    seen_rows = -1;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    (void)state;
    dbk_store_free(store);
    dbk_sim_free(sim);
    for (size_t i = 0; i < 3; i++) {
        char file[128];
        (void)snprintf(file, sizeof(file), "%s%s", path, ends[i]);
        (void)unlink(file);
    }
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

static bool stop_at(void *context, uint64_t done, uint64_t total)
{
    (void)total;
    return done < *(const uint64_t *)context;
}

static int refresh(const char *sql, uint64_t *stop, struct dbk_error *err)
{
    static const char *const indexes[] = {"n"};
    static const struct dbk_view_source none = {0};
    const struct dbk_view_definition definition = {.name = "v",
                                                   .file = "views/v.sql",
                                                   .database = "reading",
                                                   .database_path = path,
                                                   .sql = dbk_slice_of(sql),
                                                   .indexes = indexes,
                                                   .index_count = 1};
    return dbk_view_refresh_run(
        &(struct dbk_view_refresh){.definition = &definition,
                                   .source = &none,
                                   .fingerprint = "f",
                                   .store = store,
                                   .os = dbk_sim_os(sim),
                                   .progress = stop == NULL ? NULL : stop_at,
                                   .context = stop},
        err);
}

#define FILL(count)                                                                                \
    "DELETE FROM t; WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s LIMIT " #count  \
    ") INSERT INTO t SELECT i FROM s"
#define SELECTS "-- database: reading\nSELECT watched(n) AS n, n * 2 AS twice FROM t;\n"
#define TABLES                                                                                     \
    "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name LIKE 'v\\_\\_g%' "           \
    "ESCAPE '\\'"

static void test_view_refresh__the_new_result_takes_the_olds_place(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    run(FILL(3000));
    assert_ok(refresh(SELECTS, NULL, &err), &err);
    assert_int_equal(ask("SELECT count(*) = 3000 AND sum(twice) = 2 * sum(n) FROM v"), 1);
    assert_int_equal(ask("SELECT generation = 1 AND rows = 3000 AND error IS NULL AND "
                         "fingerprint = 'f' AND tried <= as_of FROM _daybook_views"),
                     1);
    run(FILL(1200));
    seen_rows = 0;
    assert_ok(refresh(SELECTS, NULL, &err), &err);
    assert_int_equal(seen_rows, 3000); /* the old result, to the end */
    assert_int_equal(ask("SELECT count(*) FROM v"), 1200);
    assert_int_equal(ask("SELECT generation = 2 AND rows = 1200 FROM _daybook_views"), 1);
    assert_int_equal(ask(TABLES), 1);
    assert_int_equal(ask("SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND "
                         "tbl_name = 'v__g2'"),
                     1);
}

static void test_view_refresh__an_empty_result_is_one(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    assert_ok(refresh(SELECTS, NULL, &err), &err);
    assert_int_equal(ask("SELECT count(*) FROM v"), 0);
    assert_int_equal(ask("SELECT generation = 1 AND rows = 0 FROM _daybook_views"), 1);
}

static void test_view_refresh__transactions_are_short(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    run(FILL(5300));
    assert_ok(refresh(SELECTS, NULL, &err), &err);
    assert_ok(refresh(SELECTS, NULL, &err), &err); /* and removes the first */
    assert_false(writing);
    assert_int_equal(steps, 2 * 5300);
    assert_int_equal(steps_while_writing, 0);
    assert_true(rows_most > 100 && rows_most <= ROWS_MAX);
    assert_true(writes > 3 * 5300 / ROWS_MAX);
}

static void test_view_refresh__large_rows_make_small_transactions(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    run(FILL(300));
    assert_ok(refresh("SELECT watched(n) AS n, zeroblob(20000) AS large FROM t", NULL, &err), &err);
    assert_true(rows_most <= 8);
    assert_int_equal(ask("SELECT sum(length(large)) FROM v"), 300 * 20000);
}

static void test_view_refresh__a_failure_keeps_the_old_result(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    uint64_t stop = 1000;
    static const struct {
        const char *sql;
        const char *message;
        int rc;
    } cases[] = {
        /* behind the first chunks */
        {"SELECT CASE WHEN n > 1700 THEN json(n || '{') ELSE n END AS n FROM t",
         "view v: malformed JSON", DBK_ESCRIPT},
        {"SELECT n FROM missing", "view v: no such table: missing", DBK_EINVAL},
        {SELECTS, "view v: the refresh was ended", DBK_ESTOPPED},
    };
    run(FILL(2000));
    assert_ok(refresh(SELECTS, NULL, &err), &err);
    int64_t as_of = ask("SELECT as_of FROM _daybook_views");
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char sql[160];
        int rc = refresh(cases[i].sql, cases[i].rc == DBK_ESTOPPED ? &stop : NULL, &err);
        assert_int_equal(rc, cases[i].rc);
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(ask("SELECT count(*) = 2000 AND max(n) = 2000 FROM v"), 1);
        assert_int_equal(ask("SELECT generation = 1 AND rows = 2000 FROM _daybook_views"), 1);
        assert_int_equal(ask("SELECT as_of FROM _daybook_views"), as_of);
        assert_int_equal(ask("SELECT tried > as_of FROM _daybook_views"), 1);
        (void)snprintf(sql, sizeof(sql), "SELECT error = '%s' FROM _daybook_views",
                       cases[i].message + strlen("view v: "));
        assert_int_equal(ask(sql), 1);
        assert_int_equal(ask(TABLES), 1); /* nothing of the begun one is left */
    }
    assert_ok(refresh(SELECTS, NULL, &err), &err);
    assert_int_equal(ask("SELECT generation = 2 AND error IS NULL FROM _daybook_views"), 1);
}

static void test_view_refresh__what_an_interrupted_one_left_is_removed(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    run(FILL(100));
    assert_ok(refresh(SELECTS, NULL, &err), &err);
    run("CREATE TABLE v__g2 (n); INSERT INTO v__g2 VALUES (1);"
        "CREATE TABLE v__g17 (n); CREATE TABLE v__gx (n); CREATE TABLE vw__g2 (n)");
    assert_ok(refresh(SELECTS, NULL, &err), &err);
    assert_int_equal(ask("SELECT count(*) FROM v"), 100);
    assert_int_equal(ask("SELECT count(*) FROM sqlite_schema WHERE name IN "
                         "('v__g2', 'v__gx', 'vw__g2')"),
                     3);
    assert_int_equal(ask("SELECT count(*) FROM sqlite_schema WHERE name IN ('v__g1', 'v__g17')"),
                     0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_view_refresh__##name, set_up, tear_down)
        TEST(the_new_result_takes_the_olds_place),
        TEST(an_empty_result_is_one),
        TEST(transactions_are_short),
        TEST(large_rows_make_small_transactions),
        TEST(a_failure_keeps_the_old_result),
        TEST(what_an_interrupted_one_left_is_removed),
    };
    (void)sqlite3_auto_extension((void (*)(void))watch);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
