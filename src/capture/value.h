/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value -- a value's text, as PostgreSQL writes it, becomes JSON.
 *
 * Whoever reads the text, a value becomes the same. The session writes times in ISO and UTC, bytes
 * in hex and floats with all their digits.
 *
 * Threads: pure functions on the given arena and parser.
 */
#ifndef DBK_CAPTURE_VALUE_H
#define DBK_CAPTURE_VALUE_H

#include "capture/source.h"
#include "json/json.h"

/* type: pg_type.oid; of a domain, what it is made of. Slices are the text's own, or in the arena
   where they have to be made. DBK_ENOMEM */
int dbk_change_value_of(uint32_t type, struct dbk_slice text, struct dbk_arena *arena,
                        struct dbk_json *json, struct dbk_change_value *value_out,
                        struct dbk_error *err) DBK_MUST_CHECK;

#endif
