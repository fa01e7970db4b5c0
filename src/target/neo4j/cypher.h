/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cypher -- what is known of Cypher's text without a server.
 *
 * A scanner that knows strings, comments, quoted names, parameters, and the names of a generation:
 * `{gen}Order` is one token. Above it stand what a statement may do (dbk_cypher_check), and how it
 * is written for the server (dbk_cypher_write). A query names the model instead: {shop}Order.
 *
 *     {gen}Order  ->  the generation's prefix, `_` and the name
 *     $amount, $new.name  ->  what `read` says, and a number in brackets
 *
 * Cypher replaces \u0027 by the character before it reads anything else, so that it could end a
 * string: it is refused everywhere.
 *
 * Threads: pure functions.
 * Source:  Neo4j's Cypher manual 5, "Syntax", "CALL subqueries"; openCypher's grammar.
 */
#ifndef DBK_TARGET_NEO4J_CYPHER_H
#define DBK_TARGET_NEO4J_CYPHER_H

#include <stdbool.h>

#include "base/memory.h"
#include "target/target.h"

#define DBK_CYPHER_SIZE_MAX ((size_t)256 << 10) /* of one statement, bytes */
#define DBK_CYPHER_DEPTH_MAX 64                 /* brackets in one another */
#define DBK_CYPHER_PARAMETERS_MAX 256           /* of one statement */

enum dbk_cypher_kind {
    DBK_CYPHER_END,
    DBK_CYPHER_SPACE,      /* white space and comments */
    DBK_CYPHER_NAME,       /* identifier or keyword */
    DBK_CYPHER_QUOTED,     /* `a name` */
    DBK_CYPHER_GENERATION, /* {gen}Name, {model}Name */
    DBK_CYPHER_STRING,
    DBK_CYPHER_NUMBER,
    DBK_CYPHER_PARAMETER, /* $a.b.c */
    DBK_CYPHER_SEMICOLON,
    DBK_CYPHER_OTHER,  /* one character */
    DBK_CYPHER_BROKEN, /* an unterminated string, comment or quoted name, or \u */
};
struct dbk_cypher_token {
    enum dbk_cypher_kind kind;
    struct dbk_slice text;
};
/* The token at an offset; the next one begins behind it. */
struct dbk_cypher_token dbk_cypher_next(struct dbk_slice text, size_t offset);

/* The next whole statement from an offset, without its semicolon; empty at the end. offset_out:
   behind it. */
struct dbk_slice dbk_cypher_statement(struct dbk_slice text, size_t offset, size_t *offset_out);

/*
 * Whether one statement is what the guard allows, as far as its text tells.
 *
 * handlers  begin with a clause that matches or changes; labels and relationship types are written
 *           {gen}Name; no RETURN of their own, clock, chance, procedures, other functions than
 *           Neo4j's own, LOAD CSV, IN TRANSACTIONS, schema changes
 * schema    CREATE CONSTRAINT or INDEX {gen}name IF NOT EXISTS alone
 * queries   labels and types as in handlers; the server itself refuses what changes anything
 *
 * offset_out  the byte where it is wrong
 *
 * DBK_EINVAL  no Cypher; DBK_EDENIED: the guard; DBK_ELIMIT: the bounds
 */
int dbk_cypher_check(struct dbk_slice text, enum dbk_guard guard, int *offset_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Appends a (checked) statement for the server.
 *
 * prefix       of a generation's names; what comes out is quoted. Empty: they stay as they are
 * read         the expression that holds the parameters as a list, "$rows" for one
 * names_out    in the arena: the parameters without `$`, in order of their numbers from 0
 */
struct dbk_cypher_names {
    struct dbk_slice *items;
    size_t count;
};
int dbk_cypher_write(struct dbk_slice text, struct dbk_slice prefix, const char *read,
                     struct dbk_buf *out, struct dbk_arena *arena,
                     struct dbk_cypher_names *names_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
