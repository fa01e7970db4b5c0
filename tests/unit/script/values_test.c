/* SPDX-License-Identifier: Apache-2.0 */
/*
 * values_test -- JSON goes in and comes out exactly; decimals calculate exactly; what JSON cannot
 * say is refused with the path to it.
 */
#include "test.h"

#include <lua.h>
#include <string.h>

#include "script/script.h"

#define OUT_SIZE_MAX ((size_t)1 << 20)

struct fixture {
    struct dbk_script *script;
    struct dbk_json *json;
    struct dbk_buf out;
};

static int set_up(void **state)
{
    static struct fixture fixture;
    struct dbk_error err = {0};
    fixture = (struct fixture){.json = dbk_json_create(OUT_SIZE_MAX)};
    assert_non_null(fixture.json);
    dbk_buf_init(&fixture.out, OUT_SIZE_MAX);
    assert_ok(dbk_script_open("t.lua", DBK_SLICE_LITERAL("return {}"), NULL, &fixture.script, &err),
              &err);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    dbk_script_free(fixture->script);
    dbk_json_free(fixture->json);
    dbk_buf_release(&fixture->out);
    return 0;
}

static void test_script_values__json_comes_out_as_it_went_in(void **state)
{
    static const char *const texts[] = {"null",
                                        "true",
                                        "false",
                                        "0",
                                        "-1",
                                        "9223372036854775807",
                                        "-9223372036854775808",
                                        "0.1",
                                        "-12.75",
                                        "1000000.000001",
                                        "\"\"",
                                        "\"a\\\"b\\n\\u0000\\u00e9\"",
                                        "[]",
                                        "{}",
                                        "[null]",
                                        "[[],{}]",
                                        "[null,null]",
                                        "{\"a\":null}",
                                        "{\"\":1}",
                                        "{\"a\":{\"b\":[1,2.5,[],{},null,\"x\"]},\"z\":true}",
                                        "[[[[[[[[]]]]]]]]",
                                        "{\"1\":2}",
                                        "{\"A\":1,\"a\":2,\"\\u00e9\":3}"};
    struct fixture *fixture = *state;
    struct dbk_error err = {0};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const struct dbk_json_node *root = NULL;
        struct dbk_buf plain;
        dbk_buf_init(&plain, OUT_SIZE_MAX);
        dbk_buf_reset(&fixture->out);
        assert_ok(dbk_json_parse(fixture->json, dbk_slice_of(texts[i]), &root, &err), &err);
        dbk_json_write_node(&plain, root);
        assert_ok(dbk_script_push_json(fixture->script, root, &err), &err);
        assert_ok(dbk_script_write_json(fixture->script, -1, &fixture->out, &err), &err);
        assert_true(dbk_slice_equal(dbk_buf_slice(&fixture->out), dbk_buf_slice(&plain)));
        lua_settop(dbk_script_lua(fixture->script), 1);
        dbk_buf_release(&plain);
    }
}

/* What `return {<text>}` is as JSON; nothing is left behind on the stack. */
static int evaluate(struct fixture *fixture, const char *text, struct dbk_error *err)
{
    struct dbk_script *script = NULL;
    char source[400];
    (void)snprintf(source, sizeof(source), "return { x = %s }", text);
    dbk_buf_reset(&fixture->out);
    int rc = dbk_script_open("t.lua", dbk_slice_of(source), NULL, &script, err);
    if (rc == DBK_OK) {
        rc = dbk_script_write_json(script, 1, &fixture->out, err);
        assert_int_equal(lua_gettop(dbk_script_lua(script)), 1);
    }
    dbk_script_free(script);
    return rc;
}

static void test_script_values__writes_what_scripts_make(void **state)
{
    static const char *const cases[][2] = {
        {"{}", "{}"},
        {"array{}", "[]"},
        {"array()", "[]"},
        {"{ 1, 2 }", "[1,2]"},
        {"array{ array{}, {} }", "[[],{}]"},
        {"{ b = 1, a = 2, ab = 3 }", "{\"a\":2,\"ab\":3,\"b\":1}"},
        {"null", "null"},
        {"{ null, 1 }", "[null,1]"},
        {"math.maxinteger", "9223372036854775807"},
        {"math.mininteger", "-9223372036854775808"},
        {"0.5", "0.5"},
        {"decimal('2.50')", "2.5"},
        {"tostring(null)", "\"null\""},
        {"null == null", "true"},
        {"type(null)", "\"userdata\""},
    };
    struct dbk_error err = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expected[200];
        (void)snprintf(expected, sizeof(expected), "{\"x\":%s}", cases[i][1]);
        assert_ok(evaluate(*state, cases[i][0], &err), &err);
        assert_slice_equal(dbk_buf_slice(&((struct fixture *)*state)->out), expected);
    }
}

static void test_script_values__decimals_are_exact(void **state)
{
    static const char *const cases[][2] = {
        {"decimal('0.1') + decimal('0.2')", "0.3"},
        {"decimal('0.1') + decimal('0.2') == decimal('0.30')", "true"},
        {"1 + decimal('0.5')", "1.5"},
        {"decimal('2.55') * 6", "15.3"},
        {"10 - decimal('0.01')", "9.99"},
        {"-decimal('1.5')", "-1.5"},
        {"decimal('1.5') < 2", "true"},
        {"2 <= decimal('1.5')", "false"},
        {"decimal('1.10') == decimal('1.1')", "true"},
        {"tostring(decimal('1.10'))", "\"1.1\""},
        {"'is ' .. decimal('1.5') .. '!'", "\"is 1.5!\""},
        {"decimal(1):divide(3, 4)", "0.3333"},
        {"decimal('2.5'):round()", "2"},
        {"decimal('2.345'):round(2)", "2.34"},
        {"decimal('7'):to_integer()", "7"},
        {"decimal('7.5'):to_integer() == nil", "true"},
        {"decimal('7.5'):to_number()", "7.5"},
        {"decimal(9223372036854775807) - 1", "9223372036854775806"},
    };
    struct dbk_error err = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expected[200];
        (void)snprintf(expected, sizeof(expected), "{\"x\":%s}", cases[i][1]);
        assert_ok(evaluate(*state, cases[i][0], &err), &err);
        assert_slice_equal(dbk_buf_slice(&((struct fixture *)*state)->out), expected);
    }
}

static void test_script_values__refuses_with_a_reason(void **state)
{
    static const char *const cases[][2] = {
        {"decimal('x')", "\"x\" is no number that can be kept exactly"},
        {"decimal(0.1)", "a binary fraction is not exact"},
        {"decimal('1') + 0.5", "a binary fraction is not exact"},
        {"decimal('1') / 3", "a quotient needs places"},
        {"decimal('1'):divide(0, 2)", "divides by zero"},
        {"decimal('1e300') * decimal('1e300')", "the exact product does not fit"},
        {"decimal('1') + {}", "table is no number"},
        {"{ y = type }", "x.y: a function cannot be JSON"},
        {"{ { 1, { z = 1 / 0 } } }", "x[1][2].z: an infinity"},
        {"0 / 0", "what is no number"},
        {"{ 1, 2, a = 3 }", "keys that are no texts"},
        {"{ [1.5] = 3 }", "keys that are no texts"},
        {"{ 1, nil, 3 }", "keys that are no texts"},
        {"{ 1, nil, 3, a = 1 }", "keys that are no texts"},
        {"array{ 1, nil, 3 }", "an array with gaps or other keys"},
        {"array{ 1, nil, 3, a = 1 }", "an array with gaps or other keys"},
        {"'\\xff'", "x: text that is not UTF-8"},
        {"{ ['\\xff'] = 1 }", "a key that is not UTF-8"},
        {"(function() local t = {} t.t = t return t end)()", "x.t.t.t.t.t"},
        {"(function() local t = {} t.t = t return t end)()", "a table in itself"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_error err = {0};
        int rc = evaluate(*state, cases[i][0], &err);
        if (rc != DBK_ESCRIPT || strstr(err.message, cases[i][1]) == NULL)
            fail_msg("%s gave %d \"%s\"", cases[i][0], rc, err.message);
        assert_int_equal(((struct fixture *)*state)->out.size, 0);
    }
}

/* 2^60 tables by reference: written one by one that would not end. */
static void test_script_values__a_table_in_many_places_ends_at_the_buffer(void **state)
{
    struct dbk_error err = {0};
    assert_int_equal(
        evaluate(*state,
                 "(function() local t = {} for _ = 1, 60 do t = { t, t } end return t end)()",
                 &err),
        DBK_ELIMIT);
}

#define DIGITS "00112233445566778899aabbccddeeff"
#define FORGOTTEN "{\"$forgotten\":\"" DIGITS "\"}"

/* Everything a script may do with a value that has been forgotten since it was written. */
static void test_script_values__a_forgotten_value_absorbs(void **state)
{
    (void)state;
    static const struct {
        const char *expression;
        const char *json;
    } cases[] = {
        {"v", FORGOTTEN},
        {"'a' .. v", FORGOTTEN},
        {"v .. 'a'", FORGOTTEN},
        {"1 .. v .. 'a'", FORGOTTEN},
        {"v + 1", FORGOTTEN},
        {"1 - v", FORGOTTEN},
        {"v * v", FORGOTTEN},
        {"v / 2", FORGOTTEN},
        {"2 // v", FORGOTTEN},
        {"v % 2", FORGOTTEN},
        {"v ^ 2", FORGOTTEN},
        {"-v", FORGOTTEN},
        {"v & 1", FORGOTTEN},
        {"1 | v", FORGOTTEN},
        {"v ~ 1", FORGOTTEN},
        {"~v", FORGOTTEN},
        {"v << 1", FORGOTTEN},
        {"v >> 1", FORGOTTEN},
        {"decimal('1.5') + v", FORGOTTEN},
        {"v - decimal('1.5')", FORGOTTEN},
        {"decimal('1.5') / v", FORGOTTEN},
        {"decimal('1.5') .. v", FORGOTTEN},
        {"decimal(v)", FORGOTTEN},
        {"decimal('1.5') < v", "false"},
        {"decimal('1.5') >= v", "false"},
        {"decimal('1.5') == v", "false"},
        {"v.street", FORGOTTEN},
        {"v[1][2].x", FORGOTTEN},
        {"v:upper()", FORGOTTEN},
        {"v:sub(1, 3):lower()", FORGOTTEN},
        {"v < 1", "false"},
        {"1 < v", "false"},
        {"v <= 'a'", "false"},
        {"v > v", "false"},
        {"v == v", "true"},
        {"v == 'a'", "false"},
        {"v ~= nil", "true"},
        {"#v", "0"},
        {"tostring(v)", "\"[forgotten]\""},
        {"string.format('%s', v)", "\"[forgotten]\""},
        {"(function() v.x = 1; return v end)()", FORGOTTEN},
        {"{name = v, list = array{v}}", "{\"list\":[" FORGOTTEN "],\"name\":" FORGOTTEN "}"},
    };
    struct dbk_json *json = dbk_json_create(OUT_SIZE_MAX);
    struct dbk_buf out;
    dbk_buf_init(&out, OUT_SIZE_MAX);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char source[256];
        struct dbk_error err = {0};
        const struct dbk_json_node *node = NULL;
        struct dbk_script *script = NULL;
        (void)snprintf(source, sizeof(source), "return {f = function(v) return %s end}",
                       cases[i].expression);
        assert_ok(dbk_script_open("t.lua", dbk_slice_of(source), NULL, &script, &err), &err);
        assert_ok(dbk_json_parse(json, DBK_SLICE_LITERAL(FORGOTTEN), &node, &err), &err);
        lua_State *lua = dbk_script_lua(script);
        (void)lua_getfield(lua, 1, "f");
        assert_ok(dbk_script_push_json(script, node, &err), &err);
        if (dbk_script_call(script, 1, 1, &err) < 0)
            fail_msg("%s: %s", cases[i].expression, err.message);
        dbk_buf_reset(&out);
        assert_ok(dbk_script_write_json(script, -1, &out, &err), &err);
        assert_slice_equal(dbk_buf_slice(&out), cases[i].json);
        dbk_script_free(script);
    }
    dbk_buf_release(&out);
    dbk_json_free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_script_values__a_forgotten_value_absorbs),
        cmocka_unit_test(test_script_values__json_comes_out_as_it_went_in),
        cmocka_unit_test(test_script_values__writes_what_scripts_make),
        cmocka_unit_test(test_script_values__decimals_are_exact),
        cmocka_unit_test(test_script_values__refuses_with_a_reason),
        cmocka_unit_test(test_script_values__a_table_in_many_places_ends_at_the_buffer),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
