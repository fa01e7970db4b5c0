/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema_fuzz -- any bytes are a type's file or have faults, whose places lie in the file; and what
 * is one answers for any data within its bounds, the same each time. A version is within itself,
 * and data that fits one that is said to be within another fits that, too.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "schema/compare.h"
#include "schema/schema.h"

static void check_data(const struct dbk_schema *schema, struct dbk_json *json,
                       struct dbk_slice text)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_error first = {0};
    struct dbk_error second = {0};
    if (dbk_json_parse(json, text, &root, NULL) < 0)
        return;
    int rc = dbk_schema_validate(schema, root, text, &first);
    if (rc != DBK_OK && rc != DBK_EINVAL && rc != DBK_ELIMIT)
        abort();
    if (dbk_schema_validate(schema, root, text, &second) != rc ||
        (rc < 0 && strcmp(first.message, second.message) != 0))
        abort();
    struct dbk_arena arena;
    const struct dbk_slice *tags = NULL;
    size_t count = 0;
    dbk_arena_init(&arena, 1 << 24);
    rc = dbk_schema_tags(schema, root, &arena, &tags, &count, &first);
    if (rc != DBK_OK && rc != DBK_EINVAL)
        abort();
    for (size_t i = 0; i < count; i++) {
        if (tags[i].size == 0 || tags[i].size > 255 || tags[i].data[0] == '$')
            abort();
    }
    dbk_arena_release(&arena);
}

static bool fits(const struct dbk_schema *schema, struct dbk_json *json, struct dbk_slice text)
{
    const struct dbk_json_node *root = NULL;
    return dbk_json_parse(json, text, &root, NULL) == DBK_OK &&
           dbk_schema_validate(schema, root, text, NULL) == DBK_OK;
}

static void compare(const struct dbk_schema *from, const struct dbk_schema *to,
                    struct dbk_json *json, struct dbk_slice text)
{
    const struct dbk_schema_break *breaks = NULL;
    struct dbk_arena arena;
    size_t count = 0;
    dbk_arena_init(&arena, 1 << 24);
    int rc = dbk_schema_covers(from, to, &arena, &breaks, &count);
    if (rc < 0 || (rc == 0 && count == 0) || (from == to && rc == 0))
        abort();
    struct dbk_error err = {0};
    const struct dbk_json_node *root = NULL;
    if (rc == 1 && fits(from, json, text) && dbk_json_parse(json, text, &root, NULL) == DBK_OK &&
        dbk_schema_validate(to, root, text, &err) == DBK_EINVAL)
        abort();
    dbk_arena_release(&arena);
}

static void check_version(const struct dbk_schema *schema, struct dbk_json *json,
                          struct dbk_slice file)
{
    static const char *const data[] = {"null",
                                       "5",
                                       "-0.5",
                                       "\"a\"",
                                       "[1, [1], \"a\", {}]",
                                       "[]",
                                       "{}",
                                       "{\"a\": \"b\"}",
                                       "{\"a\": {\"b\": [1, 1]}}"};
    size_t count = 0;
    const struct dbk_schema_path *personal = dbk_schema_personal(schema, &count);
    if (count > 0 && dbk_schema_subject(schema) == NULL)
        abort();
    for (size_t i = 1; i < count; i++) {
        if (dbk_slice_compare(personal[i - 1].text, personal[i].text) >= 0)
            abort();
    }
    for (size_t i = 0; i < sizeof(data) / sizeof(data[0]); i++)
        check_data(schema, json, dbk_slice_of(data[i]));
    check_data(schema, json, file);
    compare(schema, schema, json, file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_diagnostics faults;
    struct dbk_slice file = dbk_slice(data, size);
    struct dbk_schemas *schemas = dbk_schemas_create();
    struct dbk_json *json = dbk_json_create(1 << 20);
    dbk_diagnostics_init(&faults);
    if (dbk_schemas_add(schemas, "T", "f", file, &faults, NULL) != DBK_OK ||
        dbk_schemas_finish(schemas, &faults, NULL) != DBK_OK)
        abort();
    const struct dbk_schema *schema = dbk_schemas_newest(schemas, DBK_SLICE_LITERAL("T"));
    if ((schema == NULL) != (faults.error_count > 0) && faults.error_count == 0)
        abort();
    for (size_t i = 0; i < faults.count; i++) {
        if (faults.items[i].line > size + 1 || faults.items[i].column > size + 1)
            abort();
    }
    for (uint16_t i = 1; schema != NULL && i <= dbk_schema_version(schema); i++)
        check_version(dbk_schemas_find(schemas, DBK_SLICE_LITERAL("T"), i), json, file);
    for (uint16_t i = 2; schema != NULL && i <= dbk_schema_version(schema); i++) {
        const struct dbk_schema *older =
            dbk_schemas_find(schemas, DBK_SLICE_LITERAL("T"), (uint16_t)(i - 1));
        const struct dbk_schema *newer = dbk_schemas_find(schemas, DBK_SLICE_LITERAL("T"), i);
        compare(older, newer, json, file);
        compare(newer, older, json, DBK_SLICE_LITERAL("{\"a\": {\"b\": [1, 1]}}"));
    }
    dbk_diagnostics_release(&faults);
    dbk_schemas_free(schemas);
    dbk_json_free(json);
    return 0;
}
