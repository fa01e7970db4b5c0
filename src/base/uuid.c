/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/hash.h"

static void mark(struct dbk_uuid *uuid, unsigned version)
{
    uuid->bytes[6] = (uint8_t)((uuid->bytes[6] & 0x0F) | version << 4);
    uuid->bytes[8] = (uint8_t)((uuid->bytes[8] & 0x3F) | 0x80);
}

struct dbk_uuid dbk_uuid_v7(int64_t time_us, const uint8_t random[10])
{
    dbk_assert(time_us >= 0);
    struct dbk_uuid uuid;
    uint64_t time_ms = (uint64_t)time_us / 1000;
    for (unsigned i = 0; i < 6; i++)
        uuid.bytes[i] = (uint8_t)(time_ms >> (40 - 8 * i));
    memcpy(uuid.bytes + 6, random, 10);
    mark(&uuid, 7);
    return uuid;
}

struct dbk_uuid dbk_uuid_derive(const struct dbk_slice *parts, size_t count)
{
    struct dbk_sha256 hash;
    uint8_t digest[DBK_SHA256_SIZE];
    dbk_sha256_init(&hash);
    for (size_t i = 0; i < count; i++) {
        uint8_t size[8];
        dbk_put_u64(size, parts[i].size);
        dbk_sha256_update(&hash, dbk_slice(size, sizeof(size)));
        dbk_sha256_update(&hash, parts[i]);
    }
    dbk_sha256_final(&hash, digest);
    struct dbk_uuid uuid;
    memcpy(uuid.bytes, digest, DBK_UUID_SIZE);
    mark(&uuid, 8);
    return uuid;
}

void dbk_uuid_format(const struct dbk_uuid *uuid, char text_out[DBK_UUID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char *at = text_out;
    for (unsigned i = 0; i < DBK_UUID_SIZE; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = digits[uuid->bytes[i] >> 4];
        *at++ = digits[uuid->bytes[i] & 0x0F];
    }
    *at = '\0';
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

bool dbk_uuid_parse(struct dbk_slice text, struct dbk_uuid *uuid_out)
{
    struct dbk_uuid uuid;
    if (text.size != DBK_UUID_TEXT_SIZE - 1)
        return false;
    size_t at = 0;
    for (unsigned i = 0; i < DBK_UUID_SIZE; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && text.data[at++] != '-')
            return false;
        int high = hex_value(text.data[at]);
        int low = hex_value(text.data[at + 1]);
        if (high < 0 || low < 0)
            return false;
        uuid.bytes[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    *uuid_out = uuid;
    return true;
}
