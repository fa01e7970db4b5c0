/* SPDX-License-Identifier: Apache-2.0 */
/*
 * yaml_test -- settings become a tree whose nodes know their places, and everything else is refused
 * by file, line and column.
 */
#include "test.h"

#include "book/yaml.h"
#include "folder.h"

struct fixture {
    struct dbk_arena arena;
    struct dbk_diagnostics faults;
    const struct dbk_yaml_node *root;
};

static void parse_bytes(struct fixture *fixture, struct dbk_slice text)
{
    dbk_arena_init(&fixture->arena, 64 << 20);
    dbk_diagnostics_init(&fixture->faults);
    assert_int_equal(dbk_yaml_parse("f", text, &fixture->arena, &fixture->faults, &fixture->root),
                     DBK_OK);
}

static void parse(struct fixture *fixture, const char *text)
{
    parse_bytes(fixture, dbk_slice_of(text));
}

static void release(struct fixture *fixture)
{
    dbk_diagnostics_release(&fixture->faults);
    dbk_arena_release(&fixture->arena);
}

static void assert_node(const struct dbk_yaml_node *node, const char *text, unsigned line,
                        unsigned column)
{
    assert_non_null(node);
    assert_string_equal(node->text.data, text);
    assert_int_equal(node->line, line);
    assert_int_equal(node->column, column);
}

static void test_book_yaml__a_file_is_a_tree_with_places(void **state)
{
    (void)state;
    struct fixture fixture;
    parse(&fixture, "# ä\n"
                    "book: shop\n"
                    "limits: {event_bytes: 1 MiB, \"batch\": ~}\n"
                    "source:\n"
                    "  - \"ü\"\n"
                    "  - 'b'\n"
                    "nothing:\n");
    assert_faults(&fixture.faults, "");
    const struct dbk_yaml_node *root = fixture.root;
    assert_int_equal(root->kind, DBK_YAML_MAPPING);
    assert_node(dbk_yaml_find(root, "book"), "shop", 2, 7);
    assert_node(dbk_yaml_find(root, "book")->key, "book", 2, 1);
    assert_null(dbk_yaml_find(root, "shop"));

    const struct dbk_yaml_node *limits = dbk_yaml_find(root, "limits");
    assert_int_equal(limits->kind, DBK_YAML_MAPPING);
    assert_node(dbk_yaml_find(limits, "event_bytes"), "1 MiB", 3, 23);
    assert_true(dbk_yaml_is_null(dbk_yaml_find(limits, "batch")));
    assert_false(dbk_yaml_find(limits, "batch")->key->plain);

    const struct dbk_yaml_node *source = dbk_yaml_find(root, "source");
    assert_int_equal(source->kind, DBK_YAML_SEQUENCE);
    assert_node(source->first, "ü", 5, 5);
    assert_node(source->first->next, "b", 6, 5);
    assert_null(source->first->next->next);
    assert_true(dbk_yaml_is_null(dbk_yaml_find(root, "nothing")));
    release(&fixture);
}

static void test_book_yaml__an_empty_file_has_no_root(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n", "# only this\n", "\xEF\xBB\xBF"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct fixture fixture;
        parse(&fixture, texts[i]);
        assert_null(fixture.root);
        assert_faults(&fixture.faults, "");
        release(&fixture);
    }
}

static void test_book_yaml__what_is_not_for_settings_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool root; /* the rest is still checked */
        const char *faults;
    } cases[] = {
        {"a: &x 1\nb: 2\n", true, "f:1:4: anchors are not allowed: `&x`\n"},
        {"a: 1\nb: *x\n", true, "f:2:4: aliases are not allowed: `*x`\n"},
        {"a: &x {b: 1}\nc: [*x]\n", true,
         "f:1:4: anchors are not allowed: `&x`\nf:2:5: aliases are not allowed: `*x`\n"},
        {"a: 1\n*x : 2\n", true, "f:2:1: aliases are not allowed: `*x`\n"},
        {"a: !!int 1\n", true, "f:1:4: tags are not allowed: `tag:yaml.org,2002:int`\n"},
        {"a: ! 1\n", true, "f:1:4: tags are not allowed: `!`\n"},
        {"a: !x [1]\n", true, "f:1:4: tags are not allowed: `!x`\n"},
        {"a: 1\n---\nb: 2\n", true, "f:2:1: a second document begins\n"},
        {"a: 1\nb: 2\n\"a\": 3\n", true, "f:3:1: `a` stands twice\n"},
        {"a: 1\na: {b: 2, b: 3}\n", true, "f:2:1: `a` stands twice\nf:2:11: `b` stands twice\n"},
        {"{a: 1}: 2\n", false, "f:1:1: a key is a mapping or a list\n"},
        {"? [a]\n: 2\n", false, "f:1:3: a key is a mapping or a list\n"},
        {"a: \"x\\0y\"\n", false, "f:1:4: a text holds a NUL character\n"},
        {"a: b: c\n", false, "f:1:5: mapping values are not allowed in this context\n"},
        {"a:\n\t- b\n", false,
         "f:2:1: found character that cannot start any token while scanning for the next token\n"},
        {"a: [1\n", false,
         "f:2:1: did not find expected ',' or ']' while parsing a flow sequence\n"},
        {"a: \"x\n", false,
         "f:2:1: found unexpected end of stream while scanning a quoted scalar\n"},
        {"a: 1\n b: 2\n", false, "f:2:3: mapping values are not allowed in this context\n"},
        {"a: \x01\n", false, "f: control characters are not allowed\n"},
        {"a: \xC3\x28\n", false, "f:1:4: byte 0xC3 is no UTF-8\n"},
        {"ab: ä\n\xFF\xFE\n", false, "f:2:1: byte 0xFF is no UTF-8\n"},
        {"a: ä\xE2\x82", false, "f:1:5: byte 0xE2 is no UTF-8\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        parse(&fixture, cases[i].text);
        dbk_diagnostics_sort(&fixture.faults);
        assert_faults(&fixture.faults, cases[i].faults);
        assert_true(cases[i].root == (fixture.root != NULL));
        release(&fixture);
    }
}

static void test_book_yaml__a_nul_byte_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    parse_bytes(&fixture, DBK_SLICE_LITERAL("a: 1\nb: \0\n"));
    assert_faults(&fixture.faults, "f:2:4: the file holds a NUL byte\n");
    assert_null(fixture.root);
    release(&fixture);
}

static void test_book_yaml__deep_nesting_is_refused(void **state)
{
    (void)state;
    for (int depth = 1; depth < 40; depth++) {
        struct fixture fixture;
        struct dbk_buf text;
        dbk_buf_init(&text, 1 << 10);
        for (int i = 0; i < depth; i++)
            dbk_buf_append_char(&text, '[');
        for (int i = 0; i < depth; i++)
            dbk_buf_append_char(&text, ']');
        parse_bytes(&fixture, dbk_buf_slice(&text));
        assert_faults(&fixture.faults, depth <= DBK_YAML_DEPTH_MAX
                                           ? ""
                                           : "f:1:17: the file is nested deeper than 16 levels\n");
        assert_true((fixture.root != NULL) == (depth <= DBK_YAML_DEPTH_MAX));
        release(&fixture);
        dbk_buf_release(&text);
    }
}

static void test_book_yaml__a_flood_of_values_is_refused(void **state)
{
    (void)state;
    for (int more = 0; more < 2; more++) {
        struct fixture fixture;
        struct dbk_buf text;
        dbk_buf_init(&text, 1 << 20);
        for (int i = 0; i < DBK_YAML_NODES_MAX - 1 + more; i++)
            dbk_buf_append_text(&text, "- a\n");
        parse_bytes(&fixture, dbk_buf_slice(&text));
        assert_faults(&fixture.faults,
                      more == 0 ? "" : "f:10000:3: the file holds more than 10000 values\n");
        release(&fixture);
        dbk_buf_release(&text);
    }
}

/* Every byte of a good file cut off, and every byte turned into every other. */
static void test_book_yaml__damaged_text_is_a_tree_or_a_fault(void **state)
{
    (void)state;
    static const char good[] = "book: shop\n"
                               "data: \"d\"\n"
                               "databases:\n"
                               "  reading: sqlite:r.db # ä\n"
                               "limits: {event_bytes: 1 MiB}\n"
                               "source: [a, 'b']\n";
    char text[sizeof(good)];
    for (size_t size = 0; size < sizeof(good); size++) {
        struct fixture fixture;
        parse_bytes(&fixture, dbk_slice(good, size));
        assert_true(fixture.root != NULL || fixture.faults.error_count > 0 || size == 0);
        release(&fixture);
    }
    for (size_t at = 0; at + 1 < sizeof(good); at++) {
        memcpy(text, good, sizeof(good));
        for (int byte = 0; byte < 256; byte++) {
            struct fixture fixture;
            text[at] = (char)byte;
            parse_bytes(&fixture, dbk_slice(text, sizeof(good) - 1));
            assert_true(fixture.root != NULL || fixture.faults.error_count > 0);
            release(&fixture);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_book_yaml__a_file_is_a_tree_with_places),
        cmocka_unit_test(test_book_yaml__an_empty_file_has_no_root),
        cmocka_unit_test(test_book_yaml__what_is_not_for_settings_is_refused),
        cmocka_unit_test(test_book_yaml__a_nul_byte_is_refused),
        cmocka_unit_test(test_book_yaml__deep_nesting_is_refused),
        cmocka_unit_test(test_book_yaml__a_flood_of_values_is_refused),
        cmocka_unit_test(test_book_yaml__damaged_text_is_a_tree_or_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
