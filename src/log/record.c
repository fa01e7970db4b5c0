/* SPDX-License-Identifier: Apache-2.0 */
#include "log/record.h"

#include <assert.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "log/sealed.h"
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

/* Position to schema version: what is the same in a record and in its leaf. */
#define ENVELOPE_SIZE (AT_STREAM_SIZE - AT_POSITION)

static const char leaf_prefix[] = "\0dbkleaf2";
#define LEAF_PREFIX_SIZE (sizeof(leaf_prefix) - 1)

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

/* Where bytes that are hashed go: one of the two. */
struct sink {
    struct dbk_sha256 *hash;
    struct dbk_buf *out;
};

static void put(const struct sink *sink, struct dbk_slice bytes)
{
    if (sink->hash != NULL)
        dbk_sha256_update(sink->hash, bytes);
    else
        dbk_buf_append(sink->out, bytes);
}

static void put_u32(const struct sink *sink, uint32_t value)
{
    char bytes[sizeof(value)];
    dbk_put_u32(bytes, value);
    put(sink, dbk_slice(bytes, sizeof(bytes)));
}

static void put_behind_size(const struct sink *sink, struct dbk_slice bytes)
{
    put_u32(sink, (uint32_t)bytes.size);
    put(sink, bytes);
}

/* One sealed field off the front of `fields`. */
static int put_sealed_field(const struct sink *sink, struct dbk_slice *fields)
{
    struct dbk_sealed_field field;
    uint8_t digest[DBK_SHA256_SIZE];
    if (dbk_sealed_next(fields, &field) <= 0)
        return DBK_ECORRUPT;
    put_behind_size(sink, field.path);
    put(sink, dbk_slice(field.key_id.bytes, DBK_UUID_SIZE));
    if (field.kind == DBK_SEALED_CIPHERTEXT) {
        dbk_sha256_of(field.value, digest);
        field.value = dbk_slice(digest, sizeof(digest));
    }
    put(sink, field.value);
    return DBK_OK;
}

static int put_fields(const struct sink *sink, uint16_t count, struct dbk_slice fields)
{
    for (uint16_t i = 0; i < count; i++)
        if (put_sealed_field(sink, &fields) < 0)
            return DBK_ECORRUPT;
    return fields.size == 0 ? DBK_OK : DBK_ECORRUPT;
}

static int take_removed(const struct dbk_event *event, uint8_t digest_out[DBK_SHA256_SIZE])
{
    if (event->data.size != DBK_SHA256_SIZE || event->tags.size != 0 || event->meta.size != 0 ||
        event->sealed.size != 0)
        return DBK_ECORRUPT;
    memcpy(digest_out, event->data.data, DBK_SHA256_SIZE);
    return DBK_OK;
}

/* What the content digest of a whole event is the SHA-256 of. */
static int put_content(const struct sink *sink, const struct dbk_event *event)
{
    char sizes[16];
    struct dbk_slice fields;
    uint16_t count = 0;
    if (dbk_sealed_open(event->sealed, &count, &fields) < 0)
        return DBK_ECORRUPT;
    dbk_put_u32(sizes, (uint32_t)event->tags.size);
    dbk_put_u32(sizes + 4, (uint32_t)event->data.size);
    dbk_put_u32(sizes + 8, (uint32_t)event->meta.size);
    dbk_put_u32(sizes + 12, count);
    put(sink, dbk_slice(sizes, sizeof(sizes)));
    put(sink, event->tags);
    put(sink, event->data);
    put(sink, event->meta);
    return put_fields(sink, count, fields);
}

int dbk_record_content(const struct dbk_event *event, uint8_t digest_out[DBK_SHA256_SIZE])
{
    struct dbk_sha256 hash;
    if ((event->flags & DBK_RECORD_REMOVED) != 0)
        return take_removed(event, digest_out);
    dbk_sha256_init(&hash);
    if (put_content(&(struct sink){.hash = &hash}, event) < 0)
        return DBK_ECORRUPT;
    dbk_sha256_final(&hash, digest_out);
    return DBK_OK;
}

int dbk_record_content_input(const struct dbk_event *event, struct dbk_buf *out)
{
    if ((event->flags & DBK_RECORD_REMOVED) != 0)
        return DBK_OK;
    int rc = put_content(&(struct sink){.out = out}, event);
    return rc < 0 ? rc : out->rc;
}

/* Position to schema version, as in the record. */
static char *put_envelope(char *at, const struct dbk_event *event, uint32_t flags)
{
    dbk_put_u64(at, event->position);
    dbk_put_u64(at + (AT_VERSION - AT_POSITION), event->version);
    dbk_put_i64(at + (AT_TIME - AT_POSITION), event->time_us);
    dbk_put_i64(at + (AT_OCCURRED - AT_POSITION), event->occurred_us);
    memcpy(at + (AT_ID - AT_POSITION), event->id.bytes, DBK_UUID_SIZE);
    dbk_put_u32(at + (AT_FLAGS - AT_POSITION), flags);
    dbk_put_u16(at + (AT_SCHEMA_VERSION - AT_POSITION), event->schema_version);
    return at + ENVELOPE_SIZE;
}

static char *put_sized(char *at, struct dbk_slice bytes)
{
    dbk_put_u16(at, (uint16_t)bytes.size);
    return put_slice(at + sizeof(uint16_t), bytes);
}

size_t dbk_record_leaf_input(const struct dbk_event *event, char input_out[DBK_LEAF_INPUT_SIZE_MAX])
{
    static_assert(LEAF_PREFIX_SIZE + ENVELOPE_SIZE + 2 * sizeof(uint16_t) + DBK_STREAM_SIZE_MAX +
                          DBK_TYPE_SIZE_MAX + DBK_SHA256_SIZE <=
                      DBK_LEAF_INPUT_SIZE_MAX,
                  "a leaf's input has room");
    uint8_t digest[DBK_SHA256_SIZE];
    dbk_assert(event->stream.size <= DBK_STREAM_SIZE_MAX);
    dbk_assert(event->type.size <= DBK_TYPE_SIZE_MAX);
    if (dbk_record_content(event, digest) < 0)
        return 0;
    memcpy(input_out, leaf_prefix, LEAF_PREFIX_SIZE);
    char *at = put_envelope(input_out + LEAF_PREFIX_SIZE, event,
                            event->flags & ~(uint32_t)DBK_RECORD_REMOVED);
    at = put_sized(at, event->stream);
    at = put_sized(at, event->type);
    memcpy(at, digest, sizeof(digest));
    return (size_t)(at + sizeof(digest) - input_out);
}

int dbk_record_leaf(const struct dbk_event *event, uint8_t leaf_out[DBK_SHA256_SIZE])
{
    char input[DBK_LEAF_INPUT_SIZE_MAX];
    size_t size = dbk_record_leaf_input(event, input);
    if (size == 0)
        return DBK_ECORRUPT;
    dbk_sha256_of(dbk_slice(input, size), leaf_out);
    return DBK_OK;
}

/* The leaf of format versions 1 and 2, which a removed event kept. */
static int old_leaf(const struct dbk_event *event, uint8_t leaf_out[DBK_SHA256_SIZE])
{
    static const char prefix[] = "\0dbkleaf1";
    char envelope[ENVELOPE_SIZE];
    struct dbk_sha256 hash;
    struct sink sink = {.hash = &hash};
    struct dbk_slice fields;
    uint16_t count = 0;
    if (dbk_sealed_open(event->sealed, &count, &fields) < 0)
        return DBK_ECORRUPT;
    (void)put_envelope(envelope, event, event->flags & DBK_RECORD_JSON);
    dbk_sha256_init(&hash);
    put(&sink, dbk_slice(prefix, sizeof(prefix) - 1));
    put(&sink, dbk_slice(envelope, sizeof(envelope)));
    put_behind_size(&sink, event->stream);
    put_behind_size(&sink, event->type);
    put_behind_size(&sink, event->tags);
    put_behind_size(&sink, event->data);
    put_behind_size(&sink, event->meta);
    put_u32(&sink, count);
    if (put_fields(&sink, count, fields) < 0)
        return DBK_ECORRUPT;
    dbk_sha256_final(&hash, leaf_out);
    return DBK_OK;
}

bool dbk_record_had(const struct dbk_event *removed, const struct dbk_event *whole)
{
    uint8_t kept[DBK_SHA256_SIZE];
    uint8_t digest[DBK_SHA256_SIZE];
    if (dbk_record_content(removed, kept) < 0)
        return false;
    return (dbk_record_content(whole, digest) == DBK_OK &&
            memcmp(kept, digest, sizeof(kept)) == 0) ||
           (old_leaf(whole, digest) == DBK_OK && memcmp(kept, digest, sizeof(kept)) == 0);
}
