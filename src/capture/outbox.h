/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outbox -- rows that a service wrote to become events of its own streams.
 *
 *     read what is there --> append, with the rows' ids in `Captured` --> remove or mark them
 *          ^-------------------------------------------------------------------/
 *
 * One batch at a time is between the book and the source. After a crash the ids that the book has
 * last are removed first, so no row becomes an event twice; and none is skipped, because a row is
 * removed only when the book has it, whatever the order in which transactions commit. The event's
 * id derives from the row's: what a restored source brings back is known.
 *
 * Threads: one at a time.
 * Source:  docs/outbox.md, docs/format/capture.md
 */
#ifndef DBK_CAPTURE_OUTBOX_H
#define DBK_CAPTURE_OUTBOX_H

#include "capture/source.h"

struct dbk_outbox;

struct dbk_outbox_options {
    struct dbk_os *os;
    struct dbk_store *store;
    const struct dbk_capture_service *service;
    dbk_append_fn append; /* of JSON that is read here */
    void *context;
    size_t batch_count_max;
};

/*
 * Connects, and looks at the table.
 *
 * DBK_ENOTFOUND  there is no such table or column; the message names it by file, line and column
 * DBK_EINVAL     an id may be used twice
 * DBK_ECORRUPT   the book does not say what was taken
 */
int dbk_outbox_open(const struct dbk_outbox_options *options, struct dbk_outbox **outbox_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* NULL is fine. */
void dbk_outbox_free(struct dbk_outbox *outbox);
/*
 * Takes some of the rows that are there: 1; 0: there are none. A row that is refused stops all
 * behind it, and the message names it and says why.
 *
 * DBK_ECONFLICT  somebody else takes this service's outbox
 */
int dbk_outbox_take(struct dbk_outbox *outbox, struct dbk_error *err) DBK_MUST_CHECK;

/* How many became events; the id of the last; "": none. Valid until the next take. */
uint64_t dbk_outbox_count(const struct dbk_outbox *outbox);
const char *dbk_outbox_position(const struct dbk_outbox *outbox);

#endif
