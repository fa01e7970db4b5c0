/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_fuzz -- text that parses is written back, the result parses again, and writing that gives
 * the same text: nothing is lost and nothing drifts. Text that does not parse gets a message.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "json/json.h"

#define TEXT_SIZE_MAX ((size_t)1 << 16)
/* A control character of one byte may be written as six: \u0001. */
#define WRITTEN_SIZE_MAX (8 * TEXT_SIZE_MAX)

/* Parses and writes; false where the text is refused. */
static bool round_trip(struct dbk_json *json, struct dbk_slice text, struct dbk_buf *out)
{
    const struct dbk_json_node *nodes = NULL;
    struct dbk_error err = {0};
    int rc = dbk_json_parse(json, text, &nodes, &err);
    if (rc < 0) {
        if (err.code != rc || err.message[0] == '\0' || strchr(err.message, '\n') != NULL)
            abort();
        return false;
    }
    dbk_json_write_node(out, nodes);
    if (out->rc < 0)
        abort();
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_buf once;
    struct dbk_buf twice;
    struct dbk_json *json = size > TEXT_SIZE_MAX ? NULL : dbk_json_create(WRITTEN_SIZE_MAX);
    if (json == NULL)
        return 0;
    dbk_buf_init(&once, WRITTEN_SIZE_MAX);
    dbk_buf_init(&twice, WRITTEN_SIZE_MAX);
    if (round_trip(json, dbk_slice(data, size), &once)) {
        if (!dbk_slice_is_utf8(dbk_buf_slice(&once)))
            abort();
        if (!round_trip(json, dbk_buf_slice(&once), &twice))
            abort();
        if (!dbk_slice_equal(dbk_buf_slice(&once), dbk_buf_slice(&twice)))
            abort();
    }
    dbk_buf_release(&once);
    dbk_buf_release(&twice);
    dbk_json_free(json);
    return 0;
}
