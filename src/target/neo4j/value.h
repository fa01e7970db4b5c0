/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value -- a parameter of Cypher, as JSON.
 *
 * What stands for a personal field when its subject is forgotten, {"$forgotten":"<key id>"}, goes
 * as a text wherever it is in a value: Neo4j keeps no maps in properties.
 */
#ifndef DBK_TARGET_NEO4J_VALUE_H
#define DBK_TARGET_NEO4J_VALUE_H

#include "base/memory.h"
#include "target/target.h"

/* Appends it. DBK_EREFUSED: bytes. */
int dbk_neo4j_put_value(struct dbk_buf *out, const struct dbk_value *value,
                        struct dbk_error *err) DBK_MUST_CHECK;

#endif
