/* SPDX-License-Identifier: Apache-2.0 */
/*
 * words_test -- typed words become the JSON a person means, and JSON becomes words again.
 */
#include "test.h"

#include "cli/words.h"

#define WORDS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void expect(const char *json, size_t count, const char *const *words)
{
    struct dbk_error err = {0};
    struct dbk_buf out;
    dbk_buf_init(&out, 1 << 16);
    assert_ok(dbk_words_parse(words, count, &out, &err), &err);
    assert_slice_equal(dbk_buf_slice(&out), json);
    dbk_buf_release(&out);
}

static void test_cli_words__values_are_what_they_look_like(void **state)
{
    (void)state;
    expect("{}", 0, NULL);
    expect("{\"a\":1,\"b\":2.50,\"c\":true,\"d\":null}", 4,
           WORDS("a=1", "b=2.50", "c=true", "d=null"));
    expect("{\"a\":\"5\",\"b\":\"anna\",\"c\":\"\",\"d\":\"1=2\"}", 4,
           WORDS("a=\"5\"", "b=anna", "c=", "d=1=2"));
    expect("{\"a\":\"01\",\"b\":\"+1\",\"c\":\"{\\\"x\\\":1}\",\"d\":\"1e999\"}", 4,
           WORDS("a=01", "b=+1", "c={\"x\":1}", "d=1e999"));
    expect("{\"a\":\"say \\\"hi\\\"\",\"b\":\"\\\"\"}", 2, WORDS("a=say \"hi\"", "b=\""));
}

static void test_cli_words__what_is_no_word_is_named(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_buf out;
    dbk_buf_init(&out, 1 << 16);
    assert_int_equal(dbk_words_parse(WORDS("a=1", "b"), 2, &out, &err), DBK_EINVAL);
    assert_string_equal(err.message, "\"b\" is not NAME=VALUE");
    assert_int_equal(dbk_words_parse(WORDS("=1"), 1, &out, &err), DBK_EINVAL);
    assert_string_equal(err.message, "\"=1\" is not NAME=VALUE");
    assert_int_equal(dbk_words_parse(WORDS("a=1", "ab=1", "a=2"), 3, &out, &err), DBK_EINVAL);
    assert_string_equal(err.message, "a is given twice");
    dbk_buf_release(&out);
}

static void test_cli_words__objects_read_as_words(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *words;
    } cases[] = {{"{}", ""},
                 {"{\"a\":1,\"b\":\"x y\",\"c\":[1,{\"d\":2}],\"e\":null}",
                  "a=1 b=x y c=[1,{\"d\":2}] e=null"},
                 {"[1, 2]", "[1,2]"},
                 {"\"text\"", "\"text\""}};
    struct dbk_json *json = dbk_json_create(1 << 16);
    assert_non_null(json);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_error err = {0};
        const struct dbk_json_node *root = NULL;
        struct dbk_buf out;
        dbk_buf_init(&out, 1 << 16);
        assert_ok(dbk_json_parse(json, dbk_slice_of(cases[i].json), &root, &err), &err);
        dbk_words_write(&out, root);
        assert_slice_equal(dbk_buf_slice(&out), cases[i].words);
        dbk_buf_release(&out);
    }
    dbk_json_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_words__values_are_what_they_look_like),
        cmocka_unit_test(test_cli_words__what_is_no_word_is_named),
        cmocka_unit_test(test_cli_words__objects_read_as_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
