/* SPDX-License-Identifier: Apache-2.0 */
#include "log/format.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "log/log.h"

static const char segment_magic[8] = "dbksegm\n";
static const char note_magic[8] = "dbknote\n";
static const char group_magic[4] = "dbkg";

static bool is_zero(const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* Magic and version stand in the same place in both files. */
static int check_version(struct dbk_slice bytes, const char magic[8], uint32_t *version_out)
{
    if (memcmp(bytes.data, magic, 8) != 0)
        return DBK_ECORRUPT;
    uint32_t version = dbk_get_u32(bytes.data + 8);
    if (version == 0)
        return DBK_ECORRUPT;
    *version_out = version;
    return version > DBK_LOG_FORMAT ? DBK_EFORMAT : DBK_OK;
}

uint32_t dbk_segment_header_identity(const struct dbk_segment_header *header)
{
    return header->generation > 0 ? header->original.crc : header->crc;
}

uint32_t dbk_segment_header_first_salt(const struct dbk_segment_header *header)
{
    return header->generation > 0 ? header->original.salt : header->salt;
}

void dbk_segment_header_renew(struct dbk_segment_header *header)
{
    header->generation = 0;
    header->removed = 0;
    memset(&header->original, 0, sizeof(header->original));
    header->size = 0;
    header->chain = 0;
}

/* A compacted segment's header says its last chain and how many events went, so the first chain
   cannot cover these. */
static uint32_t chain_begin(const struct dbk_segment_header *header, const char *bytes)
{
    return header->generation > 0 ? dbk_crc32c(0, dbk_slice(bytes, 96)) : header->crc;
}

void dbk_segment_header_encode(struct dbk_segment_header *header,
                               char bytes_out[DBK_SEGMENT_HEADER_SIZE])
{
    memset(bytes_out, 0, DBK_SEGMENT_HEADER_SIZE);
    memcpy(bytes_out, segment_magic, sizeof(segment_magic));
    dbk_put_u32(bytes_out + 8, DBK_LOG_FORMAT);
    dbk_put_u32(bytes_out + 12, header->salt);
    memcpy(bytes_out + 16, header->book_id.bytes, DBK_UUID_SIZE);
    memcpy(bytes_out + 32, header->hash_key, DBK_HASH_KEY_SIZE);
    dbk_put_u64(bytes_out + 48, header->ordinal);
    dbk_put_u64(bytes_out + 56, header->first_position);
    dbk_put_i64(bytes_out + 64, header->created_us);
    dbk_put_i64(bytes_out + 72, header->previous_time_us);
    dbk_put_u64(bytes_out + 80, header->previous_size);
    dbk_put_u32(bytes_out + 88, header->previous_chain);
    dbk_put_u32(bytes_out + 92, header->previous_crc);
    dbk_put_u32(bytes_out + 96, header->generation | header->removed << 8);
    dbk_put_u32(bytes_out + 100, header->original.size);
    dbk_put_u32(bytes_out + 104, header->original.chain);
    dbk_put_u32(bytes_out + 108, header->original.crc);
    dbk_put_u32(bytes_out + 112, header->original.salt);
    dbk_put_u32(bytes_out + 116, header->size);
    dbk_put_u32(bytes_out + 120, header->chain);
    header->version = DBK_LOG_FORMAT;
    header->crc = dbk_crc32c(0, dbk_slice(bytes_out, 124));
    header->chain_begin = chain_begin(header, bytes_out);
    dbk_put_u32(bytes_out + 124, header->crc);
}

int dbk_segment_header_decode(struct dbk_slice bytes, struct dbk_segment_header *header_out,
                              uint32_t *version_out)
{
    if (bytes.size < DBK_SEGMENT_HEADER_SIZE)
        return DBK_ECORRUPT;
    int rc = check_version(bytes, segment_magic, version_out);
    if (rc < 0)
        return rc;
    const char *at = bytes.data;
    uint32_t crc = dbk_get_u32(at + 124);
    uint8_t generation = (uint8_t)at[96];
    if (crc != dbk_crc32c(0, dbk_slice(at, 124)) || (generation == 0 && !is_zero(at + 96, 28)) ||
        (generation > 0 && *version_out < DBK_LOG_FORMAT_COMPACTED))
        return DBK_ECORRUPT;
    header_out->salt = dbk_get_u32(at + 12);
    memcpy(header_out->book_id.bytes, at + 16, DBK_UUID_SIZE);
    memcpy(header_out->hash_key, at + 32, DBK_HASH_KEY_SIZE);
    header_out->ordinal = dbk_get_u64(at + 48);
    header_out->first_position = dbk_get_u64(at + 56);
    header_out->created_us = dbk_get_i64(at + 64);
    header_out->previous_time_us = dbk_get_i64(at + 72);
    header_out->previous_size = dbk_get_u64(at + 80);
    header_out->previous_chain = dbk_get_u32(at + 88);
    header_out->previous_crc = dbk_get_u32(at + 92);
    header_out->generation = generation;
    header_out->removed = dbk_get_u32(at + 96) >> 8;
    header_out->original.size = dbk_get_u32(at + 100);
    header_out->original.chain = dbk_get_u32(at + 104);
    header_out->original.crc = dbk_get_u32(at + 108);
    header_out->original.salt = dbk_get_u32(at + 112);
    header_out->size = dbk_get_u32(at + 116);
    header_out->chain = dbk_get_u32(at + 120);
    header_out->version = *version_out;
    header_out->crc = crc;
    header_out->chain_begin = chain_begin(header_out, at);
    return DBK_OK;
}

void dbk_group_header_encode(const struct dbk_group_header *header, uint32_t salt,
                             char bytes_out[DBK_GROUP_HEADER_SIZE])
{
    memset(bytes_out, 0, DBK_GROUP_HEADER_SIZE);
    memcpy(bytes_out, group_magic, sizeof(group_magic));
    dbk_put_u64(bytes_out + 8, header->first_position);
    dbk_put_i64(bytes_out + 16, header->last_time_us);
    dbk_put_u32(bytes_out + 24, header->count);
    dbk_put_u32(bytes_out + 28, header->payload_size);
    dbk_put_u32(bytes_out + 32, header->payload_crc);
    dbk_put_u32(bytes_out + 36, header->chain);
    dbk_put_u32(bytes_out + 40, header->segment);
    dbk_put_u32(bytes_out + 44, header->offset);
    dbk_put_u32(bytes_out + 48, header->synced_size);
    dbk_put_u32(bytes_out + 4,
                dbk_crc32c(salt, dbk_slice(bytes_out + 8, DBK_GROUP_HEADER_SIZE - 8)));
}

bool dbk_group_header_begins(struct dbk_slice bytes)
{
    return dbk_slice_starts_with(bytes, dbk_slice(group_magic, sizeof(group_magic)));
}

int dbk_group_header_decode(struct dbk_slice bytes, uint32_t salt,
                            struct dbk_group_header *header_out)
{
    if (bytes.size < DBK_GROUP_HEADER_SIZE || !dbk_group_header_begins(bytes))
        return DBK_ECORRUPT;
    const char *at = bytes.data;
    uint32_t crc = dbk_crc32c(salt, dbk_slice(at + 8, DBK_GROUP_HEADER_SIZE - 8));
    if (crc != dbk_get_u32(at + 4) || !is_zero(at + 52, 12))
        return DBK_ECORRUPT;
    struct dbk_group_header header = {
        .first_position = dbk_get_u64(at + 8),
        .last_time_us = dbk_get_i64(at + 16),
        .count = dbk_get_u32(at + 24),
        .payload_size = dbk_get_u32(at + 28),
        .payload_crc = dbk_get_u32(at + 32),
        .chain = dbk_get_u32(at + 36),
        .segment = dbk_get_u32(at + 40),
        .offset = dbk_get_u32(at + 44),
        .synced_size = dbk_get_u32(at + 48),
    };
    if (header.count == 0 || header.first_position == 0 ||
        header.payload_size > DBK_LOG_GROUP_SIZE_MAX || header.offset < DBK_SEGMENT_HEADER_SIZE ||
        header.synced_size > header.offset)
        return DBK_ECORRUPT;
    *header_out = header;
    return DBK_OK;
}

uint32_t dbk_group_chain(uint32_t chain, const char header[DBK_GROUP_HEADER_SIZE])
{
    return dbk_crc32c(chain, dbk_slice(header + 8, DBK_GROUP_HEADER_SIZE - 8));
}

static uint32_t note_crc(const char *bytes)
{
    return dbk_crc32c(dbk_crc32c(0, dbk_slice(bytes, 12)),
                      dbk_slice(bytes + 16, DBK_NOTE_SLOT_SIZE - 16));
}

void dbk_note_encode(const struct dbk_note *note, char bytes_out[DBK_NOTE_SLOT_SIZE])
{
    memset(bytes_out, 0, DBK_NOTE_SLOT_SIZE);
    memcpy(bytes_out, note_magic, sizeof(note_magic));
    dbk_put_u32(bytes_out + 8, DBK_LOG_FORMAT);
    dbk_put_u64(bytes_out + 16, note->sequence);
    dbk_put_u64(bytes_out + 24, note->segment);
    dbk_put_u64(bytes_out + 32, note->size);
    dbk_put_u64(bytes_out + 40, note->last_position);
    dbk_put_i64(bytes_out + 48, note->last_time_us);
    dbk_put_u32(bytes_out + 56, note->salt);
    dbk_put_u32(bytes_out + 60, note->chain);
    dbk_put_u32(bytes_out + 12, note_crc(bytes_out));
}

int dbk_note_decode(struct dbk_slice bytes, struct dbk_note *note_out, uint32_t *version_out)
{
    if (bytes.size < DBK_NOTE_SLOT_SIZE)
        return DBK_ECORRUPT;
    int rc = check_version(bytes, note_magic, version_out);
    if (rc < 0)
        return rc;
    const char *at = bytes.data;
    if (dbk_get_u32(at + 12) != note_crc(at) || !is_zero(at + 64, 64))
        return DBK_ECORRUPT;
    struct dbk_note note = {
        .sequence = dbk_get_u64(at + 16),
        .segment = dbk_get_u64(at + 24),
        .size = dbk_get_u64(at + 32),
        .last_position = dbk_get_u64(at + 40),
        .last_time_us = dbk_get_i64(at + 48),
        .salt = dbk_get_u32(at + 56),
        .chain = dbk_get_u32(at + 60),
    };
    /* Offsets in a segment and ordinals are u32 everywhere else. */
    if (note.sequence == 0 || note.segment > UINT32_MAX || note.size > UINT32_MAX)
        return DBK_ECORRUPT;
    *note_out = note;
    return DBK_OK;
}
