/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal -- a value under a subject's key, bound to where it belongs.
 *
 *     nonce 24 | commitment 32 | ciphertext, as long as the value | tag 16
 *
 * The nonce is BLAKE2b of event id, path and value under the key for nonces, so that the same value
 * at the same place seals to the same bytes, and a repeated append can be compared by them. The
 * commitment is BLAKE2b of nonce, tag and what is bound, under the key to commit: the cipher alone
 * would let one ciphertext open under two keys. Bound are format, book, event, key, stream
 * and path; position and version are not (docs/design/keys.md).
 *
 * Threads: pure functions.
 * Source:  docs/format/keys.md, section 6.
 */
#ifndef DBK_VAULT_SEAL_H
#define DBK_VAULT_SEAL_H

#include "base/memory.h"
#include "vault/secret.h"

#define DBK_SEAL_COMMITMENT_SIZE 32
#define DBK_SEAL_OVERHEAD (DBK_NONCE_SIZE + DBK_SEAL_COMMITMENT_SIZE + DBK_TAG_SIZE)
#define DBK_SEAL_PATH_SIZE_MAX 1024
/* No value is larger: no event is. */
#define DBK_SEAL_VALUE_SIZE_MAX ((size_t)64 << 20)

/* Where a value belongs. */
struct dbk_seal_place {
    struct dbk_uuid book_id;
    struct dbk_uuid event_id;
    struct dbk_slice stream; /* at most DBK_STREAM_SIZE_MAX bytes */
    struct dbk_slice path;   /* at most DBK_SEAL_PATH_SIZE_MAX bytes */
};

/* Appends the sealed value. Failures stay in the buffer. */
void dbk_seal(const struct dbk_key *key, const struct dbk_seal_place *place, struct dbk_slice value,
              struct dbk_buf *out);
/*
 * Appends the value that was sealed.
 *
 * DBK_ECORRUPT  it was not sealed under this key for this place, or was altered; nothing appended
 * DBK_ENOMEM, DBK_ELIMIT  the buffer's
 */
int dbk_unseal(const struct dbk_key *key, const struct dbk_seal_place *place,
               struct dbk_slice sealed, struct dbk_buf *out) DBK_MUST_CHECK;

#endif
