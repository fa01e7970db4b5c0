/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http -- one listening socket: libmicrohttpd's connections to dbk_api_handle.
 *
 * Another certificate is another libmicrohttpd daemon on the same socket: it takes the connections
 * from then on, and the one before it goes on with those that it has until they end.
 *
 * Threads: one thread opens, renews and frees.
 * Source:  libmicrohttpd's manual; RFC 9112.
 */
#ifndef DBK_SERVER_HTTP_H
#define DBK_SERVER_HTTP_H

#include "server/api.h"
#include "server/tls.h"

#define DBK_HTTP_BODY_SIZE_MAX ((size_t)64 << 20)

struct dbk_http;

struct dbk_http_options {
    int socket; /* taken over, also on failure */
    bool local; /* check that Host and Origin are this machine's loopback, because a browser may
                   have sent the request */
    unsigned connection_count_max;
    unsigned address_count_max;      /* connections of one address; 0: as many as there are */
    const struct dbk_tls_pair *pair; /* borrowed; NULL: without TLS */
};

int dbk_http_open(struct dbk_engine *engine, struct dbk_access *access,
                  const struct dbk_http_options *options, struct dbk_http **http_out,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* Connections from now on are taken with this certificate. On failure all stays as it was. */
int dbk_http_renew(struct dbk_http *http, const struct dbk_tls_pair *pair,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Takes no more connections, ends tails, lets requests finish (at most ten seconds). NULL is
   fine. */
void dbk_http_free(struct dbk_http *http);

/* True for a Host or Origin that names this machine's loopback. */
bool dbk_http_is_loopback(struct dbk_slice host);

#endif
