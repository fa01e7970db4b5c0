/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup -- the subjects' keys in one file, and back.
 *
 * A backup has a key of its own, sealed as an epoch's is; under it the subjects' keys are wrapped
 * anew, and all of it is authenticated. It also holds erased.list as it was. The file appears as a
 * whole or not at all.
 *
 * What is restored are the keys that neither the newest list nor the log says were erased, as a new
 * epoch with a new key. The table's name comes last: until then the keys before stand, or none.
 *
 * Threads: any; a file, and a folder, by one at a time.
 * Source:  docs/keys.md, docs/format/keys.md.
 */
#ifndef DBK_VAULT_BACKUP_H
#define DBK_VAULT_BACKUP_H

#include "vault/keys.h"
#include "vault/vault.h"

/* How a backup lies there. */
enum dbk_keys_protection {
    DBK_KEYS_UNDER_PASSPHRASE, /* one of its own */
    DBK_KEYS_UNDER_ROOT,       /* the book's */
    DBK_KEYS_PLAIN,            /* under nothing: who has the file has the keys */
};

struct dbk_keys_backup_result {
    uint64_t epoch; /* it was taken in; that began with the restore */
    int64_t taken_us;
    uint64_t subjects; /* keys that were written */
    uint64_t left_out; /* keys of the backup that were erased since */
    uint64_t erased;   /* entries of the list */
};

/*
 * Writes a backup of keys as they were opened, of a writer or beside one. root's passphrase may be
 * empty: then it lies there in plain.
 *
 * DBK_EEXISTS    another file is at that path
 * DBK_ECONFLICT  another book's backup is there
 * DBK_EFULL, DBK_EIO, DBK_ENOMEM, DBK_ECORRUPT: what was at the path before still is
 */
int dbk_keys_backup(struct dbk_keys *keys, const char *path, const struct dbk_root *root,
                    struct dbk_keys_backup_result *result_out,
                    struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_keys_restore {
    struct dbk_keys_options keys; /* the folder, and the root of the new epoch; what the log says */
    const char *backup;
    struct dbk_root root;    /* what the backup is under */
    bool given;              /* for this backup, so that it must be under it */
    const char *erased_list; /* NULL: none but the folder's and the backup's */
    bool replace;            /* the keys that are there */
};
/*
 * Writes the keys of a backup as a new epoch. Nothing is changed unless all of it fits. The keys
 * are to be opened afterwards by a writer, which destroys what they replaced.
 *
 * DBK_EEXISTS    there are keys already
 * DBK_ECONFLICT  the backup or a list is another book's, or two lists differ
 * DBK_ECORRUPT   the backup was altered or cut off, or the newest list lacks what the log says
 * DBK_EFORMAT    a newer version wrote it
 * DBK_EDENIED    no passphrase, a wrong one, or no locked memory
 * DBK_EINVAL     it is under no passphrase, and one was given
 * DBK_ENOTFOUND  there is no such file
 * DBK_EFULL, DBK_EIO, DBK_ENOMEM: the same again goes on
 */
int dbk_keys_restore(const struct dbk_keys_restore *restore,
                     struct dbk_keys_backup_result *result_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Of a book ---- */

struct dbk_vault_copy {
    struct dbk_os *os;
    struct dbk_store *store; /* a backup: of a reader; a restore: the writer's */
    const char *data;        /* the data directory */
    const char *root;        /* file of the book's passphrase; NULL: none */
    const char *file;        /* the backup */
    const char *passphrase;  /* file of the backup's own passphrase; NULL: the root's */
    bool plain;              /* a backup: under nothing */
    const char *erased_list; /* a restore */
    bool replace;            /* a restore */
};
/* Beside a running server, too. DBK_EINVAL: there is no passphrase, and plain was not said.
   DBK_ENOTFOUND: there are no keys. Else as dbk_keys_backup and dbk_vault_open. */
int dbk_vault_backup(const struct dbk_vault_copy *copy, enum dbk_keys_protection *protection_out,
                     struct dbk_keys_backup_result *result_out,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* And opens them once, which says so in the log. As dbk_keys_restore. */
int dbk_vault_restore(const struct dbk_vault_copy *copy, struct dbk_keys_backup_result *result_out,
                      struct dbk_error *err) DBK_MUST_CHECK;

#endif
