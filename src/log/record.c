/* SPDX-License-Identifier: Apache-2.0 */
#include "log/record.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "log/unchecked.h"

/* Where the fields lie; the table is in record.h. */
enum {
    AT_SIZE = 0,
    AT_CRC = 4,
    AT_POSITION = 8,
    AT_VERSION = 16,
    AT_TIME = 24,
    AT_OCCURRED = 32,
    AT_ID = 40,
    AT_FLAGS = 56,
    AT_SCHEMA_VERSION = 60,
    AT_STREAM_SIZE = 62,
    AT_TYPE_SIZE = 64,
    AT_TAGS_SIZE = 66,
    AT_DATA_SIZE = 68,
    AT_META_SIZE = 72,
    AT_SEALED_SIZE = 76,
};

/* A sealed field: its fixed part, and its kinds. */
#define SEALED_COUNT_SIZE 2
#define SEALED_HEADER_SIZE 24
#define SEALED_CIPHERTEXT 0
#define SEALED_DIGEST 1

bool dbk_event_next_tag(struct dbk_slice *tags, struct dbk_slice *tag_out)
{
    size_t size = tags->size == 0 ? 0 : (uint8_t)tags->data[0];
    if (tags->size == 0 || size > tags->size - 1)
        return false;
    *tag_out = dbk_slice(tags->data + 1, size);
    *tags = dbk_slice(tags->data + 1 + size, tags->size - 1 - size);
    return true;
}

struct dbk_slice dbk_stream_category(struct dbk_slice stream)
{
    const char *dash = stream.size == 0 ? NULL : memchr(stream.data, '-', stream.size);
    return dash == NULL ? stream : dbk_slice(stream.data, (size_t)(dash - stream.data));
}

size_t dbk_record_size(const struct dbk_event *event)
{
    return DBK_RECORD_HEADER_SIZE + event->stream.size + event->type.size + event->tags.size +
           event->data.size + event->meta.size + event->sealed.size;
}

static char *put_slice(char *at, struct dbk_slice bytes)
{
    if (bytes.size > 0)
        memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

void dbk_record_encode(const struct dbk_event *event, uint32_t salt, char *bytes_out)
{
    size_t size = dbk_record_size(event);
    dbk_assert(size <= UINT32_MAX);
    dbk_assert(event->stream.size <= DBK_STREAM_SIZE_MAX);
    dbk_assert(event->type.size <= DBK_TYPE_SIZE_MAX);
    dbk_assert(event->tags.size <= UINT16_MAX);

    dbk_put_u32(bytes_out + AT_SIZE, (uint32_t)size);
    dbk_put_u64(bytes_out + AT_POSITION, event->position);
    dbk_put_u64(bytes_out + AT_VERSION, event->version);
    dbk_put_i64(bytes_out + AT_TIME, event->time_us);
    dbk_put_i64(bytes_out + AT_OCCURRED, event->occurred_us);
    memcpy(bytes_out + AT_ID, event->id.bytes, DBK_UUID_SIZE);
    dbk_put_u32(bytes_out + AT_FLAGS, event->flags);
    dbk_put_u16(bytes_out + AT_SCHEMA_VERSION, event->schema_version);
    dbk_put_u16(bytes_out + AT_STREAM_SIZE, (uint16_t)event->stream.size);
    dbk_put_u16(bytes_out + AT_TYPE_SIZE, (uint16_t)event->type.size);
    dbk_put_u16(bytes_out + AT_TAGS_SIZE, (uint16_t)event->tags.size);
    dbk_put_u32(bytes_out + AT_DATA_SIZE, (uint32_t)event->data.size);
    dbk_put_u32(bytes_out + AT_META_SIZE, (uint32_t)event->meta.size);
    dbk_put_u32(bytes_out + AT_SEALED_SIZE, (uint32_t)event->sealed.size);

    char *at = bytes_out + DBK_RECORD_HEADER_SIZE;
    at = put_slice(at, event->stream);
    at = put_slice(at, event->type);
    at = put_slice(at, event->tags);
    at = put_slice(at, event->data);
    at = put_slice(at, event->meta);
    (void)put_slice(at, event->sealed);
    dbk_record_reseed(bytes_out, size, salt);
}

void dbk_record_reseed(char *record, size_t size, uint32_t salt)
{
    dbk_put_u32(record + AT_CRC,
                dbk_crc32c(salt, dbk_slice(record + AT_POSITION, size - AT_POSITION)));
}

size_t dbk_record_claimed_size(struct dbk_slice bytes)
{
    return bytes.size < sizeof(uint32_t) ? 0 : dbk_get_u32(bytes.data + AT_SIZE);
}

static struct dbk_slice take(const char **at, size_t size)
{
    struct dbk_slice bytes = dbk_slice(*at, size);
    *at += size;
    return bytes;
}

int dbk_record_decode_unchecked(struct dbk_slice bytes, struct dbk_event *event_out)
{
    if (bytes.size < DBK_RECORD_HEADER_SIZE)
        return DBK_ECORRUPT;
    const char *header = bytes.data;
    uint32_t size = dbk_get_u32(header + AT_SIZE);
    uint16_t stream_size = dbk_get_u16(header + AT_STREAM_SIZE);
    uint16_t type_size = dbk_get_u16(header + AT_TYPE_SIZE);
    uint16_t tags_size = dbk_get_u16(header + AT_TAGS_SIZE);
    uint32_t data_size = dbk_get_u32(header + AT_DATA_SIZE);
    uint32_t meta_size = dbk_get_u32(header + AT_META_SIZE);
    uint32_t sealed_size = dbk_get_u32(header + AT_SEALED_SIZE);
    /* In 64 bits the sum cannot overflow. */
    uint64_t sum = (uint64_t)DBK_RECORD_HEADER_SIZE + stream_size + type_size + tags_size +
                   data_size + meta_size + sealed_size;
    if (sum != size || size > bytes.size || stream_size > DBK_STREAM_SIZE_MAX ||
        type_size > DBK_TYPE_SIZE_MAX)
        return DBK_ECORRUPT;

    event_out->position = dbk_get_u64(header + AT_POSITION);
    event_out->version = dbk_get_u64(header + AT_VERSION);
    event_out->time_us = dbk_get_i64(header + AT_TIME);
    event_out->occurred_us = dbk_get_i64(header + AT_OCCURRED);
    memcpy(event_out->id.bytes, header + AT_ID, DBK_UUID_SIZE);
    event_out->flags = dbk_get_u32(header + AT_FLAGS);
    event_out->schema_version = dbk_get_u16(header + AT_SCHEMA_VERSION);
    const char *at = header + DBK_RECORD_HEADER_SIZE;
    event_out->stream = take(&at, stream_size);
    event_out->type = take(&at, type_size);
    event_out->tags = take(&at, tags_size);
    event_out->data = take(&at, data_size);
    event_out->meta = take(&at, meta_size);
    event_out->sealed = take(&at, sealed_size);
    return DBK_OK;
}

int dbk_record_decode(struct dbk_slice bytes, uint32_t salt, struct dbk_event *event_out)
{
    struct dbk_event event;
    if (dbk_record_decode_unchecked(bytes, &event) < 0)
        return DBK_ECORRUPT;
    size_t size = dbk_get_u32(bytes.data + AT_SIZE);
    struct dbk_slice covered = dbk_slice(bytes.data + AT_POSITION, size - AT_POSITION);
    if (dbk_crc32c(salt, covered) != dbk_get_u32(bytes.data + AT_CRC))
        return DBK_ECORRUPT;
    *event_out = event;
    return DBK_OK;
}

static void hash_u32(struct dbk_sha256 *hash, uint32_t value)
{
    char bytes[sizeof(value)];
    dbk_put_u32(bytes, value);
    dbk_sha256_update(hash, dbk_slice(bytes, sizeof(bytes)));
}

static void hash_sized(struct dbk_sha256 *hash, struct dbk_slice bytes)
{
    hash_u32(hash, (uint32_t)bytes.size);
    dbk_sha256_update(hash, bytes);
}

/* Envelope and clear fields; the leaf prefix first. */
static void hash_clear(struct dbk_sha256 *hash, const struct dbk_event *event)
{
    static const char prefix[] = "\0dbkleaf1";
    char fixed[AT_STREAM_SIZE - AT_POSITION];
    dbk_put_u64(fixed, event->position);
    dbk_put_u64(fixed + (AT_VERSION - AT_POSITION), event->version);
    dbk_put_i64(fixed + (AT_TIME - AT_POSITION), event->time_us);
    dbk_put_i64(fixed + (AT_OCCURRED - AT_POSITION), event->occurred_us);
    memcpy(fixed + (AT_ID - AT_POSITION), event->id.bytes, DBK_UUID_SIZE);
    dbk_put_u32(fixed + (AT_FLAGS - AT_POSITION), event->flags & DBK_RECORD_LEAF_FLAGS);
    dbk_put_u16(fixed + (AT_SCHEMA_VERSION - AT_POSITION), event->schema_version);
    dbk_sha256_update(hash, dbk_slice(prefix, sizeof(prefix) - 1));
    dbk_sha256_update(hash, dbk_slice(fixed, sizeof(fixed)));
    hash_sized(hash, event->stream);
    hash_sized(hash, event->type);
    hash_sized(hash, event->tags);
    hash_sized(hash, event->data);
    hash_sized(hash, event->meta);
}

/* One sealed field off the front of `left`. */
static int hash_sealed_field(struct dbk_sha256 *hash, struct dbk_slice *left)
{
    if (left->size < SEALED_HEADER_SIZE)
        return DBK_ECORRUPT;
    uint16_t path_size = dbk_get_u16(left->data);
    uint16_t kind = dbk_get_u16(left->data + 2);
    uint32_t value_size = dbk_get_u32(left->data + 4);
    struct dbk_slice key_id = dbk_slice(left->data + 8, DBK_UUID_SIZE);
    uint64_t size = (uint64_t)SEALED_HEADER_SIZE + path_size + value_size;
    if (size > left->size || kind > SEALED_DIGEST ||
        (kind == SEALED_DIGEST && value_size != DBK_SHA256_SIZE))
        return DBK_ECORRUPT;
    struct dbk_slice path = dbk_slice(left->data + SEALED_HEADER_SIZE, path_size);
    struct dbk_slice value = dbk_slice(path.data + path_size, value_size);

    hash_sized(hash, path);
    dbk_sha256_update(hash, key_id);
    uint8_t digest[DBK_SHA256_SIZE];
    if (kind == SEALED_CIPHERTEXT) {
        struct dbk_sha256 ciphertext;
        dbk_sha256_init(&ciphertext);
        dbk_sha256_update(&ciphertext, value);
        dbk_sha256_final(&ciphertext, digest);
        value = dbk_slice(digest, sizeof(digest));
    }
    dbk_sha256_update(hash, value);
    *left = dbk_slice(left->data + size, left->size - (size_t)size);
    return DBK_OK;
}

static int hash_sealed(struct dbk_sha256 *hash, struct dbk_slice sealed)
{
    if (sealed.size == 0) {
        hash_u32(hash, 0);
        return DBK_OK;
    }
    if (sealed.size < SEALED_COUNT_SIZE)
        return DBK_ECORRUPT;
    uint16_t count = dbk_get_u16(sealed.data);
    struct dbk_slice left =
        dbk_slice(sealed.data + SEALED_COUNT_SIZE, sealed.size - SEALED_COUNT_SIZE);
    hash_u32(hash, count);
    for (uint16_t i = 0; i < count; i++)
        if (hash_sealed_field(hash, &left) < 0)
            return DBK_ECORRUPT;
    return left.size == 0 ? DBK_OK : DBK_ECORRUPT;
}

int dbk_record_leaf(const struct dbk_event *event, uint8_t leaf_out[DBK_SHA256_SIZE])
{
    if ((event->flags & DBK_RECORD_REMOVED) != 0) {
        if (event->data.size != DBK_SHA256_SIZE)
            return DBK_ECORRUPT;
        memcpy(leaf_out, event->data.data, DBK_SHA256_SIZE);
        return DBK_OK;
    }
    struct dbk_sha256 hash;
    dbk_sha256_init(&hash);
    hash_clear(&hash, event);
    if (hash_sealed(&hash, event->sealed) < 0)
        return DBK_ECORRUPT;
    dbk_sha256_final(&hash, leaf_out);
    return DBK_OK;
}
