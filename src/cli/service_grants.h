/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service_grants -- a service that moves may do in its other PostgreSQL what it may here.
 *
 * Its role, grants and password are made there while it is still written here, so that it can write
 * the moment it is let. The password stays the one that it has: of two servers both let it in, and
 * its file gets the other address once that one serves.
 *
 * Threads: the main thread (sets a variable of the environment for a moment).
 */
#ifndef DBK_CLI_SERVICE_GRANTS_H
#define DBK_CLI_SERVICE_GRANTS_H

#include "book/book.h"

/*
 * Makes what differs for the service in the database that a book has for it. from: the address of
 * the other one. A service that names no `login` has no grants, which is said. Fails as those of
 * service/placement.h.
 */
int dbk_service_grants_apply(const struct dbk_book *book, const char *service, const char *from,
                             struct dbk_error *err) DBK_MUST_CHECK;
/*
 * A role of one server belongs to one of its databases, as its comment says: to that at `to` from
 * now on, where it was that at `from`. Of two servers nothing is to be done.
 */
int dbk_service_grants_mark(const char *book, const struct dbk_service_definition *service,
                            const char *from, const char *to, struct dbk_error *err) DBK_MUST_CHECK;
/* The file that a service logs in with gets that address, where it has another. */
int dbk_service_grants_login(const struct dbk_service_definition *service, const char *to,
                             struct dbk_error *err) DBK_MUST_CHECK;

#endif
