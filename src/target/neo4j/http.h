/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http -- one session with Neo4j's HTTP interface, by libcurl.
 *
 * A connection is kept for the next request. libcurl sends a request again when a kept connection
 * turns out to be closed; that it may have been done already is seen by whoever sends it (the
 * position in it is checked, neo4j.c).
 *
 * Threads: one at a time, but dbk_neo4j_http_interrupt from any.
 * Source:  curl.se/libcurl/c, "The multi interface" and "URL API".
 */
#ifndef DBK_TARGET_NEO4J_HTTP_H
#define DBK_TARGET_NEO4J_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

#define DBK_NEO4J_ANSWER_SIZE_MAX ((size_t)64 << 20)

struct dbk_neo4j_http;

/*
 * secret     http://user:password@host:7474/database, or https. Only borrowed; no message has it.
 * read_only  requests are refused by the server when they change anything
 *
 * DBK_EINVAL  it is no such address; DBK_ENOMEM
 */
int dbk_neo4j_http_open(const char *secret, bool read_only, struct dbk_neo4j_http **http_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
void dbk_neo4j_http_free(struct dbk_neo4j_http *http);

/*
 * Sends a request and reads all of its answer into a buffer, which is emptied first.
 *
 * body  JSON for the database's transactions; empty: the server's greeting is asked for
 *
 * DBK_ECONNECT  it was not answered, in time or at all: whether it was done is not known
 * DBK_ESCRIPT   it was interrupted; DBK_ELIMIT: the answer is too long
 */
int dbk_neo4j_http_send(struct dbk_neo4j_http *http, struct dbk_slice body, int64_t timeout_us,
                        struct dbk_buf *answer, long *status_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* The request that runs now fails. */
void dbk_neo4j_http_interrupt(struct dbk_neo4j_http *http);

#endif
