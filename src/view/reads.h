/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reads -- the names of tables that a SELECT of a server reads, by its grammar.
 *
 * Threads: pure function.
 */
#ifndef DBK_VIEW_READS_H
#define DBK_VIEW_READS_H

#include "target/target.h"

/*
 * In the arena, each once, without schemas and without names of WITH. A SELECT that cannot be read,
 * or is too large to be, gives none. DBK_ENOMEM
 */
int dbk_view_reads(struct dbk_slice select, struct dbk_arena *arena, const char ***names_out,
                   size_t *count_out) DBK_MUST_CHECK;

#endif
