/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neo4j_reply_fuzz -- of any bytes an answer is made or an error is named; an answer without an
 * error has a value for each column in each of its rows.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "target/neo4j/reply.h"

static void check_result(const struct dbk_json_node *result)
{
    const struct dbk_json_node *columns = dbk_json_member(result, "columns");
    const struct dbk_json_node *data = dbk_json_member(result, "data");
    if (columns == NULL || data == NULL)
        abort();
    const struct dbk_json_node *item = dbk_json_first(data);
    for (uint32_t i = 0; i < data->count; i++, item = dbk_json_sibling(item)) {
        const struct dbk_json_node *row = dbk_json_member(item, "row");
        if (row == NULL || row->kind != DBK_JSON_ARRAY || row->count != columns->count)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_neo4j_reply reply = {0};
    struct dbk_error err = {0};
    struct dbk_json *json = dbk_json_create((size_t)1 << 20);
    if (json == NULL)
        abort();
    int rc = dbk_neo4j_reply_parse(json, dbk_slice(data, size), &reply, &err);
    if (rc < 0 && err.message[0] == '\0')
        abort();
    if (rc == DBK_OK) {
        bool failed = dbk_neo4j_reply_check(&reply, &err) < 0;
        if (failed != (reply.code.size > 0) || (!failed && reply.results == NULL))
            abort();
        const struct dbk_json_node *result = NULL;
        for (size_t i = 0; !failed && (result = dbk_neo4j_reply_result(&reply, i)) != NULL; i++)
            check_result(result);
    }
    dbk_json_free(json);
    return 0;
}
