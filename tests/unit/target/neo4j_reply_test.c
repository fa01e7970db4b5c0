/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neo4j_reply_test -- answers are read whole or not at all, and errors keep their names.
 *
 * Every good answer is also cut at every byte: none of the pieces is an answer.
 */
#include "test.h"

#include "target/neo4j/reply.h"

static const char rows[] =
    "{\"results\":[{\"columns\":[],\"data\":[]},{\"columns\":[\"a\",\"b\"],\"data\":[{\"row\":[1,"
    "{\"x\":[null]}],\"meta\":[null,null]}]}],\"errors\":[],\"lastBookmarks\":[\"x\"]}";

static int parse(struct dbk_json *json, const char *text, struct dbk_neo4j_reply *reply)
{
    struct dbk_error err = {0};
    return dbk_neo4j_reply_parse(json, dbk_slice_of(text), reply, &err);
}

static void test_target_neo4j_reply__rows_are_found_by_statement(void **state)
{
    (void)state;
    struct dbk_json *json = dbk_json_create(1 << 16);
    struct dbk_neo4j_reply reply = {0};
    struct dbk_error err = {0};
    assert_int_equal(parse(json, rows, &reply), DBK_OK);
    assert_int_equal(dbk_neo4j_reply_check(&reply, &err), DBK_OK);
    const struct dbk_json_node *second = dbk_neo4j_reply_result(&reply, 1);
    assert_non_null(second);
    assert_int_equal(dbk_json_member(second, "columns")->count, 2);
    assert_int_equal(dbk_json_member(second, "data")->count, 1);
    assert_null(dbk_neo4j_reply_result(&reply, 2));
    dbk_json_free(json);
}

static void test_target_neo4j_reply__a_cut_answer_is_none(void **state)
{
    (void)state;
    struct dbk_json *json = dbk_json_create(1 << 16);
    for (size_t size = 0; size < sizeof(rows) - 1; size++) {
        struct dbk_neo4j_reply reply = {0};
        struct dbk_error err = {0};
        assert_int_equal(dbk_neo4j_reply_parse(json, dbk_slice(rows, size), &reply, &err),
                         DBK_ECONNECT);
        assert_true(err.message[0] != 0);
    }
    dbk_json_free(json);
}

static void test_target_neo4j_reply__what_is_no_answer_is_named(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "[]",
        "{}",
        "{\"results\":[]}",
        "{\"errors\":[]}",
        "{\"results\":{},\"errors\":[]}",
        "{\"results\":[],\"errors\":[{}]}",
        "{\"results\":[],\"errors\":[{\"code\":\"\",\"message\":\"\"}]}",
        "{\"results\":[{\"columns\":[\"a\"],\"data\":[{\"row\":[]}]}],\"errors\":[]}",
        "{\"results\":[{\"columns\":[1],\"data\":[]}],\"errors\":[]}",
        "{\"results\":[{\"columns\":[\"a\"]}],\"errors\":[]}",
        "<html>",
    };
    struct dbk_json *json = dbk_json_create(1 << 16);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct dbk_neo4j_reply reply = {0};
        if (parse(json, wrong[i], &reply) != DBK_ECONNECT)
            fail_msg("%s was taken for an answer", wrong[i]);
    }
    dbk_json_free(json);
}

static int code_of(struct dbk_json *json, const char *code, struct dbk_error *err)
{
    char text[512];
    struct dbk_neo4j_reply reply = {0};
    (void)snprintf(text, sizeof(text),
                   "{\"results\":[{\"columns\":[\"a\"]}],\"errors\":[{\"code\":\"%s\",\"message\":"
                   "\"why\\n  ^\"}]}",
                   code);
    assert_int_equal(parse(json, text, &reply), DBK_OK);
    return dbk_neo4j_reply_check(&reply, err);
}

static void test_target_neo4j_reply__codes_say_what_may_pass(void **state)
{
    (void)state;
    static const struct {
        const char *code;
        int rc;
    } codes[] = {
        {"Neo.TransientError.Transaction.DeadlockDetected", DBK_EBUSY},
        {"Neo.ClientError.Security.Unauthorized", DBK_ECONNECT},
        {"Neo.ClientError.Security.Forbidden", DBK_EDENIED},
        {"Neo.ClientError.Database.DatabaseNotFound", DBK_ECONNECT},
        {"Neo.ClientError.Schema.ConstraintValidationFailed", DBK_EREFUSED},
        {"Neo.ClientError.Statement.SyntaxError", DBK_EINVAL},
        {"Neo.ClientError.Statement.ArithmeticError", DBK_ESCRIPT},
        {"Neo.ClientError.Statement.AccessMode", DBK_EDENIED},
        {"Neo.ClientError.Transaction.TransactionTimedOut", DBK_ETIMEOUT},
        {"Neo.DatabaseError.Statement.ExecutionFailed", DBK_ESCRIPT},
        {"Neo.DatabaseError.General.UnknownError", DBK_EIO},
        {"Something.Else", DBK_ESCRIPT},
    };
    struct dbk_json *json = dbk_json_create(1 << 16);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct dbk_error err = {0};
        assert_int_equal(code_of(json, codes[i].code, &err), codes[i].rc);
        assert_null(strchr(err.message, '\n'));
        assert_non_null(strstr(err.message, codes[i].code));
    }
    dbk_json_free(json);
}

static void test_target_neo4j_reply__versions_are_compared_as_numbers(void **state)
{
    (void)state;
    static const char *const enough[] = {"5.23.0", "5.26.0", "5.100", "2025.01.0", "6.0-beta"};
    static const char *const others[] = {"5.22.9", "5.3.0", "4.4.40", "5", "", "x", "5.x", "5."};
    for (size_t i = 0; i < sizeof(enough) / sizeof(enough[0]); i++)
        assert_true(dbk_neo4j_version_is_enough(dbk_slice_of(enough[i])));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(dbk_neo4j_version_is_enough(dbk_slice_of(others[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_neo4j_reply__rows_are_found_by_statement),
        cmocka_unit_test(test_target_neo4j_reply__a_cut_answer_is_none),
        cmocka_unit_test(test_target_neo4j_reply__what_is_no_answer_is_named),
        cmocka_unit_test(test_target_neo4j_reply__codes_say_what_may_pass),
        cmocka_unit_test(test_target_neo4j_reply__versions_are_compared_as_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
