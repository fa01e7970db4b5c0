/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copies -- erased.list beside the backups, so that no old backup brings a forgotten key back.
 *
 * Every backup folder has a copy. The data directory's file `backups` names the folders, a line
 * each, and the list is copied there again whenever a key is erased. Restoring a backup whose log
 * tells of subjects takes the newest list there is, and refuses without one.
 *
 * Threads: any; a folder by one at a time.
 * Source:  docs/keys.md.
 */
#ifndef DBK_VAULT_COPIES_H
#define DBK_VAULT_COPIES_H

#include "store/store.h"

/* Copies the list into a backup's folder, and remembers that. No list: nothing is done. */
int dbk_erased_copy(struct dbk_os *os, const char *data, const char *backup,
                    struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Copies the list into all folders that are remembered. `failed` (which may be NULL) is told where
 * that fails, and the others go on; the code is that of the first failure.
 */
typedef void (*dbk_copy_failed_fn)(void *context, const char *folder, const struct dbk_error *err);
int dbk_erased_copy_all(struct dbk_os *os, const char *data, dbk_copy_failed_fn failed,
                        void *context) DBK_MUST_CHECK;

/*
 * Whether the lists that a backup is to be restored with are this book's, whole, and agree: what
 * can be told before its log is there. As dbk_erased_restore, but for what the log says.
 */
int dbk_erased_check_restore(struct dbk_os *os, const char *backup, const char *file,
                             const struct dbk_uuid *book_id, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Puts the list of a restored log into its data directory: the backup's, or the one of `file`
 * (NULL: none), whichever is newer. The store is the restored log's.
 *
 * DBK_ENOTFOUND  the log tells of subjects, and there is no list
 * DBK_ECORRUPT   a list is damaged, or lacks a key that the log says was erased
 * DBK_ECONFLICT  a list is another book's, or the two differ
 */
int dbk_erased_restore(struct dbk_store *store, struct dbk_os *os, const char *data,
                       const char *backup, const char *file, struct dbk_error *err) DBK_MUST_CHECK;

#endif
