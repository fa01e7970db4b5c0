/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service -- what the commands on services' databases share.
 *
 * Threads: the main thread.
 */
#ifndef DBK_CLI_SERVICE_H
#define DBK_CLI_SERVICE_H

#include "book/book.h"
#include "cli/arguments.h"
#include "service/placement.h"
#include "target/target.h"

/* The names that are given are services with a database or a key. DBK_ENOTFOUND, DBK_EINVAL. */
int dbk_service_check_names(const struct dbk_arguments *arguments, const struct dbk_book *book,
                            struct dbk_error *err) DBK_MUST_CHECK;
/* True of a service that is named, or where none are. */
bool dbk_service_is_named(const struct dbk_arguments *arguments, const char *service);
/* True of a database of these services; where none are named, of any's. */
bool dbk_service_is_wanted(const struct dbk_arguments *arguments, const struct dbk_book *book,
                           const char *database);
/*
 * 1: a PostgreSQL database, or a MongoDB whose services log in: grants are made and compared. 0:
 * another, where nothing is granted; where one service's is open to who can reach it, that is said
 * on standard error. DBK_EREFUSED: another server that several share, where nothing can keep one
 * from what is another's; the message says what to do.
 */
int dbk_service_has_grants(const struct dbk_book *book, const struct dbk_book_database *database,
                           struct dbk_error *err) DBK_MUST_CHECK;
struct dbk_placement_scope dbk_service_scope(const struct dbk_book *book,
                                             const struct dbk_book_database *database);

#endif
