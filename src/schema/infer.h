/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer -- a schema proposed from what is stored: what all values have in common, and no guess.
 *
 * Types, members that are always there, formats that all texts have, and the values of texts that
 * take only a few again and again. Ranges of numbers and lengths of texts are not proposed: what is
 * stored says little about what may come.
 *
 * Memory is bounded: of objects with very many different members the names are left out, and so is
 * what lies deep in many shapes.
 *
 * Threads: an inference belongs to one thread.
 */
#ifndef DBK_SCHEMA_INFER_H
#define DBK_SCHEMA_INFER_H

#include "json/json.h"

struct dbk_inference;

/* NULL when out of memory. */
struct dbk_inference *dbk_inference_create(void) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_inference_free(struct dbk_inference *inference);
/* Takes notice of an event's data. DBK_ENOMEM */
int dbk_inference_add(struct dbk_inference *inference,
                      const struct dbk_json_node *data) DBK_MUST_CHECK;
/* Values that were added. */
uint64_t dbk_inference_count(const struct dbk_inference *inference);
/* Appends a type's file with the schema as version 1, in lines indented by `indent` and more. */
void dbk_inference_write(const struct dbk_inference *inference, unsigned indent,
                         struct dbk_buf *out);

#endif
