/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64 -- bytes as text and back.
 *
 * Threads: pure functions.
 * Source:  RFC 4648, section 4; what is read must be as it would be written, padding included.
 */
#ifndef DBK_BASE_BASE64_H
#define DBK_BASE_BASE64_H

#include "base/memory.h"

void dbk_base64_encode(struct dbk_slice bytes, struct dbk_buf *out);
/* Room for what a text of a size may hold. */
#define DBK_BASE64_ROOM(size) ((size) / 4 * 3)
/* Writes at most DBK_BASE64_ROOM bytes; false when it is no such text. */
bool dbk_base64_decode(struct dbk_slice text, void *bytes_out, size_t *size_out) DBK_MUST_CHECK;

#endif
