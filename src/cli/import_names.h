/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_names -- counts how many different names there were.
 *
 * Keeps 64 bits of each name's SipHash: eight to sixteen bytes a name. Two of 10 million names
 * would share one, and so be counted once, with a chance of one in 350,000.
 *
 * Threads: a set belongs to one thread.
 */
#ifndef DBK_CLI_IMPORT_NAMES_H
#define DBK_CLI_IMPORT_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

struct dbk_import_names {
    uint64_t *slots; /* 0: free */
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

void dbk_import_names_release(struct dbk_import_names *names);
/* DBK_ENOMEM: it was not added. */
int dbk_import_names_add(struct dbk_import_names *names, struct dbk_slice name) DBK_MUST_CHECK;

#endif
