/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli -- the command `daybook`.
 *
 * One table (commands.h) drives parsing, `--help` and `daybook help`. A data command makes one
 * request as docs/http.md lists them; it goes to the book's running server over its socket, or is
 * handled in this process where none runs, and the JSON answer is rendered as -o asks.
 *
 * Threads: once, from the main thread.
 */
#ifndef DBK_CLI_CLI_H
#define DBK_CLI_CLI_H

/* Runs one command; returns the exit status (fail.h lists them). */
int dbk_cli_main(int argc, char **argv);

#endif
