/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema_test -- a type's file becomes versions, its faults have their places, and data that does
 * not fit is explained.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "schema/schema.h"

struct registry {
    struct dbk_schemas *schemas;
    struct dbk_diagnostics faults;
};

static void registry_init(struct registry *registry)
{
    registry->schemas = dbk_schemas_create();
    assert_non_null(registry->schemas);
    dbk_diagnostics_init(&registry->faults);
}

static void registry_release(struct registry *registry)
{
    dbk_schemas_free(registry->schemas);
    dbk_diagnostics_release(&registry->faults);
}

static void add(struct registry *registry, const char *type, const char *text)
{
    struct dbk_error err = {0};
    assert_ok(
        dbk_schemas_add(registry->schemas, type, "f", dbk_slice_of(text), &registry->faults, &err),
        &err);
}

static void finish(struct registry *registry)
{
    struct dbk_error err = {0};
    assert_ok(dbk_schemas_finish(registry->schemas, &registry->faults, &err), &err);
}

/* All faults as "line:column: what"; of warnings "warning: " stands before. */
static void assert_faults(const struct registry *registry, const char *expected)
{
    struct dbk_buf text;
    dbk_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < registry->faults.count; i++) {
        const struct dbk_diagnostic *item = &registry->faults.items[i];
        dbk_buf_append_format(&text, "%u:%u: %s%s", item->line, item->column,
                              item->warning ? "warning: " : "", item->what);
        dbk_buf_append_text(&text, strncmp(item->fix, "did you", 7) == 0 ? "; " : "");
        dbk_buf_append_text(&text, strncmp(item->fix, "did you", 7) == 0 ? item->fix : "");
        dbk_buf_append_char(&text, '\n');
    }
    dbk_buf_append_char(&text, '\0');
    assert_string_equal(text.data, expected);
    dbk_buf_release(&text);
}

/* The faults of a file whose version 1 has this schema. */
static void assert_schema_faults(const char *schema, const char *expected)
{
    struct registry registry;
    char text[4096];
    registry_init(&registry);
    (void)snprintf(text, sizeof(text), "{\"versions\": [{\"version\": 1, \"schema\":\n%s}]}",
                   schema);
    add(&registry, "T", text);
    finish(&registry);
    assert_faults(&registry, expected);
    assert_int_equal(dbk_schemas_count(registry.schemas), registry.faults.error_count == 0);
    registry_release(&registry);
}

static const struct dbk_schema *newest(const struct registry *registry)
{
    const struct dbk_schema *schema = dbk_schemas_newest(registry->schemas, DBK_SLICE_LITERAL("T"));
    assert_non_null(schema);
    return schema;
}

#define TWO_VERSIONS                                                                               \
    "{\n"                                                                                          \
    "  \"versions\": [\n"                                                                          \
    "    {\"version\": 1, \"schema\": {\"type\": \"object\"}},\n"                                  \
    "    {\"version\": 2,\n"                                                                       \
    "     \"upcast\": [{\"add\": \"currency\", \"value\": \"USD\"},\n"                             \
    "                {\"rename\": \"a.b\", \"to\": \"a.c\"}, {\"remove\": \"d\"},\n"               \
    "                {\"convert\": \"e\", \"to\": \"integer\"}],\n"                                \
    "     \"schema\": {\"type\": \"object\", \"x-subject\": \"customer.id\",\n"                    \
    "        \"x-tags\": [\"customer:{customer.id}\", \"all\", \"{amount}/{currency}\"],\n"        \
    "        \"properties\": {\"amount\": {\"type\": \"integer\"},\n"                              \
    "           \"currency\": {\"type\": \"string\"},\n"                                           \
    "           \"customer\": {\"properties\": {\"id\": {\"type\": \"string\"},\n"                 \
    "               \"name\": {\"x-personal\": true}}},\n"                                         \
    "           \"lines\": {\"items\": {\"$ref\": \"#/$defs/line\"}}},\n"                          \
    "        \"$defs\": {\"line\": {\"properties\": {\"note\": {\"x-personal\": true}}}}}}\n"      \
    "  ]\n"                                                                                        \
    "}\n"

static void test_schema_schema__versions_and_what_becomes_of_them(void **state)
{
    (void)state;
    struct registry registry;
    size_t count = 0;
    registry_init(&registry);
    add(&registry, "T", TWO_VERSIONS);
    finish(&registry);
    assert_faults(&registry, "");
    const struct dbk_schema *schema = newest(&registry);
    assert_int_equal(dbk_schema_version(schema), 2);
    assert_slice_equal(dbk_schema_type(schema), "T");
    assert_ptr_equal(dbk_schemas_find(registry.schemas, DBK_SLICE_LITERAL("T"), 2), schema);
    assert_non_null(dbk_schemas_find(registry.schemas, DBK_SLICE_LITERAL("T"), 1));
    assert_null(dbk_schemas_find(registry.schemas, DBK_SLICE_LITERAL("T"), 0));
    assert_null(dbk_schemas_find(registry.schemas, DBK_SLICE_LITERAL("T"), 3));
    assert_null(dbk_schemas_newest(registry.schemas, DBK_SLICE_LITERAL("U")));

    const struct dbk_upcast_step *steps = dbk_schema_upcast(schema, &count);
    assert_int_equal(count, 4);
    assert_int_equal(steps[0].kind, DBK_UPCAST_ADD);
    assert_slice_equal(steps[0].path.text, "currency");
    assert_slice_equal(steps[0].value->text, "USD");
    assert_int_equal(steps[0].line, 5);
    assert_int_equal(steps[1].kind, DBK_UPCAST_RENAME);
    assert_int_equal(steps[1].path.count, 2);
    assert_slice_equal(steps[1].path.steps[1].key, "b");
    assert_slice_equal(steps[1].to.text, "a.c");
    assert_int_equal(steps[2].kind, DBK_UPCAST_REMOVE);
    assert_int_equal(steps[3].kind, DBK_UPCAST_CONVERT);
    assert_int_equal(steps[3].type, DBK_UPCAST_INTEGER);
    assert_null(dbk_schema_script(schema));

    const struct dbk_schema_path *personal = dbk_schema_personal(schema, &count);
    assert_int_equal(count, 2);
    assert_slice_equal(personal[0].text, "customer.name");
    assert_slice_equal(personal[1].text, "lines[].note");
    assert_int_equal(personal[1].count, 3);
    assert_null(personal[1].steps[1].key.data);
    assert_slice_equal(personal[1].steps[2].key, "note");
    assert_slice_equal(dbk_schema_subject(schema)->text, "customer.id");
    registry_release(&registry);
}

static void test_schema_schema__faults_of_a_file_have_their_places(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *faults;
    } cases[] = {
        {"", "1:1: a value was expected and nothing is there\n"},
        {"{\"versions\": [}", "1:15: a comma, colon, bracket or value was expected\n"},
        {"{\"a\": 1,\n \"a\": 2}", "2:2: a key stands twice in one object: a\n"},
        {"[]", "1:1: the file is no object\n"},
        {"{\"version\": []}",
         "1:2: unknown key `version`; did you mean `versions`?\n1:1: `versions` is missing\n"},
        {"{\"versions\": []}", "1:14: `versions` is no list of at least one version\n"},
        {"{\"versions\": [1]}", "1:15: a version is no object\n"},
        {"{\"versions\": [{\"version\": 2, \"schema\": {}}]}",
         "1:27: \"version\": 1 is expected here\n"},
        {"{\"versions\": [{\"schema\": {}}]}", "1:15: \"version\": 1 is expected here\n"},
        {"{\"versions\": [{\"version\": 1}]}", "1:15: the version has no `schema`\n"},
        {"{\"versions\": [{\"version\": 1, \"shema\": {}, \"schema\": {}}]}",
         "1:30: unknown key `shema`; did you mean `schema`?\n"},
        {"{\"versions\": [{\"version\": 1, \"schema\": {}, \"upcast\": []}]}",
         "1:54: nothing becomes version 1\n"},
        {"{\"versions\": [{\"version\": 1, \"schema\": {}},\n{\"version\": 2, \"schema\": true}]}",
         "2:1: nothing says how version 1 becomes version 2\n"},
        {"{\"versions\": [{\"version\": 1, \"schema\": {\"type\": [\"null\"]}},\n"
         "{\"version\": 2, \"schema\": { \"type\" : [\"null\"] }}]}",
         ""},
#define STEPS(steps)                                                                               \
    "{\"versions\": [{\"version\": 1, \"schema\": {}}, {\"version\": 2, \"schema\": true,\n"       \
    "\"upcast\": [" steps "]}]}"
        {STEPS("1"), "2:12: a step is an object that says what it does\n"},
        {STEPS("{}"), "2:12: a step is an object that says what it does\n"},
        {STEPS("{\"ad\": 1}"), "2:13: there is no step `ad`; did you mean `add`?\n"},
        {STEPS("{\"add\": \"a\"}"), "2:12: a member of the step is missing\n"},
        {STEPS("{\"add\": \"a\", \"valu\": 1}"), "2:25: there is no step `valu`\n"},
        {STEPS("{\"add\": \"a\", \"rename\": \"b\"}"), "2:25: there is no step `rename`\n"},
        {STEPS("{\"remove\": \"a..b\"}"), "2:23: this names no field\n"},
        {STEPS("{\"remove\": \"a[]\"}"),
         "2:12: version 2: the path \"a[]\" must end with a name\n"},
        {STEPS("{\"remove\": \"a[0].b\"}"), "2:23: this names no field\n"},
        {STEPS("{\"add\": \"a\", \"value\": \"x\"}, {\"convert\": \"a\", \"to\": \"integer\"}"),
         "2:40: version 2: a: \"x\" cannot become an integer, as added by an earlier version\n"},
        {STEPS("{\"remove\": 5}"), "2:23: this names no field\n"},
        {STEPS("{\"convert\": \"a\", \"to\": \"int\"}"),
         "2:35: there is no type to convert to `int`\n"},
        {STEPS("{\"convert\": \"a\", \"to\": \"strin\"}"),
         "2:35: there is no type to convert to `strin`; did you mean `string`?\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct registry registry;
        registry_init(&registry);
        add(&registry, "T", cases[i].text);
        finish(&registry);
        assert_faults(&registry, cases[i].faults);
        registry_release(&registry);
    }
}

static void test_schema_schema__scripts_stand_for_steps(void **state)
{
    (void)state;
    static const char two[] = "{\"versions\": [{\"version\": 1, \"schema\": {}},\n"
                              "{\"version\": 2, \"schema\": true}]}";
    const struct dbk_slice lua = DBK_SLICE_LITERAL("return 1");
    struct registry registry;
    registry_init(&registry);
    add(&registry, "T", two);
    assert_int_equal(dbk_schemas_add_script(registry.schemas, "T", 2, "l", lua), DBK_OK);
    finish(&registry);
    assert_faults(&registry, "");
    assert_string_equal(dbk_schema_script(newest(&registry))->file, "l");
    uint8_t with_script[DBK_SCHEMA_FINGERPRINT_SIZE];
    uint8_t none[DBK_SCHEMA_FINGERPRINT_SIZE] = {0};
    uint8_t other[DBK_SCHEMA_FINGERPRINT_SIZE];
    dbk_schemas_fingerprint(registry.schemas, DBK_SLICE_LITERAL("T"), with_script);
    assert_memory_not_equal(with_script, none, sizeof(none));
    dbk_schemas_fingerprint(registry.schemas, DBK_SLICE_LITERAL("U"), other);
    assert_memory_equal(other, none, sizeof(none));
    registry_release(&registry);

    registry_init(&registry);
    add(&registry, "T", TWO_VERSIONS);
    assert_int_equal(dbk_schemas_add_script(registry.schemas, "T", 2, "l", lua), DBK_OK);
    assert_int_equal(dbk_schemas_add_script(registry.schemas, "T", 3, "l", lua), DBK_OK);
    assert_int_equal(dbk_schemas_add_script(registry.schemas, "U", 2, "l", lua), DBK_OK);
    finish(&registry);
    assert_faults(&registry, "0:0: version 2 of `T` has an `upcast`, too\n"
                             "0:0: `T` has no version 3\n"
                             "0:0: the type `U` is not declared\n");
    registry_release(&registry);
}

static void test_schema_schema__faults_of_keywords(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        const char *faults;
    } cases[] = {
        {"5", "2:1: a schema is a whole number, where an object, true or false is expected\n"},
        {"{\"propertys\": {}}", "2:2: unknown keyword `propertys`; did you mean `properties`?\n"},
        {"{\"x-persnal\": true}", "2:2: unknown keyword `x-persnal`; did you mean `x-personal`?\n"},
        {"{\"$dynamicRef\": \"#a\"}", "2:2: unknown keyword `$dynamicRef`\n"},
        {"{\"$schema\": \"http://json-schema.org/draft-07/schema#\"}",
         "2:13: `$schema` names another draft than 2020-12\n"},
        {"{\"type\": \"strin\"}", "2:10: there is no type `strin`; did you mean `string`?\n"},
        {"{\"type\": [\"string\", 5]}",
         "2:21: a type is a whole number, where its name is expected\n"},
        {"{\"type\": []}",
         "2:10: `type` is a list, where a type, or a list of at least one is expected\n"},
        {"{\"enum\": []}",
         "2:10: `enum` is a list, where a list of at least one value is expected\n"},
        {"{\"minimum\": \"1\"}", "2:13: `minimum` is a text, where a number is expected\n"},
        {"{\"multipleOf\": 0}",
         "2:16: `multipleOf` is a whole number, where a number above 0 is expected\n"},
        {"{\"minLength\": -1}",
         "2:15: `minLength` is a whole number, where a whole number of at least 0 is expected\n"},
        {"{\"required\": [\"a\", \"a\"]}", "2:20: `a` stands twice\n"},
        {"{\"pattern\": \"a(b\"}",
         "2:13: this is no pattern: at its byte 3: missing closing parenthesis\n"},
        {"{\"items\": [{}]}", "2:11: `items` is a list, where one schema is expected\n"},
        {"{\"allOf\": []}",
         "2:11: `allOf` is a list, where a list of at least one schema is expected\n"},
        {"{\"properties\": {\"a\": {\"minimun\": 1}}}",
         "2:23: unknown keyword `minimun`; did you mean `minimum`?\n"},
        {"{\"format\": \"date-tim\"}",
         "2:12: warning: the format `date-tim` is not checked; did you mean `date-time`?\n"},
        {"{\"then\": {}}", "2:2: warning: `then` does nothing without `if`\n"},
        {"{\"$ref\": \"other.json\"}",
         "2:10: `$ref` names a schema elsewhere: only those of this version can be\n"},
        {"{\"$ref\": \"#/$defs/lne\", \"$defs\": {\"line\": {}}}",
         "2:10: `#/$defs/lne` is no schema of this version; did you mean `#/$defs/line`?\n"},
        {"{\"$ref\": \"#/default\", \"default\": {}}",
         "2:10: `#/default` is no schema of this version\n"},
        {"{\"$ref\": \"#\"}", "2:1: the schema at `#` leads back to itself\n"},
        {"{\"allOf\": [{\"$ref\": \"#/$defs/a\"}], \"$defs\": {\"a\":\n{\"not\": {\"$ref\": "
         "\"#\"}}}}",
         "2:1: the schema at `#` leads back to itself\n"},
        {"{\"items\": {\"$ref\": \"#\"}}", ""},
        {"{\"additionalProperties\": {\"$ref\": \"#/$defs/a%25~1\"}, \"$defs\": {\"a%/\": {}}}",
         ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_schema_faults(cases[i].schema, cases[i].faults);
}

static void test_schema_schema__personal_fields_have_paths_or_are_refused(void **state)
{
    (void)state;
#define NAME "\"name\": {\"type\": \"string\", \"x-personal\": true}"
#define ID "\"id\": {\"type\": \"string\"}"
    static const struct {
        const char *schema;
        const char *faults;
    } cases[] = {
        {"{\"properties\": {" NAME "}}",
         "2:1: there are personal fields, and `x-subject` is missing\n"},
        {"{\"x-subject\": \"id\", \"properties\": {" ID ", " NAME "}}", ""},
        {"{\"x-subject\": \"ide\", \"properties\": {" ID ", " NAME "}}",
         "2:15: `ide` is no field of this version; did you mean `id`?\n"},
        {"{\"x-subject\": \"name\", \"properties\": {" ID ", " NAME "}}",
         "2:15: `name` is personal\n"},
        {"{\"x-subject\": \"name.first\", \"properties\": {\"name\": {\"x-personal\": true,"
         "\"properties\": {\"first\": {\"type\": \"string\"}}}}}",
         "2:15: `name.first` is personal\n"},
        {"{\"x-subject\": \"id\", \"properties\": {\"id\": {}, " NAME "}}",
         "2:15: `id` may be no text and no whole number\n"},
        {"{\"x-subject\": \"id\", \"x-tags\": [\"a:{name}\"], \"properties\": {" ID ", " NAME "}}",
         "2:32: `name` is personal\n"},
        {"{\"x-tags\": [\"a:{b}\"], \"properties\": {\"b\": {\"type\": \"array\"}}}",
         "2:13: `b` may be no text, number or boolean\n"},
        {"{\"x-tags\": [\"a:{b\"]}", "2:13: a brace of a tag has no partner\n"},
        {"{\"x-tags\": [\"a:}b{\"]}", "2:13: a brace of a tag has no partner\n"},
        {"{\"x-tags\": [\"a:{}\"]}", "2:13: \"\" names no field\n"},
        {"{\"x-tags\": [\"$a\"]}", "2:13: tags that begin with `$` are the book's own\n"},
        {"{\"x-tags\": [\"\"]}", "2:13: a tag is no text, or an empty one\n"},
        {"{\"x-personal\": true, \"x-subject\": \"a\"}",
         "2:2: `x-personal` makes the whole of the data personal\n"
         "2:35: `a` is no field of this version\n"},
        {"{\"additionalProperties\": {\"x-personal\": true}}",
         "2:27: no path leads to this personal field\n"},
        {"{\"x-subject\": \"id\", \"properties\": {" ID ", \"a.b\": {\"x-personal\": true}}}",
         "2:70: a personal field's name is empty or holds a dot or a bracket\n"},
        {"{\"x-subject\": \"id\", \"properties\": {" ID ", \"a\": {\"x-personal\": true,"
         "\"properties\": {\"b\": {\"x-personal\": true}}}}}",
         "2:108: `x-personal` stands within a personal field\n"},
        {"{\"x-subject\": \"id\", \"properties\": {" ID ", " NAME
         ", \"children\": {\"items\": {\"$ref\": \"#\"}}}}",
         "2:1: a schema that holds itself has personal fields\n"},
        {"{\"properties\": {\"a\": {\"x-subject\": \"b\"}}}",
         "2:23: `x-subject` stands within a field's schema\n"},
        {"{\"x-subject\": \"id\", \"properties\": {" ID "}, \"oneOf\": [{\"properties\": {" NAME
         "}}, {\"properties\": {\"name\": {\"properties\": {\"x\": {\"x-personal\": true}}}}}]}",
         ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_schema_faults(cases[i].schema, cases[i].faults);
}

/* What a version-1 schema says about data; "" when it fits. */
static void assert_says(const char *schema, const char *data, const char *expected)
{
    struct registry registry;
    struct dbk_error err = {0};
    const struct dbk_json_node *root = NULL;
    char text[4096];
    struct dbk_json *json = dbk_json_create(1 << 20);
    registry_init(&registry);
    (void)snprintf(text, sizeof(text), "{\"versions\": [{\"version\": 1, \"schema\": %s}]}",
                   schema);
    add(&registry, "T", text);
    finish(&registry);
    assert_faults(&registry, "");
    assert_ok(dbk_json_parse(json, dbk_slice_of(data), &root, &err), &err);
    int rc = dbk_schema_validate(newest(&registry), root, dbk_slice_of(data), &err);
    assert_int_equal(rc, *expected == '\0' ? DBK_OK : DBK_EINVAL);
    assert_string_equal(err.message, expected);
    dbk_json_free(json);
    registry_release(&registry);
}

/* What stands for a forgotten field fits where it was carried over, and only there. */
static void test_schema_schema__forgotten_fields_fit_where_they_are_carried(void **state)
{
    (void)state;
#define MARK "{\"$forgotten\": \"00\"}"
    static const struct {
        const char *data;
        bool fits;
    } cases[] = {
        {"{\"id\": \"7\", \"name\": " MARK "}", true},
        {"{\"id\": \"7\", \"name\": " MARK ", \"lines\": [{\"n\": 1, \"note\": " MARK "}]}", true},
        {"{\"id\": \"7\", \"name\": " MARK ", \"lines\": [{\"note\": " MARK "}]}", false},
        {"{\"id\": 7, \"name\": " MARK "}", false},
        {"{\"id\": \"7\"}", false},
        {"{\"id\": \"7\", \"name\": {\"$forgotten\": \"00\", \"x\": 1}}", false},
        {"{\"id\": \"7\", \"name\": {\"forgotten\": \"00\"}}", false},
    };
    struct registry registry;
    registry_init(&registry);
    add(&registry, "T",
        "{\"versions\": [{\"version\": 1, \"schema\": {\"x-subject\": \"id\", \"required\": "
        "[\"name\"], \"properties\": {\"id\": {\"type\": \"string\"}, \"name\": {\"type\": "
        "\"string\", \"minLength\": 1, \"x-personal\": true}, \"lines\": {\"items\": "
        "{\"required\": [\"n\"], \"properties\": {\"note\": {\"enum\": [\"a\"], \"x-personal\": "
        "true}}}}}}}]}");
    finish(&registry);
    assert_faults(&registry, "");
    struct dbk_json *json = dbk_json_create(1 << 20);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct dbk_json_node *root = NULL;
        const struct dbk_slice text = dbk_slice_of(cases[i].data);
        struct dbk_error err = {0};
        assert_ok(dbk_json_parse(json, text, &root, &err), &err);
        assert_int_equal(dbk_schema_validate_carried(newest(&registry), root, text, NULL),
                         cases[i].fits ? DBK_OK : DBK_EINVAL);
        assert_int_equal(dbk_schema_validate(newest(&registry), root, text, NULL), DBK_EINVAL);
    }
    dbk_json_free(json);
    registry_release(&registry);
#undef MARK
}

static void test_schema_schema__what_does_not_fit_is_explained(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        const char *data;
        const char *says;
    } cases[] = {
        {"{\"type\": \"object\"}", "\n [1, 2]",
         "line 2, column 2: $: expected an object, got a list of 2"},
        {"{\"type\": [\"string\", \"null\", \"number\"]}", "true",
         "line 1, column 1: $: expected a text, a number or null, got true"},
        {"{\"properties\": {\"a b\": {\"items\": {\"minimum\": 0}}}}",
         "{\"x\": 1,\n  \"a b\": [1, -0.5]}",
         "line 2, column 14: $[\"a b\"][1]: expected a number of at least 0, got -0.5"},
        {"{\"properties\": {\"amount\": {}}, \"additionalProperties\": false}", "{\"amuont\": 1}",
         "line 1, column 12: $.amuont: no field of this name is expected: did you mean `amount`?"},
        {"{\"required\": [\"a\"], \"properties\": {\"a\": {\"type\": \"integer\"}}}", "{}",
         "line 1, column 1: $: the field `a` is missing: expected a whole number"},
        {"{\"enum\": [\"USD\", 5, null]}", "\"EUR\"",
         "line 1, column 1: $: expected one of \"USD\", 5, null, got \"EUR\""},
        {"{\"const\": {\"a\": 1}}", "{\"a\": 2}",
         "line 1, column 1: $: expected {\"a\": 1}, got an object of 1"},
        {"{\"multipleOf\": 0.01}", "0.305",
         "line 1, column 1: $: expected a multiple of 0.01, got 0.305"},
        {"{\"exclusiveMaximum\": 10}", "10.0",
         "line 1, column 1: $: expected a number below 10, got 10.0"},
        {"{\"minLength\": 2}", "\"\xC3\xA4\"",
         "line 1, column 1: $: expected a text of at least 2 characters, got \"\xC3\xA4\""},
        {"{\"pattern\": \"^a+$\"}", "\"b\"",
         "line 1, column 1: $: expected a text that matches ^a+$, got \"b\""},
        {"{\"format\": \"uuid\"}", "\"b\"",
         "line 1, column 1: $: expected a text of the format uuid, got \"b\""},
        {"{\"uniqueItems\": true}", "[1, \"a\", 1.0]",
         "line 1, column 10: $[2]: expected an element that is not in the list already, got 1.0"},
        {"{\"contains\": {\"const\": 1}, \"minContains\": 2}", "[1, 2]",
         "line 1, column 1: $: expected a list with at least 2 elements that `contains` "
         "describes, got a list of 2"},
        {"{\"propertyNames\": {\"maxLength\": 2}}", "{\"abc\": 1}",
         "line 1, column 9: $.abc: its name: expected a text of at most 2 characters, got abc"},
        {"{\"anyOf\": [{\"type\": \"string\"}, {\"properties\": {\"a\": {\"type\": \"null\"}}}]}",
         "{\"a\": 1}", "line 1, column 7: $.a: expected null, got 1"},
        {"{\"oneOf\": [{\"minimum\": 1}, {\"maximum\": 5}]}", "3",
         "line 1, column 1: $: expected what exactly one of the 2 schemas of `oneOf` allows, got "
         "3, which more than one allows"},
        {"{\"not\": {\"type\": \"null\"}}", "null",
         "line 1, column 1: $: expected what the schema of `not` does not allow, got null"},
        {"{\"prefixItems\": [true], \"unevaluatedItems\": false}", "[1, 2]",
         "line 1, column 5: $[1]: no further element is expected"},
        {"{\"dependentRequired\": {\"a\": [\"b\"]}}", "{\"a\": 1}",
         "line 1, column 1: $: the field `b` is missing"},
        {"{\"properties\": {\"a\": false}}", "{\"a\": 1}",
         "line 1, column 7: $.a: expected nothing, got 1"},
        /* Of what is personal no value goes into a message. */
        {"{\"x-subject\": \"i\", \"properties\": {\"i\": {\"type\": \"string\"}, \"l\": "
         "{\"items\": "
         "{\"properties\": {\"n\": {\"x-personal\": true, \"type\": [\"integer\", \"array\"], "
         "\"items\": {\"type\": \"null\"}}}}}}}",
         "{\"l\": [{\"n\": [\"secret\"]}]}",
         "line 1, column 15: $.l[0].n[0]: expected null, got a text"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_says(cases[i].schema, cases[i].data, cases[i].says);
}

static void test_schema_schema__tags_are_made_of_fields(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        const char *tags; /* joined by spaces; or the message */
    } cases[] = {
        {"{\"customer\": {\"id\": \"7\"}, \"amount\": 5, \"currency\": \"EUR\"}",
         "customer:7 all 5/EUR"},
        {"{\"customer\": {\"id\": null}, \"amount\": 5.5}", "all"},
        {"{}", "all"},
        {"[]", "all"},
        {"{\"amount\": true, \"currency\": \"\"}", "all true/"},
        {"{\"amount\": \"$\", \"currency\": \"\"}",
         "the tag \"{amount}/{currency}\" begins with `$`, as the book's own do"},
        {"{\"amount\": \"a\\nb\", \"currency\": \"\"}",
         "the tag \"{amount}/{currency}\" holds a control character"},
        {"{\"amount\": [], \"currency\": \"\"}",
         "the tag \"{amount}/{currency}\": its field `amount` is a list"},
    };
    struct registry registry;
    struct dbk_arena arena;
    struct dbk_json *json = dbk_json_create(1 << 20);
    registry_init(&registry);
    dbk_arena_init(&arena, 1 << 20);
    add(&registry, "T", TWO_VERSIONS);
    finish(&registry);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_error err = {0};
        const struct dbk_json_node *root = NULL;
        const struct dbk_slice *tags = NULL;
        size_t count = 0;
        char joined[1024] = "";
        assert_ok(dbk_json_parse(json, dbk_slice_of(cases[i].data), &root, &err), &err);
        int rc = dbk_schema_tags(newest(&registry), root, &arena, &tags, &count, &err);
        for (size_t j = 0; j < count; j++) {
            size_t used = strlen(joined);
            (void)snprintf(joined + used, sizeof(joined) - used, "%s%.*s", j == 0 ? "" : " ",
                           DBK_SLICE_ARGS(tags[j]));
        }
        assert_string_equal(rc < 0 ? err.message : joined, cases[i].tags);
    }
    dbk_arena_release(&arena);
    dbk_json_free(json);
    registry_release(&registry);
}

/* A pattern that tries again and again, and branches within branches, end with a named error. */
static void test_schema_schema__hostile_data_is_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        const char *data;
        const char *says;
    } cases[] = {
        {"{\"pattern\": \"^(a|a)*b$\"}", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabx\"",
         "line 1, column 1: $: matching a pattern takes too many steps"},
        {"{\"anyOf\": [{\"items\": {\"$ref\": \"#\"}, \"maxItems\": 1}, {\"items\": {\"$ref\": "
         "\"#\"}, "
         "\"maxItems\": 1}], \"not\": {\"const\": 1}}",
         "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
         "version 1 of its schema needs more than 2000000 checks, or 1000 within each other: "
         "simplify it"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct registry registry;
        struct dbk_error err = {0};
        const struct dbk_json_node *root = NULL;
        char text[4096];
        struct dbk_json *json = dbk_json_create(1 << 20);
        registry_init(&registry);
        (void)snprintf(text, sizeof(text), "{\"versions\": [{\"version\": 1, \"schema\": %s}]}",
                       cases[i].schema);
        add(&registry, "T", text);
        finish(&registry);
        assert_faults(&registry, "");
        struct dbk_slice data = dbk_slice_of(cases[i].data);
        assert_ok(dbk_json_parse(json, data, &root, &err), &err);
        assert_int_equal(dbk_schema_validate(newest(&registry), root, data, &err), DBK_ELIMIT);
        assert_string_equal(err.message, cases[i].says);
        dbk_json_free(json);
        registry_release(&registry);
    }
}

/* Schemas that name each other in very many ways neither hang nor overflow the stack. */
static void test_schema_schema__hostile_schemas_are_bounded(void **state)
{
    (void)state;
    struct dbk_buf text;
    struct registry registry;
    dbk_buf_init(&text, 1 << 20);
    dbk_buf_append_text(&text,
                        "{\"versions\": [{\"version\": 1, \"schema\": {\"$ref\": \"#/$defs/a0\", "
                        "\"$defs\": {");
    for (unsigned i = 0; i < 60; i++)
        dbk_buf_append_format(&text,
                              "\"a%u\": {\"properties\": {\"x\": {\"$ref\": \"#/$defs/a%u\"}, "
                              "\"y\": {\"$ref\": \"#/$defs/a%u\"}}},",
                              i, i + 1, i + 1);
    dbk_buf_append_text(&text, "\"a60\": {\"properties\": {\"z\": {\"x-personal\": true}}}}}}]}");
    dbk_buf_append_char(&text, '\0');
    registry_init(&registry);
    add(&registry, "T", text.data);
    assert_int_equal(registry.faults.error_count, 1);
    assert_string_equal(registry.faults.items[0].what,
                        "the schema has too many personal fields, or ways to them");
    registry_release(&registry);

    /* A chain of references longer than any stack, in either order. */
    for (int down = 0; down < 2; down++) {
        dbk_buf_reset(&text);
        dbk_buf_append_text(&text, "{\"versions\": [{\"version\": 1, \"schema\": "
                                   "{\"$ref\": \"#/$defs/a0\", \"$defs\": {");
        for (int i = 0; i < 9000; i++) {
            int at = down ? 8999 - i : i;
            dbk_buf_append_format(&text, "\"a%d\": {\"$ref\": \"#/$defs/a%d\"},", at, at + 1);
        }
        dbk_buf_append_text(&text, "\"a9000\": {}}}}]}");
        dbk_buf_append_char(&text, '\0');
        registry_init(&registry);
        add(&registry, "T", text.data);
        assert_int_equal(registry.faults.error_count, 1);
        assert_string_equal(registry.faults.items[0].what,
                            "more than 200 schemas apply to one value, each by the next");
        registry_release(&registry);
    }
    dbk_buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema_schema__versions_and_what_becomes_of_them),
        cmocka_unit_test(test_schema_schema__faults_of_a_file_have_their_places),
        cmocka_unit_test(test_schema_schema__scripts_stand_for_steps),
        cmocka_unit_test(test_schema_schema__faults_of_keywords),
        cmocka_unit_test(test_schema_schema__personal_fields_have_paths_or_are_refused),
        cmocka_unit_test(test_schema_schema__forgotten_fields_fit_where_they_are_carried),
        cmocka_unit_test(test_schema_schema__what_does_not_fit_is_explained),
        cmocka_unit_test(test_schema_schema__tags_are_made_of_fields),
        cmocka_unit_test(test_schema_schema__hostile_data_is_bounded),
        cmocka_unit_test(test_schema_schema__hostile_schemas_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
