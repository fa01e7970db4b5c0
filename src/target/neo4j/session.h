/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session -- requests to Neo4j, and what waits for a transaction's one request.
 *
 * A transaction is one request: what changes something is collected, and sent with COMMIT.
 *
 *     first   the model's row is locked, and its position must be the one that is expected
 *     rows    the handlers' runs in their order, as parameters of one statement (neo4j.c)
 *     others  what the catalog changes besides
 *
 * So a transaction whose client is gone has either arrived whole or not at all, and a second one of
 * the same events finds another position and fails.
 *
 * Threads: one at a time; dbk_neo4j_http_interrupt from any.
 */
#ifndef DBK_TARGET_NEO4J_SESSION_H
#define DBK_TARGET_NEO4J_SESSION_H

#include "target/driver.h"
#include "target/neo4j/http.h"
#include "target/neo4j/reply.h"

#define DBK_NEO4J_REQUEST_SIZE_MAX ((size_t)256 << 20)

struct dbk_neo4j_statement;

struct dbk_neo4j_session {
    struct dbk_connection base; /* first: a connection is cast to it */
    struct dbk_neo4j_http *http;
    enum dbk_guard guard;
    int64_t limit_us; /* of a statement; 0: none */
    bool in_transaction;
    struct dbk_buf first; /* statements as JSON, each with a comma behind it */
    struct dbk_buf rows;  /* runs of handlers as JSON, likewise */
    struct dbk_buf others;
    struct dbk_buf request;
    struct dbk_buf answer;
    struct dbk_json *json;
    struct dbk_neo4j_statement *statements; /* all that are open, newest first */
    uint64_t statement_count;               /* ever opened */
};

/* Appends {"statement": …, "parameters": …}, with a comma behind it. */
void dbk_neo4j_add(struct dbk_buf *out, struct dbk_slice text, struct dbk_slice parameters);
/*
 * Sends statements that stand behind one another as dbk_neo4j_add has them, in one transaction.
 * The reply is valid until the json is used again.
 */
int dbk_neo4j_exchange(struct dbk_neo4j_session *session, const struct dbk_buf *statements,
                       struct dbk_json *json, struct dbk_neo4j_reply *reply_out,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* Asks the server who it is, and whether it lets us in. DBK_ECONNECT. */
int dbk_neo4j_greet(struct dbk_neo4j_session *session, struct dbk_error *err) DBK_MUST_CHECK;
/* Removes nodes, constraints and indexes whose labels begin with a prefix, bit by bit. */
int dbk_neo4j_drop(struct dbk_connection *connection, struct dbk_slice prefix,
                   struct dbk_error *err);

/* Statements of the catalog by enum dbk_catalog, and what locks a model's row before its position
   is set, with the same parameters. */
extern const char *const dbk_neo4j_catalog[DBK_CATALOG_COUNT];
extern const char dbk_neo4j_lock[];

#endif
