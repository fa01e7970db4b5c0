/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request_fuzz -- any path and query (a line end between them) is taken apart or refused; what
 * comes out is UTF-8 without NUL, and never longer than what went in.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "server/request.h"

static void check(struct dbk_slice text, size_t size_max)
{
    if (text.size > size_max || !dbk_slice_is_utf8(text) ||
        (text.size > 0 && memchr(text.data, 0, text.size) != NULL) || text.data[text.size] != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_scratch scratch = {0};
    struct dbk_api_request request = {0};
    struct dbk_api_call call = {.request = &request, .scratch = &scratch};
    struct dbk_error err = {0};
    const uint8_t *end = size == 0 ? NULL : memchr(data, '\n', size);
    size_t path_size = end == NULL ? size : (size_t)(end - data);
    request.path = dbk_slice(data, path_size);
    if (end != NULL)
        request.query = dbk_slice(end + 1, size - path_size - 1);
    dbk_arena_init(&scratch.arena, (size_t)1 << 20);
    if (dbk_call_take_apart(&call, &err) == DBK_OK) {
        for (size_t i = 0; i < call.part_count; i++)
            check(call.parts[i], size);
        for (size_t i = 0; i < call.query_count; i++) {
            check(call.query[i].name, size);
            check(call.query[i].value, size);
        }
    } else if (err.message[0] == 0) {
        abort();
    }
    dbk_arena_release(&scratch.arena);
    return 0;
}
