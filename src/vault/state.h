/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- open keys, shared by their sources.
 *
 * Locks, taken in this order: change (making, forgetting, the end of a rotation), syncing (whoever
 * syncs the table), lock (everything else, and not while the table is synced).
 */
#ifndef DBK_VAULT_STATE_H
#define DBK_VAULT_STATE_H

#include <pthread.h>

#include "vault/erased.h"
#include "vault/keys.h"
#include "vault/places.h"

#define DBK_TABLE_NAME "subjects.keys"
#define DBK_TABLE_NEW_NAME "subjects.tmp"
#define DBK_MARK_NAME "epoch"
#define DBK_EPOCH_NAME "epoch-%010" PRIu64 ".key"
/* Slots that are read, wrapped or written ahead at once. */
#define DBK_SLOTS_AT_ONCE 512

/* A table of slots: the file, and where in it names and ids are. */
struct dbk_table {
    struct dbk_file file;
    struct dbk_table_header header;
    struct dbk_table_counter counter;
    struct dbk_places names;
    struct dbk_places ids;
    uint64_t slots;    /* written */
    uint64_t capacity; /* the file has room for */
    size_t live;
};

struct dbk_keys {
    struct dbk_os *os;
    char *folder;
    char *table_path;
    char *new_path;
    char *erased_path;
    char *mark_path;
    struct dbk_uuid book_id;
    bool writer;
    struct dbk_root root; /* passphrase in `passphrase` */
    char *passphrase;
    char *root_file;
    pthread_mutex_t change;
    pthread_mutex_t syncing;
    pthread_mutex_t lock;
    struct dbk_ring *ring;
    struct dbk_table table;
    struct dbk_erased erased;
    uint64_t made; /* keys, since it was opened */
    uint64_t synced;
    uint64_t synced_slots;
    struct dbk_file mark_file;
    struct dbk_slice mark_bytes; /* mapped, in a reader */
    struct dbk_mark mark;        /* as last seen, or written */
    bool failed;                 /* a sync failed: nothing is changed any more */
    bool rotating;
};

/* Keys with nothing read: paths, root, and locked memory. */
int dbk_keys_begin(const struct dbk_keys_options *options, struct dbk_keys **keys_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* "folder/name", owned by the caller; NULL when out of memory. */
char *dbk_keys_path(const char *folder, const char *name);

/* ---- Table ---- */

void dbk_table_release(struct dbk_os *os, struct dbk_table *table);
/* Reads header, counter and slots. `path` is for messages; may_be_torn: beside a writer. */
int dbk_table_load(struct dbk_os *os, const char *path, bool writer, struct dbk_table *table,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Takes slots in that were written since; of a reader. */
int dbk_table_load_more(struct dbk_os *os, struct dbk_table *table,
                        struct dbk_error *err) DBK_MUST_CHECK;
int dbk_table_read_slot(struct dbk_os *os, const struct dbk_table *table, uint64_t index,
                        struct dbk_slot *slot_out, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_table_write_slot(struct dbk_os *os, const struct dbk_table *table, uint64_t index,
                         const struct dbk_slot *slot, struct dbk_error *err) DBK_MUST_CHECK;
/* Writes the next counter. */
int dbk_table_count(struct dbk_os *os, struct dbk_table *table, uint64_t erased, uint64_t slots,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* 1: found, live or destroyed; 0: not. */
int dbk_table_find_id(struct dbk_os *os, const struct dbk_table *table, const struct dbk_uuid *id,
                      uint64_t *index_out, struct dbk_slot *slot_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
int dbk_table_find_name(struct dbk_os *os, const struct dbk_table *table,
                        const uint8_t name[DBK_NAME_SIZE], uint64_t *index_out,
                        struct dbk_slot *slot_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Remembers where a slot's name and id are. */
int dbk_table_index(struct dbk_table *table, uint64_t index,
                    const struct dbk_slot *slot) DBK_MUST_CHECK;
/* Overwrites a live slot: of its key nothing is left. */
int dbk_table_destroy(struct dbk_os *os, struct dbk_table *table, uint64_t index,
                      const struct dbk_slot *slot, struct dbk_error *err) DBK_MUST_CHECK;
/* Makes room for one more slot, in zeros. */
int dbk_table_reserve(struct dbk_os *os, struct dbk_table *table,
                      struct dbk_error *err) DBK_MUST_CHECK;

/* Overwrites the slot of a key, if it lives, and drops the key. Under the lock. */
int dbk_keys_destroy(struct dbk_keys *keys, const struct dbk_uuid *id,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Epoch ---- */

/* The path of an epoch's key, owned by the caller; NULL when out of memory. */
char *dbk_epoch_path(const struct dbk_keys *keys, uint64_t epoch);
/* Writes an epoch's key, durably with its name, readable for its owner only. */
int dbk_epoch_write(struct dbk_keys *keys, uint64_t epoch, const struct dbk_secrets *secrets,
                    struct dbk_error *err) DBK_MUST_CHECK;
int dbk_epoch_read(struct dbk_keys *keys, uint64_t epoch, struct dbk_secrets *secrets_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* The highest number that a file of an epoch's key has; 0: there is none. */
int dbk_epoch_newest(struct dbk_keys *keys, uint64_t *epoch_out,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* Overwrites, syncs and removes the keys of all other epochs. */
int dbk_epoch_destroy_others(struct dbk_keys *keys, uint64_t epoch,
                             struct dbk_error *err) DBK_MUST_CHECK;
/* Tells other processes. Not synced: it only tells those who are there. */
int dbk_mark_write(struct dbk_keys *keys, struct dbk_error *err) DBK_MUST_CHECK;

#endif
