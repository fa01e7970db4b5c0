/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subjects -- an open vault, shared by its sources; and what the log says of subjects.
 *
 * lock guards the sets and the keys' pointer, which is set once. The log's own account is read at
 * open, and again in a reading process when the keys' mark has changed.
 */
#ifndef DBK_VAULT_SUBJECTS_H
#define DBK_VAULT_SUBJECTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "vault/ids.h"
#include "vault/keys.h"
#include "vault/vault.h"

struct dbk_vault {
    struct dbk_os *os;
    struct dbk_store *store;
    char *folder; /* of the keys */
    char *data;   /* the data directory */
    char *root;
    bool writer;
    bool rotates;
    pthread_mutex_t lock;
    pthread_mutex_t making; /* one opens or makes the keys */
    _Atomic(struct dbk_keys *) keys;
    struct dbk_ids erased; /* by the log's account */
    struct dbk_ids tombstoned;
    _Atomic size_t tombstoned_count;
    uint64_t log_epoch;
    _Atomic bool unsaid;       /* the log does not tell of the keys' epoch */
    _Atomic bool holds_epochs; /* it is not to be told now */
    uint64_t seen;             /* position up to which the log was looked at */
    uint64_t changes;          /* of the keys, when it was */
    pthread_t keeper;
    pthread_cond_t woken;
    bool keeps; /* the keeper runs */
    bool ends;
    bool copies_due; /* the backups' copies of erased.list are older than it */
};

/* Takes in what the log says behind `seen`. Under the lock, if others know the vault. */
int dbk_vault_read_log(struct dbk_vault *vault, struct dbk_error *err) DBK_MUST_CHECK;
/* Of a key that is not there: whether it was destroyed, also a moment ago by another process. */
bool dbk_vault_was_forgotten(struct dbk_vault *vault, const struct dbk_uuid *key);

#define DBK_PASSPHRASE_SIZE_MAX ((size_t)64 << 10)
/* A passphrase's file, without the ends of lines behind it; NULL: nothing is read. */
int dbk_passphrase_read(struct dbk_os *os, const char *path, struct dbk_buf *out,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* Wipes it, too. */
void dbk_passphrase_release(struct dbk_buf *text);

/* The keys; *keys_out is NULL where there are none and they are not to be made. */
int dbk_vault_keys(struct dbk_vault *vault, bool make, struct dbk_keys **keys_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* In a reading process: takes in what was forgotten since. */
int dbk_vault_refresh(struct dbk_vault *vault, struct dbk_error *err) DBK_MUST_CHECK;

#endif
