/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_test -- what a session in SQLite knows of its files.
 */
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

#include "target/target.h"

static char folder[64];
static char path[96];

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/daybook-target-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/one.db", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

static void remove_files(void)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char file[128];
        (void)snprintf(file, sizeof(file), "%s%s", path, ends[i]);
        (void)unlink(file);
    }
}

static void make_file(void)
{
    struct dbk_connection *connection = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_connection_open(path, 0, &connection, &err), &err);
    assert_ok(dbk_connection_run(connection, "CREATE TABLE t (n)", &err), &err);
    dbk_connection_free(connection);
}

/* Attached, as those of models as of a time are. */
static struct dbk_connection *attach(void)
{
    struct dbk_connection *connection = NULL;
    struct dbk_error err = {0};
    char sql[160];
    (void)snprintf(sql, sizeof(sql), "ATTACH '%s' AS one; SELECT 1 FROM one.t", path);
    assert_ok(dbk_connection_open("", DBK_CONNECT_MEMORY | DBK_CONNECT_READ, &connection, &err),
              &err);
    assert_ok(dbk_connection_run(connection, sql, &err), &err);
    return connection;
}

static void test_target_sqlite__a_removed_file_has_moved(void **state)
{
    (void)state;
    make_file();
    struct dbk_connection *connection = attach();
    assert_false(dbk_target_has_moved(connection));
    remove_files();
    assert_true(dbk_target_has_moved(connection));
    dbk_connection_free(connection);
    remove_files();
}

static void test_target_sqlite__a_replaced_file_has_moved(void **state)
{
    (void)state;
    make_file();
    struct dbk_connection *connection = attach();
    remove_files();
    make_file();
    assert_true(dbk_target_has_moved(connection));
    dbk_connection_free(connection);
    connection = attach();
    assert_false(dbk_target_has_moved(connection));
    dbk_connection_free(connection);
    remove_files();
}

int main(void)
{
#define SQLITE(name) cmocka_unit_test_setup_teardown(test_target_sqlite__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        SQLITE(a_removed_file_has_moved),
        SQLITE(a_replaced_file_has_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
