/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place -- which book a command is about, and where its data lies.
 *
 * Threads: the main thread (reads the environment).
 */
#ifndef DBK_CLI_PLACE_H
#define DBK_CLI_PLACE_H

#include "book/book.h"
#include "cli/arguments.h"

#define DBK_PLACE_SIZE_MAX 4096

struct dbk_place {
    char folder[DBK_PLACE_SIZE_MAX]; /* where book.yaml is */
    const char *data;                /* --data or DAYBOOK_DATA; NULL: as book.yaml says */
    const char *environment;         /* --env; NULL: none */
};

/*
 * The folder: --book, else DAYBOOK_BOOK, else the nearest with a book.yaml from the current folder
 * upwards. DBK_ENOTFOUND: there is none; the message says what to do. DBK_EINVAL: --url was given.
 */
int dbk_place_find(const struct dbk_arguments *arguments, struct dbk_place *place_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

/* Loads the book there and prints its faults, if any, on standard error. */
int dbk_place_load(const struct dbk_place *place, struct dbk_book **book_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

/* The data directory: as it was said, else as book.yaml says. */
int dbk_place_data(const struct dbk_place *place, char data_out[DBK_PLACE_SIZE_MAX],
                   struct dbk_error *err) DBK_MUST_CHECK;

/* Says in err that a book has so many errors; returns DBK_EBOOK. */
int dbk_place_faults(const struct dbk_place *place, size_t error_count, struct dbk_error *err);

/* A path from the root of the file system, for what is remembered. */
int dbk_place_absolute(const char *path, char absolute_out[DBK_PLACE_SIZE_MAX],
                       struct dbk_error *err) DBK_MUST_CHECK;

#endif
