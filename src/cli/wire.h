/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire -- a connection to a server: over its Unix socket, over TCP, or with TLS over TCP.
 *
 * With TLS the server's certificate must be good for the host that was named, and lead to a CA of a
 * file that was named, or else of the system.
 *
 * Threads: a wire belongs to one thread. Waiting ends with dbk_link_stop.
 * Source:  RFC 8446; RFC 9110, section 4.3; GnuTLS's manual, "Simple client example".
 */
#ifndef DBK_CLI_WIRE_H
#define DBK_CLI_WIRE_H

#include "base/slice.h"
#include "cli/address.h"

struct dbk_wire;

/* DBK_ENOTFOUND: nothing listens there; DBK_ECONNECT, DBK_ENOMEM. */
int dbk_wire_open_socket(const char *path, struct dbk_wire **wire_out,
                         struct dbk_error *err) DBK_MUST_CHECK;
/*
 * ca: a file of certificates in PEM; NULL: the system's.
 *
 * DBK_ECONNECT  nobody there, or its certificate is not good; the message says why
 * DBK_EINVAL    ca has no certificates
 * DBK_ENOMEM
 */
int dbk_wire_open_url(const struct dbk_url *url, const char *ca, struct dbk_wire **wire_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_wire_free(struct dbk_wire *wire);

/* All of it, or DBK_ECONNECT, DBK_ESTOPPED. */
int dbk_wire_send(struct dbk_wire *wire, struct dbk_slice bytes,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* 1: bytes came; 0: the connection ended; DBK_ECONNECT: it broke; DBK_ESTOPPED. */
int dbk_wire_receive(struct dbk_wire *wire, char *buffer, size_t size, size_t *size_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

#endif
