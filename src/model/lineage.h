/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lineage -- which parameters of a model's handlers take personal fields.
 *
 * A field's path is as its schema writes it ("address.street", "lines[].note"), a parameter's as
 * handlers do (":address.street", ":lines"). A parameter takes a field when one of the two lies
 * within the other: ":address" takes "address.street", and ":address.street" takes "address".
 *
 * Threads: pure functions.
 */
#ifndef DBK_MODEL_LINEAGE_H
#define DBK_MODEL_LINEAGE_H

#include "model/model.h"

/* The personal field of a type's events that a parameter (without its colon) takes; NULL: none. */
const struct dbk_personal_field *dbk_lineage_of(const struct dbk_model_definition *definition,
                                                struct dbk_slice type, struct dbk_slice parameter);

/*
 * What a parameter of a `personal: sealed` model is bound as: "sealed:<position>:<parameter>". It
 * says where the value is found, and not what it is; `unseal()` in SQL looks it up (target.h).
 */
#define DBK_LINEAGE_SEALED_SIZE 40 /* beside the parameter's name */

#endif
