/* SPDX-License-Identifier: Apache-2.0 */
/*
 * statements_test -- commands/<Name>.sql is read into its statements, and each fault is named by
 * its place in the file, also behind parameters that are written otherwise.
 */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "command/command.h"

static const struct dbk_capture_service services[] = {
    {.name = "posts", .database = "posts", .address = "/nowhere/posts.db"},
    {.name = "likes", .database = "posts", .address = "/nowhere/posts.db"},
    {.name = "mail", .database = "mail", .address = "/nowhere/mail.db"}};

struct reading {
    struct dbk_arena arena;
    struct dbk_diagnostics faults;
    struct dbk_service_command command;
};

static void read_text(struct reading *reading, const char *text)
{
    struct dbk_error err = {0};
    dbk_arena_init(&reading->arena, 1 << 20);
    dbk_diagnostics_init(&reading->faults);
    assert_ok(dbk_service_command_parse("Do", "commands/Do.sql", dbk_slice_of(text), services, 3,
                                        &reading->arena, &reading->faults, &reading->command, &err),
              &err);
}

static void release(struct reading *reading)
{
    dbk_diagnostics_release(&reading->faults);
    dbk_arena_release(&reading->arena);
}

static void test_command_statements__a_file_is_read(void **state)
{
    (void)state;
    struct reading reading;
    read_text(&reading,
              "-- Posts something. What is expected of it, see below.\n"
              "-- service: posts\n"
              "-- parameters: author integer, body text, tags json?\n"
              "\n"
              "-- expect: 1 row, else no-such-user: there is none, is there\n"
              "SELECT 1 FROM users WHERE id = :author;\n"
              "-- expect: at least 2 rows\n"
              "WITH a AS (SELECT :_id) INSERT INTO posts SELECT :_id, :body, :tags; -- x\n"
              "-- expect: 0 rows\n"
              "DELETE FROM posts WHERE id = ';' RETURNING id\n");
    const struct dbk_service_command *command = &reading.command;
    assert_int_equal(reading.faults.count, 0);
    assert_string_equal(command->service->name, "posts");
    assert_int_equal(command->parameter_count, 4);
    assert_string_equal(command->parameters[2].name, "tags");
    assert_int_equal(command->parameters[2].type, DBK_COMMAND_JSON);
    assert_true(command->parameters[2].optional);
    assert_false(command->parameters[1].optional);
    assert_string_equal(command->parameters[3].name, "_id");
    assert_int_equal(command->statement_count, 3);
    const struct dbk_command_statement *first = &command->statements[0];
    assert_int_equal(first->line, 6);
    assert_int_equal(first->expect, DBK_ROWS_EXACTLY);
    assert_int_equal(first->rows, 1);
    assert_string_equal(first->refusal, "no-such-user");
    assert_string_equal(first->text, "there is none, is there");
    assert_false(first->answers);
    assert_string_equal(first->sql.data, "SELECT 1 FROM users WHERE id = ?1");
    const struct dbk_command_statement *second = &command->statements[1];
    assert_int_equal(second->expect, DBK_ROWS_AT_LEAST);
    assert_int_equal(second->rows, 2);
    assert_null(second->refusal);
    /* What changes rows is made to tell how many. */
    assert_string_equal(second->sql.data, "WITH a AS (SELECT ?1) INSERT INTO posts SELECT ?1, ?2, "
                                          "?3\nRETURNING 1");
    assert_int_equal(second->parameter_count, 3);
    assert_int_equal(second->parameters[0], 3);
    assert_int_equal(second->parameters[1], 1);
    const struct dbk_command_statement *last = &command->statements[2];
    assert_string_equal(last->sql.data, "DELETE FROM posts WHERE id = ';' RETURNING id");
    assert_true(last->answers);
    release(&reading);
}

static void test_command_statements__a_transaction_may_be_of_several(void **state)
{
    (void)state;
    struct reading reading;
    read_text(&reading, "-- service: posts , likes\nSELECT 1");
    assert_int_equal(reading.faults.count, 0);
    assert_string_equal(reading.command.service->name, "posts");
    assert_int_equal(reading.command.other_count, 1);
    assert_true(dbk_command_names(&reading.command, &services[0]));
    assert_true(dbk_command_names(&reading.command, &services[1]));
    assert_false(dbk_command_names(&reading.command, &services[2]));
    assert_string_equal(reading.command.address, "/nowhere/posts.db");
    release(&reading);
}

static void assert_fault(const char *text, unsigned line, unsigned column, const char *what)
{
    struct reading reading;
    read_text(&reading, text);
    if (reading.faults.count == 0)
        fail_msg("no fault: %s", text);
    const struct dbk_diagnostic *fault = &reading.faults.items[0];
    if (fault->line != line || fault->column != column || strstr(fault->what, what) == NULL)
        fail_msg("%s: %u:%u: %s", text, fault->line, fault->column, fault->what);
    release(&reading);
}

#define HEAD "-- service: posts\n"

static void test_command_statements__faults_have_their_place(void **state)
{
    (void)state;
    /* The column is the file's, though `:long_name` is shorter to the database. */
    assert_fault(HEAD "SELECT :long_name, :other_name FROM", 2, 1, "incomplete input");
    assert_fault(HEAD "SELECT :long_name, :other_name FRM t", 2, 36, "syntax error");
    assert_fault(HEAD "SELECT :a, no_such_function(:a)", 2, 12, "no such function");
    assert_fault(HEAD "INSERT OR ROLLBACK INTO t VALUES (:a)", 2, 11, "may not roll back");
    assert_fault(HEAD "VACUUM", 2, 1, "may not do more than read and change rows");
    assert_fault(HEAD "EXPLAIN SELECT 1", 2, 1, "may not do more than read and change rows");
    assert_fault(HEAD "WITH a AS (SELECT 1) PRAGMA x", 2, 1, "may not do more than read");
    assert_fault(HEAD "-- expect: 1 row\n-- expect: 2 rows\nSELECT 1", 3, 12, "two expectations");
    assert_fault(HEAD "SELECT\n-- expect: 1 row\n1", 3, 1, "only before a statement");
    assert_fault(HEAD "SELECT 1;\n-- service: posts\nSELECT 1", 3, 1, "the file's head");
    assert_fault(HEAD "-- expect: 1 row, else no code: x\nSELECT 1", 2, 19, "cannot be read");
    assert_fault(HEAD "-- parameters: a text, a text\nSELECT :a", 2, 24, "twice");
    assert_fault(HEAD "-- parameters: a text b\nSELECT :a", 2, 16, "no parameter with its type");
    assert_fault("-- service: pots\nSELECT 1", 1, 13, "there is no service `pots`");
    assert_fault("-- service: posts, like\nSELECT 1", 1, 20, "there is no service `like`");
    assert_fault("-- service: posts,\nSELECT 1", 1, 19, "there is no service ``");
    assert_fault("-- service: posts, likes, posts\nSELECT 1", 1, 27, "named twice");
    assert_fault("-- service: posts, mail\nSELECT 1", 1, 20, "not in the database of the first");
    assert_fault(HEAD "-- service: likes\nSELECT 1", 2, 13, "has a service");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_statements__a_file_is_read),
        cmocka_unit_test(test_command_statements__a_transaction_may_be_of_several),
        cmocka_unit_test(test_command_statements__faults_have_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
