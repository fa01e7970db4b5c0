/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compare_test -- what is said to fit does fit.
 *
 * The oracle is the validator: a thousand documents are held against both schemas of a random pair,
 * of which the second is often a small change of the first. Where the comparison answers that all
 * that fits the one fits the other, no document may say otherwise.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "schema/compare.h"

#define PAIRS 6000
#define DOCUMENTS 700

/* ---- Two schemas, as two types ---- */

struct both {
    struct dbk_schemas *schemas;
    struct dbk_arena arena;
    const struct dbk_schema *from;
    const struct dbk_schema *to;
};

static void add(struct dbk_schemas *schemas, const char *type, struct dbk_slice schema,
                struct dbk_arena *arena)
{
    struct dbk_error err = {0};
    struct dbk_diagnostics faults;
    const char *text = dbk_arena_format(arena, "{\"versions\":[{\"version\":1,\"schema\":%.*s}]}",
                                        DBK_SLICE_ARGS(schema));
    dbk_diagnostics_init(&faults);
    assert_ok(dbk_schemas_add(schemas, type, type, dbk_slice_of(text), &faults, &err), &err);
    if (faults.error_count > 0)
        fail_msg("%s: %s", text, faults.items[0].what);
    dbk_diagnostics_release(&faults);
}

static void both_init(struct both *both, struct dbk_slice from, struct dbk_slice to)
{
    struct dbk_error err = {0};
    struct dbk_diagnostics faults;
    dbk_arena_init(&both->arena, 1 << 24);
    both->schemas = dbk_schemas_create();
    add(both->schemas, "From", from, &both->arena);
    add(both->schemas, "To", to, &both->arena);
    dbk_diagnostics_init(&faults);
    assert_ok(dbk_schemas_finish(both->schemas, &faults, &err), &err);
    dbk_diagnostics_release(&faults);
    both->from = dbk_schemas_newest(both->schemas, DBK_SLICE_LITERAL("From"));
    both->to = dbk_schemas_newest(both->schemas, DBK_SLICE_LITERAL("To"));
}

static void both_release(struct both *both)
{
    dbk_schemas_free(both->schemas);
    dbk_arena_release(&both->arena);
}

static void assert_covers(const char *from, const char *to, const char *breaks)
{
    struct both both;
    struct dbk_buf text;
    const struct dbk_schema_break *items = NULL;
    size_t count = 0;
    both_init(&both, dbk_slice_of(from), dbk_slice_of(to));
    int rc = dbk_schema_covers(both.from, both.to, &both.arena, &items, &count);
    assert_int_equal(rc, *breaks == '\0');
    dbk_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < count; i++)
        dbk_buf_append_format(&text, "%s: %s: %s\n", items[i].path, items[i].keyword,
                              items[i].what);
    dbk_buf_append_char(&text, '\0');
    assert_string_equal(text.data, breaks);
    dbk_buf_release(&text);
    both_release(&both);
}

static void test_schema_compare__a_break_names_path_and_keyword(void **state)
{
    (void)state;
    static const struct {
        const char *from;
        const char *to;
        const char *breaks;
    } cases[] = {
        {"{}", "{}", ""},
        {"{\"type\": \"integer\"}", "{\"type\": \"number\"}", ""},
        {"{\"type\": \"number\"}", "{\"type\": \"integer\"}",
         "$: type: does not allow a number with a fraction\n"},
        {"{\"properties\": {\"a\": {\"type\": \"string\"}}}",
         "{\"properties\": {\"a\": {\"type\": [\"string\", \"null\"]}}}", ""},
        {"{\"properties\": {\"a\": {\"type\": [\"string\", \"null\"]}}}",
         "{\"properties\": {\"a\": {\"type\": \"string\"}}}", "$.a: type: does not allow null\n"},
        {"{\"required\": [\"a\"]}", "{}", ""},
        {"{\"type\": \"object\"}", "{\"required\": [\"a\"]}", "$: required: needs the field `a`\n"},
        {"{\"type\": \"object\", \"properties\": {\"a\": {}}, \"additionalProperties\": false}",
         "{\"properties\": {\"a\": {}, \"b\": {}}, \"additionalProperties\": false}", ""},
        {"{\"type\": \"object\", \"properties\": {\"a\": {}, \"b\": {}}, \"additionalProperties\": "
         "false}",
         "{\"properties\": {\"a\": {}}, \"additionalProperties\": false}",
         "$.b: additionalProperties: does not allow this field\n"},
        {"{\"type\": \"object\"}", "{\"properties\": {\"a\": {\"type\": \"string\"}}}",
         "$.a: type: does not allow a number, true or false, a list, an object or null\n"},
        {"{\"enum\": [1, 2]}", "{\"enum\": [1, 2, 3]}", ""},
        {"{\"enum\": [1, 2, 3]}", "{\"enum\": [1, 2]}", "$: enum: does not allow 3\n"},
        {"{\"enum\": [1, 2, 3]}", "{\"maximum\": 3}", ""},
        {"{\"type\": \"boolean\"}", "{\"enum\": [true, false]}", ""},
        {"{\"type\": \"integer\", \"minimum\": 5}",
         "{\"exclusiveMinimum\": 4, \"multipleOf\": 0.5}", ""},
        {"{\"minimum\": 4, \"type\": \"number\"}", "{\"exclusiveMinimum\": 4}",
         "$: exclusiveMinimum: asks for more than 4\n"},
        {"{\"items\": {\"type\": \"string\", \"minLength\": 2}, \"type\": \"array\"}",
         "{\"items\": {\"minLength\": 3}}", "$[]: minLength: asks for at least 3\n"},
        {"{\"anyOf\": [{\"type\": \"string\"}, {\"type\": \"null\"}]}",
         "{\"type\": [\"null\", \"string\"]}", ""},
        {"{\"type\": [\"null\", \"string\"]}",
         "{\"anyOf\": [{\"type\": \"string\"}, {\"type\": \"null\"}]}", ""},
        {"{\"type\": \"object\", \"patternProperties\": {\"^a\": {}}, \"additionalProperties\": "
         "{\"type\": \"string\"}}",
         "{\"additionalProperties\": {\"type\": \"string\"}}",
         "$: additionalProperties: asks more of fields that it does not name\n"},
        {"{\"type\": \"object\", \"patternProperties\": {\"^a\": {}}, \"additionalProperties\": "
         "{\"type\": \"string\"}}",
         "{\"patternProperties\": {\"^a\": {}}, \"additionalProperties\": {\"type\": \"string\"}}",
         ""},
        {"{\"$ref\": \"#/$defs/tree\", \"$defs\": {\"tree\": {\"type\": \"object\", "
         "\"properties\": "
         "{\"n\": {\"type\": \"integer\"}, \"c\": {\"items\": {\"$ref\": \"#/$defs/tree\"}}}}}}",
         "{\"$ref\": \"#/$defs/node\", \"$defs\": {\"node\": {\"type\": \"object\", "
         "\"properties\": "
         "{\"n\": {\"type\": \"number\"}, \"c\": {\"items\": {\"$ref\": \"#/$defs/node\"}}}}}}",
         ""},
        {"{\"$ref\": \"#/$defs/a\", \"$defs\": {\"a\": {\"type\": \"string\"}}}",
         "{\"$ref\": \"#/$defs/a\", \"$defs\": {\"a\": {\"type\": \"string\", \"maxLength\": 3}}}",
         "$: maxLength: asks for at most 3\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_covers(cases[i].from, cases[i].to, cases[i].breaks);
}

/* ---- Random schemas and documents ---- */

static uint64_t seed = 1;

static uint64_t below(uint64_t end)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % end;
}

static const char *pick(const char *const *texts, size_t count)
{
    return texts[below(count)];
}
#define PICK(...)                                                                                  \
    pick((const char *const[]){__VA_ARGS__},                                                       \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void put_schema(struct dbk_buf *out, unsigned depth);

static void put_list(struct dbk_buf *out, unsigned depth)
{
    uint64_t count = 1 + below(2);
    dbk_buf_append_char(out, '[');
    for (uint64_t i = 0; i < count; i++) {
        dbk_buf_append_text(out, i > 0 ? "," : "");
        put_schema(out, depth);
    }
    dbk_buf_append_char(out, ']');
}

static void put_members(struct dbk_buf *out, unsigned depth, const char *first, const char *second)
{
    dbk_buf_append_format(out, "{\"%s\":", first);
    put_schema(out, depth);
    if (below(2) == 0) {
        dbk_buf_append_format(out, ",\"%s\":", second);
        put_schema(out, depth);
    }
    dbk_buf_append_char(out, '}');
}

/* One keyword with its value; `which` so that none stands twice. */
static void put_keyword(struct dbk_buf *out, uint64_t which, unsigned depth)
{
    static const char *const names[] = {
        "type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
        "minLength", "maxLength", "pattern", "enum", "const", "minItems", "maxItems", "uniqueItems",
        "required", "minProperties", "maxProperties", "dependentRequired", "$ref",
        /* With schemas: */
        "properties", "additionalProperties", "patternProperties", "propertyNames", "items",
        "prefixItems", "contains", "minContains", "allOf", "anyOf", "oneOf", "not", "if", "then",
        "else", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems", "maxContains"};
    dbk_buf_append_format(out, "\"%s\":", names[which]);
    switch (which) {
    case 0:
        dbk_buf_append_text(out, PICK("\"integer\"", "\"number\"", "\"string\"", "\"object\"",
                                      "\"array\"", "[\"string\",\"null\"]",
                                      "[\"object\",\"integer\"]", "\"boolean\""));
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        dbk_buf_append_text(out, PICK("0", "1", "2", "0.5"));
        break;
    case 5:
        dbk_buf_append_text(out, PICK("1", "2", "0.5"));
        break;
    case 8:
        dbk_buf_append_text(out, PICK("\"^a\"", "\"b$\"", "\"a\""));
        break;
    case 9:
        dbk_buf_append_text(out, PICK("[1,2]", "[1,\"a\"]", "[null,\"ab\",{}]", "[[1],0]"));
        break;
    case 10:
        dbk_buf_append_text(out, PICK("1", "\"a\"", "null", "{\"a\":1}"));
        break;
    case 13:
        dbk_buf_append_text(out, "true");
        break;
    case 14:
        dbk_buf_append_text(out, PICK("[\"a\"]", "[\"a\",\"b\"]", "[\"c\"]"));
        break;
    case 17:
        dbk_buf_append_text(out, PICK("{\"a\":[\"b\"]}", "{\"c\":[\"a\",\"b\"]}"));
        break;
    case 18:
        dbk_buf_append_text(out, PICK("\"#/$defs/d\"", "\"#/$defs/e\""));
        break;
    case 19:
        put_members(out, depth, PICK("a", "b"), "c");
        break;
    case 21:
        put_members(out, depth, PICK("^a", "b"), "c");
        break;
    case 34:
        put_members(out, depth, "a", "b");
        break;
    case 24:
    case 27:
    case 28:
    case 29:
        put_list(out, depth);
        break;
    case 20:
    case 22:
    case 23:
    case 25:
    case 30:
    case 31:
    case 32:
    case 33:
    case 35:
    case 36:
        put_schema(out, depth);
        break;
    default:
        dbk_buf_append_text(out, PICK("0", "1", "2"));
        break;
    }
}
#define KEYWORDS 38
#define KEYWORDS_FLAT 19

static void put_schema(struct dbk_buf *out, unsigned depth)
{
    bool seen[KEYWORDS] = {false};
    uint64_t count = below(4);
    if (below(8) == 0) {
        dbk_buf_append_text(out, PICK("true", "false", "{}"));
        return;
    }
    dbk_buf_append_char(out, '{');
    bool first = true;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t which = below(depth == 0 ? KEYWORDS_FLAT - 1 : KEYWORDS);
        if (seen[which] || (which == 18 && depth < 2)) /* $ref above the definitions only */
            continue;
        seen[which] = true;
        dbk_buf_append_text(out, first ? "" : ",");
        put_keyword(out, which, depth == 0 ? 0 : depth - 1);
        first = false;
    }
    dbk_buf_append_char(out, '}');
}

/* A whole schema: {"allOf": [<schema>], "$defs": …}; the two draws can be had again by a seed. */
static void put_root(struct dbk_buf *out, uint64_t schema_seed, uint64_t other_seed)
{
    seed = schema_seed;
    dbk_buf_append_text(out, "{\"allOf\":[");
    put_schema(out, 2);
    dbk_buf_append_char(out, ',');
    seed = other_seed;
    put_schema(out, 2);
    dbk_buf_append_text(out, "],\"$defs\":{\"d\":");
    put_schema(out, 1);
    dbk_buf_append_text(out, ",\"e\":");
    put_schema(out, 0);
    dbk_buf_append_text(out, "}}");
}

static void put_document(struct dbk_buf *out, unsigned depth)
{
    uint64_t kind = below(depth == 0 ? 3 : 6);
    if (kind < 3) {
        dbk_buf_append_text(out,
                            PICK("0", "1", "2", "0.5", "-1", "3", "1.5", "null", "true", "false",
                                 "\"\"", "\"a\"", "\"ab\"", "\"b\"", "\"abc\"", "[]", "{}"));
        return;
    }
    bool object = kind > 3;
    uint64_t count = below(4);
    dbk_buf_append_char(out, object ? '{' : '[');
    for (uint64_t i = 0; i < count; i++) {
        static const char *const names[] = {"a", "b", "c", "ab"};
        dbk_buf_append_text(out, i > 0 ? "," : "");
        if (object)
            dbk_buf_append_format(out, "\"%s\":", names[i]);
        put_document(out, depth - 1);
    }
    dbk_buf_append_char(out, object ? '}' : ']');
}

struct document {
    struct dbk_slice text;
    const struct dbk_json_node *root;
};

static void make_documents(struct document *documents, struct dbk_arena *arena)
{
    struct dbk_error err = {0};
    struct dbk_buf text;
    struct dbk_json *json = dbk_json_create(1 << 20);
    dbk_buf_init(&text, 1 << 20);
    seed = 7;
    for (size_t i = 0; i < DOCUMENTS; i++) {
        const struct dbk_json_node *root = NULL;
        dbk_buf_reset(&text);
        put_document(&text, 3);
        documents[i].text = dbk_arena_copy(arena, dbk_buf_slice(&text));
        assert_ok(dbk_json_parse(json, documents[i].text, &root, &err), &err);
        assert_int_equal(dbk_json_keep(root, documents[i].text, arena, &documents[i].root), DBK_OK);
    }
    dbk_buf_release(&text);
    dbk_json_free(json);
}

/* How many of the documents show that it is not so. */
static size_t count_against(const struct both *both, const struct document *documents,
                            size_t *at_out)
{
    size_t against = 0;
    for (size_t i = 0; i < DOCUMENTS; i++) {
        const struct document *document = &documents[i];
        if (dbk_schema_validate(both->from, document->root, document->text, NULL) < 0 ||
            dbk_schema_validate(both->to, document->root, document->text, NULL) == DBK_OK)
            continue;
        against++;
        *at_out = i;
    }
    return against;
}

static void test_schema_compare__what_is_said_to_fit_fits(void **state)
{
    (void)state;
    static struct document documents[DOCUMENTS];
    struct dbk_arena arena;
    struct dbk_buf texts[2];
    size_t proven = 0;
    size_t shown = 0;
    dbk_arena_init(&arena, 1 << 26);
    make_documents(documents, &arena);
    for (size_t i = 0; i < 2; i++)
        dbk_buf_init(&texts[i], 1 << 20);
    for (uint64_t i = 0; i < PAIRS; i++) {
        struct both both;
        const struct dbk_schema_break *breaks = NULL;
        size_t count = 0;
        size_t at = 0;
        /* The second differs from the first in one of its halves, mostly. */
        dbk_buf_reset(&texts[0]);
        dbk_buf_reset(&texts[1]);
        put_root(&texts[0], 1000 + i, 2000000 + i);
        put_root(&texts[1], i % 3 == 0 ? 5000000 + i : 1000 + i,
                 i % 3 == 1 ? 5000000 + i : 2000000 + i);
        both_init(&both, dbk_buf_slice(&texts[0]), dbk_buf_slice(&texts[1]));
        int rc = dbk_schema_covers(both.from, both.to, &both.arena, &breaks, &count);
        assert_true(rc >= 0);
        assert_true(rc == 1 || count > 0);
        size_t against = count_against(&both, documents, &at);
        if (rc == 1 && against > 0)
            fail_msg("%.*s is said to be within %.*s, but for %.*s",
                     DBK_SLICE_ARGS(dbk_buf_slice(&texts[0])),
                     DBK_SLICE_ARGS(dbk_buf_slice(&texts[1])), DBK_SLICE_ARGS(documents[at].text));
        proven += rc == 1;
        shown += against > 0;
        if (i % 3 == 2) /* The same twice. */
            assert_int_equal(rc, 1);
        both_release(&both);
    }
    print_message("of %d pairs %zu are proven, %zu shown not to be so\n", PAIRS, proven, shown);
    assert_true(proven > PAIRS * 4 / 10 && shown > PAIRS / 10);
    dbk_buf_release(&texts[0]);
    dbk_buf_release(&texts[1]);
    dbk_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema_compare__a_break_names_path_and_keyword),
        cmocka_unit_test(test_schema_compare__what_is_said_to_fit_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
