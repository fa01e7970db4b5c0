/* SPDX-License-Identifier: Apache-2.0 */
/*
 * observed_fuzz -- a file of statements that were seen is refused with its line, or read; and what
 * was read is written, read and written again to the same bytes.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "service/observed.h"

static int format_again(struct dbk_slice text, struct dbk_buf *out)
{
    struct dbk_arena arena;
    struct dbk_error err = {0};
    dbk_arena_init(&arena, (size_t)64 << 20);
    struct dbk_observed observed = {.arena = &arena};
    int rc = dbk_observed_parse(&observed, text, "f", &err);
    if (rc < 0 && err.message[0] == '\0')
        abort();
    if (rc == DBK_OK)
        dbk_observed_format(&observed, out);
    dbk_arena_release(&arena);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_buf once;
    struct dbk_buf twice;
    dbk_buf_init(&once, (size_t)64 << 20);
    dbk_buf_init(&twice, (size_t)64 << 20);
    if (format_again(dbk_slice(data, size), &once) == DBK_OK &&
        (format_again(dbk_buf_slice(&once), &twice) < 0 ||
         !dbk_slice_equal(dbk_buf_slice(&once), dbk_buf_slice(&twice))))
        abort();
    dbk_buf_release(&once);
    dbk_buf_release(&twice);
    return 0;
}
