/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret -- what is secret in memory, and what libsodium does with it.
 *
 * A ring is one piece of guarded, locked memory (never swapped, never in a core dump, wiped when it
 * is freed): the epoch's key, the book's secret, and the subjects' keys that were used last.
 *
 *     root (a passphrase, or the file's own rights)
 *       epoch key        random, rotated      wraps
 *         subject's key  random, never derived
 *           three keys of it by BLAKE2b: to seal, for nonces, to commit
 *     book's secret      random, kept over rotations: finds subjects by name, seals erased.list
 *
 * Threads: a ring's owner locks; the rest are pure functions.
 * Source:  libsodium's documentation; RFC 9106 (Argon2), RFC 7693 (BLAKE2b).
 */
#ifndef DBK_VAULT_SECRET_H
#define DBK_VAULT_SECRET_H

#include "os/os.h"
#include "vault/format.h"

/* A subject's key as it is used. Lives on stacks; ends with dbk_key_wipe. */
struct dbk_key {
    struct dbk_uuid id;
    uint8_t seal[DBK_KEY_SIZE];
    uint8_t nonce[DBK_KEY_SIZE];
    uint8_t commit[DBK_KEY_SIZE];
};
void dbk_key_wipe(struct dbk_key *key);
/* The three keys of a subject's key. */
void dbk_key_derive(const struct dbk_uuid *id, const uint8_t subject_key[DBK_KEY_SIZE],
                    struct dbk_key *key_out);

struct dbk_secrets {
    uint8_t epoch[DBK_KEY_SIZE];
    uint8_t book[DBK_KEY_SIZE];
    uint8_t names[DBK_KEY_SIZE]; /* of the book's: finds subjects */
    uint8_t list[DBK_KEY_SIZE];  /* of the book's: for erased.list */
};

struct dbk_ring {
    struct dbk_secrets secrets;
    size_t count;          /* keys that fit */
    struct dbk_key keys[]; /* id is none: empty */
};
/*
 * DBK_EDENIED  the system does not let so much memory be locked; the message says what to raise
 * DBK_ENOMEM
 */
int dbk_ring_create(struct dbk_ring **ring_out, struct dbk_error *err) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_ring_free(struct dbk_ring *ring);
/* A remembered key; false: it is not. */
bool dbk_ring_find(const struct dbk_ring *ring, const struct dbk_uuid *id, struct dbk_key *key_out);
void dbk_ring_put(struct dbk_ring *ring, const struct dbk_key *key);
void dbk_ring_forget(struct dbk_ring *ring, const struct dbk_uuid *id);
void dbk_ring_clear(struct dbk_ring *ring);
/* Makes names and list of book. */
void dbk_secrets_derive(struct dbk_secrets *secrets);

void dbk_wipe(void *memory, size_t size);

/* A passphrase's cost; 0: 3 passes over 64 MiB. */
struct dbk_root {
    struct dbk_slice passphrase; /* empty: none, the file's own rights are all */
    const char *file;            /* where it came from, for messages */
    uint32_t passes;
    uint64_t memory;
};
#define DBK_PASSES_DEFAULT 3
#define DBK_PASSPHRASE_MEMORY_DEFAULT ((uint64_t)64 << 20)

/* Fills root, passes, memory, salt, nonce, secrets and tag of an epoch's file. */
int dbk_secrets_seal(struct dbk_os *os, const struct dbk_root *root,
                     const struct dbk_secrets *secrets, struct dbk_epoch_file *file,
                     struct dbk_error *err) DBK_MUST_CHECK;
/*
 * path  for messages
 * DBK_EDENIED  there is no passphrase, or a wrong one
 */
int dbk_secrets_open(const struct dbk_root *root, const struct dbk_epoch_file *file,
                     const char *path, struct dbk_secrets *secrets_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* What a subject is found by. */
void dbk_subject_name(const struct dbk_secrets *secrets, struct dbk_slice subject,
                      uint8_t name_out[DBK_NAME_SIZE]);
/* Wraps a subject's key into a slot whose id and name are set; nonce is the caller's. */
void dbk_slot_wrap(const uint8_t epoch_key[DBK_KEY_SIZE], const struct dbk_table_header *header,
                   const uint8_t subject_key[DBK_KEY_SIZE], struct dbk_slot *slot);
/* DBK_ECORRUPT: it was not wrapped so. */
int dbk_slot_unwrap(const uint8_t epoch_key[DBK_KEY_SIZE], const struct dbk_table_header *header,
                    const struct dbk_slot *slot,
                    uint8_t subject_key_out[DBK_KEY_SIZE]) DBK_MUST_CHECK;
/* Wraps the key of a slot anew, from one epoch into another; nonce is the new one. DBK_ECORRUPT:
   it was not wrapped so. */
int dbk_slot_wrap_anew(const uint8_t from_key[DBK_KEY_SIZE], const struct dbk_table_header *from,
                       const uint8_t to_key[DBK_KEY_SIZE], const struct dbk_table_header *to,
                       const uint8_t nonce[DBK_NONCE_SIZE], struct dbk_slot *slot) DBK_MUST_CHECK;
/* Under what a backup of keys is authenticated. */
void dbk_secrets_backup_key(const struct dbk_secrets *secrets, uint8_t key_out[DBK_KEY_SIZE]);
/* An entry's mac; previous is that of the entry before it, or NULL: it is the first. */
void dbk_erased_mac(const struct dbk_secrets *secrets, const struct dbk_erased_header *header,
                    const uint8_t *previous, const struct dbk_erased_entry *entry,
                    uint8_t mac_out[32]);

#endif
