/* SPDX-License-Identifier: Apache-2.0 */
/*
 * as_of -- what the commands share that look at the book as of a time.
 *
 * Models are built as of then in this process, beside the server where one runs, with progress on
 * standard error; Ctrl-C ends a build, and the next one goes on with it.
 *
 * Threads: the main thread.
 */
#ifndef DBK_CLI_AS_OF_H
#define DBK_CLI_AS_OF_H

#include "cli/data.h"
#include "cli/progress.h"

/* --at and --occurred-at, one of which was given. */
struct dbk_as_of_time dbk_as_of_option(const struct dbk_arguments *arguments);
/* Opens a link for it: signals end what it does, and it shows its progress. */
int dbk_as_of_open(const struct dbk_arguments *arguments, struct dbk_progress *progress,
                   struct dbk_link **link_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Asks by SQL, and shows the rows. */
int dbk_as_of_ask(const struct dbk_arguments *arguments, struct dbk_link *link, const char *sql,
                  const struct dbk_as_of_time *time, struct dbk_error *err) DBK_MUST_CHECK;

#endif
