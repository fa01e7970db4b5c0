/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cypher_test -- tokens, statements, what a statement may do, and how it is written for the server.
 */
#include "test.h"

#include "target/neo4j/cypher.h"

struct token {
    enum dbk_cypher_kind kind;
    const char *text;
};

static void assert_tokens(const char *cypher, const struct token *expected, size_t count)
{
    struct dbk_slice text = dbk_slice_of(cypher);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        struct dbk_cypher_token token = dbk_cypher_next(text, at);
        if (token.kind != expected[i].kind)
            fail_msg("%s: token %zu at %zu is of kind %d", cypher, i, at, (int)token.kind);
        assert_slice_equal(token.text, expected[i].text);
        at += token.text.size;
    }
    assert_int_equal(dbk_cypher_next(text, at).kind, DBK_CYPHER_END);
}
#define ASSERT_TOKENS(text, ...)                                                                   \
    assert_tokens(text, (const struct token[]){__VA_ARGS__},                                       \
                  sizeof((const struct token[]){__VA_ARGS__}) / sizeof(struct token))

static void test_target_cypher__tokens_are_cyphers(void **state)
{
    (void)state;
    ASSERT_TOKENS("'it\\'s;'\"a\\\"b\"", {DBK_CYPHER_STRING, "'it\\'s;'"},
                  {DBK_CYPHER_STRING, "\"a\\\"b\""});
    ASSERT_TOKENS("`a``b`c", {DBK_CYPHER_QUOTED, "`a``b`"}, {DBK_CYPHER_NAME, "c"});
    ASSERT_TOKENS("a// ;\n;", {DBK_CYPHER_NAME, "a"}, {DBK_CYPHER_SPACE, "// ;\n"},
                  {DBK_CYPHER_SEMICOLON, ";"});
    ASSERT_TOKENS("/*;'*/1..3", {DBK_CYPHER_SPACE, "/*;'*/"}, {DBK_CYPHER_NUMBER, "1"},
                  {DBK_CYPHER_OTHER, "."}, {DBK_CYPHER_OTHER, "."}, {DBK_CYPHER_NUMBER, "3"});
    ASSERT_TOKENS("1.5e-3-0xE-1", {DBK_CYPHER_NUMBER, "1.5e-3"}, {DBK_CYPHER_OTHER, "-"},
                  {DBK_CYPHER_NUMBER, "0xE"}, {DBK_CYPHER_OTHER, "-"}, {DBK_CYPHER_NUMBER, "1"});
    ASSERT_TOKENS("$a.b.c$_x[0]", {DBK_CYPHER_PARAMETER, "$a.b.c"}, {DBK_CYPHER_PARAMETER, "$_x"},
                  {DBK_CYPHER_OTHER, "["}, {DBK_CYPHER_NUMBER, "0"}, {DBK_CYPHER_OTHER, "]"});
    ASSERT_TOKENS(":{gen}Order{gen}", {DBK_CYPHER_OTHER, ":"},
                  {DBK_CYPHER_GENERATION, "{gen}Order"}, {DBK_CYPHER_OTHER, "{"},
                  {DBK_CYPHER_NAME, "gen"}, {DBK_CYPHER_OTHER, "}"});
    ASSERT_TOKENS("'open", {DBK_CYPHER_BROKEN, "'open"});
    ASSERT_TOKENS("`open", {DBK_CYPHER_BROKEN, "`open"});
    ASSERT_TOKENS("/*/", {DBK_CYPHER_BROKEN, "/*/"});
    ASSERT_TOKENS("'\\'", {DBK_CYPHER_BROKEN, "'\\'"});
    ASSERT_TOKENS("'\\u0027'", {DBK_CYPHER_BROKEN, "'\\u0027'"});
    ASSERT_TOKENS("//\\u000a\n", {DBK_CYPHER_BROKEN, "//\\u000a\n"});
}

static void test_target_cypher__statements_end_at_semicolons(void **state)
{
    (void)state;
    struct dbk_slice text = dbk_slice_of(" // x;\n;MATCH (n) SET n.x = ';' ;; CREATE (m) // ;");
    size_t at = 0;
    assert_slice_equal(dbk_cypher_statement(text, at, &at), "MATCH (n) SET n.x = ';'");
    assert_slice_equal(dbk_cypher_statement(text, at, &at), "CREATE (m)");
    assert_int_equal(dbk_cypher_statement(text, at, &at).size, 0);
}

static const char *const handlers[] = {
    "MERGE (o:{gen}Order {id: $order_id}) SET o.total = coalesce(o.total, 0) + $amount",
    "MATCH (a:{gen}A)-[r:{gen}R|{gen}S*1..3 {x: 1}]->(b:{gen}B&!{gen}C) DETACH DELETE b",
    ("MATCH (o:{gen}Order {id: $id}) WITH o ORDER BY o.n LIMIT 3 SET o:{gen}Paid, o.at = "
     "datetime($_time)"),
    "MATCH (o:{gen}Order {id: $id}) CALL (o) { MERGE (o)-[:{gen}HAS]->(:{gen}Line {n: 1}) }",
    "MATCH (o:{gen}Order) WHERE EXISTS { (o)-->(:{gen}Line) } AND o.x IS NOT NULL SET o += $new",
    "UNWIND $lines AS line MERGE (l:{gen}Line {id: line.id, m: {a: 1, b: [x IN [1] | x]}})",
    "MATCH (o:{gen}Order) WITH count(o) AS c MERGE (x:{gen}X {id: 1}) SET x.c = c",
    "MATCH (o:{gen}Order) CALL { WITH o MATCH (o)-->(p:{gen}P) RETURN count(p) AS c } SET o.c = c",
    "CREATE p = (a:{gen}A {id: $id})-[:{gen}R]->(b:{gen}B)",
    "MERGE (a:{gen}A {id: $id}) ON CREATE SET a.n = 0 ON MATCH SET a.n = a.n + 1",
    "MATCH (o IS {gen}Order) REMOVE o.x, o:{gen}Paid",
    "MATCH (o:{gen}Order) SET o.rand = 1, o.`timestamp` = o.timestamp, o.t = time($t)",
};

static const struct {
    const char *text;
    const char *at; /* where it is wrong */
} wrong[] = {
    {"MERGE (o:Order {id: 1})", "Order"},
    {"MERGE (o:`Order` {id: 1})", "`Order`"},
    {"MATCH (a:{gen}A)-[:HAS]->(b) DELETE b", "HAS"},
    {"MATCH (a:{gen}A)-[:{gen}R|HAS]->(b) DELETE b", "HAS"},
    {"MATCH (a:{gen}A&B) DELETE a", "B)"},
    {"MATCH (a:!B) DELETE a", "B)"},
    {"MATCH (a:%) DELETE a", "%"},
    {"MATCH (a:$($x)) DELETE a", "$("},
    {"MATCH (a IS Order) DELETE a", "Order"},
    {"MATCH (a:{gen}A) SET a:Paid", "Paid"},
    {"MATCH (a:{gen}A) SET a.x = {k: a:Paid}.k", "Paid"},
    {"MATCH (n) DETACH DELETE n", "MATCH"},
    {"MATCH (a:{gen}A), (b) SET a.x = {gen}B", "{gen}B"},
    {"MATCH (a:{gen}A) SET a.x = rand()", "rand"},
    {"MATCH (a:{gen}A) SET a.x = randomUUID()", "randomUUID"},
    {"MATCH (a:{gen}A) SET a.x = timestamp ()", "timestamp"},
    {"MATCH (a:{gen}A) SET a.x = datetime()", "datetime"},
    {"MATCH (a:{gen}A) SET a.x = date( /* now */ )", "date("},
    {"MATCH (a:{gen}A) SET a.x = datetime({timezone: 'UTC'})", "datetime"},
    {"MATCH (a:{gen}A) SET a.x = datetime.transaction()", "transaction"},
    {"MATCH (a:{gen}A) SET a.x = elementId(a)", "elementId"},
    {"MATCH (a:{gen}A) SET a.x = apoc.create.uuid()", "uuid"},
    {"MATCH (a:{gen}A) CALL db.labels() YIELD label SET a.x = label", "CALL"},
    {"MATCH (a:{gen}A) CALL (a) { DELETE a } IN TRANSACTIONS", "TRANSACTIONS"},
    {"LOAD CSV FROM 'http://x' AS row CREATE (:{gen}A)", "LOAD"},
    {"MATCH (a:{gen}A) LOAD CSV FROM 'x' AS row SET a.x = row", "LOAD"},
    {"MATCH (a:{gen}A) RETURN a", "RETURN"},
    {"MATCH (a:{gen}A) WITH a LIMIT $n DELETE a", "LIMIT"},
    {"CREATE INDEX {gen}i IF NOT EXISTS FOR (n:{gen}A) ON (n.x)", "CREATE"},
    {"CREATE CONSTRAINT {gen}i FOR (n:{gen}A) REQUIRE n.x IS UNIQUE", "CREATE"},
    {"DROP INDEX x", "DROP"},
    {"USE other MATCH (n:{gen}A) DELETE n", "USE"},
    {"EXPLAIN MATCH (n:{gen}A) DELETE n", "EXPLAIN"},
    {"MATCH (a:{gen}A) SET a.x = '\\u0027'", "'\\u"},
    {"MATCH (a:{gen}A SET a.x = 1}}", "}}"},
    {"MATCH (_daybook_event:{gen}A) DELETE _daybook_event", "_daybook"},
    {"MATCH (größe:{gen}A) DELETE größe", "größe"},
};

static void test_target_cypher__handlers_change_what_is_the_models(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
        struct dbk_error err = {0};
        int offset = -1;
        if (dbk_cypher_check(dbk_slice_of(handlers[i]), DBK_GUARD_HANDLER, &offset, &err) < 0)
            fail_msg("%s: %s", handlers[i], err.message);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct dbk_error err = {0};
        int offset = -1;
        int rc = dbk_cypher_check(dbk_slice_of(wrong[i].text), DBK_GUARD_HANDLER, &offset, &err);
        long at = strstr(wrong[i].text, wrong[i].at) - wrong[i].text;
        if (rc == DBK_OK || offset != at)
            fail_msg("%s: %d at %d, not %ld: %s", wrong[i].text, rc, offset, at, err.message);
    }
}

static int check(const char *text, enum dbk_guard guard)
{
    struct dbk_error err = {0};
    int offset = -1;
    return dbk_cypher_check(dbk_slice_of(text), guard, &offset, &err);
}

static void test_target_cypher__a_schema_makes_its_own_constraints(void **state)
{
    (void)state;
    assert_int_equal(check("CREATE CONSTRAINT {gen}k IF NOT EXISTS FOR (n:{gen}A) REQUIRE n.id IS "
                           "UNIQUE",
                           DBK_GUARD_SCHEMA),
                     DBK_OK);
    assert_int_equal(check("CREATE RANGE INDEX {gen}i IF NOT EXISTS FOR ()-[r:{gen}R]-() ON (r.x)",
                           DBK_GUARD_SCHEMA),
                     DBK_OK);
    static const char *const refused[] = {
        "CREATE CONSTRAINT k IF NOT EXISTS FOR (n:{gen}A) REQUIRE n.id IS UNIQUE",
        "CREATE CONSTRAINT IF NOT EXISTS FOR (n:{gen}A) REQUIRE n.id IS UNIQUE",
        "CREATE CONSTRAINT {gen}k FOR (n:{gen}A) REQUIRE n.id IS UNIQUE",
        "CREATE INDEX {gen}k IF NOT EXISTS FOR (n:A) ON (n.id)",
        "DROP CONSTRAINT {gen}k IF EXISTS",
        "MERGE (n:{gen}A)",
        "",
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_true(check(refused[i], DBK_GUARD_SCHEMA) < 0);
}

static void test_target_cypher__brackets_are_bounded(void **state)
{
    (void)state;
    char text[DBK_CYPHER_DEPTH_MAX + 2];
    memset(text, '(', sizeof(text));
    text[sizeof(text) - 1] = 0;
    assert_int_equal(check(text, DBK_GUARD_QUERY), DBK_ELIMIT);
}

static void test_target_cypher__names_and_parameters_are_written(void **state)
{
    (void)state;
    struct dbk_buf out;
    struct dbk_arena arena;
    struct dbk_error err = {0};
    struct dbk_cypher_names names = {0};
    dbk_buf_init(&out, 1 << 16);
    dbk_arena_init(&arena, 1 << 20);
    assert_int_equal(dbk_cypher_write(dbk_slice_of("MERGE (o:{gen}Order {id: $id, n: $new.name, "
                                                   "s: '$id {gen}X', again: $id}) // $c"),
                                      dbk_slice_of("shop_2"), "_daybook_e", &out, &arena, &names,
                                      &err),
                     DBK_OK);
    assert_slice_equal(dbk_buf_slice(&out),
                       "MERGE (o:`shop_2_Order` {id: _daybook_e[0], n: _daybook_e[1], "
                       "s: '$id {gen}X', again: _daybook_e[0]}) // $c");
    assert_int_equal(names.count, 2);
    assert_slice_equal(names.items[0], "id");
    assert_slice_equal(names.items[1], "new.name");
    dbk_buf_release(&out);
    dbk_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_cypher__tokens_are_cyphers),
        cmocka_unit_test(test_target_cypher__statements_end_at_semicolons),
        cmocka_unit_test(test_target_cypher__handlers_change_what_is_the_models),
        cmocka_unit_test(test_target_cypher__a_schema_makes_its_own_constraints),
        cmocka_unit_test(test_target_cypher__brackets_are_bounded),
        cmocka_unit_test(test_target_cypher__names_and_parameters_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
