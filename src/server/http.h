/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http -- one listening socket: libmicrohttpd's connections to dbk_api_handle.
 *
 * Threads: one thread opens and frees.
 * Source:  libmicrohttpd's manual; RFC 9112.
 */
#ifndef DBK_SERVER_HTTP_H
#define DBK_SERVER_HTTP_H

#include "server/api.h"

#define DBK_HTTP_BODY_SIZE_MAX ((size_t)64 << 20)

struct dbk_http;

/* socket is taken over, also on failure. local: check that Host and Origin are this machine's
   loopback, because a browser may have sent the request. */
int dbk_http_open(struct dbk_engine *engine, struct dbk_access *access, int socket, bool local,
                  unsigned connection_count_max, struct dbk_http **http_out,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* Takes no more connections, ends tails, lets requests finish (at most ten seconds). NULL is
   fine. */
void dbk_http_free(struct dbk_http *http);

/* True for a Host or Origin that names this machine's loopback. */
bool dbk_http_is_loopback(struct dbk_slice host);

#endif
