/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pgoutput_fuzz -- what is decoded as a message encodes to the same bytes, streamed or not, and so
 * does what a walsender sends around it; an LSN that is read is written as it was but for zeros.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "pgoutput_bytes.h"

static void check_message(struct dbk_slice bytes, bool streamed)
{
    struct dbk_pgoutput message;
    struct dbk_buf again;
    if (dbk_pgoutput_decode(bytes, streamed, &message, NULL) < 0)
        return;
    dbk_buf_init(&again, SIZE_MAX / 2);
    put_message(&again, &message, streamed);
    if (again.rc < 0 || !dbk_slice_equal(dbk_buf_slice(&again), bytes))
        abort();
    dbk_buf_release(&again);
}

static void check_walsender(struct dbk_slice bytes)
{
    struct dbk_walsender data;
    struct dbk_buf again;
    if (dbk_walsender_decode(bytes, &data, NULL) < 0)
        return;
    dbk_buf_init(&again, SIZE_MAX / 2);
    dbk_buf_append_char(&again, data.kind);
    if (data.kind == 'w')
        put_be(&again, data.start_lsn, 8);
    put_be(&again, data.end_lsn, 8);
    put_time(&again, data.time_us);
    if (data.kind == 'k')
        put_be(&again, data.reply, 1);
    dbk_buf_append(&again, data.content);
    if (again.rc < 0 || !dbk_slice_equal(dbk_buf_slice(&again), bytes))
        abort();
    dbk_buf_release(&again);
}

static void check_lsn(struct dbk_slice text)
{
    char again[DBK_LSN_TEXT_SIZE];
    uint64_t lsn = 0;
    uint64_t second = 0;
    if (!dbk_lsn_parse(text, &lsn))
        return;
    dbk_lsn_format(lsn, again);
    if (!dbk_lsn_parse(dbk_slice_of(again), &second) || second != lsn)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_slice bytes = dbk_slice(data, size);
    check_message(bytes, false);
    check_message(bytes, true);
    check_walsender(bytes);
    check_lsn(bytes);
    return 0;
}
