/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node -- a node of Neo4j, as a source tells a row.
 *
 * A node has the properties that it has: each other list of them is another shape, in the order of
 * their names, since the server gives them in any. Properties that services/<name>.yaml names
 * (columns, mask, subject, personal) are there in each row, and null where a node has none.
 *
 *     number, true, false  ->  themselves
 *     text, and what Neo4j's JSON has as one (times, durations, NaN)  ->  a text
 *     list, point  ->  JSON
 *
 * Threads: one at a time.
 */
#ifndef DBK_CAPTURE_NEO4J_NODE_H
#define DBK_CAPTURE_NEO4J_NODE_H

#include "capture/source.h"
#include "json/json.h"

#define DBK_NODE_PROPERTIES_MAX 2000

struct dbk_nodes {
    const struct dbk_capture_service *service;
    const struct dbk_capture_table *table;
    size_t index; /* of the table in its service */
    struct dbk_arena arena;
    struct dbk_change_shape shape; /* of the last node */
};

void dbk_nodes_init(struct dbk_nodes *nodes, const struct dbk_capture_service *service,
                    size_t index);
void dbk_nodes_release(struct dbk_nodes *nodes);

/* Fills err with "file:line:column: the label `x` <what>: <fix>". */
int dbk_nodes_fault(const struct dbk_nodes *nodes, int code, const char *what, const char *fix,
                    struct dbk_error *err);
int dbk_nodes_no_memory(const struct dbk_nodes *nodes, struct dbk_error *err);

/*
 * A key's value as its text, in the arena. False: it is neither a text nor a whole number, or there
 * is no memory.
 */
bool dbk_nodes_key(const struct dbk_json_node *value, struct dbk_arena *arena,
                   struct dbk_slice *text_out) DBK_MUST_CHECK;

/*
 * A node, by its key's value and an object of its properties, as a DBK_CHANGE_ROW in the arena. Its
 * values are valid as long as the JSON, and the shape until the next call.
 *
 * DBK_EINVAL  the key is neither a text nor a whole number, or it has no properties
 * DBK_ELIMIT  it has too many properties
 * DBK_ENOMEM
 */
int dbk_nodes_take(struct dbk_nodes *nodes, const struct dbk_json_node *key,
                   const struct dbk_json_node *properties, struct dbk_arena *arena,
                   struct dbk_change *change_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
