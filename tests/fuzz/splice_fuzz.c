/* SPDX-License-Identifier: Apache-2.0 */
/*
 * splice_fuzz -- a path and a text: what has a place for the field is JSON again with the field in
 * it, if the text was JSON; and nothing is read behind either end.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "vault/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dbk_json_node *nodes = NULL;
    struct dbk_buf out;
    const uint8_t *zero = size == 0 ? NULL : memchr(data, 0, size);
    if (zero == NULL)
        return 0;
    size_t path_size = (size_t)(zero - data);
    struct dbk_slice text = dbk_slice(zero + 1, size - path_size - 1);
    struct dbk_field field = {dbk_slice(data, path_size), DBK_SLICE_LITERAL("\"it\"")};
    struct dbk_json *json = dbk_json_create((size_t)1 << 20);
    dbk_buf_init(&out, (size_t)1 << 20);
    int rc = dbk_fields_splice(text, &field, 1, &out);
    bool valid = json != NULL && dbk_json_parse(json, text, &nodes, NULL) == DBK_OK;
    /* Only names that are UTF-8 and not there yet can become members. */
    if (rc == DBK_OK && valid && dbk_slice_is_utf8(field.path)) {
        struct dbk_error err = {0};
        rc = dbk_json_parse(json, dbk_buf_slice(&out), &nodes, &err);
        if (rc == DBK_EINVAL && strstr(err.message, "twice") == NULL)
            abort();
    }
    dbk_buf_release(&out);
    dbk_json_free(json);
    return 0;
}
