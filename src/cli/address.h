/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address -- where to listen, as it is typed: "127.0.0.1:4170", "localhost:0", "[::1]:4170",
 * "4170".
 *
 * Threads: pure functions.
 */
#ifndef DBK_CLI_ADDRESS_H
#define DBK_CLI_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* host has room for size bytes; it is 127.0.0.1 where the text has none. False when the text is no
   address and port; outputs are then left alone. */
bool dbk_address_parse(const char *text, char *host_out, size_t size, uint16_t *port_out);

#endif
