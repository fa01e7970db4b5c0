/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls -- a server's certificate and its key, read and judged before anything listens with them.
 *
 * Both are files in PEM: the certificate first, behind it those that signed it, up to but without
 * the root; the key not under a password.
 *
 * Threads: any; a pair belongs to one.
 * Source:  RFC 5280; RFC 7468 (PEM); GnuTLS's manual, "X.509 certificates".
 */
#ifndef DBK_SERVER_TLS_H
#define DBK_SERVER_TLS_H

#include "base/error.h"
#include "base/memory.h"
#include "os/os.h"

#define DBK_TLS_FILE_SIZE_MAX ((size_t)1 << 20)
#define DBK_TLS_CERTIFICATES_MAX 16

struct dbk_tls_pair {
    struct dbk_buf certificate; /* PEM, with a NUL behind */
    struct dbk_buf key;
};

/*
 * Reads the two files. now_us: when they have to be good.
 *
 * DBK_ENOTFOUND, DBK_EIO, DBK_EDENIED  a file cannot be read
 * DBK_EINVAL  what is in it is no such thing, is under a password, belongs to another certificate,
 *             or is not good yet or any more
 * DBK_ELIMIT  more than DBK_TLS_FILE_SIZE_MAX bytes, or DBK_TLS_CERTIFICATES_MAX certificates
 */
int dbk_tls_pair_read(struct dbk_os *os, const char *certificate_path, const char *key_path,
                      int64_t now_us, struct dbk_tls_pair *pair_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
bool dbk_tls_pair_equal(const struct dbk_tls_pair *one, const struct dbk_tls_pair *other);
/* Overwrites the key. */
void dbk_tls_pair_release(struct dbk_tls_pair *pair);

/* What is spoken: TLS 1.2 and 1.3, as GnuTLS names it. */
#define DBK_TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

#endif
