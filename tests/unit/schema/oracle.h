/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oracle -- upcasting done slowly: a tree of the whole document, one step after the other.
 *
 * What the compiled program must come to. Nothing of it is shared with src/schema: values are
 * parsed by simdjson, steps walk the tree, and conversions ask the parser what a text is.
 */
#ifndef DBK_TESTS_SCHEMA_ORACLE_H
#define DBK_TESTS_SCHEMA_ORACLE_H

#include "schema/upcast.h"

/* True: `out` has the new text; false: a step cannot be done. */
bool oracle_upcast(const struct dbk_upcast_version *versions, size_t count, struct dbk_slice text,
                   struct dbk_buf *out);

/* A path of "a.b[].c"; steps are the caller's, DBK_UPCAST_PATH_MAX of them. */
struct dbk_schema_path oracle_path(const char *text, struct dbk_schema_step *steps);

#endif
