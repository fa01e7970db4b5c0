/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment_fuzz -- the log's fixed parts: bytes that decode as a segment header, a group header or a
 * note encode to the same bytes again, except where the format says zero and a reader looks on.
 *
 * Nearly all mutations die at a checksum, so each input is also tried with the checksums mended.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "log/format.h"

#define SALT 0xC0FFEEu
/* Where the fields end and the zeros begin, as log/format.h says. */
#define SEGMENT_FIELDS_SIZE 124
/* Versions are read and not written again. */
#define VERSION_AT 8
#define BEHIND_VERSION 12
#define GROUP_FIELDS_SIZE 52
#define NOTE_FIELDS_SIZE 64

/* Room for the largest of the three. */
#define INPUT_SIZE DBK_SEGMENT_HEADER_SIZE

static void check_segment_header(struct dbk_slice bytes)
{
    struct dbk_segment_header header;
    struct dbk_segment_header back;
    char again[DBK_SEGMENT_HEADER_SIZE];
    uint32_t version = 0;
    if (dbk_segment_header_decode(bytes, &header, &version) < 0)
        return;
    dbk_segment_header_encode(&header, again);
    if (bytes.size < sizeof(again) || memcmp(again, bytes.data, VERSION_AT) != 0 ||
        memcmp(again + BEHIND_VERSION, bytes.data + BEHIND_VERSION,
               SEGMENT_FIELDS_SIZE - BEHIND_VERSION) != 0)
        abort();
    if (dbk_segment_header_decode(dbk_slice(again, sizeof(again)), &back, &version) < 0)
        abort();
}

static void check_group_header(struct dbk_slice bytes)
{
    struct dbk_group_header header;
    char again[DBK_GROUP_HEADER_SIZE];
    if (dbk_group_header_decode(bytes, SALT, &header) < 0)
        return;
    if (!dbk_group_header_begins(bytes) || bytes.size < sizeof(again) || header.count == 0)
        abort();
    dbk_group_header_encode(&header, SALT, again);
    /* The checksum (bytes 4 to 8) also covers the zeros. */
    if (memcmp(again + 8, bytes.data + 8, GROUP_FIELDS_SIZE - 8) != 0)
        abort();
    (void)dbk_group_chain(header.chain, again);
}

static void check_note(struct dbk_slice bytes)
{
    struct dbk_note note;
    char again[DBK_NOTE_SLOT_SIZE];
    uint32_t version = 0;
    if (dbk_note_decode(bytes, &note, &version) < 0)
        return;
    dbk_note_encode(&note, again);
    if (bytes.size < sizeof(again) || memcmp(again, bytes.data, VERSION_AT) != 0 ||
        memcmp(again + 16, bytes.data + 16, NOTE_FIELDS_SIZE - 16) != 0)
        abort();
}

static void check(struct dbk_slice bytes)
{
    check_segment_header(bytes);
    check_group_header(bytes);
    check_note(bytes);
}

/* The same bytes with the checksum each of the three would need. */
static void check_mended(const uint8_t *data)
{
    uint8_t mended[INPUT_SIZE];
    memcpy(mended, data, sizeof(mended));
    dbk_put_u32(mended + 124, dbk_crc32c(0, dbk_slice(mended, 124)));
    check_segment_header(dbk_slice(mended, sizeof(mended)));

    memcpy(mended, data, sizeof(mended));
    dbk_put_u32(mended + 4, dbk_crc32c(SALT, dbk_slice(mended + 8, DBK_GROUP_HEADER_SIZE - 8)));
    check_group_header(dbk_slice(mended, DBK_GROUP_HEADER_SIZE));

    memcpy(mended, data, sizeof(mended));
    uint32_t crc = dbk_crc32c(0, dbk_slice(mended, 12));
    dbk_put_u32(mended + 12, dbk_crc32c(crc, dbk_slice(mended + 16, DBK_NOTE_SLOT_SIZE - 16)));
    check_note(dbk_slice(mended, sizeof(mended)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(dbk_slice(data, size));
    if (size >= INPUT_SIZE)
        check_mended(data);
    return 0;
}
