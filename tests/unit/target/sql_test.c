/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sql_test -- tokens, statements and renamed names.
 *
 * Every text is also cut at every byte: the tokens then still cover it from end to end.
 */
#include "test.h"

#include "target/target.h"

struct token {
    enum dbk_sql_kind kind;
    const char *text;
};

static void assert_tokens(const char *sql, const struct token *expected, size_t count)
{
    struct dbk_slice text = dbk_slice_of(sql);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        struct dbk_sql_token token = dbk_sql_next(text, at);
        if (token.kind != expected[i].kind)
            fail_msg("%s: token %zu at %zu is of kind %d", sql, i, at, (int)token.kind);
        assert_slice_equal(token.text, expected[i].text);
        at += token.text.size;
    }
    assert_int_equal(dbk_sql_next(text, at).kind, DBK_SQL_END);
}
#define ASSERT_TOKENS(sql, ...)                                                                    \
    assert_tokens(sql, (const struct token[]){__VA_ARGS__},                                        \
                  sizeof((const struct token[]){__VA_ARGS__}) / sizeof(struct token))

static void test_target_sql__tokens_are_sqlites(void **state)
{
    (void)state;
    ASSERT_TOKENS("'a''b;'\"c\"\"d\"", {DBK_SQL_STRING, "'a''b;'"}, {DBK_SQL_NAME, "\"c\"\"d\""});
    ASSERT_TOKENS("[a]]", {DBK_SQL_NAME, "[a]"}, {DBK_SQL_OTHER, "]"});
    ASSERT_TOKENS("`a``b`x'00'", {DBK_SQL_NAME, "`a``b`"}, {DBK_SQL_STRING, "x'00'"});
    ASSERT_TOKENS("a--;\n;", {DBK_SQL_NAME, "a"}, {DBK_SQL_SPACE, "--;\n"},
                  {DBK_SQL_SEMICOLON, ";"});
    ASSERT_TOKENS("/*;'*/1e-5-0x1E-1", {DBK_SQL_SPACE, "/*;'*/"}, {DBK_SQL_NUMBER, "1e-5"},
                  {DBK_SQL_OTHER, "-"}, {DBK_SQL_NUMBER, "0x1E"}, {DBK_SQL_OTHER, "-"},
                  {DBK_SQL_NUMBER, "1"});
    ASSERT_TOKENS(":a.b.c:_x.1", {DBK_SQL_PARAMETER, ":a.b.c"}, {DBK_SQL_PARAMETER, ":_x"},
                  {DBK_SQL_NUMBER, ".1"});
    ASSERT_TOKENS("@a?1", {DBK_SQL_OTHER, "@"}, {DBK_SQL_NAME, "a"}, {DBK_SQL_OTHER, "?"},
                  {DBK_SQL_NUMBER, "1"});
    ASSERT_TOKENS("größe", {DBK_SQL_NAME, "größe"});
    ASSERT_TOKENS("--at the end", {DBK_SQL_SPACE, "--at the end"});
    ASSERT_TOKENS("'open", {DBK_SQL_BROKEN, "'open"});
    ASSERT_TOKENS("\"open", {DBK_SQL_BROKEN, "\"open"});
    ASSERT_TOKENS("[open", {DBK_SQL_BROKEN, "[open"});
    ASSERT_TOKENS("/*/", {DBK_SQL_BROKEN, "/*/"});
    ASSERT_TOKENS("x'0", {DBK_SQL_BROKEN, "x'0"});
}

static void test_target_sql__tokens_are_postgresqls(void **state)
{
    (void)state;
    ASSERT_TOKENS(":a::numeric", {DBK_SQL_PARAMETER, ":a"}, {DBK_SQL_OTHER, "::"},
                  {DBK_SQL_NAME, "numeric"});
    ASSERT_TOKENS("E'a\\':x''b'e", {DBK_SQL_STRING, "E'a\\':x''b'"}, {DBK_SQL_NAME, "e"});
    ASSERT_TOKENS("E'a\\\\':x", {DBK_SQL_STRING, "E'a\\\\'"}, {DBK_SQL_PARAMETER, ":x"});
    ASSERT_TOKENS("$t$;$$:x$t$;", {DBK_SQL_STRING, "$t$;$$:x$t$"}, {DBK_SQL_SEMICOLON, ";"});
    ASSERT_TOKENS("$1$$;$$", {DBK_SQL_OTHER, "$"}, {DBK_SQL_NUMBER, "1$$"},
                  {DBK_SQL_SEMICOLON, ";"}, {DBK_SQL_OTHER, "$"}, {DBK_SQL_OTHER, "$"});
    ASSERT_TOKENS("a[:x]", {DBK_SQL_NAME, "a"}, {DBK_SQL_OTHER, "["}, {DBK_SQL_PARAMETER, ":x"},
                  {DBK_SQL_OTHER, "]"});
    ASSERT_TOKENS(" [:x]", {DBK_SQL_SPACE, " "}, {DBK_SQL_NAME, "[:x]"});
    ASSERT_TOKENS("E'open\\'", {DBK_SQL_BROKEN, "E'open\\'"});
    ASSERT_TOKENS("$t$open$$", {DBK_SQL_OTHER, "$"}, {DBK_SQL_NAME, "t$open$$"});
}

static void test_target_sql__statements_end_where_sqlite_ends_them(void **state)
{
    (void)state;
    static const char sql[] = ";; -- head; of it\nSELECT ';' /* ; */ AS \"a;b\" ;\n"
                              "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN\n"
                              "  UPDATE a SET x = CASE WHEN 1 THEN 2 END; DELETE FROM a;\nEND;"
                              "CREATE TABLE \"trigger\" (begin_at, \"case\");SELECT 1 -- last\n; ;";
    static const char *const expected[] = {
        "SELECT ';' /* ; */ AS \"a;b\"",
        ("CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN\n"
         "  UPDATE a SET x = CASE WHEN 1 THEN 2 END; DELETE FROM a;\nEND"),
        "CREATE TABLE \"trigger\" (begin_at, \"case\")",
        "SELECT 1",
    };
    size_t at = 0;
    for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++)
        assert_slice_equal(dbk_sql_statement(dbk_slice_of(sql), at, &at), expected[i]);
    assert_int_equal(dbk_sql_statement(dbk_slice_of(sql), at, &at).size, 0);
    assert_int_equal(at, strlen(sql));
    for (size_t size = 0; size < sizeof(sql); size++) {
        struct dbk_slice cut = dbk_slice(sql, size);
        size_t end = 0;
        for (size_t offset = 0; offset < size; offset = end) {
            struct dbk_sql_token token = dbk_sql_next(cut, offset);
            assert_true(token.text.size > 0 && offset + token.text.size <= size);
            end = offset + token.text.size;
        }
        for (end = 0; end < size;) {
            size_t before = end;
            (void)dbk_sql_statement(cut, end, &end);
            assert_true(end > before && end <= size);
        }
    }
}

static void test_target_sql__names_are_compared_as_sql_does(void **state)
{
    (void)state;
    static const struct {
        const char *token;
        const char *name;
        bool is;
    } cases[] = {
        {"Orders", "orders", true},     {"\"orders\"", "ORDERS", true},
        {"[orders]", "orders", true},   {"`orders`", "orders", true},
        {"\"a\"\"b\"", "a\"b", true},   {"order", "orders", false},
        {"\"order\"", "orders", false}, {"orders", "order", false},
        {"\"orders\"", "order", false}, {"\"\"", "", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        if (dbk_sql_name_is(dbk_slice_of(cases[i].token), dbk_slice_of(cases[i].name)) !=
            cases[i].is)
            fail_msg("%s, %s", cases[i].token, cases[i].name);
    }
}

static void test_target_sql__parameters_are_numbered_and_names_replaced(void **state)
{
    (void)state;
    const struct dbk_sql_rename rename = {DBK_SLICE_LITERAL("items"),
                                          DBK_SLICE_LITERAL("items__g2")};
    struct dbk_arena arena;
    struct dbk_buf out;
    struct dbk_slice *names = NULL;
    size_t count = 0;
    struct dbk_error err = {0};
    dbk_arena_init(&arena, 1 << 16);
    dbk_buf_init(&out, 1 << 16);
    assert_ok(dbk_sql_rewrite(DBK_SLICE_LITERAL("INSERT INTO Items SELECT :b.c, :a, ':a', :b.c, :b "
                                                "FROM \"ITEMS\" -- items :z\nJOIN items2"),
                              &rename, 1, &out, &arena, &names, &count, &err),
              &err);
    assert_slice_equal(dbk_buf_slice(&out), "INSERT INTO \"items__g2\" SELECT ?1, ?2, ':a', ?1, ?3 "
                                            "FROM \"items__g2\" -- items :z\nJOIN items2");
    assert_int_equal(count, 3);
    assert_slice_equal(names[0], "b.c");
    assert_slice_equal(names[1], "a");
    assert_slice_equal(names[2], "b");
    assert_int_equal(dbk_sql_rewrite(DBK_SLICE_LITERAL("SELECT 'open"), NULL, 0, &out, &arena,
                                     &names, &count, &err),
                     DBK_EINVAL);
    assert_string_equal(err.message, "a string, a quoted name or a comment does not end");
    dbk_buf_release(&out);
    dbk_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_sql__tokens_are_sqlites),
        cmocka_unit_test(test_target_sql__tokens_are_postgresqls),
        cmocka_unit_test(test_target_sql__statements_end_where_sqlite_ends_them),
        cmocka_unit_test(test_target_sql__names_are_compared_as_sql_does),
        cmocka_unit_test(test_target_sql__parameters_are_numbered_and_names_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
