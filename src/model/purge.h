/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purge -- a model's statements that take a forgotten subject out of its tables.
 *
 * They are handlers without an event: `:_subject` is the subject as its events name it, `:_stream`
 * each stream with events of it. A statement with `:_stream` runs once for each.
 *
 * Threads: one at a time.
 */
#ifndef DBK_MODEL_PURGE_H
#define DBK_MODEL_PURGE_H

#include "model/definition.h"
#include "model/forget.h"

struct dbk_purge;
struct dbk_purge_fault {
    size_t offset; /* in the definition's text */
};
/* What guards such statements in a database. */
enum dbk_guard dbk_purge_guard(enum dbk_dialect dialect);
/* Whether a parameter is one of theirs. A command of MongoDB's has its event's position, too, which
   there is none of here: it stays NULL. */
bool dbk_purge_knows(enum dbk_dialect dialect, struct dbk_slice name);
/* Prepares the statements on a connection that is kept until free; tables must exist under the
   generation's names. DBK_EINVAL: none is there, or a parameter is another. */
int dbk_purge_open(struct dbk_connection *connection, const struct dbk_model_definition *definition,
                   const struct dbk_sql_rename *renames, size_t rename_count,
                   struct dbk_purge **purge_out, struct dbk_purge_fault *fault_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
void dbk_purge_free(struct dbk_purge *purge);
/* Runs them for one subject, in the transaction that is open. The message names the statement. */
int dbk_purge_run(struct dbk_purge *purge, const struct dbk_forgotten *subject,
                  struct dbk_error *err) DBK_MUST_CHECK;

#endif
