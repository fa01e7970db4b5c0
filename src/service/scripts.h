/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scripts -- what Lua takes of captured rows, by its words: a member behind a dot, or a text.
 *
 * Threads: pure functions.
 */
#ifndef DBK_SERVICE_SCRIPTS_H
#define DBK_SERVICE_SCRIPTS_H

#include "service/users.h"

/* True when a script has a text that is one of these, of a string in its quotes. */
bool dbk_script_has_text(struct dbk_slice source, struct dbk_slice text);

/*
 * Adds each member that a script names as a column of a captured table; as possible ones what an
 * event has itself, and all that is captured, which a row has that is passed on whole. DBK_ENOMEM.
 */
int dbk_script_uses(struct dbk_uses *uses, const struct dbk_capture_table *table,
                    struct dbk_slice source) DBK_MUST_CHECK;

#endif
