/* SPDX-License-Identifier: Apache-2.0 */
/*
 * declare -- what a saga's file declares, read and checked once.
 *
 * Threads: as the script.
 */
#ifndef DBK_SAGA_DECLARE_H
#define DBK_SAGA_DECLARE_H

#include "saga/script.h"

/* source: the file's text, to name lines by. The definition lies in the arena. DBK_EINVAL: message
   file:line: what is wrong, and what to write; DBK_ENOMEM */
int dbk_saga_declare(struct dbk_script *script, struct dbk_slice source, struct dbk_arena *arena,
                     struct dbk_saga_definition *definition_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

#endif
