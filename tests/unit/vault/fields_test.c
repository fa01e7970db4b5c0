/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fields_test -- cutting personal fields out of data, and putting them back.
 *
 * The oracle is the parse: of random documents and paths, what was cut and put back must be the
 * same value, and nothing may be left where a path leads, as a walk over the nodes says that knows
 * nothing of cutting.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "vault/fields.h"

#define STEPS_MAX 4
#define PATHS_MAX 4

struct path {
    struct dbk_schema_step steps[STEPS_MAX];
    char text[128];
    struct dbk_schema_path path;
};

/* "a.b[].c", with names from the text's own bytes. */
static void make_path(const char *text, struct path *path)
{
    memset(path, 0, sizeof(*path));
    (void)snprintf(path->text, sizeof(path->text), "%s", text);
    path->path.text = dbk_slice_of(path->text);
    path->path.steps = path->steps;
    for (const char *at = path->text; *at != '\0';) {
        size_t size = strcspn(at, ".[");
        if (size > 0)
            path->steps[path->path.count++].key = dbk_slice(at, size);
        at += size;
        if (at[0] == '[') {
            path->path.count++;
            at += 2;
        }
        at += *at == '.';
    }
}

static struct dbk_json *json;
static struct dbk_json *other;
static struct dbk_arena arena;

static int set_up(void **state)
{
    (void)state;
    json = dbk_json_create(1 << 20);
    other = dbk_json_create(1 << 20);
    dbk_arena_init(&arena, 64 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_json_free(json);
    dbk_json_free(other);
    dbk_arena_release(&arena);
    return 0;
}

static struct dbk_cut cut(const char *text, const char *const *names, size_t count, int *rc_out)
{
    static struct path paths[PATHS_MAX];
    static struct dbk_schema_path list[PATHS_MAX];
    const struct dbk_json_node *nodes = NULL;
    struct dbk_error err = {0};
    struct dbk_cut result = {0};
    for (size_t i = 0; i < count; i++) {
        make_path(names[i], &paths[i]);
        list[i] = paths[i].path;
    }
    assert_ok(dbk_json_parse(json, dbk_slice_of(text), &nodes, &err), &err);
    *rc_out = dbk_fields_cut(nodes, list, count, &arena, &result, &err);
    return result;
}

static void check(const char *text, const char *path, const char *clear, const char *fields,
                  const char *spliced)
{
    int rc = DBK_OK;
    struct dbk_cut result = cut(text, &path, 1, &rc);
    struct dbk_buf out;
    assert_int_equal(rc, DBK_OK);
    assert_slice_equal(result.data, clear);
    dbk_buf_init(&out, 1 << 20);
    for (size_t i = 0; i < result.count; i++)
        dbk_buf_append_format(&out, "%s%.*s=%.*s", i == 0 ? "" : " ",
                              DBK_SLICE_ARGS(result.fields[i].path),
                              DBK_SLICE_ARGS(result.fields[i].value));
    assert_slice_equal(dbk_buf_slice(&out), fields);
    dbk_buf_reset(&out);
    assert_int_equal(dbk_fields_splice(result.data, result.fields, result.count, &out), DBK_OK);
    assert_slice_equal(dbk_buf_slice(&out), spliced);
    dbk_buf_release(&out);
}

static void test_vault_fields__examples(void **state)
{
    (void)state;
    check("{\"a\":1,\"n\":\"x\",\"b\":2}", "n", "{\"a\":1,\"b\":2}", "n=\"x\"",
          "{\"a\":1,\"b\":2,\"n\":\"x\"}");
    check(" { \"n\" : \"x\" , \"b\" : 2 } ", "n", "{ \"b\" : 2 }", "n=\"x\"",
          "{ \"b\" : 2 ,\"n\":\"x\"}");
    check("{\"n\":null}", "n", "{}", "n=null", "{\"n\":null}");
    check("{\"a\":1}", "n", "{\"a\":1}", "", "{\"a\":1}");
    check("{\"a\":{\"s\":\"x\"},\"b\":[]}", "a.s", "{\"a\":{},\"b\":[]}", "a.s=\"x\"",
          "{\"a\":{\"s\":\"x\"},\"b\":[]}");
    check("{\"l\":[{\"n\":\"}\",\"k\":1},{},{\"k\":2,\"n\":[1]}]}", "l[].n",
          "{\"l\":[{\"k\":1},{},{\"k\":2}]}", "l[0].n=\"}\" l[2].n=[1]",
          "{\"l\":[{\"k\":1,\"n\":\"}\"},{},{\"k\":2,\"n\":[1]}]}");
    check("{\"p\":[1,{\"x\":2}],\"q\":0}", "p[]", "{\"q\":0}", "p=[1,{\"x\":2}]",
          "{\"q\":0,\"p\":[1,{\"x\":2}]}");
    /* Where a path goes on and the value does not, all of it is taken. */
    check("{\"a\":\"Main St\",\"b\":1}", "a.s", "{\"b\":1}", "a=\"Main St\"",
          "{\"b\":1,\"a\":\"Main St\"}");
    check("{\"a\":null,\"b\":1}", "a.s", "{\"a\":null,\"b\":1}", "", "{\"a\":null,\"b\":1}");
    check("{\"l\":[{\"n\":1},2]}", "l[].n", "{}", "l=[{\"n\":1},2]", "{\"l\":[{\"n\":1},2]}");
    check("{\"\\u006e\":1,\"\\ud83d\\ude00\":{\"n\":2}}", "n", "{\"\\ud83d\\ude00\":{\"n\":2}}",
          "n=1", "{\"\\ud83d\\ude00\":{\"n\":2},\"n\":1}");
    check("{\"\\ud83d\\ude00\\u00e9\\u20ac\":{\"n\":2}}", "\xf0\x9f\x98\x80\xc3\xa9\xe2\x82\xac.n",
          "{\"\\ud83d\\ude00\\u00e9\\u20ac\":{}}", "\xf0\x9f\x98\x80\xc3\xa9\xe2\x82\xac.n=2",
          "{\"\\ud83d\\ude00\\u00e9\\u20ac\":{\"n\":2}}");
}

static void test_vault_fields__all_of_the_data_is_refused(void **state)
{
    (void)state;
    int rc = DBK_OK;
    const char *path = "n";
    (void)cut("7", &path, 1, &rc);
    assert_int_equal(rc, DBK_EINVAL);
    (void)cut("[{\"n\":1}]", &path, 1, &rc);
    assert_int_equal(rc, DBK_EINVAL);
}

static void test_vault_fields__fields_without_a_place_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"{\"a\":1}", "{\"a\":[1,{}]}",    "[]", "7", "{}",
                                        "\"\"",      "{\"a\":{\"b\":[]}}"};
    struct dbk_field field = {DBK_SLICE_LITERAL("a[3].n"), DBK_SLICE_LITERAL("1")};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct dbk_buf out;
        dbk_buf_init(&out, 1 << 20);
        assert_int_equal(dbk_fields_splice(dbk_slice_of(texts[i]), &field, 1, &out), DBK_ECORRUPT);
        dbk_buf_release(&out);
    }
}

/* ---- Random documents ---- */

static uint64_t seed = 1;

static unsigned pick(unsigned count)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 33) % count;
}

static void space(struct dbk_buf *out)
{
    static const char spaces[] = " \n\t\r";
    while (pick(6) == 0)
        dbk_buf_append_char(out, spaces[pick(4)]);
}

/* Names as they can be written; the i-th of both is the same. */
static const char *const names[] = {"a", "b", "a-b", "a\\\\", "\xc3\xa9", "q\""};
static const char *const written[] = {"\\u0061",      "b",       "a\\u002db",
                                      "a\\u005C\\\\", "\\u00E9", "q\\\""};
static const char *const plain[] = {"a", "b", "a-b", "a\\\\\\\\", "\xc3\xa9", "q\\u0022"};

static void value(struct dbk_buf *out, unsigned depth)
{
    static const char *const scalars[] = {"null", "true", "-1.50", "\"}]\\\"{,\"", "\"\"", "0"};
    unsigned kind = depth == 0 ? 2 : depth > 4 ? 3 : pick(4);
    space(out);
    if (kind == 1) {
        dbk_buf_append_char(out, '[');
        for (unsigned i = 0, count = pick(4); i < count; i++) {
            dbk_buf_append_text(out, i > 0 ? "," : "");
            value(out, depth + 1);
        }
        space(out);
        dbk_buf_append_char(out, ']');
    } else if (kind == 2 || kind == 0) {
        bool first = true;
        dbk_buf_append_char(out, '{');
        for (unsigned i = 0; i < 6; i++) {
            if (pick(2) == 0)
                continue;
            dbk_buf_append_text(out, first ? "" : ",");
            space(out);
            dbk_buf_append_format(out, "\"%s\"", pick(2) == 0 ? plain[i] : written[i]);
            space(out);
            dbk_buf_append_char(out, ':');
            value(out, depth + 1);
            first = false;
        }
        space(out);
        dbk_buf_append_char(out, '}');
    } else {
        dbk_buf_append_text(out, scalars[pick(6)]);
    }
    space(out);
}

static bool same(const struct dbk_json_node *a, const struct dbk_json_node *b)
{
    if (a->kind != b->kind || a->count != b->count)
        return false;
    if (a->kind != DBK_JSON_OBJECT && a->kind != DBK_JSON_ARRAY)
        return dbk_slice_equal(a->raw, b->raw);
    const struct dbk_json_node *child = dbk_json_first(a);
    const struct dbk_json_node *beside = dbk_json_first(b);
    for (uint32_t i = 0; i < a->count; i++) {
        const struct dbk_json_node *counterpart =
            a->kind == DBK_JSON_ARRAY ? beside : dbk_json_member_slice(b, child->key);
        if (counterpart == NULL || !same(child, counterpart))
            return false;
        child = dbk_json_sibling(child);
        beside = dbk_json_sibling(beside);
    }
    return true;
}

/* How many values a path leads to. */
static size_t reached(const struct dbk_json_node *node, const struct dbk_schema_step *steps,
                      size_t count)
{
    size_t sum = 0;
    if (count == 0)
        return 1;
    if (steps->key.data != NULL) {
        const struct dbk_json_node *member = dbk_json_member_slice(node, steps->key);
        return member == NULL ? 0 : reached(member, steps + 1, count - 1);
    }
    const struct dbk_json_node *child = dbk_json_first(node);
    for (uint32_t i = 0; node->kind == DBK_JSON_ARRAY && i < node->count; i++) {
        sum += reached(child, steps + 1, count - 1);
        child = dbk_json_sibling(child);
    }
    return sum;
}

static void random_path(struct path *path)
{
    memset(path, 0, sizeof(*path));
    path->path.steps = path->steps;
    path->path.text = DBK_SLICE_LITERAL("it");
    path->path.count = 1 + pick(STEPS_MAX);
    for (size_t i = 0; i < path->path.count; i++)
        if (i == 0 || pick(3) > 0)
            path->steps[i].key = dbk_slice_of(names[pick(6)]);
}

static bool within(const struct path *a, const struct path *b)
{
    for (size_t i = 0; i < a->path.count && i < b->path.count; i++)
        if (!dbk_slice_equal(a->steps[i].key, b->steps[i].key))
            return false;
    return true;
}

static size_t random_paths(struct path *paths, struct dbk_schema_path *list)
{
    size_t count = 0;
    for (unsigned tries = 1 + pick(PATHS_MAX); tries > 0; tries--) {
        bool apart = true;
        random_path(&paths[count]);
        for (size_t i = 0; i < count; i++)
            apart = apart && !within(&paths[i], &paths[count]);
        if (apart)
            count++;
    }
    for (size_t i = 0; i < count; i++)
        list[i] = paths[i].path;
    return count;
}

static void test_vault_fields__what_is_cut_and_put_back_is_the_same(void **state)
{
    (void)state;
    size_t with_fields = 0;
    for (int round = 0; round < 60000; round++) {
        struct path paths[PATHS_MAX];
        struct dbk_schema_path list[PATHS_MAX];
        struct dbk_error err = {0};
        const struct dbk_json_node *nodes = NULL;
        const struct dbk_json_node *again = NULL;
        struct dbk_buf text;
        struct dbk_buf out;
        struct dbk_cut result = {0};
        size_t count = random_paths(paths, list);
        dbk_arena_reset(&arena);
        dbk_buf_init(&text, 1 << 20);
        dbk_buf_init(&out, 1 << 20);
        value(&text, 0);
        assert_ok(dbk_json_parse(json, dbk_buf_slice(&text), &nodes, &err), &err);
        assert_ok(dbk_fields_cut(nodes, list, count, &arena, &result, &err), &err);
        with_fields += result.count > 0;
        for (size_t i = 1; i < result.count; i++)
            assert_true(dbk_slice_compare(result.fields[i - 1].path, result.fields[i].path) < 0);
        assert_int_equal(dbk_fields_splice(result.data, result.fields, result.count, &out), DBK_OK);
        if (dbk_json_parse(other, dbk_buf_slice(&out), &again, &err) < 0 || !same(nodes, again))
            fail_msg("%.*s\ncut: %.*s\nback: %.*s", DBK_SLICE_ARGS(dbk_buf_slice(&text)),
                     DBK_SLICE_ARGS(result.data), DBK_SLICE_ARGS(dbk_buf_slice(&out)));
        assert_ok(dbk_json_parse(other, result.data, &again, &err), &err);
        for (size_t i = 0; i < count; i++)
            if (reached(again, list[i].steps, list[i].count) > 0)
                fail_msg("%.*s\nleft: %.*s", DBK_SLICE_ARGS(dbk_buf_slice(&text)),
                         DBK_SLICE_ARGS(result.data));
        dbk_buf_release(&text);
        dbk_buf_release(&out);
    }
    assert_true(with_fields > 20000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vault_fields__examples),
        cmocka_unit_test(test_vault_fields__all_of_the_data_is_refused),
        cmocka_unit_test(test_vault_fields__fields_without_a_place_are_refused),
        cmocka_unit_test(test_vault_fields__what_is_cut_and_put_back_is_the_same),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
