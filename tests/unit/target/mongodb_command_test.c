/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongodb_command_test -- tokens, commands of a file, what a command may do, and how it is written.
 */
#include "test.h"

#include "target/mongodb/command.h"

static void test_target_mongodb_command__commands_follow_one_another(void **state)
{
    (void)state;
    struct dbk_slice text = dbk_slice_of(" // a {\n{\"a\": [\"}\"]} // b\n{\"c\\\"}\": {}}\nx }");
    size_t at = 0;
    assert_slice_equal(dbk_mongodb_statement(text, at, &at), "{\"a\": [\"}\"]}");
    assert_slice_equal(dbk_mongodb_statement(text, at, &at), "{\"c\\\"}\": {}}");
    assert_slice_equal(dbk_mongodb_statement(text, at, &at), "x");
    assert_slice_equal(dbk_mongodb_statement(text, at, &at), "}");
    assert_int_equal(dbk_mongodb_statement(text, at, &at).size, 0);
    assert_int_equal(at, text.size);
}

static void test_target_mongodb_command__a_text_is_a_parameter_whole(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *name; /* NULL: none */
    } cases[] = {
        {"\":a\"", "a"},   {"\":a.b_2.c\"", "a.b_2.c"}, {"\":_time\"", "_time"}, {"\":\"", NULL},
        {"\":1\"", NULL},  {"\":a \"", NULL},           {"\":a.\"", NULL},       {"\"::a\"", NULL},
        {"\"a:b\"", NULL}, {"\":a\\n\"", NULL},         {"\":a..b\"", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_mongodb_token token = dbk_mongodb_next(dbk_slice_of(cases[i].text), 0);
        struct dbk_slice name = {0};
        bool found = dbk_mongodb_parameter(token, &name);
        if (found != (cases[i].name != NULL))
            fail_msg("%s", cases[i].text);
        if (found)
            assert_slice_equal(name, cases[i].name);
    }
}

static void assert_written(const char *text, const char *prefix, const char *expected,
                           const char *names)
{
    struct dbk_buf out;
    struct dbk_buf all;
    struct dbk_arena arena;
    struct dbk_error err = {0};
    struct dbk_mongodb_names found = {0};
    dbk_buf_init(&out, 65536);
    dbk_buf_init(&all, 65536);
    dbk_arena_init(&arena, 65536);
    assert_ok(
        dbk_mongodb_write(dbk_slice_of(text), dbk_slice_of(prefix), &out, &arena, &found, &err),
        &err);
    for (size_t i = 0; i < found.count; i++) {
        dbk_buf_append(&all, found.items[i]);
        dbk_buf_append_char(&all, ' ');
    }
    assert_slice_equal(dbk_buf_slice(&out), expected);
    assert_slice_equal(dbk_buf_slice(&all), names);
    dbk_buf_release(&out);
    dbk_buf_release(&all);
    dbk_arena_release(&arena);
}

static void test_target_mongodb_command__parameters_become_numbers(void **state)
{
    (void)state;
    assert_written("{\"update\": \"{gen}A\", \"updates\": [{\"q\": {\":k\": \":b.c\"}, \"u\": "
                   "[\":d\", \":b.c\", \"::d\", \"{other}x y\"]}]}",
                   "m__g2",
                   "{\"update\": \"m__g2_A\", \"updates\": [{\"q\": {\":k\": {\"$_\":0}}, \"u\": "
                   "[{\"$_\":1}, {\"$_\":0}, \":d\", \"{other}x y\"]}],\"$position\":{\"$_\":2}}",
                   "b.c d _position ");
    assert_written("{\"delete\": \"{gen}A\", \"x\": \":_position\"}", "m__g2",
                   "{\"delete\": \"m__g2_A\", \"x\": {\"$_\":0},\"$position\":{\"$_\":0}}",
                   "_position ");
    /* A query's names stay until it is asked. */
    assert_written("{\"find\" : \"{m}A\", \"filter\": {\"a\" : \":b\"}}", "",
                   "{\"find\" : \"{m}A\", \"filter\": {\"a\" : {\"$_\":0}}}", "b ");
}

static void assert_checked(const char *text, enum dbk_guard guard, int rc, const char *words)
{
    struct dbk_error err = {0};
    int offset = -1;
    int found = dbk_mongodb_check(dbk_slice_of(text), guard, &offset, &err);
    if (found != rc || (rc < 0 && strstr(err.message, words) == NULL))
        fail_msg("%s: %d: %s", text, found, err.message);
    if (offset >= (int)strlen(text))
        fail_msg("%s: offset %d", text, offset);
}

#define UPDATE(q, u) "{\"update\": \"{gen}A\", \"updates\": [{\"q\": " q ", \"u\": " u "}]}"
#define SET "{\"$set\": {\"a\": 1}}"

static void test_target_mongodb_command__handlers_name_their_document(void **state)
{
    (void)state;
    static const char *const fine[] = {
        UPDATE("{\"_id\": \":_stream\"}", SET),
        UPDATE("{\"_id\": {\"$oid\": \":id\"}, \"state\": {\"$ne\": \"done\"}}", SET),
        UPDATE("{\"_id\": {\"order\": \":o\", \"line\": 1}}", "{\"a\": {\"b\": [\":c\"]}}"),
        "{\"insert\": \"{gen}A\", \"documents\": [{\"_id\": 1}, {\"_id\": \":a\"}]}",
        "{\"delete\": \"{gen}A\", \"deletes\": [{\"q\": {\"_id\": \":a\"}, \"limit\": 1}]}",
    };
    static const char *const faulty[] = {
        UPDATE("{}", SET),
        UPDATE("{\"_id\": null}", SET),
        UPDATE("{\"_id\": {\"$gt\": 1}}", SET),
        UPDATE("{\"_id\": {\"$in\": [1]}}", SET),
        UPDATE("{\"_id\": {\"$date\": 1, \"$gt\": 1}}", SET),
        UPDATE("{\"$or\": [{\"_id\": 1}]}", SET),
        UPDATE("{\"_id\": {}}", SET),
    };
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
        assert_checked(fine[i], DBK_GUARD_HANDLER, DBK_OK, "");
    for (size_t i = 0; i < sizeof(faulty) / sizeof(faulty[0]); i++)
        assert_checked(faulty[i], DBK_GUARD_HANDLER, DBK_EDENIED, "by its _id");
    assert_checked(UPDATE("{\"_id\": 1}", "{\"$set\": {\"a\": \"$$NOW\"}}"), DBK_GUARD_HANDLER,
                   DBK_EDENIED, "clock");
    assert_checked(UPDATE("{\"_id\": 1}", "{\"$set\": {\"a\": 1}, \"b\": 1}"), DBK_GUARD_HANDLER,
                   DBK_EDENIED, "operator");
    assert_checked(UPDATE("{\"_id\": 1}", "{\"a\": 1, \"$set\": {\"b\": 1}}"), DBK_GUARD_HANDLER,
                   DBK_EINVAL, "member");
    assert_checked(UPDATE("{\"_id\": 1, \"$expr\": 1}", SET), DBK_GUARD_HANDLER, DBK_EDENIED,
                   "expressions");
    assert_checked(UPDATE("{\"_id\": 1}", "{\"$set\": {\"_id\": 2}}"), DBK_GUARD_HANDLER,
                   DBK_EDENIED, "keeps its _id");
    assert_checked("{\"update\": \"{gen}A\", \"updates\": []}", DBK_GUARD_HANDLER, DBK_EINVAL,
                   "items");
    assert_checked("{\"update\": \"{gen}A\", \"ordered\": false}", DBK_GUARD_HANDLER, DBK_EDENIED,
                   "nothing else");
    assert_checked("[]", DBK_GUARD_HANDLER, DBK_EINVAL, "object");
}

static void test_target_mongodb_command__a_purge_may_be_of_many_and_twice(void **state)
{
    (void)state;
    assert_checked("{\"delete\": \"{gen}A\", \"deletes\": [{\"q\": {\"by\": \":_subject\"}, "
                   "\"limit\": 0}]}",
                   DBK_GUARD_PURGE, DBK_OK, "");
    assert_checked("{\"update\": \"{gen}A\", \"updates\": [{\"q\": {\"by\": \":_subject\"}, "
                   "\"u\": {\"$unset\": {\"name\": 1}}, \"multi\": true}]}",
                   DBK_GUARD_PURGE, DBK_OK, "");
    assert_checked(UPDATE("{\"by\": \":_subject\"}", "{\"$inc\": {\"a\": 1}}"), DBK_GUARD_PURGE,
                   DBK_EDENIED, "twice");
    assert_checked(UPDATE("{\"by\": \":name\"}", SET), DBK_GUARD_PURGE, DBK_EDENIED, ":_subject");
    assert_checked(UPDATE("{\"by\": 1}", "{\"a\": 1}"), DBK_GUARD_PURGE, DBK_EDENIED, "$unset");
    assert_checked("{\"insert\": \"{gen}A\", \"documents\": [{\"_id\": 1}]}", DBK_GUARD_PURGE,
                   DBK_EDENIED, "update and delete");
}

static void test_target_mongodb_command__a_schema_creates(void **state)
{
    (void)state;
    assert_checked("{\"create\": \"{gen}A\", \"validator\": {\"a\": {\"$gt\": 0}}}",
                   DBK_GUARD_SCHEMA, DBK_OK, "");
    assert_checked("{\"createIndexes\": \"{gen}A\", \"indexes\": [{\"key\": {\"a\": -1}, "
                   "\"name\": \"a\", \"unique\": true}]}",
                   DBK_GUARD_SCHEMA, DBK_OK, "");
    assert_checked("{\"createIndexes\": \"{gen}A\", \"indexes\": [{\"key\": {\"a\": 1}, "
                   "\"name\": \"a\", \"expireAfterSeconds\": 1}]}",
                   DBK_GUARD_SCHEMA, DBK_EDENIED, "events alone");
    assert_checked("{\"drop\": \"{gen}A\"}", DBK_GUARD_SCHEMA, DBK_EDENIED, "create");
    assert_checked("{\"create\": \"A\"}", DBK_GUARD_SCHEMA, DBK_EDENIED, "{gen}Name");
}

static void test_target_mongodb_command__a_query_reads(void **state)
{
    (void)state;
    static const char *const fine[] = {
        "{\"find\": \"{m}A\", \"filter\": {\"a\": \":b\"}, \"limit\": \":n\"}",
        ("{\"aggregate\": \"{m}A\", \"pipeline\": [{\"$match\": {\"a\": \":b\"}}, {\"$lookup\": "
         "{\"from\": \"{n}B\", \"pipeline\": [{\"$match\": {\"c\": \":c\"}}], \"as\": \"d\"}}]}"),
        "{\"aggregate\": \"{m}A\", \"pipeline\": [{\"$set\": {\"a\": {\"$literal\": \":b\"}}}]}",
        /* As it is written for the driver. */
        "{\"find\": \"{m}A\", \"filter\": {\"a\": {\"$_\": 0}}}",
    };
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
        assert_checked(fine[i], DBK_GUARD_QUERY, DBK_OK, "");
    assert_checked("{\"find\": \"{m}A\", \"filter\": {\"$expr\": {\"$eq\": [\"$a\", \":b\"]}}}",
                   DBK_GUARD_QUERY, DBK_EDENIED, "$literal");
    assert_checked("{\"find\": \"{m}A\", \"projection\": {\"a\": {\"$_\": 0}}}", DBK_GUARD_QUERY,
                   DBK_EDENIED, "$literal");
    assert_checked("{\"find\": \"{m}A\", \"filter\": {\"$where\": \"1\"}}", DBK_GUARD_QUERY,
                   DBK_EDENIED, "programs");
    assert_checked("{\"aggregate\": \"{m}A\", \"pipeline\": [{\"$facet\": {\"a\": [{\"$merge\": "
                   "\"x\"}]}}]}",
                   DBK_GUARD_QUERY, DBK_EDENIED, "only reads");
    assert_checked("{\"aggregate\": \"{m}A\", \"pipeline\": [{\"$unionWith\": \"B\"}]}",
                   DBK_GUARD_QUERY, DBK_EDENIED, "{model}Name");
    assert_checked("{\"aggregate\": \"{m}A\", \"pipeline\": [{\"$collStats\": {}}]}",
                   DBK_GUARD_QUERY, DBK_EDENIED, "no stage");
    assert_checked("{\"find\": \"A\"}", DBK_GUARD_QUERY, DBK_EDENIED, "{model}Name");
}

static int collect(void *context, enum dbk_object_kind kind, struct dbk_slice name)
{
    struct dbk_buf *all = context;
    assert_int_equal(kind, DBK_OBJECT_TABLE);
    dbk_buf_append(all, name);
    dbk_buf_append_char(all, ' ');
    return DBK_OK;
}

static void test_target_mongodb_command__collections_are_those_created(void **state)
{
    (void)state;
    struct dbk_buf all;
    struct dbk_error err = {0};
    dbk_buf_init(&all, 4096);
    assert_ok(dbk_mongodb_objects(dbk_slice_of("{\"create\": \"{gen}A\"} {\"createIndexes\": "
                                               "\"{gen}C\"}\n{\"create\": \"{gen}B\"}"),
                                  collect, &all, &err),
              &err);
    assert_slice_equal(dbk_buf_slice(&all), "A B ");
    dbk_buf_release(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_mongodb_command__commands_follow_one_another),
        cmocka_unit_test(test_target_mongodb_command__a_text_is_a_parameter_whole),
        cmocka_unit_test(test_target_mongodb_command__parameters_become_numbers),
        cmocka_unit_test(test_target_mongodb_command__handlers_name_their_document),
        cmocka_unit_test(test_target_mongodb_command__a_purge_may_be_of_many_and_twice),
        cmocka_unit_test(test_target_mongodb_command__a_schema_creates),
        cmocka_unit_test(test_target_mongodb_command__a_query_reads),
        cmocka_unit_test(test_target_mongodb_command__collections_are_those_created),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
