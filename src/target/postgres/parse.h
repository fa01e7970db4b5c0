/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse -- what PostgreSQL's own parser tells of a statement without a server.
 *
 * Statements are bounded in size and in tokens before they reach the parser, which is recursive.
 *
 * Threads: pure functions.
 * Source:  libpg_query, PostgreSQL 15's grammar as a library.
 */
#ifndef DBK_TARGET_POSTGRES_PARSE_H
#define DBK_TARGET_POSTGRES_PARSE_H

#include "target/target.h"

/* Bounds of one statement: 20,000 terms of a sum would overrun the parser's stack. */
#define DBK_POSTGRES_SQL_SIZE_MAX ((size_t)256 << 10)
#define DBK_POSTGRES_TOKENS_MAX 10000

enum dbk_postgres_kind {
    DBK_POSTGRES_SELECT, /* reads only */
    DBK_POSTGRES_CHANGE, /* INSERT, UPDATE, DELETE, MERGE, or a SELECT that changes */
    DBK_POSTGRES_OTHER,  /* cannot be prepared */
};

/* Appends sql with ?1 … ?n as $1 … $n, which has the same length. */
void dbk_postgres_parameters(struct dbk_slice sql, struct dbk_buf *out);
/*
 * Parses one statement whose parameters are ?n, and checks what the guard allows.
 * kind_out    may be NULL
 * fields      gets each name behind a dot that may be a column, or a function that is called so,
 *             each with a NUL behind it, but not those of plain functions; NULL: nobody asks
 * offset_out  the byte where it is wrong, or -1
 *
 * DBK_EINVAL  it does not parse; DBK_EDENIED: the guard; DBK_ELIMIT: the bounds; DBK_ENOMEM
 */
int dbk_postgres_check(struct dbk_slice sql, enum dbk_guard guard, enum dbk_postgres_kind *kind_out,
                       struct dbk_buf *fields, int *offset_out,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* target/target.h's dbk_target_objects. */
int dbk_postgres_objects(struct dbk_slice schema, dbk_object_fn each, void *context,
                         struct dbk_error *err) DBK_MUST_CHECK;

#endif
