/* SPDX-License-Identifier: Apache-2.0 */
/* The low-level SHA256_* calls are the ones without an allocation a hash. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/hash.h"

#include <assert.h>
#include <openssl/sha.h>

#include "base/bytes.h"

/* The reversed Castagnoli polynomial. */
#define CRC32C_POLYNOMIAL UINT32_C(0x82F63B78)

/* Bytes of a lane: of a large text three lanes are summed side by side, since a sum waits for the
   one before. */
#define CRC32C_LANE ((size_t)512)

static uint32_t crc32c_table[8][256];
static uint32_t crc32c_lane_table[4][256]; /* what a byte of a sum is behind a lane of zeros */

__attribute__((constructor)) static void fill_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? CRC32C_POLYNOMIAL : 0);
        crc32c_table[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++) {
        for (unsigned slice = 1; slice < 8; slice++) {
            uint32_t crc = crc32c_table[slice - 1][byte];
            crc32c_table[slice][byte] = crc >> 8 ^ crc32c_table[0][crc & 0xFF];
        }
    }
    /* Of single bits; a byte's is the sum of its bits'. */
    for (unsigned bit = 0; bit < 32; bit++) {
        uint32_t crc = UINT32_C(1) << bit;
        for (size_t i = 0; i < CRC32C_LANE; i++)
            crc = crc >> 8 ^ crc32c_table[0][crc & 0xFF];
        uint32_t *table = crc32c_lane_table[bit / 8];
        for (uint32_t low = 0; low < UINT32_C(1) << bit % 8; low++)
            table[low | UINT32_C(1) << bit % 8] = table[low] ^ crc;
    }
}

static uint32_t crc32c_portable(uint32_t crc, const char *data, size_t size)
{
    for (; size >= 8; size -= 8, data += 8) {
        uint64_t word = dbk_get_u64(data) ^ crc;
        crc = crc32c_table[7][word & 0xFF] ^ crc32c_table[6][word >> 8 & 0xFF] ^
              crc32c_table[5][word >> 16 & 0xFF] ^ crc32c_table[4][word >> 24 & 0xFF] ^
              crc32c_table[3][word >> 32 & 0xFF] ^ crc32c_table[2][word >> 40 & 0xFF] ^
              crc32c_table[1][word >> 48 & 0xFF] ^ crc32c_table[0][word >> 56];
    }
    for (; size > 0; size--, data++)
        crc = crc >> 8 ^ crc32c_table[0][(crc ^ (uint8_t)*data) & 0xFF];
    return crc;
}

#if defined(__x86_64__)
static uint32_t behind_lane(uint32_t crc)
{
    return crc32c_lane_table[0][crc & 0xFF] ^ crc32c_lane_table[1][crc >> 8 & 0xFF] ^
           crc32c_lane_table[2][crc >> 16 & 0xFF] ^ crc32c_lane_table[3][crc >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const char *data,
                                                               size_t size)
{
    for (; size >= 3 * CRC32C_LANE; size -= 3 * CRC32C_LANE, data += 3 * CRC32C_LANE) {
        uint64_t lanes[3] = {crc, 0, 0};
        for (size_t at = 0; at < CRC32C_LANE; at += 8) {
            lanes[0] = __builtin_ia32_crc32di(lanes[0], dbk_get_u64(data + at));
            lanes[1] = __builtin_ia32_crc32di(lanes[1], dbk_get_u64(data + CRC32C_LANE + at));
            lanes[2] = __builtin_ia32_crc32di(lanes[2], dbk_get_u64(data + 2 * CRC32C_LANE + at));
        }
        crc = behind_lane((uint32_t)lanes[0]) ^ (uint32_t)lanes[1];
        crc = behind_lane(crc) ^ (uint32_t)lanes[2];
    }
    uint64_t wide = crc;
    for (; size >= 8; size -= 8, data += 8)
        wide = __builtin_ia32_crc32di(wide, dbk_get_u64(data));
    crc = (uint32_t)wide;
    for (; size > 0; size--, data++)
        crc = __builtin_ia32_crc32qi(crc, (uint8_t)*data);
    return crc;
}
#endif

uint32_t dbk_crc32c(uint32_t seed, struct dbk_slice bytes)
{
    uint32_t crc = ~seed;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc32c_sse42(crc, bytes.data, bytes.size);
#endif
    return ~crc32c_portable(crc, bytes.data, bytes.size);
}

static uint64_t rotate_left(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        v[0] += v[1];
        v[1] = rotate_left(v[1], 13) ^ v[0];
        v[0] = rotate_left(v[0], 32);
        v[2] += v[3];
        v[3] = rotate_left(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate_left(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate_left(v[1], 17) ^ v[2];
        v[2] = rotate_left(v[2], 32);
    }
}

struct dbk_hash128 dbk_siphash128(const uint8_t key[16], struct dbk_slice bytes)
{
    uint64_t k0 = dbk_get_u64(key);
    uint64_t k1 = dbk_get_u64(key + 8);
    uint64_t v[4] = {k0 ^ UINT64_C(0x736F6D6570736575), k1 ^ UINT64_C(0x646F72616E646F6D) ^ 0xEE,
                     k0 ^ UINT64_C(0x6C7967656E657261), k1 ^ UINT64_C(0x7465646279746573)};
    const char *at = bytes.data;
    size_t left = bytes.size;
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word = dbk_get_u64(at);
        v[3] ^= word;
        sip_rounds(v, 2);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)bytes.size << 56;
    for (size_t i = 0; i < left; i++)
        last |= (uint64_t)(uint8_t)at[i] << (8 * i);
    v[3] ^= last;
    sip_rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xEE;
    sip_rounds(v, 4);
    struct dbk_hash128 hash = {.low = v[0] ^ v[1] ^ v[2] ^ v[3]};
    v[1] ^= 0xDD;
    sip_rounds(v, 4);
    hash.high = v[0] ^ v[1] ^ v[2] ^ v[3];
    return hash;
}

static_assert(sizeof(SHA256_CTX) <= sizeof(struct dbk_sha256), "a hash under way has its room");

void dbk_sha256_init(struct dbk_sha256 *hash)
{
    (void)SHA256_Init((SHA256_CTX *)hash->words);
}

void dbk_sha256_update(struct dbk_sha256 *hash, struct dbk_slice bytes)
{
    (void)SHA256_Update((SHA256_CTX *)hash->words, bytes.data, bytes.size);
}

void dbk_sha256_final(struct dbk_sha256 *hash, uint8_t digest_out[DBK_SHA256_SIZE])
{
    (void)SHA256_Final(digest_out, (SHA256_CTX *)hash->words);
}

void dbk_sha256_of(struct dbk_slice bytes, uint8_t digest_out[DBK_SHA256_SIZE])
{
    struct dbk_sha256 hash;
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, bytes);
    dbk_sha256_final(&hash, digest_out);
}
