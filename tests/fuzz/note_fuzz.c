/* SPDX-License-Identifier: Apache-2.0 */
/*
 * note_fuzz -- what is read as a key is written as the same text; what is read as a checkpoint
 * begins with the text that its origin, size and root make; notes taken one by one stand back to
 * back and are none but whole ones; base64 that decodes encodes to the same.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/base64.h"
#include "proof/note.h"

#define PUBLIC "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"

static void check_key(struct dbk_slice text)
{
    struct dbk_key key;
    struct dbk_buf again;
    if (!dbk_key_parse(text, &key))
        return;
    dbk_buf_init(&again, 4096);
    if (key.secret)
        dbk_key_format_secret(&key, &again);
    else
        dbk_key_format(&key, &again);
    while (text.size > 0 && (text.data[text.size - 1] == '\n' || text.data[text.size - 1] == '\r'))
        text.size--;
    if (!dbk_slice_starts_with(dbk_buf_slice(&again), text))
        abort();
    dbk_buf_release(&again);
}

static void check_notes(struct dbk_slice text)
{
    struct dbk_key key;
    struct dbk_slice left = text;
    struct dbk_slice note;
    size_t taken = 0;
    if (!dbk_key_parse(dbk_slice_of(PUBLIC), &key))
        abort();
    while (dbk_note_next(&left, &note)) {
        struct dbk_checkpoint checkpoint;
        struct dbk_buf again;
        if (note.data != text.data + taken)
            abort();
        taken += note.size;
        /* A signature is not found by chance. */
        if (dbk_checkpoint_parse(note, &key, &checkpoint, NULL) == DBK_OK)
            abort();
        if (dbk_checkpoint_parse(note, NULL, &checkpoint, NULL) < 0)
            continue;
        dbk_buf_init(&again, SIZE_MAX / 2);
        dbk_buf_append(&again, checkpoint.origin);
        dbk_buf_append_format(&again, "\n%" PRIu64 "\n", checkpoint.size);
        dbk_base64_encode(dbk_slice(checkpoint.root.bytes, DBK_SHA256_SIZE), &again);
        dbk_buf_append_char(&again, '\n');
        if (again.rc < 0 || !dbk_slice_starts_with(note, dbk_buf_slice(&again)))
            abort();
        dbk_buf_release(&again);
    }
    if (taken + left.size != text.size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_slice text = dbk_slice(data, size);
    struct dbk_buf again;
    size_t decoded = 0;
    char *bytes = malloc(DBK_BASE64_ROOM(size) + 1);
    if (bytes == NULL)
        abort();
    dbk_buf_init(&again, SIZE_MAX / 2);
    if (dbk_base64_decode(text, bytes, &decoded)) {
        dbk_base64_encode(dbk_slice(bytes, decoded), &again);
        if (!dbk_slice_equal(dbk_buf_slice(&again), text))
            abort();
    }
    dbk_buf_release(&again);
    free(bytes);
    check_key(text);
    check_notes(text);
    return 0;
}
