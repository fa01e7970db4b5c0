/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader_test -- a place in a table survives its text, and keys are found by their texts.
 *
 * On databases in memory. Each value that SQLite has a class for is a key once.
 */
#include "test.h"

#include "capture/reader.h"

static struct dbk_capture_table tables[] = {{.name = "t \"x'", .line = 3, .column = 5}};
static const struct dbk_capture_service service = {
    .name = "s", .file = "services/s.yaml", .database = "d", .tables = tables, .table_count = 1};
static struct dbk_connection *connection;
static struct dbk_json *json;
static struct dbk_reader reader;

static void open_table(const char *sql)
{
    struct dbk_error err = {0};
    assert_ok(dbk_connection_open(NULL, DBK_CONNECT_MEMORY, &connection, &err), &err);
    assert_ok(dbk_connection_run(connection, sql, &err), &err);
    json = dbk_json_create(1 << 20);
    assert_non_null(json);
    dbk_reader_init(&reader, connection, &service, 0, json);
}

static void close_table(void)
{
    dbk_reader_release(&reader);
    dbk_json_free(json);
    dbk_connection_free(connection);
}

static void look(void)
{
    struct dbk_error err = {0};
    assert_ok(dbk_reader_look(&reader, 1, &err), &err);
}

static void test_capture_reader__a_key_is_in_the_order_of_its_columns(void **state)
{
    (void)state;
    open_table("CREATE TABLE \"t \"\"x'\" (a, b TEXT NOT NULL, c INT GENERATED ALWAYS AS (1), d, "
               "PRIMARY KEY (d, a))");
    look();
    assert_int_equal(reader.shape.count, 3);
    assert_slice_equal(reader.columns[1].name, "b");
    assert_false(reader.columns[1].nullable);
    assert_int_equal(reader.key_count, 2);
    assert_int_equal(reader.keys[0], 2);
    assert_int_equal(reader.keys[1], 0);
    assert_null(dbk_reader_column(&reader, DBK_SLICE_LITERAL("c")));
    close_table();
}

static void assert_refused(const char *sql, int code, const char *message)
{
    struct dbk_error err = {0};
    open_table(sql);
    assert_int_equal(dbk_reader_look(&reader, 1, &err), code);
    assert_string_equal(err.message, message);
    close_table();
}

static void test_capture_reader__what_has_no_rows_with_a_key_is_refused(void **state)
{
    (void)state;
    assert_refused("SELECT 1", DBK_ENOTFOUND,
                   "services/s.yaml:3:5: the table `t \"x'` is not in the database: create it, or "
                   "leave it out");
    assert_refused("CREATE TABLE \"t \"\"x'\" (a)", DBK_EINVAL,
                   "services/s.yaml:3:5: the table `t \"x'` has no primary key: it names the row's "
                   "stream: give it one");
    assert_refused("CREATE VIEW \"t \"\"x'\" AS SELECT 1 AS a", DBK_EINVAL,
                   "services/s.yaml:3:5: the table `t \"x'` is a view or a foreign table: only "
                   "tables have rows with a primary key");
}

/* Goes through the table by its key, one row at a time, from places that were written and read. */
static size_t walk(void)
{
    struct dbk_error err = {0};
    struct dbk_reader_place place;
    struct dbk_reader_place again;
    struct dbk_buf sql;
    size_t count = 0;
    dbk_reader_place_init(&place);
    dbk_reader_place_init(&again);
    dbk_buf_init(&sql, 1 << 20);
    for (int rc = 1; rc == 1; count += rc == 1) {
        struct dbk_statement *statement = NULL;
        const struct dbk_json_node *root = NULL;
        dbk_buf_reset(&sql);
        dbk_buf_append_text(&sql, "SELECT ");
        dbk_reader_put_columns(&reader, &sql);
        dbk_buf_append_text(&sql, " FROM ");
        dbk_reader_put_table(&reader, &sql);
        if (again.count > 0) {
            dbk_buf_append_text(&sql, " WHERE ");
            dbk_reader_put_behind(&reader, &again, &sql);
        }
        dbk_buf_append_text(&sql, " ORDER BY ");
        dbk_reader_put_key(&reader, &sql);
        assert_ok(dbk_reader_prepare(&reader, &sql, &statement, &err), &err);
        rc = dbk_statement_step(statement, &err);
        assert_true(rc >= 0);
        dbk_reader_place_reset(&place);
        if (rc == 1)
            assert_int_equal(dbk_reader_place_add_key(&reader, &place, statement, 0), DBK_OK);
        dbk_statement_free(statement);
        dbk_buf_reset(&sql);
        dbk_reader_place_write(&place, &sql);
        assert_ok(dbk_json_parse(json, dbk_buf_slice(&sql), &root, &err), &err);
        assert_int_equal(dbk_reader_place_read(&again, root), DBK_OK);
    }
    dbk_buf_release(&sql);
    dbk_reader_place_release(&place);
    dbk_reader_place_release(&again);
    return count;
}

static const char *const values =
    "INSERT INTO \"t \"\"x'\" VALUES (0),(-1),(9223372036854775807),(-9223372036854775807-1),"
    "(0.1),(1.0/3),(5e-324),(1.7976931348623157e308),(-9e999),(9e999),(''),('a'),('A'),('it''s'),"
    "(CAST(x'610062' AS TEXT)),(CAST(x'ff' AS TEXT)),(x''),(x'00ff'),('5'),(5)";
#define VALUES 20

static void test_capture_reader__no_row_is_missed_behind_a_place(void **state)
{
    (void)state;
    open_table("CREATE TABLE \"t \"\"x'\" (k PRIMARY KEY)");
    struct dbk_error err = {0};
    assert_ok(dbk_connection_run(connection, values, &err), &err);
    look();
    assert_int_equal(walk(), VALUES);
    close_table();
}

static void test_capture_reader__a_damaged_place_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}",
                                        "[true]",
                                        "[[1]]",
                                        "[{}]",
                                        "[{\"blob\":\"?\"}]",
                                        "[{\"real\":\"x\"}]",
                                        "[{\"real\":1}]",
                                        "[{\"other\":\"1\"}]",
                                        "[{\"blob\":\"\",\"text\":\"\"}]"};
    struct dbk_reader_place place;
    open_table("SELECT 1");
    dbk_reader_place_init(&place);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const struct dbk_json_node *root = NULL;
        assert_int_equal(dbk_json_parse(json, dbk_slice_of(texts[i]), &root, NULL), DBK_OK);
        assert_int_equal(dbk_reader_place_read(&place, root), DBK_ECORRUPT);
    }
    dbk_reader_place_release(&place);
    close_table();
}

static void test_capture_reader__keys_are_found_by_their_texts(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_arena arena;
    struct dbk_slice keys[VALUES + 2] = {{0}};
    bool gone[VALUES + 2];
    struct dbk_statement *statement = NULL;
    size_t count = 0;
    open_table("CREATE TABLE \"t \"\"x'\" (k PRIMARY KEY)");
    assert_ok(dbk_connection_run(connection, values, &err), &err);
    look();
    dbk_arena_init(&arena, 1 << 20);
    assert_ok(dbk_statement_open(connection, dbk_slice_of("SELECT k FROM \"t \"\"x'\""), &statement,
                                 NULL, &err),
              &err);
    while (dbk_statement_step(statement, &err) == 1) {
        struct dbk_value value = dbk_statement_column(statement, 0);
        assert_true(dbk_reader_key_text(&value, &arena, &keys[count++]));
    }
    dbk_statement_free(statement);
    assert_int_equal(count, VALUES);
    keys[count++] = dbk_slice_of("b");
    keys[count++] = dbk_slice_of("05");
    const struct dbk_live_keys live = {.keys = keys, .count = count, .parts = 1};
    assert_ok(dbk_reader_find_gone(&reader, &live, gone, &err), &err);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(gone[i], i >= VALUES);
    dbk_arena_release(&arena);
    close_table();
}

static void test_capture_reader__a_collation_makes_no_keys_equal(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    bool gone[2];
    const struct dbk_slice keys[] = {DBK_SLICE_LITERAL("anna"), DBK_SLICE_LITERAL("ANNA")};
    const struct dbk_live_keys live = {.keys = keys, .count = 2, .parts = 1};
    open_table("CREATE TABLE \"t \"\"x'\" (k TEXT PRIMARY KEY COLLATE NOCASE);"
               "INSERT INTO \"t \"\"x'\" VALUES ('ANNA')");
    look();
    assert_ok(dbk_reader_find_gone(&reader, &live, gone, &err), &err);
    assert_true(gone[0]);
    assert_false(gone[1]);
    close_table();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capture_reader__a_key_is_in_the_order_of_its_columns),
        cmocka_unit_test(test_capture_reader__what_has_no_rows_with_a_key_is_refused),
        cmocka_unit_test(test_capture_reader__no_row_is_missed_behind_a_place),
        cmocka_unit_test(test_capture_reader__a_damaged_place_is_none),
        cmocka_unit_test(test_capture_reader__keys_are_found_by_their_texts),
        cmocka_unit_test(test_capture_reader__a_collation_makes_no_keys_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
