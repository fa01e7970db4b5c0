/* SPDX-License-Identifier: Apache-2.0 */
/*
 * erased -- erased.list: the ids of all keys that were destroyed, in order.
 *
 * It is only added to. Each entry's checksum and mac go on from the entry before it: whoever lacks
 * the book's secret finds damage and exchanged entries, whoever has it forged ones, too. That the
 * end was cut off shows against what the table and the log know.
 *
 * Threads: its owner locks.
 * Source:  docs/format/keys.md.
 */
#ifndef DBK_VAULT_ERASED_H
#define DBK_VAULT_ERASED_H

#include "vault/ids.h"
#include "vault/secret.h"

struct dbk_erased {
    struct dbk_erased_header header;
    struct dbk_ids ids; /* by sequence, from 0 */
    uint8_t mac[32];    /* of the last entry */
    uint32_t crc;       /* of the last entry, or the header */
    uint64_t size;      /* bytes that are whole */
};

void dbk_erased_release(struct dbk_erased *erased);
bool dbk_erased_has(const struct dbk_erased *erased, const struct dbk_uuid *id);

/* Makes an empty list's file, durably but for its name. */
int dbk_erased_create(struct dbk_os *os, const char *path, const struct dbk_uuid *book_id,
                      struct dbk_erased *erased, struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Reads a list up to its end, or to an entry that is not whole; *torn_out says that bytes follow.
 * One that was read before (else: all zero) is gone on with.
 *
 * secrets  NULL: macs are not checked
 *
 * DBK_ENOTFOUND there is none; DBK_ECORRUPT: its header is damaged, or an entry was forged
 * DBK_EFORMAT, DBK_EIO, DBK_ENOMEM
 */
int dbk_erased_read(struct dbk_os *os, const char *path, const struct dbk_secrets *secrets,
                    struct dbk_erased *erased, bool *torn_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* The same of bytes that must be a whole list of this book; erased is all zero before. Release it
   whatever is returned. DBK_ECONFLICT: another book's. */
int dbk_erased_parse(struct dbk_slice bytes, const char *path, const struct dbk_secrets *secrets,
                     const struct dbk_uuid *book_id, struct dbk_erased *erased,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* DBK_ECONFLICT: neither goes on from the other. */
int dbk_erased_compare(const struct dbk_erased *a, const struct dbk_erased *b,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* DBK_ECORRUPT: the log says that one of these was erased, and the list does not. */
int dbk_erased_check_covers(const struct dbk_erased *list, const char *path,
                            const struct dbk_uuid *ids, size_t count,
                            struct dbk_error *err) DBK_MUST_CHECK;
/* Adds entries behind the last whole one, with one sync. On failure the list is as before. */
int dbk_erased_append(struct dbk_os *os, const char *path, const struct dbk_secrets *secrets,
                      const struct dbk_uuid *ids, size_t count, struct dbk_erased *erased,
                      struct dbk_error *err) DBK_MUST_CHECK;

#endif
