/* SPDX-License-Identifier: Apache-2.0 */
#include "log/sealed.h"

#include "base/bytes.h"
#include "base/hash.h"

#define COUNT_SIZE 2
#define HEADER_SIZE 24

void dbk_key_tag(const struct dbk_uuid *key_id, char tag_out[DBK_KEY_TAG_SIZE + 1])
{
    static const char prefix[] = "$key:";
    static const char digits[] = "0123456789abcdef";
    char *at = tag_out + sizeof(prefix) - 1;
    memcpy(tag_out, prefix, sizeof(prefix) - 1);
    for (size_t i = 0; i < DBK_UUID_SIZE; i++) {
        *at++ = digits[key_id->bytes[i] >> 4];
        *at++ = digits[key_id->bytes[i] & 15];
    }
    *at = '\0';
}

int dbk_sealed_open(struct dbk_slice sealed, uint16_t *count_out, struct dbk_slice *fields_out)
{
    *count_out = 0;
    *fields_out = sealed;
    if (sealed.size == 0)
        return DBK_OK;
    if (sealed.size < COUNT_SIZE)
        return DBK_ECORRUPT;
    *count_out = dbk_get_u16(sealed.data);
    *fields_out = dbk_slice(sealed.data + COUNT_SIZE, sealed.size - COUNT_SIZE);
    return DBK_OK;
}

int dbk_sealed_next(struct dbk_slice *fields, struct dbk_sealed_field *field_out)
{
    if (fields->size == 0)
        return 0;
    if (fields->size < HEADER_SIZE)
        return DBK_ECORRUPT;
    uint16_t path_size = dbk_get_u16(fields->data);
    uint16_t kind = dbk_get_u16(fields->data + 2);
    uint32_t value_size = dbk_get_u32(fields->data + 4);
    uint64_t size = (uint64_t)HEADER_SIZE + path_size + value_size;
    if (size > fields->size || kind > DBK_SEALED_DIGEST ||
        (kind == DBK_SEALED_DIGEST && value_size != DBK_SHA256_SIZE))
        return DBK_ECORRUPT;
    field_out->kind = (enum dbk_sealed_kind)kind;
    memcpy(field_out->key_id.bytes, fields->data + 8, DBK_UUID_SIZE);
    field_out->path = dbk_slice(fields->data + HEADER_SIZE, path_size);
    field_out->value = dbk_slice(field_out->path.data + path_size, value_size);
    *fields = dbk_slice(fields->data + size, fields->size - (size_t)size);
    return 1;
}

void dbk_sealed_begin(struct dbk_buf *out, uint16_t count)
{
    char bytes[COUNT_SIZE];
    dbk_put_u16(bytes, count);
    dbk_buf_append(out, dbk_slice(bytes, sizeof(bytes)));
}

void dbk_sealed_append(struct dbk_buf *out, const struct dbk_sealed_field *field)
{
    char header[HEADER_SIZE];
    dbk_put_u16(header, (uint16_t)field->path.size);
    dbk_put_u16(header + 2, (uint16_t)field->kind);
    dbk_put_u32(header + 4, (uint32_t)field->value.size);
    memcpy(header + 8, field->key_id.bytes, DBK_UUID_SIZE);
    dbk_buf_append(out, dbk_slice(header, sizeof(header)));
    dbk_buf_append(out, field->path);
    dbk_buf_append(out, field->value);
}

int dbk_sealed_droppable(struct dbk_slice sealed, dbk_sealed_erased_fn erased, void *context,
                         int64_t *size_out)
{
    struct dbk_sealed_field field;
    struct dbk_slice fields;
    uint16_t count = 0;
    int found = 0;
    int rc = dbk_sealed_open(sealed, &count, &fields);
    *size_out = 0;
    while (rc == DBK_OK && (rc = dbk_sealed_next(&fields, &field)) > 0) {
        rc = DBK_OK;
        if (field.kind == DBK_SEALED_DIGEST || !erased(context, &field.key_id))
            continue;
        *size_out += (int64_t)field.value.size - DBK_SHA256_SIZE;
        found = 1;
    }
    return rc < 0 ? rc : found;
}

int dbk_sealed_drop(struct dbk_slice sealed, dbk_sealed_erased_fn erased, void *context,
                    struct dbk_buf *out)
{
    struct dbk_sealed_field field;
    struct dbk_slice fields;
    uint16_t count = 0;
    int rc = dbk_sealed_open(sealed, &count, &fields);
    dbk_sealed_begin(out, count);
    while (rc == DBK_OK && (rc = dbk_sealed_next(&fields, &field)) > 0) {
        uint8_t digest[DBK_SHA256_SIZE];
        rc = DBK_OK;
        if (field.kind == DBK_SEALED_CIPHERTEXT && erased(context, &field.key_id)) {
            dbk_sha256_of(field.value, digest);
            field.kind = DBK_SEALED_DIGEST;
            field.value = dbk_slice((const char *)digest, sizeof(digest));
        }
        dbk_sealed_append(out, &field);
    }
    return rc < 0 ? rc : out->rc;
}
