/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored -- the relations that are stored beside an incremental view, in a full refresh.
 *
 * They are made in the snapshot as temporary tables, each with the name of the table that it
 * becomes in the generation: SQLite looks a name up in temp first, so that the same SELECTs read
 * them there as in the database later. Row ids stay: the rows of what reads them hold these.
 *
 * Threads: connections belong to one thread at a time.
 * Source:  docs/design/views.md; sqlite.org/lang_naming.html.
 */
#ifndef DBK_VIEW_STORED_H
#define DBK_VIEW_STORED_H

#include "view/layout.h"

/* Makes them all in a snapshot; where they lie has been said (dbk_layout_place). */
int dbk_stored_read(const struct dbk_algebra *tree, struct dbk_connection *connection,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Makes the table of one, empty, with its indexes, in a write transaction. */
int dbk_stored_create(const struct dbk_algebra *tree, const struct dbk_relation *relation,
                      struct dbk_connection *connection, struct dbk_error *err) DBK_MUST_CHECK;
/* The SELECT of the snapshot's rows and the INSERT for them; the caller frees both. */
int dbk_stored_open(const struct dbk_relation *relation, struct dbk_connection *read,
                    struct dbk_connection *write, struct dbk_statement **select_out,
                    struct dbk_statement **insert_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
