/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address -- where to listen, as it is typed: "127.0.0.1:4170", "localhost:0", "[::1]:4170",
 * "4170"; and whom to ask: "https://books.example.com", "http://localhost:4150".
 *
 * Threads: pure functions.
 * Source:  RFC 3986, section 3.2; RFC 9110, section 4.2.
 */
#ifndef DBK_CLI_ADDRESS_H
#define DBK_CLI_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* host has room for size bytes; it is 127.0.0.1 where the text has none. False when the text is no
   address and port; outputs are then left alone. */
bool dbk_address_parse(const char *text, char *host_out, size_t size, uint16_t *port_out);

#define DBK_URL_HOST_SIZE 254

struct dbk_url {
    bool tls;
    char host[DBK_URL_HOST_SIZE];          /* a name, or an address without brackets */
    uint16_t port;                         /* 443, or 80 without TLS, where the text has none */
    char authority[DBK_URL_HOST_SIZE + 8]; /* host and port, as the header Host has them */
};

/* A URL without path, user and query. DBK_EINVAL says what was expected. */
int dbk_url_parse(const char *text, struct dbk_url *url_out, struct dbk_error *err) DBK_MUST_CHECK;
/* True when it is this machine's loopback: localhost, 127.x.y.z, ::1. */
bool dbk_url_is_loopback(const struct dbk_url *url);

#endif
