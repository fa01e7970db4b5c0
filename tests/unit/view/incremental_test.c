/* SPDX-License-Identifier: Apache-2.0 */
/*
 * incremental_test -- what an incremental refresh rests on: that each row which changes is noted,
 * that notes go when they have been taken, and that what stands in the way makes it a full one.
 *
 * Another session's writes come between a refresh and its transaction by the hook before_begin().
 */
#include "test.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/sim.h"
#include "view/explain.h"
#include "view/follow.h"

static struct dbk_sim *sim;
static struct dbk_store *store;
static char folder[64];
static char path[96];
static const char *meanwhile;            /* SQL of another session, once */
static const char *before;               /* this statement */
static struct dbk_view_session *session; /* of the refreshes; NULL: nothing is kept */
static int64_t waited_us;                /* what the next write transaction waits for others */

static void run(const char *sql)
{
    struct dbk_connection *connection = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_connection_open(path, 0, &connection, &err), &err);
    assert_ok(dbk_connection_run(connection, sql, &err), &err);
    dbk_connection_free(connection);
}

static int64_t ask(const char *sql)
{
    struct dbk_connection *connection = NULL;
    struct dbk_error err = {0};
    int64_t answer = -1;
    assert_ok(dbk_connection_open(path, DBK_CONNECT_READ, &connection, &err), &err);
    assert_ok(dbk_view_integer(connection, sql, NULL, &answer, &err), &err);
    dbk_connection_free(connection);
    return answer;
}

static int before_begin(unsigned kind, void *context, void *statement, void *text)
{
    const char *sql = meanwhile;
    (void)kind;
    (void)context;
    (void)statement;
    if (strcmp(text, before) != 0)
        return 0;
    meanwhile = NULL;
    if (waited_us != 0)
        dbk_sim_pass_us(sim, waited_us);
    waited_us = 0;
    if (sql != NULL)
        run(sql);
    return 0;
}

static int watch(sqlite3 *sqlite, char **message, const struct sqlite3_api_routines *routines)
{
    (void)message;
    (void)routines;
    return sqlite3_trace_v2(sqlite, SQLITE_TRACE_STMT, before_begin, sqlite);
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
    meanwhile = NULL;
    waited_us = 0;
    before = "BEGIN IMMEDIATE";
    return 0;
}

static int tear_down(void **state)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    (void)state;
    dbk_view_session_free(session);
    session = NULL;
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

static struct dbk_view_definition view_of(const char *name, const char *sql)
{
    return (struct dbk_view_definition){.name = name,
                                        .file = "views/v.sql",
                                        .database = "reading",
                                        .database_path = path,
                                        .sql = dbk_slice_of(sql)};
}

static int try_refresh(const char *name, const char *sql, struct dbk_error *err)
{
    static const struct dbk_view_source none = {0};
    const struct dbk_view_definition definition = view_of(name, sql);
    return dbk_view_refresh_run(&(struct dbk_view_refresh){.definition = &definition,
                                                           .source = &none,
                                                           .fingerprint = "f",
                                                           .store = store,
                                                           .os = dbk_sim_os(sim),
                                                           .session = session},
                                err);
}

/* Refreshes view `v`, whose rows then are those of its SELECT. full: how it was done. */
static void refresh(const char *sql, bool full)
{
    struct dbk_error err = {0};
    char text[1024];
    assert_ok(try_refresh("v", sql, &err), &err);
    (void)snprintf(text, sizeof(text),
                   "SELECT (SELECT count(*) FROM v) = (SELECT count(*) FROM (%s)) AND "
                   "NOT EXISTS (SELECT * FROM v EXCEPT SELECT * FROM (%s))",
                   sql, sql);
    assert_int_equal(ask(text), 1);
    assert_int_equal(ask("SELECT refreshed = 'full' FROM _daybook_views WHERE name = 'v'"), full);
}

static void assert_reason(const char *part)
{
    char text[256];
    (void)snprintf(text, sizeof(text),
                   "SELECT instr(reason, '%s') > 0 FROM _daybook_views WHERE name = 'v'", part);
    assert_int_equal(ask(text), 1);
}

#define SELECTS "SELECT id, email FROM users"
#define USERS                                                                                      \
    "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT);"                                     \
    "INSERT INTO users VALUES (1, 'a@x'), (2, 'b@x')"

/* Of NOT IN a NULL on either side decides, although it equals nothing. */
static void test_view_incremental__a_null_in_a_subquery_changes_not_in(void **state)
{
    (void)state;
    static const char select[] =
        "SELECT id, email FROM users WHERE email NOT IN (SELECT email FROM gone)";
    run(USERS "; INSERT INTO users VALUES (3, NULL);"
              "CREATE TABLE gone (email TEXT); INSERT INTO gone VALUES ('a@x')");
    refresh(select, true);
    assert_int_equal(ask("SELECT count(*) FROM v"), 1);
    run("INSERT INTO gone VALUES (NULL)");
    refresh(select, false);
    assert_int_equal(ask("SELECT count(*) FROM v"), 0);
    run("DELETE FROM gone WHERE email IS NULL");
    refresh(select, false);
    assert_int_equal(ask("SELECT count(*) FROM v"), 1);
    run("DELETE FROM gone");
    refresh(select, false);
    assert_int_equal(ask("SELECT count(*) FROM v"), 3);
}

/* ---- Unique indexes ---- */

static void test_view_incremental__a_unique_index_on_an_expression_is_an_obstacle(void **state)
{
    (void)state;
    run(USERS "; CREATE UNIQUE INDEX ue ON users (lower(email))");
    refresh(SELECTS, true);
    assert_reason("a unique index on an expression, \"ue\"");
    run("INSERT OR REPLACE INTO users VALUES (3, 'A@x')");
    refresh(SELECTS, true);
}

static void test_view_incremental__a_unique_index_with_a_collation_is_an_obstacle(void **state)
{
    (void)state;
    run(USERS "; CREATE UNIQUE INDEX ue ON users (email COLLATE NOCASE)");
    refresh(SELECTS, true);
    assert_reason("a unique index with a collation, \"ue\"");
    run("INSERT OR REPLACE INTO users VALUES (3, 'A@x')");
    refresh(SELECTS, true);
}

static void test_view_incremental__plain_unique_indexes_are_none(void **state)
{
    (void)state;
    run(USERS "; CREATE UNIQUE INDEX ue ON users (email COLLATE binary);"
              "CREATE INDEX le ON users (lower(email) COLLATE NOCASE)");
    refresh(SELECTS, true);
    assert_reason("it is the first refresh");
    run("INSERT OR REPLACE INTO users VALUES (3, 'a@x')");
    refresh(SELECTS, false);
}

static void test_view_incremental__an_index_made_later_is_noted(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    run(USERS);
    refresh(SELECTS, true);
    assert_ok(try_refresh("w", SELECTS, &err), &err);
    run("CREATE UNIQUE INDEX ue ON users (email); INSERT OR REPLACE INTO users VALUES (3, 'a@x')");
    refresh(SELECTS, true);
    assert_reason("unique indexes of users have changed since");
    run("INSERT OR REPLACE INTO users VALUES (4, 'b@x')");
    refresh(SELECTS, false);
    /* Another view's notes are not whole either. */
    assert_ok(try_refresh("w", SELECTS, &err), &err);
    assert_int_equal(ask("SELECT count(*) FROM w"), 2);
    assert_int_equal(ask("SELECT count(*) FROM (SELECT * FROM w EXCEPT SELECT * FROM users)"), 0);
}

/* ---- Notes ---- */

static void test_view_incremental__what_nets_to_nothing_leaves_no_note(void **state)
{
    (void)state;
    run(USERS);
    refresh(SELECTS, true);
    for (int i = 0; i < 3; i++) {
        run("INSERT INTO users VALUES (9, 'secret'); DELETE FROM users WHERE id = 9");
        refresh(SELECTS, false);
        assert_int_equal(ask("SELECT count(*) FROM _daybook_changes_users"), 1);
        assert_int_equal(ask("SELECT count(*) FROM _daybook_changes_users WHERE email NOT NULL"),
                         0);
    }
}

static void test_view_incremental__a_first_fill_that_fails_ends_the_following(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    run(USERS "; INSERT INTO users VALUES (3, '{')");
    assert_int_equal(
        try_refresh("v",
                    "SELECT id, abs(CASE email WHEN '{' THEN -9223372036854775807 - 1 END) AS e"
                    " FROM users",
                    &err),
        DBK_ESCRIPT);
    assert_int_equal(ask("SELECT count(*) FROM _daybook_cursors"), 0);
    assert_int_equal(ask("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' OR name LIKE "
                         "'_daybook_changes%'"),
                     0);
}

/* ---- Tables that are swapped ---- */

#define MODEL                                                                                      \
    "CREATE TABLE b__g1 (n INTEGER); INSERT INTO b__g1 VALUES (1), (2);"                           \
    "CREATE VIEW \"b\" AS SELECT n FROM \"b__g1\""
#define REBUILT                                                                                    \
    "DROP VIEW b; CREATE TABLE b__g2 (n INTEGER); INSERT INTO b__g2 VALUES (1), (7), (8);"         \
    "CREATE VIEW \"b\" AS SELECT n FROM \"b__g2\""

static void test_view_incremental__a_rebuild_before_its_transaction_is_seen(void **state)
{
    (void)state;
    run(MODEL);
    refresh("SELECT n FROM b", true);
    meanwhile = REBUILT;
    refresh("SELECT n FROM b", true);
    assert_null(meanwhile);
    run("INSERT INTO b__g2 VALUES (9)");
    refresh("SELECT n FROM b", false);
}

static void test_view_incremental__a_rebuild_before_a_full_one_is_seen(void **state)
{
    static const char *const begins[] = {"BEGIN IMMEDIATE", "BEGIN"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        run("DROP VIEW IF EXISTS b; DROP VIEW IF EXISTS v; DROP TABLE IF EXISTS _daybook_views;"
            "DROP TABLE IF EXISTS b__g2; DROP TABLE IF EXISTS v__g1; DROP TABLE IF EXISTS v__g2");
        run(MODEL);
        meanwhile = REBUILT "; DROP TABLE b__g1";
        before = begins[i];
        refresh("SELECT n FROM b", true);
        assert_null(meanwhile);
        run("INSERT INTO b__g2 VALUES (9)");
        refresh("SELECT n FROM b", false);
    }
}

/* ---- Groups ---- */

static void test_view_incremental__a_group_shows_a_key_that_it_has(void **state)
{
    static const char *const selects[] = {
        "SELECT n || '' AS k, count(*) AS c FROM t GROUP BY n",
        "SELECT typeof(n * 1) AS k, sum(a) AS c FROM t GROUP BY n * 1",
        "SELECT DISTINCT n AS k FROM t",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(selects) / sizeof(*selects); i++) {
        run("DROP TABLE IF EXISTS t; CREATE TABLE t (a INTEGER PRIMARY KEY, n);"
            "INSERT INTO t VALUES (1, 1.0), (2, 1), (3, 5), (4, 5)");
        struct dbk_error err = {0};
        if (i > 0)
            run("UPDATE _daybook_views SET layout = 0");
        assert_ok(try_refresh("v", selects[i], &err), &err);
        run("DELETE FROM t WHERE a = 1");
        refresh(selects[i], false);
        run("UPDATE t SET n = 5.0 WHERE a = 3; DELETE FROM t WHERE a = 4");
        refresh(selects[i], false);
    }
}

/* ---- Costs and failures ---- */

static void test_view_incremental__few_changes_tell_nothing_of_costs(void **state)
{
    (void)state;
    run(USERS);
    refresh(SELECTS, true);
    run("INSERT INTO users VALUES (3, 'c')");
    refresh(SELECTS, false);
    assert_int_equal(ask("SELECT incremental_changes FROM _daybook_views"), 0);
    run("UPDATE _daybook_views SET full_us = 1000000000; WITH RECURSIVE s(i) AS (SELECT 10 UNION "
        "ALL SELECT i + 1 FROM s LIMIT 150) INSERT INTO users SELECT i, i FROM s");
    waited_us = 5000000;
    refresh(SELECTS, false);
    assert_int_equal(waited_us, 0);
    assert_int_equal(ask("SELECT incremental_us < 5000000 FROM _daybook_views"), 1);
    assert_int_equal(ask("SELECT incremental_changes FROM _daybook_views"), 150);
    run("UPDATE _daybook_views SET layout = 0, incremental_us = 64");
    refresh(SELECTS, true);
    assert_int_equal(ask("SELECT incremental_us FROM _daybook_views"), 32);
}

static void test_view_incremental__an_error_of_the_difference_makes_it_full(void **state)
{
    (void)state;
    run(USERS);
    refresh(SELECTS, true);
    run("CREATE TRIGGER bad BEFORE INSERT ON v__g1 BEGIN SELECT RAISE(ABORT, 'no more'); END;"
        "INSERT INTO users VALUES (3, 'c')");
    refresh(SELECTS, true);
    assert_reason("no more");
    run("INSERT INTO users VALUES (4, 'd')");
    refresh(SELECTS, false);
}

static void test_view_incremental__notes_that_cannot_be_cleaned_fail_nothing(void **state)
{
    (void)state;
    run(USERS);
    refresh(SELECTS, true);
    run("CREATE TRIGGER bad BEFORE DELETE ON _daybook_changes_users BEGIN SELECT RAISE(ABORT, "
        "'no more'); END; INSERT INTO users VALUES (3, 'c'), (4, 'd')");
    refresh(SELECTS, false);
    assert_int_equal(ask("SELECT error IS NULL FROM _daybook_views"), 1);
}

static void test_view_incremental__a_failure_notes_only_itself(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    run(USERS);
    refresh(SELECTS, true);
    meanwhile = "UPDATE _daybook_views SET layout = 0, reason = 'distrusted'";
    assert_int_equal(
        try_refresh("v", "SELECT json(email || '{') AS e FROM users ORDER BY id", &err),
        DBK_ESCRIPT);
    assert_null(meanwhile);
    assert_int_equal(ask("SELECT layout = 0 AND reason = 'distrusted' AND error LIKE '%JSON%' AND "
                         "generation = 1 FROM _daybook_views"),
                     1);
}

static void test_view_incremental__an_explanation_after_a_rebuild(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_buf out;
    const struct dbk_view_definition definition = view_of("v", "SELECT n FROM b");
    run(MODEL);
    refresh("SELECT n FROM b", true);
    run(REBUILT);
    dbk_buf_init(&out, 1 << 20);
    const struct dbk_view_refresh asked = {.definition = &definition,
                                           .source = &(struct dbk_view_source){0},
                                           .fingerprint = "f",
                                           .store = store,
                                           .os = dbk_sim_os(sim)};
    assert_ok(dbk_view_explain(&asked, true, &out, &err), &err);
    dbk_buf_append_char(&out, '\0');
    assert_non_null(strstr(out.data, "\"incremental\":true"));
    assert_null(strstr(out.data, "\"statements\""));
    dbk_buf_release(&out);
}

/* ---- Notes and sessions ---- */

static void test_view_incremental__notes_that_come_meanwhile_are_taken(void **state)
{
    (void)state;
    run(USERS);
    refresh(SELECTS, true);
    run("INSERT INTO users VALUES (3, 'c')");
    /* Behind the notes gathered before the write transaction: the same row, and another. */
    meanwhile = "UPDATE users SET email = 'd' WHERE id = 3; DELETE FROM users WHERE id = 1";
    refresh(SELECTS, false);
    assert_null(meanwhile);
    assert_int_equal(ask("SELECT changes FROM _daybook_views"), 2);
    assert_int_equal(ask("SELECT rows FROM _daybook_views"), 2);
}

static void test_view_incremental__too_many_notes_are_cut_and_make_it_full(void **state)
{
    (void)state;
    run(USERS);
    refresh(SELECTS, true);
    run("INSERT INTO users VALUES (3, 'c'); INSERT INTO users VALUES (4, 'd')");
    assert_int_equal(ask("SELECT count(*) FROM _daybook_changes_users"), 2);
    /* The number of a note after so many others. */
    run("INSERT INTO _daybook_changes_users VALUES (501000, 4, 0, NULL, NULL)");
    assert_int_equal(ask("SELECT count(*) FROM _daybook_changes_users"), 1);
    refresh(SELECTS, true);
    assert_reason("users changed more often since than is noted, 500000 times");
    run("INSERT INTO users VALUES (5, 'e')");
    refresh(SELECTS, false);
}

static void test_view_incremental__a_session_is_as_good_as_none(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    assert_ok(dbk_view_session_open(&session, &err), &err);
    run(USERS);
    refresh("SELECT email, count(*) AS n FROM users GROUP BY email", true);
    for (int i = 0; i < 5; i++) {
        char sql[96];
        (void)snprintf(sql, sizeof(sql),
                       "INSERT INTO users VALUES (%d, 'c'); DELETE FROM users "
                       "WHERE id = %d",
                       10 + i, i);
        run(sql);
        refresh("SELECT email, count(*) AS n FROM users GROUP BY email", false);
    }
}

static void test_view_incremental__a_session_sees_another_schema(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    assert_ok(dbk_view_session_open(&session, &err), &err);
    run(USERS);
    refresh(SELECTS, true);
    run("INSERT INTO users VALUES (3, 'c')");
    refresh(SELECTS, false);
    run("INSERT INTO users VALUES (4, 'd')");
    refresh(SELECTS, false);
    /* Before the session's own transaction: its statements were prepared for what was. */
    meanwhile = "DROP TABLE users; " USERS;
    refresh(SELECTS, true);
    assert_null(meanwhile);
    run("INSERT INTO users VALUES (5, 'e')");
    refresh(SELECTS, false);
}

static void test_view_incremental__a_session_heeds_a_distrusted_view(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    assert_ok(dbk_view_session_open(&session, &err), &err);
    run(USERS);
    refresh(SELECTS, true);
    run("INSERT INTO users VALUES (3, 'c')");
    refresh(SELECTS, false);
    run("UPDATE v__g1 SET email = 'x'; UPDATE _daybook_views SET layout = 0");
    refresh(SELECTS, true);
}

static void test_view_incremental__a_view_of_any_name_is_verified(void **state)
{
    (void)state;
    static const struct dbk_view_source none = {0};
    struct dbk_error err = {0};
    struct dbk_view_check check = {0};
    const struct dbk_view_definition definition = view_of("e", "SELECT id FROM users");
    const struct dbk_view_refresh all = {.definition = &definition,
                                         .source = &none,
                                         .fingerprint = "f",
                                         .store = store,
                                         .os = dbk_sim_os(sim)};
    run(USERS);
    assert_ok(dbk_view_refresh_run(&all, &err), &err);
    assert_ok(dbk_view_verify(&all, &check, &err), &err);
    assert_int_equal(check.rows, 2);
    run("DELETE FROM e__g1 WHERE id = 2");
    assert_int_equal(dbk_view_verify(&all, &check, &err), DBK_ECORRUPT);
    assert_int_equal(check.rows, 2);
    assert_int_equal(check.more, 0);
    assert_int_equal(check.less, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_view_incremental__a_null_in_a_subquery_changes_not_in,
                                        set_up, tear_down),
#define TEST(name) cmocka_unit_test_setup_teardown(test_view_incremental__##name, set_up, tear_down)
        TEST(a_unique_index_on_an_expression_is_an_obstacle),
        TEST(a_unique_index_with_a_collation_is_an_obstacle),
        TEST(plain_unique_indexes_are_none),
        TEST(an_index_made_later_is_noted),
        TEST(what_nets_to_nothing_leaves_no_note),
        TEST(a_first_fill_that_fails_ends_the_following),
        TEST(a_rebuild_before_its_transaction_is_seen),
        TEST(a_rebuild_before_a_full_one_is_seen),
        TEST(a_group_shows_a_key_that_it_has),
        TEST(few_changes_tell_nothing_of_costs),
        TEST(an_error_of_the_difference_makes_it_full),
        TEST(notes_that_cannot_be_cleaned_fail_nothing),
        TEST(a_failure_notes_only_itself),
        TEST(an_explanation_after_a_rebuild),
        TEST(notes_that_come_meanwhile_are_taken),
        TEST(too_many_notes_are_cut_and_make_it_full),
        TEST(a_session_is_as_good_as_none),
        TEST(a_session_sees_another_schema),
        TEST(a_session_heeds_a_distrusted_view),
        TEST(a_view_of_any_name_is_verified),
    };
    (void)sqlite3_auto_extension((void (*)(void))watch);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
