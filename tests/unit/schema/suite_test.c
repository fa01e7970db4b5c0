/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suite_test -- the JSON Schema Test Suite, draft 2020-12, as Debian packages it.
 *
 * Every group of every file is put through the reader and the validator. A group that is left out
 * is named below with its reason; one that passes though it is left out is a failure, too, so that
 * the list stays true. docs/schemas.md says the same in words.
 *
 * The suite comes with libtest-json-schema-acceptance-perl (Debian's json-schema-test-suite ends
 * with draft 7); JSON_SCHEMA_TEST_SUITE names another folder of draft2020-12.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "os/os.h"
#include "schema/schema.h"

#define SUITE "/usr/share/perl5/auto/share/dist/Test-JSON-Schema-Acceptance/tests/draft2020-12"

/* Why a group is left out. */
#define REMOTE "names a schema outside of the version's own"
#define ID "$id and $anchor are not understood: $ref goes by JSON pointer"
#define DYNAMIC "$dynamicRef is not understood, and most need $id"
#define VOCABULARY "needs a metaschema of its own"
#define CONTENT "content… checks nothing by default, and is refused"
#define DRAFT7 "a keyword of draft 7, which is refused"
#define UNKNOWN "an unknown keyword is refused"
#define NUMBERS "has numbers that cannot be read exactly"
#define PATTERN "PCRE2 differs: \\s is of ASCII, \\p knows short names only"
#define FORMAT "the format is not checked, of which the reader warns"

static const struct excluded {
    const char *file;
    const char *group; /* "": the file itself */
    const char *reason;
} excluded[] = {
    {"anchor.json", "$anchor inside an enum is not a real identifier", ID},
    {"anchor.json", "Location-independent identifier", ID},
    {"anchor.json", "Location-independent identifier with absolute URI", ID},
    {"anchor.json", "Location-independent identifier with base URI change in subschema", ID},
    {"anchor.json", "invalid anchors", REMOTE},
    {"anchor.json", "same $anchor with different base uri", ID},
    {"content.json", "validation of binary string-encoding", CONTENT},
    {"content.json", "validation of binary-encoded media type documents", CONTENT},
    {"content.json", "validation of binary-encoded media type documents with schema", CONTENT},
    {"content.json", "validation of string-encoded content based on media type", CONTENT},
    {"defs.json", "validate definition against metaschema", REMOTE},
    {"dynamicRef.json", "$ref and $dynamicAnchor are independent of order - $defs first", DYNAMIC},
    {"dynamicRef.json", "$ref and $dynamicAnchor are independent of order - $ref first", DYNAMIC},
    {"dynamicRef.json",
     "A $dynamicRef resolves to the first $dynamicAnchor still in scope that is encountered when "
     "the schema is evaluated",
     DYNAMIC},
    {"dynamicRef.json",
     "A $dynamicRef that initially resolves to a schema with a matching $dynamicAnchor resolves to "
     "the first $dynamicAnchor in the dynamic scope",
     DYNAMIC},
    {"dynamicRef.json",
     "A $dynamicRef that initially resolves to a schema without a matching $dynamicAnchor behaves "
     "like a normal $ref to $anchor",
     DYNAMIC},
    {"dynamicRef.json",
     "A $dynamicRef to a $dynamicAnchor in the same schema resource behaves like a normal $ref to "
     "an $anchor",
     DYNAMIC},
    {"dynamicRef.json",
     "A $dynamicRef to an $anchor in the same schema resource behaves like a normal $ref to an "
     "$anchor",
     DYNAMIC},
    {"dynamicRef.json",
     "A $dynamicRef with a non-matching $dynamicAnchor in the same schema resource behaves like a "
     "normal $ref to $anchor",
     DYNAMIC},
    {"dynamicRef.json",
     "A $dynamicRef with intermediate scopes that don't include a matching $dynamicAnchor does not "
     "affect dynamic scope resolution",
     DYNAMIC},
    {"dynamicRef.json",
     "A $dynamicRef without a matching $dynamicAnchor in the same schema resource behaves like a "
     "normal $ref to $anchor",
     DYNAMIC},
    {"dynamicRef.json", "A $dynamicRef without anchor in fragment behaves identical to $ref",
     DYNAMIC},
    {"dynamicRef.json",
     "A $ref to a $dynamicAnchor in the same schema resource behaves like a normal $ref to an "
     "$anchor",
     DYNAMIC},
    {"dynamicRef.json",
     "An $anchor with the same name as a $dynamicAnchor is not used for dynamic scope resolution",
     DYNAMIC},
    {"dynamicRef.json", "after leaving a dynamic scope, it is not used by a $dynamicRef", DYNAMIC},
    {"dynamicRef.json", "multiple dynamic paths to the $dynamicRef keyword", DYNAMIC},
    {"dynamicRef.json", "strict-tree schema, guards against misspelled properties", DYNAMIC},
    {"dynamicRef.json", "tests for implementation dynamic anchor and reference link", DYNAMIC},
    {"id.json", "$id inside an enum is not a real identifier", ID},
    {"id.json", "Invalid use of fragments in location-independent $id", REMOTE},
    {"id.json", "Unnormalized $ids are allowed but discouraged", REMOTE},
    {"id.json", "Valid use of empty fragments in location-independent $id", REMOTE},
    {"optional/bignum.json", "", NUMBERS},
    {"optional/cross-draft.json", "refs to historic drafts are processed as historic drafts",
     REMOTE},
    {"optional/dependencies-compatibility.json", "boolean subschemas", DRAFT7},
    {"optional/dependencies-compatibility.json", "dependencies with escaped characters", DRAFT7},
    {"optional/dependencies-compatibility.json", "empty dependents", DRAFT7},
    {"optional/dependencies-compatibility.json", "multiple dependents required", DRAFT7},
    {"optional/dependencies-compatibility.json", "schema dependencies with escaped characters",
     DRAFT7},
    {"optional/dependencies-compatibility.json", "single dependency", DRAFT7},
    {"optional/dependencies-compatibility.json", "single schema dependency", DRAFT7},
    {"optional/ecmascript-regex.json", "ECMA 262 \\S matches everything but whitespace", PATTERN},
    {"optional/ecmascript-regex.json", "ECMA 262 \\s matches whitespace", PATTERN},
    {"optional/ecmascript-regex.json", "\\a is not an ECMA 262 control escape", REMOTE},
    {"optional/ecmascript-regex.json", "pattern with non-ASCII digits", PATTERN},
    {"optional/ecmascript-regex.json", "patternProperties with non-ASCII digits", PATTERN},
    {"optional/ecmascript-regex.json", "patterns always use unicode semantics with pattern",
     PATTERN},
    {"optional/ecmascript-regex.json",
     "patterns always use unicode semantics with patternProperties", PATTERN},
    {"optional/format-assertion.json",
     "schema that uses custom metaschema with format-assertion: false", VOCABULARY},
    {"optional/format-assertion.json",
     "schema that uses custom metaschema with format-assertion: true", VOCABULARY},
    {"optional/format/idn-email.json", "validation of an internationalized e-mail addresses",
     FORMAT},
    {"optional/format/idn-hostname.json", "validation of internationalized host names", FORMAT},
    {"optional/format/iri-reference.json", "validation of IRI References", FORMAT},
    {"optional/format/iri.json", "validation of IRIs", FORMAT},
    {"optional/format/regex.json", "validation of regular expressions", FORMAT},
    {"optional/format/relative-json-pointer.json", "validation of Relative JSON Pointers (RJP)",
     FORMAT},
    {"optional/format/uri-template.json", "format: uri-template", FORMAT},
    {"optional/refOfUnknownKeyword.json", "reference of a root arbitrary keyword ", UNKNOWN},
    {"optional/refOfUnknownKeyword.json", "reference of an arbitrary keyword of a sub-schema",
     UNKNOWN},
    {"ref.json", "$id must be resolved against nearest parent, not just immediate parent", ID},
    {"ref.json", "Recursive references between schemas", ID},
    {"ref.json", "URN base URI with NSS", ID},
    {"ref.json", "URN base URI with URN and JSON pointer ref", ID},
    {"ref.json", "URN base URI with URN and anchor ref", ID},
    {"ref.json", "URN base URI with f-component", REMOTE},
    {"ref.json", "URN base URI with q-component", ID},
    {"ref.json", "URN base URI with r-component", ID},
    {"ref.json", "URN ref with nested pointer ref", ID},
    {"ref.json", "order of evaluation: $id and $anchor and $ref", ID},
    {"ref.json", "order of evaluation: $id and $ref", ID},
    {"ref.json", "ref to else", ID},
    {"ref.json", "ref to if", ID},
    {"ref.json", "ref to then", ID},
    {"ref.json", "ref with absolute-path-reference", ID},
    {"ref.json", "refs with relative uris and defs", ID},
    {"ref.json", "relative refs with absolute uris and defs", ID},
    {"ref.json", "remote ref, containing refs itself", REMOTE},
    {"ref.json", "simple URN base URI with $ref via the URN", ID},
    {"ref.json", "simple URN base URI with JSON pointer", ID},
    {"refRemote.json", "Location-independent identifier in remote ref", REMOTE},
    {"refRemote.json", "anchor within remote ref", REMOTE},
    {"refRemote.json", "base URI change", ID},
    {"refRemote.json", "base URI change - change folder", ID},
    {"refRemote.json", "base URI change - change folder in subschema", ID},
    {"refRemote.json", "fragment within remote ref", REMOTE},
    {"refRemote.json", "ref within remote ref", REMOTE},
    {"refRemote.json", "remote HTTP ref with different $id", REMOTE},
    {"refRemote.json", "remote HTTP ref with different URN $id", REMOTE},
    {"refRemote.json", "remote HTTP ref with nested absolute ref", REMOTE},
    {"refRemote.json", "remote ref", REMOTE},
    {"refRemote.json", "remote ref with ref to defs", ID},
    {"refRemote.json", "retrieved nested refs resolve relative to their URI not $id", ID},
    {"refRemote.json", "root ref in remote ref", ID},
    {"unknownKeyword.json", "$id inside an unknown keyword is not a real identifier", UNKNOWN},
    {"vocabulary.json", "ignore unrecognized optional vocabulary", VOCABULARY},
    {"vocabulary.json", "schema that uses custom metaschema with with no validation vocabulary",
     ID},
};
#define EXCLUDED_COUNT (sizeof(excluded) / sizeof(excluded[0]))

static bool met[EXCLUDED_COUNT];

static const struct excluded *find_excluded(const char *file, struct dbk_slice group)
{
    for (size_t i = 0; i < EXCLUDED_COUNT; i++) {
        if (strcmp(excluded[i].file, file) == 0 && dbk_slice_equal_text(group, excluded[i].group)) {
            met[i] = true;
            return &excluded[i];
        }
    }
    return NULL;
}

/* Appends why the group does not pass; nothing when it does. */
static void try_tests(const struct dbk_schema *schema, const struct dbk_json_node *tests,
                      struct dbk_buf *why)
{
    const struct dbk_json_node *test = dbk_json_first(tests);
    for (uint32_t i = 0; i < tests->count; i++, test = dbk_json_sibling(test)) {
        struct dbk_error err = {0};
        const struct dbk_json_node *data = dbk_json_member(test, "data");
        const struct dbk_json_node *root = NULL;
        bool valid = dbk_json_member(test, "valid")->kind == DBK_JSON_TRUE;
        struct dbk_json *json = dbk_json_create(1 << 20);
        int rc = dbk_json_parse(json, data->raw, &root, &err);
        if (rc == DBK_OK)
            rc = dbk_schema_validate(schema, root, data->raw, &err);
        if (rc == DBK_OK ? !valid : valid || rc != DBK_EINVAL)
            dbk_buf_append_format(why, "%.*s: %s; ",
                                  DBK_SLICE_ARGS(dbk_json_member(test, "description")->text),
                                  rc == DBK_OK ? "taken" : err.message);
        dbk_json_free(json);
    }
}

static void run_group(const struct dbk_json_node *group, struct dbk_buf *why)
{
    struct dbk_buf file;
    struct dbk_error err = {0};
    struct dbk_diagnostics faults;
    struct dbk_schemas *schemas = dbk_schemas_create();
    dbk_diagnostics_init(&faults);
    dbk_buf_init(&file, 1 << 20);
    dbk_buf_append_text(&file, "{\"versions\":[{\"version\":1,\"schema\":");
    dbk_buf_append(&file, dbk_json_member(group, "schema")->raw);
    dbk_buf_append_text(&file, "}]}");
    assert_ok(dbk_schemas_add(schemas, "T", "T", dbk_buf_slice(&file), &faults, &err), &err);
    assert_ok(dbk_schemas_finish(schemas, &faults, &err), &err);
    const struct dbk_schema *schema = dbk_schemas_newest(schemas, DBK_SLICE_LITERAL("T"));
    assert_true((schema == NULL) == (faults.error_count > 0));
    if (schema == NULL)
        dbk_buf_append_format(why, "refused: %s; ", faults.items[0].what);
    else
        try_tests(schema, dbk_json_member(group, "tests"), why);
    dbk_buf_release(&file);
    dbk_diagnostics_release(&faults);
    dbk_schemas_free(schemas);
}

struct counts {
    size_t groups;
    size_t left_out;
    size_t failures;
};

/* A file that cannot be read exactly (numbers) is left out whole. */
static void run_file(const char *folder, const char *file, struct counts *counts)
{
    struct dbk_os *os = dbk_os_real();
    struct dbk_error err = {0};
    struct dbk_buf text;
    char path[1024];
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create(1 << 24);
    dbk_buf_init(&text, 1 << 24);
    (void)snprintf(path, sizeof(path), "%s/%s", folder, file);
    assert_ok(dbk_os_read_file(os, path, 1 << 24, &text, &err), &err);
    if (dbk_json_parse(json, dbk_buf_slice(&text), &root, &err) < 0) {
        counts->left_out++;
        if (find_excluded(file, DBK_SLICE_LITERAL("")) == NULL) {
            counts->failures++;
            print_message("%s: cannot be read: %s\n", file, err.message);
        }
    }
    const struct dbk_json_node *group = root == NULL ? NULL : dbk_json_first(root);
    for (uint32_t i = 0; root != NULL && i < root->count; i++, group = dbk_json_sibling(group)) {
        struct dbk_buf why;
        struct dbk_slice name = dbk_json_member(group, "description")->text;
        const struct excluded *left_out = find_excluded(file, name);
        dbk_buf_init(&why, 1 << 20);
        run_group(group, &why);
        counts->groups++;
        counts->left_out += left_out != NULL;
        if ((left_out != NULL) == (why.size == 0)) {
            counts->failures++;
            print_message("%s: %.*s: %.*s\n", file, DBK_SLICE_ARGS(name),
                          DBK_SLICE_ARGS(why.size == 0
                                             ? DBK_SLICE_LITERAL("passes, but is left out")
                                             : dbk_buf_slice(&why)));
        }
        dbk_buf_release(&why);
    }
    dbk_buf_release(&text);
    dbk_json_free(json);
}

struct listing {
    char names[200][100];
    size_t count;
    const char *folder;
};

static int take_name(const char *name, void *context)
{
    struct listing *listing = context;
    size_t size = strlen(name);
    if (size < 5 || strcmp(name + size - 5, ".json") != 0)
        return DBK_OK;
    assert_true(listing->count < 200);
    (void)snprintf(listing->names[listing->count++], 100, "%s%s", listing->folder, name);
    return DBK_OK;
}

static void test_schema_suite__every_group_passes_or_is_named(void **state)
{
    (void)state;
    static const char *const folders[] = {"", "optional/", "optional/format/"};
    static struct listing listing;
    struct counts counts = {0};
    struct dbk_error err = {0};
    struct dbk_os *os = dbk_os_real();
    const char *other = getenv("JSON_SCHEMA_TEST_SUITE");
    const char *folder = other == NULL ? SUITE : other;
    for (size_t i = 0; i < 3; i++) {
        char path[1024];
        (void)snprintf(path, sizeof(path), "%s/%s", folder, folders[i]);
        listing.folder = folders[i];
        int rc = os->list(os, path, take_name, &listing, &err);
        if (rc == DBK_ENOTFOUND && getenv("CI") == NULL) {
            print_message("%s is not here: install libtest-json-schema-acceptance-perl\n", path);
            skip();
        }
        assert_ok(rc, &err);
    }
    for (size_t i = 0; i < listing.count; i++)
        run_file(folder, listing.names[i], &counts);
    for (size_t i = 0; i < EXCLUDED_COUNT && other == NULL; i++) {
        if (!met[i]) {
            counts.failures++;
            print_message("%s: %s: there is no such group\n", excluded[i].file, excluded[i].group);
        }
    }
    print_message("%zu groups, %zu left out\n", counts.groups, counts.left_out);
    assert_true(counts.groups > 250);
    assert_int_equal(counts.failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema_suite__every_group_passes_or_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
