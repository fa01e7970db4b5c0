/* SPDX-License-Identifier: Apache-2.0 */
/*
 * saga_fuzz -- an event of a saga that is read as a record is written, and what was written is read
 * and written the same again: nothing drifts from one record to the next.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "saga/record.h"

#define TEXT_SIZE_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_arena arena;
    struct dbk_saga_record record;
    struct dbk_buf once;
    struct dbk_buf twice;
    struct dbk_error err = {0};
    struct dbk_json *json = dbk_json_create(TEXT_SIZE_MAX);
    if (json == NULL)
        abort();
    dbk_arena_init(&arena, (size_t)64 << 20);
    dbk_buf_init(&once, 8 * TEXT_SIZE_MAX);
    dbk_buf_init(&twice, 8 * TEXT_SIZE_MAX);
    int rc = dbk_saga_record_read(json, dbk_slice(data, size), &arena, &record, &err);
    if (rc < 0 && (err.code != rc || err.message[0] == '\0'))
        abort();
    if (rc == DBK_OK) {
        (void)dbk_saga_due_us(&record);
        dbk_saga_record_write(&record, DBK_SLICE_LITERAL("{}"), &once);
        if (once.rc < 0 ||
            dbk_saga_record_read(json, dbk_buf_slice(&once), &arena, &record, &err) < 0)
            abort();
        dbk_saga_record_write(&record, DBK_SLICE_LITERAL("{}"), &twice);
        if (twice.rc < 0 || !dbk_slice_equal(dbk_buf_slice(&once), dbk_buf_slice(&twice)))
            abort();
    }
    dbk_buf_release(&once);
    dbk_buf_release(&twice);
    dbk_arena_release(&arena);
    dbk_json_free(json);
    return 0;
}
