/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diff -- what changed between two JSON values, field by field.
 *
 * The changes are a JSON Patch (RFC 6902) that makes the second value of the first, with `old`
 * beside it where something was before:
 *
 *     [{"op":"replace","path":"/balance","old":70,"value":120},
 *      {"op":"add","path":"/lines/2","value":{"sku":"A7"}},
 *      {"op":"remove","path":"/note","old":"x"}]
 *
 * Objects are compared by key; numbers by what they are worth (1.0 is 1), exactly. Of arrays the
 * longest common run of elements stays, and what lies between is compared one by one; where that
 * would take more than DBK_DIFF_CELLS, all but their equal ends is compared one by one. Paths of
 * arrays count as a patch does: by what stands there when the changes before it are done.
 *
 * Threads: pure functions.
 * Source:  RFC 6901, RFC 6902; Hirschberg, A Linear Space Algorithm for Computing Maximal Common
 *          Subsequences, 1975, for the table of lengths.
 */
#ifndef DBK_AUDIT_DIFF_H
#define DBK_AUDIT_DIFF_H

#include "json/json.h"

/* Elements of one array times those of the other, of all arrays that are compared. */
#define DBK_DIFF_CELLS ((size_t)1 << 22)

struct dbk_diff_limits {
    size_t changes; /* at most so many */
    size_t size;    /* of all of them as text, bytes */
};

/*
 * Appends the changes as a JSON array. Those that do not fit into the limits are left out, each
 * alone, and counted: then the others are no whole patch.
 *
 * DBK_ENOMEM, DBK_ELIMIT
 */
int dbk_diff_write(const struct dbk_json_node *before, const struct dbk_json_node *after,
                   const struct dbk_diff_limits *limits, struct dbk_buf *out,
                   uint64_t *left_out_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
