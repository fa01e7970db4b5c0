/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fail -- how a command ends when it fails: the exit status, and one line on standard error.
 *
 * With -o json the line is a problem document (RFC 9457), as HTTP would have answered.
 *
 * Threads: the main thread.
 */
#ifndef DBK_CLI_FAIL_H
#define DBK_CLI_FAIL_H

#include <stdio.h>

#include "cli/arguments.h"

struct dbk_diagnostics;

enum dbk_exit {
    DBK_EXIT_OK = 0,
    DBK_EXIT_FAILED = 1,
    DBK_EXIT_USAGE = 2,
    DBK_EXIT_CONNECT = 3,  /* no connection to the book's server */
    DBK_EXIT_CONFLICT = 4, /* a condition of an append does not hold */
    DBK_EXIT_DENIED = 5,   /* not allowed */
};

enum dbk_exit dbk_exit_of(int code);

/* Says what failed; arguments may be NULL (then as text). Returns the exit status. */
int dbk_fail(const struct dbk_arguments *arguments, const struct dbk_error *err);
/* The same for a wrong command line. */
int dbk_fail_usage(const struct dbk_arguments *arguments, const char *format, ...) DBK_PRINTF(2, 3);

/* Prints faults, each as `file:line:column: what, why, what to do`. */
void dbk_fail_diagnostics(FILE *out, const struct dbk_diagnostics *diagnostics);

#endif
