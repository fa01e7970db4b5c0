/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard_test -- what handlers, schemas and queries may not do, and that they are told why.
 *
 * The clock is shut off twice: by the text where it can be seen, and else by SQLite itself, which
 * then answers NULL.
 */
#include "test.h"

#include "target/target.h"

static struct dbk_connection *connection;

static int set_up(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    assert_ok(
        dbk_connection_open(NULL, DBK_CONNECT_MEMORY | DBK_CONNECT_HANDLERS, &connection, &err),
        &err);
    assert_ok(dbk_connection_run(connection,
                                 "CREATE TABLE t (a INTEGER PRIMARY KEY, b UNIQUE);"
                                 "CREATE TABLE _daybook_models (model);"
                                 "CREATE VIEW own AS SELECT * FROM _daybook_models;"
                                 "CREATE TABLE trap (a);"
                                 "CREATE TRIGGER spring AFTER INSERT ON trap BEGIN "
                                 "DELETE FROM _daybook_models; END;",
                                 &err),
              &err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_connection_free(connection);
    connection = NULL;
    return 0;
}

/* What the preparation answers, with its message in err. */
static int prepare(const char *sql, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, err);
    dbk_statement_free(statement);
    return rc;
}

struct hostile {
    const char *sql;
    const char *message; /* NULL: it is fine */
};

static void assert_guarded(enum dbk_guard guard, const struct hostile *cases, size_t count)
{
    dbk_connection_guard(connection, guard);
    for (size_t i = 0; i < count; i++) {
        struct dbk_error err = {0};
        int rc = prepare(cases[i].sql, &err);
        if (cases[i].message == NULL
                ? rc != DBK_OK
                : rc != DBK_EDENIED || strcmp(err.message, cases[i].message) != 0)
            fail_msg("%s: %d, %s", cases[i].sql, rc, err.message);
    }
}

#define ENDS "a handler may not begin or end transactions"
#define ROLLS "a handler may not roll back: a failing handler's batch is taken back as a whole"
#define CLOCK "a handler may not read the clock: use :_time or :_occurred"
#define CHANCE "a handler may not use chance: posting again would give other rows"
#define READS_OWN "a handler may not read the book's own tables"
#define CHANGES_OWN "a handler may not change the book's own tables"
#define MAKES "a handler may not create or drop anything"
#define MORE "a handler may not do more than read and change rows"

static void test_target_guard__a_hostile_handler_is_refused(void **state)
{
    (void)state;
    static const struct hostile cases[] = {
        {"INSERT INTO t VALUES (1, 2)", NULL},
        {"INSERT OR REPLACE INTO t VALUES (1, 2)", NULL},
        {"INSERT INTO t VALUES (?1, date(?2)) ON CONFLICT DO UPDATE SET b = excluded.b", NULL},
        {"DELETE FROM t", NULL},
        {"SELECT changes(), last_insert_rowid(), datetime(?1, '+1 day'), 'now'", NULL},
        {"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3) "
         "INSERT INTO t SELECT i, i FROM n",
         NULL},
        {"BEGIN", ENDS},
        {"BEGIN IMMEDIATE", ENDS},
        {"COMMIT", ENDS},
        {"END", ENDS},
        {"ROLLBACK", ROLLS},
        {"SAVEPOINT x", ENDS},
        {"RELEASE x", ENDS},
        {"ROLLBACK TO x", ROLLS},
        {"INSERT OR ROLLBACK INTO t VALUES (1, 2)", ROLLS},
        {"UPDATE OR rollback t SET b = 1", ROLLS},
        {"UPDATE OR/**/ROLLBACK t SET b = 1", ROLLS},
        {"SELECT RAISE(ROLLBACK, 'x')", ROLLS},
        {"ATTACH ':memory:' AS other", "a handler may not attach databases"},
        {"DETACH other", "a handler may not attach databases"},
        {"PRAGMA journal_mode = DELETE", "a handler may not use PRAGMA"},
        {"PRAGMA foreign_keys = OFF", "a handler may not use PRAGMA"},
        {";; VACUUM", "a handler may not vacuum"},
        {"VACUUM", "a handler may not vacuum"},
        {"ANALYZE", MAKES},
        {"REINDEX t", "a handler may not reindex"},
        {"INSERT INTO t (b) VALUES (random())", CHANCE},
        {"INSERT INTO t (b) VALUES (\"RANDOM\"())", CHANCE},
        {"SELECT randomblob(4)", CHANCE},
        {"INSERT INTO t (b) VALUES (CURRENT_TIMESTAMP)", CLOCK},
        {"SELECT current_date", CLOCK},
        {"SELECT current_time", CLOCK},
        {"SELECT date('now')", CLOCK},
        {"SELECT date('NOW')", CLOCK},
        {"SELECT date ( /* now */ 'now' , '+1 day')", CLOCK},
        {"SELECT date()", CLOCK},
        {"SELECT time('now')", CLOCK},
        {"SELECT datetime('now')", CLOCK},
        {"SELECT julianday('now')", CLOCK},
        {"SELECT unixepoch('now')", CLOCK},
        {"SELECT strftime('%s', 'now')", CLOCK},
        {"SELECT strftime('%s')", CLOCK},
        {"SELECT strftime(date('now'), ?1)", CLOCK},
        {"SELECT load_extension('x')", "a handler may not load extensions"},
        {"SELECT * FROM _daybook_models", READS_OWN},
        {"SELECT * FROM \"_DAYBOOK_models\"", READS_OWN},
        {"SELECT * FROM own", READS_OWN},
        {"DELETE FROM _daybook_models", CHANGES_OWN},
        {"UPDATE _daybook_models SET model = 1", CHANGES_OWN},
        {"INSERT INTO _daybook_models VALUES (1)", CHANGES_OWN},
        {"INSERT INTO trap VALUES (1)", CHANGES_OWN},
        {"CREATE TABLE u (a)", MAKES},
        {"CREATE TEMP TABLE u (a)", MAKES},
        {"CREATE INDEX i ON t (b)", MAKES},
        {"CREATE VIEW v AS SELECT 1", MAKES},
        {"CREATE VIRTUAL TABLE v USING fts5(a)", MAKES},
        {"ALTER TABLE t ADD COLUMN c", MORE},
        {"DROP TABLE t", MAKES},
        {"DROP TRIGGER spring", MORE},
    };
    assert_guarded(DBK_GUARD_HANDLER, cases, sizeof(cases) / sizeof(*cases));
}

static void test_target_guard__a_command_runs_once(void **state)
{
    (void)state;
    static const struct hostile cases[] = {
        {"INSERT INTO t (b) VALUES (random())", NULL},
        {"INSERT INTO t (b) VALUES (datetime('now'))", NULL},
        {"UPDATE t SET b = CURRENT_TIMESTAMP WHERE a = ?1 RETURNING b", NULL},
        {"INSERT INTO trap VALUES (1)", NULL},
        {"INSERT INTO t SELECT key, value FROM json_tree(?1)", NULL},
        {"INSERT OR ROLLBACK INTO t VALUES (1, 2)",
         "a command may not roll back: what fails is taken back as a whole"},
        {"COMMIT", "a command may not begin or end transactions"},
        {"SAVEPOINT x", "a command may not begin or end transactions"},
        {"ATTACH ':memory:' AS other", "a command may not attach databases"},
        {"PRAGMA foreign_keys = OFF", "a command may not use PRAGMA"},
        {"VACUUM", "a command may not vacuum"},
        {"CREATE TABLE u (a)", "a command may not create or drop anything"},
        {"DROP TABLE t", "a command may not create or drop anything"},
        {"SELECT load_extension('x')", "a command may not load extensions"},
        {"SELECT * FROM (SELECT load_extension('x')) AS u", "a command may not load extensions"},
        {"DELETE FROM _daybook_models", "a command may not change the book's own tables"},
        {"WITH u AS (SELECT 1) DELETE FROM _daybook_models",
         "a command may not change the book's own tables"},
        {"SELECT * FROM _daybook_models", "a command may not read the book's own tables"},
    };
    assert_guarded(DBK_GUARD_COMMAND, cases, sizeof(cases) / sizeof(*cases));
    /* The guard lets it pass, for table functions; SQLite does not. */
    struct dbk_error err = {0};
    assert_int_equal(prepare("UPDATE sqlite_master SET sql = ''", &err), DBK_EINVAL);
    assert_non_null(strstr(err.message, "may not be modified"));
}

static void test_target_guard__a_schema_only_creates(void **state)
{
    (void)state;
    static const struct hostile cases[] = {
        {"CREATE TABLE u (a CHECK (a > 0), b DEFAULT 1)", NULL},
        {"CREATE INDEX i ON t (b)", NULL},
        {"CREATE VIEW v AS SELECT a FROM t", NULL},
        {"CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t WHERE a = 1; END", NULL},
        {"CREATE TABLE _daybook_x (a)", "a schema may not use names that begin with _daybook"},
        {"CREATE TABLE u (a UNIQUE ON CONFLICT ROLLBACK)",
         "a schema may not roll back: a failing handler's batch is taken back as a whole"},
        {"CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT RAISE(ROLLBACK, 'x'); END",
         "a schema may not roll back: a failing handler's batch is taken back as a whole"},
        {"CREATE VIEW v AS SELECT date('now')",
         "a schema may not read the clock: use :_time or :_occurred"},
        {"CREATE TABLE u (a DEFAULT (random()))",
         "a schema may not use chance: posting again would give other rows"},
        {"CREATE TABLE u (a DEFAULT (\"RandomBlob\" (2)))",
         "a schema may not use chance: posting again would give other rows"},
        {"CREATE TABLE u (a DEFAULT CURRENT_TIMESTAMP)",
         "a schema may not read the clock: use :_time or :_occurred"},
        {"CREATE TABLE u (a DEFAULT (\"date\"('now')))",
         "a schema may not read the clock: use :_time or :_occurred"},
        {"CREATE TABLE u (date, \"rollback\" DEFAULT 1)", NULL},
        {"INSERT INTO t VALUES (1, 2)", "a schema may not change rows"},
        {"DELETE FROM t", "a schema may not change rows"},
        {"PRAGMA user_version = 1", "a schema may not use PRAGMA"},
        {"COMMIT", "a schema may not begin or end transactions"},
        {"ATTACH ':memory:' AS other", "a schema may not attach databases"},
    };
    assert_guarded(DBK_GUARD_SCHEMA, cases, sizeof(cases) / sizeof(*cases));
}

static void test_target_guard__a_query_only_reads(void **state)
{
    (void)state;
    static const struct hostile cases[] = {
        {"SELECT date('now'), random(), a FROM t", NULL},
        {"SELECT * FROM _daybook_models", NULL},
        {"SELECT key, value FROM json_each('[1, 2]')", NULL},
        {"SELECT * FROM pragma_table_info('t')", "a query may not use PRAGMA"},
        {"INSERT INTO t VALUES (1, 2)", "a query may not change anything"},
        {"WITH n AS (SELECT 1) DELETE FROM t", "a query may not change anything"},
        {"CREATE TABLE u (a)", "a query may not change anything"},
        {"DROP TABLE t", "a query may not change anything"},
        {"PRAGMA query_only = OFF", "a query may not use PRAGMA"},
        {"BEGIN", "a query may not begin or end transactions"},
        {"ATTACH ':memory:' AS other", "a query may not attach databases"},
        {"/**/ VACUUM INTO 'copy.db'", "a query may not vacuum"},
        {"SELECT load_extension('x')", "a query may not load extensions"},
    };
    assert_guarded(DBK_GUARD_QUERY, cases, sizeof(cases) / sizeof(*cases));
}

/* The first column of the first row, with ?1 bound to text. */
static enum dbk_value_kind kind_of(const char *sql, const char *text)
{
    struct dbk_statement *statement = NULL;
    struct dbk_error err = {0};
    struct dbk_value value = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(text)};
    assert_ok(dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, &err), &err);
    dbk_statement_bind(statement, 1, &value);
    assert_int_equal(dbk_statement_step(statement, &err), 1);
    enum dbk_value_kind kind = dbk_statement_column(statement, 0).kind;
    dbk_statement_free(statement);
    return kind;
}

static void test_target_guard__a_bound_now_is_no_instant(void **state)
{
    (void)state;
    static const char *const sqls[] = {
        "SELECT date(?1)",           "SELECT time(?1)",      "SELECT datetime(?1)",
        "SELECT strftime('%s', ?1)", "SELECT unixepoch(?1)", "SELECT julianday(?1)",
        "SELECT date(lower(?1))",
    };
    dbk_connection_guard(connection, DBK_GUARD_HANDLER);
    for (size_t i = 0; i < sizeof(sqls) / sizeof(*sqls); i++) {
        assert_int_equal(kind_of(sqls[i], "now"), DBK_VALUE_NULL);
        assert_int_not_equal(kind_of(sqls[i], "2026-01-02t03:04:05"), DBK_VALUE_BLOB);
    }
    assert_int_equal(kind_of("SELECT date(?1)", "2026-01-02"), DBK_VALUE_TEXT);
}

static void test_target_guard__an_endless_statement_is_ended(void **state)
{
    (void)state;
    struct dbk_statement *statement = NULL;
    struct dbk_error err = {0};
    dbk_connection_limit_us(connection, 20000);
    assert_ok(dbk_statement_open(connection,
                                 DBK_SLICE_LITERAL("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
                                                   "SELECT i + 1 FROM n) SELECT sum(i) FROM n"),
                                 &statement, NULL, &err),
              &err);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(dbk_statement_step(statement, &err), DBK_ETIMEOUT);
        assert_string_equal(err.message, "the statement ran too long");
        dbk_statement_reset(statement);
    }
    dbk_statement_free(statement);
    assert_int_equal(kind_of("SELECT ?1", "the session goes on"), DBK_VALUE_TEXT);
}

static void test_target_guard__one_statement_at_a_time(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_statement *statement = NULL;
    int offset = 0;
    assert_ok(prepare("SELECT 1; -- and no more\n;", &err), &err);
    assert_int_equal(dbk_statement_open(connection, DBK_SLICE_LITERAL("SELECT 1; DELETE FROM t"),
                                        &statement, &offset, &err),
                     DBK_EINVAL);
    assert_string_equal(err.message, "there is a second statement");
    assert_int_equal(offset, 9);
    assert_int_equal(prepare("-- nothing", &err), DBK_EINVAL);
    assert_int_equal(
        dbk_statement_open(connection, dbk_slice("SELECT \0001", 9), &statement, NULL, &err),
        DBK_EINVAL);
    assert_string_equal(err.message, "the statement has a NUL byte at 7");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_target_guard__a_hostile_handler_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_target_guard__a_command_runs_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_target_guard__a_schema_only_creates, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_target_guard__a_query_only_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_target_guard__a_bound_now_is_no_instant, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_target_guard__an_endless_statement_is_ended, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_target_guard__one_statement_at_a_time, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
