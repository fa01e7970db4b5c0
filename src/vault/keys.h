/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys -- the folder keys/: an epoch's key, the subjects' keys under it, and those destroyed.
 *
 *     keys/epoch-0000000002.key   random; under a passphrase, or under its rights (0600) alone
 *     keys/subjects.keys          a slot a subject: id, what it is found by, its wrapped key
 *     keys/erased.list            ids of destroyed keys
 *     keys/epoch                  what every process looks at before it uses a key it remembers
 *
 * Forgetting a key adds its id to the list, overwrites its slot, and syncs both. Older copies of
 * the slot (backups, spare blocks of a disk) die with the epoch's key: a rotation wraps all other
 * keys anew under the key of a new epoch, in a table beside the old one; that table's name is the
 * moment of change, and then the old epoch's key is overwritten and removed. Whatever a crash
 * leaves is completed by the next writer that opens.
 *
 * The list is one with the log's own account of what was forgotten: keys in either are destroyed at
 * open where they still live; and a table that is older than one of them is refused.
 *
 * Threads: all functions from any thread.
 * Source:  docs/format/keys.md.
 */
#ifndef DBK_VAULT_KEYS_H
#define DBK_VAULT_KEYS_H

#include "vault/secret.h"

struct dbk_keys;

struct dbk_keys_options {
    struct dbk_os *os;
    const char *folder; /* of the keys; borrowed */
    struct dbk_uuid book_id;
    bool writer;
    bool create;                      /* make them where there are none; only a writer */
    struct dbk_root root;             /* its texts are copied */
    uint64_t log_epoch;               /* the newest that the log tells of; 0: none */
    const struct dbk_uuid *forgotten; /* ids of keys that the log says were destroyed */
    size_t forgotten_count;
};

/*
 * DBK_ENOTFOUND  there are no keys; or, where the log tells of an epoch: a file is missing
 * DBK_ECONFLICT  they are another book's, or an older copy than the log knows
 * DBK_ECORRUPT   a file is damaged; the message names it and the place
 * DBK_EFORMAT    a newer version wrote them
 * DBK_EDENIED    no passphrase, a wrong one, or no locked memory
 * DBK_EIO, DBK_EFULL, DBK_ENOMEM
 */
int dbk_keys_open(const struct dbk_keys_options *options, struct dbk_keys **keys_out,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_keys_free(struct dbk_keys *keys);

uint64_t dbk_keys_epoch(struct dbk_keys *keys);
size_t dbk_keys_count(struct dbk_keys *keys);

/*
 * A subject's key. key_out ends with dbk_key_wipe.
 *
 * DBK_ENOTFOUND  the subject has none
 * DBK_ECORRUPT, DBK_EIO
 */
int dbk_keys_of_subject(struct dbk_keys *keys, struct dbk_slice subject, struct dbk_key *key_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* The same, made when missing; durable with the next dbk_keys_sync. Only a writer. */
int dbk_keys_make(struct dbk_keys *keys, struct dbk_slice subject, struct dbk_key *key_out,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* All keys made so far are durable; costs nothing when they are. DBK_ESTOPPED: a sync failed. */
int dbk_keys_sync(struct dbk_keys *keys, struct dbk_error *err) DBK_MUST_CHECK;
/* A key by its id. DBK_ENOTFOUND: there is none (any more). */
int dbk_keys_find(struct dbk_keys *keys, const struct dbk_uuid *id, struct dbk_key *key_out,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* True when the key was destroyed, as far as erased.list knows. */
bool dbk_keys_is_erased(struct dbk_keys *keys, const struct dbk_uuid *id);
/* A number that changes whenever a key is forgotten, in any process, and with each epoch. */
uint64_t dbk_keys_changes(struct dbk_keys *keys);

/*
 * Destroys keys: durable when it returns. Ids that have no slot only go to the list; those in the
 * list are left alone. Only a writer.
 *
 * DBK_ESTOPPED  a sync failed; the next open completes it
 */
int dbk_keys_forget(struct dbk_keys *keys, const struct dbk_uuid *ids, size_t count,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* How many keys erased.list knew when the epoch began, and knows now. */
void dbk_keys_erased_counts(struct dbk_keys *keys, uint64_t *at_epoch_out, uint64_t *now_out);
/* When the epoch began, us since 1970. */
int64_t dbk_keys_created_us(struct dbk_keys *keys);
/* Tells other processes that something changed which makes them look at the log. */
int dbk_keys_tell(struct dbk_keys *keys, struct dbk_error *err) DBK_MUST_CHECK;
/* Adds the ids of erased.list to a set. DBK_ENOMEM. */
struct dbk_ids;
int dbk_keys_add_erased(struct dbk_keys *keys, struct dbk_ids *ids) DBK_MUST_CHECK;
/* The path of erased.list, valid until free. */
const char *dbk_keys_erased_path(const struct dbk_keys *keys);

/*
 * Begins a new epoch; its number is epoch_out. Others go on meanwhile, but for a moment at the end.
 * Only a writer.
 *
 * DBK_EBUSY     another is under way
 * DBK_ESTOPPED  it is not known whether it is durable: open again
 * DBK_EFULL, DBK_EIO, DBK_ENOMEM: the old epoch goes on
 */
int dbk_keys_rotate(struct dbk_keys *keys, uint64_t *epoch_out,
                    struct dbk_error *err) DBK_MUST_CHECK;

#endif
