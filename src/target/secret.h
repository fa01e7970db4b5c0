/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret -- what an address names and does not say: a connection string, a webhook, the value of a
 * header.
 *
 * It stands in a file (`file:PATH`, read with each connect, so that it may be changed) or in the
 * environment (`env:NAME`), never in an address, and is in no message.
 *
 * Threads: any thread.
 */
#ifndef DBK_TARGET_SECRET_H
#define DBK_TARGET_SECRET_H

#include "base/memory.h"

#define DBK_SECRET_TEXT_SIZE_MAX ((size_t)64 << 10)

/*
 * Appends the string and a NUL.
 *
 * address  without the kind in front
 * what     it is, for messages: "the connection string"
 *
 * DBK_ECONNECT  it cannot be read, or is empty
 * DBK_ENOMEM
 */
int dbk_secret_read(const char *address, const char *what, struct dbk_buf *secret,
                    struct dbk_error *err) DBK_MUST_CHECK;

#endif
