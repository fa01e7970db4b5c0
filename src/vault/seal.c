/* SPDX-License-Identifier: Apache-2.0 */
#include "vault/seal.h"

#include <sodium.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "log/record.h"

#define AT_COMMITMENT DBK_NONCE_SIZE
#define AT_CIPHERTEXT (DBK_NONCE_SIZE + DBK_SEAL_COMMITMENT_SIZE)

#define BOUND_FIXED_SIZE 58
#define BOUND_SIZE_MAX (BOUND_FIXED_SIZE + DBK_STREAM_SIZE_MAX + DBK_SEAL_PATH_SIZE_MAX)

struct bound {
    unsigned char bytes[BOUND_SIZE_MAX];
    size_t size;
};

static void put(struct bound *bound, const void *bytes, size_t size)
{
    if (size > 0)
        memcpy(bound->bytes + bound->size, bytes, size);
    bound->size += size;
}

static void bind(const struct dbk_key *key, const struct dbk_seal_place *place, struct bound *bound)
{
    uint8_t stream_size[2];
    dbk_assert(place->stream.size <= DBK_STREAM_SIZE_MAX);
    dbk_assert(place->path.size <= DBK_SEAL_PATH_SIZE_MAX);
    bound->size = 0;
    dbk_put_u16(stream_size, (uint16_t)place->stream.size);
    put(bound, "dbkseal1", 8);
    put(bound, place->book_id.bytes, DBK_UUID_SIZE);
    put(bound, place->event_id.bytes, DBK_UUID_SIZE);
    put(bound, key->id.bytes, DBK_UUID_SIZE);
    put(bound, stream_size, sizeof(stream_size));
    put(bound, place->stream.data, place->stream.size);
    put(bound, place->path.data, place->path.size);
}

static void make_nonce(const struct dbk_key *key, const struct dbk_seal_place *place,
                       struct dbk_slice value, uint8_t nonce_out[DBK_NONCE_SIZE])
{
    crypto_generichash_state state;
    uint8_t path_size[4];
    dbk_put_u32(path_size, (uint32_t)place->path.size);
    (void)crypto_generichash_init(&state, key->nonce, DBK_KEY_SIZE, DBK_NONCE_SIZE);
    (void)crypto_generichash_update(&state, place->event_id.bytes, DBK_UUID_SIZE);
    (void)crypto_generichash_update(&state, path_size, sizeof(path_size));
    (void)crypto_generichash_update(&state, (const unsigned char *)place->path.data,
                                    place->path.size);
    (void)crypto_generichash_update(&state, (const unsigned char *)value.data, value.size);
    (void)crypto_generichash_final(&state, nonce_out, DBK_NONCE_SIZE);
    sodium_memzero(&state, sizeof(state));
}

static void commit(const struct dbk_key *key, const struct bound *bound, const uint8_t *nonce,
                   const uint8_t *tag, uint8_t commitment_out[DBK_SEAL_COMMITMENT_SIZE])
{
    crypto_generichash_state state;
    (void)crypto_generichash_init(&state, key->commit, DBK_KEY_SIZE, DBK_SEAL_COMMITMENT_SIZE);
    (void)crypto_generichash_update(&state, nonce, DBK_NONCE_SIZE);
    (void)crypto_generichash_update(&state, tag, DBK_TAG_SIZE);
    (void)crypto_generichash_update(&state, bound->bytes, bound->size);
    (void)crypto_generichash_final(&state, commitment_out, DBK_SEAL_COMMITMENT_SIZE);
    sodium_memzero(&state, sizeof(state));
}

void dbk_seal(const struct dbk_key *key, const struct dbk_seal_place *place, struct dbk_slice value,
              struct dbk_buf *out)
{
    struct bound bound;
    if (dbk_buf_reserve(out, value.size + DBK_SEAL_OVERHEAD) < 0)
        return;
    uint8_t *nonce = (uint8_t *)out->data + out->size;
    uint8_t *ciphertext = nonce + AT_CIPHERTEXT;
    uint8_t *tag = ciphertext + value.size;
    bind(key, place, &bound);
    make_nonce(key, place, value, nonce);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
        ciphertext, tag, NULL, (const unsigned char *)value.data, value.size, bound.bytes,
        bound.size, NULL, nonce, key->seal);
    commit(key, &bound, nonce, tag, nonce + AT_COMMITMENT);
    out->size += value.size + DBK_SEAL_OVERHEAD;
}

int dbk_unseal(const struct dbk_key *key, const struct dbk_seal_place *place,
               struct dbk_slice sealed, struct dbk_buf *out)
{
    struct bound bound;
    uint8_t commitment[DBK_SEAL_COMMITMENT_SIZE];
    if (sealed.size < DBK_SEAL_OVERHEAD ||
        sealed.size > DBK_SEAL_VALUE_SIZE_MAX + DBK_SEAL_OVERHEAD ||
        place->path.size > DBK_SEAL_PATH_SIZE_MAX || place->stream.size > DBK_STREAM_SIZE_MAX)
        return DBK_ECORRUPT;
    size_t size = sealed.size - DBK_SEAL_OVERHEAD;
    const uint8_t *nonce = (const uint8_t *)sealed.data;
    const uint8_t *ciphertext = nonce + AT_CIPHERTEXT;
    const uint8_t *tag = ciphertext + size;
    bind(key, place, &bound);
    commit(key, &bound, nonce, tag, commitment);
    if (sodium_memcmp(commitment, nonce + AT_COMMITMENT, sizeof(commitment)) != 0)
        return DBK_ECORRUPT;
    int rc = dbk_buf_reserve(out, size + 1);
    if (rc < 0)
        return rc;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt_detached((uint8_t *)out->data + out->size, NULL,
                                                            ciphertext, size, tag, bound.bytes,
                                                            bound.size, nonce, key->seal) != 0)
        return DBK_ECORRUPT;
    out->size += size;
    return DBK_OK;
}
