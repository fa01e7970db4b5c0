/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_test -- every JSON text is read as what it says, every other text is refused by its place.
 */
#include "test.h"

#include <stdlib.h>

#include "json/json.h"

static struct dbk_json *json;

static int open_parser(void **state)
{
    (void)state;
    json = dbk_json_create(1 << 20);
    return json == NULL;
}

static int close_parser(void **state)
{
    (void)state;
    dbk_json_free(json);
    return 0;
}

static const struct dbk_json_node *parse(const char *text)
{
    struct dbk_error err = {0};
    const struct dbk_json_node *node = NULL;
    assert_ok(dbk_json_parse(json, dbk_slice_of(text), &node, &err), &err);
    return node;
}

static void test_json_json__compact_texts_come_back_as_they_were(void **state)
{
    (void)state;
    static const char *const cases[] = {"null",
                                        "true",
                                        "false",
                                        "0",
                                        "-1",
                                        "9223372036854775807",
                                        "-9223372036854775808",
                                        "2.55",
                                        "0.001",
                                        "1e-7",
                                        "\"\"",
                                        "\"a\\\"b\\\\c\\n\\u0001\"",
                                        "\"\xC3\xA9\xF0\x9F\x98\x80\"",
                                        "[]",
                                        "{}",
                                        "[[]]",
                                        "[{}]",
                                        "{\"a\":[]}",
                                        "[1,[2,[3,{\"x\":null}]],\"y\"]",
                                        "{\"a\":1,\"b\":{\"c\":[true,false]},\"d\":\"e\"}"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_buf out;
        dbk_buf_init(&out, 1 << 20);
        dbk_json_write_node(&out, parse(cases[i]));
        assert_slice_equal(dbk_buf_slice(&out), cases[i]);
        dbk_buf_release(&out);
    }
}

static void check_found(const char *object, const char *want)
{
    char room[12];
    struct dbk_slice found = {0};
    bool is_found = dbk_json_find_text(dbk_slice_of(object), "key", room, sizeof(room), &found);
    assert_int_equal(is_found, want != NULL);
    if (want != NULL)
        assert_slice_equal(found, want);
}

/* Every byte of ASCII at every place of strings of several words. */
static void test_json_json__strings_are_escaped_wherever(void **state)
{
    struct dbk_json *reader = dbk_json_create(1 << 20);
    struct dbk_buf out;
    (void)state;
    dbk_buf_init(&out, 1 << 20);
    for (size_t size = 1; size <= 20; size++) {
        for (size_t place = 0; place < size; place++) {
            for (int byte = 0; byte < 0x80; byte++) {
                const struct dbk_json_node *node = NULL;
                struct dbk_error err = {0};
                char text[20];
                memset(text, 'a', sizeof(text));
                text[place] = (char)byte;
                dbk_buf_reset(&out);
                dbk_json_write_string(&out, dbk_slice(text, size));
                assert_int_equal(dbk_json_parse(reader, dbk_buf_slice(&out), &node, &err), DBK_OK);
                assert_true(dbk_slice_equal(node->text, dbk_slice(text, size)));
                bool plain = byte >= 0x20 && byte != '"' && byte != '\\';
                assert_int_equal(plain, out.size == size + 2);
            }
        }
    }
    dbk_buf_release(&out);
    dbk_json_free(reader);
}

static void test_json_json__finds_a_text_without_parsing(void **state)
{
    (void)state;
    check_found("{\"key\":\"x\"}", "x");
    check_found(" { \"a\" : [ { \"key\" : \"no\" } ] , \"key\" : \"yes\" } ", "yes");
    check_found("{\"a\":\"\\\"key\\\":\\\"no\\\"\",\"k\\u0065y\":\"a\\n\\u00e9\\ud83d\\ude00\"}",
                "a\n\xC3\xA9\xF0\x9F\x98\x80");
    check_found("{\"key\":\"\"}", "");
    check_found("{\"key\":5}", NULL);
    check_found("{\"a\":\"key\"}", NULL);
    check_found("{\"key2\":\"x\"}", NULL);
    check_found("{\"key\":\"thirteen long\"}", "thirteen long");
    check_found("{\"key\":\"thirteen lon\\u0067\"}", NULL);
    check_found("", NULL);
    /* What is cut short has no member, and is not read past. */
    const char *whole = "{\"key\":\"a\\u0062\"}";
    for (size_t size = 0; size < strlen(whole) - 1; size++) {
        char room[12];
        struct dbk_slice found;
        char *cut = malloc(size + 1);
        assert_non_null(cut);
        memcpy(cut, whole, size);
        assert_false(dbk_json_find_text(dbk_slice(cut, size), "key", room, sizeof(room), &found));
        free(cut);
    }
}

static void test_json_json__nodes_say_what_stands_there(void **state)
{
    (void)state;
    const struct dbk_json_node *node = parse(
        " { \"n\" : -5 , \"d\": 2.50, \"s\":\"\\u00e9\\/\", \"a\" : [ 1 , {} ] , \"t\":true } ");
    assert_int_equal(node->kind, DBK_JSON_OBJECT);
    assert_int_equal(node->count, 5);
    assert_int_equal(dbk_json_member(node, "n")->integer, -5);
    assert_int_equal(dbk_json_member(node, "d")->decimal.coefficient, 25);
    assert_slice_equal(dbk_json_member(node, "d")->raw, "2.50");
    assert_slice_equal(dbk_json_member(node, "s")->text, "\xC3\xA9/");
    assert_slice_equal(dbk_json_member(node, "s")->raw, "\"\\u00e9\\/\"");
    const struct dbk_json_node *array = dbk_json_member(node, "a");
    assert_slice_equal(array->raw, "[ 1 , {} ]");
    assert_int_equal(array->count, 2);
    assert_int_equal(dbk_json_sibling(dbk_json_first(array))->kind, DBK_JSON_OBJECT);
    assert_int_equal(dbk_json_member(node, "t")->kind, DBK_JSON_TRUE);
    assert_null(dbk_json_member(node, "x"));
}

static void test_json_json__other_texts_are_refused_by_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message; /* its beginning */
    } cases[] = {
        {"", "line 1, column 1: a value was expected"},
        {" \n ", "line 2, column 2: a value was expected"},
        {"{\"a\":1,\"a\":2}", "line 1, column 8: a key stands twice in one object: a"},
        {"{\"a\":1e999}", "line 1, column 6: a number cannot be read exactly"},
        {"[12345678901234567890123]", "line 1, column 2: a number cannot be read exactly"},
        {"[01]", "line 1, column 2: a number is malformed"},
        {"[1.]", "line 1, column 2: a number "},
        {"\"\\ud800\"", "line 1"},
        {"\"a", "line 1"},
        {"\"\x01\"", "line 1"},
        {"[1 2]", "line 1"},
        {"[1,]", "line 1"},
        {"{\"a\"}", "line 1"},
        {"{\"a\":1,}", "line 1"},
        {"{a:1}", "line 1"},
        {"[1]]", "line 1"},
        {"[1", "line 1"},
        {"nul", "line 1"},
        {"truee", "line 1"},
        {"1 2", "line 1"},
        {"1,2", "line 1"},
        {"1]", "line 1"},
        {"\xEF\xBB\xBF{}", "line 1"},
        {"\"\xC3\"", "line 1"},
        {"[\n 1,\n x]", "line 3"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_error err = {0};
        const struct dbk_json_node *node = NULL;
        int rc = dbk_json_parse(json, dbk_slice_of(cases[i].text), &node, &err);
        if (rc != DBK_EINVAL)
            fail_msg("%s gives %d", cases[i].text, rc);
        if (strncmp(err.message, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("%s gives \"%s\", expected \"%s\"", cases[i].text, err.message,
                     cases[i].message);
    }
    struct dbk_error err = {0};
    const struct dbk_json_node *node = NULL;
    assert_int_equal(dbk_json_parse(json, dbk_slice("[\"a\0b\"]", 7), &node, &err), DBK_EINVAL);
}

/* Behind a value in an array may stand blanks, a comma and the bracket, and of the bytes that go on
   with it digits, a fraction or an exponent: the number is then a longer one, or none. */
static void test_json_json__no_other_byte_may_follow_a_value(void **state)
{
    (void)state;
    static const char *const values[] = {"1",    "-1",    "1.5", "1e2", "true",
                                         "null", "\"a\"", "{}",  "[]"};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char text[16] = {0};
            struct dbk_error err = {0};
            const struct dbk_json_node *node = NULL;
            int size = snprintf(text, sizeof(text), "[%s?]", values[i]);
            bool blank = byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
            bool number = values[i][0] == '-' || values[i][0] == '1';
            text[size - 2] = (char)byte;
            int rc = dbk_json_parse(json, dbk_slice(text, (size_t)size), &node, &err);
            if (blank || (number && byte >= '0' && byte <= '9'))
                assert_ok(rc, &err);
            else if (rc != DBK_EINVAL)
                fail_msg("%s with byte %u behind it gives %d", values[i], byte, rc);
        }
    }
}

/* What JSON's grammar says of tokens, written as one byte each: where a value ends, or NULL. */
static const char *value_end(const char *at)
{
    char close = *at == '{' ? '}' : ']';
    if (*at == 's' || *at == '1' || *at == 't')
        return at + 1;
    if (*at != '{' && *at != '[')
        return NULL;
    if (*++at == close)
        return at + 1;
    for (;; at++) {
        if (close == '}' && (at[0] != 's' || at[1] != ':'))
            return NULL;
        at = value_end(close == '}' ? at + 2 : at);
        if (at == NULL || *at == close)
            return at == NULL ? NULL : at + 1;
        if (*at != ',')
            return NULL;
    }
}

static void test_json_json__exactly_the_grammar_s_texts_are_taken(void **state)
{
    (void)state;
    static const char tokens[] = "{}[],:s1t";
    unsigned taken = 0;
    for (unsigned count = 1; count <= 6; count++) {
        unsigned all = 1;
        for (unsigned i = 0; i < count; i++)
            all *= sizeof(tokens) - 1;
        for (unsigned number = 0; number < all; number++) {
            char kinds[8] = {0};
            char text[64];
            size_t size = 0;
            unsigned rest = number;
            struct dbk_error err = {0};
            const struct dbk_json_node *node = NULL;
            for (unsigned i = 0; i < count; i++, rest /= sizeof(tokens) - 1) {
                kinds[i] = tokens[rest % (sizeof(tokens) - 1)];
                const char *word = kinds[i] == 's' ? " \"a\"" : kinds[i] == 't' ? " true" : " 1";
                size_t word_size = strchr("s1t", kinds[i]) != NULL ? strlen(word) : 1;
                memcpy(text + size, word_size == 1 ? kinds + i : word, word_size);
                size += word_size;
            }
            const char *end = value_end(kinds);
            int rc = dbk_json_parse(json, dbk_slice(text, size), &node, &err);
            if (rc != (end == kinds + count ? DBK_OK : DBK_EINVAL))
                fail_msg("%.*s gives %d", (int)size, text, rc);
            taken += rc == DBK_OK;
        }
    }
    assert_int_equal(taken, 41); /* counted by hand: 3, 2, 3, 2, 15 and 16 of 1 to 6 tokens */
}

/* Any of the members, in any order, are what a whole parse says of them. */
static void test_json_json__members_alone_are_as_of_the_whole(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\":1,\"b\\n\":[1,{\"a\":2}],\"c\":{\"a\":{\"x\":null}}, \"d\" : \"t\\\"x\","
        "\"e\":-1.5 ,\"f\":true,\"g\":\"\"}";
    static const char *const keys[] = {"a", "b\n", "c", "d", "e", "f", "g"};
    enum { KEYS = sizeof(keys) / sizeof(keys[0]) };
    struct dbk_json *other = dbk_json_create(1 << 20);
    struct dbk_buf whole_text;
    struct dbk_buf alone_text;
    assert_non_null(other);
    dbk_buf_init(&whole_text, 1 << 20);
    dbk_buf_init(&alone_text, 1 << 20);
    const struct dbk_json_node *whole = parse(text);
    for (unsigned set = 0; set < 1U << KEYS; set++) {
        struct dbk_slice wanted[KEYS + 1];
        size_t count = 0;
        struct dbk_error err = {0};
        const struct dbk_json_node *alone = NULL;
        for (unsigned i = KEYS; i-- > 0;)
            if ((set >> i & 1) != 0)
                wanted[count++] = dbk_slice_of(keys[i]);
        wanted[count] = DBK_SLICE_LITERAL("none");
        assert_ok(
            dbk_json_parse_members(other, dbk_slice_of(text), wanted, count + 1, &alone, &err),
            &err);
        assert_int_equal(alone->count, count);
        for (unsigned i = 0; i < KEYS; i++) {
            const struct dbk_json_node *member = dbk_json_member(alone, keys[i]);
            assert_int_equal(member != NULL, set >> i & 1);
            dbk_buf_reset(&whole_text);
            dbk_buf_reset(&alone_text);
            dbk_json_write_node(&whole_text, dbk_json_member(whole, keys[i]));
            if (member != NULL)
                dbk_json_write_node(&alone_text, member);
            assert_true(member == NULL ||
                        dbk_slice_equal(dbk_buf_slice(&whole_text), dbk_buf_slice(&alone_text)));
        }
    }
    dbk_buf_release(&whole_text);
    dbk_buf_release(&alone_text);
    dbk_json_free(other);
}

/* Every cut of a text is refused, and the parser goes on working. */
static void test_json_json__every_cut_is_refused(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1,2.5,\"x\\n\",null],\"b\":{\"c\":true}}";
    for (size_t size = 0; size < sizeof(text) - 1; size++) {
        struct dbk_error err = {0};
        const struct dbk_json_node *node = NULL;
        assert_int_equal(dbk_json_parse(json, dbk_slice(text, size), &node, &err), DBK_EINVAL);
        assert_int_equal(parse(text)->count, 2);
    }
}

static void test_json_json__depth_and_size_have_limits(void **state)
{
    (void)state;
    char text[2 * DBK_JSON_DEPTH_MAX + 3];
    struct dbk_error err = {0};
    const struct dbk_json_node *node = NULL;
    memset(text, '[', DBK_JSON_DEPTH_MAX);
    memset(text + DBK_JSON_DEPTH_MAX, ']', DBK_JSON_DEPTH_MAX);
    assert_ok(dbk_json_parse(json, dbk_slice(text, 2 * DBK_JSON_DEPTH_MAX), &node, &err), &err);
    memset(text, '[', DBK_JSON_DEPTH_MAX + 1);
    memset(text + DBK_JSON_DEPTH_MAX + 1, ']', DBK_JSON_DEPTH_MAX + 1);
    assert_int_equal(dbk_json_parse(json, dbk_slice(text, 2 * DBK_JSON_DEPTH_MAX + 2), &node, &err),
                     DBK_EINVAL);
    struct dbk_json *small = dbk_json_create(3);
    assert_non_null(small);
    assert_int_equal(dbk_json_parse(small, DBK_SLICE_LITERAL("[12]"), &node, &err), DBK_ELIMIT);
    dbk_json_free(small);
}

static void test_json_json__equal_keys_are_found_in_large_objects(void **state)
{
    (void)state;
    struct dbk_buf text;
    struct dbk_error err = {0};
    const struct dbk_json_node *node = NULL;
    dbk_buf_init(&text, 1 << 20);
    dbk_buf_append_char(&text, '{');
    for (int i = 0; i < 1000; i++)
        dbk_buf_append_format(&text, "\"k%d\":%d,", i, i);
    size_t size = text.size;
    dbk_buf_append_text(&text, "\"last\":1}");
    assert_ok(dbk_json_parse(json, dbk_buf_slice(&text), &node, &err), &err);
    assert_int_equal(dbk_json_member(node, "k999")->integer, 999);
    text.size = size;
    dbk_buf_append_text(&text, "\"k500\":1}");
    assert_int_equal(dbk_json_parse(json, dbk_buf_slice(&text), &node, &err), DBK_EINVAL);
    dbk_buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_json__compact_texts_come_back_as_they_were),
        cmocka_unit_test(test_json_json__nodes_say_what_stands_there),
        cmocka_unit_test(test_json_json__strings_are_escaped_wherever),
        cmocka_unit_test(test_json_json__finds_a_text_without_parsing),
        cmocka_unit_test(test_json_json__other_texts_are_refused_by_their_place),
        cmocka_unit_test(test_json_json__no_other_byte_may_follow_a_value),
        cmocka_unit_test(test_json_json__exactly_the_grammar_s_texts_are_taken),
        cmocka_unit_test(test_json_json__members_alone_are_as_of_the_whole),
        cmocka_unit_test(test_json_json__every_cut_is_refused),
        cmocka_unit_test(test_json_json__depth_and_size_have_limits),
        cmocka_unit_test(test_json_json__equal_keys_are_found_in_large_objects),
    };
    return cmocka_run_group_tests(tests, open_parser, close_parser);
}
