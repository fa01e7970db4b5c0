/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format -- the vault's files as bytes.
 *
 * Every file begins with its 8-byte mark, u32 format version (DBK_KEYS_FORMAT) and u32 CRC-32C of
 * the rest of its header. The tables are in docs/format/keys.md; numbers are little-endian.
 *
 *     epoch-<n>.key   the key of one epoch, 192 bytes
 *     subjects.keys   header, two counters, and from 4096 on a slot of 128 bytes a subject
 *     erased.list     header of 64 bytes, and an entry of 72 bytes a key that was destroyed
 *     epoch           64 bytes that every process looks at before it uses a key it remembers
 *     a backup        header of 128 bytes, an epoch's key, slots, the list, and a mac of 32 bytes
 *
 * A slot never lies across a sector, so that writing one cannot tear another.
 *
 * Threads: pure functions.
 * Source:  docs/format/keys.md.
 */
#ifndef DBK_VAULT_FORMAT_H
#define DBK_VAULT_FORMAT_H

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"
#include "base/uuid.h"

#define DBK_KEYS_FORMAT 1
#define DBK_EPOCH_SIZE 192
#define DBK_TABLE_HEADER_SIZE 128
#define DBK_TABLE_COUNTER_SIZE 32
#define DBK_TABLE_COUNTER_DISTANCE 512 /* they lie at 512 and 1024 */
#define DBK_TABLE_BEGIN 4096           /* the first slot */
#define DBK_SLOT_SIZE 128
#define DBK_ERASED_HEADER_SIZE 64
#define DBK_ERASED_ENTRY_SIZE 72
#define DBK_MARK_SIZE 64
#define DBK_KEYS_BACKUP_HEADER_SIZE 128
#define DBK_KEYS_BACKUP_MAC_SIZE 32

#define DBK_KEYS_MAX ((uint64_t)1 << 31)
/* So many keys can have been destroyed. */
#define DBK_ERASED_MAX ((size_t)100 << 20)

#define DBK_SECRETS_SIZE 64 /* the epoch's key and the book's own secret, 32 bytes each */
#define DBK_NONCE_SIZE 24
#define DBK_TAG_SIZE 16
#define DBK_SALT_SIZE 16
#define DBK_KEY_SIZE 32
#define DBK_NAME_SIZE 16 /* the keyed hash a subject is found by */

/* What a passphrase's hash may cost, whatever a file claims. */
#define DBK_PASSES_MAX 16
#define DBK_PASSPHRASE_MEMORY_MIN ((uint64_t)8 << 10)
#define DBK_PASSPHRASE_MEMORY_MAX ((uint64_t)1 << 30)

enum dbk_root_kind {
    DBK_ROOT_NONE = 0,       /* the secrets stand there as they are */
    DBK_ROOT_PASSPHRASE = 1, /* sealed under Argon2id of a passphrase */
};

struct dbk_epoch_file {
    struct dbk_uuid book_id;
    uint64_t epoch; /* from 1 */
    int64_t created_us;
    uint32_t root;   /* enum dbk_root_kind */
    uint32_t passes; /* of Argon2id */
    uint64_t memory; /* of Argon2id, bytes */
    uint8_t salt[DBK_SALT_SIZE];
    uint8_t nonce[DBK_NONCE_SIZE];
    uint8_t secrets[DBK_SECRETS_SIZE];
    uint8_t tag[DBK_TAG_SIZE];
};
/* So many bytes at the start are bound to the secrets. */
#define DBK_EPOCH_BOUND_SIZE 104

struct dbk_table_header {
    struct dbk_uuid book_id;
    uint64_t epoch;
    int64_t created_us;
    uint64_t erased; /* entries of erased.list when it was made */
};
/* Written in turns; of the valid ones the higher sequence counts. */
struct dbk_table_counter {
    uint64_t sequence; /* from 1 */
    uint64_t erased;   /* entries of erased.list that the table has taken into account */
    uint64_t slots;    /* so many were synced before it was written */
};

enum dbk_slot_state {
    DBK_SLOT_FREE,      /* all zero: nothing was written there */
    DBK_SLOT_LIVE,      /* a subject's key */
    DBK_SLOT_DESTROYED, /* of it only the id is left */
};
struct dbk_slot {
    enum dbk_slot_state state;
    struct dbk_uuid id;
    uint8_t name[DBK_NAME_SIZE];
    uint8_t nonce[DBK_NONCE_SIZE];
    uint8_t wrapped[DBK_KEY_SIZE + DBK_TAG_SIZE];
    int64_t created_us;
};

struct dbk_erased_header {
    struct dbk_uuid book_id;
    int64_t created_us;
    uint32_t crc; /* what the first entry's goes on from; set by decode and encode */
};
struct dbk_erased_entry {
    uint64_t sequence; /* from 1 */
    int64_t at_us;
    struct dbk_uuid id;
    uint8_t mac[32]; /* over the mac before it and the fields above, under a key of the book's */
    uint32_t crc;    /* goes on from the one before it; set by decode and encode */
};

struct dbk_mark {
    uint64_t epoch;
    uint64_t changes; /* counts what makes remembered keys doubtful */
};

struct dbk_keys_backup_header {
    struct dbk_uuid book_id;
    uint64_t epoch; /* that it was taken in */
    int64_t taken_us;
    uint64_t slots;  /* that follow */
    uint64_t erased; /* entries of the list behind them */
};

/* DBK_ECORRUPT: it is none, or damaged; DBK_EFORMAT: newer, and the version says which. */
int dbk_epoch_decode(struct dbk_slice bytes, struct dbk_epoch_file *file_out,
                     uint32_t *version_out) DBK_MUST_CHECK;
void dbk_epoch_encode(const struct dbk_epoch_file *file, char bytes_out[DBK_EPOCH_SIZE]);
int dbk_table_decode(struct dbk_slice bytes, struct dbk_table_header *header_out,
                     uint32_t *version_out) DBK_MUST_CHECK;
void dbk_table_encode(const struct dbk_table_header *header, char bytes_out[DBK_TABLE_HEADER_SIZE]);
int dbk_table_counter_decode(struct dbk_slice bytes,
                             struct dbk_table_counter *counter_out) DBK_MUST_CHECK;
void dbk_table_counter_encode(const struct dbk_table_counter *counter,
                              char bytes_out[DBK_TABLE_COUNTER_SIZE]);
/* A slot's checksum covers its index, too. */
int dbk_slot_decode(struct dbk_slice bytes, uint64_t index,
                    struct dbk_slot *slot_out) DBK_MUST_CHECK;
void dbk_slot_encode(const struct dbk_slot *slot, uint64_t index, char bytes_out[DBK_SLOT_SIZE]);
int dbk_erased_header_decode(struct dbk_slice bytes, struct dbk_erased_header *header_out,
                             uint32_t *version_out) DBK_MUST_CHECK;
void dbk_erased_header_encode(struct dbk_erased_header *header,
                              char bytes_out[DBK_ERASED_HEADER_SIZE]);
/* previous: the crc of what stands before it. */
int dbk_erased_entry_decode(struct dbk_slice bytes, uint32_t previous,
                            struct dbk_erased_entry *entry_out) DBK_MUST_CHECK;
void dbk_erased_entry_encode(struct dbk_erased_entry *entry, uint32_t previous,
                             char bytes_out[DBK_ERASED_ENTRY_SIZE]);
int dbk_mark_decode(struct dbk_slice bytes, struct dbk_mark *mark_out) DBK_MUST_CHECK;
void dbk_mark_encode(const struct dbk_mark *mark, char bytes_out[DBK_MARK_SIZE]);
int dbk_keys_backup_decode(struct dbk_slice bytes, struct dbk_keys_backup_header *header_out,
                           uint32_t *version_out) DBK_MUST_CHECK;
void dbk_keys_backup_encode(const struct dbk_keys_backup_header *header,
                            char bytes_out[DBK_KEYS_BACKUP_HEADER_SIZE]);
/* The two numbers of a mark's bytes, unchecked: for those who only compare. */
struct dbk_mark dbk_mark_peek(const char *bytes);

#endif
