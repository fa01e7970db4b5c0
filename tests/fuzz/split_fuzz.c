/* SPDX-License-Identifier: Apache-2.0 */
/*
 * split_fuzz -- any text is refused as the state of a split with a reason, or read into one that
 * encodes to the same bytes each time.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "split/split.h"

static void encode(struct dbk_slice text, struct dbk_buf *out)
{
    struct dbk_arena arena;
    struct dbk_error err = {0};
    struct dbk_split_state state = {0};
    dbk_arena_init(&arena, (size_t)16 << 20);
    dbk_buf_init(out, (size_t)16 << 20);
    int rc = dbk_split_state_decode(text, &arena, &state, &err);
    if (rc < 0 && err.message[0] == '\0')
        abort();
    if (rc == DBK_OK)
        dbk_split_state_encode(&state, out);
    if (rc == DBK_OK && (out->rc < 0 || state.table_count == 0 || state.step == DBK_SPLIT_NONE))
        abort();
    dbk_arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_buf once;
    struct dbk_buf again;
    encode(dbk_slice(data, size), &once);
    dbk_buf_init(&again, 1);
    if (once.size > 0) {
        encode(dbk_buf_slice(&once), &again);
        if (!dbk_slice_equal(dbk_buf_slice(&once), dbk_buf_slice(&again)))
            abort();
    }
    dbk_buf_release(&again);
    dbk_buf_release(&once);
    return 0;
}
