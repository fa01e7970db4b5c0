/* SPDX-License-Identifier: Apache-2.0 */
/*
 * algebra_test -- a SELECT is read into algebra or refused by its first obstacle, with its place;
 * what two parsers read differently is noticed.
 */
#include "test.h"

#include "view/plan.h"

static struct dbk_connection *connection;

static int set_up(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    assert_ok(dbk_connection_open(NULL, DBK_CONNECT_MEMORY, &connection, &err), &err);
    assert_ok(dbk_connection_run(
                  connection,
                  "CREATE TABLE t (a INTEGER, b, c TEXT); CREATE TABLE s (a, d);"
                  "CREATE TABLE n (a TEXT COLLATE NOCASE); CREATE TABLE w (a PRIMARY KEY) "
                  "WITHOUT ROWID; CREATE TABLE g (a, b AS (a + 1));"
                  "CREATE TABLE p__g7 (a, _daybook_k0); CREATE VIEW p AS SELECT a FROM \"p__g7\";"
                  "CREATE VIEW q AS SELECT a FROM t WHERE a > 1",
                  &err),
              &err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_connection_free(connection);
    return 0;
}

static void make(struct dbk_view_plan *plan, struct dbk_view_definition *definition,
                 const char *sql)
{
    struct dbk_error err = {0};
    *definition =
        (struct dbk_view_definition){.name = "v", .file = "views/v.sql", .sql = dbk_slice_of(sql)};
    dbk_view_plan_init(plan);
    assert_ok(dbk_view_plan_make(plan, connection, definition, &err), &err);
}

static void assert_obstacle(const char *sql, const char *expected)
{
    struct dbk_view_plan plan;
    struct dbk_view_definition definition;
    char text[512];
    make(&plan, &definition, sql);
    assert_false(plan.incremental);
    dbk_view_plan_obstacle(&plan, &definition, text, sizeof(text));
    assert_string_equal(text, expected);
    dbk_view_plan_release(&plan);
}

static void assert_incremental(const char *sql, enum dbk_relation_kind kind)
{
    struct dbk_view_plan plan;
    struct dbk_view_definition definition;
    char text[512];
    make(&plan, &definition, sql);
    dbk_view_plan_obstacle(&plan, &definition, text, sizeof(text));
    if (!plan.incremental)
        fail_msg("%s: %s", sql, text);
    assert_int_equal(plan.tree.root->kind, kind);
    dbk_view_plan_release(&plan);
}

static void test_view_algebra__what_it_has_a_place_for_is_incremental(void **state)
{
    (void)state;
    assert_incremental("SELECT a, b || c AS x FROM t WHERE a > 1 AND c LIKE 'x%'",
                       DBK_RELATION_BLOCK);
    assert_incremental("SELECT x.a, y.a AS z FROM t x JOIN t AS y ON x.a = y.b, s WHERE s.d = 1",
                       DBK_RELATION_BLOCK);
    assert_incremental("SELECT * FROM t", DBK_RELATION_BLOCK);
    assert_incremental("SELECT t.a, d FROM t LEFT JOIN s ON t.a = d AND d > 1 WHERE d IS NULL",
                       DBK_RELATION_BLOCK);
    assert_incremental("SELECT c, count(d) FROM t LEFT JOIN s ON t.a = d GROUP BY c",
                       DBK_RELATION_GROUP);
    assert_incremental("SELECT a FROM p", DBK_RELATION_BLOCK);
    assert_incremental("SELECT a FROM t UNION ALL SELECT d FROM s", DBK_RELATION_UNION);
    assert_incremental("SELECT DISTINCT a, b FROM t", DBK_RELATION_GROUP);
    assert_incremental("SELECT count(*), sum(a) FROM t", DBK_RELATION_GROUP);
    assert_incremental("SELECT -1 AS m, upper(c) AS k, avg(a) + 1 AS x FROM t GROUP BY k HAVING "
                       "count(DISTINCT b) > 2 AND k <> 'X'",
                       DBK_RELATION_GROUP);
    assert_incremental("SELECT CASE a WHEN 1 THEN 'x' ELSE c END AS k, max(b) FROM t GROUP BY 1",
                       DBK_RELATION_GROUP);
    assert_incremental("SELECT d, count(*) FROM t LEFT JOIN s ON t.a = d GROUP BY d",
                       DBK_RELATION_GROUP);
    assert_incremental("SELECT z.a FROM (SELECT a, count(*) AS n FROM t GROUP BY a) z WHERE n > 1",
                       DBK_RELATION_BLOCK);
    assert_incremental("WITH z(x) AS (SELECT max(a) FROM t) SELECT y.x FROM z y JOIN z ON y.x = "
                       "z.x",
                       DBK_RELATION_BLOCK);
    assert_incremental("SELECT a FROM t UNION SELECT d FROM s EXCEPT SELECT b FROM t",
                       DBK_RELATION_GROUP);
    assert_incremental("SELECT a FROM t WHERE a NOT IN (SELECT d FROM s WHERE s.a = t.b) AND "
                       "NOT EXISTS (SELECT 1 FROM s x JOIN s y ON x.a = y.d WHERE y.a = t.a)",
                       DBK_RELATION_BLOCK);
    assert_incremental("SELECT b, sum(a) AS n FROM t GROUP BY b HAVING n > (SELECT avg(d) FROM s)",
                       DBK_RELATION_BLOCK);
    assert_incremental("SELECT a, d FROM t LEFT JOIN s USING (a)", DBK_RELATION_BLOCK);
    assert_incremental("SELECT * FROM t NATURAL JOIN s", DBK_RELATION_BLOCK);
    assert_incremental("SELECT t.a, d FROM t FULL JOIN s ON t.a = d WHERE d IS NULL",
                       DBK_RELATION_BLOCK);
    assert_incremental("SELECT d, count(*) FROM t x RIGHT JOIN s ON x.a = d JOIN t y ON y.a = d "
                       "GROUP BY d",
                       DBK_RELATION_GROUP);
    assert_incremental("SELECT CAST(a AS VARCHAR(10)), date(c), trim(c) FROM t",
                       DBK_RELATION_BLOCK);
}

static void test_view_algebra__the_first_obstacle_is_named_with_its_place(void **state)
{
    (void)state;
    assert_obstacle(
        "-- a head\nSELECT a,\n  row_number() OVER () FROM t",
        "views/v.sql:3:3: a window without PARTITION BY: each change may change all rows");
    assert_obstacle("SELECT rank() OVER (PARTITION BY a ORDER BY b), rank() OVER (PARTITION BY b) "
                    "FROM t",
                    "views/v.sql:1:8: windows whose PARTITION BY have nothing in common");
    assert_obstacle("SELECT last_value(a) OVER (PARTITION BY b ORDER BY c) FROM t",
                    "views/v.sql:1:8: last_value() of a frame that is not one of ROWS");
    assert_obstacle("SELECT d FROM t RIGHT JOIN s USING (a)",
                    "views/v.sql:1:10: USING or NATURAL beside a RIGHT or FULL JOIN");
    assert_obstacle("SELECT t.a FROM t FULL JOIN s ON t.a IN (SELECT b FROM t)",
                    "views/v.sql:1:38: a subquery in the ON of a FULL JOIN");
    assert_obstacle("SELECT s.a FROM (SELECT a FROM t ORDER BY a LIMIT 3) AS s",
                    "views/v.sql:1:1: ORDER BY");
    assert_obstacle("SELECT a FROM t ORDER BY a LIMIT 1 + 2",
                    "views/v.sql:1:28: LIMIT of what is no number");
    assert_obstacle("SELECT DISTINCT a FROM t ORDER BY b",
                    "views/v.sql:1:35: ORDER BY of what SELECT DISTINCT does not give");
    assert_obstacle("SELECT a, b, count(*) FROM t GROUP BY a",
                    "views/v.sql:1:11: the column \"b\" is neither grouped by nor in an aggregate");
    assert_obstacle("SELECT random() FROM t",
                    "views/v.sql:1:8: random() is not known to give the same value each time");
    assert_obstacle("SELECT date('now') FROM t", "views/v.sql:1:8: date() reads the clock here");
    assert_obstacle("SELECT CURRENT_DATE FROM t", "views/v.sql:1:8: the clock is read here");
    assert_obstacle("SELECT a FROM t WHERE a = (SELECT d FROM s)",
                    "views/v.sql:1:27: a subquery as a value that is no aggregate of all its rows");
    assert_obstacle("WITH RECURSIVE z AS (SELECT a FROM t) SELECT a FROM z",
                    "views/v.sql:1:1: WITH RECURSIVE");
    assert_obstacle("SELECT a FROM t UNION SELECT d FROM s INTERSECT SELECT b FROM t",
                    "views/v.sql:1:39: INTERSECT behind another word");
    assert_obstacle("SELECT a FROM (SELECT a FROM t UNION ALL SELECT c FROM t) z",
                    "views/v.sql:1:23: column 1 has other types in the SELECTs that are put "
                    "together");
    assert_obstacle("SELECT sum(a) > (SELECT max(d) FROM s WHERE s.a = t.b) FROM t GROUP BY b",
                    "views/v.sql:1:17: a subquery of groups that reads columns around it");
    assert_obstacle("SELECT a FROM t WHERE EXISTS (SELECT 1 FROM s WHERE d = t.a OR d IN "
                    "(SELECT a FROM t))",
                    "views/v.sql:1:66: a subquery beside columns from around");
    assert_obstacle("SELECT group_concat(a) FROM t",
                    "views/v.sql:1:8: group_concat() depends on the order in which rows are met");
    assert_obstacle("SELECT a FROM n", "views/v.sql:1:15: \"n\" has a column that is compared by a "
                                       "collation");
    assert_obstacle("SELECT a FROM w", "views/v.sql:1:15: \"w\" has no row ids");
    assert_obstacle("SELECT a FROM g", "views/v.sql:1:15: \"g\" has a generated column, \"b\"");
    assert_obstacle("SELECT a FROM q",
                    "views/v.sql:1:15: \"q\" is a view that its model's schema makes, or one that "
                    "shows a part of its rows");
    assert_obstacle(
        "SELECT a IS b FROM t",
        "views/v.sql:1:13: what is read by PostgreSQL's grammar has here a syntax error "
        "at or near \"b\"");
}

/* Both accept them: SQLite's || binds tighter than *, PostgreSQL's more loosely. */
static void test_view_algebra__what_two_parsers_read_differently_is_not_trusted(void **state)
{
    (void)state;
    static const char expected[] =
        "views/v.sql:1:1: SQLite reads this otherwise than PostgreSQL's grammar does";
    assert_obstacle("SELECT a * b || c FROM t", expected);
    assert_obstacle("SELECT b || c * 2 FROM t", expected);
    assert_incremental("SELECT (a * b) || c FROM t", DBK_RELATION_BLOCK);
}

static void test_view_algebra__size_and_depth_are_bounded_before_the_parser(void **state)
{
    (void)state;
    struct dbk_buf sql;
    dbk_buf_init(&sql, 1 << 20);
    dbk_buf_append_text(&sql, "SELECT a FROM t WHERE a = 1");
    for (int i = 0; i < 20000; i++)
        dbk_buf_append_text(&sql, "+a");
    dbk_buf_append_char(&sql, '\0');
    struct dbk_view_plan plan;
    struct dbk_view_definition definition;
    make(&plan, &definition, sql.data);
    assert_false(plan.incremental);
    dbk_view_plan_release(&plan);
    sql.size = 0;
    dbk_buf_append_text(&sql, "SELECT a FROM t WHERE a = 1");
    for (int i = 0; i < 200; i++)
        dbk_buf_append_text(&sql, "+a");
    dbk_buf_append_char(&sql, '\0');
    assert_obstacle(sql.data, "views/v.sql:1:1: the SELECT is nested too deeply");
    dbk_buf_release(&sql);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_view_algebra__what_it_has_a_place_for_is_incremental,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_view_algebra__the_first_obstacle_is_named_with_its_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_view_algebra__what_two_parsers_read_differently_is_not_trusted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_view_algebra__size_and_depth_are_bounded_before_the_parser, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
