/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fields -- personal fields cut out of an event's data, and put back.
 *
 *     {"id":7,"name":"Ann","lines":[{"note":"x","n":1}]}
 *     -> {"id":7,"lines":[{"n":1}]}          lines[0].note: "x"    name: "Ann"
 *
 * Cutting works on the text by what its parse says, so that what stays is byte for byte what was
 * there. Putting back needs no parse: members are added at the end of their objects. A field's path
 * is its members' names joined by '.', with [n] for the n-th element of an array, from 0; a '.',
 * '[' or '\' in a name stands behind a '\'.
 *
 * Threads: pure functions.
 */
#ifndef DBK_VAULT_FIELDS_H
#define DBK_VAULT_FIELDS_H

#include "json/json.h"
#include "schema/schema.h"

struct dbk_field {
    struct dbk_slice path;
    struct dbk_slice value; /* JSON, as it stood there */
};

struct dbk_cut {
    struct dbk_slice data;    /* what stays; the text itself when nothing was cut */
    struct dbk_field *fields; /* in byte order of their paths */
    size_t count;
};

/*
 * Cuts what the paths name out of a text. An array whose elements are personal is taken whole, as
 * is what stands, other than null, where a path goes on and the value does not.
 *
 * nodes   the text's parse
 * arena   what is in cut_out lies in it, but values, which are the nodes'
 *
 * DBK_ELIMIT  more than 65,535 fields, or a path is longer than DBK_SEAL_PATH_SIZE_MAX
 * DBK_EINVAL  all of the data would be cut
 * DBK_ENOMEM
 */
int dbk_fields_cut(const struct dbk_json_node *nodes, const struct dbk_schema_path *paths,
                   size_t count, struct dbk_arena *arena, struct dbk_cut *cut_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Appends a text with fields put back, which are in byte order of their paths. The text is valid
 * JSON. DBK_ECORRUPT: it has no place for one of them; DBK_ENOMEM, DBK_ELIMIT.
 */
int dbk_fields_splice(struct dbk_slice data, const struct dbk_field *fields, size_t count,
                      struct dbk_buf *out) DBK_MUST_CHECK;

#endif
