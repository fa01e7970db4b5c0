/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash_test -- the three hashes are the ones they say they are, at every length and alignment, and
 * whether bytes come whole or in parts.
 *
 * The oracles: RFC 3720's vectors and a loop over bits for CRC-32C; OpenSSL's own SipHash and its
 * one-call SHA-256.
 */
#include "test.h"

#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/sha.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"

#define SIZE_MAX_TRIED 200

static uint8_t bytes[SIZE_MAX_TRIED + 8];

static int fill(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 167 + (i >> 3));
    return 0;
}

static uint32_t crc32c_by_bits(const uint8_t *data, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? UINT32_C(0x82F63B78) : 0);
    }
    return ~crc;
}

static void test_base_hash__crc32c_gives_the_rfc_s_values(void **state)
{
    (void)state;
    uint8_t block[32];
    memset(block, 0, sizeof(block));
    assert_int_equal(dbk_crc32c(0, dbk_slice(block, 32)), 0x8A9136AA);
    memset(block, 0xFF, sizeof(block));
    assert_int_equal(dbk_crc32c(0, dbk_slice(block, 32)), 0x62A8AB43);
    for (unsigned i = 0; i < 32; i++)
        block[i] = (uint8_t)i;
    assert_int_equal(dbk_crc32c(0, dbk_slice(block, 32)), 0x46DD794E);
    assert_int_equal(dbk_crc32c(0, DBK_SLICE_LITERAL("123456789")), 0xE3069283);
    assert_int_equal(dbk_crc32c(0, dbk_slice(NULL, 0)), 0);
    assert_int_equal(dbk_crc32c(77, dbk_slice(NULL, 0)), 77);
}

static void test_base_hash__crc32c_at_every_length_alignment_and_cut(void **state)
{
    (void)state;
    for (size_t size = 0; size <= SIZE_MAX_TRIED; size++) {
        for (size_t offset = 0; offset < 8; offset++)
            assert_int_equal(dbk_crc32c(0, dbk_slice(bytes + offset, size)),
                             crc32c_by_bits(bytes + offset, size));
        for (size_t cut = 0; cut <= size; cut++) {
            uint32_t first = dbk_crc32c(0, dbk_slice(bytes, cut));
            assert_int_equal(dbk_crc32c(first, dbk_slice(bytes + cut, size - cut)),
                             crc32c_by_bits(bytes, size));
        }
    }
}

/* Around the sizes where large texts are summed in lanes. */
static void test_base_hash__crc32c_of_large_texts(void **state)
{
    (void)state;
    static uint8_t large[3 * 3 * 512 + 64];
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t lanes = 1; lanes <= 3; lanes++) {
        for (size_t size = lanes * 1536 - 9; size <= lanes * 1536 + 9; size++) {
            for (size_t offset = 0; offset < 8; offset++) {
                uint32_t whole = crc32c_by_bits(large + offset, size);
                uint32_t first = dbk_crc32c(0, dbk_slice(large + offset, 100));
                assert_int_equal(dbk_crc32c(0, dbk_slice(large + offset, size)), whole);
                assert_int_equal(dbk_crc32c(first, dbk_slice(large + offset + 100, size - 100)),
                                 whole);
            }
        }
    }
}

static void siphash_by_openssl(const uint8_t key[16], size_t size, uint8_t hash_out[16])
{
    size_t hash_size = 16;
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_size_t("size", &hash_size),
                               OSSL_PARAM_construct_end()};
    assert_non_null(context);
    assert_int_equal(EVP_MAC_init(context, key, 16, parameters), 1);
    assert_int_equal(EVP_MAC_update(context, bytes, size), 1);
    assert_int_equal(EVP_MAC_final(context, hash_out, &hash_size, 16), 1);
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(mac);
}

static void test_base_hash__siphash_is_openssl_s_at_every_length(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 3; k++) {
        uint8_t key[16];
        for (unsigned i = 0; i < sizeof(key); i++)
            key[i] = (uint8_t)(i * (k + 1) + k * 50);
        for (size_t size = 0; size <= SIZE_MAX_TRIED; size++) {
            uint8_t expected[16];
            siphash_by_openssl(key, size, expected);
            struct dbk_hash128 hash = dbk_siphash128(key, dbk_slice(bytes, size));
            assert_true(hash.low == dbk_get_u64(expected));
            assert_true(hash.high == dbk_get_u64(expected + 8));
        }
    }
}

static void test_base_hash__sha256_in_any_two_parts_is_that_of_the_whole(void **state)
{
    (void)state;
    for (size_t size = 0; size <= SIZE_MAX_TRIED; size++) {
        uint8_t expected[DBK_SHA256_SIZE];
        (void)SHA256(bytes, size, expected);
        for (size_t cut = 0; cut <= size; cut++) {
            struct dbk_sha256 hash;
            uint8_t digest[DBK_SHA256_SIZE];
            dbk_sha256_init(&hash);
            dbk_sha256_update(&hash, dbk_slice(bytes, cut));
            dbk_sha256_update(&hash, dbk_slice(bytes + cut, size - cut));
            dbk_sha256_final(&hash, digest);
            assert_memory_equal(digest, expected, sizeof(digest));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_hash__crc32c_gives_the_rfc_s_values),
        cmocka_unit_test(test_base_hash__crc32c_at_every_length_alignment_and_cut),
        cmocka_unit_test(test_base_hash__crc32c_of_large_texts),
        cmocka_unit_test(test_base_hash__siphash_is_openssl_s_at_every_length),
        cmocka_unit_test(test_base_hash__sha256_in_any_two_parts_is_that_of_the_whole),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
