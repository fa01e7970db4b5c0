/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta -- the meta of a decided event: what tells a repeated key, the request's, the event's own.
 *
 * One object without a key twice: the first of the three that has a key wins.
 *
 * Threads: pure functions.
 */
#ifndef DBK_COMMAND_META_H
#define DBK_COMMAND_META_H

#include "base/memory.h"

struct dbk_command_meta {
    struct dbk_slice command; /* with a key, on the first event: the command's name; else empty */
    struct dbk_slice hash;    /* then, of its body */
    struct dbk_slice request; /* a JSON object or empty */
    struct dbk_slice event;   /* a JSON object or empty */
};

/*
 * Replaces what is in the buffer; it stays empty where there is no meta.
 *
 * DBK_EINVAL  the request's is no JSON object
 * DBK_ENOMEM, DBK_ELIMIT
 */
int dbk_command_meta_write(const struct dbk_command_meta *meta, struct dbk_buf *out,
                           struct dbk_error *err) DBK_MUST_CHECK;
/* True when an event's meta has this hash of a body. */
bool dbk_command_meta_has_hash(struct dbk_slice meta, struct dbk_slice hash);

#endif
