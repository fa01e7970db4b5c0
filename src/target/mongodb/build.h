/* SPDX-License-Identifier: Apache-2.0 */
/*
 * build -- BSON from a command's nodes and the values of its parameters.
 *
 * A parameter's value is always a value: what is an object in an event's data becomes one in the
 * document, and is refused where a member's name begins with a dollar, which the server would take
 * for an operator. Integers are 64-bit, fractions are doubles, unless {"$numberDecimal": ":x"} and
 * the like say otherwise.
 *
 * Threads: one at a time.
 * Source:  the BSON and extended JSON specifications.
 */
#ifndef DBK_TARGET_MONGODB_BUILD_H
#define DBK_TARGET_MONGODB_BUILD_H

#include <bson/bson.h>

#include "json/json.h"
#include "target/target.h"

/* Which generation of a model serves; for queries. */
struct dbk_mongodb_model {
    struct dbk_slice name;
    int64_t generation;
};

struct dbk_mongodb_build {
    const struct dbk_value *values; /* by the parameters' numbers */
    size_t value_count;
    struct dbk_json *json; /* reads values that are JSON */
    const struct dbk_mongodb_model *models;
    size_t model_count;
    struct dbk_error *err;
};

/* Appends all members of an object. DBK_EREFUSED: a value that cannot stand there. */
int dbk_mongodb_build_members(const struct dbk_mongodb_build *build,
                              const struct dbk_json_node *object, bson_t *out);
/* Appends one value under a key. */
int dbk_mongodb_build_value(const struct dbk_mongodb_build *build, struct dbk_slice key,
                            const struct dbk_json_node *node, bson_t *out);

#endif
