/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_fuzz -- bytes that decode as a record encode to the same bytes again, its leaf is computed
 * or refused and stays the same when its content is removed, and decoding stays within the bytes.
 *
 * Nearly all mutations die at the checksum, so each input is also tried with the checksum it should
 * have.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "log/record.h"
#include "log/sealed.h"

#define SALT 0xC0FFEEu

static bool within(struct dbk_slice part, const uint8_t *data, size_t size)
{
    const char *begin = (const char *)data;
    return part.size == 0 || (part.data >= begin && part.size <= size &&
                              (size_t)(part.data - begin) <= size - part.size);
}

static void check_leaf(const struct dbk_event *event)
{
    uint8_t leaf[DBK_SHA256_SIZE];
    uint8_t after[DBK_SHA256_SIZE];
    uint8_t digest[DBK_SHA256_SIZE];
    if (dbk_record_leaf(event, leaf) < 0)
        return;
    if (dbk_record_content(event, digest) < 0)
        abort();
    struct dbk_event removed = *event;
    removed.flags |= DBK_RECORD_REMOVED;
    removed.data = dbk_slice(digest, sizeof(digest));
    removed.tags = removed.meta = removed.sealed = (struct dbk_slice){0};
    if (dbk_record_leaf(&removed, after) < 0 || memcmp(leaf, after, sizeof(leaf)) != 0)
        abort();
    if (!dbk_record_had(&removed, event))
        abort();
}

static bool is_erased(void *context, const struct dbk_uuid *key_id)
{
    (void)context;
    return (key_id->bytes[0] & 1) != 0;
}

/* Dropping ciphertexts leaves the leaf as it is, is done once, and saves what it said it would. */
static void check_sealed(const struct dbk_event *event, const uint8_t leaf[DBK_SHA256_SIZE])
{
    struct dbk_event dropped = *event;
    struct dbk_buf out;
    int64_t size = 0;
    uint8_t again[DBK_SHA256_SIZE];
    int rc = dbk_sealed_droppable(event->sealed, is_erased, NULL, &size);
    if (rc < 0)
        abort();
    if (rc == 0)
        return;
    dbk_buf_init(&out, SIZE_MAX / 2);
    if (dbk_sealed_drop(event->sealed, is_erased, NULL, &out) < 0)
        abort();
    dropped.sealed = dbk_buf_slice(&out);
    if ((int64_t)event->sealed.size - (int64_t)out.size != size ||
        dbk_record_leaf(&dropped, again) < 0 || memcmp(leaf, again, sizeof(again)) != 0 ||
        dbk_sealed_droppable(dropped.sealed, is_erased, NULL, &size) != 0)
        abort();
    dbk_buf_release(&out);
}

static void check(const uint8_t *data, size_t size)
{
    struct dbk_event event;
    uint8_t leaf[DBK_SHA256_SIZE];
    if (dbk_record_decode(dbk_slice(data, size), SALT, &event) < 0)
        return;
    size_t record_size = dbk_record_size(&event);
    if (record_size > size || record_size != dbk_record_claimed_size(dbk_slice(data, size)))
        abort();
    if (!within(event.stream, data, size) || !within(event.type, data, size) ||
        !within(event.tags, data, size) || !within(event.data, data, size) ||
        !within(event.meta, data, size) || !within(event.sealed, data, size))
        abort();
    char *again = malloc(record_size);
    if (again == NULL)
        abort();
    dbk_record_encode(&event, SALT, again);
    if (memcmp(again, data, record_size) != 0)
        abort();
    free(again);
    check_leaf(&event);
    if (dbk_record_leaf(&event, leaf) == DBK_OK && (event.flags & DBK_RECORD_REMOVED) == 0)
        check_sealed(&event, leaf);
    struct dbk_slice category = dbk_stream_category(event.stream);
    if (category.size > event.stream.size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size);
    size_t claimed = dbk_record_claimed_size(dbk_slice(data, size));
    if (claimed < DBK_RECORD_HEADER_SIZE || claimed > size)
        return 0;
    uint8_t *mended = malloc(size);
    if (mended == NULL)
        abort();
    memcpy(mended, data, size);
    dbk_put_u32(mended + 4, dbk_crc32c(SALT, dbk_slice(data + 8, claimed - 8)));
    check(mended, size);
    free(mended);
    return 0;
}
