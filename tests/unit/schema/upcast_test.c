/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upcast_test -- one walk over the text comes to what the steps come to one after the other.
 *
 * The oracle does them on a tree (oracle.h). All short chains of a small set of steps are tried on
 * all documents of a small set, and long random chains on random documents; both must fail
 * together, or say the same JSON in the same order.
 */
#include "test.h"

#include <stdlib.h>

#include "base/memory.h"
#include "json/json.h"
#include "oracle.h"
#include "schema/program.h"

#define STEPS_MAX 16

/* A step in the tests' own words: {ADD, "a.b", "1"}, {RENAME, "a", "b"}. */
struct word {
    enum dbk_upcast_kind kind;
    const char *path;
    const char *what;
};

struct chain {
    struct dbk_upcast_step steps[STEPS_MAX];
    struct dbk_schema_step paths[STEPS_MAX][2][DBK_UPCAST_PATH_MAX];
    struct dbk_json_node values[STEPS_MAX];
    struct dbk_upcast_version versions[STEPS_MAX];
    size_t count; /* of steps, and of versions: each step is one */
};

static struct dbk_json *json;

static enum dbk_upcast_type type_of(const char *name)
{
    for (int type = 0; type < 4; type++) {
        if (strcmp(dbk_upcast_type_name((enum dbk_upcast_type)type), name) == 0)
            return (enum dbk_upcast_type)type;
    }
    fail_msg("no type: %s", name);
    return DBK_UPCAST_STRING;
}

static void add_word(struct chain *chain, struct word word)
{
    size_t at = chain->count++;
    struct dbk_upcast_step *step = &chain->steps[at];
    assert_true(at < STEPS_MAX);
    *step = (struct dbk_upcast_step){.kind = word.kind};
    step->path = oracle_path(word.path, chain->paths[at][0]);
    if (word.kind == DBK_UPCAST_RENAME)
        step->to = oracle_path(word.what, chain->paths[at][1]);
    if (word.kind == DBK_UPCAST_CONVERT)
        step->type = type_of(word.what);
    chain->values[at] = (struct dbk_json_node){0};
    if (word.kind == DBK_UPCAST_ADD)
        chain->values[at].raw = dbk_slice_of(word.what);
    step->value = &chain->values[at];
    chain->versions[at] =
        (struct dbk_upcast_version){.version = (uint16_t)(at + 2), .steps = step, .count = 1};
}

static struct dbk_upcast_program *compile(const struct chain *chain)
{
    struct dbk_upcast_program *program = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_upcast_compile(chain->versions, chain->count, &program, NULL, &err), &err);
    return program;
}

/* The same JSON again, without white space and escapes, so that two texts of it compare. */
static void put_plain(struct dbk_slice text, struct dbk_buf *out)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_error err = {0};
    if (dbk_json_parse(json, text, &root, &err) < 0)
        fail_msg("%s: %.*s", err.message, DBK_SLICE_ARGS(text));
    dbk_json_write_node(out, root);
}

/* A walk comes to the same bytes as what was found without one. */
static void compare_with_walk(struct dbk_upcast_program *program, struct dbk_slice text, int found,
                              struct dbk_slice made)
{
    struct dbk_buf out;
    struct dbk_error err = {0};
    struct dbk_upcast_object *object = program->root.object;
    bool findable = object->findable;
    dbk_buf_init(&out, (size_t)1 << 20);
    object->findable = false;
    int walked = dbk_upcast_run(program, text, &out, &err);
    object->findable = findable;
    if (walked != found || !dbk_slice_equal(dbk_buf_slice(&out), made))
        fail_msg("%.*s: %.*s (%d), and by a walk %.*s (%d)", DBK_SLICE_ARGS(text),
                 DBK_SLICE_ARGS(made), found, DBK_SLICE_ARGS(dbk_buf_slice(&out)), walked);
    dbk_buf_release(&out);
}

/* A default of these tests may have space about it, which files' have not. */
static struct dbk_slice trimmed(struct dbk_slice text)
{
    while (text.size > 0 && (unsigned char)text.data[0] <= ' ')
        text = dbk_slice(text.data + 1, text.size - 1);
    while (text.size > 0 && (unsigned char)text.data[text.size - 1] <= ' ')
        text.size--;
    return text;
}

static size_t picked; /* members that were had one by one */

/* Each member that can be had alone is the one that a run makes. */
static void compare_picks(const struct dbk_upcast_program *program, struct dbk_slice text,
                          struct dbk_slice made)
{
    static const char *const names[] = {"a",    "b",     "ab",       "abc",
                                        "abcd", "abcde", "amount",   "total",
                                        "x",    "n",     "currency", "longer than it was"};
    struct dbk_upcast_finding finding;
    if (!dbk_upcast_begin_pick(program, text, &finding))
        return;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct dbk_buf out;
        struct dbk_slice got = {0};
        struct dbk_slice want = {0};
        dbk_buf_init(&out, (size_t)1 << 20);
        int rc = dbk_upcast_pick(program, text, &finding, dbk_slice_of(names[i]), &out, &got);
        bool is_there = dbk_json_find(made, dbk_slice_of(names[i]), &want);
        if (rc >= 0 && ((rc == 1) != is_there || !dbk_slice_equal(trimmed(got), want)))
            fail_msg("%s of %.*s is %d %.*s, not %d %.*s", names[i], DBK_SLICE_ARGS(text), rc,
                     DBK_SLICE_ARGS(got), is_there, DBK_SLICE_ARGS(want));
        picked += rc == 1;
        dbk_buf_release(&out);
    }
}

/* Runs both; the answer says whether they could. */
static bool compare(const struct chain *chain, struct dbk_upcast_program *program,
                    struct dbk_slice text)
{
    static struct dbk_buf out;
    static struct dbk_buf want;
    static struct dbk_buf got;
    struct dbk_error err = {0};
    dbk_buf_init(&out, (size_t)1 << 20);
    dbk_buf_init(&want, (size_t)1 << 20);
    dbk_buf_init(&got, (size_t)1 << 20);
    dbk_buf_append_text(&out, "before");
    bool could = oracle_upcast(chain->versions, chain->count, text, &want);
    int rc = dbk_upcast_run(program, text, &out, &err);
    assert_memory_equal(out.data, "before", 6);
    if (could != (rc >= 0) || (rc < 0 && rc != DBK_ESCRIPT))
        fail_msg("%.*s: %d %s, and the oracle %s", DBK_SLICE_ARGS(text), rc, err.message,
                 could ? "can" : "cannot");
    if (rc <= 0)
        assert_int_equal(out.size, 6);
    compare_with_walk(program, text, rc, dbk_slice(out.data + 6, out.size - 6));
    if (could) {
        struct dbk_slice made = rc == 0 ? text : dbk_slice(out.data + 6, out.size - 6);
        struct dbk_buf plain;
        compare_picks(program, text, made);
        dbk_buf_init(&plain, (size_t)1 << 20);
        put_plain(made, &got);
        put_plain(dbk_buf_slice(&want), &plain);
        if (!dbk_slice_equal(dbk_buf_slice(&got), dbk_buf_slice(&plain)))
            fail_msg("%.*s became %.*s, not %.*s", DBK_SLICE_ARGS(text),
                     DBK_SLICE_ARGS(dbk_buf_slice(&got)), DBK_SLICE_ARGS(dbk_buf_slice(&plain)));
        dbk_buf_release(&plain);
    }
    dbk_buf_release(&out);
    dbk_buf_release(&want);
    dbk_buf_release(&got);
    return could;
}

#define ADD DBK_UPCAST_ADD
#define RENAME DBK_UPCAST_RENAME
#define REMOVE DBK_UPCAST_REMOVE
#define CONVERT DBK_UPCAST_CONVERT

/* ---- What is promised, one by one ---- */

static void expect(const struct word *words, size_t count, const char *text, const char *want)
{
    struct chain chain = {0};
    struct dbk_buf out;
    struct dbk_error err = {0};
    for (size_t i = 0; i < count; i++)
        add_word(&chain, words[i]);
    struct dbk_upcast_program *program = compile(&chain);
    (void)compare(&chain, program, dbk_slice_of(text));
    dbk_buf_init(&out, 4096);
    int rc = dbk_upcast_run(program, dbk_slice_of(text), &out, &err);
    if (rc < 0)
        assert_string_equal(err.message, want);
    else
        assert_slice_equal(rc == 0 ? dbk_slice_of(text) : dbk_buf_slice(&out), want);
    dbk_buf_release(&out);
    dbk_upcast_free(program);
}
#define EXPECT(text, want, ...)                                                                    \
    do {                                                                                           \
        const struct word words[] = {__VA_ARGS__};                                                 \
        expect(words, sizeof(words) / sizeof(words[0]), text, want);                               \
    } while (0)

static void test_schema_upcast__adds_what_is_missing(void **state)
{
    (void)state;
    EXPECT("{\"amount\":5}", "{\"amount\":5,\"currency\":\"USD\"}", {ADD, "currency", "\"USD\""});
    EXPECT("{ \"a\" : 1 }", "{ \"a\" : 1,\"b\":[ 2 ]}", {ADD, "b", "[ 2 ]"});
    EXPECT("{}", "{\"a\":1,\"b\":2}", {ADD, "a", "1"}, {ADD, "b", "2"});
    EXPECT("{\"a\":null}", "{\"a\":null}", {ADD, "a", "1"});
    EXPECT("{\"\\u0061\":7}", "{\"\\u0061\":7}", {ADD, "a", "1"});
    EXPECT("{\"a\":{\"x\":1}}", "{\"a\":{\"x\":1,\"b\":2}}", {ADD, "a.b", "2"});
    EXPECT("{\"c\":1}", "{\"c\":1}", {ADD, "a.b", "2"});
    EXPECT("{\"a\":null}", "{\"a\":null}", {ADD, "a.b", "2"});
    EXPECT("null", "null", {ADD, "a", "2"});
    EXPECT("{\"a\":[{},{\"b\":0}, {\"c\":0}]}", "{\"a\":[{\"b\":2},{\"b\":0}, {\"c\":0,\"b\":2}]}",
           {ADD, "a[].b", "2"});
    EXPECT("{\"a\":5}", "version 2: a.b cannot be added: what it belongs to is no object",
           {ADD, "a.b", "2"});
    EXPECT("{\"a\":{}}", "version 2: a[].b cannot be added: what it belongs to is no array",
           {ADD, "a[].b", "2"});
    EXPECT("[]", "version 2: a cannot be added: what it belongs to is no object", {ADD, "a", "2"});
}

static void test_schema_upcast__renames_in_place(void **state)
{
    (void)state;
    EXPECT("{\"a\":1,\"b\":2}", "{\"c\":1,\"b\":2}", {RENAME, "a", "c"});
    EXPECT("{\"b\":2, \"a\" :1}", "{\"b\":2, \"c\\\"\" :1}", {RENAME, "a", "c\""});
    EXPECT("{\"b\":2}", "{\"b\":2}", {RENAME, "a", "c"});
    EXPECT("{\"a\":1}", "{\"c\":1}", {RENAME, "a", "b"}, {RENAME, "b", "c"});
    EXPECT("{\"a\":1,\"b\":2}", "{\"b\":1,\"a\":2}", {RENAME, "a", "x"}, {RENAME, "b", "a"},
           {RENAME, "x", "b"});
    EXPECT("{\"a\":1}", "{\"a\":1}", {RENAME, "a", "b"}, {RENAME, "b", "a"});
    EXPECT("{\"o\":{\"a\":1},\"a\":2}", "{\"o\":{\"b\":1},\"a\":2}", {RENAME, "o.a", "o.b"});
    EXPECT("{\"a\":1,\"c\":2}", "version 2: a cannot be renamed to c: there is one",
           {RENAME, "a", "c"});
    EXPECT("{\"a\":1}", "version 3: a cannot be renamed to c: there is one", {ADD, "c", "0"},
           {RENAME, "a", "c"});
}

static void test_schema_upcast__removes_with_one_comma(void **state)
{
    (void)state;
    EXPECT("{\"a\":1}", "{}", {REMOVE, "a", NULL});
    EXPECT("{\"a\":1,\"b\":2}", "{\"b\":2}", {REMOVE, "a", NULL});
    EXPECT("{\"b\":2,\"a\":1}", "{\"b\":2}", {REMOVE, "a", NULL});
    EXPECT("{\"a\":1,\"b\":2,\"c\":3,\"d\":4}", "{\"a\":1,\"d\":4}", {REMOVE, "b", NULL},
           {REMOVE, "c", NULL});
    EXPECT("{ \"a\":\"\\\"}\\\\\" , \"b\":{\"a\":[\"]\"]} }", "{\"b\":{\"a\":[\"]\"]} }",
           {REMOVE, "a", NULL});
    EXPECT("{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":9}", {REMOVE, "a", NULL}, {ADD, "a", "9"});
    EXPECT("{\"a\":1}", "{\"a\":9}", {REMOVE, "a", NULL}, {ADD, "a", "9"});
    EXPECT("{\"a\":\"x\",\"b\":2}", "version 2: a: \"x\" cannot become an integer",
           {CONVERT, "a", "integer"}, {REMOVE, "a", NULL});
}

static void test_schema_upcast__converts_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        const char *to[4]; /* string, integer, number, boolean; NULL: it cannot be */
    } rows[] = {
        {"null", {"null", "null", "null", "null"}},
        {"true", {"\"true\"", "1", "1", "true"}},
        {"false", {"\"false\"", "0", "0", "false"}},
        {"0", {"\"0\"", "0", "0", "false"}},
        {"1", {"\"1\"", "1", "1", "true"}},
        {"1.0", {"\"1.0\"", "1", "1.0", "true"}},
        {"-0", {"\"-0\"", "0", "-0", "false"}},
        {"1e3", {"\"1e3\"", "1000", "1e3", NULL}},
        {"2.5", {"\"2.5\"", NULL, "2.5", NULL}},
        {"9223372036854775807",
         {"\"9223372036854775807\"", "9223372036854775807", "9223372036854775807", NULL}},
        {"1e30", {"\"1e30\"", NULL, "1e30", NULL}},
        {"\"\"", {"\"\"", NULL, NULL, NULL}},
        {"\"7\"", {"\"7\"", "7", "7", NULL}},
        {"\"\\u0037\"", {"\"\\u0037\"", "7", "7", NULL}},
        {"\"-12.50\"", {"\"-12.50\"", NULL, "-12.50", NULL}},
        {"\"5.0\"", {"\"5.0\"", "5", "5.0", NULL}},
        {"\" 7\"", {"\" 7\"", NULL, NULL, NULL}},
        {"\"+7\"", {"\"+7\"", NULL, NULL, NULL}},
        {"\"007\"", {"\"007\"", NULL, NULL, NULL}},
        {"\"0x7\"", {"\"0x7\"", NULL, NULL, NULL}},
        {"\"9223372036854775808\"", {"\"9223372036854775808\"", NULL, NULL, NULL}},
        {"\"true\"", {"\"true\"", NULL, NULL, "true"}},
        {"\"false\"", {"\"false\"", NULL, NULL, "false"}},
        {"\"True\"", {"\"True\"", NULL, NULL, NULL}},
        {"{}", {NULL, NULL, NULL, NULL}},
        {"[1]", {NULL, NULL, NULL, NULL}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int type = 0; type < 4; type++) {
            char text[128];
            char want[256];
            const char *name = dbk_upcast_type_name((enum dbk_upcast_type)type);
            bool whole = rows[i].from[0] == '{' || rows[i].from[0] == '[';
            (void)snprintf(text, sizeof(text), "{\"a\":%s}", rows[i].from);
            if (rows[i].to[type] != NULL)
                (void)snprintf(want, sizeof(want), "{\"a\":%s}", rows[i].to[type]);
            else
                (void)snprintf(want, sizeof(want), "version 2: a: %s cannot become %s %s",
                               whole ? "an object or array" : rows[i].from, type == 1 ? "an" : "a",
                               name);
            EXPECT(text, want, {CONVERT, "a", name});
        }
    }
    EXPECT("{\"a\":[1,\"2\",null]}", "{\"a\":[\"1\",\"2\",null]}", {CONVERT, "a[]", "string"});
    EXPECT("{\"a\":[[1],[\"2\"]]}", "{\"a\":[[1],[2]]}", {CONVERT, "a[][]", "integer"});
    EXPECT("{\"a\":true}", "{\"a\":\"1\"}", {CONVERT, "a", "integer"}, {CONVERT, "a", "string"});
    EXPECT("{}", "{\"a\":\"1\"}", {ADD, "a", "1"}, {CONVERT, "a", "string"});
}

static void test_schema_upcast__leaves_what_is_forgotten(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":{\"$forgotten\":\"00\"},\"b\":1}";
    EXPECT(text, text, {CONVERT, "a", "integer"});
    EXPECT(text, text, {ADD, "a.b", "1"}, {REMOVE, "a.$forgotten", NULL});
    EXPECT(text, text, {ADD, "a[].b", "1"});
    EXPECT(text, "{\"c\":{\"$forgotten\":\"00\"},\"b\":1}", {RENAME, "a", "c"});
    EXPECT(text, "{\"b\":1}", {REMOVE, "a", NULL});
}

/* ---- Against the oracle ---- */

static const struct word words[] = {
    {ADD, "a", "1"},
    {ADD, "a", "{\"b\":[\"x\"]}"},
    {ADD, "b", "\"2\""},
    {RENAME, "a", "b"},
    {RENAME, "b", "a"},
    {REMOVE, "a", NULL},
    {REMOVE, "b", NULL},
    {CONVERT, "a", "string"},
    {CONVERT, "b", "integer"},
    {CONVERT, "a", "boolean"},
    {ADD, "a.b", "3"},
    {RENAME, "a.a", "a.b"},
    {REMOVE, "a.b", NULL},
    {ADD, "a[].b", "4"},
    {CONVERT, "a[]", "number"},
    {CONVERT, "a.b[].a", "string"},
};
#define WORDS (sizeof(words) / sizeof(words[0]))

static const char *const values[] = {
    NULL,
    "1",
    "\"2\"",
    "null",
    "{}",
    "{\"a\":true, \"b\":[{\"a\":5}]}",
    "[]",
    "[{\"a\":1},\"5\"]",
    "[{},{\"b\":0}]",
};
#define VALUES (sizeof(values) / sizeof(values[0]))

static size_t put_document(char *text, size_t size, size_t a, size_t b, bool b_first)
{
    const char *first = b_first ? values[b] : values[a];
    const char *second = b_first ? values[a] : values[b];
    const char *name = b_first ? "b" : "a";
    const char *other = b_first ? "\\u0061" : "b";
    int made = snprintf(
        text, size, "{%s%s%s%s%s%s%s%s%s%s%s}", first == NULL ? "" : "\"",
        first == NULL ? "" : name, first == NULL ? "" : "\":", first == NULL ? "" : first,
        first == NULL ? "" : ", ", "\"c\" : 0", second == NULL ? "" : " ,\"",
        second == NULL ? "" : other, second == NULL ? "" : "\":", second == NULL ? "" : second, "");
    return (size_t)made;
}

/* The chain on every document: how many of them it could. */
static size_t try_all(const struct chain *chain, struct dbk_upcast_program *program)
{
    size_t could = 0;
    for (size_t a = 0; a < VALUES; a++) {
        for (size_t b = 0; b < VALUES; b += 2) {
            char text[256];
            size_t size = put_document(text, sizeof(text), a, b, (a + b) % 2 != 0);
            if (program != NULL) {
                could += compare(chain, program, dbk_slice(text, size));
                continue;
            }
            struct dbk_buf out;
            dbk_buf_init(&out, 4096);
            could += oracle_upcast(chain->versions, chain->count, dbk_slice(text, size), &out);
            dbk_buf_release(&out);
        }
    }
    return could;
}

static void test_schema_upcast__says_what_the_oracle_says_of_all_short_chains(void **state)
{
    (void)state;
    size_t refused = 0;
    for (size_t number = 0; number < WORDS * WORDS * WORDS; number++) {
        struct chain chain = {0};
        struct dbk_upcast_program *program = NULL;
        struct dbk_error err = {0};
        for (size_t rest = number, i = 0; i < 3; i++, rest /= WORDS)
            add_word(&chain, words[rest % WORDS]);
        int rc = dbk_upcast_compile(chain.versions, chain.count, &program, NULL, &err);
        if (rc < 0) {
            /* What no document with the member's parent could get through. */
            assert_int_equal(rc, DBK_EINVAL);
            refused++;
            if (try_all(&chain, NULL) == VALUES * ((VALUES + 1) / 2))
                fail_msg("%s, but all documents can", err.message);
            continue;
        }
        (void)try_all(&chain, program);
        dbk_upcast_free(program);
    }
    assert_true(refused > 0);
}

static uint64_t seed = 1;

static uint32_t chance(uint32_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % below;
}

static const char *const names[] = {"a", "b", "c", "long name", "e\xC3\xA9", "q\"\\"};
#define NAMES (sizeof(names) / sizeof(names[0]))

static void put_space(struct dbk_buf *out)
{
    while (chance(4) == 0)
        dbk_buf_append_char(out, " \t\n\r"[chance(4)]);
}

static void put_key(struct dbk_buf *out, const char *name)
{
    if (chance(4) != 0) {
        dbk_json_write_string(out, dbk_slice_of(name));
        return;
    }
    dbk_buf_append_char(out, '"');
    for (; *name != 0; name++) {
        if (chance(2) == 0 && (unsigned char)*name < 0x80)
            dbk_buf_append_format(out, "\\u%04x", (unsigned)*name);
        else if (*name == '"' || *name == '\\')
            dbk_buf_append_format(out, "\\%c", *name);
        else
            dbk_buf_append_char(out, *name);
    }
    dbk_buf_append_char(out, '"');
}

static void put_value(struct dbk_buf *out, unsigned depth)
{
    static const char *const scalars[] = {"0",
                                          "1",
                                          "-7",
                                          "2.50",
                                          "1e2",
                                          "true",
                                          "false",
                                          "null",
                                          "\"\"",
                                          "\"5\"",
                                          "\"1.5\"",
                                          "\"true\"",
                                          "\"a \\\"quote\\\" \\\\\"",
                                          "\"{[,:\"",
                                          "\"\\u0035\"",
                                          "9007199254740993"};
    uint32_t kind = depth == 0 ? 0 : chance(3);
    size_t count = chance(4);
    put_space(out);
    if (kind == 0) {
        dbk_buf_append_text(out, scalars[chance(sizeof(scalars) / sizeof(scalars[0]))]);
    } else if (kind == 1) {
        dbk_buf_append_char(out, '[');
        for (size_t i = 0; i < count; i++) {
            if (i > 0)
                dbk_buf_append_char(out, ',');
            put_value(out, depth - 1);
        }
        put_space(out);
        dbk_buf_append_char(out, ']');
    } else {
        bool first = true;
        dbk_buf_append_char(out, '{');
        for (size_t i = 0; i < NAMES; i++) {
            if (chance(2) == 0)
                continue;
            if (!first)
                dbk_buf_append_char(out, ',');
            first = false;
            put_space(out);
            put_key(out, names[i]);
            put_space(out);
            dbk_buf_append_char(out, ':');
            put_value(out, depth - 1);
        }
        put_space(out);
        dbk_buf_append_char(out, '}');
    }
    put_space(out);
}

static const char *random_path(char *text, size_t size, bool elements)
{
    size_t parts = 1 + chance(3);
    size_t at = 0;
    for (size_t i = 0; i < parts; i++) {
        at +=
            (size_t)snprintf(text + at, size - at, "%s%s", i == 0 ? "" : ".", names[chance(NAMES)]);
        if ((i + 1 < parts || elements) && chance(3) == 0)
            at += (size_t)snprintf(text + at, size - at, "[]");
    }
    return text;
}

static void test_schema_upcast__says_what_the_oracle_says_of_random_chains(void **state)
{
    (void)state;
    size_t could = 0;
    size_t compiled = 0;
    for (int round = 0; round < 4000; round++) {
        char paths[STEPS_MAX][128];
        char whats[STEPS_MAX][128];
        struct dbk_buf added[STEPS_MAX];
        struct chain chain = {0};
        struct dbk_upcast_program *program = NULL;
        struct dbk_error err = {0};
        size_t count = 1 + chance(8);
        for (size_t i = 0; i < count; i++) {
            struct word word = {.kind = (enum dbk_upcast_kind)chance(4), .what = whats[i]};
            word.path = random_path(paths[i], sizeof(paths[i]), word.kind == CONVERT);
            dbk_buf_init(&added[i], 4096);
            put_value(&added[i], 2);
            dbk_buf_append_char(&added[i], 0);
            if (word.kind == ADD)
                word.what = added[i].data;
            if (word.kind == CONVERT)
                word.what = dbk_upcast_type_name((enum dbk_upcast_type)chance(4));
            if (word.kind == RENAME) {
                const char *dot = strrchr(paths[i], '.');
                size_t parent = dot == NULL ? 0 : (size_t)(dot - paths[i]) + 1;
                (void)snprintf(whats[i], sizeof(whats[i]), "%.*s%s", (int)parent, paths[i],
                               names[chance(NAMES)]);
                if (strcmp(whats[i], paths[i]) == 0)
                    word.kind = REMOVE;
            }
            add_word(&chain, word);
        }
        if (dbk_upcast_compile(chain.versions, chain.count, &program, NULL, &err) == DBK_OK) {
            compiled++;
            for (int i = 0; i < 20; i++) {
                struct dbk_buf text;
                dbk_buf_init(&text, (size_t)1 << 20);
                put_value(&text, 4);
                could += compare(&chain, program, dbk_buf_slice(&text));
                dbk_buf_release(&text);
            }
        }
        dbk_upcast_free(program);
        for (size_t i = 0; i < count; i++)
            dbk_buf_release(&added[i]);
    }
    /* Both outcomes must be common, or the test says little. */
    assert_in_range(could, compiled * 5, compiled * 19);
    assert_true(compiled > 2000);
}

/* ---- Damage and limits ---- */

/* Flat ones, as most events are, of names and strings of all sizes around a word's. */
static void put_flat(struct dbk_buf *out)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopq";
    put_space(out);
    dbk_buf_append_char(out, '{');
    for (uint64_t i = 0, count = chance(9); i < count; i++) {
        dbk_buf_append_text(out, i == 0 ? "" : ",");
        put_space(out);
        dbk_buf_append_format(out, "\"%.*s\"", (int)(chance(4) == 0 ? chance(70) : chance(5)),
                              letters);
        put_space(out);
        dbk_buf_append_char(out, ':');
        put_space(out);
        if (chance(3) == 0)
            dbk_buf_append_format(out, "%ju", (uintmax_t)chance(1000));
        else if (chance(12) == 0)
            dbk_buf_append_text(out, "{\"a\":[\"ab\",{\"abc\":1}]}");
        else
            dbk_buf_append_format(out, "\"%.*s%s\"", (int)chance(70), letters,
                                  chance(6) == 0 ? "|:,}" : "");
        put_space(out);
    }
    dbk_buf_append_char(out, '}');
    put_space(out);
}

static void test_schema_upcast__finds_what_a_walk_finds(void **state)
{
    (void)state;
    static const struct word steps[] = {
        {ADD, "abc", "7"},
        {RENAME, "ab", "longer than it was"},
        {REMOVE, "a", NULL},
        {CONVERT, "abcd", "string"},
        {RENAME, "abcdefghijklmnopq", "abcde"},
        {ADD, "b", "\"x\""},
        {REMOVE, "abcd", NULL},
        {RENAME, "a", "abc"},
    };
    struct dbk_buf text;
    size_t tried = 0;
    dbk_buf_init(&text, (size_t)1 << 20);
    for (int round = 0; round < 3000; round++) {
        struct chain chain = {0};
        for (uint64_t i = 0, count = 1 + chance(4); i < count; i++)
            add_word(&chain, steps[chance(sizeof(steps) / sizeof(steps[0]))]);
        struct dbk_upcast_program *program = NULL;
        if (dbk_upcast_compile(chain.versions, chain.count, &program, NULL, NULL) < 0)
            continue;
        for (int i = 0; i < 20; i++) {
            dbk_buf_reset(&text);
            put_flat(&text);
            /* No name may stand there twice. */
            const struct dbk_json_node *root = NULL;
            if (dbk_json_parse(json, dbk_buf_slice(&text), &root, NULL) == DBK_OK)
                tried += compare(&chain, program, dbk_buf_slice(&text));
        }
        dbk_upcast_free(program);
    }
    dbk_buf_release(&text);
    assert_true(tried > 3000);
    assert_true(picked > 3000);
}

static void test_schema_upcast__stays_within_a_text_cut_anywhere(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\":{\"x\":[1,\"\\\\\\\"\"]},\"b\":\"7\",\"l\":[{\"p\":1},{\"p\":\"2\"}],\"c\":tru}";
    struct chain chain = {0};
    add_word(&chain, (struct word){ADD, "a.b", "1"});
    add_word(&chain, (struct word){CONVERT, "b", "integer"});
    add_word(&chain, (struct word){CONVERT, "l[].p", "string"});
    add_word(&chain, (struct word){REMOVE, "c", NULL});
    struct dbk_upcast_program *program = compile(&chain);
    for (size_t size = 0; size < sizeof(text) - 1; size++) {
        /* On the heap, so that AddressSanitizer and valgrind see a byte too many. */
        char *copy = malloc(size + 1);
        struct dbk_buf out;
        struct dbk_error err = {0};
        assert_non_null(copy);
        memcpy(copy, text, size);
        dbk_buf_init(&out, 4096);
        char *end = copy + size;
        memmove(end - size, copy, size);
        int rc = dbk_upcast_run(program, dbk_slice(copy, size), &out, &err);
        assert_int_equal(rc, DBK_ECORRUPT);
        assert_int_equal(out.size, 0);
        dbk_buf_release(&out);
        free(copy);
    }
    dbk_upcast_free(program);
}

static void test_schema_upcast__refuses_steps_that_make_no_sense(void **state)
{
    (void)state;
    static const struct {
        struct word word;
        const char *want;
    } rows[] = {
        {{ADD, "", "1"}, "version 2: the path \"\" is empty"},
        {{ADD, "[].a", "1"}, "version 2: the path \"[].a\" must begin with a name"},
        {{ADD, "a[]", "1"}, "version 2: the path \"a[]\" must end with a name"},
        {{REMOVE, "a[]", NULL}, "version 2: the path \"a[]\" must end with a name"},
        {{RENAME, "a", "b[]"}, "version 2: the path \"b[]\" must end with a name"},
        {{RENAME, "a", "a"}, "version 2: the path \"a\" is the name it has"},
        {{RENAME, "a.b", "b"},
         "version 2: the path \"b\" is in another object: only a Lua file can move it there"},
        {{RENAME, "a[].b", "a.b"},
         "version 2: the path \"a.b\" is in another object: only a Lua file can move it there"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct chain chain = {0};
        struct dbk_upcast_program *program = NULL;
        struct dbk_error err = {0};
        add_word(&chain, rows[i].word);
        assert_int_equal(dbk_upcast_compile(chain.versions, chain.count, &program, NULL, &err),
                         DBK_EINVAL);
        assert_string_equal(err.message, rows[i].want);
    }
}

static void test_schema_upcast__names_the_step_that_cannot_follow_the_others(void **state)
{
    (void)state;
    struct chain chain = {0};
    struct dbk_upcast_program *program = NULL;
    struct dbk_upcast_place place = {0};
    struct dbk_error err = {0};
    add_word(&chain, (struct word){ADD, "a", "\"x\""});
    add_word(&chain, (struct word){CONVERT, "a", "integer"});
    assert_int_equal(dbk_upcast_compile(chain.versions, chain.count, &program, &place, &err),
                     DBK_EINVAL);
    assert_string_equal(
        err.message,
        "version 3: a: \"x\" cannot become an integer, as added by an earlier version");
    assert_int_equal(place.version, 1);
    chain.count = 0;
    add_word(&chain, (struct word){ADD, "a", "1"});
    add_word(&chain, (struct word){ADD, "b", "2"});
    add_word(&chain, (struct word){RENAME, "a", "b"});
    assert_int_equal(dbk_upcast_compile(chain.versions, chain.count, &program, &place, &err),
                     DBK_EINVAL);
    assert_string_equal(err.message,
                        "version 4: a is always there, and so is what it is renamed to");
    assert_int_equal(place.version, 2);
}

static int set_up(void **state)
{
    (void)state;
    json = dbk_json_create((size_t)1 << 24);
    return json == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_json_free(json);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test(test_schema_upcast__##name)
        TEST(adds_what_is_missing),
        TEST(renames_in_place),
        TEST(removes_with_one_comma),
        TEST(converts_exactly),
        TEST(leaves_what_is_forgotten),
        TEST(says_what_the_oracle_says_of_all_short_chains),
        TEST(says_what_the_oracle_says_of_random_chains),
        TEST(finds_what_a_walk_finds),
        TEST(stays_within_a_text_cut_anywhere),
        TEST(refuses_steps_that_make_no_sense),
        TEST(names_the_step_that_cannot_follow_the_others),
#undef TEST
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
