/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service_move -- a service's file gets another database, once the book stands with it.
 *
 * Threads: the main thread.
 */
#ifndef DBK_CLI_SERVICE_MOVE_H
#define DBK_CLI_SERVICE_MOVE_H

#include "cli/place.h"

struct dbk_service_move {
    const struct dbk_place *place;
    const char *file; /* services/<name>.yaml */
    const char *service;
    const char *database; /* of book.yaml; "": the move is to one that is not in there */
};

/*
 * Loads the book as it would be. DBK_EBOOK: it has faults then, which are printed; nothing was
 * changed. Where the file is not to be written, DBK_OK, and no book.
 */
int dbk_service_move_try(const struct dbk_service_move *move, struct dbk_book **book_out,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* Writes the file, or says on standard error what to write. */
int dbk_service_move_write(const struct dbk_service_move *move, const char *address,
                           struct dbk_error *err) DBK_MUST_CHECK;

#endif
