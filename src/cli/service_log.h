/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service_log -- what services may in the book: their API keys, made, compared and tried.
 *
 * A service whose file names a `key` has one there. What its keys may follows from the file; a
 * scope that somebody gave one of them besides is a difference. Requests go to the book's server,
 * or to the book in this process, which then asks for keys as a server does.
 *
 * Threads: the main thread.
 */
#ifndef DBK_CLI_SERVICE_LOG_H
#define DBK_CLI_SERVICE_LOG_H

#include "cli/service.h"

/* Of differences: a key is made, a key gets other scopes. */
#define DBK_SERVICE_LOG_KEY 1
#define DBK_SERVICE_LOG_SCOPES 2

/* In place of a database's name; none has a `$` in it. */
#define DBK_SERVICE_LOG "$log"

/* True when one of the services that are wanted names a key. */
bool dbk_service_log_is_wanted(const struct dbk_arguments *arguments, const struct dbk_book *book);
/*
 * DBK_EBOOK: a file holds no key, or somebody else's; the message says which. And all that requests
 * answer.
 */
int dbk_service_log_look(const struct dbk_arguments *arguments, const struct dbk_book *book,
                         struct dbk_placement *placement, struct dbk_error *err) DBK_MUST_CHECK;
/* shown: what was looked at before. DBK_EBUSY: it is not all any more, and nothing was done. */
int dbk_service_log_apply(const struct dbk_arguments *arguments, const struct dbk_book *book,
                          const struct dbk_placement *shown, struct dbk_error *err) DBK_MUST_CHECK;
/* Asks with each service's key for what it should get, and for everything else, and stores
   nothing. */
int dbk_service_log_verify(const struct dbk_arguments *arguments, const struct dbk_book *book,
                           struct dbk_attempts *attempts, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Between these files ---- */

/* The key in a service's file. DBK_ENOTFOUND: there is none; DBK_EBOOK: it is none. */
int dbk_service_log_read_key(const struct dbk_service_definition *service, struct dbk_buf *key,
                             struct dbk_error *err) DBK_MUST_CHECK;

#endif
