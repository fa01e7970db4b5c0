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

/* ---- What is shown (as_of_show.c) ---- */

/* Appends a member to an object; a time that is none is left out. */
void dbk_as_of_put_text(struct dbk_buf *out, bool *first, const char *name, const char *text);
void dbk_as_of_put_number(struct dbk_buf *out, bool *first, const char *name, uint64_t number);
void dbk_as_of_put_time(struct dbk_buf *out, bool *first, const char *name, int64_t time_us);
/* Appends a file's members to its row; false: it is not listed. name: as dbk_as_of_list got it. */
typedef bool (*dbk_as_of_put_fn)(const struct dbk_as_of_file *file, const char *name,
                                 struct dbk_buf *row);
/* Lists the files that there are. name: of a model or view, NULL: all. */
int dbk_as_of_list(const struct dbk_arguments *arguments, struct dbk_link *link,
                   const char *const *columns, const char *name, dbk_as_of_put_fn put,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Shows an object's text. */
int dbk_as_of_show(const struct dbk_arguments *arguments, const struct dbk_buf *text,
                   struct dbk_error *err) DBK_MUST_CHECK;
int dbk_as_of_show_removed(const struct dbk_arguments *arguments, uint64_t count,
                           struct dbk_error *err) DBK_MUST_CHECK;
/* A build's progress; context: struct dbk_progress. False: a signal ends it. */
bool dbk_as_of_tell(void *context, uint64_t done, uint64_t total);

#endif
