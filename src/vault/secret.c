/* SPDX-License-Identifier: Apache-2.0 */
#include "vault/secret.h"

#include <sodium.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"

/* Keys that a ring holds: as many as the system lets be locked, largest first. */
static const size_t ring_counts[] = {8192, 1024, 128};
/* Keys that share a place: the oldest of them goes. */
#define RING_WAYS 4

_Static_assert(DBK_NONCE_SIZE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
_Static_assert(DBK_KEY_SIZE == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key");
_Static_assert(DBK_TAG_SIZE == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");
_Static_assert(DBK_SALT_SIZE == crypto_pwhash_SALTBYTES, "salt");

void dbk_wipe(void *memory, size_t size)
{
    sodium_memzero(memory, size);
}

void dbk_key_wipe(struct dbk_key *key)
{
    sodium_memzero(key, sizeof(*key));
}

static void derive(const uint8_t from[DBK_KEY_SIZE], const char *label, uint8_t out[DBK_KEY_SIZE])
{
    int rc = crypto_generichash(out, DBK_KEY_SIZE, (const unsigned char *)label, strlen(label),
                                from, DBK_KEY_SIZE);
    dbk_assert(rc == 0);
}

void dbk_key_derive(const struct dbk_uuid *id, const uint8_t subject_key[DBK_KEY_SIZE],
                    struct dbk_key *key_out)
{
    key_out->id = *id;
    derive(subject_key, "daybook seal 1", key_out->seal);
    derive(subject_key, "daybook nonce 1", key_out->nonce);
    derive(subject_key, "daybook commit 1", key_out->commit);
}

void dbk_secrets_derive(struct dbk_secrets *secrets)
{
    derive(secrets->book, "daybook names 1", secrets->names);
    derive(secrets->book, "daybook erased 1", secrets->list);
}

/* ---- Ring ---- */

static struct dbk_ring *try_ring(size_t count)
{
    size_t size = sizeof(struct dbk_ring) + count * sizeof(struct dbk_key);
    size = (size + 63) & ~(size_t)63;
    struct dbk_ring *ring = sodium_malloc(size);
    if (ring == NULL)
        return NULL;
    /* sodium_malloc does not say whether its own locking failed. */
    if (sodium_mlock(ring, size) != 0) {
        sodium_free(ring);
        return NULL;
    }
    memset(ring, 0, size);
    ring->count = count;
    return ring;
}

int dbk_ring_create(struct dbk_ring **ring_out, struct dbk_error *err)
{
    if (sodium_init() < 0)
        return dbk_error_set(err, DBK_EIO, "libsodium cannot be used: it has no randomness");
    for (size_t i = 0; i < sizeof(ring_counts) / sizeof(ring_counts[0]); i++) {
        *ring_out = try_ring(ring_counts[i]);
        if (*ring_out != NULL)
            return DBK_OK;
    }
    return dbk_error_set(err, DBK_EDENIED,
                         "keys need %zu KiB of locked memory, which the system refuses: raise the "
                         "limit (ulimit -l, or LimitMEMLOCK= of a unit)",
                         (ring_counts[2] * sizeof(struct dbk_key) >> 10) + 4);
}

void dbk_ring_free(struct dbk_ring *ring)
{
    sodium_free(ring);
}

static size_t place_of(const struct dbk_ring *ring, const struct dbk_uuid *id)
{
    return dbk_get_u64(id->bytes) % (ring->count / RING_WAYS) * RING_WAYS;
}

bool dbk_ring_find(const struct dbk_ring *ring, const struct dbk_uuid *id, struct dbk_key *key_out)
{
    const struct dbk_key *keys = &ring->keys[place_of(ring, id)];
    for (size_t i = 0; i < RING_WAYS; i++) {
        if (dbk_uuid_equal(&keys[i].id, id)) {
            *key_out = keys[i];
            return true;
        }
    }
    return false;
}

void dbk_ring_put(struct dbk_ring *ring, const struct dbk_key *key)
{
    struct dbk_key *keys = &ring->keys[place_of(ring, &key->id)];
    memmove(keys + 1, keys, (RING_WAYS - 1) * sizeof(*keys));
    keys[0] = *key;
}

void dbk_ring_forget(struct dbk_ring *ring, const struct dbk_uuid *id)
{
    struct dbk_key *keys = &ring->keys[place_of(ring, id)];
    for (size_t i = 0; i < RING_WAYS; i++)
        if (dbk_uuid_equal(&keys[i].id, id))
            dbk_key_wipe(&keys[i]);
}

void dbk_ring_clear(struct dbk_ring *ring)
{
    sodium_memzero(ring->keys, ring->count * sizeof(ring->keys[0]));
}

/* ---- Root ---- */

static int stretch(const struct dbk_slice passphrase, const struct dbk_epoch_file *file,
                   uint8_t key_out[DBK_KEY_SIZE], struct dbk_error *err)
{
    int rc = crypto_pwhash(key_out, DBK_KEY_SIZE, passphrase.data, passphrase.size, file->salt,
                           file->passes, (size_t)file->memory, crypto_pwhash_ALG_ARGON2ID13);
    return rc == 0 ? DBK_OK
                   : dbk_error_set(err, DBK_ENOMEM, "out of memory: a passphrase takes %ju MiB",
                                   (uintmax_t)(file->memory >> 20));
}

static int seal_under_passphrase(struct dbk_os *os, const struct dbk_root *root,
                                 const uint8_t plain[DBK_SECRETS_SIZE], struct dbk_epoch_file *file,
                                 struct dbk_error *err)
{
    uint8_t key[DBK_KEY_SIZE];
    char bound[DBK_EPOCH_SIZE];
    unsigned long long size = 0;
    file->root = DBK_ROOT_PASSPHRASE;
    file->passes = root->passes != 0 ? root->passes : DBK_PASSES_DEFAULT;
    file->memory = root->memory != 0 ? root->memory : DBK_PASSPHRASE_MEMORY_DEFAULT;
    int rc = os->random(os, file->salt, sizeof(file->salt), err);
    if (rc == DBK_OK)
        rc = os->random(os, file->nonce, sizeof(file->nonce), err);
    if (rc == DBK_OK)
        rc = stretch(root->passphrase, file, key, err);
    if (rc < 0)
        return rc;
    dbk_epoch_encode(file, bound);
    memset(bound + 8, 0, 8); /* version and checksum: the latter follows from what is sealed */
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
        file->secrets, file->tag, &size, plain, DBK_SECRETS_SIZE, (const unsigned char *)bound,
        DBK_EPOCH_BOUND_SIZE, NULL, file->nonce, key);
    sodium_memzero(key, sizeof(key));
    return DBK_OK;
}

int dbk_secrets_seal(struct dbk_os *os, const struct dbk_root *root,
                     const struct dbk_secrets *secrets, struct dbk_epoch_file *file,
                     struct dbk_error *err)
{
    uint8_t plain[DBK_SECRETS_SIZE];
    int rc = DBK_OK;
    memcpy(plain, secrets->epoch, DBK_KEY_SIZE);
    memcpy(plain + DBK_KEY_SIZE, secrets->book, DBK_KEY_SIZE);
    if (root->passphrase.size > 0) {
        rc = seal_under_passphrase(os, root, plain, file, err);
    } else {
        file->root = DBK_ROOT_NONE;
        memcpy(file->secrets, plain, sizeof(plain));
    }
    sodium_memzero(plain, sizeof(plain));
    return rc;
}

int dbk_secrets_open(const struct dbk_root *root, const struct dbk_epoch_file *file,
                     const char *path, struct dbk_secrets *secrets_out, struct dbk_error *err)
{
    uint8_t plain[DBK_SECRETS_SIZE];
    uint8_t key[DBK_KEY_SIZE];
    char bound[DBK_EPOCH_SIZE];
    int rc = DBK_OK;
    if (file->root == DBK_ROOT_NONE) {
        memcpy(plain, file->secrets, sizeof(plain));
    } else if (root->passphrase.size == 0) {
        return dbk_error_set(err, DBK_EDENIED,
                             "%s is under a passphrase, and none is given: name its file in "
                             "book.yaml, `keys: {root: file:<path>}`",
                             path);
    } else {
        rc = stretch(root->passphrase, file, key, err);
        if (rc < 0)
            return rc;
        dbk_epoch_encode(file, bound);
        memset(bound + 8, 0, 8);
        if (crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
                plain, NULL, file->secrets, sizeof(file->secrets), file->tag,
                (const unsigned char *)bound, DBK_EPOCH_BOUND_SIZE, file->nonce, key) != 0)
            rc = dbk_error_set(err, DBK_EDENIED, "%s: the passphrase in %s does not open it", path,
                               root->file == NULL ? "its file" : root->file);
        sodium_memzero(key, sizeof(key));
    }
    if (rc == DBK_OK) {
        memcpy(secrets_out->epoch, plain, DBK_KEY_SIZE);
        memcpy(secrets_out->book, plain + DBK_KEY_SIZE, DBK_KEY_SIZE);
        dbk_secrets_derive(secrets_out);
    }
    sodium_memzero(plain, sizeof(plain));
    return rc;
}

/* ---- Slots ---- */

void dbk_subject_name(const struct dbk_secrets *secrets, struct dbk_slice subject,
                      uint8_t name_out[DBK_NAME_SIZE])
{
    int rc = crypto_generichash(name_out, DBK_NAME_SIZE, (const unsigned char *)subject.data,
                                subject.size, secrets->names, DBK_KEY_SIZE);
    dbk_assert(rc == 0);
}

#define WRAP_BOUND_SIZE 64

static void bind_slot(const struct dbk_table_header *header, const struct dbk_slot *slot,
                      unsigned char bound[WRAP_BOUND_SIZE])
{
    memcpy(bound, "dbkwrap1", 8);
    memcpy(bound + 8, header->book_id.bytes, DBK_UUID_SIZE);
    dbk_put_u64(bound + 24, header->epoch);
    memcpy(bound + 32, slot->id.bytes, DBK_UUID_SIZE);
    memcpy(bound + 48, slot->name, DBK_NAME_SIZE);
}

void dbk_slot_wrap(const uint8_t epoch_key[DBK_KEY_SIZE], const struct dbk_table_header *header,
                   const uint8_t subject_key[DBK_KEY_SIZE], struct dbk_slot *slot)
{
    unsigned char bound[WRAP_BOUND_SIZE];
    bind_slot(header, slot, bound);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(slot->wrapped, NULL, subject_key, DBK_KEY_SIZE,
                                                     bound, sizeof(bound), NULL, slot->nonce,
                                                     epoch_key);
}

int dbk_slot_unwrap(const uint8_t epoch_key[DBK_KEY_SIZE], const struct dbk_table_header *header,
                    const struct dbk_slot *slot, uint8_t subject_key_out[DBK_KEY_SIZE])
{
    unsigned char bound[WRAP_BOUND_SIZE];
    bind_slot(header, slot, bound);
    return crypto_aead_xchacha20poly1305_ietf_decrypt(subject_key_out, NULL, NULL, slot->wrapped,
                                                      sizeof(slot->wrapped), bound, sizeof(bound),
                                                      slot->nonce, epoch_key) == 0
               ? DBK_OK
               : DBK_ECORRUPT;
}

int dbk_slot_wrap_anew(const uint8_t from_key[DBK_KEY_SIZE], const struct dbk_table_header *from,
                       const uint8_t to_key[DBK_KEY_SIZE], const struct dbk_table_header *to,
                       const uint8_t nonce[DBK_NONCE_SIZE], struct dbk_slot *slot)
{
    uint8_t subject_key[DBK_KEY_SIZE];
    int rc = dbk_slot_unwrap(from_key, from, slot, subject_key);
    if (rc < 0)
        return rc;
    memcpy(slot->nonce, nonce, DBK_NONCE_SIZE);
    dbk_slot_wrap(to_key, to, subject_key, slot);
    dbk_wipe(subject_key, sizeof(subject_key));
    return DBK_OK;
}

void dbk_secrets_backup_key(const struct dbk_secrets *secrets, uint8_t key_out[DBK_KEY_SIZE])
{
    derive(secrets->epoch, "daybook backup 1", key_out);
}

void dbk_erased_mac(const struct dbk_secrets *secrets, const struct dbk_erased_header *header,
                    const uint8_t *previous, const struct dbk_erased_entry *entry,
                    uint8_t mac_out[32])
{
    static const uint8_t none[32];
    unsigned char text[8 + 16 + 32 + 8 + 8 + 16];
    memcpy(text, "dbkeras1", 8);
    memcpy(text + 8, header->book_id.bytes, DBK_UUID_SIZE);
    memcpy(text + 24, previous == NULL ? none : previous, 32);
    dbk_put_u64(text + 56, entry->sequence);
    dbk_put_i64(text + 64, entry->at_us);
    memcpy(text + 72, entry->id.bytes, DBK_UUID_SIZE);
    int rc = crypto_generichash(mac_out, 32, text, sizeof(text), secrets->list, DBK_KEY_SIZE);
    dbk_assert(rc == 0);
}
