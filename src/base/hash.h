/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash -- CRC-32C against accidents, SipHash against guessing, SHA-256 against people.
 *
 * Threads: pure functions; a struct dbk_sha256 belongs to one thread.
 * Source:  CRC-32C: RFC 3720, appendix B.4. SipHash: Aumasson and Bernstein, 2012, with 128-bit
 *          output. SHA-256: FIPS 180-4, by OpenSSL's libcrypto.
 */
#ifndef DBK_BASE_HASH_H
#define DBK_BASE_HASH_H

#include <stdint.h>

#include "base/slice.h"

/*
 * CRC-32C of the bytes, going on from `seed`: 0 to begin, an earlier result to go on. Uses the
 * processor's instruction where it has one.
 */
uint32_t dbk_crc32c(uint32_t seed, struct dbk_slice bytes);

struct dbk_hash128 {
    uint64_t high;
    uint64_t low;
};

/* SipHash-2-4 with 128 bits of output. With a secret key nobody outside can make two names meet. */
struct dbk_hash128 dbk_siphash128(const uint8_t key[16], struct dbk_slice bytes);

#define DBK_SHA256_SIZE 32

/* The library's own state of a hash under way. */
struct dbk_sha256 {
    uint32_t words[28];
};

void dbk_sha256_init(struct dbk_sha256 *hash);
void dbk_sha256_update(struct dbk_sha256 *hash, struct dbk_slice bytes);
void dbk_sha256_final(struct dbk_sha256 *hash, uint8_t digest_out[DBK_SHA256_SIZE]);
/* Of all the bytes at once. */
void dbk_sha256_of(struct dbk_slice bytes, uint8_t digest_out[DBK_SHA256_SIZE]);

#endif
