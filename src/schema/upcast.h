/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upcast -- a chain of small changes to a JSON object, compiled into one walk over its text.
 *
 * Version n of an event type's data is made out of version n - 1 by steps, in order:
 *
 *     add P value V   the member P is V where it is missing; one that is there stays
 *     rename P to Q   P is called Q, in its place. P and Q differ in their last name only
 *     remove P
 *     convert P to T  T is string, integer, number or boolean
 *
 * A path is names with dots between them; `[]` behind a name means each element of its array:
 * "address.street", "lines[].price". Where a path leads nowhere, because a member is missing, null
 * or of another kind, nothing is done; but what something shall be added to must be an object (for
 * `[]`: an array), null or missing, else that is an error. Renaming onto a member that is there is
 * an error: one of the two would be lost. A conversion takes
 *
 *     to string   a number as it is written, true, false
 *     to integer  a number that is whole (5.0, 1e3), its text, true and false as 1 and 0
 *     to number   a number's text, true and false as 1 and 0
 *     to boolean  1 and 0, "true" and "false"
 *
 * and null stays null; all else is an error. Results are those of the steps one after the other,
 * though the text is walked once: what a member is called, is added or becomes is worked out
 * beforehand. What stands in the place of a forgotten field ({"$forgotten":…}) may be renamed and
 * removed, and else stays as it is. Bytes that no step changes stay as they are, white space
 * included; members keep their order and added ones come last.
 *
 * Threads: a program is read-only and may be shared.
 */
#ifndef DBK_SCHEMA_UPCAST_H
#define DBK_SCHEMA_UPCAST_H

#include <stdint.h>

#include "base/memory.h"
#include "schema/schema.h"

/* So many names a path may have, and so many levels of arrays in all. */
#define DBK_UPCAST_PATH_MAX 16
/* The longest name in one, bytes. */
#define DBK_UPCAST_NAME_SIZE_MAX 1024
/* So many members of one object a chain may name. */
#define DBK_UPCAST_NAMES_MAX 64

/* What makes a version of the one before it. */
struct dbk_upcast_version {
    uint16_t version;
    const struct dbk_upcast_step *steps;
    size_t count;
};

/* A step of a chain, by indexes. */
struct dbk_upcast_place {
    size_t version;
    size_t step;
};

struct dbk_upcast_program;

/* "string", … */
const char *dbk_upcast_type_name(enum dbk_upcast_type type);

/*
 * Compiles a chain, oldest version first; it is borrowed for the call.
 *
 * place_out  may be NULL; on DBK_EINVAL and DBK_ELIMIT which step it is about
 *
 * DBK_EINVAL  a step is wrong, or cannot succeed on what those before it leave: the message names
 *             version and path
 * DBK_ELIMIT  past the limits above
 * DBK_ENOMEM
 */
int dbk_upcast_compile(const struct dbk_upcast_version *versions, size_t count,
                       struct dbk_upcast_program **program_out, struct dbk_upcast_place *place_out,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_upcast_free(struct dbk_upcast_program *program);

/*
 * Runs it over a text that is valid JSON, and appends the new text to `out`.
 *
 * 1            `out` has the new text; 0: the text is right as it stands, and `out` is as before
 * DBK_ESCRIPT  a step cannot be done: the message names version and path
 * DBK_ECORRUPT the text is no JSON, as far as it was looked at
 * DBK_ENOMEM, DBK_ELIMIT  as `out` has it
 */
int dbk_upcast_run(const struct dbk_upcast_program *program, struct dbk_slice text,
                   struct dbk_buf *out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
