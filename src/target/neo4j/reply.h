/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply -- what Neo4j's HTTP interface answers.
 *
 *     {"results": [{"columns": ["a"], "data": [{"row": [1], "meta": [null]}]}],
 *      "errors": [{"code": "Neo.ClientError.…", "message": "…"}]}
 *
 * The status is 200 as soon as the statements were understood: whether they were done is told by
 * `errors` alone. A result stands there for each statement up to the one that failed. An answer
 * that ends early is no JSON, and so is none.
 *
 * Threads: a reply belongs to its parser's.
 * Source:  Neo4j's HTTP API manual 5, "Transactional Cypher endpoint"; its status codes.
 */
#ifndef DBK_TARGET_NEO4J_REPLY_H
#define DBK_TARGET_NEO4J_REPLY_H

#include "json/json.h"

struct dbk_neo4j_reply {
    const struct dbk_json_node *results; /* an array; NULL: there is none, only errors */
    struct dbk_slice code;               /* of the first error; empty: there is none */
    struct dbk_slice message;
};

/*
 * Slices are valid until the parser's next use.
 * DBK_ECONNECT  it is no answer of Neo4j's; DBK_ENOMEM
 */
int dbk_neo4j_reply_parse(struct dbk_json *json, struct dbk_slice body,
                          struct dbk_neo4j_reply *reply_out, struct dbk_error *err) DBK_MUST_CHECK;
/* The result of a statement, from 0; NULL: it has none. */
const struct dbk_json_node *dbk_neo4j_reply_result(const struct dbk_neo4j_reply *reply,
                                                   size_t index);
/* Which of our codes one of Neo4j's is. */
int dbk_neo4j_code(struct dbk_slice code);
/* Sets the error to the reply's first; DBK_OK when it has none. */
int dbk_neo4j_reply_check(const struct dbk_neo4j_reply *reply, struct dbk_error *err);
/* True when a version is 5.23 or later, the first that CALL (variables) {…} is in. */
bool dbk_neo4j_version_is_enough(struct dbk_slice version);

#endif
