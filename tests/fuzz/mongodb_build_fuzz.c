/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mongodb_build_fuzz -- of any command and any value of its parameter (behind a NUL) a document is
 * built that libbson finds whole, or an error is named; no value brings an operator along.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "target/mongodb/build.h"

/* No key of what a value became begins with a dollar. */
static void check_keys(bson_iter_t *at)
{
    while (bson_iter_next(at)) {
        bson_iter_t inner;
        if (bson_iter_key(at)[0] == '$')
            abort();
        if ((BSON_ITER_HOLDS_DOCUMENT(at) || BSON_ITER_HOLDS_ARRAY(at)) &&
            bson_iter_recurse(at, &inner))
            check_keys(&inner);
    }
}

static void check_value(struct dbk_mongodb_build *build, const struct dbk_json_node *marker)
{
    bson_t out = BSON_INITIALIZER;
    bson_iter_t at;
    if (dbk_mongodb_build_value(build, DBK_SLICE_LITERAL("v"), marker, &out) == DBK_OK &&
        bson_iter_init(&at, &out))
        check_keys(&at);
    bson_destroy(&out);
}

static void check_command(struct dbk_mongodb_build *build, const struct dbk_json_node *root)
{
    bson_t out = BSON_INITIALIZER;
    int rc = dbk_mongodb_build_members(build, root, &out);
    if (rc < 0 && build->err->message[0] == '\0')
        abort();
    if (!bson_validate(&out, BSON_VALIDATE_NONE, NULL))
        abort();
    /* It can be gone on with, whatever failed. */
    if (!BSON_APPEND_INT32(&out, "behind", 1))
        abort();
    bson_destroy(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size == 0 ? NULL : memchr(data, 0, size);
    struct dbk_slice command = dbk_slice(data, end == NULL ? size : (size_t)(end - data));
    struct dbk_slice text =
        end == NULL ? DBK_SLICE_LITERAL("null") : dbk_slice(end + 1, size - command.size - 1);
    struct dbk_error err = {0};
    const struct dbk_json_node *root = NULL;
    const struct dbk_json_node *marker = NULL;
    struct dbk_json *json = dbk_json_create((size_t)1 << 20);
    struct dbk_json *own = dbk_json_create((size_t)1 << 20);
    struct dbk_json *one = dbk_json_create(64);
    struct dbk_value value = {.kind = DBK_VALUE_TEXT, .json = true, .bytes = text};
    struct dbk_mongodb_model model = {DBK_SLICE_LITERAL("m"), 3};
    if (json == NULL || own == NULL || one == NULL)
        abort();
    struct dbk_mongodb_build build = {.values = &value,
                                      .value_count = 1,
                                      .json = json,
                                      .models = &model,
                                      .model_count = 1,
                                      .err = &err};
    if (dbk_json_parse(own, command, &root, &err) == DBK_OK && root->kind == DBK_JSON_OBJECT) {
        check_command(&build, root);
        if (dbk_slice_is_utf8(text)) {
            value.json = false;
            check_command(&build, root);
            value.json = true;
        }
    }
    if (dbk_json_parse(one, DBK_SLICE_LITERAL("{\"$_\":0}"), &marker, &err) == DBK_OK)
        check_value(&build, marker);
    dbk_json_free(json);
    dbk_json_free(own);
    dbk_json_free(one);
    return 0;
}
