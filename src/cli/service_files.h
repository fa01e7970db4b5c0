/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service_files -- services as users of this machine, and what their commands may in a SQLite file
 * that they share.
 *
 * Threads: the main thread.
 */
#ifndef DBK_CLI_SERVICE_FILES_H
#define DBK_CLI_SERVICE_FILES_H

#include "cli/service.h"
#include "service/placement_files.h"

/* In place of a database's name. */
#define DBK_SERVICE_FILES "$files"

/* scope_out: borrows from the arena, the arguments and the book. */
int dbk_service_files_scope(const struct dbk_arguments *arguments, const struct dbk_book *book,
                            struct dbk_arena *arena, struct dbk_files_scope *scope_out,
                            struct dbk_error *err) DBK_MUST_CHECK;
/* Prepares what a service's commands may in a file that several share, and everything else. */
int dbk_service_fences_verify(const struct dbk_arguments *arguments, const struct dbk_book *book,
                              struct dbk_attempts *attempts, struct dbk_error *err) DBK_MUST_CHECK;

#endif
