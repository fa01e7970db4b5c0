/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value -- a value of a document becomes JSON, and a document's _id a key's text.
 *
 *     integers, doubles, decimals   numbers; texts where JSON has none that is exact
 *     date                          RFC 3339 in UTC
 *     ObjectId                      its 24 hexadecimal digits
 *     UUID (binary, subtype 4)      as it is written; all other binary is base64
 *     objects, arrays               theirs, of such values
 *     all else                      extended JSON, as are dates outside of the years 1 to 9999
 *
 * A key's text is that of the value, and extended JSON where a text cannot say which value it was:
 * so each _id is found again by its text.
 *
 * Threads: pure functions.
 * Source:  bsonspec.org 1.1; the extended JSON specification, version 2.
 */
#ifndef DBK_CAPTURE_MONGODB_VALUE_H
#define DBK_CAPTURE_MONGODB_VALUE_H

#include <bson/bson.h>

#include "base/memory.h"

/* As deep as a server lets documents be. */
#define DBK_BSON_DEPTH_MAX 100

/*
 * Appends a value as JSON.
 *
 * DBK_EINVAL    a text or a name in it is no UTF-8
 * DBK_ELIMIT    it is deeper than DBK_BSON_DEPTH_MAX
 * DBK_ECORRUPT  it is no BSON
 * DBK_ENOMEM
 */
int dbk_bson_write(const bson_iter_t *at, struct dbk_buf *out) DBK_MUST_CHECK;

/* Appends a key's text. As above. */
int dbk_bson_write_key(const bson_iter_t *at, struct dbk_buf *out) DBK_MUST_CHECK;

/*
 * Appends to an array every value whose key's text this may be.
 *
 * all    the server has decimals and NaN
 * index  of the array's next item; moved on
 *
 * DBK_ENOMEM
 */
int dbk_bson_put_candidates(struct dbk_slice key, bool all, bson_t *array,
                            uint32_t *index) DBK_MUST_CHECK;

#endif
